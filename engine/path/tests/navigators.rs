//! Each navigator on plain values: what it selects, what a transform through it makes, what it does on null.

use tantu_base::value::Value;
use tantu_path::{Func, NoArgs, Path, PathError, select, transform};

fn p() -> Path {
    Path::new()
}

fn int(n: i64) -> Value {
    Value::I64(n)
}

fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

fn list(of: &[i64]) -> Value {
    Value::List(of.iter().copied().map(int).collect())
}

fn set(of: &[i64]) -> Value {
    Value::set(of.iter().copied().map(int))
}

fn map(of: &[(i64, i64)]) -> Value {
    Value::map(of.iter().map(|(k, v)| (int(*k), int(*v))))
}

/// Null counts from 10.
fn bump() -> Func {
    Func::unary(|n: Option<i64>| n.unwrap_or(10) + 1)
}

/// Removes odd numbers.
fn drop_odd() -> Func {
    Func::unary_or_void(|n: i64| (n % 2 == 0).then_some(n))
}

#[track_caller]
fn selects(path: Path, value: &Value, found: &[Value]) {
    assert_eq!(select(&path, value, &NoArgs).expect("selects"), found, "{path} on {value:?}");
}

#[track_caller]
fn becomes(path: Path, value: Value, after: Value) {
    assert_eq!(transform(&path, value.clone(), &NoArgs).expect("transforms"), after, "{path} on {value:?}");
}

#[track_caller]
fn fails(path: Path, value: Value) -> PathError {
    transform(&path, value.clone(), &NoArgs).expect_err("fails")
}

#[test]
fn key_reaches_one_place_per_key_also_where_there_is_none() {
    selects(p().key(int(1)), &map(&[(1, 5)]), &[int(5)]);
    selects(p().key(int(2)), &map(&[(1, 5)]), &[Value::Null]);
    selects(p().key(int(2)).key(int(3)), &Value::Null, &[Value::Null]);
    becomes(p().key(int(2)).term_val(int(6)), map(&[(1, 5)]), map(&[(1, 5), (2, 6)]));
    becomes(p().key(int(1)).term(bump(), vec![]), map(&[(1, 5)]), map(&[(1, 6)]));
    becomes(p().key(int(2)).term(bump(), vec![]), Value::Null, map(&[(2, 11)]));
    becomes(p().key(int(1)).term_void(), map(&[(1, 5), (2, 6)]), map(&[(2, 6)]));
    becomes(p().key(int(3)).term_void(), map(&[(1, 5)]), map(&[(1, 5)]));
    becomes(p().key(int(1)).term_val(Value::Null), Value::Null, Value::map([(int(1), Value::Null)]));
    let nested = Value::map([(text("a"), map(&[(1, 7)]))]);
    becomes(p().keys([text("a").into(), int(1).into()]).term_val(int(7)), Value::Null, nested);
}

#[test]
fn a_transform_that_changes_nothing_creates_nothing() {
    becomes(p().key(int(1)).key(int(2)).term_void(), map(&[]), map(&[]));
    becomes(p().key(int(1)).must(int(2)).term_val(int(3)), Value::Null, Value::Null);
    becomes(p().key(int(1)).filter_equal(int(9)).term_val(int(3)), map(&[]), map(&[]));
    becomes(p().key(int(1)).stop(), map(&[]), map(&[]));
    becomes(p().key(int(1)).all().term_val(int(3)), Value::Null, Value::Null);
}

#[test]
fn must_stops_where_the_key_is_absent_but_not_where_it_holds_null() {
    selects(p().must(int(1)), &map(&[(1, 5)]), &[int(5)]);
    selects(p().must(int(2)), &map(&[(1, 5)]), &[]);
    selects(p().must(int(1)), &Value::map([(int(1), Value::Null)]), &[Value::Null]);
    becomes(p().must(int(2)).term_val(int(6)), map(&[(1, 5)]), map(&[(1, 5)]));
    becomes(p().must(int(1)).term_val(int(6)), map(&[(1, 5)]), map(&[(1, 6)]));
    becomes(p().must(int(1)).term_void(), map(&[(1, 5)]), map(&[]));
}

