//! Where a thread's time goes: shares of categories under contention, ops that take long, turns that do not come back.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]
#![allow(clippy::print_stderr, reason = "the measured shares are of interest")]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the texts of warnings and errors.
struct Warnings;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        WARNINGS.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// How many warnings have all of these words.
fn warned(words: &[&str]) -> usize {
    let warnings = WARNINGS.lock().unwrap();
    warnings.iter().filter(|text| words.iter().all(|word| text.contains(word))).count()
}

/// Waits until it was told that a turn of this category does not come back from this code.
fn expect_stall(category: &str, code: &str) {
    let stalled = ["does not come back", category, code, "overrun.rs:"];
    let began = Instant::now();
    while warned(&stalled) == 0 && began.elapsed() < Duration::from_millis(2_900) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(warned(&stalled) >= 1, "{:?}", WARNINGS.lock().unwrap());
}

fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Ops that sleep: in a stream, a microbatch and a query.
struct Naps;

impl Module for Naps {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let naps = setup.declare_depot::<u64>("*naps", random());
        let batches = setup.declare_depot::<u64>("*batches", random());
        let mut stream = topologies.stream("streaming");
        stream.source(&naps, |b, ms| {
            b.each(ms, nap);
        });
        let mut micro = topologies.microbatch("batching");
        micro.source(&batches, |m, batch| {
            let ms = m.explode_microbatch(batch);
            m.each(ms, nap);
        });
        topologies.query("asking", |q, (ms,): (Var<u64>,)| {
            q.origin_partition();
            q.each(ms, nap)
        });
    }
}

#[test]
fn an_op_that_takes_long_is_named_and_one_that_does_not_come_back_is_named_while_it_runs() {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let cluster = InProcessCluster::create().unwrap();
    let config = LaunchConfig { slow_op_ms: 100, stall_ms: 400, ..LaunchConfig::new(1, 1) };
    cluster.launch::<Naps>(config).unwrap();
    let naps = cluster.depot::<u64>("Naps", "*naps").unwrap();
    let batches = cluster.depot::<u64>("Naps", "*batches").unwrap();
    let asking = cluster.query::<(u64,), u64>("Naps", "asking").unwrap();
    // The first may only show as a long turn.
    for _ in 0..2 {
        naps.append(&150).unwrap();
    }
    assert!(warned(&["streaming: `", "overrun.rs:", "took_ms=1"]) >= 1, "{:?}", WARNINGS.lock().unwrap());
    batches.append(&150).unwrap();
    let second = Duration::from_secs(20);
    cluster.wait_for_microbatch_processed_count("Naps", "batching", 1, second).unwrap();
    assert!(warned(&["batching: `", "overrun.rs:"]) >= 1, "{:?}", WARNINGS.lock().unwrap());
    assert_eq!(asking.invoke(&(150,)).unwrap(), 150);
    assert!(warned(&["asking: `", "overrun.rs:"]) >= 1, "{:?}", WARNINGS.lock().unwrap());

    assert_eq!(warned(&["does not come back"]), 0, "nothing took that long yet");
    let pending = naps.append_async(&3_000, AckLevel::Ack).unwrap();
    expect_stall("low.latency", "streaming: `");
    pending.wait().unwrap();
    batches.append(&3_000).unwrap();
    expect_stall("flex.latency", "batching: `");
    cluster.wait_for_microbatch_processed_count("Naps", "batching", 2, second).unwrap();
    cluster.close().unwrap();
}

/// A write that sleeps as long as the record says.
struct Sleeper;

impl Module for Sleeper {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let naps = setup.declare_depot::<u64>("*naps", random());
        let mut s = topologies.stream("sleeper");
        let slept = s.pstate_initial::<u64>("$$slept", PStateOptions::default(), 0);
        s.source(&naps, |b, ms| {
            let add = |slept: u64, ms: u64| {
                std::thread::sleep(Duration::from_millis(ms));
                slept + ms
            };
            b.local_transform(slept, path().term_with(ms, add));
        });
    }
}

