//! Looking at a log without opening it: nothing is written, nothing is released.
//!
//! [`survey`] judges a whole log by the same replay that recovery uses, so that a torn tail is told from damage in one
//! place only. [`walk`] shows what one segment holds, and goes on behind a damaged group at the next whole one.

use super::format::{GROUP_HEADER_SIZE, GROUP_SIZE_MAX, GROUPS_AT, Group, HeaderCopy, SegmentId, read_header};
use super::{Entry, OpenError, Opened, VisitError, replay};
use crate::Lsn;
use std::path::Path;
use tantu_base::door::{Disk, DiskError};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::Epoch;
use tantu_base::limit::BLOCK_ALIGN;
use tantu_base::piece::Pieces;

/// What a segment begins with.
pub const MAGIC: &[u8; 8] = b"TNTULOG1";

/// Longest segment a survey reads, in bytes: it is in memory as a whole meanwhile, as it is when a log is opened.
pub const SEGMENT_SIZE_MAX: u64 = 1 << 30;

/// What a log holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// What an open would find.
    pub opened: Opened,
    /// No entry below is needed any more.
    pub low: Lsn,
    /// Groups that were found right.
    pub group_count: u64,
    /// Segments without a group that counts, by their sequence.
    pub unbegun: Vec<u64>,
}

/// Reads a log as recovery does and shows the entries that are still needed. Blocking.
///
/// # Errors
/// See [`OpenError`]: what an open would refuse.
pub fn survey(
    disk: &mut dyn Disk,
    dir: &Path,
    group: u32,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), VisitError>,
) -> Result<Survey, OpenError> {
    let found = replay::replay(disk, dir, group, None, visit)?;
    Ok(Survey { opened: found.opened, low: found.low, group_count: found.group_count, unbegun: found.unbegun })
}

/// What a copy of a segment's header says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose log.
    pub group: u32,
    /// The log's incarnation.
    pub incarnation: u64,
    /// Sequence of the segment.
    pub seq: u64,
    /// What the owner of the log noted.
    pub base: Vec<u8>,
}

/// A part of a segment.
#[derive(Debug)]
pub enum Part<'a> {
    /// Copy 0 or 1 of the header; `None` if it is damaged.
    Header {
        /// Which.
        copy: usize,
        /// What it says.
        header: Option<Header>,
    },
    /// A group whose checksum is right.
    Group {
        /// Where it begins.
        offset: u64,
        /// Bytes, padding included.
        size: usize,
        /// First entry.
        first: Lsn,
        /// How many entries.
        count: u32,
        /// Everything below was flushed when it was written.
        durable: Lsn,
        /// Nothing below was needed any more when it was written.
        low: Lsn,
        /// Whether it names the group before it.
        chained: bool,
    },
    /// An entry of the group shown last; `None` if the lengths in the group do not fit.
    Entry {
        /// Its number.
        lsn: Lsn,
        /// The epoch it was written in.
        epoch: Epoch,
        /// What was appended.
        body: Option<&'a [u8]>,
    },
    /// Blocks that hold something, but no whole group.
    Damaged {
        /// Where they begin.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// Blocks of zeros: reserved and never written.
    Unwritten {
        /// Where they begin.
        offset: u64,
        /// Bytes.
        size: u64,
    },
}

/// Shows the parts of one segment in order. Blocking. Without a valid copy of the header only the two copies are shown: every
/// checksum needs what it says.
///
/// # Errors
/// What the disk answers.
pub fn walk(disk: &mut dyn Disk, path: &Path, show: &mut dyn FnMut(Part<'_>)) -> Result<(), DiskError> {
    let mut pieces = Pieces::open(disk, path)?;
    let headers = pieces.get(disk, 0, GROUPS_AT as usize)?;
    let copies = [0, 1].map(|copy| claimed_header(headers, copy));
    let header = copies.iter().flatten().next().cloned();
    for (copy, header) in copies.into_iter().enumerate() {
        show(Part::Header { copy, header });
    }
    if let Some(Header { group, incarnation, seq, .. }) = header {
        groups(disk, &mut pieces, &SegmentId { group, incarnation, seq }, show)?;
    }
    pieces.close(disk);
    Ok(())
}

/// A copy of a header whose checksum fits what the copy itself says.
fn claimed_header(bytes: &[u8], copy: usize) -> Option<Header> {
    let block = bytes.get(copy * BLOCK_ALIGN..(copy + 1) * BLOCK_ALIGN)?;
    let mut reader = FixedReader::new(&block[12..]);
    let mut fields = || Ok::<_, Truncated>((reader.u32()?, reader.u64()?, reader.u64()?));
    let (group, _, seq) = fields().ok()?;
    match read_header(group, seq, copy, bytes) {
        HeaderCopy::Valid { incarnation, base } => Some(Header { group, incarnation, seq, base }),
        HeaderCopy::Newer { .. } | HeaderCopy::Invalid => None,
    }
}

fn groups(
    disk: &mut dyn Disk,
    pieces: &mut Pieces,
    id: &SegmentId,
    show: &mut dyn FnMut(Part<'_>),
) -> Result<(), DiskError> {
    let mut chain = id.chain_start();
    let mut gap = Gap::default();
    let mut offset = GROUPS_AT;
    while offset < pieces.size() {
        let block = pieces.get(disk, offset, BLOCK_ALIGN)?;
        let is_zero = block.iter().all(|byte| *byte == 0);
        let size = claimed_size(block);
        let bytes = pieces.get(disk, offset, size)?;
        let Some(group) = Group::parse(id, bytes, offset) else {
            gap.grow(offset, is_zero, show);
            offset += BLOCK_ALIGN as u64;
            continue;
        };
        gap.end(offset, show);
        let head = group.header;
        show(Part::Group {
            offset,
            size: group.size,
            first: head.first,
            count: head.count,
            durable: head.durable,
            low: head.low,
            chained: head.previous == chain,
        });
        let mut lsn = head.first;
        for body in group.bodies() {
            show(Part::Entry { lsn, epoch: head.epoch, body: body.ok() });
            lsn = lsn.next();
            if body.is_err() {
                break;
            }
        }
        chain = group.crc;
        offset += group.size as u64;
    }
    gap.end(pieces.size(), show);
    Ok(())
}

/// The size a group gives itself, capped; at least a block.
fn claimed_size(block: &[u8]) -> usize {
    let size = block.get(8..12).map_or(0, |size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize);
    if block.len() < GROUP_HEADER_SIZE || size > GROUP_SIZE_MAX { BLOCK_ALIGN } else { size.max(BLOCK_ALIGN) }
}

/// Blocks between groups that were not shown yet.
#[derive(Default)]
struct Gap {
    /// Where they begin, and whether they are zeros.
    begun: Option<(u64, bool)>,
}

impl Gap {
    fn grow(&mut self, offset: u64, is_zero: bool, show: &mut dyn FnMut(Part<'_>)) {
        if self.begun.is_some_and(|(_, zero)| zero != is_zero) {
            self.end(offset, show);
        }
        self.begun.get_or_insert((offset, is_zero));
    }

    fn end(&mut self, at: u64, show: &mut dyn FnMut(Part<'_>)) {
        if let Some((offset, is_zero)) = self.begun.take() {
            let size = at - offset;
            show(if is_zero { Part::Unwritten { offset, size } } else { Part::Damaged { offset, size } });
        }
    }
}
