//! One task: the tables its manifest names, then the chunks its tree names.

use super::Check;
use super::files::sequence;
use super::module::Layout;
use super::report::{Finding, Kind};
use std::path::{Path, PathBuf};
use tantu_base::door::{DiskOp, DiskReply, call};
use tantu_base::id::{ObjectId, TaskId, Version};
use tantu_lsm::OpenError;
use tantu_lsm::inspect::{Manifest, TableFile, TableId, claimed_id, table_path};
use tantu_state::inspect::{IndexedChunk, SegmentFile, TaskSurvey, segment_path};
use tantu_state::segment::SegmentError;

/// A task whose tree was read.
pub(super) struct Task {
    pub(super) dir: PathBuf,
    pub(super) survey: TaskSurvey,
    /// Its tree is whole, so that what it says, and what it does not say, can be relied on.
    pub(super) is_whole: bool,
}

/// Checks the trees of a task.
pub(super) fn read_tree(check: &mut Check, layout: &Layout, id: TaskId, dir: PathBuf) -> Task {
    let (tree, spill) = (dir.join("tree"), dir.join("spill"));
    // Side runs that went to the disk are in a tree of their own; it has nothing of depots.
    if !check.files.is_empty_below(&spill) {
        check_tree(check, &[], id, (dir.clone(), &spill));
    }
    check_tree(check, &layout.depots, id, (dir, &tree))
}

/// Checks one tree of a task.
fn check_tree(check: &mut Check, depots: &[ObjectId], id: TaskId, (dir, tree): (PathBuf, &Path)) -> Task {
    let manifest = read_manifest(check, tree);
    let flushed = manifest.as_ref().ok().map_or(Version(0), |manifest| manifest.flushed);
    let survey = TaskSurvey::new(id, depots.iter().copied(), flushed);
    let mut task = Task { dir, survey, is_whole: manifest.is_ok() };
    match manifest {
        Ok(manifest) => {
            for run in manifest.levels.iter().flatten() {
                check_run(check, &mut task, &manifest, tree, run);
            }
        }
        // Without a manifest a table says itself where it belongs: its blocks can be checked all the same.
        Err(()) => {
            for path in check.files.unnamed(tree, Kind::Table) {
                check_unnamed_table(check, &mut task, &path);
            }
        }
    }
    task
}

/// The manifest that an open would use: an empty one if the tree is new.
fn read_manifest(check: &mut Check, tree: &Path) -> Result<Manifest, ()> {
    let names = match call(&mut check.disk, DiskOp::List { path: tree.to_path_buf() }) {
        Ok(DiskReply::Names(names)) => names,
        Ok(other) => unreachable!("a list answered {other:?}"),
        Err(error) => {
            check.unreadable(Kind::Manifest, &error);
            return Err(());
        }
    };
    let has_file = |ending: &str| names.iter().any(|(name, _)| name.ends_with(ending));
    match Manifest::read(&mut check.disk, tree, &names) {
        Ok(Some(manifest)) => {
            let path = tree.join(format!("{:08}.manifest", manifest.seq));
            check.take(Kind::Manifest, &path);
            check.report.units(Kind::Manifest, 1);
            Ok(manifest)
        }
        Ok(None) if has_file(".manifest") => {
            let path = tree.join("00000001.manifest");
            check.take(Kind::Manifest, &path);
            let what = "the first manifest cannot be read: a crash kept it from being written, or it changed since";
            let remedy = "none needed: it names no tables, and the next start makes it anew";
            check.report.add(Finding::note(Kind::Manifest, &path, 0, what.to_string(), remedy));
            Ok(Manifest::default())
        }
        Ok(None) if has_file(".table") => {
            check.report.damage(Kind::Manifest, tree, 0, "there are tables, but no manifest that names them");
            Err(())
        }
        Ok(None) => Ok(Manifest::default()),
        Err(OpenError::Corrupt(corruption)) => {
            check.take(Kind::Manifest, &corruption.path);
            check.report.damage(Kind::Manifest, &corruption.path, corruption.offset, corruption.what);
            Err(())
        }
        Err(OpenError::Disk(error)) => {
            check.unreadable(Kind::Manifest, &error);
            Err(())
        }
    }
}