#[test]
fn map_key_renames_and_keeps_the_value() {
    selects(p().map_key(int(1)), &map(&[(1, 5)]), &[int(1)]);
    selects(p().map_key(int(2)), &map(&[(1, 5)]), &[]);
    becomes(p().map_key(int(1)).term_val(int(2)), map(&[(1, 5), (2, 6)]), map(&[(2, 5)]));
    becomes(p().map_key(int(1)).term_void(), map(&[(1, 5), (2, 6)]), map(&[(2, 6)]));
    becomes(p().map_key(int(9)).term_val(int(2)), map(&[(1, 5)]), map(&[(1, 5)]));
}

#[test]
fn fields_of_a_record_are_keys_of_a_map() {
    let record = Value::record([(1, int(5)), (4, text("x"))]);
    selects(p().key(Value::U64(4)), &record, &[text("x")]);
    selects(p().key(int(4)), &record, &[Value::Null]);
    selects(p().map_keys(), &record, &[Value::U64(1), Value::U64(4)]);
    becomes(p().key(Value::U64(1)).term_void(), record.clone(), Value::record([(4, text("x"))]));
    becomes(p().key(Value::U64(2)).term_val(int(6)), Value::record([]), Value::record([(2, int(6))]));
    assert!(matches!(fails(p().key(text("x")).term_val(int(6)), record), PathError::Replacement { .. }));
}

#[test]
fn all_visits_elements_and_pairs() {
    selects(p().all(), &list(&[3, 1]), &[int(3), int(1)]);
    selects(p().all(), &set(&[3, 1]), &[int(1), int(3)]);
    selects(p().all(), &map(&[(1, 5)]), &[list(&[1, 5])]);
    selects(p().all().first(), &map(&[(1, 5), (2, 6)]), &[int(1), int(2)]);
    selects(p().all(), &Value::Null, &[]);
    becomes(p().all().term(drop_odd(), vec![]), list(&[1, 2, 3, 4]), list(&[2, 4]));
    becomes(p().all().term_val(int(1)), set(&[3, 4]), set(&[1]));
    becomes(p().all().last().term(bump(), vec![]), map(&[(1, 5), (2, 6)]), map(&[(1, 6), (2, 7)]));
    becomes(p().all().first().term(bump(), vec![]), map(&[(1, 5), (2, 6)]), map(&[(2, 5), (3, 6)]));
    becomes(p().all().filter_equal(list(&[1, 5])).term_void(), map(&[(1, 5), (2, 6)]), map(&[(2, 6)]));
    becomes(p().all().term_val(int(1)), Value::Null, Value::Null);
    assert!(matches!(fails(p().all().term_val(int(1)), map(&[(1, 5)])), PathError::Replacement { .. }));
    assert!(matches!(fails(p().all().term_val(int(1)), int(1)), PathError::Type { .. }));
}

#[test]
fn map_vals_and_map_keys_visit_one_half_of_each_entry() {
    selects(p().map_vals(), &map(&[(1, 5), (2, 6)]), &[int(5), int(6)]);
    selects(p().map_keys(), &map(&[(1, 5), (2, 6)]), &[int(1), int(2)]);
    becomes(p().map_vals().term(drop_odd(), vec![]), map(&[(1, 5), (2, 6)]), map(&[(2, 6)]));
    becomes(p().map_keys().term(bump(), vec![]), map(&[(1, 5), (2, 6)]), map(&[(2, 5), (3, 6)]));
    becomes(p().map_keys().term_val(int(9)), map(&[(1, 5), (2, 6)]), map(&[(9, 6)]));
    becomes(p().map_keys().term_void(), map(&[(1, 5)]), map(&[]));
    becomes(p().map_vals().term_val(int(1)), Value::Null, Value::Null);
}

#[test]
fn submap_and_subset_replace_their_part() {
    let keys = || list(&[1, 3]);
    selects(p().submap(keys()), &map(&[(1, 5), (2, 6)]), &[map(&[(1, 5)])]);
    selects(p().submap(keys()), &Value::Null, &[map(&[])]);
    becomes(p().submap(keys()).term_val(map(&[(3, 7)])), map(&[(1, 5), (2, 6)]), map(&[(2, 6), (3, 7)]));
    becomes(p().submap(keys()).map_vals().term(bump(), vec![]), map(&[(1, 5), (2, 6)]), map(&[(1, 6), (2, 6)]));
    selects(p().subset(keys()), &set(&[1, 2]), &[set(&[1])]);
    becomes(p().subset(keys()).term_val(set(&[8])), set(&[1, 2]), set(&[2, 8]));
    assert!(matches!(fails(p().submap(int(1)).term_void(), map(&[(1, 5)])), PathError::Argument { .. }));
    assert!(matches!(select(&p().submap(list(&[])), &int(1), &NoArgs), Err(PathError::Type { .. })));
}

