//! The block cache of one core, shared by its trees.
//!
//! Second-chance eviction over an array of frames. A table remembers which frame each of its blocks was given, and the frame
//! whose block it is: a look at a cached block hashes nothing. A block that was fetched for a waiting reader is not evicted
//! before it was read once, so that a reader makes progress however small the cache is.

use crate::block::Block;
use std::cell::Cell;
use std::rc::Rc;

/// Which tree, which table, which block.
pub(crate) type CacheKey = (u32, u64, u32);

#[derive(Debug)]
struct Frame {
    key: CacheKey,
    block: Option<Rc<Block>>,
    used: Cell<bool>,
    awaited: Cell<bool>,
}

/// Blocks of tables in memory, at most so many bytes of them.
#[derive(Debug)]
pub struct BlockCache {
    size_max: usize,
    size: usize,
    frames: Vec<Frame>,
    free: Vec<u32>,
    hand: usize,
}

impl BlockCache {
    /// An empty cache that holds at most `size_max` bytes (and whatever waiting readers have pinned).
    pub fn new(size_max: usize) -> Self {
        Self { size_max, size: 0, frames: Vec::new(), free: Vec::new(), hand: 0 }
    }

    /// Bytes it may hold.
    pub fn size_max(&self) -> usize {
        self.size_max
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The block, if the frame it was given is still its own.
    #[inline]
    pub(crate) fn get(&self, key: CacheKey, frame: &Cell<u32>) -> Option<&Rc<Block>> {
        self.get_at(key, frame.get())
    }

    /// The same, by the frame's number.
    #[inline]
    pub(crate) fn get_at(&self, key: CacheKey, frame: u32) -> Option<&Rc<Block>> {
        let frame = self.frames.get(frame as usize).filter(|frame| frame.key == key)?;
        let block = frame.block.as_ref()?;
        frame.used.set(true);
        frame.awaited.set(false);
        Some(block)
    }

    pub(crate) fn insert(&mut self, key: CacheKey, frame: &Cell<u32>, block: Block) {
        let at = frame.get() as usize;
        if let Some(old) = self.frames.get_mut(at).filter(|frame| frame.key == key)
            && let Some(old) = old.block.take()
        {
            self.size -= old.size();
            self.free.push(at as u32);
        }
        self.size += block.size();
        self.evict();
        let at = self.free.pop().unwrap_or(self.frames.len() as u32);
        let new = Frame { key, block: Some(Rc::new(block)), used: Cell::new(true), awaited: Cell::new(true) };
        match self.frames.get_mut(at as usize) {
            Some(free) => *free = new,
            None => self.frames.push(new),
        }
        frame.set(at);
    }

    /// Frees frames that were not used since the hand passed them last, until there is room.
    fn evict(&mut self) {
        let mut looks = 2 * self.frames.len();
        while self.size > self.size_max && looks > 0 {
            looks -= 1;
            self.hand = (self.hand + 1) % self.frames.len();
            let frame = &mut self.frames[self.hand];
            if frame.block.is_none() || frame.awaited.get() || frame.used.take() {
                continue;
            }
            if let Some(block) = frame.block.take() {
                self.size -= block.size();
                self.free.push(self.hand as u32);
            }
        }
    }
}
