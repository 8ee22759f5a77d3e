//! What can go wrong for a client. [`ClientError::outcome`] tells "not appended" from "not known".

use std::time::Duration;
use tantu_base::id::Offset;
use tantu_base::value::DecodeError;

/// What a request that failed has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing: no record was appended by it, and none will be. It may be sent again.
    NotAppended,
    /// The record is appended and durable.
    Appended,
    /// That is not known: a record may have been appended, or may still be. Sent again without a number it may be there twice; a
    /// [`Producer`](crate::Producer) can send it again under its number.
    Unknown,
}

/// What a request that got no answer asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// That a record be appended.
    Append,
    /// Something that changes nothing: a read, the result of a query, offsets.
    Read,
    /// Something of a topology: how far it is, that it pause or go on, a snapshot.
    Topology,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Asked::Append => "an append may have happened or not",
            Asked::Read => "a read changes nothing",
            Asked::Topology => "what was asked for may have been done or not",
        })
    }
}

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
    /// The record is appended and durable, but a topology failed on it. What becomes of it is what the topology's source says: it is
    /// tried again, or dropped, or kept as a dead letter.
    #[error("the record was appended, but its processing failed (its source says if it is tried again): {0}")]
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
    /// The module had stopped before the request was sent; nothing was done.
    #[error("the module had stopped, so nothing was done: {0}")]
    NotRunning(String),
    /// The module stopped while the request was out: an append may have happened or not.
    #[error("the module stopped before it answered; {asked}: {why}")]
    Stopped {
        /// What was asked for.
        asked: Asked,
        /// Why it stopped.
        why: String,
    },
    /// There was no answer in time: an append may have happened, or may still happen, or not.
    #[error("no answer within {timeout:?}; {asked}")]
    TimedOut {
        /// What was asked for.
        asked: Asked,
        /// How long was waited: [`ClientOptions`](crate::ClientOptions).
        timeout: Duration,
    },
    /// A producer that started later under the same name has taken over; this try appended nothing.
    #[error(
        "nothing was appended: a later life of the producer, its epoch {epoch}, has taken over; start a new one with `producer` or \
             `producer_named`"
    )]
    Fenced {
        /// The epoch of the other.
        epoch: u32,
    },
    /// An append with a lower number failed, or was never sent; this try appended nothing.
    #[error("nothing was appended: the append with the number {expected} is next; send that one first")]
    OutOfSequence {
        /// The number that the partition waits for.
        expected: u64,
    },
    /// The partition does not know the producer any more: it was silent for too long, or too many others came. This try appended
    /// nothing; a producer has to start anew.
    #[error(
        "nothing was appended: the partition does not know the producer any more; start a new one with `producer` or `producer_named`"
    )]
    Forgotten,
    /// The record was appended under its number, so long ago that its offset is not known any more.
    #[error("it was appended before, and its offset is not known any more")]
    AppendedBefore,
    /// The read failed.
    #[error("the read failed: {0}")]
    ReadFailed(String),
    /// What was when a microbatch ended is not kept, or not any more.
    #[error("what is to be read is not kept: {0}")]
    NotKept(String),
    /// Too many requests of this kind are under way; nothing was done, and later it may be.
    #[error("nothing was done, too much is under way: {0}")]
    Busy(String),
    /// The query failed; calling it again may help or not.
    #[error("the query failed: {0}")]
    QueryFailed(String),
    /// The query had no result in time.
    #[error("no result in time: {0}")]
    QueryTimedOut(String),
    /// A topology has not processed that many records in time.
    #[error("the topology {topology} has processed {processed} records after {timeout:?}, not {count}{}", behind(why))]
    NotProcessed {
        /// Which topology.
        topology: String,
        /// How many were waited for.
        count: u64,
        /// How many there are.
        processed: u64,
        /// How long was waited.
        timeout: Duration,
        /// Why, of a microbatch topology that is paused or fails; [`Stream::troubles`](crate::Stream::troubles) tells of a stream.
        why: Option<String>,
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
    #[error(
        "a path on a PState with several partitions must start with `key`; `select_on` names the partition, `select_all` asks all"
    )]
    NoKey,
}

/// A reason behind a sentence.
fn behind(why: &Option<String>) -> String {
    why.as_ref().map(|why| format!("; {why}")).unwrap_or_default()
}

