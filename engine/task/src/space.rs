//! A full disk: what did not fit waits and is tried again.
//!
//! Whoever asked for a request that was refused for want of space goes on waiting for it, so that no component has to know
//! of full disks: nothing is begun anew, and nothing is lost. Meanwhile the thread refuses appends and serves reads. What is
//! tried again is a whole request: the same bytes are written, and flushed, once more.

use crate::limit::SPACE_RETRY_MS;
use tantu_base::door::{DiskDone, DiskError, DiskOp, Doors, Nanos, Token};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Bounded by what the components have outstanding at a time.
    waiting: Vec<(Token, DiskOp)>,
    /// The last refusal, until a whole try went without one.
    refusal: Option<DiskError>,
    retry_at: Nanos,
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

    /// Whether something was refused and not taken since.
    pub(crate) fn is_full(&self) -> bool {
        self.refusal.is_some()
    }

    /// What was refused last.
    pub(crate) fn refusal(&self) -> Option<&DiskError> {
        self.refusal.as_ref()
    }

    /// What a client is told.
    pub(crate) fn describe(&self) -> String {
        self.refusal.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// When to look again.
    pub(crate) fn retry_at(&self) -> Option<Nanos> {
        self.is_full().then_some(self.retry_at)
    }

    /// Tries again what waits, if it is time; true if it did.
    pub(crate) fn look(&mut self, doors: &mut Doors<'_>) -> bool {
        if !self.is_full() {
            return false;
        }
        let now = doors.clock.now();
        if now < self.retry_at {
            return false;
        }
        let first = self.retry_at == Nanos(0);
        self.retry_at = now.plus_ms(SPACE_RETRY_MS);
        if self.waiting.is_empty() {
            self.refusal = None;
            tracing::warn!("there is space again: appends are taken");
        } else if !first {
            for (token, op) in self.waiting.drain(..) {
                doors.disk.submit(token, op);
            }
        }
        true
    }
}
