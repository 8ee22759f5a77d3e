//! A task's state against plain maps and vectors: staged, sealed, committed, copied, loaded, closed, cut off, replayed.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset, TaskId, Version};
use tantu_lsm::{BlockCache, Need, TreeOptions};
use tantu_path::{Stop, Store};
use tantu_replog::Lsn;
use tantu_state::depot::Lookup;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::section::{EntryWriter, sections};
use tantu_state::segment::SegmentOptions;
use tantu_state::task::Owners;
use tantu_state::view::{OwnView, PinnedView};
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{DiskWeather, SimDisk, SimEntropy, Weather};

const DEPOTS: [ObjectId; 2] = [ObjectId(1), ObjectId(2)];
const OBJECTS: [ObjectId; 1] = [ObjectId(5)];
const KEY_COUNT: u64 = 80;

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    state: TaskState,
    need: Option<Need>,
}

/// What must be there: the PState and the records with everything staged, and the log from its low-water mark on.
#[derive(Default)]
struct Model {
    table: Table,
    records: [Vec<Vec<u8>>; 2],
    /// Append times of those that were sealed.
    times: [Vec<u64>; 2],
    log: VecDeque<(u64, Vec<u8>)>,
    next_lsn: u64,
    /// Sealed and not committed: how many of the log's last entries, and what is visible after each.
    pending: VecDeque<(u64, Table, [usize; 2])>,
    visible: Table,
    visible_counts: [usize; 2],
}

fn open(mut disk: SimDisk, model: &mut Model, chance: &mut SimEntropy, place: &str) -> Rig {
    let mut cache = BlockCache::new(5 * 4096);
    let tree = TreeOptions {
        table_size_max: 32 << 10,
        run_count_max: 2,
        write_size: 8 << 10,
        read_ahead_size: 8 << 10,
        ..TreeOptions::default()
    };
    let segments = SegmentOptions { segment_size_max: 24 << 10, chunk_size_max: 6 << 10 };
    let options = TaskStateOptions { tree, segments, ..TaskStateOptions::default() };
    let owners = Owners { tree: 1, segments: 2 };
    let state = TaskState::open(&mut disk, chance, &mut cache, Path::new("task"), owners, TaskId(3), &DEPOTS, &options);
    let mut state = state.unwrap_or_else(|error| panic!("{place}: {error}"));
    for (lsn, body) in &model.log {
        for section in sections(body) {
            let section = section.expect("it was sealed");
            state.replay(&section, Lsn(*lsn)).unwrap_or_else(|error| panic!("{place}, entry {lsn}: {error}"));
        }
    }
    state.verify(&mut disk, &mut cache, 64 << 20).unwrap_or_else(|error| panic!("{place}: {error}"));
    // Every sealed entry was replayed; what was only staged is gone.
    if let Some((_, table, counts)) = model.pending.pop_back() {
        (model.visible, model.visible_counts) = (table, counts);
    }
    model.pending.clear();
    model.table = model.visible.clone();
    let counts = model.visible_counts;
    model.records.iter_mut().zip(counts).for_each(|(records, count)| records.truncate(count));
    model.times.iter_mut().zip(counts).for_each(|(times, count)| times.truncate(count));
    for (depot, times) in model.times.iter().enumerate() {
        assert!(times.is_sorted());
        for time_ms in (0..20).map(|_| 900 + chance.below(model.next_lsn * 10 + 200)) {
            let found = state.first_since_now(&mut disk, &mut cache, depot, time_ms);
            let expected = times.partition_point(|time| *time < time_ms) as u64;
            assert_eq!(found.expect("a read").0, expected, "{place}: depot {depot} since {time_ms}");
        }
    }
    Rig { disk, cache, state, need: None }
}

impl Rig {
    fn deliver(&mut self, wait: bool) {
        if wait {
            self.disk.wait();
        }
        let mut done = Vec::new();
        self.disk.reap(&mut done);
        for done in done {
            self.state.complete(done, &mut self.cache, &mut self.disk).expect("no faults are planned");
        }
    }

    fn settle(&mut self) {
        while self.state.background(&mut self.disk).expect("no faults") || self.state.is_busy() {
            self.deliver(self.state.is_busy());
        }
    }

