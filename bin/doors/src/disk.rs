//! The disk of one core: its own io_uring.
//!
//! Everything that may take the kernel long goes through the ring: reads, writes and flushes, and as well opening, closing,
//! renaming and removing files and giving them space, any of which can wait for the file system for tens of milliseconds.
//! Only directories are made and listed inline, when a module starts. A buffer is owned by the request table until its
//! completion, as are names. Files are opened with `O_DIRECT`; where the file system refuses, buffered with a warning.
//! How a write is made durable depends on the device: see [`durable`].
#![allow(unsafe_code, reason = "submitting requests to the kernel; every block states why the memory stays valid")]

mod dirs;
mod durable;
mod request;

pub use dirs::make_dirs;

use crate::calls;
use durable::{Devices, Flush};
use io_uring::{IoUring, opcode, types};
use request::{After, Kind, Part, Request, disk_error, name_of};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::door::{
    Disk, DiskDone, DiskError, DiskFault, DiskOp, DiskReply, DiskRoom, FileId, Nanos, OpenMode, Token,
};

/// Writes that nobody waits for (those that are not to be durable) go in parts of so many bytes,
const BULK_PART_SIZE: usize = 128 << 10;
/// and so many parts at a time: a durable write waits behind no more of them than these.
const BULK_COUNT_MAX: usize = 2;
/// Entries of the submission ring. More requests than that wait in memory.
const RING_ENTRY_COUNT: u32 = 256;
/// What the alarm's completion carries instead of a request's place.
const ALARM: u64 = u64::MAX;
/// What a ring of the bell carries.
const BELL: u64 = u64::MAX - 1;
/// What the completion of a flush behind a write carries besides the request's place.
const FLUSH: u64 = 1 << 63;

/// What a disk has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskStats {
    /// Requests that went through the ring.
    pub ring_requests: u64,
    /// System calls that entered the ring.
    pub enters: u64,
    /// Bytes written.
    pub written_size: u64,
    /// Bytes read.
    pub read_size: u64,
}

/// An open file.
#[derive(Debug)]
struct Opened {
    fd: OwnedFd,
    path: PathBuf,
    flush: Flush,
    /// A flush of it failed, which the kernel tells once: none that follows can say that everything is there.
    flush_failed: Option<Errno>,
}

impl Opened {
    fn can_flush(&self) -> Result<(), DiskError> {
        let failed = |errno| Err(disk_error("flush", self.path.clone(), None, errno));
        self.flush_failed.map_or(Ok(()), failed)
    }
}

/// See the module.
pub struct KernelDisk {
    ring: IoUring,
    files: BTreeMap<u32, Opened>,
    next_file: u32,
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
    waiting: VecDeque<usize>,
    /// Writes that nobody waits for, and how many of them are out.
    bulk: VecDeque<usize>,
    bulk_count: usize,
    finished: Vec<DiskDone>,
    in_flight: usize,
    /// Those of them that are writes to be made durable.
    durable_count: usize,
    devices: Devices,
    unsubmitted: usize,
    direct: bool,
    stats: DiskStats,
    alarm: Option<(Nanos, Box<types::Timespec>)>,
    bell: Option<RawFd>,
    /// Whether the ring watches the bell.
    listens: bool,
}

impl std::fmt::Debug for KernelDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KernelDisk({} files, {} requests)", self.files.len(), self.in_flight)
    }
}

impl KernelDisk {
    /// A disk. `bell` is an eventfd that stays open as long as the disk and ends its sleeps.
    ///
    /// # Errors
    /// What `io_uring_setup` answers.
    pub fn new(bell: Option<RawFd>) -> std::io::Result<Self> {
        let ring = match IoUring::builder().setup_single_issuer().build(RING_ENTRY_COUNT) {
            // Kernels before 6.0 do not know the flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(RING_ENTRY_COUNT)?,
            other => other?,
        };
        Ok(Self {
            ring,
            files: BTreeMap::new(),
            next_file: 0,
            requests: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            bulk: VecDeque::new(),
            bulk_count: 0,
            durable_count: 0,
            finished: Vec::new(),
            in_flight: 0,
            devices: Devices::default(),
            unsubmitted: 0,
            direct: true,
            stats: DiskStats::default(),
            alarm: None,
            bell,
            listens: false,
        })
    }

