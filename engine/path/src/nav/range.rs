//! Navigators to a contiguous part of a sorted map or set, as one value. One description ([`Span`]) serves the
//! five forms over maps, the five over sets, and the scan of a stored top-level map.

use super::entries::*;
use super::{PLAIN, Reach, Rule};
use crate::error::PathError;
use crate::path::Nav;
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited};
use std::cmp::Ordering;
use std::ops::{Bound, Range};
use tantu_base::value::Value;

const MAP: Rule = Rule { select: select_map, transform: transform_map, reach: Reach::Span, ..PLAIN };
const SET: Rule = Rule { select: select_set, transform: transform_set, reach: Reach::Nothing, ..PLAIN };

/// From, to, and for each of them whether it is included.
pub(crate) static MAP_RANGE: Rule = Rule { code: 50, name: "sorted_map_range", args: (4, 4), ..MAP };
/// From a key on: key, included, most entries or null.
pub(crate) static MAP_RANGE_FROM: Rule = Rule { code: 51, name: "sorted_map_range_from", args: (3, 3), ..MAP };
/// Up to a key: key, included, most entries (those nearest the key) or null.
pub(crate) static MAP_RANGE_TO: Rule = Rule { code: 52, name: "sorted_map_range_to", args: (3, 3), ..MAP };
/// The first entries.
pub(crate) static MAP_RANGE_FROM_START: Rule =
    Rule { code: 53, name: "sorted_map_range_from_start", args: (1, 1), ..MAP };
/// The last entries.
pub(crate) static MAP_RANGE_TO_END: Rule = Rule { code: 54, name: "sorted_map_range_to_end", args: (1, 1), ..MAP };
/// [`MAP_RANGE`] over a set.
pub(crate) static SET_RANGE: Rule = Rule { code: 55, name: "sorted_set_range", args: (4, 4), ..SET };
/// [`MAP_RANGE_FROM`] over a set.
pub(crate) static SET_RANGE_FROM: Rule = Rule { code: 56, name: "sorted_set_range_from", args: (3, 3), ..SET };
/// [`MAP_RANGE_TO`] over a set.
pub(crate) static SET_RANGE_TO: Rule = Rule { code: 57, name: "sorted_set_range_to", args: (3, 3), ..SET };
/// [`MAP_RANGE_FROM_START`] over a set.
pub(crate) static SET_RANGE_FROM_START: Rule =
    Rule { code: 58, name: "sorted_set_range_from_start", args: (1, 1), ..SET };
/// [`MAP_RANGE_TO_END`] over a set.
pub(crate) static SET_RANGE_TO_END: Rule = Rule { code: 59, name: "sorted_set_range_to_end", args: (1, 1), ..SET };

/// A part of a sorted sequence.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) from: Bound<Value>,
    pub(crate) to: Bound<Value>,
    pub(crate) take: Take,
}

/// How many of the entries within the bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    All,
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
}

impl Span {
    /// What a range navigator asks for.
    pub(crate) fn of(nav: &Nav, cx: &Cx<'_>) -> Result<Span, PathError> {
        let unbounded = (Bound::Unbounded, Bound::Unbounded);
        let ((from, to), take) = match nav.rule.code {
            50 | 55 => {
                let from = start(cx.arg(nav, 0)?.into_owned(), flag(nav, cx, 2)?);
                let to = start(cx.arg(nav, 1)?.into_owned(), flag(nav, cx, 3)?);
                ((from, to), Take::All)
            }
            51 | 56 => {
                let from = start(cx.arg(nav, 0)?.into_owned(), flag(nav, cx, 1)?);
                ((from, Bound::Unbounded), count(nav, cx, 2)?.map_or(Take::All, Take::First))
            }
            52 | 57 => {
                let to = start(cx.arg(nav, 0)?.into_owned(), flag(nav, cx, 1)?);
                ((Bound::Unbounded, to), count(nav, cx, 2)?.map_or(Take::All, Take::Last))
            }
            53 | 58 => (unbounded, count(nav, cx, 0)?.map_or(Take::All, Take::First)),
            54 | 59 => (unbounded, count(nav, cx, 0)?.map_or(Take::All, Take::Last)),
            code => unreachable!("navigator {code} is no range"),
        };
        Ok(Span { from, to, take })
    }

    /// The indexes of the span in an ascending sequence.
    fn within<T>(&self, items: &[T], key: impl Fn(&T) -> &Value) -> Range<usize> {
        let from = match &self.from {
            Bound::Unbounded => 0,
            Bound::Included(from) => items.partition_point(|item| key(item).cmp(from) == Ordering::Less),
            Bound::Excluded(from) => items.partition_point(|item| key(item).cmp(from) != Ordering::Greater),
        };
        let to = match &self.to {
            Bound::Unbounded => items.len(),
            Bound::Included(to) => items.partition_point(|item| key(item).cmp(to) != Ordering::Greater),
            Bound::Excluded(to) => items.partition_point(|item| key(item).cmp(to) == Ordering::Less),
        };
        let to = to.max(from);
        match self.take {
            Take::All => from..to,
            Take::First(count) => from..to.min(from.saturating_add(count)),
            Take::Last(count) => from.max(to.saturating_sub(count))..to,
        }
    }
}

fn start(value: Value, included: bool) -> Bound<Value> {
    if included { Bound::Included(value) } else { Bound::Excluded(value) }
}

fn flag(nav: &Nav, cx: &Cx<'_>, index: usize) -> Result<bool, PathError> {
    cx.arg(nav, index)?.as_bool().ok_or_else(|| nav.argument("included or not must be a bool".to_owned()))
}

fn count(nav: &Nav, cx: &Cx<'_>, index: usize) -> Result<Option<usize>, PathError> {
    if cx.arg(nav, index)?.is_null() {
        return Ok(None);
    }
    let count = cx.arg_int(nav, index)?;
    match usize::try_from(count) {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(nav.argument(format!("{count} is not a count"))),
    }
}

fn select_map(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    let span = Span::of(nav, cx)?;
    let entries = entries_of(nav, at)?;
    let range = span.within(&entries, |(key, _)| key);
    next(cx, &Value::Map(entries[range].to_vec()))
}

fn transform_map(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let span = Span::of(nav, cx)?;
    let (whole, mut entries) = take_entries(nav, at)?;
    let range = span.within(&entries, |(key, _)| key);
    let tail = entries.split_off(range.end);
    let part = entries.split_off(range.start);
    let part = swap(cx, Some(Value::Map(part)))?;
    entries.extend(tail);
    put_entries(nav, whole, merge_entries(entries, part_entries(nav, part)?))
}

fn select_set(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    let span = Span::of(nav, cx)?;
    let elements = set_of(nav, at)?;
    let range = span.within(elements, |element| element);
    next(cx, &Value::Set(elements[range].to_vec()))
}

fn transform_set(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let span = Span::of(nav, cx)?;
    let (whole, mut elements) = take_set(nav, at)?;
    let range = span.within(&elements, |element| element);
    let tail = elements.split_off(range.end);
    let part = elements.split_off(range.start);
    let part = swap(cx, Some(Value::Set(part)))?;
    elements.extend(tail);
    part_set(nav, part)?.into_iter().for_each(|element| add_element(&mut elements, element));
    Ok(put_set(whole, elements))
}
