//! Microbatch topologies on a task thread: the letters of the protocol, a participant for each task, and beside task 0 the
//! coordinators (design D15).
//!
//! An attempt begins on every task with `Prime`, which drops what there is of earlier ones. Its hops leave at once; its writes
//! go to the side run of each task, which is made durable with `Prepare` and visible with `Publish`. Letters of an attempt carry
//! it and the receiver's epoch, so that nothing of another attempt or another life of a thread gets into it.

pub(crate) mod calls;
pub(crate) mod coordinator;
mod host;
pub(crate) mod part;
mod range;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod start;
#[cfg(test)]
mod tests;

use crate::limit::{LETTER_BATCH_SIZE, MICROBATCH_TELL_MS, TABLES_KEPT_MS};
use crate::micro::coordinator::{Act, Coordinator};
use crate::micro::part::{Part, Try, TryPhase};
use crate::micro::record::{Ranges, Record};
use crate::slot::TaskSlot;
use crate::tables::TakeGuarded;
use crate::thread::{StopReason, TaskThread};
use std::collections::BTreeMap;
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, Epoch, Offset, RunId, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{Run, Where};
use tantu_net::letter::{Letter, MicrobatchAsk, MicrobatchSays, Refusal, Root};
use tantu_state::layout::object_key;
use tantu_state::side::{RunError, RunEvent};

/// The number of a microbatch in a letter about ends that answers a question.
const ASKED: u64 = 1;

/// What a thread has of microbatch topologies.
#[derive(Debug, Default)]
pub(crate) struct Micro {
    /// On the thread of task 0, by the topologies' places.
    pub(crate) coordinators: Vec<Coordinator>,
    /// Letters to this thread itself, encoded.
    local: Vec<u8>,
    /// Records that are on their way to the log.
    notes: BTreeMap<u64, (usize, Record)>,
    next_note: u64,
    /// When participants tell again what their partitions have.
    tell_at: Nanos,
    next_part: usize,
    /// A topology that the module does not have any more has decided a microbatch and not finished it.
    pub(crate) owes_removed: bool,
}

impl Micro {
    pub(crate) fn is_quiet(&self) -> bool {
        self.local.is_empty() && self.coordinators.iter().all(Coordinator::is_quiet)
    }
}

impl TaskThread {
    /// Whether the module has microbatch topologies.
    pub(crate) fn has_microbatches(&self) -> bool {
        !self.config.module.def.microbatches.is_empty()
    }

    /// Begins no more microbatches in this life; says whether a decided one has still to be made visible.
    pub fn hold_microbatches(&mut self) -> bool {
        self.micro.coordinators.iter_mut().for_each(Coordinator::hold);
        self.micro.coordinators.iter().any(Coordinator::owes_publish)
    }

    /// Whether a microbatch that has still to be made visible is of a topology that the module does not have any more.
    pub fn owes_removed(&self) -> bool {
        self.micro.owes_removed
    }

    /// Drops what attempts that are not decided wrote: their records will be tried again. For a log that is given up.
    pub fn drop_undecided(&mut self) {
        for slot in &mut self.slots {
            let runs: Vec<RunId> = slot.state.prepared_runs().map(|(run, _)| run).collect();
            for run in runs {
                if let Err(error) = slot.state.drop_run(run) {
                    tracing::warn!(%run, %error, "an attempt could not be dropped");
                }
            }
        }
    }

    /// One turn of microbatches: letters, what they want done, events; false if there was nothing.
    pub(crate) fn turn_microbatches(&mut self, now: Nanos, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let mut worked = self.take_local(now);
        worked |= self.tell_ends(now);
        for coordinator in &mut self.micro.coordinators {
            coordinator.tick(now);
        }
        worked |= self.act(now);
        worked |= self.run_microbatches(doors)?;
        worked |= self.start_micro_calls(now);
        Ok(worked)
    }

