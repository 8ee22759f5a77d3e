//! What is newer than the tree, layer over layer: the run that reads itself, its part on the disk, and published runs that are
//! not in the tree yet.
//!
//! A point read asks the layers from the newest on, then the tree. A range is read page by page: a few entries of each layer,
//! and of the tree what lies among them, so that a reader that stops early has not gone through all of a large run.

use super::attached::Attached;
use super::spill::Spilled;
use super::writes::SideWrites;
use super::{Side, SideRun};
use crate::staged::Known;
use crate::task::TaskState;
use crate::view::merge_newer;
use std::collections::BTreeMap;
use tantu_base::id::Version;
use tantu_lsm::{BlockCache, Stop, Tree};
use tantu_path::VisitEntry;

/// Entries that the first page of a range takes of each layer; each further page takes twice as many,
const PAGE_COUNT_MIN: usize = 16;
/// but no more than these.
const PAGE_COUNT_MAX: usize = 512;

/// In which order a range is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

/// A key and its value; none: it is deleted.
pub(crate) type Entry = (Vec<u8>, Option<Vec<u8>>);

/// Writes that hide what lies below.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer<'a> {
    Memory(&'a SideWrites),
    Spilled(&'a Spilled, &'a Tree),
}

impl Layer<'_> {
    /// Whether it has a value for a key, which then is in `out`, or deletes it; none if it knows nothing of it.
    fn get(&self, cache: &BlockCache, key: &[u8], out: &mut Vec<u8>) -> Result<Option<bool>, Stop> {
        match self {
            Layer::Memory(writes) => {
                out.clear();
                Ok(match writes.get(key) {
                    Known::Nothing => None,
                    Known::Deleted => Some(false),
                    Known::Value(value) => {
                        out.extend_from_slice(value);
                        Some(true)
                    }
                })
            }
            Layer::Spilled(run, tree) => run.get(tree, cache, key, out),
        }
    }

    /// Whether a deleted range of it hides what lies below of a key.
    fn is_deleted(&self, key: &[u8]) -> bool {
        match self {
            Layer::Memory(writes) => writes.is_deleted(key),
            Layer::Spilled(run, _) => run.ranges.holds(key),
        }
    }

    /// The first entries of a range, at most so many.
    fn page(&self, cache: &BlockCache, (from, to): (&[u8], &[u8]), count: usize, way: Way) -> Result<Vec<Entry>, Stop> {
        let owned = |(key, known): (&[u8], Known<'_>)| match known {
            Known::Value(value) => (key.to_vec(), Some(value.to_vec())),
            Known::Deleted | Known::Nothing => (key.to_vec(), None),
        };
        match (self, way) {
            (Layer::Memory(writes), Way::Up) => Ok(writes.range(from, to).take(count).map(owned).collect()),
            (Layer::Memory(writes), Way::Down) => Ok(writes.range(from, to).rev().take(count).map(owned).collect()),
            (Layer::Spilled(run, tree), _) => run.page(tree, cache, (from, to), count, way),
        }
    }
}

