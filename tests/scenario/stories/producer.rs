//! Appends that are sent again: each is made once, across restarts and `kill -9`, and old lives of a producer are fenced.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tantu::prelude::*;

/// Tells the test binary that it is the process to be killed, and where it works.
const ROLE: &str = "TANTU_PRODUCER_DIR";
const PARTITIONS: u32 = 4;

struct Notes;

impl Module for Notes {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let notes = setup.declare_depot::<(i64, String)>("*notes", hash_by(|note: &(i64, String)| note.0));
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<i64, i64>>("$$counts");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&notes, all, |b, note| {
            let key = b.each(note, |note| note.0);
            b.compound_agg(counts, agg::key(key, agg::count()));
        });
    }
}

fn note(n: i64) -> (i64, String) {
    (n % 16, format!("note {n}"))
}

fn launch(cluster: &InProcessCluster) -> Depot<(i64, String)> {
    cluster.launch::<Notes>(LaunchConfig::new(PARTITIONS, 2)).unwrap();
    cluster.depot("Notes", "*notes").unwrap()
}

/// Every record of the depot, with how often it is there.
fn all(notes: &Depot<(i64, String)>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let PartitionOffsets { start, end } = notes.offsets(partition).unwrap();
        for (_, text) in notes.read(partition, start, end).unwrap() {
            *found.entry(text).or_default() += 1;
        }
    }
    found
}

#[test]
fn a_record_that_is_sent_again_is_appended_once_and_has_the_offset_it_got() {
    let cluster = InProcessCluster::create().unwrap();
    let notes = launch(&cluster);
    let producer = notes.producer().unwrap();
    let numbered: Vec<_> = (0..200).map(|n| producer.number(&note(n)).unwrap()).collect();
    let pending: Vec<_> = numbered.iter().map(|it| producer.send_async(it, AckLevel::AppendAck).unwrap()).collect();
    let offsets: Vec<Offset> = pending.into_iter().map(|it| it.wait().unwrap()).collect();
    for (numbered, offset) in numbered.iter().zip(&offsets).rev() {
        for ack in [AckLevel::AppendAck, AckLevel::Ack] {
            assert_eq!(producer.send(numbered, ack).unwrap(), *offset);
        }
    }
    // Sent twice before the first answer comes.
    let next = producer.number(&note(200)).unwrap();
    let twice = [(); 2].map(|()| producer.send_async(&next, AckLevel::Ack).unwrap());
    let [first, second] = twice.map(|it| it.wait().unwrap());
    assert_eq!(first, second);
    // Other appends to the same partitions have no part in this.
    notes.append(&note(201)).unwrap();
    assert_eq!(all(&notes), (0..202).map(|n| (note(n).1, 1)).collect());
    let counts = cluster.pstate::<Map<i64, i64>>("Notes", "$$counts").unwrap();
    let counted: i64 = (0..16).map(|key| counts.select_one(path().key(key)).unwrap().unwrap_or(0)).sum();
    assert_eq!(counted, 202);
    cluster.close().unwrap();
}

#[test]
fn a_later_life_of_a_producer_fences_the_earlier_one_on_every_partition() {
    let cluster = InProcessCluster::create().unwrap();
    let notes = launch(&cluster);
    let old = notes.producer_named("loader").unwrap();
    assert!((0..32).all(|n| old.append(&note(n)).is_ok()));
    let before = old.number(&note(32)).unwrap();
    let new = notes.producer_named("loader").unwrap();
    assert!(new.state().epoch > old.state().epoch);
    for n in 0..16 {
        let refused = old.append(&note(1_000 + n)).unwrap_err();
        assert_eq!(refused, ClientError::Fenced { epoch: new.state().epoch });
        assert_eq!(refused.outcome(), Outcome::NotAppended);
    }
    assert!(matches!(old.send(&before, AckLevel::Ack), Err(ClientError::Fenced { .. })));
    assert!((100..132).all(|n| new.append(&note(n)).is_ok()));
    let other = notes.producer_named("another").unwrap();
    other.append(&note(40)).unwrap();
    assert_eq!(all(&notes), (0..32).chain(100..132).chain([40]).map(|n| (note(n).1, 1)).collect());
    cluster.close().unwrap();
}

#[test]
fn nothing_overtakes_an_append_that_was_not_made() {
    let cluster = InProcessCluster::create().unwrap();
    let notes = launch(&cluster);
    let producer = notes.producer().unwrap();
    let records: Vec<_> = (0..4).map(|n| (5, format!("note {n}"))).collect();
    let numbered: Vec<_> = records.iter().map(|record| producer.number(record).unwrap()).collect();
    producer.send(&numbered[0], AckLevel::Ack).unwrap();
    // The second is not sent; so the third is refused, whenever it comes.
    let gap = producer.send(&numbered[2], AckLevel::Ack).unwrap_err();
    assert_eq!((&gap, gap.outcome()), (&ClientError::OutOfSequence { expected: 1 }, Outcome::NotAppended));
    // Its number, and that of the second, which was not used, are given once more; to whom they belonged they do no more.
    let again = producer.number(&records[3]).unwrap();
    assert_eq!(again.sequence, 1);
    producer.send(&again, AckLevel::Ack).unwrap();
    for lost in &numbered[1..] {
        assert!(matches!(producer.send(lost, AckLevel::Ack), Err(ClientError::Refused(_))));
    }
    assert_eq!(all(&notes), BTreeMap::from([("note 0".to_string(), 1), ("note 3".to_string(), 1)]));
    cluster.close().unwrap();
}

