//! A depot partition: a dense sequence of records, the newest in memory, the older ones in segment files.
//!
//! Appends are staged, sealed into the entry as one [`Run`] per partition, and become readable when the entry
//! commits. Later runs are copied to the task's segment files in large sequential writes; a copied run
//! stays in memory only while a topology of the task may still want it and the budget allows.

use crate::layout::DepotMeta;
use crate::load::{Loads, READ_AHEAD_SIZE_MAX};
use crate::side::append::Appended;
use crate::side::owed::Owed;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, RunId};

/// Committed records a partition keeps in memory after they were copied, in bytes: what a topology that keeps up
/// reads without touching the disk.
pub const RECENT_SIZE_MAX: usize = 4 << 20;

/// What a partition keeps in memory of records that are in segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Bytes of its newest records, as long as a topology of the task may still want them.
    pub recent_size: usize,
    /// Bytes that are read ahead of somebody who reads old records.
    pub ahead_size: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { recent_size: RECENT_SIZE_MAX, ahead_size: READ_AHEAD_SIZE_MAX }
    }
}

/// Consecutive records of one partition with one append time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Offset of the first record.
    pub first: Offset,
    /// Append time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Run {
    /// An empty run that starts at `first`.
    pub fn new(first: Offset) -> Self {
        Self { first, time_ms: 0, ends: Vec::new(), bytes: Vec::new() }
    }

    /// Gives records that counted from the first of several runs their offsets, and their time.
    pub(crate) fn place(&mut self, base: Offset, time_ms: u64) {
        (self.first, self.time_ms) = (Offset(base.0 + self.first.0), time_ms);
    }

    /// Takes it; what is left is empty and starts after its last record.
    pub(crate) fn take(&mut self) -> Run {
        let next = Run::new(self.end());
        std::mem::replace(self, next)
    }

    /// Takes it in as much memory as it needs; what is left starts after its last record and has room for as much.
    pub(crate) fn take_fit(&mut self) -> Run {
        let (ends, bytes) = (Vec::with_capacity(self.ends.len()), Vec::with_capacity(self.bytes.len()));
        let next = Run { first: self.end(), time_ms: 0, ends, bytes };
        let mut taken = std::mem::replace(self, next);
        taken.ends.shrink_to_fit();
        taken.bytes.shrink_to_fit();
        taken
    }

    /// Adds a record.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(u32::try_from(self.bytes.len()).expect("invariant: a run is sealed far below 4 GiB"));
    }

    /// How many records.
    pub fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The offset after the last record.
    pub fn end(&self) -> Offset {
        Offset(self.first.0 + self.count())
    }

    /// Bytes of its records.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A record by its place in the run.
    ///
    /// # Panics
    /// If the run has no such record.
    #[inline]
    pub fn record(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// Appends its encoding: first offset, time, count, the end of each record, the records.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        out.extend_from_slice(&self.bytes);
    }

    /// Its records, one after the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends its encoding up to its records.
    pub(crate) fn encode_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.0.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&(self.ends.len() as u32).to_le_bytes());
        for end in &self.ends {
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
    }

    /// Reads a whole encoding.
    ///
    /// # Errors
    /// [`Truncated`] if the lengths in it do not fit the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let first = Offset(reader.u64()?);
        let time_ms = reader.u64()?;
        let count = reader.u32()? as usize;
        let ends: Vec<u32> = reader
            .take(count.checked_mul(4).ok_or(Truncated)?)?
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect();
        let bytes = reader.sized()?;
        first.0.checked_add(count as u64).ok_or(Truncated)?;
        let in_order = ends.is_sorted() && ends.last().is_none_or(|end| *end as usize == bytes.len());
        if !in_order || !reader.is_empty() || (ends.is_empty() && !bytes.is_empty()) {
            return Err(Truncated);
        }
        Ok(Self { first, time_ms, ends, bytes: bytes.to_vec() })
    }
}

