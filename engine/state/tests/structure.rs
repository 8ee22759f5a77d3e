//! Subindexed structures over a task's real state on a simulated disk: transforms and selects agree with the same paths on
//! the plain value, with batches rolled back, entries pending, flushes and merges between, and after a replay; the
//! committed version shows what was committed.

#[path = "../../path/tests/support/structured.rs"]
mod structured;

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::path::Path as FilePath;
use structured::{Chance, Layout, plain, schema, select_path, transform_path, value};
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::Value;
use tantu_lsm::{BlockCache, Need, TreeOptions};
use tantu_path::{
    EvalError, NoArgs, Path, PathError, Schema, Scratch, Store, select, select_store, transform, transform_store,
};
use tantu_replog::Lsn;
use tantu_state::section::{EntryWriter, sections};
use tantu_state::task::Owners;
use tantu_state::view::{OwnView, PinnedView};
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{DiskWeather, Image, SimDisk, SimEntropy, Weather};

const OBJECT: ObjectId = ObjectId(0);
/// A neighbour on both sides, which nothing may touch.
const OBJECTS: [ObjectId; 3] = [ObjectId(6), ObjectId(5), ObjectId(7)];

struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    state: TaskState,
    need: Option<Need>,
    log: VecDeque<(u64, Vec<u8>)>,
    pending: VecDeque<u64>,
}

fn open(mut disk: SimDisk, chance: &mut SimEntropy, log: VecDeque<(u64, Vec<u8>)>) -> Rig {
    let mut cache = BlockCache::new(6 * 4096);
    let tree = TreeOptions { table_size_max: 16 << 10, run_count_max: 2, write_size: 8 << 10, ..Default::default() };
    let options = TaskStateOptions { tree, ..TaskStateOptions::default() };
    let owners = Owners { tree: 1, segments: 2 };
    let dir = FilePath::new("task");
    let mut state =
        TaskState::open(&mut disk, chance, &mut cache, dir, owners, TaskId(3), &[], &options).expect("it opens");
    for (lsn, body) in &log {
        for section in sections(body) {
            state.replay(&section.expect("it was sealed"), Lsn(*lsn)).expect("it follows");
        }
    }
    Rig { disk, cache, state, need: None, log, pending: VecDeque::new() }
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

    /// Evaluates on the own view, again after each miss.
    fn own<T>(&mut self, evaluate: &dyn Fn(&mut dyn Store) -> Result<T, EvalError>) -> Result<T, EvalError> {
        loop {
            let Rig { state, cache, need, .. } = self;
            match evaluate(&mut OwnView { state, cache, need, objects: &OBJECTS }) {
                Err(EvalError::Need) => self.fetch(),
                outcome => return outcome,
            }
        }
    }

    fn fetch(&mut self) {
        let need = self.need.take().expect("the view notes what it needs");
        let waits = self.state.fetch(&need, &mut self.disk);
        self.deliver(waits);
    }

    /// Every entry of an object, forwards and backwards, on the own view or the committed version.
    fn entries(&mut self, object: ObjectId, committed: bool) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut ways = [false, true].map(|back| {
            loop {
                let mut all = Vec::new();
                let Rig { state, cache, need, .. } = self;
                let at = state.visible();
                let visit = &mut |key: &[u8], value: &[u8]| {
                    all.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                };
                let mut own;
                let mut pinned;
                let store: &mut dyn Store = if committed {
                    pinned = PinnedView { state, cache, need, objects: &OBJECTS, at };
                    &mut pinned
                } else {
                    own = OwnView { state, cache, need, objects: &OBJECTS };
                    &mut own
                };
                let all_keys = (Bound::Unbounded, Bound::Unbounded);
                let scanned = match back {
                    false => store.scan(object, all_keys.0, all_keys.1, visit),
                    true => store.scan_back(object, all_keys.0, all_keys.1, visit),
                };
                match scanned {
                    Ok(()) => return all,
                    Err(_) => self.fetch(),
                }
            }
        });
        ways[1].reverse();
        assert_eq!(ways[0], ways[1], "a scan back is the scan, reversed");
        std::mem::take(&mut ways[0]).into_iter().collect()
    }

    fn seal(&mut self, lsn: u64) {
        let mut entry = EntryWriter::default();
        self.state.seal(1000 + lsn, &mut entry);
        self.log.push_back((lsn, entry.body));
        self.pending.push_back(lsn);
    }

    fn commit(&mut self) -> bool {
        let Some(lsn) = self.pending.pop_front() else { return false };
        let body = &self.log.iter().find(|(at, _)| *at == lsn).expect("it is kept").1;
        let section = sections(body).next().expect("one section").expect("it is whole");
        self.state.commit(&section, Lsn(lsn)).expect("it was sealed");
        true
    }
}

