//! Side runs and the log: how their chunks get into sections, and what a section that became durable, or that a replay
//! finds, does to them.

use super::{Phase, Published, RunEvent, RunOrder, SIDE_CHUNK_SIZE_MAX, SIDE_RUN_SIZE_MAX, Side, SideRun};
use crate::depot::Run;
use crate::section::{EntryWriter, Op, SECTION_HEADER_SIZE, chunk_writes};
use crate::task::{StateError, TaskState};
use tantu_base::id::{Epoch, RunId, Version};
use tantu_base::limit::{FRAME_SIZE_MAX, KEY_SIZE_MAX, RECORD_SIZE_MAX};
use tantu_base::planted::{self, Bug};
use tantu_lsm::Write;
use tantu_replog::Lsn;

/// A section that is longer gets no chunk: the next one does.
const SECTION_SIZE_FOR_CHUNK_MAX: usize = 4 << 20;

const _: () = assert!(
    SECTION_SIZE_FOR_CHUNK_MAX + RECORD_SIZE_MAX + 2 * KEY_SIZE_MAX + SIDE_CHUNK_SIZE_MAX + SECTION_HEADER_SIZE
        <= FRAME_SIZE_MAX
);
const _: () = assert!(SIDE_CHUNK_SIZE_MAX < SIDE_RUN_SIZE_MAX);

/// Where a section comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// This process sealed it: its runs are in memory.
    Own,
    /// The log; the tree has flushed it, or has not.
    Log { is_flushed: bool },
}

impl Side {
    /// The next section gets what there is of runs: a chunk at most. `size`: bytes of the section so far.
    pub(crate) fn seal(&mut self, version: Version, size: usize, entry: &mut EntryWriter) {
        for order in std::mem::take(&mut self.orders) {
            match order {
                held if self.is_held(&held) => self.orders.push(held),
                RunOrder::Spilled { run, epoch, serial, version } => entry.spilled(run, epoch, serial, version),
                RunOrder::Publish(run) => entry.publish(run),
                RunOrder::Drop(run) => entry.drop_run(run),
            }
        }
        if !self.notes.is_empty() {
            self.sealed_notes.push_back((version, std::mem::take(&mut self.notes)));
        }
        if size <= SECTION_SIZE_FOR_CHUNK_MAX && self.appends.is_dirty() {
            return self.appends.seal(entry);
        }
        let Self { runs, appends, .. } = self;
        let is_sealing = |(run, found): &(&RunId, &mut SideRun)| {
            matches!(found.phase, Phase::Sealing { .. }) && !appends.has_unsealed(run)
        };
        if size <= SECTION_SIZE_FOR_CHUNK_MAX
            && let Some((run, found)) = runs.iter_mut().find(is_sealing)
        {
            found.seal(*run, entry);
        }
    }

    /// Bytes the next chunk may have: what the entry has to have room for.
    pub(crate) fn sealing_size(&self) -> usize {
        let is_sealing = |run: &&SideRun| matches!(run.phase, Phase::Sealing { .. });
        let size = |run: &SideRun| run.writes.size().min(run.writes.largest().max(SIDE_CHUNK_SIZE_MAX));
        self.runs.values().find(is_sealing).map_or(0, size).max(self.appends.sealing_size())
    }

