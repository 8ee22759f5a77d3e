//! Batch blocks, as the author writes them: sources, one way for their rows, aggregators, what follows them.
//!
//! A batch block has three phases. *Pre-agg* runs for every row, wherever partitioners lead it. Its rows come from the block's
//! begin, or from sources of their own ([`BatchBlock::source`], [`BatchBlock::sub_batch`]), which are joined or united
//! until one way is left. *Agg*: the aggregators take in all rows. *Post-agg* runs for what the aggregators made, when the
//! last row has arrived: it knows the results, the keys of groups and what was known where the block begins.
//!
//! Where aggregators and post-agg run is said by the partitioner before them: on one task after `global_partition` and
//! `origin_partition`, otherwise on every task, also on those no row came to. Groups go to the tasks of their keys' hash.
//!
//! What lies between two barriers is a stage ([`crate::Stage`]): the recording starts a new one wherever rows have to wait
//! for others.

use crate::block::Block;
use crate::data::{Register, Returned};
use crate::define::{Place, here};
use crate::fold::FoldDef;
use crate::scope::Scope;
use crate::stage::Where;
use crate::step::{Step, StepRecord, Target};
use crate::table::{RowsOf, TableDef};
use crate::var::{AnyVar, Var, Vars};
use crate::ways::ids_of;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use tantu_path::agg::AggOut;
use tantu_path::{AggShape, PStateSchema};

/// The body of a batch block: that of a query, or one in a microbatch topology. All that a [`Block`] records is there too.
pub struct BatchBlock {
    pub(crate) block: Block,
    /// What is bound where each stage begins.
    pub(crate) entry: Scope,
    /// The step that enters it.
    enter: usize,
    stages: Vec<(usize, Where)>,
    /// The block and the sources that are being recorded, innermost last.
    levels: Vec<Level>,
    /// Sources whose rows nobody has taken.
    open: BTreeMap<usize, Place>,
    is_query: bool,
    /// Whether the code around it has batch blocks.
    outside: bool,
}

/// The body of a query topology.
pub type QueryBlock = BatchBlock;

/// Most keys of a group.
const GROUP_KEY_COUNT_MAX: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Whole,
    Source,
    SubBatch,
}

struct Level {
    kind: Kind,
    phase: Phase,
}

/// How far the recording of a block is.
enum Phase {
    /// No aggregator yet.
    Pre,
    /// There are aggregators.
    Agg {
        /// What is bound where the rows end.
        before: Scope,
        /// Where post-agg begins: directly behind this step more aggregators may follow.
        results: usize,
        table: usize,
        is_grouped: bool,
    },
}

/// Rows of a source of a batch block, each with these vars. It is used once: joined, united, or gone on with.
#[must_use = "join it, unite it, or go on with its rows"]
#[derive(Debug)]
pub struct Source<V> {
    /// The first of the three steps at its end that say where its rows go.
    pub(crate) end: usize,
    pub(crate) scope: Scope,
    pub(crate) vars: V,
}

impl Deref for BatchBlock {
    type Target = Block;
    fn deref(&self) -> &Block {
        &self.block
    }
}

impl DerefMut for BatchBlock {
    fn deref_mut(&mut self) -> &mut Block {
        &mut self.block
    }
}

impl BatchBlock {
    /// A batch block that begins here. It needs these vars, whatever its code uses.
    #[track_caller]
    pub(crate) fn begin(mut block: Block, needs: Vec<u32>, is_query: bool) -> BatchBlock {
        let enter = Step::Enter { block: 0, stages: Vec::new(), after: 0, position: 0 };
        let enter = block.push(enter, "batch_block", needs, Vec::new());
        let entry = Scope { loops: Default::default(), ..block.scope.clone() };
        let levels = vec![Level { kind: Kind::Whole, phase: Phase::Pre }];
        let outside = std::mem::replace(&mut block.has_batches, false);
        block.binds_once = true;
        let (stages, open) = (Vec::new(), BTreeMap::new());
        let mut batch = BatchBlock { block, entry, enter, stages, levels, open, is_query, outside };
        batch.begin_stage(Where::Origin);
        batch
    }

