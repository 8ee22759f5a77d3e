//! Microbatch topologies: records are processed many at a time, as one transaction across all partitions.
//!
//! The body of a source runs once per microbatch, on task 0. [`Block::explode_microbatch`] leads to the tasks of the depot and
//! emits the records there that belong to the microbatch. What the code writes on all tasks becomes visible together on each,
//! when every task has it safely; an attempt that fails leaves nothing behind, and the same records are tried again.

use crate::block::Block;
use crate::data::{Data, Owned, Register, Returned};
use crate::define::{Defining, here};
use crate::fault::{RunError, eval_error};
use crate::fold::COMBINER_LIMIT;
use crate::module::{DepotRef, PState, PStateOptions, StartFrom, StreamTopology, Topologies};
use crate::plan::{Plan, Position};
use crate::run::{Host, Run, Then};
use crate::step::{Step, Target};
use crate::stream_options::source_twice;
use crate::var::Var;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tantu_base::value::DecodeError;
use tantu_path::{EvalError, MapLocation, PStateSchema, Schema, Stop};

/// Owners of PStates from here on are microbatch topologies; those below are streams.
const FIRST_OWNER: usize = 1 << 32;
/// Records that one event of an explode emits before the others go on as a new event, unless the topology says.
pub(crate) const PAGE_COUNT_MAX: usize = 256;
/// Bytes of records after which it does.
const PAGE_SIZE: usize = 256 << 10;

/// How a microbatch topology runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MicrobatchOptions {
    /// Most records of a microbatch from one partition of a depot (`depot.microbatch.max.records`).
    pub max_records: u64,
    /// Most records that an explode reads at once before other events of the task have their turn (`depot.max.fetch`), at most
    /// `max_records`; without it 256.
    pub fetch_max: Option<u64>,
    /// How long each phase of an attempt may take before it is given up and another begins
    /// (`topology.microbatch.phase.timeout.seconds`).
    pub phase_timeout: Duration,
    /// How long a topology whose last microbatch ended waits at least before it begins another, so that batches grow
    /// (`topology.microbatch.force.delay.millis`).
    pub force_delay: Duration,
    /// If set, a microbatch without records runs when none came for so long
    /// (`topology.microbatch.empty.sleep.time.millis`).
    pub empty_period: Option<Duration>,
    /// If set, what an attempt writes on a task goes to the disk after so many writes, before it is published
    /// (`topology.microbatch.pstate.flush.path.count`); without it, when it has more than its share of the core's memory.
    pub flush_path_count: Option<usize>,
    /// After how many rows aggregators whose states grow with each of them send on what they combined for a task
    /// (`topology.combiner.limit`). What they hold in bytes has a limit besides.
    pub combiner_limit: u64,
}

impl Default for MicrobatchOptions {
    fn default() -> Self {
        Self {
            max_records: 1_000,
            fetch_max: None,
            phase_timeout: Duration::from_secs(60),
            force_delay: Duration::ZERO,
            empty_period: None,
            flush_path_count: None,
            combiner_limit: COMBINER_LIMIT,
        }
    }
}

/// A source of a microbatch topology.
#[derive(Clone, Debug)]
pub struct MicrobatchSource {
    /// Place of the depot in the module.
    pub depot: usize,
    /// See [`StartFrom`].
    pub start: StartFrom,
    /// Tells it from others on the same depot.
    pub id: Option<String>,
    /// Where in the plan a microbatch starts.
    pub at: Position,
}

/// A microbatch topology, ready to run.
#[derive(Clone, Debug)]
pub struct MicrobatchDef {
    /// Its name.
    pub name: String,
    /// How it runs.
    pub options: MicrobatchOptions,
    /// Its sources.
    pub sources: Vec<MicrobatchSource>,
    /// What its events do.
    pub plan: Arc<Plan>,
}

/// A microbatch topology while it is declared.
pub(crate) struct MicrobatchRecord {
    pub(crate) name: String,
    options: MicrobatchOptions,
    sources: Vec<MicrobatchSource>,
    plan: crate::plan::PlanBuilder,
}

