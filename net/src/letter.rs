//! What task threads and clients send each other: one frame per letter, fixed little-endian fields.
//!
//! `len u32 · kind u8 · fields`. Letters live as long as the processes that exchange them; nothing durable
//! holds one. A continuation carries its plan's fingerprint, so that binaries of two versions never run
//! each other's.

use crate::client_letter;
pub use crate::client_letter::{ClientLetter, HoldSays, NumberFault, SnapshotSays};
pub use crate::microbatch::{MicrobatchAsk, MicrobatchSays};
use crate::microbatch::{put_ask, put_run, read_ask, read_run, read_says};
pub use crate::stream::StreamLetter;
use crate::stream::{is_stream, put_stream, read_stream};
use tantu_base::fixed::{FixedReader, Truncated, put_sized};
pub use tantu_base::id::AckLevel;
use tantu_base::id::{Epoch, Offset, RunId, TaskId};

/// Why a request was refused. Tells "not done" from "not known".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// The request itself is wrong; nothing was done.
    Invalid = 1,
    /// The record was appended, but a topology failed on it the first time; it will be tried again.
    ProcessingFailed = 2,
    /// The module is closing; nothing was done.
    Closing = 3,
    /// A read could not be done.
    ReadFailed = 4,
    /// The disk is full; nothing was done. Reads go on, and appends as soon as there is space again.
    StorageFull = 5,
    /// A query failed.
    QueryFailed = 6,
    /// A query took too long.
    QueryTimedOut = 7,
    /// The record was appended, but too much is under way to wait for its processing.
    Throttled = 24,
    /// What was when a microbatch ended is not kept, or not any more.
    NotKept = 8,
    /// Too many requests of this kind are under way; nothing was done.
    Busy = 9,
}

/// The record an event descends from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Root {
    /// The task of its depot partition.
    pub task: TaskId,
    /// Which source of the module. The queries follow the sources: what a query starts with is a call.
    pub source: u16,
    /// The record, or the number of the call.
    pub offset: Offset,
    /// Which try. Of a call, how many calls of queries are around it.
    pub attempt: u32,
}

/// A page that is asked for of a depot partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadRange {
    /// The first record.
    pub from: Offset,
    /// The one after the last.
    pub to: Offset,
    /// Most records of the page.
    pub count_max: u32,
    /// Most bytes of the page, unless its first record alone is longer.
    pub size_max: u32,
}

