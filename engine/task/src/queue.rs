//! Which category runs next: the one whose share of time is most overdue.
//!
//! Time spent is measured per category and halved every so often, so that a category that was idle does not bank
//! unlimited credit. An empty category's share goes to the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tantu_base::id::Category;

/// Desired proportions of time (`worker.event.category.proportions`); they matter only when the core is busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CategoryShares(pub [u32; 5]);

impl Default for CategoryShares {
    /// Replication first, then clients and streams alike, then microbatches and mirrors.
    fn default() -> Self {
        CategoryShares([8, 4, 4, 2, 2])
    }
}

/// The proportions of the threads of a module, which may change while they run.
#[derive(Debug, Default)]
pub struct LiveShares {
    shares: Mutex<CategoryShares>,
    /// How often they changed: threads look at this alone, and all see whole sets.
    change_count: AtomicU64,
}

impl LiveShares {
    /// These, until others are set.
    pub fn new(shares: CategoryShares) -> Self {
        Self { shares: Mutex::new(shares), change_count: AtomicU64::new(0) }
    }

    /// The proportions.
    pub fn get(&self) -> CategoryShares {
        *self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others from now on: each thread goes by them from its next step.
    pub fn set(&self, shares: CategoryShares) {
        *self.shares.lock().unwrap_or_else(PoisonError::into_inner) = shares;
        self.change_count.fetch_add(1, Ordering::Release);
    }
}

/// Nanoseconds of accounted time after which all accounts are halved.
const DECAY_NS: u64 = 100_000_000;

#[derive(Debug)]
pub(crate) struct CategoryClock {
    shares: [u32; 5],
    /// Which of the shares it saw last.
    change_count: u64,
    spent_ns: [u64; 5],
    total_ns: u64,
}

impl CategoryClock {
    pub(crate) fn new(live: &LiveShares) -> Self {
        let mut clock = Self { shares: [1; 5], change_count: u64::MAX, spent_ns: [0; 5], total_ns: 0 };
        clock.look(live);
        clock
    }

    /// Goes by the shares there are now. What was spent under others counts as spent.
    #[inline]
    pub(crate) fn look(&mut self, live: &LiveShares) {
        let change_count = live.change_count.load(Ordering::Acquire);
        if change_count != self.change_count {
            (self.change_count, self.shares) = (change_count, live.get().0.map(|share| share.max(1)));
        }
    }

    /// The categories, most overdue first.
    pub(crate) fn order(&self) -> [Category; 5] {
        let mut order = Category::ALL;
        // spent / share, compared without dividing.
        order.sort_by(|a, b| {
            let weigh = |c: &Category, other: &Category| {
                u128::from(self.spent_ns[c.index()]) * u128::from(self.shares[other.index()])
            };
            weigh(a, b).cmp(&weigh(b, a))
        });
        order
    }

    /// Books time.
    pub(crate) fn spend(&mut self, category: Category, ns: u64) {
        self.spent_ns[category.index()] += ns;
        self.total_ns += ns;
        if self.total_ns >= DECAY_NS {
            self.total_ns /= 2;
            self.spent_ns.iter_mut().for_each(|spent| *spent /= 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_contention_time_is_spent_in_the_desired_proportions_also_when_they_change() {
        let live = LiveShares::new(CategoryShares([1, 2, 4, 1, 1]));
        let mut clock = CategoryClock::new(&live);
        let mut ratio = || {
            clock.look(&live);
            let mut spent = [0u64; 5];
            for turn in 0..40_000u64 {
                let next = clock
                    .order()
                    .into_iter()
                    .find(|c| matches!(c, Category::Client | Category::LowLatency))
                    .expect("two compete");
                let ns = 50_000 + (turn * 7919) % 100_000;
                clock.spend(next, ns);
                // The first turns make good what the proportions before left.
                spent[next.index()] += if turn < 20_000 { 0 } else { ns };
            }
            spent[Category::LowLatency.index()] as f64 / spent[Category::Client.index()] as f64
        };
        let before = ratio();
        assert!((1.9..2.1).contains(&before), "{before}");
        live.set(CategoryShares([1, 4, 1, 1, 0]));
        let after = ratio();
        assert!((0.24..0.26).contains(&after), "{after}");
    }

    #[test]
    fn a_category_that_was_idle_does_not_starve_the_others() {
        let mut clock = CategoryClock::new(&LiveShares::new(CategoryShares([1; 5])));
        for _ in 0..100_000 {
            clock.spend(Category::LowLatency, 100_000);
        }
        let mut client_turns = 0;
        while clock.order().into_iter().find(|c| matches!(c, Category::Client | Category::LowLatency))
            == Some(Category::Client)
        {
            clock.spend(Category::Client, 100_000);
            client_turns += 1;
        }
        assert!(client_turns < 1_100, "{client_turns} turns in a row");
    }
}
