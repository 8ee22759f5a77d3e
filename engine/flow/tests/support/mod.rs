//! Tasks in one thread: a queue of events, maps for PStates, reads that park and turns that end where a test wants.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use tantu_base::door::Job;
use tantu_base::id::{ObjectId, TaskId};
use tantu_flow::{Host, Module, Outcome, PagedSelect, Plan, Position, Run, RunError, Shuffle, define};
use tantu_path::{PageLimit, Stop, Store, VisitEntry};

/// An event that waits: the task, where it starts, its live variables.
pub(crate) type Event = (u32, Position, Vec<u8>);

pub(crate) struct World {
    pub(crate) tasks: u32,
    pub(crate) queue: VecDeque<Event>,
    /// By task, object, key.
    pub(crate) state: BTreeMap<(u32, u32, Vec<u8>), Vec<u8>>,
    /// What was sent, in order, with its live variables.
    pub(crate) hops: Vec<Event>,
    pub(crate) jobs: Vec<(u32, Position, Vec<u8>, Job)>,
    /// Every so many reads one parks; 0 for never.
    pub(crate) park_every: u32,
    pub(crate) parks: u32,
    reads: u32,
    /// See [`Run::crowded_from`].
    pub(crate) crowded_from: Option<usize>,
    /// Every so many looks at the clock say it is late; 0 for never.
    pub(crate) late_every: u32,
    looks: std::cell::Cell<u32>,
    /// Entries of a page of a yielding select; without it selects are answered whole.
    pub(crate) page: Option<usize>,
    /// Yielding selects that are not at their end: where an event of a page begins, with which live variables.
    pub(crate) paged: Vec<(Position, Vec<u8>, PagedSelect)>,
    shuffles: BTreeMap<u32, Shuffle>,
    random: u64,
    task: u32,
}

impl World {
    pub(crate) fn new(tasks: u32) -> World {
        World {
            tasks,
            queue: VecDeque::new(),
            state: BTreeMap::new(),
            hops: Vec::new(),
            jobs: Vec::new(),
            park_every: 0,
            parks: 0,
            reads: 0,
            crowded_from: None,
            late_every: 0,
            looks: std::cell::Cell::new(0),
            page: None,
            paged: Vec::new(),
            shuffles: BTreeMap::new(),
            random: 1,
            task: 0,
        }
    }

    /// Runs all events, each in turns of `fuel` steps.
    pub(crate) fn run(&mut self, plan: &Plan, fuel: u32) -> Result<(), RunError> {
        let mut run = self.crowded_from.map_or_else(Run::new, Run::crowded_from);
        while let Some((task, at, live)) = self.queue.pop_front() {
            self.task = task;
            run.begin(plan, at, &live)?;
            loop {
                let mut left = fuel;
                match run.resume(plan, self, &mut left) {
                    Outcome::Done => break,
                    Outcome::Need | Outcome::Yield => {}
                    Outcome::Failed(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// The plan of the first topology of a module, and where the records of its first source start.
pub(crate) fn plan_of<M: Module>() -> (std::sync::Arc<Plan>, Position) {
    let module = define::<M>().unwrap_or_else(|errors| panic!("{errors}"));
    (module.streams[0].plan.clone(), module.streams[0].sources[0].at)
}

impl Store for World {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        self.reads += 1;
        if self.park_every > 0 && self.reads.is_multiple_of(self.park_every) {
            self.parks += 1;
            return Err(Stop::Need);
        }
        out.clear();
        let found = self.state.get(&(self.task, object.0, key.to_vec()));
        found.into_iter().for_each(|value| out.extend_from_slice(value));
        Ok(found.is_some())
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.state.insert((self.task, object.0, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.state.remove(&(self.task, object.0, key.to_vec()));
        Ok(())
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let task = self.task;
        let is_in = |key: &[u8]| from <= key && key < to;
        self.state.retain(|(at, of, key), _| (*at, *of) != (task, object.0) || !is_in(key));
        Ok(())
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        _: Bound<&[u8]>,
        _: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        for ((task, of, key), value) in self.state.iter().rev() {
            if (*task, *of) == (self.task, object.0) && visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn scan(&mut self, object: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, visit: VisitEntry<'_>) -> Result<(), Stop> {
        for ((task, of, key), value) in &self.state {
            if (*task, *of) == (self.task, object.0) && visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

impl Host for World {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        Ok(self)
    }

    fn task(&self) -> TaskId {
        TaskId(self.task)
    }

    fn task_count(&self) -> u32 {
        self.tasks
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.random >> 20
    }

    fn shuffle(&mut self) -> TaskId {
        let mut seed = self.random();
        let shuffle = self.shuffles.entry(self.task).or_default();
        shuffle.next(self.tasks, || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed >> 20
        })
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn is_overtime(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.late_every > 0 && self.looks.get().is_multiple_of(self.late_every)
    }

    fn page_limit(&self) -> Option<PageLimit> {
        self.page.map(|entry_count| PageLimit { entry_count, ..PageLimit::default() })
    }

    fn select_on(&mut self, at: Position, live: &[u8], select: PagedSelect) {
        self.paged.push((at, live.to_vec(), select));
    }

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        self.jobs.push((self.task, at, live.to_vec(), job));
    }

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        self.hops.push((to.0, at, live.to_vec()));
        self.queue.push_back((to.0, at, live.to_vec()));
    }
}
