//! The power is cut at every request of a task, and every request fails once: what was sealed is there afterwards, in
//! the PState and in the depots, offsets are dense and nothing is invented.

mod support;

use support::{Expected, Rig};
use tantu_proof::cuts::{Script, explore, notices};
use tantu_proof::form::Form;
use tantu_proof::sweep::{CANCELED, Planned, Workload, common_kinds, sweep};
use tantu_state::task::StateError;
use tantu_weather::{DiskWeather, Fault, SimDisk, SimEntropy, Weather, mark};

/// Appends to depots and writes PStates, copies records to segments, closes, opens, goes on in a new segment.
struct Task;

fn two_lives(disk: &SimDisk, chance: &mut SimEntropy, expected: &mut Expected) -> Result<(), StateError> {
    let mut rig = Rig::open(disk.another(), chance, expected)?;
    rig.work(25, chance, expected)?;
    rig.close()?;
    let mut rig = Rig::open(disk.another(), chance, expected)?;
    rig.check(expected)?;
    rig.work(15, chance, expected)?;
    rig.close()
}

/// Judges, and works on.
fn one_more_life(disk: &SimDisk, chance: &mut SimEntropy, expected: &mut Expected) -> Result<(), StateError> {
    let mut rig = Rig::open(disk.another(), chance, expected)?;
    rig.check(expected)?;
    rig.work(3, chance, expected)?;
    rig.settle()?;
    rig.check(expected)
}

fn unless_crashed(disk: &SimDisk, result: Result<(), StateError>) {
    assert!(disk.crashed() || result.is_ok(), "{}", result.expect_err("just seen"));
}

impl Script for Task {
    type Expected = Expected;

    fn play(&self, seed: u64, disk: SimDisk) -> Expected {
        let (mut chance, mut expected) = (SimEntropy::new(seed), Expected::default());
        let lived = two_lives(&disk, &mut chance, &mut expected);
        unless_crashed(&disk, lived);
        expected
    }

    fn recover(&self, _seed: u64, disk: SimDisk, chance: &mut SimEntropy, expected: &mut Expected) {
        let lived = one_more_life(&disk, chance, expected);
        unless_crashed(&disk, lived);
    }
}

#[test]
fn a_power_cut_at_every_request_keeps_everything_sealed() {
    let form = Form::from_env("cuts of a task", "-p tantu-state --test crash a_power_cut");
    let marks = explore(&form, &Task, 1);
    if form.state().is_none() {
        marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL, mark::KEPT_SECTOR, mark::LOST_NAME]);
        marks.assert_all_hit(&[mark::LOST_REQUEST, mark::UNANSWERED_REQUEST]);
    }
}

#[test]
fn a_disk_that_lies_about_flushes_is_noticed() {
    assert!(notices(&Task, &DiskWeather { lies_about_flushes: true, ..DiskWeather::default() }, 0));
}

/// A run with one fault. Whether the fault came.
fn run_with_fault(planned: &Planned) -> bool {
    let mut chance = SimEntropy::new(planned.seed);
    let mut expected = Expected::default();
    let mut disk = SimDisk::calm(planned.seed);
    if planned.in_second_life() {
        expected = Task.play(planned.seed, disk.another());
        let left = disk.crash(&mut chance);
        disk = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    }
    planned.arm(&disk);
    let lived = two_lives(&disk, &mut chance, &mut expected);
    let came = disk.faults_outstanding() == 0;
    assert!(came || lived.is_ok(), "{:?}", lived.err());
    planned.disarm(&disk);
    let left = if planned.index.is_multiple_of(2) { disk.crash(&mut chance) } else { disk.kill(&mut chance) };
    let healthy = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    Task.recover(planned.seed, healthy, &mut chance, &mut expected);
    came
}

#[test]
fn the_nth_request_of_every_kind_fails_and_what_was_sealed_stays() {
    let form = Form::from_env("error sweep of a task", "-p tantu-state --test crash the_nth_request");
    let faults = [Fault::Eio, Fault::Full, Fault::Os(CANCELED)];
    sweep(
        &form,
        &Workload { short_seeds: 2, dense: 6, step: 11, kinds: &common_kinds(), faults: &faults },
        run_with_fault,
    );
}
