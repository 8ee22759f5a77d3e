//! The bytes of a table and of a manifest, as version 2 of tables and version 1 of manifests write them: an older tree must open for ever.

use crate::block::{Block, BlockBuilder};
use crate::manifest::Manifest;
use crate::memtable::RangeDelete;
use crate::table::{Filter, IndexEntry, TableMeta, encode_end, place};
use tantu_base::buf::Buf;
use tantu_base::id::Version;

#[allow(clippy::disallowed_methods, reason = "a test reads its golden file; TANTU_BLESS=1 writes it anew")]
fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TANTU_BLESS").is_some() {
        std::fs::write(&path, bytes).expect("the golden folder can be written");
    }
    let golden = std::fs::read(&path).expect("the golden file is there");
    assert!(golden == bytes, "{name}: this build writes other bytes than its version did");
}

#[test]
fn a_table_of_version_2_stays_as_it_is() {
    let (identity, number) = (0x0123_4567_89ab_cdef, 9);
    let mut block = BlockBuilder::default();
    let apple = Filter::hash(b"apple");
    assert!(block.add(b"apple", apple, Version(7), Some(b"red"), 4096));
    assert!(block.add(b"apple", apple, Version(3), None, 4096));
    assert!(block.add(b"apricot", Filter::hash(b"apricot"), Version(1), Some(b""), 4096));
    let mut file = Buf::with_capacity(4096);
    let size = block.finish(&place(identity, number, 0), &mut file);
    let meta = TableMeta {
        index: vec![IndexEntry { first_key: b"apple".to_vec(), offset: 0, size }],
        filter: Filter::build(&[Filter::hash(b"apple"), Filter::hash(b"apricot")]),
        ranges: vec![RangeDelete { from: b"b".to_vec(), to: b"c".to_vec(), version: Version(2) }],
        last_key: b"apricot".to_vec(),
        entry_count: 3,
    };
    let end = encode_end(&meta, identity, number, file.len() as u64);
    file.extend(&end);
    check("table.bin", &file);
    let block = Block::check(&file[..size as usize], &place(identity, number, 0)).expect("whole");
    assert_eq!(block.entry(0).value, Some(&b"red"[..]));
}

#[test]
fn a_manifest_of_version_1_stays_as_it_is() {
    let levels = vec![vec![vec![4, 5], vec![3]], vec![vec![1]]];
    let manifest = Manifest { seq: 6, identity: 77, flushed: Version(123), next_table: 6, levels };
    check("manifest.bin", &manifest.encode());
}
