//! `kill -9` at any moment: each record that always fails becomes one dead letter, all others are processed, and a clock strikes on.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a story is a test, on the real machine, whose processes talk by their output"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tantu::prelude::*;
use tantu_model::letters::{Dead, Processed, judge};
use tantu_model::tick;

/// Tells the test binary that it is the process to be killed, or the one that looks afterwards.
const ROLE: &str = "TANTU_KILL_LETTERS_ROLE";
const KILLS: u64 = 5;
const TASKS: u32 = 4;
const TRIES: u32 = 2;
/// Between two strikes.
const PERIOD: Duration = Duration::from_millis(10);

fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Every ninth number always fails: half of those where they start, the others on the task of their number, after a write.
fn is_poison(number: i64) -> bool {
    number % 9 == 0
}

struct Mill;

impl Module for Mill {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let strikes = setup.declare_depot::<i64>("*strikes", disallow());
        let ticks = setup.declare_tick_depot("*ticks", PERIOD);
        let mut mill = topologies.stream("mill");
        let done = mill.pstate::<Map<i64, i64>>("$$done");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        mill.source_with(&numbers, all.dead_letter_after(TRIES), |b, number| {
            b.assert(number, |number| !is_poison(number) || number % 2 == 0, "it fails where it starts");
            b.hash_partition(number);
            b.compound_agg(done, agg::key(number, agg::count()));
            b.assert(number, |number| !is_poison(number), "it fails after a write");
        });
        topologies.stream("clock").source(&ticks, |b, tick| {
            let at = b.each(tick, |_| wall_us() as i64);
            b.depot_partition_append(strikes, at, AckLevel::None);
        });
    }
}

fn spawn(role: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(ROLE, format!("{role} {}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the test beside it starts it"]
fn the_process_that_is_killed() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, dir) = role.split_once(' ').unwrap();
    let cluster = InProcessCluster::open(Path::new(dir)).unwrap();
    cluster.launch::<Mill>(LaunchConfig::new(TASKS, 2)).unwrap();
    match role.parse::<i64>() {
        Ok(first) => append_for_ever(&cluster, first),
        Err(_) => {
            tell(&cluster);
            cluster.close().unwrap();
            println!("that is all");
        }
    }
}

