//! Subindexed structures: a path over them gives what it gives on the plain value, wherever the store misses a block; what
//! is stored is what the layout says and nothing besides; and it costs no more reads than it must.

#[path = "support/structured.rs"]
mod structured;
mod support;

use std::ops::ControlFlow;
use structured::{Chance, Layout, plain, schema, select_path, transform_path, value};
use support::*;
use tantu_base::value::{Reader, Value};
use tantu_path::agg::{self, AggOn};
use tantu_path::{
    AggShape, EvalError, Func, Map, NoArgs, PStateSchema, PageLimit, Path, PathError, Schema, Scratch, Sub, Untracked,
    aggregate, clear_store, select, select_page, select_store, transform, transform_store,
};

const SEEDS: u64 = 2500;

fn until_there<T>(mut evaluate: impl FnMut() -> Result<T, EvalError>) -> Result<T, EvalError> {
    loop {
        match evaluate() {
            Err(EvalError::Need) => {}
            outcome => return outcome,
        }
    }
}

fn change(schema: &Schema, path: &Path, store: &mut MapStore) -> Result<(), EvalError> {
    let before = store.entries.clone();
    until_there(|| {
        let outcome = transform_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new());
        if outcome.is_err() {
            assert!(store.entries == before, "written before the reads were complete, or by a failing path");
        }
        outcome
    })
}

fn find(schema: &Schema, path: &Path, store: &mut MapStore) -> Result<Vec<Value>, EvalError> {
    until_there(|| {
        let mut found = Vec::new();
        select_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new(), &mut |bytes| {
            found.push(Value::decode(bytes).expect("a found value decodes"));
            ControlFlow::Continue(())
        })
        .map(|()| found)
    })
}

fn misses(chance: &mut Chance, store: &mut MapStore) {
    store.reads = 0;
    store.misses = (0..chance.below(4)).map(|_| chance.below(8) as usize).collect();
    store.shown_before_miss = chance.below(3) as usize;
}

/// An empty top-level map and null are the same partition.
fn normal(schema: &Schema, value: Value) -> Value {
    match (schema, value) {
        (Schema::Map(..), Value::Null) => Value::Map(vec![]),
        (_, value) => value,
    }
}

#[test]
fn transforms_make_what_they_make_of_the_plain_value_and_leave_nothing_else_behind() {
    let (mut changed, mut failed) = (0, 0);
    for seed in 0..SEEDS {
        let mut chance = Chance(seed);
        let schema = schema(&mut chance);
        schema.check_declared().unwrap();
        let mut expected = normal(&schema, Value::Null);
        let mut store = MapStore::default();
        for step in 0..8 {
            let path = if step == 0 {
                Path::new().term_val(value(&mut chance, &schema))
            } else {
                transform_path(&mut chance, &schema)
            };
            misses(&mut chance, &mut store);
            let context = || format!("seed {seed} step {step}: {path} on {schema}: {expected:?}");
            let outcome = change(&schema, &path, &mut store);
            match transform(&path, expected.clone(), &NoArgs) {
                Ok(after) if plain(&schema).check(&after).is_ok() => {
                    outcome.unwrap_or_else(|error| panic!("{}: {error}", context()));
                    let after = normal(&schema, after);
                    let found = std::panic::catch_unwind(|| Layout::read(&schema, &store.entries))
                        .unwrap_or_else(|_| panic!("the layout is broken: {}", context()));
                    assert_eq!(found, after, "{}", context());
                    changed += usize::from(after != expected);
                    expected = after;
                }
                Ok(_) => assert!(matches!(outcome, Err(EvalError::Schema { .. })), "{}: {outcome:?}", context()),
                Err(error) => {
                    failed += 1;
                    match outcome {
                        Err(EvalError::Path { source, .. }) if source == error => {}
                        other => panic!("{}: {other:?} is not {error:?}", context()),
                    }
                }
            }
        }
    }
    assert!(changed > 3000 && failed < 6000, "{changed} changed, {failed} failed");
}

