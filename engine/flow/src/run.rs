//! Running an event: where it stands is data.
//!
//! A step that needs a block leaves everything as it was before it and answers [`Outcome::Need`]; resuming repeats
//! only its reads. User closures of a step run at most once per event and emit, whatever parks or yields.
#![allow(
    unsafe_code,
    reason = "the state of a lazy iterator lies untyped in the arena; each read says why the type is right"
)]

use crate::alignment::Guard;
use crate::append::AppendWait;
use crate::arena::{Arena, Mark};
use crate::cursor::Cursors;
use crate::data::{Data, Register, Returned};
use crate::fault::{RunError, complaint, eval_error, wrong_task};
use crate::ops::ModuleInfo;
use crate::plan::{Plan, Position};
use crate::send::{AS_BITS, take_bits};
use crate::slot::Frame;
use crate::step::{Advance, Step};
use crate::table::{BatchError, RowsOf, VisitRow};
use crate::var::{Var, Vars};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tantu_base::door::Job;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_base::value::DecodeError;
use tantu_path::{
    Arg, Args, EvalError, Page, PageLimit, Path, Scratch, Stop, Store, aggregate, clear_store, select_page,
    select_store, transform_store,
};

/// What a run needs of the task it stands on. A PState is named by its place in the module.
pub trait Host {
    /// Where a PState lies, as the module numbers them.
    ///
    /// # Errors
    /// [`Stop`]: it is not there any more.
    fn store(&mut self, object: ObjectId) -> Result<&mut dyn Store, Stop>;
    /// The task.
    fn task(&self) -> TaskId;
    /// How many tasks the module has.
    fn task_count(&self) -> u32;
    /// How many task threads they are spread over.
    fn thread_count(&self) -> u32 {
        1
    }
    /// 64 random bits.
    fn random(&mut self) -> u64;
    /// The next task of the shuffle partitioner: one [`crate::Shuffle`] for each task it is called on.
    fn shuffle(&mut self) -> TaskId;
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
    /// Whether the event has taken longer than it should.
    fn is_overtime(&self) -> bool;
    /// Starts a job. When it is done, its answer is appended to `live`, and the work goes on there as a new event of
    /// this task; if it fails, so does what the event is part of.
    fn start_job(&mut self, at: Position, live: &[u8], job: Job);
    /// How much a page of a yielding select holds; none if the host answers selects whole.
    fn page_limit(&self) -> Option<PageLimit> {
        None
    }
    /// Goes on with a yielding select after its first page. Each further page, as the partition is now, is appended to `live`
    /// as bytes, and the work goes on there as a new event of this task. Only a host with a page limit is asked.
    fn select_on(&mut self, at: Position, live: &[u8], select: PagedSelect) {
        unreachable!("a host that answers selects whole: {at:?} {live:?} {select:?}")
    }
    /// [`Host::hop`] to a task on the same thread as the run: what goes there is not read by anybody else, and need not be in
    /// value form. Answers where the live variables are to be appended, so many bytes; none if the task is elsewhere, and
    /// then nothing was sent.
    fn hop_near(&mut self, to: TaskId, at: Position, live_size: usize) -> Option<&mut Vec<u8>> {
        let _ = (to, at, live_size);
        None
    }
    /// Sends the rest of the work to a task, perhaps this one: always a new event.
    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]);
    /// Calls a query with arguments in value form, on this task. When it is done, its result is appended to `live`, and the
    /// work goes on there as a new event of this task; if it fails, so does what the event is part of.
    ///
    /// # Errors
    /// A sentence, if no query can be called from here.
    fn invoke(&mut self, at: Position, live: &[u8], query: &str, arguments: &[u8]) -> Result<(), String> {
        let _ = (at, live, arguments);
        Err(format!("the query `{query}` cannot be called here"))
    }
    /// The task where the call started. A host that runs no queries is not asked.
    fn origin(&self) -> TaskId {
        unreachable!("only a query has an origin partitioner")
    }
    /// The event reached a batch block with these vars and ends. A host that runs no batch blocks is not asked.
    ///
    /// # Errors
    /// A sentence, if no batch block may be entered here.
    fn enter(&mut self, block: usize, live: &[u8]) -> Result<(), String> {
        unreachable!("only a microbatch enters batch blocks: {block} {live:?}")
    }
    /// A row reaches the aggregators of a table on a task: the value forms of its keys, and of all arguments. A host that
    /// runs no batch blocks is not asked.
    ///
    /// # Errors
    /// What an aggregator answers.
    fn fold(&mut self, to: TaskId, table: usize, keys: &[u8], args: &[u8]) -> Result<(), BatchError> {
        unreachable!("only a batch block has aggregators: {to} {table} {keys:?} {args:?}")
    }
    /// A row reaches the aggregators of a table, all of them combiners, on the task that its keys lead to. A host that combines
    /// rows before they are sent takes it so, and looks for the task of a group instead of that of each row
    /// ([`crate::task_of_keys`]); any other answers false, and is told the task.
    ///
    /// # Errors
    /// What an aggregator answers.
    fn fold_group(&mut self, table: usize, keys: &[u8], args: &[u8]) -> Result<bool, BatchError> {
        let _ = (table, keys, args);
        Ok(false)
    }
    /// A row goes into a table on a task: the value forms of its keys, and of the rest. A host that runs no batch
    /// blocks is not asked.
    ///
    /// # Errors
    /// If there is no room for it.
    fn row(&mut self, to: TaskId, table: usize, keys: &[u8], rest: &[u8]) -> Result<(), BatchError> {
        unreachable!("only a batch block has tables: {to} {table} {keys:?} {rest:?}")
    }
    /// Visits a page of rows of this task's tables, as [`crate::Tables::page`] does. A host that runs no batch blocks is
    /// not asked.
    ///
    /// # Errors
    /// What an aggregator answers.
    fn page(&mut self, of: RowsOf, from: u64, _: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        unreachable!("only a batch block has tables: {of:?} {from}")
    }
    /// The number of the microbatch. A host that runs none is not asked.
    fn microbatch(&self) -> u64 {
        unreachable!("only a microbatch topology has microbatches")
    }
    /// Visits the records that the microbatch has of a depot on this task, by a source of its topology, in order, but the first
    /// `skip`. A host that runs no microbatches is not asked.
    ///
    /// # Errors
    /// What a store answers.
    fn records(&mut self, (depot, source): (usize, usize), skip: u64, _: VisitRecord<'_>) -> Result<(), Stop> {
        unreachable!("only a microbatch topology has microbatches: {depot} {source} {skip}")
    }
    /// As [`Host::hop`] to this task, but what was written before stays one with what is written there.
    fn give_way(&mut self, at: Position, live: &[u8]) {
        self.hop(self.task(), at, live);
    }
    /// A value, in value form, for the client that appended the record. A host that runs no streams is not asked.
    fn ack_return(&mut self, value: &[u8]) {
        unreachable!("only a stream topology has appends: {value:?}")
    }
    /// Appends a record in value form to this task's partition of a depot. With a wait, the rest of the work goes on as a new
    /// event of this task when the append is acknowledged.
    ///
    /// # Errors
    /// A sentence, if nothing can be appended from here.
    fn append(&mut self, depot: usize, record: &[u8], wait: Option<AppendWait<'_>>) -> Result<(), String> {
        let _ = (record, wait);
        Err(format!("no record can be appended to depot {depot} from here"))
    }
    /// Soon these keys of a PState are read, top-level keys in key form: they may be fetched. `ends` says where each ends.
    fn expect(&mut self, pstate: ObjectId, keys: &[u8], ends: &[usize]) {
        let _ = (pstate, keys, ends);
    }
    /// Whether a record can be appended now; if not the event waits at its append, and asks again.
    fn can_append(&self) -> bool {
        true
    }
    /// The query's result in value form. A host that runs no queries is not asked.
    ///
    /// # Errors
    /// A sentence, if it cannot be one: from another task than the origin, or a second one.
    fn result(&mut self, value: &[u8]) -> Result<(), String> {
        unreachable!("only a query has a result: {value:?}")
    }
}

