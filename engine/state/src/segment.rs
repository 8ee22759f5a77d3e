//! The depot segment files of one task: chunks of records, written once in large sequential writes.
//!
//! A segment starts with a header block that gives it a random incarnation; every chunk is padded to whole
//! blocks and carries a checksum seeded with its place, padding included, so that each byte of a file is
//! under a checksum. A process never appends to a segment of an earlier one. Chunks exist for readers only
//! once the task's tree says so (`ChunkAt`); bytes after the last such chunk are what a crash left.
//! Format version 1; byte table in `docs/formats/depot-segment.md`.

use crate::depot::Run;
use crate::layout::ChunkAt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskDone, DiskError, DiskOp, DiskReply, FileId, OpenMode, Token, call};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_base::limit::{BLOCK_ALIGN, FRAME_SIZE_MAX};

#[doc(hidden)]
pub mod fuzzing;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"TNTDEPOT");
const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"TCHK");
const FORMAT_VERSION: u32 = 1;
/// A segment takes chunks until it is this long, in bytes.
pub const SEGMENT_SIZE_MAX: u64 = 64 << 20;
/// A chunk takes runs until it is this long, in bytes; one larger run has a chunk of its own.
pub const CHUNK_SIZE_MAX: usize = 1 << 20;
const CHUNK_HEADER_SIZE: usize = 4 + 4 + 4 + 4 + 4 + 4 + 8;
/// Longest chunk a reader accepts, in bytes.
pub const CHUNK_READ_SIZE_MAX: usize = FRAME_SIZE_MAX + CHUNK_SIZE_MAX;

const TAG_OPEN: u32 = 1;
const TAG_HEADER: u32 = 2;
const TAG_DIR: u32 = 3;
const TAG_CHUNK: u32 = 4;
const TAG_READ_OPEN: u32 = 5;
const TAG_READ_HEADER: u32 = 6;
const TAG_READ_CHUNK: u32 = 7;
const TAG_CLOSE: u32 = 8;

/// Why depot segments could not be written or read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Something that finished.
#[derive(Debug)]
pub enum SegmentEvent {
    /// Nothing a caller has to act on.
    Nothing,
    /// Records up to `end` are flushed at `at`.
    Copied {
        /// The depot.
        depot: ObjectId,
        /// Offset after the last record of the chunk.
        end: Offset,
        /// Where.
        at: ChunkAt,
    },
    /// A chunk was read.
    Loaded {
        /// The depot.
        depot: ObjectId,
        /// Its runs.
        runs: Vec<Run>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writer {
    /// No segment is open for writing.
    Closed,
    /// The file, its header and its name are being made durable, one after the other.
    Creating { seq: u64, incarnation: u64, file: Option<FileId> },
    /// Chunks can be written at `position`.
    Ready { seq: u64, incarnation: u64, file: FileId, position: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    file: FileId,
    incarnation: u64,
}

#[derive(Debug)]
struct Chunk {
    depot: ObjectId,
    first: Offset,
    end: Offset,
    buf: Buf,
}

/// See the module.
#[derive(Debug)]
pub struct DepotSegments {
    dir: PathBuf,
    owner: u32,
    task: TaskId,
    next_seq: u64,
    writer: Writer,
    waiting: Option<Chunk>,
    writing: Option<(ObjectId, Offset, ChunkAt)>,
    reading: Option<(ObjectId, ChunkAt)>,
    opened: BTreeMap<u64, Opened>,
}

impl DepotSegments {
    /// Opens the directory of a task's depot segments, making it if it is missing. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn open(disk: &mut dyn Disk, dir: &Path, owner: u32, task: TaskId) -> Result<Self, SegmentError> {
        call(disk, DiskOp::MakeDir { path: dir.to_path_buf() })?;
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: dir.to_path_buf() })? else {
            unreachable!("a list answers with names")
        };
        let last = names.iter().filter_map(|(name, _)| name.strip_suffix(".seg")?.parse::<u64>().ok()).max();
        Ok(Self {
            dir: dir.to_path_buf(),
            owner,
            task,
            next_seq: last.unwrap_or(0) + 1,
            writer: Writer::Closed,
            waiting: None,
            writing: None,
            reading: None,
            opened: BTreeMap::new(),
        })
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.dir.join(format!("{seq:08}.seg"))
    }

    fn token(&self, tag: u32) -> Token {
        Token { owner: self.owner, tag }
    }

    /// Whether a chunk is on its way to the disk.
    pub fn is_copying(&self) -> bool {
        self.waiting.is_some() || self.writing.is_some()
    }

    /// Whether a chunk is being read.
    pub fn is_loading(&self) -> bool {
        self.reading.is_some()
    }

