//! One source of a stream topology on one task: which records are being processed and which are done.
//!
//! Records start in offset order and finish in any order. `base` is the first record that is not done: progress is
//! saved as that offset, so after a restart every record from there on is processed (again), except those that were
//! given up meanwhile: they are in another depot already, and saved with it. Where records are not retried progress is past those
//! that have begun, which do not begin again. A record is done when the XOR of the numbers of its
//! events, each entered once when sent and once when done, is zero.

mod ended;

use crate::limit::{DRAINED_TRY_COUNT_MAX, DROPPED_RUN_COUNT_MAX, RETRY_DELAY_MS, WINDOW_COUNT_MAX};
use crate::offset_set::OffsetSet;
use crate::progress::SavedProgress;
use crate::trouble::Troubles;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tantu_base::door::Nanos;
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{AckReturn, Position, RetryMode, Returns};
use tantu_net::letter::Root;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Events are on their way.
    Running { xor: u64, deadline: Nanos },
    /// It failed and is tried again at this time.
    Waiting { until: Nanos },
    /// It failed too often: it is to be kept elsewhere.
    Leaving,
    /// Done, dropped by retry mode none, or kept elsewhere.
    Done,
}

/// See [`Source::record`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    attempt: u32,
    /// Whether whoever waits for it was told.
    is_told: bool,
    phase: Phase,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is processed.
    Done,
    /// It is not, and will not be: retry mode none dropped it or passed it by, or it is a dead letter.
    Dropped,
    /// That is still to come.
    Pending,
}

/// What a report did to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// More events are out, or the report is of an older try.
    Nothing,
    /// It is done, for the first time.
    Done,
    /// It is done once more.
    Again,
    /// It failed.
    Failed {
        /// How often it failed of itself; 0 if never.
        tries: u32,
        /// Whether it is tried again.
        is_retried: bool,
    },
}

/// What a source is.
#[derive(Clone, Debug)]
pub(crate) struct SourceSetup {
    pub(crate) stream: u16,
    pub(crate) depot: usize,
    pub(crate) at: Position,
    pub(crate) progress: ObjectId,
    pub(crate) retry: RetryMode,
    pub(crate) ack_return: AckReturn,
    pub(crate) dead_letter_after: Option<u32>,
    pub(crate) timeout_ms: u64,
    pub(crate) executing_max: usize,
    /// Whether appends wait for records beyond that.
    pub(crate) waits_beyond: bool,
    /// Records from here on are passed by while too many are under way, if they are not retried.
    pub(crate) live_from: Offset,
    /// Whether the topology has further sources on the depot.
    pub(crate) has_kin: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) setup: SourceSetup,
    /// The source that keeps the records from an offset on, if it is not this one.
    pub(crate) lead: Option<(usize, Offset)>,
    base: Offset,
    /// The first record that a restart may begin, if they are not retried: those before it have begun.
    begun: Offset,
    window: VecDeque<Record>,
    running: usize,
    /// Records of the window that wait for another try, or leave.
    failed: BTreeSet<Offset>,
    kept: SavedProgress,
    /// Records that were dropped in this life of the process: the last of them, who appends them again is told so.
    dropped: OffsetSet,
    /// Its progress is saved: its records are there after a restart.
    pub(crate) is_durable: bool,
    /// What the records under way returned so far, by offset.
    returns: BTreeMap<u64, Returns>,
    pub(crate) troubles: Troubles,
    /// Records of which nothing is done, while the failure of a batch is told: see [`Source::note_undone`].
    undone: BTreeSet<Offset>,
    /// See [`Source::has_stopped`].
    is_stopped: bool,
}

impl Source {
    /// Goes on where saved progress stands.
    pub(crate) fn new(setup: SourceSetup, kept: SavedProgress) -> Self {
        let (window, base) = (VecDeque::new(), kept.base());
        let begun = base;
        let (failed, returns, troubles) = (BTreeSet::new(), BTreeMap::new(), Troubles::default());
        let dropped = OffsetSet::default();
        Self {
            setup,
            lead: None,
            base,
            begun,
            window,
            running: 0,
            failed,
            kept,
            dropped,
            is_durable: true,
            returns,
            troubles,
            undone: BTreeSet::new(),
            is_stopped: false,
        }
    }

