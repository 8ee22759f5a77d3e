//! Ordered reads over everything a tree holds, at one version.
//!
//! A source steps from key to key, past every revision but the newest one that the reader sees; so what a scan does with its
//! sources is the same both ways, and with a single source it is next to nothing.

mod ordered;
mod reverse;

use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::{BlockId, Need, Stop};
use crate::fetch::Heading;
use crate::memtable::{Memtable, Revision, Walk};
use crate::table::Table;
use crate::tree::Tree;
use ordered::{Direction, Ordered};
use std::ops::ControlFlow;
use std::rc::Rc;
use tantu_base::id::Version;

/// Sees keys with their values, in order, until it breaks.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What a scan reads.
#[derive(Clone, Copy)]
struct Scan<'a> {
    tree: &'a Tree,
    cache: &'a BlockCache,
    from: &'a [u8],
    to: &'a [u8],
    at: Version,
}

/// One sorted source of a scan.
enum Source<'a> {
    Memory(MemorySource<'a>),
    Run(RunSource<'a>),
}

/// One memtable of a scan.
struct MemorySource<'a> {
    memtable: &'a Memtable,
    walk: Walk,
    to: &'a [u8],
    at: Version,
    key: &'a [u8],
    revision: Revision<'a>,
}

impl<'a> MemorySource<'a> {
    /// Stands at the first key in `[from, to)` that the reader sees, if there is one.
    fn first(memtable: &'a Memtable, scan: &Scan<'a>) -> Option<Self> {
        let (key, revision) = (&[][..], Revision { version: Version(0), value: None });
        let mut source = Self { memtable, walk: Walk::default(), to: scan.to, at: scan.at, key, revision };
        source.walk.seek(memtable, scan.from);
        source.stand().then_some(source)
    }

    /// Stands at the first key from here on that the reader sees.
    #[inline]
    fn stand(&mut self) -> bool {
        while let Some(key) = self.walk.key(self.memtable).filter(|key| *key < self.to) {
            if let Some(revision) = self.walk.revision(self.memtable, self.at) {
                (self.key, self.revision) = (key, revision);
                return true;
            }
            self.walk.next(self.memtable);
        }
        false
    }
}

/// One run of a scan.
struct RunSource<'a> {
    scan: Scan<'a>,
    tables: &'a [Rc<Table>],
    table: usize,
    block_at: usize,
    /// How many blocks it has come through.
    passed: usize,
    block: &'a Block,
    /// Table and block of the next block; none if that begins at or behind the scan's end.
    following: Option<(usize, usize)>,
    /// Where in the block the next entry begins.
    next: usize,
    /// Whether the key may be met again in this block.
    may_repeat: bool,
    /// The key it stands at, if it does; else it begins with what all keys of the block do.
    key: Vec<u8>,
    stands: bool,
    revision: Revision<'a>,
}

impl<'a> RunSource<'a> {
    /// In front of the first entry at or behind the scan's beginning; none if the run has nothing for the scan.
    fn in_front(tables: &'a [Rc<Table>], prefix: Option<u64>, scan: &Scan<'a>) -> Result<Option<Self>, BlockId> {
        let Scan { tree, cache, from, to, .. } = *scan;
        let mut table = tables.partition_point(|table| table.meta.last_key[..] < *from);
        while tables.get(table).is_some_and(|table| tree.lacks_prefix(table, prefix) && table.begins_before(to)) {
            table += 1;
        }
        let Some(current) = tables.get(table).filter(|table| !table.meta.index.is_empty()) else { return Ok(None) };
        let block_at = current.block_of(from);
        if current.meta.index[block_at].first_key[..] >= *to {
            return Ok(None);
        }
        let missing = BlockId { table: current.number, block: block_at as u32 };
        let block = tree.look(cache, current, block_at).ok_or(missing)?;
        let mut source = Self {
            scan: *scan,
            tables,
            table,
            block_at,
            passed: 1,
            block,
            following: None,
            next: 0,
            may_repeat: false,
            key: Vec::new(),
            stands: false,
            revision: Revision { version: Version(0), value: None },
        };
        source.enter(table, block_at, block);
        source.next = block.place_of(block.seek(from, Version(u64::MAX)));
        Ok(Some(source))
    }

    /// Comes into a block, past what it holds of the key it stood at.
    fn enter(&mut self, table: usize, block_at: usize, block: &'a Block) {
        (self.table, self.block_at, self.block) = (table, block_at, block);
        self.following = self.following();
        if let Some((table, block_at)) = self.following
            && let Some(next) = self.scan.tree.look(self.scan.cache, &self.tables[table], block_at)
        {
            next.prefetch();
        }
        self.may_repeat = block.may_repeat_keys();
        self.next = block.place_of(0);
        let prefix = block.prefix();
        if self.stands {
            let rest = self.key.strip_prefix(prefix);
            while let Some((entry, next)) = block.entry_at(self.next) {
                if rest != Some(entry.suffix) {
                    break;
                }
                self.next = next;
            }
            if self.next == block.place_of(block.count()) {
                return;
            }
        }
        self.stands = false;
        self.key.clear();
        self.key.extend_from_slice(prefix);
    }

