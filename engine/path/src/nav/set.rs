//! Navigators of sets: set_elem, void_set_elem, subset.

use super::entries::*;
use super::{PLAIN, Reach, Rule};
use std::ops::ControlFlow;
use tantu_base::value::Value;

/// A set navigator on a stored top-level map only fails.
const SET: Rule = Rule { reach: Reach::Nothing, ..PLAIN };

/// An element if present; a replacement swaps it.
pub(crate) static SET_ELEM: Rule = Rule {
    code: 40,
    name: "set_elem",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let element = cx.arg(nav, 0)?;
        match set_of(nav, at)?.binary_search(&element) {
            Ok(_) => next(cx, &element),
            Err(_) => Ok(ControlFlow::Continue(())),
        }
    },
    transform: |nav, at, cx, swap| {
        let element = cx.arg(nav, 0)?;
        let (whole, mut elements) = take_set(nav, at)?;
        if let Ok(index) = elements.binary_search(&element) {
            let element = elements.remove(index);
            if let Some(element) = swap(cx, Some(element))? {
                add_element(&mut elements, element);
            }
        }
        Ok(put_set(whole, elements))
    },
    ..SET
};

/// The virtual place of a new element: a select finds nothing there, a transform adds one.
pub(crate) static VOID_SET_ELEM: Rule = Rule {
    code: 41,
    name: "void_set_elem",
    transform: |nav, at, cx, swap| {
        let (whole, mut elements) = take_set(nav, at)?;
        if let Some(element) = swap(cx, None)? {
            add_element(&mut elements, element);
        }
        Ok(put_set(whole, elements))
    },
    ..SET
};

/// The given elements that are present, as one set.
pub(crate) static SUBSET: Rule = Rule {
    code: 42,
    name: "subset",
    args: (1, 1),
    select: |nav, at, cx, next| {
        let wanted = cx.arg(nav, 0)?;
        let elements = set_of(nav, at)?;
        let part = argument_elements(nav, &wanted)?.iter().filter(|e| elements.binary_search(e).is_ok());
        next(cx, &Value::set(part.cloned()))
    },
    transform: |nav, at, cx, swap| {
        let wanted = cx.arg(nav, 0)?;
        let (whole, mut elements) = take_set(nav, at)?;
        let mut part = Vec::new();
        for element in argument_elements(nav, &wanted)? {
            if let Ok(index) = elements.binary_search(element) {
                part.push(elements.remove(index));
            }
        }
        let part = swap(cx, Some(Value::set(part)))?;
        part_set(nav, part)?.into_iter().for_each(|element| add_element(&mut elements, element));
        Ok(put_set(whole, elements))
    },
    ..SET
};
