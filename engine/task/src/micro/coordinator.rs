//! The coordinator of a microbatch topology, beside task 0: prepare, decide, publish (design D15).
//!
//! It decides and does nothing: what it wants done is in [`Coordinator::take_acts`]. A microbatch has a number and fixed
//! records; an attempt at it goes through the phases below. Before the decision an attempt that fails is given up, and another
//! begins with the same records. Once the decision is on its way to the log there is only forward, across restarts.
//!
//! ```text
//! Idle ─► Priming ─► Running ─► Preparing ─► Deciding ─► Publishing ─► Finishing ─► Idle
//!            └───────────┴───────────┴─► Backoff ─► Priming
//! ```

use crate::limit::{
    MICROBATCH_AGAIN_MS, MICROBATCH_RETRY_MS, MICROBATCH_RETRY_MS_MAX, MICROBATCH_WAITER_COUNT_MAX,
    TROUBLE_TEXT_SIZE_MAX,
};
use crate::micro::range::{kin, next_range};
use crate::micro::record::{Fixed, Range, Ranges, Record};
use crate::tick::Ticker;
use crate::trouble::cut;
use std::collections::BTreeSet;
use std::time::Duration;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, RunId, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{MicrobatchOptions, Plan, Stage, Stages};
use tantu_net::letter::{MicrobatchAsk, MicrobatchSays};

/// What the coordinator wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// A letter to a participant.
    Tell { to: TaskId, run: RunId, epoch: Epoch, says: MicrobatchSays, body: Vec<u8> },
    /// A record on task 0; [`Coordinator::written`] when it is durable.
    Write { record: Record, value: Vec<u8> },
    /// The first events of an attempt, one for each source, on task 0.
    Start { run: RunId, epochs: Vec<Epoch> },
    /// No event is out: the next stage of a batch block begins, or all is done.
    GoOn { run: RunId, epochs: Vec<Epoch> },
    /// An answer to a client.
    Answer { peer: Peer, request: u64 },
    /// No: too many clients wait.
    Refuse { peer: Peer, request: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// No microbatch is under way.
    Idle,
    /// The last attempt failed; the next begins at this time.
    Backoff { until: Nanos },
    /// Every task drops what it has of earlier attempts.
    Priming,
    /// Events run.
    Running,
    /// Every task makes its writes durable.
    Preparing,
    /// The decision is on its way to the log.
    Deciding,
    /// Every task makes its writes visible.
    Publishing,
    /// That it is finished is on its way to the log.
    Finishing,
}

impl Phase {
    fn may_become(self, next: Phase) -> bool {
        use Phase::{Backoff, Deciding, Finishing, Idle, Preparing, Priming, Publishing, Running};
        matches!(
            (self, next),
            (Idle | Backoff { .. }, Priming)
                | (Priming, Running)
                | (Running, Preparing)
                | (Preparing, Deciding)
                | (Deciding | Idle, Publishing)
                | (Publishing, Finishing)
                | (Finishing, Idle)
                | (Priming | Running | Preparing, Backoff { .. })
        )
    }

    fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Backoff { .. } => "waiting",
            Phase::Priming => "priming",
            Phase::Running => "processing",
            Phase::Preparing => "preparing",
            Phase::Deciding => "deciding",
            Phase::Publishing => "publishing",
            Phase::Finishing => "finishing",
        }
    }
}

/// What is known of a partition of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Partition {
    /// Everything below is in finished microbatches.
    from: Offset,
    /// Records below are committed.
    end: Offset,
}

/// A client that waits for records to be processed.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    peer: Peer,
    request: u64,
    count: u64,
    deadline: Nanos,
}

