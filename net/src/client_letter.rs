//! The part of the letters between clients and task threads that is about numbered appends, cancelling and reads at one
//! microbatch.

use crate::letter::{AckLevel, LetterError, Root, put_root, read_ack, read_root};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ProducerId, TaskId};

/// The kinds of these letters.
pub(crate) const FIRST: u8 = 32;
const APPEND_NUMBERED: u8 = FIRST;
const START_PRODUCER: u8 = FIRST + 1;
const PRODUCER: u8 = FIRST + 2;
const MISNUMBERED: u8 = FIRST + 3;
const CANCEL: u8 = FIRST + 4;
const HOLD: u8 = FIRST + 5;
const SELECT_AT: u8 = FIRST + 6;
const SNAPSHOT: u8 = FIRST + 7;
pub(crate) const LAST: u8 = SNAPSHOT;

/// Why a numbered append was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum NumberFault {
    /// A later life of the producer has taken over; the number is its epoch.
    Fenced = 1,
    /// Another append is next; the number is its.
    OutOfSequence = 2,
    /// The partition does not know the producer.
    Forgotten = 3,
    /// It was appended before, and its offset is not known any more.
    TooOld = 4,
}

/// What is said about a microbatch whose state is to stay readable on every task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HoldSays {
    /// To the thread of task 0: which microbatch is finished; it tells every thread to keep it.
    Ask = 1,
    /// To every thread: keep what this microbatch and those before it made.
    Keep = 2,
    /// To the thread that asked: it is kept here.
    Kept = 3,
    /// It cannot be kept here.
    Gone = 4,
    /// To every thread: the call ended before its last stage did, and everything of it goes.
    Over = 5,
}

/// A client and a microbatch that stays readable for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SnapshotSays {
    /// The client: keep the last finished microbatch for so many milliseconds (`number`).
    Take = 1,
    /// The thread of task 0: it is kept under this `number`; `id` says which microbatch it is.
    Taken = 2,
    /// The client: the one of this `number` is not needed any more.
    Release = 3,
}

/// A letter between a client and a task thread, or between task threads for a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientLetter<'a> {
    /// A client appends a record with a number.
    AppendNumbered {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the depot in the module.
        depot: u16,
        /// When to answer.
        ack: AckLevel,
        /// Who numbers.
        producer: ProducerId,
        /// Which life of the producer.
        epoch: u32,
        /// The number.
        sequence: u64,
        /// The record in value form.
        record: &'a [u8],
    },
    /// A producer starts anew on a partition.
    StartProducer {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the depot in the module.
        depot: u16,
        /// Which one; 0: one that nobody else is.
        producer: ProducerId,
        /// With which epoch.
        epoch: u32,
        /// Whether with no other; if not, with the next one if that is higher.
        exact: bool,
    },
    /// It did.
    Producer {
        /// The client's name for the request.
        request: u64,
        /// Which one.
        producer: ProducerId,
        /// Its epoch.
        epoch: u32,
    },
    /// A numbered append was not made.
    Misnumbered {
        /// The client's name for the request.
        request: u64,
        /// Why.
        fault: NumberFault,
        /// What belongs to that.
        number: u64,
    },
    /// A client wants no answers to these requests, or to none at all: it is gone.
    Cancel {
        /// The client's names for them, one after the other; nothing for all.
        requests: &'a [u8],
    },
    /// See [`HoldSays`].
    Hold {
        /// A task of the thread that is told.
        task: TaskId,
        /// The call, or the client's snapshot.
        root: Root,
        /// Place of the microbatch topology in the module.
        topology: u16,
        /// What it says.
        says: HoldSays,
        /// Which microbatch.
        id: u64,
        /// For how many milliseconds at most.
        lease_ms: u64,
    },
    /// A client reads what was when a microbatch ended.
    SelectAt {
        /// Whose partition.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the PState in the module.
        pstate: u16,
        /// The number of the client's snapshot.
        snapshot: u64,
        /// The encoded path.
        path: &'a [u8],
    },
    /// See [`SnapshotSays`].
    Snapshot {
        /// Task 0, or the client's.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the microbatch topology in the module.
        topology: u16,
        /// What it says.
        says: SnapshotSays,
        /// See there.
        number: u64,
        /// See there.
        id: u64,
    },
}