    fn following(&self) -> Option<(usize, usize)> {
        let (mut table, mut block_at) = (self.table, self.block_at + 1);
        loop {
            let index = &self.tables.get(table)?.meta.index;
            match index.get(block_at) {
                Some(next) => return (next.first_key[..] < *self.scan.to).then_some((table, block_at)),
                None => (table, block_at) = (table + 1, 0),
            }
        }
    }

    /// Comes into the next block; false behind the last.
    fn next_block(&mut self) -> Result<bool, Stop> {
        let Some((table, block_at)) = self.following else { return Ok(false) };
        let (Scan { tree, cache, to, .. }, current) = (self.scan, &*self.tables[table]);
        let Some(block) = tree.pass(cache, current, block_at) else {
            return Err(tree.stop_ahead(cache, current, block_at, self.passed, Heading::Up(to)));
        };
        self.passed += 1;
        self.enter(table, block_at, block);
        Ok(true)
    }

    #[inline]
    fn advance(&mut self) -> Result<bool, Stop> {
        loop {
            let (prefix_len, mut next) = (self.block.prefix().len(), self.next);
            while let Some((entry, behind)) = self.block.entry_at(next) {
                next = behind;
                // Of a key's revisions, which stand newest first, the first one that the reader sees.
                if entry.version > self.scan.at
                    || (self.may_repeat && self.stands && self.key[prefix_len..] == *entry.suffix)
                {
                    continue;
                }
                self.next = next;
                self.stands = true;
                self.key.truncate(prefix_len);
                self.key.extend_from_slice(entry.suffix);
                self.revision = Revision { version: entry.version, value: entry.value };
                return Ok(self.following.is_some() || self.key[..] < *self.scan.to);
            }
            self.next = next;
            if !self.next_block()? {
                return Ok(false);
            }
        }
    }
}

impl<'a> ordered::Source<'a> for Source<'a> {
    #[inline]
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory(memory) => memory.key,
            Source::Run(run) => &run.key,
        }
    }

    #[inline]
    fn revision(&self) -> Revision<'a> {
        match self {
            Source::Memory(memory) => memory.revision,
            Source::Run(run) => run.revision,
        }
    }

    #[inline]
    fn advance(&mut self) -> Result<bool, Stop> {
        match self {
            Source::Memory(memory) => {
                memory.walk.next(memory.memtable);
                Ok(memory.stand())
            }
            Source::Run(run) => run.advance(),
        }
    }
}

impl Tree {
    /// Visits keys in `[from, to)` in order, at a version, until the visitor breaks.
    ///
    /// # Errors
    /// [`Stop`]: blocks are needed (the visitor has seen a prefix), or one is damaged.
    pub fn scan(&self, cache: &BlockCache, from: &[u8], to: &[u8], at: Version, visit: Visit<'_>) -> Result<(), Stop> {
        if from >= to {
            return Ok(());
        }
        let scan = Scan { tree: self, cache, from, to, at };
        let runs = scan.runs(RunSource::in_front, |run| (run.table, run.block_at))?;
        let memory = self.memtables().filter_map(|memtable| MemorySource::first(memtable, &scan));
        let mut sources: Vec<Source<'_>> = memory.map(Source::Memory).collect();
        for mut run in runs {
            if run.advance()? {
                sources.push(Source::Run(run));
            }
        }
        Ordered::new(sources, Direction::Up, from, to).visit(&self.range_deletes(from, to, at), visit)
    }
}

impl<'a> Scan<'a> {
    /// Its sources in the runs. A scan needs the first block of every run before it can begin: they are read together, and
    /// none counts as read before all are there, or small caches would lose one for the other for ever.
    fn runs<S>(
        &self,
        make: impl Fn(&'a [Rc<Table>], Option<u64>, &Self) -> Result<Option<S>, BlockId>,
        place: impl Fn(&S) -> (usize, usize),
    ) -> Result<Vec<S>, Stop> {
        let prefix = self.tree.prefix_of_range(self.from, self.to);
        let (mut sources, mut missing) = (Vec::new(), Vec::new());
        for run in self.tree.runs() {
            match make(run, prefix, self) {
                Ok(source) => sources.extend(source.map(|source| (run, source))),
                Err(id) => missing.push(id),
            }
        }
        if !missing.is_empty() {
            return Err(Stop::Need(Need::of(missing)));
        }
        let pass = |(run, source): (&'a Vec<Rc<Table>>, S)| {
            let (table, block_at) = place(&source);
            self.tree.pass(self.cache, &run[table], block_at);
            source
        };
        Ok(sources.into_iter().map(pass).collect())
    }
}
