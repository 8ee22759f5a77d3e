//! A foreign thread's ends of the mesh: it sends to every task thread, receives from every task thread, and
//! can block until something has come.

use crate::bell::{Sleeper, ThreadBell};
use crate::lane::Lane;
use crate::link::Links;
use crate::mesh::Desks;
use std::sync::Arc;
use std::time::Duration;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::Category;

/// A foreign thread's port. [`ClientPort::split`] makes two halves of it, for two threads.
#[derive(Debug)]
pub struct ClientPort {
    sender: ClientSender,
    receiver: ClientReceiver,
}

/// The half of a [`ClientPort`] that sends.
#[derive(Debug)]
pub struct ClientSender {
    peer: Peer,
    links: Links,
    departure: Departure,
}

/// The half of a [`ClientPort`] that receives.
#[derive(Debug)]
pub struct ClientReceiver {
    peer: Peer,
    lanes: [Lane; Category::ALL.len()],
    /// Whose turn it is in [`ClientReceiver::receive_any`].
    turn: usize,
    sleeper: Arc<Sleeper>,
    bell: Arc<ThreadBell>,
    departure: Departure,
}

/// Tells the task threads when a half was dropped: the last field of it, so that its rings are gone by then.
#[derive(Debug)]
struct Departure {
    desks: Arc<Desks>,
}

impl Departure {
    fn is_thread_gone(&self, thread: Peer) -> bool {
        self.desks.desks[thread.0 as usize].is_gone()
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        for desk in &self.desks.desks {
            desk.note_departure();
        }
    }
}

impl ClientPort {
    pub(crate) fn new(
        desks: &Arc<Desks>,
        peer: Peer,
        sleeper: Arc<Sleeper>,
        lanes: [Lane; Category::ALL.len()],
        links: Links,
    ) -> Self {
        let bell = Arc::new(ThreadBell::default());
        sleeper.set_bell(bell.clone());
        let sender = ClientSender { peer, links, departure: Departure { desks: Arc::clone(desks) } };
        let departure = Departure { desks: Arc::clone(desks) };
        let receiver = ClientReceiver { peer, lanes, turn: 0, sleeper, bell, departure };
        Self { sender, receiver }
    }

    /// Its number among the peers: where answers go.
    pub fn peer(&self) -> Peer {
        self.sender.peer
    }

    /// How many task threads there are: peers `0..thread_count`.
    pub fn thread_count(&self) -> u32 {
        self.sender.thread_count()
    }

    /// The two halves.
    pub fn split(self) -> (ClientSender, ClientReceiver) {
        (self.sender, self.receiver)
    }

    /// See [`ClientReceiver::receive_any`].
    pub fn receive_any(&mut self) -> Option<(Peer, Category, LetterBatch)> {
        self.receiver.receive_any()
    }

    /// See [`ClientReceiver::wait`].
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.receiver.wait(timeout)
    }

    /// Whether a task thread has ended: what is sent to it is dropped, and it answers no more.
    pub fn is_thread_gone(&self, thread: Peer) -> bool {
        self.sender.is_thread_gone(thread)
    }
}

impl Wire for ClientPort {
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        self.sender.send(to, category, batch)
    }

    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        self.receiver.receive(category)
    }

    fn ring_bells(&mut self) {
        self.sender.ring_bells();
    }

    /// Task threads do not leave before the ports do; [`ClientPort::is_thread_gone`] tells of one that ended.
    fn departed(&mut self) -> Option<Peer> {
        None
    }

    fn give_back(&mut self, from: Peer, category: Category, bytes: Vec<u8>) {
        self.receiver.give_back(from, category, bytes);
    }

    fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        self.sender.buffer(to, category)
    }
}

impl ClientSender {
    /// Its number among the peers: where answers go.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// How many task threads there are: peers `0..thread_count`.
    pub fn thread_count(&self) -> u32 {
        u32::try_from(self.departure.desks.desks.len()).expect("invariant: made from a u32")
    }

    /// Whether a task thread has ended: what is sent to it is dropped, and it answers no more.
    pub fn is_thread_gone(&self, thread: Peer) -> bool {
        self.departure.is_thread_gone(thread)
    }

    /// Sends a batch to a task thread. One that is gone never receives it.
    ///
    /// # Errors
    /// The batch, when the ring is full.
    ///
    /// # Panics
    /// If there is no such task thread: ports do not write to each other.
    pub fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        assert!(to.0 < self.thread_count(), "a client port sends to task threads only, not to {to:?}");
        self.links.send(to.0 as usize, category, batch)
    }

    /// An empty buffer for a batch: one that the task thread gave back, if there is one.
    pub fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        self.links.buffer(to.0 as usize, category)
    }

    /// Wakes those task threads that sleep and were sent something since the last call.
    pub fn ring_bells(&mut self) {
        self.links.ring_bells();
    }
}

impl ClientReceiver {
    /// Its number among the peers: where answers go.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether a task thread has ended: it answers no more, once what it sent is received.
    pub fn is_thread_gone(&self, thread: Peer) -> bool {
        self.departure.is_thread_gone(thread)
    }

    /// The next batch of a category, from any task thread, fairly; never blocks.
    pub fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        self.lanes[category.index()].next(&self.sleeper.mail)
    }

    /// Gives the emptied buffer of a received batch back to its sender.
    pub fn give_back(&mut self, from: Peer, category: Category, bytes: Vec<u8>) {
        self.lanes[category.index()].give_back(from, bytes);
    }

    /// The next batch of any category, categories in turn; never blocks.
    pub fn receive_any(&mut self) -> Option<(Peer, Category, LetterBatch)> {
        for _ in 0..Category::ALL.len() {
            let category = Category::ALL[self.turn];
            if let Some((peer, batch)) = self.receive(category) {
                return Some((peer, category, batch));
            }
            self.turn = (self.turn + 1) % Category::ALL.len();
        }
        None
    }

    /// Whether a batch may wait in some category.
    pub fn has_letters(&self) -> bool {
        self.sleeper.mail.has_any() || self.lanes.iter().any(Lane::may_have)
    }

    /// Blocks until a batch waits, a task thread ends, or the time is over; says whether a batch may wait. It may
    /// return early.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        if self.sleeper.lie_down(|| self.has_letters()) {
            self.bell.wait(timeout);
            self.sleeper.get_up();
        }
        self.has_letters()
    }
}
