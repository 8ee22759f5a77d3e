//! The power is cut at every request of a run: what was durable is there afterwards, in order, and nothing is invented.

mod support;

use support::{Rig, entry};
use tantu_proof::cuts::{Script, explore, notices};
use tantu_proof::form::Form;
use tantu_proof::sweep::{FAULTS, Planned, Workload, sweep};
use tantu_replog::Lsn;
use tantu_weather::{DiskWeather, OpKind, SimDisk, SimEntropy, Weather, mark};

/// What must be there, and what may.
#[derive(Clone, Default)]
struct Expected {
    durable: u64,
    low: u64,
    end: u64,
    /// From which entry on the bodies are drawn from which seed: each life writes others, so that what a recovery dropped
    /// is noticed if it comes back.
    lives: Vec<(u64, u64)>,
}

impl Expected {
    fn seed_of(&self, lsn: u64) -> u64 {
        self.lives.iter().rev().find(|(from, _)| *from <= lsn).map_or(0, |(_, seed)| *seed)
    }

    /// Checks what was replayed, and takes it for durable.
    fn check(&mut self, rig: &Rig) {
        let first = rig.replayed.first().map_or(rig.log.end().0, |(lsn, ..)| *lsn);
        let end = first + rig.replayed.len() as u64;
        for ((lsn, epoch, body), expected) in rig.replayed.iter().zip(first..) {
            assert_eq!(*lsn, expected, "out of order");
            assert!((*epoch, body) == (entry(*lsn, 0).0, &entry(*lsn, self.seed_of(*lsn)).1), "entry {lsn} is another");
        }
        assert!(first <= self.low || rig.replayed.is_empty(), "{first} is after {}", self.low);
        assert!(end >= self.durable && end <= self.end, "{end} entries, {} durable of {}", self.durable, self.end);
        assert_eq!(rig.log.end(), Lsn(end));
        self.durable = end;
    }
}

/// Appends over several segments, releases, recycles.
struct Appends;

fn append(rig: &mut Rig, expected: &mut Expected) {
    let (epoch, _) = entry(expected.end, 0);
    let (_, body) = entry(expected.end, expected.seed_of(expected.end));
    let at = body.len() / 3;
    let lsn = rig.log.append(tantu_base::id::Epoch(epoch), &[&body[..at], &body[at..]]);
    assert_eq!(lsn, Lsn(expected.end));
    expected.end += 1;
}

impl Script for Appends {
    type Expected = Expected;

    fn play(&self, seed: u64, disk: SimDisk) -> Expected {
        let mut chance = SimEntropy::new(seed);
        let mut expected = Expected { lives: vec![(0, seed)], ..Expected::default() };
        let mut rig = match Rig::open(disk, &mut chance) {
            Ok(rig) => rig,
            Err((error, disk)) => {
                assert!(disk.crashed(), "{error}");
                return expected;
            }
        };
        for round in 0..120 {
            append(&mut rig, &mut expected);
            if chance.percent(60) {
                rig.log.pump(&mut rig.disk);
            }
            let ok = rig.deliver(rig.log.is_busy() && chance.percent(60));
            if rig.disk.crashed() {
                return expected;
            }
            ok.expect("no faults are planned");
            expected.durable = rig.log.durable().0;
            if round % 8 == 7 {
                expected.low = expected.durable.saturating_sub(20).max(expected.low);
                rig.log.release(Lsn(expected.low), &mut rig.disk);
                rig.log.idle(&mut rig.disk);
            }
        }
        if rig.settle().is_ok() {
            expected.durable = rig.log.durable().0;
        }
        expected
    }

    fn recover(&self, seed: u64, disk: SimDisk, chance: &mut SimEntropy, expected: &mut Expected) {
        let mut rig = match Rig::open(disk, chance) {
            Ok(rig) => rig,
            Err((error, disk)) => {
                assert!(disk.crashed(), "{error}");
                return;
            }
        };
        expected.check(&rig);
        expected.end = expected.durable;
        expected.lives.push((expected.end, seed + expected.lives.len() as u64));
        for _ in 0..8 {
            append(&mut rig, expected);
            rig.log.pump(&mut rig.disk);
        }
        let settled = rig.settle();
        if rig.disk.crashed() {
            return;
        }
        settled.expect("no faults are planned");
        expected.durable = rig.log.durable().0;
        assert_eq!(expected.durable, expected.end);
        let left = rig.disk.crash(chance);
        let rig = Rig::open(SimDisk::new(&Weather::new(seed), DiskWeather::default(), left), chance);
        expected.check(&rig.unwrap_or_else(|(error, _)| panic!("second time: {error}")));
    }
}

