//! Bytes of a log segment: two copies of the header, then groups of entries, each on whole blocks.
//!
//! Every byte of a header or a group, padding included, is under a checksum that is seeded with its place, so a
//! recycled, misplaced or flipped block never passes. Groups of one segment are chained: each names the
//! checksum of the one before. Byte tables in `docs/formats/replog-segment.md`.

use crate::Lsn;
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::Epoch;
use tantu_base::limit::{BLOCK_ALIGN, FRAME_SIZE_MAX};

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"TNTULOG1");
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"TGRP");
/// Format version of segments.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Where the first group of a segment starts: after two copies of the header.
pub(crate) const GROUPS_AT: u64 = 2 * BLOCK_ALIGN as u64;
/// Bytes before a group's entries.
pub(crate) const GROUP_HEADER_SIZE: usize = 64;
/// Longest group a reader accepts, in bytes.
pub(crate) const GROUP_SIZE_MAX: usize = 2 * FRAME_SIZE_MAX;

/// Where a segment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentId {
    pub(crate) group: u32,
    pub(crate) incarnation: u64,
    pub(crate) seq: u64,
}

impl SegmentId {
    fn place(&self, offset: u64) -> Place {
        Place {
            owner: self.group,
            kind: FileKind::ReplogSegment,
            incarnation: self.incarnation,
            file: self.seq,
            offset,
        }
    }

    /// Both copies of the header.
    pub(crate) fn header(&self, base: &[u8]) -> Buf {
        let mut buf = Buf::zeroed(GROUPS_AT as usize);
        for copy in 0..2 {
            let at = copy * BLOCK_ALIGN;
            let block = &mut buf[at..at + BLOCK_ALIGN];
            block[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
            block[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
            block[12..16].copy_from_slice(&self.group.to_le_bytes());
            block[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
            block[24..32].copy_from_slice(&self.seq.to_le_bytes());
            block[32..36].copy_from_slice(&(base.len() as u32).to_le_bytes());
            block[36..36 + base.len()].copy_from_slice(base);
            let crc = self.place(at as u64).crc(&block[..BLOCK_ALIGN - 4]);
            block[BLOCK_ALIGN - 4..].copy_from_slice(&crc.to_le_bytes());
        }
        buf
    }

    /// What the chain of a segment starts with.
    pub(crate) fn chain_start(&self) -> u32 {
        self.place(0).crc(b"chain")
    }
}

/// One copy of a header, read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum HeaderCopy {
    Valid { incarnation: u64, base: Vec<u8> },
    Newer { version: u32 },
    Invalid,
}

/// Reads copy 0 or 1 of a header.
pub(crate) fn read_header(group: u32, seq: u64, copy: usize, file: &[u8]) -> HeaderCopy {
    let at = copy * BLOCK_ALIGN;
    let Some(block) = file.get(at..at + BLOCK_ALIGN) else { return HeaderCopy::Invalid };
    let mut reader = FixedReader::new(block);
    let mut fields = || {
        Ok::<_, Truncated>((reader.u64()?, reader.u32()?, reader.u32()?, reader.u64()?, reader.u64()?, reader.sized()?))
    };
    let Ok((magic, version, of_group, incarnation, of_seq, base)) = fields() else { return HeaderCopy::Invalid };
    let id = SegmentId { group, incarnation, seq };
    let crc = u32::from_le_bytes(block[BLOCK_ALIGN - 4..].try_into().expect("invariant: four bytes"));
    let whole = magic == SEGMENT_MAGIC && crc == id.place(at as u64).crc(&block[..BLOCK_ALIGN - 4]);
    match (whole, version) {
        (true, FORMAT_VERSION) if of_group == group && of_seq == seq => {
            HeaderCopy::Valid { incarnation, base: base.to_vec() }
        }
        (true, version) if version > FORMAT_VERSION => HeaderCopy::Newer { version },
        _ => HeaderCopy::Invalid,
    }
}

/// The fields of a group's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupHeader {
    pub(crate) first: Lsn,
    pub(crate) count: u32,
    pub(crate) epoch: Epoch,
    /// Everything below was flushed when the group was written.
    pub(crate) durable: Lsn,
    /// Nothing below is needed any more.
    pub(crate) low: Lsn,
    /// Checksum of the group before it in the segment.
    pub(crate) previous: u32,
}

impl GroupHeader {
    /// Whether a log can have written it: what is released was flushed, and what was flushed came before.
    pub(crate) fn is_possible(&self) -> bool {
        self.low <= self.durable && self.durable <= self.first && self.first.0.checked_add(self.count.into()).is_some()
    }

