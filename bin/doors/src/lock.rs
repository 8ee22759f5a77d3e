//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

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
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(LockError::InUse { dir: dir.to_path_buf(), pid: pid.trim().to_string() });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(DirLock { _file: file })
    }
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
    fn a_path_that_is_a_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let error = DirLock::take(&path).unwrap_err().to_string();
        assert!(error.contains("file") && error.contains("cannot use"), "{error}");
    }
}
