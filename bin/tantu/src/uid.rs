//! Unique ids: counters that a topology keeps for itself, and UUIDs that sort by time.
//!
//! ```
//! use tantu::prelude::*;
//! use tantu::uid::ModuleUniqueId;
//!
//! #[derive(Record, Debug)]
//! struct Profile {
//!     name: String,
//! }
//!
//! struct Registrations;
//!
//! impl Module for Registrations {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let names = setup.declare_depot::<String>("*names", random());
//!         let mut registration = topologies.stream("registration");
//!         let ids = ModuleUniqueId::declare(&mut registration, "$$ids");
//!         let profiles = registration.pstate::<Map<i64, Profile>>("$$profiles");
//!         registration.source(&names, |b, name| {
//!             let id = ids.next(b);
//!             b.hash_partition(id);
//!             b.local_transform(profiles, path().key(id).field(Profile::NAME).term_val(name));
//!         });
//!     }
//! }
//! # define::<Registrations>().unwrap();
//! ```

use std::cell::RefCell;
use tantu_base::door::Clock;
use tantu_base::value::Uuid;
use tantu_doors::{KernelClock, KernelEntropy};
use tantu_flow::{Block, PState, PStateOptions, StreamTopology, Var};
use tantu_path::{Navigate, path};

pub use tantu_base::uid::UuidV7;

/// Bits of a module-unique id that count on their task; the task is in those above.
const COUNTER_BITS: u32 = 42;
/// The largest number a task counts to.
const COUNTER_MAX: i64 = (1 << COUNTER_BITS) - 1;

const _: () = assert!(tantu_base::limit::TASK_COUNT_MAX.ilog2() + COUNTER_BITS == 64);

thread_local! {
    static IDS: RefCell<(UuidV7, KernelClock, KernelEntropy)> = RefCell::default();
}

/// A UUID of version 7 from the machine's clock (UID-03): ids sort by the millisecond they were made in, and those of
/// one thread in the order they were made. For clients, and for closures of a topology; a retry makes another one.
///
/// ```
/// use tantu::uid::uuid_v7;
///
/// let (first, second) = (uuid_v7(), uuid_v7());
/// assert!(first < second);
/// ```
pub fn uuid_v7() -> Uuid {
    IDS.with_borrow_mut(|(ids, clock, entropy)| ids.next(clock.wall_ms(), entropy))
}

/// A counter on each task, in a PState that only its topology sees.
#[derive(Clone, Copy)]
struct Counter<N> {
    counts: PState<Option<N>>,
    start: N,
    step: N,
}

macro_rules! counter {
    ($($number:ty),*) => {$(
        impl Counter<$number> {
            #[track_caller]
            fn declare(topology: &mut StreamTopology, name: &str, start: $number, step: $number) -> Self {
                let counts = topology.pstate_with(name, PStateOptions::private());
                Counter { counts, start, step }
            }

            #[track_caller]
            fn next(&self, b: &mut Block) -> Var<$number> {
                let Counter { counts, start, step } = *self;
                let number = b.local_select(counts, path().null_to_val(start));
                b.assert(number, move |number| number.checked_add(step).is_some(), "the task has given all of its ids");
                b.local_transform(counts, path().null_to_val(start).term(move |number| number + step));
                number
            }
        }
    )*};
}

counter! { i64, i32 }

/// Ids that no other task of the module gives (UID-01): 22 bits of task, 42 bits of counter. Of one task they ascend, or
/// descend; a task has four million million of them. In a stream topology a record that is tried again gets another.
#[derive(Clone, Copy)]
pub struct ModuleUniqueId(Counter<i64>);

impl ModuleUniqueId {
    /// Declares the private PState of this name that counts from 0 up.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str) -> ModuleUniqueId {
        ModuleUniqueId(Counter::<i64>::declare(topology, name, 0, 1))
    }

    /// Declares the private PState of this name that counts down, so that newer ids sort first.
    #[track_caller]
    pub fn declare_descending(topology: &mut StreamTopology, name: &str) -> ModuleUniqueId {
        ModuleUniqueId(Counter::<i64>::declare(topology, name, COUNTER_MAX, -1))
    }

    /// A new id, on the task the event runs on.
    #[track_caller]
    pub fn next(&self, b: &mut Block) -> Var<i64> {
        let number = self.0.next(b);
        let task = b.current_task_id();
        b.each((task, number), |(task, number)| task << COUNTER_BITS | number)
    }
}

/// Ids that are unique on their task, of 64 bits (UID-02).
#[derive(Clone, Copy)]
pub struct TaskUniqueId(Counter<i64>);

impl TaskUniqueId {
    /// Declares the private PState of this name that counts from 0 up.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str) -> TaskUniqueId {
        TaskUniqueId(Counter::<i64>::declare(topology, name, 0, 1))
    }

    /// Declares the private PState of this name that counts down from the largest number.
    #[track_caller]
    pub fn declare_descending(topology: &mut StreamTopology, name: &str) -> TaskUniqueId {
        TaskUniqueId(Counter::<i64>::declare(topology, name, i64::MAX, -1))
    }

    /// A new id, on the task the event runs on.
    #[track_caller]
    pub fn next(&self, b: &mut Block) -> Var<i64> {
        self.0.next(b)
    }
}

