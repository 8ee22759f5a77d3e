//! Side runs that are larger than their share of memory: what is too much goes to a tree beside the task's own.
//!
//! That tree, under `spill`, has the writes of all such runs of the task; keys begin with the serial number of their run. What is
//! moved there is newer than what the run moved before, so that a run reads its memory, then its part of that tree, then
//! the task's tree. To be prepared, all of it is moved and flushed; then the log says where it lies instead of holding it. When no
//! run has anything there, and the log knows, all files go.
//!
//! | key | value |
//! |---|---|
//! | serial `u64` big-endian, `0`, first key of a deleted range | first key after it |
//! | serial, `1`, tree key | the value and `1`, or `0` for a deleted key |
//! | serial, `2`, depot, end of the piece | a piece of what the run appends |

use super::attached::SIDE_SLICE_SIZE;
use super::layer::{Entry, Way};
use super::writes::{RangeSet, SideWrites, Slice};
use super::{Phase, RunOrder, SIDE_RUN_SIZE_FULL, Side, SideRun, owed};
use crate::task::{StateError, TaskState, fetch_now};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::id::{Epoch, RunId, Version};
use tantu_lsm::{BlockCache, Budget, Compression, RUN_COUNT_MAX, Stop, Tree, TreeOptions, Write};
use tantu_replog::Lsn;

/// Added to the owner of a task's tree: the owner of its tree of side runs.
pub const SPILL_OWNER: u32 = 1 << 31;
/// The number of that tree's first table: blocks that a read needs are told apart by it.
pub(crate) const SPILL_TABLE_FIRST: u64 = 1 << 62;
/// Its memtables are no larger than this, in bytes.
const SPILL_MEMTABLE_SIZE_MAX: usize = 4 << 20;
/// While it has more memtables than these, no run gets more of them: their flushes have to catch up.
const SPILL_MEMTABLE_COUNT_MAX: usize = 3;
/// Writes of a dropped run that are given back in one slice.
const SHED_COUNT: usize = 1_024;

const RANGE: u8 = 0;
const ENTRY: u8 = 1;
const DELETED: u8 = 0;
const VALUE: u8 = 1;

/// What a run has in the tree of side runs.
#[derive(Debug, Default)]
pub(crate) struct Spilled {
    pub(crate) serial: u64,
    /// Deleted ranges: they hide what the task's tree has.
    pub(crate) ranges: RangeSet,
}

impl Spilled {
    fn key(&self, kind: u8, key: &[u8]) -> Vec<u8> {
        [&self.serial.to_be_bytes(), &[kind][..], key].concat()
    }

    fn entry(key: &[u8], value: &[u8]) -> Entry {
        let (value, kind) = value.split_at(value.len() - 1);
        (key[9..].to_vec(), (kind == [VALUE]).then(|| value.to_vec()))
    }

