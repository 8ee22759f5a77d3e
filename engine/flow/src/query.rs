//! Query topologies: distributed functions that clients call, computed over the committed PStates of the module.
//!
//! The body is an implicit batch block: what it is given are vars, partitioners lead it to the tasks that know, and
//! [`QueryBlock::origin_partition`] brings it back to the task where the call started, which alone may answer.

use crate::block::Block;
use crate::data::{Data, Owned, Register, Returned};
use crate::define::{Defining, Place, here};
use crate::fold::FoldDef;
use crate::module::Topologies;
use crate::plan::{Plan, Position};
use crate::scope::Scope;
use crate::step::{Step, StepRecord, Target};
use crate::var::{AnyVar, Var, Vars};
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use tantu_path::agg::AggOut;
use tantu_path::{Arg, PStateSchema};

/// A query topology, ready to run.
#[derive(Clone, Debug)]
pub struct QueryDef {
    /// Its name.
    pub name: String,
    /// What its events do.
    pub plan: Arc<Plan>,
    /// Where in the plan a call starts.
    pub at: Position,
    /// The types of its arguments, as vars.
    pub inputs: Vec<&'static str>,
    /// The type of its result, as a var.
    pub output: &'static str,
}

/// The body of a query topology. All that a [`Block`] records is there too.
///
/// What is recorded up to the first aggregator is *pre-agg*: it runs wherever partitioners lead it, for each row. The
/// aggregators take the rows in. What follows is *post-agg*: it runs when the last row has arrived, on the task
/// where the call started, and knows the results, the keys of groups and the query's arguments.
pub struct QueryBlock {
    block: Block,
    /// The vars that hold the arguments.
    arguments: BTreeSet<u32>,
    phase: Phase,
}

/// How far the recording of a query is.
enum Phase {
    /// No aggregator yet.
    Pre,
    /// The last thing recorded is an aggregator.
    Agg {
        /// What is bound where the rows end.
        before: Scope,
        /// How many steps there were when it was recorded.
        step_count: usize,
    },
}

impl Deref for QueryBlock {
    type Target = Block;
    fn deref(&self) -> &Block {
        &self.block
    }
}

impl DerefMut for QueryBlock {
    fn deref_mut(&mut self) -> &mut Block {
        &mut self.block
    }
}

impl QueryBlock {
    /// Goes on on the task where the call started. Every query ends its travels so.
    #[track_caller]
    pub fn origin_partition(&mut self) {
        self.block.hop(Target::Origin, "origin_partition", Vec::new());
    }

    /// Aggregates all rows; the code below knows the result. The shape of the result is named:
    /// `q.agg::<i64>(agg::count())`.
    #[track_caller]
    pub fn agg<S>(&mut self, aggregator: impl Into<AggOut<S>>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        self.begin_fold(&[], false);
        self.add_leaf(aggregator.into())
    }

    /// Aggregates the rows of each group, that is, those with equal keys; the code below runs once per group and
    /// knows its keys and results.
    #[track_caller]
    pub fn group_by<K: Vars, T>(&mut self, keys: K, aggregators: impl FnOnce(&mut Group<'_>) -> T) -> (K, T) {
        let mut registers = Vec::new();
        keys.list(&mut |var: AnyVar| registers.push((var.source, var.register)));
        self.begin_fold(&registers, true);
        let known: K = self.block.bind_all("a key of groups");
        let mut outs = Vec::new();
        known.list(&mut |var: AnyVar| outs.push(var.register));
        self.define_outs(&outs);
        let results = aggregators(&mut Group { query: self });
        (known, results)
    }

    /// Turns the partitioner before the first aggregator into the row's way to the aggregators.
    #[track_caller]
    fn begin_fold(&mut self, keys: &[(u32, Register)], is_grouped: bool) {
        let step_count = self.block.at();
        if let Phase::Agg { step_count: then, .. } = self.phase {
            if is_grouped || then != step_count || self.block.code.folds[0].is_grouped {
                let what = "aggregators of one block follow each other directly, either all in one group or in none";
                self.block.mistake(what.to_string());
            }
            return;
        }
        self.block.check(keys.iter().map(|(source, register)| (*source, register.var)));
        // A way that comes from elsewhere would miss the partitioner.
        let mut joined = false;
        self.block
            .code
            .steps
            .iter_mut()
            .for_each(|record| record.step.each_target(&mut |to| joined |= *to == step_count));
        let last = self.block.code.steps.pop();
        let (target, mut uses) = match last {
            Some(StepRecord { step: Step::Hop { target, .. }, uses, .. }) if !joined => (target, uses),
            other => {
                self.block.code.steps.extend(other);
                let what = "aggregators need a partitioner directly before them, which says where they run";
                self.block.mistake(what.to_string());
                (Target::Origin, Vec::new())
            }
        };
        let keys: Vec<Register> = keys.iter().map(|(_, register)| *register).collect();
        uses.extend(keys.iter().map(|register| register.var));
        let def = FoldDef { keys, is_grouped, leaves: Vec::new(), outs: Vec::new(), at: Position(0) };
        self.block.code.folds.push(def);
        let label = if is_grouped { "group_by" } else { "agg" };
        self.block.push(Step::Fold { target, fold: 0 }, label, uses, Vec::new());
        self.block.add(Step::Drain { fold: 0 }, "results", Vec::new(), Vec::new());
        let arguments = self.arguments.clone();
        let before = std::mem::replace(&mut self.block.scope, Scope { visible: arguments, ..Scope::default() });
        self.phase = Phase::Agg { before, step_count: self.block.at() };
    }

    #[track_caller]
    fn add_leaf<S>(&mut self, aggregator: AggOut<S>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        let leaf = aggregator.leaf().clone();
        let mut uses = Vec::new();
        for arg in leaf.args() {
            if let Arg::Slot(slot) = arg {
                uses.push(*slot);
            }
        }
        let Phase::Agg { before, .. } = &mut self.phase else { unreachable!("begin_fold comes first") };
        // The arguments are vars of pre-agg, which is out of sight by now.
        std::mem::swap(before, &mut self.block.scope);
        self.block.check(uses.iter().map(|id| (self.block.source, *id)));
        std::mem::swap(before, &mut self.block.scope);
        let out = self.block.bind::<<S::Value as Returned>::Data>(leaf.name());
        self.define_outs(&[Register::new::<<S::Value as Returned>::Data>(out.id)]);
        let code = &mut self.block.code;
        code.folds[0].leaves.push((leaf, S::schema()));
        let step = code.steps.iter_mut().find(|record| matches!(record.step, Step::Fold { .. }));
        step.expect("invariant: recorded by begin_fold").uses.extend(uses);
        out
    }

    fn define_outs(&mut self, outs: &[Register]) {
        let code = &mut self.block.code;
        code.folds[0].outs.extend_from_slice(outs);
        let step = code.steps.last_mut().expect("invariant: recorded by begin_fold");
        step.defs.extend(outs.iter().map(|register| register.var));
    }
}

/// The aggregators of groups.
pub struct Group<'q> {
    query: &'q mut QueryBlock,
}

