//! Requests with many in flight: awaited, waited for by several threads, and of bytes.

#![allow(clippy::unwrap_used, reason = "a story is a test")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "clients are ordinary threads")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
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
