//! A table: an immutable sorted file of blocks with its index, filter and range deletions.
//!
//! Blocks, then the *meta* (index, filter, range deletions; padded, one checksum), then one footer block. What
//! [`TableMeta`] holds stays in memory while the table lives. Format version 3; byte table in
//! `docs/formats/table.md`.

use crate::block::{Block, shared_len};
use crate::error::{Corruption, OpenError};
use crate::memtable::RangeDelete;
use crate::prefix::PrefixRule;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskError, DiskFault, DiskOp, DiskReply, FileId, OpenMode, call};
use tantu_base::fixed::{FixedReader, Truncated, put_sized};
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;
use xxhash_rust::xxh3::xxh3_64;

/// Blocks that begin within so many bytes are read together when a table is verified.
const VERIFY_READ_SIZE: u64 = 256 << 10;
pub(crate) const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"TNTTABLE");
/// The version this build writes, and the oldest it reads.
pub(crate) const FORMAT_VERSION: u32 = 3;
pub(crate) const FORMAT_VERSION_MIN: u32 = 2;
/// Longest meta a reader accepts, in bytes.
const META_SIZE_MAX: u64 = 1 << 30;
const FILTER_BITS_PER_KEY: usize = 10;

/// Where a block is, and the first key in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) first_key: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) size: u32,
}

/// Multipliers that spread half a hash over the words of a filter block: odd, otherwise arbitrary; part of the format.
const FILTER_SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// A split-block bloom filter over the keys of a table: each key has one bit in each word of one block of 32 bytes, so that a
/// probe touches one cache line (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filter(Vec<[u32; 8]>);

impl Filter {
    #[inline]
    pub(crate) fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    /// An empty filter for so many keys.
    pub(crate) fn for_count(count: usize) -> Self {
        Filter(vec![[0; 8]; (count * FILTER_BITS_PER_KEY).div_ceil(256)])
    }

    pub(crate) fn build(hashes: &[u64]) -> Self {
        let mut filter = Self::for_count(hashes.len());
        hashes.iter().for_each(|hash| filter.add(*hash));
        filter
    }

    #[inline]
    fn block_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.0.len() as u64) >> 32) as usize
    }

    #[inline]
    fn mask(hash: u64) -> [u32; 8] {
        FILTER_SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
    }

    #[inline]
    pub(crate) fn add(&mut self, hash: u64) {
        let at = self.block_of(hash);
        self.0[at].iter_mut().zip(Self::mask(hash)).for_each(|(word, bit)| *word |= bit);
    }

    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        let Some(block) = self.0.get(self.block_of(hash)) else { return false };
        block.iter().zip(Self::mask(hash)).fold(true, |all, (word, bit)| all & (word & bit != 0))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&((self.0.len() * 32) as u32).to_le_bytes());
        let start = out.len();
        out.resize(start + self.0.len() * 32, 0);
        let places = out[start..].as_chunks_mut::<4>().0;
        places.iter_mut().zip(self.0.iter().flatten()).for_each(|(place, word)| *place = word.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let (blocks, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Truncated);
        }
        let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Ok(Filter(blocks.iter().map(|block| std::array::from_fn(|n| word(&block.as_chunks::<4>().0[n]))).collect()))
    }
}

/// The first keys of the blocks, cut to eight bytes behind what all keys of the table begin with: a search of neighbouring
/// numbers instead of keys all over memory.
#[derive(Debug, Default)]
struct Heads {
    prefix: Vec<u8>,
    heads: Vec<u64>,
}

impl Heads {
    fn of(meta: &TableMeta) -> Self {
        let first = meta.index.first().map_or(&[][..], |entry| &entry.first_key[..]);
        let shared = shared_len(first, &meta.last_key);
        let heads = meta.index.iter().map(|entry| head(&entry.first_key[shared..])).collect();
        Self { prefix: first[..shared].to_vec(), heads }
    }

