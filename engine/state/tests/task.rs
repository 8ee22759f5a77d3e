//! A task's state against plain maps and vectors: staged, sealed, committed, copied, loaded, closed, cut off, replayed.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use tantu_base::door::{Disk, DiskOp, DiskReply, call};
use tantu_base::id::{ObjectId, Offset, TaskId, Version};
use tantu_lsm::{BlockCache, Need, TreeOptions};
use tantu_path::{Stop, Store};
use tantu_replog::Lsn;
use tantu_state::depot::Lookup;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::section::{EntryWriter, sections};
use tantu_state::segment::{READING_COUNT_MAX, SegmentOptions};
use tantu_state::task::Owners;
use tantu_state::view::{OwnView, PinnedView};
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{DiskWeather, OpKind, SimDisk, SimEntropy, Weather};

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
    /// Where the partitions were seen to start, and the highest start that was asked for.
    starts: [u64; 2],
    starts_asked: [u64; 2],
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
    let segments = SegmentOptions { segment_size_max: 24 << 10, chunk_size_max: 6 << 10, ..SegmentOptions::default() };
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
    look_at_starts(&state, model, place);
    for (depot, times) in model.times.iter().enumerate() {
        assert!(times.is_sorted());
        for time_ms in (0..20).map(|_| 900 + chance.below(model.next_lsn * 10 + 200)) {
            let found = state.first_since_now(&mut disk, &mut cache, depot, time_ms);
            let expected = model.starts[depot].max(times.partition_point(|time| *time < time_ms) as u64);
            assert_eq!(found.expect("a read").0, expected, "{place}: depot {depot} since {time_ms}");
        }
    }
    Rig { disk, cache, state, need: None }
}

/// A partition's start never goes back, and is never past what was asked for.
fn look_at_starts(state: &TaskState, model: &mut Model, place: &str) {
    for (depot, partition) in state.depots().iter().enumerate() {
        let start = partition.start().0;
        let (seen, asked) = (model.starts[depot], model.starts_asked[depot]);
        assert!((seen..=asked).contains(&start), "{place}: depot {depot} starts at {start}, not in {seen}..={asked}");
        model.starts[depot] = start;
    }
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
        loop {
            self.state.step_trims(&mut self.cache, &mut self.disk).expect("no faults");
            let more = self.state.background(&mut self.disk).expect("no faults");
            if !more && !self.state.is_busy() {
                break;
            }
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
                Lookup::Trimmed => {
                    assert!(offset < self.state.depots()[depot].start().0, "{offset} is not trimmed");
                    return None;
                }
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
        let expected = expected.filter(|_| offset >= rig.state.depots()[depot].start().0);
        assert_eq!(rig.record(depot, offset).as_ref(), expected, "{place}: depot {depot}, offset {offset}");
    }
}

/// How many records were trimmed.
fn run(seed: u64) -> u64 {
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
            77..80 => drop(rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk)),
            80 => {
                let depot = chance.below(2) as usize;
                let start = chance.below(model.visible_counts[depot] as u64 + 1);
                model.starts_asked[depot] = model.starts_asked[depot].max(start);
                let _begins = rig.state.trim(depot, Offset(start));
            }
            81 => rig.state.flush_memtable(),
            82..90 => {
                rig.state.step_trims(&mut rig.cache, &mut rig.disk).expect("no faults are planned");
                rig.state.background(&mut rig.disk).expect("no faults are planned");
                rig.deliver(false);
                look_at_starts(&rig.state, &mut model, &place);
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
    model.starts.iter().sum()
}

#[test]
fn a_task_keeps_what_was_sealed_over_copies_flushes_closes_and_cuts() {
    let trimmed: u64 = (0..60).map(run).sum();
    assert!(trimmed > 1_000, "{trimmed} records were trimmed");
}

/// Everything staged and sealed is committed, and copied to chunks that the index knows.
fn copy_everything(rig: &mut Rig, model: &mut Model, chance: &mut SimEntropy) {
    while rig.state.is_dirty() || !model.pending.is_empty() || !rig.state.is_copied() {
        seal(rig, model);
        commit(rig, model);
        rig.state.copy_records(Lsn(u64::MAX), chance, &mut rig.disk);
        rig.settle();
    }
}

fn append(rig: &mut Rig, model: &mut Model, depot: usize, size: usize) {
    let record = vec![model.records[depot].len() as u8; size];
    rig.state.depot_mut(depot).stage(&record);
    model.records[depot].push(record);
}

