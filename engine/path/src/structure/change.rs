//! Transforms of a PState with subindexed structures.
//!
//! As far as a path goes straight, one key or index after the other, each level reads one entry, and the rest works on
//! that entry's bytes. Where it does anything else it goes on with an image ([`super::touch`]). In both ways
//! all reads come first, then the closures, then the checks, and the writes last.

use super::image::Image;
use super::settle::Settle;
use super::touch::Reads;
use super::{Kind, Place, Shape, Size, key_form};
use crate::arg::Args;
use crate::error::{EvalError, PathError};
use crate::gather::Rows;
use crate::nav::range::Take;
use crate::nav::{each, map, set, term};
use crate::path::Nav;
use crate::reach::Chain;
use crate::row::{Became, NULL_FORM, Of, transform_row};
use crate::schema::{Schema, SchemaError, Step};
use crate::show::brief;
use crate::store::Store;
use crate::walk::{Cx, check_depth, put_key_form, rebuild_terminated};
use std::ops::Bound;
use tantu_base::id::ObjectId;
use tantu_base::value::Value;

/// Applies transform navigators that were checked to end in term navigators.
pub(crate) fn transform<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    navs: &[Nav],
    store: &mut S,
    args: &dyn Args,
) -> Result<(), EvalError> {
    let mut rebuild = |value| rebuild_terminated(navs, value, &mut Cx::new(args)).map_err(|source| of.path(source));
    let mut change = Change { reads: Reads::new(of, store, args, navs, true), settle: Settle::new(of), blind: false };
    let place = Place::top(schema);
    let stored = change.read_top(&place, navs)?;
    // Straight ways are for single paths; what they cannot do they leave to the image.
    let after = match change.straight(&place, stored.clone(), navs)? {
        // A top-level map is always there.
        Straight::Done(None) if matches!(place.kind(), Kind::Structure(_)) => Some(Value::Null),
        Straight::Done(after) => after,
        Straight::Leave => {
            change.settle = Settle::new(of);
            change.by_image(&place, stored.clone(), &Chain { navs, rest: None }, &mut rebuild)?
        }
    };
    change.finish(&place, stored, after)
}

/// Applies a function of the partition's value to what the chain says it can touch.
pub(crate) fn update<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    touched: &[Nav],
    store: &mut S,
    args: &dyn Args,
    rebuild: &mut dyn FnMut(Option<Value>) -> Result<Option<Value>, EvalError>,
) -> Result<(), EvalError> {
    let mut change =
        Change { reads: Reads::new(of, store, args, touched, true), settle: Settle::new(of), blind: false };
    let place = Place::top(schema);
    let stored = change.read_top(&place, touched)?;
    let after = change.by_image(&place, stored.clone(), &Chain { navs: touched, rest: None }, rebuild)?;
    change.finish(&place, stored, after)
}

/// Whether the straight way got to the end.
enum Straight {
    /// What is stored at the place now.
    Done(Option<Value>),
    /// The path does something else; nothing was settled that counts.
    Leave,
}

/// One transform.
pub(super) struct Change<'a, S: ?Sized> {
    pub(super) reads: Reads<'a, S>,
    pub(super) settle: Settle,
    /// Whether the partition's own value was not read because it is replaced.
    blind: bool,
}

