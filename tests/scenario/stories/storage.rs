//! What a person sees who looks at a data directory: a healthy one, a damaged one, one in use, each of its files.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tantu_scenario::demo::{Demo, Finished};
use tantu_scenario::{disk, text};
use tempfile::tempdir;

const TANTU: &str = env!("CARGO_BIN_EXE_tantu");
const MODULE: &str = "modules/WordCount";

fn verify(dir: &Path) -> Finished {
    Demo::verb(TANTU, &["storage", "verify"]).arg(dir).run()
}

fn dump(file: &Path, more: &[&str]) -> Finished {
    more.iter().fold(Demo::verb(TANTU, &["storage", "dump"]).arg(file), |command, arg| command.arg(arg)).run()
}

/// A directory as a clean end leaves it.
fn clean(dir: &Path) -> PathBuf {
    let data = dir.join("clean");
    let file = text::write(dir, "a.txt", 21, 400);
    Demo::wordcount(TANTU).everything().arg("--tasks").arg("4").data_dir(&data).arg(&file).report();
    data
}

/// A directory as `kill -9` leaves it: its logs hold what its trees do not.
fn killed(dir: &Path) -> PathBuf {
    let (data, log) = (dir.join("killed"), dir.join("acks"));
    let file = text::write(dir, "b.txt", 22, 40_000);
    let mut run = Demo::wordcount(TANTU).everything().data_dir(&data).ack_log(&log).arg(&file).spawn();
    wait_for_acks(&log, 2000);
    run.kill().unwrap();
    run.wait().unwrap();
    data
}

