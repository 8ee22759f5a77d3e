//! A table: what its footer and meta say, its index, its entries. Without a readable index blocks are looked for one by one.

use super::super::StorageError;
use super::super::disk::ReadOnlyDisk;
use super::super::render::{self, Names};
use super::out::Out;
use std::path::Path;
use tantu_lsm::OpenError;
use tantu_lsm::inspect::{EntryAt, Found, TableFile, TableId, claimed_id, scan_blocks};

pub(super) fn dump(
    disk: &mut ReadOnlyDisk,
    path: &Path,
    names: &Names,
    blocks: bool,
    out: &mut Out,
) -> Result<(), StorageError> {
    out.line(format_args!("table {}", path.display()));
    let Some(id) = claimed_id(disk, path)? else {
        out.damaged(format_args!("the file does not end in a footer: it was cut short, or its footer changed"));
        out.line(format_args!("without a footer nothing else can be checked: every checksum needs what it says"));
        return Ok(());
    };
    out.line(format_args!("tree {:016x}, table {}", id.identity, id.number));
    match TableFile::open(disk, path, id) {
        Ok(table) => {
            whole(disk, &table, names, blocks, out)?;
            table.close(disk);
            Ok(())
        }
        Err(OpenError::Disk(error)) => Err(error.into()),
        Err(OpenError::Corrupt(corruption)) => {
            out.damaged(format_args!("{}: {}", corruption.offset, corruption.what));
            scan(disk, path, id, names, out)
        }
    }
}

fn whole(
    disk: &mut ReadOnlyDisk,
    table: &TableFile,
    names: &Names,
    blocks: bool,
    out: &mut Out,
) -> Result<(), StorageError> {
    let (block_count, range_count) = (table.blocks().count(), table.ranges().count());
    let (entry_count, last) = (table.entry_count(), names.key(table.last_key()));
    out.line(format_args!(
        "meta: {entry_count} entries in {block_count} blocks, {range_count} range deletions, last key {last}, checksum ok"
    ));
    for range in table.ranges() {
        let (from, to) = (names.key(range.from), names.key(range.to));
        out.line(format_args!("range deletion from {from} to before {to} at {}", range.version));
    }
    for (index, block) in table.blocks().enumerate() {
        if blocks {
            let first = names.key(block.first_key);
            out.line(format_args!("{}: block {index} of {} bytes, first key {first}", block.offset, block.size));
        }
        if !out.has_room() && !blocks {
            break;
        }
        match table.entries(disk, index, &mut |found| entry(found, names, out)) {
            Ok(()) => {}
            Err(OpenError::Disk(error)) => return Err(error.into()),
            Err(OpenError::Corrupt(corruption)) => {
                let (at, what, size) = (corruption.offset, corruption.what, block.size);
                out.damaged(format_args!("{at}: block {index} of {size} bytes: {what}"));
            }
        }
    }
    Ok(())
}

fn scan(disk: &mut ReadOnlyDisk, path: &Path, id: TableId, names: &Names, out: &mut Out) -> Result<(), StorageError> {
    out.line(format_args!("the blocks that are whole:"));
    scan_blocks(disk, path, id, &mut |found| match found {
        Found::Block { offset, size } => out.line(format_args!("{offset}: block of {size} bytes, checksum ok")),
        Found::Entry(found) => entry(found, names, out),
    })?;
    Ok(())
}

fn entry(found: EntryAt<'_>, names: &Names, out: &mut Out) {
    if out.has_room() {
        let value = found.value.map_or_else(|| "deleted".to_string(), |value| names.value(found.key, value));
        let (key, raw) = (names.key(found.key), render::bytes(found.key));
        out.unit(format_args!("  {key} {} = {value}    key {raw}", found.version));
    }
}
