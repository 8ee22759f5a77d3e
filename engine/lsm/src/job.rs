//! Background jobs: flushing a frozen memtable, merging runs. Choosing is data; doing goes in slices.

use crate::error::{Corruption, Fault};
use crate::memtable::{Memtable, RangeDelete, Walk};
use crate::merge::{At, Item, Keeper, RunCursor};
use crate::option::{Budget, TreeOptions};
use crate::table::Table;
use crate::tree::{Level, TAG_JOB_FLUSH, TAG_JOB_MERGE};
use crate::writer::TableWriter;
use std::cmp::Ordering;
use std::path::Path;
use std::rc::Rc;
use tantu_base::door::{Disk, DiskOp, DiskReply, Token};
use tantu_base::id::Version;

/// Tags of a job's writers; those of its cursors follow.
const TAG_WRITER: u32 = 0;
const TAG_DIR: u32 = 1;
const TAG_CURSOR_FIRST: u32 = 16;

/// A key of a filter costs about as much as this part of an entry that is merged.
const FILTER_KEYS_PER_ENTRY: usize = 16;

/// Which runs to merge: the newest `run_count` runs of `level` (all of it), and the level below if `with_next`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    pub(crate) level: usize,
    pub(crate) with_next: bool,
    /// Nothing lies below the result.
    pub(crate) bottom: bool,
}

fn level_size(level: &Level) -> u64 {
    level.iter().flatten().map(|table| table.size).sum()
}

/// Lazy leveling: a level's runs are merged into one run of the next level when there are enough of them; the next
/// level takes part if it is the last one and not more than twice as large.
pub(crate) fn choose(levels: &[Level], options: &TreeOptions) -> Option<Choice> {
    let level = levels.iter().position(|level| level.len() >= options.run_count_max)?;
    let below_next = levels.iter().skip(level + 2).all(Vec::is_empty);
    let next = levels.get(level + 1).filter(|next| !next.is_empty());
    let with_next = below_next && next.is_some_and(|next| level_size(next) <= 2 * level_size(&levels[level]));
    Some(Choice { level, with_next, bottom: below_next && (next.is_none() || with_next) })
}

/// The next merge on the way to a single run: the uppermost level that has one goes into the next.
pub(crate) fn choose_towards_one(levels: &[Level]) -> Option<Choice> {
    if levels.iter().map(Vec::len).sum::<usize>() < 2 {
        return None;
    }
    let level = levels.iter().position(|level| !level.is_empty())?;
    let with_next = levels.get(level + 1).is_some_and(|next| !next.is_empty());
    Some(Choice { level, with_next, bottom: levels.iter().skip(level + 2).all(Vec::is_empty) })
}

/// What a finished job changes in the tree.
#[derive(Debug)]
pub(crate) struct JobOutput {
    /// For a flush or an ingest: what is flushed with it.
    pub(crate) flushed: Option<Version>,
    inputs: Vec<u64>,
    level: usize,
    tables: Vec<Rc<Table>>,
}

impl JobOutput {
    /// New tables on top of all others, with which everything up to a version is flushed.
    pub(crate) fn ingested(version: Version, tables: Vec<Rc<Table>>) -> Self {
        Self { flushed: Some(version), inputs: Vec::new(), level: 0, tables }
    }

    /// No tables at all, with which everything up to a version is gone.
    pub(crate) fn cleared(version: Version, tables: Vec<u64>) -> Self {
        Self { flushed: Some(version), inputs: tables, level: 0, tables: Vec::new() }
    }

    /// The levels with the inputs replaced by the output.
    pub(crate) fn apply_to(&self, levels: &[Level]) -> Vec<Level> {
        let kept = |run: &&Vec<Rc<Table>>| !run.iter().any(|table| self.inputs.contains(&table.number));
        let mut levels: Vec<Level> = levels.iter().map(|level| level.iter().filter(kept).cloned().collect()).collect();
        if !self.tables.is_empty() {
            if levels.len() <= self.level {
                levels.resize_with(self.level + 1, Vec::new);
            }
            levels[self.level].insert(0, self.tables.clone());
        }
        levels
    }
}

#[derive(Debug)]
enum Input {
    Flush { table: Rc<Memtable>, walk: Walk },
    Merge { cursors: Vec<RunCursor>, keeper: Keeper, bottom: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Running,
    Syncing,
    Done,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    token: Token,
    identity: u64,
    input: Input,
    inputs: Vec<u64>,
    level: usize,
    ranges: Vec<RangeDelete>,
    /// The oldest version a reader could ask for when the job started: one value for the whole job, so that a range
    /// deletion is never dropped while something it hides was kept.
    floor: Version,
    writer: Option<TableWriter>,
    /// The writer got its last entry.
    ended: bool,
    exhausted: bool,
    finished: Vec<TableWriter>,
    stage: Stage,
}

impl Job {
    pub(crate) fn flush(table: Rc<Memtable>, identity: u64, owner: u32, floor: Version) -> Self {
        let ranges = table.ranges.clone();
        let token = Token { owner, tag: TAG_JOB_FLUSH };
        let mut walk = Walk::default();
        walk.seek(&table, &[]);
        Self::new(token, identity, Input::Flush { table, walk }, Vec::new(), 0, ranges, floor)
    }

