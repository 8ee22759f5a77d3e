//! The manifest: which tables make up the tree. A new one is a new file, flushed and named before the old one goes.
//!
//! So a crash leaves the old or the new, and a newest file that cannot be read is damage unless an older one is
//! still there. Format version 1; byte table in `docs/formats/manifest.md`.

use crate::error::{Corruption, OpenError};
use crate::table::read;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskError, DiskOp, DiskReply, FileId, OpenMode, call, call_all};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;

const MAGIC: u64 = u64::from_le_bytes(*b"TNTMANIF");
const FORMAT_VERSION: u32 = 1;
const HEADER_SIZE: usize = 20;
const MANIFEST_SIZE_MAX: u64 = 64 << 20;

/// The tables of a tree: levels of runs of tables, newest run first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// Rises by one with each manifest.
    pub seq: u64,
    /// Random, given once: it goes into every table's checksums.
    pub identity: u64,
    /// Every version at or below is in the tables.
    pub flushed: Version,
    /// The number of the next table.
    pub next_table: u64,
    /// Levels of runs of tables, by their numbers.
    pub levels: Vec<Vec<Vec<u64>>>,
}

pub(crate) fn manifest_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:08}.manifest"))
}

impl Manifest {
    /// Its file.
    pub(crate) fn encode(&self) -> Buf {
        let mut body = Vec::new();
        body.extend_from_slice(&self.identity.to_le_bytes());
        body.extend_from_slice(&self.flushed.0.to_le_bytes());
        body.extend_from_slice(&self.next_table.to_le_bytes());
        body.extend_from_slice(&(self.levels.len() as u32).to_le_bytes());
        for level in &self.levels {
            body.extend_from_slice(&(level.len() as u32).to_le_bytes());
            for run in level {
                body.extend_from_slice(&(run.len() as u32).to_le_bytes());
                run.iter().for_each(|table| body.extend_from_slice(&table.to_le_bytes()));
            }
        }
        let mut buf = Buf::with_capacity(HEADER_SIZE + body.len());
        buf.extend(&[0; 4]);
        buf.extend(&MAGIC.to_le_bytes());
        buf.extend(&FORMAT_VERSION.to_le_bytes());
        buf.extend(&(body.len() as u32).to_le_bytes());
        buf.extend(&body);
        buf.pad_to(BLOCK_ALIGN);
        let crc = place(self.seq).crc(&buf[4..]);
        buf[..4].copy_from_slice(&crc.to_le_bytes());
        buf
    }

    /// Makes any bytes pass for a manifest, so that what comes after the checksum can be fuzzed.
    pub(crate) fn put_right(seq: u64, file: &mut [u8]) {
        file[4..12].copy_from_slice(&MAGIC.to_le_bytes());
        let crc = place(seq).crc(&file[4..]);
        file[..4].copy_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(seq: u64, file: &[u8]) -> Result<Manifest, &'static str> {
        let mut reader = FixedReader::new(file);
        let mut header = || Ok::<_, Truncated>((reader.u32()?, reader.u64()?, reader.u32()?, reader.u32()? as usize));
        let (crc, magic, version, len) = header().map_err(|_| "it is cut short")?;
        if magic != MAGIC || crc != place(seq).crc(&file[4..]) {
            return Err("it has a wrong checksum");
        }
        if version != FORMAT_VERSION {
            return Err("it is of another format version");
        }
        let body = file.get(HEADER_SIZE..HEADER_SIZE + len).ok_or("its length does not fit")?;
        Self::decode_body(seq, body).map_err(|_| "its lengths do not fit")
    }

    fn decode_body(seq: u64, body: &[u8]) -> Result<Manifest, Truncated> {
        let mut reader = FixedReader::new(body);
        let (identity, flushed, next_table) = (reader.u64()?, Version(reader.u64()?), reader.u64()?);
        let mut levels = Vec::new();
        for _ in 0..reader.u32()? {
            let mut level = Vec::new();
            for _ in 0..reader.u32()? {
                let count = reader.u32()?;
                level.push((0..count).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()?);
            }
            levels.push(level);
        }
        if reader.is_empty() { Ok(Manifest { seq, identity, flushed, next_table, levels }) } else { Err(Truncated) }
    }

    /// Every table it names.
    pub fn tables(&self) -> impl Iterator<Item = u64> {
        self.levels.iter().flatten().flatten().copied()
    }

