//! What the fuzz targets may call: decoders of bytes on the disk, behind their checksums.

use crate::block::{Block, BlockBuilder};
use crate::compress;
use crate::manifest::Manifest;
use crate::memtable::RangeDelete;
use crate::option::Compression;
use crate::prefix::PrefixRule;
use crate::table::{FORMAT_VERSION, FORMAT_VERSION_MIN, Filter, IndexEntry, TableMeta, place};
use tantu_base::buf::Buf;
use tantu_base::id::Version;
use tantu_base::limit::BLOCK_ALIGN;

/// Any bytes as a block whose size and checksum are right: refused, or every entry can be read and looked for.
pub fn block(bytes: &[u8]) {
    let place = place(1, 1, 0);
    let mut file = bytes.to_vec();
    file.resize(bytes.len().max(1).next_multiple_of(BLOCK_ALIGN), 0);
    let size = file.len() as u32;
    let is_packed = file[7] & 0x80 != 0;
    file[4..8].copy_from_slice(&(size | if is_packed { compress::FLAG } else { 0 }).to_le_bytes());
    let crc = place.crc(&file[4..]);
    file[..4].copy_from_slice(&crc.to_le_bytes());
    let Ok(block) = Block::check(&file, &place) else { return };
    assert!(block.count() > 0 && (is_packed || block.size() == file.len()));
    let mut place = block.place_of(0);
    for at in 0..block.count() {
        let (entry, next) = block.entry_at(place).expect("there are more");
        assert!(entry == block.entry(at) && place == block.place_of(at));
        place = next;
        let key = [block.prefix(), entry.suffix].concat();
        assert!(block.seek(&key, entry.version) <= block.count());
        if let Some(found) = block.find(&key, Filter::hash(&key), entry.version) {
            assert!(found.suffix == entry.suffix && found.version <= entry.version);
        }
    }
    assert!(block.entry_at(place).is_none() && place == block.place_of(block.count()));
    assert!(block.find(b"", 0, Version(0)).is_none_or(|entry| entry.suffix.is_empty()));
}

/// Any bytes as what of a table stays in memory: refused, or exactly what is written again.
pub fn table_meta(bytes: &[u8]) {
    if let Ok(meta) = TableMeta::decode(bytes, FORMAT_VERSION) {
        assert_eq!(meta.encode(), bytes, "it was encoded in another way");
    }
    if let Ok(meta) = TableMeta::decode(bytes, FORMAT_VERSION_MIN) {
        assert_eq!(meta.prefix, None, "version 2 has no such field");
        assert_eq!(meta.encode(), [bytes, &[0]].concat(), "version 3 adds one byte");
    }
}

/// Any bytes as a manifest whose size and checksum are right: refused, or one that is read the same once it is written.
pub fn manifest(bytes: &[u8]) {
    const SEQ: u64 = 9;
    let mut file = bytes.to_vec();
    file.resize(bytes.len().max(1).next_multiple_of(BLOCK_ALIGN), 0);
    Manifest::put_right(SEQ, &mut file);
    if let Ok(manifest) = Manifest::decode(SEQ, &file) {
        assert_eq!(Manifest::decode(SEQ, &manifest.encode()).as_ref(), Ok(&manifest));
        assert!(manifest.tables().count() * 8 <= bytes.len(), "it names more tables than it has room for");
    }
}

/// Manifests to begin with.
pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let fill = |n: u64| {
        let run = |at: u64| (0..(n + at) % 4).map(|table| n * 10 + table).collect();
        let levels = (0..n % 4).map(|level| (0..(n + level) % 3).map(run).collect()).collect();
        let manifest = Manifest { seq: 9, identity: n << 33, flushed: Version(n * 7), next_table: n * 100, levels };
        let file = manifest.encode();
        let end = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        file[..end].to_vec()
    };
    (0..24).map(fill).collect()
}

/// Blocks to begin with.
pub fn block_seeds() -> Vec<Vec<u8>> {
    let fill = |n: u64| {
        let mut builder = BlockBuilder::default();
        for key in 0..n {
            let key = [&b"shared "[..n as usize % 8], &key.to_be_bytes()[(n % 5) as usize..]].concat();
            let value = (n % 3 != 2).then(|| vec![n as u8; (n * 7 % 40) as usize]);
            for older in 0..=n % 2 {
                let version = Version((1 << (n * 3 % 60)) + 9 - older);
                assert!(builder.add(&key, Filter::hash(&key), version, value.as_deref(), 60 << 10));
            }
        }
        let mut out = Buf::with_capacity(0);
        let compression = if n % 6 == 4 { Compression::Lz4 } else { Compression::None };
        builder.finish(&place(1, 1, 0), compression, &mut out);
        let end = out.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        out[..end].to_vec()
    };
    (1..=24).map(fill).chain([202, 604].map(fill)).collect()
}

/// Metas to begin with.
pub fn table_meta_seeds() -> Vec<Vec<u8>> {
    let fill = |n: u64| {
        let key = |at: u64| [&b"k"[..], &at.to_be_bytes()[(n % 8) as usize..]].concat();
        let index = (0..n % 7).map(|at| IndexEntry { first_key: key(at), offset: at * 4096, size: 4096 }).collect();
        let ranges =
            (0..n % 3).map(|at| RangeDelete { from: key(at), to: key(at + 1), version: Version(at) }).collect();
        let hashes: Vec<u64> = (0..n).map(|at| Filter::hash(&key(at))).collect();
        let prefix = (n % 4 == 1).then_some(PrefixRule { byte_count: n as u16, value_count: 1 });
        TableMeta { index, filter: Filter::build(&hashes), ranges, last_key: key(n), entry_count: n, prefix }.encode()
    };
    (0..24).map(fill).collect()
}
