//! Bulk ingest: a sorted stream of pairs becomes tables directly, and all of them enter the tree by one manifest.
//!
//! All pairs of an ingest have one version, which the tree takes as applied when it begins. Where other data has the same key,
//! the newer version wins, as everywhere: the pair hides what was applied before [`Tree::begin_ingest`], and is hidden by what
//! is applied after it.
//!
//! Sources of a read stand newest first. So what was applied before is flushed before the tables enter, and what is applied
//! while it runs is flushed after them. **Nothing of it is seen before [`Tree::is_ingesting`] says that it is over; who reads at
//! its version or above must wait for that.** A crash before leaves nothing but files that no manifest names, which the next
//! open removes, and [`Tree::flushed`] below its version.

use crate::job::JobOutput;
use crate::option::{Budget, TreeOptions, VALUE_SIZE_MAX};
use crate::table::Table;
use crate::tree::{TAG_JOB_INGEST, Tree};
use crate::writer::TableWriter;
use std::rc::Rc;
use tantu_base::door::{Disk, DiskOp, DiskReply, FileId, Token};
use tantu_base::id::Version;
use tantu_base::limit::KEY_SIZE_MAX;

const TAG_WRITER: u32 = 0;
const TAG_DIR: u32 = 1;
/// Keys of a filter that one slice adds.
const FILTER_KEYS_PER_SLICE: usize = 8 << 10;

/// Why an ingest refuses a pair. Those before it stay taken: it can go on with another one, or be aborted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IngestError {
    /// Keys must ascend.
    #[error("pair {position} of an ingest has the key {key:02x?}, which is not above the one before, {before:02x?}")]
    Unsorted {
        /// Which pair of the stream, from 0.
        position: u64,
        /// The key of the pair before.
        before: Vec<u8>,
        /// Its own key.
        key: Vec<u8>,
    },
    /// A pair is longer than the tree takes.
    #[error("pair {position} of an ingest has a key of {key_size} bytes and a value of {value_size}: too long")]
    TooLong {
        /// Which pair of the stream, from 0.
        position: u64,
        /// Bytes of its key.
        key_size: usize,
        /// Bytes of its value.
        value_size: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Pairs are taken.
    Taking,
    /// No more pairs come; the last table is written.
    Ending,
    /// The names of its tables are flushed.
    Naming,
    /// Its tables are whole and wait for their manifest.
    Whole,
    /// Its manifest is written.
    Installing,
    /// It goes away as soon as nothing of it is on the disk.
    Aborting,
}

/// An ingest that is under way.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) version: Version,
    stage: Stage,
    /// The flush of the names is on the disk.
    naming: bool,
    writer: Option<TableWriter>,
    /// The writer got its last pair.
    ended: bool,
    finished: Vec<Table>,
    /// Pairs taken so far, and the key of the last one.
    position: u64,
    last_key: Vec<u8>,
}

impl Ingest {
    fn new(version: Version) -> Self {
        let (finished, last_key) = (Vec::new(), Vec::new());
        Self {
            version,
            stage: Stage::Taking,
            naming: false,
            writer: None,
            ended: false,
            finished,
            position: 0,
            last_key,
        }
    }

    /// Whether a request of it is on the disk.
    pub(crate) fn is_waiting(&self) -> bool {
        self.naming || self.writer.as_ref().is_some_and(TableWriter::is_waiting)
    }

    /// Takes a success of one of its requests.
    pub(crate) fn complete(&mut self, tag: u32, reply: DiskReply, options: &TreeOptions, disk: &mut dyn Disk) {
        match tag - TAG_JOB_INGEST {
            TAG_WRITER => {
                self.writer.as_mut().expect("invariant: a table is written").complete(reply, options, disk);
            }
            _ => {
                self.naming = false;
                if self.stage == Stage::Naming {
                    self.stage = Stage::Whole;
                }
            }
        }
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), IngestError> {
        let position = self.position;
        if position > 0 && *key <= self.last_key[..] {
            return Err(IngestError::Unsorted { position, before: self.last_key.clone(), key: key.to_vec() });
        }
        if key.len() > KEY_SIZE_MAX || value.len() > VALUE_SIZE_MAX {
            return Err(IngestError::TooLong { position, key_size: key.len(), value_size: value.len() });
        }
        Ok(())
    }

    /// Gives pairs to the writer until the budget is used up or the table is large enough; how many it took.
    fn fill<'p>(
        &mut self,
        writer: &mut TableWriter,
        pairs: &mut dyn Iterator<Item = (&'p [u8], &'p [u8])>,
        budget: Budget,
        options: &TreeOptions,
    ) -> Result<usize, IngestError> {
        let (mut count, mut size) = (0, 0);
        while count < budget.entry_count && size < budget.size && writer.size() < options.table_size_max {
            let Some((key, value)) = pairs.next() else { break };
            self.check(key, value)?;
            writer.add(key, self.version, Some(value), options);
            self.position += 1;
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
            count += 1;
            size += key.len() + value.len();
        }
        Ok(count)
    }

    /// A slice of what follows the last pair of a table; true if there is more of it.
    fn finish_table(&mut self, options: &TreeOptions, disk: &mut dyn Disk) -> bool {
        let writer = self.writer.as_mut().filter(|_| self.ended);
        writer.is_some_and(|writer| writer.finish(FILTER_KEYS_PER_SLICE, options, disk))
    }

    /// No more pairs go into the table.
    fn end_table(&mut self, options: &TreeOptions, disk: &mut dyn Disk) {
        if let Some(writer) = self.writer.as_mut().filter(|writer| !self.ended && writer.has_room(options)) {
            writer.end(&[], Vec::new(), options, disk);
            self.ended = true;
        }
    }
}

