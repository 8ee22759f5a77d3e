//! One source of a stream topology on one task: which records are being processed and which are done.
//!
//! Records start in offset order and finish in any order. `base` is the first record that is not done: progress is
//! saved as that offset, so after a restart every record from there on is processed (again). A record is
//! done when the XOR of the numbers of its events, each entered once when sent and once when done, is zero.

use crate::limit::{EXECUTING_COUNT_MAX, RETRY_DELAY_MS, STREAM_TIMEOUT_S};
use std::collections::VecDeque;
use tantu_base::door::Nanos;
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{Position, RetryMode};
use tantu_net::letter::Root;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Events are on their way.
    Running { xor: u64, deadline: Nanos },
    /// It failed and is tried again at this time.
    Waiting { until: Nanos },
    /// Done, or dropped by retry mode none.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    attempt: u32,
    phase: Phase,
}

/// What a report did to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// More events are out, or the report is of an older try.
    Nothing,
    /// It is done.
    Done,
    /// It failed; true if that was the first try.
    Failed {
        /// Whether nobody had seen it fail before.
        first: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) stream: u16,
    pub(crate) depot: usize,
    pub(crate) at: Position,
    pub(crate) progress: ObjectId,
    retry: RetryMode,
    base: Offset,
    window: VecDeque<Record>,
    running: usize,
    waiting: usize,
    /// What was last put into an entry.
    saved: Offset,
}

impl Source {
    pub(crate) fn new(
        stream: u16,
        depot: usize,
        at: Position,
        progress: ObjectId,
        retry: RetryMode,
        from: Offset,
    ) -> Self {
        let window = VecDeque::new();
        Self { stream, depot, at, progress, retry, base: from, window, running: 0, waiting: 0, saved: from }
    }

    /// The next record to start for the first time.
    pub(crate) fn next(&self) -> Offset {
        Offset(self.base.0 + self.window.len() as u64)
    }

    /// Everything below is done.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Progress that a sealed entry has, or the next one will: a restart never goes back behind it.
    pub(crate) fn saved(&self) -> Offset {
        self.saved
    }

    /// Whether another record may start.
    pub(crate) fn has_room(&self) -> bool {
        self.running < EXECUTING_COUNT_MAX && self.window.len() < 2 * EXECUTING_COUNT_MAX
    }

    /// Whether records are being processed or wait to be.
    pub(crate) fn is_busy(&self) -> bool {
        !self.window.is_empty()
    }

    /// Progress to save, if it moved since the last time.
    pub(crate) fn take_progress(&mut self) -> Option<Offset> {
        if self.saved == self.base {
            return None;
        }
        self.saved = self.base;
        Some(if planted::has(Bug::ProgressOutsideEntry) { self.next() } else { self.base })
    }

    /// Whether progress moved since it was saved.
    pub(crate) fn has_progress(&self) -> bool {
        self.saved != self.base
    }

    /// Starts the next record with an event of this number.
    pub(crate) fn start(&mut self, task: TaskId, source: u16, id: u64, now: Nanos) -> Root {
        let offset = self.next();
        let phase = Phase::Running { xor: id, deadline: now.plus_ms(STREAM_TIMEOUT_S * 1_000) };
        self.window.push_back(Record { attempt: 0, phase });
        self.running += 1;
        Root { task, source, offset, attempt: 0 }
    }

    /// The first record whose wait after a failure is over.
    pub(crate) fn due(&self, now: Nanos) -> Option<Offset> {
        if self.waiting == 0 {
            return None;
        }
        let due = |record: &Record| matches!(record.phase, Phase::Waiting { until } if until <= now);
        self.window.iter().position(due).map(|at| Offset(self.base.0 + at as u64))
    }

    /// Starts a record that is due again, with an event of this number.
    pub(crate) fn restart(&mut self, task: TaskId, source: u16, offset: Offset, id: u64, now: Nanos) -> Root {
        let record = &mut self.window[(offset.0 - self.base.0) as usize];
        assert!(matches!(record.phase, Phase::Waiting { .. }), "only a failed record is started again");
        record.attempt += 1;
        record.phase = Phase::Running { xor: id, deadline: now.plus_ms(STREAM_TIMEOUT_S * 1_000) };
        let attempt = record.attempt;
        self.waiting -= 1;
        self.running += 1;
        Root { task, source, offset, attempt }
    }

    fn record(&mut self, root: &Root) -> Option<&mut Record> {
        let at = usize::try_from(root.offset.0.checked_sub(self.base.0)?).ok()?;
        self.window.get_mut(at).filter(|record| record.attempt == root.attempt)
    }

    /// Events are done: their numbers and those of the events they sent.
    pub(crate) fn done(&mut self, root: &Root, bits: u64) -> Report {
        let Some(record) = self.record(root) else { return Report::Nothing };
        let Phase::Running { xor, .. } = &mut record.phase else { return Report::Nothing };
        *xor ^= bits;
        if *xor != 0 {
            return Report::Nothing;
        }
        record.phase = Phase::Done;
        self.running -= 1;
        self.trim();
        Report::Done
    }

