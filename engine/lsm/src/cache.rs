//! The block cache of one core, shared by its trees.
//!
//! A table remembers which frame each of its blocks was given, and the frame whose block it is: a look at a cached block
//! hashes nothing. A block that was fetched for a waiting reader is not evicted before it was read once, so that a reader
//! makes progress however small the cache is.
//!
//! Eviction is S3-FIFO (Yang and others, FIFO Queues are All You Need for Cache Eviction, 2023). A new block is on *probation*
//! in a small queue; it becomes a *resident* if a point read comes back to it there, or if it is asked for again soon after it
//! left. Scans do not count as coming back. So whatever a scan passes, and whatever is read ahead of it, pushes out a tenth of
//! the cache at most.

use crate::block::Block;
use std::cell::Cell;
use std::collections::VecDeque;
use tantu_base::limit::BLOCK_ALIGN;

/// Which tree, which table, which block.
pub(crate) type CacheKey = (u32, u64, u32);

/// The probationers' part of a full cache.
const PROBATION_PARTS: usize = 10;
/// How often a block passes the end of the residents' queue without being read, at most.
const USES_MAX: i8 = 3;
/// Fetched for a reader that has not come yet.
const AWAITED: i8 = -1;
/// Read ahead of a reader that has not come yet, and may never.
const AHEAD: i8 = -2;

/// A line of the processor's cache: what a reader must know of a block it has just found.
#[derive(Debug)]
#[repr(align(64))]
struct Frame {
    key: CacheKey,
    block: Option<Block>,
    /// Point reads that came back to it, or [`AWAITED`], or [`AHEAD`].
    uses: Cell<i8>,
}

const _: () = assert!(size_of::<Frame>() == 64);

/// Which blocks left probation lately: a mark each, at a place that its key gives; a later one overwrites it.
#[derive(Debug)]
struct Departed(Vec<u32>);

impl Departed {
    fn place(&self, key: CacheKey) -> Option<(usize, u32)> {
        let mixed = (u64::from(key.0) << 32 | u64::from(key.2)) ^ key.1.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let at = ((hash >> 32) * self.0.len() as u64) >> 32;
        (!self.0.is_empty()).then_some((at as usize, hash as u32 | 1))
    }

    fn note(&mut self, key: CacheKey) {
        if let Some((at, mark)) = self.place(key) {
            self.0[at] = mark;
        }
    }

    /// Whether it left lately; it is forgotten.
    fn take(&mut self, key: CacheKey) -> bool {
        self.place(key).is_some_and(|(at, mark)| self.0[at] == mark && std::mem::take(&mut self.0[at]) == mark)
    }
}

/// Blocks of tables in memory, at most so many bytes of them.
#[derive(Debug)]
pub struct BlockCache {
    size_max: usize,
    size: usize,
    probation_size: usize,
    frames: Vec<Frame>,
    free: Vec<u32>,
    /// Frames in the order in which they are looked at.
    probation: VecDeque<u32>,
    residents: VecDeque<u32>,
    departed: Departed,
}