    /// Repeats a read until its blocks are there.
    fn read<T>(&mut self, at: Option<Version>, read: impl Fn(&mut dyn Store) -> Result<T, Stop>) -> T {
        loop {
            let Rig { state, cache, need, .. } = self;
            let result = match at {
                None => read(&mut OwnView { state, cache, need, objects: &OBJECTS }),
                Some(at) => read(&mut PinnedView { state, cache, need, objects: &OBJECTS, at }),
            };
            match result {
                Ok(found) => return found,
                Err(Stop::Need) => {
                    let need = self.need.take().expect("the view notes what it needs");
                    let waits = self.state.fetch(&need, &mut self.disk);
                    self.deliver(waits);
                }
                Err(Stop::Failed(text)) => panic!("{text}"),
            }
        }
    }

    fn scan(&mut self, at: Option<Version>) -> Table {
        let mut last: Option<Vec<u8>> = None;
        let mut all = Table::new();
        loop {
            let mut page = Vec::new();
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let Rig { state, cache, need, .. } = self;
            let mut visit = |key: &[u8], value: &[u8]| {
                page.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            let object = ObjectId(0);
            let result = match at {
                None => {
                    OwnView { state, cache, need, objects: &OBJECTS }.scan(object, from, Bound::Unbounded, &mut visit)
                }
                Some(at) => PinnedView { state, cache, need, objects: &OBJECTS, at }.scan(
                    object,
                    from,
                    Bound::Unbounded,
                    &mut visit,
                ),
            };
            last = page.last().map(|(key, _)| key.clone()).or(last);
            all.extend(page);
            match result {
                Ok(()) => return all,
                Err(Stop::Need) => {
                    let need = self.need.take().expect("the view notes what it needs");
                    let waits = self.state.fetch(&need, &mut self.disk);
                    self.deliver(waits);
                }
                Err(Stop::Failed(text)) => panic!("{text}"),
            }
        }
    }

    fn record(&mut self, depot: usize, offset: u64) -> Option<Vec<u8>> {
        loop {
            match self.state.depots()[depot].lookup(Offset(offset)) {
                Lookup::Record(record) => return Some(record.to_vec()),
                Lookup::NotYet => return None,
                Lookup::Trimmed => panic!("nobody trimmed {offset}"),
                Lookup::OnDisk => {}
            }
            self.state.want(depot, Offset(offset), Offset(u64::MAX));
            while self.state.is_loading() {
                let Rig { state, cache, disk, .. } = self;
                state.load_records(READ_AHEAD_SIZE_MAX, cache, disk).expect("no faults are planned");
                self.deliver(self.state.is_busy());
            }
        }
    }
}

fn write(rig: &mut Rig, model: &mut Model, chance: &mut SimEntropy) {
    let key = format!("key {:03}", chance.below(KEY_COUNT)).into_bytes();
    let fill = chance.below(256) as u8;
    let Rig { state, cache, need, .. } = rig;
    let mut view = OwnView { state, cache, need, objects: &OBJECTS };
    if chance.percent(20) {
        view.delete(ObjectId(0), &key).expect("staging needs no block");
        model.table.remove(&key);
    } else {
        let value = vec![fill; chance.below(900) as usize];
        view.put(ObjectId(0), &key, &value).expect("staging needs no block");
        model.table.insert(key, value);
    }
}

fn seal(rig: &mut Rig, model: &mut Model) {
    let mut entry = EntryWriter::default();
    if !rig.state.is_dirty() {
        return;
    }
    // The wall clock goes back now and then.
    let wall_ms = 1000 + model.next_lsn * 10 - model.next_lsn % 7 * 9;
    rig.state.seal(wall_ms, &mut entry);
    for (records, times) in model.records.iter().zip(&mut model.times) {
        let time_ms = times.last().copied().unwrap_or(0).max(wall_ms);
        times.resize(records.len(), time_ms);
    }
    model.log.push_back((model.next_lsn, entry.body));
    let counts = [model.records[0].len(), model.records[1].len()];
    model.pending.push_back((model.next_lsn, model.table.clone(), counts));
    model.next_lsn += 1;
}

fn commit(rig: &mut Rig, model: &mut Model) {
    let Some((lsn, table, counts)) = model.pending.pop_front() else { return };
    let (_, body) = model.log.iter().find(|(at, _)| *at == lsn).expect("a pending entry is never released");
    let section = sections(body).next().expect("one section").expect("whole");
    rig.state.commit(&section, Lsn(lsn)).expect("it was sealed");
    (model.visible, model.visible_counts) = (table, counts);
}

fn check(rig: &mut Rig, model: &Model, chance: &mut SimEntropy, place: &str) {
    assert!(rig.scan(None) == model.table, "{place}: the owner's view");
    let visible = rig.state.visible();
    assert!(rig.scan(Some(visible)) == model.visible, "{place}: the committed view");
    for _ in 0..10 {
        let key = format!("key {:03}", chance.below(KEY_COUNT)).into_bytes();
        let found = rig.read(None, |store| {
            let mut out = Vec::new();
            Ok(store.get(ObjectId(0), &key, &mut out)?.then_some(out))
        });
        assert!(found.as_ref() == model.table.get(&key), "{place}: {key:?}");
        let (depot, slack) = (chance.below(2) as usize, 3);
        let offset = chance.below(model.records[depot].len() as u64 + slack);
        let expected = model.records[depot][..model.visible_counts[depot]].get(offset as usize);
        assert_eq!(rig.record(depot, offset).as_ref(), expected, "{place}: depot {depot}, offset {offset}");
    }
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut chance = SimEntropy::new(seed);
    let mut model = Model::default();
    let mut rig = open(SimDisk::calm(seed), &mut model, &mut chance, "new");
    let mut pinned: Option<(Version, Table)> = None;
    for round in 0..1500 {
        let place = format!("seed {seed}, round {round}");
        match chance.below(100) {
            0..35 => write(&mut rig, &mut model, &mut chance),
            35..55 => {
                let (depot, size) = (chance.below(2) as usize, chance.below(600) as usize);
                let record = vec![round as u8; size];
                let offset = rig.state.depot_mut(depot).stage(&record);
                assert_eq!(offset.0 as usize, model.records[depot].len(), "{place}: offsets are dense");
                model.records[depot].push(record);
            }
            55..65 => seal(&mut rig, &mut model),
            65..77 => commit(&mut rig, &mut model),
            77..80 => rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk),
            80..82 => rig.state.flush_memtable(),
            82..90 => {
                rig.state.background(&mut rig.disk).expect("no faults are planned");
                rig.deliver(false);
                let low = rig.state.low_water(Lsn(model.pending.front().map_or(model.next_lsn, |(lsn, ..)| *lsn)));
                model.log.retain(|(lsn, _)| *lsn >= low.0);
            }
            90..92 => rig.settle(),
            92..94 => {
                if let Some((at, table)) = pinned.take() {
                    assert!(rig.scan(Some(at)) == table, "{place}: the version pinned at {at}");
                    rig.state.unpin(at);
                } else {
                    rig.state.pin(rig.state.visible());
                    pinned = Some((rig.state.visible(), model.visible.clone()));
                }
            }
            94..98 => check(&mut rig, &model, &mut chance, &place),
            way => {
                pinned = None;
                let Rig { disk, .. } = if way == 98 {
                    rig.settle();
                    let Rig { mut disk, mut cache, state, .. } = rig;
                    state.close(&mut cache, &mut disk).expect("a close");
                    rig = open(disk, &mut model, &mut chance, &place);
                    check(&mut rig, &model, &mut chance, &place);
                    continue;
                } else {
                    rig
                };
                let left = if chance.percent(50) { disk.crash(&mut chance) } else { disk.kill(&mut chance) };
                let world = Weather::new(seed ^ round << 8);
                rig = open(SimDisk::new(&world, DiskWeather::default(), left), &mut model, &mut chance, &place);
                check(&mut rig, &model, &mut chance, &place);
            }
        }
    }
}

#[test]
fn a_task_keeps_what_was_sealed_over_copies_flushes_closes_and_cuts() {
    (0..60).for_each(run);
}

#[test]
fn asking_for_a_flush_again_and_again_leaves_readers_two_memtables() {
    let (mut model, mut chance) = (Model::default(), SimEntropy::new(9));
    let mut rig = open(SimDisk::calm(9), &mut model, &mut chance, "new");
    for _ in 0..20 {
        write(&mut rig, &mut model, &mut chance);
        seal(&mut rig, &mut model);
        commit(&mut rig, &mut model);
        rig.state.flush_memtable();
        assert!(rig.state.memtable_count() <= 2, "{}", rig.state.memtable_count());
    }
    rig.settle();
    assert_eq!(rig.state.memtable_count(), 1, "what was frozen is flushed");
    rig.state.flush_memtable();
    rig.settle();
    check(&mut rig, &model, &mut chance, "after the flushes");
}
