//! What side runs append to depots: exactly once, whatever fails.
//!
//! The records of a run stay apart until it is prepared; then they go into the log in pieces, before the mark that the run is
//! prepared. They get their offsets, and their time, in the section that publishes the run: so an attempt that is dropped leaves no
//! gap, and a run that is published after a crash appends what it would have appended. There each partition has behind what was staged in it
//! the records of the run.
//!
//! A piece is a [`Run`] whose first offset counts from the first record that the run appends to the depot. The log is kept from
//! the first piece on until a drop of the run is durable, or its records are in segments.
//!
//! What is more than its share of memory goes to the disk piece by piece, into the tree of side runs, and with it all that the
//! run appends ([`owed`](super::owed)): then the log has none of its pieces.

use super::owed::Owed;
use super::{Phase, RunError, RunOrder, SIDE_CHUNK_SIZE_MAX, Side};
use crate::depot::Run;
use crate::section::EntryWriter;
use crate::task::{StateError, TaskState};
use std::collections::{BTreeMap, VecDeque};
use tantu_base::id::{ObjectId, Offset, RunId};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_replog::Lsn;

/// Most bytes of records of one run that may be in memory on one task: an event that appends waits before, so that there is always
/// room for one more record.
pub const SIDE_APPEND_SIZE_MAX: usize = 64 << 20;
/// With more bytes in memory a run has to wait until some of its records are on the disk.
const APPEND_SIZE_FULL: usize = SIDE_APPEND_SIZE_MAX - RECORD_SIZE_MAX - RECORD_HEAD_SIZE;
/// A piece takes records until the next one would make it longer, in bytes with their heads; one longer record has a piece of its own.
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

/// What a run appends to one depot.
#[derive(Debug, Default)]
struct DepotAppends {
    /// Those in memory, each behind the other.
    pieces: VecDeque<Run>,
    /// Records in all, those on the disk among them.
    count: u64,
}

/// What one run appends.
#[derive(Debug, Default)]
struct RunAppends {
    depots: BTreeMap<ObjectId, DepotAppends>,
    /// Bytes in memory.
    size: usize,
    /// It takes no more records: its pieces are being sealed.
    is_closed: bool,
    piece_count: usize,
    /// Pieces that were sealed, in the order of the depots.
    sealed_count: usize,
    /// What it has in memory is to go to the disk.
    is_spilling: bool,
    /// The number of the run in the tree of side runs, if some of it is there: then all of it gets there.
    serial: Option<u64>,
    /// Where the log has it from.
    from: Option<Lsn>,
    /// Whether no piece is missing.
    is_broken: bool,
}

/// Bytes of a piece in memory.
fn size_of(piece: &Run) -> usize {
    piece.size() + piece.count() as usize * RECORD_HEAD_SIZE
}

impl RunAppends {
    fn push(&mut self, depot: ObjectId, record: &[u8]) {
        let of_depot = self.depots.entry(depot).or_default();
        let size = record.len() + RECORD_HEAD_SIZE;
        match of_depot.pieces.back_mut().filter(|piece| size_of(piece) + size <= PIECE_SIZE) {
            Some(piece) => piece.push(record),
            None => {
                let mut piece = Run::new(Offset(of_depot.count));
                piece.push(record);
                of_depot.pieces.push_back(piece);
                self.piece_count += 1;
            }
        }
        of_depot.count += 1;
        self.size += size;
    }

    fn has_unsealed(&self) -> bool {
        self.is_closed && self.sealed_count < self.piece_count
    }

    fn unsealed(&self) -> impl Iterator<Item = (ObjectId, &Run)> {
        let all = self.depots.iter().flat_map(|(depot, found)| found.pieces.iter().map(|piece| (*depot, piece)));
        all.skip(self.sealed_count)
    }

