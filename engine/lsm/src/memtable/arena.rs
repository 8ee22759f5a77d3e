//! Bytes of keys and values, in chunks that never move. Keys stay as long as the memtable; a value's place
//! is taken back when the value is overwritten and nobody can read it any more, and given to the next value
//! of the same size class, so that a hot key does not grow the memtable.

/// The first chunk, in bytes; each further chunk doubles up to [`CHUNK_SIZE_MAX`].
const CHUNK_SIZE_FIRST: usize = 1 << 10;
/// A full-grown chunk, in bytes.
const CHUNK_SIZE_MAX: usize = 256 << 10;
/// Longer pieces get a chunk of their own, in bytes.
const SHARED_SIZE_MAX: usize = 32 << 10;
/// Size classes are this many bytes apart up to [`FINE_SIZE_MAX`], then four per doubling.
const FINE_STEP: usize = 8;
const FINE_SIZE_MAX: usize = 64;

const _: () = assert!(SHARED_SIZE_MAX * 4 <= CHUNK_SIZE_MAX, "at most a quarter of a chunk is left unused");
const _: () = assert!(FINE_SIZE_MAX.is_power_of_two() && FINE_SIZE_MAX <= SHARED_SIZE_MAX);

/// Where a piece starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Address {
    chunk: u32,
    offset: u32,
}

impl Address {
    /// Its bytes, which mean nothing to anybody else.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.chunk) << u32::BITS | u64::from(self.offset)).to_le_bytes()
    }

    /// The address with these bytes.
    #[inline]
    pub(crate) fn of_bytes(bytes: [u8; 8]) -> Self {
        let bits = u64::from_le_bytes(bytes);
        Address { chunk: (bits >> u32::BITS) as u32, offset: bits as u32 }
    }
}

/// The chunks and the free places in them.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Box<[u8]>>,
    /// Chunk in which small pieces are placed, and bytes used in it.
    open: Option<(u32, usize)>,
    /// Free places by size class.
    free: Vec<Vec<Address>>,
    /// Chunk numbers whose own piece was taken back.
    free_chunks: Vec<u32>,
    chunk_size_sum: usize,
    /// Free places the lists have room for.
    free_capacity: usize,
}

/// Class of a length, and the bytes a place of that class has.
fn class(len: usize) -> (usize, usize) {
    if len <= FINE_SIZE_MAX {
        let steps = len.div_ceil(FINE_STEP);
        return (steps, steps * FINE_STEP);
    }
    let doubling = (len - 1).ilog2();
    let step = 1usize << (doubling - 2);
    let quarter = len.div_ceil(step) - 4;
    let coarse = (doubling - FINE_SIZE_MAX.ilog2()) as usize * 4 + quarter;
    (FINE_SIZE_MAX / FINE_STEP + coarse, (4 + quarter) * step)
}

impl Arena {
    #[inline]
    pub(crate) fn bytes(&self, at: Address, len: usize) -> &[u8] {
        if len == 0 {
            return &[];
        }
        &self.chunks[at.chunk as usize][at.offset as usize..][..len]
    }