    /// Starts to write runs of one depot as a chunk. `incarnation` is random: it is used if a new segment has to
    /// be made.
    ///
    /// # Panics
    /// If a chunk is on its way already, or there are no runs.
    pub fn copy<'a>(
        &mut self,
        depot: ObjectId,
        runs: impl Iterator<Item = &'a Run>,
        incarnation: u64,
        disk: &mut dyn Disk,
    ) -> Offset {
        assert!(!self.is_copying(), "one chunk at a time");
        let (buf, first, end) = gather(depot, runs);
        self.waiting = Some(Chunk { depot, first, end, buf });
        self.advance(incarnation, disk);
        end
    }

    fn advance(&mut self, incarnation: u64, disk: &mut dyn Disk) {
        match self.writer {
            Writer::Ready { position, file, .. } if position >= SEGMENT_SIZE_MAX => {
                disk.submit(self.token(TAG_CLOSE), DiskOp::Close { file });
                self.writer = Writer::Closed;
                self.advance(incarnation, disk);
            }
            Writer::Closed => {
                let seq = self.next_seq;
                self.next_seq += 1;
                self.writer = Writer::Creating { seq, incarnation, file: None };
                disk.submit(self.token(TAG_OPEN), DiskOp::Open { path: self.path(seq), mode: OpenMode::Create });
            }
            Writer::Creating { .. } => {}
            Writer::Ready { seq, incarnation, file, position } => {
                let Some(mut chunk) = self.waiting.take() else { return };
                let place = self.place(seq, incarnation, position);
                let crc = place.crc(&chunk.buf[8..]);
                chunk.buf[4..8].copy_from_slice(&crc.to_le_bytes());
                let size = chunk.buf.len() as u32;
                let at = ChunkAt { first: chunk.first, segment: seq, position, size };
                self.writing = Some((chunk.depot, chunk.end, at));
                self.writer = Writer::Ready { seq, incarnation, file, position: position + u64::from(size) };
                disk.submit(
                    self.token(TAG_CHUNK),
                    DiskOp::Write { file, offset: position, buf: chunk.buf, durable: true },
                );
            }
        }
    }

    fn place(&self, seq: u64, incarnation: u64, offset: u64) -> Place {
        place(self.task, seq, incarnation, offset)
    }

    fn header(&self, seq: u64, incarnation: u64) -> Buf {
        header_bytes(self.task, seq, incarnation)
    }

    /// Starts to read a chunk. False if another read is under way: ask again when that is done.
    pub fn load(&mut self, depot: ObjectId, at: ChunkAt, disk: &mut dyn Disk) -> bool {
        if self.reading.is_some() {
            return false;
        }
        self.reading = Some((depot, at));
        match self.opened.get(&at.segment) {
            Some(opened) => self.read_chunk(opened.file, at, disk),
            None => disk
                .submit(self.token(TAG_READ_OPEN), DiskOp::Open { path: self.path(at.segment), mode: OpenMode::Read }),
        }
        true
    }

    fn read_chunk(&self, file: FileId, at: ChunkAt, disk: &mut dyn Disk) {
        let size = (at.size as usize).min(CHUNK_READ_SIZE_MAX);
        disk.submit(self.token(TAG_READ_CHUNK), DiskOp::Read { file, offset: at.position, buf: Buf::zeroed(size) });
    }

    /// Takes a completion of its own.
    ///
    /// # Errors
    /// What the disk answered, or that a chunk is damaged.
    pub fn complete(&mut self, done: DiskDone, disk: &mut dyn Disk) -> Result<SegmentEvent, SegmentError> {
        let reply = done.result?;
        match (done.token.tag, reply) {
            (TAG_OPEN, DiskReply::Opened { file, .. }) => {
                let Writer::Creating { seq, incarnation, .. } = self.writer else {
                    unreachable!("a segment is being made")
                };
                self.writer = Writer::Creating { seq, incarnation, file: Some(file) };
                let buf = self.header(seq, incarnation);
                disk.submit(self.token(TAG_HEADER), DiskOp::Write { file, offset: 0, buf, durable: true });
            }
            (TAG_HEADER, DiskReply::Written(_)) => {
                disk.submit(self.token(TAG_DIR), DiskOp::SyncDir { path: self.dir.clone() });
            }
            (TAG_DIR, DiskReply::Done) => {
                let Writer::Creating { seq, incarnation, file: Some(file) } = self.writer else {
                    unreachable!("a segment is being made")
                };
                self.writer = Writer::Ready { seq, incarnation, file, position: BLOCK_ALIGN as u64 };
                self.advance(incarnation, disk);
            }
            (TAG_CHUNK, DiskReply::Written(_)) => {
                let (depot, end, at) = self.writing.take().expect("invariant: a chunk was being written");
                return Ok(SegmentEvent::Copied { depot, end, at });
            }
            (TAG_READ_OPEN, DiskReply::Opened { file, .. }) => {
                let (_, at) = self.reading.expect("invariant: a chunk is being read");
                self.opened.insert(at.segment, Opened { file, incarnation: 0 });
                disk.submit(
                    self.token(TAG_READ_HEADER),
                    DiskOp::Read { file, offset: 0, buf: Buf::zeroed(BLOCK_ALIGN) },
                );
            }
            (TAG_READ_HEADER, DiskReply::Read { buf, len }) => {
                let (_, at) = self.reading.expect("invariant: a chunk is being read");
                let incarnation = self.check_header(at.segment, &buf[..len])?;
                let opened = self.opened.get_mut(&at.segment).expect("invariant: just opened");
                opened.incarnation = incarnation;
                let file = opened.file;
                self.read_chunk(file, at, disk);
            }
            (TAG_READ_CHUNK, DiskReply::Read { buf, len }) => {
                let (depot, at) = self.reading.take().expect("invariant: a chunk is being read");
                let incarnation = self.opened[&at.segment].incarnation;
                let runs = self.check_chunk(depot, at, incarnation, &buf[..len])?;
                return Ok(SegmentEvent::Loaded { depot, runs });
            }
            (TAG_CLOSE, DiskReply::Done) => {}
            (tag, reply) => unreachable!("the disk answered request {tag} with {reply:?}"),
        }
        Ok(SegmentEvent::Nothing)
    }

    fn check_header(&self, seq: u64, block: &[u8]) -> Result<u64, SegmentError> {
        let corrupt = |what| SegmentError::Corrupt { path: self.path(seq), offset: 0, what };
        if block.len() < BLOCK_ALIGN {
            return Err(corrupt("the header is cut short"));
        }
        let incarnation = u64::from_le_bytes(block[24..32].try_into().expect("invariant: eight bytes"));
        if self.header(seq, incarnation)[..] != *block {
            return Err(corrupt("the header is not one this task wrote"));
        }
        Ok(incarnation)
    }

    fn check_chunk(
        &self,
        depot: ObjectId,
        at: ChunkAt,
        incarnation: u64,
        bytes: &[u8],
    ) -> Result<Vec<Run>, SegmentError> {
        let corrupt = |what| SegmentError::Corrupt { path: self.path(at.segment), offset: at.position, what };
        if bytes.len() != at.size as usize || bytes.len() < BLOCK_ALIGN {
            return Err(corrupt("a chunk is cut short"));
        }
        let crc = u32::from_le_bytes(bytes[4..8].try_into().expect("invariant: four bytes"));
        if bytes[..4] != CHUNK_MAGIC.to_le_bytes()
            || crc != self.place(at.segment, incarnation, at.position).crc(&bytes[8..])
        {
            return Err(corrupt("a chunk has a wrong checksum"));
        }
        let runs = read_runs(depot, at, bytes).map_err(|_| corrupt("a chunk has wrong lengths"))?;
        let dense = runs.windows(2).all(|pair| pair[0].end() == pair[1].first);
        if !dense || runs.first().is_none_or(|run| run.first != at.first) {
            return Err(corrupt("a chunk holds other records than the index says"));
        }
        Ok(runs)
    }

    /// Reads a chunk at once. Only while the task is opened.
    ///
    /// # Errors
    /// What the disk answers, or that the chunk is damaged.
    pub fn verify(&mut self, depot: ObjectId, at: ChunkAt, disk: &mut dyn Disk) -> Result<Vec<Run>, SegmentError> {
        let opened = match self.opened.get(&at.segment) {
            Some(opened) => *opened,
            None => {
                let DiskReply::Opened { file, .. } =
                    call(disk, DiskOp::Open { path: self.path(at.segment), mode: OpenMode::Read })?
                else {
                    unreachable!("an open answers with a file")
                };
                let header = read_now(disk, file, 0, BLOCK_ALIGN)?;
                let incarnation = self.check_header(at.segment, &header)?;
                self.opened.insert(at.segment, Opened { file, incarnation });
                Opened { file, incarnation }
            }
        };
        let size = (at.size as usize).min(CHUNK_READ_SIZE_MAX);
        let bytes = read_now(disk, opened.file, at.position, size)?;
        self.check_chunk(depot, at, opened.incarnation, &bytes)
    }

    /// Closes its files. Blocking; nothing may be on its way.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        let writer = match self.writer {
            Writer::Ready { file, .. } => Some(file),
            _ => None,
        };
        for file in std::mem::take(&mut self.opened).into_values().map(|opened| opened.file).chain(writer) {
            // Everything that matters was flushed: a failed close loses nothing.
            let _ = call(disk, DiskOp::Close { file });
        }
        self.writer = Writer::Closed;
    }
}