/// How long a phase may take.
fn timeout_ms(options: &MicrobatchOptions) -> u64 {
    u64::try_from(options.phase_timeout.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX))
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    name: String,
    options: MicrobatchOptions,
    topology: ObjectId,
    /// Durable ids of its sources, in order.
    sources: Vec<ObjectId>,
    /// By source: the others on the same depot.
    kin: Vec<Vec<usize>>,
    /// Of those that are tick depots.
    tickers: Vec<Option<Ticker>>,
    epoch: Epoch,
    task_count: u32,
    thread_count: u32,
    /// By source, by task.
    partitions: Vec<Vec<Partition>>,
    /// The last microbatch that is visible on every task.
    finished: u64,
    /// Records in all of them.
    processed: u64,
    /// The records of the microbatch under way.
    fixed: Option<Fixed>,
    /// Whether that is durable.
    is_fixed: bool,
    phase: Phase,
    run: RunId,
    counter: u32,
    missing: BTreeSet<TaskId>,
    /// Of the task threads, as they were primed.
    epochs: Vec<Option<Epoch>>,
    /// What is out, and which batch blocks are to come.
    stages: Stages,
    /// When the phase is given up, or what it asks is asked again; before the first microbatch, how long it waits for records.
    deadline: Nanos,
    retry_ms: u64,
    /// The microbatch of which attempts failed in this life of the process, how many did, and what the last one failed with.
    failing: Option<(u64, u32, String)>,
    /// When the last microbatch ended.
    ended_at: Nanos,
    paused: bool,
    /// Nothing begins in this life of the process.
    held: bool,
    /// Participants that are asked what they have before the next microbatch is fixed, and how long it waits for them.
    asked: BTreeSet<TaskId>,
    asked_until: Nanos,
    waiters: Vec<Waiter>,
    /// Clients that asked it to pause, and wait for the microbatch under way to end.
    pausers: Vec<(Peer, u64)>,
    /// Clients that asked it to pause or to go on, and wait for that to be durable alone.
    tellers: Vec<(Peer, u64)>,
    /// Records of whether it is paused that are on their way to the log.
    unwritten: u32,
    acts: Vec<Act>,
}

/// What the records on task 0 say at a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Known {
    pub(crate) fixed: Option<Fixed>,
    pub(crate) decided: Option<RunId>,
    /// The last finished microbatch, and the records in all so far.
    pub(crate) finished: (u64, u64),
    pub(crate) paused: bool,
}

/// Who takes part, and as what.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) options: MicrobatchOptions,
    pub(crate) topology: ObjectId,
    pub(crate) sources: Vec<ObjectId>,
    /// By source: the place of its depot in the module.
    pub(crate) depots: Vec<usize>,
    /// The periods of those that are tick depots.
    pub(crate) ticks: Vec<Option<Duration>>,
    pub(crate) epoch: Epoch,
    pub(crate) task_count: u32,
    pub(crate) thread_count: u32,
}

impl Coordinator {
    /// Goes on where the records say: a decision that is not finished is carried out, anything else is tried anew.
    pub(crate) fn new(setting: Setting, known: Known, now: Nanos) -> Self {
        let Setting { name, options, topology, sources, depots, ticks, epoch, task_count, thread_count } = setting;
        let (finished, processed) = known.finished;
        let pending = known.fixed.as_ref().filter(|fixed| fixed.id == finished + 1).cloned();
        let partitions = vec![vec![Partition::default(); task_count as usize]; sources.len()];
        let mut coordinator = Self {
            name,
            options,
            topology,
            sources,
            kin: kin(&depots, &ticks),
            tickers: ticks.into_iter().map(|period| period.map(|period| Ticker::new(period, now))).collect(),
            epoch,
            task_count,
            thread_count,
            partitions,
            finished,
            processed,
            is_fixed: false,
            fixed: pending,
            phase: Phase::Idle,
            run: RunId { topology, id: finished, attempt: Attempt { epoch, counter: 0 } },
            counter: 0,
            missing: BTreeSet::new(),
            epochs: vec![None; thread_count as usize],
            stages: Stages::default(),
            deadline: now.plus_ms(timeout_ms(&options)),
            retry_ms: MICROBATCH_RETRY_MS,
            failing: None,
            ended_at: now,
            paused: known.paused,
            held: false,
            asked: BTreeSet::new(),
            asked_until: now,
            waiters: Vec::new(),
            pausers: Vec::new(),
            tellers: Vec::new(),
            unwritten: 0,
            acts: Vec::new(),
        };
        if let Some(fixed) = &known.fixed {
            let is_pending = fixed.id > finished;
            coordinator.know_ranges(&fixed.clone(), !is_pending);
        }
        if let Some(decided) = known.decided.filter(|run| run.id == finished + 1) {
            tracing::info!(topology = coordinator.name, microbatch = decided.id, "a decided microbatch is carried out");
            coordinator.run = decided;
            coordinator.publish(now);
        }
        if let Some(fixed) = coordinator.fixed.as_ref().filter(|_| coordinator.phase == Phase::Idle) {
            // Written once more, in this epoch, before an event runs: no later life takes the epoch again, so that no two
            // attempts are ever named alike.
            let value = fixed.encode();
            coordinator.acts.push(Act::Write { record: Record::Fixed, value });
        }
        if coordinator.paused {
            coordinator.tell_all_of(MicrobatchSays::Paused, &[1]);
            coordinator.abandon_earlier();
        }
        coordinator
    }

