//! A task thread that panics all the same: the module stops, and says why.
#![cfg(debug_assertions)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test on the real machine")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tantu_base::planted::{Bug, plant};
use tantu_client::ClientError;
use tantu_flow::{Module, Setup, SourceOptions, StartFrom, Topologies, hash_by};
use tantu_local::{ClusterError, InProcessCluster, LaunchConfig};
use tantu_net::letter::AckLevel;
use tantu_path::{Map, Navigate, agg, path};

static POISON: AtomicBool = AtomicBool::new(true);

/// Counts; at one number its thread gets a bug.
struct Counts;

impl Module for Counts {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
        let mut s = topologies.stream("counts");
        let counts = s.pstate::<Map<i64, i64>>("$$counts");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        s.source_with(&numbers, all, |b, n| {
            let n = b.each(n, |n| {
                if n == 13 && POISON.load(Ordering::Acquire) {
                    // It stays planted: the thread ends with it.
                    std::mem::forget(plant(Bug::ThreadPanics));
                }
                n
            });
            b.compound_agg(counts, agg::key(n, agg::count()));
        });
    }
}

#[test]
fn a_task_thread_that_panics_stops_the_module_with_its_reason_and_a_restart_goes_on() {
    let cluster = InProcessCluster::create().unwrap();
    let config = LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() };
    cluster.launch::<Counts>(config).unwrap();
    let numbers = cluster.depot::<i64>("Counts", "*numbers").unwrap();
    for n in 0..13 {
        numbers.append(&n).unwrap();
    }
    let began = Instant::now();
    numbers.append_with(&13, AckLevel::AppendAck).ok();
    // Whichever thread it asks, each client is told soon.
    let told = (0..).find_map(|n| {
        assert!(began.elapsed() < Duration::from_secs(5), "nobody says that the module has stopped");
        std::thread::yield_now();
        numbers.append_with(&(14 + n % 8), AckLevel::AppendAck).err()
    });
    let text = told.unwrap().to_string();
    assert!(text.contains("panicked: a panic that was planted"), "{text}");
    let error = numbers.append(&99).unwrap_err();
    let (ClientError::NotRunning(text) | ClientError::Stopped { why: text, .. }) = &error else { panic!("{error}") };
    assert!(text.contains("panicked"), "{text}");
    let error = cluster.restart::<Counts>().unwrap_err();
    assert!(matches!(&error, ClusterError::Stopped { what, .. } if what.contains("panicked")), "{error}");
    POISON.store(false, Ordering::Release);
    cluster.launch::<Counts>(config).unwrap();
    let counts = cluster.pstate::<Map<i64, i64>>("Counts", "$$counts").unwrap();
    while counts.select_one(path().key(13)).unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "what was acknowledged is not processed after the restart");
        std::thread::yield_now();
    }
    // Some of them may have been processed again.
    (0..13i64).for_each(|n| assert!(counts.select_one(path().key(n)).unwrap() >= Some(1), "{n}"));
    cluster.close().unwrap();
}
