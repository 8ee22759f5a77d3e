//! What travels between threads: bytes of letters beside those of the live variables in them.
//!
//! The manual's example: the first hop carries `k`, `k2` and `v`, the second `k2` and `v`. Only records both of whose
//! hops cross are sent. No time is measured.

use super::FlowArgs;
use super::threads::{Threads, Watch};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use tantu_base::value::{encoded, partition_of};
use tantu_client::Depot;
use tantu_flow::{Module, Setup, Topologies, hash_by};
use tantu_net::letter::AckLevel;

const TUPLES: &str = "*tuples";

type Tuple = (String, String, i64);

struct TwoHops;

impl Module for TwoHops {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let tuples = setup.declare_depot::<Tuple>(TUPLES, hash_by(|(_, k2, _): &Tuple| k2.clone()));
        topologies.stream("two-hops").source(&tuples, |b, tuple| {
            let (k, k2, v) = b.expand(tuple, |(k, k2, v)| (k.clone(), k2.clone(), *v));
            b.hash_partition(k);
            b.each(k, |k| std::hint::black_box(k.len() as i64));
            b.hash_partition(k2);
            b.each((k2, v), |(k2, v)| std::hint::black_box(k2.len() as i64 + v));
        });
    }
}

/// Records in the order of their numbers whose two keys live on different tasks of two.
fn tuples(args: &FlowArgs, common: &Common) -> Vec<Tuple> {
    let all = (0..).map(|n: i64| (format!("key{n:07}"), format!("other-key{:07}", n * 7 % 1_000_003), n * 1_009));
    let crosses = |tuple: &Tuple| partition_of(&tuple.0, 2) != partition_of(&tuple.1, 2);
    all.filter(crosses).take((args.events(common) / 10).max(1) as usize).collect()
}

pub(super) fn tantu(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let tuples = tuples(args, common);
    let live: usize =
        tuples.iter().map(|(k, k2, v)| encoded(k).len() + 2 * (encoded(k2).len() + encoded(v).len())).sum();
    let running = Threads::start::<TwoHops>(common, 2, 2, Watch::Letters)?;
    let depot = Depot::<Tuple>::new(&running.connection, TUPLES)?;
    // So many records are under way between the two threads.
    for some in tuples.chunks(2 * args.letters as usize) {
        let sent: Result<Vec<_>, _> = some.iter().map(|tuple| depot.append_async(tuple, AckLevel::Ack)).collect();
        sent?.into_iter().try_for_each(|answer| answer.wait().map(drop))?;
    }
    let (events, of_events) = (running.sum(|c| &c.events), running.sum(|c| &c.event_size));
    let sent = running.sum(|c| &c.sent_size);
    if events != 2 * tuples.len() as u64 {
        return Err(BenchError::Wrong(format!(
            "{events} events crossed, not two for each of {} records",
            tuples.len()
        )));
    }
    Ok(vec![
        ("letter_bytes_per_live_byte", of_events as f64 / live as f64),
        ("live_bytes_per_event", live as f64 / events as f64),
        ("letter_bytes_per_event", of_events as f64 / events as f64),
        ("report_bytes_per_event", (sent - of_events) as f64 / events as f64),
    ])
}
