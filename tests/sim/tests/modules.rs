//! The modules of the stories on two threads, cut at each letter and at each request of the disk, once each.
#![allow(clippy::print_stdout, reason = "counts are told to whoever looks")]

use tantu_proof::Form;
use tantu_proof::cuts::SAMPLE_COUNT;
use tantu_sim::applicant::{DEAD_LETTER, NUMBERED_AGAIN, RETURNED, STRUCK};
use tantu_sim::sender::{DELIVERED, FURTHER};
use tantu_sim::teller::{REGISTER_READ, TOTALLED, TRANSFERRED};
use tantu_sim::{Blow, EngineCluster, Kind, Swarm, run_swarm};
use tantu_weather::{Marks, mark};

/// Letters and requests of a life are more than this, or there is nothing to prove.
const LEAST: u64 = 20;

struct Proof {
    form: Form,
    kind: Kind,
    marks: Marks,
    states: u64,
}

/// What is cut: at a letter, or at a request of the disk.
const WAYS: [fn(u64, u64) -> Blow; 2] =
    [|letter, sample| Blow::Letter { letter, sample }, |request, sample| Blow::Cut { request, sample }];

impl Proof {
    /// A story that is cut at a place, and perhaps again in the life after it. Whether there was such a place.
    fn tell(&mut self, seed: u64, (way, at): (usize, u64), sample: u64, again: Option<u64>) -> bool {
        let again = again.map(|request| Blow::Cut { request, sample: (sample + request) % SAMPLE_COUNT });
        let blows: Vec<Blow> = [Some(WAYS[way](at, sample)), again].into_iter().flatten().collect();
        let mut swarm = Swarm { kind: self.kind, client_count: 2, trim: None, ..Swarm::of_blows(seed, blows) };
        (swarm.threads, swarm.tasks) = (2, 4);
        swarm.line_count = if self.kind == Kind::Registry { 64 } else { 32 };
        // The clock strikes while the work is done, and sources that are new meet the others.
        (swarm.period_ns, swarm.further) = (2_000_000, (1, false));
        let report = run_swarm::<EngineCluster>(seed, &swarm)
            .unwrap_or_else(|failure| panic!("{}\n{}", failure.what, failure.swarm));
        self.states += 1;
        self.marks.add(&report.marks);
        report.landed.first().copied().unwrap_or_default()
    }

    /// Every place of one way.
    fn each(&mut self, seed: u64, way: usize) {
        for at in 0.. {
            let mut landed = true;
            let samples = if self.form.is_long() { 0..SAMPLE_COUNT } else { at % SAMPLE_COUNT..at % SAMPLE_COUNT + 1 };
            for sample in samples {
                if self.form.is_over() {
                    return;
                }
                let again = (sample % 2 == 0).then_some(at % 97);
                let place = format!("{seed}.{way}.{at}.{sample}");
                let _place = self.form.at(again.map_or(place.clone(), |again| format!("{place}.{again}")));
                landed &= self.tell(seed, (way, at), sample, again);
            }
            if !landed {
                assert!(at > LEAST, "{at} places are too few to prove anything");
                return;
            }
        }
    }
}

fn prove(form: Form, kind: Kind, ways: &[usize], expected: &[&'static str]) {
    let mut proof = Proof { form, kind, marks: Marks::default(), states: 0 };
    if let Some(&[seed, way, at, sample, ref again @ ..]) = proof.form.state() {
        proof.tell(seed, (way as usize, at), sample, again.first().copied());
        return;
    }
    let mut seeds = 0;
    let form = proof.form.clone();
    for seed in form.seeds(1) {
        seeds += 1;
        ways.iter().for_each(|way| proof.each(seed, *way));
    }
    println!("{:?}", proof.marks.all());
    if !proof.form.is_long() {
        proof.marks.assert_all_hit(expected);
    }
    proof.form.report(&[("seeds", seeds), ("states", proof.states)]);
}

#[test]
fn a_registry_that_is_cut_at_every_letter_and_request_keeps_its_promises() {
    let expected = [DEAD_LETTER, NUMBERED_AGAIN, RETURNED, STRUCK, mark::CRASH_IN_RECOVERY];
    let form = Form::from_env("cuts of a registry", "-p tantu-sim --test modules a_registry_that_is_cut");
    prove(form, Kind::Registry, &[0, 1], &expected);
}

#[test]
fn errands_that_are_cut_at_every_letter_and_request_keep_their_promises() {
    let expected = [DELIVERED, FURTHER, mark::CRASH_IN_RECOVERY];
    let form = Form::from_env("cuts of errands", "-p tantu-sim --test modules errands_that_are_cut");
    prove(form, Kind::Errands, &[0, 1], &expected);
}

#[test]
fn a_bank_on_two_threads_that_is_cut_at_every_request_keeps_its_promises() {
    let expected = [TRANSFERRED, REGISTER_READ, TOTALLED, mark::CRASH_IN_RECOVERY];
    let form = Form::from_env("cuts of a bank", "-p tantu-sim --test modules a_bank_on_two_threads");
    prove(form, Kind::Bank, &[1], &expected);
}
