//! What one peer receives in one category: a ring from each source, emptied in fair turns.
//!
//! A turn takes at most [`RECEIVE_BURST_COUNT`] batches, so that a busy source cannot starve the others and a
//! lone one is not paid for by looking at all the empty rings after each batch. Rings are looked at only if the peer's
//! [`Mail`] says that they may hold something.

use crate::link::{Inlet, RETURN_CAPACITY, emptied};
use crate::mail::Mail;
use crate::mesh::{RECEIVE_BURST_COUNT, RING_CAPACITY};
use std::collections::VecDeque;
use tantu_base::door::{LetterBatch, Peer};
use tantu_base::id::Category;

#[derive(Debug)]
struct Source {
    peer: Peer,
    bit: usize,
    inlet: Inlet,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    own_peer: Peer,
    category: Category,
    /// Sources that may have something, by their bits.
    may_have: usize,
    sources: Vec<Source>,
    /// What the peer sent to itself; in turn it is the source after the last.
    own: VecDeque<LetterBatch>,
    /// Buffers of those it received.
    own_spares: Vec<Vec<u8>>,
    /// Whose turn it is, `0..=sources.len()`.
    turn: usize,
    burst_left: usize,
}

impl Lane {
    pub(crate) fn new(own_peer: Peer, category: Category) -> Self {
        Self {
            own_peer,
            category,
            may_have: 0,
            sources: Vec::new(),
            own: VecDeque::new(),
            own_spares: Vec::new(),
            turn: 0,
            burst_left: RECEIVE_BURST_COUNT,
        }
    }

    pub(crate) fn add(&mut self, peer: Peer, inlet: Inlet) {
        self.sources.push(Source { peer, bit: Mail::bit(peer), inlet });
    }

    /// Adds a source that may have sent something before it was known here, so that its bit was taken for nothing.
    pub(crate) fn add_late(&mut self, peer: Peer, inlet: Inlet) {
        self.add(peer, inlet);
        self.may_have |= Mail::bit(peer);
    }

    /// A batch from the peer to itself; given back when too many wait, as by a full ring.
    pub(crate) fn send_own(&mut self, batch: LetterBatch) -> Result<(), LetterBatch> {
        if self.own.len() == RING_CAPACITY {
            return Err(batch);
        }
        self.own.push_back(batch);
        Ok(())
    }

    #[inline]
    pub(crate) fn next(&mut self, mail: &Mail) -> Option<(Peer, LetterBatch)> {
        self.may_have |= mail.collect(self.category);
        if self.may_have == 0 && self.own.is_empty() {
            return None;
        }
        let found = self.next_in_turn();
        if found.is_none() {
            // All that were named are empty, and whoever sends from now on names itself again.
            self.may_have = 0;
        }
        found
    }

    fn next_in_turn(&mut self) -> Option<(Peer, LetterBatch)> {
        // Everybody once, and the one whose burst is over once more.
        for _ in 0..self.sources.len() + 2 {
            if self.burst_left > 0 {
                let found = match self.sources.get_mut(self.turn) {
                    Some(source) if source.bit & self.may_have == 0 => None,
                    Some(source) => source.inlet.ring.pop().map(|batch| (source.peer, batch)),
                    None => self.own.pop_front().map(|batch| (self.own_peer, batch)),
                };
                if found.is_some() {
                    self.burst_left -= 1;
                    return found;
                }
            }
            self.burst_left = RECEIVE_BURST_COUNT;
            self.turn = if self.turn >= self.sources.len() { 0 } else { self.turn + 1 };
        }
        None
    }

    /// Gives a buffer back to whom it came from.
    #[inline]
    pub(crate) fn give_back(&mut self, to: Peer, bytes: Vec<u8>) {
        let Some(bytes) = emptied(bytes) else { return };
        // Mostly it is the source that was last received from.
        let last = self.sources.get(self.turn).filter(|source| source.peer == to).map(|_| self.turn);
        match last.or_else(|| self.sources.iter().position(|source| source.peer == to)) {
            Some(at) => self.sources[at].inlet.give_back(bytes),
            None if to == self.own_peer && self.own_spares.len() < RETURN_CAPACITY => self.own_spares.push(bytes),
            None => {}
        }
    }

    /// A buffer for a batch to itself.
    pub(crate) fn own_buffer(&mut self) -> Vec<u8> {
        self.own_spares.pop().unwrap_or_default()
    }

    /// Whether something may be here that was collected from the mail and not yet received.
    #[inline]
    pub(crate) fn may_have(&self) -> bool {
        self.may_have != 0 || !self.own.is_empty()
    }

    /// Forgets the sources that are gone and drained, and names them; `true` if some are gone but not drained yet.
    pub(crate) fn sweep(&mut self, drained: &mut Vec<Peer>) -> bool {
        let finished = self.sources.extract_if(.., |source| source.inlet.ring.is_finished());
        drained.extend(finished.map(|source| source.peer));
        self.turn = self.turn.min(self.sources.len());
        self.sources.iter().any(|source| source.inlet.ring.is_producer_gone())
    }

    #[cfg(test)]
    pub(crate) fn source_count(&self) -> usize {
        self.sources.len()
    }
}
