//! Navigators that go on with another value than the one they stand on.

use super::list::transform_subselect;
use super::{PLAIN, Reach, Rule, read_place};
use crate::path::Nav;
use crate::walk::{Cx, Rebuilt, rebuild_terminated, results};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// The closure's answer. In a transform what comes back takes the place of the value itself.
pub(crate) static VIEW: Rule = Rule {
    code: 90,
    name: "view",
    args: (0, 7),
    func: true,
    select: |nav, at, cx, next| match cx.call(nav, at)? {
        Some(value) => next(cx, &value),
        None => Ok(ControlFlow::Continue(())),
    },
    transform: |nav, at, cx, swap| {
        let seen = cx.call(nav, read_place(&at))?;
        swap(cx, seen)
    },
    ..PLAIN
};

/// A default for null (and, in a transform, for void).
pub(crate) static NULL_TO_VAL: Rule = Rule {
    code: 91,
    name: "null_to_val",
    args: (1, 1),
    select: |nav, at, cx, next| match at {
        Value::Null => {
            let default = cx.arg(nav, 0)?;
            next(cx, &default)
        }
        _ => next(cx, at),
    },
    transform: |nav, at, cx, swap| match at {
        None | Some(Value::Null) => {
            let default = cx.arg(nav, 0)?.into_owned();
            swap(cx, Some(default))
        }
        _ => swap(cx, at),
    },
    reach: Reach::Rest,
    ..PLAIN
};

/// A default for void, which only a transform can meet.
pub(crate) static VOID_TO_VAL: Rule = Rule {
    code: 92,
    name: "void_to_val",
    args: (1, 1),
    select: |_, at, cx, next| next(cx, at),
    transform: |nav, at, cx, swap| {
        let at = match at {
            None => cx.arg(nav, 0)?.into_owned(),
            Some(value) => value,
        };
        swap(cx, Some(at))
    },
    reach: Reach::Rest,
    ..PLAIN
};

/// What a transform path makes of the value, or nowhere if that is void. In a transform what comes back takes the place of the value.
pub(crate) static TRANSFORMED: Rule = Rule {
    code: 93,
    name: "transformed",
    paths: (1, 1),
    select: |nav, at, cx, next| match transformed(nav, Some(at.clone()), cx)? {
        Some(made) => next(cx, &made),
        None => Ok(ControlFlow::Continue(())),
    },
    transform: |nav, at, cx, swap| {
        let made = transformed(nav, at, cx)?;
        swap(cx, made)
    },
    ..PLAIN
};

/// Everything a path selects, as one list.
pub(crate) static SUBSELECT: Rule = Rule {
    code: 94,
    name: "subselect",
    paths: (1, 1),
    select: |nav, at, cx, next| {
        let found = results(&nav.paths[0].navs, at, cx)?;
        next(cx, &Value::List(found))
    },
    transform: transform_subselect,
    reach: Reach::Branches,
    ..PLAIN
};

/// How many elements a map, list or set has; null has none. A transform cannot go on from it.
pub(crate) static SIZE: Rule = Rule {
    code: 95,
    name: "size",
    select: |nav, at, cx, next| {
        let count = match at {
            Value::Null => 0,
            Value::List(elements) | Value::Set(elements) => elements.len(),
            Value::Map(entries) => entries.len(),
            _ => return Err(nav.type_error("map, list or set", at)),
        };
        next(cx, &size_value(count as u64))
    },
    transform: |nav, _, _, _| Err(nav.argument("is computed and cannot be changed".to_owned())),
    ..PLAIN
};

/// A size as a path goes on from it.
pub(crate) fn size_value(count: u64) -> Value {
    Value::U64(count)
}

fn transformed(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>) -> Rebuilt {
    cx.instead_collected(vec![], |cx| rebuild_terminated(&nav.paths[0].navs, at, cx))
}
