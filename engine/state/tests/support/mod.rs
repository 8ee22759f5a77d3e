//! One task on a simulated disk that may fail at any request, and what must be there afterwards.
//!
//! The log is not on the disk: what was sealed counts as durable, and the test keeps it until the task says that it is
//! not needed any more.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset, TaskId};
use tantu_lsm::{BlockCache, Need, TreeOptions};
use tantu_path::{Stop, Store};
use tantu_replog::Lsn;
use tantu_state::depot::Lookup;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::section::{EntryWriter, sections};
use tantu_state::task::{Owners, StateError};
use tantu_state::view::OwnView;
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{SimDisk, SimEntropy};

const DEPOTS: [ObjectId; 2] = [ObjectId(1), ObjectId(2)];
const OBJECTS: [ObjectId; 1] = [ObjectId(5)];
const KEY_COUNT: u64 = 40;

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// What was sealed.
#[derive(Clone, Default)]
pub(crate) struct Expected {
    table: Table,
    records: [Vec<Vec<u8>>; 2],
    /// The log from its low-water mark on.
    log: VecDeque<(u64, Vec<u8>)>,
    next_lsn: u64,
}

pub(crate) struct Rig {
    disk: SimDisk,
    cache: BlockCache,
    state: TaskState,
    need: Option<Need>,
}

impl Rig {
    /// Opens the task and replays its log.
    pub(crate) fn open(mut disk: SimDisk, chance: &mut SimEntropy, expected: &Expected) -> Result<Rig, StateError> {
        let mut cache = BlockCache::new(8 * 4096);
        let tree =
            TreeOptions { table_size_max: 16 << 10, run_count_max: 2, write_size: 8 << 10, ..Default::default() };
        let options = TaskStateOptions { tree, ..TaskStateOptions::default() };
        let owners = Owners { tree: 1, segments: 2 };
        let task = TaskId(3);
        let mut state =
            TaskState::open(&mut disk, chance, &mut cache, Path::new("task"), owners, task, &DEPOTS, &options)?;
        for (lsn, body) in &expected.log {
            for section in sections(body) {
                state.replay(&section.expect("it was sealed"), Lsn(*lsn))?;
            }
        }
        state.verify(&mut disk, &mut cache, 64 << 20)?;
        Ok(Rig { disk, cache, state, need: None })
    }

    fn deliver(&mut self, wait: bool) -> Result<(), StateError> {
        if wait {
            self.disk.wait();
        }
        let mut done = Vec::new();
        self.disk.reap(&mut done);
        done.into_iter().try_for_each(|done| self.state.complete(done, &mut self.cache, &mut self.disk).map(drop))
    }

    /// Finishes whatever runs in the background.
    pub(crate) fn settle(&mut self) -> Result<(), StateError> {
        while self.state.background(&mut self.disk)? || self.state.is_busy() {
            self.deliver(self.state.is_busy())?;
        }
        Ok(())
    }

    /// Writes, appends and seals; every so often copies records, flushes, and lets the log go.
    pub(crate) fn work(
        &mut self,
        rounds: u64,
        chance: &mut SimEntropy,
        expected: &mut Expected,
    ) -> Result<(), StateError> {
        for _ in 0..rounds {
            let (mut table, mut records) = (expected.table.clone(), expected.records.clone());
            for _ in 0..=chance.below(3) {
                self.write(chance, &mut table);
                let (depot, fill) = (chance.below(2) as usize, chance.below(256) as u8);
                let record = vec![fill; chance.below(600) as usize];
                assert_eq!(self.state.depot_mut(depot).stage(&record), Offset(records[depot].len() as u64));
                records[depot].push(record);
            }
            self.seal(expected)?;
            (expected.table, expected.records) = (table, records);
            match chance.below(6) {
                0 | 1 => drop(self.state.copy_records(Lsn(u64::MAX), chance, &mut self.disk)),
                2 => self.state.flush_memtable(),
                _ => {}
            }
            self.state.background(&mut self.disk)?;
            self.deliver(self.state.is_busy() && chance.percent(50))?;
            self.release(expected);
        }
        Ok(())
    }

