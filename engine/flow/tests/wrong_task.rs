//! A local access on a task where its key does not live is never an empty read or a lost write.

mod support;

use support::{World, plan_of};
use tantu_base::value::{encoded, partition_of};
use tantu_flow::{Module, PStateOptions, RunError, Setup, Topologies, define, random};
use tantu_path::{Map, Navigate, agg, path};

fn run<M: Module>(task: u32, record: &(String, i64)) -> (Result<(), RunError>, World) {
    let (plan, at) = plan_of::<M>();
    let mut world = World::new(4);
    world.queue.push_back((task, at, encoded(record)));
    let result = world.run(&plan, u32::MAX);
    (result, world)
}

fn record(key: &str, number: i64) -> (String, i64) {
    (key.to_string(), number)
}

macro_rules! module {
    ($name:ident, $options:expr, |$b:ident, $key:ident, $number:ident, $held:ident| $body:expr) => {
        struct $name;
        impl Module for $name {
            fn define(setup: &mut Setup, topologies: &mut Topologies) {
                let depot = setup.declare_depot::<(String, i64)>("*in", random());
                let mut s = topologies.stream("s");
                let $held = s.pstate_with::<Map<String, i64>>("$$held", $options);
                s.source(&depot, |$b, record| {
                    let ($key, $number) = $b.expand(record, |(key, number)| (key.clone(), *number));
                    let _ = $number;
                    $body
                });
            }
        }
    };
}

module!(Unrouted, PStateOptions::default(), |b, key, number, held| {
    b.compound_agg(held, agg::key(key, agg::sum(number)));
});

#[test]
fn a_write_of_a_key_that_lives_elsewhere_fails_with_the_key_and_both_tasks_and_writes_nothing() {
    let home = partition_of("ann", 4);
    for task in 0..4 {
        let (result, world) = run::<Unrouted>(task, &record("ann", 5));
        if task == home {
            assert_eq!((result, world.state.len()), (Ok(()), 1));
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, RunError::WrongTask { task: on, lives, .. } if (on, lives) == (task, home)), "{error}");
        let text = error.to_string();
        for part in ["$$held", "ann", "wrong_task.rs:", &format!("task {task}"), &format!("task {home}")] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(world.state.is_empty());
    }
}

module!(Reads, PStateOptions::default(), |b, key, number, held| {
    let other = b.each(key, |key| format!("{key} of another"));
    b.hash_partition(key);
    b.local_select(held, path().key(key));
    b.local_select(held, path().key(other));
});

#[test]
fn a_read_of_another_key_than_the_one_the_event_went_by_fails() {
    let names = (0..20).map(|n| format!("name {n}"));
    let (mut right, mut wrong) = (0, 0);
    for name in names {
        let here = partition_of(name.as_str(), 4) == partition_of(format!("{name} of another").as_str(), 4);
        let (result, _) = run::<Reads>(0, &record(&name, 0));
        assert_eq!(result.is_ok(), here, "{name}: {result:?}");
        if here { right += 1 } else { wrong += 1 }
    }
    assert!(right > 0 && wrong > 5);
}

module!(Off, PStateOptions { unchecked: true, ..PStateOptions::default() }, |b, key, number, held| {
    b.compound_agg(held, agg::key(key, agg::sum(number)));
});

#[test]
fn a_pstate_of_what_was_computed_on_each_task_is_not_checked() {
    for task in 0..4 {
        assert_eq!(run::<Off>(task, &record("ann", 5)).0, Ok(()));
    }
}

module!(Global, PStateOptions { global: true, ..PStateOptions::default() }, |b, key, number, held| {
    b.compound_agg(held, agg::key(key, agg::sum(number)));
});

#[test]
fn a_global_pstate_is_on_task_0_only() {
    assert_eq!(run::<Global>(0, &record("ann", 5)).0, Ok(()));
    let error = run::<Global>(3, &record("ann", 5)).0.unwrap_err().to_string();
    assert!(error.contains("the one partition lives on task 0"), "{error}");
}

module!(Rounds, PStateOptions::default(), |b, key, number, held| {
    b.hash_partition(key);
    b.repeat((key, number), |b, rounds, (key, left)| {
        b.compound_agg(held, agg::key(key, agg::count()));
        let more = b.each(left, |left| left > 0);
        b.if_true(more, |b| {
            let (next, left) = b.expand((key, left), |(key, left)| (format!("{key}{left}"), left - 1));
            b.continue_loop(rounds, (next, left));
        });
    });
});

#[test]
fn a_loop_var_is_checked_again_when_it_changes() {
    let same_task = |key: &str| partition_of(key, 4) == partition_of(format!("{key}1").as_str(), 4);
    let (mut right, mut wrong) = (0, 0);
    for n in 0..20 {
        let key = format!("key {n}");
        let (result, world) = run::<Rounds>(0, &record(&key, 1));
        assert_eq!(result.is_ok(), same_task(&key), "{key}: {result:?}");
        if result.is_ok() {
            assert_eq!(world.state.len(), 2);
            right += 1;
        } else {
            wrong += 1;
        }
    }
    assert!(right > 0 && wrong > 5);
}

struct Types;

impl Module for Types {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<(String, i64)>("*in", random());
        let mut s = topologies.stream("s");
        let held = s.pstate::<Map<i64, i64>>("$$held");
        s.source(&depot, |b, record| {
            let (user, hour) = b.expand(record, |(user, hour)| (user.clone(), *hour));
            b.name(user, "*user");
            b.hash_partition(user);
            b.compound_agg(held, agg::key(hour, agg::count()));
        });
    }
}

#[test]
fn a_key_that_cannot_have_the_hash_the_event_went_by_is_refused_when_the_module_is_defined() {
    let text = define::<Types>().unwrap_err().to_string();
    for part in ["$$held", "`*user`", "i64", "hash_partition", "wrong_task.rs:"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

struct ModuleOff;

impl Module for ModuleOff {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        setup.do_not_check_tasks();
        Types::define(setup, topologies);
    }
}

#[test]
fn a_module_may_switch_the_checks_off() {
    assert_eq!(run::<ModuleOff>(0, &record("ann", 5)).0, Ok(()));
}
