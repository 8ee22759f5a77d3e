//! Clocks, processor time, bytes written, latencies.

use crate::error::BenchError;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::{Duration, Instant};

/// Wall and processor time of a stretch of the process.
#[derive(Debug)]
pub(crate) struct Stretch {
    began: Instant,
    cpu: Duration,
}

/// What a stretch took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
}

impl Stretch {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), cpu: cpu_time() }
    }

    pub(crate) fn end(&self) -> Took {
        Took { wall_s: self.began.elapsed().as_secs_f64(), cpu_s: (cpu_time() - self.cpu).as_secs_f64() }
    }
}

/// Processor time of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A process as `/proc` names it: `self` or a number.
fn proc_file(process: &str, file: &str) -> Result<String, BenchError> {
    let path = format!("/proc/{process}/{file}");
    std::fs::read_to_string(&path).map_err(BenchError::io(format!("reading {path}")))
}

/// Bytes a process made the disks write: directly, or by dirtying pages. The same counter for every engine.
pub(crate) fn written_size(process: &str) -> Result<u64, BenchError> {
    let text = proc_file(process, "io")?;
    parse_written_size(&text).ok_or_else(|| BenchError::Wrong(format!("/proc/{process}/io has no write_bytes")))
}

fn parse_written_size(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Processor seconds of another process.
pub(crate) fn cpu_s_of(process: &str) -> Result<f64, BenchError> {
    let text = proc_file(process, "stat")?;
    parse_cpu_s(&text).ok_or_else(|| BenchError::Wrong(format!("/proc/{process}/stat is not understood")))
}

/// Fields 14 and 15 of proc(5), counted from 1; the second may hold spaces and ends with the last parenthesis. A tick
/// is 10 ms on every Linux of this century.
fn parse_cpu_s(text: &str) -> Option<f64> {
    let mut fields = text.rsplit(')').next()?.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

/// Bytes of disk space below a directory, as `du` counts them.
pub(crate) fn space_size(dir: &Path) -> Result<u64, BenchError> {
    let mut sum = 0;
    visit_files(dir, &mut |_, file| sum += std::os::unix::fs::MetadataExt::blocks(file) * 512)?;
    Ok(sum)
}

/// Shows every file below a directory. One that vanishes meanwhile is not shown.
pub(crate) fn visit_files(dir: &Path, visit: &mut dyn FnMut(&Path, &std::fs::Metadata)) -> Result<(), BenchError> {
    let reading = || format!("reading {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(BenchError::io(reading()))?,
    };
    for entry in entries {
        let path = entry.map_err(BenchError::io(reading()))?.path();
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => visit_files(&path, visit)?,
            Ok(found) => visit(&path, &found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(BenchError::io(reading())(error)),
        }
    }
    Ok(())
}

/// How long an interval of the latencies lasts.
const INTERVAL: Duration = Duration::from_secs(1);
/// Intervals at most; the last one takes what is left.
const INTERVAL_COUNT_MAX: usize = 600;
/// Latencies are counted up to here, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Latencies in nanoseconds, to three digits, up to a minute, in intervals of a second.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    began: Instant,
    /// The end of the interval that is being recorded.
    until: Instant,
    intervals: Vec<Histogram<u64>>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("invariant: the bounds are in order")
}

impl Latencies {
    /// Of operations that end from a moment on.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, until: began + INTERVAL, intervals: vec![histogram()] }
    }

    /// An operation that should have started then has ended now.
    pub(crate) fn record(&mut self, start: Instant, now: Instant) {
        self.record_n(start, now, 1);
    }

    /// An operation that took so long has ended now.
    pub(crate) fn record_took(&mut self, took: Duration) {
        let now = Instant::now();
        self.record(now.checked_sub(took).unwrap_or(now), now);
    }

    /// So many of them.
    pub(crate) fn record_n(&mut self, start: Instant, now: Instant, count: u64) {
        while now >= self.until && self.intervals.len() < INTERVAL_COUNT_MAX {
            self.until += INTERVAL;
            self.intervals.push(histogram());
        }
        let ns = now.saturating_duration_since(start).as_nanos().min(u128::from(LATENCY_NS_MAX)) as u64;
        self.add_ns(ns, count);
    }

    /// What another program counted, into the interval that is being recorded.
    pub(crate) fn add_ns(&mut self, ns: u64, count: u64) {
        let last = self.intervals.last_mut().expect("invariant: there is always an interval");
        last.saturating_record_n(ns, count);
    }

    /// Takes in those of another thread that began at the same moment.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.until = self.until.max(other.until);
        self.intervals.resize_with(self.intervals.len().max(other.intervals.len()), histogram);
        for (one, other) in self.intervals.iter_mut().zip(&other.intervals) {
            one.add(other).expect("invariant: the same bounds");
        }
    }

    /// When each interval began, counted from the first, and what ended in it.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = (Duration, &Histogram<u64>)> {
        self.intervals.iter().enumerate().map(|(n, interval)| (INTERVAL * n as u32, interval))
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// All intervals in one.
    pub(crate) fn all(&self) -> Histogram<u64> {
        let mut all = histogram();
        self.intervals.iter().for_each(|interval| all.add(interval).expect("invariant: the same bounds"));
        all
    }
}

/// The figures of latencies, in microseconds.
pub(crate) fn quantiles(all: &Histogram<u64>) -> [(&'static str, f64); 3] {
    let us = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    [("p50_us", us(0.5)), ("p99_us", us(0.99)), ("p999_us", us(0.999))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_tells_of_a_process_is_understood() {
        assert_eq!(parse_written_size("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n"), Some(4096));
        assert_eq!(parse_written_size("rchar: 1\n"), None);
        let stat = "42 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 150 50 17 18 20 0";
        assert_eq!(parse_cpu_s(stat), Some(2.0));
        assert_eq!(parse_cpu_s("42 (short) S 1"), None);
    }

    #[test]
    fn the_space_of_a_directory_counts_the_files_below_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("below")).expect("it is made");
        for name in ["one", "below/two"] {
            std::fs::write(dir.path().join(name), vec![7; 100_000]).expect("it is written");
        }
        let space = space_size(dir.path()).expect("it is read");
        assert!((200_000..400_000).contains(&space), "{space}");
        assert_eq!(space_size(&dir.path().join("nowhere")).expect("that is no failure"), 0);
    }

    #[test]
    fn latencies_fall_into_the_interval_their_operation_ended_in_and_merge_by_it() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let (mut one, mut other) = (Latencies::new(began), Latencies::new(began));
        one.record(at(0), at(10));
        one.record_n(at(2000), at(2500), 3);
        other.record(at(500), at(1500));
        one.add(&other);
        let counts: Vec<(u64, u64)> = one.intervals().map(|(at, found)| (at.as_secs(), found.len())).collect();
        assert_eq!(counts, [(0, 1), (1, 1), (2, 3)]);
        let [(_, p50), (_, p99), _] = quantiles(&one.all());
        assert!((p50 / 500_000.0 - 1.0).abs() < 2e-3 && (p99 / 1_000_000.0 - 1.0).abs() < 2e-3, "{p50} {p99}");
    }
}