#[test]
fn nth_reaches_an_element_or_fails() {
    selects(p().nth(int(1)), &list(&[4, 5]), &[int(5)]);
    becomes(p().nth(Value::U64(0)).term_val(int(9)), list(&[4, 5]), list(&[9, 5]));
    becomes(p().nth(int(0)).term_void(), list(&[4, 5]), list(&[5]));
    for outside in [int(2), int(-1), Value::U64(u64::MAX)] {
        assert!(matches!(select(&p().nth(outside), &list(&[4, 5]), &NoArgs), Err(PathError::OutOfRange { .. })));
    }
    assert!(matches!(fails(p().nth(int(0)).term_void(), Value::Null), PathError::OutOfRange { .. }));
}

#[test]
fn first_and_last_stop_on_an_empty_list() {
    selects(p().first(), &list(&[4, 5]), &[int(4)]);
    selects(p().last(), &list(&[4, 5]), &[int(5)]);
    selects(p().first(), &list(&[]), &[]);
    selects(p().last(), &Value::Null, &[]);
    becomes(p().last().term_void(), list(&[4, 5]), list(&[4]));
    becomes(p().first().term_val(int(1)), Value::Null, Value::Null);
}

#[test]
fn virtual_places_of_a_list_take_one_element() {
    becomes(p().after_elem().term_val(int(6)), list(&[4, 5]), list(&[4, 5, 6]));
    becomes(p().before_elem().term_val(int(3)), list(&[4, 5]), list(&[3, 4, 5]));
    becomes(p().before_index(int(1)).term_val(int(3)), list(&[4, 5]), list(&[4, 3, 5]));
    becomes(p().before_index(int(2)).term_val(int(3)), list(&[4, 5]), list(&[4, 5, 3]));
    becomes(p().after_elem().term_val(int(6)), Value::Null, list(&[6]));
    becomes(p().after_elem().term_void(), Value::Null, Value::Null);
    becomes(p().after_elem().key(int(1)).term_val(int(2)), list(&[]), Value::List(vec![map(&[(1, 2)])]));
    becomes(p().after_elem().void_to_val(int(5)).term(bump(), vec![]), list(&[]), list(&[6]));
    selects(p().after_elem(), &list(&[4]), &[]);
    selects(p().before_index(int(0)), &list(&[4]), &[]);
    assert!(matches!(
        fails(p().before_index(int(3)).term_val(int(3)), list(&[4, 5])),
        PathError::OutOfRange { count: 2, .. }
    ));
}

#[test]
fn parts_of_a_list_are_spliced_back() {
    becomes(p().beginning().term_val(list(&[1, 2])), list(&[4]), list(&[1, 2, 4]));
    becomes(p().end().term_val(list(&[1, 2])), list(&[4]), list(&[4, 1, 2]));
    becomes(p().end().term_val(list(&[1])), Value::Null, list(&[1]));
    selects(p().sublist(int(1), int(3)), &list(&[4, 5, 6, 7]), &[list(&[5, 6])]);
    becomes(p().sublist(int(1), int(3)).term_val(list(&[0])), list(&[4, 5, 6, 7]), list(&[4, 0, 7]));
    becomes(p().sublist(int(1), int(3)).all().term(bump(), vec![]), list(&[4, 5, 6]), list(&[4, 6, 7]));
    becomes(p().sublist(int(0), int(1)).term_void(), list(&[4, 5]), list(&[5]));
    assert!(matches!(fails(p().sublist(int(1), int(9)).term_void(), list(&[4])), PathError::OutOfRange { .. }));
    assert!(matches!(fails(p().sublist(int(1), int(0)).term_void(), list(&[4])), PathError::Argument { .. }));
}