#[test]
fn slow_writes_are_logged_with_their_line() {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let cluster = InProcessCluster::create().unwrap();
    let config = LaunchConfig { slow_write_ms: 100, ..LaunchConfig::new(1, 1) };
    cluster.launch::<Sleeper>(config).unwrap();
    let naps = cluster.depot::<u64>("Sleeper", "*naps").unwrap();
    let slow = || warned(&["$$slept", "overrun.rs:"]);
    // The first may only show as a long turn; a machine that is busy may make others long.
    for _ in 0..2 {
        naps.append(&150).unwrap();
    }
    assert!((1..=2).contains(&slow()), "{:?}", WARNINGS.lock().unwrap());
    cluster.close().unwrap();
}

/// Each record is a lot of work, and so is each select.
struct Busy;

impl Module for Busy {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let rounds = setup.declare_depot::<u64>("*rounds", random());
        let mut stream = topologies.stream("spin");
        let seen = stream.pstate::<Map<u64, u64>>("$$seen");
        stream.source(&rounds, |b, round| {
            let sum = b.each(round, |round: u64| (0..20_000).fold(round, |sum, n| sum.rotate_left(3) ^ n));
            let key = b.each(sum, |sum: u64| sum % 500);
            b.local_transform(seen, path().key(key).term_val(sum));
        });
    }
}

/// How much more of the thread's time clients' work has than the stream in a second, both flooded.
fn measured(cluster: &InProcessCluster) -> f64 {
    std::thread::sleep(Duration::from_millis(300));
    let before = cluster.loads("Busy").unwrap()[0];
    std::thread::sleep(Duration::from_millis(1_000));
    let now = cluster.loads("Busy").unwrap()[0];
    let spent = |category| (now.of(category) - before.of(category)).as_secs_f64();
    let ratio = spent(Category::Client) / spent(Category::LowLatency);
    eprintln!("times {ratio:.2}, busy {:.2}", now.fraction_since(&before));
    ratio
}

#[test]
fn under_contention_a_thread_spends_its_time_as_the_proportions_say_also_when_they_change() {
    let cluster = InProcessCluster::create().unwrap();
    let proportions = |client, low_latency| CategoryShares([1, client, low_latency, 1, 1]);
    cluster.launch::<Busy>(LaunchConfig { proportions: proportions(4, 1), ..LaunchConfig::new(1, 1) }).unwrap();
    let rounds = cluster.depot::<u64>("Busy", "*rounds").unwrap();
    let seen = cluster.pstate::<Map<u64, u64>>("Busy", "$$seen").unwrap();
    let stop = AtomicBool::new(false);
    let (clients, streams) = std::thread::scope(|scope| {
        // Each keeps so much under way that its work never runs out.
        scope.spawn(|| {
            let append = |round| rounds.append_async(&round, AckLevel::Ack).unwrap();
            let mut under_way: VecDeque<_> = (0..500).map(append).collect();
            for round in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                under_way.pop_front().unwrap().wait().unwrap();
                under_way.push_back(append(round));
            }
        });
        scope.spawn(|| {
            let everything = || seen.select_async(path().map_vals()).unwrap();
            let mut under_way: VecDeque<_> = (0..200).map(|_| everything()).collect();
            while !stop.load(Ordering::Relaxed) {
                under_way.pop_front().unwrap().wait().unwrap();
                under_way.push_back(everything());
            }
        });
        let clients = measured(&cluster);
        cluster.set_proportions("Busy", proportions(1, 4)).unwrap();
        let streams = measured(&cluster);
        stop.store(true, Ordering::Relaxed);
        (clients, streams)
    });
    // Sixteen times, if both always have something to do; a machine that is busy with other things may starve one.
    assert!(clients > 1.5 * streams, "{clients:.2} and {streams:.2}");
    cluster.close().unwrap();
}
