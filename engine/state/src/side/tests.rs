//! Single stories of side runs; random ones over cuts are in `tests/side`.

use super::view::RunView;
use super::*;
use crate::TaskStateOptions;
use crate::depot::Lookup;
use crate::section::{EntryWriter, sections};
use crate::task::Owners;
use crate::view::PinnedView;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use tantu_base::door::{DiskOp, DiskReply, call};
use tantu_base::id::{Offset, TaskId};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_path::{Stop, Store, VisitEntry};
use tantu_weather::{SimDisk, SimEntropy};

const TOPOLOGY: ObjectId = ObjectId(9);
const OBJECTS: [ObjectId; 1] = [ObjectId(5)];
const PSTATE: ObjectId = ObjectId(0);
const DEPOT: ObjectId = ObjectId(7);

struct Task {
    state: TaskState,
    cache: BlockCache,
    disk: SimDisk,
    log: Vec<Vec<u8>>,
}

fn run(id: u64, counter: u32) -> RunId {
    RunId { topology: TOPOLOGY, id, attempt: Attempt { epoch: Epoch(1), counter } }
}

impl Task {
    fn new() -> Task {
        Task::open(SimDisk::calm(1), Vec::new(), 0).expect("nothing is there")
    }

    /// Opens it with what the log has from an entry on.
    fn open(mut disk: SimDisk, log: Vec<Vec<u8>>, low: u64) -> Result<Task, StateError> {
        let mut cache = BlockCache::new(1 << 16);
        let owners = Owners { tree: 1, segments: 2 };
        let options = TaskStateOptions { side_slice_count: 3, ..TaskStateOptions::default() };
        let (mut entropy, dir) = (SimEntropy::new(1), Path::new("task"));
        let mut state =
            TaskState::open(&mut disk, &mut entropy, &mut cache, dir, owners, TaskId(0), &[DEPOT], &options)?;
        state.know_topologies(&mut disk, &mut cache, &[TOPOLOGY])?;
        for (lsn, body) in log.iter().enumerate().skip(low as usize) {
            let section = sections(body).next().expect("one").expect("whole");
            state.replay(&section, Lsn(lsn as u64))?;
        }
        state.verify(&mut disk, &mut cache, 0)?;
        Ok(Task { state, cache, disk, log })
    }

    /// Closes it, and opens it with what the log has from an entry on.
    fn reopen(self, low: u64) -> Result<Task, StateError> {
        let Task { state, mut cache, mut disk, log } = self;
        state.close(&mut cache, &mut disk)?;
        Task::open(disk, log, low)
    }

    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// Seals one section and commits it.
    fn commit(&mut self) -> Vec<RunEvent> {
        let mut entry = EntryWriter::default();
        self.state.seal(1, &mut entry);
        let section = sections(&entry.body).next().expect("one").expect("whole");
        self.state.commit(&section, Lsn(self.end())).expect("it fits");
        self.log.push(entry.body);
        self.state.take_run_events()
    }

    fn put(&mut self, run: RunId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        let Task { state, cache, .. } = self;
        RunView { state, cache, need: &mut None, objects: &OBJECTS, run }.put(PSTATE, key, value)
    }

    /// A run that puts one value, prepared and durable.
    fn prepared(&mut self, run: RunId, value: &[u8]) {
        self.state.begin_run(run).expect("it is next");
        self.put(run, b"key", value).expect("there is room");
        self.state.prepare_run(run, Epoch(4)).expect("it is open");
        assert_eq!(self.commit(), [RunEvent::Prepared { run, epoch: Epoch(4) }]);
    }

    fn publish(&mut self, run: RunId) -> Version {
        self.state.publish_run(run).expect("it is prepared");
        match self.commit()[..] {
            [RunEvent::Published { run: told, version }] if told == run => version,
            ref other => panic!("{other:?}"),
        }
    }

    fn shown_at(&mut self, at: Version) -> Option<Vec<u8>> {
        let (mut need, mut out) = (None, Vec::new());
        let mut view =
            PinnedView { state: &self.state, cache: &mut self.cache, need: &mut need, objects: &OBJECTS, at };
        view.get(PSTATE, b"key", &mut out).expect("it is in memory").then_some(out)
    }

