//! Tasks in memory that run batch blocks: events and rows are delivered in a random order, runs yield at random.

use std::collections::BTreeMap;
use std::ops::Bound;
use tantu_base::door::Job;
use tantu_base::id::{ObjectId, TaskId};
use tantu_flow::{
    BatchError, Host, Outcome, Plan, Position, RowFold, RowsOf, Run, RunError, Stages, TableDef, Tables, VisitRow,
    Where, put_row,
};
use tantu_path::{Stop, Store, VisitEntry};

/// Random numbers by splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// What is on its way to a task.
enum Letter {
    Event { at: Position, live: Vec<u8> },
    Rows { table: usize, rows: Vec<u8> },
}

struct Sent {
    to: TaskId,
    number: u64,
    letter: Letter,
}

/// What the PStates of a task hold, by PState and key.
type Entries = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

/// One root's events on some tasks.
pub(crate) struct World<'p> {
    plan: &'p Plan,
    tables: Vec<Tables>,
    /// By PState and key, on each task.
    state: Vec<Entries>,
    on_way: Vec<Sent>,
    stages: Stages,
    dice: Dice,
    pub(crate) results: Vec<(TaskId, Vec<u8>)>,
    /// How many events have run.
    pub(crate) event_count: usize,
}

/// What an event sees.
struct Standing<'a> {
    task: TaskId,
    task_count: u32,
    plan: &'a Plan,
    tables: &'a mut Tables,
    state: &'a mut BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    dice: &'a mut Dice,
    sent: &'a mut Vec<Sent>,
    read: Vec<RowsOf>,
    entered: Vec<(usize, Vec<u8>)>,
    results: &'a mut Vec<(TaskId, Vec<u8>)>,
    /// What the event's rows for a task and a table came to.
    combined: Vec<((TaskId, usize), RowFold)>,
}

impl Standing<'_> {
    fn send(&mut self, to: TaskId, letter: Letter) {
        let number = self.dice.next();
        self.sent.push(Sent { to, number, letter });
    }
}

