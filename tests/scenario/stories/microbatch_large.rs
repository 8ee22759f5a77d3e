//! Microbatch topologies whose batches are large, slow or far apart, seen through the facade alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);

fn config() -> LaunchConfig {
    LaunchConfig { tasks: 2, threads: 2, ..LaunchConfig::default() }
}

/// Numbers become many writes each: what a microbatch writes goes to the disk after some hundred.
struct Many;

const WRITES: i64 = 40;

impl Module for Many {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let options = MicrobatchOptions { flush_path_count: Some(300), ..MicrobatchOptions::default() };
        let mut many = topologies.microbatch_with("many", options);
        let texts = many.pstate::<Map<i64, String>>("$$texts");
        let sums = many.pstate::<Map<i64, i64>>("$$sums");
        many.source(&numbers, |m, batch| {
            let n = m.explode_microbatch(batch);
            let key = m.explode(n, |n| (0..WRITES).map(|at| n * WRITES + at).collect::<Vec<_>>());
            m.hash_partition(key);
            let text = m.each(key, |key| format!("{key:0>200}"));
            m.compound_agg(texts, agg::key(key, agg::last(text)));
            // Some keys are written again and again, before and after others went to the disk.
            let rest = m.each(key, |key| key % 50);
            m.hash_partition(rest);
            m.compound_agg(sums, agg::key(rest, agg::sum(key)));
        });
    }
}

#[test]
fn a_microbatch_that_goes_to_the_disk_is_published_whole_and_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Many>(config()).unwrap();
    let numbers = cluster.depot::<i64>("Many", "*numbers").unwrap();
    let mut sums = BTreeMap::<i64, i64>::new();
    for round in 0..3i64 {
        cluster.pause_microbatch_topology("Many", "many").unwrap();
        let batch = round * 150..(round + 1) * 150;
        let pending: Vec<_> = batch.clone().map(|n| numbers.append_async(&n, AckLevel::AppendAck).unwrap()).collect();
        pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
        for key in batch.flat_map(|n| n * WRITES..(n + 1) * WRITES) {
            *sums.entry(key % 50).or_default() += key;
        }
        cluster.resume_microbatch_topology("Many", "many").unwrap();
        let count = (round as u64 + 1) * 150;
        let status = cluster.wait_for_microbatch_processed_count("Many", "many", count, LONG).unwrap();
        assert_eq!(status.finished, round as u64 + 1, "all of a round is one microbatch");
        check(&cluster, &sums, (round + 1) * 150 * WRITES);
    }
    cluster.close().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Many>(config()).unwrap();
    check(&cluster, &sums, 450 * WRITES);
    cluster.close().unwrap();
}

/// Every key up to an end has its text, and every remainder its sum.
fn check(cluster: &InProcessCluster, sums: &BTreeMap<i64, i64>, end: i64) {
    let texts = cluster.pstate::<Map<i64, String>>("Many", "$$texts").unwrap();
    let all = |task| texts.select_on(task, path().all()).unwrap();
    let found: BTreeMap<i64, String> = (0..2).flat_map(all).collect();
    assert!(found.into_iter().eq((0..end).map(|key| (key, format!("{key:0>200}")))), "a text is missing, or another");
    let shown = cluster.pstate::<Map<i64, i64>>("Many", "$$sums").unwrap();
    let found: BTreeMap<i64, i64> = (0..2).flat_map(|task| shown.select_on(task, path().all()).unwrap()).collect();
    assert_eq!(found, *sums);
}

/// A topology that rests between its microbatches.
struct Resting;

const REST: Duration = Duration::from_millis(300);

impl Module for Resting {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let options = MicrobatchOptions { force_delay: REST, ..MicrobatchOptions::default() };
        let mut resting = topologies.microbatch_with("resting", options);
        let sums = resting.pstate::<Map<i64, i64>>("$$sums");
        resting.source(&numbers, |m, batch| {
            let n = m.explode_microbatch(batch);
            let one = m.each(n, |_| 1i64);
            m.hash_partition(one);
            m.compound_agg(sums, agg::key(one, agg::sum(n)));
        });
    }
}

#[test]
fn a_forced_delay_gathers_what_comes_meanwhile_into_one_microbatch() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Resting>(config()).unwrap();
    let numbers = cluster.depot::<i64>("Resting", "*numbers").unwrap();
    let begun = Instant::now();
    for n in 0..40 {
        numbers.append(&n).unwrap();
        // Without a delay each would be in a microbatch of its own.
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = cluster.wait_for_microbatch_processed_count("Resting", "resting", 40, LONG).unwrap();
    let most = begun.elapsed().as_millis() / REST.as_millis() + 2;
    assert!(u128::from(status.finished) <= most, "{} microbatches, at most {most} had time", status.finished);
    let sums = cluster.pstate::<Map<i64, i64>>("Resting", "$$sums").unwrap();
    assert_eq!(sums.select_one(path().key(1)).unwrap(), Some((0..40).sum()));
    cluster.close().unwrap();
}

