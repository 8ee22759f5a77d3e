//! Folds against plain Rust: in one phase, and in two in any split and order.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tantu_base::value::{Encode, Reader, Value, encoded, encoded_key};
use tantu_path::agg::{self, AggOut, Custom, LeafArgs, Room, RowPart, ShapedFold};
use tantu_path::{AggError, AggShape, Aggregator, Arg, Args, Fold, Func, Leaf, List, NoArgs, Schema};

/// A row: a group, a small number, a text.
type Row = (u8, i64, String);

/// A model of an aggregator: the result of the rows of one group.
type Model = fn(&[Row]) -> Value;

/// A combiner, its arguments of a row, its model, and whether the order of states matters.
struct Case {
    leaf: Leaf,
    schema: Schema,
    args: fn(&Row) -> Vec<u8>,
    model: Model,
    is_ordered: bool,
}

fn number((_, n, _): &Row) -> Vec<u8> {
    encoded(n)
}

fn text((_, _, text): &Row) -> Vec<u8> {
    encoded(text)
}

fn odd((_, n, _): &Row) -> Vec<u8> {
    encoded(&(n % 2 != 0).then_some(*n))
}

fn value<T: Encode + ?Sized>(data: &T) -> Value {
    Value::decode(&encoded(data)).expect("a value")
}

fn leaf(aggregator: Aggregator) -> Leaf {
    let args = vec![Arg::Const(Value::Null); aggregator.arg_count()];
    Leaf::new(aggregator, args)
}

fn case(aggregator: Aggregator, schema: Schema, args: fn(&Row) -> Vec<u8>, model: Model, is_ordered: bool) -> Case {
    Case { leaf: leaf(aggregator), schema, args, model, is_ordered }
}

fn scalars() -> Vec<Case> {
    let any = || Schema::Any;
    vec![
        case(Aggregator::Count, Schema::U64, |_| vec![], |rows| value(&(rows.len() as u64)), false),
        case(Aggregator::Sum, any(), number, |rows| value(&rows.iter().map(|row| row.1).sum::<i64>()), false),
        case(
            Aggregator::Max,
            any(),
            odd,
            |rows| value(&rows.iter().map(|row| row.1).filter(|n| n % 2 != 0).max()),
            false,
        ),
        case(
            Aggregator::Min,
            any(),
            odd,
            |rows| value(&rows.iter().map(|row| row.1).filter(|n| n % 2 != 0).min()),
            false,
        ),
        case(Aggregator::Max, any(), text, |rows| value(&rows.iter().map(|row| &row.2).max()), false),
        case(Aggregator::First, any(), odd, |rows| value(&rows.iter().map(|row| row.1).find(|n| n % 2 != 0)), true),
        case(Aggregator::Last, any(), odd, |rows| value(&rows.iter().map(|row| row.1).rfind(|n| n % 2 != 0)), true),
        case(
            Aggregator::And,
            any(),
            odd,
            // Null where an even number came; else the last.
            |rows| value(&if rows.iter().any(|row| row.1 % 2 == 0) { None } else { rows.last().map(|row| row.1) }),
            true,
        ),
        case(Aggregator::Or, any(), odd, |rows| value(&rows.iter().map(|row| row.1).find(|n| n % 2 != 0)), true),
        case(
            Aggregator::Custom(Custom::combiner(&0i64, |a: i64, b: i64| a | b)),
            any(),
            number,
            |rows| value(&rows.iter().fold(0, |all, row| all | row.1)),
            false,
        ),
    ]
}

