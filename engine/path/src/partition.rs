//! Paths over a PState partition in a store.
//!
//! With a top-level map there are three ways. A path that starts with `key` or `must` reads (or, where it
//! replaces blindly, only writes) one entry. A path over all entries, or a range of them, goes entry by entry.
//! Any other is followed on a small map of what it can touch ([`crate::reach`]). A partition of any other
//! schema is one value under the empty key.
//!
//! In each way the reads come first, then the navigation with its closures, then the checks against the
//! schema, and last the writes: nothing is written if anything fails.

use crate::arg::Args;
use crate::error::{EvalError, PathError};
use crate::gather::{Rows, Stretch};
use crate::nav::range::{Span, Take};
use crate::nav::{Reach, each, map, term, view};
use crate::path::{Nav, Path};
use crate::reach::{Image, borrowed, key_bound, read_image};
use crate::row::{Became, NULL_FORM, Of, Visit, select_row, select_value, transform_row};
use crate::schema::Schema;
use crate::scratch::Scratch;
use crate::store::Store;
use crate::structure::{change, find};
use crate::walk::{Cx, check_depth, put_key_form, rebuild_terminated};
use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;
use tantu_base::value::{Value, key_to_value, put_list_header};

/// How a select goes through a stored top-level map.
pub(crate) enum Way<'p> {
    /// One entry.
    Entry { key: &'p Nav, rest: &'p [Nav] },
    /// Entry by entry; `part` says what of an entry the path goes on with.
    Entries { from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, take: Take, part: &'p Nav, rest: &'p [Nav] },
    /// Only counted.
    Count { rest: &'p [Nav] },
    /// On an image of what the path can touch.
    Image,
}

