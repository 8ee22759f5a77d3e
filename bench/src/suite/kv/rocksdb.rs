//! RocksDB, through its own `db_bench` (Debian package `rocksdb-tools`): one process per workload, on the same files.

use super::workload::{FOUND_SHARE_MAX, found_share};
use super::{KvArgs, SUITE, Workload};
use crate::Common;
use crate::child::{self, Ended, Program};
use crate::error::BenchError;
use crate::fields::Fields;
use crate::measure::{self, Latencies};
use crate::report::{Figures, Measured, Report};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const DB_BENCH: Program = Program { name: "db_bench", package: "rocksdb-tools" };

/// As its tuning guide advises for this load: large enough memtables, no compression, ten bits of bloom filter.
const OPTIONS: &[&str] = &[
    "--threads=1",
    "--key_size=16",
    "--compression_type=none",
    "--sync=0",
    "--bloom_bits=10",
    "--cache_index_and_filter_blocks=0",
    "--write_buffer_size=67108864",
    "--max_write_buffer_number=4",
    "--max_background_jobs=2",
    "--histogram=1",
    "--statistics=1",
    "--stats_interval_seconds=0",
    "--open_files=-1",
];

/// What follows the seed of the fill: db_bench counts it up itself from one benchmark to the next.
const READ_SEED: u64 = 1000;

/// What db_bench itself says against its figures. An error that names the package if it is not there.
pub(super) fn warnings(common: &Common) -> Result<String, BenchError> {
    DB_BENCH.require()?;
    let dir = common.fresh_dir()?;
    let ended = db_bench(dir.path(), &["--benchmarks=fillseq".into(), "--num=1".into()])?;
    Ok(parse_warnings(&ended.text))
}

fn parse_warnings(text: &str) -> String {
    let warnings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("WARNING: ")).collect();
    warnings.join("; ")
}

/// Every option, for the report.
fn config(args: &KvArgs, common: &Common, workload: Workload, warnings: &str) -> Fields {
    Fields::new()
        .with("db_bench_warns", warnings)
        .with("options", OPTIONS.join(" "))
        .with("workload_options", options_of(args, common, workload).join(" "))
        .with("wal", "written for every put, not flushed")
        .with("settled", "compact")
        .with("cpu_s", "the whole process, its opening and warm-up included")
        .with("write_amplification", "every byte written by the processes that filled and settled")
        .with("latency_of_batches", "multireadrandom: one batch")
        .with("readwhilewriting", "a thread writes, a thread reads")
}

/// The benchmark that is measured.
fn benchmark(workload: Workload) -> &'static str {
    match workload {
        Workload::Fill | Workload::Open | Workload::Recovery | Workload::OpenIngested => "fillrandom",
        Workload::Read | Workload::Cold => "readrandom",
        Workload::MultiRead16 | Workload::Cold32 => "multireadrandom",
        Workload::Scan100 | Workload::Scan100Unsettled => "seekrandom",
        Workload::ReadWhileWriting => "readwhilewriting",
    }
}

fn options_of(args: &KvArgs, common: &Common, workload: Workload) -> Vec<String> {
    let name = benchmark(workload);
    // Reads with the seed of the fill would ask for the keys that were put, one after the other.
    let seed = if workload == Workload::Fill { args.seed } else { args.seed + READ_SEED };
    let mut options = vec![
        format!("--seed={seed}"),
        format!("--num={}", args.keys(common)),
        format!("--value_size={}", args.value),
        format!("--cache_size={}", args.cache_size(common, workload)),
    ];
    match workload {
        Workload::Fill => {
            options.push(format!("--benchmarks={name}"));
            return options;
        }
        Workload::Cold | Workload::Cold32 => {
            options.extend([format!("--benchmarks={name}"), "--use_direct_reads=1".into()]);
        }
        _ => options.push(format!("--benchmarks=readseq,{name}")),
    }
    options.extend(["--use_existing_db=1".into(), format!("--reads={}", args.operations(common, workload))]);
    if workload.depth() > 1 {
        options.extend([format!("--batch_size={}", workload.depth()), "--multiread_batched=1".into()]);
    }
    match workload {
        Workload::Scan100 | Workload::Scan100Unsettled => options.push("--seek_nexts=100".into()),
        Workload::ReadWhileWriting => {
            let rate = args.size_of(args.write_rate as f64);
            options.push(format!("--benchmark_write_rate_limit={rate}"));
        }
        _ => {}
    }
    options
}

