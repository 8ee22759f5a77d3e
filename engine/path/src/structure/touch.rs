//! Reading what a path can touch of structures, level by level, before anything is navigated.
//!
//! The image that comes of it is followed as a plain value. That gives what the whole value would give,
//! because whatever a navigator looks at was read, and what was not read no navigator can tell from absent. A transform
//! must besides know of each element it may write whether it is there already (a size is tracked), and must have
//! read in full what it may move to another key.

use super::image::{Image, Structure};
use super::{Kind, Place, Shape, Size, key_form};
use crate::arg::Args;
use crate::error::EvalError;
use crate::gather::{Rows, Stretch};
use crate::limit::IMAGE_SIZE_MAX;
use crate::nav::range::{Span, Take};
use crate::nav::{Reach, branch, each, filter, list, map, set, term, view};
use crate::path::Nav;
use crate::reach::{Chain, borrowed, key_bound};
use crate::row::Of;
use crate::store::Store;
use crate::walk::{Cx, put_key_form};
use std::ops::Bound;

/// Reads of one evaluation.
pub(crate) struct Reads<'a, S: ?Sized> {
    pub(crate) of: Of,
    pub(crate) store: &'a mut S,
    pub(crate) args: &'a dyn Args,
    /// Whether the path is a transform.
    pub(crate) changing: bool,
    /// Whether limits of ranges hold: not in a transform with branches, of which one may remove what another counts.
    pub(crate) limited: bool,
    /// Bytes held.
    size: usize,
    buffer: Vec<u8>,
}

impl<'a, S: Store + ?Sized> Reads<'a, S> {
    pub(crate) fn new(of: Of, store: &'a mut S, args: &'a dyn Args, navs: &[Nav], changing: bool) -> Self {
        let limited = !changing || navs.iter().all(|nav| nav.paths.is_empty());
        Reads { of, store, args, changing, limited, size: 0, buffer: Vec::new() }
    }

