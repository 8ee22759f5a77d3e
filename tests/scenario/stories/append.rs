//! Records that topologies append, and ticks, seen through the facade alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const TASKS: u32 = 4;

fn launch<M: Module>(threads: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<M>(LaunchConfig { tasks: TASKS, threads, ..LaunchConfig::default() }).unwrap();
    cluster
}

/// What is in a depot, by partition.
fn records<T: Encode + Decode>(cluster: &InProcessCluster, module: &str, depot: &str) -> Vec<Vec<T>> {
    let depot = cluster.depot::<T>(module, depot).unwrap();
    let count = depot.partition_count();
    (0..count)
        .map(|partition| {
            let PartitionOffsets { start, end } = depot.offsets(partition).unwrap();
            depot.read(partition, start, end).unwrap()
        })
        .collect()
}

fn entries(cluster: &InProcessCluster, module: &str, pstate: &str) -> BTreeMap<i64, i64> {
    let pstate = cluster.pstate::<Map<i64, i64>>(module, pstate).unwrap();
    (0..TASKS).flat_map(|task| pstate.select_on(task, path().all()).unwrap()).collect()
}

static BEFORE: AtomicU32 = AtomicU32::new(0);

/// Numbers are appended to three depots, at each level, on the task of their hash.
struct Levels;

impl Module for Levels {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let [none, durable, processed] =
            ["*none", "*durable", "*processed"].map(|name| setup.declare_depot::<i64>(name, disallow()));
        let mut reader = topologies.stream("reader");
        let seen = reader.pstate::<Map<i64, i64>>("$$seen");
        for depot in [none, durable, processed] {
            reader.source(&depot, |b, n| b.compound_agg(seen, agg::key(n, agg::count())));
        }
        let mut writer = topologies.stream("writer");
        let after = writer.pstate::<Map<i64, i64>>("$$after");
        writer.source(&numbers, |b, n| {
            b.hash_partition(n);
            let n = b.each(n, |n| {
                BEFORE.fetch_add(1, Ordering::Relaxed);
                n
            });
            b.depot_partition_append(none, n, AckLevel::None);
            b.depot_partition_append(durable, n, AckLevel::AppendAck);
            b.depot_partition_append(processed, n, AckLevel::Ack);
            // The reader has processed the last of the three: that is what was waited for.
            let count = b.local_select(seen, path().key(n).null_to_val(0));
            b.local_transform(after, path().key(n).term_val(count));
        });
    }
}

#[test]
fn a_record_is_appended_on_the_task_of_the_event_and_the_event_goes_on_when_it_is_acknowledged() {
    for threads in [1, 2] {
        BEFORE.store(0, Ordering::Relaxed);
        let cluster = launch::<Levels>(threads);
        let numbers = cluster.depot::<i64>("Levels", "*numbers").unwrap();
        let pending: Vec<_> = (0..500).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
        pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
        assert_eq!(BEFORE.load(Ordering::Relaxed), 500, "no closure ran twice");
        let after = entries(&cluster, "Levels", "$$after");
        assert!(after.keys().copied().eq(0..500));
        assert!(after.values().all(|count| (1..=3).contains(count)), "each saw at least the last: {after:?}");
        for depot in ["*none", "*durable", "*processed"] {
            let found = records::<i64>(&cluster, "Levels", depot);
            for (task, found) in found.iter().enumerate() {
                let here = |n: &i64| tantu::base::value::partition_of(n, TASKS) as usize == task;
                assert!(found.iter().all(here), "{depot}: a record on another task than its key's");
            }
            let mut all: Vec<i64> = found.concat();
            all.sort();
            assert!(all.into_iter().eq(0..500), "{depot}");
        }
        let refused = cluster.depot::<i64>("Levels", "*none").unwrap().append(&1).unwrap_err();
        assert!(refused.to_string().contains("clients"), "{refused}");
        cluster.close().unwrap();
    }
}

static TRIES: AtomicU32 = AtomicU32::new(0);

/// A number is appended, and then the event fails the first time.
struct Failing;

