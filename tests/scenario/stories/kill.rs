//! `kill -9` at any moment: no line that was acked is lost, nothing needs repair.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tantu_scenario::demo::{Demo, Report};
use tantu_scenario::text;
use tempfile::tempdir;

const TANTU: &str = env!("CARGO_BIN_EXE_tantu");
const KILLS: usize = 6;

/// The words of the lines that a log says were acked; a last line without its end was being written.
fn acked(log: &Path, input: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = input.split_terminator('\n').collect();
    let log = fs::read_to_string(log).unwrap_or_default();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut counts = BTreeMap::new();
    for entry in whole.lines() {
        let line: usize = entry.rsplit('\t').next().unwrap().parse().unwrap();
        for (word, count) in tantu_model::word::count([lines[line - 1]]) {
            *counts.entry(word).or_default() += count;
        }
    }
    counts
}

fn expect_at_least(report: &Report, expected: &BTreeMap<String, u64>, story: &str) {
    let counts = report.counts();
    for (word, count) in expected {
        let counted = counts.get(word).copied().unwrap_or(0);
        assert!(counted >= *count, "{story}: {word:?} was acked {count} times and counted {counted} times");
    }
}

/// Waits until a run has had some acks and then a little longer, so that the kill comes in the middle of its work.
fn wait_for_work(log: &Path, before: u64, extra: Duration) {
    let began = Instant::now();
    let size = || fs::metadata(log).map_or(0, |meta| meta.len());
    while size() <= before && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(extra);
}

#[test]
fn every_acked_line_is_counted_after_kill_9_at_any_moment() {
    let seed = std::env::var("TANTU_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (replay with TANTU_SEED={seed})");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("acks"));
    let input = text::generate(seed, 60_000);
    let file = dir.path().join("a.txt");
    fs::write(&file, &input).unwrap();
    let empty = text::write(dir.path(), "empty.txt", 2, 0);
    let (mut working, mut last) = (0, BTreeMap::new());
    for round in 0..KILLS {
        let before = fs::metadata(&log).map_or(0, |meta| meta.len());
        let mut run = Demo::wordcount(TANTU).everything().data_dir(&data).ack_log(&log).arg(&file).spawn();
        let extra = Duration::from_micros(random.u64(0..400_000));
        if round % 3 == 2 {
            std::thread::sleep(extra);
        } else {
            wait_for_work(&log, before, extra);
        }
        working += usize::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        let story = format!("seed {seed}, round {round}, killed {extra:?} after its first ack");
        let report = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&empty).report();
        assert_eq!(report.lines_appended, 0);
        expect_at_least(&report, &acked(&log, &input), &story);
        expect_at_least(&report, &last, &story);
        last = report.counts();
    }
    assert!(working >= KILLS / 2, "seed {seed}: only {working} of {KILLS} kills came while there was work");
    assert!(!acked(&log, &input).is_empty(), "seed {seed}: nothing was ever acked");
}

#[test]
fn a_kill_in_the_middle_of_a_restart_loses_nothing() {
    let seed = 7;
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let file = text::write(dir.path(), "a.txt", seed, 5_000);
    let empty = text::write(dir.path(), "empty.txt", 2, 0);
    let first = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&file).report();
    for round in 0..8 {
        let mut run = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&empty).spawn();
        std::thread::sleep(Duration::from_micros(random.u64(0..150_000)));
        run.kill().unwrap();
        run.wait().unwrap();
        let report = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&empty).report();
        assert_eq!(report.counts(), first.counts(), "seed {seed}, round {round}");
    }
}
