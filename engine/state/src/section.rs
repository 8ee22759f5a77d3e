//! The body of a replog entry: one section per task that changed, each with its own length and checksum,
//! so that a tail can be sealed again for one task into another log (design D3).
//!
//! Deltas are physical post-images: the same bytes are applied by a leader and by a follower, and
//! applying them needs no user code. Format version 1; byte table in `docs/formats/entry.md`.

use crate::depot::Run;
use crate::producer::{Span, put_spans, take_spans};
use crate::side::append::Appended;
use std::collections::VecDeque;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::fixed::{FixedReader, Truncated, put_sized};
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, ProducerId, RunId, TaskId, Version};
use tantu_base::limit::{FRAME_SIZE_MAX, KEY_SIZE_MAX, RECORD_SIZE_MAX};

const OP_PUT: u8 = 1;
const OP_DELETE: u8 = 2;
const OP_DELETE_RANGE: u8 = 3;
const OP_APPEND: u8 = 4;
const OP_APPEND_AT: u8 = 5;
const OP_RUN_CHUNK: u8 = 6;
const OP_RUN_PREPARED: u8 = 7;
const OP_RUN_PUBLISH: u8 = 8;
const OP_RUN_DROP: u8 = 9;
const OP_RUN_RECORDS: u8 = 12;
const OP_RUN_APPENDED: u8 = 13;
const OP_PRODUCED: u8 = 14;
const OP_RUN_SPILLED: u8 = 16;

/// Bytes before the writes of a chunk of a side run: kind, run, number, length.
const CHUNK_HEAD_SIZE: usize = 1 + 24 + 4 + 4;

/// Bytes before a section's ops.
pub const SECTION_HEADER_SIZE: usize = 4 + 8 + 4 + 4;

/// Why an entry's body is not what a writer sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SectionError {
    /// The body ends inside a field.
    #[error("the entry ends inside a field")]
    Truncated,
    /// The checksum of a section does not match.
    #[error("the section of {task} has a wrong checksum")]
    Checksum {
        /// Whose section.
        task: TaskId,
    },
    /// An op of a kind this version does not know.
    #[error("the section has an op of the unknown kind {kind}")]
    UnknownOp {
        /// The number found.
        kind: u8,
    },
    /// An op in a chunk of a side run that is no write.
    #[error("a chunk of a side run has an op of the kind {kind}, which is no write")]
    NoWrite {
        /// The number found.
        kind: u8,
    },
    /// A key, a value or a run over its limit.
    #[error("the section has a {what} over its limit")]
    OverLimit {
        /// What was too long.
        what: &'static str,
    },
}

impl From<Truncated> for SectionError {
    fn from(_: Truncated) -> Self {
        SectionError::Truncated
    }
}

/// Records at the end of a depot partition that are in a segment already: which, not where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The depot.
    pub depot: ObjectId,
    /// The first record.
    pub first: Offset,
    /// How many.
    pub count: u32,
    /// Bytes of them.
    pub size: u32,
    /// Checksum of their lengths and bytes.
    pub crc: u32,
}

/// One change of a task, as it stands in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// A tree key has this value from now on.
    Put {
        /// Tree key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A tree key has no value from now on.
    Delete {
        /// Tree key.
        key: &'a [u8],
    },
    /// No key of a range has a value from now on.
    DeleteRange {
        /// First key.
        from: &'a [u8],
        /// First key after.
        to: &'a [u8],
    },
    /// Records at the end of a depot partition, encoded as a [`Run`].
    Append {
        /// The depot.
        depot: ObjectId,
        /// The encoded run.
        run: &'a [u8],
    },
    /// Records at the end of a depot partition, by reference.
    AppendAt(Reference),
    /// Writes of a side run, which nobody sees yet.
    Chunk {
        /// The run.
        run: RunId,
        /// Which chunk of it, from 0.
        seq: u32,
        /// The encoded writes: [`chunk_writes`].
        writes: &'a [u8],
    },
    /// All chunks of a side run are in the log.
    Prepared {
        /// The run.
        run: RunId,
        /// The epoch of the log's writer when it was prepared.
        epoch: Epoch,
        /// How many chunks it has.
        chunk_count: u32,
    },
    /// Records that a side run appends to a depot when it is published, encoded as a [`Run`]; its first offset counts from the
    /// first of them.
    RunRecords {
        /// The run.
        run: RunId,
        /// The depot.
        depot: ObjectId,
        /// The encoded records.
        records: &'a [u8],
    },
    /// The offsets of what a side run appends to a depot; the section publishes the run.
    RunAppended(Appended),
    /// A side run is prepared, and lies on the disk beside the tree.
    Spilled {
        /// The run.
        run: RunId,
        /// The epoch of the log's writer when it was prepared.
        epoch: Epoch,
        /// Its number there.
        serial: u64,
        /// The version of the tree there that has all of it.
        version: Version,
    },
    /// A prepared side run enters the tree at the version of the section.
    Publish {
        /// The run.
        run: RunId,
    },
    /// A prepared side run is gone.
    Drop {
        /// The run.
        run: RunId,
    },
    /// Which of the records of the section a producer numbered; without any, that it started anew.
    Produced {
        /// The depot.
        depot: ObjectId,
        /// The producer.
        producer: ProducerId,
        /// Its life.
        epoch: u32,
        /// When, in milliseconds since the Unix epoch.
        time_ms: u64,
        /// What [`spans`](crate::producer::spans) reads.
        spans: &'a [u8],
    },
}

