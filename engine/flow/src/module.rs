//! What a module author declares: depots, PStates, topologies, sources.

use crate::ack_return::AckReturn;
use crate::block::Block;
use crate::data::{Owned, Returned};
use crate::define::{DefineError, DefineErrors};
use crate::define::{Defining, DefiningHandle, here};
use crate::depot::{Accepts, DepotPartitioner, PartitionerOf, accepts};
use crate::key_partitioner::KeyPartitioner;
use crate::micro::{MicrobatchDef, microbatch_of};
use crate::plan::{Plan, Position};
use crate::query::QueryDef;
use crate::stream_options::StreamOptions;
use crate::var::Var;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tantu_base::value::{Value, encoded};
use tantu_path::{Functions, MapLocation, NamedFn, OneValue, PStateSchema, Schema};

/// An application: everything in it is declared by [`Module::define`], which runs when it is launched.
pub trait Module: 'static {
    /// Declares depots with `setup`, and topologies with their PStates with `topologies`.
    fn define(setup: &mut Setup, topologies: &mut Topologies);

    /// What clients and other modules call it: by default the type's name.
    fn name() -> String {
        std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default().to_string()
    }
}

/// The usual [`DepotOptions::pending_ack_max`].
pub const PENDING_ACK_MAX: usize = 262_144;

/// How a depot is declared beside its partitioner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DepotOptions {
    /// Records a partition keeps (`depot.max.entries.per.partition`); without it, all of them. What a topology of
    /// the module has not processed is kept too, unless [`DepotOptions::trim_waits_for_topologies`] is false.
    pub max_entries: Option<u64>,
    /// Records it keeps beyond those, in percent of them, so that new topologies that start with the oldest are not
    /// overtaken (`depot.excess.proportion`).
    pub excess_percent: u32,
    /// How often more than that is trimmed.
    pub trim_period: Duration,
    /// A record that a topology of the module has not processed is not trimmed (`depot.trim.coordinate.local.topologies`).
    /// Otherwise a topology that falls so far behind loses records: it goes on with the oldest one there is, and the log is told
    /// which it never processed.
    pub trim_waits_for_topologies: bool,
    /// An append at level ACK fails as soon as a try of its record fails (`depot.ack.failure.on.any.streaming.failure`).
    /// Otherwise it waits while the record is tried again. A source that does not retry fails it in any case.
    pub fail_ack_on_any_failure: bool,
    /// Most appends at level ACK that wait for topologies in a partition; more fail at once with `ClientError::Throttled`,
    /// though their records are appended (`depot.max.pending.streaming.per.partition`).
    pub pending_ack_max: usize,
    /// Bytes of a partition's newest records that stay in memory for topologies that are a little behind, or try records again, once
    /// they are in segment files (`depot.cache.cardinality`).
    pub cached_size: usize,
    /// Bytes that are read at a time for a topology that catches up from segment files, up to 4 MiB
    /// (`depot.cache.catchup.chunk.size`); the chunk that it waits for is read in any case.
    pub catch_up_size: u64,
}

/// See [`DepotOptions::cached_size`] and [`DepotOptions::catch_up_size`].
const DEPOT_READ_SIZE: u32 = 4 << 20;

impl Default for DepotOptions {
    fn default() -> Self {
        Self {
            max_entries: None,
            excess_percent: 20,
            trim_period: Duration::from_secs(600),
            trim_waits_for_topologies: true,
            fail_ack_on_any_failure: true,
            pending_ack_max: PENDING_ACK_MAX,
            cached_size: DEPOT_READ_SIZE as usize,
            catch_up_size: u64::from(DEPOT_READ_SIZE),
        }
    }
}

impl DepotOptions {
    /// Records a partition has after it was trimmed; `None` if all are kept.
    pub fn kept_count(&self) -> Option<u64> {
        let max = self.max_entries?;
        let excess = u128::from(max) * u128::from(self.excess_percent) / 100;
        Some(max.saturating_add(u64::try_from(excess).unwrap_or(u64::MAX)))
    }
}

