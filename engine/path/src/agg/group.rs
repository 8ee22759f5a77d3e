//! The states of a fold, by group: a hash table of numbers, keys and plain states in an arena.
//!
//! A new group takes no allocation of its own once the arena has grown, and a plain state that fits its cell is
//! replaced in place. The first state of a group lies behind its key: who looks up the one fetches the other. Only
//! collections are objects of their own.

use super::live::{Form, Live};
use super::number::Number;
use super::slots::Slots;
use tantu_base::prefetch::{prefetch, prefetch_lines};

/// Bytes a plain state gets at first: every scalar but text fits.
const CELL_SIZE: usize = 16;
/// Bytes of abandoned cells below which nobody looks.
const UNUSED_SIZE_MIN: usize = 64 << 10;

/// The groups and their states, a fixed number each.
#[derive(Debug)]
pub(super) struct Groups {
    forms: Vec<Form>,
    slots: Slots,
    hasher: foldhash::fast::FixedState,
    groups: Vec<Group>,
    cells: Vec<Cell>,
    /// Keys and plain states.
    bytes: Vec<u8>,
    unused: usize,
    lives: Vec<Live>,
    live_size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    hash: u64,
    start: u32,
    len: u32,
}

/// Where a plain state lies in the arena; or, for a collection, at `start` which it is; or a number as it is packed.
#[derive(Clone, Copy, Debug)]
struct Cell {
    start: u64,
    len: u32,
    capacity: u32,
}

impl Groups {
    pub(super) fn new(forms: Vec<Form>) -> Groups {
        Groups {
            forms,
            slots: Slots::default(),
            hasher: foldhash::fast::FixedState::default(),
            groups: Vec::new(),
            cells: Vec::new(),
            bytes: Vec::new(),
            unused: 0,
            lives: Vec::new(),
            live_size: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
            + self.live_size
            + self.groups.len() * (size_of::<Group>() + 3 * size_of::<u32>())
            + self.cells.len() * size_of::<Cell>()
            + self.lives.len() * size_of::<Live>()
    }

    /// Forgets everything and keeps the memory of the arenas.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.groups.clear();
        self.cells.clear();
        self.bytes.clear();
        self.unused = 0;
        self.lives.clear();
        self.live_size = 0;
    }

    /// The group of a key, made if it is new.
    #[inline]
    pub(super) fn at(&mut self, key: &[u8]) -> usize {
        self.at_hashed(self.hash(key), key)
    }

    /// The same for a key with its hash.
    #[inline]
    pub(super) fn at_hashed(&mut self, hash: u64, key: &[u8]) -> usize {
        let found = self.slots.find(hash, |at| self.key_of(&self.groups[at as usize]) == key);
        match found {
            Some(at) => at as usize,
            None => self.insert(hash, key),
        }
    }

    /// A group that may be that of a hash.
    #[inline]
    pub(super) fn candidate(&self, hash: u64) -> Option<usize> {
        self.slots.find(hash, |_| true).map(|at| at as usize)
    }

