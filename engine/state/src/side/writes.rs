//! The writes of one side run: ordered entries over deleted ranges, last write of a key wins.
//!
//! Ordered, because a microbatch reads ranges of what it wrote as often as it likes: a layer of the pending overlay, which
//! is small, looks at all it has for that, and a run may be large.

use super::leaves::{KeyValue, Leaf, Leaves};
use crate::staged::Known;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What an entry takes beside its key and its value, in bytes: its place, and what its leaf or its node has to spare.
const ENTRY_SIZE: usize = 64;

/// Deleted ranges, disjoint, by their first key.
#[derive(Debug, Default)]
pub(crate) struct RangeSet {
    ranges: BTreeMap<Vec<u8>, Vec<u8>>,
    size: usize,
}

impl RangeSet {
    /// Bytes it holds.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether a key is in one of them.
    #[inline]
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        !self.ranges.is_empty() && self.ranges.range::<[u8], _>(up_to).next_back().is_some_and(|(_, to)| key < &to[..])
    }

    /// Adds `[from, to)`, which swallows the ranges it meets; the bytes of what it became.
    pub(crate) fn add(&mut self, from: &[u8], to: &[u8]) -> usize {
        let (mut low, mut high) = (from.to_vec(), to.to_vec());
        let up_to = (Bound::Unbounded, Bound::Included(to));
        while let Some((start, end)) = self.ranges.range::<[u8], _>(up_to).next_back()
            && end[..] >= low[..]
        {
            let start = start.clone();
            if let Some(end) = self.ranges.remove(&start) {
                self.size -= entry_size(&start, Some(&end));
                high = high.max(end);
            }
            low = low.min(start);
        }
        let size = entry_size(&low, Some(&high));
        self.size += size;
        self.ranges.insert(low, high);
        size
    }

    /// Those that begin behind `key`, in order; all without one.
    fn behind(&self, key: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.ranges.range::<[u8], _>((from, Bound::Unbounded)).map(|(from, to)| (&from[..], &to[..]))
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.behind(None)
    }

    /// Takes all of them.
    fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + use<> {
        self.size = 0;
        std::mem::take(&mut self.ranges).into_iter()
    }
}

/// Writes that were taken out of a run: ranges come before entries.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) ranges: Vec<(Vec<u8>, Vec<u8>)>,
    /// In the order of keys.
    leaves: Vec<Leaf>,
}

impl Slice {
    /// One entry more, behind the others.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.leaves.is_empty() {
            self.leaves.push(Leaf::default());
        }
        if let Some(last) = self.leaves.last_mut() {
            last.push(key, value);
        }
    }

    /// In the order of keys; `None`: deleted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = KeyValue<'_>> {
        self.leaves.iter().flat_map(|leaf| (0..leaf.len()).map(|at| leaf.entry(at)))
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.leaves.iter().map(Leaf::len).sum()
    }

    /// The key of the last entry.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.leaves.last().and_then(|leaf| leaf.len().checked_sub(1).map(|at| leaf.entry(at).0))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SideWrites {
    entries: Leaves,
    /// What an entry says of a key within is newer.
    ranges: RangeSet,
    size: usize,
    /// The size of the largest write there was.
    largest: usize,
}

fn entry_size(key: &[u8], value: Option<&[u8]>) -> usize {
    ENTRY_SIZE + key.len() + value.map_or(0, <[u8]>::len)
}

impl SideWrites {
    /// Bytes it holds.
    pub(crate) fn size(&self) -> usize {
        self.size + self.ranges.size()
    }

    /// How many writes it holds.
    pub(crate) fn count(&self) -> usize {
        self.entries.count() + self.ranges.ranges.len()
    }

    /// Takes the deleted ranges, and the first entries: at most so many, and few more bytes than `size`.
    pub(crate) fn take_slice(&mut self, count: usize, size: usize) -> Slice {
        let ranges = self.ranges.take().collect();
        if count == 0 || size == 0 {
            return Slice { ranges, leaves: Vec::new() };
        }
        let (mut taken, mut left) = (0, count);
        let leaves = self.entries.take_first(|(key, value)| {
            taken += entry_size(key, value);
            left -= 1;
            left == 0 || taken >= size
        });
        self.size -= taken;
        Slice { ranges, leaves }
    }

    /// Bytes of the largest write there was.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// How many bytes it holds after [`SideWrites::set`].
    pub(crate) fn size_with(&self, key: &[u8], value: Option<&[u8]>) -> usize {
        self.size() + entry_size(key, value)
    }

