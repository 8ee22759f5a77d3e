//! The ring and the sleep protocol under the model checker: every interleaving, within its bounds.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p tantu-net --release --test loom`; without that it is empty.
#![cfg(loom)]

use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;
use tantu_base::door::Peer;
use tantu_base::id::Category;
use tantu_net::{Bell, Mail, Sleeper, announce, ring};

struct NotifyBell(loom::sync::Arc<Notify>);

impl Bell for NotifyBell {
    fn ring(&self) {
        self.0.notify();
    }
}

#[test]
fn values_arrive_once_and_in_order_around_a_small_ring() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<Box<u32>>(2);
        let sending = thread::spawn(move || {
            for n in 0..3 {
                let mut value = Box::new(n);
                while let Err(back) = producer.push(value) {
                    value = back;
                    thread::yield_now();
                }
            }
        });
        let mut got = Vec::new();
        while got.len() < 3 {
            match consumer.pop() {
                Some(value) => got.push(*value),
                None => thread::yield_now(),
            }
        }
        assert_eq!(got, [0, 1, 2]);
        sending.join().unwrap();
        assert!(consumer.is_finished());
    });
}

#[test]
fn a_batch_arrives_whole_and_what_nobody_received_is_dropped() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<Arc<()>>(4);
        let value = Arc::new(());
        let mut values = vec![Arc::clone(&value), Arc::clone(&value), Arc::clone(&value)].into_iter();
        let sending = thread::spawn(move || assert_eq!(producer.push_batch(&mut values), 3));
        let mut got = Vec::new();
        let count = consumer.pop_batch(&mut got, 2);
        assert!(count == 0 || count == 2, "a batch has one publish");
        drop(consumer);
        sending.join().unwrap();
        drop(got);
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_finished_ring_has_nothing_left() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<u32>(2);
        let sending = thread::spawn(move || {
            producer.push(7).unwrap();
        });
        let mut got = 0;
        while !consumer.is_finished() {
            if consumer.pop().is_some() {
                got += 1;
            } else {
                thread::yield_now();
            }
        }
        assert_eq!(got, 1, "finished means drained");
        sending.join().unwrap();
    });
}

/// A lost wake-up would leave the receiver waiting for ever, which the model checker reports as a deadlock.
fn sleep_until_all_has_come(senders: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if senders > 1 { 3 } else { 6 });
    model.check(move || {
        let notify = loom::sync::Arc::new(Notify::new());
        let sleeper = Arc::new(Sleeper::new());
        sleeper.set_bell(Arc::new(NotifyBell(notify.clone())));
        let mut consumers = Vec::new();
        let mut threads = Vec::new();
        for n in 0..senders {
            let (mut producer, consumer) = ring::<usize>(2);
            consumers.push(consumer);
            let sleeper = Arc::clone(&sleeper);
            threads.push(thread::spawn(move || {
                producer.push(n).unwrap();
                announce();
                sleeper.wake();
            }));
        }
        let mut count = 0;
        while count < senders {
            count += consumers.iter_mut().filter_map(|consumer| consumer.pop()).count();
            if count < senders && sleeper.lie_down(|| consumers.iter().any(|consumer| !consumer.is_empty())) {
                notify.wait();
                sleeper.get_up();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_lost_with_one_sender() {
    sleep_until_all_has_come(1);
}

#[test]
fn no_wake_up_is_lost_with_two_senders() {
    sleep_until_all_has_come(2);
}

/// As a lane does it: only rings that the mail names are looked at, and sleep trusts the mail alone.
#[test]
fn what_the_mail_does_not_name_is_empty() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let notify = loom::sync::Arc::new(Notify::new());
        let sleeper = Arc::new(Sleeper::new());
        sleeper.set_bell(Arc::new(NotifyBell(notify.clone())));
        let (mut producer, mut consumer) = ring::<u32>(4);
        let sender = Arc::clone(&sleeper);
        let sending = thread::spawn(move || {
            for n in 0..2 {
                producer.push(n).unwrap();
                sender.mail.post(Category::Client, Mail::bit(Peer(1)));
            }
            announce();
            sender.wake();
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            if sleeper.mail.collect(Category::Client) & Mail::bit(Peer(1)) != 0 {
                got.extend(std::iter::from_fn(|| consumer.pop()));
            } else if sleeper.lie_down(|| sleeper.mail.has_any()) {
                notify.wait();
                sleeper.get_up();
            }
        }
        assert_eq!(got, [0, 1]);
        sending.join().unwrap();
    });
}
