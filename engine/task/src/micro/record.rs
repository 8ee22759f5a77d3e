//! What a microbatch topology keeps on task 0, and what its letters carry of it. Byte tables: `docs/formats/pstate.md`.

use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, RunId};
use tantu_state::layout::COORDINATOR;

/// One of the records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Record {
    /// Which records the microbatch under way has, or the last one had.
    Fixed = COORDINATOR,
    /// Which attempt was decided last.
    Decided = COORDINATOR + 1,
    /// Which microbatch was finished last, and how many records all had.
    Finished = COORDINATOR + 2,
    /// Whether it is paused.
    Paused = COORDINATOR + 3,
}

impl Record {
    /// Its tree key.
    pub(crate) fn key(self, topology: ObjectId) -> Vec<u8> {
        let mut key = topology.0.to_be_bytes().to_vec();
        key.push(self as u8);
        key
    }
}

/// First offset and end.
pub(crate) type Range = (Offset, Offset);

/// The records of a microbatch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fixed {
    pub(crate) id: u64,
    /// By source: its durable id, and the range of each task.
    pub(crate) ranges: Vec<(ObjectId, Vec<Range>)>,
}

fn put_range(out: &mut Vec<u8>, (from, to): Range) {
    out.extend_from_slice(&from.0.to_le_bytes());
    out.extend_from_slice(&to.0.to_le_bytes());
}

fn read_range(reader: &mut FixedReader<'_>) -> Result<Range, Truncated> {
    let (from, to) = (reader.u64()?, reader.u64()?);
    if to < from { Err(Truncated) } else { Ok((Offset(from), Offset(to))) }
}

impl Fixed {
    /// The ranges of a source, by task.
    pub(crate) fn of_source(&self, source: ObjectId) -> Option<&[Range]> {
        self.ranges.iter().find(|(other, _)| *other == source).map(|(_, ranges)| &ranges[..])
    }

    /// How many records.
    pub(crate) fn record_count(&self) -> u64 {
        self.ranges.iter().flat_map(|(_, ranges)| ranges).map(|(from, to)| to.0 - from.0).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_le_bytes().to_vec();
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for (source, ranges) in &self.ranges {
            out.extend_from_slice(&source.0.to_le_bytes());
            out.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
            ranges.iter().for_each(|range| put_range(&mut out, *range));
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let (id, source_count) = (reader.u64()?, reader.u32()?);
        let mut ranges = Vec::new();
        for _ in 0..source_count {
            let (source, count) = (ObjectId(reader.u32()?), reader.u32()?);
            let of_source = (0..count).map(|_| read_range(&mut reader)).collect::<Result<_, _>>()?;
            ranges.push((source, of_source));
        }
        if reader.is_empty() { Ok(Self { id, ranges }) } else { Err(Truncated) }
    }
}

/// The records of a microbatch on one task, by source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ranges(pub(crate) Vec<Range>);

impl Ranges {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|range| put_range(out, *range));
    }

    pub(crate) fn decode(reader: &mut FixedReader<'_>) -> Result<Self, Truncated> {
        let mut ranges = Vec::new();
        while !reader.is_empty() {
            ranges.push(read_range(reader)?);
        }
        Ok(Self(ranges))
    }
}

pub(crate) fn encode_decided(run: &RunId) -> Vec<u8> {
    let Attempt { epoch, counter } = run.attempt;
    let mut out = run.id.to_le_bytes().to_vec();
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out.extend_from_slice(&counter.to_le_bytes());
    out
}

pub(crate) fn decode_decided(topology: ObjectId, bytes: &[u8]) -> Result<RunId, Truncated> {
    let mut reader = FixedReader::new(bytes);
    let id = reader.u64()?;
    let attempt = Attempt { epoch: Epoch(reader.u64()?), counter: reader.u32()? };
    if reader.is_empty() { Ok(RunId { topology, id, attempt }) } else { Err(Truncated) }
}

pub(crate) fn encode_finished(id: u64, processed: u64) -> Vec<u8> {
    [id.to_le_bytes(), processed.to_le_bytes()].concat()
}

pub(crate) fn decode_finished(bytes: &[u8]) -> Result<(u64, u64), Truncated> {
    let mut reader = FixedReader::new(bytes);
    let found = (reader.u64()?, reader.u64()?);
    if reader.is_empty() { Ok(found) } else { Err(Truncated) }
}