/// One letter, borrowed from a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Letter<'a> {
    /// A client appends a record.
    Append {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the depot in the module.
        depot: u16,
        /// When to answer.
        ack: AckLevel,
        /// The record in value form.
        record: &'a [u8],
    },
    /// A client reads.
    Select {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the PState in the module.
        pstate: u16,
        /// The encoded path.
        path: &'a [u8],
    },
    /// A client invokes a query.
    Invoke {
        /// Where the call starts.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the query in the module.
        query: u16,
        /// The arguments in value form, one after the other.
        arguments: &'a [u8],
    },
    /// A client reads a range of a depot partition.
    ReadDepot {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the depot in the module.
        depot: u16,
        /// What to read.
        range: ReadRange,
    },
    /// A client asks which offsets a depot partition has.
    AskOffsets {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the depot in the module.
        depot: u16,
    },
    /// A client asks something of a microbatch topology.
    AskMicrobatch {
        /// Task 0.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the topology among the module's microbatch topologies.
        topology: u16,
        /// What.
        ask: MicrobatchAsk,
    },
    /// Of the protocol of a microbatch topology.
    Microbatch {
        /// Whom it is for: a participant, or task 0 for the coordinator.
        task: TaskId,
        /// Who sends it: the participant, or task 0.
        from: TaskId,
        /// Which attempt.
        run: RunId,
        /// The receiver's epoch, as the sender knows it; what is meant for another incarnation is dropped.
        epoch: Epoch,
        /// What it says.
        says: MicrobatchSays,
        /// What belongs to that.
        body: &'a [u8],
    },
    /// Of stream topologies.
    Stream(StreamLetter<'a>),
    /// An event goes on here.
    Continue {
        /// Where.
        task: TaskId,
        /// Which topology of the module: its streams, then its queries.
        stream: u16,
        /// Low half of the plan's fingerprint.
        fingerprint: u32,
        /// Where in the plan.
        position: u32,
        /// What it descends from.
        root: Root,
        /// The event's own random number in its root's ack value.
        event: u64,
        /// Encoded live variables.
        live: &'a [u8],
    },
    /// Events go on here, packed: see [`crate::event`].
    Events {
        /// What [`crate::event::Events`] reads.
        rows: &'a [u8],
    },
    /// Rows of a batch block reach a table: aggregators, a side of a join.
    Fold {
        /// Where.
        task: TaskId,
        /// Which topology of the module: its streams, then its queries.
        topology: u16,
        /// Low half of the plan's fingerprint.
        fingerprint: u32,
        /// Which table of the plan.
        table: u16,
        /// What the rows descend from.
        root: Root,
        /// The letter's own random number in its root's ack value.
        event: u64,
        /// Whether the rows are partial states of aggregators.
        is_partial: bool,
        /// Keys and values of each row, each with its length before it.
        rows: &'a [u8],
    },
    /// An event calls a query, on its own task, and goes on with the result.
    Call {
        /// Where.
        task: TaskId,
        /// Place of the query in the module.
        query: u16,
        /// Which topology goes on.
        topology: u16,
        /// Low half of its plan's fingerprint.
        fingerprint: u32,
        /// Where in the plan it goes on.
        position: u32,
        /// What the event descends from.
        root: Root,
        /// The number, in its root's ack value, of the event that goes on.
        event: u64,
        /// The arguments in value form, one after the other.
        arguments: &'a [u8],
        /// Encoded live variables; the result is appended to them.
        live: &'a [u8],
    },
    /// A root ended: its tables go.
    End {
        /// A task of the thread that is told.
        task: TaskId,
        /// The root.
        root: Root,
    },
    /// Events of a root are done.
    Done {
        /// The root.
        root: Root,
        /// Numbers of the done events and of those they sent, combined by XOR.
        bits: u64,
    },
    /// An event of a root failed.
    Failed {
        /// The root.
        root: Root,
        /// What happened.
        text: &'a str,
    },
    /// Answer to an append.
    Appended {
        /// The client's name for the request.
        request: u64,
        /// Where the record is.
        offset: Offset,
    },
    /// Part of the answer to a select.
    Rows {
        /// The client's name for the request.
        request: u64,
        /// Whether more parts follow.
        more: bool,
        /// How many values.
        count: u32,
        /// The values in value form, one after the other.
        rows: &'a [u8],
    },
    /// A page of a depot partition.
    Records {
        /// The client's name for the request.
        request: u64,
        /// Offset after the last record of the page.
        next: Offset,
        /// How many records.
        count: u32,
        /// The records in value form, one after the other.
        records: &'a [u8],
    },
    /// Which offsets a depot partition has: the answer to who asks for them, and to who reads others.
    Offsets {
        /// The client's name for the request.
        request: u64,
        /// The first.
        start: Offset,
        /// The one after the last.
        end: Offset,
    },
    /// How far a microbatch topology is.
    MicrobatchStatus {
        /// The client's name for the request.
        request: u64,
        /// The last microbatch that is visible on every task.
        finished: u64,
        /// Records in all of them.
        processed: u64,
        /// Whether it is paused.
        paused: bool,
        /// The microbatch whose attempts fail, how many of them did, and what the last one failed with.
        failing: Option<(u64, u32, &'a str)>,
    },
    /// See [`ClientLetter`].
    Client(ClientLetter<'a>),
    /// A request was refused.
    Refused {
        /// The client's name for the request.
        request: u64,
        /// Why.
        refusal: Refusal,
        /// Why, in words.
        text: &'a str,
    },
}

/// A letter that is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LetterError {
    /// It ends inside a field.
    #[error("a letter ends inside a field")]
    Truncated,
    /// A number that names nothing.
    #[error("a letter has the unknown {what} {value}")]
    Unknown {
        /// What kind of number.
        what: &'static str,
        /// The number.
        value: u8,
    },
    /// Text that is not UTF-8.
    #[error("a letter's text is not UTF-8")]
    Text,
}

impl From<Truncated> for LetterError {
    fn from(_: Truncated) -> Self {
        LetterError::Truncated
    }
}

const APPEND: u8 = 1;
const SELECT: u8 = 2;
const CONTINUE: u8 = 3;
const DONE: u8 = 4;
const FAILED: u8 = 5;
const APPENDED: u8 = 6;
const ROWS: u8 = 7;
const REFUSED: u8 = 8;
const READ_DEPOT: u8 = 9;
const ASK_OFFSETS: u8 = 10;
const RECORDS: u8 = 11;
const OFFSETS: u8 = 12;
const INVOKE: u8 = 13;
const FOLD: u8 = 14;
const END: u8 = 15;
const ASK_MICROBATCH: u8 = 16;
const MICROBATCH: u8 = 17;
const MICROBATCH_STATUS: u8 = 18;
const CALL: u8 = 19;
const EVENTS: u8 = 20;

pub(crate) fn put_root(out: &mut Vec<u8>, root: &Root) {
    out.extend_from_slice(&root.task.0.to_le_bytes());
    out.extend_from_slice(&root.source.to_le_bytes());
    out.extend_from_slice(&root.offset.0.to_le_bytes());
    out.extend_from_slice(&root.attempt.to_le_bytes());
}

pub(crate) fn read_root(reader: &mut FixedReader<'_>) -> Result<Root, Truncated> {
    Ok(Root {
        task: TaskId(reader.u32()?),
        source: reader.u16()?,
        offset: Offset(reader.u64()?),
        attempt: reader.u32()?,
    })
}

/// How every client's request begins: its kind, the task, the client's name for it, the object.
fn put_request(out: &mut Vec<u8>, kind: u8, task: TaskId, request: u64, object: u16) {
    out.push(kind);
    out.extend_from_slice(&task.0.to_le_bytes());
    out.extend_from_slice(&request.to_le_bytes());
    out.extend_from_slice(&object.to_le_bytes());
}

pub(crate) fn read_ack(reader: &mut FixedReader<'_>) -> Result<AckLevel, LetterError> {
    match reader.u8()? {
        0 => Ok(AckLevel::None),
        1 => Ok(AckLevel::AppendAck),
        2 => Ok(AckLevel::Ack),
        value => Err(LetterError::Unknown { what: "ack level", value }),
    }
}

fn read_refusal(reader: &mut FixedReader<'_>) -> Result<Refusal, LetterError> {
    Ok(match reader.u8()? {
        1 => Refusal::Invalid,
        2 => Refusal::ProcessingFailed,
        3 => Refusal::Closing,
        4 => Refusal::ReadFailed,
        5 => Refusal::StorageFull,
        6 => Refusal::QueryFailed,
        7 => Refusal::QueryTimedOut,
        24 => Refusal::Throttled,
        8 => Refusal::NotKept,
        9 => Refusal::Busy,
        value => return Err(LetterError::Unknown { what: "refusal", value }),
    })
}

pub(crate) fn read_text<'a>(reader: &mut FixedReader<'a>) -> Result<&'a str, LetterError> {
    std::str::from_utf8(reader.rest()).map_err(|_| LetterError::Text)
}

