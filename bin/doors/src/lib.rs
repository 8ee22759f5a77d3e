//! The real doors: a glommio loop per core, an io_uring disk, the kernel's clock and entropy, a helper thread for jobs.
//!
//! This is the one place where the engine meets the operating system. Each core has one long-lived loop; between
//! steps it sleeps in its disk ring, which also hears its bell (an eventfd) and holds its alarm clock (a timeout).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this crate implements the doors that everything else goes through"
)]

mod calls;
mod clock;
mod cores;
mod disk;
mod jobs;
mod lock;
mod preflight;
mod slice;

pub use calls::system_call_count;
pub use clock::{KernelClock, KernelEntropy};
pub use cores::{CoreLoop, Cores, CoresConfig, Pin, Step, spawn_cores};
pub use disk::{DiskStats, KernelDisk, make_dirs};
pub use jobs::ThreadJobs;
pub use lock::{DirLock, LockError};
pub use preflight::{StartError, preflight};
