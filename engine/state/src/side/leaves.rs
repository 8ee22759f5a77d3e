//! Entries in the order of their keys, in leaves: some entries each, whose bytes lie one after the other.
//!
//! What a microbatch writes mostly comes in the order of its keys, since groups come out in theirs, or somewhere behind what
//! came last. So the leaf of the last entry is looked at first, then the one behind it, and only then all are searched;
//! an entry behind all others is put at the end and costs no allocation but its share of a leaf's.

use std::cell::Cell;
use std::collections::VecDeque;

/// Stands for the length of the value of a deleted key.
const DELETED: u32 = u32::MAX;
/// Entries of a leaf, at most.
const LEAF_COUNT_MAX: usize = 128;
/// A leaf with so many bytes takes no entry more.
const LEAF_SIZE_MAX: usize = 32 << 10;
/// Bytes of values that were replaced below which a leaf is left as it is.
const UNUSED_SIZE_MIN: usize = 1 << 10;

/// Where an entry lies in its leaf. A value that is replaced by a longer one moves behind everything else.
#[derive(Clone, Copy, Debug)]
struct Place {
    key_at: u32,
    key_len: u32,
    value_at: u32,
    /// Or [`DELETED`].
    value_len: u32,
    /// Bytes there are at `value_at`.
    room: u32,
}

/// Some entries, ascending. `None` as a value: deleted.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Bytes that no entry has any more.
    unused: usize,
}

/// A key and its value, or that it is deleted.
pub(crate) type KeyValue<'a> = (&'a [u8], Option<&'a [u8]>);

impl Leaf {
    /// Empty, with the memory that another one needed.
    fn like(other: &Leaf) -> Leaf {
        let (bytes, places) = (Vec::with_capacity(other.bytes.len()), Vec::with_capacity(other.places.len()));
        Leaf { bytes, places, unused: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    #[inline]
    fn key(&self, at: usize) -> &[u8] {
        let Place { key_at, key_len, .. } = self.places[at];
        &self.bytes[key_at as usize..][..key_len as usize]
    }

    #[inline]
    pub(crate) fn entry(&self, at: usize) -> KeyValue<'_> {
        let Place { value_at, value_len, .. } = self.places[at];
        let value = (value_len != DELETED).then(|| &self.bytes[value_at as usize..][..value_len as usize]);
        (self.key(at), value)
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = KeyValue<'_>> {
        (0..self.len()).map(|at| self.entry(at))
    }

    fn is_full(&self) -> bool {
        self.len() >= LEAF_COUNT_MAX || self.bytes.len() >= LEAF_SIZE_MAX
    }

    /// Where a key is, or where it belongs.
    #[inline]
    fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let count = self.len();
        if count > 0 && self.key(count - 1) < key {
            return Err(count);
        }
        let (mut low, mut high) = (0, count);
        while low < high {
            let at = low + (high - low) / 2;
            match self.key(at).cmp(key) {
                std::cmp::Ordering::Less => low = at + 1,
                std::cmp::Ordering::Equal => return Ok(at),
                std::cmp::Ordering::Greater => high = at,
            }
        }
        Err(low)
    }

    /// Puts an entry behind the others.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.insert(self.len(), key, value);
    }

    fn insert(&mut self, at: usize, key: &[u8], value: Option<&[u8]>) {
        let key_at = length(self.bytes.len());
        self.bytes.extend_from_slice(key);
        let value_at = length(self.bytes.len());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let value_len = value.map_or(DELETED, |value| length(value.len()));
        let room = value.map_or(0, |value| length(value.len()));
        self.places.insert(at, Place { key_at, key_len: length(key.len()), value_at, value_len, room });
    }

    fn replace(&mut self, at: usize, value: Option<&[u8]>) {
        let new = value.unwrap_or_default();
        let place = &mut self.places[at];
        place.value_len = value.map_or(DELETED, |value| length(value.len()));
        if new.len() > place.room as usize {
            self.unused += place.room as usize;
            (place.value_at, place.room) = (length(self.bytes.len()), length(new.len()));
            self.bytes.extend_from_slice(new);
            if self.unused > UNUSED_SIZE_MIN && self.unused > self.bytes.len() / 2 {
                *self = self.copied(0, self.len());
            }
            return;
        }
        self.bytes[place.value_at as usize..][..new.len()].copy_from_slice(new);
    }

    /// Some of its entries, and nothing else.
    fn copied(&self, from: usize, to: usize) -> Leaf {
        let mut leaf = Leaf::like(self);
        (from..to).map(|at| self.entry(at)).for_each(|(key, value)| leaf.push(key, value));
        leaf
    }
}

