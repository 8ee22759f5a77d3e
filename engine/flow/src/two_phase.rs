//! Aggregators into PStates at the end of a batch block, in two phases (AGG-09).
//!
//! Where a way of rows ends with a partitioner and aggregators into PStates behind it, all of them combiners, the rows that go to
//! one task are combined where they are, by all keys of the aggregators together. What crosses the partitioner is one event
//! for each of these keys, with a state for each aggregator, which the PState takes in as it would take in a row: the second
//! phase is the PState itself, so nothing waits there and nothing is held.
//!
//! Rows stay as they are where somebody could see the difference: an accumulator needs each of them, and a PState that
//! other code of the block reads or writes too is to have what the rows before left there.

use crate::block::Block;
use crate::data::Register;
use crate::define::Place;
use crate::fold::FoldDef;
use crate::invoke::FIRST_TEMPORARY;
use crate::step::{Step, StepRecord, Target};
use crate::table::TableDef;
use std::collections::BTreeSet;
use std::ops::Range;
use tantu_base::value::Value;
use tantu_path::agg::RowPart;
use tantu_path::{AggShape, Aggregator, Arg, Schema, ShapedFold};

/// Combines what can be combined in the code of a batch block, which begins here and has ended.
pub(crate) fn combine_writes(block: &mut Block, from: usize) {
    let steps = &mut block.code.steps;
    let mut joined = BTreeSet::new();
    steps.iter_mut().for_each(|record| record.step.each_target(&mut |to| joined.extend([*to])));
    for hop in from..steps.len() {
        let writes = writes_behind(&block.code.steps, hop);
        if !writes.is_empty() && writes.clone().all(|at| !joined.contains(&at)) && is_combined(block, from, &writes) {
            combine(block, hop, writes);
        }
    }
}

/// The aggregators into PStates between a partitioner and the end of the way; none if it is anything else.
fn writes_behind(steps: &[StepRecord], hop: usize) -> Range<usize> {
    let none = hop..hop;
    if !matches!(steps[hop].step, Step::Hop { .. }) {
        return none;
    }
    let is_write = |record: &&StepRecord| matches!(record.step, Step::Aggregate { .. });
    let end = hop + 1 + steps[hop + 1..].iter().take_while(is_write).count();
    if ends(steps, end) { hop + 1..end } else { none }
}

/// Whether nothing is done from here on.
fn ends(steps: &[StepRecord], mut at: usize) -> bool {
    for _ in 0..steps.len() {
        match &steps[at].step {
            Step::End => return true,
            Step::Jump(to) => at = *to,
            Step::Copy(moves) if moves.is_empty() => at += 1,
            Step::Fork { branches } if branches.is_empty() => at += 1,
            _ => return false,
        }
    }
    false
}

/// The PState that a step reads or writes.
fn pstate_of(record: &StepRecord) -> Option<usize> {
    match &record.step {
        Step::Select { pstate, .. }
        | Step::Pages { pstate, .. }
        | Step::Transform { pstate, .. }
        | Step::Clear { pstate }
        | Step::Aggregate { pstate, .. } => Some(*pstate),
        _ => None,
    }
}

/// Whether all of the aggregators are combiners, and nothing else in the block touches their PStates.
fn is_combined(block: &Block, from: usize, writes: &Range<usize>) -> bool {
    let steps = &block.code.steps;
    let written: BTreeSet<usize> = steps[writes.clone()].iter().filter_map(pstate_of).collect();
    let others = steps[from..writes.start].iter().chain(&steps[writes.end..]).filter_map(pstate_of);
    let is_combiner =
        |record: &StepRecord| matches!(&record.step, Step::Aggregate { shape, .. } if shape.is_combiner());
    written.iter().all(|pstate| *pstate < FIRST_TEMPORARY)
        && steps[writes.clone()].iter().all(is_combiner)
        && others.into_iter().all(|pstate| !written.contains(&pstate))
}

/// Puts the first phase in the place of the partitioner, and lets the aggregators take in what it makes.
fn combine(block: &mut Block, hop: usize, writes: Range<usize>) {
    let (mut keys, mut folded, mut states) = (Vec::new(), Vec::new(), Vec::new());
    let place = block.code.steps[hop].place;
    for at in writes {
        let Step::Aggregate { pstate, shape } = &block.code.steps[at].step else { unreachable!("it is one") };
        let Some(schema) = schema_of(block, *pstate) else { return };
        let parts = ShapedFold::parts(&[(shape.clone(), schema)]);
        keys.extend(parts.iter().flat_map(|part| &part.keys).filter_map(slot));
        let of_shape: Vec<u32> = parts.iter().map(|part| state_var(block, part, place)).collect();
        let record = &mut block.code.steps[at];
        if let Step::Aggregate { shape, .. } = &mut record.step {
            let mut next = of_shape.iter();
            *shape =
                shape.of_partials(&mut |_| Arg::Slot(*next.next().expect("invariant: a state for each aggregator")));
            record.uses.clear();
            shape.each_slot(&mut |slot| record.uses.push(slot));
        }
        folded.extend(parts);
        states.extend(of_shape);
    }
    let mut seen = BTreeSet::new();
    keys.retain(|var| seen.insert(*var));
    let registers: Vec<Register> = keys.iter().map(|var| block.code.registers[*var as usize]).collect();
    let mut def = FoldDef::new(registers, true);
    let record = &mut block.code.steps[hop];
    record.uses.extend(&keys);
    for RowPart { leaf, schema, .. } in folded {
        record.uses.extend(leaf.args().iter().filter_map(slot));
        def.push(AggShape::Leaf(leaf), schema);
    }
    record.label.push_str(", combined");
    record.defs = keys.into_iter().chain(states).collect();
    let table = block.code.tables.len();
    if let Step::Hop { target, one_partition, .. } = std::mem::replace(&mut record.step, Step::End) {
        let target = if one_partition { Target::Global } else { target };
        record.step = Step::Combine { target, table, position: 0 };
    }
    block.code.tables.push(TableDef::Fold(def));
}

/// What a PState may hold, without regard to how it lies; none if it is not of this module.
fn schema_of(block: &Block, pstate: usize) -> Option<Schema> {
    block.defining.borrow().pstates.get(pstate).map(|def| def.schema.unwrapped())
}

fn slot(arg: &Arg) -> Option<u32> {
    if let Arg::Slot(slot) = arg { Some(*slot) } else { None }
}

/// A var for the state of an aggregator. Sums and counts of numbers are numbers; a state of another may be anything.
fn state_var(block: &mut Block, part: &RowPart, place: Place) -> u32 {
    let adds = matches!(part.leaf.aggregator(), Aggregator::Count | Aggregator::Sum);
    let register = match part.schema {
        Schema::I64 if adds => Register::new::<i64>,
        Schema::U64 if adds => Register::new::<u64>,
        Schema::F64 if adds => Register::new::<f64>,
        _ => Register::new::<Value>,
    };
    block.bind_register(register, part.leaf.name(), place).1
}
