//! What the fuzz targets may call: files of a log from a few bytes, behind their checksums.
//!
//! A file of a log is mostly padding, which is no good to change at random. So an input lists blocks without their
//! padding, each after its length in two bytes; an empty one begins a new segment. The first block of a segment is its
//! header, the others are groups. Magics, sizes and checksums are put right, everything else is as it is.

use super::format::{GROUP_HEADER_SIZE, GROUPS_AT, GroupHeader, SegmentId, put_right};
use crate::Lsn;
use tantu_base::buf::Buf;
use tantu_base::fixed::FixedReader;
use tantu_base::id::Epoch;
use tantu_base::limit::BLOCK_ALIGN;

/// The task group of every log made here.
pub const GROUP: u32 = 2;
/// Segments of an input, at most.
const SEGMENT_COUNT_MAX: usize = 4;
/// Blocks of an input, at most.
const BLOCK_COUNT_MAX: usize = 32;

/// The files of an input, the first of them number 1.
pub fn segments(input: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = FixedReader::new(input);
    let mut files: Vec<Vec<&[u8]>> = vec![Vec::new()];
    for _ in 0..BLOCK_COUNT_MAX {
        let Ok(len) = reader.take(2) else { break };
        let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
        let Ok(block) = reader.take(len.min(reader.rest().len())) else { break };
        match (block.is_empty(), files.len() < SEGMENT_COUNT_MAX) {
            (true, true) => files.push(Vec::new()),
            (true, false) => break,
            (false, _) => files.last_mut().expect("invariant: there is a first one").push(block),
        }
    }
    files.iter().zip(1..).map(|(blocks, seq)| segment(seq, blocks)).collect()
}

fn segment(seq: u64, blocks: &[&[u8]]) -> Vec<u8> {
    let Some((header, groups)) = blocks.split_first() else { return Vec::new() };
    let incarnation = header.get(16..24).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
    let id = SegmentId { group: GROUP, incarnation, seq };
    let mut file = vec![0; GROUPS_AT as usize];
    for copy in 0..2 {
        let block = &mut file[copy * BLOCK_ALIGN..][..BLOCK_ALIGN];
        let len = header.len().min(BLOCK_ALIGN - 4);
        block[..len].copy_from_slice(&header[..len]);
        put_right::header(&id, copy, block);
    }
    let mut chain = id.chain_start();
    for group in groups {
        let at = file.len();
        file.extend_from_slice(group);
        file.resize((at + group.len().max(GROUP_HEADER_SIZE)).next_multiple_of(BLOCK_ALIGN), 0);
        chain = put_right::group(&id, at as u64, chain, &mut file[at..]);
    }
    file
}

/// Inputs to begin with: logs of one to three segments.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..24).map(seed).collect()
}

fn seed(n: u64) -> Vec<u8> {
    let mut input = Vec::new();
    let mut lsn = Lsn(n % 3 * 10);
    for seq in 1..=1 + n % 3 {
        if seq > 1 {
            put_block(&mut input, b"");
        }
        let id = SegmentId { group: GROUP, incarnation: 7 * n, seq };
        put_block(&mut input, &id.header(&b"base of the log"[..n as usize % 15])[..BLOCK_ALIGN - 4]);
        for group in 0..n % 4 {
            let mut buf = Buf::with_capacity(BLOCK_ALIGN);
            buf.resize(GROUP_HEADER_SIZE);
            let count = (n + group) % 4;
            for entry in 0..count {
                let body = vec![b'e'; ((n + entry) * 5 % 40) as usize];
                buf.extend(&(body.len() as u32).to_le_bytes());
                buf.extend(&body);
            }
            let low = Lsn(lsn.0.min(n % 3 * 10));
            let header =
                GroupHeader { first: lsn, count: count as u32, epoch: Epoch(1 + seq), durable: lsn, low, previous: 0 };
            header.finish(&id, GROUPS_AT, &mut buf);
            put_block(&mut input, &buf);
            lsn = header.end();
        }
    }
    input
}

/// Adds a block, without its padding.
fn put_block(input: &mut Vec<u8>, block: &[u8]) {
    let len = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    input.extend_from_slice(&(len as u16).to_le_bytes());
    input.extend_from_slice(&block[..len]);
}
