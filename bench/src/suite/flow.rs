//! The dataflow language on one thread, beside the same work by hand.
//!
//! What an operation, an aggregation step and a read-modify-write of a PState cost by themselves, without client, hop or
//! log; and on real task threads what a hop costs, which bytes travel, and how many words a core counts. Every run first
//! does all of its work once, unmeasured, so that buffers have grown and blocks are cached.

mod bytes;
mod feed;
mod hop;
mod module;
mod op;
mod rmw;
mod step;
mod threads;
#[cfg(feature = "peers")]
mod timely;
mod words;

use crate::Common;
use crate::alloc::allocation_count;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::{Figures, Report};
use std::time::Instant;

const SUITE: &str = "flow";
/// Events of a smoke run.
const SMOKE_EVENTS: u64 = 20_000;

/// One or two threads, everything cached
#[derive(Debug, clap::Args)]
pub(crate) struct FlowArgs {
    /// Events of a run
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Keys, chosen uniformly
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Events whose writes are sealed and committed together
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Events under way between two tasks, each way
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    letters: u64,
    /// Workloads, in order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "rmw-cached,fold-group,fold-all,simple-op,hop-same,hop-other,message-bytes,wordcount"
    )]
    workload: Vec<Workload>,
    /// Seed of the keys
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Workload {
    /// `compound_agg` of a count under a random key of a PState
    #[value(name = "rmw-cached")]
    Rmw,
    /// A count and a sum by random group
    #[value(name = "fold-group")]
    FoldGroup,
    /// A count and a sum over all rows
    #[value(name = "fold-all")]
    FoldAll,
    /// `each` on an i64
    #[value(name = "simple-op")]
    Op,
    /// From task to task of one thread
    #[value(name = "hop-same")]
    HopSame,
    /// From task to task of two threads; times are those of both
    #[value(name = "hop-other")]
    HopOther,
    /// Bytes of letters between threads beside those of the live variables in them
    #[value(name = "message-bytes")]
    MessageBytes,
    /// Words of lines that are in memory, on one task thread
    #[value(name = "wordcount")]
    Words,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Rmw => "rmw-cached",
            Workload::FoldGroup => "fold-group",
            Workload::FoldAll => "fold-all",
            Workload::Op => "simple-op",
            Workload::HopSame => "hop-same",
            Workload::HopOther => "hop-other",
            Workload::MessageBytes => "message-bytes",
            Workload::Words => "wordcount",
        }
    }

    /// What runs it, in order.
    fn engines(self) -> &'static [&'static str] {
        match self {
            Workload::MessageBytes => &["tantu"],
            Workload::Words if cfg!(feature = "peers") => &["tantu", "bound", "timely"],
            _ => &["tantu", "bound"],
        }
    }

    /// What must be known of the bound.
    fn note(self) -> &'static str {
        match self {
            Workload::Rmw => "bound: a BTreeMap of words, nothing staged, sealed or committed",
            Workload::FoldGroup => "bound: a BTreeMap of words",
            Workload::FoldAll => "bound: two additions",
            Workload::Op => "bound: the same functions in a loop over decoded records",
            Workload::HopSame => "bound: a VecDeque of numbers for each task",
            Workload::HopOther => "bound: vectors of numbers through channels of the standard library",
            Workload::MessageBytes => "",
            Workload::Words => "bound: a HashMap of words, nothing appended, hopped, sealed or committed",
        }
    }
}

impl FlowArgs {
    fn events(&self, common: &Common) -> u64 {
        if common.smoke { SMOKE_EVENTS } else { self.events }
    }

    /// The number of the key of each event.
    fn choices(&self, common: &Common) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        (0..self.events(common)).map(|_| random.u64(0..self.keys) as u32).collect()
    }

    fn config(&self, common: &Common, workload: Workload) -> Fields {
        let threads = if matches!(workload, Workload::HopOther | Workload::MessageBytes) { 2 } else { 1 };
        let config = Fields::new().with("events", self.events(common)).with("threads", threads);
        let config = match workload {
            Workload::HopSame | Workload::HopOther | Workload::MessageBytes => config.with("letters", self.letters),
            Workload::Words => config.with("seed", self.seed),
            _ => config,
        };
        let config = if matches!(workload, Workload::Rmw | Workload::FoldGroup) {
            config.with("keys", self.keys).with("seed", self.seed)
        } else {
            config
        };
        let config = if workload == Workload::Rmw { config.with("batch", self.batch) } else { config };
        config.with("warm_up", "the same work once").with("loop", "closed")
    }
}

/// The word of a number.
fn word_of(number: u32) -> String {
    format!("word{number:08}")
}

