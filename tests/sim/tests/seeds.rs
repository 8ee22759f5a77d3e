//! Stories of fixed seeds, of fresh ones, and of doors that lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::print_stdout, reason = "seeds are told to whoever looks")]

use std::hash::{BuildHasher, Hasher, RandomState};
use tantu_sim::story::{CLOSED, CRASH_IN_CLOSE, EXACT, OUT_OF_RANGE, RANGE_READ, RESUMED, SEARCHED, STOPPED, TRIMMED};
use tantu_sim::{EngineCluster, Lie, Report, run};
use tantu_weather::{Marks, mark};

fn tell(seed: u64) -> Report {
    run::<EngineCluster>(seed, None).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Every fault that the fixed seeds must have seen.
const EXPECTED: [&str; 26] = [
    mark::LOST_SECTOR,
    mark::KEPT_SECTOR,
    mark::TORN_SECTOR,
    mark::LOST_LENGTH,
    mark::LOST_NAME,
    mark::LOST_REQUEST,
    mark::UNANSWERED_REQUEST,
    mark::POWER_CUT,
    mark::KILL,
    mark::CRASH_IN_RECOVERY,
    mark::EIO_READ,
    mark::EIO_WRITE,
    mark::EIO_FLUSH,
    mark::ENOSPC,
    mark::SLOW_REQUEST,
    mark::REORDERED_REQUEST,
    mark::FULL_RING,
    mark::DELAYED_BATCH,
    CLOSED,
    STOPPED,
    RESUMED,
    TRIMMED,
    RANGE_READ,
    OUT_OF_RANGE,
    SEARCHED,
    EXACT,
];

fn campaign(seeds: std::ops::Range<u64>) {
    let marks = Marks::default();
    let (mut acked, mut steps, mut virtual_ns) = (0, 0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        match run::<EngineCluster>(seed, None) {
            Ok(report) => {
                marks.add(&report.marks);
                acked += report.acked_count;
                steps += report.step_count;
                virtual_ns += report.virtual_ns;
            }
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    println!(
        "seeds {seeds:?}: {acked} appends acknowledged, {steps} steps, {} virtual s; {:?}",
        virtual_ns / 1_000_000_000,
        marks.all()
    );
    assert!(
        failures.is_empty(),
        "{} of {} stories failed; the first ones:\n{}",
        failures.len(),
        seeds.end - seeds.start,
        failures[..failures.len().min(5)].join("\n")
    );
    marks.assert_all_hit(&EXPECTED);
    assert!(acked > 1_000 && marks.count(CRASH_IN_CLOSE) + marks.count(mark::CRASH_IN_RECOVERY) > 10);
}

#[test]
fn no_acknowledged_line_is_lost_in_four_hundred_stories_that_see_every_fault() {
    campaign(0..400);
}

#[test]
fn fresh_seeds_hold_too() {
    let count: u64 = std::env::var("TANTU_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(5);
    let start = RandomState::new().build_hasher().finish();
    println!("{count} fresh seeds from {start}");
    let failed: Vec<String> = (0..count)
        .filter_map(|index| run::<EngineCluster>(start.wrapping_add(index), None).err())
        .map(|failure| failure.to_string())
        .collect();
    assert!(failed.is_empty(), "{} of {count} fresh seeds failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn one_seed_can_be_told_again() {
    let seed = std::env::var("TANTU_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let report = tell(seed);
    println!("seed {seed}: {report:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace_hash_twice() {
    for seed in 0..20 {
        let (one, two) = (tell(seed), tell(seed));
        assert_eq!((one.trace_hash, one.step_count), (two.trace_hash, two.step_count), "seed {seed}");
    }
    assert_ne!(tell(0).trace_hash, tell(1).trace_hash);
}

/// How many seeds it takes until a lie is noticed.
fn noticed_after(lie: Lie, seeds_max: u64) -> (u64, String) {
    let found = (0..seeds_max)
        .find_map(|seed| run::<EngineCluster>(seed, Some(lie)).err().map(|failure| (seed + 1, failure.what)));
    let found = found.unwrap_or_else(|| panic!("{lie:?} was not noticed in {seeds_max} stories"));
    println!("{lie:?} noticed after {} stories: {}", found.0, found.1);
    found
}

#[test]
fn a_drive_that_lies_about_flushes_is_noticed() {
    noticed_after(Lie::Flushes, 20);
}

#[test]
fn a_file_system_that_lies_about_names_is_noticed() {
    noticed_after(Lie::Names, 20);
}

#[test]
fn rings_that_deliver_twice_are_noticed() {
    noticed_after(Lie::Twice, 20);
}

#[test]
fn a_recovery_that_cuts_too_much_is_noticed() {
    noticed_after(Lie::Tail, 20);
}