/// Writes the sections of one entry.
#[derive(Debug, Default)]
pub struct EntryWriter {
    /// The body so far.
    pub body: Vec<u8>,
}

impl EntryWriter {
    /// Starts the section of a task; returns where it starts, for [`EntryWriter::end_section`].
    pub fn begin_section(&mut self, task: TaskId, version: Version) -> usize {
        let start = self.body.len();
        self.body.extend_from_slice(&task.0.to_le_bytes());
        self.body.extend_from_slice(&version.0.to_le_bytes());
        self.body.extend_from_slice(&[0; 8]);
        start
    }

    /// Adds a put.
    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let len = u32::try_from(key.len()).expect("invariant: limits are far below 4 GiB").to_le_bytes();
        self.body.extend_from_slice(&[OP_PUT, len[0], len[1], len[2], len[3]]);
        self.body.extend_from_slice(key);
        put_sized(&mut self.body, value);
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: &[u8]) {
        self.body.push(OP_DELETE);
        put_sized(&mut self.body, key);
    }

    /// Adds a range delete.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.body.push(OP_DELETE_RANGE);
        put_sized(&mut self.body, from);
        put_sized(&mut self.body, to);
    }

    /// Adds appended records.
    pub fn append(&mut self, depot: ObjectId, run: &Run) {
        self.body.push(OP_APPEND);
        self.body.extend_from_slice(&depot.0.to_le_bytes());
        self.sized_run(run);
    }

    /// Records behind the length of their encoding.
    fn sized_run(&mut self, run: &Run) {
        let at = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        run.encode(&mut self.body);
        let len = (self.body.len() - at - 4) as u32;
        self.body[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Adds appended records by reference.
    pub fn append_at(&mut self, reference: &Reference) {
        let Reference { depot, first, count, size, crc } = *reference;
        self.body.push(OP_APPEND_AT);
        self.body.extend_from_slice(&depot.0.to_le_bytes());
        self.body.extend_from_slice(&first.0.to_le_bytes());
        self.body.extend_from_slice(&count.to_le_bytes());
        self.body.extend_from_slice(&size.to_le_bytes());
        self.body.extend_from_slice(&crc.to_le_bytes());
    }

    fn run(&mut self, kind: u8, run: RunId) {
        self.body.push(kind);
        self.body.extend_from_slice(&run.topology.0.to_le_bytes());
        self.body.extend_from_slice(&run.id.to_le_bytes());
        self.body.extend_from_slice(&run.attempt.epoch.0.to_le_bytes());
        self.body.extend_from_slice(&run.attempt.counter.to_le_bytes());
    }

    /// Starts a chunk of a side run; puts and deletes that follow are its writes. Returns where they start, for
    /// [`EntryWriter::end_chunk`].
    pub fn begin_chunk(&mut self, run: RunId, seq: u32) -> usize {
        self.run(OP_RUN_CHUNK, run);
        self.body.extend_from_slice(&seq.to_le_bytes());
        self.body.extend_from_slice(&[0; 4]);
        self.body.len()
    }

    /// Bytes of the chunk whose writes started at `start`.
    pub(crate) fn chunk_size(&self, start: usize) -> usize {
        self.body.len() - start
    }

    /// Ends the chunk whose writes started at `start`; one without writes is taken back. Whether there is one.
    pub fn end_chunk(&mut self, start: usize) -> bool {
        let size = self.chunk_size(start);
        if size == 0 {
            self.body.truncate(start - CHUNK_HEAD_SIZE);
            return false;
        }
        self.body[start - 4..start].copy_from_slice(&(size as u32).to_le_bytes());
        true
    }

    /// Says that all chunks of a side run are there.
    pub fn prepared(&mut self, run: RunId, epoch: Epoch, chunk_count: u32) {
        self.run(OP_RUN_PREPARED, run);
        self.body.extend_from_slice(&epoch.0.to_le_bytes());
        self.body.extend_from_slice(&chunk_count.to_le_bytes());
    }

    /// Adds records that a side run appends when it is published.
    pub fn run_records(&mut self, run: RunId, depot: ObjectId, records: &Run) {
        self.run(OP_RUN_RECORDS, run);
        self.body.extend_from_slice(&depot.0.to_le_bytes());
        self.sized_run(records);
    }

    /// Gives the offsets of records of a side run that is published.
    pub fn run_appended(&mut self, appended: &Appended) {
        let Appended { run, depot, first, count, time_ms } = *appended;
        self.run(OP_RUN_APPENDED, run);
        self.body.extend_from_slice(&depot.0.to_le_bytes());
        self.body.extend_from_slice(&first.0.to_le_bytes());
        self.body.extend_from_slice(&count.to_le_bytes());
        self.body.extend_from_slice(&time_ms.to_le_bytes());
    }

    /// Says that all of a side run is on the disk, and where.
    pub fn spilled(&mut self, run: RunId, epoch: Epoch, serial: u64, version: Version) {
        self.run(OP_RUN_SPILLED, run);
        self.body.extend_from_slice(&epoch.0.to_le_bytes());
        self.body.extend_from_slice(&serial.to_le_bytes());
        self.body.extend_from_slice(&version.0.to_le_bytes());
    }

    /// Publishes a side run.
    pub fn publish(&mut self, run: RunId) {
        self.run(OP_RUN_PUBLISH, run);
    }

    /// Drops a side run.
    pub fn drop_run(&mut self, run: RunId) {
        self.run(OP_RUN_DROP, run);
    }

    /// Says which records of a depot a producer numbered.
    pub fn produced(
        &mut self,
        depot: ObjectId,
        producer: ProducerId,
        epoch: u32,
        time_ms: u64,
        spans: &VecDeque<Span>,
    ) {
        self.body.push(OP_PRODUCED);
        self.body.extend_from_slice(&depot.0.to_le_bytes());
        self.body.extend_from_slice(&producer.0.to_le_bytes());
        self.body.extend_from_slice(&epoch.to_le_bytes());
        self.body.extend_from_slice(&time_ms.to_le_bytes());
        put_spans(&mut self.body, spans.iter());
    }

    /// Ends the section that started at `start`: fills in its length and checksum.
    pub fn end_section(&mut self, start: usize) {
        let (header, ops) = self.body[start..].split_at_mut(SECTION_HEADER_SIZE);
        let task = u32::from_le_bytes(header[..4].try_into().expect("invariant: four bytes"));
        let version = u64::from_le_bytes(header[4..12].try_into().expect("invariant: eight bytes"));
        let crc = checksum(TaskId(task), Version(version), ops);
        header[12..16].copy_from_slice(&(ops.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A section belongs to a task and a version, not to a place in a log: it may move to another log.
fn checksum(task: TaskId, version: Version, ops: &[u8]) -> u32 {
    Place { owner: task.0, kind: FileKind::ReplogSegment, incarnation: version.0, file: 0, offset: 0 }.crc(ops)
}

/// A task's part of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section<'a> {
    /// Whose.
    pub task: TaskId,
    /// The task's commit number of these changes.
    pub version: Version,
    /// The encoded ops; those that [`sections`] finds match their checksum.
    pub ops: &'a [u8],
}

impl<'a> Section<'a> {
    /// Its changes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Op<'a>, SectionError>> + use<'a> {
        let mut reader = FixedReader::new(self.ops);
        std::iter::from_fn(move || if reader.is_empty() { None } else { Some(read_op(&mut reader)) })
    }

    /// As [`Section::iter`], but puts of keys to which `skips` are only checked.
    pub(crate) fn iter_but_puts(
        &self,
        skips: fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = Result<Op<'a>, SectionError>> + use<'a> {
        let mut reader = FixedReader::new(self.ops);
        std::iter::from_fn(move || {
            while let [OP_PUT, rest @ ..] = reader.rest() {
                let mut put = FixedReader::new(rest);
                match read_put(&mut put) {
                    Ok((key, _)) if skips(key) => reader = put,
                    _ => break,
                }
            }
            if reader.is_empty() { None } else { Some(read_op(&mut reader)) }
        })
    }
}

/// The sections of an entry's body, in order.
pub fn sections(body: &[u8]) -> impl Iterator<Item = Result<Section<'_>, SectionError>> {
    let mut reader = FixedReader::new(body);
    std::iter::from_fn(move || if reader.is_empty() { None } else { Some(read_section(&mut reader, true)) })
}

/// The sections of a body that never left the memory of the thread that sealed it: their checksums, which it has
/// computed itself, are not computed again.
pub fn own_sections(body: &[u8]) -> impl Iterator<Item = Result<Section<'_>, SectionError>> {
    let mut reader = FixedReader::new(body);
    std::iter::from_fn(move || if reader.is_empty() { None } else { Some(read_section(&mut reader, false)) })
}

fn read_section<'a>(reader: &mut FixedReader<'a>, check: bool) -> Result<Section<'a>, SectionError> {
    let task = TaskId(reader.u32()?);
    let version = Version(reader.u64()?);
    let len = reader.u32()? as usize;
    let crc = reader.u32()?;
    let ops = reader.take(len)?;
    if check && crc != checksum(task, version, ops) {
        return Err(SectionError::Checksum { task });
    }
    Ok(Section { task, version, ops })
}