/// A length in a leaf, whose bytes are those of few entries: of a run that is far smaller than 4 GiB.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("invariant: a run is smaller than 4 GiB")
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// None is empty.
    leaves: VecDeque<Leaf>,
    count: usize,
    /// The leaf that was looked at last.
    last: Cell<usize>,
}

impl Leaves {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn first_key(&self, leaf: usize) -> &[u8] {
        self.leaves[leaf].key(0)
    }

    /// The leaf a key is in, or belongs into: the last that does not begin behind it.
    #[inline]
    fn leaf_of(&self, key: &[u8]) -> Option<usize> {
        let count = self.leaves.len();
        if count == 0 {
            return None;
        }
        let holds = |leaf: &usize| {
            *leaf < count
                && (*leaf == 0 || self.first_key(*leaf) <= key)
                && (leaf + 1 == count || key < self.first_key(leaf + 1))
        };
        let last = self.last.get();
        let found = [last, last + 1].into_iter().find(holds);
        let search = || self.leaves.partition_point(|leaf| leaf.key(0) <= key).saturating_sub(1);
        let found = found.unwrap_or_else(search);
        self.last.set(found);
        Some(found)
    }

    /// The value of a key, or that it is deleted; none if it is not here.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let leaf = &self.leaves[self.leaf_of(key)?];
        leaf.search(key).ok().map(|at| leaf.entry(at).1)
    }

    /// Sets the value of a key, or that it is deleted; answers how long the value before it was, if the key was here.
    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<usize> {
        let Some(at) = self.leaf_of(key) else {
            self.put_leaf(0, Leaf::default(), key, value);
            return None;
        };
        let leaf = &mut self.leaves[at];
        match leaf.search(key) {
            Ok(place) => {
                let before = leaf.entry(place).1.map_or(0, <[u8]>::len);
                leaf.replace(place, value);
                return Some(before);
            }
            Err(place) if !leaf.is_full() => {
                leaf.insert(place, key, value);
                self.count += 1;
            }
            Err(0) => self.put_leaf(at, Leaf::default(), key, value),
            Err(place) if place == leaf.len() => {
                let fresh = Leaf::like(leaf);
                self.put_leaf(at + 1, fresh, key, value);
            }
            Err(place) => {
                let half = leaf.len() / 2;
                let (mut lower, mut upper) = (leaf.copied(0, half), leaf.copied(half, leaf.len()));
                match place.checked_sub(half) {
                    Some(place) => upper.insert(place, key, value),
                    None => lower.insert(place, key, value),
                }
                *leaf = lower;
                self.leaves.insert(at + 1, upper);
                self.count += 1;
            }
        }
        None
    }

    fn put_leaf(&mut self, at: usize, mut leaf: Leaf, key: &[u8], value: Option<&[u8]>) {
        leaf.push(key, value);
        self.leaves.insert(at, leaf);
        self.last.set(at);
        self.count += 1;
    }

    /// Removes the entries in `[from, to)`; each is told.
    pub(crate) fn remove(&mut self, from: &[u8], to: &[u8], mut each: impl FnMut(KeyValue<'_>)) {
        let first = self.leaf_of(from).unwrap_or_default();
        let mut has_empty = false;
        for leaf in self.leaves.range_mut(first..) {
            let range = leaf.search(from).unwrap_or_else(|at| at)..leaf.search(to).unwrap_or_else(|at| at);
            if range.end < leaf.len() && range.is_empty() {
                break;
            }
            range.clone().for_each(|at| each(leaf.entry(at)));
            self.count -= range.len();
            // What is left is copied, so that its memory is not kept by a few entries.
            match range.len() {
                0 => {}
                removed if removed == leaf.len() => {
                    *leaf = Leaf::default();
                    has_empty = true;
                }
                _ => {
                    let mut rest = leaf.copied(0, range.start);
                    (range.end..leaf.len()).map(|at| leaf.entry(at)).for_each(|(key, value)| rest.push(key, value));
                    *leaf = rest;
                }
            }
        }
        if has_empty {
            self.leaves.retain(|leaf| leaf.len() > 0);
            self.last.set(0);
        }
    }

    /// Takes the first entries: as many as there are until `is_enough`, which is told of each, says so.
    pub(crate) fn take_first(&mut self, mut is_enough: impl FnMut(KeyValue<'_>) -> bool) -> Vec<Leaf> {
        let mut taken = Vec::new();
        self.last.set(0);
        while let Some(leaf) = self.leaves.front_mut() {
            let found = leaf.entries().position(&mut is_enough);
            let count = found.map_or(leaf.len(), |at| at + 1);
            self.count -= count;
            if count == leaf.len() {
                taken.extend(self.leaves.pop_front());
            } else {
                taken.push(leaf.copied(0, count));
                leaf.places.drain(..count);
            }
            if found.is_some() {
                break;
            }
        }
        taken
    }

    /// Where the entries at or behind a key begin.
    fn place(&self, key: &[u8]) -> (usize, usize) {
        let leaf = self.leaf_of(key).unwrap_or_default();
        (leaf, self.leaves.get(leaf).map_or(0, |leaf| leaf.search(key).unwrap_or_else(|at| at)))
    }

    /// The entries in `[from, to)`, in order.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> Walk<'_> {
        Walk { leaves: &self.leaves, front: self.place(from), back: self.place(to) }
    }

    /// The entries behind a key, in order; all without one.
    pub(crate) fn behind(&self, key: Option<&[u8]>) -> Walk<'_> {
        let mut front = key.map_or((0, 0), |key| self.place(key));
        let is_it = |leaf: &Leaf| front.1 < leaf.len() && Some(leaf.key(front.1)) == key;
        front.1 += usize::from(self.leaves.get(front.0).is_some_and(is_it));
        Walk { leaves: &self.leaves, front, back: (self.leaves.len(), 0) }
    }
}

