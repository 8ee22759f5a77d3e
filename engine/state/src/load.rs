//! Reading old records of a depot partition back from its segment files.
//!
//! Somebody who meets [`Lookup::OnDisk`](crate::depot::Lookup::OnDisk) *wants* a range of offsets. The chunks it starts
//! with are asked for together, up to a limit, so that whoever reads on in order waits for the disk once for
//! several of them. Chunks that arrived stay until newer ones need their room, or until nobody looked into them for a
//! while; whoever comes too late wants them again.

use crate::depot::Run;
use crate::layout::{ChunkAt, depot_chunk_key};
use crate::task::{StateError, TaskState};
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::id::Offset;
use tantu_lsm::{BlockCache, Stop};

/// Bytes of chunks that are asked for ahead of a reader at a time; the chunk it waits for is read in any case.
pub const READ_AHEAD_SIZE_MAX: u64 = 4 << 20;
/// Bytes of records read back that a partition keeps; the chunk read last stays in any case.
pub const LOADED_SIZE_MAX: usize = 8 << 20;
/// Ranges that readers of one partition wait for; one more is forgotten, and wanted again when something arrives.
pub const WANTED_COUNT_MAX: usize = 64;

const _: () = assert!(READ_AHEAD_SIZE_MAX as usize * 2 <= LOADED_SIZE_MAX);

/// Records read back, one chunk.
#[derive(Debug)]
struct Loaded {
    runs: Vec<Run>,
    size: usize,
    /// Whether somebody looked into it since the last [`Loads::age`].
    used: Cell<bool>,
}

/// What was read back of a partition, and what is being read.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// From where on, and up to where, somebody wants to read.
    wanted: VecDeque<(Offset, Offset)>,
    /// First offset and end of the chunks that are on their way.
    reading: Vec<(Offset, Offset)>,
    /// The oldest first.
    loaded: VecDeque<Loaded>,
    size: usize,
}

impl Loads {
    /// Bytes of the records it holds.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn is_waiting(&self) -> bool {
        !self.wanted.is_empty() || !self.reading.is_empty()
    }

    /// A record, if its chunk was read.
    #[inline]
    pub(crate) fn record(&self, offset: Offset) -> Option<&[u8]> {
        self.run(offset).map(|run| run.record((offset.0 - run.first.0) as usize))
    }

    /// The run that a record is in, if its chunk was read.
    #[inline]
    pub(crate) fn run(&self, offset: Offset) -> Option<&Run> {
        let holds = |chunk: &&Loaded| {
            chunk.runs[0].first <= offset && chunk.runs.last().is_some_and(|last| offset < last.end())
        };
        let chunk = self.loaded.iter().find(holds)?;
        chunk.used.set(true);
        Some(&chunk.runs[chunk.runs.partition_point(|run| run.end() <= offset)])
    }

    fn want(&mut self, from: Offset, until: Offset) {
        if self.wanted.len() < WANTED_COUNT_MAX && !self.wanted.iter().any(|(other, _)| *other == from) {
            self.wanted.push_back((from, until));
        }
    }

    fn is_here_or_coming(&self, offset: Offset) -> bool {
        self.reading.iter().any(|(first, end)| *first <= offset && offset < *end) || self.record(offset).is_some()
    }

    fn take(&mut self, runs: Vec<Run>) {
        self.reading.retain(|(first, _)| *first != runs[0].first);
        let size = runs.iter().map(Run::size).sum();
        self.size += size;
        self.loaded.push_back(Loaded { runs, size, used: Cell::new(true) });
        while self.size > LOADED_SIZE_MAX && self.loaded.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(chunk) = self.loaded.pop_front() {
            self.size -= chunk.size;
        }
    }

    /// Drops what nobody looked into since the last call.
    fn age(&mut self) {
        self.loaded.retain(|chunk| chunk.used.replace(false));
        self.size = self.loaded.iter().map(|chunk| chunk.size).sum();
    }
}

impl TaskState {
    /// Asks for the chunks that hold the records from `from` on, those of the range up to `until` that come next
    /// among them.
    pub fn want(&mut self, index: usize, from: Offset, until: Offset) {
        self.depots[index].loads.want(from, until);
    }

    /// Whether a partition waits for old records.
    pub fn is_loading(&self) -> bool {
        self.depots.iter().any(|depot| depot.loads.is_waiting())
    }

    /// Bytes of records that were read back.
    pub fn loaded_size(&self) -> usize {
        self.depots.iter().map(|depot| depot.loads.size()).sum()
    }

    /// Drops records that were read back and that nobody looked at since the last call.
    pub fn age_loaded(&mut self) {
        self.depots.iter_mut().for_each(|depot| depot.loads.age());
    }

