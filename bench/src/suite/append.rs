//! Durable appends to a depot by many producers.

use crate::Common;
use crate::bound::{self, Bound};
use crate::error::BenchError;
use crate::measure::{Latencies, Stretch};
use crate::report::{Figures, Report};
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tantu::prelude::*;

const SUITE: &str = "append";
const RECORDS: &str = "*records";

/// A depot without topologies: what an append costs
#[derive(Debug)]
struct Appends;

impl Module for Appends {
    fn define(setup: &mut Setup, _: &mut Topologies) {
        setup.declare_depot::<Vec<u8>>(RECORDS, random());
    }
}

/// Records appended and acked once they are durable
#[derive(Debug, clap::Args)]
pub(crate) struct AppendArgs {
    /// Bytes of a record
    #[arg(long, default_value_t = 100)]
    record: usize,
    /// Producers and what each has in flight
    #[arg(long, default_value = "16x64", value_parser = producers)]
    producers: Producers,
    /// Seconds of a run, after one of warm-up
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Tasks of the module
    #[arg(long, default_value_t = 8)]
    tasks: u32,
    /// Task threads; as many threads commit in the bound
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

#[derive(Clone, Copy, Debug)]
struct Producers {
    count: usize,
    in_flight: usize,
}

fn producers(text: &str) -> Result<Producers, String> {
    let parsed = text.split_once('x').and_then(|(count, in_flight)| {
        Some(Producers { count: count.parse().ok()?, in_flight: in_flight.parse().ok()? })
    });
    parsed.filter(|it| it.count > 0 && it.in_flight > 0).ok_or_else(|| "expected PRODUCERSxIN_FLIGHT, as 16x64".into())
}

pub(crate) fn run(args: &AppendArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    let Producers { count, in_flight } = args.producers;
    let workload = format!("append-{}B-{count}x{in_flight}", args.record);
    let config = json!({
        "record": args.record, "producers": count, "in_flight": in_flight, "tasks": args.tasks, "threads": args.threads,
        "loop": "closed", "ack": "APPEND_ACK: flushed before the ack",
    });
    for _ in 0..common.run_count() {
        if common.wants("tantu") {
            report.run(SUITE, &workload, "tantu", &config, tantu(args, common)?)?;
        }
        if common.wants("bound") {
            report.run(SUITE, &workload, "bound", &config, raw(args, common)?)?;
        }
    }
    for figure in ["records_per_s", "p50_us"] {
        report.ratio(&workload, figure, "tantu", "bound");
    }
    Ok(())
}

/// When the warm-up is over, and when everything is.
fn window(args: &AppendArgs, common: &Common) -> (Instant, Instant) {
    let (warm, measured) = if common.smoke {
        (Duration::from_millis(100), Duration::from_millis(400))
    } else {
        (Duration::from_secs(1), Duration::from_secs(args.seconds))
    };
    let from = Instant::now() + warm;
    (from, from + measured)
}

/// Runs all producers and adds up what they measured.
fn measure<F>(args: &AppendArgs, common: &Common, produce: F) -> Result<Figures, BenchError>
where
    F: Fn(Instant, Instant) -> Result<Latencies, BenchError> + Sync,
{
    let (from, to) = window(args, common);
    let (took, latencies) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.producers.count).map(|_| scope.spawn(|| produce(from, to))).collect();
        std::thread::sleep(from.saturating_duration_since(Instant::now()));
        let stretch = Stretch::begin();
        std::thread::sleep(to.saturating_duration_since(Instant::now()));
        let took = stretch.end();
        let mut all = Latencies::new();
        for thread in threads {
            all.add(&thread.join().expect("a producer does not panic")?);
        }
        Ok::<_, BenchError>((took, all))
    })?;
    let rate = latencies.count() as f64 / took.wall_s;
    Ok(vec![
        ("records_per_s", rate),
        ("mb_per_s", rate * args.record as f64 / 1e6),
        ("p50_us", latencies.us(0.5)),
        ("p99_us", latencies.us(0.99)),
        ("p999_us", latencies.us(0.999)),
        ("cpu_s", took.cpu_s),
    ])
}

fn tantu(args: &AppendArgs, common: &Common) -> Result<Figures, BenchError> {
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    cluster.launch::<Appends>(LaunchConfig::new(args.tasks, args.threads))?;
    let record = vec![b'r'; args.record];
    let figures = measure(args, common, |from, to| {
        let depot = Depot::<Vec<u8>>::new(&cluster.connect(&Appends::name())?, RECORDS)?;
        let mut latencies = Latencies::new();
        let mut in_flight: VecDeque<(Instant, PendingAppend)> = VecDeque::new();
        loop {
            let now = Instant::now();
            if now >= to {
                return in_flight
                    .into_iter()
                    .try_for_each(|(_, append)| append.wait().map(drop))
                    .map(|()| latencies)
                    .map_err(Into::into);
            }
            while in_flight.len() < args.producers.in_flight {
                in_flight.push_back((now, depot.append_async(&record, AckLevel::AppendAck)?));
            }
            // Half of what is out: one answer at a time would wake the producer once per record.
            for _ in 0..args.producers.in_flight.div_ceil(2) {
                let Some((sent, append)) = in_flight.pop_front() else { break };
                append.wait()?;
                if sent >= from {
                    latencies.record(sent.elapsed());
                }
            }
        }
    })?;
    cluster.close()?;
    Ok(figures)
}

fn raw(args: &AppendArgs, common: &Common) -> Result<Figures, BenchError> {
    let dir = common.fresh_dir()?;
    let bound = Bound::start(dir.path(), args.threads)?;
    let record = vec![b'r'; args.record];
    let figures = measure(args, common, |from, to| {
        let mut latencies = Latencies::new();
        let records = std::iter::repeat_with(|| record.as_slice()).take_while(|_| Instant::now() < to);
        bound::produce(&bound, records, args.producers.in_flight, Some((from, &mut latencies)))?;
        Ok(latencies)
    })?;
    bound.stop()?;
    Ok(figures)
}
