//! The commit pipeline: seal → flush → commit → effects leave; and the background work of storage.

use crate::limit::{LOADED_SIZE_MAX, LOG_RETAINED_SIZE_MAX, PENDING_COUNT_MAX, SEAL_SIZE, UNCOMMITTED_SIZE_MAX};
use crate::slot::{AppendWait, Effects, Hold, TaskSlot};
use crate::thread::{StopReason, TaskThread};
use std::collections::VecDeque;
use tantu_base::door::{Disk, DiskDone, Doors};
use tantu_base::id::Epoch;
use tantu_base::limit::FRAME_SIZE_MAX;
use tantu_net::letter::AckLevel;
use tantu_replog::Lsn;
use tantu_replog::seglog::SegLog;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::section::{EntryWriter, own_sections};
use tantu_state::side::SPILL_OWNER;

/// Token owner of the log; those of the tasks follow.
pub(crate) const LOG_OWNER: u32 = 0;

/// Which of a thread's tasks has a component with this token owner.
fn slot_of_owner(owner: u32) -> usize {
    ((owner & !SPILL_OWNER) as usize - 1) / 2
}

/// An entry that is sealed and not durable.
#[derive(Debug)]
struct Pending {
    lsn: Lsn,
    body: Vec<u8>,
    /// By slot.
    effects: Vec<(usize, Effects)>,
}

/// The log and what waits for it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) log: SegLog,
    epoch: Epoch,
    pending: VecDeque<Pending>,
    /// Bodies to be used again.
    spare: Vec<Vec<u8>>,
    released: Lsn,
}

