//! Large runs: their bytes are written once, to a segment, before the log refers to them.

use std::path::Path;
use tantu_base::door::{Disk, DiskOp, DiskReply, call};
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_lsm::BlockCache;
use tantu_replog::Lsn;
use tantu_state::depot::Lookup;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::section::{EntryWriter, Op, Reference, sections};
use tantu_state::segment::LARGE_RUN_SIZE;
use tantu_state::task::{Owners, StateError};
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{DiskWeather, Image, OpKind, SimDisk, SimEntropy, Weather};

const DEPOT: ObjectId = ObjectId(1);
const TASK: TaskId = TaskId(3);
const RECORD_SIZE: usize = 6_000;
const RECORD_COUNT: u64 = 100;
const _: () = assert!(RECORD_SIZE * RECORD_COUNT as usize > LARGE_RUN_SIZE);

struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    chance: SimEntropy,
    state: TaskState,
}

/// Opens a task from its files and the entries of its log.
fn open(image: Image, log: &[Vec<u8>]) -> Result<Rig, StateError> {
    let mut disk = SimDisk::new(&Weather::new(4), DiskWeather::default(), image);
    let (mut cache, mut chance) = (BlockCache::new(1 << 20), SimEntropy::new(4));
    let (owners, options) = (Owners { tree: 1, segments: 2 }, TaskStateOptions::default());
    let path = Path::new("task");
    let mut state = TaskState::open(&mut disk, &mut chance, &mut cache, path, owners, TASK, &[DEPOT], &options)?;
    for (lsn, body) in log.iter().enumerate() {
        for section in sections(body) {
            state.replay(&section.expect("it was sealed"), Lsn(lsn as u64))?;
        }
    }
    state.verify(&mut disk, &mut cache, 64 << 20)?;
    Ok(Rig { disk, cache, chance, state })
}

fn new() -> Rig {
    open(Image::default(), &[]).expect("an empty task")
}

impl Rig {
    fn stage(&mut self, count: u64) {
        for _ in 0..count {
            self.state.depot_mut(0).stage(&vec![7; RECORD_SIZE]);
        }
    }

    fn settle(&mut self) {
        let mut done = Vec::new();
        while self.state.is_busy() {
            self.disk.wait();
            self.disk.reap(&mut done);
            for done in done.drain(..) {
                self.state.complete(done, &mut self.cache, &mut self.disk).expect("no faults are planned");
            }
        }
    }

    fn detach(&mut self) {
        self.state.detach_large(5_000, &mut self.chance, &mut self.disk);
        self.settle();
    }

    fn seal(&mut self) -> Vec<u8> {
        let mut entry = EntryWriter::default();
        self.state.seal(6_000, &mut entry);
        entry.body
    }

    fn commit(&mut self, body: &[u8], lsn: u64) {
        let section = sections(body).next().expect("one section").expect("whole");
        self.state.commit(&section, Lsn(lsn)).expect("it was sealed");
    }

    fn end(&self) -> u64 {
        self.state.depots()[0].committed_end().0
    }

    fn has_record(&mut self, offset: u64) -> bool {
        if matches!(self.state.depots()[0].lookup(Offset(offset)), Lookup::OnDisk) {
            self.state.want(0, Offset(offset), Offset(u64::MAX));
            while self.state.is_loading() {
                let Rig { state, cache, disk, .. } = self;
                state.load_records(READ_AHEAD_SIZE_MAX, cache, disk).expect("no faults are planned");
                self.settle();
            }
        }
        matches!(self.state.depots()[0].lookup(Offset(offset)), Lookup::Record(record) if record == [7; RECORD_SIZE])
    }

    fn segment_count(&mut self) -> usize {
        match call(&mut self.disk, DiskOp::List { path: "task/depot".into() }) {
            Ok(DiskReply::Names(names)) => names.len(),
            other => panic!("{other:?}"),
        }
    }
}

/// A task with one large run, sealed; and the entry.
fn with_a_reference() -> (Rig, Vec<u8>) {
    let mut rig = new();
    rig.stage(RECORD_COUNT);
    assert!(!rig.state.is_dirty() && rig.state.has_unsealed(), "there is nothing to seal until it is in a segment");
    rig.detach();
    assert!(rig.state.is_dirty());
    let body = rig.seal();
    (rig, body)
}

