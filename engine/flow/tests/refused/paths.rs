//! Paths that do not fit what they are for.

use tantu_flow::{Block, PState, Var};
use tantu_path::{List, Map, Navigate, PathTo, path};

type Visits = Map<String, Map<i64, i64>>;

fn a_key_of_another_type(b: &mut Block, visits: PState<Visits>) {
    b.local_select(visits, path().key(5).key(7));
}

fn a_var_of_another_type_as_a_key(b: &mut Block, visits: PState<Visits>, user: Var<i64>) {
    b.local_select(visits, path().key(user));
}

fn a_key_of_a_number(b: &mut Block, visits: PState<Visits>) {
    b.local_select(visits, path().key("ann").key(7).key(1));
}

fn a_navigator_of_lists_on_a_map(b: &mut Block, visits: PState<Visits>) {
    b.local_select(visits, path().key("ann").nth(0));
}

fn the_size_of_a_number(b: &mut Block, totals: PState<i64>) {
    b.local_select(totals, path().size());
}

fn a_transform_without_a_terminal(b: &mut Block, visits: PState<Visits>) {
    b.local_transform(visits, path().key("ann").key(7));
}

fn a_select_that_changes(b: &mut Block, visits: PState<Visits>) {
    b.local_select(visits, path().key("ann").term_void());
}

fn a_path_of_another_pstate(b: &mut Block, visits: PState<Visits>, to_names: PathTo<Map<String, List<String>>, String>) {
    b.local_select(visits, to_names);
}

fn a_value_of_another_type(b: &mut Block, visits: PState<Visits>, text: Var<str>) {
    b.local_transform(visits, path().key("ann").key(7).term_val(text));
}

fn main() {}
