//! A request as the kernel gets it, and what its completions make of it.
#![allow(unsafe_code, reason = "a borrowed descriptor; the block states why it stays open")]

use super::BULK_PART_SIZE;
use super::durable::Flush;
use io_uring::{opcode, squeue, types};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tantu_base::buf::Buf;
use tantu_base::door::{DiskError, DiskFault, FileId, Token};

static WARNED: AtomicBool = AtomicBool::new(false);

/// What is asked of the kernel.
#[derive(Debug)]
pub(super) enum Kind {
    Read,
    Write {
        /// How it is made durable, if it is to be.
        flush: Option<Flush>,
    },
    Sync,
    SyncDir {
        /// Stays open meanwhile.
        _dir: OwnedFd,
        path: PathBuf,
    },
    Allocate {
        len: u64,
    },
    Open {
        path: PathBuf,
        name: CString,
        flags: OFlags,
    },
    Close,
    Rename {
        path: PathBuf,
        from: CString,
        to: CString,
    },
    Remove {
        path: PathBuf,
        name: CString,
    },
}

impl Kind {
    /// What it does, for errors.
    fn verb(&self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write { .. } => "write",
            Kind::Sync | Kind::SyncDir { .. } => "flush",
            Kind::Allocate { .. } => "allocate",
            Kind::Open { .. } => "open",
            Kind::Close => "close",
            Kind::Rename { .. } => "rename",
            Kind::Remove { .. } => "remove",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) token: Token,
    pub(super) kind: Kind,
    pub(super) fd: RawFd,
    pub(super) file: FileId,
    pub(super) offset: u64,
    pub(super) buf: Buf,
    /// Bytes done so far: the kernel may do a part only.
    pub(super) done: usize,
    /// Completions of what was submitted that have not come.
    parts: u8,
    result: i32,
    flushed: i32,
}

/// Which of a request's completions it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// What was asked.
    Main,
    /// The flush behind a write.
    Flush,
}

/// What follows a completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// Another completion.
    Wait,
    /// What is left has to be submitted.
    Again,
    /// It is done, with what the kernel answered.
    Done(i32),
    /// It failed.
    Failed(Errno),
}

impl Request {
    pub(super) fn new(token: Token, kind: Kind, fd: RawFd, file: FileId, offset: u64, buf: Buf) -> Self {
        Self { token, kind, fd, file, offset, buf, done: 0, parts: 0, result: 0, flushed: 0 }
    }

    /// Whether nobody waits for it: a write that is not to be durable.
    pub(super) fn is_bulk(&self) -> bool {
        matches!(self.kind, Kind::Write { flush: None })
    }

    pub(super) fn is_durable_write(&self) -> bool {
        matches!(self.kind, Kind::Write { flush: Some(_) })
    }

    /// Whether what failed is a flush.
    pub(super) fn is_flush(&self) -> bool {
        matches!(self.kind, Kind::Sync) || self.has_written_only()
    }

    /// Whether the write succeeded, and not the flush behind it.
    fn has_written_only(&self) -> bool {
        self.result >= 0 && self.flushed < 0
    }