impl ClientError {
    /// What the request has done, as far as the client can know. It tells of one try: if a numbered append is sent again and
    /// the second try appended nothing, the first may have all the same. Reads, calls of queries and what is asked of topologies append
    /// nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tantu_client::{Asked, ClientError, Outcome};
    ///
    /// assert_eq!(ClientError::Closing.outcome(), Outcome::NotAppended);
    /// let late = |asked| ClientError::TimedOut { asked, timeout: Duration::from_secs(1) };
    /// assert_eq!(late(Asked::Append).outcome(), Outcome::Unknown);
    /// assert_eq!(late(Asked::Read).outcome(), Outcome::NotAppended);
    /// ```
    pub fn outcome(&self) -> Outcome {
        match self {
            ClientError::Unknown { .. }
            | ClientError::Refused(_)
            | ClientError::Closing
            | ClientError::StorageFull(_)
            | ClientError::NotRunning(_)
            | ClientError::Fenced { .. }
            | ClientError::OutOfSequence { .. }
            | ClientError::Forgotten
            | ClientError::ReadFailed(_)
            | ClientError::NotKept(_)
            | ClientError::Busy(_)
            | ClientError::NotProcessed { .. }
            | ClientError::NotOne { .. }
            | ClientError::OutOfRange { .. }
            | ClientError::NoPartition { .. }
            | ClientError::NoKey
            | ClientError::QueryFailed(_)
            | ClientError::QueryTimedOut(_) => Outcome::NotAppended,
            // What could not be read may be what an append returned, which happened.
            ClientError::Type(_) => Outcome::Unknown,
            ClientError::ProcessingFailed(_) | ClientError::Throttled(_) | ClientError::AppendedBefore => {
                Outcome::Appended
            }
            ClientError::Stopped { asked, .. } | ClientError::TimedOut { asked, .. } => match asked {
                Asked::Append => Outcome::Unknown,
                Asked::Read | Asked::Topology => Outcome::NotAppended,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_whether_something_was_appended() {
        let text = || "why".to_string();
        let timeout = Duration::from_secs(1);
        let nothing = [
            ClientError::Unknown { module: text(), kind: "depot", name: text(), known: text() },
            ClientError::Refused(text()),
            ClientError::Closing,
            ClientError::StorageFull(text()),
            ClientError::NotRunning(text()),
            ClientError::Fenced { epoch: 2 },
            ClientError::OutOfSequence { expected: 3 },
            ClientError::Forgotten,
            ClientError::ReadFailed(text()),
            ClientError::NotKept(text()),
            ClientError::Busy(text()),
            ClientError::NotProcessed { topology: text(), count: 1, processed: 0, timeout, why: None },
            ClientError::NotOne { count: 2 },
            ClientError::OutOfRange { start: Offset(1), end: Offset(2) },
            ClientError::NoPartition { index: 9, count: 8 },
            ClientError::NoKey,
            ClientError::QueryFailed(text()),
            ClientError::QueryTimedOut(text()),
        ];
        assert!(nothing.iter().all(|error| error.outcome() == Outcome::NotAppended));
        let done = [ClientError::ProcessingFailed(text()), ClientError::AppendedBefore];
        assert!(done.iter().all(|error| error.outcome() == Outcome::Appended));
        let lost = |asked| [ClientError::Stopped { asked, why: text() }, ClientError::TimedOut { asked, timeout }];
        let unread = ClientError::Type(DecodeError::Truncated { offset: 0 });
        assert_eq!(unread.outcome(), Outcome::Unknown, "it may be what an append returned that cannot be read");
        assert!(lost(Asked::Append).iter().all(|error| error.outcome() == Outcome::Unknown));
        let others = [lost(Asked::Read), lost(Asked::Topology)].concat();
        assert!(others.iter().all(|error| error.outcome() == Outcome::NotAppended));
    }

    #[test]
    fn what_a_failure_says_is_true_of_what_was_asked_and_says_what_to_do() {
        let timeout = Duration::from_secs(5);
        let late = |asked| ClientError::TimedOut { asked, timeout }.to_string();
        assert_eq!(late(Asked::Append), "no answer within 5s; an append may have happened or not");
        assert_eq!(late(Asked::Read), "no answer within 5s; a read changes nothing");
        let stopped = ClientError::Stopped { asked: Asked::Topology, why: "the disk".to_string() }.to_string();
        assert_eq!(
            stopped,
            "the module stopped before it answered; what was asked for may have been done or not: the disk"
        );
        let failed = ClientError::ProcessingFailed("no number".to_string()).to_string();
        assert!(!failed.contains("will be tried again") && failed.ends_with(": no number"), "{failed}");
        for lost in [ClientError::Fenced { epoch: 2 }, ClientError::Forgotten] {
            assert!(lost.to_string().ends_with("start a new one with `producer` or `producer_named`"), "{lost}");
        }
        assert!(ClientError::OutOfSequence { expected: 3 }.to_string().ends_with("3 is next; send that one first"));
    }
}
