//! Microbatch topologies, seen through the facade alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);
const TASKS: u32 = 4;

fn config(threads: u32) -> LaunchConfig {
    LaunchConfig { tasks: TASKS, threads, ..LaunchConfig::default() }
}

/// Lines whose words are counted by a microbatch topology, and by a stream topology beside it.
struct Words;

impl Module for Words {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut counter = topologies.microbatch("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        let batches = counter.pstate::<Map<i64, i64>>("$$batches");
        counter.source(&lines, |m, batch| {
            let id = m.current_microbatch_id();
            let line = m.explode_microbatch(batch);
            let before = m.anchor(());
            let word = m.explode(line, |line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>());
            m.hash_partition(word);
            m.compound_agg(counts, agg::key(word, agg::count()));
            m.hook(&before);
            m.hash_partition(id);
            m.compound_agg(batches, agg::key(id, agg::count()));
        });
        let mut stream = topologies.stream("stream");
        let seen = stream.pstate::<Map<String, i64>>("$$seen");
        stream.source(&lines, |b, line| {
            let word = b.explode(line, |line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>());
            b.hash_partition(word);
            b.compound_agg(seen, agg::key(word, agg::count()));
        });
    }
}

fn counts(cluster: &InProcessCluster, module: &str, pstate: &str) -> BTreeMap<String, i64> {
    let counts = cluster.pstate::<Map<String, i64>>(module, pstate).unwrap();
    (0..TASKS).flat_map(|task| counts.select_on(task, path().all()).unwrap()).collect()
}

fn numbers(cluster: &InProcessCluster, module: &str, pstate: &str) -> BTreeMap<i64, i64> {
    let counts = cluster.pstate::<Map<i64, i64>>(module, pstate).unwrap();
    (0..TASKS).flat_map(|task| counts.select_on(task, path().all()).unwrap()).collect()
}

/// A line, and what is expected of all lines so far.
fn line(at: usize, expected: &mut BTreeMap<String, i64>) -> String {
    let words = [format!("w{}", at % 17), format!("w{}", at % 5), "all".to_string()];
    words.iter().for_each(|word| *expected.entry(word.clone()).or_default() += 1);
    words.join(" ")
}

#[test]
fn every_word_is_counted_once_by_a_microbatch_topology_and_by_a_stream_beside_it() {
    for threads in [1, 2] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Words>(config(threads)).unwrap();
        let lines = cluster.depot::<String>("Words", "*lines").unwrap();
        let mut expected = BTreeMap::new();
        for at in 0..300 {
            lines.append(&line(at, &mut expected)).unwrap();
        }
        let status = cluster.wait_for_microbatch_processed_count("Words", "counter", 300, LONG).unwrap();
        assert_eq!(status.processed, 300);
        assert_eq!(counts(&cluster, "Words", "$$counts"), expected);
        assert_eq!(counts(&cluster, "Words", "$$seen"), expected);
        let batches = numbers(&cluster, "Words", "$$batches");
        assert_eq!(batches.values().sum::<i64>(), 300);
        assert_eq!(*batches.last_key_value().unwrap().0 as u64, status.finished);
        assert!(batches.keys().copied().eq(1..=status.finished as i64), "no microbatch is empty: {batches:?}");
        cluster.close().unwrap();
    }
}

