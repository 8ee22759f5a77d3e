//! One task whose topologies stream and run microbatches on a simulated disk, and what must be there after any cut.
//!
//! The log is not on the disk. An entry that was committed is durable; of those that were sealed behind it a cut keeps any
//! number. What the log says that it gave up is gone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use tantu_base::door::Disk;
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, RunId, TaskId, Version};
use tantu_lsm::{BlockCache, Need, TreeOptions};
use tantu_path::{Stop, Store};
use tantu_replog::Lsn;
use tantu_state::depot::Lookup;
use tantu_state::section::{EntryWriter, Op, sections};
use tantu_state::segment::SegmentOptions;
use tantu_state::side::view::RunView;
use tantu_state::side::{RunError, RunEvent};
use tantu_state::task::{Owners, StateError};
use tantu_state::view::{OwnView, PinnedView};
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{SimDisk, SimEntropy};

/// The PStates: one of a stream topology, one each of two microbatch topologies.
const OBJECTS: [ObjectId; 3] = [ObjectId(5), ObjectId(6), ObjectId(7)];
const STREAM: ObjectId = ObjectId(0);
/// The microbatch topologies.
const TOPOLOGIES: [ObjectId; 2] = [ObjectId(11), ObjectId(12)];
const KEY_COUNT: u64 = 40;
/// The depot to which clients and runs append.
const DEPOT: ObjectId = ObjectId(20);

pub(crate) type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a reader of the whole log knows, up to some entry.
#[derive(Clone, Default)]
pub(crate) struct Truth {
    stream: Table,
    micro: [Table; 2],
    published: [Option<RunId>; 2],
    /// With the epoch, and what the topology's PState will be.
    prepared: BTreeMap<RunId, (Epoch, Table)>,
    /// What these will append.
    appends: BTreeMap<RunId, Vec<Vec<u8>>>,
    /// The depot's records.
    records: Vec<Vec<u8>>,
}

struct Entry {
    lsn: u64,
    body: Vec<u8>,
    truth: Truth,
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        Self { lsn: self.lsn, body: self.body.clone(), truth: self.truth.clone() }
    }
}

/// What was sealed.
#[derive(Clone, Default)]
pub(crate) struct Expected {
    /// From the low-water mark on.
    log: VecDeque<Entry>,
    /// Up to the entry before the first of the log.
    before: Truth,
    next_lsn: u64,
    /// Everything below is durable.
    committed: u64,
    lives: u64,
}

impl Expected {
    /// What a cut may leave of the log.
    fn cut(&mut self, chance: &mut SimEntropy) {
        let uncertain = self.next_lsn - self.committed;
        self.next_lsn -= chance.below(uncertain + 1);
        self.committed = self.next_lsn;
        let next_lsn = self.next_lsn;
        self.log.retain(|entry| entry.lsn < next_lsn);
    }

    fn truth(&self) -> &Truth {
        self.log.back().map_or(&self.before, |entry| &entry.truth)
    }
}

/// A run that takes writes, or is on its way to the log, and what the topology's PState would be with it.
struct Open {
    run: RunId,
    table: Table,
    appends: Vec<Vec<u8>>,
    is_prepared: bool,
}

pub(crate) struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    state: TaskState,
    need: Option<Need>,
    epoch: Epoch,
    attempts: u32,
    open: [Option<Open>; 2],
    entropy: SimEntropy,
    /// Records of clients that are not sealed.
    staged: VecDeque<Vec<u8>>,
    appended: u64,
    /// Records that were looked at in this life: what is committed does not change.
    checked_count: usize,
    /// The stream's PState with what is staged.
    stream: Table,
    /// What everybody sees.
    visible: Truth,
    has_large_values: bool,
    /// Runs that are published and told of later: what they append is on its way from the disk.
    untold: Vec<RunEvent>,
    /// How often something happened.
    pub(crate) published_count: u64,
    pub(crate) dropped_count: u64,
    pub(crate) chunk_count: u64,
    pub(crate) appended_count: u64,
    pub(crate) spilled_count: u64,
    pub(crate) owed_count: u64,
}

