//! Directories: made and listed at once, when a module starts.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tantu_base::door::{Disk, DiskOp, call_all};

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn sync_dir(path: &Path) -> Result<(), Errno> {
    rustix::fs::fsync(open_dir(path)?)
}

pub(super) fn make_dir(path: &Path) -> Result<(), Errno> {
    let mut parents = BTreeSet::new();
    make_unflushed(path, &mut parents)?;
    parents.iter().try_for_each(|parent| sync_dir(parent))
}

/// Makes directories that are missing, with those above them, durably. They are flushed when all are made, side by side: each that
/// is made and flushed by itself waits for the file system's journal.
///
/// # Errors
/// What the kernel answers.
pub fn make_dirs(disk: &mut dyn Disk, paths: &[PathBuf]) -> std::io::Result<()> {
    let mut parents = BTreeSet::new();
    paths.iter().try_for_each(|path| make_unflushed(path, &mut parents))?;
    let flushes = parents.into_iter().map(|path| DiskOp::SyncDir { path });
    call_all(disk, flushes).map(drop).map_err(std::io::Error::other)
}

fn make_unflushed(path: &Path, parents: &mut BTreeSet<PathBuf>) -> Result<(), Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => {
            parents.insert(parent.to_path_buf());
            Ok(())
        }
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        Err(Errno::NOENT) => {
            make_unflushed(path.parent().ok_or(Errno::NOENT)?, parents)?;
            make_unflushed(path, parents)
        }
        Err(errno) => Err(errno),
    }
}

pub(super) fn list(path: &Path) -> Result<Vec<(String, u64)>, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(errno)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(errno)?;
        let meta = entry.metadata().map_err(errno)?;
        if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
            names.push((name, meta.len()));
        }
    }
    names.sort_unstable();
    Ok(names)
}
