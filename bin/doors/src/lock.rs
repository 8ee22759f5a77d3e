//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Bytes of a lock that are read: a process number is shorter.
const PID_SIZE_MAX: u64 = 32;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process ({pid}); stop it, or choose another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// It cannot be made or written.
    #[error("cannot use {} as a data directory: {error}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
}

/// Holds a data directory until it is dropped, or the process ends however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if it is missing, and takes it.
    ///
    /// # Errors
    /// [`LockError`] with a sentence for the user.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        let io = |error| LockError::Io { dir: dir.to_path_buf(), error };
        std::fs::create_dir_all(dir).map_err(io)?;
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(in_use(dir, file)),
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(DirLock { _file: file })
    }

    /// Keeps others from taking a directory while it is looked at, and writes nothing. `None` if it has no lock: then
    /// nobody has ever taken it, as with a copy that left the lock out.
    ///
    /// # Errors
    /// [`LockError`] with a sentence for the user.
    pub fn look(dir: &Path) -> Result<Option<DirLock>, LockError> {
        let io = |error| LockError::Io { dir: dir.to_path_buf(), error };
        let file = match File::open(dir.join("LOCK")) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(DirLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Err(in_use(dir, file)),
            Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

fn in_use(dir: &Path, mut file: File) -> LockError {
    let mut pid = String::new();
    // A number that cannot be read makes the sentence shorter, no more.
    let _ = (&mut file).take(PID_SIZE_MAX).read_to_string(&mut pid);
    LockError::InUse { dir: dir.to_path_buf(), pid: pid.trim().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_refused_with_the_process_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let error = DirLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by another process ({})", std::process::id())), "{error}");
        drop(first);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn who_looks_at_a_directory_keeps_it_from_being_taken_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DirLock::look(dir.path()).unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking made a file");
        let taken = DirLock::take(dir.path()).unwrap();
        assert!(matches!(DirLock::look(dir.path()), Err(LockError::InUse { .. })));
        drop(taken);
        let looking = DirLock::look(dir.path()).unwrap();
        assert!(looking.is_some() && DirLock::look(dir.path()).unwrap().is_some());
        assert!(matches!(DirLock::take(dir.path()), Err(LockError::InUse { .. })));
        drop(looking);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_path_that_is_a_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let error = DirLock::take(&path).unwrap_err().to_string();
        assert!(error.contains("file") && error.contains("cannot use"), "{error}");
    }
}