impl Rig {
    /// Opens the task and replays its log, of which a cut took some of the end.
    pub(crate) fn open(mut disk: SimDisk, chance: &mut SimEntropy, expected: &mut Expected) -> Result<Rig, StateError> {
        expected.cut(chance);
        expected.lives += 1;
        let mut cache = BlockCache::new(8 * 4096);
        let tree =
            TreeOptions { table_size_max: 16 << 10, run_count_max: 2, write_size: 8 << 10, ..Default::default() };
        let segments = SegmentOptions { chunk_size_max: 8 << 10, large_run_size: 2 << 10, ..SegmentOptions::default() };
        let mut options = TaskStateOptions { tree, segments, ..TaskStateOptions::default() };
        if chance.percent(50) {
            options.side_memory_size_max = 1 << 10;
        }
        if chance.percent(70) {
            options.side_slice_count = 1 + chance.below(8) as usize;
        }
        let owners = Owners { tree: 1, segments: 2 };
        let task = TaskId(3);
        let mut state =
            TaskState::open(&mut disk, chance, &mut cache, Path::new("task"), owners, task, &[DEPOT], &options)?;
        state.know_topologies(&mut disk, &mut cache, &TOPOLOGIES)?;
        for entry in &expected.log {
            for section in sections(&entry.body) {
                state.replay(&section.expect("it was sealed"), Lsn(entry.lsn))?;
            }
        }
        state.verify(&mut disk, &mut cache, 64 << 20)?;
        state.take_run_events();
        let visible = expected.truth().clone();
        let published = TOPOLOGIES.iter().filter_map(|topology| state.published(*topology));
        let published = published.filter(|published| state.owes(published.run));
        let untold = published.map(|published| RunEvent::Published { run: published.run, version: published.version });
        let untold = untold.collect();
        Ok(Rig {
            disk,
            cache,
            state,
            need: None,
            epoch: Epoch(expected.lives),
            attempts: 0,
            open: [None, None],
            entropy: SimEntropy::new(expected.lives),
            staged: VecDeque::new(),
            appended: 0,
            checked_count: 0,
            stream: visible.stream.clone(),
            visible,
            has_large_values: false,
            untold,
            owed_count: 0,
            published_count: 0,
            dropped_count: 0,
            chunk_count: 0,
            appended_count: 0,
            spilled_count: 0,
        })
    }

    /// Values are up to half a chunk long from now on.
    pub(crate) fn with_large_values(mut self) -> Self {
        self.has_large_values = true;
        self
    }

    fn deliver(&mut self, wait: bool) -> Result<(), StateError> {
        if wait {
            self.disk.wait();
        }
        let mut done = Vec::new();
        self.disk.reap(&mut done);
        done.into_iter().try_for_each(|done| self.state.complete(done, &mut self.cache, &mut self.disk).map(drop))
    }

    /// A slice of each kind of background work.
    fn background(&mut self) -> Result<bool, StateError> {
        let more = self.state.background(&mut self.disk)?;
        Ok(self.state.side_slice(&self.cache, &mut self.disk)? || more)
    }

    /// Finishes whatever runs in the background.
    pub(crate) fn settle(&mut self) -> Result<(), StateError> {
        while self.background()? || self.state.is_busy() {
            self.deliver(self.state.is_busy())?;
        }
        Ok(())
    }

    /// Streams, runs microbatches, seals, commits; every so often flushes, merges, and lets the log go.
    pub(crate) fn work(
        &mut self,
        rounds: u64,
        chance: &mut SimEntropy,
        expected: &mut Expected,
    ) -> Result<(), StateError> {
        for _ in 0..rounds {
            for _ in 0..chance.below(4) {
                self.write_stream(chance);
            }
            for _ in 0..chance.below(3) {
                self.append(chance);
            }
            for _ in 0..chance.below(6) {
                let topology = chance.below(2) as usize;
                self.step_topology(topology, chance, expected)?;
            }
            if self.state.has_unsealed() && !self.state.waits_for_segment() && chance.percent(80) {
                self.seal(expected);
            }
            while expected.committed < expected.next_lsn && chance.percent(60) {
                self.commit(expected)?;
            }
            if chance.percent(20) {
                self.state.flush_memtable();
            }
            if chance.percent(20) {
                self.state.copy_records(Lsn(expected.committed), &mut self.entropy, &mut self.disk);
            }
            self.background()?;
            self.deliver(self.state.is_busy() && chance.percent(50))?;
            if chance.percent(50) {
                self.release(expected);
            }
        }
        Ok(())
    }

