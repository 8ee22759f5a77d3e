//! Merging sorted runs while their blocks are read ahead, and dropping what nobody can see any more.

use crate::block::Block;
use crate::error::Corruption;
use crate::memtable::RangeDelete;
use crate::option::TreeOptions;
use crate::table::Table;
use std::collections::VecDeque;
use std::rc::Rc;
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskOp, Token};
use tantu_base::id::Version;

/// Reads the tables of one run from front to back. Bytes are read far ahead; each block is checked when the cursor comes to it,
/// so that no slice pays for many.
#[derive(Debug)]
pub(crate) struct RunCursor {
    tables: Vec<Rc<Table>>,
    /// Of the block that is checked next: its table, its place in it.
    table: usize,
    block_at: usize,
    /// Bytes that were read and not checked: buffers of whole blocks, and where the first block starts.
    ahead: VecDeque<(Buf, usize)>,
    /// One that was used up: a new one costs the kernel a fault per page.
    spare: Option<Buf>,
    /// Of the block that is read next.
    read_table: usize,
    read_block: usize,
    reading: bool,
    block: Option<Block>,
    entry: usize,
    /// The key of the entry it stands at.
    key: Vec<u8>,
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
        let mut cursor = Self {
            tables,
            table: 0,
            block_at: 0,
            ahead: VecDeque::new(),
            spare: None,
            read_table: 0,
            read_block: 0,
            reading: false,
            block: None,
            entry: 0,
            key: Vec::new(),
        };
        skip_finished(&cursor.tables, &mut cursor.table, &mut cursor.block_at);
        skip_finished(&cursor.tables, &mut cursor.read_table, &mut cursor.read_block);
        cursor
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    #[inline]
    pub(crate) fn at(&self) -> At<'_> {
        match &self.block {
            Some(block) => {
                let entry = block.entry(self.entry);
                At::Entry(Item { key: &self.key, version: entry.version, value: entry.value })
            }
            None if self.table >= self.tables.len() => At::End,
            None => At::Waiting,
        }
    }

    /// Moves to the next entry.
    pub(crate) fn advance(&mut self) -> Result<(), Corruption> {
        self.entry += 1;
        if self.block.as_ref().is_some_and(|block| self.entry >= block.count()) {
            self.block = None;
            self.next_block()?;
        } else {
            self.read_key();
        }
        Ok(())
    }

    /// Checks the next block, if it was read.
    fn next_block(&mut self) -> Result<(), Corruption> {
        let Some((buf, at)) = self.ahead.front_mut() else { return Ok(()) };
        let table = &self.tables[self.table];
        let entry = &table.meta.index[self.block_at];
        let end = *at + entry.size as usize;
        let bytes = buf.get(*at..end).ok_or_else(|| table.corrupt(entry.offset, "a block is cut short"))?;
        self.block = Some(table.check(entry, bytes)?);
        self.entry = 0;
        *at = end;
        if end == buf.len() {
            self.spare = self.ahead.pop_front().map(|(buf, _)| buf);
        }
        self.block_at += 1;
        skip_finished(&self.tables, &mut self.table, &mut self.block_at);
        self.read_key();
        Ok(())
    }

    fn read_key(&mut self) {
        if let Some(block) = &self.block {
            self.key.clear();
            self.key.extend_from_slice(block.prefix());
            self.key.extend_from_slice(block.entry(self.entry).suffix);
        }
    }

    /// Starts a read if none is out and little is ahead.
    pub(crate) fn read_ahead(&mut self, token: Token, options: &TreeOptions, disk: &mut dyn Disk) {
        if self.reading || self.ahead.len() > 1 {
            return;
        }
        let Some(table) = self.tables.get(self.read_table) else { return };
        let (offset, mut size) = (table.meta.index[self.read_block].offset, 0);
        let blocks = table.meta.index[self.read_block..].iter();
        for block in blocks {
            if size > 0 && size + block.size as usize > options.read_ahead_size {
                break;
            }
            size += block.size as usize;
            self.read_block += 1;
        }
        self.reading = true;
        let buf = match self.spare.take() {
            Some(mut buf) => {
                buf.resize(size);
                buf
            }
            None => Buf::zeroed(size),
        };
        disk.submit(token, DiskOp::Read { file: table.file, offset, buf });
        skip_finished(&self.tables, &mut self.read_table, &mut self.read_block);
    }

    /// Takes the bytes of a read.
    pub(crate) fn take(&mut self, mut buf: Buf, len: usize) -> Result<(), Corruption> {
        self.reading = false;
        buf.resize(len.min(buf.len()));
        self.ahead.push_back((buf, 0));
        if self.block.is_none() { self.next_block() } else { Ok(()) }
    }
}

/// From behind a table's last block to the next table that has one.
fn skip_finished(tables: &[Rc<Table>], table: &mut usize, block: &mut usize) {
    while tables.get(*table).is_some_and(|table| *block >= table.meta.index.len()) {
        *table += 1;
        *block = 0;
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
            crate::memtable::hidden_at(ranges, entry.key, floor).is_some_and(|version| version > entry.version);
        if entry.version <= floor {
            self.below = true;
            return !hidden && (entry.value.is_some() || !bottom);
        }
        true
    }
}