impl Pipeline {
    pub(crate) fn new(log: SegLog, epoch: Epoch) -> Self {
        Self { log, epoch, pending: VecDeque::new(), spare: Vec::new(), released: Lsn(0) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Entries that are not durable.
    fn waiting_count(&self) -> usize {
        let durable = self.log.durable();
        self.pending.iter().rev().take_while(|pending| pending.lsn >= durable).count()
    }

    pub(crate) fn uncommitted_size(&self) -> usize {
        self.pending.iter().map(|pending| pending.body.len()).sum()
    }

    /// Whether the log holds far more than it should: the background has to catch up first.
    pub(crate) fn is_strained(&self) -> bool {
        self.log.retained_size() > 4 * LOG_RETAINED_SIZE_MAX
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.log.is_marked()
    }

    /// The appends that wait for entries to be durable.
    pub(crate) fn each_appends(&mut self, mut each: impl FnMut(&mut Vec<AppendWait>)) {
        self.pending.iter_mut().flat_map(|pending| &mut pending.effects).for_each(|(_, it)| each(&mut it.appends));
    }

    /// Notes the durable end in the log, so that damage is told from a torn tail.
    pub(crate) fn mark(&mut self, disk: &mut dyn Disk) {
        self.log.idle(disk);
    }
}

impl TaskThread {
    /// Routes a completion to the component that asked.
    pub(crate) fn complete(&mut self, done: DiskDone, doors: &mut Doors<'_>) -> Result<(), StopReason> {
        // Whoever asked goes on waiting.
        let Some(done) = self.space.hold(done) else { return Ok(()) };
        if done.token.owner == LOG_OWNER {
            return Ok(self.pipeline.log.complete(done, doors.disk)?);
        }
        let at = slot_of_owner(done.token.owner);
        let arrived = self.slots[at].state.complete(done, &mut self.cache, doors.disk)?;
        // A parked run asks again: if its blocks are not all there it parks again.
        if self.slots[at].hold == Hold::Blocks {
            self.slots[at].hold = Hold::Yielded;
        }
        self.wake_attempts(at);
        if let Some(blocks) = arrived {
            self.selects.wake(at, &blocks);
            self.queries.wake(at, &blocks);
            self.pagings.wake(self.slots[at].task, &blocks);
        }
        self.depot_reads.wake();
        Ok(())
    }

    /// Whether somebody waits until records that became durable are processed by a stream.
    pub(crate) fn is_awaited(&self) -> bool {
        let durable = self.pipeline.log.durable();
        let committed = self.pipeline.pending.iter().take_while(|pending| pending.lsn < durable);
        committed.flat_map(|pending| &pending.effects).any(|(at, effects)| {
            let waits = |append: &AppendWait| {
                append.ack == AckLevel::Ack && self.slots[*at].sources_on(append.depot).next().is_some()
            };
            effects.appends.iter().any(waits)
        })
    }

    /// Seals what is staged into an entry and starts its flush, unless enough entries are on their way.
    pub(crate) fn seal(&mut self, doors: &mut Doors<'_>) -> bool {
        let mut sealed = false;
        let staged = self.staged_size();
        let full = staged >= SEAL_SIZE && self.pipeline.uncommitted_size() < UNCOMMITTED_SIZE_MAX;
        // An entry that would not be written now can as well take in what is staged until it is.
        let is_due = !self.pipeline.log.would_wait(staged) && self.pipeline.waiting_count() < PENDING_COUNT_MAX;
        if full || is_due {
            sealed = self.seal_now(doors);
        }
        self.pipeline.log.pump(doors.disk);
        // The rest of the step may take longer than the write.
        doors.disk.start();
        self.config.pulse.wrote(self.pipeline.log.written());
        sealed
    }

    fn seal_now(&mut self, doors: &mut Doors<'_>) -> bool {
        let wall_ms = doors.clock.wall_ms();
        let mut entry = EntryWriter { body: self.pipeline.spare.pop().unwrap_or_default() };
        entry.body.clear();
        let mut effects = Vec::new();
        let mut sealed = false;
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if !slot.can_seal() {
                continue;
            }
            slot.state.detach_large(wall_ms, doors.entropy, doors.disk);
            if slot.state.is_dirty() {
                slot.stage_progress();
                // Twice the staged bytes bound their encoding.
                let staged = slot.state.staged_size() + slot.state.system_size();
                if !entry.body.is_empty() && entry.body.len() + 2 * staged > FRAME_SIZE_MAX {
                    let full = std::mem::replace(
                        &mut entry,
                        EntryWriter { body: self.pipeline.spare.pop().unwrap_or_default() },
                    );
                    entry.body.clear();
                    Self::append_entry(&mut self.pipeline, full.body, std::mem::take(&mut effects));
                }
                slot.state.seal(wall_ms, &mut entry);
            }
            if !slot.gathering.is_empty() {
                let spare = slot.spare_effects.pop().unwrap_or_default();
                let mut gathered = std::mem::replace(&mut slot.gathering, spare);
                slot.keep_unsealed(&mut gathered);
                if gathered.is_empty() {
                    slot.spare_effects.push(gathered);
                    continue;
                }
                slot.hops_pending += usize::from(!gathered.hops.is_empty());
                effects.push((at, gathered));
            }
        }
        if !entry.body.is_empty() {
            Self::append_entry(&mut self.pipeline, entry.body, effects);
            sealed = true;
        } else if !effects.is_empty() {
            sealed = true;
            match self.pipeline.pending.back_mut() {
                // They may rest on writes that are not durable yet: they leave with those.
                Some(last) => last.effects.append(&mut effects),
                None => self.release_effects(effects, doors),
            }
        }
        sealed
    }

    fn append_entry(pipeline: &mut Pipeline, body: Vec<u8>, effects: Vec<(usize, Effects)>) {
        let lsn = pipeline.log.append(pipeline.epoch, &[&body]);
        pipeline.pending.push_back(Pending { lsn, body, effects });
    }

    /// Commits the entries that became durable: applies them, then lets their effects leave.
    pub(crate) fn commit_durable(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let mut worked = false;
        let durable = self.pipeline.log.durable();
        while self.pipeline.pending.front().is_some_and(|pending| pending.lsn < durable) {
            let pending = self.pipeline.pending.pop_front().expect("invariant: just seen");
            for section in own_sections(&pending.body) {
                let section = section.expect("invariant: the thread sealed it itself");
                let at = self.slot_of(section.task).expect("invariant: only own tasks are sealed");
                self.slots[at].state.commit(&section, pending.lsn)?;
            }
            self.pipeline.spare.push(pending.body);
            self.release_effects(pending.effects, doors);
            worked = true;
        }
        if worked {
            self.take_run_events(doors.clock.now());
        }
        Ok(worked)
    }

    fn release_effects(&mut self, effects: Vec<(usize, Effects)>, doors: &mut Doors<'_>) {
        let now = doors.clock.now();
        for (at, mut effects) in effects {
            if !effects.hops.is_empty() {
                self.slots[at].hops_pending = self.slots[at].hops_pending.saturating_sub(1);
            }
            self.release_hops(&effects.hops);
            self.release(&effects.calls, now);
            self.jobs.start_of_records(effects.jobs.drain(..), doors);
            self.pagings.start(effects.pagings.drain(..));
            self.release_reports(&effects.reports, now);
            for append in &effects.appends {
                self.answer_append(at, append);
            }
            effects.clear();
            if self.slots[at].spare_effects.len() <= PENDING_COUNT_MAX {
                self.slots[at].spare_effects.push(effects);
            }
        }
    }

    /// A record that somebody waits for is durable.
    fn answer_append(&mut self, at: usize, append: &AppendWait) {
        let AppendWait { offset, ack, peer, request, .. } = *append;
        match ack {
            AckLevel::None => {}
            AckLevel::AppendAck => self.answer_appended(peer, request, offset),
            AckLevel::Ack => self.await_processing(at, append),
        }
    }

    /// Slices of flushing and compacting, copies of records, loads of old ones, and giving up log that is not needed.
    pub(crate) fn background(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let (mut more, mut idle, mut copies) = (false, false, false);
        let retained = self.pipeline.log.retained_size();
        // What keeps the oldest segment of a long log is copied even if it fills no chunk.
        let old = if retained > LOG_RETAINED_SIZE_MAX / 2 { self.pipeline.log.oldest_end() } else { None };
        let pressed = self.memory_size > self.config.memory.pressure();
        let old = if pressed { Lsn(u64::MAX) } else { old.unwrap_or_default() };
        let loaded: usize = self.slots.iter().map(|slot| slot.state.loaded_size()).sum();
        let ahead_size = if loaded < LOADED_SIZE_MAX { READ_AHEAD_SIZE_MAX } else { 0 };
        for slot in &mut self.slots {
            more |= slot.state.background(doors.disk)?;
            more |= slot.state.side_slice(&self.cache, doors.disk)?;
            // One chunk a step: tasks fill theirs at the same time if records are spread evenly.
            if !copies {
                copies = slot.state.copy_records(old, doors.entropy, doors.disk);
            }
            if !pressed {
                slot.state.save_producers(old);
            }
            if slot.loading {
                slot.state.load_records(ahead_size, &mut self.cache, doors.disk)?;
                slot.loading = slot.state.is_loading();
                // What a reader waits for may have been trimmed instead: it looks once more.
                idle |= !slot.loading;
            }
            if slot.state.is_trimming() {
                more |= slot.state.step_trims(&mut self.cache, doors.disk)?;
            }
        }
        if idle {
            self.depot_reads.wake();
        }
        // That all which a run appended can be read is told when its last piece is here: nothing has to become durable for it.
        more |= self.take_run_events(doors.clock.now());
        self.shorten_log(retained > LOG_RETAINED_SIZE_MAX, doors);
        self.bound_memtables(pressed);
        self.bound_side_runs();
        Ok(more || copies)
    }

    /// One account for what microbatches write on the tasks of the core: the largest goes to the disk.
    fn bound_side_runs(&mut self) {
        let size = |slot: &TaskSlot| slot.state.side_size();
        if self.has_microbatches()
            && self.slots.iter().map(size).sum::<usize>() > self.config.memory.side_runs()
            && let Some(largest) = self.slots.iter_mut().max_by_key(|slot| size(slot))
        {
            largest.state.spill_largest();
        }
    }

    /// One account for the memtables of the core: the largest is flushed, so that many small tasks cost little.
    fn bound_memtables(&mut self, pressed: bool) {
        let open = |slot: &TaskSlot| slot.state.memtable_sizes().1;
        let size = self.slots.iter().map(open).sum::<usize>();
        let most = self.config.memory.open_memtables();
        if size > if pressed { most / 4 } else { most }
            && let Some(largest) = self.slots.iter_mut().max_by_key(|slot| open(slot))
        {
            largest.state.flush_memtable();
        }
    }

    /// Whether memtables grew faster than they could be flushed.
    pub(crate) fn has_full_memtables(&self) -> bool {
        self.slots.iter().map(|slot| slot.state.memtable_sizes().0).sum::<usize>() > self.config.memory.memtables()
    }

    fn shorten_log(&mut self, flush: bool, doors: &mut Doors<'_>) {
        let end = self.pipeline.log.durable();
        let lows: Vec<Lsn> = self.slots.iter_mut().map(|slot| slot.state.low_water(end)).collect();
        let low = lows.iter().copied().min().unwrap_or(end);
        if low > self.pipeline.released || self.pipeline.log.can_give_up() {
            self.pipeline.released = self.pipeline.released.max(low);
            for slot in &mut self.slots {
                slot.want_records();
            }
            self.pipeline.log.release(low, doors.disk);
        }
        if flush && let Some(at) = lows.iter().position(|other| *other == low) {
            self.slots[at].state.flush_memtable();
        }
    }

    /// Stages progress that no entry carried yet.
    pub(crate) fn stage_progress(&mut self) {
        self.slots.iter_mut().filter(|slot| slot.can_seal()).for_each(TaskSlot::stage_progress);
    }

    /// Brings everything into tables and segments, gives up the log, notes what was reached, closes. Blocking.
    ///
    /// # Errors
    /// [`StopReason`]; what was acknowledged is durable all the same.
    pub fn close(mut self, doors: &mut Doors<'_>) -> Result<(), StopReason> {
        self.drop_batches();
        self.stage_progress();
        let mut done = Vec::new();
        loop {
            self.seal_now(doors);
            self.pipeline.log.pump(doors.disk);
            doors.disk.reap(&mut done);
            for done in done.drain(..) {
                self.complete(done, doors)?;
            }
            self.commit_durable(doors)?;
            if let Some(error) = self.space.refusal() {
                return Err(StopReason::StorageFull { error: error.clone() });
            }
            let mut more = false;
            for slot in &mut self.slots {
                slot.state.copy_records(Lsn(u64::MAX), doors.entropy, doors.disk);
                if !slot.state.has_pending() && !slot.state.has_unsealed() && slot.state.is_copied() {
                    slot.state.save_producers(Lsn(u64::MAX));
                    slot.state.flush_memtable();
                }
                more |= slot.state.background(doors.disk)?;
                more |= slot.state.side_slice(&self.cache, doors.disk)?;
            }
            if self.pipeline.is_empty() && self.slots.iter().all(|slot| slot.state.is_checkpointed()) {
                break;
            }
            // What a completion just staged has to be sealed before there is anything to wait for.
            let staged = self.slots.iter().any(|slot| slot.state.is_dirty() && slot.can_seal());
            if !more && !staged {
                // Nor may what gathered while the last group was written.
                self.pipeline.log.pump(doors.disk);
                doors.disk.wait();
            }
        }
        self.finish_close(doors)
    }

    /// Events that did not finish are dropped: their roots are not done, so the next start runs them again.
    fn drop_batches(&mut self) {
        for slot in &mut self.slots {
            if let Some(mut batch) = slot.batch.take() {
                slot.state.rollback_batch();
                batch.drop_pagings(&mut slot.state);
                slot.run.reset();
            }
            slot.hold = Hold::Free;
        }
    }

    fn finish_close(self, doors: &mut Doors<'_>) -> Result<(), StopReason> {
        let Self { config, mut slots, mut pipeline, mut cache, .. } = self;
        // Whatever is still on its way (compaction, prewriting) ends before files close.
        let reached = slots.iter().map(|slot| (slot.task, slot.state.visible())).collect();
        let end = pipeline.log.end();
        // Side runs that are prepared, and not published, are nowhere else.
        let low = slots.iter_mut().map(|slot| slot.state.low_water(end)).min().unwrap_or(end);
        pipeline.log.release(low, doors.disk);
        let mut states: Vec<_> = slots.into_iter().map(|slot| slot.state).collect();
        drain(&mut pipeline.log, &mut states, &mut cache, doors)?;
        for state in states {
            state.close(&mut cache, doors.disk)?;
        }
        crate::open::write_checkpoint(&config, reached, doors)?;
        pipeline.log.close(doors.disk)?;
        Ok(())
    }
}

/// Waits for the storage's own requests until none is out.
fn drain(
    log: &mut SegLog,
    states: &mut [tantu_state::TaskState],
    cache: &mut tantu_lsm::BlockCache,
    doors: &mut Doors<'_>,
) -> Result<(), StopReason> {
    let mut done = Vec::new();
    while log.is_busy() || states.iter().any(tantu_state::TaskState::is_busy) {
        for state in &mut *states {
            while state.background(doors.disk)? || state.side_slice(cache, doors.disk)? {}
        }
        if !(log.is_busy() || states.iter().any(tantu_state::TaskState::is_busy)) {
            break;
        }
        doors.disk.wait();
        doors.disk.reap(&mut done);
        for done in done.drain(..) {
            if done.token.owner == LOG_OWNER {
                log.complete(done, doors.disk)?;
            } else {
                let at = slot_of_owner(done.token.owner);
                states[at].complete(done, cache, doors.disk)?;
            }
        }
    }
    Ok(())
}
