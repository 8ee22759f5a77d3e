//! The hash partitioner: wherever a record starts, equal values end on the same task.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::{Result, Sightings, sightings, told};

const TASK_COUNT: u32 = 8;

struct BasicPartitioner;

impl Module for BasicPartitioner {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<String>("*depot", random());
        let mut s = topologies.stream("s");
        // What is noted stays where it is noted, which is not where its key would live: that is what this shows.
        let here = PStateOptions::unchecked();
        let starts = s.pstate_with::<Sightings>("$$starts", here);
        let ends = s.pstate::<Sightings>("$$ends");
        s.source(&depot, |b, k| {
            let start = b.current_task_id();
            b.compound_agg(starts, agg::key(k, agg::key(start, agg::count())));
            b.hash_partition(k);
            let end = b.current_task_id();
            b.compound_agg(ends, agg::key(k, agg::key(end, agg::count())));
        });
    }
}

/// Where each record started and where it ended.
struct Seen {
    starts: BTreeMap<String, BTreeMap<i64, i64>>,
    ends: BTreeMap<String, BTreeMap<i64, i64>>,
}

fn run(records: &[&str]) -> Result<Seen> {
    let module = BasicPartitioner::name();
    let cluster = InProcessCluster::create()?;
    cluster.launch::<BasicPartitioner>(LaunchConfig { tasks: TASK_COUNT, threads: 4, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<String>(&module, "*depot")?;
    for record in records {
        depot.append(&(*record).to_string())?;
    }
    let starts = sightings(&cluster, &module, "$$starts")?;
    let ends = sightings(&cluster, &module, "$$ends")?;
    cluster.close()?;
    Ok(Seen { starts, ends })
}

const RECORDS: [&str; 6] = ["cagney", "cagney", "lemmon", "lemmon", "bergman", "bergman"];

fn show() -> Result<()> {
    let seen = run(&RECORDS)?;
    println!("started on\n{}ended on\n{}", told(&seen.starts), told(&seen.ends));
    Ok(())
}

tantu::main!(BasicPartitioner; run = show);

#[test]
fn equal_words_end_on_the_same_task_wherever_they_start() {
    let seen = run(&RECORDS).unwrap();
    let ends: Vec<_> = seen.ends.iter().map(|(word, by_task)| (word.as_str(), by_task.clone())).collect();
    // These ids are part of the disk format: the same word belongs to the same task for ever.
    let golden = [("bergman", 3), ("cagney", 6), ("lemmon", 5)];
    assert_eq!(ends, golden.map(|(word, task)| (word, BTreeMap::from([(task, 2)]))));
    for (word, task) in golden {
        assert_eq!(i64::from(tantu::base::value::partition_of(word, TASK_COUNT)), task, "{word}");
        assert_eq!(seen.starts[word].values().sum::<i64>(), 2, "{word} was appended twice");
    }
}