fn put_range(out: &mut Vec<u8>, range: &ReadRange) {
    out.extend_from_slice(&range.from.0.to_le_bytes());
    out.extend_from_slice(&range.to.0.to_le_bytes());
    out.extend_from_slice(&range.count_max.to_le_bytes());
    out.extend_from_slice(&range.size_max.to_le_bytes());
}

fn read_range(reader: &mut FixedReader<'_>) -> Result<ReadRange, Truncated> {
    Ok(ReadRange {
        from: Offset(reader.u64()?),
        to: Offset(reader.u64()?),
        count_max: reader.u32()?,
        size_max: reader.u32()?,
    })
}

impl<'a> Letter<'a> {
    /// Whether it is one that clients send; the others are answers, and what task threads tell each other.
    pub fn is_request(&self) -> bool {
        match self {
            Letter::Append { .. }
            | Letter::Select { .. }
            | Letter::Invoke { .. }
            | Letter::ReadDepot { .. }
            | Letter::AskOffsets { .. }
            | Letter::AskMicrobatch { .. } => true,
            Letter::Stream(letter) => {
                matches!(letter, StreamLetter::AskTroubles { .. } | StreamLetter::AskProcessed { .. })
            }
            Letter::Client(letter) => !matches!(
                letter,
                ClientLetter::Hold { .. } | ClientLetter::Producer { .. } | ClientLetter::Misnumbered { .. }
            ),
            _ => false,
        }
    }