    /// Nothing is decided, and nothing begins for long: what earlier lives prepared goes, as with the next attempt.
    fn abandon_earlier(&mut self) {
        if self.phase == Phase::Idle {
            let attempt = Attempt { epoch: self.epoch, counter: self.counter };
            self.run = RunId { topology: self.topology, id: self.finished + 1, attempt };
            self.counter += 1;
            self.tell_all_of(MicrobatchSays::Abandon, &[]);
        }
    }

    /// Where the partitions are, after a microbatch or before it.
    fn know_ranges(&mut self, fixed: &Fixed, is_after: bool) {
        for (source, partitions) in self.sources.iter().zip(&mut self.partitions) {
            let Some(ranges) = fixed.of_source(*source) else { continue };
            for (partition, (from, to)) in partitions.iter_mut().zip(ranges) {
                let from = if is_after { *to } else { *from };
                partition.from = partition.from.max(from);
            }
        }
    }

    pub(crate) fn topology(&self) -> ObjectId {
        self.topology
    }

    /// What it wants done, in order.
    pub(crate) fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// The last finished microbatch, the records in all of them, whether it is paused.
    pub(crate) fn status(&self) -> (u64, u64, bool) {
        (self.finished, self.processed, self.paused)
    }

    /// The microbatch that does not end because its attempts fail, how many did, and what the last one failed with.
    pub(crate) fn failing(&self) -> Option<(u64, u32, &str)> {
        self.failing.as_ref().map(|(id, attempts, text)| (*id, *attempts, text.as_str()))
    }

    /// Up to which offset each partition of a source is in finished microbatches.
    pub(crate) fn processed_offsets(&self, source: usize) -> impl Iterator<Item = Offset> {
        self.partitions.get(source).into_iter().flatten().map(|partition| partition.from)
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_quiet(&self) -> bool {
        let rests = match self.phase {
            Phase::Idle => self.fixed.is_none() && !self.has_records(),
            _ => false,
        };
        rests || (self.rests() && self.is_between())
    }

    /// Begins nothing more in this life of the process.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Whether no microbatch begins.
    fn rests(&self) -> bool {
        self.paused || self.held
    }

    /// Whether something is decided and not finished.
    pub(crate) fn owes_publish(&self) -> bool {
        matches!(self.phase, Phase::Deciding | Phase::Publishing | Phase::Finishing)
    }

    /// Whether no attempt is under way.
    fn is_between(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Backoff { .. })
    }

    fn become_phase(&mut self, next: Phase, now: Nanos) {
        assert!(self.phase.may_become(next), "{}: {:?} cannot become {next:?}", self.name, self.phase);
        self.phase = next;
        self.deadline = now.plus_ms(timeout_ms(&self.options));
    }

    fn tell(&mut self, to: TaskId, epoch: Epoch, says: MicrobatchSays, body: Vec<u8>) {
        self.acts.push(Act::Tell { to, run: self.run, epoch, says, body });
    }

    /// Tells every task what needs no epoch.
    fn tell_all_of(&mut self, says: MicrobatchSays, body: &[u8]) {
        (0..self.task_count).for_each(|task| self.tell(TaskId(task), Epoch(0), says, body.to_vec()));
    }

    fn all(&self) -> BTreeSet<TaskId> {
        (0..self.task_count).map(TaskId).collect()
    }

    fn has_records(&self) -> bool {
        self.partitions.iter().flatten().any(|partition| partition.end > partition.from)
    }

