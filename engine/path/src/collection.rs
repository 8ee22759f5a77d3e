//! Rust's own collections as schemas, so that they can be fields of a record: `Vec<T>` is the list of `T`, `BTreeMap`
//! the map, `BTreeSet` the set. At the top of a PState the markers [`Map`](crate::Map), [`List`](crate::List) and
//! [`Set`](crate::Set) say the same.

use crate::marker::{AllLocation, ListLocation, MapLocation, PStateSchema, PairLocation, SetLocation};
use crate::schema::Schema;
use std::collections::{BTreeMap, BTreeSet};

impl<T: PStateSchema> PStateSchema for Vec<T> {
    type Value = Vec<T::Value>;
    type Plain = Vec<T::Value>;
    type Nullable = Option<Vec<T>>;

    fn schema() -> Schema {
        Schema::list(T::schema())
    }
}

impl<K, V> PStateSchema for BTreeMap<K, V>
where
    K: PStateSchema,
    K::Value: Ord,
    V: PStateSchema,
{
    type Value = BTreeMap<K::Value, V::Value>;
    type Plain = BTreeMap<K::Value, V::Value>;
    type Nullable = Option<BTreeMap<K, V>>;

    fn schema() -> Schema {
        Schema::map(K::schema(), V::schema())
    }
}

impl<T> PStateSchema for BTreeSet<T>
where
    T: PStateSchema,
    T::Value: Ord,
{
    type Value = BTreeSet<T::Value>;
    type Plain = BTreeSet<T::Value>;
    type Nullable = Option<BTreeSet<T>>;

    fn schema() -> Schema {
        Schema::set(T::schema())
    }
}

impl<T: PStateSchema> PStateSchema for Box<T> {
    type Value = Box<T::Value>;
    type Plain = Box<T::Plain>;
    type Nullable = Option<Box<T>>;

    fn schema() -> Schema {
        T::schema()
    }
}

/// Any bytes fit the schema; that there are `N` of them is seen when they are read.
impl<const N: usize> PStateSchema for [u8; N] {
    type Value = [u8; N];
    type Plain = [u8; N];
    type Nullable = Option<[u8; N]>;

    fn schema() -> Schema {
        Schema::Bytes
    }
}

impl<T: PStateSchema> ListLocation for Vec<T> {
    type Element = T;
}

impl<K, V> MapLocation for BTreeMap<K, V>
where
    Self: PStateSchema,
    K: PStateSchema,
    V: PStateSchema,
{
    type Key = K;
    type Val = V;
}

impl<T: PStateSchema> SetLocation for BTreeSet<T>
where
    Self: PStateSchema,
{
    type Element = T;
}

impl<T: PStateSchema> AllLocation for Vec<T> {
    type Element = T;
}

impl<K: PStateSchema, V: PStateSchema> AllLocation for BTreeMap<K, V>
where
    Self: PStateSchema,
{
    type Element = (K, V);
}

impl<T: PStateSchema> AllLocation for BTreeSet<T>
where
    Self: PStateSchema,
{
    type Element = T;
}

impl<T: PStateSchema> PairLocation for Vec<T> {
    type First = T;
    type Last = T;
}
