//! What a hop costs between two tasks, of one thread or of two: real task threads, and so many events under way each
//! way all the time.

use super::threads::{Threads, Watch};
use super::{FlowArgs, Took};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Instant;
use tantu_client::Depot;
use tantu_flow::{Module, Setup, Topologies, custom};
use tantu_net::letter::AckLevel;

const STARTS: &str = "*starts";

/// A number lives on the task of its parity, and is counted down one at a time.
struct Hops;

impl Module for Hops {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let starts = setup.declare_depot::<i64>(STARTS, custom(|n: &i64, _| n % 2));
        topologies.stream("hops").source(&starts, |b, n| {
            b.repeat(n, |b, rounds, n| {
                b.filter(n, |n| n > 1);
                let less = b.each(n, |n| n - 1);
                let to = b.each(less, |less| less % 2);
                b.direct_partition(to);
                b.continue_loop(rounds, less);
            });
        });
    }
}

/// Numbers to start with, so many of each parity, and how many hops they make together.
fn starts(args: &FlowArgs, common: &Common) -> (Vec<i64>, u64) {
    let each = (args.events(common) / (2 * args.letters)).max(2) as i64;
    let even = each + each % 2;
    let starts: Vec<i64> = (0..2 * args.letters as i64).map(|n| even + n % 2).collect();
    let hops = starts.iter().map(|n| n.unsigned_abs() - 1).sum();
    (starts, hops)
}

pub(super) fn tantu(args: &FlowArgs, common: &Common, threads: u32) -> Result<Figures, BenchError> {
    let (starts, hops) = starts(args, common);
    let running = Threads::start::<Hops>(common, 2, threads, Watch::Nothing)?;
    let depot = Depot::<i64>::new(&running.connection, STARTS)?;
    let all = || {
        let began = (running.allocation_count(), Instant::now());
        let sent: Result<Vec<_>, _> = starts.iter().map(|n| depot.append_async(n, AckLevel::Ack)).collect();
        sent?.into_iter().try_for_each(|answer| answer.wait().map(drop))?;
        let ns = began.1.elapsed().as_nanos() as f64 * f64::from(threads);
        let allocations = (running.allocation_count() - began.0) as f64;
        Ok::<_, BenchError>(Took { ns, allocations, events: hops as f64 })
    };
    all()?;
    Ok(all()?.figures())
}

/// One countdown step by hand: where it goes, and what goes there.
fn step(n: i64) -> Option<(usize, i64)> {
    let n = std::hint::black_box(n);
    (n > 1).then(|| (((n - 1) % 2) as usize, n - 1))
}

fn same(starts: &[i64]) {
    let mut queues = [VecDeque::new(), VecDeque::new()];
    starts.iter().for_each(|n| queues[(n % 2) as usize].push_back(*n));
    while !queues.iter().all(VecDeque::is_empty) {
        for at in 0..2 {
            for _ in 0..queues[at].len() {
                let n = queues[at].pop_front().expect("invariant: counted");
                if let Some((to, n)) = step(n) {
                    queues[to].push_back(n);
                }
            }
        }
    }
}

/// Takes vectors of numbers, and sends them on one lower, until none is left.
fn other_half(mut left: usize, mut open: Vec<i64>, inward: &Receiver<Vec<i64>>, outward: &SyncSender<Vec<i64>>) {
    loop {
        let before = open.len();
        open = open.into_iter().filter_map(|n| step(n).map(|(_, n)| n)).collect();
        left -= before - open.len();
        // Nobody takes what is sent after the last number.
        let _ = outward.send(std::mem::take(&mut open));
        if left == 0 {
            return;
        }
        open = loop {
            match inward.try_recv() {
                Ok(numbers) => break numbers,
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
                Err(TryRecvError::Disconnected) => return,
            }
        };
    }
}

fn other(starts: &[i64]) {
    // Every number ends on the task of the odd ones.
    let halves = [0, 1].map(|of| starts.iter().copied().filter(|n| n % 2 == of).collect::<Vec<_>>());
    let ((to_odd, at_odd), (to_even, at_even)) = (sync_channel(4), sync_channel(4));
    let [even, odd] = halves;
    let count = starts.len();
    std::thread::scope(|scope| {
        scope.spawn(move || other_half(usize::MAX, even, &at_even, &to_odd));
        scope.spawn(move || other_half(count, odd, &at_odd, &to_even));
    });
}

pub(super) fn bound(args: &FlowArgs, common: &Common, threads: u32) -> Result<Figures, BenchError> {
    let (starts, hops) = starts(args, common);
    let all = || if threads == 1 { same(&starts) } else { other(&starts) };
    all();
    let began = (crate::alloc::allocation_count(), Instant::now());
    all();
    let ns = began.1.elapsed().as_nanos() as f64 * f64::from(threads);
    let allocations = (crate::alloc::allocation_count() - began.0) as f64;
    Ok(Took { ns, allocations, events: hops as f64 }.figures())
}
