//! The progress of a source as it is saved: the first record that is to be done after a restart, which of those behind it were given up, and from which
//! record on those that were processed are counted.
//!
//! `base u64 · given up u64 … · first u64`, little-endian, offsets ascending and none below the base. One with its highest bit set is
//! the last of a run of consecutive ones, whose first is before it; `first` has the second highest bit set, and may be missing:
//! nothing was counted then. What was given up is in the depot of dead letters with the same entry, so a restart must not process it
//! again, though records before it are still to be done. It is written with every entry that adds to it, so it has few runs: see
//! [`GIVEN_UP_RUN_COUNT_MAX`].

use crate::limit::GIVEN_UP_RUN_COUNT_MAX;
use crate::offset_set::OffsetSet;
use tantu_base::id::Offset;

/// Says that an offset is the last of a run,
const IS_LAST: u64 = 1 << 63;
/// and that it is the one from which records are counted: there are never so many.
const IS_FIRST: u64 = 1 << 62;

/// What saved progress says, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgressSeen {
    /// The first record that is not done, or where records are not retried the first that has not begun.
    pub next: Offset,
    /// How many behind it were given up.
    pub given_up: u64,
    /// How many were processed.
    pub processed: u64,
}

impl ProgressSeen {
    /// Reads the bytes that the progress of a source has in the tree; `None` if they are not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let saved = SavedProgress::decode(bytes)?;
        let given_up = saved.given_up.ranges().map(|(from, to)| to.0 - from.0).sum();
        Some(Self { next: saved.base, given_up, processed: saved.count(saved.base) })
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SavedProgress {
    base: Offset,
    /// So many records less than `base` were processed.
    first: Offset,
    given_up: OffsetSet,
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
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words: Vec<u64> = words.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let counted = words.pop_if(|last| *last & (IS_FIRST | IS_LAST) == IS_FIRST).map(|first| first & !IS_FIRST);
        let mut words = words.into_iter().peekable();
        let base = words.next().map(Offset).filter(|_| rest.is_empty())?;
        let first = counted.map_or(base, Offset);
        if first > base {
            return None;
        }
        let mut given_up = OffsetSet::default();
        let mut least = base.0;
        while let Some(first) = words.next() {
            let last = words.next_if(|word| word & IS_LAST != 0).map_or(first, |word| word & !IS_LAST);
            if first < least || last < first || first & (IS_LAST | IS_FIRST) != 0 {
                return None;
            }
            // Those that follow each other may be written as runs, or one by one as they once were.
            given_up.push(Offset(first), Offset(last + 1));
            least = last + 1;
        }
        Some(SavedProgress { base, first, given_up, is_new: false })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.base.0.to_le_bytes().to_vec();
        for (from, to) in self.given_up.ranges() {
            out.extend_from_slice(&from.0.to_le_bytes());
            if to.0 - from.0 > 1 {
                out.extend_from_slice(&((to.0 - 1) | IS_LAST).to_le_bytes());
            }
        }
        out.extend_from_slice(&(self.first.0 | IS_FIRST).to_le_bytes());
        out
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
        self.base.0 += missed;
        self.count_without(missed);
        self.given_up.forget_below(self.base);
        self
    }

    /// So many of the records below the next base that is saved are not counted: they were trimmed, and nobody has processed them.
    pub(crate) fn count_without(&mut self, missed: u64) {
        self.first.0 += missed;
    }

    pub(crate) fn is_given_up(&self, offset: Offset) -> bool {
        !self.given_up.is_empty() && self.given_up.contains(offset)
    }

    /// Whether the same records from `from` on were given up as another has it.
    pub(crate) fn gave_up_as(&self, other: &SavedProgress, from: Offset) -> bool {
        self.given_up.ranges_from(from).eq(other.given_up.ranges_from(from))
    }

    pub(crate) fn give_up(&mut self, offset: Offset) {
        self.is_new |= self.given_up.insert(offset);
    }

    /// Whether one more can be given up of a source that is at `base`, before what is in front of it is done.
    pub(crate) fn takes(&self, offset: Offset, base: Offset) -> bool {
        offset == base || self.given_up.range_count() < GIVEN_UP_RUN_COUNT_MAX || self.given_up.touches(offset)
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
        self.given_up.forget_below(base);
        (self.base, self.is_new) = (base, false);
        Some(self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(base: u64, first: u64, last: u64) -> Vec<u8> {
        [base, first, last | IS_LAST, base | IS_FIRST].map(u64::to_le_bytes).concat()
    }

    #[test]
    fn a_run_of_records_that_were_given_up_takes_as_many_bytes_however_long_it_is() {
        let mut progress = SavedProgress::at(Offset(0));
        (1..100_000).for_each(|offset| progress.give_up(Offset(offset)));
        assert_eq!(progress.take(Offset(0)), Some(bytes_of(0, 1, 99_999)));
    }

    #[test]
    fn progress_is_read_as_it_was_saved_and_forgets_what_lies_behind_it() {
        let mut progress = SavedProgress::at(Offset(5));
        assert_eq!(progress.take(Offset(5)), None);
        progress.give_up(Offset(9));
        progress.give_up(Offset(7));
        let bytes = progress.take(Offset(6)).expect("it moved");
        let expected: Vec<u8> = [6u64, 7, 9, 5 | IS_FIRST].iter().flat_map(|offset| offset.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
        assert_eq!(progress.take(Offset(6)), None, "saved");
        assert_eq!(SavedProgress::decode(&bytes), Some(progress.clone()));
        assert_eq!(SavedProgress::decode(&bytes[..8]), Some(SavedProgress::at(Offset(6))));
        assert!(progress.is_given_up(Offset(7)) && !progress.is_given_up(Offset(8)));
        let later = progress.clone().not_before(Offset(8));
        assert_eq!(later.encode(), [8u64, 9, 7 | IS_FIRST].map(u64::to_le_bytes).concat());
        assert_eq!((later.count(Offset(8)), later.count(Offset(10))), (1, 3), "two were trimmed");
        progress.give_up(Offset(8));
        let bytes = progress.clone().take(Offset(6)).expect("one more was given up");
        assert_eq!(bytes, [6u64, 7, 9 | IS_LAST, 5 | IS_FIRST].map(u64::to_le_bytes).concat());
        assert_eq!(SavedProgress::decode(&bytes).map(|read| read.encode()), Some(bytes), "a run");
        let one_by_one = [6u64, 7, 8, 9].map(u64::to_le_bytes).concat();
        assert_eq!(
            SavedProgress::decode(&one_by_one),
            SavedProgress::decode(&[6u64, 7, 9 | IS_LAST].map(u64::to_le_bytes).concat()),
            "as it once was written"
        );
        assert_eq!(progress.take(Offset(9)), Some([9u64, 9, 5 | IS_FIRST].map(u64::to_le_bytes).concat()));
        assert_eq!(progress.take(Offset(10)), Some([10u64, 5 | IS_FIRST].map(u64::to_le_bytes).concat()));
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
            offsets(&[5, 6 | IS_FIRST]),
        ] {
            assert_eq!(SavedProgress::decode(&bytes), None, "{bytes:?}");
        }
        for bytes in
            [offsets(&[5, IS_LAST | 6]), offsets(&[5, 7, IS_LAST | 6]), offsets(&[5, 7, IS_LAST | 8, IS_LAST | 9])]
        {
            assert_eq!(SavedProgress::decode(&bytes), None, "{bytes:?}");
        }
    }
}
