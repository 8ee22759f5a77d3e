//! PStates: what their partitions start with, who sees which writes, selects that give way, order between tasks.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tantu::prelude::*;

fn cluster_of<M: Module>(tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<M>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    cluster
}

#[derive(Record, Clone, PartialEq, Debug)]
struct Limits {
    most: i64,
    note: Option<String>,
}

/// Two tasks; even changes go to the first.
struct Starting;

impl Module for Starting {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let changes = setup.declare_depot::<i64>("*changes", custom(|change: &i64, _| change.rem_euclid(2)));
        let mut s = topologies.stream("s");
        let total = s.pstate_initial::<i64>("$$total", PStateOptions::default(), 100);
        let limits = Limits { most: 7, note: None };
        let limits = s.pstate_initial::<Limits>("$$limits", PStateOptions::default(), limits);
        s.source(&changes, |b, change| {
            b.agg(total, agg::sum(change));
            b.local_transform(limits, path().field(Limits::NOTE).term_val("changed".to_string()));
            let nothing = b.each(change, |change| change == 0);
            b.if_true(nothing, |b| b.local_clear(total));
        });
        topologies.query("totals", |q, ()| {
            q.all_partition();
            let (total, most) = (q.local_select(total, path()), q.local_select(limits, path().field(Limits::MOST)));
            let both = q.each((total, most), |(total, most)| total * 1_000 + most);
            q.origin_partition();
            q.agg::<i64>(agg::sum(both))
        });
    }
}

#[test]
fn every_partition_starts_with_the_initial_value_and_is_reset_to_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        cluster.launch::<Starting>(LaunchConfig { tasks: 2, threads: 2, ..LaunchConfig::default() }).unwrap();
        let total = cluster.pstate::<i64>("Starting", "$$total").unwrap();
        let limits = cluster.pstate::<Limits>("Starting", "$$limits").unwrap();
        let totals = cluster.query::<(), i64>("Starting", "totals").unwrap();
        let seen = || [0, 1].map(|partition| total.select_on(partition, path()).unwrap()[0]);
        if round == 0 {
            assert_eq!(seen(), [100, 100], "nothing was written yet");
            assert_eq!(totals.invoke(&()).unwrap(), 200_014);
            assert_eq!(limits.select_on(0, path()).unwrap(), [Limits { most: 7, note: None }]);
        } else {
            assert_eq!(seen(), [114, 100], "the same after the module was opened again");
        }
        let changes = cluster.depot::<i64>("Starting", "*changes").unwrap();
        changes.append(&14).unwrap();
        assert_eq!(seen(), [114 + 14 * round, 100]);
        let changed = Limits { most: 7, note: Some("changed".to_string()) };
        assert_eq!(limits.select_on(0, path()).unwrap(), [changed], "one field of the initial value was changed");
        assert_eq!(limits.select_on(1, path().field(Limits::NOTE)).unwrap(), [None]);
        if round == 1 {
            changes.append(&0).unwrap();
            assert_eq!(seen(), [100, 100], "cleared");
            changes.append(&2).unwrap();
            assert_eq!(seen(), [102, 100]);
        }
        cluster.close().unwrap();
    }
}

/// Initial values that cannot be, as only the untyped layer lets one write them.
struct Impossible;

impl Module for Impossible {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        use tantu::path::Schema;
        let mut s = topologies.stream("s");
        let map = Schema::map(Schema::Str, Schema::I64);
        s.pstate_untyped_initial("$$map", map, PStateOptions::default(), &Value::map([]));
        s.pstate_untyped_initial("$$text", Schema::Str, PStateOptions::default(), &Value::I64(4));
        s.pstate_untyped_initial("$$right", Schema::Str, PStateOptions::default(), &Value::Str("a".to_string()));
    }
}

#[test]
fn a_map_has_no_initial_value_and_another_must_fit_its_schema() {
    let text = define::<Impossible>().expect_err("it has mistakes").to_string();
    assert!(text.contains("state.rs:") && text.contains("$$map") && text.contains("is not one value"), "{text}");
    assert!(text.contains("$$text") && text.contains("expected String, found i64 4"), "{text}");
    assert!(!text.contains("$$right"), "{text}");
}

