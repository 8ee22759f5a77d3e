//! What the fuzz targets may call: chunks of depot segments, behind their checksums.

use super::{
    BLOCK_ALIGN, Buf, CHUNK_HEADER_SIZE, CHUNK_MAGIC, CHUNK_SIZE_MAX, Chunk, ChunkAt, ObjectId, Offset, Path, Run,
    TaskId, check_chunk, gather, place, read_runs,
};

const DEPOT: ObjectId = ObjectId(2);
const SEGMENT: u64 = 5;

/// Any bytes as a chunk whose size, depot and checksum are right, and whose index says the same first offset: refused,
/// or runs without a gap between them that are read the same once they are written.
pub fn chunk(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    file.resize(bytes.len().max(CHUNK_HEADER_SIZE).next_multiple_of(BLOCK_ALIGN), 0);
    let size = file.len() as u32;
    let first = Offset(u64::from_le_bytes(file[24..32].try_into().expect("invariant: eight bytes")));
    let at = ChunkAt { first, segment: SEGMENT, position: BLOCK_ALIGN as u64, size, first_ms: 0, last_ms: 0 };
    file[..4].copy_from_slice(&CHUNK_MAGIC.to_le_bytes());
    file[8..12].copy_from_slice(&size.to_le_bytes());
    file[16..20].copy_from_slice(&DEPOT.0.to_le_bytes());
    let crc = place(TaskId(1), SEGMENT, 0, at.position).crc(&file[8..]);
    file[4..8].copy_from_slice(&crc.to_le_bytes());
    let Ok(runs) = check_chunk(Path::new("depot"), TaskId(1), DEPOT, at, 0, &file) else { return };
    let records: u64 = runs.iter().map(Run::count).sum();
    let end = runs.last().map_or(first, Run::end);
    assert_eq!(end.0 - first.0, records, "offsets are not dense");
    let Chunk { buf: again, end: end_again, .. } = gather(DEPOT, runs.iter(), CHUNK_SIZE_MAX, Buf::with_capacity(0));
    if end_again == end {
        let at = ChunkAt { size: again.len() as u32, ..at };
        assert_eq!(read_runs(DEPOT, at, &again), Ok(runs), "it is read in another way");
    }
}

/// Chunks to begin with, without their padding.
pub fn chunk_seeds() -> Vec<Vec<u8>> {
    (0..24).map(chunk_seed).collect()
}

fn chunk_seed(n: u64) -> Vec<u8> {
    let mut first = Offset(n * 1000);
    let mut runs = Vec::new();
    for run in 0..1 + n % 4 {
        let mut made = Run::new(first);
        made.time_ms = 1_000 * n + run;
        (0..1 + (n + run) % 5).for_each(|record| made.push(&vec![b'r'; (n * record % 19) as usize]));
        first = made.end();
        runs.push(made);
    }
    let buf = gather(DEPOT, runs.iter(), CHUNK_SIZE_MAX, Buf::with_capacity(0)).buf;
    buf[..buf.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec()
}
