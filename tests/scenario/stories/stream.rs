//! What a stream topology promises: what it returns to appends, what becomes of records that fail, and its limits.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

fn launch_with<M: Module>(dir: &Path, config: LaunchConfig) -> InProcessCluster {
    let cluster = InProcessCluster::open(dir).unwrap();
    cluster.launch::<M>(config).unwrap();
    cluster
}

/// Four tasks on two threads.
fn launch<M: Module>(dir: &Path) -> InProcessCluster {
    launch_with::<M>(dir, LaunchConfig::new(4, 2))
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_all(pending: impl IntoIterator<Item = Pending<Offset>>) {
    for append in pending {
        append.wait().unwrap();
    }
}

/// Lines whose words are counted where they live; several topologies return something for them.
struct Answers;

/// How often the line "again" failed.
static AGAIN: AtomicU32 = AtomicU32::new(0);

impl Module for Answers {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let options = DepotOptions { fail_ack_on_any_failure: false, ..DepotOptions::default() };
        let lines = setup.declare_depot_with::<String>("*lines", random(), options);
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();

        let mut sums = topologies.stream("sums");
        let counts = sums.pstate::<Map<String, i64>>("$$counts");
        let total = SourceOptions::default().aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
        sums.source_with(&lines, total, move |b, line| {
            let word = b.explode(line, words);
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
            let count = b.local_select(counts, path().key(word).null_to_val(0));
            b.ack_return(count);
            b.assert(word, |word| word != "again" || AGAIN.fetch_add(1, Ordering::Relaxed) >= 2, "not yet");
        });

        let longest = agg::combiner(String::new(), |a: String, b: String| if b.len() > a.len() { b } else { a });
        let longest = SourceOptions::default().aggregate_returns(|word: Var<str>| longest.of::<String, _>(word));
        topologies.stream("longest").source_with(&lines, longest, move |b, line| {
            let word = b.explode(line, words);
            b.shuffle_partition();
            b.ack_return(word);
        });
        // The last value, and nothing for lines of one word.
        topologies.stream("second").source(&lines, move |b, line| {
            let second = b.each(line, move |line| words(line).get(1).cloned());
            b.global_partition();
            b.ack_return(second);
        });
        topologies.stream("silent").source(&lines, |b, line| {
            b.each(line, |line| line.len() as i64);
        });
    }
}

#[test]
fn an_append_gets_what_the_events_of_its_record_returned_on_any_task_aggregated_for_each_topology() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Answers>(dir.path());
    let lines = cluster.depot::<String>("Answers", "*lines").unwrap();
    let acked = lines.append_ack(&"to be or not to be".to_string()).unwrap();
    // to 1, be 1, or 1, not 1, to 2, be 2.
    assert_eq!(acked.returns.get::<i64>("sums").unwrap(), Some(8));
    assert_eq!(acked.returns.get::<String>("longest").unwrap(), Some("not".to_string()));
    assert_eq!(acked.returns.get::<String>("second").unwrap(), Some("be".to_string()));
    assert_eq!(acked.returns.topologies().collect::<Vec<_>>(), ["longest", "second", "sums"]);
    assert!(acked.returns.get::<String>("sums").is_err(), "a number is no text");

    let acked = lines.append_ack(&"be".to_string()).unwrap();
    let values = acked.returns.into_values().unwrap();
    assert_eq!(values["sums"], Value::I64(3));
    assert!(!values.contains_key("second"), "null is not returned: {values:?}");

    let acked = lines.append_acked_async(&"be quick".to_string(), AckLevel::AppendAck).unwrap().wait().unwrap();
    assert!(acked.returns.is_empty(), "nothing is returned below level ACK");
    cluster.close().unwrap();
}

#[test]
fn a_record_that_is_tried_again_returns_what_the_try_that_succeeded_returned() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Answers>(dir.path());
    let lines = cluster.depot::<String>("Answers", "*lines").unwrap();
    // The depot lets appends wait through failures. The two failed tries left no count: the batch of their event failed.
    let acked = lines.append_ack(&"again".to_string()).unwrap();
    assert_eq!(AGAIN.load(Ordering::Relaxed), 3);
    assert_eq!(acked.returns.get::<i64>("sums").unwrap(), Some(1));
    assert_eq!(acked.returns.get::<String>("longest").unwrap(), Some("again".to_string()));
    cluster.close().unwrap();
}

/// Numbers are added up; what is no number is given up, or tried for ever.
struct Parser;

