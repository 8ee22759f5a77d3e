//! Targets of files on the disk: each makes its input pass for a file whose checksums are right, and reads it.

use std::path::PathBuf;
use tantu_base::door::Disk;
use tantu_base::id::Offset;
use tantu_path::{FieldSchema, Schema};
use tantu_replog::seglog::{LogIdentity, SegLog, SegLogOptions, fuzzing};
use tantu_state::layout::{ChunkAt, DepotMeta};
use tantu_weather::{DiskWeather, Image, SimDisk, SimEntropy, Weather};

/// A manifest of a tree.
pub fn manifest(bytes: &[u8]) {
    tantu_lsm::fuzzing::manifest(bytes);
}

/// A chunk of a depot segment.
pub fn depot_chunk(bytes: &[u8]) {
    tantu_state::segment::fuzzing::chunk(bytes);
}

/// What a task's tree says of its depots: an index entry and how far the log was copied.
pub fn depot_index(bytes: &[u8]) {
    if let Ok(chunk) = ChunkAt::decode(bytes) {
        assert_eq!(ChunkAt::decode(&chunk.encode()), Ok(chunk));
        assert!(bytes.starts_with(&chunk.encode()), "{chunk:?} was encoded in another way");
    }
    if let Ok(meta) = DepotMeta::decode(bytes) {
        assert!(bytes.starts_with(&meta.encode()), "{meta:?} was encoded in another way");
    }
}

/// The documents of a data directory: `module.meta` and `checkpoint`.
pub fn document(bytes: &[u8]) {
    tantu_state::meta::fuzzing::documents(bytes);
}

/// A schema, as `module.meta` holds it.
pub fn schema(bytes: &[u8]) {
    if let Ok(schema) = Schema::decode(bytes) {
        let mut again = Vec::new();
        schema.encode(&mut again);
        assert_eq!(again, bytes, "{schema} was encoded in another way");
    }
}

/// A whole log of up to four segments: refused, or replayed densely, and after more was appended replayed again.
pub fn log(bytes: &[u8]) {
    let mut image = Image::default();
    for (file, seq) in fuzzing::segments(bytes).iter().zip(1..) {
        image.put(dir().join(format!("{seq:08}.log")), file);
    }
    let mut disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image);
    let Some((mut log, before)) = open(&mut disk) else { return };
    for (at, (lsn, _)) in before.iter().enumerate() {
        assert_eq!(*lsn, before[0].0 + at as u64, "entries are not dense");
    }
    let epoch = log.opened().epoch;
    let lsn = log.append(epoch, &[b"one more"]);
    log.pump(&mut disk);
    while log.is_busy() {
        disk.wait();
        let mut done = Vec::new();
        disk.reap(&mut done);
        done.into_iter().for_each(|done| log.complete(done, &mut disk).expect("no faults are planned"));
        log.pump(&mut disk);
    }
    assert_eq!(log.durable(), lsn.next());
    log.close(&mut disk).expect("a close");
    let (_, after) = open(&mut disk).expect("what was opened once is opened again");
    assert!(after.ends_with(&[(lsn.0, b"one more".to_vec())]), "the new entry is gone");
    let kept = &after[..after.len() - 1];
    assert!(before.ends_with(kept), "the old entries are others now");
}

fn dir() -> PathBuf {
    PathBuf::from("group/log")
}

type Entries = Vec<(u64, Vec<u8>)>;

fn open(disk: &mut SimDisk) -> Option<(SegLog, Entries)> {
    let options = SegLogOptions { segment_size: 32 << 10, group_size_max: 8 << 10, ..SegLogOptions::default() };
    let (id, mut entries) = (LogIdentity { group: fuzzing::GROUP }, Entries::new());
    let mut visit = |entry: tantu_replog::seglog::Entry<'_>| {
        entries.push((entry.lsn.0, entry.body.to_vec()));
        Ok(())
    };
    let opened = SegLog::open(disk, &dir(), 5, id, &mut SimEntropy::new(2), options, &mut visit);
    opened.ok().map(|log| (log, entries))
}

/// Index entries to begin with.
pub(crate) fn depot_index_seeds() -> Vec<Vec<u8>> {
    let chunk = |n: u64| ChunkAt {
        first: Offset(n * 17),
        segment: n,
        position: n << 12,
        size: (n as u32) << 12,
        first_ms: n * 1_000,
        last_ms: n * 1_000 + n,
    };
    (0..24).map(|n| chunk(n).encode()[..if n % 3 == 0 { 8 } else { 28 }].to_vec()).collect()
}

/// Schemas to begin with.
pub(crate) fn schema_seeds() -> Vec<Vec<u8>> {
    let leaf = |n: u32| [Schema::Any, Schema::I64, Schema::Str, Schema::Bytes, Schema::Bool][n as usize % 5].clone();
    let field = |n: u32| FieldSchema { id: n, name: format!("field{n}"), schema: leaf(n) };
    let grow = |schema: Schema, n: u32| match n % 5 {
        0 => Schema::list(schema),
        1 => Schema::map(leaf(n), schema),
        2 => Schema::set(schema),
        3 => Schema::Tuple(vec![schema, leaf(n)]),
        _ => Schema::Record((0..n % 4).map(field).collect()),
    };
    let made = (0..24).map(|n| (0..n % 6).fold(leaf(n), |schema, at| grow(schema, n + at)));
    made.map(|schema| {
        let mut out = Vec::new();
        schema.encode(&mut out);
        out
    })
    .collect()
}
