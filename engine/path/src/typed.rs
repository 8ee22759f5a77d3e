//! Paths that rustc checks.
//!
//! [`PathTo<S, T>`] leads from a location of shape `S` to locations of shape `T`. The navigators are methods
//! of [`Navigate`], which whatever a path can start from implements: a path, and a PState's handle in a
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

use crate::arg::Arg;
use crate::field::{Field, RecordLocation};
use crate::func::Func;
use crate::marker::{AllLocation, ListLocation, MapLocation, NullLocation, PStateSchema, PairLocation, SetLocation};
use crate::path::Path;
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

/// What a key of a map location is in Rust.
type KeyOf<L> = <<L as MapLocation>::Key as PStateSchema>::Plain;
/// What a value at a map location's key may be.
type NullableVal<L> = <<L as MapLocation>::Val as PStateSchema>::Nullable;
/// A map of the same shape, present.
type SubMap<L> = crate::marker::Map<<L as MapLocation>::Key, <L as MapLocation>::Val>;
/// A set of the same shape, present.
type SubSet<L> = crate::marker::Set<<L as SetLocation>::Element>;
/// A list of the same shape, present.
type SubList<L> = crate::marker::List<<L as ListLocation>::Element>;
/// What a set element is in Rust.
type ElementOf<L> = <<L as SetLocation>::Element as PStateSchema>::Plain;

/// The typed navigators. The numbers are the rows of the specification of paths.
#[diagnostic::on_unimplemented(message = "`{Self}` is nothing a path can start from")]
pub trait Navigate: Sized {
    /// Shape of where the path starts.
    type Root;
    /// Shape of where it stands now.
    type At: PStateSchema;

    /// The path so far.
    fn into_path_to(self) -> PathTo<Self::Root, Self::At>;

    /// Adds untyped navigators; that they lead to a `T` is the caller's word.
    fn navigate<T>(self, add: impl FnOnce(Path) -> Path) -> PathTo<Self::Root, T> {
        PathTo::from_untyped(add(self.into_path_to().path))
    }

