//! Operations on vars of other types, and values that cannot be in a topology.

use std::rc::Rc;
use tantu_flow::{Block, Var};

fn a_function_of_another_type(b: &mut Block, name: Var<str>) {
    b.each(name, |name: i64| name + 1);
}

fn a_value_that_is_no_var(b: &mut Block) {
    b.each(5i64, |n| n + 1);
}

fn a_condition_that_is_no_bool(b: &mut Block, count: Var<i64>) {
    b.if_true(count, |_| {});
}

fn a_filter_that_answers_no_bool(b: &mut Block, count: Var<i64>) {
    b.filter(count, |count| count + 1);
}

fn an_answer_that_cannot_be_written(b: &mut Block, count: Var<i64>) {
    b.each(count, |count| std::thread::current());
}

fn two_ways_that_go_on_with_different_types(b: &mut Block, yes: Var<bool>, name: Var<str>, count: Var<i64>) {
    b.if_else(yes, |_| name, |_| count);
}

fn a_future_that_borrows_from_its_event(b: &mut Block, name: Var<str>) {
    b.each_async(name, |name| async move { Ok::<i64, String>(name.len() as i64) });
}

fn a_captured_value_of_one_thread(b: &mut Block, count: Var<i64>) {
    let shared = Rc::new(5);
    b.each(count, move |count| count + *shared);
}

fn a_task_that_is_no_number(b: &mut Block, name: Var<str>) {
    b.direct_partition(name);
}

fn main() {}
