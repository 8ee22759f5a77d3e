//! Running stream topologies: starting records, streaming batches, reports to roots.

use crate::batch::Batch;
use crate::hops::{Hop, Hops};
use crate::limit::{EVENT_QUEUE_SIZE_MAX, LINGER_STEP_COUNT};
use crate::slot::{Hold, TaskSlot};
use crate::source::Source;
use crate::thread::{StopReason, TaskThread};
use crate::together;
use crate::turn::Turn;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, Offset};
use tantu_base::planted::{self, Bug};
use tantu_flow::{Position, RetryMode};
use tantu_net::event::{Events, number_at};
use tantu_net::letter::{Letter, Root, StreamLetter};
use tantu_state::depot::Lookup;

impl TaskThread {
    /// Makes events of committed records, and of failed ones whose wait is over.
    pub(crate) fn start_records(&mut self, now: Nanos) -> bool {
        let mut started = false;
        if self.config.at_rest || self.jobs.is_full() || self.pagings.is_full() || self.appending.is_full() {
            return false;
        }
        for at in 0..self.slots.len() {
            for source in 0..self.slots[at].sources.len() {
                self.pass_by_trimmed(at, source, now);
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

    fn next_record(&mut self, at: usize, index: usize, now: Nanos) -> Option<Offset> {
        let slot = &mut self.slots[at];
        together::meet(&mut slot.sources, index);
        let end = slot.state.depots()[slot.sources[index].setup.depot].committed_end();
        if slot.sources[index].has_stopped(end) {
            slot.warn_stopped(&self.config.module.def, index);
        }
        let source = &slot.sources[index];
        let fresh = || {
            let starts = source.lead.is_none() && source.has_room() && source.next() < end;
            (starts && !together::waits(&slot.sources, index)).then(|| source.next())
        };
        source.due(now).or_else(fresh)
    }

    /// Records that need no processing are done at once.
    fn pass_by_records(&mut self, at: usize, index: usize, now: Nanos) {
        let slot = &mut self.slots[at];
        let depot = slot.sources[index].setup.depot;
        if slot.sources[index].lead.is_some() {
            return;
        }
        let end = slot.state.depots()[depot].committed_end();
        let passed = slot.sources[index].pass_by(end);
        if !passed.is_empty() {
            let text = "a topology that does not retry had no room for the record and passed it by";
            self.refuse_unprocessed(at, depot, passed, text, now);
        }
    }

    fn start_record(&mut self, at: usize, index: usize, offset: Offset, now: Nanos) -> bool {
        let slot = &mut self.slots[at];
        let TaskSlot { task, state, events, sources, loading, .. } = slot;
        let source = &sources[index];
        let depot = source.setup.depot;
        let is_wrong = planted::has(Bug::RetryFromWrongOffset) && offset != source.next();
        match state.depots()[depot].lookup(Offset(offset.0 + u64::from(is_wrong))) {
            Lookup::Record(record) if offset < source.next() && source.is_leaving(offset) => {
                let record = record.to_vec();
                slot.keep_dead(&self.config.module.def, index, offset, &record)
            }
            Lookup::Record(record) => {
                let others: Vec<usize> = together::followers(sources, index, offset).collect();
                let id = self.random.next();
                let ids: Vec<u64> = others.iter().map(|_| self.random.next()).collect();
                let all = ids.iter().fold(id, |all, id| all ^ id);
                let source = &mut sources[index];
                let root = if offset == source.next() {
                    source.start(*task, index as u16, all, now)
                } else {
                    source.restart(*task, index as u16, offset, all, now)
                };
                events.push(source.setup.stream, source.setup.at, root, id, record);
                for (other, id) in others.into_iter().zip(ids) {
                    events.tie();
                    let root = Root { source: other as u16, ..root };
                    events.push(sources[other].setup.stream, sources[other].setup.at, root, id, record);
                }
                true
            }
            Lookup::OnDisk => {
                // It reads on in order: the chunks that follow are asked for in one go.
                state.want(depot, offset, Offset(u64::MAX));
                *loading = true;
                false
            }
            // It goes on behind that as soon as what is under way has ended: see `pass_by_trimmed`.
            Lookup::Trimmed | Lookup::NotYet => false,
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
                let is_one_try =
                    |source: &Source| source.setup.stream == stream && source.setup.retry == RetryMode::None;
                let has_one_try = self.slots[at].sources.iter().any(is_one_try);
                Batch { has_one_try, ..Batch::begin(stream, std::mem::take(&mut self.spare_batch)) }
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
                if batch.is_tied {
                    // They would begin records that are tried again as a whole.
                    self.slots[at].events.drop_tied();
                }
                self.slots[at].note_undone(&batch.of_one_try);
                self.release(&reports, doors.clock.now());
                self.slots[at].sources.iter_mut().for_each(Source::forget_undone);
            }
        }
        self.slots[at].events.reclaim();
        Ok(true)
    }

    /// A batch succeeded. Effects that depend on nothing uncommitted leave at once; the others with the entry. Hops are told
    /// apart by their events: those that begin records wait for no other event that happens to run beside them.
    fn end_batch(&mut self, at: usize, batch: &mut Batch, doors: &mut Doors<'_>) {
        let slot = &mut self.slots[at];
        if !batch.of_one_try.is_empty() {
            slot.pass_begun(batch);
        }
        // A hop must not overtake an earlier one from this task that still waits for its entry.
        let held_hops = slot.hops_pending > 0 || !slot.gathering.hops.is_empty();
        if batch.touched && !held_hops && batch.free_hops > 0 {
            let held = batch.hops.split_off(batch.free_hops);
            self.release_hops(&batch.hops);
            batch.hops.clear();
            batch.hops.append(&mut { held });
        }
        let slot = &mut self.slots[at];
        if batch.touched {
            self.appending.stage(slot, &mut batch.appends, Peer(self.config.thread.0));
            slot.gathering.hops.append(&mut batch.hops);
            slot.gathering.reports.extend_from_slice(&batch.roots);
            slot.gathering.calls.append(&mut batch.calls);
            slot.gathering.jobs.append(&mut batch.jobs);
            slot.gathering.pagings.append(&mut batch.pagings);
            return;
        }
        self.jobs.start_of_records(batch.jobs.drain(..), doors);
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
        for &(root, bits) in reports {
            let thread = self.config.module.thread_of(root.task);
            if thread == self.config.thread {
                self.report_done(root, bits, now);
            } else {
                let letter = Letter::Done { root, bits };
                self.outbox.push(Peer(thread.0), Category::LowLatency, &letter);
            }
        }
    }

    /// Sends continuations to the threads of their tasks; those of this thread arrive at once.
    pub(crate) fn release_hops(&mut self, hops: &Hops) {
        for (run, live) in hops.runs() {
            let Hop { to, thread, .. } = run[0];
            if thread == self.config.thread.0 {
                let at = self.slot_of(to).expect("invariant: the task is of this thread");
                self.slots[at].events.push_run(run, live);
            } else {
                self.outbox.push_events(Peer(thread), Category::LowLatency, (run, live));
            }
        }
    }

    /// Takes events that another thread sent.
    pub(crate) fn take_packed(&mut self, peer: Peer, rows: &[u8], now: Nanos) {
        self.lingers = LINGER_STEP_COUNT;
        // Mostly all of them are of one topology, and to one task.
        let (mut known, mut last) = (None, None);
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
            let at = match last {
                Some((task, at)) if task == event.task => at,
                _ => last.insert((event.task, self.slot_of(event.task))).1,
            };
            match at.filter(|_| known.is_some()) {
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
