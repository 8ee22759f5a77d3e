//! CRC-32 (IEEE), seeded with where the bytes belong, so that a recycled or misplaced block never passes.

/// Where a checksummed unit belongs: its place is part of its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The task group (of a log), the task (of a depot segment), the thread (of a checkpoint); 0 where the incarnation says it.
    pub owner: u32,
    /// Which kind of file, so that files of two kinds never pass for each other.
    pub kind: FileKind,
    /// Incarnation of the log, or the random identity of the file.
    pub incarnation: u64,
    /// Sequence number of the segment or table.
    pub file: u64,
    /// Byte offset in the file.
    pub offset: u64,
}

/// The kinds of files. The number goes into checksums and headers: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FileKind {
    /// A segment of a replog.
    ReplogSegment = 1,
    /// A segment of a task's depot partitions.
    DepotSegment = 2,
    /// A table of an LSM tree.
    Table = 3,
    /// The manifest of an LSM tree.
    Manifest = 4,
    /// The description of a module instance in a data directory.
    ModuleMeta = 5,
}

impl Place {
    /// The checksum of `bytes` at this place.
    pub fn crc(&self, bytes: &[u8]) -> u32 {
        self.crc_parts(&[bytes])
    }

    /// The checksum of several pieces, as if they were one.
    pub fn crc_parts(&self, parts: &[&[u8]]) -> u32 {
        let mut seed = [0u8; 29];
        seed[0] = self.kind as u8;
        seed[1..5].copy_from_slice(&self.owner.to_le_bytes());
        seed[5..13].copy_from_slice(&self.incarnation.to_le_bytes());
        seed[13..21].copy_from_slice(&self.file.to_le_bytes());
        seed[21..29].copy_from_slice(&self.offset.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&seed);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_in_another_place_have_another_checksum() {
        let here = Place { owner: 1, kind: FileKind::Table, incarnation: 7, file: 3, offset: 4096 };
        let crc = here.crc(b"some bytes");
        assert_eq!(crc, here.crc_parts(&[b"some ", b"bytes"]));
        for other in [
            Place { owner: 2, ..here },
            Place { kind: FileKind::Manifest, ..here },
            Place { incarnation: 8, ..here },
            Place { file: 4, ..here },
            Place { offset: 8192, ..here },
        ] {
            assert_ne!(crc, other.crc(b"some bytes"), "{other:?}");
        }
    }
}
