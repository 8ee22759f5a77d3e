//! How long a core's thread runs when others want its processor.
//!
//! A thread that wakes up takes the processor at once from one whose time slices are longer, and waits for the end of a
//! slice otherwise, which the kernel notices at its next tick, milliseconds later. What is wanted of a core takes microseconds,
//! and so does the work of its ring's own threads (flushes), which take the slice over from it. Slices change who is
//! first, not how much of a processor anybody gets.
#![allow(unsafe_code, reason = "sched_setattr has no safe wrapper; the block states what it reads")]

use std::time::Duration;

/// The shortest that Linux has.
const SLICE: Duration = Duration::from_micros(100);

/// Gives the calling thread, and the kernel's threads that work for it, short slices. Kernels before 6.12 have one length for
/// all and ignore it.
pub(crate) fn shorten() {
    // SAFETY: all zeros are a valid value.
    let mut attr: libc::sched_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<libc::sched_attr>() as u32;
    attr.sched_flags = libc::SCHED_FLAG_KEEP_POLICY as u64;
    attr.sched_nice = rustix::process::getpriority_process(None).unwrap_or(0);
    attr.sched_runtime = SLICE.as_nanos() as u64;
    // SAFETY: the kernel reads `size` bytes of it during the call.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if outcome != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "task threads keep the usual time slices");
    }
}
