//! One task thread: its log, judged by the replay that a start would do, and what its last clean close noted.

use super::Check;
use super::module::{Layout, document_damage};
use super::report::{Finding, Kind};
use super::task::Task;
use std::collections::BTreeMap;
use std::path::Path;
use tantu_base::id::{TaskId, ThreadId};
use tantu_replog::seglog::inspect::{SEGMENT_SIZE_MAX, survey};
use tantu_replog::seglog::{Entry, OpenError, VisitError};
use tantu_state::meta::read_checkpoint;
use tantu_state::section::sections;

/// Checks a thread's folder, and that its tasks are not behind what it noted.
pub(super) fn check(
    check: &mut Check,
    layout: &Layout,
    thread: ThreadId,
    dir: &Path,
    tasks: &mut BTreeMap<TaskId, Task>,
) {
    let log = dir.join("log");
    let has_log = !check.files.unnamed(&log, Kind::Log).is_empty();
    let is_whole = check_log(check, layout, thread, &log, tasks);
    if !is_whole {
        // What a damaged log does not say is not missing.
        let thread_count = layout.meta.as_ref().map_or(1, |meta| meta.thread_count.max(1));
        let own = tasks.iter_mut().filter(|(id, _)| id.0 % thread_count == thread.0);
        own.for_each(|(_, task)| task.is_whole = false);
    }
    let path = dir.join("checkpoint");
    if !check.take(Kind::Checkpoint, &path) {
        return;
    }
    let noted = match read_checkpoint(&mut check.disk, &path, thread) {
        Ok(noted) => noted,
        Err(error) => return document_damage(check, Kind::Checkpoint, &error),
    };
    check.report.units(Kind::Checkpoint, 1);
    if !has_log {
        check.report.damage(Kind::Log, &log, 0, "every segment is missing: a thread that ended cleanly leaves one");
    }
    for (id, expected) in noted.into_iter().flat_map(|noted| noted.reached) {
        let Some(task) = tasks.get(&id).filter(|task| task.is_whole) else { continue };
        let have = task.survey.reached();
        if have < expected {
            let what = format!("{id} had reached {expected}, but its files hold no more than {have}");
            check.report.damage(Kind::Checkpoint, &path, 0, what);
        }
    }
}

/// Checks a log; whether a start would take it.
fn check_log(
    check: &mut Check,
    layout: &Layout,
    thread: ThreadId,
    dir: &Path,
    tasks: &mut BTreeMap<TaskId, Task>,
) -> bool {
    let mut too_long = false;
    for path in check.files.unnamed(dir, Kind::Log) {
        // What is there is read whole, one segment at a time.
        if check.files.size(&path) > SEGMENT_SIZE_MAX {
            too_long = true;
            check.report.damage(Kind::Log, &path, SEGMENT_SIZE_MAX, "the file is longer than any segment");
        }
        check.take(Kind::Log, &path);
    }
    if too_long {
        return false;
    }
    let mut visit = |entry: Entry<'_>| visit(layout, thread, entry, tasks);
    let mut found = survey(&mut check.disk, dir, thread.0, &mut visit);
    let mut is_followed = true;
    if let Err(OpenError::Visit { path, offset, lsn, error }) = &found {
        check.report.damage(Kind::Log, path, *offset, format!("{lsn}: {error}"));
        // An entry that does not fit its task says nothing of the log: the log's bytes are checked all the same.
        is_followed = false;
        found = survey(&mut check.disk, dir, thread.0, &mut |_| Ok(()));
    }
    let error = match found {
        Ok(found) => {
            check.report.units(Kind::Log, found.group_count);
            if found.opened.torn_size > 0 {
                let what = format!(
                    "the log ends in {} bytes that were being written when the process ended, after {}",
                    found.opened.torn_size, found.opened.end
                );
                let remedy = "none needed: nothing of them was acked, and the next start cuts them off";
                check.report.add(Finding::note(Kind::Log, dir, 0, what, remedy));
            }
            return is_followed;
        }
        Err(error) => error,
    };
    match &error {
        OpenError::Corrupt { path, offset, what } => check.report.damage(Kind::Log, path, *offset, what),
        OpenError::Disk(error) => check.unreadable(Kind::Log, error),
        OpenError::Unsupported { path, .. } => check.report.damage(Kind::Log, path, 8, &error),
        OpenError::Missing { .. } | OpenError::Visit { .. } => check.report.damage(Kind::Log, dir, 0, &error),
    }
    false
}

/// Follows the sections of an entry as a replay would.
fn visit(
    layout: &Layout,
    thread: ThreadId,
    entry: Entry<'_>,
    tasks: &mut BTreeMap<TaskId, Task>,
) -> Result<(), VisitError> {
    for section in sections(entry.body) {
        let section = section.map_err(|error| VisitError(error.to_string()))?;
        let Some(meta) = &layout.meta else { continue };
        let is_present = thread.0 < meta.thread_count;
        if is_present && section.task.0 % meta.thread_count != thread.0 {
            return Err(VisitError(format!("it changes {}, which is not of {thread}", section.task)));
        }
        let Some(task) = tasks.get_mut(&section.task) else {
            return Err(VisitError(format!("it changes {}, which the module does not have", section.task)));
        };
        if task.is_whole {
            task.survey.section(&section).map_err(|error| VisitError(error.to_string()))?;
        }
    }
    Ok(())
}
