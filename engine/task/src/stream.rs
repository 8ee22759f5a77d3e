//! Running stream topologies: starting records, streaming batches, reports to roots.

use crate::batch::Batch;
use crate::event::Event;
use crate::hops::Hops;
use crate::host::RunHost;
use crate::limit::{EVENT_QUEUE_SIZE_MAX, SEAL_SIZE, TURN_NS_TARGET};
use crate::overrun::Watched;
use crate::slot::{Hold, TaskSlot};
use crate::thread::{StopReason, TaskThread};
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, Offset};
use tantu_base::limit::FRAME_SIZE_MAX;
use tantu_flow::{Outcome, Plan, Position};
use tantu_net::event::{Events, number_at};
use tantu_net::letter::{Letter, Root, StreamLetter};
use tantu_state::depot::Lookup;
use tantu_state::view::OwnView;

/// A batch that staged more than this fails: its section would not fit an entry.
const BATCH_STAGED_SIZE_MAX: usize = FRAME_SIZE_MAX - SEAL_SIZE;

/// How a turn of a batch ended.
enum Turn {
    /// The batch goes on later.
    Held,
    /// Every event ran to its end.
    Succeeded,
    /// An event failed, and with it the batch.
    Failed(String),
}

/// Begins the next event of a batch; answers how the turn ended if there is none for it.
fn begin_event(
    slot: &mut TaskSlot,
    batch: &mut Batch,
    (plan, event_max): (&Plan, usize),
    start: Nanos,
    doors: &Doors<'_>,
) -> Option<Turn> {
    let staged = if batch.touched { slot.state.staged_size() + batch.appends.size() } else { 0 };
    // What failed before runs alone, so that no other record fails with it again.
    let is_alone = |event: &Event| event.root.attempt > 0;
    let parts = batch.count > 0 && (batch.is_alone || slot.events.peek().is_some_and(is_alone));
    let enough = parts || batch.count >= event_max || staged > SEAL_SIZE;
    // The clock costs more than a small event: look at it now and then.
    let late = batch.count % 32 == 31 && doors.clock.now().since(start) > TURN_NS_TARGET;
    let mut event = if enough || late { None } else { slot.events.pop(batch.stream) };
    let mut queue = &mut slot.events;
    if event.is_none() && !batch.later.is_empty() {
        if doors.clock.now().since(start) > TURN_NS_TARGET {
            slot.hold = Hold::Yielded;
            return Some(Turn::Held);
        }
        queue = &mut batch.later;
        event = queue.pop(batch.stream);
    }
    let Some(event) = event else { return Some(Turn::Succeeded) };
    batch.is_alone = is_alone(&event);
    batch.current = Some(event);
    batch.bits = event.id;
    batch.count += 1;
    let begun = slot.run.begin(plan, event.at, queue.live(&event));
    batch.later.reclaim();
    begun.err().map(|error| {
        slot.run.reset();
        Turn::Failed(error.to_string())
    })
}

impl TaskThread {
    /// Makes events of committed records, and of failed ones whose wait is over.
    pub(crate) fn start_records(&mut self, now: Nanos) -> bool {
        let mut started = false;
        if self.jobs.is_full() || self.pagings.is_full() || self.appending.is_full() {
            return false;
        }
        for at in 0..self.slots.len() {
            for source in 0..self.slots[at].sources.len() {
                self.pass_by_records(at, source, now);
                while self.slots[at].events.size() < EVENT_QUEUE_SIZE_MAX {
                    let Some(offset) = self.next_record(at, source, now) else { break };
                    if !self.start_record(at, source, offset, now) {
                        break;
                    }
                    started = true;
                }
            }
        }
        started
    }

    fn next_record(&self, at: usize, source: usize, now: Nanos) -> Option<Offset> {
        let slot = &self.slots[at];
        let source = &slot.sources[source];
        let fresh = || {
            let end = slot.state.depots()[source.setup.depot].committed_end();
            (source.has_room() && source.next() < end).then(|| source.next())
        };
        source.due(now).or_else(fresh)
    }

    /// Records that need no processing are done at once.
    fn pass_by_records(&mut self, at: usize, index: usize, now: Nanos) {
        let slot = &mut self.slots[at];
        let depot = slot.sources[index].setup.depot;
        let end = slot.state.depots()[depot].committed_end();
        let passed = slot.sources[index].pass_by(end);
        if !passed.is_empty() {
            self.refuse_passed_by(at, depot, passed, now);
        }
    }

