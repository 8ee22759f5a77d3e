//! Custom partitioners: a function of the number of tasks, and of values if you like, chooses the task.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::{Result, Sightings, sightings, told};

/// What is appended.
#[derive(Record, Clone, Copy)]
struct Pair {
    n1: i64,
    n2: i64,
}

struct CustomPartitioner;

impl Module for CustomPartitioner {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<Pair>("*depot", random());
        let mut s = topologies.stream("s");
        // What is noted stays where it is noted, which is not where its key would live: that is what this shows.
        let here = PStateOptions::unchecked();
        let nexts = s.pstate_with::<Sightings>("$$nexts", here);
        let finals = s.pstate_with::<Sightings>("$$finals", here);
        s.source(&depot, |b, pair| {
            let name = b.each(pair, |Pair { n1, n2 }| format!("({n1}, {n2})"));
            b.custom_partition((), |_task_count, ()| 1);
            let next = b.current_task_id();
            b.compound_agg(nexts, agg::key(name, agg::key(next, agg::count())));

            let n1 = b.each(pair, |pair| pair.n1);
            let n2 = b.each(pair, |pair| pair.n2);
            b.custom_partition((n1, n2), |task_count, (n1, n2)| if n2 > n1 { 0 } else { i64::from(task_count) - 1 });
            let last = b.current_task_id();
            b.compound_agg(finals, agg::key(name, agg::key(last, agg::count())));
        });
    }
}

/// Where each record was after the first partitioner and after the second.
struct Seen {
    nexts: BTreeMap<String, BTreeMap<i64, i64>>,
    finals: BTreeMap<String, BTreeMap<i64, i64>>,
}

fn run(task_count: u32, records: &[Pair]) -> Result<Seen> {
    let module = CustomPartitioner::name();
    let cluster = InProcessCluster::create()?;
    cluster.launch::<CustomPartitioner>(LaunchConfig {
        tasks: task_count,
        threads: task_count.min(4),
        ..LaunchConfig::default()
    })?;
    let depot = cluster.depot::<Pair>(&module, "*depot")?;
    for record in records {
        depot.append(record)?;
    }
    let nexts = sightings(&cluster, &module, "$$nexts")?;
    let finals = sightings(&cluster, &module, "$$finals")?;
    cluster.close()?;
    Ok(Seen { nexts, finals })
}

const RECORDS: [Pair; 2] = [Pair { n1: 0, n2: 1 }, Pair { n1: 5, n2: 2 }];

fn show() -> Result<()> {
    let seen = run(4, &RECORDS)?;
    println!("next on\n{}finally on\n{}", told(&seen.nexts), told(&seen.finals));
    if let Err(error) = run(1, &RECORDS) {
        println!("with one task there is no task 1, and the append says so: {error}");
    }
    Ok(())
}

tantu::main!(CustomPartitioner; run = show);

#[test]
fn the_functions_choose_the_tasks() {
    let seen = run(4, &RECORDS).unwrap();
    let on = |task: i64| BTreeMap::from([(task, 1)]);
    assert_eq!(seen.nexts, BTreeMap::from([("(0, 1)".to_string(), on(1)), ("(5, 2)".to_string(), on(1))]));
    assert_eq!(seen.finals, BTreeMap::from([("(0, 1)".to_string(), on(0)), ("(5, 2)".to_string(), on(3))]));
}

#[test]
fn a_task_that_does_not_exist_fails_the_append_with_a_clear_error() {
    let error = run(1, &RECORDS[..1]).err().expect("there is no task 1 of 1").to_string();
    assert!(error.contains("custom_partition") && error.contains('1'), "{error}");
}
