//! Committed writes that are not in a table yet: an ordered map with a short version chain per key.
//!
//! A hash index finds a key for point reads and overwrites; a sorted map of the keys serves scans and the flush, and is
//! touched only when a key is new. When a key is written again, versions no reader may ask for any more are dropped and their memory is used
//! again, so a hot counter does not grow the memtable.

use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;
use tantu_base::id::Version;

/// A value of a key at a version; `None` is a deletion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Revision {
    pub(crate) version: Version,
    pub(crate) value: Option<Vec<u8>>,
}

/// A deletion of every key in `[from, to)`, up to a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeDelete {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) version: Version,
}

/// The newest version at which a range deletion that a reader at `at` sees hides `key`.
pub(crate) fn hidden_at(ranges: &[RangeDelete], key: &[u8], at: Version) -> Option<Version> {
    let covers = |range: &&RangeDelete| range.version <= at && range.from[..] <= *key && *key < range.to[..];
    ranges.iter().filter(covers).map(|range| range.version).max()
}

/// Bytes counted per key beside its own: map node, slot, index, vectors, allocator.
const KEY_OVERHEAD_SIZE: usize = 128;

#[derive(Debug)]
struct Slot {
    key: Vec<u8>,
    /// Newest first.
    chain: Vec<Revision>,
}

#[derive(Debug, Default)]
pub(crate) struct Memtable {
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    sorted: BTreeMap<Vec<u8>, u32>,
    pub(crate) ranges: Vec<RangeDelete>,
    size: usize,
    /// The newest version applied.
    pub(crate) version: Version,
}

impl Memtable {
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn set(&mut self, key: &[u8], version: Version, value: Option<&[u8]>, floor: Version) {
        let Some(at) = self.find(key) else {
            self.size += 2 * key.len() + value.map_or(0, <[u8]>::len) + KEY_OVERHEAD_SIZE;
            self.insert(key, Revision { version, value: value.map(<[u8]>::to_vec) });
            return;
        };
        let chain = &mut self.slots[at].chain;
        // Everything after the newest revision at or below the floor is out of every reader's sight.
        let keep = chain.iter().position(|revision| revision.version <= floor).map_or(chain.len(), |at| at + 1);
        let mut spare = None;
        for dropped in chain.drain(keep..) {
            self.size -= dropped.value.as_ref().map_or(0, Vec::len) + size_of::<Revision>();
            spare = dropped.value.or(spare);
        }
        if let Some(same) = chain.first_mut().filter(|newest| newest.version == version) {
            self.size -= same.value.as_ref().map_or(0, Vec::len);
            self.size += value.map_or(0, <[u8]>::len);
            same.value = value.map(<[u8]>::to_vec);
            return;
        }
        let value = value.map(|value| {
            let mut bytes = spare.unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(value);
            bytes
        });
        self.size += value.as_ref().map_or(0, Vec::len) + size_of::<Revision>();
        chain.insert(0, Revision { version, value });
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |at| self.slots[*at as usize].key == key).map(|at| *at as usize)
    }

    fn insert(&mut self, key: &[u8], revision: Revision) {
        let at = u32::try_from(self.slots.len()).expect("invariant: a memtable is frozen far below 2^32 keys");
        self.slots.push(Slot { key: key.to_vec(), chain: vec![revision] });
        self.sorted.insert(key.to_vec(), at);
        let Self { index, slots, hasher, .. } = self;
        index.insert_unique(hasher.hash_one(key), at, |at| hasher.hash_one(&slots[*at as usize].key[..]));
    }

    pub(crate) fn delete_range(&mut self, range: RangeDelete) {
        self.size += range.from.len() + range.to.len() + KEY_OVERHEAD_SIZE;
        self.ranges.push(range);
    }

    /// The newest revision of a key a reader at `at` sees, range deletions aside.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], at: Version) -> Option<&Revision> {
        self.slots[self.find(key)?].chain.iter().find(|revision| revision.version <= at)
    }

    pub(crate) fn range<'a>(
        &'a self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [Revision])> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let empty = matches!(to, Bound::Excluded(to) if to <= from);
        let bounds = if empty { (Bound::Included(from), Bound::Excluded(from)) } else { (Bound::Included(from), to) };
        self.sorted.range::<[u8], _>(bounds).map(|(key, at)| (&key[..], &self.slots[*at as usize].chain[..]))
    }

    /// Keys after `key`, for a flush that goes on where it stopped.
    pub(crate) fn after<'a>(&'a self, key: Option<&[u8]>) -> impl Iterator<Item = (&'a [u8], &'a [Revision])> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.sorted.range::<[u8], _>((from, Bound::Unbounded));
        rest.map(|(key, at)| (&key[..], &self.slots[*at as usize].chain[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_key_does_not_grow_the_memtable() {
        let mut table = Memtable::default();
        for n in 1..=10_000u64 {
            table.set(b"hot", Version(n), Some(&n.to_le_bytes()), Version(n - 1));
        }
        assert!(table.size() < 300, "{}", table.size());
        assert_eq!(table.get(b"hot", Version(10_000)).map(|r| r.version), Some(Version(10_000)));
        assert_eq!(
            table.get(b"hot", Version(9_999)).map(|r| r.version),
            Some(Version(9_999)),
            "the floor stays readable"
        );
    }

    #[test]
    fn pinned_versions_stay() {
        let mut table = Memtable::default();
        for n in 1..=10u64 {
            table.set(b"k", Version(n), Some(&[n as u8]), Version(3));
        }
        for at in 3..=10u64 {
            assert_eq!(table.get(b"k", Version(at)).and_then(|r| r.value.clone()), Some(vec![at as u8]));
        }
    }
}
