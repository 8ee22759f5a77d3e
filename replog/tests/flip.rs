//! Damaged bytes: open names the file, or cuts the very last group; nobody gets a wrong entry.

mod support;

use std::path::{Path, PathBuf};
use support::{DIR, Replayed, Rig, check_entries};
use tantu_proof::Form;
use tantu_proof::flips::{Outcome, flip, names};
use tantu_replog::seglog::inspect::{Part, survey, walk};
use tantu_replog::seglog::{OpenError, SegLogOptions};
use tantu_weather::{DiskWeather, Image, SimDisk, SimEntropy, Weather};

const SEED: u64 = 9;

/// A log over two segments, with a marker at its end or without, and how many entries are in it; and how many before
/// its last group.
fn filled(marked: bool) -> (Image, u64, u64) {
    let mut chance = SimEntropy::new(SEED);
    let mut rig = Rig::open(SimDisk::calm(SEED), &mut chance).map_err(|(error, _)| error).expect("a new log");
    let (mut end, mut before) = (0, 0);
    while rig.disk.image().files().len() < 2 || end - before < 4 || end < 60 {
        before = end;
        for _ in 0..4 {
            rig.append(end, SEED);
            end += 1;
        }
        rig.settle().expect("no faults are planned");
    }
    if marked {
        rig.log.idle(&mut rig.disk);
        rig.settle().expect("no faults are planned");
    }
    (rig.disk.image(), end, before)
}

/// What is reported, or how many entries were found.
fn open(image: Image, place: &str) -> Result<u64, PathBuf> {
    damage(image, place).map_err(|(path, _)| path)
}

/// As [`open`], with where in the file.
fn damage(image: Image, place: &str) -> Result<u64, (PathBuf, u64)> {
    let disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image);
    match Rig::open(disk, &mut SimEntropy::new(2)) {
        Ok(rig) => {
            let (first, end) = check_entries(&rig.replayed, SEED, place);
            assert_eq!(first, 0, "{place}");
            Ok(end)
        }
        Err((OpenError::Corrupt { path, offset, .. }, _)) => Err((path, offset)),
        Err((OpenError::Unsupported { path, .. }, _)) => Err((path, 0)),
        Err((error, _)) => panic!("{place}: {error}"),
    }
}

fn flip_everywhere(marked: bool) {
    let (image, end, before) = filled(marked);
    let (mut reported, mut cut, mut unharmed) = (0, 0, 0);
    for (path, _) in image.files() {
        let bytes = image.read(&path).expect("it is listed");
        for at in (0..bytes.len()).step_by(31) {
            let bit = (at / 31 % 8) as u8;
            let mut bad = image.clone();
            bad.flip_bit(&path, at as u64, bit);
            let place = format!("bit {bit} of byte {at} of {}", path.display());
            match open(bad, &place) {
                Err(named) => {
                    assert_eq!(named, path, "{place}");
                    reported += 1;
                }
                Ok(found) if found == end => unharmed += 1,
                Ok(found) => {
                    assert!(!marked && found >= before, "{place}: {found} of {end} entries, silently");
                    cut += 1;
                }
            }
        }
    }
    assert!(reported > 500 && unharmed > 0, "{reported} reported, {cut} cut, {unharmed} unharmed");
    assert_eq!(cut > 0, !marked, "{cut} cut");
}

#[test]
fn a_flipped_bit_is_reported_or_cuts_the_last_group_of_a_log_that_was_killed() {
    flip_everywhere(false);
}

#[test]
fn a_flipped_bit_is_always_reported_after_a_marker() {
    flip_everywhere(true);
}

fn calm(image: Image) -> SimDisk {
    SimDisk::new(&Weather::new(1), DiskWeather::default(), image)
}

/// What a survey says of an image, and that it changed nothing.
fn look(image: &Image, place: &str) -> Result<u64, PathBuf> {
    let (mut disk, mut seen) = (calm(image.clone()), Vec::new());
    let found = survey(&mut disk, Path::new(DIR), 2, &mut |entry| {
        seen.push((entry.lsn.0, entry.epoch.0, entry.body.to_vec()));
        Ok(())
    });
    assert!(disk.image().digest() == image.digest(), "{place}: looking changed something");
    match found {
        Ok(_) => Ok(check_entries(&seen, SEED, place).1),
        Err(OpenError::Corrupt { path, .. } | OpenError::Unsupported { path, .. }) => Err(path),
        Err(error) => panic!("{place}: {error}"),
    }
}

