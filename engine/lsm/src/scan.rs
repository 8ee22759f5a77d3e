//! Ordered reads over everything a tree holds, at one version.

use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::Stop;
use crate::memtable::{Memtable, Walk, hidden_at};
use crate::table::Table;
use crate::tree::Tree;
use std::ops::ControlFlow;
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
    table: usize,
    block: Option<Rc<Block>>,
    block_at: usize,
    entry: usize,
    /// The key of the entry it stands at, once it is ready.
    key: Vec<u8>,
    has_key: bool,
}

impl RunSource<'_> {
    /// Loads the block it stands in; `Ok(false)` behind its end.
    #[inline]
    fn ready(&mut self, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        if self.has_key {
            return Ok(true);
        }
        if self.block.as_ref().is_none_or(|block| self.entry >= block.count()) && !self.next_block(tree, cache)? {
            return Ok(false);
        }
        let block = self.block.as_ref().expect("invariant: just loaded");
        self.key.clear();
        self.key.extend_from_slice(block.prefix());
        self.key.extend_from_slice(block.entry(self.entry).suffix);
        self.has_key = true;
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
            if self.block_at >= current.meta.index.len() {
                self.table += 1;
                self.block_at = 0;
                continue;
            }
            self.block = Some(Rc::clone(tree.block(cache, current, self.block_at)?));
        }
    }

    fn advance(&mut self) {
        self.entry += 1;
        self.has_key = false;
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

    /// The key it stands at; it is ready.
    #[inline]
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory { memtable, walk } => walk.key(memtable).expect("invariant: it is ready"),
            Source::Run(run) => &run.key,
        }
    }
}

/// The newest revision of a key: where its value is.
#[derive(Default)]
struct Newest {
    version: Option<Version>,
    is_deleted: bool,
    value: Vec<u8>,
}

impl Newest {
    #[inline]
    fn offer(&mut self, version: Version, value: Option<&[u8]>) {
        if self.version.is_some_and(|other| other >= version) {
            return;
        }
        self.version = Some(version);
        self.is_deleted = value.is_none();
        self.value.clear();
        self.value.extend_from_slice(value.unwrap_or_default());
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
        let (mut key, mut newest) = (Vec::new(), Newest::default());
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
            newest.version = None;
            // Those before the first in order stand at later keys.
            for source in &mut sources[first..] {
                self.take_key(source, cache, &key, at, &mut newest)?;
            }
            if let Some(version) = newest.version
                && !newest.is_deleted
                && (ranges.is_empty() || hidden_at(&ranges, &key, at).is_none_or(|hidden| hidden < version))
                && visit(&key, &newest.value).is_break()
            {
                return Ok(());
            }
        }
    }

    fn sources<'a>(&'a self, cache: &BlockCache, from: &[u8], to: &[u8]) -> Result<Vec<Source<'a>>, Stop> {
        let (memtables, levels) = self.scan_sources();
        let mut sources: Vec<Source<'a>> = Vec::new();
        for memtable in memtables {
            let mut walk = Walk::default();
            walk.seek(memtable, from);
            if walk.key(memtable).is_some() {
                sources.push(Source::Memory { memtable, walk });
            }
        }
        for run in levels.into_iter().flatten() {
            let table = run.partition_point(|table| table.meta.last_key[..] < *from);
            let Some(current) = run.get(table).filter(|table| !table.meta.index.is_empty()) else { continue };
            let block_at = current.block_of(from);
            if current.meta.index[block_at].first_key[..] >= *to {
                continue;
            }
            let block = Rc::clone(self.block(cache, current, block_at)?);
            let entry = block.seek(from, Version(u64::MAX));
            let key = Vec::new();
            sources.push(Source::Run(RunSource {
                tables: run,
                table,
                block: Some(block),
                block_at,
                entry,
                key,
                has_key: false,
            }));
        }
        Ok(sources)
    }

    /// Moves a source past `key`, noting its newest revision a reader at `at` sees.
    fn take_key(
        &self,
        source: &mut Source<'_>,
        cache: &BlockCache,
        key: &[u8],
        at: Version,
        newest: &mut Newest,
    ) -> Result<(), Stop> {
        while source.ready(self, cache)? {
            match source {
                Source::Memory { memtable, walk } => {
                    if walk.key(memtable) == Some(key) {
                        if let Some(revision) = walk.revision(memtable, at) {
                            newest.offer(revision.version, revision.value);
                        }
                        walk.next(memtable);
                    }
                    return Ok(());
                }
                Source::Run(run) => {
                    if run.key != key {
                        return Ok(());
                    }
                    let found = run.block.as_ref().expect("invariant: it is ready").entry(run.entry);
                    if found.version <= at {
                        newest.offer(found.version, found.value);
                    }
                    run.advance();
                }
            }
        }
        Ok(())
    }
}