    /// Goes on loading old records that somebody asked for with [`TaskState::want`], with up to `ahead_size` bytes
    /// after the chunk that is waited for.
    ///
    /// # Errors
    /// [`StateError`] if the index is damaged.
    pub fn load_records(
        &mut self,
        ahead_size: u64,
        cache: &mut BlockCache,
        disk: &mut dyn Disk,
    ) -> Result<(), StateError> {
        for index in 0..self.depots.len() {
            while let Some((from, until)) = self.depots[index].loads.wanted.front().copied() {
                let depot = &self.depots[index];
                let gone = from < depot.start() || from >= depot.committed_end();
                if !gone && !depot.loads.is_here_or_coming(from) {
                    if !self.segments.can_load() {
                        return Ok(());
                    }
                    let ahead_size = ahead_size.min(self.depots[index].keeping.ahead_size);
                    let Some(chunks) = self.chunks_from(index, from, until, ahead_size, cache, disk)? else { break };
                    for (end, at) in chunks {
                        let depot = &mut self.depots[index];
                        if self.segments.can_load() && !depot.loads.is_here_or_coming(at.first.max(from)) {
                            depot.loads.reading.push((at.first, end));
                            self.segments.load(depot.object, at, disk);
                        }
                    }
                }
                self.depots[index].loads.wanted.pop_front();
            }
        }
        Ok(())
    }

    /// The chunk that holds `from` and those after it that start before `until`, as many as fit; `None` if blocks of the
    /// index have to be read first.
    fn chunks_from(
        &mut self,
        index: usize,
        from: Offset,
        until: Offset,
        ahead_size: u64,
        cache: &mut BlockCache,
        disk: &mut dyn Disk,
    ) -> Result<Option<Vec<(Offset, ChunkAt)>>, StateError> {
        let object = self.depots[index].object;
        let (low, high) = (depot_chunk_key(object, Offset(from.0 + 1)), depot_chunk_key(object, Offset(u64::MAX)));
        let (mut chunks, mut ahead, mut readable) = (Vec::new(), 0, true);
        let scanned = self.tree.scan(cache, &low, &high, self.visible, &mut |key, value| {
            let Some((end, at)) = read_chunk_entry(key, value) else {
                readable = false;
                return ControlFlow::Break(());
            };
            ahead += if chunks.is_empty() { 0 } else { u64::from(at.size) };
            if !chunks.is_empty() && (ahead > ahead_size || at.first >= until) {
                return ControlFlow::Break(());
            }
            chunks.push((end, at));
            ControlFlow::Continue(())
        });
        match scanned {
            Ok(()) => {}
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            Err(Stop::Need(need)) => {
                let _reading = self.tree.fetch(&need, disk);
                return Ok(None);
            }
        }
        let whole = readable && chunks.first().is_some_and(|(_, at)| at.first <= from);
        if whole { Ok(Some(chunks)) } else { Err(StateError::Unreadable { task: self.task, object, what: "chunk" }) }
    }

    /// Takes a chunk that was read.
    pub(crate) fn take_loaded(&mut self, depot: tantu_base::id::ObjectId, runs: Vec<Run>) {
        let depot = self.depots.iter_mut().find(|d| d.object == depot).expect("invariant: a depot of this task asked");
        depot.loads.take(runs);
    }
}

/// A chunk's end and place, from its index entry.
pub(crate) fn read_chunk_entry(key: &[u8], value: &[u8]) -> Option<(Offset, ChunkAt)> {
    let end = key.last_chunk::<8>()?;
    Some((Offset(u64::from_be_bytes(*end)), ChunkAt::decode(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, size: usize) -> Vec<Run> {
        let mut run = Run::new(Offset(first));
        run.push(&vec![first as u8; size]);
        run.push(b"second");
        vec![run]
    }

    #[test]
    fn what_was_read_back_makes_room_for_newer_chunks_and_goes_when_nobody_looks() {
        let mut loads = Loads::default();
        loads.take(chunk(0, 5));
        loads.take(chunk(10, LOADED_SIZE_MAX - 100));
        assert_eq!((loads.record(Offset(1)), loads.record(Offset(2))), (Some(&b"second"[..]), None));
        loads.take(chunk(20, 200));
        assert_eq!(loads.record(Offset(1)), None, "it was the oldest");
        assert!(loads.size() <= LOADED_SIZE_MAX);
        loads.age();
        assert!(loads.record(Offset(20)).is_some());
        loads.age();
        assert!(loads.record(Offset(20)).is_some() && loads.record(Offset(10)).is_none(), "only one was looked at");
        assert_eq!(loads.size(), 206);
    }

    #[test]
    fn a_reader_that_asks_again_takes_no_second_place() {
        let mut loads = Loads::default();
        (0..3).for_each(|_| loads.want(Offset(7), Offset(9)));
        assert_eq!(loads.wanted.len(), 1);
        (0..1000).for_each(|from| loads.want(Offset(from), Offset(from)));
        assert_eq!(loads.wanted.len(), WANTED_COUNT_MAX);
    }
}