impl Module for Failing {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let out = setup.declare_depot::<i64>("*out", disallow());
        topologies.stream("writer").source(&numbers, |b, n| {
            b.depot_partition_append(out, n, AckLevel::None);
            b.each(n, |_| assert!(TRIES.fetch_add(1, Ordering::Relaxed) > 0, "the first try fails"));
        });
    }
}

#[test]
fn what_an_event_appended_is_taken_back_when_it_fails() {
    let cluster = launch::<Failing>(1);
    let numbers = cluster.depot::<i64>("Failing", "*numbers").unwrap();
    let error = numbers.append(&7).unwrap_err();
    assert!(error.to_string().contains("the first try fails"), "{error}");
    while TRIES.load(Ordering::Relaxed) < 2 {
        std::thread::yield_now();
    }
    numbers.append(&8).unwrap();
    let mut all = records::<i64>(&cluster, "Failing", "*out").concat();
    all.sort();
    assert_eq!(all, [7, 8], "once, by the second try");
    cluster.close().unwrap();
}

static READS: AtomicU32 = AtomicU32::new(0);

/// The reader of what is appended fails the first time.
struct Unread;

impl Module for Unread {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let out = setup.declare_depot::<i64>("*out", disallow());
        topologies.stream("reader").source(&out, |b, n| {
            b.each(n, |_| assert!(READS.fetch_add(1, Ordering::Relaxed) > 0, "cannot read"));
        });
        topologies.stream("writer").source(&numbers, |b, n| b.depot_partition_append(out, n, AckLevel::Ack));
    }
}

#[test]
fn an_event_that_waits_for_a_record_fails_when_the_record_does_and_appends_again() {
    let cluster = launch::<Unread>(1);
    let numbers = cluster.depot::<i64>("Unread", "*numbers").unwrap();
    let error = numbers.append(&7).unwrap_err().to_string();
    assert!(error.contains("a record that it appended failed") && error.contains("cannot read"), "{error}");
    numbers.append(&8).unwrap();
    let all = || {
        let mut all = records::<i64>(&cluster, "Unread", "*out").concat();
        all.sort();
        all
    };
    while all() != [7, 7, 8] {
        std::thread::yield_now();
    }
    cluster.close().unwrap();
}

/// A depot with one partition, and an event that may be anywhere.
struct Global;

impl Module for Global {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
        let out = setup.declare_global_depot::<i64>("*out", disallow());
        topologies.stream("writer").source_with(
            &numbers,
            SourceOptions { retry: RetryMode::None, ..SourceOptions::default() },
            |b, n| {
                b.depot_partition_append(out, n, AckLevel::AppendAck);
            },
        );
    }
}

#[test]
fn an_append_to_a_global_depot_fails_elsewhere_than_on_task_0() {
    let cluster = launch::<Global>(1);
    let numbers = cluster.depot::<i64>("Global", "*numbers").unwrap();
    let here = |n: &i64| tantu::base::value::partition_of(n, TASKS) == 0;
    for n in 0..40 {
        match numbers.append(&n) {
            Ok(_) => assert!(here(&n), "{n}"),
            Err(error) => {
                assert!(!here(&n), "{n}: {error}");
                let text = error.to_string();
                assert!(text.contains("the depot is global") && text.contains("append.rs:"), "{text}");
            }
        }
    }
    assert_eq!(records::<i64>(&cluster, "Global", "*out"), [(0..40).filter(here).collect::<Vec<_>>()]);
    cluster.close().unwrap();
}

/// Texts that clients append, and a topology as well, to the same depot.
struct Mixed;

impl Module for Mixed {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let texts = setup.declare_depot::<String>("*texts", random());
        let out = setup.declare_global_depot::<String>("*out", random());
        topologies.stream("writer").source(&texts, |b, text| {
            b.global_partition();
            b.depot_partition_append(out, text, AckLevel::AppendAck);
        });
    }
}

