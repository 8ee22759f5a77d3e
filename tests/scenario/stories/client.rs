//! Requests with many in flight: awaited, waited for by several threads, and of bytes.

#![allow(clippy::unwrap_used, reason = "a story is a test")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "clients are ordinary threads")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tantu::prelude::*;

struct Frames;

impl Module for Frames {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let frames = setup.declare_depot::<Vec<u8>>("*frames", hash_by(|frame: &Vec<u8>| i64::from(frame[0])));
        let mut s = topologies.stream("sizes");
        let sizes = s.pstate::<Map<i64, i64>>("$$sizes");
        s.source(&frames, |b, frame| {
            let kind = b.each(frame, |frame| i64::from(frame[0]));
            let size = b.each(frame, |frame| frame.len() as i64);
            b.compound_agg(sizes, agg::key(kind, agg::sum(size)));
        });
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor: it sleeps until it is woken, and counts how often it was.
fn block_on<T>(future: impl Future<Output = T>) -> (T, usize) {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    for polls in 1.. {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return (value, polls);
        }
        std::thread::park();
    }
    unreachable!("it is ready before a usize is counted through")
}

fn cluster() -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Frames>(LaunchConfig::new(4, 2)).unwrap();
    cluster
}

#[test]
fn awaited_appends_are_woken_once_each_although_no_thread_waits() {
    let cluster = cluster();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    let pending: Vec<_> = (0..200u8).map(|n| frames.append_async(&vec![n % 4; 10], AckLevel::Ack).unwrap()).collect();
    let mut polls_all = 0;
    for append in pending {
        let (offset, polls) = block_on(append);
        assert!(offset.unwrap().0 < 200);
        polls_all += polls;
    }
    assert!(polls_all <= 2 * 200 + 20, "a future is polled when it was woken, not all the time: {polls_all}");
    let sizes = cluster.pstate::<Map<i64, i64>>("Frames", "$$sizes").unwrap();
    let (rows, _) = block_on(sizes.select_async(path().key(3)).unwrap());
    assert_eq!(rows.unwrap(), [Some(500)]);
    cluster.close().unwrap();
}

#[test]
fn threads_that_share_a_handle_each_get_their_own_answers() {
    let cluster = cluster();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    std::thread::scope(|scope| {
        for kind in 0..8u8 {
            let frames = frames.clone();
            scope.spawn(move || {
                let mut last = None;
                for _ in 0..100 {
                    let offset = frames.append_with(&vec![kind], AckLevel::AppendAck).unwrap();
                    assert!(last.is_none_or(|last| last < offset), "of one thread to one partition they ascend");
                    last = Some(offset);
                }
            });
        }
    });
    for kind in 0..8 {
        // Level APPEND_ACK does not say that it was processed: one more of level ACK does.
        frames.append(&vec![kind as u8; 2]).unwrap();
        let sizes = cluster.pstate::<Map<i64, i64>>("Frames", "$$sizes").unwrap();
        assert_eq!(sizes.select_one(path().key(kind)).unwrap(), Some(102));
    }
    cluster.close().unwrap();
}

#[test]
fn a_request_nobody_wants_any_more_leaves_the_others_alone() {
    let cluster = cluster();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    for round in 0..50 {
        let dropped = frames.append_async(&vec![1; 3], AckLevel::Ack).unwrap();
        let kept = frames.append_async(&vec![1; 3], AckLevel::Ack).unwrap();
        drop(dropped);
        assert_eq!(kept.wait().unwrap().0, 2 * round + 1, "both were appended, in order");
    }
    cluster.close().unwrap();
}

/// Whether the code of [`Slow`] may end, by test.
static MAY_END: [AtomicBool; 4] = [const { AtomicBool::new(false) }; 4];

/// A stream whose records take as long as the test wants, and a query that never ends.
struct Slow<const TEST: usize>;

