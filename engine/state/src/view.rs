//! The two ways to look at a task's PStates.
//!
//! [`OwnView`] is what an owning topology reads and writes: staged over pending over the tree. [`PinnedView`] is
//! what everybody else reads: the tree at one committed version. A read that needs a block which is not in
//! the cache leaves the block list in `need` and answers [`Stop::Need`]; it never waits.

use crate::layout::{object_end, object_key};
use crate::side::layer::Way;
use crate::staged::Known;
use crate::task::TaskState;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::{ObjectId, Version};
use tantu_base::planted::{self, Bug};
use tantu_lsm::{BlockCache, Need, PointRead, Tree};
use tantu_path::{Stop, Store, VisitEntry};

/// Turns a tree's answer into a store's.
pub(crate) fn stop(stop: tantu_lsm::Stop, need: &mut Option<Need>) -> Stop {
    match stop {
        tantu_lsm::Stop::Need(blocks) => {
            *need = Some(blocks);
            Stop::Need
        }
        tantu_lsm::Stop::Corrupt(corruption) => Stop::Failed(corruption.to_string()),
    }
}

/// The tree keys `[from, to)` of a range of an object's keys.
pub(crate) fn tree_range(object: ObjectId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let key = |key: &[u8], past: bool| {
        let mut out = Vec::with_capacity(key.len() + 5);
        object_key(object, key, &mut out);
        if past {
            out.push(0);
        }
        out
    };
    let from = match from {
        Bound::Included(from) => key(from, false),
        Bound::Excluded(from) => key(from, true),
        Bound::Unbounded => object.0.to_be_bytes().to_vec(),
    };
    let to = match to {
        Bound::Included(to) => key(to, true),
        Bound::Excluded(to) => key(to, false),
        Bound::Unbounded => object_end(object).to_vec(),
    };
    (from, to)
}

/// Keys whose memory is waited for at once.
const EXPECTED_TOGETHER: usize = 16;

impl TaskState {
    /// What is staged or pending of a tree key. Nobody but its owner may see that.
    fn uncommitted(&self, tree_key: &[u8]) -> Known<'_> {
        let mut layers = std::iter::once(&self.staged).chain(self.layers.iter().rev().map(|(_, layer)| layer));
        let known = layers.find_map(|layer| Some(layer.get(tree_key)).filter(|known| !matches!(known, Known::Nothing)));
        known.unwrap_or(Known::Nothing)
    }

    /// Has fetched what reads of these keys of an object will look at in memory; they lie one after the other, each up to its end.
    pub fn expect_keys(&self, object: ObjectId, keys: &[u8], ends: &[usize]) {
        let (mut bytes, mut places, mut from) = (Vec::new(), Vec::with_capacity(EXPECTED_TOGETHER), 0);
        for together in ends.chunks(EXPECTED_TOGETHER) {
            bytes.clear();
            places.clear();
            for end in together {
                let start = bytes.len();
                bytes.extend_from_slice(&object.0.to_be_bytes());
                bytes.extend_from_slice(&keys[from..*end]);
                places.push(start..bytes.len());
                from = *end;
            }
            self.tree.expect_reads(places.iter().map(|place| &bytes[place.clone()]));
        }
    }

    /// Whether [`TaskState::read_points`] has what is committed: nothing that is published waits outside of the tree.
    pub fn has_points(&self) -> bool {
        self.side.attached.is_empty() && !planted::has(Bug::VisibleBeforeCommit)
    }

    /// Reads keys of its tree at the newest committed version, side by side; only while [`TaskState::has_points`] says so.
    ///
    /// # Errors
    /// As [`tantu_lsm::Tree::multi_get`].
    pub fn read_points(
        &self,
        cache: &BlockCache,
        reads: &mut [PointRead<'_>],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), tantu_lsm::Stop> {
        debug_assert!(self.has_points(), "a run that is published and not in the tree is not seen");
        self.tree.multi_get(cache, reads, self.visible, visit)
    }

    /// Has fetched what reads of these keys of its tree will look at in memory ([`tantu_lsm::Tree::expect_reads`]).
    pub fn expect_reads<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        self.tree.expect_reads(keys);
    }
}

/// Staged over pending over the tree; writes are staged.
#[derive(Debug)]
pub struct OwnView<'a> {
    /// The task.
    pub state: &'a mut TaskState,
    /// The core's block cache.
    pub cache: &'a mut BlockCache,
    /// The blocks a read stopped for.
    pub need: &'a mut Option<Need>,
    /// The durable ids of the module's PStates, by their place in the module.
    pub objects: &'a [ObjectId],
}