impl<S: Store + ?Sized> Change<'_, S> {
    pub(super) fn of(&self) -> Of {
        self.settle.of
    }

    /// The partition's own value, if it is one.
    fn read_top(&mut self, place: &Place<'_>, navs: &[Nav]) -> Result<Option<Value>, EvalError> {
        if matches!(place.kind(), Kind::Structure(_)) {
            return Ok(None);
        }
        if matches!(navs, [only] if only.is(&term::TERM_VAL)) {
            self.settle.writes.erase_unread(place);
            self.blind = true;
            return Ok(Some(Value::Null));
        }
        let of = self.of();
        let stored = self.reads.get(&[])?.map(|bytes| of.decode(bytes)).transpose()?;
        Ok(Some(stored.unwrap_or_default()))
    }

    /// Writes everything.
    fn finish(mut self, place: &Place<'_>, before: Option<Value>, after: Option<Value>) -> Result<(), EvalError> {
        let of = self.of();
        let Some(after) = after else {
            return Err(of.path(PathError::VoidAtTop));
        };
        if !matches!(place.kind(), Kind::Structure(_)) && (self.blind || before.as_ref() != Some(&after)) {
            let mut bytes = Vec::new();
            after.encode(&mut bytes);
            self.settle.writes.put(of, Vec::new(), bytes)?;
        }
        self.settle.writes.perform(of, self.reads.store)
    }

    /// Follows the path on an image of what it can touch.
    fn by_image(
        &mut self,
        place: &Place<'_>,
        stored: Option<Value>,
        chain: &Chain<'_>,
        rebuild: &mut dyn FnMut(Option<Value>) -> Result<Option<Value>, EvalError>,
    ) -> Result<Option<Value>, EvalError> {
        let of = self.of();
        let mut before = Image::of(of, place, stored)?;
        self.reads.touch(&mut before, place, chain)?;
        let value = before.to_value(of, place)?;
        let after = rebuild(value.clone())?;
        if after == value {
            return before.stored(of, place);
        }
        self.check(place, after.as_ref())?;
        self.settle.settle(place, &before, after)
    }

    fn check(&self, place: &Place<'_>, after: Option<&Value>) -> Result<(), EvalError> {
        let Some(after) = after else { return Ok(()) };
        check_depth(after).map_err(|source| self.of().path(source))?;
        place.schema.check(after).map_err(|misfit| self.of().schema(None, misfit))
    }

    /// The straight way from a place; `at` is what is stored there.
    fn straight(&mut self, place: &Place<'_>, at: Option<Value>, navs: &[Nav]) -> Result<Straight, EvalError> {
        let Some((nav, rest)) = navs.split_first() else { return Ok(Straight::Leave) };
        if let Kind::Plain = place.kind() {
            let after = rebuild_terminated(navs, at, &mut Cx::new(self.reads.args));
            let after = after.map_err(|source| self.of().path(source))?;
            self.check(place, after.as_ref())?;
            return Ok(Straight::Done(after));
        }
        if rest.is_empty() && (nav.is(&term::TERM_VAL) || nav.is(&term::TERM_VOID)) {
            return self.replace(place, at, nav).map(Straight::Done);
        }
        let by_key = nav.is(&map::KEY) || nav.is(&map::MUST);
        match place.kind() {
            Kind::Structure(Shape::Map(key_schema, _)) if by_key => self.at_key(place, at, nav, rest, key_schema),
            Kind::Structure(Shape::Map(_, of)) if nav.is(&each::MAP_VALS) && !of.has_sub() => {
                self.at_every_value(place, at, rest)
            }
            Kind::Structure(Shape::Set) if !place.is_tracked() => self.in_set_blindly(place, at, nav, rest),
            Kind::Structure(Shape::List) => match self.in_list(place, at.as_ref(), nav, rest)? {
                Some(after) => Ok(Straight::Done(after)),
                None => Ok(Straight::Leave),
            },
            Kind::Inline if by_key => self.in_inline(place, at, nav, rest),
            _ => Ok(Straight::Leave),
        }
    }

    /// Replaces or removes whatever stands at a place, unseen but for its handle.
    fn replace(&mut self, place: &Place<'_>, at: Option<Value>, nav: &Nav) -> Result<Option<Value>, EvalError> {
        let of = self.of();
        let after = if nav.is(&term::TERM_VAL) {
            let value = Cx::new(self.reads.args).arg(nav, 0).map_err(|source| of.path(source))?.into_owned();
            Some(value)
        } else {
            None
        };
        self.check(place, after.as_ref())?;
        self.settle.writes.erase_stored(of, place, at.as_ref())?;
        if place.top && after.is_none() {
            return Err(of.path(PathError::VoidAtTop));
        }
        let none = if matches!(place.kind(), Kind::Structure(_)) && place.top {
            Image::Structure(super::image::Structure::none(place))
        } else {
            Image::Void
        };
        self.settle.settle(place, &none, after)
    }

    /// One element of a map.
    fn at_key(
        &mut self,
        place: &Place<'_>,
        at: Option<Value>,
        nav: &Nav,
        rest: &[Nav],
        key_schema: &Schema,
    ) -> Result<Straight, EvalError> {
        let of = self.of();
        let size = place.size_of(of, at.as_ref())?;
        let mut key = Vec::new();
        put_key_form(&nav.args[0], self.reads.args, &mut key);
        let must = nav.is(&map::MUST);
        if must && size.is_none() {
            return Ok(Straight::Done(at));
        }
        let full = [&place.prefix(), &key[..]].concat();
        of.check_key_size(&full)?;
        let inner = place.element(&key);
        let element = self.element(&inner, &full, place, size, rest, must)?;
        let (before, assumed, unread) = match element {
            Element::Unread => (None, None, true),
            Element::Assumed(handle) => (None, Some(handle), false),
            Element::Read(None) if must => return Ok(Straight::Done(at)),
            Element::Read(bytes) => (bytes, None, false),
        };
        let mut out = Vec::new();
        let is_there = if let Kind::Plain = inner.kind() {
            match transform_row(of, rest, before.as_deref(), self.reads.args, &mut out)? {
                Became::Void => false,
                Became::Written => {
                    of.check_value(inner.schema, &|| Ok(None), &out).map_err(|error| below(error, &key))?;
                    true
                }
            }
        } else {
            let stored = before.as_ref().map(|bytes| of.decode(bytes)).transpose()?.or(assumed);
            match self.straight(&inner, stored, rest).map_err(|error| below(error, &key))? {
                Straight::Leave => return Ok(Straight::Leave),
                Straight::Done(None) => false,
                Straight::Done(Some(value)) => {
                    value.encode(&mut out);
                    true
                }
            }
        };
        let after = is_there.then_some(out);
        if unread && after.is_none() {
            self.settle.writes.delete(full);
            return Ok(Straight::Done(at));
        }
        self.store_element(place, at, size, (key, full), before, after, key_schema).map(Straight::Done)
    }

    /// Reads an element, unless what is to be written does not depend on it.
    fn element(
        &mut self,
        inner: &Place<'_>,
        full: &[u8],
        place: &Place<'_>,
        size: Option<Size>,
        rest: &[Nav],
        must: bool,
    ) -> Result<Element, EvalError> {
        if size.is_none() {
            return Ok(Element::Read(None));
        }
        if !place.is_tracked() {
            let blind = match rest {
                [last] => last.is(&term::TERM_VOID) || (last.is(&term::TERM_VAL) && !must),
                _ => false,
            };
            if blind && matches!(inner.kind(), Kind::Plain) {
                return Ok(Element::Unread);
            }
            // The handle of a structure whose size is not tracked says nothing that is not known.
            if !must && is_blind_within(inner, rest) {
                return Ok(Element::Assumed(Size::Untracked.to_value()));
            }
        }
        Ok(Element::Read(self.reads.get(full)?.map(<[u8]>::to_vec)))
    }

    /// Stores what an element became; gives back what is stored at the place of its structure.
    #[expect(clippy::too_many_arguments, reason = "a structure, an element of it, and both of them before and after")]
    fn store_element(
        &mut self,
        place: &Place<'_>,
        at: Option<Value>,
        size: Option<Size>,
        (key, full): (Vec<u8>, Vec<u8>),
        before: Option<Vec<u8>>,
        after: Option<Vec<u8>>,
        key_schema: &Schema,
    ) -> Result<Option<Value>, EvalError> {
        let of = self.of();
        let by = match (&before, after) {
            (None, None) => return Ok(at),
            (Some(_), None) => {
                self.settle.writes.delete(full);
                -1
            }
            (Some(before), Some(after)) if *before == after => return Ok(at),
            (Some(_), Some(after)) => {
                self.settle.writes.put(of, full, after)?;
                0
            }
            (None, Some(after)) => {
                of.check_key(key_schema, &of.decode_key(&key)?)?;
                self.settle.writes.put(of, full, after)?;
                1
            }
        };
        let size = size.unwrap_or_else(|| place.empty()).changed(by);
        Ok(Some(size.to_value()))
    }

    /// Every value of a map of plain values, on bytes.
    fn at_every_value(&mut self, place: &Place<'_>, at: Option<Value>, rest: &[Nav]) -> Result<Straight, EvalError> {
        let of = self.of();
        let Some(size) = place.size_of(of, at.as_ref())? else { return Ok(Straight::Done(at)) };
        let mut rows = Rows::default();
        self.reads.read_rows(&mut rows, place, &Bound::Unbounded, &Bound::Unbounded, Take::All)?;
        let prefix = place.prefix();
        let mut by = 0;
        let mut out = Vec::new();
        for (key, value) in rows.iter() {
            let full = [&prefix, key].concat();
            match transform_row(of, rest, Some(value), self.reads.args, &mut out)? {
                Became::Void => {
                    self.settle.writes.delete(full);
                    by -= 1;
                }
                Became::Written if out == value => {}
                Became::Written => {
                    let checked = of.check_value(place.element_schema(), &|| Ok(None), &out);
                    checked.map_err(|error| below(error, key))?;
                    self.settle.writes.put(of, full, std::mem::take(&mut out))?;
                }
            }
        }
        if place.top {
            Ok(Straight::Done(Some(Value::Null)))
        } else {
            Ok(Straight::Done(Some(size.changed(by).to_value())))
        }
    }

    /// An element added to, or removed from, a set that does not count.
    fn in_set_blindly(
        &mut self,
        place: &Place<'_>,
        at: Option<Value>,
        nav: &Nav,
        rest: &[Nav],
    ) -> Result<Straight, EvalError> {
        let of = self.of();
        let [last] = rest else { return Ok(Straight::Leave) };
        let mut key = place.prefix();
        if nav.is(&set::SET_ELEM) && last.is(&term::TERM_VOID) {
            if place.size_of(of, at.as_ref())?.is_some() {
                put_key_form(&nav.args[0], self.reads.args, &mut key);
                self.settle.writes.delete(key);
            }
            return Ok(Straight::Done(at));
        }
        if nav.is(&set::VOID_SET_ELEM) && last.is(&term::TERM_VAL) {
            let element = Cx::new(self.reads.args).arg(last, 0).map_err(|source| of.path(source))?;
            let misfit = |source: SchemaError| of.schema(None, source.below(Step::Element(brief(&element))));
            place.element_schema().check_key(&element).map_err(misfit)?;
            key.extend_from_slice(&key_form(&element));
            self.settle.writes.put(of, key, NULL_FORM.to_vec())?;
            return Ok(Straight::Done(Some(Size::Untracked.to_value())));
        }
        Ok(Straight::Leave)
    }

    /// One entry of a stored map or record.
    fn in_inline(
        &mut self,
        place: &Place<'_>,
        at: Option<Value>,
        nav: &Nav,
        rest: &[Nav],
    ) -> Result<Straight, EvalError> {
        let of = self.of();
        let key = Cx::new(self.reads.args).arg(nav, 0).map_err(|source| of.path(source))?.into_owned();
        let Some(inner) = place.inner(&key, &key_form(&key)) else { return Ok(Straight::Leave) };
        let (record, mut entries) = match at {
            Some(Value::Map(entries)) => (false, entries),
            Some(Value::Record(fields)) => {
                (true, fields.into_iter().map(|(id, value)| (Value::U64(u64::from(id)), value)).collect())
            }
            // What is put together from nothing is not this place's to say.
            _ => return Ok(Straight::Leave),
        };
        let found = entries.binary_search_by(|(other, _)| other.cmp(&key));
        if nav.is(&map::MUST) && found.is_err() {
            return Ok(Straight::Done(Some(inline(record, entries))));
        }
        let part = found.ok().map(|index| entries[index].1.clone());
        let Straight::Done(after) = self.straight(&inner, part, rest)? else { return Ok(Straight::Leave) };
        match (found, after) {
            (Ok(index), Some(after)) => entries[index].1 = after,
            (Ok(index), None) => drop(entries.remove(index)),
            (Err(index), Some(after)) => {
                if let Schema::Map(key_schema, _) = place.schema {
                    of.check_key(key_schema, &key)?;
                }
                entries.insert(index, (key, after));
            }
            (Err(_), None) => {}
        }
        Ok(Straight::Done(Some(inline(record, entries))))
    }
}