impl Tree {
    /// Begins to ingest pairs at a version, which counts as applied from now on.
    ///
    /// # Panics
    /// If versions do not ascend, or an ingest is under way.
    pub fn begin_ingest(&mut self, version: Version) {
        assert!(version > self.applied, "versions ascend");
        assert!(self.ingest.is_none(), "one ingest at a time");
        self.seal();
        self.applied = version;
        self.ingest = Some(Box::new(Ingest::new(version)));
    }

    /// Takes the next pairs of the ingest, whose keys ascend over all calls; returns how many it took. It stops at the budget,
    /// at the end of a table, and while writes are out: give it the rest after the next completion or step. It takes none
    /// when background work has [halted](Tree::halted).
    ///
    /// # Errors
    /// [`IngestError`] names the pair that is refused. How many were taken before it is its position.
    ///
    /// # Panics
    /// If no ingest takes pairs.
    pub fn ingest<'p>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
        budget: Budget,
        disk: &mut dyn Disk,
    ) -> Result<usize, IngestError> {
        let ingest = self.ingest.as_mut().filter(|ingest| ingest.stage == Stage::Taking);
        let ingest = ingest.expect("an ingest was begun, and neither ended nor aborted");
        if self.halted.is_some() || ingest.ended {
            ingest.finish_table(&self.options, disk);
            return Ok(0);
        }
        let Some(mut writer) = ingest.writer.take() else {
            let token = Token { owner: self.owner, tag: TAG_JOB_INGEST + TAG_WRITER };
            ingest.writer = Some(TableWriter::new(&self.dir, self.identity, self.next_table, token, disk));
            self.next_table += 1;
            return Ok(0);
        };
        let mut taken = Ok(0);
        if writer.has_room(&self.options) {
            taken = ingest.fill(&mut writer, &mut pairs.into_iter(), budget, &self.options);
            writer.pump(&self.options, disk);
        }
        let large = writer.size() >= self.options.table_size_max;
        ingest.writer = Some(writer);
        if large {
            ingest.end_table(&self.options, disk);
        }
        taken
    }

    /// No more pairs come: the next steps write what is left and let the tables in, all at once.
    ///
    /// # Panics
    /// If no ingest takes pairs.
    pub fn end_ingest(&mut self) {
        let ingest = self.ingest.as_mut().filter(|ingest| ingest.stage == Stage::Taking);
        ingest.expect("an ingest was begun, and neither ended nor aborted").stage = Stage::Ending;
    }

    /// Gives the ingest up: the next steps remove its files. False if it is too late for that, or there is none.
    pub fn abort_ingest(&mut self) -> bool {
        let ingest = self.ingest.as_mut().filter(|ingest| ingest.stage != Stage::Installing);
        ingest.is_some_and(|ingest| {
            ingest.stage = Stage::Aborting;
            true
        })
    }

    /// Whether an ingest is under way: its pairs are not seen yet.
    pub fn is_ingesting(&self) -> bool {
        self.ingest.is_some()
    }

    /// One step of the ingest; true if there is more to do at once.
    pub(crate) fn step_ingest(&mut self, disk: &mut dyn Disk) -> bool {
        let Some(ingest) = &mut self.ingest else { return false };
        if ingest.finish_table(&self.options, disk) {
            return true;
        }
        if let Some(writer) = ingest.writer.take_if(|writer| writer.is_done()) {
            ingest.ended = false;
            ingest.finished.push(writer.into_table(&self.dir));
        }
        match ingest.stage {
            Stage::Taking | Stage::Naming | Stage::Installing => {}
            Stage::Ending if ingest.writer.is_some() => ingest.end_table(&self.options, disk),
            Stage::Ending => {
                ingest.stage = Stage::Naming;
                ingest.naming = true;
                let token = Token { owner: self.owner, tag: TAG_JOB_INGEST + TAG_DIR };
                disk.submit(token, DiskOp::SyncDir { path: self.dir.clone() });
            }
            Stage::Whole => {
                let is_first = self.frozen.front().is_none_or(|frozen| frozen.version > ingest.version);
                if is_first && self.may_install() {
                    self.install_ingest(disk);
                    return true;
                }
            }
            Stage::Aborting => self.remove_ingest(disk),
        }
        false
    }

    fn install_ingest(&mut self, disk: &mut dyn Disk) {
        let Some(ingest) = &mut self.ingest else { return };
        ingest.stage = Stage::Installing;
        let version = ingest.version;
        // A table that was begun and got no pair has no blocks.
        let (tables, empty): (Vec<_>, Vec<_>) =
            std::mem::take(&mut ingest.finished).into_iter().partition(|table| !table.meta.index.is_empty());
        empty.iter().for_each(|table| self.discard(table, disk));
        self.begin_install(JobOutput::ingested(version, tables.into_iter().map(Rc::new).collect()), disk);
    }

    /// Removes the files of an ingest that was given up, once nothing of it is on the disk.
    fn remove_ingest(&mut self, disk: &mut dyn Disk) {
        let Some(ingest) = self.ingest.take_if(|ingest| !ingest.is_waiting()) else { return };
        ingest.finished.iter().for_each(|table| self.discard(table, disk));
        if let Some((file, path)) = ingest.writer.and_then(|writer| writer.into_file(&self.dir)) {
            self.discard_file(file, path, disk);
        }
    }

    /// Closes the files of an ingest that a close cuts short; the next open removes them.
    pub(crate) fn ingest_files(&self) -> Vec<FileId> {
        self.ingest.iter().flat_map(|ingest| &ingest.finished).map(|table| table.file).collect()
    }
}
