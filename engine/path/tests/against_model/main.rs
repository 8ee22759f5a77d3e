//! Random paths on random values, in the engine and in the model: on plain values and over partitions.
//!
//! `PATH_SEED` and `PATH_CASES` choose other cases, or more of them. A failure prints the seed and its smallest case.
#![allow(unreachable_pub, reason = "the modules of one test")]

mod engine;
mod tape;

use engine::{OBJECT, Partition};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tantu_base::value::Value;
use tantu_model::path::{Compare, Data, Fault, Path, Step, transform as model_transform};
use tantu_path::{EvalError, NoArgs, Scratch, select, select_store, transform, transform_store};
use tape::{Shape, Tape};

const CASES: u32 = 15_000;

fn chosen(name: &str, otherwise: u64) -> u64 {
    let Ok(chosen) = std::env::var(name) else { return otherwise };
    chosen.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {chosen}"))
}

/// Runs a property over tapes.
fn run(property: impl Fn(&mut Tape<'_>) -> Result<(), TestCaseError>) -> u64 {
    let (seed, cases) = (chosen("PATH_SEED", 1), chosen("PATH_CASES", u64::from(CASES)));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases_u32 = u32::try_from(cases).expect("fewer cases");
    let config = Config { cases: cases_u32, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tapes = proptest::collection::vec(any::<u8>(), 0..220);
    if let Err(failure) = runner.run(&tapes, |bytes| property(&mut Tape::new(&bytes))) {
        panic!("PATH_SEED={seed} PATH_CASES={cases}\n{failure}");
    }
    cases
}

fn select_in_store(shape: &Shape, data: &Data, path: &tantu_path::Path) -> Result<Vec<Data>, EvalError> {
    let mut found = Vec::new();
    let (schema, mut partition) = (engine::schema(shape), Partition::new(shape, data));
    let mut visit = |bytes: &[u8]| {
        found.push(engine::data(&Value::decode(bytes).expect("a value")));
        ControlFlow::Continue(())
    };
    select_store(&schema, OBJECT, path, &mut partition, &NoArgs, &mut Scratch::new(), &mut visit)?;
    Ok(found)
}

/// The two agree when they find the same, or both find fault.
fn agree<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    wanted: &Result<T, Fault>,
    found: &Result<T, E>,
    case: &dyn Fn() -> String,
) -> Result<(), TestCaseError> {
    match (wanted, found) {
        (Ok(wanted), Ok(found)) if wanted == found => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        _ => Err(TestCaseError::fail(format!("{}\nmodel:  {wanted:?}\nengine: {found:?}", case()))),
    }
}

#[test]
fn a_select_finds_what_the_model_finds_in_values_and_in_partitions() {
    let (found_count, fault_count) = (Cell::new(0), Cell::new(0));
    let cases = run(|tape| {
        let shape = tape.top();
        let data = tape.present(&shape);
        let (steps, _): (Path, Shape) = tape.path(&shape, 2);
        let path = engine::path(&steps);
        let wanted = tantu_model::path::select(&steps, &data);
        let shown = path.to_string();
        let case = || format!("select {shown}\nfrom {data:?}\nof shape {shape:?}");
        let found = select(&path, &engine::value(&data), &NoArgs);
        let found = found.map(|found| found.iter().map(engine::data).collect());
        agree(&wanted, &found, &|| format!("{}\nin a value", case()))?;
        agree(&wanted, &select_in_store(&shape, &data, &path), &|| format!("{}\nin a partition", case()))?;
        if !path.has_closure() {
            let mut bytes = Vec::new();
            path.encode(&mut bytes).map_err(|error| TestCaseError::fail(format!("{}: {error}", case())))?;
            prop_assert_eq!(tantu_path::Path::decode(&bytes), Ok(path), "{}", case());
        }
        match wanted {
            Ok(found) => found_count.set(found_count.get() + u64::from(!found.is_empty())),
            Err(_) => fault_count.set(fault_count.get() + 1),
        }
        Ok(())
    });
    assert!(found_count.get() > cases / 4, "too few selects found anything: {found_count:?} of {cases}");
    assert!(fault_count.get() < cases / 3, "too many faults: {fault_count:?} of {cases}");
}

#[test]
fn a_transform_makes_what_the_model_makes_of_values_and_of_partitions() {
    let (changed_count, fault_count, misfit_count) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let cases = run(|tape| {
        let shape = tape.top();
        let data = tape.present(&shape);
        let steps = tape.change(&shape, 2);
        let path = engine::path(&steps);
        let wanted = model_transform(&steps, data.clone());
        let case = || format!("transform {path}\nof {data:?}\nof shape {shape:?}");
        let made = transform(&path, engine::value(&data), &NoArgs).map(|made| engine::data(&made));
        agree(&wanted, &made, &|| format!("{}\nin a value", case()))?;

        let before = Partition::new(&shape, &data);
        let mut partition = before.clone();
        let schema = engine::schema(&shape);
        let outcome = transform_store(&schema, OBJECT, &path, &mut partition, &NoArgs, &mut Scratch::new());
        // What does not fit the schema is refused. A partition of a map that became null is an empty one.
        let stored = wanted.clone().and_then(|after| match after {
            Data::Null if matches!(shape, Shape::Map(..)) => Ok(Data::map([])),
            after if shape.fits(&after) => Ok(after),
            after => {
                misfit_count.set(misfit_count.get() + 1);
                Err(Fault(format!("{after:?} does not fit")))
            }
        });
        agree(&stored, &outcome.map(|()| partition.data()), &|| format!("{}\nin a partition", case()))?;
        if stored.is_err() {
            prop_assert_eq!(&partition, &before, "{}\na transform that fails writes nothing", case());
        }
        match wanted {
            Ok(after) => changed_count.set(changed_count.get() + u64::from(after != data)),
            Err(_) => fault_count.set(fault_count.get() + 1),
        }
        Ok(())
    });
    assert!(changed_count.get() > cases / 4, "too few changes: {changed_count:?} of {cases}");
    assert!(fault_count.get() < cases / 3, "too many faults: {fault_count:?} of {cases}");
    assert!(misfit_count.get() > cases / 100, "hardly anything that does not fit: {misfit_count:?} of {cases}");
}

/// A navigator that does almost what it should: its name, and what it is mistaken for.
fn almost(step: &Step) -> Option<(&'static str, Step)> {
    Some(match step {
        Step::Must(key) => ("must", Step::Key(key.clone())),
        Step::First => ("first", Step::Last),
        Step::AfterElem => ("after_elem", Step::BeforeElem),
        Step::End => ("end", Step::Beginning),
        Step::Filter(Compare::Less, other) => ("less", Step::Filter(Compare::LessOrEqual, other.clone())),
        Step::Submap(keys) => ("submap", Step::Submap(keys.iter().skip(1).cloned().collect())),
        Step::NullTo(default) => ("null_to_val", Step::VoidTo(default.clone())),
        Step::Multi(paths) => ("multi_path", Step::Multi(paths.iter().rev().cloned().collect())),
        Step::FilteredList(path) => ("filtered_list", Step::ContinuousSubseqs(path.clone())),
        Step::CollectOne(path) => ("collect_one", Step::Collect(path.clone())),
        Step::MapRange(range) if range.from.is_some() => {
            let mut other = range.clone();
            other.from = range.from.clone().map(|(from, included)| (from, !included));
            ("sorted_map_range", Step::MapRange(other))
        }
        _ => return None,
    })
}

#[test]
fn a_navigator_that_does_almost_what_it_should_is_caught() {
    let caught: RefCell<BTreeMap<&str, u32>> = RefCell::default();
    run(|tape| {
        let shape = tape.top();
        let data = tape.present(&shape);
        let steps = tape.change(&shape, 2);
        let wanted = model_transform(&steps, data.clone());
        for (index, step) in steps.iter().enumerate() {
            let Some((name, other)) = almost(step) else { continue };
            let mut lie = steps.clone();
            lie[index] = other;
            let made = transform(&engine::path(&lie), engine::value(&data), &NoArgs).map(|made| engine::data(&made));
            let differs = agree(&wanted, &made, &String::new).is_err();
            *caught.borrow_mut().entry(name).or_default() += u32::from(differs);
        }
        Ok(())
    });
    let caught = caught.into_inner();
    assert_eq!(caught.len(), 11, "{caught:?}");
    assert!(caught.values().all(|times| *times > 0), "{caught:?}");
}
