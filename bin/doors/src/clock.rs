//! The kernel's clock and a fast generator seeded from the kernel's entropy.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tantu_base::door::{Clock, Entropy, Nanos};

/// Monotonic time since it was made, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct KernelClock {
    start: Instant,
}

impl Default for KernelClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for KernelClock {
    fn now(&self) -> Nanos {
        // Starts at one second, so that "before" exists.
        Nanos(1_000_000_000 + self.start.elapsed().as_nanos() as u64)
    }

    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// Random numbers.
#[derive(Clone, Debug)]
pub struct KernelEntropy(fastrand::Rng);

impl Default for KernelEntropy {
    fn default() -> Self {
        let mut seed = [0u8; 8];
        // An empty pool blocks only in early boot; a failure leaves the library's own seed.
        let rng = match rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()) {
            Ok(8) => fastrand::Rng::with_seed(u64::from_le_bytes(seed)),
            _ => fastrand::Rng::new(),
        };
        Self(rng)
    }
}

impl Entropy for KernelEntropy {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}
