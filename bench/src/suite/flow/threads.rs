//! Real task threads of a module: their loops, their rings, their log. Only the client is left out where a workload
//! feeds them itself.
//!
//! The files are in memory (`/dev/shm`) unless `--dir` says otherwise: what these workloads measure is not the disk.

use crate::Common;
use crate::alloc::allocation_count;
use crate::error::BenchError;
use crate::suite::flow::feed::{Feed, FeedWire};
use crate::suite::flow::rmw::failed;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tantu_base::door::{Disk, DiskDone, DiskOp, DiskRoom, Doors, LetterBatch, Peer, Token, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, ObjectId, ThreadId};
use tantu_client::{Connection, StopText};
use tantu_doors::{CoreLoop, Cores, CoresConfig, Step, spawn_cores};
use tantu_flow::{MicrobatchDef, MicrobatchObjects, Module, ModuleRuntime, define};
use tantu_net::Mesh;
use tantu_net::event::Events;
use tantu_net::letter::{Letter, MicrobatchSays};
use tantu_task::{Progress, TaskThread, ThreadConfig};

/// Longest a workload may take before something is wrong.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// What one thread has done so far. It writes, the bench reads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    allocations: AtomicU64,
    /// Letters of events to other threads, and their bytes.
    pub(super) events: AtomicU64,
    pub(super) event_size: AtomicU64,
    /// Batches of letters in which they travel.
    pub(super) event_batches: AtomicU64,
    /// The same of microbatches.
    pub(super) microbatch_events: AtomicU64,
    pub(super) microbatch_batches: AtomicU64,
    /// Bytes of all that goes to other threads.
    pub(super) sent_size: AtomicU64,
    /// Writes that were to be durable: one for each commit.
    pub(super) commits: AtomicU64,
    /// Nanoseconds from the first record fed to the moment when nothing was under way.
    pub(super) fed_ns: AtomicU64,
}

/// What the loops and the bench share.
#[derive(Debug)]
struct Shared {
    ending: AtomicBool,
    counters: Vec<Counters>,
    stopped: StopText,
    feed: Mutex<Option<Feed>>,
    is_fed: AtomicBool,
}

/// What is watched besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Watch {
    Nothing,
    /// Bytes of letters: each is read once more for it.
    Letters,
}

struct Body {
    thread: TaskThread,
    shared: Arc<Shared>,
    watch: Watch,
    feed: Option<(Feed, Instant)>,
    held: Held,
}

/// Commits that wait: while a feed runs, what is durable is told as soon as the thread has nothing else to do, as a disk
/// that takes its time would tell it.
#[derive(Default)]
struct Held {
    /// Writes under way that are to be durable.
    tokens: Vec<Token>,
    done: Vec<DiskDone>,
    is_open: bool,
}

impl Body {
    /// Takes what is to be fed, or tells that all of it is done.
    fn look_at_feed(&mut self) {
        if self.feed.is_none() && self.shared.is_fed.load(Ordering::Acquire) {
            let mut feed = self.shared.feed.lock().unwrap_or_else(PoisonError::into_inner);
            self.feed = feed.take().map(|feed| (feed, Instant::now()));
        }
        let ready = |(feed, _): &&mut (Feed, Instant)| feed.is_at_end() && self.thread.is_quiet();
        let Some((feed, began)) = self.feed.as_mut().filter(ready) else { return };
        // An epoch begins when nothing of the one before it is under way.
        if !feed.is_empty() {
            return feed.begin_epoch();
        }
        let fed_ns = &self.shared.counters[self.thread.thread().index()].fed_ns;
        fed_ns.store(began.elapsed().as_nanos() as u64, Ordering::Release);
        self.feed = None;
    }
}

