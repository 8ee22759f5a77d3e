//! A read-modify-write of a PState that is in memory: an event through its plan, on the storage of a real task.
//!
//! Writes are staged, sealed and committed as on a task thread, a batch at a time; the log is left out.

use super::module::{Counts, Records, Source};
use super::{FlowArgs, timed, word_of};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, TaskId};
use tantu_doors::{KernelDisk, KernelEntropy};
use tantu_flow::{Host, Position};
use tantu_lsm::{BlockCache, Need};
use tantu_path::{Stop, Store, VisitEntry};
use tantu_replog::Lsn;
use tantu_state::section::{EntryWriter, sections};
use tantu_state::task::Owners;
use tantu_state::view::OwnView;
use tantu_state::{TaskState, TaskStateOptions};

/// Bytes of the block cache: everything fits.
const CACHE_SIZE: usize = 256 << 20;
/// Bytes of memtables from which on one is flushed.
const MEMTABLES_SIZE_MAX: usize = 64 << 20;
const OBJECTS: [ObjectId; 1] = [ObjectId(1)];

/// An error with what was done.
pub(super) fn failed(doing: &str, error: impl std::fmt::Display) -> BenchError {
    BenchError::Wrong(format!("{doing}: {error}"))
}

/// One task's storage.
struct Task {
    disk: KernelDisk,
    cache: BlockCache,
    state: TaskState,
    entry: EntryWriter,
    lsn: u64,
    /// Time spent in sealing and committing.
    sealing: Duration,
}

/// The storage as a run sees it.
struct TaskHost<'a> {
    view: OwnView<'a>,
}

impl Store for TaskHost<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        self.view.get(object, key, out)
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.view.put(object, key, value)
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.view.delete(object, key)
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.view.delete_range(object, from, to)
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        self.view.scan_back(object, from, to, visit)
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        self.view.scan(object, from, to, visit)
    }
}

impl Host for TaskHost<'_> {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        Ok(self)
    }

    fn task(&self) -> TaskId {
        TaskId(0)
    }

    fn task_count(&self) -> u32 {
        1
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn shuffle(&mut self) -> TaskId {
        TaskId(0)
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn is_overtime(&self) -> bool {
        false
    }

    fn start_job(&mut self, _: Position, _: &[u8], _: tantu_base::door::Job) {
        unreachable!("nothing is awaited")
    }

    fn hop(&mut self, _: TaskId, _: Position, _: &[u8]) {}
}

impl Task {
    fn open(dir: &Path) -> Result<Task, BenchError> {
        let mut disk = KernelDisk::new(None).map_err(BenchError::io("making a disk ring"))?;
        let mut cache = BlockCache::new(CACHE_SIZE);
        let (owners, options) = (Owners { tree: 1, segments: 2 }, TaskStateOptions::default());
        let mut entropy = KernelEntropy::default();
        let state = TaskState::open(&mut disk, &mut entropy, &mut cache, dir, owners, TaskId(0), &[], &options)
            .map_err(|error| failed("opening a task", error))?;
        Ok(Task { disk, cache, state, entry: EntryWriter::default(), lsn: 0, sealing: Duration::ZERO })
    }

    fn batch(&mut self, source: &mut Source, records: &mut dyn Iterator<Item = &[u8]>) -> Result<(), BenchError> {
        let mut need: Option<Need> = None;
        self.state.begin_batch();
        let view = OwnView { state: &mut self.state, cache: &mut self.cache, need: &mut need, objects: &OBJECTS };
        let mut host = TaskHost { view };
        for record in records {
            source.event(record, &mut host)?;
        }
        let began = Instant::now();
        self.commit()?;
        self.sealing += began.elapsed();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BenchError> {
        self.lsn += 1;
        self.entry.body.clear();
        self.state.seal(self.lsn, &mut self.entry);
        for section in sections(&self.entry.body) {
            let section = section.map_err(|error| failed("reading what was sealed", error))?;
            self.state.commit(&section, Lsn(self.lsn)).map_err(|error| failed("committing", error))?;
        }
        Ok(())
    }

    /// Everything that waits for the disk, outside what is measured.
    fn settle(&mut self) -> Result<(), BenchError> {
        loop {
            let mut done = Vec::new();
            self.disk.reap(&mut done);
            for done in done {
                let completed = self.state.complete(done, &mut self.cache, &mut self.disk);
                completed.map_err(|error| failed("working on a tree", error))?;
            }
            let more = self.state.background(&mut self.disk).map_err(|error| failed("merging", error))?;
            if !more && !self.state.is_busy() {
                return Ok(());
            }
        }
    }
}

pub(super) fn tantu(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let dir = common.fresh_dir()?;
    let mut task = Task::open(&dir.path().join("task"))?;
    let mut source = Source::of::<Counts>()?;
    let words = Records::of((0..args.keys as u32).map(word_of));
    let words: Vec<&[u8]> = words.iter().collect();
    let choices = args.choices(common);
    let mut took = None;
    for _ in 0..2 {
        task.sealing = Duration::ZERO;
        let mut all = super::Took { ns: 0.0, allocations: 0.0, events: 0.0 };
        for batch in choices.chunks(args.batch as usize) {
            let mut records = batch.iter().map(|choice| words[*choice as usize]);
            let one = timed(batch.len() as u64, || task.batch(&mut source, &mut records))?;
            (all.ns, all.allocations, all.events) =
                (all.ns + one.ns, all.allocations + one.allocations, all.events + one.events);
            if task.state.memtable_sizes().0 > MEMTABLES_SIZE_MAX {
                task.state.flush_memtable();
                task.settle()?;
            }
        }
        took = Some(all);
    }
    let took = took.expect("two rounds");
    let sealing = task.sealing.as_nanos() as f64 / took.events;
    let mut figures = took.figures();
    figures.push(("ns_agg", took.ns / took.events - sealing));
    figures.push(("ns_seal_commit", sealing));
    Ok(figures)
}

pub(super) fn bound(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let words: Vec<String> = (0..args.keys as u32).map(word_of).collect();
    let choices = args.choices(common);
    let mut counts: BTreeMap<String, i64> = words.iter().map(|word| (word.clone(), 0)).collect();
    let mut all = || {
        for choice in &choices {
            *counts.get_mut(&words[*choice as usize]).expect("every word is there") += 1;
        }
        Ok(())
    };
    all()?;
    Ok(timed(args.events(common), all)?.figures())
}
