//! The aggregation phase of a batch block: rows meet aggregators, and what they became goes on as new rows.
//!
//! A row's last partitioner and the aggregators it meets behind it are one step: what is sent is not the row but what
//! the aggregators make of it. If all are combiners, rows of an event that go to one task are combined before
//! anything is sent.

use crate::data::Register;
use tantu_path::{Arg, Fold, Leaf, Schema};

/// Aggregators that see the same rows, and the vars by which the rows are grouped.
#[derive(Clone)]
pub struct FoldDef {
    /// By what rows are grouped, as pre-agg knows it.
    pub(crate) keys: Vec<Register>,
    /// Whether there are groups, or all rows are one.
    pub(crate) is_grouped: bool,
    /// What each aggregator does, and the shape of its result.
    pub(crate) leaves: Vec<(Leaf, Schema)>,
}

impl std::fmt::Debug for FoldDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.leaves.iter().map(|(leaf, _)| leaf.name())).finish()
    }
}

impl FoldDef {
    /// An empty fold, which holds at most so many bytes.
    pub fn fold(&self, size_max: usize) -> Fold {
        let leaves = self.leaves.clone();
        let fold = if self.is_grouped { Fold::by_group(leaves) } else { Fold::of_all(leaves) };
        fold.limit(size_max)
    }

    /// Whether rows may be combined before they are sent.
    pub fn is_combiner(&self) -> bool {
        self.leaves.iter().all(|(leaf, _)| leaf.aggregator().is_combiner())
    }

    /// The arguments of all aggregators, one after the other.
    pub(crate) fn args(&self) -> impl Iterator<Item = &Arg> {
        self.leaves.iter().flat_map(|(leaf, _)| leaf.args())
    }
}