#[test]
fn records_of_topologies_and_large_ones_of_clients_reach_one_partition_in_the_order_of_each() {
    let cluster = launch::<Mixed>(2);
    let texts = cluster.depot::<String>("Mixed", "*texts").unwrap();
    let out = cluster.depot::<String>("Mixed", "*out").unwrap();
    let mut pending = Vec::new();
    for n in 0..60 {
        // A record of this size goes to a segment before its entry.
        pending.push(out.append_async(&format!("c{n:03}{}", "x".repeat(100_000)), AckLevel::AppendAck).unwrap());
        pending.push(texts.append_async(&format!("t{n:03}{}", "y".repeat(n * 997)), AckLevel::Ack).unwrap());
    }
    pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    let found = records::<String>(&cluster, "Mixed", "*out").concat();
    assert_eq!(found.len(), 120);
    let of = |first: char| found.iter().filter(|text| text.starts_with(first)).cloned().collect::<Vec<_>>();
    assert!(of('c').into_iter().eq((0..60).map(|n| format!("c{n:03}{}", "x".repeat(100_000)))));
    let mut by_topology = of('t');
    by_topology.sort();
    assert!(by_topology.into_iter().eq((0..60).map(|n| format!("t{n:03}{}", "y".repeat(n * 997)))));
    cluster.close().unwrap();
}

/// How many attempts are still to fail.
static FAILURES: AtomicU32 = AtomicU32::new(0);

/// Numbers are doubled by a microbatch topology into a depot that a stream and a microbatch topology read.
struct Doubled;

impl Module for Doubled {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let doubled = setup.declare_depot::<i64>("*doubled", random());
        let mut first = topologies.microbatch("first");
        let count = first.pstate::<Map<i64, i64>>("$$count");
        first.source(&numbers, |m, batch| {
            let n = m.explode_microbatch(batch);
            let double = m.each(n, |n| n * 2);
            m.hash_partition(double);
            m.compound_agg(count, agg::key(double, agg::count()));
            m.depot_partition_append(doubled, double, AckLevel::None);
            m.each(n, |n| {
                let less = |left: u32| left.checked_sub(1);
                let fails = n % 10 == 3 && FAILURES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
                assert!(!fails, "an attempt fails");
            });
        });
        let mut second = topologies.microbatch("second");
        let sums = second.pstate::<Map<i64, i64>>("$$sums");
        second.source(&doubled, |m, batch| {
            let n = m.explode_microbatch(batch);
            m.hash_partition(n);
            m.compound_agg(sums, agg::key(n, agg::sum(n)));
        });
        let mut stream = topologies.stream("stream");
        let seen = stream.pstate::<Map<i64, i64>>("$$seen");
        stream.source(&doubled, |b, n| {
            b.hash_partition(n);
            b.compound_agg(seen, agg::key(n, agg::count()));
        });
    }
}