    /// Seals and commits until nothing is left to.
    pub(crate) fn finish(&mut self, expected: &mut Expected) -> Result<(), StateError> {
        while self.state.has_unsealed() || expected.committed < expected.next_lsn {
            self.settle()?;
            self.seal(expected);
            while expected.committed < expected.next_lsn {
                self.commit(expected)?;
            }
        }
        Ok(())
    }

    /// One step of a microbatch topology: whatever comes next, or a new attempt.
    fn step_topology(
        &mut self,
        topology: usize,
        chance: &mut SimEntropy,
        expected: &Expected,
    ) -> Result<(), StateError> {
        let of_topology = |run: &RunId| run.topology == TOPOLOGIES[topology];
        let prepared: Vec<RunId> =
            self.state.prepared_runs().map(|(run, _)| run).filter(|run| of_topology(run)).collect();
        assert!(prepared.len() <= 1, "{prepared:?}");
        let is_logged = |run: &RunId| expected.truth().prepared.contains_key(run);
        if let Some(run) = prepared.first().filter(|run| is_logged(run)) {
            match chance.below(8) {
                0 => self.begin(topology, expected),
                1 => {
                    self.state.drop_run(*run).expect("it is not being published");
                    self.dropped_count += 1;
                    self.open[topology] = None;
                }
                2..5 => self.state.publish_run(*run).expect("it is prepared"),
                _ => {
                    let table = expected.truth().prepared[run].1.clone();
                    self.read_run(*run, topology, &table, chance)?;
                }
            }
            return Ok(());
        }
        match &self.open[topology] {
            None => self.begin(topology, expected),
            Some(Open { is_prepared: true, .. }) if chance.percent(90) => {}
            Some(_) if chance.percent(3) => self.begin(topology, expected),
            Some(_) if chance.percent(12) => self.prepare(topology),
            Some(_) => {
                (0..4).for_each(|_| self.write_run(topology, chance));
                let Open { run, table, .. } = self.open[topology].as_ref().expect("just seen");
                let (run, table) = (*run, table.clone());
                self.read_run(run, topology, &table, chance)?;
            }
        }
        Ok(())
    }

    /// Begins the next attempt, unless the run before is being published.
    fn begin(&mut self, topology: usize, expected: &Expected) {
        let truth = expected.truth();
        let id = truth.published[topology].map_or(1, |run| run.id + 1);
        self.attempts += 1;
        let attempt = Attempt { epoch: self.epoch, counter: self.attempts };
        let run = RunId { topology: TOPOLOGIES[topology], id, attempt };
        match self.state.begin_run(run) {
            Ok(()) => {
                let table = truth.micro[topology].clone();
                self.dropped_count += u64::from(self.open[topology].is_some());
                self.open[topology] = Some(Open { run, table, appends: Vec::new(), is_prepared: false });
                let again = self.state.begin_run(run);
                assert_eq!(again, Err(RunError::Stale { run, newer: run }), "a run begins once");
            }
            // Its publish is staged, or sealed and not durable: then the truth has the next id.
            Err(RunError::Unpublished { older }) => assert!(older < run),
            Err(error) => panic!("{error}"),
        }
    }

    fn prepare(&mut self, topology: usize) {
        let epoch = self.epoch;
        let Some(open) = self.open[topology].as_mut().filter(|open| !open.is_prepared) else { return };
        self.state.prepare_run(open.run, epoch).expect("it is open");
        assert_eq!(self.state.prepare_run(open.run, epoch), Err(RunError::Phase(open.run)));
        assert_eq!(self.state.publish_run(open.run), Err(RunError::Phase(open.run)), "it is not durable");
        open.is_prepared = true;
    }

    fn write_stream(&mut self, chance: &mut SimEntropy) {
        let (key, value) = (key(chance.below(KEY_COUNT)), vec![chance.below(256) as u8; chance.below(400) as usize]);
        let Rig { state, cache, need, .. } = self;
        let mut view = OwnView { state, cache, need, objects: &OBJECTS };
        if chance.percent(80) {
            view.put(STREAM, &key, &value).expect("staging needs no block");
            self.stream.insert(key, value);
        } else {
            view.delete(STREAM, &key).expect("staging needs no block");
            self.stream.remove(&key);
        }
    }

    /// A record that no other is like.
    fn record(&mut self, from: &str, chance: &mut SimEntropy) -> Vec<u8> {
        self.appended += 1;
        let size = if self.has_large_values && chance.percent(5) { 400_000 } else { chance.below(900) as usize };
        format!("{from} {} {}{}", self.epoch.0, self.appended, "x".repeat(size)).into_bytes()
    }

