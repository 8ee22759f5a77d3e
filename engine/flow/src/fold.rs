//! The aggregation phase of a batch block: rows meet aggregators, and what they became goes on as new rows.
//!
//! A row's last partitioner and the aggregators it meets behind it are one step: what is sent is not the row but what
//! the aggregators make of it. If all are combiners, rows of an event that go to one task are combined before
//! anything is sent.

use crate::data::Register;
use crate::plan::Position;
use tantu_path::agg::{RowPart, TakePartials};
use tantu_path::{AggError, AggShape, Arg, Before, Fold, Room, Schema, ShapedFold};

/// Aggregators that see the same rows, and the vars by which the rows are grouped.
#[derive(Clone)]
pub struct FoldDef {
    /// By what rows are grouped, as pre-agg knows it.
    pub(crate) keys: Vec<Register>,
    /// Whether there are groups, or all rows are one.
    pub(crate) is_grouped: bool,
    /// What each result is made of, and its shape.
    outs: Vec<(AggShape, Schema)>,
    /// The parts of a row, if a result is a compound shape.
    parts: Vec<RowPart>,
    /// Where an event with the keys and the states of a group begins, if that is what becomes of it.
    pub(crate) goes_on: Option<Position>,
    /// See [`FoldDef::is_due`].
    pub(crate) combiner_limit: u64,
    /// Whether rows may be combined before they are sent.
    is_combiner: bool,
    /// Whether partial states grow with every row.
    is_flush_required: bool,
}

/// After how many rows partial states that grow with each of them are sent on, if nothing else is said.
pub(crate) const COMBINER_LIMIT: u64 = 1_000;

impl std::fmt::Debug for FoldDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.outs.iter().map(|(shape, _)| shape)).finish()
    }
}

impl FoldDef {
    /// Without aggregators yet.
    pub(crate) fn new(keys: Vec<Register>, is_grouped: bool) -> FoldDef {
        let (outs, parts, goes_on) = (Vec::new(), Vec::new(), None);
        let (is_combiner, is_flush_required) = (true, false);
        FoldDef {
            keys,
            is_grouped,
            outs,
            parts,
            goes_on,
            combiner_limit: COMBINER_LIMIT,
            is_combiner,
            is_flush_required,
        }
    }

    /// One result more.
    pub(crate) fn push(&mut self, shape: AggShape, schema: Schema) {
        self.is_combiner &= shape.is_combiner();
        self.is_flush_required |= shape.is_flush_required();
        self.outs.push((shape, schema));
        let is_leaf = |(shape, _): &(AggShape, Schema)| matches!(shape, AggShape::Leaf(_));
        self.parts = if self.outs.iter().all(is_leaf) { Vec::new() } else { ShapedFold::parts(&self.outs) };
    }

    /// Has `before` called ahead of each closure of its aggregators.
    pub(crate) fn interpose(&mut self, before: &Before) {
        self.outs.iter_mut().for_each(|(shape, _)| shape.interpose(before));
        self.parts.iter_mut().for_each(|part| part.leaf.interpose(before));
    }

    /// What each result is made of.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &AggShape> {
        self.outs.iter().map(|(shape, _)| shape)
    }

    /// An empty fold, which holds at most so many bytes.
    pub fn fold(&self, size_max: usize) -> RowFold {
        if self.parts.is_empty() {
            let leaf = |(shape, schema): &(AggShape, Schema)| {
                let leaf = shape.leaves().first().map(|leaf| (*leaf).clone());
                (leaf.expect("invariant: a shape without parts is one aggregator"), schema.clone())
            };
            let leaves = self.outs.iter().map(leaf).collect();
            let fold = if self.is_grouped { Fold::by_group(leaves) } else { Fold::of_all(leaves) };
            return RowFold::Leaves(fold.limit(size_max));
        }
        let keys = self.is_grouped.then_some(self.keys.len());
        RowFold::Shapes(ShapedFold::new(self.outs.clone(), keys).limit(size_max))
    }

    /// Whether rows may be combined before they are sent.
    pub fn is_combiner(&self) -> bool {
        self.is_combiner
    }

    /// Where an event with the keys and the states of each group begins, on the task that the rows go to, if no table takes
    /// them there.
    pub fn goes_on(&self) -> Option<Position> {
        self.goes_on
    }

    /// Whether partial states of so many rows are sent on before the end, since they grow with every row (AGG-10).
    pub fn is_due(&self, rows: u64) -> bool {
        self.is_flush_required && rows >= self.combiner_limit
    }

    /// The arguments of all aggregators, one after the other, if each result is that of one.
    pub(crate) fn args(&self) -> Option<impl Iterator<Item = &Arg>> {
        fn args(shape: &AggShape) -> &[Arg] {
            if let AggShape::Leaf(leaf) = shape { leaf.args() } else { &[] }
        }
        self.parts.is_empty().then(|| self.outs.iter().flat_map(|(shape, _)| args(shape)))
    }

    /// The parts of a row, if a result is a compound shape.
    pub(crate) fn parts(&self) -> &[RowPart] {
        &self.parts
    }

    /// The vars that rows give to aggregators and to the keys on the way to them.
    pub(crate) fn each_slot(&self, visit: &mut dyn FnMut(u32)) {
        self.outs.iter().for_each(|(shape, _)| shape.each_slot(visit));
    }
}

