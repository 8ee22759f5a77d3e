//! What the fuzz targets check, as plain functions.
//!
//! Each takes any bytes and panics if they break a law. libFuzzer feeds them through `fuzz_targets/`; the
//! tests of this crate feed them the corpus, so that whatever was once found stays found on every machine,
//! without libFuzzer. Run one, from the root:
//!
//! ```text
//! cargo +stable fuzz run -s none value_decode -- -dict=fuzz/dicts/value_decode.dict
//! cargo test --manifest-path fuzz/Cargo.toml
//! ```

pub mod storage;

use tantu_base::value::{
    KeyReader, Reader, Value, compare_encoded, encoded, encoded_key, key_to_value, validate, value_to_key,
};

use tantu_base::fixed::FixedReader;
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, ProducerId, RunId, TaskId, Version};
use tantu_net::event::{Event, EventWriter, Events, next_place};
use tantu_net::letter::{
    AckLevel, ClientLetter, HoldSays, Letter, MicrobatchAsk, MicrobatchSays, NumberFault, Refusal, Root, SnapshotSays,
    StreamLetter,
};
use tantu_path::Path;
use tantu_state::depot::Run;
use tantu_state::producer::Span;
use tantu_state::section::{EntryWriter, Op, chunk_writes, sections};

/// Makes a binary of a target: libFuzzer's when it is built for it, else one that replays the files it is given.
#[macro_export]
macro_rules! target {
    ($($property:ident)::+) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::$($property)::+(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            $crate::replay_arguments($crate::$($property)::+)
        }
    };
}

/// Runs a property on every file named on the command line.
///
/// # Errors
/// A file that cannot be read.
pub fn replay_arguments(property: Property) -> std::io::Result<()> {
    std::env::args_os().skip(1).try_for_each(|path| {
        property(&std::fs::read(path)?);
        Ok(())
    })
}

/// The dictionary of a target, in `fuzz/dicts/`.
pub fn dictionary(target: &str) -> String {
    match target {
        "value_decode" | "value_key_decode" => format!("{target}.dict"),
        _ => "lengths.dict".to_string(),
    }
}

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also the name of its binary and its corpus.
pub const TARGETS: [(&str, Property); 13] = [
    ("value_decode", value_decode),
    ("value_key_decode", value_key_decode),
    ("table_block", table_block),
    ("table_meta", table_meta),
    ("entry", entry),
    ("letters", letters),
    ("path_decode", path_decode),
    ("manifest", storage::manifest),
    ("log", storage::log),
    ("depot_chunk", storage::depot_chunk),
    ("depot_index", storage::depot_index),
    ("document", storage::document),
    ("schema", storage::schema),
];

/// A data block of a table, its checksum put right.
pub fn table_block(bytes: &[u8]) {
    tantu_lsm::fuzzing::block(bytes);
}

/// The index, filter and range deletions of a table.
pub fn table_meta(bytes: &[u8]) {
    tantu_lsm::fuzzing::table_meta(bytes);
}

/// The body of a log entry: its sections, their ops, and the records in them.
pub fn entry(bytes: &[u8]) {
    // Without a checksum before them.
    chunk(RunId::default(), 0, bytes);
    for section in sections(bytes) {
        let Ok(section) = section else { return };
        for op in section.iter() {
            let Ok(op) = op else { break };
            if let Op::Append { run: encoded, .. } | Op::RunRecords { records: encoded, .. } = op
                && let Ok(run) = Run::decode(encoded)
            {
                let mut again = Vec::new();
                run.encode(&mut again);
                assert_eq!(again, encoded, "a run was encoded in another way");
                let size: usize = (0..run.count() as usize).map(|at| run.record(at).len()).sum();
                assert_eq!(size, run.size());
            }
            if let Op::Chunk { run, seq, writes } = op {
                chunk(run, seq, writes);
            }
        }
    }
}

/// A chunk of a side run: what can be read of it is written in the same way.
fn chunk(run: RunId, seq: u32, writes: &[u8]) {
    let mut again = EntryWriter::default();
    let start = again.begin_chunk(run, seq);
    for write in chunk_writes(writes) {
        match write {
            Ok(Op::Put { key, value }) => again.put(key, value),
            Ok(Op::Delete { key }) => again.delete(key),
            Ok(Op::DeleteRange { from, to }) => again.delete_range(from, to),
            Ok(op) => panic!("{op:?} is no write"),
            Err(_) => break,
        }
    }
    assert!(writes.starts_with(&again.body[start..]), "the chunk was encoded in another way");
}

