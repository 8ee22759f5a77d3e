//! Durable appends by many producers: a depot beside what the disk can do at all, and beside other logs. Everybody
//! flushes before every ack.

pub(crate) mod depot;
mod redis;
mod resp;

use crate::Common;
use crate::bound::{Bound, BoundProducer};
use crate::bound_core::{self, Waiting};
use crate::error::BenchError;
use crate::fields::Fields;
use crate::load::{self, Load, Loaded};
use crate::measure::{self, Stretch};
use crate::pace::PaceArgs;
use crate::report::{Measured, Report};
use depot::{Appends, DepotProducer, Prewriting};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tantu::prelude::*;

const SUITE: &str = "log";
/// A record's bytes at most: as a letter takes it.
const RECORD_SIZE_MAX: usize = 8 << 20;

/// Records appended and acked once they are durable
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Bytes of a record: 100B, 1KiB
    #[arg(long, alias = "record", value_delimiter = ',', default_value = "100B", value_parser = record_size)]
    records: Vec<usize>,
    /// Producers and what each has in flight
    #[arg(long, value_delimiter = ',', default_value = "16x64", value_parser = producers)]
    producers: Vec<Producers>,
    /// Who else runs
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bound")]
    peers: Vec<Peer>,
    /// Seconds of a run, after the warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds of warm-up
    #[arg(long, default_value_t = 1)]
    warm_up: u64,
    /// Tasks of the module
    #[arg(long, default_value_t = 8)]
    tasks: u32,
    /// Task threads; as many threads commit in the bounds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    #[command(flatten)]
    pace: PaceArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Peer {
    /// A raw loop of group commits, fed by the same producers through rings
    Bound,
    /// The same loop with the records made on the core that commits, which polls its disk
    BoundCore,
    /// The same, and the core sleeps until its disk is done
    BoundCoreSleep,
    /// Redis Streams: a server over loopback (Debian's redis-server)
    Redis,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::Bound => "bound",
            Peer::BoundCore => "bound-core",
            Peer::BoundCoreSleep => "bound-core-sleep",
            Peer::Redis => "redis",
        }
    }

    fn note(self) -> &'static str {
        match self {
            Peer::Bound => "",
            Peer::BoundCore | Peer::BoundCoreSleep => "its records are made on the core that commits them",
            Peer::Redis => redis::NOTE,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// A number of bytes: 100, 100B, 1KiB, 1MiB.
fn record_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        _ => None,
    };
    let size = unit.and_then(|unit| digits.parse::<usize>().ok()?.checked_mul(unit));
    let known = size.filter(|size| (1..=RECORD_SIZE_MAX).contains(size));
    known.ok_or_else(|| "expected a number of bytes up to 8MiB, as 100B or 1KiB".into())
}

fn size_name(size: usize) -> String {
    match size {
        _ if size.is_multiple_of(1 << 20) => format!("{}MiB", size >> 20),
        _ if size.is_multiple_of(1 << 10) => format!("{}KiB", size >> 10),
        _ => format!("{size}B"),
    }
}

/// One cell of the matrix.
struct Workload<'a> {
    args: &'a LogArgs,
    common: &'a Common,
    name: String,
    record: usize,
    producers: Producers,
}

pub(crate) fn run(args: &LogArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    if args.peers.contains(&Peer::Redis) {
        redis::REDIS_SERVER.require()?;
    }
    for &record in &args.records {
        for &producers in &args.producers {
            let Producers { count, in_flight } = producers;
            let name = format!("append-{}-{count}x{in_flight}", size_name(record));
            Workload { args, common, name, record, producers }.race(report)?;
        }
    }
    Ok(())
}

