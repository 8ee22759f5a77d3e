//! Ordered reads over everything a tree holds, at one version.

mod reverse;

use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::{BlockId, Need, Stop};
use crate::fetch::Heading;
use crate::memtable::{Memtable, Revision, Walk, hidden_at};
use crate::table::Table;
use crate::tree::Tree;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;
use tantu_base::id::Version;

/// Sees keys with their values, in order, until it breaks.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// One sorted source of a scan.
enum Source<'a> {
    Memory { memtable: &'a Memtable, walk: Walk },
    Run(RunSource<'a>),
}

/// One run of a scan.
struct RunSource<'a> {
    tables: &'a [Rc<Table>],
    /// Blocks that begin there or behind it hold nothing for the scan.
    to: &'a [u8],
    table: usize,
    block: Option<Rc<Block>>,
    block_at: usize,
    /// How many blocks it has come through.
    passed: usize,
    entry: usize,
    /// The key of the entry it stands at, its version and where in the block its value is, once it is ready.
    key: Vec<u8>,
    version: Version,
    value: Option<Range<usize>>,
    is_read: bool,
}

impl RunSource<'_> {
    /// Loads the block it stands in; `Ok(false)` behind its end.
    #[inline]
    fn ready(&mut self, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        if self.is_read {
            return Ok(true);
        }
        if self.block.as_ref().is_none_or(|block| self.entry >= block.count()) && !self.next_block(tree, cache)? {
            return Ok(false);
        }
        let block = self.block.as_ref().expect("invariant: just loaded");
        let (entry, value) = block.entry_with_place(self.entry);
        self.key.clear();
        self.key.extend_from_slice(block.prefix());
        self.key.extend_from_slice(entry.suffix);
        self.version = entry.version;
        self.value = value;
        self.is_read = true;
        Ok(true)
    }

    fn next_block(&mut self, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        loop {
            if self.block.as_ref().is_some_and(|block| self.entry < block.count()) {
                return Ok(true);
            }
            if self.block.take().is_some() {
                self.block_at += 1;
                self.entry = 0;
            }
            let Some(current) = self.tables.get(self.table) else { return Ok(false) };
            let Some(next) = current.meta.index.get(self.block_at) else {
                self.table += 1;
                self.block_at = 0;
                continue;
            };
            if next.first_key[..] >= *self.to {
                return Ok(false);
            }
            let Some(block) = tree.pass(cache, current, self.block_at) else {
                return Err(tree.stop_ahead(cache, current, self.block_at, self.passed, Heading::Up(self.to)));
            };
            self.passed += 1;
            self.block = Some(Rc::clone(block));
        }
    }

    /// What it stands at; it is ready.
    #[inline]
    fn current(&self) -> Revision<'_> {
        let block = self.block.as_ref().expect("invariant: it is ready");
        Revision { version: self.version, value: self.value.clone().map(|place| block.bytes(place)) }
    }

    fn advance(&mut self) {
        self.entry += 1;
        self.is_read = false;
    }
}

impl Source<'_> {
    /// Whether it stands at a key; `Ok(false)` behind its end.
    #[inline]
    fn ready(&mut self, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        match self {
            Source::Memory { memtable, walk } => Ok(walk.key(memtable).is_some()),
            Source::Run(run) => run.ready(tree, cache),
        }
    }

    /// If it stands at `key`: moves to the newest revision of it that a reader at `at` sees, if there is one.
    #[inline]
    fn settle(
        &mut self,
        key: &[u8],
        at: Version,
        tree: &Tree,
        cache: &BlockCache,
    ) -> Result<Option<Revision<'_>>, Stop> {
        match self {
            Source::Memory { memtable, walk } => {
                Ok(if walk.key(memtable) == Some(key) { walk.revision(memtable, at) } else { None })
            }
            Source::Run(run) => {
                while run.ready(tree, cache)? && run.key == key {
                    if run.version <= at {
                        return Ok(Some(run.current()));
                    }
                    run.advance();
                }
                Ok(None)
            }
        }
    }

    /// Moves behind `key`, if it stands at it.
    #[inline]
    fn skip(&mut self, key: &[u8], tree: &Tree, cache: &BlockCache) -> Result<(), Stop> {
        match self {
            Source::Memory { memtable, walk } => {
                if walk.key(memtable) == Some(key) {
                    walk.next(memtable);
                }
            }
            Source::Run(run) => {
                while run.ready(tree, cache)? && run.key == key {
                    run.advance();
                }
            }
        }
        Ok(())
    }

    /// The key it stands at; it is ready.
    #[inline]
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory { memtable, walk } => walk.key(memtable).expect("invariant: it is ready"),
            Source::Run(run) => &run.key,
        }
    }
}

