//! Records that fail: who is told, what becomes of them.
//!
//! A record that failed is tried again, unless its source does not retry. One that failed too often of itself *leaves*: it is
//! written to the depot of dead letters, in the same entry as the progress that passes it by.

use crate::limit::{DEAD_RECORD_SIZE_MAX, SEAL_SIZE, TROUBLE_TEXT_SIZE_MAX, TROUBLE_TOLD_COUNT_MAX, WINDOW_COUNT_MAX};
use crate::slot::TaskSlot;
use crate::source::{Report, Source};
use crate::thread::TaskThread;
use crate::together;
use crate::trouble::{Trouble, cut};
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, Offset, TaskId};
use tantu_base::value::{Encode, encoded};
use tantu_flow::{DeadLetter, ModuleDef, Position, TroubledRecord};
use tantu_net::letter::{Letter, Refusal, Root};

impl TaskThread {
    /// An event of a root of this thread failed.
    pub(crate) fn report_failed(&mut self, root: Root, text: &str, now: Nanos) {
        self.report_failure(root, text, true, now);
    }

    /// An event of a root of this thread failed; or, if the failure is not its own, one that shared a batch with one of its events.
    pub(crate) fn report_failure(&mut self, root: Root, text: &str, is_own: bool, now: Nanos) {
        if self.is_call(&root) {
            return self.call_failed(root, text, now);
        }
        let Some(at) = self.slot_of(root.task) else { return };
        let slot = &mut self.slots[at];
        if usize::from(root.source) >= slot.sources.len() {
            return;
        }
        let lead = together::lead_of(&slot.sources, usize::from(root.source), root.offset);
        let source = &mut slot.sources[lead];
        let starts_others = self.config.module.def.streams[usize::from(source.setup.stream)].plan.starts_others();
        let mut ended = if starts_others { source.ends_with(&root) } else { Vec::new() };
        let Report::Failed { tries, is_retried } = source.failed(&root, text, is_own, now) else { return };
        ended.retain(|root| source.record(root).is_none());
        let followers: Vec<usize> = together::followers(&slot.sources, lead, root.offset).collect();
        followers.into_iter().for_each(|at| slot.sources[at].drop_returns(root.offset));
        let source = &mut slot.sources[lead];
        let def = &self.config.module.def;
        if is_own {
            warn(def, source, &root, (tries, is_retried), text, now);
        }
        // Mostly only the first attempt counts for an ACK append (DEP-12).
        let depot = source.setup.depot;
        if (!is_retried || def.depots[depot].options.fail_ack_on_any_failure)
            && let Some(waiter) = slot.waiters[depot].failed(root.offset)
        {
            self.answer_unprocessed(waiter.peer, waiter.request, text, now);
        }
        self.end_tries(at, lead, &ended, now);
    }

    /// Tries of records are over: what their events wait for anywhere ends with them.
    fn end_tries(&mut self, at: usize, lead: usize, ended: &[Root], now: Nanos) {
        for root in ended {
            let followers = together::followers(&self.slots[at].sources, lead, root.offset);
            for source in std::iter::once(lead).chain(followers).collect::<Vec<_>>() {
                self.tell_over(Root { source: source as u16, ..*root }, now);
            }
        }
    }

    /// Fails the records whose event trees took too long.
    pub(crate) fn fail_overdue(&mut self, now: Nanos) {
        for at in 0..self.slots.len() {
            for index in 0..self.slots[at].sources.len() {
                let task = self.slots[at].task;
                for root in self.slots[at].sources[index].overdue(task, index as u16, now) {
                    self.report_failed(root, "the record's events did not finish in time", now);
                }
            }
        }
    }

