//! A tree and a map of every version of every key, driven by the same random calls: they must never differ.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use support::{Change, Model, Rig, changes, key, options};
use tantu_base::id::Version;
use tantu_lsm::{Compression, TreeOptions};
use tantu_weather::{SimDisk, SimEntropy, Weather};

const KEY_COUNT: u64 = 300;

fn check_all(rig: &mut Rig, model: &Model, at: u64, seed: u64) {
    let all = rig.scan(b"", b"\xff", at).expect("a scan");
    let expected = model.scan(b"", b"\xff", at);
    let names = |all: &[(Vec<u8>, Vec<u8>)]| all.iter().map(|(key, _)| key[..8].to_vec()).collect::<Vec<_>>();
    assert_eq!(names(&all), names(&expected), "seed {seed} at {at}");
    assert!(all == expected, "seed {seed} at {at}: a value differs");
    let mut back = rig.scan_back(b"", b"\xff", at, 1 << 20).expect("a scan");
    back.reverse();
    assert_eq!(names(&back), names(&expected), "seed {seed} at {at}, backwards");
    assert!(back == expected, "seed {seed} at {at}, backwards: a value differs");
}

/// Every third tree compresses its blocks.
fn options_of(seed: u64, verify: u64) -> TreeOptions {
    let plain = options(verify);
    if !seed.is_multiple_of(3) {
        return plain;
    }
    let (block_size, write_size, read_ahead_size) = (16 << 10, 16 << 10, 16 << 10);
    TreeOptions { compression: Compression::Lz4, block_size, write_size, read_ahead_size, ..plain }
}

fn check_range(rig: &mut Rig, model: &Model, (from, to): (&[u8], &[u8]), at: u64, seed: u64) {
    let expected = model.scan(from, to, at);
    assert_eq!(rig.scan(from, to, at).expect("a scan"), expected, "seed {seed} at {at}");
    let mut back = rig.scan_back(from, to, at, 1 + seed as usize % 20).expect("a scan");
    back.reverse();
    assert_eq!(back, expected, "seed {seed} at {at}, backwards");
}

/// The ten keys that have a prefix in common; some prefixes have none.
fn check_prefix(rig: &mut Rig, model: &Model, tens: u64, at: u64, seed: u64) {
    let (from, to) = (format!("key {tens:03}"), format!("key {tens:03}~"));
    check_range(rig, model, (from.as_bytes(), to.as_bytes()), at, seed);
}

/// Some keys at a version that is kept.
fn read_together(rig: &mut Rig, model: &Model, chance: &mut SimEntropy, (floor, seed): (u64, u64)) {
    let at = chance.within(floor..model.applied + 1);
    let keys: Vec<_> = (0..chance.below(40)).map(|_| key(chance.below(KEY_COUNT + 5))).collect();
    let found = rig.multi_get(&keys, at).expect("a read of several");
    let expected: Vec<_> = keys.iter().map(|key| model.get(key, at).cloned()).collect();
    assert!(found == expected, "seed {seed} at {at}: {keys:?}");
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut chance = SimEntropy::new(seed);
    let world = Weather::new(seed);
    let verify = if chance.percent(50) { 0 } else { u64::MAX };
    let disk = SimDisk::new(&world, Default::default(), Default::default());
    let options = |verify| options_of(seed, verify);
    let mut rig = Rig::open(disk, &mut chance, options(verify)).map_err(|(error, _)| error).expect("a new tree");
    let (mut model, mut floor) = (Model::default(), 0);
    for _ in 0..2500 {
        match chance.below(100) {
            0..55 => {
                let (version, changes) = (model.applied + 1 + chance.below(2), changes(&mut chance, KEY_COUNT));
                rig.apply(version, &changes);
                model.apply(version, &changes);
            }
            55..57 => rig.tree.seal(),
            57..75 => {
                rig.step().expect("no block is damaged");
            }
            75..80 => rig.deliver(false).expect("no faults are planned"),
            80..83 => {
                floor = chance.within(floor..model.applied + 1);
                rig.tree.retain_from(Version(floor));
            }
            83 => {
                floor = model.applied;
                rig.tree.retain_from(Version(floor));
            }
            84..88 => rig.prefetch(&key(chance.below(KEY_COUNT)), model.applied),
            88..91 => read_together(&mut rig, &model, &mut chance, (floor, seed)),
            91..95 => {
                let (key, at) = (key(chance.below(KEY_COUNT)), chance.within(floor..model.applied + 1));
                assert_eq!(
                    rig.get(&key, at).expect("a get").as_ref(),
                    model.get(&key, at),
                    "seed {seed} {key:?} at {at}"
                );
            }
            95..98 => {
                let (from, to) = (key(chance.below(KEY_COUNT)), key(chance.below(KEY_COUNT)));
                let at = chance.within(floor..model.applied + 1);
                check_range(&mut rig, &model, (&from, &to), at, seed);
                check_prefix(&mut rig, &model, chance.below(KEY_COUNT / 10 + 5), at, seed);
            }
            98 => {
                let at = chance.within(floor..model.applied + 1);
                check_all(&mut rig, &model, at, seed);
            }
            _ => {
                let flushed = rig.tree.flushed().0;
                let Rig { mut disk, tree, mut cache, .. } = rig;
                tree.close(&mut cache, &mut disk).expect("a close");
                rig =
                    Rig::open(disk, &mut chance, options(verify)).map_err(|(error, _)| error).expect("a reopened tree");
                assert!(rig.tree.flushed().0 >= flushed, "seed {seed}: a close lost what was flushed");
                floor = rig.tree.flushed().0;
                model.cut(floor);
            }
        }
    }
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    assert_eq!(rig.tree.flushed().0, model.applied, "seed {seed}: everything sealed is flushed");
    for at in [floor, model.applied] {
        check_all(&mut rig, &model, at, seed);
    }
}

#[test]
fn a_tree_agrees_with_a_map_of_every_version() {
    (0..24).for_each(run);
}

#[test]
fn a_range_deletion_holds_across_every_table_of_a_merge() {
    let mut chance = SimEntropy::new(1);
    let mut rig = Rig::open(SimDisk::calm(1), &mut chance, options(0)).map_err(|(error, _)| error).expect("a new tree");
    let mut model = Model::default();
    let mut apply = |rig: &mut Rig, version: u64, changes: Vec<Change>| {
        rig.apply(version, &changes);
        model.apply(version, &changes);
        rig.tree.retain_from(Version(version));
        rig.tree.seal();
        rig.settle().expect("no faults are planned");
    };
    let puts = |fill: u8| (0..400).map(|index| Change::Put(key(index), vec![fill; 500])).collect();
    apply(&mut rig, 1, puts(1));
    apply(&mut rig, 2, vec![Change::DeleteRange(key(250), key(390))]);
    for version in 3..9 {
        apply(&mut rig, version, vec![Change::Put(key(395), vec![version as u8])]);
        let found = rig.scan(b"", b"\xff", version).expect("a scan");
        assert_eq!(found.len(), 260, "after version {version}");
    }
}
