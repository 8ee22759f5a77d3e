//! Work for later: items that a topology sets aside until their time has come.
//!
//! Items wait on the task that set them aside, in a PState of the topology's own, sorted by their time. Whoever looks for those whose
//! time has come is a source of the topology: a record of any depot is a tick. Time can be simulated in tests.
//!
//! ```
//! use tantu::prelude::*;
//! use tantu::schedule::{SimTime, TopologyScheduler};
//!
//! /// A reminder: when, for whom.
//! type Reminder = (i64, String);
//!
//! struct Reminders;
//!
//! impl Module for Reminders {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let reminders = setup.declare_depot::<Reminder>("*reminders", hash_by(|r: &Reminder| r.1.clone()));
//!         let ticks = setup.declare_global_depot::<()>("*ticks", random());
//!         let mut s = topologies.stream("remind");
//!         let sent = s.pstate::<Map<String, i64>>("$$sent");
//!         let later = TopologyScheduler::<Reminder>::declare(&mut s, "$$reminders");
//!         s.source(&reminders, |b, reminder| {
//!             let time = b.each(reminder, |reminder| reminder.0);
//!             later.schedule_item(b, time, reminder);
//!         });
//!         s.source(&ticks, |b, _tick| {
//!             later.handle_expirations(b, |b, reminder, _time| {
//!                 let user = b.each(reminder, |reminder| reminder.1.clone());
//!                 b.hash_partition(user);
//!                 b.compound_agg(sent, agg::key(user, agg::count()));
//!             });
//!         });
//!     }
//! }
//!
//! let time = SimTime::start();
//! let cluster = InProcessCluster::create()?;
//! cluster.launch::<Reminders>(LaunchConfig::new(4, 2))?;
//! let (reminders, ticks) = (cluster.depot("Reminders", "*reminders")?, cluster.depot("Reminders", "*ticks")?);
//! let sent = cluster.pstate::<Map<String, i64>>("Reminders", "$$sent")?;
//! reminders.append(&(60_000i64, "ann".to_string()))?;
//! ticks.append(&())?;
//! assert_eq!(sent.select_one(path().key("ann"))?, None);
//! time.advance_ms(60_000);
//! ticks.append(&())?;
//! assert_eq!(sent.select_one(path().key("ann"))?, Some(1));
//! # cluster.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::atomic::{AtomicI64, Ordering};
use tantu_base::door::Clock;
use tantu_doors::KernelClock;
use tantu_flow::{Block, Data, Owned, PState, PStateOptions, Returned, StreamTopology, Var};
use tantu_path::{Map, Navigate, PStateSchema, path};

/// Items that one tick takes from each task, unless the scheduler was declared with another number.
pub const FETCH_COUNT: u64 = 1_000;

/// No simulated time.
const REAL: i64 = i64::MIN;

static SIM_MS: AtomicI64 = AtomicI64::new(REAL);

/// Milliseconds since the Unix epoch; or, while there is a [`SimTime`], since it was started (UID-06). In a simulation
/// ([`crate::sim`]) it is the simulation's time.
pub fn current_time_ms() -> i64 {
    if let Some(simulated) = tantu_local::sim::simulated_wall_ms() {
        return simulated as i64;
    }
    match SIM_MS.load(Ordering::SeqCst) {
        REAL => KernelClock::default().wall_ms() as i64,
        simulated => simulated,
    }
}

/// Simulated time of the whole process: it starts at 0 and stands still until it is advanced. Dropping it brings real
/// time back.
#[derive(Debug)]
pub struct SimTime(());

impl SimTime {
    /// Starts it.
    ///
    /// # Panics
    /// If there is one already.
    pub fn start() -> SimTime {
        let started = SIM_MS.compare_exchange(REAL, 0, Ordering::SeqCst, Ordering::SeqCst);
        assert!(started.is_ok(), "time is simulated already");
        SimTime(())
    }

    /// Lets time pass.
    pub fn advance_ms(&self, by: u32) {
        SIM_MS.fetch_add(i64::from(by), Ordering::SeqCst);
    }
}

impl Drop for SimTime {
    fn drop(&mut self) {
        SIM_MS.store(REAL, Ordering::SeqCst);
    }
}

/// Sets items aside until their time has come (UID-04, UID-05). See the module.
pub struct TopologyScheduler<T> {
    /// By time, and a random number that tells items of the same time apart.
    expirations: PState<Map<(i64, i64), T>>,
    fetch_count: u64,
}

