//! What side runs append to depots: exactly once, whatever fails.
//!
//! The records of a run stay apart until it is prepared; then they go into the log in pieces, before the mark that the run is
//! prepared. They get their offsets, and their time, in the section that publishes the run: so an attempt that is dropped leaves no
//! gap, and a run that is published after a crash appends what it would have appended. There each partition has behind what was staged in it
//! the records of the run.
//!
//! A piece is a [`Run`] whose first offset counts from the first record that the run appends to the depot. The log is kept from
//! the first piece on until a drop of the run is durable, or its records are in segments.

use super::{Phase, RunError, RunOrder, SIDE_CHUNK_SIZE_MAX, Side};
use crate::depot::Run;
use crate::section::EntryWriter;
use crate::task::{StateError, TaskState};
use std::collections::BTreeMap;
use tantu_base::id::{ObjectId, Offset, RunId};
use tantu_replog::Lsn;

/// Most bytes of records that one run may append on one task: they are in memory until their depots have copied them.
pub const SIDE_APPEND_SIZE_MAX: usize = 64 << 20;
/// A piece that is this long takes no more records, in bytes.
const PIECE_SIZE: usize = 64 << 10;
/// What a record takes beside its bytes.
const RECORD_HEAD_SIZE: usize = 4;

/// Records of a depot, as a run appends them on a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The run.
    pub run: RunId,
    /// The depot.
    pub depot: ObjectId,
    /// The offset of the first.
    pub first: Offset,
    /// How many.
    pub count: u64,
    /// Their append time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Appended {
    /// The offset after the last.
    pub fn end(&self) -> Offset {
        Offset(self.first.0.saturating_add(self.count))
    }
}

/// What one run appends.
#[derive(Debug, Default)]
struct RunAppends {
    /// Pieces by depot, each behind the other.
    pieces: BTreeMap<ObjectId, Vec<Run>>,
    size: usize,
    /// It takes no more records: its pieces are being sealed.
    is_closed: bool,
    piece_count: usize,
    /// Pieces that were sealed, in the order of the depots.
    sealed_count: usize,
    /// Where the log has it from.
    from: Option<Lsn>,
    /// Whether no piece is missing.
    is_broken: bool,
}

impl RunAppends {
    fn push(&mut self, depot: ObjectId, record: &[u8]) {
        let pieces = self.pieces.entry(depot).or_default();
        let end = pieces.last().map_or(Offset(0), Run::end);
        match pieces.last_mut().filter(|piece| piece.size() < PIECE_SIZE) {
            Some(piece) => piece.push(record),
            None => {
                let mut piece = Run::new(end);
                piece.push(record);
                pieces.push(piece);
                self.piece_count += 1;
            }
        }
        self.size += record.len() + RECORD_HEAD_SIZE;
    }

    fn has_unsealed(&self) -> bool {
        self.sealed_count < self.piece_count
    }

    fn unsealed(&self) -> impl Iterator<Item = (ObjectId, &Run)> {
        let all = self.pieces.iter().flat_map(|(depot, pieces)| pieces.iter().map(|piece| (*depot, piece)));
        all.skip(self.sealed_count)
    }

    /// A piece that was found in the log.
    fn take(&mut self, depot: ObjectId, piece: Run) {
        let pieces = self.pieces.entry(depot).or_default();
        self.is_broken |= pieces.last().map_or(Offset(0), Run::end) != piece.first;
        self.size += piece.size() + piece.count() as usize * RECORD_HEAD_SIZE;
        pieces.push(piece);
        self.piece_count += 1;
    }
}

/// What the runs of a task append.
#[derive(Debug, Default)]
pub(crate) struct SideAppends {
    runs: BTreeMap<RunId, RunAppends>,
    /// Dropped runs that the log has to keep until it says so itself.
    dropping: BTreeMap<RunId, Lsn>,
}

impl SideAppends {
    /// Bytes of the records that are not published.
    pub(crate) fn size(&self) -> usize {
        self.runs.values().map(|appends| appends.size).sum()
    }

    /// The run takes no more records; its pieces go into the next sections.
    pub(crate) fn close(&mut self, run: RunId) {
        if let Some(appends) = self.runs.get_mut(&run) {
            appends.is_closed = true;
        }
    }

