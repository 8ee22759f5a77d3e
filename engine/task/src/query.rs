//! Query topologies on a task thread: calls that started here, and events of calls from everywhere.
//!
//! An event of a query reads the version of its task that was visible when the event began, which stays pinned until it
//! ends. It writes nothing, so it holds nothing: while it waits for blocks, everything else on its task goes on, and what
//! it sends leaves at its end. A call is answered when the XOR of the numbers of its events is zero, as a
//! stream record is done.

use crate::event::Event;
use crate::host::EventRandom;
use crate::jobs::Starting;
use crate::limit::{
    FUEL_PER_CHECK, QUERY_CALL_COUNT_MAX, QUERY_EVENTS_PER_TURN, QUERY_FOLD_SIZE_MAX, QUERY_ROWS_SIZE,
    QUERY_RUN_COUNT_MAX, QUERY_TIMEOUT_MS, TURN_NS_MAX, TURN_NS_TARGET,
};
use crate::stream::panic_text;
use crate::thread::TaskThread;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tantu_base::door::{Clock, Doors, Job, Nanos, Peer};
use tantu_base::fixed::{FixedReader, put_sized};
use tantu_base::id::{Category, ObjectId, Offset, TaskId, Version};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_flow::{FoldDef, Host, Outcome, Plan, Position, Run, Shuffle};
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{Letter, Refusal, Root};
use tantu_path::{AggError, Fold, Room, Stop, Store};
use tantu_state::view::PinnedView;

/// A call that started on this thread and has no answer yet.
#[derive(Debug)]
struct Call {
    peer: Peer,
    request: u64,
    query: u16,
    /// Numbers of the events that are out.
    xor: u64,
    deadline: Nanos,
    /// In value form, for the phases to come.
    arguments: Vec<u8>,
    /// How many aggregations have been drained.
    phase: usize,
    /// The aggregation that rows come to now.
    fold: Option<Fold>,
    result: Option<Vec<u8>>,
}

/// An event whose run has begun.
#[derive(Debug)]
struct Running {
    slot: usize,
    topology: u16,
    root: Root,
    /// Numbers of the event and of those it sent.
    bits: u64,
    /// What it sent.
    letters: Vec<u8>,
    /// What it started.
    jobs: Vec<Starting>,
    /// Rows on their way to aggregators, by task and aggregation.
    rows: BTreeMap<(TaskId, usize), Gathered>,
    /// What the aggregators made of the phase before, in the event that begins one.
    drained: Option<Fold>,
    result: Option<Vec<u8>>,
    run: Run,
    at: Version,
}

/// Rows of an event for the aggregators of a task.
#[derive(Debug)]
enum Gathered {
    /// Combined already.
    Partials(Box<Fold>),
    /// As they are, encoded.
    Rows(Vec<u8>),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    calls: BTreeMap<(TaskId, Offset), Call>,
    /// The number of the next call. Roots of earlier lives of the process are not known any more.
    next: u64,
    /// Events whose blocks arrived, or which used up a turn.
    ready: VecDeque<Running>,
    /// Events that wait for blocks.
    parked: Vec<(Running, Need)>,
    /// Registers and letters of ended events, to be used again.
    spare: Vec<(Run, Vec<u8>)>,
    next_slot: usize,
}

impl Queries {
    /// Blocks of a slot's tree arrived: whoever waits for one of them goes on.
    pub(crate) fn wake(&mut self, slot: usize, arrived: &Neighbours) {
        let waits = |(running, need): &mut (Running, Need)| {
            running.slot == slot && need.blocks().iter().any(|id| arrived.hold(id))
        };
        self.ready.extend(self.parked.extract_if(.., waits).map(|(running, _)| running));
    }

    /// Whether no more calls can be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= QUERY_CALL_COUNT_MAX
    }

    /// Bytes that calls started here hold: their arguments, what their aggregators took in, their results.
    pub(crate) fn size(&self) -> usize {
        let of_call = |call: &Call| {
            call.arguments.len() + call.fold.as_ref().map_or(0, Fold::size) + call.result.as_ref().map_or(0, Vec::len)
        };
        self.calls.values().map(of_call).sum()
    }

    /// Whether no call started here is without an answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
    }
}