/// Ids that are unique on their task, of 32 bits (UID-02). When a task has given all of them, the event that asks for one
/// more fails.
#[derive(Clone, Copy)]
pub struct TaskUniqueId32(Counter<i32>);

impl TaskUniqueId32 {
    /// Declares the private PState of this name that counts from 0 up.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str) -> TaskUniqueId32 {
        TaskUniqueId32(Counter::<i32>::declare(topology, name, 0, 1))
    }

    /// Declares the private PState of this name that counts down from the largest number.
    #[track_caller]
    pub fn declare_descending(topology: &mut StreamTopology, name: &str) -> TaskUniqueId32 {
        TaskUniqueId32(Counter::<i32>::declare(topology, name, i32::MAX, -1))
    }

    /// A new id, on the task the event runs on.
    #[track_caller]
    pub fn next(&self, b: &mut Block) -> Var<i32> {
        self.0.next(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use std::collections::BTreeMap;

    struct Ids;

    impl Module for Ids {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let names = setup.declare_depot::<String>("*names", random());
            let mut s = topologies.stream("s");
            let up = ModuleUniqueId::declare(&mut s, "$$up");
            let down = ModuleUniqueId::declare_descending(&mut s, "$$down");
            let on_task = TaskUniqueId::declare(&mut s, "$$task");
            let from_max = TaskUniqueId::declare_descending(&mut s, "$$fromMax");
            let given = s.pstate::<Map<String, (i64, i64, i64, i64)>>("$$given");
            let made = s.pstate::<Map<String, Uuid>>("$$made");
            s.source(&names, |b, name| {
                let ids = (up.next(b), down.next(b), on_task.next(b), from_max.next(b));
                let ids = b.each(ids, |ids| ids);
                let uuid = b.each((), |()| uuid_v7());
                b.hash_partition(name);
                b.local_transform(given, path().key(name).term_val(ids));
                b.local_transform(made, path().key(name).term_val(uuid));
            });
        }
    }

    #[test]
    fn ids_are_unique_in_their_module_and_count_on_each_task() {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Ids>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() }).unwrap();
        let names = cluster.depot::<String>("Ids", "*names").unwrap();
        let given = cluster.pstate::<Map<String, (i64, i64, i64, i64)>>("Ids", "$$given").unwrap();
        let mut by_task: BTreeMap<i64, Vec<(i64, i64, i64, i64)>> = BTreeMap::new();
        for number in 0..40 {
            let name = format!("name {number}");
            names.append(&name).unwrap();
            let ids = given.select_one(path().must(name)).unwrap();
            by_task.entry(ids.0 >> 42).or_default().push(ids);
        }
        assert!(by_task.len() > 1 && by_task.keys().all(|task| (0..4).contains(task)), "{by_task:?}");
        let last_of_42_bits = 4_398_046_511_103;
        for (task, ids) in by_task {
            for (count, id) in (0..).zip(ids) {
                let base = task * (last_of_42_bits + 1);
                assert_eq!(id, (base + count, base + last_of_42_bits - count, count, i64::MAX - count));
            }
        }
        let made = cluster.pstate::<Map<String, Uuid>>("Ids", "$$made").unwrap();
        let [first, last] = ["name 0", "name 39"].map(|name| made.select_one(path().must(name)).unwrap());
        assert!(UuidV7::time_ms(first) <= UuidV7::time_ms(last) && first != last);
        let read = cluster.pstate::<Option<i64>>("Ids", "$$up").map(|up| up.select_on(0, path()));
        assert!(!matches!(&read, Ok(Ok(_))), "the counters are private");
        cluster.close().unwrap();
    }

    #[test]
    fn ids_of_32_bits_count_from_both_ends() {
        let block = TestBlock::define(
            |topology| {
                let down = TaskUniqueId32::declare_descending(topology, "$$down");
                (TaskUniqueId32::declare(topology, "$$up"), down)
            },
            |b, (up, down), _: Var<i64>| {
                let ids = (up.next(b), down.next(b));
                b.each(ids, |ids| ids)
            },
        );
        let (block, mut seen) = (block.unwrap(), Vec::new());
        for _ in 0..3 {
            block.run(&0i64, |ids| seen.push(*ids)).unwrap();
        }
        assert_eq!(seen, [(0, i32::MAX), (1, i32::MAX - 1), (2, i32::MAX - 2)]);
        let last = path::<Option<i32>>().term_val(i32::MAX);
        block.transform("$$up", &last).unwrap();
        let error = block.run(&0i64, |_| {}).unwrap_err().to_string();
        assert!(error.contains("has given all of its ids"), "{error}");
    }

    #[test]
    fn uuids_of_a_thread_ascend_and_say_when_they_were_made() {
        let made: Vec<Uuid> = (0..1000).map(|_| uuid_v7()).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(UuidV7::time_ms(made[0]) > 1_700_000_000_000);
    }
}
