//! The power is cut at every request of a run: what was flushed is there afterwards, and nothing else is wrong.

mod support;

use support::{Model, Rig, changes, options};
use tantu_base::id::Version;
use tantu_proof::cuts::{Script, explore, notices};
use tantu_proof::form::Form;
use tantu_proof::sweep::{CANCELED, Planned, Workload, common_kinds, sweep};
use tantu_weather::{DiskWeather, Fault, OpKind, SimDisk, SimEntropy, Weather, mark};

const KEY_COUNT: u64 = 120;

/// What must be there, and what may.
#[derive(Clone, Default)]
struct Expected {
    model: Model,
    flushed: u64,
}

/// Flushes memtables, merges tables, changes manifests.
struct Fill;

impl Fill {
    /// Applies the next version to both.
    fn apply(rig: &mut Rig, model: &mut Model, chance: &mut SimEntropy) {
        let (version, changes) = (model.applied + 1, changes(chance, KEY_COUNT));
        rig.apply(version, &changes);
        model.apply(version, &changes);
        rig.tree.retain_from(Version(version));
    }
}

impl Script for Fill {
    type Expected = Expected;

    fn play(&self, seed: u64, disk: SimDisk) -> Expected {
        let mut chance = SimEntropy::new(seed);
        let mut expected = Expected::default();
        let mut rig = match Rig::open(disk, &mut chance, options(0)) {
            Ok(rig) => rig,
            Err((error, disk)) => {
                assert!(disk.crashed(), "{error}");
                return expected;
            }
        };
        for round in 0..40 {
            Fill::apply(&mut rig, &mut expected.model, &mut chance);
            if round % 8 == 7 {
                rig.tree.seal();
            }
            for _ in 0..2 {
                let ok = rig.step().expect("no block is damaged") || rig.deliver(rig.tree.is_busy()).is_ok();
                if rig.disk.crashed() {
                    return expected;
                }
                assert!(ok, "no faults are planned");
                expected.flushed = rig.tree.flushed().0;
            }
        }
        let settled = rig.settle();
        if !rig.disk.crashed() {
            settled.expect("no faults are planned");
            expected.flushed = rig.tree.flushed().0;
        }
        expected
    }

    /// Opens what a cut left and compares; then works on it.
    fn recover(&self, _seed: u64, disk: SimDisk, chance: &mut SimEntropy, expected: &mut Expected) {
        let mut rig = match Rig::open(disk, chance, options(u64::MAX)) {
            Ok(rig) => rig,
            Err((error, disk)) => {
                assert!(disk.crashed(), "{error}");
                return;
            }
        };
        let Expected { model, flushed } = expected;
        let found = rig.tree.flushed().0;
        assert!(found >= *flushed && found <= model.applied, "{found}, {flushed} flushed of {}", model.applied);
        *flushed = found;
        model.cut(found);
        let Some(all) = unless_crashed(&mut rig, |rig| rig.scan(b"", b"\xff", found)) else { return };
        assert!(all == model.scan(b"", b"\xff", found), "other entries than at version {found}");
        for _ in 0..3 {
            Fill::apply(&mut rig, model, chance);
        }
        rig.tree.seal();
        if unless_crashed(&mut rig, Rig::settle).is_none() {
            return;
        }
        *flushed = rig.tree.flushed().0;
        let at = model.applied;
        assert_eq!(*flushed, at);
        let Some(all) = unless_crashed(&mut rig, |rig| rig.scan(b"", b"\xff", at)) else { return };
        assert!(all == model.scan(b"", b"\xff", at), "other entries after more work");
    }
}

/// The answer of something that fails only if the power is cut.
fn unless_crashed<T>(rig: &mut Rig, act: impl FnOnce(&mut Rig) -> Result<T, tantu_lsm::Fault>) -> Option<T> {
    let result = act(rig);
    (!rig.disk.crashed()).then(|| result.unwrap_or_else(|fault| panic!("{fault}")))
}

