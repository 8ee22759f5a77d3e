//! The bytes of depot segments and documents, as version 1 writes them: an older directory must open for ever.

use crate::depot::Run;
use crate::meta::{ModuleMeta, ObjectKind, encode_document};
use crate::segment::{chunk_bytes, header_bytes};
use tantu_base::id::{ObjectId, Offset, TaskId};

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
