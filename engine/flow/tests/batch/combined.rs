//! Aggregators into PStates at the end of a batch block: rows are combined before they are sent, and nobody can tell by the result.

use crate::world::{Dice, World};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use tantu_base::value::{Decode, Encode, Reader, encoded, encoded_key, partition_of_key};
use tantu_flow::{BatchBlock, Block, Module, PState, Setup, Topologies, Var, define, random};
use tantu_path::{List, Map, Navigate, Set, agg, path};

/// User, page, how long.
type Visit = (i64, String, i64);
type Vars = (Var<i64>, Var<str>, Var<i64>);

fn visits(dice: &mut Dice, count: usize) -> Vec<Visit> {
    let visit = |dice: &mut Dice| (dice.below(5) as i64, format!("p{}", dice.below(3)), dice.below(9) as i64 - 3);
    (0..count).map(|_| visit(dice)).collect()
}

thread_local! {
    /// What the module that is being defined emits.
    static ROWS: RefCell<Vec<Visit>> = const { RefCell::new(Vec::new()) };
}

fn row(b: &mut BatchBlock) -> Vars {
    let rows = ROWS.with_borrow(Clone::clone);
    let visit = b.explode((), move |()| rows.clone());
    (b.each(visit, |visit| visit.0), b.each(visit, |visit| visit.1.clone()), b.each(visit, |visit| visit.2))
}

type Totals = (i64, i64, Option<i64>);

/// Two PStates and two shapes behind one partitioner.
struct Combined;

impl Module for Combined {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("visits");
        let totals = topology.pstate::<Map<i64, Totals>>("$$totals");
        let pages = topology.pstate::<Map<i64, Map<String, Set<i64>>>>("$$pages");
        topology.source(&depot, |m, _| {
            m.batch_block(|b| {
                let (user, page, long) = row(b);
                b.shuffle_partition();
                b.filter(long, |long| long != 5);
                b.hash_partition(user);
                b.compound_agg(totals, agg::key(user, agg::tuple((agg::count(), agg::sum(long), agg::max(long)))));
                b.compound_agg(pages, agg::key(user, agg::key(page, agg::set(long))));
            });
        });
    }
}

fn stored<T: Decode>(world: &World<'_>, tasks: usize, pstate: u32, key: &(impl Encode + ?Sized)) -> Option<T> {
    let key = encoded_key(key);
    let task = partition_of_key(&key, tasks as u32) as usize;
    world.value(task, pstate, &key).map(|value| T::decode(&mut Reader::new(value)).expect("it is of the PState's type"))
}

#[test]
fn what_was_combined_leaves_in_pstates_what_every_row_would_have_left() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let count = [0, 1, 30, 300][dice.below(4)];
        let rows = visits(&mut dice, count);
        ROWS.set(rows.clone());
        let module = define::<Combined>().expect("it is right");
        let plan = &module.microbatches[0].plan;
        let tasks = 1 << (seed % 4);
        let mut world = World::new(plan, tasks, seed);
        world.start(module.microbatches[0].sources[0].at, &[]).expect("nothing fails");
        let mut totals: BTreeMap<i64, Totals> = BTreeMap::new();
        let mut pages: BTreeMap<i64, BTreeMap<String, BTreeSet<i64>>> = BTreeMap::new();
        for (user, page, long) in rows.iter().filter(|row| row.2 != 5) {
            let (count, sum, most) = totals.entry(*user).or_default();
            (*count, *sum, *most) = (*count + 1, *sum + long, (*most).max(Some(*long)));
            pages.entry(*user).or_default().entry(page.clone()).or_default().insert(*long);
        }
        for user in 0..5 {
            assert_eq!(stored(&world, tasks, 0, &user), totals.get(&user).copied(), "{user} of {rows:?}");
            assert_eq!(stored(&world, tasks, 1, &user), pages.get(&user).cloned(), "{user} of {rows:?}");
        }
    }
}

#[test]
fn a_keys_rows_cross_the_partitioner_as_one_event_with_a_state_for_each_aggregator() {
    let module = define::<Combined>().expect("it is right");
    let hops = module.microbatches[0].plan.describe().hops;
    let last = hops.last().expect("there are two");
    assert_eq!(last.label, "hash_partition, combined");
    // The keys of all aggregators, a number for the count and the sum, anything for the others.
    let types: Vec<&str> = last.live.iter().filter_map(|(_, name)| name.rsplit("::").next()).collect();
    assert_eq!(types, ["i64", "str", "i64", "i64", "Value", "Value"]);
}

thread_local! {
    static ENDS: RefCell<&'static str> = const { RefCell::new("") };
}

/// A word count, at whose end is what the test says.
struct Words;