    fn new(
        token: Token,
        identity: u64,
        input: Input,
        inputs: Vec<u64>,
        level: usize,
        ranges: Vec<RangeDelete>,
        floor: Version,
    ) -> Self {
        let (finished, stage) = (Vec::new(), Stage::Running);
        Self {
            token,
            identity,
            input,
            inputs,
            level,
            ranges,
            floor,
            writer: None,
            ended: false,
            exhausted: false,
            finished,
            stage,
        }
    }

    pub(crate) fn merge(
        levels: &[Level],
        choice: Choice,
        identity: u64,
        owner: u32,
        floor: Version,
        options: &TreeOptions,
        disk: &mut dyn Disk,
    ) -> Self {
        let mut runs: Vec<Vec<Rc<Table>>> = levels[choice.level].clone();
        if choice.with_next {
            runs.extend(levels[choice.level + 1].iter().cloned());
        }
        let inputs = runs.iter().flatten().map(|table| table.number).collect();
        let ranges = runs.iter().flatten().flat_map(|table| table.meta.ranges.iter().cloned()).collect();
        let mut cursors: Vec<RunCursor> = runs.into_iter().map(RunCursor::new).collect();
        let token = Token { owner, tag: TAG_JOB_MERGE };
        for (at, cursor) in cursors.iter_mut().enumerate() {
            cursor.read_ahead(Token { owner, tag: TAG_JOB_MERGE + TAG_CURSOR_FIRST + at as u32 }, options, disk);
        }
        let input = Input::Merge { cursors, keeper: Keeper::default(), bottom: choice.bottom };
        Self::new(token, identity, input, inputs, choice.level + 1, ranges, floor)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether a request of it is on the disk.
    pub(crate) fn is_waiting(&self) -> bool {
        let reading = match &self.input {
            Input::Merge { cursors, .. } => cursors.iter().any(RunCursor::is_reading),
            Input::Flush { .. } => false,
        };
        reading || self.stage == Stage::Syncing || self.writer.as_ref().is_some_and(TableWriter::is_waiting)
    }

    /// One slice; true if it can go on at once.
    ///
    /// # Errors
    /// [`Corruption`] of a block it came to.
    pub(crate) fn step(
        &mut self,
        dir: &Path,
        next_table: &mut u64,
        options: &TreeOptions,
        budget: Budget,
        disk: &mut dyn Disk,
    ) -> Result<bool, Corruption> {
        if self.stage != Stage::Running {
            return Ok(false);
        }
        let Some(writer) = &mut self.writer else {
            self.begin_table(dir, next_table, disk);
            return Ok(false);
        };
        if writer.is_done() {
            self.finished.extend(self.writer.take());
            return Ok(true);
        }
        if self.ended {
            return Ok(writer.finish(FILTER_KEYS_PER_ENTRY * budget.entry_count, options, disk));
        }
        if !writer.has_room(options) {
            return Ok(false);
        }
        let waiting = match &mut self.input {
            Input::Flush { table, walk } => flush_slice(table, walk, writer, options, budget, &mut self.exhausted),
            Input::Merge { cursors, keeper, bottom } => {
                let waiting = merge_slice(
                    cursors,
                    keeper,
                    *bottom,
                    self.floor,
                    &self.ranges,
                    writer,
                    options,
                    budget,
                    &mut self.exhausted,
                )?;
                for (at, cursor) in cursors.iter_mut().enumerate() {
                    let tag = TAG_JOB_MERGE + TAG_CURSOR_FIRST + at as u32;
                    cursor.read_ahead(Token { tag, ..self.token }, options, disk);
                }
                waiting
            }
        };
        if self.exhausted || writer.size() >= options.table_size_max {
            self.ended = true;
            // Range deletions go with the last table, so that every slice of the job sees them; reads look at those of
            // all tables.
            let bottom = matches!(self.input, Input::Merge { bottom: true, .. });
            let keep = |range: &RangeDelete| self.exhausted && !(bottom && range.version <= self.floor);
            let ranges = self.ranges.iter().filter(|range| keep(range)).cloned().collect();
            // A run's tables are found by their last keys, which ascend even if the last one holds ranges only.
            let before = self.finished.last().map_or(&[][..], TableWriter::last_key);
            writer.end(before, ranges, options, disk);
            return Ok(true);
        }
        writer.pump(options, disk);
        Ok(!waiting)
    }

    /// Begins the next table, or flushes the directory if all are there.
    fn begin_table(&mut self, dir: &Path, next_table: &mut u64, disk: &mut dyn Disk) {
        self.exhausted |= self.has_nothing_left();
        if self.exhausted {
            self.stage = Stage::Syncing;
            let token = Token { tag: self.token.tag + TAG_DIR, ..self.token };
            return disk.submit(token, DiskOp::SyncDir { path: dir.to_path_buf() });
        }
        let token = Token { tag: self.token.tag + TAG_WRITER, ..self.token };
        self.writer = Some(TableWriter::new(dir, self.identity, *next_table, token, disk));
        self.ended = false;
        *next_table += 1;
    }

    /// Whether a flush has no entry and no range deletion for another table: then none is begun.
    fn has_nothing_left(&self) -> bool {
        match &self.input {
            Input::Flush { table, walk } => walk.key(table).is_none() && self.ranges.is_empty(),
            Input::Merge { .. } => false,
        }
    }

    /// Takes a success of one of its requests.
    pub(crate) fn complete(
        &mut self,
        tag: u32,
        reply: DiskReply,
        options: &TreeOptions,
        disk: &mut dyn Disk,
    ) -> Result<(), Fault> {
        match (tag - self.token.tag, reply) {
            (TAG_WRITER, reply) => {
                self.writer.as_mut().expect("invariant: a table is written").complete(reply, options, disk)
            }
            (TAG_DIR, DiskReply::Done) => self.stage = Stage::Done,
            (cursor, DiskReply::Read { buf, len }) => {
                let Input::Merge { cursors, .. } = &mut self.input else { unreachable!("only merges read") };
                cursors[(cursor - TAG_CURSOR_FIRST) as usize].take(buf, len)?;
            }
            (tag, reply) => unreachable!("a job cannot take {reply:?} of request {tag}"),
        }
        Ok(())
    }

    /// What the finished job changes; and the tables that hold nothing, which are no part of that: all that a merge read may be
    /// deleted.
    pub(crate) fn into_output(self, dir: &Path) -> (JobOutput, Vec<Table>) {
        let flushed = match &self.input {
            Input::Flush { table, .. } => Some(table.version),
            Input::Merge { .. } => None,
        };
        let all = self.finished.into_iter().map(|writer| writer.into_table(dir));
        let holds_something = |table: &Table| !table.meta.index.is_empty() || !table.meta.ranges.is_empty();
        let (tables, empty): (Vec<Table>, Vec<Table>) = all.partition(holds_something);
        let tables = tables.into_iter().map(Rc::new).collect();
        (JobOutput { flushed, inputs: self.inputs, level: self.level, tables }, empty)
    }
}

/// Writes entries of a memtable; false, since it never waits for reads.
fn flush_slice(
    table: &Memtable,
    walk: &mut Walk,
    writer: &mut TableWriter,
    options: &TreeOptions,
    budget: Budget,
    exhausted: &mut bool,
) -> bool {
    let (mut count, mut size) = (0, 0);
    while count < budget.entry_count && size < budget.size && writer.size() < options.table_size_max {
        let Some(key) = walk.key(table) else {
            *exhausted = true;
            break;
        };
        for revision in walk.revisions(table) {
            writer.add(key, revision.version, revision.value, options);
            count += 1;
            size += key.len() + revision.value.map_or(0, <[u8]>::len);
        }
        walk.next(table);
    }
    false
}

/// Writes the next merged entries; true if a cursor waits for its blocks.
#[allow(clippy::too_many_arguments, reason = "the parts of one job, borrowed apart")]
fn merge_slice(
    cursors: &mut [RunCursor],
    keeper: &mut Keeper,
    bottom: bool,
    floor: Version,
    ranges: &[RangeDelete],
    writer: &mut TableWriter,
    options: &TreeOptions,
    budget: Budget,
    exhausted: &mut bool,
) -> Result<bool, Corruption> {
    let (mut count, mut size) = (0, 0);
    loop {
        let mut first: Option<(usize, Item<'_>)> = None;
        for (at, cursor) in cursors.iter().enumerate() {
            match cursor.at() {
                At::Waiting => return Ok(true),
                At::End => {}
                At::Entry(entry) => {
                    let before = |other: &Item<'_>| match entry.key.cmp(other.key) {
                        Ordering::Less => true,
                        Ordering::Equal => entry.version > other.version,
                        Ordering::Greater => false,
                    };
                    if first.as_ref().is_none_or(|(_, other)| before(other)) {
                        first = Some((at, entry));
                    }
                }
            }
        }
        let Some((at, entry)) = first else {
            *exhausted = true;
            return Ok(false);
        };
        // A table is cut only between keys.
        let enough = count >= budget.entry_count || size >= budget.size || writer.size() >= options.table_size_max;
        if enough && !keeper.is_at(entry.key) {
            return Ok(false);
        }
        if keeper.keeps(&entry, floor, ranges, bottom) {
            writer.add(entry.key, entry.version, entry.value, options);
        }
        count += 1;
        size += entry.key.len() + entry.value.map_or(0, <[u8]>::len);
        cursors[at].advance()?;
    }
}
