//! Ordered reads from the last key to the first.
//!
//! Revisions of a key stand newest first, so a run meets them from the oldest on. A source therefore gathers a key whole: it
//! goes back over all its revisions and keeps the newest one that the reader sees.

use super::ordered::{self, Direction, Ordered};
use super::{Scan, Visit};
use crate::block::{Block, Entry};
use crate::cache::BlockCache;
use crate::error::{BlockId, Stop};
use crate::fetch::Heading;
use crate::memtable::{BackWalk, Memtable, Revision};
use crate::table::Table;
use crate::tree::Tree;
use std::rc::Rc;
use tantu_base::id::Version;

/// One sorted source of a scan.
enum Source<'a> {
    Memory(MemorySource<'a>),
    Run(RunSource<'a>),
}

/// One memtable of a scan.
struct MemorySource<'a> {
    memtable: &'a Memtable,
    walk: BackWalk,
    from: &'a [u8],
    at: Version,
    key: &'a [u8],
    revision: Revision<'a>,
}

impl<'a> MemorySource<'a> {
    /// Stands at the last key in `[from, to)` that the reader sees, if there is one.
    fn last(memtable: &'a Memtable, scan: &Scan<'a>) -> Option<Self> {
        let (key, revision) = (&[][..], Revision { version: Version(0), value: None });
        let mut source = Self { memtable, walk: BackWalk::default(), from: scan.from, at: scan.at, key, revision };
        source.walk.seek_before(memtable, scan.to);
        source.stand().then_some(source)
    }

    /// Stands at the last key up to here that the reader sees.
    fn stand(&mut self) -> bool {
        while let Some(key) = self.walk.key(self.memtable).filter(|key| *key >= self.from) {
            if let Some(revision) = self.walk.revision(self.memtable, self.at) {
                (self.key, self.revision) = (key, revision);
                return true;
            }
            self.walk.prev(self.memtable);
        }
        false
    }
}

/// One run of a scan.
struct RunSource<'a> {
    scan: Scan<'a>,
    tables: &'a [Rc<Table>],
    /// How many blocks it has come through.
    passed: usize,
    /// Where the entry before it stands: of a table, of a block, one past it in the block.
    table: usize,
    block_at: usize,
    block: &'a Block,
    entry: usize,
    /// Whether a key may be met again in this block.
    may_repeat: bool,
    /// The key it stands at, and what the reader sees of it.
    key: Vec<u8>,
    revision: Revision<'a>,
}

impl<'a> RunSource<'a> {
    /// Behind the last entry whose key is below the scan's end; none if the run has nothing for the scan.
    fn behind(tables: &'a [Rc<Table>], prefix: Option<u64>, scan: &Scan<'a>) -> Result<Option<Self>, BlockId> {
        let Scan { tree, cache, from, to, .. } = *scan;
        let mut table = tables.partition_point(|table| table.meta.last_key[..] < *to);
        let mut block_count = tables.get(table).map_or(0, |table| table.count_before(to));
        while block_count == 0 || tree.lacks_prefix(&tables[table], prefix) {
            if table == 0 || tables[table - 1].meta.last_key[..] < *from {
                return Ok(None);
            }
            table -= 1;
            block_count = tables[table].meta.index.len();
        }
        let block_at = block_count - 1;
        let missing = BlockId { table: tables[table].number, block: block_at as u32 };
        let block = tree.look(cache, &tables[table], block_at).ok_or(missing)?;
        let entry = block.seek(to, Version(u64::MAX));
        let (key, revision) = (Vec::new(), Revision { version: Version(0), value: None });
        let may_repeat = block.may_repeat_keys();
        Ok(Some(Self { scan: *scan, tables, passed: 1, table, block_at, block, entry, may_repeat, key, revision }))
    }

