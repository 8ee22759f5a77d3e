//! Side runs against plain maps: what a run reads of itself, that nobody else sees it, that it is published whole at one
//! version, and that a durable prepared run survives any cut of the power, and nothing else does.

mod rig;

use rig::{Expected, Rig};
use tantu_proof::cuts::{Script, explore};
use tantu_proof::form::Form;
use tantu_state::task::StateError;
use tantu_weather::{DiskWeather, SimDisk, SimEntropy, Weather, mark};

fn unless_crashed(disk: &SimDisk, result: Result<(), StateError>) {
    assert!(disk.crashed() || result.is_ok(), "{}", result.expect_err("just seen"));
}

/// Streams beside two microbatch topologies, in two lives.
struct Runs;

fn life(disk: &SimDisk, rounds: u64, chance: &mut SimEntropy, expected: &mut Expected) -> Result<(), StateError> {
    let mut rig = Rig::open(disk.another(), chance, expected)?;
    rig.check()?;
    rig.check_prepared(chance)?;
    rig.work(rounds, chance, expected)?;
    rig.check()?;
    rig.close()
}

impl Script for Runs {
    type Expected = Expected;

    fn play(&self, seed: u64, disk: SimDisk) -> Expected {
        let (mut chance, mut expected) = (SimEntropy::new(seed), Expected::default());
        let lived =
            life(&disk, 25, &mut chance, &mut expected).and_then(|()| life(&disk, 15, &mut chance, &mut expected));
        unless_crashed(&disk, lived);
        expected
    }

    fn recover(&self, _seed: u64, disk: SimDisk, chance: &mut SimEntropy, expected: &mut Expected) {
        let lived = life(&disk, 5, chance, expected);
        unless_crashed(&disk, lived);
    }
}

#[test]
fn a_power_cut_at_every_request_keeps_prepared_runs_whole_and_published_ones_visible() {
    let form = Form::from_env("cuts of side runs", "-p tantu-state --test side a_power_cut");
    let marks = explore(&form, &Runs, 1);
    if form.state().is_none() {
        marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL]);
    }
}

#[test]
fn random_runs_read_like_plain_maps_and_are_published_whole_over_many_lives() {
    let (mut published, mut dropped, mut chunks, mut spilled, mut appended, mut owed) = (0, 0, 0, 0, 0, 0);
    for seed in 0..12 {
        let (mut chance, mut expected) = (SimEntropy::new(seed), Expected::default());
        let mut disk = SimDisk::calm(seed);
        for _ in 0..6 {
            let mut rig = Rig::open(disk.another(), &mut chance, &mut expected).expect("no faults are planned");
            if seed % 3 == 0 {
                rig = rig.with_large_values();
            }
            rig.check().and_then(|()| rig.check_prepared(&mut chance)).expect("no faults are planned");
            for _ in 0..10 {
                rig.work(25, &mut chance, &mut expected).expect("no faults are planned");
                rig.check().expect("no faults are planned");
            }
            (published, dropped) = (published + rig.published_count, dropped + rig.dropped_count);
            (chunks, spilled) = (chunks + rig.chunk_count, spilled + rig.spilled_count);
            (appended, owed) = (appended + rig.appended_count, owed + rig.owed_count);
            if chance.percent(50) {
                rig.finish(&mut expected).and_then(|()| rig.check()).expect("no faults are planned");
                rig.close().expect("no faults are planned");
            } else {
                let left = disk.crash(&mut chance);
                disk = SimDisk::new(&Weather::new(seed), DiskWeather::default(), left);
            }
        }
    }
    println!(
        "{published} runs published, {dropped} dropped, {chunks} chunks, {spilled} prepared on the disk, {appended} records appended, by {owed} runs from the disk"
    );
    assert!(published > 100 && dropped > 100, "{published}, {dropped}");
    assert!(chunks > 100 && spilled > 50, "{chunks}, {spilled}");
    assert!(appended > 2 * published && owed > 20, "{appended}, {owed}");
}