/// Takes rows into a fold.
fn absorb(fold: &mut Fold, is_partial: bool, rows: &[u8]) -> Result<(), AggError> {
    let mut reader = FixedReader::new(rows);
    while !reader.is_empty() {
        let mut part = || reader.sized().expect("invariant: a task thread encoded it");
        let (keys, values) = (part(), part());
        let room = if is_partial { fold.combine(keys, values)? } else { fold.step_encoded(keys, values)? };
        if room == Room::Full {
            return Err(AggError::Memory { limit: QUERY_FOLD_SIZE_MAX });
        }
    }
    Ok(())
}

/// What an event of a query sees of the task it stands on.
struct QueryHost<'a> {
    view: PinnedView<'a>,
    folds: &'a [FoldDef],
    random: &'a mut EventRandom,
    shuffle: &'a mut Shuffle,
    clock: &'a dyn Clock,
    start: Nanos,
    task: TaskId,
    task_count: u32,
    fingerprint: u32,
    topology: u16,
    root: Root,
    bits: &'a mut u64,
    letters: &'a mut Vec<u8>,
    jobs: &'a mut Vec<Starting>,
    rows: &'a mut BTreeMap<(TaskId, usize), Gathered>,
    drained: &'a mut Option<Fold>,
    result: &'a mut Option<Vec<u8>>,
}

impl QueryHost<'_> {
    /// Sends what is gathered for a task and an aggregation.
    fn send_rows(&mut self, to: TaskId, fold: usize, gathered: &mut Gathered) -> Result<(), AggError> {
        let mut rows = Vec::new();
        match gathered {
            Gathered::Rows(gathered) => self.send_some(to, fold, false, gathered),
            Gathered::Partials(partials) => {
                partials.drain(&mut |keys, states| {
                    put_row(&mut rows, keys, states);
                    if rows.len() > QUERY_ROWS_SIZE {
                        self.send_some(to, fold, true, &mut rows);
                    }
                    Ok(())
                })?;
                self.send_some(to, fold, true, &mut rows);
            }
        }
        Ok(())
    }

    /// The event ran to its end: what it gathered leaves with its letters.
    fn end(&mut self) -> Result<(), AggError> {
        std::mem::take(self.rows).into_iter().try_for_each(|((to, fold), mut rows)| self.send_rows(to, fold, &mut rows))
    }

    fn send_some(&mut self, task: TaskId, fold: usize, is_partial: bool, rows: &mut Vec<u8>) {
        if rows.is_empty() {
            return;
        }
        let event = self.random.next();
        *self.bits ^= event;
        let Self { topology, fingerprint, root, .. } = *self;
        let fold = fold as u16;
        Letter::Fold { task, topology, fingerprint, fold, root, event, is_partial, rows }.encode(self.letters);
        rows.clear();
    }
}

fn put_row(rows: &mut Vec<u8>, keys: &[u8], values: &[u8]) {
    put_sized(rows, keys);
    put_sized(rows, values);
}

impl Store for QueryHost<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        self.view.get(object, key, out)
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.view.put(object, key, value)
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.view.delete(object, key)
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.view.delete_range(object, from, to)
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        self.view.scan_back(object, from, to, visit)
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        self.view.scan(object, from, to, visit)
    }
}

