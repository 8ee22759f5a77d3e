//! Query topologies: distributed functions that clients call, computed over the committed PStates of the module.
//!
//! The body is an implicit batch block: what it is given are vars, partitioners lead it to the tasks that know, and
//! [`QueryBlock::origin_partition`] brings it back to the task where the call started, which alone may answer.

use crate::batch::{BatchBlock, QueryBlock};
use crate::block::Block;
use crate::data::{Data, Owned, Register, Returned};
use crate::define::{Defining, Place, here};
use crate::micro::MicrobatchTopology;
use crate::module::Topologies;
use crate::plan::{Plan, Position};
use crate::step::{Step, StepRecord, Target};
use crate::table::RowsOf;
use crate::var::{AnyVar, Var, Vars};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
    /// How it runs.
    pub options: QueryOptions,
}

/// How a query topology runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueryOptions {
    /// How long a call may take (`topology.query.timeout.millis`); by default as long as the launch says.
    pub timeout: Option<Duration>,
    /// See [`QueryOptions::consistent_with`]: the place of the topology among the microbatch topologies of the module.
    pub consistent_with: Option<usize>,
}

impl QueryOptions {
    /// A call takes at most so long.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// All events of a call see what this topology has written as of one microbatch, the last that was finished when the call
    /// began: all of what it and those before it wrote, on every task, and nothing of later ones. Of other
    /// topologies they see, on each task, one committed instant. A call waits for a letter to every thread and back before it
    /// begins. Calls of other queries within it see what these say.
    ///
    /// ```
    /// use tantu_flow::{Module, QueryOptions, Setup, Topologies, Var, define, hash_by};
    /// use tantu_path::{Map, Navigate, agg, path};
    ///
    /// struct Words;
    /// impl Module for Words {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         let words = setup.declare_depot::<String>("*words", hash_by(String::clone));
    ///         let mut counter = topologies.microbatch("counter");
    ///         let counts = counter.pstate::<Map<String, i64>>("$$counts");
    ///         counter.source(&words, |m, batch| {
    ///             let word = m.explode_microbatch(batch);
    ///             m.compound_agg(counts, agg::key(word, agg::count()));
    ///         });
    ///         let whole = QueryOptions::default().consistent_with(&counter);
    ///         topologies.query_with("total", whole, |q, ()| {
    ///             q.all_partition();
    ///             let count: Var<i64> = q.local_select(counts, path().map_vals());
    ///             q.origin_partition();
    ///             q.agg::<i64>(agg::sum(count))
    ///         });
    ///     }
    /// }
    /// assert_eq!(define::<Words>().unwrap().queries[0].options.consistent_with, Some(0));
    /// ```
    pub fn consistent_with(self, topology: &MicrobatchTopology) -> Self {
        Self { consistent_with: topology.place(), ..self }
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
        self.query_with(name, QueryOptions::default(), body);
    }

    /// Declares a query topology with options.
    #[track_caller]
    pub fn query_with<I: Arguments, O: Data + ?Sized>(
        &mut self,
        name: &str,
        options: QueryOptions,
        body: impl FnOnce(&mut QueryBlock, I) -> Var<O>,
    ) {
        let place = here();
        let source = {
            let mut defining = self.defining.borrow_mut();
            defining.check_topology_name(name, place);
            defining.new_source()
        };
        let mut block = Block::source(Rc::clone(&self.defining), NO_OWNER, source);
        let arguments: I = block.bind_all("an argument");
        let mut inputs = Vec::new();
        arguments.list(&mut |var: AnyVar| inputs.push(var.register));
        let mut batch = BatchBlock::begin(block, inputs.iter().map(|register| register.var).collect(), true);
        let output = body(&mut batch, arguments);
        batch.block.result(output);
        let astray = batch.left_after_aggregators();
        let recorded = batch.end().finish();
        let mut defining = self.defining.borrow_mut();
        if !astray {
            check_way_home(&mut defining, name, place, &recorded.steps);
        }
        defining.add_query((name, options), recorded, inputs, Register::new::<O>(output.id).type_name());
    }
}

/// A query's last partitioner leads to its origin, and nothing leads away from there again.
fn check_way_home(defining: &mut Defining, name: &str, place: Place, steps: &[StepRecord]) {
    let leads = |record: &&StepRecord| {
        let read = matches!(record.step, Step::Gathered { of: RowsOf::Join(_) | RowsOf::Table(_), .. });
        read || matches!(record.step, Step::Hop { .. } | Step::Fold { .. })
    };
    let Some(last) = steps.iter().rev().find(leads) else {
        defining.error(place, format!("the query `{name}` has no `origin_partition`"));
        return;
    };
    if !matches!(last.step, Step::Hop { target: Target::Origin, .. } | Step::Fold { target: Target::Origin, .. }) {
        let what = format!("the query `{name}` goes on elsewhere here: its last partitioner is `origin_partition`");
        defining.error(last.place, what);
    }
}

/// A query owns no PState, so that it can write none.
pub(crate) const NO_OWNER: usize = usize::MAX;
