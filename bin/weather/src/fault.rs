//! What may go wrong with a disk request: rates, and faults planned for one certain request.

use std::collections::BTreeMap;
use std::ops::Range;
use tantu_base::door::DiskOp;

/// The kinds of requests, to plan faults by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpKind {
    /// [`DiskOp::Open`].
    Open,
    /// [`DiskOp::Close`].
    Close,
    /// [`DiskOp::Read`].
    Read,
    /// [`DiskOp::Write`], durable or not.
    Write,
    /// [`DiskOp::Sync`].
    Sync,
    /// [`DiskOp::Allocate`].
    Allocate,
    /// [`DiskOp::Rename`].
    Rename,
    /// [`DiskOp::Remove`].
    Remove,
    /// [`DiskOp::MakeDir`].
    MakeDir,
    /// [`DiskOp::List`].
    List,
    /// [`DiskOp::SyncDir`].
    SyncDir,
}

impl OpKind {
    /// Every kind.
    pub const ALL: [OpKind; 11] = [
        OpKind::Open,
        OpKind::Close,
        OpKind::Read,
        OpKind::Write,
        OpKind::Sync,
        OpKind::Allocate,
        OpKind::Rename,
        OpKind::Remove,
        OpKind::MakeDir,
        OpKind::List,
        OpKind::SyncDir,
    ];

    /// The kind of a request.
    pub fn of(op: &DiskOp) -> Self {
        match op {
            DiskOp::Open { .. } => OpKind::Open,
            DiskOp::Close { .. } => OpKind::Close,
            DiskOp::Read { .. } => OpKind::Read,
            DiskOp::Write { .. } => OpKind::Write,
            DiskOp::Sync { .. } => OpKind::Sync,
            DiskOp::Allocate { .. } => OpKind::Allocate,
            DiskOp::Rename { .. } => OpKind::Rename,
            DiskOp::Remove { .. } => OpKind::Remove,
            DiskOp::MakeDir { .. } => OpKind::MakeDir,
            DiskOp::List { .. } => OpKind::List,
            DiskOp::SyncDir { .. } => OpKind::SyncDir,
        }
    }

    /// The word of error texts, as in "cannot write …".
    pub fn verb(self) -> &'static str {
        match self {
            OpKind::Open => "open",
            OpKind::Close => "close",
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::Sync | OpKind::SyncDir => "flush",
            OpKind::Allocate => "allocate",
            OpKind::Rename => "rename",
            OpKind::Remove => "remove",
            OpKind::MakeDir => "make the directory",
            OpKind::List => "list",
        }
    }
}

/// What happens to a request instead of success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The device fails. A failed write may have changed any of its sectors; after a failed flush the drive may have
    /// forgotten any sector that was not durable ([`DiskWeather::page_cache`] says what else may be).
    Eio,
    /// No space left.
    Full,
    /// Refused with this `errno`, without having changed anything.
    Os(i32),
    /// A read gives fewer bytes than asked for, as at the end of a file that lost some. Only for reads.
    Short,
    /// It succeeds, late.
    Slow,
}

/// How a disk behaves while the power is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskWeather {
    /// How long a request takes, drawn evenly.
    pub latency_ns: Range<u64>,
    /// How often a request takes [`DiskWeather::slow_ns`] instead, per million.
    pub slow_ppm: u32,
    /// How long a slow request takes.
    pub slow_ns: Range<u64>,
    /// Reads that fail, per million.
    pub eio_read_ppm: u32,
    /// Writes that fail, per million.
    pub eio_write_ppm: u32,
    /// Flushes of files and directories that fail, per million.
    pub eio_flush_ppm: u32,
    /// Bytes that fit, if there is a limit; every file counts in whole blocks.
    pub capacity: Option<u64>,
    /// Of a hundred unflushed sectors that a power cut catches, those torn inside.
    pub torn_percent: u32,
    /// Files are buffered, as where there is no `O_DIRECT`: what failed to be flushed is read as if it had been
    /// written, even by the next process, and no later flush writes it.
    pub page_cache: bool,
    /// A promise broken, to see that a test notices: flushed writes and flushes of files make nothing durable.
    pub lies_about_flushes: bool,
    /// A promise broken: flushes of directories make no name durable.
    pub lies_about_names: bool,
}

impl Default for DiskWeather {
    /// No faults, and completions in any order.
    fn default() -> Self {
        Self {
            latency_ns: 5_000..200_000,
            slow_ppm: 0,
            slow_ns: 50_000_000..2_000_000_000,
            eio_read_ppm: 0,
            eio_write_ppm: 0,
            eio_flush_ppm: 0,
            capacity: None,
            torn_percent: 4,
            page_cache: false,
            lies_about_flushes: false,
            lies_about_names: false,
        }
    }
}

impl DiskWeather {
    /// The rate of device failures of a kind, per million.
    pub(crate) fn eio_ppm(&self, kind: OpKind) -> u32 {
        match kind {
            OpKind::Read => self.eio_read_ppm,
            OpKind::Write => self.eio_write_ppm,
            OpKind::Sync | OpKind::SyncDir => self.eio_flush_ppm,
            _ => 0,
        }
    }
}

/// Faults planned for certain requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    seen: BTreeMap<OpKind, u64>,
    once: BTreeMap<(OpKind, u64), Fault>,
    /// From which request of the kind on.
    sticky: BTreeMap<OpKind, (u64, Fault)>,
}

impl Plan {
    pub(crate) fn fail_nth(&mut self, kind: OpKind, index: u64, fault: Fault) {
        let seen = self.seen(kind);
        self.once.insert((kind, seen + index), fault);
    }

    pub(crate) fn fail_from(&mut self, kind: OpKind, index: u64, fault: Fault) {
        self.sticky.insert(kind, (self.seen(kind) + index, fault));
    }

    pub(crate) fn heal(&mut self, kind: OpKind) {
        self.sticky.remove(&kind);
    }

    /// Counts a request and says what was planned for it.
    pub(crate) fn next(&mut self, kind: OpKind) -> Option<Fault> {
        let seen = self.seen.entry(kind).or_default();
        let planned = self.once.remove(&(kind, *seen));
        *seen += 1;
        let begun = self.sticky.get(&kind).filter(|(from, _)| *from < *seen);
        planned.or_else(|| begun.map(|(_, fault)| *fault))
    }

    pub(crate) fn seen(&self, kind: OpKind) -> u64 {
        self.seen.get(&kind).copied().unwrap_or_default()
    }

    pub(crate) fn outstanding(&self) -> usize {
        let waiting = self.sticky.iter().filter(|(kind, (from, _))| self.seen(**kind) <= *from);
        self.once.len() + waiting.count()
    }
}