impl Host for QueryHost<'_> {
    fn task(&self) -> TaskId {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.task_count
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn shuffle(&mut self) -> TaskId {
        let random = &mut *self.random;
        self.shuffle.next(self.task_count, || random.next())
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn is_overtime(&self) -> bool {
        self.clock.now().since(self.start) > TURN_NS_MAX
    }

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        let event = self.random.next();
        *self.bits ^= event;
        let Self { task, topology: stream, root, .. } = *self;
        self.jobs.push(Starting { task, stream, at, root, event, live: live.to_vec(), job });
    }

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let event = self.random.next();
        *self.bits ^= event;
        let Self { topology: stream, fingerprint, root, .. } = *self;
        Letter::Continue { task: to, stream, fingerprint, position: at.0, root, event, live }.encode(self.letters);
    }

    fn origin(&self) -> TaskId {
        self.root.task
    }

    fn fold(&mut self, to: TaskId, fold: usize, keys: &[u8], args: &[u8]) -> Result<(), AggError> {
        let def = &self.folds[fold];
        let fresh = || match def.is_combiner() {
            true => Gathered::Partials(Box::new(def.fold(QUERY_ROWS_SIZE))),
            false => Gathered::Rows(Vec::new()),
        };
        let is_full = match self.rows.entry((to, fold)).or_insert_with(fresh) {
            Gathered::Partials(partials) => partials.step_encoded(keys, args)? == Room::Full,
            Gathered::Rows(rows) => {
                put_row(rows, keys, args);
                rows.len() > QUERY_ROWS_SIZE
            }
        };
        if is_full && let Some(mut gathered) = self.rows.remove(&(to, fold)) {
            self.send_rows(to, fold, &mut gathered)?;
        }
        Ok(())
    }

    fn drain(&mut self, _: usize, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<(), AggError> {
        let mut fold =
            self.drained.take().expect("invariant: the event that begins a phase has what the last one made");
        fold.finish(visit)
    }

    fn result(&mut self, value: &[u8]) -> Result<(), String> {
        if self.task != self.root.task {
            return Err(format!("the result is reached on {}, but the call started on {}", self.task, self.root.task));
        }
        if value.len() > RECORD_SIZE_MAX {
            return Err(format!("the result has {} bytes, the most is {RECORD_SIZE_MAX}", value.len()));
        }
        match self.result.replace(value.to_vec()) {
            None => Ok(()),
            Some(_) => Err(SEVERAL_RESULTS.to_string()),
        }
    }
}

const SEVERAL_RESULTS: &str = "the result is reached more than once; a query has one result per call";

impl TaskThread {
    /// A client invokes a query.
    pub(crate) fn take_invoke(
        &mut self,
        peer: Peer,
        task: TaskId,
        request: u64,
        query: u16,
        arguments: &[u8],
        now: Nanos,
    ) {
        let module = Arc::clone(&self.config.module);
        let (slot, (def, topology, source)) = match (self.slot_of(task), module.query(usize::from(query))) {
            _ if self.closing => return self.refuse(peer, request, Refusal::Closing, "the module is closing"),
            (None, _) => {
                let text = format!("{task} is not on {}", self.config.thread);
                return self.refuse(peer, request, Refusal::Invalid, &text);
            }
            (_, None) => {
                let text = format!("the module has no query {query}");
                return self.refuse(peer, request, Refusal::Invalid, &text);
            }
            (Some(slot), Some(found)) => (slot, found),
        };
        let number = Offset(self.queries.next);
        self.queries.next += 1;
        let id = self.random.next();
        let deadline = now.plus_ms(QUERY_TIMEOUT_MS);
        let call = Call {
            peer,
            request,
            query,
            xor: id,
            deadline,
            arguments: if def.plan.folds().is_empty() { Vec::new() } else { arguments.to_vec() },
            phase: 0,
            fold: None,
            result: None,
        };
        self.queries.calls.insert((task, number), call);
        let root = Root { task, source, offset: number, attempt: 0 };
        self.slots[slot].calls.push(topology, def.at, root, id, arguments);
    }

    /// Whether this is the root of a call, not of a record.
    pub(crate) fn is_call(&self, root: &Root) -> bool {
        let module = &self.config.module;
        let from = module.sources.len();
        (from..from + module.def.queries.len()).contains(&usize::from(root.source))
    }

    /// Events of a call of this thread are done.
    pub(crate) fn call_done(&mut self, root: Root, bits: u64) {
        let Some(slot) = self.slot_of(root.task) else { return };
        // A call that is not there any more failed or took too long.
        let Some(call) = self.queries.calls.get_mut(&(root.task, root.offset)) else { return };
        call.xor ^= bits;
        if call.xor != 0 {
            return;
        }
        let module = Arc::clone(&self.config.module);
        let (def, topology, _) = module.query(usize::from(call.query)).expect("invariant: it was invoked");
        if let Some(fold) = def.plan.folds().get(call.phase) {
            // The last row has arrived: what the aggregators made goes on.
            let id = self.random.next();
            call.xor = id;
            call.phase += 1;
            self.slots[slot].calls.push(topology, fold.at(), root, id, &call.arguments);
            return;
        }
        let call = self.queries.calls.remove(&(root.task, root.offset)).expect("invariant: just seen");
        match call.result {
            Some(rows) => {
                let letter = Letter::Rows { request: call.request, more: false, count: 1, rows: &rows };
                self.outbox.push(call.peer, Category::Client, &letter);
            }
            None => {
                let text = format!("the query {} ended without a result: no row reached it", def.name);
                self.refuse(call.peer, call.request, Refusal::QueryFailed, &text);
            }
        }
    }