    /// The next record to start for the first time.
    pub(crate) fn next(&self) -> Offset {
        Offset(self.base.0 + self.window.len() as u64)
    }

    /// Everything of its own below is done.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// What became of a record of the partition.
    pub(crate) fn outcome(&self, offset: Offset) -> Outcome {
        let is_over = offset < self.base || self.of(offset).is_some_and(|record| record.is_told);
        match is_over {
            _ if self.is_dropped(offset) => Outcome::Dropped,
            true => Outcome::Done,
            false => Outcome::Pending,
        }
    }

    fn is_dropped(&self, offset: Offset) -> bool {
        self.dropped.contains(offset) || self.kept.is_given_up(offset)
    }

    fn note_dropped(&mut self, offset: Offset) {
        self.dropped.insert(offset);
        if self.dropped.range_count() > DROPPED_RUN_COUNT_MAX {
            self.dropped.forget_lowest();
        }
    }

    /// Records below it are needed no more: progress that a sealed entry has, or the next one will, is past them, and a restart never
    /// goes back behind that.
    pub(crate) fn saved(&self) -> Offset {
        let saved = self.kept.base();
        debug_assert!(
            self.lead.is_none() || !self.has_one_try(),
            "several sources of a depot that are not retried are refused"
        );
        // What has begun and is not done may still become a dead letter.
        if self.has_one_try() { saved.min(self.base) } else { saved }
    }

    /// Whether its records are begun once, whatever happens.
    pub(crate) fn has_one_try(&self) -> bool {
        self.setup.retry == RetryMode::None && self.is_durable
    }

    /// Records below are not begun again. Nothing of what they do may leave before that is saved.
    pub(crate) fn note_begun(&mut self, end: Offset) {
        if self.has_one_try() {
            self.begun = self.begun.max(end);
        }
    }

    /// Records below have begun, as far as that says where a restart goes on.
    pub(crate) fn begun_end(&self) -> Offset {
        self.begun
    }

    /// How many records it has processed if all below `base` are done.
    pub(crate) fn count_below(&self, base: Offset) -> u64 {
        self.kept.count(base)
    }

    /// How many of its window from an offset on are done.
    pub(crate) fn done_from(&self, from: Offset) -> u64 {
        let skipped = from.0.saturating_sub(self.base.0).min(self.window.len() as u64) as usize;
        self.window.range(skipped..).filter(|record| record.phase == Phase::Done).count() as u64
    }

    /// Records that are done and not saved as such, if all below `base` are done.
    pub(crate) fn unsaved_count(&self, base: Offset) -> u64 {
        if self.is_durable { base.0.saturating_sub(self.kept.base().0) } else { 0 }
    }

    /// Whether it starts the same records as another from now on: they stand at the same, and neither gave up one behind it.
    pub(crate) fn may_join(&self, other: &Source) -> bool {
        let is_apart = self.setup.retry == RetryMode::AllAfter && (self.is_busy() || other.is_busy());
        !is_apart && self.is_beside(other)
    }

    /// Whether it will, once nothing is under way: where order is kept, records that they have together do not overtake others.
    pub(crate) fn joins_when_done(&self, other: &Source) -> bool {
        self.is_beside(other) && !self.may_join(other) && self.goes_on() && other.goes_on()
    }

    fn is_beside(&self, other: &Source) -> bool {
        let next = self.next();
        next == other.next() && self.kept.gave_up_as(&other.kept, next)
    }

    /// Whether records start and end without a better day being waited for.
    pub(crate) fn goes_on(&self) -> bool {
        let in_order = self.setup.retry != RetryMode::AllAfter || self.failed.is_empty();
        in_order && self.window.len() < WINDOW_COUNT_MAX
    }

    /// Whether another record may start.
    pub(crate) fn has_room(&self) -> bool {
        let most = self.setup.executing_max;
        // What comes behind a failed record waits with it, where order is kept.
        let in_order = self.setup.retry != RetryMode::AllAfter || self.failed.is_empty();
        in_order && self.running < most && self.window.len() < WINDOW_COUNT_MAX
    }

