//! What a microbatch reads and writes while it runs: its side run over what the task published.

use super::RunError;
use crate::layout::object_key;
use crate::staged::Known;
use crate::task::TaskState;
use crate::view::{merge_newer, stop, tree_range};
use std::ops::{Bound, ControlFlow};
use tantu_base::id::{ObjectId, RunId};
use tantu_lsm::{BlockCache, Need};
use tantu_path::{Stop, Store};

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

    fn set(&mut self, object: ObjectId, key: &[u8], value: Option<&[u8]>) -> Result<(), Stop> {
        let object = self.object(object);
        let TaskState { scratch, side, .. } = &mut *self.state;
        object_key(object, key, scratch);
        side.open_mut(self.run, scratch, value)?.set(scratch, value);
        Ok(())
    }
}

impl Store for RunView<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        let object = self.object(object);
        let TaskState { scratch, side, tree, visible, .. } = &mut *self.state;
        object_key(object, key, scratch);
        out.clear();
        let found = match side.open(self.run)?.get(scratch) {
            Known::Nothing => tree.get(self.cache, scratch, *visible, out).map_err(|s| stop(s, self.need))?,
            Known::Deleted => false,
            Known::Value(value) => {
                out.extend_from_slice(value);
                true
            }
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
        let TaskState { side, tree, visible, .. } = &*self.state;
        let writes = side.open(self.run)?;
        let is_deleted = |key: &[u8]| writes.is_deleted(key);
        let cache = &mut *self.cache;
        let scan = |visit: tantu_path::VisitEntry<'_>| tree.scan(cache, &from, &to, *visible, visit);
        let merged = merge_newer(writes.range(&from, &to), is_deleted, |a, b| a < b, visit, scan);
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
        let TaskState { side, tree, visible, .. } = &*self.state;
        let writes = side.open(self.run)?;
        let is_deleted = |key: &[u8]| writes.is_deleted(key);
        let cache = &mut *self.cache;
        let scan = |visit: tantu_path::VisitEntry<'_>| tree.scan_back(cache, &from, &to, *visible, visit);
        let merged = merge_newer(writes.range(&from, &to).rev(), is_deleted, |a, b| a > b, visit, scan);
        merged.map_err(|s| stop(s, self.need))
    }
}