    /// Uses buffered files, as on a file system without `O_DIRECT`.
    pub fn buffered(mut self) -> Self {
        self.direct = false;
        self
    }

    /// What it has done.
    pub fn stats(&self) -> DiskStats {
        self.stats
    }

    /// What happens at once: nothing that can wait for the disk while records are processed.
    fn inline(&mut self, op: DiskOp) -> (&'static str, Result<DiskReply, (Errno, PathBuf)>) {
        match op {
            DiskOp::MakeDir { path } => {
                ("make the directory", dirs::make_dir(&path).map(|()| DiskReply::Done).map_err(|errno| (errno, path)))
            }
            DiskOp::List { path } => ("list", dirs::list(&path).map(DiskReply::Names).map_err(|errno| (errno, path))),
            _ => unreachable!("everything else goes through the ring"),
        }
    }

    /// The request of an operation, unless it failed already.
    fn request(&mut self, token: Token, op: DiskOp) -> Result<Request, DiskError> {
        let raw =
            |disk: &Self, file: FileId| disk.files.get(&file.0).expect("invariant: the file is open").fd.as_raw_fd();
        let (no_file, mut data) = (FileId(u32::MAX), None);
        let (kind, fd, file) = match op {
            DiskOp::Read { file, offset, buf } => {
                data = Some((offset, buf));
                (Kind::Read, raw(self, file), file)
            }
            DiskOp::Write { file, offset, buf, durable } => {
                data = Some((offset, buf));
                let opened = self.files.get(&file.0).expect("invariant: the file is open");
                if durable {
                    opened.can_flush()?;
                }
                (Kind::Write { flush: durable.then_some(opened.flush) }, opened.fd.as_raw_fd(), file)
            }
            DiskOp::Sync { file } => {
                self.files.get(&file.0).expect("invariant: the file is open").can_flush()?;
                (Kind::Sync, raw(self, file), file)
            }
            DiskOp::Allocate { file, len } => (Kind::Allocate { len }, raw(self, file), file),
            DiskOp::Close { file } => {
                // The number is free at once; the kernel gets the descriptor.
                let fd = self.files.remove(&file.0).map_or(-1, |opened| opened.fd.into_raw_fd());
                (Kind::Close, fd, file)
            }
            DiskOp::Open { path, mode } => {
                let flags = match mode {
                    OpenMode::Read => OFlags::RDONLY,
                    OpenMode::ReadWrite => OFlags::RDWR,
                    OpenMode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                };
                let direct = if self.direct { OFlags::DIRECT } else { OFlags::empty() };
                let name = name_of(&path, "open")?;
                (Kind::Open { path, name, flags: flags | OFlags::CLOEXEC | direct }, libc::AT_FDCWD, no_file)
            }
            DiskOp::Rename { from, to } => {
                let kind = Kind::Rename { from: name_of(&from, "rename")?, to: name_of(&to, "rename")?, path: from };
                (kind, libc::AT_FDCWD, no_file)
            }
            DiskOp::Remove { path } => {
                (Kind::Remove { name: name_of(&path, "remove")?, path }, libc::AT_FDCWD, no_file)
            }
            DiskOp::SyncDir { path } => {
                let dir = dirs::open_dir(&path).map_err(|errno| disk_error("flush", path.clone(), None, errno))?;
                let fd = dir.as_raw_fd();
                (Kind::SyncDir { _dir: dir, path }, fd, no_file)
            }
            DiskOp::MakeDir { .. } | DiskOp::List { .. } => unreachable!("done inline"),
        };
        let (offset, buf) = data.unwrap_or_else(|| (0, Buf::with_capacity(0)));
        Ok(Request::new(token, kind, fd, file, offset, buf))
    }

