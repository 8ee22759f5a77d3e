//! Numbered appends against a plain list of them: sent again, fenced, saved, cut off, replayed.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset, ProducerId, TaskId};
use tantu_lsm::{BlockCache, TreeOptions};
use tantu_replog::Lsn;
use tantu_state::producer::{
    Misnumbered, Number, Numbered, PRODUCER_COUNT_MAX, PRODUCER_KEPT_MS, SPAN_COUNT_MAX, Start,
};
use tantu_state::section::{EntryWriter, sections};
use tantu_state::segment::SegmentOptions;
use tantu_state::task::Owners;
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{DiskWeather, SimDisk, SimEntropy, Weather};

const DEPOTS: [ObjectId; 2] = [ObjectId(1), ObjectId(2)];
const PRODUCERS: u128 = 5;

struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    state: TaskState,
}

/// Everything that was appended, in order, and what is sealed and committed of it.
#[derive(Clone, Default)]
struct Model {
    /// By depot: the number of each record, if it has one.
    records: [Vec<Option<Number>>; 2],
    /// By depot and producer: its epoch.
    epochs: BTreeMap<(usize, ProducerId), u32>,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<(u64, Vec<u8>)>,
    next: u64,
    /// Sealed and not committed, each with what is true when it is.
    pending: VecDeque<(u64, Model)>,
    /// What the last sealed entry makes true.
    sealed: Model,
}

fn open(mut disk: SimDisk, log: &Log, chance: &mut SimEntropy) -> Rig {
    let mut cache = BlockCache::new(8 * 4096);
    let tree = TreeOptions { table_size_max: 16 << 10, run_count_max: 2, write_size: 8 << 10, ..Default::default() };
    let segments = SegmentOptions { large_run_size: 2_000, chunk_size_max: 6 << 10, ..SegmentOptions::default() };
    let options = TaskStateOptions { tree, segments, ..TaskStateOptions::default() };
    let owners = Owners { tree: 1, segments: 2 };
    let state = TaskState::open(&mut disk, chance, &mut cache, Path::new("task"), owners, TaskId(3), &DEPOTS, &options);
    let mut state = state.expect("it opens");
    for (lsn, body) in &log.entries {
        for section in sections(body) {
            state.replay(&section.expect("it was sealed"), Lsn(*lsn)).expect("it follows what is there");
        }
    }
    state.verify(&mut disk, &mut cache, 64 << 20).expect("it is whole");
    Rig { disk, cache, state }
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

    fn seal(&mut self, log: &mut Log, now: &Model, chance: &mut SimEntropy) {
        self.state.detach_large(1_000, chance, &mut self.disk);
        if !self.state.is_dirty() {
            return;
        }
        let mut entry = EntryWriter::default();
        self.state.seal(1_000 + log.next, &mut entry);
        log.entries.push_back((log.next, entry.body));
        // Large runs are sealed later, and what follows them.
        let mut sealed = now.clone();
        for (records, depot) in sealed.records.iter_mut().zip(self.state.depots()) {
            records.truncate(depot.sealed_end().max(depot.committed_end()).0 as usize);
        }
        log.sealed = sealed.clone();
        log.pending.push_back((log.next, sealed));
        log.next += 1;
    }

    fn commit(&mut self, log: &mut Log) {
        let Some((lsn, _)) = log.pending.pop_front() else { return };
        let (_, body) = log.entries.iter().find(|(at, _)| *at == lsn).expect("a pending entry is never released");
        let section = sections(body).next().expect("one section").expect("whole");
        self.state.commit(&section, Lsn(lsn)).expect("it was sealed");
    }
}

impl Model {
    fn epoch(&self, depot: usize, producer: ProducerId) -> u32 {
        self.epochs.get(&(depot, producer)).copied().unwrap_or(1)
    }

