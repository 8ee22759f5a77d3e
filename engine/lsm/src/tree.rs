//! The tree: what callers see, and how its parts work together.

use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::{BlockId, Fault, Need, Neighbours, OpenError, Stop};
use crate::fetch::Reading;
use crate::ingest::Ingest;
use crate::job::{Choice, Job, JobOutput, choose, choose_towards_one};
use crate::manifest::{Manifest, manifest_path};
use crate::memtable::{Memtable, RangeDelete, Revision, SIDE_BY_SIDE, Sought, hidden_at};
use crate::multi::expect_in;
use crate::option::{Budget, TreeOptions};
use crate::table::{Filter, Table, table_path};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tantu_base::door::{Disk, DiskDone, DiskError, DiskOp, DiskReply, Entropy, FileId, OpenMode, Token, call};
use tantu_base::id::Version;

/// One committed change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write<'a> {
    /// The key has this value from this version on.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The key has no value from this version on.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// No key in `[from, to)` has a value from this version on.
    DeleteRange {
        /// First key.
        from: &'a [u8],
        /// First key after.
        to: &'a [u8],
    },
}

impl<'a> Write<'a> {
    /// Where it is in the order of keys.
    fn key(&self) -> &'a [u8] {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
            Write::DeleteRange { from, .. } => from,
        }
    }
}

/// What a completion brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed {
    /// Blocks that readers may wait for: they read again.
    BlocksArrived(Neighbours),
    /// Background work can go on.
    Progress,
}

/// Chunks of a flushed memtable that one slice frees, a quarter MiB each at most.
const SHED_CHUNK_COUNT: usize = 1;

pub(crate) const TAG_JOB_FLUSH: u32 = 0x1000_0000;
pub(crate) const TAG_JOB_MERGE: u32 = 0x2000_0000;
pub(crate) const TAG_JOB_INGEST: u32 = 0x6000_0000;
const TAG_MANIFEST: u32 = 0x3000_0000;
pub(crate) const TAG_BLOCK: u32 = 0x4000_0000;
const TAG_TIDY: u32 = 0x5000_0000;
pub(crate) const TAG_KIND: u32 = 0xf000_0000;

/// Installing a new manifest, step by step.
#[derive(Debug)]
enum Install {
    Idle,
    Opening(Manifest),
    Writing(Manifest),
    Naming(Manifest),
}

/// Runs of tables, newest run first.
pub(crate) type Level = Vec<Vec<Rc<Table>>>;

/// An LSM tree. With nothing in it, it takes about 1,000 bytes and no open file.
#[derive(Debug)]
pub struct Tree {
    pub(crate) owner: u32,
    pub(crate) dir: PathBuf,
    pub(crate) options: TreeOptions,
    pub(crate) applied: Version,
    flushed: Version,
    floor: Version,
    pub(crate) memtable: Memtable,
    /// The memtable has writes of versions that were applied before it was begun.
    has_late: bool,
    pub(crate) frozen: VecDeque<Rc<Memtable>>,
    /// Memtables that were flushed, and whose memory is given back in slices.
    pub(crate) shedding: VecDeque<Memtable>,
    /// Replaced tables, whose indexes are given back in slices.
    replaced: Vec<Rc<Table>>,
    levels: Vec<Level>,
    /// The range deletions of all tables, so that a read does not look for them table by table.
    table_ranges: Vec<RangeDelete>,
    pub(crate) identity: u64,
    pub(crate) next_table: u64,
    manifest_seq: u64,
    /// In boxes: most trees have none most of the time.
    pub(crate) flush: Option<Box<Job>>,
    pub(crate) merge: Option<Box<Job>>,
    pub(crate) ingest: Option<Box<Ingest>>,
    install: Install,
    /// Outputs that wait for their manifest, and those whose manifest is being written.
    ready: Vec<JobOutput>,
    pub(crate) reading: BTreeMap<u32, Reading>,
    /// Replaced tables with reads under way: they are closed and removed after those.
    pub(crate) retired: Vec<Rc<Table>>,
    pub(crate) next_tag: u32,
    tidying: usize,
    /// The manifest file, to be closed when it is written.
    close_after: Option<FileId>,
    pub(crate) halted: Option<DiskError>,
    /// A merge came upon a damaged block.
    damaged: bool,
    /// Merging goes on until one run is left.
    merging_all: bool,
    /// Everything in it goes.
    pub(crate) clearing: bool,
}

