//! The bytes of a table and of a manifest, as version 3 of tables and version 1 of manifests write them: an older tree must open for ever.

use crate::block::{Block, BlockBuilder};
use crate::manifest::Manifest;
use crate::memtable::RangeDelete;
use crate::option::Compression;
use crate::prefix::PrefixRule;
use crate::table::{Filter, IndexEntry, Table, TableMeta, encode_end, place, table_path};
use std::path::Path;
use tantu_base::buf::Buf;
use tantu_base::door::{DiskOp, DiskReply, OpenMode, call};
use tantu_base::id::Version;
use tantu_weather::SimDisk;

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
fn a_table_of_version_3_stays_as_it_is() {
    let (identity, number) = (0x0123_4567_89ab_cdef, 9);
    let mut block = BlockBuilder::default();
    let apple = Filter::hash(b"apple");
    assert!(block.add(b"apple", apple, Version(7), Some(b"red"), 4096));
    assert!(block.add(b"apple", apple, Version(3), None, 4096));
    assert!(block.add(b"apricot", Filter::hash(b"apricot"), Version(1), Some(b""), 4096));
    let mut file = Buf::with_capacity(4096);
    let size = block.finish(&place(identity, number, 0), Compression::None, &mut file);
    let meta = TableMeta {
        index: vec![IndexEntry { first_key: b"apple".to_vec(), offset: 0, size }],
        filter: Filter::build(&[Filter::hash(b"apple"), Filter::hash(b"apricot")]),
        ranges: vec![RangeDelete { from: b"b".to_vec(), to: b"c".to_vec(), version: Version(2) }],
        last_key: b"apricot".to_vec(),
        entry_count: 3,
        prefix: Some(PrefixRule { byte_count: 2, value_count: 1 }),
    };
    let end = encode_end(&meta, identity, number, file.len() as u64);
    file.extend(&end);
    check("table.bin", &file);
    let block = Block::check(&file[..size as usize], &place(identity, number, 0)).expect("whole");
    assert_eq!(block.entry(0).value, Some(&b"red"[..]));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test reads its golden file")]
fn a_table_of_version_2_is_read() {
    let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/table-2.bin")).expect("it is there");
    let (mut disk, dir) = (SimDisk::calm(1), Path::new("tree"));
    call(&mut disk, DiskOp::MakeDir { path: dir.to_path_buf() }).expect("a directory");
    let open = DiskOp::Open { path: table_path(dir, 9), mode: OpenMode::Create };
    let Ok(DiskReply::Opened { file, .. }) = call(&mut disk, open) else { panic!("a new file") };
    call(&mut disk, DiskOp::Write { file, offset: 0, buf: Buf::from(&golden[..]), durable: true }).expect("a write");
    let table = Table::open(&mut disk, dir, 0x0123_4567_89ab_cdef, 9).expect("an old table");
    table.verify(&mut disk).expect("its blocks are read");
    assert_eq!((table.meta.entry_count, table.meta.prefix), (3, None));
    assert_eq!(table.meta.ranges[0].version, Version(2));
    assert!(!table.lacks_prefix(Some(PrefixRule { byte_count: 1, value_count: 0 }), 7), "it may have any prefix");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test reads its golden file; TANTU_BLESS=1 writes it anew")]
fn a_compressed_block_of_version_3_is_read() {
    // Another LZ4 encoder may write other bytes: only what was written must be read.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/block-lz4.bin");
    let value = |n: u64| format!("value {n} ").repeat(10).into_bytes();
    if std::env::var_os("TANTU_BLESS").is_some() {
        let mut block = BlockBuilder::default();
        for n in 0..200u64 {
            let key = n.to_be_bytes();
            assert!(block.add(&key, Filter::hash(&key), Version(n + 1), Some(&value(n)), 60 << 10));
        }
        let mut file = Buf::with_capacity(4096);
        block.finish(&place(3, 4, 0), Compression::Lz4, &mut file);
        std::fs::write(path, &*file).expect("the golden folder can be written");
    }
    let golden = std::fs::read(path).expect("the golden file is there");
    let block = Block::check(&golden, &place(3, 4, 0)).expect("whole");
    assert!(block.size() > 2 * golden.len(), "it was compressed");
    let found = |n: u64| block.find(&n.to_be_bytes(), Filter::hash(&n.to_be_bytes()), Version(500));
    assert!((0..200).all(|n| found(n).is_some_and(|entry| entry.value == Some(&value(n)[..]))));
}

#[test]
fn a_manifest_of_version_1_stays_as_it_is() {
    let levels = vec![vec![vec![4, 5], vec![3]], vec![vec![1]]];
    let manifest = Manifest { seq: 6, identity: 77, flushed: Version(123), next_table: 6, levels };
    check("manifest.bin", &manifest.encode());
}