    /// A client appends; some of its records belong to other writes of their section.
    fn append(&mut self, chance: &mut SimEntropy) {
        let record = self.record("client", chance);
        let depot = self.state.depot_mut(0);
        let _offset = if chance.percent(30) { depot.stage_bound(&record) } else { depot.stage(&record) };
        self.staged.push_back(record);
    }

    /// A run appends.
    fn append_to_run(&mut self, topology: usize, chance: &mut SimEntropy) {
        let record = self.record("run", chance);
        let Some(Open { run, appends, is_prepared, .. }) = &mut self.open[topology] else { return };
        match self.state.append_to_run(*run, 0, &record) {
            Ok(()) if !*is_prepared => appends.push(record),
            Err(RunError::Phase(of)) if *is_prepared => assert_eq!(of, *run),
            other => panic!("{other:?}"),
        }
    }

    fn write_run(&mut self, topology: usize, chance: &mut SimEntropy) {
        if chance.percent(30) {
            return self.append_to_run(topology, chance);
        }
        let size = if self.has_large_values && chance.percent(5) { 500_000 } else { 400 };
        let Rig { state, cache, need, open, .. } = self;
        let Some(Open { run, table, is_prepared, .. }) = &mut open[topology] else { return };
        let mut view = RunView { state, cache, need, objects: &OBJECTS, run: *run };
        let object = ObjectId(1 + topology as u32);
        let (from, value) = (chance.below(KEY_COUNT), vec![chance.below(256) as u8; chance.below(size) as usize]);
        let name = key(from);
        if *is_prepared {
            let put = view.put(object, &name, &value);
            assert!(matches!(put, Err(Stop::Failed(_))), "a prepared run takes no writes");
            return;
        }
        match chance.below(10) {
            0 => {
                let to = key(from + chance.below(8));
                view.delete_range(object, &name, &to).expect("a run has room");
                table.retain(|key, _| *key < name || *key >= to);
            }
            1 | 2 => {
                view.delete(object, &name).expect("a run has room");
                table.remove(&name);
            }
            _ => {
                view.put(object, &name, &value).expect("a run has room");
                table.insert(name, value);
            }
        }
    }

    /// Reads a key and a range of a run, forth or back, and compares.
    fn read_run(
        &mut self,
        run: RunId,
        topology: usize,
        table: &Table,
        chance: &mut SimEntropy,
    ) -> Result<(), StateError> {
        let object = ObjectId(1 + topology as u32);
        let (name, mut out) = (key(chance.below(KEY_COUNT)), Vec::new());
        let found = self.read(|view| view.get(object, &name, &mut out), run)?;
        assert_eq!(found.then_some(&out), table.get(&name), "{run}: a key is another");
        let (low, high) = (chance.below(KEY_COUNT), chance.below(KEY_COUNT));
        let (from, to) = (key(low.min(high)), key(low.max(high)));
        let (back, most) = (chance.percent(50), chance.below(KEY_COUNT) as usize + 1);
        let mut seen = Vec::new();
        self.read(
            |view| {
                seen.clear();
                let mut visit = |key: &[u8], value: &[u8]| {
                    seen.push((key.to_vec(), value.to_vec()));
                    if seen.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                };
                let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
                if back {
                    view.scan_back(object, from, to, &mut visit)
                } else {
                    view.scan(object, from, to, &mut visit)
                }
            },
            run,
        )?;
        let all = table.range(from..to).map(|(key, value)| (key.clone(), value.clone()));
        let expected: Vec<_> = if back { all.rev().take(most).collect() } else { all.take(most).collect() };
        assert!(seen == expected, "{run}: a range is another, back: {back}");
        Ok(())
    }

