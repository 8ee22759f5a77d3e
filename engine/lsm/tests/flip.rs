//! Damaged bytes: whoever opens or reads is told the file, and nobody gets a wrong value.

#![allow(clippy::print_stdout, reason = "seeds, for a replay")]

mod support;

use std::path::PathBuf;
use support::{Change, Model, Rig, changes, key, options};
use tantu_base::id::Version;
use tantu_lsm::inspect::{Found, TableFile, claimed_id, scan_blocks};
use tantu_lsm::{Corruption, Fault, OpenError};
use tantu_proof::Form;
use tantu_proof::flips::{Outcome, flip, names};
use tantu_weather::{Image, SimDisk, SimEntropy, Weather};

const KEY_COUNT: u64 = 60;

fn filled() -> (Image, Model) {
    let mut chance = SimEntropy::new(3);
    let mut rig = Rig::open(SimDisk::calm(3), &mut chance, options(0)).map_err(|(error, _)| error).expect("a new tree");
    let mut model = Model::default();
    for version in 1..=60 {
        let changes =
            if version == 59 { vec![Change::DeleteRange(key(3), key(9))] } else { changes(&mut chance, KEY_COUNT) };
        rig.apply(version, &changes);
        model.apply(version, &changes);
        rig.tree.retain_from(Version(version));
        if version % 20 == 0 {
            rig.tree.seal();
            rig.settle().expect("no faults are planned");
        }
    }
    (rig.disk.image(), model)
}

/// What is reported, if anything.
fn open_and_read(image: Image, verify: u64, model: &Model, place: &str) -> Option<PathBuf> {
    damage(image, verify, model, place).map(|corruption| corruption.path)
}

/// As [`open_and_read`], with where in the file.
fn damage(image: Image, verify: u64, model: &Model, place: &str) -> Option<Corruption> {
    let disk = SimDisk::new(&Weather::new(1), Default::default(), image);
    let mut rig = match Rig::open(disk, &mut SimEntropy::new(1), options(verify)) {
        Ok(rig) => rig,
        Err((OpenError::Corrupt(corruption), _)) => return Some(corruption),
        Err((error, _)) => panic!("{place}: {error}"),
    };
    assert_eq!(rig.tree.flushed().0, model.applied, "{place}");
    match rig.scan(b"", b"\xff", model.applied) {
        Ok(all) => {
            assert!(all == model.scan(b"", b"\xff", model.applied), "{place}: a wrong value");
            None
        }
        Err(Fault::Corrupt(corruption)) => Some(corruption),
        Err(error) => panic!("{place}: {error}"),
    }
}

#[test]
fn a_flipped_bit_anywhere_is_reported_with_its_file() {
    let (image, model) = filled();
    let files = image.files();
    println!("{files:?}");
    assert!(files.len() >= 3, "tables and a manifest");
    assert_eq!(open_and_read(image.clone(), 0, &model, "untouched"), None);
    for (path, len) in files {
        for (count, at) in (0..len).step_by(13).enumerate() {
            let bit = (at % 8) as u8;
            let mut bad = image.clone();
            bad.flip_bit(&path, at, bit);
            let verify = if count % 2 == 0 { 0 } else { u64::MAX };
            let place = format!("bit {bit} of byte {at} of {}", path.display());
            assert_eq!(open_and_read(bad, verify, &model, &place).as_ref(), Some(&path), "{place}");
        }
    }
}

/// A tree of one table with every kind of block in it: two of data, the index with filter and range deletions, the footer.
fn small() -> (Image, Model) {
    let mut chance = SimEntropy::new(8);
    let mut rig = Rig::open(SimDisk::calm(8), &mut chance, options(0)).map_err(|(error, _)| error).expect("a new tree");
    let mut model = Model::default();
    let changes: Vec<Change> = (0..30).map(|at| Change::Put(key(at), vec![at as u8; 180])).collect();
    for (version, changes) in
        [changes, vec![Change::DeleteRange(key(3), key(9)), Change::Delete(key(20))]].iter().enumerate()
    {
        rig.apply(version as u64 + 1, changes);
        model.apply(version as u64 + 1, changes);
    }
    rig.tree.seal();
    rig.settle().expect("no faults are planned");
    (rig.disk.image(), model)
}

