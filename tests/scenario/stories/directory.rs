//! What can happen to a data directory: a second process, a stray file, a bit that turned over.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a story is a test, on the real machine"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tantu::demo::WordCount;
use tantu::prelude::*;
use tantu_scenario::demo::{Demo, Report};
use tantu_scenario::{disk, text};
use tempfile::tempdir;

const TANTU: &str = env!("CARGO_BIN_EXE_tantu");

fn count_of(data: &Path, empty: &Path) -> tantu_scenario::demo::Finished {
    Demo::wordcount(TANTU).everything().data_dir(data).arg(empty).run()
}

#[test]
fn a_second_process_on_the_same_directory_is_told_so() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let file = text::write(dir.path(), "a.txt", 1, 40_000);
    let log = dir.path().join("acks");
    let mut first = Demo::wordcount(TANTU).everything().data_dir(&data).ack_log(&log).arg(&file).spawn();
    let began = Instant::now();
    while fs::metadata(&log).map_or(0, |meta| meta.len()) == 0 && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&file).run();
    first.kill().unwrap();
    first.wait().unwrap();
    second.expect_refusal(&[data.to_str().unwrap(), "another process"]);
}

#[test]
fn a_stray_file_is_left_alone_and_harms_nothing() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let (file, empty) = (text::write(dir.path(), "a.txt", 4, 300), text::write(dir.path(), "empty.txt", 2, 0));
    let before = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&file).report();
    let folders: Vec<PathBuf> = disk::files(&data).iter().map(|file| file.parent().unwrap().to_path_buf()).collect();
    for folder in &folders {
        fs::write(folder.join("notes.txt"), "not ours").unwrap();
    }
    assert_eq!(count_of(&data, &empty).report().top, before.top);
    for folder in &folders {
        assert_eq!(fs::read_to_string(folder.join("notes.txt")).unwrap(), "not ours");
    }
}

/// What the directories below hold: every line of it was acked.
const SEED: u64 = 21;
const LINE_COUNT: usize = 400;

/// A data directory as a clean end leaves it, and one as a crash leaves it: there the logs hold what the trees do not
/// hold yet.
fn directories(dir: &Path) -> (PathBuf, PathBuf) {
    let (live, crashed) = (dir.join("live"), dir.join("crashed"));
    let cluster = InProcessCluster::open(&live).unwrap();
    cluster.launch::<WordCount>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() }).unwrap();
    let lines = cluster.depot::<String>(&WordCount::name(), "*lines").unwrap();
    for line in text::generate(SEED, LINE_COUNT).lines() {
        lines.append(&line.to_string()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    disk::copy(&live, &crashed);
    cluster.close().unwrap();
    (live, crashed)
}

/// Files of one kind share an ending, or a name.
fn kind_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    match name.rsplit_once('.') {
        Some((number, ending)) if number.bytes().all(|byte| byte.is_ascii_digit()) => ending.to_string(),
        _ => name,
    }
}

/// Offsets to try in a file: both ends of what was written, and some between.
fn offsets(file: &Path, random: &mut fastrand::Rng, count: usize) -> Vec<usize> {
    let size = disk::written_size(file);
    let mut offsets: Vec<usize> = (0..count).filter(|_| size > 0).map(|_| random.usize(0..size)).collect();
    offsets.extend((size > 0).then_some([0, size - 1]).into_iter().flatten());
    offsets
}

/// How many flips of a kind of file were tried, and how many of them were refused.
#[derive(Default, Debug)]
struct Flips {
    tried: u32,
    refused: u32,
}

/// Flips bits in every file and opens a copy each time. An open that is refused names the file; one that is not gives
/// counts that `is_right` accepts.
fn flip_everything(data: &Path, seed: u64, is_right: impl Fn(&Report) -> bool) -> BTreeMap<String, Flips> {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempdir().unwrap();
    let empty = text::write(dir.path(), "empty.txt", 2, 0);
    let copy = dir.path().join("copy");
    let open =
        |copy: &Path| Demo::wordcount(TANTU).everything().arg("--tasks").arg("4").data_dir(copy).arg(&empty).run();
    disk::copy(data, &copy);
    assert!(is_right(&open(&copy).report()), "the counts are wrong before any flip");
    let mut by_kind: BTreeMap<String, Flips> = BTreeMap::new();
    for file in disk::files(data) {
        let relative = file.strip_prefix(data).unwrap();
        for at in offsets(&file, &mut random, 2) {
            fs::remove_dir_all(&copy).unwrap();
            disk::copy(data, &copy);
            disk::flip(&copy.join(relative), at, random.u8(..));
            let (run, story) = (open(&copy), format!("seed {seed}: byte {at} of {}", relative.display()));
            let flips = by_kind.entry(kind_of(&file)).or_default();
            flips.tried += 1;
            if run.code == Some(0) {
                println!("{story}: not refused");
                assert!(is_right(&run.report()), "{story}: a wrong count");
            } else {
                flips.refused += 1;
                run.expect_refusal(&[file.file_name().unwrap().to_str().unwrap()]);
            }
        }
    }
    println!("{by_kind:?}");
    by_kind
}

#[test]
fn after_a_clean_end_a_flipped_byte_of_every_kind_of_file_is_found_and_named() {
    let dir = tempdir().unwrap();
    let (clean, _) = directories(dir.path());
    let expected = tantu_model::word::count([text::generate(SEED, LINE_COUNT).as_str()]);
    let by_kind = flip_everything(&clean, 31, |report| report.counts() == expected);
    // The lock holds nothing but the number of a process, for people.
    for kind in ["log", "seg", "table", "manifest", "checkpoint", "module.meta"] {
        let flips = by_kind.get(kind).unwrap_or_else(|| panic!("no file of kind {kind}: {by_kind:?}"));
        assert!(flips.refused > 0, "no flip in a {kind} was found: {by_kind:?}");
    }
}

#[test]
fn after_a_crash_a_flipped_byte_never_loses_an_acked_word() {
    let dir = tempdir().unwrap();
    let (_, crashed) = directories(dir.path());
    let acked = tantu_model::word::count([text::generate(SEED, LINE_COUNT).as_str()]);
    // Records whose progress was not yet on the disk are processed once more, perhaps while the counts are read.
    let is_right = |report: &Report| {
        let counts = report.counts();
        let within =
            |(word, count): (&String, &u64)| counts.get(word).is_some_and(|n| (*count..=2 * count).contains(n));
        counts.len() == acked.len() && acked.iter().all(within)
    };
    let by_kind = flip_everything(&crashed, 32, is_right);
    assert!(by_kind["log"].refused > 0, "no flip in a log was found: {by_kind:?}");
}
