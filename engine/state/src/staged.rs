//! Writes of events that are not sealed yet: a hash index over one arena, last write of a key wins.
//!
//! A streaming batch that fails is rolled back with the undo list, so that the events before it, whose writes
//! are in the same arena, keep theirs. After sealing, the same structure is a *layer* of the pending overlay.

use hashbrown::HashTable;
use tantu_lsm::Tree;

/// What a layer knows of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known<'a> {
    /// Nothing: ask further down.
    Nothing,
    /// It was deleted.
    Deleted,
    /// It has this value.
    Value(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Nothing,
    Deleted,
    Value,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    key: Range,
    value: Range,
    state: State,
    batch: u32,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    slot: u32,
    value: Range,
    state: State,
}

/// Most bytes a staged area may hold: positions in it are 32 bits wide.
pub const STAGED_SIZE_MAX: usize = 1 << 30;

/// See the module.
#[derive(Debug, Default)]
pub struct Staged {
    index: HashTable<u32>,
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    undo: Vec<Undo>,
    /// Deleted ranges. Keys within that were written before are marked deleted as well, so that what an index entry
    /// says is newer than any range.
    ranges: Vec<(Range, Range)>,
    /// How many of them are of earlier batches.
    ranges_before: usize,
    batch: u32,
}

impl Staged {
    /// Starts a streaming batch: from here on [`Staged::rollback`] can undo.
    pub fn begin_batch(&mut self) {
        self.undo.clear();
        self.ranges_before = self.ranges.len();
        self.batch += 1;
    }

    /// Undoes every write since [`Staged::begin_batch`].
    pub fn rollback(&mut self) {
        while let Some(undo) = self.undo.pop() {
            let slot = &mut self.slots[undo.slot as usize];
            slot.value = undo.value;
            slot.state = undo.state;
            slot.batch = 0;
        }
        self.ranges.truncate(self.ranges_before);
        self.batch += 1;
    }

