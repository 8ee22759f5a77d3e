//! The letters of stream topologies besides events and their reports: values that return to appends, failures that are
//! another record's, and what a client asks of a stream topology.

use crate::letter::{LetterError, Root, put_root, read_root, read_text};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Offset, TaskId};

/// A letter of stream topologies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamLetter<'a> {
    /// An event of a root returned a value. It comes before the report that the event is done.
    Returned {
        /// The root.
        root: Root,
        /// In value form.
        value: &'a [u8],
    },
    /// An event of a root ran in a streaming batch that failed for an event of another one.
    Spoiled {
        /// The root.
        root: Root,
        /// What happened to the other event.
        text: &'a str,
    },
    /// Answer to an append whose processing returned something.
    Appended {
        /// The client's name for the request.
        request: u64,
        /// Where the record is.
        offset: Offset,
        /// The name of each topology that returned something with its result in value form, each with its length before it.
        returns: &'a [u8],
    },
    /// A client asks which records a stream topology fails on. The answer is rows.
    AskTroubles {
        /// On which task they started.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the topology among the module's stream topologies.
        topology: u16,
    },
    /// A client asks how many records of the partitions on a task a stream topology has processed since it was first launched. The
    /// answer is one row: that, and the milliseconds for which it was waited, `u64` each.
    AskProcessed {
        /// Where.
        task: TaskId,
        /// The client's name for the request.
        request: u64,
        /// Place of the topology among the module's stream topologies.
        topology: u16,
        /// The answer is to wait until there are more than so many,
        more_than: u64,
        /// but no longer than that.
        timeout_ms: u64,
    },
}

const RETURNED: u8 = 24;
const SPOILED: u8 = 25;
const APPENDED: u8 = 26;
const ASK_TROUBLES: u8 = 27;
const ASK_PROCESSED: u8 = 28;

/// Whether a letter of this kind is one of these.
pub(crate) fn is_stream(kind: u8) -> bool {
    (RETURNED..=ASK_PROCESSED).contains(&kind)
}

pub(crate) fn put_stream(out: &mut Vec<u8>, letter: &StreamLetter<'_>) {
    match *letter {
        StreamLetter::Returned { ref root, value } => {
            out.push(RETURNED);
            put_root(out, root);
            out.extend_from_slice(value);
        }
        StreamLetter::Spoiled { ref root, text } => {
            out.push(SPOILED);
            put_root(out, root);
            out.extend_from_slice(text.as_bytes());
        }
        StreamLetter::Appended { request, offset, returns } => {
            out.push(APPENDED);
            out.extend_from_slice(&request.to_le_bytes());
            out.extend_from_slice(&offset.0.to_le_bytes());
            out.extend_from_slice(returns);
        }
        StreamLetter::AskTroubles { task, request, topology } => {
            out.push(ASK_TROUBLES);
            out.extend_from_slice(&task.0.to_le_bytes());
            out.extend_from_slice(&request.to_le_bytes());
            out.extend_from_slice(&topology.to_le_bytes());
        }
        StreamLetter::AskProcessed { task, request, topology, more_than, timeout_ms } => {
            out.push(ASK_PROCESSED);
            out.extend_from_slice(&task.0.to_le_bytes());
            [request, more_than, timeout_ms].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            out.extend_from_slice(&topology.to_le_bytes());
        }
    }
}

pub(crate) fn read_stream<'a>(kind: u8, reader: &mut FixedReader<'a>) -> Result<StreamLetter<'a>, LetterError> {
    Ok(match kind {
        RETURNED => StreamLetter::Returned { root: read_root(reader)?, value: reader.rest() },
        SPOILED => StreamLetter::Spoiled { root: read_root(reader)?, text: read_text(reader)? },
        APPENDED => {
            let (request, offset) = (reader.u64()?, Offset(reader.u64()?));
            StreamLetter::Appended { request, offset, returns: reader.rest() }
        }
        ASK_PROCESSED => {
            let (task, request) = (TaskId(reader.u32()?), reader.u64()?);
            let (more_than, timeout_ms) = (reader.u64()?, reader.u64()?);
            StreamLetter::AskProcessed { task, request, topology: reader.u16()?, more_than, timeout_ms }
        }
        _ => StreamLetter::AskTroubles { task: TaskId(reader.u32()?), request: reader.u64()?, topology: reader.u16()? },
    })
}
