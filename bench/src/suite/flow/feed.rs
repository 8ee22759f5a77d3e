//! Records that are in memory already: a task thread takes them from its wire as it would take a client's appends.

use std::sync::Arc;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::{Category, TaskId};
use tantu_base::value::Encode;
use tantu_net::letter::{AckLevel, Letter};

/// Appends of a batch of letters.
const APPENDS_PER_BATCH: usize = 64;
/// Whom the appends come from: a peer that nobody is, far above the clients that are.
const NOBODY: Peer = Peer(1_000);

/// Lines that are still to be appended to task 0's partition of a module's first depot, an epoch at a time.
#[derive(Debug)]
pub(super) struct Feed {
    lines: Arc<Vec<String>>,
    next: usize,
    /// Where the epoch ends, and how many lines it has.
    end: usize,
    epoch: usize,
    record: Vec<u8>,
    spare: Vec<u8>,
}

impl Feed {
    /// Of so many lines an epoch.
    pub(super) fn new(lines: &Arc<Vec<String>>, epoch: usize) -> Feed {
        Feed { lines: Arc::clone(lines), next: 0, end: 0, epoch, record: Vec::new(), spare: Vec::new() }
    }

    /// Whether all lines of the epoch are handed over.
    pub(super) fn is_at_end(&self) -> bool {
        self.next == self.end
    }

    /// The lines of the next epoch may be handed over.
    pub(super) fn begin_epoch(&mut self) {
        self.end = self.lines.len().min(self.end + self.epoch);
    }

    /// Whether all lines are handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.lines.len()
    }

    fn batch(&mut self) -> Option<LetterBatch> {
        if self.is_at_end() {
            return None;
        }
        let mut batch = LetterBatch { bytes: std::mem::take(&mut self.spare), count: 0 };
        let end = self.end.min(self.next + APPENDS_PER_BATCH);
        for line in &self.lines[self.next..end] {
            self.record.clear();
            line.encode(&mut self.record);
            let letter =
                Letter::Append { task: TaskId(0), request: 0, depot: 0, ack: AckLevel::None, record: &self.record };
            letter.encode(&mut batch.bytes);
            batch.count += 1;
        }
        self.next = end;
        Some(batch)
    }
}

/// A wire with clients' letters from memory.
pub(super) struct FeedWire<'a> {
    pub(super) feed: &'a mut Feed,
    pub(super) wire: &'a mut dyn Wire,
}

impl Wire for FeedWire<'_> {
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        if to == NOBODY { Ok(()) } else { self.wire.send(to, category, batch) }
    }

    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        let fed = if category == Category::Client { self.feed.batch() } else { None };
        fed.map(|batch| (NOBODY, batch)).or_else(|| self.wire.receive(category))
    }

    fn ring_bells(&mut self) {
        self.wire.ring_bells();
    }

    fn departed(&mut self) -> Option<Peer> {
        self.wire.departed()
    }

    fn give_back(&mut self, from: Peer, category: Category, mut bytes: Vec<u8>) {
        if from == NOBODY {
            bytes.clear();
            self.feed.spare = bytes;
        } else {
            self.wire.give_back(from, category, bytes);
        }
    }

    fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        if to == NOBODY { Vec::new() } else { self.wire.buffer(to, category) }
    }
}
