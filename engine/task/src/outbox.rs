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
    /// Writes events into one letter, as many as the open batch takes.
    #[inline]
    fn write<'l>(&mut self, events: &mut impl Iterator<Item = Event<'l>>) {
        let writer = self.writer.get_or_insert_default();
        let LetterBatch { bytes, count } = &mut self.open;
        let start = *self.events.get_or_insert_with(|| {
            writer.begin();
            let start = bytes.len();
            Letter::Events { rows: &[] }.encode(bytes);
            start
        });
        for event in events {
            writer.push(&event, bytes);
            *count += 1;
            if bytes.len() >= LETTER_BATCH_SIZE {
                break;
            }
        }
        Letter::set_size(bytes, start);
    }

    /// The open batch waits for the wire.
    fn shut(&mut self) {
        self.events = None;
        self.waiting.push_back(std::mem::take(&mut self.open));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// By peer, ascending, then category: of those to whom something was sent and who are not gone.
    lanes: Vec<(Peer, Box<[Lane; 5]>)>,
    dirty: Vec<(Peer, Category)>,
    size: usize,
}

impl Outbox {
    /// Gathers a letter.
    #[inline]
    pub(crate) fn push(&mut self, to: Peer, category: Category, letter: &Letter<'_>) {
        self.add(to, category, |lane| {
            lane.events = None;
            letter.encode(&mut lane.open.bytes);
            lane.open.count += 1;
        });
    }

    /// Gathers hops to a task: those that follow each other to a peer are one letter.
    #[inline]
    pub(crate) fn push_events(&mut self, to: Peer, category: Category, (run, live): (&[Hop], &[u8])) {
        let mut events = run.iter().map(|hop| {
            let (start, len) = hop.within(run);
            hop.event(&live[start as usize..][..len as usize])
        });
        while events.len() > 0 {
            self.add(to, category, |lane| lane.write(&mut events));
        }
    }

    #[inline]
    fn add(&mut self, to: Peer, category: Category, write: impl FnOnce(&mut Lane)) {
        let at = self.place(to).unwrap_or_else(|at| {
            self.lanes.insert(at, (to, Box::default()));
            at
        });
        let lane = &mut self.lanes[at].1[category.index()];
        if lane.open.count == 0 && lane.waiting.is_empty() {
            self.dirty.push((to, category));
        }
        let before = lane.open.bytes.len();
        write(lane);
        self.size += lane.open.bytes.len() - before;
        if lane.open.bytes.len() >= LETTER_BATCH_SIZE {
            lane.shut();
        }
    }

    /// Where the lanes of a peer are, or belong.
    #[inline]
    fn place(&self, peer: Peer) -> Result<usize, usize> {
        // Task threads have the lowest numbers, and mostly each of them is there.
        let at = peer.0 as usize;
        match self.lanes.get(at).is_some_and(|(there, _)| *there == peer) {
            true => Ok(at),
            false => self.lanes.binary_search_by_key(&peer, |(there, _)| *there),
        }
    }

    /// A peer is gone: nobody will receive what is on its way to it.
    pub(crate) fn forget(&mut self, peer: Peer) {
        let Ok(at) = self.place(peer) else { return };
        let (_, lanes) = self.lanes.remove(at);
        let size = |lane: &Lane| lane.open.bytes.len() + lane.waiting.iter().map(|it| it.bytes.len()).sum::<usize>();
        self.size -= lanes.iter().map(size).sum::<usize>();
        self.dirty.retain(|(to, _)| *to != peer);
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
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|(peer, category)| {
            let at = self.place(*peer).expect("invariant: who is gone has nothing to be sent");
            let (lane, size) = (&mut self.lanes[at].1[category.index()], &mut self.size);
            loop {
                // While a ring is full, what is open gathers more: so it takes no more of the ring's places than it must.
                if lane.waiting.is_empty() && lane.open.count > 0 {
                    lane.shut();
                }
                let Some(batch) = lane.waiting.pop_front() else { return false };
                let len = batch.bytes.len();
                match wire.send(*peer, *category, batch) {
                    Ok(()) => {
                        if lane.open.bytes.capacity() == 0 {
                            lane.open.bytes = wire.buffer(*peer, *category);
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
        });
        self.dirty = dirty;
        if sent {
            wire.ring_bells();
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::id::TaskId;

    /// A ring that holds so many batches.
    struct Ring(Vec<LetterBatch>, usize);

    impl Wire for Ring {
        fn send(&mut self, _: Peer, _: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
            if self.0.len() == self.1 {
                return Err(batch);
            }
            self.0.push(batch);
            Ok(())
        }

        fn receive(&mut self, _: Category) -> Option<(Peer, LetterBatch)> {
            None
        }

        fn ring_bells(&mut self) {}

        fn departed(&mut self) -> Option<Peer> {
            None
        }
    }

    #[test]
    fn what_was_kept_for_clients_that_are_gone_is_given_back() {
        let (mut outbox, mut ring) = (Outbox::default(), Ring(Vec::new(), 0));
        let letter = Letter::AskOffsets { task: TaskId(0), request: 1, depot: 0 };
        for client in 2..10_002 {
            [1, client].iter().for_each(|peer| outbox.push(Peer(*peer), Category::Client, &letter));
            if client % 2 == 0 {
                outbox.flush(&mut ring);
            }
            outbox.forget(Peer(client));
            outbox.forget(Peer(client));
        }
        assert_eq!((outbox.lanes.len(), outbox.dirty.len()), (1, 1));
        ring.1 = usize::MAX;
        while outbox.flush(&mut ring) {}
        assert_eq!((outbox.size(), ring.0.iter().map(|batch| batch.count).sum::<u32>()), (0, 10_000));
    }

    #[test]
    fn letters_that_a_full_ring_does_not_take_gather_and_all_arrive_in_order() {
        let (mut outbox, mut ring, mut taken) = (Outbox::default(), Ring(Vec::new(), 2), Vec::new());
        for request in 0..100u64 {
            let letter = Letter::AskOffsets { task: TaskId(0), request, depot: 0 };
            outbox.push(Peer(1), Category::LowLatency, &letter);
            outbox.flush(&mut ring);
            if request % 20 == 19 {
                taken.append(&mut ring.0);
            }
        }
        while outbox.size() > 0 {
            assert!(outbox.flush(&mut ring));
            taken.append(&mut ring.0);
        }
        assert!(!outbox.flush(&mut ring));
        assert!(taken.len() <= 13, "{} batches: two for each time the ring was emptied, and what waited", taken.len());
        let mut requests = Vec::new();
        for batch in &taken {
            let mut reader = tantu_base::fixed::FixedReader::new(&batch.bytes);
            while let Some(letter) = Letter::decode_next(&mut reader) {
                let Ok(Letter::AskOffsets { request, .. }) = letter else { panic!("{letter:?}") };
                requests.push(request);
            }
        }
        assert_eq!(requests, (0..100).collect::<Vec<_>>());
    }
}