impl Standing<'_> {
    fn send_combined(&mut self) -> Result<(), BatchError> {
        for ((to, table), mut fold) in std::mem::take(&mut self.combined) {
            let TableDef::Fold(def) = &self.plan.tables()[table] else { unreachable!("it was made of one") };
            let at = def.goes_on().expect("it goes on");
            fold.drain(&mut |keys, states| {
                self.send(to, Letter::Event { at, live: [keys, states].concat() });
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Store for Standing<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.state.get(&(object.0, key.to_vec()));
        out.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.state.insert((object.0, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.state.remove(&(object.0, key.to_vec()));
        Ok(())
    }

    fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        unreachable!("no test clears")
    }

    fn scan(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        unreachable!("no test scans")
    }

    fn scan_back(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        unreachable!("no test scans")
    }
}

impl Host for Standing<'_> {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        Ok(self)
    }

    fn task(&self) -> TaskId {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.task_count
    }

    fn random(&mut self) -> u64 {
        self.dice.next()
    }

    fn shuffle(&mut self) -> TaskId {
        TaskId(self.dice.below(self.task_count as usize) as u32)
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn is_overtime(&self) -> bool {
        false
    }

    fn start_job(&mut self, _: Position, _: &[u8], _: Job) {
        unreachable!("nothing is awaited")
    }

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        self.send(to, Letter::Event { at, live: live.to_vec() });
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
        let TableDef::Fold(def) = &self.plan.tables()[table] else { unreachable!("a row meets aggregators") };
        if def.goes_on().is_none() {
            return self.row(to, table, keys, args);
        }
        let at = self.combined.iter().position(|(of, _)| *of == (to, table)).unwrap_or_else(|| {
            self.combined.push(((to, table), def.fold(usize::MAX)));
            self.combined.len() - 1
        });
        self.combined[at].1.step_encoded(keys, args)?;
        // How many rows meet is a matter of chance.
        if self.dice.below(4) == 0 { self.send_combined() } else { Ok(()) }
    }

    fn row(&mut self, to: TaskId, table: usize, keys: &[u8], rest: &[u8]) -> Result<(), BatchError> {
        let mut rows = Vec::new();
        put_row(&mut rows, keys, rest);
        self.send(to, Letter::Rows { table, rows });
        Ok(())
    }

    fn page(&mut self, of: RowsOf, from: u64, visit: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        let next = self.tables.page(self.plan, of, from, visit)?;
        if next.is_none() {
            self.read.push(of);
        }
        Ok(next)
    }

    fn result(&mut self, value: &[u8]) -> Result<(), String> {
        self.results.push((self.task, value.to_vec()));
        Ok(())
    }
}

impl<'p> World<'p> {
    pub(crate) fn new(plan: &'p Plan, task_count: usize, seed: u64) -> World<'p> {
        World {
            plan,
            tables: (0..task_count).map(|_| Tables::new(64 << 20)).collect(),
            state: vec![BTreeMap::new(); task_count],
            on_way: Vec::new(),
            stages: Stages::default(),
            dice: Dice(seed),
            results: Vec::new(),
            event_count: 0,
        }
    }

    /// Calls the query that the plan is.
    pub(crate) fn call(mut self, arguments: &[u8]) -> Result<Vec<(TaskId, Vec<u8>)>, RunError> {
        self.stages.enter(0, arguments.to_vec());
        self.run()?;
        assert!(self.tables.iter().all(Tables::is_empty), "what was read is gone");
        Ok(self.results)
    }

    /// Runs what starts here on task 0, with its batch blocks.
    pub(crate) fn start(&mut self, at: Position, live: &[u8]) -> Result<(), RunError> {
        self.send(TaskId(0), at, live);
        self.run()
    }

    /// Puts a value there.
    pub(crate) fn put(&mut self, task: usize, pstate: u32, key: &[u8], value: Vec<u8>) {
        self.state[task].insert((pstate, key.to_vec()), value);
    }

    /// The value of a key of a PState on a task.
    pub(crate) fn value(&self, task: usize, pstate: u32, key: &[u8]) -> Option<&Vec<u8>> {
        self.state[task].get(&(pstate, key.to_vec()))
    }

    fn send(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let number = self.dice.next();
        self.stages.sent(number);
        self.on_way.push(Sent { to, number, letter: Letter::Event { at, live: live.to_vec() } });
    }

    fn run(&mut self) -> Result<(), RunError> {
        loop {
            while !self.on_way.is_empty() {
                let next = self.dice.below(self.on_way.len());
                let sent = self.on_way.swap_remove(next);
                let over = self.deliver(sent)?;
                assert_eq!(over, self.on_way.is_empty(), "nothing is out exactly when nothing is on its way");
            }
            let Some((stage, live)) = self.stages.next(self.plan) else { return Ok(()) };
            let tasks = match stage.on {
                Where::Origin | Where::Zero => 0..1,
                Where::Everywhere => 0..self.tables.len(),
            };
            for task in tasks {
                self.send(TaskId(task as u32), stage.at, &live);
            }
        }
    }

    fn deliver(&mut self, Sent { to, number, letter }: Sent) -> Result<bool, RunError> {
        let task = to.0 as usize;
        let (at, live) = match letter {
            Letter::Rows { table, rows } => {
                self.tables[task].take(self.plan, table, false, &rows).expect("there is room");
                return Ok(self.stages.done(number));
            }
            Letter::Event { at, live } => (at, live),
        };
        self.event_count += 1;
        let mut run = Run::new();
        run.begin(self.plan, at, &live)?;
        let mut sent = Vec::new();
        let mut standing = Standing {
            task: to,
            task_count: self.state.len() as u32,
            plan: self.plan,
            tables: &mut self.tables[task],
            state: &mut self.state[task],
            dice: &mut self.dice,
            sent: &mut sent,
            read: Vec::new(),
            entered: Vec::new(),
            results: &mut self.results,
            combined: Vec::new(),
        };
        loop {
            let mut fuel = 1 + standing.dice.below(40) as u32;
            match run.resume(self.plan, &mut standing, &mut fuel) {
                Outcome::Done => break,
                Outcome::Yield => {}
                Outcome::Need => unreachable!("everything is in memory"),
                Outcome::Failed(error) => return Err(error),
            }
        }
        standing.send_combined().expect("combiners combine");
        let (read, entered) = (standing.read, standing.entered);
        read.into_iter().for_each(|of| self.tables[task].forget(self.plan, of));
        entered.into_iter().for_each(|(block, live)| self.stages.enter(block, live));
        let bits = sent.iter().fold(number, |bits, sent| bits ^ sent.number);
        self.on_way.append(&mut sent);
        Ok(self.stages.done(bits))
    }
}
