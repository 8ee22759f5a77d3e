//! Words per second, end to end.

use crate::Common;
use crate::bound::{self, Bound};
use crate::error::BenchError;
use crate::fields::Fields;
use crate::measure::Stretch;
use crate::report::{Figures, Report};
use crate::text;
use std::collections::VecDeque;
use std::time::Instant;
use tantu::demo::{COUNTS, LINES, WordCount};
use tantu::prelude::*;

const SUITE: &str = "wordcount";
/// Bytes of a smoke run's text.
const SMOKE_SIZE: usize = 1 << 20;

/// The demo's module on generated text: Zipf-distributed words from a vocabulary of 100,000
#[derive(Debug, clap::Args)]
pub(crate) struct WordCountArgs {
    /// Text to count, in MB (10^6 bytes)
    #[arg(long, default_value_t = 240)]
    megabytes: usize,
    /// Tasks of the module
    #[arg(long, default_value_t = 8)]
    tasks: u32,
    /// Task threads
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Lines appended and not yet acked
    #[arg(long, default_value_t = 8192)]
    in_flight: usize,
    /// Seed of the text
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

pub(crate) fn run(args: &WordCountArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    let size = if common.smoke { SMOKE_SIZE } else { args.megabytes * 1_000_000 };
    let (lines, words) = text::zipf(size, args.seed);
    let workload = format!("zipf-{}MB", size / 1_000_000);
    let config = Fields::new()
        .with("tasks", args.tasks)
        .with("threads", args.threads)
        .with("in_flight", args.in_flight)
        .with("seed", args.seed)
        .with("lines", lines.len())
        .with("words", words)
        .with("loop", "closed")
        .with("warm_up", "none: the first ack is a figure")
        .with("ack", "ACK: durable and counted");
    for _ in 0..common.run_count() {
        if common.wants("tantu") {
            report.run(SUITE, &workload, "tantu", &config, tantu(args, common, &lines, words)?.into())?;
        }
        if common.wants("bound") {
            report.run(SUITE, &workload, "bound", &config, bound(args, common, &lines, words)?.into())?;
        }
    }
    report.ratio(&workload, "words_per_s", "tantu", "bound", "");
    Ok(())
}

fn tantu(args: &WordCountArgs, common: &Common, lines: &[String], words: u64) -> Result<Figures, BenchError> {
    let dir = common.fresh_dir()?;
    let began = Instant::now();
    let cluster = InProcessCluster::open(dir.path())?;
    cluster.launch::<WordCount>(LaunchConfig::new(args.tasks, args.threads))?;
    let module = WordCount::name();
    let depot = cluster.depot::<String>(&module, LINES)?;
    depot.append(&String::new())?;
    let first_ack_s = began.elapsed().as_secs_f64();
    let stretch = Stretch::begin();
    let mut in_flight: VecDeque<PendingAppend> = VecDeque::with_capacity(args.in_flight);
    for line in lines {
        if in_flight.len() == args.in_flight
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.wait()?;
        }
        in_flight.push_back(depot.append_async(line, AckLevel::Ack)?);
    }
    in_flight.into_iter().try_for_each(|append| append.wait().map(drop))?;
    let took = stretch.end();
    let counts = cluster.pstate::<Map<String, i64>>(&module, COUNTS)?;
    let mut counted = 0;
    for partition in 0..args.tasks {
        let all = counts.select_on(partition, path().all())?;
        counted += all.iter().map(|(_, count)| count.unsigned_abs()).sum::<u64>();
    }
    if counted != words {
        return Err(BenchError::Wrong(format!("{counted} words were counted and {words} appended")));
    }
    cluster.close()?;
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    Ok(vec![
        ("words_per_s", words as f64 / took.wall_s),
        ("mb_per_s", bytes as f64 / 1e6 / took.wall_s),
        ("elapsed_s", took.wall_s),
        ("cpu_s", took.cpu_s),
        ("first_ack_s", first_ack_s),
    ])
}

/// The same lines made durable by the raw loop, counting nothing: no engine can be faster on this disk.
fn bound(args: &WordCountArgs, common: &Common, lines: &[String], words: u64) -> Result<Figures, BenchError> {
    let dir = common.fresh_dir()?;
    let bound = Bound::start(dir.path(), args.threads)?;
    let stretch = Stretch::begin();
    let records = lines.iter().map(String::as_bytes);
    bound::produce(&bound, records, args.in_flight)?;
    let took = stretch.end();
    bound.stop()?;
    Ok(vec![("words_per_s", words as f64 / took.wall_s), ("elapsed_s", took.wall_s), ("cpu_s", took.cpu_s)])
}
