//! Buffers one evaluation after the other reuses, so that the common ones allocate nothing.

use crate::gather::Rows;

/// Buffers for evaluations over a store; keep one per task thread. What it holds between calls means nothing.
#[derive(Default, Debug)]
pub struct Scratch {
    /// The key form being looked up.
    pub(crate) key: Vec<u8>,
    /// The stored value as read.
    pub(crate) value: Vec<u8>,
    /// The value being written or handed out.
    pub(crate) out: Vec<u8>,
    /// An argument's value form.
    pub(crate) arg: Vec<u8>,
    /// Entries gathered before any closure runs.
    pub(crate) rows: Rows,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Scratch {
        Scratch::default()
    }
}
