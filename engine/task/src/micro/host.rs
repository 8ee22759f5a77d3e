//! What an event of a microbatch sees of the task it stands on.

use crate::event::EventQueue;
use crate::host::EventRandom;
use crate::jobs::Starting;
use crate::micro::calls::CallQueue;
use crate::micro::record::Range;
use crate::tables::{RootTables, RowsOut, Sender};
use tantu_base::door::{Clock, Job, Nanos};
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_base::value::encoded;
use tantu_flow::{
    AppendWait, BatchError, Host, ModuleRuntime, Plan, Position, RowsOf, Shuffle, Tick, VisitRecord, VisitRow,
};
use tantu_net::letter::{Letter, Root};
use tantu_path::{Stop, Store};
use tantu_state::depot::Lookup;
use tantu_state::side::view::RunView;

/// See the module.
pub(crate) struct MicroHost<'a> {
    pub(crate) view: RunView<'a>,
    pub(crate) random: &'a mut EventRandom,
    pub(crate) shuffle: &'a mut Shuffle,
    pub(crate) clock: &'a dyn Clock,
    /// When the event should yield.
    pub(crate) overtime_at: Nanos,
    pub(crate) task: TaskId,
    pub(crate) plan: &'a Plan,
    pub(crate) module: &'a ModuleRuntime,
    pub(crate) tables: &'a mut RootTables,
    /// How long the attempt's tables stay.
    pub(crate) until: Nanos,
    pub(crate) rows: &'a mut RowsOut,
    pub(crate) read: &'a mut Vec<RowsOf>,
    pub(crate) entered: &'a mut Vec<(usize, Vec<u8>)>,
    pub(crate) topology: u16,
    pub(crate) root: Root,
    pub(crate) bits: &'a mut u64,
    pub(crate) letters: &'a mut Vec<u8>,
    /// Calls of queries, which start on this task.
    pub(crate) calls: &'a mut CallQueue,
    /// Those that wait on this task.
    pub(crate) events: &'a mut EventQueue,
    pub(crate) jobs: &'a mut Vec<Starting>,
    /// By source: the records of the microbatch on this task.
    pub(crate) ranges: &'a [Range],
    /// Set when records have to be read from the disk.
    pub(crate) loading: &'a mut bool,
}

impl MicroHost<'_> {
    /// Where rows of the event leave, and they.
    fn rows_out(&mut self) -> (&mut RowsOut, Sender<'_>) {
        let Self { plan, topology, root, random, bits, letters, rows, .. } = self;
        let (plan, topology, root) = (*plan, *topology, *root);
        (rows, Sender { plan, topology, root, random, bits, letters })
    }
}

impl Host for MicroHost<'_> {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        Ok(&mut self.view)
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

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let event = self.random.next();
        *self.bits ^= event;
        let (stream, root, fingerprint) = (self.topology, self.root, self.plan.fingerprint() as u32);
        // No letter for what stays here: it waits behind the others at once, and rows wait for what it adds to them.
        if to == self.task {
            return self.events.push(stream, at, root, event, live);
        }
        Letter::Continue { task: to, stream, fingerprint, position: at.0, root, event, live }.encode(self.letters);
    }

    fn invoke(&mut self, at: Position, live: &[u8], query: &str, arguments: &[u8]) -> Result<(), String> {
        let event = self.random.next();
        *self.bits ^= event;
        let query = self.module.def.query_index(query).expect("invariant: checked when the module was defined");
        let (task, topology, fingerprint) = (self.task, self.topology, self.plan.fingerprint() as u32);
        let (position, root) = (at.0, self.root);
        self.calls.push(&Letter::Call { task, query, topology, fingerprint, position, root, event, arguments, live });
        Ok(())
    }

    fn origin(&self) -> TaskId {
        TaskId(0)
    }

    fn enter(&mut self, block: usize, live: &[u8]) -> Result<(), String> {
        if self.task != TaskId(0) {
            return Err(format!("a batch block is entered on task 0, not on {}", self.task));
        }
        self.entered.push((block, live.to_vec()));
        Ok(())
    }

    fn fold(&mut self, to: TaskId, table: usize, keys: &[u8], args: &[u8]) -> Result<(), BatchError> {
        let (rows, mut sender) = self.rows_out();
        rows.put(&mut sender, (to, table), keys, args)
    }

    fn fold_group(&mut self, table: usize, keys: &[u8], args: &[u8]) -> Result<bool, BatchError> {
        let task_count = self.module.task_count;
        let (rows, mut sender) = self.rows_out();
        rows.put_group(&mut sender, (table, task_count), keys, args).map(|()| true)
    }

    fn row(&mut self, to: TaskId, table: usize, keys: &[u8], rest: &[u8]) -> Result<(), BatchError> {
        let (rows, mut sender) = self.rows_out();
        rows.put(&mut sender, (to, table), keys, rest)
    }

    fn page(&mut self, of: RowsOf, from: u64, visit: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        let tables = self.tables.of(self.task, &self.root, self.until);
        let next = tables.expect("invariant: a later attempt ends this one").page(self.plan, of, from, visit)?;
        if next.is_none() {
            self.read.push(of);
        }
        Ok(next)
    }

    fn expect(&mut self, pstate: ObjectId, keys: &[u8], ends: &[usize]) {
        // That of a call's temporary state is in memory.
        if let Some(object) = self.view.objects.get(pstate.index()) {
            self.view.state.expect_keys(*object, keys, ends);
        }
    }

    fn can_append(&self) -> bool {
        !self.view.state.is_run_full(self.view.run)
    }

    fn append(&mut self, depot: usize, record: &[u8], _: Option<AppendWait<'_>>) -> Result<(), String> {
        let run = self.view.run;
        self.view.state.append_to_run(run, depot, record).map_err(|error| error.to_string())
    }

    fn microbatch(&self) -> u64 {
        self.root.offset.0
    }

    fn records(&mut self, (depot, source): (usize, usize), skip: u64, visit: VisitRecord<'_>) -> Result<(), Stop> {
        let (from, to) = self.ranges.get(source).copied().unwrap_or_default();
        if self.module.def.depots[depot].tick.is_some() {
            let tick = encoded(&Tick);
            (from.0.saturating_add(skip)..to.0).take_while(|_| visit(&tick).is_continue()).for_each(drop);
            return Ok(());
        }
        let state = &mut *self.view.state;
        let from = Offset(from.0.saturating_add(skip));
        match state.depots()[depot].visit((from, to), visit) {
            Ok(()) => {}
            Err((offset, Lookup::OnDisk)) => {
                state.want(depot, offset, to);
                *self.loading = true;
                return Err(Stop::Need);
            }
            Err((offset, missing)) => {
                let what = match missing {
                    Lookup::NotYet if offset < state.depots()[depot].durable_end() => "has still to come from the disk",
                    Lookup::NotYet => "is not there yet",
                    _ => "is not there any more",
                };
                return Err(Stop::Failed(format!("record {} of the microbatch {what}", offset.0)));
            }
        }
        Ok(())
    }
}
