//! Aggregation shapes that rustc checks against the schema they are for.
//!
//! ```
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::{List, Map};
//!
//! // user → hour → count
//! let visits: AggOn<Map<String, Map<i64, i64>>> = agg::key("ann", agg::key(7, agg::count()));
//! let totals: AggOn<Map<String, f64>> = agg::key("ann", agg::sum(1.5)).and(agg::key("all", agg::sum(1.5)));
//! // count, sum and the last three
//! let stats: AggOn<Map<String, (u64, i64, List<i64>)>> =
//!     agg::key("ann", agg::tuple((agg::count(), agg::sum(5), agg::top_monotonic(3).of(5))));
//! let gone: AggOn<Map<String, Map<i64, i64>>> = agg::key("ann", agg::key(7, agg::void()));
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! let wrong: AggOn<Map<String, String>> = agg::key("ann", agg::count());
//! ```
//!
//! ```compile_fail
//! use tantu_path::agg::{self, AggOn};
//! use tantu_path::Map;
//! let wrong: AggOn<Map<i64, i64>> = agg::key("ann", agg::count());
//! ```

use super::AggShape;
use super::fold::Fold;
use super::leaf::Leaf;
use crate::marker::{List, Map, PStateSchema};
use crate::marker_sub::{Sub, Untracked};
use crate::typed::PathArg;
use std::fmt;
use std::marker::PhantomData;

/// An aggregation into a location of shape `S`.
pub struct AggOn<S> {
    shape: AggShape,
    types: PhantomData<fn() -> S>,
}

/// An aggregator, or a compound shape of several, whose result is of shape `S`: what a batch or a [`Fold`] gives out.
pub struct AggOut<S> {
    shape: AggShape,
    types: PhantomData<fn() -> S>,
}

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

impl<S: PStateSchema> AggOut<S> {
    /// Gives a type to an aggregator's result; that it is right is the caller's word.
    pub fn from_untyped(leaf: Leaf) -> AggOut<S> {
        AggOut { shape: AggShape::Leaf(leaf), types: PhantomData }
    }

    /// The untyped shape.
    pub fn shape(&self) -> &AggShape {
        &self.shape
    }

    /// The untyped aggregator.
    ///
    /// # Panics
    /// If it is not one aggregator but a compound shape.
    #[track_caller]
    pub fn leaf(&self) -> &Leaf {
        match &self.shape {
            AggShape::Leaf(leaf) => leaf,
            AggShape::Map(_) | AggShape::List(_) => panic!("a compound shape is several aggregators, not one"),
        }
    }

    /// This aggregator over all rows.
    ///
    /// # Panics
    /// If it is not one aggregator but a compound shape.
    #[track_caller]
    pub fn fold_of_all(&self) -> Fold {
        Fold::of_all(vec![(self.leaf().clone(), S::schema())])
    }

    /// This aggregator by group.
    ///
    /// # Panics
    /// If it is not one aggregator but a compound shape.
    #[track_caller]
    pub fn fold_by_group(&self) -> Fold {
        Fold::by_group(vec![(self.leaf().clone(), S::schema())])
    }
}

impl<S: PStateSchema> From<AggOn<S>> for AggOut<S> {
    fn from(on: AggOn<S>) -> AggOut<S> {
        AggOut { shape: on.shape, types: PhantomData }
    }
}

impl<K, V> AggOn<Map<K, V>> {
    /// This, then another aggregation into the same map.
    ///
    /// # Panics
    /// If one of them is not made of keys but is an aggregator of whole maps.
    #[track_caller]
    pub fn and(self, other: AggOn<Map<K, V>>) -> AggOn<Map<K, V>> {
        let mut arms = Vec::new();
        for shape in [self.shape, other.shape] {
            match shape {
                AggShape::Map(more) => arms.extend(more),
                AggShape::List(_) | AggShape::Leaf(_) => panic!("`and` joins aggregations under keys of a map"),
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

impl<S> fmt::Debug for AggOut<S> {
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

/// Into a subindexed structure, [`Sub`]: under a key, one element is read and written. An aggregator of the whole, as
/// [`set`](super::set), reads it whole.
///
/// ```
/// use tantu_path::agg::{self, AggOn};
/// use tantu_path::{Map, Sub};
/// // user → hour → count, any number of hours
/// let visits: AggOn<Map<String, Sub<Map<i64, i64>>>> = agg::key("ann", agg::sub(agg::key(7, agg::count())));
/// ```
pub fn sub<C>(shape: AggOn<C>) -> AggOn<Sub<C>> {
    AggOn::from_untyped(shape.shape)
}

/// [`sub`] for a structure that does not know its size, [`Untracked`].
pub fn untracked<C>(shape: AggOn<C>) -> AggOn<Untracked<C>> {
    AggOn::from_untyped(shape.shape)
}

/// At each place of a tuple its own.
pub fn tuple<S: AggShapes>(parts: S) -> AggOn<S::Tuple> {
    AggOn::from_untyped(AggShape::List(parts.into_shapes()))
}

/// At each element of a list, which has exactly so many, its own.
pub fn elements<T: PStateSchema>(parts: impl IntoIterator<Item = AggOn<T>>) -> AggOn<List<T>> {
    AggOn::from_untyped(AggShape::List(parts.into_iter().map(AggOn::into_untyped).collect()))
}

/// A tuple of shapes.
pub trait AggShapes {
    /// The schema they are for.
    type Tuple;
    #[doc(hidden)]
    fn into_shapes(self) -> Vec<AggShape>;
}

macro_rules! shapes {
    ($($part:ident)+) => {
        impl<$($part: PStateSchema),+> AggShapes for ($(AggOn<$part>,)+) {
            type Tuple = ($($part,)+);

            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn into_shapes(self) -> Vec<AggShape> {
                let ($($part,)+) = self;
                vec![$($part.into_untyped()),+]
            }
        }
    };
}

shapes!(A);
shapes!(A B);
shapes!(A B C);
shapes!(A B C D);
shapes!(A B C D E);
shapes!(A B C D E F);
