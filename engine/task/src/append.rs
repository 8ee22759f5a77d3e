//! Appends of streaming batches: records that are staged when the batch succeeds, and events that wait until topologies have
//! processed them.
//!
//! Until then the records are the batch's own: a batch that fails takes nothing back. They get into the entry that has its other
//! writes, and all that it sends leaves when that is durable. So an event that waits for [`AckLevel::AppendAck`] is a
//! hop to its own task. One that waits for [`AckLevel::Ack`] is parked here, as data, and waits beside the clients that do: where a
//! client's number would be, it has that of its thread.

use crate::limit::EVENT_APPEND_COUNT_MAX;
use crate::slot::{AppendWait, TaskSlot};
use crate::thread::TaskThread;
use std::collections::BTreeMap;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{AckLevel, Category, Offset, TaskId};
use tantu_flow::Position;
use tantu_net::letter::{Letter, Refusal, Root};

/// An event that goes on when a record it appended is processed.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) task: TaskId,
    pub(crate) stream: u16,
    pub(crate) at: Position,
    pub(crate) root: Root,
    /// Its random number.
    pub(crate) event: u64,
    pub(crate) live: Vec<u8>,
}

#[derive(Debug)]
struct Append {
    depot: usize,
    /// Where its record ends among the bytes.
    end: usize,
    parked: Option<Parked>,
}

/// The records of a batch, in order.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    bytes: Vec<u8>,
    list: Vec<Append>,
}

impl Appends {
    pub(crate) fn push(&mut self, depot: usize, record: &[u8], parked: Option<Parked>) {
        self.bytes.extend_from_slice(record);
        self.list.push(Append { depot, end: self.bytes.len(), parked });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes that the records will take when they are staged.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.list.len() * size_of::<u32>()
    }
}

/// The parked events of a thread.
#[derive(Debug, Default)]
pub(crate) struct Appending {
    parked: BTreeMap<u64, Parked>,
    next: u64,
    size: usize,
}

impl Appending {
    /// Stages the records of a batch that succeeded; the events that wait are parked.
    pub(crate) fn stage(&mut self, slot: &mut TaskSlot, appends: &mut Appends, own: Peer) {
        let mut start = 0;
        for Append { depot, end, parked } in appends.list.drain(..) {
            let offset = slot.state.depot_mut(depot).stage_bound(&appends.bytes[start..end]);
            start = end;
            if let Some(parked) = parked {
                let request = self.next;
                self.next += 1;
                self.size += parked.live.len();
                self.parked.insert(request, parked);
                slot.gathering.appends.push(AppendWait { depot, offset, ack: AckLevel::Ack, peer: own, request });
            }
        }
        appends.bytes.clear();
    }

    fn take(&mut self, request: u64) -> Option<Parked> {
        let parked = self.parked.remove(&request)?;
        self.size -= parked.live.len();
        Some(parked)
    }

    /// No records are started that might wait too.
    pub(crate) fn is_full(&self) -> bool {
        self.parked.len() >= EVENT_APPEND_COUNT_MAX
    }

    /// Bytes of variables that wait.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

impl TaskThread {
    /// An append is acknowledged: to a client, or to an event of this thread.
    pub(crate) fn answer_appended(&mut self, peer: Peer, request: u64, offset: Offset) {
        if peer != Peer(self.config.thread.0) {
            self.outbox.push(peer, Category::Client, &Letter::Appended { request, offset });
        } else if let Some(Parked { task, stream, at, root, event, live }) = self.appending.take(request)
            && let Some(slot) = self.slot_of(task)
        {
            self.slots[slot].events.push(stream, at, root, event, &live);
        }
    }

    /// An appended record was not processed at the first try.
    pub(crate) fn answer_unprocessed(&mut self, peer: Peer, request: u64, text: &str, now: Nanos) {
        if peer != Peer(self.config.thread.0) {
            self.refuse(peer, request, Refusal::ProcessingFailed, text);
        } else if let Some(Parked { root, .. }) = self.appending.take(request) {
            self.report_failed(root, &format!("a record that it appended failed: {text}"), now);
        }
    }
}