/// A task with a partition of 256 KiB in chunks of some 6 KiB, all of them copied.
fn filled(model: &mut Model, chance: &mut SimEntropy) -> Rig {
    let mut rig = open(SimDisk::calm(5), model, chance, "new");
    for index in 0..512 {
        append(&mut rig, model, 0, 512);
        if index % 8 == 7 {
            seal(&mut rig, model);
            commit(&mut rig, model);
        }
    }
    copy_everything(&mut rig, model, chance);
    rig
}

fn segment_names(disk: &mut SimDisk) -> Vec<String> {
    match call(disk, DiskOp::List { path: "task/depot".into() }) {
        Ok(DiskReply::Names(names)) => names.into_iter().map(|(name, _)| name).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trimmed_partition_gives_whole_segments_back_and_keeps_its_start_over_a_cut() {
    let (mut model, mut chance) = (Model::default(), SimEntropy::new(5));
    let mut rig = filled(&mut model, &mut chance);
    append(&mut rig, &mut model, 1, 10);
    copy_everything(&mut rig, &mut model, &mut chance);
    let before = segment_names(&mut rig.disk);
    model.starts_asked[0] = 500;
    assert!(rig.state.trim(0, Offset(500)));
    rig.settle();
    assert_eq!(segment_names(&mut rig.disk), before, "the trim is staged, not durable");
    copy_everything(&mut rig, &mut model, &mut chance);
    rig.settle();
    let after = segment_names(&mut rig.disk);
    assert!(before.len() >= 10 && after.len() <= 2, "{before:?} became {after:?}");
    assert!(after.iter().all(|name| before.contains(name)));
    assert_eq!((rig.record(0, 499), rig.record(0, 500)), (None, Some(vec![244; 512])));
    assert_eq!(rig.record(1, 0), Some(vec![0; 10]), "the other partition lost nothing");
    let left = rig.disk.crash(&mut chance);
    let disk = SimDisk::new(&Weather::new(6), DiskWeather::default(), left);
    let mut rig = open(disk, &mut model, &mut chance, "after the cut");
    assert_eq!(rig.state.depots()[0].start(), Offset(500));
    assert_eq!((rig.record(0, 499), rig.record(0, 511)), (None, Some(vec![255; 512])));
}

#[test]
fn what_a_crash_left_of_a_segment_that_nobody_names_is_removed() {
    let (mut model, mut chance) = (Model::default(), SimEntropy::new(5));
    let mut rig = open(SimDisk::calm(7), &mut model, &mut chance, "new");
    append(&mut rig, &mut model, 0, 512);
    seal(&mut rig, &mut model);
    commit(&mut rig, &mut model);
    rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk);
    rig.settle();
    assert_eq!(segment_names(&mut rig.disk).len(), 1, "written, but its index entry is not sealed");
    let left = rig.disk.kill(&mut chance);
    let disk = SimDisk::new(&Weather::new(6), DiskWeather::default(), left);
    let mut rig = open(disk, &mut model, &mut chance, "after the kill");
    rig.settle();
    assert_eq!(segment_names(&mut rig.disk).len(), 0);
    assert_eq!(rig.record(0, 0), Some(vec![0; 512]));
}

/// Reads a partition in order; how often the reader had to wait.
fn read_in_order(rig: &mut Rig, depot: usize, end: u64, ahead_size: u64) -> usize {
    let mut waits = 0;
    for offset in (0..end).map(Offset) {
        if matches!(rig.state.depots()[depot].lookup(offset), Lookup::OnDisk) {
            waits += 1;
            rig.state.want(depot, offset, Offset(end));
        }
        while rig.state.is_loading() {
            let Rig { state, cache, disk, .. } = rig;
            state.load_records(ahead_size, cache, disk).expect("no faults are planned");
            rig.deliver(rig.state.is_busy());
        }
        let Lookup::Record(record) = rig.state.depots()[depot].lookup(offset) else { panic!("{offset} was loaded") };
        assert_eq!(record[0], offset.0 as u8);
    }
    waits
}

#[test]
fn a_reader_that_reads_on_in_order_waits_once_for_several_chunks_and_reads_each_once() {
    let mut waits = Vec::new();
    for ahead_size in [0, READ_AHEAD_SIZE_MAX] {
        let (mut model, mut chance) = (Model::default(), SimEntropy::new(5));
        let Rig { mut disk, mut cache, state, .. } = filled(&mut model, &mut chance);
        state.close(&mut cache, &mut disk).expect("a close");
        let mut rig = open(disk, &mut model, &mut chance, "again");
        let before = rig.disk.count(OpKind::Read);
        waits.push(read_in_order(&mut rig, 0, 512, ahead_size));
        let reads = (rig.disk.count(OpKind::Read) - before) as usize;
        assert!(reads <= waits[0] + 12, "{reads} reads for {} chunks, some blocks of the index apart", waits[0]);
    }
    assert!(waits[0] >= 40 && waits[1] <= waits[0] / READING_COUNT_MAX + 1, "{waits:?}");
}

#[test]
fn a_reader_is_read_ahead_of_as_far_as_its_depot_says() {
    let mut waits = Vec::new();
    for ahead_size in [0, READ_AHEAD_SIZE_MAX] {
        let (mut model, mut chance) = (Model::default(), SimEntropy::new(5));
        let Rig { mut disk, mut cache, state, .. } = filled(&mut model, &mut chance);
        state.close(&mut cache, &mut disk).expect("a close");
        let mut rig = open(disk, &mut model, &mut chance, "again");
        rig.state.depot_mut(0).keeping.ahead_size = ahead_size;
        waits.push(read_in_order(&mut rig, 0, 512, READ_AHEAD_SIZE_MAX));
    }
    assert!(waits[0] >= 40 && waits[1] <= waits[0] / READING_COUNT_MAX + 1, "{waits:?}");
}

#[test]
fn a_reader_that_keeps_up_finds_every_record_in_memory_while_older_ones_are_copied() {
    let (mut model, mut chance) = (Model::default(), SimEntropy::new(5));
    let mut rig = open(SimDisk::calm(5), &mut model, &mut chance, "new");
    let before = rig.disk.count(OpKind::Read);
    for offset in 0..512 {
        append(&mut rig, &mut model, 0, 512);
        rig.state.depot_mut(0).want_from(Offset(offset));
        seal(&mut rig, &mut model);
        commit(&mut rig, &mut model);
        rig.state.copy_records(Lsn(0), &mut chance, &mut rig.disk);
        rig.settle();
        assert!(matches!(rig.state.depots()[0].lookup(Offset(offset)), Lookup::Record(_)), "{offset}");
    }
    assert!(rig.disk.count(OpKind::Write) > 40, "it was copied all the while");
    assert_eq!(rig.disk.count(OpKind::Read), before);
    assert!(rig.state.depots()[0].memory_size() < 16 << 10, "what it has processed is forgotten");
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

#[test]
fn what_nobody_has_pinned_is_overwritten_in_its_place_and_a_pinned_version_stays() {
    let (mut model, mut chance) = (Model::default(), SimEntropy::new(10));
    let mut rig = open(SimDisk::calm(10), &mut model, &mut chance, "new");
    let mut round = |rig: &mut Rig, fill: u8| {
        for key in 0..100u8 {
            let Rig { state, cache, need, .. } = &mut *rig;
            let mut view = OwnView { state, cache, need, objects: &OBJECTS };
            view.put(ObjectId(0), &[key], &[fill; 10_000]).expect("it is staged");
        }
        seal(rig, &mut model);
        commit(rig, &mut model);
    };
    let size = |rig: &Rig| rig.state.memtable_sizes().0;
    round(&mut rig, 1);
    let once = size(&rig);
    (2..5).for_each(|fill| round(&mut rig, fill));
    assert!(size(&rig) < once + once / 4, "{} where one round took {once}", size(&rig));
    let at = rig.state.visible();
    rig.state.pin(at);
    (5..8).for_each(|fill| round(&mut rig, fill));
    let filled = |rig: &mut Rig, at| {
        let all = rig.scan(at);
        assert_eq!(all.len(), 100);
        all.values().all(|value| *value == [all[&vec![0]][0]; 10_000]).then(|| all[&vec![0]][0])
    };
    assert_eq!((filled(&mut rig, Some(at)), filled(&mut rig, None)), (Some(4), Some(7)));
    rig.state.unpin(at);
    let twice = size(&rig);
    (8..11).for_each(|fill| round(&mut rig, fill));
    assert!(size(&rig) < twice + once / 4, "{} after {twice}", size(&rig));
    assert_eq!(filled(&mut rig, None), Some(10));
}
