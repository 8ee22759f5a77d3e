//! Merging sorted runs while their blocks are read ahead, and dropping what nobody can see any more.

use crate::block::Block;
use crate::error::Corruption;
use crate::memtable::RangeDelete;
use crate::option::TreeOptions;
use crate::table::Table;
use std::rc::Rc;
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskOp, Token};
use tantu_base::id::Version;

/// Reads the tables of one run from front to back.
#[derive(Debug)]
pub(crate) struct RunCursor {
    tables: Vec<Rc<Table>>,
    table: usize,
    /// The next block of the table that is not in `ahead`.
    next_block: usize,
    ahead: std::collections::VecDeque<Block>,
    entry: usize,
    /// The key of the entry it stands at.
    key: Vec<u8>,
    reading: bool,
}

/// A revision of a key on its way through a merge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) version: Version,
    pub(crate) value: Option<&'a [u8]>,
}

/// Where a cursor stands.
pub(crate) enum At<'a> {
    /// On this entry.
    Entry(Item<'a>),
    /// Blocks are being read.
    Waiting,
    /// Behind the last entry.
    End,
}

impl RunCursor {
    pub(crate) fn new(tables: Vec<Rc<Table>>) -> Self {
        Self { tables, table: 0, next_block: 0, ahead: Default::default(), entry: 0, key: Vec::new(), reading: false }
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    pub(crate) fn at(&self) -> At<'_> {
        match self.ahead.front() {
            Some(block) => {
                let entry = block.entry(self.entry);
                At::Entry(Item { key: &self.key, version: entry.version, value: entry.value })
            }
            None if self.table >= self.tables.len() => At::End,
            None => At::Waiting,
        }
    }

    pub(crate) fn advance(&mut self) {
        self.entry += 1;
        if self.ahead.front().is_some_and(|block| self.entry >= block.count()) {
            self.ahead.pop_front();
            self.entry = 0;
            self.skip_finished();
        }
        self.read_key();
    }

    fn read_key(&mut self) {
        if let Some(block) = self.ahead.front() {
            self.key.clear();
            self.key.extend_from_slice(block.prefix());
            self.key.extend_from_slice(block.entry(self.entry).suffix);
        }
    }

    fn skip_finished(&mut self) {
        while self.ahead.is_empty()
            && !self.reading
            && self.tables.get(self.table).is_some_and(|t| self.next_block >= t.meta.index.len())
        {
            self.table += 1;
            self.next_block = 0;
        }
    }

    /// Starts a read if none is out and little is ahead.
    pub(crate) fn read_ahead(&mut self, token: Token, options: &TreeOptions, disk: &mut dyn Disk) {
        self.skip_finished();
        if self.reading || self.ahead.len() > 4 {
            return;
        }
        let Some(table) = self.tables.get(self.table) else { return };
        let Some(first) = table.meta.index.get(self.next_block) else { return };
        let blocks = table.meta.index[self.next_block..].iter();
        let mut size = 0;
        for block in blocks {
            if size > 0 && size + block.size as usize > options.read_ahead_size {
                break;
            }
            size += block.size as usize;
        }
        self.reading = true;
        disk.submit(token, DiskOp::Read { file: table.file, offset: first.offset, buf: Buf::zeroed(size) });
    }

    /// Takes the bytes of a read.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Corruption> {
        self.reading = false;
        let was_empty = self.ahead.is_empty();
        let table = Rc::clone(&self.tables[self.table]);
        let mut at = 0;
        while at < bytes.len() {
            let entry = &table.meta.index[self.next_block];
            let end = at + entry.size as usize;
            let bytes = bytes.get(at..end).ok_or_else(|| table.corrupt(entry.offset, "a block is cut short"))?;
            self.ahead.push_back(table.check(entry, bytes)?);
            self.next_block += 1;
            at = end;
        }
        if was_empty {
            self.read_key();
        }
        self.skip_finished();
        Ok(())
    }
}

/// Decides, revision by revision of a key (newest first), which a merge keeps.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    key: Vec<u8>,
    any: bool,
    /// A revision at or below the floor was met: older ones are out of sight.
    below: bool,
}

impl Keeper {
    /// Whether it decided about a revision of this key last.
    pub(crate) fn is_at(&self, key: &[u8]) -> bool {
        self.any && self.key == key
    }

    /// Whether the revision stays. `bottom`: nothing older lies below the merge.
    pub(crate) fn keeps(&mut self, entry: &Item<'_>, floor: Version, ranges: &[RangeDelete], bottom: bool) -> bool {
        if !self.any || self.key != entry.key {
            self.any = true;
            self.below = false;
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
        if self.below {
            return false;
        }
        let hidden =
            crate::memtable::hidden_at(ranges, entry.key, floor).is_some_and(|version| version >= entry.version);
        if entry.version <= floor {
            self.below = true;
            return !hidden && (entry.value.is_some() || !bottom);
        }
        true
    }
}
