//! The tables of batch blocks on this thread's tasks, by root; and rows on their way to those of other tasks.
//!
//! A root's tables are made when the first row comes, and go when they have been read to their end, when the root ends
//! ([`tantu_net::letter::Letter::End`]), when a later attempt of it comes, or when nobody has ended it for long: the letter
//! that would have done it can be lost with the worker that sent it.

use crate::host::EventRandom;
use crate::limit::{BATCH_ROWS_SIZE, COMBINED_PART_MIN, GROUPS_HELD_SIZE_MAX, TABLES_SIZE_MAX};
use crate::overrun::guarded;
use crate::temporary::TemporaryState;
use crate::thread::TaskThread;
use std::collections::BTreeMap;
use tantu_base::door::Nanos;
use tantu_base::id::{Offset, TaskId};
use tantu_flow::{BatchError, FoldDef, Plan, Position, RowFold, RowsOf, TableDef, Tables, put_row, task_of_keys};
use tantu_net::letter::{Letter, Root};
use tantu_path::Room;

/// A task, and a root without its attempt.
type Key = (TaskId, TaskId, u16, Offset);

fn key(task: TaskId, root: &Root) -> Key {
    (task, root.task, root.source, root.offset)
}

#[derive(Debug)]
struct Held {
    attempt: u32,
    /// When they go, whoever may still want them.
    until: Nanos,
    tables: Tables,
    /// Of a query's call.
    state: TemporaryState,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RootTables {
    held: BTreeMap<Key, Held>,
}

impl RootTables {
    /// The tables of a root on a task; none if those of a later attempt are there. They stay at least until this time.
    pub(crate) fn of(&mut self, task: TaskId, root: &Root, until: Nanos) -> Option<&mut Tables> {
        self.held(task, root, until).map(|held| &mut held.tables)
    }

    /// The same for a call's temporary state.
    pub(crate) fn state_of(&mut self, task: TaskId, root: &Root, until: Nanos) -> Option<&mut TemporaryState> {
        self.held(task, root, until).map(|held| &mut held.state)
    }

    fn held(&mut self, task: TaskId, root: &Root, until: Nanos) -> Option<&mut Held> {
        let fresh = || Held {
            attempt: root.attempt,
            until,
            tables: Tables::new(TABLES_SIZE_MAX),
            state: TemporaryState::new(TABLES_SIZE_MAX),
        };
        let held = self.held.entry(key(task, root)).or_insert_with(fresh);
        if held.attempt > root.attempt {
            return None;
        }
        if held.attempt < root.attempt {
            *held = fresh();
        }
        held.until = held.until.max(until);
        Some(held)
    }

    /// These have been read to their end.
    pub(crate) fn forget(&mut self, plan: &Plan, task: TaskId, root: &Root, read: &[RowsOf]) {
        let key = key(task, root);
        let Some(held) = self.held.get_mut(&key).filter(|held| held.attempt == root.attempt) else { return };
        read.iter().for_each(|of| held.tables.forget(plan, *of));
        if held.tables.is_empty() && held.state.is_empty() {
            self.held.remove(&key);
        }
    }

    /// The root, up to this attempt, has ended.
    pub(crate) fn end(&mut self, tasks: impl Iterator<Item = TaskId>, root: &Root) {
        for task in tasks {
            let key = key(task, root);
            if self.held.get(&key).is_some_and(|held| held.attempt <= root.attempt) {
                self.held.remove(&key);
            }
        }
    }

    /// Drops those that nobody ended.
    pub(crate) fn drop_overdue(&mut self, now: Nanos) {
        self.held.retain(|_, held| held.until > now);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes they hold.
    pub(crate) fn size(&self) -> usize {
        self.held.values().map(|held| held.tables.size() + held.state.size()).sum()
    }
}

/// Rows of an event for one table of a task.
#[derive(Debug)]
enum Outgoing {
    /// Combined already.
    Partials(Box<RowFold>),
    /// As they are, encoded.
    Rows(Vec<u8>),
}

/// Groups of a table that is spread by their keys, wherever they go: each is looked up by its keys once, and its task is only
/// asked for when it leaves.
#[derive(Debug)]
struct Gathered {
    table: usize,
    task_count: u32,
    fold: Box<RowFold>,
    /// Rows in it.
    row_count: usize,
    /// Hardly any rows are of the same group: they leave as they are.
    is_thin: bool,
}

/// Rows on their way, by task and table. They leave when there are many, and when whoever gathers them says so: at the end
/// of an event of a query, and of a microbatch when no event waits.
#[derive(Debug, Default)]
pub(crate) struct RowsOut {
    /// Ascending by task and table: few, and looked at for every row.
    rows: Vec<((TaskId, usize), Outgoing)>,
    /// By table.
    groups: Vec<Gathered>,
    /// Tables of which it is known that hardly any rows are of the same group.
    thin: Vec<usize>,
    /// The keys of a group, to find its task.
    key: Vec<u8>,
}

/// What the letters of an event's rows say of it, and where they go.
pub(crate) struct Sender<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) topology: u16,
    pub(crate) root: Root,
    pub(crate) random: &'a mut EventRandom,
    /// Numbers of the event and of those it sent.
    pub(crate) bits: &'a mut u64,
    pub(crate) letters: &'a mut Vec<u8>,
}

