//! What is appended comes back: over segments, releases, recycled files and restarts.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use support::{Rig, check_entries, options};
use tantu_base::door::Nanos;
use tantu_replog::Lsn;
use tantu_replog::seglog::{OpenError, SegLogOptions};
use tantu_weather::{CutBias, DiskWeather, Fault, Image, OpKind, SimDisk, SimEntropy, Weather};

fn open(disk: SimDisk, chance: &mut SimEntropy) -> Rig {
    Rig::open(disk, chance).unwrap_or_else(|(error, _)| panic!("{error}"))
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut chance = SimEntropy::new(seed);
    let mut rig = open(SimDisk::calm(seed), &mut chance);
    let (mut end, mut low) = (0, 0);
    for _ in 0..600 {
        match chance.below(100) {
            0..50 => {
                rig.append(end, seed);
                end += 1;
            }
            50..70 => rig.log.pump(&mut rig.disk),
            70..85 => rig.deliver(rig.log.is_busy()).expect("no faults are planned"),
            85..90 => rig.log.idle(&mut rig.disk),
            90..97 => {
                low = chance.within(low..rig.log.durable().0 + 1);
                rig.log.release(Lsn(low), &mut rig.disk);
            }
            97..99 => {
                rig.settle().expect("no faults are planned");
                assert_eq!(rig.log.durable(), Lsn(end));
            }
            _ => {
                rig.log.close(&mut rig.disk).expect("a close");
                rig = open(rig.disk, &mut chance);
                let (first, found) = check_entries(&rig.replayed, seed, &format!("seed {seed}"));
                assert!(rig.replayed.is_empty() || found == end, "seed {seed}: {found} of {end}");
                assert!(first <= low || rig.replayed.is_empty(), "seed {seed}: {first} is after {low}");
                assert_eq!((rig.log.end(), rig.log.durable()), (Lsn(end), Lsn(end)), "seed {seed}");
                assert!(!rig.replayed.is_empty() || low == end, "seed {seed}: entries from {low} are gone");
            }
        }
        assert!(rig.log.durable() <= rig.log.end());
    }
}

#[test]
fn what_is_appended_comes_back_over_segments_releases_and_restarts() {
    (0..20).for_each(run);
}

#[test]
fn released_segments_are_recycled_or_removed() {
    let mut chance = SimEntropy::new(1);
    let mut rig = open(SimDisk::calm(1), &mut chance);
    let renamed = |rig: &Rig| rig.disk.count(OpKind::Rename);
    for lsn in 0..800 {
        rig.append(lsn, 1);
        rig.settle().expect("no faults are planned");
        if lsn > 20 {
            rig.log.release(Lsn(lsn - 10), &mut rig.disk);
        }
    }
    assert!(renamed(&rig) > 2, "{} segments were recycled", renamed(&rig));
    let files = rig.disk.image().files();
    assert!(files.len() <= 6, "{files:?}");
    rig.log.release(Lsn(800), &mut rig.disk);
    rig.log.close(&mut rig.disk).expect("a close");
    assert_eq!(rig.disk.image().files().len(), 1, "nothing is needed any more");
    let rig = open(rig.disk, &mut chance);
    assert_eq!((rig.replayed.len(), rig.log.end()), (0, Lsn(800)), "the numbers go on");
}

#[test]
fn segments_that_are_released_together_are_all_used_again() {
    let mut chance = SimEntropy::new(2);
    let mut rig = open(SimDisk::calm(2), &mut chance);
    let (mut lsn, mut prewritten) = (0, Vec::new());
    for _ in 0..24 {
        // As when a memtable is flushed that a few segments were kept for; the next group says so.
        while rig.log.retained_size() < 2 * options().segment_size {
            rig.append(lsn, 2);
            rig.settle().expect("no faults are planned");
            lsn += 1;
        }
        rig.log.release(Lsn(lsn), &mut rig.disk);
        rig.append(lsn, 2);
        rig.settle().expect("no faults are planned");
        lsn += 1;
        rig.log.release(Lsn(lsn - 1), &mut rig.disk);
        prewritten.push(rig.log.prewritten_size());
    }
    // Two are filled in every round. One is new now and then, because it is asked for before others are released.
    let filled = 24 * 2 * options().segment_size;
    assert!(prewritten[23] < filled / 4, "{prewritten:?}");
}

