//! Several sources of one topology on one depot: they meet, and then process the same records together.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);

fn launch<M: Module>(dir: &Path) -> InProcessCluster {
    let cluster = InProcessCluster::open(dir).unwrap();
    cluster.launch::<M>(LaunchConfig::new(2, 1)).unwrap();
    cluster
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

/// The depot, at first alone, and then with a topology that looks at it from its end and from its beginning.
struct Numbers<const WITH: bool>;

/// How often the source that begins at the end ran for a negative number, and the other.
static RUNS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

impl<const WITH: bool> Module for Numbers<WITH> {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let options = DepotOptions { fail_ack_on_any_failure: false, ..DepotOptions::default() };
        let numbers = setup.declare_global_depot_with::<i64>("*numbers", random(), options);
        if !WITH {
            return;
        }
        // Every event is a batch of its own, but those that belong together.
        let mut s =
            topologies.stream_with("stream", StreamOptions { batch_event_max: Some(1), ..StreamOptions::default() });
        let seen = s.pstate_with::<Map<String, Map<i64, i64>>>(
            "$$seen",
            PStateOptions { global: true, ..PStateOptions::default() },
        );
        for (at, (name, start)) in [("new", StartFrom::End), ("all", StartFrom::Beginning)].into_iter().enumerate() {
            let options = SourceOptions { start, id: Some(name.to_string()), ..SourceOptions::default() };
            let options = options.aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
            s.source_with(&numbers, options, move |b, n| {
                b.compound_agg(seen, agg::key(name, agg::key(n, agg::count())));
                b.ack_return(n);
                // The second fails every negative number once.
                b.assert(
                    n,
                    move |n| {
                        let run = if n < 0 { RUNS[at].fetch_add(1, Ordering::Relaxed) } else { 1 };
                        at == 0 || run % 2 == 1
                    },
                    "not yet",
                );
            });
        }
    }

    fn name() -> String {
        "Numbers".to_string()
    }
}

fn seen(cluster: &InProcessCluster, name: &str) -> BTreeMap<i64, i64> {
    let seen = cluster.pstate::<Map<String, Map<i64, i64>>>("Numbers", "$$seen").unwrap();
    seen.select_on(0, path().key(name.to_string()).all()).unwrap().into_iter().collect()
}

#[test]
fn sources_of_a_stream_that_meet_process_every_record_in_one_batch_and_try_it_again_together() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Numbers<false>>(dir.path());
    let numbers = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
    (0..5).for_each(|n| _ = numbers.append(&n).unwrap());
    cluster.close().unwrap();

    let once = |all: std::ops::Range<i64>| all.map(|n| (n, 1)).collect::<BTreeMap<i64, i64>>();
    let mut tried = BTreeMap::new();
    for round in 0..2i64 {
        let cluster = launch::<Numbers<true>>(dir.path());
        let numbers = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
        let acked = numbers.append_ack(&(5 + round)).unwrap();
        assert_eq!(acked.offset, Offset(5 + 2 * round as u64));
        let returned = |acked: Acked| acked.returns.get::<i64>("stream").unwrap();
        assert_eq!(returned(acked), Some(2 * (5 + round)), "both returned it, and the topology has one aggregator");
        until("what was there before is seen by the one that begins there", || {
            seen(&cluster, "all").into_iter().filter(|(n, _)| *n >= 0).eq(once(0..6 + round))
        });
        // The first source could go on; what it did is undone and done again with the second.
        let n = -1 - round;
        assert_eq!(returned(numbers.append_ack(&n).unwrap()), Some(2 * n), "the tries that failed returned nothing");
        tried.insert(n, 1);
        let runs = RUNS.each_ref().map(|runs| runs.load(Ordering::Relaxed));
        assert_eq!(runs, [2 * (round + 1) as u32; 2], "each ran twice for each negative number");
        let with_tried = |all| once(all).into_iter().chain(tried.clone()).collect::<BTreeMap<_, _>>();
        assert_eq!(seen(&cluster, "new"), with_tried(5..6 + round));
        assert_eq!(seen(&cluster, "all"), with_tried(0..6 + round));
        cluster.close().unwrap();
    }
}

/// The same with microbatches.
struct Batches<const WITH: bool>;

