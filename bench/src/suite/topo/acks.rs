//! Appends at half of what a closed loop reaches, answered when they are durable, or when a stream topology has written
//! what it makes of them on another task; beside a raw durable write.

use super::{SUITE, TopoArgs};
use crate::Common;
use crate::bound::{Bound, BoundProducer};
use crate::bound_core::{self, Waiting};
use crate::error::BenchError;
use crate::load::{self, Load, Producer};
use crate::pace::{Arrival, PaceArgs};
use crate::report::Measured;
use crate::suite::log::depot::DepotProducer;
use std::time::{Duration, Instant};
use tantu::prelude::*;

pub(super) const RECORD_SIZE: usize = 100;
/// What must be known to read a comparison with a raw write.
pub(super) const NOTE: &str = "write: one thread that writes 4 KiB durably, one after the other, and does nothing else";
const RECORDS: &str = "*records";
/// Clients, and what each may have out.
const CLIENTS: usize = 2;
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

fn load(args: &TopoArgs, common: &Common, rate: Option<u64>) -> (Load, Duration) {
    let warm_up = args.warm_up_time(common).min(Duration::from_secs(2));
    let began = Instant::now();
    let from = began + warm_up;
    let (pace, record) = (PaceArgs { rate, arrival: Arrival::Poisson }, vec![b'r'; RECORD_SIZE]);
    let to = from + args.measured_time(common);
    (Load { clients: CLIENTS, in_flight: IN_FLIGHT, record, pace, began, from, to }, warm_up)
}

/// What started in the window, per second.
fn rate_of(args: &TopoArgs, common: &Common, loaded: &load::Loaded) -> f64 {
    loaded.latencies.all().len() as f64 / args.measured_time(common).as_secs_f64()
}

fn measured(args: &TopoArgs, common: &Common, loaded: load::Loaded) -> Measured {
    let figures = vec![("records_per_s", rate_of(args, common, &loaded)), ("cpu_s", loaded.cpu_s)];
    let mut measured = Measured::new(figures, loaded.latencies);
    measured.push("unsent", loaded.unsent as f64);
    measured
}

/// Finds the rate first, unless it is given.
pub(super) fn tantu(
    args: &TopoArgs,
    common: &Common,
    ack: AckLevel,
    rate: &mut Option<u64>,
) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    cluster.launch::<Hops>(LaunchConfig::new(args.tasks, args.threads))?;
    let connect = || {
        let depot = Depot::new(&cluster.connect(&Hops::name())?, RECORDS)?;
        Ok(Keyed { inner: DepotProducer::new(depot, ack), record: Vec::new() })
    };
    let run = |rate| {
        let (load, warm_up) = load(args, common, rate);
        load::run(&load, warm_up, connect, &mut || Ok(()))
    };
    let mut closed_rate = None;
    if rate.is_none() {
        let reached = rate_of(args, common, &run(None)?);
        closed_rate = Some(reached);
        *rate = Some((reached / 2.0) as u64).filter(|rate| *rate > 0);
    }
    let mut measured = measured(args, common, run(*rate)?);
    measured.push("closed_loop_per_s", closed_rate.unwrap_or_default());
    cluster.close()?;
    Ok(measured)
}

/// The raw loop of group commits at the same rate.
pub(super) fn bound(args: &TopoArgs, common: &Common, rate: Option<u64>) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let bound = Bound::start(dir.path(), args.threads)?;
    let (load, warm_up) = load(args, common, rate);
    let loaded = load::run(&load, warm_up, || Ok(BoundProducer::new(&bound)), &mut || Ok(()))?;
    bound.stop()?;
    Ok(measured(args, common, loaded))
}

/// Durable writes one after the other.
pub(super) fn write(args: &TopoArgs, common: &Common) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let file = dir.path().join(SUITE);
    bound_core::prepare(&file)?;
    let (load, _) = load(args, common, None);
    let load = Load { clients: 1, in_flight: 1, ..load };
    let loaded = bound_core::own(&file, Waiting::Polls, &load, 0, 1)?;
    Ok(measured(args, common, loaded))
}
