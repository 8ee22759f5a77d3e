//! A cluster with nothing to do uses next to nothing. Alone in its file, because it measures its own process.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::fs;
use std::time::{Duration, Instant};
use tantu::demo::WordCount;
use tantu::prelude::*;

/// Processor time of this process so far, in clock ticks of 10 ms: fields 14 and 15 of its stat file.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Percent of one core over three seconds.
fn idle_percent(threads: u32) -> f64 {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<WordCount>(LaunchConfig { tasks: 16, threads, ..LaunchConfig::default() }).unwrap();
    let lines = cluster.depot::<String>(&WordCount::name(), "*lines").unwrap();
    for n in 0..100 {
        lines.append(&format!("some words before the rest {n}")).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    let (began, before) = (Instant::now(), ticks());
    std::thread::sleep(Duration::from_secs(3));
    let percent = (ticks() - before) as f64 / began.elapsed().as_secs_f64();
    cluster.close().unwrap();
    percent
}

#[test]
fn an_idle_cluster_uses_less_than_one_percent_of_a_core() {
    for threads in [2, 8] {
        let percent = idle_percent(threads);
        println!("{threads} threads: {percent:.2} % of one core");
        assert!(percent < 1.0, "{threads} task threads used {percent:.2} % of a core while idle");
    }
}
