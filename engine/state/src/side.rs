//! Side runs: what a microbatch writes on a task before anybody may see it (design D15).
//!
//! A run is begun, written through a [`RunView`](view::RunView), and *prepared*: its writes go into the log as chunks, which
//! never touch the tree, and behind them a mark that they are all there. When that mark is durable the run survives a
//! restart. *Published*, the whole run enters the tree at the version of the section that says so; *dropped*, nothing of it
//! does. Nobody but the microbatch itself sees a run before it is published.
//!
//! ```text
//! begin_run ─► Open ─prepare_run─► Sealing ─► Sealed ─durable─► Prepared ─publish_run─► Publishing ─durable─► visible
//!                                  Spilling ──┘
//! ```
//!
//! A run larger than its share of memory is written to disk, and its chunks do not go into the log ([`spill`]). One that is
//! more than a few writes is visible at once and enters the tree in slices ([`attached`]). What it appends to depots ([`append`])
//! goes to the disk in the same way, and from there to the depots after it was published ([`owed`]).
//!
//! A prepared run is dropped by [`TaskState::drop_run`], which [`TaskState::begin_run`] of a higher attempt does and
//! [`TaskState::abandon_runs`], and by nothing else. That a run was dropped or published is in the log before the log may lose its first chunk; so a replay that
//! finds a part of a run also finds what became of it.

pub mod append;
pub(crate) mod attached;
pub(crate) mod layer;
mod leaves;
mod log;
pub(crate) mod owed;
pub(crate) mod spill;
#[cfg(test)]
mod tests;
pub mod view;
pub(crate) mod writes;

use crate::layout::published_key;
use crate::task::{StateError, TaskState};
use append::SideAppends;
use std::collections::{BTreeMap, VecDeque};
use tantu_base::door::Disk;
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{Attempt, Epoch, ObjectId, RunId, Version};
use tantu_base::limit::{KEY_SIZE_MAX, RECORD_SIZE_MAX};
use tantu_lsm::{BlockCache, Tree};
use tantu_replog::Lsn;
use writes::SideWrites;

use attached::Attached;
pub use attached::SIDE_SLICE_COUNT;
pub(crate) use log::Origin;
use owed::OwedFiles;
pub use spill::SPILL_OWNER;
use spill::{Spilled, shed_later};

/// A run that holds more bytes on one task goes to the disk, unless its options say otherwise.
pub const SIDE_RUN_MEMORY_MAX: usize = 48 << 20;
/// Most bytes one run may hold in memory on one task, though what goes to the disk cannot keep up with what is written.
pub const SIDE_RUN_SIZE_MAX: usize = 64 << 20;
/// With more bytes in memory its events wait until some are on the disk, whatever its share: one more write has room then.
const SIDE_RUN_SIZE_FULL: usize = SIDE_RUN_SIZE_MAX - RECORD_SIZE_MAX - 2 * KEY_SIZE_MAX;
/// A chunk takes writes until its next one would make it longer, in bytes; one longer write has a chunk of its own. To gather
/// a chunk is a turn: of a MiB of small writes it takes milliseconds.
pub const SIDE_CHUNK_SIZE_MAX: usize = 256 << 10;

/// Why something cannot be done with a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such run.
    #[error("there is no run of {0}")]
    Unknown(RunId),
    /// It was begun before, or a later one was.
    #[error("{run} comes after {newer}")]
    Stale {
        /// The run.
        run: RunId,
        /// The one that is there, or was published.
        newer: RunId,
    },
    /// An earlier microbatch is prepared, and neither published nor dropped.
    #[error("{older} is still to be published")]
    Unpublished {
        /// The earlier one.
        older: RunId,
    },
    /// It is not in the state that this needs.
    #[error("{0} is past that, or not there yet")]
    Phase(RunId),
    /// It would have more than [`append::SIDE_APPEND_SIZE_MAX`] of records in memory.
    #[error("{0} appends {max} bytes on one task faster than the disk takes them", max = append::SIDE_APPEND_SIZE_MAX)]
    AppendsTooMuch(RunId),
    /// It would hold more than [`SIDE_RUN_SIZE_MAX`] in memory.
    #[error("{0} writes {SIDE_RUN_SIZE_MAX} bytes on one task faster than the disk takes them: let its events yield")]
    TooLarge(RunId),
}

