//! Navigators that set values aside on the way (PTH-35, PTH-36). They stay where they are; what they collected
//! stands before each value found further on, and before the value a term closure gets. Every branch has its own.

use super::{PLAIN, Reach, Rule, read_place};
use crate::error::PathError;
use crate::path::Nav;
use crate::walk::{Cx, rebuild, results, walk};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// Sets the one value of the sub-path aside; none or several are an error.
pub(crate) static COLLECT_ONE: Rule = Rule {
    code: 140,
    name: "collect_one",
    paths: (1, 1),
    select: |nav, at, cx, next| {
        let value = one(nav, at, cx)?;
        cx.with_collected(value, |cx| next(cx, at))
    },
    transform: |nav, at, cx, swap| {
        let value = one(nav, read_place(&at), cx)?;
        cx.with_collected(value, |cx| swap(cx, at))
    },
    reach: Reach::Aside,
    ..PLAIN
};

/// Sets the list of all values of the sub-path aside.
pub(crate) static COLLECT: Rule = Rule {
    code: 141,
    name: "collect",
    paths: (1, 1),
    select: |nav, at, cx, next| {
        let values = Value::List(results(&nav.paths[0].navs, at, cx)?);
        cx.with_collected(values, |cx| next(cx, at))
    },
    transform: |nav, at, cx, swap| {
        let values = Value::List(results(&nav.paths[0].navs, read_place(&at), cx)?);
        cx.with_collected(values, |cx| swap(cx, at))
    },
    reach: Reach::Aside,
    ..PLAIN
};

/// Sets an argument aside.
pub(crate) static PUT_COLLECTED: Rule = Rule {
    code: 142,
    name: "put_collected",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let value = cx.arg(nav, 0)?.into_owned();
        cx.with_collected(value, |cx| next(cx, at))
    },
    transform: |nav, at, cx, swap| {
        let value = cx.arg(nav, 0)?.into_owned();
        cx.with_collected(value, |cx| swap(cx, at))
    },
    reach: Reach::Rest,
    ..PLAIN
};

/// Sets the value itself aside.
pub(crate) static VAL: Rule = Rule {
    code: 143,
    name: "val",
    select: |_, at, cx, next| cx.with_collected(at.clone(), |cx| next(cx, at)),
    transform: |_, at, cx, swap| cx.with_collected(read_place(&at).clone(), |cx| swap(cx, at)),
    ..PLAIN
};

/// Forgets what is set aside, from here on.
pub(crate) static DISPENSE_COLLECTED: Rule = Rule {
    code: 144,
    name: "dispense_collected",
    select: |_, at, cx, next| cx.instead_collected(vec![], |cx| next(cx, at)),
    transform: |_, at, cx, swap| cx.instead_collected(vec![], |cx| swap(cx, at)),
    reach: Reach::Rest,
    ..PLAIN
};

/// Goes on if the closure says so of the list of what is set aside.
pub(crate) static IS_COLLECTED: Rule = Rule {
    code: 145,
    name: "is_collected",
    args: (0, 7),
    func: true,
    select: |nav, at, cx, next| if holds(nav, cx)? { next(cx, at) } else { Ok(ControlFlow::Continue(())) },
    transform: |nav, at, cx, swap| if holds(nav, cx)? { swap(cx, at) } else { Ok(at) },
    reach: Reach::Rest,
    ..PLAIN
};

/// Along the sub-path with nothing set aside; after it, with what there was before.
pub(crate) static WITH_FRESH_COLLECTED: Rule = Rule {
    code: 146,
    name: "with_fresh_collected",
    paths: (1, 1),
    continues: |_| true,
    select: |nav, at, cx, next| {
        let before = std::mem::take(&mut cx.collected);
        let visited = walk(&nav.paths[0].navs, at, cx, &mut |cx, value| {
            cx.instead_collected(before.clone(), |cx| next(cx, value))
        });
        cx.collected = before;
        visited
    },
    transform: |nav, at, cx, swap| {
        let before = std::mem::take(&mut cx.collected);
        let rebuilt = rebuild(&nav.paths[0].navs, at, cx, &mut |cx, place| {
            cx.instead_collected(before.clone(), |cx| swap(cx, place))
        });
        cx.collected = before;
        rebuilt
    },
    reach: Reach::Branches,
    ..PLAIN
};

/// The list of what is set aside and the value, as one value with nothing set aside: what a result would be, to
/// go on with. In a transform the last part of what comes back takes the value's place.
pub(crate) static COLLECTED: Rule = Rule {
    code: 147,
    name: "collected",
    select: |_, at, cx, next| {
        let whole = cx.result(at).into_owned();
        cx.instead_collected(vec![], |cx| next(cx, &whole))
    },
    transform: |nav, at, cx, swap| {
        if cx.collected.is_empty() {
            return swap(cx, at);
        }
        let whole = cx.result(read_place(&at)).into_owned();
        match cx.instead_collected(vec![], |cx| swap(cx, Some(whole)))? {
            None => Ok(None),
            Some(Value::List(mut parts)) if !parts.is_empty() => Ok(parts.pop()),
            Some(other) => Err(nav.replacement("list of what was collected and the value", &other)),
        }
    },
    ..PLAIN
};

fn one(nav: &Nav, at: &Value, cx: &mut Cx<'_>) -> Result<Value, PathError> {
    let mut found = results(&nav.paths[0].navs, at, cx)?;
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(PathError::NotOne { navigator: nav.rule.name, count: 0 }),
        (Some(_), more) => Err(PathError::NotOne { navigator: nav.rule.name, count: more + 1 }),
    }
}

fn holds(nav: &Nav, cx: &Cx<'_>) -> Result<bool, PathError> {
    let collected = Value::List(cx.collected.clone());
    Ok(!matches!(cx.call(nav, &collected)?, None | Some(Value::Null | Value::Bool(false))))
}
