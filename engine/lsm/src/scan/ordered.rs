//! Visiting the keys of several sources in one order, up or down.

use super::Visit;
use crate::block::shared_len;
use crate::error::Stop;
use crate::memtable::{RangeDelete, Revision};
use crate::table::head;
use std::cmp::Ordering;

/// One sorted source of a scan. It stands at a key of which the reader sees a revision, or has come to its end.
pub(super) trait Source<'a> {
    fn key(&self) -> &[u8];

    /// The newest revision of the key that the reader sees.
    fn revision(&self) -> Revision<'a>;

    /// Moves to the next key of which the reader sees a revision; false at the end.
    fn advance(&mut self) -> Result<bool, Stop>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Where a source stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Sorts as its key does, as far as it goes.
    rank: u64,
    source: usize,
}

/// Sources in the order of the keys they stand at; at the same key those that come earlier among the sources are earlier.
pub(super) struct Ordered<S> {
    sources: Vec<S>,
    order: Vec<Standing>,
    direction: Direction,
    /// Bytes that all keys begin with alike.
    shared_len: usize,
}

impl<'a, S: Source<'a>> Ordered<S> {
    /// Puts in order sources that stand at keys in `[from, to)`.
    pub(super) fn new(sources: Vec<S>, direction: Direction, from: &[u8], to: &[u8]) -> Self {
        let order = Vec::with_capacity(sources.len());
        let mut ordered = Self { sources, order, direction, shared_len: shared_len(from, to) };
        for source in (0..ordered.sources.len()).rev() {
            ordered.order.insert(0, Standing { rank: ordered.rank(source), source });
            ordered.sink(0);
        }
        ordered
    }

    /// Visits all keys whose newest revision is a value and not deleted by a range, until the visitor breaks. Sources stand
    /// newest first, so that of several at a key the first has the revision that counts.
    pub(super) fn visit(mut self, ranges: &[&RangeDelete], visit: Visit<'_>) -> Result<(), Stop> {
        while let Some(first) = self.order.first() {
            let source = &self.sources[first.source];
            let (key, Revision { version, value }) = (source.key(), source.revision());
            let hides = |range: &&RangeDelete| range.version > version && range.covers(key);
            if let Some(value) = value.filter(|_| !ranges.iter().any(hides))
                && visit(key, value).is_break()
            {
                return Ok(());
            }
            let is_same = |other: &&Standing| other.rank == first.rank && self.sources[other.source].key() == key;
            for place in (0..=self.order[1..].iter().take_while(is_same).count()).rev() {
                self.advance(place)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn rank(&self, source: usize) -> u64 {
        let head = head(self.sources[source].key().get(self.shared_len..).unwrap_or_default());
        if self.direction == Direction::Up { head } else { !head }
    }

    /// Moves the source at a place in the order to its next key.
    #[inline]
    fn advance(&mut self, place: usize) -> Result<(), Stop> {
        let source = self.order[place].source;
        if !self.sources[source].advance()? {
            self.order.remove(place);
        } else if self.order.len() > 1 {
            // The rank of one that is alone is not asked for.
            self.order[place].rank = self.rank(source);
            self.sink(place);
        }
        Ok(())
    }

    /// Moves the source at a place behind those that are before it.
    #[inline]
    fn sink(&mut self, mut place: usize) {
        while let Some([sinking, next]) = self.order.get(place..place + 2) {
            if !self.is_before(next, sinking) {
                return;
            }
            self.order.swap(place, place + 1);
            place += 1;
        }
    }

    #[inline]
    fn is_before(&self, a: &Standing, b: &Standing) -> bool {
        let by_key = || {
            let [a, b] = [a, b].map(|standing| self.sources[standing.source].key());
            if self.direction == Direction::Up { a.cmp(b) } else { b.cmp(a) }
        };
        a.rank.cmp(&b.rank).then_with(by_key).then_with(|| a.source.cmp(&b.source)) == Ordering::Less
    }
}