/// Where a record is.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Here.
    Record(&'a [u8]),
    /// In a segment: it has to be loaded first.
    OnDisk,
    /// Below the start of the partition: it is gone.
    Trimmed,
    /// Not committed yet.
    NotYet,
}

/// Committed records that cannot be read yet.
#[derive(Debug)]
enum Behind {
    /// Some of what a side run appended has still to come from the disk.
    Owed(Owed),
    Run(Run),
}

impl Behind {
    /// Where it starts, and its append time.
    fn since(&self) -> (Offset, u64) {
        match self {
            Behind::Owed(owed) => (owed.appended.first, owed.appended.time_ms),
            Behind::Run(run) => (run.first, run.time_ms),
        }
    }
}

/// One task's partition of a depot.
#[derive(Debug)]
pub struct DepotPartition {
    /// The depot.
    pub object: ObjectId,
    /// The first record that was not trimmed.
    start: Offset,
    /// Append time of the newest record, staged ones apart: times never go back in a partition.
    last_ms: u64,
    pub(crate) staged: Run,
    /// The next section has records of the partition that belong to other writes in it: they go into it themselves.
    pub(crate) is_bound: bool,
    /// Everything below is sealed.
    pub(crate) sealed_end: Offset,
    /// Large runs that sealed sections refer to, until those are durable.
    pub(crate) referred: VecDeque<Run>,
    /// Runs that sealed sections hold, until those are durable: the bytes of a section are not read once more for them.
    pub(crate) sealed: VecDeque<Run>,
    pub(crate) runs: VecDeque<Run>,
    runs_size: usize,
    /// Everything below can be read.
    committed_end: Offset,
    /// Committed, and behind records that have still to come from the disk.
    behind: VecDeque<Behind>,
    durable_end: Offset,
    /// Everything below is in a chunk whose index entry is committed.
    pub(crate) copied_end: Offset,
    /// Everything below is in a chunk that was written, though its index entry may be pending.
    written_end: Offset,
    /// Bytes of the runs from there on.
    uncopied_size: usize,
    /// Records no topology of the task has yet to start.
    wanted_from: Offset,
    /// Set when it is opened.
    pub keeping: Keeping,
    pub(crate) loads: Loads,
}

impl DepotPartition {
    /// A partition from `start` on whose records are all in segments.
    pub fn new(object: ObjectId, meta: DepotMeta, start: Offset) -> Self {
        let DepotMeta { copied_end, last_ms } = meta;
        Self {
            object,
            start,
            last_ms,
            staged: Run::new(copied_end),
            is_bound: false,
            sealed_end: copied_end,
            referred: VecDeque::new(),
            sealed: VecDeque::new(),
            runs: VecDeque::new(),
            runs_size: 0,
            committed_end: copied_end,
            behind: VecDeque::new(),
            durable_end: copied_end,
            copied_end,
            written_end: copied_end,
            uncopied_size: 0,
            wanted_from: Offset(u64::MAX),
            keeping: Keeping::default(),
            loads: Loads::default(),
        }
    }

    /// Stages a record; its offset is final if the entry commits.
    #[inline]
    pub fn stage(&mut self, record: &[u8]) -> Offset {
        let offset = self.staged.end();
        self.staged.push(record);
        offset
    }

    /// Stages a record that gets into the log with the other writes of the section, or not at all.
    #[inline]
    pub fn stage_bound(&mut self, record: &[u8]) -> Offset {
        self.is_bound = true;
        self.stage(record)
    }

    /// Ends the staged run: it gets its append time, which is not before that of the run before.
    pub(crate) fn seal(&mut self, wall_ms: u64) -> &mut Run {
        self.is_bound = false;
        self.last_ms = self.last_ms.max(wall_ms);
        self.staged.time_ms = self.last_ms;
        &mut self.staged
    }

