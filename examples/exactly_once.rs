//! Word count, exactly once: lines are counted in microbatches, and what goes wrong on the way changes no count.
//!
//! The code below stumbles over the word `snow` the first time it sees it, when words of the same lines are counted already.
//! A stream topology would process the line again, and count those words twice. A microbatch is one transaction on
//! all tasks: what the failed attempt did is dropped as a whole, and the next attempt has the same lines.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tantu::prelude::*;
use tantu_examples::Result;

const TASK_COUNT: u32 = 4;
const LONG: Duration = Duration::from_secs(30);
const LINES: [&str; 4] = [
    "Mary had a little lamb",
    "Its fleece was white as snow",
    "And everywhere that Mary went",
    "The lamb was sure to go through the snow",
];

/// Whether the code below has stumbled.
static STUMBLED: AtomicBool = AtomicBool::new(false);

/// Whether it stays on its feet: not the first time it sees `snow`.
fn walks(word: &str) -> bool {
    word != "snow" || STUMBLED.swap(true, Ordering::Relaxed)
}

struct ExactlyOnce;

impl Module for ExactlyOnce {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut counter = topologies.microbatch("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        counter.source(&lines, |m, batch| {
            let line = m.explode_microbatch(batch);
            let word = m.explode(line, |line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
            m.hash_partition(word);
            m.compound_agg(counts, agg::key(word, agg::count()));
            m.assert(word, walks, "slipped on the snow");
        });
    }
}

/// The counts, whether it stumbled, and in how many microbatches that was.
fn count(lines: &[&str]) -> Result<(BTreeMap<String, i64>, bool, u64)> {
    let name = ExactlyOnce::name();
    let cluster = InProcessCluster::create()?;
    cluster.launch::<ExactlyOnce>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<String>(&name, "*lines")?;
    // All lines are there before the first microbatch begins.
    cluster.pause_microbatch_topology(&name, "counter")?;
    for line in lines {
        depot.append(&(*line).to_string())?;
    }
    STUMBLED.store(false, Ordering::Relaxed);
    cluster.resume_microbatch_topology(&name, "counter")?;
    let status = cluster.wait_for_microbatch_processed_count(&name, "counter", lines.len() as u64, LONG)?;
    let counts = cluster.pstate::<Map<String, i64>>(&name, "$$counts")?;
    let all = counts.select_all(path().all())?.into_iter().collect();
    cluster.close()?;
    Ok((all, STUMBLED.load(Ordering::Relaxed), status.finished))
}

fn show() -> Result<()> {
    let (counts, stumbled, microbatches) = count(&LINES)?;
    for (word, count) in counts {
        println!("{count} {word}");
    }
    if stumbled {
        println!(
            "\nThe first attempt slipped on the snow, and yet nothing was counted twice: {microbatches} microbatch."
        );
    }
    Ok(())
}

tantu::main!(ExactlyOnce; run = show);

#[test]
fn every_word_is_counted_once_although_an_attempt_fails_in_its_middle() {
    let (counts, stumbled, _) = count(&LINES).unwrap();
    let mut expected = BTreeMap::new();
    for word in LINES.iter().flat_map(|line| line.split_whitespace()) {
        *expected.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    assert!(stumbled, "the first attempt failed");
    assert_eq!(counts, expected);
}

#[test]
fn the_module_is_drawn_as_it_was() {
    tantu_examples::assert_drawn::<ExactlyOnce>("exactly_once");
}
