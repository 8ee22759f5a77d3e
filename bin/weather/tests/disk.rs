//! The simulated disk keeps every promise of the disk door, and breaks everything that is no promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
use std::collections::BTreeSet;
use std::path::PathBuf;
use tantu_base::buf::Buf;
use tantu_base::door::{Clock, Disk, DiskDone, DiskFault, DiskOp, DiskReply, FileId, OpenMode, Token, call};
use tantu_weather::{CutBias, DiskWeather, Fault, Image, OpKind, SimDisk, SimEntropy, Weather, mark};

fn block(fill: u8) -> Buf {
    Buf::from(&[fill; 4096][..])
}

fn open(disk: &mut SimDisk, path: &str, mode: OpenMode) -> FileId {
    match call(disk, DiskOp::Open { path: path.into(), mode }) {
        Ok(DiskReply::Opened { file, .. }) => file,
        other => panic!("{other:?}"),
    }
}

fn write(disk: &mut SimDisk, file: FileId, offset: u64, fill: u8, durable: bool) {
    call(disk, DiskOp::Write { file, offset, buf: block(fill), durable }).unwrap();
}

fn drain(disk: &mut SimDisk, count: usize) -> Vec<DiskDone> {
    let mut done = Vec::new();
    while done.len() < count {
        disk.wait();
        disk.reap(&mut done);
    }
    done
}

fn token(tag: u32) -> Token {
    Token { owner: 1, tag }
}

/// A disk with the durable empty file `d/f`, open.
fn with_file(seed: u64) -> (SimDisk, FileId) {
    let mut disk = SimDisk::calm(seed);
    call(&mut disk, DiskOp::MakeDir { path: "d".into() }).unwrap();
    let file = open(&mut disk, "d/f", OpenMode::Create);
    call(&mut disk, DiskOp::SyncDir { path: "d".into() }).unwrap();
    (disk, file)
}

#[test]
fn what_was_flushed_survives_every_cut_and_what_was_not_can_vanish() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..200 {
        let (mut disk, file) = with_file(seed);
        write(&mut disk, file, 0, 1, true);
        write(&mut disk, file, 4096, 2, false);
        call(&mut disk, DiskOp::Sync { file }).unwrap();
        write(&mut disk, file, 8192, 3, false);
        let left = disk.crash(&mut SimEntropy::new(seed)).read("d/f").unwrap();
        assert_eq!(left[..8192], [[1; 4096], [2; 4096]].concat(), "seed {seed}");
        match left.get(8192..) {
            Some(tail) if tail == [3; 4096] => kept += 1,
            _ => lost += 1,
        }
    }
    assert!(lost > 30 && kept > 30, "lost {lost}, kept {kept}");
}

#[test]
fn an_overwrite_in_flight_leaves_old_and_new_sectors_mixed() {
    let mut marks = BTreeSet::new();
    for seed in 0..200 {
        let (mut disk, file) = with_file(seed);
        write(&mut disk, file, 0, 1, true);
        disk.submit(token(1), DiskOp::Write { file, offset: 0, buf: block(2), durable: true });
        let left = disk.crash(&mut SimEntropy::new(seed)).read("d/f").unwrap();
        assert!(left.iter().all(|byte| [1, 2].contains(byte)));
        let sectors: BTreeSet<_> = left.chunks(512).map(|sector| (sector.contains(&1), sector.contains(&2))).collect();
        marks.extend(sectors);
        disk.world().marks.assert_all_hit(&[mark::POWER_CUT]);
    }
    assert_eq!(marks.len(), 3, "old, new and torn sectors: {marks:?}");
}

#[test]
fn a_flush_does_not_cover_a_write_that_finishes_while_it_runs() {
    let mut lost = 0;
    for seed in 0..60 {
        let (mut disk, file) = with_file(seed);
        disk.submit(token(1), DiskOp::Sync { file });
        disk.submit(token(2), DiskOp::Write { file, offset: 0, buf: block(7), durable: false });
        drain(&mut disk, 2);
        lost +=
            u32::from(disk.crash_with(CutBias::LOSE_ALL, &mut SimEntropy::new(seed)).read("d/f").unwrap().is_empty());
    }
    assert_eq!(lost, 60);
}

