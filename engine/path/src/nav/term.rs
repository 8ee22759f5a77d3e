//! The ends of transform paths.

use super::{PLAIN, Rule, read_place};
use crate::error::PathError;
use crate::walk::Visited;

const TERM: Rule = Rule {
    terminal: true,
    select: |nav, _, _, _| -> Visited { Err(PathError::MisplacedTerminal { navigator: nav.rule.name }) },
    ..PLAIN
};

/// Replaces by a value.
pub(crate) static TERM_VAL: Rule = Rule {
    code: 130,
    name: "term_val",
    args: (1, 1),
    transform: |nav, _, cx, _| Ok(Some(cx.arg(nav, 0)?.into_owned())),
    ..TERM
};

/// Replaces by the closure's answer; void removes.
pub(crate) static TERM_FUNC: Rule = Rule {
    code: 131,
    name: "term",
    args: (0, 7),
    func: true,
    transform: |nav, at, cx, _| cx.call_collected(nav, read_place(&at)),
    ..TERM
};

/// Removes.
pub(crate) static TERM_VOID: Rule = Rule { code: 132, name: "term_void", transform: |_, _, _, _| Ok(None), ..TERM };
