//! Constructs of the language one by one, on plain inputs.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{World, plan_of};
use tantu_base::value::{decoded, encoded};
use tantu_flow::{Block, Data, Module, Owned, PState, Setup, TestBlock, Topologies, TopologyKind, Var, define, random};
use tantu_path::{Map, Navigate, agg, path};

/// What a block emits for each input, as text.
fn texts<I: Data + ?Sized, R: Owned<Data = I>>(
    inputs: &[R],
    body: impl FnOnce(&mut Block, Var<I>) -> Var<str>,
) -> Vec<String> {
    let block = TestBlock::new(body);
    let mut seen = Vec::new();
    for input in inputs {
        block.run(input, |text| seen.push(text.to_string())).unwrap();
    }
    seen
}

#[test]
fn a_switch_takes_the_first_case_that_applies_and_goes_on_without_one() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let seen = texts(&[1i64, 2, 3], |b, n| {
        b.switch(n)
            .case(
                |n| n > 1,
                |b| {
                    b.each((), |()| RUNS.fetch_add(1, Ordering::SeqCst) as i64);
                },
            )
            .case(|n| n > 2, |b| b.fail((), |()| "a case before it applies too"))
            .end();
        b.switch(n)
            .case(|n| n == 1, |b| b.constant("one"))
            .case(|n| n == 2, |b| b.constant("two"))
            .otherwise(|b| b.each(n, |n| format!("{n}")))
    });
    assert_eq!((seen, RUNS.load(Ordering::SeqCst)), (vec!["one".into(), "two".into(), "3".into()], 2));
}

#[test]
fn a_condition_after_the_one_that_applies_is_not_computed() {
    static COMPUTED: AtomicU64 = AtomicU64::new(0);
    let seen = texts(&[5i64, -5], |b, n| {
        b.cond()
            .case(|b| b.each(n, |n| n > 0), |b| b.constant("positive"))
            .case(|b| b.each(n, |n| COMPUTED.fetch_add(1, Ordering::SeqCst) == 0 && n < 0), |b| b.constant("negative"))
            .otherwise_fail("zero")
    });
    assert_eq!((seen, COMPUTED.load(Ordering::SeqCst)), (vec!["positive".into(), "negative".into()], 1));
}

#[test]
fn a_value_goes_to_the_case_of_its_content_and_fails_without_one() {
    type Shape = (Option<String>, Option<i64>);
    let block = TestBlock::new(|b, shape: Var<Shape>| {
        b.match_enum(shape)
            .part(|shape| shape.0.as_deref(), |b, name| b.each(name, |name| format!("name {name}")))
            .case(|shape| shape.1, |b, n| b.each(n, |n| format!("number {n}")))
            .end()
    });
    let mut seen = Vec::new();
    let inputs: [Shape; 3] = [(None, Some(5)), (Some("x".into()), Some(6)), (Some("y".into()), None)];
    for input in &inputs {
        block.run(input, |text| seen.push(text.to_string())).unwrap();
    }
    assert_eq!(seen, ["number 5", "name x", "name y"]);
    let none: Shape = (None, None);
    let error = block.run(&none, |_| {}).unwrap_err().to_string();
    assert!(error.contains("no case") && error.contains("constructs.rs:"), "{error}");
}

#[test]
fn the_library_explodes_maps_ranges_and_lists_and_expands_tuples() {
    let prices = BTreeMap::from([("pear".to_string(), 3i64), ("fig".to_string(), 0)]);
    let seen = texts(&[prices], |b, prices| {
        let (name, price) = b.explode_map(prices);
        let (at, letter) = b.explode_indexed(name, |name| name.chars().take(2).map(String::from).collect::<Vec<_>>());
        let zero = b.constant(0i64);
        let n = b.range(zero, price);
        let same = b.identity(n);
        let big = b.replace_if(same, |n| n > 1, |n| n * 100);
        b.each((at, letter, big), |(at, letter, big)| format!("{at}{letter}{big}"))
    });
    assert_eq!(seen, ["0p0", "0p1", "0p200", "1e0", "1e1", "1e200"]);
    let seen = texts(&[(3i64, 3i64)], |b, pair| {
        let (from, to) = b.expand(pair, |pair| *pair);
        let n = b.range(from, to);
        b.each(n, |n| n.to_string())
    });
    assert!(seen.is_empty(), "a range of nothing");
}