    /// Whether it came to a stop since it was asked last: so many records stand behind one that fails that no more of those up to `end`
    /// start.
    pub(crate) fn has_stopped(&mut self, end: Offset) -> bool {
        let is_full = self.window.len() >= WINDOW_COUNT_MAX;
        let is_stopped = is_full && self.next() < end && self.troubles.tries(self.base) > 0;
        !std::mem::replace(&mut self.is_stopped, is_stopped) && is_stopped
    }

    /// Whether an append has to wait for this record longer than its author wants.
    pub(crate) fn is_throttled(&self, offset: Offset) -> bool {
        let ahead = offset.0.saturating_sub(self.next().0) as usize;
        !self.setup.waits_beyond && self.running + ahead >= self.setup.executing_max
    }

    /// Passes by the next records, up to `end`, that need no processing: those given up before a restart, and those that found no
    /// room and are not retried. Answers the offsets of the latter.
    pub(crate) fn pass_by(&mut self, end: Offset) -> std::ops::Range<u64> {
        self.pass_given_up();
        let from = self.next();
        if self.setup.retry == RetryMode::None
            && from >= self.setup.live_from
            && self.running >= self.setup.executing_max
        {
            while self.next() < end && self.window.len() < WINDOW_COUNT_MAX {
                self.note_dropped(self.next());
                self.pass_one();
            }
        }
        from.0..self.next().0
    }

    /// What was given up before a restart is not started again.
    fn pass_given_up(&mut self) {
        while self.kept.is_given_up(self.next()) {
            self.pass_one();
        }
    }

    fn pass_one(&mut self) {
        self.window.push_back(Record { attempt: 0, is_told: true, phase: Phase::Done });
        self.trim();
    }

    /// Whether records are being processed or wait to be.
    pub(crate) fn is_busy(&self) -> bool {
        !self.window.is_empty()
    }

    /// Whether a partition that ends there has nothing for it to do but records that failed again and again: those wait for a better
    /// day, unless they are given up before long.
    pub(crate) fn is_drained(&self, end: Offset) -> bool {
        let soon = self.setup.dead_letter_after.map_or(u32::MAX, |most| most.saturating_sub(DRAINED_TRY_COUNT_MAX));
        let is_stuck = |offset: &Offset| (2..soon).contains(&self.troubles.tries(*offset));
        self.running == 0
            && match (self.setup.retry, self.failed.first()) {
                // Nothing behind it starts.
                (RetryMode::AllAfter, Some(first)) => is_stuck(first),
                _ => self.failed.iter().all(is_stuck) && (self.lead.is_some() || self.next() >= end),
            }
    }

    /// Progress to save, if all below `base` is done and that was not saved before.
    pub(crate) fn take_progress(&mut self, base: Offset) -> Option<Vec<u8>> {
        let base = if planted::has(Bug::ProgressOutsideEntry) { base.max(self.next()) } else { base };
        if self.is_durable { self.kept.take(base) } else { None }
    }

    /// Whether that all below `base` is done has to be saved.
    pub(crate) fn has_progress(&self, base: Offset) -> bool {
        self.is_durable && self.kept.is_behind(base)
    }

    fn begun(&self, id: u64, now: Nanos) -> Phase {
        Phase::Running { xor: id, deadline: now.plus_ms(self.setup.timeout_ms) }
    }

    /// Starts the next record with an event of this number.
    pub(crate) fn start(&mut self, task: TaskId, source: u16, id: u64, now: Nanos) -> Root {
        let offset = self.next();
        let phase = self.begun(id, now);
        self.window.push_back(Record { attempt: 0, is_told: false, phase });
        self.running += 1;
        self.pass_given_up();
        Root { task, source, offset, attempt: 0 }
    }

    fn of(&self, offset: Offset) -> Option<&Record> {
        self.window.get(usize::try_from(offset.0.checked_sub(self.base.0)?).ok()?)
    }