fn collections() -> Vec<Case> {
    let any = || Schema::Any;
    let pair = |row: &Row| [encoded(&row.2), encoded(&row.1)].concat();
    let map = |row: &Row| encoded(&BTreeMap::from([(row.2.clone(), row.1), (String::from("always"), row.1)]));
    vec![
        case(
            Aggregator::Set,
            any(),
            number,
            |rows| value(&rows.iter().map(|row| row.1).collect::<BTreeSet<i64>>()),
            false,
        ),
        case(Aggregator::SetRemove, any(), number, |_| value(&BTreeSet::<i64>::new()), false),
        case(
            Aggregator::MultiSet,
            any(),
            text,
            |rows| {
                let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
                rows.iter().for_each(|row| *counts.entry(&row.2).or_default() += 1);
                value(&counts)
            },
            false,
        ),
        case(
            Aggregator::Map,
            any(),
            pair,
            |rows| value(&rows.iter().map(|row| (&row.2, row.1)).collect::<BTreeMap<_, _>>()),
            true,
        ),
        case(
            Aggregator::Merge,
            any(),
            map,
            |rows| {
                let always = rows.iter().map(|row| ("always", row.1));
                value(&rows.iter().map(|row| (&row.2[..], row.1)).chain(always).collect::<BTreeMap<_, _>>())
            },
            true,
        ),
        case(Aggregator::List, any(), number, |rows| value(&rows.iter().map(|row| row.1).collect::<Vec<_>>()), true),
    ]
}

fn limits() -> Vec<Case> {
    let kept = |row: &Row| [encoded(&row.1), encoded(&row.2)].concat();
    vec![
        case(
            Aggregator::Limit(agg::Limit::new(3, 1).sort(1).reverse()),
            Schema::Any,
            kept,
            |rows| {
                let mut rows: Vec<_> = rows.iter().map(|row| (row.1, &row.2)).collect();
                // Ties go by the bytes of what is kept.
                rows.sort_by_key(|(n, text)| std::cmp::Reverse((*n, encoded(&(text,)))));
                value(&rows.into_iter().take(3).map(|(_, text)| (text,)).collect::<Vec<_>>())
            },
            false,
        ),
        case(
            Aggregator::Limit(agg::Limit::new(2, 2).index()),
            Schema::Any,
            kept,
            |rows| {
                let rows = rows.iter().take(2).enumerate();
                value(&rows.map(|(index, row)| (row.1, &row.2, index as i64)).collect::<Vec<_>>())
            },
            true,
        ),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..4u8, -4..8i64, "[ab]{0,2}"), 0..40)
}

fn key(row: &Row) -> Vec<u8> {
    encoded_key(&u64::from(row.0))
}

fn modelled(rows: &[Row], model: Model) -> Vec<(Vec<u8>, Value)> {
    let mut groups: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(key(row)).or_default().push(row.clone()));
    groups.into_iter().map(|(key, rows)| (key, model(&rows))).collect()
}

fn finished(fold: &mut Fold) -> Vec<(Vec<u8>, Value)> {
    let mut found = Vec::new();
    fold.finish(&mut |key, results| {
        found.push((key.to_vec(), Value::decode(results).expect("one value")));
        ControlFlow::Continue(())
    })
    .expect("finishes");
    found
}

fn fold_of(case: &Case) -> Fold {
    Fold::by_group(vec![(case.leaf.clone(), case.schema.clone())])
}

