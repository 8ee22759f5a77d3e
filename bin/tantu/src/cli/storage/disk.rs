//! A disk that only reads: every request that would change something is refused, whoever makes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskDone, DiskError, DiskFault, DiskOp, DiskReply, FileId, OpenMode, Token};

/// `errno` of a read-only file system.
const READ_ONLY: i32 = 30;
/// `errno` of an error that the operating system gives no number.
const INPUT_OUTPUT: i32 = 5;

/// See the module. Requests are done when they are made: nothing else runs meanwhile.
#[derive(Debug, Default)]
pub(super) struct ReadOnlyDisk {
    files: BTreeMap<FileId, (File, PathBuf)>,
    opened: u32,
    done: Vec<DiskDone>,
}

impl ReadOnlyDisk {
    fn answer(&mut self, op: DiskOp) -> Result<DiskReply, DiskError> {
        match op {
            DiskOp::Open { path, mode: OpenMode::Read } => self.open(path),
            DiskOp::Close { file } => {
                self.files.remove(&file);
                Ok(DiskReply::Done)
            }
            DiskOp::Read { file, offset, buf } => self.read(file, offset, buf),
            DiskOp::List { path } => list(&path),
            // There is nothing to flush. A replay asks for it before it trusts what it has read.
            DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => Ok(DiskReply::Done),
            DiskOp::Open { path, .. } | DiskOp::MakeDir { path } | DiskOp::Remove { path } => Err(refusal(path)),
            DiskOp::Rename { to, .. } => Err(refusal(to)),
            DiskOp::Write { file, .. } | DiskOp::Allocate { file, .. } => Err(refusal(self.path(file))),
        }
    }

    fn path(&self, file: FileId) -> PathBuf {
        self.files.get(&file).map(|(_, path)| path.clone()).unwrap_or_default()
    }

    fn open(&mut self, path: PathBuf) -> Result<DiskReply, DiskError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = opened.map_err(|error| failure("open", &path, None, &error))?;
        self.opened += 1;
        let id = FileId(self.opened);
        self.files.insert(id, (file, path));
        Ok(DiskReply::Opened { file: id, len })
    }

    fn read(&self, file: FileId, offset: u64, mut buf: Buf) -> Result<DiskReply, DiskError> {
        let (file, path) = self.files.get(&file).expect("invariant: a file is read while it is open");
        let mut len = 0;
        while len < buf.len() {
            match file.read_at(&mut buf[len..], offset + len as u64) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure("read", path, Some(offset), &error)),
            }
        }
        Ok(DiskReply::Read { buf, len })
    }
}

impl Disk for ReadOnlyDisk {
    fn submit(&mut self, token: Token, op: DiskOp) {
        let result = self.answer(op);
        self.done.push(DiskDone::new(token, result));
    }

    fn reap(&mut self, done: &mut Vec<DiskDone>) {
        done.append(&mut self.done);
    }

    fn wait(&mut self) {}
}

fn list(path: &Path) -> Result<DiskReply, DiskError> {
    let names = || -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (meta, name) = (entry.metadata()?, entry.file_name());
            if let (true, Ok(name)) = (meta.is_file(), name.into_string()) {
                names.push((name, meta.len()));
            }
        }
        names.sort();
        Ok(names)
    };
    match names() {
        Ok(names) => Ok(DiskReply::Names(names)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DiskReply::Names(Vec::new())),
        Err(error) => Err(failure("list", path, None, &error)),
    }
}

fn refusal(path: PathBuf) -> DiskError {
    DiskError { op: "change", path, offset: None, fault: DiskFault::Os(READ_ONLY) }
}

fn failure(op: &'static str, path: &Path, offset: Option<u64>, error: &io::Error) -> DiskError {
    let fault = match error.kind() {
        io::ErrorKind::NotFound => DiskFault::NotFound,
        _ => DiskFault::Os(error.raw_os_error().unwrap_or(INPUT_OUTPUT)),
    };
    DiskError { op, path: path.to_path_buf(), offset, fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::door::call;

    #[test]
    fn whatever_would_change_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "bytes").unwrap();
        let mut disk = ReadOnlyDisk::default();
        let DiskReply::Opened { file, len: 5 } =
            call(&mut disk, DiskOp::Open { path: path.clone(), mode: OpenMode::Read }).unwrap()
        else {
            panic!("an open answers with the length")
        };
        let new = dir.path().join("new");
        for op in [
            DiskOp::Open { path: path.clone(), mode: OpenMode::ReadWrite },
            DiskOp::Open { path: new.clone(), mode: OpenMode::Create },
            DiskOp::Write { file, offset: 0, buf: Buf::zeroed(4096), durable: false },
            DiskOp::Allocate { file, len: 9 },
            DiskOp::Rename { from: path.clone(), to: new.clone() },
            DiskOp::Remove { path: path.clone() },
            DiskOp::MakeDir { path: new.clone() },
        ] {
            let text = format!("{op:?}");
            let refused = call(&mut disk, op).unwrap_err();
            assert_eq!(refused.fault, DiskFault::Os(READ_ONLY), "{text}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        assert!(!new.exists());
        let DiskReply::Read { buf, len: 5 } =
            call(&mut disk, DiskOp::Read { file, offset: 0, buf: Buf::zeroed(4096) }).unwrap()
        else {
            panic!("a read ends with the file")
        };
        assert_eq!(&buf[..5], b"bytes");
    }
}