/// What a yielding select has still to answer.
#[derive(Clone, Debug)]
pub struct PagedSelect {
    /// The place of the PState in the module.
    pub pstate: usize,
    /// The path, without slots.
    pub path: Path,
    /// Behind which entry it goes on.
    pub after: Vec<u8>,
}

/// A visitor of records in value form.
pub type VisitRecord<'v> = &'v mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// How far a run came.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// To its end.
    Done,
    /// To a read whose blocks are not in memory.
    Need,
    /// To the end of its fuel.
    Yield,
    /// No further: the event failed.
    Failed(RunError),
}

/// The registers and iterators of one event; used again for the next.
pub struct Run {
    pub(crate) frame: Frame,
    pub(crate) arena: Arena,
    pub(crate) cursors: Cursors,
    scratch: Scratch,
    pub(crate) live: Vec<u8>,
    pub(crate) step: usize,
    pub(crate) source: usize,
    /// The step, for those who watch.
    pub(crate) place: Arc<AtomicU32>,
    /// A loop that has made the arena grow by more than this moves what it still needs together, in bytes.
    crowded: usize,
    crowded_min: usize,
}

/// The least [`Run::crowded`], in bytes.
const CROWDED_SIZE_MIN: usize = 1 << 20;

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run(at step {}, {} iterators)", self.step, self.cursors.count())
    }
}

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

