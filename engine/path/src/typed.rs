//! Paths that rustc checks.
//!
//! [`PathTo<S, T>`] leads from a location of shape `S` to locations of shape `T`. The navigators are methods
//! of [`Navigate`](crate::Navigate), which whatever a path can start from implements: a path, and a PState's handle in a
//! dataflow. Underneath, the same untyped [`Path`] is recorded.
//!
//! ```
//! use tantu_path::{List, Map, Navigate, NoArgs, PathTo, TransformTo, path, select, transform};
//! use tantu_base::value::Value;
//!
//! type Visits = Map<String, Map<i64, i64>>; // user → hour → count
//!
//! // Reading: a key navigates to a value that may be null, `must` to one that is there.
//! let at_hour: PathTo<Visits, Option<i64>> = path::<Visits>().key("ann").key(7);
//! let counts: PathTo<Visits, i64> = path().must("ann").sorted_map_range(5, 9).map_vals();
//! let pairs: PathTo<Visits, (i64, i64)> = path().key("ann").all();
//!
//! // Changing: a path that ends in a term navigator.
//! let bump: TransformTo<Visits> = path::<Visits>().key("ann").key(7).null_to_val(0).term(|n| n + 1);
//!
//! let after = transform(bump.path(), Value::Null, &NoArgs)?;
//! let found = select(at_hour.path(), &after, &NoArgs)?;
//! assert_eq!(at_hour.read(&found[0])?, Some(1i64));
//! assert_eq!(pairs.read(&select(pairs.path(), &after, &NoArgs)?[0])?, (7, 1));
//! assert_eq!(select(counts.path(), &after, &NoArgs)?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What does not fit does not compile:
//!
//! ```compile_fail
//! use tantu_path::{Map, Navigate, path};
//! let wrong = path::<Map<String, i64>>().key(5);
//! ```
//!
//! ```compile_fail
//! use tantu_path::{Map, Navigate, path};
//! let wrong = path::<Map<String, i64>>().key("ann").key("bob");
//! ```

use crate::arg::{Arg, NoArgs};
use crate::error::PathError;
use crate::marker::{MapLocation, PStateSchema};
use crate::path::Path;
use crate::walk::{select, transform};
use std::fmt;
use std::marker::PhantomData;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, Value, decoded, encoded};

/// A path from locations of shape `S` to locations of shape `T`.
pub struct PathTo<S, T> {
    path: Path,
    types: PhantomData<fn() -> (S, T)>,
}

/// A transform path on locations of shape `S`.
pub struct TransformTo<S> {
    path: Path,
    types: PhantomData<fn() -> S>,
}

/// The path that stays where it starts.
pub fn path<S: PStateSchema>() -> PathTo<S, S> {
    PathTo::from_untyped(Path::new())
}

impl<S, T> PathTo<S, T> {
    /// Gives types to a path; that they are right is the caller's word.
    pub fn from_untyped(path: Path) -> PathTo<S, T> {
        PathTo { path, types: PhantomData }
    }

    /// The untyped path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The untyped path.
    pub fn into_untyped(self) -> Path {
        self.path
    }
}

impl<S, T: PStateSchema> PathTo<S, T> {
    /// A found value as its Rust type.
    pub fn read(&self, found: &Value) -> Result<T::Value, DecodeError> {
        decoded(&encoded(found))
    }

    /// The next found value of several, in value form, as its Rust type.
    pub fn read_next(&self, reader: &mut Reader<'_>) -> Result<T::Value, DecodeError> {
        T::Value::decode(reader)
    }
}

impl<S> TransformTo<S> {
    /// Gives a type to a transform path; that it is right is the caller's word.
    pub fn from_untyped(path: Path) -> TransformTo<S> {
        TransformTo { path, types: PhantomData }
    }

    /// The untyped path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The untyped path.
    pub fn into_untyped(self) -> Path {
        self.path
    }
}

impl<S, T> Clone for PathTo<S, T> {
    fn clone(&self) -> Self {
        PathTo::from_untyped(self.path.clone())
    }
}

impl<S> Clone for TransformTo<S> {
    fn clone(&self) -> Self {
        TransformTo::from_untyped(self.path.clone())
    }
}

impl<S, T> fmt::Debug for PathTo<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathTo({})", self.path)
    }
}

impl<S> fmt::Debug for TransformTo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransformTo({})", self.path)
    }
}

/// Something that can be the argument of a navigator where a `T` is wanted: a constant of that type, or a
/// variable of a dataflow that holds one.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot stand where the path needs a `{T}`")]
pub trait PathArg<T: ?Sized> {
    /// The untyped argument.
    fn into_arg(self) -> Arg;
}

impl<T: Encode> PathArg<T> for T {
    fn into_arg(self) -> Arg {
        Arg::constant(&self)
    }
}

impl<T: Encode> PathArg<T> for &T {
    fn into_arg(self) -> Arg {
        Arg::constant(self)
    }
}

impl PathArg<String> for &str {
    fn into_arg(self) -> Arg {
        Arg::Const(Value::Str(self.to_owned()))
    }
}

impl PathArg<Vec<u8>> for &[u8] {
    fn into_arg(self) -> Arg {
        Arg::Const(Value::Bytes(self.to_vec()))
    }
}

impl<const N: usize> PathArg<Vec<u8>> for &[u8; N] {
    fn into_arg(self) -> Arg {
        Arg::Const(Value::Bytes(self.to_vec()))
    }
}

