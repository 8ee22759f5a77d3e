//! Streams that call queries: what a try of a record waits for ends with it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(20);
const NUMBER_COUNT: i64 = 20;

/// Whether the futures of the query may end, and how many have begun.
static MAY_END: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicUsize = AtomicUsize::new(0);
/// The tests share them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Streams whose events wait for a query that waits for another, on any task, longer than their records have time.
struct Waits;

impl Module for Waits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        topologies.query("inner", |q, (n,): (Var<i64>,)| {
            q.hash_partition(n);
            let n = q.each(n, |n| {
                RUNS.fetch_add(1, Ordering::SeqCst);
                n
            });
            let n = q.each_async(n, |n| async move {
                while !MAY_END.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok::<_, &str>(n)
            });
            q.origin_partition();
            n
        });
        topologies.query("outer", |q, (n,): (Var<i64>,)| {
            q.hash_partition(n);
            let n: Var<i64> = q.invoke_query("inner", (n,));
            q.origin_partition();
            n
        });
        for (name, retry) in
            [("none", RetryMode::None), ("individual", RetryMode::Individual), ("all-after", RetryMode::AllAfter)]
        {
            let numbers = setup.declare_depot::<i64>(&format!("*{name}"), hash_by(|n: &i64| *n));
            let timeout = Some(Duration::from_millis(100));
            let mut s = topologies.stream_with(name, StreamOptions { timeout, ..StreamOptions::default() });
            let sum = s.pstate::<i64>(&format!("$${name}"));
            s.source_with(&numbers, SourceOptions { retry, ..SourceOptions::default() }, move |b, n| {
                b.shuffle_partition();
                let n: Var<i64> = b.invoke_query("outer", (n,));
                b.global_partition();
                b.compound_agg(sum, agg::sum(n));
            });
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Appends the numbers, and waits until so many of the queries have begun.
fn begin(cluster: &InProcessCluster, name: &str, run_count: usize) {
    MAY_END.store(false, Ordering::Release);
    RUNS.store(0, Ordering::SeqCst);
    let numbers = cluster.depot::<i64>("Waits", &format!("*{name}")).unwrap();
    let append = |n| numbers.append_async(&n, AckLevel::AppendAck).unwrap();
    let pending: Vec<_> = (0..NUMBER_COUNT).map(append).collect();
    assert!(pending.into_iter().all(|append| append.wait().is_ok()));
    until("they are tried", || RUNS.load(Ordering::SeqCst) >= run_count);
}

#[test]
fn calls_of_a_record_that_took_too_long_end_on_every_task() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Waits>(LaunchConfig::new(4, threads)).unwrap();
        begin(&cluster, "none", 1);
        until("the calls end with the records", || cluster.client_work("Waits").unwrap().calls == 0);
        MAY_END.store(true, Ordering::Release);
        cluster.close().unwrap();
    }
}

#[test]
fn calls_of_a_try_that_failed_end_and_those_of_the_next_go_on() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for (threads, name) in [(1, "individual"), (2, "individual"), (1, "all-after"), (2, "all-after")] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Waits>(LaunchConfig::new(4, threads)).unwrap();
        begin(&cluster, name, 5 * NUMBER_COUNT as usize);
        // Each record has one call, and the one within it.
        until("those of earlier tries end", || {
            cluster.client_work("Waits").unwrap().calls <= 2 * NUMBER_COUNT as usize
        });
        MAY_END.store(true, Ordering::Release);
        let sum = cluster.pstate::<i64>("Waits", &format!("$${name}")).unwrap();
        let expected = NUMBER_COUNT * (NUMBER_COUNT - 1) / 2;
        until("every record is processed", || sum.select_on(0, path()).is_ok_and(|found| found == [expected]));
        until("no call is left", || cluster.client_work("Waits").unwrap().calls == 0);
        cluster.close().unwrap();
    }
}

/// A query that never ends and never leaves its task, and a stream whose events call another.
struct Flooded;

impl Module for Flooded {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        topologies.query("endless", |q, (n,): (Var<i64>,)| {
            let last = q.looped(n, |b, again, n| {
                b.yield_if_overtime();
                let next = b.each(n, |n| n + 1);
                let ends = b.each(next, |next| next < 0);
                b.if_else(ends, |b| b.emit_loop(again, next), |b| b.continue_loop(again, next));
            });
            q.origin_partition();
            last
        });
        topologies.query("waits", |q, (n,): (Var<i64>,)| {
            let n = q.each_async(n, |n| async move {
                while !MAY_END.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok::<_, &str>(n)
            });
            q.origin_partition();
            n
        });
        topologies.query("twice", |q, (n,): (Var<i64>,)| {
            q.hash_partition(n);
            let twice = q.each(n, |n| 2 * n);
            q.origin_partition();
            twice
        });
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let timeout = Some(Duration::from_secs(5));
        let mut s = topologies.stream_with("sum", StreamOptions { timeout, ..StreamOptions::default() });
        let sum = s.pstate::<i64>("$$sum");
        s.source(&numbers, |b, n| {
            let twice: Var<i64> = b.invoke_query("twice", (n,));
            b.global_partition();
            b.compound_agg(sum, agg::sum(twice));
        });
    }
}

#[test]
fn a_client_that_floods_a_core_with_calls_that_do_not_end_leaves_topologies_room_and_time_for_theirs() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    MAY_END.store(false, Ordering::Release);
    // More than may have begun of one that yields for ever, and as many as there may be of one that waits for a future.
    for (query, count) in [("endless", 1_100), ("waits", 4_096)] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Flooded>(LaunchConfig { query_timeout_ms: 600_000, ..LaunchConfig::new(2, 1) }).unwrap();
        // One connection has no more than 2,048 of them out.
        let connections = [(); 2].map(|()| cluster.connect("Flooded").unwrap());
        let queries = connections.each_ref().map(|it| Query::<(i64,), i64>::new(it, query).unwrap());
        let calls: Vec<_> = (0..count).map(|n| queries[n % 2].invoke_async(&(n as i64,)).unwrap()).collect();
        connections.iter().for_each(|it| Depot::<i64>::new(it, "*numbers").unwrap().flush());
        until("the calls run", || cluster.client_work("Flooded").unwrap().calls == count);
        let numbers = cluster.depot::<i64>("Flooded", "*numbers").unwrap();
        let pending: Vec<_> = (0..10).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
        pending.into_iter().for_each(|append| _ = append.wait().unwrap());
        assert_eq!(cluster.pstate::<i64>("Flooded", "$$sum").unwrap().select_on(0, path()).unwrap(), [90]);
        drop((calls, queries, connections));
        until("what is given up ends", || cluster.client_work("Flooded").unwrap().calls == 0);
        MAY_END.store(query == "waits", Ordering::Release);
        cluster.close().unwrap();
    }
}
