//! The engine's storage without the engine: trees over the replog, on the thread that uses them.
//!
//! As on a task thread, background work advances in slices between operations and every wait for the disk is explicit.
//! The log is written for every put and flushed in the background: a crash may lose the last puts, as it may for peers
//! that write their log without flushing it.

use crate::error::BenchError;
use crate::measure;
use crate::suite::kv::engine::{Puts, Taken, failed};
use crate::suite::kv::{key_of, number_of};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use tantu_base::door::{Disk, DiskDone};
use tantu_base::id::{Epoch, Version};
use tantu_doors::{KernelDisk, KernelEntropy};
use tantu_lsm::{BlockCache, BlockId, Budget, Completed, Neighbours, PointRead, Stop, Tree, TreeOptions, Write};
use tantu_replog::Lsn;
use tantu_replog::seglog::{Entry, LogIdentity, SegLog, SegLogOptions};

/// Owner of the log's requests; those of the trees follow.
const LOG_OWNER: u32 = 0;
/// Puts between two slices of background work.
const PUTS_PER_SLICE: u64 = 8;
/// Bytes of the log that may wait for their flush before puts wait.
const LOG_PENDING_SIZE_MAX: usize = 8 << 20;
/// Puts that are replayed together.
const REPLAY_COUNT: usize = 16;
/// Pairs that an ingest is offered at a time.
const INGEST_COUNT: usize = 4096;
/// A slice that takes longer is counted.
const SLICE_LONG: Duration = Duration::from_millis(1);
/// Only of slices that take longer is the thread's time asked for once more.
const SLICE_ASKED: Duration = Duration::from_micros(200);
/// Bytes of the memtables that take puts before the largest is flushed: as a task thread does it.
pub(super) const MEMTABLES_SIZE_MAX: usize = 128 << 20;
/// Bytes of all memtables from which on a put waits for their flushes.
pub(super) const MEMORY_SIZE_MAX: usize = 256 << 20;

/// See the module.
pub(super) struct Store {
    disk: KernelDisk,
    cache: BlockCache,
    log: SegLog,
    trees: Vec<Tree>,
    version: u64,
    done: Vec<DiskDone>,
    pub(super) slices: Slices,
    pub(super) opened: Opening,
    values: Vec<u8>,
    /// Blocks that came since somebody looked.
    arrived: Vec<Neighbours>,
}

/// Slices of background work so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slices {
    /// The longest by the clock: other programs of the machine count.
    pub(super) longest: Duration,
    /// The longest by the thread's own time, where it took longer than [`SLICE_ASKED`].
    pub(super) longest_cpu: Duration,
    /// Those over [`SLICE_LONG`] by the clock.
    pub(super) long_count: u64,
}

/// What an opening took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) trees: Duration,
    /// Reading the log, and applying what no table has.
    pub(super) log: Duration,
    /// Bytes of the log that were read.
    pub(super) log_size: u64,
    /// Entries that were applied.
    pub(super) entries: u64,
}

/// A read under way.
struct Waiting {
    key: u64,
    began: Instant,
    /// What it waits for.
    block: Option<BlockId>,
}

/// Puts of the log on their way into the trees, some at a time: each has a version of its own, where an entry of a task
/// thread holds many keys of one.
struct Replay<'t> {
    trees: &'t mut [Tree],
    /// Of each its tree and version, and where its bytes end.
    gathered: Vec<(usize, Version, usize)>,
    bytes: Vec<u8>,
    entries: u64,
}

impl Replay<'_> {
    fn take(&mut self, entry: Entry<'_>) {
        // An empty one stands for a put that the log had not written when its table was flushed.
        let Some((key, _)) = entry.body.split_first_chunk::<16>() else { return };
        let tree = tree_of(number_of(key), self.trees.len());
        self.bytes.extend_from_slice(entry.body);
        self.gathered.push((tree, Version(entry.lsn.0 + 1), self.bytes.len()));
        if self.gathered.len() == REPLAY_COUNT {
            self.apply();
        }
    }

    fn apply(&mut self) {
        let mut from = 0;
        let puts: Vec<(usize, Version, &[u8])> = self
            .gathered
            .drain(..)
            .map(|(at, version, end)| (at, version, &self.bytes[std::mem::replace(&mut from, end)..end]))
            .collect();
        for (at, tree) in self.trees.iter().enumerate() {
            tree.expect(puts.iter().filter(|put| put.0 == at).map(|put| &put.2[..16]));
        }
        for (at, version, put) in puts {
            if version > self.trees[at].applied() {
                let (key, value) = put.split_at(16);
                self.trees[at].apply(version, [Write::Put { key, value }]);
                self.entries += 1;
            }
        }
        self.bytes.clear();
    }
}