const ITEMS: i64 = 1_000;
const FAR: i64 = 1_000_000;

/// Walks over all items and changes those that are still ahead.
struct Walk;

impl Module for Walk {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let fills = setup.declare_depot::<i64>("*fills", random());
        let walks = setup.declare_depot::<i64>("*walks", random());
        let mut s = topologies.stream("walk");
        let items = s.pstate::<Map<i64, i64>>("$$items");
        let seen = s.pstate::<Map<i64, List<i64>>>("$$seen");
        s.source(&fills, |b, count| {
            let n = b.explode(count, |count| 0..count);
            b.local_transform(items, path().key(n).term_val(n));
        });
        s.source(&walks, |b, bonus| {
            // Written and not committed.
            b.local_transform(items, path().key(5).term_val(bonus));
            b.local_transform(items, path().key(6).term_void());
            let pair = b.local_select_yielding(items, path().with_page_size(10, path().all()));
            let (key, value) = b.expand(pair, |pair| *pair);
            b.compound_agg(seen, agg::key(key, agg::list(value)));
            let ahead = b.each(key, |key| ITEMS - 1 - key);
            b.local_transform(items, path().key(ahead).null_to_val(0).term(|n| n + FAR));
        });
        let private = items;
        topologies.query("sum", move |q, (page,): (Var<i64>,)| {
            q.all_partition();
            let value = q.local_select_yielding(private, path().with_page_size(7, path().map_vals()));
            q.filter((value, page), |(value, page)| value >= page);
            q.origin_partition();
            q.agg::<i64>(agg::sum(value))
        });
    }
}

#[test]
fn a_yielding_select_finds_what_was_there_when_it_began_uncommitted_writes_included() {
    let cluster = cluster_of::<Walk>(1);
    cluster.depot::<i64>("Walk", "*fills").unwrap().append(&ITEMS).unwrap();
    cluster.depot::<i64>("Walk", "*walks").unwrap().append(&50_000).unwrap();
    let seen = cluster.pstate::<Map<i64, List<i64>>>("Walk", "$$seen").unwrap();
    let items = cluster.pstate::<Map<i64, i64>>("Walk", "$$items").unwrap();
    for key in 0..ITEMS {
        let expected = match key {
            5 => Some(vec![50_000]),
            6 => None,
            key => Some(vec![key]),
        };
        assert_eq!(seen.select_one(path().key(key)).unwrap(), expected, "{key}");
    }
    // The walk passed every item but 6, so every item but the one that 6 leads to was changed once.
    let sum = items.select(path().map_vals()).unwrap().into_iter().sum::<i64>();
    let numbers = ITEMS * (ITEMS - 1) / 2 - 5 - 6 + 50_000;
    assert_eq!(sum, numbers + FAR * (ITEMS - 1));
    assert_eq!(items.select_one(path().key(ITEMS - 1 - 6)).unwrap(), Some(ITEMS - 1 - 6));
    cluster.close().unwrap();
}

#[test]
fn a_yielding_select_of_a_query_reads_pages_of_one_committed_instant() {
    let cluster = cluster_of::<Walk>(1);
    cluster.depot::<i64>("Walk", "*fills").unwrap().append(&ITEMS).unwrap();
    let sum = cluster.query::<(i64,), i64>("Walk", "sum").unwrap();
    let all = ITEMS * (ITEMS - 1) / 2;
    assert_eq!(sum.invoke(&(0,)).unwrap(), all);
    assert_eq!(sum.invoke(&(ITEMS,)).unwrap(), 0, "pages without a row");
    // Many at once, whose pages take turns.
    let pending: Vec<_> = (0..50).map(|_| sum.invoke_async(&(0,)).unwrap()).collect();
    for answer in pending {
        assert_eq!(answer.wait().unwrap(), all);
    }
    cluster.close().unwrap();
}

