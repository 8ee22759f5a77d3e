//! Selects in a PState with subindexed structures.
//!
//! A path is followed level by level, one read each, as long as it goes straight: one key or index after the other.
//! Where it then goes over the entries of a structure, it does so entry by entry; anything else it does on an image.

use super::image::Image;
use super::touch::Reads;
use super::{Kind, Place, Shape, Size, ends, position_key};
use crate::arg::Args;
use crate::error::{EvalError, PathError};
use crate::gather::Rows;
use crate::nav::range::{Span, Take};
use crate::nav::{each, list, map, view};
use crate::partition::count_entries;
use crate::path::Nav;
use crate::reach::{Chain, borrowed, key_bound};
use crate::row::{Of, Visit, select_row, select_value};
use crate::schema::Schema;
use crate::store::Store;
use crate::walk::{Cx, put_key_form};
use std::ops::{Bound, ControlFlow};
use tantu_base::value::{Value, key_to_value};

/// Where the straight part of a path ends.
pub(crate) enum Spot<'p, 's> {
    /// Nowhere.
    Nowhere,
    /// On a stored value without structures, absent or not.
    Leaf { value: Option<Vec<u8>>, rest: &'p [Nav] },
    /// On a place with structures; what is stored there.
    At { place: Place<'s>, stored: Option<Value>, rest: &'p [Nav] },
}

/// A path over the entries of a structure.
pub(crate) struct Over<'p> {
    pub(crate) from: Bound<Vec<u8>>,
    pub(crate) to: Bound<Vec<u8>>,
    pub(crate) take: Take,
    /// What of an entry the path goes on with.
    pub(crate) part: &'p Nav,
    pub(crate) rest: &'p [Nav],
}

/// Visits what a path leads to. The visitor is called only after the last read.
pub(crate) fn select<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    navs: &[Nav],
    store: &mut S,
    args: &dyn Args,
    out: &mut Vec<u8>,
    visit: Visit<'_>,
) -> Result<(), EvalError> {
    ends::check_ends(schema, navs).map_err(|source| of.path(source))?;
    let mut reads = Reads::new(of, store, args, navs, false);
    let (place, stored, rest) = match locate(&mut reads, schema, navs)? {
        Spot::Nowhere => return Ok(()),
        Spot::Leaf { value, rest } => return select_row(of, rest, value.as_deref(), args, out, visit).map(drop),
        Spot::At { place, stored, rest } => (place, stored, rest),
    };
    if let Some((_, behind)) = rest.split_first().filter(|(nav, _)| nav.is(&view::SIZE))
        && let Kind::Structure(_) = place.kind()
    {
        let count = count(&mut reads, &place, stored.as_ref())?;
        return select_value(of, behind, &view::size_value(count), args, out, visit).map(drop);
    }
    if let Some(over) = Over::of(&mut reads, &place, stored.as_ref(), rest)? {
        let mut rows = Rows::default();
        reads.read_rows(&mut rows, &place, &over.from, &over.to, over.take)?;
        let entries = over.entries(&mut reads, &place, &rows)?;
        for at in entries {
            if at.select(of, over.rest, args, out, visit)?.is_break() {
                break;
            }
        }
        return Ok(());
    }
    let value = value_of(&mut reads, &place, stored, rest)?;
    select_value(of, rest, &value, args, out, visit).map(drop)
}

/// How many elements a structure has: what its handle says, or they are counted.
fn count<S: Store + ?Sized>(
    reads: &mut Reads<'_, S>,
    place: &Place<'_>,
    stored: Option<&Value>,
) -> Result<u64, EvalError> {
    match place.size_of(reads.of, stored)? {
        None => Ok(0),
        Some(Size::Tracked(count) | Size::List { count, .. }) => Ok(count),
        Some(Size::Untracked) => {
            let (from, to) = place.bounds(&Bound::Unbounded, &Bound::Unbounded);
            count_entries(reads.store, reads.of.0, (borrowed(&from), borrowed(&to)))
        }
    }
}

/// What the rest of a path sees of a place.
fn value_of<S: Store + ?Sized>(
    reads: &mut Reads<'_, S>,
    place: &Place<'_>,
    stored: Option<Value>,
    rest: &[Nav],
) -> Result<Value, EvalError> {
    let mut image = Image::of(reads.of, place, stored)?;
    reads.touch(&mut image, place, &Chain { navs: rest, rest: None })?;
    Ok(image.to_value(reads.of, place)?.unwrap_or_default())
}

