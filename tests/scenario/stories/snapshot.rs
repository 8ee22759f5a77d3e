//! Reads of all partitions at one microbatch: by queries that ask for it, and by clients.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);
const ACCOUNTS: i64 = 64;

/// Accounts of a bank: a transfer takes from one, and brings to another on another task.
struct Bank;

type Transfer = (i64, i64, i64);

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let transfers = setup.declare_depot::<Transfer>("*transfers", hash_by(|transfer: &Transfer| transfer.0));
        let mut bank = topologies.microbatch_with("bank", MicrobatchOptions { max_records: 3, ..Default::default() });
        let funds = bank.pstate::<Map<i64, i64>>("$$funds");
        bank.source(&transfers, |m, batch| {
            let transfer = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(transfer, |transfer| *transfer);
            let taken = m.each(amount, |amount| -amount);
            m.compound_agg(funds, agg::key(from, agg::sum(taken)));
            m.hash_partition(to);
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
        for (name, options) in [
            ("whole", QueryOptions::default().consistent_with(&bank)),
            ("torn", QueryOptions::default()),
            ("short", QueryOptions::default().timeout(Duration::from_millis(80)).consistent_with(&bank)),
        ] {
            topologies.query_with(name, options, |q, (slow,): (Var<i64>,)| {
                q.all_partition();
                // The later the task, the later it is read.
                let task = q.current_task_id();
                q.each((task, slow), |(task, slow)| std::thread::sleep(Duration::from_micros((task * slow) as u64)));
                let amount: Var<i64> = q.local_select(funds, path().map_vals());
                q.origin_partition();
                q.agg::<i64>(agg::sum(amount))
            });
        }
    }
}

fn bank(threads: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Bank>(LaunchConfig::new(8, threads)).unwrap();
    cluster
}

/// Makes transfers until it is told to stop; how many.
fn transfer(cluster: &InProcessCluster, stop: &AtomicBool) -> u64 {
    let transfers = cluster.depot::<Transfer>("Bank", "*transfers").unwrap();
    let (mut random, mut count) = (7u64, 0);
    while !stop.load(Ordering::Acquire) {
        let mut below = |most: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as i64 % most
        };
        let made: Vec<_> = (0..16)
            .map(|_| (below(ACCOUNTS), below(ACCOUNTS), 1 + below(1_000)))
            .map(|it| transfers.append_async(&it, AckLevel::AppendAck).unwrap())
            .collect();
        assert!(made.into_iter().all(|it| it.wait().is_ok()));
        count += 16;
    }
    count
}

/// Runs the test beside transfers.
fn beside_transfers(cluster: &InProcessCluster, test: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| transfer(cluster, &stop));
        let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        stop.store(true, Ordering::Release);
        let count = running.join().unwrap();
        tested.unwrap();
        cluster.wait_for_microbatch_processed_count("Bank", "bank", count, LONG).unwrap();
    });
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_query_that_asks_for_one_microbatch_sees_no_half_of_a_transfer_and_another_does() {
    for threads in [1, 2] {
        let cluster = bank(threads);
        let whole = cluster.query::<(i64,), i64>("Bank", "whole").unwrap();
        let torn = cluster.query::<(i64,), i64>("Bank", "torn").unwrap();
        assert_eq!(whole.invoke(&(0,)).unwrap(), 0, "before the first microbatch");
        beside_transfers(&cluster, || {
            let status = || cluster.microbatch("Bank", "bank").unwrap().status().unwrap();
            until("no microbatch", || status().finished > 3);
            let before = status().finished;
            let mut rounds = 0..;
            until("microbatches do not go on", || {
                let round = rounds.next().unwrap();
                assert_eq!(whole.invoke(&(round % 4 * 200,)).unwrap(), 0, "{threads} threads, round {round}");
                round >= 40 && status().finished > before + 10
            });
            until("no torn sum", || torn.invoke(&(300,)).unwrap() != 0);
        });
        let settled = cluster.microbatch("Bank", "bank").unwrap().processed_offsets("*transfers").unwrap();
        let transfers = cluster.depot::<Transfer>("Bank", "*transfers").unwrap();
        let ends: Vec<_> = (0..8).map(|partition| transfers.offsets(partition).unwrap().end).collect();
        assert_eq!(settled, ends, "every record of every partition is in a finished microbatch");
        until("something is kept", || cluster.client_work("Bank").unwrap().holds == 0);
        cluster.close().unwrap();
    }
}

