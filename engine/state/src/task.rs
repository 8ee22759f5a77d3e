//! One task's durable state and the life of a write in it: stage → seal → commit.
//!
//! `seal` turns everything staged into the task's section of one replog entry under the task's next version;
//! the staged area becomes a layer of the pending overlay. `commit` runs when the entry is durable on every
//! ISR member: it applies the section's bytes to the tree and the depots, exactly as a replay does.

use crate::depot::{DepotPartition, Run};
use crate::detach::Detached;
use crate::layout::{
    DepotMeta, ELEMENT_PREFIX, depot_chunk_key, depot_meta_key, depot_start_key, depot_time_key, published_key,
};
use crate::producer::Producers;
use crate::section::{EntryWriter, Op, Reference, Section, SectionError};
use crate::segment::{CHUNK_BUF_COUNT_MAX, CHUNK_SIZE_MAX, DepotSegments, SegmentError, SegmentEvent, SegmentOptions};
use crate::side::spill::SPILL_TABLE_FIRST;
use crate::side::{Origin, Published, SIDE_RUN_MEMORY_MAX, SIDE_SLICE_COUNT, SPILL_OWNER, Side, SideRun};
use crate::staged::Staged;
use crate::tree_key::TreeKey;
use crate::trim::Trim;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use tantu_base::buf::BufPool;
use tantu_base::door::{Disk, DiskDone, Entropy};
use tantu_base::id::{ObjectId, Offset, RunId, TaskId, Version};
use tantu_base::limit::BLOCK_ALIGN;
use tantu_lsm::{BlockCache, Budget, Completed, Corruption, Need, Neighbours, Stop, Tree, TreeOptions, Write};
use tantu_replog::Lsn;

/// What a task's state may use.
#[derive(Clone, Debug)]
pub struct TaskStateOptions {
    /// Its tree.
    pub tree: TreeOptions,
    /// Its depot segments.
    pub segments: SegmentOptions,
    /// Where chunks of records are put together; tasks of one core share it.
    pub chunk_bufs: BufPool,
    /// A side run that holds more bytes on the task goes to the disk.
    pub side_memory_size_max: usize,
    /// Writes of a side run that go into the tree, or to the disk, in one slice.
    pub side_slice_count: usize,
    /// How many bytes of depot segments are read and checked when the task is opened, newest first.
    pub open_verify_size_max: u64,
}

impl Default for TaskStateOptions {
    fn default() -> Self {
        let (tree, segments) = (TreeOptions::default(), SegmentOptions::default());
        let chunk_bufs = BufPool::new(CHUNK_BUF_COUNT_MAX, CHUNK_SIZE_MAX + 2 * BLOCK_ALIGN);
        Self {
            tree,
            segments,
            chunk_bufs,
            side_memory_size_max: SIDE_RUN_MEMORY_MAX,
            side_slice_count: SIDE_SLICE_COUNT,
            open_verify_size_max: 64 << 20,
        }
    }
}