impl RowsOut {
    /// None yet; rows for these tables are hardly ever of the same group.
    pub(crate) fn of_thin(thin: Vec<usize>) -> Self {
        Self { thin, ..Self::default() }
    }

    /// The tables for which there were rows, hardly any of them of the same group.
    pub(crate) fn thin(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter(|gathered| gathered.is_thin).map(|gathered| gathered.table)
    }

    /// A row for a table of a task.
    pub(crate) fn put(
        &mut self,
        sender: &mut Sender<'_>,
        (to, table): (TaskId, usize),
        keys: &[u8],
        rest: &[u8],
    ) -> Result<(), BatchError> {
        let fresh = || match &sender.plan.tables()[table] {
            TableDef::Fold(def) if def.is_combiner() => Outgoing::Partials(Box::new(def.fold(BATCH_ROWS_SIZE))),
            _ => Outgoing::Rows(Vec::new()),
        };
        let gathered = self.outgoing((to, table), fresh);
        let is_full = match gathered {
            Outgoing::Partials(partials) => {
                let room = partials.step_encoded(keys, rest)?;
                room == Room::Full || sender.folds(table).is_some_and(|def| def.is_due(partials.steps()))
            }
            Outgoing::Rows(rows) => {
                put_row(rows, keys, rest);
                rows.len() > BATCH_ROWS_SIZE
            }
        };
        if is_full { gathered.send(sender, to, table) } else { Ok(()) }
    }

    fn outgoing(&mut self, to: (TaskId, usize), fresh: impl FnOnce() -> Outgoing) -> &mut Outgoing {
        let at = self.rows.binary_search_by_key(&to, |(key, _)| *key).unwrap_or_else(|at| {
            self.rows.insert(at, (to, fresh()));
            at
        });
        &mut self.rows[at].1
    }

    /// A row for a table of combiners on the task, of so many, that its keys lead to.
    pub(crate) fn put_group(
        &mut self,
        sender: &mut Sender<'_>,
        (table, task_count): (usize, u32),
        keys: &[u8],
        args: &[u8],
    ) -> Result<(), BatchError> {
        let at = self.groups.iter().position(|gathered| gathered.table == table);
        let at = at.unwrap_or_else(|| {
            let gathered = Gathered::new(sender.plan, table, task_count);
            self.groups.push(Gathered { is_thin: self.thin.contains(&table), ..gathered });
            self.groups.len() - 1
        });
        let gathered = &mut self.groups[at];
        if gathered.is_thin {
            let to = task_of_keys(keys, task_count, &mut self.key);
            let outgoing = self.outgoing((to, table), || Outgoing::Rows(Vec::new()));
            let Outgoing::Rows(rows) = outgoing else { unreachable!("its groups are gathered elsewhere") };
            put_row(rows, keys, args);
            return if rows.len() > BATCH_ROWS_SIZE { outgoing.send(sender, to, table) } else { Ok(()) };
        }
        gathered.row_count += 1;
        match gathered.fold.queue(keys, args, false)? {
            Room::Left if sender.folds(table).is_some_and(|def| def.is_due(gathered.row_count as u64)) => {
                gathered.send(sender, &mut self.key).map(drop)
            }
            Room::Left => Ok(()),
            Room::Full => {
                let (row_count, group_count) = (gathered.row_count, gathered.send(sender, &mut self.key)?);
                gathered.is_thin = row_count - group_count < row_count / COMBINED_PART_MIN;
                Ok(())
            }
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.groups.iter().all(|gathered| gathered.row_count == 0)
    }

    /// Bytes of them.
    pub(crate) fn size(&self) -> usize {
        let of = |gathered: &Outgoing| match gathered {
            Outgoing::Partials(partials) => partials.size(),
            Outgoing::Rows(rows) => rows.len(),
        };
        let groups: usize = self.groups.iter().map(|gathered| gathered.fold.size()).sum();
        self.rows.iter().map(|(_, gathered)| of(gathered)).sum::<usize>() + groups
    }

    /// All of them leave.
    pub(crate) fn send_all(&mut self, sender: &mut Sender<'_>) -> Result<(), BatchError> {
        for gathered in self.groups.iter_mut().filter(|gathered| gathered.row_count > 0) {
            gathered.send(sender, &mut self.key)?;
        }
        let rows = std::mem::take(&mut self.rows);
        rows.into_iter().try_for_each(|((to, table), mut gathered)| gathered.send(sender, to, table))
    }
}

impl Gathered {
    fn new(plan: &Plan, table: usize, task_count: u32) -> Self {
        let TableDef::Fold(def) = &plan.tables()[table] else { unreachable!("the table is one of aggregators") };
        let size_max = (BATCH_ROWS_SIZE * task_count as usize).min(GROUPS_HELD_SIZE_MAX);
        Self { table, task_count, fold: Box::new(def.fold(size_max)), row_count: 0, is_thin: false }
    }