    fn enqueue(&mut self, request: Request) {
        let at = match self.free.pop() {
            Some(at) => {
                self.requests[at] = Some(request);
                at
            }
            None => {
                self.requests.push(Some(request));
                self.requests.len() - 1
            }
        };
        self.in_flight += 1;
        self.durable_count += usize::from(self.is_durable_write(at));
        self.line_up(at);
    }

    /// A request waits for the ring.
    fn line_up(&mut self, at: usize) {
        let request = self.requests[at].as_ref().expect("invariant: a waiting request is in the table");
        if request.is_bulk() { self.bulk.push_back(at) } else { self.waiting.push_back(at) }
    }

    fn is_durable_write(&self, at: usize) -> bool {
        self.requests[at].as_ref().is_some_and(Request::is_durable_write)
    }

    fn push_waiting(&mut self) {
        while let Some(at) = self.waiting.front().copied()
            && self.push_request(at)
        {
            self.waiting.pop_front();
        }
        while self.bulk_count < BULK_COUNT_MAX
            && let Some(at) = self.bulk.front().copied()
            && self.push_request(at)
        {
            self.bulk.pop_front();
            self.bulk_count += 1;
        }
    }

    /// Puts a request into the ring, if there is room.
    fn push_request(&mut self, at: usize) -> bool {
        let request = self.requests[at].as_mut().expect("invariant: a waiting request is in the table");
        let (entry, flush) = request.entries();
        let entry = entry.user_data(at as u64);
        let mut submission = self.ring.submission();
        // SAFETY: buffer and names are owned by the request table, which neither moves their heap memory nor drops them
        // before all completions with this number were reaped; the file stays open as long as the caller has requests on
        // it. Linked entries are pushed together or not at all.
        let pushed = unsafe {
            match &flush {
                None => submission.push(&entry),
                Some(flush) => submission.push_multiple(&[entry, flush.clone().user_data(at as u64 | FLUSH)]),
            }
        };
        drop(submission);
        if pushed.is_ok() {
            self.unsubmitted += 1 + usize::from(flush.is_some());
            self.stats.ring_requests += 1;
        }
        pushed.is_ok()
    }

    fn enter(&mut self, wait_for: usize) {
        loop {
            self.stats.enters += 1;
            calls::count_one();
            match self.ring.submit_and_wait(wait_for) {
                Ok(_) => {
                    self.unsubmitted = 0;
                    return;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // The completion ring is full, or memory is short for a moment: completions make room.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => return,
                Err(error) => panic!("the kernel refused to enter the disk ring: {error}"),
            }
        }
    }

    /// Submits what waits and sleeps until a request is done, the bell rings, or it is `wake_at`; all in one system call.
    pub(crate) fn sleep(&mut self, now: Nanos, wake_at: Option<Nanos>) {
        self.push_waiting();
        if !self.listens
            && let Some(bell) = self.bell
        {
            let entry = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).multi(true).build().user_data(BELL);
            // SAFETY: the entry names no memory, and the bell stays open as long as the disk.
            self.listens = unsafe { self.push(&entry) };
        }
        if let Some(at) = wake_at {
            self.set_alarm(now, at);
        }
        if self.finished.is_empty() && self.ring.completion().is_empty() {
            self.enter(1);
        }
    }