    /// Whether it has a value for a key, which then is in `out`, or deletes it; none if it knows nothing of it.
    pub(crate) fn get(
        &self,
        tree: &Tree,
        cache: &BlockCache,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<bool>, Stop> {
        if tree.get(cache, &self.key(ENTRY, key), tree.applied(), out)? {
            return Ok(Some(out.pop() == Some(VALUE)));
        }
        Ok(self.ranges.holds(key).then_some(false))
    }

    /// The first entries of a range, at most so many.
    pub(crate) fn page(
        &self,
        tree: &Tree,
        cache: &BlockCache,
        (from, to): (&[u8], &[u8]),
        count: usize,
        way: Way,
    ) -> Result<Vec<Entry>, Stop> {
        let (from, to, at) = (self.key(ENTRY, from), self.key(ENTRY, to), tree.applied());
        let mut entries = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            entries.push(Self::entry(key, value));
            if entries.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match way {
            Way::Up => tree.scan(cache, &from, &to, at, &mut visit)?,
            Way::Down => tree.scan_back(cache, &from, &to, at, &mut visit)?,
        }
        Ok(entries)
    }

    /// The writes of a slice behind a key; the first slice has the deleted ranges, too.
    pub(crate) fn slice(
        &self,
        tree: &Tree,
        cache: &BlockCache,
        behind: Option<&[u8]>,
        count: usize,
    ) -> Result<Slice, Stop> {
        let from = self.key(ENTRY, &behind.map_or(Vec::new(), |key| [key, &[0]].concat()));
        let to = self.key(ENTRY + 1, &[]);
        let mut slice = Slice::default();
        if behind.is_none() {
            slice.ranges = self.ranges.iter().map(|(from, to)| (from.to_vec(), to.to_vec())).collect();
        }
        let mut size = 0;
        tree.scan(cache, &from, &to, tree.applied(), &mut |key, value| {
            size += key.len() + value.len();
            let (value, kind) = value.split_at(value.len() - 1);
            slice.push(&key[9..], (kind == [VALUE]).then_some(value));
            let is_full = slice.len() >= count || size >= SIDE_SLICE_SIZE;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(slice)
    }

    /// Moves writes that are newer than what it has.
    fn take(&mut self, slice: &Slice, tree: &mut Tree) {
        let version = Version(tree.applied().0 + 1);
        let key = |kind, key: &[u8]| self.key(kind, key);
        let hidden: Vec<_> = slice.ranges.iter().map(|(from, to)| (key(ENTRY, from), key(ENTRY, to))).collect();
        let ranges: Vec<_> = slice.ranges.iter().map(|(from, to)| (key(RANGE, from), &to[..])).collect();
        let value = |value: Option<&[u8]>| match value {
            Some(value) => [value, &[VALUE]].concat(),
            None => vec![DELETED],
        };
        let entries: Vec<_> = slice.entries().map(|(k, v)| (key(ENTRY, k), value(v))).collect();
        let hidden = hidden.iter().map(|(from, to)| Write::DeleteRange { from, to });
        let ranges = ranges.iter().map(|(key, value)| Write::Put { key, value });
        let entries = entries.iter().map(|(key, value)| Write::Put { key, value });
        tree.apply(version, hidden.chain(ranges).chain(entries));
        tree.retain_from(version);
        for (from, to) in &slice.ranges {
            self.ranges.add(from, to);
        }
    }

    /// Learns its deleted ranges again. Blocking.
    fn read_ranges(&mut self, tree: &mut Tree, cache: &mut BlockCache, disk: &mut dyn Disk) -> Result<(), StateError> {
        let (from, to) = (self.key(RANGE, &[]), self.key(ENTRY, &[]));
        loop {
            let ranges = &mut self.ranges;
            let scanned = tree.scan(cache, &from, &to, tree.applied(), &mut |key, value| {
                ranges.add(&key[9..], value);
                ControlFlow::Continue(())
            });
            match scanned {
                Ok(()) => return Ok(()),
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
                Err(Stop::Need(need)) => fetch_now(tree, &need, cache, disk)?,
            }
        }
    }
}

impl SideRun {
    /// Whether it holds more in memory than it should.
    pub(crate) fn is_large(&self, size_max: usize) -> bool {
        self.is_spilling || self.writes.size() > size_max || self.writes.count() > self.count_max
    }

    /// The number under which it has something in the tree of side runs.
    pub(crate) fn serial(&self) -> Option<u64> {
        self.spilled.as_ref().map(|spilled| spilled.serial)
    }
}

impl Side {
    /// Whether a run has more than its share of memory, and has to wait until some of it is on the disk.
    pub(crate) fn is_full(&self, run: RunId) -> bool {
        let size = self.runs.get(&run).map_or(0, |run| run.writes.size());
        let is_full = size > SIDE_RUN_SIZE_FULL.min(2 * self.memory_size_max);
        self.spill.is_some() && (is_full || self.appends.size_of(&run, self.append_size_max()).1)
    }

    /// What a run appends goes to the disk if it is more bytes.
    pub(crate) fn append_size_max(&self) -> usize {
        if self.spill.is_some() { self.memory_size_max / 2 } else { usize::MAX }
    }

    /// Has the largest run that takes writes go to the disk, whatever its share: what it writes, or what it appends.
    pub(crate) fn spill_largest(&mut self) {
        let Self { runs, appends, .. } = self;
        let open = runs.iter_mut().filter(|(_, found)| found.phase == Phase::Open);
        let sizes =
            open.map(|(run, found)| ((found.writes.size(), appends.size_of(run, usize::MAX / 2).0), run, found));
        match sizes.max_by_key(|((writes, appends), ..)| *writes.max(appends)) {
            Some(((0, 0), ..)) | None => {}
            Some(((writes, appended), run, _)) if appended > writes => appends.spill(run),
            Some((.., found)) => found.is_spilling = true,
        }
    }

    /// Moves some writes of a run that has too many to the disk; true if there is more to move now.
    pub(crate) fn spill_slice(&mut self) -> bool {
        let (most, count, append_size_max) = (self.memory_size_max, self.slice_count, self.append_size_max());
        let Self { runs, appends, spill: Some(tree), .. } = self else { return false };
        let wants = |(id, run): &(&RunId, &mut SideRun)| match run.phase {
            Phase::Open => run.is_large(most) || appends.is_large(id, append_size_max),
            Phase::Spilling { until, .. } => until.is_none(),
            _ => false,
        };
        let Some((id, run)) = runs.iter_mut().find(wants) else { return false };
        if tree.memtable_count() > SPILL_MEMTABLE_COUNT_MAX {
            return false;
        }
        let takes_writes = run.phase != Phase::Open || run.is_large(most);
        let serial = tree.applied().0 + 1;
        let serials = &mut self.serials;
        let spilled = run.spilled.get_or_insert_with(|| {
            serials.push(serial);
            Spilled { serial, ..Spilled::default() }
        });
        let serial = spilled.serial;
        let appends_more = appends.is_large(id, append_size_max);
        if appends_more && let Some((depot, piece)) = appends.take_piece(id, serial) {
            owed::put_piece(tree, serial, depot, &piece);
        }
        if takes_writes {
            if run.writes.count() > 0 {
                spilled.take(&run.writes.take_slice(count, SIDE_SLICE_SIZE), tree);
            }
            run.is_spilling = run.writes.count() > 0;
        }
        if let Phase::Spilling { until, .. } = &mut run.phase
            && !run.is_spilling
            && !appends.is_large(id, append_size_max)
        {
            *until = Some(tree.applied());
            tree.seal();
        }
        true
    }

    /// A slice of flushing and merging; runs that are on the disk as a whole are prepared, and what is not needed goes.
    pub(crate) fn step_spill(&mut self, flushed: Version, disk: &mut dyn Disk) -> Result<bool, StateError> {
        self.release_spilled(flushed);
        let Some(tree) = self.spill.as_deref_mut().filter(|tree| !tree.is_idle()) else { return Ok(false) };
        let more = tree.step(disk, Budget::default())?;
        for (run, found) in &mut self.runs {
            if let Phase::Spilling { epoch, until: Some(until) } = found.phase
                && tree.flushed() >= until
            {
                found.phase = Phase::Sealed { epoch };
                let serial = found.serial().unwrap_or_default();
                self.orders.push(RunOrder::Spilled { run: *run, epoch, serial, version: until });
            }
        }
        Ok(more)
    }

    /// Runs that have something in the tree of side runs, or whose files a replay might still ask for.
    fn live_serials(&self, flushed: Version) -> BTreeSet<u64> {
        let runs = self.runs.values().chain(self.attached.iter().map(|attached| &attached.run));
        let dropping = self.dropping.values().filter_map(|(_, serial)| *serial);
        let unflushed = self.unflushed.iter().filter(|(version, ..)| *version > flushed);
        let unflushed = unflushed.filter_map(|(.., serial)| *serial);
        let owed = self.owed.iter().map(|owed| owed.serial);
        runs.filter_map(SideRun::serial).chain(dropping).chain(unflushed).chain(owed).collect()
    }

    /// Lets go of what no run has any more.
    fn release_spilled(&mut self, flushed: Version) {
        if self.serials.is_empty() {
            return;
        }
        let live = self.live_serials(flushed);
        let gone: Vec<u64> = self.serials.extract_if(.., |serial| !live.contains(serial)).collect();
        let Some(tree) = self.spill.as_deref_mut().filter(|_| !gone.is_empty()) else { return };
        if live.is_empty() {
            return tree.clear();
        }
        let bounds: Vec<_> = gone.iter().map(|serial| (serial.to_be_bytes(), (serial + 1).to_be_bytes())).collect();
        let version = Version(tree.applied().0 + 1);
        tree.apply(version, bounds.iter().map(|(from, to)| Write::DeleteRange { from, to }));
        tree.retain_from(version);
    }

    /// A slice of giving back the memory of runs that were dropped; true if there is more.
    pub(crate) fn shed(&mut self) -> bool {
        if let Some(writes) = self.shedding.last_mut() {
            drop(writes.take_slice(SHED_COUNT, usize::MAX));
            if writes.count() == 0 {
                self.shedding.pop();
            }
        }
        !self.shedding.is_empty()
    }

    /// The log says that a run lies on the disk.
    pub(crate) fn find_spilled(
        &mut self,
        (run, epoch): (RunId, Epoch),
        serial: u64,
        version: Version,
        lsn: Lsn,
    ) -> SideRun {
        let mut found = SideRun::new(Phase::Prepared { epoch });
        found.from = Some(lsn);
        found.is_whole = self.spill.as_ref().is_some_and(|tree| tree.flushed() >= version);
        found.spilled = Some(Spilled { serial, ..Spilled::default() });
        self.runs.remove(&run);
        self.appends.find_spilled(run, serial, lsn);
        found
    }
}

impl TaskState {
    /// Opens the tree of side runs. Blocking.
    pub(crate) fn open_spill(&mut self, disk: &mut dyn Disk) -> Result<(), StateError> {
        let (dir, owner) = (self.tree.dir().with_file_name("spill"), self.tree_owner | SPILL_OWNER);
        let options = self.tree.options();
        let options = TreeOptions {
            memtable_size_max: options.memtable_size_max.min(SPILL_MEMTABLE_SIZE_MAX),
            run_count_max: RUN_COUNT_MAX,
            prefix: None,
            compression: Compression::None,
            ..options.clone()
        };
        let numbers = (self.tree.identity(), SPILL_TABLE_FIRST);
        self.side.spill = Some(Box::new(Tree::open_aside(disk, &dir, owner, numbers, options)?));
        Ok(())
    }

    /// After the replay: runs on the disk learn what they deleted, and what nobody has goes. Blocking.
    pub(crate) fn end_spill_replay(&mut self, disk: &mut dyn Disk, cache: &mut BlockCache) -> Result<(), StateError> {
        self.learn_appends(disk, cache)?;
        let Side { runs, attached, spill: Some(tree), serials, owed, .. } = &mut self.side else { return Ok(()) };
        let found = runs.values_mut().chain(attached.iter_mut().map(|attached| &mut attached.run));
        for spilled in found.filter_map(|run| run.spilled.as_mut()) {
            spilled.read_ranges(tree, cache, disk)?;
            serials.push(spilled.serial);
        }
        serials.extend(owed.iter().map(|owed| owed.serial));
        serials.sort_unstable();
        serials.dedup();
        if serials.is_empty() {
            tree.clear();
            return Ok(());
        }
        let from = [0].into_iter().chain(serials.iter().map(|serial| serial + 1));
        let gaps = from.zip(serials.iter().copied().chain([u64::MAX])).filter(|(from, to)| from < to);
        let gaps: Vec<_> = gaps.map(|(from, to)| (from.to_be_bytes(), to.to_be_bytes())).collect();
        let version = Version(tree.applied().0 + 1);
        tree.apply(version, gaps.iter().map(|(from, to)| Write::DeleteRange { from, to }));
        tree.retain_from(version);
        Ok(())
    }

    /// From now on what a run has in memory goes to the disk when it is more than so many writes.
    pub fn bound_run(&mut self, run: RunId, count_max: usize) {
        if let Some(found) = self.side.runs.get_mut(&run) {
            found.count_max = count_max;
        }
    }

    /// Has the largest side run that takes writes go to the disk.
    pub fn spill_largest(&mut self) {
        self.side.spill_largest();
    }

    /// Whether a run has to wait with more writes until some of those it has are on the disk.
    pub fn is_run_full(&self, run: RunId) -> bool {
        self.side.is_full(run)
    }

    /// Whether a run has writes on the disk.
    pub fn is_run_spilled(&self, run: RunId) -> bool {
        self.side.runs.get(&run).is_some_and(|found| found.spilled.is_some())
    }
}

/// Keeps the writes of a run that is gone until they are given back in slices.
pub(crate) fn shed_later(side: &mut Side, writes: SideWrites) {
    if writes.count() > SHED_COUNT {
        side.shedding.push(writes);
    }
}