#[test]
fn what_is_appended_while_a_topology_is_paused_is_in_one_microbatch_up_to_its_limit_per_partition() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Words>(config(2)).unwrap();
    let lines = cluster.depot::<String>("Words", "*lines").unwrap();
    cluster.pause_microbatch_topology("Words", "counter").unwrap();
    cluster.pause_microbatch_topology("Words", "counter").unwrap();
    let mut expected = BTreeMap::new();
    let pending: Vec<_> =
        (0..1_500).map(|at| lines.append_async(&line(at, &mut expected), AckLevel::AppendAck).unwrap()).collect();
    pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    let timeout = Duration::from_millis(50);
    let late = cluster.wait_for_microbatch_processed_count("Words", "counter", 1, timeout).unwrap_err();
    assert!(late.to_string().contains("has processed 0 records after 50ms, not 1"), "{late}");
    assert!(counts(&cluster, "Words", "$$counts").is_empty(), "nothing runs");
    cluster.resume_microbatch_topology("Words", "counter").unwrap();
    cluster.wait_for_microbatch_processed_count("Words", "counter", 1_500, LONG).unwrap();
    assert_eq!(numbers(&cluster, "Words", "$$batches"), BTreeMap::from([(1, 1_500)]));
    assert_eq!(counts(&cluster, "Words", "$$counts"), expected);
    cluster.close().unwrap();
}

#[test]
fn a_topology_goes_on_after_a_restart_where_it_ended_and_its_count_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    let mut finished = 0;
    for life in 0..4u64 {
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        // The number of threads may change from life to life.
        cluster.launch::<Words>(config([2, 2, 1, 4][life as usize])).unwrap();
        let lines = cluster.depot::<String>("Words", "*lines").unwrap();
        for at in 0..200 {
            lines.append(&line(at, &mut expected)).unwrap();
            if at == 150 && life % 2 == 0 {
                let count = life * 200 + 100;
                let status = cluster.wait_for_microbatch_processed_count("Words", "counter", count, LONG).unwrap();
                assert!(status.finished > finished);
                finished = status.finished;
            }
        }
        // Some lives end while records wait.
        if life == 1 {
            cluster.pause_microbatch_topology("Words", "counter").unwrap();
            cluster.resume_microbatch_topology("Words", "counter").unwrap();
        }
        cluster.close().unwrap();
    }
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Words>(config(2)).unwrap();
    let status = cluster.wait_for_microbatch_processed_count("Words", "counter", 800, LONG).unwrap();
    assert_eq!(status.processed, 800);
    assert_eq!(counts(&cluster, "Words", "$$counts"), expected);
    let batches = numbers(&cluster, "Words", "$$batches");
    assert_eq!(batches.values().sum::<i64>(), 800);
    assert!(batches.keys().copied().eq(1..=status.finished as i64), "{batches:?}");
    cluster.close().unwrap();
}

#[test]
fn a_pause_holds_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Words>(config(2)).unwrap();
    cluster.pause_microbatch_topology("Words", "counter").unwrap();
    cluster.depot::<String>("Words", "*lines").unwrap().append(&"a".to_string()).unwrap();
    cluster.close().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Words>(config(2)).unwrap();
    let topology = cluster.microbatch("Words", "counter").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(topology.status().unwrap(), MicrobatchStatus { paused: true, ..MicrobatchStatus::default() });
    let paused = topology.wait_for_processed(1, Duration::from_millis(5)).unwrap_err().to_string();
    assert!(paused.ends_with("has processed 0 records after 5ms, not 1; it is paused"), "{paused}");
    topology.resume().unwrap();
    topology.resume().unwrap();
    assert_eq!(topology.wait_for_processed(1, LONG).unwrap().processed, 1);
    cluster.close().unwrap();
}

/// Money moves between accounts: deposits and transfers, in one topology.
struct Bank;

type Transfer = (i64, i64, i64);