impl Tree {
    /// Opens a tree, making its directory if it is missing. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn open(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        entropy: &mut dyn Entropy,
        options: TreeOptions,
    ) -> Result<Tree, OpenError> {
        options.check();
        call(disk, DiskOp::MakeDir { path: dir.to_path_buf() })?;
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: dir.to_path_buf() })? else {
            unreachable!("a list answers with names")
        };
        let manifest = match Manifest::read(disk, dir, &names)? {
            Some(manifest) => manifest,
            None => Manifest::make_first(disk, dir, &names, entropy.next_u64())?,
        };
        Tree::of_manifest(disk, dir, owner, (manifest, &names), options)
    }

    /// Makes the trees of those directories that have no file yet, side by side, so that opening them is quick. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn make_all(disk: &mut dyn Disk, dirs: &[PathBuf], entropy: &mut dyn Entropy) -> Result<(), OpenError> {
        let mut new: Vec<(&Path, u64)> = Vec::new();
        for dir in dirs {
            call(disk, DiskOp::MakeDir { path: dir.clone() })?;
            if matches!(call(disk, DiskOp::List { path: dir.clone() })?, DiskReply::Names(names) if names.is_empty()) {
                new.push((dir, entropy.next_u64()));
            }
        }
        Ok(Manifest::write_first(disk, &new)?)
    }

    /// Opens the tables that a manifest names, of a directory with these files.
    pub(crate) fn of_manifest(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        (manifest, names): (Manifest, &[(String, u64)]),
        options: TreeOptions,
    ) -> Result<Tree, OpenError> {
        let mut levels = Vec::new();
        let mut left = options.open_verify_size_max;
        for level in &manifest.levels {
            let mut runs: Level = Vec::new();
            for run in level {
                let mut tables = Vec::new();
                for number in run {
                    let table = Table::open(disk, dir, manifest.identity, *number)?;
                    if table.size <= left {
                        left -= table.size;
                        table.verify(disk)?;
                    }
                    tables.push(Rc::new(table));
                }
                runs.push(tables);
            }
            levels.push(runs);
        }
        remove_orphans(disk, dir, names, &manifest)?;
        let table_ranges = ranges_of(&levels);
        Ok(Tree {
            owner,
            dir: dir.to_path_buf(),
            options,
            applied: manifest.flushed,
            flushed: manifest.flushed,
            floor: manifest.flushed,
            memtable: Memtable::default(),
            has_late: false,
            frozen: VecDeque::new(),
            shedding: VecDeque::new(),
            replaced: Vec::new(),
            levels,
            table_ranges,
            identity: manifest.identity,
            next_table: manifest.next_table,
            manifest_seq: manifest.seq,
            flush: None,
            merge: None,
            ingest: None,
            install: Install::Idle,
            ready: Vec::new(),
            reading: BTreeMap::new(),
            retired: Vec::new(),
            next_tag: 0,
            tidying: 0,
            close_after: None,
            halted: None,
            damaged: false,
            merging_all: false,
            clearing: false,
        })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every version at or below is in durable tables.
    pub fn flushed(&self) -> Version {
        self.flushed
    }

    /// The newest version applied.
    pub fn applied(&self) -> Version {
        self.applied
    }

    /// Applies the committed changes of a version: the only way in.
    ///
    /// # Panics
    /// If versions do not ascend.
    pub fn apply<'a>(&mut self, version: Version, writes: impl IntoIterator<Item = Write<'a>>) {
        assert!(version > self.applied, "versions ascend");
        self.applied = version;
        self.clearing = false;
        self.write_all(version, writes);
        self.memtable.version = version;
        if self.memtable.size() >= self.options.memtable_size_max {
            self.seal();
        }
    }

    /// Applies more writes of a version that was applied before, of keys that nothing newer was written of since. Until all of
    /// them are here, a reader at that version or above has to look for them elsewhere first; and a crash may leave a part of
    /// them in tables, so that whoever applies them knows from elsewhere whether all of them were.
    ///
    /// # Panics
    /// If the version is yet to come.
    pub fn apply_late<'a>(&mut self, version: Version, writes: impl IntoIterator<Item = Write<'a>>) {
        assert!(version <= self.applied, "what is late comes after its version");
        self.write_all(version, writes);
        self.has_late = true;
        self.memtable.version = self.applied;
        if self.memtable.size() >= self.options.memtable_size_max {
            self.seal();
        }
    }

    fn write_all<'a>(&mut self, version: Version, writes: impl IntoIterator<Item = Write<'a>>) {
        let mut window = [Write::Delete { key: &[] }; SIDE_BY_SIDE];
        let mut count = 0;
        writes.into_iter().for_each(|write| {
            window[count] = write;
            count += 1;
            if count == SIDE_BY_SIDE {
                self.write_window(version, &window);
                count = 0;
            }
        });
        self.write_window(version, &window[..count]);
    }

    fn write_window(&mut self, version: Version, writes: &[Write<'_>]) {
        let mut sought = [Sought::default(); SIDE_BY_SIDE];
        let sought = &mut sought[..writes.len()];
        for (sought, write) in sought.iter_mut().zip(writes) {
            *sought = Sought::new(write.key(), Filter::hash(write.key()));
        }
        // Alone there is nothing to do meanwhile.
        if writes.len() > 1 {
            self.memtable.seek(sought);
        }
        writes.iter().zip(sought).for_each(|(write, sought)| self.write(version, *write, *sought));
    }

    fn write(&mut self, version: Version, write: Write<'_>, sought: Sought<'_>) {
        match write {
            Write::Put { value, .. } => self.memtable.set(sought, version, Some(value), self.floor),
            Write::Delete { .. } => self.memtable.set(sought, version, None, self.floor),
            Write::DeleteRange { from, to } => {
                self.memtable.delete_range(RangeDelete { from: from.to_vec(), to: to.to_vec(), version });
            }
        }
    }

    /// Has the memory fetched that the next writes of these keys touch: to replay many small versions takes less time if
    /// their keys are named some at a time.
    pub fn expect<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        expect_in(std::iter::once(&self.memtable), keys);
    }

    pub(crate) fn memtables(&self) -> impl DoubleEndedIterator<Item = &Memtable> {
        std::iter::once(&self.memtable).chain(self.frozen.iter().rev().map(|frozen| &**frozen))
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Vec<Rc<Table>>> {
        self.levels.iter().flatten()
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table>> {
        self.levels.iter().flatten().flatten()
    }

    /// Reads a key at a version: `true` and its value in `out`, or `false`.
    ///
    /// # Errors
    /// [`Stop`]: blocks are needed, or one is damaged.
    pub fn get(&self, cache: &BlockCache, key: &[u8], at: Version, out: &mut Vec<u8>) -> Result<bool, Stop> {
        self.get_hashed(cache, (key, Tree::hash(key)), at, out)
    }

    /// The hash of a key that [`Tree::get_hashed`] takes.
    #[inline]
    pub fn hash(key: &[u8]) -> u64 {
        Filter::hash(key)
    }

    /// As [`Tree::get`], of a key whose [hash](Tree::hash) is known already.
    ///
    /// # Errors
    /// As there.
    pub fn get_hashed(
        &self,
        cache: &BlockCache,
        (key, hash): (&[u8], u64),
        at: Version,
        out: &mut Vec<u8>,
    ) -> Result<bool, Stop> {
        out.clear();
        let mut hidden: Option<Version> = None;
        for memtable in self.memtables() {
            hidden = hidden.max(hidden_at(&memtable.ranges, key, at));
            if let Some(revision) = memtable.get(key, hash, at) {
                let seen = hidden.is_none_or(|version| version <= revision.version);
                return Ok(match revision.value {
                    Some(value) if seen => {
                        out.extend_from_slice(value);
                        true
                    }
                    _ => false,
                });
            }
        }
        // A deletion in an older table hides nothing newer: all of them may be asked at once.
        hidden = hidden.max(hidden_at(&self.table_ranges, key, at));
        for run in self.runs() {
            // Keys of one run's tables ascend: one of them may hold the key, and those after it its older revisions.
            let first = run.partition_point(|table| table.meta.last_key[..] < *key);
            for table in &run[first..] {
                if !table.begins_by(key) {
                    break;
                }
                if !table.meta.filter.may_hold(hash) {
                    continue;
                }
                if let Some(Revision { version, value }) = self.get_in(cache, table, key, hash, at)? {
                    let seen = hidden.is_none_or(|hidden| hidden <= version);
                    out.extend_from_slice(value.filter(|_| seen).unwrap_or_default());
                    return Ok(seen && value.is_some());
                }
            }
        }
        Ok(false)
    }

    /// The newest revision of a key in a table that a reader at `at` sees.
    pub(crate) fn get_in<'c>(
        &self,
        cache: &'c BlockCache,
        table: &Table,
        key: &[u8],
        hash: u64,
        at: Version,
    ) -> Result<Option<Revision<'c>>, Stop> {
        let mut block = table.block_of(key);
        loop {
            let data: &'c Block = self.block(cache, table, block)?;
            if let Some(entry) = data.find(key, hash, at) {
                return Ok(Some(Revision { version: entry.version, value: entry.value }));
            }
            // The key, or its older revisions, may be in the next block.
            block += 1;
            if table.meta.index.get(block).is_none_or(|next| next.first_key[..] > *key) {
                return Ok(None);
            }
        }
    }

    #[inline]
    pub(crate) fn block<'c>(&self, cache: &'c BlockCache, table: &Table, block: usize) -> Result<&'c Block, Stop> {
        let id = BlockId { table: table.number, block: block as u32 };
        let found = cache.get((self.owner, id.table, id.block), table.frame(block));
        found.ok_or_else(|| Stop::Need(Need::of(vec![id])))
    }

    /// A block for a scan, which goes on to others.
    #[inline]
    pub(crate) fn pass<'c>(&self, cache: &'c BlockCache, table: &Table, block: usize) -> Option<&'c Block> {
        cache.pass((self.owner, table.number, block as u32), table.frame(block))
    }

    /// A block, if the cache has it; it still waits for its reader.
    #[inline]
    pub(crate) fn look<'c>(&self, cache: &'c BlockCache, table: &Table, block: usize) -> Option<&'c Block> {
        cache.look((self.owner, table.number, block as u32), table.frame(block))
    }

    /// The hash of the prefix that all keys of a range have in common.
    pub(crate) fn prefix_of_range(&self, from: &[u8], to: &[u8]) -> Option<u64> {
        self.options.prefix?.hash_of_range(from, to)
    }

    /// Whether a table has no key with the prefix of this hash.
    pub(crate) fn lacks_prefix(&self, table: &Table, hash: Option<u64>) -> bool {
        hash.is_some_and(|hash| table.lacks_prefix(self.options.prefix, hash))
    }

    pub(crate) fn table_ranges(&self) -> &[RangeDelete] {
        &self.table_ranges
    }

    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// The range deletions over some of `[from, to)` that a reader at `at` sees.
    pub(crate) fn range_deletes(&self, from: &[u8], to: &[u8], at: Version) -> Vec<&RangeDelete> {
        let all = self.memtables().flat_map(|memtable| &memtable.ranges).chain(&self.table_ranges);
        all.filter(|range| range.version <= at && range.from[..] < *to && *from < range.to[..]).collect()
    }

    /// Takes a completion of one of its own tokens.
    ///
    /// # Errors
    /// [`Fault`]: a block is damaged, or a request failed.
    ///
    /// # Panics
    /// If the completion is somebody else's.
    pub fn complete(
        &mut self,
        done: DiskDone,
        cache: &mut BlockCache,
        disk: &mut dyn Disk,
    ) -> Result<Completed, Fault> {
        assert_eq!(done.token.owner, self.owner, "a completion of somebody else");
        let tag = done.token.tag;
        match tag & TAG_KIND {
            TAG_BLOCK => return self.take_blocks(tag, done.result, cache, disk),
            TAG_TIDY => {
                // Files that stay are removed as orphans at the next open.
                self.tidying -= 1;
                return Ok(Completed::Progress);
            }
            _ => {}
        }
        let reply = match done.result {
            Ok(reply) => reply,
            Err(error) => {
                self.halted = Some(error.clone());
                if tag & TAG_KIND == TAG_MANIFEST {
                    // Nothing of it is on the disk any more.
                    self.install = Install::Idle;
                }
                return Err(error.into());
            }
        };
        match tag & TAG_KIND {
            TAG_JOB_FLUSH => {
                self.flush.as_mut().expect("invariant: a flush runs").complete(tag, reply, &self.options, disk)?
            }
            TAG_JOB_MERGE => {
                let merge = self.merge.as_mut().expect("invariant: a merge runs");
                merge.complete(tag, reply, &self.options, disk).inspect_err(|_| self.damaged = true)?;
            }
            TAG_JOB_INGEST => {
                let ingest = self.ingest.as_mut().expect("invariant: an ingest runs");
                ingest.complete(tag, reply, &self.options, disk);
            }
            TAG_MANIFEST => self.install_step(reply, disk),
            kind => unreachable!("no request has a tag of kind {kind:x}"),
        }
        Ok(Completed::Progress)
    }

    /// Bytes of memtables.
    pub fn memory_size(&self) -> usize {
        self.memtables().chain(&self.shedding).map(Memtable::size).sum()
    }

    /// Whether a frozen memtable is not yet in a table.
    pub fn is_flushing(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// How many memtables a reader looks into.
    pub fn memtable_count(&self) -> usize {
        1 + self.frozen.len()
    }

    /// Bytes of the memtable that takes writes.
    pub fn open_size(&self) -> usize {
        self.memtable.size()
    }

    /// Freezes the memtable, which starts its flush.
    pub fn seal(&mut self) {
        let is_newer = self.memtable.version > self.flushed
            && self.frozen.back().is_none_or(|frozen| frozen.version < self.memtable.version);
        if std::mem::take(&mut self.has_late) || is_newer {
            self.frozen.push_back(Rc::new(std::mem::take(&mut self.memtable)));
        }
    }

    /// Merges everything that is in tables into a single run, over the next steps: after a load that only reads follow.
    pub fn merge_all(&mut self) {
        self.merging_all = true;
    }

    /// The oldest version a reader may still ask for; merges keep the newest revision at or below it and all above.
    pub fn retain_from(&mut self, floor: Version) {
        self.floor = self.floor.max(floor);
    }

    /// Why background work halted, if it did.
    pub fn halted(&self) -> Option<&DiskError> {
        self.halted.as_ref()
    }

    /// Whether requests of it are outstanding on the disk.
    pub fn is_busy(&self) -> bool {
        let waits = |job: &Option<Box<Job>>| job.as_deref().is_some_and(Job::is_waiting);
        let ingest_waits = self.ingest.as_deref().is_some_and(Ingest::is_waiting);
        let installing = !matches!(self.install, Install::Idle);
        !self.reading.is_empty()
            || self.tidying > 0
            || installing
            || (self.halted.is_none() && (waits(&self.flush) || waits(&self.merge) || ingest_waits))
    }

    /// One slice of flushing and merging; true if there is more to do before something completes.
    ///
    /// # Errors
    /// [`Fault`]: a block that is merged is damaged. Merging halts then; reads and flushes go on.
    pub fn step(&mut self, disk: &mut dyn Disk, budget: Budget) -> Result<bool, Fault> {
        if self.halted.is_some() {
            return Ok(false);
        }
        self.step_clear(disk);
        self.start_jobs(disk);
        let mut more = self.shed() | self.step_ingest(disk);
        for flushing in [true, false] {
            let slot = if flushing { &mut self.flush } else { &mut self.merge };
            let Some(job) = slot.as_mut().filter(|_| flushing || !self.damaged) else { continue };
            if !job.is_done() {
                match job.step(&self.dir, &mut self.next_table, &self.options, budget, disk) {
                    Ok(job_more) => more |= job_more,
                    Err(corruption) => {
                        self.damaged = true;
                        return Err(corruption.into());
                    }
                }
            }
            if job.is_done() && self.ready.is_empty() && matches!(self.install, Install::Idle) {
                let (output, empty) = slot.take().expect("invariant: just seen").into_output(&self.dir);
                empty.iter().for_each(|table| self.discard(table, disk));
                self.begin_install(output, disk);
                more = true;
            }
        }
        Ok(more)
    }

    /// Gives back some memory of memtables that were flushed and tables that were replaced; true if there is more.
    fn shed(&mut self) -> bool {
        if let Some(memtable) = self.shedding.front_mut()
            && !memtable.shed(SHED_CHUNK_COUNT)
        {
            self.shedding.pop_front();
        }
        drop(self.replaced.pop());
        !self.shedding.is_empty() || !self.replaced.is_empty()
    }

    /// Whether a manifest may be written now: one at a time.
    pub(crate) fn may_install(&self) -> bool {
        self.ready.is_empty() && matches!(self.install, Install::Idle)
    }

    fn start_jobs(&mut self, disk: &mut dyn Disk) {
        let pending = |output: &JobOutput| output.flushed.is_some();
        if self.flush.is_none()
            && !self.ready.iter().any(pending)
            && let Some(frozen) = self.frozen.front()
            // What is newer than an ingest comes above its tables.
            && self.ingest.as_ref().is_none_or(|ingest| frozen.version < ingest.version)
        {
            self.flush = Some(Box::new(Job::flush(Rc::clone(frozen), self.identity, self.owner, self.floor)));
        }
        if self.merge.is_none()
            && !self.clearing
            && self.ready.is_empty()
            && let Some(choice) = self.choose_merge()
        {
            let job = Job::merge(&self.levels, choice, self.identity, self.owner, self.floor, &self.options, disk);
            self.merge = Some(Box::new(job));
        }
    }

    fn choose_merge(&mut self) -> Option<Choice> {
        let choice = if self.merging_all { choose_towards_one(&self.levels) } else { None };
        self.merging_all = choice.is_some();
        choice.or_else(|| choose(&self.levels, &self.options))
    }

    /// Writes the manifest in which the output's tables replace its inputs.
    pub(crate) fn begin_install(&mut self, output: JobOutput, disk: &mut dyn Disk) {
        let levels = output.apply_to(&self.levels);
        let numbers = |level: &Level| level.iter().map(|run| run.iter().map(|table| table.number).collect()).collect();
        let manifest = Manifest {
            seq: self.manifest_seq + 1,
            identity: self.identity,
            flushed: output.flushed.unwrap_or(self.flushed),
            next_table: self.next_table,
            levels: levels.iter().map(numbers).collect(),
        };
        self.ready.push(output);
        let path = manifest_path(&self.dir, manifest.seq);
        self.install = Install::Opening(manifest);
        disk.submit(self.token(TAG_MANIFEST), DiskOp::Open { path, mode: OpenMode::Create });
    }

    fn token(&self, tag: u32) -> Token {
        Token { owner: self.owner, tag }
    }

    fn install_step(&mut self, reply: DiskReply, disk: &mut dyn Disk) {
        match (std::mem::replace(&mut self.install, Install::Idle), reply) {
            (Install::Opening(manifest), DiskReply::Opened { file, .. }) => {
                disk.submit(
                    self.token(TAG_MANIFEST),
                    DiskOp::Write { file, offset: 0, buf: manifest.encode(), durable: true },
                );
                self.tidying += 1;
                self.install = Install::Writing(manifest);
                self.close_after = Some(file);
            }
            (Install::Writing(manifest), DiskReply::Written(_)) => {
                if let Some(file) = self.close_after.take() {
                    disk.submit(self.token(TAG_TIDY), DiskOp::Close { file });
                }
                disk.submit(self.token(TAG_MANIFEST), DiskOp::SyncDir { path: self.dir.clone() });
                self.install = Install::Naming(manifest);
            }
            (Install::Naming(manifest), DiskReply::Done) => self.installed(&manifest, disk),
            (install, reply) => unreachable!("a manifest that is {install:?} cannot take {reply:?}"),
        }
    }

    /// The new manifest is durable: its tables are the tree now; what it does not name can go.
    fn installed(&mut self, manifest: &Manifest, disk: &mut dyn Disk) {
        let output = self.ready.pop().expect("invariant: an output was being installed");
        let levels = output.apply_to(&self.levels);
        self.table_ranges = ranges_of(&levels);
        let old = std::mem::replace(&mut self.levels, levels);
        let keeps: BTreeSet<u64> = self.tables().map(|table| table.number).collect();
        for table in old.iter().flatten().flatten().filter(|table| !keeps.contains(&table.number)) {
            if self.is_read(table.number) {
                self.retired.push(Rc::clone(table));
            } else {
                self.discard(table, disk);
                self.replaced.push(Rc::clone(table));
            }
        }
        if let Some(flushed) = output.flushed {
            // An ingest has no memtable.
            if self.frozen.front().is_some_and(|frozen| frozen.version <= flushed) {
                // The job that read it is gone, too.
                self.shedding.extend(self.frozen.pop_front().and_then(Rc::into_inner));
            }
            self.ingest.take_if(|ingest| ingest.version == flushed);
        }
        self.tidying += 1;
        disk.submit(self.token(TAG_TIDY), DiskOp::Remove { path: manifest_path(&self.dir, self.manifest_seq) });
        self.manifest_seq = manifest.seq;
        self.flushed = manifest.flushed;
    }

    pub(crate) fn is_read(&self, table: u64) -> bool {
        self.reading.values().any(|reading| reading.table == table)
    }

    pub(crate) fn discard(&mut self, table: &Table, disk: &mut dyn Disk) {
        self.discard_file(table.file, table.path.clone(), disk);
    }

    pub(crate) fn discard_file(&mut self, file: FileId, path: PathBuf, disk: &mut dyn Disk) {
        self.tidying += 2;
        disk.submit(self.token(TAG_TIDY), DiskOp::Close { file });
        disk.submit(self.token(TAG_TIDY), DiskOp::Remove { path });
    }

    /// Closes its files. Blocking; nothing else may be outstanding on the disk. What was not flushed is not lost:
    /// the log has it.
    ///
    /// # Errors
    /// [`Fault`] of work that was under way.
    pub fn close(mut self, cache: &mut BlockCache, disk: &mut dyn Disk) -> Result<(), Fault> {
        let mut done = Vec::new();
        while self.is_busy() {
            disk.wait();
            disk.reap(&mut done);
            for done in done.drain(..) {
                self.complete(done, cache, disk)?;
            }
        }
        for file in self.tables().map(|table| table.file).chain(self.ingest_files()) {
            call(disk, DiskOp::Close { file })?;
        }
        Ok(())
    }
}