    fn set_alarm(&mut self, now: Nanos, at: Nanos) {
        if self.alarm.as_ref().is_some_and(|(armed, _)| *armed <= at && *armed > now) {
            return;
        }
        if self.unsubmitted > 0 && self.alarm.is_some() {
            // The kernel may not have read the old alarm's time, which is dropped below.
            self.enter(0);
            if self.unsubmitted > 0 {
                // It takes nothing now, so that it does not sleep either.
                return;
            }
        }
        let wait = at.since(now).max(1);
        let time = Box::new(types::Timespec::new().sec(wait / 1_000_000_000).nsec((wait % 1_000_000_000) as u32));
        let entry = opcode::Timeout::new(&*time).build().user_data(ALARM);
        // SAFETY: the kernel copies the time when the entry is submitted, and it is kept until then.
        if unsafe { self.push(&entry) } {
            self.alarm = Some((at, time));
        }
    }

    /// Puts an entry into the ring, making room if there is none.
    ///
    /// # Safety
    /// The memory the entry names stays valid until it was submitted, or completed if the kernel uses it until then.
    unsafe fn push(&mut self, entry: &io_uring::squeue::Entry) -> bool {
        // SAFETY: the caller's promise.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.enter(0);
            // SAFETY: the caller's promise.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                return false;
            }
        }
        self.unsubmitted += 1;
        true
    }

    /// Lets the kernel work for a moment if a durable write is out. It flushes the disk in a thread of its own, for which
    /// this processor may be the only one: that may wait for the end of our time slice, milliseconds, if we do not sleep.
    pub(crate) fn give_way(&mut self) {
        if self.durable_count > 0 && !self.has_done() {
            calls::count_one();
            std::thread::yield_now();
        }
    }

    fn collect(&mut self) {
        loop {
            let Some(entry) = self.ring.completion().next() else { return };
            match entry.user_data() {
                // Of two, the one that is not submitted yet stays: the kernel has still to read its time.
                ALARM if self.unsubmitted > 0 => {}
                ALARM => self.alarm = None,
                BELL => self.listens = io_uring::cqueue::more(entry.flags()),
                at if at & FLUSH != 0 => self.complete((at - FLUSH) as usize, Part::Flush, entry.result()),
                at => self.complete(at as usize, Part::Main, entry.result()),
            }
        }
    }

    fn complete(&mut self, at: usize, part: Part, result: i32) {
        let request = self.requests[at].as_mut().expect("invariant: the kernel completes what was submitted");
        let end = request.complete(part, result);
        self.bulk_count -= usize::from(request.is_bulk());
        let end = match end {
            After::Wait => return,
            After::Again => return self.line_up(at),
            After::Done(result) => Ok(result),
            After::Failed(errno) => Err(errno),
        };
        self.durable_count -= usize::from(self.is_durable_write(at));
        let request = self.requests[at].take().expect("invariant: just seen");
        self.free.push(at);
        self.in_flight -= 1;
        let done = match end {
            Ok(result) => DiskDone::new(request.token, self.succeeded(request, result)),
            Err(errno) => self.failed(request, errno),
        };
        self.finished.push(done);
    }

    fn succeeded(&mut self, request: Request, result: i32) -> Result<DiskReply, DiskError> {
        match request.kind {
            Kind::Read => {
                self.stats.read_size += request.done as u64;
                Ok(DiskReply::Read { len: request.done, buf: request.buf })
            }
            Kind::Write { .. } => {
                self.stats.written_size += request.done as u64;
                Ok(DiskReply::Written(request.buf))
            }
            Kind::Open { path, .. } => {
                // SAFETY: the kernel just made this descriptor for us.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                self.opened(fd, path)
            }
            Kind::Sync
            | Kind::SyncDir { .. }
            | Kind::Allocate { .. }
            | Kind::Close
            | Kind::Rename { .. }
            | Kind::Remove { .. } => Ok(DiskReply::Done),
        }
    }

    fn failed(&mut self, request: Request, errno: Errno) -> DiskDone {
        let verb = request.verb();
        let is_flush = request.is_flush();
        if is_flush && let Some(opened) = self.files.get_mut(&request.file.0) {
            opened.flush_failed = Some(errno);
        }
        let Request { token, kind, file, offset, buf, .. } = request;
        let known = || self.files.get(&file.0).map(|opened| opened.path.clone()).unwrap_or_default();
        let (path, place) = match &kind {
            Kind::Open { path, .. }
            | Kind::Rename { path, .. }
            | Kind::Remove { path, .. }
            | Kind::SyncDir { path, .. } => (path.clone(), None),
            _ => (known(), Some(offset)),
        };
        let error = disk_error(verb, path, place, errno);
        let refused = match kind {
            _ if error.fault != DiskFault::Full => None,
            // The kernel tells of a failed flush once, and forgets what it could not write: there is nothing to try again.
            _ if is_flush => None,
            // All of it again: what was written of it is not counted on.
            Kind::Write { flush } => Some(DiskOp::Write { file, offset, buf, durable: flush.is_some() }),
            Kind::Allocate { len } => Some(DiskOp::Allocate { file, len }),
            Kind::Open { path, flags, .. } if flags.contains(OFlags::CREATE) => {
                Some(DiskOp::Open { path, mode: OpenMode::Create })
            }
            _ => None,
        };
        DiskDone { token, result: Err(error), refused }
    }

    fn opened(&mut self, fd: OwnedFd, path: PathBuf) -> Result<DiskReply, DiskError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| disk_error("open", path.clone(), None, errno))?;
        let file = FileId(self.next_file);
        self.next_file += 1;
        let flush = self.devices.flush(stat.st_dev);
        self.files.insert(file.0, Opened { fd, path, flush, flush_failed: None });
        Ok(DiskReply::Opened { file, len: stat.st_size as u64 })
    }
}

