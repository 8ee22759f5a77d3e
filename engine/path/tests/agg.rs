//! Compound aggregation: counts and sums against a plain model, and what it refuses.

mod support;

use proptest::prelude::*;
use std::collections::BTreeMap;
use support::*;
use tantu_base::value::{Encode, Value};
use tantu_path::agg::{self, AggOn};
use tantu_path::{AggError, AggShape, Arg, Args, EvalError, Map, NoArgs, PStateSchema, Schema, Scratch, aggregate};

fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

fn run(schema: &Schema, shape: &AggShape, store: &mut MapStore) -> Result<(), EvalError> {
    aggregate(schema, OBJECT, shape, store, &NoArgs, &mut Scratch::new())
}

fn typed<S: PStateSchema>(shape: AggOn<S>, store: &mut MapStore) -> Result<(), EvalError> {
    run(&S::schema(), shape.shape(), store)
}

/// Slots 0 to 2 hold a word, an hour and an amount.
struct Event(String, i64, i64);

impl Args for Event {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => self.0.encode(out),
            1 => self.1.encode(out),
            _ => self.2.encode(out),
        }
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => self.0.encode_key(out),
            1 => self.1.encode_key(out),
            _ => self.2.encode_key(out),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_and_sums_are_those_of_plain_maps(
        events in prop::collection::vec(("[ab]{0,2}", 0..3i64, -5..5i64), 0..60),
        misses in prop::collection::vec(0..80usize, 0..20),
    ) {
        let flat_schema = <Map<String, i64>>::schema();
        let flat_shape = AggShape::key(Arg::Slot(0), AggShape::count());
        let deep_schema = Schema::map(Schema::Str, Schema::map(Schema::I64, Schema::list(Schema::I64)));
        let deep_shape = AggShape::key(
            Arg::Slot(0),
            AggShape::key(Arg::Slot(1), AggShape::List(vec![AggShape::count(), AggShape::sum(Arg::Slot(2))])),
        );
        let (mut flat, mut deep) = (MapStore::default(), MapStore::default());
        flat.misses = misses.clone();
        deep.misses = misses;
        let mut flat_model: BTreeMap<String, i64> = BTreeMap::new();
        let mut deep_model: BTreeMap<String, BTreeMap<i64, Vec<i64>>> = BTreeMap::new();
        let mut scratch = Scratch::new();
        for (word, hour, amount) in events {
            *flat_model.entry(word.clone()).or_default() += 1;
            let leaf = deep_model.entry(word.clone()).or_default().entry(hour).or_insert_with(|| vec![0, 0]);
            leaf[0] += 1;
            leaf[1] += amount;
            let event = Event(word, hour, amount);
            for (schema, shape, store) in
                [(&flat_schema, &flat_shape, &mut flat), (&deep_schema, &deep_shape, &mut deep)]
            {
                loop {
                    let writes = store.writes;
                    match aggregate(schema, OBJECT, shape, store, &event, &mut scratch) {
                        Err(EvalError::Need) => prop_assert_eq!(store.writes, writes),
                        outcome => break outcome.expect("aggregates"),
                    }
                }
            }
        }
        prop_assert_eq!(flat.to_map(), Value::decode(&tantu_base::value::encoded(&flat_model)).expect("a map"));
        prop_assert_eq!(deep.to_map(), Value::decode(&tantu_base::value::encoded(&deep_model)).expect("a map"));
    }
}

#[test]
fn several_keys_in_one_map_and_one_key_twice_all_count() {
    let mut store = MapStore::default();
    let shape = || agg::key::<String, i64, _>("a", agg::count()).and(agg::key("all", agg::count()));
    typed(shape(), &mut store).unwrap();
    typed(shape().and(agg::key("a", agg::sum(10))), &mut store).unwrap();
    assert_eq!(store.to_map(), Value::map([(text("a"), Value::I64(12)), (text("all"), Value::I64(2))]));
}

#[test]
fn a_count_takes_the_type_of_its_location() {
    fn counted<T: agg::Counted>() -> Value {
        let mut store = MapStore::default();
        typed::<Map<String, T>>(agg::key("a", agg::count()), &mut store).unwrap();
        typed::<Map<String, T>>(agg::key("a", agg::count()), &mut store).unwrap();
        store.to_map().get(&text("a")).unwrap().clone()
    }
    assert_eq!(counted::<i64>(), Value::I64(2));
    assert_eq!(counted::<i32>(), Value::I64(2));
    assert_eq!(counted::<u64>(), Value::U64(2));
    assert_eq!(counted::<u32>(), Value::U64(2));
}

