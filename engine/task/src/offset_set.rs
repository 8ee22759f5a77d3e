//! A set of offsets that is small where they follow each other: ranges of them.

use std::collections::BTreeMap;
use tantu_base::id::Offset;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OffsetSet {
    /// First offset to the one behind the last; ranges do not touch.
    ranges: BTreeMap<u64, u64>,
}

impl OffsetSet {
    /// Adds an offset; false if it was there.
    pub(crate) fn insert(&mut self, offset: Offset) -> bool {
        let at = offset.0;
        let before = self.ranges.range(..=at).next_back().map(|(from, to)| (*from, *to));
        if before.is_some_and(|(_, to)| to > at) {
            return false;
        }
        let from = before.filter(|(_, to)| *to == at).map_or(at, |(from, _)| from);
        let to = self.ranges.remove(&(at + 1)).unwrap_or(at + 1);
        self.ranges.insert(from, to);
        true
    }

    pub(crate) fn contains(&self, offset: Offset) -> bool {
        self.ranges.range(..=offset.0).next_back().is_some_and(|(_, to)| *to > offset.0)
    }

    /// Whether an offset that is added makes no range more.
    pub(crate) fn touches(&self, offset: Offset) -> bool {
        let before = self.ranges.range(..=offset.0).next_back();
        before.is_some_and(|(_, to)| *to >= offset.0) || self.ranges.contains_key(&(offset.0 + 1))
    }

    /// How many ranges.
    pub(crate) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Offsets below this one go.
    pub(crate) fn forget_below(&mut self, start: Offset) {
        while let Some(first) = self.ranges.first_entry().filter(|first| *first.key() < start.0) {
            let to = first.remove();
            if to > start.0 {
                self.ranges.insert(start.0, to);
            }
        }
    }

    /// The lowest range goes.
    pub(crate) fn forget_lowest(&mut self) {
        self.ranges.pop_first();
    }

    /// The ranges, ascending: the first offset, and the one behind the last.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Offset, Offset)> {
        self.ranges.iter().map(|(from, to)| (Offset(*from), Offset(*to)))
    }

    /// What they hold from an offset on.
    pub(crate) fn ranges_from(&self, start: Offset) -> impl Iterator<Item = (Offset, Offset)> {
        self.ranges().filter(move |(_, to)| *to > start).map(move |(from, to)| (from.max(start), to))
    }

    /// Adds a range that is behind all others and not empty.
    pub(crate) fn push(&mut self, from: Offset, to: Offset) {
        match self.ranges.last_entry() {
            Some(mut last) if *last.get() == from.0 => *last.get_mut() = to.0,
            _ => _ = self.ranges.insert(from.0, to.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_holds_what_a_plain_set_holds_in_ranges_that_do_not_touch() {
        let (mut set, mut plain) = (OffsetSet::default(), BTreeSet::new());
        for n in 0..4_000u64 {
            let offset = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 512;
            if n % 97 == 96 {
                set.forget_below(Offset(offset / 2));
                plain.retain(|kept| *kept >= offset / 2);
            }
            let ranges = set.range_count();
            let touches = set.touches(Offset(offset));
            assert_eq!(set.insert(Offset(offset)), plain.insert(offset), "{n}");
            assert_eq!(set.range_count() > ranges, !touches, "{n}");
            assert!((0..512).all(|offset| set.contains(Offset(offset)) == plain.contains(&offset)), "{n}");
            assert!(set.ranges().zip(set.ranges().skip(1)).all(|(a, b)| a.1 < b.0), "{n}");
        }
    }
}