#[test]
fn selects_find_what_they_find_in_the_plain_value_and_refuse_whole_structures() {
    let (mut found_count, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut chance = Chance(seed ^ 0xabcd);
        let schema = schema(&mut chance);
        let whole = normal(&schema, value(&mut chance, &schema));
        let mut store = MapStore::default();
        change(&schema, &Path::new().term_val(whole.clone()), &mut store).unwrap();
        for _ in 0..12 {
            let path = select_path(&mut chance, &schema);
            misses(&mut chance, &mut store);
            let context = || format!("seed {seed}: {path} on {schema}: {whole:?}");
            match (find(&schema, &path, &mut store), select(&path, &whole, &NoArgs)) {
                (Err(EvalError::Path { source: PathError::Subindexed { .. }, .. }), _) => refused += 1,
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found, expected, "{}", context());
                    found_count += found.len();
                }
                (Err(EvalError::Path { source, .. }), Err(expected)) => assert_eq!(source, expected, "{}", context()),
                (found, expected) => panic!("{}: {found:?} is not {expected:?}", context()),
            }
        }
    }
    assert!(found_count > 10_000 && refused > 1000, "{found_count} found, {refused} refused");
}

#[test]
fn pages_one_after_the_other_are_the_whole_select() {
    let mut cut = 0;
    for seed in 0..SEEDS {
        let mut chance = Chance(seed ^ 0x77);
        let schema = schema(&mut chance);
        let whole = normal(&schema, value(&mut chance, &schema));
        let mut store = MapStore::default();
        change(&schema, &Path::new().term_val(whole.clone()), &mut store).unwrap();
        let path = select_path(&mut chance, &schema);
        let Ok(expected) = find(&schema, &path, &mut store) else { continue };
        let limit = PageLimit { size: 1 + chance.below(60) as usize, entry_count: 1 + chance.below(3) as usize };
        let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
        misses(&mut chance, &mut store);
        loop {
            let page = until_there(|| {
                let (after, scratch) = (after.as_deref(), &mut Scratch::new());
                select_page(&schema, OBJECT, &path, &mut store, &NoArgs, scratch, after, limit)
            })
            .unwrap();
            let mut reader = Reader::new(&page.rows);
            found.extend((0..page.row_count).map(|_| reader.value().expect("a row decodes")));
            if page.next.is_none() {
                break;
            }
            assert!(page.next > after, "a page must get on");
            (after, cut) = (page.next, cut + 1);
        }
        assert_eq!(found, expected, "seed {seed}: {path} on {schema}: {whole:?}");
    }
    assert!(cut > 200, "hardly anything was cut: {cut}");
}

fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

/// A user with a structure of so many elements.
fn user_with(schema: &Schema, count: i64) -> MapStore {
    let mut store = MapStore::default();
    let elements = match schema {
        Schema::Map(_, of) if **of == Schema::sub(Schema::list(Schema::I64)) => {
            Value::List((0..count).map(Value::I64).collect())
        }
        _ => Value::map((0..count).map(|n| (Value::I64(n), Value::I64(n * n)))),
    };
    change(schema, &Path::new().key(text("ann")).term_val(elements), &mut store).expect("the elements fit");
    (store.reads, store.steps, store.writes) = (0, 0, 0);
    store
}

fn costs(store: &mut MapStore) -> (usize, usize, usize) {
    let costs = (store.reads, store.steps, store.writes);
    (store.reads, store.steps, store.writes) = (0, 0, 0);
    costs
}

fn squares(tracked: bool) -> Schema {
    let of = Schema::map(Schema::I64, Schema::I64);
    Schema::map(Schema::Str, if tracked { Schema::sub(of) } else { Schema::untracked(of) })
}

