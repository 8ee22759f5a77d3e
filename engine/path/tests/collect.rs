//! What navigators set aside on the way, and the navigators that deal with places, pages and things of one's own.

mod support;

use std::ops::ControlFlow;
use support::{MapStore, OBJECT};
use tantu_base::value::Value;
use tantu_path::{
    Custom, CustomNav, Func, NoArgs, PageLimit, Path, PathEncodeError, PathError, Rebuilt, Schema, Scratch, Visited,
    select, select_page, select_store, transform, transform_store,
};

fn p() -> Path {
    Path::new()
}

fn int(n: i64) -> Value {
    Value::I64(n)
}

fn list(of: &[i64]) -> Value {
    Value::List(of.iter().copied().map(int).collect())
}

fn pair(a: Value, b: Value) -> Value {
    Value::List(vec![a, b])
}

fn map(of: &[(i64, i64)]) -> Value {
    Value::map(of.iter().map(|(k, v)| (int(*k), int(*v))))
}

#[track_caller]
fn selects(path: Path, value: &Value, found: &[Value]) {
    assert_eq!(select(&path, value, &NoArgs).expect("selects"), found, "{path} on {value:?}");
}

#[track_caller]
fn becomes(path: Path, value: Value, after: Value) {
    assert_eq!(transform(&path, value.clone(), &NoArgs).expect("transforms"), after, "{path} on {value:?}");
}

/// What was collected, from a closure's first arguments, and the value after it: their sum.
fn sum() -> Func {
    Func::untyped(|first, others| {
        let values = [first].into_iter().chain(others.iter().cloned());
        Some(Value::I64(values.map(|value| value.as_i64().unwrap_or(0)).sum()))
    })
}

#[test]
fn what_is_collected_stands_before_each_value_found() {
    let value = map(&[(1, 10), (2, 20)]);
    selects(p().collect_one(p().key(int(1))).map_vals(), &value, &[pair(int(10), int(10)), pair(int(10), int(20))]);
    selects(p().collect(p().map_keys()).key(int(2)), &value, &[pair(list(&[1, 2]), int(20))]);
    selects(
        p().put_collected(int(7)).put_collected(int(8)).key(int(1)),
        &value,
        &[Value::List(vec![int(7), int(8), int(10)])],
    );
    selects(p().val().key(int(1)), &value, &[pair(value.clone(), int(10))]);
    selects(p().collect(p().stop()).stay(), &int(1), &[pair(list(&[]), int(1))]);
}

#[test]
fn collect_one_needs_exactly_one_value() {
    let value = map(&[(1, 10), (2, 20)]);
    for (inner, count) in [(p().must(int(5)), 0), (p().map_vals(), 2)] {
        let error = PathError::NotOne { navigator: "collect_one", count };
        assert_eq!(select(&p().collect_one(inner.clone()), &value, &NoArgs), Err(error.clone()));
        assert_eq!(transform(&p().collect_one(inner).term_void(), value.clone(), &NoArgs), Err(error));
    }
}

#[test]
fn each_branch_has_its_own_list_of_what_is_collected() {
    let value = map(&[(1, 10), (2, 20)]);
    let branches = [p().put_collected(int(7)).key(int(1)), p().key(int(2)), p().put_collected(int(8)).key(int(2))];
    let found = [pair(int(7), int(10)), int(20), pair(int(8), int(20))];
    selects(p().multi_path(branches), &value, &found);
    let elements = p().all().val().filter_greater_than(int(1));
    selects(elements, &list(&[1, 2, 3]), &[pair(int(2), int(2)), pair(int(3), int(3))]);
}

#[test]
fn paths_inside_navigators_collect_for_themselves() {
    let inner = p().all().val();
    selects(
        p().put_collected(int(9)).subselect(inner.clone()),
        &list(&[1]),
        &[pair(int(9), Value::List(vec![pair(int(1), int(1))]))],
    );
    selects(
        p().put_collected(int(9)).collect_one(p().val()),
        &int(1),
        &[Value::List(vec![int(9), pair(int(1), int(1)), int(1)])],
    );
    let unseen = p().put_collected(int(9)).filter_selected(p().is_collected(Func::unary(|of: Vec<i64>| of.is_empty())));
    selects(unseen, &int(1), &[pair(int(9), int(1))]);
    becomes(p().subselect(inner).term_val(list(&[5])), list(&[1]), list(&[5]));
}