/// Checks the tables of a run, whose keys follow each other from table to table.
fn check_run(check: &mut Check, task: &mut Task, manifest: &Manifest, tree: &Path, run: &[u64]) {
    let mut last: Option<Vec<u8>> = None;
    for number in run {
        let path = table_path(tree, *number);
        if !check.take(Kind::Table, &path) {
            task.is_whole = false;
            let what = format!("the file is missing: manifest {:08} names it", manifest.seq);
            check.report.damage(Kind::Table, &path, 0, what);
            last = None;
            continue;
        }
        let Some(table) = open_table(check, task, &path, manifest.identity, *number) else {
            last = None;
            continue;
        };
        let follows = |first: &[u8]| last.as_ref().is_none_or(|last| first > &last[..]);
        if table.first_key().is_some_and(|first| !follows(first)) {
            check.report.damage(
                Kind::Table,
                &path,
                0,
                "its keys do not follow those of the table before it in its run",
            );
        }
        if *number >= manifest.next_table {
            check.report.damage(Kind::Table, &path, 0, "the manifest would give its number once more");
        }
        let version_max = check_table(check, task, &path, &table);
        if version_max > manifest.flushed {
            let what = format!("it holds {version_max}, but the tree was flushed up to {}", manifest.flushed);
            check.report.damage(Kind::Table, &path, 0, what);
        }
        last = Some(table.last_key().to_vec());
        table.close(&mut check.disk);
    }
}

fn check_unnamed_table(check: &mut Check, task: &mut Task, path: &Path) {
    check.take(Kind::Table, path);
    let number = path.file_stem().and_then(|stem| sequence(stem.to_str()?)).unwrap_or_default();
    let identity = match claimed_id(&mut check.disk, path) {
        Ok(id) => id.map_or(0, |id| id.identity),
        Err(error) => return check.unreadable(Kind::Table, &error),
    };
    if let Some(table) = open_table(check, task, path, identity, number) {
        check_table(check, task, path, &table);
        table.close(&mut check.disk);
    }
}

fn open_table(check: &mut Check, task: &mut Task, path: &Path, identity: u64, number: u64) -> Option<TableFile> {
    match TableFile::open(&mut check.disk, path, TableId { identity, number }) {
        Ok(table) => return Some(table),
        Err(OpenError::Corrupt(corruption)) => {
            check.report.damage(Kind::Table, path, corruption.offset, corruption.what);
        }
        Err(OpenError::Disk(error)) => check.unreadable(Kind::Table, &error),
    }
    task.is_whole = false;
    None
}

/// Checks every block; returns the highest version met.
fn check_table(check: &mut Check, task: &mut Task, path: &Path, table: &TableFile) -> Version {
    let Check { disk, report, .. } = check;
    let (survey, is_whole) = (&mut task.survey, &mut task.is_whole);
    let mut unreadable = None;
    let checked = table.check(
        disk,
        &mut |entry| {
            if let Err(error) = survey.entry(entry.key, entry.version, entry.value) {
                unreadable.get_or_insert(error);
            }
        },
        &mut |corruption| {
            *is_whole = false;
            report.damage(Kind::Table, path, corruption.offset, corruption.what);
        },
    );
    if let Some(error) = unreadable {
        task.is_whole = false;
        check.report.damage(Kind::Table, path, 0, error);
    }
    match checked {
        Ok(checked) => {
            check.report.units(Kind::Table, checked.block_count);
            checked.version_max
        }
        Err(error) => {
            task.is_whole = false;
            check.unreadable(Kind::Table, &error);
            Version(0)
        }
    }
}

/// Checks the chunks that the tree and the log name, when all of both was read.
pub(super) fn check_depots(check: &mut Check, layout: &Layout, task: &Task) {
    let dir = task.dir.join("depot");
    // What a damaged tree does not name is not missing, and not left over.
    if task.is_whole {
        for gap in task.survey.gaps() {
            check.report.damage(Kind::Depot, &dir, 0, gap);
        }
    }
    let chunks = task.survey.chunks();
    for of_segment in chunks.chunk_by(|a, b| a.at.segment == b.at.segment) {
        check_segment(check, task, &dir, of_segment);
    }
    if !task.is_whole || layout.meta.is_none() {
        for path in check.files.unnamed(&dir, Kind::Depot) {
            check.take(Kind::Depot, &path);
        }
    }
}

/// Checks chunks of one segment.
fn check_segment(check: &mut Check, task: &Task, dir: &Path, chunks: &[IndexedChunk]) {
    let Some(first) = chunks.first() else { return };
    let path = segment_path(dir, first.at.segment);
    if !check.take(Kind::Depot, &path) {
        let what = format!("the file is missing: {} chunks are in it", chunks.len());
        return check.report.damage(Kind::Depot, &path, 0, what);
    }
    let mut segment = match SegmentFile::open(&mut check.disk, &path, Some((task.survey.task(), first.at.segment))) {
        Ok(segment) => segment,
        Err(error) => return segment_damage(check, &error),
    };
    for IndexedChunk { depot, end, at } in chunks {
        check.report.units(Kind::Depot, 1);
        if let Err(error) = segment.chunk(&mut check.disk, *depot, *end, *at) {
            segment_damage(check, &error);
        }
    }
    segment.close(&mut check.disk);
}

fn segment_damage(check: &mut Check, error: &SegmentError) {
    match error {
        SegmentError::Disk(error) => check.unreadable(Kind::Depot, error),
        SegmentError::Corrupt { path, offset, what } => check.report.damage(Kind::Depot, path, *offset, what),
    }
}