/// Money that moves, and never is more or less.
struct Money;

const ACCOUNTS: i64 = 64;

impl Module for Money {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let moves = setup.declare_depot::<(i64, i64)>("*moves", random());
        let mut s = topologies.stream("money");
        let held = s.pstate::<Map<i64, i64>>("$$held");
        let log = s.pstate::<Map<i64, i64>>("$$steps");
        s.source(&moves, |b, pair| {
            let (from, to) = b.expand(pair, |(from, to)| (*from, *to));
            let before = b.local_select(held, path().key(from).null_to_val(100));
            b.local_transform(held, path().key(from).null_to_val(100).term(|n| n - 1));
            b.local_transform(held, path().key(to).null_to_val(100).term(|n| n + 1));
            // The topology itself sees what it has just written, long before that is committed.
            let after = b.local_select(held, path().key(from).null_to_val(100));
            b.assert((before, after), |(before, after)| after == before - 1, "it reads its own writes");
            b.compound_agg(log, agg::key(from, agg::count()));
        });
        // PStates of a topology are read by the queries and the other topologies of the module.
        let mut other = topologies.stream("other");
        let copied = other.pstate::<Map<i64, i64>>("$$copied");
        let asks = setup.declare_depot::<i64>("*asks", random());
        other.source(&asks, |b, of| {
            let found = b.local_select(held, path().key(of).null_to_val(100));
            b.local_transform(copied, path().key(of).term_val(found));
        });
        topologies.query("sum", move |q, ()| {
            q.global_partition();
            let all = q.local_select(held, path().subselect(path().map_vals()));
            q.origin_partition();
            q.each(all, |all| all.iter().sum::<i64>() - 100 * all.len() as i64)
        });
    }
}

#[test]
fn clients_and_queries_see_committed_events_whole_and_owners_their_own_writes() {
    let cluster = cluster_of::<Money>(1);
    let moves = cluster.depot::<(i64, i64)>("Money", "*moves").unwrap();
    let held = cluster.pstate::<Map<i64, i64>>("Money", "$$held").unwrap();
    let sum = cluster.query::<(), i64>("Money", "sum").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                // Many pages, and yet one instant: an event that moves money is seen whole or not at all.
                let all = held.select(path().with_page_size(3, path().map_vals())).unwrap();
                assert_eq!(all.iter().sum::<i64>(), 100 * all.len() as i64, "after {reads} reads");
                assert_eq!(sum.invoke(&()).unwrap(), 0);
                reads += 1;
            }
        });
        let pending: Vec<_> = (0..3_000i64)
            .map(|n| moves.append_async(&(n * 7 % ACCOUNTS, n * 13 % ACCOUNTS + ACCOUNTS), AckLevel::Ack).unwrap())
            .collect();
        for append in pending {
            append.wait().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let asks = cluster.depot::<i64>("Money", "*asks").unwrap();
    asks.append(&7).unwrap();
    let copied = cluster.pstate::<Map<i64, i64>>("Money", "$$copied").unwrap();
    let expected = held.select_one(path().key(7)).unwrap();
    assert!(expected.is_some_and(|held| held < 100));
    assert_eq!(copied.select_one(path().key(7)).unwrap(), expected);
    // One of many, none of many: an error for who wants one.
    assert!(matches!(held.select_one(path().map_vals()), Err(ClientError::NotOne { count }) if count > 1));
    assert!(matches!(held.select_one(path().must(-1)), Err(ClientError::NotOne { count: 0 })));
    cluster.close().unwrap();
}

/// Records go through two tasks each.
struct Relay;

