//! Where things live in a task's tree: every key starts with the four big-endian bytes of its object.
//!
//! | object | rest of the key | value |
//! |---|---|---|
//! | a PState | the entry's key in key form (empty for a PState that is one value) | value form |
//! | a PState | `0xF0`, number of the location (2 bytes), the keys on the way and the element's, in key form | value form |
//! | a depot | `0x00` | [`DepotMeta`] |
//! | a depot | `0x01`, the chunk's end offset (exclusive), 8 bytes big-endian | [`ChunkAt`] |
//! | a depot | `0x02`, the chunk's last append time, its end offset, 8 bytes big-endian each | [`ChunkAt`] |
//! | a depot | `0x03` | first offset that was not trimmed, 8 bytes little-endian |
//! | a depot | `0x04`, the producer, 16 bytes big-endian | which appends of it the partition has: [`producer`](crate::producer) |
//! | a topology's source | empty | next offset to process, 8 bytes little-endian |
//! | a microbatch topology | `0x00` | what was published last: [`Published`](crate::side::Published) |
//! | a microbatch topology | `0x01` and on | its coordinator's, on task 0 |
//!
//! A chunk is keyed by its end, so that the chunk that holds offset `o` is the first key past `o`: one
//! seek forward. Append times never go back in a partition, so the chunk with the first record of a time or
//! later is one seek forward among the `0x02` keys.

use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, ProducerId};
use tantu_lsm::PrefixRule;

/// What all elements of a subindexed structure under one top-level key begin with: object, `F0`, location, that key. Filters hold
/// it, so that a scan of a structure passes over tables without it.
pub(crate) const ELEMENT_PREFIX: PrefixRule = PrefixRule { byte_count: 7, value_count: 1 };
/// Bytes that every tree key begins with: its object.
pub const OBJECT_PREFIX_SIZE: usize = 4;

/// First byte after the object of a depot's meta entry.
const DEPOT_META: u8 = 0;
/// First byte after the object of a depot's chunk entries.
const DEPOT_CHUNK: u8 = 1;
/// First byte after the object of a depot's chunk entries by time.
const DEPOT_TIME: u8 = 2;
/// First byte after the object of the entry that says where a depot starts.
const DEPOT_START: u8 = 3;
/// First byte after the object of what a depot knows of producers.
const DEPOT_PRODUCER: u8 = 4;

/// First byte after a microbatch topology of the entry that says what was published last.
const PUBLISHED: u8 = 0;
/// First byte after a microbatch topology of the entries of its coordinator.
pub const COORDINATOR: u8 = 1;

/// Writes the tree key of an object's entry into `out`, which is cleared first.
#[inline]
pub fn object_key(object: ObjectId, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&object_prefix(object));
    out.extend_from_slice(key);
}

/// What every tree key of an object begins with.
#[inline]
pub fn object_prefix(object: ObjectId) -> [u8; OBJECT_PREFIX_SIZE] {
    object.0.to_be_bytes()
}

/// The smallest key past every key of the object.
pub fn object_end(object: ObjectId) -> [u8; 4] {
    object.0.checked_add(1).expect("invariant: object ids are given densely from 1").to_be_bytes()
}

/// Tree key of a depot's meta entry.
pub fn depot_meta_key(depot: ObjectId) -> Vec<u8> {
    let mut key = depot.0.to_be_bytes().to_vec();
    key.push(DEPOT_META);
    key
}

/// Tree key of the chunk that ends before `end`.
pub fn depot_chunk_key(depot: ObjectId, end: Offset) -> Vec<u8> {
    let mut key = depot.0.to_be_bytes().to_vec();
    key.push(DEPOT_CHUNK);
    key.extend_from_slice(&end.0.to_be_bytes());
    key
}

/// Tree key by time of the chunk that ends before `end`.
pub fn depot_time_key(depot: ObjectId, last_ms: u64, end: Offset) -> Vec<u8> {
    let mut key = depot.0.to_be_bytes().to_vec();
    key.push(DEPOT_TIME);
    key.extend_from_slice(&last_ms.to_be_bytes());
    key.extend_from_slice(&end.0.to_be_bytes());
    key
}

/// Tree key of the entry that says where a depot starts.
pub fn depot_start_key(depot: ObjectId) -> Vec<u8> {
    let mut key = depot.0.to_be_bytes().to_vec();
    key.push(DEPOT_START);
    key
}

/// Tree key of what a depot partition knows of a producer.
pub fn producer_key(depot: ObjectId, producer: ProducerId) -> Vec<u8> {
    let mut key = depot.0.to_be_bytes().to_vec();
    key.push(DEPOT_PRODUCER);
    key.extend_from_slice(&producer.0.to_be_bytes());
    key
}

