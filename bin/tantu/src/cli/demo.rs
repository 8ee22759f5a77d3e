//! `tantu demo`: a real module on real text.
//!
//! Everything a user's own program would do is done through the facade, and only that: launch, append with
//! many lines in flight, select. The counts shown come from the PState alone.

mod ack_log;
mod input;
mod progress;
mod report;

use ack_log::AckLog;
use clap::{Args, Subcommand};
use input::{InputError, Lines};
use progress::Progress;
use report::Report;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tantu::demo::{COUNTS, LINES, WordCount};
use tantu::prelude::*;
use thiserror::Error;

/// Tasks of a module in a new directory.
const TASK_COUNT: u32 = 8;
/// Most lines that are appended and not yet acked.
const IN_FLIGHT_MAX: usize = 4096;

/// Watch a module run durably on this machine.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    which: Option<Which>,
    #[command(flatten)]
    wordcount: WordCountArgs,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Count words: the demo that runs when none is named
    Wordcount(WordCountArgs),
}

/// A depot takes the lines, a stream topology splits them on ASCII white space, a PState holds the counts.
/// Every line is durable and counted before its ack.
#[derive(Debug, Args)]
struct WordCountArgs {
    /// Files to count; the licence texts under /usr/share/common-licenses if none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Keep the data here, and go on from what is there; without it a temporary directory is used and removed
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Tasks of the module: a power of two, fixed for the life of a data directory; 8 without it, or what the directory has
    #[arg(long)]
    tasks: Option<u32>,
    /// Threads that run the tasks
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// How many words to show; 0 shows every word
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Append FILE<TAB>LINE to this file after each ack
    #[arg(long, value_name = "FILE")]
    ack_log: Option<PathBuf>,
}

/// Why the demo could not do its work.
#[derive(Debug, Error)]
pub(super) enum DemoError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{path}: cannot be written: {source}")]
    AckLog { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{file}: line {line} was not acked: {source}", file = file.display())]
    Append { file: Arc<Path>, line: u64, source: ClientError },
    #[error("the counts cannot be read: {0}")]
    Select(ClientError),
    #[error("interrupted; every line acked so far is durable")]
    Interrupted,
    #[error("{0}")]
    Output(io::Error),
}

/// Runs the demo that was asked for.
pub(super) fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let args = match &args.which {
        Some(Which::Wordcount(args)) => args,
        None => &args.wordcount,
    };
    let files = files(args)?;
    let line_count = input::check(&files)?;
    let ack_log = args.ack_log.as_deref().map(open_ack_log).transpose()?;
    let cluster = match &args.data_dir {
        Some(dir) => InProcessCluster::open(dir)?,
        None => InProcessCluster::create()?,
    };
    let report = count(args, &cluster, &files, line_count, ack_log);
    cluster.close()?;
    let report = report?;
    let text = if args.json { report.json() } else { report.table() };
    super::print_all(text.as_bytes()).map_err(DemoError::Output)
}

fn files(args: &WordCountArgs) -> Result<Vec<PathBuf>, InputError> {
    if !args.files.is_empty() {
        return Ok(args.files.clone());
    }
    let files = input::licences()?;
    eprintln!("no files named: counting the {} licence texts under {}", files.len(), input::LICENCES);
    Ok(files)
}

fn open_ack_log(path: &Path) -> Result<(PathBuf, AckLog), DemoError> {
    let log = AckLog::open(path).map_err(|source| DemoError::AckLog { path: path.to_path_buf(), source })?;
    Ok((path.to_path_buf(), log))
}

fn count(
    args: &WordCountArgs,
    cluster: &InProcessCluster,
    files: &[PathBuf],
    line_count: u64,
    ack_log: Option<(PathBuf, AckLog)>,
) -> Result<Report, DemoError> {
    let module = WordCount::name();
    let tasks = match args.tasks {
        Some(tasks) => tasks,
        None => cluster.stored_task_count(&module)?.unwrap_or(TASK_COUNT),
    };
    cluster.launch::<WordCount>(LaunchConfig { tasks, threads: args.threads, ..LaunchConfig::default() })?;
    let lines = cluster.depot::<String>(&module, LINES)?;
    let counts = cluster.pstate::<Map<String, i64>>(&module, COUNTS)?;
    let began = Instant::now();
    let mut feeder = Feeder {
        lines: &lines,
        in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
        ack_log,
        progress: Progress::new(line_count),
        interrupted: interrupts(),
    };
    files.iter().try_for_each(|file| feeder.feed(file))?;
    feeder.finish()?;
    let counts = read_counts(&counts)?;
    Ok(Report::new(line_count, counts, args.top, began.elapsed()))
}

/// A flag that the first Ctrl-C sets, so that what was started is closed in order; a second one ends the process.
fn interrupts() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Without the handlers a signal ends the process at once, which loses no acked line either.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
        let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
    }
    flag
}

/// A line whose ack has not come yet.
struct InFlight {
    file: Arc<Path>,
    line: u64,
    append: PendingAppend,
}

/// Appends lines with many in flight and takes their acks in order.
struct Feeder<'a> {
    lines: &'a Depot<String>,
    in_flight: VecDeque<InFlight>,
    ack_log: Option<(PathBuf, AckLog)>,
    progress: Progress,
    interrupted: Arc<AtomicBool>,
}

impl Feeder<'_> {
    fn feed(&mut self, path: &Path) -> Result<(), DemoError> {
        let file: Arc<Path> = Arc::from(path);
        let mut lines = Lines::open(path)?;
        let mut text = String::new();
        while lines.next(&mut text)? {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(DemoError::Interrupted);
            }
            if self.in_flight.len() == IN_FLIGHT_MAX {
                self.take_oldest()?;
            }
            let line = lines.line_count();
            match self.lines.append_async(&text, AckLevel::Ack) {
                Ok(append) => self.in_flight.push_back(InFlight { file: Arc::clone(&file), line, append }),
                Err(source) => return Err(DemoError::Append { file, line, source }),
            }
        }
        Ok(())
    }

    fn take_oldest(&mut self) -> Result<(), DemoError> {
        let Some(InFlight { file, line, append }) = self.in_flight.pop_front() else { return Ok(()) };
        if let Err(source) = append.wait() {
            return Err(DemoError::Append { file, line, source });
        }
        if let Some((path, log)) = &mut self.ack_log {
            log.push(&file, line).map_err(|source| DemoError::AckLog { path: path.clone(), source })?;
        }
        self.progress.acked();
        Ok(())
    }

    fn finish(mut self) -> Result<(), DemoError> {
        while !self.in_flight.is_empty() {
            self.take_oldest()?;
        }
        Ok(())
    }
}

/// Reads every count.
fn read_counts(counts: &PState<Map<String, i64>>) -> Result<Vec<(String, u64)>, DemoError> {
    let all = counts.select_all(path().all()).map_err(DemoError::Select)?;
    Ok(all.into_iter().map(|(word, count)| (word, count.unsigned_abs())).collect())
}
