//! Scans both ways: what they see, and what they read for it.

mod support;

use std::ops::ControlFlow;
use std::path::PathBuf;
use support::{Change, Model, Rig, key, options};
use tantu_base::door::Entropy;
use tantu_base::id::Version;
use tantu_lsm::{BlockCache, Compression, PrefixRule, Stop, TreeOptions};
use tantu_weather::{Fault, OpKind, SimDisk, SimEntropy, Weather};

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
    rig.cache = BlockCache::new(1 << 20);
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
            ControlFlow::Break(())
        });
        match result {
            Ok(()) => break,
            Err(Stop::Need(need)) => rig.fetch(&need).expect("no faults are planned"),
            Err(stop) => panic!("{stop:?}"),
        }
    }
    assert_eq!(seen.as_ref(), model.keys.keys().next_back());
    // The second is for newer revisions of a key with which a block begins.
    assert!((1..=2).contains(&(rig.disk.count(OpKind::Read) - before)));
}

fn blocks_of(rig: &Rig) -> u64 {
    rig.disk
        .image()
        .files()
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "table"))
        .map(|(_, len)| len / 4096)
        .sum()
}

#[test]
fn a_long_cold_scan_reads_eight_blocks_at_a_time_either_way() {
    for back in [false, true] {
        let (mut rig, model) = settled(3000);
        rig.cache = BlockCache::new(1 << 20);
        let (blocks, before) = (blocks_of(&rig), rig.disk.count(OpKind::Read));
        let found = if back { rig.scan_back(b"", b"\xff", 1, 1 << 20) } else { rig.scan(b"", b"\xff", 1) };
        assert_eq!(found.expect("a scan").len(), model.keys.len());
        let reads = rig.disk.count(OpKind::Read) - before;
        // Tables of 64 KiB end reads early.
        assert!(reads >= blocks / 8 && reads <= blocks / 5, "{reads} reads of {blocks} blocks, back: {back}");
    }
}

#[test]
fn a_short_scan_reads_no_block_that_begins_behind_it() {
    let (mut rig, model) = settled(300);
    rig.cache = BlockCache::new(1 << 20);
    for (from, to, back) in [(10, 14, false), (100, 104, false), (200, 204, true), (250, 252, true)] {
        let (from, to, before) = (key(from), key(to), rig.disk.count(OpKind::Read));
        let found = if back { rig.scan_back(&from, &to, 1, 9) } else { rig.scan(&from, &to, 1) };
        assert_eq!(found.expect("a scan").len(), model.scan(&from, &to, 1).len());
        let reads = rig.disk.count(OpKind::Read) - before;
        assert!((1..=3).contains(&reads), "{reads} reads for four keys, seven of which share a block");
    }
}

#[test]
fn a_scan_of_ten_times_the_cache_leaves_what_point_reads_come_back_to() {
    for back in [false, true] {
        let (mut rig, _) = settled(9000);
        rig.cache = BlockCache::new(120 * 4096);
        let hot: Vec<_> = (0..90).map(|n| key(n * 100 + 1)).collect();
        for _ in 0..3 {
            hot.iter().for_each(|key| assert!(rig.get(key, 1).expect("a get").is_some()));
        }
        assert!(blocks_of(&rig) > 1200, "ten times the cache");
        let scanned = if back { rig.scan_back(b"", b"\xff", 1, 1 << 20) } else { rig.scan(b"", b"\xff", 1) };
        assert_eq!(scanned.expect("a scan").len(), 9000);
        let before = rig.disk.count(OpKind::Read);
        hot.iter().for_each(|key| assert!(rig.get(key, 1).expect("a get").is_some()));
        let missed = rig.disk.count(OpKind::Read) - before;
        assert!(missed <= 18, "{missed} of 90 hot blocks were pushed out, back: {back}");
    }
}