/// The writes of a chunk of a side run, in order: puts, deletes and range deletes.
pub fn chunk_writes(writes: &[u8]) -> impl Iterator<Item = Result<Op<'_>, SectionError>> {
    let mut reader = FixedReader::new(writes);
    std::iter::from_fn(move || {
        let kind = *reader.rest().first()?;
        let is_write = matches!(kind, OP_PUT | OP_DELETE | OP_DELETE_RANGE);
        Some(if is_write { read_op(&mut reader) } else { Err(SectionError::NoWrite { kind }) })
    })
}

fn read_run(reader: &mut FixedReader<'_>) -> Result<RunId, Truncated> {
    let (topology, id) = (ObjectId(reader.u32()?), reader.u64()?);
    let attempt = Attempt { epoch: Epoch(reader.u64()?), counter: reader.u32()? };
    Ok(RunId { topology, id, attempt })
}

#[inline]
fn read_key<'a>(reader: &mut FixedReader<'a>) -> Result<&'a [u8], SectionError> {
    match reader.sized()? {
        key if key.len() > KEY_SIZE_MAX + 16 => Err(SectionError::OverLimit { what: "key" }),
        key => Ok(key),
    }
}

/// Key and value of a put, behind its kind.
#[inline]
fn read_put<'a>(reader: &mut FixedReader<'a>) -> Result<(&'a [u8], &'a [u8]), SectionError> {
    let key = read_key(reader)?;
    match reader.sized()? {
        value if value.len() > RECORD_SIZE_MAX => Err(SectionError::OverLimit { what: "value" }),
        value => Ok((key, value)),
    }
}

