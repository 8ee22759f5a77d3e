//! Reading a log's segments when it is opened: replay, torn tails, damage.
//!
//! A group is durable evidence about everything before it: its `durable` field says what was flushed when it was
//! written. So an invalid or missing group is a torn tail only if nothing later says that it had been flushed. Several
//! groups are written at the same time, so a torn tail may have whole groups after it, also in a later segment.

use super::format::{GROUPS_AT, Group, GroupHeader, HeaderCopy, SegmentId, read_header};
use super::{Entry, OpenError, Opened, VisitError};
use crate::Lsn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::door::{CALL_OWNER, Disk, DiskOp, DiskReply, FileId, OpenMode, Token, call};
use tantu_base::limit::BLOCK_ALIGN;

/// Segments that are kept from the search for what was released: the newest that has groups, and one prepared after it.
const KNOWN_COUNT_MAX: usize = 2;

/// A segment of an earlier incarnation, kept until it is released.
#[derive(Clone, Debug)]
pub(crate) struct OldSegment {
    pub(crate) seq: u64,
    pub(crate) end: Lsn,
    /// Bytes of groups in it.
    pub(crate) used: u64,
    /// Bytes of the file.
    pub(crate) file_size: u64,
}

/// What the segments hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) segments: Vec<OldSegment>,
    /// Files without a group that counts: none was written, or all were in flight at the crash and a group before them
    /// is missing.
    pub(crate) unbegun: Vec<u64>,
    pub(crate) seq_max: u64,
    pub(crate) low: Lsn,
    pub(crate) group_count: u64,
}

pub(crate) fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:08}.log"))
}

struct Scan<'a> {
    dir: &'a Path,
    group: u32,
    found: Found,
    /// The entry that must come next; `None` before the first.
    next: Option<Lsn>,
    /// Where a segment ended in bytes that are no whole group.
    torn: Option<(u64, usize)>,
    visit: &'a mut dyn FnMut(Entry<'_>) -> Result<(), VisitError>,
    expect_first: Option<Lsn>,
}

/// Reads every segment and shows its entries to `visit`.
pub(crate) fn replay(
    disk: &mut dyn Disk,
    dir: &Path,
    group: u32,
    expect_first: Option<Lsn>,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), VisitError>,
) -> Result<Found, OpenError> {
    let DiskReply::Names(names) = call(disk, DiskOp::List { path: dir.to_path_buf() })? else {
        unreachable!("a list answers with names")
    };
    let mut files: Vec<(u64, u64)> =
        names.iter().filter_map(|(name, size)| Some((name.strip_suffix(".log")?.parse().ok()?, *size))).collect();
    files.sort_unstable();
    // What is not needed any more is known only from the newest groups: find it before the first entry is shown.
    let mut scan = Scan { dir, group, found: Found::default(), next: None, torn: None, visit, expect_first };
    let mut known = BTreeMap::new();
    scan.found.low = newest_low(disk, dir, group, &files, &mut known)?;
    scan.segments(disk, &files, known)?;
    let Scan { mut found, next, .. } = scan;
    found.opened.end = next.unwrap_or(found.low);
    found.opened.segment_count = found.segments.len();
    let (first, end) = (found.opened.first, found.opened.end);
    // What was released was flushed before.
    if end < found.low {
        return Err(OpenError::Missing { dir: dir.to_path_buf(), what: "entries", needed: found.low, first, end });
    }
    if let Some(needed) = expect_first
        && (first > needed || end < needed)
    {
        return Err(OpenError::Missing { dir: dir.to_path_buf(), what: "entries", needed, first, end });
    }
    Ok(found)
}

/// A segment that is being read, in one request.
struct Reading {
    path: PathBuf,
    file: FileId,
    size: u64,
}

impl Reading {
    /// Starts to read, into memory of another segment if there is some. Until it is finished, nobody else uses the disk.
    fn start(disk: &mut dyn Disk, path: PathBuf, size: u64, spare: Option<Buf>) -> Result<Self, OpenError> {
        let DiskReply::Opened { file, .. } = call(disk, DiskOp::Open { path: path.clone(), mode: OpenMode::Read })?
        else {
            unreachable!("an open answers with a file")
        };
        // There is no request for nothing.
        let asked = (size as usize).max(1).next_multiple_of(BLOCK_ALIGN);
        let buf = match spare {
            Some(mut buf) => {
                buf.resize(asked);
                buf
            }
            None => Buf::zeroed(asked),
        };
        disk.submit(Token { owner: CALL_OWNER, tag: 0 }, DiskOp::Read { file, offset: 0, buf });
        Ok(Self { path, file, size })
    }