#[test]
fn a_snapshot_of_a_client_stays_what_it_was_and_a_later_one_is_later() {
    let cluster = bank(2);
    let bank = cluster.microbatch("Bank", "bank").unwrap();
    let funds = cluster.pstate::<Map<i64, i64>>("Bank", "$$funds").unwrap();
    beside_transfers(&cluster, || {
        until("no microbatch", || bank.status().unwrap().finished > 3);
        let mut last = 0;
        for _ in 0..10 {
            let snapshot = bank.snapshot().unwrap();
            assert!(snapshot.microbatch() >= last.max(3));
            last = snapshot.microbatch();
            let first = funds.select_all_at(&snapshot, path().all()).unwrap();
            assert_eq!(first.iter().map(|(_, amount)| *amount).sum::<i64>(), 0);
            until("no later microbatch", || bank.status().unwrap().finished > last + 5);
            assert_eq!(funds.select_all_at(&snapshot, path().all()).unwrap(), first);
            let (account, amount) = first[0];
            assert_eq!(funds.select_at(&snapshot, path().key(account)).unwrap(), [Some(amount)]);
        }
    });
    until("something is kept", || cluster.client_work("Bank").unwrap().holds == 0);
    let short = bank.snapshot_for(Duration::from_millis(20)).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let late = funds.select_all_at(&short, path().all()).unwrap_err();
    assert!(matches!(late, ClientError::NotKept(_)), "{late}");
    assert_eq!(late.outcome(), Outcome::NotAppended);
    cluster.close().unwrap();
}

#[test]
fn a_query_that_takes_longer_than_it_may_fails_and_keeps_nothing() {
    let cluster = bank(2);
    let short = cluster.query::<(i64,), i64>("Bank", "short").unwrap();
    let late = short.invoke(&(100_000,)).unwrap_err();
    assert!(matches!(&late, ClientError::QueryTimedOut(text) if text.contains("80 ms")), "{late}");
    until("something is kept", || {
        let work = cluster.client_work("Bank").unwrap();
        (work.holds, work.calls, work.events) == (0, 0, 0)
    });
    assert_eq!(short.invoke(&(0,)).unwrap(), 0);
    cluster.close().unwrap();
}

#[test]
fn a_snapshot_of_the_life_before_a_restart_is_no_other_of_the_new_one() {
    let cluster = bank(2);
    let bank = cluster.microbatch("Bank", "bank").unwrap();
    let funds = cluster.pstate::<Map<i64, i64>>("Bank", "$$funds").unwrap();
    let transfers = cluster.depot::<Transfer>("Bank", "*transfers").unwrap();
    let old: Vec<_> = (0..3).map(|_| bank.snapshot().unwrap()).collect();
    cluster.restart::<Bank>().unwrap();
    transfers.append(&(1, 2, 7)).unwrap();
    cluster.wait_for_microbatch_processed_count("Bank", "bank", 1, LONG).unwrap();
    let new: Vec<_> = (0..3).map(|_| bank.snapshot().unwrap()).collect();
    for old in &old {
        let gone = funds.select_all_at(old, path().all()).unwrap_err();
        assert!(matches!(gone, ClientError::NotKept(_)), "{gone}");
    }
    drop(old);
    for new in &new {
        assert_eq!(funds.select_all_at(new, path().all()).unwrap().len(), 2, "it is kept for its own client");
    }
    cluster.close().unwrap();
}