struct FrameArgs<'a> {
    frame: &'a Frame,
    registers: &'a [Register],
}

impl Args for FrameArgs<'_> {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        self.registers[slot as usize].encode(self.frame, out);
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        self.registers[slot as usize].encode_key(self.frame, out);
    }
}

/// What one step asks of the loop.
pub(crate) enum Then {
    Next,
    /// This way ends: the innermost iterator goes on.
    Back,
    Goto(usize),
    Need,
}

impl Run {
    /// A run at rest.
    pub fn new() -> Run {
        Run {
            frame: Frame::new(),
            arena: Arena::new(),
            cursors: Cursors::new(),
            scratch: Scratch::new(),
            live: Vec::new(),
            step: 0,
            source: 0,
            place: Arc::default(),
            crowded: CROWDED_SIZE_MIN,
            crowded_min: CROWDED_SIZE_MIN,
        }
    }

    /// A run whose loops move what they need together as soon as they have made this many bytes, for tests.
    #[doc(hidden)]
    pub fn crowded_from(size: usize) -> Run {
        Run { crowded: size, crowded_min: size, ..Run::new() }
    }

    /// A run at rest that stores the step it stands on where others can see it.
    pub fn watched(place: Arc<AtomicU32>) -> Run {
        Run { place, ..Run::new() }
    }

    /// The step it stands on.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Forgets the event.
    pub fn reset(&mut self) {
        self.cursors.clear();
        self.arena.clear();
        self.crowded = self.crowded_min;
    }

    /// Starts an event. `live` holds the encoded live variables of the position; for a source, the record.
    ///
    /// # Errors
    /// [`RunError`] if the bytes are not what the plan expects.
    #[inline]
    pub fn begin(&mut self, plan: &Plan, at: Position, live: &[u8]) -> Result<(), RunError> {
        self.reset();
        let topology = || plan.name.clone();
        let Some(entry) = plan.entries.get((at.0 & !AS_BITS) as usize) else {
            return Err(RunError::Position { topology: topology(), position: at.0 });
        };
        self.frame.grow_to(plan.frame_size);
        let read = match at.0 & AS_BITS {
            0 => Register::decode_all(&entry.into, live, &mut self.frame, &mut self.arena),
            _ => take_bits(entry, live, &mut self.frame),
        };
        read.map_err(|source| RunError::Live { topology: topology(), source })?;
        self.step = entry.first;
        self.source = entry.source;
        Ok(())
    }

