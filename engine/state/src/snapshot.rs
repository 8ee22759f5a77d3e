//! A PState partition as it was at one instant, what was staged and pending then included, for reads that go on later.
//!
//! What was committed is the tree at a pinned version. What was not is copied: it is as much as one batch or two have written to
//! the one object, and its layers are merged with the tree or dropped long before the last page is read.

use crate::layout::{object_end, object_key};
use crate::side::layer::Way;
use crate::staged::Known;
use crate::task::TaskState;
use crate::view::{Overlay, OwnView, stop, tree_range};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::{ObjectId, Version};
use tantu_lsm::{BlockCache, Need, Tree};
use tantu_path::{Stop, Store, VisitEntry};

/// See the module. Its version is pinned until [`Snapshot::release`].
#[derive(Debug)]
#[must_use = "its version stays pinned until it is released"]
pub struct Snapshot {
    at: Version,
    /// By tree key; none for what was deleted.
    newer: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Deleted ranges of tree keys.
    deleted: Vec<(Vec<u8>, Vec<u8>)>,
    size: usize,
}

impl Snapshot {
    /// The committed state at a version, which is pinned once more.
    pub fn committed(state: &mut TaskState, at: Version) -> Snapshot {
        state.pin(at);
        Snapshot { at, newer: BTreeMap::new(), deleted: Vec::new(), size: 0 }
    }

    /// Bytes of what it copied.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives its version free.
    pub fn release(self, state: &mut TaskState) {
        state.unpin(self.at);
    }

    fn get(&self, key: &[u8]) -> Known<'_> {
        match self.newer.get(key) {
            Some(Some(value)) => Known::Value(value),
            Some(None) => Known::Deleted,
            None if self.deleted.iter().any(|(from, to)| &from[..] <= key && key < &to[..]) => Known::Deleted,
            None => Known::Nothing,
        }
    }

    fn overlay(&self, from: &[u8], to: &[u8]) -> Overlay<'_> {
        let mut overlay = Overlay { entries: BTreeMap::new(), deleted: Vec::new() };
        if from < to {
            for (key, value) in self.newer.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
                overlay.entries.insert(key, value.as_deref().map_or(Known::Deleted, Known::Value));
            }
        }
        overlay.deleted.extend(self.deleted.iter().map(|(from, to)| (&from[..], &to[..])));
        overlay
    }
}

impl OwnView<'_> {
    /// The partition of a PState as it is now, for reads that go on later.
    pub fn snapshot(&mut self, object: ObjectId) -> Snapshot {
        let object = self.objects[object.index()];
        let (from, to) = (object.0.to_be_bytes().to_vec(), object_end(object));
        let overlay = Overlay::of(self.state, &from, &to);
        let owned = |(key, known): (&&[u8], &Known<'_>)| match known {
            Known::Value(value) => (key.to_vec(), Some(value.to_vec())),
            Known::Deleted | Known::Nothing => (key.to_vec(), None),
        };
        let newer: BTreeMap<_, _> = overlay.entries.iter().map(owned).collect();
        let deleted: Vec<_> = overlay.deleted.iter().map(|(from, to)| (from.to_vec(), to.to_vec())).collect();
        let size = newer.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let at = self.state.visible();
        self.state.pin(at);
        Snapshot { at, newer, deleted, size }
    }
}

/// Reads a [`Snapshot`].
#[derive(Debug)]
pub struct SnapshotView<'a> {
    /// The task.
    pub state: &'a TaskState,
    /// The core's block cache.
    pub cache: &'a mut BlockCache,
    /// The blocks a read stopped for.
    pub need: &'a mut Option<Need>,
    /// The durable ids of the module's PStates, by their place in the module.
    pub objects: &'a [ObjectId],
    /// What is read.
    pub snapshot: &'a Snapshot,
}

fn read_only() -> Stop {
    Stop::Failed("what was is not written".into())
}

impl Store for SnapshotView<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let object = self.objects[object.index()];
        let mut tree_key = Vec::with_capacity(key.len() + 4);
        object_key(object, key, &mut tree_key);
        out.clear();
        let found = match self.snapshot.get(&tree_key) {
            Known::Value(value) => {
                out.extend_from_slice(value);
                true
            }
            Known::Deleted => false,
            Known::Nothing => {
                let (TaskState { side, tree, .. }, at) = (self.state, self.snapshot.at);
                let hashed = (&tree_key[..], Tree::hash(&tree_key));
                side.get_at(tree, self.cache, (hashed, at), out).map_err(|s| stop(s, self.need))?
            }
        };
        Ok(found || self.state.start(object, key, out))
    }

    fn put(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(read_only())
    }

    fn delete(&mut self, _: ObjectId, _: &[u8]) -> Result<(), Stop> {
        Err(read_only())
    }

    fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
        Err(read_only())
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let (from, to) = tree_range(self.objects[object.index()], from, to);
        let overlay = self.snapshot.overlay(&from, &to);
        let (state, cache, at) = (self.state, &*self.cache, self.snapshot.at);
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
        let (from, to) = tree_range(self.objects[object.index()], from, to);
        let overlay = self.snapshot.overlay(&from, &to);
        let (state, cache, at) = (self.state, &*self.cache, self.snapshot.at);
        let merged = overlay.merge_back(visit, |visit| state.scan_at(cache, (&from, &to), at, Way::Down, visit));
        merged.map_err(|s| stop(s, self.need))
    }
}
