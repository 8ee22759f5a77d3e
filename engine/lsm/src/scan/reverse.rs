//! Ordered reads from the last key to the first.
//!
//! Revisions of a key stand newest first, so a run meets them from the oldest on. A source therefore gathers a key whole: it
//! goes back over all its revisions and keeps the newest one that the reader sees.

use super::Visit;
use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::{BlockId, Need, Stop};
use crate::fetch::Heading;
use crate::memtable::{BackWalk, Memtable, Revision, hidden_at};
use crate::table::Table;
use crate::tree::Tree;
use std::ops::Range;
use std::rc::Rc;
use tantu_base::id::Version;

/// One sorted source of a scan.
enum Source<'a> {
    Memory { memtable: &'a Memtable, walk: BackWalk },
    Run(RunSource<'a>),
}

/// What a reader sees of a key in a run.
struct Seen {
    version: Version,
    block: Rc<Block>,
    value: Option<Range<usize>>,
}

/// One run of a scan.
struct RunSource<'a> {
    tables: &'a [Rc<Table>],
    /// The scan does not go below.
    from: &'a [u8],
    /// How many blocks it has come through.
    passed: usize,
    /// Where the entry before it stands: of a table, of a block, one past it in the block.
    table: usize,
    block_at: usize,
    block: Option<Rc<Block>>,
    entry: usize,
    /// The key it stands at, and what the reader sees of it, once they are gathered.
    key: Vec<u8>,
    seen: Option<Seen>,
    is_gathered: bool,
}

impl<'a> RunSource<'a> {
    /// Stands behind the last entry whose key is below `to`; none if the run has nothing in `[from, to)`.
    fn before(
        tables: &'a [Rc<Table>],
        from: &'a [u8],
        to: &[u8],
        prefix: Option<u64>,
        tree: &Tree,
        cache: &BlockCache,
    ) -> Result<Option<RunSource<'a>>, BlockId> {
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
        let block = Rc::clone(tree.look(cache, &tables[table], block_at).ok_or(missing)?);
        let entry = block.seek(to, Version(u64::MAX));
        Ok(Some(RunSource {
            tables,
            from,
            passed: 1,
            table,
            block_at,
            block: Some(block),
            entry,
            key: Vec::new(),
            seen: None,
            is_gathered: false,
        }))
    }

    /// Loads the block of the entry before; `Ok(None)` before the first.
    fn block_before(&mut self, tree: &Tree, cache: &BlockCache) -> Result<Option<&Rc<Block>>, Stop> {
        while self.entry == 0 {
            let (mut table, mut block_count) = (self.table, self.block_at);
            while block_count == 0 {
                let Some(before) = table.checked_sub(1) else { return Ok(None) };
                table = before;
                block_count = self.tables[table].meta.index.len();
            }
            let (current, block_at) = (&self.tables[table], block_count - 1);
            let Some(block) = tree.pass(cache, current, block_at) else {
                return Err(tree.stop_ahead(cache, current, block_at, self.passed, Heading::Down(self.from)));
            };
            let block = Rc::clone(block);
            self.passed += 1;
            (self.table, self.block_at, self.entry) = (table, block_at, block.count());
            self.block = Some(block);
        }
        Ok(self.block.as_ref())
    }

    /// Gathers the key before; `Ok(false)` before the first.
    fn ready(&mut self, at: Version, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        if self.is_gathered {
            return Ok(true);
        }
        let mut any = false;
        while let Some(block) = self.block_before(tree, cache)? {
            let block = Rc::clone(block);
            let (prefix, (entry, value)) = (block.prefix(), block.entry_with_place(self.entry - 1));
            if !any {
                any = true;
                self.key.clear();
                self.key.extend_from_slice(prefix);
                self.key.extend_from_slice(entry.suffix);
            } else if self.key.strip_prefix(prefix) != Some(entry.suffix) {
                break;
            }
            if entry.version <= at {
                self.seen = Some(Seen { version: entry.version, value, block: Rc::clone(&block) });
            }
            self.entry -= 1;
            if self.entry == 0 && !self.goes_on_before() {
                break;
            }
        }
        self.is_gathered = any;
        Ok(any)
    }

    /// Whether the key it gathers, with which this block begins, may have newer revisions before it.
    fn goes_on_before(&self) -> bool {
        let before = self.table.checked_sub(1).map(|before| &self.tables[before].meta.last_key);
        self.block_at > 0 || before == Some(&self.key)
    }

    /// What the reader sees of the key it stands at.
    fn revision(&self) -> Option<Revision<'_>> {
        let seen = self.seen.as_ref()?;
        Some(Revision { version: seen.version, value: seen.value.clone().map(|place| seen.block.bytes(place)) })
    }

    fn advance(&mut self) {
        self.is_gathered = false;
        self.seen = None;
    }
}

