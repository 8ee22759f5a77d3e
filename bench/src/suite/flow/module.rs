//! The modules whose plans are run, and what a run needs of a task that sends nothing.

use crate::error::BenchError;
use crate::suite::flow::rmw::failed;
use std::ops::Bound;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::encoded;
use tantu_flow::{Host, Module, ModuleDef, Outcome, Position, Run, Setup, Topologies, define, random};
use tantu_path::{Map, Stop, Store, VisitEntry, agg};

/// Counts words.
pub(super) struct Counts;

impl Module for Counts {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let words = setup.declare_depot::<String>("*words", random());
        let mut topology = topologies.stream("counts");
        let counts = topology.pstate::<Map<String, i64>>("$$counts");
        topology.source(&words, |b, word| b.compound_agg(counts, agg::key(word, agg::count())));
    }
}

/// One operation on a number.
pub(super) struct OneOp;

impl Module for OneOp {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        topologies.stream("op").source(&numbers, |b, n| {
            b.each(n, add);
        });
    }
}

/// How many operations [`ManyOps`] has.
pub(super) const OP_COUNT: u64 = 17;

/// Some operations on a number, each on what the one before it gave.
pub(super) struct ManyOps;

impl Module for ManyOps {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        topologies.stream("op").source(&numbers, |b, n| {
            (0..OP_COUNT).fold(n, |n, _| b.each(n, add));
        });
    }
}

/// The operation. What it gives goes where the optimizer cannot see that nobody wants it.
pub(super) fn add(n: i64) -> i64 {
    std::hint::black_box(n.wrapping_mul(3).wrapping_add(1))
}

/// A module's only source.
pub(super) struct Source {
    def: ModuleDef,
    run: Run,
}

impl Source {
    pub(super) fn of<M: Module>() -> Result<Source, BenchError> {
        Ok(Source { def: define::<M>().map_err(|error| failed("defining a module", error))?, run: Run::new() })
    }

    /// Runs one event to its end.
    #[inline]
    pub(super) fn event(&mut self, record: &[u8], host: &mut dyn Host) -> Result<(), BenchError> {
        let stream = &self.def.streams[0];
        let began = self.run.begin(&stream.plan, stream.sources[0].at, record);
        began.map_err(|error| failed("beginning an event", error))?;
        match self.run.resume(&stream.plan, host, &mut 1_000) {
            Outcome::Done => Ok(()),
            other => Err(failed("running an event", format!("{other:?}"))),
        }
    }
}

/// Records one after the other, and where each ends.
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    pub(super) fn of<T: tantu_base::value::Encode>(data: impl Iterator<Item = T>) -> Records {
        let mut records = Records { bytes: Vec::new(), ends: Vec::new() };
        for data in data {
            records.bytes.extend_from_slice(&encoded(&data));
            records.ends.push(records.bytes.len());
        }
        records
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// A task without partitions.
pub(super) struct NoStore;

const NO_STORE: &str = "no step of this plan reads or writes";

impl Store for NoStore {
    fn get(&mut self, _: ObjectId, _: &[u8], _: &mut Vec<u8>) -> Result<bool, Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }

    fn put(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }

    fn delete(&mut self, _: ObjectId, _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }

    fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }

    fn scan_back(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }

    fn scan(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        Err(Stop::Failed(NO_STORE.into()))
    }
}

impl Host for NoStore {
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
        0
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

    fn start_job(&mut self, _: Position, _: &[u8], _: tantu_base::door::Job) {
        unreachable!("nothing is awaited")
    }

    fn hop(&mut self, _: TaskId, _: Position, _: &[u8]) {}
}
