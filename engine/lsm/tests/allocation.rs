//! What reads of cached blocks allocate: a point read nothing, at any number of runs.
#![allow(unsafe_code, reason = "an allocator that counts")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;
use support::{Change, Rig, key, options};
use tantu_base::id::Version;
use tantu_lsm::{BlockCache, PointRead};
use tantu_weather::{SimDisk, SimEntropy};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `work` allocated.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const KEY_COUNT: u64 = 200;

/// Keys in a run, every other one again in a second run, every third in the memtable, and a range deletion over some; all
/// blocks are in the cache.
fn warm() -> Rig {
    let mut chance = SimEntropy::new(1);
    let opened = Rig::open(SimDisk::calm(1), &mut chance, options(0)).map_err(|(error, _)| error);
    let mut rig = opened.expect("a new tree");
    rig.cache = BlockCache::new(16 << 20);
    for (version, every) in [(1, 1), (2, 2)] {
        let puts: Vec<Change> =
            (0..KEY_COUNT).step_by(every).map(|n| Change::Put(key(n), vec![version as u8; 100])).collect();
        rig.apply(version, &puts);
        rig.tree.seal();
        rig.settle().expect("no faults are planned");
    }
    let puts: Vec<Change> = (0..KEY_COUNT).step_by(3).map(|n| Change::Put(key(n), vec![3; 100])).collect();
    rig.apply(3, &puts);
    rig.apply(4, &[Change::DeleteRange(key(50), key(60))]);
    for n in 0..KEY_COUNT {
        rig.get(&key(n), 4).expect("a get");
    }
    rig.scan(b"", b"\xff", 4).expect("a scan");
    rig
}

#[test]
fn a_point_read_of_a_cached_block_allocates_nothing() {
    let rig = warm();
    let keys: Vec<_> = (0..KEY_COUNT + 50).map(key).collect();
    let mut out = Vec::with_capacity(1000);
    let mut found = 0;
    let count = allocations(|| {
        for key in &keys {
            let is_there = rig.tree.get(&rig.cache, key, Version(4), &mut out).expect("its block is cached");
            found += usize::from(is_there);
        }
    });
    assert_eq!((count, found), (0, KEY_COUNT as usize - 10));
}

#[test]
fn reads_that_go_together_allocate_twice_for_all_of_them() {
    let rig = warm();
    let keys: Vec<_> = (0..KEY_COUNT + 50).map(key).collect();
    let mut reads: Vec<PointRead<'_>> = keys.iter().map(|key| PointRead::new(key)).collect();
    let mut found = 0;
    let count = allocations(|| {
        let visit = &mut |_: usize, value: Option<&[u8]>| found += usize::from(value.is_some());
        rig.tree.multi_get(&rig.cache, &mut reads, Version(4), visit).expect("the blocks are cached");
    });
    assert_eq!(found, KEY_COUNT as usize - 10);
    assert!(count <= 2, "{count} allocations");
}

#[test]
fn a_scan_allocates_for_its_sources_and_nothing_for_its_pairs() {
    let rig = warm();
    for back in [false, true] {
        let counts = [10, 150].map(|wanted| {
            let mut seen = 0;
            let count = allocations(|| {
                let visit = &mut |_: &[u8], _: &[u8]| {
                    seen += 1;
                    if seen == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let (tree, cache) = (&rig.tree, &rig.cache);
                let scanned = match back {
                    true => tree.scan_back(cache, b"", b"\xff", Version(4), visit),
                    false => tree.scan(cache, b"", b"\xff", Version(4), visit),
                };
                scanned.expect("the blocks are cached");
            });
            assert_eq!(seen, wanted);
            count
        });
        // A key that is longer than those before it makes its buffer grow.
        assert!(counts[1] <= counts[0] + 2, "{counts:?} allocations for 10 and 150 pairs, back: {back}");
        assert!(counts[0] <= 20, "{counts:?} allocations, back: {back}");
    }
}
