//! The aggregators as typed builders.
//!
//! ```
//! use std::collections::BTreeMap;
//! use tantu_path::agg::{self, AggOn, AggOut};
//! use tantu_path::{List, Map, Set};
//!
//! let best: AggOn<Map<String, i64>> = agg::key("ann", agg::max(5));
//! let seen: AggOn<Map<String, Set<i64>>> = agg::key("ann", agg::set(5));
//! let often: AggOn<Map<String, u64>> = agg::multi_set("ann");
//! let put: AggOn<Map<String, i64>> = agg::map("ann", 5);
//! let merged: AggOn<Map<String, i64>> = agg::merge(BTreeMap::from([("ann".to_owned(), 5)]));
//! let all: AggOn<Map<String, List<i64>>> = agg::key("ann", agg::list(5));
//! let mean: AggOut<Option<f64>> = agg::average(5);
//! // The three words that came most often, with a count that only grows.
//! let top: AggOn<List<(String, i64)>> =
//!     agg::top_monotonic::<(String, i64)>(3).id(|(word, _)| word).sort_val(|(_, n)| n).of(("a".to_owned(), 5));
//! // Closures: a combiner of two states, an accumulator of a state and up to seven arguments.
//! let product: AggOn<Map<String, i64>> = agg::key("ann", agg::combiner(1i64, |a, b| a * b).of(5));
//! let paid: AggOn<Map<String, i64>> =
//!     agg::key("ann", agg::accumulator(0i64, |sum, (n, price): (i64, i64)| sum + n * price).of((3, 5)));
//! ```
//!
//! What a location cannot hold does not compile:
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::{Map, Set};
//! let wrong: AggOn<Map<String, Set<i64>>> = agg::key("ann", agg::set("five"));
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! let wrong: AggOn<Map<String, i64>> = agg::key("ann", agg::and(true));
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! // An average needs all rows: it is the result of a batch, not the state of a PState.
//! let wrong: AggOn<Map<String, f64>> = agg::key("ann", agg::average(5));
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! let wrong: AggOn<Map<String, i64>> =
//!     agg::key("ann", agg::accumulator(0i64, |sum, (n, price): (i64, i64)| sum + n * price).of((3,)));
//! ```

use super::custom::{Arguments, Custom};
use super::leaf::Leaf;
use super::top::{Limit, TopMonotonic};
use super::typed::{AggOn, AggOut};
use super::{AggShape, Aggregator};
use crate::arg::Arg;
use crate::func::Func;
use crate::marker::{List, Map, PStateSchema, Set};
use crate::typed::PathArg;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use tantu_base::value::{Decode, Encode, Value};

/// A leaf that can hold a count.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot hold a count", note = "use i64, u64, i32 or u32")]
pub trait Counted: PStateSchema {}

/// A leaf that can hold a sum.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot hold a sum", note = "use i64, u64, i32, u32 or f64")]
pub trait Summed: PStateSchema {}

/// A leaf that can hold the outcome of `and` and `or`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold an outcome of `and` or `or`",
    note = "use bool or Value"
)]
pub trait Truthy: PStateSchema {}

macro_rules! leaves {
    ($trait:ident: $($leaf:ty),*) => {$(impl $trait for $leaf {})*};
}

leaves!(Counted: i64, u64, i32, u32);
leaves!(Summed: i64, u64, i32, u32, f64);
leaves!(Truthy: bool, Value);
impl<T: Counted> Counted for Option<T> {}
impl<T: Summed> Summed for Option<T> {}
impl Truthy for Option<bool> {}

fn leaf<S>(aggregator: Aggregator, args: Vec<Arg>) -> AggOn<S> {
    AggOn::from_untyped(AggShape::leaf(aggregator, args))
}

/// How many times this was aggregated.
pub fn count<T: Counted>() -> AggOn<T> {
    leaf(Aggregator::Count, vec![])
}

/// The sum of the arguments.
pub fn sum<T: Summed, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::Sum, vec![argument.into_arg()])
}

