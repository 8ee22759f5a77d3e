//! What one peer receives in one category: a ring from each source, emptied in fair turns.
//!
//! A turn takes at most [`RECEIVE_BURST_COUNT`] batches, so that a busy source cannot starve the others and a
//! lone one is not paid for by looking at all the empty rings after each batch.

use crate::mesh::{RECEIVE_BURST_COUNT, RING_CAPACITY};
use crate::ring::Consumer;
use std::collections::VecDeque;
use tantu_base::door::{LetterBatch, Peer};

#[derive(Debug)]
struct Source {
    peer: Peer,
    ring: Consumer<LetterBatch>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    own_peer: Peer,
    sources: Vec<Source>,
    /// What the peer sent to itself; in turn it is the source after the last.
    own: VecDeque<LetterBatch>,
    /// Whose turn it is, `0..=sources.len()`.
    turn: usize,
    burst_left: usize,
}

impl Lane {
    pub(crate) fn new(own_peer: Peer) -> Self {
        Self { own_peer, sources: Vec::new(), own: VecDeque::new(), turn: 0, burst_left: RECEIVE_BURST_COUNT }
    }

    pub(crate) fn add(&mut self, peer: Peer, ring: Consumer<LetterBatch>) {
        self.sources.push(Source { peer, ring });
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
    pub(crate) fn next(&mut self) -> Option<(Peer, LetterBatch)> {
        // Everybody once, and the one whose burst is over once more.
        for _ in 0..self.sources.len() + 2 {
            if self.burst_left > 0 {
                let (peer, batch) = match self.sources.get_mut(self.turn) {
                    Some(source) => (source.peer, source.ring.pop()),
                    None => (self.own_peer, self.own.pop_front()),
                };
                if let Some(batch) = batch {
                    self.burst_left -= 1;
                    return Some((peer, batch));
                }
            }
            self.burst_left = RECEIVE_BURST_COUNT;
            self.turn = if self.turn >= self.sources.len() { 0 } else { self.turn + 1 };
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.sources.iter().all(|source| source.ring.is_empty())
    }

    /// Forgets the sources that are gone and drained; `true` if some are gone but not drained yet.
    pub(crate) fn sweep(&mut self) -> bool {
        self.sources.retain(|source| !source.ring.is_finished());
        self.turn = self.turn.min(self.sources.len());
        self.sources.iter().any(|source| source.ring.is_producer_gone())
    }

    #[cfg(test)]
    pub(crate) fn source_count(&self) -> usize {
        self.sources.len()
    }
}