/// What a stretch of events took.
struct Took {
    ns: f64,
    allocations: f64,
    events: f64,
}

/// Times some work over so many events.
fn timed(events: u64, work: impl FnOnce() -> Result<(), BenchError>) -> Result<Took, BenchError> {
    let (before, began) = (allocation_count(), Instant::now());
    work()?;
    let ns = began.elapsed().as_nanos() as f64;
    Ok(Took { ns, allocations: (allocation_count() - before) as f64, events: events as f64 })
}

impl Took {
    fn figures(&self) -> Figures {
        vec![
            ("ns_per_event", self.ns / self.events),
            ("events_per_s", self.events * 1e9 / self.ns),
            ("allocations_per_event", self.allocations / self.events),
        ]
    }
}

pub(crate) fn run(args: &FlowArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    for _ in 0..common.run_count() {
        for &workload in &args.workload {
            let config = args.config(common, workload);
            for engine in workload.engines().iter().filter(|engine| common.wants(engine)) {
                let figures = figures(args, common, workload, engine)?;
                report.run(SUITE, workload.name(), engine, &config, figures.into())?;
            }
        }
    }
    for workload in &args.workload {
        report.ratio(workload.name(), "ns_per_event", "tantu", "bound", workload.note());
    }
    let note = "timely: one worker, epochs of 10,000 words, nothing durable";
    report.ratio(Workload::Words.name(), "events_per_s", "tantu", "timely", note);
    Ok(())
}

fn figures(args: &FlowArgs, common: &Common, workload: Workload, engine: &str) -> Result<Figures, BenchError> {
    match (workload, engine) {
        (Workload::Rmw, "tantu") => rmw::tantu(args, common),
        (Workload::Rmw, _) => rmw::bound(args, common),
        (Workload::FoldGroup, "tantu") => step::tantu(args, common, true),
        (Workload::FoldGroup, _) => step::bound(args, common, true),
        (Workload::FoldAll, "tantu") => step::tantu(args, common, false),
        (Workload::FoldAll, _) => step::bound(args, common, false),
        (Workload::Op, "tantu") => op::tantu(args, common),
        (Workload::Op, _) => op::bound(args, common),
        (Workload::HopSame, "tantu") => hop::tantu(args, common, 1),
        (Workload::HopSame, _) => hop::bound(args, common, 1),
        (Workload::HopOther, "tantu") => hop::tantu(args, common, 2),
        (Workload::HopOther, _) => hop::bound(args, common, 2),
        (Workload::MessageBytes, _) => bytes::tantu(args, common),
        (Workload::Words, "tantu") => words::tantu(args, common),
        #[cfg(feature = "peers")]
        (Workload::Words, "timely") => timely::run(args, common),
        (Workload::Words, _) => words::bound(args, common),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, ValueEnum};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: FlowArgs,
    }

    fn parsed(line: &str) -> FlowArgs {
        Cli::try_parse_from(["flow"].into_iter().chain(line.split_whitespace())).expect("it is understood").args
    }

    #[test]
    fn every_workload_has_the_name_it_is_asked_for_by_and_runs_by_default() {
        for workload in Workload::value_variants() {
            let value = workload.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), workload.name());
        }
        assert_eq!(parsed("").workload, Workload::value_variants());
    }

    /// A figure of a workload that its engine has.
    fn figure(report: &Report, workload: Workload, engine: &str, name: &str) -> f64 {
        let figure = report.median(workload.name(), engine, name);
        figure.unwrap_or_else(|| panic!("{engine} {workload:?} has no {name}"))
    }

    #[test]
    fn a_small_run_has_the_figures_of_every_workload() {
        let mut report = Report::new(false, None);
        run(&parsed("--keys 100"), &crate::tests::smoke(), &mut report).expect("it runs");
        for workload in Workload::value_variants() {
            if *workload == Workload::MessageBytes {
                let ratio = figure(&report, *workload, "tantu", "letter_bytes_per_live_byte");
                // On a busy machine fewer events leave together, and each pays more of what its letter begins with.
                assert!((1.0..1.25).contains(&ratio), "letters are {ratio} of their live variables");
                continue;
            }
            for engine in workload.engines() {
                assert!(figure(&report, *workload, engine, "ns_per_event") > 0.0, "{engine} {workload:?}");
            }
        }
        for workload in [Workload::Rmw, Workload::FoldGroup, Workload::FoldAll, Workload::Op] {
            let allocations = figure(&report, workload, "tantu", "allocations_per_event");
            assert!(allocations < 0.01, "{workload:?}: {allocations}");
        }
    }
}
