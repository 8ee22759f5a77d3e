//! Ops and writes that take too long, named in the author's words (TSK-07, PST-34).
//!
//! Two looks at the clock cost more than a small op, so that not every op is timed: only for a while after a turn took as
//! long as an op may. So the first one that overruns shows as that turn in the log, and those that follow with their
//! lines. One that does not come back at all is seen from outside: see [`crate::pulse`].

use crate::limit::{FUEL_PER_CHECK, OVERRUN_WATCH_MS};
use crate::observe::Observed;
use crate::pulse::Pulse;
use tantu_base::caught::caught;
use tantu_base::door::{Clock, Nanos};
use tantu_flow::{Host, Outcome, Plan, Run};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Overruns {
    op_ns: u64,
    write_ns: u64,
    until: Nanos,
}

/// Code of a topology that may run for a while, and who watches it.
pub(crate) struct Watched<'a> {
    pub(crate) topology: u16,
    pub(crate) plan: &'a Plan,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) pulse: &'a Pulse,
    pub(crate) overruns: &'a Overruns,
    /// When the turn began.
    pub(crate) start: Nanos,
}

impl Overruns {
    pub(crate) fn new(op_ms: u64, write_ms: u64) -> Overruns {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        Overruns { op_ns: ns(op_ms), write_ns: ns(write_ms), until: Nanos(0) }
    }

    fn is_watching(&self, now: Nanos) -> bool {
        now < self.until
    }

    /// A turn took from one time to another; true if ops are timed from now on and were not.
    pub(crate) fn turn(&mut self, from: Nanos, to: Nanos) -> bool {
        if to.since(from) < self.op_ns.min(self.write_ns) {
            return false;
        }
        let watched = self.is_watching(to);
        self.until = to.plus_ms(OVERRUN_WATCH_MS);
        !watched
    }

    /// A step took so long: says so if that is too long.
    fn stepped(&self, plan: &Plan, step: usize, took_ns: u64) {
        let took_ms = took_ns / 1_000_000;
        let op = || plan.step_text(step);
        if plan.writes_at(step) {
            if took_ns >= self.write_ns {
                tracing::warn!(took_ms, op = op(), "a write of a PState was slow");
            }
        } else if took_ns >= self.op_ns {
            tracing::warn!(took_ms, op = op(), "an op took long, and everything on its thread waited");
        }
    }
}

/// Runs what may call the author's code where nobody watches how long it takes: when rows arrive, when a page is read.
///
/// # Errors
/// What it panicked with.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    caught(work).map_err(|text| format!("user code panicked: {text}"))
}

impl Watched<'_> {
    /// Runs an event for a while, at the edge of user code.
    ///
    /// # Errors
    /// What it panicked with.
    pub(crate) fn resume(&self, run: &mut Run, host: &mut dyn Host) -> Result<Outcome, String> {
        self.guard(|| self.go_on(run, host))
    }

    /// The edge of user code: only that may panic without ending the worker.
    ///
    /// # Errors
    /// What it panicked with.
    pub(crate) fn guard<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        self.pulse.enters(self.topology);
        let outcome = guarded(work);
        self.pulse.leaves();
        outcome
    }

    /// Whether nobody looks at what events do in this turn: nobody observes them, and no op is timed.
    pub(crate) fn is_unseen(&self) -> bool {
        self.pulse.observer().is_none() && !self.overruns.is_watching(self.start)
    }

    /// Runs an event for a while, and tells whoever observes what it does.
    #[inline]
    pub(crate) fn go_on(&self, run: &mut Run, host: &mut dyn Host) -> Outcome {
        let Some(observer) = self.pulse.observer() else { return self.run_on(run, host) };
        let mut observed = Observed { host, plan: self.plan, observer };
        let outcome = self.run_on(run, &mut observed);
        observed.ended(&outcome);
        outcome
    }

    #[inline]
    fn run_on(&self, run: &mut Run, host: &mut dyn Host) -> Outcome {
        if self.overruns.is_watching(self.start) {
            self.resume_timed(run, host)
        } else {
            run.resume(self.plan, host, &mut { FUEL_PER_CHECK })
        }
    }

    fn resume_timed(&self, run: &mut Run, host: &mut dyn Host) -> Outcome {
        let mut before = self.clock.now();
        for _ in 0..FUEL_PER_CHECK {
            let step = run.step();
            let outcome = run.resume(self.plan, host, &mut 1);
            let after = self.clock.now();
            self.overruns.stepped(self.plan, step, after.since(before));
            if outcome != Outcome::Yield {
                return outcome;
            }
            before = after;
        }
        Outcome::Yield
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_timed_for_a_while_after_a_long_turn_and_at_no_other_time() {
        let ms = |ms: u64| Nanos(0).plus_ms(ms);
        let mut overruns = Overruns::new(80, 50);
        assert!(!overruns.turn(ms(0), ms(49)));
        assert!(!overruns.is_watching(ms(49)));
        assert!(overruns.turn(ms(100), ms(150)), "from now on");
        assert!(!overruns.turn(ms(150), ms(260)), "still");
        assert!(overruns.is_watching(ms(260)));
        assert!(!overruns.turn(ms(300), ms(301)));
        assert!(!overruns.is_watching(ms(260 + OVERRUN_WATCH_MS)), "nothing was slow for so long");
    }
}
