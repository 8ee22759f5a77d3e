//! A bounded ring for one producer and one consumer, wait-free on both sides.
//!
//! Guarantees: values arrive once, whole and in order; a full ring gives the value back; values nobody
//! received are dropped with the ring. Each side keeps its own position and the last it saw of the other's in
//! plain fields, so that it touches the other's cache line only when the ring looks full or empty, and a batch
//! costs one publish. Positions run over the whole `usize` and wrap; the slot is the position's low bits.
#![allow(unsafe_code, reason = "slots are handed over by the two positions; every block below states its invariant")]

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, Padded, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;

/// What the two sides share.
///
/// Invariant: slots of the positions `head..tail` hold values and belong to the consumer; all others are empty
/// and belong to the producer. Only the consumer moves `head`, only the producer moves `tail`.
struct Shared<T> {
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    mask: usize,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by one side at a time, as the invariant of `Shared` says, and moving values
// between the two threads needs `T: Send` only.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: it owns its values; see above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Acquire);
        let mut head = self.head.load(Ordering::Acquire);
        while head != tail {
            // SAFETY: `head..tail` hold values, both sides are gone, and each is dropped once.
            self.slots[head & self.mask].with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// A ring that holds `capacity` values, rounded up to a power of two.
///
/// # Panics
/// If `capacity` is 0.
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "a ring holds at least one value");
    let capacity = capacity.next_power_of_two();
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
        mask: capacity - 1,
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    (
        Producer { shared: Arc::clone(&shared), tail: 0, published: 0, head_seen: 0 },
        Consumer { shared, head: 0, tail_seen: 0 },
    )
}

/// The side that fills a [`ring`].
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Next position to fill.
    tail: usize,
    /// What the consumer was told: `published <= tail`.
    published: usize,
    /// A `head` of the past, so at most too small.
    head_seen: usize,
}

impl<T: Send> Producer<T> {
    /// Values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.shared.mask + 1
    }

    /// Values that can be pushed now.
    pub fn free(&mut self) -> usize {
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.capacity() - self.tail.wrapping_sub(self.head_seen)
    }

    /// Whether the consumer is dropped: nothing will be received any more.
    pub fn is_consumer_gone(&self) -> bool {
        self.shared.consumer_gone.load(Ordering::Acquire)
    }

    /// Pushes one value and publishes it.
    ///
    /// # Errors
    /// The value, when the ring is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.tail.wrapping_sub(self.head_seen) == self.capacity() && self.free() == 0 {
            return Err(value);
        }
        self.fill(value);
        self.publish();
        Ok(())
    }

    /// Pushes values until the ring is full or there are no more, publishes them at once and says how many.
    pub fn push_batch(&mut self, values: &mut impl Iterator<Item = T>) -> usize {
        let free = self.free();
        let mut count = 0;
        while count < free
            && let Some(value) = values.next()
        {
            self.fill(value);
            count += 1;
        }
        self.publish();
        count
    }

    /// Fills the next slot; the caller has seen that it is free.
    #[inline(always)]
    fn fill(&mut self, value: T) {
        debug_assert!(self.tail.wrapping_sub(self.head_seen) < self.capacity());
        // SAFETY: the position is outside `head..tail`, since fewer than `capacity` lie between the head seen
        // (never beyond the true one) and `tail`; so the slot is empty and ours until `tail` is published.
        self.shared.slots[self.tail & self.shared.mask].with_mut(|slot| unsafe { (*slot).write(value) });
        self.tail = self.tail.wrapping_add(1);
    }
}

impl<T> Producer<T> {
    #[inline(always)]
    fn publish(&mut self) {
        if self.published != self.tail {
            self.shared.tail.store(self.tail, Ordering::Release);
            self.published = self.tail;
        }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // A batch cut short by a panicking iterator is published here, so that its values are not lost.
        self.publish();
        self.shared.producer_gone.store(true, Ordering::Release);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer(at {})", self.tail)
    }
}

/// The side that empties a [`ring`].
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Next position to take.
    head: usize,
    /// A `tail` of the past, so at most too small.
    tail_seen: usize,
}

impl<T: Send> Consumer<T> {
    /// Values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.shared.mask + 1
    }

    /// Values that can be popped now.
    pub fn len(&self) -> usize {
        self.shared.tail.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// Whether nothing can be popped now.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail_seen == self.head && self.len() == 0
    }

    /// Whether the producer is dropped. What it pushed before may still be here.
    pub fn is_producer_gone(&self) -> bool {
        self.shared.producer_gone.load(Ordering::Acquire)
    }

    /// Whether the producer is dropped and all it pushed was popped.
    pub fn is_finished(&self) -> bool {
        // The flag first: what was published before it is then visible to `len`.
        self.is_producer_gone() && self.is_empty()
    }

    /// Takes the oldest value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.tail_seen == self.head {
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
            if self.tail_seen == self.head {
                return None;
            }
        }
        let value = self.take();
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Takes up to `count_max` values, oldest first, gives their slots back at once and says how many.
    pub fn pop_batch(&mut self, out: &mut Vec<T>, count_max: usize) -> usize {
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        let count = self.tail_seen.wrapping_sub(self.head).min(count_max);
        out.reserve(count);
        for _ in 0..count {
            out.push(self.take());
        }
        if count > 0 {
            self.shared.head.store(self.head, Ordering::Release);
        }
        count
    }

    /// Empties the next slot; the caller has seen that it is full.
    #[inline(always)]
    fn take(&mut self) -> T {
        debug_assert_ne!(self.head, self.tail_seen);
        // SAFETY: `head < tail_seen`, never beyond the true tail, so the slot holds a value whose publication
        // we acquired; moving `head` past it makes this the only read.
        let value =
            self.shared.slots[self.head & self.shared.mask].with_mut(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        value
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.consumer_gone.store(true, Ordering::Release);
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumer(at {})", self.head)
    }
}