impl OwnView<'_> {
    fn object(&self, object: ObjectId) -> ObjectId {
        self.objects[object.index()]
    }
}

impl Store for OwnView<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let object = self.object(object);
        let TaskState { scratch, staged, layers, tree, side, visible, .. } = &mut *self.state;
        scratch.set(object, key);
        let hashed = scratch.hashed();
        out.clear();
        // Most keys are only in the tree: what it will look at is on its way while the layers are asked.
        tree.expect_hashed(hashed.1);
        for (above, layer) in std::iter::once(&*staged).chain(layers.iter().rev().map(|(_, layer)| layer)).enumerate() {
            if above == 1 {
                tree.expect_more(hashed.1);
            }
            match layer.get_hashed(hashed) {
                Known::Nothing => {}
                Known::Deleted => return Ok(self.state.start(object, key, out)),
                Known::Value(value) => {
                    out.extend_from_slice(value);
                    return Ok(true);
                }
            }
        }
        let found = side.get_at(tree, self.cache, (hashed, *visible), out).map_err(|s| stop(s, self.need))?;
        Ok(found || self.state.start(object, key, out))
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        let object = self.object(object);
        let TaskState { scratch, staged, .. } = &mut *self.state;
        scratch.set(object, key);
        staged.set_hashed(scratch.hashed(), Some(value));
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        let object = self.object(object);
        let TaskState { scratch, staged, .. } = &mut *self.state;
        scratch.set(object, key);
        staged.set_hashed(scratch.hashed(), None);
        Ok(())
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let object = self.object(object);
        let (from, to) = tree_range(object, Bound::Included(from), Bound::Excluded(to));
        self.state.staged.delete_range(&from, &to);
        Ok(())
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let object = self.object(object);
        let (from, to) = tree_range(object, from, to);
        let state = &mut *self.state;
        let overlay = Overlay::of(state, &from, &to);
        let (cache, at) = (&*self.cache, state.visible);
        let merged = overlay.merge(visit, |visit| state.scan_at(cache, (&from, &to), at, Way::Up, visit));
        merged.map_err(|s| stop(s, self.need))
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let object = self.object(object);
        let (from, to) = tree_range(object, from, to);
        let state = &mut *self.state;
        let overlay = Overlay::of(state, &from, &to);
        let (cache, at) = (&*self.cache, state.visible);
        let merged = overlay.merge_back(visit, |visit| state.scan_at(cache, (&from, &to), at, Way::Down, visit));
        merged.map_err(|s| stop(s, self.need))
    }
}

