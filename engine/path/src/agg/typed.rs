//! Aggregation shapes that rustc checks against the schema they are for.
//!
//! ```
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//!
//! // user → hour → count
//! let visits: AggOn<Map<String, Map<i64, i64>>> = agg::key("ann", agg::key(7, agg::count()));
//! let totals: AggOn<Map<String, f64>> = agg::key("ann", agg::sum(1.5)).and(agg::key("all", agg::sum(1.5)));
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! let wrong: AggOn<Map<String, String>> = agg::key("ann", agg::count());
//! ```

use super::AggShape;
use crate::marker::{Map, PStateSchema};
use crate::typed::PathArg;
use std::fmt;
use std::marker::PhantomData;

/// An aggregation into a location of shape `S`.
pub struct AggOn<S> {
    shape: AggShape,
    types: PhantomData<fn() -> S>,
}

/// A leaf that can hold a count.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot hold a count", note = "use i64, u64, i32 or u32")]
pub trait Counted: PStateSchema {}

/// A leaf that can hold a sum.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot hold a sum", note = "use i64, u64, i32, u32 or f64")]
pub trait Summed: PStateSchema {}

macro_rules! leaves {
    ($trait:ident: $($leaf:ty),*) => {$(impl $trait for $leaf {})*};
}

leaves!(Counted: i64, u64, i32, u32);
leaves!(Summed: i64, u64, i32, u32, f64);

impl<S> AggOn<S> {
    /// Gives a type to a shape; that it is right is the caller's word.
    pub fn from_untyped(shape: AggShape) -> AggOn<S> {
        AggOn { shape, types: PhantomData }
    }

    /// The untyped shape.
    pub fn shape(&self) -> &AggShape {
        &self.shape
    }

    /// The untyped shape.
    pub fn into_untyped(self) -> AggShape {
        self.shape
    }
}

impl<K, V> AggOn<Map<K, V>> {
    /// This, then another aggregation into the same map.
    pub fn and(self, other: AggOn<Map<K, V>>) -> AggOn<Map<K, V>> {
        let mut arms = Vec::new();
        for shape in [self.shape, other.shape] {
            match shape {
                AggShape::Map(more) => arms.extend(more),
                AggShape::List(_) | AggShape::Leaf(_) => unreachable!("a typed shape on a map goes to its keys"),
            }
        }
        AggOn::from_untyped(AggShape::Map(arms))
    }
}

impl<S> fmt::Debug for AggOn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shape, f)
    }
}

/// Under one key of a map.
pub fn key<K, V, A>(key: A, shape: AggOn<V>) -> AggOn<Map<K, V>>
where
    K: PStateSchema,
    V: PStateSchema,
    A: PathArg<K::Plain>,
{
    AggOn::from_untyped(AggShape::key(key.into_arg(), shape.shape))
}

/// How many times this was aggregated.
pub fn count<T: Counted>() -> AggOn<T> {
    AggOn::from_untyped(AggShape::count())
}

/// The sum of the arguments.
pub fn sum<T: Summed, A: PathArg<T::Plain>>(argument: A) -> AggOn<T> {
    AggOn::from_untyped(AggShape::sum(argument.into_arg()))
}
