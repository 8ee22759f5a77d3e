//! A task thread's ends of the mesh: its [`Wire`] door.

use crate::bell::Bell;
use crate::lane::Lane;
use crate::link::Links;
use crate::mesh::{Arrival, Desk, Desks};
use std::collections::BTreeMap;
use std::sync::Arc;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::{Category, ThreadId};

/// The port of one task thread. Its own number as a destination is a plain queue.
#[derive(Debug)]
pub struct ThreadPort {
    desks: Arc<Desks>,
    thread: ThreadId,
    lanes: [Lane; Category::ALL.len()],
    links: Links,
    generation_seen: u64,
    /// Some source is gone but its ring was not empty yet.
    is_sweep_due: bool,
    /// Peers that are gone, and in how many lanes there may be something of them.
    leaving: BTreeMap<Peer, usize>,
    departed: Vec<Peer>,
}

impl ThreadPort {
    pub(crate) fn new(desks: Arc<Desks>, thread: u32, lanes: [Lane; Category::ALL.len()], links: Links) -> Self {
        Self {
            desks,
            thread: ThreadId(thread),
            lanes,
            links,
            generation_seen: 0,
            is_sweep_due: false,
            leaving: BTreeMap::new(),
            departed: Vec::new(),
        }
    }

    /// Whose port this is.
    pub fn thread(&self) -> ThreadId {
        self.thread
    }

    /// How many task threads there are.
    pub fn thread_count(&self) -> u32 {
        u32::try_from(self.desks.desks.len()).expect("invariant: made from a u32")
    }

    /// Gives the thread its bell, once, before it first lies down.
    ///
    /// # Panics
    /// If it has one.
    pub fn set_bell(&self, bell: Arc<dyn Bell>) {
        self.desk().sleeper.set_bell(bell);
    }

    /// Whether a batch may wait in some category.
    pub fn has_letters(&self) -> bool {
        self.desk().generation() != self.generation_seen
            || self.desk().sleeper.mail.has_any()
            || self.lanes.iter().any(Lane::may_have)
    }

    /// Before sleeping. With `true` the thread may sleep until its bell rings, and then calls
    /// [`ThreadPort::get_up`]; with `false` something has come.
    ///
    /// # Panics
    /// Without a bell.
    pub fn lie_down(&mut self) -> bool {
        self.look_at_desk();
        self.desk().sleeper.lie_down(|| self.has_letters())
    }

    /// After sleeping.
    pub fn get_up(&mut self) {
        self.desk().sleeper.get_up();
    }

    fn desk(&self) -> &Desk {
        &self.desks.desks[self.thread.index()]
    }

    #[inline]
    fn look_at_desk(&mut self) {
        let generation = self.desk().generation();
        if generation != self.generation_seen {
            self.generation_seen = generation;
            let arrivals = self.desk().take_arrivals();
            self.welcome(arrivals);
            self.sweep();
        }
    }

    #[cold]
    fn welcome(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            self.links.add(arrival.link);
            for (lane, end) in self.lanes.iter_mut().zip(arrival.ends) {
                lane.add_late(arrival.peer, end);
            }
        }
    }

    #[cold]
    fn sweep(&mut self) {
        self.links.sweep(self.thread_count());
        let mut drained = Vec::new();
        self.is_sweep_due = self.lanes.iter_mut().fold(false, |due, lane| lane.sweep(&mut drained) | due);
        for peer in drained {
            let lanes = self.leaving.entry(peer).or_insert(self.lanes.len());
            *lanes -= 1;
            // At once, and when its last letters have been taken in, which may start something.
            if [self.lanes.len() - 1, 0].contains(lanes) {
                self.departed.push(peer);
            }
            if *lanes == 0 {
                self.leaving.remove(&peer);
            }
        }
    }

    #[cold]
    fn send_unlinked(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        if to.0 == self.thread.0 {
            return self.lanes[category.index()].send_own(batch);
        }
        // Another thread can name a port before this one has looked at its desk.
        self.look_at_desk();
        match self.links.find(to) {
            Some(at) => self.links.send(at, category, batch),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    pub(crate) fn known_ports(&self) -> (usize, usize) {
        (self.links.count(), self.lanes[0].source_count())
    }
}

impl Wire for ThreadPort {
    /// To a peer that is gone a batch is dropped: nobody could ever receive it.
    #[inline]
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        match self.links.find(to) {
            Some(at) => self.links.send(at, category, batch),
            None => self.send_unlinked(to, category, batch),
        }
    }

    #[inline]
    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        self.look_at_desk();
        let mail = &self.desks.desks[self.thread.index()].sleeper.mail;
        let received = self.lanes[category.index()].next(mail);
        if received.is_none() && self.is_sweep_due {
            self.sweep();
        }
        received
    }

    fn ring_bells(&mut self) {
        self.links.ring_bells();
    }

    #[inline]
    fn departed(&mut self) -> Option<Peer> {
        self.departed.pop()
    }

    #[inline]
    fn give_back(&mut self, from: Peer, category: Category, bytes: Vec<u8>) {
        self.lanes[category.index()].give_back(from, bytes);
    }

    #[inline]
    fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        match self.links.find(to) {
            Some(at) => self.links.buffer(at, category),
            None if to.0 == self.thread.0 => self.lanes[category.index()].own_buffer(),
            None => Vec::new(),
        }
    }
}

impl Drop for ThreadPort {
    fn drop(&mut self) {
        // Those who wait for this thread's answers wake up and see that it is gone.
        let arrivals = self.desk().close();
        self.welcome(arrivals);
        self.links.wake_all();
    }
}