#[test]
fn a_partition_of_one_value_can_be_aggregated_as_a_whole() {
    let mut store = MapStore::default();
    for _ in 0..3 {
        typed::<f64>(agg::sum(0.5), &mut store).unwrap();
    }
    assert_eq!(store.to_value(), Value::F64(1.5));
}

#[test]
fn an_overflowing_integer_is_an_error_and_stays_as_it_was() {
    fn overflow<T: agg::Summed>(start: Value, add: T::Plain, type_name: &'static str)
    where
        T::Plain: Copy,
    {
        let mut store = MapStore::of_map(&Value::map([(text("a"), start.clone())]));
        let error = typed::<Map<String, T>>(agg::key("a", agg::sum(add)), &mut store).unwrap_err();
        let EvalError::Agg { source: AggError::Overflow { type_name: named, .. }, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*named, type_name);
        assert_eq!(store.to_map().get(&text("a")), Some(&start));
    }
    overflow::<i64>(Value::I64(i64::MAX), 1, "i64");
    overflow::<i64>(Value::I64(i64::MIN), -1, "i64");
    overflow::<u64>(Value::U64(u64::MAX), 1, "u64");
    overflow::<i32>(Value::I64(i64::from(i32::MAX)), 1, "i32");
    overflow::<u32>(Value::U64(u64::from(u32::MAX)), 1, "u32");
}

#[test]
fn types_that_do_not_add_up_are_named_and_nothing_is_written() {
    let with = |value: Value| MapStore::of_map(&Value::map([(text("a"), value)]));
    let any = Schema::map(Schema::Str, Schema::Any);
    let cases = [
        (with(text("x")), AggShape::count(), "count cannot combine a number with a string"),
        (with(Value::I64(1)), AggShape::sum(Value::U64(1)), "sum cannot combine a i64 with a u64"),
        (with(Value::I64(1)), AggShape::sum(text("x")), "sum cannot combine a i64 with a string"),
        (with(Value::I64(1)), AggShape::sum(Value::Null), "sum cannot combine a i64 with a null"),
        (
            with(Value::I64(1)),
            AggShape::key(Value::I64(1), AggShape::count()),
            "the aggregation shape needs a map but stands on a i64",
        ),
        (
            with(Value::List(vec![])),
            AggShape::List(vec![AggShape::count()]),
            "the aggregation shape needs a list but stands on a list",
        ),
    ];
    for (mut store, shape, message) in cases {
        let error = run(&any, &AggShape::key(text("a"), shape), &mut store).unwrap_err();
        assert_eq!(error.to_string(), format!("object 7: {message}"));
        assert_eq!(store.writes, 0);
    }
    let counts = <Map<String, i64>>::schema();
    let error = run(&counts, &AggShape::key(Value::I64(1), AggShape::count()), &mut MapStore::default()).unwrap_err();
    assert_eq!(error.to_string(), "object 7, at [key 1]: expected String, found i64 1");
    let error = run(&counts, &AggShape::key(text("a"), AggShape::sum(Value::F64(1.0))), &mut MapStore::default());
    assert_eq!(error.unwrap_err().to_string(), r#"object 7, at ["a"]: expected i64, found f64 1"#);
    assert!(matches!(
        run(&counts, &AggShape::count(), &mut MapStore::default()),
        Err(EvalError::Agg { source: AggError::Shape { .. }, .. })
    ));
}

#[test]
fn one_key_and_one_leaf_is_one_get_and_one_put() {
    let mut store = MapStore::default();
    typed::<Map<String, i64>>(agg::key("a", agg::count()), &mut store).unwrap();
    assert_eq!((store.reads, store.writes), (1, 1));
}

#[test]
fn slots_of_a_shape_can_be_listed_and_renumbered() {
    let shape = AggShape::key(Arg::Slot(4), AggShape::List(vec![AggShape::count(), AggShape::sum(Arg::Slot(2))]));
    let mut slots = Vec::new();
    shape.map_slots(&mut |slot| slot * 10).each_slot(&mut |slot| slots.push(slot));
    assert_eq!(slots, [40, 20]);
    assert_eq!(shape.leading_key(), Some(&Arg::Slot(4)));
}
