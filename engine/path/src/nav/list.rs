//! Navigators of lists: by index, at the ends, virtual places between elements, parts.

use super::entries::*;
use super::{PLAIN, Reach, Rule};
use crate::error::PathError;
use crate::path::Nav;
use crate::walk::{Cx, Rebuilt, Swap, leads_anywhere, rebuild, results};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// A list navigator on a stored top-level map only fails.
const LIST: Rule = Rule { reach: Reach::Nothing, ..PLAIN };

/// The element at an index; outside the list is an error, not nowhere.
pub(crate) static NTH: Rule = Rule {
    code: 20,
    name: "nth",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let elements = list_of(nav, at)?;
        let index = index_within(nav, cx, 0, elements.len())?;
        next(cx, &elements[index])
    },
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        let index = index_within(nav, cx, 0, elements.len())?;
        swap_at(&mut elements, index, cx, swap)?;
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The first element, or nowhere.
pub(crate) static FIRST: Rule = Rule {
    code: 21,
    name: "first",
    select: |nav, at, cx, next| match list_of(nav, at)?.first() {
        Some(element) => next(cx, element),
        None => Ok(ControlFlow::Continue(())),
    },
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        if !elements.is_empty() {
            swap_at(&mut elements, 0, cx, swap)?;
        }
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The last element, or nowhere.
pub(crate) static LAST: Rule = Rule {
    code: 22,
    name: "last",
    select: |nav, at, cx, next| match list_of(nav, at)?.last() {
        Some(element) => next(cx, element),
        None => Ok(ControlFlow::Continue(())),
    },
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        if let Some(index) = elements.len().checked_sub(1) {
            swap_at(&mut elements, index, cx, swap)?;
        }
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The virtual place before the first element: a select finds nothing there, a transform inserts.
pub(crate) static BEFORE_ELEM: Rule = Rule {
    code: 23,
    name: "before_elem",
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        if let Some(element) = swap(cx, None)? {
            elements.insert(0, element);
        }
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The virtual place after the last element.
pub(crate) static AFTER_ELEM: Rule = Rule {
    code: 24,
    name: "after_elem",
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        elements.extend(swap(cx, None)?);
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The virtual place before an index; the index of the end is the place after the last element.
pub(crate) static BEFORE_INDEX: Rule = Rule {
    code: 25,
    name: "before_index",
    args: (1, 1),
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        let index = index_up_to(nav, cx, 0, elements.len())?;
        if let Some(element) = swap(cx, None)? {
            elements.insert(index, element);
        }
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// The empty sub-list at the start.
pub(crate) static BEGINNING: Rule = Rule {
    code: 26,
    name: "beginning",
    select: |nav, at, cx, next| {
        list_of(nav, at)?;
        next(cx, &Value::List(vec![]))
    },
    transform: |nav, at, cx, swap| splice(nav, at, 0, 0, cx, swap),
    ..LIST
};

/// The empty sub-list at the end.
pub(crate) static END: Rule = Rule {
    code: 27,
    name: "end",
    select: |nav, at, cx, next| {
        list_of(nav, at)?;
        next(cx, &Value::List(vec![]))
    },
    transform: |nav, at, cx, swap| {
        let count = at.as_ref().map_or(Ok(0), |value| list_of(nav, value).map(<[Value]>::len))?;
        splice(nav, at, count, count, cx, swap)
    },
    ..LIST
};

/// The elements `[from, to)` as one list.
pub(crate) static SUBLIST: Rule = Rule {
    code: 28,
    name: "sublist",
    args: (2, 2),
    select: |nav, at, cx, next| {
        let elements = list_of(nav, at)?;
        let (from, to) = part_bounds(nav, cx, elements.len())?;
        next(cx, &Value::List(elements[from..to].to_vec()))
    },
    transform: |nav, at, cx, swap| {
        let count = at.as_ref().map_or(Ok(0), |value| list_of(nav, value).map(<[Value]>::len))?;
        let (from, to) = part_bounds(nav, cx, count)?;
        splice(nav, at, from, to, cx, swap)
    },
    ..LIST
};

/// As [`SUBLIST`], between bounds that the closure makes of the list: it answers `[from, to]`.
pub(crate) static SUBLIST_BY: Rule = Rule {
    code: 30,
    name: "sublist_by",
    func: true,
    select: |nav, at, cx, next| {
        let elements = list_of(nav, at)?;
        let (from, to) = made_bounds(nav, at, cx)?;
        check_bounds(nav, from, to, elements.len())?;
        next(cx, &Value::List(elements[from..to].to_vec()))
    },
    transform: |nav, at, cx, swap| {
        let (from, to) = made_bounds(nav, super::read_place(&at), cx)?;
        let count = at.as_ref().map_or(Ok(0), |value| list_of(nav, value).map(<[Value]>::len))?;
        check_bounds(nav, from, to, count)?;
        splice(nav, at, from, to, cx, swap)
    },
    ..LIST
};

/// The elements from which a path selects something, as one list. A transform writes the new elements to the
/// places of the old in order; surplus places are removed, surplus elements go to the end of the last place.
pub(crate) static FILTERED_LIST: Rule = Rule {
    code: 29,
    name: "filtered_list",
    paths: (1, 1),
    select: |nav, at, cx, next| {
        let mut part = Vec::new();
        for element in list_of(nav, at)? {
            if leads_anywhere(&nav.paths[0].navs, element, cx)? {
                part.push(element.clone());
            }
        }
        next(cx, &Value::List(part))
    },
    transform: transform_filtered,
    ..LIST
};

fn transform_filtered(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let (whole, elements) = take_list(nav, at)?;
    let mut chosen = Vec::with_capacity(elements.len());
    for element in &elements {
        chosen.push(leads_anywhere(&nav.paths[0].navs, element, cx)?);
    }
    let part = elements.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(element, _)| element.clone());
    let part = swap(cx, Some(Value::List(part.collect())))?;
    let mut part = part_list(nav, part)?.into_iter();
    let mut places_left = chosen.iter().filter(|chosen| **chosen).count();
    let mut kept = Vec::with_capacity(elements.len());
    for (element, chosen) in elements.into_iter().zip(chosen) {
        if !chosen {
            kept.push(element);
            continue;
        }
        places_left -= 1;
        kept.extend(part.next());
        if places_left == 0 {
            kept.extend(part.by_ref());
        }
    }
    kept.extend(part);
    Ok(put_list(whole, kept))
}

/// Everything a path selects as one list; a transform writes the new elements to where the old came from.
pub(super) fn transform_subselect(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let found = results(&nav.paths[0].navs, super::read_place(&at), cx)?;
    let part = swap(cx, Some(Value::List(found)))?;
    let mut part = part_list(nav, part)?.into_iter();
    cx.instead_collected(vec![], |cx| rebuild(&nav.paths[0].navs, at, cx, &mut |_, _| Ok(part.next())))
}

fn swap_at(elements: &mut Vec<Value>, index: usize, cx: &mut Cx<'_>, swap: Swap<'_>) -> Result<(), PathError> {
    match swap(cx, Some(std::mem::take(&mut elements[index])))? {
        Some(element) => elements[index] = element,
        None => {
            elements.remove(index);
        }
    }
    Ok(())
}

/// Replaces `[from, to)` by whatever list comes back for it.
fn splice(nav: &Nav, at: Option<Value>, from: usize, to: usize, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let (whole, mut elements) = take_list(nav, at)?;
    let tail = elements.split_off(to);
    let part = elements.split_off(from);
    let part = swap(cx, Some(Value::List(part)))?;
    elements.extend(part_list(nav, part)?);
    elements.extend(tail);
    Ok(put_list(whole, elements))
}

/// An argument as the index of an element.
fn index_within(nav: &Nav, cx: &Cx<'_>, argument: usize, count: usize) -> Result<usize, PathError> {
    let index = index_up_to(nav, cx, argument, count)?;
    if index == count {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        return Err(PathError::OutOfRange { navigator: nav.rule.name, index, count });
    }
    Ok(index)
}

/// An argument as the index of an element or of the end.
fn index_up_to(nav: &Nav, cx: &Cx<'_>, argument: usize, count: usize) -> Result<usize, PathError> {
    let index = cx.arg_int(nav, argument)?;
    match usize::try_from(index) {
        Ok(place) if place <= count => Ok(place),
        _ => Err(PathError::OutOfRange { navigator: nav.rule.name, index, count }),
    }
}

fn part_bounds(nav: &Nav, cx: &Cx<'_>, count: usize) -> Result<(usize, usize), PathError> {
    let from = index_up_to(nav, cx, 0, count)?;
    let to = index_up_to(nav, cx, 1, count)?;
    check_bounds(nav, from, to, count)?;
    Ok((from, to))
}

/// The bounds a closure makes of the list.
fn made_bounds(nav: &Nav, at: &Value, cx: &Cx<'_>) -> Result<(usize, usize), PathError> {
    let empty = Value::List(vec![]);
    let made = cx.call(nav, if at.is_null() { &empty } else { at })?;
    let bound = |value: &Value| match value {
        Value::I64(v) => usize::try_from(*v).ok(),
        Value::U64(v) => usize::try_from(*v).ok(),
        _ => None,
    };
    match made.as_ref().and_then(Value::elements) {
        Some([from, to]) => bound(from).zip(bound(to)),
        _ => None,
    }
    .ok_or_else(|| nav.argument("the closure must make two indexes of the list".to_owned()))
}

fn check_bounds(nav: &Nav, from: usize, to: usize, count: usize) -> Result<(), PathError> {
    if from > to {
        return Err(nav.argument(format!("the part starts at {from}, after its end {to}")));
    }
    if to > count {
        let index = i64::try_from(to).unwrap_or(i64::MAX);
        return Err(PathError::OutOfRange { navigator: nav.rule.name, index, count });
    }
    Ok(())
}
