//! More load than a module can take, for a while: memory stays within what it was given.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a story is a test")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "stories run on the real machine")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const THREADS: u32 = 2;
/// Bytes each thread may use.
const MEMORY: usize = 256 << 20;
/// Bytes of a record.
const RECORD_SIZE: usize = 20_000;
const FLOOD: Duration = Duration::from_secs(6);

struct Events;

impl Module for Events {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let events = setup.declare_depot::<Vec<u8>>("*events", hash_by(|event: &Vec<u8>| key_of(event)));
        let mut s = topologies.stream("keep");
        let kept = s.pstate::<Map<i64, i64>>("$$kept");
        s.source(&events, |b, event| {
            let key = b.each(event, key_of);
            let size = b.each(event, |event| event.len() as i64);
            b.compound_agg(kept, agg::key(key, agg::sum(size)));
        });
    }
}

/// The key is in the first eight bytes.
fn key_of(event: &[u8]) -> i64 {
    i64::from_le_bytes(event[..8].try_into().unwrap())
}

fn memory_in_use() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn memory_stays_within_what_a_launch_gives_however_much_is_appended() {
    let before = memory_in_use();
    let cluster = InProcessCluster::create().unwrap();
    let config = LaunchConfig { memory: MEMORY, ..LaunchConfig::new(8, THREADS) };
    cluster.launch::<Events>(config).unwrap();
    let stop = AtomicBool::new(false);
    let mut most = 0;
    let sent: u64 = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let (cluster, stop) = (&cluster, &stop);
                scope.spawn(move || {
                    let events = cluster.depot::<Vec<u8>>("Events", "*events").unwrap();
                    let mut random = fastrand::Rng::with_seed(producer);
                    let (mut event, mut sent) = (vec![7; RECORD_SIZE], 0);
                    // Nobody waits for an answer: only full rings hold a producer up.
                    while !stop.load(Ordering::Relaxed) {
                        event[..8].copy_from_slice(&random.i64(..).to_le_bytes());
                        events.append_with(&event, AckLevel::None).unwrap();
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let began = Instant::now();
        while began.elapsed() < FLOOD {
            most = most.max(memory_in_use());
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        producers.into_iter().map(|producer| producer.join().unwrap()).sum()
    });
    let (used, given) = (most - before, MEMORY * THREADS as usize);
    println!(
        "{} MiB offered; at most {} MiB in use, {} given",
        (sent * RECORD_SIZE as u64) >> 20,
        used >> 20,
        given >> 20
    );
    assert!(used <= given / 100 * 105, "{} MiB were in use, and {} given", used >> 20, given >> 20);
    assert!(sent * RECORD_SIZE as u64 > given as u64, "{sent} records are no flood");
    let events = cluster.depot::<Vec<u8>>("Events", "*events").unwrap();
    events.append(&vec![7; RECORD_SIZE]).unwrap();
    cluster.close().unwrap();
}
