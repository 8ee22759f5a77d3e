//! Navigators that choose a way: stay, stop, if_path, cond_path, multi_path.

use super::{PLAIN, Reach, Rule, read_place};
use crate::error::PathError;
use crate::path::{Nav, Path};
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited, leads_anywhere, rebuild, walk};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// Where it is.
pub(crate) static STAY: Rule = Rule {
    code: 110,
    name: "stay",
    select: |_, at, cx, next| next(cx, at),
    transform: |_, at, cx, swap| swap(cx, at),
    reach: Reach::Rest,
    ..PLAIN
};

/// Nowhere.
pub(crate) static STOP: Rule = Rule { code: 111, name: "stop", reach: Reach::Nothing, ..PLAIN };

/// Condition, way, other way.
pub(crate) static IF_PATH: Rule = Rule {
    code: 112,
    name: "if_path",
    paths: (2, 3),
    continues: |index| index != 0,
    select: select_way,
    transform: transform_way,
    reach: Reach::Branches,
    ..PLAIN
};

/// Condition and way, condition and way, and so on.
pub(crate) static COND_PATH: Rule = Rule {
    code: 113,
    name: "cond_path",
    paths: (0, usize::MAX),
    continues: |index| index % 2 == 1,
    select: select_way,
    transform: transform_way,
    reach: Reach::Branches,
    ..PLAIN
};

/// Every way in turn.
pub(crate) static MULTI_PATH: Rule = Rule {
    code: 114,
    name: "multi_path",
    paths: (0, usize::MAX),
    continues: |_| true,
    select: |nav, at, cx, next| {
        for path in &nav.paths {
            if walk(&path.navs, at, cx, next)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    },
    transform: |nav, mut at, cx, swap| {
        for path in &nav.paths {
            at = rebuild(&path.navs, at, cx, swap)?;
        }
        Ok(at)
    },
    reach: Reach::Branches,
    ..PLAIN
};

/// The sub-path. Selects that come in pages read so many entries at a time along it (PTH-37); the answer is the
/// same.
pub(crate) static WITH_PAGE_SIZE: Rule = Rule {
    code: 115,
    name: "with_page_size",
    args: (1, 1),
    paths: (1, 1),
    continues: |_| true,
    select: |nav, at, cx, next| walk(&nav.paths[0].navs, at, cx, next),
    transform: |nav, at, cx, swap| rebuild(&nav.paths[0].navs, at, cx, swap),
    reach: Reach::Branches,
    ..PLAIN
};

/// The one way to go, if any. Conditions are asked in order and only up to the first that holds.
fn way<'n>(nav: &'n Nav, at: &Value, cx: &mut Cx<'_>) -> Result<Option<&'n Path>, PathError> {
    let mut pairs = nav.paths.chunks_exact(2);
    for pair in pairs.by_ref() {
        if leads_anywhere(&pair[0].navs, at, cx)? {
            return Ok(Some(&pair[1]));
        }
    }
    // A path left over without a condition is the other way; only if_path has one.
    Ok(if nav.is(&IF_PATH) { pairs.remainder().first() } else { None })
}

fn select_way(nav: &Nav, at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    match way(nav, at, cx)? {
        Some(path) => walk(&path.navs, at, cx, next),
        None => Ok(ControlFlow::Continue(())),
    }
}

fn transform_way(nav: &Nav, at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    match way(nav, read_place(&at), cx)? {
        Some(path) => rebuild(&path.navs, at, cx, swap),
        None => Ok(at),
    }
}
