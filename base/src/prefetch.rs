//! A hint to the processor that memory will be read soon: it goes on meanwhile, where a read would wait.
#![allow(unsafe_code, reason = "the instruction is only offered as an unsafe function")]

/// Has the line of a place fetched.
#[inline(always)]
pub fn prefetch<T: ?Sized>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it changes nothing that a program sees, and a reference points to memory that is there.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Bytes of a line.
pub const LINE_SIZE: usize = 64;

/// Has the first so many lines of some bytes fetched.
#[inline(always)]
pub fn prefetch_lines(bytes: &[u8], count: usize) {
    bytes.iter().step_by(LINE_SIZE).take(count).for_each(prefetch);
}