#[inline]
fn read_op<'a>(reader: &mut FixedReader<'a>) -> Result<Op<'a>, SectionError> {
    let key = read_key;
    match reader.u8()? {
        OP_PUT => {
            let (key, value) = read_put(reader)?;
            Ok(Op::Put { key, value })
        }
        OP_DELETE => Ok(Op::Delete { key: key(reader)? }),
        OP_DELETE_RANGE => Ok(Op::DeleteRange { from: key(reader)?, to: key(reader)? }),
        OP_APPEND => {
            let depot = ObjectId(reader.u32()?);
            Ok(Op::Append { depot, run: read_records(reader)? })
        }
        OP_APPEND_AT => Ok(Op::AppendAt(Reference {
            depot: ObjectId(reader.u32()?),
            first: Offset(reader.u64()?),
            count: reader.u32()?,
            size: reader.u32()?,
            crc: reader.u32()?,
        })),
        kind => read_run_op(kind, reader),
    }
}

/// An encoded run of records behind its length.
fn read_records<'a>(reader: &mut FixedReader<'a>) -> Result<&'a [u8], SectionError> {
    match reader.sized()? {
        run if run.len() > FRAME_SIZE_MAX => Err(SectionError::OverLimit { what: "run of records" }),
        run => Ok(run),
    }
}

