//! What one peer sends to another: a ring for each category, and the other's bell.

use crate::bell::Sleeper;
use crate::mail::Mail;
use crate::mesh::RING_CAPACITY;
use crate::ring::{Consumer, Producer, ring};
use std::sync::Arc;
use tantu_base::door::{LetterBatch, Peer};
use tantu_base::id::Category;

/// Emptied buffers under way back to their sender, per category.
pub(crate) const RETURN_CAPACITY: usize = 16;
/// Longest buffer worth sending back, in bytes: a larger one came with a rare large letter.
const RETURN_SIZE_MAX: usize = 64 << 10;

/// The receiving end of one category of a [`Link`].
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) ring: Consumer<LetterBatch>,
    returns: Producer<Vec<u8>>,
}

/// The buffer, emptied, if it is worth using again.
#[inline]
pub(crate) fn emptied(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    bytes.clear();
    (1..=RETURN_SIZE_MAX).contains(&bytes.capacity()).then_some(bytes)
}

impl Inlet {
    /// See [`Wire::give_back`](tantu_base::door::Wire::give_back).
    #[inline]
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) {
        // With a full ring the sender has enough of them.
        let _ = self.returns.push(bytes);
    }
}

/// The sending end of one category of a [`Link`].
#[derive(Debug)]
struct Outlet {
    ring: Producer<LetterBatch>,
    returned: Consumer<Vec<u8>>,
}

/// The receiving ends of a [`Link`], one for each category in queue order.
pub(crate) type LinkEnd = [Inlet; Category::ALL.len()];

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    outlets: [Outlet; Category::ALL.len()],
    sleeper: Arc<Sleeper>,
    /// The sender's bit in the receiver's mail.
    bit: usize,
    /// Sent to since the bells were last rung.
    is_due: bool,
}

impl Link {
    /// From one peer to another, whose sleep it is.
    pub(crate) fn new(from: Peer, to: Peer, sleeper: Arc<Sleeper>) -> (Link, LinkEnd) {
        let mut ends = Vec::with_capacity(Category::ALL.len());
        let outlets = Category::ALL.map(|_| {
            let (inward, outward) = ring::<LetterBatch>(RING_CAPACITY);
            let (returns, returned) = ring::<Vec<u8>>(RETURN_CAPACITY);
            ends.push(Inlet { ring: outward, returns });
            Outlet { ring: inward, returned }
        });
        let ends = LinkEnd::try_from(ends).expect("invariant: one end for each ring");
        (Link { peer: to, outlets, sleeper, bit: Mail::bit(from), is_due: false }, ends)
    }

    /// Whether nobody will receive any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.ring.is_consumer_gone())
    }
}

/// All the links of one peer, and which of them are due for a ring of the bell.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The peer of each link, ascending.
    peers: Vec<Peer>,
    links: Vec<Link>,
    due: Vec<usize>,
}

impl Links {
    /// Ports that attach at the same time may be added in either order.
    pub(crate) fn add(&mut self, link: Link) {
        self.ring_bells();
        let at = self.peers.partition_point(|peer| *peer < link.peer);
        self.peers.insert(at, link.peer);
        self.links.insert(at, link);
    }

    #[inline]
    pub(crate) fn find(&self, peer: Peer) -> Option<usize> {
        self.peers.binary_search(&peer).ok()
    }

    #[inline]
    pub(crate) fn send(&mut self, at: usize, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        let link = &mut self.links[at];
        if let Err(batch) = link.outlets[category.index()].ring.push(batch) {
            // To a peer that is gone a batch arrives "not at all"; keeping it would block its sender for ever.
            return if link.is_dead() { Ok(()) } else { Err(batch) };
        }
        link.sleeper.mail.post(category, link.bit);
        if !link.is_due {
            link.is_due = true;
            self.due.push(at);
        }
        Ok(())
    }

    /// A buffer that came back, or a new one.
    #[inline]
    pub(crate) fn buffer(&mut self, at: usize, category: Category) -> Vec<u8> {
        self.links[at].outlets[category.index()].returned.pop().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn ring_bells(&mut self) {
        if self.due.is_empty() {
            return;
        }
        crate::announce();
        for at in self.due.drain(..) {
            let link = &mut self.links[at];
            link.is_due = false;
            link.sleeper.wake();
        }
    }

    /// Wakes every peer, sent to or not.
    pub(crate) fn wake_all(&self) {
        crate::announce();
        for link in &self.links {
            link.sleeper.wake();
        }
    }

    /// Forgets the links nobody receives from, except those to the first `thread_count` peers.
    pub(crate) fn sweep(&mut self, thread_count: u32) {
        self.ring_bells();
        self.links.retain(|link| link.peer.0 < thread_count || !link.is_dead());
        self.peers.clear();
        self.peers.extend(self.links.iter().map(|link| link.peer));
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.links.len()
    }
}