impl Module for Parser {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_global_depot::<String>("*lines", random());
        for (name, options) in [
            ("gives up", SourceOptions::default().dead_letter_after(3)),
            (
                "keeps order",
                SourceOptions { retry: RetryMode::AllAfter, ..SourceOptions::default() }.dead_letter_after(2),
            ),
            ("tries on", SourceOptions::default()),
        ] {
            let mut s = topologies.stream(name);
            let global = PStateOptions { global: true, ..PStateOptions::default() };
            let seen = s.pstate_with::<Map<i64, i64>>(&format!("$${name}"), global);
            s.source_with(&lines, options, move |b, line| {
                b.assert(line, |line| line.parse::<i64>().is_ok(), "it is no number");
                let n = b.each(line, |line| line.parse::<i64>().unwrap_or(0));
                b.compound_agg(seen, agg::key(n, agg::count()));
            });
        }
    }
}

fn counted(cluster: &InProcessCluster, topology: &str) -> Vec<(i64, i64)> {
    let seen = cluster.pstate::<Map<i64, i64>>("Parser", &format!("$${topology}")).unwrap();
    seen.select_on(0, path().all()).unwrap()
}

/// Every record given up, in the order of topologies and offsets.
fn dead(cluster: &InProcessCluster) -> Vec<DeadLetter> {
    let dead = cluster.dead_letters("Parser").unwrap();
    let mut all = Vec::new();
    for partition in 0..dead.partition_count() {
        let offsets = dead.offsets(partition).unwrap();
        all.extend(dead.read(partition, offsets.start, offsets.end).unwrap());
    }
    all.sort_by(|a, b| (&a.topology, a.offset).cmp(&(&b.topology, b.offset)));
    all
}

#[test]
fn a_record_that_keeps_failing_becomes_one_dead_letter_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Parser>(dir.path());
    let lines = cluster.depot::<String>("Parser", "*lines").unwrap();
    // One flush for all of them: they share streaming batches.
    let sent = ["1", "2", "three", "4", "", "6"];
    let pending: Vec<_> =
        sent.iter().map(|line| lines.append_async(&line.to_string(), AckLevel::AppendAck).unwrap()).collect();
    wait_all(pending);
    let all: Vec<(i64, i64)> = [1, 2, 4, 6].map(|n| (n, 1)).to_vec();
    for topology in ["gives up", "tries on"] {
        until(topology, || counted(&cluster, topology) == all);
    }
    until("four dead letters", || dead(&cluster).len() >= 4);
    let found = dead(&cluster);
    let told: Vec<_> = found.iter().map(|letter| (letter.topology.as_str(), letter.offset, letter.tries)).collect();
    assert_eq!(told, [("gives up", 2, 3), ("gives up", 4, 3), ("keeps order", 2, 2), ("keeps order", 4, 2)]);
    assert_eq!(found[0].record::<String>().unwrap(), "three");
    assert_eq!((found[0].depot.as_str(), found[0].partition), ("*lines", 0));
    assert!(found[0].error.contains("it is no number"), "{}", found[0].error);
    until("keeps order", || counted(&cluster, "keeps order").iter().map(|(n, _)| *n).eq([1, 2, 4, 6]));

    // The topology that does not give up says what holds it up.
    let stuck = cluster.stream("Parser", "tries on").unwrap();
    until("both are tried again", || stuck.troubles().unwrap().iter().filter(|trouble| trouble.tries > 1).count() == 2);
    let troubles = stuck.troubles().unwrap();
    let told: Vec<_> = troubles.iter().map(|trouble| (trouble.offset, trouble.is_first)).collect();
    assert_eq!(told, [(2, true), (4, false)]);
    assert!(troubles[1].error.contains("it is no number"), "{}", troubles[1].error);
    assert_eq!(troubles[1].depot, "*lines");
    assert!(cluster.stream("Parser", "gives up").unwrap().troubles().unwrap().is_empty());

    // A restart goes on where progress is: what was given up stays given up.
    cluster.close().unwrap();
    let cluster = launch::<Parser>(dir.path());
    cluster.depot::<String>("Parser", "*lines").unwrap().append_with(&"7".to_string(), AckLevel::AppendAck).unwrap();
    until("7", || counted(&cluster, "gives up").contains(&(7, 1)));
    assert_eq!(dead(&cluster), found);
    cluster.close().unwrap();
}