    /// What failed, for errors.
    pub(super) fn verb(&self) -> &'static str {
        if self.has_written_only() { "flush" } else { self.kind.verb() }
    }

    /// Takes a completion.
    pub(super) fn complete(&mut self, part: Part, result: i32) -> After {
        match part {
            Part::Main => self.result = result,
            Part::Flush => self.flushed = result,
        }
        self.parts -= 1;
        if self.parts > 0 {
            return After::Wait;
        }
        match self.end(self.result) {
            // Its flush was called off, as that of a write that failed.
            None => After::Again,
            Some(Err(errno)) => After::Failed(errno),
            Some(Ok(())) => match -self.flushed {
                ..=0 => After::Done(self.result),
                // Whether the kernel flushed is not known: all of it again, which changes nothing.
                libc::EINTR | libc::EAGAIN | libc::ECANCELED => {
                    self.done = 0;
                    After::Again
                }
                errno => After::Failed(Errno::from_raw_os_error(errno)),
            },
        }
    }

    /// How it ended; none if it has to be submitted again, for what is left of it.
    fn end(&mut self, result: i32) -> Option<Result<(), Errno>> {
        match (&mut self.kind, result) {
            (_, error) if matches!(-error, libc::EINTR | libc::EAGAIN) => None,
            (Kind::Open { flags, path, .. }, error) if error == -libc::EINVAL && flags.contains(OFlags::DIRECT) => {
                if !WARNED.swap(true, Ordering::Relaxed) {
                    tracing::warn!(path = %path.display(), "the file system does not support O_DIRECT: using buffered writes");
                }
                // A refused creation may have left the file.
                *flags -= OFlags::DIRECT | OFlags::EXCL;
                None
            }
            // A file system that gives no space ahead gives it with the writes.
            (Kind::Allocate { len }, error) if error == -libc::EOPNOTSUPP => {
                // SAFETY: the file stays open as long as the caller has requests on it.
                let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
                Some(rustix::fs::ftruncate(fd, *len))
            }
            (_, error) if error < 0 => Some(Err(Errno::from_raw_os_error(-error))),
            (Kind::Write { .. }, 0) => Some(Err(Errno::IO)),
            (Kind::Read | Kind::Write { .. }, count) if count > 0 => {
                self.done += count as usize;
                // Direct reads of a short tail cannot go on from an unaligned place: it is the end of the file.
                let at_end =
                    matches!(self.kind, Kind::Read) && !self.done.is_multiple_of(tantu_base::limit::SECTOR_SIZE);
                (self.done >= self.buf.len() || at_end).then_some(Ok(()))
            }
            _ => Some(Ok(())),
        }
    }

    /// What is left of it to do; and the flush behind it, which starts when that is done.
    pub(super) fn entries(&mut self) -> (squeue::Entry, Option<squeue::Entry>) {
        let entry = self.entry();
        (self.result, self.flushed, self.parts) = (0, 0, 1);
        if !matches!(self.kind, Kind::Write { flush: Some(Flush::Behind) }) {
            return (entry, None);
        }
        self.parts = 2;
        let flush = opcode::Fsync::new(types::Fd(self.fd)).flags(types::FsyncFlags::DATASYNC).build();
        (entry.flags(squeue::Flags::IO_LINK), Some(flush))
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd);
        let offset = self.offset + self.done as u64;
        let part_max = if self.is_bulk() { BULK_PART_SIZE } else { usize::MAX };
        let rest = &mut self.buf[self.done..];
        let (ptr, len) = (rest.as_mut_ptr(), rest.len().min(part_max) as u32);
        match &self.kind {
            Kind::Read => opcode::Read::new(fd, ptr, len).offset(offset).build(),
            Kind::Write { flush } => {
                let flags = if *flush == Some(Flush::Through) { libc::RWF_DSYNC } else { 0 };
                opcode::Write::new(fd, ptr, len).offset(offset).rw_flags(flags).build()
            }
            Kind::Sync => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Kind::SyncDir { .. } => opcode::Fsync::new(fd).build(),
            Kind::Allocate { len } => opcode::Fallocate::new(fd, *len).build(),
            Kind::Open { name, flags, .. } => {
                let permissions = Mode::RUSR | Mode::WUSR;
                opcode::OpenAt::new(fd, name.as_ptr()).flags(flags.bits() as i32).mode(permissions.bits()).build()
            }
            // The last close of a removed file gives its blocks back, which a worker of the kernel has to wait for, not the
            // core.
            Kind::Close => opcode::Close::new(fd).build().flags(squeue::Flags::ASYNC),
            Kind::Rename { from, to, .. } => opcode::RenameAt::new(fd, from.as_ptr(), fd, to.as_ptr()).build(),
            Kind::Remove { name, .. } => opcode::UnlinkAt::new(fd, name.as_ptr()).build(),
        }
    }
}

/// A path as the kernel reads it.
pub(super) fn name_of(path: &Path, verb: &'static str) -> Result<CString, DiskError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| disk_error(verb, path.to_path_buf(), None, Errno::INVAL))
}

pub(super) fn disk_error(op: &'static str, path: PathBuf, offset: Option<u64>, errno: Errno) -> DiskError {
    let fault = match errno {
        Errno::NOENT => DiskFault::NotFound,
        Errno::EXIST => DiskFault::Exists,
        Errno::NOSPC | Errno::DQUOT => DiskFault::Full,
        other => DiskFault::Os(other.raw_os_error()),
    };
    DiskError { op, path, offset, fault }
}
