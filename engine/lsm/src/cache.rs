//! The block cache of one core, shared by its trees.
//!
//! Second-chance eviction. A block that was fetched for a waiting reader is not evicted before it was read
//! once, so that a reader makes progress however small the cache is.

use crate::block::Block;
use hashbrown::HashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Debug)]
struct Slot {
    block: Rc<Block>,
    used: Cell<bool>,
    awaited: Cell<bool>,
}

/// Which tree, which table, which block.
pub(crate) type CacheKey = (u32, u64, u32);

/// Blocks of tables in memory, at most so many bytes of them.
#[derive(Debug)]
pub struct BlockCache {
    size_max: usize,
    size: usize,
    slots: HashMap<CacheKey, Slot, foldhash::fast::FixedState>,
    hand: VecDeque<CacheKey>,
}

impl BlockCache {
    /// An empty cache that holds at most `size_max` bytes (and whatever waiting readers have pinned).
    pub fn new(size_max: usize) -> Self {
        Self {
            size_max,
            size: 0,
            slots: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            hand: VecDeque::new(),
        }
    }

    /// Bytes it may hold.
    pub fn size_max(&self) -> usize {
        self.size_max
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn get(&self, key: CacheKey) -> Option<Rc<Block>> {
        let slot = self.slots.get(&key)?;
        slot.used.set(true);
        slot.awaited.set(false);
        Some(Rc::clone(&slot.block))
    }

    pub(crate) fn insert(&mut self, key: CacheKey, block: Block) {
        self.size += block.size();
        let slot = Slot { block: Rc::new(block), used: Cell::new(true), awaited: Cell::new(true) };
        match self.slots.insert(key, slot) {
            Some(old) => self.size -= old.block.size(),
            None => self.hand.push_back(key),
        }
        let mut looks = 2 * self.hand.len();
        while self.size > self.size_max && looks > 0 {
            looks -= 1;
            let Some(candidate) = self.hand.pop_front() else { break };
            let Some(slot) = self.slots.get(&candidate) else { continue };
            if slot.awaited.get() || slot.used.take() {
                self.hand.push_back(candidate);
            } else if let Some(slot) = self.slots.remove(&candidate) {
                self.size -= slot.block.size();
            }
        }
    }
}
