//! Appends at half of what a closed loop reaches, answered when they are durable, or when a stream topology has written
//! what it makes of them on another task; beside the durable write itself.
//!
//! As many threads as processors: an engine of a thread per core waits for a processor otherwise, and that is what would be
//! measured. What the write itself takes is asked of one thread that writes as much as the engine's groups hold, durably, one
//! after the other, into the same kind of file, and sleeps meanwhile: a thread that polls keeps the kernel's own thread from
//! the processor, which flushes the disk.

use super::{SUITE, TopoArgs};
use crate::Common;
use crate::bound::{ALIGN, Bound, BoundProducer, GROUP_SIZE_MAX};
use crate::bound_core::{self, Waiting};
use crate::error::BenchError;
use crate::load::{self, Load, Producer};
use crate::machine::Pinning;
use crate::measure::Stretch;
use crate::pace::{Arrival, PaceArgs};
use crate::report::Measured;
use crate::suite::log::depot::DepotProducer;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

pub(super) const RECORD_SIZE: usize = 100;
/// What must be known to read a comparison with a raw write.
pub(super) const NOTE: &str = "write: one thread that writes as much as an average group, durably, one after the other";
pub(super) const NOTE_4K: &str = "write-4k: the same with 4 KiB";
pub(super) const NOTE_BOUND: &str = "the bound: a raw loop of group commits at the same rate";
const RECORDS: &str = "*records";
/// What each client may have out.
const IN_FLIGHT: usize = 512;
const KEY_COUNT: u64 = 10_000;

/// Records that hop to the task of their key, and are counted there.
struct Hops;

impl Module for Hops {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let records = setup.declare_depot::<Vec<u8>>(RECORDS, random());
        let mut hops = topologies.stream("hops");
        let counts = hops.pstate::<Map<i64, i64>>("$$counts");
        hops.source(&records, |b, record| {
            let key = b.each(record, key_of);
            b.hash_partition(key);
            b.compound_agg(counts, agg::key(key, agg::count()));
        });
    }
}

/// The key that a record begins with.
fn key_of(record: &[u8]) -> i64 {
    record.first_chunk::<8>().map_or(0, |key| i64::from_le_bytes(*key))
}

/// A client whose records have keys.
struct Keyed {
    inner: DepotProducer,
    record: Vec<u8>,
}

impl Producer for Keyed {
    fn send(&mut self, number: u64, record: &[u8]) -> Result<(), BenchError> {
        self.record.clear();
        self.record.extend_from_slice(&(super::mixed(number) % KEY_COUNT).to_le_bytes());
        self.record.extend_from_slice(&record[8..]);
        self.inner.send(number, &self.record)
    }

    fn answers(
        &mut self,
        wanted: usize,
        until: Option<Instant>,
        answered: &mut dyn FnMut(u64),
    ) -> Result<(), BenchError> {
        self.inner.answers(wanted, until, answered)
    }
}

/// What the engine's run tells those after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Appends per second.
    pub(super) rate: Option<u64>,
    /// Bytes of an average group.
    pub(super) group_size: Option<usize>,
}

fn load(args: &TopoArgs, common: &Common, rate: Option<u64>) -> (Load, Duration) {
    let warm_up = args.warm_up_time(common).min(Duration::from_secs(2));
    let began = Instant::now();
    let from = began + warm_up;
    let (pace, record) = (PaceArgs { rate, arrival: Arrival::Poisson }, vec![b'r'; RECORD_SIZE]);
    let to = from + args.measured_time(common);
    let clients = args.ack_clients as usize;
    (Load { clients, in_flight: IN_FLIGHT, record, pace, began, from, to }, warm_up)
}

/// Task threads have the first processors, clients those that follow; if there are enough.
fn pinning(args: &TopoArgs) -> Option<Pinning> {
    Pinning::of((args.ack_threads + args.ack_clients) as usize)
}

/// Keeps the calling thread, which is a client, to a processor that no other has.
fn pin_client(args: &TopoArgs, pinning: Option<&Pinning>, clients: &AtomicU32) -> Result<(), BenchError> {
    let number = args.ack_threads + clients.fetch_add(1, Ordering::Relaxed) % args.ack_clients;
    pinning.map_or(Ok(()), |pinning| pinning.pin(number as usize))
}