impl Source<'_> {
    /// Whether it stands at a key; `Ok(false)` before its first.
    fn ready(&mut self, at: Version, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        match self {
            Source::Memory { memtable, walk } => Ok(walk.key(memtable).is_some()),
            Source::Run(run) => run.ready(at, tree, cache),
        }
    }

    /// The key it stands at; it is ready.
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory { memtable, walk } => walk.key(memtable).expect("invariant: it is ready"),
            Source::Run(run) => &run.key,
        }
    }

    /// What a reader at `at` sees of the key it stands at.
    fn revision(&self, at: Version) -> Option<Revision<'_>> {
        match self {
            Source::Memory { memtable, walk } => walk.revision(memtable, at),
            Source::Run(run) => run.revision(),
        }
    }

    /// Moves to the key before.
    fn advance(&mut self) {
        match self {
            Source::Memory { memtable, walk } => walk.prev(memtable),
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
        let ranges = self.range_deletes();
        let mut sources = self.sources_before(cache, from, to)?;
        let mut key = Vec::new();
        // Which sources stand at the key.
        let mut here: Vec<usize> = Vec::new();
        loop {
            here.clear();
            for n in 0..sources.len() {
                if !sources[n].ready(at, self, cache)? {
                    continue;
                }
                let order = here.first().map(|last| sources[n].key().cmp(sources[*last].key()));
                if order.is_none_or(|order| order.is_gt()) {
                    here.clear();
                }
                if order.is_none_or(|order| order.is_ge()) {
                    here.push(n);
                }
            }
            let Some(last) = here.first() else { return Ok(()) };
            key.clear();
            key.extend_from_slice(sources[*last].key());
            if key[..] < *from {
                return Ok(());
            }
            // Sources stand newest first, so the first revision a reader at `at` sees is the newest.
            if let Some(revision) = here.iter().find_map(|n| sources[*n].revision(at)) {
                let seen =
                    ranges.is_empty() || hidden_at(&ranges, &key, at).is_none_or(|hidden| hidden <= revision.version);
                if revision.value.is_some_and(|value| seen && visit(&key, value).is_break()) {
                    return Ok(());
                }
            }
            here.iter().for_each(|n| sources[*n].advance());
        }
    }

    fn sources_before<'a>(&'a self, cache: &BlockCache, from: &'a [u8], to: &[u8]) -> Result<Vec<Source<'a>>, Stop> {
        let (memtables, levels) = self.scan_sources();
        let mut sources: Vec<Source<'a>> = Vec::new();
        for memtable in memtables {
            let mut walk = BackWalk::default();
            walk.seek_before(memtable, to);
            if walk.key(memtable).is_some() {
                sources.push(Source::Memory { memtable, walk });
            }
        }
        // As forwards: no block counts as read before all are there.
        let mut missing = Vec::new();
        let prefix = self.prefix_of_range(from, to);
        for run in levels.into_iter().flatten() {
            match RunSource::before(run, from, to, prefix, self, cache) {
                Ok(source) => sources.extend(source.map(Source::Run)),
                Err(id) => missing.push(id),
            }
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