    /// A place for good, exactly as long as the bytes.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Address {
        self.place(bytes, bytes.len())
    }

    /// A place that can be taken back with [`Arena::release`].
    pub(crate) fn store_value(&mut self, bytes: &[u8]) -> Address {
        if bytes.len() > SHARED_SIZE_MAX {
            return self.own_chunk(bytes);
        }
        let (class, size) = class(bytes.len());
        match self.free.get_mut(class).and_then(Vec::pop) {
            Some(at) => {
                self.chunks[at.chunk as usize][at.offset as usize..][..bytes.len()].copy_from_slice(bytes);
                at
            }
            None => self.place(bytes, size),
        }
    }

    /// Writes a value over another one where it fits the same place, or moves it.
    pub(crate) fn replace_value(&mut self, at: Address, len: usize, bytes: &[u8]) -> Address {
        let same_place = len > 0
            && (bytes.len() == len
                || (bytes.len() <= SHARED_SIZE_MAX && len <= SHARED_SIZE_MAX && class(len).0 == class(bytes.len()).0));
        if same_place {
            self.chunks[at.chunk as usize][at.offset as usize..][..bytes.len()].copy_from_slice(bytes);
            return at;
        }
        self.release(at, len);
        self.store_value(bytes)
    }

    /// Takes the place of a value back.
    pub(crate) fn release(&mut self, at: Address, len: usize) {
        if len == 0 {
            return;
        }
        if len > SHARED_SIZE_MAX {
            self.chunk_size_sum -= len;
            self.chunks[at.chunk as usize] = Box::default();
            self.free_chunks.push(at.chunk);
            return;
        }
        let (class, _) = class(len);
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        let places = &mut self.free[class];
        let before = places.capacity();
        places.push(at);
        self.free_capacity += places.capacity() - before;
    }

    fn place(&mut self, bytes: &[u8], size: usize) -> Address {
        if bytes.is_empty() {
            return Address::default();
        }
        if size > SHARED_SIZE_MAX.next_power_of_two() {
            return self.own_chunk(bytes);
        }
        let (chunk, used) = match self.open {
            Some((chunk, used)) if used + size <= self.chunks[chunk as usize].len() => (chunk, used),
            _ => {
                let grown = self.open.map_or(CHUNK_SIZE_FIRST, |(chunk, _)| self.chunks[chunk as usize].len() * 2);
                let chunk_size = grown.max(size.next_power_of_two()).min(CHUNK_SIZE_MAX);
                (self.add_chunk(vec![0; chunk_size].into_boxed_slice()), 0)
            }
        };
        self.open = Some((chunk, used + size));
        self.chunks[chunk as usize][used..][..bytes.len()].copy_from_slice(bytes);
        Address { chunk, offset: used as u32 }
    }

    fn own_chunk(&mut self, bytes: &[u8]) -> Address {
        Address { chunk: self.add_chunk(bytes.into()), offset: 0 }
    }

    fn add_chunk(&mut self, chunk: Box<[u8]>) -> u32 {
        self.chunk_size_sum += chunk.len();
        if let Some(number) = self.free_chunks.pop() {
            self.chunks[number as usize] = chunk;
            return number;
        }
        self.chunks.push(chunk);
        (self.chunks.len() - 1) as u32
    }

    /// Gives back the memory of one chunk; false if there is none. Nothing may be read any more.
    pub(crate) fn shed(&mut self) -> bool {
        self.chunks.pop().is_some()
    }

    /// Bytes it holds, whether used or not.
    pub(crate) fn memory_size(&self) -> usize {
        self.chunk_size_sum
            + self.chunks.capacity() * size_of::<Box<[u8]>>()
            + self.free.capacity() * size_of::<Vec<Address>>()
            + self.free_chunks.capacity() * 4
            + self.free_capacity * size_of::<Address>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_fits_its_class_and_wastes_at_most_a_quarter() {
        let mut last = (0, 0);
        for len in 0..=SHARED_SIZE_MAX {
            let (class, size) = class(len);
            assert!(size >= len, "{len}");
            assert!(size <= len.div_ceil(FINE_STEP) * FINE_STEP || size - len <= len / 4, "{len} in {size}");
            assert!(
                (class, size) == last || (class == last.0 + 1 && size > last.1),
                "classes rise one by one at {len}"
            );
            last = (class, size);
        }
    }

    #[test]
    fn a_value_that_changes_its_length_for_ever_needs_bounded_memory() {
        let mut arena = Arena::default();
        let mut len = 5usize;
        let mut at = arena.store_value(&vec![7; len]);
        for n in 0..100_000usize {
            let next = (n * 7919) % 300;
            at = arena.replace_value(at, len, &vec![n as u8; next]);
            len = next;
            assert!(arena.bytes(at, len).iter().all(|byte| *byte == n as u8));
        }
        assert!(arena.memory_size() < 64 << 10, "{}", arena.memory_size());
    }

    #[test]
    fn a_large_value_gives_its_chunk_back() {
        let mut arena = Arena::default();
        let large = vec![3u8; 5 << 20];
        let mut at = arena.store_value(&large);
        for _ in 0..10 {
            at = arena.replace_value(at, large.len(), &large);
            assert_eq!(arena.bytes(at, large.len()), large);
        }
        assert!(arena.memory_size() < 6 << 20);
        arena.release(at, large.len());
        assert!(arena.memory_size() < 1 << 20);
    }
}
