//! Subindexed structures: maps, sets and lists below the top of a PState whose elements are stored one by one.
//!
//! Layout is by location. An element is an entry of its own, under the key
//!
//! `F0 ‖ number of the location (2 bytes, highest first) ‖ key forms of the keys on the way ‖ the element's key form`
//!
//! where locations are numbered in the order in which the schema names them. `F0` is behind every tag of a key
//! form, so that a scan of the top level meets no element of a structure; no key form begins with another, so that the
//! elements of one structure are exactly the keys that begin with its prefix, and `FF` is behind all of them. A map's
//! element has its value as value, a set's has null, a list's is keyed by its position, a u64.
//!
//! In the stored value around it the place of a structure holds a small *handle*: its size, or `true` if that is not
//! tracked; for a list `[first position, count]`. So whether a structure is there, and how large it is, needs
//! nothing but the enclosing value. Positions of a list start in the middle of their range: both ends grow and
//! shrink without moving anything, and what is inserted or removed inside moves the shorter side.

pub(crate) mod change;
pub(crate) mod ends;
mod erase;
pub(crate) mod find;
mod image;
mod list;
mod settle;
pub(crate) mod touch;

use crate::error::EvalError;
use crate::row::Of;
use crate::schema::{FieldSchema, Schema, Tracking};
use std::ops::Bound;
use tantu_base::value::Value;

/// First byte of every element's key.
const NESTED: u8 = 0xF0;
/// Behind every key that begins with a prefix.
const BEHIND: u8 = 0xFF;
/// Position of the first element of a list.
const MIDDLE: u64 = 1 << 63;

/// A location: where in the schema, and the keys on the way.
#[derive(Clone, Debug)]
pub(crate) struct Place<'s> {
    pub(crate) schema: &'s Schema,
    /// The number of the first structure at or below it.
    number: u16,
    /// Key forms of the keys on the way, one after the other.
    way: Vec<u8>,
    top: bool,
}

/// What a location holds.
pub(crate) enum Kind<'s> {
    /// Plain values.
    Plain,
    /// A stored map or record that has structures within.
    Inline,
    /// Elements stored one by one: a structure, or the map at the top.
    Structure(Shape<'s>),
}

/// A structure's kind with what its elements are.
#[derive(Clone, Copy)]
pub(crate) enum Shape<'s> {
    Map(&'s Schema, &'s Schema),
    Set,
    List,
}

/// What a handle says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    Tracked(u64),
    Untracked,
    List { first: u64, count: u64 },
}

impl<'s> Place<'s> {
    /// The whole partition.
    pub(crate) fn top(schema: &'s Schema) -> Place<'s> {
        Place { schema, number: 0, way: Vec::new(), top: true }
    }

    pub(crate) fn kind(&self) -> Kind<'s> {
        let of = match self.schema {
            Schema::Sub(of, _) => &**of,
            Schema::Map(..) if self.top => self.schema,
            schema if schema.has_sub() => return Kind::Inline,
            _ => return Kind::Plain,
        };
        Kind::Structure(match of {
            Schema::Set(_) => Shape::Set,
            Schema::Map(key, value) => Shape::Map(key, value),
            _ => Shape::List,
        })
    }

    fn is_sub(&self) -> bool {
        matches!(self.schema, Schema::Sub(..))
    }

    /// What an element is: the value of a map, the element of a set or list.
    pub(crate) fn element_schema(&self) -> &'s Schema {
        let of = match self.schema {
            Schema::Sub(of, _) => of,
            schema => schema,
        };
        match of {
            Schema::Map(_, of) | Schema::List(of) | Schema::Set(of) => of,
            other => other,
        }
    }

    /// The location of an element, or of the value under a key of an inline map.
    pub(crate) fn element(&self, key: &[u8]) -> Place<'s> {
        let number = self.number + u16::from(self.is_sub());
        Place { schema: self.element_schema(), number, way: [&self.way, key].concat(), top: false }
    }

    /// The location of an entry of an inline map or record; `None` for a field the record does not have.
    pub(crate) fn inner(&self, key: &Value, key_form: &[u8]) -> Option<Place<'s>> {
        let Schema::Record(fields) = self.schema else { return Some(self.element(key_form)) };
        let mut number = self.number;
        for FieldSchema { id, schema, .. } in fields {
            if key.as_u64() == Some(u64::from(*id)) {
                return Some(Place { schema, number, way: self.way.clone(), top: false });
            }
            number += schema.sub_count() as u16;
        }
        None
    }

    /// What the keys of the structure's elements begin with.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        if self.top { Vec::new() } else { prefix_of(self.number, &self.way) }
    }

    /// The bounds of element keys, as a store has them.
    pub(crate) fn bounds(&self, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let prefix = self.prefix();
        let full = |key: &Vec<u8>| [&prefix, &key[..]].concat();
        let from = match from {
            Bound::Unbounded => Bound::Included(prefix.clone()),
            bound => bound.as_ref().map(full),
        };
        let to = match to {
            Bound::Unbounded if self.top => Bound::Excluded(vec![NESTED]),
            Bound::Unbounded => Bound::Excluded(full(&vec![BEHIND])),
            bound => bound.as_ref().map(full),
        };
        (from, to)
    }

    /// Whether it knows its size without counting; the top does not.
    fn is_tracked(&self) -> bool {
        matches!(self.schema, Schema::Sub(_, Tracking::Size))
    }

    /// Whether elements have structures within.
    fn nests(&self) -> bool {
        self.element_schema().has_sub()
    }

    /// What a handle in a stored value says; `None` if there is no structure.
    pub(crate) fn size_of(&self, of: Of, stored: Option<&Value>) -> Result<Option<Size>, EvalError> {
        match stored {
            None if self.top && matches!(self.kind(), Kind::Structure(_)) => Ok(Some(Size::Untracked)),
            None | Some(Value::Null) => Ok(None),
            Some(Value::U64(count)) => Ok(Some(Size::Tracked(*count))),
            Some(Value::Bool(true)) => Ok(Some(Size::Untracked)),
            Some(Value::List(parts)) => match parts[..] {
                [Value::U64(first), Value::U64(count)] => Ok(Some(Size::List { first, count })),
                _ => Err(of.handle()),
            },
            Some(_) => Err(of.handle()),
        }
    }

    /// The size of a structure with nothing in it.
    fn empty(&self) -> Size {
        match self.kind() {
            Kind::Structure(Shape::List) => Size::List { first: MIDDLE, count: 0 },
            _ if self.is_tracked() => Size::Tracked(0),
            _ => Size::Untracked,
        }
    }
}

impl Size {
    /// The handle.
    pub(crate) fn to_value(self) -> Value {
        match self {
            Size::Tracked(count) => Value::U64(count),
            Size::Untracked => Value::Bool(true),
            Size::List { first, count } => Value::List(vec![Value::U64(first), Value::U64(count)]),
        }
    }

    /// The same with so many elements more or fewer.
    fn changed(self, by: i64) -> Size {
        match self {
            Size::Tracked(count) => Size::Tracked(count.saturating_add_signed(by)),
            Size::List { first, count } => Size::List { first, count: count.saturating_add_signed(by) },
            Size::Untracked => Size::Untracked,
        }
    }
}

fn prefix_of(number: u16, way: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(way.len() + 16);
    prefix.push(NESTED);
    prefix.extend_from_slice(&number.to_be_bytes());
    prefix.extend_from_slice(way);
    prefix
}

/// The key form of a position in a list.
fn position_key(position: u64) -> Vec<u8> {
    key_form(&Value::U64(position))
}

/// The key form of a value.
fn key_form(key: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}
