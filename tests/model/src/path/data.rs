//! What paths go through: plain collections.

use std::collections::{BTreeMap, BTreeSet};

/// A plain value. The order of the kinds is the order of values of different kinds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Data {
    /// Nothing; an empty collection of whatever kind is wanted.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number; an index is one.
    Nat(u64),
    /// Text.
    Text(String),
    /// Values in a given order.
    List(Vec<Data>),
    /// Different values, sorted.
    Set(BTreeSet<Data>),
    /// Values by key, sorted by key.
    Map(BTreeMap<Data, Data>),
}

/// A place in a collection: a value, or *void* where there is none.
pub type Place = Option<Data>;

/// Why a path cannot be followed, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(pub String);

impl Data {
    /// A list of two.
    pub fn pair(first: Data, second: Data) -> Data {
        Data::List(vec![first, second])
    }

    /// A map.
    pub fn map(entries: impl IntoIterator<Item = (Data, Data)>) -> Data {
        Data::Map(entries.into_iter().collect())
    }

    /// A set.
    pub fn set(elements: impl IntoIterator<Item = Data>) -> Data {
        Data::Set(elements.into_iter().collect())
    }

    /// Neither null nor false.
    pub fn truthy(&self) -> bool {
        !matches!(self, Data::Null | Data::Bool(false))
    }

    /// Its kind, by a number.
    pub fn kind(&self) -> u8 {
        match self {
            Data::Null => 0,
            Data::Bool(_) => 1,
            Data::Int(_) => 2,
            Data::Nat(_) => 3,
            Data::Text(_) => 4,
            Data::List(_) => 5,
            Data::Set(_) => 6,
            Data::Map(_) => 7,
        }
    }
}

/// What a place reads as: void as null.
pub(crate) fn read(at: &Place) -> Data {
    at.clone().unwrap_or(Data::Null)
}

/// A place as a list.
///
/// # Errors
/// It holds something else.
pub(crate) fn list_at(at: &Place) -> Result<Vec<Data>, Fault> {
    match at {
        None | Some(Data::Null) => Ok(vec![]),
        Some(Data::List(elements)) => Ok(elements.clone()),
        Some(other) => Err(Fault(format!("{other:?} is no list"))),
    }
}

/// A place as a set.
///
/// # Errors
/// It holds something else.
pub(crate) fn set_at(at: &Place) -> Result<BTreeSet<Data>, Fault> {
    match at {
        None | Some(Data::Null) => Ok(BTreeSet::new()),
        Some(Data::Set(elements)) => Ok(elements.clone()),
        Some(other) => Err(Fault(format!("{other:?} is no set"))),
    }
}

/// A place as a map.
///
/// # Errors
/// It holds something else.
pub(crate) fn map_at(at: &Place) -> Result<BTreeMap<Data, Data>, Fault> {
    match at {
        None | Some(Data::Null) => Ok(BTreeMap::new()),
        Some(Data::Map(entries)) => Ok(entries.clone()),
        Some(other) => Err(Fault(format!("{other:?} is no map"))),
    }
}

/// A whole that was put together again. A collection is created only to hold something: where there was none and
/// nothing was put, there is still none.
pub(crate) fn unless_nothing(was: Place, whole: Data) -> Place {
    let is_empty = match &whole {
        Data::List(of) => of.is_empty(),
        Data::Set(of) => of.is_empty(),
        Data::Map(of) => of.is_empty(),
        _ => false,
    };
    if is_empty && matches!(was, None | Some(Data::Null)) { was } else { Some(whole) }
}
