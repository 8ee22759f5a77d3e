//! A path over a store gives what it gives on the plain value the store holds, wherever the store misses a
//! block, and no closure runs more often for it.

mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use support::*;
use tantu_base::value::Value;
use tantu_path::{
    EvalError, NoArgs, PageLimit, Path, PathError, Schema, Scratch, select, select_page, select_store, transform,
    transform_store,
};

const CASES: u32 = 6000;

/// Runs a property over generated cases; the seed is fixed, a failure prints its smallest case.
fn run<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    if let Err(failure) = TestRunner::new_with_rng(config, rng).run(&strategy, property) {
        panic!("{failure}");
    }
}

fn any_map() -> Schema {
    Schema::map(Schema::Any, Schema::Any)
}

fn found_in(schema: &Schema, path: &Path, store: &mut MapStore) -> Result<Vec<Value>, EvalError> {
    let mut found = Vec::new();
    select_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new(), &mut |bytes| {
        found.push(Value::decode(bytes).expect("a found value decodes"));
        ControlFlow::Continue(())
    })
    .inspect_err(|error| {
        if *error == EvalError::Need {
            assert!(found.is_empty(), "rows were shown before the reads were complete");
        }
    })?;
    Ok(found)
}

/// As a caller with parked runs: again after each miss.
fn until_there<T>(mut evaluate: impl FnMut() -> Result<T, EvalError>) -> Result<T, EvalError> {
    loop {
        match evaluate() {
            Err(EvalError::Need) => {}
            outcome => return outcome,
        }
    }
}

fn path_error<T>(outcome: Result<T, EvalError>) -> Result<T, PathError> {
    outcome.map_err(|error| match error {
        EvalError::Path { source, object } if object == OBJECT => source,
        other => panic!("another error than of the path: {other}"),
    })
}

#[test]
fn a_select_over_a_store_finds_what_it_finds_in_the_value() {
    let (found_count, error_count) = (Cell::new(0), Cell::new(0));
    let misses = (prop::collection::vec(0..6usize, 0..4), 0..4usize);
    run((any::<bool>(), map_value(), select_parts(true), misses), |(single, map, parts, misses)| {
        let calls = Calls::default();
        let path = path_of(&parts, &calls);
        let expected = select(&path, &map, &NoArgs);
        let calls_expected = calls.swap(0, Ordering::Relaxed);
        let (schema, mut store) =
            if single { (Schema::Any, MapStore::of_value(&map)) } else { (any_map(), MapStore::of_map(&map)) };
        (store.misses, store.shown_before_miss) = misses;
        let found = until_there(|| found_in(&schema, &path, &mut store));
        prop_assert_eq!(&path_error(found), &expected, "{}", path);
        prop_assert_eq!(calls.load(Ordering::Relaxed), calls_expected, "calls of {}", path);
        match expected {
            Ok(found) => found_count.set(found_count.get() + found.len()),
            Err(_) => error_count.set(error_count.get() + 1),
        }
        Ok(())
    });
    assert!(found_count.get() > 2000, "too few found: {found_count:?}");
    assert!(error_count.get() < (CASES * 3 / 4) as usize, "too many errors: {error_count:?}");
}

#[test]
fn a_transform_over_a_store_makes_what_it_makes_of_the_value() {
    let (changed_count, error_count) = (Cell::new(0), Cell::new(0));
    let misses = (prop::collection::vec(0..6usize, 0..4), 0..4usize);
    run((map_value(), transform_parts(), misses), |(map, parts, misses)| {
        let calls = Calls::default();
        let path = path_of(&parts, &calls);
        let expected = transform(&path, map.clone(), &NoArgs);
        let calls_expected = calls.swap(0, Ordering::Relaxed);
        let mut store = MapStore::of_map(&map);
        (store.misses, store.shown_before_miss) = misses;
        let outcome = until_there(|| {
            let outcome = transform_store(&any_map(), OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new());
            if outcome.is_err() {
                assert_eq!(store.writes, 0, "written before the reads were complete, or by a failing path");
            }
            outcome
        });
        prop_assert_eq!(calls.load(Ordering::Relaxed), calls_expected, "calls of {}", path);
        match expected {
            Ok(after @ (Value::Map(_) | Value::Null)) => {
                path_error(outcome).map_err(|error| TestCaseError::fail(format!("{path}: {error}")))?;
                let after = if after.is_null() { Value::Map(vec![]) } else { after };
                prop_assert_eq!(store.to_map(), after.clone(), "{}", path);
                changed_count.set(changed_count.get() + usize::from(after != map));
            }
            Ok(_) => prop_assert!(matches!(outcome, Err(EvalError::Schema { .. })), "{} {:?}", path, outcome),
            Err(error) => {
                prop_assert_eq!(path_error(outcome), Err(error), "{}", path);
                error_count.set(error_count.get() + 1);
            }
        }
        Ok(())
    });
    assert!(changed_count.get() > 1500, "too few changes: {changed_count:?}");
    assert!(error_count.get() < (CASES * 3 / 4) as usize, "too many errors: {error_count:?}");
}

#[test]
fn a_transform_of_a_single_value_over_a_store_makes_what_it_makes_of_the_value() {
    run((value(), transform_parts(), any::<bool>()), |(value, parts, miss)| {
        let calls = Calls::default();
        let path = path_of(&parts, &calls);
        let expected = transform(&path, value.clone(), &NoArgs);
        let calls_expected = calls.swap(0, Ordering::Relaxed);
        let mut store = MapStore::of_value(&value);
        store.misses = if miss { vec![0, 1] } else { vec![] };
        let outcome =
            until_there(|| transform_store(&Schema::Any, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new()));
        prop_assert_eq!(calls.load(Ordering::Relaxed), calls_expected, "calls of {}", path);
        prop_assert_eq!(path_error(outcome).map(|()| store.to_value()), expected, "{}", path);
        Ok(())
    });
}

#[test]
fn pages_one_after_the_other_are_the_whole_select() {
    let cut_count = Cell::new(0);
    let limits = (1..200usize, 1..5usize);
    let misses = (prop::collection::vec(0..6usize, 0..4), 0..4usize);
    run((map_value(), select_parts(false), limits, misses), |(map, parts, limits, misses)| {
        let path = path_of(&parts, &Calls::default());
        let expected = select(&path, &map, &NoArgs);
        let mut store = MapStore::of_map(&map);
        (store.misses, store.shown_before_miss) = misses;
        let limit = PageLimit { size: limits.0, entry_count: limits.1 };
        let mut found = Ok(Vec::new());
        let (mut after, mut pages): (Option<Vec<u8>>, usize) = (None, 0);
        while let Ok(rows) = &mut found {
            let page = until_there(|| {
                let mut scratch = Scratch::new();
                let after = after.as_deref();
                select_page(&any_map(), OBJECT, &path, &mut store, &NoArgs, &mut scratch, after, limit)
            });
            let page = match path_error(page) {
                Ok(page) => page,
                Err(error) => {
                    found = Err(error);
                    break;
                }
            };
            let mut reader = tantu_base::value::Reader::new(&page.rows);
            for _ in 0..page.row_count {
                rows.push(reader.value().expect("a row decodes"));
            }
            prop_assert!(reader.is_empty());
            prop_assert!(page.next.is_none() || page.next > after, "a page must get on");
            after = page.next;
            pages += 1;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(&found, &expected, "{}", path);
        cut_count.set(cut_count.get() + pages.saturating_sub(1));
        Ok(())
    });
    assert!(cut_count.get() > 300, "hardly anything was cut: {cut_count:?}");
}
