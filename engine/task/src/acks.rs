//! Appends at level ACK: whether they wait for the topologies of the module, what those return, when they are answered.

use crate::overrun::guarded;
use crate::processed::ProcessedWait;
use crate::slot::AppendWait;
use crate::source::Report;
use crate::thread::TaskThread;
use crate::together;
use crate::waiters::Waiter;
use std::collections::BTreeMap;
use std::ops::Range;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, Offset};
use tantu_base::planted::{self, Bug};
use tantu_net::letter::{Letter, Refusal, Root, StreamLetter};
use tantu_path::AggError;

impl TaskThread {
    /// A letter of stream topologies arrived.
    pub(crate) fn take_stream(&mut self, peer: Peer, letter: StreamLetter<'_>, now: Nanos) {
        match letter {
            StreamLetter::Returned { root, value } => self.take_returned(root, value, now),
            StreamLetter::Spoiled { root, text } => self.report_failure(root, text, false, now),
            StreamLetter::AskTroubles { task, request, topology } => {
                self.take_ask_troubles(peer, task, request, topology);
            }
            StreamLetter::AskProcessed { task, request, topology, more_than, timeout_ms } => {
                let until = now.plus_ms(timeout_ms.min(u64::from(u32::MAX)));
                self.take_ask_processed(ProcessedWait { task, peer, request, topology, more_than, since: now, until });
            }
            StreamLetter::Appended { .. } => tracing::warn!(peer = peer.0, "dropped a letter meant for a client"),
        }
    }

    /// A client's record is durable, and it wants to wait until it is processed.
    pub(crate) fn await_processing(&mut self, at: usize, append: &AppendWait) {
        let AppendWait { depot, offset, peer, request, .. } = *append;
        let def = &self.config.module.def;
        let slot = &mut self.slots[at];
        let left = slot.sources_on(depot).count() as u16;
        if left == 0 {
            return self.answer_appended(peer, request, offset);
        }
        // An event of this thread has room already: its own topology's.
        let is_own = peer == Peer(self.config.thread.0);
        let mut sources = slot.sources.iter().filter(|source| source.setup.depot == depot && source.lead.is_none());
        let full = sources.find(|source| source.is_throttled(offset));
        let most = def.depots[depot].options.pending_ack_max;
        let waiter = Waiter { peer, request, left, returns: Vec::new(), kept: BTreeMap::new() };
        let text = if is_own {
            return slot.waiters[depot].add(offset, waiter);
        } else if let Some(source) = full {
            let name = &def.streams[usize::from(source.setup.stream)].name;
            format!("the topology {name} has {} records under way", source.setup.executing_max)
        } else if slot.waiters[depot].count() >= most {
            format!("{most} appends to the partition wait already")
        } else {
            return slot.waiters[depot].add(offset, waiter);
        };
        self.refuse(peer, request, Refusal::Throttled, &text);
    }

    /// Records will not be processed by a topology: nobody waits for them any longer.
    pub(crate) fn refuse_unprocessed(&mut self, at: usize, depot: usize, offsets: Range<u64>, text: &str, now: Nanos) {
        for offset in offsets {
            if let Some(waiter) = self.slots[at].waiters[depot].failed(Offset(offset)) {
                self.answer_unprocessed(waiter.peer, waiter.request, text, now);
            }
        }
    }

    /// An event of a root of this thread returned a value. Nobody aggregates what nobody waits for.
    fn take_returned(&mut self, root: Root, value: &[u8], now: Nanos) {
        let Some(at) = self.slot_of(root.task) else { return };
        let slot = &mut self.slots[at];
        let Some(source) = slot.sources.get(usize::from(root.source)) else { return };
        if !slot.waiters[source.setup.depot].is_awaited(root.offset) {
            return;
        }
        let Some(returns) = together::returns(&mut slot.sources, &root) else { return };
        if let Err(text) = guard(|| returns.take(value)) {
            self.report_failed(root, &text, now);
        }
    }

    /// Events of a root of this thread are done.
    pub(crate) fn report_done(&mut self, root: Root, bits: u64, now: Nanos) {
        if self.is_call(&root) {
            return self.call_done(root, bits, now);
        }
        let Some(at) = self.slot_of(root.task) else { return };
        let slot = &mut self.slots[at];
        if usize::from(root.source) >= slot.sources.len() {
            return;
        }
        let lead = together::lead_of(&slot.sources, usize::from(root.source), root.offset);
        let report = slot.sources[lead].done(&root, bits);
        if matches!(report, Report::Nothing | Report::Failed { .. }) {
            return;
        }
        // Mostly there are none: nothing is allocated then.
        let followers: Vec<usize> = together::followers(&slot.sources, lead, root.offset).collect();
        self.end_record((at, lead), root.offset, report, now);
        followers.into_iter().for_each(|source| self.end_record((at, source), root.offset, report, now));
    }

    /// A source has processed a record: what it returned goes to whoever waits for that, with the answer if it was the last source.
    fn end_record(&mut self, (at, index): (usize, usize), offset: Offset, report: Report, now: Nanos) {
        let slot = &mut self.slots[at];
        let source = &mut slot.sources[index];
        let returns = source.take_returns(offset).filter(|_| !planted::has(Bug::ReturnLost));
        if report == Report::Again {
            return;
        }
        let waiters = &mut slot.waiters[source.setup.depot];
        if let Some(returns) = returns {
            let topology = &self.config.module.def.streams[usize::from(source.setup.stream)].name;
            match guard(|| returns.finish()) {
                Ok(None) => {}
                Ok(Some(values)) if source.setup.ack_return.is_shared() => waiters.keep(offset, index, values),
                Ok(Some(value)) => waiters.returned(offset, topology, &value),
                Err(text) => {
                    // The record is processed; only what it returned cannot be told.
                    if let Some(waiter) = waiters.failed(offset) {
                        self.answer_unprocessed(waiter.peer, waiter.request, &text, now);
                    }
                    return;
                }
            }
        }
        if let Some(mut waiter) = waiters.processed(offset) {
            let streams = &self.config.module.def.streams;
            let aggregated = guard(|| waiter.aggregate(&slot.sources, streams));
            let Waiter { peer, request, returns, .. } = waiter;
            if let Err(text) = aggregated {
                return self.answer_unprocessed(peer, request, &text, now);
            }
            if returns.is_empty() || peer == Peer(self.config.thread.0) {
                return self.answer_appended(peer, request, offset);
            }
            let letter = Letter::Stream(StreamLetter::Appended { request, offset, returns: &returns });
            self.outbox.push(peer, Category::Client, &letter);
        }
    }
}

/// An aggregator may be the author's code: it is caught here if it panics.
fn guard<T>(aggregate: impl FnOnce() -> Result<T, AggError>) -> Result<T, String> {
    let what = "the returned values cannot be aggregated";
    let result = guarded(aggregate).map_err(|panic| format!("{what}: {panic}"))?;
    result.map_err(|error| format!("{what}: {error}"))
}
