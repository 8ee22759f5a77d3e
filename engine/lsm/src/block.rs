//! A data block: entries in order behind one checksum, laid out for a point read that touches few cache lines.
//!
//! What all keys of the block begin with is stored once. A *tag* per entry, one byte of its key's hash, is all that a point
//! read looks at until it has found a likely entry; the offsets lead to it. Byte table in `docs/formats/table.md`.

use crate::compress;
use crate::option::Compression;
use std::cmp::Ordering;
use std::ops::Range;
use tantu_base::buf::Buf;
use tantu_base::checksum::Place;
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;
use tantu_base::prefetch::prefetch_lines;

const HEADER_SIZE: usize = 28;
/// Where in the header the version is from which those of the entries are counted.
const BASE: Range<usize> = 16..24;
/// A tag and an offset.
const SLOT_SIZE: usize = 1 + 2;
/// Lines at the beginning of a block of small entries that hold its header, its tags and most of its offsets.
const HEAD_LINE_COUNT: usize = 3;
/// Lines that an entry is likely to have.
const ENTRY_LINE_COUNT: usize = 2;
/// Bytes of a length or a version's distance at most: seven bits each.
const VARINT_SIZE_MAX: usize = 10;

/// One byte of a key's hash; the filter uses others.
#[inline]
fn tag(hash: u64) -> u8 {
    hash as u8
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_size(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// Reads a number and moves behind it.
#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u64::from(first));
    }
    let mut number = u64::from(first & 0x7f);
    for shift in 1..VARINT_SIZE_MAX {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << (7 * shift);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// How many bytes two keys begin with alike.
pub(crate) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// An entry of a block: its key is the block's prefix and then `suffix`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) suffix: &'a [u8],
    pub(crate) version: Version,
    pub(crate) value: Option<&'a [u8]>,
}

/// An entry that waits for its block to be finished.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: usize,
    key_len: usize,
    /// None: deleted.
    value_len: Option<usize>,
    version: Version,
    tag: u8,
}

