//! Navigators to everything in a collection: all, map_vals, map_keys.

use super::entries::*;
use super::{PLAIN, Rule, read_place};
use crate::error::PathError;
use crate::path::Nav;
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// Every element of a list or set, every `[key, value]` pair of a map.
pub(crate) static ALL: Rule = Rule { code: 10, name: "all", select: select_all, transform: transform_all, ..PLAIN };

/// Every value of a map.
pub(crate) static MAP_VALS: Rule = Rule {
    code: 11,
    name: "map_vals",
    select: |nav, at, cx, next| {
        for (_, value) in entries_of(nav, at)?.iter() {
            if next(cx, value)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    },
    transform: |nav, at, cx, swap| {
        let (whole, entries) = take_entries(nav, at)?;
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(value) = swap(cx, Some(value))? {
                kept.push((key, value));
            }
        }
        put_entries(nav, whole, kept)
    },
    ..PLAIN
};

/// Every key of a map; a replacement renames, and of entries renamed to one key the last stays.
pub(crate) static MAP_KEYS: Rule = Rule {
    code: 12,
    name: "map_keys",
    select: |nav, at, cx, next| {
        for (key, _) in entries_of(nav, at)?.iter() {
            if next(cx, key)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    },
    transform: |nav, at, cx, swap| {
        let (whole, entries) = take_entries(nav, at)?;
        let mut renamed = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(key) = swap(cx, Some(key))? {
                renamed.push((key, value));
            }
        }
        put_entries(nav, whole, sorted_entries(renamed))
    },
    ..PLAIN
};

fn select_all(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    match at {
        Value::List(elements) | Value::Set(elements) => {
            for element in elements {
                if next(cx, element)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Value::Null | Value::Map(_) | Value::Record(_) => {
            for (key, value) in entries_of(nav, at)?.iter() {
                if next(cx, &pair(key.clone(), value.clone()))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        _ => return Err(nav.type_error("map, list or set", at)),
    }
    Ok(ControlFlow::Continue(()))
}

fn transform_all(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    match at {
        None | Some(Value::Null) => Ok(at),
        Some(Value::List(elements)) => Ok(Some(Value::List(swap_each(elements, cx, swap)?))),
        Some(Value::Set(elements)) => Ok(Some(Value::set(swap_each(elements, cx, swap)?))),
        Some(Value::Map(_) | Value::Record(_)) => {
            let (whole, entries) = take_entries(nav, at)?;
            let pairs = entries.into_iter().map(|(key, value)| pair(key, value)).collect();
            let swapped = swap_each(pairs, cx, swap)?;
            let entries = swapped.into_iter().map(|p| split_pair(nav, p)).collect::<Result<Vec<_>, _>>()?;
            put_entries(nav, whole, sorted_entries(entries))
        }
        _ => Err(nav.type_error("map, list or set", read_place(&at))),
    }
}

fn swap_each(elements: Vec<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Result<Vec<Value>, PathError> {
    let mut kept = Vec::with_capacity(elements.len());
    for element in elements {
        kept.extend(swap(cx, Some(element))?);
    }
    Ok(kept)
}

/// Entries in any order as a map's; of entries with one key the last stays.
fn sorted_entries(entries: Entries) -> Entries {
    let Value::Map(entries) = Value::map(entries) else { unreachable!("a map is a map") };
    entries
}

/// A map entry as a value.
pub(crate) fn pair(key: Value, value: Value) -> Value {
    Value::List(vec![key, value])
}

fn split_pair(nav: &Nav, pair: Value) -> Result<(Value, Value), PathError> {
    let Value::List(parts) = pair else { return Err(nav.replacement("[key, value] pair", &pair)) };
    match <[Value; 2]>::try_from(parts) {
        Ok([key, value]) => Ok((key, value)),
        Err(parts) => Err(nav.replacement("[key, value] pair", &Value::List(parts))),
    }
}
