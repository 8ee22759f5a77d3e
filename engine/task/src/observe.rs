//! What the events of a module do, told to a test: where they hop, what they read and write.
//!
//! An observer is set before a thread starts. Events then run on a host that tells it and passes everything on; without an
//! observer they run on their own host, and nothing is looked up for it but whether there is one, once an event.
#![allow(clippy::redundant_closure, reason = "a variant's own function is not general over lifetimes")]

use std::fmt;
use std::ops::Bound;
use tantu_base::door::Job;
use tantu_base::id::{ObjectId, TaskId};
use tantu_flow::{AppendWait, BatchError, Host, Outcome, PagedSelect, Plan, Position, RowsOf, VisitRecord, VisitRow};
use tantu_path::{PageLimit, Stop, Store, VisitEntry};

/// Something that an event did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Did<'a> {
    /// It came to its end.
    End,
    /// A partitioner sent the rest of the work to a task, perhaps the same.
    Hop(TaskId),
    /// It read the records that its microbatch has of a depot on its task, by the depot's place in the module.
    DepotRead(usize),
    /// It read one entry of a PState.
    Read(&'a str),
    /// It wrote or deleted one entry of a PState, or a range of them.
    Write(&'a str),
    /// It opened an iterator over a PState.
    Iterator(&'a str),
    /// An iterator over a PState went one entry further.
    Step(&'a str),
}

/// An event, and what it did. What waits for blocks and is repeated is told again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// Of which topology.
    pub topology: &'a str,
    /// On which task.
    pub task: TaskId,
    /// What it did.
    pub did: Did<'a>,
}

/// Who is told, by any task thread.
pub trait Observe: fmt::Debug + Send + Sync {
    /// Is told.
    fn observe(&self, seen: Seen<'_>);
}

/// A host whose events are observed.
pub(crate) struct Observed<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) plan: &'a Plan,
    pub(crate) observer: &'a dyn Observe,
}

impl Observed<'_> {
    fn tell(&self, did: Did<'_>) {
        self.observer.observe(Seen { topology: self.plan.topology(), task: self.host.task(), did });
    }

    /// Temporary state is not what a PState is.
    fn tell_of(&self, object: ObjectId, did: fn(&str) -> Did<'_>) {
        if let Some(pstate) = self.plan.pstate_name(object) {
            self.tell(did(pstate));
        }
    }

    pub(crate) fn ended(&self, outcome: &Outcome) {
        if *outcome == Outcome::Done {
            self.tell(Did::End);
        }
    }
}

impl Store for Observed<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let found = self.host.store(object)?.get(object, key, out)?;
        self.tell_of(object, |pstate| Did::Read(pstate));
        Ok(found)
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.tell_of(object, |pstate| Did::Write(pstate));
        self.host.store(object)?.put(object, key, value)
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.tell_of(object, |pstate| Did::Write(pstate));
        self.host.store(object)?.delete(object, key)
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.tell_of(object, |pstate| Did::Write(pstate));
        self.host.store(object)?.delete_range(object, from, to)
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let mut steps = 0;
        let scanned = self.host.store(object)?.scan(object, from, to, &mut |key, value| {
            steps += 1;
            visit(key, value)
        });
        self.scanned(object, steps);
        scanned
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let mut steps = 0;
        let scanned = self.host.store(object)?.scan_back(object, from, to, &mut |key, value| {
            steps += 1;
            visit(key, value)
        });
        self.scanned(object, steps);
        scanned
    }
}

impl Observed<'_> {
    fn scanned(&self, object: ObjectId, steps: u64) {
        self.tell_of(object, |pstate| Did::Iterator(pstate));
        (0..steps).for_each(|_| self.tell_of(object, |pstate| Did::Step(pstate)));
    }
}