    /// An event failed.
    pub(crate) fn failed(&mut self, root: &Root, now: Nanos) -> Report {
        let retry = self.retry;
        let Some(record) = self.record(root) else { return Report::Nothing };
        if !matches!(record.phase, Phase::Running { .. }) {
            return Report::Nothing;
        }
        let first = record.attempt == 0;
        let until = now.plus_ms(RETRY_DELAY_MS);
        record.phase = if retry == RetryMode::None { Phase::Done } else { Phase::Waiting { until } };
        self.running -= 1;
        self.waiting += usize::from(retry != RetryMode::None);
        if retry == RetryMode::AllAfter {
            self.fail_after(root.offset, until);
        }
        self.trim();
        Report::Failed { first }
    }

    /// Retry mode all-after: every later record is processed again too.
    fn fail_after(&mut self, offset: Offset, until: Nanos) {
        let from = (offset.0 - self.base.0) as usize + 1;
        for record in self.window.range_mut(from..) {
            match record.phase {
                Phase::Running { .. } => self.running -= 1,
                Phase::Done => {}
                Phase::Waiting { .. } => continue,
            }
            record.phase = Phase::Waiting { until };
            self.waiting += 1;
        }
    }

    /// The records whose time is over, as roots to fail.
    pub(crate) fn overdue(&self, task: TaskId, source: u16, now: Nanos) -> Vec<Root> {
        let late = |record: &Record| matches!(record.phase, Phase::Running { deadline, .. } if deadline <= now);
        let all = self.window.iter().enumerate().filter(|(_, record)| late(record));
        all.map(|(at, record)| Root { task, source, offset: Offset(self.base.0 + at as u64), attempt: record.attempt })
            .collect()
    }

    /// When the next failed record is due.
    pub(crate) fn next_retry(&self) -> Option<Nanos> {
        if self.waiting == 0 {
            return None;
        }
        self.window.iter().filter_map(|r| if let Phase::Waiting { until } = r.phase { Some(until) } else { None }).min()
    }

    fn trim(&mut self) {
        while self.window.front().is_some_and(|record| record.phase == Phase::Done) {
            self.window.pop_front();
            self.base.0 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(retry: RetryMode) -> Source {
        Source::new(0, 0, Position(0), ObjectId(1), retry, Offset(10))
    }

    fn start(source: &mut Source, id: u64) -> Root {
        source.start(TaskId(0), 0, id, Nanos(0))
    }

    #[test]
    fn progress_is_the_first_record_that_is_not_done() {
        let mut s = source(RetryMode::Individual);
        let (a, b) = (start(&mut s, 5), start(&mut s, 6));
        assert_eq!(s.done(&b, 6), Report::Done);
        assert_eq!(s.take_progress(), None, "a is still out");
        assert_eq!(s.done(&a, 5 ^ 7 ^ 8), Report::Nothing, "two children are out");
        assert_eq!(s.done(&a, 8), Report::Nothing);
        assert_eq!(s.done(&a, 7), Report::Done);
        assert_eq!(s.take_progress(), Some(Offset(12)));
        assert_eq!(s.take_progress(), None, "saved");
        assert_eq!(s.done(&a, 7), Report::Nothing, "a late report changes nothing");
    }

    #[test]
    fn a_failed_record_is_tried_again_and_reports_of_the_old_try_are_ignored() {
        let mut s = source(RetryMode::Individual);
        let root = start(&mut s, 5);
        assert_eq!(s.failed(&root, Nanos(0)), Report::Failed { first: true });
        assert_eq!(s.failed(&root, Nanos(0)), Report::Nothing, "it failed once");
        assert!(s.due(Nanos(0)).is_none(), "it waits a little");
        assert_eq!(s.due(Nanos(0).plus_ms(RETRY_DELAY_MS)), Some(Offset(10)));
        let again = s.restart(TaskId(0), 0, Offset(10), 9, Nanos(0));
        assert_eq!((again.offset, again.attempt), (Offset(10), 1));
        assert_eq!(s.done(&root, 5), Report::Nothing, "the first try is over");
        assert_eq!(s.done(&again, 9), Report::Done);
        assert!(!s.is_busy());
    }

    #[test]
    fn retry_mode_none_drops_a_failed_record() {
        let mut s = source(RetryMode::None);
        let root = start(&mut s, 5);
        assert_eq!(s.failed(&root, Nanos(0)), Report::Failed { first: true });
        assert_eq!(s.take_progress(), Some(Offset(11)));
    }

    #[test]
    fn retry_mode_all_after_starts_every_later_record_again_in_order() {
        let mut s = source(RetryMode::AllAfter);
        let roots: Vec<Root> = (1..=3).map(|id| start(&mut s, id)).collect();
        assert_eq!(s.done(&roots[2], 3), Report::Done);
        assert_eq!(s.failed(&roots[1], Nanos(0)), Report::Failed { first: true });
        assert_eq!(s.done(&roots[0], 1), Report::Done);
        let later = Nanos(0).plus_ms(RETRY_DELAY_MS);
        let again: Vec<Offset> =
            std::iter::from_fn(|| s.due(later).map(|o| s.restart(TaskId(0), 0, o, 1, later).offset)).collect();
        assert_eq!(again, [Offset(11), Offset(12)]);
    }

    #[test]
    fn a_record_that_takes_too_long_is_overdue() {
        let mut s = source(RetryMode::Individual);
        let root = start(&mut s, 5);
        assert!(s.overdue(TaskId(0), 0, Nanos(0)).is_empty());
        assert_eq!(s.overdue(TaskId(0), 0, Nanos(0).plus_ms(STREAM_TIMEOUT_S * 1_000)), [root]);
    }
}