#[test]
fn a_filtered_list_goes_back_to_its_places() {
    let big = || p().filtered_list(p().filter_greater_than(int(4)));
    selects(big(), &list(&[9, 1, 5]), &[list(&[9, 5])]);
    becomes(big().term_val(list(&[6, 7])), list(&[9, 1, 5, 2]), list(&[6, 1, 7, 2]));
    becomes(big().term_val(list(&[6])), list(&[9, 1, 5, 2]), list(&[6, 1, 2]));
    becomes(big().term_val(list(&[6, 7, 8])), list(&[9, 1, 5, 2]), list(&[6, 1, 7, 8, 2]));
}

#[test]
fn set_elements_can_be_swapped_removed_and_added() {
    selects(p().set_elem(int(1)), &set(&[1, 2]), &[int(1)]);
    selects(p().set_elem(int(3)), &set(&[1, 2]), &[]);
    becomes(p().set_elem(int(1)).term_void(), set(&[1, 2]), set(&[2]));
    becomes(p().set_elem(int(1)).term_val(int(9)), set(&[1, 2]), set(&[2, 9]));
    becomes(p().set_elem(int(3)).term_val(int(9)), set(&[1, 2]), set(&[1, 2]));
    becomes(p().void_set_elem().term_val(int(0)), set(&[1, 2]), set(&[0, 1, 2]));
    becomes(p().void_set_elem().term_val(int(1)), set(&[1, 2]), set(&[1, 2]));
    becomes(p().void_set_elem().term_val(int(1)), Value::Null, set(&[1]));
    selects(p().void_set_elem(), &set(&[1]), &[]);
}

#[test]
fn ranges_of_a_map_keep_the_entries_nearest_their_anchor() {
    let five = map(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    let parts: [(Path, &[(i64, i64)]); 10] = [
        (p().sorted_map_range(int(2), int(4)), &[(2, 2), (3, 3)]),
        (p().sorted_map_range_with(int(2), false, int(4), true), &[(3, 3), (4, 4)]),
        (p().sorted_map_range(int(4), int(2)), &[]),
        (p().sorted_map_range_from(int(2), true, Some(2)), &[(2, 2), (3, 3)]),
        (p().sorted_map_range_from(int(4), false, None), &[(5, 5)]),
        (p().sorted_map_range_to(int(4), false, Some(2)), &[(2, 2), (3, 3)]),
        (p().sorted_map_range_to(int(2), true, None), &[(1, 1), (2, 2)]),
        (p().sorted_map_range_from_start(int(2)), &[(1, 1), (2, 2)]),
        (p().sorted_map_range_to_end(int(2)), &[(4, 4), (5, 5)]),
        (p().sorted_map_range_to_end(Value::U64(99)), &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]),
    ];
    for (path, part) in parts {
        selects(path.clone(), &five, &[map(part)]);
        selects(path.clone(), &Value::Null, &[map(&[])]);
        let rest: Vec<(i64, i64)> = (1..=5).map(|n| (n, n)).filter(|e| !part.contains(e)).collect();
        becomes(path.clone().term_void(), five.clone(), map(&rest));
        becomes(path.term_val(map(&[(0, 7)])), five.clone(), {
            let mut with = rest.clone();
            with.push((0, 7));
            map(&with)
        });
    }
    assert!(matches!(fails(p().sorted_map_range_to_end(int(-1)).term_void(), five), PathError::Argument { .. }));
}

#[test]
fn ranges_of_a_set_do_as_ranges_of_a_map() {
    let five = set(&[1, 2, 3, 4, 5]);
    let parts: [(Path, &[i64]); 6] = [
        (p().sorted_set_range(int(2), int(4)), &[2, 3]),
        (p().sorted_set_range_with(int(2), false, int(4), true), &[3, 4]),
        (p().sorted_set_range_from(int(2), true, Some(2)), &[2, 3]),
        (p().sorted_set_range_to(int(4), false, Some(2)), &[2, 3]),
        (p().sorted_set_range_from_start(int(2)), &[1, 2]),
        (p().sorted_set_range_to_end(int(2)), &[4, 5]),
    ];
    for (path, part) in parts {
        selects(path.clone(), &five, &[set(part)]);
        selects(path.clone(), &Value::Null, &[set(&[])]);
        let mut rest: Vec<i64> = (1..=5).filter(|n| !part.contains(n)).collect();
        becomes(path.clone().term_void(), five.clone(), set(&rest));
        rest.push(0);
        becomes(path.term_val(set(&[0])), five.clone(), set(&rest));
    }
}