    /// The first record that is to be started again, or to be kept elsewhere.
    pub(crate) fn due(&self, now: Nanos) -> Option<Offset> {
        let is_due = |offset: &&Offset| match self.of(**offset).map(|record| record.phase) {
            Some(Phase::Waiting { until }) => until <= now,
            Some(Phase::Leaving) => self.may_leave(**offset),
            Some(Phase::Running { .. } | Phase::Done) | None => false,
        };
        let due = match self.setup.retry {
            // In order: nobody overtakes one that waits.
            RetryMode::AllAfter => self.failed.first().filter(is_due),
            RetryMode::Individual | RetryMode::None => self.failed.iter().find(is_due),
        };
        due.copied()
    }

    /// Whether progress has room for one more that was given up.
    fn may_leave(&self, offset: Offset) -> bool {
        !self.is_durable || self.kept.takes(offset, self.base)
    }

    /// Whether a record that is due is to be kept elsewhere instead of being started.
    pub(crate) fn is_leaving(&self, offset: Offset) -> bool {
        self.of(offset).is_some_and(|record| record.phase == Phase::Leaving)
    }

    /// The record is kept elsewhere from the next entry on: it needs no processing any more.
    pub(crate) fn give_up(&mut self, offset: Offset) {
        let record = &mut self.window[(offset.0 - self.base.0) as usize];
        assert!(record.phase == Phase::Leaving, "only a record that failed too often is given up");
        record.phase = Phase::Done;
        self.failed.remove(&offset);
        self.troubles.forget(offset);
        self.note_dropped(offset);
        self.note_given_up(offset);
        self.trim();
    }

    /// A record was given up, by this source or the one that keeps its records.
    pub(crate) fn note_given_up(&mut self, offset: Offset) {
        // Records of a source without progress are not there after a restart, and what progress is past is not begun again.
        if self.is_durable && offset >= self.kept.base() && !planted::has(Bug::DeadLetterOutsideEntry) {
            self.kept.give_up(offset);
        }
    }

    /// Starts a record that is due again, with an event of this number.
    pub(crate) fn restart(&mut self, task: TaskId, source: u16, offset: Offset, id: u64, now: Nanos) -> Root {
        let phase = self.begun(id, now);
        let record = &mut self.window[(offset.0 - self.base.0) as usize];
        assert!(matches!(record.phase, Phase::Waiting { .. }), "only a failed record is started again");
        record.attempt += 1;
        record.phase = phase;
        let attempt = record.attempt;
        self.failed.remove(&offset);
        self.running += 1;
        Root { task, source, offset, attempt }
    }

    /// A record under way, if the root is that of its current try.
    pub(crate) fn record(&mut self, root: &Root) -> Option<&mut Record> {
        let at = usize::try_from(root.offset.0.checked_sub(self.base.0)?).ok()?;
        let is_running = |record: &&mut Record| matches!(record.phase, Phase::Running { .. });
        self.window.get_mut(at).filter(|record| record.attempt == root.attempt).filter(is_running)
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
        let was_told = std::mem::replace(&mut record.is_told, true);
        self.running -= 1;
        self.troubles.forget(root.offset);
        self.trim();
        if was_told { Report::Again } else { Report::Done }
    }

    /// All that was done for a record was in a batch that failed: it may be tried again also where nothing is done twice.
    pub(crate) fn note_undone(&mut self, offset: Offset) {
        if self.setup.retry == RetryMode::None {
            self.undone.insert(offset);
        }
    }

    /// Everybody was told of the batch.
    pub(crate) fn forget_undone(&mut self) {
        self.undone.clear();
    }

