//! One module instance: its description, its tasks, its threads.

use super::report::{Finding, Kind};
use super::task::{self, Task};
use super::{Check, thread};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tantu_base::id::{ObjectId, TaskId, ThreadId};
use tantu_base::limit::TASK_COUNT_MAX;
use tantu_state::meta::{DocumentError, ModuleMeta, ObjectKind, read_module};

/// What a module's description says of the rest of its folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Unknown without a description.
    pub(super) meta: Option<ModuleMeta>,
    pub(super) depots: Vec<ObjectId>,
}

/// Checks a module's folder.
pub(super) fn check(check: &mut Check, dir: &Path) {
    let Some(layout) = read_layout(check, dir) else { return };
    let (tasks, threads) = (folders(check, &layout, dir, "tasks"), folders(check, &layout, dir, "threads"));
    let mut surveys: BTreeMap<TaskId, Task> = BTreeMap::new();
    for (number, folder) in tasks {
        surveys.insert(TaskId(number), task::read_tree(check, &layout, TaskId(number), folder));
    }
    // The logs of the present threads first: those of an earlier number of threads hold nothing newer.
    for (number, folder) in threads {
        thread::check(check, &layout, ThreadId(number), &folder, &mut surveys);
    }
    for task in surveys.values() {
        task::check_depots(check, &layout, task);
    }
}

/// The description; nothing if there is no module here.
fn read_layout(check: &mut Check, dir: &Path) -> Option<Layout> {
    let path = dir.join("module.meta");
    let is_there = check.take(Kind::Module, &path);
    match read_module(&mut check.disk, &path) {
        Ok(Some(meta)) => {
            check.report.units(Kind::Module, 1);
            if meta.task_count > TASK_COUNT_MAX || meta.thread_count > meta.task_count {
                check.report.damage(Kind::Module, &path, 0, "it has an impossible number of tasks or threads");
                return Some(Layout::default());
            }
            let depots = meta.objects.iter().filter(|object| object.kind == ObjectKind::Depot);
            Some(Layout { depots: depots.map(|object| object.id).collect(), meta: Some(meta) })
        }
        Ok(None) if is_there || !check.files.is_empty_below(&dir.join("tasks")) => {
            check.report.damage(Kind::Module, &path, 0, "the file is missing, but the module has tasks");
            Some(Layout::default())
        }
        Ok(None) => {
            let what = "no module was ever launched in this folder".to_string();
            check.report.add(Finding::note(Kind::Module, &path, 0, what, "none needed"));
            None
        }
        Err(error) => {
            document_damage(check, Kind::Module, &error);
            Some(Layout::default())
        }
    }
}

/// Tells what is wrong with a document.
pub(super) fn document_damage(check: &mut Check, kind: Kind, error: &DocumentError) {
    match error {
        DocumentError::Disk(error) => check.unreadable(kind, error),
        DocumentError::Corrupt { path, offset, what } => check.report.damage(kind, path, *offset, what),
        DocumentError::Version { path, .. } => check.report.damage(kind, path, 8, error),
    }
}

/// The numbered folders that are there or must be there.
fn folders(check: &Check, layout: &Layout, dir: &Path, name: &str) -> BTreeMap<u32, PathBuf> {
    let parent = dir.join(name);
    let mut folders = check.files.numbered_folders(&parent);
    let count =
        layout.meta.as_ref().map_or(0, |meta| if name == "tasks" { meta.task_count } else { meta.thread_count });
    folders.extend((0..count).map(|number| (number, parent.join(number.to_string()))));
    folders
}
