//! The limits of a stream topology in numbers: what its author said, what the launch said, and the defaults.

use crate::limit::{BATCH_EVENT_COUNT_MAX, EXECUTING_COUNT_MAX, PROGRESS_CHECKPOINT_MS, STREAM_TIMEOUT_S};
use std::time::Duration;
use tantu_flow::{StreamDef, StreamOptions};

/// See [`StreamOptions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StreamLimits {
    pub(crate) timeout_ms: u64,
    pub(crate) executing_max: usize,
    /// Whether appends wait for records beyond that.
    pub(crate) waits_beyond: bool,
    pub(crate) batch_event_max: usize,
    /// Records done for which progress alone is worth an entry,
    pub(crate) checkpoint_threshold: u64,
    /// and milliseconds.
    pub(crate) checkpoint_ms: u64,
}

fn millis(time: Option<Duration>, default: u64) -> u64 {
    time.map_or(default, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

impl StreamLimits {
    pub(crate) fn of(def: &StreamDef, launch: &StreamOptions) -> StreamLimits {
        let options = def.options.or(*launch);
        StreamLimits {
            timeout_ms: millis(options.timeout, STREAM_TIMEOUT_S * 1_000),
            executing_max: options.executing_max.unwrap_or(EXECUTING_COUNT_MAX),
            waits_beyond: options.executing_max.is_none(),
            batch_event_max: options.batch_event_max.unwrap_or(BATCH_EVENT_COUNT_MAX),
            checkpoint_threshold: options.checkpoint_threshold.unwrap_or(u64::MAX).max(1),
            checkpoint_ms: millis(options.checkpoint_period, PROGRESS_CHECKPOINT_MS),
        }
    }
}