impl<'p> Way<'p> {
    pub(crate) fn of(navs: &'p [Nav], args: &dyn Args) -> Result<Way<'p>, PathError> {
        let Some((first, rest)) = navs.split_first() else { return Ok(Way::Image) };
        if first.is(&map::KEY) || first.is(&map::MUST) {
            return Ok(Way::Entry { key: first, rest });
        }
        if first.is(&view::SIZE) {
            return Ok(Way::Count { rest });
        }
        if visits_entries(first) {
            let (from, to) = (Bound::Unbounded, Bound::Unbounded);
            return Ok(Way::Entries { from, to, take: Take::All, part: first, rest });
        }
        match rest.split_first() {
            Some((second, rest)) if first.rule.reach == Reach::Span && visits_entries(second) => {
                let span = Span::of(first, &Cx::new(args))?;
                let (from, to) = (key_bound(&span.from), key_bound(&span.to));
                Ok(Way::Entries { from, to, take: span.take, part: second, rest })
            }
            _ => Ok(Way::Image),
        }
    }
}

/// How many entries an object has within bounds. None of them is kept.
pub(crate) fn count_entries<S: Store + ?Sized>(
    store: &mut S,
    object: ObjectId,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<u64, EvalError> {
    let mut count = 0;
    store.scan(object, from, to, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

fn visits_entries(nav: &Nav) -> bool {
    nav.is(&each::ALL) || nav.is(&each::MAP_VALS) || nav.is(&each::MAP_KEYS)
}

/// Visits, in value form, every value the path navigates to in a partition. The visitor is called only after
/// the last read: when this answers [`EvalError::Need`] it has seen nothing and no closure has run.
pub fn select_store<S: Store + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
    visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), EvalError> {
    let of = Of(object);
    path.check_select().map_err(|source| of.path(source))?;
    let (path, _) = path.unpaged();
    let path = &*path;
    if schema.has_sub() {
        return find::select(of, schema, &path.navs, store, args, &mut scratch.out, visit);
    }
    let Schema::Map(..) = schema else {
        let found = store.get(object, &[], &mut scratch.value)?;
        let value = found.then_some(&scratch.value[..]);
        return select_row(of, &path.navs, value, args, &mut scratch.out, visit).map(drop);
    };
    match Way::of(&path.navs, args).map_err(|source| of.path(source))? {
        Way::Count { rest } => {
            let count = count_entries(store, object, (Bound::Unbounded, Bound::Unbounded))?;
            select_value(of, rest, &view::size_value(count), args, &mut scratch.out, visit).map(drop)?;
        }
        Way::Entry { key, rest } => {
            scratch.key.clear();
            put_key_form(&key.args[0], args, &mut scratch.key);
            let found = store.get(object, &scratch.key, &mut scratch.value)?;
            if found || key.is(&map::KEY) {
                let value = found.then_some(&scratch.value[..]);
                select_row(of, rest, value, args, &mut scratch.out, visit).map(drop)?;
            }
        }
        Way::Entries { from, to, take, part, rest } => {
            let mut stretch = Stretch::all(borrowed(&from), borrowed(&to));
            scratch.rows.clear();
            match take {
                Take::Last(count) => scratch.rows.read_last(store, object, stretch, count)?,
                Take::First(count) => {
                    stretch.count_max = count;
                    scratch.rows.read_fully(store, object, stretch)?;
                }
                Take::All => {
                    scratch.rows.read_fully(store, object, stretch)?;
                }
            }
            let entries = Entries { of, part, rest, args };
            for (key, value) in scratch.rows.iter() {
                if entries.select(key, value, &mut scratch.arg, &mut scratch.out, visit)?.is_break() {
                    break;
                }
            }
            scratch.rows.release();
        }
        Way::Image => select_image(of, path, store, args, &mut scratch.out, visit)?,
    }
    Ok(())
}

/// What of each gathered entry a path goes on with, and how.
pub(crate) struct Entries<'a> {
    pub(crate) of: Of,
    pub(crate) part: &'a Nav,
    pub(crate) rest: &'a [Nav],
    pub(crate) args: &'a dyn Args,
}

impl Entries<'_> {
    /// Visits what the rest of the path leads to from one entry. `part` and `out` are buffers.
    pub(crate) fn select(
        &self,
        key: &[u8],
        value: &[u8],
        part: &mut Vec<u8>,
        out: &mut Vec<u8>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, EvalError> {
        part.clear();
        let at = if self.part.is(&each::MAP_VALS) {
            value
        } else {
            let pair = self.part.is(&each::ALL);
            if pair {
                put_list_header(part, 2);
            }
            key_to_value(key, part).map_err(|source| self.of.stored(source))?;
            if pair {
                part.extend_from_slice(value);
            }
            part
        };
        select_row(self.of, self.rest, Some(at), self.args, out, visit)
    }
}

fn select_image<S: Store + ?Sized>(
    of: Of,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    out: &mut Vec<u8>,
    visit: Visit<'_>,
) -> Result<(), EvalError> {
    let image = read_image(store, of.0, &path.navs, args, false)?;
    select_value(of, &path.navs, &map_of(of, &image)?, args, out, visit).map(drop)
}

/// An image as a value. Byte order of keys is order of values, so it is sorted.
fn map_of(of: Of, image: &Image) -> Result<Value, EvalError> {
    let entries = image.iter().map(|(key, value)| Ok((of.decode_key(key)?, of.decode(value)?)));
    Ok(Value::Map(entries.collect::<Result<_, EvalError>>()?))
}

/// Applies a transform path to a partition. When this answers [`EvalError::Need`] no closure has run and
/// nothing was written; when it fails, nothing was written.
pub fn transform_store<S: Store + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    let of = Of(object);
    path.check_transform().map_err(|source| of.path(source))?;
    if schema.has_sub() {
        return change::transform(of, schema, &path.navs, store, args);
    }
    let Schema::Map(key_schema, value_schema) = schema else {
        return transform_single(of, schema, path, store, args, scratch);
    };
    match path.navs.split_first() {
        Some((key, rest)) if key.is(&map::KEY) || key.is(&map::MUST) => {
            transform_entry(of, (key_schema, value_schema), key, rest, store, args, scratch)
        }
        Some((nav, rest)) if nav.is(&each::MAP_VALS) => {
            scratch.rows.clear();
            scratch.rows.read_fully(store, object, Stretch::all(Bound::Unbounded, Bound::Unbounded))?;
            let done = transform_values(of, value_schema, rest, store, args, scratch);
            scratch.rows.release();
            done
        }
        _ => transform_image(of, (key_schema, value_schema), path, store, args),
    }
}

/// A partition that is one value.
fn transform_single<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    let blind = path.navs.first().is_some_and(|nav| nav.is(&term::TERM_VAL));
    let found = !blind && store.get(of.0, &[], &mut scratch.value)?;
    let value = if found { &scratch.value[..] } else { NULL_FORM };
    match transform_row(of, &path.navs, Some(value), args, &mut scratch.out)? {
        Became::Void => Err(of.path(PathError::VoidAtTop)),
        Became::Written if !blind && scratch.out == value => Ok(()),
        Became::Written => {
            of.check_change(schema, &|| Ok(None), found.then_some(value), &scratch.out)?;
            Ok(store.put(of.0, &[], &scratch.out)?)
        }
    }
}