#[test]
fn a_large_run_is_in_the_segment_once_and_in_the_log_by_reference() {
    let (mut rig, body) = with_a_reference();
    assert!(body.len() < 512, "the entry has {} bytes", body.len());
    assert_eq!(rig.end(), 0, "the entry is not durable");
    rig.commit(&body, 0);
    assert!(rig.has_record(0) && rig.has_record(99) && rig.end() == RECORD_COUNT);
    assert!(rig.state.is_copied(), "nothing is left to copy");
    let image = rig.disk.crash(&mut rig.chance);
    let size: u64 =
        image.files().iter().filter(|(path, _)| path.starts_with("task/depot")).map(|(_, size)| *size).sum();
    assert!(size < (RECORD_SIZE as u64 + 8) * RECORD_COUNT + 3 * 4096, "{size} bytes");
    let mut again = open(image, &[body]).expect("what it refers to is there");
    let before = again.disk.count(OpKind::Read);
    assert!(again.has_record(0) && again.has_record(99) && again.end() == RECORD_COUNT);
    assert!(again.disk.count(OpKind::Read) > before, "the log did not have them");
}

#[test]
fn a_cut_between_the_segment_and_the_log_leaves_no_record_and_no_file() {
    let (mut rig, _) = with_a_reference();
    assert_eq!(rig.segment_count(), 1);
    let image = rig.disk.crash(&mut rig.chance);
    let mut again = open(image, &[]).expect("nothing refers to it");
    assert_eq!(again.end(), 0);
    again.state.step_trims(&mut again.cache, &mut again.disk).expect("no faults");
    again.settle();
    assert_eq!(again.segment_count(), 0);
}

#[test]
fn offsets_stay_dense_when_small_and_large_runs_take_turns() {
    let mut rig = new();
    let mut log: Vec<Vec<u8>> = Vec::new();
    for (round, count) in [1, RECORD_COUNT, 2, RECORD_COUNT, RECORD_COUNT, 3].into_iter().enumerate() {
        rig.stage(count);
        // More records come while the large run is on its way; they are sealed after it.
        rig.state.detach_large(5_000, &mut rig.chance, &mut rig.disk);
        rig.stage(round as u64 % 2);
        while rig.state.has_unsealed() {
            rig.detach();
            let body = rig.seal();
            rig.commit(&body, log.len() as u64);
            log.push(body);
        }
    }
    let end = 3 * RECORD_COUNT + 1 + 2 + 3 + 3;
    assert_eq!(rig.end(), end);
    let image = rig.disk.crash(&mut rig.chance);
    let mut again = open(image, &log).expect("every reference holds");
    assert_eq!(again.end(), end);
    assert!((0..end).all(|offset| again.has_record(offset)));
}

#[test]
fn a_damaged_byte_of_a_run_the_log_refers_to_is_named_when_the_task_is_opened() {
    let (mut rig, body) = with_a_reference();
    let mut image = rig.disk.crash(&mut rig.chance);
    let path = Path::new("task/depot/00000001.seg");
    let byte = image.read(path).expect("it is there")[50_000];
    image.overwrite(path, 50_000, &[byte ^ 1]);
    let error = open(image, &[body]).map(|_| ()).expect_err("it is damaged").to_string();
    assert!(error.contains("00000001.seg") && error.contains("checksum"), "{error}");
}

/// The entry with another reference in place of its own.
fn with_other_reference(body: &[u8], change: impl Fn(&mut Reference)) -> Vec<u8> {
    let section = sections(body).next().expect("one section").expect("whole");
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(section.task, section.version);
    for op in section.iter() {
        match op.expect("known") {
            Op::AppendAt(mut reference) => {
                change(&mut reference);
                entry.append_at(&reference);
            }
            Op::Put { key, value } => entry.put(key, value),
            other => panic!("{other:?}"),
        }
    }
    entry.end_section(start);
    entry.body
}

#[test]
fn a_reference_to_other_records_than_the_chunk_has_is_refused() {
    let (mut rig, body) = with_a_reference();
    let image = rig.disk.crash(&mut rig.chance);
    let changes: [fn(&mut Reference); 3] = [|r| r.crc ^= 1, |r| r.size += 1, |r| r.count -= 1];
    for change in changes {
        let error = open(image.clone(), &[with_other_reference(&body, change)]).map(|_| ()).expect_err("it lies");
        assert!(matches!(error, StateError::Reference { task: TASK, depot: DEPOT, first: Offset(0) }), "{error}");
    }
    assert!(open(image, &[with_other_reference(&body, |_| {})]).is_ok());
}
