//! Letters on their way out: gathered per peer and category, handed to the wire in batches, kept in order
//! when a ring is full.

use crate::hops::Hop;
use crate::limit::LETTER_BATCH_SIZE;
use std::collections::VecDeque;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::Category;
use tantu_net::event::{Event, EventWriter};
use tantu_net::letter::Letter;

#[derive(Debug, Default)]
struct Lane {
    open: LetterBatch,
    waiting: VecDeque<LetterBatch>,
    /// The letter of events at the end of the open batch, if there is one.
    events: Option<usize>,
    writer: Option<Box<EventWriter>>,
}

impl Lane {
    /// The open batch waits for the wire.
    fn shut(&mut self) {
        self.events = None;
        self.waiting.push_back(std::mem::take(&mut self.open));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// By peer, then category.
    lanes: Vec<[Lane; 5]>,
    dirty: Vec<(u32, Category)>,
    size: usize,
}

impl Outbox {
    /// Gathers a letter.
    #[inline]
    pub(crate) fn push(&mut self, to: Peer, category: Category, letter: &Letter<'_>) {
        self.add(to, category, |lane| {
            lane.events = None;
            letter.encode(&mut lane.open.bytes);
        });
    }

    /// Gathers hops to a task: those that follow each other to a peer are one letter.
    #[inline]
    pub(crate) fn push_events(&mut self, to: Peer, category: Category, (run, live): (&[Hop], &[u8])) {
        for hop in run {
            let (start, len) = hop.within(run);
            let event = hop.event(&live[start as usize..][..len as usize]);
            self.push_event(to, category, &event);
        }
    }

    #[inline]
    fn push_event(&mut self, to: Peer, category: Category, event: &Event<'_>) {
        self.add(to, category, |lane| {
            let writer = lane.writer.get_or_insert_default();
            let bytes = &mut lane.open.bytes;
            let start = *lane.events.get_or_insert_with(|| {
                writer.begin();
                let start = bytes.len();
                Letter::Events { rows: &[] }.encode(bytes);
                start
            });
            writer.push(event, bytes);
            Letter::set_size(bytes, start);
        });
    }

    #[inline]
    fn add(&mut self, to: Peer, category: Category, write: impl FnOnce(&mut Lane)) {
        let at = to.0 as usize;
        if at >= self.lanes.len() {
            self.lanes.resize_with(at + 1, Default::default);
        }
        let lane = &mut self.lanes[at][category.index()];
        if lane.open.count == 0 && lane.waiting.is_empty() {
            self.dirty.push((to.0, category));
        }
        let before = lane.open.bytes.len();
        write(lane);
        lane.open.count += 1;
        self.size += lane.open.bytes.len() - before;
        if lane.open.bytes.len() >= LETTER_BATCH_SIZE {
            lane.shut();
        }
    }

    /// Bytes of letters not yet on the wire.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Hands over what fits; true if something went.
    pub(crate) fn flush(&mut self, wire: &mut dyn Wire) -> bool {
        if self.dirty.is_empty() {
            return false;
        }
        let mut sent = false;
        let Self { lanes, dirty, size } = self;
        dirty.retain(|(peer, category)| {
            let lane = &mut lanes[*peer as usize][category.index()];
            if lane.open.count > 0 {
                lane.shut();
            }
            while let Some(batch) = lane.waiting.pop_front() {
                let len = batch.bytes.len();
                match wire.send(Peer(*peer), *category, batch) {
                    Ok(()) => {
                        if lane.open.bytes.capacity() == 0 {
                            lane.open.bytes = wire.buffer(Peer(*peer), *category);
                        }
                        sent = true;
                        *size -= len;
                    }
                    Err(batch) => {
                        lane.waiting.push_front(batch);
                        return true;
                    }
                }
            }
            false
        });
        if sent {
            wire.ring_bells();
        }
        sent
    }
}
