//! Keys and values on one thread: the storage of the engine beside embedded stores.

mod engine;
#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "peers")]
mod redb;
mod rocksdb;
mod store;
mod tantu;
mod workload;

use crate::Common;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::pace::PaceArgs;
use crate::report::Report;
use store::Store;

const SUITE: &str = "kv";
/// Keys of a smoke run.
const SMOKE_KEYS: u64 = 20_000;
/// Puts of a store that is killed: about as much of the log as a task thread lets gather.
const RECOVERY_PUT_COUNT_MAX: u64 = 2_000_000;
/// Reads that find their blocks on the disk, at most.
const COLD_READ_COUNT_MAX: u64 = 200_000;

/// Keys of 16 bytes on one thread; the log is written for every put, and flushed in the background
#[derive(Debug, clap::Args)]
pub(crate) struct KvArgs {
    /// Keys to choose from, and puts of a fill: random with repetition, so that 63 % are there in the end
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Workloads, in order; reads find what the fill before them left
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fillrandom,readrandom,multireadrandom-16,scan100,scan100-unsettled,readrandom-cold,\
                         readrandom-cold-32,readwhilewriting,open,recovery,open-ingested"
    )]
    workload: Vec<Workload>,
    /// Who else runs; those in process need the feature `peers`
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Puts per second beside the reads of readwhilewriting, for every engine
    #[arg(long, default_value_t = 90_000, value_parser = clap::value_parser!(u64).range(1..))]
    write_rate: u64,
    /// Trees, as a core with so many tasks has; scans run in one of them
    #[arg(long, default_value_t = 1)]
    trees: u32,
    /// Bytes of the block cache of every engine; the cold workload takes 1/16 of the data
    #[arg(long, default_value_t = 2 << 30)]
    cache_size: usize,
    /// Bytes of keys and values that open-ingested ingests before it opens them
    #[arg(long, default_value_t = 256 << 20)]
    ingest_size: u64,
    /// Seed of the keys
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pace: PaceArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Peer {
    /// Through db_bench, of Debian's package rocksdb-tools
    Rocksdb,
    /// In process
    Fjall,
    /// In process
    Redb,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Workload {
    /// Random puts into an empty store; then it settles
    #[value(name = "fillrandom")]
    Fill,
    /// Gets of random keys, everything cached
    #[value(name = "readrandom")]
    Read,
    /// 16 gets at a time
    #[value(name = "multireadrandom-16")]
    MultiRead16,
    /// 100 pairs from a random key on
    #[value(name = "scan100")]
    Scan100,
    /// The same as the fill left it, before it settled
    #[value(name = "scan100-unsettled")]
    Scan100Unsettled,
    /// Gets with a cache of a sixteenth of the data
    #[value(name = "readrandom-cold")]
    Cold,
    /// The same with 32 in flight
    #[value(name = "readrandom-cold-32")]
    Cold32,
    /// Gets beside puts at a rate that is the same for all
    #[value(name = "readwhilewriting")]
    ReadWhileWriting,
    /// Opening what is there
    #[value(name = "open")]
    Open,
    /// Opening a store of its own that was killed after the same puts, none of them flushed from memory
    #[value(name = "recovery")]
    Recovery,
    /// Opening a store of its own that sorted pairs were ingested into, as large as `--ingest-size`
    #[value(name = "open-ingested")]
    OpenIngested,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Fill => "fillrandom",
            Workload::Read => "readrandom",
            Workload::MultiRead16 => "multireadrandom-16",
            Workload::Scan100 => "scan100",
            Workload::Scan100Unsettled => "scan100-unsettled",
            Workload::Cold => "readrandom-cold",
            Workload::Cold32 => "readrandom-cold-32",
            Workload::ReadWhileWriting => "readwhilewriting",
            Workload::Open => "open",
            Workload::Recovery => "recovery",
            Workload::OpenIngested => "open-ingested",
        }
    }

    fn is_cold(self) -> bool {
        matches!(self, Workload::Cold | Workload::Cold32)
    }

    /// Whether its figures are of a store that was just opened.
    fn wants_opening(self) -> bool {
        self.is_cold() || self == Workload::Open
    }

    /// Reads that are out together: they start when another ends, in an open loop too.
    fn depth(self) -> usize {
        match self {
            Workload::MultiRead16 => 16,
            Workload::Cold32 => 32,
            _ => 1,
        }
    }
}

/// The key of a number, as db_bench makes it: eight bytes that sort as it does, padded with zeros.
fn key_of(number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number of a key.
fn number_of(key: &[u8; 16]) -> u64 {
    u64::from_be_bytes([key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7]])
}

impl KvArgs {
    fn keys(&self, common: &Common) -> u64 {
        if common.smoke { SMOKE_KEYS } else { self.keys }
    }

    /// Bytes a client wrote with so many puts.
    fn size_of(&self, puts: f64) -> f64 {
        puts * (16 + self.value) as f64
    }