/// The entries a walk through every segment shows, and how many damaged parts.
fn walk_all(image: &Image) -> (Vec<Replayed>, usize) {
    let (mut entries, mut damaged) = (Vec::new(), 0);
    for (path, _) in image.files() {
        let mut disk = calm(image.clone());
        let walked = walk(&mut disk, &path, &mut |part| match part {
            Part::Entry { lsn, epoch, body } => entries.push((lsn.0, epoch.0, body.expect("it fits").to_vec())),
            Part::Damaged { .. } | Part::Header { header: None, .. } => damaged += 1,
            Part::Group { chained, .. } if !chained => damaged += 1,
            Part::Header { .. } | Part::Group { .. } | Part::Unwritten { .. } => {}
        });
        walked.expect("no faults are planned");
    }
    (entries, damaged)
}

#[test]
fn who_looks_at_a_damaged_log_is_told_what_an_open_would_say_and_sees_the_groups_behind_the_damage() {
    let (image, end, _) = filled(false);
    let (all, damaged) = walk_all(&image);
    assert_eq!((check_entries(&all, SEED, "untouched").1, damaged), (end, 0));
    let mut behind = 0;
    for (path, _) in image.files() {
        let size = image.read(&path).expect("it is listed").len();
        for at in (0..size).step_by(211) {
            let mut bad = image.clone();
            bad.flip_bit(&path, at as u64, (at % 8) as u8);
            let place = format!("byte {at} of {}", path.display());
            assert_eq!(look(&bad, &place), open(bad.clone(), &place), "{place}");
            let (shown, damaged) = walk_all(&bad);
            assert!(shown.iter().all(|entry| all.contains(entry)), "{place}: a wrong entry");
            assert!(damaged > 0, "{place}: not shown");
            behind += usize::from(shown.len() < all.len() && shown.last() == all.last());
        }
    }
    assert!(behind > 20, "{behind}");
}

/// A log of one small segment with four groups, the last of which is a marker if it was closed.
fn small(closed: bool) -> Image {
    let mut chance = SimEntropy::new(SEED);
    let options = SegLogOptions { segment_size: 32 << 10, ..support::options() };
    let opened = Rig::open_with(SimDisk::calm(SEED), &mut chance, options);
    let mut rig = opened.map_err(|(error, _)| error).expect("a new log");
    for end in 0..3 {
        rig.append(end, SEED);
        rig.settle().expect("no faults are planned");
    }
    if closed {
        rig.log.idle(&mut rig.disk);
        rig.settle().expect("no faults are planned");
    }
    rig.disk.image()
}

#[test]
fn every_bit_of_a_small_segment_is_reported_or_cuts_its_unacknowledged_tail() {
    let form = Form::from_env("flips of a log", "-p tantu-replog --test flip every_bit");
    for closed in [false, true] {
        let image = small(closed);
        let (path, len) = image.files().into_iter().next().expect("a segment");
        assert!(len <= 64 << 10, "{len} bytes");
        let bytes = image.read(&path).expect("it is listed");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at.next_multiple_of(4096)) as u64;
        let outcomes = flip(&form, &image, &path, 7, |bad, byte| match damage(bad, "a flipped bit") {
            Err((named, offset)) => {
                assert!(named == path && names(offset, byte), "byte {byte} was named {named:?}, {offset}");
                Outcome::Reported
            }
            Ok(3) if byte >= used => Outcome::Unharmed,
            Ok(found) => {
                assert!(byte >= used - 4096 && byte < used, "byte {byte}: {found} entries, silently");
                // Without a marker the last group holds the last entry; the marker holds none.
                assert_eq!(found, if closed { 3 } else { 2 }, "byte {byte}");
                Outcome::Cut
            }
        });
        outcomes.report(&form, &path);
        assert!(form.state().is_some() || form.is_long() || outcomes.reported > outcomes.cut, "{outcomes:?}");
    }
}
