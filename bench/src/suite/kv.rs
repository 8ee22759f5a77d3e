//! Keys and values on one thread: the storage of the engine beside embedded stores.

mod rocksdb;
mod store;

use crate::Common;
use crate::error::BenchError;
use crate::measure::{Latencies, Stretch};
use crate::report::{Figures, Report};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use store::Store;

const SUITE: &str = "kv";
/// Keys of a smoke run.
const SMOKE_KEYS: u64 = 20_000;

/// Keys of 16 bytes on one thread; the log is written for every put, and flushed in the background
#[derive(Debug, clap::Args)]
pub(crate) struct KvArgs {
    /// Keys to choose from, and puts of a fill: random with repetition, so that 63 % are there in the end
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Workloads, in order; reads find what the fill before them left
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "fillrandom,readrandom,multireadrandom-16,scan100,readrandom-cold"
    )]
    workload: Vec<String>,
    /// Who else runs: rocksdb
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Trees, as a core with so many tasks has; scans run in one of them
    #[arg(long, default_value_t = 1)]
    trees: u32,
    /// Bytes of the block cache of every engine; the cold workload takes 1/16 of the data
    #[arg(long, default_value_t = 2 << 30)]
    cache_size: usize,
    /// Seed of the keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The key of a number, as db_bench makes it: eight bytes that sort as it does, padded with zeros.