/// TST-12. Scans count as a read that opens and as their steps.
#[test]
fn an_element_of_a_large_structure_costs_at_most_the_handle_and_itself() {
    let schema = squares(true);
    let mut store = user_with(&schema, 1000);
    let ann = || Path::new().key(text("ann"));
    let element = |n: i64| ann().key(Value::I64(n));
    assert_eq!(find(&schema, &element(30), &mut store), Ok(vec![Value::I64(900)]));
    assert_eq!(costs(&mut store), (1, 0, 0), "nobody asked for the handle");
    change(&schema, &element(30).term(Func::unary(|n: i64| n + 1), vec![]), &mut store).unwrap();
    assert_eq!(costs(&mut store), (2, 0, 1), "the size did not change");
    change(&schema, &element(5000).term_val(Value::I64(1)), &mut store).unwrap();
    assert_eq!(costs(&mut store), (2, 0, 2), "the element and the new size");
    change(&schema, &element(5000).term_void(), &mut store).unwrap();
    assert_eq!(costs(&mut store), (2, 0, 2));
    let fifty = ann().sorted_map_range_from(Value::I64(100), true, Some(50)).map_vals();
    assert_eq!(find(&schema, &fifty, &mut store).unwrap().len(), 50);
    assert_eq!(costs(&mut store), (2, 50, 0), "one read, one scan, fifty steps");
    let last = ann().sorted_map_range_to_end(Value::U64(3)).map_keys();
    let expected = [997, 998, 999].map(Value::I64).to_vec();
    assert_eq!(find(&schema, &last, &mut store), Ok(expected));
    assert_eq!(costs(&mut store), (2, 3, 0), "the last entries are read from the end");
    let part = ann().sorted_map_range_to_end(Value::U64(3));
    assert_eq!(find(&schema, &part, &mut store).unwrap()[0].entries().unwrap().len(), 3);
    assert_eq!(costs(&mut store), (2, 3, 0), "also as one value");
}

/// PST-11.
#[test]
fn the_size_of_a_tracked_structure_is_one_read_and_that_of_another_is_counted() {
    let size = || Path::new().key(text("ann")).size();
    for (tracked, costs_of_size) in [(true, (1, 0, 0)), (false, (2, 1000, 0))] {
        let schema = squares(tracked);
        let mut store = user_with(&schema, 1000);
        costs(&mut store);
        assert_eq!(find(&schema, &size(), &mut store), Ok(vec![Value::U64(1000)]));
        assert_eq!(costs(&mut store), costs_of_size, "tracked: {tracked}");
        assert_eq!(find(&schema, &Path::new().key(text("eve")).size(), &mut store), Ok(vec![Value::U64(0)]));
        assert_eq!(find(&schema, &Path::new().size(), &mut store), Ok(vec![Value::U64(1)]), "users, not elements");
        let large = size().filter_greater_than(Value::U64(999));
        assert_eq!(find(&schema, &large, &mut store), Ok(vec![Value::U64(1000)]), "the path goes on from it");
        let error = change(&schema, &size().term_val(Value::U64(1)), &mut store).unwrap_err().to_string();
        assert!(error.contains("size: is computed and cannot be changed"), "{error}");
    }
    let schema = Schema::map(Schema::Str, Schema::sub(Schema::list(Schema::I64)));
    let mut store = user_with(&schema, 7);
    costs(&mut store);
    assert_eq!(find(&schema, &size(), &mut store), Ok(vec![Value::U64(7)]));
    assert_eq!(costs(&mut store), (1, 0, 0), "a list knows its size");
}

/// PST-35.
#[test]
fn untracked_structures_are_written_without_a_read() {
    let schema = squares(false);
    let mut store = MapStore::default();
    let element = |n: i64| Path::new().key(text("ann")).key(Value::I64(n));
    change(&schema, &element(1).term_val(Value::I64(7)), &mut store).unwrap();
    assert_eq!(costs(&mut store), (0, 0, 2), "the element and the handle");
    assert_eq!(find(&schema, &element(1), &mut store), Ok(vec![Value::I64(7)]));
    assert_eq!(find(&schema, &Path::new().map_keys(), &mut store), Ok(vec![text("ann")]));
    let expected = Value::map([(text("ann"), Value::map([(Value::I64(1), Value::I64(7))]))]);
    assert_eq!(Layout::read(&schema, &store.entries), expected);
}

#[test]
fn both_ends_of_a_list_grow_and_shrink_without_moving_anything() {
    let schema = Schema::map(Schema::Str, Schema::sub(Schema::list(Schema::I64)));
    let mut store = user_with(&schema, 1000);
    let ann = || Path::new().key(text("ann"));
    let path = ann().after_elem().term_val(Value::I64(-1));
    change(&schema, &path, &mut store).unwrap();
    assert_eq!(costs(&mut store), (1, 0, 2), "the handle; the handle and the element");
    change(&schema, &ann().before_elem().term_val(Value::I64(-2)), &mut store).unwrap();
    assert_eq!(costs(&mut store), (1, 0, 2));
    assert_eq!(find(&schema, &ann().first(), &mut store), Ok(vec![Value::I64(-2)]));
    assert_eq!(find(&schema, &ann().nth(Value::U64(501)), &mut store), Ok(vec![Value::I64(500)]));
    assert_eq!(costs(&mut store), (4, 0, 0));
    change(&schema, &ann().first().term_void(), &mut store).unwrap();
    assert_eq!(costs(&mut store), (2, 1, 2), "the element is read, though nobody looks");
    change(&schema, &ann().nth(Value::U64(3)).term_void(), &mut store).unwrap();
    let (_, steps, writes) = costs(&mut store);
    assert!(steps <= 4 && writes <= 6, "the shorter side moves: {steps} steps, {writes} writes");
    let first = ann().sublist(Value::U64(0), Value::U64(4)).all();
    assert_eq!(find(&schema, &first, &mut store), Ok([0, 1, 2, 4].map(Value::I64).to_vec()));
}