impl MicrobatchRecord {
    pub(crate) fn build(self, module: &str, schemas: &[(String, Schema)]) -> MicrobatchDef {
        let Self { name, options, sources, plan } = self;
        let plan = plan.build(module, schemas.to_vec()).with_limits(&options);
        MicrobatchDef { name, options, sources, plan: Arc::new(plan) }
    }
}

/// The records of a depot that a microbatch has; see [`Block::explode_microbatch`].
pub struct Batch<T> {
    source: u32,
    /// Place among the sources of the topology.
    place: usize,
    depot: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Copy for Batch<T> {}
impl<T> Clone for Batch<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The body of a source of a microbatch topology: what happens in a microbatch. All that a [`Block`] records is there too.
pub struct MicrobatchBlock {
    block: Block,
}

impl Deref for MicrobatchBlock {
    type Target = Block;
    fn deref(&self) -> &Block {
        &self.block
    }
}

impl DerefMut for MicrobatchBlock {
    fn deref_mut(&mut self) -> &mut Block {
        &mut self.block
    }
}

impl Topologies {
    /// Declares a microbatch topology.
    ///
    /// ```
    /// use tantu_flow::{Module, Setup, Topologies, define, hash_by};
    /// use tantu_path::{Map, agg};
    ///
    /// struct Words;
    /// impl Module for Words {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         let words = setup.declare_depot::<String>("*words", hash_by(String::clone));
    ///         let mut counter = topologies.microbatch("counter");
    ///         let counts = counter.pstate::<Map<String, i64>>("$$counts");
    ///         counter.source(&words, |m, batch| {
    ///             let word = m.explode_microbatch(batch);
    ///             m.hash_partition(word);
    ///             m.compound_agg(counts, agg::key(word, agg::count()));
    ///         });
    ///     }
    /// }
    /// assert_eq!(define::<Words>().unwrap().microbatches[0].name, "counter");
    /// ```
    #[track_caller]
    pub fn microbatch(&mut self, name: &str) -> MicrobatchTopology {
        self.microbatch_with(name, MicrobatchOptions::default())
    }

    /// Declares a microbatch topology with options.
    #[track_caller]
    pub fn microbatch_with(&mut self, name: &str, options: MicrobatchOptions) -> MicrobatchTopology {
        let mut defining = self.defining.borrow_mut();
        defining.check_topology_name(name, here());
        if options.max_records == 0 {
            defining
                .error(here(), format!("the topology `{name}` is to process no records; `max_records` is at least 1"));
        }
        if options.fetch_max.is_some_and(|fetch| fetch == 0 || fetch > options.max_records) {
            let what = format!(
                "the topology `{name}` is to read so many records at once; `fetch_max` is at least 1 and at most `max_records`"
            );
            defining.error(here(), what);
        }
        let plan = crate::plan::PlanBuilder::new(name);
        defining.microbatches.push(MicrobatchRecord { name: name.to_string(), options, sources: Vec::new(), plan });
        let index = FIRST_OWNER + defining.microbatches.len() - 1;
        MicrobatchTopology { owner: StreamTopology { defining: Rc::clone(&self.defining), index } }
    }
}

/// Declares the PStates and sources of a microbatch topology.
pub struct MicrobatchTopology {
    owner: StreamTopology,
}

impl MicrobatchTopology {
    /// Its place among the microbatch topologies of the module.
    pub(crate) fn place(&self) -> Option<usize> {
        microbatch_of(self.owner.index)
    }

    /// Declares a PState that this topology writes. Its name starts with `$$`.
    #[track_caller]
    pub fn pstate<S: PStateSchema>(&mut self, name: &str) -> PState<S> {
        self.owner.pstate(name)
    }

    /// Declares a PState with options.
    #[track_caller]
    pub fn pstate_with<S: PStateSchema>(&mut self, name: &str, options: PStateOptions) -> PState<S> {
        self.owner.pstate_with(name, options)
    }