    /// Goes on until the event is done, needs something, or `fuel` steps are used up.
    pub fn resume(&mut self, plan: &Plan, host: &mut dyn Host, fuel: &mut u32) -> Outcome {
        let (mut at, mut left) = (self.step, *fuel);
        let outcome = loop {
            if left == 0 {
                break Outcome::Yield;
            }
            left -= 1;
            // The commonest steps are run here, without a result to look at. Those that may take long say where they stand.
            let goes_on = match &plan.steps[at].step {
                Step::Call(call) => {
                    self.place.store(at as u32, Ordering::Relaxed);
                    call(&mut self.frame, &mut self.arena);
                    true
                }
                Step::Filter(keep) => self.frame.get(*keep).bits() != 0,
                Step::Copy(moves) => {
                    moves.iter().for_each(|(from, to)| self.frame.set(*to, self.frame.get(*from)));
                    true
                }
                Step::End => false,
                Step::Jump(to) => {
                    at = *to;
                    continue;
                }
                Step::Again { head, .. } if !self.is_crowded() => {
                    at = *head;
                    continue;
                }
                Step::Hop { target, one_partition, position } => {
                    self.place.store(at as u32, Ordering::Relaxed);
                    match self.hop(plan, at, target, (*one_partition, *position), host) {
                        Ok(()) => false,
                        Err(error) => break Outcome::Failed(error),
                    }
                }
                _ => {
                    self.place.store(at as u32, Ordering::Relaxed);
                    match self.one(plan, at, host) {
                        Ok(Then::Next) => true,
                        Ok(Then::Back) => false,
                        Ok(Then::Goto(step)) => {
                            at = step;
                            continue;
                        }
                        Ok(Then::Need) => {
                            at -= usize::from(planted::has(Bug::ClosureRunTwice) && plan.calls_before(at));
                            break Outcome::Need;
                        }
                        Err(error) => break Outcome::Failed(error),
                    }
                }
            };
            if goes_on {
                at += 1;
                continue;
            }
            match self.cursors.back(plan, &mut self.frame, &mut self.arena) {
                Some(step) => at = step,
                None => {
                    self.reset();
                    break Outcome::Done;
                }
            }
        };
        (self.step, *fuel) = (at, left);
        outcome
    }

    fn one(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        match &plan.steps[at].step {
            Step::If { condition, otherwise } => {
                if self.frame.get(*condition).bits() == 0 {
                    return Ok(Then::Goto(*otherwise));
                }
            }
            Step::Case { test, otherwise } => {
                if !test(&mut self.frame, &mut self.arena) {
                    return Ok(Then::Goto(*otherwise));
                }
            }
            Step::Again { head, live } => {
                self.make_room(plan, live)?;
                return Ok(Then::Goto(*head));
            }
            Step::Fork { branches } => {
                if !branches.is_empty() {
                    self.cursors.push_fork(plan, at, &self.frame, &self.arena);
                }
            }
            Step::Emits { collect, out } => {
                let start = self.cursors.column.len();
                collect(&self.frame, &mut self.arena, &mut self.cursors.column);
                self.cursors.push_column(plan, at, *out, start, &self.frame, &self.arena);
                return Ok(Then::Back);
            }
            Step::Streams { collect, .. } => {
                let start = self.cursors.column.len();
                collect(&self.frame, &mut self.arena, &mut self.cursors.column);
                self.cursors.push_streams(plan, at, start, &self.frame, &self.arena);
                return Ok(Then::Back);
            }
            Step::Unfold(unfold) => {
                let state = (unfold.begin)(&mut self.arena);
                self.cursors.push_unfold(plan, at, state, &self.frame, &self.arena);
                return Ok(Then::Back);
            }
            Step::Select { .. } => return self.select(plan, at, host),
            Step::Rows { rows, out } => {
                let start = self.cursors.column.len();
                out.decode_each(*rows, &self.frame, &mut self.cursors.column, &mut self.arena)
                    .map_err(|source| RunError::Live { topology: plan.name.clone(), source })?;
                self.cursors.push_column(plan, at, out.var, start, &self.frame, &self.arena);
                return Ok(Then::Back);
            }
            Step::Transform { .. } | Step::Clear { .. } | Step::Aggregate { .. } => return self.write(plan, at, host),
            _ => return self.rare(plan, at, host),
        }
        Ok(Then::Next)
    }

