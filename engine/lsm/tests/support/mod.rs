//! A tree on a simulated disk, and the map it must agree with.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::result_large_err, reason = "an error gives the disk back")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use tantu_base::door::{Disk, DiskDone, Entropy};
use tantu_base::id::Version;
use tantu_lsm::{
    BlockCache, Budget, Compression, Fault, Need, OpenError, PointRead, PrefixRule, Stop, Tree, TreeOptions, Write,
};
use tantu_weather::{SimDisk, SimEntropy};

pub(crate) const OWNER: u32 = 7;
pub(crate) const DIR: &str = "task/tree";

/// Keys and their values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// One change, owned.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Every version of every key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) keys: BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>>,
    pub(crate) applied: u64,
}

impl Model {
    pub(crate) fn apply(&mut self, version: u64, changes: &[Change]) {
        self.applied = version;
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    self.keys.entry(key.clone()).or_default().insert(version, Some(value.clone()));
                }
                Change::Delete(key) => {
                    self.keys.entry(key.clone()).or_default().insert(version, None);
                }
                Change::DeleteRange(from, to) => {
                    if from < to {
                        for (_, chain) in self.keys.range_mut(from.clone()..to.clone()) {
                            chain.insert(version, None);
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn get(&self, key: &[u8], at: u64) -> Option<&Vec<u8>> {
        self.keys.get(key)?.range(..=at).next_back()?.1.as_ref()
    }

    pub(crate) fn scan(&self, from: &[u8], to: &[u8], at: u64) -> Pairs {
        let keys = self.keys.keys().filter(|key| &key[..] >= from && &key[..] < to);
        keys.filter_map(|key| Some((key.clone(), self.get(key, at)?.clone()))).collect()
    }

    /// Forgets what is newer than `at`: the log would give it back.
    pub(crate) fn cut(&mut self, at: u64) {
        self.applied = at;
        self.keys.values_mut().for_each(|chain| {
            chain.split_off(&(at + 1));
        });
    }
}

pub(crate) fn options(open_verify_size_max: u64) -> TreeOptions {
    TreeOptions {
        memtable_size_max: 1 << 20,
        block_size: 4 << 10,
        table_size_max: 64 << 10,
        run_count_max: 2,
        write_size: 8 << 10,
        writes_in_flight_max: 2,
        read_ahead_size: 8 << 10,
        open_verify_size_max,
        prefix: Some(PrefixRule { byte_count: 7, value_count: 0 }),
        compression: Compression::None,
    }
}

/// A tree with its disk and its cache.
pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) tree: Tree,
    pub(crate) cache: BlockCache,
    done: Vec<DiskDone>,
}

impl Rig {
    pub(crate) fn open(
        mut disk: SimDisk,
        chance: &mut SimEntropy,
        options: TreeOptions,
    ) -> Result<Rig, (OpenError, SimDisk)> {
        match Tree::open(&mut disk, Path::new(DIR), OWNER, chance, options) {
            Ok(tree) => Ok(Rig { disk, tree, cache: BlockCache::new(3 * 4096), done: Vec::new() }),
            Err(error) => Err((error, disk)),
        }
    }

    pub(crate) fn apply(&mut self, version: u64, changes: &[Change]) {
        let writes = changes.iter().map(|change| match change {
            Change::Put(key, value) => Write::Put { key, value },
            Change::Delete(key) => Write::Delete { key },
            Change::DeleteRange(from, to) => Write::DeleteRange { from, to },
        });
        self.tree.apply(Version(version), writes);
    }

    /// Hands over what finished; waits for something if asked to.
    pub(crate) fn deliver(&mut self, wait: bool) -> Result<(), Fault> {
        if wait {
            self.disk.wait();
        }
        let mut done = std::mem::take(&mut self.done);
        self.disk.reap(&mut done);
        for done in done.drain(..) {
            self.tree.complete(done, &mut self.cache, &mut self.disk)?;
        }
        self.done = done;
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Result<bool, Fault> {
        self.tree.step(&mut self.disk, Budget { entry_count: 60, size: 16 << 10 })
    }

    /// Flushes and merges until nothing is left to do.
    pub(crate) fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let more = self.step()?;
            if !more && !self.tree.is_busy() {
                return Ok(());
            }
            if !more {
                self.deliver(true)?;
            }
        }
    }

