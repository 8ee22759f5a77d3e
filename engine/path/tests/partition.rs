//! What a partition is asked and told: blind writes, checks against the schema, limits, nothing half done.

mod support;

use std::ops::ControlFlow;
use support::*;
use tantu_base::limit::KEY_SIZE_MAX;
use tantu_base::value::Value;
use tantu_path::{
    Arg, Args, EvalError, Func, NoArgs, PageLimit, Path, PathError, Schema, Scratch, select_page, select_store,
    transform_store,
};

fn counts() -> Schema {
    Schema::map(Schema::Str, Schema::I64)
}

fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

fn run(schema: &Schema, path: &Path, store: &mut MapStore) -> Result<(), EvalError> {
    transform_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new())
}

fn abc() -> MapStore {
    MapStore::of_map(&Value::map([(text("a"), Value::I64(1)), (text("b"), Value::I64(2)), (text("c"), Value::I64(3))]))
}

#[test]
fn replacing_or_removing_one_key_blindly_reads_nothing() {
    let mut store = abc();
    run(&counts(), &Path::new().key(text("a")).term_val(Value::I64(9)), &mut store).unwrap();
    run(&counts(), &Path::new().key(text("b")).term_void(), &mut store).unwrap();
    run(&counts(), &Path::new().must(text("c")).term_void(), &mut store).unwrap();
    let two = [("d", 4), ("e", 5)].map(|(k, v)| Path::new().key(text(k)).term_val(Value::I64(v)));
    run(&counts(), &Path::new().multi_path(two), &mut store).unwrap();
    assert_eq!(store.reads, 0);
    let after = [("a", 9), ("d", 4), ("e", 5)].map(|(k, v)| (text(k), Value::I64(v)));
    assert_eq!(store.to_map(), Value::map(after));
    run(&Schema::Any, &Path::new().term_val(Value::I64(9)), &mut store).unwrap();
    assert_eq!(store.reads, 0);
}

#[test]
fn one_key_is_one_read_and_an_unchanged_value_is_not_written() {
    let mut store = abc();
    run(&counts(), &Path::new().key(text("a")).term(Func::unary(|n: i64| n), vec![]), &mut store).unwrap();
    run(&counts(), &Path::new().key(text("a")).filter_equal(Value::I64(5)).term_void(), &mut store).unwrap();
    run(&counts(), &Path::new().map_vals().term(Func::unary(|n: i64| n), vec![]), &mut store).unwrap();
    assert_eq!((store.reads, store.writes), (3, 0));
}