/// Some entries of a range, and the part of it that they are all of.
struct Page {
    from: Vec<u8>,
    to: Vec<u8>,
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Page {
    /// The first page of a range of these layers, newest first.
    fn gather(
        layers: &[Layer<'_>],
        cache: &BlockCache,
        (from, to): (&[u8], &[u8]),
        count: usize,
        way: Way,
    ) -> Result<Self, Stop> {
        let mut page = Page { from: from.to_vec(), to: to.to_vec(), entries: BTreeMap::new() };
        for layer in layers.iter().rev() {
            let newer = layer.page(cache, (&page.from, &page.to), count, way)?;
            if let Some((last, _)) = newer.last().filter(|_| newer.len() == count) {
                match way {
                    // The least key behind it.
                    Way::Up => page.to = [&last[..], &[0]].concat(),
                    Way::Down => page.from = last.clone(),
                }
            }
            // What is hidden here is hidden in the tree as well.
            page.entries.retain(|key, _| !layer.is_deleted(key));
            page.entries.extend(newer);
        }
        let Self { from, to, entries } = &mut page;
        entries.retain(|key, _| (&*from..&*to).contains(&key));
        Ok(page)
    }
}

/// Visits what layers, newest first, and the tree have in a range at a version, by whole tree keys.
pub(crate) fn scan_over(
    layers: &[Layer<'_>],
    tree: (&Tree, Version),
    cache: &BlockCache,
    (from, to): (&[u8], &[u8]),
    way: Way,
    visit: VisitEntry<'_>,
) -> Result<(), Stop> {
    let (tree, at) = tree;
    let scan = |from: &[u8], to: &[u8], visit: VisitEntry<'_>| match way {
        Way::Up => tree.scan(cache, from, to, at, visit),
        Way::Down => tree.scan_back(cache, from, to, at, visit),
    };
    if layers.is_empty() {
        return scan(from, to, visit);
    }
    let (mut from, mut to, mut count) = (from.to_vec(), to.to_vec(), PAGE_COUNT_MIN);
    let mut broke = false;
    while from < to && !broke {
        let page = Page::gather(layers, cache, (&from, &to), count, way)?;
        let visit: VisitEntry<'_> = &mut |key, value| {
            let flow = visit(key, value);
            broke |= flow.is_break();
            flow
        };
        let newer =
            page.entries.iter().map(|(key, value)| (&key[..], value.as_deref().map_or(Known::Deleted, Known::Value)));
        let is_deleted = |key: &[u8]| layers.iter().any(|layer| layer.is_deleted(key));
        let scan = |visit: VisitEntry<'_>| scan(&page.from, &page.to, visit);
        match way {
            Way::Up => merge_newer(newer, is_deleted, |a, b| a < b, visit, scan)?,
            Way::Down => merge_newer(newer.rev(), is_deleted, |a, b| a > b, visit, scan)?,
        }
        match way {
            Way::Up => from = page.to,
            Way::Down => to = page.from,
        }
        count = (2 * count).min(PAGE_COUNT_MAX);
    }
    Ok(())
}

impl Side {
    /// The layers of a run, newest first.
    pub(crate) fn layers_of<'a>(&'a self, run: &'a SideRun) -> impl Iterator<Item = Layer<'a>> {
        let spilled = run.spilled.as_ref().zip(self.spill.as_deref());
        let spilled = spilled.map(|(run, tree)| Layer::Spilled(run, tree));
        std::iter::once(Layer::Memory(&run.writes)).chain(spilled)
    }

    /// The layers of published runs that a reader at a version sees and that are not in the tree yet, newest first.
    pub(crate) fn layers_at(&self, at: Version) -> impl Iterator<Item = Layer<'_>> {
        // What is all in the tree may be older there than what a later run put over it.
        let is_seen = move |attached: &&Attached| attached.now.version <= at && !attached.is_merged();
        let seen = self.attached.iter().rev().filter(is_seen);
        seen.flat_map(|attached| self.layers_of(&attached.run))
    }

    /// Reads a key, given with its [hash](Tree::hash), at a version: published runs that are not in the tree yet, then the tree.
    #[inline]
    pub(crate) fn get_at(
        &self,
        tree: &Tree,
        cache: &BlockCache,
        (hashed, at): ((&[u8], u64), Version),
        out: &mut Vec<u8>,
    ) -> Result<bool, Stop> {
        if !self.attached.is_empty() {
            for layer in self.layers_at(at) {
                if let Some(found) = layer.get(cache, hashed.0, out)? {
                    return Ok(found);
                }
            }
        }
        tree.get_hashed(cache, hashed, at, out)
    }

    /// Reads a key of a run that is not published: whether it has a value, or deletes it; none if it knows nothing of it.
    pub(crate) fn get_of(
        &self,
        run: &SideRun,
        cache: &BlockCache,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<bool>, Stop> {
        for layer in self.layers_of(run) {
            if let Some(found) = layer.get(cache, key, out)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl TaskState {
    /// Visits what is published in a range at a version, by whole tree keys: runs that are not in the tree yet over the tree.
    pub(crate) fn scan_at(
        &self,
        cache: &BlockCache,
        range: (&[u8], &[u8]),
        at: Version,
        way: Way,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let layers: Vec<Layer<'_>> = self.side.layers_at(at).collect();
        scan_over(&layers, (&self.tree, at), cache, range, way, visit)
    }
}