    fn take_chunk(
        &mut self,
        run: RunId,
        seq: u32,
        writes: &[u8],
        lsn: Lsn,
        origin: Origin,
    ) -> Result<(), &'static str> {
        if origin == Origin::Own {
            self.note_from(run, lsn);
            return Ok(());
        }
        if seq == 0 {
            self.runs.insert(run, SideRun::new(Phase::Found));
        }
        // The log may have lost the first chunks of a run that was published or dropped.
        let found = self.runs.entry(run).or_insert_with(|| SideRun::new(Phase::Found));
        found.from = found.from.or(Some(lsn));
        found.is_whole &= found.chunk_count == seq && found.phase == Phase::Found;
        found.chunk_count = seq.saturating_add(1);
        if !found.is_whole {
            found.writes = Default::default();
            return Ok(());
        }
        for write in chunk_writes(writes) {
            match write.map_err(|_| "a chunk of it cannot be read")? {
                Op::Put { key, value } => found.writes.set(key, Some(value)),
                Op::Delete { key } => found.writes.set(key, None),
                Op::DeleteRange { from, to } => found.writes.delete_range(from, to),
                _ => return Err("a chunk of it has an op that is no write"),
            }
        }
        Ok(())
    }

    fn take_prepared(&mut self, run: RunId, epoch: Epoch, chunk_count: u32, lsn: Lsn, origin: Origin) {
        if origin == Origin::Own {
            self.note_from(run, lsn);
            // It may have been dropped since.
            if let Some(found) = self.runs.get_mut(&run) {
                found.phase = Phase::Prepared { epoch };
                self.events.push(RunEvent::Prepared { run, epoch });
            }
            return;
        }
        let found = self.runs.entry(run).or_insert_with(|| SideRun::new(Phase::Found));
        found.from = found.from.or(Some(lsn));
        found.is_whole &= found.chunk_count == chunk_count;
        found.phase = Phase::Prepared { epoch };
    }

    /// From where on the log has a run.
    fn note_from(&mut self, run: RunId, lsn: Lsn) {
        let dropping = &mut self.dropping;
        let found = self.runs.get_mut(&run).map(|found| &mut found.from);
        let from = found.or_else(|| dropping.get_mut(&run).map(|(from, _)| from));
        if let Some(from) = from {
            *from = from.or(Some(lsn));
        }
    }

    /// Tells whoever waits for a section.
    fn tell_notes(&mut self, version: Version) {
        while self.sealed_notes.front().is_some_and(|(sealed, _)| *sealed <= version) {
            let notes = self.sealed_notes.pop_front().map(|(_, notes)| notes).unwrap_or_default();
            self.events.extend(notes.into_iter().map(RunEvent::Noted));
        }
    }

    /// After the replay: what was never prepared is gone.
    pub(crate) fn end_replay(&mut self) -> Result<(), (RunId, &'static str)> {
        self.runs.retain(|_, found| found.phase != Phase::Found && !planted::has(Bug::PreparedRunDropped));
        if let Some(run) = self.appends.end_replay(|run| self.runs.contains_key(run)) {
            return Err((run, "records that it appends are missing"));
        }
        match self.runs.iter().find(|(_, found)| !found.is_whole) {
            Some((run, _)) => Err((*run, "chunks of it are missing")),
            None => Ok(()),
        }
    }
}

impl SideRun {
    /// Seals the next chunk, and behind the last the mark that all are there.
    fn seal(&mut self, run: RunId, entry: &mut EntryWriter) {
        let Phase::Sealing { epoch, range, key } = &mut self.phase else { return };
        let start = entry.begin_chunk(run, self.chunk_count);
        let mut is_full = false;
        let fits = |entry: &EntryWriter, size: usize| {
            let have = entry.chunk_size(start);
            have == 0 || have + size <= SIDE_CHUNK_SIZE_MAX
        };
        let mut last: (Option<&[u8]>, Option<&[u8]>) = (None, None);
        for (from, to) in self.writes.ranges_behind(range.as_deref()) {
            if !fits(entry, from.len() + to.len() + 9) {
                is_full = true;
                break;
            }
            entry.delete_range(from, to);
            last.0 = Some(from);
        }
        if !is_full {
            for (written, value) in self.writes.behind(key.as_deref()) {
                if !fits(entry, written.len() + value.map_or(0, <[u8]>::len) + 9) {
                    is_full = true;
                    break;
                }
                match value {
                    Some(value) => entry.put(written, value),
                    None => entry.delete(written),
                }
                last.1 = Some(written);
            }
        }
        self.chunk_count += u32::from(entry.end_chunk(start));
        if let Some(from) = last.0 {
            *range = Some(from.to_vec());
        }
        if let Some(written) = last.1 {
            *key = Some(written.to_vec());
        }
        if !is_full {
            entry.prepared(run, *epoch, self.chunk_count);
            let epoch = *epoch;
            self.phase = Phase::Sealed { epoch };
        }
    }
}

