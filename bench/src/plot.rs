//! Latencies as the files that plotters of HdrHistogram read: the percentile distribution and the interval log.

use crate::error::BenchError;
use crate::measure::Latencies;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// Lines of a distribution per halving of what is above.
const TICKS_PER_HALF: u32 = 5;
/// From nanoseconds to the unit of both files.
const NS_PER_US: f64 = 1e3;

/// The percentile distribution in microseconds, line for line as the Java implementation writes it.
pub(crate) fn distribution(all: &Histogram<u64>) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut sum = 0;
    for step in all.iter_quantiles(TICKS_PER_HALF) {
        sum += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / NS_PER_US, step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:2.12} {sum:10}");
        // The last line has no such number.
        let _ = if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let pair = |text: &mut String, one: &str, value: String, other: &str, second: String| {
        let _ = writeln!(text, "#[{one:<7} = {value:>12}, {other:<14} = {second:>12}]");
    };
    let us = |ns: f64| format!("{:.3}", ns / NS_PER_US);
    pair(&mut text, "Mean", us(all.mean()), "StdDeviation", us(all.stdev()));
    pair(&mut text, "Max", us(all.max() as f64), "Total count", all.len().to_string());
    // Every bucket but the first has one half of its own.
    let sub_buckets = 2 * all.distinct_values() / (usize::from(all.buckets()) + 1);
    pair(&mut text, "Buckets", all.buckets().to_string(), "SubBuckets", sub_buckets.to_string());
    text
}

/// The interval log: an interval a second, tagged with its run. Values in it are nanoseconds, its maxima microseconds.
pub(crate) fn interval_log(runs: &[Latencies]) -> Result<Vec<u8>, BenchError> {
    let failed = |error: &dyn std::fmt::Display| BenchError::Wrong(format!("writing an interval log: {error}"));
    let Some(first) = runs.first().map(Latencies::began) else { return Ok(Vec::new()) };
    let start_time = SystemTime::now() - first.elapsed();
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]");
    builder.with_start_time(start_time).with_base_time(start_time).with_max_value_divisor(NS_PER_US);
    let mut log = builder.begin_log_with(&mut bytes, &mut serializer).map_err(|error| failed(&error))?;
    for (n, run) in runs.iter().enumerate() {
        let tag = format!("run-{}", n + 1);
        let since = run.began().saturating_duration_since(first);
        for (at, interval) in run.intervals() {
            let tag = Tag::new(&tag).expect("invariant: neither comma nor space");
            log.write_histogram(interval, since + at, Duration::from_secs(1), Some(tag))
                .map_err(|error| failed(&format!("{error:?}")))?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use std::time::Instant;

    fn latencies() -> Latencies {
        let began = Instant::now();
        let mut latencies = Latencies::new(began);
        for us in 1..=1000 {
            latencies.record(began, began + Duration::from_micros(us));
        }
        latencies.record(began, began + Duration::from_millis(1500));
        latencies
    }

    #[test]
    fn a_distribution_rises_to_its_maximum_and_counts_everything() {
        let text = distribution(&latencies().all());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>()[..2], ["Value", "Percentile"]);
        let rows: Vec<Vec<f64>> = lines[2..]
            .iter()
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|field| field.parse().expect("a number")).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
        let median = rows.iter().find(|row| row[1] >= 0.5).expect("it is there");
        assert!((median[0] / 500.0 - 1.0).abs() < 0.01 && (median[3] - 2.0).abs() < 1e-9, "{median:?}");
        let last = rows.last().expect("there are rows");
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1001.0));
        assert!(
            text.contains("Total count    =         1001]") && text.contains("SubBuckets     =         2048]"),
            "{text}"
        );
    }

    #[test]
    fn an_interval_log_has_every_interval_of_every_run_under_its_tag() {
        let bytes = interval_log(&[latencies(), latencies()]).expect("it is written");
        let intervals: Vec<(String, u64, f64)> = IntervalLogIterator::new(&bytes)
            .filter_map(|entry| match entry.expect("it is read") {
                LogEntry::Interval(it) => {
                    Some((it.tag().expect("tagged").as_str().to_string(), it.start_timestamp().as_secs(), it.max()))
                }
                _ => None,
            })
            .collect();
        let tags: Vec<(&str, u64)> = intervals.iter().map(|(tag, at, _)| (tag.as_str(), *at)).collect();
        assert_eq!(tags, [("run-1", 0), ("run-1", 1), ("run-2", 0), ("run-2", 1)]);
        assert!((intervals[1].2 / 1_500_000.0 - 1.0).abs() < 2e-3, "{intervals:?}");
        assert_eq!(interval_log(&[]).expect("nothing to write"), Vec::<u8>::new());
    }
}