    /// Reads one manifest, whose number is not in the file, and flushes it: a process that was killed may have left it
    /// readable but not yet flushed, and nothing may be removed on its word before it is. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn read_file(disk: &mut dyn Disk, path: &Path, seq: u64, size: u64) -> Result<Manifest, OpenError> {
        let DiskReply::Opened { file, .. } =
            call(disk, DiskOp::Open { path: path.to_path_buf(), mode: OpenMode::Read })?
        else {
            unreachable!("an open answers with a file")
        };
        let padded = size.min(MANIFEST_SIZE_MAX).next_multiple_of(BLOCK_ALIGN as u64).max(BLOCK_ALIGN as u64);
        let bytes = read(disk, file, 0, padded as usize)?;
        let decoded = Manifest::decode(seq, &bytes);
        if decoded.is_ok() {
            call(disk, DiskOp::Sync { file })?;
        }
        call(disk, DiskOp::Close { file })?;
        decoded.map_err(|what| Corruption { path: path.to_path_buf(), offset: 0, what }.into())
    }

    /// Writes the first manifests of new trees in these directories, with these identities, side by side: they take hardly longer
    /// than one. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub(crate) fn write_first(disk: &mut dyn Disk, trees: &[(&Path, u64)]) -> Result<(), DiskError> {
        let create = |dir: &Path| DiskOp::Open { path: manifest_path(dir, 1), mode: OpenMode::Create };
        let opened = call_all(disk, trees.iter().map(|(dir, _)| create(dir)))?;
        let files = opened.into_iter().map(|reply| match reply {
            DiskReply::Opened { file, .. } => file,
            _ => unreachable!("an open answers with a file"),
        });
        let files: Vec<FileId> = files.collect();
        let write = |(file, (_, identity)): (&FileId, &(&Path, u64))| {
            let buf = Manifest::first(*identity).encode();
            DiskOp::Write { file: *file, offset: 0, buf, durable: true }
        };
        call_all(disk, files.iter().zip(trees).map(write))?;
        let names = trees.iter().map(|(dir, _)| DiskOp::SyncDir { path: dir.to_path_buf() });
        call_all(disk, files.into_iter().map(|file| DiskOp::Close { file }).chain(names))?;
        Ok(())
    }

    /// Makes the first manifest of a directory with these files, of which none is a manifest that can be read. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub(crate) fn make_first(
        disk: &mut dyn Disk,
        dir: &Path,
        names: &[(String, u64)],
        identity: u64,
    ) -> Result<Manifest, DiskError> {
        if names.iter().any(|(name, _)| *name == "00000001.manifest") {
            call(disk, DiskOp::Remove { path: manifest_path(dir, 1) })?;
        }
        Manifest::write_first(disk, &[(dir, identity)])?;
        Ok(Manifest::first(identity))
    }

    /// That of a new tree.
    pub(crate) fn first(identity: u64) -> Manifest {
        Manifest { seq: 1, identity, flushed: Version(0), next_table: 1, levels: Vec::new() }
    }

    /// Reads the newest manifest of a directory. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn read(disk: &mut dyn Disk, dir: &Path, names: &[(String, u64)]) -> Result<Option<Manifest>, OpenError> {
        let mut files: Vec<(u64, u64)> = names
            .iter()
            .filter_map(|(name, size)| Some((name.strip_suffix(".manifest")?.parse().ok()?, *size)))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut damage = None;
        for (seq, size) in files {
            match Manifest::read_file(disk, &manifest_path(dir, seq), seq, size) {
                Ok(manifest) => {
                    // A process that was killed may have left its name readable but not yet flushed.
                    call(disk, DiskOp::SyncDir { path: dir.to_path_buf() })?;
                    return Ok(Some(manifest));
                }
                Err(OpenError::Corrupt(corruption)) => damage = damage.or(Some(corruption)),
                Err(error) => return Err(error),
            }
        }
        // A newest file that a crash left half written has an older one beside it, unless it was the very first, which
        // names no tables.
        match damage {
            Some(corruption) if corruption.path != manifest_path(dir, 1) => Err(corruption.into()),
            // The first manifest names no tables: nothing is lost if a crash kept it from being written.
            Some(_) | None => Ok(None),
        }
    }
}

fn place(seq: u64) -> Place {
    Place { owner: 0, kind: FileKind::Manifest, incarnation: 0, file: seq, offset: 0 }
}
