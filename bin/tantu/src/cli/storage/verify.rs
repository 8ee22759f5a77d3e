//! `tantu storage verify`: every file of a data directory, and what the files say of each other.
//!
//! The walk goes from what names to what is named: a module's description names tasks and threads, a manifest its tables, a tree
//! the chunks of its depots. What nobody names at the end is left over from a crash, or is not ours.

mod files;
mod module;
mod report;
mod task;
mod thread;

use super::StorageError;
use super::disk::ReadOnlyDisk;
use files::Files;
use report::{Finding, Kind, Report};
use std::path::Path;
use tantu_base::door::{DiskError, DiskFault};
use tantu_doors::DirLock;

/// What all parts of a check share.
struct Check {
    disk: ReadOnlyDisk,
    files: Files,
    report: Report,
}

impl Check {
    /// Takes a file that is named out of those that are not; whether it was there.
    fn take(&mut self, kind: Kind, path: &Path) -> bool {
        let size = self.files.take(path);
        if let Some(size) = size {
            self.report.file(kind, size);
        }
        size.is_some()
    }

    /// A file that cannot be read is a finding like any other: the check goes on with the next.
    fn unreadable(&mut self, kind: Kind, error: &DiskError) {
        let what = match error.fault {
            DiskFault::NotFound => "the file is missing".to_string(),
            _ => error.to_string(),
        };
        self.report.damage(kind, &error.path, error.offset.unwrap_or(0), what);
    }
}

/// Checks a directory and prints what was found; whether it is healthy.
pub(super) fn run(dir: &Path, json: bool) -> Result<bool, StorageError> {
    let lock = DirLock::look(dir)?;
    let modules = dir.join("modules");
    if lock.is_none() && !modules.is_dir() {
        return Err(StorageError::NoDirectory { dir: dir.to_path_buf() });
    }
    let files = Files::below(dir)?;
    let mut check = Check { disk: ReadOnlyDisk::default(), files, report: Report::default() };
    check.take(Kind::Lock, &dir.join("LOCK"));
    for folder in check.files.folders(&modules) {
        module::check(&mut check, &folder);
    }
    left_over(&mut check);
    let text = if json { check.report.json() } else { check.report.text() };
    super::super::print_all(text.as_bytes()).map_err(StorageError::Output)?;
    Ok(check.report.is_healthy())
}

/// Files that nobody named.
fn left_over(check: &mut Check) {
    for (path, size) in check.files.rest() {
        let kind = files::kind_of(&path);
        check.report.file(kind, size);
        let what = match kind {
            Kind::Other => "this is no file of ours",
            Kind::Lock => "a lock belongs to the directory itself: nothing uses this one",
            Kind::Module | Kind::Checkpoint | Kind::Log | Kind::Depot | Kind::Manifest | Kind::Table => {
                "nothing names this file: a crash or a merge that was cut short left it"
            }
        };
        let remedy = match kind {
            Kind::Other => "it does no harm; it is left alone",
            Kind::Manifest | Kind::Table => "none needed: the next start removes it",
            Kind::Lock | Kind::Module | Kind::Checkpoint | Kind::Log | Kind::Depot => {
                "none needed: it does no harm, and nothing reads it"
            }
        };
        check.report.add(Finding::note(kind, &path, 0, what.to_string(), remedy));
    }
}