    /// Bytes of an engine's cache: a sixteenth of the data where a workload is cold.
    fn cache_size(&self, common: &Common, workload: Workload) -> usize {
        if workload.is_cold() { self.size_of(self.keys(common) as f64) as usize / 16 } else { self.cache_size }
    }

    /// Operations of a workload.
    fn operations(&self, common: &Common, workload: Workload) -> u64 {
        let keys = self.keys(common);
        match workload {
            Workload::Scan100 | Workload::Scan100Unsettled => keys / 20,
            Workload::Cold | Workload::Cold32 => (keys / 10).min(COLD_READ_COUNT_MAX),
            Workload::Open => 1,
            Workload::Recovery => keys.min(RECOVERY_PUT_COUNT_MAX),
            // More than one table.
            Workload::OpenIngested if common.smoke => keys * 10,
            Workload::OpenIngested => self.ingest_size / (16 + self.value) as u64,
            Workload::Fill | Workload::Read | Workload::MultiRead16 | Workload::ReadWhileWriting => keys,
        }
    }

    /// What a line says of how it was measured, the engine's own options at the end.
    fn config(&self, common: &Common, workload: Workload, engine: Fields) -> Fields {
        let warm_up = match workload {
            Workload::Fill => "none: the store is empty",
            Workload::Open | Workload::Recovery | Workload::OpenIngested => "none",
            Workload::Cold | Workload::Cold32 => "none: the store is just opened",
            _ => "every key read once",
        };
        let config = Fields::new()
            .with("keys", self.keys(common))
            .with("key", 16)
            .with("value", self.value)
            .with("operations", self.operations(common, workload))
            .with("cache_size", self.cache_size(common, workload))
            .with("seed", self.seed)
            .with("threads", 1)
            .with("compression", "none")
            .with("warm_up", warm_up);
        let config = if workload.depth() == 1 {
            config.and(self.pace.config())
        } else {
            config.with("loop", "closed").with("in_flight", workload.depth())
        };
        let beside = workload == Workload::ReadWhileWriting;
        let config = if beside { config.with("write_rate", self.write_rate) } else { config };
        config.with_object("engine", &engine)
    }

    /// What cannot be measured as it was asked for.
    fn refuse(&self) -> Result<(), BenchError> {
        if self.workload.first() != Some(&Workload::Fill) {
            return Err(BenchError::Wrong("--workload: reads find what a fill left; begin with fillrandom".into()));
        }
        if self.pace.rate.is_some() && self.peers.contains(&Peer::Rocksdb) {
            let text = "--rate: db_bench has no open loop (its latencies count from the actual start); \
                        leave rocksdb out of --peers";
            return Err(BenchError::Wrong(text.into()));
        }
        Ok(())
    }
}

pub(crate) fn run(args: &KvArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    args.refuse()?;
    let warnings = if args.peers.contains(&Peer::Rocksdb) { rocksdb::warnings(common)? } else { String::new() };
    for peer in [Peer::Fjall, Peer::Redb] {
        if !cfg!(feature = "peers") && args.peers.contains(&peer) {
            return Err(BenchError::NotCompiledIn { name: name_of(peer), feature: "peers" });
        }
    }
    for _ in 0..common.run_count() {
        if common.wants("tantu") {
            workload::race::<Store>(args, common, report)?;
        }
        for peer in args.peers.iter().filter(|peer| common.wants(name_of(**peer))) {
            match peer {
                Peer::Rocksdb => rocksdb::race(args, common, report, &warnings)?,
                #[cfg(feature = "peers")]
                Peer::Fjall => workload::race::<fjall::Fjall>(args, common, report)?,
                #[cfg(feature = "peers")]
                Peer::Redb => workload::race::<redb::Redb>(args, common, report)?,
                #[cfg(not(feature = "peers"))]
                Peer::Fjall | Peer::Redb => {}
            }
        }
    }
    ratios(args, report, &warnings);
    Ok(())
}

fn name_of(peer: Peer) -> &'static str {
    match peer {
        Peer::Rocksdb => "rocksdb",
        Peer::Fjall => "fjall",
        Peer::Redb => "redb",
    }
}

