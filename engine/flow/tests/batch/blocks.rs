//! Batch blocks among ordinary code, and rows that are kept from one to the next.

use crate::world::World;
use tantu_base::value::{Decode, Reader, encoded_key};
use tantu_flow::{Module, PStateOptions, Setup, Topologies, define, random};
use tantu_path::{Map, agg};

/// Notes of each task.
const NOTES: u32 = 0;

const HERE: PStateOptions = PStateOptions { global: false, private: false, unchecked: true };

/// What all tasks noted under a name.
fn noted(world: &World<'_>, tasks: usize, name: &str) -> i64 {
    let of_task = |task: usize| {
        let value = world.value(task, NOTES, &encoded_key(name))?;
        Some(i64::decode(&mut Reader::new(value)).unwrap())
    };
    (0..tasks).filter_map(of_task).sum()
}

struct Kept;

impl Module for Kept {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("kept");
        let notes = topology.pstate_with::<Map<String, i64>>("$$notes", HERE);
        topology.source(&depot, |m, _| {
            let kept = m.batch_block(|b| {
                let n = b.explode((), |()| 0..1_000i64);
                b.shuffle_partition();
                let task = b.current_task_id();
                b.materialize((n, task))
            });
            for round in ["first", "second"] {
                m.batch_block(|b| {
                    let (n, was) = b.explode_materialized(kept);
                    let here = b.current_task_id();
                    b.assert((was, here), |(was, here)| was == here, "rows stay on the task where they were kept");
                    b.compound_agg(notes, agg::key(round, agg::sum(n)));
                    b.compound_agg(notes, agg::key("rows", agg::count()));
                });
            }
            m.compound_agg(notes, agg::key("after", agg::count()));
        });
    }
}

#[test]
fn rows_that_are_kept_are_read_by_every_later_block_on_the_tasks_where_they_were() {
    let module = define::<Kept>().unwrap();
    let plan = &module.microbatches[0].plan;
    for seed in 0..20 {
        let tasks = 1 << (seed % 4);
        let mut world = World::new(plan, tasks, seed);
        world.start(module.microbatches[0].sources[0].at, &[]).unwrap();
        let found = ["first", "second", "rows", "after"].map(|name| noted(&world, tasks, name));
        assert_eq!(found, [499_500, 499_500, 2_000, 1], "on {tasks} tasks");
    }
}

struct Looped;

impl Module for Looped {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("looped");
        let notes = topology.pstate_with::<Map<String, i64>>("$$notes", HERE);
        topology.source(&depot, |m, _| {
            let start = m.constant(0i64);
            m.repeat(start, |m, rounds, round| {
                let odd = m.each(round, |round| round % 2 == 1);
                m.if_true(odd, |m| {
                    m.batch_block(|b| {
                        let n = b.explode(round, |round| 0..round);
                        b.shuffle_partition();
                        b.compound_agg(notes, agg::key("rows", agg::count()));
                        b.compound_agg(notes, agg::key("sum", agg::sum(n)));
                        b.hash_partition(n);
                        let (n, count) = b.group_by(n, |g| g.agg::<i64>(agg::count()));
                        b.filter((n, count), |(n, count)| n == 0 && count == 1);
                        b.compound_agg(notes, agg::key("groups of zero", agg::count()));
                    });
                    m.compound_agg(notes, agg::key("behind", agg::count()));
                });
                let next = m.each(round, |round| round + 1);
                let more = m.each(next, |next| next < 10);
                m.if_true(more, |m| m.continue_loop(rounds, next));
            });
        });
    }
}

#[test]
fn a_block_in_a_loop_is_through_before_the_loop_goes_on() {
    let module = define::<Looped>().unwrap();
    let plan = &module.microbatches[0].plan;
    for seed in 0..20 {
        let tasks = 1 << (seed % 4);
        let mut world = World::new(plan, tasks, seed);
        world.start(module.microbatches[0].sources[0].at, &[]).unwrap();
        let odd = || (0..10i64).filter(|round| round % 2 == 1);
        let (rows, sum) = (odd().sum::<i64>(), odd().map(|round| round * (round - 1) / 2).sum::<i64>());
        let found = ["rows", "sum", "groups of zero", "behind"].map(|name| noted(&world, tasks, name));
        assert_eq!(found, [rows, sum, 5, 5], "on {tasks} tasks");
    }
}

struct Elsewhere;

impl Module for Elsewhere {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        topologies.microbatch("elsewhere").source(&depot, |m, _| {
            let task = m.constant(1i64);
            m.direct_partition(task);
            m.batch_block(|b| b.global_partition());
        });
    }
}

#[test]
fn a_block_that_is_entered_off_task_zero_fails_the_event_with_its_line() {
    let module = define::<Elsewhere>().unwrap();
    let mut world = World::new(&module.microbatches[0].plan, 4, 1);
    let error = world.start(module.microbatches[0].sources[0].at, &[]).unwrap_err().to_string();
    assert!(error.contains("blocks.rs:") && error.contains("entered on task 0"), "{error}");
}
