//! A depot segment: its header, its chunks and their records.

use super::super::StorageError;
use super::super::disk::ReadOnlyDisk;
use super::super::render::{self, Names};
use super::out::Out;
use std::path::Path;
use tantu_base::id::{ObjectId, Offset};
use tantu_state::depot::Run;
use tantu_state::inspect::{Part, SegmentFile};
use tantu_state::layout::ChunkAt;
use tantu_state::segment::SegmentError;

pub(super) fn dump(disk: &mut ReadOnlyDisk, path: &Path, names: &Names, out: &mut Out) -> Result<(), StorageError> {
    out.line(format_args!("depot segment {}", path.display()));
    let walked = SegmentFile::open(disk, path, None).and_then(|mut segment| {
        let SegmentFile { task, seq, incarnation, .. } = &segment;
        out.line(format_args!("0: header: {task}, segment {seq}, incarnation {incarnation:016x}, checksum ok"));
        segment.walk(disk, &mut |part| match part {
            Part::Chunk { at, depot, runs } => chunk(&at, depot, &runs, names, out),
            Part::Damaged { position, size } => {
                out.damaged(format_args!(
                    "{position}: {size} bytes that are no whole chunk: cut off by a crash, or damage"
                ));
            }
        })?;
        segment.close(disk);
        Ok(())
    });
    match walked {
        Ok(()) => Ok(()),
        Err(SegmentError::Disk(error)) => Err(error.into()),
        Err(SegmentError::Corrupt { offset, what, .. }) => {
            out.damaged(format_args!("{offset}: {what}"));
            out.line(format_args!("without a header nothing else can be checked: every checksum needs what it says"));
            Ok(())
        }
    }
}

fn chunk(at: &ChunkAt, depot: ObjectId, runs: &[Run], names: &Names, out: &mut Out) {
    let count: u64 = runs.iter().map(Run::count).sum();
    let (name, end) = (names.object(depot), Offset(at.first.0 + count));
    out.line(format_args!(
        "{}: chunk of {} bytes: {name} from {} to before {end}, {} runs, checksum ok",
        at.position,
        at.size,
        at.first,
        runs.len()
    ));
    for run in runs {
        for index in 0..run.count() as usize {
            let record = run.record(index);
            let offset = run.first.0 + index as u64;
            let (len, time, value) = (record.len(), run.time_ms, render::value(record));
            out.unit(format_args!("  {name} offset {offset} length {len} appended {time} ms: {value}"));
        }
    }
}