/// What became durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunEvent {
    /// All of a run is in the log: it survives a restart.
    Prepared {
        /// The run.
        run: RunId,
        /// As given to [`TaskState::prepare_run`].
        epoch: Epoch,
    },
    /// A run is in the tree and visible.
    Published {
        /// The run.
        run: RunId,
        /// Since which version.
        version: Version,
    },
    /// What was put by [`TaskState::put_noted`].
    Noted(u64),
}

/// The last publish of a topology on a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// What was published.
    pub run: RunId,
    /// Since which version the tree has it.
    pub version: Version,
}

impl Published {
    /// Its bytes, as the tree holds them.
    pub fn encode(&self) -> [u8; 28] {
        let mut out = [0; 28];
        out[..8].copy_from_slice(&self.run.id.to_le_bytes());
        out[8..16].copy_from_slice(&self.run.attempt.epoch.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.run.attempt.counter.to_le_bytes());
        out[20..].copy_from_slice(&self.version.0.to_le_bytes());
        out
    }

    /// The entry of the tree that says so.
    pub(crate) fn record(&self) -> (Vec<u8>, [u8; 28]) {
        (published_key(self.run.topology), self.encode())
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Truncated`] if they are of another length.
    pub fn decode(topology: ObjectId, bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let id = reader.u64()?;
        let attempt = Attempt { epoch: Epoch(reader.u64()?), counter: reader.u32()? };
        let version = Version(reader.u64()?);
        if !reader.is_empty() {
            return Err(Truncated);
        }
        Ok(Self { run: RunId { topology, id, attempt }, version })
    }
}

/// How far a run is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It takes writes.
    Open,
    /// Its chunks are being sealed: up to these keys they are.
    Sealing { epoch: Epoch, range: Option<Vec<u8>>, key: Option<Vec<u8>> },
    /// It is written to disk; all of it will be there when that is flushed up to a version.
    Spilling { epoch: Epoch, until: Option<Version> },
    /// All of it is sealed, or on the disk, and the log does not say so yet.
    Sealed { epoch: Epoch },
    /// All of it is in the log.
    Prepared { epoch: Epoch },
    /// Its publish is staged or sealed.
    Publishing,
    /// Chunks of it were found in the log, the end not yet.
    Found,
}

/// One run.
#[derive(Debug)]
pub(crate) struct SideRun {
    /// What is in memory.
    pub(crate) writes: SideWrites,
    /// What is on the disk, and older.
    pub(crate) spilled: Option<Spilled>,
    /// All that is in memory is to go to the disk.
    pub(crate) is_spilling: bool,
    /// With more writes in memory it does.
    pub(crate) count_max: usize,
    pub(crate) phase: Phase,
    /// Chunks sealed, or found while the log is replayed.
    pub(crate) chunk_count: u32,
    /// Where the log has it from.
    pub(crate) from: Option<Lsn>,
    /// Whether every chunk up to here was found.
    pub(crate) is_whole: bool,
}

impl SideRun {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            writes: SideWrites::default(),
            spilled: None,
            is_spilling: false,
            count_max: usize::MAX,
            phase,
            chunk_count: 0,
            from: None,
            is_whole: true,
        }
    }
}

/// What the next section says of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunOrder {
    /// All of it is on the disk, under this number, up to this version of the tree there.
    Spilled {
        run: RunId,
        epoch: Epoch,
        serial: u64,
        version: Version,
    },
    Publish(RunId),
    Drop(RunId),
}

/// All runs of a task, and what is known of published ones.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) runs: BTreeMap<RunId, SideRun>,
    /// What runs append to depots.
    pub(crate) appends: SideAppends,
    /// What published runs appended, and readers of the depots do not have or the tree does not know of.
    pub(crate) owed: Vec<OwedFiles>,
    /// Published runs of which nothing is told before all that they append can be read.
    pub(crate) untold: Vec<Published>,
    /// What the next section says.
    pub(crate) orders: Vec<RunOrder>,
    /// Dropped runs that the log has to keep until it says so itself, and the numbers of those on the disk.
    pub(crate) dropping: BTreeMap<RunId, (Option<Lsn>, Option<u64>)>,
    /// Published runs that the tree has not flushed, from where the log has them, and the numbers of those on the disk.
    pub(crate) unflushed: VecDeque<(Version, Lsn, Option<u64>)>,
    /// Published runs that are not all in the tree, oldest first.
    pub(crate) attached: VecDeque<Attached>,
    /// What topologies had published in the tree when it was opened.
    pub(crate) in_tree: BTreeMap<ObjectId, Option<RunId>>,
    /// Runs, or parts of them, on the disk; there for tasks that have microbatch topologies, or had some.
    pub(crate) spill: Option<Box<Tree>>,
    /// The numbers of runs that may have something there.
    pub(crate) serials: Vec<u64>,
    /// A run that holds more bytes goes there.
    pub(crate) memory_size_max: usize,
    /// Writes of a run that go into the tree, or to the disk, in one slice.
    pub(crate) slice_count: usize,
    /// Writes of runs that are gone, whose memory is given back in slices.
    pub(crate) shedding: Vec<SideWrites>,
    /// By topology.
    pub(crate) published: BTreeMap<ObjectId, Published>,
    /// The version before the last publish of a topology, which is pinned.
    pub(crate) before: BTreeMap<ObjectId, Version>,
    /// Whether that is wanted.
    pub(crate) keeps_before: bool,
    pub(crate) notes: Vec<u64>,
    /// The notes of sealed sections.
    pub(crate) sealed_notes: VecDeque<(Version, Vec<u64>)>,
    pub(crate) events: Vec<RunEvent>,
}

impl Side {
    /// Bytes of all runs, and of what goes to the disk.
    pub(crate) fn size(&self) -> usize {
        self.writes_size() + self.spill.as_ref().map_or(0, |tree| tree.memory_size())
    }

    /// Bytes of all runs.
    fn writes_size(&self) -> usize {
        let runs = self.runs.values().chain(self.attached.iter().map(|attached| &attached.run));
        let writes = runs.map(|run| &run.writes).chain(&self.shedding);
        writes.map(SideWrites::size).sum::<usize>() + self.appends.size()
    }

    /// Whether the next section has something of it.
    pub(crate) fn is_dirty(&self) -> bool {
        self.orders.iter().any(|order| !self.is_held(order))
            || self.appends.is_dirty()
            || self.runs.values().any(|run| matches!(run.phase, Phase::Sealing { .. }))
    }

    /// Whether an order waits: what a topology published before has to be in the tree, and the log has to have what a run appends
    /// before it says that the run is prepared.
    pub(crate) fn is_held(&self, order: &RunOrder) -> bool {
        match order {
            RunOrder::Publish(run) => self.is_attached(run.topology),
            RunOrder::Spilled { run, .. } => self.appends.has_unsealed(run),
            RunOrder::Drop(_) => false,
        }
    }

    pub(crate) fn open(&self, run: RunId) -> Result<&SideRun, RunError> {
        self.runs.get(&run).ok_or(RunError::Unknown(run))
    }

    /// The writes of a run that will have a write of this size.
    pub(crate) fn open_mut(
        &mut self,
        run: RunId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<&mut SideWrites, RunError> {
        let found = self.runs.get_mut(&run).ok_or(RunError::Unknown(run))?;
        if found.phase != Phase::Open {
            return Err(RunError::Phase(run));
        }
        if found.writes.size_with(key, value) > SIDE_RUN_SIZE_MAX {
            return Err(RunError::TooLarge(run));
        }
        Ok(&mut found.writes)
    }

    /// The oldest place of the log that a run needs, when the tree has flushed everything up to a version.
    pub(crate) fn low_water(&mut self, flushed: Version) -> Option<Lsn> {
        self.unflushed.retain(|(version, ..)| *version > flushed);
        let runs = self.runs.values().chain(self.attached.iter().map(|attached| &attached.run));
        let living = runs.filter_map(|run| run.from);
        let dropping = self.dropping.values().filter_map(|(from, _)| *from);
        let appends = self.appends.low_water();
        living.chain(dropping).chain(appends).chain(self.unflushed.iter().map(|(_, from, _)| *from)).min()
    }
}

impl TaskState {
    /// Learns what the tree says of the last publishes of these topologies: of all whose runs the log may have, those among them
    /// that the module does not have any more. Blocking; before the replay.
    ///
    /// # Errors
    /// [`StateError`] of the tree.
    pub fn know_topologies(
        &mut self,
        disk: &mut dyn Disk,
        cache: &mut BlockCache,
        topologies: &[ObjectId],
    ) -> Result<(), StateError> {
        if !topologies.is_empty() {
            self.open_spill(disk)?;
        }
        for topology in topologies {
            self.side.in_tree.insert(*topology, None);
            if let Some(bytes) = self.system_now(disk, cache, &published_key(*topology))? {
                let unreadable = StateError::Unreadable { task: self.task, object: *topology, what: "published" };
                let published = Published::decode(*topology, &bytes).map_err(|_| unreadable)?;
                self.side.in_tree.insert(*topology, Some(published.run));
                self.side.published.insert(*topology, published);
            }
        }
        Ok(())
    }

    /// Begins a run. Lower attempts of the same microbatch are dropped.
    ///
    /// # Errors
    /// [`RunError::Stale`] if this run or a later one is there, or this microbatch was published;
    /// [`RunError::Unpublished`] if an earlier microbatch was prepared and is not published.
    pub fn begin_run(&mut self, run: RunId) -> Result<(), RunError> {
        let Side { runs, published, .. } = &self.side;
        if let Some(last) = published.get(&run.topology).filter(|last| last.run.id >= run.id) {
            return Err(RunError::Stale { run, newer: last.run });
        }
        let of_topology = |other: &&RunId| other.topology == run.topology;
        if let Some(newer) = runs.keys().filter(of_topology).find(|other| **other >= run) {
            return Err(RunError::Stale { run, newer: *newer });
        }
        let is_prepared = |phase: &Phase| matches!(phase, Phase::Prepared { .. } | Phase::Publishing);
        let unpublished = |(other, found): &(&RunId, &SideRun)| {
            let is_other = other.topology == run.topology && other.id != run.id;
            (is_other && is_prepared(&found.phase)) || (of_topology(other) && found.phase == Phase::Publishing)
        };
        if let Some((older, _)) = runs.iter().find(unpublished) {
            return Err(RunError::Unpublished { older: *older });
        }
        let old: Vec<RunId> = runs.keys().filter(of_topology).copied().collect();
        for old in old {
            self.drop_run(old)?;
        }
        // It begins when the one before is visible everywhere.
        self.finish_publish(run.topology, run.id.saturating_sub(1));
        self.side.runs.insert(run, SideRun::new(Phase::Open));
        Ok(())
    }

    /// Ends the writing of a run: the next sections get its chunks and then the mark that it is prepared. When that is
    /// durable, there is a [`RunEvent::Prepared`] with `epoch`, which the run keeps.
    ///
    /// # Errors
    /// [`RunError::Unknown`], or [`RunError::Phase`] if it was prepared before.
    pub fn prepare_run(&mut self, run: RunId, epoch: Epoch) -> Result<(), RunError> {
        if self.side.open(run)?.phase != Phase::Open {
            return Err(RunError::Phase(run));
        }
        let append_size_max = self.side.append_size_max();
        let found = self.side.runs.get_mut(&run).ok_or(RunError::Unknown(run))?;
        let is_large = self.side.spill.is_some() && found.is_large(self.side.memory_size_max);
        let is_spilling = self.side.appends.close(run, append_size_max);
        found.phase = match found.spilled.is_some() || is_large || is_spilling {
            true => Phase::Spilling { epoch, until: None },
            false => Phase::Sealing { epoch, range: None, key: None },
        };
        Ok(())
    }

    /// Publishes a prepared run with the next section. When that is durable all of it is visible, and there is a
    /// [`RunEvent::Published`].
    ///
    /// # Errors
    /// [`RunError::Unknown`]; [`RunError::Phase`] if it is not durably prepared, or is being published;
    /// [`RunError::Stale`] if it was published: [`TaskState::published`] says since when.
    pub fn publish_run(&mut self, run: RunId) -> Result<(), RunError> {
        if let Some(last) = self.side.published.get(&run.topology).filter(|last| last.run >= run) {
            return Err(RunError::Stale { run, newer: last.run });
        }
        let found = self.side.runs.get_mut(&run).ok_or(RunError::Unknown(run))?;
        if !matches!(found.phase, Phase::Prepared { .. }) {
            return Err(RunError::Phase(run));
        }
        found.phase = Phase::Publishing;
        self.side.orders.push(RunOrder::Publish(run));
        Ok(())
    }

    /// Drops a run that is not being published; of a prepared one the next section says so.
    ///
    /// # Errors
    /// [`RunError::Unknown`], or [`RunError::Phase`] if it is being published.
    pub fn drop_run(&mut self, run: RunId) -> Result<(), RunError> {
        let found = self.side.runs.get(&run).ok_or(RunError::Unknown(run))?;
        let (phase, from, serial) = (found.phase.clone(), found.from, found.serial());
        let is_logged = match phase {
            Phase::Publishing => return Err(RunError::Phase(run)),
            // The log may have chunks of it, but never their end: a replay forgets them.
            Phase::Open | Phase::Sealing { .. } | Phase::Spilling { .. } | Phase::Found => false,
            Phase::Sealed { .. } | Phase::Prepared { .. } => {
                let is_unsaid =
                    |order: &mut RunOrder| matches!(order, RunOrder::Spilled { run: other, .. } if *other == run);
                // What the log does not say yet it need not take back: a replay forgets what it has of the run, and nothing of
                // it has to be kept.
                let is_said = self.side.orders.extract_if(.., is_unsaid).count() == 0;
                if is_said {
                    self.side.orders.push(RunOrder::Drop(run));
                    self.side.dropping.insert(run, (from, serial));
                }
                is_said
            }
        };
        if let Some(found) = self.side.runs.remove(&run) {
            shed_later(&mut self.side, found.writes);
        }
        self.side.appends.drop_run(run, is_logged);
        Ok(())
    }

    /// Drops a run and earlier attempts, of which none was decided: their place in the log need not be kept.
    pub fn abandon_runs(&mut self, run: RunId) {
        let is_over = |(other, found): &(&RunId, &SideRun)| {
            other.topology == run.topology && **other <= run && found.phase != Phase::Publishing
        };
        let over: Vec<RunId> = self.side.runs.iter().filter(is_over).map(|(other, _)| *other).collect();
        for other in over {
            self.drop_run(other).expect("invariant: it is there and not being published");
        }
    }

    /// The runs that survive a restart, each with the epoch it was prepared in.
    pub fn prepared_runs(&self) -> impl Iterator<Item = (RunId, Epoch)> {
        self.side.runs.iter().filter_map(|(run, found)| match found.phase {
            Phase::Prepared { epoch } => Some((*run, epoch)),
            _ => None,
        })
    }

    /// The last publish of a topology on this task, of those that [`TaskState::know_topologies`] was asked for and of
    /// those since.
    pub fn published(&self, topology: ObjectId) -> Option<Published> {
        self.side.published.get(&topology).copied()
    }

    /// The version at which what a topology published up to microbatch `id` is what there is of it, for a reader between the
    /// first publish of the next microbatch and the last; `None` if that is no more, or was before a restart.
    pub fn version_up_to(&self, topology: ObjectId, id: u64) -> Option<Version> {
        match self.side.published.get(&topology) {
            Some(last) if last.run.id > id => {
                let is_next = last.run.id == id + 1;
                self.side.before.get(&topology).copied().filter(|_| is_next)
            }
            _ => Some(self.visible),
        }
    }

    /// From now on the version before the last publish of each topology stays readable until
    /// [`TaskState::finish_publish`], which has to be called then: what is written meanwhile keeps its older revisions.
    pub fn keep_before_publishes(&mut self) {
        self.side.keeps_before = true;
    }

    /// Says that a microbatch is finished on all tasks: nobody begins to read what was before it.
    pub fn finish_publish(&mut self, topology: ObjectId, id: u64) {
        if self.side.published.get(&topology).is_some_and(|last| last.run.id <= id)
            && let Some(before) = self.side.before.remove(&topology)
        {
            self.unpin(before);
        }
    }

    /// Puts a value of the engine itself with the next section; when that is durable, there is a [`RunEvent::Noted`].
    pub fn put_noted(&mut self, key: Vec<u8>, value: Vec<u8>, note: u64) {
        self.put_system(key, value);
        self.side.notes.push(note);
    }

    /// Takes what became durable since the last call, in order.
    pub fn take_run_events(&mut self) -> Vec<RunEvent> {
        std::mem::take(&mut self.side.events)
    }

    /// Bytes of runs that are in memory and not in the tree.
    pub fn side_size(&self) -> usize {
        self.side.writes_size()
    }
}