/// In two phases: row `n` goes to the task that `split` names; tasks are drained in the order `turns`.
fn two_phases(
    case: &Case,
    rows: &[Row],
    split: &[usize],
    turns: &[usize],
    flush_every: usize,
) -> Vec<(Vec<u8>, Value)> {
    let mut tasks: Vec<Fold> = (0..3).map(|_| fold_of(case)).collect();
    let mut all = fold_of(case);
    for (at, row) in rows.iter().enumerate() {
        // Where order matters, the tasks have the rows one after the other, and drain in that order.
        let task = if case.is_ordered { at * 3 / rows.len() } else { split[at % split.len()] };
        tasks[task].step_encoded(&key(row), &(case.args)(row)).expect("steps");
        if !case.is_ordered && tasks[task].steps() == flush_every as u64 {
            tasks[task].drain(&mut |key, partial| all.combine(key, partial).map(drop)).expect("drains");
        }
    }
    let order: Vec<usize> = if case.is_ordered { vec![0, 1, 2] } else { [turns, &[0, 1, 2]].concat() };
    for task in order {
        tasks[task].drain(&mut |key, partial| all.combine(key, partial).map(drop)).expect("drains");
        assert!(tasks[task].is_empty() && tasks[task].steps() == 0);
    }
    finished(&mut all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_combiner_gives_what_plain_rust_gives_in_one_phase_and_in_two(
        rows in rows(),
        split in prop::collection::vec(0..3usize, 1..20),
        turns in prop::collection::vec(0..3usize, 0..4),
        flush_every in 1..12usize,
    ) {
        for case in scalars().iter().chain(&collections()).chain(&limits()) {
            let expected = modelled(&rows, case.model);
            let mut one = fold_of(case);
            for row in &rows {
                one.step_encoded(&key(row), &(case.args)(row)).expect("steps");
            }
            prop_assert_eq!(&finished(&mut one), &expected, "{} in one phase", case.leaf.name());
            prop_assert_eq!(&finished(&mut one), &expected, "{} a second time", case.leaf.name());
            let two = two_phases(case, &rows, &split, &turns, flush_every);
            prop_assert_eq!(&two, &expected, "{} in two phases", case.leaf.name());
        }
    }

    #[test]
    fn accumulators_give_what_plain_rust_gives(rows in rows(), ascending in any::<bool>(), count in 1..4usize) {
        let mut average = Fold::by_group(vec![(leaf(Aggregator::Average), Schema::F64)]);
        // The state is a text, so the order of arrival shows.
        let joined = Custom::accumulator(&String::new(), |all: String, (n, text): (i64, String)| format!("{all}{n}{text}"));
        let mut joined = Fold::by_group(vec![(leaf(Aggregator::Custom(joined)), Schema::Str)]);
        let mut top = agg::TopMonotonic::new(count)
            .id(Func::unary(|(text, _): (String, i64)| text))
            .sort_val(Func::unary(|(_, n): (String, i64)| n));
        if ascending {
            top = top.ascending();
        }
        let mut top = Fold::by_group(vec![(leaf(Aggregator::TopMonotonic(top)), Schema::Any)]);
        for row in &rows {
            average.step_encoded(&key(row), &encoded(&row.1)).expect("steps");
            joined.step_encoded(&key(row), &[encoded(&row.1), encoded(&row.2)].concat()).expect("steps");
        }
        prop_assert_eq!(finished(&mut average), modelled(&rows, |rows| {
            value(&(rows.iter().map(|row| row.1).sum::<i64>() as f64 / rows.len() as f64))
        }));
        prop_assert_eq!(finished(&mut joined), modelled(&rows, |rows| {
            value(&rows.iter().map(|row| format!("{}{}", row.1, row.2)).collect::<String>())
        }));
        // Counts that only get better, per text: what a top needs.
        let mut counts: BTreeMap<(Vec<u8>, &str), i64> = BTreeMap::new();
        for row in &rows {
            let best = counts.entry((key(row), &row.2)).or_default();
            *best += if ascending { -1 } else { 1 };
            top.step_encoded(&key(row), &encoded(&(&row.2, *best))).expect("steps");
        }
        for (key, found) in finished(&mut top) {
            let mut best: Vec<(i64, &str)> =
                counts.iter().filter(|((group, _), _)| *group == key).map(|((_, text), n)| (*n, *text)).collect();
            // Ties go by the bytes of the pair: shorter texts first, then in their order.
            best.sort_by_key(|(n, text)| (if ascending { *n } else { -n }, encoded(&(text, *n))));
            best.truncate(count);
            let best: Vec<(&str, i64)> = best.into_iter().map(|(n, text)| (text, n)).collect();
            prop_assert_eq!(found, value(&best));
        }
    }
}

/// Slots 0 to 2 hold a row's group, number and text.
struct Slots<'a>(&'a Row);

impl Args for Slots<'_> {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => i64::from(self.0.0).encode(out),
            1 => self.0.1.encode(out),
            _ => self.0.2.encode(out),
        }
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        match slot {
            0 => i64::from(self.0.0).encode_key(out),
            1 => self.0.1.encode_key(out),
            _ => self.0.2.encode_key(out),
        }
    }
}

/// One compound shape over all rows, whose parts are given to it as a batch block does.
struct Compound {
    fold: ShapedFold,
    parts: Vec<RowPart>,
}

impl Compound {
    fn new(shape: &AggShape, schema: &Schema) -> Compound {
        let outs = vec![(shape.clone(), schema.clone())];
        let parts = ShapedFold::parts(&outs);
        Compound { fold: ShapedFold::new(outs, None), parts }
    }

