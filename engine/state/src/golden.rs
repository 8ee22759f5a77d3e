//! The bytes of depot segments and documents, as version 1 writes them: an older directory must open for ever.

use crate::depot::Run;
use crate::meta::{ModuleMeta, ObjectKind, encode_document};
use crate::producer::Span;
use crate::section::EntryWriter;
use crate::segment::{chunk_bytes, header_bytes};
use crate::side::Published;
use crate::side::append::Appended;
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, ProducerId, RunId, TaskId, Version};

#[allow(clippy::disallowed_methods, reason = "a test reads its golden file; TANTU_BLESS=1 writes it anew")]
fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TANTU_BLESS").is_some() {
        std::fs::write(&path, bytes).expect("the golden folder can be written");
    }
    let golden = std::fs::read(&path).expect("the golden file is there");
    assert!(golden == bytes, "{name}: this build writes other bytes than version 1 did");
}

#[test]
fn a_depot_segment_of_version_1_stays_as_it_is() {
    let mut run = Run::new(Offset(40));
    run.time_ms = 1_700_000_000_000;
    run.push(b"first");
    run.push(b"");
    let mut file = header_bytes(TaskId(3), 7, 0x0123_4567_89ab_cdef).to_vec();
    file.extend_from_slice(&chunk_bytes(TaskId(3), 7, 0x0123_4567_89ab_cdef, 4096, ObjectId(2), &[run]));
    check("depot-segment.bin", &file);
}

#[test]
fn a_module_document_of_version_1_stays_as_it_is() {
    let mut meta =
        ModuleMeta { module: "WordCount".to_string(), task_count: 8, thread_count: 2, ..ModuleMeta::default() };
    meta.object(ObjectKind::Depot, "*lines", &[]);
    meta.object(ObjectKind::PState, "$$counts", &[1, 2, 3]);
    check("module-meta.bin", &encode_document(&meta));
}

#[test]
fn what_an_entry_of_version_1_says_of_side_runs_stays_as_it_is() {
    let attempt = Attempt { epoch: Epoch(5), counter: 2 };
    let run = RunId { topology: ObjectId(11), id: 0x0102_0304, attempt };
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(TaskId(3), Version(9));
    let chunk = entry.begin_chunk(run, 0);
    entry.delete_range(b"from", b"to");
    entry.put(b"key", b"value");
    entry.delete(b"gone");
    entry.end_chunk(chunk);
    entry.prepared(run, Epoch(6), 1);
    entry.publish(run);
    entry.drop_run(run);
    entry.end_section(start);
    entry.body.extend_from_slice(&Published { run, version: Version(9) }.encode());
    check("side-run.bin", &entry.body);
}

#[test]
fn what_an_entry_of_version_1_says_of_records_of_side_runs_stays_as_it_is() {
    let attempt = Attempt { epoch: Epoch(5), counter: 2 };
    let run = RunId { topology: ObjectId(11), id: 0x0102_0304, attempt };
    let mut records = Run::new(Offset(1));
    records.push(b"second");
    records.push(b"");
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(TaskId(3), Version(9));
    entry.run_records(run, ObjectId(2), &records);
    entry.publish(run);
    let (depot, first, time_ms) = (ObjectId(2), Offset(0x0506_0708), 1_700_000_000_000);
    entry.run_appended(&Appended { run, depot, first, count: 3, time_ms });
    entry.end_section(start);
    check("side-append.bin", &entry.body);
}

#[test]
fn what_an_entry_of_version_1_says_of_producers_stays_as_it_is() {
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(TaskId(3), Version(9));
    let spans =
        [Span { sequence: 7, offset: Offset(40), count: 2 }, Span { sequence: 9, offset: Offset(44), count: 1 }];
    let producer = ProducerId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    entry.produced(ObjectId(2), producer, 3, 1_700_000_000_000, &spans.into());
    entry.produced(ObjectId(2), ProducerId::named("loader"), 4, 1_700_000_000_001, &[].into());
    entry.end_section(start);
    check("produced.bin", &entry.body);
}

#[test]
fn what_an_entry_of_version_1_says_of_a_side_run_on_the_disk_stays_as_it_is() {
    let attempt = Attempt { epoch: Epoch(5), counter: 2 };
    let run = RunId { topology: ObjectId(11), id: 0x0102_0304, attempt };
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(TaskId(3), Version(9));
    entry.spilled(run, Epoch(6), 0x0506_0708, Version(0x090a_0b0c));
    entry.end_section(start);
    check("side-run-spilled.bin", &entry.body);
}
