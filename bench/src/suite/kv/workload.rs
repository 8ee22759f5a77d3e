//! The workloads over any engine that runs in this process.

use super::engine::{Engine, Puts, Writer, idle_until};
use super::{KvArgs, SUITE, Workload};
use crate::Common;
use crate::error::BenchError;
use crate::measure::{self, Latencies, Stretch};
use crate::pace::{Arrival, Pace};
use crate::report::{Measured, Report};
use rustix::fs::Advice;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What follows the seed of the fill.
const READ_SEED: u64 = 1;
const SCAN_SEED: u64 = 2;
const WRITE_SEED: u64 = 3;
const PACE_SEED: u64 = 4;
/// Of the keys to choose from, those that are there after a fill, and a little more.
pub(super) const FOUND_SHARE_MAX: f64 = 0.66;
/// How long a writer of its own thread sleeps before it puts all that is due.
const WRITER_SLEEP: Duration = Duration::from_millis(1);

/// Runs the workloads in a directory of their own.
pub(super) fn race<E: Engine>(args: &KvArgs, common: &Common, report: &mut Report) -> Result<(), BenchError> {
    let dir = common.fresh_dir()?;
    let mut cache_size = args.cache_size;
    let mut race = Race { engine: E::open(dir.path(), args, cache_size)?, args, common };
    let mut is_warm = false;
    let mut unsettled = None;
    for &workload in &args.workload {
        let wanted = args.cache_size(common, workload);
        let mut opening = None;
        if workload.wants_opening() || wanted != cache_size {
            drop(race);
            drop_page_cache(dir.path())?;
            cache_size = wanted;
            let stretch = Stretch::begin();
            race = Race { engine: E::open(dir.path(), args, cache_size)?, args, common };
            opening = Some(stretch.end());
            is_warm = false;
        }
        let measured = match workload {
            Workload::Fill => {
                let (filled, scanned) = race.fill(dir.path())?;
                unsettled = scanned;
                is_warm = false;
                filled
            }
            // It was measured when it could be.
            Workload::Scan100Unsettled => match unsettled.take() {
                Some(measured) => measured,
                None => continue,
            },
            Workload::Cold | Workload::Cold32 => race.read(workload)?,
            Workload::Open => {
                let took = opening.expect("invariant: it was just opened");
                let mut figures = vec![("open_s", took.wall_s), ("cpu_s", took.cpu_s)];
                figures.extend(race.engine.open_figures());
                figures.into()
            }
            Workload::Recovery => {
                let other = common.fresh_dir()?;
                match E::recover(other.path(), args, args.operations(common, workload))? {
                    Some(figures) => figures.into(),
                    None => continue,
                }
            }
            Workload::OpenIngested => {
                let other = common.fresh_dir()?;
                match E::open_ingested(other.path(), args, args.operations(common, workload))? {
                    Some(figures) => figures.into(),
                    None => continue,
                }
            }
            _ => {
                if !std::mem::replace(&mut is_warm, true) {
                    race.engine.warm(args.keys(common))?;
                }
                match workload {
                    Workload::Scan100 => race.scan(workload)?,
                    Workload::ReadWhileWriting => race.read_while_writing(workload)?,
                    _ => race.read(workload)?,
                }
            }
        };
        let mut measured = measured;
        measured.push("space_bytes", measure::space_size(dir.path())? as f64);
        report.run(SUITE, workload.name(), E::NAME, &args.config(common, workload, E::config(args)), measured)?;
    }
    Ok(())
}

/// Lets the kernel forget what it caches of the files, so that reads find them on the disk.
pub(super) fn drop_page_cache(dir: &Path) -> Result<(), BenchError> {
    let mut result = Ok(());
    measure::visit_files(dir, &mut |path, _| {
        let forget = || -> std::io::Result<()> {
            let file = std::fs::File::open(path)?;
            // Only what is on the disk can be forgotten.
            file.sync_all()?;
            Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
        };
        if let Err(error) = forget() {
            result = Err(BenchError::io(format!("emptying the page cache of {}", path.display()))(error));
        }
    })?;
    result
}