/// The greatest argument, in the order of values.
pub fn max<T: PStateSchema, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::Max, vec![argument.into_arg()])
}

/// The least argument, in the order of values.
pub fn min<T: PStateSchema, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::Min, vec![argument.into_arg()])
}

/// Starts true; the first falsy argument, or the last one (AGG-16).
pub fn and<T: Truthy, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::And, vec![argument.into_arg()])
}

/// Starts false; the first truthy argument, or the last one (AGG-16).
pub fn or<T: Truthy, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::Or, vec![argument.into_arg()])
}

/// The first argument.
pub fn first<T: PStateSchema, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::First, vec![argument.into_arg()])
}

/// The last argument.
pub fn last<T: PStateSchema, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    leaf(Aggregator::Last, vec![argument.into_arg()])
}

/// The set of the arguments.
pub fn set<T: PStateSchema, A: PathArg<T::Plain>>(element: A) -> AggOn<Set<T>> {
    leaf(Aggregator::Set, vec![element.into_arg()])
}

/// Removes the arguments from a set.
pub fn set_remove<T: PStateSchema, A: PathArg<T::Plain>>(element: A) -> AggOn<Set<T>> {
    leaf(Aggregator::SetRemove, vec![element.into_arg()])
}

/// How often each argument came.
pub fn multi_set<T: PStateSchema, C: Counted, A: PathArg<T::Plain>>(element: A) -> AggOn<Map<T, C>> {
    leaf(Aggregator::MultiSet, vec![element.into_arg()])
}

/// The last value under each key.
pub fn map<K, V, A, B>(key: A, value: B) -> AggOn<Map<K, V>>
where
    K: PStateSchema,
    V: PStateSchema,
    A: PathArg<K::Plain>,
    B: PathArg<V::Plain>,
{
    leaf(Aggregator::Map, vec![key.into_arg(), value.into_arg()])
}

/// The arguments as they came.
pub fn list<T: PStateSchema, A: PathArg<T::Plain>>(element: A) -> AggOn<List<T>> {
    leaf(Aggregator::List, vec![element.into_arg()])
}

/// The entries of all the maps.
pub fn merge<K, V, A>(entries: A) -> AggOn<Map<K, V>>
where
    K: PStateSchema,
    V: PStateSchema,
    A: PathArg<BTreeMap<K::Value, V::Value>>,
{
    leaf(Aggregator::Merge, vec![entries.into_arg()])
}

/// Removes what is there: the entry of a map under whose key it stands, or the element of a list (AGG-15).
pub fn void<T: PStateSchema>() -> AggOn<T> {
    leaf(Aggregator::Void, vec![])
}

/// The average of the arguments, as an output of a batch; null if there were none.
pub fn average(argument: impl NumberArg) -> AggOut<Option<f64>> {
    AggOut::from_untyped(Leaf::new(Aggregator::Average, vec![argument.into_any_arg()]))
}

/// An argument whose type does not matter to what takes it: a constant, or a var.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument",
    note = "use a var, a number, `bool`, `&str` or `Value`"
)]
pub trait AnyArg {
    /// The untyped argument.
    fn into_any_arg(self) -> Arg;
}

/// An argument that is a number, or a var of one, perhaps of an `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no number",
    note = "use i64, u64, i32, u32 or f64, or a var of one"
)]
pub trait NumberArg: AnyArg {}

/// A tuple of arguments of any types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tuple of arguments",
    note = "one argument in parentheses is `(argument,)`"
)]
pub trait AnyArgs {
    /// The untyped arguments.
    fn into_any_args(self) -> Vec<Arg>;
}

macro_rules! any_arg {
    ($($type:ty),*) => {$(
        impl AnyArg for $type {
            fn into_any_arg(self) -> Arg {
                Arg::constant(&self)
            }
        }
    )*};
}

any_arg!(i64, u64, i32, u32, f64, bool, &str, Value);

