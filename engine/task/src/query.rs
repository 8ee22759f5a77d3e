//! Query topologies on a task thread: calls that started here, and events of calls from everywhere.
//!
//! An event of a query reads the version of its task that was visible when the event began, which stays pinned until it
//! ends. It writes nothing, so it holds nothing: while it waits for blocks, everything else on its task goes on, and what
//! it sends leaves at its end. A call is answered when the XOR of the numbers of its events is zero, as a
//! stream record is done.

pub(crate) mod calls;
pub(crate) mod over;

use self::calls::{ByClass, Calls, OF_TOPOLOGY, class_of};
use self::over::Over;
use crate::event::Event;
use crate::host::EventRandom;
use crate::jobs::Starting;
use crate::limit::{QUERY_CALL_COUNT_MAX, QUERY_DEPTH_MAX, QUERY_EVENTS_PER_TURN, QUERY_RUN_COUNT_MAX, TURN_NS_TARGET};
use crate::micro::run::JobEvent;
use crate::overrun::{Watched, guarded};
use crate::paging::{Paging, page_limit};
use crate::slot::TaskSlot;
use crate::tables::{RootTables, RowsOut, Sender};
use crate::thread::TaskThread;
use crate::turn::sends_too_much;
use std::collections::VecDeque;
use std::sync::Arc;
use tantu_base::door::{Clock, Doors, Job, Nanos, Peer};
use tantu_base::id::{Category, ObjectId, Offset, TaskId, Version};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_flow::{
    BatchError, Host, ModuleRuntime, Outcome, PagedSelect, Plan, Position, QueryOptions, RowsOf, Run, Shuffle, Stages,
    VisitRow, Where,
};
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{Letter, Refusal, Root};
use tantu_path::{PageLimit, Stop, Store};
use tantu_state::snapshot::Snapshot;
use tantu_state::view::PinnedView;

/// Who waits for the result of a call.
#[derive(Debug)]
enum Asker {
    Client {
        peer: Peer,
        request: u64,
    },
    /// An event of the task where the call started.
    Event {
        topology: u16,
        fingerprint: u32,
        at: Position,
        root: Root,
        event: u64,
        live: Vec<u8>,
    },
}

/// A call that started on this thread and has no answer yet.
#[derive(Debug)]
struct Call {
    asker: Asker,
    /// How many calls are around it; and [`OF_TOPOLOGY`], if an event of a topology is around them all.
    depth: u32,
    query: u16,
    /// What is out, and what is to come.
    stages: Stages,
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
    /// What it started.
    jobs: Vec<Starting>,
    /// Its yielding selects after their first page, each with the random number of its own.
    selects: Vec<(u64, Position, Vec<u8>, PagedSelect)>,
    /// Rows on their way to tables.
    rows: RowsOut,
    /// Tables it has read to their end.
    read: Vec<RowsOf>,
    result: Option<Vec<u8>>,
    run: Run,
    at: Version,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    calls: Calls,
    /// The number of the next call. Roots of earlier lives of the process are not known any more.
    next: u64,
    /// Events whose blocks arrived, or which used up a turn.
    ready: ByClass<VecDeque<Running>>,
    /// How many have begun and not ended.
    begun: ByClass<usize>,
    /// Calls that fail now, and why.
    failing: VecDeque<(Root, String)>,
    /// Events that wait for blocks.
    parked: Vec<(Running, Need)>,
    /// Registers and letters of ended events, to be used again.
    spare: Vec<(Run, Vec<u8>)>,
    next_slot: usize,
    /// Says whose event is next.
    turn: usize,
    /// Calls that ended early.
    pub(crate) over: Over,
    due_at: Option<Nanos>,
}

impl Queries {
    /// Blocks of a slot's tree arrived: whoever waits for one of them goes on.
    pub(crate) fn wake(&mut self, slot: usize, arrived: &Neighbours) {
        let waits = |(running, need): &mut (Running, Need)| {
            running.slot == slot && need.blocks().iter().any(|id| arrived.hold(id))
        };
        for (running, _) in self.parked.extract_if(.., waits) {
            self.ready[class_of(&running.root)].push_back(running);
        }
    }

