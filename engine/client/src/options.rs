//! How a connection behaves.

use std::time::Duration;

/// How long requests may take, and how appends are gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// How long an append, or another request to a depot, may take before it fails with
    /// [`ClientError::TimedOut`](crate::ClientError::TimedOut) (`foreign.depot.operation.timeout.millis`). The default is longer
    /// than a record may be processed, so that a failed record says so first.
    pub depot_timeout: Duration,
    /// How long a select may take (`foreign.pstate.operation.timeout.millis`).
    pub pstate_timeout: Duration,
    /// How long it may take to tell how far a topology is, which records it fails on, to pause it, to take a snapshot. A pause
    /// that was asked for stays when its answer is not waited for any more.
    pub control_timeout: Duration,
    /// How long a call of a query may take before it is not waited for any more. The engine ends it sooner and says why, after
    /// its own time-out, as long as it is able to; this one, or half as much again as the query's own if that is longer, holds also
    /// when it is not.
    pub query_timeout: Duration,
    /// How long an append waits for others that travel with it (`foreign.depot.flush.delay.millis`). It costs each append so
    /// much time and saves work where many clients append little: 0 to 50 ms.
    pub flush_delay: Duration,
    /// How long a thread that waits for an answer looks for it before it sleeps: each of its sleeps costs so much of a
    /// processor at most, and answers that come meanwhile do not wait for it to wake up. Others that want the processor get it.
    pub spin: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            depot_timeout: Duration::from_secs(90),
            pstate_timeout: Duration::from_secs(60),
            control_timeout: Duration::from_secs(90),
            query_timeout: Duration::from_secs(600),
            flush_delay: Duration::ZERO,
            spin: Duration::ZERO,
        }
    }
}
