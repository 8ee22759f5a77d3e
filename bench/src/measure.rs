//! Clocks, processor time, latencies.

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
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

/// Latencies in nanoseconds, to three digits, up to a minute.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("invariant: the bounds are in order"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(took.as_nanos() as u64);
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("invariant: the same bounds");
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile in microseconds.
    pub(crate) fn us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}
