//! The whole engine, open, write, close and open again: cut at every request of its disk, again in its recovery, and with
//! every request failing once.
#![allow(clippy::print_stdout, reason = "counts are told to whoever looks")]

use tantu_proof::Form;
use tantu_proof::cuts::SAMPLE_COUNT;
use tantu_proof::sweep::{CANCELED, Planned, Workload, sweep};
use tantu_sim::{Blow, EngineCluster, Kind, Swarm, run_swarm};
use tantu_weather::{Fault, OpKind, SimEntropy};

/// Whether the last blow came.
fn tell(seed: u64, blows: Vec<Blow>) -> bool {
    let swarm = Swarm::of_blows(seed, blows);
    let report = run_swarm::<EngineCluster>(seed, &swarm)
        .unwrap_or_else(|failure| panic!("{}\n{}", failure.what, failure.swarm));
    assert!(report.acked_count > 0, "nothing was acknowledged");
    report.landed.last().copied().unwrap_or_default()
}

/// A cut, and perhaps another in the life after it.
fn cuts(cut: u64, sample: u64, again: Option<u64>) -> Vec<Blow> {
    let first = Blow::Cut { request: cut, sample };
    let second = again.map(|request| Blow::Cut { request, sample: (sample + request) % SAMPLE_COUNT });
    [Some(first), second].into_iter().flatten().collect()
}

#[test]
fn a_power_cut_at_every_request_of_the_engine_loses_nothing_acknowledged() {
    let form = Form::from_env("cuts of the engine", "-p tantu-sim --test proof a_power_cut_at_every_request");
    if let Some(&[seed, cut, sample, ref again @ ..]) = form.state() {
        tell(seed, cuts(cut, sample, again.first().copied()));
        return;
    }
    let (mut seeds, mut cut_count, mut states, mut double) = (0, 0, 0, 0);
    for seed in form.seeds(1) {
        seeds += 1;
        for cut in all_cuts_of(&form, seed).into_iter().take_while(|_| !form.is_over()) {
            cut_count += 1;
            for sample in samples(&form, cut).into_iter().take_while(|_| !form.is_over()) {
                let _place = form.at(format!("{seed}.{cut}.{sample}"));
                tell(seed, cuts(cut, sample, None));
                states += 1;
                let again = if form.is_long() { 0..u64::MAX } else { cut..cut + u64::from(sample < 4) };
                for again in again.take_while(|_| !form.is_over()) {
                    let _place = form.at(format!("{seed}.{cut}.{sample}.{again}"));
                    (states, double) = (states + 1, double + 1);
                    if !tell(seed, cuts(cut, sample, Some(again))) {
                        break;
                    }
                }
            }
        }
    }
    form.report(&[("seeds", seeds), ("cuts", cut_count), ("states", states), ("of them after a second cut", double)]);
}

/// Every request of the first life at which it can be cut. The long form has them in any order, so that what was done when
/// its time is over is not only the beginning.
fn all_cuts_of(form: &Form, seed: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..).take_while(|cut| tell(seed, cuts(*cut, 0, None))).collect();
    assert!(all.len() > 80, "{} requests are too few to prove anything", all.len());
    if form.is_long() {
        SimEntropy::new(seed).shuffle(&mut all);
    }
    all
}

/// All of the remains in the long form; in the short one some, others with each cut.
fn samples(form: &Form, cut: u64) -> Vec<u64> {
    (0..SAMPLE_COUNT).filter(|sample| form.is_long() || sample % 4 == cut % 4).collect()
}

#[test]
fn a_power_cut_at_every_letter_of_a_bank_loses_nothing_acknowledged() {
    let form = Form::from_env("cuts at letters", "-p tantu-sim --test proof a_power_cut_at_every_letter");
    let tell = |seed: u64, letter: u64, sample: u64, again: Option<u64>| {
        let first = Blow::Letter { letter, sample };
        let again = again.map(|request| Blow::Cut { request, sample: (sample + request) % SAMPLE_COUNT });
        let blows: Vec<Blow> = [Some(first), again].into_iter().flatten().collect();
        let mut swarm = Swarm { kind: Kind::Bank, client_count: 2, trim: None, ..Swarm::of_blows(seed, blows) };
        (swarm.threads, swarm.tasks, swarm.line_count) = (2, 4, 24);
        let report = run_swarm::<EngineCluster>(seed, &swarm)
            .unwrap_or_else(|failure| panic!("{}\n{}", failure.what, failure.swarm));
        report.landed.first().copied().unwrap_or_default()
    };
    if let Some(&[seed, letter, sample, ref again @ ..]) = form.state() {
        tell(seed, letter, sample, again.first().copied());
        return;
    }
    let (mut seeds, mut states) = (0, 0);
    for seed in form.seeds(1) {
        seeds += 1;
        for letter in 0.. {
            let mut landed = true;
            let short = letter % SAMPLE_COUNT..letter % SAMPLE_COUNT + 1;
            let samples = if form.is_long() { 0..SAMPLE_COUNT } else { short };
            for sample in samples.take_while(|_| !form.is_over()) {
                let again = (sample % 2 == 0).then_some(letter % 97);
                let place = format!("{seed}.{letter}.{sample}");
                let _place = form.at(again.map_or(place.clone(), |again| format!("{place}.{again}")));
                states += 1;
                landed &= tell(seed, letter, sample, again);
            }
            if !landed || form.is_over() {
                assert!(letter > 50 || form.is_over(), "{letter} letters are too few to prove anything");
                break;
            }
        }
    }
    form.report(&[("seeds", seeds), ("states", states)]);
}

#[test]
fn the_nth_request_of_every_kind_fails_and_nothing_acknowledged_is_lost() {
    let form = Form::from_env("error sweep of the engine", "-p tantu-sim --test proof the_nth_request");
    let faults = [Fault::Eio, Fault::Full, Fault::Os(CANCELED)];
    let run = |planned: &Planned| {
        let mut blows = vec![Blow::Fail(*planned)];
        if planned.in_second_life() {
            // The first life is cut in the middle of its work: the second one has something to recover.
            blows.insert(0, Blow::Cut { request: 150, sample: 4 });
        }
        tell(planned.seed, blows)
    };
    sweep(&form, &Workload { short_seeds: 2, dense: 4, step: 31, kinds: &OpKind::ALL, faults: &faults }, run);
}