#[test]
fn a_term_closure_gets_what_is_collected_before_the_value_and_its_own_arguments_after() {
    let value = map(&[(1, 10), (2, 20)]);
    let path = p().collect_one(p().key(int(1))).put_collected(int(100)).key(int(2));
    becomes(path.term(sum(), vec![int(1000).into()]), value.clone(), map(&[(1, 10), (2, 1130)]));
    let order = Func::untyped(|first, others| Some(Value::List([&[first][..], others].concat())));
    let path = p().put_collected(int(5)).key(int(2)).term(order, vec![int(6).into()]);
    becomes(path, map(&[(2, 20)]), Value::map([(int(2), list(&[5, 20, 6]))]));
    becomes(p().put_collected(int(5)).map_vals().term_val(int(1)), value, map(&[(1, 1), (2, 1)]));
}

#[test]
fn what_is_collected_can_be_forgotten_asked_and_left_out_of_a_part_of_the_way() {
    let value = map(&[(1, 10)]);
    selects(p().put_collected(int(7)).dispense_collected().key(int(1)), &value, &[int(10)]);
    let with = |n: i64| p().put_collected(int(n)).is_collected(Func::unary(|of: Vec<i64>| of == [7])).key(int(1));
    selects(with(7), &value, &[pair(int(7), int(10))]);
    selects(with(8), &value, &[]);
    becomes(with(8).term_val(int(1)), value.clone(), value.clone());
    let fresh = p().put_collected(int(7)).with_fresh_collected(p().put_collected(int(8)).key(int(1)));
    selects(fresh.clone(), &value, &[pair(int(7), int(10))]);
    becomes(fresh.term(sum(), vec![]), value.clone(), map(&[(1, 17)]));
    let branches = [p().put_collected(int(7)).dispense_collected().key(int(1)), p().put_collected(int(6)).key(int(1))];
    selects(
        p().put_collected(int(5)).multi_path(branches),
        &value,
        &[int(10), Value::List(vec![int(5), int(6), int(10)])],
    );
}

#[test]
fn what_is_collected_can_be_gone_on_with_as_one_value() {
    let value = map(&[(1, 10)]);
    selects(p().put_collected(int(7)).key(int(1)).collected().first(), &value, &[int(7)]);
    selects(p().key(int(1)).collected(), &value, &[int(10)]);
    let raised = p().put_collected(int(7)).key(int(1)).collected().all().term(sum(), vec![int(1).into()]);
    becomes(raised, value.clone(), map(&[(1, 11)]));
    becomes(p().put_collected(int(7)).key(int(1)).collected().term_void(), value, map(&[]));
}