    /// The block ends here. What is recorded next is the code behind it.
    #[track_caller]
    pub(crate) fn end(mut self) -> Block {
        self.end_level();
        for place in self.open.values() {
            let what = "stray branch: nobody takes the rows of this source; join it, unite it or go on with its rows";
            self.block.defining.borrow_mut().error(place, what.to_string());
        }
        let at = self.block.at();
        if self.stages.last().is_some_and(|(start, _)| *start == at) {
            self.stages.pop();
        }
        self.block.add(Step::End, "end", Vec::new(), Vec::new());
        if !self.is_query {
            crate::two_phase::combine_writes(&mut self.block, self.enter);
        }
        let behind = self.block.at();
        if let Step::Enter { stages, after, .. } = &mut self.block.code.steps[self.enter].step {
            (*stages, *after) = (std::mem::take(&mut self.stages), behind);
        }
        (self.block.has_batches, self.block.binds_once) = (self.outside, false);
        self.block
    }

    pub(crate) fn is_query(&self) -> bool {
        self.is_query
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("invariant: the block itself is one")
    }

    /// What follows is a stage of its own. One that nothing was recorded for is forgotten.
    pub(crate) fn begin_stage(&mut self, on: Where) {
        let at = self.block.at();
        match self.stages.last_mut() {
            Some((start, was)) if *start == at => *was = on,
            _ => self.stages.push((at, on)),
        }
        self.block.scope = self.entry.clone();
    }

    /// Rows start here that have nothing to do with what was recorded before.
    #[track_caller]
    pub(crate) fn begin_root(&mut self, what: &str, on: Where) {
        if !matches!(self.level().phase, Phase::Pre) {
            self.block.mistake(format!("`{what}` comes before the aggregators of its block, not after them"));
        } else if self.stages.last().is_some_and(|(start, _)| *start != self.block.at()) {
            self.block.mistake(format!(
                "stray branch: what was recorded before `{what}` leads nowhere; put it into a `source` and join or \
                 unite it"
            ));
        }
        if self.stages.last().is_some_and(|(start, _)| *start != self.block.at()) {
            self.block.add(Step::End, "end", Vec::new(), Vec::new());
        }
        self.begin_stage(on);
    }

    /// A source of rows: code that runs by itself, started once on the task where the block began. Whatever it emits are
    /// rows of the vars it returns.
    #[track_caller]
    pub fn source<V: Vars>(&mut self, body: impl FnOnce(&mut BatchBlock) -> V) -> Source<V> {
        self.part(Kind::Source, "source", body)
    }

    /// A source that is a batch of its own, with aggregators and what follows them: its results are rows of the vars it
    /// returns.
    #[track_caller]
    pub fn sub_batch<V: Vars>(&mut self, body: impl FnOnce(&mut BatchBlock) -> V) -> Source<V> {
        self.part(Kind::SubBatch, "sub_batch", body)
    }

    #[track_caller]
    fn part<V: Vars>(&mut self, kind: Kind, what: &str, body: impl FnOnce(&mut BatchBlock) -> V) -> Source<V> {
        self.begin_root(what, Where::Origin);
        self.levels.push(Level { kind, phase: Phase::Pre });
        let vars = body(self);
        self.end_level();
        self.levels.pop();
        self.block.binds_once = true;
        self.block.uses(vars);
        self.end_source(vars)
    }

    /// Nobody takes its rows, for a reason that was told.
    pub(crate) fn drop_source(&mut self, of: Source<()>) {
        self.open.remove(&of.end);
    }

