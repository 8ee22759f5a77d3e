//! Navigators of lists that deal with places rather than elements (PTH-34): index_nav, indexed_vals,
//! continuous_subseqs.

use super::entries::*;
use super::{PLAIN, Reach, Rule};
use crate::error::PathError;
use crate::path::Nav;
use crate::show::brief;
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited, leads_anywhere};
use std::ops::{ControlFlow, Range};
use tantu_base::value::Value;

const LIST: Rule = Rule { reach: Reach::Nothing, ..PLAIN };

/// The index itself if there is an element, else nowhere; a replacement moves the element there.
pub(crate) static INDEX_NAV: Rule = Rule {
    code: 31,
    name: "index_nav",
    args: (1, 1),
    select: |nav, at, cx, next| match within(nav, cx, list_of(nav, at)?.len())? {
        Some(index) => next(cx, &index_value(index)),
        None => Ok(ControlFlow::Continue(())),
    },
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_list(nav, at)?;
        if let Some(index) = within(nav, cx, elements.len())? {
            let element = elements.remove(index);
            if let Some(index) = swap(cx, Some(index_value(index)))? {
                let index = index_of(nav, &index)?;
                if index > elements.len() {
                    let count = elements.len() + 1;
                    return Err(PathError::OutOfRange { navigator: nav.rule.name, index: index as i64, count });
                }
                elements.insert(index, element);
            }
        }
        Ok(put_list(whole, elements))
    },
    ..LIST
};

/// Every `[index, element]`. In a transform the pairs that come back are put in order of their indexes, those with
/// the same index in the order they came: who changes an index moves an element.
pub(crate) static INDEXED_VALS: Rule = Rule {
    code: 32,
    name: "indexed_vals",
    select: |nav, at, cx, next| {
        for (index, element) in list_of(nav, at)?.iter().enumerate() {
            if next(cx, &Value::List(vec![index_value(index), element.clone()]))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    },
    transform: |nav, at, cx, swap| {
        let (whole, elements) = take_list(nav, at)?;
        let mut placed = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            let pair = swap(cx, Some(Value::List(vec![index_value(index), element])))?;
            let Some(pair) = pair else { continue };
            match pair {
                Value::List(mut parts) if parts.len() == 2 => {
                    let element = parts.pop().unwrap_or_default();
                    placed.push((index_of(nav, &parts[0])?, element));
                }
                other => return Err(nav.replacement("[index, element] pair", &other)),
            }
        }
        placed.sort_by_key(|(index, _)| *index);
        Ok(put_list(whole, placed.into_iter().map(|(_, element)| element).collect()))
    },
    ..LIST
};

/// Each longest run of neighbours from which the sub-path selects something, as a list of its own.
pub(crate) static CONTINUOUS_SUBSEQS: Rule = Rule {
    code: 33,
    name: "continuous_subseqs",
    paths: (1, 1),
    select: select_runs,
    transform: transform_runs,
    ..LIST
};

fn select_runs(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    let elements = list_of(nav, at)?;
    for run in runs(nav, elements, cx)? {
        if next(cx, &Value::List(elements[run].to_vec()))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn transform_runs(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    let (whole, elements) = take_list(nav, at)?;
    let runs = runs(nav, &elements, cx)?;
    let mut kept = Vec::with_capacity(elements.len());
    let mut done = 0;
    for run in runs {
        kept.extend_from_slice(&elements[done..run.start]);
        done = run.end;
        let part = swap(cx, Some(Value::List(elements[run].to_vec())))?;
        kept.extend(part_list(nav, part)?);
    }
    kept.extend_from_slice(&elements[done..]);
    Ok(put_list(whole, kept))
}

fn runs(nav: &Nav, elements: &[Value], cx: &mut Cx<'_>) -> Result<Vec<Range<usize>>, PathError> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        if !leads_anywhere(&nav.paths[0].navs, element, cx)? {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    Ok(runs)
}

fn index_value(index: usize) -> Value {
    Value::U64(index as u64)
}

fn within(nav: &Nav, cx: &Cx<'_>, count: usize) -> Result<Option<usize>, PathError> {
    Ok(usize::try_from(cx.arg_int(nav, 0)?).ok().filter(|index| *index < count))
}

fn index_of(nav: &Nav, value: &Value) -> Result<usize, PathError> {
    let index = match value {
        Value::U64(index) => usize::try_from(*index).ok(),
        Value::I64(index) => usize::try_from(*index).ok(),
        _ => None,
    };
    index.ok_or_else(|| nav.argument(format!("{} is no index", brief(value))))
}
