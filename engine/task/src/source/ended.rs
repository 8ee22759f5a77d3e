//! Records of a source that end without being processed: their try is over, or they are not there any more.

use super::{Phase, Source};
use crate::limit::DROPPED_RUN_COUNT_MAX;
use std::collections::BTreeSet;
use tantu_base::id::Offset;
use tantu_flow::RetryMode;
use tantu_net::letter::Root;

impl Source {
    /// The tries under way that may end when this one fails: itself, and where order is kept those of all records behind it.
    pub(crate) fn ends_with(&self, root: &Root) -> Vec<Root> {
        let from = root.offset.0.saturating_sub(self.base.0) as usize;
        let count = match self.setup.retry {
            RetryMode::AllAfter => self.window.len().saturating_sub(from),
            RetryMode::Individual | RetryMode::None => 1,
        };
        let records = self.window.iter().skip(from).zip(root.offset.0..).take(count);
        let running = records.filter(|(record, _)| matches!(record.phase, Phase::Running { .. }));
        running.map(|(record, offset)| Root { offset: Offset(offset), attempt: record.attempt, ..*root }).collect()
    }

    /// Records below `start` are not there any more. Of those that wait to be tried again it answers the offsets: they are dropped.
    pub(crate) fn drop_trimmed(&mut self, start: Offset) -> BTreeSet<Offset> {
        let kept = self.failed.split_off(&start);
        let gone = std::mem::replace(&mut self.failed, kept);
        for offset in &gone {
            let record = &mut self.window[(offset.0 - self.base.0) as usize];
            (record.phase, record.is_told) = (Phase::Done, true);
            self.troubles.forget(*offset);
            self.note_dropped(*offset);
        }
        self.trim();
        gone
    }

    /// Nothing is under way, and it goes on at `start`, behind where it stands: what is between is not there any more.
    pub(crate) fn skip_to(&mut self, start: Offset) {
        assert!(self.window.is_empty(), "records under way are waited for");
        self.kept.count_without(start.0 - self.base.0);
        self.dropped.push(self.base, start);
        if self.dropped.range_count() > DROPPED_RUN_COUNT_MAX {
            self.dropped.forget_lowest();
        }
        self.base = start;
    }

    /// Another source keeps its records, and goes on behind so many that are not there any more.
    pub(crate) fn count_without(&mut self, missed: u64) {
        self.kept.count_without(missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::SavedProgress;
    use crate::source::tests::{source_at, start};
    use crate::source::{Outcome, Report};
    use tantu_base::door::Nanos;

    #[test]
    fn what_waits_for_another_try_is_dropped_once_it_is_not_there_any_more_and_what_runs_ends_first() {
        let mut s = source_at(RetryMode::Individual, Offset(10), false);
        let (runs, fails) = (start(&mut s, 0, 5), start(&mut s, 0, 6));
        s.failed(&fails, "no", true, Nanos(0));
        assert_eq!(s.drop_trimmed(Offset(100)), BTreeSet::from([Offset(11)]));
        assert_eq!(
            (s.base(), s.outcome(Offset(10)), s.outcome(Offset(11))),
            (Offset(10), Outcome::Pending, Outcome::Dropped)
        );
        assert_eq!((s.done(&runs, 5), s.is_busy(), s.next()), (Report::Done, false, Offset(12)));
        s.skip_to(Offset(100));
        assert_eq!(
            (s.next(), s.outcome(Offset(50)), s.outcome(Offset(10))),
            (Offset(100), Outcome::Dropped, Outcome::Done)
        );
        let bytes = s.take_progress(s.base()).expect("it moved");
        let saved = SavedProgress::decode(&bytes).expect("it is progress");
        assert_eq!((saved.base(), saved.count(Offset(103))), (Offset(100), 5), "what was trimmed is not counted");
    }

    #[test]
    fn with_a_try_that_fails_end_those_behind_it_where_order_is_kept() {
        for (retry, count) in [(RetryMode::AllAfter, 2), (RetryMode::Individual, 1)] {
            let mut s = source_at(retry, Offset(10), false);
            let roots: Vec<Root> = (1..=4).map(|id| start(&mut s, 0, id)).collect();
            assert_eq!(s.done(&roots[2], 3), Report::Done);
            assert_eq!(s.ends_with(&roots[1]), [roots[1], roots[3]][..count]);
        }
    }
}