    /// Bytes that calls started here hold: their arguments and results, and what goes on with these.
    pub(crate) fn size(&self) -> usize {
        let of_call = |call: &Call| {
            let waiting = match &call.asker {
                Asker::Client { .. } => 0,
                Asker::Event { live, .. } => live.len(),
            };
            size_of::<Call>() + call.stages.size() + call.result.as_ref().map_or(0, Vec::len) + waiting
        };
        self.calls.iter().map(of_call).sum()
    }

    /// Whether no call started here is without an answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
    }
}

/// What an event of a query sees of the task it stands on.
struct QueryHost<'a> {
    view: PinnedView<'a>,
    plan: &'a Plan,
    module: &'a ModuleRuntime,
    tables: &'a mut RootTables,
    /// How long the root's tables stay.
    until: Nanos,
    random: &'a mut EventRandom,
    shuffle: &'a mut Shuffle,
    clock: &'a dyn Clock,
    /// When the event should yield.
    overtime_at: Nanos,
    task: TaskId,
    topology: u16,
    root: Root,
    bits: &'a mut u64,
    letters: &'a mut Vec<u8>,
    jobs: &'a mut Vec<Starting>,
    selects: &'a mut Vec<(u64, Position, Vec<u8>, PagedSelect)>,
    rows: &'a mut RowsOut,
    read: &'a mut Vec<RowsOf>,
    result: &'a mut Option<Vec<u8>>,
}

impl QueryHost<'_> {
    /// Where rows of the event leave, and they.
    fn rows_out(&mut self) -> (&mut RowsOut, Sender<'_>) {
        let Self { plan, topology, root, random, bits, letters, rows, .. } = self;
        let (plan, topology, root) = (*plan, *topology, *root);
        (rows, Sender { plan, topology, root, random, bits, letters })
    }

    /// The event ran to its end: what it gathered leaves with its letters.
    fn end(&mut self) -> Result<(), BatchError> {
        let (rows, mut sender) = self.rows_out();
        rows.send_all(&mut sender)
    }
}