impl Group<'_> {
    /// Aggregates the rows of each group.
    #[track_caller]
    pub fn agg<S>(&mut self, aggregator: impl Into<AggOut<S>>) -> Var<<S::Value as Returned>::Data>
    where
        S: PStateSchema<Value: Returned>,
    {
        self.query.add_leaf(aggregator.into())
    }
}

/// The arguments of a query as vars: `()`, or a tuple of vars such as `(Var<str>, Var<i64>)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a query",
    note = "annotate the closure: `|q, (user, from): (Var<str>, Var<i64>)| …`, with `(user,): (Var<str>,)` for one argument"
)]
pub trait Arguments: Vars {}

impl Arguments for () {}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<$($name: Data + ?Sized),+> Arguments for ($(Var<$name>,)+) {}
    };
}

arguments! { A }
arguments! { A B }
arguments! { A B C }
arguments! { A B C D }
arguments! { A B C D E }
arguments! { A B C D E F }
arguments! { A B C D E F G }

/// The arguments of a query as its clients give them: `()`, or a tuple such as `(String, i64)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a query",
    note = "use a tuple of what the query takes: `(String, i64)`, or `(String,)` for one argument"
)]
pub trait ArgumentValues {
    /// The types of the vars that receive them.
    fn types() -> Vec<&'static str>;
    /// Appends the value forms.
    fn encode(&self, out: &mut Vec<u8>);
}

impl ArgumentValues for () {
    fn types() -> Vec<&'static str> {
        Vec::new()
    }
    fn encode(&self, _: &mut Vec<u8>) {}
}

/// The type of the var that holds a value of type `T`.
pub fn var_type<T: Returned>() -> &'static str {
    Register::new::<T::Data>(0).type_name()
}

macro_rules! values {
    ($($name:ident)+) => {
        impl<$($name: Owned),+> ArgumentValues for ($($name,)+) {
            fn types() -> Vec<&'static str> {
                vec![$(var_type::<$name>()),+]
            }
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }
        }
    };
}

values! { A }
values! { A B }
values! { A B C }
values! { A B C D }
values! { A B C D E }
values! { A B C D E F }
values! { A B C D E F G }

impl Topologies {
    /// Declares a query topology: a function that clients invoke by name. Its arguments stay visible throughout; its
    /// result is the var the body returns, which must be reached exactly once in a call.
    #[track_caller]
    pub fn query<I: Arguments, O: Data + ?Sized>(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut QueryBlock, I) -> Var<O>,
    ) {
        let place = here();
        let source = {
            let mut defining = self.defining.borrow_mut();
            defining.check_topology_name(name, place);
            defining.new_source()
        };
        let block = Block::source(Rc::clone(&self.defining), NO_OWNER, source);
        let mut block = QueryBlock { block, arguments: BTreeSet::new(), phase: Phase::Pre };
        let arguments: I = block.bind_all("an argument");
        let mut inputs = Vec::new();
        arguments.list(&mut |var: AnyVar| inputs.push(var.register));
        block.arguments = inputs.iter().map(|register| register.var).collect();
        let output = body(&mut block, arguments);
        block.block.result(output);
        let recorded = block.block.finish();
        let mut defining = self.defining.borrow_mut();
        check_way_home(&mut defining, name, place, &recorded.steps);
        defining.add_query(name, recorded, inputs, Register::new::<O>(output.id).type_name());
    }
}

/// A query's last partitioner leads to its origin, and there is none after its aggregators.
fn check_way_home(defining: &mut Defining, name: &str, place: Place, steps: &[StepRecord]) {
    let leads = |record: &&StepRecord| matches!(record.step, Step::Hop { .. } | Step::Fold { .. });
    let Some(last) = steps.iter().rev().find(leads) else {
        defining.error(place, format!("the query `{name}` has no `origin_partition`"));
        return;
    };
    let what = match &last.step {
        Step::Hop { .. } if steps.iter().any(|record| matches!(record.step, Step::Fold { .. })) => {
            format!("the query `{name}` goes on elsewhere after its aggregators, where there are no partitioners")
        }
        Step::Hop { target: Target::Origin, .. } | Step::Fold { target: Target::Origin, .. } => return,
        _ => format!("the query `{name}` goes on elsewhere here: its last partitioner is `origin_partition`"),
    };
    defining.error(last.place, what);
}

/// A query owns no PState, so that it can write none.
const NO_OWNER: usize = usize::MAX;
