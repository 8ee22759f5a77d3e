//! Looking at the files of a tree without opening the tree: nothing is written, nothing is removed.
//!
//! A [`TableFile`] is one table. [`TableFile::check`] holds every block against its checksum and against the index, the filter and
//! the counts, and goes on behind a damaged block; memory holds the index and one block.

pub use crate::manifest::Manifest;

use crate::block::Block;
use crate::error::{Corruption, OpenError};
use crate::option::{BLOCK_SIZE_MAX, VALUE_SIZE_MAX};
use crate::table::{FOOTER_MAGIC, Filter, IndexEntry, Table, read};
use std::path::{Path, PathBuf};
use tantu_base::door::{Disk, DiskError, DiskOp, call};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::Version;
use tantu_base::limit::{BLOCK_ALIGN, KEY_SIZE_MAX};
use tantu_base::piece::Pieces;

/// What the last block of a table begins with.
pub const TABLE_MAGIC: &[u8; 8] = b"TNTTABLE";
/// What a manifest has behind its checksum.
pub const MANIFEST_MAGIC: &[u8; 8] = b"TNTMANIF";
/// Longest block a reader accepts, in bytes: one entry with the longest key and value.
const BLOCK_READ_SIZE_MAX: usize = VALUE_SIZE_MAX + 2 * KEY_SIZE_MAX + BLOCK_SIZE_MAX;

/// Where a table belongs: its checksums hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableId {
    /// The tree's identity.
    pub identity: u64,
    /// The table's number.
    pub number: u64,
}

/// An entry of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryAt<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The version it was written at.
    pub version: Version,
    /// Its value; `None` if it was deleted.
    pub value: Option<&'a [u8]>,
}

/// A block of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAt<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Bytes, padding included.
    pub size: u32,
    /// Its first key, as the index has it.
    pub first_key: &'a [u8],
}

/// A range deletion of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeAt<'a> {
    /// First key.
    pub from: &'a [u8],
    /// First key after.
    pub to: &'a [u8],
    /// The version it was written at.
    pub version: Version,
}

/// What a check has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Blocks that were read.
    pub block_count: u64,
    /// Entries in those that are whole.
    pub entry_count: u64,
    /// The highest version met.
    pub version_max: Version,
}

/// One table, open.
#[derive(Debug)]
pub struct TableFile {
    table: Table,
}

impl TableFile {
    /// Opens a table as a tree would, which reads its footer, index and filter. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file and the place.
    pub fn open(disk: &mut dyn Disk, path: &Path, id: TableId) -> Result<TableFile, OpenError> {
        Ok(TableFile { table: Table::open_file(disk, path.to_path_buf(), id.identity, id.number)? })
    }

    /// How many entries, as the meta says.
    pub fn entry_count(&self) -> u64 {
        self.table.meta.entry_count
    }

    /// The first key; `None` if the table holds range deletions only.
    pub fn first_key(&self) -> Option<&[u8]> {
        self.table.meta.index.first().map(|entry| &entry.first_key[..])
    }

    /// The last key.
    pub fn last_key(&self) -> &[u8] {
        &self.table.meta.last_key
    }