/// One group is written at a time, so that the puts of meanwhile make the next one: nobody waits for its flush.
pub(super) fn log_options() -> SegLogOptions {
    SegLogOptions { flushes_in_flight_max: 1, ..SegLogOptions::default() }
}

/// The tree that has a key. A multiplicative hash: neighbours go to different trees.
fn tree_of(key: u64, tree_count: usize) -> usize {
    (((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * tree_count as u64) >> 32) as usize
}

impl Store {
    pub(super) fn open(dir: &Path, trees: u32, cache_size: usize) -> Result<Self, BenchError> {
        let mut disk = KernelDisk::new(None).map_err(BenchError::io("making a disk ring"))?;
        let mut entropy = KernelEntropy::default();
        let began = Instant::now();
        let trees: Result<Vec<Tree>, BenchError> = (0..trees)
            .map(|n| {
                let dir = dir.join(format!("tree-{n}"));
                Tree::open(&mut disk, &dir, n + 1, &mut entropy, TreeOptions::default())
                    .map_err(|error| failed("opening a tree", error))
            })
            .collect();
        let mut trees = trees?;
        let mut opened = Opening { trees: began.elapsed(), ..Opening::default() };
        let mut replay = Replay { trees: &mut trees, gathered: Vec::new(), bytes: Vec::new(), entries: 0 };
        let mut visit = |entry: Entry<'_>| {
            replay.take(entry);
            Ok(())
        };
        let identity = LogIdentity { group: 0 };
        let options = log_options();
        let began = Instant::now();
        let mut log = SegLog::open(&mut disk, &dir.join("log"), LOG_OWNER, identity, &mut entropy, options, &mut visit)
            .map_err(|error| failed("opening the log", error))?;
        replay.apply();
        opened.entries = replay.entries;
        (opened.log, opened.log_size) = (began.elapsed(), log.retained_size());
        let version = trees.iter().map(|tree| tree.applied().0).max().unwrap_or(0).max(log.end().0);
        while log.end().0 < version {
            log.append(Epoch(1), &[]);
        }
        Ok(Self {
            disk,
            cache: BlockCache::new(cache_size),
            log,
            trees,
            version,
            done: Vec::new(),
            slices: Slices::default(),
            opened,
            values: Vec::new(),
            arrived: Vec::new(),
        })
    }

    fn tree_of(&self, key: u64) -> usize {
        tree_of(key, self.trees.len())
    }

    /// Puts so many keys whose only copy on the disk is the log, as it is when a process is killed before anything is flushed.
    pub(super) fn put_unflushed(&mut self, puts: &mut Puts, count: u64) -> Result<(), BenchError> {
        for n in 1..=count {
            let (key, value) = puts.next();
            self.stage(key, value);
            if n.is_multiple_of(PUTS_PER_SLICE) || n == count {
                self.complete_done()?;
                self.log.pump(&mut self.disk);
            }
            while self.log.pending_size() > if n == count { 0 } else { LOG_PENDING_SIZE_MAX } {
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Ingests pairs of ascending keys into an empty store, so many to each tree, as files of others are taken in.
    pub(super) fn ingest(&mut self, keys: u64, value: &[u8]) -> Result<(), BenchError> {
        let budget = Budget { entry_count: INGEST_COUNT, size: 1 << 20 };
        let wanted = keys.div_ceil(self.trees.len() as u64);
        self.version += 1;
        for at in 0..self.trees.len() {
            self.trees[at].begin_ingest(Version(self.version));
            let mut taken = 0;
            while taken < wanted {
                let some: Vec<[u8; 16]> = (taken..wanted).take(INGEST_COUNT).map(key_of).collect();
                let pairs = some.iter().map(|key| (&key[..], value));
                let count = self.trees[at].ingest(pairs, budget, &mut self.disk);
                let count = count.map_err(|error| failed("ingesting", error))?;
                taken += count as u64;
                self.advance(at, count > 0)?;
            }
            self.trees[at].end_ingest();
            while self.trees[at].is_ingesting() {
                self.advance(at, false)?;
            }
        }
        Ok(())
    }

    /// A step of one tree's own work. It waits for the disk if there is nothing else to do.
    fn advance(&mut self, at: usize, has_more: bool) -> Result<(), BenchError> {
        let arrived = self.complete_done()?;
        let budget = Budget { entry_count: INGEST_COUNT, size: 1 << 20 };
        let more = self.trees[at].step(&mut self.disk, budget).map_err(|error| failed("merging", error))?;
        // Between two tables nothing is out, and nothing to do in a step.
        if !arrived && !more && !has_more && self.trees[at].is_busy() {
            self.wait()?;
        }
        Ok(())
    }

    /// Bytes of zeros written to the log before entries.
    pub(super) fn prewritten_size(&self) -> u64 {
        self.log.prewritten_size()
    }

    /// A put without its slice of background work.
    fn stage(&mut self, key: u64, value: &[u8]) {
        let at = self.tree_of(key);
        let bytes = key_of(key);
        self.version += 1;
        self.log.append(Epoch(1), &[&bytes, value]);
        self.trees[at].apply(Version(self.version), [Write::Put { key: &bytes, value }]);
    }

    pub(super) fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError> {
        self.stage(key, value);
        if self.version.is_multiple_of(PUTS_PER_SLICE) {
            self.slice()?;
            while self.is_behind() {
                self.slice()?;
            }
        }
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.log.pending_size() > LOG_PENDING_SIZE_MAX
            || self.trees.iter().map(Tree::memory_size).sum::<usize>() > MEMORY_SIZE_MAX
    }

    /// One slice of background work; true if there is more to do at once.
    pub(super) fn slice(&mut self) -> Result<bool, BenchError> {
        let (began, cpu_before) = (Instant::now(), measure::thread_cpu_time());
        let more = self.work()?;
        let took = began.elapsed();
        self.slices.longest = self.slices.longest.max(took);
        self.slices.long_count += u64::from(took > SLICE_LONG);
        if took > SLICE_ASKED {
            self.slices.longest_cpu = self.slices.longest_cpu.max(measure::thread_cpu_time() - cpu_before);
        }
        Ok(more)
    }

    fn work(&mut self) -> Result<bool, BenchError> {
        self.complete_done()?;
        let mut more = false;
        let floor = Version(self.version);
        if self.trees.iter().map(Tree::open_size).sum::<usize>() > MEMTABLES_SIZE_MAX
            && let Some(largest) = self.trees.iter_mut().max_by_key(|tree| tree.open_size())
        {
            largest.seal();
        }
        for tree in &mut self.trees {
            tree.retain_from(floor);
            let budget = Budget { entry_count: 32, size: 32 << 10 };
            more |= tree.step(&mut self.disk, budget).map_err(|error| failed("merging", error))?;
        }
        let flushed = self.trees.iter().filter(|tree| tree.flushed() < tree.applied()).map(|tree| tree.flushed().0);
        let low = Lsn(flushed.min().unwrap_or(self.version)).min(self.log.durable());
        self.log.release(low, &mut self.disk);
        self.log.pump(&mut self.disk);
        Ok(more)
    }

    fn complete_done(&mut self) -> Result<bool, BenchError> {
        let mut done = std::mem::take(&mut self.done);
        self.disk.reap(&mut done);
        let any = !done.is_empty();
        for done in done.drain(..) {
            if done.token.owner == LOG_OWNER {
                let completed = self.log.complete(done, &mut self.disk);
                completed.map_err(|error| failed("writing the log", error))?;
            } else {
                let tree = &mut self.trees[done.token.owner as usize - 1];
                let completed = tree.complete(done, &mut self.cache, &mut self.disk);
                if let Completed::BlocksArrived(blocks) =
                    completed.map_err(|error| failed("working on a tree", error))?
                {
                    self.arrived.push(blocks);
                }
            }
        }
        self.done = done;
        self.log.pump(&mut self.disk);
        Ok(any)
    }

    /// Waits for something of what is outstanding to complete.
    fn wait(&mut self) -> Result<(), BenchError> {
        self.disk.wait();
        self.complete_done()?;
        Ok(())
    }

    /// Flushes memtables and merges everything into one run, as RocksDB's `compact` does.
    pub(super) fn settle(&mut self) -> Result<(), BenchError> {
        self.trees.iter_mut().for_each(Tree::seal);
        let mut merging = false;
        loop {
            let more = self.slice()?;
            if !merging && self.trees.iter().all(|tree| tree.flushed() == tree.applied()) {
                merging = true;
                self.trees.iter_mut().for_each(Tree::merge_all);
                continue;
            }
            let busy = self.trees.iter().any(Tree::is_busy) || self.log.pending_size() > 0;
            if !more && !busy && self.trees.iter().all(|tree| tree.flushed() == tree.applied()) {
                return Ok(());
            }
            if !more && busy {
                self.wait()?;
            }
        }
    }

    /// Starts to read what a read stopped for.
    fn fetch(&mut self, at: usize, stop: Stop) -> Result<bool, BenchError> {
        match stop {
            Stop::Need(need) => Ok(self.trees[at].fetch(&need, &mut self.disk)),
            Stop::Corrupt(corruption) => Err(failed("reading", corruption)),
        }
    }

    /// Whether a key is there.
    pub(super) fn get(&mut self, key: u64) -> Result<bool, BenchError> {
        let at = self.tree_of(key);
        let bytes = key_of(key);
        loop {
            match self.trees[at].get(&self.cache, &bytes, Version(self.version), &mut self.values) {
                Ok(found) => return Ok(found),
                Err(stop) => {
                    if self.fetch(at, stop)? {
                        self.wait()?;
                    }
                }
            }
        }
    }

    /// Reads so many keys together; how many of them are there.
    pub(super) fn multi_get(&mut self, keys: &[u64]) -> Result<u64, BenchError> {
        let mut there = 0;
        for at in 0..self.trees.len() {
            let bytes: Vec<[u8; 16]> =
                keys.iter().filter(|key| self.tree_of(**key) == at).map(|key| key_of(*key)).collect();
            let mut reads: Vec<PointRead<'_>> = bytes.iter().map(|key| PointRead::new(key)).collect();
            loop {
                let values = &mut self.values;
                let mut visit = |_: usize, value: Option<&[u8]>| {
                    if let Some(value) = value {
                        values.clear();
                        values.extend_from_slice(value);
                        there += 1;
                    }
                };
                match self.trees[at].multi_get(&self.cache, &mut reads, Version(self.version), &mut visit) {
                    Ok(()) => break,
                    Err(stop) => {
                        if self.fetch(at, stop)? {
                            self.wait()?;
                        }
                    }
                }
            }
        }
        Ok(there)
    }

    /// Reads keys as they come, so many of them waiting for the disk at a time.
    pub(super) fn get_in_flight(
        &mut self,
        keys: &mut dyn Iterator<Item = u64>,
        depth: usize,
        answered: &mut dyn FnMut(bool, Duration),
    ) -> Result<(), BenchError> {
        let mut waiting: Vec<Waiting> = Vec::with_capacity(depth);
        loop {
            while waiting.len() < depth
                && let Some(key) = keys.next()
            {
                waiting.push(Waiting { key, began: Instant::now(), block: None });
            }
            if waiting.is_empty() {
                return Ok(());
            }
            let mut at = 0;
            while let Some(read) = waiting.get(at) {
                if read.block.is_some() {
                    at += 1;
                    continue;
                }
                let (key, began, tree) = (read.key, read.began, self.tree_of(read.key));
                match self.trees[tree].get(&self.cache, &key_of(key), Version(self.version), &mut self.values) {
                    Ok(found) => {
                        answered(found, began.elapsed());
                        waiting.swap_remove(at);
                    }
                    Err(stop) => {
                        let block = if let Stop::Need(need) = &stop { need.blocks().first().copied() } else { None };
                        if self.fetch(tree, stop)? {
                            waiting[at].block = block;
                            at += 1;
                        }
                    }
                }
            }
            // As many as there may be wait, or there are no more.
            if !waiting.is_empty() && (waiting.len() == depth || keys.size_hint().1 == Some(0)) {
                self.wait()?;
            }
            for read in &mut waiting {
                read.block = read.block.filter(|block| !self.arrived.iter().any(|arrived| arrived.hold(block)));
            }
            self.arrived.clear();
        }
    }

    /// Reads so many pairs from a key on; of one tree, as one task has it.
    pub(super) fn scan(&mut self, from: u64, count: usize) -> Result<usize, BenchError> {
        let at = self.tree_of(from);
        let from = key_of(from);
        loop {
            let mut taken = Taken::new();
            let mut visit = |key: &[u8], value: &[u8]| {
                taken.take(key, value);
                if taken.count == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match self.trees[at].scan(&self.cache, &from, &[0xff; 17], Version(self.version), &mut visit) {
                Ok(()) => return Ok(taken.count),
                Err(stop) => {
                    if self.fetch(at, stop)? {
                        self.wait()?;
                    }
                }
            }
        }
    }
}