impl CoreLoop for Body {
    fn step(&mut self, doors: &mut Doors<'_>) -> Step {
        if self.shared.ending.load(Ordering::Acquire) {
            return Step::Stop;
        }
        self.look_at_feed();
        let counters = &self.shared.counters[self.thread.thread().index()];
        let mut watched = WatchedWire { wire: &mut *doors.wire, counters };
        let wire: &mut dyn Wire = match (&mut self.feed, self.watch) {
            (Some((feed, _)), _) => &mut FeedWire { feed, wire: watched.wire },
            (None, Watch::Letters) => &mut watched,
            (None, Watch::Nothing) => watched.wire,
        };
        let mut disk = WatchedDisk { disk: &mut *doors.disk, counters, held: &mut self.held };
        let mut doors =
            Doors { disk: &mut disk, wire, clock: doors.clock, entropy: &mut *doors.entropy, jobs: &mut *doors.jobs };
        let progress = self.thread.step(&mut doors);
        let is_idle = matches!(progress, Ok(Progress::Idle { .. }));
        self.held.is_open = self.feed.is_none() || is_idle;
        counters.allocations.store(allocation_count(), Ordering::Relaxed);
        match progress {
            Ok(Progress::Busy) => Step::Busy,
            Ok(Progress::Idle { .. }) if self.feed.is_some() || self.thread.lingers() => Step::Busy,
            Ok(Progress::Idle { wake_at }) => Step::Idle { wake_at },
            Err(reason) => {
                let mut stopped = self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
                stopped.get_or_insert_with(|| reason.to_string());
                Step::Stop
            }
        }
    }
}

/// A wire that counts what goes to other threads.
struct WatchedWire<'a> {
    wire: &'a mut dyn Wire,
    counters: &'a Counters,
}

impl Wire for WatchedWire<'_> {
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        if category == Category::LowLatency {
            let (mut events, mut size) = (0, 0);
            let mut reader = FixedReader::new(&batch.bytes);
            let mut left = reader.rest().len();
            while let Some(letter) = Letter::decode_next(&mut reader) {
                let letter_size = left - reader.rest().len();
                left = reader.rest().len();
                if let Ok(Letter::Events { rows }) = letter {
                    events += Events::new(rows).count() as u64;
                    size += letter_size;
                }
            }
            self.counters.events.fetch_add(events, Ordering::Relaxed);
            self.counters.event_batches.fetch_add(u64::from(events > 0), Ordering::Relaxed);
            self.counters.event_size.fetch_add(size as u64, Ordering::Relaxed);
            self.counters.sent_size.fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
        }
        if category == Category::FlexLatency {
            let events = microbatch_events(&batch.bytes);
            self.counters.microbatch_events.fetch_add(events, Ordering::Relaxed);
            self.counters.microbatch_batches.fetch_add(u64::from(events > 0), Ordering::Relaxed);
        }
        self.wire.send(to, category, batch)
    }

    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        self.wire.receive(category)
    }

    fn departed(&mut self) -> Option<Peer> {
        self.wire.departed()
    }

    fn ring_bells(&mut self) {
        self.wire.ring_bells();
    }

    fn give_back(&mut self, from: Peer, category: Category, bytes: Vec<u8>) {
        self.wire.give_back(from, category, bytes);
    }

    fn buffer(&mut self, to: Peer, category: Category) -> Vec<u8> {
        self.wire.buffer(to, category)
    }
}

/// How many events of microbatches there are among letters.
fn microbatch_events(letters: &[u8]) -> u64 {
    let (mut reader, mut count) = (FixedReader::new(letters), 0);
    while let Some(letter) = Letter::decode_next(&mut reader) {
        if let Ok(Letter::Microbatch { says: MicrobatchSays::Events, body, .. }) = letter {
            let mut inner = FixedReader::new(body);
            while let Some(letter) = Letter::decode_next(&mut inner) {
                count += u64::from(matches!(letter, Ok(Letter::Continue { .. })));
            }
        }
    }
    count
}

/// A disk that counts what has to be durable.
struct WatchedDisk<'a> {
    disk: &'a mut dyn Disk,
    counters: &'a Counters,
    held: &'a mut Held,
}

