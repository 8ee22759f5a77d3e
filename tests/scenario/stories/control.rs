//! Control flow of topologies, seen through the facade alone: futures, loops over tasks, accesses on the wrong task, key
//! partitioners that clients share.

#![allow(clippy::unwrap_used, reason = "a story is a test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use tantu::prelude::*;

fn cluster_of<M: Module>(tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<M>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    cluster
}

static TRIES: AtomicUsize = AtomicUsize::new(0);

struct Lookups;

impl Module for Lookups {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<(String, i64)>("*in", hash_by(|record: &(String, i64)| record.0.clone()));
        let mut s = topologies.stream("lookups");
        let found = s.pstate::<Map<String, i64>>("$$found");
        let before = s.pstate::<Map<String, i64>>("$$before");
        s.source(&depot, |b, record| {
            let (name, number) = b.expand(record, |(name, number)| (name.clone(), *number));
            b.compound_agg(before, agg::key(name, agg::count()));
            let home = b.current_task_id();
            let answer = b.each_async((name, number), |(name, number)| {
                let flaky = name == "flaky";
                async move {
                    match flaky && TRIES.fetch_add(1, Ordering::SeqCst) == 0 {
                        true => Err("the service is away"),
                        false => Ok(number * 10),
                    }
                }
            });
            let here = b.current_task_id();
            b.assert((home, here), |(home, here)| home == here, "it goes on on another task");
            b.compound_agg(found, agg::key(name, agg::sum(answer)));
        });
    }
}

#[test]
fn a_future_is_waited_for_and_its_value_used_on_the_same_task() {
    let cluster = cluster_of::<Lookups>(4);
    let depot = cluster.depot::<(String, i64)>("Lookups", "*in").unwrap();
    let pending: Vec<_> =
        (0..200i64).map(|n| depot.append_async(&(format!("name {}", n % 20), n), AckLevel::Ack).unwrap()).collect();
    for append in pending {
        append.wait().unwrap();
    }
    let found = cluster.pstate::<Map<String, i64>>("Lookups", "$$found").unwrap();
    for name in 0..20i64 {
        let expected: i64 = (0..10).map(|round| (name + 20 * round) * 10).sum();
        assert_eq!(found.select_one(path().key(format!("name {name}"))).unwrap(), Some(expected));
    }
    cluster.close().unwrap();
}

#[test]
fn a_future_that_fails_fails_its_record_which_is_tried_again() {
    let cluster = cluster_of::<Lookups>(2);
    let depot = cluster.depot::<(String, i64)>("Lookups", "*in").unwrap();
    let error = depot.append(&("flaky".to_string(), 7)).unwrap_err().to_string();
    assert!(error.contains("the service is away"), "{error}");
    let found = cluster.pstate::<Map<String, i64>>("Lookups", "$$found").unwrap();
    let before = cluster.pstate::<Map<String, i64>>("Lookups", "$$before").unwrap();
    while found.select_one(path().key("flaky")).unwrap() != Some(70) {
        std::thread::yield_now();
    }
    assert_eq!(before.select_one(path().key("flaky")).unwrap(), Some(2), "what was committed before a wait stays");
    cluster.close().unwrap();
}

struct Tour;

impl Module for Tour {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", random());
        let mut s = topologies.stream("tour");
        let visits = s.pstate_partitioned::<Map<i64, i64>>("$$visits", PStateOptions::default(), |key: &i64, count| {
            key % i64::from(count)
        });
        s.source(&depot, |b, rounds| {
            let first = b.constant(0i64);
            let last = b.looped(first, |b, tour, at| {
                b.path_partition(visits, &path().key(at));
                b.compound_agg(visits, agg::key(at, agg::count()));
                b.yield_if_overtime();
                let more = b.each((at, rounds), |(at, rounds)| at < rounds);
                b.if_else(
                    more,
                    |b| {
                        let next = b.each(at, |at| at + 1);
                        b.continue_loop(tour, next);
                    },
                    |b| b.emit_loop(tour, at),
                );
            });
            let end = b.each(last, |last| last + 1_000);
            let seen = b.select(visits, path().key(end).null_to_val(0));
            b.local_transform(visits, path().key(end).term_val(seen));
            b.compound_agg(visits, agg::key(end, agg::count()));
        });
    }
}

#[test]
fn a_loop_goes_from_task_to_task_by_the_key_partitioner_that_clients_use_too() {
    let cluster = cluster_of::<Tour>(4);
    let depot = cluster.depot::<i64>("Tour", "*in").unwrap();
    for rounds in [3i64, 9, 9] {
        depot.append(&rounds).unwrap();
    }
    let visits = cluster.pstate::<Map<i64, i64>>("Tour", "$$visits").unwrap();
    for (key, count) in [(0i64, 3i64), (3, 3), (4, 2), (9, 2), (1_003, 1), (1_009, 2)] {
        assert_eq!(visits.select_one(path().key(key)).unwrap(), Some(count), "{key}");
        assert_eq!(visits.select_on((key % 4) as u32, path().must(key)).unwrap(), [count], "{key}");
    }
    cluster.close().unwrap();
}

struct Lost;

impl Module for Lost {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_global_depot::<String>("*in", random());
        let mut s = topologies.stream("lost");
        let held = s.pstate::<Map<String, i64>>("$$held");
        s.source_with(&depot, SourceOptions { retry: RetryMode::None, ..SourceOptions::default() }, |b, name| {
            b.compound_agg(held, agg::key(name, agg::count()));
        });
    }
}

#[test]
fn a_write_on_the_wrong_task_fails_the_record_and_says_where_its_key_lives() {
    let cluster = cluster_of::<Lost>(8);
    let depot = cluster.depot::<String>("Lost", "*in").unwrap();
    let held = cluster.pstate::<Map<String, i64>>("Lost", "$$held").unwrap();
    let (mut right, mut wrong) = (0, 0);
    for n in 0..40 {
        let name = format!("name {n}");
        let stored = match depot.append(&name) {
            Ok(_) => {
                right += 1;
                Some(1)
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("$$held") && error.contains(&name) && error.contains("lives on task"),
                    "{error}"
                );
                wrong += 1;
                None
            }
        };
        assert_eq!(held.select_one(path().key(&*name)).unwrap(), stored, "{name}");
    }
    assert!(right > 0 && wrong > 20, "{right} right, {wrong} wrong");
    cluster.close().unwrap();
}