/// Fills one block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    entries: Vec<Waiting>,
    prefix_len: usize,
    versions: Option<(Version, Version)>,
    encoded: Vec<u8>,
    packed: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn first_key(&self) -> &[u8] {
        self.entries.first().map_or(&[], |entry| &self.bytes[entry.at..entry.at + entry.key_len])
    }

    /// Bytes the block needs at most, padding aside, with so many of the gathered bytes.
    fn size_with(&self, count: usize, bytes: usize, prefix_len: usize, versions: (Version, Version)) -> usize {
        let distance = varint_size(versions.1.0 - versions.0.0);
        // The lengths of a small block's parts take two bytes at most; larger ones stand alone.
        let lengths = if bytes < 1 << 14 { 2 + 2 } else { 2 * VARINT_SIZE_MAX };
        HEADER_SIZE + prefix_len + count * (SLOT_SIZE + distance + lengths) + bytes - count * prefix_len
    }

    /// Bytes of the block before padding, at most.
    pub(crate) fn size(&self) -> usize {
        match self.versions {
            Some(versions) => self.size_with(self.entries.len(), self.bytes.len(), self.prefix_len, versions),
            None => HEADER_SIZE,
        }
    }

    /// Adds an entry; false if the block would be longer than `size_max` with it. The first always has room.
    #[must_use]
    pub(crate) fn add(
        &mut self,
        key: &[u8],
        hash: u64,
        version: Version,
        value: Option<&[u8]>,
        size_max: usize,
    ) -> bool {
        let value_len = value.map(<[u8]>::len);
        let (prefix_len, versions) = match self.versions {
            None => (key.len(), (version, version)),
            Some((low, high)) => {
                let prefix_len = shared_len(&self.first_key()[..self.prefix_len], key);
                let versions = (low.min(version), high.max(version));
                let bytes = self.bytes.len() + key.len() + value_len.unwrap_or(0);
                if self.size_with(self.entries.len() + 1, bytes, prefix_len, versions) > size_max {
                    return false;
                }
                (prefix_len, versions)
            }
        };
        self.prefix_len = prefix_len;
        self.versions = Some(versions);
        self.entries.push(Waiting { at: self.bytes.len(), key_len: key.len(), value_len, version, tag: tag(hash) });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        true
    }

    /// Appends the finished block to `out` and empties the builder; returns its size.
    pub(crate) fn finish(&mut self, place: &Place, compression: Compression, out: &mut Buf) -> u32 {
        let (base, _) = self.versions.take().expect("a block has at least one entry");
        let count = self.entries.len();
        let encoded = &mut self.encoded;
        encoded.clear();
        encoded.resize(HEADER_SIZE, 0);
        encoded.extend_from_slice(&self.bytes[..self.prefix_len]);
        encoded.extend(self.entries.iter().map(|entry| entry.tag));
        let offsets_at = encoded.len();
        encoded.resize(offsets_at + 2 * count, 0);
        for (n, entry) in self.entries.iter().enumerate() {
            let offset =
                u16::try_from(encoded.len()).expect("invariant: only a block of one entry is longer than 64 KiB");
            encoded[offsets_at + 2 * n..][..2].copy_from_slice(&offset.to_le_bytes());
            put_varint(encoded, entry.version.0 - base.0);
            put_varint(encoded, (entry.key_len - self.prefix_len) as u64);
            put_varint(encoded, entry.value_len.map_or(0, |len| len as u64 + 1));
            let end = entry.at + entry.key_len + entry.value_len.unwrap_or(0);
            encoded.extend_from_slice(&self.bytes[entry.at + self.prefix_len..end]);
        }
        let size = encoded.len().next_multiple_of(BLOCK_ALIGN);
        encoded[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        encoded[8..12].copy_from_slice(&(count as u32).to_le_bytes());
        let end = encoded.len() as u32;
        encoded[12..16].copy_from_slice(&end.to_le_bytes());
        encoded[BASE].copy_from_slice(&base.0.to_le_bytes());
        encoded[24..28].copy_from_slice(&(self.prefix_len as u32).to_le_bytes());
        let start = out.len();
        let size = match compression {
            Compression::Lz4 if compress::pack(encoded, &mut self.packed) => {
                out.extend(&self.packed);
                self.packed.len().next_multiple_of(BLOCK_ALIGN)
            }
            Compression::Lz4 | Compression::None => {
                out.extend(encoded);
                size
            }
        };
        out.resize(start + size);
        let block = &mut out[start..];
        let crc = place.crc(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        self.entries.clear();
        self.bytes.clear();
        self.prefix_len = 0;
        size as u32
    }
}

/// A block whose checksum and lengths were found right.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    count: u32,
    prefix_len: u32,
    /// Where the entries end.
    end: u32,
}

