//! What a task thread tells those who watch it: where it stands, and where its time went.
//!
//! The thread stores, others load; nobody waits. So a thread that hangs in user code can still be asked what it hangs in,
//! by [`Pulse::place`], and how busy each category was is known without stopping anything.

use crate::observe::Observe;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tantu_base::id::Category;
use tantu_flow::ModuleRuntime;
use tantu_replog::seglog::Written;

/// No topology.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub struct Pulse {
    /// Counts beginnings and ends of turns: odd while one runs.
    turns: AtomicU64,
    category: AtomicU32,
    /// The number of the topology whose code runs.
    topology: AtomicU32,
    /// The step of its plan, which the run stores.
    step: Arc<AtomicU32>,
    spent_ns: [AtomicU64; 5],
    log_groups: AtomicU64,
    log_size: AtomicU64,
    observer: OnceLock<Arc<dyn Observe>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            turns: AtomicU64::new(0),
            category: AtomicU32::new(0),
            topology: AtomicU32::new(NONE),
            step: Arc::default(),
            spent_ns: Default::default(),
            log_groups: AtomicU64::new(0),
            log_size: AtomicU64::new(0),
            observer: OnceLock::new(),
        }
    }
}

/// Where a thread stands in a turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which turn: the same as long as it has not ended.
    pub turn: u64,
    /// Of which category.
    pub category: Category,
    /// The topology whose code runs and what it does, with the author's file and line.
    pub op: Option<String>,
}

impl Pulse {
    /// What runs of the thread store their steps into.
    pub(crate) fn step(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.step)
    }

    pub(crate) fn turn_begins(&self, category: Category) {
        self.category.store(category.index() as u32, Ordering::Relaxed);
        self.topology.store(NONE, Ordering::Relaxed);
        // It may have begun for another category, which had nothing to do.
        self.turns.store(self.turns.load(Ordering::Relaxed) | 1, Ordering::Release);
    }

    /// The turn ends: what it was of, if anything had something to do, and how long it took.
    pub(crate) fn turn_ends(&self, spent: Option<(Category, u64)>) {
        if let Some((category, ns)) = spent {
            let spent = &self.spent_ns[category.index()];
            spent.store(spent.load(Ordering::Relaxed) + ns, Ordering::Relaxed);
        }
        self.turns.store(self.turns.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// What the thread's log has written so far.
    pub(crate) fn wrote(&self, written: Written) {
        self.log_groups.store(written.groups, Ordering::Relaxed);
        self.log_size.store(written.size, Ordering::Relaxed);
    }

    /// What the thread's log has written so far. The two are not of the same moment while it goes on.
    pub fn written(&self) -> Written {
        Written { groups: self.log_groups.load(Ordering::Relaxed), size: self.log_size.load(Ordering::Relaxed) }
    }

    /// Tells this observer, from here on, what events do; the first one stays.
    pub fn observe(&self, observer: Arc<dyn Observe>) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn observer(&self) -> Option<&dyn Observe> {
        self.observer.get().map(|observer| &**observer)
    }

    /// Code of a topology runs from here on.
    #[inline]
    pub(crate) fn enters(&self, topology: u16) {
        self.topology.store(u32::from(topology), Ordering::Relaxed);
    }

    /// Its code has come back.
    #[inline]
    pub(crate) fn leaves(&self) {
        self.topology.store(NONE, Ordering::Relaxed);
    }

    /// Where the thread stands, if a turn runs. A thread that moves on meanwhile may be told a place it has just left.
    pub fn place(&self, module: &ModuleRuntime) -> Option<Place> {
        let turn = self.turns.load(Ordering::Acquire);
        if turn.is_multiple_of(2) {
            return None;
        }
        let category = Category::ALL[self.category.load(Ordering::Relaxed) as usize];
        let topology = u16::try_from(self.topology.load(Ordering::Relaxed)).ok();
        let plan = topology.and_then(|topology| module.plan(topology));
        let op = plan.map(|plan| plan.step_text(self.step.load(Ordering::Relaxed) as usize));
        Some(Place { turn, category, op })
    }

    /// The time spent in turns of each category so far, in the order of [`Category::ALL`].
    pub fn spent(&self) -> [Duration; 5] {
        self.spent_ns.each_ref().map(|ns| Duration::from_nanos(ns.load(Ordering::Relaxed)))
    }
}
