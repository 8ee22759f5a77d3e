//! Simulations of modules: the weather really comes, a good module survives it, a bad one is found, and a seed is a
//! replay.

use std::sync::atomic::{AtomicI64, Ordering};
use tantu_client::{AckLevel, ClientError};
use tantu_flow::{Module, Setup, SourceOptions, StartFrom, Topologies, Var, hash_by};
use tantu_local::sim::{Failure, Faults, Sim, Told, seeds};
use tantu_path::{Map, Navigate, agg, path};

const USERS: [&str; 3] = ["ann", "bob", "cleo"];

/// Counts visits exactly, and remembers the last visit of each user.
struct Visits;

impl Module for Visits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<(String, i64)>("*visits", hash_by(|visit: &(String, i64)| visit.0.clone()));
        let mut counter = topologies.microbatch("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        counter.source_from(&visits, StartFrom::Beginning, |m, batch| {
            let visit = m.explode_microbatch(batch);
            let user = m.each(visit, |visit| visit.0.clone());
            m.compound_agg(counts, agg::key(user, agg::count()));
        });
        let mut last = topologies.stream("last");
        let seen = last.pstate::<Map<String, i64>>("$$seen");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        last.source_with(&visits, all, |b, visit| {
            let (user, number) = b.expand(visit, |visit| visit.clone());
            b.local_transform(seen, path().key(user).term_val(number));
        });
        topologies.query("count", |q, (user,): (Var<str>,)| {
            q.hash_partition(user);
            let count = q.local_select(counts, path().key(user).null_to_val(0));
            q.origin_partition();
            count
        });
    }
}

/// Counts visits where a record may be processed twice.
struct Hasty;

impl Module for Hasty {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<(String, i64)>("*visits", hash_by(|visit: &(String, i64)| visit.0.clone()));
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&visits, all, |b, visit| {
            let user = b.each(visit, |visit| visit.0.clone());
            b.compound_agg(counts, agg::key(user, agg::count()));
            // What follows the hop may fail after the count was written.
            let length = b.each(user, |user| user.len() as i64);
            b.hash_partition(length);
            b.filter(length, |length| length > 100);
        });
    }
}

fn visit(sim: &Sim, count: i64) -> Result<(i64, i64), ClientError> {
    let visits = sim.depot::<(String, i64)>("*visits")?;
    let (mut told, mut tried) = (0, 0);
    for number in 0..count {
        let user = (*sim.pick(&USERS)).to_string();
        let ack = *sim.pick(&[AckLevel::Ack, AckLevel::AppendAck]);
        tried += 1;
        match visits.append_with(&(user, number), ack) {
            Ok(_) | Err(ClientError::ProcessingFailed(_)) => told += 1,
            Err(ClientError::StorageFull(_) | ClientError::Stopped { .. } | ClientError::Closing) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((told, tried))
}

fn counted(sim: &Sim) -> Result<i64, ClientError> {
    let counts = sim.pstate::<Map<String, i64>>("$$counts")?;
    USERS.iter().map(|user| Ok(counts.select_one(path().key(*user))?.unwrap_or_default())).sum()
}

/// As many as the depot holds.
fn held(sim: &Sim) -> Result<i64, ClientError> {
    let visits = sim.depot::<(String, i64)>("*visits")?;
    (0..sim.task_count()).map(|task| visits.offsets(task).map(|of| (of.end.0 - of.start.0) as i64)).sum()
}

fn exact(sim: &Sim) -> Told {
    let (told, tried) = visit(sim, 40)?;
    let asked = sim.insist(|| sim.query::<(String,), i64>("count")?.invoke(&("ann".to_string(),)))?;
    assert!((0..=tried).contains(&asked));
    sim.settle();
    let (counted, held) = (counted(sim)?, held(sim)?);
    assert_eq!(counted, held, "each visit is counted once");
    assert!((told..=tried).contains(&held), "{told} acknowledged, {tried} tried, {held} in the depot");
    Ok(())
}

fn roughly(sim: &Sim) -> Told {
    visit(sim, 30)?;
    sim.settle();
    assert_eq!(counted(sim)?, held(sim)?, "each visit is counted once");
    Ok(())
}

#[test]
fn a_module_that_keeps_its_promises_survives_all_weather_and_the_weather_comes() {
    let summary = seeds(60).of::<Visits>(exact).tell(0, 60).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.story_count, 60);
    assert!(summary.life_count > 120, "{summary}");
    for fault in [
        "power cut",
        "kill",
        "crash in recovery",
        "lost sector",
        "EIO write",
        "ENOSPC",
        "delayed batch",
        "slow request",
        "panicked closure",
    ] {
        assert!(summary.count(fault) > 0, "{fault} never came:\n{summary}");
    }
}

#[test]
fn a_stream_that_counts_is_found_to_count_twice_and_its_seed_finds_it_again() {
    let simulation = seeds(1).of::<Hasty>(roughly);
    let Failure { seed, what, happened } = simulation.tell(0, 200).expect_err("a retry counts again");
    assert!(what.contains("each visit is counted once"), "{what}");
    assert!(happened.iter().any(|line| line.contains("life 0 begins")), "{happened:?}");
    let again = simulation.tell_one(seed).expect_err("a seed is a replay");
    assert_eq!((again.seed, again.what, again.happened), (seed, what, happened));
    // Where nothing fails, nothing is tried again.
    seeds(20).faults(Faults::none()).run::<Hasty>(roughly);
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_a_kill_and_a_close() {
    seeds(10).faults(Faults::none()).tasks(2).threads(2).run::<Visits>(|sim| {
        let visits = sim.depot::<(String, i64)>("*visits")?;
        let last = sim.pstate::<Map<String, i64>>("$$seen")?;
        for (number, end) in (0i64..).zip([Sim::cut_power, Sim::kill, |sim: &Sim| assert!(sim.restart())]) {
            visits.append(&("ann".to_string(), number))?;
            end(sim);
            assert_eq!(last.select_one(path().key("ann"))?, Some(number), "the handles go on in the next life");
            assert_eq!(i64::from(sim.ended_count()), number + 1);
        }
        sim.settle();
        assert_eq!(counted(sim)?, 3);
        Ok(())
    });
}

#[test]
fn the_same_seed_is_the_same_story_and_another_seed_is_another() {
    let simulation = seeds(1).of::<Visits>(exact);
    let hashes: Vec<u64> = [7, 7, 8].map(|seed| simulation.tell_one(seed).expect("no finding").trace_hash).into();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

static CALLS: AtomicI64 = AtomicI64::new(0);

/// What it writes depends on what this process did before.
struct Forgetful;

impl Module for Forgetful {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<(String, i64)>("*visits", hash_by(|visit: &(String, i64)| visit.0.clone()));
        let mut s = topologies.stream("s");
        let seen = s.pstate::<Map<String, i64>>("$$counts");
        s.source(&visits, |b, visit| {
            let user = b.each(visit, |visit| visit.0.clone());
            let call = b.each(visit, |_| CALLS.fetch_add(1, Ordering::Relaxed));
            b.local_transform(seen, path().key(user).term_val(call));
        });
    }
}

#[test]
fn a_module_that_no_seed_replays_is_refused() {
    let story = |sim: &Sim| -> Told { Ok(visit(sim, 5).map(drop)?) };
    let failure = seeds(1).of::<Forgetful>(story).tell(0, 1).expect_err("it is another story");
    assert!(failure.what.contains("depends on something that no seed replays"), "{failure}");
}