    /// Whether pieces of the run are still to be sealed: only then the log may say that it is prepared.
    pub(crate) fn has_unsealed(&self, run: &RunId) -> bool {
        self.runs.get(run).is_some_and(|appends| appends.has_unsealed())
    }

    fn sealing(&mut self) -> Option<(&RunId, &mut RunAppends)> {
        self.runs.iter_mut().find(|(_, appends)| appends.is_closed && appends.has_unsealed())
    }

    /// Whether the next section has some of it.
    pub(crate) fn is_dirty(&self) -> bool {
        self.runs.values().any(|appends| appends.is_closed && appends.has_unsealed())
    }

    /// Bytes of the next pieces: what the entry has to have room for.
    pub(crate) fn sealing_size(&self) -> usize {
        let closed = self.runs.values().filter(|appends| appends.is_closed);
        let sizes = closed.filter_map(|appends| {
            let largest = appends.unsealed().map(|(_, piece)| piece.size()).max()?;
            Some(appends.size.min(largest.max(SIDE_CHUNK_SIZE_MAX)))
        });
        sizes.max().unwrap_or(0)
    }

    /// Seals the next pieces of a run: as many as a chunk has room for, or one.
    pub(crate) fn seal(&mut self, entry: &mut EntryWriter) {
        let Some((run, appends)) = self.sealing() else { return };
        let (mut size, mut count) = (0, 0);
        for (depot, piece) in appends.unsealed() {
            if count > 0 && size + piece.size() > SIDE_CHUNK_SIZE_MAX {
                break;
            }
            entry.run_records(*run, depot, piece);
            size += piece.size();
            count += 1;
        }
        appends.sealed_count += count;
    }

    /// Pieces of a run are in the log from here on.
    pub(crate) fn note_from(&mut self, run: RunId, lsn: Lsn) {
        if let Some(appends) = self.runs.get_mut(&run) {
            appends.from = appends.from.or(Some(lsn));
        } else if let Some(from) = self.dropping.get_mut(&run) {
            *from = lsn.min(*from);
        }
    }

    /// A piece is found in the log.
    pub(crate) fn find(&mut self, run: RunId, depot: ObjectId, piece: Run, lsn: Lsn) {
        let appends = self.runs.entry(run).or_default();
        appends.from = appends.from.or(Some(lsn));
        appends.take(depot, piece);
    }

    /// A run is dropped; the log may have to keep its pieces until it says so.
    pub(crate) fn drop_run(&mut self, run: RunId, is_logged: bool) {
        let from = self.runs.remove(&run).map(|appends| appends.from);
        // What is sealed and not durable comes later.
        if let Some(from) = from.filter(|_| is_logged) {
            self.dropping.insert(run, from.unwrap_or(Lsn(u64::MAX)));
        }
    }

    /// The log says that the run is gone.
    pub(crate) fn forget(&mut self, run: &RunId) {
        self.runs.remove(run);
        self.dropping.remove(run);
    }

    /// The oldest place of the log that is needed.
    pub(crate) fn low_water(&self) -> Option<Lsn> {
        self.runs.values().filter_map(|appends| appends.from).chain(self.dropping.values().copied()).min()
    }

    /// Every depot that the run appends to, and how many records.
    fn counts(&self, run: &RunId) -> Vec<(ObjectId, u64)> {
        let pieces = self.runs.get(run).into_iter().flat_map(|appends| &appends.pieces);
        pieces.map(|(depot, pieces)| (*depot, pieces.last().map_or(0, |last| last.end().0))).collect()
    }

    /// Takes what a run appends to a depot, and since where the log has it; none if it is not all there.
    fn take(&mut self, run: &RunId, depot: ObjectId) -> Option<(Vec<Run>, Option<Lsn>)> {
        let appends = self.runs.get_mut(run)?;
        let (from, is_broken) = (appends.from, appends.is_broken);
        let pieces = appends.pieces.remove(&depot)?;
        appends.size -=
            pieces.iter().map(|piece| piece.size() + piece.count() as usize * RECORD_HEAD_SIZE).sum::<usize>();
        if appends.pieces.is_empty() {
            self.runs.remove(run);
        }
        (!is_broken).then_some((pieces, from))
    }

