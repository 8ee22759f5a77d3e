//! Depots, PStates and aggregators of types that cannot be theirs.

use tantu_flow::{Block, PState, PStateOptions, Setup, StreamTopology, Var, hash_by, random};
use tantu_path::{Map, Set, agg};

/// Without `#[derive(Record)]`.
struct Visit;

fn a_depot_of_what_is_no_record(setup: &mut Setup) {
    setup.declare_depot::<Visit>("*visits", random());
}

fn a_partitioner_of_another_record(setup: &mut Setup) {
    setup.declare_depot::<String>("*names", hash_by(|number: &i64| *number));
}

fn a_pstate_of_what_is_no_schema(topology: &mut StreamTopology) {
    topology.pstate::<Map<String, Visit>>("$$visits");
}

fn an_initial_value_of_a_map(topology: &mut StreamTopology) {
    topology.pstate_initial::<Map<String, i64>>("$$counts", PStateOptions::default(), Default::default());
}

fn an_initial_value_of_another_type(topology: &mut StreamTopology) {
    topology.pstate_initial::<i64>("$$count", PStateOptions::default(), "none");
}

fn a_sum_of_texts(b: &mut Block, totals: PState<Map<String, i64>>, name: Var<str>) {
    b.compound_agg(totals, agg::key(name, agg::sum(name)));
}

fn a_count_in_a_text(b: &mut Block, names: PState<Map<String, String>>, name: Var<str>) {
    b.compound_agg(names, agg::key(name, agg::count()));
}

fn a_set_of_other_elements(b: &mut Block, friends: PState<Map<String, Set<i64>>>, name: Var<str>) {
    b.compound_agg(friends, agg::key(name, agg::set(name)));
}

fn a_key_of_another_type(b: &mut Block, totals: PState<Map<String, i64>>, user: Var<i64>) {
    b.compound_agg(totals, agg::key(user, agg::count()));
}

fn main() {}