    /// The rows that come here are those of a source.
    #[track_caller]
    pub(crate) fn end_source<V: Vars>(&mut self, vars: V) -> Source<V> {
        let scope = self.block.scope.clone();
        // Who takes the rows fills these in.
        let end = self.block.add(Step::Copy(Vec::new()), "rows", Vec::new(), Vec::new());
        self.block.add(Step::Copy(Vec::new()), "rows", Vec::new(), Vec::new());
        self.block.add(Step::End, "end", Vec::new(), Vec::new());
        self.open.insert(end, here());
        self.begin_stage(Where::Origin);
        Source { end, scope, vars }
    }

    /// Goes on with the rows of a source, wherever they are.
    #[track_caller]
    pub fn rows<V: Vars>(&mut self, of: Source<V>) -> V {
        self.begin_root("rows", Where::Origin);
        self.meet(&[of.end]);
        self.block.scope = of.scope;
        of.vars
    }

    /// Goes on with the rows of all of these sources.
    #[track_caller]
    pub fn union<V: Vars>(&mut self, of: impl IntoIterator<Item = Source<V>>) -> V {
        self.begin_root("union", Where::Origin);
        let into: V = self.block.bind_all("union");
        let to = ids_of(into);
        let mut ends = Vec::new();
        for Source { end, vars, .. } in of {
            let moves: Vec<_> = ids_of(vars).into_iter().zip(to.iter().copied()).collect();
            let record = &mut self.block.code.steps[end];
            record.uses = moves.iter().map(|(from, _)| *from).collect();
            record.defs.clone_from(&to);
            record.step = Step::Copy(moves);
            ends.push(end);
        }
        if ends.is_empty() {
            self.block.mistake("`union` of no sources has no rows".to_string());
        }
        self.meet(&ends);
        into
    }

    /// The rows of sources that end at these steps come here.
    fn meet(&mut self, ends: &[usize]) {
        let at = self.block.at();
        // What follows belongs to their stages.
        self.stages.pop();
        for end in ends {
            self.open.remove(end);
            self.block.code.steps[end + 2].step = Step::Jump(at);
        }
    }

    /// The rows of a source end in a table, on the task that the keys' hash says.
    #[track_caller]
    pub(crate) fn keep_rows<V: Vars>(&mut self, of: Source<V>, keys: Vec<Register>) -> usize {
        let mut rest = Vec::new();
        of.vars.list(&mut |var: AnyVar| rest.push(var.register));
        self.keep_parts(Source { end: of.end, scope: of.scope, vars: () }, keys, rest)
    }

    /// The same, with what a row has besides its keys.
    #[track_caller]
    pub(crate) fn keep_parts(&mut self, of: Source<()>, keys: Vec<Register>, rest: Vec<Register>) -> usize {
        let Source { end, scope, .. } = of;
        self.open.remove(&end);
        let here = std::mem::replace(&mut self.block.scope, scope);
        self.block.check(keys.iter().map(|key| (self.block.source, key.var)));
        self.block.scope = here;
        self.block.code.tables.push(TableDef::Rows { keep: false });
        let table = self.block.code.tables.len() - 1;
        let record = &mut self.block.code.steps[end + 1];
        record.uses = keys.iter().chain(&rest).map(|register| register.var).collect();
        record.step = Step::Row { target: Target::Keys(keys.clone()), table, keys, rest };
        table
    }

    /// What follows runs for each row of tables: a stage of its own, which binds these vars.
    #[track_caller]
    pub(crate) fn gather<V: Vars>(&mut self, of: RowsOf, label: &str) -> V {
        let vars: V = self.block.bind_all(label);
        let mut outs = Vec::new();
        vars.list(&mut |var: AnyVar| outs.push(var.register));
        self.gather_into(of, label, outs);
        vars
    }

    /// The same, for vars that are bound already.
    #[track_caller]
    pub(crate) fn gather_into(&mut self, of: RowsOf, label: &str, outs: Vec<Register>) {
        let defs = outs.iter().map(|register| register.var).collect();
        self.block.push(Step::Gathered { of, outs }, label, Vec::new(), defs);
    }