/// A batch of letters between threads.
pub fn letters(bytes: &[u8]) {
    let mut reader = FixedReader::new(bytes);
    while let Some(Ok(letter)) = Letter::decode_next(&mut reader) {
        let mut frame = Vec::new();
        letter.encode(&mut frame);
        let again = Letter::decode_next(&mut FixedReader::new(&frame));
        assert_eq!(again, Some(Ok(letter)));
        if let Letter::Events { rows } = letter {
            let events: Vec<Event<'_>> = Events::new(rows).map_while(Result::ok).collect();
            let (mut writer, mut packed) = (EventWriter::default(), Vec::new());
            events.iter().for_each(|event| writer.push(event, &mut packed));
            let again: Result<Vec<_>, _> = Events::new(&packed).collect();
            assert_eq!(again, Ok(events), "what was read is not what it is when it is written");
        }
    }
}

/// A client's path.
pub fn path_decode(bytes: &[u8]) {
    if let Ok(path) = Path::decode(bytes) {
        let mut again = Vec::new();
        path.encode(&mut again).expect("what was read can be written");
        assert_eq!(again, bytes, "{path:?} was encoded in another way");
    }
}

/// Inputs to begin with, made by the encoders themselves.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "table_block" => tantu_lsm::fuzzing::block_seeds(),
        "table_meta" => tantu_lsm::fuzzing::table_meta_seeds(),
        "entry" => (0..32).map(entry_seed).chain((1..5).map(produced_seed)).collect(),
        "letters" => {
            (0..24).map(letters_seed).chain((0..8).map(events_seed)).chain((0..4).map(client_letters_seed)).collect()
        }
        "path_decode" => (0..24).map(path_seed).collect(),
        "manifest" => tantu_lsm::fuzzing::manifest_seeds(),
        "log" => tantu_replog::seglog::fuzzing::seeds(),
        "depot_chunk" => tantu_state::segment::fuzzing::chunk_seeds(),
        "depot_index" => storage::depot_index_seeds(),
        "document" => tantu_state::meta::fuzzing::document_seeds(),
        "schema" => storage::schema_seeds(),
        _ => Vec::new(),
    }
}

fn entry_seed(n: u64) -> Vec<u8> {
    let mut entry = EntryWriter::default();
    for task in 0..=n % 3 {
        let start = entry.begin_section(TaskId(task as u32), Version(n + 1));
        for key in 0..n % 4 {
            entry.put(&key.to_be_bytes()[4..], &vec![key as u8; (n * 3) as usize]);
        }
        if n % 5 == 1 {
            entry.delete(b"gone");
        }
        if n % 2 == 0 {
            let mut run = Run::new(Offset(n * 10));
            run.time_ms = 1_000 + n;
            (0..n % 6).for_each(|at| run.push(&vec![b'r'; at as usize * 3]));
            entry.append(ObjectId(2), &run);
        }
        if n >= 24 {
            let attempt = Attempt { epoch: Epoch(n), counter: n as u32 };
            let run = RunId { topology: ObjectId(7), id: n, attempt };
            let chunk = entry.begin_chunk(run, 0);
            entry.delete_range(b"a", b"c");
            entry.put(b"b", &vec![b'w'; n as usize]);
            entry.end_chunk(chunk);
            entry.prepared(run, Epoch(n + 1), 1);
            if n % 2 == 0 {
                entry.publish(run)
            } else {
                entry.drop_run(run)
            }
            if n >= 30 {
                entry.spilled(run, Epoch(n + 2), n << 33, Version(n + 3));
            }
        }
        entry.end_section(start);
    }
    entry.body
}

