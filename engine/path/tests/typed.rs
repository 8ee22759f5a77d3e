//! The typed paths, on values of one's own: each promises the Rust type it gives.

use std::collections::{BTreeMap, BTreeSet};
use tantu_path::{
    List, Map, Navigate, PStateSchema, PathError, PathTo, Set, TransformTo, path, select_value, transform_value,
};

type Nested = Map<String, Map<i64, i64>>;

fn nested() -> BTreeMap<String, BTreeMap<i64, i64>> {
    let inner = |of: &[(i64, i64)]| of.iter().copied().collect();
    BTreeMap::from([("a".to_owned(), inner(&[(1, 10), (2, 20), (3, 30), (4, 40)])), ("b".to_owned(), inner(&[(2, 5)]))])
}

#[track_caller]
fn finds<S: PStateSchema, T: PStateSchema>(path: PathTo<S, T>, value: &S::Plain, found: &[T::Value])
where
    T::Value: PartialEq + std::fmt::Debug,
{
    assert_eq!(select_value(value, &path).expect("selects"), found, "{path:?}");
}

#[track_caller]
fn makes<S: PStateSchema>(path: TransformTo<S>, value: S::Plain, after: S::Plain)
where
    S::Plain: PartialEq + std::fmt::Debug,
{
    assert_eq!(transform_value(value, &path).expect("transforms"), after, "{path:?}");
}

fn ints() -> PathTo<List<i64>, List<i64>> {
    path()
}

fn set(of: &[i64]) -> BTreeSet<i64> {
    of.iter().copied().collect()
}

fn map(of: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    of.iter().copied().collect()
}

#[test]
fn several_keys_lead_through_nested_maps() {
    finds(path::<Nested>().key_path(("a", 2)), &nested(), &[Some(20)]);
    finds(path::<Nested>().key_path(("a",)).must(2), &nested(), &[20]);
    finds(path::<Nested>().key_path(("z", 2)), &nested(), &[None]);
    type Deep = Map<i64, Nested>;
    let deep: PathTo<Deep, Option<i64>> = path().key_path((7, "a", 2));
    finds(deep.clone(), &BTreeMap::from([(7, nested())]), &[Some(20)]);
    finds(path::<Map<i64, Deep>>().key_path((1, 7, "a", 2)), &BTreeMap::new(), &[None]);
    let mut after = nested();
    after.get_mut("a").unwrap().insert(2, 21);
    makes(path::<Nested>().key_path(("a", 2)).null_to_val(0).term(|n| n + 1), nested(), after);
}

#[test]
fn a_key_can_be_renamed() {
    finds(path::<Map<i64, i64>>().map_key(1), &map(&[(1, 5)]), &[1]);
    finds(path::<Map<i64, i64>>().map_key(2), &map(&[(1, 5)]), &[]);
    makes(path::<Map<i64, i64>>().map_key(1).term_val(9), map(&[(1, 5), (2, 6)]), map(&[(2, 6), (9, 5)]));
}

#[test]
fn ranges_of_maps_have_typed_ends_and_limits() {
    let a = nested()["a"].clone();
    let of = || path::<Map<i64, i64>>();
    finds(of().sorted_map_range_with(1, false, 3, true), &a, &[map(&[(2, 20), (3, 30)])]);
    finds(of().sorted_map_range_from(2, Some(2)), &a, &[map(&[(2, 20), (3, 30)])]);
    finds(of().sorted_map_range_from_with(2, false, None), &a, &[map(&[(3, 30), (4, 40)])]);
    finds(of().sorted_map_range_to(4, Some(2)), &a, &[map(&[(2, 20), (3, 30)])]);
    finds(of().sorted_map_range_to_with(2, true, None), &a, &[map(&[(1, 10), (2, 20)])]);
    finds(of().sorted_map_range_from_start(1), &a, &[map(&[(1, 10)])]);
    finds(of().sorted_map_range_to_end(1), &a, &[map(&[(4, 40)])]);
    makes(of().sorted_map_range(2, 4).term_val(BTreeMap::new()), a.clone(), map(&[(1, 10), (4, 40)]));
    makes(of().sorted_map_range_to_end(3).term_void(), a, map(&[(1, 10)]));
}

