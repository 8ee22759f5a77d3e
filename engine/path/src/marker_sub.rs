//! Schema markers of subindexed structures.
//!
//! `Sub<C>` stands where `C`, a [`Map`](crate::Map), [`Set`](crate::Set) or [`List`](crate::List), would stand: paths see the
//! same collection. But each element is stored on its own, so that the structure may be larger than memory and a path reads and
//! writes only the elements it touches.

use crate::marker::{AllLocation, ListLocation, MapLocation, PStateSchema, PairLocation, SetLocation};
use crate::schema::Schema;
use std::marker::PhantomData;

/// A subindexed structure that knows its size: asking for it is one read, and a write of an element reads first whether the
/// element is new (PST-09, PST-11).
///
/// ```
/// use tantu_path::{Map, Navigate, PathTo, Sub, TransformTo, path};
///
/// type Followers = Map<String, Sub<Map<String, i64>>>; // user → follower → since
///
/// let follow: TransformTo<Followers> = path::<Followers>().key("ann").key("bob").term_val(2024);
/// let newest: PathTo<Followers, String> = path::<Followers>().key("ann").sorted_map_range_to_end(10).map_keys();
/// ```
pub struct Sub<C>(PhantomData<fn() -> C>);

/// A subindexed structure that does not know its size: asking counts, and elements can be written without a read.
pub struct Untracked<C>(PhantomData<fn() -> C>);

macro_rules! structure {
    ($($marker:ident => $schema:path),*) => {$(
        impl<C: PStateSchema> PStateSchema for $marker<C> {
            type Value = C::Value;
            type Plain = C::Plain;
            type Nullable = Option<$marker<C>>;

            fn schema() -> Schema {
                $schema(C::schema())
            }
        }

        impl<C: MapLocation> MapLocation for $marker<C> {
            type Key = C::Key;
            type Val = C::Val;
        }

        impl<C: ListLocation> ListLocation for $marker<C> {
            type Element = C::Element;
        }

        impl<C: SetLocation> SetLocation for $marker<C> {
            type Element = C::Element;
        }

        impl<C: AllLocation> AllLocation for $marker<C> {
            type Element = C::Element;
        }

        impl<C: PairLocation> PairLocation for $marker<C> {
            type First = C::First;
            type Last = C::Last;
        }
    )*};
}

structure! { Sub => Schema::sub, Untracked => Schema::untracked }