#[test]
fn a_name_is_safe_only_after_its_directory_was_flushed() {
    let (mut disk, file) = with_file(1);
    write(&mut disk, file, 0, 1, true);
    open(&mut disk, "d/g", OpenMode::Create);
    call(&mut disk, DiskOp::Rename { from: "d/f".into(), to: "d/h".into() }).unwrap();
    let names = |image: &Image| image.files().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(names(&disk.image()), [PathBuf::from("d/g"), "d/h".into()]);
    let lost = disk.crash_with(CutBias::LOSE_ALL, &mut SimEntropy::new(1));
    assert_eq!(names(&lost), [PathBuf::from("d/f")]);
    call(&mut disk, DiskOp::SyncDir { path: "./d".into() }).unwrap();
    let kept = disk.crash_with(CutBias::LOSE_ALL, &mut SimEntropy::new(1));
    assert_eq!(names(&kept), [PathBuf::from("d/g"), "d/h".into()]);
    assert_eq!(kept.read("d/h").unwrap(), [1; 4096]);
    disk.world().marks.assert_all_hit(&[mark::LOST_NAME]);
}

#[test]
fn requests_finish_in_any_order_and_each_once() {
    let (mut disk, file) = with_file(3);
    for tag in 0..50 {
        disk.submit(
            token(tag),
            DiskOp::Write { file, offset: u64::from(tag) * 4096, buf: block(tag as u8), durable: false },
        );
    }
    let before = disk.clock().now();
    let tags: Vec<u32> = drain(&mut disk, 50).iter().map(|done| done.token.tag).collect();
    assert!(!tags.is_sorted());
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), 50);
    assert!(disk.clock().now() > before, "a wait takes virtual time");
    disk.world().marks.assert_all_hit(&[mark::REORDERED_REQUEST]);
    match call(&mut disk, DiskOp::Read { file, offset: 49 * 4096, buf: Buf::zeroed(8192) }) {
        Ok(DiskReply::Read { buf, len }) => assert_eq!((len, &buf[..len]), (4096, &[49; 4096][..])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn planned_and_drawn_faults_come_and_are_named() {
    let (mut disk, file) = with_file(4);
    let write = |disk: &mut SimDisk, offset| call(disk, DiskOp::Write { file, offset, buf: block(1), durable: true });
    disk.fail_nth(OpKind::Write, 1, Fault::Eio);
    write(&mut disk, 0).unwrap();
    let error = write(&mut disk, 4096).unwrap_err();
    assert_eq!(
        (error.op, error.path.to_str(), error.offset, error.fault),
        ("write", Some("d/f"), Some(4096), DiskFault::Os(5))
    );
    assert_eq!(disk.faults_outstanding(), 0);
    disk.fail_all(OpKind::Sync, Some(Fault::Eio));
    call(&mut disk, DiskOp::Sync { file }).unwrap_err();
    call(&mut disk, DiskOp::Sync { file }).unwrap_err();
    disk.fail_all(OpKind::Sync, None);
    call(&mut disk, DiskOp::Sync { file }).unwrap();
    disk.set_weather(DiskWeather { capacity: Some(3 * 4096), eio_read_ppm: 500_000, ..DiskWeather::default() });
    write(&mut disk, 8192).unwrap();
    assert_eq!(write(&mut disk, 12288).unwrap_err().fault, DiskFault::Full);
    assert_eq!(call(&mut disk, DiskOp::Allocate { file, len: 12289 }).unwrap_err().fault, DiskFault::Full);
    write(&mut disk, 4096).expect("overwriting needs no room");
    let read = |disk: &mut SimDisk| call(disk, DiskOp::Read { file, offset: 0, buf: Buf::zeroed(4096) }).is_ok();
    let failed = (0..100).filter(|_| !read(&mut disk)).count();
    assert!((30..70).contains(&failed));
    let slow = DiskWeather { slow_ppm: 1_000_000, ..DiskWeather::default() };
    disk.set_weather(slow);
    let before = disk.clock().now();
    assert!(read(&mut disk));
    assert!(disk.clock().now().since(before) >= 50_000_000);
    disk.world().marks.assert_all_hit(&[
        mark::EIO_READ,
        mark::EIO_WRITE,
        mark::EIO_FLUSH,
        mark::ENOSPC,
        mark::SLOW_REQUEST,
    ]);
    let missing = call(&mut disk, DiskOp::Open { path: "d/none".into(), mode: OpenMode::Read }).unwrap_err();
    assert_eq!(missing.fault, DiskFault::NotFound);
    let there = call(&mut disk, DiskOp::Open { path: "d/f".into(), mode: OpenMode::Create }).unwrap_err();
    assert_eq!(there.fault, DiskFault::Exists);
}

#[test]
fn after_the_stop_nothing_happens_and_blocking_calls_end() {
    let (mut disk, file) = with_file(5);
    disk.stop_at(disk.submitted() + 1);
    disk.submit(token(1), DiskOp::Write { file, offset: 0, buf: block(1), durable: true });
    assert!(!disk.crashed());
    disk.submit(token(2), DiskOp::Write { file, offset: 4096, buf: block(2), durable: true });
    assert!(disk.crashed());
    disk.clock().advance(1_000_000_000);
    let mut done = Vec::new();
    disk.reap(&mut done);
    assert!(done.is_empty() && disk.next_due().is_none());
    let mut lens = BTreeSet::new();
    for seed in 0..50 {
        lens.insert(disk.crash(&mut SimEntropy::new(seed)).read("d/f").unwrap().len());
    }
    assert_eq!(lens, BTreeSet::from([0, 4096]), "the first write was in flight, the second never happened");
    disk.wait();
    disk.reap(&mut done);
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|done| done.result.is_err()));
    call(&mut disk, DiskOp::Sync { file }).unwrap_err();
}