    fn start_record(&mut self, at: usize, index: usize, offset: Offset, now: Nanos) -> bool {
        let slot = &mut self.slots[at];
        let TaskSlot { task, state, events, sources, loading, .. } = slot;
        let source = &mut sources[index];
        let depot = source.setup.depot;
        match state.depots()[depot].lookup(offset) {
            Lookup::Record(record) if offset < source.next() && source.is_leaving(offset) => {
                let record = record.to_vec();
                slot.keep_dead(&self.config.module.def, index, offset, &record)
            }
            Lookup::Record(record) => {
                let id = self.random.next();
                let root = if offset == source.next() {
                    source.start(*task, index as u16, id, now)
                } else {
                    source.restart(*task, index as u16, offset, id, now)
                };
                events.push(source.setup.stream, source.setup.at, root, id, record);
                true
            }
            Lookup::OnDisk => {
                // It reads on in order: the chunks that follow are asked for in one go.
                state.want(depot, offset, Offset(u64::MAX));
                *loading = true;
                false
            }
            Lookup::Trimmed => unreachable!("only what every source has processed is trimmed"),
            Lookup::NotYet => false,
        }
    }

    /// Runs one streaming batch of the next task that has events; false if none has. With `only_held` no new batch begins.
    pub(crate) fn run_batch(&mut self, only_held: bool, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let count = self.slots.len();
        let runnable = |slot: &TaskSlot| match slot.hold {
            Hold::Blocks => false,
            Hold::Yielded => true,
            Hold::Free => !only_held && !slot.events.is_empty(),
        };
        let Some(at) = (0..count).map(|i| (self.next_slot + i) % count).find(|at| runnable(&self.slots[*at])) else {
            return Ok(false);
        };
        self.next_slot = (at + 1) % count;
        let mut batch = match self.slots[at].batch.take() {
            Some(batch) => batch,
            None => {
                let stream = self.slots[at].events.next_stream().expect("invariant: it has events");
                self.slots[at].state.begin_batch();
                Batch::begin(stream, std::mem::take(&mut self.spare_batch))
            }
        };
        self.slots[at].hold = Hold::Free;
        match self.run_events(at, &mut batch, doors) {
            Turn::Held => self.slots[at].batch = Some(batch),
            Turn::Succeeded => {
                self.end_batch(at, &mut batch, doors);
                self.spare_batch = batch;
            }
            Turn::Failed(text) => {
                tracing::debug!(task = self.slots[at].task.0, text, "a streaming batch failed");
                self.slots[at].state.rollback_batch();
                batch.drop_pagings(&mut self.slots[at].state);
                let mut reports = Vec::new();
                batch.report_failed(&text, &mut reports);
                self.release(&reports, doors.clock.now());
            }
        }
        self.slots[at].events.reclaim();
        Ok(true)
    }

    fn run_events(&mut self, at: usize, batch: &mut Batch, doors: &mut Doors<'_>) -> Turn {
        let module = Arc::clone(&self.config.module);
        let plan = &*module.def.streams[usize::from(batch.stream)].plan;
        let event_max = self.streams[usize::from(batch.stream)].batch_event_max;
        let start = doors.clock.now();
        let overtime_at = start.plus_ms(self.config.event_ms_max);
        let (pulse, overruns) = (&*self.config.pulse, &self.overruns);
        let watched = Watched { topology: batch.stream, plan, clock: doors.clock, pulse, overruns, start };
        let slot = &mut self.slots[at];
        loop {
            if batch.current.is_none()
                && let Some(turn) = begin_event(slot, batch, (plan, event_max), start, doors)
            {
                return turn;
            }
            let mut need = None;
            let view =
                OwnView { state: &mut slot.state, cache: &mut self.cache, need: &mut need, objects: &module.pstates };
            let mut host = RunHost {
                view,
                batch: &mut *batch,
                random: &mut self.random,
                numbers: &mut self.numbers,
                shuffle: &mut slot.shuffle,
                clock: doors.clock,
                overtime_at,
                task: slot.task,
                module: &module.def,
                task_count: module.task_count,
                fingerprint: plan.fingerprint() as u32,
            };
            match watched.resume(&mut slot.run, &mut host) {
                Ok(Outcome::Done)
                    if batch.touched && slot.state.staged_size() + batch.appends.size() > BATCH_STAGED_SIZE_MAX =>
                {
                    slot.run.reset();
                    return Turn::Failed(format!("the event writes more than {BATCH_STAGED_SIZE_MAX} bytes"));
                }
                Ok(Outcome::Done) => batch.end_event(),
                Ok(Outcome::Need) => {
                    let need = need.expect("invariant: a view that stops for blocks names them");
                    let reading = slot.state.fetch(&need, doors.disk);
                    slot.hold = if reading { Hold::Blocks } else { Hold::Yielded };
                    return Turn::Held;
                }
                Ok(Outcome::Yield) => {
                    if doors.clock.now() > overtime_at {
                        slot.hold = Hold::Yielded;
                        return Turn::Held;
                    }
                }
                Ok(Outcome::Failed(error)) => {
                    slot.run.reset();
                    return Turn::Failed(error.to_string());
                }
                Err(panic) => {
                    slot.run.reset();
                    return Turn::Failed(panic);
                }
            }
        }
    }