/// Follows a path as far as it goes straight.
pub(crate) fn locate<'p, 's, S: Store + ?Sized>(
    reads: &mut Reads<'_, S>,
    schema: &'s Schema,
    navs: &'p [Nav],
) -> Result<Spot<'p, 's>, EvalError> {
    let of = reads.of;
    let mut place = Place::top(schema);
    let mut stored = match place.kind() {
        Kind::Structure(_) => None,
        _ => reads.get(&[])?.map(|bytes| of.decode(bytes)).transpose()?,
    };
    let mut rest = navs;
    // A structure whose handle nobody needs is not looked up: without it there are no elements.
    let mut assumed = false;
    loop {
        let Some((nav, behind)) = rest.split_first() else { return Ok(Spot::At { place, stored, rest }) };
        let by_key = nav.is(&map::KEY) || nav.is(&map::MUST);
        let key = match place.kind() {
            Kind::Structure(Shape::Map(..)) if by_key => {
                let mut key = Vec::new();
                put_key_form(&nav.args[0], reads.args, &mut key);
                (assumed || place.size_of(of, stored.as_ref())?.is_some()).then_some(key)
            }
            Kind::Structure(Shape::List) => match index(reads, &place, stored.as_ref(), nav)? {
                Index::Other => return Ok(Spot::At { place, stored, rest }),
                Index::Nowhere => return Ok(Spot::Nowhere),
                Index::At(position) => Some(position_key(position)),
            },
            Kind::Inline if by_key => {
                let key = Cx::new(reads.args).arg(nav, 0).map_err(|source| of.path(source))?.into_owned();
                let Some(inner) = place.inner(&key, &super::key_form(&key)) else {
                    return Ok(Spot::At { place, stored, rest });
                };
                let found = stored.as_ref().and_then(|at| part_of(at, &key)).cloned();
                if found.is_none() && nav.is(&map::MUST) {
                    return Ok(Spot::Nowhere);
                }
                if let Kind::Plain = inner.kind() {
                    let value = found.map(|value| tantu_base::value::encoded(&value));
                    return Ok(Spot::Leaf { value, rest: behind });
                }
                (place, stored, rest, assumed) = (inner, found, behind, false);
                continue;
            }
            _ => return Ok(Spot::At { place, stored, rest }),
        };
        let inner = place.element(key.as_deref().unwrap_or_default());
        let skips = nav.is(&map::KEY) && behind.first().is_some_and(|next| next.is(&map::KEY));
        if skips && key.is_some() && matches!(inner.kind(), Kind::Structure(Shape::Map(..))) {
            (place, stored, rest, assumed) = (inner, None, behind, true);
            continue;
        }
        let value = match key {
            Some(key) => reads.get(&[&place.prefix(), &key[..]].concat())?.map(<[u8]>::to_vec),
            None => None,
        };
        if value.is_none() && nav.is(&map::MUST) {
            return Ok(Spot::Nowhere);
        }
        if let Kind::Plain = inner.kind() {
            return Ok(Spot::Leaf { value, rest: behind });
        }
        stored = value.map(|bytes| of.decode(&bytes)).transpose()?;
        (place, rest, assumed) = (inner, behind, false);
    }
}

/// The entry of a stored map or record under a key.
fn part_of<'v>(at: &'v Value, key: &Value) -> Option<&'v Value> {
    match at {
        Value::Record(_) => at.field(u32::try_from(key.as_u64()?).ok()?),
        Value::Map(_) => at.get(key),
        _ => None,
    }
}

enum Index {
    At(u64),
    Nowhere,
    Other,
}

/// The position an index navigator leads to.
fn index<S: Store + ?Sized>(
    reads: &Reads<'_, S>,
    place: &Place<'_>,
    stored: Option<&Value>,
    nav: &Nav,
) -> Result<Index, EvalError> {
    let Some(Size::List { first, count }) = place.size_of(reads.of, stored)? else { return Ok(Index::Other) };
    if nav.is(&list::FIRST) || nav.is(&list::LAST) {
        return Ok(match count {
            0 => Index::Nowhere,
            _ if nav.is(&list::FIRST) => Index::At(first),
            _ => Index::At(first + count - 1),
        });
    }
    if !nav.is(&list::NTH) {
        return Ok(Index::Other);
    }
    let index = Cx::new(reads.args).arg_int(nav, 0).map_err(|source| reads.of.path(source))?;
    match u64::try_from(index) {
        Ok(place) if place < count => Ok(Index::At(first + place)),
        _ => Err(reads.of.path(PathError::OutOfRange { navigator: nav.rule.name, index, count: count as usize })),
    }
}