impl TaskState {
    /// Takes over what an op says of runs; a run that it publishes and that the tree has not is added to `published`.
    pub(crate) fn take_run_op(
        &mut self,
        op: &Op<'_>,
        at: (Version, Lsn),
        origin: Origin,
        published: &mut Vec<(Published, SideRun)>,
    ) -> Result<(), StateError> {
        let task = self.task;
        let refused = |run: &RunId, what| StateError::Run { task, run: *run, what };
        let (version, lsn) = at;
        match op {
            Op::Chunk { run, seq, writes } => {
                self.side.take_chunk(*run, *seq, writes, lsn, origin).map_err(|what| refused(run, what))?;
            }
            Op::Prepared { run, epoch, chunk_count } => {
                self.side.take_prepared(*run, *epoch, *chunk_count, lsn, origin);
            }
            Op::RunRecords { run, .. } if origin == Origin::Own => self.side.appends.note_from(*run, lsn),
            Op::RunRecords { run, depot, records } => {
                let piece = Run::decode(records).map_err(|_| refused(run, "records that it appends cannot be read"))?;
                self.side.appends.find(*run, *depot, piece, lsn);
            }
            Op::RunAppended(appended) => self.take_appended(appended, lsn)?,
            Op::Spilled { run, epoch, serial, version } => match origin {
                Origin::Own => {
                    self.side.appends.note_from(*run, lsn);
                    self.side.take_prepared(*run, *epoch, 0, lsn, origin);
                }
                Origin::Log { .. } => {
                    let found = self.side.find_spilled((*run, *epoch), *serial, *version, lsn);
                    self.side.runs.insert(*run, found);
                }
            },
            Op::Drop { run } => {
                self.side.appends.forget(run);
                self.side.dropping.remove(run);
                // A run of this process was dropped when the op was staged.
                self.side.runs.remove(run);
            }
            Op::Publish { run } => {
                let found = self.side.runs.remove(run);
                let is_flushed = origin == (Origin::Log { is_flushed: true });
                if is_flushed && self.side.was_in_tree(*run) != Some(false) {
                    return Ok(());
                }
                let found = found.ok_or_else(|| refused(run, "the log publishes it and has no chunk of it"))?;
                if !found.is_whole || !matches!(found.phase, Phase::Prepared { .. } | Phase::Publishing) {
                    return Err(refused(run, "the log publishes it and has not all of it"));
                }
                published.push((Published { run: *run, version }, found));
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes that runs are visible: before the floor of the tree moves past the version before.
    pub(crate) fn note_published<'p>(&mut self, published: impl IntoIterator<Item = &'p Published>) {
        for now in published {
            let Published { run, version } = *now;
            self.side.published.insert(run.topology, *now);
            match self.side.owes(&run) {
                true => self.side.untold.push(*now),
                false => self.side.events.push(RunEvent::Published { run, version }),
            }
            if self.side.keeps_before {
                let before = Version(version.0 - 1);
                self.pin(before);
                if let Some(older) = self.side.before.insert(run.topology, before) {
                    self.unpin(older);
                }
            }
        }
    }

    /// Tells whoever waits for a section that it is durable.
    pub(crate) fn tell_notes(&mut self, version: Version) {
        self.side.tell_notes(version);
    }
}

impl SideRun {
    /// Its writes, for the tree.
    pub(crate) fn tree_writes(&self) -> impl Iterator<Item = Write<'_>> {
        let ranges = self.writes.ranges_behind(None).map(|(from, to)| Write::DeleteRange { from, to });
        let entries = self.writes.behind(None).map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        ranges.chain(entries)
    }
}