/// A depot's declaration.
#[derive(Clone, Debug)]
pub struct DepotDef {
    /// `*name`.
    pub name: String,
    /// How clients' appends are spread.
    pub partitioner: DepotPartitioner,
    /// One partition, on task 0.
    pub global: bool,
    /// See [`DepotOptions`].
    pub options: DepotOptions,
    /// The record's Rust type, for descriptions.
    pub record_type: &'static str,
    /// Whether bytes are one record.
    pub accepts: Accepts,
    /// Its one record comes this often, and nobody appends; see [`Setup::declare_tick_depot`].
    pub tick: Option<Duration>,
}

/// A PState's declaration.
#[derive(Clone, Debug)]
pub struct PStateDef {
    /// `$$name`.
    pub name: String,
    /// What it may hold.
    pub schema: Schema,
    /// One partition, on task 0.
    pub global: bool,
    /// Clients may not read it.
    pub private: bool,
    /// The topology that may write it; see [`ModuleDef::owner`].
    pub owner: usize,
    /// Which key lives in which partition.
    pub key_partitioner: KeyPartitioner,
    /// See [`PStateOptions`].
    pub unchecked: bool,
    /// What a partition to which nothing was written holds, in value form.
    pub initial: Option<Vec<u8>>,
}

/// Where a topology starts in a partition it meets for the first time. Later its own progress counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StartFrom {
    /// With records appended from then on.
    #[default]
    End,
    /// With the oldest record there is, of a depot that is trimmed with the oldest of its `max_entries`.
    Beginning,
    /// So many records before the end, or with the oldest if there are fewer.
    RecordsAgo(u64),
    /// With the first record that was appended within this time before the topology met the partition.
    TimeAgo(Duration),
    /// With the first record that was appended at this time or later, in milliseconds since the Unix epoch.
    Since(u64),
}

/// What happens with a record whose processing failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RetryMode {
    /// It is tried again; others are not held up.
    #[default]
    Individual,
    /// It and every later record of its partition are processed again, in order.
    AllAfter,
    /// It is dropped. Others of its batch are tried again, unless they had been begun before it.
    None,
}

/// How a source reads its depot.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SourceOptions {
    /// See [`StartFrom`].
    pub start: StartFrom,
    /// See [`RetryMode`].
    pub retry: RetryMode,
    /// See [`AckReturn`].
    pub ack_return: AckReturn,
    /// Tells the source from others of the topology on the same depot. Its progress goes by it.
    pub id: Option<String>,
    /// After how many failed tries a record is given up; see [`crate::DeadLetter`]. Without it, never.
    pub dead_letter_after: Option<u32>,
}

/// A source of a stream topology.
#[derive(Clone, Debug)]
pub struct SourceDef {
    /// Place of the depot in the module.
    pub depot: usize,
    /// See [`StartFrom`].
    pub start: StartFrom,
    /// See [`RetryMode`].
    pub retry: RetryMode,
    /// See [`AckReturn`].
    pub ack_return: AckReturn,
    /// See [`SourceOptions::id`].
    pub id: Option<String>,
    /// See [`SourceOptions::dead_letter_after`].
    pub dead_letter_after: Option<u32>,
    /// Where in the plan its records start.
    pub at: Position,
}

/// A stream topology, ready to run.
#[derive(Clone, Debug)]
pub struct StreamDef {
    /// Its name.
    pub name: String,
    /// See [`StreamOptions`].
    pub options: StreamOptions,
    /// Its sources.
    pub sources: Vec<SourceDef>,
    /// What its events do.
    pub plan: Arc<Plan>,
}

/// A module, checked and ready to run.
#[derive(Clone, Debug)]
pub struct ModuleDef {
    /// What clients call it.
    pub name: String,
    /// Its depots; others name them by their place here.
    pub depots: Vec<DepotDef>,
    /// Its PStates; others name them by their place here.
    pub pstates: Vec<PStateDef>,
    /// Its stream topologies.
    pub streams: Vec<StreamDef>,
    /// The functions that clients' paths may name.
    pub functions: Functions,
    /// Its query topologies.
    pub queries: Vec<QueryDef>,
    /// Its microbatch topologies.
    pub microbatches: Vec<MicrobatchDef>,
    /// The place of the depot of records that topologies gave up, if there is one.
    pub dead_letters: Option<usize>,
    /// What is wrong with it unless it has one task only.
    pub one_task: Vec<DefineError>,
}

