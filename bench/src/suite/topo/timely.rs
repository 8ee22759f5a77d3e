//! The keyed count of timely-dataflow's workers: keys that each makes, an exchange by the key, counts in memory.

use super::{TopoArgs, keyed, mixed};
use crate::Common;
use crate::error::BenchError;
use crate::measure::Stretch;
use crate::report::Measured;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// Records of a worker's epoch: the next is given when the one before it is counted everywhere.
const EPOCH: usize = 100_000;

/// What all workers share.
struct Shared {
    words: Vec<String>,
    /// Records of each worker, for the warm-up and once more.
    share: u64,
    counted: AtomicU64,
    /// Before the warm-up and the measured stretch, and at their ends, all wait for each other and for the clock.
    met: Barrier,
}

pub(super) fn run(args: &TopoArgs, common: &Common, keys: u64) -> Result<Measured, BenchError> {
    let workers = args.threads as usize;
    let shared = Arc::new(Shared {
        words: (0..keys).map(keyed::key).collect(),
        share: args.record_count(common) / workers as u64,
        counted: AtomicU64::new(0),
        met: Barrier::new(workers + 1),
    });
    let of_workers = Arc::clone(&shared);
    let running = timely::execute(timely::Config::process(workers), move |worker| work(worker, &of_workers));
    let running = running.map_err(BenchError::Wrong)?;
    let mut took = None;
    for _ in 0..2 {
        shared.met.wait();
        let stretch = Stretch::begin();
        shared.met.wait();
        took = Some(stretch.end());
    }
    drop(running);
    let took = took.expect("invariant: there are two rounds");
    let (counted, records) = (shared.counted.load(Ordering::Relaxed), shared.share * workers as u64);
    if counted != 2 * records {
        return Err(BenchError::Wrong(format!("{counted} records were counted of {}", 2 * records)));
    }
    let records = records as f64;
    Ok(vec![
        ("records_per_s", records / took.wall_s),
        ("records_per_cpu_s", records / took.cpu_s),
        ("records", records),
        ("elapsed_s", took.wall_s),
        ("cpu_s", took.cpu_s),
    ]
    .into())
}

fn work(worker: &mut Worker, shared: &Arc<Shared>) {
    let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
    let sum = Arc::clone(shared);
    worker.dataflow::<usize, _, _>(|scope| {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let exchange = Exchange::new(move |word: &String| hasher.hash_one(word));
        input
            .to_stream(scope)
            .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(exchange, "count", |_, _| {
                let mut counts: HashMap<String, u64> = HashMap::new();
                move |input, _| {
                    let mut records = 0;
                    input.for_each_stamp(|_, batches| {
                        for batch in batches {
                            records += batch.len() as u64;
                            for word in batch.drain(..) {
                                *counts.entry(word).or_insert(0) += 1;
                            }
                        }
                    });
                    sum.counted.fetch_add(records, Ordering::Relaxed);
                }
            })
            .probe_with(&probe);
    });
    let Shared { words, share, met, .. } = &**shared;
    let mut epoch = 0;
    for round in 0..2 {
        met.wait();
        for first in (0..*share).step_by(EPOCH) {
            for number in first..(*share).min(first + EPOCH as u64) {
                let number = (2 * worker.index() as u64 + round) * share + number;
                input.send(words[(mixed(number) % words.len() as u64) as usize].clone());
            }
            epoch += 1;
            input.advance_to(epoch);
            while probe.less_than(input.time()) {
                worker.step();
            }
        }
        met.wait();
    }
}