/// Up to seven extra arguments of a closure, as a tuple; `X` is the tuple of what the closure gets.
pub trait ExtraArgs<X> {
    /// The untyped arguments.
    fn into_args(self) -> Vec<Arg>;
}

macro_rules! extra_args {
    ($($arg:ident $to:ident $index:tt),+) => {
        impl<$($to, $arg: PathArg<$to>),+> ExtraArgs<($($to,)+)> for ($($arg,)+) {
            fn into_args(self) -> Vec<Arg> {
                vec![$(self.$index.into_arg()),+]
            }
        }
    };
}

extra_args!(A X 0);
extra_args!(A X 0, B Y 1);
extra_args!(A X 0, B Y 1, C Z 2);
extra_args!(A X 0, B Y 1, C Z 2, D W 3);
extra_args!(A X 0, B Y 1, C Z 2, D W 3, E V 4);
extra_args!(A X 0, B Y 1, C Z 2, D W 3, E V 4, F U 5);
extra_args!(A X 0, B Y 1, C Z 2, D W 3, E V 4, F U 5, G T 6);

/// Keys one inside the other, as a tuple of up to four, from a location of shape `L`.
#[diagnostic::on_unimplemented(message = "these keys do not lead through the nested maps of `{L}`")]
pub trait KeyPath<L> {
    /// Shape of where they lead.
    type To;

    /// The untyped keys.
    fn into_args(self) -> Vec<Arg>;
}

/// What a key of a map location is in Rust.
pub(crate) type KeyOf<L> = <<L as MapLocation>::Key as PStateSchema>::Plain;
/// What a value at a map location's key may be.
pub(crate) type NullableVal<L> = <<L as MapLocation>::Val as PStateSchema>::Nullable;

impl<L: MapLocation, A: PathArg<KeyOf<L>>> KeyPath<L> for (A,) {
    type To = NullableVal<L>;

    fn into_args(self) -> Vec<Arg> {
        vec![self.0.into_arg()]
    }
}

macro_rules! key_path {
    ($first:ident, $($key:ident $index:tt),+) => {
        impl<L, $first, $($key),+> KeyPath<L> for ($first, $($key),+)
        where
            L: MapLocation,
            $first: PathArg<KeyOf<L>>,
            ($($key,)+): KeyPath<NullableVal<L>>,
        {
            type To = <($($key,)+) as KeyPath<NullableVal<L>>>::To;

            fn into_args(self) -> Vec<Arg> {
                let mut args = vec![self.0.into_arg()];
                args.extend(($(self.$index,)+).into_args());
                args
            }
        }
    };
}

key_path!(A, B 1);
key_path!(A, B 1, C 2);
key_path!(A, B 1, C 2, D 3);

/// A path that is only asked whether it leads anywhere: any [`PathTo`], by `into()`.
pub struct Condition<S> {
    path: Path,
    types: PhantomData<fn() -> S>,
}

impl<S> Condition<S> {
    pub(crate) fn into_untyped(self) -> Path {
        self.path
    }
}

/// A condition and the path to go along if it holds.
pub type Arm<S, T> = (Condition<S>, PathTo<S, T>);
/// A condition and the change to make if it holds.
pub type ChangeArm<S> = (Condition<S>, TransformTo<S>);

impl<S, T> From<PathTo<S, T>> for Condition<S> {
    fn from(path: PathTo<S, T>) -> Condition<S> {
        Condition { path: path.path, types: PhantomData }
    }
}

impl<S> fmt::Debug for Condition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.path)
    }
}

/// Every value a path leads to in a value of one's own (PTH-48).
///
/// ```
/// use std::collections::BTreeMap;
/// use tantu_path::{List, Map, Navigate, path, select_value, transform_value};
///
/// type Scores = Map<String, List<i64>>;
///
/// let scores = BTreeMap::from([("ann".to_string(), vec![3, 9]), ("bob".to_string(), vec![5])]);
/// let good = path::<Scores>().map_vals().all().filter_greater_than(4);
/// assert_eq!(select_value(&scores, &good)?, [9, 5]);
///
/// let halved = path::<Scores>().map_vals().all().term(|score| score / 2);
/// assert_eq!(transform_value(scores, &halved)?["ann"], [1, 4]);
/// # Ok::<(), tantu_path::PathError>(())
/// ```
///
/// # Errors
/// [`PathError`], also if what is found is not of the type the path promises.
pub fn select_value<S: PStateSchema, T: PStateSchema>(
    value: &S::Plain,
    path: &PathTo<S, T>,
) -> Result<Vec<T::Value>, PathError> {
    let found = select(&path.path, &value_of(value)?, &NoArgs)?;
    found.iter().map(|found| path.read(found).map_err(misread)).collect()
}

/// What a transform path makes of a value of one's own; see [`select_value`].
///
/// # Errors
/// [`PathError`], also if what comes of it is not of the value's type.
pub fn transform_value<S: PStateSchema>(value: S::Plain, path: &TransformTo<S>) -> Result<S::Plain, PathError> {
    let made = transform(&path.path, value_of(&value)?, &NoArgs)?;
    decoded(&encoded(&made)).map_err(misread)
}

fn value_of<T: Encode>(value: &T) -> Result<Value, PathError> {
    decoded(&encoded(value)).map_err(misread)
}

fn misread(source: DecodeError) -> PathError {
    PathError::Bytes { navigator: "path", source }
}