    /// The value under a key; null if there is none (PTH-01).
    fn key<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, NullableVal<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.key(key.into_arg()))
    }

    /// The value under a key, or nowhere (PTH-02).
    fn must<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, <Self::At as MapLocation>::Val>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.must(key.into_arg()))
    }

    /// A field of a record; null if the field or the record is not there (PST-04).
    fn field<F: PStateSchema>(
        self,
        field: Field<<Self::At as RecordLocation>::Record, F>,
    ) -> PathTo<Self::Root, <Self::At as RecordLocation>::At<F>>
    where
        Self::At: RecordLocation,
    {
        self.navigate(|path| path.field(field.id()))
    }

    /// A field of a record, or nowhere (PST-04).
    fn must_field<F: PStateSchema>(self, field: Field<<Self::At as RecordLocation>::Record, F>) -> PathTo<Self::Root, F>
    where
        Self::At: RecordLocation,
    {
        self.navigate(|path| path.must_field(field.id()))
    }

    /// The key itself, if present; replacing it renames (PTH-07).
    fn map_key<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, <Self::At as MapLocation>::Key>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.map_key(key.into_arg()))
    }

    /// Every element of a list or set, every key and value of a map (PTH-05).
    fn all(self) -> PathTo<Self::Root, <Self::At as AllLocation>::Element>
    where
        Self::At: AllLocation,
    {
        self.navigate(Path::all)
    }

    /// Every value (PTH-06).
    fn map_vals(self) -> PathTo<Self::Root, <Self::At as MapLocation>::Val>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::map_vals)
    }

    /// Every key (PTH-06).
    fn map_keys(self) -> PathTo<Self::Root, <Self::At as MapLocation>::Key>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::map_keys)
    }

    /// The sub-map of these keys (PTH-15).
    fn submap<A: PathArg<Vec<KeyOf<Self::At>>>>(self, keys: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.submap(keys.into_arg()))
    }

    /// The sub-map of keys in `[from, to)` (PTH-16).
    fn sorted_map_range<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
        B: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range(from.into_arg(), to.into_arg()))
    }

    /// The sub-map of keys between two, each included or not (PTH-16).
    fn sorted_map_range_with<A, B>(
        self,
        from: A,
        from_included: bool,
        to: B,
        to_included: bool,
    ) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
        B: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_with(from.into_arg(), from_included, to.into_arg(), to_included))
    }

    /// From a key on: the sub-map of at most the first `count_max` keys at or after it (PTH-17).
    fn sorted_map_range_from<A>(self, from: A, count_max: Option<u64>) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_from(from.into_arg(), true, count_max))
    }

    /// Up to a key: the sub-map of at most the `count_max` keys nearest before it (PTH-18).
    fn sorted_map_range_to<A>(self, to: A, count_max: Option<u64>) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_to(to.into_arg(), false, count_max))
    }

    /// The sub-map of the first keys (PTH-19).
    fn sorted_map_range_from_start<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.sorted_map_range_from_start(count.into_arg()))
    }

    /// The sub-map of the last keys (PTH-19).
    fn sorted_map_range_to_end<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.sorted_map_range_to_end(count.into_arg()))
    }

    /// The subset of elements in `[from, to)` (PTH-20).
    fn sorted_set_range<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
        A: PathArg<ElementOf<Self::At>>,
        B: PathArg<ElementOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_set_range(from.into_arg(), to.into_arg()))
    }

    /// A set element, if present (PTH-08).
    fn set_elem<A: PathArg<ElementOf<Self::At>>>(
        self,
        element: A,
    ) -> PathTo<Self::Root, <Self::At as SetLocation>::Element>
    where
        Self::At: SetLocation,
    {
        self.navigate(|path| path.set_elem(element.into_arg()))
    }

    /// The virtual place of a new set element (PTH-09).
    fn void_set_elem(self) -> PathTo<Self::Root, <<Self::At as SetLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: SetLocation,
    {
        self.navigate(Path::void_set_elem)
    }

    /// The element at an index; an error outside (PTH-03).
    fn nth<A: PathArg<u64>>(self, index: A) -> PathTo<Self::Root, <Self::At as ListLocation>::Element>
    where
        Self::At: ListLocation,
    {
        self.navigate(|path| path.nth(index.into_arg()))
    }

    /// The first element of a list or pair, or nowhere (PTH-04).
    fn first(self) -> PathTo<Self::Root, <Self::At as PairLocation>::First>
    where
        Self::At: PairLocation,
    {
        self.navigate(Path::first)
    }

    /// The last element of a list or pair, or nowhere (PTH-04).
    fn last(self) -> PathTo<Self::Root, <Self::At as PairLocation>::Last>
    where
        Self::At: PairLocation,
    {
        self.navigate(Path::last)
    }

    /// The virtual place before the first element (PTH-10).
    fn before_elem(self) -> PathTo<Self::Root, <<Self::At as ListLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::before_elem)
    }

    /// The virtual place after the last element (PTH-10).
    fn after_elem(self) -> PathTo<Self::Root, <<Self::At as ListLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::after_elem)
    }

    /// The sub-list `[from, to)` (PTH-13).
    fn sublist<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
        A: PathArg<u64>,
        B: PathArg<u64>,
    {
        self.navigate(|path| path.sublist(from.into_arg(), to.into_arg()))
    }

    /// Reads null as this value (PTH-26).
    fn null_to_val<A>(self, default: A) -> PathTo<Self::Root, <Self::At as NullLocation>::Present>
    where
        Self::At: NullLocation,
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.null_to_val(default.into_arg()))
    }

    /// Reads null as an empty list (PTH-26).
    fn null_to_list(self) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::null_to_list)
    }

    /// Reads null as an empty set (PTH-26).
    fn null_to_set(self) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
    {
        self.navigate(Path::null_to_set)
    }

    /// Reads null as an empty map (PTH-26).
    fn null_to_map(self) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::null_to_map)
    }

    /// Continues if the value equals the argument (PTH-22).
    fn filter_equal<A: PathArg<<Self::At as PStateSchema>::Plain>>(self, other: A) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_equal(other.into_arg()))
    }

    /// Continues if the value differs from the argument (PTH-22).
    fn filter_not_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_not_equal(other.into_arg()))
    }

    /// Continues if the value is less (PTH-22).
    fn filter_less_than<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_less_than(other.into_arg()))
    }

    /// Continues if the value is less or equal (PTH-22).
    fn filter_less_than_or_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_less_than_or_equal(other.into_arg()))
    }

    /// Continues if the value is greater (PTH-22).
    fn filter_greater_than<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_greater_than(other.into_arg()))
    }

    /// Continues if the value is greater or equal (PTH-22).
    fn filter_greater_than_or_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_greater_than_or_equal(other.into_arg()))
    }

    /// Continues if the closure says so (PTH-21).
    fn filter_pred<F>(self, test: F) -> PathTo<Self::Root, Self::At>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> bool + Send + Sync + 'static,
    {
        self.navigate(|path| path.filter_pred(Func::unary(test)))
    }

    /// Continues if the path selects something from here (PTH-23).
    fn filter_selected<T>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_selected(selected.path))
    }

    /// Continues if the path selects nothing from here (PTH-23).
    fn filter_not_selected<T>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_not_selected(selected.path))
    }

    /// Continues at the closure's answer, a schema's own Rust type (PTH-24).
    fn view<R, F>(self, view: F) -> PathTo<Self::Root, R>
    where
        R: PStateSchema + Encode,
        F: Fn(<Self::At as PStateSchema>::Value) -> R + Send + Sync + 'static,
    {
        self.navigate(|path| path.view(Func::unary(view), vec![]))
    }

    /// If the condition selects something, along the one path, else along the other (PTH-29).
    fn if_path<C, T>(
        self,
        cond: PathTo<Self::At, C>,
        then: PathTo<Self::At, T>,
        otherwise: PathTo<Self::At, T>,
    ) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.if_path(cond.path, then.path, Some(otherwise.path)))
    }

    /// Along each path in turn (PTH-31).
    fn multi_path<T, const N: usize>(self, paths: [PathTo<Self::At, T>; N]) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.multi_path(paths.map(|inner| inner.path)))
    }

    /// Several changes of one location, in turn (PTH-31).
    fn multi<const N: usize>(self, changes: [TransformTo<Self::At>; N]) -> TransformTo<Self::Root> {
        self.change(|path| path.multi_path(changes.map(|inner| inner.path)))
    }

    /// Everything the path selects, as one list (PTH-32).
    fn subselect<T: PStateSchema>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, crate::marker::List<T>> {
        self.navigate(|path| path.subselect(selected.path))
    }

    /// Ends the path with untyped term navigators.
    fn change(self, add: impl FnOnce(Path) -> Path) -> TransformTo<Self::Root> {
        TransformTo::from_untyped(add(self.into_path_to().path))
    }

    /// Replaces by a value (PTH-38).
    fn term_val<A: PathArg<<Self::At as PStateSchema>::Plain>>(self, value: A) -> TransformTo<Self::Root> {
        self.change(|path| path.term_val(value.into_arg()))
    }

    /// Replaces by the closure's answer (PTH-39).
    fn term<F>(self, f: F) -> TransformTo<Self::Root>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> <Self::At as PStateSchema>::Plain + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::unary(f), vec![]))
    }

    /// Replaces by the closure's answer to the value and one more argument (PTH-39).
    fn term_with<X, A, F>(self, argument: A, f: F) -> TransformTo<Self::Root>
    where
        X: Decode,
        A: PathArg<X>,
        F: Fn(<Self::At as PStateSchema>::Value, X) -> <Self::At as PStateSchema>::Plain + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::binary(f), vec![argument.into_arg()]))
    }

    /// Replaces by the closure's answer, or removes if that is `None` (PTH-39).
    fn term_or_void<F>(self, f: F) -> TransformTo<Self::Root>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> Option<<Self::At as PStateSchema>::Plain> + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::unary_or_void(f), vec![]))
    }

    /// Removes (PTH-40).
    fn term_void(self) -> TransformTo<Self::Root> {
        self.change(Path::term_void)
    }
}

impl<S, T: PStateSchema> Navigate for PathTo<S, T> {
    type Root = S;
    type At = T;

    fn into_path_to(self) -> PathTo<S, T> {
        self
    }
}