impl Disk for WatchedDisk<'_> {
    fn submit(&mut self, token: Token, op: DiskOp) {
        if let DiskOp::Write { durable: true, .. } = op {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.held.tokens.push(token);
        }
        self.disk.submit(token, op);
    }

    fn start(&mut self) {
        self.disk.start();
    }

    fn has_done(&mut self) -> bool {
        self.disk.has_done()
    }

    fn reap(&mut self, done: &mut Vec<DiskDone>) {
        let first = done.len();
        self.disk.reap(done);
        let Held { tokens, done: held, is_open, .. } = &mut *self.held;
        let mut is_commit = |one: &mut DiskDone| {
            let found = tokens.iter().position(|token| *token == one.token);
            found.map(|at| tokens.swap_remove(at)).is_some()
        };
        held.extend(done.extract_if(first.., &mut is_commit));
        if *is_open {
            done.append(held);
        }
    }

    fn wait(&mut self) {
        self.disk.wait();
    }

    fn room(&self, path: &Path) -> Option<DiskRoom> {
        self.disk.room(path)
    }
}

/// See the module.
pub(super) struct Threads {
    pub(super) connection: Connection,
    shared: Arc<Shared>,
    cores: Option<Cores>,
    // Attached ports speak to its threads.
    _mesh: Mesh,
    _dir: tempfile::TempDir,
}

impl Threads {
    /// A module's tasks on so many threads, with fresh files.
    pub(super) fn start<M: Module>(
        common: &Common,
        tasks: u32,
        threads: u32,
        watch: Watch,
    ) -> Result<Threads, BenchError> {
        let dir = common.memory_dir()?;
        let def = define::<M>().map_err(|error| failed("defining a module", error))?;
        let mut ids = (1..).map(ObjectId);
        let mut take = |count: usize| ids.by_ref().take(count).collect::<Vec<_>>();
        let (depots, pstates) = (take(def.depots.len()), take(def.pstates.len()));
        let sources = take(def.streams.iter().map(|stream| stream.sources.len()).sum());
        let objects = |microbatch: &MicrobatchDef| {
            let topology = take(1)[0];
            MicrobatchObjects { topology, sources: take(microbatch.sources.len()) }
        };
        let microbatches = def.microbatches.iter().map(objects).collect();
        let (task_count, thread_count) = (tasks, threads);
        let module = Arc::new(ModuleRuntime {
            def,
            task_count,
            thread_count,
            depots,
            pstates,
            sources,
            microbatches,
            removed_microbatches: Vec::new(),
        });
        let (mesh, ports) = Mesh::new(threads);
        let shared = Arc::new(Shared {
            ending: AtomicBool::new(false),
            counters: (0..threads).map(|_| Counters::default()).collect(),
            stopped: StopText::default(),
            feed: Mutex::default(),
            is_fed: AtomicBool::new(false),
        });
        let make = {
            let (shared, module, dir) = (Arc::clone(&shared), Arc::clone(&module), dir.path().to_path_buf());
            move |thread: ThreadId, doors: &mut Doors<'_>| {
                let config = ThreadConfig::new(thread, dir.clone(), Arc::clone(&module));
                let thread = TaskThread::open(config, doors)?;
                Ok::<_, tantu_task::StopReason>(Body {
                    thread,
                    shared: Arc::clone(&shared),
                    watch,
                    feed: None,
                    held: Held::default(),
                })
            }
        };
        let cores = spawn_cores(CoresConfig::default(), ports, make).map_err(|error| match error {
            Ok(error) => failed("starting a core", error),
            Err(reason) => failed("opening a task thread", reason),
        })?;
        let connection = Connection::new(module, mesh.attach(), Arc::clone(&shared.stopped));
        Ok(Threads { connection, shared, cores: Some(cores), _mesh: mesh, _dir: dir })
    }

    /// Allocations of all its threads so far.
    pub(super) fn allocation_count(&self) -> u64 {
        self.shared.counters.iter().map(|counters| counters.allocations.load(Ordering::Relaxed)).sum()
    }

    /// A counter, over all its threads.
    pub(super) fn sum(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.shared.counters.iter().map(|counters| of(counters).load(Ordering::Acquire)).sum()
    }

    /// Lets the only thread take records from memory and returns how long it took until nothing of them was under way.
    pub(super) fn feed(&self, feed: Feed) -> Result<Duration, BenchError> {
        let began = Instant::now();
        self.shared.counters[0].fed_ns.store(0, Ordering::Release);
        *self.shared.feed.lock().unwrap_or_else(PoisonError::into_inner) = Some(feed);
        self.shared.is_fed.store(true, Ordering::Release);
        self.cores.iter().for_each(Cores::wake_all);
        loop {
            std::thread::sleep(Duration::from_micros(500));
            let ns = self.sum(|counters| &counters.fed_ns);
            if ns > 0 {
                self.shared.is_fed.store(false, Ordering::Release);
                return Ok(Duration::from_nanos(ns));
            }
            if let Some(text) = &*self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) {
                return Err(BenchError::Wrong(format!("a task thread had to stop: {text}")));
            }
            if began.elapsed() > WAIT_MAX {
                return Err(BenchError::Wrong("what was fed is not done in two minutes".into()));
            }
        }
    }
}