#[test]
fn filters_go_on_or_stop() {
    let three = list(&[1, 2, 3]);
    selects(p().all().filter_equal(int(2)), &three, &[int(2)]);
    selects(p().all().filter_not_equal(int(2)), &three, &[int(1), int(3)]);
    selects(p().all().filter_less_than(int(2)), &three, &[int(1)]);
    selects(p().all().filter_less_than_or_equal(int(2)), &three, &[int(1), int(2)]);
    selects(p().all().filter_greater_than(int(2)), &three, &[int(3)]);
    selects(p().all().filter_greater_than_or_equal(int(2)), &three, &[int(2), int(3)]);
    selects(p().all().filter_pred(Func::unary(|n: i64| n > 2)), &three, &[int(3)]);
    selects(p().filter_selected(p().all().filter_equal(int(2))), &three, std::slice::from_ref(&three));
    selects(p().filter_not_selected(p().all().filter_equal(int(2))), &three, &[]);
    becomes(p().all().filter_greater_than(int(1)).term_void(), three, list(&[1]));
}

#[test]
fn null_is_in_no_order_and_different_kinds_have_none() {
    selects(p().filter_less_than(int(2)), &Value::Null, &[]);
    selects(p().filter_greater_than_or_equal(Value::Null), &int(1), &[]);
    selects(p().filter_equal(Value::Null), &Value::Null, &[Value::Null]);
    selects(p().filter_equal(Value::U64(1)), &int(1), &[]);
    assert!(matches!(
        select(&p().filter_less_than(int(2)), &text("x"), &NoArgs),
        Err(PathError::Type { wanted: "i64", .. })
    ));
}

#[test]
fn view_goes_on_with_the_answer_and_a_transform_through_it_keeps_the_outcome() {
    let size = || Func::untyped(|at, _| Some(Value::I64(at.count().unwrap_or(0) as i64)));
    selects(p().view(size(), vec![]), &list(&[7, 8]), &[int(2)]);
    becomes(p().key(int(1)).view(size(), vec![]).term(bump(), vec![]), Value::Null, map(&[(1, 1)]));
    let plus = Func::binary(|at: i64, by: i64| at + by);
    selects(p().view(plus, vec![int(5).into()]), &int(1), &[int(6)]);
}

#[test]
fn null_and_void_have_defaults() {
    selects(p().null_to_val(int(4)), &Value::Null, &[int(4)]);
    selects(p().null_to_val(int(4)), &int(5), &[int(5)]);
    selects(p().null_to_list(), &Value::Null, &[list(&[])]);
    selects(p().null_to_set(), &Value::Null, &[set(&[])]);
    selects(p().null_to_map(), &Value::Null, &[map(&[])]);
    becomes(p().key(int(1)).null_to_val(int(4)).term(bump(), vec![]), Value::Null, map(&[(1, 5)]));
    selects(p().void_to_val(int(4)), &Value::Null, &[Value::Null]);
}

#[test]
fn transformed_and_subselect_are_values_on_the_way() {
    selects(p().transformed(p().all().term(drop_odd(), vec![])), &list(&[1, 2]), &[list(&[2])]);
    selects(p().transformed(p().term_void()), &int(1), &[]);
    let odd = Value::map([(int(1), list(&[1, 2, 3])), (int(2), list(&[4, 5]))]);
    let inner = || p().subselect(p().map_vals().all().filter_pred(Func::unary(|n: i64| n % 2 == 1)));
    selects(inner(), &odd, &[list(&[1, 3, 5])]);
    let after = Value::map([(int(1), list(&[7, 2, 8])), (int(2), list(&[4]))]);
    becomes(inner().term_val(list(&[7, 8])), odd, after);
}