    fn flush(&mut self) {
        self.state.flush_memtable();
        let mut done = Vec::new();
        while self.state.background(&mut self.disk).expect("no faults are planned") || self.state.is_busy() {
            self.disk.reap(&mut done);
            for done in done.drain(..) {
                self.state.complete(done, &mut self.cache, &mut self.disk).expect("no faults are planned");
            }
            if self.state.is_busy() {
                self.disk.wait();
            }
        }
    }

    /// Runs that are in the background go on until they rest.
    fn settle(&mut self) {
        let mut done = Vec::new();
        while self.state.side_slice(&self.cache, &mut self.disk).expect("no faults are planned") || self.state.is_busy()
        {
            self.disk.reap(&mut done);
            for done in done.drain(..) {
                self.state.complete(done, &mut self.cache, &mut self.disk).expect("no faults are planned");
            }
            if self.state.is_busy() {
                self.disk.wait();
            }
        }
    }

    /// A run that writes its number under some keys and deletes others, prepared and durable.
    fn prepared_many(&mut self, run: RunId, keys: std::ops::Range<u8>, deleted: (u8, u8), is_spilled: bool) {
        self.state.begin_run(run).expect("it is next");
        for key in keys {
            self.put(run, &[key], &[run.id as u8]).expect("there is room");
            if is_spilled && key % 4 == 0 {
                self.state.spill_largest();
                self.settle();
            }
        }
        let Task { state, cache, .. } = self;
        let mut view = RunView { state, cache, need: &mut None, objects: &OBJECTS, run };
        view.delete_range(PSTATE, &[deleted.0], &[deleted.1]).expect("there is room");
        assert_eq!(self.state.is_run_spilled(run), is_spilled);
        self.state.prepare_run(run, Epoch(4)).expect("it is open");
        self.settle();
        assert_eq!(self.commit(), [RunEvent::Prepared { run, epoch: Epoch(4) }]);
    }

    /// All there is at a version, forth and back.
    fn all_at(&mut self, at: Version) -> Vec<(u8, u8)> {
        let read = |task: &mut Task, is_back: bool| loop {
            let (mut need, mut all) = (None, Vec::new());
            let Task { state, cache, .. } = task;
            let mut view = PinnedView { state, cache, need: &mut need, objects: &OBJECTS, at };
            let visit: VisitEntry<'_> = &mut |key, value| {
                all.push((key[0], value[0]));
                ControlFlow::Continue(())
            };
            let (from, to) = (Bound::Unbounded, Bound::Unbounded);
            let scanned =
                if is_back { view.scan_back(PSTATE, from, to, visit) } else { view.scan(PSTATE, from, to, visit) };
            match scanned {
                Ok(()) => return all,
                Err(Stop::Need) => {
                    let need = need.expect("the view notes what it needs");
                    if task.state.fetch(&need, &mut task.disk) {
                        task.disk.wait();
                    }
                    let mut done = Vec::new();
                    task.disk.reap(&mut done);
                    for done in done {
                        task.state.complete(done, &mut task.cache, &mut task.disk).expect("no faults are planned");
                    }
                }
                Err(Stop::Failed(text)) => panic!("{text}"),
            }
        };
        let (up, down) = (read(self, false), read(self, true));
        assert!(up.iter().rev().eq(&down), "{up:?}, back {down:?}");
        up
    }

    fn files_of_runs(&mut self) -> usize {
        let list = DiskOp::List { path: "task/spill".into() };
        let Ok(DiskReply::Names(names)) = call(&mut self.disk, list) else { panic!("the directory is there") };
        names.iter().filter(|(name, _)| name.ends_with(".table")).count()
    }

    fn low(&mut self) -> u64 {
        self.state.low_water(Lsn(self.log.len() as u64)).0
    }
}

#[test]
fn the_log_is_kept_from_the_first_chunk_of_a_prepared_run_until_what_it_published_is_flushed() {
    let mut task = Task::new();
    task.commit();
    task.prepared(run(1, 0), b"one");
    task.commit();
    task.flush();
    assert_eq!(task.low(), 1, "the chunk is in the second entry");
    task.publish(run(1, 0));
    assert_eq!(task.low(), 1, "the tree has it in memory only");
    task.flush();
    assert_eq!(task.low(), task.end());
}