#[test]
fn an_append_whose_record_is_given_up_fails_and_a_record_longer_than_a_segments_run_is_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Parser>(dir.path());
    let lines = cluster.depot::<String>("Parser", "*lines").unwrap();
    let long = "x".repeat(300_000);
    let error = lines.append(&long).unwrap_err();
    assert!(matches!(&error, ClientError::ProcessingFailed(text) if text.contains("is no number")), "{error}");
    until("both gave it up", || dead(&cluster).len() == 2);
    assert!(dead(&cluster).iter().all(|letter| letter.record::<String>().unwrap() == long));
    cluster.close().unwrap();
}

/// One record at a time, and none while the gate is shut.
struct Narrow;

static OPEN: AtomicBool = AtomicBool::new(false);

impl Module for Narrow {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        let one = StreamOptions { executing_max: Some(1), ..StreamOptions::default() };
        let global = PStateOptions { global: true, ..PStateOptions::default() };
        for (name, retry) in [("waits", RetryMode::Individual), ("passes by", RetryMode::None)] {
            let mut s = topologies.stream_with(name, one);
            let seen = s.pstate_with::<Map<i64, i64>>(&format!("$${name}"), global);
            s.source_with(&numbers, SourceOptions { retry, ..SourceOptions::default() }, move |b, n| {
                // A job, so that the task goes on meanwhile.
                b.each_async(n, |n| async move {
                    while !OPEN.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Ok::<i64, String>(n)
                });
                b.compound_agg(seen, agg::key(n, agg::count()));
            });
        }
    }
}

#[test]
fn beyond_the_limit_of_records_under_way_others_wait_or_are_passed_by_and_appends_do_not_wait_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Narrow>(dir.path());
    let numbers = cluster.depot::<i64>("Narrow", "*numbers").unwrap();
    let first = numbers.append_async(&0, AckLevel::Ack).unwrap();
    until("the first is durable", || numbers.offsets(0).unwrap().end == Offset(1));
    for n in 1..4i64 {
        let error = numbers.append(&n).unwrap_err();
        assert!(matches!(&error, ClientError::Throttled(text) if text.contains("1 records under way")), "{error}");
    }
    assert_eq!(numbers.offsets(0).unwrap().end, Offset(4), "they were appended all the same");
    OPEN.store(true, Ordering::Relaxed);
    assert_eq!(first.wait().unwrap(), Offset(0));
    let seen = |topology: &str| {
        let seen = cluster.pstate::<Map<i64, i64>>("Narrow", &format!("$${topology}")).unwrap();
        seen.select_on(0, path().all()).unwrap()
    };
    until("all", || seen("waits") == [(0, 1), (1, 1), (2, 1), (3, 1)]);
    until("the first", || seen("passes by") == [(0, 1)]);
    until("there is room again", || numbers.append(&4).is_ok());
    assert_eq!(seen("passes by"), [(0, 1), (4, 1)]);
    cluster.close().unwrap();
}

/// A topology that never ends a record in time, and whose depot takes few waiting appends.
struct Slow;

impl Module for Slow {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let options = DepotOptions { pending_ack_max: 2, fail_ack_on_any_failure: false, ..DepotOptions::default() };
        let numbers = setup.declare_global_depot_with::<i64>("*numbers", random(), options);
        topologies.stream("slow").source(&numbers, |b, n| {
            b.each_async(n, |n| async move {
                std::thread::sleep(Duration::from_millis(700));
                Ok::<i64, String>(n)
            });
        });
    }
}

#[test]
fn the_launch_says_when_records_time_out_and_the_depot_how_many_appends_wait() {
    let dir = tempfile::tempdir().unwrap();
    let timeout = Some(Duration::from_millis(200));
    let stream = StreamOptions { timeout, ..StreamOptions::default() };
    let cluster = launch_with::<Slow>(dir.path(), LaunchConfig { stream, ..LaunchConfig::new(1, 1) });
    let numbers = cluster.depot::<i64>("Slow", "*numbers").unwrap();
    let waiting = [1, 2].map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap());
    let error = numbers.append(&3).unwrap_err();
    assert!(matches!(&error, ClientError::Throttled(text) if text.contains("2 appends")), "{error}");
    let slow = cluster.stream("Slow", "slow").unwrap();
    until("a time-out", || slow.troubles().unwrap().iter().any(|trouble| trouble.error.contains("in time")));
    drop(waiting);
    // It would never end by itself: what is under way is dropped.
    drop(cluster);
}