impl<const TEST: usize> Module for Slow<TEST> {
    fn name() -> String {
        "Slow".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", hash_by(|n: &i64| *n));
        let mut s = topologies.stream("slow");
        let seen = s.pstate::<Map<i64, i64>>("$$seen");
        s.source(&depot, |b, n| {
            b.repeat(n, |b, again, n| {
                b.yield_if_overtime();
                let goes_on = b.each((), |()| {
                    std::thread::sleep(Duration::from_micros(200));
                    !MAY_END[TEST].load(Ordering::Acquire)
                });
                b.if_else(goes_on, |b| b.continue_loop(again, n), |b| b.compound_agg(seen, agg::key(n, agg::count())));
            });
        });
        topologies.query("endless", |q, (n,): (Var<i64>,)| {
            let last = q.looped(n, |b, again, n| {
                b.hash_partition(n);
                b.yield_if_overtime();
                let next = b.each(n, |n| n + 1);
                let ends = b.each(next, |next| next < 0);
                b.if_else(ends, |b| b.emit_loop(again, next), |b| b.continue_loop(again, next));
            });
            q.origin_partition();
            last
        });
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind_in_the_engine() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Slow<0>>(LaunchConfig { query_timeout_ms: 600_000, ..LaunchConfig::new(4, 2) }).unwrap();
    let work = || cluster.client_work("Slow").unwrap();
    let connection = cluster.connect("Slow").unwrap();
    let endless = Query::<(i64,), i64>::new(&connection, "endless").unwrap();
    let depot = Depot::<i64>::new(&connection, "*in").unwrap();
    // A future that is dropped.
    let calls: Vec<_> = (0..5).map(|n| endless.invoke_async(&(n * 1_000_000,)).unwrap()).collect();
    until("the calls run", || work().calls == 5);
    drop(calls);
    until("calls go on that nobody waits for", || (work().calls, work().events) == (0, 0));
    // A connection that is closed, with calls and appends that wait.
    let calls: Vec<_> = (0..3).map(|n| endless.invoke_async(&(n * 1_000_000,)).unwrap()).collect();
    let appends: Vec<_> = (0..8).map(|n| depot.append_async(&n, AckLevel::Ack).unwrap()).collect();
    depot.flush();
    until("the calls run and the appends wait", || (work().calls, work().appends) == (3, 8));
    let other = cluster.depot::<i64>("Slow", "*in").unwrap();
    let kept = other.append_async(&100, AckLevel::Ack).unwrap();
    until("another client's append waits too", || work().appends == 9);
    drop((calls, appends, endless, depot, connection));
    until("something of the client is left", || (work().calls, work().events, work().appends) == (0, 0, 1));
    MAY_END[0].store(true, Ordering::Release);
    assert!(kept.wait().is_ok(), "the other client's append is answered");
    cluster.close().unwrap();
}

#[test]
fn calls_of_one_client_that_do_not_end_keep_out_nobody_else_and_can_be_given_up() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Slow<3>>(LaunchConfig { query_timeout_ms: 600_000, ..LaunchConfig::new(1, 1) }).unwrap();
    let work = || cluster.client_work("Slow").unwrap();
    let connections = [(); 3].map(|()| cluster.connect("Slow").unwrap());
    let endless = connections.each_ref().map(|it| Query::<(i64,), i64>::new(it, "endless").unwrap());
    let half = |of: usize| (0..2_048).map(|n| endless[of].invoke_async(&(n,)).unwrap()).collect::<Vec<_>>();
    let (mut calls, others) = (half(0), half(1));
    connections.iter().for_each(|it| Depot::<i64>::new(it, "*in").unwrap().flush());
    until("the calls run", || work().calls == 4_096);
    let refused = endless[2].invoke(&(0,)).unwrap_err();
    assert!(matches!(refused, ClientError::Busy(_)), "{refused}");
    assert_eq!(refused.outcome(), Outcome::NotAppended);
    let other = cluster.depot::<i64>("Slow", "*in").unwrap();
    assert_eq!(other.append_with(&1, AckLevel::AppendAck).unwrap(), Offset(0), "others go on");
    calls.truncate(1_000);
    until("what is given up ends", || work().calls == 3_048);
    drop((calls, others, endless, connections));
    until("something of the client is left", || (work().calls, work().events) == (0, 0));
    MAY_END[3].store(true, Ordering::Release);
    cluster.close().unwrap();
}