    /// Gives the next offsets to records that a side run appends, behind all that were staged.
    pub(crate) fn seal_appended(&mut self, run: RunId, count: u64, wall_ms: u64) -> Appended {
        assert_eq!(self.staged.count(), 0, "{}: what was staged before is sealed before", self.object);
        self.last_ms = self.last_ms.max(wall_ms);
        let first = self.staged.first;
        self.staged.first = Offset(first.0 + count);
        self.sealed_end = self.staged.first;
        Appended { run, depot: self.object, first, count, time_ms: self.last_ms }
    }

    /// The first offset that can be read.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Notes that everything below was trimmed.
    pub(crate) fn set_start(&mut self, start: Offset) {
        self.start = self.start.max(start);
    }

    /// The first record appended at this time or later, or the end if there is none; `None` if the chunk index
    /// has to say.
    pub fn first_since(&self, time_ms: u64) -> Option<Offset> {
        let first = self.runs.front().map_or(self.committed_end, |run| run.first);
        let knows = self.runs.front().is_some_and(|run| run.time_ms < time_ms);
        (knows || first <= self.start || self.last_ms < time_ms).then(|| self.first_in_memory_since(time_ms))
    }

    /// The first record in memory appended at this time or later, or the end if there is none.
    pub(crate) fn first_in_memory_since(&self, time_ms: u64) -> Offset {
        let behind = self.behind.iter().map(Behind::since);
        let since = self.runs.iter().map(|run| (run.first, run.time_ms)).chain(behind);
        let found = since.skip_while(|(_, time)| *time < time_ms).map(|(first, _)| first).next();
        found.map_or(self.durable_end, |first| first.max(self.start))
    }

    /// The offset after the last sealed record: what is staged from there on is in no section.
    pub fn sealed_end(&self) -> Offset {
        self.sealed_end
    }

    /// The offset after the last committed record that can be read.
    pub fn committed_end(&self) -> Offset {
        self.committed_end
    }

    /// The offset after the last committed record. Of what a large microbatch appended some may have to come from the disk before
    /// it can be read, and what is behind it.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// Bytes staged and not sealed.
    pub fn staged_size(&self) -> usize {
        self.staged.size() + self.staged.ends.len() * 4
    }

    /// Takes a run that committed.
    ///
    /// # Panics
    /// If it does not follow the records before it: offsets are dense.
    pub fn commit(&mut self, run: Run) {
        assert_eq!(run.first, self.durable_end, "{}: offsets must be dense", self.object);
        self.end_at(run.end(), run.time_ms);
        match self.behind.is_empty() {
            true => self.show(run),
            false => self.behind.push_back(Behind::Run(run)),
        }
    }

    /// Everything up to here is committed.
    fn end_at(&mut self, end: Offset, time_ms: u64) {
        self.durable_end = end;
        self.last_ms = self.last_ms.max(time_ms);
        if self.staged.count() == 0 && self.staged.first < end {
            self.staged.first = end;
        }
    }

    /// Takes records that committed and lie on the disk. What comes behind them waits until they are here.
    ///
    /// # Panics
    /// If they do not follow the records before them.
    pub(crate) fn owe(&mut self, owed: Owed) {
        // A replay finds some of them in chunks.
        let follows = (owed.appended.first..owed.appended.end()).contains(&self.durable_end);
        assert!(follows, "{}: offsets must be dense", self.object);
        self.end_at(owed.appended.end(), owed.appended.time_ms);
        self.behind.push_back(Behind::Owed(owed));
    }

    /// What has to come from the disk next.
    pub(crate) fn owed(&self) -> Option<&Owed> {
        match self.behind.front() {
            Some(Behind::Owed(owed)) => Some(owed),
            _ => None,
        }
    }

    /// What of a run has to come from the disk.
    pub(crate) fn owed_by(&self, run: RunId) -> Option<Owed> {
        let owed = |behind: &Behind| match behind {
            Behind::Owed(owed) => Some(*owed).filter(|owed| owed.appended.run == run),
            Behind::Run(_) => None,
        };
        self.behind.iter().find_map(owed)
    }