/// One entry of a top-level map. Blind writes read nothing (PST-35).
fn transform_entry<S: Store + ?Sized>(
    of: Of,
    (key_schema, value_schema): (&Schema, &Schema),
    nav: &Nav,
    rest: &[Nav],
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    let Scratch { key, value, out, arg, .. } = scratch;
    key.clear();
    put_key_form(&nav.args[0], args, key);
    of.check_key_size(key)?;
    let must = nav.is(&map::MUST);
    let blind = match rest {
        [last] => last.is(&term::TERM_VOID) || (last.is(&term::TERM_VAL) && !must),
        _ => false,
    };
    let found = !blind && store.get(of.0, key, value)?;
    if must && !found && !blind {
        return Ok(());
    }
    match transform_row(of, rest, found.then_some(&value[..]), args, out)? {
        Became::Void if blind || found => Ok(store.delete(of.0, key)?),
        Became::Void => Ok(()),
        Became::Written if found && out == value => Ok(()),
        Became::Written => {
            if !found {
                arg.clear();
                key_to_value(key, arg).map_err(|source| of.stored(source))?;
                check_new_key(of, key_schema, arg)?;
            }
            of.check_change(value_schema, &|| of.decode_key(key).map(Some), found.then_some(value), out)?;
            Ok(store.put(of.0, key, out)?)
        }
    }
}

/// Whether a key that may be new, in value form, fits. A key that was found fitted when it was first written.
pub(crate) fn check_new_key(of: Of, schema: &Schema, key: &[u8]) -> Result<(), EvalError> {
    match schema.check_key_encoded(key) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => of.check_key(schema, &of.decode(key)?),
        Err(source) => Err(of.stored(source)),
    }
}

/// Every value of a top-level map.
fn transform_values<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    rest: &[Nav],
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    // What each entry became; no value form is empty, so an empty one is void.
    let mut became = Rows::default();
    for (key, value) in scratch.rows.iter() {
        match transform_row(of, rest, Some(value), args, &mut scratch.out)? {
            Became::Void => became.push(key, &[]),
            Became::Written if scratch.out == value => {}
            Became::Written => {
                of.check_change(schema, &|| of.decode_key(key).map(Some), Some(value), &scratch.out)?;
                became.push(key, &scratch.out);
            }
        }
    }
    for (key, value) in became.iter() {
        match value {
            [] => store.delete(of.0, key)?,
            _ => store.put(of.0, key, value)?,
        }
    }
    Ok(())
}

/// Any other transform of a top-level map: on an image, whose changes are then written.
fn transform_image<S: Store + ?Sized>(
    of: Of,
    (key_schema, value_schema): (&Schema, &Schema),
    path: &Path,
    store: &mut S,
    args: &dyn Args,
) -> Result<(), EvalError> {
    let before = read_image(store, of.0, &path.navs, args, true)?;
    let map = map_of(of, &before)?;
    let became = rebuild_terminated(&path.navs, Some(map), &mut Cx::new(args)).map_err(|source| of.path(source))?;
    let entries = match became {
        None => return Err(of.path(PathError::VoidAtTop)),
        Some(Value::Null) => vec![],
        Some(Value::Map(entries)) => entries,
        Some(other) => {
            let schema = Schema::map(key_schema.clone(), value_schema.clone());
            let misfit = schema.check(&other).expect_err("invariant: only a map or null fits a map schema");
            return Err(of.schema(None, misfit));
        }
    };
    let mut after = Image::new();
    for (key, value) in entries {
        for part in [&key, &value] {
            check_depth(part).map_err(|source| of.path(source))?;
        }
        let (mut key_form, mut value_form) = (Vec::new(), Vec::new());
        key.encode_key(&mut key_form);
        value.encode(&mut value_form);
        if before.get(&key_form) != Some(&value_form) {
            of.check_key(key_schema, &key)?;
            value_schema.check(&value).map_err(|misfit| of.schema(Some(&key), misfit))?;
            of.check_key_size(&key_form)?;
            of.check_value_size(&value_form)?;
        }
        after.insert(key_form, value_form);
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        store.delete(of.0, key)?;
    }
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
        store.put(of.0, key, value)?;
    }
    Ok(())
}