impl Module for Words {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("words");
        let counts = topology.pstate::<Map<String, i64>>("$$counts");
        let latest = topology.pstate::<Map<String, List<i64>>>("$$latest");
        let ends = ENDS.with_borrow(|ends| *ends);
        topology.source(&depot, |m, _| {
            m.batch_block(|b| {
                let (_, page, long) = row(b);
                if ends == "read before" {
                    b.hash_partition(page);
                    read(b, counts, page);
                }
                b.hash_partition(page);
                if ends == "read at the place" {
                    read(b, counts, page);
                }
                b.compound_agg(counts, agg::key(page, agg::count()));
                match ends {
                    "accumulator" => {
                        let last = agg::top_monotonic::<i64>(2).id(|n| n).sort_val(|n| n);
                        b.compound_agg(latest, agg::key(page, last.of(long)));
                    }
                    "read behind" => read(b, counts, page),
                    _ => {}
                }
            });
        });
    }
}

fn read(b: &mut BatchBlock, counts: PState<Map<String, i64>>, page: Var<str>) {
    let count = b.local_select(counts, path().key(page).null_to_val(0));
    b.assert(count, |count| count < 1_000, "there are not so many");
}

#[test]
fn rows_are_not_combined_where_each_of_them_counts() {
    for (ends, is_combined) in [
        ("plain", true),
        ("accumulator", false),
        ("read before", false),
        ("read at the place", false),
        ("read behind", false),
    ] {
        ENDS.set(ends);
        ROWS.set(visits(&mut Dice(7), 200));
        let module = define::<Words>().expect("it is right");
        let plan = &module.microbatches[0].plan;
        let combined = plan.describe().hops.iter().filter(|hop| hop.label.ends_with("combined")).count();
        assert_eq!(combined, usize::from(is_combined), "{ends}");
        let mut world = World::new(plan, 4, 3);
        world.start(module.microbatches[0].sources[0].at, &[]).expect("nothing fails");
        let all: i64 =
            ["p0", "p1", "p2"].iter().map(|page| stored::<i64>(&world, 4, 0, *page).expect("it is there")).sum();
        assert_eq!(all, 200, "{ends}");
        // A fourth of the rows send what was gathered, of three pages at most.
        assert_eq!(world.event_count < 190, is_combined, "{ends}: {} events", world.event_count);
    }
}

/// A number for all rows, which has to be there.
struct Whole;

impl Module for Whole {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("whole");
        let sum = topology.pstate::<i64>("$$sum");
        topology.source(&depot, |m, _| {
            m.batch_block(|b| {
                let (_, _, long) = row(b);
                b.global_partition();
                Block::agg(b, sum, agg::sum(long));
            });
        });
    }
}

#[test]
fn a_number_that_has_to_be_there_has_to_be_there_for_a_state_too() {
    ROWS.set(vec![(1, "p".to_string(), 3), (1, "p".to_string(), 4)]);
    let module = define::<Whole>().expect("it is right");
    let start = module.microbatches[0].sources[0].at;
    let mut world = World::new(&module.microbatches[0].plan, 2, 1);
    let error = world.start(start, &[]).expect_err("there is no number").to_string();
    assert!(error.contains("combined.rs:"), "{error}");
    let mut world = World::new(&module.microbatches[0].plan, 2, 1);
    world.put(0, 0, &[], encoded(&10i64));
    world.start(start, &[]).expect("there is one");
    assert_eq!(world.value(0, 0, &[]), Some(&encoded(&17i64)));
}

/// What a batch changed goes on with its keys and the new values.
struct Changed;

impl Module for Changed {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        let mut topology = topologies.microbatch("changed");
        let counts = topology.pstate::<Map<String, i64>>("$$counts");
        let told = topology.pstate::<Map<String, List<i64>>>("$$told");
        topology.source(&depot, |m, _| {
            m.batch_block(|b| {
                let (_, page, _) = row(b);
                let (page, count) = b.group_by(page, |g| g.agg::<i64>(agg::count()));
                b.compound_agg(counts, agg::key(page, agg::sum(count)));
                let new = b.local_select(counts, path().must(page));
                b.compound_agg(told, agg::key(page, agg::list(new)));
            });
        });
    }
}

#[test]
fn each_key_that_a_batch_touched_goes_on_once_with_its_new_value() {
    let rows = visits(&mut Dice(3), 50);
    ROWS.set(rows.clone());
    let module = define::<Changed>().expect("it is right");
    for tasks in [1, 4] {
        let mut world = World::new(&module.microbatches[0].plan, tasks, 9);
        for _ in 0..2 {
            world.start(module.microbatches[0].sources[0].at, &[]).expect("nothing fails");
        }
        for page in ["p0", "p1", "p2"] {
            let count = rows.iter().filter(|row| row.1 == page).count() as i64;
            assert_eq!(
                stored::<Vec<i64>>(&world, tasks, 1, page),
                Some(vec![count, 2 * count]),
                "{page} on {tasks} tasks"
            );
        }
    }
}
