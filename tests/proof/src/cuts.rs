//! The power is cut at every request of a workload, and again while what is left is recovered.
//!
//! For each cut [`SAMPLE_COUNT`] different remains are recovered and judged: nothing unflushed survives, everything does,
//! a process was killed, or any sectors. The short form cuts some of the recoveries again, each at one request; the
//! long form cuts every recovery at every one of its requests.

use crate::form::Form;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tantu_weather::{CutBias, DiskWeather, Image, Marks, SimDisk, SimEntropy, Weather};

/// Remains that are looked at for each cut.
pub const SAMPLE_COUNT: u64 = 16;

/// A workload, and the judge of what is left of it.
pub trait Script {
    /// What must be there, and what may be there, after the power was cut.
    type Expected: Clone;

    /// Works on an empty disk until the power is cut, or to the end of the script.
    fn play(&self, seed: u64, disk: SimDisk) -> Self::Expected;

    /// Recovers what a cut left, judges it, and works on. The power may be cut meanwhile: then `expected` says what must
    /// and may be there now.
    ///
    /// # Panics
    /// If it is not as expected.
    fn recover(&self, seed: u64, disk: SimDisk, chance: &mut SimEntropy, expected: &mut Self::Expected);
}

/// Which remains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    seed: u64,
    cut: u64,
    sample: u64,
    again: Option<u64>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.seed, self.cut, self.sample)?;
        self.again.map_or(Ok(()), |again| write!(f, ".{again}"))
    }
}

impl State {
    /// The randomness of everything that happens in this state.
    fn chance(&self) -> SimEntropy {
        SimEntropy::new(self.seed).fork(self.cut).fork(self.sample).fork(self.again.map_or(0, |again| again + 1))
    }
}

/// How much was done.
#[derive(Debug, Default)]
struct Counts {
    seeds: u64,
    cuts: u64,
    states: u64,
    double: u64,
}

/// Cuts a script everywhere.
///
/// # Panics
/// At the first state that is not as expected, which is named.
pub fn explore(form: &Form, script: &impl Script, short_seeds: u64) -> Marks {
    let (marks, mut counts) = (Marks::default(), Counts::default());
    if let Some(&[seed, cut, sample, ref again @ ..]) = form.state() {
        let state = State { seed, cut, sample, again: again.first().copied() };
        recover(form, script, state, &marks);
        return marks;
    }
    for seed in form.seeds(short_seeds) {
        let disk = SimDisk::calm(seed);
        script.play(seed, disk.another());
        let mut cuts: Vec<u64> = (0..=disk.submitted()).collect();
        if form.is_long() {
            // The time may be over before all are done: what was done should not be only the beginning.
            SimEntropy::new(seed).shuffle(&mut cuts);
        }
        counts.seeds += 1;
        for cut in cuts.into_iter().take_while(|_| !form.is_over()) {
            counts.cuts += 1;
            explore_cut(form, script, (seed, cut), &mut counts, &marks);
        }
    }
    let Counts { seeds, cuts, states, double } = counts;
    form.report(&[("seeds", seeds), ("cuts", cuts), ("states", states), ("of them after a second cut", double)]);
    marks
}

/// Whether the judge notices that a disk breaks its promises: a script that passes is worth something only if it does.
pub fn notices(script: &impl Script, lying: &DiskWeather, seed: u64) -> bool {
    let form = Form::silent();
    let disk = SimDisk::new(&Weather::new(seed), lying.clone(), Image::default());
    script.play(seed, disk.another());
    (0..=disk.submitted()).any(|cut| {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let played = play(script, lying.clone(), (seed, cut), &Marks::default());
            recover_from(&form, script, State { seed, cut, sample: 0, again: None }, &played, &Marks::default());
        }));
        judged.is_err()
    })
}

fn explore_cut(form: &Form, script: &impl Script, (seed, cut): (u64, u64), counts: &mut Counts, marks: &Marks) {
    let played = play(script, DiskWeather::default(), (seed, cut), marks);
    for sample in (0..SAMPLE_COUNT).take_while(|_| !form.is_over()) {
        let once = State { seed, cut, sample, again: None };
        counts.states += 1;
        let requests = recover_from(form, script, once, &played, marks);
        let again: Vec<u64> = match form.is_long() {
            true => (0..requests).collect(),
            // Another one with each cut.
            false if sample % 8 == cut % 8 => vec![once.chance().below(requests)],
            false => Vec::new(),
        };
        for again in again.into_iter().take_while(|_| !form.is_over()) {
            counts.states += 1;
            counts.double += 1;
            recover_from(form, script, State { again: Some(again), ..once }, &played, marks);
        }
    }
}

