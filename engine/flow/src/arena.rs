//! The arena of a run: memory that does not move until the run goes back behind it.
//!
//! Values made during an event (strings, records, iterators) are put here one after the other. Emits run depth first, so the
//! memory is given back last in, first out: a [`Mark`] is taken before an emit's continuation and [`Arena::reset`] returns to it,
//! dropping in reverse order what needs dropping. Chunks are kept for the next event, so a warm run allocates nothing.
#![allow(unsafe_code, reason = "a bump allocator with a drop list; every block below states its invariant")]

use crate::slot::Slot;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Size of the first chunk, in bytes.
const CHUNK_SIZE_MIN: usize = 16 << 10;
/// Chunks double up to this size, in bytes; a larger value gets a chunk of its own size.
const CHUNK_SIZE_MAX: usize = 1 << 20;
/// Memory kept between events, in bytes; what is above it is given back.
const KEPT_SIZE_MAX: usize = 4 << 20;
/// Every chunk starts at a multiple of this, in bytes.
const CHUNK_ALIGN: usize = 16;

const _: () = assert!(CHUNK_SIZE_MIN <= CHUNK_SIZE_MAX && CHUNK_SIZE_MAX <= KEPT_SIZE_MAX);

struct Chunk {
    start: NonNull<u8>,
    size: usize,
}

impl Chunk {
    fn new(size: usize) -> Chunk {
        let layout = Chunk::layout(size);
        // SAFETY: the size is at least CHUNK_SIZE_MIN, so not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Chunk { start, size }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, CHUNK_ALIGN).expect("invariant: a chunk is far below isize::MAX")
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout; nobody reads it after the arena.
        unsafe { dealloc(self.start.as_ptr(), Chunk::layout(self.size)) }
    }
}

struct Doomed {
    value: *mut u8,
    drop: unsafe fn(*mut u8),
}

/// A point to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    chunk: u32,
    drops: u32,
    used: usize,
}

impl Mark {
    /// Before everything.
    pub(crate) const START: Mark = Mark { chunk: 0, drops: 0, used: 0 };
}

/// Memory of one run. See the module's sign.
pub struct Arena {
    chunks: Vec<Chunk>,
    /// Which chunk is being filled (meaningless while there is none), and how far.
    chunk: usize,
    used: usize,
    /// Bytes of all chunks.
    size: usize,
    doomed: Vec<Doomed>,
}

// SAFETY: the arena alone owns its chunks and the values in them, and `put` takes only values that are `Send`.
unsafe impl Send for Arena {}

impl Arena {
    pub(crate) fn new() -> Arena {
        Arena { chunks: Vec::new(), chunk: 0, used: 0, size: 0, doomed: Vec::new() }
    }

    /// Uninitialised memory that stays in place until the arena is reset to an earlier mark.
    #[inline]
    fn grab(&mut self, layout: Layout) -> NonNull<u8> {
        if let Some(place) = self.grab_here(layout) {
            return place;
        }
        self.grab_further(layout)
    }

    /// The same in the chunk that is being filled, if there is room.
    #[inline]
    fn grab_here(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let chunk = self.chunks.get(self.chunk)?;
        let base = chunk.start.as_ptr() as usize;
        // The alignment of a layout is a power of two.
        let at = ((base + self.used + layout.align() - 1) & !(layout.align() - 1)) - base;
        if at + layout.size() > chunk.size {
            return None;
        }
        self.used = at + layout.size();
        // SAFETY: `at + size <= chunk.size`, so the result is inside (or just past, for size 0) the chunk.
        Some(unsafe { chunk.start.add(at) })
    }

    #[cold]
    fn grab_further(&mut self, layout: Layout) -> NonNull<u8> {
        loop {
            if self.chunk < self.chunks.len() {
                self.chunk += 1;
                self.used = 0;
            }
            if self.chunk == self.chunks.len() {
                let doubled = self.chunks.last().map_or(CHUNK_SIZE_MIN, |last| (last.size * 2).min(CHUNK_SIZE_MAX));
                let chunk = Chunk::new(doubled.max(layout.size() + layout.align()));
                self.size += chunk.size;
                self.chunks.push(chunk);
            }
            if let Some(place) = self.grab_here(layout) {
                return place;
            }
        }
    }