    /// A participant tells of its partitions, by source: what was published, and what is committed; perhaps since it was
    /// asked.
    pub(crate) fn ends(&mut self, task: TaskId, ends: &[(Offset, Offset)], is_answer: bool, now: Nanos) {
        if is_answer {
            self.asked.remove(&task);
        }
        for (partitions, (from, end)) in self.partitions.iter_mut().zip(ends) {
            let Some(partition) = partitions.get_mut(task.index()) else { continue };
            partition.from = partition.from.max(*from);
            partition.end = partition.end.max(*end);
        }
        self.tick(now);
    }

    /// Time goes on.
    pub(crate) fn tick(&mut self, now: Nanos) {
        match self.phase {
            Phase::Idle if self.rests() => {}
            Phase::Idle if now < self.deadline && self.waits_for_ends() => {}
            Phase::Idle if self.fixed.is_some() => self.begin(now),
            Phase::Idle if self.is_asking(now) => {}
            Phase::Idle if self.next_at().is_some_and(|at| at <= now) => {
                self.fix(now);
                self.begin(now);
            }
            Phase::Backoff { .. } if self.rests() => {}
            Phase::Backoff { until } if until <= now => self.begin(now),
            Phase::Priming | Phase::Running | Phase::Preparing if self.deadline <= now => {
                let text = format!("{} took longer than {:?}", self.phase.name(), self.options.phase_timeout);
                self.fail(&text, now);
            }
            Phase::Publishing if self.deadline <= now => {
                self.deadline = now.plus_ms(MICROBATCH_AGAIN_MS);
                self.tell_publish();
            }
            _ => {}
        }
        self.answer_waiters(now);
    }

    /// Whether an earlier life fixed records that partitions have not told of in this one: what another microbatch appended may have
    /// still to come from the disk once more. An attempt that begins all the same, when it waited for as long as a phase may take,
    /// says what is missing.
    fn waits_for_ends(&self) -> bool {
        let Some(fixed) = &self.fixed else { return false };
        let is_there = |(partition, (from, to)): (&Partition, &Range)| from == to || partition.end >= *to;
        let all = |((source, ticker), partitions): ((&ObjectId, &Option<Ticker>), &Vec<Partition>)| {
            // Nobody tells of ticks.
            let ranges = fixed.of_source(*source).filter(|_| ticker.is_none());
            partitions.iter().zip(ranges.unwrap_or_default()).all(is_there)
        };
        !self.sources.iter().zip(&self.tickers).zip(&self.partitions).all(all)
    }

    fn is_asking(&self, now: Nanos) -> bool {
        !self.asked.is_empty() && now < self.asked_until
    }

    /// When the next microbatch may begin, of an idle topology.
    fn next_at(&self) -> Option<Nanos> {
        let plus = |delay: std::time::Duration| {
            let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
            self.ended_at.plus_ms(ms)
        };
        let due = if self.has_records() { Some(self.ended_at) } else { self.options.empty_period.map(plus) };
        let ticks = self.tickers.iter().flatten().map(Ticker::next);
        due.into_iter().chain(ticks).min().map(|at| at.max(plus(self.options.force_delay)))
    }

