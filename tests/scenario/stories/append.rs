//! Records that topologies append, and ticks, seen through the facade alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
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