fn read_run_op<'a>(kind: u8, reader: &mut FixedReader<'a>) -> Result<Op<'a>, SectionError> {
    match kind {
        OP_RUN_CHUNK => {
            let (run, seq, writes) = (read_run(reader)?, reader.u32()?, reader.sized()?);
            Ok(Op::Chunk { run, seq, writes })
        }
        OP_RUN_PREPARED => {
            Ok(Op::Prepared { run: read_run(reader)?, epoch: Epoch(reader.u64()?), chunk_count: reader.u32()? })
        }
        OP_RUN_PUBLISH => Ok(Op::Publish { run: read_run(reader)? }),
        OP_RUN_DROP => Ok(Op::Drop { run: read_run(reader)? }),
        OP_RUN_RECORDS => {
            let (run, depot) = (read_run(reader)?, ObjectId(reader.u32()?));
            Ok(Op::RunRecords { run, depot, records: read_records(reader)? })
        }
        OP_RUN_APPENDED => Ok(Op::RunAppended(Appended {
            run: read_run(reader)?,
            depot: ObjectId(reader.u32()?),
            first: Offset(reader.u64()?),
            count: reader.u64()?,
            time_ms: reader.u64()?,
        })),
        OP_PRODUCED => Ok(Op::Produced {
            depot: ObjectId(reader.u32()?),
            producer: ProducerId(u128::from(reader.u64()?) | u128::from(reader.u64()?) << 64),
            epoch: reader.u32()?,
            time_ms: reader.u64()?,
            spans: take_spans(reader)?,
        }),
        OP_RUN_SPILLED => Ok(Op::Spilled {
            run: read_run(reader)?,
            epoch: Epoch(reader.u64()?),
            serial: reader.u64()?,
            version: Version(reader.u64()?),
        }),
        kind => Err(SectionError::UnknownOp { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::spans;

    const RUN: RunId = RunId { topology: ObjectId(9), id: 1 << 33, attempt: Attempt { epoch: Epoch(3), counter: 4 } };

    const APPENDED: Appended =
        Appended { run: RUN, depot: ObjectId(5), first: Offset(1 << 34), count: 1 << 33, time_ms: 78 };
    const PRODUCER: ProducerId = ProducerId(u128::MAX - 5);

    fn sample() -> Vec<u8> {
        let mut writer = EntryWriter::default();
        let start = writer.begin_section(TaskId(3), Version(9));
        writer.put(b"key", b"value");
        writer.delete(b"gone");
        writer.delete_range(b"a", b"b");
        let mut run = Run::new(Offset(4));
        run.push(b"first");
        run.push(b"");
        run.time_ms = 77;
        writer.append(ObjectId(5), &run);
        writer.append_at(&Reference { depot: ObjectId(6), first: Offset(1 << 40), count: 7, size: 8, crc: 9 });
        let start_of_chunk = writer.begin_chunk(RUN, 2);
        writer.delete_range(b"c", b"d");
        writer.put(b"key", b"in the run");
        assert!(writer.end_chunk(start_of_chunk));
        let start_of_chunk = writer.begin_chunk(RUN, 3);
        assert!(!writer.end_chunk(start_of_chunk), "without writes there is none");
        writer.prepared(RUN, Epoch(7), 3);
        writer.publish(RUN);
        writer.drop_run(RUN);
        writer.run_records(RUN, ObjectId(5), &run);
        writer.run_appended(&APPENDED);
        writer.spilled(RUN, Epoch(7), 1 << 40, Version(12));
        let spans = [Span { sequence: 1 << 34, offset: Offset(1 << 33), count: 3 }];
        writer.produced(ObjectId(5), PRODUCER, 6, 7, &spans.into());
        writer.end_section(start);
        let start = writer.begin_section(TaskId(4), Version(1));
        writer.end_section(start);
        writer.body
    }

    #[test]
    fn an_entry_gives_back_its_sections_and_their_ops() {
        let body = sample();
        let found: Vec<_> = sections(&body).map(|s| s.expect("whole")).collect();
        assert_eq!(
            found.iter().map(|s| (s.task, s.version)).collect::<Vec<_>>(),
            [(TaskId(3), Version(9)), (TaskId(4), Version(1))]
        );
        let ops: Vec<_> = found[0].iter().map(|op| op.expect("known")).collect();
        assert_eq!(ops[0], Op::Put { key: b"key", value: b"value" });
        assert_eq!(ops[1], Op::Delete { key: b"gone" });
        assert_eq!(ops[2], Op::DeleteRange { from: b"a", to: b"b" });
        let Op::Append { depot, run } = ops[3] else { panic!("an append") };
        let run = Run::decode(run).expect("whole");
        assert_eq!((depot, run.first, run.time_ms, run.count()), (ObjectId(5), Offset(4), 77, 2));
        assert_eq!(run.record(0), b"first");
        assert_eq!(run.record(1), b"");
        assert!(own_sections(&body).map(|s| s.expect("whole")).eq(found.iter().copied()));
        assert_eq!(
            ops[4],
            Op::AppendAt(Reference { depot: ObjectId(6), first: Offset(1 << 40), count: 7, size: 8, crc: 9 })
        );
    }

    #[test]
    fn an_entry_gives_back_what_it_says_of_side_runs_and_of_producers() {
        let body = sample();
        let section = sections(&body).next().expect("two sections").expect("whole");
        let ops: Vec<_> = section.iter().skip(5).map(|op| op.expect("known")).collect();
        let [Op::Chunk { run, seq, writes }, rest @ ..] = &ops[..] else { panic!("a chunk first: {ops:?}") };
        assert_eq!((*run, *seq), (RUN, 2));
        let writes: Vec<_> = chunk_writes(writes).map(|op| op.expect("known")).collect();
        let put = Op::Put { key: b"key", value: b"in the run" };
        assert_eq!(writes, [Op::DeleteRange { from: b"c", to: b"d" }, put]);
        let prepared = Op::Prepared { run: RUN, epoch: Epoch(7), chunk_count: 3 };
        let spilled = Op::Spilled { run: RUN, epoch: Epoch(7), serial: 1 << 40, version: Version(12) };
        let [Op::RunRecords { run, depot, records }, appended, last_spilled, produced] = &rest[3..] else {
            panic!("{rest:?}")
        };
        assert_eq!(rest[..3], [prepared, Op::Publish { run: RUN }, Op::Drop { run: RUN }]);
        let records = Run::decode(records).expect("whole");
        assert_eq!((*run, *depot, records.record(0), records.count()), (RUN, ObjectId(5), &b"first"[..], 2));
        assert_eq!((*appended, APPENDED.end()), (Op::RunAppended(APPENDED), Offset((1 << 34) + (1 << 33))));
        assert_eq!(*last_spilled, spilled);
        let Op::Produced { depot, producer, epoch, time_ms, spans: found } = produced else { panic!("{produced:?}") };
        assert_eq!((*depot, *producer, *epoch, *time_ms), (ObjectId(5), PRODUCER, 6, 7));
        let found: Vec<Span> = spans(found).collect();
        assert_eq!(found, [Span { sequence: 1 << 34, offset: Offset(1 << 33), count: 3 }]);
    }

    #[test]
    fn a_chunk_of_a_side_run_holds_writes_and_nothing_else() {
        let mut writer = EntryWriter::default();
        writer.put(b"key", b"value");
        writer.publish(RUN);
        let mut writes = chunk_writes(&writer.body);
        assert!(matches!(writes.next(), Some(Ok(Op::Put { .. }))));
        assert_eq!(writes.next(), Some(Err(SectionError::NoWrite { kind: OP_RUN_PUBLISH })));
    }

    #[test]
    fn every_flipped_bit_of_an_entry_is_noticed() {
        let body = sample();
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let all: Result<Vec<_>, _> = sections(&bad).collect();
            assert!(all.is_err(), "bit {bit} was taken");
        }
    }
}