#[test]
fn numbers_are_known_after_restarts_also_with_other_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = ProducerState::default();
    let mut offsets = Vec::new();
    for life in 0..4i64 {
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        cluster.launch::<Notes>(LaunchConfig::new(PARTITIONS, [2, 1, 4, 2][life as usize])).unwrap();
        let notes = cluster.depot::<(i64, String)>("Notes", "*notes").unwrap();
        let producer = match life {
            0 => notes.producer_named("loader").unwrap(),
            _ => notes.producer_resumed(state.clone()),
        };
        for (n, partition, sequence, offset) in &offsets {
            let again = producer.numbered(*partition, *sequence, &note(*n)).unwrap();
            assert_eq!(producer.send(&again, AckLevel::Ack).unwrap(), *offset, "life {life}, record {n}");
        }
        for n in life * 50..(life + 1) * 50 {
            let numbered = producer.number(&note(n)).unwrap();
            let offset = producer.send(&numbered, AckLevel::AppendAck).unwrap();
            offsets.push((n, numbered.partition, numbered.sequence, offset));
        }
        state = producer.state();
        assert_eq!(all(&notes), (0..(life + 1) * 50).map(|n| (note(n).1, 1)).collect());
        cluster.close().unwrap();
    }
}

#[test]
fn a_new_life_numbers_anew_also_where_only_one_partition_has_forgotten_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    let notes = launch(&cluster);
    let old = notes.producer_named("loader").unwrap();
    let giver = (old.state().id.0 % u128::from(PARTITIONS)) as u32;
    let partition_of = |n: i64| old.number(&note(n)).unwrap().partition;
    let key_where = |is: bool| (0..16).find(|n| (partition_of(*n) == giver) == is).unwrap();
    let (kept, crowded) = (key_where(false), key_where(true));
    let old = notes.producer_named("loader").unwrap();
    assert!((0..3).all(|n| old.append(&(kept, format!("old {n}"))).is_ok()));
    // So many others come to the partition that gives out the epochs that it forgets this one.
    let others = (0..4_200u32).map(|n| {
        let id = ProducerId(u128::MAX - u128::from(n));
        let other = notes.producer_resumed(ProducerState { id, epoch: 1, next: BTreeMap::new() });
        other.append_async(&(crowded, format!("of {n}")), AckLevel::AppendAck).unwrap()
    });
    assert!(others.collect::<Vec<_>>().into_iter().all(|pending| pending.wait().is_ok()));
    cluster.close().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    let notes = launch(&cluster);
    let new = notes.producer_named("loader").unwrap();
    assert!((0..3).all(|n| new.append(&(kept, format!("new {n}"))).is_ok()));
    let found = all(&notes);
    for text in (0..3).flat_map(|n| [format!("old {n}"), format!("new {n}")]) {
        assert_eq!(found.get(&text), Some(&1), "{text}");
    }
    let late = notes.producer_resumed(old.state()).append(&(kept, "late".to_string()));
    assert_eq!(late, Err(ClientError::Fenced { epoch: new.state().epoch }));
    cluster.close().unwrap();
}

/// Fails on negative numbers: one source drops them, another tries them for ever.
struct Picky;

impl Module for Picky {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let dropped = setup.declare_depot::<i64>("*dropped", hash_by(|_: &i64| 0i64));
        let stuck = setup.declare_depot::<i64>("*stuck", hash_by(|_: &i64| 0i64));
        for (depot, retry) in [(&dropped, RetryMode::None), (&stuck, RetryMode::Individual)] {
            let name = format!("{retry:?}");
            topologies.stream(&name).source_with(depot, SourceOptions { retry, ..SourceOptions::default() }, |b, n| {
                b.assert(n, |n| n >= 0, "it is negative");
            });
        }
    }
}

#[test]
fn a_record_that_is_sent_again_is_answered_as_the_first_time_also_if_it_was_dropped_or_one_before_it_fails() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Picky>(LaunchConfig::new(PARTITIONS, 2)).unwrap();
    let dropped = cluster.depot::<i64>("Picky", "*dropped").unwrap().producer().unwrap();
    let [good, bad, last] = [1, -1, 2].map(|n| dropped.number(&n).unwrap());
    for _ in 0..3 {
        assert!(dropped.send(&good, AckLevel::Ack).is_ok());
        let refused = dropped.send(&bad, AckLevel::Ack).unwrap_err();
        assert!(matches!(refused, ClientError::ProcessingFailed(_)), "{refused}");
        assert!(dropped.send(&bad, AckLevel::AppendAck).is_ok() && dropped.send(&last, AckLevel::Ack).is_ok());
    }
    let options = ClientOptions { depot_timeout: Duration::from_secs(10), ..ClientOptions::default() };
    let connection = cluster.connect_with("Picky", options).unwrap();
    let stuck = Depot::<i64>::new(&connection, "*stuck").unwrap().producer().unwrap();
    let [bad, good] = [-1, 1].map(|n| stuck.number(&n).unwrap());
    assert!(matches!(stuck.send(&bad, AckLevel::Ack), Err(ClientError::ProcessingFailed(_))));
    let offset = stuck.send(&good, AckLevel::Ack).unwrap();
    assert_eq!(stuck.send(&good, AckLevel::Ack), Ok(offset), "it is processed, though the one before it is not");
    cluster.close().unwrap();
}