    /// Starts to look for the blocks that begin before `key`.
    #[inline]
    fn search(&self, key: &[u8]) -> BlockSearch<'_> {
        match key.strip_prefix(&self.prefix[..]) {
            Some(rest) => BlockSearch { heads: &self.heads, wanted: head(rest), low: 0, len: self.heads.len() },
            // All blocks lie on one side of it.
            None => {
                let low = if *key < self.prefix[..] { 0 } else { self.heads.len() };
                BlockSearch { heads: &[], wanted: 0, low, len: 0 }
            }
        }
    }

    /// How many blocks begin before `key`.
    #[inline]
    fn count_before(&self, index: &[IndexEntry], key: &[u8]) -> usize {
        let mut search = self.search(key);
        while search.halve() {}
        self.found(index, &search, key)
    }

    /// How many blocks begin before `key`, of which the search has come to its end.
    #[inline]
    fn found(&self, index: &[IndexEntry], search: &BlockSearch<'_>, key: &[u8]) -> usize {
        let (below, wanted) = (search.low, search.wanted);
        if search.heads.is_empty() {
            return below;
        }
        // Those that agree in eight bytes are told apart by the rest.
        let rest = &self.heads[below..];
        let equal = if rest.first() == Some(&wanted) { rest.partition_point(|head| *head == wanted) } else { 0 };
        below + index[below..below + equal].partition_point(|entry| entry.first_key[..] < *key)
    }
}

/// A search of the heads that halves what is left step by step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockSearch<'a> {
    heads: &'a [u64],
    wanted: u64,
    low: usize,
    len: usize,
}

impl BlockSearch<'_> {
    /// One step, without a branch that could be guessed wrong; false if it has come to its end.
    #[inline]
    pub(crate) fn halve(&mut self) -> bool {
        if self.len == 0 {
            return false;
        }
        let half = self.len.div_ceil(2);
        let below = self.heads[self.low + half - 1] < self.wanted;
        self.low += usize::from(below) * half;
        self.len = if below { self.len - half } else { half - 1 };
        self.len > 0
    }
}

/// The first eight bytes, as a number that sorts as they do; zeros stand for those that are missing.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(head) => u64::from_be_bytes(*head),
        None => bytes.iter().enumerate().fold(0, |head, (n, byte)| head | u64::from(*byte) << (56 - 8 * n)),
    }
}

/// What of a table stays in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TableMeta {
    pub(crate) index: Vec<IndexEntry>,
    pub(crate) filter: Filter,
    pub(crate) ranges: Vec<RangeDelete>,
    pub(crate) last_key: Vec<u8>,
    pub(crate) entry_count: u64,
    /// By which rule the filter holds beginnings of keys.
    pub(crate) prefix: Option<PrefixRule>,
}

impl TableMeta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // In one piece: what grows by doubling is copied several times, all in one slice.
        let keys: usize = self.index.iter().map(|entry| 8 + 4 + 4 + entry.first_key.len()).sum();
        let mut out = Vec::with_capacity(64 + self.last_key.len() + self.filter.0.len() * 32 + keys);
        out.extend_from_slice(&self.entry_count.to_le_bytes());
        put_sized(&mut out, &self.last_key);
        self.filter.encode(&mut out);
        out.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        for entry in &self.index {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.size.to_le_bytes());
            put_sized(&mut out, &entry.first_key);
        }
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for range in &self.ranges {
            out.extend_from_slice(&range.version.0.to_le_bytes());
            put_sized(&mut out, &range.from);
            put_sized(&mut out, &range.to);
        }
        out.push(u8::from(self.prefix.is_some()));
        if let Some(rule) = self.prefix {
            out.extend_from_slice(&rule.byte_count.to_le_bytes());
            out.push(rule.value_count);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8], version: u32) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let entry_count = reader.u64()?;
        let last_key = reader.sized()?.to_vec();
        let filter = Filter::decode(reader.sized()?)?;
        let mut index = Vec::new();
        for _ in 0..reader.u32()? {
            let (offset, size) = (reader.u64()?, reader.u32()?);
            index.push(IndexEntry { offset, size, first_key: reader.sized()?.to_vec() });
        }
        let mut ranges = Vec::new();
        for _ in 0..reader.u32()? {
            let version = Version(reader.u64()?);
            ranges.push(RangeDelete { version, from: reader.sized()?.to_vec(), to: reader.sized()?.to_vec() });
        }
        let prefix = match if version < 3 { 0 } else { reader.u8()? } {
            0 => None,
            1 => Some(PrefixRule { byte_count: reader.u16()?, value_count: reader.u8()? }),
            _ => return Err(Truncated),
        };
        let meta = Self { index, filter, ranges, last_key, entry_count, prefix };
        if reader.is_empty() { Ok(meta) } else { Err(Truncated) }
    }
}

