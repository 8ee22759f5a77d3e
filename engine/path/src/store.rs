//! The seam to storage: what an evaluation needs of a PState partition.
//!
//! Keys are key form (their byte order is the key order), values are value form. A PState whose schema is a
//! map stores one entry per top-level key; any other is one entry under the empty key. The elements of subindexed
//! structures have keys of their own behind all of these (`structure.rs`).

use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;

/// Why a store call gave no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A block is not in memory. The store remembers which; repeat the evaluation when told to.
    Need,
    /// The store cannot answer, now or later: a sentence for the operator.
    Failed(String),
}

/// A visitor of entries: key form, then value form.
pub type VisitEntry<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// One task's partitions, at one view: the owner's own view, or a pinned version.
pub trait Store {
    /// Replaces what is in `out` by the value under `key`; `false`, and an empty `out`, if there is none.
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop>;

    /// Stages a write. Never answers [`Stop::Need`].
    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop>;

    /// Stages a deletion; an absent key is no error. Never answers [`Stop::Need`].
    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop>;

    /// Stages the deletion of every key in `[from, to)`. What is put there later stays. Never answers [`Stop::Need`].
    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop>;

    /// Visits entries in ascending key order until the visitor breaks. When this answers [`Stop::Need`] the
    /// visitor has seen a prefix, whole entries only.
    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop>;

    /// As [`Store::scan`], in descending key order. When this answers [`Stop::Need`] the visitor has seen the end of
    /// the range, whole entries only.
    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop>;
}
