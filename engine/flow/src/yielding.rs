//! Selects that give way: a long answer comes in pages, and the task does other work between them.
//!
//! The first page is read in the event itself. If that is not all, the rest is read from the partition *as it was then*, what the
//! topology had written and not committed included: the results are those of a select that does not yield, and nothing that is
//! written later is among them. What is not kept is that no other event runs in between. While it lasts, the old version
//! of the partition is kept, and nothing of it survives a crash: the record is then tried again.

use crate::block::Block;
use crate::data::{Data, Register, Returned};
use crate::module::PState;
use crate::step::Step;
use crate::var::Var;
use tantu_path::{PStateSchema, Path, PathTo};

impl Block {
    /// As [`Block::local_select`], but the select may run over several events (PST-24): the code below runs for each value,
    /// in pages, with other events of the task between them. A page ends after 256 KiB or 4,096 entries read;
    /// `with_page_size` at the start of the path says how many entries instead.
    ///
    /// ```
    /// use tantu_flow::{TestBlock, Var};
    /// use tantu_path::{Map, Navigate, path};
    ///
    /// let block = TestBlock::define(
    ///     |topology| topology.pstate::<Map<i64, i64>>("$$squares"),
    ///     |b, squares, n: Var<i64>| {
    ///         b.local_transform(squares, path().key(n).term_val(n));
    ///         b.local_select_yielding(squares, path().with_page_size(100, path().all()))
    ///     },
    /// )?;
    /// let mut seen = Vec::new();
    /// block.run(&1i64, |_| {})?;
    /// block.run(&2i64, |pair| seen.push(*pair))?;
    /// assert_eq!(seen, [(1, 1), (2, 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn local_select_yielding<S: PStateSchema, T: PStateSchema>(
        &mut self,
        pstate: PState<S>,
        path: PathTo<S, T>,
    ) -> Var<<T::Value as Returned>::Data>
    where
        T::Value: Returned,
    {
        self.select_yielding_untyped(pstate.index, path.into_untyped())
    }

    /// Goes where the key lives with which the path starts, and reads there as [`Block::local_select_yielding`].
    #[track_caller]
    pub fn select_yielding<S: PStateSchema, T: PStateSchema>(
        &mut self,
        pstate: PState<S>,
        path: PathTo<S, T>,
    ) -> Var<<T::Value as Returned>::Data>
    where
        T::Value: Returned,
    {
        self.path_partition(pstate, &path);
        self.local_select_yielding(pstate, path)
    }

    #[track_caller]
    pub(crate) fn select_yielding_untyped<D: Data + ?Sized>(&mut self, pstate: usize, path: Path) -> Var<D> {
        let name = self.pstate_name(pstate, false);
        let uses = self.path_uses(&path);
        let rows = self.bind::<[u8]>("a page of rows");
        let label = format!("local_select_yielding {name} {path}");
        self.push(Step::Pages { pstate, path, rows: rows.id, position: 0 }, label, uses, vec![rows.id]);
        let out = self.bind::<D>("local_select_yielding");
        let register = Register::new::<D>(out.id);
        self.push(Step::Rows { rows: rows.id, out: register }, "rows of a page", vec![rows.id], vec![out.id]);
        out
    }
}