    /// Comes to the block of the entry before; false before the first.
    fn find_block(&mut self) -> Result<bool, Stop> {
        let Scan { tree, cache, from, .. } = self.scan;
        while self.entry == 0 {
            let (mut table, mut block_count) = (self.table, self.block_at);
            while block_count == 0 {
                let Some(before) = table.checked_sub(1) else { return Ok(false) };
                table = before;
                block_count = self.tables[table].meta.index.len();
            }
            let (current, block_at) = (&self.tables[table], block_count - 1);
            let Some(block) = tree.pass(cache, current, block_at) else {
                return Err(tree.stop_ahead(cache, current, block_at, self.passed, Heading::Down(from)));
            };
            self.passed += 1;
            (self.table, self.block_at, self.block, self.entry) = (table, block_at, block, block.count());
            self.may_repeat = block.may_repeat_keys();
        }
        Ok(true)
    }

    /// Moves to the key before of which the reader sees a revision; false before the first of the scan.
    fn advance(&mut self) -> Result<bool, Stop> {
        while self.find_block()? {
            self.entry -= 1;
            let oldest = self.block.entry(self.entry);
            self.key.clear();
            self.key.extend_from_slice(self.block.prefix());
            self.key.extend_from_slice(oldest.suffix);
            if self.key[..] < *self.scan.from {
                return Ok(false);
            }
            let seen = self.visible(&oldest);
            let newer = if self.may_repeat || self.entry == 0 { self.gather()? } else { None };
            if let Some(revision) = newer.or(seen) {
                self.revision = revision;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn visible(&self, entry: &Entry<'a>) -> Option<Revision<'a>> {
        let revision = Revision { version: entry.version, value: entry.value };
        (entry.version <= self.scan.at).then_some(revision)
    }

    /// Goes back over the newer revisions of its key, to the newest that the reader sees.
    fn gather(&mut self) -> Result<Option<Revision<'a>>, Stop> {
        let mut seen = None;
        while (self.entry > 0 || self.goes_on_before()) && self.find_block()? {
            let rest = self.key.strip_prefix(self.block.prefix());
            while let Some(before) = self.entry.checked_sub(1) {
                let entry = self.block.entry(before);
                if rest != Some(entry.suffix) {
                    return Ok(seen);
                }
                seen = self.visible(&entry).or(seen);
                self.entry = before;
            }
        }
        Ok(seen)
    }

    /// Whether the key it gathers, with which this block begins, may have newer revisions before it.
    fn goes_on_before(&self) -> bool {
        let before = self.table.checked_sub(1).map(|before| &self.tables[before].meta.last_key);
        self.block_at > 0 || before == Some(&self.key)
    }
}

impl<'a> ordered::Source<'a> for Source<'a> {
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory(memory) => memory.key,
            Source::Run(run) => &run.key,
        }
    }

    fn revision(&self) -> Revision<'a> {
        match self {
            Source::Memory(memory) => memory.revision,
            Source::Run(run) => run.revision,
        }
    }

    fn advance(&mut self) -> Result<bool, Stop> {
        match self {
            Source::Memory(memory) => {
                memory.walk.prev(memory.memtable);
                Ok(memory.stand())
            }
            Source::Run(run) => run.advance(),
        }
    }
}

impl Tree {
    /// Visits keys in `[from, to)` from the last to the first, at a version, until the visitor breaks. To go on after a
    /// [`Stop`] or a break, read again up to the last key that was seen.
    ///
    /// # Errors
    /// [`Stop`]: blocks are needed (the visitor has seen the end of the range), or one is damaged.
    pub fn scan_back(
        &self,
        cache: &BlockCache,
        from: &[u8],
        to: &[u8],
        at: Version,
        visit: Visit<'_>,
    ) -> Result<(), Stop> {
        if from >= to {
            return Ok(());
        }
        let scan = Scan { tree: self, cache, from, to, at };
        let runs = scan.runs(RunSource::behind, |run| (run.table, run.block_at))?;
        let memory = self.memtables().filter_map(|memtable| MemorySource::last(memtable, &scan));
        let mut sources: Vec<Source<'_>> = memory.map(Source::Memory).collect();
        for mut run in runs {
            if run.advance()? {
                sources.push(Source::Run(run));
            }
        }
        Ordered::new(sources, Direction::Down, from, to).visit(&self.range_deletes(from, to, at), visit)
    }
}