impl<T> Copy for TopologyScheduler<T> {}
impl<T> Clone for TopologyScheduler<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> TopologyScheduler<T>
where
    T: PStateSchema<Value = T, Plain = T> + Owned + Clone,
{
    /// Declares the private PState of this name where items wait.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str) -> TopologyScheduler<T> {
        Self::declare_fetching(topology, name, FETCH_COUNT)
    }

    /// The same, and how many items one tick takes from each task, at least 1. Those that are left wait for the next tick.
    #[track_caller]
    pub fn declare_fetching(topology: &mut StreamTopology, name: &str, fetch_count: u64) -> TopologyScheduler<T> {
        // An item is where it was set aside, wherever its key would live.
        let options = PStateOptions { private: true, unchecked: true, ..PStateOptions::default() };
        TopologyScheduler { expirations: topology.pstate_with(name, options), fetch_count: fetch_count.max(1) }
    }

    /// Sets an item aside on this task until this time, in milliseconds of [`current_time_ms`]. A record that is tried again
    /// sets it aside again.
    #[track_caller]
    pub fn schedule_item(&self, b: &mut Block, time_ms: Var<i64>, item: Var<<T as Returned>::Data>) {
        let number = b.random_number();
        let key = b.each((time_ms, number), |key| key);
        b.local_transform(self.expirations, path().key(key).term_val(item));
    }

    /// Goes to every task and runs the block there for each item whose time has come, in the order of their times: with the
    /// item and its time. The block may go to other tasks. It must come to its end exactly once for each item: then the
    /// item is removed. If it fails, the item stays, and the record that was the tick is tried again. Two ticks that overlap
    /// may both run the block for an item.
    #[track_caller]
    pub fn handle_expirations(
        &self,
        b: &mut Block,
        block: impl FnOnce(&mut Block, Var<<T as Returned>::Data>, Var<i64>),
    ) where
        ((i64, i64), T): Returned<Data = ((i64, i64), T)>,
        ((i64, i64), T): for<'x> Data<Ref<'x> = &'x ((i64, i64), T)>,
    {
        let now = b.each((), |()| current_time_ms());
        b.all_partition();
        let home = b.current_task_id();
        let entry = b.local_select(self.expirations, path().sorted_map_range_from_start(self.fetch_count).all());
        let (key, item) = b.expand(entry, |(key, item)| (*key, item.clone()));
        b.filter((key, now), |(key, now)| key.0 <= now);
        let time = b.each(key, |key| key.0);
        block(b, item, time);
        b.direct_partition(home);
        b.local_transform(self.expirations, path().key(key).term_void());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    struct Alarms;

    impl Module for Alarms {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let alarms = setup.declare_depot::<(i64, String)>("*alarms", random());
            let ticks = setup.declare_global_depot::<i64>("*ticks", random());
            let mut s = topologies.stream("s");
            let rung = s.pstate::<Map<String, List<i64>>>("$$rung");
            let here = PStateOptions { unchecked: true, ..PStateOptions::default() };
            let order = s.pstate_with::<Map<i64, List<i64>>>("$$order", here);
            let later = TopologyScheduler::<String>::declare_fetching(&mut s, "$$later", 3);
            s.source(&alarms, |b, alarm| {
                let (time, name) = b.expand(alarm, |(time, name)| (*time, name.clone()));
                later.schedule_item(b, time, name);
            });
            s.source(&ticks, |b, _| {
                later.handle_expirations(b, |b, name, time| {
                    // Noted where the block begins: behind a partitioner each item goes its own way.
                    let home = b.current_task_id();
                    b.compound_agg(order, agg::key(home, agg::list(time)));
                    b.hash_partition(name);
                    b.compound_agg(rung, agg::key(name, agg::list(time)));
                });
            });
        }
    }

    #[test]
    fn items_are_handled_once_when_their_time_has_come_in_its_order_a_few_at_a_time() {
        let time = SimTime::start();
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Alarms>(LaunchConfig::new(2, 2)).unwrap();
        let alarms = cluster.depot::<(i64, String)>("Alarms", "*alarms").unwrap();
        let ticks = cluster.depot::<i64>("Alarms", "*ticks").unwrap();
        let rung = cluster.pstate::<Map<String, List<i64>>>("Alarms", "$$rung").unwrap();
        let count = || (0..12).filter(|n| rung.select_one(path().must(format!("alarm {n}"))).is_ok()).count();
        for n in 0..12i64 {
            alarms.append(&(10 * (12 - n), format!("alarm {n}"))).unwrap();
        }
        ticks.append(&0).unwrap();
        assert_eq!(count(), 0, "it is 0 ms, and the first is at 10 ms");
        time.advance_ms(60);
        for tick in 0..6 {
            ticks.append(&tick).unwrap();
        }
        assert_eq!(count(), 6, "those up to 60 ms, that one included");
        time.advance_ms(1_000);
        ticks.append(&0).unwrap();
        assert!((7..=12).contains(&count()), "at most three of each task: {}", count());
        for tick in 0..6 {
            ticks.append(&tick).unwrap();
        }
        for n in 0..12i64 {
            let expected = vec![10 * (12 - n)];
            assert_eq!(rung.select_one(path().must(format!("alarm {n}"))).unwrap(), expected, "once each");
        }
        let order = cluster.pstate::<Map<i64, List<i64>>>("Alarms", "$$order").unwrap();
        for task in 0..2 {
            let of_task = order.select_on(task as u32, path().key(task)).unwrap().remove(0).unwrap_or_default();
            assert!(of_task.is_sorted(), "task {task}: {of_task:?}");
        }
        cluster.close().unwrap();
        drop(time);
        assert!(current_time_ms() > 1_700_000_000_000, "real time is back");
    }
}