#[test]
fn a_power_cut_at_every_request_leaves_the_tree_as_it_was_flushed() {
    let form = Form::from_env("cuts of the tree", "-p tantu-lsm --test crash a_power_cut");
    let marks = explore(&form, &Fill, 3);
    if form.state().is_none() {
        marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL, mark::LOST_SECTOR, mark::KEPT_SECTOR, mark::TORN_SECTOR]);
        marks.assert_all_hit(&[mark::LOST_NAME, mark::LOST_REQUEST, mark::UNANSWERED_REQUEST, mark::REORDERED_REQUEST]);
    }
}

#[test]
fn a_disk_that_lies_about_flushes_is_noticed() {
    assert!(notices(&Fill, &DiskWeather { lies_about_flushes: true, ..DiskWeather::default() }, 0));
}

#[test]
fn a_file_system_that_lies_about_names_is_noticed() {
    assert!(notices(&Fill, &DiskWeather { lies_about_names: true, ..DiskWeather::default() }, 0));
}

/// A run with one fault. Whether the fault came.
fn run_with_fault(planned: &Planned) -> bool {
    let mut chance = SimEntropy::new(planned.seed);
    let mut machine = SimDisk::calm(planned.seed);
    let mut expected = Expected::default();
    if planned.in_second_life() {
        expected = Fill.play(planned.seed, machine.another());
        let left = machine.crash(&mut chance);
        machine = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    }
    planned.arm(&machine);
    match Rig::open(machine.another(), &mut chance, options(0)) {
        Err((error, _)) => assert_eq!(machine.faults_outstanding(), 0, "{error}"),
        Ok(mut rig) => {
            expected.flushed = rig.tree.flushed().0;
            expected.model.cut(expected.flushed);
            fill_until_it_fails(&mut rig, &mut expected, &mut chance, planned);
        }
    }
    let came = machine.faults_outstanding() == 0;
    planned.disarm(&machine);
    let left = if planned.index.is_multiple_of(2) { machine.crash(&mut chance) } else { machine.kill(&mut chance) };
    let healthy = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    Fill.recover(planned.seed, healthy, &mut chance, &mut expected);
    came
}

/// Works until a request fails, or to the end; reads never lie, and nothing goes on after a failure.
fn fill_until_it_fails(rig: &mut Rig, expected: &mut Expected, chance: &mut SimEntropy, planned: &Planned) {
    let mut failed = false;
    for _ in 0..24 {
        Fill::apply(rig, &mut expected.model, chance);
        if expected.model.applied.is_multiple_of(8) {
            rig.tree.seal();
            failed = rig.settle().is_err();
        }
        if failed {
            break;
        }
        expected.flushed = rig.tree.flushed().0;
    }
    let at = expected.model.applied;
    if let Ok(all) = rig.scan(b"", b"\xff", at) {
        assert!(all == expected.model.scan(b"", b"\xff", at), "a read lies");
    }
    // A block that is shorter than it was is damage: the merge that met it is given up, and flushes go on.
    if failed && planned.fault != Fault::Short {
        assert!(rig.tree.halted().is_some());
        assert!(!rig.step().unwrap_or(false), "no work goes on");
    }
    // A manifest that was being written may still have been installed.
    expected.flushed = expected.flushed.max(rig.tree.flushed().0);
}

#[test]
fn the_nth_request_of_every_kind_fails_and_what_was_flushed_stays() {
    let form = Form::from_env("error sweep of the tree", "-p tantu-lsm --test crash the_nth_request");
    let faults = [Fault::Eio, Fault::Full, Fault::Os(CANCELED)];
    sweep(
        &form,
        &Workload { short_seeds: 2, dense: 8, step: 5, kinds: &common_kinds(), faults: &faults },
        run_with_fault,
    );
}

#[test]
fn a_read_that_gives_less_than_the_file_has_is_reported() {
    let form = Form::from_env("short reads of the tree", "-p tantu-lsm --test crash a_read_that_gives_less");
    sweep(
        &form,
        &Workload { short_seeds: 6, dense: 8, step: 1, kinds: &[OpKind::Read], faults: &[Fault::Short] },
        run_with_fault,
    );
}