    /// The records of a producer's epoch, in order, with their offsets.
    fn of(&self, depot: usize, producer: ProducerId, epoch: u32) -> Vec<(u64, Offset)> {
        let numbered = self.records[depot].iter().enumerate();
        let of = |(at, number): (usize, &Option<Number>)| {
            let number = number.filter(|number| number.producer == producer && number.epoch == epoch)?;
            Some((number.sequence, Offset(at as u64)))
        };
        numbered.filter_map(of).collect()
    }

    /// What is to become of a number.
    fn expected(&self, depot: usize, number: &Number) -> Result<Option<Offset>, Misnumbered> {
        let epoch = self.epoch(depot, number.producer);
        if number.epoch < epoch {
            return Err(Misnumbered::Fenced { epoch });
        }
        let made = self.of(depot, number.producer, number.epoch);
        let next = made.len() as u64;
        match made.get(number.sequence as usize) {
            Some((_, offset)) => Ok(Some(*offset)),
            None if number.sequence == next => Ok(None),
            None if next == 0 && !self.epochs.contains_key(&(depot, number.producer)) => Err(Misnumbered::Forgotten),
            None => Err(Misnumbered::OutOfSequence { expected: next }),
        }
    }
}

fn step(rig: &mut Rig, model: &mut Model, chance: &mut SimEntropy, place: &str) {
    let depot = chance.below(2) as usize;
    let producer = ProducerId(u128::from(chance.below(PRODUCERS as u64)));
    let epoch = model.epoch(depot, producer);
    if chance.percent(3) {
        let known = model.epochs.contains_key(&(depot, producer));
        let next = epoch + u32::from(known);
        let (start, expected) = match chance.below(4) {
            0 => (Start::AtLeast(0), next),
            1 => (Start::AtLeast(next + 2), next + 2),
            _ => (Start::Exactly(epoch + 1), epoch + 1),
        };
        let (got, version) = rig.state.start_producer(depot, producer, start).expect("it is higher");
        assert_eq!(got, expected, "{place}");
        assert!(version > rig.state.visible());
        model.epochs.insert((depot, producer), got);
        return;
    }
    let next = model.of(depot, producer, epoch).len() as u64;
    let sequence = match chance.below(10) {
        0..6 => next,
        6..9 => next.saturating_sub(chance.below(12)),
        _ => next + 1 + chance.below(3),
    };
    let number = Number { producer, epoch: epoch - u32::from(epoch > 1 && chance.percent(5)), sequence };
    let expected = model.expected(depot, &number);
    let found = rig.state.stage_numbered(depot, &number, &vec![7; chance.below(400) as usize]);
    match (found, expected) {
        (Ok(Numbered::Appended(offset)), Ok(None)) => {
            assert_eq!(offset.0 as usize, model.records[depot].len(), "{place}");
            model.records[depot].push(Some(number));
            model.epochs.insert((depot, producer), epoch);
        }
        (Ok(Numbered::Repeated(found)), Ok(Some(offset))) => assert_eq!(found, offset, "{place}"),
        // Only the newest offsets are remembered.
        (Err(Misnumbered::TooOld), Ok(Some(_))) => assert!(sequence + SPAN_COUNT_MAX as u64 <= next, "{place}"),
        (Err(found), Err(expected)) => assert_eq!(found, expected, "{place}"),
        (found, expected) => panic!("{place}: {found:?}, not {expected:?}"),
    }
}

