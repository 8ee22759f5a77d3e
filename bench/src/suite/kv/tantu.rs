//! Our own storage as one of the engines.

use super::KvArgs;
use super::engine::{Engine, Puts, Writer};
use super::store::{MEMORY_SIZE_MAX, MEMTABLES_SIZE_MAX, Store, log_options};
use super::workload::drop_page_cache;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::measure::Stretch;
use crate::report::Figures;
use std::path::Path;
use std::time::Duration;
use tantu_lsm::TreeOptions;

impl Engine for Store {
    const NAME: &'static str = "tantu";

    fn config(args: &KvArgs) -> Fields {
        Fields::new()
            .with("trees", args.trees)
            .with("memtables_size", MEMTABLES_SIZE_MAX)
            .with("memory_size_max", MEMORY_SIZE_MAX)
            .with("tree", format!("{:?}", TreeOptions::default()))
            .with("log", format!("{:?}", log_options()))
            .with("wal", "replog, written for every put, flushed in the background")
            .with("reads", "direct")
            .with("settled", "flushed and merged into one run")
            .with(
                "write_amplification",
                "every byte written: log, flushes, merging of everything; zeros before the log are `prewritten`",
            )
            .with("readwhilewriting", "one thread alternates")
            .with("latency_of_batches", "multireadrandom: one batch")
    }

    fn open(dir: &Path, args: &KvArgs, cache_size: usize) -> Result<Self, BenchError> {
        Store::open(dir, args.trees, cache_size)
    }

    fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError> {
        Store::put(self, key, value)
    }

    fn get(&mut self, key: u64) -> Result<bool, BenchError> {
        Store::get(self, key)
    }

    fn get_in_flight(
        &mut self,
        keys: &mut dyn Iterator<Item = u64>,
        depth: usize,
        answered: &mut dyn FnMut(bool, Duration),
    ) -> Result<(), BenchError> {
        Store::get_in_flight(self, keys, depth, answered)
    }

    fn get_together(&mut self, keys: &[u64]) -> Result<u64, BenchError> {
        self.multi_get(keys)
    }

    fn scan(&mut self, from: u64, count: usize) -> Result<usize, BenchError> {
        Store::scan(self, from, count)
    }

    fn warm(&mut self, keys: u64) -> Result<(), BenchError> {
        Store::get_in_flight(self, &mut (0..keys), 64, &mut |_, _| ())
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        Store::settle(self)
    }

    fn idle(&mut self) -> Result<(), BenchError> {
        self.slice().map(drop)
    }

    fn writer(&mut self) -> Option<Writer> {
        None
    }

    fn prewritten_size(&self) -> u64 {
        Store::prewritten_size(self)
    }

    fn fill_figures(&self) -> Figures {
        let us = |took: Duration| took.as_secs_f64() * 1e6;
        vec![
            ("slice_max_us", us(self.slices.longest)),
            ("slice_cpu_max_us", us(self.slices.longest_cpu)),
            ("slices_over_1ms", self.slices.long_count as f64),
        ]
    }

    fn open_figures(&self) -> Figures {
        vec![("trees_s", self.opened.trees.as_secs_f64()), ("log_s", self.opened.log.as_secs_f64())]
    }

    fn recover(dir: &Path, args: &KvArgs, puts: u64) -> Result<Option<Figures>, BenchError> {
        let mut store = Store::open(dir, args.trees, args.cache_size)?;
        store.put_unflushed(&mut Puts::new(args.seed, puts, args.value), puts)?;
        // Nothing of it is closed in order: it was killed.
        drop(store);
        let stretch = Stretch::begin();
        let store = Store::open(dir, args.trees, args.cache_size)?;
        let took = stretch.end();
        let log_s = store.opened.log.as_secs_f64();
        Ok(Some(vec![
            ("mb_per_s", store.opened.log_size as f64 / 1e6 / log_s),
            ("entries", store.opened.entries as f64),
            ("log_bytes", store.opened.log_size as f64),
            ("open_s", took.wall_s),
            ("cpu_s", took.cpu_s),
        ]))
    }

    fn open_ingested(dir: &Path, args: &KvArgs, keys: u64) -> Result<Option<Figures>, BenchError> {
        let ingesting = Stretch::begin();
        let mut store = Store::open(dir, args.trees, args.cache_size)?;
        store.ingest(keys, &vec![b'v'; args.value])?;
        drop(store);
        let ingested = ingesting.end();
        drop_page_cache(dir)?;
        let stretch = Stretch::begin();
        let mut store = Store::open(dir, args.trees, args.cache_size)?;
        let took = stretch.end();
        let first = Stretch::begin();
        if !store.get(0)? {
            return Err(BenchError::Wrong("what was ingested is not there".into()));
        }
        Ok(Some(vec![
            ("open_s", took.wall_s),
            ("cpu_s", took.cpu_s),
            ("first_get_s", first.end().wall_s),
            ("ingest_s", ingested.wall_s),
            ("ingested_bytes", args.size_of(keys as f64)),
        ]))
    }
}