    /// Sends what was combined to the tasks that the keys lead to; answers how many groups there were.
    fn send(&mut self, sender: &mut Sender<'_>, key: &mut Vec<u8>) -> Result<usize, BatchError> {
        let Self { table, task_count, fold, row_count, .. } = self;
        let mut rows = vec![Vec::new(); *task_count as usize];
        let mut group_count = 0;
        fold.drain(&mut |keys, states| {
            let to = task_of_keys(keys, *task_count, key);
            let rows = &mut rows[to.index()];
            put_row(rows, keys, states);
            group_count += 1;
            if rows.len() > BATCH_ROWS_SIZE {
                sender.send(to, *table, true, rows);
            }
            Ok(())
        })?;
        *row_count = 0;
        (0..).map(TaskId).zip(&mut rows).for_each(|(to, rows)| sender.send(to, *table, true, rows));
        Ok(group_count)
    }
}

impl Outgoing {
    fn send(&mut self, sender: &mut Sender<'_>, to: TaskId, table: usize) -> Result<(), BatchError> {
        match self {
            Outgoing::Rows(rows) => sender.send(to, table, false, rows),
            Outgoing::Partials(partials) if let Some(at) = sender.folds(table).and_then(FoldDef::goes_on) => {
                let mut live = Vec::new();
                partials.drain(&mut |keys, states| {
                    live.clear();
                    live.extend_from_slice(keys);
                    live.extend_from_slice(states);
                    sender.go_on(to, at, &live);
                    Ok(())
                })?;
            }
            Outgoing::Partials(partials) => {
                let mut rows = Vec::new();
                partials.drain(&mut |keys, states| {
                    put_row(&mut rows, keys, states);
                    if rows.len() > BATCH_ROWS_SIZE {
                        sender.send(to, table, true, &mut rows);
                    }
                    Ok(())
                })?;
                sender.send(to, table, true, &mut rows);
            }
        }
        Ok(())
    }
}

impl Sender<'_> {
    /// What the aggregators of a table make of rows, if it is one of aggregators.
    fn folds(&self, table: usize) -> Option<&FoldDef> {
        if let TableDef::Fold(def) = &self.plan.tables()[table] { Some(def) } else { None }
    }

    /// What was made of rows goes on as an event.
    fn go_on(&mut self, task: TaskId, at: Position, live: &[u8]) {
        let event = self.random.next();
        *self.bits ^= event;
        let (stream, fingerprint, root) = (self.topology, self.plan.fingerprint() as u32, self.root);
        Letter::Continue { task, stream, fingerprint, position: at.0, root, event, live }.encode(self.letters);
    }

    fn send(&mut self, task: TaskId, table: usize, is_partial: bool, rows: &mut Vec<u8>) {
        if rows.is_empty() {
            return;
        }
        let event = self.random.next();
        *self.bits ^= event;
        let (topology, fingerprint, root) = (self.topology, self.plan.fingerprint() as u32, self.root);
        let table = table as u16;
        Letter::Fold { task, topology, fingerprint, table, root, event, is_partial, rows }.encode(self.letters);
        rows.clear();
    }
}

/// Taking rows calls aggregators, which may be the author's: one that panics is the error.
pub(crate) trait TakeGuarded {
    /// [`Tables::take`].
    fn take_guarded(&mut self, plan: &Plan, table: u16, is_partial: bool, rows: &[u8]) -> Result<(), String>;
}

impl TakeGuarded for Tables {
    fn take_guarded(&mut self, plan: &Plan, table: u16, is_partial: bool, rows: &[u8]) -> Result<(), String> {
        guarded(|| self.take(plan, usize::from(table), is_partial, rows))?.map_err(|error| error.to_string())
    }
}

/// Rows that a letter brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) task: TaskId,
    pub(crate) topology: u16,
    pub(crate) table: u16,
    pub(crate) root: Root,
    pub(crate) event: u64,
    pub(crate) is_partial: bool,
    pub(crate) rows: &'a [u8],
}

