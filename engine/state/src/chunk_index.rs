//! The index of a depot's chunks in the task's tree, read while the task is opened: by offset to check what is on the
//! disk, by time to find where a topology starts.

use crate::layout::{ChunkAt, depot_chunk_key, depot_time_key};
use crate::load::read_chunk_entry;
use crate::section::Reference;
use crate::task::{StateError, TaskState, fetch_now};
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset};
use tantu_lsm::{BlockCache, Stop};

impl TaskState {
    /// Reads and checks the newest chunks of every depot. Blocking; after the replay, before the first event.
    ///
    /// # Errors
    /// [`StateError`] naming the damaged segment and the place in it.
    pub fn verify(&mut self, disk: &mut dyn Disk, cache: &mut BlockCache, size_max: u64) -> Result<(), StateError> {
        let task = self.task;
        self.side.end_replay().map_err(|(run, what)| StateError::Run { task, run, what })?;
        self.end_spill_replay(disk, cache)?;
        let mut segments = Vec::new();
        for index in 0..self.depots.len() {
            let depot = self.depots[index].object;
            let (from, to) = (depot_chunk_key(depot, Offset(0)), depot_chunk_key(depot, Offset(u64::MAX)));
            let chunks = self.chunks_now(disk, cache, depot, from, &to, usize::MAX)?;
            let gap = |have: Offset, found: Offset| StateError::Gap {
                task: self.task,
                what: "chunk index",
                have: have.0,
                found: found.0,
            };
            let mut expected_end = self.depots[index].copied_end;
            for (end, at) in chunks.iter().rev() {
                if *end != expected_end {
                    return Err(gap(*end, expected_end));
                }
                expected_end = at.first;
            }
            if expected_end > self.depots[index].start() {
                return Err(gap(self.depots[index].start(), expected_end));
            }
            let references = self.take_references(index, &chunks)?;
            segments.extend(chunks.iter().map(|(_, at)| at.segment));
            let mut left = size_max;
            for (end, at) in chunks.iter().rev() {
                let Some(rest) = left.checked_sub(u64::from(at.size)) else { break };
                left = rest;
                let runs = self.segments.verify(depot, *at, disk)?;
                if let Ok(found) = references.binary_search_by_key(end, Reference::end) {
                    self.check_reference(&references[found], &runs)?;
                }
            }
        }
        Ok(self.segments.count_live(segments.into_iter(), disk)?)
    }

    /// The references of a depot that the log had, in order; each has to have its chunk in the index, unless it was
    /// trimmed since.
    fn take_references(&mut self, index: usize, chunks: &[(Offset, ChunkAt)]) -> Result<Vec<Reference>, StateError> {
        let (depot, start) = (self.depots[index].object, self.depots[index].start());
        let all = std::mem::take(&mut self.unchecked);
        let (own, others) = all.into_iter().partition::<Vec<_>, _>(|reference| reference.depot == depot);
        self.unchecked = others;
        let is_there = |reference: &Reference| chunks.binary_search_by_key(&reference.end(), |(end, _)| *end).is_ok();
        match own.iter().find(|reference| reference.end() > start && !is_there(reference)) {
            Some(missing) => self.check_reference(missing, &[]).map(|()| own),
            None => Ok(own),
        }
    }

    /// The first record of a partition appended at this time or later; its end if there is none. Blocking: only
    /// while the task is opened.
    ///
    /// # Errors
    /// [`StateError`] naming what is damaged.
    pub fn first_since_now(
        &mut self,
        disk: &mut dyn Disk,
        cache: &mut BlockCache,
        index: usize,
        time_ms: u64,
    ) -> Result<Offset, StateError> {
        let partition = &self.depots[index];
        if let Some(offset) = partition.first_since(time_ms) {
            return Ok(offset);
        }
        let (depot, start) = (partition.object, partition.start());
        let from = depot_time_key(depot, time_ms, Offset(0));
        let to = depot_time_key(depot, u64::MAX, Offset(u64::MAX));
        let Some((_, at)) = self.chunks_now(disk, cache, depot, from, &to, 1)?.first().copied() else {
            return Ok(self.depots[index].first_in_memory_since(time_ms));
        };
        if at.first_ms >= time_ms {
            return Ok(at.first.max(start));
        }
        let runs = self.segments.verify(depot, at, disk)?;
        let found = runs.get(runs.partition_point(|run| run.time_ms < time_ms));
        let unreadable = StateError::Unreadable { task: self.task, object: depot, what: "chunk time" };
        found.map(|run| run.first.max(start)).ok_or(unreadable)
    }

    /// The first chunks of a part of the index, up to a number of them, in order.
    fn chunks_now(
        &mut self,
        disk: &mut dyn Disk,
        cache: &mut BlockCache,
        object: ObjectId,
        mut from: Vec<u8>,
        to: &[u8],
        count_max: usize,
    ) -> Result<Vec<(Offset, ChunkAt)>, StateError> {
        let (mut chunks, mut last, mut readable) = (Vec::new(), Vec::new(), true);
        loop {
            let scanned = self.tree.scan(cache, &from, to, self.visible, &mut |key, value| {
                key.clone_into(&mut last);
                let entry = read_chunk_entry(key, value);
                readable &= entry.is_some();
                chunks.extend(entry);
                if readable && chunks.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match scanned {
                Ok(()) if readable => return Ok(chunks),
                Ok(()) => return Err(StateError::Unreadable { task: self.task, object, what: "chunk" }),
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
                Err(Stop::Need(need)) => fetch_now(&mut self.tree, &need, cache, disk)?,
            }
            if !last.is_empty() {
                from.clone_from(&last);
                from.push(0);
            }
        }
    }
}