    /// Whether there is nothing to seal.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.slots.iter().all(|slot| slot.state == State::Nothing)
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.slots.len() * size_of::<Slot>() + self.ranges.len() * size_of::<(Range, Range)>()
    }

    /// Empties it and keeps the memory.
    pub fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
        self.bytes.clear();
        self.undo.clear();
        self.ranges.clear();
        self.ranges_before = 0;
        self.batch = 0;
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index
            .find(hash, |at| self.slots[*at as usize].hash == hash && self.slice(self.slots[*at as usize].key) == key)
            .copied()
    }

    #[inline]
    fn slice(&self, range: Range) -> &[u8] {
        &self.bytes[range.start as usize..][..range.len as usize]
    }

    fn store(&mut self, bytes: &[u8]) -> Range {
        let start = self.bytes.len();
        assert!(start + bytes.len() <= STAGED_SIZE_MAX, "the staged area is sealed long before it is full");
        self.bytes.extend_from_slice(bytes);
        Range { start: start as u32, len: bytes.len() as u32 }
    }

    /// What it knows of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Known<'_> {
        self.get_hashed((key, Tree::hash(key)))
    }

    /// As [`Staged::get`], of a key whose [hash](Tree::hash) is known already.
    #[inline]
    pub fn get_hashed(&self, (key, hash): (&[u8], u64)) -> Known<'_> {
        let known = match self.slots.is_empty() {
            true => Known::Nothing,
            false => match self.find(hash, key) {
                None => Known::Nothing,
                Some(at) => self.known(&self.slots[at as usize]),
            },
        };
        match known {
            Known::Nothing if self.ranges().any(|(from, to)| from <= key && key < to) => Known::Deleted,
            known => known,
        }
    }

    /// The deleted ranges, from and to. What [`Staged::iter`] says of a key within one is newer.
    #[inline]
    pub fn ranges(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges.iter().map(|(from, to)| (self.slice(*from), self.slice(*to)))
    }

    /// Deletes every key in `[from, to)`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        let within = |slot: &&Slot| slot.state == State::Value && (from..to).contains(&self.slice(slot.key));
        let keys: Vec<Vec<u8>> = self.slots.iter().filter(within).map(|slot| self.slice(slot.key).to_vec()).collect();
        keys.iter().for_each(|key| self.set(key, None));
        let range = (self.store(from), self.store(to));
        self.ranges.push(range);
    }

    fn known(&self, slot: &Slot) -> Known<'_> {
        match slot.state {
            State::Nothing => Known::Nothing,
            State::Deleted => Known::Deleted,
            State::Value => Known::Value(self.slice(slot.value)),
        }
    }

    /// Sets a key's value, or deletes it.
    pub fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.set_hashed((key, Tree::hash(key)), value);
    }

    /// As [`Staged::set`], of a key whose [hash](Tree::hash) is known already.
    pub fn set_hashed(&mut self, (key, hash): (&[u8], u64), value: Option<&[u8]>) {
        let at = match self.find(hash, key) {
            Some(at) => at,
            None => {
                let key = self.store(key);
                let at = self.slots.len() as u32;
                self.slots.push(Slot { hash, key, value: Range { start: 0, len: 0 }, state: State::Nothing, batch: 0 });
                let Self { index, slots, .. } = self;
                index.insert_unique(hash, at, |at| slots[*at as usize].hash);
                at
            }
        };
        let slot = self.slots[at as usize];
        let touched = slot.batch == self.batch && self.batch != 0;
        if !touched && self.batch != 0 {
            self.undo.push(Undo { slot: at, value: slot.value, state: slot.state });
        }
        let range = match value {
            // Not the old range: a later value in this batch must not overwrite bytes an undo points at.
            None => Range { start: 0, len: 0 },
            // The old bytes may be overwritten only if no undo still points at them.
            Some(value) if touched && value.len() <= slot.value.len as usize => {
                let start = slot.value.start as usize;
                self.bytes[start..start + value.len()].copy_from_slice(value);
                Range { start: slot.value.start, len: value.len() as u32 }
            }
            Some(value) => self.store(value),
        };
        let slot = &mut self.slots[at as usize];
        slot.value = range;
        slot.state = if value.is_some() { State::Value } else { State::Deleted };
        slot.batch = self.batch;
    }

    /// Every key it knows something of, in the order of first writing.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Known<'_>)> {
        self.slots
            .iter()
            .filter(|slot| slot.state != State::Nothing)
            .map(|slot| (self.slice(slot.key), self.known(slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_key_wins() {
        let mut staged = Staged::default();
        assert_eq!(staged.get(b"k"), Known::Nothing);
        staged.set(b"k", Some(b"1"));
        staged.set(b"k", Some(b"22"));
        staged.set(b"j", Some(b"x"));
        staged.set(b"j", None);
        assert_eq!(staged.get(b"k"), Known::Value(b"22"));
        assert_eq!(staged.get(b"j"), Known::Deleted);
        assert_eq!(staged.iter().count(), 2);
        staged.clear();
        assert!(staged.is_empty());
        assert_eq!(staged.get(b"k"), Known::Nothing);
    }

    #[test]
    fn a_failed_batch_leaves_what_was_there_before_it() {
        let mut staged = Staged::default();
        staged.begin_batch();
        staged.set(b"old", Some(b"12345678"));
        staged.set(b"kept", Some(b"k"));
        staged.begin_batch();
        staged.set(b"old", Some(b"1"));
        staged.set(b"old", Some(b"2"));
        staged.set(b"kept", None);
        staged.set(b"kept", Some(b"x"));
        staged.set(b"new", Some(b"n"));
        staged.rollback();
        assert_eq!(staged.get(b"old"), Known::Value(b"12345678"));
        assert_eq!(staged.get(b"kept"), Known::Value(b"k"));
        assert_eq!(staged.get(b"new"), Known::Nothing);
        assert_eq!(staged.iter().count(), 2, "a key only a failed batch wrote is not sealed");
        staged.begin_batch();
        staged.set(b"new", Some(b"again"));
        assert_eq!(staged.get(b"new"), Known::Value(b"again"));
    }

    #[test]
    fn a_deleted_range_hides_what_was_there_and_not_what_comes_later() {
        let mut staged = Staged::default();
        staged.begin_batch();
        staged.set(b"b1", Some(b"old"));
        staged.set(b"c", Some(b"outside"));
        staged.begin_batch();
        staged.delete_range(b"b", b"c");
        assert_eq!(staged.get(b"b1"), Known::Deleted);
        assert_eq!(staged.get(b"b2"), Known::Deleted, "also what only lower layers have");
        assert_eq!(staged.get(b"c"), Known::Value(b"outside"));
        assert_eq!(staged.get(b"a"), Known::Nothing);
        staged.set(b"b2", Some(b"new"));
        assert_eq!(staged.get(b"b2"), Known::Value(b"new"));
        staged.rollback();
        assert_eq!(staged.get(b"b1"), Known::Value(b"old"));
        assert_eq!(staged.get(b"b2"), Known::Nothing);
        staged.delete_range(b"b", b"c");
        staged.begin_batch();
        staged.set(b"b2", Some(b"newer"));
        staged.rollback();
        assert_eq!(staged.get(b"b2"), Known::Deleted, "the range is of the batch before");
        staged.clear();
        assert!(staged.is_empty() && staged.get(b"b1") == Known::Nothing);
    }

    #[test]
    fn a_counter_bumped_many_times_in_a_batch_takes_the_room_of_one() {
        let mut staged = Staged::default();
        staged.begin_batch();
        for n in 0..10_000u64 {
            staged.set(b"counter", Some(&n.to_le_bytes()));
        }
        assert_eq!(staged.get(b"counter"), Known::Value(&9_999u64.to_le_bytes()));
        assert!(staged.size() < 200, "{}", staged.size());
    }
}