/// Where the blocks of a table of a tree belong.
pub(crate) fn place(identity: u64, number: u64, offset: u64) -> Place {
    Place { owner: 0, kind: FileKind::Table, incarnation: identity, file: number, offset }
}

pub(crate) fn table_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.table"))
}

/// The end of a table file: meta and footer, to be written at `offset`.
pub(crate) fn encode_end(meta: &TableMeta, identity: u64, number: u64, offset: u64) -> Buf {
    let body = meta.encode();
    let mut buf = Buf::with_capacity(body.len() + 2 * BLOCK_ALIGN);
    buf.extend(&body);
    buf.pad_to(BLOCK_ALIGN);
    let meta_size = buf.len();
    let meta_crc = place(identity, number, offset).crc(&buf);
    buf.resize(meta_size + BLOCK_ALIGN);
    let footer = &mut buf[meta_size..];
    footer[..8].copy_from_slice(&FOOTER_MAGIC.to_le_bytes());
    footer[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    footer[12..16].copy_from_slice(&meta_crc.to_le_bytes());
    footer[16..24].copy_from_slice(&offset.to_le_bytes());
    footer[24..32].copy_from_slice(&(body.len() as u64).to_le_bytes());
    footer[32..40].copy_from_slice(&identity.to_le_bytes());
    footer[40..48].copy_from_slice(&number.to_le_bytes());
    let crc = place(identity, number, offset + meta_size as u64).crc(&footer[..BLOCK_ALIGN - 4]);
    footer[BLOCK_ALIGN - 4..].copy_from_slice(&crc.to_le_bytes());
    buf
}

/// An open table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) number: u64,
    pub(crate) file: FileId,
    pub(crate) path: PathBuf,
    pub(crate) identity: u64,
    pub(crate) size: u64,
    pub(crate) meta: TableMeta,
    heads: Heads,
    /// Where the cache has each block, or had it.
    frames: Box<[Cell<u32>]>,
}

impl Table {
    /// A table whose file is open.
    pub(crate) fn new(path: PathBuf, file: FileId, identity: u64, number: u64, size: u64, meta: TableMeta) -> Table {
        let frames = meta.index.iter().map(|_| Cell::new(u32::MAX)).collect();
        Table { number, file, path, identity, size, heads: Heads::of(&meta), frames, meta }
    }

    /// The place in the cache that a block was given last.
    #[inline]
    pub(crate) fn frame(&self, block: usize) -> &Cell<u32> {
        &self.frames[block]
    }

    /// The block that may hold the first entry at or after `key`: the newest revisions of a key with which a block
    /// starts may stand at the end of the block before.
    #[inline]
    pub(crate) fn block_of(&self, key: &[u8]) -> usize {
        self.count_before(key).saturating_sub(1)
    }