/// What a producer numbered, and that it started anew.
fn produced_seed(n: u64) -> Vec<u8> {
    let mut entry = EntryWriter::default();
    let start = entry.begin_section(TaskId(1), Version(n));
    let mut run = Run::new(Offset(n * 10));
    (0..n).for_each(|_| run.push(b"record"));
    entry.append(ObjectId(2), &run);
    let producer = ProducerId(1 << 100 | 7);
    let spans = [Span { sequence: n, offset: Offset(n * 10), count: n as u32 }];
    entry.produced(ObjectId(2), producer, n as u32, 1_000 + n, &spans.into());
    entry.produced(ObjectId(3), producer, n as u32 + 1, 1_000 + n, &[].into());
    entry.end_section(start);
    entry.body
}

/// Letters about numbers, cancelling and reads at one microbatch.
fn client_letters_seed(n: u64) -> Vec<u8> {
    let root = Root { task: TaskId(1), source: 0, offset: Offset(n), attempt: n as u32 };
    let (task, producer, ack) = (TaskId(1), ProducerId(1 << 100 | 7), AckLevel::Ack);
    let (epoch, record) = (n as u32, &b"record"[..]);
    let all = [
        ClientLetter::AppendNumbered { task, request: n, depot: 1, ack, producer, epoch, sequence: n, record },
        ClientLetter::StartProducer { task, request: n, depot: 1, producer, epoch, exact: n % 2 == 1 },
        ClientLetter::Producer { request: n, producer, epoch },
        ClientLetter::Misnumbered { request: n, fault: NumberFault::TooOld, number: n },
        ClientLetter::Cancel { requests: &[0; 16] },
        ClientLetter::Hold { task, root, topology: 1, says: HoldSays::Keep, id: n, lease_ms: 30_000 },
        ClientLetter::SelectAt { task, request: n, pstate: 1, snapshot: n, path: b"path" },
        ClientLetter::Snapshot { task, request: n, topology: 1, says: SnapshotSays::Take, number: n, id: 0 },
    ];
    let mut batch = Vec::new();
    all.iter().cycle().skip(2 * n as usize).take(2).for_each(|letter| Letter::Client(*letter).encode(&mut batch));
    batch
}

fn letters_seed(n: u64) -> Vec<u8> {
    let root = Root { task: TaskId(1), source: 0, offset: Offset(n), attempt: n as u32 };
    let all = [
        Letter::Append { task: TaskId(n as u32), request: n, depot: 1, ack: AckLevel::Ack, record: b"record" },
        Letter::Select { task: TaskId(2), request: n, pstate: 3, path: b"path" },
        Letter::Continue { task: TaskId(3), stream: 1, fingerprint: 9, position: 4, root, event: n, live: b"live" },
        Letter::AskMicrobatch { task: TaskId(0), request: n, topology: 1, ask: MicrobatchAsk::Pause },
        Letter::Microbatch {
            task: TaskId(1),
            from: TaskId(2),
            run: RunId { topology: ObjectId(3), id: n, attempt: Attempt { epoch: Epoch(n), counter: 4 } },
            epoch: Epoch(n),
            says: MicrobatchSays::Prepared,
            body: b"body",
        },
        Letter::MicrobatchStatus { request: n, finished: 1, processed: n, paused: true, failing: Some((n, 3, "why")) },
        Letter::Call {
            task: TaskId(1),
            query: 2,
            topology: 3,
            fingerprint: 9,
            position: 4,
            root,
            event: n,
            arguments: b"arguments",
            live: b"live",
        },
        Letter::End { task: TaskId(1), root },
        Letter::Stream(StreamLetter::Returned { root, value: b"value" }),
        Letter::Stream(StreamLetter::Spoiled { root, text: "another's" }),
        Letter::Stream(StreamLetter::Appended { request: n, offset: Offset(n), returns: b"returns" }),
        Letter::Stream(StreamLetter::AskTroubles { task: TaskId(1), request: n, topology: 1 }),
        Letter::Stream(StreamLetter::AskProcessed {
            task: TaskId(1),
            request: n,
            topology: 1,
            more_than: n,
            timeout_ms: 9,
        }),
        Letter::Done { root, bits: n },
        Letter::Failed { root, text: "why" },
        Letter::Appended { request: n, offset: Offset(n) },
        Letter::Rows { request: n, more: n.is_multiple_of(2), count: 1, rows: b"rows" },
        Letter::Refused { request: n, refusal: Refusal::Closing, text: "closing" },
    ];
    let mut batch = Vec::new();
    all.iter().cycle().skip(n as usize).take(1 + n as usize % 5).for_each(|letter| letter.encode(&mut batch));
    batch
}

