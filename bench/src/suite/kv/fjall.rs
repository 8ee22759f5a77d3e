//! fjall, in this process: an LSM with a journal and threads of its own for flushes and merging.

use super::engine::{Engine, Taken, Writer, failed};
use super::{KvArgs, key_of};
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::Figures;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// See the module.
pub(super) struct Fjall {
    /// Kept open for the keyspace.
    _database: Database,
    keyspace: Keyspace,
}

/// Flushes and merges; it runs beside the client, as RocksDB's background jobs do.
const WORKER_COUNT: usize = 2;
/// Bytes of its memtable: the default, and the upper end of what its documentation recommends.
const MEMTABLE_SIZE: u64 = 64 << 20;

impl Engine for Fjall {
    const NAME: &'static str = "fjall";

    fn config(_: &KvArgs) -> Fields {
        Fields::new()
            .with("version", "3.1")
            .with("worker_threads", WORKER_COUNT)
            .with("max_memtable_size", MEMTABLE_SIZE)
            .with("compression", "none (built without lz4)")
            .with("filter", "the default: false positives 0.0001 in level 0, then 10 bits a key")
            .with("compaction", "the default: leveled")
            .with("manual_journal_persist", false)
            .with("wal", "journal, given to the kernel for every put, not flushed")
            .with("reads", "through the page cache, emptied before readrandom-cold")
            .with("reads_in_flight", "one at a time: it has no batched read")
            .with("settled", "memtable flushed, major_compact()")
            .with("write_amplification", "every byte written: journal, flushes, merging of everything")
            .with("readwhilewriting", "a thread writes, a thread reads")
    }

    fn open(dir: &Path, _: &KvArgs, cache_size: usize) -> Result<Self, BenchError> {
        let builder = Database::builder(dir.join("fjall"));
        let opened = builder.cache_size(cache_size as u64).worker_threads(WORKER_COUNT).open();
        let database = opened.map_err(|error| failed("opening fjall", error))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_SIZE);
        let keyspace = database.keyspace("kv", options).map_err(|error| failed("opening fjall's keyspace", error))?;
        Ok(Self { _database: database, keyspace })
    }

    fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError> {
        put(&self.keyspace, key, value)
    }

    fn get(&mut self, key: u64) -> Result<bool, BenchError> {
        let found = self.keyspace.get(key_of(key)).map_err(|error| failed("fjall: a get", error))?;
        Ok(std::hint::black_box(found).is_some())
    }

    fn scan(&mut self, from: u64, count: usize) -> Result<usize, BenchError> {
        let mut taken = Taken::new();
        for pair in self.keyspace.range(key_of(from)..).take(count) {
            let (key, value) = pair.into_inner().map_err(|error| failed("fjall: a scan", error))?;
            taken.take(&key, &value);
        }
        Ok(taken.count)
    }

    fn warm(&mut self, _: u64) -> Result<(), BenchError> {
        for pair in self.keyspace.iter() {
            std::hint::black_box(pair.into_inner().map_err(|error| failed("fjall: reading everything", error))?);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        let flushed = self.keyspace.rotate_memtable_and_wait();
        flushed.and_then(|()| self.keyspace.major_compact()).map_err(|error| failed("fjall: settling", error))
    }

    fn idle(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn writer(&mut self) -> Option<Writer> {
        let keyspace = self.keyspace.clone();
        Some(Box::new(move |key, value| put(&keyspace, key, value)))
    }

    fn prewritten_size(&self) -> u64 {
        0
    }

    fn fill_figures(&self) -> Figures {
        Figures::new()
    }

    fn open_figures(&self) -> Figures {
        Vec::new()
    }

    fn recover(_: &Path, _: &KvArgs, _: u64) -> Result<Option<Figures>, BenchError> {
        Ok(None)
    }
}

fn put(keyspace: &Keyspace, key: u64, value: &[u8]) -> Result<(), BenchError> {
    keyspace.insert(key_of(key), value).map_err(|error| failed("fjall: a put", error))
}
