//! A log segment: its header, its groups, the sections of their entries and what each changes.

use super::super::StorageError;
use super::super::disk::ReadOnlyDisk;
use super::super::render::{self, Names};
use super::out::Out;
use std::path::Path;
use tantu_base::id::RunId;
use tantu_base::limit::BLOCK_ALIGN;
use tantu_replog::seglog::inspect::{Header, Part, walk};
use tantu_state::depot::Run;
use tantu_state::producer::{Span, spans};
use tantu_state::section::{Op, Section, chunk_writes, sections};

pub(super) fn dump(disk: &mut ReadOnlyDisk, path: &Path, names: &Names, out: &mut Out) -> Result<(), StorageError> {
    out.line(format_args!("log segment {}", path.display()));
    let mut is_readable = false;
    walk(disk, path, &mut |part| match part {
        Part::Header { copy, header: Some(header) } => {
            is_readable = true;
            let Header { group, incarnation, seq, base } = header;
            let base = render::bytes(&base);
            out.line(format_args!(
                "{}: header, copy {copy}: task group {group}, incarnation {incarnation:016x}, segment {seq}, base {base}, checksum ok",
                copy * BLOCK_ALIGN
            ));
        }
        Part::Header { copy, header: None } => out.damaged(format_args!("{}: header, copy {copy}", copy * BLOCK_ALIGN)),
        Part::Group { offset, size, first, count, durable, low, chained } => {
            let chain = if chained { "ok" } else { "BROKEN" };
            out.line(format_args!(
                "{offset}: group of {size} bytes: {count} entries from {}, durable below {}, needed from {}, checksum ok, chain {chain}",
                first.0, durable.0, low.0
            ));
        }
        Part::Entry { lsn, body: None, .. } => {
            out.damaged(format_args!("lsn {}: the lengths in the group do not fit", lsn.0))
        }
        Part::Entry { lsn, epoch, body: Some(body) } => {
            for section in sections(body) {
                match section {
                    Ok(section) => {
                        out.unit(format_args!(
                            "  lsn {} epoch {} task {} version {} length {} checksum ok",
                            lsn.0,
                            epoch.0,
                            section.task.0,
                            section.version.0,
                            section.ops.len()
                        ));
                        ops(&section, names, out);
                    }
                    Err(error) => out.damaged(format_args!("lsn {}: {error}", lsn.0)),
                }
            }
        }
        Part::Damaged { offset, size } => {
            out.damaged(format_args!("{offset}: {size} bytes that are no whole group: a torn tail, or damage"));
        }
        Part::Unwritten { offset, size } => out.line(format_args!("{offset}: {size} bytes reserved, never written")),
    })?;
    if !is_readable {
        out.line(format_args!("without a header nothing else can be checked: every checksum needs what it says"));
    }
    Ok(())
}

fn ops(section: &Section<'_>, names: &Names, out: &mut Out) {
    if !out.has_room() {
        return;
    }
    for op in section.iter() {
        match op {
            Ok(Op::Put { key, value }) => {
                out.line(format_args!("    put {} = {}", names.key(key), names.value(key, value)));
            }
            Ok(Op::Delete { key }) => out.line(format_args!("    delete {}", names.key(key))),
            Ok(Op::DeleteRange { from, to }) => {
                out.line(format_args!("    delete from {} to before {}", names.key(from), names.key(to)));
            }
            Ok(Op::Append { depot, run }) => match Run::decode(run) {
                Ok(run) => {
                    let (name, count, bytes) = (names.object(depot), run.count(), run.size());
                    out.line(format_args!("    append {name} {}: {count} records, {bytes} bytes", run.first));
                }
                Err(error) => out.damaged(format_args!("append {}: {error}", names.object(depot))),
            },
            Ok(Op::AppendAt(large)) => {
                let (name, count, bytes) = (names.object(large.depot), large.count, large.size);
                out.line(format_args!(
                    "    append {name} {}: {count} records, {bytes} bytes in a segment",
                    large.first
                ));
            }
            Ok(Op::Produced { depot, producer, epoch, spans: of, .. }) => {
                let name = names.object(depot);
                out.line(format_args!("    {producer} in {name}, epoch {epoch}"));
                for Span { sequence, offset, count } in spans(of) {
                    out.line(format_args!("      {count} numbers from {sequence} on, at {offset}"));
                }
            }
            Err(error) => out.damaged(format_args!("{error}")),
            Ok(op) => run_op(&op, names, out),
        }
    }
}

/// What a section says of a side run.
fn run_op(op: &Op<'_>, names: &Names, out: &mut Out) {
    let named = |run: &RunId| {
        let RunId { topology, id, attempt } = run;
        format!("{} microbatch {id}, attempt {}.{}", names.object(*topology), attempt.epoch.0, attempt.counter)
    };
    match op {
        Op::Chunk { run, seq, writes } => {
            out.line(format_args!("    chunk {seq} of {}: {} bytes", named(run), writes.len()));
            for write in chunk_writes(writes) {
                match write {
                    Ok(Op::Put { key, value }) => {
                        out.line(format_args!("      put {} = {}", names.key(key), names.value(key, value)));
                    }
                    Ok(Op::Delete { key }) => out.line(format_args!("      delete {}", names.key(key))),
                    Ok(Op::DeleteRange { from, to }) => {
                        out.line(format_args!("      delete from {} to before {}", names.key(from), names.key(to)));
                    }
                    Ok(_) => out.damaged(format_args!("chunk {seq} of {}: an op that is no write", named(run))),
                    Err(error) => out.damaged(format_args!("chunk {seq} of {}: {error}", named(run))),
                }
            }
        }
        Op::Prepared { run, epoch, chunk_count } => {
            out.line(format_args!("    prepared {} in {epoch}: {chunk_count} chunks", named(run)));
        }
        Op::RunRecords { run, depot, records } => match Run::decode(records) {
            Ok(records) => {
                let (name, count, bytes) = (names.object(*depot), records.count(), records.size());
                out.line(format_args!("    {count} records for {name}, {bytes} bytes, of {}", named(run)));
            }
            Err(error) => out.damaged(format_args!("records for {}: {error}", names.object(*depot))),
        },
        Op::RunAppended(appended) => {
            let (name, count) = (names.object(appended.depot), appended.count);
            let run = named(&appended.run);
            out.line(format_args!("    append {name} {}: {count} records of {run}", appended.first));
        }
        Op::Spilled { run, epoch, serial, version } => {
            let run = named(run);
            out.line(format_args!("    prepared {run} in {epoch}: run {serial} of the spill tree, up to {version}"));
        }
        Op::Publish { run } => out.line(format_args!("    publish {}", named(run))),
        Op::Drop { run } => out.line(format_args!("    drop {}", named(run))),
        _ => {}
    }
}