    pub(crate) fn fetch(&mut self, need: &Need) -> Result<(), Fault> {
        assert!(!need.blocks().is_empty(), "a need without blocks");
        if self.tree.fetch(need, &mut self.disk) { self.deliver(true) } else { Ok(()) }
    }

    pub(crate) fn get(&mut self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, Fault> {
        let mut out = vec![9; 3];
        loop {
            match self.tree.get(&self.cache, key, Version(at), &mut out) {
                Ok(true) => return Ok(Some(out)),
                Ok(false) => return Ok(None),
                Err(Stop::Need(need)) => self.fetch(&need)?,
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            }
        }
    }

    pub(crate) fn multi_get(&mut self, keys: &[Vec<u8>], at: u64) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let mut reads: Vec<PointRead<'_>> = keys.iter().map(|key| PointRead::new(key)).collect();
        let mut answers: Vec<Option<Option<Vec<u8>>>> = vec![None; keys.len()];
        let mut visit = |index: usize, value: Option<&[u8]>| {
            let twice = answers[index].replace(value.map(<[u8]>::to_vec)).is_some();
            assert!(!twice, "read {index} was answered twice");
        };
        loop {
            match self.tree.multi_get(&self.cache, &mut reads, Version(at), &mut visit) {
                Ok(()) => break,
                Err(Stop::Need(need)) => self.fetch(&need)?,
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            }
        }
        Ok(answers.into_iter().map(|answer| answer.expect("every read is answered")).collect())
    }

    /// Asks for a block a read needs and does not wait for it: merges go on meanwhile.
    pub(crate) fn prefetch(&mut self, key: &[u8], at: u64) {
        if let Err(Stop::Need(need)) = self.tree.get(&self.cache, key, Version(at), &mut Vec::new()) {
            assert!(self.tree.fetch(&need, &mut self.disk), "nothing has happened since the read");
        }
    }

    pub(crate) fn scan(&mut self, from: &[u8], to: &[u8], at: u64) -> Result<Pairs, Fault> {
        let (mut from, mut found) = (from.to_vec(), Vec::new());
        loop {
            let result = self.tree.scan(&self.cache, &from, to, Version(at), &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            });
            match result {
                Ok(()) => return Ok(found),
                Err(Stop::Need(need)) => self.fetch(&need)?,
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            }
            if let Some((last, _)) = found.last() {
                from.clone_from(last);
                from.push(0);
            }
        }
    }

    /// In pages of at most so many pairs; from the last to the first.
    pub(crate) fn scan_back(&mut self, from: &[u8], to: &[u8], at: u64, page: usize) -> Result<Pairs, Fault> {
        let (mut to, mut found) = (to.to_vec(), Vec::new());
        loop {
            let had = found.len();
            let result = self.tree.scan_back(&self.cache, from, &to, Version(at), &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                if found.len() == had + page { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match result {
                Ok(()) if found.len() < had + page => return Ok(found),
                Ok(()) => {}
                Err(Stop::Need(need)) => self.fetch(&need)?,
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            }
            if let Some((last, _)) = found.last() {
                to.clone_from(last);
            }
        }
    }
}

pub(crate) fn key(index: u64) -> Vec<u8> {
    let mut key = format!("key {index:04}").into_bytes();
    if index.is_multiple_of(37) {
        key.resize(600, b'.');
    }
    key
}

pub(crate) fn value(chance: &mut SimEntropy) -> Vec<u8> {
    let size = match chance.below(40) {
        0 => 0,
        1 => 9_000,
        2..10 => chance.below(60),
        _ => chance.below(1200),
    };
    let seed = chance.next_u64();
    (0..size).map(|at| (seed >> (at % 8 * 8)) as u8 ^ at as u8).collect()
}

/// The changes of one version.
pub(crate) fn changes(chance: &mut SimEntropy, key_count: u64) -> Vec<Change> {
    if chance.percent(6) {
        let from = chance.below(key_count);
        return vec![Change::DeleteRange(key(from), key(from + chance.below(key_count / 3)))];
    }
    let count = 1 + chance.below(6);
    (0..count)
        .map(|_| {
            let key = key(chance.below(key_count));
            if chance.percent(15) { Change::Delete(key) } else { Change::Put(key, value(chance)) }
        })
        .collect()
}
