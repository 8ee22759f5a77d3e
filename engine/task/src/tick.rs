//! Tick depots: who fires when. A tick is a record of no depot partition: its number counts from the start of the thread, and nothing
//! of it is durable.
//!
//! Periods that passed while nobody looked, or while too many ticks of a source were under way, are made good by one tick.

use crate::thread::TaskThread;
use tantu_base::door::Nanos;
use tantu_base::planted::{self, Bug};
use tantu_base::value::encoded;
use tantu_flow::{ModuleRuntime, Tick};

/// A period, and when the next tick is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticker {
    period_ns: u64,
    next: Nanos,
}

impl Ticker {
    /// The first tick is due a period from now.
    pub(crate) fn new(period: std::time::Duration, now: Nanos) -> Ticker {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        Ticker { period_ns, next: Nanos(now.0.saturating_add(period_ns)) }
    }

    /// When the next tick is due.
    pub(crate) fn next(&self) -> Nanos {
        self.next
    }

    /// A tick fires; the next is due a whole number of periods later, in the future.
    pub(crate) fn fire(&mut self, now: Nanos) {
        let period_ns = if planted::has(Bug::TickTooSoon) { self.period_ns.div_ceil(2) } else { self.period_ns };
        let passed = now.since(self.next) / period_ns + 1;
        self.next = Nanos(self.next.0.saturating_add(period_ns.saturating_mul(passed)));
    }

    /// A tick fires, and a whole period passes before the next.
    pub(crate) fn restart(&mut self, now: Nanos) {
        self.next = Nanos(now.0.saturating_add(self.period_ns));
    }
}

/// The tick sources of the stream topologies, on the thread of task 0.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// By their places among the sources of task 0.
    tickers: Vec<(usize, Ticker)>,
    record: Vec<u8>,
}

impl TaskThread {
    /// The sources of tick depots begin to count their periods.
    pub(crate) fn set_tickers(&mut self, now: Nanos) {
        let Some(zero) = self.slots.first_mut().filter(|slot| slot.task.0 == 0) else { return };
        let module: &ModuleRuntime = &self.config.module;
        for (at, source) in zero.sources.iter_mut().enumerate() {
            if let Some(period) = module.def.depots[source.setup.depot].tick {
                source.is_durable = false;
                if self.config.at_rest {
                    continue;
                }
                self.ticks.tickers.push((at, Ticker::new(period, now)));
            }
        }
        self.ticks.record = encoded(&Tick);
    }

    /// Starts ticks that are due, and failed ones whose wait is over.
    pub(crate) fn start_ticks(&mut self, now: Nanos) -> bool {
        let mut started = false;
        for (at, ticker) in &mut self.ticks.tickers {
            let (slot, record) = (&mut self.slots[0], &self.ticks.record);
            while let Some(offset) = slot.sources[*at].due(now) {
                if slot.sources[*at].is_leaving(offset) {
                    if !slot.keep_dead(&self.config.module.def, *at, offset, record) {
                        break;
                    }
                    started = true;
                    continue;
                }
                let id = self.random.next();
                let source = &mut slot.sources[*at];
                let root = source.restart(slot.task, *at as u16, offset, id, now);
                slot.events.push(source.setup.stream, source.setup.at, root, id, record);
                started = true;
            }
            let source = &mut slot.sources[*at];
            if ticker.next() <= now && source.has_room() && !self.closing {
                let id = self.random.next();
                let root = source.start(slot.task, *at as u16, id, now);
                slot.events.push(source.setup.stream, source.setup.at, root, id, record);
                ticker.fire(now);
                started = true;
            }
        }
        started
    }

    /// When the next tick is due.
    pub(crate) fn tick_at(&self) -> Option<Nanos> {
        let room = |at: &usize| self.slots[0].sources[*at].has_room() && !self.closing;
        self.ticks.tickers.iter().filter(|(at, _)| room(at)).map(|(_, ticker)| ticker.next()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn periods_that_were_missed_are_made_good_by_one_tick_and_the_beat_stays() {
        let at_ms = |ms| Nanos(0).plus_ms(ms);
        let mut ticker = Ticker::new(Duration::from_millis(10), at_ms(5));
        assert_eq!(ticker.next(), at_ms(15));
        ticker.fire(at_ms(15));
        assert_eq!(ticker.next(), at_ms(25));
        ticker.fire(at_ms(58));
        assert_eq!(ticker.next(), at_ms(65), "three more were due");
        ticker.fire(at_ms(75));
        assert_eq!(ticker.next(), at_ms(85), "the next is in the future");
        ticker.restart(at_ms(90));
        assert_eq!(ticker.next(), at_ms(100));
    }
}