    /// Takes the letters to this thread itself.
    fn take_local(&mut self, now: Nanos) -> bool {
        let local = std::mem::take(&mut self.micro.local);
        let mut reader = FixedReader::new(&local);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let letter = letter.expect("invariant: the thread encoded it itself");
            self.take_letter(Peer(self.config.thread.0), letter, now);
        }
        !local.is_empty()
    }

    /// Sends a letter of the protocol to the thread of its task.
    fn send_microbatch(&mut self, letter: &Letter<'_>) {
        let Letter::Microbatch { task, .. } = letter else { unreachable!("of the protocol") };
        let thread = self.config.module.thread_of(*task);
        if thread == self.config.thread {
            letter.encode(&mut self.micro.local);
        } else {
            self.outbox.push(Peer(thread.0), Category::FlexLatency, letter);
        }
    }

    /// A participant answers its coordinator.
    fn answer(&mut self, from: TaskId, run: RunId, epoch: Epoch, says: MicrobatchSays, body: &[u8]) {
        self.send_microbatch(&Letter::Microbatch { task: TaskId(0), from, run, epoch, says, body });
    }

    /// Sends events, rows and reports of an attempt to the threads of their tasks, in order.
    pub(crate) fn send_events(&mut self, from: TaskId, run: RunId, epochs: &[Epoch], letters: &[u8]) {
        let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut reader = FixedReader::new(letters);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let letter = letter.expect("invariant: the thread encoded it itself");
            let task = match letter {
                Letter::Continue { task, .. } | Letter::Fold { task, .. } => task,
                Letter::Done { root, .. } | Letter::Failed { root, .. } => root.task,
                _ => unreachable!("only continuations, rows and reports are effects"),
            };
            let thread = self.config.module.thread_of(task).0;
            let body = bodies.entry(thread).or_default();
            letter.encode(body);
            if body.len() >= LETTER_BATCH_SIZE {
                let body = std::mem::take(body);
                self.send_body(from, run, epochs, thread, &body);
            }
        }
        for (thread, body) in bodies {
            if !body.is_empty() {
                self.send_body(from, run, epochs, thread, &body);
            }
        }
    }

    fn send_body(&mut self, from: TaskId, run: RunId, epochs: &[Epoch], thread: u32, body: &[u8]) {
        let epoch = epochs[thread as usize];
        // The first task of a thread has its number.
        let says = MicrobatchSays::Events;
        self.send_microbatch(&Letter::Microbatch { task: TaskId(thread), from, run, epoch, says, body });
    }

    /// Does what the coordinators want; true if there was something.
    fn act(&mut self, now: Nanos) -> bool {
        let mut worked = false;
        for at in 0..self.micro.coordinators.len() {
            for act in self.micro.coordinators[at].take_acts() {
                worked = true;
                self.act_one(at, act, now);
            }
        }
        worked
    }

    fn act_one(&mut self, at: usize, act: Act, now: Nanos) {
        match act {
            Act::Tell { to, run, epoch, says, body } => {
                let from = TaskId(0);
                self.send_microbatch(&Letter::Microbatch { task: to, from, run, epoch, says, body: &body });
            }
            Act::Write { record, value } => {
                let note = self.micro.next_note;
                self.micro.next_note += 1;
                self.micro.notes.insert(note, (at, record));
                let topology = self.micro.coordinators[at].topology();
                // Task 0 is the first of thread 0.
                self.slots[0].state.put_noted(record.key(topology), value, note);
            }
            Act::Start { run, epochs } => self.start_microbatch(at, run, &epochs, now),
            Act::GoOn { run, epochs } => self.go_on(at, run, &epochs, now),
            Act::Answer { peer, request } => {
                let (finished, processed, paused) = self.micro.coordinators[at].status();
                let failing = self.micro.coordinators[at].failing();
                let letter = Letter::MicrobatchStatus { request, finished, processed, paused, failing };
                self.outbox.push(peer, Category::Client, &letter);
            }
            Act::Refuse { peer, request } => {
                self.refuse(peer, request, Refusal::Invalid, "too many clients wait for the topology");
            }
        }
    }

    /// The first events of an attempt: each source's code begins on task 0.
    fn start_microbatch(&mut self, at: usize, run: RunId, epochs: &[Epoch], now: Nanos) {
        let module = Arc::clone(&self.config.module);
        let (def, stream, source) = module.microbatch(at).expect("invariant: it has a coordinator");
        let fingerprint = def.plan.fingerprint() as u32;
        let root = Root { task: TaskId(0), source, offset: Offset(run.id), attempt: run.attempt.counter };
        if def.sources.is_empty() {
            return self.go_on(at, run, epochs, now);
        }
        let mut letters = Vec::new();
        for source in &def.sources {
            let event = self.random.next();
            self.micro.coordinators[at].sent(run, event);
            let position = source.at.0;
            Letter::Continue { task: TaskId(0), stream, fingerprint, position, root, event, live: &[] }
                .encode(&mut letters);
        }
        self.send_events(TaskId(0), run, epochs, &letters);
    }

    /// No event of an attempt is out: the next stage of a batch block starts, or what was written is prepared.
    fn go_on(&mut self, at: usize, run: RunId, epochs: &[Epoch], now: Nanos) {
        let module = Arc::clone(&self.config.module);
        let (def, stream, source) = module.microbatch(at).expect("invariant: it has a coordinator");
        let Some((stage, live)) = self.micro.coordinators[at].next_stage(run, &def.plan, now) else { return };
        let tasks = match stage.on {
            Where::Origin | Where::Zero => 0..1,
            Where::Everywhere => 0..module.task_count,
        };
        let (fingerprint, position) = (def.plan.fingerprint() as u32, stage.at.0);
        let root = Root { task: TaskId(0), source, offset: Offset(run.id), attempt: run.attempt.counter };
        let mut letters = Vec::new();
        for task in tasks.map(TaskId) {
            let event = self.random.next();
            self.micro.coordinators[at].sent(run, event);
            Letter::Continue { task, stream, fingerprint, position, root, event, live: &live }.encode(&mut letters);
        }
        self.send_events(TaskId(0), run, epochs, &letters);
    }

    /// A client asks something of a microbatch topology.
    pub(crate) fn take_ask(&mut self, peer: Peer, request: u64, topology: u16, ask: MicrobatchAsk, now: Nanos) {
        match self.micro.coordinators.get_mut(usize::from(topology)) {
            Some(coordinator) if let MicrobatchAsk::Offsets { source } = ask => {
                let source = usize::try_from(source).unwrap_or(usize::MAX);
                let rows: Vec<u8> =
                    coordinator.processed_offsets(source).flat_map(|offset| offset.0.to_le_bytes()).collect();
                let letter = Letter::Rows { request, more: false, count: 0, rows: &rows };
                self.outbox.push(peer, Category::Client, &letter);
            }
            Some(coordinator) => coordinator.ask(peer, request, ask, now),
            None => {
                let text = format!("{} coordinates no microbatch topology {topology}", self.config.thread);
                self.refuse(peer, request, Refusal::Invalid, &text);
            }
        }
    }

    /// A letter of the protocol.
    pub(crate) fn take_microbatch(&mut self, letter: Letter<'_>, now: Nanos) {
        let Letter::Microbatch { task, from, run, epoch, says, body } = letter else { unreachable!("of the protocol") };
        let ids = &self.config.module.microbatches;
        let Some(at) = ids.iter().position(|ids| ids.topology == run.topology) else {
            // The module had the topology once.
            if let Some(slot) = self.slot_of(task).filter(|_| says == MicrobatchSays::Abandon) {
                self.slots[slot].state.abandon_runs(run);
            }
            return;
        };
        use MicrobatchSays::{Abandon, Begin, Events, Failed, Prepare, Prepared, Primed};
        let is_bound = matches!(says, Primed | Begin | Events | Prepare | Prepared | Failed | Abandon);
        // An abandoned attempt is told to whoever it reaches; all else of an attempt is for one life of a thread.
        if is_bound && says != Abandon && epoch != self.pipeline.epoch() {
            return;
        }
        match says {
            MicrobatchSays::Ends | Primed | Prepared | MicrobatchSays::Published | Failed => {
                self.take_report(at, from, run, says, body, now);
            }
            Events => self.take_events(at, run, body, now),
            _ => {
                if let Some(slot) = self.slot_of(task) {
                    self.take_order(slot, at, run, (says, body), now);
                }
            }
        }
    }

    /// What participants tell the coordinator.
    fn take_report(&mut self, at: usize, from: TaskId, run: RunId, says: MicrobatchSays, body: &[u8], now: Nanos) {
        let Some(coordinator) = self.micro.coordinators.get_mut(at) else { return };
        let mut reader = FixedReader::new(body);
        match says {
            MicrobatchSays::Ends => {
                if let Some(ends) = decode_ends(&mut reader) {
                    coordinator.ends(from, &ends, run.id == ASKED, now);
                }
            }
            MicrobatchSays::Primed | MicrobatchSays::Prepared => {
                let Ok(epoch) = reader.u64().map(Epoch) else { return };
                match says {
                    MicrobatchSays::Primed => coordinator.primed(from, run, epoch, now),
                    _ => coordinator.prepared(from, run, epoch, now),
                }
            }
            MicrobatchSays::Published => coordinator.published(from, run, now),
            _ => coordinator.failed(run, &String::from_utf8_lossy(body), now),
        }
    }

    /// What the coordinator tells a participant.
    fn take_order(&mut self, slot: usize, at: usize, run: RunId, (says, body): (MicrobatchSays, &[u8]), now: Nanos) {
        match says {
            MicrobatchSays::Prime => self.prime(slot, at, run, now),
            MicrobatchSays::Begin => self.begin_attempt(slot, at, run, body),
            MicrobatchSays::Prepare => self.prepare(slot, at, run),
            MicrobatchSays::Publish => self.publish(slot, at, run, body),
            MicrobatchSays::Abandon => self.abandon(slot, at, run, now),
            MicrobatchSays::Finished => self.slots[slot].state.finish_publish(run.topology, run.id),
            _ => self.take_paused(slot, at, body == [1]),
        }
    }

    /// The attempt of a participant, if it is this one.
    fn attempt(&mut self, slot: usize, at: usize, run: RunId) -> Option<&mut Try> {
        self.slots[slot].parts[at].attempt.as_mut().filter(|attempt| attempt.run == run)
    }

    pub(crate) fn fail_attempt(&mut self, slot: usize, run: RunId, text: &str) {
        let task = self.slots[slot].task;
        self.answer(task, run, run.attempt.epoch, MicrobatchSays::Failed, text.as_bytes());
    }

    fn prime(&mut self, slot: usize, at: usize, run: RunId, now: Nanos) {
        match self.slots[slot].state.begin_run(run) {
            Ok(()) => {
                if let Some(count) = self.config.module.def.microbatches[at].options.flush_path_count {
                    self.slots[slot].state.bound_run(run, count);
                }
                self.slots[slot].parts[at].begin(run, Run::watched(self.config.pulse.step()));
                [run.id - 1, run.id].iter().for_each(|id| self.end_tables(slot, at, *id));
                // Those of earlier attempts.
                self.end_micro_calls(at, run.id, now);
                let (task, epoch) = (self.slots[slot].task, self.pipeline.epoch());
                self.answer(task, run, run.attempt.epoch, MicrobatchSays::Primed, &epoch.0.to_le_bytes());
            }
            // The letter is late: there is a later attempt, or this one has begun.
            Err(RunError::Stale { .. }) => {}
            Err(error) => self.fail_attempt(slot, run, &error.to_string()),
        }
    }

    fn begin_attempt(&mut self, slot: usize, at: usize, run: RunId, body: &[u8]) {
        let thread_count = self.config.module.thread_count;
        let mut reader = FixedReader::new(body);
        let epochs = (0..thread_count).map(|_| reader.u64().map(Epoch)).collect::<Result<Vec<_>, _>>();
        let (Ok(epochs), Ok(mut ranges)) = (epochs, Ranges::decode(&mut reader)) else { return };
        let here = &self.slots[slot];
        for (range, source) in ranges.0.iter_mut().zip(&here.parts[at].sources) {
            *range = here.there(source.depot, *range);
        }
        let Some(attempt) = self.attempt(slot, at, run) else { return };
        if attempt.phase == TryPhase::Primed {
            attempt.phase = TryPhase::Running;
            (attempt.epochs, attempt.ranges) = (epochs, ranges);
        }
    }

    fn take_events(&mut self, at: usize, run: RunId, body: &[u8], now: Nanos) {
        let (_, topology, _) = self.config.module.microbatch(at).expect("invariant: it is of the module");
        let plan = self.config.module.plan(topology).map(|plan| plan.fingerprint() as u32);
        let mut reader = FixedReader::new(body);
        while let Some(Ok(letter)) = Letter::decode_next(&mut reader) {
            match letter {
                Letter::Continue { task, stream, fingerprint, position, root, event, live } => {
                    let Some(slot) = self.slot_of(task) else { continue };
                    if plan != Some(fingerprint) {
                        let text = "the event was sent by another version of the module";
                        self.fail_attempt(slot, run, text);
                    } else if let Some(attempt) = self.attempt(slot, at, run).filter(|attempt| attempt.takes_events()) {
                        let times = 1 + usize::from(planted::has(Bug::HopTwice));
                        for _ in 0..times {
                            attempt.events.push(stream, tantu_flow::Position(position), root, event, live);
                        }
                    }
                }
                Letter::Fold { task, fingerprint, table, root, event, is_partial, rows, .. } => {
                    let Some(slot) = self.slot_of(task) else { continue };
                    if plan != Some(fingerprint) {
                        self.fail_attempt(slot, run, "rows were sent by another version of the module");
                    } else if self.attempt(slot, at, run).is_some_and(|attempt| attempt.takes_events()) {
                        self.take_micro_rows(slot, at, run, (root, table, is_partial, rows), now);
                        self.report_bits(task, run, event);
                    }
                }
                Letter::Done { bits, .. } => {
                    if let Some(coordinator) = self.micro.coordinators.get_mut(at) {
                        coordinator.done(run, bits);
                    }
                }
                _ => tracing::warn!(microbatch = run.id, "dropped a letter that no event of a microbatch sends"),
            }
        }
    }

    /// Rows of the attempt reach a table of a task.
    fn take_micro_rows(
        &mut self,
        slot: usize,
        at: usize,
        run: RunId,
        (root, table, is_partial, rows): (Root, u16, bool, &[u8]),
        now: Nanos,
    ) {
        let module = Arc::clone(&self.config.module);
        let plan = &*module.def.microbatches[at].plan;
        let (task, until) = (self.slots[slot].task, self.tables_until(at, now));
        let Some(tables) = self.tables.of(task, &root, until) else { return };
        if let Err(text) = tables.take_guarded(plan, table, is_partial, rows) {
            self.fail_attempt(slot, run, &text);
        }
    }

    /// Until when the tables of a microbatch stay if nobody ends them.
    pub(crate) fn tables_until(&self, at: usize, now: Nanos) -> Nanos {
        let timeout = self.config.module.def.microbatches[at].options.phase_timeout;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        now.plus_ms(timeout_ms + TABLES_KEPT_MS)
    }

    /// The tables that a task has of a microbatch, or had of earlier attempts at it, go.
    fn end_tables(&mut self, slot: usize, at: usize, id: u64) {
        let (_, _, source) = self.config.module.microbatch(at).expect("invariant: it is of the module");
        let root = Root { task: TaskId(0), source, offset: Offset(id), attempt: u32::MAX };
        self.tables.end(std::iter::once(self.slots[slot].task), &root);
    }

    /// Tells the coordinator that events are done.
    pub(crate) fn report_bits(&mut self, from: TaskId, run: RunId, bits: u64) {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(run.id), attempt: run.attempt.counter };
        let mut body = Vec::new();
        Letter::Done { root, bits }.encode(&mut body);
        self.answer(from, run, run.attempt.epoch, MicrobatchSays::Events, &body);
    }

    fn prepare(&mut self, slot: usize, at: usize, run: RunId) {
        let Some(attempt) = self.attempt(slot, at, run).filter(|attempt| attempt.phase == TryPhase::Running) else {
            return;
        };
        attempt.phase = TryPhase::Preparing;
        self.end_tables(slot, at, run.id);
        let epoch = self.pipeline.epoch();
        if let Err(error) = self.slots[slot].state.prepare_run(run, epoch) {
            self.fail_attempt(slot, run, &error.to_string());
        }
    }

    /// The decision is durable: the writes become visible together with how far the sources are.
    fn publish(&mut self, slot: usize, at: usize, run: RunId, body: &[u8]) {
        let Ok(ranges) = Ranges::decode(&mut FixedReader::new(body)) else { return };
        let state = &mut self.slots[slot].state;
        if let Some(last) = state.published(run.topology).filter(|last| last.run.id >= run.id) {
            // What it appended is still on its way to the depots: that it was published is told then.
            if state.owes(last.run) {
                return;
            }
            let task = self.slots[slot].task;
            return self.answer(task, run, Epoch(0), MicrobatchSays::Published, &[]);
        }
        match state.publish_run(run) {
            Ok(()) => {
                let TaskSlot { state, parts, .. } = &mut self.slots[slot];
                for (source, (_, to)) in parts[at].sources.iter_mut().zip(ranges.0) {
                    if source.is_here && to > source.progress {
                        source.progress = to;
                        let mut key = Vec::new();
                        object_key(source.object, &[], &mut key);
                        state.put_system(key, to.0.to_le_bytes().to_vec());
                    }
                }
                parts[at].end();
            }
            // It is being published, and that was asked again.
            Err(RunError::Phase(_)) => {}
            Err(error) => {
                let task = self.slots[slot].task;
                tracing::error!(%task, %run, %error, "a decided microbatch cannot be published");
            }
        }
    }

    /// The coordinator never decides this attempt, nor an earlier one: what is prepared of them holds the log for nothing.
    fn abandon(&mut self, slot: usize, at: usize, run: RunId, now: Nanos) {
        if let Some(attempt) = self.attempt(slot, at, run) {
            attempt.end();
            self.end_micro_calls(at, run.id, now);
        }
        self.slots[slot].state.abandon_runs(run);
    }

    /// Hears from the tasks' states what became of runs; true if something did.
    pub(crate) fn take_run_events(&mut self, now: Nanos) -> bool {
        let mut heard = false;
        for slot in 0..self.slots.len() {
            for event in self.slots[slot].state.take_run_events() {
                let task = self.slots[slot].task;
                heard = true;
                let place = |run: RunId| {
                    let ids = &self.config.module.microbatches;
                    ids.iter().position(|ids| ids.topology == run.topology)
                };
                match event {
                    RunEvent::Prepared { run, epoch } => {
                        if let Some(attempt) = place(run).and_then(|at| self.attempt(slot, at, run)) {
                            attempt.phase = TryPhase::Prepared;
                        }
                        let body = epoch.0.to_le_bytes();
                        self.answer(task, run, run.attempt.epoch, MicrobatchSays::Prepared, &body);
                    }
                    RunEvent::Published { run, .. } => {
                        // Nobody waits to hear it of a topology that the module had once.
                        if place(run).is_some() {
                            self.answer(task, run, Epoch(0), MicrobatchSays::Published, &[]);
                        }
                        self.slots[slot].want_records();
                    }
                    RunEvent::Noted(note) => {
                        if let Some((at, record)) = self.micro.notes.remove(&note) {
                            self.micro.coordinators[at].written(record, now);
                        }
                    }
                }
            }
        }
        heard
    }

    /// A topology is paused, or goes on: then it wants to know what there is.
    fn take_paused(&mut self, slot: usize, at: usize, paused: bool) {
        self.slots[slot].parts[at].paused = paused;
        if !paused {
            self.slots[slot].parts[at].told.clear();
            if let Some((task, run, body)) = self.news(slot, at) {
                let run = RunId { id: ASKED, ..run };
                self.answer(task, run, Epoch(0), MicrobatchSays::Ends, &body);
            }
        }
    }

    /// Tells the coordinators what the partitions here have, if that is more than they know; true if it did.
    fn tell_ends(&mut self, now: Nanos) -> bool {
        if now < self.micro.tell_at {
            return false;
        }
        let mut told = false;
        let module = Arc::clone(&self.config.module);
        for slot in 0..self.slots.len() {
            self.slots[slot].skip_in_parts(&module.def);
            for at in 0..self.slots[slot].parts.len() {
                let Some((task, run, body)) = self.news(slot, at) else { continue };
                self.answer(task, run, Epoch(0), MicrobatchSays::Ends, &body);
                told = true;
            }
        }
        if told {
            self.micro.tell_at = now.plus_ms(MICROBATCH_TELL_MS);
        }
        told
    }

    fn news(&mut self, slot: usize, at: usize) -> Option<(TaskId, RunId, Vec<u8>)> {
        let TaskSlot { task, state, parts, .. } = &mut self.slots[slot];
        let depots = state.depots();
        let part = &mut parts[at];
        if !part.has_news(|depot| depots[depot].committed_end()) {
            return None;
        }
        part.told = part.ends(|depot| depots[depot].committed_end()).collect();
        let mut body = Vec::new();
        for (from, end) in &part.told {
            body.extend_from_slice(&from.0.to_le_bytes());
            body.extend_from_slice(&end.0.to_le_bytes());
        }
        Some((*task, RunId { topology: part.topology, ..RunId::default() }, body))
    }

    /// When microbatches want a turn, though nothing arrives.
    pub(crate) fn microbatches_wake_at(&self) -> Option<Nanos> {
        let has_news = |slot: &TaskSlot| {
            let depots = slot.state.depots();
            slot.parts.iter().any(|part: &Part| part.has_news(|depot| depots[depot].committed_end()))
        };
        let tell_at = self.slots.iter().any(has_news).then_some(self.micro.tell_at);
        self.micro.coordinators.iter().filter_map(Coordinator::wake_at).chain(tell_at).min()
    }
}

fn decode_ends(reader: &mut FixedReader<'_>) -> Option<Vec<(Offset, Offset)>> {
    let mut ends = Vec::new();
    while !reader.is_empty() {
        ends.push((Offset(reader.u64().ok()?), Offset(reader.u64().ok()?)));
    }
    Some(ends)
}