#[test]
fn a_kill_keeps_what_finished_but_a_later_power_cut_can_still_take_it() {
    let (mut disk, file) = with_file(6);
    write(&mut disk, file, 0, 1, false);
    let image = disk.kill(&mut SimEntropy::new(1));
    assert_eq!(image.read("d/f").unwrap(), [1; 4096]);
    let mut disk = SimDisk::new(&Weather::new(7), DiskWeather::default(), image);
    let file = open(&mut disk, "d/f", OpenMode::ReadWrite);
    assert_eq!(disk.crash_with(CutBias::LOSE_ALL, &mut SimEntropy::new(1)).read("d/f").unwrap(), []);
    call(&mut disk, DiskOp::Sync { file }).unwrap();
    assert_eq!(disk.crash_with(CutBias::LOSE_ALL, &mut SimEntropy::new(1)).read("d/f").unwrap(), [1; 4096]);
}

#[test]
fn every_door_gets_its_own_answers_from_the_same_files() {
    let (mut disk, _) = with_file(8);
    let mut other = disk.another();
    let file = open(&mut other, "d/f", OpenMode::ReadWrite);
    other.submit(token(1), DiskOp::Write { file, offset: 0, buf: block(9), durable: false });
    disk.submit(token(2), DiskOp::List { path: "d".into() });
    assert_eq!(drain(&mut other, 1)[0].token, token(1));
    assert_eq!(drain(&mut disk, 1)[0].token, token(2));
    match call(&mut disk, DiskOp::List { path: "d".into() }) {
        Ok(DiskReply::Names(names)) => assert_eq!(names, [("f".to_string(), 4096)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_the_same_files() {
    let run = |seed: u64| {
        let (mut disk, file) = with_file(seed);
        disk.set_weather(DiskWeather { eio_write_ppm: 100_000, slow_ppm: 100_000, ..DiskWeather::default() });
        for tag in 0..40 {
            let durable = tag % 3 == 0;
            disk.submit(
                token(tag),
                DiskOp::Write { file, offset: u64::from(tag % 7) * 4096, buf: block(tag as u8), durable },
            );
            if tag % 5 == 0 {
                let mut done = Vec::new();
                disk.wait();
                disk.reap(&mut done);
            }
        }
        (disk.trace().hash(), disk.crash(&mut SimEntropy::new(seed)).digest())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11).0, run(12).0);
}

#[test]
#[should_panic(expected = "closed under its requests")]
fn closing_a_file_under_its_requests_is_a_bug() {
    let (mut disk, file) = with_file(9);
    disk.submit(token(1), DiskOp::Sync { file });
    disk.submit(token(2), DiskOp::Close { file });
}

#[test]
fn a_fault_from_a_certain_request_on_stays_until_it_is_healed() {
    let (mut disk, file) = with_file(6);
    disk.fail_from(OpKind::Write, 1, Fault::Os(125));
    let write = |disk: &mut SimDisk| call(disk, DiskOp::Write { file, offset: 0, buf: block(1), durable: true });
    write(&mut disk).unwrap();
    assert_eq!(disk.faults_outstanding(), 1);
    for _ in 0..3 {
        assert_eq!(write(&mut disk).unwrap_err().fault, DiskFault::Os(125));
        assert_eq!(disk.faults_outstanding(), 0);
    }
    disk.fail_all(OpKind::Write, None);
    write(&mut disk).unwrap();
}

#[test]
fn a_short_read_gives_fewer_bytes_than_there_are_once() {
    let (mut disk, file) = with_file(7);
    write(&mut disk, file, 0, 1, true);
    let read = |disk: &mut SimDisk| match call(disk, DiskOp::Read { file, offset: 0, buf: Buf::zeroed(4096) }) {
        Ok(DiskReply::Read { len, .. }) => len,
        other => panic!("{other:?}"),
    };
    disk.fail_nth(OpKind::Read, 0, Fault::Short);
    assert!(read(&mut disk) < 4096);
    assert_eq!(read(&mut disk), 4096);
    assert_eq!(disk.world().marks.count(mark::SHORT_READ), 1);
}