#[test]
fn the_log_is_kept_until_it_says_itself_that_a_prepared_run_was_dropped() {
    let mut task = Task::new();
    task.prepared(run(1, 0), b"one");
    task.flush();
    task.state.begin_run(run(1, 1)).expect("a higher attempt");
    assert_eq!(task.state.prepared_runs().count(), 0);
    assert_eq!(task.low(), 0, "nothing durable says so");
    task.commit();
    task.flush();
    assert_eq!(task.low(), task.end());
    assert_eq!(task.state.publish_run(run(1, 0)), Err(RunError::Unknown(run(1, 0))));
}

#[test]
fn a_prepared_run_that_is_abandoned_holds_the_log_no_longer_and_what_is_decided_stays() {
    let mut task = Task::new();
    task.prepared(run(1, 0), b"one");
    task.flush();
    let mut task = task.reopen(0).expect("it is whole");
    assert_eq!((task.low(), task.state.prepared_runs().count()), (0, 1), "it survives a restart");
    task.state.abandon_runs(RunId { topology: ObjectId(10), ..run(1, 9) });
    task.state.abandon_runs(run(0, 9));
    assert_eq!(task.state.prepared_runs().count(), 1, "those were others");
    // Of a later life, which knows no attempt of this one.
    task.state.abandon_runs(RunId { attempt: Attempt { epoch: Epoch(2), counter: 0 }, ..run(1, 0) });
    assert_eq!(task.state.prepared_runs().count(), 0);
    task.commit();
    task.flush();
    assert_eq!(task.low(), task.end());
    task.prepared(run(1, 1), b"two");
    task.state.publish_run(run(1, 1)).expect("it is prepared");
    task.state.abandon_runs(run(1, 2));
    assert!(matches!(task.commit()[..], [RunEvent::Published { .. }]));
}

#[test]
fn a_publish_that_the_tree_has_flushed_needs_no_chunks_and_one_that_it_has_not_needs_all() {
    let other = RunId { topology: ObjectId(10), ..run(1, 0) };
    let mut task = Task::new();
    task.prepared(run(1, 0), b"one");
    task.prepared(other, b"other");
    task.publish(run(1, 0));
    task.flush();
    // The other run keeps the log from its chunk on, and with it the publish of the first.
    assert_eq!((task.low(), task.end()), (1, 3));
    let mut task = task.reopen(1).expect("the tree has what was published");
    assert_eq!(task.shown_at(task.state.visible()).as_deref(), Some(&b"one"[..]));
    assert_eq!(task.state.published(TOPOLOGY), Some(Published { run: run(1, 0), version: Version(3) }));
    assert_eq!(task.state.prepared_runs().collect::<Vec<_>>(), [(other, Epoch(4))]);
    task.publish(other);
    let Err(lost) = task.reopen(3) else { panic!("the tree has not flushed it") };
    assert!(matches!(lost, StateError::Run { run, .. } if run == other), "{lost}");
}

#[test]
fn a_run_that_was_not_prepared_is_gone_after_a_restart() {
    let mut task = Task::new();
    task.state.begin_run(run(1, 0)).expect("the first");
    // More than a chunk: the first is in the log, the mark is not.
    (0..3u8).for_each(|key| task.put(run(1, 0), &[key], &vec![key; 700 << 10]).expect("there is room"));
    task.state.prepare_run(run(1, 0), Epoch(1)).expect("it is open");
    assert_eq!(task.commit(), []);
    assert_eq!(task.low(), 0, "the log has a chunk of it");
    let mut task = task.reopen(0).expect("nothing is missing");
    assert_eq!((task.state.prepared_runs().count(), task.state.side_size()), (0, 0));
    task.flush();
    assert_eq!(task.low(), task.end());
    task.state.begin_run(run(1, 1)).expect("it is the next attempt");
}