#[test]
fn ranges_of_sets_have_typed_ends_and_limits() {
    let five = set(&[1, 2, 3, 4, 5]);
    let of = || path::<Set<i64>>();
    finds(of().sorted_set_range(2, 4), &five, &[set(&[2, 3])]);
    finds(of().sorted_set_range_with(2, false, 4, true), &five, &[set(&[3, 4])]);
    finds(of().sorted_set_range_from(2, true, Some(2)), &five, &[set(&[2, 3])]);
    finds(of().sorted_set_range_from(4, false, None), &five, &[set(&[5])]);
    finds(of().sorted_set_range_to(4, false, Some(2)), &five, &[set(&[2, 3])]);
    finds(of().sorted_set_range_to(2, true, None), &five, &[set(&[1, 2])]);
    finds(of().sorted_set_range_from_start(2), &five, &[set(&[1, 2])]);
    finds(of().sorted_set_range_to_end(2), &five, &[set(&[4, 5])]);
    finds(of().subset(vec![2, 9]), &five, &[set(&[2])]);
    makes(of().subset(vec![2, 9]).term_val(set(&[8])), five.clone(), set(&[1, 3, 4, 5, 8]));
    makes(of().sorted_set_range_from_start(4).term_void(), five, set(&[5]));
}

#[test]
fn places_and_parts_of_lists_are_typed() {
    makes(ints().before_index(1).term_val(9), vec![1, 2], vec![1, 9, 2]);
    makes(ints().beginning().term_val(vec![8, 9]), vec![1], vec![8, 9, 1]);
    makes(ints().end().term_val(vec![8, 9]), vec![1], vec![1, 8, 9]);
    makes(ints().after_elem().null_to_val(4).term(|n| n + 1), vec![1], vec![1, 5]);
    makes(ints().after_elem().void_to_val(4).term(|n| n.unwrap_or(0)), vec![1], vec![1, 4]);
    finds(ints().filtered_list(path().filter_greater_than(1)), &vec![1, 2, 3], &[vec![2, 3]]);
    makes(ints().filtered_list(path().filter_greater_than(1)).term_val(vec![7]), vec![1, 2, 3], vec![1, 7]);
    let tail = || ints().sublist_by(|of: Vec<i64>| (of.len() as u64 / 2, of.len() as u64));
    finds(tail(), &vec![1, 2, 3, 4], &[vec![3, 4]]);
    makes(tail().term_val(vec![]), vec![1, 2, 3, 4], vec![1, 2]);
    finds(ints().index_nav(1), &vec![5, 6], &[1]);
    finds(ints().indexed_vals(), &vec![5, 6], &[(0, 5), (1, 6)]);
    finds(ints().continuous_subseqs(path().filter_greater_than(1)), &vec![2, 1, 3, 4], &[vec![2], vec![3, 4]]);
}

#[test]
fn closures_take_up_to_seven_more_arguments() {
    let add = |n: i64, (a, b): (i64, i64)| n + a * b;
    makes(ints().all().term_extra((3, 4), add), vec![1, 2], vec![13, 14]);
    let seven = |n: i64, x: (i64, i64, i64, i64, i64, i64, i64)| n + x.0 + 2 * x.6;
    makes(ints().first().term_extra((1, 2, 3, 4, 5, 6, 7), seven), vec![100], vec![115]);
    let named = |n: i64, (name, by): (String, i64)| format!("{name}{}", n * by);
    finds(ints().all().view_extra(("x", 2), named), &vec![1, 2], &["x2".to_owned(), "x4".to_owned()]);
    finds(ints().all().filter_pred_extra((2,), |n: i64, (by,): (i64,)| n % by == 0), &vec![1, 2], &[2]);
}

#[test]
fn ways_and_changes_are_chosen_by_conditions_of_any_type() {
    let a = || map(&[(1, 10), (2, 20)]);
    let of = || path::<Map<i64, i64>>();
    finds(of().if_then(path().must(1), path().map_vals()), &a(), &[10, 20]);
    finds(of().if_then(path().must(5), path().map_vals()), &a(), &[]);
    finds(of().if_path(path().must(5), path().map_keys(), path().map_vals()), &a(), &[10, 20]);
    let arms = [
        (path::<Map<i64, i64>>().must(5).into(), path().map_vals()),
        (path().map_vals().filter_equal(20).into(), path().map_keys()),
    ];
    finds(of().cond_path(arms), &a(), &[1, 2]);
    let raise = || path::<Option<i64>>().null_to_val(0).term(|n| n + 1);
    let change = |key: i64| of().key(key).if_change(path().filter_greater_than(15), path().term_val(0), Some(raise()));
    makes(change(1), a(), map(&[(1, 11), (2, 20)]));
    makes(change(2), a(), map(&[(1, 10), (2, 0)]));
    makes(change(3), a(), map(&[(1, 10), (2, 20), (3, 1)]));
    makes(of().key(2).if_change(path().filter_equal(9), path().term_val(0), None), a(), a());
    let arms = [
        (path::<i64>().filter_less_than(15).into(), path().term_val(1)),
        (path().filter_less_than(25).into(), path().term_val(2)),
    ];
    makes(of().map_vals().cond_change(arms), map(&[(1, 10), (2, 20), (3, 30)]), map(&[(1, 1), (2, 2), (3, 30)]));
    let double = || path::<i64>().term(|n| n * 2);
    makes(of().map_vals().filter_greater_than(15).then_change(double()), a(), map(&[(1, 10), (2, 40)]));
}