fn ranges_of(levels: &[Level]) -> Vec<RangeDelete> {
    levels.iter().flatten().flatten().flat_map(|table| table.meta.ranges.iter().cloned()).collect()
}

/// Removes what a crash left: tables no manifest names, manifests that are not the newest.
fn remove_orphans(
    disk: &mut dyn Disk,
    dir: &Path,
    names: &[(String, u64)],
    manifest: &Manifest,
) -> Result<(), OpenError> {
    let keep: Vec<PathBuf> =
        manifest.tables().map(|number| table_path(dir, number)).chain([manifest_path(dir, manifest.seq)]).collect();
    for (name, _) in names.iter().filter(|(name, _)| name.ends_with(".table") || name.ends_with(".manifest")) {
        let path = dir.join(name);
        // The first manifest may just have been made anew.
        if !keep.contains(&path) {
            call(disk, DiskOp::Remove { path })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_weather::{SimDisk, SimEntropy};

    #[test]
    fn an_idle_tree_takes_about_one_kilobyte() {
        let mut disk = SimDisk::calm(1);
        let dir = Path::new("tree");
        let tree = Tree::open(&mut disk, dir, 1, &mut SimEntropy::new(1), TreeOptions::default()).expect("a new tree");
        let size = size_of::<Tree>() + tree.memory_size();
        assert!((600..1_200).contains(&size), "{size}");
    }
}
