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

/// Steps a cluster of one thread until it and the disk are at rest.
///
/// # Panics
/// If the process has to stop, or it never comes to rest.
pub fn settle(cluster: &mut impl Cluster, world: &Weather) {
    for _ in 0..100_000 {
        world.clock.advance(500);
        let rest = cluster.step(0).unwrap_or_else(|stopped| panic!("the process stopped: {stopped}"));
        if rest == Rest::Busy || cluster.has_arrivals(0) {
            continue;
        }
        match cluster.next_arrival() {
            Some(at) => world.clock.advance_to(at),
            None if cluster.is_quiet() => return,
            // Progress is saved a little later.
            None => world.clock.advance_to(Nanos(world.clock.time().0 + 50_000_000)),
        }
    }
    panic!("it never came to rest");
}