/// A topology whose first attempts wait for an answer that takes longer than a phase may.
struct Slow;

static SLOW_ANSWERS: AtomicU32 = AtomicU32::new(2);

impl Module for Slow {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let phase_timeout = Duration::from_millis(200);
        let options = MicrobatchOptions { phase_timeout, ..MicrobatchOptions::default() };
        let mut slow = topologies.microbatch_with("slow", options);
        let sums = slow.pstate::<Map<i64, i64>>("$$sums");
        slow.source(&numbers, |m, batch| {
            let n = m.explode_microbatch(batch);
            let one = m.each(n, |_| 1i64);
            m.hash_partition(one);
            m.compound_agg(sums, agg::key(one, agg::sum(n)));
            m.each_async(n, |n| async move {
                let next = |left: u32| left.checked_sub(1);
                if SLOW_ANSWERS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok() {
                    std::thread::sleep(Duration::from_millis(600));
                }
                Ok::<_, String>(n)
            });
        });
    }
}

#[test]
fn an_attempt_that_takes_longer_than_a_phase_may_is_tried_again_and_its_writes_are_made_once() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Slow>(config()).unwrap();
    let numbers = cluster.depot::<i64>("Slow", "*numbers").unwrap();
    numbers.append(&7).unwrap();
    let status = cluster.wait_for_microbatch_processed_count("Slow", "slow", 1, LONG).unwrap();
    assert_eq!((status.finished, SLOW_ANSWERS.load(Ordering::SeqCst)), (1, 0), "two attempts were too slow");
    let sums = cluster.pstate::<Map<i64, i64>>("Slow", "$$sums").unwrap();
    assert_eq!(sums.select_one(path().key(1)).unwrap(), Some(7));
    cluster.close().unwrap();
}

/// A number becomes as many records of a MiB, all on task 0.
struct Bulk;

/// A number with zeros before it.
fn filled(number: i64) -> String {
    let digits = number.to_string();
    "0".repeat((1 << 20) - digits.len()) + &digits
}

/// More than a run may have in memory on one task.
const BULK: i64 = 80;

impl Module for Bulk {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let counts = setup.declare_depot::<i64>("*counts", random());
        let texts = setup.declare_depot::<String>("*texts", random());
        let mut bulk = topologies.microbatch("bulk");
        bulk.source(&counts, |m, batch| {
            let count = m.explode_microbatch(batch);
            let number = m.explode(count, |count| (0..count).collect::<Vec<i64>>());
            m.global_partition();
            let text = m.each(number, filled);
            m.depot_partition_append(texts, text, AckLevel::None);
        });
        let mut read = topologies.microbatch("read");
        let lengths = read.pstate::<Map<i64, i64>>("$$lengths");
        read.source(&texts, |m, batch| {
            let text = m.explode_microbatch(batch);
            let number = m.each(text, |text| text.trim_start_matches('0').parse().unwrap_or(0i64));
            let length = m.each(text, |text| text.len() as i64);
            m.hash_partition(number);
            m.compound_agg(lengths, agg::key(number, agg::sum(length)));
        });
    }
}

#[test]
fn what_a_microbatch_appends_may_be_more_than_it_has_memory_for_and_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Bulk>(config()).unwrap();
    let counts = cluster.depot::<i64>("Bulk", "*counts").unwrap();
    counts.append(&BULK).unwrap();
    let status = cluster.wait_for_microbatch_processed_count("Bulk", "bulk", 1, LONG).unwrap();
    assert_eq!(status.finished, 1);
    // A finished microbatch can be read.
    let texts = cluster.depot::<String>("Bulk", "*texts").unwrap();
    assert_eq!(texts.offsets(0).unwrap().end, Offset(BULK as u64));
    cluster.wait_for_microbatch_processed_count("Bulk", "read", BULK as u64, LONG).unwrap();
    cluster.close().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Bulk>(config()).unwrap();
    let lengths = cluster.pstate::<Map<i64, i64>>("Bulk", "$$lengths").unwrap();
    for number in 0..BULK {
        assert_eq!(lengths.select_one(path().key(number)).unwrap(), Some(1 << 20), "{number}");
    }
    cluster.close().unwrap();
}
