//! `kill -9` at random moments, over and over: what the parent was told is acknowledged is there afterwards, once, in
//! order, at its offset.
//!
//! The parent holds the expected state and starts itself again as the process to be killed. After each kill another
//! process recovers the directory, with other options, ends in order and reads every record of every partition from
//! the files.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test of real processes, which says what it found"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tantu_base::door::Disk;
use tantu_base::id::{Offset, TaskId};
use tantu_base::value::Value;
use tantu_doors::{KernelDisk, KernelEntropy, Pin};
use tantu_flow::{Module, Setup, SourceOptions, StartFrom, Topologies, random};
use tantu_local::{InProcessCluster, LaunchConfig};
use tantu_lsm::BlockCache;
use tantu_net::letter::AckLevel;
use tantu_path::{Map, agg};
use tantu_proof::Form;
use tantu_state::depot::Lookup;
use tantu_state::meta::{ObjectKind, read_module};
use tantu_state::task::Owners;
use tantu_state::{TaskState, TaskStateOptions};

/// Tells the test binary that it is the process to be killed, and what to do.
const ROLE: &str = "TANTU_KILL_ROLE";
const TASKS: u32 = 4;
/// Records of one life have numbers of their own: one that comes back from the dead is noticed.
const LIFE_RECORDS: u64 = 1_000_000;

/// A depot of records, each counted once it was processed.
struct Ledger;

impl Module for Ledger {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let records = setup.declare_depot::<String>("*records", random());
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&records, all, |b, record| {
            b.hash_partition(record);
            b.compound_agg(counts, agg::key(record, agg::count()));
        });
    }
}

/// The text of a record, which its number determines.
fn record(number: u64) -> String {
    let mut random = fastrand::Rng::with_seed(number);
    let size_max = 1 << random.u32(0..12);
    format!("{number} {}", "x".repeat(random.usize(0..size_max)))
}

/// What a process of the test is asked to do.
#[derive(Clone, Copy, Debug)]
struct Role {
    /// The first record to append; none to read all instead.
    first: Option<u64>,
    threads: u32,
    window: usize,
}

