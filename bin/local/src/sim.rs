//! Simulations of a module: stories told on a simulated cluster, each from a seed.
//!
//! A story is ordinary client code: it appends, selects, invokes and waits, and asserts what must hold. The cluster
//! under it is the real engine behind simulated doors, on the story's own thread and in virtual time. The power is cut at
//! any request of the disk, the process is killed, requests fail, letters and threads are late, the module's own closures
//! panic: whatever [`Faults`] allow and the seed draws. The same seed tells the same story again.
//!
//! ```
//! use tantu_flow::{Module, SourceOptions, Setup, StartFrom, Topologies, hash_by};
//! use tantu_local::sim;
//! use tantu_client::AckLevel;
//! use tantu_path::{Map, Navigate, agg, path};
//!
//! struct Visits;
//!
//! impl Module for Visits {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let visits = setup.declare_depot::<String>("*visits", hash_by(|user: &String| user.clone()));
//!         let mut counter = topologies.microbatch("counter");
//!         let counts = counter.pstate::<Map<String, i64>>("$$counts");
//!         counter.source_from(&visits, StartFrom::Beginning, |m, batch| {
//!             let user = m.explode_microbatch(batch);
//!             m.compound_agg(counts, agg::key(user, agg::count()));
//!         });
//!     }
//! }
//!
//! sim::seeds(10).of::<Visits>(|sim| {
//!     let visits = sim.depot::<String>("*visits")?;
//!     let (mut told, mut tried) = (0, 0);
//!     for _ in 0..20 {
//!         tried += 1;
//!         // An error may mean that the record was appended all the same.
//!         told += i64::from(visits.append_with(&"ann".to_string(), AckLevel::AppendAck).is_ok());
//!     }
//!     sim.settle();
//!     let counts = sim.pstate::<Map<String, i64>>("$$counts")?;
//!     let count = counts.select_one(path().key("ann"))?.unwrap_or_default();
//!     assert!((told..=tried).contains(&count), "{told} appends were acknowledged, {count} are counted");
//!     Ok(())
//! })
//! .run();
//! ```

mod cluster;
mod faults;
mod port;
mod process;
mod report;
mod world;

pub use cluster::Sim;
pub use faults::Faults;
pub use port::simulated_wall_ms;
pub use report::{Failure, Report, Summary};

use port::Entered;
use std::cell::RefCell;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tantu_base::door::Entropy;
use tantu_flow::{Module, define};
use world::{Plan, World};

/// How a story ends; a panic is a finding too.
pub type Told = Result<(), Box<dyn Error>>;

/// The variable that names the one seed to tell.
pub const SEED_VARIABLE: &str = "TANTU_SIM_SEED";
/// The variable that says how many seeds to tell, instead of what the test says.
pub const COUNT_VARIABLE: &str = "TANTU_SIM_COUNT";

/// Which seeds, and how the clusters of their stories are laid out.
#[derive(Clone, Debug)]
pub struct Seeds {
    first: u64,
    count: u64,
    tasks: Option<u32>,
    threads: Option<u32>,
    faults: Faults,
}

/// So many seeds, from 0 on, with every fault.
pub fn seeds(count: u64) -> Seeds {
    Seeds { first: 0, count, tasks: None, threads: None, faults: Faults::default() }
}

impl Seeds {
    /// Begins with another seed.
    pub fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// So many tasks, a power of two; without it each seed draws up to eight.
    ///
    /// # Panics
    /// If it is not a power of two.
    pub fn tasks(self, tasks: u32) -> Self {
        assert!(tasks.is_power_of_two(), "a module has a power of two of tasks, not {tasks}");
        Self { tasks: Some(tasks), ..self }
    }

    /// So many task threads, at most one for each task; without it each seed draws up to three.
    ///
    /// # Panics
    /// If there are none.
    pub fn threads(self, threads: u32) -> Self {
        assert!(threads > 0, "a module has at least one task thread");
        Self { threads: Some(threads), ..self }
    }

    /// What may go wrong.
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The story to tell, of a module.
    pub fn of<M: Module>(self, story: impl Fn(&Sim) -> Told + 'static) -> Simulation {
        let Self { first, count, tasks, threads, faults } = self;
        let plan = Plan { define: define::<M>, tasks, threads, faults };
        Simulation { first, count, plan, module: M::name(), story: Box::new(story) }
    }

    /// Tells the story of a module for each seed.
    ///
    /// # Panics
    /// With the first finding.
    pub fn run<M: Module>(self, story: impl Fn(&Sim) -> Told + 'static) {
        self.of::<M>(story).run();
    }
}

/// A story, ready to be told for any seed.
pub struct Simulation {
    first: u64,
    count: u64,
    plan: Plan,
    module: String,
    story: Box<dyn Fn(&Sim) -> Told>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulation(of {}, {} seeds from {} on)", self.module, self.count, self.first)
    }
}

impl Simulation {
    /// The module's name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Tells the story for each seed, or for those that the environment asks for.
    ///
    /// # Panics
    /// With the first finding, and how to see it again.
    pub fn run(&self) {
        let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
        let told = match number(SEED_VARIABLE) {
            Some(seed) => self.tell(seed, 1),
            None => self.tell(self.first, number(COUNT_VARIABLE).unwrap_or(self.count)),
        };
        if let Err(failure) = told {
            panic!("{failure}\n  replay: {}", replay_of_test(failure.seed));
        }
    }

    /// Tells the story for so many seeds, and the first of them twice: it must be the same story.
    ///
    /// # Errors
    /// The first finding.
    pub fn tell(&self, first: u64, count: u64) -> Result<Summary, Failure> {
        let mut summary = Summary::default();
        for seed in first..first.saturating_add(count) {
            let report = self.tell_one(seed)?;
            if seed == first {
                self.compare(seed, &report)?;
            }
            summary.add(&report);
        }
        Ok(summary)
    }

    fn compare(&self, seed: u64, report: &Report) -> Result<(), Failure> {
        let again = self.tell_one(seed)?;
        if again.trace_hash == report.trace_hash {
            return Ok(());
        }
        let what = "the same seed has told another story: the module or the story depends on something that no seed \
                    replays, as a real clock, randomness of its own, or the order of a hash map";
        Err(Failure { seed, what: what.to_string(), happened: Vec::new() })
    }

    /// Tells the story of one seed.
    ///
    /// # Errors
    /// What was found: a failed assertion or an error of the story, or a process that does what it must not.
    pub fn tell_one(&self, seed: u64) -> Result<Report, Failure> {
        let world = Rc::new(RefCell::new(World::new(seed, &self.plan)));
        let entered = Entered::new(&world);
        let told = catch_unwind(AssertUnwindSafe(|| {
            let sim = Sim::new(&world, seed);
            let told = (self.story)(&sim).map_err(|error| error.to_string());
            if told.is_ok() {
                world.borrow_mut().end();
            }
            told
        }));
        drop(entered);
        let world = world.borrow();
        let what = match told {
            Ok(Ok(())) => return Ok(Report::of(seed, &world)),
            Ok(Err(error)) => error,
            Err(panic) => text_of(&*panic),
        };
        Err(Failure { seed, what, happened: world.happened() })
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_string()
}

/// How to tell one seed of the test that runs on this thread.
fn replay_of_test(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("{SEED_VARIABLE}={seed} cargo test {test}").trim_end().to_string()
}

/// A seed that was not told before, for who wants new ones each time.
pub fn fresh_seed() -> u64 {
    tantu_doors::KernelEntropy::default().next_u64()
}