fn wait_for_acks(log: &Path, count: usize) {
    let began = Instant::now();
    while fs::read_to_string(log).map_or(0, |acks| acks.lines().count()) < count {
        assert!(began.elapsed() < Duration::from_secs(60), "no acks came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The first file of a kind below a folder.
fn file_of(data: &Path, ending: &str) -> PathBuf {
    let files = disk::files(data);
    files.into_iter().find(|file| file.to_str().unwrap().ends_with(ending)).unwrap_or_else(|| panic!("no {ending}"))
}

/// The findings of a check that ended badly: file, place, sentence.
fn findings(run: &Finished) -> Vec<(PathBuf, u64, String)> {
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let finding = |line: &str| {
        let (file, rest) = line.split_once(':')?;
        let (offset, what) = rest.split_once(": ")?;
        Some((PathBuf::from(file), offset.parse().ok()?, what.to_string()))
    };
    let found: Vec<_> = run.stdout.lines().filter(|line| line.starts_with('/')).filter_map(finding).collect();
    let last = run.stdout.lines().last().unwrap();
    let expected = if found.len() == 1 { "1 finding".to_string() } else { format!("{} findings", found.len()) };
    assert_eq!(last, expected, "{}", run.stdout);
    assert!(run.stdout.matches("\n    remedy: ").count() >= found.len(), "{}", run.stdout);
    found
}

fn expect_healthy(run: &Finished) {
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stdout.lines().last(), Some("healthy"));
}

/// Every file with its bytes and when it was changed last.
fn state(data: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let read = |file: PathBuf| {
        let state = (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap());
        (file, state)
    };
    disk::files(data).into_iter().map(read).collect()
}

#[test]
fn a_directory_is_healthy_after_a_clean_end_and_after_a_kill_and_looking_changes_no_byte() {
    let dir = tempdir().unwrap();
    for data in [clean(dir.path()), killed(dir.path())] {
        let before = state(&data);
        let run = verify(&data);
        expect_healthy(&run);
        for file in disk::files(&data).iter().take(12) {
            dump(file, &["--limit", "2"]);
        }
        assert!(state(&data) == before, "looking at {} changed it", data.display());
    }
    let run = verify(&dir.path().join("clean"));
    for kind in ["module", "checkpoint", "log", "depot", "manifest", "table"] {
        let row = run.stdout.lines().find(|line| line.trim_start().starts_with(kind)).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert!(cells[1].parse::<u64>().unwrap() > 0 && cells[3].parse::<u64>().unwrap() > 0, "{row}");
        assert_eq!(cells.last(), Some(&"0"), "{row}");
    }
}

#[test]
fn one_flipped_bit_in_any_kind_of_file_is_found_and_named_with_its_place() {
    let dir = tempdir().unwrap();
    let data = clean(dir.path());
    let mut random = fastrand::Rng::with_seed(5);
    for ending in [".table", ".manifest", ".seg", ".log", "module.meta", "checkpoint"] {
        let file = file_of(&data, ending);
        let whole = fs::read(&file).unwrap();
        // The last group of a log cannot be told from a torn one: only what is before it is certain to be found.
        let end = if ending == ".log" { 8192 } else { disk::written_size(&file) };
        let places = [0, end / 2, end - 1].into_iter().chain((0..4).map(|_| random.usize(0..end)));
        for at in places.collect::<Vec<_>>() {
            disk::flip(&file, at, random.u8(..));
            let found = findings(&verify(&data));
            let near = |(path, offset, _): &(PathBuf, u64, String)| *path == file && *offset <= at as u64;
            assert!(found.iter().any(near), "byte {at} of {}: {found:?}", file.display());
            fs::write(&file, &whole).unwrap();
        }
    }
    expect_healthy(&verify(&data));
}

#[test]
fn a_flipped_bit_in_a_flushed_group_of_a_log_is_damage_and_a_torn_tail_is_not() {
    let dir = tempdir().unwrap();
    let data = killed(dir.path());
    let log = file_of(&data, "threads/0/log/00000001.log");
    let whole = fs::read(&log).unwrap();
    let groups: Vec<u64> = dump(&log, &["--limit", "0"])
        .stdout
        .lines()
        .filter(|line| line.contains(": group of "))
        .map(|line| line.split(':').next().unwrap().parse().unwrap())
        .collect();
    assert!(groups.len() > 4, "{groups:?}");
    disk::flip(&log, groups[1] as usize + 100, 3);
    let found = findings(&verify(&data));
    assert_eq!((&found[0].0, found[0].1), (&log, groups[1]), "{found:?}");
    let shown = dump(&log, &["--limit", "0"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stdout.contains(&format!("DAMAGED {}: ", groups[1])), "{}", shown.stdout);
    assert!(shown.stdout.contains(&format!("\n{}: group of ", groups[2])), "the dump stopped: {}", shown.stdout);

    fs::write(&log, whole).unwrap();
    disk::flip(&log, *groups.last().unwrap() as usize + 100, 3);
    let run = verify(&data);
    // If the process was killed between two groups, nothing says that the last one was flushed.
    expect_healthy(&run);
    assert!(run.stdout.contains("being written when the process ended"), "{}", run.stdout);
}

#[test]
fn missing_and_cut_files_are_findings() {
    let dir = tempdir().unwrap();
    let data = clean(dir.path());
    for (ending, left) in
        [(".table", None), (".table", Some(4096)), (".seg", None), (".seg", Some(6000)), (".seg", Some(0))]
    {
        let file = file_of(&data, ending);
        let whole = fs::read(&file).unwrap();
        match left {
            None => fs::remove_file(&file).unwrap(),
            Some(left) => fs::write(&file, &whole[..left]).unwrap(),
        }
        let found = findings(&verify(&data));
        let named: Vec<_> = found.iter().filter(|(path, ..)| *path == file).collect();
        assert_eq!(named.len(), found.len(), "{ending} cut to {left:?}: {found:?}");
        let expected = if left.is_some() { "cut short" } else { "missing" };
        assert!(named[0].2.contains(expected) || left == Some(4096), "{found:?}");
        fs::write(&file, whole).unwrap();
    }
    expect_healthy(&verify(&data));
    let log = file_of(&data, ".log");
    fs::remove_file(&log).unwrap();
    let found = findings(&verify(&data));
    assert!(found[0].0 == log.parent().unwrap() && found[0].2.contains("missing"), "{found:?}");
}

#[test]
fn files_that_agree_with_themselves_and_not_with_each_other_are_findings() {
    let dir = tempdir().unwrap();
    let data = clean(dir.path());
    let before = dir.path().join("before");
    disk::copy(&data, &before);
    let more = text::write(dir.path(), "more.txt", 8, 300);
    Demo::wordcount(TANTU).everything().arg("--tasks").arg("4").data_dir(&data).arg(&more).report();
    expect_healthy(&verify(&data));
    // A tree from an older copy is whole, but behind what its thread had noted.
    let tree = data.join(MODULE).join("tasks/1/tree");
    fs::remove_dir_all(&tree).unwrap();
    disk::copy(&before.join(MODULE).join("tasks/1/tree"), &tree);
    let found = findings(&verify(&data));
    let checkpoint = data.join(MODULE).join("threads/1/checkpoint");
    assert!(found.iter().any(|(path, _, what)| *path == checkpoint && what.contains("task 1")), "{found:?}");
    // A table of another tree is in the right place by its name only.
    let (own, other) = (file_of(&data, "tasks/2/tree/00000001.table"), file_of(&data, "tasks/3/tree/00000001.table"));
    fs::copy(&other, &own).unwrap();
    assert!(findings(&verify(&data)).iter().any(|(path, ..)| *path == own));
    // Without a description nothing says what belongs to whom.
    let meta = data.join(MODULE).join("module.meta");
    fs::remove_file(&meta).unwrap();
    assert!(findings(&verify(&data)).iter().any(|(path, ..)| *path == meta));
}

#[test]
fn files_that_are_left_over_or_not_ours_are_notes() {
    let dir = tempdir().unwrap();
    let data = clean(dir.path());
    let table = file_of(&data, ".table");
    let left = [
        table.with_file_name("00000999.table"),
        data.join(MODULE).join("tasks/0/depot/00000777.seg"),
        data.join(MODULE).join("module.new"),
        data.join(MODULE).join("threads/7/log/notes.txt"),
        data.join("strange"),
    ];
    for path in &left {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not read").unwrap();
    }
    let run = verify(&data);
    expect_healthy(&run);
    for path in &left {
        assert!(run.stdout.contains(&format!("note: {}:0: ", path.display())), "{}: {}", path.display(), run.stdout);
    }
    assert_eq!(run.stdout.matches("note: ").count(), left.len(), "{}", run.stdout);
    assert!(run.stdout.contains("this is no file of ours") && run.stdout.contains("nothing names this file"));
}

#[test]
fn a_directory_that_a_live_process_holds_is_refused() {
    let dir = tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("acks"));
    let file = text::write(dir.path(), "a.txt", 1, 40_000);
    let mut live = Demo::wordcount(TANTU).everything().data_dir(&data).ack_log(&log).arg(&file).spawn();
    wait_for_acks(&log, 1);
    let run = verify(&data);
    live.kill().unwrap();
    live.wait().unwrap();
    run.expect_refusal(&[data.to_str().unwrap(), "another process"]);
}

#[test]
fn what_is_no_directory_of_ours_is_refused_and_bad_usage_ends_with_2() {
    let dir = tempdir().unwrap();
    verify(dir.path()).expect_refusal(&[dir.path().to_str().unwrap(), "no data directory"]);
    verify(&dir.path().join("nothing")).expect_refusal(&["nothing"]);
    let stray = text::write(dir.path(), "a.txt", 1, 3);
    verify(&stray).expect_refusal(&["a.txt"]);
    dump(&stray, &[]).expect_refusal(&["a.txt", "no file of a data directory"]);
    dump(&dir.path().join("nothing"), &[]).expect_refusal(&["nothing", "no such file"]);
    for verb in [&["storage", "verify"][..], &["storage", "dump"], &["storage", "dump", "a", "--limit", "many"]] {
        assert_eq!(Demo::verb(TANTU, verb).run().code, Some(2), "{verb:?}");
    }
}

#[test]
fn json_gives_an_object_for_each_finding_and_then_the_summary() {
    let dir = tempdir().unwrap();
    let data = clean(dir.path());
    let table = file_of(&data, ".table");
    disk::flip(&table, 4096 + 50, 1);
    fs::write(data.join("strange"), "not ours").unwrap();
    let run = Demo::verb(TANTU, &["storage", "verify", "--json"]).arg(&data).run();
    assert_eq!(run.code, Some(1));
    let objects: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3, "{}", run.stdout);
    assert_eq!((&objects[0]["severity"], &objects[0]["kind"]), (&"note".into(), &"other".into()));
    assert_eq!((&objects[1]["severity"], &objects[1]["offset"]), (&"damage".into(), &4096.into()));
    assert_eq!(objects[1]["file"], table.to_str().unwrap());
    let summary = &objects[2]["summary"];
    assert_eq!((&summary["healthy"], &summary["findings"], &summary["notes"]), (&false.into(), &1.into(), &1.into()));
    let row = summary["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "table").unwrap();
    assert_eq!(row["damaged"], 1);
}

#[test]
fn every_kind_of_file_is_shown_readably() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("a.txt");
    fs::write(&file, "to be or not to be\n").unwrap();
    let data = dir.path().join("data");
    Demo::wordcount(TANTU)
        .everything()
        .arg("--tasks")
        .arg("1")
        .arg("--threads")
        .arg("1")
        .data_dir(&data)
        .arg(&file)
        .report();
    let expected: [(&str, &[&str]); 6] = [
        (
            "module.meta",
            &[
                "\nmodule WordCount, 1 tasks, 1 threads, checksum ok\n",
                "\ndepot *lines is object 1\n",
                "\nPState $$counts is object 2 schema Map<String, i64>\n",
                "\nsource counter/*lines is object 3\n",
            ],
        ),
        ("checkpoint", &["\nthread 0, checksum ok\n", "\ntask 0 had reached version "]),
        (
            ".log",
            &["\n4096: header, copy 1: task group 0, ", "\n8192: group of 4096 bytes: 0 entries from ", "chain ok\n"],
        ),
        (".manifest", &["\nnumber 2, tree ", "\nlevel 0 run 0: 00000001.table\n"]),
        (
            ".seg",
            &[
                "\n0: header: task 0, segment 1, ",
                "\n4096: chunk of 4096 bytes: *lines from offset 0 ",
                ": \"to be or not to be\"\n",
            ],
        ),
        (
            ".table",
            &[
                "\n  *lines chunk to offset 1 version ",
                "\n  *lines meta version ",
                "\n  $$counts \"be\" version ",
                " = 2    key b\"\\x00\\x00\\x00\\x02@be\\x00\\x01\"\n",
                "\n  counter/*lines version ",
                " = next offset 1, 1 processed ",
            ],
        ),
    ];
    for (ending, parts) in expected {
        let run = dump(&file_of(&data, ending), &[]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        for part in parts {
            assert!(run.stdout.contains(part), "{ending} lacks {part:?}: {}", run.stdout);
        }
    }
    let table = file_of(&data, ".table");
    let cut = dump(&table, &["--limit", "1", "--blocks"]);
    assert!(cut.stdout.contains("\n0: block 0 of 4096 bytes, first key *lines meta\n"), "{}", cut.stdout);
    assert_eq!(cut.stdout.lines().filter(|line| line.starts_with("  ")).count(), 1, "{}", cut.stdout);
    assert!(cut.stdout.ends_with("--limit was reached\n"), "{}", cut.stdout);
    // Away from its module's description a file still shows what it holds, with numbers for names.
    let alone = dir.path().join("00000001.table");
    fs::copy(&table, &alone).unwrap();
    assert!(dump(&alone, &[]).stdout.contains("\n  object 2 \"be\" version "));
}

#[test]
fn a_killed_log_shows_each_change_and_a_dump_goes_on_behind_damaged_units() {
    let dir = tempdir().unwrap();
    let log = file_of(&killed(dir.path()), "threads/0/log/00000001.log");
    let run = dump(&log, &[]);
    let lines = |start: &str| run.stdout.lines().filter(|line| line.starts_with(start)).count();
    assert!(lines("  lsn 0 epoch 1 task ") > 0, "{}", &run.stdout[..2000.min(run.stdout.len())]);
    assert!(lines("    append *lines offset 0: ") > 0 && lines("    put $$counts \"word") > 0);

    let data = clean(dir.path());
    let table = file_of(&data, ".table");
    let (whole, all) = (fs::read(&table).unwrap(), dump(&table, &[]).stdout);
    let entries = |text: &str| text.lines().filter(|line| line.starts_with("  ")).count();
    disk::flip(&table, 4096 + 50, 1);
    let shown = dump(&table, &[]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stdout.contains("\nDAMAGED 4096: block 1 of 4096 bytes: a block has a wrong checksum\n"));
    assert!(shown.stdout.ends_with("\n1 damaged\n") && (1..entries(&all)).contains(&entries(&shown.stdout)));
    // Without its index the blocks are found one by one.
    fs::write(&table, &whole).unwrap();
    disk::flip(&table, whole.len() - 5000, 1);
    let shown = dump(&table, &[]);
    assert_eq!(shown.code, Some(1));
    assert_eq!(entries(&shown.stdout), entries(&all), "{}", shown.stdout);

    let segment = file_of(&data, ".seg");
    disk::flip(&segment, 4096 + 50, 1);
    let shown = dump(&segment, &[]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stdout.contains("\nDAMAGED 4096: "), "{}", shown.stdout);
}