    /// After the replay: what is of no run is gone. A run whose pieces are not all there.
    pub(crate) fn end_replay(&mut self, is_prepared: impl Fn(&RunId) -> bool) -> Option<RunId> {
        self.runs.retain(|run, _| is_prepared(run));
        for appends in self.runs.values_mut() {
            (appends.is_closed, appends.sealed_count) = (true, appends.piece_count);
        }
        self.runs.iter().find(|(_, appends)| appends.is_broken).map(|(run, _)| *run)
    }
}

impl Side {
    /// The runs with appends that are to be published.
    fn publishing(&self) -> Vec<RunId> {
        let run = |order: &RunOrder| match order {
            RunOrder::Publish(run) => Some(*run).filter(|run| self.appends.runs.contains_key(run)),
            _ => None,
        };
        self.orders.iter().filter_map(run).collect()
    }

    /// Whether the next section may publish records of a depot.
    pub(crate) fn publishes_to(&self, depot: ObjectId) -> bool {
        let appends = |run: &RunId| self.appends.runs.get(run).is_some_and(|run| run.pieces.contains_key(&depot));
        self.orders.iter().any(|order| matches!(order, RunOrder::Publish(run) if appends(run)))
    }
}

impl TaskState {
    /// Appends a record to the task's partition of a depot, by its place, when the run is published.
    ///
    /// # Errors
    /// [`RunError::Unknown`]; [`RunError::Phase`] if it takes no more; [`RunError::AppendsTooMuch`].
    pub fn append_to_run(&mut self, run: RunId, depot: usize, record: &[u8]) -> Result<(), RunError> {
        let found = self.side.runs.get(&run).ok_or(RunError::Unknown(run))?;
        if found.phase != Phase::Open {
            return Err(RunError::Phase(run));
        }
        let appends = self.side.appends.runs.entry(run).or_default();
        if appends.size + record.len() > SIDE_APPEND_SIZE_MAX {
            return Err(RunError::AppendsTooMuch(run));
        }
        appends.push(self.depots[depot].object, record);
        Ok(())
    }

    /// Seals what runs say and are, and behind a publish the offsets of what the run appends.
    pub(crate) fn seal_side(&mut self, start: usize, wall_ms: u64, entry: &mut EntryWriter) {
        let publishing = self.side.publishing();
        self.side.seal(self.sealed, entry.body.len() - start, entry);
        for run in publishing {
            if self.side.orders.contains(&RunOrder::Publish(run)) {
                continue;
            }
            for (object, count) in self.side.appends.counts(&run) {
                let depot = self.depots.iter_mut().find(|depot| depot.object == object);
                let depot = depot.expect("invariant: runs append to depots of the task");
                entry.run_appended(&depot.seal_appended(run, count, wall_ms));
            }
        }
    }

    /// A publish is durable, or found in the log: the records of the run are in its depot.
    pub(crate) fn take_appended(&mut self, appended: &Appended, lsn: Lsn) -> Result<(), StateError> {
        let (task, run) = (self.task, appended.run);
        let taken = self.side.appends.take(&run, appended.depot);
        let Some(index) = self.depots.iter().position(|depot| depot.object == appended.depot) else { return Ok(()) };
        if appended.end() <= self.depots[index].committed_end() {
            return Ok(());
        }
        let refused = |what| StateError::Run { task, run, what };
        let (pieces, from) = taken.ok_or_else(|| refused("the log publishes it and has not all that it appends"))?;
        if pieces.last().map_or(0, |last| last.end().0) != appended.count {
            return Err(refused("the log publishes another number of records than it appends"));
        }
        for mut piece in pieces {
            (piece.first, piece.time_ms) = (Offset(appended.first.0 + piece.first.0), appended.time_ms);
            let have = self.depots[index].committed_end();
            if piece.end() <= have {
                continue;
            }
            if piece.first != have {
                return Err(StateError::Gap { task, what: "depot", have: have.0, found: piece.first.0 });
            }
            self.note_uncopied(index, piece.end(), from.unwrap_or(lsn));
            self.depots[index].commit(piece);
        }
        Ok(())
    }
}
