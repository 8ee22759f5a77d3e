//! The depot segment files of one task: chunks of records, written once in large sequential writes.
//!
//! A segment starts with a header block that gives it a random incarnation; every chunk is padded to whole
//! blocks and carries a checksum seeded with its place, padding included, so that each byte of a file is
//! under a checksum. A process never appends to a segment of an earlier one. Chunks exist for readers only
//! once the task's tree says so (`ChunkAt`); bytes after the last such chunk are what a crash left. A segment whose
//! chunks are all trimmed is removed.
//! Format version 1; byte table in `docs/formats/depot-segment.md`.

use crate::depot::Run;
use crate::layout::ChunkAt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tantu_base::buf::{Buf, BufPool};
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskDone, DiskError, DiskOp, DiskReply, FileId, OpenMode, Token, call};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_base::limit::{BLOCK_ALIGN, FRAME_SIZE_MAX};

#[doc(hidden)]
pub mod fuzzing;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"TNTDEPOT");
pub(crate) const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"TCHK");
const FORMAT_VERSION: u32 = 1;
/// A segment takes chunks until it is this long, in bytes.
pub const SEGMENT_SIZE_MAX: u64 = 64 << 20;
/// A chunk takes runs until it is this long, in bytes; one larger run has a chunk of its own.
pub const CHUNK_SIZE_MAX: usize = 1 << 20;
pub(crate) const CHUNK_HEADER_SIZE: usize = 4 + 4 + 4 + 4 + 4 + 4 + 8;
/// A run of this many bytes goes to a segment before the log refers to it; smaller ones travel in the log.
pub const LARGE_RUN_SIZE: usize = 512 << 10;
/// Buffers kept on a core for chunks that are written.
pub const CHUNK_BUF_COUNT_MAX: usize = 4;
/// Chunks of a task that are read at a time.
pub const READING_COUNT_MAX: usize = 8;
/// Segments of a task that are open for reading, beyond those that are being read.
pub const OPENED_COUNT_MAX: usize = 16;
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
const TAG_REMOVE: u32 = 9;
const TAG_FLUSH: u32 = 10;
/// Tags of reads carry the number of the read above this many bits.
const TAG_BITS: u32 = 8;

/// How depot segments are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentOptions {
    /// A segment takes chunks until it is this long, in bytes.
    pub segment_size_max: u64,
    /// A chunk is written when this many bytes of records wait, and takes runs until it is this long.
    pub chunk_size_max: usize,
    /// A run of this many bytes goes to a segment before the log refers to it.
    pub large_run_size: usize,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self { segment_size_max: SEGMENT_SIZE_MAX, chunk_size_max: CHUNK_SIZE_MAX, large_run_size: LARGE_RUN_SIZE }
    }
}

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

/// A segment that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opened {
    /// Its name was asked for, or its header.
    Opening(Option<FileId>),
    /// Chunks can be read.
    Ready { file: FileId, incarnation: u64 },
}

#[derive(Debug)]
struct Chunk {
    depot: ObjectId,
    first: Offset,
    end: Offset,
    first_ms: u64,
    last_ms: u64,
    buf: Buf,
}

/// See the module.
#[derive(Debug)]
pub struct DepotSegments {
    dir: PathBuf,
    owner: u32,
    task: TaskId,
    options: SegmentOptions,
    next_seq: u64,
    writer: Writer,
    /// Where chunks are put together.
    bufs: BufPool,
    waiting: Option<Chunk>,
    writing: Option<(ObjectId, Offset, ChunkAt)>,
    /// By the number of the read.
    reading: BTreeMap<u32, (ObjectId, ChunkAt)>,
    next_read: u32,
    opened: BTreeMap<u64, Opened>,
    /// How many chunks of each segment the index names, or will when their entry is durable.
    live: BTreeMap<u64, u32>,
    /// Segments without chunks that are still there.
    dead: Vec<u64>,
    /// Files being closed or removed.
    ending: u32,
}

