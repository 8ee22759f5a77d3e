//! The files of a directory, as they were when the check began, and which of them nobody has named yet.

use super::super::StorageError;
use super::report::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    unnamed: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
}

impl Files {
    /// Every file below a folder. Links are not followed: they count as files.
    pub(super) fn below(dir: &Path) -> Result<Files, StorageError> {
        let mut files = Files::default();
        let mut waiting = vec![dir.to_path_buf()];
        while let Some(folder) = waiting.pop() {
            let list = |source| StorageError::List { dir: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(list)? {
                let entry = entry.map_err(list)?;
                let meta = entry.metadata().map_err(list)?;
                if meta.is_dir() {
                    waiting.push(entry.path());
                } else {
                    files.unnamed.insert(entry.path(), meta.len());
                }
            }
            files.folders.insert(folder);
        }
        Ok(files)
    }

    /// Names a file; its size if it is there and was not named before.
    pub(super) fn take(&mut self, path: &Path) -> Option<u64> {
        self.unnamed.remove(path)
    }

    /// Bytes of a file that nobody has named.
    pub(super) fn size(&self, path: &Path) -> u64 {
        self.unnamed.get(path).copied().unwrap_or(0)
    }

    /// The folders directly below one.
    pub(super) fn folders(&self, parent: &Path) -> Vec<PathBuf> {
        self.folders.iter().filter(|folder| folder.parent() == Some(parent)).cloned().collect()
    }

    /// The folders directly below one that are called by a number, by that number.
    pub(super) fn numbered_folders(&self, parent: &Path) -> BTreeMap<u32, PathBuf> {
        let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse().ok();
        let folders = self.folders(parent).into_iter();
        folders.filter_map(|folder| Some((number(&folder)?, folder))).collect()
    }

    /// The files directly in a folder that nobody has named, in order.
    pub(super) fn unnamed(&self, folder: &Path, kind: Kind) -> Vec<PathBuf> {
        let here = |path: &&PathBuf| path.parent() == Some(folder) && kind_of(path) == kind;
        self.unnamed.keys().filter(here).cloned().collect()
    }

    /// Whether the folder holds anything at all, at any depth.
    pub(super) fn is_empty_below(&self, folder: &Path) -> bool {
        !self.unnamed.keys().any(|path| path.starts_with(folder))
    }

    /// Everything that nobody has named.
    pub(super) fn rest(&mut self) -> BTreeMap<PathBuf, u64> {
        std::mem::take(&mut self.unnamed)
    }
}

/// What kind of file a name promises.
pub(super) fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "LOCK" => return Kind::Lock,
        "module.meta" | "module.new" => return Kind::Module,
        "checkpoint" | "checkpoint.new" => return Kind::Checkpoint,
        _ => {}
    }
    match name.rsplit_once('.') {
        Some((number, ending)) if sequence(number).is_some() => match ending {
            "log" => Kind::Log,
            "seg" => Kind::Depot,
            "manifest" => Kind::Manifest,
            "table" => Kind::Table,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

/// The number in a file's name, written as the engine writes it.
pub(super) fn sequence(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (format!("{number:08}") == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_a_kind_only_if_the_engine_would_write_it_so() {
        for (name, kind) in [
            ("00000001.log", Kind::Log),
            ("123456789.table", Kind::Table),
            ("1.table", Kind::Other),
            ("00000001.table.bak", Kind::Other),
            ("notes.log", Kind::Other),
            ("checkpoint.new", Kind::Checkpoint),
            ("LOCK", Kind::Lock),
        ] {
            assert_eq!(kind_of(&Path::new("dir").join(name)), kind, "{name}");
        }
    }
}
