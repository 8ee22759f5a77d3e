//! A data block: entries in order, their offsets, zeros up to whole disk blocks, one checksum over all of it.
//!
//! `crc u32 · size u32 · count u32 · entries_end u32 · entries · offsets u32 × count · zeros`.
//! An entry: `version u64 · key length u32 · value length u32 (or deleted) · key · value`. Entries are sorted by key
//! ascending, then version descending.

use std::cmp::Ordering;
use tantu_base::buf::Buf;
use tantu_base::checksum::Place;
use tantu_base::fixed::FixedReader;
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;

const HEADER_SIZE: usize = 16;
const ENTRY_HEADER_SIZE: usize = 16;
const DELETED: u32 = u32::MAX;

/// An entry of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) version: Version,
    pub(crate) value: Option<&'a [u8]>,
}

/// Bytes an entry adds to a block.
pub(crate) fn entry_size(key: &[u8], value: Option<&[u8]>) -> usize {
    ENTRY_HEADER_SIZE + key.len() + value.map_or(0, <[u8]>::len) + 4
}

/// Fills one block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    entries: Vec<u8>,
    offsets: Vec<u32>,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of the block before padding.
    pub(crate) fn size(&self) -> usize {
        HEADER_SIZE + self.entries.len() + 4 * self.offsets.len()
    }

    pub(crate) fn add(&mut self, key: &[u8], version: Version, value: Option<&[u8]>) {
        self.offsets.push((HEADER_SIZE + self.entries.len()) as u32);
        self.entries.extend_from_slice(&version.0.to_le_bytes());
        self.entries.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(key);
        self.entries.extend_from_slice(value.unwrap_or_default());
    }

    /// Appends the finished block to `out` and empties the builder; returns its size.
    pub(crate) fn finish(&mut self, place: &Place, out: &mut Buf) -> u32 {
        let start = out.len();
        let size = self.size().next_multiple_of(BLOCK_ALIGN);
        out.resize(start + size);
        let block = &mut out[start..];
        let entries_end = HEADER_SIZE + self.entries.len();
        block[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        block[8..12].copy_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        block[12..16].copy_from_slice(&(entries_end as u32).to_le_bytes());
        block[HEADER_SIZE..entries_end].copy_from_slice(&self.entries);
        for (at, offset) in self.offsets.iter().enumerate() {
            block[entries_end + 4 * at..][..4].copy_from_slice(&offset.to_le_bytes());
        }
        let crc = place.crc(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        self.entries.clear();
        self.offsets.clear();
        size as u32
    }
}

/// A block whose checksum was found right.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    count: usize,
    entries_end: usize,
}

impl Block {
    /// Checks the bytes of a block at a place.
    pub(crate) fn check(bytes: &[u8], place: &Place) -> Result<Block, &'static str> {
        let mut reader = FixedReader::new(bytes);
        let mut field = || reader.u32().map_err(|_| "a block is cut short");
        let (crc, size, count, entries_end) = (field()?, field()? as usize, field()? as usize, field()? as usize);
        if size != bytes.len() || crc != place.crc(&bytes[4..]) {
            return Err("a block has a wrong checksum");
        }
        let offsets_size = count.checked_mul(4).ok_or("a block has impossible lengths")?;
        if entries_end < HEADER_SIZE || entries_end.checked_add(offsets_size).is_none_or(|end| end > size) {
            return Err("a block has impossible lengths");
        }
        let block = Block { bytes: bytes.to_vec(), count, entries_end };
        if (0..count).all(|at| block.try_entry(at).is_some()) {
            Ok(block)
        } else {
            Err("a block has impossible lengths")
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn try_entry(&self, at: usize) -> Option<Entry<'_>> {
        let offset = self.bytes.get(self.entries_end + 4 * at..)?.first_chunk::<4>()?;
        let mut reader = FixedReader::new(self.bytes.get(u32::from_le_bytes(*offset) as usize..self.entries_end)?);
        let version = Version(reader.u64().ok()?);
        let key_len = reader.u32().ok()? as usize;
        let value_len = reader.u32().ok()?;
        let key = reader.take(key_len).ok()?;
        let value = if value_len == DELETED { None } else { Some(reader.take(value_len as usize).ok()?) };
        Some(Entry { key, version, value })
    }

    /// An entry by its place.
    #[inline]
    pub(crate) fn entry(&self, at: usize) -> Entry<'_> {
        self.try_entry(at).expect("invariant: every entry was checked when the block arrived")
    }

    /// The first entry at or after (key, version descending).
    pub(crate) fn seek(&self, key: &[u8], at: Version) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            let entry = self.entry(middle);
            match entry.key.cmp(key).then_with(|| at.cmp(&entry.version)) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        low
    }
}