    /// Starts the search for [`Table::block_of`].
    #[inline]
    pub(crate) fn search(&self, key: &[u8]) -> BlockSearch<'_> {
        self.heads.search(key)
    }

    /// Its result, once it has come to its end.
    #[inline]
    pub(crate) fn block_found(&self, search: &BlockSearch<'_>, key: &[u8]) -> usize {
        self.heads.found(&self.meta.index, search, key).saturating_sub(1)
    }

    /// Whether its first key is at or before `key`.
    #[inline]
    pub(crate) fn begins_by(&self, key: &[u8]) -> bool {
        self.meta.index.first().is_some_and(|entry| entry.first_key[..] <= *key)
    }

    pub(crate) fn begins_before(&self, key: &[u8]) -> bool {
        self.meta.index.first().is_some_and(|first| first.first_key[..] < *key)
    }

    /// How many blocks begin before `key`.
    #[inline]
    pub(crate) fn count_before(&self, key: &[u8]) -> usize {
        self.heads.count_before(&self.meta.index, key)
    }

    /// Whether it has no key with a prefix of this hash, by the rule.
    pub(crate) fn lacks_prefix(&self, rule: Option<PrefixRule>, hash: u64) -> bool {
        rule.is_some() && self.meta.prefix == rule && !self.meta.filter.may_hold(hash)
    }

    /// Opens a table the manifest names. Blocking.
    pub(crate) fn open(disk: &mut dyn Disk, dir: &Path, identity: u64, number: u64) -> Result<Table, OpenError> {
        Self::open_file(disk, table_path(dir, number), identity, number)
    }

    /// Opens a table under whatever name its file has. Blocking.
    pub(crate) fn open_file(
        disk: &mut dyn Disk,
        path: PathBuf,
        identity: u64,
        number: u64,
    ) -> Result<Table, OpenError> {
        let corrupt = |offset: u64, what: &'static str| Corruption { path: path.clone(), offset, what };
        let (file, size) = match call(disk, DiskOp::Open { path: path.clone(), mode: OpenMode::Read }) {
            Ok(DiskReply::Opened { file, len }) => (file, len),
            Ok(other) => unreachable!("an open answered {other:?}"),
            Err(DiskError { fault: DiskFault::NotFound, .. }) => return Err(corrupt(0, "the file is missing").into()),
            Err(error) => return Err(error.into()),
        };
        if size < 2 * BLOCK_ALIGN as u64 || size % BLOCK_ALIGN as u64 != 0 {
            return Err(corrupt(size, "the file is cut short").into());
        }
        let footer_at = size - BLOCK_ALIGN as u64;
        let footer = read(disk, file, footer_at, BLOCK_ALIGN)?;
        if footer.len() < BLOCK_ALIGN {
            return Err(corrupt(footer_at, "the file is cut short").into());
        }
        let crc = u32::from_le_bytes([
            footer[BLOCK_ALIGN - 4],
            footer[BLOCK_ALIGN - 3],
            footer[BLOCK_ALIGN - 2],
            footer[BLOCK_ALIGN - 1],
        ]);
        let whole = footer[..8] == FOOTER_MAGIC.to_le_bytes()
            && crc == place(identity, number, footer_at).crc(&footer[..BLOCK_ALIGN - 4]);
        if !whole {
            return Err(corrupt(footer_at, "the footer is damaged").into());
        }
        let mut reader = FixedReader::new(&footer[8..]);
        let mut fields = || Ok::<_, Truncated>((reader.u32()?, reader.u32()?, reader.u64()?, reader.u64()?));
        let (version, meta_crc, meta_at, meta_len) =
            fields().expect("invariant: a footer block is longer than its fields");
        let meta_size = footer_at.checked_sub(meta_at).filter(|size| meta_len <= *size && *size <= META_SIZE_MAX);
        let Some(meta_size) = meta_size.filter(|_| (FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version)) else {
            return Err(corrupt(footer_at, "the footer is of another format").into());
        };
        let bytes = read(disk, file, meta_at, meta_size as usize)?;
        if bytes.len() as u64 != meta_size || meta_crc != place(identity, number, meta_at).crc(&bytes) {
            return Err(corrupt(meta_at, "the index is damaged").into());
        }
        let meta = TableMeta::decode(&bytes[..meta_len as usize], version)
            .map_err(|_| corrupt(meta_at, "the index cannot be read"))?;
        Ok(Table::new(path, file, identity, number, size, meta))
    }

    /// Reads and checks every block, many at a time. Blocking.
    pub(crate) fn verify(&self, disk: &mut dyn Disk) -> Result<(), OpenError> {
        let mut next = 0;
        for entry in &self.meta.index {
            if entry.offset != next {
                return Err(self.corrupt(entry.offset, "the index has a gap").into());
            }
            next += u64::from(entry.size);
        }
        let mut rest = &self.meta.index[..];
        while let Some(first) = rest.first() {
            let end = first.offset + VERIFY_READ_SIZE;
            let (together, after) = rest.split_at(rest.partition_point(|entry| entry.offset < end));
            rest = after;
            let size = together.iter().map(|entry| entry.size as usize).sum();
            let bytes = read(disk, self.file, first.offset, size)?;
            for entry in together {
                let at = (entry.offset - first.offset) as usize;
                self.check(entry, bytes.get(at..at + entry.size as usize).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Checks a block that was read.
    pub(crate) fn check(&self, entry: &IndexEntry, bytes: &[u8]) -> Result<Block, Corruption> {
        if bytes.len() != entry.size as usize {
            return Err(self.corrupt(entry.offset, "a block is cut short"));
        }
        Block::check(bytes, &place(self.identity, self.number, entry.offset))
            .map_err(|what| self.corrupt(entry.offset, what))
    }

    pub(crate) fn corrupt(&self, offset: u64, what: &'static str) -> Corruption {
        Corruption { path: self.path.clone(), offset, what }
    }
}

pub(crate) fn read(disk: &mut dyn Disk, file: FileId, offset: u64, size: usize) -> Result<Vec<u8>, DiskError> {
    match call(disk, DiskOp::Read { file, offset, buf: Buf::zeroed(size) })? {
        DiskReply::Read { buf, len } => Ok(buf[..len].to_vec()),
        other => unreachable!("a read answered {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_filter_holds_what_was_added_and_little_else() {
        let hash = |n: u64| Filter::hash(&n.to_be_bytes());
        let filter = Filter::build(&(0..10_000).map(hash).collect::<Vec<_>>());
        assert!((0..10_000).all(|n| filter.may_hold(hash(n))));
        let wrong = (10_000..110_000).filter(|n| filter.may_hold(hash(*n))).count();
        assert!((500..2_500).contains(&wrong), "about one in a hundred: {wrong} of 100,000");
        let mut encoded = Vec::new();
        filter.encode(&mut encoded);
        assert_eq!(Filter::decode(&encoded[4..]), Ok(filter));
        assert!(!Filter::default().may_hold(7));
    }

    proptest! {
        #[test]
        fn a_key_is_looked_for_in_the_block_a_search_of_whole_keys_finds(
            keys in prop::collection::btree_set(prop::collection::vec(0u8..3, 0..12), 1..50),
            probes in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 1..50),
            shared in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let with = |key: &Vec<u8>| [&shared[..], key].concat();
            let keys: Vec<Vec<u8>> = keys.iter().map(with).collect();
            let index = keys.iter().map(|key| IndexEntry { first_key: key.clone(), offset: 0, size: 0 }).collect();
            let meta = TableMeta { index, last_key: keys[keys.len() - 1].clone(), ..TableMeta::default() };
            let heads = Heads::of(&meta);
            for probe in probes.iter().map(with).chain(probes.iter().cloned()).chain(keys.iter().cloned()) {
                let expected = keys.partition_point(|key| *key < probe);
                prop_assert_eq!(heads.count_before(&meta.index, &probe), expected);
            }
        }
    }
}