#[test]
fn a_released_segment_stays_until_a_later_one_says_that_it_was_released() {
    let mut damaged = 0;
    for seed in 0..60 {
        let mut chance = SimEntropy::new(seed);
        let mut rig = open(SimDisk::calm(seed), &mut chance);
        (0..5).for_each(|lsn| rig.append(lsn, seed));
        rig.settle().expect("no faults are planned");
        rig.log.release(Lsn(5), &mut rig.disk);
        rig.log.close(&mut rig.disk).expect("a close");
        // Only a small file is left, which says where the numbers go on. Two groups are out when the power goes.
        let mut rig = open(rig.disk, &mut chance);
        rig.log.release(Lsn(5), &mut rig.disk);
        for lsn in 5..7 {
            rig.append(lsn, seed);
            rig.log.pump(&mut rig.disk);
        }
        let finished = rig.disk.next_due().expect("two groups are out");
        rig.disk.clock().advance_to(Nanos(finished.0 + 30_000 * (seed % 4)));
        let only_names = CutBias { name_percent: 100, ..CutBias::LOSE_ALL };
        let left = rig.disk.crash_with(only_names, &mut chance);
        let rig = open(SimDisk::new(&Weather::new(seed), DiskWeather::default(), left), &mut chance);
        damaged += u32::from(rig.log.opened().torn_size > 0);
        assert!((5..=7).contains(&rig.log.end().0), "seed {seed}: {:?}", rig.log.end());
    }
    assert!(damaged > 0, "the second group was never the first to be there");
}

#[test]
fn a_lost_last_group_of_a_segment_takes_with_it_what_was_in_flight_in_the_next() {
    let mut crossed = 0;
    for seed in 0..300 {
        let mut chance = SimEntropy::new(seed);
        let weather = DiskWeather { latency_ns: 50_000..5_000_000, ..DiskWeather::default() };
        let mut rig = open(SimDisk::new(&Weather::new(seed), weather, Image::default()), &mut chance);
        // Groups of one block: the last one of the first segment and the first of the next are out together.
        let end = 10;
        for lsn in 0..end {
            rig.append_bytes(&[lsn as u8; 100]);
            rig.log.pump(&mut rig.disk);
            if lsn < 7 {
                rig.settle().expect("no faults are planned");
            }
        }
        let upto = rig.disk.clock().time().0 + chance.below(5_000_000);
        while rig.disk.clock().time().0 < upto {
            rig.disk.clock().advance(100_000);
            rig.deliver(false).expect("no faults are planned");
        }
        let durable = rig.log.durable().0;
        let left = rig.disk.crash_with(CutBias::LOSE_ALL, &mut chance);
        let mut rig = open(SimDisk::new(&Weather::new(seed), DiskWeather::default(), left), &mut chance);
        let found = rig.log.end().0;
        assert!((durable..=end).contains(&found), "seed {seed}: {durable} were durable, {found} are there");
        crossed += u32::from(found == 7 && rig.log.opened().torn_size > 0);
        // What was dropped is never seen again.
        rig.append_bytes(b"another");
        rig.settle().expect("no faults are planned");
        let rig = open(rig.disk, &mut chance);
        assert_eq!(rig.log.end().0, found + 1, "seed {seed}");
        assert_eq!(rig.replayed.last().map(|(_, _, body)| body.as_slice()), Some(&b"another"[..]), "seed {seed}");
    }
    assert!(crossed > 0, "no story had a gap before a segment");
}

#[test]
fn entries_that_must_be_there_and_are_not_are_reported() {
    let mut chance = SimEntropy::new(2);
    let mut rig = open(SimDisk::calm(2), &mut chance);
    (0..300).for_each(|lsn| rig.append(lsn, 2));
    rig.settle().expect("no faults are planned");
    rig.log.close(&mut rig.disk).expect("a close");
    let image = rig.disk.image();
    for (path, _) in &image.files()[..2] {
        let mut bad = image.clone();
        bad.remove(path);
        let disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), bad);
        let Err((error, _)) = Rig::open(disk, &mut chance) else { panic!("{} is gone", path.display()) };
        assert!(matches!(error, OpenError::Missing { .. } | OpenError::Corrupt { .. }), "{error}");
    }
    let disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image.clone());
    let options = |first| SegLogOptions { expect_first: Some(Lsn(first)), ..support::options() };
    let Err((OpenError::Missing { needed, .. }, disk)) = Rig::open_with(disk, &mut chance, options(301)) else {
        panic!("301 is not there")
    };
    assert_eq!(needed, Lsn(301));
    let rig = Rig::open_with(disk, &mut chance, options(290)).unwrap_or_else(|(error, _)| panic!("{error}"));
    assert_eq!(check_entries(&rig.replayed, 2, "from 290"), (290, 300));
}

