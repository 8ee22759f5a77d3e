//! Query topologies: distributed functions that clients call, computed over the committed PStates of the module.
//!
//! The body is an implicit batch block: what it is given are vars, partitioners lead it to the tasks that know, and
//! [`QueryBlock::origin_partition`] brings it back to the task where the call started, which alone may answer.

use crate::block::Block;
use crate::data::{Data, Owned, Register, Returned};
use crate::define::here;
use crate::module::Topologies;
use crate::plan::{Plan, Position};
use crate::step::{Step, Target};
use crate::var::{AnyVar, Var, Vars};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

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
pub struct QueryBlock {
    block: Block,
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
}

/// The arguments of a query as vars: `()`, or a tuple of vars such as `(Var<str>, Var<i64>)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a query",
    note = "annotate the closure: `|q, (user, from): (Var<str>, Var<i64>)| …`, with `(user,): (Var<str>,)` for one argument"
)]
pub trait Arguments: Vars {
    /// New vars of these types.
    #[doc(hidden)]
    fn fresh(block: &mut Block) -> Self;
}

impl Arguments for () {
    fn fresh(_: &mut Block) -> Self {}
}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<$($name: Data + ?Sized),+> Arguments for ($(Var<$name>,)+) {
            fn fresh(block: &mut Block) -> Self {
                ($(block.source_var::<$name>(),)+)
            }
        }
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
        let mut block = QueryBlock { block: Block::source(Rc::clone(&self.defining), NO_OWNER, source) };
        let arguments = I::fresh(&mut block);
        let mut inputs = Vec::new();
        arguments.list(&mut |var: AnyVar| inputs.push(var.register));
        let output = body(&mut block, arguments);
        block.block.result(output);
        let recorded = block.block.finish();
        let mut defining = self.defining.borrow_mut();
        let last = recorded.steps.iter().rev().find(|record| matches!(record.step, Step::Hop { .. }));
        match last {
            Some(record) if matches!(record.step, Step::Hop { target: Target::Origin, .. }) => {}
            Some(record) => {
                let what =
                    format!("the query `{name}` goes on elsewhere here: its last partitioner is `origin_partition`");
                defining.error(record.place, what);
            }
            None => defining.error(place, format!("the query `{name}` has no `origin_partition`")),
        }
        defining.add_query(name, recorded, inputs, Register::new::<O>(output.id).type_name());
    }
}

/// A query owns no PState, so that it can write none.
const NO_OWNER: usize = usize::MAX;