    /// Answers a client with the records of a topology that this task fails on.
    pub(crate) fn take_ask_troubles(&mut self, peer: Peer, task: TaskId, request: u64, topology: u16) {
        let def = &self.config.module.def;
        let (Some(at), Some(_)) = (self.slot_of(task), def.streams.get(usize::from(topology))) else {
            return self.refuse(peer, request, Refusal::Invalid, "there is no such task or topology here");
        };
        let (mut rows, mut count) = (Vec::new(), 0);
        for source in self.slots[at].sources.iter().filter(|source| source.setup.stream == topology) {
            for (offset, Trouble { tries, text }) in source.troubles.iter().take(TROUBLE_TOLD_COUNT_MAX - count) {
                let depot = def.depots[source.setup.depot].name.clone();
                let (error, is_first) = (text.clone(), offset == source.base());
                TroubledRecord { error, depot, partition: task.0, offset: offset.0, tries: *tries, is_first }
                    .encode(&mut rows);
                count += 1;
            }
        }
        let letter = Letter::Rows { request, more: false, count: count as u32, rows: &rows };
        self.outbox.push(peer, Category::Client, &letter);
    }
}

impl TaskSlot {
    /// A batch failed, in which events began here: what was done for records of which the first event is among them was all in the
    /// batch, and is undone.
    pub(crate) fn note_undone(&mut self, begun: &[(Position, Root)]) {
        for (at, root) in begun {
            if let Some(source) = self.sources.get_mut(usize::from(root.source)).filter(|source| source.setup.at == *at)
            {
                source.note_undone(root.offset);
            }
        }
    }

    /// Tells the log that a source starts no more records.
    pub(crate) fn warn_stopped(&self, def: &ModuleDef, index: usize) {
        let source = &self.sources[index];
        let topology = &def.streams[usize::from(source.setup.stream)].name;
        let depot = &def.depots[source.setup.depot].name;
        let (partition, offset) = (self.task.0, source.base().0);
        let Trouble { tries, text } = source.troubles.get(source.base()).cloned().unwrap_or_default();
        tracing::error!(
            topology,
            depot,
            partition,
            offset,
            tries,
            error = text,
            "no more records start: {WINDOW_COUNT_MAX} stand behind one that fails; mend its code, or give it up with `dead_letter_after`"
        );
    }

    /// Keeps a record that leaves as a dead letter; false while too much is staged. Its waiter has been told.
    pub(crate) fn keep_dead(&mut self, def: &ModuleDef, index: usize, offset: Offset, record: &[u8]) -> bool {
        if self.state.staged_size() >= SEAL_SIZE {
            return false;
        }
        let source = &mut self.sources[index];
        let Some(Trouble { tries, text }) = source.troubles.get(offset).cloned() else {
            unreachable!("a record leaves for its failures")
        };
        let bytes = if record.len() <= DEAD_RECORD_SIZE_MAX { record.to_vec() } else { Vec::new() };
        let letter = DeadLetter {
            bytes,
            error: text,
            depot: def.depots[source.setup.depot].name.clone(),
            partition: self.task.0,
            offset: offset.0,
            topology: def.streams[usize::from(source.setup.stream)].name.clone(),
            tries,
        };
        let depot = def.dead_letters.expect("invariant: a source that gives records up has the module declare it");
        // In the entry that passes the record by, whatever its size.
        self.state.depot_mut(depot).stage_bound(&encoded(&letter));
        source.give_up(offset);
        let followers: Vec<usize> = together::followers(&self.sources, index, offset).collect();
        followers.into_iter().for_each(|at| self.sources[at].note_given_up(offset));
        true
    }
}

/// Tells the log of a record that failed, ever more seldom.
fn warn(def: &ModuleDef, source: &mut Source, root: &Root, (tries, is_retried): (u32, bool), text: &str, now: Nanos) {
    let Some(untold) = source.troubles.warn(tries.max(1), now) else { return };
    let topology = &def.streams[usize::from(source.setup.stream)].name;
    let depot = &def.depots[source.setup.depot].name;
    let Root { task, offset, .. } = root;
    let (partition, offset, text) = (task.0, offset.0, cut(text, TROUBLE_TEXT_SIZE_MAX));
    let what = match source.setup.dead_letter_after {
        _ if is_retried => "a record fails and is tried again: progress stands at it, or will",
        Some(_) => "a record failed and goes to the dead letters",
        None => "a record failed and is dropped",
    };
    tracing::warn!(topology, depot, partition, offset, tries, untold, error = text, "{what}");
}
