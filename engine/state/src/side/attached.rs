//! Published runs that are not all in the tree yet.
//!
//! A small run enters the tree when the section that publishes it commits. A larger one would hold up everything else of its
//! core for that long: it is *attached* instead. From then on readers at its version see it, over the tree, and its writes go
//! into the tree slice by slice, at that same version. Nobody else writes those keys meanwhile: they belong to the topology, whose
//! next publish waits.
//!
//! When all of it is in the tree a later section says so, with the entry that tells what the topology published last. So a
//! replay that finds the publish, and in the tree no such entry, takes all writes of the run once more, whatever the tree has
//! flushed of them; the log, and the run's files, are kept until that entry is flushed.

use super::{Published, Side, SideRun};
use crate::task::{StateError, TaskState};
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, RunId, Version};
use tantu_lsm::{BlockCache, Stop, Write};
use tantu_replog::Lsn;

/// Writes of a run that go into the tree in one slice, about 200 µs, unless its options say otherwise. A run with no more of
/// them needs no slices.
pub const SIDE_SLICE_COUNT: usize = 256;
/// Bytes after which a slice ends.
pub(crate) const SIDE_SLICE_SIZE: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) now: Published,
    pub(crate) run: SideRun,
    /// Of a run with files: the last key that is in the tree.
    behind: Option<Vec<u8>>,
    /// All of it is in the tree, and the next section says so.
    is_merged: bool,
}

impl Attached {
    /// Whether all of it is in the tree, and only the log does not say so yet.
    pub(crate) fn is_merged(&self) -> bool {
        self.is_merged
    }
}

impl Side {
    /// Whether all of a run is written in one slice.
    pub(crate) fn is_small(&self, run: &SideRun) -> bool {
        let fits = run.writes.count() <= self.slice_count && run.writes.size() <= SIDE_SLICE_SIZE;
        fits && run.spilled.is_none()
    }

    /// Whether something that a topology published is not in the tree yet.
    pub(crate) fn is_attached(&self, topology: ObjectId) -> bool {
        self.attached.iter().any(|attached| attached.now.run.topology == topology)
    }

    pub(crate) fn attach(&mut self, now: Published, run: SideRun) {
        self.attached.push_back(Attached { now, run, behind: None, is_merged: false });
    }

    /// A section of this process says that all of a run is in the tree: it is durable.
    pub(crate) fn take_record(&mut self, topology: ObjectId, value: &[u8], version: Version, lsn: Lsn) {
        let Ok(recorded) = Published::decode(topology, value) else { return };
        let is_it = |attached: &Attached| attached.is_merged && attached.now == recorded;
        if let Some(at) = self.attached.iter().position(is_it)
            && let Some(Attached { run, .. }) = self.attached.remove(at)
        {
            self.unflushed.push_back((version, run.from.unwrap_or(lsn), run.serial()));
        }
    }

    /// Whether the tree had a publish, or a later one of its topology, when it was opened; none if that is not known.
    pub(crate) fn was_in_tree(&self, run: RunId) -> Option<bool> {
        self.in_tree.get(&run.topology).map(|last| last.is_some_and(|last| last >= run))
    }
}

impl TaskState {
    /// One slice of what side runs want done in the background: publishing, writing to disk, giving memory back. True if there
    /// is more to do before something completes.
    ///
    /// # Errors
    /// [`StateError`] of a tree.
    pub fn side_slice(&mut self, cache: &BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        let mut more = self.side.shed();
        more |= self.merge_slice(cache, disk)?;
        more |= self.side.spill_slice();
        more |= self.owed_slice(cache, disk)?;
        more |= self.side.step_spill(self.tree.flushed(), disk)?;
        Ok(more)
    }

    /// The next writes of the first published run that is not all in the tree.
    fn merge_slice(&mut self, cache: &BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        let Self { side, tree, .. } = self;
        let Side { attached, spill, shedding, slice_count, .. } = side;
        let Some(first) = attached.iter_mut().find(|attached| !attached.is_merged) else { return Ok(false) };
        let (version, Attached { run, behind, .. }) = (first.now.version, &mut *first);
        let slice = match (&run.spilled, spill) {
            (Some(spilled), Some(files)) => match spilled.slice(files, cache, behind.as_deref(), *slice_count) {
                Ok(slice) => slice,
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
                Err(Stop::Need(need)) => return Ok(!files.fetch(&need, disk)),
            },
            _ => run.writes.take_slice(*slice_count, SIDE_SLICE_SIZE),
        };
        tree.apply_late(version, slice.writes());
        let is_last = match slice.last_key() {
            Some(key) if run.spilled.is_some() => {
                *behind = Some(key.to_vec());
                false
            }
            _ => run.writes.count() == 0,
        };
        if is_last {
            first.is_merged = true;
            shedding.push(std::mem::take(&mut first.run.writes));
            let (key, value) = first.now.record();
            self.put_system(key, value.to_vec());
        }
        Ok(true)
    }
}

impl super::writes::Slice {
    /// As the tree takes them: in one version a deleted range comes before what is put.
    pub(crate) fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        let ranges = self.ranges.iter().map(|(from, to)| Write::DeleteRange { from, to });
        let entries = self.entries().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        ranges.chain(entries)
    }
}