fn ratios(args: &KvArgs, report: &mut Report, warnings: &str) {
    for workload in &args.workload {
        for &peer in &args.peers {
            let mut notes = Vec::new();
            let written = report.median(workload.name(), name_of(peer), "writes_per_s");
            if written.is_some_and(|rate| rate < 0.95 * args.write_rate as f64) {
                notes.push("the peer did not reach the write rate".to_string());
            }
            if peer == Peer::Rocksdb && !warnings.is_empty() {
                notes.push(format!("db_bench warns: {warnings}"));
            }
            if peer != Peer::Rocksdb && workload.is_cold() {
                notes.push("the peer reads through the page cache, tantu does not".to_string());
            }
            // In an open loop the rate is given; what differs are the latencies.
            let is_open = args.pace.rate.is_some() && workload.depth() == 1;
            let figure = match workload {
                Workload::Open | Workload::OpenIngested => "open_s",
                _ if is_open => "p99_us",
                _ => "ops_per_s",
            };
            report.ratio(workload.name(), figure, "tantu", name_of(peer), &notes.join("; "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, ValueEnum};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: KvArgs,
    }

    fn parsed(line: &str) -> KvArgs {
        Cli::try_parse_from(["kv"].into_iter().chain(line.split_whitespace())).expect("it is understood").args
    }

    #[test]
    fn every_workload_has_the_name_it_is_asked_for_by_and_runs_by_default() {
        for workload in Workload::value_variants() {
            let value = workload.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), workload.name());
        }
        assert_eq!(parsed("").workload, Workload::value_variants());
        let some = parsed("--workload fillrandom,readwhilewriting --peers rocksdb,fjall,redb");
        assert_eq!(some.workload, [Workload::Fill, Workload::ReadWhileWriting]);
        assert_eq!(some.peers, Peer::value_variants());
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let text = |line| parsed(line).refuse().expect_err("it is refused").to_string();
        assert!(text("--workload readrandom").contains("begin with fillrandom"));
        assert!(text("--rate 1000 --peers rocksdb").contains("db_bench has no open loop"));
        assert!(parsed("--rate 1000 --arrival fixed").refuse().is_ok());
        assert!(Cli::try_parse_from(["kv", "--arrival", "fixed"]).is_err(), "an arrival without a rate");
    }

    #[test]
    fn a_small_run_has_the_figures_of_every_workload_of_every_engine_in_process() {
        let peers = if cfg!(feature = "peers") { "--peers fjall,redb" } else { "" };
        let args = parsed(peers);
        let mut report = Report::new(false, None);
        run(&args, &crate::tests::smoke(), &mut report).expect("it runs");
        let has_operations =
            |workload| !matches!(workload, Workload::Open | Workload::Recovery | Workload::OpenIngested);
        for engine in ["tantu"].into_iter().chain(args.peers.iter().map(|peer| name_of(*peer))) {
            let figure = |workload: Workload, name| report.median(workload.name(), engine, name);
            for workload in Workload::value_variants().iter().filter(|it| has_operations(**it)) {
                assert!(figure(*workload, "ops_per_s").is_some_and(|rate| rate > 0.0), "{engine} {workload:?}");
                assert!(figure(*workload, "space_bytes").is_some_and(|size| size > 1e6), "{engine} {workload:?}");
            }
            assert!(figure(Workload::Fill, "write_amplification").is_some());
            assert!(figure(Workload::Open, "open_s").is_some_and(|took| took > 0.0));
            let opened = figure(Workload::OpenIngested, "open_s").is_some_and(|took| took > 0.0);
            assert_eq!(opened, engine == "tantu", "{engine}: what was ingested is opened and read");
            assert!(figure(Workload::ReadWhileWriting, "writes_per_s").is_some_and(|rate| rate > 0.0));
            let pairs = [Workload::Scan100, Workload::Scan100Unsettled].map(|it| figure(it, "pairs"));
            assert!(pairs[0].is_some() && pairs[0] == pairs[1], "settling changes nothing that is read: {pairs:?}");
        }
        let replayed = report.median("recovery", "tantu", "entries");
        assert_eq!(replayed, Some(SMOKE_KEYS as f64), "everything that was put is replayed");
    }

    #[test]
    fn an_open_loop_keeps_its_pace_and_says_so() {
        let args = parsed("--workload fillrandom,readrandom --rate 100000 --arrival poisson");
        let common = crate::tests::smoke();
        let mut report = Report::new(false, None);
        run(&args, &common, &mut report).expect("it runs");
        for workload in ["fillrandom", "readrandom"] {
            let rate = report.median(workload, "tantu", "ops_per_s").expect("it was measured");
            assert!(rate < 105_000.0, "{workload}: {rate}");
        }
        let config = args.config(&common, Workload::Read, Fields::new()).to_string();
        assert!(config.contains(r#""loop":"open","rate":100000,"arrival":"poisson""#), "{config}");
        let config = args.config(&common, Workload::MultiRead16, Fields::new()).to_string();
        assert!(config.contains(r#""loop":"closed","in_flight":16"#), "{config}");
    }

    #[cfg(not(feature = "peers"))]
    #[test]
    fn a_peer_that_was_not_compiled_in_is_an_error_that_names_the_feature() {
        let common = crate::tests::smoke();
        for line in ["--peers fjall", "--peers redb"] {
            let error = run(&parsed(line), &common, &mut Report::new(true, None)).expect_err("it is not there");
            assert!(error.to_string().contains("--features peers"), "{error}");
        }
    }
}