#[test]
fn after_a_failed_write_nothing_becomes_durable_any_more() {
    for index in 0..12 {
        for kind in [OpKind::Write, OpKind::SyncDir, OpKind::Allocate, OpKind::Open] {
            println!("{kind:?} {index}");
            let mut chance = SimEntropy::new(index);
            let mut rig = open(SimDisk::calm(index), &mut chance);
            rig.disk.fail_nth(kind, index, Fault::Eio);
            let mut lsn = 0;
            let poisoned = loop {
                rig.append(lsn, index);
                lsn += 1;
                rig.log.pump(&mut rig.disk);
                if rig.log.is_busy()
                    && let Err(poisoned) = rig.deliver(true)
                {
                    break poisoned;
                }
                assert!(lsn < 5000, "it never failed");
            };
            println!("{poisoned}");
            let durable = rig.log.durable();
            assert!(rig.log.is_poisoned());
            rig.log.pump(&mut rig.disk);
            while rig.disk.next_due().is_some() {
                assert!(rig.deliver(true).is_err(), "it stays poisoned");
            }
            assert_eq!(rig.log.durable(), durable);
            assert!(rig.log.close(&mut rig.disk).is_err());
            let image = rig.disk.crash(&mut chance);
            let disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image);
            let rig = open(disk, &mut chance);
            let (_, end) = check_entries(&rig.replayed, index, "after the failure");
            assert!(end >= durable.0 && end <= lsn, "{end}, durable were {durable}");
        }
    }
}

#[test]
fn a_full_disk_makes_entries_wait_and_room_lets_them_go() {
    let mut chance = SimEntropy::new(4);
    let mut rig = open(SimDisk::calm(4), &mut chance);
    rig.disk.set_weather(DiskWeather { capacity: Some(100 << 10), ..DiskWeather::default() });
    let mut lsn = 0;
    while rig.refused.is_empty() {
        rig.append(lsn, 4);
        lsn += 1;
        rig.settle().expect("a full disk does not poison");
        assert!(lsn < 1000, "it never gets full");
    }
    (0..200).for_each(|more| rig.append(lsn + more, 4));
    rig.settle().expect("a full disk does not poison");
    assert!(rig.log.durable() < rig.log.end());
    rig.try_again();
    rig.settle().expect("a full disk does not poison");
    assert!(rig.log.durable() < rig.log.end(), "it is as full as before");

    rig.disk.set_weather(DiskWeather::default());
    rig.try_again();
    rig.settle().expect("no faults are planned");
    assert_eq!(rig.log.durable(), rig.log.end());
    rig.log.close(&mut rig.disk).expect("a close");
    let rig = open(rig.disk, &mut chance);
    assert_eq!(check_entries(&rig.replayed, 4, "after the full disk"), (0, lsn + 200));
}

#[test]
fn small_groups_wait_for_the_one_that_is_written_and_large_ones_do_not() {
    let mut chance = SimEntropy::new(3);
    let disk = SimDisk::new(&Weather::new(3), DiskWeather::default(), Image::default());
    let options = SegLogOptions { beside_size_min: 4_000, ..support::options() };
    let mut rig = Rig::open_with(disk, &mut chance, options).map_err(|(error, _)| error).expect("a new log");
    let groups = |rig: &mut Rig, sizes: &[usize]| {
        let before = rig.log.written().groups;
        for size in sizes {
            rig.append_bytes(&vec![7; *size]);
            rig.log.pump(&mut rig.disk);
        }
        let at_once = rig.log.written().groups - before;
        rig.settle().expect("no faults are planned");
        (at_once, rig.log.written().groups - before)
    };
    assert_eq!(groups(&mut rig, &[100]), (1, 1), "nothing is being written");
    assert_eq!(groups(&mut rig, &[100; 9]), (1, 2), "those of meanwhile make the next group");
    assert_eq!(groups(&mut rig, &[100, 3_000, 3_000]), (2, 2), "together they are worth a write beside the first");
    assert!(rig.log.is_quiet() && !rig.log.would_wait(0));
}

#[test]
fn segments_released_after_the_last_entry_go_without_another_one() {
    let mut chance = SimEntropy::new(3);
    let mut rig = open(SimDisk::calm(3), &mut chance);
    let mut lsn = 0;
    while rig.log.retained_size() < 4 * options().segment_size {
        rig.append(lsn, 3);
        rig.settle().expect("no faults are planned");
        lsn += 1;
    }
    rig.log.idle(&mut rig.disk);
    rig.settle().expect("no faults are planned");
    assert!(rig.log.is_marked(), "it says all there is to say");
    // As when the last memtable is flushed after everything else.
    rig.log.release(Lsn(lsn), &mut rig.disk);
    assert!(!rig.log.is_marked() && !rig.log.can_give_up(), "no group says yet what was released");
    rig.log.idle(&mut rig.disk);
    rig.settle().expect("no faults are planned");
    assert!(rig.log.is_marked() && rig.log.can_give_up());
    rig.log.release(Lsn(lsn), &mut rig.disk);
    assert!(rig.log.retained_size() <= options().segment_size, "{}", rig.log.retained_size());
    assert!(rig.log.is_marked(), "nothing is owed, so nothing more is written");
}