#[test]
fn a_power_cut_at_every_request_keeps_every_durable_entry() {
    let form = Form::from_env("cuts of the log", "-p tantu-replog --test crash a_power_cut");
    let marks = explore(&form, &Appends, 2);
    if form.state().is_none() {
        marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL, mark::LOST_SECTOR, mark::KEPT_SECTOR, mark::TORN_SECTOR]);
        marks.assert_all_hit(&[mark::LOST_NAME, mark::LOST_REQUEST, mark::UNANSWERED_REQUEST]);
    }
}

#[test]
fn a_disk_that_lies_about_flushes_is_noticed() {
    assert!(notices(&Appends, &DiskWeather { lies_about_flushes: true, ..DiskWeather::default() }, 0));
}

/// A run with one fault. Whether the fault came.
fn run_with_fault(planned: &Planned) -> bool {
    let mut chance = SimEntropy::new(planned.seed);
    let mut machine = SimDisk::calm(planned.seed);
    let mut expected = Expected { lives: vec![(0, planned.seed)], ..Expected::default() };
    if planned.in_second_life() {
        expected = Appends.play(planned.seed, machine.another());
        let left = machine.crash(&mut chance);
        machine = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    }
    planned.arm(&machine);
    match Rig::open(machine.another(), &mut chance) {
        Err((error, _)) => assert_eq!(machine.faults_outstanding(), 0, "{error}"),
        Ok(mut rig) => {
            expected.check(&rig);
            expected.end = expected.durable;
            expected.lives.push((expected.end, planned.seed + 7));
            append_with_fault(&mut rig, &mut expected, planned);
        }
    }
    let came = machine.faults_outstanding() == 0;
    planned.disarm(&machine);
    let left = if planned.index.is_multiple_of(2) { machine.crash(&mut chance) } else { machine.kill(&mut chance) };
    let healthy = SimDisk::new(&Weather::new(planned.seed), DiskWeather::default(), left);
    Appends.recover(planned.seed, healthy, &mut chance, &mut expected);
    came
}

/// Appends and releases. A poisoned log acknowledges nothing any more; one without room goes on when there is some.
fn append_with_fault(rig: &mut Rig, expected: &mut Expected, planned: &Planned) {
    for round in 0..60 {
        append(rig, expected);
        if rig.settle().is_err() {
            break;
        }
        expected.durable = rig.log.durable().0;
        if round % 8 == 7 {
            expected.low = expected.durable.saturating_sub(20).max(expected.low);
            rig.log.release(Lsn(expected.low), &mut rig.disk);
            rig.log.idle(&mut rig.disk);
        }
    }
    if rig.log.is_poisoned() {
        let durable = rig.log.durable();
        planned.disarm(&rig.disk);
        rig.log.pump(&mut rig.disk);
        rig.try_again();
        while rig.disk.next_due().is_some() {
            assert!(rig.deliver(true).is_err(), "it stays poisoned");
        }
        assert_eq!(rig.log.durable(), durable, "an acknowledgement came after a failed flush");
        expected.durable = durable.0;
        return;
    }
    if rig.log.durable() < rig.log.end() {
        planned.disarm(&rig.disk);
        for _ in 0..20 {
            rig.try_again();
            if rig.settle().is_err() {
                return;
            }
        }
        assert_eq!(rig.log.durable(), rig.log.end(), "there is room again, and entries still wait");
    }
    expected.durable = rig.log.durable().0;
}

#[test]
fn the_nth_request_of_every_kind_fails_and_what_was_durable_stays() {
    let form = Form::from_env("error sweep of the log", "-p tantu-replog --test crash the_nth_request");
    sweep(&form, &Workload { short_seeds: 2, dense: 8, step: 5, kinds: &OpKind::ALL, faults: &FAULTS }, run_with_fault);
}