    /// The stored bytes of an element.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, EvalError> {
        let found = self.store.get(self.of.0, key, &mut self.buffer)?;
        Ok(found.then_some(&self.buffer[..]))
    }

    fn hold(&mut self, size: usize) -> Result<(), EvalError> {
        self.size += size;
        if self.size > IMAGE_SIZE_MAX { Err(EvalError::TooMuch { object: self.of.0 }) } else { Ok(()) }
    }

    /// Reads what the chain can touch of what stands at a place.
    pub(crate) fn touch(&mut self, at: &mut Image, place: &Place<'_>, chain: &Chain<'_>) -> Result<(), EvalError> {
        if matches!(at, Image::Void | Image::Plain(_)) {
            return Ok(());
        }
        let Some((nav, rest)) = chain.split_first() else { return self.whole(at, place) };
        if self.removes(nav) || nav.is(&branch::STOP) {
            return Ok(());
        }
        let inner = |index: usize| Chain { navs: &nav.paths[index].navs, rest: None };
        if nav.is(&filter::SELECTED) || nav.is(&filter::NOT_SELECTED) {
            self.touch(at, place, &inner(0))?;
            return self.touch(at, place, &rest);
        }
        if nav.is(&view::SUBSELECT) && !self.changing {
            return self.touch(at, place, &inner(0));
        }
        match nav.rule.reach {
            Reach::Rest => self.touch(at, place, &rest),
            Reach::Branches => {
                for (index, path) in nav.paths.iter().enumerate() {
                    let rest = (nav.rule.continues)(index).then_some(&rest);
                    self.touch(at, place, &Chain { navs: &path.navs, rest })?;
                }
                Ok(())
            }
            _ => self.enter(at, place, nav, &rest),
        }
    }

    fn enter(&mut self, at: &mut Image, place: &Place<'_>, nav: &Nav, rest: &Chain<'_>) -> Result<(), EvalError> {
        match (at, place.kind()) {
            (Image::Structure(structure), Kind::Structure(Shape::Map(..))) => {
                if nav.rule.reach == Reach::Nothing {
                    return Ok(());
                }
                if !self.enter_map(structure, place, nav, rest)? {
                    self.whole_structure(structure, place)?;
                }
                Ok(())
            }
            (Image::Structure(structure), Kind::Structure(Shape::Set)) => self.enter_set(structure, place, nav, rest),
            (Image::Inline { parts, .. }, _) => {
                let mut known = true;
                for (key, part) in parts.iter_mut() {
                    let value = self.of.decode_key(key)?;
                    let inner = place.inner(&value, key).ok_or_else(|| self.of.handle())?;
                    if nav.is(&map::KEY) || nav.is(&map::MUST) {
                        if *key == self.key_of(nav) {
                            self.touch(part, &inner, rest)?;
                        }
                    } else {
                        known = self.touch_each(part, &inner, nav, rest)?;
                    }
                }
                if known { Ok(()) } else { self.whole_parts(parts, place) }
            }
            (at, _) => self.whole(at, place),
        }
    }

    /// False if the navigator may look at anything.
    fn enter_map(
        &mut self,
        structure: &mut Structure,
        place: &Place<'_>,
        nav: &Nav,
        rest: &Chain<'_>,
    ) -> Result<bool, EvalError> {
        let strict = self.changing && (place.is_tracked() || place.nests());
        match nav.rule.reach {
            Reach::Key if nav.is(&map::KEY) || nav.is(&map::MUST) => {
                let replaced = rest.first().is_some_and(|nav| nav.is(&term::TERM_VAL));
                if self.changing && replaced && !strict && nav.is(&map::KEY) {
                    return Ok(true);
                }
                let key = self.key_of(nav);
                let inner = place.element(&key);
                let part = self.load(structure, place, key)?;
                self.touch(part, &inner, rest)?;
                return Ok(true);
            }
            Reach::Key => {
                // The key itself: what replaces it is a key that may be there already.
                if strict && !rest.first().is_some_and(|nav| self.removes(nav)) {
                    return Ok(false);
                }
                let key = self.key_of(nav);
                self.load(structure, place, key)?;
                return Ok(true);
            }
            Reach::Keys => self.load_keys(structure, place, nav)?,
            Reach::Span => self.load_span(structure, place, nav)?,
            _ if nav.is(&each::MAP_VALS) || nav.is(&each::MAP_KEYS) || nav.is(&each::ALL) => {
                self.load_all(structure, place)?;
                return self.touch_parts(structure, place, nav, rest);
            }
            _ => return Ok(false),
        }
        // A part as one value.
        let Some((next, behind)) = rest.split_first() else { return Ok(!place.nests()) };
        if self.removes(next) {
            return Ok(true);
        }
        if strict && !next.is(&each::MAP_VALS) {
            return Ok(false);
        }
        if place.nests() { self.touch_parts(structure, place, next, &behind) } else { Ok(true) }
    }

    fn touch_parts(
        &mut self,
        structure: &mut Structure,
        place: &Place<'_>,
        nav: &Nav,
        rest: &Chain<'_>,
    ) -> Result<bool, EvalError> {
        if !place.nests() {
            return Ok(true);
        }
        for (key, part) in &mut structure.parts {
            if !self.touch_each(part, &place.element(key), nav, rest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what a navigator over all entries goes on with in one of them; false if that is not known.
    fn touch_each(
        &mut self,
        part: &mut Image,
        place: &Place<'_>,
        nav: &Nav,
        rest: &Chain<'_>,
    ) -> Result<bool, EvalError> {
        if nav.is(&each::MAP_VALS) {
            self.touch(part, place, rest)?;
            return Ok(true);
        }
        if nav.is(&each::MAP_KEYS) {
            return Ok(!self.changing);
        }
        if nav.is(&each::ALL) {
            return match rest.split_first() {
                Some((next, behind)) if next.is(&list::LAST) => {
                    self.touch(part, place, &behind)?;
                    Ok(true)
                }
                Some((next, _)) if next.is(&list::FIRST) => Ok(!self.changing),
                _ => Ok(false),
            };
        }
        Ok(false)
    }

    fn enter_set(
        &mut self,
        structure: &mut Structure,
        place: &Place<'_>,
        nav: &Nav,
        rest: &Chain<'_>,
    ) -> Result<(), EvalError> {
        let strict = self.changing && place.is_tracked();
        let next = rest.first();
        let removed = next.is_some_and(|nav| self.removes(nav));
        if nav.is(&set::SET_ELEM) || nav.is(&set::VOID_SET_ELEM) {
            if nav.is(&set::SET_ELEM) {
                let key = self.key_of(nav);
                self.load(structure, place, key)?;
            }
            return match next {
                _ if !strict || removed => Ok(()),
                // What comes in its place may be there already.
                Some(next) if next.is(&term::TERM_VAL) => {
                    let key = self.key_of(next);
                    self.load(structure, place, key).map(drop)
                }
                _ => self.load_all(structure, place),
            };
        }
        match nav.rule.code {
            code if code == set::SUBSET.code => self.load_keys(structure, place, nav)?,
            55..=59 => self.load_span(structure, place, nav)?,
            _ => return self.load_all(structure, place),
        }
        if strict && !removed { self.load_all(structure, place) } else { Ok(()) }
    }

    /// Whether the navigator removes what it stands on, and nothing puts a part of it back: then what lies below is
    /// removed as a range and need not be read.
    fn removes(&self, nav: &Nav) -> bool {
        nav.is(&term::TERM_VOID) && self.limited
    }

    fn key_of(&self, nav: &Nav) -> Vec<u8> {
        let mut key = Vec::new();
        put_key_form(&nav.args[0], self.args, &mut key);
        key
    }

    /// Reads one element.
    fn load<'s>(
        &mut self,
        structure: &'s mut Structure,
        place: &Place<'_>,
        key: Vec<u8>,
    ) -> Result<&'s mut Image, EvalError> {
        use std::collections::btree_map::Entry;
        match structure.parts.entry(key) {
            Entry::Occupied(part) => Ok(part.into_mut()),
            Entry::Vacant(slot) if structure.whole => Ok(slot.insert(Image::Void)),
            Entry::Vacant(slot) => {
                let of = self.of;
                let full = [&place.prefix(), &slot.key()[..]].concat();
                let stored = self.get(&full)?.map(|bytes| of.decode(bytes)).transpose()?;
                self.hold(full.len() + self.buffer.len())?;
                let inner = place.element(slot.key());
                // An element that is absent is void, also where a structure could be.
                let image = if stored.is_none() { Image::Void } else { Image::of(of, &inner, stored)? };
                Ok(slot.insert(image))
            }
        }
    }

    fn load_keys(&mut self, structure: &mut Structure, place: &Place<'_>, nav: &Nav) -> Result<(), EvalError> {
        let of = self.of;
        let args = self.args;
        let keys = Cx::new(args).arg(nav, 0).map_err(|source| of.path(source))?;
        for key in keys.elements().unwrap_or_default() {
            self.load(structure, place, key_form(key))?;
        }
        Ok(())
    }

    fn load_span(&mut self, structure: &mut Structure, place: &Place<'_>, nav: &Nav) -> Result<(), EvalError> {
        let of = self.of;
        let mut span = Span::of(nav, &Cx::new(self.args)).map_err(|source| of.path(source))?;
        if !self.limited {
            span.take = Take::All;
        }
        self.load_range(structure, place, &key_bound(&span.from), &key_bound(&span.to), span.take)
    }

    fn load_all(&mut self, structure: &mut Structure, place: &Place<'_>) -> Result<(), EvalError> {
        if structure.whole {
            return Ok(());
        }
        self.load_range(structure, place, &Bound::Unbounded, &Bound::Unbounded, Take::All)?;
        structure.whole = true;
        Ok(())
    }

    fn load_range(
        &mut self,
        structure: &mut Structure,
        place: &Place<'_>,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        take: Take,
    ) -> Result<(), EvalError> {
        if structure.whole || matches!(structure.size, Size::Tracked(0)) {
            return Ok(());
        }
        let mut rows = Rows::default();
        self.read_rows(&mut rows, place, from, to, take)?;
        self.hold(rows.size())?;
        for (key, value) in rows.iter() {
            if !structure.parts.contains_key(key) {
                let image = Image::of(self.of, &place.element(key), Some(self.of.decode(value)?))?;
                structure.parts.insert(key.to_vec(), image);
            }
        }
        Ok(())
    }

    /// Reads elements of a structure, by their own keys.
    pub(crate) fn read_rows(
        &mut self,
        rows: &mut Rows,
        place: &Place<'_>,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        take: Take,
    ) -> Result<(), EvalError> {
        let (from, to) = place.bounds(from, to);
        let mut stretch = Stretch::all(borrowed(&from), borrowed(&to));
        stretch.size_max = IMAGE_SIZE_MAX - self.size;
        stretch.skip = place.prefix().len();
        match take {
            Take::Last(count) => rows.read_last(self.store, self.of.0, stretch, count),
            Take::First(count) => {
                stretch.count_max = count;
                rows.read_fully(self.store, self.of.0, stretch).map(drop)
            }
            Take::All => rows.read_fully(self.store, self.of.0, stretch).map(drop),
        }
    }

    /// Reads everything that stands at a place.
    pub(crate) fn whole(&mut self, at: &mut Image, place: &Place<'_>) -> Result<(), EvalError> {
        match at {
            Image::Void | Image::Plain(_) => Ok(()),
            Image::Structure(structure) => self.whole_structure(structure, place),
            Image::Inline { parts, .. } => self.whole_parts(parts, place),
        }
    }

    fn whole_structure(&mut self, structure: &mut Structure, place: &Place<'_>) -> Result<(), EvalError> {
        self.load_all(structure, place)?;
        if place.nests() {
            for (key, part) in &mut structure.parts {
                self.whole(part, &place.element(key))?;
            }
        }
        Ok(())
    }

    fn whole_parts(
        &mut self,
        parts: &mut std::collections::BTreeMap<Vec<u8>, Image>,
        place: &Place<'_>,
    ) -> Result<(), EvalError> {
        for (key, part) in parts {
            let value = self.of.decode_key(key)?;
            let inner = place.inner(&value, key).ok_or_else(|| self.of.handle())?;
            self.whole(part, &inner)?;
        }
        Ok(())
    }
}
