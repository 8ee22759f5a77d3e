//! Large runs go to a segment first (design D6): their bytes are written once, and the log only refers to them.
//!
//! A staged run that is large enough is *detached*: written as a chunk of its own while other writes of the task are
//! sealed as usual. When the chunk is durable the next section gets a reference (depot, first offset, count, length,
//! checksum) and the chunk's index entries. So a reference that is durable names bytes that are durable; a chunk without
//! one was never visible. A run is detached only when everything before it in its partition is in chunks, so that
//! the index has no gap; the runs before it are copied at once if need be. After a replay every reference must have its
//! chunk in the index, and the newest ones are read and compared.

use crate::depot::{DepotPartition, Run};
use crate::layout::{ChunkAt, DepotMeta, depot_chunk_key, depot_meta_key, depot_time_key};
use crate::section::{EntryWriter, Reference};
use crate::task::{StateError, TaskState};
use std::iter::once;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, Entropy};
use tantu_base::id::{ObjectId, Offset, TaskId};

/// A run that is on its way to a segment, or there and not sealed.
#[derive(Debug)]
pub(crate) struct Detached {
    pub(crate) index: usize,
    run: Run,
    /// Where it is, once it is durable.
    at: Option<ChunkAt>,
}

impl Reference {
    /// What names the records of a run, wherever they lie.
    pub(crate) fn of(task: TaskId, depot: ObjectId, run: &Run) -> Self {
        let mut head = Vec::new();
        run.encode_head(&mut head);
        let place = |offset| Place {
            owner: task.0,
            kind: FileKind::DepotSegment,
            incarnation: u64::from(depot.0),
            file: run.first.0,
            offset,
        };
        // The lengths of the records are a part of what they are.
        let crc = place(u64::from(place(0).crc(&head))).crc(run.bytes());
        Self { depot, first: run.first, count: run.count() as u32, size: run.size() as u32, crc }
    }

    /// The offset after its last record.
    pub(crate) fn end(&self) -> Offset {
        Offset(self.first.0.saturating_add(u64::from(self.count)))
    }
}

impl TaskState {
    /// Starts to write a large staged run to a segment, or the runs that have to be there before it. `wall_ms` is the
    /// append time of its records.
    pub fn detach_large(&mut self, wall_ms: u64, entropy: &mut dyn Entropy, disk: &mut dyn Disk) {
        if self.detached.is_some() || self.segments.is_copying() {
            return;
        }
        let Some(index) = self.depots.iter().position(|depot| self.is_large(depot)) else { return };
        let depot = &mut self.depots[index];
        if depot.written_end() == depot.staged.first {
            let run = depot.seal(wall_ms).take();
            let end = self.segments.copy(depot.object, once(&run), entropy.next_u64(), disk);
            depot.set_written(end);
            self.detached = Some(Detached { index, run, at: None });
        } else if depot.uncopied_size() > 0 {
            let end = self.segments.copy(depot.object, depot.uncopied(), entropy.next_u64(), disk);
            depot.set_written(end);
        }
    }

    /// Whether the staged records of a partition go to a segment first: not if some belong to other writes of the section, nor while
    /// records before them have still to come from the disk, and to get to segments themselves, which may take long.
    pub(crate) fn is_large(&self, depot: &DepotPartition) -> bool {
        let is_owed = depot.committed_end() < depot.durable_end();
        depot.staged.size() >= self.large_run_size && !is_owed && !self.is_bound(depot)
    }

    fn is_bound(&self, depot: &DepotPartition) -> bool {
        depot.is_bound || self.side.publishes_to(depot.object)
    }

    /// Whether nothing of the task can be sealed now: records that belong to other writes come behind a large run that is on its
    /// way to a segment.
    pub fn waits_for_segment(&self) -> bool {
        let waits = |detached: &Detached| detached.at.is_none() && self.is_bound(&self.depots[detached.index]);
        self.detached.as_ref().is_some_and(waits)
    }

    /// Whether the staged records of a partition go into the next section: large runs and what follows them wait.
    pub(crate) fn is_sealable(&self, index: usize) -> bool {
        let depot = &self.depots[index];
        let waits = |detached: &Detached| detached.index == index && detached.at.is_none();
        depot.staged.count() > 0 && !self.is_large(depot) && !self.detached.as_ref().is_some_and(waits)
    }

    /// Whether a detached run is durable and can be referred to.
    pub(crate) fn has_reference(&self) -> bool {
        self.detached.as_ref().is_some_and(|detached| detached.at.is_some())
    }

    /// Bytes of large runs that are not committed.
    pub fn detached_size(&self) -> usize {
        let sealed = self.depots.iter().flat_map(|depot| &depot.referred).map(Run::size).sum::<usize>();
        self.detached.as_ref().map_or(0, |detached| detached.run.size()) + sealed
    }

    /// A chunk became durable; true if it is the detached run.
    pub(crate) fn take_detached(&mut self, depot: ObjectId, end: Offset, at: ChunkAt) -> bool {
        let depots = &self.depots;
        let found = self.detached.as_mut().filter(|d| depots[d.index].object == depot && d.run.end() == end);
        found.map(|detached| detached.at = Some(at)).is_some()
    }

    /// Refers to a detached run that is durable.
    pub(crate) fn seal_detached(&mut self, entry: &mut EntryWriter) {
        let Some(Detached { index, run, at: Some(at) }) = self.detached.take_if(|detached| detached.at.is_some())
        else {
            return;
        };
        let partition = &mut self.depots[index];
        let (depot, end) = (partition.object, run.end());
        entry.append_at(&Reference::of(self.task, depot, &run));
        entry.put(&depot_chunk_key(depot, end), &at.encode());
        entry.put(&depot_time_key(depot, at.last_ms, end), &at.encode());
        entry.put(&depot_meta_key(depot), &DepotMeta { copied_end: end, last_ms: at.last_ms }.encode());
        partition.sealed_end = end;
        partition.referred.push_back(run);
    }

    /// A reference became durable, or is found while the log is replayed: then its bytes are checked later.
    pub(crate) fn take_reference(&mut self, reference: Reference) -> Result<(), StateError> {
        let Some(partition) = self.depots.iter_mut().find(|depot| depot.object == reference.depot) else {
            return Ok(());
        };
        if reference.end() <= partition.durable_end() {
            return Ok(());
        }
        if reference.first != partition.durable_end() {
            let (have, found) = (partition.durable_end().0, reference.first.0);
            return Err(StateError::Gap { task: self.task, what: "depot", have, found });
        }
        match partition.referred.pop_front() {
            Some(run) => partition.commit(run),
            // The chunk's index entries, in the same section, say that it is there.
            None => self.unchecked.push(reference),
        }
        Ok(())
    }

    /// Compares what a replayed reference names with what is in the chunk.
    pub(crate) fn check_reference(&self, reference: &Reference, runs: &[Run]) -> Result<(), StateError> {
        let same = |run: &Run| Reference::of(self.task, reference.depot, run) == *reference;
        match runs {
            [run] if same(run) => Ok(()),
            _ => Err(StateError::Reference { task: self.task, depot: reference.depot, first: reference.first }),
        }
    }
}
