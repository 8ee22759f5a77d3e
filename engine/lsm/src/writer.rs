//! Writing one table: blocks gather into large sequential writes, several of which may be out.

use crate::block::BlockBuilder;
use crate::memtable::RangeDelete;
use crate::option::TreeOptions;
use crate::table::{Filter, IndexEntry, Table, TableMeta, encode_end, place, table_path};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskOp, DiskReply, FileId, OpenMode, Token};
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Opening,
    Filling,
    /// The last entry is handed in; the filter is being made.
    Summing,
    /// Everything is handed in; writes are out.
    Ending,
    Syncing,
    Done,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TableWriter {
    number: u64,
    identity: u64,
    stage: Stage,
    file: Option<FileId>,
    token: Token,
    block: BlockBuilder,
    gathered: Buf,
    gathered_at: u64,
    waiting: VecDeque<(u64, Buf)>,
    /// Buffers that were written: new ones cost the kernel a fault per page.
    spares: Vec<Buf>,
    in_flight: usize,
    meta: TableMeta,
    hashes: Vec<u64>,
    /// How many of them are in the filter.
    summed: usize,
    /// The last prefix added.
    prefix: Vec<u8>,
    size: u64,
}

impl TableWriter {
    pub(crate) fn new(dir: &Path, identity: u64, number: u64, token: Token, disk: &mut dyn Disk) -> Self {
        disk.submit(token, DiskOp::Open { path: table_path(dir, number), mode: OpenMode::Create });
        Self {
            number,
            identity,
            stage: Stage::Opening,
            file: None,
            token,
            block: BlockBuilder::default(),
            gathered: Buf::with_capacity(0),
            gathered_at: 0,
            waiting: VecDeque::new(),
            spares: Vec::new(),
            in_flight: 0,
            meta: TableMeta::default(),
            hashes: Vec::new(),
            summed: 0,
            prefix: Vec::new(),
            size: 0,
        }
    }

    /// Bytes of blocks so far.
    pub(crate) fn size(&self) -> u64 {
        self.size + self.block.size() as u64
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The last key added.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.meta.last_key
    }

    /// Whether more entries may be added now.
    pub(crate) fn has_room(&self, options: &TreeOptions) -> bool {
        self.stage == Stage::Filling && self.waiting.len() + self.in_flight < options.writes_in_flight_max
    }