#[test]
fn branches_choose_a_way_and_multi_path_takes_all() {
    let way = || p().if_path(p().filter_equal(int(1)), p().term_val(int(9)), Some(p().term(bump(), vec![])));
    becomes(way(), int(1), int(9));
    becomes(way(), int(5), int(6));
    becomes(p().if_path(p().filter_equal(int(1)), p().term_val(int(9)), None), int(5), int(5));
    selects(p().if_path(p().must(int(1)), p().map_vals(), Some(p().map_keys())), &map(&[(2, 6)]), &[int(2)]);
    let cond = || p().cond_path([(p().must(int(1)), p().map_vals()), (p().must(int(2)), p().map_keys())]);
    selects(cond(), &map(&[(1, 5), (2, 6)]), &[int(5), int(6)]);
    selects(cond(), &map(&[(2, 6)]), &[int(2)]);
    selects(cond(), &map(&[(3, 6)]), &[]);
    selects(
        p().multi_path([p().first(), p().stay(), p().stop(), p().last()]),
        &list(&[1, 2]),
        &[int(1), list(&[1, 2]), int(2)],
    );
    let twice = p().multi_path([p().key(int(1)), p().key(int(1))]).term(bump(), vec![]);
    becomes(twice, map(&[(1, 5)]), map(&[(1, 7)]));
    becomes(
        p().multi_path([p().key(int(1)).term_void(), p().key(int(1)).term(bump(), vec![])]),
        map(&[(1, 5)]),
        map(&[(1, 11)]),
    );
}

#[test]
fn a_transform_path_must_end_in_a_term_navigator_wherever_it_ends() {
    assert_eq!(fails(p(), int(1)), PathError::NoTerminal);
    assert_eq!(fails(p().key(int(1)), Value::Null), PathError::NoTerminal);
    assert_eq!(fails(p().multi_path([p().term_void(), p().stay()]), int(1)), PathError::NoTerminal);
    assert_eq!(fails(p().multi_path([]), int(1)), PathError::NoTerminal);
    assert!(matches!(fails(p().term_void().stay(), int(1)), PathError::MisplacedTerminal { .. }));
    let asking = p().if_path(p().term_void(), p().term_void(), None);
    assert!(matches!(fails(asking, int(1)), PathError::MisplacedTerminal { .. }));
    assert!(matches!(select(&p().term_void(), &int(1), &NoArgs), Err(PathError::MisplacedTerminal { .. })));
    assert_eq!(fails(p().term_void(), int(1)), PathError::VoidAtTop);
}

#[test]
fn a_closure_that_cannot_read_the_value_is_a_typed_error() {
    let error = fails(p().key(int(1)).term(Func::unary(|n: i64| n), vec![]), Value::map([(int(1), text("x"))]));
    assert!(matches!(error, PathError::Closure { navigator: "term", .. }), "{error}");
}

#[test]
fn an_exponential_path_ends_with_an_error_instead_of_holding_the_thread() {
    let double = |path: Path| path.multi_path([p(), p()]);
    let path = (0..40).fold(p(), |path, _| double(path));
    assert_eq!(select(&path, &int(1), &NoArgs), Err(PathError::TooManySteps));
}

#[test]
fn a_path_of_the_most_navigators_fits_the_stack_and_one_more_is_refused() {
    let stay = |count: usize| (0..count).fold(p(), |path, _| path.stay());
    selects(stay(tantu_path::PATH_NAV_COUNT_MAX), &int(1), &[int(1)]);
    let longer = stay(tantu_path::PATH_NAV_COUNT_MAX + 1);
    assert_eq!(select(&longer, &int(1), &NoArgs), Err(PathError::TooLarge));
    becomes(stay(tantu_path::PATH_NAV_COUNT_MAX - 1).term_val(int(2)), int(1), int(2));
}

#[test]
fn a_transform_never_makes_a_value_too_deep_to_be_stored() {
    let path = |count: i64| (0..count).fold(p(), |path, n| path.key(int(n))).term_val(int(1));
    assert!(transform(&path(64), Value::Null, &NoArgs).is_ok());
    assert_eq!(fails(path(65), Value::Null), PathError::TooDeep);
}

#[test]
fn a_path_is_described_as_it_is_built() {
    let path = p().key(text("a")).if_path(p().must(int(1)), p().all(), None).term_val(int(2));
    assert_eq!(path.to_string(), r#"key("a").if_path(must(1), all).term_val(2)"#);
}
