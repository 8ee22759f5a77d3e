//! A file system that runs full under a running module, and gets space again.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a story is a test")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "stories run on the real machine")]

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tantu::prelude::*;
use tempfile::tempdir;

/// Names the file system of 300 MB to the process that runs in it.
const SMALL_DISK: &str = "TANTU_STORY_SMALL_DISK";
const RECORD_SIZE: usize = 1 << 20;

struct Frames;

impl Module for Frames {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let frames = setup.declare_depot::<Vec<u8>>("*frames", hash_by(|frame: &Vec<u8>| i64::from(frame[0])));
        let mut s = topologies.stream("sizes");
        let sizes = s.pstate::<Map<i64, i64>>("$$sizes");
        s.source(&frames, |b, frame| {
            let kind = b.each(frame, |frame| i64::from(frame[0]));
            let size = b.each(frame, |frame| frame.len() as i64);
            b.compound_agg(sizes, agg::key(kind, agg::sum(size)));
        });
    }
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let block = vec![7; 64 << 10];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_goes_on_within_ten_seconds_of_space() {
    let Some(small) = env::var_os(SMALL_DISK) else { return play_on_a_small_disk() };
    let small = PathBuf::from(small);
    let cluster = InProcessCluster::open(small.join("data")).unwrap();
    cluster.launch::<Frames>(LaunchConfig::new(1, 1)).unwrap();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    let sizes = cluster.pstate::<Map<i64, i64>>("Frames", "$$sizes").unwrap();
    let frame = vec![1u8; RECORD_SIZE];
    let mut taken = 0i64;
    let sum = || sizes.select_one(path().key(1)).unwrap().unwrap_or_default();

    (0..10).for_each(|_| taken += i64::from(frames.append(&frame).is_ok()));
    fill(&small.join("filler"));
    sleep(Duration::from_millis(300));
    let refusal = loop {
        match frames.append(&frame) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "300 MB took {taken} MiB");
    };
    println!("after {taken} MiB: {refusal}");
    assert!(matches!(refusal, ClientError::StorageFull(_)), "{refusal}");
    assert!(refusal.to_string().contains("no space left"), "{refusal}");
    for _ in 0..20 {
        assert!(matches!(frames.append(&frame), Err(ClientError::StorageFull(_))));
        assert_eq!(sum(), taken * RECORD_SIZE as i64, "reads go on");
        sleep(Duration::from_millis(100));
    }

    fs::remove_file(small.join("filler")).unwrap();
    let began = Instant::now();
    while let Err(error) = frames.append(&frame) {
        assert!(matches!(error, ClientError::StorageFull(_)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "space is back for ten seconds, and yet: {error}");
        sleep(Duration::from_millis(10));
    }
    println!("appends are taken again after {} ms", began.elapsed().as_millis());
    for _ in 0..20 {
        frames.append(&frame).unwrap();
    }
    assert_eq!(sum(), (taken + 21) * RECORD_SIZE as i64, "every record taken counts once, none that was refused");
    cluster.close().unwrap();

    let cluster = InProcessCluster::open(small.join("data")).unwrap();
    cluster.launch::<Frames>(LaunchConfig::new(1, 1)).unwrap();
    let sizes = cluster.pstate::<Map<i64, i64>>("Frames", "$$sizes").unwrap();
    assert_eq!(sizes.select_one(path().key(1)).unwrap(), Some((taken + 21) * RECORD_SIZE as i64));
}

/// Runs this test again on a file system of its own, which only that process sees.
fn play_on_a_small_disk() {
    let dir = tempdir().unwrap();
    let script = "mount -t tmpfs -o size=300m none \"$1\" && exec \"$2\" --nocapture";
    let unshare = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).args(args);
        command
    };
    if !unshare(&["true"]).status().is_ok_and(|status| status.success()) {
        println!("left out: this machine gives no process a file system of its own; the simulator's stories cover it");
        return;
    }
    let status = unshare(&["sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(env::current_exe().unwrap())
        .env(SMALL_DISK, dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "the story on the small disk: {status}");
}
