//! What a decoder may allocate for bytes from a disk or a wire: a small multiple of their number, whatever
//! counts they announce.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tantu_base::value::{Value, decoded, decoded_key, validate};

/// Counts the bytes each thread has allocated and not freed, and their peak.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get() + layout.size();
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that was allocated at once while `work` ran.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    drop(work());
    PEAK.get() - before
}

const PER_BYTE_MAX: usize = 128;
const TYPED_SLACK: usize = 64 << 10;

/// Lists that each announce as many elements as could just fit behind them.
fn boasting(size: usize, tag: u8, element_size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..64 {
        bytes.push(tag);
        let mut count = (size - bytes.len() - 10) / element_size;
        while count >= 0x80 {
            bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
    }
    bytes.resize(size, 0x01);
    bytes
}

#[test]
fn nested_boasts_do_not_add_up() {
    for size in [500, 5_000, 500_000] {
        for (tag, element_size) in [(0x50, 1), (0x51, 1), (0x52, 2), (0x53, 2)] {
            let bytes = boasting(size, tag, element_size);
            let used = peak(|| Value::decode(&bytes));
            assert!(used <= PER_BYTE_MAX * size, "{used} bytes for {size} with tag {tag:#x}");
            let used = peak(|| decoded::<Vec<Vec<Vec<Value>>>>(&bytes).map(drop));
            assert!(used <= PER_BYTE_MAX * size + TYPED_SLACK, "{used} bytes for {size}, typed");
            assert_eq!(peak(|| validate(&bytes)), 0, "checking allocates nothing");
        }
    }
}

/// A wide record whose table is sound as far as it goes, and takes all of the bytes.
fn boasting_record(size: usize) -> Vec<u8> {
    let count = (size as u32 - 100) / 8;
    let mut bytes = vec![0x53];
    let mut left = count;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.extend([left as u8, 0x44]);
    (1..count).chain([1 << 24]).for_each(|id| bytes.extend(id.to_be_bytes()));
    (1..count).chain([1 << 24]).for_each(|end| bytes.extend(end.to_be_bytes()));
    bytes.resize(size, 0x01);
    bytes
}

#[test]
fn a_boasting_table_takes_nothing() {
    for size in [5_000, 500_000] {
        let used = peak(|| Value::decode(&boasting_record(size)));
        assert!(used <= PER_BYTE_MAX * size, "{used} bytes for {size}");
    }
}

#[test]
fn honest_bytes_take_a_small_multiple_of_their_number() {
    let nulls = |count: usize| Value::List(vec![Value::Null; count]);
    let singles = (0..60).fold(nulls(1), |inner, _| Value::List(vec![inner]));
    let rows = Value::List((0..1000).map(|_| nulls(1)).collect());
    for value in [nulls(100_000), singles, rows, Value::from("x".repeat(10_000)), Value::from("\0".repeat(10_000))] {
        let (mut bytes, mut key) = (Vec::new(), Vec::new());
        value.encode(&mut bytes);
        value.encode_key(&mut key);
        let used = peak(|| Value::decode(&bytes));
        assert!(used <= PER_BYTE_MAX * bytes.len(), "{used} for {}", bytes.len());
        let used = peak(|| decoded_key::<Value>(&key));
        assert!(used <= PER_BYTE_MAX * key.len(), "{used} for {} as a key", key.len());
        let used = peak(|| Value::decode_key(&key));
        assert!(used <= PER_BYTE_MAX * key.len(), "{used} for {} as a key", key.len());
    }
}
