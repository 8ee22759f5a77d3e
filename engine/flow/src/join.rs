//! Joins of a batch block's sources.
//!
//! Both sides of a join go to the tasks that the hash of their keys says and wait there in tables; when all rows have
//! arrived, each task joins what it has. The code below the join runs once for each joined row, on the task of its key.
//!
//! ```
//! use tantu_flow::{Module, Setup, Topologies, define};
//! use tantu_path::{Map, Navigate, agg, path};
//!
//! struct Shop;
//! impl Module for Shop {
//!     fn define(_: &mut Setup, topologies: &mut Topologies) {
//!         let mut s = topologies.stream("shop");
//!         let names = s.pstate::<Map<i64, String>>("$$names");
//!         let orders = s.pstate::<Map<i64, i64>>("$$orders");
//!         topologies.query("names of orders", |q, ()| {
//!             let names = q.source(|b| {
//!                 b.all_partition();
//!                 let entry = b.local_select(names, path().all());
//!                 (b.each(entry, |entry| entry.0), b.each(entry, |entry| entry.1.clone()))
//!             });
//!             let orders = q.source(|b| {
//!                 b.all_partition();
//!                 let entry = b.local_select(orders, path().all());
//!                 (b.each(entry, |entry| entry.0), b.each(entry, |entry| entry.1))
//!             });
//!             // Each order's customer, and the name if it is known.
//!             let ((order, _), (_, name)) = q.left_join(orders, names, |order, name| (order.1, name.0));
//!             let line = q.each((order, name), |(order, name)| (order, name.clone().unwrap_or_default()));
//!             q.origin_partition();
//!             q.agg::<tantu_path::List<(i64, String)>>(agg::list(line))
//!         });
//!     }
//! }
//! assert!(define::<Shop>().is_ok());
//! ```

use crate::batch::{BatchBlock, Source};
use crate::data::{Data, Owned, Record, Register};
use crate::stage::Where;
use crate::table::{JoinDef, JoinKind, RowsOf};
use crate::var::{AnyVar, Var, Vars};

/// A type of a var that may be missing on the optional side of a join.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be the type of a var of an optional side of a join")]
pub trait Missable: Data {
    /// The type of the var that says whether it is there: an `Option`.
    type Opt: Data + ?Sized;
}

macro_rules! missable {
    ($($type:ty: $opt:ty;)*) => {$(
        impl Missable for $type {
            type Opt = Option<$opt>;
        }
    )*};
}

missable! {
    i64: i64;
    u64: u64;
    i32: i32;
    u32: u32;
    f64: f64;
    bool: bool;
    str: String;
    [u8]: Vec<u8>;
}

impl<T: Record + Owned> Missable for T {
    type Opt = Option<T>;
}

/// Vars that may be missing together: a var, or a tuple of such, of types that are not themselves null or an `Option`.
pub trait OptVars: Vars {
    /// The same vars, each an `Option`.
    type Opt: Vars;
}

impl<T: Missable + ?Sized> OptVars for Var<T> {
    type Opt = Var<T::Opt>;
}

impl OptVars for () {
    type Opt = ();
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: OptVars),+> OptVars for ($($name,)+) {
            type Opt = ($($name::Opt,)+);
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }

fn registers<V: Vars>(vars: V) -> Vec<Register> {
    let mut registers = Vec::new();
    vars.list(&mut |var: AnyVar| registers.push(var.register));
    registers
}

impl BatchBlock {
    /// Joins the rows of two sources whose keys are equal: `on` says which vars of either are its keys. The code below
    /// runs once for each pair. To join more than two, join within a [`BatchBlock::source`] and join that.
    #[track_caller]
    pub fn join<L: Vars, R: Vars, K: Vars>(
        &mut self,
        left: Source<L>,
        right: Source<R>,
        on: impl FnOnce(L, R) -> (K, K),
    ) -> (L, R) {
        let (_, left, right) = self.join_as::<_, _, K, L, R>(JoinKind::Inner, left, right, on);
        (left, right)
    }

    /// The same; a row of the left source that has no partner goes on too, with `None` for each var of the right one.
    #[track_caller]
    pub fn left_join<L: Vars, R: OptVars, K: Vars>(
        &mut self,
        left: Source<L>,
        right: Source<R>,
        on: impl FnOnce(L, R) -> (K, K),
    ) -> (L, R::Opt) {
        let (_, left, right) = self.join_as::<_, _, K, L, R::Opt>(JoinKind::Left, left, right, on);
        (left, right)
    }

    /// The same; rows of either source without a partner go on too, with `None` for each var of the other. The keys, of
    /// whichever is there, come first.
    #[track_caller]
    pub fn full_join<L: OptVars, R: OptVars, K: Vars>(
        &mut self,
        left: Source<L>,
        right: Source<R>,
        on: impl FnOnce(L, R) -> (K, K),
    ) -> (K, L::Opt, R::Opt) {
        self.join_as(JoinKind::Full, left, right, on)
    }

    #[track_caller]
    fn join_as<L: Vars, R: Vars, K: Vars, A: Vars, B: Vars>(
        &mut self,
        kind: JoinKind,
        left: Source<L>,
        right: Source<R>,
        on: impl FnOnce(L, R) -> (K, K),
    ) -> (K, A, B) {
        let (left_key, right_key) = on(left.vars, right.vars);
        let (left_keys, right_keys) = (registers(left_key), registers(right_key));
        if left_keys.is_empty() {
            self.block.mistake("no possible joins: the two sources have no keys in common".to_string());
        }
        self.begin_root("join", Where::Everywhere);
        let widths = (registers(left.vars).len(), registers(right.vars).len());
        let left = self.keep_rows(left, left_keys);
        let right = self.keep_rows(right, right_keys);
        self.block.code.joins.push(JoinDef { left, right, kind, widths });
        let join = self.block.code.joins.len() - 1;
        let label = match kind {
            JoinKind::Inner => "join",
            JoinKind::Left => "left_join",
            JoinKind::Full => "full_join",
        };
        self.gather(RowsOf::Join(join), label)
    }
}