#[test]
fn runs_come_in_the_order_of_microbatches_and_attempts() {
    let mut task = Task::new();
    task.state.begin_run(run(2, 5)).expect("the first");
    let stale = |run| Err(RunError::Stale { run, newer: self::run(2, 5) });
    assert_eq!(task.state.begin_run(run(2, 5)), stale(run(2, 5)));
    assert_eq!(task.state.begin_run(run(2, 4)), stale(run(2, 4)));
    assert_eq!(task.state.begin_run(run(1, 9)), stale(run(1, 9)));
    task.prepared(run(2, 6), b"two");
    assert_eq!(task.state.begin_run(run(3, 0)), Err(RunError::Unpublished { older: run(2, 6) }));
    task.state.publish_run(run(2, 6)).expect("it is prepared");
    assert_eq!(task.state.begin_run(run(2, 7)), Err(RunError::Unpublished { older: run(2, 6) }));
    assert_eq!(task.state.drop_run(run(2, 6)), Err(RunError::Phase(run(2, 6))));
    task.commit();
    assert_eq!(task.state.begin_run(run(2, 7)), Err(RunError::Stale { run: run(2, 7), newer: run(2, 6) }));
    assert_eq!(task.state.publish_run(run(2, 6)), Err(RunError::Stale { run: run(2, 6), newer: run(2, 6) }));
    task.state.begin_run(run(3, 0)).expect("the one before is published");
}

#[test]
fn what_was_before_a_publish_stays_readable_until_it_is_finished_everywhere() {
    let mut task = Task::new();
    task.state.keep_before_publishes();
    assert_eq!(task.state.version_up_to(TOPOLOGY, 0), Some(Version(0)));
    task.prepared(run(1, 0), b"one");
    assert_eq!(task.shown_at(task.state.visible()), None, "nobody sees a prepared run");
    task.publish(run(1, 0));
    task.state.finish_publish(TOPOLOGY, 1);
    task.prepared(run(2, 0), b"two");
    let version = task.publish(run(2, 0));
    task.commit();
    let before = task.state.version_up_to(TOPOLOGY, 1).expect("it is kept");
    assert_eq!(before, Version(version.0 - 1));
    assert_eq!(task.shown_at(before).as_deref(), Some(&b"one"[..]));
    assert_eq!(task.shown_at(version).as_deref(), Some(&b"two"[..]));
    assert_eq!(task.state.version_up_to(TOPOLOGY, 2), Some(task.state.visible()));
    task.state.finish_publish(TOPOLOGY, 1);
    assert_eq!(task.state.version_up_to(TOPOLOGY, 1), Some(before), "that was finished long ago");
    task.state.finish_publish(TOPOLOGY, 2);
    assert_eq!(task.state.version_up_to(TOPOLOGY, 1), None);
}

#[test]
fn a_published_run_reads_whole_after_each_slice_and_readers_before_it_see_nothing_of_it() {
    for is_spilled in [false, true] {
        let mut task = Task::new();
        task.state.keep_before_publishes();
        task.prepared_many(run(1, 0), 0..40, (7, 9), is_spilled);
        task.publish(run(1, 0));
        task.settle();
        task.commit();
        task.state.finish_publish(TOPOLOGY, 1);
        task.prepared_many(run(2, 0), 20..60, (0, 30), is_spilled);
        let version = task.publish(run(2, 0));
        let before: Vec<_> = (0..7).chain(9..40).map(|key| (key, 1)).collect();
        let after: Vec<_> = (30..60).map(|key| (key, 2)).collect();
        let mut slices = 0;
        loop {
            assert_eq!(task.all_at(Version(version.0 - 1)), before, "after {slices} slices, spilled: {is_spilled}");
            assert_eq!(task.all_at(version), after, "after {slices} slices, spilled: {is_spilled}");
            if task.state.is_dirty() {
                break;
            }
            let Task { state, cache, disk, .. } = &mut task;
            state.side_slice(cache, disk).expect("no faults are planned");
            let mut done = Vec::new();
            disk.reap(&mut done);
            for done in done {
                state.complete(done, cache, disk).expect("no faults are planned");
            }
            slices += 1;
        }
        assert!(slices >= 10, "{slices} slices of three writes each");
        task.commit();
        assert_eq!(task.all_at(version), after);
    }
}

#[test]
fn after_a_restart_a_run_that_lay_on_the_disk_hides_nothing_that_a_later_one_put_over_it() {
    let mut task = Task::new();
    for (run, keys, is_spilled) in [(run(1, 1), 0..9, true), (run(2, 1), 0..2, false)] {
        task.prepared_many(run, keys, (200, 201), is_spilled);
        task.publish(run);
        task.settle();
        task.commit();
    }
    let expected: Vec<(u8, u8)> = (0..9).map(|key| (key, if key < 2 { 2 } else { 1 })).collect();
    // Neither is flushed, so both come out of the log, the first from its files.
    let mut task = task.reopen(0).expect("the log has all of it");
    let at = task.state.visible();
    assert_eq!(task.all_at(at), expected, "before they enter the tree");
    task.settle();
    assert_eq!(task.all_at(at), expected, "in the tree, and the log does not say so yet");
    task.commit();
    assert_eq!(task.all_at(at), expected);
}