    fn finish(self, disk: &mut dyn Disk) -> Result<Buf, OpenError> {
        let mut done = Vec::with_capacity(1);
        while done.is_empty() {
            disk.wait();
            disk.reap(&mut done);
        }
        let done = done.pop().expect("invariant: it was waited for");
        let DiskReply::Read { mut buf, len } = done.result? else { unreachable!("a read answers with bytes") };
        let file = self.file;
        // A process that was killed may have left groups readable but not yet flushed: what is replayed counts as durable.
        call(disk, DiskOp::Sync { file })?;
        call(disk, DiskOp::Close { file })?;
        // What is missing may have been acknowledged: it is no torn tail.
        if (len as u64) < self.size {
            let what = "the file ends before its length";
            return Err(OpenError::Corrupt { path: self.path, offset: len as u64, what });
        }
        buf.resize(len);
        Ok(buf)
    }
}

/// The newest statement, in any group, of what is not needed any more. The first files that are read for it are kept.
fn newest_low(
    disk: &mut dyn Disk,
    dir: &Path,
    group: u32,
    files: &[(u64, u64)],
    known: &mut BTreeMap<u64, Buf>,
) -> Result<Lsn, OpenError> {
    let mut low = Lsn(0);
    for (seq, size) in files.iter().rev() {
        let bytes = Reading::start(disk, segment_path(dir, *seq), *size, None)?.finish(disk)?;
        let mut at = GROUPS_AT as usize;
        if let Some((id, _)) = header(group, *seq, &bytes) {
            while let Some(found) = Group::read(&id, &bytes, at) {
                low = low.max(found.header.low);
                at += found.size;
            }
        }
        if known.len() < KNOWN_COUNT_MAX {
            known.insert(*seq, bytes);
        }
        if at > GROUPS_AT as usize {
            break;
        }
    }
    Ok(low)
}

/// The segment's identity from either copy of its header, and its base.
fn header(group: u32, seq: u64, bytes: &[u8]) -> Option<(SegmentId, Vec<u8>)> {
    (0..2).find_map(|copy| match read_header(group, seq, copy, bytes) {
        HeaderCopy::Valid { incarnation, base } => Some((SegmentId { group, incarnation, seq }, base)),
        HeaderCopy::Newer { .. } | HeaderCopy::Invalid => None,
    })
}

