//! What tests of modules need besides a cluster in the process: keys of certain tasks, and a log of what events do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tantu_base::value::{Value, encoded_key, partition_of_key};
pub use tantu_task::observe::{Did, Observe, Seen};

/// Calls of a PState's storage (TST-12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct IoCounts {
    /// Reads of one entry.
    pub reads: u64,
    /// Writes, deletions and deletions of ranges.
    pub writes: u64,
    /// Iterators opened.
    pub iterators: u64,
    /// Entries that iterators went over.
    pub steps: u64,
}

/// What happened since the log was last emptied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// By topology and task: events that came to their end.
    pub ended: BTreeMap<(String, u32), u64>,
    /// By topology, task and target: what partitioners sent.
    pub hops: BTreeMap<(String, u32, u32), u64>,
    /// By topology and task: reads of the records that a microbatch has of a depot on it.
    pub depot_reads: BTreeMap<(String, u32), u64>,
    /// By PState.
    pub io: BTreeMap<String, IoCounts>,
}

impl Events {
    /// What partitioners of a topology sent, from and to any task.
    pub fn hop_count(&self, topology: &str) -> u64 {
        self.hops.iter().filter(|((of, ..), _)| of == topology).map(|(_, count)| count).sum()
    }

    /// Calls of a PState's storage, on all tasks.
    pub fn io_of(&self, pstate: &str) -> IoCounts {
        self.io.get(pstate).copied().unwrap_or_default()
    }
}

/// A log of what the events of a module do (TST-11, TST-12): hand [`EventLog::observer`] to
/// [`InProcessCluster::launch_observed`](crate::local::InProcessCluster::launch_observed). Calls of storage are those of
/// topologies; an event that waits for a block is repeated from its step, and what it read there counts again.
///
/// ```
/// use tantu::prelude::*;
/// use tantu::testing::{EventLog, IoCounts};
///
/// struct Visits;
///
/// impl Module for Visits {
///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
///         let visits = setup.declare_depot::<String>("*visits", hash_by(|user: &String| user.clone()));
///         let mut counter = topologies.stream("counter");
///         let counts = counter.pstate::<Map<String, i64>>("$$counts");
///         counter.source(&visits, |b, user| {
///             b.compound_agg(counts, agg::key(user, agg::count()));
///         });
///     }
/// }
///
/// let log = EventLog::default();
/// let cluster = InProcessCluster::create()?;
/// cluster.launch_observed::<Visits>(LaunchConfig::new(4, 2), log.observer())?;
/// cluster.depot::<String>("Visits", "*visits")?.append(&"ann".to_string())?;
/// let events = log.take();
/// assert_eq!(events.hop_count("counter"), 0, "the depot is partitioned as the PState is");
/// assert_eq!(events.io_of("$$counts"), IoCounts { reads: 1, writes: 1, iterators: 0, steps: 0 });
/// cluster.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    events: Arc<Noted>,
}

#[derive(Debug, Default)]
struct Noted(Mutex<Events>);

