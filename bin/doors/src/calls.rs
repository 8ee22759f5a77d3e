//! How often the doors of this process ask the kernel.
//!
//! Counted are the two calls a core lives on: entering its disk ring, which submits, reaps and sleeps, and ringing the
//! eventfd of a core that sleeps. One relaxed addition is nothing beside either. Calls that happen once per file (making
//! a directory, looking at the room left) and those that put a client's own thread to sleep are not counted.

use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn count_one() {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// System calls of all cores' doors since the process began, those that rang a core awake among them.
pub fn system_call_count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}
