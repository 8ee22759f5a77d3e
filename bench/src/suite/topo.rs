//! What topologies do end to end, on real task threads, everything durable: a keyed count and bank transfers by
//! microbatches, appends and their acks beside a raw durable write, selects by a client of the process.
//!
//! Peers that are programs are started and stopped here. A peer that makes its own input races against records that are
//! durable in a depot before the measured stretch begins.

mod acks;
mod bank;
mod flink;
mod keyed;
mod postgres;
mod select;
#[cfg(feature = "peers")]
mod timely;

use crate::Common;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::{Measured, Report};
use std::path::PathBuf;
use std::time::Duration;
use tantu::prelude::{AckLevel, ClientError, Microbatch, MicrobatchStatus, Pending, PendingAppend};

const SUITE: &str = "topo";

/// Topologies end to end
#[derive(Debug, clap::Args)]
pub(crate) struct TopoArgs {
    /// Workloads, in order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "keyed-10k,keyed-1m,bank,append-ack,hop-ack,select"
    )]
    workload: Vec<Workload>,
    /// Tasks of a module
    #[arg(long, default_value_t = 4)]
    tasks: u32,
    /// Task threads; as many run in a peer
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Records of a keyed count, after as many that warm it up
    #[arg(long, default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Records of a microbatch from one partition, at most
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// How the keyed count is written
    #[arg(long, value_enum, default_value = "two-phase")]
    plan: Plan,
    /// Transfers, after a quarter of as many that warm it up
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(4..))]
    transfers: u64,
    /// Bank accounts, as pgbench has at scale 10
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2..))]
    accounts: u64,
    /// Keys of the PState that is selected from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    select_keys: u64,
    /// Selects that are out at a time
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..))]
    selects: u64,
    /// Seconds measured of what runs for a time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds of its warm-up
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Task threads of the workloads of acks, and clients: each on a processor of its own, if there are enough
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    ack_threads: u32,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    ack_clients: u32,
    /// Microseconds that their threads look for work before they sleep
    #[arg(long, default_value_t = 50)]
    ack_spin: u64,
    /// Appends per second; without it half of what a closed loop reaches just before
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Where Flink's jars are: a directory with flink-dist-VERSION.jar somewhere below it
    #[arg(long, value_name = "DIR")]
    flink: Option<PathBuf>,
    /// Get Flink's jars with pip into that directory if they are not there
    #[arg(long, requires = "flink")]
    fetch: bool,
    /// Clients of PostgreSQL; the best count is what counts
    #[arg(long, value_delimiter = ',', default_value = "2,8,32,64")]
    clients: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Workload {
    /// A count by key in a microbatch, 10,000 keys
    #[value(name = "keyed-10k")]
    Keyed10k,
    /// The same, 1,000,000 keys
    #[value(name = "keyed-1m")]
    Keyed1m,
    /// Transfers between accounts on two partitions, exactly once
    #[value(name = "bank")]
    Bank,
    /// Appends, answered when they are durable, at half the load
    #[value(name = "append-ack")]
    AppendAck,
    /// The same, answered when a topology has written what it makes of them on another task
    #[value(name = "hop-ack")]
    HopAck,
    /// A value by its key
    #[value(name = "select")]
    Select,
}

/// Ways to write a keyed count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Plan {
    /// Groups of a batch block: counted where the records are, and added up where the keys are
    TwoPhase,
    /// Every record goes to its key's task
    Direct,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Keyed10k => "keyed-10k",
            Workload::Keyed1m => "keyed-1m",
            Workload::Bank => "bank",
            Workload::AppendAck => "append-ack",
            Workload::HopAck => "hop-ack",
            Workload::Select => "select",
        }
    }

    /// What runs it, in order; a smoke run needs no programs.
    fn engines(self, common: &Common) -> Vec<&'static str> {
        let mut engines = vec!["tantu"];
        match self {
            Workload::Keyed10k | Workload::Keyed1m => {
                engines.extend(cfg!(feature = "peers").then_some("timely"));
                engines.extend((!common.smoke).then_some("flink"));
            }
            Workload::Bank => engines.extend((!common.smoke).then_some("postgres")),
            Workload::AppendAck | Workload::HopAck => engines.extend(["bound", "write", "write-4k"]),
            Workload::Select => {}
        }
        engines.retain(|engine| common.wants(engine));
        engines
    }

    fn keys(self, common: &Common) -> u64 {
        match self {
            _ if common.smoke => 1_000,
            Workload::Keyed1m => 1_000_000,
            _ => 10_000,
        }
    }
}

