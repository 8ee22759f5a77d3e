//! `tantu-bench`: measured claims, side by side with peers and with what the machine can do at all.
//!
//! Every suite runs each of its engines in turn, several times, in one invocation, so that what else the machine does
//! meets all of them. With `--json` each run is a line with `suite, workload, engine, config, run` and its figures, and
//! each workload ends with its medians and ratios; without it the medians are a table. With `--out DIR` all of it is in
//! files too, with the latencies as HdrHistogram's plotters read them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures the real clock and the real disk"
)]

mod alloc;
mod bound;
mod bound_core;
mod child;
mod error;
mod fields;
mod load;
mod machine;
mod measure;
mod pace;
mod plot;
mod report;
mod suite;
mod text;

use clap::{Parser, Subcommand};
use error::BenchError;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use suite::{flow, kv, log, topo, wordcount};

/// Measured claims, side by side with peers
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    suite: Suite,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Words counted per second, end to end: every line durable and counted before its ack
    Wordcount(wordcount::WordCountArgs),
    /// Durable appends to a depot, beside a raw loop of group commits and other logs
    #[command(alias = "append")]
    Log(log::LogArgs),
    /// Puts, gets and scans of the storage alone, beside embedded stores
    Kv(kv::KvArgs),
    /// The dataflow language on one thread: aggregation into a PState, folds, single operations
    Flow(flow::FlowArgs),
    /// Topologies on real task threads, everything durable, beside Flink, timely-dataflow and PostgreSQL
    Topo(topo::TopoArgs),
}

impl Suite {
    /// What its input was made from, if from anything.
    fn seed(&self) -> Option<u64> {
        match self {
            Suite::Wordcount(args) => Some(args.seed),
            Suite::Kv(args) => Some(args.seed),
            Suite::Flow(args) => Some(args.seed),
            Suite::Log(_) | Suite::Topo(_) => None,
        }
    }
}

/// What every suite takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Print JSON lines instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Runs of each engine; the medians are what counts
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A run of a second or two that shows that everything works and measures nothing
    #[arg(long, global = true)]
    smoke: bool,
    /// Only these engines; without their peers the figures support no claim
    #[arg(long, global = true, value_name = "ENGINE", value_delimiter = ',')]
    only: Vec<String>,
    /// Write result.json, table.txt, and .hgrm and .hlog files of the latencies into this directory
    #[arg(long, global = true, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the files go while it runs: the disk that is measured
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Common {
    fn run_count(&self) -> u32 {
        if self.smoke { 1 } else { self.runs }
    }

    fn wants(&self, engine: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == engine)
    }

    /// A directory in memory, if there is such a file system, or where it was asked for; removed when it is dropped.
    fn memory_dir(&self) -> Result<tempfile::TempDir, BenchError> {
        let memory = std::path::Path::new("/dev/shm");
        if self.dir.is_some() || !memory.is_dir() {
            return self.fresh_dir();
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix("tantu-bench-").tempdir_in(memory).map_err(BenchError::io("making a directory in memory"))
    }

    /// A directory of one's own, removed when it is dropped.
    fn fresh_dir(&self) -> Result<tempfile::TempDir, BenchError> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("tantu-bench-");
        let made = match &self.dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        made.map_err(BenchError::io("making a temporary directory"))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut report = Report::new(cli.common.json, cli.common.out.clone());
    let ran = match &cli.suite {
        Suite::Wordcount(args) => wordcount::run(args, &cli.common, &mut report),
        Suite::Log(args) => log::run(args, &cli.common, &mut report),
        Suite::Kv(args) => kv::run(args, &cli.common, &mut report),
        Suite::Flow(args) => flow::run(args, &cli.common, &mut report),
        Suite::Topo(args) => topo::run(args, &cli.common, &mut report),
    };
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    match ran.and_then(|()| report.finish(&arguments, cli.suite.seed())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of a second or two.
    pub(crate) fn smoke() -> Common {
        Common { json: true, runs: 1, smoke: true, only: Vec::new(), out: None, dir: None }
    }

    #[test]
    fn the_earlier_name_of_the_log_suite_still_works() {
        let cli =
            Cli::try_parse_from(["tantu-bench", "append", "--record", "100", "--json"]).expect("it is understood");
        assert!(matches!(cli.suite, Suite::Log(_)));
    }
}