#[test]
fn over_a_store_only_what_is_collected_and_navigated_to_is_read() {
    let many = map(&(0..50).map(|n| (n, n * 10)).collect::<Vec<_>>());
    let schema = Schema::map(Schema::I64, Schema::I64);
    let path = p().collect_one(p().key(int(3))).filter_selected(p().must(int(4))).key(int(5));
    let mut store = MapStore::of_map(&many);
    let mut found = Vec::new();
    select_store(&schema, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new(), &mut |row| {
        found.push(Value::decode(row).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((found, store.reads), (vec![list(&[30, 50])], 3));
    let path = path.term(sum(), vec![]);
    transform_store(&schema, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new()).unwrap();
    assert_eq!((store.to_map().get(&int(5)), store.writes), (Some(&int(80)), 1));
    let path = p().key(int(6)).put_collected(int(1)).term(sum(), vec![]);
    transform_store(&schema, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new()).unwrap();
    assert_eq!(store.to_map().get(&int(6)), Some(&int(61)));
}

#[test]
fn collecting_paths_can_be_sent_unless_they_hold_a_closure() {
    let path = p().collect_one(p().key(int(1))).collect(p().all()).put_collected(int(2)).val().dispense_collected();
    let path = path.with_fresh_collected(p().with_page_size(7, p().all())).collected().index_nav(int(1));
    let path = path.indexed_vals().continuous_subseqs(p().filter_equal(int(1)));
    let mut bytes = Vec::new();
    path.encode(&mut bytes).unwrap();
    assert_eq!(Path::decode(&bytes).unwrap(), path);
    for closure in [
        p().is_collected(Func::unary(|_: Value| true)),
        p().sublist_by(Func::unary(|_: Value| 0), Func::unary(|_: Value| 1)),
        p().custom_nav(Custom::new("far", Far)),
    ] {
        assert!(closure.has_closure());
        let refused = closure.encode(&mut Vec::new());
        assert!(matches!(refused, Err(PathEncodeError::Closure { .. })), "{refused:?}");
    }
}

#[test]
fn a_page_size_of_a_path_cuts_its_pages_and_changes_nothing_else() {
    let many = map(&(0..10).map(|n| (n, n * 10)).collect::<Vec<_>>());
    let schema = Schema::map(Schema::I64, Schema::I64);
    let path = p().with_page_size(4, p().map_vals()).filter_less_than(int(80));
    let plain = p().map_vals().filter_less_than(int(80));
    assert_eq!(select(&path, &many, &NoArgs), select(&plain, &many, &NoArgs));
    let mut store = MapStore::of_map(&many);
    let (mut counts, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let (scratch, limit) = (&mut Scratch::new(), PageLimit::default());
        let page = select_page(&schema, OBJECT, &path, &mut store, &NoArgs, scratch, after.as_deref(), limit).unwrap();
        counts.push(page.row_count);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(counts, [4, 4, 0]);
    assert_eq!(p().with_page_size(4, p().key(int(1))).all().leading_key(), Some(&int(1).into()));
    let path = p().with_page_size(4, p().key(int(1))).term_val(int(0));
    transform_store(&schema, OBJECT, &path, &mut store, &NoArgs, &mut Scratch::new()).unwrap();
    assert_eq!(store.to_map().get(&int(1)), Some(&int(0)));
}

#[test]
fn places_of_a_list_can_be_navigated_to_and_changed() {
    selects(p().index_nav(int(1)), &list(&[7, 8]), &[Value::U64(1)]);
    selects(p().index_nav(int(2)), &list(&[7, 8]), &[]);
    becomes(p().index_nav(int(0)).term_val(int(2)), list(&[7, 8, 9]), list(&[8, 9, 7]));
    becomes(p().index_nav(int(0)).term_void(), list(&[7, 8]), list(&[8]));
    becomes(p().index_nav(int(0)).term_val(int(2)), Value::Null, Value::Null);
    let outside = transform(&p().index_nav(int(0)).term_val(int(3)), list(&[7, 8, 9]), &NoArgs);
    assert!(matches!(outside, Err(PathError::OutOfRange { .. })), "{outside:?}");
    selects(p().indexed_vals(), &list(&[7, 8]), &[pair(Value::U64(0), int(7)), pair(Value::U64(1), int(8))]);
    becomes(p().indexed_vals().last().term(sum(), vec![int(1).into()]), list(&[7, 8]), list(&[8, 9]));
    let swapped = p().indexed_vals().first().term(Func::unary(|index: u64| 1 - index), vec![]);
    becomes(swapped, list(&[7, 8]), list(&[8, 7]));
    let runs = || p().continuous_subseqs(p().filter_greater_than(int(4)));
    selects(runs(), &list(&[5, 6, 1, 7]), &[list(&[5, 6]), list(&[7])]);
    becomes(runs().term_val(list(&[0])), list(&[5, 6, 1, 7]), list(&[0, 1, 0]));
    becomes(runs().term_void(), list(&[5, 6, 1, 7]), list(&[1]));
}

#[test]
fn bounds_of_a_part_may_be_made_of_the_list() {
    let half = || {
        let from = Func::untyped(|at, _| Some(int(at.count().unwrap_or(0) as i64 / 2)));
        let to = Func::untyped(|at, start| {
            let (count, start) = (at.count().unwrap_or(0) as i64, start[0].as_i64().unwrap_or(0));
            Some(int(count.min(start + 2)))
        });
        p().sublist_by(from, to)
    };
    selects(half(), &list(&[1, 2, 3, 4, 5, 6, 7, 8]), &[list(&[5, 6])]);
    selects(half(), &Value::Null, &[list(&[])]);
    becomes(half().term_val(list(&[0])), list(&[1, 2, 3, 4, 5, 6]), list(&[1, 2, 3, 0, 6]));
    let bad = |from: i64, to: i64| p().sublist_by(Func::unary(move |_: Value| from), Func::unary(move |_: Value| to));
    assert!(matches!(select(&bad(1, 0), &list(&[1]), &NoArgs), Err(PathError::Argument { .. })));
    assert!(matches!(select(&bad(0, 2), &list(&[1]), &NoArgs), Err(PathError::OutOfRange { .. })));
    assert!(matches!(select(&bad(-1, 1), &list(&[1]), &NoArgs), Err(PathError::Argument { .. })));
}

#[test]
fn a_way_may_stay_before_or_after_it_goes_on() {
    selects(p().continue_then_stay(p().all()), &list(&[1, 2]), &[int(1), int(2), list(&[1, 2])]);
    selects(p().stay_then_continue(p().all()), &list(&[1, 2]), &[list(&[1, 2]), int(1), int(2)]);
}

/// The element furthest from the start that is not null, if it is at least so far.
struct Far;

impl CustomNav for Far {
    fn select(&self, at: &Value, next: &mut dyn FnMut(&Value) -> Visited) -> Visited {
        match at.elements().unwrap_or_default().iter().rev().find(|element| !element.is_null()) {
            Some(element) => next(element),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    fn transform(&self, at: Option<Value>, next: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt {
        let Some(Value::List(mut elements)) = at else { return Ok(at) };
        if let Some(index) = elements.iter().rposition(|element| !element.is_null()) {
            match next(Some(elements[index].clone()))? {
                Some(element) => elements[index] = element,
                None => drop(elements.remove(index)),
            }
        }
        Ok(Some(Value::List(elements)))
    }
}

/// Every element after the first so many; built from its argument.
struct Skip(usize);

impl CustomNav for Skip {
    fn select(&self, at: &Value, next: &mut dyn FnMut(&Value) -> Visited) -> Visited {
        for element in at.elements().unwrap_or_default().iter().skip(self.0) {
            if next(element)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn transform(&self, at: Option<Value>, next: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt {
        let Some(Value::List(elements)) = at else { return Ok(at) };
        let mut kept = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            kept.extend(if index < self.0 { Some(element) } else { next(Some(element))? });
        }
        Ok(Some(Value::List(kept)))
    }
}

#[test]
fn a_navigator_of_ones_own_stands_among_the_others() {
    let gaps = || Value::List(vec![int(1), int(2), Value::Null]);
    let far = || p().custom_nav(Custom::new("far", Far));
    selects(p().val().then(far()), &list(&[1, 2]), &[pair(list(&[1, 2]), int(2))]);
    becomes(far().term(sum(), vec![int(5).into()]), gaps(), Value::List(vec![int(1), int(7), Value::Null]));
    becomes(far().term_void(), gaps(), Value::List(vec![int(1), Value::Null]));
    becomes(p().key(int(1)).then(far()).term_void(), Value::Null, Value::Null);
    let skip = Custom::builder("skip", |args| match args {
        [Value::I64(count)] => usize::try_from(*count).map(Skip).map_err(|_| format!("cannot skip {count}")),
        _ => Err("needs a count".to_owned()),
    });
    let skipping = |count: i64| p().custom_nav_with(skip.clone(), vec![int(count).into()]);
    selects(skipping(1).filter_greater_than(int(2)), &list(&[5, 2, 3]), &[int(3)]);
    becomes(skipping(2).term_void(), list(&[5, 2, 3]), list(&[5, 2]));
    let refused = PathError::Custom { navigator: "skip", what: "cannot skip -1".to_owned() };
    assert_eq!(select(&skipping(-1), &list(&[]), &NoArgs), Err(refused));
    assert_eq!(far().first().to_string(), "custom_nav(far).first");
}