impl Disk for KernelDisk {
    fn submit(&mut self, token: Token, op: DiskOp) {
        match op {
            op @ (DiskOp::MakeDir { .. } | DiskOp::List { .. }) => {
                let (verb, result) = self.inline(op);
                let result = result.map_err(|(errno, path)| disk_error(verb, path, None, errno));
                self.finished.push(DiskDone::new(token, result));
            }
            op => match self.request(token, op) {
                Ok(request) => self.enqueue(request),
                Err(error) => self.finished.push(DiskDone::new(token, Err(error))),
            },
        }
    }

    /// Moves waiting requests into the ring and tells the kernel.
    fn start(&mut self) {
        self.push_waiting();
        if self.unsubmitted > 0 {
            self.enter(0);
        }
    }

    fn has_done(&mut self) -> bool {
        !self.finished.is_empty() || !self.ring.completion().is_empty()
    }

    fn reap(&mut self, done: &mut Vec<DiskDone>) {
        self.start();
        self.collect();
        done.append(&mut self.finished);
    }

    fn wait(&mut self) {
        self.collect();
        while self.finished.is_empty() {
            assert!(self.in_flight > 0, "waiting for a disk that has nothing to do would never end");
            // What waits is submitted by the same system call that sleeps.
            self.push_waiting();
            self.enter(1);
            self.collect();
        }
    }