impl Host for QueryHost<'_> {
    fn store(&mut self, object: ObjectId) -> Result<&mut dyn Store, Stop> {
        if !Plan::is_temporary(object) {
            return Ok(&mut self.view);
        }
        match self.tables.state_of(self.task, &self.root, self.until) {
            Some(state) => Ok(state),
            None => Err(Stop::Failed("the call is over".to_string())),
        }
    }

    fn task(&self) -> TaskId {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.module.task_count
    }

    fn thread_count(&self) -> u32 {
        self.module.thread_count
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn shuffle(&mut self) -> TaskId {
        let random = &mut *self.random;
        self.shuffle.next(self.module.task_count, || random.next())
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn is_overtime(&self) -> bool {
        self.clock.now() > self.overtime_at
    }

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        let event = self.random.next();
        *self.bits ^= event;
        let Self { task, topology: stream, root, .. } = *self;
        self.jobs.push(Starting { task, stream, at, root, event, live: live.to_vec(), job });
    }

    fn page_limit(&self) -> Option<PageLimit> {
        Some(page_limit())
    }

    fn select_on(&mut self, at: Position, live: &[u8], select: PagedSelect) {
        let event = self.random.next();
        *self.bits ^= event;
        self.selects.push((event, at, live.to_vec(), select));
    }

    fn invoke(&mut self, at: Position, live: &[u8], query: &str, arguments: &[u8]) -> Result<(), String> {
        let event = self.random.next();
        *self.bits ^= event;
        let query = self.module.def.query_index(query).expect("invariant: checked when the module was defined");
        let (task, topology, fingerprint) = (self.task, self.topology, self.plan.fingerprint() as u32);
        let (position, root) = (at.0, self.root);
        Letter::Call { task, query, topology, fingerprint, position, root, event, arguments, live }
            .encode(self.letters);
        Ok(())
    }

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let event = self.random.next();
        *self.bits ^= event;
        let (stream, root, fingerprint) = (self.topology, self.root, self.plan.fingerprint() as u32);
        Letter::Continue { task: to, stream, fingerprint, position: at.0, root, event, live }.encode(self.letters);
    }

    fn origin(&self) -> TaskId {
        self.root.task
    }

    fn fold(&mut self, to: TaskId, table: usize, keys: &[u8], args: &[u8]) -> Result<(), BatchError> {
        let (rows, mut sender) = self.rows_out();
        rows.put(&mut sender, (to, table), keys, args)
    }

    fn row(&mut self, to: TaskId, table: usize, keys: &[u8], rest: &[u8]) -> Result<(), BatchError> {
        let (rows, mut sender) = self.rows_out();
        rows.put(&mut sender, (to, table), keys, rest)
    }

    fn page(&mut self, of: RowsOf, from: u64, visit: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        let tables = self.tables.of(self.task, &self.root, self.until);
        let next = tables.expect("invariant: a call has one attempt").page(self.plan, of, from, visit)?;
        if next.is_none() {
            self.read.push(of);
        }
        Ok(next)
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

/// How the query that is this topology runs.
fn def_options(module: &ModuleRuntime, topology: u16) -> Option<&QueryOptions> {
    let at = usize::from(topology).checked_sub(module.def.streams.len())?;
    module.def.queries.get(at).map(|query| &query.options)
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
        match (self.slot_of(task), module.query(usize::from(query))) {
            _ if self.closing => return self.refuse(peer, request, Refusal::Closing, "the module is closing"),
            (None, _) => {
                let text = format!("{task} is not on {}", self.config.thread);
                return self.refuse(peer, request, Refusal::Invalid, &text);
            }
            (_, None) => {
                let text = format!("the module has no query {query}");
                return self.refuse(peer, request, Refusal::Invalid, &text);
            }
            _ if !self.queries.calls.has_room_for_client() => {
                let text = format!(
                    "{QUERY_CALL_COUNT_MAX} calls of queries by clients are under way on {}",
                    self.config.thread
                );
                return self.refuse(peer, request, Refusal::Busy, &text);
            }
            (Some(_), Some(_)) => {}
        }
        self.start_call(task, (query, 0), arguments, Asker::Client { peer, request }, now);
    }

    /// An event invokes a query.
    pub(crate) fn take_call(&mut self, letter: Letter<'_>, now: Nanos) {
        let Letter::Call { task, query, topology, fingerprint, position, root, event, arguments, live } = letter else {
            unreachable!("the letter calls a query")
        };
        let is_nested = self.is_call(&root);
        if !is_nested && self.queries.over.has_try(&root) {
            return;
        }
        let depth = if is_nested { root.attempt + 1 } else { OF_TOPOLOGY };
        if depth & !OF_TOPOLOGY > QUERY_DEPTH_MAX {
            let text = format!("queries invoke each other more than {QUERY_DEPTH_MAX} deep");
            return self.fail_event(task, root, &text, now);
        }
        if let Err(text) = self.queries.calls.check_room(depth) {
            return self.fail_event(task, root, &text, now);
        }
        let asker = Asker::Event { topology, fingerprint, at: Position(position), root, event, live: live.to_vec() };
        self.start_call(task, (query, depth), arguments, asker, now);
    }

    /// Tells a root, here or elsewhere, that an event of it on a task of this thread failed.
    fn fail_event(&mut self, task: TaskId, root: Root, text: &str, now: Nanos) {
        if let Some(at) = self.microbatch_of(&root) {
            return self.answer_micro_call(task, at, &root, Err(text));
        }
        let mut letter = Vec::new();
        Letter::Failed { root, text }.encode(&mut letter);
        self.release(&letter, now);
    }

    fn start_call(&mut self, task: TaskId, (query, depth): (u16, u32), arguments: &[u8], asker: Asker, now: Nanos) {
        let module = Arc::clone(&self.config.module);
        let (def, topology, source) = module.query(usize::from(query)).expect("invariant: checked before");
        let number = Offset(self.queries.next);
        self.queries.next += 1;
        let timeout_ms = self.config.query_timeout_ms(def);
        let deadline = now.plus_ms(timeout_ms);
        self.queries.due_at = Some(self.queries.due_at.map_or(deadline, |at| at.min(deadline)));
        let plan = &def.plan;
        let mut stages = Stages::default();
        stages.enter(0, arguments.to_vec());
        let root = Root { task, source, offset: number, attempt: depth };
        let call = Call { asker, depth, query, stages, deadline, result: None };
        self.queries.calls.insert((task, number), call);
        if let Some(consistent) = def.options.consistent_with {
            return self.hold_for_call(root, consistent as u16, timeout_ms, now);
        }
        let started = self.go_on_with_call(root, plan, topology, now);
        assert!(started, "a query has a stage");
    }

    /// What a call is to see is kept on every task.
    pub(crate) fn start_held_call(&mut self, root: Root, now: Nanos) {
        let module = Arc::clone(&self.config.module);
        let at = usize::from(root.source) - module.sources.len();
        let (def, topology, _) = module.query(at).expect("invariant: the root is that of a call");
        if !self.go_on_with_call(root, &def.plan, topology, now) {
            // It is over already.
            self.tell_end(root);
        }
    }

    /// Nothing of a call is out: its next stage starts. False if there is none.
    fn go_on_with_call(&mut self, root: Root, plan: &Plan, topology: u16, now: Nanos) -> bool {
        let Some(call) = self.queries.calls.get_mut(&root) else { return false };
        let Some((stage, live)) = call.stages.next(plan) else { return false };
        let tasks = match stage.on {
            Where::Origin => root.task.0..root.task.0 + 1,
            Where::Zero => 0..1,
            Where::Everywhere => 0..self.config.module.task_count,
        };
        let (mut letters, position) = (Vec::new(), stage.at.0);
        for task in tasks.map(TaskId) {
            let event = self.random.next();
            call.stages.sent(event);
            let fingerprint = plan.fingerprint() as u32;
            let stream = topology;
            Letter::Continue { task, stream, fingerprint, position, root, event, live: &live }.encode(&mut letters);
        }
        self.release(&letters, now);
        true
    }

    /// Whether this is the root of a call, not of a record.
    pub(crate) fn is_call(&self, root: &Root) -> bool {
        let module = &self.config.module;
        let from = module.sources.len();
        (from..from + module.def.queries.len()).contains(&usize::from(root.source))
    }

    /// Events of a call of this thread are done.
    pub(crate) fn call_done(&mut self, root: Root, bits: u64, now: Nanos) {
        // A call that is not there any more failed or took too long.
        let Some(call) = self.queries.calls.get_mut(&root) else { return };
        if !call.stages.done(bits) {
            return;
        }
        let module = Arc::clone(&self.config.module);
        let (def, topology, _) = module.query(usize::from(call.query)).expect("invariant: it was invoked");
        if self.go_on_with_call(root, &def.plan, topology, now) {
            return;
        }
        let call = self.queries.calls.remove(&root).expect("invariant: just seen");
        if def.plan.has_temporary() {
            self.end_root(root, &def.plan);
        } else if def.options.consistent_with.is_some() {
            self.tell_end(root);
        }
        match call.result {
            Some(rows) => self.answer_call(root.task, call.asker, &rows, now),
            None => {
                let text = format!("the query {} ended without a result: no row reached it", def.name);
                self.refuse_call(root.task, call.asker, Refusal::QueryFailed, &text, now);
            }
        }
    }

    fn answer_call(&mut self, task: TaskId, asker: Asker, result: &[u8], now: Nanos) {
        match asker {
            Asker::Client { peer, request } => {
                let letter = Letter::Rows { request, more: false, count: 1, rows: result };
                self.outbox.push(peer, Category::Client, &letter);
            }
            Asker::Event { topology: stream, fingerprint, at, root, event, mut live } => {
                live.extend_from_slice(result);
                if let Some(of) = self.microbatch_of(&root) {
                    let goes_on = JobEvent { topology: stream, position: at, id: event, live: &live };
                    return self.answer_micro_call(task, of, &root, Ok(goes_on));
                }
                let mut letter = Vec::new();
                let (position, live) = (at.0, &live[..]);
                Letter::Continue { task, stream, fingerprint, position, root, event, live }.encode(&mut letter);
                self.release(&letter, now);
            }
        }
    }

    fn refuse_call(&mut self, task: TaskId, asker: Asker, refusal: Refusal, text: &str, now: Nanos) {
        match asker {
            Asker::Client { peer, request } => self.refuse(peer, request, refusal, text),
            Asker::Event { root, .. } => self.fail_event(task, root, text, now),
        }
    }

    /// An event of a call of this thread failed.
    pub(crate) fn call_failed(&mut self, root: Root, text: &str, now: Nanos) {
        self.queries.failing.push_back((root, text.to_string()));
        if self.queries.failing.len() > 1 {
            // Whoever called it fails with it, and so on: the first of them goes through all.
            return;
        }
        while let Some((root, text)) = self.queries.failing.front().cloned() {
            self.fail_call(root, &text, now);
            self.queries.failing.pop_front();
        }
    }

    fn fail_call(&mut self, root: Root, text: &str, now: Nanos) {
        if let Some(call) = self.queries.calls.remove(&root) {
            self.tell_over(root, now);
            self.refuse_call(root.task, call.asker, Refusal::QueryFailed, text, now);
        }
    }

    /// Fails the calls that took too long.
    pub(crate) fn fail_overdue_calls(&mut self, now: Nanos) {
        if self.queries.due_at.is_none_or(|at| at > now) {
            return;
        }
        let late = self.queries.calls.extract(|call| call.deadline <= now);
        self.queries.due_at = self.queries.calls.iter().map(|call| call.deadline).min();
        for ((task, offset), call) in late {
            let root = self.root_of_call(task, offset, &call);
            self.tell_over(root, now);
            let def = &self.config.module.def.queries[usize::from(call.query)];
            let text = format!("the query {} took longer than {} ms", def.name, self.config.query_timeout_ms(def));
            self.refuse_call(task, call.asker, Refusal::QueryTimedOut, &text, now);
        }
    }

    /// Runs events of queries for a part of a turn; false if there are none.
    pub(crate) fn run_queries(&mut self, doors: &mut Doors<'_>) -> bool {
        let start = doors.clock.now();
        for ran in 0..QUERY_EVENTS_PER_TURN {
            let Some(running) = self.next_query_event(start) else { return ran > 0 };
            self.run_query_event(running, doors);
            if ran % 8 == 7 && doors.clock.now().since(start) > TURN_NS_TARGET {
                break;
            }
        }
        true
    }

    /// The next event to run: of clients' calls and of topologies' in turn, and of each one that goes on and one that begins. What does
    /// not end keeps nobody else from his turn.
    fn next_query_event(&mut self, now: Nanos) -> Option<Running> {
        self.queries.turn = self.queries.turn.wrapping_add(1);
        let (class, goes_on) = (self.queries.turn & 1, self.queries.turn & 2 == 0);
        for class in [class, 1 - class] {
            let ready = if goes_on { self.queries.ready[class].pop_front() } else { None };
            let next = ready.or_else(|| self.begin_query_event(class, now));
            if let Some(running) = next.or_else(|| self.queries.ready[class].pop_front()) {
                return Some(running);
            }
        }
        None
    }

    /// Begins the next event of a query, of each task in turn.
    fn begin_query_event(&mut self, class: usize, now: Nanos) -> Option<Running> {
        if self.queries.begun[class] >= QUERY_RUN_COUNT_MAX {
            return None;
        }
        let module = Arc::clone(&self.config.module);
        loop {
            let count = self.slots.len();
            let from = self.queries.next_slot;
            let at = (0..count).map(|i| (from + i) % count).find(|at| !self.slots[*at].calls.0[class].is_empty())?;
            self.queries.next_slot = (at + 1) % count;
            let slot = &mut self.slots[at];
            let events = &mut slot.calls.0[class];
            let topology = events.next_stream()?;
            let event = events.pop(topology)?;
            let plan = module.plan(topology).expect("invariant: checked when it was pushed");
            let (mut run, letters) =
                self.queries.spare.pop().unwrap_or_else(|| (Run::watched(self.config.pulse.step()), Vec::new()));
            // Variables of the author's types are read by the author's code.
            let begun = guarded(|| run.begin(plan, event.at, events.live(&event)));
            events.reclaim();
            let Event { root, id: bits, .. } = event;
            if let Err(text) = begun.and_then(|begun| begun.map_err(|error| error.to_string())) {
                self.report_call_failed(root, &text, (run, letters), now);
                continue;
            }
            let version = match def_options(&module, topology).and_then(|options| options.consistent_with) {
                None => Some(slot.state.visible()),
                Some(_) => self.holds.of_call(&root, at),
            };
            let Some(version) = version else {
                self.report_call_failed(root, "what the call reads is not kept any more", (run, letters), now);
                continue;
            };
            slot.state.pin(version);
            self.queries.begun[class] += 1;
            return Some(Running {
                slot: at,
                topology,
                root,
                bits,
                letters,
                jobs: Vec::new(),
                selects: Vec::new(),
                rows: RowsOut::default(),
                read: Vec::new(),
                result: None,
                run,
                at: version,
            });
        }
    }

    fn run_query_event(&mut self, mut running: Running, doors: &mut Doors<'_>) {
        let module = Arc::clone(&self.config.module);
        let plan = module.plan(running.topology).expect("invariant: checked when it was pushed");
        let start = doors.clock.now();
        let overtime_at = start.plus_ms(self.config.event_ms_max);
        let (pulse, overruns, topology) = (&*self.config.pulse, &self.overruns, running.topology);
        let watched = Watched { topology, plan, clock: doors.clock, pulse, overruns, start };
        loop {
            let slot = &mut self.slots[running.slot];
            let mut need = None;
            let (at, root) = (running.at, running.root);
            let Running { run, bits, letters, jobs, selects, rows, read, result, .. } = &mut running;
            let view = PinnedView {
                state: &slot.state,
                cache: &mut self.cache,
                need: &mut need,
                objects: &module.pstates,
                at,
            };
            let mut host = QueryHost {
                view,
                plan,
                module: &module,
                tables: &mut self.tables,
                until: start.plus_ms(self.tables_kept_ms),
                random: &mut self.random,
                shuffle: &mut slot.shuffle,
                clock: doors.clock,
                overtime_at,
                task: slot.task,
                topology,
                root,
                bits,
                letters,
                jobs,
                selects,
                rows,
                read,
                result,
            };
            let failure = match watched.resume(run, &mut host) {
                Ok(Outcome::Yield | Outcome::Done) if host.letters.len() > self.config.memory.event_letters() => {
                    Some(sends_too_much(self.config.memory.event_letters()))
                }
                Ok(Outcome::Done) => {
                    guarded(|| host.end()).and_then(|ended| ended.map_err(|error| error.to_string())).err()
                }
                Ok(Outcome::Need) => {
                    let need = need.expect("invariant: a view that stops for blocks names them");
                    if slot.state.fetch(&need, doors.disk) {
                        self.queries.parked.push((running, need));
                    } else {
                        self.queries.ready[class_of(&running.root)].push_back(running);
                    }
                    return;
                }
                Ok(Outcome::Yield) => {
                    if doors.clock.now() > overtime_at {
                        self.queries.ready[class_of(&running.root)].push_back(running);
                        return;
                    }
                    continue;
                }
                Ok(Outcome::Failed(error)) => Some(error.to_string()),
                Err(panic) => Some(panic),
            };
            self.end_query_event(running, failure, doors);
            return;
        }
    }

    /// What an ended event sent leaves, then its report.
    fn end_query_event(&mut self, running: Running, failure: Option<String>, doors: &mut Doors<'_>) {
        let now = doors.clock.now();
        let Running { slot, root, bits, topology, mut letters, jobs, selects, read, result, mut run, at, .. } = running;
        self.queries.begun[class_of(&root)] -= 1;
        if !read.is_empty() {
            let plan = self.config.module.plan(topology).expect("invariant: it ran");
            self.tables.forget(plan, self.slots[slot].task, &root, &read);
        }
        let TaskSlot { task, state, .. } = &mut self.slots[slot];
        if failure.is_none() {
            let goes_on = |(event, position, live, select)| {
                let snapshot = Snapshot::committed(state, at);
                Paging { task: *task, stream: topology, at: position, root, event, live, select, snapshot }
            };
            self.pagings.start(selects.into_iter().map(goes_on));
        }
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
        let call = self.queries.calls.get_mut(root)?;
        call.result.replace(value).map(|_| SEVERAL_RESULTS.to_string())
    }
}
