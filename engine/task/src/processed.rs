//! Clients that ask how many records a stream topology has processed, or wait until there are more.

use crate::limit::{PROCESSED_LOOK_MS, PROCESSED_WAIT_COUNT_MAX};
use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use crate::together::processed_count;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, TaskId};
use tantu_net::letter::{Letter, Refusal};

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessedWait {
    pub(crate) task: TaskId,
    pub(crate) peer: Peer,
    pub(crate) request: u64,
    pub(crate) topology: u16,
    pub(crate) more_than: u64,
    pub(crate) since: Nanos,
    pub(crate) until: Nanos,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ProcessedWaits {
    waits: Vec<ProcessedWait>,
    /// When they are looked at next: to count takes longer than a step.
    look_at: Nanos,
}

impl ProcessedWaits {
    /// A client wants no answers to these requests.
    pub(crate) fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool) {
        self.waits.retain(|wait| !is_cancelled(wait.peer, wait.request));
    }

    /// When they are looked at next.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        (!self.waits.is_empty()).then_some(self.look_at)
    }
}

impl TaskSlot {
    /// How many records a stream topology has processed here. Ticks are no records.
    fn processed(&self, topology: u16) -> u64 {
        let is_of = |at: &usize| self.sources[*at].setup.stream == topology && self.sources[*at].is_durable;
        (0..self.sources.len()).filter(is_of).map(|at| processed_count(&self.sources, at)).sum()
    }
}

impl TaskThread {
    pub(crate) fn take_ask_processed(&mut self, wait: ProcessedWait) {
        let ProcessedWait { task, peer, request, topology, .. } = wait;
        let is_known = self.config.module.def.streams.get(usize::from(topology)).is_some();
        if self.slot_of(task).is_none() || !is_known {
            return self.refuse(peer, request, Refusal::Invalid, "there is no such task or topology here");
        }
        if self.processed_waits.waits.len() >= PROCESSED_WAIT_COUNT_MAX {
            return self.refuse(peer, request, Refusal::Invalid, "too many clients wait for the topology");
        }
        self.processed_waits.waits.push(wait);
        self.processed_waits.look_at = Nanos(0);
    }

    /// Answers those that waited long enough; true if there were such.
    pub(crate) fn answer_processed_waits(&mut self, now: Nanos) -> bool {
        if self.processed_waits.wake_at().is_none_or(|at| now < at) {
            return false;
        }
        self.processed_waits.look_at = now.plus_ms(PROCESSED_LOOK_MS);
        let waits = std::mem::take(&mut self.processed_waits.waits);
        let before = waits.len();
        for wait in waits {
            let at = self.slot_of(wait.task).expect("invariant: it was looked at when it came");
            let count = self.slots[at].processed(wait.topology);
            if count <= wait.more_than && now < wait.until {
                self.processed_waits.waits.push(wait);
                continue;
            }
            let waited_ms = now.since(wait.since) / 1_000_000;
            let row = [count.to_le_bytes(), waited_ms.to_le_bytes()].concat();
            let letter = Letter::Rows { request: wait.request, more: false, count: 1, rows: &row };
            self.outbox.push(wait.peer, Category::Client, &letter);
        }
        self.processed_waits.waits.len() < before
    }
}