#[test]
fn an_event_knows_its_module_and_makes_uuids_that_differ() {
    let seen = texts(&[0i64, 0], |b, _| {
        let (info, uuid) = (b.module_instance_info(), b.random_uuid());
        b.each((info, uuid), |(info, uuid)| {
            format!("{} {} {:?} {:?} {uuid}", info.module, info.task_count, info.thread_of(0), info.thread_of(1))
        })
    });
    assert!(seen.iter().all(|text| text.starts_with("block 1 Some(0) None 00000000-0000-7")), "{seen:?}");
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn time_and_uuids_of_an_event_are_those_of_its_host() {
    let seen = texts(&[0i64, 0], |b, _| {
        let (now, first, second) = (b.now_ms(), b.uuid_v7(), b.uuid_v7());
        b.each((now, first, second), |(now, first, second)| {
            let [first, second] = [first, second].map(|id| u128::from_be_bytes(id.0));
            // The time, the version and the variant, and whether the rest differs.
            format!("{now} {} {} {} {}", first >> 80, first >> 76 & 15, second >> 62 & 3, first != second)
        })
    });
    assert_eq!(seen, ["0 0 7 2 true", "0 0 7 2 true"]);
    // The same randomness and the same time give the same ids.
    let make = || {
        let block = TestBlock::new(|b, _: Var<i64>| b.uuid_v7());
        let mut ids = Vec::new();
        (0..3).for_each(|_| block.run(&0i64, |id| ids.push(*id)).unwrap());
        ids
    };
    let ids = make();
    assert_eq!(ids, make());
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

/// Asks in each kind of topology which it is.
struct Kinds;

impl Module for Kinds {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", random());
        topologies.stream("s").source(&depot, |b, _| assert_eq!(b.topology_kind(), TopologyKind::Stream));
        topologies.microbatch("m").source(&depot, |m, _| {
            assert_eq!(m.topology_kind(), TopologyKind::Microbatch);
            m.batch_block(|b| assert_eq!(b.topology_kind(), TopologyKind::Microbatch));
        });
        topologies.query("q", |q, (n,): (Var<i64>,)| {
            assert_eq!(q.topology_kind(), TopologyKind::Query);
            q.origin_partition();
            n
        });
    }
}

#[test]
fn code_can_know_of_what_kind_its_topology_is() {
    define::<Kinds>().unwrap();
}

#[test]
fn a_block_that_fails_leaves_its_pstates_as_they_were() {
    let block = TestBlock::define(
        |topology| topology.pstate::<Map<i64, i64>>("$$seen"),
        |b, seen, n: Var<i64>| {
            b.compound_agg(seen, agg::key(n, agg::count()));
            b.assert(n, |n| n != 13, "unlucky");
        },
    )
    .unwrap();
    block.run(&12i64, |()| {}).unwrap();
    assert!(block.run(&13i64, |()| {}).unwrap_err().to_string().contains("unlucky"));
    assert_eq!(block.select("$$seen", path::<Map<i64, i64>>().map_keys()).unwrap(), [12]);
}

struct Atomic;

fn note(b: &mut Block, log: PState<Map<String, i64>>, what: &'static str) {
    b.global_partition();
    let what = b.constant(what);
    b.compound_agg(log, agg::key(what, agg::count()));
}

/// The manual's example: lines inside, a line after, lines behind a partitioner inside.
impl Module for Atomic {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", random());
        let mut s = topologies.stream("s");
        let options = tantu_flow::PStateOptions { global: true, ..Default::default() };
        let log = s.pstate_with::<Map<String, i64>>("$$log", options);
        s.source(&depot, |b, n| {
            b.atomic_block(|b| {
                let at = b.explode(n, |n| 0..n);
                b.direct_partition(at);
                note(b, log, "behind");
            });
            note(b, log, "after");
        });
    }
}

#[test]
fn what_follows_an_atomic_block_runs_once_and_does_not_wait_for_what_went_elsewhere() {
    let (plan, at) = plan_of::<Atomic>();
    let mut world = World::new(4);
    world.queue.push_back((2, at, encoded(&3i64)));
    world.run(&plan, 7).unwrap();
    let counts: BTreeMap<String, i64> = world
        .state
        .iter()
        .map(|((_, _, key), value)| (tantu_base::value::decoded_key(key).unwrap(), decoded(value).unwrap()))
        .collect();
    assert_eq!(counts, BTreeMap::from([("after".to_string(), 1), ("behind".to_string(), 3)]));
    let tasks: Vec<u32> = world.hops.iter().map(|(task, ..)| *task).collect();
    assert_eq!(tasks, [0, 1, 2, 0, 0, 0, 0], "three go out, then what follows, then the three note it");
}

struct Waits;

impl Module for Waits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<(String, i64)>("*in", random());
        topologies.stream("s").source(&depot, |b, record| {
            let (text, n) = b.expand(record, |(text, n)| (text.clone(), *n));
            let answer = b.each_async((text, n), |(text, n)| {
                let answer = format!("{text}{n}");
                async move { Ok::<_, String>(answer) }
            });
            b.direct_partition(n);
            let out = b.each((answer, n), |(answer, n)| format!("{answer} {n}"));
            b.hash_partition(out);
        });
    }
}

#[test]
fn while_a_future_is_awaited_only_what_is_needed_after_it_waits() {
    let (plan, at) = plan_of::<Waits>();
    let mut world = World::new(4);
    world.queue.push_back((1, at, encoded(&("a".to_string(), 3i64))));
    world.run(&plan, u32::MAX).unwrap();
    let (task, at, mut live, job) = world.jobs.pop().unwrap();
    assert_eq!((task, live.clone()), (1, encoded(&3i64)), "the number waits, the text does not");
    live.extend(job().unwrap());
    world.queue.push_back((task, at, live));
    world.run(&plan, u32::MAX).unwrap();
    assert_eq!(world.hops.iter().map(|(task, ..)| *task).take(1).collect::<Vec<_>>(), [3]);
}

#[test]
fn random_numbers_come_from_the_hosts_source() {
    let numbers = || {
        let block = TestBlock::new(|b, n: Var<i64>| {
            let both = (b.random_number(), b.random_number());
            b.each((both, n), |((one, other), _)| (one, other))
        });
        let mut seen = Vec::new();
        for n in 0..3i64 {
            block.run(&n, |pair| seen.push(*pair)).unwrap();
        }
        seen
    };
    let seen = numbers();
    assert_eq!(seen, numbers(), "the same seed, the same numbers");
    let mut all: Vec<i64> = seen.into_iter().flat_map(|(one, other)| [one, other]).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "each is another");
}