    /// Appends its frame.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.encode_fields(out);
        Self::set_size(out, start);
    }

    /// Ends the frame that starts there: what was appended since belongs to it.
    #[inline]
    pub fn set_size(out: &mut [u8], start: usize) {
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    #[inline]
    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Letter::Client(letter) => letter.encode(out),
            Letter::Continue { .. }
            | Letter::Events { .. }
            | Letter::Fold { .. }
            | Letter::Call { .. }
            | Letter::End { .. }
            | Letter::Done { .. }
            | Letter::Failed { .. }
            | Letter::Microbatch { .. } => self.encode_event(out),
            Letter::Appended { .. }
            | Letter::Rows { .. }
            | Letter::Records { .. }
            | Letter::Offsets { .. }
            | Letter::MicrobatchStatus { .. }
            | Letter::Refused { .. } => self.encode_answer(out),
            Letter::Append { .. }
            | Letter::Select { .. }
            | Letter::Invoke { .. }
            | Letter::ReadDepot { .. }
            | Letter::AskMicrobatch { .. }
            | Letter::AskOffsets { .. } => self.encode_request(out),
            Letter::Stream(letter) => put_stream(out, letter),
        }
    }

    /// What clients ask.
    #[inline]
    fn encode_request(&self, out: &mut Vec<u8>) {
        match *self {
            Letter::Append { task, request, depot, ack, record } => {
                put_request(out, APPEND, task, request, depot);
                out.push(ack as u8);
                out.extend_from_slice(record);
            }
            Letter::Select { task, request, pstate, path } => {
                put_request(out, SELECT, task, request, pstate);
                out.extend_from_slice(path);
            }
            Letter::Invoke { task, request, query, arguments } => {
                put_request(out, INVOKE, task, request, query);
                out.extend_from_slice(arguments);
            }
            Letter::ReadDepot { task, request, depot, ref range } => {
                put_request(out, READ_DEPOT, task, request, depot);
                put_range(out, range);
            }
            Letter::AskOffsets { task, request, depot } => put_request(out, ASK_OFFSETS, task, request, depot),
            Letter::AskMicrobatch { task, request, topology, ask } => {
                put_request(out, ASK_MICROBATCH, task, request, topology);
                put_ask(out, ask);
            }
            _ => unreachable!("a request"),
        }
    }

    /// What task threads send each other.
    #[inline]
    fn encode_event(&self, out: &mut Vec<u8>) {
        match *self {
            Letter::Continue { task, stream, fingerprint, position, ref root, event, live } => {
                out.push(CONTINUE);
                out.extend_from_slice(&task.0.to_le_bytes());
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&fingerprint.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                put_root(out, root);
                out.extend_from_slice(&event.to_le_bytes());
                out.extend_from_slice(live);
            }
            Letter::Fold { task, topology, fingerprint, table, ref root, event, is_partial, rows } => {
                out.push(FOLD);
                out.extend_from_slice(&task.0.to_le_bytes());
                out.extend_from_slice(&topology.to_le_bytes());
                out.extend_from_slice(&fingerprint.to_le_bytes());
                out.extend_from_slice(&table.to_le_bytes());
                put_root(out, root);
                out.extend_from_slice(&event.to_le_bytes());
                out.push(u8::from(is_partial));
                out.extend_from_slice(rows);
            }
            Letter::Call { task, query, topology, fingerprint, position, ref root, event, arguments, live } => {
                out.push(CALL);
                out.extend_from_slice(&task.0.to_le_bytes());
                out.extend_from_slice(&query.to_le_bytes());
                out.extend_from_slice(&topology.to_le_bytes());
                out.extend_from_slice(&fingerprint.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                put_root(out, root);
                out.extend_from_slice(&event.to_le_bytes());
                put_sized(out, arguments);
                out.extend_from_slice(live);
            }
            Letter::Microbatch { task, from, ref run, epoch, says, body } => {
                out.push(MICROBATCH);
                out.extend_from_slice(&task.0.to_le_bytes());
                out.extend_from_slice(&from.0.to_le_bytes());
                put_run(out, run);
                out.extend_from_slice(&epoch.0.to_le_bytes());
                out.push(says as u8);
                out.extend_from_slice(body);
            }
            Letter::End { task, ref root } => {
                out.push(END);
                out.extend_from_slice(&task.0.to_le_bytes());
                put_root(out, root);
            }
            Letter::Events { rows } => {
                out.push(EVENTS);
                out.extend_from_slice(rows);
            }
            Letter::Done { ref root, bits } => {
                out.push(DONE);
                put_root(out, root);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Letter::Failed { ref root, text } => {
                out.push(FAILED);
                put_root(out, root);
                out.extend_from_slice(text.as_bytes());
            }
            _ => unreachable!("an event"),
        }
    }

    /// What clients are told.
    #[inline]
    fn encode_answer(&self, out: &mut Vec<u8>) {
        match *self {
            Letter::Appended { request, offset } => {
                out.push(APPENDED);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&offset.0.to_le_bytes());
            }
            Letter::Rows { request, more, count, rows } => {
                out.push(ROWS);
                out.extend_from_slice(&request.to_le_bytes());
                out.push(u8::from(more));
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(rows);
            }
            Letter::Records { request, next, count, records } => {
                out.push(RECORDS);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&next.0.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(records);
            }
            Letter::Offsets { request, start, end } => {
                out.push(OFFSETS);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&start.0.to_le_bytes());
                out.extend_from_slice(&end.0.to_le_bytes());
            }
            Letter::MicrobatchStatus { request, finished, processed, paused, failing } => {
                out.push(MICROBATCH_STATUS);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&finished.to_le_bytes());
                out.extend_from_slice(&processed.to_le_bytes());
                out.extend_from_slice(&[u8::from(paused), u8::from(failing.is_some())]);
                if let Some((id, attempts, text)) = failing {
                    out.extend_from_slice(&id.to_le_bytes());
                    out.extend_from_slice(&attempts.to_le_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Letter::Refused { request, refusal, text } => {
                out.push(REFUSED);
                out.extend_from_slice(&request.to_le_bytes());
                out.push(refusal as u8);
                out.extend_from_slice(text.as_bytes());
            }
            _ => unreachable!("an answer"),
        }
    }

    /// Reads the next frame of a batch; `None` at its end.
    ///
    /// # Errors
    /// [`LetterError`] if the bytes are not a letter.
    #[inline]
    pub fn decode_next(batch: &mut FixedReader<'a>) -> Option<Result<Letter<'a>, LetterError>> {
        if batch.is_empty() {
            return None;
        }
        Some(batch.sized().map_err(LetterError::from).and_then(Self::decode))
    }

    fn decode(frame: &'a [u8]) -> Result<Letter<'a>, LetterError> {
        let reader = &mut FixedReader::new(frame);
        match reader.u8()? {
            kind @ (APPEND | SELECT | INVOKE | READ_DEPOT | ASK_OFFSETS | ASK_MICROBATCH) => {
                Self::decode_request(kind, reader)
            }
            kind @ (CONTINUE | EVENTS | FOLD | CALL | END | DONE | FAILED | MICROBATCH) => {
                Self::decode_event(kind, reader)
            }
            kind if is_stream(kind) => read_stream(kind, reader).map(Letter::Stream),
            kind @ client_letter::FIRST..=client_letter::LAST => ClientLetter::decode(kind, reader).map(Letter::Client),
            kind => Self::decode_answer(kind, reader),
        }
    }

    fn decode_request(kind: u8, reader: &mut FixedReader<'a>) -> Result<Letter<'a>, LetterError> {
        let (task, request, object) = (TaskId(reader.u32()?), reader.u64()?, reader.u16()?);
        Ok(match kind {
            APPEND => Letter::Append { task, request, depot: object, ack: read_ack(reader)?, record: reader.rest() },
            SELECT => Letter::Select { task, request, pstate: object, path: reader.rest() },
            INVOKE => Letter::Invoke { task, request, query: object, arguments: reader.rest() },
            ASK_MICROBATCH => Letter::AskMicrobatch { task, request, topology: object, ask: read_ask(reader)? },
            READ_DEPOT => Letter::ReadDepot { task, request, depot: object, range: read_range(reader)? },
            _ => Letter::AskOffsets { task, request, depot: object },
        })
    }

    fn decode_event(kind: u8, reader: &mut FixedReader<'a>) -> Result<Letter<'a>, LetterError> {
        Ok(match kind {
            CONTINUE => Letter::Continue {
                task: TaskId(reader.u32()?),
                stream: reader.u16()?,
                fingerprint: reader.u32()?,
                position: reader.u32()?,
                root: read_root(reader)?,
                event: reader.u64()?,
                live: reader.rest(),
            },
            FOLD => Letter::Fold {
                task: TaskId(reader.u32()?),
                topology: reader.u16()?,
                fingerprint: reader.u32()?,
                table: reader.u16()?,
                root: read_root(reader)?,
                event: reader.u64()?,
                is_partial: reader.u8()? != 0,
                rows: reader.rest(),
            },
            CALL => Letter::Call {
                task: TaskId(reader.u32()?),
                query: reader.u16()?,
                topology: reader.u16()?,
                fingerprint: reader.u32()?,
                position: reader.u32()?,
                root: read_root(reader)?,
                event: reader.u64()?,
                arguments: reader.sized()?,
                live: reader.rest(),
            },
            MICROBATCH => Letter::Microbatch {
                task: TaskId(reader.u32()?),
                from: TaskId(reader.u32()?),
                run: read_run(reader)?,
                epoch: Epoch(reader.u64()?),
                says: read_says(reader)?,
                body: reader.rest(),
            },
            END => Letter::End { task: TaskId(reader.u32()?), root: read_root(reader)? },
            EVENTS => Letter::Events { rows: reader.rest() },
            DONE => Letter::Done { root: read_root(reader)?, bits: reader.u64()? },
            _ => Letter::Failed { root: read_root(reader)?, text: read_text(reader)? },
        })
    }

    fn decode_answer(kind: u8, reader: &mut FixedReader<'a>) -> Result<Letter<'a>, LetterError> {
        Ok(match kind {
            APPENDED => Letter::Appended { request: reader.u64()?, offset: Offset(reader.u64()?) },
            ROWS => Letter::Rows {
                request: reader.u64()?,
                more: reader.u8()? != 0,
                count: reader.u32()?,
                rows: reader.rest(),
            },
            RECORDS => Letter::Records {
                request: reader.u64()?,
                next: Offset(reader.u64()?),
                count: reader.u32()?,
                records: reader.rest(),
            },
            OFFSETS => {
                Letter::Offsets { request: reader.u64()?, start: Offset(reader.u64()?), end: Offset(reader.u64()?) }
            }
            MICROBATCH_STATUS => Letter::MicrobatchStatus {
                request: reader.u64()?,
                finished: reader.u64()?,
                processed: reader.u64()?,
                paused: reader.u8()? != 0,
                failing: match reader.u8()? {
                    0 => None,
                    _ => Some((reader.u64()?, reader.u32()?, read_text(reader)?)),
                },
            },
            REFUSED => {
                Letter::Refused { request: reader.u64()?, refusal: read_refusal(reader)?, text: read_text(reader)? }
            }
            value => return Err(LetterError::Unknown { what: "kind", value }),
        })
    }
}

#[cfg(test)]
mod tests;
