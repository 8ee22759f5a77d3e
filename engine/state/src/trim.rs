//! Trimming: the oldest records of a depot partition go, and segment files with them.
//!
//! The new start and the removal of the chunks below it from the index are sealed like any other change. Only when
//! their entry is durable does a segment lose its chunks, and only a segment without any is removed: after a crash at any
//! point the index names no chunk that is gone. A file that should have gone with the crash goes when the task is opened.

use crate::layout::{depot_chunk_key, depot_start_key, depot_time_key};
use crate::load::read_chunk_entry;
use crate::task::{StateError, TaskState};
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::id::Offset;
use tantu_lsm::{BlockCache, Stop};

/// Chunks that one trim takes from the index; the rest goes with the next.
pub const TRIM_CHUNK_COUNT_MAX: usize = 4_096;

/// A trim that is under way; at most one for each partition.
#[derive(Debug)]
pub(crate) struct Trim {
    index: usize,
    start: Offset,
    /// The segments of the chunks below, each as often as it has one, once the change is staged.
    segments: Option<Vec<u64>>,
}

impl TaskState {
    /// Asks for the records of a partition below `start` to go. Those that are in the log alone stay.
    /// True if that was not under way already.
    pub fn trim(&mut self, index: usize, start: Offset) -> bool {
        let begins = self.could_trim(index, start) && !self.trims.iter().any(|trim| trim.index == index);
        if begins {
            let start = start.min(self.depots[index].copied_end);
            self.trims.push(Trim { index, start, segments: None });
        }
        begins
    }

    /// Whether records of a partition would go if it were to start at `start`.
    pub fn could_trim(&self, index: usize, start: Offset) -> bool {
        start.min(self.depots[index].copied_end) > self.depots[index].start()
    }

    /// Where a partition starts, or will as soon as what is under way is durable.
    pub fn trimmed_to(&self, index: usize) -> Offset {
        let under_way = self.trims.iter().filter(|trim| trim.index == index).map(|trim| trim.start);
        under_way.fold(self.depots[index].start(), Offset::max)
    }

    /// Goes on with trims and removes segments without records; true if a change was staged, or can be now.
    ///
    /// # Errors
    /// [`StateError`] if the index is damaged.
    pub fn step_trims(&mut self, cache: &mut BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        self.segments.remove_dead(disk);
        let mut more = false;
        for at in 0..self.trims.len() {
            if self.trims[at].segments.is_none() {
                more |= self.stage_trim(at, cache, disk)?;
            }
        }
        Ok(more)
    }

    /// Stages a trim; false if blocks of the index have to be read first.
    fn stage_trim(&mut self, at: usize, cache: &mut BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        let Trim { index, mut start, .. } = self.trims[at];
        let object = self.depots[index].object;
        let (from, to) = (depot_chunk_key(object, Offset(0)), depot_chunk_key(object, Offset(start.0 + 1)));
        let (mut segments, mut last, mut readable) = (Vec::new(), None, true);
        let scanned = self.tree.scan(cache, &from, &to, self.visible, &mut |key, value| {
            let entry = read_chunk_entry(key, value);
            readable = entry.is_some();
            segments.extend(entry.map(|(_, at)| at.segment));
            last = entry;
            if readable && segments.len() < TRIM_CHUNK_COUNT_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match scanned {
            Ok(()) if readable => {}
            Ok(()) => return Err(StateError::Unreadable { task: self.task, object, what: "chunk" }),
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            Err(Stop::Need(need)) => return Ok(!self.tree.fetch(&need, disk)),
        }
        if let Some((end, at)) = last {
            if segments.len() == TRIM_CHUNK_COUNT_MAX {
                start = end;
            }
            let after = |mut key: Vec<u8>| {
                key.push(0);
                key
            };
            self.delete_system(from, after(depot_chunk_key(object, end)));
            let oldest = depot_time_key(object, 0, Offset(0));
            self.delete_system(oldest, after(depot_time_key(object, at.last_ms, end)));
        }
        self.put_system(depot_start_key(object), start.0.to_le_bytes().to_vec());
        self.trims[at] = Trim { index, start, segments: Some(segments) };
        Ok(true)
    }

    /// A start became durable, or was found while the log was replayed.
    pub(crate) fn adopt_start(&mut self, index: usize, start: Offset) {
        self.depots[index].set_start(start);
        let Some(at) = self.trims.iter().position(|trim| trim.index == index && trim.segments.is_some()) else {
            return;
        };
        let trim = self.trims.swap_remove(at);
        for segment in trim.segments.unwrap_or_default() {
            self.segments.lose_chunk(segment);
        }
    }

    /// Whether trims or removals of files are under way.
    pub fn is_trimming(&self) -> bool {
        !self.trims.is_empty() || self.segments.has_dead()
    }
}