    /// Whether a request of it is on the disk.
    pub(crate) fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Opening | Stage::Syncing => true,
            Stage::Filling | Stage::Summing | Stage::Ending => self.in_flight > 0,
            Stage::Done => false,
        }
    }

    pub(crate) fn add(&mut self, key: &[u8], version: Version, value: Option<&[u8]>, options: &TreeOptions) {
        if self.meta.last_key != key || self.meta.entry_count == 0 {
            if let Some(prefix) = options.prefix.and_then(|rule| rule.prefix(key)) {
                self.add_prefix(prefix, key);
            }
            self.hashes.push(Filter::hash(key));
            self.meta.last_key.clear();
            self.meta.last_key.extend_from_slice(key);
        }
        let hash = self.hashes.last().copied().unwrap_or_default();
        if !self.block.add(key, hash, version, value, options.block_size) {
            self.end_block(options);
            assert!(self.block.add(key, hash, version, value, options.block_size), "an empty block takes any entry");
        }
        self.meta.entry_count += 1;
    }

    /// Keys of one prefix stand together: the last one is all there is to compare with.
    fn add_prefix(&mut self, prefix: &[u8], key: &[u8]) {
        if self.prefix != prefix || self.hashes.is_empty() {
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            if prefix != key {
                self.hashes.push(Filter::hash(prefix));
            }
        }
    }

    fn end_block(&mut self, options: &TreeOptions) {
        let offset = self.gathered_at + self.gathered.len() as u64;
        let first_key = self.block.first_key().to_vec();
        if self.gathered.is_empty() {
            // In one piece: a write grown by doubling would be copied several times.
            let size = options.write_size.max(self.block.size()) + BLOCK_ALIGN;
            self.gathered = self.spares.pop().unwrap_or_else(|| Buf::with_capacity(size));
        }
        let size =
            self.block.finish(&place(self.identity, self.number, offset), options.compression, &mut self.gathered);
        self.meta.index.push(IndexEntry { first_key, offset, size });
        self.size = offset + u64::from(size);
        if self.gathered.len() >= options.write_size {
            self.end_write();
        }
    }

    fn end_write(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let buf = std::mem::replace(&mut self.gathered, Buf::with_capacity(0));
        let len = buf.len() as u64;
        self.waiting.push_back((self.gathered_at, buf));
        self.gathered_at += len;
    }

    /// No more entries: writes what is left. `before` is the last key of the run's table before this one. What follows is done
    /// by [`TableWriter::finish`].
    pub(crate) fn end(&mut self, before: &[u8], ranges: Vec<RangeDelete>, options: &TreeOptions, disk: &mut dyn Disk) {
        assert_eq!(self.stage, Stage::Filling, "a table ends once");
        if self.meta.entry_count == 0 {
            self.meta.last_key = before.to_vec();
        }
        if !self.block.is_empty() {
            self.end_block(options);
        }
        self.end_write();
        self.meta.ranges = ranges;
        self.meta.prefix = options.prefix;
        self.meta.filter = Filter::for_count(self.hashes.len());
        self.stage = Stage::Summing;
        self.pump(options, disk);
    }

    /// After the last entry: a slice of so many keys of the filter; then the index and the footer are written, and all of it
    /// flushed. True if there is more to do at once.
    pub(crate) fn finish(&mut self, key_count: usize, options: &TreeOptions, disk: &mut dyn Disk) -> bool {
        if self.stage != Stage::Summing {
            return false;
        }
        let end = self.hashes.len().min(self.summed + key_count);
        self.hashes[self.summed..end].iter().for_each(|hash| self.meta.filter.add(*hash));
        self.summed = end;
        if end < self.hashes.len() {
            return true;
        }
        self.hashes = Vec::new();
        self.waiting
            .push_back((self.gathered_at, encode_end(&self.meta, self.identity, self.number, self.gathered_at)));
        self.stage = Stage::Ending;
        self.pump(options, disk);
        false
    }

    /// Starts writes.
    pub(crate) fn pump(&mut self, options: &TreeOptions, disk: &mut dyn Disk) {
        let Some(file) = self.file else { return };
        while self.in_flight < options.writes_in_flight_max {
            let Some((offset, buf)) = self.waiting.pop_front() else { break };
            self.size = self.size.max(offset + buf.len() as u64);
            self.in_flight += 1;
            disk.submit(self.token, DiskOp::Write { file, offset, buf, durable: false });
        }
        if self.stage == Stage::Ending && self.in_flight == 0 && self.waiting.is_empty() {
            self.stage = Stage::Syncing;
            disk.submit(self.token, DiskOp::Sync { file });
        }
    }

    /// Takes a success of one of its requests.
    pub(crate) fn complete(&mut self, reply: DiskReply, options: &TreeOptions, disk: &mut dyn Disk) {
        match (self.stage, reply) {
            (Stage::Opening, DiskReply::Opened { file, .. }) => {
                self.file = Some(file);
                self.stage = Stage::Filling;
            }
            (Stage::Filling | Stage::Summing | Stage::Ending, DiskReply::Written(mut buf)) => {
                self.in_flight -= 1;
                buf.clear();
                self.spares.push(buf);
                self.pump(options, disk);
            }
            (Stage::Syncing, DiskReply::Done) => self.stage = Stage::Done,
            (stage, reply) => unreachable!("a table that is {stage:?} cannot take {reply:?}"),
        }
    }

    /// Its file, if it was opened, for a table that is given up.
    pub(crate) fn into_file(self, dir: &Path) -> Option<(FileId, PathBuf)> {
        Some((self.file?, table_path(dir, self.number)))
    }

    /// The finished table, open.
    pub(crate) fn into_table(self, dir: &Path) -> Table {
        assert!(self.is_done(), "only a flushed table is used");
        let file = self.file.expect("invariant: a finished table was opened");
        Table::new(table_path(dir, self.number), file, self.identity, self.number, self.size, self.meta)
    }
}
