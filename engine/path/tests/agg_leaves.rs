//! Every aggregator in a PState: at each kind of location, row by row and from partial states, against plain Rust.

mod support;

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;
use tantu_base::value::{Decode, Encode, KeyReader, Reader, Value, encoded, encoded_key};
use tantu_path::agg::{self, AggOn, Captured};
use tantu_path::{
    AggError, AggShape, Aggregator, Arg, Args, EvalError, Fold, List, Map, NoArgs, PStateSchema, Schema, Scratch, Set,
    aggregate, aggregate_capturing,
};

fn run(schema: &Schema, shape: &AggShape, store: &mut MapStore) -> Result<(), EvalError> {
    aggregate(schema, OBJECT, shape, store, &NoArgs, &mut Scratch::new())
}

fn typed<S: PStateSchema>(shape: AggOn<S>, store: &mut MapStore) {
    run(&S::schema(), shape.shape(), store).expect("aggregates");
}

fn value<T: Encode + ?Sized>(data: &T) -> Value {
    Value::decode(&encoded(data)).expect("a value")
}

/// Slots: 0 a word, 1 a number, 2 the number as a condition, 3 a map of the word to the number, 4 bytes given out by a fold.
struct Event<'a>(&'a str, i64, &'a [u8]);

impl Args for Event<'_> {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => self.0.encode(out),
            1 => self.1.encode(out),
            2 => (self.1 > 0).encode(out),
            3 => BTreeMap::from([(self.0, self.1)]).encode(out),
            _ => out.extend_from_slice(self.2),
        }
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => self.0.encode_key(out),
            1 => self.1.encode_key(out),
            _ => unreachable!("no key"),
        }
    }
}

/// Each aggregator with the schema of its location, its arguments, and what it makes of rows.
type Place = (Aggregator, Schema, Vec<u32>, fn(&[(String, i64)]) -> Value);

fn places() -> Vec<Place> {
    let int_map = || Schema::map(Schema::Str, Schema::I64);
    vec![
        (Aggregator::Count, Schema::U64, vec![], |rows| value(&(rows.len() as u64))),
        (Aggregator::Sum, Schema::I64, vec![1], |rows| value(&rows.iter().map(|row| row.1).sum::<i64>())),
        (Aggregator::Max, Schema::Str, vec![0], |rows| value(&rows.iter().map(|row| &row.0).max())),
        (Aggregator::Min, Schema::I64, vec![1], |rows| value(&rows.iter().map(|row| row.1).min())),
        (Aggregator::And, Schema::Bool, vec![2], |rows| value(&rows.iter().all(|row| row.1 > 0))),
        (Aggregator::Or, Schema::Bool, vec![2], |rows| value(&rows.iter().any(|row| row.1 > 0))),
        (Aggregator::First, Schema::Str, vec![0], |rows| value(&rows.first().map(|row| &row.0))),
        (Aggregator::Last, Schema::I64, vec![1], |rows| value(&rows.last().map(|row| row.1))),
        (Aggregator::Set, Schema::set(Schema::Str), vec![0], |rows| {
            value(&rows.iter().map(|row| &row.0).collect::<BTreeSet<_>>())
        }),
        (Aggregator::MultiSet, Schema::map(Schema::Str, Schema::U32), vec![0], |rows| {
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            rows.iter().for_each(|row| *counts.entry(&row.0).or_default() += 1);
            value(&counts)
        }),
        (Aggregator::Map, int_map(), vec![0, 1], last_values),
        (Aggregator::Merge, int_map(), vec![3], last_values),
        (Aggregator::List, Schema::list(Schema::I64), vec![1], |rows| {
            value(&rows.iter().map(|row| row.1).collect::<Vec<_>>())
        }),
    ]
}

fn last_values(rows: &[(String, i64)]) -> Value {
    value(&rows.iter().map(|(word, n)| (word, n)).collect::<BTreeMap<_, _>>())
}

fn leaf((aggregator, _, slots, _): &Place) -> AggShape {
    AggShape::leaf(aggregator.clone(), slots.iter().map(|slot| Arg::Slot(*slot)).collect())
}