    /// When it wants to be told that time goes on.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        let own = match self.phase {
            Phase::Idle if self.rests() => None,
            Phase::Idle if self.waits_for_ends() => Some(self.deadline),
            Phase::Idle if !self.asked.is_empty() => self.next_at().map(|at| at.max(self.asked_until)),
            Phase::Idle => self.next_at(),
            Phase::Backoff { .. } if self.rests() => None,
            Phase::Backoff { until } => Some(until),
            Phase::Priming | Phase::Running | Phase::Preparing | Phase::Publishing => Some(self.deadline),
            Phase::Deciding | Phase::Finishing => None,
        };
        own.into_iter().chain(self.waiters.iter().map(|waiter| waiter.deadline)).min()
    }

    /// A tick that is due is the next record on task 0.
    fn fire_ticks(&mut self, now: Nanos) {
        for (ticker, partitions) in self.tickers.iter_mut().zip(&mut self.partitions) {
            if let Some(ticker) = ticker.as_mut().filter(|ticker| ticker.next() <= now) {
                ticker.restart(now);
                partitions[0].end = Offset(partitions[0].from.0 + 1);
            }
        }
    }

    /// How many records that are no ticks.
    fn record_count(&self, fixed: &Fixed) -> u64 {
        let ticks = self.sources.iter().zip(&self.tickers).filter(|(_, ticker)| ticker.is_some());
        let ticks = ticks.filter_map(|(source, _)| fixed.of_source(*source)).flatten();
        fixed.record_count() - ticks.map(|(from, to)| to.0 - from.0).sum::<u64>()
    }

    /// Fixes the records of the next microbatch.
    fn fix(&mut self, now: Nanos) {
        self.fire_ticks(now);
        let range = |source: usize, task: usize| {
            let Partition { from, end } = self.partitions[source][task];
            let kin = self.kin[source].iter().map(|other| self.partitions[*other][task].from);
            next_range((from, end), kin, self.options.max_records)
        };
        let of = |source: usize| (0..self.task_count as usize).map(|task| range(source, task)).collect();
        let ranges = self.sources.iter().enumerate().map(|(at, source)| (*source, of(at))).collect();
        let fixed = Fixed { id: self.finished + 1, ranges };
        self.acts.push(Act::Write { record: Record::Fixed, value: fixed.encode() });
        self.fixed = Some(fixed);
        self.is_fixed = false;
        self.retry_ms = MICROBATCH_RETRY_MS;
    }

    /// Begins an attempt.
    fn begin(&mut self, now: Nanos) {
        self.run = RunId {
            topology: self.topology,
            id: self.finished + u64::from(!planted::has(Bug::ReusedMicrobatchId) || self.finished == 0),
            attempt: Attempt { epoch: self.epoch, counter: self.counter },
        };
        self.counter += 1;
        self.become_phase(Phase::Priming, now);
        self.missing = self.all();
        self.epochs.fill(None);
        self.tell_all_of(MicrobatchSays::Prime, &[]);
    }

    /// A participant is ready, in this epoch of its.
    pub(crate) fn primed(&mut self, task: TaskId, run: RunId, epoch: Epoch, now: Nanos) {
        if self.phase != Phase::Priming || run != self.run || !self.missing.remove(&task) {
            return;
        }
        let known = &mut self.epochs[(task.0 % self.thread_count) as usize];
        if known.is_some_and(|known| known != epoch) {
            return self.fail("a task thread started anew", now);
        }
        *known = Some(epoch);
        self.run_if_ready(now);
    }

    fn run_if_ready(&mut self, now: Nanos) {
        if self.phase != Phase::Priming || !self.missing.is_empty() || !self.is_fixed {
            return;
        }
        self.become_phase(Phase::Running, now);
        self.stages = Stages::default();
        let epochs = self.known_epochs();
        for task in 0..self.task_count {
            let mut body = Vec::new();
            epochs.iter().for_each(|epoch| body.extend_from_slice(&epoch.0.to_le_bytes()));
            self.ranges_of(TaskId(task)).encode(&mut body);
            self.tell(TaskId(task), self.epoch_of(TaskId(task)), MicrobatchSays::Begin, body);
        }
        self.acts.push(Act::Start { run: self.run, epochs });
    }

    fn known_epochs(&self) -> Vec<Epoch> {
        self.epochs.iter().map(|epoch| epoch.unwrap_or_default()).collect()
    }

    fn epoch_of(&self, task: TaskId) -> Epoch {
        self.epochs[(task.0 % self.thread_count) as usize].unwrap_or_default()
    }

    /// The records of the microbatch on a task, by source.
    fn ranges_of(&self, task: TaskId) -> Ranges {
        let fixed = self.fixed.as_ref();
        let of = |source: &ObjectId| {
            let ranges = fixed.and_then(|fixed| fixed.of_source(*source));
            let (from, to) = ranges.and_then(|ranges| ranges.get(task.index())).copied().unwrap_or_default();
            let is_wrong = planted::has(Bug::RetryFromWrongOffset) && self.retry_ms > MICROBATCH_RETRY_MS;
            (Offset(from.0 + u64::from(is_wrong && from < to)), to)
        };
        Ranges(self.sources.iter().map(of).collect())
    }

    fn is_running(&self, run: RunId) -> bool {
        self.phase == Phase::Running && run == self.run
    }

    /// An event was sent from here, with this number.
    pub(crate) fn sent(&mut self, run: RunId, event: u64) {
        if self.is_running(run) {
            self.stages.sent(event);
        }
    }

    /// Events are done: the XOR of their numbers and those of the events they sent.
    pub(crate) fn done(&mut self, run: RunId, bits: u64) {
        if self.is_running(run) && self.stages.done(bits) {
            self.acts.push(Act::GoOn { run, epochs: self.known_epochs() });
        }
    }

    /// An event on task 0 entered a batch block.
    pub(crate) fn entered(&mut self, run: RunId, block: usize, live: Vec<u8>) {
        if self.is_running(run) {
            self.stages.enter(block, live);
        }
    }

    /// The stage that begins now that no event is out; none if all is done, and what was written is to be prepared.
    pub(crate) fn next_stage(&mut self, run: RunId, plan: &Plan, now: Nanos) -> Option<(Stage, Vec<u8>)> {
        if !self.is_running(run) {
            return None;
        }
        if let Some(next) = self.stages.next(plan) {
            return Some(next);
        }
        self.become_phase(Phase::Preparing, now);
        self.missing = self.all();
        for task in 0..self.task_count {
            self.tell(TaskId(task), self.epoch_of(TaskId(task)), MicrobatchSays::Prepare, Vec::new());
        }
        None
    }

    /// A participant's writes are durable; it was primed in this epoch.
    pub(crate) fn prepared(&mut self, task: TaskId, run: RunId, epoch: Epoch, now: Nanos) {
        let is_current = self.phase == Phase::Preparing && run == self.run && epoch == self.epoch_of(task);
        if !is_current || !self.missing.remove(&task) || !self.missing.is_empty() {
            return;
        }
        // From here on nothing gives it up.
        self.become_phase(Phase::Deciding, now);
        self.acts.push(Act::Write { record: Record::Decided, value: crate::micro::record::encode_decided(&run) });
        if planted::has(Bug::PublishBeforeDecide) {
            self.publish(now);
        }
    }

    /// A record is durable.
    pub(crate) fn written(&mut self, record: Record, now: Nanos) {
        match (record, self.phase) {
            (Record::Fixed, _) => {
                self.is_fixed = true;
                self.run_if_ready(now);
            }
            (Record::Decided, Phase::Deciding) => self.publish(now),
            (Record::Finished, Phase::Finishing) => self.finish(now),
            (Record::Paused, _) => {
                self.unwritten = self.unwritten.saturating_sub(1);
                self.answer_waiters(now);
            }
            (Record::Decided | Record::Finished, _) => {}
        }
    }

    fn publish(&mut self, now: Nanos) {
        self.become_phase(Phase::Publishing, now);
        self.deadline = now.plus_ms(MICROBATCH_AGAIN_MS);
        self.missing = self.all();
        self.tell_publish();
    }

    fn tell_publish(&mut self) {
        for task in self.missing.clone() {
            let mut body = Vec::new();
            self.ranges_of(task).encode(&mut body);
            self.tell(task, Epoch(0), MicrobatchSays::Publish, body);
        }
    }

    /// A participant's writes are visible.
    pub(crate) fn published(&mut self, task: TaskId, run: RunId, now: Nanos) {
        if self.phase != Phase::Publishing || run != self.run || !self.missing.remove(&task) {
            return;
        }
        if self.missing.is_empty() {
            self.become_phase(Phase::Finishing, now);
            let count = self.fixed.as_ref().map_or(0, |fixed| self.record_count(fixed));
            let value = crate::micro::record::encode_finished(run.id, self.processed + count);
            if planted::has(Bug::FinishedInMemoryOnly) {
                return self.finish(now);
            }
            self.acts.push(Act::Write { record: Record::Finished, value });
        }
    }

    fn finish(&mut self, now: Nanos) {
        self.become_phase(Phase::Idle, now);
        self.finished = self.run.id;
        self.failing = None;
        self.ended_at = now;
        if let Some(fixed) = self.fixed.take() {
            self.processed += self.record_count(&fixed);
            self.know_ranges(&fixed, true);
        }
        self.tell_all_of(MicrobatchSays::Finished, &[]);
        self.tick(now);
    }

    /// The attempt cannot go on. After the decision nothing can keep it from going on.
    pub(crate) fn failed(&mut self, run: RunId, text: &str, now: Nanos) {
        if run == self.run && matches!(self.phase, Phase::Priming | Phase::Running | Phase::Preparing) {
            self.fail(text, now);
        }
    }

    fn fail(&mut self, text: &str, now: Nanos) {
        let RunId { id, attempt, .. } = self.run;
        tracing::warn!(
            topology = self.name,
            microbatch = id,
            attempt = attempt.counter,
            retry_ms = self.retry_ms,
            text,
            "an attempt at a microbatch failed; nothing of it is visible, and its records will be tried again"
        );
        let before = self.failing.take().filter(|(failing, ..)| *failing == id).map_or(0, |(_, attempts, _)| attempts);
        self.failing = Some((id, before.saturating_add(1), cut(text, TROUBLE_TEXT_SIZE_MAX).to_string()));
        self.tell_all_of(MicrobatchSays::Abandon, &[]);
        self.become_phase(Phase::Backoff { until: now.plus_ms(self.retry_ms) }, now);
        self.retry_ms = (2 * self.retry_ms).min(MICROBATCH_RETRY_MS_MAX);
        self.answer_waiters(now);
    }

    /// A client asks.
    pub(crate) fn ask(&mut self, peer: Peer, request: u64, ask: MicrobatchAsk, now: Nanos) {
        match ask {
            // The other is answered without it.
            MicrobatchAsk::Status | MicrobatchAsk::Offsets { .. } => self.acts.push(Act::Answer { peer, request }),
            _ if self.waiters.len() + self.pausers.len() + self.tellers.len() >= MICROBATCH_WAITER_COUNT_MAX => {
                self.acts.push(Act::Refuse { peer, request });
            }
            MicrobatchAsk::Await { count, timeout_ms } => {
                let deadline = now.plus_ms(timeout_ms.min(u64::from(u32::MAX)));
                self.waiters.push(Waiter { peer, request, count, deadline });
            }
            MicrobatchAsk::Pause => {
                self.pausers.push((peer, request));
                self.set_paused(true, now);
            }
            MicrobatchAsk::Resume => {
                // Whoever still waits for a pause waits for none any more: under a steady load there might be no moment between
                // two microbatches to say so.
                self.tellers.append(&mut self.pausers);
                self.tellers.push((peer, request));
                self.set_paused(false, now);
            }
        }
        self.tick(now);
    }

    /// What was appended before it goes on is in the next microbatch, up to its limit: every participant is asked what it has.
    fn set_paused(&mut self, paused: bool, now: Nanos) {
        if self.paused != paused {
            self.paused = paused;
            self.asked = if paused { BTreeSet::new() } else { self.all() };
            self.asked_until = now.plus_ms(MICROBATCH_AGAIN_MS);
            self.unwritten += 1;
            self.acts.push(Act::Write { record: Record::Paused, value: vec![u8::from(paused)] });
            self.tell_all_of(MicrobatchSays::Paused, &[u8::from(paused)]);
        }
    }

    /// A client wants no answers to these requests. A pause that was asked for stays.
    pub(crate) fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool) {
        self.waiters.retain(|waiter| !is_cancelled(waiter.peer, waiter.request));
        self.pausers.retain(|(peer, request)| !is_cancelled(*peer, *request));
        self.tellers.retain(|(peer, request)| !is_cancelled(*peer, *request));
    }

    fn answer_waiters(&mut self, now: Nanos) {
        let processed = self.processed;
        let over = |waiter: &mut Waiter| processed >= waiter.count || waiter.deadline <= now;
        let over = self.waiters.extract_if(.., over);
        self.acts.extend(over.map(|Waiter { peer, request, .. }| Act::Answer { peer, request }));
        // What a client was told holds after a restart too.
        if self.unwritten > 0 {
            return;
        }
        let between = if self.is_between() { std::mem::take(&mut self.pausers) } else { Vec::new() };
        let over = between.into_iter().chain(self.tellers.drain(..));
        self.acts.extend(over.map(|(peer, request)| Act::Answer { peer, request }));
    }
}