impl Noted {
    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog {
    /// Who notes what events do.
    pub fn observer(&self) -> Arc<dyn Observe> {
        Arc::clone(&self.events) as Arc<dyn Observe>
    }

    /// What happened since the last call; the log is empty then.
    pub fn take(&self) -> Events {
        std::mem::take(&mut *self.events.events())
    }
}

impl Observe for Noted {
    fn observe(&self, Seen { topology, task, did }: Seen<'_>) {
        let mut events = self.events();
        let here = (topology.to_string(), task.0);
        match did {
            Did::End => *events.ended.entry(here).or_default() += 1,
            Did::Hop(to) => *events.hops.entry((here.0, here.1, to.0)).or_default() += 1,
            Did::DepotRead(_) => *events.depot_reads.entry(here).or_default() += 1,
            Did::Read(pstate) => events.io.entry(pstate.to_string()).or_default().reads += 1,
            Did::Write(pstate) => events.io.entry(pstate.to_string()).or_default().writes += 1,
            Did::Iterator(pstate) => events.io.entry(pstate.to_string()).or_default().iterators += 1,
            Did::Step(pstate) => events.io.entry(pstate.to_string()).or_default().steps += 1,
        }
    }
}

/// What was emitted: the name of its stream, none for the default stream, and the value.
pub type Emit = (Option<String>, Value);

/// Notes what an operation emits: in order, and by output stream; the default stream has no name (TST-07). Hand a clone to the code on
/// each stream of a block that runs alone.
///
/// ```
/// use tantu::prelude::*;
/// use tantu::testing::EmitLog;
///
/// let log = EmitLog::default();
/// let (numbers, others) = (log.clone(), log.clone());
/// let block = TestBlock::new(|b, line: Var<str>| {
///     let bad = b.out_stream::<str>("bad");
///     let (number, bad) = b.emits_streams(line, bad, move |line, out: &mut StreamEmit<'_, i64>| {
///         for word in line.split(' ') {
///             match word.parse::<i64>() {
///                 Ok(number) => out.owned(number),
///                 Err(_) => out.emit_on(bad, word),
///             }
///         }
///     });
///     b.branch(&bad, |b, word| {
///         b.each(word, move |word| others.note(Some("bad"), word));
///     });
///     b.each(number, move |number| numbers.note(None, number));
/// });
/// block.run(&"7 x 8".to_string(), |()| {})?;
/// let bad = Some("bad".to_string());
/// assert_eq!(log.in_order(), [(None, Value::I64(7)), (bad.clone(), Value::from("x")), (None, Value::I64(8))]);
/// assert_eq!(log.by_stream()[&None], [Value::I64(7), Value::I64(8)]);
/// assert_eq!(log.by_stream()[&bad], [Value::from("x")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EmitLog {
    emits: Arc<Mutex<Vec<Emit>>>,
}

impl EmitLog {
    fn emits(&self) -> MutexGuard<'_, Vec<Emit>> {
        self.emits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was emitted on a stream.
    pub fn note(&self, stream: Option<&str>, value: impl Into<Value>) {
        self.emits().push((stream.map(str::to_string), value.into()));
    }

    /// Every emit with its stream, in order.
    pub fn in_order(&self) -> Vec<Emit> {
        self.emits().clone()
    }

    /// The emits of each stream, in order.
    pub fn by_stream(&self) -> BTreeMap<Option<String>, Vec<Value>> {
        let mut streams: BTreeMap<Option<String>, Vec<Value>> = BTreeMap::new();
        for (stream, value) in self.in_order() {
            streams.entry(stream).or_default().push(value);
        }
        streams
    }

    /// Forgets what was noted.
    pub fn clear(&self) {
        self.emits().clear();
    }
}