fn change(rig: &mut Rig, schema: &Schema, path: &Path) -> Result<(), EvalError> {
    rig.own(&|store| transform_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new()))
}

fn find(rig: &mut Rig, schema: &Schema, path: &Path) -> Result<Vec<Value>, EvalError> {
    rig.own(&|store| {
        let mut found = Vec::new();
        select_store(schema, OBJECT, path, store, &NoArgs, &mut Scratch::new(), &mut |bytes| {
            found.push(Value::decode(bytes).expect("a found value decodes"));
            ControlFlow::Continue(())
        })
        .map(|()| found)
    })
}

fn normal(schema: &Schema, value: Value) -> Value {
    match (schema, value) {
        (Schema::Map(..), Value::Null) => Value::Map(vec![]),
        (_, value) => value,
    }
}

/// The values sealed but not committed, and the committed one.
struct Versions {
    pending: VecDeque<Value>,
    committed: Value,
}

fn run(seed: u64) {
    let mut chance = Chance(seed);
    let schema = schema(&mut chance);
    let mut entropy = SimEntropy::new(seed);
    let disk = SimDisk::new(&Weather::new(seed), DiskWeather::default(), Image::default());
    let mut rig = open(disk, &mut entropy, VecDeque::new());
    for (object, bytes) in [(ObjectId(1), b"before"), (ObjectId(2), b"behind")] {
        rig.own(&|store| Ok(store.put(object, &[0xF0, 0, 0], bytes)?)).expect("a put");
    }
    let mut own = normal(&schema, Value::Null);
    let mut versions = Versions { pending: VecDeque::new(), committed: own.clone() };
    let mut lsn = 0;
    for step in 0..60 {
        let context = || format!("seed {seed} step {step} on {schema}");
        rig.state.begin_batch();
        let mut after = own.clone();
        for _ in 0..1 + chance.below(3) {
            let path = if chance.below(12) == 0 {
                Path::new().term_val(value(&mut chance, &schema))
            } else {
                transform_path(&mut chance, &schema)
            };
            let outcome = change(&mut rig, &schema, &path);
            match transform(&path, after.clone(), &NoArgs) {
                Ok(changed) if plain(&schema).check(&changed).is_ok() => {
                    outcome.unwrap_or_else(|error| panic!("{}: {path}: {error}", context()));
                    after = normal(&schema, changed);
                }
                _ => assert!(outcome.is_err(), "{}: {path}", context()),
            }
        }
        if chance.below(5) == 0 {
            rig.state.rollback_batch();
        } else {
            own = after;
        }
        match chance.below(6) {
            0 | 1 => {
                rig.seal(lsn);
                lsn += 1;
                versions.pending.push_back(own.clone());
            }
            2 | 3 if rig.commit() => {
                versions.committed = versions.pending.pop_front().expect("as many as sealed");
            }
            4 => rig.state.flush_memtable(),
            _ => {}
        }
        if chance.below(4) == 0 {
            rig.settle();
        }
        let entries = rig.entries(OBJECT, false);
        assert_eq!(Layout::read(&schema, &entries), own, "{}", context());
        let entries = rig.entries(OBJECT, true);
        assert_eq!(Layout::read(&schema, &entries), versions.committed, "{}: what is committed", context());
        let path = select_path(&mut chance, &schema);
        match (find(&mut rig, &schema, &path), select(&path, &own, &NoArgs)) {
            (Err(EvalError::Path { source: PathError::Subindexed { .. }, .. }), _) | (Err(_), Err(_)) => {}
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{}: {path}", context()),
            (found, expected) => panic!("{}: {path}: {found:?} is not {expected:?}", context()),
        }
    }
    finish(rig, &schema, versions, &mut entropy, seed);
}

/// Everything sealed is replayed, and again when it is all in tables.
fn finish(mut rig: Rig, schema: &Schema, mut versions: Versions, entropy: &mut SimEntropy, seed: u64) {
    rig.settle();
    let Rig { disk, mut cache, state, log, .. } = rig;
    let mut disk = disk;
    state.close(&mut cache, &mut disk).expect("no faults");
    let last = versions.pending.pop_back().unwrap_or(versions.committed);
    let mut rig = open(disk, entropy, log);
    for round in 0..2 {
        let entries = rig.entries(OBJECT, true);
        assert_eq!(Layout::read(schema, &entries), last, "seed {seed}: replayed, round {round}");
        rig.state.flush_memtable();
        rig.settle();
    }
}

#[test]
fn structures_in_a_tasks_state_are_what_they_are_as_plain_values() {
    (0..60).for_each(run);
}
