//! The task thread: what it holds, and one step of it.

use crate::append::Appending;
use crate::batch::Batch;
use crate::client_work::Selects;
use crate::depot_reads::DepotReads;
use crate::hold::Holds;
use crate::hops::HopNumbers;
use crate::host::EventRandom;
use crate::jobs::EventJobs;
use crate::limit::{
    AWAITED_NS_MAX, CLIENT_BATCH_COUNT_PER_TURN, EVENT_MS_MAX, EVENT_QUEUE_SIZE_MAX, LOG_MARK_MS, MEMORY_LOOK_MS,
    OUTBOX_FLUSH_SIZE, OUTBOX_RETRY_MS, OUTBOX_SIZE_MAX, PRODUCER_LOOK_MS, QUERY_TIMEOUT_MS, SEAL_SIZE, SLOW_OP_MS,
    SLOW_WRITE_MS, TABLES_KEPT_MS, TIMEOUT_CHECK_MS, TURN_NS_TARGET, TURN_NS_WHILE_WRITING, UNCOMMITTED_SIZE_MAX,
};
use crate::memory::MemoryBudget;
use crate::micro::Micro;
use crate::micro::part::Part;
use crate::numbered::{NumberWaits, SilenceClock};
use crate::outbox::Outbox;
use crate::overrun::Overruns;
use crate::paging::Pagings;
use crate::pipeline::Pipeline;
use crate::points::Points;
use crate::processed::ProcessedWaits;
use crate::pulse::Pulse;
use crate::query::Queries;
use crate::queue::{CategoryClock, LiveShares};
use crate::slot::TaskSlot;
use crate::space::Space;
use crate::stream_limits::StreamLimits;
use crate::tables::{Arrived, RootTables};
use crate::tick::Ticks;
use crate::together::restart_of;
use std::path::PathBuf;
use std::sync::Arc;
use tantu_base::door::{DiskDone, DiskError, Doors, Nanos, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId, ThreadId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{ModuleRuntime, QueryDef, StreamOptions};
use tantu_lsm::BlockCache;
use tantu_net::event::number_at;
use tantu_net::letter::{Letter, Refusal};
use tantu_replog::seglog::{OpenError, Poisoned, SegLogOptions};
use tantu_state::task::StateError;
use tantu_state::{TaskStateOptions, meta};

/// How a task thread is set up.
#[derive(Clone, Debug)]
pub struct ThreadConfig {
    /// Which one.
    pub thread: ThreadId,
    /// The module instance's directory.
    pub dir: PathBuf,
    /// The module.
    pub module: Arc<ModuleRuntime>,
    /// Desired proportions of time per category.
    pub shares: Arc<LiveShares>,
    /// The log.
    pub log: SegLogOptions,
    /// Every task's state.
    pub state: TaskStateOptions,
    /// Its memory.
    pub memory: MemoryBudget,
    /// How long a write of a PState may take before it is logged, in milliseconds.
    pub slow_write_ms: u64,
    /// What stream topologies leave open.
    pub stream: StreamOptions,
    /// Milliseconds after which a query that has no result fails, unless it says itself
    /// (`topology.query.timeout.millis`).
    pub query_timeout_ms: u64,
    /// How long an op may take before it is logged, in milliseconds.
    pub slow_op_ms: u64,
    /// Longest an event may run before it yields, in milliseconds.
    pub event_ms_max: u64,
    /// What it tells those who watch it.
    pub pulse: Arc<Pulse>,
    /// Its topologies take no records: it is opened for who looks at it.
    pub at_rest: bool,
}

impl ThreadConfig {
    /// The usual limits.
    pub fn new(thread: ThreadId, dir: PathBuf, module: Arc<ModuleRuntime>) -> Self {
        Self {
            thread,
            dir,
            module,
            shares: Arc::default(),
            log: SegLogOptions::default(),
            state: TaskStateOptions::default(),
            memory: MemoryBudget::default(),
            slow_write_ms: SLOW_WRITE_MS,
            stream: StreamOptions::default(),
            query_timeout_ms: QUERY_TIMEOUT_MS,
            slow_op_ms: SLOW_OP_MS,
            event_ms_max: EVENT_MS_MAX,
            pulse: Arc::default(),
            at_rest: false,
        }
    }

    /// Milliseconds after which a call of a query fails.
    pub(crate) fn query_timeout_ms(&self, query: &QueryDef) -> u64 {
        let own = query.options.timeout.map(|own| u64::try_from(own.as_millis()).unwrap_or(u64::MAX));
        own.unwrap_or(self.query_timeout_ms).clamp(1, u64::from(u32::MAX))
    }

    /// Milliseconds after their last row that tables nobody ended are dropped: no call takes so long.
    fn tables_kept_ms(&self) -> u64 {
        let longest = self.module.def.queries.iter().map(|query| self.query_timeout_ms(query)).max();
        TABLES_KEPT_MS.max(2 * longest.unwrap_or(0))
    }
}

/// Why a task thread cannot start or go on. Nothing acknowledged is lost.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The state of a task.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log could not be opened.
    #[error(transparent)]
    LogOpen(#[from] OpenError),
    /// A write of the log failed: nothing later can become durable.
    #[error(transparent)]
    Log(#[from] Poisoned),
    /// A small document of the module could not be read or written.
    #[error(transparent)]
    Document(#[from] meta::DocumentError),
    /// A task's files are older than what was acknowledged.
    #[error("{task} is at version {have}, but the checkpoint in {} says it reached {expected}: files of it are missing or old", path.display())]
    Behind {
        /// Whose files.
        task: TaskId,
        /// What they hold.
        have: u64,
        /// What they held.
        expected: u64,
        /// Who says so.
        path: PathBuf,
    },
    /// A task thread panicked outside of the author's code, whose panics fail their record, read or attempt: a mistake in the
    /// engine.
    #[error("{thread} panicked: {text}")]
    Panicked {
        /// Which one.
        thread: ThreadId,
        /// What it said.
        text: String,
    },
    /// A thread cannot close in order on a full disk.
    #[error("{error}: closed without bringing everything into tables; what was acknowledged is in the log")]
    StorageFull {
        /// What was refused.
        error: DiskError,
    },
}

/// What a step leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Step again at once.
    Busy,
    /// Nothing until something arrives, or until this time.
    Idle {
        /// When to step again even if nothing arrives.
        wake_at: Option<Nanos>,
    },
}

/// See the crate.
#[derive(Debug)]
pub struct TaskThread {
    pub(crate) config: ThreadConfig,
    pub(crate) slots: Vec<TaskSlot>,
    pub(crate) pipeline: Pipeline,
    pub(crate) cache: BlockCache,
    pub(crate) outbox: Outbox,
    pub(crate) random: EventRandom,
    pub(crate) numbers: HopNumbers,
    /// The streaming batch that ended last: its memory is used again.
    pub(crate) spare_batch: Batch,
    pub(crate) selects: Selects,
    pub(crate) points: Points,
    pub(crate) space: Space,
    pub(crate) depot_reads: DepotReads,
    pub(crate) queries: Queries,
    pub(crate) tables: RootTables,
    pub(crate) jobs: EventJobs,
    pub(crate) appending: Appending,
    pub(crate) ticks: Ticks,
    pub(crate) pagings: Pagings,
    pub(crate) overruns: Overruns,
    pub(crate) micro: Micro,
    /// By stream topology.
    pub(crate) streams: Vec<StreamLimits>,
    pub(crate) number_waits: NumberWaits,
    pub(crate) processed_waits: ProcessedWaits,
    pub(crate) holds: Holds,
    /// See [`ThreadConfig::tables_kept_ms`].
    pub(crate) tables_kept_ms: u64,
    clock: CategoryClock,
    done: Vec<DiskDone>,
    pub(crate) next_slot: usize,
    pub(crate) closing: bool,
    timeouts_at: Nanos,
    /// When producers that are silent are looked for.
    producers_at: Nanos,
    silence: SilenceClock,
    /// By depot: when its partitions are trimmed next.
    pub(crate) trims_at: Vec<Nanos>,
    pub(crate) progress_at: Option<Nanos>,
    quiet_since: Option<Nanos>,
    /// See [`TaskThread::lingers`].
    pub(crate) lingers: u32,
    /// Bytes in use besides the cache, when they were counted last.
    pub(crate) memory_size: usize,
    memory_at: Nanos,
    /// The wall clock when clients' letters came last.
    pub(crate) wall_ms: u64,
}

impl TaskThread {
    pub(crate) fn assemble(
        config: ThreadConfig,
        slots: Vec<TaskSlot>,
        pipeline: Pipeline,
        cache: BlockCache,
        seed: u64,
    ) -> Self {
        let overruns = Overruns::new(config.slow_op_ms, config.slow_write_ms);
        let (mut random, tables_kept_ms) = (EventRandom(seed), config.tables_kept_ms());
        Self {
            clock: CategoryClock::new(&config.shares),
            streams: config.module.def.streams.iter().map(|def| StreamLimits::of(def, &config.stream)).collect(),
            trims_at: vec![Nanos(0); config.module.def.depots.len()],
            numbers: HopNumbers::new(config.thread.0, config.module.thread_count, &mut random),
            config,
            slots,
            pipeline,
            cache,
            outbox: Outbox::default(),
            random,
            spare_batch: Batch::default(),
            selects: Selects::default(),
            points: Points::default(),
            space: Space::default(),
            depot_reads: DepotReads::default(),
            queries: Queries::default(),
            tables: RootTables::default(),
            jobs: EventJobs::default(),
            appending: Appending::default(),
            ticks: Ticks::default(),
            pagings: Pagings::default(),
            overruns,
            micro: Micro::default(),
            number_waits: NumberWaits::default(),
            processed_waits: ProcessedWaits::default(),
            holds: Holds::from_number(number_at(seed)),
            tables_kept_ms,
            done: Vec::new(),
            next_slot: 0,
            closing: false,
            timeouts_at: Nanos(0),
            producers_at: Nanos(0),
            silence: SilenceClock::default(),
            progress_at: None,
            quiet_since: None,
            lingers: 0,
            memory_size: 0,
            memory_at: Nanos(0),
            wall_ms: 0,
        }
    }

    /// Its number.
    pub fn thread(&self) -> ThreadId {
        self.config.thread
    }

    /// Does what there is to do, for about one turn.
    ///
    /// # Errors
    /// [`StopReason`]: the thread must not be stepped again.
    pub fn step(&mut self, doors: &mut Doors<'_>) -> Result<Progress, StopReason> {
        assert!(!planted::has(Bug::ThreadPanics), "a panic that was planted");
        let mut worked = self.reap(doors)?;
        let awaited = worked && self.is_awaited();
        if worked && !awaited {
            // What gathered while a write was out is written while what that made durable is processed.
            self.seal(doors);
        }
        worked |= self.finish_jobs(doors);
        worked |= self.space.look(&self.config.dir, doors);
        worked |= self.commit_durable(doors)?;
        if awaited {
            self.outbox.flush(doors.wire);
            self.process_awaited(doors)?;
            self.seal(doors);
        }
        worked |= self.answer_number_waits();
        // Answers do not wait for the turns that follow.
        worked |= self.outbox.flush(doors.wire);
        worked |= self.run_turns(doors)?;
        worked |= self.part_with(doors);
        worked |= self.seal(doors);
        worked |= self.background(doors)?;
        worked |= self.check_timers(doors);
        worked |= self.outbox.flush(doors.wire);
        if worked {
            self.quiet_since = None;
            return Ok(Progress::Busy);
        }
        Ok(self.rest(doors))
    }

    /// Gives free what it holds for clients that are gone.
    fn part_with(&mut self, doors: &mut Doors<'_>) -> bool {
        let mut worked = false;
        while let Some(peer) = doors.wire.departed() {
            self.take_cancel(peer, &[], doors.clock.now());
            self.outbox.forget(peer);
            worked = true;
        }
        worked
    }

    /// Whether to step again rather than sleep though a step had nothing to do, because other threads sent events a moment
    /// ago: so often and no longer. Sleeping at once is never wrong, only slower.
    pub fn lingers(&mut self) -> bool {
        let left = self.lingers;
        self.lingers = left.saturating_sub(1);
        left > 0
    }

    /// Refuses new appends and selects from here on; what is under way goes on.
    pub fn stop_admission(&mut self) {
        self.closing = true;
    }

    /// Whether every committed record was processed and everything is durable.
    pub fn is_quiet(&self) -> bool {
        self.pipeline.is_empty()
            && self.outbox.size() == 0
            && self.queries.is_quiet()
            && self.jobs.is_empty()
            && self.pagings.is_empty()
            && self.micro.is_quiet()
            && self.slots.iter().all(|slot| slot.is_quiet(self.config.at_rest))
    }

    /// Bytes in use besides the block cache: what admission and pressure are judged by.
    pub fn memory_in_use(&self) -> usize {
        self.count_memory()
    }

    /// Its tasks' committed depot ends, for audits: task, depot, end offset.
    pub fn depot_ends(&self) -> Vec<(TaskId, usize, u64)> {
        let ends = |slot: &TaskSlot| {
            let task = slot.task;
            slot.state.depots().iter().enumerate().map(|(i, d)| (task, i, d.committed_end().0)).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(ends).collect()
    }

    /// How many attempts at microbatches are prepared here and not published, for audits.
    pub fn prepared_count(&self) -> usize {
        self.slots.iter().map(|slot| slot.state.prepared_runs().count()).sum()
    }

    /// Where a task of this thread is in `slots`.
    #[inline]
    pub(crate) fn slot_of(&self, task: TaskId) -> Option<usize> {
        let count = self.config.module.thread_count;
        // Every event asks, and a division takes longer than all else of this.
        let (thread, index) = match count.is_power_of_two() {
            true => (task.0 & (count - 1), task.0 >> count.trailing_zeros()),
            false => (task.0 % count, task.0 / count),
        };
        Some(index as usize).filter(|index| thread == self.config.thread.0 && *index < self.slots.len())
    }

    fn reap(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let mut done = std::mem::take(&mut self.done);
        doors.disk.reap(&mut done);
        let worked = !done.is_empty();
        for done in done.drain(..) {
            self.complete(done, doors)?;
        }
        self.done = done;
        Ok(worked)
    }

    /// Runs turns of the most overdue categories until one turn's time is over, nothing is left, the disk has done something,
    /// or something is to be written and nothing is being written.
    fn run_turns(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let start = doors.clock.now();
        let (mut now, mut worked) = (start, false);
        self.clock.look(&self.config.shares);
        while now.since(start) < self.turns_ns() {
            let mut ran = None;
            for category in self.clock.order() {
                self.config.pulse.turn_begins(category);
                if self.turn(category, now, doors)? {
                    ran = Some(category);
                    break;
                }
            }
            let after = doors.clock.now();
            self.turn_ended(ran, now, after);
            if ran.is_none() {
                break;
            }
            // Whoever gets these goes on meanwhile. A few small letters wait for the end of the step: each batch takes a place
            // of a ring, however small.
            if self.outbox.size() >= OUTBOX_FLUSH_SIZE {
                self.outbox.flush(doors.wire);
            }
            now = after;
            worked = true;
            // Somebody waits for what the disk has done, or for a write that nothing keeps back.
            if doors.disk.has_done() || (self.pipeline.log.is_quiet() && self.staged_size() > 0) {
                break;
            }
        }
        Ok(worked)
    }

    /// Processes what became durable and somebody waits for, for a while.
    fn process_awaited(&mut self, doors: &mut Doors<'_>) -> Result<(), StopReason> {
        let category = Category::LowLatency;
        let start = doors.clock.now();
        let mut now = start;
        while now.since(start) < AWAITED_NS_MAX {
            self.config.pulse.turn_begins(category);
            let worked = self.turn(category, now, doors)?;
            let after = doors.clock.now();
            self.turn_ended(worked.then_some(category), now, after);
            if !worked {
                break;
            }
            now = after;
        }
        Ok(())
    }

    /// Accounts for a turn; none if no category had anything to do.
    fn turn_ended(&mut self, ran: Option<Category>, from: Nanos, to: Nanos) {
        self.config.pulse.turn_ends(ran.map(|category| (category, to.since(from))));
        let Some(category) = ran else { return };
        self.clock.spend(category, to.since(from).max(1));
        if self.overruns.turn(from, to) {
            let took_ms = to.since(from) / 1_000_000;
            let (thread, category) = (self.config.thread.0, category.name());
            tracing::info!(thread, category, took_ms, "a turn was long: ops are timed for a while");
        }
    }

    /// How long turns follow each other. Who waits for a write that is out waits for the end of them as well.
    fn turns_ns(&self) -> u64 {
        if self.pipeline.is_empty() { TURN_NS_TARGET } else { TURN_NS_WHILE_WRITING }
    }

    /// One turn of a category; false if it has nothing to do.
    fn turn(&mut self, category: Category, now: Nanos, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        match category {
            Category::Client | Category::MirrorClient => {
                let mut worked = self.run_selects(doors);
                worked |= self.run_depot_reads();
                worked |= self.run_pages(true, doors);
                worked |= self.run_queries(doors);
                // A full disk keeps much under way for long: appends are refused then, and reads go on.
                if self.space.is_full() || self.admits() {
                    for _ in 0..CLIENT_BATCH_COUNT_PER_TURN {
                        let answered = self.points.answered_count();
                        if !self.takes_more() || !self.receive(category, now, doors) {
                            break;
                        }
                        worked = true;
                        // Selects of single entries were answered then and there.
                        let has_answered = self.points.answered_count() > answered;
                        if has_answered && doors.clock.now().since(now) > TURN_NS_TARGET {
                            break;
                        }
                    }
                }
                Ok(worked)
            }
            // Enough is staged. A batch that began goes on all the same: its task cannot be sealed before it ends.
            Category::LowLatency if self.staged_size() >= SEAL_SIZE => self.run_batch(true, doors),
            Category::LowLatency => {
                let mut worked = false;
                while self.receive(category, now, doors) {
                    worked = true;
                    if self.events_size() > EVENT_QUEUE_SIZE_MAX {
                        break;
                    }
                }
                worked |= self.run_pages(false, doors);
                worked |= self.start_records(now);
                worked |= self.start_ticks(now);
                worked |= self.run_batch(false, doors)?;
                Ok(worked)
            }
            Category::FlexLatency => {
                let mut worked = false;
                while self.receive(category, now, doors) {
                    worked = true;
                    if self.events_size() > EVENT_QUEUE_SIZE_MAX {
                        break;
                    }
                }
                Ok(worked | (self.has_microbatches() && self.turn_microbatches(now, doors)?))
            }
            Category::IsrReplication => Ok(self.receive(category, now, doors)),
        }
    }

    /// Whether clients' requests are taken from their rings: not while too much of anything is under way that ends by itself
    /// (D13). What waits for users' code, as calls of queries may, is refused instead: nobody else waits for it. Letters that give
    /// something free, or let a topology go on, come by another category.
    fn admits(&self) -> bool {
        let held = |slot: &TaskSlot| !slot.can_seal() && slot.state.staged_size() > SEAL_SIZE;
        let detached: usize = self.slots.iter().map(|slot| slot.state.detached_size()).sum();
        self.staged_size() < SEAL_SIZE
            && self.pipeline.uncommitted_size() + self.staged_size() + detached < UNCOMMITTED_SIZE_MAX
            && self.outbox.size() < OUTBOX_SIZE_MAX
            && !self.pipeline.is_strained()
            && self.memory_size < self.config.memory.admission()
            && !self.has_full_memtables()
            && !self.depot_reads.is_full()
            && !self.slots.iter().any(held)
    }

    /// Whether one more batch may be taken in a turn that began with [`TaskThread::admits`]: what a batch adds to.
    fn takes_more(&self) -> bool {
        self.space.is_full()
            || (self.staged_size() < SEAL_SIZE && self.outbox.size() < OUTBOX_SIZE_MAX && !self.depot_reads.is_full())
    }

    pub(crate) fn staged_size(&self) -> usize {
        self.slots.iter().map(|slot| slot.state.staged_size()).sum()
    }

    /// Bytes in use besides the cache.
    fn count_memory(&self) -> usize {
        let of_slot = |slot: &TaskSlot| {
            let parts: usize = slot.parts.iter().map(Part::size).sum();
            slot.state.memory_size() + slot.state.loaded_size() + slot.events.size() + slot.calls.size() + parts
        };
        let slots: usize = self.slots.iter().map(of_slot).sum();
        let waiting =
            self.jobs.size() + self.appending.size() + self.pagings.size() + self.queries.size() + self.tables.size();
        slots + self.outbox.size() + self.pipeline.uncommitted_size() + waiting
    }

    fn events_size(&self) -> usize {
        let parts = |slot: &TaskSlot| slot.parts.iter().map(Part::size).sum::<usize>();
        self.slots.iter().map(|slot| slot.events.size() + parts(slot)).sum()
    }

    /// Takes one batch of letters of a category.
    fn receive(&mut self, category: Category, now: Nanos, doors: &mut Doors<'_>) -> bool {
        let Some((peer, batch)) = doors.wire.receive(category) else { return false };
        if category == Category::Client {
            self.wall_ms = doors.clock.wall_ms();
        }
        let mut reader = FixedReader::new(&batch.bytes);
        let is_client = peer.0 >= self.config.module.thread_count;
        while let Some(letter) = Letter::decode_next(&mut reader) {
            match letter {
                // What task threads tell each other is believed: a client has no say in it.
                Ok(letter) if is_client && !letter.is_request() => {
                    tracing::warn!(peer = peer.0, "dropped a client's letter that only task threads send");
                }
                Ok(letter) => self.take_letter(peer, letter, now),
                Err(error) => {
                    tracing::warn!(peer = peer.0, %error, "dropped the rest of a batch of letters");
                    break;
                }
            }
        }
        doors.wire.give_back(peer, category, batch.bytes);
        self.answer_points(doors);
        true
    }

    pub(crate) fn take_letter(&mut self, peer: Peer, letter: Letter<'_>, now: Nanos) {
        match letter {
            Letter::Append { task, request, depot, ack, record } => {
                self.take_append(peer, task, request, depot, ack, record);
            }
            Letter::Select { task, request, pstate, path } => self.take_select(peer, task, request, pstate, path),
            Letter::Invoke { task, request, query, arguments } => {
                self.take_invoke(peer, task, request, query, arguments, now);
            }
            Letter::ReadDepot { task, request, depot, range } => {
                self.take_read_depot(peer, task, request, depot, range);
            }
            Letter::AskOffsets { task, request, depot } => self.take_ask_offsets(peer, task, request, depot),
            Letter::AskMicrobatch { request, topology, ask, .. } => self.take_ask(peer, request, topology, ask, now),
            letter @ Letter::Microbatch { .. } => self.take_microbatch(letter, now),
            Letter::Stream(letter) => self.take_stream(peer, letter, now),
            Letter::Client(letter) => self.take_client(peer, letter, now),
            Letter::Continue { task, stream, fingerprint, position, root, event, live } => {
                let at = tantu_flow::Position(position);
                let plan = self.config.module.plan(stream).map(|plan| plan.fingerprint() as u32);
                match (self.slot_of(task), plan) {
                    (Some(slot), Some(plan)) if plan == fingerprint => {
                        let call = self.is_call(&root);
                        if call && self.queries.over.has(&root) {
                            return;
                        }
                        let slot = &mut self.slots[slot];
                        let events = if call { slot.calls.beside_mut(&root) } else { &mut slot.events };
                        events.push(stream, at, root, event, live);
                    }
                    _ => self.report_failed(root, "the event was sent by another version of the module", now),
                }
            }
            Letter::Events { rows } => self.take_packed(peer, rows, now),
            Letter::Fold { task, topology, fingerprint, table, root, event, is_partial, rows } => {
                let plan = self.config.module.plan(topology).map(|plan| plan.fingerprint() as u32);
                if plan == Some(fingerprint) {
                    let arrived = Arrived { task, topology, table, root, event, is_partial, rows };
                    self.take_rows(arrived, now.plus_ms(self.tables_kept_ms), now);
                } else {
                    self.report_failed(root, "rows were sent by another version of the module", now);
                }
            }
            letter @ Letter::Call { .. } => self.take_call(letter, now),
            Letter::End { root, .. } => self.take_end(&root),
            Letter::Done { root, bits } => self.report_done(root, bits, now),
            Letter::Failed { root, text } => self.report_failed(root, text, now),
            Letter::Appended { .. }
            | Letter::Rows { .. }
            | Letter::Records { .. }
            | Letter::Offsets { .. }
            | Letter::MicrobatchStatus { .. }
            | Letter::Refused { .. } => {
                tracing::warn!(peer = peer.0, "dropped a letter meant for a client");
            }
        }
    }

    /// Tells a client that its request was refused.
    pub(crate) fn refuse(&mut self, peer: Peer, request: u64, refusal: Refusal, text: &str) {
        let mut end = text.len().min(crate::limit::ERROR_TEXT_SIZE_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.outbox.push(peer, Category::Client, &Letter::Refused { request, refusal, text: &text[..end] });
    }

    /// Time-outs of roots and the checkpoint of progress that no entry carried yet; true if there is something
    /// to do now.
    fn check_timers(&mut self, doors: &mut Doors<'_>) -> bool {
        let now = doors.clock.now();
        let mut reopened = false;
        if now >= self.memory_at {
            self.memory_at = now.plus_ms(MEMORY_LOOK_MS);
            let before = self.memory_size;
            self.memory_size = self.count_memory();
            let most = self.config.memory.admission();
            // Clients that were kept out are let in at once.
            reopened = before >= most && self.memory_size < most;
        }
        if now >= self.timeouts_at {
            self.timeouts_at = now.plus_ms(self.timeout_check_ms());
            self.fail_overdue(now);
            self.tables.drop_overdue(now);
            self.slots.iter_mut().for_each(|slot| slot.state.age_loaded());
        }
        self.fail_overdue_calls(now);
        reopened |= self.look_after_holds(now);
        if now >= self.producers_at {
            self.producers_at = now.plus_ms(PRODUCER_LOOK_MS);
            let at_ms = self.silence.now_ms(now, doors.clock.wall_ms());
            self.slots.iter_mut().for_each(|slot| slot.state.expire_producers(at_ms));
        }
        reopened |= self.answer_processed_waits(now);
        let trims = self.trim_depots(now);
        self.checkpoint(now) || trims || reopened
    }

    /// Milliseconds between looks at time-outs: a short one is not overlooked for long.
    fn timeout_check_ms(&self) -> u64 {
        let shortest = self.streams.iter().map(|limits| limits.timeout_ms / 4).min();
        shortest.unwrap_or(TIMEOUT_CHECK_MS).clamp(1, TIMEOUT_CHECK_MS)
    }

    /// Stages progress that is worth an entry of its own; true if there is some.
    fn checkpoint(&mut self, now: Nanos) -> bool {
        let slots = self.slots.iter().filter(|slot| slot.can_seal());
        let all =
            slots.flat_map(|slot| (0..slot.sources.len()).map(|at| (&slot.sources[at], restart_of(&slot.sources, at))));
        let (mut period_ms, mut is_due) = (None, false);
        for (source, base) in all.filter(|(source, base)| source.has_progress(*base)) {
            let limits = &self.streams[usize::from(source.setup.stream)];
            period_ms = Some(period_ms.map_or(limits.checkpoint_ms, |ms: u64| ms.min(limits.checkpoint_ms)));
            is_due |= source.unsaved_count(base) >= limits.checkpoint_threshold;
        }
        let at = period_ms.map(|ms| now.plus_ms(ms));
        self.progress_at = at.map(|at| self.progress_at.map_or(at, |other| other.min(at)));
        is_due |= self.progress_at.is_some_and(|at| at <= now);
        if is_due {
            self.progress_at = None;
            self.stage_progress();
        }
        is_due
    }

    /// Nothing to do: when to look again.
    fn rest(&mut self, doors: &mut Doors<'_>) -> Progress {
        let now = doors.clock.now();
        let since = *self.quiet_since.get_or_insert(now);
        let mut wake: Option<Nanos> = self.progress_at;
        let mut sooner = |at: Nanos| wake = Some(wake.map_or(at, |other| other.min(at)));
        for source in self.slots.iter().flat_map(|slot| &slot.sources) {
            if source.is_busy() {
                sooner(self.timeouts_at);
            }
            source.next_retry().map(&mut sooner);
        }
        self.space.retry_at().map(&mut sooner);
        if !self.tables.is_empty() {
            sooner(self.timeouts_at);
        }
        self.queries.due_at().map(&mut sooner);
        self.holds.wake_at().map(&mut sooner);
        if self.memory_size >= self.config.memory.admission() {
            sooner(self.memory_at);
        }
        self.next_trim().map(&mut sooner);
        self.tick_at().map(&mut sooner);
        self.processed_waits.wake_at().map(&mut sooner);
        self.microbatches_wake_at().map(&mut sooner);
        if self.slots.iter().any(|slot| slot.state.loaded_size() > 0) {
            sooner(self.timeouts_at);
        }
        if self.outbox.size() > 0 {
            sooner(now.plus_ms(OUTBOX_RETRY_MS));
        }
        if self.pipeline.is_empty() && !self.pipeline.is_marked() {
            let mark_at = since.plus_ms(LOG_MARK_MS);
            if mark_at <= now {
                self.pipeline.mark(doors.disk);
            } else {
                sooner(mark_at);
            }
        }
        Progress::Idle { wake_at: wake }
    }
}
