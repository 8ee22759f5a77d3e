//! Ordered reads over everything a tree holds, at one version.

use crate::cache::BlockCache;
use crate::error::Stop;
use crate::memtable::{Revision, hidden_at};
use crate::table::Table;
use crate::tree::Tree;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::rc::Rc;
use tantu_base::id::Version;

/// Sees keys with their values, in order, until it breaks.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;
/// Keys of a memtable with their revisions, in order.
type Chains<'a> = Box<dyn Iterator<Item = (&'a [u8], &'a [Revision])> + 'a>;
/// The newest revision of a key found so far.
type Newest = Option<(Version, Option<Vec<u8>>)>;

/// One sorted source of a scan.
enum Source<'a> {
    Memory(Peekable<Chains<'a>>),
    Run { tables: &'a [Rc<Table>], table: usize, block: Option<Rc<crate::block::Block>>, block_at: usize, entry: usize },
}

impl Source<'_> {
    /// Loads the block it stands in; `Ok(false)` behind its end.
    fn ready(&mut self, tree: &Tree, cache: &BlockCache) -> Result<bool, Stop> {
        let Source::Run { tables, table, block, block_at, entry } = self else {
            let Source::Memory(rest) = self else { unreachable!("two kinds") };
            return Ok(rest.peek().is_some());
        };
        loop {
            if block.as_ref().is_some_and(|block| *entry < block.count()) {
                return Ok(true);
            }
            if block.take().is_some() {
                *block_at += 1;
                *entry = 0;
            }
            let Some(current) = tables.get(*table) else { return Ok(false) };
            if *block_at >= current.meta.index.len() {
                *table += 1;
                *block_at = 0;
                continue;
            }
            *block = Some(tree.block(cache, current, *block_at)?);
        }
    }

    fn key(&mut self) -> Vec<u8> {
        match self {
            Source::Memory(rest) => rest.peek().expect("invariant: it is ready").0.to_vec(),
            Source::Run { block, entry, .. } => {
                block.as_ref().expect("invariant: it is ready").entry(*entry).key.to_vec()
            }
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
        loop {
            let mut first: Option<Vec<u8>> = None;
            for source in &mut sources {
                if source.ready(self, cache)? {
                    let key = source.key();
                    if first.as_ref().is_none_or(|other| key < *other) {
                        first = Some(key);
                    }
                }
            }
            let Some(key) = first.filter(|key| &key[..] < to) else { return Ok(()) };
            let mut newest: Newest = None;
            for source in &mut sources {
                self.take_key(source, cache, &key, at, &mut newest)?;
            }
            if let Some((version, Some(value))) = newest
                && hidden_at(&ranges, &key, at).is_none_or(|hidden| hidden < version)
                && visit(&key, &value).is_break()
            {
                return Ok(());
            }
        }
    }

    fn sources<'a>(&'a self, cache: &BlockCache, from: &'a [u8], to: &'a [u8]) -> Result<Vec<Source<'a>>, Stop> {
        let (memtables, levels) = self.scan_sources();
        let mut sources: Vec<Source<'a>> = Vec::new();
        for memtable in memtables {
            let rest: Chains<'_> = Box::new(memtable.range(from, Some(to)));
            sources.push(Source::Memory(rest.peekable()));
        }
        for run in levels.into_iter().flatten() {
            let table = run.partition_point(|table| table.meta.last_key[..] < *from);
            let Some(current) = run.get(table).filter(|table| !table.meta.index.is_empty()) else { continue };
            let block_at = current.meta.block_of(from);
            if current.meta.index[block_at].first_key[..] >= *to {
                continue;
            }
            let block = self.block(cache, current, block_at)?;
            let entry = block.seek(from, Version(u64::MAX));
            sources.push(Source::Run { tables: run, table, block: Some(block), block_at, entry });
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
        let mut offer = |version: Version, value: Option<&[u8]>| {
            if version <= at && newest.as_ref().is_none_or(|(other, _)| *other < version) {
                *newest = Some((version, value.map(<[u8]>::to_vec)));
            }
        };
        match source {
            Source::Memory(rest) => {
                if let Some((_, chain)) = rest.next_if(|(other, _)| *other == key) {
                    chain.iter().for_each(|revision| offer(revision.version, revision.value.as_deref()));
                }
            }
            Source::Run { .. } => {
                while source.ready(self, cache)? {
                    let Source::Run { block: Some(block), entry, .. } = &mut *source else {
                        unreachable!("it is ready")
                    };
                    let found = block.entry(*entry);
                    if found.key != key {
                        break;
                    }
                    offer(found.version, found.value);
                    *entry += 1;
                }
            }
        }
        Ok(())
    }
}