/// Whether the thread of [`Stuck`] stands in user code, and whether it may go on, by test.
static STANDS: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
static GOES_ON: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// User code that lets its thread do nothing else.
struct Stuck<const TEST: usize>;

impl<const TEST: usize> Module for Stuck<TEST> {
    fn name() -> String {
        "Stuck".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*in", random());
        topologies.stream("stuck").source(&depot, |b, n| {
            b.each(n, |n| {
                STANDS[TEST].store(true, Ordering::Release);
                while !GOES_ON[TEST].load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                n
            });
        });
        topologies.microbatch("batches").source(&depot, |_, _| {});
        topologies.query("endless", |q, (n,): (Var<i64>,)| {
            let last = q.looped(n, |b, again, n| {
                b.hash_partition(n);
                b.yield_if_overtime();
                let next = b.each(n, |n| n + 1);
                let ends = b.each(next, |next| next < 0);
                b.if_else(ends, |b| b.emit_loop(again, next), |b| b.continue_loop(again, next));
            });
            q.origin_partition();
            last
        });
    }
}

/// A module whose one thread stands still.
fn stuck<const TEST: usize>() -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Stuck<TEST>>(LaunchConfig { query_timeout_ms: 600_000, ..LaunchConfig::new(1, 1) }).unwrap();
    cluster.depot::<i64>("Stuck", "*in").unwrap().append_with(&1, AckLevel::AppendAck).unwrap();
    until("the thread stands", || STANDS[TEST].load(Ordering::Acquire));
    cluster
}

#[test]
fn a_client_that_goes_away_while_its_rings_are_full_leaves_nothing_behind() {
    let cluster = stuck::<0>();
    let connection = cluster.connect("Stuck").unwrap();
    let endless = Query::<(i64,), i64>::new(&connection, "endless").unwrap();
    // 256 batches of 32 fill a ring.
    let calls: Vec<_> = (0..2_000).map(|n| endless.invoke_async(&(n,)).unwrap()).collect();
    let depot = Depot::<i64>::new(&connection, "*in").unwrap();
    let reads: Vec<_> =
        (0..6_500).map(|_| depot.read_page_async(0, Offset(0), Offset(0), PageMax::default())).collect();
    drop((calls, reads, depot, endless, connection));
    GOES_ON[0].store(true, Ordering::Release);
    // All that was sent has been taken in when others are answered again.
    let other = cluster.depot::<i64>("Stuck", "*in").unwrap();
    other.append(&2).unwrap();
    until("calls go on that nobody waits for", || {
        let work = cluster.client_work("Stuck").unwrap();
        (work.calls, work.events) == (0, 0)
    });
    cluster.close().unwrap();
}

#[test]
fn nothing_is_waited_for_longer_than_its_time_out_when_the_engine_stands() {
    let cluster = stuck::<1>();
    let timeout = Duration::from_millis(100);
    let options = ClientOptions { control_timeout: timeout, query_timeout: timeout, ..ClientOptions::default() };
    let connection = cluster.connect_with("Stuck", options).unwrap();
    let batches = Microbatch::new(&connection, "batches").unwrap();
    let late = Err(ClientError::TimedOut { asked: Asked::Topology, timeout });
    assert_eq!(batches.status().map(drop), late);
    assert_eq!(batches.pause(), late);
    assert_eq!(batches.resume(), late);
    assert_eq!(batches.snapshot().map(drop), late);
    assert_eq!(batches.processed_offsets("*in").map(drop), late);
    let waited = ClientError::TimedOut { asked: Asked::Topology, timeout: timeout + Duration::from_millis(50) };
    assert_eq!(batches.wait_for_processed(9, Duration::from_millis(50)), Err(waited));
    assert_eq!(Stream::new(&connection, "stuck").unwrap().troubles().map(drop), late);
    let late = ClientError::TimedOut { asked: Asked::Read, timeout };
    assert_eq!(Query::<(i64,), i64>::new(&connection, "endless").unwrap().invoke(&(1,)), Err(late));
    GOES_ON[1].store(true, Ordering::Release);
    until("what was asked for was done", || batches.status().is_ok_and(|status| !status.paused));
    cluster.close().unwrap();
}