    /// Copies bytes in. The slot reads as bytes, and as `str` if that is what they are.
    #[inline]
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Slot {
        let place = self.grab(Layout::for_value(bytes)).as_ptr();
        // SAFETY: `place` has room for them and is fresh, so the two do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            Slot::bytes(std::slice::from_raw_parts(place, bytes.len()))
        }
    }

    /// Moves a value in; it is dropped when the arena is reset behind it.
    pub(crate) fn put<T: Send + 'static>(&mut self, value: T) -> NonNull<T> {
        let place = self.grab(Layout::new::<T>()).cast::<T>();
        // SAFETY: fresh memory with the layout of `T`.
        unsafe { place.write(value) };
        if std::mem::needs_drop::<T>() {
            self.doomed.push(Doomed { value: place.as_ptr().cast(), drop: drop_in_place::<T> });
        }
        place
    }

    /// Moves a value in, as a slot that points to it.
    pub(crate) fn keep<T: Send + 'static>(&mut self, value: T) -> Slot {
        let place = self.put(value);
        // SAFETY: just written; it stays in place until the arena is reset behind it.
        Slot::pointer(unsafe { place.as_ref() })
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { chunk: self.chunk as u32, drops: self.doomed.len() as u32, used: self.used }
    }

    /// Bytes of memory it holds.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of chunks in use behind the mark, none while the one of the mark is enough.
    #[inline]
    pub(crate) fn grown_since(&self, mark: Mark) -> usize {
        if self.chunk == mark.chunk as usize {
            return 0;
        }
        let first = mark.chunk as usize + 1;
        self.chunks.get(first..self.chunk + 1).map_or(0, |chunks| chunks.iter().map(|chunk| chunk.size).sum())
    }

    /// Gives back all that came after the mark. Nothing there may be read again.
    #[inline]
    pub(crate) fn reset(&mut self, mark: Mark) {
        while self.doomed.len() > mark.drops as usize {
            let Some(last) = self.doomed.pop() else { break };
            // SAFETY: written in `put` with this type and taken off the list before, so dropped once even if it panics.
            unsafe { (last.drop)(last.value) };
        }
        self.chunk = mark.chunk as usize;
        self.used = mark.used;
    }

    /// Gives back everything, and memory beyond what is worth keeping.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.reset(Mark::START);
        if self.size > KEPT_SIZE_MAX {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        let mut kept = 0;
        self.chunks.retain(|chunk| {
            kept += chunk.size;
            kept <= KEPT_SIZE_MAX
        });
        self.size = self.chunks.iter().map(|chunk| chunk.size).sum();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.reset(Mark::START);
    }
}

unsafe fn drop_in_place<T>(value: *mut u8) {
    // SAFETY: the caller hands over a valid `T` that nobody uses again.
    unsafe { value.cast::<T>().drop_in_place() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::Mutex;

    struct Note(Arc<Mutex<Vec<u32>>>, u32);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }

    #[test]
    fn going_back_to_a_mark_drops_in_reverse_what_came_after_it_and_keeps_the_rest() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut arena = Arena::new();
        arena.put(Note(log.clone(), 1));
        let kept = arena.copy(b"kept");
        let mark = arena.mark();
        for n in 2..5 {
            arena.put(Note(log.clone(), n));
            arena.copy(&vec![7; 10_000]);
        }
        arena.reset(mark);
        assert_eq!(*log.lock().unwrap(), [4, 3, 2]);
        // SAFETY: before the mark.
        assert_eq!(unsafe { kept.as_bytes() }, b"kept");
        drop(arena);
        assert_eq!(*log.lock().unwrap(), [4, 3, 2, 1]);
    }

    #[test]
    fn values_of_every_alignment_and_size_keep_their_content() {
        #[repr(align(64))]
        #[derive(Clone, Copy)]
        struct Wide(u8);
        let mut arena = Arena::new();
        let mut seen = Vec::new();
        for n in 0..200u64 {
            let byte = arena.put(n as u8);
            let wide = arena.put(Wide(n as u8));
            let long = arena.copy(&vec![n as u8; (n * n) as usize]);
            assert_eq!(wide.as_ptr() as usize % 64, 0);
            seen.push((byte, wide, long, n as u8));
        }
        for (byte, wide, long, n) in seen {
            // SAFETY: the arena still holds them.
            let (byte, wide, long) = unsafe { (*byte.as_ptr(), *wide.as_ptr(), long.as_bytes()) };
            assert_eq!((byte, wide.0), (n, n));
            assert!(long.iter().all(|b| *b == n));
        }
    }

    #[test]
    fn a_warm_arena_uses_its_chunks_again() {
        let mut arena = Arena::new();
        for _ in 0..100 {
            for _ in 0..20 {
                arena.copy(&[1; 5_000]);
            }
            arena.clear();
        }
        assert!(arena.chunks.len() <= 4, "{} chunks", arena.chunks.len());
    }
}