fn run(seed: u64) -> usize {
    println!("seed {seed}");
    let mut chance = SimEntropy::new(seed);
    let (mut log, mut model) = (Log::default(), Model::default());
    let mut rig = open(SimDisk::calm(seed), &log, &mut chance);
    let mut released = 0;
    for round in 0..1200 {
        let place = format!("seed {seed}, round {round}");
        match chance.below(100) {
            0..45 => step(&mut rig, &mut model, &mut chance, &place),
            45..50 => {
                let depot = chance.below(2) as usize;
                rig.state.depot_mut(depot).stage(b"of no producer");
                model.records[depot].push(None);
            }
            50..66 => rig.seal(&mut log, &model, &mut chance),
            66..80 => rig.commit(&mut log),
            80..83 => drop(rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk)),
            83..86 => rig.state.save_producers(Lsn(log.next)),
            86 => rig.state.flush_memtable(),
            87..94 => {
                rig.state.background(&mut rig.disk).expect("no faults are planned");
                rig.deliver(false);
                let low = rig.state.low_water(Lsn(log.pending.front().map_or(log.next, |(lsn, _)| *lsn)));
                let before = log.entries.len();
                log.entries.retain(|(lsn, _)| *lsn >= low.0);
                released += before - log.entries.len();
            }
            94..97 => rig.settle(),
            way => {
                if way == 97 {
                    rig.settle();
                    let Rig { mut disk, mut cache, state } = rig;
                    state.close(&mut cache, &mut disk).expect("a close");
                    rig = open(disk, &log, &mut chance);
                } else {
                    let left =
                        if chance.percent(50) { rig.disk.crash(&mut chance) } else { rig.disk.kill(&mut chance) };
                    let world = Weather::new(seed ^ round << 8);
                    rig = open(SimDisk::new(&world, DiskWeather::default(), left), &log, &mut chance);
                }
                // What was sealed is there, and nothing else.
                log.pending.clear();
                model = log.sealed.clone();
            }
        }
    }
    released
}

#[test]
fn an_append_that_is_sent_again_has_the_offset_it_got_over_saves_closes_and_cuts() {
    let released: usize = (0..60).map(run).sum();
    assert!(released > 500, "the log gave up {released} entries");
}

#[test]
fn the_log_gives_up_what_is_known_of_producers_once_it_is_saved_and_flushed() {
    let (mut log, model, mut chance) = (Log::default(), Model::default(), SimEntropy::new(1));
    let mut rig = open(SimDisk::calm(1), &log, &mut chance);
    let number = |sequence| Number { producer: ProducerId(9), epoch: 1, sequence };
    for sequence in 0..3 {
        let staged = rig.state.stage_numbered(0, &number(sequence), b"record");
        assert_eq!(staged, Ok(Numbered::Appended(Offset(sequence))));
        rig.seal(&mut log, &model, &mut chance);
        rig.commit(&mut log);
    }
    while !rig.state.is_copied() || rig.state.is_dirty() {
        rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk);
        rig.settle();
        rig.seal(&mut log, &model, &mut chance);
        rig.commit(&mut log);
    }
    rig.state.flush_memtable();
    rig.settle();
    assert_eq!(rig.state.low_water(Lsn(log.next)), Lsn(0), "nobody else knows which appends the producer made");
    rig.state.save_producers(Lsn(1));
    rig.seal(&mut log, &model, &mut chance);
    rig.commit(&mut log);
    rig.state.flush_memtable();
    rig.settle();
    assert_eq!(rig.state.low_water(Lsn(log.next)), Lsn(log.next));
    log.entries.clear();
    let Rig { mut disk, mut cache, state } = rig;
    state.close(&mut cache, &mut disk).expect("a close");
    let mut rig = open(disk, &log, &mut chance);
    assert_eq!(rig.state.stage_numbered(0, &number(1), b"again"), Ok(Numbered::Repeated(Offset(1))));
    assert_eq!(rig.state.stage_numbered(0, &number(3), b"next"), Ok(Numbered::Appended(Offset(3))));
}

