//! The ring with real threads, and its edges.

use crate::ring::ring;
use std::sync::Arc;

#[test]
fn a_full_ring_gives_the_value_back_and_an_empty_one_has_none() {
    let (mut producer, mut consumer) = ring(3);
    assert_eq!(producer.capacity(), 4, "rounded up to a power of two");
    for n in 0..4 {
        producer.push(n).unwrap();
    }
    assert_eq!(producer.push(4), Err(4));
    assert_eq!((producer.free(), consumer.len()), (0, 4));
    assert_eq!(consumer.pop(), Some(0));
    producer.push(4).unwrap();
    assert_eq!(producer.push(5), Err(5));
    let mut got = Vec::new();
    assert_eq!(consumer.pop_batch(&mut got, 10), 4);
    assert_eq!(got, [1, 2, 3, 4]);
    assert_eq!(consumer.pop(), None);
    assert!(consumer.is_empty() && !consumer.is_finished());
    drop(producer);
    assert!(consumer.is_finished());
}

#[test]
fn a_batch_takes_only_what_fits_from_the_iterator() {
    let (mut producer, mut consumer) = ring(4);
    let mut values = 0..10;
    assert_eq!(producer.push_batch(&mut values), 4);
    assert_eq!(producer.push_batch(&mut values), 0);
    assert_eq!(values.next(), Some(4), "the fifth was not taken out");
    assert_eq!(consumer.pop(), Some(0));
    assert_eq!(producer.push_batch(&mut values), 1);
}

#[test]
fn values_left_in_the_ring_are_dropped_once() {
    let value = Arc::new(());
    let (mut producer, mut consumer) = ring(8);
    for _ in 0..6 {
        producer.push(Arc::clone(&value)).unwrap();
    }
    drop(consumer.pop());
    drop(consumer);
    assert!(producer.is_consumer_gone());
    assert_eq!(Arc::strong_count(&value), 6);
    drop(producer);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_batch_cut_by_a_panic_keeps_what_it_pushed() {
    let (mut producer, mut consumer) = ring(8);
    let mut values = (0..5).inspect(|n| assert!(*n < 3, "planned"));
    let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| producer.push_batch(&mut values)));
    assert!(cut.is_err());
    drop(producer);
    let mut got = Vec::new();
    consumer.pop_batch(&mut got, 10);
    assert_eq!(got, [0, 1, 2]);
}

#[test]
fn a_million_values_cross_in_order_by_ones_and_by_batches() {
    const COUNT: u64 = 1_000_000;
    for capacity in [1, 2, 64, 4096] {
        let count = if capacity < 64 { COUNT / 20 } else { COUNT };
        let (mut producer, mut consumer) = ring::<Box<u64>>(capacity);
        std::thread::scope(|threads| {
            threads.spawn(move || {
                let mut values = (0..count).map(Box::new).peekable();
                while values.peek().is_some() {
                    if producer.push_batch(&mut values.by_ref().take(7)) == 0 {
                        std::thread::yield_now();
                    }
                    if let Some(value) = values.next() {
                        let mut value = value;
                        while let Err(back) = producer.push(value) {
                            value = back;
                            std::thread::yield_now();
                        }
                    }
                }
            });
            let (mut next, mut got) = (0, Vec::new());
            while next < count {
                consumer.pop_batch(&mut got, 5);
                got.extend(consumer.pop());
                if got.is_empty() {
                    std::thread::yield_now();
                }
                for value in got.drain(..) {
                    assert_eq!(*value, next, "capacity {capacity}");
                    next += 1;
                }
            }
            assert!(consumer.pop().is_none());
        });
    }
}
