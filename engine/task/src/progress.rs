//! The progress of a source as it is saved: the first record that is not done, which of those behind it were given up, and from which
//! record on those that were processed are counted.
//!
//! `base u64 · given up u64 … · first u64`, little-endian, offsets ascending and none below the base; of the last the highest bit is set,
//! and it may be missing: nothing was counted then. What was given up is in the depot of dead
//! letters with the same entry, so a restart must not process it again, though records before it are still to be done.

use std::collections::BTreeSet;
use tantu_base::id::Offset;

/// Tells the last offset from the others: there are never so many records.
const FIRST_BIT: u64 = 1 << 63;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SavedProgress {
    base: Offset,
    /// So many records less than `base` were processed.
    first: Offset,
    given_up: BTreeSet<Offset>,
    /// Whether what was given up is not saved yet.
    is_new: bool,
}

impl SavedProgress {
    /// At a record, with nothing given up behind it.
    pub(crate) fn at(base: Offset) -> SavedProgress {
        SavedProgress { base, first: base, ..SavedProgress::default() }
    }

    /// What was saved; `None` if the bytes are not that.
    pub(crate) fn decode(bytes: &[u8]) -> Option<SavedProgress> {
        let (offsets, rest) = bytes.as_chunks::<8>();
        let mut offsets = offsets.iter().map(|bytes| Offset(u64::from_le_bytes(*bytes)));
        let base = offsets.next().filter(|_| rest.is_empty())?;
        let mut given_up: Vec<Offset> = offsets.collect();
        let first = given_up.pop_if(|last| last.0 & FIRST_BIT != 0).map_or(base, |first| Offset(first.0 & !FIRST_BIT));
        let ascends = given_up.is_sorted_by(|a, b| a < b) && given_up.first().is_none_or(|first| *first >= base);
        let is_whole = ascends && first <= base;
        is_whole.then(|| SavedProgress { base, first, given_up: given_up.into_iter().collect(), is_new: false })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let first = Offset(self.first.0 | FIRST_BIT);
        let all = std::iter::once(&self.base).chain(&self.given_up).chain([&first]);
        all.flat_map(|offset| offset.0.to_le_bytes()).collect()
    }

    /// Where it was saved: a restart never goes back behind it.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// How many records were processed if all below `base` are done.
    pub(crate) fn count(&self, base: Offset) -> u64 {
        base.0.saturating_sub(self.first.0)
    }

    /// Not before this record: those below were trimmed, and nobody has processed them.
    pub(crate) fn not_before(mut self, start: Offset) -> SavedProgress {
        let missed = start.0.saturating_sub(self.base.0);
        (self.base.0, self.first.0) = (self.base.0 + missed, self.first.0 + missed);
        self.given_up = self.given_up.split_off(&self.base);
        self
    }

    pub(crate) fn is_given_up(&self, offset: Offset) -> bool {
        !self.given_up.is_empty() && self.given_up.contains(&offset)
    }

    /// Whether the same records from `from` on were given up as another has it.
    pub(crate) fn gave_up_as(&self, other: &SavedProgress, from: Offset) -> bool {
        self.given_up.range(from..).eq(other.given_up.range(from..))
    }

    pub(crate) fn give_up(&mut self, offset: Offset) {
        self.is_new |= self.given_up.insert(offset);
    }

    /// Whether a source that is at `base` has something to save.
    pub(crate) fn is_behind(&self, base: Offset) -> bool {
        self.base != base || self.is_new
    }

    /// What a source that is at `base` has to save, if anything: it counts as saved then.
    pub(crate) fn take(&mut self, base: Offset) -> Option<Vec<u8>> {
        if !self.is_behind(base) {
            return None;
        }
        if !self.given_up.is_empty() {
            self.given_up = self.given_up.split_off(&base);
        }
        (self.base, self.is_new) = (base, false);
        Some(self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_it_was_saved_and_forgets_what_lies_behind_it() {
        let mut progress = SavedProgress::at(Offset(5));
        assert_eq!(progress.take(Offset(5)), None);
        progress.give_up(Offset(9));
        progress.give_up(Offset(7));
        let bytes = progress.take(Offset(6)).expect("it moved");
        let expected: Vec<u8> = [6u64, 7, 9, 5 | FIRST_BIT].iter().flat_map(|offset| offset.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
        assert_eq!(progress.take(Offset(6)), None, "saved");
        assert_eq!(SavedProgress::decode(&bytes), Some(progress.clone()));
        assert_eq!(SavedProgress::decode(&bytes[..8]), Some(SavedProgress::at(Offset(6))));
        assert!(progress.is_given_up(Offset(7)) && !progress.is_given_up(Offset(8)));
        let later = progress.clone().not_before(Offset(8));
        assert_eq!(later.encode(), [8u64, 9, 7 | FIRST_BIT].map(u64::to_le_bytes).concat());
        assert_eq!((later.count(Offset(8)), later.count(Offset(10))), (1, 3), "two were trimmed");
        progress.give_up(Offset(8));
        assert_eq!(progress.take(Offset(9)), Some([9u64, 9, 5 | FIRST_BIT].map(u64::to_le_bytes).concat()));
        assert_eq!(progress.take(Offset(10)), Some([10u64, 5 | FIRST_BIT].map(u64::to_le_bytes).concat()));
        assert_eq!(progress.count(Offset(12)), 7);
    }

    #[test]
    fn bytes_that_are_no_progress_are_refused() {
        let offsets = |all: &[u64]| all.iter().flat_map(|offset| offset.to_le_bytes()).collect::<Vec<u8>>();
        for bytes in [
            vec![],
            vec![0; 7],
            vec![0; 12],
            offsets(&[5, 4]),
            offsets(&[5, 8, 8]),
            offsets(&[5, 9, 8]),
            offsets(&[5, 6 | FIRST_BIT]),
        ] {
            assert_eq!(SavedProgress::decode(&bytes), None, "{bytes:?}");
        }
    }
}
