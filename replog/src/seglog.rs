//! A segmented log on disk: group commit, torn-tail recovery, recycled segments.

mod error;

pub use error::{CloseError, OpenError, Poisoned, VisitError};

use crate::Lsn;
use std::path::Path;
use tantu_base::door::{Disk, DiskDone, Entropy};
use tantu_base::id::Epoch;
use tantu_base::limit::FRAME_SIZE_MAX;

/// Longest body of one entry, in bytes.
pub const ENTRY_SIZE_MAX: usize = FRAME_SIZE_MAX;
/// Longest `base` blob of a segment header, in bytes.
pub const BASE_SIZE_MAX: usize = 2048;

/// Whose log it is. It goes into every checksum, so a file of another group never passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The task group.
    pub group: u32,
}

/// How a log is laid out and driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegLogOptions {
    /// Bytes of a segment file, a multiple of the block alignment.
    pub segment_size: u64,
    /// A group is written when it holds this many bytes, or earlier; one larger entry makes a larger group.
    pub group_size_max: usize,
    /// Group writes that may be out at the same time.
    pub flushes_in_flight_max: usize,
    /// Released segments kept for recycling.
    pub spare_count_max: usize,
    /// The first entry the caller still needs. Open fails with [`OpenError::Missing`] if the log begins after
    /// it or ends before it; entries before it are checked but not visited.
    pub expect_first: Option<Lsn>,
}

impl Default for SegLogOptions {
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            group_size_max: 1 << 20,
            flushes_in_flight_max: 4,
            spare_count_max: 3,
            expect_first: None,
        }
    }
}

/// One entry, as replay shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// What was appended.
    pub body: &'a [u8],
}

/// Whether the log can take more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogState {
    /// Yes.
    Ready,
    /// There is no space for a further segment. What is durable stays so; entries wait until a segment is
    /// released, or until [`SegLog::try_again`] finds space.
    Full,
    /// A write or flush failed: nothing becomes durable any more.
    Poisoned,
}

/// What open found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// First entry on disk.
    pub first: Lsn,
    /// One past the last entry on disk.
    pub end: Lsn,
    /// Highest epoch ever written.
    pub epoch: Epoch,
    /// The base given when the oldest segment on disk began.
    pub base: Vec<u8>,
    /// Segments on disk.
    pub segment_count: usize,
    /// Recognisable bytes of groups that were being written at the crash and were dropped.
    pub torn_size: u64,
}

/// A segmented log.
#[derive(Debug)]
pub struct SegLog {
    opened: Opened,
}

impl SegLog {
    /// Opens or creates a log. Blocking.
    ///
    /// # Errors
    /// See [`OpenError`]; unless it is a disk error nothing was modified.
    #[allow(
        clippy::too_many_arguments,
        reason = "every one is needed once, at start"
    )]
    pub fn open(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        id: LogIdentity,
        entropy: &mut dyn Entropy,
        options: SegLogOptions,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), VisitError>,
    ) -> Result<SegLog, OpenError> {
        let _ = (disk, dir, owner, id, entropy, options, visit);
        Ok(SegLog {
            opened: Opened::default(),
        })
    }

    /// What open found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Takes an entry into the next group. It is durable when [`SegLog::durable`] is past its number.
    pub fn append(&mut self, epoch: Epoch, body: &[&[u8]]) -> Lsn {
        let _ = (epoch, body);
        Lsn(0)
    }

    /// Facts that go into the header of every segment begun from here on.
    pub fn set_base(&mut self, base: &[u8]) {
        let _ = base;
    }

    /// Starts group writes and the upkeep of segments.
    pub fn pump(&mut self, disk: &mut dyn Disk) {
        let _ = disk;
    }

    /// Takes a completion of one of its own tokens.
    ///
    /// # Errors
    /// The first failure, from then on.
    pub fn complete(&mut self, done: DiskDone, disk: &mut dyn Disk) -> Result<(), Poisoned> {
        let _ = (done, disk);
        Ok(())
    }

    /// Every entry below is flushed.
    pub fn durable(&self) -> Lsn {
        Lsn(0)
    }

    /// Number of the next entry.
    pub fn end(&self) -> Lsn {
        Lsn(0)
    }

    /// First entry still kept.
    pub fn first(&self) -> Lsn {
        Lsn(0)
    }

    /// Gives up the entries below: whole segments are recycled or removed.
    pub fn release(&mut self, low_water: Lsn, disk: &mut dyn Disk) {
        let _ = (low_water, disk);
    }

    /// Bytes a replay would read.
    pub fn retained_size(&self) -> u64 {
        0
    }

    /// Bytes of entries not yet durable.
    pub fn pending_size(&self) -> usize {
        0
    }

    /// Whether it can take more.
    pub fn state(&self) -> LogState {
        LogState::Ready
    }

    /// Looks for space again after [`LogState::Full`].
    pub fn try_again(&mut self, disk: &mut dyn Disk) {
        let _ = disk;
    }

    /// Writes a small marker if the last group has none after it.
    pub fn idle(&mut self, disk: &mut dyn Disk) {
        let _ = disk;
    }

    /// Flushes, and leaves a marker. Blocking; nothing else may be outstanding on the disk. If everything
    /// was released, one small file stays.
    ///
    /// # Errors
    /// If the log is poisoned, or a request fails.
    pub fn close(self, disk: &mut dyn Disk) -> Result<(), CloseError> {
        let _ = disk;
        Ok(())
    }
}
