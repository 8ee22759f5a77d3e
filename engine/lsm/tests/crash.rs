//! The power is cut at every request of a run: what was flushed is there afterwards, and nothing else is wrong.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use support::{Model, Rig, changes, options};
use tantu_base::id::Version;
use tantu_weather::{Fault, Image, Marks, OpKind, SimDisk, SimEntropy, Weather, mark};

const KEY_COUNT: u64 = 120;

struct Ended {
    model: Model,
    flushed: u64,
    disk: SimDisk,
}

/// Fills a tree until the power is cut, or to the end of the script.
fn run(seed: u64, disk: SimDisk) -> Ended {
    let mut chance = SimEntropy::new(seed);
    let mut model = Model::default();
    let mut rig = match Rig::open(disk, &mut chance, options(0)) {
        Ok(rig) => rig,
        Err((error, disk)) => {
            assert!(disk.crashed(), "seed {seed}: {error}");
            return Ended { model, flushed: 0, disk };
        }
    };
    let mut flushed = 0;
    for round in 0..60 {
        let (version, changes) = (model.applied + 1, changes(&mut chance, KEY_COUNT));
        rig.apply(version, &changes);
        model.apply(version, &changes);
        rig.tree.retain_from(Version(version));
        if round % 8 == 7 {
            rig.tree.seal();
        }
        for _ in 0..2 {
            let ok = rig.step().expect("no block is damaged") || rig.deliver(rig.tree.is_busy()).is_ok();
            if rig.disk.crashed() {
                return Ended { model, flushed, disk: rig.disk };
            }
            assert!(ok, "seed {seed}: no faults are planned");
            flushed = rig.tree.flushed().0;
        }
    }
    let settled = rig.settle();
    if !rig.disk.crashed() {
        settled.expect("no faults are planned");
        flushed = rig.tree.flushed().0;
    }
    Ended { model, flushed, disk: rig.disk }
}

/// Opens what a cut left and compares; then works on it.
fn check(image: Image, seed: u64, cut: u64, ended: &Ended, marks: &Marks) {
    let place = format!("seed {seed}, cut at request {cut}");
    let world = Weather::new(seed ^ cut << 20);
    let mut chance = world.entropy();
    let disk = SimDisk::new(&world, Default::default(), image);
    let mut rig =
        Rig::open(disk, &mut chance, options(u64::MAX)).unwrap_or_else(|(error, _)| panic!("{place}: {error}"));
    let flushed = rig.tree.flushed().0;
    assert!(flushed >= ended.flushed && flushed <= ended.model.applied, "{place}: {flushed}, was {}", ended.flushed);
    let mut model = ended.model.clone();
    model.cut(flushed);
    assert!(rig.scan(b"", b"\xff", flushed).expect("a scan") == model.scan(b"", b"\xff", flushed), "{place}");
    for _ in 0..3 {
        let (version, changes) = (model.applied + 1, changes(&mut chance, KEY_COUNT));
        rig.apply(version, &changes);
        model.apply(version, &changes);
    }
    rig.tree.seal();
    rig.settle().unwrap_or_else(|fault| panic!("{place}: {fault}"));
    let at = model.applied;
    assert!(rig.scan(b"", b"\xff", at).expect("a scan") == model.scan(b"", b"\xff", at), "{place}: after more work");
    marks.add(&world.marks);
}

#[test]
fn a_power_cut_at_every_request_leaves_the_tree_as_it_was_flushed() {
    let marks = Marks::default();
    for seed in 0..4 {
        println!("seed {seed}");
        let count = run(seed, SimDisk::calm(seed)).disk.submitted();
        assert!(count > 80, "{count} requests are too few to prove anything");
        for cut in 0..count {
            let disk = SimDisk::calm(seed);
            disk.stop_at(cut);
            let ended = run(seed, disk);
            let mut chance = SimEntropy::new(seed ^ cut << 8);
            check(ended.disk.crash(&mut chance), seed, cut, &ended, &marks);
            // The machine fails again while the tree is opened, once after a power cut and once after a kill.
            for image in [ended.disk.crash(&mut chance), ended.disk.kill(&mut chance)] {
                let again = SimDisk::new(&Weather::new(cut), Default::default(), image);
                again.stop_at(chance.below(40));
                let left = match Rig::open(again, &mut chance, options(0)) {
                    Ok(rig) => rig.disk,
                    Err((error, disk)) => {
                        assert!(disk.crashed(), "seed {seed}, cut at request {cut}: {error}");
                        disk
                    }
                };
                check(left.crash(&mut chance), seed, cut, &ended, &marks);
            }
            marks.add(&ended.disk.world().marks);
        }
    }
    marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL, mark::LOST_SECTOR, mark::KEPT_SECTOR, mark::TORN_SECTOR]);
    marks.assert_all_hit(&[mark::LOST_NAME, mark::LOST_REQUEST, mark::UNANSWERED_REQUEST, mark::REORDERED_REQUEST]);
}

#[test]
fn a_failed_request_halts_the_background_and_what_was_flushed_stays() {
    for kind in [OpKind::Open, OpKind::Write, OpKind::Sync, OpKind::SyncDir, OpKind::Read] {
        for index in 0..25 {
            let seed = 100 + index;
            println!("{kind:?} {index}, seed {seed}");
            let fault = if index % 2 == 0 || kind == OpKind::Read { Fault::Eio } else { Fault::Full };
            let mut chance = SimEntropy::new(seed);
            let mut rig =
                Rig::open(SimDisk::calm(seed), &mut chance, options(0)).map_err(|(error, _)| error).expect("a tree");
            rig.disk.fail_nth(kind, index, fault);
            let mut model = Model::default();
            let mut failed = false;
            while !failed && model.applied < 2000 {
                let (version, changes) = (model.applied + 1, changes(&mut chance, KEY_COUNT));
                rig.apply(version, &changes);
                model.apply(version, &changes);
                rig.tree.retain_from(Version(version));
                if version % 10 == 0 {
                    rig.tree.seal();
                }
                failed = !rig.step().expect("no block is damaged") && rig.deliver(rig.tree.is_busy()).is_err();
            }
            assert!(failed, "{kind:?} {index} never failed");
            assert_eq!(rig.disk.faults_outstanding(), 0);
            let flushed = rig.tree.flushed().0;
            assert!(rig.tree.halted().is_some());
            let at = model.applied;
            assert!(rig.scan(b"", b"\xff", at).expect("it stays readable") == model.scan(b"", b"\xff", at));
            assert!(!rig.step().expect("no block is damaged"), "no work goes on");
            // A manifest that was being written may still have been installed.
            assert!(rig.tree.flushed().0 >= flushed);
            let ended = Ended { model, flushed, disk: rig.disk };
            check(ended.disk.crash(&mut chance), seed, index, &ended, &Marks::default());
        }
    }
}