    /// Declares a PState of a schema that is known only at run time, for the untyped layer, which goes by its name.
    #[track_caller]
    pub fn pstate_untyped(&mut self, name: &str, schema: Schema, options: PStateOptions) {
        self.owner.pstate_untyped(name, schema, options);
    }

    /// Declares a PState whose keys a function of the key and the number of partitions spreads, on clients and in topologies.
    #[track_caller]
    pub fn pstate_partitioned<S: MapLocation>(
        &mut self,
        name: &str,
        options: PStateOptions,
        choose: impl Fn(&<S::Key as PStateSchema>::Value, u32) -> i64 + Send + Sync + 'static,
    ) -> PState<S> {
        self.owner.pstate_partitioned(name, options, choose)
    }

    /// Declares what a microbatch does with its records of a depot, from those on that are appended after the topology
    /// met the partition.
    #[track_caller]
    pub fn source<T: Owned>(&mut self, depot: &DepotRef<T>, body: impl FnOnce(&mut MicrobatchBlock, Batch<T>)) {
        self.source_from(depot, StartFrom::default(), body);
    }

    /// Declares what a microbatch does with its records of a depot, and which records are the first.
    #[track_caller]
    pub fn source_from<T: Owned>(
        &mut self,
        depot: &DepotRef<T>,
        start: StartFrom,
        body: impl FnOnce(&mut MicrobatchBlock, Batch<T>),
    ) {
        self.add_source(depot, (start, None), body);
    }

    /// Declares a further source on a depot that the topology reads already, with a progress of its own that goes by `id`. As long as it
    /// stands elsewhere than the others it goes on by itself; when it is near, one waits for the other, and from then on every
    /// microbatch has the same records for both.
    #[track_caller]
    pub fn further_source<T: Owned>(
        &mut self,
        id: &str,
        depot: &DepotRef<T>,
        start: StartFrom,
        body: impl FnOnce(&mut MicrobatchBlock, Batch<T>),
    ) {
        self.add_source(depot, (start, Some(id.to_string())), body);
    }

    #[track_caller]
    fn add_source<T: Owned>(
        &mut self,
        depot: &DepotRef<T>,
        (start, id): (StartFrom, Option<String>),
        body: impl FnOnce(&mut MicrobatchBlock, Batch<T>),
    ) {
        let place = here();
        let (defining, owner) = (&self.owner.defining, self.owner.index);
        let source = defining.borrow_mut().new_source();
        let mut block = Block::source(Rc::clone(defining), owner, source);
        block.has_batches = true;
        let mut block = MicrobatchBlock { block };
        let sources = defining.borrow().microbatches[owner - FIRST_OWNER].sources.len();
        body(&mut block, Batch { source, place: sources, depot: depot.index, of: PhantomData });
        let recorded = block.block.finish();
        let mut defining = defining.borrow_mut();
        let defining = &mut *defining;
        let Some(name) = defining.depots.get(depot.index).map(|def| def.name.clone()) else {
            return defining.error(place, "the depot belongs to another module".to_string());
        };
        let Defining { microbatches, pstates, unchecked, .. } = defining;
        let record = &mut microbatches[owner - FIRST_OWNER];
        let twice = record.sources.iter().any(|other| (other.depot, &other.id) == (depot.index, &id));
        let around = crate::plan::Surroundings { pstates, starts_on_zero: true, unchecked: *unchecked };
        let (at, mistakes) = record.plan.add(recorded, Vec::new(), around);
        record.sources.push(MicrobatchSource { depot: depot.index, start, id: id.clone(), at });
        mistakes.into_iter().for_each(|(place, what)| defining.error(place, what));
        if twice {
            defining.error(place, source_twice(&name, id.as_deref()));
        }
        defining.check_source_id(place, id.as_deref());
    }
}

impl Block {
    /// Goes on on every task of the depot, and there once for each record that the microbatch has of it, in order. What comes
    /// to the same task by another way may run in between.
    #[track_caller]
    pub fn explode_microbatch<T: Owned>(&mut self, batch: Batch<T>) -> Var<<T as Returned>::Data> {
        if batch.source != self.source {
            self.mistake("the microbatch belongs to another source".to_string());
        }
        let found = self.defining.borrow().depots.get(batch.depot).map(|def| (def.name.clone(), def.global));
        let (name, one_partition) = found.unwrap_or_default();
        let skip = self.constant(0i64);
        self.push(Step::Hop { target: Target::All, one_partition, position: 0 }, name.clone(), Vec::new(), Vec::new());
        let out = self.bind::<T::Data>("explode_microbatch");
        let register = Register::new::<T::Data>(out.id);
        let step = Step::Records { depot: batch.depot, source: batch.place, skip: skip.id, out: register };
        self.push(step, format!("explode_microbatch {name}"), vec![skip.id], vec![out.id]);
        out
    }