impl Role {
    /// Starts the test binary again in this role.
    fn spawn(&self, dir: &Path) -> Child {
        let Role { first, threads, window } = *self;
        let first = first.map_or("read".to_string(), |first| first.to_string());
        Command::new(std::env::current_exe().unwrap())
            .args(["the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, format!("{first} {threads} {window} {}", dir.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }
}

#[test]
#[ignore = "the test beside it starts it"]
fn the_process_that_is_killed() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let parts: Vec<&str> = role.splitn(4, ' ').collect();
    let [first, threads, window, dir] = parts[..] else { panic!("{role:?} is no role") };
    let (threads, dir) = (threads.parse().unwrap(), Path::new(dir));
    let cluster = InProcessCluster::open(dir).unwrap();
    cluster.launch::<Ledger>(LaunchConfig { pin: Pin::Never, ..LaunchConfig::new(TASKS, threads) }).unwrap();
    match first.parse() {
        Ok(first) => append_for_ever(&cluster, first, window.parse().unwrap()),
        Err(_) => {
            cluster.close().unwrap();
            read_all(dir);
        }
    }
}

/// Appends with so many records on their way, and says which were acknowledged.
fn append_for_ever(cluster: &InProcessCluster, first: u64, window: usize) {
    let depot = cluster.depot::<String>("Ledger", "*records").unwrap();
    let mut pending = VecDeque::new();
    for number in first..first + LIFE_RECORDS {
        let ack = if number % 3 == 0 { AckLevel::Ack } else { AckLevel::AppendAck };
        pending.push_back((number, depot.append_async(&record(number), ack).unwrap()));
        while pending.len() >= window {
            let (number, answer) = pending.pop_front().unwrap();
            let offset = answer.wait().unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "acked {number} {}", offset.0).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Prints every record of every partition, from the files of a closed cluster.
fn read_all(dir: &Path) {
    let mut disk = KernelDisk::new(None).unwrap();
    let module = dir.join("modules").join("Ledger");
    let meta = read_module(&mut disk, &module.join("module.meta")).unwrap().unwrap();
    let depots: Vec<_> =
        meta.objects.iter().filter(|object| object.kind == ObjectKind::Depot).map(|object| object.id).collect();
    for task in (0..TASKS).map(TaskId) {
        let (mut cache, mut entropy) = (BlockCache::new(1 << 20), KernelEntropy::default());
        let dir = module.join("tasks").join(task.0.to_string());
        let (owners, options) = (Owners { tree: 1, segments: 2 }, TaskStateOptions::default());
        let mut state =
            TaskState::open(&mut disk, &mut entropy, &mut cache, &dir, owners, task, &depots, &options).unwrap();
        for offset in 0..state.depots()[0].committed_end().0 {
            let bytes = read_one(&mut state, Offset(offset), &mut cache, &mut disk);
            let Value::Str(text) = Value::decode(&bytes).unwrap() else { panic!("no text: {bytes:?}") };
            println!("record {} {offset} {text}", task.0);
        }
        state.close(&mut cache, &mut disk).unwrap();
    }
    println!("that is all");
}

fn read_one(state: &mut TaskState, offset: Offset, cache: &mut BlockCache, disk: &mut KernelDisk) -> Vec<u8> {
    loop {
        match state.depots()[0].lookup(offset) {
            Lookup::Record(record) => return record.to_vec(),
            Lookup::NotYet | Lookup::Trimmed => panic!("{offset:?} is not there"),
            Lookup::OnDisk => {}
        }
        state.want(0, offset, Offset(u64::MAX));
        state.load_records(1 << 20, cache, disk).unwrap();
        if state.is_busy() {
            disk.wait();
        }
        let mut done = Vec::new();
        disk.reap(&mut done);
        done.into_iter().for_each(|done| {
            state.complete(done, cache, disk).unwrap();
        });
    }
}

/// What the parent was told.
#[derive(Debug, Default)]
struct Told {
    /// Offsets of acknowledged records.
    acked: BTreeMap<u64, u64>,
    kills: u64,
    kills_at_work: u64,
}

/// Starts a process, kills it, and notes what it said before.
fn kill_one(told: &mut Told, role: Role, dir: &Path, random: &mut fastrand::Rng) {
    let mut child = role.spawn(dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, acked) = channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let ["acked", number, offset] = line.split(' ').collect::<Vec<_>>()[..] {
                let _ = sender.send((number.parse::<u64>().unwrap(), offset.parse::<u64>().unwrap()));
            }
        }
    });
    // Some die while they recover, most while they work.
    let first = if random.u8(0..4) > 0 { acked.recv_timeout(Duration::from_secs(10)).ok() } else { None };
    std::thread::sleep(Duration::from_micros(random.u64(0..300_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let acked: Vec<(u64, u64)> = first.into_iter().chain(acked).collect();
    told.kills += 1;
    told.kills_at_work += u64::from(!acked.is_empty());
    told.acked.extend(acked);
}

/// Recovers, reads everything, and compares.
fn check(told: &Told, role: Role, dir: &Path, story: &str) {
    let output = Role { first: None, ..role }.spawn(dir).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("that is all"), "{story}: it could not be read: {text}");
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let mut ends: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("record ")) {
        let parts: Vec<&str> = line.splitn(3, ' ').collect();
        let [task, offset, text] = parts[..] else { panic!("{story}: {line}") };
        let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
        let offset: u64 = offset.parse().unwrap();
        assert_eq!(text, record(number), "{story}: record {number} is another");
        assert_eq!(found.insert(number, offset), None, "{story}: record {number} is there twice");
        let (end, last) = ends.entry(task).or_insert((0, 0));
        assert_eq!(offset, *end, "{story}: offsets of task {task} are not dense");
        assert!(*last < number, "{story}: task {task} has {number} after {last}");
        (*end, *last) = (offset + 1, number);
    }
    for (number, offset) in &told.acked {
        assert_eq!(found.get(number), Some(offset), "{story}: record {number} was acknowledged at offset {offset}");
    }
}

#[test]
fn what_was_acknowledged_before_kill_9_is_there_once_and_in_order() {
    let form = Form::from_env("kill -9", "-p tantu-local --test kill what_was");
    let seed = form.state().map_or_else(|| fastrand::u64(1..1_000_000_000), |state| state[0]);
    println!("seed {seed}: its moments are real time, so a replay comes close but is not the same");
    let _place = form.at(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut told, began) = (Told::default(), Instant::now());
    // The long form begins anew now and then: a directory that only grows is slower to read each time.
    let mut home = dir.path().join("0");
    for round in 0.. {
        if if form.is_long() { form.is_over() } else { round == 10 || began.elapsed() > Duration::from_secs(12) } {
            break;
        }
        if round % 20 == 19 {
            (home, told.acked) = (dir.path().join(round.to_string()), BTreeMap::new());
        }
        let mut role = || Role {
            first: None,
            threads: random.u32(1..=TASKS),
            window: *[1, 8, 200].get(random.usize(0..3)).unwrap(),
        };
        let (dying, reading) = (role(), role());
        let first = (round + 1) * LIFE_RECORDS;
        kill_one(&mut told, Role { first: Some(first), ..dying }, &home, &mut random);
        check(&told, reading, &home, &format!("seed {seed}, round {round}: {dying:?}, then {reading:?}"));
    }
    let Told { acked, kills, kills_at_work } = told;
    form.report(&[("kills", kills), ("of them at work", kills_at_work), ("records at the end", acked.len() as u64)]);
    assert!(kills_at_work * 2 >= kills, "only {kills_at_work} of {kills} kills came while there was work");
}