impl<'p> Over<'p> {
    /// The path from a structure on, if it goes over its entries.
    pub(crate) fn of<S: Store + ?Sized>(
        reads: &mut Reads<'_, S>,
        place: &Place<'_>,
        stored: Option<&Value>,
        navs: &'p [Nav],
    ) -> Result<Option<Over<'p>>, EvalError> {
        let of = reads.of;
        let Kind::Structure(shape) = place.kind() else { return Ok(None) };
        let (Some((first, rest)), Some(size)) = (navs.split_first(), place.size_of(of, stored)?) else {
            return Ok(None);
        };
        let visits = |nav: &Nav| match shape {
            Shape::Map(..) => nav.is(&each::ALL) || nav.is(&each::MAP_VALS) || nav.is(&each::MAP_KEYS),
            Shape::Set | Shape::List => nav.is(&each::ALL),
        };
        let all = (Bound::Unbounded, Bound::Unbounded);
        if visits(first) {
            return Ok(Some(Over { from: all.0, to: all.1, take: Take::All, part: first, rest }));
        }
        let Some((second, behind)) = rest.split_first() else { return Ok(None) };
        if !visits(second) {
            return Ok(None);
        }
        let cx = Cx::new(reads.args);
        let spans = match shape {
            Shape::Map(..) => (50..=54).contains(&first.rule.code),
            Shape::Set => (55..=59).contains(&first.rule.code),
            Shape::List => false,
        };
        if spans {
            let span = Span::of(first, &cx).map_err(|source| of.path(source))?;
            let (from, to) = (key_bound(&span.from), key_bound(&span.to));
            return Ok(Some(Over { from, to, take: span.take, part: second, rest: behind }));
        }
        if let (true, Size::List { first: start, count }) = (first.is(&list::SUBLIST), size) {
            let bound = |argument| match cx.arg_int(first, argument).map(u64::try_from) {
                Ok(Ok(index)) if index <= count => Some(index),
                _ => None,
            };
            // What is out of range is for the navigator to refuse.
            let (Some(from), Some(to)) = (bound(0), bound(1)) else { return Ok(None) };
            if from > to {
                return Ok(None);
            }
            let from = Bound::Included(position_key(start + from));
            let to = Bound::Excluded(position_key(start + to));
            return Ok(Some(Over { from, to, take: Take::All, part: second, rest: behind }));
        }
        Ok(None)
    }

    /// What the rest of the path starts from, for each entry. Reads what it can touch of structures within.
    pub(crate) fn entries<S: Store + ?Sized>(
        &self,
        reads: &mut Reads<'_, S>,
        place: &Place<'_>,
        rows: &Rows,
    ) -> Result<Vec<Start>, EvalError> {
        let of = reads.of;
        let Kind::Structure(shape) = place.kind() else { return Err(of.handle()) };
        let mut starts = Vec::with_capacity(rows.count());
        for (key, value) in rows.iter() {
            let with_key = match shape {
                Shape::Map(..) => !self.part.is(&each::MAP_VALS),
                Shape::Set => true,
                Shape::List => false,
            };
            let with_value = match shape {
                Shape::Map(..) => !self.part.is(&each::MAP_KEYS),
                Shape::Set => false,
                Shape::List => true,
            };
            let mut bytes = Vec::new();
            if with_key && with_value {
                tantu_base::value::put_list_header(&mut bytes, 2);
            }
            if with_key {
                key_to_value(key, &mut bytes).map_err(|source| of.stored(source))?;
            }
            if !with_value || !place.nests() {
                if with_value {
                    bytes.extend_from_slice(value);
                }
                starts.push(Start::Bytes(bytes));
                continue;
            }
            let inner = place.element(key);
            let stored = Some(of.decode(value)?);
            if with_key {
                let key = of.decode_key(key)?;
                let value = match self.rest.split_first() {
                    Some((next, behind)) if next.is(&list::LAST) => value_of(reads, &inner, stored, behind)?,
                    Some((next, _)) if next.is(&list::FIRST) => Value::Null,
                    _ => value_of(reads, &inner, stored, &[])?,
                };
                starts.push(Start::Value(each::pair(key, value)));
            } else {
                starts.push(Start::Value(value_of(reads, &inner, stored, self.rest)?));
            }
        }
        Ok(starts)
    }
}

/// What the rest of a path starts from.
pub(crate) enum Start {
    Bytes(Vec<u8>),
    Value(Value),
}

impl Start {
    pub(crate) fn select(
        &self,
        of: Of,
        rest: &[Nav],
        args: &dyn Args,
        out: &mut Vec<u8>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, EvalError> {
        match self {
            Start::Bytes(bytes) => select_row(of, rest, Some(bytes), args, out, visit),
            Start::Value(value) => select_value(of, rest, value, args, out, visit),
        }
    }
}