    /// Takes the next records that came from the disk.
    pub(crate) fn take_owed(&mut self, run: Run) {
        self.show(run);
        self.show_behind();
    }

    /// Shows what waited for records that are here now.
    fn show_behind(&mut self) {
        while let Some(behind) = self.behind.front() {
            match behind {
                Behind::Owed(owed) if owed.appended.end() > self.committed_end => break,
                Behind::Run(run) if run.end() > self.committed_end => {
                    if let Some(Behind::Run(run)) = self.behind.pop_front() {
                        self.show(run);
                    }
                }
                Behind::Owed(_) | Behind::Run(_) => drop(self.behind.pop_front()),
            }
        }
    }

    fn show(&mut self, run: Run) {
        assert_eq!(run.first, self.committed_end, "{}: offsets must be dense", self.object);
        self.committed_end = run.end();
        self.runs_size += run.size();
        if run.end() > self.written_end {
            self.uncopied_size += run.size();
        }
        self.runs.push_back(run);
    }

    /// Takes over what the tree says about copied records, while the log is replayed.
    pub fn adopt_copied(&mut self, meta: DepotMeta) {
        let copied_end = meta.copied_end;
        self.last_ms = self.last_ms.max(meta.last_ms);
        self.copied_end = self.copied_end.max(copied_end);
        self.set_written(self.written_end.max(copied_end));
        if self.durable_end < copied_end {
            self.durable_end = copied_end;
            self.staged = Run::new(copied_end);
        }
        if self.committed_end < copied_end {
            self.committed_end = copied_end;
            self.show_behind();
        }
        self.forget_old();
    }

    /// Says from which record on the topologies of the task still have to start.
    pub fn want_from(&mut self, offset: Offset) {
        self.wanted_from = offset;
        if self.runs_size > self.keeping.recent_size {
            self.forget_old();
        }
    }

    /// Drops runs that were copied: those nobody wants, and the oldest while they are over the budget.
    pub(crate) fn forget_old(&mut self) {
        while let Some(run) = self.runs.front() {
            let copied = run.end() <= self.copied_end;
            if !copied || (run.end() > self.wanted_from && self.runs_size <= self.keeping.recent_size) {
                break;
            }
            self.runs_size -= run.size();
            self.runs.pop_front();
        }
    }

    /// Bytes of committed records that are not in a segment yet.
    pub fn uncopied_size(&self) -> usize {
        self.uncopied_size
    }

    /// Where the records start that no chunk was written of.
    pub(crate) fn written_end(&self) -> Offset {
        self.written_end
    }

    /// The runs no chunk was written of.
    pub(crate) fn uncopied(&self) -> impl Iterator<Item = &Run> {
        let start = self.runs.partition_point(|run| run.end() <= self.written_end);
        self.runs.range(start..)
    }

    /// Notes that chunks of everything below are written, or on their way.
    pub(crate) fn set_written(&mut self, end: Offset) {
        if end != self.written_end {
            self.written_end = end;
            self.uncopied_size = self.uncopied().map(Run::size).sum();
        }
    }

    /// Bytes of records in memory.
    pub fn memory_size(&self) -> usize {
        let sealed = self.sealed.iter().map(Run::size).sum::<usize>();
        let behind = self.behind.iter().map(|behind| if let Behind::Run(run) = behind { run.size() } else { 0 });
        self.runs_size + self.staged.size() + sealed + self.loads.size() + behind.sum::<usize>()
    }