impl BlockCache {
    /// An empty cache that holds at most `size_max` bytes (and whatever waiting readers have pinned).
    pub fn new(size_max: usize) -> Self {
        Self {
            size_max,
            size: 0,
            probation_size: 0,
            frames: Vec::new(),
            free: Vec::new(),
            probation: VecDeque::new(),
            residents: VecDeque::new(),
            departed: Departed(vec![0; size_max / BLOCK_ALIGN]),
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

    #[inline]
    fn frame(&self, key: CacheKey, frame: &Cell<u32>) -> Option<&Frame> {
        self.frames.get(frame.get() as usize).filter(|frame| frame.key == key)
    }

    /// The block for a point read, if the frame it was given is still its own.
    #[inline]
    pub(crate) fn get(&self, key: CacheKey, frame: &Cell<u32>) -> Option<&Block> {
        self.get_at(key, frame.get())
    }

    /// The same, by the frame's number.
    #[inline]
    pub(crate) fn get_at(&self, key: CacheKey, frame: u32) -> Option<&Block> {
        let frame = self.frames.get(frame as usize).filter(|frame| frame.key == key)?;
        let block = frame.block.as_ref()?;
        frame.uses.set((frame.uses.get().max(AWAITED) + 1).min(USES_MAX));
        Some(block)
    }

    /// The block for a scan, which goes on to others.
    #[inline]
    pub(crate) fn pass(&self, key: CacheKey, frame: &Cell<u32>) -> Option<&Block> {
        let frame = self.frame(key, frame)?;
        let block = frame.block.as_ref()?;
        frame.uses.set(frame.uses.get().max(0));
        Some(block)
    }

    /// The block, for somebody who does not say yet whether it will be read: a reader that waits for it still waits.
    #[inline]
    pub(crate) fn look(&self, key: CacheKey, frame: &Cell<u32>) -> Option<&Block> {
        self.frame(key, frame)?.block.as_ref()
    }

    /// Takes a block that was read. `awaited`: a reader waits for it; else it was read ahead of one.
    pub(crate) fn insert(&mut self, key: CacheKey, frame: &Cell<u32>, block: Block, awaited: bool) {
        if self.look(key, frame).is_some() {
            return;
        }
        let size = block.size();
        self.size += size;
        self.evict();
        let uses = Cell::new(if awaited { AWAITED } else { AHEAD });
        let new = Frame { key, block: Some(block), uses };
        let at = self.free.pop().unwrap_or(self.frames.len() as u32);
        match self.frames.get_mut(at as usize) {
            Some(free) => *free = new,
            None => self.frames.push(new),
        }
        frame.set(at);
        if self.departed.take(key) {
            self.residents.push_back(at);
        } else {
            self.probation_size += size;
            self.probation.push_back(at);
        }
    }

    /// Frees frames until there is room, or all blocks are awaited.
    fn evict(&mut self) {
        let mut looks = (usize::from(USES_MAX.unsigned_abs()) + 2) * self.frames.len();
        while self.size > self.size_max && looks > 0 {
            looks -= 1;
            if self.probation_size > self.size_max / PROBATION_PARTS || self.residents.is_empty() {
                self.look_at_probationer();
            } else {
                self.look_at_resident();
            }
        }
    }

    fn look_at_probationer(&mut self) {
        let Some(at) = self.probation.pop_front() else { return self.look_at_resident() };
        let frame = &self.frames[at as usize];
        let size = frame.block.as_ref().map_or(0, |block| block.size());
        match frame.uses.get() {
            AWAITED => self.probation.push_back(at),
            uses @ (0 | AHEAD) => {
                self.probation_size -= size;
                // That nobody came while it was there says nothing for it.
                if uses != AHEAD {
                    self.departed.note(frame.key);
                }
                self.free(at);
            }
            _ => {
                frame.uses.set(0);
                self.probation_size -= size;
                self.residents.push_back(at);
            }
        }
    }

    fn look_at_resident(&mut self) {
        let Some(at) = self.residents.pop_front() else { return };
        let uses = &self.frames[at as usize].uses;
        match uses.get() {
            0 | AHEAD => return self.free(at),
            AWAITED => {}
            count => uses.set(count - 1),
        }
        self.residents.push_back(at);
    }

    fn free(&mut self, at: u32) {
        if let Some(block) = self.frames[at as usize].block.take() {
            self.size -= block.size();
        }
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockBuilder;
    use crate::option::Compression;
    use crate::table::{Filter, place};
    use tantu_base::buf::Buf;
    use tantu_base::id::Version;

    /// The blocks of a table that does not exist.
    struct Blocks {
        block: Block,
        frames: Vec<Cell<u32>>,
    }

    impl Blocks {
        fn new(count: usize) -> Self {
            let mut builder = BlockBuilder::default();
            assert!(builder.add(b"k", Filter::hash(b"k"), Version(1), None, BLOCK_ALIGN));
            let mut out = Buf::with_capacity(0);
            builder.finish(&place(1, 1, 0), Compression::None, &mut out);
            let block = Block::check(&out, &place(1, 1, 0)).expect("whole");
            Self { block, frames: vec![Cell::new(u32::MAX); count] }
        }

        /// Reads a block as a point read or a scan does; whether it was there.
        fn read(&self, cache: &mut BlockCache, at: usize, scans: bool) -> bool {
            let key = (1, 1, at as u32);
            let look = |cache: &BlockCache| match scans {
                true => cache.pass(key, &self.frames[at]).is_some(),
                false => cache.get(key, &self.frames[at]).is_some(),
            };
            let hit = look(cache);
            if !hit {
                cache.insert(key, &self.frames[at], self.block.clone(), true);
                assert!(look(cache), "what was fetched for a reader waits for it");
            }
            hit
        }

        fn held(&self, cache: &BlockCache, blocks: std::ops::Range<usize>) -> usize {
            blocks.filter(|at| cache.look((1, 1, *at as u32), &self.frames[*at]).is_some()).count()
        }
    }

    #[test]
    fn a_scan_of_ten_times_the_cache_leaves_the_hot_blocks() {
        let (blocks, mut cache) = (Blocks::new(2000), BlockCache::new(100 * BLOCK_ALIGN));
        for _ in 0..3 {
            (0..80).for_each(|at| {
                blocks.read(&mut cache, at, false);
            });
        }
        for at in 1000..2000 {
            blocks.read(&mut cache, at, true);
            assert!(cache.size() <= cache.size_max());
        }
        assert!(blocks.held(&cache, 0..80) >= 76, "{} of 80", blocks.held(&cache, 0..80));
    }

    #[test]
    fn a_range_that_is_scanned_again_and_again_comes_to_stay() {
        let (blocks, mut cache) = (Blocks::new(2000), BlockCache::new(100 * BLOCK_ALIGN));
        (0..2).for_each(|_| {
            (0..300).for_each(|at| {
                blocks.read(&mut cache, at, false);
            });
        });
        for _ in 0..8 {
            (1000..1050).for_each(|at| {
                blocks.read(&mut cache, at, true);
            });
        }
        assert!(blocks.held(&cache, 1000..1050) >= 45, "{} of 50", blocks.held(&cache, 1000..1050));
    }

    #[test]
    fn blocks_that_readers_wait_for_stay_and_those_read_ahead_do_not() {
        let (blocks, mut cache) = (Blocks::new(100), BlockCache::new(4 * BLOCK_ALIGN));
        (0..20).for_each(|at| cache.insert((1, 1, at), &blocks.frames[at as usize], blocks.block.clone(), at < 10));
        assert_eq!(blocks.held(&cache, 0..10), 10);
        assert!(blocks.held(&cache, 10..20) <= 1, "only the newest");
        (0..10).for_each(|at| assert!(blocks.read(&mut cache, at, false)));
        blocks.read(&mut cache, 50, false);
        assert!(cache.size() <= cache.size_max(), "nobody waits any more");
    }
}