impl Drop for Threads {
    /// Its files go with it, so nothing is brought in order.
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(cores) = self.cores.take() {
            cores.wake_all();
            cores.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_client::{Depot, Microbatch};
    use tantu_flow::{Setup, Topologies, hash_by};
    use tantu_net::letter::AckLevel;
    use tantu_path::{Map, agg};

    /// Numbers that a stream and a microbatch count where the hash of the next number says.
    struct Both;

    impl Module for Both {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
            let mut stream = topologies.stream("stream");
            let seen = stream.pstate::<Map<i64, i64>>("$$seen");
            stream.source(&numbers, |b, n| {
                let next = b.each(n, |n| n + 1);
                b.hash_partition(next);
                b.compound_agg(seen, agg::key(next, agg::count()));
            });
            let mut microbatch = topologies.microbatch("microbatch");
            let counts = microbatch.pstate::<Map<i64, i64>>("$$counts");
            microbatch.source(&numbers, |m, batch| {
                let n = m.explode_microbatch(batch);
                let next = m.each(n, |n| n + 1);
                m.hash_partition(next);
                m.compound_agg(counts, agg::key(next, agg::count()));
            });
        }
    }

    #[test]
    fn events_travel_in_groups_to_each_thread_and_those_of_a_microbatch_in_larger_ones() {
        let running = Threads::start::<Both>(&crate::tests::smoke(), 2, 2, Watch::Letters).expect("it starts");
        let depot = Depot::<i64>::new(&running.connection, "*numbers").expect("it is there");
        let microbatch = Microbatch::new(&running.connection, "microbatch").expect("it is there");
        microbatch.pause().expect("it answers");
        let count = 4_000;
        // A few hundred under way at once, as clients would have them.
        for some in (0..count).collect::<Vec<i64>>().chunks(200) {
            let sent: Vec<_> =
                some.iter().map(|n| depot.append_async(n, AckLevel::Ack).expect("there is room")).collect();
            for answer in sent {
                answer.wait().expect("it is made");
            }
        }
        microbatch.resume().expect("it answers");
        microbatch.wait_for_processed(count as u64, WAIT_MAX).expect("it is processed");
        let crossed = (0..count)
            .filter(|n| tantu_base::value::partition_of(n, 2) != tantu_base::value::partition_of(&(n + 1), 2));
        let crossed = crossed.count() as u64;
        assert_eq!(running.sum(|c| &c.events), crossed, "one event of the stream for each number that crosses");
        assert!(running.sum(|c| &c.microbatch_events) >= crossed, "and one of the microbatch, besides its own");
        let of_stream = crossed as f64 / running.sum(|c| &c.event_batches) as f64;
        let of_microbatch = crossed as f64 / running.sum(|c| &c.microbatch_batches) as f64;
        assert!(of_stream > 2.0, "{of_stream} events of the stream in a batch");
        assert!(of_microbatch > 2.0 * of_stream, "{of_microbatch} of the microbatch, {of_stream} of the stream");
    }
}