    /// Steps that leave the event or ask the host.
    fn rare(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        match &plan.steps[at].step {
            Step::TaskId(out) => self.frame.set(*out, <i64 as Data>::slot(i64::from(host.task().0))),
            Step::Uuid(out) => {
                let text = crate::ops::uuid_v7(host.wall_ms(), [host.random(), host.random()]);
                self.frame.set(*out, text.into_slot(&mut self.arena));
            }
            Step::Random(out) => self.frame.set(*out, <i64 as Data>::slot(host.random() as i64)),
            Step::NowMs(out) => self.frame.set(*out, <i64 as Data>::slot(host.wall_ms() as i64)),
            Step::ModuleInfo(out) => {
                let (task_count, thread_count) = (host.task_count(), host.thread_count());
                let info = ModuleInfo { module: plan.module.clone(), task_count, thread_count };
                self.frame.set(*out, info.into_slot(&mut self.arena));
            }
            Step::Overtime { position } => {
                if host.is_overtime() {
                    self.gather_live(plan, *position, 0);
                    host.give_way(Position(*position), &self.live);
                    return Ok(Then::Back);
                }
            }
            Step::Pages { .. } => return self.pages(plan, at, host),
            Step::Await { job, position, .. } => {
                self.gather_live(plan, *position, 1);
                host.start_job(Position(*position), &self.live, job(&self.frame));
                return Ok(Then::Back);
            }
            Step::Records { .. } => return self.records(plan, at, host),
            Step::MicrobatchId(out) => self.frame.set(*out, <i64 as Data>::slot(host.microbatch() as i64)),
            Step::Result(value) => self.result(plan, value, host)?,
            Step::Check(complain) => {
                if let Some(what) = complain(&self.frame) {
                    return Err(complaint(plan, at, what));
                }
            }
            _ => return self.batch_step(plan, at, host),
        }
        Ok(Then::Next)
    }

    #[inline]
    fn is_crowded(&self) -> bool {
        self.arena.grown_since(self.cursors.mark()) > self.crowded
    }

    /// A loop that makes values each round, and never goes back to a cursor, would keep them all: above a limit, what it
    /// still needs is moved together.
    fn make_room(&mut self, plan: &Plan, needed: &[Register]) -> Result<(), RunError> {
        let mark = self.cursors.mark();
        self.live.clear();
        needed.iter().for_each(|register| register.encode(&self.frame, &mut self.live));
        self.arena.reset(mark);
        self.crowded = self.crowded_min.max(2 * self.live.len());
        Register::decode_all(needed, &self.live, &mut self.frame, &mut self.arena)
            .map_err(|source| RunError::Live { topology: plan.name.clone(), source })
    }

