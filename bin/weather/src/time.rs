//! Virtual time: it moves only when the simulator, a waiting disk or, if asked to, a look at the clock moves it.

use std::cell::Cell;
use std::rc::Rc;
use tantu_base::door::{Clock, Nanos};

/// Wall clock of virtual time 0, in milliseconds since the Unix epoch.
const WALL_MS_AT_START: i64 = 1_700_000_000_000;

/// The shared clock of a simulated world. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    now: Rc<Cell<u64>>,
    tick_ns: Rc<Cell<u64>>,
    wall_shift_ms: Rc<Cell<i64>>,
}

impl SimClock {
    /// The time, without moving it.
    pub fn time(&self) -> Nanos {
        Nanos(self.now.get())
    }

    /// Moves time on to a moment; a moment that has passed changes nothing.
    pub fn advance_to(&self, at: Nanos) {
        self.now.set(self.now.get().max(at.0));
    }

    /// Moves time on.
    pub fn advance(&self, ns: u64) {
        self.now.set(self.now.get() + ns);
    }

    /// Makes every look at the clock cost this much time, so that code with a time budget comes to its end.
    pub fn set_tick_ns(&self, ns: u64) {
        self.tick_ns.set(ns);
    }

    /// Shifts the wall clock, as an operator or a time server does. Monotonic time does not notice.
    pub fn shift_wall_ms(&self, ms: i64) {
        self.wall_shift_ms.set(self.wall_shift_ms.get() + ms);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Nanos {
        self.advance(self.tick_ns.get());
        self.time()
    }

    fn wall_ms(&self) -> u64 {
        let elapsed_ms = (self.now.get() / 1_000_000) as i64;
        (WALL_MS_AT_START + elapsed_ms + self.wall_shift_ms.get()).max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_only_forward_and_the_wall_clock_may_jump() {
        let clock = SimClock::default();
        clock.advance_to(Nanos(5_000_000));
        clock.advance_to(Nanos(3));
        assert_eq!(clock.now(), Nanos(5_000_000));
        let wall = clock.wall_ms();
        clock.clone().shift_wall_ms(-86_400_000);
        assert_eq!(clock.wall_ms(), wall - 86_400_000);
        assert_eq!(clock.now(), Nanos(5_000_000));
        clock.set_tick_ns(10);
        assert_eq!(clock.now().since(clock.time()), 0);
        assert_eq!(clock.now(), Nanos(5_000_020));
    }
}