    /// Its blocks, as the index says.
    pub fn blocks(&self) -> impl Iterator<Item = BlockAt<'_>> {
        self.table.meta.index.iter().map(|entry| BlockAt {
            offset: entry.offset,
            size: entry.size,
            first_key: &entry.first_key,
        })
    }

    /// Its range deletions.
    pub fn ranges(&self) -> impl Iterator<Item = RangeAt<'_>> {
        self.table.meta.ranges.iter().map(|range| RangeAt { from: &range.from, to: &range.to, version: range.version })
    }

    /// Shows the entries of one block, in order. Blocking.
    ///
    /// # Errors
    /// [`OpenError`]: the disk, or the block is not what the index says.
    pub fn entries(
        &self,
        disk: &mut dyn Disk,
        block: usize,
        show: &mut dyn FnMut(EntryAt<'_>),
    ) -> Result<(), OpenError> {
        let entry = &self.table.meta.index[block];
        let block = self.block(disk, entry)?;
        show_entries(&block, show);
        Ok(())
    }

    fn block(&self, disk: &mut dyn Disk, entry: &IndexEntry) -> Result<Block, OpenError> {
        let corrupt = |what| OpenError::Corrupt(self.table.corrupt(entry.offset, what));
        if entry.size as usize > BLOCK_READ_SIZE_MAX || !entry.size.is_multiple_of(BLOCK_ALIGN as u32) {
            return Err(corrupt("the index gives a block an impossible size"));
        }
        if !entry.offset.is_multiple_of(BLOCK_ALIGN as u64) {
            return Err(corrupt("the index puts a block between two blocks of the disk"));
        }
        let bytes = read(disk, self.table.file, entry.offset, entry.size as usize)?;
        Ok(self.table.check(entry, &bytes)?)
    }

    /// Reads every block, shows the entries of those that are whole and tells what is wrong with the others. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn check(
        &self,
        disk: &mut dyn Disk,
        show: &mut dyn FnMut(EntryAt<'_>),
        damage: &mut dyn FnMut(Corruption),
    ) -> Result<Checked, DiskError> {
        let meta = &self.table.meta;
        let mut checked = Checked::default();
        let mut before = None;
        let (mut next, mut any_damage) = (0, false);
        for entry in &meta.index {
            if entry.offset != next {
                damage(self.table.corrupt(entry.offset, "the index has a gap"));
            }
            next = entry.offset.saturating_add(u64::from(entry.size));
            checked.block_count += 1;
            let block = match self.block(disk, entry) {
                Ok(block) => block,
                Err(OpenError::Disk(error)) => return Err(error),
                Err(OpenError::Corrupt(corruption)) => {
                    any_damage = true;
                    before = None;
                    damage(corruption);
                    continue;
                }
            };
            checked.entry_count += block.count() as u64;
            if let Err(what) = self.contents(&block, entry, &mut before, &mut checked.version_max) {
                // What follows is compared with what comes next, not with this.
                before = None;
                damage(self.table.corrupt(entry.offset, what));
            }
            show_entries(&block, show);
        }
        let end = next;
        let mut wrong = |what| damage(self.table.corrupt(end, what));
        if !any_damage && checked.entry_count != meta.entry_count {
            wrong("the meta counts other entries than the blocks hold");
        }
        if before.is_some_and(|(key, _)| key != meta.last_key) {
            wrong("the meta names another last key than the last block has");
        }
        if meta.ranges.iter().any(|range| range.from >= range.to) {
            wrong("a range deletion ends before it begins");
        }
        checked.version_max = meta.ranges.iter().map(|range| range.version).fold(checked.version_max, Version::max);
        Ok(checked)
    }

    /// Whether a block that is whole holds what belongs there: entries in order, also after the one `before` it, under the
    /// key of the index, all in the filter, each with its tag.
    fn contents(
        &self,
        block: &Block,
        entry: &IndexEntry,
        before: &mut Option<(Vec<u8>, Version)>,
        version_max: &mut Version,
    ) -> Result<(), &'static str> {
        let mut key = Vec::new();
        for at in 0..block.count() {
            let found = block.entry(at);
            key.clear();
            key.extend_from_slice(block.prefix());
            key.extend_from_slice(found.suffix);
            if at == 0 && key != entry.first_key {
                return Err("a block begins with another key than the index says");
            }
            let ascends = |(last, version): &(Vec<u8>, Version)| {
                last[..] < key[..] || (last[..] == key[..] && *version > found.version)
            };
            if !before.as_ref().is_none_or(ascends) {
                return Err("the entries of a block are not in order");
            }
            let hash = Filter::hash(&key);
            if !self.table.meta.filter.may_hold(hash) {
                return Err("the filter lacks a key of a block");
            }
            if block.find(&key, hash, found.version) != Some(found) {
                return Err("an entry cannot be found by its tag");
            }
            *version_max = found.version.max(*version_max);
            let (last, version) = before.get_or_insert_default();
            last.clone_from(&key);
            *version = found.version;
        }
        Ok(())
    }

    /// Closes the file. Blocking. Nothing was written, so nothing is lost if that fails.
    pub fn close(self, disk: &mut dyn Disk) {
        let _ = call(disk, DiskOp::Close { file: self.table.file });
    }
}