#[test]
fn appends_of_a_producer_go_on_over_restarts_of_the_module() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    let notes = launch(&cluster);
    let (appended, count) = (std::sync::atomic::AtomicUsize::new(0), 4 * 150);
    let so_far = || appended.load(std::sync::atomic::Ordering::Acquire);
    std::thread::scope(|scope| {
        for of in 0..4 {
            let (producer, appended) = (notes.producer().unwrap(), &appended);
            scope.spawn(move || {
                for n in 0..150 {
                    producer.append(&note(of * 1_000 + n)).unwrap();
                    appended.fetch_add(1, std::sync::atomic::Ordering::Release);
                }
            });
        }
        for restart in 1..=3 {
            while so_far() < restart * count / 5 {
                std::thread::sleep(Duration::from_micros(200));
            }
            cluster.restart::<Notes>().unwrap();
        }
    });
    let expected = (0..4).flat_map(|of| (0..150).map(move |n| (note(of * 1_000 + n).1, 1))).collect();
    assert_eq!(all(&notes), expected);
    cluster.close().unwrap();
    let producer = notes.producer_resumed(ProducerState { id: ProducerId(7), epoch: 1, next: BTreeMap::new() });
    let began = std::time::Instant::now();
    assert!(matches!(producer.append(&note(1)), Err(ClientError::NotRunning(_))));
    assert!(began.elapsed() < Duration::from_secs(10), "nobody said that there would be another instance");
}

#[test]
#[ignore = "the test beside it starts it"]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(ROLE) else { return };
    let cluster = InProcessCluster::open(Path::new(&dir)).unwrap();
    let notes = launch(&cluster);
    // What was on its way when the last life of the process ended is sent again under the numbers it had.
    let known: Vec<String> = std::io::stdin().lock().lines().map(Result::unwrap).collect();
    let mut numbers = known.iter().map(|line| line.parse::<i64>().unwrap());
    let (epoch, sent) = (numbers.next().unwrap(), numbers.next().unwrap());
    let producer = match epoch {
        0 => notes.producer_named("loader").unwrap(),
        _ => {
            let (id, epoch) = (ProducerId::named("loader"), epoch as u32);
            notes.producer_resumed(ProducerState { id, epoch, next: BTreeMap::new() })
        }
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nepoch {}", producer.state().epoch).unwrap();
    let (mut next, mut pending) = (BTreeMap::<u32, u64>::new(), std::collections::VecDeque::new());
    let partitions: Vec<u32> = (0..16).map(|n| producer.number(&note(n)).unwrap().partition).collect();
    for n in 0.. {
        let partition = partitions[(n % 16) as usize];
        let sequence = next.entry(partition).or_default();
        let numbered = producer.numbered(partition, *sequence, &note(n)).unwrap();
        *sequence += 1;
        if n >= sent {
            writeln!(out, "sent {n}").unwrap();
            out.flush().unwrap();
        }
        pending.push_back(producer.send_async(&numbered, AckLevel::AppendAck).unwrap());
        if pending.len() > 20 {
            match pending.pop_front().unwrap().wait() {
                Ok(_) | Err(ClientError::AppendedBefore) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_record_whose_fate_a_kill_9_left_unknown_is_appended_once_when_it_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut epoch, mut sent) = (0i64, 0i64);
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{epoch}\n{sent}").unwrap();
        let until = sent + 150 + round * 37;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("epoch", number)) => epoch = number.parse().unwrap(),
                Some(("sent", number)) => sent = number.parse::<i64>().unwrap() + 1,
                _ => {}
            }
            if sent >= until {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(sent >= until, "round {round}: the process ended by itself after {sent} records");
    }
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    let notes = launch(&cluster);
    let found = all(&notes);
    // Each once, and of each partition's records none is missing before the last.
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    let mut last = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let PartitionOffsets { start, end } = notes.offsets(partition).unwrap();
        let records = notes.read(partition, start, end).unwrap();
        let order: Vec<i64> = records.iter().map(|(_, text)| text["note ".len()..].parse().unwrap()).collect();
        assert!(order.is_sorted(), "partition {partition}: {order:?}");
        last.insert(partition, order);
    }
    let there: usize = last.values().map(Vec::len).sum();
    assert!(there as i64 >= sent - 42, "{there} of {sent} are there; what was waited for has to be");
    cluster.close().unwrap();
}
