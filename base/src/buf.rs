//! A byte buffer the disk can use directly: aligned, owned, moved into the request and back out with
//! the completion, so that memory the kernel writes to is never borrowed by anybody else.
#![allow(unsafe_code, reason = "aligned allocation; every block below states its invariant")]

use crate::limit::BLOCK_ALIGN;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// An owned buffer aligned to [`BLOCK_ALIGN`], whose capacity is a multiple of it.
pub struct Buf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: `Buf` owns its allocation alone, like `Vec<u8>`.
unsafe impl Send for Buf {}
// SAFETY: shared access only reads plain bytes.
unsafe impl Sync for Buf {}

impl Buf {
    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let capacity = len.max(1).next_multiple_of(BLOCK_ALIGN);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a non-zero size.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        Self { ptr, len, capacity }
    }

    /// An empty buffer that can hold `capacity` bytes before it grows.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buf = Self::zeroed(capacity);
        buf.len = 0;
        buf
    }

    /// Bytes it can hold without growing: a multiple of [`BLOCK_ALIGN`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends bytes, growing if it must.
    pub fn extend(&mut self, bytes: &[u8]) {
        let at = self.len;
        self.reserve(at + bytes.len());
        self.len += bytes.len();
        self[at..].copy_from_slice(bytes);
    }

    /// Makes room for `len` bytes in all.
    fn reserve(&mut self, len: usize) {
        if len > self.capacity {
            let mut grown = Buf::zeroed(len.max(self.capacity * 2));
            grown.len = self.len;
            grown.copy_from_slice(self);
            *self = grown;
        }
    }

    /// Changes the length; bytes that come into view are zero.
    pub fn resize(&mut self, len: usize) {
        self.reserve(len);
        let old = self.len;
        self.len = len;
        if len > old {
            self[old..].fill(0);
        }
    }

    /// Pads with zero bytes to a multiple of `align`.
    pub fn pad_to(&mut self, align: usize) {
        self.resize(self.len.next_multiple_of(align));
    }

    /// Empties it and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK_ALIGN).expect("invariant: capacity is far below isize::MAX")
    }
}

impl Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len <= capacity` bytes from `ptr` are allocated, initialised (zeroed) and owned.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) }
    }
}

impl Clone for Buf {
    fn clone(&self) -> Self {
        let mut copy = Buf::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity)
    }
}

impl From<&[u8]> for Buf {
    fn from(bytes: &[u8]) -> Self {
        let mut buf = Buf::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }
}

/// Large buffers that the owners of clones use in turn: memory that is given back to the kernel and taken again costs a
/// page fault per page. It keeps so many, of at most so many bytes.
#[derive(Clone, Debug)]
pub struct BufPool {
    bufs: Arc<Mutex<Vec<Buf>>>,
    count_max: usize,
    capacity_max: usize,
}

impl BufPool {
    /// An empty pool.
    pub fn new(count_max: usize, capacity_max: usize) -> Self {
        Self { bufs: Arc::default(), count_max, capacity_max }
    }

    /// An empty buffer, one that was given back if there is any.
    pub fn take(&self, capacity: usize) -> Buf {
        let kept = self.bufs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Buf::with_capacity(capacity))
    }

    /// Keeps a buffer for later, unless there are enough or it is too large to be kept.
    pub fn give_back(&self, mut buf: Buf) {
        let mut bufs = self.bufs.lock().unwrap_or_else(PoisonError::into_inner);
        if bufs.len() < self.count_max && buf.capacity() <= self.capacity_max {
            buf.clear();
            bufs.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_out_what_it_was_given_back_and_keeps_no_more_than_it_may() {
        let pool = BufPool::new(1, 2 * BLOCK_ALIGN);
        let (mut first, second) = (pool.take(BLOCK_ALIGN), pool.clone().take(BLOCK_ALIGN));
        first.extend(b"used");
        let at = first.as_ptr();
        pool.give_back(Buf::zeroed(3 * BLOCK_ALIGN));
        pool.give_back(first);
        pool.give_back(second);
        let again = pool.clone().take(BLOCK_ALIGN);
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        assert_ne!(pool.take(BLOCK_ALIGN).as_ptr(), at, "only one is kept");
    }

    #[test]
    fn a_buffer_stays_aligned_and_keeps_its_bytes_while_it_grows() {
        let mut buf = Buf::with_capacity(10);
        for n in 0..10_000u32 {
            buf.extend(&n.to_le_bytes());
        }
        assert_eq!(buf.as_ptr() as usize % BLOCK_ALIGN, 0);
        assert_eq!(buf.len(), 40_000);
        assert!(buf.chunks(4).zip(0u32..).all(|(c, n)| c == n.to_le_bytes()));
        buf.pad_to(BLOCK_ALIGN);
        assert_eq!(buf.len() % BLOCK_ALIGN, 0);
        buf.clear();
        buf.resize(8);
        assert_eq!(&buf[..], [0; 8], "bytes that come back into view are zero");
    }
}