    /// A piece that was found in the log.
    fn take(&mut self, depot: ObjectId, piece: Run) {
        let of_depot = self.depots.entry(depot).or_default();
        self.is_broken |= of_depot.count != piece.first.0;
        of_depot.count = piece.end().0;
        self.size += size_of(&piece);
        of_depot.pieces.push_back(piece);
        self.piece_count += 1;
    }

    /// Whether what it has in memory goes to the disk, if its share is so many bytes.
    fn is_large(&self, size_max: usize) -> bool {
        !self.is_closed && self.size > 0 && (self.is_spilling || self.size > size_max)
    }
}

/// The records of a run that was published.
enum Taken {
    Here(Vec<Run>),
    /// In the tree of side runs, under the run's number.
    OnDisk(u64),
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

    /// The run takes no more records. Either its pieces go into the next sections, or all of them to the disk: then it is true.
    pub(crate) fn close(&mut self, run: RunId, size_max: usize) -> bool {
        let Some(appends) = self.runs.get_mut(&run) else { return false };
        let is_spilling = appends.serial.is_some() || appends.is_large(size_max);
        (appends.is_closed, appends.is_spilling) = (!is_spilling, is_spilling);
        is_spilling
    }

    /// Whether some of what a run has in memory goes to the disk, if its share is so many bytes.
    pub(crate) fn is_large(&self, run: &RunId, size_max: usize) -> bool {
        self.runs.get(run).is_some_and(|appends| appends.is_large(size_max))
    }

    /// Bytes that a run has in memory, and whether they are so many that it has to wait.
    pub(crate) fn size_of(&self, run: &RunId, size_max: usize) -> (usize, bool) {
        let size = self.runs.get(run).map_or(0, |appends| appends.size);
        (size, size > APPEND_SIZE_FULL.min(2 * size_max))
    }

    /// Has all that a run has in memory go to the disk.
    pub(crate) fn spill(&mut self, run: &RunId) {
        if let Some(appends) = self.runs.get_mut(run) {
            appends.is_spilling = appends.size > 0;
        }
    }

    /// Takes the next piece that goes to the disk, under the run's number there.
    pub(crate) fn take_piece(&mut self, run: &RunId, serial: u64) -> Option<(ObjectId, Run)> {
        let appends = self.runs.get_mut(run)?;
        let most = appends.depots.iter_mut().max_by_key(|(_, found)| found.pieces.len());
        let (depot, piece) = most.and_then(|(depot, found)| Some((*depot, found.pieces.pop_front()?)))?;
        appends.serial = Some(serial);
        appends.piece_count -= 1;
        appends.size -= size_of(&piece);
        appends.is_spilling &= appends.size > 0;
        Some((depot, piece))
    }

    /// Whether pieces of the run are still to be sealed: only then the log may say that it is prepared.
    pub(crate) fn has_unsealed(&self, run: &RunId) -> bool {
        self.runs.get(run).is_some_and(|appends| appends.has_unsealed())
    }

    fn sealing(&mut self) -> Option<(&RunId, &mut RunAppends)> {
        self.runs.iter_mut().find(|(_, appends)| appends.has_unsealed())
    }

    /// Whether the next section has some of it.
    pub(crate) fn is_dirty(&self) -> bool {
        self.runs.values().any(RunAppends::has_unsealed)
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

    /// The log says that a run is on the disk as a whole; what it appends may be there, too.
    pub(crate) fn find_spilled(&mut self, run: RunId, serial: u64, lsn: Lsn) {
        let appends = self.runs.entry(run).or_default();
        appends.from = appends.from.or(Some(lsn));
        appends.serial = Some(serial);
    }

    /// After the replay: so many records that a run appends to a depot are on the disk.
    pub(crate) fn learn(&mut self, run: RunId, depot: ObjectId, count: u64) {
        if let Some(appends) = self.runs.get_mut(&run) {
            appends.depots.entry(depot).or_default().count = count;
        }
    }

    /// After that: a run on the disk that appends nothing is like any other.
    pub(crate) fn end_learning(&mut self) {
        self.runs.retain(|_, appends| !appends.depots.is_empty());
    }

    /// A run is dropped; the log has to keep its pieces until it says so, if it is going to.
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
        let depots = self.runs.get(run).into_iter().flat_map(|appends| &appends.depots);
        depots.map(|(depot, found)| (*depot, found.count)).collect()
    }