    /// Rows reach the aggregators of a call of this thread.
    pub(crate) fn take_rows(&mut self, root: Root, fold: u16, event: u64, is_partial: bool, rows: &[u8], now: Nanos) {
        let module = Arc::clone(&self.config.module);
        let Some(call) = self.queries.calls.get_mut(&(root.task, root.offset)) else { return };
        let def = &module.def.queries[usize::from(call.query)].plan.folds()[usize::from(fold)];
        let fold = call.fold.get_or_insert_with(|| def.fold(QUERY_FOLD_SIZE_MAX));
        match absorb(fold, is_partial, rows) {
            Ok(()) => self.report_done(root, event),
            Err(error) => self.report_failed(root, &error.to_string(), now),
        }
    }

    /// An event of a call of this thread failed.
    pub(crate) fn call_failed(&mut self, root: Root, text: &str) {
        if let Some(call) = self.queries.calls.remove(&(root.task, root.offset)) {
            self.refuse(call.peer, call.request, Refusal::QueryFailed, text);
        }
    }

    /// Fails the calls that took too long.
    pub(crate) fn fail_overdue_calls(&mut self, now: Nanos) {
        let late: Vec<Call> =
            self.queries.calls.extract_if(.., |_, call| call.deadline <= now).map(|(_, call)| call).collect();
        for call in late {
            let name = &self.config.module.def.queries[usize::from(call.query)].name;
            let text = format!("the query {name} took longer than {QUERY_TIMEOUT_MS} ms");
            self.refuse(call.peer, call.request, Refusal::QueryTimedOut, &text);
        }
    }

    /// Runs events of queries for a part of a turn; false if there are none.
    pub(crate) fn run_queries(&mut self, doors: &mut Doors<'_>) -> bool {
        let start = doors.clock.now();
        for ran in 0..QUERY_EVENTS_PER_TURN {
            let Some(running) = self.queries.ready.pop_front().or_else(|| self.begin_query_event(start)) else {
                return ran > 0;
            };
            self.run_query_event(running, doors);
            if ran % 8 == 7 && doors.clock.now().since(start) > TURN_NS_TARGET {
                break;
            }
        }
        true
    }

    /// Begins the next event of a query, of each task in turn.
    fn begin_query_event(&mut self, now: Nanos) -> Option<Running> {
        if self.queries.parked.len() + self.queries.ready.len() >= QUERY_RUN_COUNT_MAX {
            return None;
        }
        let module = Arc::clone(&self.config.module);
        loop {
            let count = self.slots.len();
            let from = self.queries.next_slot;
            let at = (0..count).map(|i| (from + i) % count).find(|at| !self.slots[*at].calls.is_empty())?;
            self.queries.next_slot = (at + 1) % count;
            let slot = &mut self.slots[at];
            let topology = slot.calls.next_stream()?;
            let event = slot.calls.pop(topology)?;
            let plan = module.plan(topology).expect("invariant: checked when it was pushed");
            let (mut run, letters) = self.queries.spare.pop().unwrap_or_default();
            let begun = run.begin(plan, event.at, slot.calls.live(&event));
            slot.calls.reclaim();
            let Event { root, id: bits, .. } = event;
            if let Err(error) = begun {
                self.report_call_failed(root, &error.to_string(), (run, letters), now);
                continue;
            }
            let version = slot.state.visible();
            slot.state.pin(version);
            return Some(Running {
                slot: at,
                topology,
                root,
                bits,
                letters,
                jobs: Vec::new(),
                rows: BTreeMap::new(),
                drained: self.drained(plan, &root, event.at),
                result: None,
                run,
                at: version,
            });
        }
    }