impl TaskThread {
    /// Rows reach a table of a task of this thread, which stays at least until this time.
    pub(crate) fn take_rows(&mut self, arrived: Arrived<'_>, until: Nanos, now: Nanos) {
        let Arrived { task, topology, table, root, event, is_partial, rows } = arrived;
        let plan = self.config.module.plan(topology).expect("invariant: checked before");
        // Rows of an attempt that is over count for nobody.
        let Some(tables) = self.tables.of(task, &root, until) else { return };
        let mut report = Vec::new();
        match tables.take_guarded(plan, table, is_partial, rows) {
            Ok(()) => Letter::Done { root, bits: event }.encode(&mut report),
            Err(text) => Letter::Failed { root, text: &text }.encode(&mut report),
        }
        self.release(&report, now);
    }

    /// A root ended: its tables go, on every task.
    pub(crate) fn end_root(&mut self, root: Root, plan: &Plan) {
        if plan.tables().is_empty() && !plan.has_temporary() {
            return;
        }
        self.tell_end(root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::fixed::FixedReader;
    use tantu_base::value::encoded;
    use tantu_flow::{Module, Setup, Topologies, Var, define};
    use tantu_path::agg;

    fn root(attempt: u32) -> Root {
        Root { task: TaskId(0), source: 3, offset: Offset(7), attempt }
    }

    #[test]
    fn a_later_attempt_starts_with_empty_tables_and_an_older_one_has_none() {
        let mut tables = RootTables::default();
        let until = Nanos(0).plus_ms(10);
        assert!(tables.of(TaskId(2), &root(1), until).is_some());
        assert!(tables.of(TaskId(2), &root(2), until).is_some());
        assert!(tables.of(TaskId(2), &root(1), until).is_none(), "it is over");
        tables.end([TaskId(2)].into_iter(), &root(1));
        assert!(!tables.is_empty(), "the end of an older attempt is not that of a later one");
        tables.end([TaskId(2)].into_iter(), &root(2));
        assert!(tables.is_empty());
    }

    #[test]
    fn tables_that_nobody_ended_go_when_their_time_is_over() {
        let mut tables = RootTables::default();
        tables.of(TaskId(2), &root(0), Nanos(0).plus_ms(10));
        tables.of(TaskId(2), &root(0), Nanos(0).plus_ms(30));
        tables.drop_overdue(Nanos(0).plus_ms(20));
        assert!(!tables.is_empty(), "somebody needed them for longer");
        tables.drop_overdue(Nanos(0).plus_ms(30));
        assert!(tables.is_empty());
    }

    struct Calls;

    impl Module for Calls {
        fn define(_: &mut Setup, topologies: &mut Topologies) {
            topologies.query("sum", |q, (n,): (Var<i64>,)| {
                q.all_partition();
                q.origin_partition();
                q.agg::<i64>(agg::sum(n))
            });
            topologies.query("mean", |q, (n,): (Var<i64>,)| {
                q.all_partition();
                q.origin_partition();
                q.agg::<Option<f64>>(agg::average(n))
            });
        }
    }

    #[test]
    fn rows_of_a_call_go_to_its_origin_as_one_state_if_all_aggregators_are_combiners() {
        let def = define::<Calls>().expect("it is right");
        for (query, expected) in def
            .queries
            .iter()
            .zip([vec![(vec![], encoded(&60i64))], [10i64, 20, 30].map(|n| (vec![], encoded(&n))).to_vec()])
        {
            let (mut random, mut bits, mut letters) = (EventRandom(5), 0, Vec::new());
            let plan = &*query.plan;
            let mut sender = Sender {
                plan,
                topology: 0,
                root: root(0),
                random: &mut random,
                bits: &mut bits,
                letters: &mut letters,
            };
            let mut out = RowsOut::default();
            for n in [10i64, 20, 30] {
                out.put(&mut sender, (TaskId(3), 0), &[], &encoded(&n)).expect("it fits");
            }
            out.send_all(&mut sender).expect("they fit");
            let mut reader = FixedReader::new(&letters);
            let Some(Ok(Letter::Fold { task: TaskId(3), is_partial, rows, .. })) = Letter::decode_next(&mut reader)
            else {
                panic!("rows go to the task of their table");
            };
            assert_eq!((is_partial, Letter::decode_next(&mut reader).is_none()), (query.name == "sum", true));
            let mut reader = FixedReader::new(rows);
            let mut found = Vec::new();
            while !reader.is_empty() {
                let mut part = || reader.sized().expect("there is more").to_vec();
                found.push((part(), part()));
            }
            assert_eq!(found, expected, "{}", query.name);
        }
    }
}
