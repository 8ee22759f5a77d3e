//! What can go wrong, one closed enum per operation. Every variant names the file, and where in it.

use std::ops::Range;
use std::path::PathBuf;
use tantu_base::door::DiskError;

/// Bytes on the disk are not what was written there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} is corrupt at byte {offset}: {what}", path.display())]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// Where in it the damaged unit starts, in bytes.
    pub offset: u64,
    /// What was found.
    pub what: &'static str,
}

/// A block of a table, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockId {
    /// Number of the table.
    pub table: u64,
    /// Index of the block in it.
    pub block: u32,
}

/// Blocks of a table that lie side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbours {
    /// Number of the table.
    pub table: u64,
    /// The first one.
    pub first: u32,
    /// The first one after them.
    pub end: u32,
}

impl Neighbours {
    /// Whether a block is one of them.
    pub fn hold(&self, id: &BlockId) -> bool {
        id.table == self.table && (self.first..self.end).contains(&id.block)
    }
}

/// Blocks a read cannot go on without. Hand it to [`crate::Tree::fetch`] and read again when they arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    pub(crate) blocks: Vec<BlockId>,
    /// Blocks of the first one's table to be read along with it, and itself; empty if it comes alone.
    pub(crate) along: Range<u32>,
}

impl Need {
    pub(crate) fn of(blocks: Vec<BlockId>) -> Self {
        Self { blocks, along: 0..0 }
    }

    /// The missing blocks; never empty.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }
}

/// Why a read stopped before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Blocks must be read first.
    Need(Need),
    /// A block it needs is damaged.
    Corrupt(Corruption),
}

/// Why a tree could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file is damaged or missing.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// What a finished disk request brought instead of progress.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The disk refused. After a failed write the tree stays readable and its background work halts until
    /// it is opened again; the log has what was not flushed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A block arrived damaged; whoever needs it is told by [`Stop::Corrupt`].
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}
