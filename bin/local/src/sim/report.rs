//! What a simulation says in the end.

use crate::sim::world::World;
use std::fmt;
use std::time::Duration;
use tantu_weather::Marks;

/// A finding, with what it takes to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// What happened last, oldest first.
    pub happened: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)?;
        self.happened.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}

impl std::error::Error for Failure {}

/// How the story of a seed went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash of everything that happened.
    pub trace_hash: u64,
    /// Lives of the process.
    pub life_count: u32,
    /// Steps of its task threads.
    pub step_count: u64,
    /// Virtual time.
    pub took: Duration,
    /// What the weather did, and how often.
    pub weather: Vec<(&'static str, u64)>,
}

impl Report {
    pub(crate) fn of(seed: u64, world: &World) -> Self {
        Self {
            seed,
            trace_hash: world.weather().trace.hash(),
            life_count: world.ended_count(),
            step_count: world.step_count(),
            took: Duration::from_nanos(world.now().0),
            weather: world.weather().marks.all(),
        }
    }
}

/// How the stories of many seeds went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Stories told.
    pub story_count: u64,
    /// Lives of their processes.
    pub life_count: u64,
    /// Steps of their task threads.
    pub step_count: u64,
    /// Virtual time.
    pub took: Duration,
    marks: Marks,
}

impl Summary {
    pub(crate) fn add(&mut self, report: &Report) {
        self.story_count += 1;
        self.life_count += u64::from(report.life_count);
        self.step_count += report.step_count;
        self.took += report.took;
        report.weather.iter().for_each(|(mark, count)| self.marks.hit_many(mark, *count));
    }

    /// What the weather did in all of them, and how often.
    pub fn weather(&self) -> Vec<(&'static str, u64)> {
        self.marks.all()
    }

    /// How often the weather did something, by its name in [`Summary::weather`].
    pub fn count(&self, what: &str) -> u64 {
        self.marks.count(what)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { story_count, life_count, step_count, took, .. } = self;
        let seconds = took.as_secs_f64();
        write!(f, "{story_count} stories: {life_count} lives, {step_count} steps, {seconds:.1} s of virtual time")?;
        self.weather().iter().try_for_each(|(what, count)| write!(f, "\n  {count:>9}  {what}"))
    }
}