/// The same depot twice in one topology, from two places, and another depot.
struct Merged;

impl Module for Merged {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        let names = setup.declare_global_depot::<String>("*names", random());
        let mut s = topologies.stream("merged");
        let global = PStateOptions { global: true, ..PStateOptions::default() };
        let seen = s.pstate_with::<Map<String, i64>>("$$seen", global);
        let from = |start, id: &str| SourceOptions { start, id: Some(id.to_string()), ..SourceOptions::default() };
        s.source(&numbers, move |b, _n| {
            b.compound_agg(seen, agg::key("new", agg::count()));
        });
        s.source_with(&numbers, from(StartFrom::Beginning, "all"), move |b, _n| {
            b.compound_agg(seen, agg::key("all", agg::count()));
        });
        s.source_with(&numbers, from(StartFrom::RecordsAgo(2), "some"), move |b, _n| {
            b.compound_agg(seen, agg::key("some", agg::count()));
        });
        s.source(&names, move |b, name| {
            b.compound_agg(seen, agg::key(name, agg::count()));
        });
    }

    fn name() -> String {
        "Numbers".to_string()
    }
}

/// The depot alone.
struct Numbers;

impl Module for Numbers {
    fn define(setup: &mut Setup, _: &mut Topologies) {
        setup.declare_global_depot::<i64>("*numbers", random());
    }
}

#[test]
fn one_topology_reads_a_depot_from_several_places_each_with_a_progress_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let append = |cluster: &InProcessCluster, count: i64| {
        let numbers = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
        for n in 0..count {
            numbers.append(&n).unwrap();
        }
    };
    let cluster = launch::<Numbers>(dir.path());
    append(&cluster, 5);
    cluster.close().unwrap();
    let mut expected = [("all", 5), ("some", 2)].map(|(name, count)| (name.to_string(), count)).to_vec();
    for round in 1..=2 {
        let cluster = launch::<Merged>(dir.path());
        append(&cluster, 3);
        cluster.depot::<String>("Numbers", "*names").unwrap().append(&"ann".to_string()).unwrap();
        expected.iter_mut().for_each(|(_, count)| *count += 3);
        if round == 1 {
            expected =
                [vec![expected.remove(0)], vec![("ann".to_string(), 0), ("new".to_string(), 3)], expected].concat();
        } else {
            expected[1].1 -= 3;
        }
        expected[1].1 += 1;
        let seen = cluster.pstate::<Map<String, i64>>("Numbers", "$$seen").unwrap();
        until("everything is seen once by each source", || seen.select_on(0, path().all()).unwrap() == expected);
        cluster.close().unwrap();
    }
}

/// Numbers on all tasks, of which some take a hop, some fail for ever and some are given up.
struct Counted;

impl Module for Counted {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let ticks = setup.declare_tick_depot("*ticks", Duration::from_millis(1));
        let mut s = topologies.stream("counted");
        s.source_with(&numbers, SourceOptions::default().dead_letter_after(2), |b, n| {
            b.shuffle_partition();
            b.assert(n, |n| n != 13, "it is unlucky");
        });
        s.source(&ticks, |_, _| {});
        topologies.stream("stuck").source(&numbers, |b, n| {
            b.assert(n, |n| n != 0, "it is nothing");
        });
    }
}

#[test]
fn the_records_a_stream_topology_has_processed_are_counted_and_waited_for_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let long = Duration::from_secs(60);
    for round in 1..=3u64 {
        let cluster = launch::<Counted>(dir.path());
        let numbers = cluster.depot::<i64>("Counted", "*numbers").unwrap();
        let stream = cluster.stream("Counted", "counted").unwrap();
        assert_eq!(stream.processed().unwrap(), 20 * (round - 1), "ticks are no records");
        let pending = (0..20).map(|n| numbers.append_async(&n, AckLevel::None).unwrap());
        pending.collect::<Vec<_>>().into_iter().for_each(|append| _ = append.wait().unwrap());
        let processed = cluster.wait_for_stream_processed_count("Counted", "counted", 20 * round, long).unwrap();
        assert_eq!(processed, 20 * round, "what was given up is done with");
        // What comes behind a record that fails counts, and the record does not.
        cluster.wait_for_stream_processed_count("Counted", "stuck", 19 * round, long).unwrap();
        let short = Duration::from_millis(20);
        let late = cluster.wait_for_stream_processed_count("Counted", "stuck", 19 * round + 1, short).unwrap_err();
        let expected = format!("the topology stuck has processed {} records", 19 * round);
        assert!(late.to_string().contains(&expected), "{late}");
        cluster.close().unwrap();
    }
}