macro_rules! number_arg {
    ($($type:ty),*) => {$(
        impl NumberArg for $type {}
    )*};
}

number_arg!(i64, u64, i32, u32, f64);

macro_rules! any_args {
    ($($part:ident)+) => {
        impl<$($part: AnyArg),+> AnyArgs for ($($part,)+) {
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn into_any_args(self) -> Vec<Arg> {
                let ($($part,)+) = self;
                vec![$($part.into_any_arg()),+]
            }
        }
    };
}

any_args!(A);
any_args!(A B);
any_args!(A B C);
any_args!(A B C D);
any_args!(A B C D E);
any_args!(A B C D E F);

/// The `count` greatest values, one per id (AGG-13). In a PState the list may hold up to twice as many less one,
/// unsorted and with ids repeated.
///
/// # Panics
/// If `count` is 0.
#[track_caller]
pub fn top_monotonic<T: PStateSchema>(count: usize) -> Top<T> {
    Top { top: TopMonotonic::new(count), types: PhantomData }
}

/// [`top_monotonic`] before it knows its argument.
pub struct Top<T> {
    top: TopMonotonic,
    types: PhantomData<fn() -> T>,
}

impl<T: PStateSchema> Top<T> {
    /// What of a value says whose it is; by default the value itself.
    pub fn id<R: Encode>(self, id: impl Fn(T::Plain) -> R + Send + Sync + 'static) -> Top<T> {
        Top { top: self.top.id(Func::unary(id)), types: PhantomData }
    }

    /// What of a value it is sorted by; by default the value itself.
    pub fn sort_val<R: Encode>(self, sort_val: impl Fn(T::Plain) -> R + Send + Sync + 'static) -> Top<T> {
        Top { top: self.top.sort_val(Func::unary(sort_val)), types: PhantomData }
    }

    /// Keeps the least instead of the greatest.
    pub fn ascending(self) -> Top<T> {
        Top { top: self.top.ascending(), types: PhantomData }
    }

    /// With its argument.
    pub fn of<A: PathArg<T::Plain>>(self, argument: A) -> AggOn<List<T>> {
        leaf(Aggregator::TopMonotonic(self.top), vec![argument.into_arg()])
    }
}

/// Some of the rows, as an output of a batch (AGG-14): without [`Limited::sort`] the first `count` seen.
///
/// ```
/// use tantu_path::agg::{self, AggOut};
/// use tantu_path::List;
/// // The three words with the highest counts, numbered; the counts are not kept.
/// let top: AggOut<List<(String, i64)>> = agg::limit(3).sort((5,)).reverse().of_indexed(("a",));
/// ```
pub fn limit(count: usize) -> Limited {
    Limited { count, sort: Vec::new(), reverse: false }
}

/// [`limit`] before it knows what it keeps.
#[derive(Debug)]
pub struct Limited {
    count: usize,
    sort: Vec<Arg>,
    reverse: bool,
}

impl Limited {
    /// Keeps the first in the order of these, which need not be kept themselves.
    pub fn sort(mut self, by: impl AnyArgs) -> Limited {
        self.sort = by.into_any_args();
        self
    }

    /// Keeps the last in the order, the last first.
    pub fn reverse(mut self) -> Limited {
        self.reverse = true;
        self
    }

    fn leaf(self, kept: Vec<Arg>, index: bool) -> Leaf {
        let mut limit = Limit::new(self.count, kept.len()).sort(self.sort.len());
        if self.reverse {
            limit = limit.reverse();
        }
        if index {
            limit = limit.index();
        }
        Leaf::new(Aggregator::Limit(limit), self.sort.into_iter().chain(kept).collect())
    }

    /// With what it keeps of a row.
    pub fn of<R: PStateSchema, A: LeafArgs<R>>(self, kept: A) -> AggOut<List<R>> {
        AggOut::from_untyped(self.leaf(kept.into_args(), false))
    }