impl DepotSegments {
    /// Opens the directory of a task's depot segments, making it if it is missing. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn open(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        task: TaskId,
        options: SegmentOptions,
        bufs: BufPool,
    ) -> Result<Self, SegmentError> {
        call(disk, DiskOp::MakeDir { path: dir.to_path_buf() })?;
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: dir.to_path_buf() })? else {
            unreachable!("a list answers with names")
        };
        let last = sequences(&names).max();
        Ok(Self {
            dir: dir.to_path_buf(),
            owner,
            task,
            options,
            next_seq: last.unwrap_or(0) + 1,
            writer: Writer::Closed,
            bufs,
            waiting: None,
            writing: None,
            reading: BTreeMap::new(),
            next_read: 0,
            opened: BTreeMap::new(),
            live: BTreeMap::new(),
            dead: Vec::new(),
            ending: 0,
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

    /// Whether requests of it are on their way.
    pub fn is_busy(&self) -> bool {
        self.is_copying() || !self.reading.is_empty() || self.ending > 0
    }

    /// Whether one more chunk can be read now.
    pub fn can_load(&self) -> bool {
        self.reading.len() < READING_COUNT_MAX
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
        let buf = self.bufs.take(self.options.chunk_size_max + BLOCK_ALIGN);
        let chunk = gather(depot, runs, self.options.chunk_size_max, buf);
        let end = chunk.end;
        self.waiting = Some(chunk);
        self.advance(incarnation, disk);
        end
    }

    fn advance(&mut self, incarnation: u64, disk: &mut dyn Disk) {
        match self.writer {
            Writer::Ready { seq, position, file, .. } if position >= self.options.segment_size_max => {
                self.ending += 1;
                self.bury(seq);
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
                let Chunk { first, first_ms, last_ms, .. } = chunk;
                let at = ChunkAt { first, segment: seq, position, size, first_ms, last_ms };
                self.writing = Some((chunk.depot, chunk.end, at));
                self.writer = Writer::Ready { seq, incarnation, file, position: position + u64::from(size) };
                // Nobody waits for it: the flush is asked for when it is written, and what somebody waits for goes before.
                let write = DiskOp::Write { file, offset: position, buf: chunk.buf, durable: false };
                disk.submit(self.token(TAG_CHUNK), write);
            }
        }
    }

    fn place(&self, seq: u64, incarnation: u64, offset: u64) -> Place {
        place(self.task, seq, incarnation, offset)
    }

    fn header(&self, seq: u64, incarnation: u64) -> Buf {
        header_bytes(self.task, seq, incarnation)
    }

    /// Starts to read a chunk.
    ///
    /// # Panics
    /// If too many are being read: see [`DepotSegments::can_load`].
    pub fn load(&mut self, depot: ObjectId, at: ChunkAt, disk: &mut dyn Disk) {
        assert!(self.can_load(), "at most {READING_COUNT_MAX} chunks at a time");
        let read = self.next_read;
        self.next_read = (self.next_read + 1) % (1 << (u32::BITS - TAG_BITS));
        self.reading.insert(read, (depot, at));
        match self.opened.get(&at.segment) {
            Some(Opened::Ready { file, .. }) => self.read_chunk(read, *file, at, disk),
            // It is read when the header was.
            Some(Opened::Opening(_)) => {}
            None => {
                self.close_one(disk);
                self.opened.insert(at.segment, Opened::Opening(None));
                let path = self.path(at.segment);
                disk.submit(self.read_token(TAG_READ_OPEN, read), DiskOp::Open { path, mode: OpenMode::Read });
            }
        }
    }

    fn read_token(&self, tag: u32, read: u32) -> Token {
        self.token(tag | read << TAG_BITS)
    }

    fn read_chunk(&self, read: u32, file: FileId, at: ChunkAt, disk: &mut dyn Disk) {
        let buf = Buf::zeroed((at.size as usize).min(CHUNK_READ_SIZE_MAX));
        disk.submit(self.read_token(TAG_READ_CHUNK, read), DiskOp::Read { file, offset: at.position, buf });
    }

    fn is_reading(&self, seq: u64) -> bool {
        self.reading.values().any(|(_, at)| at.segment == seq)
    }

    /// Says which segments the chunks of the index are in, once for each chunk. Blocking; the files of all others
    /// are to be removed.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn count_live(&mut self, segments: impl Iterator<Item = u64>, disk: &mut dyn Disk) -> Result<(), SegmentError> {
        self.live.clear();
        for segment in segments {
            *self.live.entry(segment).or_default() += 1;
        }
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: self.dir.clone() })? else {
            unreachable!("a list answers with names")
        };
        self.dead = sequences(&names).filter(|seq| !self.live.contains_key(seq)).collect();
        Ok(())
    }

    /// A chunk of a segment is in the index no longer.
    pub(crate) fn lose_chunk(&mut self, seq: u64) {
        let count = self.live.get_mut(&seq).expect("invariant: the chunk was in the index");
        *count -= 1;
        if !matches!(self.writer, Writer::Ready { seq: current, .. } if current == seq) {
            self.bury(seq);
        }
    }

    /// A segment that is not written any more is dead if no chunk of it is left.
    fn bury(&mut self, seq: u64) {
        if self.live.get(&seq) == Some(&0) {
            self.live.remove(&seq);
            self.dead.push(seq);
        }
    }

    /// Whether files wait to be removed.
    pub(crate) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Starts to remove a segment without chunks, one at a time, when nobody reads it any more.
    pub(crate) fn remove_dead(&mut self, disk: &mut dyn Disk) {
        if self.ending > 0 {
            return;
        }
        let Some(at) = self.dead.iter().position(|seq| !self.is_reading(*seq)) else { return };
        let seq = self.dead.swap_remove(at);
        if let Some(Opened::Ready { file, .. }) = self.opened.remove(&seq) {
            self.ending += 1;
            disk.submit(self.token(TAG_CLOSE), DiskOp::Close { file });
        }
        self.ending += 1;
        disk.submit(self.token(TAG_REMOVE), DiskOp::Remove { path: self.path(seq) });
    }

    /// Closes a segment that nobody reads, if many are open.
    fn close_one(&mut self, disk: &mut dyn Disk) {
        if self.opened.len() < OPENED_COUNT_MAX {
            return;
        }
        let idle = self.opened.keys().copied().find(|seq| !self.is_reading(*seq));
        if let Some(seq) = idle
            && let Some(Opened::Ready { file, .. }) = self.opened.remove(&seq)
        {
            self.ending += 1;
            disk.submit(self.token(TAG_CLOSE), DiskOp::Close { file });
        }
    }

    /// Takes the answer to a part of a read.
    fn complete_read(
        &mut self,
        tag: u32,
        read: u32,
        reply: DiskReply,
        disk: &mut dyn Disk,
    ) -> Result<SegmentEvent, SegmentError> {
        let (depot, at) = self.reading[&read];
        match (tag, reply) {
            (TAG_READ_OPEN, DiskReply::Opened { file, .. }) => {
                self.opened.insert(at.segment, Opened::Opening(Some(file)));
                let buf = Buf::zeroed(BLOCK_ALIGN);
                disk.submit(self.read_token(TAG_READ_HEADER, read), DiskOp::Read { file, offset: 0, buf });
            }
            (TAG_READ_HEADER, DiskReply::Read { buf, len }) => {
                let incarnation = self.check_header(at.segment, &buf[..len])?;
                let Some(Opened::Opening(Some(file))) = self.opened.get(&at.segment).copied() else {
                    unreachable!("a header was read, so its segment is open")
                };
                self.opened.insert(at.segment, Opened::Ready { file, incarnation });
                for (read, (_, at)) in self.reading.iter().filter(|(_, (_, other))| other.segment == at.segment) {
                    self.read_chunk(*read, file, *at, disk);
                }
            }
            (TAG_READ_CHUNK, DiskReply::Read { buf, len }) => {
                self.reading.remove(&read);
                let Some(Opened::Ready { incarnation, .. }) = self.opened.get(&at.segment).copied() else {
                    unreachable!("a chunk was read, so its segment is open")
                };
                let runs = self.check_chunk(depot, at, incarnation, &buf[..len])?;
                return Ok(SegmentEvent::Loaded { depot, runs });
            }
            (tag, reply) => unreachable!("the disk answered request {tag} with {reply:?}"),
        }
        Ok(SegmentEvent::Nothing)
    }

    /// Takes a completion of its own.
    ///
    /// # Errors
    /// What the disk answered, or that a chunk is damaged.
    pub fn complete(&mut self, done: DiskDone, disk: &mut dyn Disk) -> Result<SegmentEvent, SegmentError> {
        if done.token.tag == TAG_REMOVE {
            self.ending -= 1;
            // A file that could not be removed is removed when the task is opened again.
            return Ok(SegmentEvent::Nothing);
        }
        let reply = done.result?;
        let (tag, read) = (done.token.tag & ((1 << TAG_BITS) - 1), done.token.tag >> TAG_BITS);
        match (tag, reply) {
            (TAG_READ_OPEN | TAG_READ_HEADER | TAG_READ_CHUNK, reply) => {
                return self.complete_read(tag, read, reply, disk);
            }
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
            (TAG_CHUNK, DiskReply::Written(buf)) => {
                self.bufs.give_back(buf);
                let Writer::Ready { file, .. } = self.writer else { unreachable!("a chunk is written to a segment") };
                disk.submit(self.token(TAG_FLUSH), DiskOp::Sync { file });
            }
            (TAG_FLUSH, DiskReply::Done) => {
                let (depot, end, at) = self.writing.take().expect("invariant: a chunk was being written");
                *self.live.entry(at.segment).or_default() += 1;
                return Ok(SegmentEvent::Copied { depot, end, at });
            }
            (TAG_CLOSE, DiskReply::Done) => self.ending -= 1,
            (tag, reply) => unreachable!("the disk answered request {tag} with {reply:?}"),
        }
        Ok(SegmentEvent::Nothing)
    }

    fn check_header(&self, seq: u64, block: &[u8]) -> Result<u64, SegmentError> {
        check_header(&self.path(seq), self.task, seq, block)
    }

    fn check_chunk(
        &self,
        depot: ObjectId,
        at: ChunkAt,
        incarnation: u64,
        bytes: &[u8],
    ) -> Result<Vec<Run>, SegmentError> {
        check_chunk(&self.path(at.segment), self.task, depot, at, incarnation, bytes)
    }

    /// Reads a chunk at once. Only while the task is opened.
    ///
    /// # Errors
    /// What the disk answers, or that the chunk is damaged.
    pub fn verify(&mut self, depot: ObjectId, at: ChunkAt, disk: &mut dyn Disk) -> Result<Vec<Run>, SegmentError> {
        let (file, incarnation) = match self.opened.get(&at.segment).copied() {
            Some(Opened::Ready { file, incarnation }) => (file, incarnation),
            Some(Opened::Opening(_)) => unreachable!("nothing is under way while the task is opened"),
            None => {
                self.close_one_now(disk);
                let DiskReply::Opened { file, .. } =
                    call(disk, DiskOp::Open { path: self.path(at.segment), mode: OpenMode::Read })?
                else {
                    unreachable!("an open answers with a file")
                };
                let header = read_now(disk, file, 0, BLOCK_ALIGN)?;
                let incarnation = self.check_header(at.segment, &header)?;
                self.opened.insert(at.segment, Opened::Ready { file, incarnation });
                (file, incarnation)
            }
        };
        let size = (at.size as usize).min(CHUNK_READ_SIZE_MAX);
        let bytes = read_now(disk, file, at.position, size)?;
        self.check_chunk(depot, at, incarnation, &bytes)
    }

    fn close_one_now(&mut self, disk: &mut dyn Disk) {
        if self.opened.len() >= OPENED_COUNT_MAX
            && let Some((_, Opened::Ready { file, .. })) = self.opened.pop_first()
        {
            // It was only read.
            let _ = call(disk, DiskOp::Close { file });
        }
    }

    /// Closes its files. Blocking; nothing may be on its way.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        let writer = match self.writer {
            Writer::Ready { file, .. } => Some(file),
            _ => None,
        };
        let opened = std::mem::take(&mut self.opened).into_values().filter_map(|opened| match opened {
            Opened::Ready { file, .. } => Some(file),
            Opened::Opening(file) => file,
        });
        for file in opened.chain(writer) {
            // Everything that matters was flushed: a failed close loses nothing.
            let _ = call(disk, DiskOp::Close { file });
        }
        self.writer = Writer::Closed;
    }
}