#[test]
fn values_on_the_way_are_typed() {
    let doubled = path::<List<i64>>().all().term(|n| n * 2);
    finds(ints().transformed(doubled), &vec![1, 2], &[vec![2, 4]]);
    let odd = || path::<Nested>().subselect(path().map_vals().map_vals().filter_greater_than(20));
    finds(odd(), &nested(), &[vec![30, 40]]);
    let mut after = nested();
    after.insert("a".to_owned(), map(&[(1, 10), (2, 20), (3, 7)]));
    makes(odd().term_val(vec![7]), nested(), after);
    finds(ints().stay().all().stop(), &vec![1], &[]);
    finds(ints().then(path().all()), &vec![1], &[1]);
    finds(ints().with_page_size(2, path().all()), &vec![1, 2], &[1, 2]);
}

#[test]
fn a_path_is_a_value_that_serves_many_times() {
    let twenty = path::<Map<i64, i64>>().map_vals().filter_equal(20);
    let by_name = |name: &str| path::<Nested>().key(name).then(path::<Option<Map<i64, i64>>>().map_vals());
    for _ in 0..2 {
        assert_eq!(select_value(&nested()["a"], &twenty), Ok(vec![20]));
    }
    finds(path::<Nested>().map_vals().then(twenty.clone()), &nested(), &[20]);
    finds(path::<Nested>().map_vals().filter_selected(twenty).map_keys(), &nested(), &[1, 2, 3, 4]);
    finds(by_name("b"), &nested(), &[5]);
}

#[test]
fn what_is_collected_makes_a_tuple_of_each_result() {
    let of = || path::<Nested>();
    let pairs: PathTo<Nested, (i64, i64)> = of().must("a").collect_one(path().must(1)).map_vals().collected();
    finds(pairs, &nested(), &[(10, 10), (10, 20), (10, 30), (10, 40)]);
    let all = of().collect(path().map_keys()).must("b").put_collected::<bool, _>(true).must(2).collected();
    finds(all, &nested(), &[(vec!["a".to_owned(), "b".to_owned()], true, 5)]);
    finds(of().must("b").val().must(2).collected(), &nested(), &[(map(&[(2, 5)]), 5)]);
    finds(of().must("b").val().dispense_collected().must(2), &nested(), &[5]);
    let odd = of().map_vals().collect_one(path().key(1)).is_collected(|(one,)| one.is_some()).must(2).collected();
    finds(odd, &nested(), &[(Some(10), 20)]);
    let fresh = of().val().with_fresh_collected(path().must("b")).must(2).collected();
    finds(fresh, &nested(), &[(nested(), 5)]);
    let five = path::<List<i64>>().put_collected::<i64, _>(1).put_collected::<i64, _>(2).put_collected::<i64, _>(3);
    let five = five.put_collected::<i64, _>(4).put_collected::<i64, _>(5).all().collected();
    finds(five, &vec![6], &[(1, 2, 3, 4, 5, 6)]);
    let mut after = nested();
    after.insert("a".to_owned(), map(&[(1, 10), (2, 30), (3, 30), (4, 40)]));
    let sum = of().must("a").collect_one(path().must(1)).must(2).term_collected(|(one,), two| one + two);
    makes(sum, nested(), after);
}

#[test]
fn a_path_of_another_type_than_the_value_fails_with_a_typed_error() {
    let wrong: PathTo<List<i64>, String> = ints().navigate(tantu_path::Path::first);
    assert!(matches!(select_value(&vec![1], &wrong), Err(PathError::Bytes { .. })));
    let wrong: TransformTo<List<i64>> = ints().change(|path| path.term_val(tantu_base::value::Value::I64(1)));
    assert!(matches!(transform_value(vec![1], &wrong), Err(PathError::Bytes { .. })));
}