    fn room(&self, path: &Path) -> Option<DiskRoom> {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(DiskRoom { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }
}

impl Drop for KernelDisk {
    fn drop(&mut self) {
        // The kernel may still write to buffers of requests under way: they are waited for.
        while self.in_flight > 0 {
            self.start();
            self.enter(1);
            self.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::door::call;

    fn exercise(mut disk: KernelDisk) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        call(&mut disk, DiskOp::MakeDir { path: path.parent().unwrap().into() }).unwrap();
        let Ok(DiskReply::Opened { file, len: 0 }) =
            call(&mut disk, DiskOp::Open { path: path.clone(), mode: OpenMode::Create })
        else {
            panic!("a new file")
        };
        let twice = call(&mut disk, DiskOp::Open { path: path.clone(), mode: OpenMode::Create }).unwrap_err();
        assert_eq!(twice.fault, DiskFault::Exists);
        for block in 0..600u64 {
            let buf = Buf::from(&[block as u8; 4096][..]);
            disk.submit(
                Token { owner: 1, tag: block as u32 },
                DiskOp::Write { file, offset: block * 4096, buf, durable: block % 50 == 0 },
            );
        }
        let mut done = Vec::new();
        while done.len() < 600 {
            disk.wait();
            disk.reap(&mut done);
        }
        assert!(done.iter().all(|done| done.result.is_ok()));
        call(&mut disk, DiskOp::Sync { file }).unwrap();
        let Ok(DiskReply::Read { buf, len }) =
            call(&mut disk, DiskOp::Read { file, offset: 599 * 4096, buf: Buf::zeroed(8192) })
        else {
            panic!("a read")
        };
        assert_eq!((len, buf[0]), (4096, 599u32 as u8), "short only at the end of the file");
        let to = path.with_file_name("renamed");
        call(&mut disk, DiskOp::Rename { from: path.clone(), to: to.clone() }).unwrap();
        call(&mut disk, DiskOp::SyncDir { path: to.parent().unwrap().into() }).unwrap();
        let Ok(DiskReply::Names(names)) = call(&mut disk, DiskOp::List { path: to.parent().unwrap().into() }) else {
            panic!("names")
        };
        assert_eq!(names, [("renamed".to_string(), 600 * 4096)]);
        call(&mut disk, DiskOp::Remove { path: to }).unwrap();
        let gone = call(&mut disk, DiskOp::Remove { path: path.clone() }).unwrap_err();
        assert!(gone.to_string().contains("no such file") && gone.to_string().contains("file"), "{gone}");
    }

    #[test]
    fn directories_are_made_with_those_above_them_and_may_be_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("a")).unwrap();
        let mut disk = KernelDisk::new(None).unwrap();
        make_dirs(&mut disk, &[path("a/b/c"), path("a/b/d"), path("a"), path("e")]).unwrap();
        make_dirs(&mut disk, &[path("a/b/c")]).unwrap();
        assert!(["a/b/c", "a/b/d", "e"].iter().all(|name| path(name).is_dir()));
        std::fs::write(path("file"), b"").unwrap();
        let error = make_dirs(&mut disk, &[path("file/below")]).expect_err("a file is no directory");
        assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory);
    }

    #[test]
    fn files_are_made_written_read_listed_renamed_and_removed() {
        exercise(KernelDisk::new(None).unwrap());
    }

    #[test]
    fn a_flush_that_failed_is_not_tried_again_and_no_later_one_of_the_file_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = KernelDisk::new(None).unwrap();
        let path = dir.path().join("file");
        let Ok(DiskReply::Opened { file, .. }) = call(&mut disk, DiskOp::Open { path, mode: OpenMode::Create }) else {
            panic!("a new file")
        };
        let write = || DiskOp::Write { file, offset: 0, buf: Buf::zeroed(4096), durable: true };
        let token = Token { owner: 1, tag: 1 };
        let mut request = disk.request(token, write()).unwrap();
        request.kind = Kind::Write { flush: Some(Flush::Behind) };
        let _ = request.entries();
        assert_eq!(request.complete(Part::Main, 4096), After::Wait);
        let After::Failed(errno) = request.complete(Part::Flush, -libc::ENOSPC) else { panic!("the disk is full") };
        let failed = disk.failed(request, errno);
        assert!(failed.refused.is_none(), "whose pages the kernel dropped is not known");
        assert!(failed.result.unwrap_err().to_string().contains("flush"));
        for op in [write(), DiskOp::Sync { file }] {
            let error = call(&mut disk, op).unwrap_err();
            assert_eq!(error.fault, DiskFault::Full, "{error}");
        }
        assert!(call(&mut disk, DiskOp::Write { file, offset: 0, buf: Buf::zeroed(4096), durable: false }).is_ok());
    }

    #[test]
    fn a_file_system_without_direct_access_is_used_buffered() {
        exercise(KernelDisk::new(None).unwrap().buffered());
    }
}
