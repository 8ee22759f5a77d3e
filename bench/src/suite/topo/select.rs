//! Values by their keys, asked for by a client of the process that has many selects out at a time.

use super::{Appending, TopoArgs, mixed};
use crate::Common;
use crate::error::BenchError;
use crate::measure::{Stretch, thread_cpu_time};
use crate::report::Measured;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tantu::prelude::*;

const PROFILES: &str = "*profiles";
const AGES: &str = "$$ages";

struct Profiles;

impl Module for Profiles {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let profiles = setup.declare_depot::<i64>(PROFILES, hash_by(|key: &i64| *key));
        let mut topology = topologies.stream("profiles");
        let ages = topology.pstate::<Map<i64, i64>>(AGES);
        topology.source(&profiles, |b, key| b.compound_agg(ages, agg::key(key, agg::sum(key))));
    }
}

pub(super) fn tantu(args: &TopoArgs, common: &Common) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    cluster.launch::<Profiles>(LaunchConfig::new(args.tasks, args.threads))?;
    let keys = args.select_key_count(common);
    let depot = cluster.depot::<i64>(&Profiles::name(), PROFILES)?;
    let mut appending = Appending::new();
    for key in 0..keys {
        appending.push(depot.append_async(&(key as i64), AckLevel::Ack))?;
    }
    appending.end()?;
    let ages = cluster.pstate::<Map<i64, i64>>(&Profiles::name(), AGES)?;
    select(&ages, keys, args.selects, args.warm_up_time(common).min(Duration::from_secs(2)))?;
    let (stretch, client) = (Stretch::begin(), thread_cpu_time());
    let count = select(&ages, keys, args.selects, args.measured_time(common))? as f64;
    let (took, client) = (stretch.end(), (thread_cpu_time() - client).as_secs_f64());
    cluster.close()?;
    Ok(vec![
        ("selects_per_s", count / took.wall_s),
        ("selects_per_cpu_s", count / took.cpu_s),
        ("selects_per_engine_cpu_s", count / (took.cpu_s - client)),
        ("cpu_s", took.cpu_s),
        ("client_cpu_s", client),
    ]
    .into())
}

/// Selects for so long; answers how many.
fn select(ages: &PState<Map<i64, i64>>, keys: u64, in_flight: u64, lasts: Duration) -> Result<u64, BenchError> {
    let until = Instant::now() + lasts;
    let mut out: VecDeque<(i64, Pending<Vec<Option<i64>>>)> = VecDeque::new();
    let mut number = 0;
    loop {
        let is_over = Instant::now() >= until;
        while !is_over && (out.len() as u64) < in_flight {
            let key = (mixed(number) % keys) as i64;
            out.push_back((key, ages.select_async(path().key(key))?));
            number += 1;
        }
        if out.is_empty() {
            return Ok(number);
        }
        // Half of what is out: one answer at a time would wake the client once per select.
        for (key, select) in out.drain(..out.len().div_ceil(2)) {
            let found = select.wait()?;
            if found != [Some(key)] {
                return Err(BenchError::Wrong(format!("{found:?} is there under {key}")));
            }
        }
    }
}