/// Rows as aggregators hold them: see [`Fold`] and [`ShapedFold`], of which it is one.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is always in a box of its own")]
pub enum RowFold {
    /// Each result is that of one aggregator.
    Leaves(Fold),
    /// Some are compound shapes.
    Shapes(ShapedFold),
}

impl RowFold {
    /// Bytes it holds.
    pub fn size(&self) -> usize {
        match self {
            RowFold::Leaves(fold) => fold.size(),
            RowFold::Shapes(fold) => fold.size(),
        }
    }

    /// Takes in a row, or a part of one.
    ///
    /// # Errors
    /// What an aggregator answers.
    pub fn step_encoded(&mut self, key: &[u8], args: &[u8]) -> Result<Room, AggError> {
        match self {
            RowFold::Leaves(fold) => fold.step_encoded(key, args),
            RowFold::Shapes(fold) => fold.step_encoded(key, args),
        }
    }

    /// Takes in a row, or partial states, when a few of them are there or at [`RowFold::flush`].
    ///
    /// # Errors
    /// What an aggregator answers, perhaps of one before.
    pub fn queue(&mut self, key: &[u8], args: &[u8], is_partial: bool) -> Result<Room, AggError> {
        match self {
            RowFold::Leaves(fold) => fold.queue(key, args, is_partial),
            RowFold::Shapes(fold) if is_partial => fold.combine(key, args),
            RowFold::Shapes(fold) => fold.step_encoded(key, args),
        }
    }

    /// Takes in what waits.
    ///
    /// # Errors
    /// What an aggregator answers.
    pub fn flush(&mut self) -> Result<Room, AggError> {
        match self {
            RowFold::Leaves(fold) => fold.flush(),
            RowFold::Shapes(_) => Ok(Room::Left),
        }
    }

    /// Takes in partial states.
    ///
    /// # Errors
    /// What an aggregator answers.
    pub fn combine(&mut self, key: &[u8], partials: &[u8]) -> Result<Room, AggError> {
        match self {
            RowFold::Leaves(fold) => fold.combine(key, partials),
            RowFold::Shapes(fold) => fold.combine(key, partials),
        }
    }

    /// Rows, or parts of them, taken in since it was made or drained.
    pub fn steps(&self) -> u64 {
        match self {
            RowFold::Leaves(fold) => fold.steps(),
            RowFold::Shapes(fold) => fold.steps(),
        }
    }

    /// Gives out partial states and forgets them.
    ///
    /// # Errors
    /// What `visit` and the aggregators answer.
    pub fn drain(&mut self, visit: TakePartials<'_>) -> Result<(), AggError> {
        match self {
            RowFold::Leaves(fold) => fold.drain(visit),
            RowFold::Shapes(fold) => fold.drain(visit),
        }
    }

    /// Ends the steps: answers how many groups there are.
    ///
    /// # Errors
    /// If a result does not fit.
    pub fn seal(&mut self) -> Result<usize, AggError> {
        match self {
            RowFold::Leaves(fold) => Ok(fold.seal()),
            RowFold::Shapes(fold) => fold.seal(),
        }
    }

    /// Appends the keys and the results of a group, once it is sealed.
    ///
    /// # Errors
    /// If a result does not fit.
    pub fn put_row(&mut self, index: usize, row: &mut Vec<u8>) -> Result<(), AggError> {
        match self {
            RowFold::Leaves(fold) => {
                row.extend_from_slice(fold.key(index));
                fold.results(index, row)
            }
            RowFold::Shapes(fold) => {
                row.extend_from_slice(fold.key(index));
                row.extend_from_slice(fold.results(index));
                Ok(())
            }
        }
    }
}