    /// A batch succeeded. Effects that depend on nothing uncommitted leave at once; the others with the entry.
    fn end_batch(&mut self, at: usize, batch: &mut Batch, doors: &mut Doors<'_>) {
        let slot = &mut self.slots[at];
        // A hop must not overtake an earlier one from this task that still waits for its entry.
        let held_hops = slot.hops_pending > 0 || !slot.gathering.hops.is_empty();
        if batch.touched {
            self.appending.stage(slot, &mut batch.appends, Peer(self.config.thread.0));
            slot.gathering.hops.append(&mut batch.hops);
            slot.gathering.reports.extend_from_slice(&batch.roots);
            slot.gathering.calls.append(&mut batch.calls);
            slot.gathering.jobs.append(&mut batch.jobs);
            slot.gathering.pagings.append(&mut batch.pagings);
            return;
        }
        self.jobs.start(batch.jobs.drain(..), doors);
        let now = doors.clock.now();
        self.release(&batch.calls, now);
        let slot = &mut self.slots[at];
        if held_hops {
            slot.gathering.hops.append(&mut batch.hops);
        } else {
            self.release_hops(&batch.hops);
        }
        self.release_reports(&batch.roots, now);
    }

    /// Tells roots that events of theirs are done.
    pub(crate) fn release_reports(&mut self, reports: &[(Root, u64)], now: Nanos) {
        for (root, bits) in reports {
            let thread = self.config.module.thread_of(root.task);
            if thread == self.config.thread {
                self.report_done(*root, *bits, now);
            } else {
                let letter = Letter::Done { root: *root, bits: *bits };
                self.outbox.push(Peer(thread.0), Category::LowLatency, &letter);
            }
        }
    }

    /// Sends continuations to the threads of their tasks; those of this thread arrive at once.
    pub(crate) fn release_hops(&mut self, hops: &Hops) {
        for (hop, live) in hops.iter() {
            if hop.thread == self.config.thread.0 {
                let at = self.slot_of(hop.to).expect("invariant: the task is of this thread");
                self.slots[at].events.push(hop.stream, hop.at, hop.root, number_at(hop.place), live);
            } else {
                self.outbox.push_event(Peer(hop.thread), Category::LowLatency, &hop.event(live));
            }
        }
    }

    /// Takes events that another thread sent.
    pub(crate) fn take_packed(&mut self, peer: Peer, rows: &[u8], now: Nanos) {
        // Mostly all of them are of one topology.
        let mut known = None;
        for event in Events::new(rows) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(peer = peer.0, %error, "dropped the rest of a letter of events");
                    return;
                }
            };
            let plan = (event.stream, event.fingerprint);
            if known != Some(plan) {
                let own = self.config.module.plan(event.stream).map(|plan| plan.fingerprint() as u32);
                known = (own == Some(event.fingerprint)).then_some(plan);
            }
            match self.slot_of(event.task).filter(|_| known.is_some()) {
                Some(at) => {
                    let (position, number) = (Position(event.position), number_at(event.place));
                    self.slots[at].events.push(event.stream, position, event.root, number, event.live);
                }
                None => self.report_failed(event.root, "the event was sent by another version of the module", now),
            }
        }
    }

    /// Sends encoded letters to the threads of their tasks; those of this thread arrive at once.
    pub(crate) fn release(&mut self, letters: &[u8], now: Nanos) {
        let mut reader = FixedReader::new(letters);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let letter = letter.expect("invariant: the thread encoded it itself");
            let task = match letter {
                Letter::Continue { task, .. } | Letter::Fold { task, .. } | Letter::Call { task, .. } => task,
                Letter::Done { root, .. } | Letter::Failed { root, .. } => root.task,
                Letter::Stream(StreamLetter::Returned { root, .. } | StreamLetter::Spoiled { root, .. }) => root.task,
                _ => unreachable!("only continuations, rows and reports are effects"),
            };
            let thread = self.config.module.thread_of(task);
            if thread == self.config.thread {
                self.take_letter(Peer(thread.0), letter, now);
            } else {
                self.outbox.push(Peer(thread.0), Category::LowLatency, &letter);
            }
        }
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
