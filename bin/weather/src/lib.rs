//! Simulated doors: the world a test engine lives in, drawn from one seed.
//!
//! Guarantee: one OS thread, no real clock, no real file, no address or hash order in any choice, so the same seed
//! and the same calls give the same run, and [`Trace`] proves it. What the doors promise in `tantu_base::door` they
//! keep, and everything they do not promise they vary: completion order, delays, what a power cut leaves behind.
//! Each fault class has a coverage mark ([`mark`]): a test asserts that the faults it relies on really happened.

pub mod chance;
pub mod disk;
pub mod fault;
mod file;
pub mod image;
pub mod jobs;
pub mod mark;
pub mod time;
pub mod trace;
pub mod wire;

pub use chance::SimEntropy;
pub use disk::SimDisk;
pub use fault::{DiskWeather, Fault, OpKind};
pub use file::CutBias;
pub use image::Image;
pub use jobs::SimJobs;
pub use mark::Marks;
pub use time::SimClock;
pub use trace::Trace;
pub use wire::{SimMesh, SimWire, WireWeather};

use std::cell::Cell;
use std::rc::Rc;

/// What all doors of one simulated world share. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Virtual time.
    pub clock: SimClock,
    /// The running hash of everything that happened.
    pub trace: Trace,
    /// Which faults happened how often.
    pub marks: Marks,
    chance: SimEntropy,
    forks: Rc<Cell<u64>>,
}

impl Weather {
    /// A world from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            clock: SimClock::default(),
            trace: Trace::default(),
            marks: Marks::default(),
            chance: SimEntropy::new(seed),
            forks: Rc::default(),
        }
    }

    /// The next source of randomness, one for each who asks: a part that draws more does not change what others get.
    pub fn entropy(&self) -> SimEntropy {
        self.forks.set(self.forks.get() + 1);
        self.chance.fork(self.forks.get())
    }
}