#[test]
fn producers_that_are_silent_for_long_and_the_most_silent_of_too_many_are_forgotten_also_after_a_restart() {
    let (mut log, model, mut chance) = (Log::default(), Model::default(), SimEntropy::new(1));
    let mut rig = open(SimDisk::calm(1), &log, &mut chance);
    let number = |producer, sequence| Number { producer: ProducerId(producer), epoch: 1, sequence };
    for producer in 0..=PRODUCER_COUNT_MAX as u128 {
        rig.state.stage_numbered(0, &number(producer, 0), b"record").expect("it is the first");
        if producer < 2 {
            rig.seal(&mut log, &model, &mut chance);
            rig.commit(&mut log);
        }
    }
    while rig.state.has_unsealed() {
        rig.seal(&mut log, &model, &mut chance);
        rig.commit(&mut log);
        rig.state.copy_records(Lsn(u64::MAX), &mut chance, &mut rig.disk);
        rig.settle();
    }
    rig.state.expire_producers(2_000);
    assert!(rig.state.producer(0, ProducerId(0)).is_none() && rig.state.producer(0, ProducerId(1)).is_none());
    let last = ProducerId(PRODUCER_COUNT_MAX as u128);
    assert!(rig.state.producer(0, last).is_some());
    rig.seal(&mut log, &model, &mut chance);
    let left = rig.disk.crash(&mut chance);
    let mut rig = open(SimDisk::new(&Weather::new(2), DiskWeather::default(), left), &log, &mut chance);
    assert_eq!(rig.state.stage_numbered(0, &number(0, 1), b"late"), Err(Misnumbered::Forgotten));
    assert_eq!(rig.state.stage_numbered(0, &number(last.0, 1), b"next"), Ok(Numbered::Appended(Offset(4_097))));
    rig.seal(&mut log, &model, &mut chance);
    rig.state.expire_producers(2_000 + PRODUCER_KEPT_MS);
    assert!(rig.state.producer(0, last).is_none());
}

#[test]
fn a_producer_that_comes_back_before_the_log_says_that_it_was_forgotten_is_known_after_a_replay() {
    for is_saved in [false, true] {
        let (mut log, model, mut chance) = (Log::default(), Model::default(), SimEntropy::new(1));
        let mut rig = open(SimDisk::calm(1), &log, &mut chance);
        let number = |sequence| Number { producer: ProducerId(9), epoch: 1, sequence };
        (0..3).for_each(|sequence| _ = rig.state.stage_numbered(0, &number(sequence), b"of its first time"));
        rig.seal(&mut log, &model, &mut chance);
        rig.commit(&mut log);
        rig.state.expire_producers(2_000 + PRODUCER_KEPT_MS);
        assert!(rig.state.producer(0, ProducerId(9)).is_none());
        assert_eq!(rig.state.stage_numbered(0, &number(0), b"back"), Ok(Numbered::Appended(Offset(3))));
        rig.state.save_producers(Lsn(if is_saved { u64::MAX } else { 0 }));
        rig.seal(&mut log, &model, &mut chance);
        let left = rig.disk.crash(&mut chance);
        let mut rig = open(SimDisk::new(&Weather::new(2), DiskWeather::default(), left), &log, &mut chance);
        assert_eq!(rig.state.stage_numbered(0, &number(0), b"back"), Ok(Numbered::Repeated(Offset(3))), "{is_saved}");
        assert_eq!(rig.state.stage_numbered(0, &number(1), b"next"), Ok(Numbered::Appended(Offset(4))), "{is_saved}");
    }
}

#[test]
fn an_epoch_that_another_life_has_used_is_refused_however_it_was_given_out() {
    let (log, mut chance) = (Log::default(), SimEntropy::new(1));
    let mut rig = open(SimDisk::calm(1), &log, &mut chance);
    let producer = ProducerId(9);
    let start = |state: &mut TaskState, start| state.start_producer(0, producer, start).map(|(epoch, _)| epoch);
    assert_eq!(start(&mut rig.state, Start::AtLeast(5)), Ok(5));
    assert_eq!(start(&mut rig.state, Start::Exactly(5)), Ok(5), "asked for again");
    rig.state.stage_numbered(0, &Number { producer, epoch: 5, sequence: 0 }, b"record").expect("it is the first");
    assert_eq!(start(&mut rig.state, Start::Exactly(5)), Err(Misnumbered::Fenced { epoch: 5 }));
    assert_eq!(start(&mut rig.state, Start::Exactly(4)), Err(Misnumbered::Fenced { epoch: 5 }));
    assert_eq!(start(&mut rig.state, Start::AtLeast(3)), Ok(6));
}