fn append_for_ever(cluster: &InProcessCluster, first: i64) {
    let numbers = cluster.depot::<i64>("Mill", "*numbers").unwrap();
    let mut pending = VecDeque::new();
    for number in first.. {
        pending.push_back((number, numbers.append_async(&number, AckLevel::AppendAck).unwrap()));
        if pending.len() < 32 {
            continue;
        }
        let (number, answer) = pending.pop_front().unwrap();
        answer.wait().unwrap();
        writeln!(std::io::stdout().lock(), "acked {number}").unwrap();
        // Few enough that the clock and the failures have their share.
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn read_all<T: Decode + Encode>(depot: &Depot<T>) -> Vec<(u32, u64, T)> {
    let one = |partition: u32| {
        let ends = depot.offsets(partition).unwrap();
        let records = depot.read(partition, ends.start, ends.end).unwrap();
        (ends.start.0..).zip(records).map(move |(offset, record)| (partition, offset, record)).collect::<Vec<_>>()
    };
    (0..depot.partition_count()).flat_map(one).collect()
}

/// Waits until every number is processed or given up, and says what there is.
fn tell(cluster: &InProcessCluster) {
    let numbers = cluster.depot::<i64>("Mill", "*numbers").unwrap();
    let done = cluster.pstate::<Map<i64, i64>>("Mill", "$$done").unwrap();
    let dead = cluster.dead_letters("Mill").unwrap();
    let began = Instant::now();
    loop {
        std::thread::sleep(PERIOD * 10);
        let all = read_all(&numbers);
        let processed: BTreeMap<i64, i64> =
            (0..TASKS).flat_map(|task| done.select_on(task, path().all()).unwrap()).collect();
        let letters = read_all(&dead);
        let gone: BTreeSet<(u32, u64)> =
            letters.iter().map(|(_, _, letter)| (letter.partition, letter.offset)).collect();
        let is_over = |(partition, offset, number): &(u32, u64, i64)| {
            processed.contains_key(number) || gone.contains(&(*partition, *offset))
        };
        if !all.iter().all(is_over) && began.elapsed() < Duration::from_secs(30) {
            continue;
        }
        for (partition, offset, number) in all {
            println!("number {partition} {offset} {number} {}", processed.get(&number).copied().unwrap_or_default());
        }
        for (found_in, _, letter) in letters {
            let DeadLetter { partition, offset, tries, .. } = letter;
            println!("dead {found_in} {partition} {offset} {tries} {}", letter.record::<i64>().unwrap());
        }
        let strikes = cluster.depot::<i64>("Mill", "*strikes").unwrap();
        read_all(&strikes).iter().for_each(|(partition, _, at)| println!("strike {partition} {at}"));
        return;
    }
}

/// What a process said in its lines that begin with a word: the numbers behind it.
fn said(text: &str, word: &str) -> Vec<Vec<u64>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    lines.map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect()
}

#[test]
fn each_record_that_always_fails_is_one_dead_letter_and_the_clock_strikes_on_after_kill_9_at_any_moment() {
    let seed = std::env::var("TANTU_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (replay with TANTU_SEED={seed})");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut births, mut acked) = (Vec::new(), BTreeSet::new());
    for round in 0..KILLS {
        births.push(wall_us());
        let mut child = spawn(&(round * 1_000_000 + 1).to_string(), dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Dies some time after its first answer.
        let told: Vec<String> =
            lines.by_ref().map_while(Result::ok).skip_while(|line| !line.starts_with("acked")).take(1).collect();
        std::thread::sleep(Duration::from_micros(random.u64(0..500_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let text: Vec<String> = told.into_iter().chain(lines.map_while(Result::ok)).collect();
        acked.extend(said(&text.join("\n"), "acked").into_iter().flatten());

        births.push(wall_us());
        let output = spawn("tell", dir.path()).wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let story = format!("seed {seed}, round {round}");
        assert!(output.status.success() && text.contains("that is all"), "{story}: {text}");
        check(&text, &acked, &births, &story);
    }
    assert!(acked.len() > 20, "seed {seed}: only {} numbers were acknowledged", acked.len());
}

fn check(text: &str, acked: &BTreeSet<u64>, births: &[u64], story: &str) {
    let (mut records, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for line in said(text, "number") {
        let [partition, offset, number, done] = line[..] else { panic!("{story}: {line:?}") };
        let place = (partition as u32, offset);
        records.insert(place, Processed { is_poison: is_poison(number as i64), has_effect: done > 0 });
        assert_eq!(numbers.insert(number, place), None, "{story}: {number} is there twice");
    }
    let lost: Vec<&u64> = acked.iter().filter(|number| !numbers.contains_key(number)).collect();
    assert!(lost.is_empty(), "{story}: {lost:?} were acknowledged");
    let letter = |line: Vec<u64>| {
        let [found_in, partition, offset, tries, number] = line[..] else { panic!("{story}: {line:?}") };
        let place = (partition as u32, offset);
        Dead { place, found_in: found_in as u32, tries, is_same: numbers.get(&number) == Some(&place) }
    };
    let dead: Vec<Dead> = said(text, "dead").into_iter().map(letter).collect();
    let lies = judge(&records, &dead, u64::from(TRIES), 0);
    assert!(lies.is_empty(), "{story}: {}", lies[0]);
    let strikes = said(text, "strike");
    assert!(strikes.iter().all(|strike| strike[0] == 0), "{story}: a clock struck elsewhere than on task 0");
    let times: Vec<u64> = strikes.iter().map(|strike| strike[1]).collect();
    let lies = tick::judge(&times, births, PERIOD.as_micros() as u64, 1);
    assert!(lies.is_empty(), "{story}: {}", lies[0]);
}