    /// Whether the task is the one where the step's key lives.
    fn guard(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<(), RunError> {
        let (keys, by) = match &plan.guards[at] {
            Guard::None => return Ok(()),
            Guard::Global if host.task() == TaskId(0) => return Ok(()),
            Guard::Global => return Err(wrong_task(plan, at, None, (host.task().0, 0))),
            Guard::Keys(keys, by) => (keys, by),
        };
        for key in keys {
            self.put_key(plan, key);
            let lives = by.partition(&self.live, host.task_count()).map_err(|what| complaint(plan, at, what))?;
            if lives != host.task().0 {
                return Err(wrong_task(plan, at, Some(&self.live), (host.task().0, lives)));
            }
        }
        Ok(())
    }

    /// Puts the key form of an argument into `live`.
    pub(crate) fn put_key(&mut self, plan: &Plan, key: &Arg) {
        self.live.clear();
        match key {
            Arg::Const(value) => value.encode_key(&mut self.live),
            Arg::Slot(var) => plan.registers[self.source][*var as usize].encode_key(&self.frame, &mut self.live),
        }
    }

    fn select(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        self.guard(plan, at, host)?;
        let Step::Select { pstate, path, out } = &plan.steps[at].step else { unreachable!("the step is a select") };
        let args = FrameArgs { frame: &self.frame, registers: &plan.registers[self.source] };
        let (start, mark) = (self.cursors.column.len(), self.arena.mark());
        let (arena, column) = (&mut self.arena, &mut self.cursors.column);
        let mut misfit: Option<DecodeError> = None;
        let mut visit = |value: &[u8]| match out.decode_one(value, arena) {
            Ok(slot) => {
                column.push(slot);
                ControlFlow::Continue(())
            }
            Err(error) => {
                misfit = Some(error);
                ControlFlow::Break(())
            }
        };
        let object = ObjectId(*pstate as u32);
        let result = host.store(object).map_err(EvalError::from).and_then(|store| {
            select_store(plan.schema(*pstate), object, path, store, &args, &mut self.scratch, &mut visit)
        });
        if let Some(source) = misfit {
            return Err(RunError::Live { topology: plan.name.clone(), source });
        }
        match result {
            Ok(()) => {
                self.cursors.push_column(plan, at, out.var, start, &self.frame, &self.arena);
                Ok(Then::Back)
            }
            Err(EvalError::Need) => {
                self.forget(start, mark);
                Ok(Then::Need)
            }
            Err(error) => Err(eval_error(plan, at, error)),
        }
    }

    /// The first page of a yielding select, or all of it.
    fn pages(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        self.guard(plan, at, host)?;
        let Step::Pages { pstate, path, rows, position } = &plan.steps[at].step else {
            unreachable!("the step is a select")
        };
        let args = FrameArgs { frame: &self.frame, registers: &plan.registers[self.source] };
        let (schema, object) = (plan.schema(*pstate), ObjectId(*pstate as u32));
        let (limit, scratch) = (host.page_limit(), &mut self.scratch);
        let page = host.store(object).map_err(EvalError::from).and_then(|store| match limit {
            Some(limit) => select_page(schema, object, path, store, &args, scratch, None, limit),
            None => {
                let mut all = Page::default();
                let mut visit = |value: &[u8]| {
                    all.rows.extend_from_slice(value);
                    ControlFlow::Continue(())
                };
                select_store(schema, object, path, store, &args, scratch, &mut visit).map(|()| all)
            }
        });
        let page = match page {
            Ok(page) => page,
            Err(EvalError::Need) => return Ok(Then::Need),
            Err(error) => return Err(eval_error(plan, at, error)),
        };
        let next = page.next.map(|after| PagedSelect { pstate: *pstate, path: path.bind(&args), after });
        self.frame.set(*rows, self.arena.copy(&page.rows));
        if let Some(select) = next {
            self.gather_live(plan, *position, 1);
            host.select_on(Position(*position), &self.live, select);
        }
        Ok(Then::Next)
    }

    pub(crate) fn forget(&mut self, start: usize, mark: Mark) {
        self.cursors.column.truncate(start);
        self.arena.reset(mark);
    }

    fn write(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        self.guard(plan, at, host)?;
        let args = FrameArgs { frame: &self.frame, registers: &plan.registers[self.source] };
        let (step, scratch) = (&plan.steps[at].step, &mut self.scratch);
        let (Step::Transform { pstate, .. } | Step::Clear { pstate } | Step::Aggregate { pstate, .. }) = step else {
            unreachable!("the step writes")
        };
        let (schema, object) = (plan.schema(*pstate), ObjectId(*pstate as u32));
        let result = host.store(object).map_err(EvalError::from).and_then(|store| match step {
            Step::Transform { path, .. } => transform_store(schema, object, path, store, &args, scratch),
            Step::Aggregate { shape, .. } => aggregate(schema, object, shape, store, &args, scratch),
            _ => clear_store(object, store),
        });
        match result {
            Ok(()) => Ok(Then::Next),
            Err(EvalError::Need) => Ok(Then::Need),
            Err(error) => Err(eval_error(plan, at, error)),
        }
    }
}

/// The typed inside of a lazy iterator.
pub(crate) fn unfold_next<A, S, O>(
    of: Var<A>,
    out: Var<O>,
    function: impl for<'x> Fn(&'x A, &mut S) -> Option<&'x O> + Send + Sync + 'static,
) -> Advance
where
    A: ?Sized + for<'y> Data<Ref<'y> = &'y A>,
    O: ?Sized + for<'y> Data<Ref<'y> = &'y O>,
    S: Send + 'static,
{
    Box::new(move |frame, state| {
        // SAFETY: `begin` of the same step put an `S` there; the cursor that holds the pointer is the only one that uses
        // it, and the arena keeps it until the cursor is gone.
        let state = unsafe { state.cast::<S>().as_mut() };
        // SAFETY: as for every step's inputs: bound before, pinned in the arena before the iterator's mark.
        let input = unsafe { of.read(frame) };
        match function(input, state).map(O::slot) {
            Some(slot) => {
                frame.set(out.id, slot);
                true
            }
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::define;
    use crate::depot::random;
    use crate::module::{Module, Setup, Topologies};
    use tantu_base::value::encoded;
    use tantu_path::{Stop, VisitEntry};

    struct Alone;

    impl Store for Alone {
        fn get(&mut self, _: ObjectId, _: &[u8], _: &mut Vec<u8>) -> Result<bool, Stop> {
            Ok(false)
        }
        fn put(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
            Ok(())
        }
        fn delete(&mut self, _: ObjectId, _: &[u8]) -> Result<(), Stop> {
            Ok(())
        }
        fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
            Ok(())
        }

        fn scan_back(
            &mut self,
            _: ObjectId,
            _: std::ops::Bound<&[u8]>,
            _: std::ops::Bound<&[u8]>,
            _: VisitEntry<'_>,
        ) -> Result<(), Stop> {
            Ok(())
        }

        fn scan(
            &mut self,
            _: ObjectId,
            _: std::ops::Bound<&[u8]>,
            _: std::ops::Bound<&[u8]>,
            _: VisitEntry<'_>,
        ) -> Result<(), Stop> {
            Ok(())
        }
    }

    impl Host for Alone {
        fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
            Ok(self)
        }

        fn task(&self) -> TaskId {
            TaskId(0)
        }
        fn task_count(&self) -> u32 {
            1
        }
        fn random(&mut self) -> u64 {
            4
        }
        fn shuffle(&mut self) -> TaskId {
            TaskId(0)
        }
        fn wall_ms(&self) -> u64 {
            0
        }
        fn is_overtime(&self) -> bool {
            false
        }
        fn start_job(&mut self, _: Position, _: &[u8], _: Job) {
            panic!("no jobs here");
        }
        fn hop(&mut self, _: TaskId, _: Position, _: &[u8]) {}
    }

    /// Counts down with a text that each round makes anew.
    struct Countdown;

    impl Module for Countdown {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let depot = setup.declare_depot::<i64>("*in", random());
            topologies.stream("s").source(&depot, |b, n| {
                let text = b.each(n, |n| "x".repeat(10_000 + n as usize % 7));
                let one = b.explode(n, |_| [1i64]);
                b.repeat((n, text), |b, rounds, (left, text)| {
                    b.filter((left, text), |(left, text)| left != 0 && text.len() >= 10_000);
                    let (left, text) =
                        b.expand((left, text, one), |(left, text, one)| (left - one, format!("{}x", &text[1..])));
                    b.continue_loop(rounds, (left, text));
                });
            });
        }
    }

    #[test]
    fn a_loop_of_many_rounds_takes_no_more_memory_than_one_of_few() {
        let module = define::<Countdown>().unwrap();
        let stream = &module.streams[0];
        let mut run = Run::new();
        run.begin(&stream.plan, stream.sources[0].at, &encoded(&20_000i64)).unwrap();
        let mut most = 0;
        loop {
            let mut fuel = 1_000;
            let outcome = run.resume(&stream.plan, &mut Alone, &mut fuel);
            most = most.max(run.arena.size());
            match outcome {
                Outcome::Yield => {}
                Outcome::Done => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(most < 8 << 20, "200 MB of texts were made, {most} bytes held");
    }

    #[test]
    fn a_loop_without_an_end_gives_way_when_its_fuel_is_used_up() {
        let module = define::<Countdown>().unwrap();
        let stream = &module.streams[0];
        let mut run = Run::new();
        run.begin(&stream.plan, stream.sources[0].at, &encoded(&-1i64)).unwrap();
        for _ in 0..100 {
            let mut fuel = 50;
            assert_eq!(run.resume(&stream.plan, &mut Alone, &mut fuel), Outcome::Yield);
        }
    }
}