/// How often the code of transfers fails before it does not.
static FAILURES_LEFT: AtomicU32 = AtomicU32::new(0);

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let deposits = setup.declare_depot::<(i64, i64)>("*deposits", hash_by(|deposit: &(i64, i64)| deposit.0));
        let transfers = setup.declare_depot::<Transfer>("*transfers", hash_by(|transfer: &Transfer| transfer.0));
        let mut bank = topologies.microbatch_with("bank", MicrobatchOptions { max_records: 7, ..Default::default() });
        let funds = bank.pstate::<Map<i64, i64>>("$$funds");
        bank.source(&deposits, |m, batch| {
            let deposit = m.explode_microbatch(batch);
            let (account, amount) = m.expand(deposit, |deposit| *deposit);
            m.compound_agg(funds, agg::key(account, agg::sum(amount)));
        });
        bank.source(&transfers, |m, batch| {
            let transfer = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(transfer, |transfer| *transfer);
            let there = m.local_select(funds, path().key(from).null_to_val(0));
            m.filter((there, amount), |(there, amount)| there >= amount);
            let less = m.each(amount, |amount| -amount);
            m.compound_agg(funds, agg::key(from, agg::sum(less)));
            m.hash_partition(to);
            m.each(to, |to| {
                let next = |left: u32| left.checked_sub(1);
                let fails = to == 13 && FAILURES_LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok();
                assert!(!fails, "account 13 is out of luck");
            });
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
    }
}

#[test]
fn transfers_between_partitions_keep_the_sum_and_a_failed_attempt_leaves_nothing_behind() {
    FAILURES_LEFT.store(3, Ordering::SeqCst);
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Bank>(config(2)).unwrap();
    let deposits = cluster.depot::<(i64, i64)>("Bank", "*deposits").unwrap();
    let transfers = cluster.depot::<Transfer>("Bank", "*transfers").unwrap();
    for account in 0..20 {
        deposits.append(&(account, 1_000)).unwrap();
    }
    cluster.wait_for_microbatch_processed_count("Bank", "bank", 20, LONG).unwrap();
    let mut random = 7u64;
    for round in 0..10 {
        for _ in 0..30 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, to, amount) = ((random >> 33) % 20, (random >> 43) % 20, (random >> 53) % 300);
            transfers.append(&(from as i64, to as i64, amount as i64)).unwrap();
        }
        // Between microbatches every partition shows the same one.
        cluster.pause_microbatch_topology("Bank", "bank").unwrap();
        let funds = numbers(&cluster, "Bank", "$$funds");
        assert_eq!(funds.values().sum::<i64>(), 20_000, "round {round}: {funds:?}");
        assert!(funds.values().all(|amount| *amount >= 0), "round {round}: {funds:?}");
        cluster.resume_microbatch_topology("Bank", "bank").unwrap();
    }
    cluster.wait_for_microbatch_processed_count("Bank", "bank", 320, LONG).unwrap();
    assert_eq!(FAILURES_LEFT.load(Ordering::SeqCst), 0, "it failed before");
    let funds = numbers(&cluster, "Bank", "$$funds");
    assert_eq!(funds.values().sum::<i64>(), 20_000, "{funds:?}");
    assert!(funds.values().any(|amount| *amount != 1_000));
    cluster.close().unwrap();
}

/// Numbers, of which 13 fails while it may not pass.
struct Picky;

static LETS_PASS: AtomicBool = AtomicBool::new(false);

impl Module for Picky {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let mut picky = topologies.microbatch("picky");
        picky.source_from(&numbers, StartFrom::Beginning, |m, batch| {
            let n = m.explode_microbatch(batch);
            m.assert(
                n,
                |n| n != 13 || LETS_PASS.load(Ordering::SeqCst),
                &format!("13 is not taken{}", " at all".repeat(400)),
            );
        });
    }
}