    fn read<T>(
        &mut self,
        mut look: impl FnMut(&mut RunView<'_>) -> Result<T, Stop>,
        run: RunId,
    ) -> Result<T, StateError> {
        loop {
            let Rig { state, cache, need, .. } = self;
            let mut view = RunView { state, cache, need, objects: &OBJECTS, run };
            match look(&mut view) {
                Ok(value) => return Ok(value),
                Err(Stop::Need) => self.fetch()?,
                Err(Stop::Failed(text)) => panic!("{text}"),
            }
        }
    }

    fn fetch(&mut self) -> Result<(), StateError> {
        let need = self.need.take().expect("the view notes what it needs");
        let waits = self.state.fetch(&need, &mut self.disk);
        self.deliver(waits)
    }

    /// Seals what there is, and follows in the truth what the section says.
    fn seal(&mut self, expected: &mut Expected) {
        let mut entry = EntryWriter::default();
        self.state.detach_large(1000, &mut self.entropy, &mut self.disk);
        self.state.seal(1000, &mut entry);
        let mut truth = expected.truth().clone();
        truth.stream = self.stream.clone();
        let section = sections(&entry.body).next().expect("one section").expect("it is whole");
        for op in section.iter().map(|op| op.expect("it was sealed")) {
            let topology = |run: RunId| usize::from(run.topology == TOPOLOGIES[1]);
            match op {
                Op::Append { run, .. } => {
                    let count = tantu_state::depot::Run::decode(run).expect("it was sealed").count() as usize;
                    truth.records.extend(self.staged.drain(..count));
                }
                Op::AppendAt(large) => truth.records.extend(self.staged.drain(..large.count as usize)),
                Op::RunAppended(appended) => {
                    assert_eq!(appended.first.0, truth.records.len() as u64, "they come behind what is there");
                    truth.records.append(&mut truth.appends.remove(&appended.run).expect("it was prepared"));
                    assert_eq!(appended.end().0, truth.records.len() as u64);
                    self.appended_count += appended.count;
                }
                Op::Chunk { writes, .. } => {
                    assert!(writes.len() <= 1 << 20, "a chunk of {} bytes", writes.len());
                    self.chunk_count += 1;
                }
                Op::Prepared { run, epoch, .. } | Op::Spilled { run, epoch, .. } => {
                    self.spilled_count += u64::from(matches!(op, Op::Spilled { .. }));
                    let open = self.open[topology(run)].take().filter(|open| open.run == run && open.is_prepared);
                    let Open { table, appends, .. } = open.expect("it was to be prepared");
                    truth.prepared.insert(run, (epoch, table));
                    if !appends.is_empty() {
                        truth.appends.insert(run, appends);
                    }
                }
                Op::Drop { run } => {
                    assert!(truth.prepared.remove(&run).is_some(), "{run} was not prepared");
                    truth.appends.remove(&run);
                }
                Op::Publish { run } => {
                    truth.micro[topology(run)] = truth.prepared.remove(&run).expect("it was prepared").1;
                    truth.published[topology(run)] = Some(run);
                    self.published_count += 1;
                }
                _ => {}
            }
        }
        let unpublished = |run: &RunId| truth.prepared.contains_key(run);
        assert!(truth.appends.keys().all(unpublished), "a run was published without what it appends");
        expected.log.push_back(Entry { lsn: expected.next_lsn, body: entry.body, truth });
        expected.next_lsn += 1;
    }

    /// Commits the next entry, and looks at what is told of runs.
    fn commit(&mut self, expected: &mut Expected) -> Result<(), StateError> {
        let lsn = expected.committed;
        let entry = expected.log.iter().find(|entry| entry.lsn == lsn).expect("what is not committed is kept");
        let section = sections(&entry.body).next().expect("one section").expect("it is whole");
        self.state.commit(&section, Lsn(lsn))?;
        expected.committed += 1;
        let version = section.version;
        let mut told = self.state.take_run_events();
        for op in section.iter().map(|op| op.expect("it was sealed")) {
            let event = match op {
                Op::Prepared { run, epoch, .. } | Op::Spilled { run, epoch, .. } => RunEvent::Prepared { run, epoch },
                Op::Publish { run } => RunEvent::Published { run, version },
                _ => continue,
            };
            let is_dropped = |run: &RunId| self.state.prepared_runs().all(|(other, _)| other != *run);
            match told.iter().position(|other| *other == event) {
                Some(at) => drop(told.remove(at)),
                None if matches!(op, Op::Publish { run } if self.state.owes(run)) => {
                    self.owed_count += 1;
                    self.untold.push(event);
                }
                None => {
                    let prepared = matches!(op, Op::Prepared { run, .. } | Op::Spilled { run, .. } if is_dropped(&run));
                    assert!(prepared, "{event:?} was not told");
                }
            }
        }
        self.take_told(told);
        self.visible = entry.truth.clone();
        Ok(())
    }

    /// Looks at what is told late.
    fn take_told(&mut self, told: Vec<RunEvent>) {
        for event in told {
            let owed = self.untold.iter().position(|other| *other == event);
            self.untold.swap_remove(owed.unwrap_or_else(|| panic!("{event:?} did not happen")));
        }
    }

    /// Lets go of the log what is not needed.
    fn release(&mut self, expected: &mut Expected) {
        let low = self.state.low_water(Lsn(expected.committed)).0;
        while let Some(entry) = expected.log.pop_front_if_below(low) {
            expected.before = entry.truth;
        }
    }

    /// Reads everything anybody may see and compares it.
    pub(crate) fn check(&mut self) -> Result<(), StateError> {
        let truth = self.visible.clone();
        assert!(self.scan(STREAM)? == truth.stream, "the PState of the stream is another");
        for (topology, table) in truth.micro.iter().enumerate() {
            let shown = self.scan(ObjectId(1 + topology as u32))?;
            assert!(shown == *table, "what topology {topology} published is another");
            let published = self.state.published(TOPOLOGIES[topology]).map(|published| published.run);
            assert_eq!(published, truth.published[topology]);
        }
        self.check_records(&truth.records)
    }

    /// Reads the depot to its end, from the disk where it has to.
    fn check_records(&mut self, records: &[Vec<u8>]) -> Result<(), StateError> {
        assert_eq!(self.state.depots()[0].durable_end(), Offset(records.len() as u64));
        for (at, expected) in records.iter().enumerate().skip(self.checked_count) {
            let offset = Offset(at as u64);
            loop {
                match self.state.depots()[0].lookup(offset) {
                    Lookup::Record(record) => {
                        assert!(record == expected, "record {at} is another");
                        break;
                    }
                    Lookup::OnDisk => self.state.want(0, offset, Offset(u64::MAX)),
                    Lookup::NotYet if self.state.is_owing() => {
                        self.state.copy_records(Lsn(0), &mut self.entropy, &mut self.disk);
                        self.background()?;
                    }
                    other => panic!("{at}: {other:?}"),
                }
                self.state.load_records(1 << 20, &mut self.cache, &mut self.disk)?;
                self.deliver(self.state.is_busy())?;
            }
        }
        self.checked_count = records.len();
        assert!(!self.state.is_owing(), "everything that is visible can be read");
        self.background()?;
        let told = self.state.take_run_events();
        self.take_told(told);
        assert_eq!(self.untold, [], "all that they append can be read, and they are told of");
        Ok(())
    }

    /// After a replay: what was prepared is whole, and nothing else is there.
    pub(crate) fn check_prepared(&mut self, chance: &mut SimEntropy) -> Result<(), StateError> {
        let truth = self.visible.clone();
        let found: BTreeMap<RunId, Epoch> = self.state.prepared_runs().collect();
        let expected: BTreeMap<RunId, Epoch> = truth.prepared.iter().map(|(run, (epoch, _))| (*run, *epoch)).collect();
        assert_eq!(found, expected);
        for (run, (_, table)) in &truth.prepared {
            let topology = usize::from(run.topology == TOPOLOGIES[1]);
            for _ in 0..5 {
                self.read_run(*run, topology, table, chance)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, object: ObjectId) -> Result<Table, StateError> {
        let mut all = Table::new();
        loop {
            let last: Option<Vec<u8>> = all.last_key_value().map(|(key, _)| key.clone());
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let Rig { state, cache, need, .. } = self;
            let at: Version = state.visible();
            let view = PinnedView { state, cache, need, objects: &OBJECTS, at };
            let result = { view }.scan(object, from, Bound::Unbounded, &mut |key, value| {
                all.insert(key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            });
            match result {
                Ok(()) => return Ok(all),
                Err(Stop::Need) => self.fetch()?,
                Err(Stop::Failed(text)) => panic!("{text}"),
            }
        }
    }

    /// Ends in order.
    pub(crate) fn close(mut self) -> Result<(), StateError> {
        self.settle()?;
        let Rig { mut disk, mut cache, state, .. } = self;
        state.close(&mut cache, &mut disk)
    }
}

trait PopBelow {
    fn pop_front_if_below(&mut self, low: u64) -> Option<Entry>;
}

impl PopBelow for VecDeque<Entry> {
    fn pop_front_if_below(&mut self, low: u64) -> Option<Entry> {
        if self.front().is_some_and(|entry| entry.lsn < low) { self.pop_front() } else { None }
    }
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n:03}").into_bytes()
}
