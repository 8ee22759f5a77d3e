//! Damaged bytes of a task's files: whoever opens or reads is told the file and the place, and nobody gets a wrong record.

mod support;

use std::path::{Path, PathBuf};
use support::{Expected, Rig};
use tantu_base::id::{ObjectId, TaskId, ThreadId, Version};
use tantu_lsm::{Corruption, OpenError};
use tantu_proof::Form;
use tantu_proof::flips::{Outcome, flip, names};
use tantu_state::meta::{
    Checkpoint, DocumentError, ModuleMeta, ObjectKind, ObjectMeta, read_checkpoint, read_module, write_checkpoint,
    write_module,
};
use tantu_state::segment::SegmentError;
use tantu_state::task::StateError;
use tantu_weather::{DiskWeather, Image, SimDisk, SimEntropy, Weather};

const SEED: u64 = 5;

fn disk_with(image: Image) -> SimDisk {
    SimDisk::new(&Weather::new(SEED), DiskWeather::default(), image)
}

/// A task with records in a depot segment, which its tree knows of, and little else.
fn small() -> (Image, Expected) {
    let mut chance = SimEntropy::new(SEED);
    let (mut expected, disk) = (Expected::default(), SimDisk::calm(SEED));
    let mut rig = Rig::open(disk.another(), &mut chance, &expected).expect("a new task");
    rig.work(4, &mut chance, &mut expected).expect("no faults are planned");
    rig.copy_and_flush(&mut chance, &mut expected).expect("no faults are planned");
    rig.close().expect("a close");
    (disk.image(), expected)
}

/// Which file an error names, and where in it.
fn place_of(error: StateError) -> (PathBuf, u64) {
    match error {
        StateError::Segment(SegmentError::Corrupt { path, offset, .. })
        | StateError::TreeOpen(OpenError::Corrupt(Corruption { path, offset, .. }))
        | StateError::Tree(tantu_lsm::Fault::Corrupt(Corruption { path, offset, .. }))
        | StateError::Corrupt(Corruption { path, offset, .. }) => (path, offset),
        other => panic!("it names no place: {other}"),
    }
}

#[test]
fn every_bit_of_a_depot_segment_and_of_its_index_is_reported_with_its_place() {
    let form = Form::from_env("flips of a task", "-p tantu-state --test flip every_bit_of_a_depot");
    let (image, expected) = small();
    let files = image.files();
    assert!(files.iter().any(|(path, _)| path.extension().is_some_and(|end| end == "seg")), "{files:?}");
    for (path, _) in files {
        // Tables have a proof of their own; here it is enough that the index of the chunks is under their checksums.
        let step = if path.extension().is_some_and(|end| end == "seg") { 7 } else { 61 };
        let outcomes = flip(&form, &image, &path, step, |bad, byte| {
            let opened = Rig::open(disk_with(bad), &mut SimEntropy::new(1), &expected);
            let read = opened.and_then(|mut rig| rig.check(&expected));
            let (named, offset) = place_of(read.expect_err("nobody noticed"));
            assert!(named == path && names(offset, byte), "byte {byte} was named {named:?}, {offset}");
            Outcome::Reported
        });
        outcomes.report(&form, &path);
    }
}

/// Flips every bit of a document that is read in some way.
fn flip_document(form: &Form, image: &Image, path: &Path, read: impl Fn(&mut SimDisk) -> Result<bool, DocumentError>) {
    assert_eq!(read(&mut disk_with(image.clone())), Ok(true), "untouched");
    let outcomes = flip(form, image, path, 1, |bad, byte| match read(&mut disk_with(bad)) {
        Err(DocumentError::Corrupt { path: named, offset, .. }) if named == path && names(offset, byte) => {
            Outcome::Reported
        }
        other => panic!("{other:?}"),
    });
    outcomes.report(form, path);
}

#[test]
fn every_bit_of_the_documents_of_a_directory_is_reported_with_its_file() {
    let form = Form::from_env("flips of documents", "-p tantu-state --test flip every_bit_of_the_documents");
    let object =
        ObjectMeta { kind: ObjectKind::PState, name: "$$counts".into(), id: ObjectId(1), schema: vec![1, 2, 3] };
    let meta = ModuleMeta { module: "Words".into(), task_count: 4, thread_count: 2, objects: vec![object] };
    let reached = (0..9).map(|task| (TaskId(task), Version(u64::from(task) * 77))).collect();
    let checkpoint = Checkpoint { thread: ThreadId(1), reached };
    let (module_path, checkpoint_path) = (Path::new("m/module.meta"), Path::new("m/threads/1/checkpoint"));
    let mut disk = SimDisk::calm(SEED);
    write_module(&mut disk, module_path, &meta).expect("a document");
    write_checkpoint(&mut disk, checkpoint_path, &checkpoint).expect("a document");
    let image = disk.image();
    let right = |disk: &mut SimDisk| Ok(read_module(disk, module_path)?.as_ref() == Some(&meta));
    flip_document(&form, &image, module_path, right);
    let right =
        |disk: &mut SimDisk| Ok(read_checkpoint(disk, checkpoint_path, ThreadId(1))?.as_ref() == Some(&checkpoint));
    flip_document(&form, &image, checkpoint_path, right);
}