/// Numbers that are counted at most once; 500 is not taken.
struct AtMostOnce;

impl Module for AtMostOnce {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        let mut s = topologies.stream("once");
        let counts = s.pstate_with::<Map<i64, i64>>("$$counts", PStateOptions::global());
        let once = SourceOptions { retry: RetryMode::None, ..SourceOptions::default() };
        s.source_with(&numbers, once, |b, n| {
            b.compound_agg(counts, agg::key(n, agg::count()));
            b.assert(n, |n| n != 500, "500 is not taken");
        });
    }
}

#[test]
fn without_retries_one_record_is_dropped_and_those_that_shared_its_batch_are_processed_once() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<AtMostOnce>(dir.path());
    let numbers = cluster.depot::<i64>("AtMostOnce", "*numbers").unwrap();
    let pending: Vec<_> = (0..1_000).map(|n| numbers.append_async(&n, AckLevel::AppendAck).unwrap()).collect();
    pending.into_iter().for_each(|append| _ = append.wait().unwrap());
    cluster.wait_for_stream_processed_count("AtMostOnce", "once", 1_000, Duration::from_secs(20)).unwrap();
    let counts = cluster.pstate::<Map<i64, i64>>("AtMostOnce", "$$counts").unwrap();
    let counted = counts.select(path().all()).unwrap();
    let expected: Vec<(i64, i64)> = (0..1_000).filter(|n| *n != 500).map(|n| (n, 1)).collect();
    assert_eq!(counted.len(), 999, "one is dropped");
    assert_eq!(counted, expected);
    cluster.close().unwrap();
}

/// Sources that cannot be.
struct Mistaken;

impl Module for Mistaken {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        setup.declare_depot::<i64>("*dead-letters", random());
        let mut s = topologies.stream_with("s", StreamOptions { executing_max: Some(0), ..StreamOptions::default() });
        s.source(&numbers, |_, _| {});
        s.source(&numbers, |_, _| {});
        let twice = SourceOptions { id: Some("x".into()), retry: RetryMode::None, ..SourceOptions::default() };
        s.source_with(&numbers, twice, |_, _| {});
        let sum = SourceOptions { id: Some("y/z".into()), dead_letter_after: Some(0), ..SourceOptions::default() };
        let sum = sum.aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
        s.source_with(&numbers, sum, |b, n| {
            let text = b.each(n, |n| n.to_string());
            b.ack_return(text);
        });
        for (name, tries) in [("t", 3), ("u", 1)] {
            let once = SourceOptions { retry: RetryMode::None, ..SourceOptions::default() };
            topologies.stream(name).source_with(&numbers, once.dead_letter_after(tries), |_, _| {});
        }
        topologies.query("q", |q, (n,): (Var<i64>,)| {
            q.ack_return(n);
            q.origin_partition();
            n
        });
        topologies.microbatch("m").source(&numbers, |b, batch| {
            let n = b.explode_microbatch(batch);
            b.ack_return(n);
        });
    }
}

#[test]
fn sources_and_returns_that_cannot_be_are_refused_with_their_lines() {
    let errors = define::<Mistaken>().unwrap_err();
    let expected = [
        "`*dead-letters` is the engine's",
        "the topology `s`: `executing_max` is 0",
        "the topology has a source on `*numbers` already; a further one needs an `id`",
        "several sources on `*numbers` need a retry mode other than `RetryMode::None`",
        "`ack_return` of a `str`: the source's aggregator `sum` takes `i64`",
        "the `id` of a source is not empty and has no `/` in it",
        "`dead_letter_after` is 0",
        "`ack_return` has nobody to return to here: only stream topologies have it",
        "the source of `t` on `*numbers` tries no record again (`RetryMode::None`), so none fails 3 times",
    ];
    for what in expected {
        let found = errors.errors.iter().find(|error| error.what.contains(what));
        assert!(found.is_some_and(|error| error.file.ends_with("stream.rs")), "{what}: {errors}");
    }
    let returns = errors.errors.iter().filter(|error| error.what.contains("nobody to return to")).count();
    assert_eq!(returns, 2, "a query and a microbatch: {errors}");
    assert!(!errors.to_string().contains("source of `u`"), "its first failure is its last: {errors}");
}