fn show_entries(block: &Block, show: &mut dyn FnMut(EntryAt<'_>)) {
    let mut key = block.prefix().to_vec();
    for at in 0..block.count() {
        let entry = block.entry(at);
        key.truncate(block.prefix().len());
        key.extend_from_slice(entry.suffix);
        show(EntryAt { key: &key, version: entry.version, value: entry.value });
    }
}

/// Where a table says it belongs, whether its footer is whole or not; `None` if it does not end like a table. Blocking.
///
/// # Errors
/// What the disk answers.
pub fn claimed_id(disk: &mut dyn Disk, path: &Path) -> Result<Option<TableId>, DiskError> {
    let mut pieces = Pieces::open(disk, path)?;
    let size = pieces.size() / BLOCK_ALIGN as u64 * BLOCK_ALIGN as u64;
    let footer = match size.checked_sub(BLOCK_ALIGN as u64) {
        Some(at) => pieces.get(disk, at, BLOCK_ALIGN)?.to_vec(),
        None => Vec::new(),
    };
    pieces.close(disk);
    let mut reader = FixedReader::new(&footer);
    let mut fields = || {
        let magic = reader.u64()?;
        reader.take(4 + 4 + 8 + 8)?;
        Ok::<_, Truncated>((magic, TableId { identity: reader.u64()?, number: reader.u64()? }))
    };
    Ok(fields().ok().filter(|(magic, _)| *magic == FOOTER_MAGIC).map(|(_, id)| id))
}

/// What [`scan_blocks`] finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// A whole block.
    Block {
        /// Where it begins.
        offset: u64,
        /// Bytes, padding included.
        size: u32,
    },
    /// An entry of the block shown last.
    Entry(EntryAt<'a>),
}

/// Shows the whole blocks of a table whose index cannot be read: each says how long it is. Blocking.
///
/// # Errors
/// What the disk answers.
pub fn scan_blocks(
    disk: &mut dyn Disk,
    path: &Path,
    id: TableId,
    show: &mut dyn FnMut(Found<'_>),
) -> Result<(), DiskError> {
    let mut pieces = Pieces::open(disk, path)?;
    let mut offset = 0;
    while offset < pieces.size() {
        let head = pieces.get(disk, offset, BLOCK_ALIGN)?;
        let size = head.get(4..8).map_or(0, |size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize);
        let mut step = BLOCK_ALIGN;
        if size.is_multiple_of(BLOCK_ALIGN) && (1..=BLOCK_READ_SIZE_MAX).contains(&size) {
            let bytes = pieces.get(disk, offset, size)?;
            if let Ok(block) = Block::check(bytes, &crate::table::place(id.identity, id.number, offset)) {
                show(Found::Block { offset, size: size as u32 });
                show_entries(&block, &mut |entry| show(Found::Entry(entry)));
                step = size;
            }
        }
        offset += step as u64;
    }
    pieces.close(disk);
    Ok(())
}

/// The file of a table of a tree.
pub fn table_path(dir: &Path, number: u64) -> PathBuf {
    crate::table::table_path(dir, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockBuilder;
    use crate::memtable::RangeDelete;
    use crate::option::Compression;
    use crate::table::{TableMeta, encode_end, place};
    use tantu_base::buf::Buf;
    use tantu_weather::{DiskWeather, Image, SimDisk, Weather};

    const ID: TableId = TableId { identity: 7, number: 3 };

    /// What is wrong with a table of these keys, one block for each list, whose meta was changed before its checksum was made.
    fn check(blocks: &[&[&[u8]]], change: impl FnOnce(&mut TableMeta)) -> Vec<&'static str> {
        let (mut file, mut meta, mut hashes) = (Buf::with_capacity(0), TableMeta::default(), Vec::new());
        for keys in blocks {
            let mut block = BlockBuilder::default();
            for key in *keys {
                hashes.push(Filter::hash(key));
                assert!(block.add(key, Filter::hash(key), Version(1), Some(b"value"), 4096));
                meta.last_key = key.to_vec();
                meta.entry_count += 1;
            }
            let offset = file.len() as u64;
            let size = block.finish(&place(ID.identity, ID.number, offset), Compression::None, &mut file);
            meta.index.push(IndexEntry { first_key: keys[0].to_vec(), offset, size });
        }
        meta.filter = Filter::build(&hashes);
        change(&mut meta);
        let end = encode_end(&meta, ID.identity, ID.number, file.len() as u64);
        file.extend(&end);
        let (mut image, path) = (Image::default(), table_path(Path::new("tree"), ID.number));
        image.put(&path, &file);
        let mut disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image);
        let table = TableFile::open(&mut disk, &path, ID).expect("footer and meta are whole");
        let mut found = Vec::new();
        table.check(&mut disk, &mut |_| {}, &mut |corruption| found.push(corruption.what)).expect("no faults");
        found
    }

    #[test]
    fn a_table_whose_checksums_are_right_and_whose_parts_disagree_is_found_out() {
        let good: &[&[&[u8]]] = &[&[b"a", b"b"], &[b"c"]];
        assert_eq!(check(good, |_| {}), Vec::<&str>::new());
        assert_eq!(check(&[&[b"b", b"a"]], |_| {}), ["the entries of a block are not in order"]);
        assert_eq!(check(&[&[b"b"], &[b"b"]], |_| {}), ["the entries of a block are not in order"]);
        let other_first = check(good, |meta| meta.index[1].first_key = b"bb".to_vec());
        assert!(other_first.contains(&"a block begins with another key than the index says"), "{other_first:?}");
        let no_filter = check(good, |meta| meta.filter = Filter::for_count(3));
        assert_eq!(no_filter[0], "the filter lacks a key of a block");
        let miscounted = check(good, |meta| meta.entry_count = 4);
        assert_eq!(miscounted, ["the meta counts other entries than the blocks hold"]);
        let other_last = check(good, |meta| meta.last_key = b"d".to_vec());
        assert_eq!(other_last, ["the meta names another last key than the last block has"]);
        let range = RangeDelete { from: b"b".to_vec(), to: b"a".to_vec(), version: Version(1) };
        assert_eq!(check(good, |meta| meta.ranges.push(range)), ["a range deletion ends before it begins"]);
        let gap = check(good, |meta| {
            meta.index.remove(0);
            meta.entry_count = 1;
        });
        assert_eq!(gap, ["the index has a gap"]);
    }

    #[test]
    fn an_index_that_asks_for_too_much_is_refused_before_anything_is_read() {
        let large = check(&[&[b"a"]], |meta| meta.index[0].size = !4095);
        assert!(large.contains(&"the index gives a block an impossible size"), "{large:?}");
        let askew = check(&[&[b"a"]], |meta| meta.index[0].offset = 7);
        assert!(askew.contains(&"the index puts a block between two blocks of the disk"), "{askew:?}");
    }
}
