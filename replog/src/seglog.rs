//! A segmented log on disk: group commit, torn-tail recovery, recycled segments.
//!
//! Entries gather in memory while earlier groups are being flushed; a group is one durable write on whole blocks, and
//! several may be out at once: durable is the contiguous prefix. Segments are prepared ahead (space, zeros, header),
//! so that an append overwrites blocks that exist. A log never writes to a segment of an earlier incarnation.
//! The first failed write or flush poisons it: nothing becomes durable after that. A request there was no space for is no
//! failure while whoever drives the log keeps it and submits it again: entries wait, and what is durable stays so.

mod error;
mod format;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
pub mod inspect;
mod next;
mod replay;

pub use error::{OpenError, Poisoned, VisitError};

use crate::Lsn;
use format::{GROUP_HEADER_SIZE, GROUPS_AT, GroupHeader, SegmentId};
use next::Next;
use replay::{OldSegment, segment_path};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::door::{
    Disk, DiskDone, DiskError, DiskOp, DiskReply, Entropy, FileId, OpenMode, Token, call, call_all,
};
use tantu_base::id::Epoch;
use tantu_base::limit::{BLOCK_ALIGN, FRAME_SIZE_MAX};
use tantu_base::planted::{self, Bug};

/// Longest body of one entry, in bytes.
pub const ENTRY_SIZE_MAX: usize = FRAME_SIZE_MAX;
/// Longest `base` blob of a segment header, in bytes.
pub const BASE_SIZE_MAX: usize = 2048;

/// Whose log it is. It goes into every checksum, so a file of another group never passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The task group.
    pub group: u32,
}

/// How a log is laid out and driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegLogOptions {
    /// Bytes of a segment file, a multiple of the block alignment.
    pub segment_size: u64,
    /// A group is written when it holds this many bytes, or earlier; one larger entry makes a larger group.
    pub group_size_max: usize,
    /// Group writes that may be out at the same time.
    pub flushes_in_flight_max: usize,
    /// A group is written beside others only if this many bytes wait; fewer gather until nothing is out. Disks that make
    /// writes durable side by side do each of them more slowly, and what comes meanwhile waits for all of them.
    pub beside_size_min: usize,
    /// Released segments kept for recycling: about as many as are given up at once, so that no new ones are written.
    pub spare_count_max: usize,
    /// The first entry the caller still needs. Open fails with [`OpenError::Missing`] if the log begins after
    /// it or ends before it; entries before it are checked but not visited.
    pub expect_first: Option<Lsn>,
}

impl SegLogOptions {
    /// Bytes of one write of zeros.
    fn zeros_size(&self) -> u64 {
        (self.segment_size / 128).next_multiple_of(BLOCK_ALIGN as u64)
    }
}

impl Default for SegLogOptions {
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            group_size_max: 1 << 20,
            flushes_in_flight_max: 4,
            beside_size_min: 128 << 10,
            spare_count_max: 5,
            expect_first: None,
        }
    }
}

/// One entry, as replay shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// What was appended.
    pub body: &'a [u8],
}

/// What open found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// First entry on disk.
    pub first: Lsn,
    /// One past the last entry on disk.
    pub end: Lsn,
    /// Highest epoch ever written.
    pub epoch: Epoch,
    /// The base given when the oldest segment on disk began.
    pub base: Vec<u8>,
    /// Segments on disk.
    pub segment_count: usize,
    /// Recognisable bytes of groups that were being written at the crash and were dropped.
    pub torn_size: u64,
}

/// A new log's first segment is written in this part before the first append: more would delay it.
const FIRST_PREWRITE_PART: u64 = 16;
/// The rest of it is written ahead of the groups once this part of it is used: a log that takes little never pays.
const FIRST_USED_PART: u64 = 64;

const TAG_GROUP_FIRST: u32 = 1 << 16;
const TAG_CLOSE: u32 = 1;
const TAG_REMOVE: u32 = 2;
const TAG_AHEAD: u32 = 9;

