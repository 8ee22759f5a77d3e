//! Input that cannot be counted: one clear sentence before anything is appended.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::fs;
use std::path::Path;
use tantu_scenario::demo::Demo;
use tantu_scenario::text;
use tempfile::tempdir;

const TANTU: &str = env!("CARGO_BIN_EXE_tantu");

/// Runs a good file and a bad one on a directory that holds counts already; the counts must stay.
fn expect_nothing_appended(bad: &Path, parts: &[&str]) {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let good = text::write(dir.path(), "good.txt", 2, 40);
    let empty = text::write(dir.path(), "empty.txt", 2, 0);
    let log = dir.path().join("acks");
    let before = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&good).report();
    let refused = Demo::wordcount(TANTU).everything().data_dir(&data).ack_log(&log).arg(&good).arg(bad).run();
    refused.expect_refusal(parts);
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
    let after = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&empty).report();
    assert_eq!((after.lines_appended, after.top), (0, before.top));
}

#[test]
fn a_file_that_is_not_utf8_is_named_with_the_byte() {
    let dir = tempdir().unwrap();
    let bad = dir.path().join("latin1.txt");
    let mut bytes = "żółw\n".repeat(20_000).into_bytes();
    let at = bytes.len() - 3;
    bytes[at] = 0xE9;
    fs::write(&bad, &bytes).unwrap();
    let offset = std::str::from_utf8(&bytes).unwrap_err().valid_up_to();
    expect_nothing_appended(&bad, &["latin1.txt", "UTF-8", &format!("byte {offset}")]);
}

#[test]
fn a_file_that_ends_inside_a_letter_is_named_with_the_byte() {
    let dir = tempdir().unwrap();
    let bad = dir.path().join("cut.txt");
    fs::write(&bad, b"fine \xC5").unwrap();
    expect_nothing_appended(&bad, &["cut.txt", "UTF-8", "byte 5"]);
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempdir().unwrap();
    expect_nothing_appended(&dir.path().join("nowhere.txt"), &["nowhere.txt", "no such file"]);
}

#[test]
fn a_directory_is_named() {
    let dir = tempdir().unwrap();
    let bad = dir.path().join("folder");
    fs::create_dir(&bad).unwrap();
    expect_nothing_appended(&bad, &["folder", "directory"]);
}

#[test]
fn a_line_longer_than_a_record_is_named() {
    let dir = tempdir().unwrap();
    let bad = dir.path().join("long.txt");
    fs::write(&bad, format!("short\n{}\n", "x".repeat(9 << 20))).unwrap();
    expect_nothing_appended(&bad, &["long.txt", "line 2"]);
}

#[test]
fn a_number_of_tasks_that_is_not_a_power_of_two_is_refused() {
    let dir = tempdir().unwrap();
    let good = text::write(dir.path(), "good.txt", 2, 5);
    for (tasks, threads, part) in [("6", "2", "power of two"), ("2", "4", "threads"), ("0", "1", "tasks")] {
        let run = Demo::wordcount(TANTU).everything().arg("--tasks").arg(tasks).arg("--threads").arg(threads);
        run.arg(&good).run().expect_refusal(&[part]);
    }
}

#[test]
fn another_number_of_tasks_on_the_same_directory_is_refused() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let good = text::write(dir.path(), "good.txt", 2, 5);
    let before = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&good).report();
    let other = Demo::wordcount(TANTU).everything().data_dir(&data).arg("--tasks").arg("4").arg(&good).run();
    other.expect_refusal(&["8 tasks for ever, and 4 were asked for: launch it with 8, or use another directory"]);
    let empty = text::write(dir.path(), "empty.txt", 2, 0);
    assert_eq!(Demo::wordcount(TANTU).everything().data_dir(&data).arg(&empty).report().top, before.top);
}

#[test]
fn without_a_number_of_tasks_a_directory_keeps_its_own() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let good = text::write(dir.path(), "good.txt", 2, 5);
    Demo::wordcount(TANTU).everything().data_dir(&data).arg("--tasks").arg("4").arg(&good).report();
    let again = Demo::wordcount(TANTU).everything().data_dir(&data).arg(&good).report();
    assert!(again.top.iter().all(|(_, count)| count % 2 == 0), "every line twice: {:?}", again.top);
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let run = Demo::wordcount(TANTU).arg("--no-such-option").run();
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--no-such-option"), "{}", run.stderr);
}