    /// Has fetched what says which group is that of a hash.
    #[inline]
    pub(super) fn expect_hash(&self, hash: u64) {
        self.slots.expect(hash);
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::BuildHasher;
        self.hasher.hash_one(key)
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> usize {
        let at = u32::try_from(self.groups.len()).expect("invariant: a fold's memory ends long before 2^32 groups");
        let groups = &self.groups;
        self.slots.insert(hash, at, |at| groups[at as usize].hash);
        let short = |len: usize| u32::try_from(len).expect("invariant: a fold's memory ends long before 4 GiB");
        self.groups.push(Group { hash, start: short(self.bytes.len()), len: short(key.len()) });
        self.bytes.extend_from_slice(key);
        for form in &self.forms {
            let start = match form {
                Form::Plain | Form::Number => 0,
                Form::List | Form::Set | Form::Map => {
                    self.lives.push(Live::new(*form));
                    self.lives.len() as u64 - 1
                }
            };
            self.cells.push(Cell { start, len: 0, capacity: 0 });
        }
        at as usize
    }

    #[inline]
    fn key_of(&self, group: &Group) -> &[u8] {
        &self.bytes[group.start as usize..][..group.len as usize]
    }

    #[inline]
    pub(super) fn key(&self, group: usize) -> &[u8] {
        self.key_of(&self.groups[group])
    }

    #[inline]
    fn cell(&self, group: usize, state: usize) -> usize {
        group * self.forms.len() + state
    }

    /// A plain state; none if there was no row yet.
    #[inline]
    pub(super) fn plain(&self, group: usize, state: usize) -> Option<&[u8]> {
        let cell = self.cells[self.cell(group, state)];
        (cell.len > 0).then(|| &self.bytes[cell.start as usize..][..cell.len as usize])
    }

    /// A number; none if there was no row yet.
    #[inline]
    pub(super) fn number(&self, group: usize, state: usize) -> Option<Number> {
        debug_assert_eq!(self.forms[state], Form::Number);
        let Cell { start: bits, len: of, .. } = self.cells[self.cell(group, state)];
        Number::unpacked((of, bits))
    }

    /// Replaces a number.
    #[inline]
    pub(super) fn set_number(&mut self, group: usize, state: usize, number: Number) {
        let (at, (of, bits)) = (self.cell(group, state), number.packed());
        self.cells[at] = Cell { start: bits, len: of, capacity: 0 };
    }

    /// Has fetched what says where a group lies.
    #[inline]
    pub(super) fn expect(&self, group: usize) {
        self.groups.get(group).into_iter().for_each(prefetch);
        self.cells.get(group * self.forms.len()).into_iter().for_each(prefetch);
    }

    /// Has fetched the key and the first state of a group.
    #[inline]
    pub(super) fn expect_bytes(&self, group: usize) {
        if let Some(Group { start, len, .. }) = self.groups.get(group) {
            self.bytes.get(*start as usize..).into_iter().for_each(|bytes| prefetch_lines(bytes, 1));
            self.bytes.get((start + len) as usize..).into_iter().for_each(|bytes| prefetch_lines(bytes, 1));
        }
    }

    /// Replaces a plain state.
    #[inline]
    pub(super) fn set_plain(&mut self, group: usize, state: usize, bytes: &[u8]) {
        let at = self.cell(group, state);
        if bytes.len() > self.cells[at].capacity as usize {
            self.grow(at, bytes.len());
        }
        let cell = &mut self.cells[at];
        cell.len = bytes.len() as u32;
        self.bytes[cell.start as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn grow(&mut self, at: usize, len: usize) {
        self.unused += self.cells[at].capacity as usize;
        self.cells[at].len = 0;
        if self.unused > UNUSED_SIZE_MIN && self.unused > self.bytes.len() / 2 {
            self.compact();
        }
        let capacity = len.next_power_of_two().max(CELL_SIZE);
        self.cells[at].start = self.bytes.len() as u64;
        self.cells[at].capacity = u32::try_from(capacity).expect("invariant: a state is shorter than 2 GiB");
        self.bytes.resize(self.bytes.len() + capacity, 0);
    }

    /// Leaves the abandoned cells behind.
    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.unused);
        let count = self.forms.len().max(1);
        for (at, group) in self.groups.iter_mut().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[group.start as usize..][..group.len as usize]);
            group.start = start as u32;
            let cells = self.cells.iter_mut().skip(at * count).zip(&self.forms);
            for (cell, _) in cells.filter(|(cell, form)| **form == Form::Plain && cell.len > 0) {
                let start = bytes.len() as u64;
                bytes.extend_from_slice(&self.bytes[cell.start as usize..][..cell.capacity as usize]);
                cell.start = start;
            }
        }
        self.bytes = bytes;
        self.unused = 0;
    }

    /// Changes a collection.
    pub(super) fn with_live<T>(&mut self, group: usize, state: usize, change: impl FnOnce(&mut Live) -> T) -> T {
        let at = self.cells[self.cell(group, state)].start as usize;
        let live = &mut self.lives[at];
        let before = live.size();
        let answer = change(live);
        self.live_size = self.live_size - before + live.size();
        answer
    }

    pub(super) fn live(&self, group: usize, state: usize) -> &Live {
        &self.lives[self.cells[self.cell(group, state)].start as usize]
    }

    /// The groups in the order of their keys.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let Some(first) = self.groups.first().map(|_| self.key(0)) else { return Vec::new() };
        let keys = || (0..self.groups.len()).map(|group| self.key(group));
        let shared = keys().fold(first.len(), |shared, key| shared_len(&first[..shared], key));
        // Most pairs differ in what is right behind the bytes that all keys begin with: keys themselves are far apart.
        let head = |key: &[u8]| {
            let mut head = [0; 8];
            head.iter_mut().zip(&key[shared..]).for_each(|(to, byte)| *to = *byte);
            u64::from_be_bytes(head)
        };
        let mut order: Vec<(u64, u32)> = keys().map(head).zip(0..).collect();
        order.sort_unstable_by(|(one, a), (other, b)| {
            one.cmp(other).then_with(|| self.key(*a as usize).cmp(self.key(*b as usize)))
        });
        order.into_iter().map(|(_, group)| group).collect()
    }
}