/// The depot and the producer that a tree key is of, if it is such a key.
pub fn read_producer_key(key: &[u8]) -> Option<(ObjectId, ProducerId)> {
    let (depot, rest) = key.split_first_chunk::<4>()?;
    let (kind, producer) = rest.split_first()?;
    let producer = ProducerId(u128::from_be_bytes(producer.try_into().ok()?));
    (*kind == DEPOT_PRODUCER).then_some((ObjectId(u32::from_be_bytes(*depot)), producer))
}

/// Tree key of the entry that says what a microbatch topology published last.
pub fn published_key(topology: ObjectId) -> Vec<u8> {
    let mut key = topology.0.to_be_bytes().to_vec();
    key.push(PUBLISHED);
    key
}

/// How far a depot partition was copied from the log to its segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DepotMeta {
    /// Every record below is in a chunk.
    pub copied_end: Offset,
    /// Append time of the last of them, in milliseconds since the Unix epoch: later records never get an earlier one.
    pub last_ms: u64,
}

impl DepotMeta {
    /// Its bytes.
    pub fn encode(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.copied_end.0.to_le_bytes());
        out[8..].copy_from_slice(&self.last_ms.to_le_bytes());
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Truncated`] if they are too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        Ok(Self { copied_end: Offset(reader.u64()?), last_ms: reader.u64()? })
    }
}

/// Where a chunk of a depot partition lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkAt {
    /// First offset in it.
    pub first: Offset,
    /// Segment file of the task.
    pub segment: u64,
    /// Byte offset in the segment.
    pub position: u64,
    /// Bytes, padding included.
    pub size: u32,
    /// Append time of its first record, in milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// Append time of its last record.
    pub last_ms: u64,
}

impl ChunkAt {
    /// Its bytes.
    pub fn encode(&self) -> [u8; 44] {
        let mut out = [0; 44];
        out[..8].copy_from_slice(&self.first.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..24].copy_from_slice(&self.position.to_le_bytes());
        out[24..28].copy_from_slice(&self.size.to_le_bytes());
        out[28..36].copy_from_slice(&self.first_ms.to_le_bytes());
        out[36..].copy_from_slice(&self.last_ms.to_le_bytes());
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Truncated`] if they are too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        Ok(Self {
            first: Offset(reader.u64()?),
            segment: reader.u64()?,
            position: reader.u64()?,
            size: reader.u32()?,
            first_ms: reader.u64()?,
            last_ms: reader.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_that_holds_an_offset_is_the_first_key_past_it() {
        let keys: Vec<_> = [10, 300, 70_000].map(|end| depot_chunk_key(ObjectId(7), Offset(end))).into();
        assert!(keys.is_sorted());
        let seek = depot_chunk_key(ObjectId(7), Offset(10 + 1));
        assert_eq!(keys.iter().find(|k| **k >= seek), Some(&keys[1]), "offset 10 is in the chunk that ends at 300");
        assert!(keys.iter().all(|k| k[..] < object_end(ObjectId(7))[..] && *k > depot_meta_key(ObjectId(7))));
    }

    #[test]
    fn the_chunk_with_the_first_record_since_a_time_is_the_first_key_from_it() {
        let chunks = [(50, 10), (60, 300), (60, 400), (70, 500)];
        let keys: Vec<_> = chunks.map(|(last_ms, end)| depot_time_key(ObjectId(7), last_ms, Offset(end))).into();
        assert!(keys.is_sorted());
        for (time_ms, found) in [(0, 0), (50, 0), (51, 1), (60, 1), (61, 3), (70, 3)] {
            let seek = depot_time_key(ObjectId(7), time_ms, Offset(0));
            assert_eq!(keys.iter().find(|k| **k >= seek), Some(&keys[found]), "{time_ms}");
        }
        assert!(keys.iter().all(|k| *k > depot_chunk_key(ObjectId(7), Offset(u64::MAX))));
        assert!(keys.iter().all(|k| *k < depot_start_key(ObjectId(7))));
    }

    #[test]
    fn meta_and_chunk_entries_round_trip() {
        let chunk = ChunkAt { first: Offset(5), segment: 2, position: 8192, size: 4096, first_ms: 70, last_ms: 71 };
        assert_eq!(ChunkAt::decode(&chunk.encode()), Ok(chunk));
        assert!(ChunkAt::decode(&chunk.encode()[..43]).is_err());
        let meta = DepotMeta { copied_end: Offset(77), last_ms: 5 };
        assert_eq!(DepotMeta::decode(&meta.encode()), Ok(meta));
    }
}
