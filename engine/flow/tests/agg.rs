//! Aggregation steps of a plan, run on a task whose partitions are maps.

use std::collections::BTreeMap;
use std::ops::Bound;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::{Value, encoded};
use tantu_flow::{Host, Module, ModuleDef, Outcome, Position, Run, Setup, Topologies, define, random};
use tantu_path::{Map, Set, Stop, Store, VisitEntry, agg};

/// One task in memory.
#[derive(Default)]
struct Task(BTreeMap<(u32, Vec<u8>), Vec<u8>>);

impl Store for Task {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.0.get(&(object.0, key.to_vec()));
        out.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.0.insert((object.0, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.0.remove(&(object.0, key.to_vec()));
        Ok(())
    }

    fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        unreachable!("an aggregation writes keys")
    }

    fn scan_back(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        unreachable!("an aggregation reads keys")
    }

    fn scan(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
        unreachable!("an aggregation reads keys")
    }
}

impl Host for Task {
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

    fn hop(&mut self, _: TaskId, _: Position, _: &[u8]) {
        unreachable!("no partitioner")
    }
}

fn run(def: &ModuleDef, task: &mut Task, bid: &(String, i64)) -> Outcome {
    let stream = &def.streams[0];
    let mut run = Run::new();
    run.begin(&stream.plan, stream.sources[0].at, &encoded(bid)).expect("a bid");
    run.resume(&stream.plan, task, &mut 1_000)
}

struct Bids;

impl Module for Bids {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let bids = setup.declare_depot::<(String, i64)>("*bids", random());
        let mut topology = topologies.stream("bids");
        let highest = topology.pstate::<i64>("$$highest");
        let bidders = topology.pstate::<Map<String, Set<String>>>("$$bidders");
        let counts = topology.pstate::<Map<String, u64>>("$$counts");
        let products = topology.pstate::<Map<String, i64>>("$$products");
        topology.source(&bids, |b, bid| {
            let who = b.each(bid, |bid| bid.0.clone());
            let amount = b.each(bid, |bid| bid.1);
            b.agg(highest, agg::max(amount));
            b.compound_agg(bidders, agg::key("all", agg::set(who)));
            b.agg(counts, agg::multi_set(who));
            b.compound_agg(products, agg::key(who, agg::combiner(1i64, |a, b| a * b).of(amount)));
        });
    }
}

struct Total;

impl Module for Total {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let bids = setup.declare_depot::<(String, i64)>("*bids", random());
        let mut topology = topologies.stream("total");
        let total = topology.pstate::<i64>("$$total");
        topology.source(&bids, |b, bid| {
            let amount = b.each(bid, |bid| bid.1);
            b.agg(total, agg::sum(amount));
        });
    }
}

#[test]
fn a_partition_is_aggregated_as_a_whole_and_by_key_from_vars() {
    let def = define::<Bids>().expect("a module");
    let mut task = Task::default();
    for (who, amount) in [("ann", 3), ("bob", 7), ("ann", 5)] {
        assert_eq!(run(&def, &mut task, &(who.to_owned(), amount)), Outcome::Done);
    }
    let partition = |index: u32| {
        let entries = task.0.iter().filter(|((object, _), _)| *object == index);
        entries.map(|((_, key), value)| (key.clone(), Value::decode(value).expect("a value"))).collect::<Vec<_>>()
    };
    let key = |who: &str| tantu_base::value::encoded_key(who);
    assert_eq!(partition(0), [(vec![], Value::I64(7))]);
    assert_eq!(partition(1), [(key("all"), Value::set(["ann".into(), "bob".into()]))]);
    assert_eq!(partition(2), [(key("ann"), Value::U64(2)), (key("bob"), Value::U64(1))]);
    assert_eq!(partition(3), [(key("ann"), Value::I64(15)), (key("bob"), Value::I64(7))]);
}

#[test]
fn a_sum_of_a_whole_partition_without_a_value_fails_with_the_authors_line() {
    let def = define::<Total>().expect("a module");
    let mut task = Task::default();
    let Outcome::Failed(error) = run(&def, &mut task, &("ann".to_owned(), 3)) else { panic!("it has no value") };
    let text = error.to_string();
    assert!(text.contains("agg.rs:") && text.contains("agg $$total"), "{text}");
    assert!(text.contains("sum needs a value to start from"), "{text}");
    task.0.insert((0, vec![]), encoded(&10i64));
    assert_eq!(run(&def, &mut task, &("ann".to_owned(), 3)), Outcome::Done);
    assert_eq!(task.0[&(0, vec![])], encoded(&13i64));
}