/// Polls another future when it is woken, at once.
struct PollNow(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for PollNow {
    fn wake(self: Arc<Self>) {
        if let Some(mut other) = self.0.lock().unwrap().take() {
            assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "it is answered");
        }
    }
}

#[test]
fn a_waker_may_poll_another_request_of_the_connection() {
    let cluster = cluster();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let first = frames.append_async(&vec![1; 3], AckLevel::AppendAck).unwrap();
        let mut second = frames.append_async(&vec![1; 3], AckLevel::Ack).unwrap();
        let first = async move { assert!(first.await.is_ok()) };
        let waker = Waker::from(Arc::new(PollNow(Mutex::new(Some(Box::pin(first))))));
        let mut context = Context::from_waker(&waker);
        while Pin::new(&mut second).poll(&mut context).is_pending() {
            std::thread::sleep(Duration::from_millis(1));
        }
        done.send(()).unwrap();
    });
    assert!(is_done.recv_timeout(Duration::from_secs(20)).is_ok(), "it waits for itself");
    cluster.close().unwrap();
}

#[test]
fn an_append_that_takes_too_long_says_that_its_outcome_is_unknown_and_sent_again_it_is_made_once() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Slow<1>>(LaunchConfig::new(4, 2)).unwrap();
    let options = ClientOptions { depot_timeout: Duration::from_millis(100), ..ClientOptions::default() };
    let connection = cluster.connect_with("Slow", options).unwrap();
    let depot = Depot::<i64>::new(&connection, "*in").unwrap();
    let producer = depot.producer().unwrap();
    let numbered = producer.number(&7).unwrap();
    let offset = producer.send(&numbered, AckLevel::AppendAck).unwrap();
    let late = producer.send(&numbered, AckLevel::Ack).unwrap_err();
    assert_eq!(late, ClientError::TimedOut { asked: Asked::Append, timeout: Duration::from_millis(100) });
    assert_eq!(late.outcome(), Outcome::Unknown);
    until("the engine goes on waiting", || cluster.client_work("Slow").unwrap().appends == 0);
    let (late, _) = block_on(producer.send_async(&numbered, AckLevel::Ack).unwrap());
    assert!(matches!(late, Err(ClientError::TimedOut { .. })), "an awaited one too");
    MAY_END[1].store(true, Ordering::Release);
    until("it is answered once it is processed", || producer.send(&numbered, AckLevel::Ack) == Ok(offset));
    let seen = cluster.pstate::<Map<i64, i64>>("Slow", "$$seen").unwrap();
    assert_eq!(seen.select_one(path().key(7)).unwrap(), Some(1));
    cluster.close().unwrap();
}

#[test]
fn an_append_can_be_waited_for_again_and_again_by_threads_that_look_or_sleep() {
    let cluster = InProcessCluster::create().unwrap();
    let spin = Duration::from_micros(200);
    cluster.launch::<Slow<2>>(LaunchConfig { spin, ..LaunchConfig::new(4, 2) }).unwrap();
    for spin in [Duration::ZERO, spin, Duration::from_millis(100)] {
        MAY_END[2].store(false, Ordering::Release);
        let connection = cluster.connect_with("Slow", ClientOptions { spin, ..ClientOptions::default() }).unwrap();
        let depot = Depot::<i64>::new(&connection, "*in").unwrap();
        let mut pending = depot.append_async(&7, AckLevel::Ack).unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            let began = Instant::now();
            assert!(pending.wait_for(timeout).is_none(), "it is not processed");
            assert!(began.elapsed() >= timeout, "{:?}", began.elapsed());
        }
        MAY_END[2].store(true, Ordering::Release);
        let answer = pending.wait_for(Duration::from_secs(60)).expect("it is processed by then");
        assert!(answer.is_ok(), "{answer:?}");
    }
    cluster.close().unwrap();
}