    /// Gets every record into a chunk and everything into tables, so that the log is not needed.
    pub(crate) fn copy_and_flush(
        &mut self,
        chance: &mut SimEntropy,
        expected: &mut Expected,
    ) -> Result<(), StateError> {
        while !expected.log.is_empty() {
            self.state.copy_records(Lsn(u64::MAX), chance, &mut self.disk);
            self.settle()?;
            if self.state.is_dirty() {
                self.seal(expected)?;
            }
            self.state.flush_memtable();
            self.settle()?;
            self.release(expected);
        }
        Ok(())
    }

    /// Seals and commits what is staged.
    fn seal(&mut self, expected: &mut Expected) -> Result<(), StateError> {
        let mut entry = EntryWriter::default();
        self.state.seal(1000 + expected.next_lsn, &mut entry);
        let section = sections(&entry.body).next().expect("one section").expect("it is whole");
        self.state.commit(&section, Lsn(expected.next_lsn))?;
        expected.log.push_back((expected.next_lsn, entry.body.clone()));
        expected.next_lsn += 1;
        Ok(())
    }

    /// Lets go of the log what is not needed.
    fn release(&mut self, expected: &mut Expected) {
        let low = self.state.low_water(Lsn(expected.next_lsn));
        expected.log.retain(|(lsn, _)| *lsn >= low.0);
    }

    fn write(&mut self, chance: &mut SimEntropy, table: &mut Table) {
        let key = format!("key {:03}", chance.below(KEY_COUNT)).into_bytes();
        let value = vec![chance.below(256) as u8; chance.below(700) as usize];
        let delete = chance.percent(20);
        let Rig { state, cache, need, .. } = self;
        let mut view = OwnView { state, cache, need, objects: &OBJECTS };
        if delete {
            view.delete(ObjectId(0), &key).expect("staging needs no block");
            table.remove(&key);
        } else {
            view.put(ObjectId(0), &key, &value).expect("staging needs no block");
            table.insert(key, value);
        }
    }

    /// Reads everything and compares.
    pub(crate) fn check(&mut self, expected: &Expected) -> Result<(), StateError> {
        assert!(self.scan()? == expected.table, "the PState is another");
        for (depot, records) in expected.records.iter().enumerate() {
            let end = self.state.depots()[depot].committed_end().0;
            assert_eq!(end, records.len() as u64, "depot {depot} has another end");
            for (offset, record) in records.iter().enumerate() {
                assert!(self.record(depot, offset as u64)? == *record, "depot {depot}: record {offset} is another");
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), StateError> {
        let need = self.need.take().expect("the view notes what it needs");
        let waits = self.state.fetch(&need, &mut self.disk);
        self.deliver(waits)
    }

    fn scan(&mut self) -> Result<Table, StateError> {
        let mut all = Table::new();
        loop {
            let last: Option<Vec<u8>> = all.last_key_value().map(|(key, _)| key.clone());
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let Rig { state, cache, need, .. } = self;
            let view = OwnView { state, cache, need, objects: &OBJECTS };
            let result = { view }.scan(ObjectId(0), from, Bound::Unbounded, &mut |key, value| {
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

    fn record(&mut self, depot: usize, offset: u64) -> Result<Vec<u8>, StateError> {
        loop {
            match self.state.depots()[depot].lookup(Offset(offset)) {
                Lookup::Record(record) => return Ok(record.to_vec()),
                Lookup::NotYet | Lookup::Trimmed => panic!("depot {depot}: record {offset} is not there"),
                Lookup::OnDisk => {}
            }
            self.state.want(depot, Offset(offset), Offset(u64::MAX));
            while self.state.is_loading() {
                self.state.load_records(READ_AHEAD_SIZE_MAX, &mut self.cache, &mut self.disk)?;
                self.deliver(self.state.is_busy())?;
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