    /// Finds a record.
    #[inline]
    pub fn lookup(&self, offset: Offset) -> Lookup<'_> {
        match self.run_of(offset) {
            Ok(run) => Lookup::Record(run.record((offset.0 - run.first.0) as usize)),
            Err(missing) => missing,
        }
    }

    /// The run that a record is in, or where the record is.
    #[inline]
    fn run_of(&self, offset: Offset) -> Result<&Run, Lookup<'_>> {
        if offset >= self.committed_end {
            return Err(Lookup::NotYet);
        }
        if offset < self.start {
            return Err(Lookup::Trimmed);
        }
        if self.runs.front().is_some_and(|run| run.first <= offset) {
            let index = self.runs.partition_point(|run| run.end() <= offset);
            return Ok(&self.runs[index]);
        }
        self.loads.run(offset).ok_or(Lookup::OnDisk)
    }

    /// Visits the records of a range in order, until the visitor breaks.
    ///
    /// # Errors
    /// The first record that cannot be visited now, and where it is: not [`Lookup::Record`].
    pub fn visit(
        &self,
        (from, to): (Offset, Offset),
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), (Offset, Lookup<'_>)> {
        let mut at = from;
        while at < to {
            let run = self.run_of(at).map_err(|missing| (at, missing))?;
            let end = run.end().min(to);
            for index in at.0 - run.first.0..end.0 - run.first.0 {
                if visit(run.record(index as usize)).is_break() {
                    return Ok(());
                }
            }
            at = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, records: &[&str]) -> Run {
        let mut run = Run::new(Offset(first));
        records.iter().for_each(|r| run.push(r.as_bytes()));
        run
    }

    fn partition(copied_end: u64) -> DepotPartition {
        let meta = DepotMeta { copied_end: Offset(copied_end), last_ms: 0 };
        DepotPartition::new(ObjectId(1), meta, Offset(0))
    }

    fn text(lookup: Lookup<'_>) -> String {
        match lookup {
            Lookup::Record(r) => String::from_utf8(r.to_vec()).expect("text"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_range_is_visited_across_runs_until_the_visitor_breaks_or_a_record_is_not_here() {
        let mut depot = partition(10);
        depot.commit(run(10, &["a", "b"]));
        depot.commit(run(12, &["c"]));
        depot.commit(run(13, &["d", "e"]));
        let visited = |from, to, most: usize| {
            let mut seen = String::new();
            let visited = depot.visit((Offset(from), Offset(to)), &mut |record| {
                seen.push_str(std::str::from_utf8(record).expect("text"));
                if seen.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            (seen, visited.map_err(|(at, missing)| format!("{} {missing:?}", at.0)))
        };
        assert_eq!(visited(11, 15, 9), ("bcde".to_string(), Ok(())));
        assert_eq!(visited(11, 14, 2), ("bc".to_string(), Ok(())));
        assert_eq!(visited(12, 12, 9), (String::new(), Ok(())));
        assert_eq!(visited(14, 16, 9), ("e".to_string(), Err("15 NotYet".to_string())));
        assert_eq!(visited(9, 11, 9), (String::new(), Err("9 OnDisk".to_string())));
    }

    #[test]
    fn records_are_found_by_offset_across_runs() {
        let mut depot = partition(10);
        assert_eq!(depot.stage(b"a"), Offset(10));
        assert_eq!(depot.stage(b"b"), Offset(11));
        assert_eq!(text(depot.lookup(Offset(10))), "NotYet", "staged is not committed");
        depot.staged = Run::new(Offset(12));
        depot.commit(run(10, &["a", "b"]));
        depot.commit(run(12, &["c"]));
        assert_eq!(text(depot.lookup(Offset(9))), "OnDisk");
        assert_eq!(["a", "b", "c"], [10, 11, 12].map(|o| text(depot.lookup(Offset(o)))).each_ref().map(String::as_str));
        assert_eq!(text(depot.lookup(Offset(13))), "NotYet");
        assert_eq!(depot.stage(b"d"), Offset(13));
    }

    #[test]
    fn a_run_is_taken_in_the_memory_it_needs_and_the_next_one_has_room_for_as_much() {
        let mut staged = Run::new(Offset(3));
        staged.bytes.reserve(1 << 20);
        staged.push(b"record");
        staged.time_ms = 9;
        let taken = staged.take_fit();
        assert_eq!(
            (taken.first, taken.end(), taken.time_ms, taken.record(0)),
            (Offset(3), Offset(4), 9, &b"record"[..])
        );
        assert!(taken.bytes.capacity() < 64, "{}", taken.bytes.capacity());
        assert_eq!((staged.first, staged.count(), staged.time_ms), (Offset(4), 0, 0));
        assert!((6..64).contains(&staged.bytes.capacity()), "{}", staged.bytes.capacity());
    }

    #[test]
    fn a_partition_keeps_as_much_in_memory_as_it_was_told() {
        for (recent_size, kept) in [(0, 1), (2, 2), (100, 4)] {
            let mut depot = partition(0);
            depot.keeping.recent_size = recent_size;
            (0..4).for_each(|offset| depot.commit(run(offset, &["a"])));
            depot.want_from(Offset(0));
            depot.adopt_copied(DepotMeta { copied_end: Offset(3), last_ms: 0 });
            assert_eq!(depot.runs.len(), kept, "{recent_size} bytes, and what is not copied");
        }
    }

    #[test]
    fn a_copied_run_is_forgotten_once_nobody_wants_it() {
        let mut depot = partition(0);
        depot.commit(run(0, &["a"]));
        depot.commit(run(1, &["b"]));
        depot.want_from(Offset(1));
        depot.forget_old();
        assert_eq!(depot.runs.len(), 2, "nothing was copied");
        depot.adopt_copied(DepotMeta { copied_end: Offset(2), last_ms: 0 });
        assert_eq!(depot.runs.len(), 1, "the first is behind every topology");
        assert_eq!(depot.uncopied_size(), 0);
        assert_eq!(text(depot.lookup(Offset(0))), "OnDisk");
    }

    #[test]
    fn append_times_never_go_back_and_a_time_leads_to_its_first_record() {
        let mut depot = partition(0);
        for (wall_ms, record) in [(50, "a"), (40, "b"), (60, "c"), (60, "d")] {
            depot.stage(record.as_bytes());
            let sealed = depot.seal(wall_ms).clone();
            depot.staged.take();
            depot.commit(sealed);
        }
        let found = |time_ms| depot.first_since(time_ms).map(|offset| offset.0);
        assert_eq!([0, 50, 51, 60, 61].map(found), [0, 0, 2, 2, 4].map(Some), "b got the time of a");
    }

    #[test]
    fn a_time_from_before_the_records_in_memory_is_for_the_index_to_find() {
        let mut depot = DepotPartition::new(ObjectId(1), DepotMeta { copied_end: Offset(5), last_ms: 30 }, Offset(1));
        assert_eq!(depot.first_since(31), Some(Offset(5)), "nothing is as young");
        assert_eq!(depot.first_since(30), None);
        let mut young = run(5, &["a"]);
        young.time_ms = 40;
        depot.commit(young);
        assert_eq!((depot.first_since(40), depot.first_since(41)), (None, Some(Offset(6))), "chunks may reach to 40");
        depot.set_start(Offset(5));
        assert_eq!(depot.first_since(0), Some(Offset(5)), "everything older is trimmed");
        assert_eq!(text(depot.lookup(Offset(4))), "Trimmed");
    }

    #[test]
    #[should_panic(expected = "dense")]
    fn a_gap_in_the_offsets_is_a_bug() {
        partition(0).commit(run(1, &["b"]));
    }

    #[test]
    fn a_run_with_wrong_lengths_is_refused() {
        let mut out = Vec::new();
        run(3, &["one", "", "three"]).encode(&mut out);
        assert_eq!(Run::decode(&out), Ok(run(3, &["one", "", "three"])));
        for len in 0..out.len() {
            assert!(Run::decode(&out[..len]).is_err(), "{len}");
        }
        let mut bad = out.clone();
        bad[20] = 9;
        assert!(Run::decode(&bad).is_err(), "ends out of order");
    }
}
