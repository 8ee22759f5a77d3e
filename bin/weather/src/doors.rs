//! The doors of one simulated task thread, together.

use crate::{SimClock, SimDisk, SimEntropy, SimJobs, SimWire, Weather};
use std::ops::Range;
use tantu_base::door::{Doors, Nanos};

/// How long jobs take, in nanoseconds.
const JOB_NS: Range<u64> = 10_000..10_000_000;

/// See the module.
#[derive(Debug)]
pub struct SimDoors {
    disk: SimDisk,
    wire: SimWire,
    clock: SimClock,
    entropy: SimEntropy,
    jobs: SimJobs,
}

impl SimDoors {
    /// The doors of a thread with this disk and this end of the mesh, which takes so many jobs at a time.
    pub fn new(weather: &Weather, disk: SimDisk, wire: SimWire, job_count_max: usize) -> SimDoors {
        let (clock, entropy) = (weather.clock.clone(), weather.entropy());
        SimDoors { disk, wire, clock, entropy, jobs: SimJobs::new(weather, JOB_NS, job_count_max) }
    }

    /// As a thread takes them.
    pub fn open(&mut self) -> Doors<'_> {
        let Self { disk, wire, clock, entropy, jobs } = self;
        Doors { disk, wire, clock, entropy, jobs }
    }

    /// Whether something has arrived at one of them.
    pub fn has_arrivals(&self) -> bool {
        let now = self.clock.time();
        let due = |at: Option<Nanos>| at.is_some_and(|at| at <= now);
        self.disk.has_completions() || due(self.wire.next_due()) || due(self.jobs.next_due())
    }

    /// When the next thing arrives that is under way.
    pub fn next_arrival(&self) -> Option<Nanos> {
        [self.disk.next_due(), self.wire.next_due(), self.jobs.next_due()].into_iter().flatten().min()
    }
}