impl Workload<'_> {
    fn race(&self, report: &mut Report) -> Result<(), BenchError> {
        let peers = || self.args.peers.iter().copied().filter(|peer| self.common.wants(peer.name()));
        for _ in 0..self.common.run_count() {
            if self.common.wants("tantu") {
                let config = self.config(&self.depot_config());
                report.run(SUITE, &self.name, "tantu", &config, self.depot()?)?;
            }
            for peer in peers() {
                let (config, measured) = match peer {
                    Peer::Bound => (self.bound_config("made by the producers, through rings"), self.bound()?),
                    Peer::BoundCore => {
                        (self.bound_config("made on the core; it polls"), self.bound_core(Waiting::Polls)?)
                    }
                    Peer::BoundCoreSleep => {
                        (self.bound_config("made on the core; it sleeps"), self.bound_core(Waiting::Sleeps)?)
                    }
                    Peer::Redis => (redis::config(), self.redis()?),
                };
                report.run(SUITE, &self.name, peer.name(), &self.config(&config), measured)?;
            }
        }
        // In an open loop the rate is given; what differs are the latencies.
        let figures = if self.args.pace.rate.is_some() { ["p50_us", "p99_us"] } else { ["records_per_s", "p50_us"] };
        for peer in peers() {
            for figure in figures {
                report.ratio(&self.name, figure, "tantu", peer.name(), peer.note());
            }
        }
        Ok(())
    }

    fn warm_up(&self) -> Duration {
        if self.common.smoke { Duration::from_millis(50) } else { Duration::from_secs(self.args.warm_up) }
    }

    fn measured_time(&self) -> Duration {
        if self.common.smoke { Duration::from_millis(150) } else { Duration::from_secs(self.args.seconds) }
    }

    fn config(&self, engine: &Fields) -> Fields {
        Fields::new()
            .with("record", self.record)
            .with("producers", self.producers.count)
            .with("in_flight", self.producers.in_flight)
            .with("warm_up_s", self.warm_up().as_secs_f64())
            .with("measured_s", self.measured_time().as_secs_f64())
            .and(self.args.pace.config())
            .with_object("engine", engine)
    }

    fn depot_config(&self) -> Fields {
        Fields::new()
            .with("tasks", self.args.tasks)
            .with("threads", self.args.threads)
            .with("ack", "APPEND_ACK: flushed before the ack")
            .with(
                "written_per_byte",
                "log and depot, over the records; until the cluster is closed, without prewriting",
            )
            .with(
                "system_calls_per_record",
                "of the task threads: enters of their disk rings, and rings of their bells",
            )
    }

    fn bound_config(&self, records: &str) -> Fields {
        let ack = "every group is flushed before its acks";
        Fields::new().with("threads", self.args.threads).with("ack", ack).with("records", records)
    }

    /// What is asked of everybody; it begins when everything is ready.
    fn load(&self) -> Load {
        let began = Instant::now();
        let from = began + self.warm_up();
        let Producers { count: clients, in_flight } = self.producers;
        let record = vec![b'r'; self.record];
        Load { clients, in_flight, record, pace: self.args.pace, began, from, to: from + self.measured_time() }
    }

    fn measured(&self, loaded: Loaded) -> Measured {
        // What started in the window, over the window: when threads look at the clock does not matter.
        let rate = loaded.latencies.all().len() as f64 / self.measured_time().as_secs_f64();
        let figures = vec![("records_per_s", rate), ("mb_per_s", rate * self.record as f64 / 1e6)];
        let mut measured = Measured::new(figures, loaded.latencies);
        measured.push("cpu_s", loaded.cpu_s);
        if self.args.pace.rate.is_some() {
            measured.push("unsent", loaded.unsent as f64);
        }
        measured
    }

    fn depot(&self) -> Result<Measured, BenchError> {
        let dir = self.common.fresh_dir()?;
        let cluster = InProcessCluster::open(dir.path())?;
        cluster.launch::<Appends>(LaunchConfig::new(self.args.tasks, self.args.threads))?;
        let written = measure::written_size("self")?;
        let mut prewriting = Prewriting::new(dir.path())?;
        let calls = tantu_doors::system_call_count();
        let connect = || {
            Ok(DepotProducer::new(
                Depot::new(&cluster.connect(&Appends::name())?, depot::RECORDS)?,
                AckLevel::AppendAck,
            ))
        };
        let loaded = load::run(&self.load(), self.warm_up(), connect, &mut || prewriting.look(dir.path()))?;
        let calls = tantu_doors::system_call_count() - calls;
        // What is copied to the depot later is written by then.
        cluster.close()?;
        let written = measure::written_size("self")? - written;
        let sent = loaded.sent as f64;
        let payload = sent * self.record as f64;
        let mut measured = self.measured(loaded);
        // Some file systems are in memory and write nothing.
        measured.push("written_per_byte", written.saturating_sub(prewriting.size()) as f64 / payload);
        measured.push("prewritten_bytes", prewriting.size() as f64);
        measured.push("system_calls_per_record", calls as f64 / sent);
        Ok(measured)
    }

    fn bound(&self) -> Result<Measured, BenchError> {
        let dir = self.common.fresh_dir()?;
        let bound = Bound::start(dir.path(), self.args.threads)?;
        let connect = || Ok(BoundProducer::new(&bound));
        let loaded = load::run(&self.load(), self.warm_up(), connect, &mut || Ok(()))?;
        bound.stop()?;
        Ok(self.measured(loaded))
    }

    fn bound_core(&self, waiting: Waiting) -> Result<Measured, BenchError> {
        let dir = self.common.fresh_dir()?;
        let cores = self.args.threads as usize;
        let files: Vec<PathBuf> = (0..cores).map(|core| dir.path().join(format!("bound-core-{core}"))).collect();
        files.iter().try_for_each(|file| bound_core::prepare(file))?;
        let load = self.load();
        let loaded = std::thread::scope(|scope| {
            let load = &load;
            let owning: Vec<_> = (files.iter().enumerate())
                .map(|(core, file)| scope.spawn(move || bound_core::own(file, waiting, load, core, cores)))
                .collect();
            std::thread::sleep(load.from.saturating_duration_since(Instant::now()));
            let stretch = Stretch::begin();
            std::thread::sleep(load.to.saturating_duration_since(Instant::now()));
            let mut all = Loaded { cpu_s: stretch.end().cpu_s, ..Loaded::new(load) };
            for core in owning {
                all.add(&core.join().map_err(|_| BenchError::Wrong("an owning core panicked".into()))??);
            }
            Ok::<_, BenchError>(all)
        })?;
        Ok(self.measured(loaded))
    }

    fn redis(&self) -> Result<Measured, BenchError> {
        let dir = self.common.fresh_dir()?;
        let server = redis::Server::start(dir.path())?;
        let load = self.load();
        let mut before = None;
        let mut cpu_s = 0.0;
        let from = Instant::now() + self.warm_up();
        let mut watch = || {
            // From the first look after the warm-up to the last one.
            let now = server.cpu_s()?;
            if Instant::now() >= from {
                cpu_s = now - *before.get_or_insert(now);
            }
            Ok(())
        };
        let mut loaded = load::run(&load, self.warm_up(), || redis::Client::connect(&server), &mut watch)?;
        loaded.cpu_s += cpu_s;
        Ok(self.measured(loaded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: LogArgs,
    }

    fn parsed(line: &str) -> LogArgs {
        Cli::try_parse_from(["log"].into_iter().chain(line.split_whitespace())).expect("it is understood").args
    }

    #[test]
    fn sizes_and_producers_are_read_and_named_as_they_are_written() {
        assert_eq!(["100B", "100", "1KiB", "3MiB"].map(record_size), [100, 100, 1024, 3 << 20].map(Ok));
        for wrong in ["", "B", "1kB", "1.5KiB", "0B", "9MiB", "99999999999999999999MiB", "-1"] {
            assert!(record_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!([100, 1024, 1 << 20, 1500].map(size_name), ["100B", "1KiB", "1MiB", "1500B"]);
        assert_eq!(producers("16x64"), Ok(Producers { count: 16, in_flight: 64 }));
        assert!(["16", "x", "0x1", "1x0", "1xx"].iter().all(|wrong| producers(wrong).is_err()));
    }

    #[test]
    fn the_matrix_is_asked_for_in_lists_and_what_earlier_users_wrote_is_one_cell_of_it() {
        let all = parsed("--records 100B,1KiB --producers 1x1,1x1024,16x1,16x64 --peers bound,bound-core,redis");
        assert_eq!((all.records.as_slice(), all.producers.len(), all.peers.len()), (&[100, 1024][..], 4, 3));
        let earlier = parsed("--record 1024 --producers 4x8 --seconds 1");
        assert_eq!((earlier.records, earlier.producers.len(), earlier.peers), (vec![1024], 1, vec![Peer::Bound]));
    }

    #[test]
    fn a_small_run_of_every_log_in_process_has_its_figures_in_an_open_and_in_a_closed_loop() {
        for rate in ["", "--rate 2000 --arrival fixed"] {
            let args = parsed(&format!("--peers bound,bound-core,bound-core-sleep --producers 2x4 {rate}"));
            let mut report = Report::new(false, None);
            run(&args, &crate::tests::smoke(), &mut report).expect("it runs");
            for engine in ["tantu", "bound", "bound-core", "bound-core-sleep"] {
                let figure = |name| report.median("append-100B-2x4", engine, name).expect("it was measured");
                assert!(figure("records_per_s") > 0.0 && figure("p50_us") > 0.0 && figure("cpu_s") >= 0.0);
                assert!(rate.is_empty() || figure("records_per_s") < 2500.0, "{engine} keeps the pace");
            }
            let prewritten = report.median("append-100B-2x4", "tantu", "prewritten_bytes");
            let calls = report.median("append-100B-2x4", "tantu", "system_calls_per_record").expect("they are counted");
            assert!(calls > 0.0 && calls < 100.0, "{calls}");
            assert_eq!(prewritten.map(|size| size % (64 << 20) as f64), Some(0.0), "whole segments");
        }
    }
}
