//! The raw loop of group commits with the records made on the core that commits them: no ring between threads and no
//! other thread. The core asks its disk ring for the completion until it is there, or sleeps until the kernel wakes it:
//! which is faster depends on what else wants the core. What is left is the disk.

use crate::bound::{ALIGN, FILE_SIZE, GROUP_SIZE_MAX, prewritten};
use crate::error::BenchError;
use crate::load::{self, Load, Loaded};
use std::path::Path;
use std::time::Instant;
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskOp, DiskReply, FileId, OpenMode, Token, call};
use tantu_doors::KernelDisk;

/// Makes the file of a core, before the load begins.
pub(crate) fn prepare(path: &Path) -> Result<(), BenchError> {
    prewritten(path).map(drop)
}

/// How a core waits for its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waiting {
    Polls,
    Sleeps,
}

/// Groups of records, one at a time on the disk.
struct Groups {
    waiting: Waiting,
    disk: KernelDisk,
    file: FileId,
    at: u64,
    group: Buf,
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Wrong(format!("the bound's disk ring: {error}"))
}

impl Groups {
    fn open(path: &Path, waiting: Waiting) -> Result<Self, BenchError> {
        let mut disk = KernelDisk::new(None).map_err(BenchError::io("making a disk ring"))?;
        let open = DiskOp::Open { path: path.to_path_buf(), mode: OpenMode::ReadWrite };
        match call(&mut disk, open).map_err(failed)? {
            DiskReply::Opened { file, .. } => {
                Ok(Self { waiting, disk, file, at: 0, group: Buf::with_capacity(GROUP_SIZE_MAX) })
            }
            reply => Err(failed(format!("{reply:?} for an open"))),
        }
    }

    fn push(&mut self, record: &[u8]) {
        self.group.extend(&(record.len() as u32).to_le_bytes());
        self.group.extend(record);
    }

    fn is_full(&self) -> bool {
        self.group.len() >= GROUP_SIZE_MAX / 2
    }

    /// Makes the group durable.
    fn commit(&mut self) -> Result<(), BenchError> {
        self.group.pad_to(ALIGN);
        let size = self.group.len() as u64;
        if self.at + size > FILE_SIZE as u64 {
            self.at = 0;
        }
        let buf = std::mem::replace(&mut self.group, Buf::with_capacity(0));
        let write = DiskOp::Write { file: self.file, offset: self.at, buf, durable: true };
        self.disk.submit(Token { owner: 0, tag: 0 }, write);
        let mut done = Vec::new();
        while done.is_empty() {
            match self.waiting {
                Waiting::Polls => std::hint::spin_loop(),
                Waiting::Sleeps => self.disk.wait(),
            }
            self.disk.reap(&mut done);
        }
        match done.remove(0).result.map_err(failed)? {
            DiskReply::Written(buf) => self.group = buf,
            reply => return Err(failed(format!("{reply:?} for a write"))),
        }
        self.at += size;
        self.group.clear();
        Ok(())
    }
}

/// One owning core of so many: it makes its share of what all producers have in flight, commits it, and begins anew.
pub(crate) fn own(path: &Path, waiting: Waiting, load: &Load, core: usize, cores: usize) -> Result<Loaded, BenchError> {
    // The ring belongs to the thread that makes it.
    let mut groups = Groups::open(path, waiting)?;
    let in_flight = load.clients * load.in_flight;
    // Shares differ by one at most; a core without one has nothing to do.
    let share = in_flight / cores + usize::from(core < in_flight % cores);
    let mut loaded = Loaded::new(load);
    let mut starts: Vec<Instant> = Vec::with_capacity(share);
    let mut pace = load.pace.pace(cores.min(in_flight), core as u64, load.began);
    loop {
        let now = Instant::now();
        if share == 0 || now >= load.to {
            let unsent = if share == 0 { 0 } else { load::unsent(&mut pace, load.to) };
            return Ok(Loaded { unsent, ..loaded });
        }
        while starts.len() < share
            && !groups.is_full()
            && let Some(start) = pace.due(now)
        {
            groups.push(&load.record);
            starts.push(start);
            loaded.sent += 1;
        }
        if starts.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        groups.commit()?;
        let done = Instant::now();
        for start in starts.drain(..).filter(|start| *start >= load.from) {
            loaded.latencies.record(start, done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::short_load;

    #[test]
    fn each_owning_core_commits_its_share_and_one_without_a_share_ends_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (core, waiting) in
            [Waiting::Polls, Waiting::Sleeps, Waiting::Polls, Waiting::Sleeps].into_iter().enumerate()
        {
            let path = dir.path().join(format!("core-{core}"));
            prepare(&path).expect("the file is made");
            // A load is a stretch of time from when it is made, so every try has its own. On a busy machine nothing
            // may end within the half of it that counts.
            let run = || own(&path, waiting, &short_load(1, 3, None), core, 4).expect("it commits");
            let counted = |run: &Loaded| !run.latencies.all().is_empty();
            let tries = if core < 3 { 100 } else { 1 };
            let Loaded { latencies, sent, .. } = (0..tries)
                .map(|_| run())
                .find(|run| core == 3 || counted(run))
                .expect("records end in one of the tries");
            assert_eq!((sent > 0, !latencies.all().is_empty()), (core < 3, core < 3), "core {core}: {sent}");
            let bytes = std::fs::read(&path).expect("the file is there");
            assert_eq!(bytes[..5] == [100, 0, 0, 0, b'r'], core < 3, "the record is in the file, or none is");
        }
    }
}
