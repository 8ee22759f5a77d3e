//! Navigators by key: key, must, map_key, submap.

use super::entries::*;
use super::{PLAIN, Reach, Rule};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// One place per key, also when it is absent.
pub(crate) static KEY: Rule = Rule {
    code: 1,
    name: "key",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let key = cx.arg(nav, 0)?;
        next(cx, lookup(nav, at, &key)?.unwrap_or(&Value::Null))
    },
    transform: |nav, at, cx, swap| {
        let key = cx.arg(nav, 0)?.into_owned();
        let (whole, mut entries) = take_entries(nav, at)?;
        let place = find(&entries, &key).ok().map(|index| std::mem::take(&mut entries[index].1));
        let value = swap(cx, place)?;
        set_entry(&mut entries, key, value);
        put_entries(nav, whole, entries)
    },
    reach: Reach::Key,
    ..PLAIN
};

/// As [`KEY`], but nowhere when the key is absent.
pub(crate) static MUST: Rule = Rule {
    code: 2,
    name: "must",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let key = cx.arg(nav, 0)?;
        match lookup(nav, at, &key)? {
            Some(value) => next(cx, value),
            None => Ok(ControlFlow::Continue(())),
        }
    },
    transform: |nav, at, cx, swap| {
        let key = cx.arg(nav, 0)?.into_owned();
        let (whole, mut entries) = take_entries(nav, at)?;
        if let Ok(index) = find(&entries, &key) {
            let place = std::mem::take(&mut entries[index].1);
            let value = swap(cx, Some(place))?;
            set_entry(&mut entries, key, value);
        }
        put_entries(nav, whole, entries)
    },
    reach: Reach::Key,
    ..PLAIN
};

/// The key itself; a replacement renames and keeps the value, over whatever the new key held.
pub(crate) static MAP_KEY: Rule = Rule {
    code: 3,
    name: "map_key",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let key = cx.arg(nav, 0)?;
        match lookup(nav, at, &key)? {
            Some(_) => next(cx, &key),
            None => Ok(ControlFlow::Continue(())),
        }
    },
    transform: |nav, at, cx, swap| {
        let key = cx.arg(nav, 0)?.into_owned();
        let (whole, mut entries) = take_entries(nav, at)?;
        if let Ok(index) = find(&entries, &key) {
            let (_, value) = entries.remove(index);
            if let Some(renamed) = swap(cx, Some(key))? {
                set_entry(&mut entries, renamed, Some(value));
            }
        }
        put_entries(nav, whole, entries)
    },
    reach: Reach::Key,
    ..PLAIN
};

/// The entries under the given keys as one map; absent keys are left out.
pub(crate) static SUBMAP: Rule = Rule {
    code: 4,
    name: "submap",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let keys = cx.arg(nav, 0)?;
        check_map(nav, at)?;
        let mut part = Vec::new();
        for key in argument_elements(nav, &keys)? {
            if let Some(value) = lookup(nav, at, key)? {
                part.push((key.clone(), value.clone()));
            }
        }
        next(cx, &Value::map(part))
    },
    transform: |nav, at, cx, swap| {
        let keys = cx.arg(nav, 0)?;
        let (whole, mut entries) = take_entries(nav, at)?;
        let mut part = Vec::new();
        for key in argument_elements(nav, &keys)? {
            if let Ok(index) = find(&entries, key) {
                part.push(entries.remove(index));
            }
        }
        let part = swap(cx, Some(Value::map(part)))?;
        put_entries(nav, whole, merge_entries(entries, part_entries(nav, part)?))
    },
    reach: Reach::Keys,
    ..PLAIN
};