    /// An event of a record failed; or, if it was not its own, one of another record with which it shared a batch.
    pub(crate) fn failed(&mut self, root: &Root, text: &str, is_own: bool, now: Nanos) -> Report {
        if self.record(root).is_none() {
            return Report::Nothing;
        }
        self.running -= 1;
        self.returns.remove(&root.offset.0);
        let tries = if is_own { self.troubles.note(root.offset, text) } else { self.troubles.tries(root.offset) };
        let retry = self.setup.retry;
        // Nothing is done twice for a record that is not retried. But if another one failed the batch, and nothing was done before it,
        // it has not been tried.
        let is_untried = !is_own && self.undone.contains(&root.offset);
        let gives_up = match self.setup.dead_letter_after {
            Some(_) if retry == RetryMode::None => !is_untried,
            Some(most) => is_own && tries >= most,
            None => false,
        };
        let until = now.plus_ms(if is_own { Troubles::delay_ms(tries) } else { RETRY_DELAY_MS });
        let phase = match retry {
            _ if gives_up => Phase::Leaving,
            RetryMode::None if is_untried => Phase::Waiting { until },
            RetryMode::None => {
                self.note_dropped(root.offset);
                Phase::Done
            }
            RetryMode::Individual | RetryMode::AllAfter => Phase::Waiting { until },
        };
        if gives_up && !is_own {
            self.troubles.note(root.offset, text);
        }
        self.window[(root.offset.0 - self.base.0) as usize].phase = phase;
        match phase {
            Phase::Leaving | Phase::Waiting { .. } => {
                self.failed.insert(root.offset);
            }
            _ => self.troubles.forget(root.offset),
        }
        if retry == RetryMode::AllAfter && !gives_up {
            self.fail_after(root.offset, until);
        }
        self.trim();
        Report::Failed { tries, is_retried: matches!(phase, Phase::Waiting { .. }) }
    }

    /// Retry mode all-after: every later record is processed again too.
    fn fail_after(&mut self, offset: Offset, until: Nanos) {
        let from = (offset.0 - self.base.0) as usize + 1;
        self.returns.split_off(&offset.0);
        let (kept, dropped) = (&self.kept, &self.dropped);
        let is_dropped = |offset: Offset| dropped.contains(offset) || kept.is_given_up(offset);
        for (record, later) in self.window.range_mut(from..).zip(offset.0 + 1..) {
            match record.phase {
                Phase::Running { .. } => self.running -= 1,
                Phase::Done if is_dropped(Offset(later)) => continue,
                Phase::Done => {}
                Phase::Waiting { .. } | Phase::Leaving => continue,
            }
            record.phase = Phase::Waiting { until };
            self.failed.insert(Offset(later));
        }
    }

    /// The records whose time is over, as roots to fail.
    pub(crate) fn overdue(&self, task: TaskId, source: u16, now: Nanos) -> Vec<Root> {
        let late = |record: &Record| matches!(record.phase, Phase::Running { deadline, .. } if deadline <= now);
        let all = self.window.iter().enumerate().filter(|(_, record)| late(record));
        all.map(|(at, record)| Root { task, source, offset: Offset(self.base.0 + at as u64), attempt: record.attempt })
            .collect()
    }

    /// When the next failed record can be due.
    pub(crate) fn next_retry(&self) -> Option<Nanos> {
        let time = |offset: &Offset| match self.of(*offset)?.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Leaving => self.may_leave(*offset).then_some(Nanos(0)),
            Phase::Running { .. } | Phase::Done => None,
        };
        match self.setup.retry {
            // Those behind the first wait for it, whatever their own time: to wake for them would be to wake for nothing.
            RetryMode::AllAfter => self.failed.first().and_then(time),
            RetryMode::Individual | RetryMode::None => self.failed.iter().filter_map(time).min(),
        }
    }

    /// What a record under way returned so far.
    pub(crate) fn returns(&mut self, offset: Offset) -> &mut Returns {
        let begin = || self.setup.ack_return.begin();
        self.returns.entry(offset.0).or_insert_with(begin)
    }

    /// A record that another source keeps failed, and where order is kept those behind it too: what was returned counts no more.
    pub(crate) fn drop_returns(&mut self, offset: Offset) {
        match self.setup.retry {
            RetryMode::AllAfter => _ = self.returns.split_off(&offset.0),
            RetryMode::Individual | RetryMode::None => _ = self.returns.remove(&offset.0),
        }
    }

    /// What a record that is done returned in all.
    pub(crate) fn take_returns(&mut self, offset: Offset) -> Option<Returns> {
        self.returns.remove(&offset.0)
    }

    fn trim(&mut self) {
        while self.window.front().is_some_and(|record| record.phase == Phase::Done) {
            self.window.pop_front();
            self.base.0 += 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