/// Each record is written down, then something takes long, then it is written down once more, or fails the first time.
struct Halves;

static FAILED: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

impl Module for Halves {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let options = DepotOptions { fail_ack_on_any_failure: false, ..DepotOptions::default() };
        let names = setup.declare_global_depot_with::<String>("*names", random(), options);
        for (at, name) in ["yields", "commits"].into_iter().enumerate() {
            let mut s = topologies.stream(name);
            let global = PStateOptions { global: true, ..PStateOptions::default() };
            let written = s.pstate_with::<Map<String, i64>>(&format!("$${name}"), global);
            s.source(&names, move |b, name| {
                let before = b.each(name, |name| format!("{name} before"));
                b.compound_agg(written, agg::key(before, agg::count()));
                b.each(name, |_| {
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(8) {
                        std::hint::spin_loop();
                    }
                });
                if at == 0 {
                    b.yield_if_overtime();
                } else {
                    let here = b.current_task_id();
                    b.direct_partition(here);
                }
                b.assert(name, move |_| FAILED[at].fetch_add(1, Ordering::Relaxed) > 0, "the first time");
                b.compound_agg(written, agg::key(name, agg::count()));
            });
        }
    }
}

#[test]
fn what_an_event_wrote_before_it_gave_way_is_undone_with_the_rest_and_what_it_committed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Halves>(dir.path());
    cluster.depot::<String>("Halves", "*names").unwrap().append(&"ann".to_string()).unwrap();
    for (topology, before) in [("yields", 1), ("commits", 2)] {
        let written = cluster.pstate::<Map<String, i64>>("Halves", &format!("$${topology}")).unwrap();
        let found = written.select_on(0, path().all()).unwrap();
        assert_eq!(found, [("ann".to_string(), 1), ("ann before".to_string(), before)], "{topology}");
    }
    cluster.close().unwrap();
}

/// Numbers in the order in which they start; a negative one fails the first time.
struct Ordered;

static RUNS: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);

impl Module for Ordered {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        let mut s = topologies.stream("s");
        let global = PStateOptions { global: true, ..PStateOptions::default() };
        let order = s.pstate_with::<Map<i64, List<i64>>>("$$order", global);
        s.source(&numbers, move |b, n| {
            b.each(n, |_| i64::from(RUNS.fetch_add(1, Ordering::Relaxed)));
            b.compound_agg(order, agg::key(0, agg::list(n)));
            b.assert(n, |n| n >= 0 || REFUSED.fetch_add(1, Ordering::Relaxed) % 2 == 1, "negative");
        });
    }
}

#[test]
fn records_start_in_the_order_of_their_offsets_and_a_batch_that_fails_leaves_nothing_of_any_of_its_events() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Ordered>(dir.path());
    let numbers = cluster.depot::<i64>("Ordered", "*numbers").unwrap();
    let order = || {
        let order = cluster.pstate::<Map<i64, List<i64>>>("Ordered", "$$order").unwrap();
        order.select_on(0, path().must(0)).unwrap().pop().unwrap_or_default()
    };
    let append_all = |from: i64, to: i64| {
        let pending: Vec<_> = (from..to).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
        wait_all(pending);
    };
    append_all(0, 500);
    assert_eq!(order(), (0..500).collect::<Vec<i64>>());
    assert_eq!(RUNS.load(Ordering::Relaxed), 500);

    // Whatever shares a batch with a record that fails runs once more, and leaves its traces once.
    let (mut rounds, mut next) = (0, 500);
    while u64::from(RUNS.load(Ordering::Relaxed)) == next as u64 + 2 * rounds {
        assert!(rounds < 1_000, "no record shared a batch with one that failed");
        let good: Vec<_> = (next..next + 20).map(|n| numbers.append_async(&n, AckLevel::AppendAck).unwrap()).collect();
        let bad = numbers.append_async(&-1, AckLevel::AppendAck).unwrap();
        wait_all(good.into_iter().chain([bad]));
        (rounds, next) = (rounds + 1, next + 20);
        until("all are there", || order().len() as u64 == next as u64 + rounds);
    }
    let mut found = order();
    found.sort_unstable();
    let negative = found.iter().take_while(|n| **n < 0).count() as u64;
    assert_eq!(negative, rounds);
    assert_eq!(found[negative as usize..], (0..next).collect::<Vec<i64>>());
    cluster.close().unwrap();
}