#[test]
fn a_topology_that_fails_says_on_which_microbatch_how_often_and_why_until_it_succeeds() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Picky>(config(2)).unwrap();
    let picky = cluster.microbatch("Picky", "picky").unwrap();
    assert_eq!(picky.status().unwrap().failing, None);
    cluster.depot::<i64>("Picky", "*numbers").unwrap().append_with(&13, AckLevel::AppendAck).unwrap();
    let stuck = loop {
        match picky.status().unwrap().failing {
            Some(failing) if failing.attempts > 1 => break failing,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(stuck.id == 1 && stuck.error.contains("13 is not taken at all") && stuck.error.len() <= 1 << 10, "{stuck}");
    let late = cluster.wait_for_microbatch_processed_count("Picky", "picky", 1, Duration::from_millis(5)).unwrap_err();
    let text = late.to_string();
    assert!(text.contains("not 1; microbatch 1 failed ") && text.contains(" times, last with: "), "{text}");
    LETS_PASS.store(true, Ordering::SeqCst);
    assert_eq!(picky.wait_for_processed(1, LONG).unwrap().failing, None);
    cluster.close().unwrap();
}

/// Many records in few microbatches; their order within a partition, and what a second explode sees.
struct Many;

impl Module for Many {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| n % 4));
        let options = MicrobatchOptions { max_records: 1_100, ..MicrobatchOptions::default() };
        let mut many = topologies.microbatch_with("many", options);
        let here = PStateOptions { unchecked: true, ..PStateOptions::default() };
        let last = many.pstate_with::<Map<i64, i64>>("$$last", here);
        let sums = many.pstate::<Map<i64, i64>>("$$sums");
        many.source_from(&numbers, StartFrom::Beginning, |m, batch| {
            let start = m.anchor(());
            let n = m.explode_microbatch(batch);
            let task = m.current_task_id();
            let before = m.local_select(last, path().key(task).null_to_val(-1));
            m.each((before, n), |(before, n)| assert!(before < n, "{n} comes after {before}"));
            m.compound_agg(last, agg::key(task, agg::last(n)));
            m.hook(&start);
            let n = m.explode_microbatch(batch);
            let remainder = m.each(n, |n| n % 10);
            m.hash_partition(remainder);
            m.compound_agg(sums, agg::key(remainder, agg::sum(n)));
        });
    }
}

#[test]
fn records_are_exploded_in_order_as_often_as_the_code_says_from_the_beginning_if_asked() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Many>(config(2)).unwrap();
    let depot = cluster.depot::<i64>("Many", "*numbers").unwrap();
    let pending: Vec<_> = (0..6_000i64).map(|n| depot.append_async(&n, AckLevel::AppendAck).unwrap()).collect();
    pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    cluster.wait_for_microbatch_processed_count("Many", "many", 6_000, LONG).unwrap();
    let expected: BTreeMap<i64, i64> = (0..10).map(|r| (r, (0..6_000).filter(|n| n % 10 == r).sum())).collect();
    assert_eq!(numbers(&cluster, "Many", "$$sums"), expected);
    let last = numbers(&cluster, "Many", "$$last");
    assert_eq!(last.values().max(), Some(&5_999));
    cluster.close().unwrap();
}

/// Batch blocks in sequence: words are counted, then all counts are added up.
struct Grouped;

impl Module for Grouped {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut grouped = topologies.microbatch("grouped");
        let counts = grouped.pstate::<Map<String, i64>>("$$counts");
        let global = PStateOptions { global: true, ..PStateOptions::default() };
        let totals = grouped.pstate_with::<Map<i64, i64>>("$$totals", global);
        let ends = grouped.pstate_with::<Map<i64, i64>>("$$ends", global);
        grouped.source(&lines, |m, batch| {
            let id = m.current_microbatch_id();
            m.batch_block(|b| {
                let line = b.explode_microbatch(batch);
                let word = b.explode(line, |line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>());
                let (word, count) = b.group_by(word, |g| g.agg::<i64>(agg::count()));
                b.compound_agg(counts, agg::key(word, agg::sum(count)));
            });
            m.batch_block(|b| {
                b.all_partition();
                let count = b.local_select(counts, path().map_vals());
                b.global_partition();
                let total = b.agg::<i64>(agg::sum(count));
                b.compound_agg(totals, agg::key(id, agg::last(total)));
            });
            m.compound_agg(ends, agg::key(id, agg::count()));
        });
    }
}