/// What is known of an element before it is changed.
enum Element {
    /// Nothing, and nothing need be.
    Unread,
    /// Its handle, without having looked.
    Assumed(Value),
    /// Its bytes, if it is there.
    Read(Option<Vec<u8>>),
}

/// Whether the navigators write one element of an untracked structure blindly, creating the structure.
fn is_blind_within(place: &Place<'_>, navs: &[Nav]) -> bool {
    if place.is_tracked() || place.nests() {
        return false;
    }
    let (Kind::Structure(shape), [nav, last]) = (place.kind(), navs) else { return false };
    match shape {
        Shape::Map(..) => nav.is(&map::KEY) && last.is(&term::TERM_VAL),
        Shape::Set => nav.is(&set::VOID_SET_ELEM) && last.is(&term::TERM_VAL),
        Shape::List => false,
    }
}

fn inline(record: bool, entries: Vec<(Value, Value)>) -> Value {
    if !record {
        return Value::Map(entries);
    }
    let field = |(key, value): (Value, Value)| (key.as_u64().and_then(|id| u32::try_from(id).ok()), value);
    let fields = entries.into_iter().map(field);
    Value::Record(fields.map(|(id, value)| (id.expect("invariant: it was a field id"), value)).collect())
}

/// The error, seen from one key further up.
fn below(error: EvalError, key: &[u8]) -> EvalError {
    match (error, Value::decode_key(key)) {
        (EvalError::Schema { object, source }, Ok(key)) => {
            EvalError::Schema { object, source: source.below(Step::Value(brief(&key))) }
        }
        (error, _) => error,
    }
}

/// Resets a partition: removes every entry and every element.
pub fn clear_store<S: Store + ?Sized>(object: ObjectId, store: &mut S) -> Result<(), EvalError> {
    Ok(store.delete_range(object, &[], &[super::BEHIND])?)
}