/// A workload after its cut.
struct Played<E> {
    disk: SimDisk,
    expected: E,
}

fn play<S: Script>(script: &S, weather: DiskWeather, (seed, cut): (u64, u64), marks: &Marks) -> Played<S::Expected> {
    let disk = SimDisk::new(&Weather::new(seed), weather, Image::default());
    disk.stop_at(cut);
    let expected = script.play(seed, disk.another());
    marks.add(&disk.world().marks);
    Played { disk, expected }
}

fn recover(form: &Form, script: &impl Script, state: State, marks: &Marks) {
    let played = play(script, DiskWeather::default(), (state.seed, state.cut), marks);
    recover_from(form, script, state, &played, marks);
}

/// Judges one state; how many requests its last recovery made.
fn recover_from<S: Script>(form: &Form, script: &S, state: State, played: &Played<S::Expected>, marks: &Marks) -> u64 {
    let _place = form.at(state);
    let mut expected = played.expected.clone();
    let mut chance = State { again: None, ..state }.chance();
    let world = Weather::new(state.seed ^ state.cut << 20 ^ state.sample << 40);
    let mut image = left(&played.disk, state.sample, &mut chance);
    if let Some(again) = state.again {
        let disk = SimDisk::new(&world, DiskWeather::default(), image);
        disk.stop_at(again);
        script.recover(state.seed, disk.another(), &mut chance, &mut expected);
        let mut chance = state.chance();
        image = left(&disk, chance.below(SAMPLE_COUNT), &mut chance);
    }
    let disk = SimDisk::new(&world, DiskWeather::default(), image);
    script.recover(state.seed, disk.another(), &mut chance, &mut expected);
    marks.add(&world.marks);
    disk.submitted()
}

/// What a crash leaves: sample 0 has nothing unflushed, 1 all of it, 2 and 3 are a process killed, the others any
/// sectors and names.
pub fn left(disk: &SimDisk, sample: u64, chance: &mut SimEntropy) -> Image {
    match sample {
        0 => disk.crash_with(CutBias::LOSE_ALL, chance),
        1 => disk.crash_with(CutBias::KEEP_ALL, chance),
        2 | 3 => disk.kill(chance),
        _ => disk.crash(chance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::buf::Buf;
    use tantu_base::door::{Disk, DiskOp, DiskReply, FileId, OpenMode, call};

    /// Writes blocks one after the other; whether it flushes them is the question.
    struct Blocks {
        durable: bool,
    }

    fn open(disk: &mut dyn Disk, mode: OpenMode) -> Option<(FileId, u64)> {
        match call(disk, DiskOp::Open { path: "f".into(), mode }) {
            Ok(DiskReply::Opened { file, len }) => Some((file, len)),
            _ => None,
        }
    }

    impl Script for Blocks {
        type Expected = u64;

        fn play(&self, _seed: u64, mut disk: SimDisk) -> u64 {
            let Some((file, _)) = open(&mut disk, OpenMode::Create) else { return 0 };
            if call(&mut disk, DiskOp::SyncDir { path: "".into() }).is_err() {
                return 0;
            }
            let write = |at: &u64| {
                let buf = Buf::from(&[1; 4096][..]);
                call(&mut disk, DiskOp::Write { file, offset: at * 4096, buf, durable: self.durable }).is_ok()
            };
            (0..5).take_while(write).count() as u64
        }

        fn recover(&self, _seed: u64, mut disk: SimDisk, _chance: &mut SimEntropy, expected: &mut u64) {
            let len = open(&mut disk, OpenMode::Read).map_or(0, |(_, len)| len);
            assert!(disk.crashed() || len / 4096 >= *expected, "{len} bytes, {expected} blocks were acknowledged");
        }
    }

    #[test]
    fn a_script_that_flushes_passes_and_one_that_does_not_is_noticed() {
        assert!(!notices(&Blocks { durable: true }, &DiskWeather::default(), 0));
        assert!(notices(&Blocks { durable: false }, &DiskWeather::default(), 0));
        let marks = explore(&Form::silent(), &Blocks { durable: true }, 2);
        assert!(marks.count(tantu_weather::mark::POWER_CUT) > 0);
    }

    #[test]
    fn a_state_is_printed_as_it_is_asked_for() {
        let state = State { seed: 7, cut: 31, sample: 4, again: None };
        assert_eq!(state.to_string(), "7.31.4");
        assert_eq!(State { again: Some(12), ..state }.to_string(), "7.31.4.12");
    }
}
