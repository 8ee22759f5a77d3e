//! What a yielding select asks of its host: the first page in the event, the rest as events of their own.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use support::{World, plan_of};
use tantu_base::value::{Value, encoded};
use tantu_flow::{Module, Setup, Topologies, random};
use tantu_path::{Map, Navigate, path};

/// Emits `factor * value` of every number, to task 0.
struct Scaled;

impl Module for Scaled {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let factors = setup.declare_global_depot::<i64>("*factors", random());
        let mut s = topologies.stream("s");
        let numbers = s.pstate::<Map<i64, i64>>("$$numbers");
        let scaled = s.pstate::<Map<i64, i64>>("$$scaled");
        s.source(&factors, |b, factor| {
            let text = b.each(factor, |factor| format!("by {factor}"));
            let least = b.each(factor, |_| 3i64);
            let pair = b.local_select_yielding(numbers, path().sorted_map_range_from(least, None).all());
            let (key, value) = b.expand(pair, |pair| *pair);
            let text = b.each(text, |text| text.len() as i64);
            let value = b.each((value, factor, text), |(value, factor, text)| 100 * value * factor + text);
            b.local_transform(scaled, path().key(key).term_val(value));
        });
    }
}

fn world() -> World {
    let mut world = World::new(1);
    for n in 3..20i64 {
        world.state.insert((0, 0, tantu_base::value::encoded_key(&n)), encoded(&(n * n)));
    }
    world
}

fn scaled(world: &World) -> BTreeMap<i64, i64> {
    let of_scaled = world.state.iter().filter(|((_, object, _), _)| *object == 1);
    of_scaled
        .map(|((_, _, key), value)| {
            let number = |value: Value| value.as_i64().unwrap();
            (number(Value::decode_key(key).unwrap()), number(Value::decode(value).unwrap()))
        })
        .collect()
}

fn expected(numbers: std::ops::Range<i64>) -> BTreeMap<i64, i64> {
    numbers.map(|n| (n, 100 * n * n * 7 + 4)).collect()
}

#[test]
fn a_host_that_answers_whole_gives_every_row_in_the_event() {
    let (plan, at) = plan_of::<Scaled>();
    let mut world = world();
    world.queue.push_back((0, at, encoded(&7i64)));
    world.run(&plan, 3).unwrap();
    assert_eq!(scaled(&world), expected(3..20));
    assert!(world.paged.is_empty());
}

#[test]
fn an_answer_of_one_page_leaves_nothing_to_go_on_with() {
    let (plan, at) = plan_of::<Scaled>();
    let mut world = world();
    world.page = Some(100);
    world.queue.push_back((0, at, encoded(&7i64)));
    world.run(&plan, u32::MAX).unwrap();
    assert_eq!(scaled(&world), expected(3..20));
    assert!(world.paged.is_empty());
}

#[test]
fn a_longer_answer_goes_on_page_by_page_with_what_the_code_below_needs() {
    let (plan, at) = plan_of::<Scaled>();
    let mut world = world();
    (world.page, world.park_every) = (Some(5), 0);
    world.queue.push_back((0, at, encoded(&7i64)));
    world.run(&plan, u32::MAX).unwrap();
    assert_eq!(scaled(&world), expected(3..8), "the first page is of the event itself");
    let (at, live, select) = world.paged.pop().unwrap();
    assert!(world.paged.is_empty());
    assert_eq!(select.after, tantu_base::value::encoded_key(&7i64));
    let mut slots = 0;
    select.path.each_slot(&mut |_| slots += 1);
    assert_eq!((select.pstate, slots), (0, 0), "the path is bound to the values of its vars");
    // The factor and the text wait; what computed the bound of the range does not.
    let mut waiting = encoded(&7i64);
    waiting.extend(encoded(&"by 7".to_string()));
    assert_eq!(live, waiting);
    // The host appends the rows of a page, as bytes.
    let rows: Vec<u8> = (8..11i64).flat_map(|n| encoded(&(n, n * n))).collect();
    world.queue.push_back((0, at, [live, encoded(&rows)].concat()));
    world.run(&plan, 2).unwrap();
    assert_eq!(scaled(&world), expected(3..11));
}