impl<const WITH: bool> Module for Batches<WITH> {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        if !WITH {
            return;
        }
        let options = MicrobatchOptions { max_records: 10, ..MicrobatchOptions::default() };
        let mut m = topologies.microbatch_with("micro", options);
        // By microbatch: how many records of which source.
        let seen = m.pstate_with::<Map<i64, Map<String, i64>>>("$$seen", PStateOptions::unchecked());
        let body = |name: &'static str| {
            move |m: &mut MicrobatchBlock, batch: Batch<i64>| {
                let id = m.current_microbatch_id();
                m.explode_microbatch(batch);
                m.compound_agg(seen, agg::key(id, agg::key(name, agg::count())));
            }
        };
        m.source(&numbers, body("new"));
        m.further_source("all", &numbers, StartFrom::Beginning, body("all"));
    }

    fn name() -> String {
        "Batches".to_string()
    }
}

/// By microbatch: how many records of the source that begins at the end, and of the other.
fn batches(cluster: &InProcessCluster) -> Vec<(i64, i64)> {
    let seen = cluster.pstate::<Map<i64, Map<String, i64>>>("Batches", "$$seen").unwrap();
    let rows: Vec<(i64, BTreeMap<String, i64>)> = seen.select_on(0, path().all()).unwrap();
    let of = |row: &BTreeMap<String, i64>, name| row.get(name).copied().unwrap_or(0);
    rows.iter().map(|(_, row)| (of(row, "new"), of(row, "all"))).collect()
}

#[test]
fn sources_of_a_microbatch_topology_that_meet_have_the_same_records_in_every_microbatch() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Batches<false>>(dir.path());
    let numbers = cluster.depot::<i64>("Batches", "*numbers").unwrap();
    (0..25).for_each(|n| _ = numbers.append(&n).unwrap());
    cluster.close().unwrap();

    let cluster = launch::<Batches<true>>(dir.path());
    cluster.wait_for_microbatch_processed_count("Batches", "micro", 25, LONG).unwrap();
    let mut expected = vec![(0, 10), (0, 10), (0, 5)];
    assert_eq!(batches(&cluster), expected, "they stand at the same record now");
    let mut processed = 25;
    for count in [3i64, 14] {
        cluster.pause_microbatch_topology("Batches", "micro").unwrap();
        let numbers = cluster.depot::<i64>("Batches", "*numbers").unwrap();
        (0..count).for_each(|n| _ = numbers.append(&n).unwrap());
        cluster.resume_microbatch_topology("Batches", "micro").unwrap();
        processed += 2 * count as u64;
        cluster.wait_for_microbatch_processed_count("Batches", "micro", processed, LONG).unwrap();
    }
    expected.extend([(3, 3), (10, 10), (4, 4)]);
    assert_eq!(batches(&cluster), expected);
    let micro = cluster.microbatch("Batches", "micro").unwrap();
    assert_eq!(micro.processed_offsets("*numbers").unwrap(), [Offset(42)]);
    cluster.close().unwrap();
}

#[test]
fn further_sources_that_could_not_be_told_apart_or_processed_together_are_refused_with_their_lines() {
    struct Mistaken;
    impl Module for Mistaken {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let numbers = setup.declare_depot::<i64>("*numbers", random());
            let mut s = topologies.stream("s");
            s.source(&numbers, |_, _| {});
            let ordered =
                SourceOptions { id: Some("x".into()), retry: RetryMode::AllAfter, ..SourceOptions::default() };
            s.source_with(&numbers, ordered, |_, _| {});
            let mut both = topologies.stream("both");
            both.source(&numbers, |b, n| b.ack_return(n));
            let second = SourceOptions { id: Some("z".into()), ..SourceOptions::default() };
            both.source_with(&numbers, second, |b, n| b.ack_return(n));
            let mut m = topologies.microbatch("m");
            m.source(&numbers, |_, _| {});
            m.source(&numbers, |_, _| {});
            m.further_source("y", &numbers, StartFrom::End, |_, _| {});
            m.further_source("y", &numbers, StartFrom::End, |_, _| {});
            m.further_source("a/b", &numbers, StartFrom::End, |_, _| {});
        }
    }
    let errors = define::<Mistaken>().unwrap_err();
    let expected = [
        "several sources on `*numbers` need the same retry mode and `dead_letter_after`",
        "the source without an `id` and `z` return values for records of `*numbers`",
        "the topology has a source on `*numbers` already; a further one needs an `id`",
        "the topology has a source `y` on `*numbers` already",
        "the `id` of a source is not empty and has no `/` in it",
    ];
    assert_eq!(errors.errors.len(), expected.len(), "{errors}");
    for what in expected {
        let found = errors.errors.iter().find(|error| error.what.contains(what));
        assert!(found.is_some_and(|error| error.file.ends_with("together.rs")), "{what}: {errors}");
    }
}