    /// The number of the microbatch: one more than that of the one before, and the same in every attempt.
    #[track_caller]
    pub fn current_microbatch_id(&mut self) -> Var<i64> {
        if !is_microbatch(self.stream) {
            self.mistake("there is a microbatch in microbatch topologies only".to_string());
        }
        let out = self.bind::<i64>("current_microbatch_id");
        self.push(Step::MicrobatchId(out.id), "current_microbatch_id", Vec::new(), vec![out.id]);
        out
    }
}

/// Whether this owner of PStates is a microbatch topology.
pub(crate) fn is_microbatch(owner: usize) -> bool {
    (FIRST_OWNER..usize::MAX).contains(&owner)
}

/// Which microbatch topology this owner of PStates is.
pub(crate) fn microbatch_of(owner: usize) -> Option<usize> {
    is_microbatch(owner).then(|| owner - FIRST_OWNER)
}

impl Defining {
    /// The name of a topology that owns PStates.
    pub(crate) fn owner_name(&self, owner: usize) -> String {
        match microbatch_of(owner) {
            Some(at) => self.microbatches[at].name.clone(),
            None => self.streams[owner].name.clone(),
        }
    }
}

impl Run {
    /// Emits records of the microbatch. What does not fit a page goes on as a new event of this task, behind those
    /// that wait.
    pub(crate) fn records(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        let Step::Records { depot, source, skip, out } = &plan.steps[at].step else {
            unreachable!("the step is an explode")
        };
        let skipped = self.frame.get(*skip).bits();
        let (start, mark) = (self.cursors.column.len(), self.arena.mark());
        let (arena, column) = (&mut self.arena, &mut self.cursors.column);
        let (mut size, mut is_full) = (0, false);
        let mut misfit: Option<DecodeError> = None;
        let found = host.records((*depot, *source), skipped, &mut |record| {
            match out.decode_one(record, arena) {
                Ok(slot) => column.push(slot),
                Err(error) => misfit = Some(error),
            }
            size += record.len();
            is_full = column.len() - start >= plan.fetch_max || size >= PAGE_SIZE;
            if is_full || misfit.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(source) = misfit {
            return Err(RunError::Live { topology: plan.name.clone(), source });
        }
        match found {
            Ok(()) => {}
            Err(Stop::Need) => {
                self.forget(start, mark);
                return Ok(Then::Need);
            }
            Err(Stop::Failed(what)) => return Err(eval_error(plan, at, EvalError::Store(what))),
        }
        if is_full {
            let count = (self.cursors.column.len() - start) as u64;
            // The partitioner before it leads here.
            let position = plan.entries.iter().position(|entry| entry.step == at);
            let position = position.expect("invariant: an explode has a partitioner before it") as u32;
            self.frame.set(*skip, <i64 as Data>::slot((skipped + count) as i64));
            self.gather_live(plan, position, 0);
            host.hop(host.task(), Position(position), &self.live);
        }
        if self.group_records(plan, at + 1, out, start, host)? {
            self.forget(start, mark);
        } else {
            self.cursors.push_column(plan, at, out.var, start, &self.frame, &self.arena);
        }
        Ok(Then::Back)
    }
}