#[test]
fn a_misfit_names_the_location_and_writes_nothing() {
    let bad = text("x");
    let nested = Schema::map(Schema::Str, Schema::map(Schema::I64, Schema::list(Schema::I64)));
    let cases = [
        (counts(), Path::new().key(text("a")).term_val(bad.clone()), r#"at ["a"]: expected i64, found string "x""#),
        (counts(), Path::new().key(Value::I64(1)).term_val(Value::I64(1)), "at [key 1]: expected String, found i64 1"),
        (counts(), Path::new().key(Value::Null).term_val(Value::I64(1)), "at [key null]: expected String, found null"),
        (counts(), Path::new().map_vals().term_val(bad.clone()), r#"at ["a"]: expected i64, found string "x""#),
        (counts(), Path::new().map_keys().term_val(Value::I64(1)), "at [key 1]: expected String, found i64 1"),
        (counts(), Path::new().term_val(bad.clone()), r#"at the top: expected Map<String, i64>, found string "x""#),
        (Schema::I64, Path::new().term_val(bad.clone()), r#"at the top: expected i64, found string "x""#),
        (
            nested,
            Path::new().key(text("z")).key(Value::I64(7)).after_elem().term_val(bad),
            r#"at ["z"][7][0]: expected i64, found string "x""#,
        ),
    ];
    for (schema, path, message) in cases {
        let mut store = abc();
        let error = run(&schema, &path, &mut store).unwrap_err();
        assert_eq!(error.to_string(), format!("object 7, {message}"), "{path}");
        assert_eq!(store.writes, 0, "{path}");
    }
}

#[test]
fn null_is_allowed_at_every_location_of_every_schema() {
    let mut store = abc();
    run(&counts(), &Path::new().key(text("a")).term_val(Value::Null), &mut store).unwrap();
    run(&counts(), &Path::new().key(text("n")).term_val(Value::Null), &mut store).unwrap();
    assert_eq!(store.to_map().get(&text("n")), Some(&Value::Null));
    run(&Schema::I64, &Path::new().term_val(Value::Null), &mut MapStore::default()).unwrap();
}

#[test]
fn a_whole_partition_can_be_replaced_or_emptied() {
    let mut store = abc();
    let new = Value::map([(text("b"), Value::I64(2)), (text("z"), Value::I64(26))]);
    run(&counts(), &Path::new().term_val(new.clone()), &mut store).unwrap();
    assert_eq!(store.to_map(), new);
    run(&counts(), &Path::new().term_val(Value::Null), &mut store).unwrap();
    assert!(store.entries.is_empty());
    let error = run(&counts(), &Path::new().term_void(), &mut store).unwrap_err();
    assert!(matches!(error, EvalError::Path { source: PathError::VoidAtTop, .. }));
}

#[test]
fn keys_and_values_longer_than_a_store_takes_are_refused() {
    let long_key = "k".repeat(KEY_SIZE_MAX);
    let error = run(&counts(), &Path::new().key(text(&long_key)).term_val(Value::I64(1)), &mut abc()).unwrap_err();
    assert!(matches!(error, EvalError::KeyTooLong { .. }), "{error}");
    let long = text(&"v".repeat(8 << 20));
    let schema = Schema::map(Schema::Str, Schema::Str);
    let error = run(&schema, &Path::new().key(text("a")).term_val(long), &mut abc()).unwrap_err();
    assert!(matches!(error, EvalError::ValueTooLong { .. }), "{error}");
}

#[test]
fn stored_bytes_that_are_no_value_are_named_and_never_panic() {
    let mut store = abc();
    store.entries.insert(vec![0xFE], vec![0xFE]);
    for path in [Path::new().all().first(), Path::new().map_vals().all(), Path::new().stay()] {
        let outcome = select_store(&counts(), OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new(), &mut |_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(outcome, Err(EvalError::Stored { .. } | EvalError::Path { .. })), "{outcome:?}");
    }
}

#[test]
fn a_visitor_that_breaks_is_called_no_more() {
    for path in [Path::new().all(), Path::new().map_vals(), Path::new().stay().all()] {
        let mut calls = 0;
        select_store(&counts(), OBJECT, &path, &mut abc(), &NoArgs, &mut Scratch::new(), &mut |_| {
            calls += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(calls, 1, "{path}");
    }
}

#[test]
fn an_entry_whose_rows_do_not_fit_begins_the_next_page() {
    let half = text(&"v".repeat(1 << 20));
    let entries = ["a", "b", "c"].map(|k| (text(k), half.clone()));
    let mut store = MapStore::of_map(&Value::map(entries));
    let schema = Schema::map(Schema::Str, Schema::Str);
    let times = |count: usize| Path::new().map_vals().multi_path((0..count).map(|_| Path::new()));
    let limit = PageLimit { size: usize::MAX, entry_count: usize::MAX };
    let mut after = None;
    for page_number in 0..3 {
        let path = times(10);
        let page =
            select_page(&schema, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new(), after.as_deref(), limit)
                .unwrap();
        assert_eq!(page.row_count, 10);
        assert_eq!(page.next.is_none(), page_number == 2);
        after = page.next;
    }
    let error = select_page(&schema, OBJECT, &times(20), &mut store, &NoArgs, &mut Scratch::new(), None, limit);
    assert_eq!(error, Err(EvalError::PageTooLong { object: OBJECT }));
}

/// Slot `n` holds the integer `n`.
struct Slots;

impl Args for Slots {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        Value::I64(i64::from(slot)).encode(out);
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        Value::I64(i64::from(slot)).encode_key(out);
    }
}

#[test]
fn slots_are_read_when_the_path_is_evaluated() {
    let schema = Schema::map(Schema::I64, Schema::Any);
    let mut store = MapStore::default();
    let path = Path::new().key(Arg::Slot(3)).key(Arg::Slot(4)).term_val(Arg::Slot(5));
    transform_store(&schema, OBJECT, &path, &mut store, &Slots, &mut Scratch::new()).unwrap();
    let inner = Value::map([(Value::I64(4), Value::I64(5))]);
    assert_eq!(store.to_map(), Value::map([(Value::I64(3), inner)]));

    let mut slots = Vec::new();
    path.each_slot(&mut |slot| slots.push(slot));
    assert_eq!(slots, [3, 4, 5]);
    assert_eq!(path.leading_key(), Some(&Arg::Slot(3)));
    let bound = path.map_slots(&mut |slot| slot + 10).bind(&Slots);
    run(&schema, &bound, &mut store).unwrap();
    assert_eq!(store.entries.len(), 2);
}

#[test]
fn the_typed_builder_and_its_results_go_with_a_store() {
    use std::collections::BTreeMap;
    use tantu_base::value::Reader;
    use tantu_path::{List, Map, Navigate, PStateSchema, PathTo, Set, TransformTo, path};

    type Profiles = Map<String, (Option<i64>, Map<i64, List<String>>)>;
    assert_eq!(Profiles::schema().to_string(), "Map<String, (i64, Map<i64, List<String>>)>");
    type Tags = Map<String, Map<i64, Set<String>>>;

    let schema = Tags::schema();
    let mut store = MapStore::default();
    let mut change = |path: TransformTo<Tags>| run(&schema, path.path(), &mut store).unwrap();
    for (user, day, tag) in [("ann", 1, "x"), ("ann", 1, "y"), ("ann", 2, "z"), ("bob", 1, "x")] {
        change(path().key(user).key(day).void_set_elem().term_val(tag));
    }
    change(path().key("bob").key(1).set_elem("x").term_with(&"w".to_owned(), |x: String, w: String| x + &w));
    change(
        path()
            .key("cyd")
            .multi([path().key(5).term_val(std::collections::BTreeSet::<String>::new()), path().key(6).term_void()]),
    );

    fn all<T: PStateSchema>(store: &mut MapStore, path: PathTo<Tags, T>) -> Vec<T::Value> {
        let mut found = Vec::new();
        let schema = Tags::schema();
        select_store(&schema, OBJECT, path.path(), store, &NoArgs, &mut Scratch::new(), &mut |bytes| {
            found.push(path.read_next(&mut Reader::new(bytes)).expect("the type fits"));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }
    let days = all(&mut store, path().key("ann"));
    let expected: BTreeMap<i64, _> =
        [(1, ["x", "y"].map(str::to_owned).into()), (2, ["z"].map(str::to_owned).into())].into();
    assert_eq!(days, [Some(expected)]);
    assert_eq!(all(&mut store, path().must("nobody").all()), []);
    assert_eq!(all(&mut store, path().key("nobody")), [None]);
    assert_eq!(all(&mut store, path().map_keys()), ["ann", "bob", "cyd"]);
    let bob = all(&mut store, path().sorted_map_range("b", "c").all());
    assert_eq!(bob, [("bob".to_owned(), [(1, ["xw".to_owned()].into())].into())]);
    assert_eq!(
        all(&mut store, path::<Tags>().map_vals().map_vals().filter_pred(|tags| tags.len() == 2).all()),
        ["x", "y"]
    );
    let count = path::<Tags>().map_vals().sorted_map_range_to(2, Some(1)).map_vals().view(|tags| tags.len() as u64);
    assert_eq!(all(&mut store, count), [2, 1]);
}