    /// The entry after its last.
    pub(crate) fn end(&self) -> Lsn {
        Lsn(self.first.0 + u64::from(self.count))
    }

    /// Completes a group: `buf` holds room for the header and the entries. Returns its checksum.
    pub(crate) fn finish(&self, id: &SegmentId, offset: u64, buf: &mut Buf) -> u32 {
        let body_len = (buf.len() - GROUP_HEADER_SIZE) as u32;
        buf.pad_to(BLOCK_ALIGN);
        let size = buf.len() as u32;
        buf[..4].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        buf[8..12].copy_from_slice(&size.to_le_bytes());
        buf[12..16].copy_from_slice(&body_len.to_le_bytes());
        buf[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        buf[24..28].copy_from_slice(&self.count.to_le_bytes());
        buf[28..32].copy_from_slice(&self.previous.to_le_bytes());
        buf[32..40].copy_from_slice(&self.durable.0.to_le_bytes());
        buf[40..48].copy_from_slice(&self.low.0.to_le_bytes());
        buf[48..56].copy_from_slice(&self.epoch.0.to_le_bytes());
        let crc = id.place(offset).crc(&buf[8..]);
        buf[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// Makes any bytes pass for a header or a group, so that what comes after the checksums can be fuzzed.
pub(crate) mod put_right {
    use super::{BLOCK_ALIGN, GROUP_MAGIC, SEGMENT_MAGIC, SegmentId};

    /// Copy 0 or 1 of a header.
    pub(crate) fn header(id: &SegmentId, copy: usize, block: &mut [u8]) {
        block[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        block[12..16].copy_from_slice(&id.group.to_le_bytes());
        block[24..32].copy_from_slice(&id.seq.to_le_bytes());
        let crc = id.place((copy * BLOCK_ALIGN) as u64).crc(&block[..BLOCK_ALIGN - 4]);
        block[BLOCK_ALIGN - 4..].copy_from_slice(&crc.to_le_bytes());
    }

    /// A group; one that names no group before it goes on with the chain. Returns its checksum.
    pub(crate) fn group(id: &SegmentId, offset: u64, chain: u32, bytes: &mut [u8]) -> u32 {
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&size.to_le_bytes());
        if bytes[28..32] == [0; 4] {
            bytes[28..32].copy_from_slice(&chain.to_le_bytes());
        }
        let crc = id.place(offset).crc(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// A group read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    pub(crate) header: GroupHeader,
    pub(crate) crc: u32,
    /// Bytes on disk, padding included.
    pub(crate) size: usize,
    body: &'a [u8],
}

impl<'a> Group<'a> {
    /// Reads the group at `offset`, if there is a whole one.
    pub(crate) fn read(id: &SegmentId, file: &'a [u8], offset: usize) -> Option<Group<'a>> {
        Self::parse(id, file.get(offset..)?, offset as u64)
    }

    /// Reads the group that `bytes`, which stand at `offset` in the file, begin with.
    pub(crate) fn parse(id: &SegmentId, bytes: &'a [u8], offset: u64) -> Option<Group<'a>> {
        let mut reader = FixedReader::new(bytes.get(..GROUP_HEADER_SIZE)?);
        if reader.u32().ok()? != GROUP_MAGIC {
            return None;
        }
        let crc = reader.u32().ok()?;
        let size = reader.u32().ok()? as usize;
        let body_len = reader.u32().ok()? as usize;
        let first = Lsn(reader.u64().ok()?);
        let count = reader.u32().ok()?;
        let previous = reader.u32().ok()?;
        let durable = Lsn(reader.u64().ok()?);
        let low = Lsn(reader.u64().ok()?);
        let epoch = Epoch(reader.u64().ok()?);
        let fits = size <= GROUP_SIZE_MAX
            && size.is_multiple_of(BLOCK_ALIGN)
            && body_len <= size.checked_sub(GROUP_HEADER_SIZE)?;
        let bytes = bytes.get(..size).filter(|_| fits)?;
        if crc != id.place(offset).crc(&bytes[8..]) {
            return None;
        }
        let header = GroupHeader { first, count, epoch, durable, low, previous };
        Some(Group { header, crc, size, body: &bytes[GROUP_HEADER_SIZE..][..body_len] })
    }

    /// Its entries' bodies, in order.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = Result<&'a [u8], Truncated>> + use<'a> {
        let mut reader = FixedReader::new(self.body);
        (0..self.header.count).map(move |_| reader.sized())
    }
}