impl Block {
    /// Checks the bytes of a block at a place.
    pub(crate) fn check(bytes: &[u8], place: &Place) -> Result<Block, &'static str> {
        let ([crc, size], _) = bytes.as_chunks::<4>().0.split_first_chunk().ok_or("a block is cut short")?;
        let (crc, size) = (u32::from_le_bytes(*crc), u32::from_le_bytes(*size));
        if (size & !compress::FLAG) as usize != bytes.len() || crc != place.crc(&bytes[4..]) {
            return Err("a block has a wrong checksum");
        }
        Self::check_plain(if size & compress::FLAG != 0 { compress::unpack(bytes)? } else { bytes.to_vec() })
    }

    /// Checks the lengths of a block.
    fn check_plain(bytes: Vec<u8>) -> Result<Block, &'static str> {
        const LENGTHS: &str = "a block has impossible lengths";
        let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else { return Err("a block is cut short") };
        let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (count, end, prefix_len) = (field(8), field(12), field(24));
        let slots_size = (count as usize).checked_mul(SLOT_SIZE);
        let entries_at = slots_size.and_then(|size| size.checked_add(HEADER_SIZE + prefix_len as usize));
        if count == 0 || end as usize > bytes.len() || entries_at.is_none_or(|at| at > end as usize) {
            return Err(LENGTHS);
        }
        let block = Block { bytes, count, prefix_len, end };
        let mut reached = entries_at.unwrap_or_default();
        for at in 0..block.count() {
            // Entries follow each other without gaps, so that nothing is read that was not checked.
            if block.offset(at) != reached {
                return Err(LENGTHS);
            }
            reached = block.parse(reached).ok_or(LENGTHS)?.1;
        }
        if reached == end as usize { Ok(block) } else { Err(LENGTHS) }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// Where the tags begin.
    #[inline]
    fn slots_at(&self) -> usize {
        HEADER_SIZE + self.prefix_len as usize
    }

    /// What the versions of its entries are counted from.
    #[inline]
    fn base(&self) -> u64 {
        self.bytes[..HEADER_SIZE][BASE].first_chunk().map_or(0, |base| u64::from_le_bytes(*base))
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What every key in it begins with.
    #[inline]
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.bytes[HEADER_SIZE..self.slots_at()]
    }

    #[inline]
    fn tags(&self) -> &[u8] {
        &self.bytes[self.slots_at()..][..self.count()]
    }

    #[inline]
    fn offset(&self, at: usize) -> usize {
        let place = self.slots_at() + self.count() + 2 * at;
        usize::from(u16::from_le_bytes([self.bytes[place], self.bytes[place + 1]]))
    }

    /// The entry at an offset, and where it ends.
    #[inline]
    fn parse(&self, mut at: usize) -> Option<(Entry<'_>, usize)> {
        let bytes = self.bytes.get(..self.end as usize)?;
        let distance = varint(bytes, &mut at)?;
        let suffix_len = varint(bytes, &mut at)? as usize;
        let value_len = varint(bytes, &mut at)? as usize;
        let value_at = at.checked_add(suffix_len)?;
        let suffix = bytes.get(at..value_at)?;
        let end = value_at.checked_add(value_len.saturating_sub(1))?;
        let value = bytes.get(value_at..end)?;
        let version = Version(self.base().checked_add(distance)?);
        Some((Entry { suffix, version, value: (value_len > 0).then_some(value) }, end))
    }

    /// Has what a reader begins with fetched.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch_lines(&self.bytes, HEAD_LINE_COUNT);
    }

    /// Has the entry fetched that is the first to have this hash, or seems to.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        if let Some(at) = self.tags().iter().position(|tag| *tag == self::tag(hash)) {
            prefetch_lines(&self.bytes[self.offset(at)..], ENTRY_LINE_COUNT);
        }
    }

    /// An entry by its place.
    #[inline]
    pub(crate) fn entry(&self, at: usize) -> Entry<'_> {
        self.parse(self.offset(at)).expect("invariant: every entry was checked when the block arrived").0
    }

    /// Where an entry begins; behind the last, where they end.
    #[inline]
    pub(crate) fn place_of(&self, at: usize) -> usize {
        if at < self.count() { self.offset(at) } else { self.end as usize }
    }

    /// The entry that begins at a place, and where the one after it does; none where they end.
    #[inline]
    pub(crate) fn entry_at(&self, place: usize) -> Option<(Entry<'_>, usize)> {
        let parse = || self.parse(place).expect("invariant: every entry was checked when the block arrived");
        (place < self.end as usize).then(parse)
    }

    /// Whether neighbours may have the same key; false if none do.
    #[inline]
    pub(crate) fn may_repeat_keys(&self) -> bool {
        let tags = self.tags();
        tags.iter().zip(&tags[1..]).fold(false, |any, (tag, next)| any | (tag == next))
    }

    /// The newest entry of a key a reader at `at` sees, by its hash.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], hash: u64, at: Version) -> Option<Entry<'_>> {
        let suffix = key.strip_prefix(self.prefix())?;
        let wanted = tag(hash);
        for (chunk_at, chunk) in self.tags().chunks(32).enumerate() {
            let mut likely =
                chunk.iter().enumerate().fold(0u32, |bits, (n, tag)| bits | u32::from(*tag == wanted) << n);
            while likely != 0 {
                let entry = self.entry(chunk_at * 32 + likely.trailing_zeros() as usize);
                if entry.version <= at && entry.suffix == suffix {
                    return Some(entry);
                }
                likely &= likely - 1;
            }
        }
        None
    }

    /// The first entry at or after (key, version descending).
    pub(crate) fn seek(&self, key: &[u8], at: Version) -> usize {
        let prefix = self.prefix();
        let shared = shared_len(prefix, key);
        if shared < prefix.len() {
            // The key lies before all entries, or behind them.
            return if key.get(shared).is_none_or(|byte| *byte < prefix[shared]) { 0 } else { self.count() };
        }
        let suffix = &key[prefix.len()..];
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            let entry = self.entry(middle);
            match entry.suffix.cmp(suffix).then_with(|| at.cmp(&entry.version)) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Filter, place};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_block_gives_back_what_it_was_filled_with(
            shared in prop::collection::vec(any::<u8>(), 0..20),
            keys in prop::collection::btree_set(prop::collection::vec(0u8..4, 0..6), 1..60),
            base in 0u64..u64::MAX - 400,
            probes in prop::collection::vec(prop::collection::vec(0u8..4, 0..6), 0..20),
            lz4 in any::<bool>(),
        ) {
            let compression = if lz4 { Compression::Lz4 } else { Compression::None };
            let place = place(7, 3, 0);
            let mut builder = BlockBuilder::default();
            let mut entries: Vec<(Vec<u8>, Version, Option<Vec<u8>>)> = Vec::new();
            for (n, key) in keys.iter().enumerate() {
                let key = [&shared[..], key].concat();
                for older in 0..=n % 3 {
                    let version = Version(base + 300 - older as u64 * 7);
                    let value = (n % 4 != 3).then(|| vec![n as u8; n * 5 % 200]);
                    prop_assert!(builder.add(&key, Filter::hash(&key), version, value.as_deref(), 60 << 10));
                    entries.push((key.clone(), version, value));
                }
            }
            let bound = builder.size();
            let mut out = Buf::with_capacity(0);
            let size = builder.finish(&place, compression, &mut out) as usize;
            prop_assert!(size <= bound.next_multiple_of(BLOCK_ALIGN), "{} was bounded by {}", size, bound);
            let block = Block::check(&out, &place).expect("whole");
            prop_assert_eq!(block.count(), entries.len());
            for (at, (key, version, value)) in entries.iter().enumerate() {
                let entry = block.entry(at);
                prop_assert_eq!([block.prefix(), entry.suffix].concat(), key.clone());
                prop_assert_eq!((entry.version, entry.value), (*version, value.as_deref()));
                prop_assert_eq!(block.seek(key, *version), at);
                prop_assert_eq!(block.find(key, Filter::hash(key), *version), Some(entry));
            }
            let known: BTreeSet<&[u8]> = entries.iter().map(|(key, ..)| &key[..]).collect();
            for probe in &probes {
                let probe = [&shared[..], probe].concat();
                let found = block.find(&probe, Filter::hash(&probe), Version(u64::MAX)).is_some();
                prop_assert_eq!(found, known.contains(&probe[..]));
                let first = entries.partition_point(|(key, ..)| key[..] < probe[..]);
                prop_assert_eq!(block.seek(&probe, Version(u64::MAX)), first);
            }
        }
    }

    #[test]
    fn a_large_entry_has_a_block_of_its_own() {
        let mut builder = BlockBuilder::default();
        let large = vec![7u8; 3 << 20];
        assert!(builder.add(b"k", 0, Version(1), Some(&large), 4096));
        assert!(!builder.add(b"l", 0, Version(1), None, 4096));
        let mut out = Buf::with_capacity(0);
        builder.finish(&place(1, 1, 0), Compression::None, &mut out);
        let block = Block::check(&out, &place(1, 1, 0)).expect("whole");
        assert_eq!(block.entry(0).value, Some(&large[..]));
        assert!(builder.is_empty());
    }

    #[test]
    fn numbers_take_as_many_bytes_as_was_said() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, number);
                assert_eq!(out.len(), varint_size(number), "{number}");
                assert_eq!(varint(&out, &mut 0), Some(number));
            }
        }
    }
}