#[test]
fn what_goes_wrong_with_blocks_read_along_is_no_concern_of_a_scan_that_ends_before_them() {
    let (rig, model) = settled(300);
    let mut image = rig.disk.image();
    let (path, _) = image.files().into_iter().find(|(path, _)| path.ends_with("00000001.table")).expect("a table");
    image.flip_bit(&path, 2 * 4096 + 100, 1);
    let disk = SimDisk::new(&Weather::new(1), Default::default(), image);
    let opened = Rig::open(disk, &mut SimEntropy::new(1), options(0)).map_err(|(error, _)| error);
    let mut rig = opened.expect("blocks are not looked at");
    rig.cache = BlockCache::new(1 << 20);
    // The second read brings the damaged block along. It fails first, and then the second block is read alone.
    rig.disk.fail_nth(OpKind::Read, 1, Fault::Eio);
    let first_pairs = |rig: &mut Rig, count: usize| loop {
        let mut seen = Vec::new();
        let result = rig.tree.scan(&rig.cache, b"", b"\xff", Version(1), &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            if seen.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match result {
            Ok(()) => return Ok(seen),
            Err(Stop::Need(need)) => rig.fetch(&need)?,
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
        }
    };
    assert!(first_pairs(&mut rig, 10).expect("two blocks") == model.scan(b"", b"\xff", 1)[..10]);
    assert_eq!(rig.disk.faults_outstanding(), 0, "the failure was met");
    let damaged = first_pairs(&mut rig, 30);
    assert!(matches!(damaged, Err(tantu_lsm::Fault::Corrupt(corruption)) if corruption.offset == 2 * 4096));
}

#[test]
fn a_scan_within_a_prefix_reads_nothing_of_tables_without_it() {
    let mut chance = SimEntropy::new(1);
    let rule = |byte_count| TreeOptions { prefix: Some(PrefixRule { byte_count, value_count: 0 }), ..options(0) };
    let mut rig = Rig::open(SimDisk::calm(1), &mut chance, rule(7)).map_err(|(error, _)| error).expect("a new tree");
    // All but every third structure of ten elements.
    let has = |n: &u64| !(n / 10).is_multiple_of(3);
    let puts: Vec<Change> = (0..600).filter(has).map(|n| Change::Put(key(n), vec![n as u8; 100])).collect();
    rig.apply(1, &puts);
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    let count = |rig: &mut Rig| {
        let (mut found, before) = (0, rig.disk.count(OpKind::Read));
        for structure in (0..60u64).filter(|structure| structure.is_multiple_of(3)) {
            let (from, to) = (format!("key {structure:03}"), format!("key {structure:03}~"));
            found += rig.scan(from.as_bytes(), to.as_bytes(), 1).expect("a scan").len();
            found += rig.scan_back(from.as_bytes(), to.as_bytes(), 1, 100).expect("a scan").len();
        }
        (found, rig.disk.count(OpKind::Read) - before)
    };
    let (found, reads) = count(&mut rig);
    assert_eq!(found, 0);
    assert!(reads <= 2, "{reads} reads: one filter in a hundred is wrong");
    let image = rig.disk.image();
    let disk = SimDisk::new(&Weather::new(1), Default::default(), image);
    let mut rig = Rig::open(disk, &mut chance, rule(6)).map_err(|(error, _)| error).expect("an old tree");
    let (found, reads) = count(&mut rig);
    assert_eq!(found, 0);
    assert!(reads >= 10, "a filter of another rule says nothing: {reads}");
}

#[test]
fn compressed_tables_are_smaller_and_read_the_same() {
    let mut sizes = Vec::new();
    for compression in [Compression::None, Compression::Lz4] {
        let large = TreeOptions { block_size: 32 << 10, write_size: 32 << 10, read_ahead_size: 32 << 10, ..options(0) };
        let mut chance = SimEntropy::new(1);
        let opened = Rig::open(SimDisk::calm(1), &mut chance, TreeOptions { compression, ..large });
        let mut rig = opened.map_err(|(error, _)| error).expect("a new tree");
        let mut model = Model::default();
        // Half of it is noise, which stays as it is.
        let noise = |chance: &mut SimEntropy| (0..60).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
        let put = |n, chance: &mut SimEntropy| Change::Put(key(n), if n < 200 { noise(chance) } else { vec![7; 480] });
        let puts: Vec<Change> = (0..400).map(|n| put(n, &mut chance)).collect();
        rig.apply(1, &puts);
        model.apply(1, &puts);
        rig.tree.seal();
        rig.settle().expect("no faults are planned");
        let image = rig.disk.image();
        sizes.push(blocks_of(&rig));
        // What was compressed is read by a tree that does not compress.
        let disk = SimDisk::new(&Weather::new(1), Default::default(), image);
        let opened = Rig::open(disk, &mut chance, options(u64::MAX)).map_err(|(error, _)| error);
        let mut rig = opened.expect("all blocks are whole");
        assert!(rig.scan(b"", b"\xff", 1).expect("a scan") == model.scan(b"", b"\xff", 1));
        assert_eq!(rig.get(&key(7), 1).expect("a get").as_ref(), model.get(&key(7), 1));
    }
    assert!(sizes[1] * 10 < sizes[0] * 7, "{sizes:?} blocks of 4 KiB");
}

#[test]
fn what_a_version_puts_into_a_range_that_it_deletes_stays_wherever_it_lies() {
    let (mut rig, _) = settled(20);
    rig.apply(2, &[Change::DeleteRange(key(2), key(18)), Change::Put(key(5), vec![5; 10])]);
    // In the memtable, in a table of its own, and merged with what the range hid.
    for stage in 0..3 {
        let mut expected: Vec<Vec<u8>> = [0, 1, 5, 18, 19].map(key).to_vec();
        expected.sort();
        let keys = |pairs: Vec<(Vec<u8>, Vec<u8>)>| pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let mut found = keys(rig.scan(b"", b"\xff", 2).expect("a scan"));
        found.sort();
        assert_eq!(found, expected, "stage {stage}");
        let mut back = keys(rig.scan_back(b"", b"\xff", 2, 100).expect("a scan"));
        back.sort();
        assert_eq!(back, expected, "stage {stage}");
        assert_eq!(rig.get(&key(5), 2).expect("a read"), Some(vec![5; 10]), "stage {stage}");
        assert_eq!(rig.get(&key(6), 2).expect("a read"), None, "stage {stage}");
        rig.tree.seal();
        rig.settle().expect("no faults are planned");
        if stage == 1 {
            rig.tree.retain_from(Version(2));
            rig.tree.merge_all();
            rig.settle().expect("no faults are planned");
        }
    }
}

#[test]
fn what_holds_nothing_leaves_no_table_behind_neither_a_flush_of_nothing_nor_a_merge_of_what_was_deleted() {
    let mut rig = Rig::open(SimDisk::calm(3), &mut SimEntropy::new(3), options(0)).map_err(|(e, _)| e).expect("a tree");
    let tables = |rig: &Rig| {
        let is_table = |(path, _): &&(PathBuf, u64)| path.extension().is_some_and(|end| end == "table");
        rig.disk.image().files().iter().filter(is_table).count()
    };
    // Versions without writes: the log may forget them.
    rig.apply(1, &[]);
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    assert_eq!((rig.tree.flushed(), tables(&rig)), (Version(1), 0));
    let keys: Vec<Vec<u8>> = (0..200).map(key).collect();
    let puts: Vec<Change> = keys.iter().map(|key| Change::Put(key.clone(), vec![7; 900])).collect();
    rig.apply(2, &puts);
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    assert!(tables(&rig) > 1, "a memtable of several tables");
    rig.apply(3, &[Change::DeleteRange(Vec::new(), vec![0xff])]);
    rig.tree.retain_from(Version(3));
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    rig.tree.merge_all();
    rig.settle().expect("no faults are planned");
    assert_eq!((rig.tree.flushed(), tables(&rig)), (Version(3), 0));
    assert_eq!(rig.scan(b"", b"\xff", 3).expect("a scan"), []);
}