/// A text for each of so many tasks that lives there: the first lives on task 0, the next on task 1 (TST-08). The same
/// arguments give the same texts, each of which begins with `prefix`.
///
/// ```
/// use tantu::testing::hashing_index_keys;
///
/// let users = hashing_index_keys("user", 8);
/// assert_eq!(users.len(), 8);
/// assert!(users.iter().all(|user| user.starts_with("user")));
/// assert_eq!(users, hashing_index_keys("user", 8));
/// ```
///
/// # Panics
/// If the number of tasks is not a power of two.
pub fn hashing_index_keys(prefix: &str, tasks: u32) -> Vec<String> {
    assert!(tasks.is_power_of_two(), "a module has a power of two of tasks, not {tasks}");
    let of_task = |task: u32| {
        let keys = (0u64..).map(|number| format!("{prefix}{number}"));
        let mut here = keys.filter(|key| partition_of_key(&encoded_key(&key.as_str()), tasks) == task);
        here.next().expect("invariant: every partition has keys")
    };
    (0..tasks).map(of_task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    struct Homes;

    impl Module for Homes {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let names = setup.declare_depot::<String>("*names", hash_by(|name: &String| name.clone()));
            let mut s = topologies.stream("s");
            let homes = s.pstate::<Map<String, i64>>("$$homes");
            s.source(&names, |b, name| {
                let task = b.current_task_id();
                b.local_transform(homes, path().key(name).term_val(task));
            });
        }
    }

    /// Counts by user, and by user and page; pages are looked up by a query.
    struct Counting;

    impl Module for Counting {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let visits =
                setup.declare_depot::<(String, i64)>("*visits", hash_by(|visit: &(String, i64)| visit.0.clone()));
            let mut counter = topologies.microbatch("counter");
            let counts = counter.pstate::<Map<String, i64>>("$$counts");
            counter.source(&visits, |m, batch| {
                let visit = m.explode_microbatch(batch);
                let user = m.each(visit, |visit| visit.0.clone());
                m.compound_agg(counts, agg::key(user, agg::count()));
            });
            let mut pages = topologies.stream("pages");
            let by_page = pages.pstate::<Map<String, Sub<Map<i64, i64>>>>("$$by_page");
            pages.source(&visits, |b, visit| {
                let (user, page) = b.expand(visit, |visit| visit.clone());
                b.compound_agg(by_page, agg::key(user, agg::sub(agg::key(page, agg::count()))));
                let turned = b.each(user, |user| user.chars().rev().collect::<String>());
                b.hash_partition(turned);
                b.filter(turned, |turned| turned.is_empty());
            });
            topologies.query("first", |q, (user,): (Var<str>,)| {
                q.hash_partition(user);
                let pages = q.local_select(by_page, path().key(user).sorted_map_range_from_start(50).map_keys());
                q.origin_partition();
                q.agg::<i64>(agg::max(pages))
            });
        }
    }

    #[test]
    fn a_bump_of_a_count_in_a_microbatch_is_one_read_and_one_write_and_a_range_is_one_iterator() {
        let log = EventLog::default();
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch_observed::<Counting>(LaunchConfig::new(4, 2), log.observer()).unwrap();
        let wait = |count| {
            let long = std::time::Duration::from_secs(30);
            cluster.wait_for_microbatch_processed_count("Counting", "counter", count, long).unwrap();
        };
        let visits = cluster.depot::<(String, i64)>("Counting", "*visits").unwrap();
        visits.append(&("ann".to_string(), 0)).unwrap();
        wait(1);
        let events = log.take();
        assert_eq!(events.io_of("$$counts"), IoCounts { reads: 1, writes: 1, ..IoCounts::default() });
        assert_eq!(events.hop_count("pages"), 1);
        assert_eq!(events.hop_count("counter"), 4, "a microbatch begins on every task, and goes nowhere else");
        assert_eq!(events.ended.iter().filter(|((of, _), _)| of == "pages").map(|(_, count)| count).sum::<u64>(), 2);
        assert!(events.depot_reads.keys().any(|(topology, _)| topology == "counter"), "{events:?}");
        let all = (1..=80i64).map(|page| visits.append_async(&("ann".to_string(), page), AckLevel::Ack).unwrap());
        let all: Vec<_> = all.collect();
        for visit in all {
            visit.wait().unwrap();
        }
        wait(81);
        log.take();
        let first = cluster.query::<(String,), i64>("Counting", "first").unwrap();
        assert_eq!(first.invoke(&("ann".to_string(),)).unwrap(), 49);
        let IoCounts { reads, writes, iterators, steps } = log.take().io_of("$$by_page");
        assert!((50..=51).contains(&steps), "{steps} steps");
        assert!(reads <= 1 && iterators == 1 && writes == 0, "{reads} reads, {iterators} iterators, {writes} writes");
        cluster.close().unwrap();
    }

    #[test]
    fn a_module_launched_again_keeps_its_state_and_the_handles_of_its_clients() {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Homes>(LaunchConfig::new(4, 2)).unwrap();
        let names = cluster.depot::<String>("Homes", "*names").unwrap();
        let homes = cluster.pstate::<Map<String, i64>>("Homes", "$$homes").unwrap();
        let other = Depot::<String>::new(&cluster.connect("Homes").unwrap(), "*names").unwrap();
        let keys = hashing_index_keys("", 4);
        for (task, name) in keys.iter().enumerate() {
            let names = if task % 2 == 0 { &names } else { &other };
            names.append(name).unwrap();
            cluster.restart::<Homes>().unwrap();
            let found: Vec<_> = keys.iter().map(|key| homes.select_one(path().key(&**key)).unwrap()).collect();
            let expected: Vec<_> = (0..4).map(|at| (at <= task).then_some(at as i64)).collect();
            assert_eq!(found, expected);
        }
        assert!(matches!(cluster.restart::<Counting>(), Err(ClusterError::NotAlive { .. })));
        cluster.close().unwrap();
    }

    /// Notes when each name was seen.
    struct Times;

    impl Module for Times {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let names = setup.declare_depot::<String>("*names", random());
            let mut s = topologies.stream("s");
            let times = s.pstate_with::<Map<String, i64>>("$$times", PStateOptions::global());
            s.source(&names, |b, name| {
                b.global_partition();
                let time = b.each(name, |_| crate::schedule::current_time_ms());
                b.local_transform(times, path().key(name).term_val(time));
            });
        }
    }

    #[test]
    fn time_in_a_story_is_the_simulations() {
        let hour = std::time::Duration::from_secs(3_600);
        crate::sim::seeds(3).faults(crate::sim::Faults::none()).run::<Times>(move |sim| {
            let names = sim.depot::<String>("*names")?;
            names.append(&"early".to_string())?;
            sim.run_for(hour);
            names.append(&"late".to_string())?;
            let times = sim.pstate::<Map<String, i64>>("$$times")?;
            let time = |name: &str| times.select_one(path().key(name));
            let passed = time("late")?.unwrap() - time("early")?.unwrap();
            assert!((3_600_000..3_605_000).contains(&passed), "{passed} ms");
            Ok(())
        });
        assert!(crate::schedule::current_time_ms() > 1_750_000_000_000, "real time again");
    }

    #[test]
    fn each_key_is_where_its_index_says() {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Homes>(LaunchConfig { tasks: 8, threads: 2, ..LaunchConfig::default() }).unwrap();
        let names = cluster.depot::<String>("Homes", "*names").unwrap();
        let homes = cluster.pstate::<Map<String, i64>>("Homes", "$$homes").unwrap();
        for (task, name) in (0i64..).zip(hashing_index_keys("", 8)) {
            names.append(&name).unwrap();
            assert_eq!(homes.select_one(path().key(&*name)).unwrap(), Some(task), "{name}");
        }
        cluster.close().unwrap();
    }

    #[test]
    fn emits_are_noted_in_order_and_by_stream() {
        let log = EmitLog::default();
        let (evens, odds) = (log.clone(), log.clone());
        let block = TestBlock::new(|b, most: Var<i64>| {
            let odd = b.out_stream::<i64>("odd");
            let (even, odd) = b.emits_streams(most, odd, move |most, out: &mut StreamEmit<'_, i64>| {
                (1..=most).for_each(|n| if n % 2 == 0 { out.owned(n) } else { out.owned_on(odd, n) });
            });
            b.branch(&odd, |b, n| {
                b.each(n, move |n| odds.note(Some("odd"), n));
            });
            b.each(even, move |n| evens.note(None, n));
        });
        block.run(&5i64, |()| {}).unwrap();
        let odd = Some("odd".to_string());
        let numbers = |all: &[i64]| all.iter().map(|n| Value::I64(*n)).collect::<Vec<_>>();
        let streams: Vec<_> = log.in_order().into_iter().map(|(stream, _)| stream).collect();
        assert_eq!(streams, [odd.clone(), None, odd.clone(), None, odd.clone()]);
        let values: Vec<Value> = log.in_order().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, numbers(&[1, 2, 3, 4, 5]));
        assert_eq!(log.by_stream(), BTreeMap::from([(None, numbers(&[2, 4])), (odd, numbers(&[1, 3, 5]))]));
        log.clear();
        assert!(log.in_order().is_empty());
    }
}