fn key_of(number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

impl KvArgs {
    fn keys(&self, common: &Common) -> u64 {
        if common.smoke { SMOKE_KEYS } else { self.keys }
    }

    /// A sixteenth of the data.
    fn cold_cache_size(&self, common: &Common) -> usize {
        self.keys(common) as usize * (16 + self.value) / 16
    }

    /// Operations of a workload that only reads.
    fn reads(&self, common: &Common, workload: &str) -> u64 {
        let keys = self.keys(common);
        match workload {
            "scan100" => keys / 20,
            "readrandom-cold" | "readrandom-cold-32" => (keys / 10).min(200_000),
            _ => keys,
        }
    }
}

pub(crate) fn run(args: &KvArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    let config = json!({
        "keys": args.keys(common), "key": 16, "value": args.value, "trees": args.trees, "cache_size": args.cache_size,
        "seed": args.seed, "threads": 1, "compression": "none",
        "wal": "written for every put, flushed in the background",
        "write_amplification": "every byte written: log, its prewriting, flushes, merging of everything",
        "multireadrandom-16": "16 single reads in flight",
    });
    let rocksdb_config = json!({ "keys": args.keys(common), "options": rocksdb::options() });
    let mut races_rocksdb = common.wants("rocksdb") && args.peers.iter().any(|peer| peer == "rocksdb");
    if races_rocksdb && !rocksdb::is_there() {
        report.skipped(SUITE, "rocksdb", rocksdb::INSTALL)?;
        races_rocksdb = false;
    }
    for _ in 0..common.run_count() {
        if common.wants("tantu") {
            let dir = common.fresh_dir()?;
            tantu(dir.path(), args, common, |workload, figures| {
                report.run(SUITE, workload, "tantu", &config, figures)
            })?;
        }
        if races_rocksdb {
            let dir = common.fresh_dir()?;
            for workload in &args.workload {
                // What only one of them has is not a race.
                if workload == "readrandom-cold-32" {
                    continue;
                }
                let figures = rocksdb::run(dir.path(), workload, args, common)?;
                report.run(SUITE, workload, "rocksdb", &rocksdb_config, figures)?;
                if workload == "fillrandom" {
                    rocksdb::run(dir.path(), "settle", args, common)?;
                }
            }
        }
    }
    for workload in &args.workload {
        report.ratio(workload, "ops_per_s", "tantu", "rocksdb");
    }
    Ok(())
}

fn tantu(
    dir: &Path,
    args: &KvArgs,
    common: &Common,
    mut report: impl FnMut(&str, Figures) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let mut store = Store::open(dir, args.trees, args.cache_size)?;
    for workload in &args.workload {
        let figures = match workload.as_str() {
            "fillrandom" => fill(&mut store, args, common)?,
            "readrandom" => {
                warm(&mut store, args, common)?;
                read(&mut store, args, common, workload, 1)?
            }
            "multireadrandom-16" => read_together(&mut store, args, common, workload, 16)?,
            "scan100" => scan(&mut store, args, common)?,
            "readrandom-cold" | "readrandom-cold-32" => {
                drop(store);
                store = Store::open(dir, args.trees, args.cold_cache_size(common))?;
                read(&mut store, args, common, workload, if workload.ends_with("32") { 32 } else { 1 })?
            }
            other => return Err(BenchError::Wrong(format!("there is no workload {other}"))),
        };
        report(workload, figures)?;
    }
    Ok(())
}

fn figures(ops: u64, stretch: &Stretch, latencies: &Latencies) -> Figures {
    let took = stretch.end();
    vec![
        ("ops_per_s", ops as f64 / took.wall_s),
        ("cpu_s", took.cpu_s),
        ("p50_us", latencies.us(0.5)),
        ("p99_us", latencies.us(0.99)),
        ("p999_us", latencies.us(0.999)),
    ]
}

/// Random puts; then everything is flushed and merged, which is timed apart.
fn fill(store: &mut Store, args: &KvArgs, common: &Common) -> Result<Figures, BenchError> {
    let keys = args.keys(common);
    let mut random = fastrand::Rng::with_seed(args.seed);
    let values: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(args.value + (1 << 16)).collect();
    let mut latencies = Latencies::new();
    let written = store.written_size();
    let stretch = Stretch::begin();
    let mut now = Instant::now();
    for n in 0..keys {
        let start = (n as usize * 97) % (1 << 16);
        store.put(random.u64(..keys), &values[start..start + args.value])?;
        let after = Instant::now();
        latencies.record(after - now);
        now = after;
    }
    let mut figures = figures(keys, &stretch, &latencies);
    let settling = Stretch::begin();
    store.settle()?;
    let settled = settling.end();
    figures.push(("settle_s", settled.wall_s));
    figures.push(("slice_max_us", store.slice_max.as_secs_f64() * 1e6));
    let user = keys as f64 * (16 + args.value) as f64;
    figures.push(("write_amplification", (store.written_size() - written) as f64 / user));
    Ok(figures)
}

/// Brings every block into the cache.
fn warm(store: &mut Store, args: &KvArgs, common: &Common) -> Result<(), BenchError> {
    let mut keys = 0..args.keys(common);
    store.get_in_flight(&mut keys, 64, &mut |_, _| ())
}

fn read(
    store: &mut Store,
    args: &KvArgs,
    common: &Common,
    workload: &str,
    depth: usize,
) -> Result<Figures, BenchError> {
    let (keys, reads) = (args.keys(common), args.reads(common, workload));
    let mut random = fastrand::Rng::with_seed(args.seed + 1);
    let mut latencies = Latencies::new();
    let mut found = 0u64;
    let stretch = Stretch::begin();
    if depth == 1 {
        let mut now = Instant::now();
        for _ in 0..reads {
            found += u64::from(store.get(random.u64(..keys))?);
            let after = Instant::now();
            latencies.record(after - now);
            now = after;
        }
    } else {
        let mut wanted = std::iter::repeat_with(|| random.u64(..keys)).take(reads as usize);
        store.get_in_flight(&mut wanted, depth, &mut |is_there, took| {
            found += u64::from(is_there);
            latencies.record(took);
        })?;
    }
    let mut figures = figures(reads, &stretch, &latencies);
    figures.push(("found", share_found(found, reads)?));
    Ok(figures)
}

/// Reads so many keys together at a time; the latencies are those of the groups.
fn read_together(
    store: &mut Store,
    args: &KvArgs,
    common: &Common,
    workload: &str,
    count: usize,
) -> Result<Figures, BenchError> {
    let (keys, groups) = (args.keys(common), args.reads(common, workload) / count as u64);
    let mut random = fastrand::Rng::with_seed(args.seed + 1);
    let mut latencies = Latencies::new();
    let (mut found, mut wanted) = (0, vec![0; count]);
    let stretch = Stretch::begin();
    let mut now = Instant::now();
    for _ in 0..groups {
        wanted.iter_mut().for_each(|key| *key = random.u64(..keys));
        found += store.multi_get(&wanted)?;
        let after = Instant::now();
        latencies.record(after - now);
        now = after;
    }
    let reads = groups * count as u64;
    let mut figures = figures(reads, &stretch, &latencies);
    figures.push(("found", share_found(found, reads)?));
    Ok(figures)
}

/// As many keys must be found as a fill of random keys left.
fn share_found(found: u64, reads: u64) -> Result<f64, BenchError> {
    let share = found as f64 / reads as f64;
    if (0.6..0.66).contains(&share) {
        return Ok(share);
    }
    Err(BenchError::Wrong(format!("{share} of the keys were found, and 0.63 are there")))
}

fn scan(store: &mut Store, args: &KvArgs, common: &Common) -> Result<Figures, BenchError> {
    let (keys, scans) = (args.keys(common), args.reads(common, "scan100"));
    let mut random = fastrand::Rng::with_seed(args.seed + 2);
    let mut latencies = Latencies::new();
    let mut pairs = 0;
    let stretch = Stretch::begin();
    let mut now = Instant::now();
    for _ in 0..scans {
        pairs += store.scan(random.u64(..keys), 100)?;
        let after = Instant::now();
        latencies.record(after - now);
        now = after;
    }
    let mut figures = figures(scans, &stretch, &latencies);
    figures.push(("pairs", pairs as f64 / scans as f64));
    Ok(figures)
}
