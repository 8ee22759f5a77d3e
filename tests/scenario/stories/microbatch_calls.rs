//! Microbatches that call queries: the event goes on with the result, and a call that fails fails the attempt.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);
const TASKS: u32 = 4;

type Order = (String, i64);

/// Calls of the query that panic, and those that take too long, before the others do well.
static PANICS: AtomicI64 = AtomicI64::new(0);
static LATE: AtomicI64 = AtomicI64::new(0);
/// The tests share them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whether one of those that are left is taken.
fn takes_one(of: &AtomicI64) -> bool {
    of.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1)).is_ok()
}

/// Orders of items, whose prices a query knows.
struct Shop;

impl Module for Shop {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let prices = setup.declare_depot::<Order>("*prices", hash_by(|price: &Order| price.0.clone()));
        let orders = setup.declare_depot::<Order>("*orders", random());
        let mut list = topologies.stream("list");
        let known = list.pstate::<Map<String, i64>>("$$known");
        list.source(&prices, |b, price| {
            let (item, price) = b.expand(price, |(item, price)| (item.clone(), *price));
            b.local_transform(known, path().key(item).term_val(price));
        });
        let options = QueryOptions::default().timeout(Duration::from_millis(300));
        topologies.query_with("price", options, |q, (item,): (Var<str>,)| {
            q.hash_partition(item);
            let price = q.local_select(known, path().key(item).null_to_val(0));
            let price = q.each(price, |price| {
                assert!(!takes_one(&PANICS), "no price today");
                price
            });
            let price = q.each_async(price, |price| {
                let is_late = takes_one(&LATE);
                async move {
                    if is_late {
                        std::thread::sleep(Duration::from_millis(600));
                    }
                    Ok::<_, &str>(price)
                }
            });
            q.origin_partition();
            price
        });
        let options = MicrobatchOptions { max_records: 2_000, ..MicrobatchOptions::default() };
        let mut sales = topologies.microbatch_with("sales", options);
        let totals = sales.pstate::<Map<String, i64>>("$$totals");
        let dear = sales.pstate::<Map<String, i64>>("$$dear");
        sales.source(&orders, |m, batch| {
            let before = m.anchor(());
            let order = m.explode_microbatch(batch);
            let (item, count) = m.expand(order, |(item, count)| (item.clone(), *count));
            let home = m.current_task_id();
            let price: Var<i64> = m.invoke_query("price", (item,));
            let here = m.current_task_id();
            m.assert((home, here), |(home, here)| home == here, "it goes on on another task");
            let total = m.each((price, count), |(price, count)| price * count);
            m.hash_partition(item);
            m.compound_agg(totals, agg::key(item, agg::sum(total)));
            m.hook(&before);
            // Within a batch block, before its rows are gathered and after them.
            m.batch_block(|b| {
                let order = b.explode_microbatch(batch);
                let item = b.each(order, |order| order.0.clone());
                let price: Var<i64> = b.invoke_query("price", (item,));
                let is_dear = b.each(price, |price| i64::from(price >= 10));
                let (item, count) = b.group_by(item, |g| g.agg::<i64>(agg::sum(is_dear)));
                let price: Var<i64> = b.invoke_query("price", (item,));
                let worth = b.each((price, count), |(price, count)| price * count);
                b.compound_agg(dear, agg::key(item, agg::sum(worth)));
            });
        });
    }
}

fn shop(threads: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Shop>(LaunchConfig { tasks: TASKS, threads, ..LaunchConfig::default() }).unwrap();
    let prices = cluster.depot::<Order>("Shop", "*prices").unwrap();
    for n in 0..20 {
        prices.append(&(format!("item {n}"), n)).unwrap();
    }
    cluster
}

/// Orders so many, and says what each item then costs in all, and what one of each of the dear ones does.
fn order(cluster: &InProcessCluster, count: i64) -> [BTreeMap<String, i64>; 2] {
    let orders = cluster.depot::<Order>("Shop", "*orders").unwrap();
    let (mut totals, mut dear) = (BTreeMap::new(), BTreeMap::new());
    // All of them are in one microbatch.
    cluster.pause_microbatch_topology("Shop", "sales").unwrap();
    let made: Vec<_> = (0..count)
        .map(|n| {
            let (item, price) = (format!("item {}", n % 20), n % 20);
            *totals.entry(item.clone()).or_default() += price * n;
            *dear.entry(item.clone()).or_default() += if price >= 10 { price } else { 0 };
            orders.append_async(&(item, n), AckLevel::AppendAck).unwrap()
        })
        .collect();
    assert!(made.into_iter().all(|append| append.wait().is_ok()));
    cluster.resume_microbatch_topology("Shop", "sales").unwrap();
    [totals, dear]
}

fn expect(cluster: &InProcessCluster, count: i64, expected: &[BTreeMap<String, i64>; 2]) {
    cluster.wait_for_microbatch_processed_count("Shop", "sales", count as u64, LONG).unwrap();
    for (pstate, expected) in ["$$totals", "$$dear"].iter().zip(expected) {
        let found = cluster.pstate::<Map<String, i64>>("Shop", pstate).unwrap();
        let found: BTreeMap<_, _> = (0..TASKS).flat_map(|task| found.select_on(task, path().all()).unwrap()).collect();
        assert_eq!(found, *expected, "{pstate}");
    }
    let began = Instant::now();
    while cluster.client_work("Shop").unwrap().calls > 0 {
        assert!(began.elapsed() < LONG, "a call is left");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_microbatch_goes_on_with_the_results_of_more_queries_than_run_at_a_time() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = shop(threads);
        let expected = order(&cluster, 6_000);
        expect(&cluster, 6_000, &expected);
        assert_eq!(cluster.microbatch("Shop", "sales").unwrap().status().unwrap().finished, 1);
        cluster.close().unwrap();
    }
}

#[test]
fn a_call_that_panics_fails_the_attempt_and_its_records_are_tried_again() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = shop(threads);
        PANICS.store(3, Ordering::SeqCst);
        let expected = order(&cluster, 400);
        expect(&cluster, 400, &expected);
        assert_eq!(PANICS.load(Ordering::SeqCst), 0);
        cluster.close().unwrap();
    }
}

#[test]
fn a_call_that_takes_too_long_fails_the_attempt_and_its_records_are_tried_again() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = shop(threads);
        LATE.store(2, Ordering::SeqCst);
        let expected = order(&cluster, 50);
        expect(&cluster, 50, &expected);
        assert_eq!(LATE.load(Ordering::SeqCst), 0);
        cluster.close().unwrap();
    }
}