impl Host for Observed<'_> {
    fn store(&mut self, object: ObjectId) -> Result<&mut dyn Store, Stop> {
        self.host.store(object)?;
        Ok(self)
    }

    fn task(&self) -> TaskId {
        self.host.task()
    }

    fn task_count(&self) -> u32 {
        self.host.task_count()
    }

    fn thread_count(&self) -> u32 {
        self.host.thread_count()
    }

    fn random(&mut self) -> u64 {
        self.host.random()
    }

    fn shuffle(&mut self) -> TaskId {
        self.host.shuffle()
    }

    fn wall_ms(&self) -> u64 {
        self.host.wall_ms()
    }

    fn is_overtime(&self) -> bool {
        self.host.is_overtime()
    }

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        self.host.start_job(at, live, job);
    }

    fn page_limit(&self) -> Option<PageLimit> {
        self.host.page_limit()
    }

    fn select_on(&mut self, at: Position, live: &[u8], select: PagedSelect) {
        self.host.select_on(at, live, select);
    }

    fn hop_near(&mut self, to: TaskId, at: Position, live_size: usize) -> Option<&mut Vec<u8>> {
        let (topology, task) = (self.plan.topology(), self.host.task());
        let live = self.host.hop_near(to, at, live_size)?;
        self.observer.observe(Seen { topology, task, did: Did::Hop(to) });
        Some(live)
    }

    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        self.tell(Did::Hop(to));
        self.host.hop(to, at, live);
    }

    fn invoke(&mut self, at: Position, live: &[u8], query: &str, arguments: &[u8]) -> Result<(), String> {
        self.host.invoke(at, live, query, arguments)
    }

    fn origin(&self) -> TaskId {
        self.host.origin()
    }

    fn enter(&mut self, block: usize, live: &[u8]) -> Result<(), String> {
        self.host.enter(block, live)
    }

    fn fold(&mut self, to: TaskId, table: usize, keys: &[u8], args: &[u8]) -> Result<(), BatchError> {
        self.host.fold(to, table, keys, args)
    }

    fn can_append(&self) -> bool {
        self.host.can_append()
    }

    fn expect(&mut self, pstate: ObjectId, keys: &[u8], ends: &[usize]) {
        self.host.expect(pstate, keys, ends);
    }

    fn fold_group(&mut self, table: usize, keys: &[u8], args: &[u8]) -> Result<bool, BatchError> {
        self.host.fold_group(table, keys, args)
    }

    fn row(&mut self, to: TaskId, table: usize, keys: &[u8], rest: &[u8]) -> Result<(), BatchError> {
        self.host.row(to, table, keys, rest)
    }

    fn page(&mut self, of: RowsOf, from: u64, visit: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        self.host.page(of, from, visit)
    }

    fn microbatch(&self) -> u64 {
        self.host.microbatch()
    }

    fn records(&mut self, (depot, source): (usize, usize), skip: u64, visit: VisitRecord<'_>) -> Result<(), Stop> {
        self.host.records((depot, source), skip, visit)?;
        if skip == 0 {
            self.tell(Did::DepotRead(depot));
        }
        Ok(())
    }

    fn give_way(&mut self, at: Position, live: &[u8]) {
        self.host.give_way(at, live);
    }

    fn ack_return(&mut self, value: &[u8]) {
        self.host.ack_return(value);
    }

    fn append(&mut self, depot: usize, record: &[u8], wait: Option<AppendWait<'_>>) -> Result<(), String> {
        self.host.append(depot, record, wait)
    }

    fn result(&mut self, value: &[u8]) -> Result<(), String> {
        self.host.result(value)
    }
}

#[cfg(test)]
mod tests {
    /// A method with a default would answer for the host that is observed.
    #[test]
    fn an_observed_host_passes_every_question_on() {
        let text = include_str!("../../flow/src/run.rs");
        let from = text.find("pub trait Host {").expect("the trait is there");
        let to = from + text[from..].find("\n}\n").expect("it ends");
        let asked = |line: &str| {
            line.trim().strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next().map(str::to_string))
        };
        let methods: Vec<String> = text[from..to].lines().filter_map(asked).collect();
        assert!(methods.len() > 15 && methods.contains(&"records".to_string()), "{methods:?}");
        let own = include_str!("observe.rs");
        let passed = |method: &&String| own.contains(&format!("self.host.{method}("));
        let missing: Vec<&String> = methods.iter().filter(|method| !passed(method)).collect();
        assert!(missing.is_empty(), "an observed host answers these itself: {missing:?}");
    }
}