/// The segment that takes groups.
#[derive(Debug)]
struct Current {
    file: FileId,
    id: SegmentId,
    /// Where the next group goes.
    position: u64,
    chain: u32,
    file_size: u64,
    /// Blocks from here on were never written; a write that is the first of its block costs the file system a change of
    /// metadata, and a flush of it.
    unwritten: u64,
    /// Blocks that zeros are being written to: no group goes there meanwhile.
    zeroing: Option<Range<u64>>,
}

/// A group that is being written.
#[derive(Debug)]
struct Flight {
    tag: u32,
    file: FileId,
    seq: u64,
    end: Lsn,
    low: Lsn,
    size: usize,
    done: bool,
}

/// A group that is full, or may be written as soon as there is room for another flight.
#[derive(Debug)]
struct Gather {
    first: Lsn,
    count: u32,
    epoch: Epoch,
    buf: Buf,
}

/// A segmented log.
#[derive(Debug)]
pub struct SegLog {
    dir: PathBuf,
    owner: u32,
    group: u32,
    incarnation: u64,
    options: SegLogOptions,
    opened: Opened,
    base: Vec<u8>,
    old: VecDeque<OldSegment>,
    current: Current,
    next: Next,
    /// Numbers of released segments that wait to be used again.
    spares: VecDeque<u64>,
    /// Full segments with group writes under way: they are closed after those.
    leaving: Vec<FileId>,
    seq_max: u64,
    gathered: VecDeque<Gather>,
    gathered_size: usize,
    flights: VecDeque<Flight>,
    next_tag: u32,
    durable: Lsn,
    end: Lsn,
    epoch: Epoch,
    low: Lsn,
    /// The newest `low` that a flushed group of this incarnation states, and the segment it is in: only segments before
    /// both may go. A log whose oldest segment states nothing could not tell a torn first group from a lost one.
    low_durable: (Lsn, u64),
    marked: bool,
    closing: bool,
    poisoned: Option<DiskError>,
    spare_bufs: Vec<Buf>,
    spare_zeros: Option<Buf>,
    removals: usize,
    /// Bytes of zeros written.
    prewritten: u64,
    written: Written,
}

/// What a log has written since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Groups, markers included.
    pub groups: u64,
    /// Their bytes, on whole blocks.
    pub size: u64,
}