#[test]
fn every_bit_of_a_small_table_and_of_its_manifest_is_reported_with_its_place() {
    let form = Form::from_env("flips of a tree", "-p tantu-lsm --test flip every_bit");
    let (image, model) = small();
    let files = image.files();
    assert_eq!(files.len(), 2, "a table and a manifest: {files:?}");
    for (path, len) in files {
        assert!(len <= 24 << 10, "{path:?} has {len} bytes");
        let outcomes = flip(&form, &image, &path, 1, |bad, byte| {
            let found = damage(bad, 0, &model, "a flipped bit").expect("nobody noticed");
            assert!(found.path == path && names(found.offset, byte), "{found} is not at byte {byte}");
            Outcome::Reported
        });
        outcomes.report(&form, &path);
        assert!(outcomes.reported > 0 || form.state().is_some());
    }
}

#[test]
fn a_table_that_is_cut_or_gone_is_reported_with_its_file() {
    let (image, model) = filled();
    for (path, len) in image.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "table"))
    {
        for left in [0, 100, 4096, len / 2, len - 4096, len - 1] {
            let mut bad = image.clone();
            bad.truncate(&path, left);
            let place = format!("{} cut to {left} bytes", path.display());
            assert_eq!(open_and_read(bad, 0, &model, &place).as_ref(), Some(&path), "{place}");
        }
        let mut bad = image.clone();
        bad.remove(&path);
        assert_eq!(open_and_read(bad, 0, &model, "gone").as_ref(), Some(&path));
    }
}

#[test]
fn a_merge_that_comes_upon_a_damaged_block_names_it_once_and_flushes_go_on() {
    let (image, _) = filled();
    let table = |(path, _): &(PathBuf, u64)| path.extension().is_some_and(|end| end == "table");
    for (path, _) in image.files().into_iter().filter(table) {
        let mut bad = image.clone();
        bad.flip_bit(&path, 100, 3);
        let disk = SimDisk::new(&Weather::new(1), Default::default(), bad);
        let opened = Rig::open(disk, &mut SimEntropy::new(1), options(0)).map_err(|(error, _)| error);
        let mut rig = opened.expect("blocks are not looked at");
        let mut chance = SimEntropy::new(5);
        let mut reports = Vec::new();
        for version in 61..=90 {
            rig.apply(version, &changes(&mut chance, KEY_COUNT));
            rig.tree.retain_from(Version(version));
            rig.tree.seal();
            reports.extend(rig.settle().err());
        }
        rig.settle().expect("it is not reported again");
        let expected = matches!(&reports[..], [Fault::Corrupt(corruption)] if corruption.path == path);
        assert!(expected, "{}: {reports:?}", path.display());
        assert_eq!(rig.tree.flushed(), Version(90), "flushes go on");
    }
}

/// Whether a check of a table on its own finds nothing wrong, how many entries it shows, and how many a search for whole
/// blocks shows.
fn look(image: &Image, path: &PathBuf) -> (bool, u64, u64) {
    let mut disk = SimDisk::new(&Weather::new(1), Default::default(), image.clone());
    let Some(id) = claimed_id(&mut disk, path).expect("no faults are planned") else { return (false, 0, 0) };
    let mut scanned = 0;
    let scan = scan_blocks(&mut disk, path, id, &mut |found| scanned += u64::from(matches!(found, Found::Entry(_))));
    scan.expect("no faults are planned");
    let Ok(table) = TableFile::open(&mut disk, path, id) else { return (false, 0, scanned) };
    let (mut shown, mut damaged) = (0, 0);
    let checked = table.check(&mut disk, &mut |_| shown += 1, &mut |corruption| {
        assert_eq!(corruption.path, *path);
        damaged += 1;
    });
    let checked = checked.expect("no faults are planned");
    assert_eq!(checked.entry_count, shown);
    table.close(&mut disk);
    (damaged == 0, shown, scanned)
}

#[test]
fn a_check_of_a_table_finds_every_flipped_bit_and_goes_on_behind_it() {
    let (image, _) = filled();
    let is_table = |(path, _): &(PathBuf, u64)| path.extension().is_some_and(|end| end == "table");
    let (mut behind, mut without_index) = (0, 0);
    for (path, len) in image.files().into_iter().filter(is_table) {
        let (whole, all, scanned) = look(&image, &path);
        assert!(whole && all > 0 && scanned == all, "{}: {all} entries, {scanned} scanned", path.display());
        for at in (0..len).step_by(97) {
            let mut bad = image.clone();
            bad.flip_bit(&path, at, (at % 8) as u8);
            let (whole, shown, scanned) = look(&bad, &path);
            assert!(!whole, "byte {at} of {}", path.display());
            behind += u32::from(shown > 0 && shown < all);
            without_index += u32::from(shown == 0 && scanned == all);
        }
    }
    assert!(behind > 10 && without_index > 10, "{behind} behind damage, {without_index} without an index");
}
