//! Bulk ingest against a map of every version: mixed with everything else, cut at every request, given up.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use support::{Change, DIR, Model, Pairs, Rig, changes, key, options, value};
use tantu_base::id::Version;
use tantu_lsm::{BlockCache, Budget, IngestError};
use tantu_weather::{SimDisk, SimEntropy, Weather};

const KEY_COUNT: u64 = 200;
const BUDGET: Budget = Budget { entry_count: 7, size: 2 << 10 };

/// About a third of all keys, with values.
fn pairs(chance: &mut SimEntropy) -> Pairs {
    let mut pairs: Pairs =
        (0..KEY_COUNT).filter(|_| chance.percent(33)).map(key).map(|key| (key, Vec::new())).collect();
    pairs.sort();
    pairs.iter_mut().for_each(|(_, place)| *place = value(chance));
    pairs
}

fn as_changes(pairs: &Pairs) -> Vec<Change> {
    pairs.iter().map(|(key, value)| Change::Put(key.clone(), value.clone())).collect()
}

/// Hands over the next pairs; how many were taken.
fn feed(rig: &mut Rig, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<usize, IngestError> {
    let taken = rig.tree.ingest(pairs.iter().map(|(key, value)| (&key[..], &value[..])), BUDGET, &mut rig.disk);
    assert!(taken.as_ref().is_ok_and(|count| *count <= BUDGET.entry_count) || taken.is_err());
    taken
}

fn new_rig(disk: SimDisk, chance: &mut SimEntropy) -> Rig {
    let mut rig = Rig::open(disk, chance, options(0)).map_err(|(error, _)| error).expect("a tree");
    rig.cache = BlockCache::new(40 * 4096);
    rig
}

fn tables(rig: &Rig) -> usize {
    rig.disk.image().files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "table")).count()
}

fn check(rig: &mut Rig, model: &Model, at: u64, seed: u64) {
    let all = rig.scan(b"", b"\xff", at).expect("a scan");
    assert!(all == model.scan(b"", b"\xff", at), "seed {seed} at {at}");
    let mut back = rig.scan_back(b"", b"\xff", at, 1 << 20).expect("a scan");
    back.reverse();
    assert!(back == all, "seed {seed} at {at}, backwards");
}

/// Waits until an ingest that was given up is gone; the model never had it.
fn forget(rig: &mut Rig, model: &mut Model, version: u64) {
    model.keys.values_mut().for_each(|chain| {
        chain.remove(&version);
    });
    while rig.tree.is_ingesting() {
        rig.step().expect("no block is damaged");
        rig.deliver(rig.tree.is_busy()).expect("no faults are planned");
    }
}

/// How many ingests were installed, and given up.
fn run(seed: u64) -> (u32, u32) {
    println!("seed {seed}");
    let mut chance = SimEntropy::new(seed);
    let mut rig = new_rig(SimDisk::new(&Weather::new(seed), Default::default(), Default::default()), &mut chance);
    let mut model = Model::default();
    // What is left of the ingest, and the version before it, above which nothing is read.
    let mut ingest: Option<(Pairs, u64)> = None;
    let (mut installed, mut aborted) = (0, 0);
    for _ in 0..3000 {
        if ingest.is_some() && !rig.tree.is_ingesting() {
            (ingest, installed) = (None, installed + 1);
        }
        let seen = ingest.as_ref().map_or(model.applied, |(_, before)| *before);
        match chance.below(100) {
            0..30 => {
                let (version, changes) = (model.applied + 1, changes(&mut chance, KEY_COUNT));
                rig.apply(version, &changes);
                model.apply(version, &changes);
            }
            30..33 => rig.tree.seal(),
            33..55 => {
                rig.step().expect("no block is damaged");
            }
            55..65 => {
                let wait = rig.tree.is_busy() && chance.percent(70);
                rig.deliver(wait).expect("no faults are planned");
            }
            65..68 => rig.tree.retain_from(Version(seen)),
            68..90 => match &mut ingest {
                None => {
                    let (pairs, before) = (pairs(&mut chance), model.applied);
                    rig.tree.begin_ingest(Version(before + 1));
                    model.apply(before + 1, &as_changes(&pairs));
                    ingest = Some((pairs, before));
                }
                Some((left, _)) if !left.is_empty() => {
                    let count = feed(&mut rig, left).expect("they ascend");
                    left.drain(..count);
                    if left.is_empty() {
                        rig.tree.end_ingest();
                    }
                }
                Some(_) => {}
            },
            90 if chance.percent(10) => {
                if let Some((_, before)) = &ingest
                    && rig.tree.abort_ingest()
                {
                    forget(&mut rig, &mut model, before + 1);
                    (ingest, aborted) = (None, aborted + 1);
                }
            }
            91 if chance.percent(10) => {
                let Rig { mut disk, tree, mut cache, .. } = rig;
                tree.close(&mut cache, &mut disk).expect("a close");
                rig = new_rig(disk, &mut chance);
                model.cut(rig.tree.flushed().0);
                ingest = None;
            }
            _ => {
                check(&mut rig, &model, seen, seed);
                let key = key(chance.below(KEY_COUNT));
                assert_eq!(rig.get(&key, seen).expect("a get").as_ref(), model.get(&key, seen), "seed {seed}");
            }
        }
    }
    (installed, aborted)
}

#[test]
fn a_tree_that_ingests_agrees_with_a_map_of_every_version() {
    let all = (0..12).map(run).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert!(all.0 >= 24 && all.1 >= 12, "{all:?} installed and given up");
}

