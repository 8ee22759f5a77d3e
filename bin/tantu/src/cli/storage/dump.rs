//! `tantu storage dump`: what one file holds, unit by unit. Damaged units are shown as such, and the next ones are looked for.

mod document;
mod log;
mod out;
mod segment;
mod table;

use super::disk::ReadOnlyDisk;
use super::render::Names;
use super::{DumpArgs, StorageError};
use out::Out;
use std::path::Path;
use tantu_base::limit::BLOCK_ALIGN;
use tantu_base::piece::Pieces;
use tantu_lsm::inspect::{MANIFEST_MAGIC, TABLE_MAGIC};
use tantu_replog::seglog::inspect::MAGIC as LOG_MAGIC;
use tantu_state::inspect::{DOCUMENT_MAGIC, SEGMENT_MAGIC};

/// The kinds of files that can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Log,
    Segment,
    Table,
    Manifest,
    Document,
    Lock,
}

/// Shows a file; whether all of it is whole.
pub(super) fn run(args: &DumpArgs) -> Result<bool, StorageError> {
    let mut disk = ReadOnlyDisk::default();
    let path = &args.file;
    let Some(kind) = recognise(&mut disk, path)? else {
        return Err(StorageError::UnknownKind { file: path.clone() });
    };
    let names = Names::above(&mut disk, path);
    let mut out = Out::new(args.limit);
    match kind {
        Kind::Log => log::dump(&mut disk, path, &names, &mut out)?,
        Kind::Segment => segment::dump(&mut disk, path, &names, &mut out)?,
        Kind::Table => table::dump(&mut disk, path, &names, args.blocks, &mut out)?,
        Kind::Manifest => document::manifest(&mut disk, path, &mut out)?,
        Kind::Document => document::dump(&mut disk, path, &mut out)?,
        Kind::Lock => document::lock(&mut disk, path, &mut out)?,
    }
    out.end().map_err(StorageError::Output)
}

/// By what the file begins or ends with; where that is damaged, by its name.
fn recognise(disk: &mut ReadOnlyDisk, path: &Path) -> Result<Option<Kind>, StorageError> {
    let mut pieces = Pieces::open(disk, path)?;
    let size = pieces.size();
    let first = pieces.get(disk, 0, BLOCK_ALIGN)?.to_vec();
    let second = pieces.get(disk, BLOCK_ALIGN as u64, BLOCK_ALIGN)?.to_vec();
    let last_at = (size / BLOCK_ALIGN as u64).saturating_sub(1) * BLOCK_ALIGN as u64;
    let last = pieces.get(disk, last_at, BLOCK_ALIGN)?.to_vec();
    pieces.close(disk);
    if first.starts_with(LOG_MAGIC) || second.starts_with(LOG_MAGIC) {
        return Ok(Some(Kind::Log));
    }
    if first.starts_with(SEGMENT_MAGIC) {
        return Ok(Some(Kind::Segment));
    }
    if first.starts_with(DOCUMENT_MAGIC) {
        return Ok(Some(Kind::Document));
    }
    if first.get(4..).is_some_and(|rest| rest.starts_with(MANIFEST_MAGIC)) {
        return Ok(Some(Kind::Manifest));
    }
    if last.starts_with(TABLE_MAGIC) {
        return Ok(Some(Kind::Table));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    Ok(match (name, ending) {
        ("LOCK", _) => Some(Kind::Lock),
        ("module.meta" | "checkpoint", _) => Some(Kind::Document),
        (_, "log") => Some(Kind::Log),
        (_, "seg") => Some(Kind::Segment),
        (_, "table") => Some(Kind::Table),
        (_, "manifest") => Some(Kind::Manifest),
        _ => None,
    })
}
