//! Collections as the navigators see them: null is an empty one of the kind wanted, a record is a map whose
//! keys are its field ids as u64.

use super::read_place;
use crate::error::PathError;
use crate::path::Nav;
use std::borrow::Cow;
use std::cmp::Ordering;
use tantu_base::value::Value;

/// Entries of a map, ascending by key.
pub(crate) type Entries = Vec<(Value, Value)>;

fn field_key(id: u32) -> Value {
    Value::U64(u64::from(id))
}

fn field_id(key: &Value) -> Option<u32> {
    key.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The value under a key of a map, a record or null.
pub(crate) fn lookup<'v>(nav: &Nav, at: &'v Value, key: &Value) -> Result<Option<&'v Value>, PathError> {
    match at {
        Value::Null => Ok(None),
        Value::Map(_) => Ok(at.get(key)),
        Value::Record(_) => Ok(field_id(key).and_then(|id| at.field(id))),
        _ => Err(nav.type_error("map", at)),
    }
}

/// Whether there can be entries at all.
pub(crate) fn check_map(nav: &Nav, at: &Value) -> Result<(), PathError> {
    match at {
        Value::Null | Value::Map(_) | Value::Record(_) => Ok(()),
        _ => Err(nav.type_error("map", at)),
    }
}

/// The entries of a map, a record or null.
pub(crate) fn entries_of<'v>(nav: &Nav, at: &'v Value) -> Result<Cow<'v, [(Value, Value)]>, PathError> {
    match at {
        Value::Null => Ok(Cow::Borrowed(&[])),
        Value::Map(entries) => Ok(Cow::Borrowed(entries)),
        Value::Record(fields) => {
            Ok(Cow::Owned(fields.iter().map(|(id, value)| (field_key(*id), value.clone())).collect()))
        }
        _ => Err(nav.type_error("map", at)),
    }
}

/// The elements of a list or null.
pub(crate) fn list_of<'v>(nav: &Nav, at: &'v Value) -> Result<&'v [Value], PathError> {
    match at {
        Value::Null => Ok(&[]),
        Value::List(elements) => Ok(elements),
        _ => Err(nav.type_error("list", at)),
    }
}

/// The elements of a set or null.
pub(crate) fn set_of<'v>(nav: &Nav, at: &'v Value) -> Result<&'v [Value], PathError> {
    match at {
        Value::Null => Ok(&[]),
        Value::Set(elements) => Ok(elements),
        _ => Err(nav.type_error("set", at)),
    }
}

/// What a taken-apart collection is put together to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whole {
    Void,
    Null,
    Map,
    Record,
    List,
    Set,
}

/// Takes a map apart for a transform.
pub(crate) fn take_entries(nav: &Nav, at: Option<Value>) -> Result<(Whole, Entries), PathError> {
    match at {
        None => Ok((Whole::Void, vec![])),
        Some(Value::Null) => Ok((Whole::Null, vec![])),
        Some(Value::Map(entries)) => Ok((Whole::Map, entries)),
        Some(Value::Record(fields)) => {
            Ok((Whole::Record, fields.into_iter().map(|(id, value)| (field_key(id), value)).collect()))
        }
        other => Err(nav.type_error("map", read_place(&other))),
    }
}

/// Puts a map together again. What was no map and got no entry stays what it was.
pub(crate) fn put_entries(nav: &Nav, whole: Whole, entries: Entries) -> Result<Option<Value>, PathError> {
    match whole {
        Whole::Void if entries.is_empty() => Ok(None),
        Whole::Null if entries.is_empty() => Ok(Some(Value::Null)),
        Whole::Record => {
            let field = |(key, value): (Value, Value)| match field_id(&key) {
                Some(id) => Ok((id, value)),
                None => Err(nav.replacement("record field id", &key)),
            };
            Ok(Some(Value::Record(entries.into_iter().map(field).collect::<Result<_, _>>()?)))
        }
        _ => Ok(Some(Value::Map(entries))),
    }
}

