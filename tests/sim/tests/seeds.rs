//! Stories of fixed seeds, of fresh ones, and of doors that lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::print_stdout, reason = "seeds are told to whoever looks")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use tantu_proof::Form;
use tantu_sim::applicant::{DEAD_LETTER, NEW_LIFE, NUMBERED_AGAIN, RETURNED, STRUCK};
use tantu_sim::pauser::{PAUSED, PAUSED_OVER_RESTART};
use tantu_sim::sender::{DELIVERED, DROPPED, FAILED, FURTHER, LEFT};
use tantu_sim::sight::SNAPSHOT_READ;
use tantu_sim::story::{CALLED, CLOSED, CUT_AT_LETTER, RESUMED, SLOWED, STOPPED, THROWN};
use tantu_sim::teller::{REGISTER_READ, TOTALLED, TRANSFERRED};
use tantu_sim::user::{UserOp, thrown_mark};
use tantu_sim::words::{EXACT, OUT_OF_RANGE, RANGE_READ, SEARCHED, TRIMMED};
use tantu_sim::{EngineCluster, Kind, Lie, Report, Swarm, run, run_swarm};
use tantu_weather::{Marks, SimEntropy, mark};

fn tell(seed: u64) -> Report {
    run::<EngineCluster>(seed, None).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Every fault that the fixed seeds must have seen.
const EXPECTED: [&str; 42] = [
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
    TRIMMED,
    RANGE_READ,
    OUT_OF_RANGE,
    SEARCHED,
    EXACT,
    TRANSFERRED,
    REGISTER_READ,
    THROWN,
    SLOWED,
    CUT_AT_LETTER,
    DEAD_LETTER,
    NUMBERED_AGAIN,
    NEW_LIFE,
    RETURNED,
    STRUCK,
    SNAPSHOT_READ,
    TOTALLED,
    PAUSED,
    CALLED,
    LEFT,
    DELIVERED,
    FURTHER,
];

/// What some stories came to.
#[derive(Default)]
struct Told {
    marks: Marks,
    counts: [u64; 4],
    failures: Vec<String>,
}

/// Tells the stories of some seeds, until the time of a long form is over.
fn tell_all(seeds: Range<u64>, form: &Form) -> Told {
    let mut told = Told::default();
    for seed in seeds.take_while(|_| !form.is_over()) {
        let _place = form.at(seed);
        match run::<EngineCluster>(seed, None) {
            Ok(Report { marks, acked_count, step_count, virtual_ns, .. }) => {
                told.marks.add(&marks);
                let counts = [1, acked_count as u64, step_count, virtual_ns / 1_000_000];
                told.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            Err(failure) => {
                println!("finding: {failure}");
                told.failures.push(failure.to_string());
            }
        }
    }
    told
}

impl Told {
    /// Says what was done.
    ///
    /// # Panics
    /// If a story failed.
    fn report(&self, form: &Form) {
        let [stories, acked, steps, virtual_ms] = self.counts;
        println!("{:?}", self.marks.all());
        form.report(&[("stories", stories), ("acked", acked), ("steps", steps), ("virtual s", virtual_ms / 1_000)]);
        let Self { failures, .. } = self;
        let first = failures[..failures.len().min(5)].join("\n");
        assert!(failures.is_empty(), "{} stories failed; the first ones:\n{first}", failures.len());
    }
}

fn campaign(seeds: Range<u64>) {
    let form = Form::silent();
    let told = tell_all(seeds, &form);
    told.report(&form);
    told.marks.assert_all_hit(&EXPECTED);
    assert!(told.counts[1] > 1_000 && told.marks.count(mark::CRASH_IN_RECOVERY) > 10);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_first_hundred_stories_that_see_every_fault() {
    campaign(0..100);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_second_hundred_stories_that_see_every_fault() {
    campaign(100..200);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_third_hundred_stories_that_see_every_fault() {
    campaign(200..300);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_fourth_hundred_stories_that_see_every_fault() {
    campaign(300..400);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_fifth_hundred_stories_that_see_every_fault() {
    campaign(400..500);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_sixth_hundred_stories_that_see_every_fault() {
    campaign(500..600);
}

/// Stories of seeds nobody has seen, or of as many as the environment asks for, from the seed it names.
#[test]
fn fresh_seeds_hold_too() {
    let form = Form::from_env("stories", "-p tantu-sim --test seeds fresh_seeds");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("TANTU_SIM_SEEDS").unwrap_or(if form.is_long() { u64::MAX } else { 20 });
    // Small enough to be read and typed.
    let from = number("TANTU_SIM_FROM").unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000_000);
    println!("fresh seeds from {from}");
    let told = tell_all(from..from.saturating_add(count), &form);
    told.report(&form);
}

/// With space that ends and returns in every story.
#[test]
fn appends_that_a_full_disk_refused_are_taken_when_space_returns() {
    let marks = Marks::default();
    for seed in (0..300).filter(|seed| seed % 5 == 0) {
        let mut swarm = Swarm::draw(&mut SimEntropy::new(seed), None);
        swarm.room = Some(64 << 10 | seed << 10);
        match run_swarm::<EngineCluster>(seed, &swarm) {
            Ok(report) => marks.add(&report.marks),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{:?}", marks.all());
    marks.assert_all_hit(&[RESUMED, mark::ENOSPC]);
}

/// A mark for all of them would hide those that never do.
#[test]
fn each_function_of_the_user_throws_in_some_story() {
    let marks = Marks::default();
    for seed in 0..240 {
        let mut swarm = Swarm::draw(&mut SimEntropy::new(seed), None);
        // Ticks are few, and so are those that fail.
        let kinds =
            [Kind::Words, Kind::Bank, Kind::Errands, Kind::Registry, Kind::Errands, Kind::Registry, Kind::Registry];
        swarm.kind = kinds[seed as usize % kinds.len()];
        (swarm.moody, swarm.exact, swarm.noting, swarm.trim) = (true, true, seed % 2 == 0, None);
        match run_swarm::<EngineCluster>(seed, &swarm) {
            Ok(report) => marks.add(&report.marks),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{:?}", marks.all());
    // In lives that end badly hardly any event gets as far as to go on after a call.
    let thrown = UserOp::ALL.into_iter().filter(|op| *op != UserOp::Called).map(thrown_mark);
    // Rare as well.
    let expected: Vec<_> = thrown.chain([PAUSED_OVER_RESTART, DROPPED, FAILED]).collect();
    marks.assert_all_hit(&expected);
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
