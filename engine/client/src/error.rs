//! What can go wrong for a client. The variants tell "not appended" from "not known".

use tantu_base::id::Offset;
use tantu_base::value::DecodeError;

/// Why a request gave no result.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ClientError {
    /// The module has no object of this name.
    #[error("the module {module} has no {kind} `{name}`; it has {known}")]
    Unknown {
        /// Which module.
        module: String,
        /// Depot or PState.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The request is wrong; nothing was done.
    #[error("refused, nothing was done: {0}")]
    Refused(String),
    /// The record is appended and durable, but a topology failed on it the first time; it will be tried again.
    #[error("the record was appended, but its processing failed: {0}")]
    ProcessingFailed(String),
    /// The record is appended and durable, but too much is under way to wait for its processing; it will be processed.
    #[error("the record was appended, but its processing is not waited for: {0}")]
    Throttled(String),
    /// The module is closing; nothing was done.
    #[error("the module is closing; nothing was done")]
    Closing,
    /// The disk is full; nothing was done. Reads go on; appends are taken again within seconds of space returning.
    #[error("nothing was appended: {0}")]
    StorageFull(String),
    /// The module stopped while the request was out: an append may have happened or not.
    #[error("the module stopped before it answered; an append may have happened or not: {0}")]
    Stopped(String),
    /// The read failed.
    #[error("the read failed: {0}")]
    ReadFailed(String),
    /// The query failed; calling it again may help or not.
    #[error("the query failed: {0}")]
    QueryFailed(String),
    /// The query had no result in time.
    #[error("no result in time: {0}")]
    QueryTimedOut(String),
    /// A microbatch topology has not processed that many records in time.
    #[error("the topology {topology} has processed {processed} records after {timeout:?}, not {count}")]
    NotProcessed {
        /// Which topology.
        topology: String,
        /// How many were waited for.
        count: u64,
        /// How many there are.
        processed: u64,
        /// How long was waited.
        timeout: std::time::Duration,
    },
    /// A value is not of the type the handle was made for.
    #[error("the value found is not of the expected type: {0}")]
    Type(#[from] DecodeError),
    /// `select_one` needs exactly one value.
    #[error("the path leads to {count} values, not to exactly one")]
    NotOne {
        /// To how many.
        count: usize,
    },
    /// The range reaches outside the partition: it begins before the first record that was not trimmed, or goes on
    /// after the last.
    #[error("the partition has the offsets from {start} up to {end}, and others were asked for")]
    OutOfRange {
        /// The first offset available.
        start: Offset,
        /// The one after the last.
        end: Offset,
    },
    /// The partition index is out of range.
    #[error("there is no partition {index}: the module has {count}")]
    NoPartition {
        /// What was asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// The path does not start with a key, so it names no partition.
    #[error("a path on a PState with several partitions must start with `key`, or name the partition with `select_on`")]
    NoKey,
}
