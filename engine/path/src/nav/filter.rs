//! Navigators that go on from where they are, or nowhere.

use super::{PLAIN, Reach, Rule, read_place};
use crate::error::PathError;
use crate::path::Nav;
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited, leads_anywhere};
use std::cmp::Ordering;
use std::ops::ControlFlow;
use tantu_base::value::Value;

const COMPARE: Rule = Rule { args: (1, 1), select: select_if, transform: transform_if, ..PLAIN };

/// Equal values; values of different kinds are different.
pub(crate) static EQUAL: Rule = Rule { code: 70, name: "filter_equal", ..COMPARE };
/// Not equal.
pub(crate) static NOT_EQUAL: Rule = Rule { code: 71, name: "filter_not_equal", ..COMPARE };
/// Less. Comparing the order of different kinds is an error, except that null is in no order with anything.
pub(crate) static LESS_THAN: Rule = Rule { code: 72, name: "filter_less_than", ..COMPARE };
/// Less or equal.
pub(crate) static LESS_THAN_OR_EQUAL: Rule = Rule { code: 73, name: "filter_less_than_or_equal", ..COMPARE };
/// Greater.
pub(crate) static GREATER_THAN: Rule = Rule { code: 74, name: "filter_greater_than", ..COMPARE };
/// Greater or equal.
pub(crate) static GREATER_THAN_OR_EQUAL: Rule = Rule { code: 75, name: "filter_greater_than_or_equal", ..COMPARE };

/// The closure answers neither null nor false (nor void).
pub(crate) static PRED: Rule = Rule { code: 76, name: "filter_pred", func: true, args: (0, 7), ..COMPARE };
/// The sub-path selects something.
pub(crate) static SELECTED: Rule =
    Rule { code: 77, name: "filter_selected", args: (0, 0), paths: (1, 1), reach: Reach::Aside, ..COMPARE };
/// The sub-path selects nothing.
pub(crate) static NOT_SELECTED: Rule =
    Rule { code: 78, name: "filter_not_selected", args: (0, 0), paths: (1, 1), reach: Reach::Aside, ..COMPARE };

fn select_if(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    if passes(nav, at, cx)? { next(cx, at) } else { Ok(ControlFlow::Continue(())) }
}

fn transform_if(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    if passes(nav, read_place(&at), cx)? { swap(cx, at) } else { Ok(at) }
}

fn passes(nav: &Nav, at: &Value, cx: &mut Cx<'_>) -> Result<bool, PathError> {
    match nav.rule.code {
        70 => Ok(*cx.arg(nav, 0)? == *at),
        71 => Ok(*cx.arg(nav, 0)? != *at),
        72 => Ok(order(nav, at, cx)?.is_some_and(Ordering::is_lt)),
        73 => Ok(order(nav, at, cx)?.is_some_and(Ordering::is_le)),
        74 => Ok(order(nav, at, cx)?.is_some_and(Ordering::is_gt)),
        75 => Ok(order(nav, at, cx)?.is_some_and(Ordering::is_ge)),
        76 => Ok(!matches!(cx.call(nav, at)?, None | Some(Value::Null | Value::Bool(false)))),
        77 => leads_anywhere(&nav.paths[0].navs, at, cx),
        78 => Ok(!leads_anywhere(&nav.paths[0].navs, at, cx)?),
        code => unreachable!("navigator {code} is no filter"),
    }
}

fn order(nav: &Nav, at: &Value, cx: &Cx<'_>) -> Result<Option<Ordering>, PathError> {
    let other = cx.arg(nav, 0)?;
    if at.is_null() || other.is_null() {
        return Ok(None);
    }
    if at.kind() != other.kind() {
        return Err(nav.type_error(other.kind().name(), at));
    }
    Ok(Some(at.cmp(&other)))
}
