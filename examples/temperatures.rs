//! Time series: temperatures of sensors, kept at several granularities, and ranges of them read by a query.
//!
//! Each measurement goes into a bucket of its minute, its hour and its day. A range of any length is then read from few
//! buckets: whole days where they fit, hours and minutes at both ends. Buckets are subindexed, so that only those in the
//! range are read, however many there are.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::ops::Range;
use std::time::Duration;
use tantu::prelude::*;
use tantu_examples::Result;

const LONG: Duration = Duration::from_secs(30);
/// Minutes of a bucket, by granularity: from coarse to fine.
const GRANULARITIES: [i64; 3] = [24 * 60, 60, 1];

/// What is appended.
#[derive(Record)]
struct Measurement {
    sensor: String,
    minute: i64,
    celsius: f64,
}

/// What is known of a stretch of time.
#[derive(Record, Clone, PartialEq, Debug)]
struct Bucket {
    count: i64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Bucket {
    const EMPTY: Bucket = Bucket { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    fn with(&self, other: &Bucket) -> Bucket {
        Bucket {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// By sensor, by minutes of a bucket, by number of the bucket.
type Series = Map<String, Map<i64, Sub<Map<i64, Bucket>>>>;

/// Ranges of buckets that make up a range of minutes, with the minutes of each bucket: the coarsest that fit.
fn buckets(minutes: Range<i64>) -> Vec<(i64, i64, i64)> {
    fn cover(minutes: Range<i64>, granularities: &[i64], found: &mut Vec<(i64, i64, i64)>) {
        let [size, finer @ ..] = granularities else { return };
        let first = minutes.start.div_euclid(*size) + i64::from(minutes.start.rem_euclid(*size) != 0);
        let last = minutes.end.div_euclid(*size);
        if first >= last {
            return cover(minutes, finer, found);
        }
        cover(minutes.start..first * size, finer, found);
        found.push((*size, first, last));
        cover(last * size..minutes.end, finer, found);
    }
    let mut found = Vec::new();
    if minutes.start < minutes.end {
        cover(minutes, &GRANULARITIES, &mut found);
    }
    found
}

struct Temperatures;

impl Module for Temperatures {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let measured = setup.declare_depot::<Measurement>("*measured", hash_by(|m: &Measurement| m.sensor.clone()));
        let mut keeper = topologies.microbatch("keeper");
        let series = keeper.pstate::<Series>("$$series");
        keeper.source(&measured, |m, batch| {
            let measurement = m.explode_microbatch(batch);
            let sensor = m.view(measurement, |m| m.sensor.as_str());
            let minute = m.each(measurement, |m| m.minute);
            let one = m.each(measurement, |m| Bucket { count: 1, sum: m.celsius, min: m.celsius, max: m.celsius });
            let size = m.explode(minute, |_| GRANULARITIES);
            let bucket = m.each((minute, size), |(minute, size)| minute.div_euclid(size));
            let place = path().key(sensor).key(size).key(bucket).null_to_val(Bucket::EMPTY);
            m.local_transform(series, place.term_with(one, |bucket: Bucket, one: Bucket| bucket.with(&one)));
        });

        // What was measured from a minute on, below another.
        topologies.query("range", |q, (sensor, from, to): (Var<str>, Var<i64>, Var<i64>)| {
            q.hash_partition(sensor);
            let part = q.explode((from, to), |(from, to)| buckets(from..to));
            let (size, first, last) = q.expand(part, |(size, first, last)| (*size, *first, *last));
            let bucket = q.local_select(series, path().key(sensor).key(size).sorted_map_range(first, last).map_vals());
            q.origin_partition();
            q.agg::<Bucket>(agg::combiner(Bucket::EMPTY, |a: Bucket, b: Bucket| a.with(&b)).of(bucket))
        });
    }
}

/// Four days of two sensors, a measurement every ten minutes: warm days, cold nights.
fn four_days() -> Result<InProcessCluster> {
    let name = Temperatures::name();
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Temperatures>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() })?;
    let measured = cluster.depot::<Measurement>(&name, "*measured")?;
    let mut pending = Vec::new();
    for minute in (0..4 * 24 * 60).step_by(10) {
        for (sensor, warmer) in [("cellar", -4.0), ("roof", 2.0)] {
            let celsius = celsius(minute) + warmer;
            let measurement = Measurement { sensor: sensor.to_string(), minute, celsius };
            pending.push(measured.append_async(&measurement, AckLevel::AppendAck)?);
        }
    }
    let count = pending.len() as u64;
    for append in pending {
        append.wait()?;
    }
    cluster.wait_for_microbatch_processed_count(&name, "keeper", count, LONG)?;
    Ok(cluster)
}

fn celsius(minute: i64) -> f64 {
    let hour = (minute % (24 * 60)) as f64 / 60.0;
    // Coldest at four in the morning; each day is half a degree warmer.
    (12.0 - 8.0 * ((hour - 4.0) / 24.0 * std::f64::consts::TAU).cos() + (minute / (24 * 60)) as f64 / 2.0).round()
}

fn show() -> Result<()> {
    let cluster = four_days()?;
    let range = cluster.query::<(String, i64, i64), Bucket>(&Temperatures::name(), "range")?;
    for sensor in ["cellar", "roof"] {
        println!("{sensor}:");
        for day in 0..4 {
            let from = day * 24 * 60;
            let all = range.invoke(&(sensor.to_string(), from, from + 24 * 60))?;
            let noon = range.invoke(&(sensor.to_string(), from + 11 * 60 + 30, from + 13 * 60 + 30))?;
            let (all, noon) = (all, noon.average().unwrap_or(f64::NAN));
            println!("  day {}: {:>3} to {:>2} °C, {noon:.1} °C around noon", day + 1, all.min, all.max);
        }
    }
    println!("A whole day is one bucket; half past eleven to half past one is an hour and sixty minutes.");
    cluster.close()?;
    Ok(())
}

tantu::main!(Temperatures; run = show);

#[test]
fn a_range_is_made_up_of_the_coarsest_buckets_that_fit() {
    assert_eq!(buckets(0..1440), [(1440, 0, 1)]);
    assert_eq!(buckets(30..150), [(1, 30, 60), (60, 1, 2), (1, 120, 150)]);
    assert_eq!(buckets(-70..1500), [(1, -70, -60), (60, -1, 0), (1440, 0, 1), (60, 24, 25)]);
    assert_eq!(buckets(5..5), []);
    assert_eq!(buckets(Range { start: 5, end: 2 }), []);
    for (from, to) in [(0, 5000), (7, 9), (59, 3001), (-2000, 1441)] {
        let minutes: i64 = buckets(from..to).iter().map(|(size, first, last)| size * (last - first)).sum();
        assert_eq!(minutes, to - from);
    }
}

#[test]
fn a_range_of_any_length_tells_what_was_measured_in_it() {
    let cluster = four_days().unwrap();
    let range = cluster.query::<(String, i64, i64), Bucket>(&Temperatures::name(), "range").unwrap();
    for (from, to) in [(0, 5_760), (15, 25), (95, 4_321), (1_440, 2_880), (9_000, 9_100)] {
        let found = range.invoke(&("roof".to_string(), from, to)).unwrap();
        let measured = (from..to.min(5_760)).filter(|minute| minute % 10 == 0).map(|minute| celsius(minute) + 2.0);
        let one = |celsius| Bucket { count: 1, sum: celsius, min: celsius, max: celsius };
        let expected = measured.fold(Bucket::EMPTY, |all, celsius| all.with(&one(celsius)));
        assert_eq!(found, expected, "{from}..{to}");
    }
    cluster.close().unwrap();
}