impl ModuleDef {
    /// The place of a query.
    pub fn query_index(&self, name: &str) -> Option<u16> {
        self.queries.iter().position(|query| query.name == name).map(|at| at as u16)
    }

    /// The name of the topology that may write a PState.
    pub fn owner(&self, pstate: &PStateDef) -> &str {
        match microbatch_of(pstate.owner) {
            Some(at) => &self.microbatches[at].name,
            None => &self.streams[pstate.owner].name,
        }
    }

    /// Whether it may run with so many tasks.
    ///
    /// # Errors
    /// What it does that only a module of one task may do, each with the author's file and line.
    pub fn check_task_count(&self, task_count: u32) -> Result<(), DefineErrors> {
        if task_count == 1 || self.one_task.is_empty() {
            return Ok(());
        }
        Err(DefineErrors { module: self.name.clone(), errors: self.one_task.clone() })
    }
}

/// A declared depot of records `T`.
pub struct DepotRef<T> {
    pub(crate) index: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> DepotRef<T> {
    pub(crate) fn at(index: usize) -> Self {
        DepotRef { index, of: PhantomData }
    }
}

impl<T> Copy for DepotRef<T> {}
impl<T> Clone for DepotRef<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A declared PState of schema `S`.
pub struct PState<S> {
    pub(crate) index: usize,
    of: PhantomData<fn() -> S>,
}

impl<S> PState<S> {
    pub(crate) fn at(index: usize) -> Self {
        PState { index, of: PhantomData }
    }
}

impl<S> Copy for PState<S> {}
impl<S> Clone for PState<S> {
    fn clone(&self) -> Self {
        *self
    }
}

/// How a PState is declared beside its schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PStateOptions {
    /// One partition, on task 0.
    pub global: bool,
    /// Clients may not read it.
    pub private: bool,
    /// Accesses to it are not checked to be on the task where their key lives. For PStates that hold, on each task, what
    /// was computed there.
    pub unchecked: bool,
}

/// With one option set. For several: `PStateOptions { private: true, ..PStateOptions::global() }`.
///
/// ```
/// use tantu_flow::PStateOptions;
///
/// let both = PStateOptions { private: true, ..PStateOptions::global() };
/// assert!(both.global && both.private && !both.unchecked);
/// ```
impl PStateOptions {
    /// One partition, on task 0.
    pub fn global() -> Self {
        Self { global: true, ..Self::default() }
    }

    /// Clients may not read it.
    pub fn private() -> Self {
        Self { private: true, ..Self::default() }
    }

    /// Accesses are not checked to be on the task where their key lives.
    pub fn unchecked() -> Self {
        Self { unchecked: true, ..Self::default() }
    }
}

/// Declares depots.
pub struct Setup {
    pub(crate) defining: DefiningHandle,
}

impl Setup {
    /// Declares a function that clients' paths may name. No two have the same name.
    #[track_caller]
    pub fn declare_function<A, R>(&mut self, function: &NamedFn<A, R>) {
        let mut defining = self.defining.borrow_mut();
        if !defining.functions.declare(function.func().clone()) {
            let name = function.func().name();
            defining.error(here(), format!("a function named `{name}` is already declared"));
        }
    }

    /// Declares a depot with a partition on every task. Its name starts with `*`.
    #[track_caller]
    pub fn declare_depot<T: Owned>(&mut self, name: &str, partitioner: PartitionerOf<T>) -> DepotRef<T> {
        self.depot(name, partitioner, false, DepotOptions::default())
    }

    /// Declares a depot with a partition on every task, with options.
    #[track_caller]
    pub fn declare_depot_with<T: Owned>(
        &mut self,
        name: &str,
        partitioner: PartitionerOf<T>,
        options: DepotOptions,
    ) -> DepotRef<T> {
        self.depot(name, partitioner, false, options)
    }

