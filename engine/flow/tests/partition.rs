//! Where partitioners send an event, and what travels.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{World, plan_of};
use tantu_base::value::{encoded, partition_of};
use tantu_flow::{Module, PStateOptions, RunError, Setup, Topologies, define, random};
use tantu_path::{Map, Navigate, agg, path};

fn global() -> PStateOptions {
    PStateOptions { global: true, ..PStateOptions::default() }
}

/// Runs one record and gives the tasks it was sent to, in order.
fn targets<M: Module>(record: i64) -> Result<Vec<u32>, RunError> {
    let (plan, at) = plan_of::<M>();
    let mut world = World::new(8);
    world.queue.push_back((0, at, encoded(&record)));
    world.run(&plan, u32::MAX)?;
    Ok(world.hops.iter().map(|(task, ..)| *task).collect())
}

macro_rules! module {
    ($name:ident, |$b:ident, $n:ident, $whole:ident, $one:ident| $body:expr) => {
        struct $name;
        impl Module for $name {
            fn define(setup: &mut Setup, topologies: &mut Topologies) {
                let depot = setup.declare_depot::<i64>("*in", random());
                let mut s = topologies.stream("s");
                let $whole =
                    s.pstate_partitioned::<Map<i64, i64>>("$$whole", PStateOptions::default(), |key: &i64, count| {
                        (key / 10) % i64::from(count)
                    });
                let $one = s.pstate_with::<Map<i64, i64>>("$$one", global());
                let _ = ($whole, $one);
                s.source(&depot, |$b, $n| $body);
            }
        }
    };
}

module!(Hash, |b, n, whole, one| {
    b.hash_partition(n);
    b.hash_partition_of(whole, n);
    b.hash_partition_of(one, n);
});

#[test]
fn the_hash_partitioner_goes_where_clients_would_look_and_to_the_one_partition_of_a_global_object() {
    for n in 0..50i64 {
        let home = partition_of(&n, 8);
        assert_eq!(targets::<Hash>(n).unwrap(), [home, home, 0]);
    }
}

module!(Every, |b, _n, _whole, one| {
    b.all_partition();
    b.all_partition_of(one);
});

#[test]
fn the_all_partitioner_goes_to_each_partition_once() {
    let hops = targets::<Every>(1).unwrap();
    assert_eq!(hops[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(hops[8..], [0; 8]);
}

module!(Direct, |b, n, whole, one| {
    b.global_partition();
    b.direct_partition(n);
    b.direct_partition_of(whole, n);
    b.custom_partition(n, |count, n| n + 1 - i64::from(count / 8));
    b.custom_partition_of(one, n, |count, n| i64::from(count) - 1 + (n / 100));
    b.global_partition_of(whole);
});

#[test]
fn direct_and_custom_partitioners_go_to_the_index_and_fail_outside() {
    assert_eq!(targets::<Direct>(5).unwrap(), [0, 5, 5, 5, 0, 0]);
    for (n, last) in [(8, "0 to 7"), (-1, "0 to 7")] {
        let error = targets::<Direct>(n).unwrap_err().to_string();
        assert!(
            error.contains("direct_partition") && error.contains(last) && error.contains("partition.rs"),
            "{error}"
        );
    }
}

module!(Shuffled, |b, n, _whole, one| {
    b.explode(n, |n| 0..n);
    b.shuffle_partition();
    b.shuffle_partition_of(one);
});

#[test]
fn the_shuffle_partitioner_uses_every_task_once_before_any_twice() {
    let hops = targets::<Shuffled>(24).unwrap();
    for round in hops[..24].chunks(8) {
        let mut round = round.to_vec();
        round.sort();
        assert_eq!(round, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(hops[24..], [0; 24], "a global object has one partition");
}

module!(ByPath, |b, n, whole, one| {
    b.path_partition(whole, &path().key(n));
    b.local_transform(whole, path().key(n).term_val(n));
    b.path_partition(one, &path::<Map<i64, i64>>().map_vals());
    let held = b.select(whole, path().must(n));
    let task = b.current_task_id();
    b.custom_partition((task, held), |_, (task, held)| task * i64::from(held > 0));
});

#[test]
fn a_path_goes_where_its_key_lives_by_the_pstates_own_partitioner() {
    for n in [7i64, 23, 59, 71] {
        let home = ((n / 10) % 8) as u32;
        assert_eq!(targets::<ByPath>(n).unwrap(), [home, 0, home, home], "{n}");
    }
}

struct NoKey;

impl Module for NoKey {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", random());
        let mut s = topologies.stream("s");
        let held = s.pstate::<Map<i64, i64>>("$$held");
        s.source(&depot, |b, _| {
            b.select(held, path::<Map<i64, i64>>().map_vals());
        });
    }
}

#[test]
fn a_select_without_a_key_needs_a_module_of_one_task() {
    let module = define::<NoKey>().unwrap();
    assert!(module.check_task_count(1).is_ok());
    let error = module.check_task_count(2).unwrap_err().to_string();
    assert!(
        error.contains("$$held") && error.contains("does not start with a key") && error.contains("partition.rs:"),
        "{error}"
    );
}

struct Sums;

/// The example of the manual: two sums of one value under two keys.
impl Module for Sums {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<(String, String, i64)>("*depot", random());
        let mut s = topologies.stream("s");
        let p = s.pstate::<Map<String, i64>>("$$p");
        s.source(&depot, |b, tuple| {
            let (k, k2, v) = b.expand(tuple, |(k, k2, v)| (k.clone(), k2.clone(), *v));
            b.hash_partition(k);
            b.compound_agg(p, agg::key(k, agg::sum(v)));
            b.hash_partition(k2);
            b.compound_agg(p, agg::key(k2, agg::sum(v)));
        });
    }
}

#[test]
fn the_first_hop_carries_k_k2_and_v_and_the_second_k2_and_v_and_not_a_byte_more() {
    let (plan, at) = plan_of::<Sums>();
    let mut world = World::new(4);
    let (k, k2, v) = ("one key".to_string(), "another".to_string(), 12_345i64);
    world.queue.push_back((0, at, encoded(&(k.clone(), k2.clone(), v))));
    world.run(&plan, u32::MAX).unwrap();
    let bytes: Vec<Vec<u8>> = world.hops.iter().map(|(.., live)| live.clone()).collect();
    let second = [encoded(&k2), encoded(&v)].concat();
    assert_eq!(bytes, [[encoded(&k), second.clone()].concat(), second]);
}

module!(Rounds, |b, n, _whole, _one| {
    let unused = b.each(n, |n| format!("needed before the loop only: {n}"));
    let size = b.each(unused, |text| text.len() as i64);
    let zero = b.constant(0i64);
    b.repeat((zero, n), |b, rounds, (at, left)| {
        b.direct_partition(at);
        let more = b.each((left, size), |(left, size)| left > 0 && size > 0);
        b.if_true(more, |b| {
            let (at, left) = b.expand((at, left), |(at, left)| ((at + 3) % 8, left - 1));
            b.continue_loop(rounds, (at, left));
        });
    });
});

#[test]
fn a_loop_takes_its_vars_from_task_to_task_and_what_every_round_reads() {
    assert_eq!(targets::<Rounds>(4).unwrap(), [0, 3, 6, 1, 4]);
    let (plan, _) = plan_of::<Rounds>();
    let live: Vec<_> = plan.describe().hops[0].live.iter().map(|(_, of)| *of).collect();
    assert_eq!(live, ["i64"; 3], "size, at and left, not the text and not the record");
}