    /// What it knows of a key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Known<'_> {
        match self.entries.get(key) {
            Some(value) => known(value),
            None if self.is_deleted(key) => Known::Deleted,
            None => Known::Nothing,
        }
    }

    /// Whether a deleted range hides what the tree has of a key.
    #[inline]
    pub(crate) fn is_deleted(&self, key: &[u8]) -> bool {
        self.ranges.holds(key)
    }

    /// Sets a key's value, or deletes it.
    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some(before) = self.entries.set(key, value) {
            self.size -= entry_size(key, None) + before;
        }
        self.size += entry_size(key, value);
        self.largest = self.largest.max(entry_size(key, value));
    }

    /// Deletes every key in `[from, to)`.
    pub(crate) fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        let size = &mut self.size;
        self.entries.remove(from, to, |(key, value)| *size -= entry_size(key, value));
        self.largest = self.largest.max(self.ranges.add(from, to));
    }

    /// What it knows of the keys of a range, in order; deleted ranges apart.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], Known<'_>)> {
        self.entries.range(from, to.max(from)).map(|(key, value)| (key, known(value)))
    }

    /// Every key it says something of behind `key`, in order; all without one.
    pub(crate) fn behind(&self, key: Option<&[u8]>) -> impl Iterator<Item = KeyValue<'_>> {
        self.entries.behind(key)
    }

    /// The deleted ranges that begin behind `key`, in order; all without one.
    pub(crate) fn ranges_behind(&self, key: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges.behind(key)
    }
}

fn known(value: Option<&[u8]>) -> Known<'_> {
    value.map_or(Known::Deleted, Known::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_weather::SimEntropy;

    #[test]
    fn random_writes_read_like_a_plain_map_over_a_full_tree() {
        for seed in 0..300 {
            let mut chance = SimEntropy::new(seed);
            let mut writes = SideWrites::default();
            // Every key of one byte had a value before; `None` is that value.
            let mut plain: BTreeMap<u8, Option<Option<Vec<u8>>>> = (0..=255).map(|key| (key, None)).collect();
            for _ in 0..60 {
                let (key, other) = (chance.below(256) as u8, chance.below(256) as u8);
                match chance.below(5) {
                    0 => {
                        writes.delete_range(&[key], &[other]);
                        plain.iter_mut().filter(|(k, _)| key <= **k && **k < other).for_each(|(_, v)| *v = Some(None));
                    }
                    1 => {
                        writes.set(&[key], None);
                        plain.insert(key, Some(None));
                    }
                    _ => {
                        let value = vec![other; chance.below(9) as usize];
                        writes.set(&[key], Some(&value));
                        plain.insert(key, Some(Some(value)));
                    }
                }
            }
            for (key, expected) in &plain {
                let expected = match expected {
                    None => Known::Nothing,
                    Some(None) => Known::Deleted,
                    Some(Some(value)) => Known::Value(value),
                };
                assert_eq!(writes.get(&[*key]), expected, "seed {seed}, key {key}");
            }
            let ranges: Vec<_> = writes.ranges_behind(None).collect();
            assert!(ranges.iter().all(|(from, to)| from < to), "{ranges:?}");
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "seed {seed}: {ranges:?} touch each other");
            let entries = writes.behind(None).map(|(key, value)| entry_size(key, value)).sum::<usize>();
            let ranges = ranges.iter().map(|(from, to)| entry_size(from, Some(to))).sum::<usize>();
            assert_eq!(writes.size(), entries + ranges, "seed {seed}: its size is another than what it holds");
        }
    }

    #[test]
    fn slices_are_all_writes_once_in_order_and_the_ranges_come_first() {
        let mut writes = SideWrites::default();
        (0..100u8).for_each(|key| writes.set(&[key], (key % 3 > 0).then_some(&[key; 100][..])));
        writes.delete_range(&[40], &[50]);
        writes.delete_range(&[200], &[210]);
        let mut taken = Vec::new();
        let mut take = |slice: &Slice| {
            let owned = |(key, value): KeyValue<'_>| (key.to_vec(), value.map(<[u8]>::to_vec));
            assert_eq!(slice.entries().last().map(|(key, _)| key), slice.last_key());
            taken.extend(slice.entries().map(owned));
            slice.len()
        };
        let first = writes.take_slice(7, usize::MAX);
        assert_eq!((first.ranges.len(), take(&first)), (2, 7));
        while writes.count() > 0 {
            let slice = writes.take_slice(usize::MAX, 1000);
            assert!(slice.ranges.is_empty() && (1..16).contains(&take(&slice)), "{slice:?}");
        }
        let expected = (0..40u8).chain(50..100).map(|key| (vec![key], (key % 3 > 0).then(|| vec![key; 100])));
        assert!(taken.into_iter().eq(expected));
        assert_eq!(writes.size(), 0);
    }

    #[test]
    fn an_empty_or_turned_range_has_nothing() {
        let mut writes = SideWrites::default();
        writes.set(b"b", Some(b"1"));
        writes.delete_range(b"c", b"a");
        assert_eq!(writes.get(b"b"), Known::Value(b"1"));
        assert_eq!(writes.range(b"c", b"a").count() + writes.range(b"b", b"b").count(), 0);
        assert_eq!(writes.range(b"a", b"c").count(), 1);
    }
}