/// A letter of packed events, of two roots and two positions.
fn events_seed(n: u64) -> Vec<u8> {
    let (mut writer, mut rows, mut place) = (EventWriter::default(), Vec::new(), n);
    for at in 0..n {
        let root = Root { task: TaskId(1), source: 0, offset: Offset(at * n), attempt: at as u32 % 2 };
        let (task, position) = (TaskId(at as u32 / 3 % 2), at as u32 / 4);
        place = if at == 5 { n } else { next_place(place) };
        let live = &b"live variables of an event"[..(at * n) as usize % 26];
        writer.push(&Event { task, stream: 1, fingerprint: 9, position, root, place, live }, &mut rows);
    }
    let mut batch = Vec::new();
    Letter::Events { rows: &rows }.encode(&mut batch);
    batch
}

fn path_seed(n: u64) -> Vec<u8> {
    let key = |at: u64| if at.is_multiple_of(2) { Value::from("key") } else { Value::from(at as i64) };
    let mut path = Path::new();
    for at in 0..n % 6 {
        path = match (n + at) % 6 {
            0 => path.key(key(at)),
            1 => path.must(key(at)),
            2 => path.all(),
            3 => path.map_vals(),
            4 => path.first(),
            _ => path.nth(Value::from(at as i64)),
        };
    }
    let mut bytes = Vec::new();
    path.encode(&mut bytes).expect("a short path");
    bytes
}

/// Bytes are refused, or they are the one value form of a value.
pub fn value_decode(bytes: &[u8]) {
    let mut key = Vec::new();
    let carried = value_to_key(bytes, &mut key);
    match Value::decode(bytes) {
        Ok(value) => {
            assert_eq!(encoded(&value), bytes, "{value} was encoded in another way");
            assert_eq!(validate(bytes), Ok(()));
            assert_eq!(Reader::new(bytes).skip(), Ok(bytes));
            assert_eq!(carried, Ok(()));
            assert_eq!(key, encoded_key(&value), "{value} carried over differs");
            assert_eq!(Value::decode_key(&key).as_ref(), Ok(&value));
        }
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "{error}");
            assert!(validate(bytes).is_err(), "only decoding says: {error}");
            assert!(carried.is_err(), "only decoding says: {error}");
        }
    }
    check_neighbours(bytes);
}

/// Two values in a row sort in every way alike.
fn check_neighbours(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(a) = reader.value() else { return };
    let between = reader.position();
    assert_eq!(Reader::new(bytes).skip(), Ok(&bytes[..between]));
    let Ok(b) = reader.value() else { return };
    let order = a.cmp(&b);
    assert_eq!(compare_encoded(&bytes[..between], reader.since(between)), Ok(order), "{a} and {b}");
    let (a_key, b_key) = (encoded_key(&a), encoded_key(&b));
    assert_eq!(a_key.cmp(&b_key), order, "{a} and {b}");
    assert!(order.is_eq() || !(a_key.starts_with(&b_key) || b_key.starts_with(&a_key)), "{a} and {b}");
}

/// Bytes are refused, or they are the one key form of a value.
pub fn value_key_decode(bytes: &[u8]) {
    let mut carried_value = Vec::new();
    let carried = key_to_value(bytes, &mut carried_value);
    match Value::decode_key(bytes) {
        Ok(value) => {
            assert_eq!(encoded_key(&value), bytes, "{value} was encoded in another way");
            assert_eq!(KeyReader::new(bytes).skip(), Ok(bytes));
            assert_eq!(carried, Ok(()));
            assert_eq!(carried_value, encoded(&value), "{value} carried over differs");
        }
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "{error}");
            assert_eq!(carried, Err(error), "the two ways to read a key differ");
        }
    }
    check_row(bytes);
}

/// Keys in a row split the same way by skipping and by reading.
fn check_row(bytes: &[u8]) {
    let (mut reading, mut skipping) = (KeyReader::new(bytes), KeyReader::new(bytes));
    while !reading.is_empty() {
        let start = reading.position();
        let Ok(value) = reading.value() else { return };
        assert_eq!(skipping.skip(), Ok(&bytes[start..reading.position()]), "{value}");
    }
}
