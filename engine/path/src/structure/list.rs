//! Straight transforms of a subindexed list: one element, one place between elements, or one part of it.
//!
//! Each is the replacement of a window of positions by a list of other elements. What does not change the number of
//! elements writes only the window, growing or shrinking at an end only that end; anything else moves the shorter side,
//! which is then read beforehand.

use super::change::Change;
use super::{Place, Size, position_key};
use crate::error::{EvalError, PathError};
use crate::gather::Rows;
use crate::nav::entries::part_list;
use crate::nav::range::Take;
use crate::nav::{branch, filter, list, term, view};
use crate::path::Nav;
use crate::row::{Became, transform_row};
use crate::store::Store;
use crate::walk::{Cx, check_depth, rebuild_terminated};
use std::ops::Bound;
use tantu_base::value::Value;

/// Positions that a navigator replaces, counted from the list's start.
struct Window {
    from: u64,
    to: u64,
    /// Whether the path goes on with the window as a list, rather than with the one element or place in it.
    part: bool,
}

impl<S: Store + ?Sized> Change<'_, S> {
    /// What is stored at the list's place afterwards; `None` if the navigator is none of these.
    #[expect(clippy::option_option, reason = "whether it is ours to say, and whether anything is stored")]
    pub(super) fn in_list(
        &mut self,
        place: &Place<'_>,
        at: Option<&Value>,
        nav: &Nav,
        rest: &[Nav],
    ) -> Result<Option<Option<Value>>, EvalError> {
        let of = self.settle.of;
        let (Some(Size::List { first, count }), false) = (place.size_of(of, at)?, place.nests()) else {
            return Ok(None);
        };
        let window = match self.window(nav, count).map_err(|source| of.path(source))? {
            Some(Some(window)) => window,
            Some(None) => return Ok(Some(at.cloned())),
            None => return Ok(None),
        };
        let inside = window.from != 0 && window.to != count;
        let front = window.from <= count - window.to;
        // Closures run only once, so that whatever may have to move is read before.
        let moved = if inside && (window.part || window.from == window.to || may_void(rest)) {
            let (from, to) = if front { (0, window.from) } else { (window.to, count) };
            self.elements(place, first, (from, to))?
        } else {
            Rows::default()
        };
        let before = self.elements(place, first, (window.from, window.to))?;
        let after = self.window_after(place, nav, &window, &before, rest)?;
        let (was, is) = (window.to - window.from, after.len() as u64);
        let start = first + window.from;
        let full = |position: u64| [&place.prefix(), &position_key(position)[..]].concat();
        // The front moves if it is the shorter side, or if there is nothing else that could.
        let front = if inside { front } else { window.from == 0 && window.to != count };
        let window_start = if front { start + was - is } else { start };
        let mut old = before.iter().map(|(_, value)| value);
        for (index, value) in after.into_iter().enumerate() {
            let same = window_start == start && old.next().is_some_and(|old| old == value);
            if !same {
                self.settle.writes.put(of, full(window_start + index as u64), value)?;
            }
        }
        let first_after = if front { first + was - is } else { first };
        if was != is {
            let moved_to = if front { first_after } else { start + is };
            for (index, (_, value)) in moved.iter().enumerate() {
                self.settle.writes.put(of, full(moved_to + index as u64), value.to_vec())?;
            }
        }
        let size = count + is - was;
        let end = first_after.checked_add(size).ok_or_else(|| of.handle())?;
        for position in (first..first_after).chain(end..first + count) {
            self.settle.writes.delete(full(position));
        }
        Ok(Some(Some(Size::List { first: first_after, count: size }.to_value())))
    }

    /// The window of a navigator: `Some(None)` if it leads nowhere, `None` if it is not of this kind.
    #[expect(clippy::option_option, reason = "whether it is ours to say, and whether it leads anywhere")]
    fn window(&self, nav: &Nav, count: u64) -> Result<Option<Option<Window>>, PathError> {
        let cx = Cx::new(self.reads.args);
        let one = |index: u64| Some(Some(Window { from: index, to: index + 1, part: false }));
        let place = |index: u64| Some(Some(Window { from: index, to: index, part: false }));
        let part = |from: u64, to: u64| Some(Some(Window { from, to, part: true }));
        let within = |argument: usize, max: u64| {
            let index = cx.arg_int(nav, argument)?;
            match u64::try_from(index) {
                Ok(place) if place <= max => Ok(place),
                _ => Err(PathError::OutOfRange { navigator: nav.rule.name, index, count: count as usize }),
            }
        };
        Ok(match nav.rule.code {
            code if code == list::NTH.code => {
                let index = within(0, count)?;
                if index == count {
                    let (navigator, index) = (nav.rule.name, index as i64);
                    return Err(PathError::OutOfRange { navigator, index, count: count as usize });
                }
                one(index)
            }
            code if code == list::FIRST.code || code == list::LAST.code => match count {
                0 => Some(None),
                _ if code == list::FIRST.code => one(0),
                _ => one(count - 1),
            },
            code if code == list::BEFORE_ELEM.code => place(0),
            code if code == list::AFTER_ELEM.code => place(count),
            code if code == list::BEFORE_INDEX.code => place(within(0, count)?),
            code if code == list::BEGINNING.code => part(0, 0),
            code if code == list::END.code => part(count, count),
            code if code == list::SUBLIST.code => {
                let (from, to) = (within(0, count)?, within(1, count)?);
                if from > to {
                    return Err(nav.argument(format!("the part starts at {from}, after its end {to}")));
                }
                part(from, to)
            }
            _ => None,
        })
    }

    fn elements(&mut self, place: &Place<'_>, first: u64, (from, to): (u64, u64)) -> Result<Rows, EvalError> {
        let mut rows = Rows::default();
        if from < to {
            let (from, to) = (position_key(first + from), position_key(first + to));
            self.reads.read_rows(&mut rows, place, &Bound::Included(from), &Bound::Excluded(to), Take::All)?;
        }
        Ok(rows)
    }

    /// The stored elements that come in the window's place.
    fn window_after(
        &self,
        place: &Place<'_>,
        nav: &Nav,
        window: &Window,
        before: &Rows,
        rest: &[Nav],
    ) -> Result<Vec<Vec<u8>>, EvalError> {
        let of = self.settle.of;
        let args = self.reads.args;
        if !window.part {
            let mut out = Vec::new();
            let at = before.iter().next().map(|(_, value)| value);
            return Ok(match transform_row(of, rest, at, args, &mut out)? {
                Became::Void => vec![],
                Became::Written => {
                    of.check_value(place.element_schema(), &|| Ok(None), &out)?;
                    vec![out]
                }
            });
        }
        let part = before.iter().map(|(_, value)| of.decode(value)).collect::<Result<_, _>>()?;
        let after = rebuild_terminated(rest, Some(Value::List(part)), &mut Cx::new(args));
        let after = after.and_then(|after| part_list(nav, after)).map_err(|source| of.path(source))?;
        after
            .into_iter()
            .map(|element| {
                check_depth(&element).map_err(|source| of.path(source))?;
                place.element_schema().check(&element).map_err(|misfit| of.schema(None, misfit))?;
                let mut bytes = Vec::new();
                element.encode(&mut bytes);
                Ok(bytes)
            })
            .collect()
    }
}

/// Whether the navigators may turn a place that is there into nothing.
fn may_void(navs: &[Nav]) -> bool {
    let Some((nav, rest)) = navs.split_first() else { return true };
    let passes = [&view::NULL_TO_VAL, &view::VOID_TO_VAL, &branch::STAY, &filter::SELECTED, &filter::NOT_SELECTED];
    if passes.iter().any(|rule| nav.is(rule)) {
        return may_void(rest);
    }
    if nav.is(&term::TERM_FUNC) {
        return nav.func.as_ref().is_none_or(crate::func::Func::may_void);
    }
    let stays = [&list::NTH, &list::FIRST, &list::LAST, &list::AFTER_ELEM, &list::BEFORE_ELEM];
    let keyed = [&crate::nav::map::KEY, &crate::nav::map::MUST, &crate::nav::each::MAP_VALS, &crate::nav::each::ALL];
    !(nav.is(&term::TERM_VAL) || stays.iter().chain(&keyed).any(|rule| nav.is(rule)))
}