fn repeated(schema: &Schema, shape: &AggShape, store: &mut MapStore, event: &Event<'_>) -> Result<(), TestCaseError> {
    loop {
        let writes = store.writes;
        match aggregate(schema, OBJECT, shape, store, event, &mut Scratch::new()) {
            Err(EvalError::Need) => prop_assert_eq!(store.writes, writes),
            outcome => return outcome.map_err(|error| TestCaseError::fail(error.to_string())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_aggregator_gives_what_plain_rust_gives_wherever_it_stands(
        rows in prop::collection::vec(("[ab]{1,2}", -3..6i64), 1..20),
        misses in prop::collection::vec(0..30usize, 0..8),
    ) {
        for place in places() {
            let (_, schema, _, model) = &place;
            let expected = model(&rows);
            // Under a top-level key, two keys deep beside another, and as the whole partition.
            let under_key = (Schema::map(Schema::Str, schema.clone()), AggShape::key(Value::from("k"), leaf(&place)));
            let deep = (
                Schema::map(Schema::Str, Schema::map(Schema::I64, Schema::Tuple(vec![Schema::I64, schema.clone()]))),
                AggShape::key(
                    Value::from("k"),
                    AggShape::key(Value::I64(1), AggShape::List(vec![AggShape::count(), leaf(&place)])),
                ),
            );
            let (mut flat, mut nested, mut whole) = (MapStore::default(), MapStore::default(), MapStore::default());
            for store in [&mut flat, &mut nested, &mut whole] {
                store.misses = misses.clone();
            }
            for (word, n) in &rows {
                let event = Event(word, *n, &[]);
                repeated(&under_key.0, &under_key.1, &mut flat, &event)?;
                repeated(&deep.0, &deep.1, &mut nested, &event)?;
                repeated(schema, &leaf(&place), &mut whole, &event)?;
            }
            let name = place.0.name();
            prop_assert_eq!(flat.to_map(), Value::map([("k".into(), expected.clone())]), "{} under a key", name);
            let inner = Value::List(vec![Value::I64(rows.len() as i64), expected.clone()]);
            let inner = Value::map([(Value::I64(1), inner)]);
            prop_assert_eq!(nested.to_map(), Value::map([("k".into(), inner)]), "{} deep", name);
            let found = if matches!(schema, Schema::Map(..)) { whole.to_map() } else { whole.to_value() };
            prop_assert_eq!(found, expected, "{} of a partition", name);
        }
    }

    #[test]
    fn partial_states_of_folds_leave_in_a_pstate_what_the_rows_would_have_left(
        before in prop::collection::vec(("[ab]{1,2}", -3..6i64), 0..6),
        rows in prop::collection::vec(("[ab]{1,2}", -3..6i64), 0..20),
        cut in 0..20usize,
    ) {
        for place in places() {
            let (_, schema, _, model) = &place;
            let entry = Schema::map(Schema::Str, schema.clone());
            let direct = AggShape::key(Value::from("k"), leaf(&place));
            let absorb = direct.of_partials(&mut |_| Arg::Slot(4));
            let whole_absorb = leaf(&place).of_partials(&mut |_| Arg::Slot(4));
            let (mut store, mut whole) = (MapStore::default(), MapStore::default());
            for (word, n) in &before {
                repeated(&entry, &direct, &mut store, &Event(word, *n, &[]))?;
                repeated(schema, &leaf(&place), &mut whole, &Event(word, *n, &[]))?;
            }
            let AggShape::Leaf(of_rows) = leaf(&place) else { unreachable!("a leaf") };
            let cut = cut.min(rows.len());
            for part in [&rows[..cut], &rows[cut..]] {
                let mut fold = Fold::of_all(vec![(of_rows.clone(), schema.clone())]);
                for (word, n) in part {
                    fold.step(&[], &Event(word, *n, &[])).expect("steps");
                }
                let mut partials = Vec::new();
                fold.drain(&mut |_, partial| { partials.push(partial.to_vec()); Ok(()) }).expect("drains");
                for partial in partials {
                    repeated(&entry, &absorb, &mut store, &Event("", 0, &partial))?;
                    repeated(schema, &whole_absorb, &mut whole, &Event("", 0, &partial))?;
                }
            }
            let all = [before.clone(), rows.clone()].concat();
            let name = place.0.name();
            if !all.is_empty() {
                prop_assert_eq!(store.to_map(), Value::map([("k".into(), model(&all))]), "{}", name);
                let found = if matches!(schema, Schema::Map(..)) { whole.to_map() } else { whole.to_value() };
                prop_assert_eq!(found, model(&all), "{} of a partition", name);
            }
        }
    }
}

#[test]
fn set_remove_takes_elements_out_row_by_row_and_from_a_partial_state() {
    let mut store = MapStore::default();
    for n in 0..5i64 {
        typed::<Map<String, Set<i64>>>(agg::key("a", agg::set(n)), &mut store);
    }
    typed::<Map<String, Set<i64>>>(agg::key("a", agg::set_remove(2)), &mut store);
    typed::<Map<String, Set<i64>>>(agg::key("b", agg::set_remove(2)), &mut store);
    let left = |a: &[i64]| value(&BTreeMap::from([("a", a.iter().collect::<BTreeSet<_>>()), ("b", BTreeSet::new())]));
    assert_eq!(store.to_map(), left(&[0, 1, 3, 4]));
    let gone = encoded(&BTreeSet::from([0i64, 4, 9]));
    let shape = AggShape::key(Value::from("a"), AggShape::leaf(Aggregator::SetRemove, vec![Arg::Slot(0)]));
    let shape = shape.of_partials(&mut |_| Arg::Slot(4));
    aggregate(
        &<Map<String, Set<i64>>>::schema(),
        OBJECT,
        &shape,
        &mut store,
        &Event("", 0, &gone),
        &mut Scratch::new(),
    )
    .unwrap();
    assert_eq!(store.to_map(), left(&[1, 3]));
}

#[test]
fn and_stays_at_its_first_falsy_value_and_or_at_its_first_truthy_one() {
    let fold = |aggregator: Aggregator, values: &[Value]| {
        let mut store = MapStore::default();
        for value in values {
            let shape = AggShape::key(Value::from("k"), AggShape::leaf(aggregator.clone(), vec![value.clone().into()]));
            run(&Schema::map(Schema::Str, Schema::Any), &shape, &mut store).unwrap();
        }
        store.to_map().get(&Value::from("k")).unwrap().clone()
    };
    let (null, no, yes, five) = (Value::Null, Value::Bool(false), Value::Bool(true), Value::I64(5));
    let list = |values: &[&Value]| values.iter().map(|value| (*value).clone()).collect::<Vec<_>>();
    assert_eq!(fold(Aggregator::And, &list(&[&yes, &five])), five);
    assert_eq!(fold(Aggregator::And, &list(&[&five, &yes])), yes);
    assert_eq!(fold(Aggregator::And, &list(&[&five, &null, &no, &yes])), null, "null is falsy and stays");
    assert_eq!(fold(Aggregator::And, &list(&[&five, &no, &null])), no);
    assert_eq!(fold(Aggregator::Or, &list(&[&no, &null])), null);
    assert_eq!(fold(Aggregator::Or, &list(&[&null, &five, &yes, &no])), five);
}

#[test]
fn void_removes_entries_and_elements_and_creates_nothing() {
    type Nested = Map<String, Map<i64, i64>>;
    let mut store = MapStore::default();
    typed::<Nested>(agg::key("a", agg::key(1, agg::count()).and(agg::key(2, agg::count()))), &mut store);
    typed::<Nested>(agg::key("b", agg::key(1, agg::count())), &mut store);
    typed::<Nested>(agg::key("a", agg::key(1, agg::void())), &mut store);
    assert_eq!(
        store.to_map(),
        value(&BTreeMap::from([("a", BTreeMap::from([(2, 1)])), ("b", BTreeMap::from([(1, 1)]))]))
    );
    let writes = store.writes;
    typed::<Nested>(agg::key("c", agg::void()), &mut store);
    typed::<Nested>(agg::key("c", agg::key(1, agg::void())), &mut store);
    assert_eq!(store.writes, writes);
    typed::<Nested>(agg::key("b", agg::void()), &mut store);
    typed::<Nested>(agg::key("a", agg::key(2, agg::void())), &mut store);
    assert_eq!(store.to_map(), Value::map([("a".into(), Value::Map(vec![]))]));

    let mut list = MapStore::of_value(&value(&[7i64, 8, 9][..]));
    typed::<List<i64>>(agg::elements([agg::count(), agg::void(), agg::count()]), &mut list);
    assert_eq!(list.to_value(), value(&[8i64, 10][..]));
    let error = run(&Schema::list(Schema::I64), &AggShape::void(), &mut list).unwrap_err();
    assert_eq!(error.to_string(), "object 7: void at the top of a PState: there is nothing to remove it from");
}

#[test]
fn a_number_aggregated_as_a_whole_needs_a_value_and_other_aggregators_do_not() {
    let mut store = MapStore::default();
    for shape in [agg::count::<i64>().into_untyped(), agg::sum::<i64, _>(5).into_untyped()] {
        let error = run(&Schema::I64, &shape.clone().into_value(), &mut store).unwrap_err();
        assert!(matches!(error, EvalError::Agg { source: AggError::Absent { .. }, .. }), "{error}");
        assert_eq!(store.writes, 0);
    }
    let mut store = MapStore::of_value(&Value::I64(1));
    run(&Schema::I64, &agg::sum::<i64, _>(5).into_untyped().into_value(), &mut store).unwrap();
    assert_eq!(store.to_value(), Value::I64(6));
    let mut store = MapStore::default();
    run(&Schema::I64, &agg::max::<i64, _>(5).into_untyped().into_value(), &mut store).unwrap();
    assert_eq!(store.to_value(), Value::I64(5));
}

#[test]
fn a_map_aggregated_as_a_whole_touches_only_its_keys() {
    let before: BTreeMap<i64, i64> = (0..100).map(|n| (n, n)).collect();
    let mut store = MapStore::of_map(&value(&before));
    typed::<Map<i64, i64>>(agg::multi_set(5), &mut store);
    assert_eq!((store.reads, store.writes), (1, 1));
    typed::<Map<i64, i64>>(agg::map(6, 60), &mut store);
    typed::<Map<i64, i64>>(agg::merge(BTreeMap::from([(7, 70), (200, 1)])), &mut store);
    assert_eq!((store.reads, store.writes), (1, 4));
    let mut after = before;
    after.extend([(5, 6), (6, 60), (7, 70), (200, 1)]);
    assert_eq!(store.to_map(), value(&after));
    let wrong = AggShape::leaf(Aggregator::Map, vec![Value::from("x").into(), Value::I64(1).into()]);
    let error = run(&<Map<i64, i64>>::schema(), &wrong, &mut store).unwrap_err();
    assert_eq!(error.to_string(), r#"object 7, at [key "x"]: expected i64, found string "x""#);
    assert_eq!(store.writes, 4);
}

#[test]
fn a_stored_top_may_hold_up_to_twice_its_size_and_then_is_cut() {
    let mut store = MapStore::default();
    let mut add = |word: &str, n: i64| {
        let top = agg::top_monotonic::<(String, i64)>(2).id(|(word, _)| word).sort_val(|(_, n)| n);
        typed::<Map<i64, List<(String, i64)>>>(agg::key(0, top.of((word.to_owned(), n))), &mut store);
        store.to_map().get(&Value::I64(0)).unwrap().clone()
    };
    add("a", 1);
    add("b", 5);
    assert_eq!(add("a", 7), value(&[("a", 1i64), ("b", 5), ("a", 7)][..]), "unsorted, with ids repeated");
    assert_eq!(add("c", 6), value(&[("a", 7i64), ("c", 6)][..]));
}

#[test]
fn closures_aggregate_in_a_pstate_with_up_to_seven_arguments() {
    let mut store = MapStore::default();
    for n in [3, 4] {
        typed::<Map<String, i64>>(agg::key("product", agg::combiner(1i64, |a, b| a * b).of(n)), &mut store);
        let digits = agg::accumulator(0i64, |all, (a, b, c, d, e, f, g): (i64, i64, i64, i64, i64, i64, i64)| {
            [a, b, c, d, e, f, g].iter().fold(all, |all, digit| all * 10 + digit)
        });
        typed::<Map<String, i64>>(agg::key("digits", digits.of((1, 2, 3, 4, 5, 6, n))), &mut store);
        let rows = agg::accumulator(0i64, |rows, (): ()| rows + 1);
        typed::<Map<String, i64>>(agg::key("rows", rows.of(())), &mut store);
    }
    let expected = BTreeMap::from([("product", 12i64), ("digits", 12_345_631_234_564), ("rows", 2)]);
    assert_eq!(store.to_map(), value(&expected));

    let any = Schema::map(Schema::Str, Schema::Any);
    let mut store = MapStore::of_map(&Value::map([("k".into(), "text".into())]));
    let custom = tantu_path::agg::Custom::combiner(&0i64, |a: i64, b: i64| a + b);
    let shape = AggShape::key(Value::from("k"), AggShape::leaf(Aggregator::Custom(custom), vec![Value::I64(1).into()]));
    let error = run(&any, &shape, &mut store).unwrap_err();
    assert!(matches!(error, EvalError::Agg { source: AggError::Bytes { .. }, .. }), "{error}");
    assert_eq!(store.writes, 0);
}

#[test]
fn what_needs_a_batch_is_refused_in_a_pstate() {
    let schema = Schema::map(Schema::Str, Schema::Any);
    for aggregator in [Aggregator::Average, Aggregator::Limit(agg::Limit::new(3, 1))] {
        let shape = AggShape::key(Value::from("k"), AggShape::leaf(aggregator, vec![Value::I64(1).into()]));
        let error = run(&schema, &shape, &mut MapStore::default()).unwrap_err();
        assert!(error.to_string().ends_with("can only be the output of a batch"), "{error}");
    }
}

fn captured<S: PStateSchema>(shape: &AggOn<S>, store: &mut MapStore, captured: &mut Captured) -> (Vec<u8>, Vec<Value>) {
    shape.shape().check_capture().expect("does not branch");
    aggregate_capturing(&S::schema(), OBJECT, shape.shape(), store, &NoArgs, &mut Scratch::new(), captured)
        .expect("aggregates");
    let mut reader = Reader::new(captured.values());
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(reader.value().expect("a value"));
    }
    (captured.key().to_vec(), values)
}

#[test]
fn a_capture_names_the_key_path_and_every_new_value() {
    let (mut store, mut at) = (MapStore::default(), Captured::default());
    let flat: AggOn<Map<String, i64>> = agg::key("a", agg::sum(5));
    assert_eq!(captured(&flat, &mut store, &mut at), (encoded_key("a"), vec![Value::I64(5)]));
    assert_eq!(captured(&flat, &mut store, &mut at), (encoded_key("a"), vec![Value::I64(10)]), "nothing is left over");

    type Deep = Map<String, Map<i64, (i64, Set<i64>)>>;
    let mut store = MapStore::default();
    let deep: AggOn<Deep> = agg::key("a", agg::key(3, agg::tuple((agg::count(), agg::set(9)))));
    captured(&deep, &mut store, &mut at);
    let (key, values) = captured(&deep, &mut store, &mut at);
    let mut keys = KeyReader::new(&key);
    assert_eq!((keys.value().unwrap(), keys.value().unwrap(), keys.is_empty()), ("a".into(), 3i64.into(), true));
    assert_eq!(values, [Value::I64(2), value(&BTreeSet::from([9i64]))]);
    let gone: AggOn<Deep> = agg::key("a", agg::key(3, agg::void()));
    assert_eq!(captured(&gone, &mut store, &mut at).1, [Value::Null]);

    let mut whole = MapStore::default();
    let of_one: AggOn<i64> = agg::count();
    assert_eq!(captured(&of_one, &mut whole, &mut at), (vec![], vec![Value::I64(1)]));
    assert_eq!(i64::decode(&mut Reader::new(at.values())), Ok(1));
}

#[test]
fn branching_shapes_cannot_be_captured() {
    let two_keys: AggOn<Map<String, i64>> = agg::key("a", agg::count()).and(agg::key("b", agg::count()));
    let error = two_keys.shape().check_capture().unwrap_err();
    assert_eq!(error.to_string(), "new values cannot be captured from a shape with several keys in one map");
    let below: AggOn<Map<String, Map<String, i64>>> = agg::key("a", two_keys);
    assert!(below.shape().check_capture().is_err());
    type TwoMaps = (Map<String, i64>, i64, Map<String, i64>);
    let two_maps: AggOn<TwoMaps> = agg::tuple((agg::key("a", agg::count()), agg::count(), agg::key("a", agg::count())));
    let error = two_maps.shape().check_capture().unwrap_err();
    assert_eq!(error.to_string(), "new values cannot be captured from a shape with several maps in one list");
    let one_map: AggOn<(Map<String, i64>, i64)> = agg::tuple((agg::key("a", agg::count()), agg::count()));
    assert_eq!(one_map.shape().check_capture(), Ok(()));
}

#[test]
#[should_panic(expected = "sum takes 1 arguments, not 0")]
fn a_leaf_with_too_few_arguments_is_refused_when_it_is_built() {
    AggShape::leaf(Aggregator::Sum, vec![]);
}
