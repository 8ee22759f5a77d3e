//! What a microbatch reads and writes while it runs: its side run over what the task published.

use super::RunError;
use super::layer::{Layer, Way, scan_over};
use crate::task::TaskState;
use crate::view::{merge_newer, stop, tree_range};
use std::ops::{Bound, ControlFlow};
use tantu_base::id::{ObjectId, RunId};
use tantu_lsm::{BlockCache, Need};
use tantu_path::{Stop, Store, VisitEntry};

/// A side run over the tree; writes go to the run.
#[derive(Debug)]
pub struct RunView<'a> {
    /// The task.
    pub state: &'a mut TaskState,
    /// The core's block cache.
    pub cache: &'a mut BlockCache,
    /// The blocks a read stopped for.
    pub need: &'a mut Option<Need>,
    /// The durable ids of the module's PStates, by their place in the module.
    pub objects: &'a [ObjectId],
    /// The run, which takes writes.
    pub run: RunId,
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl RunView<'_> {
    fn object(&self, object: ObjectId) -> ObjectId {
        self.objects[object.index()]
    }

    /// Visits a range by whole tree keys.
    fn scan_range(
        &self,
        (from, to): (&[u8], &[u8]),
        way: Way,
        visit: VisitEntry<'_>,
    ) -> Result<Result<(), tantu_lsm::Stop>, Stop> {
        let TaskState { side, tree, visible, .. } = &*self.state;
        let (run, cache) = (side.open(self.run)?, &*self.cache);
        if run.spilled.is_some() || !side.attached.is_empty() {
            let layers: Vec<Layer<'_>> = side.layers_of(run).chain(side.layers_at(*visible)).collect();
            return Ok(scan_over(&layers, (tree, *visible), cache, (from, to), way, visit));
        }
        // What a run has in memory is at hand: a range of it needs no copies.
        let newer = run.writes.range(from, to);
        let is_deleted = |key: &[u8]| run.writes.is_deleted(key);
        Ok(match way {
            Way::Up => {
                let scan = |visit: VisitEntry<'_>| tree.scan(cache, from, to, *visible, visit);
                merge_newer(newer, is_deleted, |a, b| a < b, visit, scan)
            }
            Way::Down => {
                let scan = |visit: VisitEntry<'_>| tree.scan_back(cache, from, to, *visible, visit);
                merge_newer(newer.rev(), is_deleted, |a, b| a > b, visit, scan)
            }
        })
    }

    fn set(&mut self, object: ObjectId, key: &[u8], value: Option<&[u8]>) -> Result<(), Stop> {
        let object = self.object(object);
        let TaskState { scratch, side, .. } = &mut *self.state;
        scratch.set(object, key);
        let key = scratch.bytes();
        side.open_mut(self.run, key, value)?.set(key, value);
        Ok(())
    }
}

impl Store for RunView<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let object = self.object(object);
        let TaskState { scratch, side, tree, visible, .. } = &mut *self.state;
        scratch.set(object, key);
        let hashed = scratch.hashed();
        out.clear();
        let own = side.get_of(side.open(self.run)?, self.cache, hashed.0, out);
        let found = match own.map_err(|s| stop(s, self.need))? {
            Some(found) => found,
            None => side.get_at(tree, self.cache, (hashed, *visible), out).map_err(|s| stop(s, self.need))?,
        };
        Ok(found || self.state.start(object, key, out))
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.set(object, key, Some(value))
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.set(object, key, None)
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let object = self.object(object);
        let (from, to) = tree_range(object, Bound::Included(from), Bound::Excluded(to));
        self.state.side.open_mut(self.run, &from, Some(&to))?.delete_range(&from, &to);
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
        let merged = self.scan_range((&from, &to), Way::Up, &mut |key, value| visit(&key[4..], value))?;
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
        let merged = self.scan_range((&from, &to), Way::Down, &mut |key, value| visit(&key[4..], value))?;
        merged.map_err(|s| stop(s, self.need))
    }
}