fn place(task: TaskId, seq: u64, incarnation: u64, offset: u64) -> Place {
    Place { owner: task.0, kind: FileKind::DepotSegment, incarnation, file: seq, offset }
}

/// The header block of a segment.
pub(crate) fn header_bytes(task: TaskId, seq: u64, incarnation: u64) -> Buf {
    let mut buf = Buf::zeroed(BLOCK_ALIGN);
    buf[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
    buf[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    buf[12..16].copy_from_slice(&task.0.to_le_bytes());
    buf[16..24].copy_from_slice(&seq.to_le_bytes());
    buf[24..32].copy_from_slice(&incarnation.to_le_bytes());
    let crc = place(task, seq, incarnation, 0).crc(&buf[..BLOCK_ALIGN - 4]);
    buf[BLOCK_ALIGN - 4..].copy_from_slice(&crc.to_le_bytes());
    buf
}

/// As many of the runs as fit a chunk, without its checksum, and which records they are.
fn gather<'a>(depot: ObjectId, runs: impl Iterator<Item = &'a Run>) -> (Buf, Offset, Offset) {
    let mut buf = Buf::with_capacity(CHUNK_SIZE_MAX + BLOCK_ALIGN);
    buf.resize(CHUNK_HEADER_SIZE);
    let (mut count, mut bounds) = (0u32, None::<(Offset, Offset)>);
    let mut encoded = Vec::new();
    for run in runs {
        if count > 0 && buf.len() + run.size() > CHUNK_SIZE_MAX {
            break;
        }
        encoded.clear();
        run.encode_head(&mut encoded);
        let len = encoded.len() + run.size();
        buf.extend(&u32::try_from(len).expect("invariant: limits are far below 4 GiB").to_le_bytes());
        buf.extend(&encoded);
        buf.extend(run.bytes());
        bounds = Some((bounds.map_or(run.first, |(first, _)| first), run.end()));
        count += 1;
    }
    let (first, end) = bounds.expect("a chunk has at least one run");
    let body_len = (buf.len() - CHUNK_HEADER_SIZE) as u32;
    buf.pad_to(BLOCK_ALIGN);
    let size = buf.len() as u32;
    buf[..4].copy_from_slice(&CHUNK_MAGIC.to_le_bytes());
    buf[8..12].copy_from_slice(&size.to_le_bytes());
    buf[12..16].copy_from_slice(&body_len.to_le_bytes());
    buf[16..20].copy_from_slice(&depot.0.to_le_bytes());
    buf[20..24].copy_from_slice(&count.to_le_bytes());
    buf[24..32].copy_from_slice(&first.0.to_le_bytes());
    (buf, first, end)
}

/// A whole chunk at a place.
#[cfg(test)]
pub(crate) fn chunk_bytes(task: TaskId, seq: u64, incarnation: u64, at: u64, depot: ObjectId, runs: &[Run]) -> Vec<u8> {
    let (mut buf, _, _) = gather(depot, runs.iter());
    let crc = place(task, seq, incarnation, at).crc(&buf[8..]);
    buf[4..8].copy_from_slice(&crc.to_le_bytes());
    buf.to_vec()
}

fn read_now(disk: &mut dyn Disk, file: FileId, offset: u64, size: usize) -> Result<Vec<u8>, SegmentError> {
    match call(disk, DiskOp::Read { file, offset, buf: Buf::zeroed(size) })? {
        DiskReply::Read { buf, len } => Ok(buf[..len].to_vec()),
        other => unreachable!("a read answered {other:?}"),
    }
}

fn read_runs(depot: ObjectId, at: ChunkAt, bytes: &[u8]) -> Result<Vec<Run>, Truncated> {
    let mut reader = FixedReader::new(&bytes[8..]);
    let size = reader.u32()?;
    let body_len = reader.u32()? as usize;
    let same_depot = ObjectId(reader.u32()?) == depot;
    let count = reader.u32()?;
    let first = Offset(reader.u64()?);
    if size != at.size || !same_depot || first != at.first {
        return Err(Truncated);
    }
    let mut reader = FixedReader::new(reader.take(body_len)?);
    let runs = (0..count).map(|_| Run::decode(reader.sized()?)).collect::<Result<Vec<_>, _>>()?;
    if reader.is_empty() { Ok(runs) } else { Err(Truncated) }
}
