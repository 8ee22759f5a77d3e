//! The part of the letters that is about microbatch topologies.

use crate::letter::LetterError;
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{Attempt, Epoch, ObjectId, RunId};

/// What the coordinator of a microbatch topology and its participants, one per task, tell each other (design D15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MicrobatchSays {
    /// Participant: what its depot partitions have, and how much of that was published.
    Ends = 1,
    /// Coordinator: an attempt begins; what there is of earlier ones of this microbatch is dropped.
    Prime = 2,
    /// Participant: it did so, in this epoch.
    Primed = 3,
    /// Coordinator: events may run; everybody's epochs, and the records that are the task's.
    Begin = 4,
    /// Events, rows and reports of the attempt.
    Events = 5,
    /// Coordinator: all events are done; the task's writes are to be made durable.
    Prepare = 6,
    /// Participant: they are durable.
    Prepared = 7,
    /// Coordinator: the attempt is decided; its writes are to be made visible.
    Publish = 8,
    /// Participant: they are visible.
    Published = 9,
    /// Participant: the attempt cannot go on.
    Failed = 10,
    /// Coordinator: the attempt is given up.
    Abandon = 11,
    /// Coordinator: the microbatch is visible on every task.
    Finished = 12,
    /// Coordinator: whether the topology is paused.
    Paused = 13,
}

/// What a client wants of a microbatch topology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MicrobatchAsk {
    /// How far it is.
    Status,
    /// The answer comes when it has processed so many records, or after so many milliseconds.
    Await {
        /// Records since the topology was first launched.
        count: u64,
        /// When the answer comes in any case.
        timeout_ms: u64,
    },
    /// No more microbatches; the answer comes when the one under way has ended.
    Pause,
    /// Microbatches again.
    Resume,
    /// Up to which offset each partition of a source is in finished microbatches.
    Offsets {
        /// Which source of the topology.
        source: u64,
    },
}

pub(crate) fn put_ask(out: &mut Vec<u8>, ask: MicrobatchAsk) {
    let (kind, fields) = match ask {
        MicrobatchAsk::Status => (1, [0; 2]),
        MicrobatchAsk::Await { count, timeout_ms } => (2, [count, timeout_ms]),
        MicrobatchAsk::Pause => (3, [0; 2]),
        MicrobatchAsk::Resume => (4, [0; 2]),
        MicrobatchAsk::Offsets { source } => (5, [source, 0]),
    };
    out.push(kind);
    fields.iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
}

pub(crate) fn read_ask(reader: &mut FixedReader<'_>) -> Result<MicrobatchAsk, LetterError> {
    let (kind, count, timeout_ms) = (reader.u8()?, reader.u64()?, reader.u64()?);
    Ok(match kind {
        1 => MicrobatchAsk::Status,
        2 => MicrobatchAsk::Await { count, timeout_ms },
        3 => MicrobatchAsk::Pause,
        4 => MicrobatchAsk::Resume,
        5 => MicrobatchAsk::Offsets { source: count },
        value => return Err(LetterError::Unknown { what: "wish", value }),
    })
}

pub(crate) fn read_says(reader: &mut FixedReader<'_>) -> Result<MicrobatchSays, LetterError> {
    use MicrobatchSays::{
        Abandon, Begin, Ends, Events, Failed, Finished, Paused, Prepare, Prepared, Prime, Primed, Publish, Published,
    };
    let all =
        [Ends, Prime, Primed, Begin, Events, Prepare, Prepared, Publish, Published, Failed, Abandon, Finished, Paused];
    let value = reader.u8()?;
    let known = all.into_iter().find(|says| *says as u8 == value);
    known.ok_or(LetterError::Unknown { what: "part of the microbatch protocol", value })
}

pub(crate) fn read_run(reader: &mut FixedReader<'_>) -> Result<RunId, Truncated> {
    let (topology, id) = (ObjectId(reader.u32()?), reader.u64()?);
    Ok(RunId { topology, id, attempt: Attempt { epoch: Epoch(reader.u64()?), counter: reader.u32()? } })
}

pub(crate) fn put_run(out: &mut Vec<u8>, run: &RunId) {
    out.extend_from_slice(&run.topology.0.to_le_bytes());
    out.extend_from_slice(&run.id.to_le_bytes());
    out.extend_from_slice(&run.attempt.epoch.0.to_le_bytes());
    out.extend_from_slice(&run.attempt.counter.to_le_bytes());
}