#[test]
fn batch_blocks_run_one_after_the_other_and_the_code_behind_them_once() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Grouped>(config(2)).unwrap();
    let lines = cluster.depot::<String>("Grouped", "*lines").unwrap();
    let mut expected = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for round in 1..=4i64 {
        cluster.pause_microbatch_topology("Grouped", "grouped").unwrap();
        for at in 0..50 {
            lines.append(&line(at, &mut expected)).unwrap();
        }
        cluster.resume_microbatch_topology("Grouped", "grouped").unwrap();
        let status =
            cluster.wait_for_microbatch_processed_count("Grouped", "grouped", 50 * round as u64, LONG).unwrap();
        assert_eq!(status.finished, round as u64);
        totals.insert(round, expected.values().sum::<i64>());
    }
    assert_eq!(counts(&cluster, "Grouped", "$$counts"), expected);
    let global = |name: &str| -> BTreeMap<i64, i64> {
        let found = cluster.pstate::<Map<i64, i64>>("Grouped", name).unwrap();
        found.select_on(0, path().all()).unwrap().into_iter().collect()
    };
    assert_eq!(global("$$totals"), totals, "the second block sees what the first wrote");
    assert_eq!(global("$$ends"), (1..=4).map(|id| (id, 1)).collect());
    cluster.close().unwrap();
}

/// A topology that was not there when records came, and one that runs without records.
struct Late<const WITH: bool>;

impl<const WITH: bool> Module for Late<WITH> {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        if !WITH {
            return;
        }
        for (name, start) in [("all", StartFrom::Beginning), ("two", StartFrom::RecordsAgo(2)), ("new", StartFrom::End)]
        {
            let mut topology = topologies.microbatch(name);
            let sum = topology.pstate::<Map<i64, i64>>(&format!("$${name}"));
            topology.source_from(&numbers, start, |m, batch| {
                let n = m.explode_microbatch(batch);
                let key = m.constant(0i64);
                m.hash_partition(key);
                m.compound_agg(sum, agg::key(key, agg::sum(n)));
            });
        }
        let options =
            MicrobatchOptions { empty_period: Some(Duration::from_millis(5)), ..MicrobatchOptions::default() };
        let mut ticker = topologies.microbatch_with("ticker", options);
        let ticks = ticker.pstate::<Map<i64, i64>>("$$ticks");
        ticker.source(&numbers, |m, batch| {
            let all = m.anchor(());
            m.explode_microbatch(batch);
            m.hook(&all);
            let key = m.constant(0i64);
            m.hash_partition(key);
            m.compound_agg(ticks, agg::key(key, agg::count()));
        });
    }

    fn name() -> String {
        "Late".to_string()
    }
}

#[test]
fn a_topology_starts_where_its_source_says_and_runs_without_records_only_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Late<false>>(config(2)).unwrap();
    let depot = cluster.depot::<i64>("Late", "*numbers").unwrap();
    (1..=5).for_each(|n| assert!(depot.append(&n).is_ok()));
    cluster.close().unwrap();
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Late<true>>(config(2)).unwrap();
    let depot = cluster.depot::<i64>("Late", "*numbers").unwrap();
    depot.append(&100).unwrap();
    for (name, count, sum) in [("all", 6, 115), ("two", 3, 109), ("new", 1, 100)] {
        let status = cluster.wait_for_microbatch_processed_count("Late", name, count, LONG).unwrap();
        assert_eq!(status.processed, count, "{name}");
        assert_eq!(numbers(&cluster, "Late", &format!("$${name}")), BTreeMap::from([(0, sum)]), "{name}");
        assert!(status.finished <= 2, "{name} runs when there is something to do: {status:?}");
    }
    let ticker = cluster.microbatch("Late", "ticker").unwrap();
    while ticker.status().unwrap().finished < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    cluster.pause_microbatch_topology("Late", "ticker").unwrap();
    let status = ticker.status().unwrap();
    assert_eq!(numbers(&cluster, "Late", "$$ticks"), BTreeMap::from([(0, status.finished as i64)]));
    let unknown = cluster.microbatch("Late", "tucker").unwrap_err().to_string();
    assert!(unknown.contains("no microbatch topology `tucker`; it has all, two, new, ticker"), "{unknown}");
    cluster.close().unwrap();
}

