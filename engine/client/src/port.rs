//! What carries a connection's letters: the rings of a real process, or something else that behaves like them.
//!
//! A simulation has no rings and no second thread: waiting on its port makes the simulated process go on. So the two
//! halves of a port are known by what they do. The common case is an arm of its own, since it is met for every letter.

use std::fmt;
use std::time::Duration;
use tantu_base::door::{LetterBatch, Peer};
use tantu_base::id::Category;
use tantu_net::{ClientReceiver, ClientSender};

/// The half that sends, of a port that is no ring.
pub trait SendHalf: fmt::Debug + Send {
    /// Sends a batch to a task thread.
    ///
    /// # Errors
    /// The batch, when there is no room for it.
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch>;
    /// Tells those who were sent something.
    fn ring_bells(&mut self);
}

/// The half that receives, of a port that is no ring.
pub trait ReceiveHalf: fmt::Debug + Send {
    /// The next batch of any category; never waits.
    fn receive_any(&mut self) -> Option<(Peer, Category, LetterBatch)>;
    /// Lets the other side go on until a batch has come or the time is over.
    fn wait(&mut self, timeout: Duration);
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one for each connection, and it is not moved")]
pub(crate) enum Sender {
    Ring(ClientSender),
    Stepped(Box<dyn SendHalf>),
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one for each connection, and it is not moved")]
pub(crate) enum Receiver {
    Ring(ClientReceiver),
    Stepped(Box<dyn ReceiveHalf>),
}

impl Sender {
    /// Whether the other side goes on only while somebody waits on this port: no other thread can wait for the caller.
    pub(crate) fn is_stepped(&self) -> bool {
        matches!(self, Sender::Stepped(_))
    }

    pub(crate) fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        match self {
            Sender::Ring(ring) => ring.send(to, category, batch),
            Sender::Stepped(port) => port.send(to, category, batch),
        }
    }

    /// An empty buffer for a batch.
    pub(crate) fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        match self {
            Sender::Ring(ring) => ring.buffer(to, category),
            Sender::Stepped(_) => Vec::new(),
        }
    }

    pub(crate) fn ring_bells(&mut self) {
        match self {
            Sender::Ring(ring) => ring.ring_bells(),
            Sender::Stepped(port) => port.ring_bells(),
        }
    }

    /// Whether a task thread has ended. Who steps a process says so by [`crate::Connection::lose`] instead.
    pub(crate) fn is_thread_gone(&self, thread: Peer) -> bool {
        matches!(self, Sender::Ring(ring) if ring.is_thread_gone(thread))
    }
}

impl Receiver {
    pub(crate) fn receive_any(&mut self) -> Option<(Peer, Category, LetterBatch)> {
        match self {
            Receiver::Ring(ring) => ring.receive_any(),
            Receiver::Stepped(port) => port.receive_any(),
        }
    }

    pub(crate) fn give_back(&mut self, from: Peer, category: Category, bytes: Vec<u8>) {
        if let Receiver::Ring(ring) = self {
            ring.give_back(from, category, bytes);
        }
    }

    pub(crate) fn wait(&mut self, timeout: Duration) {
        match self {
            Receiver::Ring(ring) => {
                let _ = ring.wait(timeout);
            }
            Receiver::Stepped(port) => port.wait(timeout),
        }
    }

    /// Whether a batch may have come already. What is no ring says so only when it is waited for.
    pub(crate) fn has_letters(&self) -> bool {
        matches!(self, Receiver::Ring(ring) if ring.has_letters())
    }

    pub(crate) fn is_thread_gone(&self, thread: Peer) -> bool {
        matches!(self, Receiver::Ring(ring) if ring.is_thread_gone(thread))
    }
}