    /// Takes what a run appends to a depot, and since where the log has it; none if it is not all there.
    fn take(&mut self, run: &RunId, appended: &Appended) -> Option<(Taken, Option<Lsn>)> {
        let appends = self.runs.get_mut(run)?;
        let (from, is_broken, serial) = (appends.from, appends.is_broken, appends.serial);
        let found = appends.depots.remove(&appended.depot);
        appends.size -= found.iter().flat_map(|found| &found.pieces).map(size_of).sum::<usize>();
        // While the log is replayed nobody knows what is on the disk: the run itself may go later.
        if appends.depots.is_empty() && (found.is_some() || serial.is_none()) {
            self.runs.remove(run);
        }
        let is_whole = |found: &DepotAppends| !is_broken && found.count == appended.count;
        let taken = match (found, serial) {
            (Some(found), _) if !is_whole(&found) => None,
            (Some(DepotAppends { pieces, .. }), serial) if !pieces.is_empty() || serial.is_none() => {
                Some(Taken::Here(pieces.into()))
            }
            (_, serial) => serial.map(Taken::OnDisk),
        };
        taken.map(|taken| (taken, from))
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
        let appends = |run: &RunId| self.appends.runs.get(run).is_some_and(|run| run.depots.contains_key(&depot));
        self.orders.iter().any(|order| matches!(order, RunOrder::Publish(run) if appends(run)))
    }
}

impl TaskState {
    /// Appends a record to the task's partition of a depot, by its place, when the run is published.
    ///
    /// # Errors
    /// [`RunError::Unknown`]; [`RunError::Phase`] if it takes no more; [`RunError::AppendsTooMuch`], which cannot be if
    /// [`TaskState::is_run_full`] was asked before.
    pub fn append_to_run(&mut self, run: RunId, depot: usize, record: &[u8]) -> Result<(), RunError> {
        let found = self.side.runs.get(&run).ok_or(RunError::Unknown(run))?;
        if found.phase != Phase::Open {
            return Err(RunError::Phase(run));
        }
        let appends = self.side.appends.runs.entry(run).or_default();
        if appends.size + record.len() + RECORD_HEAD_SIZE > SIDE_APPEND_SIZE_MAX {
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

    /// A publish is durable, or found in the log: the records of the run are in its depot, or owed to it.
    pub(crate) fn take_appended(&mut self, appended: &Appended, lsn: Lsn) -> Result<(), StateError> {
        let (task, run) = (self.task, appended.run);
        let taken = self.side.appends.take(&run, appended);
        let Some(index) = self.depots.iter().position(|depot| depot.object == appended.depot) else { return Ok(()) };
        if appended.end() <= self.depots[index].durable_end() {
            return Ok(());
        }
        let what = "the log publishes it and has not all that it appends";
        let (taken, from) = taken.ok_or(StateError::Run { task, run, what })?;
        let from = from.unwrap_or(lsn);
        let pieces = match taken {
            Taken::Here(pieces) => pieces,
            Taken::OnDisk(serial) => {
                self.note_uncopied(index, appended.end(), from);
                self.owe(index, Owed { appended: *appended, serial });
                return Ok(());
            }
        };
        for mut piece in pieces {
            piece.place(appended.first, appended.time_ms);
            let have = self.depots[index].durable_end();
            if piece.end() <= have {
                continue;
            }
            if piece.first != have {
                return Err(StateError::Gap { task, what: "depot", have: have.0, found: piece.first.0 });
            }
            self.note_uncopied(index, piece.end(), from);
            self.depots[index].commit(piece);
        }
        Ok(())
    }
}