    /// Declares a depot whose one partition is on task 0.
    #[track_caller]
    pub fn declare_global_depot<T: Owned>(&mut self, name: &str, partitioner: PartitionerOf<T>) -> DepotRef<T> {
        self.depot(name, partitioner, true, DepotOptions::default())
    }

    /// Declares a depot whose one partition is on task 0, with options.
    #[track_caller]
    pub fn declare_global_depot_with<T: Owned>(
        &mut self,
        name: &str,
        partitioner: PartitionerOf<T>,
        options: DepotOptions,
    ) -> DepotRef<T> {
        self.depot(name, partitioner, true, options)
    }

    /// Local accesses of the topologies declared from now on are not checked to be on the task where their key lives.
    pub fn do_not_check_tasks(&mut self) {
        self.defining.borrow_mut().unchecked = true;
    }

    #[track_caller]
    pub(crate) fn depot<T: Owned>(
        &mut self,
        name: &str,
        partitioner: PartitionerOf<T>,
        global: bool,
        options: DepotOptions,
    ) -> DepotRef<T> {
        let mut defining = self.defining.borrow_mut();
        defining.check_depot_name(name);
        if !name.starts_with('*') || name.len() < 2 {
            defining.error(here(), format!("a depot's name starts with `*`, which `{name}` does not"));
        }
        if defining.depots.iter().any(|other| other.name == name) {
            defining.error(here(), format!("the module has a depot `{name}` already"));
        }
        if options.max_entries == Some(0) {
            defining
                .error(here(), format!("the depot `{name}` is to keep no records; its `max_entries` is at least 1"));
        }
        let record_type = std::any::type_name::<T>();
        let (partitioner, accepts) = (partitioner.partitioner, accepts::<T>);
        let name = name.to_string();
        defining.depots.push(DepotDef { name, partitioner, global, options, record_type, accepts, tick: None });
        DepotRef { index: defining.depots.len() - 1, of: PhantomData }
    }
}

/// Declares topologies.
pub struct Topologies {
    pub(crate) defining: DefiningHandle,
}

impl Topologies {
    /// Declares a stream topology.
    #[track_caller]
    pub fn stream(&mut self, name: &str) -> StreamTopology {
        self.stream_with(name, StreamOptions::default())
    }

    /// Declares a stream topology with options.
    #[track_caller]
    pub fn stream_with(&mut self, name: &str, options: StreamOptions) -> StreamTopology {
        let mut defining = self.defining.borrow_mut();
        defining.check_topology_name(name, here());
        if let Some(what) = options.mistake() {
            defining.error(here(), format!("the topology `{name}`: {what}"));
        }
        let index = defining.add_stream(name);
        defining.streams[index].options = options;
        StreamTopology { defining: Rc::clone(&self.defining), index }
    }
}

/// Declares the PStates and sources of a stream topology.
pub struct StreamTopology {
    pub(crate) defining: DefiningHandle,
    pub(crate) index: usize,
}

impl StreamTopology {
    /// Declares a PState that this topology writes. Its name starts with `$$`.
    #[track_caller]
    pub fn pstate<S: PStateSchema>(&mut self, name: &str) -> PState<S> {
        self.pstate_with(name, PStateOptions::default())
    }

    /// Declares a PState with options.
    #[track_caller]
    pub fn pstate_with<S: PStateSchema>(&mut self, name: &str, options: PStateOptions) -> PState<S> {
        self.declare(name, options, KeyPartitioner::default())
    }

