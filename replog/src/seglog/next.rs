//! Making the next segment ready while the current one still takes groups.
//!
//! A new file gets its space, zeros in every block (an overwrite flushes about twice as fast as a first write) and then
//! its header. A released segment of the same size has its blocks already: it is renamed and gets a new header.
//! Until the header and the name are flushed no group goes there, so a file without a valid header was never used.

use super::SegLog;
use super::format::{GROUPS_AT, SegmentId};
use super::replay::{OldSegment, segment_path};
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskError, DiskOp, DiskReply, FileId, OpenMode};

const TAG_RENAME: u32 = 3;
const TAG_OPEN: u32 = 4;
const TAG_ALLOCATE: u32 = 5;
const TAG_ZEROS: u32 = 6;
const TAG_HEADER: u32 = 7;
const TAG_DIR: u32 = 8;

/// How far the next segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Nobody asked yet.
    Idle,
    /// A released segment gets its new name.
    Renaming { seq: u64 },
    /// The new name is being flushed: a new header under the old name would make it unreadable.
    Renamed { seq: u64 },
    /// The file is being opened or made.
    Opening { seq: u64, written: bool },
    /// Blocks are being written.
    Filling { seq: u64, file: FileId, at: u64 },
    /// The header is being written.
    Heading { seq: u64, file: FileId },
    /// The name is being flushed.
    Naming { seq: u64, file: FileId },
    /// Groups can go there.
    Ready { seq: u64, file: FileId },
}

impl Next {
    /// Whether a step of it is on the disk.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self, Next::Idle | Next::Ready { .. })
    }
}

impl SegLog {
    /// Keeps a released segment for later use; false if it is of no use or there are enough.
    pub(crate) fn recycle(&mut self, segment: &OldSegment) -> bool {
        let fits = segment.file_size == self.options.segment_size;
        let keeps = fits && self.spares.len() < self.options.spare_count_max;
        if keeps {
            self.spares.push_back(segment.seq);
        }
        keeps
    }

    /// Starts to make the next segment, if nothing was started yet.
    pub(crate) fn prepare_next(&mut self, disk: &mut dyn Disk) {
        if self.next != Next::Idle {
            return;
        }
        self.seq_max += 1;
        let path = segment_path(&self.dir, self.seq_max);
        if let Some(old_seq) = self.spares.pop_front() {
            self.next = Next::Renaming { seq: self.seq_max };
            let from = segment_path(&self.dir, old_seq);
            disk.submit(self.token(TAG_RENAME), DiskOp::Rename { from, to: path });
        } else {
            self.next = Next::Opening { seq: self.seq_max, written: false };
            disk.submit(self.token(TAG_OPEN), DiskOp::Open { path, mode: OpenMode::Create });
        }
    }

    /// One step of making the next segment is done.
    pub(crate) fn next_done(&mut self, tag: u32, result: Result<DiskReply, DiskError>, disk: &mut dyn Disk) {
        match result {
            Err(error) => {
                self.poisoned.get_or_insert(error);
            }
            Ok(reply) => self.next_step(tag, reply, disk),
        }
    }

    fn next_step(&mut self, tag: u32, reply: DiskReply, disk: &mut dyn Disk) {
        match (self.next, tag, reply) {
            (Next::Renaming { seq }, TAG_RENAME, DiskReply::Done) => {
                self.next = Next::Renamed { seq };
                disk.submit(self.token(TAG_DIR), DiskOp::SyncDir { path: self.dir.clone() });
            }
            (Next::Renamed { seq }, TAG_DIR, DiskReply::Done) => {
                self.next = Next::Opening { seq, written: true };
                let path = segment_path(&self.dir, seq);
                disk.submit(self.token(TAG_OPEN), DiskOp::Open { path, mode: OpenMode::ReadWrite });
            }
            (Next::Opening { seq, written: true }, TAG_OPEN, DiskReply::Opened { file, .. }) => {
                self.head(seq, file, disk)
            }
            (Next::Opening { seq, written: false }, TAG_OPEN, DiskReply::Opened { file, .. }) => {
                self.next = Next::Filling { seq, file, at: GROUPS_AT };
                disk.submit(self.token(TAG_ALLOCATE), DiskOp::Allocate { file, len: self.options.segment_size });
            }
            (
                Next::Filling { seq, file, at },
                TAG_ALLOCATE | TAG_ZEROS,
                reply @ (DiskReply::Done | DiskReply::Written(_)),
            ) => {
                if let DiskReply::Written(buf) = reply {
                    self.spare_zeros = Some(buf);
                }
                if at >= self.options.segment_size {
                    self.head(seq, file, disk);
                    return;
                }
                let len = self.options.zeros_size().min(self.options.segment_size - at);
                self.next = Next::Filling { seq, file, at: at + len };
                let buf = self.zeros(len);
                // The last write flushes the length and the blocks with it.
                let durable = at + len >= self.options.segment_size;
                disk.submit(self.token(TAG_ZEROS), DiskOp::Write { file, offset: at, buf, durable });
            }
            (Next::Heading { seq, file }, TAG_HEADER, DiskReply::Written(_)) => {
                self.next = Next::Naming { seq, file };
                disk.submit(self.token(TAG_DIR), DiskOp::SyncDir { path: self.dir.clone() });
            }
            (Next::Naming { seq, file }, TAG_DIR, DiskReply::Done) => self.next = Next::Ready { seq, file },
            (next, tag, reply) => unreachable!("{next:?} cannot take {reply:?} of request {tag}"),
        }
    }

    /// So many bytes of zeros, in the buffer of those before: a new one costs the kernel a fault per page.
    pub(crate) fn zeros(&mut self, len: u64) -> Buf {
        self.prewritten += len;
        match self.spare_zeros.take() {
            Some(mut buf) => {
                buf.resize(len as usize);
                buf
            }
            None => Buf::zeroed(len as usize),
        }
    }

    fn head(&mut self, seq: u64, file: FileId, disk: &mut dyn Disk) {
        self.next = Next::Heading { seq, file };
        let id = SegmentId { group: self.group, incarnation: self.incarnation, seq };
        let buf = id.header(&self.base);
        disk.submit(self.token(TAG_HEADER), DiskOp::Write { file, offset: 0, buf, durable: true });
    }
}
