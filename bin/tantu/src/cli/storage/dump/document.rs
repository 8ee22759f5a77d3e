//! The small files: manifests, module descriptions, checkpoints, the lock.

use super::super::StorageError;
use super::super::disk::ReadOnlyDisk;
use super::super::render;
use super::out::Out;
use std::path::Path;
use tantu_base::id::ThreadId;
use tantu_base::limit::BLOCK_ALIGN;
use tantu_base::piece::Pieces;
use tantu_lsm::OpenError;
use tantu_lsm::inspect::Manifest;
use tantu_path::Schema;
use tantu_state::meta::{Checkpoint, DocumentError, ModuleMeta, ObjectKind, read_checkpoint, read_module};

/// A manifest. Its number is under its checksum, and only in its name.
pub(super) fn manifest(disk: &mut ReadOnlyDisk, path: &Path, out: &mut Out) -> Result<(), StorageError> {
    out.line(format_args!("manifest {}", path.display()));
    let Some(seq) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else {
        out.damaged(format_args!("0: the file is not called by its number, which its checksum needs"));
        return Ok(());
    };
    let pieces = Pieces::open(disk, path)?;
    let size = pieces.size();
    pieces.close(disk);
    let manifest = match Manifest::read_file(disk, path, seq, size) {
        Ok(manifest) => manifest,
        Err(OpenError::Disk(error)) => return Err(error.into()),
        Err(OpenError::Corrupt(corruption)) => {
            out.damaged(format_args!("{}: {}", corruption.offset, corruption.what));
            return Ok(());
        }
    };
    let Manifest { identity, flushed, next_table, levels, .. } = manifest;
    out.line(format_args!(
        "number {seq}, tree {identity:016x}, flushed to {flushed}, next table {next_table}, {} levels, checksum ok",
        levels.len()
    ));
    for (level, runs) in levels.iter().enumerate() {
        for (run, tables) in runs.iter().enumerate() {
            let tables = tables.iter().map(|number| format!("{number:08}.table")).collect::<Vec<_>>().join(" ");
            out.unit(format_args!("level {level} run {run}: {tables}"));
        }
    }
    Ok(())
}

/// A module's description or a checkpoint: which of them, its checksum says.
pub(super) fn dump(disk: &mut ReadOnlyDisk, path: &Path, out: &mut Out) -> Result<(), StorageError> {
    let module = match read_module(disk, path) {
        Ok(Some(meta)) => {
            show_module(path, &meta, out);
            return Ok(());
        }
        Ok(None) => return Ok(()),
        Err(error) => error,
    };
    let thread = path.parent().and_then(|folder| folder.file_name()?.to_str()?.parse().ok());
    let checkpoint = thread.map(|thread| read_checkpoint(disk, path, ThreadId(thread)));
    if let Some(Ok(Some(checkpoint))) = checkpoint {
        show_checkpoint(path, &checkpoint, out);
        return Ok(());
    }
    match module {
        DocumentError::Disk(error) => return Err(error.into()),
        DocumentError::Corrupt { offset, what, .. } => out.damaged(format_args!("{offset}: {what}")),
        error @ DocumentError::Version { .. } => out.damaged(format_args!("8: {error}")),
    }
    let is_checkpoint = path.file_name().is_some_and(|name| name == "checkpoint");
    if is_checkpoint && thread.is_none() {
        out.line(format_args!("the number of its thread is under its checksum, and only in the name of its folder"));
    }
    Ok(())
}

fn show_module(path: &Path, meta: &ModuleMeta, out: &mut Out) {
    out.line(format_args!("module description {}", path.display()));
    let ModuleMeta { module, task_count, thread_count, objects } = meta;
    out.line(format_args!("module {module}, {task_count} tasks, {thread_count} threads, checksum ok"));
    for object in objects {
        let kind = match object.kind {
            ObjectKind::Depot => "depot",
            ObjectKind::PState => "PState",
            ObjectKind::Source => "source",
            ObjectKind::Microbatch => "microbatch topology",
        };
        let schema = match Schema::decode(&object.schema) {
            _ if object.schema.is_empty() => String::new(),
            Ok(schema) => format!(" schema {schema}"),
            Err(_) => format!(" schema {}", render::value(&object.schema)),
        };
        out.unit(format_args!("{kind} {} is {}{schema}", object.name, object.id));
    }
}

fn show_checkpoint(path: &Path, checkpoint: &Checkpoint, out: &mut Out) {
    out.line(format_args!("checkpoint {}", path.display()));
    out.line(format_args!("{}, checksum ok", checkpoint.thread));
    for (task, version) in &checkpoint.reached {
        out.unit(format_args!("{task} had reached {version}"));
    }
}

/// The lock.
pub(super) fn lock(disk: &mut ReadOnlyDisk, path: &Path, out: &mut Out) -> Result<(), StorageError> {
    let mut pieces = Pieces::open(disk, path)?;
    let process = render::bytes(pieces.get(disk, 0, BLOCK_ALIGN)?);
    pieces.close(disk);
    out.line(format_args!("lock {}: taken last by process {process}", path.display()));
    Ok(())
}
