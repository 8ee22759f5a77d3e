//! When writes of PStates are timed, to log those that are slow (PST-34).
//!
//! Two looks at the clock cost more than a small write, so that not every write is timed: only for a while after a turn took as
//! long as a write may. So the first slow write shows as that turn in the log, and those that follow with their lines.

use crate::limit::SLOW_WRITE_WATCH_MS;
use tantu_base::door::Nanos;

/// See the module.
#[derive(Debug)]
pub(crate) struct SlowWrites {
    limit_ns: u64,
    until: Nanos,
}

impl SlowWrites {
    pub(crate) fn new(limit_ns: u64) -> SlowWrites {
        SlowWrites { limit_ns, until: Nanos(0) }
    }

    /// How long a write may take, if they are timed now.
    pub(crate) fn limit(&self, now: Nanos) -> Option<u64> {
        (now < self.until).then_some(self.limit_ns)
    }

    /// A turn took from one time to another; true if writes are timed from now on and were not.
    pub(crate) fn turn(&mut self, from: Nanos, to: Nanos) -> bool {
        if to.since(from) < self.limit_ns {
            return false;
        }
        let watched = to < self.until;
        self.until = to.plus_ms(SLOW_WRITE_WATCH_MS);
        !watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_timed_for_a_while_after_a_long_turn_and_at_no_other_time() {
        let ms = |ms: u64| Nanos(0).plus_ms(ms);
        let mut writes = SlowWrites::new(50_000_000);
        assert!(!writes.turn(ms(0), ms(49)));
        assert_eq!(writes.limit(ms(49)), None);
        assert!(writes.turn(ms(100), ms(150)), "from now on");
        assert!(!writes.turn(ms(150), ms(260)), "still");
        assert_eq!(writes.limit(ms(260)), Some(50_000_000));
        assert!(!writes.turn(ms(300), ms(301)));
        assert_eq!(writes.limit(ms(260 + SLOW_WRITE_WATCH_MS)), None, "nothing was slow for so long");
    }
}
