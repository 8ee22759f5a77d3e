//! The untyped layer: loops, branches and PStates by name.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{World, plan_of};
use tantu_base::value::{Value, encoded};
use tantu_flow::{Module, PStateOptions, Setup, TestBlock, Topologies, Var, hash_by};
use tantu_path::{AggShape, Path, Schema};

fn int(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

#[test]
fn a_loop_by_names_emits_its_rounds() {
    let block = TestBlock::new(|b, n: Var<i64>| {
        b.named(|d| {
            d.import("*n", n);
            d.each("*one", &[], |_| 1.into());
            d.looped(&[("*left", "*n"), ("*product", "*one")], &["*result"], |d, rounds| {
                d.each("*done", &["*left"], |v| (int(v[0]) == 0).into());
                d.if_else(
                    "*done",
                    |d| d.emit_loop(rounds, &["*product"]),
                    |d| {
                        d.expand(&["*product", "*left"], &["*product", "*left"], |v| {
                            vec![(int(v[0]) * int(v[1])).into(), (int(v[1]) - 1).into()]
                        });
                        d.continue_loop(rounds, &["*left", "*product"]);
                    },
                );
            });
            d.var("*result")
        })
    });
    let mut seen = Vec::new();
    for n in [0i64, 1, 5, 10] {
        block.run(&n, |n| seen.push(int(n))).unwrap();
    }
    assert_eq!(seen, [1, 1, 120, 3_628_800]);
}

#[test]
fn branches_by_names_are_joined_with_the_names_that_both_bind() {
    let block = TestBlock::new(|b, n: Var<i64>| {
        b.named(|d| {
            d.import("*n", n);
            d.anchor("root");
            d.each("*x", &["*n"], |v| (int(v[0]) + 1).into());
            d.anchor("left");
            d.hook("root");
            d.each("*x", &["*n"], |v| (int(v[0]) * 100).into());
            d.anchor("right");
            d.unify(&["left", "right"]);
            d.each("*out", &["*x", "*n"], |v| (int(v[0]) * 10 + int(v[1])).into());
            d.var("*out")
        })
    });
    let mut seen = Vec::new();
    block.run(&3i64, |n| seen.push(int(n))).unwrap();
    seen.sort();
    assert_eq!(seen, [43, 3_003]);
}

struct Dynamic;

impl Module for Dynamic {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<Value>("*in", hash_by(|record: &Value| record.clone()));
        let mut s = topologies.stream("s");
        s.pstate_untyped("$$counts", Schema::map(Schema::Str, Schema::I64), PStateOptions::default());
        s.pstate_untyped("$$last", Schema::map(Schema::Str, Schema::Any), PStateOptions::default());
        s.source(&depot, |b, record| {
            b.named(|d| {
                d.bind("*record", record);
                d.emits("*word", &["*record"], |v| v[0].elements().unwrap_or_default().to_vec());
                d.hash_partition("*word");
                let shape = AggShape::key(d.arg("*word"), AggShape::count());
                d.compound_agg("$$counts", shape);
                let at = Path::new().key(d.arg("*word"));
                d.select("$$counts", at.clone(), "*count");
                let value = d.arg("*count");
                d.local_transform("$$last", at.term_val(value));
            });
        });
    }
}

#[test]
fn pstates_by_names_are_aggregated_read_and_changed() {
    let (plan, at) = plan_of::<Dynamic>();
    let mut world = World::new(4);
    let words = ["a", "b", "a", "c", "a"].map(|word| Value::Str(word.to_string()));
    world.queue.push_back((0, at, encoded(&Value::List(words.to_vec()))));
    world.run(&plan, u32::MAX).unwrap();
    let mut found: Vec<(u32, Value, Value)> = world
        .state
        .iter()
        .map(|((_, object, key), value)| (*object, Value::decode_key(key).unwrap(), Value::decode(value).unwrap()))
        .collect();
    found.sort();
    let expected = [("a", 3i64), ("b", 1), ("c", 1)];
    let expected: Vec<_> = (0..2)
        .flat_map(|object| expected.map(|(word, count)| (object, Value::Str(word.to_string()), Value::I64(count))))
        .collect();
    assert_eq!(found, expected);
}