/// How many bytes two keys begin with alike.
fn shared_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_sorted_as_their_keys_are_whatever_those_begin_with() {
        let mut random = 7u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for prefix in ["", "k", "a long beginning"] {
            let mut groups = Groups::new(vec![Form::Plain]);
            let mut keys = std::collections::BTreeSet::new();
            for _ in 0..400 {
                // Few letters, zero among them, and lengths around that of a head: many share one.
                let tail = (0..next(14)).map(|_| [0, 1, b'a', 255][next(4) as usize]);
                let key: Vec<u8> = prefix.bytes().chain(tail).collect();
                groups.at(&key);
                keys.insert(key);
            }
            let sorted: Vec<Vec<u8>> = groups.sorted().iter().map(|at| groups.key(*at as usize).to_vec()).collect();
            assert_eq!(sorted, keys.into_iter().collect::<Vec<_>>(), "behind {prefix:?}");
        }
        assert_eq!(Groups::new(vec![Form::Plain]).sorted(), Vec::<u32>::new());
    }

    #[test]
    fn states_that_grow_leave_their_cells_and_the_arena_is_compacted() {
        let mut groups = Groups::new(vec![Form::Plain, Form::List]);
        let long = |n: usize, len: usize| vec![n as u8; len];
        for len in [1usize, 100, 5_000, 200] {
            for n in 0..100usize {
                let at = groups.at(&n.to_be_bytes());
                assert_eq!(at, n);
                groups.set_plain(at, 0, &long(n, len));
            }
        }
        for n in 0..100usize {
            assert_eq!(groups.plain(n, 0), Some(&long(n, 200)[..]));
            assert_eq!(groups.key(n), n.to_be_bytes());
        }
        assert!(groups.bytes.len() <= 100 * 8192 + 8192 + 2 * UNUSED_SIZE_MIN, "{}", groups.bytes.len());
        groups.clear();
        assert_eq!((groups.len(), groups.size()), (0, 0));
    }

    #[test]
    fn numbers_stay_as_they_are_while_the_states_beside_them_are_moved() {
        let mut groups = Groups::new(vec![Form::Number, Form::Plain]);
        let number = |n: usize| match n % 3 {
            0 => Number::I64(-(n as i64)),
            1 => Number::U64(u64::MAX - n as u64),
            _ => Number::F64(-0.5 * n as f64),
        };
        for len in [1usize, 100, 5_000, 200] {
            for n in 0..100usize {
                let at = groups.at(&n.to_be_bytes());
                let before = groups.number(at, 0);
                assert_eq!(before.is_none(), len == 1, "none before the first row");
                assert!(before.is_none_or(|before| before.packed() == number(n).packed()));
                groups.set_number(at, 0, number(n));
                groups.set_plain(at, 1, &vec![n as u8; len]);
            }
        }
        groups.clear();
        let at = groups.at(b"again");
        assert!(groups.number(at, 0).is_none());
    }
}
