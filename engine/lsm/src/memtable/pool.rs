//! Numbered places for values of one type that never move: growth copies nothing, so no write is ever late
//! because a vector doubled. Chunks start small, so that an idle tree costs little.

use tantu_base::prefetch::prefetch;

/// Values in the first chunk; each further chunk doubles up to [`CHUNK_COUNT_MAX`].
const CHUNK_COUNT_FIRST: usize = 16;
/// Values in a full-grown chunk.
const CHUNK_COUNT_MAX: usize = 4096;

const _: () = assert!(CHUNK_COUNT_FIRST.is_power_of_two() && CHUNK_COUNT_MAX.is_power_of_two());

/// A growing array in chunks.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    chunks: Vec<Vec<T>>,
    count: u32,
    capacity: usize,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), count: 0, capacity: 0 }
    }

    /// Chunk and place in it of an index.
    #[inline]
    const fn place(index: u32) -> (usize, usize) {
        let shifted = index as usize + CHUNK_COUNT_FIRST;
        if shifted >= CHUNK_COUNT_MAX {
            let grown = (CHUNK_COUNT_MAX.ilog2() - CHUNK_COUNT_FIRST.ilog2()) as usize;
            return (grown - 1 + shifted / CHUNK_COUNT_MAX, shifted % CHUNK_COUNT_MAX);
        }
        let chunk = (shifted.ilog2() - CHUNK_COUNT_FIRST.ilog2()) as usize;
        (chunk, shifted - (CHUNK_COUNT_FIRST << chunk))
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> &T {
        let (chunk, place) = Self::place(index);
        &self.chunks[chunk][place]
    }

    /// Has a value fetched.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        prefetch(self.at(index));
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut T {
        let (chunk, place) = Self::place(index);
        &mut self.chunks[chunk][place]
    }

    pub(crate) fn push(&mut self, value: T) -> u32 {
        let index = self.count;
        let (chunk, _) = Self::place(index);
        if chunk == self.chunks.len() {
            let chunk: Vec<T> = Vec::with_capacity((CHUNK_COUNT_FIRST << chunk.min(16)).min(CHUNK_COUNT_MAX));
            self.capacity += chunk.capacity();
            self.chunks.push(chunk);
        }
        self.chunks[chunk].push(value);
        self.count += 1;
        index
    }

    /// Gives back the memory of one chunk; false if there is none. Nothing may be read any more.
    pub(crate) fn shed(&mut self) -> bool {
        self.chunks.pop().is_some()
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes it holds, whether used or not.
    pub(crate) fn memory_size(&self) -> usize {
        self.capacity * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_finds_its_own_value_across_chunk_borders() {
        let mut pool = Pool::new();
        for n in 0..20_000u32 {
            assert_eq!(pool.push(n), n);
        }
        for n in 0..20_000u32 {
            assert_eq!(*pool.at(n), n);
            *pool.at_mut(n) += 1;
        }
        assert!((0..20_000).all(|n| *pool.at(n) == n + 1));
        assert!(pool.memory_size() < 4 * (20_000 + 2 * CHUNK_COUNT_MAX), "no more than a chunk is spare");
    }
}