    /// What the aggregators made, if the event begins the phase after them.
    fn drained(&mut self, plan: &Plan, root: &Root, at: Position) -> Option<Fold> {
        let def = plan.folds().iter().find(|fold| fold.at() == at)?;
        let call = self.queries.calls.get_mut(&(root.task, root.offset));
        Some(call.and_then(|call| call.fold.take()).unwrap_or_else(|| def.fold(QUERY_FOLD_SIZE_MAX)))
    }

    fn run_query_event(&mut self, mut running: Running, doors: &mut Doors<'_>) {
        let module = Arc::clone(&self.config.module);
        let plan = module.plan(running.topology).expect("invariant: checked when it was pushed");
        let start = doors.clock.now();
        loop {
            let slot = &mut self.slots[running.slot];
            let mut need = None;
            let (at, topology, root) = (running.at, running.topology, running.root);
            let Running { run, bits, letters, jobs, rows, drained, result, .. } = &mut running;
            let view = PinnedView {
                state: &slot.state,
                cache: &mut self.cache,
                need: &mut need,
                objects: &module.pstates,
                at,
            };
            let mut host = QueryHost {
                view,
                folds: plan.folds(),
                random: &mut self.random,
                shuffle: &mut slot.shuffle,
                clock: doors.clock,
                start,
                task: slot.task,
                task_count: module.task_count,
                fingerprint: plan.fingerprint() as u32,
                topology,
                root,
                bits,
                letters,
                jobs,
                rows,
                drained,
                result,
            };
            let mut fuel = FUEL_PER_CHECK;
            // Only user code may panic without ending the worker: it is caught here, at its edge.
            let outcome = catch_unwind(AssertUnwindSafe(|| run.resume(plan, &mut host, &mut fuel)));
            let failure = match outcome {
                Ok(Outcome::Done) => host.end().err().map(|error| error.to_string()),
                Ok(Outcome::Need) => {
                    let need = need.expect("invariant: a view that stops for blocks names them");
                    if slot.state.fetch(&need, doors.disk) {
                        self.queries.parked.push((running, need));
                    } else {
                        self.queries.ready.push_back(running);
                    }
                    return;
                }
                Ok(Outcome::Yield) => {
                    if doors.clock.now().since(start) > TURN_NS_MAX {
                        self.queries.ready.push_back(running);
                        return;
                    }
                    continue;
                }
                Ok(Outcome::Failed(error)) => Some(error.to_string()),
                Err(panic) => Some(format!("user code panicked: {}", panic_text(&*panic))),
            };
            self.end_query_event(running, failure, doors);
            return;
        }
    }

    /// What an ended event sent leaves, then its report.
    fn end_query_event(&mut self, running: Running, failure: Option<String>, doors: &mut Doors<'_>) {
        let now = doors.clock.now();
        let Running { slot, root, bits, mut letters, jobs, result, mut run, at, .. } = running;
        self.slots[slot].state.unpin(at);
        run.reset();
        let failure = failure.or_else(|| result.and_then(|value| self.keep_result(&root, value)));
        if let Some(text) = failure {
            return self.report_call_failed(root, &text, (run, letters), now);
        }
        Letter::Done { root, bits }.encode(&mut letters);
        self.release(&letters, now);
        self.jobs.start(jobs, doors);
        letters.clear();
        self.queries.spare.push((run, letters));
    }

    /// Tells a call's root that an event failed; what the event would have sent is dropped.
    fn report_call_failed(&mut self, root: Root, text: &str, (run, mut letters): (Run, Vec<u8>), now: Nanos) {
        letters.clear();
        Letter::Failed { root, text }.encode(&mut letters);
        self.release(&letters, now);
        letters.clear();
        self.queries.spare.push((run, letters));
    }

    /// Notes the result of a call that started here, or says why it cannot be one.
    fn keep_result(&mut self, root: &Root, value: Vec<u8>) -> Option<String> {
        let call = self.queries.calls.get_mut(&(root.task, root.offset))?;
        call.result.replace(value).map(|_| SEVERAL_RESULTS.to_string())
    }
}
