//! The word count of a timely-dataflow worker: lines, words, an exchange by the word, counts.

use super::FlowArgs;
use super::words::{commit_line_count, lines};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Instant;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

/// Lines are moved into the dataflow one epoch at a time; the next is given when the one before it is counted.
pub(super) fn run(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let (lines, words) = lines(args, common);
    let epoch = commit_line_count(&lines, words);
    let (took, counted) = timely::execute_directly(move |worker| {
        let mut input = InputHandle::new();
        let probe = ProbeHandle::new();
        let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let total = Arc::clone(&sum);
        worker.dataflow::<usize, _, _>(|scope| {
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            let exchange = Exchange::new(move |word: &String| hasher.hash_one(word));
            input
                .to_stream(scope)
                .flat_map(|line: String| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(exchange, "count", |_, _| {
                    let mut counts: HashMap<String, u64> = HashMap::new();
                    move |input, _| {
                        let mut words = 0;
                        input.for_each_stamp(|_, batches| {
                            for batch in batches {
                                words += batch.len() as u64;
                                for word in batch.drain(..) {
                                    *counts.entry(word).or_insert(0) += 1;
                                }
                            }
                        });
                        total.fetch_add(words, std::sync::atomic::Ordering::Relaxed);
                    }
                })
                .probe_with(&probe);
        });
        let mut at = 0;
        let mut all = || {
            for some in lines.chunks(epoch) {
                some.iter().for_each(|line| input.send(line.clone()));
                at += 1;
                input.advance_to(at);
                while probe.less_than(input.time()) {
                    worker.step();
                }
            }
        };
        all();
        let began = Instant::now();
        all();
        (began.elapsed(), sum.load(std::sync::atomic::Ordering::Relaxed))
    });
    super::words::check(counted, 2 * words)?;
    Ok(super::words::figures(words, took))
}
