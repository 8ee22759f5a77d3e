//! What the simulator asks of a cluster: open, step a thread, come to rest, close.

use crate::swarm::Swarm;
use tantu_base::door::Nanos;
use tantu_weather::{SimDisk, SimMesh, Weather};

/// The machine a cluster runs on, for one life of its process.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Clock, trace and marks.
    pub world: &'a Weather,
    /// The disk, with what earlier lives left on it.
    pub disk: &'a SimDisk,
    /// The rings of this process.
    pub mesh: &'a SimMesh,
    /// How the cluster is laid out.
    pub swarm: &'a Swarm,
}

/// What a step left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Step again at once.
    Busy,
    /// Nothing until something arrives, or until this time.
    Idle(Option<Nanos>),
}

/// A cluster of task threads in one process.
pub trait Cluster: Sized {
    /// Opens what is on the disk. Blocking.
    ///
    /// # Errors
    /// Why it cannot start: fine while the disk fails, a finding otherwise.
    fn open(machine: &Machine<'_>) -> Result<Self, String>;

    /// One step of one task thread.
    ///
    /// # Errors
    /// Why the process has to stop.
    fn step(&mut self, thread: usize) -> Result<Rest, String>;

    /// Whether something has arrived for a thread.
    fn has_arrivals(&self, thread: usize) -> bool;

    /// When the next thing arrives for any thread.
    fn next_arrival(&self) -> Option<Nanos>;

    /// Whether everything acknowledged was processed and everything is durable.
    fn is_quiet(&self) -> bool;

    /// Ends in order. Blocking.
    ///
    /// # Errors
    /// Why it could not.
    fn close(self) -> Result<(), String>;
}
