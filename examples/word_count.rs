//! Word count: lines go in, words are counted on the tasks that own them, a client reads the counts.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::Result;

const TASK_COUNT: u32 = 4;

struct WordCount;

impl Module for WordCount {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        counter.source(&lines, |b, line| {
            let word = b.explode(line, |line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
        });
    }
}

fn count(lines: &[&str]) -> Result<BTreeMap<String, i64>> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<WordCount>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<String>(&WordCount::name(), "*lines")?;
    for line in lines {
        depot.append(&(*line).to_string())?;
    }
    let counts = cluster.pstate::<Map<String, i64>>(&WordCount::name(), "$$counts")?;
    assert_eq!(counts.select_one(path().key("nowhere"))?, None);
    let all = counts.select_all(path().all())?.into_iter().collect();
    cluster.close()?;
    Ok(all)
}

fn show() -> Result<()> {
    let lines = [
        "Mary had a little lamb",
        "Its fleece was white as snow",
        "And everywhere that Mary went",
        "The lamb was sure to go",
    ];
    for (word, count) in count(&lines)? {
        println!("{count} {word}");
    }
    Ok(())
}

tantu::main!(WordCount; run = show);

#[test]
fn every_word_of_every_line_is_counted() {
    let counts = count(&["a b a", "", " b  A "]).unwrap();
    assert_eq!(counts, BTreeMap::from([("a".to_string(), 3), ("b".to_string(), 2)]));
}
