//! The replication log: [`seglog`] keeps the entries on disk (segments, group commit, torn-tail recovery, recycling).
//!
//! With one replica an entry is committed when it is durable here; who counts the acks of followers comes with them.

pub mod seglog;

use std::fmt;

/// The number of a log entry: dense, from 0, never reused for other bytes. Where it stands for an end
/// it is exclusive: everything below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The entry after this one.
    #[must_use]
    pub const fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.0)
    }
}