/// What started in the window, per second.
fn rate_of(args: &TopoArgs, common: &Common, loaded: &load::Loaded) -> f64 {
    loaded.latencies.all().len() as f64 / args.measured_time(common).as_secs_f64()
}

fn measured(args: &TopoArgs, common: &Common, loaded: load::Loaded) -> Measured {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let busy = loaded.cpu_s / args.measured_time(common).as_secs_f64() / cpus;
    let figures = vec![("records_per_s", rate_of(args, common, &loaded)), ("cpu_busy", busy)];
    let mut measured = Measured::new(figures, loaded.latencies);
    measured.push("unsent", loaded.unsent as f64);
    measured
}

/// Finds the rate first, unless it is given.
pub(super) fn tantu(
    args: &TopoArgs,
    common: &Common,
    ack: AckLevel,
    found: &mut Found,
) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    let spin = Duration::from_micros(args.ack_spin);
    cluster.launch::<Hops>(LaunchConfig { spin, ..LaunchConfig::new(args.tasks, args.ack_threads) })?;
    let (pinning, clients) = (pinning(args), AtomicU32::new(0));
    let connect = || {
        pin_client(args, pinning.as_ref(), &clients)?;
        let options = ClientOptions { spin, ..ClientOptions::default() };
        let depot = Depot::new(&cluster.connect_with(&Hops::name(), options)?, RECORDS)?;
        Ok(Keyed { inner: DepotProducer::new(depot, ack), record: Vec::new() })
    };
    let run = |rate| {
        let (load, warm_up) = load(args, common, rate);
        load::run(&load, warm_up, connect, &mut || Ok(()))
    };
    let mut closed_rate = None;
    if found.rate.is_none() {
        let reached = rate_of(args, common, &run(None)?);
        closed_rate = Some(reached);
        found.rate = Some((reached / 2.0) as u64).filter(|rate| *rate > 0);
    }
    let written = || {
        let loads = cluster.loads(&Hops::name())?;
        Ok::<_, BenchError>(loads.iter().fold((0, 0), |(n, size), load| (n + load.log_groups, size + load.log_size)))
    };
    let (groups_before, size_before) = written()?;
    let loaded = run(found.rate)?;
    let (groups, size) = written()?;
    let groups = (groups - groups_before).max(1);
    let group_size = (size - size_before) / groups;
    found.group_size = Some(group_size as usize);
    let per_group = loaded.sent as f64 / groups as f64;
    let mut measured = measured(args, common, loaded);
    measured.push("closed_loop_per_s", closed_rate.unwrap_or_default());
    measured.push("records_per_group", per_group);
    measured.push("group_size", group_size as f64);
    cluster.close()?;
    Ok(measured)
}

/// The raw loop of group commits at the same rate.
pub(super) fn bound(args: &TopoArgs, common: &Common, rate: Option<u64>) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let (pinning, clients) = (pinning(args), AtomicU32::new(0));
    let bound = Bound::start_on(dir.path(), args.ack_threads, pinning.as_ref())?;
    let (load, warm_up) = load(args, common, rate);
    let connect = || {
        pin_client(args, pinning.as_ref(), &clients)?;
        Ok(BoundProducer::new(&bound))
    };
    let loaded = load::run(&load, warm_up, connect, &mut || Ok(()))?;
    bound.stop()?;
    Ok(measured(args, common, loaded))
}

/// Durable writes of so many bytes one after the other.
pub(super) fn write(args: &TopoArgs, common: &Common, size: Option<usize>) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let file = dir.path().join(SUITE);
    bound_core::prepare(&file)?;
    // Its length is written before it.
    let size = size.unwrap_or_default().clamp(ALIGN, GROUP_SIZE_MAX / 2).next_multiple_of(ALIGN);
    let record = vec![b'r'; size - 4];
    let (load, _) = load(args, common, None);
    let load = Load { clients: 1, in_flight: 1, record, ..load };
    let stretch = Stretch::begin();
    let mut loaded = bound_core::own(&file, Waiting::Sleeps, &load, 0, 1)?;
    loaded.cpu_s = stretch.end().cpu_s;
    let mut measured = measured(args, common, loaded);
    measured.push("group_size", size as f64);
    Ok(measured)
}