fn put_producer(out: &mut Vec<u8>, producer: ProducerId) {
    out.extend_from_slice(&producer.0.to_le_bytes());
}

fn read_producer(reader: &mut FixedReader<'_>) -> Result<ProducerId, Truncated> {
    Ok(ProducerId(u128::from(reader.u64()?) | u128::from(reader.u64()?) << 64))
}

fn put_head(out: &mut Vec<u8>, kind: u8, task: TaskId, request: u64, object: u16) {
    out.push(kind);
    out.extend_from_slice(&task.0.to_le_bytes());
    out.extend_from_slice(&request.to_le_bytes());
    out.extend_from_slice(&object.to_le_bytes());
}

fn read_head(reader: &mut FixedReader<'_>) -> Result<(TaskId, u64, u16), Truncated> {
    Ok((TaskId(reader.u32()?), reader.u64()?, reader.u16()?))
}

impl<'a> ClientLetter<'a> {
    /// The requests of a [`ClientLetter::Cancel`].
    pub fn cancelled(requests: &[u8]) -> impl Iterator<Item = u64> {
        let mut reader = FixedReader::new(requests);
        std::iter::from_fn(move || reader.u64().ok())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            ClientLetter::AppendNumbered { task, request, depot, ack, producer, epoch, sequence, record } => {
                put_head(out, APPEND_NUMBERED, task, request, depot);
                out.push(ack as u8);
                put_producer(out, producer);
                out.extend_from_slice(&epoch.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(record);
            }
            ClientLetter::StartProducer { task, request, depot, producer, epoch, exact } => {
                put_head(out, START_PRODUCER, task, request, depot);
                put_producer(out, producer);
                out.extend_from_slice(&epoch.to_le_bytes());
                out.push(u8::from(exact));
            }
            ClientLetter::Producer { request, producer, epoch } => {
                out.push(PRODUCER);
                out.extend_from_slice(&request.to_le_bytes());
                put_producer(out, producer);
                out.extend_from_slice(&epoch.to_le_bytes());
            }
            ClientLetter::Misnumbered { request, fault, number } => {
                out.push(MISNUMBERED);
                out.extend_from_slice(&request.to_le_bytes());
                out.push(fault as u8);
                out.extend_from_slice(&number.to_le_bytes());
            }
            ClientLetter::Cancel { requests } => {
                out.push(CANCEL);
                out.extend_from_slice(requests);
            }
            ClientLetter::Hold { task, ref root, topology, says, id, lease_ms } => {
                out.push(HOLD);
                out.extend_from_slice(&task.0.to_le_bytes());
                put_root(out, root);
                out.extend_from_slice(&topology.to_le_bytes());
                out.push(says as u8);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&lease_ms.to_le_bytes());
            }
            ClientLetter::SelectAt { task, request, pstate, snapshot, path } => {
                put_head(out, SELECT_AT, task, request, pstate);
                out.extend_from_slice(&snapshot.to_le_bytes());
                out.extend_from_slice(path);
            }
            ClientLetter::Snapshot { task, request, topology, says, number, id } => {
                put_head(out, SNAPSHOT, task, request, topology);
                out.push(says as u8);
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
    }

    pub(crate) fn decode(kind: u8, reader: &mut FixedReader<'a>) -> Result<Self, LetterError> {
        Ok(match kind {
            APPEND_NUMBERED | START_PRODUCER | SELECT_AT | SNAPSHOT => Self::decode_request(kind, reader)?,
            PRODUCER => ClientLetter::Producer {
                request: reader.u64()?,
                producer: read_producer(reader)?,
                epoch: reader.u32()?,
            },
            MISNUMBERED => ClientLetter::Misnumbered {
                request: reader.u64()?,
                fault: match reader.u8()? {
                    1 => NumberFault::Fenced,
                    2 => NumberFault::OutOfSequence,
                    3 => NumberFault::Forgotten,
                    4 => NumberFault::TooOld,
                    value => return Err(LetterError::Unknown { what: "fault of a number", value }),
                },
                number: reader.u64()?,
            },
            CANCEL => ClientLetter::Cancel { requests: reader.rest() },
            _ => ClientLetter::Hold {
                task: TaskId(reader.u32()?),
                root: read_root(reader)?,
                topology: reader.u16()?,
                says: match reader.u8()? {
                    1 => HoldSays::Ask,
                    2 => HoldSays::Keep,
                    3 => HoldSays::Kept,
                    4 => HoldSays::Gone,
                    5 => HoldSays::Over,
                    value => return Err(LetterError::Unknown { what: "word about a kept microbatch", value }),
                },
                id: reader.u64()?,
                lease_ms: reader.u64()?,
            },
        })
    }

    fn decode_request(kind: u8, reader: &mut FixedReader<'a>) -> Result<Self, LetterError> {
        let (task, request, object) = read_head(reader)?;
        Ok(match kind {
            APPEND_NUMBERED => ClientLetter::AppendNumbered {
                task,
                request,
                depot: object,
                ack: read_ack(reader)?,
                producer: read_producer(reader)?,
                epoch: reader.u32()?,
                sequence: reader.u64()?,
                record: reader.rest(),
            },
            START_PRODUCER => ClientLetter::StartProducer {
                task,
                request,
                depot: object,
                producer: read_producer(reader)?,
                epoch: reader.u32()?,
                exact: match reader.u8()? {
                    0 => false,
                    1 => true,
                    value => return Err(LetterError::Unknown { what: "word about an epoch", value }),
                },
            },
            SELECT_AT => {
                ClientLetter::SelectAt { task, request, pstate: object, snapshot: reader.u64()?, path: reader.rest() }
            }
            _ => ClientLetter::Snapshot {
                task,
                request,
                topology: object,
                says: match reader.u8()? {
                    1 => SnapshotSays::Take,
                    2 => SnapshotSays::Taken,
                    3 => SnapshotSays::Release,
                    value => return Err(LetterError::Unknown { what: "word about a snapshot", value }),
                },
                number: reader.u64()?,
                id: reader.u64()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::Letter;
    use tantu_base::id::Offset;

    fn all() -> Vec<ClientLetter<'static>> {
        let (task, request, producer) = (TaskId(5), 1 << 40, ProducerId(u128::MAX - 3));
        let root = Root { task: TaskId(3), source: 1, offset: Offset(99), attempt: 2 };
        let (ack, epoch, sequence) = (AckLevel::Ack, 7, 1 << 50);
        vec![
            ClientLetter::AppendNumbered { task, request, depot: 2, ack, producer, epoch, sequence, record: b"record" },
            ClientLetter::StartProducer { task, request, depot: 2, producer, epoch: 3, exact: true },
            ClientLetter::Producer { request, producer, epoch },
            ClientLetter::Misnumbered { request, fault: NumberFault::OutOfSequence, number: 9 },
            ClientLetter::Cancel { requests: &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] },
            ClientLetter::Hold { task, root, topology: 1, says: HoldSays::Kept, id: 8, lease_ms: 30_000 },
            ClientLetter::SelectAt { task, request, pstate: 3, snapshot: 1 << 33, path: b"path" },
            ClientLetter::Snapshot { task, request, topology: 1, says: SnapshotSays::Taken, number: 4, id: 1 << 34 },
        ]
    }

    #[test]
    fn letters_of_clients_come_back_as_they_were_sent() {
        let mut batch = Vec::new();
        for letter in all() {
            Letter::Client(letter).encode(&mut batch);
        }
        let mut reader = FixedReader::new(&batch);
        for letter in all() {
            assert_eq!(Letter::decode_next(&mut reader), Some(Ok(Letter::Client(letter))));
        }
        assert_eq!(Letter::decode_next(&mut reader), None);
    }

    #[test]
    fn a_letter_that_is_cut_short_is_refused_or_says_less() {
        for letter in all() {
            let mut whole = Vec::new();
            letter.encode(&mut whole);
            for len in 1..whole.len() {
                let mut reader = FixedReader::new(&whole[1..len]);
                assert_ne!(ClientLetter::decode(whole[0], &mut reader), Ok(letter), "{len} bytes of {letter:?}");
            }
        }
    }

    #[test]
    fn a_cancelling_letter_names_its_requests() {
        let ClientLetter::Cancel { requests } = all()[4] else { panic!("the fifth") };
        assert_eq!(ClientLetter::cancelled(requests).collect::<Vec<_>>(), [1, 256]);
    }
}