#[test]
fn the_files_of_a_run_go_when_what_it_published_is_flushed_and_not_before() {
    let mut task = Task::new();
    task.prepared_many(run(1, 0), 0..40, (7, 9), true);
    assert!(task.files_of_runs() > 0);
    let mut task = task.reopen(0).expect("nothing is missing");
    task.publish(run(1, 0));
    task.settle();
    task.commit();
    task.settle();
    assert_eq!(task.low(), 0, "the tree has it in memory only");
    // As after a crash: the files are there, and the log.
    let mut task = task.reopen(0).expect("nothing is missing");
    let all: Vec<_> = (0..7).chain(9..40).map(|key| (key, 1)).collect();
    assert_eq!(task.all_at(task.state.visible()), all);
    task.settle();
    task.commit();
    task.flush();
    task.settle();
    assert_eq!((task.files_of_runs(), task.low()), (0, task.end()));
    assert_eq!(task.all_at(task.state.visible()), all);
}

#[test]
fn a_dropped_run_that_lies_on_the_disk_keeps_its_files_until_the_log_says_that_it_is_gone() {
    let mut task = Task::new();
    task.prepared_many(run(1, 0), 0..40, (7, 9), true);
    task.state.begin_run(run(1, 1)).expect("a higher attempt");
    task.settle();
    assert!(task.files_of_runs() > 0, "a replay would find the run");
    task.commit();
    task.settle();
    assert_eq!(task.files_of_runs(), 0);
}

#[test]
fn a_run_over_its_limit_is_refused_with_its_name() {
    let mut task = Task::new();
    task.state.begin_run(run(1, 0)).expect("the first");
    let value = vec![0; 4 << 20];
    let refused = (0..16u8).find_map(|key| task.put(run(1, 0), &[key], &value).err());
    let Some(Stop::Failed(text)) = refused else { panic!("it took 64 MiB and what that takes in memory") };
    assert_eq!(text, RunError::TooLarge(run(1, 0)).to_string());
    assert!(task.state.side_size() <= SIDE_RUN_SIZE_MAX && task.state.memory_size() > SIDE_RUN_SIZE_MAX / 2);
    task.state.drop_run(run(1, 0)).expect("it is open");
    assert_eq!(task.state.side_size(), 0);
}

#[test]
fn a_noted_value_is_told_when_its_section_is_durable_and_not_before() {
    let mut task = Task::new();
    task.state.put_noted(b"\0\0\0\x09\x01".to_vec(), b"decided".to_vec(), 77);
    let (mut first, mut second) = (EntryWriter::default(), EntryWriter::default());
    task.state.seal(1, &mut first);
    task.state.put_noted(b"\0\0\0\x09\x02".to_vec(), b"finished".to_vec(), 78);
    task.state.seal(1, &mut second);
    for (lsn, (entry, note)) in [(first, 77), (second, 78)].iter().enumerate() {
        assert_eq!(task.state.take_run_events(), []);
        let section = sections(&entry.body).next().expect("one").expect("whole");
        task.state.commit(&section, Lsn(lsn as u64)).expect("it fits");
        assert_eq!(task.state.take_run_events(), [RunEvent::Noted(*note)]);
    }
}

/// A record of a MiB that says which it is.
fn large(number: u32) -> Vec<u8> {
    let mut record = vec![7; 1 << 20];
    record[..4].copy_from_slice(&number.to_le_bytes());
    record
}

impl Task {
    /// Reads all records of the depot that can be read, which come from the disk as far as they have to.
    fn numbers(&mut self) -> Vec<u32> {
        let mut numbers = Vec::new();
        loop {
            let offset = Offset(numbers.len() as u64);
            match self.state.depots()[0].lookup(offset) {
                Lookup::Record(record) => {
                    let number = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
                    assert_eq!(record.len(), if number == 100 { 4 } else { 1 << 20 });
                    numbers.push(number);
                    continue;
                }
                Lookup::OnDisk => self.state.want(0, offset, Offset(u64::MAX)),
                Lookup::NotYet | Lookup::Trimmed => return numbers,
            }
            self.state.load_records(1 << 20, &mut self.cache, &mut self.disk).expect("no faults are planned");
            self.settle();
        }
    }

