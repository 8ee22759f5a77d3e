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

/// A record is a number of copies of a text of a million letters, and each goes to a task.
struct Copies;

impl Module for Copies {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let orders = setup.declare_depot::<i64>("*orders", random());
        let mut s = topologies.stream("copier");
        let copied = s.pstate::<Map<i64, i64>>("$$copied");
        s.source_with(&orders, SourceOptions::default().dead_letter_after(1), |b, count| {
            let text = b.constant("x".repeat(1 << 20));
            let zero = b.constant(0i64);
            let n = b.range(zero, count);
            b.hash_partition(n);
            let size = b.each(text, |text| text.len() as i64);
            b.compound_agg(copied, agg::key(n, agg::sum(size)));
        });
        topologies.query("copies", |q, (count,): (Var<i64>,)| {
            let text = q.constant("x".repeat(1 << 20));
            let zero = q.constant(0i64);
            let n = q.range(zero, count);
            q.hash_partition(n);
            let size = q.each(text, |text| text.len() as i64);
            q.origin_partition();
            q.agg::<i64>(agg::sum(size))
        });
    }
}

#[test]
fn an_event_that_sends_more_than_the_memory_of_a_core_holds_fails_and_others_go_on() {
    let cluster = InProcessCluster::create().unwrap();
    let config = LaunchConfig { memory: MEMORY, ..LaunchConfig::new(4, THREADS) };
    cluster.launch::<Copies>(config).unwrap();
    let orders = cluster.depot::<i64>("Copies", "*orders").unwrap();
    orders.append_async(&1_000_000, AckLevel::AppendAck).unwrap().wait().unwrap();
    orders.append(&5).unwrap();
    let dead = cluster.dead_letters("Copies").unwrap();
    let found = || {
        (0..dead.partition_count())
            .find_map(|at| dead.read(at, Offset(0), dead.offsets(at).unwrap().end).unwrap().pop())
    };
    let until = Instant::now() + Duration::from_secs(30);
    let letter = loop {
        match found() {
            Some(letter) => break letter,
            None if Instant::now() > until => panic!("it still sends"),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(letter.error.contains("sends more than 67108864 bytes"), "{}", letter.error);
    let copies = cluster.query::<(i64,), i64>("Copies", "copies").unwrap();
    let error = copies.invoke(&(1_000_000,)).unwrap_err().to_string();
    assert!(error.contains("sends more than 67108864 bytes"), "{error}");
    assert_eq!(copies.invoke(&(3,)).unwrap(), 3 << 20);
    cluster.close().unwrap();
}
