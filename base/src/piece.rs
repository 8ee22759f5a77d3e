//! Reading a file in pieces, for who looks at files of any length: memory holds one piece at a time.

use crate::buf::Buf;
use crate::door::{Disk, DiskError, DiskOp, DiskReply, FileId, OpenMode, call};
use crate::limit::BLOCK_ALIGN;
use std::path::Path;

/// Bytes of a piece, unless more are asked for at once.
const PIECE_SIZE: usize = 1 << 20;

/// An open file and the piece of it that was read last.
#[derive(Debug)]
pub struct Pieces {
    file: FileId,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Opens a file for reading. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn open(disk: &mut dyn Disk, path: &Path) -> Result<Pieces, DiskError> {
        match call(disk, DiskOp::Open { path: path.to_path_buf(), mode: OpenMode::Read })? {
            DiskReply::Opened { file, len } => Ok(Pieces { file, size: len, start: 0, bytes: Vec::new() }),
            other => unreachable!("an open answered {other:?}"),
        }
    }

    /// Bytes of the file when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes at an offset: fewer than `len` only where the file ends. Blocking. Whoever takes `len` from the file caps it
    /// first.
    ///
    /// # Errors
    /// What the disk answers.
    ///
    /// # Panics
    /// If the offset is not on a block.
    pub fn get(&mut self, disk: &mut dyn Disk, offset: u64, len: usize) -> Result<&[u8], DiskError> {
        assert!(offset.is_multiple_of(BLOCK_ALIGN as u64), "the disk is read in blocks");
        let len = len.min(usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX));
        let here = offset.checked_sub(self.start).is_some_and(|from| from + len as u64 <= self.bytes.len() as u64);
        if !here && len > 0 {
            let left = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
            let size = len.max(PIECE_SIZE.min(left)).next_multiple_of(BLOCK_ALIGN);
            let reply = call(disk, DiskOp::Read { file: self.file, offset, buf: Buf::zeroed(size) })?;
            let DiskReply::Read { buf, len } = reply else { unreachable!("a read answers with bytes") };
            self.start = offset;
            self.bytes.clear();
            self.bytes.extend_from_slice(&buf[..len]);
        }
        let from = if len == 0 { self.bytes.len() } else { (offset - self.start) as usize };
        let end = from.saturating_add(len).min(self.bytes.len());
        Ok(&self.bytes[from.min(end)..end])
    }

    /// Closes the file. Blocking. Nothing was written, so nothing is lost if that fails.
    pub fn close(self, disk: &mut dyn Disk) {
        let _ = call(disk, DiskOp::Close { file: self.file });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::{DiskDone, Token};

    /// A disk with one file.
    struct OneFile {
        bytes: Vec<u8>,
        reads: usize,
        done: Vec<DiskDone>,
    }

    impl Disk for OneFile {
        fn submit(&mut self, token: Token, op: DiskOp) {
            let reply = match op {
                DiskOp::Open { .. } => DiskReply::Opened { file: FileId(1), len: self.bytes.len() as u64 },
                DiskOp::Read { offset, mut buf, .. } => {
                    let rest = &self.bytes[(offset as usize).min(self.bytes.len())..];
                    let len = rest.len().min(buf.len());
                    buf[..len].copy_from_slice(&rest[..len]);
                    self.reads += 1;
                    DiskReply::Read { buf, len }
                }
                _ => DiskReply::Done,
            };
            self.done.push(DiskDone::new(token, Ok(reply)));
        }

        fn reap(&mut self, done: &mut Vec<DiskDone>) {
            done.append(&mut self.done);
        }

        fn wait(&mut self) {}
    }

    #[test]
    fn pieces_give_the_bytes_of_the_file_and_read_none_twice_that_are_at_hand() {
        let bytes: Vec<u8> = (0..2 * PIECE_SIZE + 5000).map(|at| (at / 7) as u8).collect();
        let mut disk = OneFile { bytes: bytes.clone(), reads: 0, done: Vec::new() };
        let mut pieces = Pieces::open(&mut disk, Path::new("file")).expect("it opens");
        assert_eq!(pieces.size(), bytes.len() as u64);
        for at in (0..bytes.len()).step_by(BLOCK_ALIGN) {
            let end = (at + 100).min(bytes.len());
            assert!(pieces.get(&mut disk, at as u64, 100).expect("it reads") == &bytes[at..end], "at {at}");
        }
        assert_eq!(disk.reads, 3, "two pieces and the rest");
        let large = pieces.get(&mut disk, 4096, PIECE_SIZE + 77).expect("it reads");
        assert!(large == &bytes[4096..][..PIECE_SIZE + 77]);
        assert!(pieces.get(&mut disk, 4 * PIECE_SIZE as u64, 100).expect("it reads").is_empty());
    }
}
