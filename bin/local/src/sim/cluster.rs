//! The cluster a story holds.

use crate::sim::port::SimPort;
use crate::sim::world::{WAIT_MAX, World};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tantu_base::value::Encode;
use tantu_client::{ClientError, Connection, Depot, Microbatch, MicrobatchStatus, PState, Query, Stream};
use tantu_flow::{ArgumentValues, Owned};
use tantu_path::PStateSchema;
use tantu_weather::SimEntropy;

/// Virtual time between tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A simulated cluster with one module. Its clients are the usual ones; a call that waits lets the simulation go on.
pub struct Sim {
    world: Rc<RefCell<World>>,
    connection: Connection,
    chance: RefCell<SimEntropy>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sim(at {:?})", self.now())
    }
}

fn connect(world: &Rc<RefCell<World>>) -> Connection {
    let mut world = world.borrow_mut();
    let module = world.runtime();
    let client = world.attach();
    let connection = Connection::stepped(module, Box::new(SimPort { client }), Box::new(SimPort { client }));
    world.tell(connection.clone());
    connection
}

impl Sim {
    pub(crate) fn new(world: &Rc<RefCell<World>>, seed: u64) -> Self {
        let connection = connect(world);
        Self { world: Rc::clone(world), connection, chance: RefCell::new(World::story_chance(seed)) }
    }

    /// A depot of the module.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub fn depot<T: Encode>(&self, name: &str) -> Result<Depot<T>, ClientError> {
        Depot::new(&self.connection, name)
    }

    /// A PState of the module.
    ///
    /// # Errors
    /// [`ClientError`] if there is none, or if its schema is another one.
    pub fn pstate<S: PStateSchema>(&self, name: &str) -> Result<PState<S>, ClientError> {
        PState::new(&self.connection, name)
    }

    /// A query of the module.
    ///
    /// # Errors
    /// [`ClientError`] if there is none, or if it takes or returns something else.
    pub fn query<A: ArgumentValues, R: Owned>(&self, name: &str) -> Result<Query<A, R>, ClientError> {
        Query::new(&self.connection, name)
    }

    /// A microbatch topology of the module.
    ///
    /// # Errors
    /// [`ClientError`] if there is none.
    pub fn microbatch(&self, topology: &str) -> Result<Microbatch, ClientError> {
        Microbatch::new(&self.connection, topology)
    }

    /// A stream topology of the module.
    ///
    /// # Errors
    /// [`ClientError`] if there is none.
    pub fn stream(&self, topology: &str) -> Result<Stream, ClientError> {
        Stream::new(&self.connection, topology)
    }

    /// A connection of its own: another client.
    pub fn connect(&self) -> Connection {
        connect(&self.world)
    }

    /// Waits until a microbatch topology has processed so many records since it was first launched, and what it wrote is
    /// visible; crashes meanwhile are waited for too.
    ///
    /// # Errors
    /// [`ClientError::NotProcessed`] if it has not in this time, which is virtual.
    pub fn wait_for_microbatch_processed_count(
        &self,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<MicrobatchStatus, ClientError> {
        let topology = self.microbatch(topology)?;
        let until = self.now() + timeout;
        self.retried(until, || topology.wait_for_processed(count, until.saturating_sub(self.now())))
    }

    /// Waits until a stream topology has processed so many records since it was first launched, and what they did is
    /// visible; crashes meanwhile are waited for too.
    ///
    /// # Errors
    /// [`ClientError::NotProcessed`] if it has not in this time, which is virtual.
    pub fn wait_for_stream_processed_count(
        &self,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<u64, ClientError> {
        let topology = self.stream(topology)?;
        let until = self.now() + timeout;
        self.retried(until, || topology.wait_for_processed(count, until.saturating_sub(self.now())))
    }

    /// Calls something until the process lives long enough to answer: for reads, and for what may be done twice.
    ///
    /// # Errors
    /// What does not pass: a mistake in the call.
    ///
    /// # Panics
    /// After an hour of virtual time.
    pub fn insist<T>(&self, ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let until = self.now() + WAIT_MAX;
        let answer = self.retried(until, ask);
        assert!(self.now() < until, "an hour of tries has brought no answer");
        answer
    }

    fn retried<T>(&self, until: Duration, mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        loop {
            match ask() {
                Err(error) if passes(&error) && self.now() < until => self.run_for(TRY_AGAIN),
                answer => return answer,
            }
        }
    }

    /// Ends the weather and returns when everything that was appended has been processed, and everything is durable. What
    /// must hold in the end is asserted after it.
    pub fn settle(&self) {
        self.world.borrow_mut().settle();
    }

    /// Lets virtual time pass.
    pub fn run_for(&self, time: Duration) {
        self.world.borrow_mut().run_for(time);
    }

    /// Cuts the power now; the cluster starts again from what was durable, and perhaps more.
    pub fn cut_power(&self) {
        self.world.borrow_mut().cut_power();
    }

    /// Kills the process now; it starts again.
    pub fn kill(&self) {
        self.world.borrow_mut().kill();
    }

    /// Ends the process in order and starts it again; says whether it ended in order, which a fault may prevent.
    pub fn restart(&self) -> bool {
        self.world.borrow_mut().close()
    }

    /// Virtual time since the story began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.world.borrow().now().0)
    }

    /// Tasks of the module.
    pub fn task_count(&self) -> u32 {
        self.world.borrow().task_count()
    }

    /// How often the process has ended so far.
    pub fn ended_count(&self) -> u32 {
        self.world.borrow().ended_count()
    }

    /// Notes something for the report of a failure; it counts as something that happened.
    pub fn note(&self, what: &str) {
        self.world.borrow_mut().note(what);
    }

    /// A number in `0..count`, drawn from the seed.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn below(&self, count: u64) -> u64 {
        self.chance.borrow_mut().below(count)
    }

    /// One of them, drawn from the seed.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// True so many times in a hundred, drawn from the seed.
    pub fn percent(&self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }
}

/// Whether a call may do better another time.
fn passes(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Closing
            | ClientError::StorageFull(_)
            | ClientError::Stopped { .. }
            | ClientError::ReadFailed(_)
            | ClientError::QueryFailed(_)
            | ClientError::QueryTimedOut(_)
            | ClientError::ProcessingFailed(_)
            | ClientError::Throttled(_)
    )
}