/// Loads, ingests and settles, until the power is cut; the versions before the ingest, of it, and after it.
fn scripted(disk: SimDisk, seed: u64) -> (Model, SimDisk) {
    let mut chance = SimEntropy::new(seed);
    let mut model = Model::default();
    let mut rig = match Rig::open(disk, &mut chance, options(0)) {
        Ok(rig) => rig,
        Err((_, disk)) => return (model, disk),
    };
    for version in 1..=8 {
        let changes = changes(&mut chance, KEY_COUNT);
        rig.apply(version, &changes);
        model.apply(version, &changes);
    }
    let pairs = pairs(&mut chance);
    rig.tree.begin_ingest(Version(9));
    model.apply(9, &as_changes(&pairs));
    let later = changes(&mut chance, KEY_COUNT);
    rig.apply(10, &later);
    model.apply(10, &later);
    rig.tree.seal();
    let mut left = &pairs[..];
    while !left.is_empty() && !rig.disk.crashed() {
        left = &left[feed(&mut rig, left).expect("they ascend")..];
        let more = rig.step().expect("no block is damaged");
        let _ = rig.deliver(!more && rig.tree.is_busy());
    }
    if left.is_empty() {
        rig.tree.end_ingest();
        let _ = rig.settle();
    }
    (model, rig.disk)
}

#[test]
fn a_power_cut_at_every_request_leaves_the_whole_ingest_or_nothing_of_it() {
    let (model, disk) = scripted(SimDisk::calm(1), 1);
    let count = disk.submitted();
    assert!(count > 40, "{count} requests are too few to prove anything");
    let (mut nothing, mut whole) = (0, 0);
    for cut in 0..count {
        let disk = SimDisk::calm(1);
        disk.stop_at(cut);
        let (_, disk) = scripted(disk, 1);
        let mut chance = SimEntropy::new(cut);
        for image in [disk.crash(&mut chance), disk.kill(&mut chance)] {
            let mut rig = new_rig(SimDisk::new(&Weather::new(cut), Default::default(), image), &mut chance);
            let flushed = rig.tree.flushed().0;
            assert!([0, 8, 9, 10].contains(&flushed), "cut {cut}: {flushed}");
            let found = rig.scan(b"", b"\xff", flushed).expect("a scan");
            assert!(found == model.scan(b"", b"\xff", flushed), "cut {cut}, flushed to {flushed}");
            *if flushed < 9 { &mut nothing } else { &mut whole } += 1;
            // One run of a flush before, of the ingest, and of the flush after, or what they were merged into.
            assert!(flushed >= 9 || tables(&rig) <= 1, "cut {cut}: files are left in {DIR}");
        }
    }
    assert!(nothing > 20 && whole > 3, "{nothing} and {whole}");
}

#[test]
fn an_unsorted_pair_is_refused_with_its_position_and_both_keys() {
    let mut chance = SimEntropy::new(1);
    let mut rig = new_rig(SimDisk::calm(1), &mut chance);
    rig.tree.begin_ingest(Version(1));
    let pairs = |names: &[&str]| names.iter().map(|name| (name.as_bytes().to_vec(), vec![1])).collect::<Pairs>();
    assert_eq!(feed(&mut rig, &pairs(&["a"])), Ok(0), "the file is opened first");
    rig.settle().expect("no faults are planned");
    assert_eq!(feed(&mut rig, &pairs(&["a", "c"])), Ok(2));
    for (name, offset) in [("b", 0), ("c", 0), ("e", 1)] {
        let expected = IngestError::Unsorted {
            position: 2 + offset,
            before: if offset == 0 { b"c".to_vec() } else { b"f".to_vec() },
            key: name.as_bytes().to_vec(),
        };
        let names = if offset == 0 { vec![name] } else { vec!["f", name] };
        assert_eq!(feed(&mut rig, &pairs(&names)), Err(expected), "over two calls, equal, and within one call");
    }
    let long = vec![(vec![b'z'; (64 << 10) + 1], Vec::new())];
    let refused = feed(&mut rig, &long);
    assert_eq!(refused, Err(IngestError::TooLong { position: 3, key_size: (64 << 10) + 1, value_size: 0 }));
    rig.tree.end_ingest();
    rig.settle().expect("no faults are planned");
    assert!(!rig.tree.is_ingesting());
    assert_eq!(rig.scan(b"", b"\xff", 1).expect("a scan"), pairs(&["a", "c", "f"]), "what was sorted went in");
    assert_eq!(rig.tree.flushed(), Version(1));
}

#[test]
fn an_ingest_without_pairs_or_given_up_leaves_no_file() {
    for abort in [false, true] {
        let mut chance = SimEntropy::new(1);
        let mut rig = new_rig(SimDisk::calm(1), &mut chance);
        rig.tree.begin_ingest(Version(1));
        let mut pairs: Pairs = (1..600).filter(|n| n % 37 != 0).map(|n| (key(n), vec![n as u8; 300])).collect();
        assert_eq!(feed(&mut rig, &pairs), Ok(0));
        while abort && pairs.len() > 10 {
            pairs.drain(..feed(&mut rig, &pairs).expect("they ascend"));
            let more = rig.step().expect("no block is damaged");
            rig.deliver(!more && rig.tree.is_busy()).expect("no faults are planned");
        }
        if abort {
            assert!(tables(&rig) > 1, "more than one table was begun");
            assert!(rig.tree.abort_ingest());
        } else {
            rig.tree.end_ingest();
        }
        while rig.tree.is_ingesting() || rig.tree.is_busy() {
            let more = rig.step().expect("no block is damaged");
            rig.deliver(!more && rig.tree.is_busy()).expect("no faults are planned");
        }
        assert_eq!((tables(&rig), rig.tree.is_ingesting()), (0, false), "abort: {abort}");
        assert!(rig.scan(b"", b"\xff", 1).expect("a scan").is_empty());
        assert!(!rig.tree.abort_ingest(), "there is none any more");
    }
}