impl Scan<'_> {
    fn corrupt(&self, seq: u64, offset: usize, what: &'static str) -> OpenError {
        OpenError::Corrupt { path: segment_path(self.dir, seq), offset: offset as u64, what }
    }

    /// Reads each segment while the one before it is replayed.
    fn segments(
        &mut self,
        disk: &mut dyn Disk,
        files: &[(u64, u64)],
        mut known: BTreeMap<u64, Buf>,
    ) -> Result<(), OpenError> {
        let (mut ahead, mut spare): (Option<Reading>, Option<Buf>) = (None, None);
        for (at, (seq, size)) in files.iter().enumerate() {
            self.found.seq_max = *seq;
            let bytes = match (known.remove(seq), ahead.take()) {
                (Some(bytes), _) => bytes,
                (None, Some(reading)) => reading.finish(disk)?,
                (None, None) => Reading::start(disk, segment_path(self.dir, *seq), *size, None)?.finish(disk)?,
            };
            let next = files.get(at + 1).filter(|(seq, _)| !known.contains_key(seq));
            if let Some((seq, size)) = next {
                ahead = Some(Reading::start(disk, segment_path(self.dir, *seq), *size, spare.take())?);
            }
            if let Err(error) = self.segment(*seq, &bytes, at + 1 == files.len()) {
                // The disk is handed back with nothing outstanding.
                if let Some(reading) = ahead {
                    let _of_no_use = reading.finish(disk);
                }
                return Err(error);
            }
            spare = Some(bytes);
        }
        Ok(())
    }

    fn segment(&mut self, seq: u64, bytes: &[u8], last: bool) -> Result<(), OpenError> {
        let copies = [0, 1].map(|copy| read_header(self.group, seq, copy, bytes));
        if let Some(HeaderCopy::Newer { version }) = copies.iter().find(|copy| matches!(copy, HeaderCopy::Newer { .. }))
        {
            let path = segment_path(self.dir, seq);
            return Err(OpenError::Unsupported { path, version: *version, known: super::format::FORMAT_VERSION });
        }
        let Some((id, base)) = header(self.group, seq, bytes) else {
            // Only the newest file can be one that a crash left before its header was flushed.
            if last {
                self.found.unbegun.push(seq);
                return Ok(());
            }
            return Err(self.corrupt(seq, 0, "both copies of the header are damaged"));
        };
        let end_at = self.groups(seq, &id, bytes)?;
        if end_at == GROUPS_AT as usize {
            self.found.unbegun.push(seq);
            return Ok(());
        }
        if let Some(bad) = copies.iter().position(|copy| *copy == HeaderCopy::Invalid) {
            return Err(self.corrupt(seq, bad * BLOCK_ALIGN, "a copy of the header is damaged"));
        }
        if self.found.segments.is_empty() {
            self.found.opened.base = base;
        }
        let end = self.next.expect("invariant: a group was read");
        self.found.segments.push(OldSegment { seq, end, used: end_at as u64, file_size: bytes.len() as u64 });
        Ok(())
    }

    /// Replays the groups of a segment; returns where they end.
    fn groups(&mut self, seq: u64, id: &SegmentId, bytes: &[u8]) -> Result<usize, OpenError> {
        let mut at = GROUPS_AT as usize;
        let mut chain = id.chain_start();
        while let Some(group) = Group::read(id, bytes, at) {
            if group.header.previous != chain {
                return Err(self.corrupt(seq, at, "a group does not follow the one before it"));
            }
            if !group.header.is_possible() {
                return Err(self.corrupt(
                    seq,
                    at,
                    "a group says of entries after it that they were flushed or released",
                ));
            }
            if !self.follows(seq, at, &group.header)? {
                break;
            }
            self.group(seq, at, &group)?;
            chain = group.crc;
            at += group.size;
        }
        self.check_tail(seq, id, bytes, at)?;
        Ok(at)
    }

    /// Whether a group goes on where the entries before it end. One that does not was in flight with a missing one, unless
    /// it says that the missing one had been flushed.
    fn follows(&mut self, seq: u64, at: usize, header: &GroupHeader) -> Result<bool, OpenError> {
        let first = header.first;
        let expected = self.next.unwrap_or(self.found.low);
        if self.next.is_some_and(|next| first < next) {
            return Err(self.corrupt(seq, at, "a group goes back to entries before it"));
        }
        // Between segments that were released, files may be gone in any order.
        if first == expected || first <= self.found.low {
            return Ok(true);
        }
        if header.durable <= expected {
            return Ok(false);
        }
        Err(match (self.next, self.torn) {
            (None, _) => OpenError::Missing {
                dir: self.dir.to_path_buf(),
                what: "its oldest entries",
                needed: self.found.low,
                first,
                end: header.end(),
            },
            (Some(_), Some((seq, at))) => self.corrupt(seq, at, "a group that later segments go on from is damaged"),
            (Some(_), None) => self.corrupt(seq, at, "entries before this group are missing"),
        })
    }

    fn group(&mut self, seq: u64, at: usize, group: &Group<'_>) -> Result<(), OpenError> {
        let first = group.header.first;
        if self.next.is_none() {
            self.found.opened.first = first;
        }
        let mut lsn = first;
        for body in group.bodies() {
            let body = body.map_err(|_| self.corrupt(seq, at, "the lengths in a group do not fit it"))?;
            // What was released is not shown: of its segments some may be gone and others not.
            if lsn >= self.found.low && self.expect_first.is_none_or(|needed| lsn >= needed) {
                let entry = Entry { lsn, epoch: group.header.epoch, body };
                (self.visit)(entry).map_err(|error| OpenError::Visit {
                    path: segment_path(self.dir, seq),
                    offset: at as u64,
                    lsn,
                    error,
                })?;
            }
            lsn = lsn.next();
        }
        self.found.opened.epoch = self.found.opened.epoch.max(group.header.epoch);
        self.found.group_count += 1;
        self.next = Some(lsn);
        Ok(())
    }

    /// Bytes after the last whole group: a torn tail, unless a later group proves that they had been flushed.
    fn check_tail(&mut self, seq: u64, id: &SegmentId, bytes: &[u8], at: usize) -> Result<(), OpenError> {
        let end = self.next.unwrap_or(self.found.low);
        let mut torn_end = at;
        let was_torn = self.torn.take().filter(|_| at == GROUPS_AT as usize);
        let (torn_seq, torn_at) = was_torn.unwrap_or((seq, at));
        for later in (at..bytes.len()).step_by(BLOCK_ALIGN) {
            let Some(group) = Group::read(id, bytes, later) else { continue };
            if group.header.durable > end {
                return Err(self.corrupt(torn_seq, torn_at, "a group that had been flushed is damaged"));
            }
            torn_end = later + group.size;
        }
        let looks_begun = bytes.get(at..at + 4).is_some_and(|magic| magic.iter().any(|byte| *byte != 0));
        self.torn = was_torn;
        if torn_end > at || looks_begun {
            self.torn = Some((torn_seq, torn_at));
            self.found.opened.torn_size += (torn_end - at).max(BLOCK_ALIGN) as u64;
        }
        Ok(())
    }
}
