//! Schemas as Rust types, so that rustc checks what a path does.
//!
//! A leaf is the Rust type itself; [`Map`], [`List`] and [`Set`] are zero-sized markers that nest at will:
//! `Map<String, Map<i64, List<String>>>`. `Option<T>` is a location that may hold null: every location may
//! (PST-07), but only where the type says so does a select decode to an `Option`.

use crate::schema::Schema;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use tantu_base::value::{Decode, Encode, Uuid, Value};

/// A type that is a schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a PState schema",
    note = "use i64, u64, i32, u32, f64, bool, String, Vec<u8>, Uuid, Value, a tuple of these, Map<K, V>, List<T>, Set<T>, or a type of yours with `#[derive(Record)]`"
)]
pub trait PStateSchema: 'static {
    /// What reading a location of this shape gives.
    type Value: Encode + Decode + Send + 'static;
    /// What is written there: the value, never null.
    type Plain: Encode + Decode + Send + 'static;
    /// The same shape where null is to be expected.
    type Nullable: PStateSchema<Plain = Self::Plain>;

    /// The untyped schema.
    fn schema() -> Schema;
}

/// A map schema: sorted keys, each with a value of shape `V`.
pub struct Map<K, V>(PhantomData<fn() -> (K, V)>);
/// A list schema.
pub struct List<T>(PhantomData<fn() -> T>);
/// A set schema: sorted distinct elements.
pub struct Set<T>(PhantomData<fn() -> T>);

/// A schema whose partition is one value, not entries: what may have an initial value (PST-16).
#[diagnostic::on_unimplemented(
    message = "a PState of `{Self}` cannot have an initial value",
    label = "its partition is not one value",
    note = "a partition of a map starts empty; give a value where a key is missing with `null_to_val`"
)]
pub trait OneValue: PStateSchema {}

macro_rules! leaf {
    ($($rust:ty => $schema:ident),* $(,)?) => {$(
        impl PStateSchema for $rust {
            type Value = $rust;
            type Plain = $rust;
            type Nullable = Option<$rust>;

            fn schema() -> Schema {
                Schema::$schema
            }
        }

        impl OneValue for $rust {}
    )*};
}

leaf! {
    bool => Bool, i64 => I64, u64 => U64, i32 => I32, u32 => U32, f64 => F64,
    String => Str, Vec<u8> => Bytes, Uuid => Uuid, Value => Any,
}

impl<T: OneValue> OneValue for Option<T> {}

impl<T: PStateSchema> PStateSchema for Option<T> {
    type Value = Option<T::Plain>;
    type Plain = T::Plain;
    type Nullable = Option<T>;

    fn schema() -> Schema {
        T::schema()
    }
}

impl<K, V> PStateSchema for Map<K, V>
where
    K: PStateSchema,
    K::Value: Ord,
    V: PStateSchema,
{
    type Value = BTreeMap<K::Value, V::Value>;
    type Plain = BTreeMap<K::Value, V::Value>;
    type Nullable = Option<Map<K, V>>;

    fn schema() -> Schema {
        Schema::map(K::schema(), V::schema())
    }
}

impl<T: PStateSchema> PStateSchema for List<T> {
    type Value = Vec<T::Value>;
    type Plain = Vec<T::Value>;
    type Nullable = Option<List<T>>;

    fn schema() -> Schema {
        Schema::list(T::schema())
    }
}

impl<T> PStateSchema for Set<T>
where
    T: PStateSchema,
    T::Value: Ord,
{
    type Value = BTreeSet<T::Value>;
    type Plain = BTreeSet<T::Value>;
    type Nullable = Option<Set<T>>;

    fn schema() -> Schema {
        Schema::set(T::schema())
    }
}

macro_rules! tuple {
    ($($part:ident)+) => {
        impl<$($part: PStateSchema),+> PStateSchema for ($($part,)+) {
            type Value = ($($part::Value,)+);
            type Plain = ($($part::Value,)+);
            type Nullable = Option<($($part,)+)>;

            fn schema() -> Schema {
                Schema::Tuple(vec![$($part::schema()),+])
            }
        }

        impl<$($part: PStateSchema),+> OneValue for ($($part,)+) {}
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);

/// A location that holds a map, or null.
#[diagnostic::on_unimplemented(message = "this navigator needs a map, but the path stands on `{Self}`")]
pub trait MapLocation: PStateSchema {
    /// Shape of the keys.
    type Key: PStateSchema;
    /// Shape of the values.
    type Val: PStateSchema;
}

/// A location that holds a list, or null.
#[diagnostic::on_unimplemented(message = "this navigator needs a list, but the path stands on `{Self}`")]
pub trait ListLocation: PStateSchema {
    /// Shape of the elements.
    type Element: PStateSchema;
}

/// A location that holds a set, or null.
#[diagnostic::on_unimplemented(message = "this navigator needs a set, but the path stands on `{Self}`")]
pub trait SetLocation: PStateSchema {
    /// Shape of the elements.
    type Element: PStateSchema;
}

/// A location whose elements `all` can visit.
#[diagnostic::on_unimplemented(message = "`all` and `size` need a map, list or set, but the path stands on `{Self}`")]
pub trait AllLocation: PStateSchema {
    /// Shape of what is visited; pairs for a map.
    type Element: PStateSchema;
}

/// A location with a first and a last element: a list, or a key-value pair.
#[diagnostic::on_unimplemented(message = "`first` and `last` need a list or a pair, but the path stands on `{Self}`")]
pub trait PairLocation: PStateSchema {
    /// Shape of the first element.
    type First: PStateSchema;
    /// Shape of the last element.
    type Last: PStateSchema;
}

/// A location that may hold null.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a location where null is expected")]
pub trait NullLocation: PStateSchema {
    /// The shape without null.
    type Present: PStateSchema;
}

impl<T: PStateSchema> NullLocation for Option<T> {
    type Present = T;
}

impl<K, V> MapLocation for Map<K, V>
where
    Self: PStateSchema,
    K: PStateSchema,
    V: PStateSchema,
{
    type Key = K;
    type Val = V;
}

impl<M: MapLocation> MapLocation for Option<M> {
    type Key = M::Key;
    type Val = M::Val;
}

impl<T: PStateSchema> ListLocation for List<T> {
    type Element = T;
}

impl<L: ListLocation> ListLocation for Option<L> {
    type Element = L::Element;
}

impl<T: PStateSchema> SetLocation for Set<T>
where
    Self: PStateSchema,
{
    type Element = T;
}

impl<S: SetLocation> SetLocation for Option<S> {
    type Element = S::Element;
}

impl<K: PStateSchema, V: PStateSchema> AllLocation for Map<K, V>
where
    Self: PStateSchema,
{
    type Element = (K, V);
}

impl<T: PStateSchema> AllLocation for List<T> {
    type Element = T;
}

impl<T: PStateSchema> AllLocation for Set<T>
where
    Self: PStateSchema,
{
    type Element = T;
}

impl<C: AllLocation> AllLocation for Option<C> {
    type Element = C::Element;
}

impl<T: PStateSchema> PairLocation for List<T> {
    type First = T;
    type Last = T;
}

impl<A: PStateSchema, B: PStateSchema> PairLocation for (A, B) {
    type First = A;
    type Last = B;
}

impl<P: PairLocation> PairLocation for Option<P> {
    type First = P::First;
    type Last = P::Last;
}