/// The sequence numbers of the segments among some files.
fn sequences(names: &[(String, u64)]) -> impl Iterator<Item = u64> {
    names.iter().filter_map(|(name, _)| name.strip_suffix(".seg")?.parse().ok())
}

fn place(task: TaskId, seq: u64, incarnation: u64, offset: u64) -> Place {
    Place { owner: task.0, kind: FileKind::DepotSegment, incarnation, file: seq, offset }
}

/// Checks the header block of a segment; returns its incarnation.
pub(crate) fn check_header(path: &Path, task: TaskId, seq: u64, block: &[u8]) -> Result<u64, SegmentError> {
    let corrupt = |what| SegmentError::Corrupt { path: path.to_path_buf(), offset: 0, what };
    if block.len() < BLOCK_ALIGN {
        return Err(corrupt("the header is cut short"));
    }
    let incarnation = u64::from_le_bytes(block[24..32].try_into().expect("invariant: eight bytes"));
    if header_bytes(task, seq, incarnation)[..] != *block {
        return Err(corrupt("the header is not one this task wrote"));
    }
    Ok(incarnation)
}

/// Checks the bytes of a chunk that the index puts at a place; returns its runs.
pub(crate) fn check_chunk(
    path: &Path,
    task: TaskId,
    depot: ObjectId,
    at: ChunkAt,
    incarnation: u64,
    bytes: &[u8],
) -> Result<Vec<Run>, SegmentError> {
    let corrupt = |what| SegmentError::Corrupt { path: path.to_path_buf(), offset: at.position, what };
    if bytes.len() != at.size as usize || bytes.len() < BLOCK_ALIGN {
        return Err(corrupt("a chunk is cut short"));
    }
    let crc = u32::from_le_bytes(bytes[4..8].try_into().expect("invariant: four bytes"));
    if bytes[..4] != CHUNK_MAGIC.to_le_bytes()
        || crc != place(task, at.segment, incarnation, at.position).crc(&bytes[8..])
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

/// As many of the runs as fit a chunk, without its checksum.
/// Puts a chunk together in an empty buffer.
fn gather<'a>(depot: ObjectId, runs: impl Iterator<Item = &'a Run>, size_max: usize, mut buf: Buf) -> Chunk {
    buf.resize(CHUNK_HEADER_SIZE);
    let (mut count, mut bounds) = (0u32, None::<(&Run, &Run)>);
    let mut encoded = Vec::new();
    for run in runs {
        if count > 0 && buf.len() + run.size() > size_max {
            break;
        }
        encoded.clear();
        run.encode_head(&mut encoded);
        let len = encoded.len() + run.size();
        buf.extend(&u32::try_from(len).expect("invariant: limits are far below 4 GiB").to_le_bytes());
        buf.extend(&encoded);
        buf.extend(run.bytes());
        bounds = Some((bounds.map_or(run, |(first, _)| first), run));
        count += 1;
    }
    let (first, last) = bounds.expect("a chunk has at least one run");
    let body_len = (buf.len() - CHUNK_HEADER_SIZE) as u32;
    buf.pad_to(BLOCK_ALIGN);
    let size = buf.len() as u32;
    buf[..4].copy_from_slice(&CHUNK_MAGIC.to_le_bytes());
    buf[8..12].copy_from_slice(&size.to_le_bytes());
    buf[12..16].copy_from_slice(&body_len.to_le_bytes());
    buf[16..20].copy_from_slice(&depot.0.to_le_bytes());
    buf[20..24].copy_from_slice(&count.to_le_bytes());
    buf[24..32].copy_from_slice(&first.first.0.to_le_bytes());
    Chunk { depot, first: first.first, end: last.end(), first_ms: first.time_ms, last_ms: last.time_ms, buf }
}

/// A whole chunk at a place.
#[cfg(test)]
pub(crate) fn chunk_bytes(task: TaskId, seq: u64, incarnation: u64, at: u64, depot: ObjectId, runs: &[Run]) -> Vec<u8> {
    let Chunk { mut buf, .. } = gather(depot, runs.iter(), CHUNK_SIZE_MAX, Buf::with_capacity(0));
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