#[test]
fn removing_a_parent_removes_every_element_as_a_range() {
    for path in [Path::new().key(text("ann")).term_void(), Path::new().term_val(Value::Map(vec![]))] {
        let schema = squares(true);
        let mut store = user_with(&schema, 1000);
        change(&schema, &path, &mut store).unwrap();
        assert!(store.entries.is_empty(), "{path} leaves orphans");
        let (reads, steps, writes) = costs(&mut store);
        assert!(reads <= 1 && steps == 0 && writes <= 2, "{path}: {reads} reads, {steps} steps, {writes} writes");
    }
}

#[test]
fn aggregation_reads_and_writes_one_element() {
    let schema = squares(true);
    let mut store = user_with(&schema, 1000);
    let typed: AggOn<Map<String, Sub<Map<i64, i64>>>> = agg::key("ann", agg::sub(agg::key(30, agg::count())));
    let shape = AggShape::key(text("ann"), AggShape::key(Value::I64(30), AggShape::count()));
    assert_eq!(typed.shape(), &shape);
    aggregate(&schema, OBJECT, &shape, &mut store, &NoArgs, &mut Scratch::new()).unwrap();
    assert_eq!(costs(&mut store), (2, 0, 1));
    let path = Path::new().key(text("ann")).key(Value::I64(30));
    assert_eq!(find(&schema, &path, &mut store), Ok(vec![Value::I64(901)]));
}

#[test]
fn a_cleared_partition_is_empty() {
    let mut store = user_with(&squares(true), 10);
    clear_store(OBJECT, &mut store).unwrap();
    assert!(store.entries.is_empty());
}

#[test]
fn a_structure_has_no_value_and_the_error_says_so() {
    let schema = squares(true);
    let mut store = user_with(&schema, 3);
    for path in [Path::new().key(text("ann")), Path::new().map_vals(), Path::new(), Path::new().all()] {
        let error = find(&schema, &path, &mut store).unwrap_err();
        assert!(error.to_string().ends_with("as a whole; navigate into it"), "{error}");
    }
    assert_eq!(costs(&mut store).0, 0, "it is known without a read");
}

#[test]
fn schemas_that_have_no_address_for_elements_are_refused() {
    let map = || Schema::map(Schema::I64, Schema::I64);
    let refused = [
        (Schema::list(Schema::I64), "a PState cannot be a List<i64>"),
        (Schema::set(Schema::I64), "a PState cannot be a Set<i64>"),
        (Schema::sub(map()), "a top-level map is indexed as it is"),
        (Schema::map(Schema::I64, Schema::list(Schema::sub(map()))), "within a list"),
        (Schema::map(Schema::I64, Schema::Tuple(vec![Schema::sub(map())])), "within a tuple"),
        (Schema::map(Schema::I64, Schema::sub(Schema::I64)), "only a map, a set or a list can be subindexed"),
    ];
    for (schema, part) in refused {
        let error = schema.check_declared().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let nested = Schema::map(Schema::I64, Schema::sub(Schema::map(Schema::I64, Schema::untracked(map()))));
    assert_eq!(nested.check_declared(), Ok(()));
    let mut bytes = Vec::new();
    nested.encode(&mut bytes);
    assert_eq!(Schema::decode(&bytes).unwrap(), nested);
    assert_eq!(nested.to_string(), "Map<i64, Sub<Map<i64, Untracked<Map<i64, i64>>>>>");
    assert_eq!(<Map<i64, Sub<Map<i64, Untracked<Map<i64, i64>>>>> as PStateSchema>::schema(), nested);
}