#[test]
fn what_a_microbatch_appends_is_there_once_however_many_attempts_there_were() {
    const LONG: Duration = Duration::from_secs(60);
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    // Clients append to the same depot.
    let mut expected = BTreeMap::<i64, i64>::new();
    for life in 0..3 {
        FAILURES.store(3, Ordering::Relaxed);
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        let config = LaunchConfig { tasks: TASKS, threads: [2, 1, 4][life], ..LaunchConfig::default() };
        cluster.launch::<Doubled>(config).unwrap();
        let numbers = cluster.depot::<i64>("Doubled", "*numbers").unwrap();
        let doubled = cluster.depot::<i64>("Doubled", "*doubled").unwrap();
        let mut pending = Vec::new();
        for n in (count..count + 200).map(i64::from) {
            pending.push(numbers.append_async(&n, AckLevel::AppendAck).unwrap());
            *expected.entry(2 * n).or_default() += 1;
            if n % 3 == 0 {
                pending.push(doubled.append_async(&(2 * n + 1), AckLevel::AppendAck).unwrap());
                *expected.entry(2 * n + 1).or_default() += 1;
            }
        }
        count += 200;
        pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
        cluster.wait_for_microbatch_processed_count("Doubled", "first", count as u64, LONG).unwrap();
        let all = expected.values().sum::<i64>() as u64;
        cluster.wait_for_microbatch_processed_count("Doubled", "second", all, LONG).unwrap();
        let even = expected.iter().filter(|(n, _)| *n % 2 == 0).map(|(n, count)| (*n, *count));
        assert_eq!(entries(&cluster, "Doubled", "$$count"), even.collect());
        let mut found = BTreeMap::<i64, i64>::new();
        for (task, here) in records::<i64>(&cluster, "Doubled", "*doubled").into_iter().enumerate() {
            for n in here {
                *found.entry(n).or_default() += 1;
                let is_here = tantu::base::value::partition_of(&n, TASKS) as usize == task;
                assert!(n % 2 == 1 || is_here, "{n} is on another task than its key's");
            }
        }
        assert_eq!(FAILURES.load(Ordering::Relaxed), 0, "attempts failed");
        assert_eq!(found, expected, "life {life}");
        let sums = expected.iter().map(|(n, count)| (*n, n * count)).collect::<BTreeMap<_, _>>();
        assert_eq!(entries(&cluster, "Doubled", "$$sums"), sums);
        // A stream may be behind still.
        let late = Instant::now() + LONG;
        while entries(&cluster, "Doubled", "$$seen") != expected {
            assert!(Instant::now() < late, "the stream does not get there");
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster.close().unwrap();
    }
}

/// What ticks do, in a topology of each kind. The depot of ticks is given.
fn declare_beats(ticks: DepotRef<Tick>, topologies: &mut Topologies) {
    let mut stream = topologies.stream("stream");
    let beats = stream.pstate::<Map<i64, i64>>("$$beats");
    stream.source(&ticks, |b, _| {
        let task = b.current_task_id();
        b.filter(task, |task| task == 0);
        let one = b.constant(1i64);
        b.hash_partition(one);
        b.compound_agg(beats, agg::key(one, agg::count()));
    });
    let mut micro = topologies.microbatch("micro");
    let batches = micro.pstate::<Map<i64, i64>>("$$batches");
    micro.source(&ticks, |m, batch| {
        m.explode_microbatch(batch);
        let id = m.current_microbatch_id();
        m.hash_partition(id);
        m.compound_agg(batches, agg::key(id, agg::count()));
    });
}

struct Beats;

impl Module for Beats {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        declare_beats(setup.declare_tick_depot("*ticks", Duration::from_millis(20)), topologies);
    }
}

#[test]
fn a_tick_depot_fires_on_task_0_once_in_a_period_and_wakes_a_topology_that_has_nothing_else() {
    for threads in [1, 2] {
        let cluster = launch::<Beats>(threads);
        let start = Instant::now();
        let (beats, batches) = loop {
            std::thread::sleep(Duration::from_millis(10));
            let beats = entries(&cluster, "Beats", "$$beats").get(&1).copied().unwrap_or_default();
            let batches = entries(&cluster, "Beats", "$$batches");
            if beats >= 5 && batches.len() >= 5 {
                break (beats, batches);
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{beats} beats, {batches:?}");
        };
        let most = start.elapsed().as_millis() as i64 / 20 + 1;
        assert!(beats <= most && batches.len() as i64 <= most, "{beats}, {batches:?}: more than {most} periods");
        assert!(batches.values().all(|count| *count == 1), "one tick in a microbatch: {batches:?}");
        assert!(batches.keys().copied().eq(1..=batches.len() as i64), "no microbatch without one: {batches:?}");
        let refused = cluster.depot::<Tick>("Beats", "*ticks").unwrap().append(&Tick).unwrap_err();
        assert!(refused.to_string().contains("clients"), "{refused}");
        cluster.close().unwrap();
    }
}

struct Tested;

impl Module for Tested {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        declare_beats(setup.declare_global_depot("*ticks", random()), topologies);
    }
}

#[test]
fn a_test_puts_a_global_depot_in_the_place_of_a_tick_depot_and_ticks_when_it_likes() {
    let cluster = launch::<Tested>(2);
    let ticks = cluster.depot::<Tick>("Tested", "*ticks").unwrap();
    for _ in 0..3 {
        ticks.append(&Tick).unwrap();
    }
    assert_eq!(entries(&cluster, "Tested", "$$beats"), BTreeMap::from([(1, 3)]));
    cluster.wait_for_microbatch_processed_count("Tested", "micro", 3, Duration::from_secs(60)).unwrap();
    assert_eq!(entries(&cluster, "Tested", "$$batches").values().sum::<i64>(), 3);
    cluster.close().unwrap();
}
