//! `tantu-bench`: measured claims, side by side with peers and with what the machine can do at all.
//!
//! Every suite runs each of its engines in turn, several times, in one invocation, so that what else the machine does
//! meets all of them. With `--json` each run is a line with `suite, workload, engine, config, run` and its figures, and
//! each workload ends with its medians and ratios; without it the medians are a table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures the real clock and the real disk"
)]

mod bound;
mod error;
mod measure;
mod report;
mod suite;
mod text;

use clap::{Parser, Subcommand};
use error::BenchError;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use suite::{append, kv, wordcount};

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
    /// Durable appends to a depot, beside a raw loop of group commits fed by the same producers
    Append(append::AppendArgs),
    /// Puts, gets and scans of the storage alone, beside embedded stores
    Kv(kv::KvArgs),
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
    let mut report = Report::new(cli.common.json);
    let ran = match &cli.suite {
        Suite::Wordcount(args) => wordcount::run(args, &cli.common, &mut report),
        Suite::Append(args) => append::run(args, &cli.common, &mut report),
        Suite::Kv(args) => kv::run(args, &cli.common, &mut report),
    };
    match ran.and_then(|()| report.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
