//! The all partitioner: the code after it runs once on every task of the module.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::{Result, Sightings, sightings, told};

const TASK_COUNT: u32 = 4;

struct AllPartitioner;

impl Module for AllPartitioner {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<String>("*depot", random());
        let mut s = topologies.stream("s");
        // What is noted stays where it is noted, which is not where its key would live: that is what this shows.
        let here = PStateOptions::unchecked();
        let ends = s.pstate_with::<Sightings>("$$ends", here);
        s.source(&depot, |b, k| {
            b.all_partition();
            let end = b.current_task_id();
            b.compound_agg(ends, agg::key(k, agg::key(end, agg::count())));
        });
    }
}

fn run(records: &[&str]) -> Result<BTreeMap<String, BTreeMap<i64, i64>>> {
    let module = AllPartitioner::name();
    let cluster = InProcessCluster::create()?;
    cluster.launch::<AllPartitioner>(LaunchConfig { tasks: TASK_COUNT, threads: 4, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<String>(&module, "*depot")?;
    for record in records {
        depot.append(&(*record).to_string())?;
    }
    let ends = sightings(&cluster, &module, "$$ends")?;
    cluster.close()?;
    Ok(ends)
}

const RECORDS: [&str; 3] = ["groucho", "harpo", "chico"];

fn show() -> Result<()> {
    println!("ended on\n{}", told(&run(&RECORDS)?));
    Ok(())
}

tantu::main!(AllPartitioner; run = show);

#[test]
fn each_record_ends_once_on_each_task() {
    let ends = run(&RECORDS).unwrap();
    assert_eq!(ends.len(), RECORDS.len());
    for record in RECORDS {
        assert_eq!(ends[record], BTreeMap::from([(0, 1), (1, 1), (2, 1), (3, 1)]), "{record}");
    }
}