#[test]
fn appends_that_wait_for_each_other_travel_together_and_none_waits_longer_than_it_may() {
    let cluster = cluster();
    let options = ClientOptions { flush_delay: Duration::from_millis(30), ..ClientOptions::default() };
    let connection = cluster.connect_with("Frames", options).unwrap();
    let frames = Depot::<Vec<u8>>::new(&connection, "*frames").unwrap();
    let began = Instant::now();
    frames.append(&vec![0]).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(30), "{:?}", began.elapsed());
    // One that nobody waits for leaves all the same.
    let began = Instant::now();
    let pending: Vec<_> = (0..4u8).map(|n| frames.append_async(&vec![n], AckLevel::AppendAck).unwrap()).collect();
    let shared = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    let count = || (0..4).map(|partition| shared.offsets(partition).unwrap().end.0).sum::<u64>();
    assert!(count() < 5 || began.elapsed() >= Duration::from_millis(30), "they wait");
    until("they leave", || count() == 5);
    assert!(pending.into_iter().all(|append| append.wait().is_ok()));
    // Requests of other kinds do not wait.
    let began = Instant::now();
    assert!((0..20).all(|_| frames.offsets(0).is_ok()));
    assert!(began.elapsed() < Duration::from_millis(20 * 30), "{:?}", began.elapsed());
    cluster.close().unwrap();
}

#[test]
fn a_request_to_a_module_that_has_ended_did_nothing() {
    let cluster = cluster();
    let frames = cluster.depot::<Vec<u8>>("Frames", "*frames").unwrap();
    frames.append(&vec![1]).unwrap();
    cluster.close().unwrap();
    let refused = frames.append(&vec![1]).unwrap_err();
    assert!(matches!(refused, ClientError::NotRunning(_)), "{refused}");
    assert_eq!(refused.outcome(), Outcome::NotAppended);
}

struct Labels;

impl Module for Labels {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|number: &i64| *number));
        let mut s = topologies.stream("labels");
        let labels = s.pstate::<Map<i64, String>>("$$labels");
        let single = s.pstate::<Map<String, i64>>("$$single");
        s.source(&numbers, |b, number| {
            let label = b.each(number, label);
            b.local_transform(labels, path().key(number).term_val(label));
            b.hash_partition(label);
            b.compound_agg(single, agg::key(label, agg::sum(number)));
        });
    }
}

/// Short or long, by the number.
fn label(number: i64) -> String {
    format!("{number} {}", "x".repeat(number as usize % 50))
}

#[test]
fn selects_of_single_entries_find_them_in_memory_and_on_the_disk_and_say_what_is_missing() {
    const COUNT: i64 = 4_000;
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        cluster.launch::<Labels>(LaunchConfig::new(4, 2)).unwrap();
        if round == 0 {
            let numbers = cluster.depot::<i64>("Labels", "*numbers").unwrap();
            let appends: Vec<_> = (0..COUNT).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
            for append in appends {
                append.wait().unwrap();
            }
        }
        let labels = cluster.pstate::<Map<i64, String>>("Labels", "$$labels").unwrap();
        let single = cluster.pstate::<Map<String, i64>>("Labels", "$$single").unwrap();
        // All at once; the second round finds nothing of them in memory.
        let keys = || (0..COUNT + 500).step_by(3);
        let nullable: Vec<_> = keys().map(|n| labels.select_async(path().key(n)).unwrap()).collect();
        let there: Vec<_> = keys().map(|n| labels.select_async(path().must(n)).unwrap()).collect();
        let sums: Vec<_> = keys().map(|n| single.select_async(path().key(label(n))).unwrap()).collect();
        for (n, ((nullable, there), sum)) in keys().zip(nullable.into_iter().zip(there).zip(sums)) {
            let expected = (n < COUNT).then(|| label(n));
            assert_eq!(nullable.wait().unwrap(), std::slice::from_ref(&expected), "{n} in round {round}");
            assert_eq!(there.wait().unwrap(), Vec::from_iter(expected), "{n} in round {round}");
            assert_eq!(sum.wait().unwrap(), [(n < COUNT).then_some(n)], "{n} in round {round}");
        }
        cluster.close().unwrap();
    }
}
