//! A table: an immutable sorted file of blocks with its index, filter and range deletions.
//!
//! Blocks, then the *meta* (index, filter, range deletions; padded, one checksum), then one footer block. What
//! [`TableMeta`] holds stays in memory while the table lives. Format version 1; byte table in
//! `docs/formats/table.md`.

use crate::block::Block;
use crate::error::{Corruption, OpenError};
use crate::memtable::RangeDelete;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskError, DiskFault, DiskOp, DiskReply, FileId, OpenMode, call};
use tantu_base::fixed::{FixedReader, Truncated, put_sized};
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;
use xxhash_rust::xxh3::xxh3_64;

const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"TNTTABLE");
const FORMAT_VERSION: u32 = 2;
/// Longest meta a reader accepts, in bytes.
const META_SIZE_MAX: u64 = 1 << 30;
const FILTER_PROBE_COUNT: u64 = 6;
const FILTER_BITS_PER_KEY: usize = 10;

/// Where a block is, and the first key in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) first_key: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) size: u32,
}

/// A bloom filter over the keys of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filter(Vec<u8>);

impl Filter {
    pub(crate) fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    pub(crate) fn build(hashes: &[u64]) -> Self {
        let mut filter = Filter(vec![0; (hashes.len() * FILTER_BITS_PER_KEY).div_ceil(8).max(8)]);
        for hash in hashes {
            for probe in 0..FILTER_PROBE_COUNT {
                let bit = filter.bit(*hash, probe);
                filter.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    fn bit(&self, hash: u64, probe: u64) -> usize {
        let step = hash.rotate_left(32) | 1;
        (hash.wrapping_add(step.wrapping_mul(probe)) % (self.0.len() as u64 * 8)) as usize
    }

    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        !self.0.is_empty()
            && (0..FILTER_PROBE_COUNT)
                .all(|probe| self.0[self.bit(hash, probe) / 8] & (1 << (self.bit(hash, probe) % 8)) != 0)
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
}

impl TableMeta {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.entry_count.to_le_bytes());
        put_sized(&mut out, &self.last_key);
        put_sized(&mut out, &self.filter.0);
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
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let entry_count = reader.u64()?;
        let last_key = reader.sized()?.to_vec();
        let filter = Filter(reader.sized()?.to_vec());
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
        if reader.is_empty() { Ok(Self { index, filter, ranges, last_key, entry_count }) } else { Err(Truncated) }
    }

    /// The block that may hold the first entry at or after `key`: the newest revisions of a key with which a block
    /// starts may stand at the end of the block before.
    pub(crate) fn block_of(&self, key: &[u8]) -> usize {
        self.index.partition_point(|entry| entry.first_key[..] < *key).saturating_sub(1)
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
    let mut buf = Buf::from(&body[..]);
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
}

impl Table {
    /// Opens a table the manifest names. Blocking.
    pub(crate) fn open(disk: &mut dyn Disk, dir: &Path, identity: u64, number: u64) -> Result<Table, OpenError> {
        let path = table_path(dir, number);
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
        let Some(meta_size) = meta_size.filter(|_| version == FORMAT_VERSION) else {
            return Err(corrupt(footer_at, "the footer is of another format").into());
        };
        let bytes = read(disk, file, meta_at, meta_size as usize)?;
        if bytes.len() as u64 != meta_size || meta_crc != place(identity, number, meta_at).crc(&bytes) {
            return Err(corrupt(meta_at, "the index is damaged").into());
        }
        let meta =
            TableMeta::decode(&bytes[..meta_len as usize]).map_err(|_| corrupt(meta_at, "the index cannot be read"))?;
        Ok(Table { number, file, path, identity, size, meta })
    }

    /// Reads and checks every block. Blocking.
    pub(crate) fn verify(&self, disk: &mut dyn Disk) -> Result<(), OpenError> {
        let mut next = 0;
        for entry in &self.meta.index {
            if entry.offset != next {
                return Err(self.corrupt(entry.offset, "the index has a gap").into());
            }
            let bytes = read(disk, self.file, entry.offset, entry.size as usize)?;
            self.check(entry, &bytes)?;
            next += u64::from(entry.size);
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

    /// Whether a key may be in it.
    pub(crate) fn may_hold(&self, key: &[u8], hash: u64) -> bool {
        let first = self.meta.index.first();
        first.is_some_and(|first| first.first_key[..] <= *key)
            && *key <= self.meta.last_key[..]
            && self.meta.filter.may_hold(hash)
    }
}

pub(crate) fn read(disk: &mut dyn Disk, file: FileId, offset: u64, size: usize) -> Result<Vec<u8>, DiskError> {
    match call(disk, DiskOp::Read { file, offset, buf: Buf::zeroed(size) })? {
        DiskReply::Read { buf, len } => Ok(buf[..len].to_vec()),
        other => unreachable!("a read answered {other:?}"),
    }
}