    /// A run that appends records of a MiB, more than it may have in memory, prepared and durable.
    fn prepared_large(&mut self, run: RunId, numbers: std::ops::Range<u32>) {
        self.state.begin_run(run).expect("it is next");
        for number in numbers {
            while self.state.is_run_full(run) {
                self.settle();
            }
            self.state.append_to_run(run, 0, &large(number)).expect("there is room");
            assert!(self.state.side_size() <= append::SIDE_APPEND_SIZE_MAX);
        }
        self.state.prepare_run(run, Epoch(4)).expect("it is open");
        self.settle();
        assert_eq!(self.commit(), [RunEvent::Prepared { run, epoch: Epoch(4) }]);
    }

    /// Copies what can be read to segments, and says so in the log, until nothing is owed.
    fn pay(&mut self) -> Vec<RunEvent> {
        let mut told = Vec::new();
        while self.state.is_owing() || !self.state.is_copied() {
            assert!(self.state.depots()[0].memory_size() < 8 << 20, "{}", self.state.depots()[0].memory_size());
            self.state.copy_records(Lsn(u64::MAX), &mut SimEntropy::new(1), &mut self.disk);
            self.settle();
            told.extend(self.state.take_run_events());
            if self.state.is_dirty() {
                told.extend(self.commit());
            }
        }
        told
    }
}

#[test]
fn what_a_run_appends_is_bounded_in_memory_and_one_that_does_not_wait_is_told_the_limit() {
    let mut task = Task::new();
    task.state.begin_run(run(1, 0)).expect("the first");
    let mut number = 0;
    let error = loop {
        match task.state.append_to_run(run(1, 0), 0, &large(number)) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(task.state.is_run_full(run(1, 0)) == (number > 47), "{number} MiB");
    };
    assert_eq!((number, error), (63, RunError::AppendsTooMuch(run(1, 0))));
    let text = error.to_string();
    assert!(text.ends_with("appends 67108864 bytes on one task faster than the disk takes them"), "{text}");
    // What waits goes to the disk: then there is room again.
    task.settle();
    assert!(!task.state.is_run_full(run(1, 0)) && task.state.side_size() <= SIDE_RUN_MEMORY_MAX);
    task.state.append_to_run(run(1, 0), 0, &large(number)).expect("there is room");
}

#[test]
fn a_run_waits_before_it_has_as_many_writes_in_memory_as_it_may() {
    let mut task = Task::new();
    task.state.begin_run(run(1, 0)).expect("the first");
    for key in 0..55u8 {
        task.put(run(1, 0), &[key], &[1; 1 << 20]).expect("there is room before it is full");
    }
    assert!(!task.state.is_run_full(run(1, 0)));
    // One more write, as large as any may be, has room.
    task.put(run(1, 0), b"last", &vec![1; RECORD_SIZE_MAX]).expect("there is room for one more");
    assert!(task.state.is_run_full(run(1, 0)));
    task.settle();
    assert!(!task.state.is_run_full(run(1, 0)));
}

#[test]
fn a_run_that_appends_more_than_fits_memory_appends_all_of_it_once_whenever_it_is_cut() {
    for cut in 0..3 {
        let mut task = Task::new();
        task.prepared_large(run(1, 0), 0..100);
        if cut == 0 {
            task = task.reopen(0).expect("the log says where it lies");
            assert_eq!(task.state.prepared_runs().collect::<Vec<_>>(), [(run(1, 0), Epoch(4))]);
        }
        task.state.publish_run(run(1, 0)).expect("it is prepared");
        assert_eq!(task.commit(), [], "nobody can read what it appends");
        // A client's record comes behind, and can be read when those before it can.
        let offset = task.state.depot_mut(0).stage(&100u32.to_le_bytes());
        task.commit();
        let depot = &task.state.depots()[0];
        assert_eq!((offset, depot.committed_end(), depot.durable_end()), (Offset(100), Offset(0), Offset(101)));
        if cut == 1 {
            task = task.reopen(0).expect("the log says where it lies");
        }
        let published = task.state.published(TOPOLOGY).expect("it was published");
        assert_eq!(task.pay(), [RunEvent::Published { run: run(1, 0), version: published.version }]);
        assert_eq!(task.numbers(), (0..=100).collect::<Vec<_>>());
        task.flush();
        task.settle();
        assert_eq!((task.files_of_runs(), task.low()), (0, task.end()), "all of it is in segments");
        let end = task.end();
        let mut task = task.reopen(end).expect("nothing of the log is needed");
        assert_eq!(task.numbers(), (0..=100).collect::<Vec<_>>());
    }
}