impl Tree {
    /// Visits keys in `[from, to)` in order, at a version, until the visitor breaks.
    ///
    /// # Errors
    /// [`Stop`]: blocks are needed (the visitor has seen a prefix), or one is damaged.
    pub fn scan(&self, cache: &BlockCache, from: &[u8], to: &[u8], at: Version, visit: Visit<'_>) -> Result<(), Stop> {
        let ranges = self.range_deletes();
        let mut sources = self.sources(cache, from, to)?;
        let mut key = Vec::new();
        loop {
            let mut first: Option<usize> = None;
            for n in 0..sources.len() {
                if sources[n].ready(self, cache)? && first.is_none_or(|first| sources[n].key() < sources[first].key()) {
                    first = Some(n);
                }
            }
            let Some(first) = first else { return Ok(()) };
            key.clear();
            key.extend_from_slice(sources[first].key());
            if key[..] >= *to {
                return Ok(());
            }
            // Sources stand newest first, so that the first revision a reader at `at` sees is the newest. Those before the
            // first in order stand at later keys.
            let mut done = false;
            for source in &mut sources[first..] {
                let Some(revision) = source.settle(&key, at, self, cache)? else { continue };
                let seen =
                    ranges.is_empty() || hidden_at(&ranges, &key, at).is_none_or(|hidden| hidden <= revision.version);
                done = revision.value.is_some_and(|value| seen && visit(&key, value).is_break());
                break;
            }
            if done {
                return Ok(());
            }
            for source in &mut sources[first..] {
                source.skip(&key, self, cache)?;
            }
        }
    }

    fn sources<'a>(&'a self, cache: &BlockCache, from: &[u8], to: &'a [u8]) -> Result<Vec<Source<'a>>, Stop> {
        let (memtables, levels) = self.scan_sources();
        let mut sources: Vec<Source<'a>> = Vec::new();
        for memtable in memtables {
            let mut walk = Walk::default();
            walk.seek(memtable, from);
            if walk.key(memtable).is_some() {
                sources.push(Source::Memory { memtable, walk });
            }
        }
        // The scan needs the first block of every run before it can begin: they are read together, and none counts as read
        // before all are there, or small caches would lose one for the other for ever.
        let mut missing = Vec::new();
        let prefix = self.prefix_of_range(from, to);
        for run in levels.into_iter().flatten() {
            let mut table = run.partition_point(|table| table.meta.last_key[..] < *from);
            while run.get(table).is_some_and(|table| self.lacks_prefix(table, prefix) && table.begins_before(to)) {
                table += 1;
            }
            let Some(current) = run.get(table).filter(|table| !table.meta.index.is_empty()) else { continue };
            let block_at = current.block_of(from);
            if current.meta.index[block_at].first_key[..] >= *to {
                continue;
            }
            let Some(block) = self.look(cache, current, block_at) else {
                missing.push(BlockId { table: current.number, block: block_at as u32 });
                continue;
            };
            let entry = block.seek(from, Version(u64::MAX));
            let key = Vec::new();
            sources.push(Source::Run(RunSource {
                tables: run,
                to,
                table,
                block: Some(Rc::clone(block)),
                block_at,
                passed: 1,
                entry,
                key,
                version: Version(0),
                value: None,
                is_read: false,
            }));
        }
        if !missing.is_empty() {
            return Err(Stop::Need(Need::of(missing)));
        }
        for source in &sources {
            if let Source::Run(run) = source {
                self.pass(cache, &run.tables[run.table], run.block_at);
            }
        }
        Ok(sources)
    }
}