impl Module for Relay {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let mut s = topologies.stream("relay");
        let met = s.pstate::<Map<String, List<(i64, i64)>>>("$$met");
        let counts = s.pstate::<Map<String, i64>>("$$counts");
        s.source(&numbers, |b, number| {
            let from = b.current_task_id();
            // What stays behind: an iterator, which no letter could carry.
            let list = b.each(number, |number| vec![(number, 0i64)]);
            let found = b.unfold(list, 0usize..1, |list, places| list.get(places.next()?));
            let number = b.each(found, |found| found.0);
            let end = b.each((), |()| "the end");
            b.hash_partition(end);
            let pair = b.each((from, number), |pair| pair);
            b.compound_agg(met, agg::key(end, agg::list(pair)));
            // Check, then write: nobody comes in between.
            let before = b.local_select(counts, path().key(end).null_to_val(0));
            let after = b.each(before, |before| before + 1);
            b.local_transform(counts, path().key(end).term_val(after));
        });
    }
}

#[test]
fn what_one_task_sends_another_arrives_in_order_and_events_of_a_task_run_one_at_a_time() {
    let cluster = cluster_of::<Relay>(4);
    let numbers = cluster.depot::<i64>("Relay", "*numbers").unwrap();
    let pending: Vec<_> = (0..2_000i64).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
    for append in pending {
        append.wait().unwrap();
    }
    let met = cluster.pstate::<Map<String, List<(i64, i64)>>>("Relay", "$$met").unwrap();
    let met = met.select_one(path().key("the end")).unwrap().unwrap();
    assert_eq!(met.len(), 2_000);
    for from in 0..4 {
        let of_task: Vec<i64> = met.iter().filter(|(task, _)| *task == from).map(|(_, number)| *number).collect();
        assert!(of_task.is_sorted(), "from task {from}");
        assert!(of_task.len() > 300, "the random partitioner spreads: {} on task {from}", of_task.len());
    }
    let counts = cluster.pstate::<Map<String, i64>>("Relay", "$$counts").unwrap();
    assert_eq!(counts.select_one(path().key("the end")).unwrap(), Some(2_000));
    cluster.close().unwrap();
}

/// What rustc cannot see: the untyped layer writes what comes.
struct Untyped;

impl Module for Untyped {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        use tantu::path::{Path, Schema};
        let depot = setup.declare_depot::<Value>("*in", random());
        let mut s = topologies.stream("s");
        s.pstate_untyped("$$numbers", Schema::map(Schema::Str, Schema::I64), PStateOptions::default());
        let once = SourceOptions { retry: RetryMode::None, ..SourceOptions::default() };
        let whole = s.pstate::<i64>("$$whole");
        s.source_with(&depot, once, move |b, value| {
            b.named(|n| {
                n.bind("*value", value);
                let value = n.arg("*value");
                n.local_transform("$$numbers", Path::new().key(Value::Str("good".to_string())).term_val(Value::I64(1)));
                n.local_transform("$$numbers", Path::new().key(Value::Str("a".to_string())).term_val(value));
            });
            let null = b.each(value, |value| *value == Value::I64(0));
            b.if_true(null, |b| b.local_transform(whole, path().term_void()));
        });
    }
}

#[test]
fn a_write_that_does_not_fit_fails_its_record_and_leaves_nothing_behind() {
    let cluster = cluster_of::<Untyped>(1);
    let depot = cluster.depot::<Value>("Untyped", "*in").unwrap();
    let numbers = cluster.pstate::<Map<String, i64>>("Untyped", "$$numbers").unwrap();
    for misfit in [Value::Str("text".to_string()), Value::U64(4), Value::List(vec![])] {
        let error = depot.append(&misfit).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ClientError::ProcessingFailed(_)), "{text}");
        assert!(text.contains("expected i64") && text.contains("$$numbers") && text.contains("state.rs:"), "{text}");
        assert_eq!(numbers.select_one(path().size()).unwrap(), 0, "also what fitted was not written");
    }
    let error = depot.append(&Value::I64(0)).unwrap_err().to_string();
    assert!(error.contains("$$whole") && error.contains("top"), "{error}");
    depot.append(&Value::I64(4)).unwrap();
    assert_eq!(numbers.select_one(path().key("a")).unwrap(), Some(4));
    assert_eq!(numbers.select_one(path().size()).unwrap(), 2);
    cluster.close().unwrap();
}

/// A transform path by name that ends nowhere.
struct Endless;