#[test]
fn mistakes_in_microbatch_topologies_are_found_where_they_are_declared() {
    struct Wrong;
    impl Module for Wrong {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let numbers = setup.declare_depot::<i64>("*numbers", random());
            let mut stream = topologies.stream("stream");
            stream.source(&numbers, |b, _| {
                b.current_microbatch_id();
            });
            let options = MicrobatchOptions { max_records: 0, fetch_max: Some(1), ..MicrobatchOptions::default() };
            let mut micro = topologies.microbatch_with("stream", options);
            let mine = micro.pstate::<Map<i64, i64>>("$$mine");
            micro.source(&numbers, |m, batch| {
                let n = m.explode_microbatch(batch);
                m.compound_agg(mine, agg::key(n, agg::count()));
            });
            micro.source(&numbers, |_, _| {});
            topologies.stream("thief").source(&numbers, |b, n| {
                b.hash_partition(n);
                b.compound_agg(mine, agg::key(n, agg::count()));
            });
        }
    }
    let errors = define::<Wrong>().unwrap_err();
    let texts: Vec<&str> = errors.errors.iter().map(|error| &error.what[..]).collect();
    for expected in [
        "there is a microbatch in microbatch topologies only",
        "the module has a topology `stream` already",
        "`max_records` is at least 1",
        "`fetch_max` is at least 1 and at most `max_records`",
        "the topology has a source on `*numbers` already",
        "`$$mine` belongs to the topology `stream`, which alone may write it",
    ] {
        assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:#?}");
    }
    assert!(errors.errors.iter().all(|error| error.file.ends_with("microbatch.rs")), "{errors}");
}

/// The records of a microbatch, so many at a time.
struct Fetching<const COUNT: u64>;

impl<const COUNT: u64> Module for Fetching<COUNT> {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        let fetch_max = (COUNT > 0).then_some(COUNT);
        let options = MicrobatchOptions { max_records: 20, fetch_max, ..MicrobatchOptions::default() };
        let mut m = topologies.microbatch_with("m", options);
        let sum = m.pstate_with::<Map<i64, i64>>("$$sum", PStateOptions::unchecked());
        m.source(&numbers, |m, batch| {
            let n = m.explode_microbatch(batch);
            let key = m.constant(0i64);
            m.compound_agg(sum, agg::key(key, agg::sum(n)));
        });
    }

    fn name() -> String {
        "Fetching".to_string()
    }
}

/// How many events a microbatch of 20 records has.
fn events_of_twenty<const COUNT: u64>() -> u64 {
    let log = tantu::testing::EventLog::default();
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch_observed::<Fetching<COUNT>>(config(1), log.observer()).unwrap();
    cluster.pause_microbatch_topology("Fetching", "m").unwrap();
    let depot = cluster.depot::<i64>("Fetching", "*numbers").unwrap();
    (1..=20).for_each(|n| _ = depot.append(&n).unwrap());
    log.take();
    cluster.resume_microbatch_topology("Fetching", "m").unwrap();
    let status = cluster.wait_for_microbatch_processed_count("Fetching", "m", 20, LONG).unwrap();
    assert_eq!((status.finished, numbers(&cluster, "Fetching", "$$sum")), (1, BTreeMap::from([(0, 210)])));
    let count = log.take().ended.values().sum();
    cluster.close().unwrap();
    count
}

#[test]
fn an_explode_reads_so_many_records_at_once_as_the_topology_says() {
    let all_at_once = events_of_twenty::<0>();
    assert_eq!(events_of_twenty::<20>(), all_at_once + 1, "a full page does not know that it is the last");
    assert_eq!(events_of_twenty::<3>(), all_at_once + 6);
}
