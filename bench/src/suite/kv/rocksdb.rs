//! RocksDB, through its own `db_bench` (Debian package `rocksdb-tools`).

use super::KvArgs;
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use std::path::Path;
use std::process::{Command, Stdio};

/// How to get it.
pub(super) const INSTALL: &str = "sudo apt-get install rocksdb-tools";

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
    "--seed=1",
];

pub(super) fn is_there() -> bool {
    Command::new("db_bench").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Every option, for the report.
pub(super) fn options() -> String {
    OPTIONS.join(" ")
}

/// The figures of a workload; what a fill leaves in the directory the reads use.
pub(super) fn run(dir: &Path, workload: &str, args: &KvArgs, common: &Common) -> Result<Figures, BenchError> {
    let keys = args.keys(common);
    let mut command = Command::new("db_bench");
    command.args(OPTIONS).arg(format!("--db={}", dir.join("rocksdb").display())).arg(format!("--num={keys}"));
    command.arg(format!("--value_size={}", args.value));
    let cold = workload == "readrandom-cold";
    let cache = if cold { args.cold_cache_size(common) } else { args.cache_size };
    command.arg(format!("--cache_size={cache}"));
    let reads = args.reads(common, workload);
    let name = match workload {
        "fillrandom" => {
            command.arg("--benchmarks=fillrandom,stats");
            "fillrandom"
        }
        "settle" => {
            command.args(["--benchmarks=compact", "--use_existing_db=1"]);
            "compact"
        }
        "readrandom" | "readrandom-cold" => {
            let first = if cold { "" } else { "readseq," };
            command.arg(format!("--benchmarks={first}readrandom")).arg("--use_existing_db=1");
            command.arg(format!("--reads={reads}"));
            if cold {
                command.arg("--use_direct_reads=1");
            }
            "readrandom"
        }
        "multireadrandom-16" => {
            command.args(["--benchmarks=readseq,multireadrandom", "--use_existing_db=1", "--batch_size=16"]);
            command.args(["--multiread_batched=1"]).arg(format!("--reads={reads}"));
            "multireadrandom"
        }
        "scan100" => {
            command.args(["--benchmarks=readseq,seekrandom", "--use_existing_db=1", "--seek_nexts=100"]);
            command.arg(format!("--reads={reads}"));
            "seekrandom"
        }
        other => return Err(BenchError::Wrong(format!("db_bench is not asked for {other}"))),
    };
    let cpu_before = children_cpu_s()?;
    let output = command.output().map_err(BenchError::io("running db_bench"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::Wrong(format!("db_bench failed: {error}{text}")));
    }
    let mut figures = parse(&text, name)?;
    figures.push(("process_cpu_s", children_cpu_s()? - cpu_before));
    if workload == "fillrandom" {
        let counter = |name: &str| counter(&text, name).unwrap_or(0.0);
        let written = counter("rocksdb.wal.bytes")
            + counter("rocksdb.flush.write.bytes")
            + counter("rocksdb.compact.write.bytes");
        figures.push(("write_amplification", written / (keys as f64 * (16 + args.value) as f64)));
    }
    Ok(figures)
}

/// Processor seconds of children that have ended.
fn children_cpu_s() -> Result<f64, BenchError> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(BenchError::io("reading /proc/self/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 16 and 17 of proc(5), counted from 1; two are cut off. A tick is 10 ms on every Linux of this century.
    Ok((ticks(13) + ticks(14)) / 100.0)
}

/// Reads `name : 4.5 micros/op 219000 ops/sec 45.6 seconds …` and the percentiles that follow it.
fn parse(text: &str, name: &str) -> Result<Figures, BenchError> {
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
    Ok(figures)
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
            rocksdb.wal.bytes COUNT : 290000000\n";
        let figures = parse(text, "fillrandom").expect("it is there");
        assert_eq!(figures, [("ops_per_s", 221612.0), ("p50_us", 3.71), ("p99_us", 9.61), ("p999_us", 51.2)]);
        assert_eq!(counter(text, "rocksdb.wal.bytes"), Some(290_000_000.0));
        assert!(parse(text, "readrandom").is_err());
    }
}