/// What is staged and pending of a range of keys.
pub(crate) struct Overlay<'a> {
    pub(crate) entries: BTreeMap<&'a [u8], Known<'a>>,
    /// Ranges that were deleted: what the tree has there is hidden.
    pub(crate) deleted: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn of(state: &'a TaskState, from: &[u8], to: &[u8]) -> Overlay<'a> {
        let mut overlay = Overlay { entries: BTreeMap::new(), deleted: Vec::new() };
        for layer in state.layers.iter().map(|(_, layer)| layer).chain(std::iter::once(&state.staged)) {
            for (start, end) in layer.ranges().filter(|(start, end)| *start < to && *end > from && start < end) {
                overlay.deleted.push((start, end));
                overlay.entries.range_mut::<&[u8], _>(start..end).for_each(|(_, known)| *known = Known::Deleted);
            }
            overlay.entries.extend(layer.iter().filter(|(key, _)| *key >= from && *key < to));
        }
        overlay
    }

    /// Visits what is newer and what a scan of the tree gives, in ascending order.
    pub(crate) fn merge(
        &self,
        visit: VisitEntry<'_>,
        scan: impl FnOnce(VisitEntry<'_>) -> Result<(), tantu_lsm::Stop>,
    ) -> Result<(), tantu_lsm::Stop> {
        let newer = self.entries.iter().map(|(key, known)| (*key, *known));
        let visit: VisitEntry<'_> = &mut |key, value| visit(&key[4..], value);
        merge_newer(newer, |key| self.is_deleted(key), |a, b| a < b, visit, scan)
    }

    /// As [`Overlay::merge`], in descending order.
    pub(crate) fn merge_back(
        &self,
        visit: VisitEntry<'_>,
        scan: impl FnOnce(VisitEntry<'_>) -> Result<(), tantu_lsm::Stop>,
    ) -> Result<(), tantu_lsm::Stop> {
        let newer = self.entries.iter().rev().map(|(key, known)| (*key, *known));
        let visit: VisitEntry<'_> = &mut |key, value| visit(&key[4..], value);
        merge_newer(newer, |key| self.is_deleted(key), |a, b| a > b, visit, scan)
    }

    /// Whether a deleted range hides what the tree has of a key.
    fn is_deleted(&self, key: &[u8]) -> bool {
        self.deleted.iter().any(|(start, end)| *start <= key && key < *end)
    }
}

/// Visits, by whole tree keys, what is newer and what a scan of the tree gives, both in the order in which `comes_before` says that a key
/// comes before another. `is_deleted` says of a key of the tree, of which nothing newer is known, whether it is hidden.
pub(crate) fn merge_newer<'a>(
    newer: impl Iterator<Item = (&'a [u8], Known<'a>)>,
    is_deleted: impl Fn(&[u8]) -> bool,
    comes_before: fn(&[u8], &[u8]) -> bool,
    visit: VisitEntry<'_>,
    scan: impl FnOnce(VisitEntry<'_>) -> Result<(), tantu_lsm::Stop>,
) -> Result<(), tantu_lsm::Stop> {
    let mut newer = newer.peekable();
    let mut broke = false;
    let mut emit = |key: &[u8], value: Known<'_>| match value {
        Known::Value(value) => visit(key, value),
        Known::Deleted | Known::Nothing => ControlFlow::Continue(()),
    };
    scan(&mut |key, value| {
        while let Some((key, known)) = newer.next_if(|(newer, _)| comes_before(newer, key)) {
            if emit(key, known).is_break() {
                broke = true;
                return ControlFlow::Break(());
            }
        }
        let known = match newer.next_if(|(newer, _)| *newer == key) {
            Some((_, known)) => known,
            None if is_deleted(key) => Known::Deleted,
            None => Known::Value(value),
        };
        let flow = emit(key, known);
        broke |= flow.is_break();
        flow
    })?;
    if !broke {
        let _ = newer.try_for_each(|(key, known)| emit(key, known));
    }
    Ok(())
}

/// The tree at one committed version; read only.
#[derive(Debug)]
pub struct PinnedView<'a> {
    /// The task.
    pub state: &'a TaskState,
    /// The core's block cache.
    pub cache: &'a mut BlockCache,
    /// The blocks a read stopped for.
    pub need: &'a mut Option<Need>,
    /// The durable ids of the module's PStates, by their place in the module.
    pub objects: &'a [ObjectId],
    /// The version to read at, which must be pinned.
    pub at: Version,
}

impl Store for PinnedView<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let object = self.objects[object.index()];
        let mut tree_key = Vec::with_capacity(key.len() + 4);
        object_key(object, key, &mut tree_key);
        out.clear();
        if planted::has(Bug::VisibleBeforeCommit)
            && let Known::Value(value) = self.state.uncommitted(&tree_key)
        {
            out.extend_from_slice(value);
            return Ok(true);
        }
        let TaskState { side, tree, .. } = self.state;
        let hashed = (&tree_key[..], Tree::hash(&tree_key));
        let found = side.get_at(tree, self.cache, (hashed, self.at), out).map_err(|s| stop(s, self.need))?;
        Ok(found || self.state.start(object, key, out))
    }

    fn put(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed("a committed version cannot be written".into()))
    }

    fn delete(&mut self, _: ObjectId, _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed("a committed version cannot be written".into()))
    }

    fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(Stop::Failed("a committed version cannot be written".into()))
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let (from, to) = tree_range(self.objects[object.index()], from, to);
        let visit: VisitEntry<'_> = &mut |key, value| visit(&key[4..], value);
        let result = self.state.scan_at(self.cache, (&from, &to), self.at, Way::Down, visit);
        result.map_err(|s| stop(s, self.need))
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let (from, to) = tree_range(self.objects[object.index()], from, to);
        let visit: VisitEntry<'_> = &mut |key, value| visit(&key[4..], value);
        let result = self.state.scan_at(self.cache, (&from, &to), self.at, Way::Up, visit);
        result.map_err(|s| stop(s, self.need))
    }
}