    /// With what it keeps of a row; the number of the row, from 0, is added to it.
    pub fn of_indexed<R: Indexed, A: LeafArgs<R::Kept>>(self, kept: A) -> AggOut<List<R>> {
        AggOut::from_untyped(self.leaf(kept.into_args(), true))
    }
}

/// A tuple whose last part is a row's number.
pub trait Indexed: PStateSchema {
    /// The tuple without the number.
    type Kept;
}

macro_rules! with_index {
    ($($part:ident)+) => {
        impl<$($part),+> Indexed for ($($part,)+ i64)
        where
            Self: PStateSchema,
        {
            type Kept = ($($part,)+);
        }
    };
}

with_index!(A);
with_index!(A B);
with_index!(A B C);
with_index!(A B C D);
with_index!(A B C D E);

/// A combiner from a closure: `combine` is associative, `zero` its identity, and it should not matter which state comes
/// first unless rows come in an order.
pub fn combiner<T, F>(zero: T, combine: F) -> Combiner<T>
where
    T: Encode + Decode,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    Combiner { custom: Custom::combiner(&zero, combine), types: PhantomData }
}

/// [`combiner`] before it knows its argument.
pub struct Combiner<T> {
    custom: Custom,
    types: PhantomData<fn() -> T>,
}

impl<T: Encode + Decode> Combiner<T> {
    /// Says that states grow with what they take in (AGG-10).
    pub fn flush_required(self) -> Combiner<T> {
        Combiner { custom: self.custom.flush_required(), types: PhantomData }
    }

    /// With its argument, a state itself.
    pub fn of<S: PStateSchema<Plain = T>, A: PathArg<T>>(self, argument: A) -> AggOn<S> {
        leaf(Aggregator::Custom(self.custom), vec![argument.into_arg()])
    }
}

/// An accumulator from a closure of a state and a tuple of up to seven arguments.
pub fn accumulator<T, A, F>(init: T, step: F) -> Accumulator<T, A>
where
    T: Encode + Decode,
    A: Arguments,
    F: Fn(T, A) -> T + Send + Sync + 'static,
{
    Accumulator { custom: Custom::accumulator(&init, step), types: PhantomData }
}

/// [`accumulator`] before it knows its arguments.
pub struct Accumulator<T, A> {
    custom: Custom,
    types: PhantomData<fn() -> (T, A)>,
}

impl<T: Encode + Decode, A: Arguments> Accumulator<T, A> {
    /// With its arguments.
    pub fn of<S: PStateSchema<Plain = T>, P: LeafArgs<A>>(self, args: P) -> AggOn<S> {
        leaf(Aggregator::Custom(self.custom), args.into_args())
    }
}

/// A tuple of constants and vars, where a tuple `A` is wanted.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot stand where the aggregator takes `{A}`")]
pub trait LeafArgs<A> {
    #[doc(hidden)]
    fn into_args(self) -> Vec<Arg>;
}

impl LeafArgs<()> for () {
    fn into_args(self) -> Vec<Arg> {
        vec![]
    }
}

macro_rules! leaf_args {
    ($($type:ident $part:ident)+) => {
        impl<$($type, $part: PathArg<$type>),+> LeafArgs<($($type,)+)> for ($($part,)+) {
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn into_args(self) -> Vec<Arg> {
                let ($($part,)+) = self;
                vec![$($part.into_arg()),+]
            }
        }
    };
}

leaf_args!(A P);
leaf_args!(A P B Q);
leaf_args!(A P B Q C R);
leaf_args!(A P B Q C R D S);
leaf_args!(A P B Q C R D S E T);
leaf_args!(A P B Q C R D S E T F U);
leaf_args!(A P B Q C R D S E T F U G V);

macro_rules! debug {
    ($($name:ident<$($of:ident),+>.$field:ident)*) => {$(
        impl<$($of),+> std::fmt::Debug for $name<$($of),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.$field, f)
            }
        }
    )*};
}

debug! { Top<T>.top Combiner<T>.custom Accumulator<T, A>.custom }
