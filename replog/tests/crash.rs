//! The power is cut at every request of a run: what was durable is there afterwards, in order, and nothing is invented.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use support::{Rig, check_entries};
use tantu_replog::Lsn;
use tantu_weather::{DiskWeather, Image, Marks, SimDisk, SimEntropy, Weather, mark};

struct Ended {
    durable: u64,
    low: u64,
    end: u64,
    disk: SimDisk,
}

/// Appends and releases until the power is cut, or to the end of the script.
fn run(seed: u64, disk: SimDisk) -> Ended {
    let mut chance = SimEntropy::new(seed);
    let (mut durable, mut low, mut end) = (0, 0, 0);
    let mut rig = match Rig::open(disk, &mut chance) {
        Ok(rig) => rig,
        Err((error, disk)) => {
            assert!(disk.crashed(), "seed {seed}: {error}");
            return Ended { durable, low, end, disk };
        }
    };
    for round in 0..160 {
        rig.append(end, seed);
        end += 1;
        if chance.percent(60) {
            rig.log.pump(&mut rig.disk);
        }
        let ok = rig.deliver(rig.log.is_busy() && chance.percent(60));
        if rig.disk.crashed() {
            return Ended { durable, low, end, disk: rig.disk };
        }
        ok.expect("no faults are planned");
        durable = rig.log.durable().0;
        if round % 8 == 7 {
            low = durable.saturating_sub(20).max(low);
            rig.log.release(Lsn(low), &mut rig.disk);
            rig.log.idle(&mut rig.disk);
        }
    }
    if rig.settle().is_ok() {
        durable = rig.log.durable().0;
    }
    Ended { durable, low, end, disk: rig.disk }
}

/// Opens what a cut left, appends, and opens again.
fn check(image: Image, seed: u64, cut: u64, ended: &Ended, marks: &Marks) {
    let place = format!("seed {seed}, cut at request {cut}");
    let world = Weather::new(seed ^ cut << 20);
    let mut chance = world.entropy();
    let disk = SimDisk::new(&world, DiskWeather::default(), image);
    let mut rig = Rig::open(disk, &mut chance).unwrap_or_else(|(error, _)| panic!("{place}: {error}"));
    let (first, end) = check_entries(&rig.replayed, seed, &place);
    assert!(
        first <= ended.low && end >= ended.durable && end <= ended.end,
        "{place}: {first} to {end}, durable to {}",
        ended.durable
    );
    assert_eq!(rig.log.end(), Lsn(end), "{place}");
    for lsn in end..end + 12 {
        rig.append(lsn, seed);
        rig.log.pump(&mut rig.disk);
    }
    rig.settle().unwrap_or_else(|error| panic!("{place}: {error}"));
    let left = rig.disk.crash(&mut chance);
    let rig = Rig::open(SimDisk::new(&world, DiskWeather::default(), left), &mut chance);
    let rig = rig.unwrap_or_else(|(error, _)| panic!("{place}, second time: {error}"));
    assert_eq!(check_entries(&rig.replayed, seed, &place).1, end + 12, "{place}, second time");
    marks.add(&world.marks);
}

#[test]
fn a_power_cut_at_every_request_keeps_every_durable_entry() {
    let marks = Marks::default();
    for seed in 0..3 {
        println!("seed {seed}");
        let count = run(seed, SimDisk::calm(seed)).disk.submitted();
        assert!(count > 100, "{count} requests are too few to prove anything");
        for cut in 0..count {
            let disk = SimDisk::calm(seed);
            disk.stop_at(cut);
            let ended = run(seed, disk);
            let mut chance = SimEntropy::new(seed ^ cut << 8);
            for _ in 0..2 {
                check(ended.disk.crash(&mut chance), seed, cut, &ended, &marks);
            }
            // The machine fails again while the log is opened, once after a power cut and once after a kill.
            for image in [ended.disk.crash(&mut chance), ended.disk.kill(&mut chance)] {
                let again = SimDisk::new(&Weather::new(cut), DiskWeather::default(), image);
                again.stop_at(chance.below(50));
                let mut end = ended.durable;
                let left = match Rig::open(again, &mut chance) {
                    Ok(rig) => {
                        end = rig.log.durable().0;
                        rig.disk
                    }
                    Err((error, disk)) => {
                        assert!(disk.crashed(), "seed {seed}, cut at request {cut}: {error}");
                        disk
                    }
                };
                // What a whole open replayed and called durable must stay.
                let ended = Ended { durable: end, disk: ended.disk.another(), ..ended };
                check(left.crash(&mut chance), seed, cut, &ended, &marks);
            }
            marks.add(&ended.disk.world().marks);
        }
    }
    marks.assert_all_hit(&[mark::POWER_CUT, mark::KILL, mark::LOST_SECTOR, mark::KEPT_SECTOR, mark::TORN_SECTOR]);
    marks.assert_all_hit(&[mark::LOST_NAME, mark::LOST_REQUEST, mark::UNANSWERED_REQUEST, mark::REORDERED_REQUEST]);
}
