//! Scans both ways: what they see, and what they read for it.

mod support;

use support::{Change, Model, Rig, key, options};
use tantu_base::id::Version;
use tantu_weather::{OpKind, SimDisk, SimEntropy};

/// A settled tree of so many keys of about 520 bytes, seven or so to a block, in one run.
fn settled(count: u64) -> (Rig, Model) {
    let mut chance = SimEntropy::new(1);
    let mut rig = Rig::open(SimDisk::calm(1), &mut chance, options(0)).map_err(|(error, _)| error).expect("a new tree");
    let mut model = Model::default();
    let puts: Vec<Change> = (0..count).map(|n| Change::Put(key(n), vec![n as u8; 500])).collect();
    rig.apply(1, &puts);
    model.apply(1, &puts);
    rig.tree.retain_from(Version(1));
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    (rig, model)
}

#[test]
fn a_key_of_more_revisions_than_a_table_holds_reads_the_same_both_ways() {
    let mut chance = SimEntropy::new(1);
    let mut rig = Rig::open(SimDisk::calm(1), &mut chance, options(0)).map_err(|(error, _)| error).expect("a new tree");
    // All revisions of a key that a reader passes must fit the cache together, whichever way it goes.
    rig.cache = tantu_lsm::BlockCache::new(1 << 20);
    let mut model = Model::default();
    for version in 1..=600 {
        let changes = match version {
            200 => vec![Change::DeleteRange(key(4), key(6))],
            400 => vec![Change::Delete(key(5))],
            _ => vec![Change::Put(key(5), vec![version as u8; 300]), Change::Put(key(version % 9), vec![7; 40])],
        };
        rig.apply(version, &changes);
        model.apply(version, &changes);
        if version % 50 == 0 {
            rig.tree.seal();
            rig.settle().expect("no faults are planned");
        }
    }
    for at in [1, 57, 199, 200, 201, 399, 400, 401, 555, 600] {
        for (from, to) in [(key(0), key(20)), (key(5), key(6)), (key(4), key(5)), (key(5), key(20))] {
            let expected = model.scan(&from, &to, at);
            assert!(rig.scan(&from, &to, at).expect("a scan") == expected, "forwards at {at}");
            let mut back = rig.scan_back(&from, &to, at, 2).expect("a scan");
            back.reverse();
            assert!(back == expected, "backwards at {at}");
        }
    }
}

#[test]
fn the_last_pair_of_a_large_tree_takes_two_blocks_to_read_at_most() {
    let (mut rig, model) = settled(300);
    let before = rig.disk.count(OpKind::Read);
    let mut seen = None;
    loop {
        let result = rig.tree.scan_back(&rig.cache, b"", b"\xff", Version(1), &mut |key, _| {
            seen = Some(key.to_vec());
            std::ops::ControlFlow::Break(())
        });
        match result {
            Ok(()) => break,
            Err(tantu_lsm::Stop::Need(need)) => rig.fetch(&need).expect("no faults are planned"),
            Err(stop) => panic!("{stop:?}"),
        }
    }
    assert_eq!(seen.as_ref(), model.keys.keys().next_back());
    // The second is for newer revisions of a key with which a block begins.
    assert!((1..=2).contains(&(rig.disk.count(OpKind::Read) - before)));
}
