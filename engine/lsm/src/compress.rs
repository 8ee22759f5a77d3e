//! Blocks that are compressed on the disk. In memory they are always plain.
//!
//! A compressed block says so in the top bit of its size, says how long it is when plain, and then has all of the plain block
//! but the checksum and the size. Byte table in `docs/formats/table.md`.

use crate::option::{BLOCK_SIZE_MAX, VALUE_SIZE_MAX};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use tantu_base::limit::{BLOCK_ALIGN, KEY_SIZE_MAX};

/// The bit of a block's size that says it is compressed.
pub(crate) const FLAG: u32 = 1 << 31;
/// Checksum, size, length of the plain block, length of what is compressed.
const HEADER_SIZE: usize = 16;
/// Checksum and size of a plain block.
const PLAIN_HEADER_SIZE: usize = 8;
/// Longest plain block a reader accepts: of many entries, or of one with a block's own fields.
const PLAIN_SIZE_MAX: usize = BLOCK_SIZE_MAX + KEY_SIZE_MAX + VALUE_SIZE_MAX;
/// LZ4 makes at most so many bytes of one.
const RATIO_MAX: usize = 255;

const _: () = assert!(PLAIN_SIZE_MAX.next_multiple_of(BLOCK_ALIGN) < FLAG as usize, "a size leaves the flag free");

/// Compresses a plain block into `out`, all but its checksum and padding; false if it takes no less room on the disk.
pub(crate) fn pack(plain: &[u8], out: &mut Vec<u8>) -> bool {
    let body = &plain[PLAIN_HEADER_SIZE..];
    out.clear();
    out.resize(HEADER_SIZE + get_maximum_output_size(body.len()), 0);
    let Ok(packed) = compress_into(body, &mut out[HEADER_SIZE..]) else { return false };
    out.truncate(HEADER_SIZE + packed);
    let size = out.len().next_multiple_of(BLOCK_ALIGN);
    if size >= plain.len().next_multiple_of(BLOCK_ALIGN) {
        return false;
    }
    out[4..8].copy_from_slice(&(size as u32 | FLAG).to_le_bytes());
    out[8..12].copy_from_slice(&(plain.len() as u32).to_le_bytes());
    out[12..16].copy_from_slice(&(packed as u32).to_le_bytes());
    true
}

/// The plain block of a compressed one whose checksum was found right; its own checksum and size are left out.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    const LENGTHS: &str = "a compressed block has impossible lengths";
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_SIZE>() else { return Err(LENGTHS) };
    let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (plain_len, packed_len) = (field(8), field(12));
    let packed = rest.get(..packed_len).ok_or(LENGTHS)?;
    // Before anything is allocated: what so many bytes can stand for at most.
    let most = PLAIN_SIZE_MAX.min(PLAIN_HEADER_SIZE + RATIO_MAX * packed_len);
    if !(PLAIN_HEADER_SIZE..=most).contains(&plain_len) {
        return Err(LENGTHS);
    }
    let mut plain = vec![0; plain_len];
    match decompress_into(packed, &mut plain[PLAIN_HEADER_SIZE..]) {
        Ok(len) if PLAIN_HEADER_SIZE + len == plain_len => Ok(plain),
        Ok(_) => Err(LENGTHS),
        Err(_) => Err("a compressed block cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::door::Entropy;
    use tantu_weather::SimEntropy;

    #[test]
    fn a_block_comes_back_from_less_room_or_is_left_as_it_is() {
        let plain = [&[0; PLAIN_HEADER_SIZE][..], &b"again and ".repeat(2000)].concat();
        let mut packed = Vec::new();
        assert!(pack(&plain, &mut packed));
        assert!(packed.len() < plain.len() / 10);
        packed.resize(BLOCK_ALIGN, 0);
        assert_eq!(unpack(&packed).as_ref(), Ok(&plain));
        let mut chance = SimEntropy::new(1);
        let noise: Vec<u8> = (0..2000).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
        assert!(!pack(&noise, &mut packed), "noise stays as it is");
        assert!(!pack(&plain[..4000], &mut packed), "less than one unit of the disk is not to be had");
    }

    #[test]
    fn a_plain_length_that_cannot_be_is_refused_before_it_is_allocated() {
        let plain = [&[0; PLAIN_HEADER_SIZE][..], &[7; 60_000]].concat();
        let mut packed = Vec::new();
        assert!(pack(&plain, &mut packed));
        let len = plain.len() as u32;
        for wrong in [0, 7, len - 1, len + 1, len * 2, PLAIN_SIZE_MAX as u32 + 1, u32::MAX] {
            packed[8..12].copy_from_slice(&wrong.to_le_bytes());
            assert!(unpack(&packed).is_err(), "{wrong}");
        }
        packed[8..12].copy_from_slice(&len.to_le_bytes());
        for wrong in [0, 1, packed.len() as u32, u32::MAX] {
            packed[12..16].copy_from_slice(&wrong.to_le_bytes());
            assert!(unpack(&packed).is_err(), "{wrong} bytes compressed");
        }
    }
}
