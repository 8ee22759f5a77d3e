//! The dataflow language on one thread, beside the same work by hand.
//!
//! No client, no hop, no log: what an operation, an aggregation step and a read-modify-write of a PState cost by
//! themselves. Every run first does all of its work once, unmeasured, so that buffers have grown and blocks are cached.

mod module;
mod op;
mod rmw;
mod step;

use crate::Common;
use crate::alloc::allocation_count;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::{Figures, Report};
use std::time::Instant;

const SUITE: &str = "flow";
/// Events of a smoke run.
const SMOKE_EVENTS: u64 = 20_000;

/// One thread, everything cached
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
    /// Workloads, in order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rmw-cached,fold-group,fold-all,simple-op")]
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
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Rmw => "rmw-cached",
            Workload::FoldGroup => "fold-group",
            Workload::FoldAll => "fold-all",
            Workload::Op => "simple-op",
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
        let config = Fields::new().with("events", self.events(common)).with("threads", 1);
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
            for engine in ["tantu", "bound"].into_iter().filter(|engine| common.wants(engine)) {
                let figures = match (workload, engine) {
                    (Workload::Rmw, "tantu") => rmw::tantu(args, common)?,
                    (Workload::Rmw, _) => rmw::bound(args, common)?,
                    (Workload::FoldGroup, "tantu") => step::tantu(args, common, true)?,
                    (Workload::FoldGroup, _) => step::bound(args, common, true)?,
                    (Workload::FoldAll, "tantu") => step::tantu(args, common, false)?,
                    (Workload::FoldAll, _) => step::bound(args, common, false)?,
                    (Workload::Op, "tantu") => op::tantu(args, common)?,
                    (Workload::Op, _) => op::bound(args, common)?,
                };
                report.run(SUITE, workload.name(), engine, &config, figures.into())?;
            }
        }
    }
    for workload in &args.workload {
        let note = match workload {
            Workload::Rmw => "bound: a BTreeMap of words, nothing staged, sealed or committed",
            Workload::FoldGroup => "bound: a BTreeMap of words",
            Workload::FoldAll => "bound: two additions",
            Workload::Op => "bound: the same functions in a loop over decoded records",
        };
        report.ratio(workload.name(), "ns_per_event", "tantu", "bound", note);
    }
    Ok(())
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

    #[test]
    fn a_small_run_has_the_figures_of_every_workload_and_steps_allocate_nothing() {
        let mut report = Report::new(false, None);
        run(&parsed("--keys 100"), &crate::tests::smoke(), &mut report).expect("it runs");
        for workload in Workload::value_variants() {
            for engine in ["tantu", "bound"] {
                let figure = report.median(workload.name(), engine, "ns_per_event");
                assert!(figure.is_some_and(|ns| ns > 0.0), "{engine} {workload:?}");
            }
            let allocations = report.median(workload.name(), "tantu", "allocations_per_event");
            assert!(allocations.is_some_and(|count| count < 0.01), "{workload:?}: {allocations:?}");
        }
    }
}
