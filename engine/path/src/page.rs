//! Selects in pages, for clients: a bounded part of the answer at a time, each evaluated on its own, continued
//! after the last key seen: of the top level, or of the subindexed structure the path goes over.

use crate::arg::Args;
use crate::error::EvalError;
use crate::gather::{Read, Stretch};
use crate::limit::PAGE_SIZE_MAX;
use crate::nav::range::Take;
use crate::partition::{Entries, Way, select_store};
use crate::path::Path;
use crate::reach::borrowed;
use crate::row::{Of, Visit};
use crate::schema::Schema;
use crate::scratch::Scratch;
use crate::store::Store;
use crate::structure::ends;
use crate::structure::find::{self, Over, Spot};
use crate::structure::touch::Reads;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;

/// When a page is full enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit {
    /// Stored bytes read, in bytes; the entry that reaches it is the last.
    pub size: usize,
    /// Entries read. A filter may make a page of many entries an empty one.
    pub entry_count: usize,
}

impl Default for PageLimit {
    fn default() -> PageLimit {
        PageLimit { size: 256 << 10, entry_count: 4096 }
    }
}

/// A part of the answer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page {
    /// How many values follow.
    pub row_count: usize,
    /// The values found, value forms one after the other.
    pub rows: Vec<u8>,
    /// Ask again with this to go on; `None` when the answer is complete.
    pub next: Option<Vec<u8>>,
}

/// The part of a select's answer that comes after the entry named by an earlier page's [`Page::next`].
///
/// A path that starts with `with_page_size` says itself how many entries a page may read, if they are fewer.
/// A path over all entries of a top-level map, or an unlimited range of them, is cut between entries; any
/// other comes as one page. At a missing block, what was read before it is handed out if it fills half a page.
#[expect(clippy::too_many_arguments, reason = "the evaluation's seven, and where to go on and how far")]
pub fn select_page<S: Store + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
    after: Option<&[u8]>,
    limit: PageLimit,
) -> Result<Page, EvalError> {
    let of = Of(object);
    path.check_select().map_err(|source| of.path(source))?;
    let (path, entry_count) = path.unpaged();
    let path = &*path;
    let limit = PageLimit { entry_count: limit.entry_count.min(entry_count.unwrap_or(usize::MAX)), ..limit };
    if schema.has_sub() {
        return select_page_within(schema, object, path, store, args, scratch, after, limit);
    }
    let way = match schema {
        Schema::Map(..) => Way::of(&path.navs, args).map_err(|source| of.path(source))?,
        _ => Way::Image,
    };
    let Way::Entries { from, to, take: Take::All, part, rest } = way else {
        return select_whole(schema, object, path, store, args, scratch);
    };
    let from = match after {
        Some(after) if is_below(&from, after) => Bound::Excluded(after.to_vec()),
        _ => from,
    };
    let mut stretch = Stretch::all(borrowed(&from), borrowed(&to));
    stretch.count_max = limit.entry_count.max(1);
    stretch.size_enough = limit.size.clamp(1, PAGE_SIZE_MAX);
    scratch.rows.clear();
    let read = scratch.rows.read(store, object, stretch)?;
    let few = scratch.rows.count() == 0 || scratch.rows.size() < stretch.size_enough / 2;
    if read == Read::Need && few {
        return Err(EvalError::Need);
    }
    let entries = Entries { of, part, rest, args };
    let Scratch { rows, arg, out, .. } = scratch;
    let page = fill(of, rows.iter(), read, |(key, value), visit| entries.select(key, value, arg, out, visit))?;
    rows.release();
    Ok(page)
}

