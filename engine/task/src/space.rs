//! A full disk: appends are refused while little room is left, and what did not fit waits and is tried again.
//!
//! A reserve is kept free for what is under way: appends are refused before the disk is full, while copies, flushes, merges
//! and trimming go on, which may give space back. If a request is refused for want of space all the same, whoever asked for
//! it goes on waiting: no component has to know of full disks, nothing is begun anew, and nothing is lost. What is tried again
//! is a whole request: the same bytes are written, and flushed, once more.

use crate::limit::{RESERVE_PART, RESERVE_SIZE_MAX, ROOM_LOOK_MS, SPACE_RETRY_MS};
use std::path::Path;
use tantu_base::door::{DiskDone, DiskError, DiskOp, DiskRoom, Doors, Nanos, Token};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Bounded by what the components have outstanding at a time.
    waiting: Vec<(Token, DiskOp)>,
    /// The last refusal, until a whole try went without one.
    refusal: Option<DiskError>,
    retry_at: Nanos,
    /// The room there was, while it was too little.
    low: Option<DiskRoom>,
    look_at: Nanos,
}

/// What is kept free.
fn reserve(room: DiskRoom) -> u64 {
    (room.total / RESERVE_PART).min(RESERVE_SIZE_MAX)
}

impl Space {
    /// Keeps a request that was refused for want of space; any other completion is given on.
    pub(crate) fn hold(&mut self, done: DiskDone) -> Option<DiskDone> {
        match done {
            DiskDone { token, result: Err(error), refused: Some(op) } => {
                self.waiting.push((token, op));
                if self.refusal.is_none() {
                    tracing::warn!(%error, "appends are refused until there is space again");
                    self.retry_at = Nanos(0);
                }
                self.refusal = Some(error);
                None
            }
            done => Some(done),
        }
    }

    /// Whether appends are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.refusal.is_some() || self.low.is_some()
    }

    /// What did not fit last, if it waits still.
    pub(crate) fn refusal(&self) -> Option<&DiskError> {
        self.refusal.as_ref()
    }

    /// What a client is told.
    pub(crate) fn describe(&self) -> String {
        match (&self.refusal, self.low) {
            (Some(error), _) => error.to_string(),
            (None, Some(room)) => {
                let [free, kept] = [room.free, reserve(room)].map(|size| size >> 20);
                format!("no space left for appends: {free} MiB of the disk are free, and {kept} are kept")
            }
            (None, None) => String::new(),
        }
    }

    /// When to look again, though nothing else happens.
    pub(crate) fn retry_at(&self) -> Option<Nanos> {
        let refused = self.refusal.as_ref().map(|_| self.retry_at);
        refused.into_iter().chain(self.low.map(|_| self.look_at)).min()
    }

    /// Looks how much room there is, and tries again what waits, if it is time; true if it did something.
    pub(crate) fn look(&mut self, dir: &Path, doors: &mut Doors<'_>) -> bool {
        let now = doors.clock.now();
        if now >= self.look_at {
            self.look_at = now.plus_ms(ROOM_LOOK_MS);
            self.measure(doors.disk.room(dir));
        }
        if self.refusal.is_none() || now < self.retry_at {
            return false;
        }
        let first = self.retry_at == Nanos(0);
        self.retry_at = now.plus_ms(SPACE_RETRY_MS);
        if self.waiting.is_empty() {
            self.refusal = None;
            tracing::warn!("what did not fit is written");
        } else if !first {
            for (token, op) in self.waiting.drain(..) {
                doors.disk.submit(token, op);
            }
        }
        true
    }

    fn measure(&mut self, room: Option<DiskRoom>) {
        // A quarter more than the reserve has to come back, so that it does not change with every look.
        let wanted = |room: DiskRoom| reserve(room) + if self.low.is_some() { reserve(room) / 4 } else { 0 };
        let low = room.filter(|room| room.free < wanted(*room));
        match (self.low, low) {
            (None, Some(room)) => tracing::warn!(free = room.free, "little space is left: appends are refused"),
            (Some(_), None) => tracing::warn!("there is space again: appends are taken"),
            _ => {}
        }
        self.low = low;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_taken_again_when_a_quarter_more_than_the_reserve_is_free() {
        let mut space = Space::default();
        let mut full_with = |free: u64, total: u64| {
            space.measure(Some(DiskRoom { free, total }));
            space.is_full()
        };
        let (small, large) = (100 << 20, 1 << 40);
        for (total, reserve) in [(small, small / 20), (large, 1 << 30)] {
            let found = [reserve, reserve - 1, reserve, reserve / 4 * 5 - 1, reserve / 4 * 5, reserve]
                .map(|free| full_with(free, total));
            assert_eq!(found, [false, true, true, true, false, false], "{total}");
        }
        space.measure(Some(DiskRoom { free: 3 << 20, total: small }));
        assert_eq!(space.describe(), "no space left for appends: 3 MiB of the disk are free, and 5 are kept");
        space.measure(None);
        assert!(!space.is_full(), "nobody knows, and nothing was refused");
    }
}