impl TopoArgs {
    fn config(&self, common: &Common, workload: Workload) -> Fields {
        let config = Fields::new().with("tasks", self.tasks).with("threads", self.threads);
        match workload {
            Workload::Keyed10k | Workload::Keyed1m => config
                .with("keys", workload.keys(common))
                .with("records", self.record_count(common))
                .with("batch", self.batch(common))
                .with("plan", if self.plan == Plan::TwoPhase { "two-phase" } else { "direct" })
                .with("warm_up", "as many records"),
            Workload::Bank => config
                .with("accounts", self.account_count(common))
                .with("transfers", self.transfer_count(common))
                .with("batch", bank::batch(self, common))
                .with("warm_up", "the deposits, and a quarter of as many transfers"),
            Workload::AppendAck | Workload::HopAck => Fields::new()
                .with("tasks", self.tasks)
                .with("threads", self.ack_threads)
                .with("clients", self.ack_clients)
                .with("spin_us", self.ack_spin)
                .with("loop", "open")
                .with("record", acks::RECORD_SIZE),
            Workload::Select => config
                .with("keys", self.select_key_count(common))
                .with("in_flight", self.selects)
                .with("loop", "closed"),
        }
    }

    /// Records of a microbatch of a count from one partition.
    fn batch(&self, common: &Common) -> u64 {
        if common.smoke { 1_000 } else { self.batch }
    }

    fn record_count(&self, common: &Common) -> u64 {
        if common.smoke { 20_000 } else { self.records }
    }

    fn transfer_count(&self, common: &Common) -> u64 {
        if common.smoke { 2_000 } else { self.transfers }
    }

    fn account_count(&self, common: &Common) -> u64 {
        if common.smoke { 100 } else { self.accounts }
    }

    fn select_key_count(&self, common: &Common) -> u64 {
        if common.smoke { 1_000 } else { self.select_keys }
    }

    fn measured_time(&self, common: &Common) -> Duration {
        if common.smoke { Duration::from_millis(150) } else { Duration::from_secs(self.seconds) }
    }

    fn warm_up_time(&self, common: &Common) -> Duration {
        if common.smoke { Duration::from_millis(50) } else { Duration::from_secs(self.warm_up) }
    }
}

pub(crate) fn run(args: &TopoArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    for _ in 0..common.run_count() {
        for &workload in &args.workload {
            let config = args.config(common, workload);
            let mut found = acks::Found { rate: args.rate, group_size: None };
            for engine in workload.engines(common) {
                let measured = measured(args, common, workload, engine, &mut found)?;
                report.run(SUITE, workload.name(), engine, &config, measured)?;
            }
        }
    }
    ratios(report);
    Ok(())
}

fn ratios(report: &mut Report) {
    for workload in [Workload::Keyed10k, Workload::Keyed1m] {
        for figure in ["records_per_cpu_s", "records_per_s"] {
            report.ratio(workload.name(), figure, "tantu", "flink", flink::NOTE);
            report.ratio(workload.name(), figure, "tantu", "timely", "timely keeps nothing and makes its own records");
        }
    }
    report.ratio("bank", "transfers_per_s", "tantu", "postgres", postgres::NOTE);
    for figure in ["p50_us", "p99_us"] {
        for workload in ["append-ack", "hop-ack"] {
            report.ratio(workload, figure, "tantu", "write", acks::NOTE);
            report.ratio(workload, figure, "tantu", "write-4k", acks::NOTE_4K);
            report.ratio(workload, figure, "tantu", "bound", acks::NOTE_BOUND);
        }
    }
}