/// A page of what the entries that were read lead to, cut between two of them.
fn fill<'r, E>(
    of: Of,
    entries: impl Iterator<Item = (&'r [u8], E)>,
    read: Read,
    mut select: impl FnMut((&'r [u8], E), Visit<'_>) -> Result<ControlFlow<()>, EvalError>,
) -> Result<Page, EvalError> {
    let mut page = Page::default();
    let mut last: Option<&[u8]> = None;
    let mut whole = read == Read::Whole;
    for (key, entry) in entries {
        let (count, size) = (page.row_count, page.rows.len());
        if select((key, entry), &mut |row| page.push(row))?.is_break() {
            // This entry's rows do not fit: they begin the next page, unless a page has no room for them at all.
            if last.is_none() {
                return Err(EvalError::PageTooLong { object: of.0 });
            }
            page.rows.truncate(size);
            page.row_count = count;
            whole = false;
            break;
        }
        last = Some(key);
    }
    page.next = if whole { None } else { last.map(<[u8]>::to_vec) };
    Ok(page)
}

/// [`select_page`] of a PState with subindexed structures: a path that goes straight to one of them, or to the
/// top-level map, and over all of its entries is cut between those. Reads no more of it than the page holds.
#[expect(clippy::too_many_arguments, reason = "those of `select_page`")]
fn select_page_within<S: Store + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
    after: Option<&[u8]>,
    limit: PageLimit,
) -> Result<Page, EvalError> {
    let of = Of(object);
    ends::check_ends(schema, &path.navs).map_err(|source| of.path(source))?;
    let mut reads = Reads::new(of, store, args, &path.navs, false);
    let found = match find::locate(&mut reads, schema, &path.navs)? {
        Spot::At { place, stored, rest } => {
            Over::of(&mut reads, &place, stored.as_ref(), rest)?.map(|over| (place, over))
        }
        Spot::Nowhere | Spot::Leaf { .. } => None,
    };
    let Some((place, over)) = found.filter(|(_, over)| over.take == Take::All) else {
        return select_whole(schema, object, path, store, args, scratch);
    };
    let from = match after {
        Some(after) if is_below(&over.from, after) => Bound::Excluded(after.to_vec()),
        _ => over.from.clone(),
    };
    let (from, to) = place.bounds(&from, &over.to);
    let mut stretch = Stretch::all(borrowed(&from), borrowed(&to));
    stretch.count_max = limit.entry_count.max(1);
    stretch.size_enough = limit.size.clamp(1, PAGE_SIZE_MAX);
    stretch.skip = place.prefix().len();
    scratch.rows.clear();
    let read = scratch.rows.read(reads.store, object, stretch)?;
    let few = scratch.rows.count() == 0 || scratch.rows.size() < stretch.size_enough / 2;
    if read == Read::Need && few {
        return Err(EvalError::Need);
    }
    let starts = over.entries(&mut reads, &place, &scratch.rows)?;
    let Scratch { rows, out, .. } = scratch;
    let entries = rows.iter().zip(&starts).map(|((key, _), start)| (key, start));
    let page = fill(of, entries, read, |(_, start), visit| start.select(of, over.rest, args, out, visit))?;
    rows.release();
    Ok(page)
}

/// A select that cannot be cut.
fn select_whole<S: Store + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    path: &Path,
    store: &mut S,
    args: &dyn Args,
    scratch: &mut Scratch,
) -> Result<Page, EvalError> {
    let mut page = Page::default();
    let mut cut = false;
    select_store(schema, object, path, store, args, scratch, &mut |row| {
        let visited = page.push(row);
        cut = visited.is_break();
        visited
    })?;
    if cut { Err(EvalError::PageTooLong { object }) } else { Ok(page) }
}

impl Page {
    /// Adds a row, or breaks if there is no room for it.
    fn push(&mut self, row: &[u8]) -> ControlFlow<()> {
        if self.rows.len() + row.len() > PAGE_SIZE_MAX {
            return ControlFlow::Break(());
        }
        self.rows.extend_from_slice(row);
        self.row_count += 1;
        ControlFlow::Continue(())
    }
}

/// Whether going on after this key starts later than the bound does.
fn is_below(from: &Bound<Vec<u8>>, after: &[u8]) -> bool {
    match from {
        Bound::Unbounded => true,
        Bound::Included(from) | Bound::Excluded(from) => from.as_slice() <= after,
    }
}
