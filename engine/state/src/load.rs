//! Reading old records of a depot partition back from its segment files, one chunk at a time.

use crate::depot::Run;
use tantu_base::id::Offset;

/// Where the loading of a partition's old records stands.
#[derive(Debug)]
pub enum Load {
    /// Nobody asked.
    Idle,
    /// Somebody needs the chunk with this offset.
    Wanted(Offset),
    /// It is being read.
    Reading,
    /// The chunk, until another one is asked for.
    Ready {
        /// Its runs, in order of offset.
        runs: Vec<Run>,
    },
}