fn measured(
    args: &TopoArgs,
    common: &Common,
    workload: Workload,
    engine: &str,
    found: &mut acks::Found,
) -> Result<Measured, BenchError> {
    match (workload, engine) {
        (Workload::Keyed10k | Workload::Keyed1m, "tantu") => keyed::tantu(args, common, workload.keys(common)),
        (Workload::Keyed10k | Workload::Keyed1m, "flink") => flink::run(args, common, workload.keys(common)),
        #[cfg(feature = "peers")]
        (Workload::Keyed10k | Workload::Keyed1m, "timely") => timely::run(args, common, workload.keys(common)),
        (Workload::Bank, "tantu") => bank::tantu(args, common),
        (Workload::Bank, _) => postgres::run(args, common),
        (Workload::AppendAck, "tantu") => acks::tantu(args, common, AckLevel::AppendAck, found),
        (Workload::HopAck, "tantu") => acks::tantu(args, common, AckLevel::Ack, found),
        (Workload::AppendAck | Workload::HopAck, "bound") => acks::bound(args, common, found.rate),
        (Workload::AppendAck | Workload::HopAck, "write") => acks::write(args, common, found.group_size),
        (Workload::AppendAck | Workload::HopAck, _) => acks::write(args, common, None),
        (Workload::Select, _) => select::tantu(args, common),
        _ => Err(BenchError::Wrong(format!("{engine} does not run {}", workload.name()))),
    }
}

/// Appends that are out, so many at most.
struct Appending {
    out: std::collections::VecDeque<PendingAppend>,
}

/// Appends that are out while a depot is filled.
const APPEND_COUNT_MAX: usize = 8_192;

impl Appending {
    fn new() -> Self {
        Self { out: std::collections::VecDeque::with_capacity(APPEND_COUNT_MAX) }
    }

    fn push(&mut self, append: Result<PendingAppend, ClientError>) -> Result<(), BenchError> {
        if self.out.len() == APPEND_COUNT_MAX {
            // Many at once: each wait for an answer that is not there costs a sleep.
            self.out.drain(..APPEND_COUNT_MAX / 2).try_for_each(|append| Pending::wait(append).map(drop))?;
        }
        self.out.push_back(append?);
        Ok(())
    }

    fn end(self) -> Result<(), BenchError> {
        Ok(self.out.into_iter().try_for_each(|append| append.wait().map(drop))?)
    }
}

/// Longest a topology may take before something is wrong.
const WAIT_MAX: Duration = Duration::from_secs(240);

/// Waits until a topology has processed so many records.
fn processed(topology: &Microbatch, count: u64) -> Result<MicrobatchStatus, BenchError> {
    Ok(topology.wait_for_processed(count, WAIT_MAX)?)
}

/// A number that looks random, the same for the same one: keys of everybody's records are made from it.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, ValueEnum};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: TopoArgs,
    }

    fn parsed(line: &str) -> TopoArgs {
        Cli::try_parse_from(["topo"].into_iter().chain(line.split_whitespace())).expect("it is understood").args
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
    fn a_small_run_has_the_figures_of_every_workload_and_counts_by_both_plans_alike() {
        for plan in ["two-phase", "direct"] {
            let mut report = Report::new(false, None);
            let args = parsed(&format!("--plan {plan} --rate 2000"));
            run(&args, &crate::tests::smoke(), &mut report).expect("it runs");
            let figure = |workload: Workload, name| {
                let found = report.median(workload.name(), "tantu", name);
                assert!(found.is_some_and(|found| found > 0.0), "{workload:?} has no {name}: {found:?}");
            };
            figure(Workload::Keyed10k, "records_per_cpu_s");
            figure(Workload::Keyed1m, "records_per_s");
            figure(Workload::Bank, "transfers_per_s");
            figure(Workload::AppendAck, "p50_us");
            figure(Workload::HopAck, "p99_us");
            figure(Workload::Select, "selects_per_cpu_s");
            assert!(report.median("append-ack", "write", "p50_us").is_some_and(|p50| p50 > 0.0));
        }
    }
}