    fn step(&mut self, row: &Row) -> Result<(), AggError> {
        let put = |arg: &Arg, out: &mut Vec<u8>| match arg {
            Arg::Const(value) => value.encode(out),
            Arg::Slot(slot) => Slots(row).value(*slot, out),
        };
        for (at, part) in self.parts.iter().enumerate() {
            let (mut key, mut args) = (Vec::new(), Vec::new());
            ShapedFold::put_part(at, &mut key);
            part.keys.iter().for_each(|arg| put(arg, &mut key));
            part.leaf.args().iter().for_each(|arg| put(arg, &mut args));
            assert_eq!(self.fold.step_encoded(&key, &args)?, Room::Left);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Value, AggError> {
        assert_eq!(self.fold.seal()?, 1, "all rows are one group");
        Ok(Value::decode(self.fold.results(0)).expect("a value"))
    }
}

/// group → text → (count, {number}), and under -1 the sum of all numbers by text.
fn compound() -> (AggShape, Schema) {
    let pair = || AggShape::List(vec![AggShape::count(), AggShape::leaf(Aggregator::Set, vec![Arg::Slot(1)])]);
    let shape = AggShape::Map(vec![
        (Arg::Slot(0), AggShape::key(Arg::Slot(2), pair())),
        (Arg::Const(Value::I64(-1)), AggShape::key(Arg::Slot(2), AggShape::sum(Arg::Slot(1)))),
    ]);
    (shape, Schema::map(Schema::I64, Schema::map(Schema::Str, Schema::Any)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compound_shape_over_rows_is_the_value_that_plain_maps_give_in_one_phase_and_in_two(
        rows in rows(),
        split in prop::collection::vec(0..3usize, 1..20),
    ) {
        let (shape, schema) = compound();
        let mut groups: BTreeMap<i64, BTreeMap<&str, (i64, BTreeSet<i64>)>> = BTreeMap::new();
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (group, n, text) in &rows {
            let (count, numbers) = groups.entry(i64::from(*group)).or_default().entry(text).or_default();
            *count += 1;
            numbers.insert(*n);
            *sums.entry(text).or_default() += n;
        }
        let mut expected: Vec<(Value, Value)> = groups.iter().map(|(key, of)| (Value::I64(*key), value(of))).collect();
        if !sums.is_empty() {
            expected.push((Value::I64(-1), value(&sums)));
        }
        let expected = Value::map(expected);
        let mut one = Compound::new(&shape, &schema);
        let mut tasks: Vec<Compound> = (0..3).map(|_| Compound::new(&shape, &schema)).collect();
        for (at, row) in rows.iter().enumerate() {
            one.step(row).expect("steps");
            tasks[split[at % split.len()]].step(row).expect("steps");
        }
        prop_assert_eq!(one.finish().expect("finishes"), expected.clone());
        let mut all = Compound::new(&shape, &schema);
        for Compound { fold: task, .. } in &mut tasks {
            task.drain(&mut |key, partial| all.fold.combine(key, partial).map(drop)).expect("drains");
            prop_assert_eq!(task.size(), 0);
        }
        prop_assert_eq!(all.finish().expect("finishes"), expected);
    }
}

#[test]
fn without_a_row_each_result_is_what_its_aggregator_starts_from() {
    let cases = [
        (Aggregator::Count, Schema::U32, Value::U64(0)),
        (Aggregator::Sum, Schema::Any, Value::I64(0)),
        (Aggregator::Sum, Schema::F64, Value::F64(0.0)),
        (Aggregator::Max, Schema::I64, Value::Null),
        (Aggregator::Min, Schema::I64, Value::Null),
        (Aggregator::First, Schema::I64, Value::Null),
        (Aggregator::Last, Schema::I64, Value::Null),
        (Aggregator::And, Schema::Bool, Value::Bool(true)),
        (Aggregator::Or, Schema::Bool, Value::Bool(false)),
        (Aggregator::Average, Schema::F64, Value::Null),
        (Aggregator::Set, Schema::Any, Value::Set(vec![])),
        (Aggregator::MultiSet, Schema::Any, Value::Map(vec![])),
        (Aggregator::List, Schema::Any, Value::List(vec![])),
        (Aggregator::Limit(agg::Limit::new(3, 1)), Schema::Any, Value::List(vec![])),
        (Aggregator::Custom(Custom::combiner(&7i64, |a: i64, _: i64| a)), Schema::Any, Value::I64(7)),
    ];
    for (aggregator, schema, expected) in cases {
        let name = aggregator.name();
        let mut all = Fold::of_all(vec![(leaf(aggregator.clone()), schema.clone())]);
        assert_eq!(finished(&mut all), [(vec![], expected)], "{name}");
        assert_eq!(finished(&mut Fold::by_group(vec![(leaf(aggregator), schema)])), [], "{name}");
    }
}

#[test]
fn several_aggregators_share_a_group_and_read_their_own_arguments() {
    let mut fold = Fold::by_group(vec![
        (leaf(Aggregator::Count), Schema::I64),
        (Leaf::new(Aggregator::Sum, vec![Arg::Slot(1)]), Schema::I64),
        (Leaf::new(Aggregator::Map, vec![Arg::Slot(2), Arg::Slot(1)]), Schema::Any),
    ]);
    for (n, text) in [(1, "x"), (2, "y"), (3, "x"), (1, "x")] {
        fold.step(&[Arg::Slot(2), Arg::Const(Value::Bool(true))], &Slots(&(0, n, text.to_owned()))).unwrap();
    }
    assert_eq!((fold.len(), fold.steps()), (2, 4));
    fold.seal();
    let mut results = Vec::new();
    fold.results(0, &mut results).unwrap();
    let mut reader = Reader::new(&results);
    assert_eq!(reader.value().unwrap(), Value::I64(3));
    assert_eq!(reader.value().unwrap(), Value::I64(5));
    assert_eq!(reader.value().unwrap(), Value::map([("x".into(), 1i64.into())]));
    assert!(reader.is_empty());
    let keys = [encoded_key("x"), encoded_key(&true)].concat();
    assert_eq!(fold.key(0), keys);
}

#[test]
fn a_fold_over_its_limit_says_so_if_it_can_be_drained_and_fails_if_it_cannot() {
    let text = |n: usize| format!("{n:0>500}");
    let sums = || vec![(leaf(Aggregator::List), Schema::Any)];
    let mut fold = Fold::of_all(sums()).limit(20_000);
    let (mut all, mut drains) = (Fold::of_all(sums()), 0);
    for n in 0..100 {
        if fold.step_encoded(&[], &encoded(&text(n))).unwrap() == Room::Full {
            assert!(fold.size() > 20_000 && fold.size() < 22_000, "{}", fold.size());
            drains += 1;
            fold.drain(&mut |key, partial| all.combine(key, partial).map(drop)).unwrap();
            assert_eq!(fold.size(), 0);
        }
    }
    assert_eq!(drains, 2, "of 50 KB in all");
    fold.drain(&mut |key, partial| all.combine(key, partial).map(drop)).unwrap();
    assert_eq!(finished(&mut all), [(vec![], value(&(0..100).map(text).collect::<Vec<_>>()))]);

    let concat = Custom::accumulator(&String::new(), |all: String, (n,): (String,)| all + &n);
    let mut fold = Fold::of_all(vec![(leaf(Aggregator::Custom(concat)), Schema::Any)]).limit(20_000);
    let error = (0..100).find_map(|n| fold.step_encoded(&[], &encoded(&text(n))).err()).unwrap();
    assert_eq!(error, AggError::Memory { limit: 20_000 });
}

#[test]
fn only_combiners_travel_and_void_stays_in_its_shape() {
    let mut average = Fold::of_all(vec![(leaf(Aggregator::Average), Schema::F64)]);
    average.step_encoded(&[], &encoded(&1i64)).unwrap();
    assert!(!average.is_combiner());
    let error = average.drain(&mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "average is no combiner: it needs every row in one place");
    assert_eq!(average.combine(&[], &encoded(&1i64)).unwrap_err(), error);
    let mut void = Fold::of_all(vec![(leaf(Aggregator::Void), Schema::Any)]);
    let error = void.step(&[], &NoArgs).unwrap_err();
    assert_eq!(error.to_string(), "void can only stand in a compound shape");
}

#[test]
fn combiners_say_whether_their_states_grow() {
    let grows = |aggregator: Aggregator| Fold::of_all(vec![(leaf(aggregator), Schema::Any)]).is_flush_required();
    for scalar in [Aggregator::Count, Aggregator::Sum, Aggregator::Max, Aggregator::And, Aggregator::Last] {
        assert!(!grows(scalar));
    }
    for collection in [Aggregator::Set, Aggregator::MultiSet, Aggregator::Map, Aggregator::List, Aggregator::Merge] {
        assert!(grows(collection));
    }
    let custom = Custom::combiner(&String::new(), |a: String, b: String| a + &b);
    assert!(!grows(Aggregator::Custom(custom.clone())));
    assert!(grows(Aggregator::Custom(custom.flush_required())));
}

#[test]
fn a_32_bit_sum_is_checked_when_it_ends_not_on_the_way() {
    let most = i64::from(i32::MAX);
    let mut fold = Fold::of_all(vec![(leaf(Aggregator::Sum), Schema::I32)]);
    fold.step_encoded(&[], &encoded(&most)).unwrap();
    fold.step_encoded(&[], &encoded(&1i64)).unwrap();
    assert!(matches!(
        fold.finish(&mut |_, _| ControlFlow::Continue(())),
        Err(AggError::Overflow { type_name: "i32", .. })
    ));
    fold.step_encoded(&[], &encoded(&-1i64)).unwrap();
    assert_eq!(finished(&mut fold), [(vec![], Value::I64(most))]);
}

#[test]
fn integers_that_overflow_in_a_fold_are_errors_and_averages_of_them_are_exact() {
    let mut sum = Fold::of_all(vec![(leaf(Aggregator::Sum), Schema::I64)]);
    sum.step_encoded(&[], &encoded(&i64::MAX)).unwrap();
    assert!(matches!(sum.step_encoded(&[], &encoded(&1i64)), Err(AggError::Overflow { type_name: "i64", .. })));
    let mut mean = Fold::of_all(vec![(leaf(Aggregator::Average), Schema::F64)]);
    for n in [i64::MAX, i64::MAX, i64::MIN, i64::MIN, 6] {
        mean.step_encoded(&[], &encoded(&n)).unwrap();
    }
    assert_eq!(finished(&mut mean), [(vec![], Value::F64(0.8))]);
    let error = mean.step_encoded(&[], &encoded(&1.5f64)).unwrap_err();
    assert_eq!(error.to_string(), "average cannot combine a integer with a f64");
}

#[test]
fn typed_outputs_fold_with_the_schema_of_their_type() {
    struct Word(&'static str, u32);
    impl Args for Word {
        fn value(&self, slot: u32, out: &mut Vec<u8>) {
            if slot == 0 { self.0.encode(out) } else { self.1.encode(out) }
        }
        fn key(&self, slot: u32, out: &mut Vec<u8>) {
            if slot == 0 { self.0.encode_key(out) } else { self.1.encode_key(out) }
        }
    }
    let sum: AggOut<u32> = agg::sum(5u32).into();
    let mut fold = sum.fold_of_all();
    fold.step(&[], &NoArgs).unwrap();
    fold.step(&[], &NoArgs).unwrap();
    assert_eq!(finished(&mut fold), [(vec![], Value::U64(10))]);

    let top: AggOut<List<(String, i64)>> = AggOut::from_untyped(Leaf::new(
        Aggregator::Limit(agg::Limit::new(2, 1).sort(1).reverse().index()),
        vec![Arg::Slot(1), Arg::Slot(0)],
    ));
    let mut fold = top.fold_of_all();
    for (word, n) in [("a", 1), ("b", 5), ("c", 3), ("d", 4)] {
        fold.step(&[], &Word(word, n)).unwrap();
    }
    assert_eq!(finished(&mut fold), [(vec![], value(&[("b", 0i64), ("d", 1)][..]))]);
    let typed: AggOut<List<(String, i64)>> = agg::limit(2).sort((5,)).reverse().of_indexed(("a",));
    assert_eq!(typed.leaf().args(), LeafArgs::<(i64, String)>::into_args((5, "a")));
}

#[test]
fn average_by_group_from_typed_builders() {
    let mean: AggOut<Option<f64>> = agg::average(3u64);
    let mut fold = mean.fold_by_group();
    fold.step(&[Arg::Const(Value::from("x"))], &NoArgs).unwrap();
    assert_eq!(finished(&mut fold), [(encoded_key("x"), Value::F64(3.0))]);
}

#[test]
fn init_step_and_combine_of_an_aggregator_can_be_called() {
    let (mut state, mut next) = (Vec::new(), Vec::new());
    Aggregator::Set.init(&Schema::Any, &mut state);
    for n in [3i64, 1, 3] {
        Aggregator::Set.step(&Schema::Any, Some(&state), &encoded(&n), &mut next).unwrap();
        std::mem::swap(&mut state, &mut next);
    }
    Aggregator::Set.combine(&Schema::Any, Some(&state), &encoded(&BTreeSet::from([2i64])), &mut next).unwrap();
    assert_eq!(Value::decode(&next).unwrap(), value(&BTreeSet::from([1i64, 2, 3])));
    let error = Aggregator::Sum.step(&Schema::Any, None, &[], &mut next).unwrap_err();
    assert_eq!(error, AggError::Arguments { aggregator: "sum", wanted: 1, found: 0 });
    let error = Aggregator::Average.combine(&Schema::Any, None, &encoded(&1i64), &mut next).unwrap_err();
    assert_eq!(error.to_string(), "average is no combiner: it needs every row in one place");
}

#[test]
fn two_keys_of_a_compound_shape_that_are_equal_share_their_place() {
    let sums = |second: AggShape| {
        AggShape::Map(vec![(Arg::Slot(2), AggShape::sum(Arg::Slot(1))), (Value::from("all").into(), second)])
    };
    let schema = Schema::map(Schema::Str, Schema::I64);
    let mut fold = Compound::new(&sums(AggShape::sum(Arg::Slot(1))), &schema);
    for (n, text) in [(1, "a"), (2, "all"), (4, "a")] {
        fold.step(&(0, n, text.to_owned())).unwrap();
    }
    assert_eq!(fold.finish().unwrap(), Value::map([("a".into(), Value::I64(5)), ("all".into(), Value::I64(9))]));
    let last = Custom::accumulator(&0i64, |_: i64, (n,): (i64,)| n);
    let last = AggShape::leaf(Aggregator::Custom(last), vec![Arg::Slot(1)]);
    let mut fold = Compound::new(&sums(last), &schema);
    fold.step(&(0, 1, "all".to_owned())).unwrap();
    assert!(fold.finish().unwrap_err().to_string().contains("is no combiner"));
}

#[test]
fn sums_and_counts_that_grow_shrink_and_change_their_sign_are_those_of_plain_numbers() {
    let AggShape::Leaf(sum) = AggShape::sum(Value::Null) else { unreachable!("an aggregator") };
    let AggShape::Leaf(count) = AggShape::count() else { unreachable!("an aggregator") };
    let mut fold = Fold::by_group(vec![(sum, Schema::I64), (count, Schema::I64)]);
    let mut plain: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut number = 1i64;
    for step in 0..20_000i64 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let by = match step % 3 {
            0 => number >> 62,
            1 => number >> (20 + step % 40),
            _ => 255,
        };
        let key = step % 7;
        fold.step_encoded(&encoded_key(&key), &encoded(&by)).expect("it fits");
        let (sum, count) = plain.entry(key).or_default();
        (*sum, *count) = (*sum + by, *count + 1);
    }
    let mut found = BTreeMap::new();
    let mut visit = |key: &[u8], results: &[u8]| {
        let mut reader = Reader::new(results);
        let mut number = || reader.i64().expect("a number");
        found.insert(key.to_vec(), (number(), number()));
        ControlFlow::Continue(())
    };
    fold.finish(&mut visit).expect("they fit");
    let plain: BTreeMap<_, _> = plain.into_iter().map(|(key, sums)| (encoded_key(&key), sums)).collect();
    assert_eq!(found, plain);
}
