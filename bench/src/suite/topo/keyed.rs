//! A count by key: records are strings, spread over the partitions of a depot at random, and counted where the hash of
//! each leads.

use super::{Appending, Plan, TopoArgs, mixed, processed};
use crate::Common;
use crate::error::BenchError;
use crate::measure::Stretch;
use crate::report::Measured;
use std::sync::atomic::{AtomicU64, Ordering};
use tantu::prelude::*;

const KEYS: &str = "*keys";
const COUNTS: &str = "$$counts";
const TOPOLOGY: &str = "count";

/// Records of a microbatch from one partition: a definition takes no arguments.
pub(super) static BATCH: AtomicU64 = AtomicU64::new(1_000);

/// What the bench's microbatch topologies run with.
pub(super) fn options() -> MicrobatchOptions {
    MicrobatchOptions { max_records: BATCH.load(Ordering::Relaxed), ..MicrobatchOptions::default() }
}

struct KeyedCount;

impl Module for KeyedCount {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let keys = setup.declare_depot::<String>(KEYS, random());
        let mut count = topologies.microbatch_with(TOPOLOGY, options());
        let counts = count.pstate::<Map<String, i64>>(COUNTS);
        count.source(&keys, |m, batch| {
            m.batch_block(|b| {
                let key = b.explode_microbatch(batch);
                let (key, count) = b.group_by(key, |g| g.agg::<i64>(agg::count()));
                b.compound_agg(counts, agg::key(key, agg::sum(count)));
            });
        });
    }
}

struct DirectCount;

impl Module for DirectCount {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let keys = setup.declare_depot::<String>(KEYS, random());
        let mut count = topologies.microbatch_with(TOPOLOGY, options());
        let counts = count.pstate::<Map<String, i64>>(COUNTS);
        count.source(&keys, |m, batch| {
            let key = m.explode_microbatch(batch);
            m.hash_partition(key);
            m.compound_agg(counts, agg::key(key, agg::count()));
        });
    }
}

/// The key of a number; the peers' are the same.
pub(super) fn key(number: u64) -> String {
    format!("key{number:08}")
}

pub(super) fn tantu(args: &TopoArgs, common: &Common, keys: u64) -> Result<Measured, BenchError> {
    BATCH.store(args.batch(common), Ordering::Relaxed);
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    let config = LaunchConfig::new(args.tasks, args.threads);
    let module = match args.plan {
        Plan::TwoPhase => cluster.launch::<KeyedCount>(config).map(|()| KeyedCount::name())?,
        Plan::Direct => cluster.launch::<DirectCount>(config).map(|()| DirectCount::name())?,
    };
    let depot = cluster.depot::<String>(&module, KEYS)?;
    let topology = cluster.microbatch(&module, TOPOLOGY)?;
    topology.pause()?;
    let words: Vec<String> = (0..keys).map(key).collect();
    let mut expected = vec![0i64; words.len()];
    let warm_up = args.record_count(common);
    let all = 2 * warm_up;
    let mut appending = Appending::new();
    for number in 0..all {
        let at = (mixed(number) % keys) as usize;
        expected[at] += 1;
        appending.push(depot.append_async(&words[at], AckLevel::AppendAck))?;
    }
    appending.end()?;
    topology.resume()?;
    let before = processed(&topology, warm_up)?;
    let stretch = Stretch::begin();
    let after = processed(&topology, all)?;
    let took = stretch.end();
    check(&cluster, &module, &words, &expected, args.tasks)?;
    cluster.close()?;
    // A microbatch ends where it does: what the warm-up took more than its share is not counted.
    let count = (after.processed - before.processed) as f64;
    let batches = (after.finished - before.finished) as f64;
    Ok(vec![
        ("records_per_s", count / took.wall_s),
        ("records_per_cpu_s", count / took.cpu_s),
        ("records", count),
        ("microbatches_per_s", batches / took.wall_s),
        ("elapsed_s", took.wall_s),
        ("cpu_s", took.cpu_s),
    ]
    .into())
}

/// Every key has been counted as often as it was appended, on its own partition.
fn check(
    cluster: &InProcessCluster,
    module: &str,
    words: &[String],
    expected: &[i64],
    tasks: u32,
) -> Result<(), BenchError> {
    let counts = cluster.pstate::<Map<String, i64>>(module, COUNTS)?;
    let mut found = vec![0i64; words.len()];
    for partition in 0..tasks {
        for (key, count) in counts.select_on(partition, path().all())? {
            if let Ok(at) = words.binary_search(&key) {
                found[at] += count;
            }
        }
    }
    match (0..words.len()).find(|at| found[*at] != expected[*at]) {
        None => Ok(()),
        Some(at) => Err(BenchError::Wrong(format!(
            "{} was counted {} times and appended {} times",
            words[at], found[at], expected[at]
        ))),
    }
}