    /// Goes on on the task where the block began: where a query was called, which it has to come back to, or task 0.
    #[track_caller]
    pub fn origin_partition(&mut self) {
        let target = if self.is_query { Target::Origin } else { Target::Global };
        self.block.hop(target, "origin_partition", Vec::new());
    }

    /// Aggregates all rows; the code below knows the result. The shape of the result is named:
    /// `q.agg::<i64>(agg::count())`. A compound shape gives a map or a list: `q.agg::<Map<String, i64>>(agg::key(word,
    /// agg::count()))`.
    #[track_caller]
    pub fn agg<S>(&mut self, aggregator: impl Into<AggOut<S>>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        self.begin_fold(&[], false);
        self.add_leaf(aggregator.into())
    }

    /// Aggregates the rows of each group, that is, those with equal keys; the code below runs once per group, on the task
    /// that the hash of its keys says, and knows its keys and results. At most six keys.
    #[track_caller]
    pub fn group_by<K: Vars, T>(&mut self, keys: K, aggregators: impl FnOnce(&mut Group<'_>) -> T) -> (K, T) {
        let mut registers = Vec::new();
        keys.list(&mut |var: AnyVar| registers.push((var.source, var.register)));
        if registers.len() > GROUP_KEY_COUNT_MAX {
            let count = registers.len();
            self.block.mistake(format!("`group_by` has {count} keys, the most is {GROUP_KEY_COUNT_MAX}"));
        }
        self.begin_fold(&registers, true);
        let known: K = self.block.bind_all("a key of groups");
        let mut outs = Vec::new();
        known.list(&mut |var: AnyVar| outs.push(var.register));
        self.define_outs(&outs);
        let results = aggregators(&mut Group { batch: self });
        (known, results)
    }

    /// The way of the rows ends at aggregators, and post-agg begins.
    #[track_caller]
    fn begin_fold(&mut self, keys: &[(u32, Register)], is_grouped: bool) {
        let at = self.block.at();
        let Level { kind, phase } = self.level();
        let in_source = *kind == Kind::Source;
        if let Phase::Agg { results, is_grouped: was_grouped, .. } = phase {
            if is_grouped || *results + 1 != at || *was_grouped {
                let what = "aggregators of one block follow each other directly, either all in one group or in none; \
                            put what comes first into a `sub_batch`";
                self.block.mistake(what.to_string());
            }
            return;
        }
        if in_source {
            let what = "a `source` has no aggregators of its own; write `sub_batch`";
            self.block.mistake(what.to_string());
        }
        self.block.check(keys.iter().map(|(source, register)| (*source, register.var)));
        let keys: Vec<Register> = keys.iter().map(|(_, register)| *register).collect();
        let (target, mut uses) = match is_grouped {
            true => (Target::Keys(keys.clone()), Vec::new()),
            false => self.take_partitioner(),
        };
        let on = match target {
            Target::Origin => Where::Origin,
            Target::Global => Where::Zero,
            _ => Where::Everywhere,
        };
        uses.extend(keys.iter().map(|register| register.var));
        let table = self.block.code.tables.len();
        self.block.code.tables.push(TableDef::Fold(FoldDef::new(keys, is_grouped)));
        let label = if is_grouped { "group_by" } else { "agg" };
        self.block.push(Step::Fold { target, table }, label, uses, Vec::new());
        let before = self.block.scope.clone();
        self.begin_stage(on);
        let gathered = Step::Gathered { of: RowsOf::Fold(table), outs: Vec::new() };
        let results = self.block.add(gathered, "results", Vec::new(), Vec::new());
        self.level().phase = Phase::Agg { before, results, table, is_grouped };
        self.block.binds_once = false;
    }

    /// Turns the partitioner before the first aggregator into the row's way to the aggregators.
    #[track_caller]
    fn take_partitioner(&mut self) -> (Target, Vec<u32>) {
        let at = self.block.at();
        // A way that comes from elsewhere would miss the partitioner.
        let mut joined = self.stages.iter().any(|(start, _)| *start == at);
        let steps = &mut self.block.code.steps;
        steps.iter_mut().for_each(|record| record.step.each_target(&mut |to| joined |= *to == at));
        match steps.pop() {
            Some(StepRecord { step: Step::Hop { one_partition: true, .. }, uses, .. }) if !joined => {
                (Target::Global, uses)
            }
            Some(StepRecord { step: Step::Hop { target, .. }, uses, .. }) if !joined => (target, uses),
            other => {
                self.block.code.steps.extend(other);
                let what = "aggregators need a partitioner directly before them, which says where they run";
                self.block.mistake(what.to_string());
                (Target::Origin, Vec::new())
            }
        }
    }

    #[track_caller]
    fn add_leaf<S>(&mut self, aggregator: AggOut<S>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        let shape = aggregator.shape().clone();
        let mut uses = Vec::new();
        shape.each_slot(&mut |slot| uses.push(slot));
        let Some(Level { phase: Phase::Agg { before, results, table, .. }, .. }) = self.levels.last_mut() else {
            unreachable!("begin_fold comes first")
        };
        let (results, table) = (*results, *table);
        // The arguments are vars of pre-agg, which is out of sight by now.
        std::mem::swap(before, &mut self.block.scope);
        self.block.check(uses.iter().map(|id| (self.block.source, *id)));
        std::mem::swap(before, &mut self.block.scope);
        let name = if let AggShape::Leaf(leaf) = &shape { leaf.name() } else { "compound_agg" };
        let out = self.block.bind::<<S::Value as Returned>::Data>(name);
        self.define_outs(&[Register::new::<<S::Value as Returned>::Data>(out.id)]);
        let code = &mut self.block.code;
        if let TableDef::Fold(def) = &mut code.tables[table] {
            def.push(shape, S::schema());
        }
        let is_fold = |record: &&mut StepRecord| matches!(record.step, Step::Fold { table: of, .. } if of == table);
        let fold = code.steps[..results].iter_mut().rfind(is_fold);
        fold.expect("invariant: recorded by begin_fold").uses.extend(uses);
        out
    }

    fn define_outs(&mut self, defined: &[Register]) {
        let Phase::Agg { results, .. } = self.level().phase else { unreachable!("begin_fold comes first") };
        let record = &mut self.block.code.steps[results];
        if let Step::Gathered { outs, .. } = &mut record.step {
            outs.extend_from_slice(defined);
        }
        record.defs.extend(defined.iter().map(|register| register.var));
    }

    /// The block, or one of its sources, is recorded: no partitioner comes after its aggregators but the way home of
    /// groups.
    #[track_caller]
    fn end_level(&mut self) {
        let is_query = self.is_query;
        let Level { kind, phase } = self.level();
        let Phase::Agg { results, is_grouped, .. } = *phase else { return };
        let goes_home = is_query && is_grouped && *kind == Kind::Whole;
        for record in &self.block.code.steps[results..] {
            match record.step {
                Step::Hop { target: Target::Origin, .. } if goes_home => {}
                Step::Hop { .. } => {
                    let what = "the block goes on elsewhere after its aggregators, where there are no partitioners";
                    self.block.defining.borrow_mut().error(record.place, what.to_string());
                }
                _ => {}
            }
        }
    }

    /// Whether partitioners may not lead on from here, and one did all the same.
    pub(crate) fn left_after_aggregators(&self) -> bool {
        let Some(Level { phase: Phase::Agg { results, .. }, .. }) = self.levels.first() else { return false };
        let hops =
            |record: &StepRecord| matches!(&record.step, Step::Hop { target, .. } if !matches!(target, Target::Origin));
        self.block.code.steps[*results..].iter().any(hops)
    }
}

/// The aggregators of groups.
pub struct Group<'q> {
    batch: &'q mut BatchBlock,
}

impl Group<'_> {
    /// Aggregates the rows of each group.
    #[track_caller]
    pub fn agg<S>(&mut self, aggregator: impl Into<AggOut<S>>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        self.batch.add_leaf(aggregator.into())
    }
}