#[test]
fn a_run_on_the_disk_that_is_dropped_appends_nothing() {
    let mut task = Task::new();
    task.prepared_large(run(1, 0), 0..100);
    task.state.begin_run(run(1, 1)).expect("a higher attempt");
    task.commit();
    task.state.append_to_run(run(1, 1), 0, &large(1)).expect("it is open");
    task.state.prepare_run(run(1, 1), Epoch(4)).expect("it is open");
    while task.state.prepared_runs().count() == 0 {
        task.commit();
    }
    task.publish(run(1, 1));
    task.flush();
    task.settle();
    assert_eq!((task.numbers(), task.files_of_runs()), (vec![1], 0), "what it had on the disk is gone");
}

#[test]
fn a_run_on_the_disk_that_is_dropped_before_the_log_says_it_is_there_holds_the_log_no_longer() {
    let mut task = Task::new();
    task.state.begin_run(run(1, 0)).expect("the first");
    task.state.bound_run(run(1, 0), 1);
    (0..3u8).for_each(|key| task.put(run(1, 0), &[key], &[key]).expect("there is room"));
    (0..3).for_each(|_| task.state.append_to_run(run(1, 0), 0, &[1; 300 << 10]).expect("there is room"));
    task.state.prepare_run(run(1, 0), Epoch(4)).expect("it is open");
    // The first piece is in the log; the rest of them keeps the mark back that the run is on the disk.
    task.commit();
    task.settle();
    assert!(task.files_of_runs() > 0 && task.state.prepared_runs().count() == 0);
    assert_eq!(task.low(), 0, "it may be prepared yet");
    task.state.drop_run(run(1, 0)).expect("it is not decided");
    task.commit();
    task.flush();
    task.settle();
    assert_eq!((task.low(), task.files_of_runs()), (task.end(), 0));
    // Neither what the log has of it nor what it lost is missed.
    let end = task.end();
    for low in [0, end] {
        task = task.reopen(low).expect("nothing is missing");
        assert_eq!((task.state.prepared_runs().count(), task.state.side_size()), (0, 0));
        assert_eq!((task.low(), task.numbers()), (task.end(), vec![]));
    }
    task.state.begin_run(run(1, 1)).expect("a higher attempt");
    task.state.append_to_run(run(1, 1), 0, &large(7)).expect("it is open");
    task.state.prepare_run(run(1, 1), Epoch(4)).expect("it is open");
    while task.state.prepared_runs().count() == 0 {
        task.commit();
    }
    task.publish(run(1, 1));
    assert_eq!(task.numbers(), [7]);
}

#[test]
fn a_large_record_of_a_client_behind_records_that_have_still_to_come_from_the_disk_is_durable_before_they_are_here() {
    let mut task = Task::new();
    task.prepared_large(run(1, 0), 0..40);
    task.state.publish_run(run(1, 0)).expect("it is prepared");
    task.commit();
    for number in 40..42 {
        task.state.depot_mut(0).stage(&large(number));
        task.state.detach_large(1, &mut SimEntropy::new(1), &mut task.disk);
        assert!(task.state.is_dirty() && task.state.is_owing(), "it does not wait for them");
        task.commit();
        let depot = &task.state.depots()[0];
        assert_eq!((depot.committed_end(), depot.durable_end()), (Offset(0), Offset(u64::from(number) + 1)));
    }
    let mut task = task.reopen(0).expect("the log has both");
    task.pay();
    assert_eq!(task.numbers(), (0..42).collect::<Vec<_>>());
    // With nothing before it that has to come, one goes to a segment first, as ever.
    task.state.depot_mut(0).stage(&large(42));
    assert!(!task.state.is_dirty());
}
