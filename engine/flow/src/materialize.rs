//! Rows that a batch block keeps for later blocks of the same microbatch.

use crate::batch::BatchBlock;
use crate::data::Register;
use crate::stage::Where;
use crate::step::{Step, Target};
use crate::table::{RowsOf, TableDef};
use crate::var::{AnyVar, Vars};

/// Rows of these vars that were kept by [`BatchBlock::materialize`].
#[derive(Debug)]
pub struct Materialized<V> {
    source: u32,
    table: usize,
    of: std::marker::PhantomData<fn() -> V>,
}

impl<V> Copy for Materialized<V> {}
impl<V> Clone for Materialized<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl BatchBlock {
    /// Keeps each row, on the task where it is, until the end of the microbatch: later blocks of it read them again with
    /// [`BatchBlock::explode_materialized`]. The rows go on here too.
    #[track_caller]
    pub fn materialize<V: Vars>(&mut self, vars: V) -> Materialized<V> {
        if self.is_query() {
            let what = "`materialize` keeps rows for the blocks of a microbatch; a query is one block";
            self.block.mistake(what.to_string());
        }
        let uses = self.block.uses(vars);
        let mut rest: Vec<Register> = Vec::new();
        vars.list(&mut |var: AnyVar| rest.push(var.register));
        self.block.code.tables.push(TableDef::Rows { keep: true });
        let table = self.block.code.tables.len() - 1;
        let step = Step::Row { target: Target::Here, table, keys: Vec::new(), rest };
        self.block.push(step, "materialize", uses, Vec::new());
        Materialized { source: self.block.source, table, of: std::marker::PhantomData }
    }

    /// Goes on with every row that was kept, on the tasks where they were. The vars are new ones of the same types.
    #[track_caller]
    pub fn explode_materialized<V: Vars>(&mut self, rows: Materialized<V>) -> V {
        if rows.source != self.block.source {
            self.block.mistake("the materialized rows belong to another source".to_string());
        }
        self.begin_root("explode_materialized", Where::Everywhere);
        self.gather(RowsOf::Table(rows.table), "explode_materialized")
    }
}

impl crate::block::Block {
    /// A batch block: its phases are complete on all tasks one after the other, and the code behind it goes on once, on task
    /// 0, when all of it is. It is entered on task 0, and sees the vars that are known there.
    ///
    /// ```
    /// use tantu_flow::{Module, Setup, Topologies, define, random};
    /// use tantu_path::{Map, agg};
    ///
    /// struct Words;
    /// impl Module for Words {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         let words = setup.declare_depot::<String>("*words", random());
    ///         let mut counter = topologies.microbatch("counter");
    ///         let counts = counter.pstate::<Map<String, i64>>("$$counts");
    ///         counter.source(&words, |m, batch| {
    ///             m.batch_block(|b| {
    ///                 let word = b.explode_microbatch(batch);
    ///                 let (word, count) = b.group_by(word, |g| g.agg::<i64>(agg::count()));
    ///                 b.compound_agg(counts, agg::key(word, agg::sum(count)));
    ///             });
    ///         });
    ///     }
    /// }
    /// assert!(define::<Words>().is_ok());
    /// ```
    #[track_caller]
    pub fn batch_block<R>(&mut self, body: impl FnOnce(&mut BatchBlock) -> R) -> R {
        if !self.has_batches {
            self.mistake("a batch block stands in a microbatch topology, or is the body of a query".to_string());
        }
        let (defining, stream, source) = (std::rc::Rc::clone(&self.defining), self.stream, self.source);
        let block = std::mem::replace(self, crate::block::Block::source(defining, stream, source));
        let outer = block.scope.clone();
        let mut batch = BatchBlock::begin(block, Vec::new(), false);
        let answer = body(&mut batch);
        *self = batch.end();
        self.scope = outer;
        answer
    }
}