/// Takes a list apart for a transform.
pub(crate) fn take_list(nav: &Nav, at: Option<Value>) -> Result<(Whole, Vec<Value>), PathError> {
    match at {
        None => Ok((Whole::Void, vec![])),
        Some(Value::Null) => Ok((Whole::Null, vec![])),
        Some(Value::List(elements)) => Ok((Whole::List, elements)),
        other => Err(nav.type_error("list", read_place(&other))),
    }
}

/// Takes a set apart for a transform.
pub(crate) fn take_set(nav: &Nav, at: Option<Value>) -> Result<(Whole, Vec<Value>), PathError> {
    match at {
        None => Ok((Whole::Void, vec![])),
        Some(Value::Null) => Ok((Whole::Null, vec![])),
        Some(Value::Set(elements)) => Ok((Whole::Set, elements)),
        other => Err(nav.type_error("set", read_place(&other))),
    }
}

/// Puts a list together again, as [`put_entries`] does a map.
pub(crate) fn put_list(whole: Whole, elements: Vec<Value>) -> Option<Value> {
    match whole {
        Whole::Void if elements.is_empty() => None,
        Whole::Null if elements.is_empty() => Some(Value::Null),
        _ => Some(Value::List(elements)),
    }
}

/// Puts a set together again, as [`put_entries`] does a map.
pub(crate) fn put_set(whole: Whole, elements: Vec<Value>) -> Option<Value> {
    match whole {
        Whole::Void if elements.is_empty() => None,
        Whole::Null if elements.is_empty() => Some(Value::Null),
        _ => Some(Value::Set(elements)),
    }
}

/// Where a key is among ascending entries, or would be.
pub(crate) fn find(entries: &[(Value, Value)], key: &Value) -> Result<usize, usize> {
    entries.binary_search_by(|(k, _)| k.cmp(key))
}

/// Sets or removes one entry.
pub(crate) fn set_entry(entries: &mut Entries, key: Value, value: Option<Value>) {
    match (find(entries, &key), value) {
        (Ok(index), Some(value)) => entries[index].1 = value,
        (Ok(index), None) => {
            entries.remove(index);
        }
        (Err(index), Some(value)) => entries.insert(index, (key, value)),
        (Err(_), None) => {}
    }
}

/// Adds an element to ascending ones, unless it is there.
pub(crate) fn add_element(elements: &mut Vec<Value>, element: Value) {
    if let Err(index) = elements.binary_search(&element) {
        elements.insert(index, element);
    }
}

/// What a navigator to a part of a map may be answered with: the part's new entries.
pub(crate) fn part_entries(nav: &Nav, part: Option<Value>) -> Result<Entries, PathError> {
    match part {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::Map(entries)) => Ok(entries),
        Some(other) => Err(nav.replacement("map", &other)),
    }
}

/// What a navigator to a part of a list may be answered with.
pub(crate) fn part_list(nav: &Nav, part: Option<Value>) -> Result<Vec<Value>, PathError> {
    match part {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::List(elements)) => Ok(elements),
        Some(other) => Err(nav.replacement("list", &other)),
    }
}

/// What a navigator to a part of a set may be answered with.
pub(crate) fn part_set(nav: &Nav, part: Option<Value>) -> Result<Vec<Value>, PathError> {
    match part {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::Set(elements)) => Ok(elements),
        Some(other) => Err(nav.replacement("set", &other)),
    }
}

/// Two ascending sequences of entries as one; of equal keys the one in `over` stays.
pub(crate) fn merge_entries(under: Entries, over: Entries) -> Entries {
    let mut merged = Vec::with_capacity(under.len() + over.len());
    let (mut under, mut over) = (under.into_iter().peekable(), over.into_iter().peekable());
    loop {
        let order = match (under.peek(), over.peek()) {
            (Some((u, _)), Some((o, _))) => u.cmp(o),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return merged,
        };
        if order.is_eq() {
            under.next();
        }
        merged.extend(if order.is_lt() { under.next() } else { over.next() });
    }
}

/// The elements of a list or set argument.
pub(crate) fn argument_elements<'v>(nav: &Nav, value: &'v Value) -> Result<&'v [Value], PathError> {
    value.elements().ok_or_else(|| nav.argument("needs a list or a set".to_owned()))
}