fn db_bench(dir: &Path, options: &[String]) -> Result<Ended, BenchError> {
    let mut command = Command::new(DB_BENCH.name);
    command.args(OPTIONS).arg(format!("--db={}", dir.join("rocksdb").display())).args(options);
    child::run(&mut command)
}

/// Runs the workloads in a directory of their own.
pub(super) fn race(args: &KvArgs, common: &Common, report: &mut Report, warnings: &str) -> Result<(), BenchError> {
    let dir = common.fresh_dir()?;
    let measure_one = |workload| measure_workload(dir.path(), args, common, workload);
    let mut unsettled = None;
    for &workload in &args.workload {
        let mut measured = match workload {
            // db_bench does not tell how long it took to open.
            Workload::Open | Workload::Recovery | Workload::OpenIngested => continue,
            Workload::Fill => {
                let (mut filled, ended) = measure_one(workload)?;
                let mut written_size = ended.written_size;
                if args.workload.contains(&Workload::Scan100Unsettled) {
                    let (scanned, ended) = measure_one(Workload::Scan100Unsettled)?;
                    // What it merged meanwhile need not be merged when it settles.
                    written_size += ended.written_size;
                    unsettled = Some(scanned);
                }
                settle(dir.path(), args, common, &mut filled, written_size)?;
                filled
            }
            Workload::Scan100Unsettled => match unsettled.take() {
                Some(measured) => measured,
                None => continue,
            },
            _ => measure_one(workload)?.0,
        };
        measured.push("space_bytes", measure::space_size(dir.path())? as f64);
        let config = args.config(common, workload, config(args, common, workload, warnings));
        report.run(SUITE, workload.name(), "rocksdb", &config, measured)?;
    }
    Ok(())
}

fn measure_workload(
    dir: &Path,
    args: &KvArgs,
    common: &Common,
    workload: Workload,
) -> Result<(Measured, Ended), BenchError> {
    let began = Instant::now();
    let ended = db_bench(dir, &options_of(args, common, workload))?;
    let (mut figures, latencies) = parse(&ended.text, benchmark(workload), began)?;
    figures.insert(1, ("cpu_s", ended.cpu_s));
    if workload == Workload::ReadWhileWriting {
        let ops_per_s = figures[0].1;
        let seconds = args.operations(common, workload) as f64 / ops_per_s;
        let written = counter(&ended.text, "rocksdb.number.keys.written").unwrap_or(0.0);
        figures.push(("writes_per_s", written / seconds));
    }
    // A seek always finds something.
    if benchmark(workload) != "seekrandom"
        && let Some((found, of)) = found(&ended.text)
    {
        let at_most = if workload == Workload::ReadWhileWriting { 1.0 } else { FOUND_SHARE_MAX };
        figures.push(("found", found_share(found, of, at_most)?));
    }
    Ok((Measured { figures, latencies: Some(latencies) }, ended))
}

fn settle(
    dir: &Path,
    args: &KvArgs,
    common: &Common,
    filled: &mut Measured,
    written_size: u64,
) -> Result<(), BenchError> {
    let began = Instant::now();
    let keys = args.keys(common);
    let options = ["--benchmarks=compact".into(), "--use_existing_db=1".into(), format!("--num={keys}")];
    let settled = db_bench(dir, &options)?;
    let written = (written_size + settled.written_size) as f64;
    filled.push("write_amplification", written / args.size_of(keys as f64));
    filled.push("settle_s", began.elapsed().as_secs_f64());
    filled.push("settle_cpu_s", settled.cpu_s);
    Ok(())
}

