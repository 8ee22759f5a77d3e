//! What can go wrong with a log, one closed enum per operation.

use crate::Lsn;
use std::path::PathBuf;
use tantu_base::door::DiskError;

/// Why a log could not be opened. Except after [`OpenError::Disk`] nothing on disk was modified.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were durable are not what was written.
    #[error("the log segment {} is corrupt at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Entries or files that must be there are not.
    #[error("the log in {} lacks {what}: needed from {needed}, found {first} to before {end}", dir.display())]
    Missing {
        /// The log's directory.
        dir: PathBuf,
        /// What is not there.
        what: &'static str,
        /// First entry needed.
        needed: Lsn,
        /// First entry found.
        first: Lsn,
        /// One past the last entry found.
        end: Lsn,
    },
    /// A newer program wrote this.
    #[error("the log segment {} has format version {version}, this program knows up to {known}", path.display())]
    Unsupported {
        /// The segment file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The reader of the entries refused one.
    #[error("{lsn} in the log segment {} at byte {offset} was refused: {error}", path.display())]
    Visit {
        /// The segment file.
        path: PathBuf,
        /// Where its group begins.
        offset: u64,
        /// Which entry.
        lsn: Lsn,
        /// Why.
        error: VisitError,
    },
}

/// Why the reader of replayed entries stops the replay.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct VisitError(pub String);

/// The log met a failed write or flush: what was durable stays so, nothing more becomes so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log stopped: {error}")]
pub struct Poisoned {
    /// The first failure.
    pub error: DiskError,
}