impl Module for Endless {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        use tantu::path::{Path, Schema};
        let depot = setup.declare_depot::<Value>("*in", random());
        let mut s = topologies.stream("s");
        s.pstate_untyped("$$numbers", Schema::map(Schema::Str, Schema::I64), PStateOptions::default());
        s.source(&depot, |b, _| b.named(|n| n.local_transform("$$numbers", Path::new().map_vals())));
    }
}

#[test]
fn a_transform_path_by_name_without_a_terminal_is_refused_with_its_line() {
    let text = define::<Endless>().expect_err("it has a mistake").to_string();
    assert!(text.contains("state.rs:") && text.contains("term"), "{text}");
}

/// Nothing but a depot.
struct Store;

impl Module for Store {
    fn define(setup: &mut Setup, _: &mut Topologies) {
        setup.declare_depot::<i64>("*numbers", random());
    }
}

/// Nothing but a query.
struct Oracle;

impl Module for Oracle {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        topologies.query("double", |q, (n,): (Var<i64>,)| {
            q.origin_partition();
            q.each(n, |n| 2 * n)
        });
    }
}

#[test]
fn a_module_may_have_depots_only_or_queries_only_and_appends_without_an_ack_arrive_too() {
    let cluster = cluster_of::<Store>(2);
    let config = LaunchConfig { tasks: 4, threads: 1, ..LaunchConfig::default() };
    cluster.launch::<Oracle>(config).unwrap();
    let numbers = cluster.depot::<i64>("Store", "*numbers").unwrap();
    for n in 0..100 {
        numbers.append_with(&n, AckLevel::None).unwrap();
    }
    numbers.flush();
    let held = || [0, 1].map(|partition| numbers.offsets(partition).unwrap().end.0).iter().sum::<u64>();
    while held() < 100 {
        std::thread::yield_now();
    }
    assert_eq!(cluster.query::<(i64,), i64>("Oracle", "double").unwrap().invoke(&(21,)).unwrap(), 42);
    cluster.close().unwrap();
}

/// Tells on which threads tasks are: what the event knows of it, and the name of the thread it runs on.
struct Spread;

impl Module for Spread {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        topologies.query("threads", |q, ()| {
            q.all_partition();
            let (task, info) = (q.current_task_id(), q.module_instance_info());
            let at = q.each((task, info), |(task, info)| {
                let name = std::thread::current().name().unwrap_or_default().to_string();
                let known: Vec<i64> =
                    (0..info.task_count).map(|task| info.thread_of(task).map_or(-1, i64::from)).collect();
                assert!(info.tasks_of(known[task as usize] as u32).any(|of| i64::from(of) == task));
                (known, name)
            });
            q.origin_partition();
            q.agg::<Map<i64, (Vec<i64>, String)>>(agg::map(task, at))
        });
    }
}

#[test]
fn tasks_are_spread_evenly_over_threads_and_an_event_knows_on_which_each_is() {
    for (tasks, threads) in [(8, 3), (4, 4), (8, 1)] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Spread>(LaunchConfig::new(tasks, threads)).unwrap();
        let query = cluster.query::<(), BTreeMap<i64, (Vec<i64>, String)>>("Spread", "threads").unwrap();
        let found = query.invoke(&()).unwrap();
        assert!(found.keys().copied().eq(0..i64::from(tasks)));
        let known = found[&0].0.clone();
        assert!(found.values().all(|(other, _)| *other == known), "all tasks know the same");
        let counts: Vec<usize> =
            (0..i64::from(threads)).map(|thread| known.iter().filter(|of| **of == thread).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), tasks as usize);
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        // Tasks are on one thread of the machine exactly if they are said to be on one.
        for one in 0..tasks as usize {
            for other in 0..tasks as usize {
                let names = [one, other].map(|task| &found[&(task as i64)].1);
                assert_eq!(known[one] == known[other], names[0] == names[1], "{one} and {other}: {found:?}");
            }
        }
        cluster.close().unwrap();
    }
}