/// Reads `name : 4.5 micros/op 219000 ops/sec 45.6 seconds …`, and the percentiles and buckets that follow it.
fn parse(text: &str, name: &str, began: Instant) -> Result<(Figures, Latencies), BenchError> {
    let missing = || BenchError::Wrong(format!("db_bench did not report {name}:\n{text}"));
    let at = text.find(&format!("\n{name} ")).ok_or_else(missing)?;
    let rest = &text[at + 1..];
    let number_before = |unit: &str| -> Option<f64> {
        let line = rest.lines().next()?;
        let before = &line[..line.find(unit)?];
        before.split_whitespace().last()?.parse().ok()
    };
    let mut figures = vec![("ops_per_s", number_before("ops/sec").ok_or_else(missing)?)];
    if let Some(line) = rest.lines().find(|line| line.starts_with("Percentiles:")) {
        let percentile = |name: &str| -> Option<f64> {
            let after = &line[line.find(name)? + name.len()..];
            after.split_whitespace().next()?.parse().ok()
        };
        for (figure, name) in [("p50_us", "P50: "), ("p99_us", "P99: "), ("p999_us", "P99.9: ")] {
            figures.extend(percentile(name).map(|value| (figure, value)));
        }
    }
    let mut latencies = Latencies::new(began);
    let buckets = rest.lines().skip_while(|line| !line.starts_with("Percentiles:")).skip(1);
    // A line of dashes, then the buckets, then something else.
    for (us, count) in buckets.skip_while(|line| line.starts_with('-')).map_while(bucket) {
        latencies.add_ns(us * 1000, count);
    }
    Ok((figures, latencies))
}

/// Reads `(       3,       4 ]  1234  12.3%  45.6% ##`: the upper bound, for latencies are not to look better than they
/// were, and the count.
fn bucket(line: &str) -> Option<(u64, u64)> {
    let (bounds, counts) = line.trim_start().strip_prefix(['(', '['])?.split_once(']')?;
    let us = bounds.split_once(',')?.1.trim().parse().ok()?;
    Some((us, counts.split_whitespace().next()?.parse().ok()?))
}

/// Reads `(12650 of 20000 found)`.
fn found(text: &str) -> Option<(u64, u64)> {
    let before = &text[..text.find(" found)")?];
    let (found, of) = before[before.rfind('(')? + 1..].split_once(" of ")?;
    Some((found.trim().parse().ok()?, of.trim().parse().ok()?))
}

fn counter(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{name} COUNT")))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_db_bench_prints_is_understood() {
        let text = "\nfillrandom   :       4.512 micros/op 221612 ops/sec 9.025 seconds 2000000 operations;   24.5 MB/s\n\
            Microseconds per write:\nCount: 2000000 Average: 4.5116\n\
            Percentiles: P50: 3.71 P75: 4.80 P99: 9.61 P99.9: 51.20 P99.99: 170.00\n\
            ------------------------------------------------------\n\
            [       0,       1 ]       10   1.000%   1.000% \n\
            (       3,       4 ]      990  99.000% 100.000% ####################\n\
            \n\
            rocksdb.number.keys.written COUNT : 290000000\n";
        let (figures, latencies) = parse(text, "fillrandom", Instant::now()).expect("it is there");
        assert_eq!(figures, [("ops_per_s", 221612.0), ("p50_us", 3.71), ("p99_us", 9.61), ("p999_us", 51.2)]);
        let all = latencies.all();
        assert!(all.len() == 1000 && (4000..4010).contains(&all.value_at_quantile(0.5)));
        assert_eq!(counter(text, "rocksdb.number.keys.written"), Some(290_000_000.0));
        assert!(parse(text, "readrandom", Instant::now()).is_err());
        assert_eq!(found("readrandom : 3.9 ops/sec; 18.0 MB/s (12650 of 20000 found)\n"), Some((12650, 20000)));
        let warned = "x\nWARNING: Assertions are enabled\nWARNING: slow\n";
        assert_eq!(
            (parse_warnings(warned), parse_warnings(text)),
            ("Assertions are enabled; slow".into(), String::new())
        );
        assert_eq!(found("nothing found)"), None);
        assert_eq!([bucket("rocksdb.x COUNT : 1"), bucket("( 1, x ] 2")], [None, None]);
    }
}
