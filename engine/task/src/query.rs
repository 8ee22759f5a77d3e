//! Query topologies on a task thread: calls that started here, and events of calls from everywhere.
//!
//! An event of a query reads the version of its task that was visible when the event began, which stays pinned until it
//! ends. It writes nothing, so it holds nothing: while it waits for blocks, everything else on its task goes on, and what
//! it sends leaves at its end. A call is answered when the XOR of the numbers of its events is zero, as a
//! stream record is done.

use crate::event::Event;
use crate::host::EventRandom;
use crate::limit::{
    FUEL_PER_CHECK, QUERY_CALL_COUNT_MAX, QUERY_EVENTS_PER_TURN, QUERY_TIMEOUT_MS, TURN_NS_MAX, TURN_NS_TARGET,
};
use crate::stream::panic_text;
use crate::thread::TaskThread;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::id::{Category, ObjectId, Offset, TaskId, Version};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_flow::{Host, Outcome, Position, Run};
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{Letter, Refusal, Root};
use tantu_path::{Stop, Store};
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
    result: Option<Vec<u8>>,
    run: Run,
    at: Version,
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
    spare: Vec<Run>,
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

    /// Whether no call started here is without an answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
    }
}

/// What an event of a query sees of the task it stands on.
struct QueryHost<'a> {
    view: PinnedView<'a>,
    random: &'a mut EventRandom,
    task: TaskId,
    task_count: u32,
    fingerprint: u32,
    topology: u16,
    root: Root,
    bits: &'a mut u64,
    letters: &'a mut Vec<u8>,
    result: &'a mut Option<Vec<u8>>,
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

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let event = self.random.next();
        *self.bits ^= event;
        let Self { topology: stream, fingerprint, root, .. } = *self;
        Letter::Continue { task: to, stream, fingerprint, position: at.0, root, event, live }.encode(self.letters);
    }

    fn origin(&self) -> TaskId {
        self.root.task
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
        self.queries.calls.insert((task, number), Call { peer, request, query, xor: id, deadline, result: None });
        let root = Root { task, source, offset: number, attempt: 0 };
        self.slots[slot].calls.push(topology, def.at, root, id, arguments);
    }

    /// Whether this is the root of a call, not of a record.
    pub(crate) fn is_call(&self, root: &Root) -> bool {
        usize::from(root.source) >= self.config.module.sources.len()
    }

    /// Events of a call of this thread are done.
    pub(crate) fn call_done(&mut self, root: Root, bits: u64) {
        // A call that is not there any more failed or took too long.
        let Some(call) = self.queries.calls.get_mut(&(root.task, root.offset)) else { return };
        call.xor ^= bits;
        if call.xor != 0 {
            return;
        }
        let call = self.queries.calls.remove(&(root.task, root.offset)).expect("invariant: just seen");
        match call.result {
            Some(rows) => {
                let letter = Letter::Rows { request: call.request, more: false, count: 1, rows: &rows };
                self.outbox.push(call.peer, Category::Client, &letter);
            }
            None => {
                let name = &self.config.module.def.queries[usize::from(call.query)].name;
                let text = format!("the query {name} ended without a result: no row reached it");
                self.refuse(call.peer, call.request, Refusal::QueryFailed, &text);
            }
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
            let mut run = self.queries.spare.pop().unwrap_or_default();
            let begun = run.begin(plan, event.at, slot.calls.live(&event));
            slot.calls.reclaim();
            let Event { root, id: bits, .. } = event;
            if let Err(error) = begun {
                self.queries.spare.push(run);
                self.send_report(&Letter::Failed { root, text: &error.to_string() }, now);
                continue;
            }
            let version = slot.state.visible();
            slot.state.pin(version);
            let (letters, result) = (Vec::new(), None);
            return Some(Running { slot: at, topology, root, bits, letters, result, run, at: version });
        }
    }

    fn run_query_event(&mut self, mut running: Running, doors: &mut Doors<'_>) {
        let module = Arc::clone(&self.config.module);
        let plan = module.plan(running.topology).expect("invariant: checked when it was pushed");
        let start = doors.clock.now();
        loop {
            let slot = &mut self.slots[running.slot];
            let mut need = None;
            let Running { ref mut run, ref mut bits, ref mut letters, ref mut result, .. } = running;
            let view = PinnedView {
                state: &slot.state,
                cache: &mut self.cache,
                need: &mut need,
                objects: &module.pstates,
                at: running.at,
            };
            let mut host = QueryHost {
                view,
                random: &mut self.random,
                task: slot.task,
                task_count: module.task_count,
                fingerprint: plan.fingerprint() as u32,
                topology: running.topology,
                root: running.root,
                bits,
                letters,
                result,
            };
            let mut fuel = FUEL_PER_CHECK;
            // Only user code may panic without ending the worker: it is caught here, at its edge.
            let outcome = catch_unwind(AssertUnwindSafe(|| run.resume(plan, &mut host, &mut fuel)));
            let failure = match outcome {
                Ok(Outcome::Done) => None,
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
            self.end_query_event(running, failure, doors.clock.now());
            return;
        }
    }

    /// What an ended event sent leaves, then its report.
    fn end_query_event(&mut self, running: Running, failure: Option<String>, now: Nanos) {
        let Running { slot, root, bits, letters, result, mut run, at, .. } = running;
        self.slots[slot].state.unpin(at);
        run.reset();
        self.queries.spare.push(run);
        let failure = failure.or_else(|| result.and_then(|value| self.keep_result(&root, value)));
        match failure {
            Some(text) => self.send_report(&Letter::Failed { root, text: &text }, now),
            None => {
                self.release(&letters, now);
                self.send_report(&Letter::Done { root, bits }, now);
            }
        }
    }

    /// Notes the result of a call that started here, or says why it cannot be one.
    fn keep_result(&mut self, root: &Root, value: Vec<u8>) -> Option<String> {
        let call = self.queries.calls.get_mut(&(root.task, root.offset))?;
        call.result.replace(value).map(|_| SEVERAL_RESULTS.to_string())
    }

    fn send_report(&mut self, letter: &Letter<'_>, now: Nanos) {
        let mut bytes = Vec::new();
        letter.encode(&mut bytes);
        self.release(&bytes, now);
    }
}