impl SegLog {
    /// Opens or creates a log. Blocking.
    ///
    /// # Errors
    /// See [`OpenError`]; unless it is a disk error nothing was modified.
    #[allow(clippy::too_many_arguments, reason = "every one is needed once, at start")]
    pub fn open(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        id: LogIdentity,
        entropy: &mut dyn Entropy,
        options: SegLogOptions,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), VisitError>,
    ) -> Result<SegLog, OpenError> {
        assert!(
            options.segment_size.is_multiple_of(BLOCK_ALIGN as u64) && options.segment_size > 2 * GROUPS_AT,
            "a segment has room for groups"
        );
        call(disk, DiskOp::MakeDir { path: dir.to_path_buf() })?;
        let found = replay::replay(disk, dir, id.group, options.expect_first, visit)?;
        for seq in &found.unbegun {
            call(disk, DiskOp::Remove { path: segment_path(dir, *seq) })?;
        }
        if !found.unbegun.is_empty() {
            call(disk, DiskOp::SyncDir { path: dir.to_path_buf() })?;
        }
        let incarnation = entropy.next_u64();
        let seq = found.seq_max + 1;
        let segment = SegmentId { group: id.group, incarnation, seq };
        let base = found.opened.base.clone();
        let prewrite = (options.segment_size / FIRST_PREWRITE_PART).next_multiple_of(BLOCK_ALIGN as u64);
        let file = create_segment(disk, dir, &segment, &base, options.segment_size, prewrite)?;
        let end = found.opened.end;
        Ok(SegLog {
            dir: dir.to_path_buf(),
            owner,
            group: id.group,
            incarnation,
            opened: found.opened.clone(),
            base,
            old: found.segments.into(),
            current: Current {
                file,
                id: segment,
                position: GROUPS_AT,
                chain: segment.chain_start(),
                file_size: options.segment_size,
                unwritten: prewrite.max(GROUPS_AT),
                zeroing: None,
            },
            next: Next::Idle,
            spares: VecDeque::new(),
            leaving: Vec::new(),
            seq_max: seq,
            options,
            gathered: VecDeque::new(),
            gathered_size: 0,
            flights: VecDeque::new(),
            next_tag: TAG_GROUP_FIRST,
            durable: end,
            end,
            epoch: found.opened.epoch,
            low: found.low,
            low_durable: (found.low, 0),
            marked: true,
            closing: false,
            poisoned: None,
            spare_bufs: Vec::new(),
            spare_zeros: None,
            removals: 0,
            prewritten: prewrite.saturating_sub(GROUPS_AT),
            written: Written::default(),
        })
    }

    /// What open found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Takes an entry into the next group. It is durable when [`SegLog::durable`] is past its number.
    ///
    /// # Panics
    /// If the entry is longer than [`ENTRY_SIZE_MAX`], or the epoch goes back.
    pub fn append(&mut self, epoch: Epoch, body: &[&[u8]]) -> Lsn {
        let len: usize = body.iter().map(|part| part.len()).sum();
        assert!(len <= ENTRY_SIZE_MAX, "an entry of {len} bytes is over the limit");
        assert!(epoch >= self.epoch, "epochs never go back");
        self.epoch = epoch;
        let lsn = self.end;
        let fits = |gather: &Gather| gather.epoch == epoch && gather.buf.len() + 4 + len <= self.options.group_size_max;
        if !self.gathered.back().is_some_and(fits) {
            let mut buf = self.spare_bufs.pop().unwrap_or_else(|| Buf::with_capacity(64 << 10));
            buf.clear();
            buf.resize(GROUP_HEADER_SIZE);
            self.gathered.push_back(Gather { first: lsn, count: 0, epoch, buf });
        }
        let gather = self.gathered.back_mut().expect("invariant: just made sure");
        gather.buf.extend(&(len as u32).to_le_bytes());
        for part in body {
            gather.buf.extend(part);
        }
        gather.count += 1;
        self.gathered_size += 4 + len;
        self.end = lsn.next();
        lsn
    }

    /// Facts that go into the header of every segment begun from here on.
    ///
    /// # Panics
    /// If they are longer than [`BASE_SIZE_MAX`].
    pub fn set_base(&mut self, base: &[u8]) {
        assert!(base.len() <= BASE_SIZE_MAX, "the base is over its limit");
        self.base = base.to_vec();
    }

    fn token(&self, tag: u32) -> Token {
        Token { owner: self.owner, tag }
    }

    /// Starts group writes and the upkeep of segments.
    pub fn pump(&mut self, disk: &mut dyn Disk) {
        if self.poisoned.is_some() {
            return;
        }
        while self.flights.len() < self.options.flushes_in_flight_max {
            let Some(gather) = self.gathered.front() else { break };
            if self.would_wait(0) {
                break;
            }
            let size = gather.buf.len().next_multiple_of(BLOCK_ALIGN) as u64;
            if !self.make_room(size, disk) {
                break;
            }
            let gather = self.gathered.pop_front().expect("invariant: just seen");
            self.gathered_size -= gather.buf.len() - GROUP_HEADER_SIZE;
            self.write_group(gather, disk);
            self.marked = false;
        }
        self.write_ahead(disk);
        if self.current.position >= self.current.file_size / 2 {
            self.prepare_next(disk);
        }
    }

    /// Whether what gathered, and so many bytes with it, would wait for a group that is being written.
    pub fn would_wait(&self, size: usize) -> bool {
        let full = self.flights.len() >= self.options.flushes_in_flight_max;
        full || (!self.flights.is_empty() && self.gathered_size + size < self.options.beside_size_min)
    }

    /// Whether no group is being written, and none waits to be.
    pub fn is_quiet(&self) -> bool {
        self.flights.is_empty() && self.gathered.is_empty()
    }

    fn write_group(&mut self, gather: Gather, disk: &mut dyn Disk) {
        let Gather { first, count, epoch, mut buf } = gather;
        let header =
            GroupHeader { first, count, epoch, durable: self.durable, low: self.low, previous: self.current.chain };
        let offset = self.current.position;
        self.current.chain = header.finish(&self.current.id, offset, &mut buf);
        self.current.position += buf.len() as u64;
        self.written.groups += 1;
        self.written.size += buf.len() as u64;
        let tag = self.next_tag;
        self.next_tag = self.next_tag.checked_add(1).unwrap_or(TAG_GROUP_FIRST);
        self.flights.push_back(Flight {
            tag,
            file: self.current.file,
            seq: self.current.id.seq,
            end: header.end(),
            low: header.low,
            size: buf.len(),
            done: false,
        });
        let durable = !planted::has(Bug::SkipFlush);
        disk.submit(self.token(tag), DiskOp::Write { file: self.current.file, offset, buf, durable });
    }

    /// Writes zeros ahead of the groups where the first segment has none yet.
    fn write_ahead(&mut self, disk: &mut dyn Disk) {
        let Current { file, position, file_size, unwritten, .. } = self.current;
        let wanted = self.current.zeroing.is_none() && position >= file_size / FIRST_USED_PART && !self.closing;
        // The next groups do not wait for it.
        let from = unwritten.max(position + self.options.zeros_size());
        if !wanted || from >= file_size {
            return;
        }
        let to = (from + self.options.zeros_size()).min(file_size);
        self.current.zeroing = Some(from..to);
        let buf = self.zeros(to - from);
        disk.submit(self.token(TAG_AHEAD), DiskOp::Write { file, offset: from, buf, durable: false });
    }

    /// Makes sure the current segment has room for a group, rolling to the next one if that is ready.
    fn make_room(&mut self, size: u64, disk: &mut dyn Disk) -> bool {
        let end = self.current.position + size;
        if self.current.zeroing.as_ref().is_some_and(|zeros| end > zeros.start) {
            return false;
        }
        if end <= self.current.file_size {
            return true;
        }
        // A group larger than a whole segment lengthens the file it starts.
        if self.current.position == GROUPS_AT {
            self.current.file_size = GROUPS_AT + size;
            return true;
        }
        let Next::Ready { seq, file } = self.next else {
            self.prepare_next(disk);
            return false;
        };
        self.next = Next::Idle;
        let end = self.gathered.front().map_or(self.end, |gather| gather.first);
        let id = SegmentId { group: self.group, incarnation: self.incarnation, seq };
        let chain = id.chain_start();
        let file_size = self.options.segment_size;
        let fresh = Current { file, id, position: GROUPS_AT, chain, file_size, unwritten: file_size, zeroing: None };
        let full = std::mem::replace(&mut self.current, fresh);
        self.old.push_back(OldSegment { seq: full.id.seq, end, used: full.position, file_size: full.file_size });
        self.leaving.push(full.file);
        self.close_left(disk);
        self.make_room(size, disk)
    }

    /// Closes full segments nothing is written to any more.
    fn close_left(&mut self, disk: &mut dyn Disk) {
        let token = self.token(TAG_CLOSE);
        let Self { leaving, flights, removals, .. } = self;
        leaving.retain(|file| {
            let busy = flights.iter().any(|flight| flight.file == *file && !flight.done);
            if !busy {
                *removals += 1;
                disk.submit(token, DiskOp::Close { file: *file });
            }
            busy
        });
    }

    /// Takes a completion of one of its own tokens. Whoever drives the log calls [`SegLog::pump`] after it, when it has
    /// appended what waited for it: that goes with the next group then, not with the one after it.
    ///
    /// # Errors
    /// The first failure, from then on.
    pub fn complete(&mut self, done: DiskDone, disk: &mut dyn Disk) -> Result<(), Poisoned> {
        let tag = done.token.tag;
        if tag >= TAG_GROUP_FIRST {
            match done.result {
                Ok(reply) => {
                    self.group_written(tag, reply);
                    self.close_left(disk);
                }
                Err(error) => {
                    self.poisoned.get_or_insert(error);
                }
            }
        } else if tag == TAG_AHEAD {
            let zeros = self.current.zeroing.take().expect("invariant: zeros were being written");
            self.current.unwritten = zeros.end;
            match done.result {
                Ok(DiskReply::Written(buf)) => self.spare_zeros = Some(buf),
                Ok(_) => {}
                Err(error) => {
                    self.poisoned.get_or_insert(error);
                }
            }
        } else if tag == TAG_CLOSE || tag == TAG_REMOVE {
            // Nothing depends on these: a file that stays is found and dropped at the next open.
            self.removals -= 1;
        } else {
            self.next_done(tag, done.result, disk);
        }
        match &self.poisoned {
            Some(error) => Err(Poisoned { error: error.clone() }),
            None => Ok(()),
        }
    }

    fn group_written(&mut self, tag: u32, reply: DiskReply) {
        if let DiskReply::Written(buf) = reply
            && self.spare_bufs.len() < self.options.flushes_in_flight_max
        {
            self.spare_bufs.push(buf);
        }
        let flight = self.flights.iter_mut().find(|flight| flight.tag == tag);
        flight.expect("invariant: only flights have these tags").done = true;
        // Only the contiguous prefix is durable; after a failure nothing more is.
        while self.poisoned.is_none() && self.flights.front().is_some_and(|flight| flight.done) {
            let flight = self.flights.pop_front().expect("invariant: just seen");
            self.durable = flight.end;
            self.low_durable = self.low_durable.max((flight.low, flight.seq));
        }
    }

    /// Every entry below is flushed.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Number of the next entry.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// First entry still kept.
    pub fn first(&self) -> Lsn {
        self.low.max(self.opened.first)
    }

    /// Gives up the entries below. Their segments are recycled or removed once a flushed group says so too.
    pub fn release(&mut self, low_water: Lsn, disk: &mut dyn Disk) {
        assert!(low_water <= self.durable, "entries that are not durable cannot be given up");
        self.low = self.low.max(low_water);
        while self.can_give_up() {
            let segment = self.old.pop_front().expect("invariant: just seen");
            if !self.recycle(&segment) {
                self.removals += 1;
                disk.submit(self.token(TAG_REMOVE), DiskOp::Remove { path: segment_path(&self.dir, segment.seq) });
            }
        }
    }

    /// Whether entries were given up whose segments stay until a flushed group says so: somebody has to write one.
    fn owes_marker(&self) -> bool {
        self.old.front().is_some_and(|segment| segment.end <= self.low) && !self.can_give_up()
    }

    /// Whether a segment has no entry that a replay would read any more: [`SegLog::release`] gives it up.
    pub fn can_give_up(&self) -> bool {
        let (low, seq) = self.low_durable;
        self.old.front().is_some_and(|segment| segment.end <= low && segment.seq < seq)
    }

    /// Whether the file says all that [`SegLog::idle`] would write.
    pub fn is_marked(&self) -> bool {
        self.marked && !self.owes_marker()
    }

    /// Where the oldest segment ends that takes no more groups: what has to be given up before a file goes.
    pub fn oldest_end(&self) -> Option<Lsn> {
        self.old.front().map(|segment| segment.end)
    }

    /// Bytes a replay would read.
    pub fn retained_size(&self) -> u64 {
        self.old.iter().map(|segment| segment.used).sum::<u64>() + self.current.position
    }

    /// Bytes of entries not yet durable.
    pub fn pending_size(&self) -> usize {
        self.gathered_size + self.flights.iter().map(|flight| flight.size).sum::<usize>()
    }

    /// Bytes of zeros written to fresh segments, so that groups overwrite blocks that exist.
    pub fn prewritten_size(&self) -> u64 {
        self.prewritten
    }

    /// What it has written since it was opened.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Whether a write or flush failed: nothing becomes durable any more.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// Whether requests of it are outstanding on the disk.
    pub fn is_busy(&self) -> bool {
        !self.flights.is_empty() || self.removals > 0 || self.next.is_busy() || self.current.zeroing.is_some()
    }

    /// Writes a small marker if the last group has none after it.
    pub fn idle(&mut self, disk: &mut dyn Disk) {
        let quiet = self.is_quiet() && self.poisoned.is_none();
        if self.is_marked() || !quiet || !self.make_room(BLOCK_ALIGN as u64, disk) {
            return;
        }
        self.marked = true;
        let mut buf = Buf::with_capacity(BLOCK_ALIGN);
        buf.resize(GROUP_HEADER_SIZE);
        self.write_group(Gather { first: self.end, count: 0, epoch: self.epoch, buf }, disk);
    }

    /// Flushes, and leaves a marker. Blocking; nothing else may be outstanding on the disk. If everything
    /// was released, one small file stays.
    ///
    /// # Errors
    /// If the log is poisoned, or a request fails.
    pub fn close(mut self, disk: &mut dyn Disk) -> Result<(), Poisoned> {
        self.closing = true;
        while self.poisoned.is_none() {
            self.pump(disk);
            if self.gathered.is_empty() && !self.is_busy() {
                if self.marked {
                    break;
                }
                self.idle(disk);
            }
            if self.is_busy() {
                disk.wait();
                let mut done = Vec::new();
                disk.reap(&mut done);
                for done in done {
                    self.complete(done, disk)?;
                }
            }
        }
        if let Some(error) = self.poisoned {
            return Err(Poisoned { error });
        }
        self.shrink(disk).map_err(|error| Poisoned { error })
    }

    /// Leaves only a header and a marker if no entry is needed any more.
    fn shrink(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        call(disk, DiskOp::Close { file: self.current.file })?;
        if let Next::Ready { file, .. } = self.next {
            call(disk, DiskOp::Close { file })?;
        }
        if self.low != self.end {
            return Ok(());
        }
        self.seq_max += 1;
        let id = SegmentId { group: self.group, incarnation: self.incarnation, seq: self.seq_max };
        let file = create_segment(disk, &self.dir, &id, &self.base, GROUPS_AT + BLOCK_ALIGN as u64, 0)?;
        let mut buf = Buf::with_capacity(BLOCK_ALIGN);
        buf.resize(GROUP_HEADER_SIZE);
        let (end, epoch) = (self.end, self.epoch);
        let header = GroupHeader { first: end, count: 0, epoch, durable: end, low: end, previous: id.chain_start() };
        header.finish(&id, GROUPS_AT, &mut buf);
        call(disk, DiskOp::Write { file, offset: GROUPS_AT, buf, durable: true })?;
        call(disk, DiskOp::Close { file })?;
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: self.dir.clone() })? else {
            unreachable!("a list answers with names")
        };
        let keep = segment_path(&self.dir, self.seq_max);
        let segments = names
            .into_iter()
            .map(|(name, _)| self.dir.join(name))
            .filter(|path| path.extension().is_some_and(|end| end == "log"));
        for path in segments.filter(|path| *path != keep) {
            call(disk, DiskOp::Remove { path })?;
        }
        call(disk, DiskOp::SyncDir { path: self.dir.clone() })?;
        Ok(())
    }
}

/// Makes a segment file whose first `prewrite` bytes are written, with its header. Blocking.
fn create_segment(
    disk: &mut dyn Disk,
    dir: &Path,
    id: &SegmentId,
    base: &[u8],
    size: u64,
    prewrite: u64,
) -> Result<FileId, DiskError> {
    let DiskReply::Opened { file, .. } =
        call(disk, DiskOp::Open { path: segment_path(dir, id.seq), mode: OpenMode::Create })?
    else {
        unreachable!("an open answers with a file")
    };
    call(disk, DiskOp::Allocate { file, len: size })?;
    let mut at = GROUPS_AT;
    while at < prewrite {
        let len = (prewrite - at).min(1 << 20);
        call(disk, DiskOp::Write { file, offset: at, buf: Buf::zeroed(len as usize), durable: false })?;
        at += len;
    }
    call(disk, DiskOp::Write { file, offset: 0, buf: id.header(base), durable: false })?;
    call_all(disk, [DiskOp::Sync { file }, DiskOp::SyncDir { path: dir.to_path_buf() }])?;
    Ok(file)
}
