//! The word count a newcomer runs first: what it prints is what an independent count says.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tantu_scenario::demo::{Demo, Report};
use tantu_scenario::{disk, text};
use tempfile::tempdir;

const TANTU: &str = env!("CARGO_BIN_EXE_tantu");

/// Asserts that a report says, `times` over, what a count of the texts says.
fn expect_counts(report: &Report, texts: &[String], times: u64) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        for (word, count) in tantu_model::word::count([text.as_str()]) {
            *expected.entry(word).or_default() += count * times;
        }
    }
    assert_eq!(report.counts(), expected);
    assert_eq!(report.words, expected.values().sum::<u64>());
    assert_eq!(report.distinct, expected.len() as u64);
    assert_eq!(report.lines_appended, texts.iter().map(|text| text::line_count(text)).sum::<u64>());
}

#[test]
fn the_counts_equal_an_independent_count_and_double_on_a_second_run() {
    let dir = tempdir().unwrap();
    let mut texts: Vec<String> = [11, 12].iter().map(|seed| text::generate(*seed, 3000)).collect();
    texts.extend(["", "\n", "\n\n", "one line without an end", " \t\x0b\x0c\r \n", "a\r\nb\r\n"].map(str::to_string));
    let mut demo = Demo::wordcount(TANTU).everything().data_dir(&dir.path().join("data"));
    for (index, text) in texts.iter().enumerate() {
        let path = dir.path().join(format!("{index}.txt"));
        fs::write(&path, text).unwrap();
        demo = demo.arg(&path);
    }
    for times in 1..=3 {
        expect_counts(&demo.report(), &texts, times);
    }
}

#[test]
fn every_number_of_tasks_and_threads_counts_the_same() {
    let dir = tempdir().unwrap();
    let text = text::generate(5, 300);
    let file = dir.path().join("a.txt");
    fs::write(&file, &text).unwrap();
    for (tasks, threads) in [("1", "1"), ("4", "3"), ("16", "4")] {
        let demo = Demo::wordcount(TANTU).everything().arg("--tasks").arg(tasks).arg("--threads").arg(threads);
        expect_counts(&demo.arg(&file).report(), std::slice::from_ref(&text), 1);
    }
}

#[test]
fn the_top_words_come_by_count_and_then_by_word() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("a.txt");
    fs::write(&file, "b b b\nc a\na c z\n").unwrap();
    let report = Demo::wordcount(TANTU).arg("--json").arg("--top").arg("3").arg(&file).report();
    let top: Vec<_> = report.top.iter().map(|(word, count)| (word.as_str(), *count)).collect();
    assert_eq!(top, [("b", 3), ("a", 2), ("c", 2)]);
    assert_eq!((report.words, report.distinct, report.lines_appended), (8, 4, 3));
}

#[test]
fn demo_alone_is_the_word_count_and_prints_a_table() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("a.txt");
    fs::write(&file, "only these these words\n").unwrap();
    let short = Demo::verb(TANTU, &["demo"]).arg(&file).run();
    assert_eq!(short.code, Some(0), "{}", short.stderr);
    let row = short.stdout.lines().find(|line| line.contains("these")).expect("a row for the top word");
    assert!(row.contains('2'), "{row}");
    assert!(
        !short.stderr.contains('\r') && !short.stderr.contains('\x1b'),
        "a bar without a terminal: {:?}",
        short.stderr
    );
    let json = Demo::verb(TANTU, &["demo"]).arg("--json").arg(&file).report();
    assert_eq!(json.words, 4);
}

#[test]
fn without_files_it_reads_the_licence_texts_and_says_so() {
    let folder = Path::new("/usr/share/common-licenses");
    let run = Demo::wordcount(TANTU).everything().run();
    if !folder.is_dir() {
        run.expect_refusal(&["file"]);
        return;
    }
    assert!(run.stderr.contains("/usr/share/common-licenses"), "{}", run.stderr);
    let plain = |path: &Path| fs::symlink_metadata(path).unwrap().is_file();
    let files = disk::files(folder).into_iter().filter(|path| plain(path));
    let texts: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    expect_counts(&run.report(), &texts, 1);
}

#[test]
fn without_a_data_directory_nothing_is_left_behind() {
    let dir = tempdir().unwrap();
    let temp = dir.path().join("temp");
    fs::create_dir(&temp).unwrap();
    let file = text::write(dir.path(), "a.txt", 3, 50);
    Demo::wordcount(TANTU).everything().temp_dir(&temp).arg(&file).report();
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
}

#[test]
fn the_ack_log_names_every_line_once_in_order() {
    let dir = tempdir().unwrap();
    let (first, second) = (text::write(dir.path(), "a.txt", 3, 70), text::write(dir.path(), "b.txt", 4, 30));
    let log = dir.path().join("acks");
    fs::write(&log, "kept\t1\n").unwrap();
    Demo::wordcount(TANTU).everything().ack_log(&log).arg(&first).arg(&second).report();
    let logged = fs::read_to_string(&log).unwrap();
    let mut lines: Vec<&str> = logged.lines().collect();
    assert_eq!(lines.remove(0), "kept\t1", "the log is appended to");
    let expected =
        |path: &Path, count| (1..=count).map(move |line| format!("{}\t{line}", path.display())).collect::<Vec<_>>();
    assert_eq!(lines, [expected(&first, 71), expected(&second, 30)].concat());
}

#[test]
fn the_help_names_every_option_of_the_word_count() {
    let help = Demo::wordcount(TANTU).arg("--help").run();
    assert_eq!(help.code, Some(0));
    for option in ["--data-dir", "--tasks", "--threads", "--top", "--json", "--ack-log", "FILE"] {
        assert!(help.stdout.contains(option), "{option} is missing from: {}", help.stdout);
    }
}