struct Race<'a, E> {
    engine: E,
    args: &'a KvArgs,
    common: &'a Common,
}

impl<E: Engine> Race<'_, E> {
    /// Random puts; then everything is flushed and merged, which is timed apart. What was scanned in between follows.
    fn fill(&mut self, dir: &Path) -> Result<(Measured, Option<Measured>), BenchError> {
        let keys = self.args.keys(self.common);
        let mut puts = Puts::new(self.args.seed, keys, self.args.value);
        let written = measure::written_size("self")? - self.engine.prewritten_size();
        let mut measured = self.timed(
            Workload::Fill,
            |_, _| Ok(false),
            |engine| {
                let (key, value) = puts.next();
                engine.put(key, value)
            },
        )?;
        let unsettled = if self.args.workload.contains(&Workload::Scan100Unsettled) {
            let before = measure::space_size(dir)?;
            self.engine.warm(keys)?;
            let mut scanned = self.scan(Workload::Scan100Unsettled)?;
            scanned.push("space_before_bytes", before as f64);
            Some(scanned)
        } else {
            None
        };
        let settling = Stretch::begin();
        self.engine.settle()?;
        let settled = settling.end();
        let prewritten = self.engine.prewritten_size();
        let written = measure::written_size("self")? - written - prewritten;
        measured.push("write_amplification", written as f64 / self.args.size_of(keys as f64));
        measured.push("prewritten", prewritten as f64 / self.args.size_of(keys as f64));
        measured.push("settle_s", settled.wall_s);
        measured.push("settle_cpu_s", settled.cpu_s);
        self.engine.fill_figures().into_iter().for_each(|(name, value)| measured.push(name, value));
        Ok((measured, unsettled))
    }

    /// Random reads, one at a time or as many in flight as the workload says.
    fn read(&mut self, workload: Workload) -> Result<Measured, BenchError> {
        let (keys, reads) = (self.args.keys(self.common), self.args.operations(self.common, workload));
        let mut random = fastrand::Rng::with_seed(self.args.seed + READ_SEED);
        let mut found = 0u64;
        let mut measured = if workload.depth() == 1 {
            self.timed(
                workload,
                |_, _| Ok(false),
                |engine| {
                    found += u64::from(engine.get(random.u64(..keys))?);
                    Ok(())
                },
            )?
        } else if workload == Workload::MultiRead16 {
            let mut wanted = vec![0; workload.depth()];
            let groups = reads / wanted.len() as u64;
            let stretch = Stretch::begin();
            let mut latencies = Latencies::new(Instant::now());
            for _ in 0..groups {
                wanted.iter_mut().for_each(|key| *key = random.u64(..keys));
                let began = Instant::now();
                found += self.engine.get_together(&wanted)?;
                latencies.record_took(began.elapsed());
            }
            finished(groups * wanted.len() as u64, &stretch, latencies)
        } else {
            let mut wanted = std::iter::repeat_with(|| random.u64(..keys)).take(reads as usize);
            let stretch = Stretch::begin();
            let mut latencies = Latencies::new(Instant::now());
            self.engine.get_in_flight(&mut wanted, workload.depth(), &mut |is_there, took| {
                found += u64::from(is_there);
                latencies.record_took(took);
            })?;
            finished(reads, &stretch, latencies)
        };
        measured.push("found", found_share(found, reads, FOUND_SHARE_MAX)?);
        Ok(measured)
    }

    fn scan(&mut self, workload: Workload) -> Result<Measured, BenchError> {
        let keys = self.args.keys(self.common);
        let mut random = fastrand::Rng::with_seed(self.args.seed + SCAN_SEED);
        let mut pairs = 0;
        let mut measured = self.timed(
            workload,
            |_, _| Ok(false),
            |engine| {
                pairs += engine.scan(random.u64(..keys), 100)?;
                Ok(())
            },
        )?;
        measured.push("pairs", pairs as f64 / self.args.operations(self.common, workload) as f64);
        Ok(measured)
    }

    /// Random reads beside random puts at a fixed rate: of a thread of their own, or in between.
    fn read_while_writing(&mut self, workload: Workload) -> Result<Measured, BenchError> {
        let (keys, reads) = (self.args.keys(self.common), self.args.operations(self.common, workload));
        let mut random = fastrand::Rng::with_seed(self.args.seed + READ_SEED);
        let mut puts = Puts::new(self.args.seed + WRITE_SEED, keys, self.args.value);
        let (mut found, mut written) = (0u64, 0u64);
        let began = Instant::now();
        let mut pace = Pace::open(self.args.write_rate as f64, Arrival::Fixed, self.args.seed + WRITE_SEED, began);
        let mut get = |engine: &mut E| {
            found += u64::from(engine.get(random.u64(..keys))?);
            Ok(())
        };
        let mut measured = match self.engine.writer() {
            None => self.timed(
                workload,
                |engine, now| {
                    let before = written;
                    while pace.due(now).is_some() {
                        let (key, value) = puts.next();
                        engine.put(key, value)?;
                        written += 1;
                    }
                    Ok(written > before)
                },
                &mut get,
            )?,
            Some(writer) => {
                let stop = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let writing = scope.spawn(|| write_at_pace(writer, &mut puts, &mut pace, &stop));
                    let measured = self.timed(workload, |_, _| Ok(false), &mut get);
                    stop.store(true, Ordering::Release);
                    written = writing.join().map_err(|_| BenchError::Wrong("the writer panicked".into()))??;
                    measured
                })?
            }
        };
        measured.push("writes_per_s", written as f64 / began.elapsed().as_secs_f64());
        // What is put meanwhile is found as well.
        measured.push("found", found_share(found, reads, 1.0)?);
        Ok(measured)
    }

    /// Every operation of a workload on this thread. What comes before each says whether it took time of its own.
    fn timed(
        &mut self,
        workload: Workload,
        mut before: impl FnMut(&mut E, Instant) -> Result<bool, BenchError>,
        mut operation: impl FnMut(&mut E) -> Result<(), BenchError>,
    ) -> Result<Measured, BenchError> {
        let operations = self.args.operations(self.common, workload);
        let stretch = Stretch::begin();
        let began = Instant::now();
        let mut pace = self.args.pace.pace(1, self.args.seed + PACE_SEED, began);
        let mut latencies = Latencies::new(began);
        let mut now = began;
        for _ in 0..operations {
            if before(&mut self.engine, now)? {
                now = Instant::now();
            }
            let start = match pace.due(now) {
                Some(start) => start,
                None => {
                    let start = pace.next().expect("invariant: in a closed loop everything is due");
                    idle_until(&mut self.engine, start)?;
                    pace.due(start).expect("invariant: due at its own moment")
                }
            };
            operation(&mut self.engine)?;
            now = Instant::now();
            latencies.record(start, now);
        }
        Ok(finished(operations, &stretch, latencies))
    }
}

fn finished(operations: u64, stretch: &Stretch, latencies: Latencies) -> Measured {
    let took = stretch.end();
    Measured::new(vec![("ops_per_s", operations as f64 / took.wall_s), ("cpu_s", took.cpu_s)], latencies)
}

/// A fill of random keys leaves 1 - 1/e of them: the engines are asked for the same data.
pub(super) fn found_share(found: u64, reads: u64, at_most: f64) -> Result<f64, BenchError> {
    let share = found as f64 / reads as f64;
    if (0.6..=at_most).contains(&share) {
        return Ok(share);
    }
    Err(BenchError::Wrong(format!("{share} of the keys were found, and 0.63 were put")))
}

fn write_at_pace(mut writer: Writer, puts: &mut Puts, pace: &mut Pace, stop: &AtomicBool) -> Result<u64, BenchError> {
    let mut written = 0;
    while !stop.load(Ordering::Acquire) {
        while !stop.load(Ordering::Acquire) && pace.due(Instant::now()).is_some() {
            let (key, value) = puts.next();
            writer(key, value)?;
            written += 1;
        }
        std::thread::sleep(WRITER_SLEEP);
    }
    Ok(written)
}