/// Why a task's state cannot be opened, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The tree could not be opened.
    #[error(transparent)]
    TreeOpen(#[from] tantu_lsm::OpenError),
    /// The tree could not write or read.
    #[error(transparent)]
    Tree(#[from] tantu_lsm::Fault),
    /// A tree's file is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A depot segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// An entry of the log is not one that was sealed.
    #[error("{task}: {error}")]
    Section {
        /// Whose section.
        task: TaskId,
        /// What is wrong with it.
        error: SectionError,
    },
    /// The log refers to records that are not what is in their chunk.
    #[error("{task}: the log refers to records of {depot} from {first} on, and their chunk holds others")]
    Reference {
        /// Whose.
        task: TaskId,
        /// Of which depot.
        depot: ObjectId,
        /// The first record.
        first: Offset,
    },
    /// The log does not go on where the tree or the depots end.
    #[error("{task}: the {what} ends at {have}, but the log goes on at {found}: something in between is missing")]
    Gap {
        /// Whose.
        task: TaskId,
        /// What has the gap.
        what: &'static str,
        /// The last that is there.
        have: u64,
        /// The next that was found.
        found: u64,
    },
    /// The log has something of a side run that does not fit the rest.
    #[error("{task}: {run}: {what}")]
    Run {
        /// Whose.
        task: TaskId,
        /// The run.
        run: RunId,
        /// What is wrong.
        what: &'static str,
    },
    /// The tree holds something no version of this engine wrote.
    #[error("{task}: {object} has an unreadable {what} entry")]
    Unreadable {
        /// Whose.
        task: TaskId,
        /// Of which object.
        object: ObjectId,
        /// Which entry.
        what: &'static str,
    },
}

#[derive(Debug)]
enum SystemWrite {
    Put { key: Vec<u8>, value: Vec<u8> },
    DeleteRange { from: Vec<u8>, to: Vec<u8> },
}

/// See the module.
#[derive(Debug)]
pub struct TaskState {
    /// The task.
    pub task: TaskId,
    pub(crate) tree: Tree,
    pub(crate) segments: DepotSegments,
    pub(crate) chunk_size_max: usize,
    pub(crate) large_run_size: usize,
    pub(crate) detached: Option<Detached>,
    /// References found while the log was replayed.
    pub(crate) unchecked: Vec<Reference>,
    pub(crate) tree_owner: u32,
    segments_owner: u32,
    pub(crate) staged: Staged,
    pub(crate) layers: VecDeque<(Version, Staged)>,
    pub(crate) scratch: TreeKey,
    spare: Vec<Staged>,
    /// Writes of the engine itself: topology progress, chunk index. Not part of any streaming batch.
    system: Vec<SystemWrite>,
    pub(crate) trims: Vec<Trim>,
    pub(crate) side: Side,
    pub(crate) producers: Producers,
    pub(crate) sealed: Version,
    pub(crate) visible: Version,
    pins: BTreeMap<Version, u32>,
    /// What partitions to which nothing was written hold, in value form.
    initial: BTreeMap<ObjectId, Vec<u8>>,
    pub(crate) depots: Vec<DepotPartition>,
    /// Commits the tree has not flushed, and where they are in the log.
    unflushed: VecDeque<(Version, Lsn)>,
    /// Records no chunk holds yet, per depot, and where they are in the log.
    pub(crate) uncopied: Vec<VecDeque<(Offset, Lsn)>>,
    /// How far each depot was copied as of which version; the first says what the tree has flushed. A replay that
    /// starts after a record must find in the tree that the record is in a chunk.
    pub(crate) copied: Vec<VecDeque<(Version, Offset)>>,
}

/// The tokens' owners of one task's components.
#[derive(Clone, Copy, Debug)]
pub struct Owners {
    /// Of its tree.
    pub tree: u32,
    /// Of its depot segments.
    pub segments: u32,
}

impl TaskState {
    #[allow(clippy::too_many_arguments, reason = "every one is needed once, at start")]
    /// Opens what is on disk. Blocking; the log has still to be replayed with [`TaskState::replay`].
    ///
    /// # Errors
    /// [`StateError`], naming the file.
    pub fn open(
        disk: &mut dyn Disk,
        entropy: &mut dyn Entropy,
        cache: &mut BlockCache,
        dir: &Path,
        owners: Owners,
        task: TaskId,
        depots: &[ObjectId],
        options: &TaskStateOptions,
    ) -> Result<Self, StateError> {
        let tree_options = TreeOptions { prefix: Some(ELEMENT_PREFIX), ..options.tree.clone() };
        let mut tree = Tree::open(disk, &dir.join("tree"), owners.tree, entropy, tree_options)?;
        let bufs = options.chunk_bufs.clone();
        let segments = DepotSegments::open(disk, &dir.join("depot"), owners.segments, task, options.segments, bufs)?;
        let flushed = tree.flushed();
        let mut partitions = Vec::with_capacity(depots.len());
        for depot in depots {
            let unreadable = |what| StateError::Unreadable { task, object: *depot, what };
            let meta = match read_now(&mut tree, cache, disk, &depot_meta_key(*depot), flushed)? {
                Some(bytes) => DepotMeta::decode(&bytes).map_err(|_| unreadable("meta"))?,
                None => DepotMeta::default(),
            };
            let start = match read_now(&mut tree, cache, disk, &depot_start_key(*depot), flushed)? {
                Some(bytes) => decode_start(&bytes).ok_or_else(|| unreadable("start"))?,
                None => Offset(0),
            };
            partitions.push(DepotPartition::new(*depot, meta, start));
        }
        let mut state = Self {
            task,
            tree,
            segments,
            chunk_size_max: options.segments.chunk_size_max,
            large_run_size: options.segments.large_run_size,
            detached: None,
            unchecked: Vec::new(),
            tree_owner: owners.tree,
            segments_owner: owners.segments,
            staged: Staged::default(),
            layers: VecDeque::new(),
            scratch: TreeKey::default(),
            spare: Vec::new(),
            system: Vec::new(),
            trims: Vec::new(),
            side: Side {
                memory_size_max: options.side_memory_size_max,
                slice_count: options.side_slice_count,
                ..Side::default()
            },
            producers: Producers::default(),
            sealed: flushed,
            visible: flushed,
            pins: BTreeMap::new(),
            initial: BTreeMap::new(),
            uncopied: vec![VecDeque::new(); partitions.len()],
            copied: partitions.iter().map(|depot| VecDeque::from([(flushed, depot.copied_end)])).collect(),
            depots: partitions,
            unflushed: VecDeque::new(),
        };
        state.know_producers(disk, cache)?;
        Ok(state)
    }

    /// Makes what new tasks in these directories begin with, side by side, so that opening them is quick. Blocking.
    ///
    /// # Errors
    /// [`StateError`] naming the file.
    pub fn make_all(
        disk: &mut dyn Disk,
        dirs: impl Iterator<Item = PathBuf>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StateError> {
        let trees: Vec<PathBuf> = dirs.map(|dir| dir.join("tree")).collect();
        Ok(Tree::make_all(disk, &trees, entropy)?)
    }

    /// Applies a section of the log again, unless the tree and the depots have it.
    ///
    /// # Errors
    /// [`StateError`] if the section does not follow what is there.
    pub fn replay(&mut self, section: &Section<'_>, lsn: Lsn) -> Result<(), StateError> {
        if section.version <= self.visible {
            // What it publishes may be in the tree in part, or not at all.
            let published = self.take_appends(section, lsn, Origin::Log { is_flushed: true })?;
            self.note_published(published.iter().map(|(now, _)| now));
            published.into_iter().for_each(|(now, run)| self.side.attach(now, run));
            return Ok(());
        }
        if section.version.0 != self.visible.0 + 1 {
            return Err(StateError::Gap {
                task: self.task,
                what: "tree",
                have: self.visible.0,
                found: section.version.0,
            });
        }
        self.sealed = section.version;
        self.apply(section, lsn, Origin::Log { is_flushed: false })
    }

    /// A value of the engine itself, by its tree key. Blocking: only while the task is opened.
    ///
    /// # Errors
    /// [`StateError`] of the tree.
    pub fn system_now(
        &mut self,
        disk: &mut dyn Disk,
        cache: &mut BlockCache,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StateError> {
        read_now(&mut self.tree, cache, disk, key, self.visible)
    }

    /// The depots, in the order given to [`TaskState::open`].
    pub fn depots(&self) -> &[DepotPartition] {
        &self.depots
    }

    /// One depot.
    pub fn depot_mut(&mut self, index: usize) -> &mut DepotPartition {
        &mut self.depots[index]
    }

    /// The newest committed version.
    pub fn visible(&self) -> Version {
        self.visible
    }

    /// The newest sealed version.
    pub(crate) fn sealed_version(&self) -> Version {
        self.sealed
    }

    /// Keeps `version` readable until [`TaskState::unpin`].
    pub fn pin(&mut self, version: Version) {
        *self.pins.entry(version).or_default() += 1;
    }

    /// Ends one [`TaskState::pin`].
    ///
    /// # Panics
    /// If the version was not pinned.
    pub fn unpin(&mut self, version: Version) {
        let count = self.pins.get_mut(&version).expect("invariant: pins and unpins are paired");
        *count -= 1;
        if *count == 0 {
            self.pins.remove(&version);
        }
    }

    /// A partition of one value to which nothing was written holds this, in value form (PST-16).
    pub fn set_initial(&mut self, object: ObjectId, value: Vec<u8>) {
        self.initial.insert(object, value);
    }

    /// Puts the initial value of a partition into `out` if the key is that of its one value.
    pub(crate) fn start(&self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> bool {
        let initial = self.initial.get(&object).filter(|_| key.is_empty());
        initial.into_iter().for_each(|value| out.extend_from_slice(value));
        initial.is_some()
    }

    /// Starts a streaming batch.
    pub fn begin_batch(&mut self) {
        self.staged.begin_batch();
    }

    /// Drops the writes of the streaming batch.
    pub fn rollback_batch(&mut self) {
        self.staged.rollback();
    }

    /// Puts a value of the engine itself; it is sealed with the next section.
    pub fn put_system(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.system.push(SystemWrite::Put { key, value });
    }

    /// Bytes of the engine's own entries that the next section gets.
    pub fn system_size(&self) -> usize {
        let size = |write: &SystemWrite| match write {
            SystemWrite::Put { key: one, value: other } | SystemWrite::DeleteRange { from: one, to: other } => {
                one.len() + other.len()
            }
        };
        self.system.iter().map(size).sum()
    }

    /// Deletes a range of the engine's own entries, with the next section.
    pub(crate) fn delete_system(&mut self, from: Vec<u8>, to: Vec<u8>) {
        self.system.push(SystemWrite::DeleteRange { from, to });
    }

    /// Whether there is something to seal now.
    pub fn is_dirty(&self) -> bool {
        !self.system.is_empty()
            || !self.staged.is_empty()
            || self.side.is_dirty()
            || self.producers.is_dirty()
            || self.has_reference()
            || (0..self.depots.len()).any(|index| self.is_sealable(index))
    }

    /// Whether anything is not sealed, large runs on their way to a segment among it.
    pub fn has_unsealed(&self) -> bool {
        self.is_dirty() || self.detached.is_some() || self.depots.iter().any(|depot| depot.staged.count() > 0)
    }

    /// Bytes staged and not sealed.
    pub fn staged_size(&self) -> usize {
        let depots = self.depots.iter().map(DepotPartition::staged_size).sum::<usize>();
        self.staged.size() + depots + self.side.sealing_size() + self.producers.staged_size()
    }

    /// Whether sealed writes wait for their commit.
    pub fn has_pending(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Bytes in memory: memtables, records, staged and pending writes.
    pub fn memory_size(&self) -> usize {
        let layers: usize = self.layers.iter().map(|(_, layer)| layer.size()).sum();
        self.tree.memory_size()
            + layers
            + self.staged.size()
            + self.depots.iter().map(DepotPartition::memory_size).sum::<usize>()
            + self.detached_size()
            + self.side.size()
    }

    /// Writes everything staged as the task's section of an entry. `wall_ms` is the append time of its records.
    pub fn seal(&mut self, wall_ms: u64, entry: &mut EntryWriter) -> Version {
        self.sealed.0 += 1;
        let start = entry.begin_section(self.task, self.sealed);
        for write in self.system.drain(..) {
            match write {
                SystemWrite::Put { key, value } => entry.put(&key, &value),
                SystemWrite::DeleteRange { from, to } => entry.delete_range(&from, &to),
            }
        }
        // In one version a deleted range comes before what is put, wherever it stands.
        for (from, to) in self.staged.ranges() {
            entry.delete_range(from, to);
        }
        for (key, known) in self.staged.iter() {
            match known {
                crate::staged::Known::Value(value) => entry.put(key, value),
                crate::staged::Known::Deleted => entry.delete(key),
                crate::staged::Known::Nothing => {}
            }
        }
        self.seal_detached(entry);
        for index in 0..self.depots.len() {
            if self.is_sealable(index) {
                let depot = &mut self.depots[index];
                let object = depot.object;
                let run = depot.seal(wall_ms);
                entry.append(object, run);
                let run = run.take_fit();
                depot.sealed_end = depot.staged.first;
                depot.sealed.push_back(run);
            }
        }
        // What a replay took over was sealed by another process.
        let end = |depot: &DepotPartition| depot.sealed_end.max(depot.durable_end());
        let ends: Vec<_> = self.depots.iter().map(|depot| (depot.object, end(depot))).collect();
        self.producers.seal((self.sealed, wall_ms), &ends, entry);
        self.seal_side(start, wall_ms, entry);
        entry.end_section(start);
        let layer = std::mem::replace(&mut self.staged, self.spare.pop().unwrap_or_default());
        self.layers.push_back((self.sealed, layer));
        self.sealed
    }

    /// Applies a durable section: its writes become visible.
    ///
    /// # Errors
    /// [`StateError`] if the section cannot be read: a bug or damaged memory.
    ///
    /// # Panics
    /// If sections commit out of order.
    pub fn commit(&mut self, section: &Section<'_>, lsn: Lsn) -> Result<(), StateError> {
        let (version, mut layer) = self.layers.pop_front().expect("invariant: a commit was sealed before");
        assert_eq!(version, section.version, "{}: sections commit in order", self.task);
        self.apply(section, lsn, Origin::Own)?;
        self.tell_notes(version);
        layer.clear();
        self.spare.push(layer);
        Ok(())
    }

    fn apply(&mut self, section: &Section<'_>, lsn: Lsn, origin: Origin) -> Result<(), StateError> {
        let published = self.take_appends(section, lsn, origin)?;
        let is_at_once =
            |(now, run): &(Published, SideRun)| self.side.is_small(run) && !self.side.is_attached(now.run.topology);
        let (at_once, mut late): (Vec<_>, Vec<_>) = published.into_iter().partition(is_at_once);
        let topologies: Vec<_> = self.side.attached.iter().map(|attached| attached.now.run.topology).collect();
        // A replay puts the runs that are attached into the tree itself, and says so then.
        let is_early =
            |key: &[u8]| origin != Origin::Own && topologies.iter().any(|topology| *key == published_key(*topology));
        let writes = section.iter().filter_map(|op| match op {
            Ok(Op::Put { key, .. }) if key.len() == 5 && is_early(key) => None,
            Ok(Op::Put { key, value }) => Some(Write::Put { key, value }),
            Ok(Op::Delete { key }) => Some(Write::Delete { key }),
            Ok(Op::DeleteRange { from, to }) => Some(Write::DeleteRange { from, to }),
            _ => None,
        });
        let records: Vec<_> = at_once.iter().map(|(now, _)| now.record()).collect();
        let records = records.iter().map(|(key, value)| Write::Put { key, value });
        let runs = at_once.iter().flat_map(|(_, run)| run.tree_writes());
        // Nobody begins to read the version before any more. Where it is not pinned, nor about to be as the one before a publish,
        // what is overwritten now is gone at once, and takes no second place.
        if at_once.is_empty() && late.is_empty() {
            self.tree.retain_from(floor_of(&self.pins, section.version));
        }
        self.tree.apply(section.version, writes.chain(records).chain(runs));
        self.visible = section.version;
        self.note_published(at_once.iter().chain(&late).map(|(now, _)| now));
        let unflushed = at_once.iter().map(|(now, run)| (now.version, run.from.unwrap_or(lsn), None));
        self.side.unflushed.extend(unflushed);
        for (now, mut run) in late.drain(..) {
            run.from = run.from.or(Some(lsn));
            self.side.attach(now, run);
        }
        self.unflushed.push_back((section.version, lsn));
        self.tree.retain_from(floor_of(&self.pins, self.visible));
        Ok(())
    }

    /// What a section does beside the tree: to depots and to side runs. Gives back the runs that it publishes and that the
    /// tree has not; it also refuses a section with an op that cannot be read.
    fn take_appends(
        &mut self,
        section: &Section<'_>,
        lsn: Lsn,
        origin: Origin,
    ) -> Result<Vec<(Published, SideRun)>, StateError> {
        let task = self.task;
        let mut published = Vec::new();
        // No other puts say anything beside the tree.
        for op in section.iter_but_puts(|key| key.len() != 5) {
            match op.map_err(|error| StateError::Section { task, error })? {
                Op::Append { depot, run } => {
                    let index = self.depots.iter().position(|d| d.object == depot);
                    let run = match index.and_then(|index| self.depots[index].sealed.pop_front()) {
                        Some(run) => run,
                        None => Run::decode(run)
                            .map_err(|_| StateError::Section { task, error: SectionError::Truncated })?,
                    };
                    let Some(index) = index else { continue };
                    let partition = &mut self.depots[index];
                    if run.end() <= partition.durable_end() {
                        continue;
                    }
                    if run.first != partition.durable_end() {
                        let (have, found) = (partition.durable_end().0, run.first.0);
                        return Err(StateError::Gap { task, what: "depot", have, found });
                    }
                    let end = run.end();
                    partition.commit(run);
                    self.note_uncopied(index, end, lsn);
                }
                Op::AppendAt(reference) => self.take_reference(reference)?,
                Op::Put { key, value } if key.len() == 5 => {
                    self.adopt(key, value, section.version);
                    if origin == Origin::Own && !self.side.attached.is_empty() {
                        self.take_record(key, value, (section.version, lsn));
                    }
                }
                Op::Delete { key } if origin != Origin::Own => self.forget_producer(key),
                Op::Put { .. } | Op::Delete { .. } | Op::DeleteRange { .. } => {}
                op @ Op::Produced { .. } => self.take_produced(&op, (section.version, lsn), origin),
                op => self.take_run_op(&op, (section.version, lsn), origin, &mut published)?,
            }
        }
        Ok(published)
    }

    /// Records up to `end` are in no chunk, and in the log from here on. What a side run appends is there for longer than what was
    /// committed before it.
    pub(crate) fn note_uncopied(&mut self, index: usize, end: Offset, from: Lsn) {
        let queue = &mut self.uncopied[index];
        queue.iter_mut().rev().take_while(|(_, lsn)| *lsn > from).for_each(|(_, lsn)| *lsn = from);
        queue.push_back((end, from));
    }

    /// An entry of the engine itself may say that a published run is in the tree.
    fn take_record(&mut self, key: &[u8], value: &[u8], (version, lsn): (Version, Lsn)) {
        let object = key.first_chunk().map(|object| ObjectId(u32::from_be_bytes(*object)));
        if let Some(topology) = object.filter(|topology| *key == published_key(*topology)) {
            self.side.take_record(topology, value, version, lsn);
        }
    }

    /// Takes over what an entry of the engine itself says about a depot.
    fn adopt(&mut self, key: &[u8], value: &[u8], version: Version) {
        let Some(index) = self.depots.iter().position(|depot| key[..4] == depot.object.0.to_be_bytes()) else { return };
        let (depot, copied) = (&mut self.depots[index], &mut self.copied[index]);
        if key == depot_start_key(depot.object) {
            if let Some(start) = decode_start(value) {
                self.adopt_start(index, start);
            }
        } else if key == depot_meta_key(depot.object)
            && let Ok(meta) = DepotMeta::decode(value)
        {
            depot.adopt_copied(meta);
            if copied.back().is_none_or(|(known, _)| *known < version) {
                copied.push_back((version, meta.copied_end));
            }
        }
    }

    /// The oldest log position this task still needs; `end` if none.
    pub fn low_water(&mut self, end: Lsn) -> Lsn {
        let flushed = self.tree.flushed();
        while self.unflushed.front().is_some_and(|(version, _)| *version <= flushed) {
            self.unflushed.pop_front();
        }
        let mut low = self.unflushed.front().map_or(end, |(_, lsn)| *lsn);
        low = low.min(self.side.low_water(flushed).unwrap_or(end));
        low = low.min(self.producers.low_water(flushed).unwrap_or(end));
        for (queue, copied) in self.uncopied.iter_mut().zip(&mut self.copied) {
            while copied.get(1).is_some_and(|(version, _)| *version <= flushed) {
                copied.pop_front();
            }
            let copied_end = copied.front().map_or(Offset(0), |(_, end)| *end);
            while queue.front().is_some_and(|(record_end, _)| *record_end <= copied_end) {
                queue.pop_front();
            }
            low = low.min(queue.front().map_or(end, |(_, lsn)| *lsn));
        }
        low
    }

    /// Whether requests of it are outstanding on the disk.
    pub fn is_busy(&self) -> bool {
        self.segments.is_busy() || self.tree.is_busy() || self.side.spill.as_ref().is_some_and(|tree| tree.is_busy())
    }

    /// Bytes of memtables, and of the one that takes writes.
    pub fn memtable_sizes(&self) -> (usize, usize) {
        (self.tree.memory_size(), self.tree.open_size())
    }

    /// How many memtables a reader looks into.
    pub fn memtable_count(&self) -> usize {
        self.tree.memtable_count()
    }

    /// Starts to flush the memtable, unless another is being flushed: a reader looks into every one that is not.
    pub fn flush_memtable(&mut self) {
        if !self.tree.is_flushing() {
            self.tree.seal();
        }
    }

    /// Whether everything committed is in tables and chunks, so that the log is not needed.
    pub fn is_checkpointed(&self) -> bool {
        self.tree.flushed() == self.visible
            && self.depots.iter().all(|d| d.copied_end == d.durable_end())
            && self.producers.is_saved()
            && !self.has_unsealed()
            && self.side.attached.is_empty()
    }

    /// Asks for the blocks a read stopped for; false if all of them are there already.
    pub fn fetch(&mut self, need: &Need, disk: &mut dyn Disk) -> bool {
        match &mut self.side.spill {
            Some(spill) if need.blocks().iter().any(|block| block.table >= SPILL_TABLE_FIRST) => {
                spill.fetch(need, disk)
            }
            _ => self.tree.fetch(need, disk),
        }
    }

    /// One slice of flushing or compacting; true if there is more to do now.
    ///
    /// # Errors
    /// [`StateError`] of the tree.
    pub fn background(&mut self, disk: &mut dyn Disk) -> Result<bool, StateError> {
        Ok(self.tree.step(disk, Budget::default())?)
    }

    /// Takes a completion of its tree or its segments; says which blocks of the tree arrived, if some did.
    ///
    /// # Errors
    /// [`StateError`]: the task cannot go on.
    pub fn complete(
        &mut self,
        done: DiskDone,
        cache: &mut BlockCache,
        disk: &mut dyn Disk,
    ) -> Result<Option<Neighbours>, StateError> {
        if done.token.owner == self.tree_owner {
            return Ok(match self.tree.complete(done, cache, disk)? {
                Completed::BlocksArrived(blocks) => Some(blocks),
                Completed::Progress => None,
            });
        }
        if let Some(spill) = self.side.spill.as_mut().filter(|_| done.token.owner & SPILL_OWNER > 0) {
            return Ok(match spill.complete(done, cache, disk)? {
                Completed::BlocksArrived(blocks) => Some(blocks),
                Completed::Progress => None,
            });
        }
        debug_assert_eq!(done.token.owner, self.segments_owner);
        match self.segments.complete(done, disk)? {
            SegmentEvent::Nothing => {}
            SegmentEvent::Copied { depot, end, at } if self.take_detached(depot, end, at) => {}
            SegmentEvent::Copied { depot, end, at } => {
                self.put_system(depot_chunk_key(depot, end), at.encode().to_vec());
                self.put_system(depot_time_key(depot, at.last_ms, end), at.encode().to_vec());
                let meta = DepotMeta { copied_end: end, last_ms: at.last_ms };
                self.put_system(depot_meta_key(depot), meta.encode().to_vec());
            }
            SegmentEvent::Loaded { depot, runs } => self.take_loaded(depot, runs),
        }
        Ok(None)
    }

    /// Closes its files, after what is on its way. Blocking. What is not in tables or chunks stays in the log.
    ///
    /// # Errors
    /// [`StateError`] of the tree.
    pub fn close(mut self, cache: &mut BlockCache, disk: &mut dyn Disk) -> Result<(), StateError> {
        let mut done = Vec::new();
        while self.is_busy() {
            disk.wait();
            disk.reap(&mut done);
            for done in done.drain(..) {
                self.complete(done, cache, disk)?;
            }
        }
        self.segments.close(disk);
        if let Some(spill) = self.side.spill {
            spill.close(cache, disk)?;
        }
        self.tree.close(cache, disk)?;
        Ok(())
    }
}

/// The oldest version somebody may read: the newest, or an older one that is pinned.
fn floor_of(pins: &BTreeMap<Version, u32>, newest: Version) -> Version {
    pins.keys().next().map_or(newest, |pinned| newest.min(*pinned))
}

pub(crate) fn decode_start(bytes: &[u8]) -> Option<Offset> {
    Some(Offset(u64::from_le_bytes(bytes.try_into().ok()?)))
}

fn read_now(
    tree: &mut Tree,
    cache: &mut BlockCache,
    disk: &mut dyn Disk,
    key: &[u8],
    at: Version,
) -> Result<Option<Vec<u8>>, StateError> {
    let mut out = Vec::new();
    loop {
        match tree.get(cache, key, at, &mut out) {
            Ok(found) => return Ok(found.then_some(out)),
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            Err(Stop::Need(need)) => fetch_now(tree, &need, cache, disk)?,
        }
    }
}

pub(crate) fn fetch_now(
    tree: &mut Tree,
    need: &Need,
    cache: &mut BlockCache,
    disk: &mut dyn Disk,
) -> Result<(), StateError> {
    if !tree.fetch(need, disk) {
        return Ok(());
    }
    disk.wait();
    let mut done = Vec::new();
    disk.reap(&mut done);
    for done in done {
        tree.complete(done, cache, disk)?;
    }
    Ok(())
}
