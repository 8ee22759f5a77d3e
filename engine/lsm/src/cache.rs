//! The block cache of one core, shared by its trees.

/// Blocks of tables in memory, at most so many bytes of them.
#[derive(Debug)]
pub struct BlockCache {
    size_max: usize,
}

impl BlockCache {
    /// An empty cache that holds at most `size_max` bytes (and whatever waiting readers have pinned).
    pub fn new(size_max: usize) -> Self {
        Self { size_max }
    }

    /// Bytes it may hold.
    pub fn size_max(&self) -> usize {
        self.size_max
    }
}