    /// Declares a PState whose partitions start with a value: a partition to which nothing was written, or which was cleared,
    /// holds it (PST-16). It is part of the declaration and is not stored, so another one in a later version of the module
    /// holds for the partitions to which nothing was written.
    ///
    /// ```
    /// use tantu_flow::{PStateOptions, TestBlock, Var};
    /// use tantu_path::{agg, path};
    ///
    /// let totals = TestBlock::define(
    ///     |topology| topology.pstate_initial::<i64>("$$total", PStateOptions::default(), 100),
    ///     |b, total, amount: Var<i64>| b.agg(total, agg::sum(amount)),
    /// )?;
    /// assert_eq!(totals.select("$$total", path::<i64>())?, [100]);
    /// totals.run(&5i64, |_| {})?;
    /// assert_eq!(totals.select("$$total", path::<i64>())?, [105]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn pstate_initial<S: OneValue>(&mut self, name: &str, options: PStateOptions, initial: S::Plain) -> PState<S> {
        let pstate = self.declare::<S>(name, options, KeyPartitioner::default());
        self.defining.borrow_mut().start_with(pstate.index, encoded(&initial), here());
        pstate
    }

    /// Declares a PState of a schema that is known only at run time whose partitions start with a value, as
    /// [`StreamTopology::pstate_initial`].
    #[track_caller]
    pub fn pstate_untyped_initial(&mut self, name: &str, schema: Schema, options: PStateOptions, initial: &Value) {
        let index = self.declare_schema(name, schema, options, KeyPartitioner::default());
        self.defining.borrow_mut().start_with(index, encoded(initial), here());
    }

    /// Declares a PState of a schema that is known only at run time, for the untyped layer, which goes by its name.
    #[track_caller]
    pub fn pstate_untyped(&mut self, name: &str, schema: Schema, options: PStateOptions) {
        self.declare_schema(name, schema, options, KeyPartitioner::default());
    }

    /// Declares a PState whose keys a function of the key and the number of partitions spreads, on clients and in topologies.
    #[track_caller]
    pub fn pstate_partitioned<S>(
        &mut self,
        name: &str,
        options: PStateOptions,
        choose: impl Fn(&<S::Key as PStateSchema>::Value, u32) -> i64 + Send + Sync + 'static,
    ) -> PState<S>
    where
        S: MapLocation,
    {
        self.declare(name, options, KeyPartitioner::custom(choose))
    }

    #[track_caller]
    fn declare<S: PStateSchema>(&mut self, name: &str, options: PStateOptions, by: KeyPartitioner) -> PState<S> {
        PState { index: self.declare_schema(name, S::schema(), options, by), of: PhantomData }
    }

    #[track_caller]
    fn declare_schema(&mut self, name: &str, schema: Schema, options: PStateOptions, by: KeyPartitioner) -> usize {
        let mut defining = self.defining.borrow_mut();
        if !name.starts_with("$$") || name.len() < 3 {
            defining.error(here(), format!("a PState's name starts with `$$`, which `{name}` does not"));
        }
        if defining.pstates.iter().any(|other| other.name == name) {
            defining.error(here(), format!("the module has a PState `{name}` already"));
        }
        if let Err(error) = schema.check_declared() {
            defining.error(here(), format!("the PState `{name}`: {error}"));
        }
        let PStateOptions { global, private, unchecked } = options;
        defining.pstates.push(PStateDef {
            name: name.to_string(),
            schema,
            global,
            private,
            owner: self.index,
            key_partitioner: by,
            unchecked,
            initial: None,
        });
        defining.pstates.len() - 1
    }

    /// Declares what happens with each record of a depot.
    #[track_caller]
    pub fn source<T: Owned>(&mut self, depot: &DepotRef<T>, body: impl FnOnce(&mut Block, Var<<T as Returned>::Data>)) {
        self.source_with(depot, SourceOptions::default(), body);
    }

    /// Declares what happens with each record of a depot, with options.
    #[track_caller]
    pub fn source_with<T: Owned>(
        &mut self,
        depot: &DepotRef<T>,
        options: SourceOptions,
        body: impl FnOnce(&mut Block, Var<<T as Returned>::Data>),
    ) {
        let place = here();
        let source = self.defining.borrow_mut().new_source();
        let mut block = Block::source(Rc::clone(&self.defining), self.index, source);
        let record = block.source_var::<T::Data>();
        body(&mut block, record);
        let mut defining = self.defining.borrow_mut();
        if depot.index >= defining.depots.len() {
            defining.error(place, "the depot belongs to another module".to_string());
            return;
        }
        let recorded = block.finish();
        Defining::add_source(&mut defining, (self.index, place), depot.index, options, recorded);
    }
}