/// Entries between two places, each a leaf and an entry in it.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    leaves: &'a VecDeque<Leaf>,
    front: (usize, usize),
    back: (usize, usize),
}

impl<'a> Iterator for Walk<'a> {
    type Item = KeyValue<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            let leaf = &self.leaves[self.front.0];
            if self.front.1 < leaf.len() {
                self.front.1 += 1;
                return Some(leaf.entry(self.front.1 - 1));
            }
            self.front = (self.front.0 + 1, 0);
        }
        None
    }
}

impl DoubleEndedIterator for Walk<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            if self.back.1 > 0 {
                self.back.1 -= 1;
                return Some(self.leaves[self.back.0].entry(self.back.1));
            }
            let leaf = self.back.0 - 1;
            self.back = (leaf, self.leaves[leaf].len());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::ops::Bound;
    use tantu_weather::SimEntropy;

    type Plain = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn owned((key, value): KeyValue<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        (key.to_vec(), value.map(<[u8]>::to_vec))
    }

    fn check(leaves: &Leaves, plain: &Plain, chance: &mut SimEntropy) {
        assert_eq!(leaves.count(), plain.len());
        assert!(leaves.leaves.iter().all(|leaf| (1..=LEAF_COUNT_MAX).contains(&leaf.len())));
        assert!(leaves.behind(None).map(owned).eq(plain.clone()));
        let mut keys: Vec<Vec<u8>> = (0..2).map(|_| (chance.below(5_000) as u16).to_be_bytes().to_vec()).collect();
        let after = plain.range::<Vec<u8>, _>((Bound::Excluded(&keys[0]), Bound::Unbounded));
        assert!(leaves.behind(Some(&keys[0])).map(owned).eq(after.map(|(key, value)| (key.clone(), value.clone()))));
        keys.sort();
        let within = || plain.range(keys[0].clone()..keys[1].clone()).map(|(key, value)| (key.clone(), value.clone()));
        assert!(leaves.range(&keys[0], &keys[1]).map(owned).eq(within()));
        assert!(leaves.range(&keys[0], &keys[1]).rev().map(owned).eq(within().rev()));
        assert_eq!(leaves.get(&keys[0]), plain.get(&keys[0]).map(Option::as_deref));
    }

    #[test]
    fn entries_written_in_any_order_read_like_a_plain_map() {
        for seed in 0..40 {
            let mut chance = SimEntropy::new(seed);
            let (mut leaves, mut plain) = (Leaves::default(), Plain::new());
            let mut next = 0;
            for _ in 0..30 {
                // A stretch of writes ascends, descends, or goes anywhere.
                let way = chance.below(3);
                for _ in 0..chance.below(300) {
                    next = match way {
                        0 => (next + chance.below(4)) % 5_000,
                        1 => (next + 5_000 - chance.below(4)) % 5_000,
                        _ => chance.below(5_000),
                    };
                    let key = (next as u16).to_be_bytes();
                    let value = (chance.below(9) > 0).then(|| vec![way as u8; chance.below(20) as usize]);
                    let before = plain.insert(key.to_vec(), value.clone());
                    let found = leaves.set(&key, value.as_deref());
                    assert_eq!(found, before.map(|value| value.map_or(0, |value| value.len())), "seed {seed}");
                }
                check(&leaves, &plain, &mut chance);
                let (from, to) = (chance.below(5_000) as u16, chance.below(500) as u16);
                let (from, to) = (from.to_be_bytes().to_vec(), (from + to).to_be_bytes().to_vec());
                let mut removed = Vec::new();
                leaves.remove(&from, &to, |entry| removed.push(owned(entry)));
                assert_eq!(removed, plain.extract_if(from..to, |_, _| true).collect::<Vec<_>>(), "seed {seed}");
                check(&leaves, &plain, &mut chance);
                let mut left = chance.below(200);
                let taken = leaves.take_first(|_| {
                    left = left.saturating_sub(1);
                    left == 0
                });
                for entry in taken.iter().flat_map(Leaf::entries).map(owned) {
                    assert_eq!(Some(entry), plain.pop_first(), "seed {seed}");
                }
                check(&leaves, &plain, &mut chance);
            }
        }
    }

    #[test]
    fn entries_that_ascend_fill_leaves_and_long_values_leave_nothing_behind() {
        let mut leaves = Leaves::default();
        for n in 0..10_000u32 {
            leaves.set(&n.to_be_bytes(), Some(b"value"));
        }
        assert_eq!(leaves.leaves.len(), 10_000usize.div_ceil(LEAF_COUNT_MAX));
        for len in [100, 3, 200, 150, 10, 400] {
            for n in 0..10_000u32 {
                leaves.set(&n.to_be_bytes(), Some(&vec![n as u8; len]));
            }
        }
        let size: usize = leaves.leaves.iter().map(|leaf| leaf.bytes.len()).sum();
        assert!(size <= 2 * 10_000 * 404 + leaves.leaves.len() * UNUSED_SIZE_MIN, "{size}");
        assert!(leaves.behind(None).zip(0u32..).all(|((_, value), n)| value == Some(&[n as u8; 400][..])));
    }
}
