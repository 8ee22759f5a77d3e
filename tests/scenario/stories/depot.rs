//! What a depot keeps, and how it is read: where topologies start, ranges, pages.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tantu::prelude::*;

fn launch<M: Module>(dir: &Path, tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::open(dir).unwrap();
    cluster.launch::<M>(LaunchConfig { tasks, threads: 1, ..LaunchConfig::default() }).unwrap();
    cluster
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Numbers that nobody processes.
struct Quiet;

impl Module for Quiet {
    fn define(setup: &mut Setup, _topologies: &mut Topologies) {
        setup.declare_global_depot::<i64>("*numbers", random());
    }

    fn name() -> String {
        "Numbers".to_string()
    }
}

/// A moment between the first ten numbers and the next ten.
static BETWEEN_MS: OnceLock<u64> = OnceLock::new();

/// How long that moment was ago when the topologies were declared for the first time.
static AGO: OnceLock<Duration> = OnceLock::new();

fn starts() -> [(&'static str, StartFrom); 5] {
    let between_ms = *BETWEEN_MS.get().unwrap();
    let ago = *AGO.get_or_init(|| Duration::from_millis(wall_ms() - between_ms));
    [
        ("end", StartFrom::End),
        ("beginning", StartFrom::Beginning),
        ("three records ago", StartFrom::RecordsAgo(3)),
        ("since then", StartFrom::Since(between_ms)),
        ("a while ago", StartFrom::TimeAgo(ago)),
    ]
}

/// A topology for each way to start; each counts the numbers it meets.
struct Counting;

impl Module for Counting {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_global_depot::<i64>("*numbers", random());
        for (name, start) in starts() {
            let mut s = topologies.stream(name);
            let options = PStateOptions { global: true, ..PStateOptions::default() };
            let met = s.pstate_with::<Map<i64, i64>>(&format!("$${name}"), options);
            s.source_with(&numbers, SourceOptions { start, ..SourceOptions::default() }, |b, number| {
                b.compound_agg(met, agg::key(number, agg::count()));
            });
        }
    }

    fn name() -> String {
        "Numbers".to_string()
    }
}

#[test]
fn a_topology_starts_where_its_author_said_when_it_first_meets_a_partition_and_then_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Quiet>(dir.path(), 2);
    let numbers = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
    for number in 0..10 {
        numbers.append(&number).unwrap();
    }
    // Far from both neighbours: a topology that starts "a while ago" is launched a little later than that.
    std::thread::sleep(Duration::from_millis(200));
    BETWEEN_MS.set(wall_ms()).unwrap();
    std::thread::sleep(Duration::from_millis(3_000));
    for number in 10..20 {
        numbers.append(&number).unwrap();
    }
    cluster.close().unwrap();
    for round in 0..3 {
        let cluster = launch::<Counting>(dir.path(), 2);
        cluster.depot::<i64>("Numbers", "*numbers").unwrap().append(&(20 + round)).unwrap();
        cluster.close().unwrap();
    }
    let cluster = launch::<Counting>(dir.path(), 2);
    for (name, _) in starts() {
        let first = match name {
            "end" => 20,
            "beginning" => 0,
            "three records ago" => 17,
            _ => 10,
        };
        let met = cluster.pstate::<Map<i64, i64>>("Numbers", &format!("$${name}")).unwrap();
        let found = met.select(path().all()).unwrap();
        assert_eq!(found, (first..23).map(|number| (number, 1)).collect::<Vec<_>>(), "{name}");
    }
    cluster.close().unwrap();
}

/// Records of about a kilobyte, on the partition that the first byte names.
struct Pages;

impl Module for Pages {
    fn define(setup: &mut Setup, _topologies: &mut Topologies) {
        setup.declare_depot::<Vec<u8>>("*pages", custom(|record: &Vec<u8>, _count| i64::from(record[0])));
    }
}

const RECORD_COUNT: u64 = 2_000;

fn record(partition: u8, index: u64) -> Vec<u8> {
    let mut record = vec![partition; 900 + index as usize % 200];
    record.extend_from_slice(&index.to_le_bytes());
    record
}

fn read_everything(cluster: &InProcessCluster) {
    let pages = cluster.depot::<Vec<u8>>("Pages", "*pages").unwrap();
    assert_eq!((pages.module_name(), pages.name(), pages.partition_count()), ("Pages", "*pages", 2));
    let PartitionOffsets { start, end } = pages.offsets(1).unwrap();
    assert_eq!((start.0, end.0), (0, RECORD_COUNT));
    assert_eq!(pages.offsets(0).unwrap().end, Offset(1));
    let all = pages.read(1, start, end).unwrap();
    assert!(all == (0..RECORD_COUNT).map(|index| record(1, index)).collect::<Vec<_>>());
    assert_eq!(pages.read(1, Offset(7), Offset(7)).unwrap(), Vec::<Vec<u8>>::new());

    let few = pages.read_page(1, Offset(500), end, PageMax { count: 3, ..PageMax::default() }).unwrap();
    assert_eq!(few.records, (500..503).map(|index| record(1, index)).collect::<Vec<_>>());
    assert_eq!(few.next, Offset(503));
    let small = pages.read_page(1, Offset(500), end, PageMax { size: 5_000, ..PageMax::default() }).unwrap();
    let size: usize = small.records.iter().map(Vec::len).sum();
    assert!((2..6).contains(&small.records.len()) && size <= 5_000, "{size} bytes");
    let tiny = pages.read_page(1, Offset(500), end, PageMax { size: 1, ..PageMax::default() }).unwrap();
    assert_eq!((tiny.records.len(), tiny.next), (1, Offset(501)), "the first record comes in any case");
}

#[test]
fn a_range_of_a_partition_is_read_in_pages_from_memory_and_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Pages>(dir.path(), 2);
    let pages = cluster.depot::<Vec<u8>>("Pages", "*pages").unwrap();
    pages.append(&record(0, 0)).unwrap();
    let pending: Vec<_> =
        (0..RECORD_COUNT).map(|index| pages.append_async(&record(1, index), AckLevel::AppendAck).unwrap()).collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    read_everything(&cluster);
    cluster.close().unwrap();
    let cluster = launch::<Pages>(dir.path(), 2);
    read_everything(&cluster);
    cluster.close().unwrap();
}

#[test]
fn a_range_that_reaches_outside_a_partition_is_refused_with_the_offsets_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Pages>(dir.path(), 2);
    let pages = cluster.depot::<Vec<u8>>("Pages", "*pages").unwrap();
    for index in 0..3 {
        pages.append(&record(1, index)).unwrap();
    }
    for (from, to) in [(0, 4), (3, 5), (9, 9)] {
        let error = pages.read(1, Offset(from), Offset(to)).unwrap_err();
        assert_eq!(error, ClientError::OutOfRange { start: Offset(0), end: Offset(3) }, "{from}..{to}");
    }
    assert!(matches!(pages.read(1, Offset(2), Offset(1)), Err(ClientError::Refused(_))));
    assert!(matches!(pages.read(2, Offset(0), Offset(1)), Err(ClientError::NoPartition { index: 2, count: 2 })));
    cluster.close().unwrap();
}

/// The declaration of a depot that keeps its newest hundred records and a fifth more.
fn trimmed(setup: &mut Setup) -> DepotRef<i64> {
    let trim_period = Duration::from_millis(20);
    let options = DepotOptions { max_entries: Some(100), excess_percent: 20, trim_period, ..DepotOptions::default() };
    setup.declare_global_depot_with::<i64>("*numbers", random(), options)
}

fn count_all(s: &mut StreamTopology, numbers: &DepotRef<i64>, name: &str) {
    let met = s.pstate_with::<i64>(name, PStateOptions { global: true, ..PStateOptions::default() });
    let start = StartFrom::Beginning;
    s.source_with(numbers, SourceOptions { start, ..SourceOptions::default() }, |b, _number| {
        b.compound_agg(met, agg::count());
    });
}

struct Trimmed;

impl Module for Trimmed {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = trimmed(setup);
        count_all(&mut topologies.stream("early"), &numbers, "$$early");
    }
}

/// The same with a topology more.
struct TrimmedLater;

impl Module for TrimmedLater {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = trimmed(setup);
        count_all(&mut topologies.stream("early"), &numbers, "$$early");
        count_all(&mut topologies.stream("late"), &numbers, "$$late");
    }

    fn name() -> String {
        "Trimmed".to_string()
    }
}

/// Waits until a partition starts somewhere else than at 0.
fn start_of_trimmed(numbers: &Depot<i64>) -> Offset {
    for _ in 0..1_000 {
        let start = numbers.offsets(0).unwrap().start;
        if start > Offset(0) {
            return start;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was trimmed in ten seconds");
}

#[test]
fn a_depot_with_a_limit_keeps_its_newest_records_and_says_where_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Trimmed>(dir.path(), 2);
    let numbers = cluster.depot::<i64>("Trimmed", "*numbers").unwrap();
    let pending: Vec<_> = (0..1_000).map(|number| numbers.append_async(&number, AckLevel::Ack).unwrap()).collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    cluster.close().unwrap();
    for _ in 0..2 {
        // Records leave the log for a segment at the latest when the module is closed; only then can they be trimmed.
        let cluster = launch::<TrimmedLater>(dir.path(), 2);
        let numbers = cluster.depot::<i64>("Trimmed", "*numbers").unwrap();
        assert_eq!(start_of_trimmed(&numbers), Offset(880), "a hundred and a fifth of it are left");
        let error = numbers.read(0, Offset(870), Offset(890)).unwrap_err();
        assert_eq!(error, ClientError::OutOfRange { start: Offset(880), end: Offset(1_000) });
        assert_eq!(numbers.read(0, Offset(880), Offset(883)).unwrap(), [880, 881, 882]);
        cluster.close().unwrap();
    }
    let cluster = launch::<TrimmedLater>(dir.path(), 2);
    let count = |name| cluster.pstate::<i64>("Trimmed", name).unwrap().select_one(path()).unwrap();
    assert_eq!(count("$$early"), 1_000, "it processed everything before it went");
    assert_eq!(count("$$late"), 100, "a new topology starts with the hundredth newest");
    cluster.close().unwrap();
}

/// Numbers below this one fail in every topology.
const FIRST_GOOD: i64 = 600;
const PAGE_COUNT: i64 = 1_200;

/// A depot that is trimmed whatever its topologies have to do with it yet.
struct Hasty;

impl Module for Hasty {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let options = DepotOptions {
            max_entries: Some(100),
            trim_period: Duration::from_millis(5),
            trim_waits_for_topologies: false,
            fail_ack_on_any_failure: false,
            ..DepotOptions::default()
        };
        let pages = setup.declare_global_depot_with::<(i64, Vec<u8>)>("*pages", random(), options);
        let global = || PStateOptions { global: true, ..PStateOptions::default() };
        for (name, retry) in [("each", RetryMode::Individual), ("order", RetryMode::AllAfter)] {
            // A few at a time: what comes behind those that fail is never begun before it is gone.
            let mut s =
                topologies.stream_with(name, StreamOptions { executing_max: Some(50), ..StreamOptions::default() });
            let met = s.pstate_with::<Map<i64, i64>>(&format!("$${name}"), global());
            s.source_with(&pages, SourceOptions { retry, ..SourceOptions::default() }, move |b, page| {
                let number = b.each(page, |(number, _)| *number);
                b.assert(number, |number| number >= FIRST_GOOD, "not yet");
                b.compound_agg(met, agg::key(number, agg::count()));
            });
        }
        let options = MicrobatchOptions { max_records: 50, ..MicrobatchOptions::default() };
        let mut m = topologies.microbatch_with("batches", options);
        let met = m.pstate_with::<Map<i64, i64>>("$$batches", global());
        m.source(&pages, |b, batch| {
            let page = b.explode_microbatch(batch);
            let number = b.each(page, |(number, _)| *number);
            b.assert(number, |number| number >= FIRST_GOOD, "not yet");
            b.compound_agg(met, agg::key(number, agg::count()));
        });
    }
}

#[test]
fn a_depot_that_waits_for_no_topology_keeps_to_its_limit_and_one_that_fell_behind_goes_on_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let cluster = launch::<Hasty>(dir.path(), 2);
        let pages = cluster.depot::<(i64, Vec<u8>)>("Hasty", "*pages").unwrap();
        let append = |number| pages.append_async(&(number, vec![7; 8_000]), AckLevel::AppendAck).unwrap();
        if life == 0 {
            let first = pages.append_async(&(0, vec![7; 8_000]), AckLevel::Ack).unwrap();
            let pending: Vec<_> = (1..=PAGE_COUNT).map(append).collect();
            pending.into_iter().for_each(|append| _ = append.wait().unwrap());
            let error = first.wait().unwrap_err();
            assert!(error.to_string().contains("was trimmed before a topology processed it"), "{error}");
        }
        for name in ["each", "order", "batches"] {
            let met = cluster.pstate::<Map<i64, i64>>("Hasty", &format!("$${name}")).unwrap();
            let met = || met.select_on(0, path().all()).unwrap();
            let newest = |met: &[(i64, i64)]| met.iter().rev().take(100).map(|(number, _)| *number).collect::<Vec<_>>();
            let expected: Vec<i64> = (PAGE_COUNT - 99..=PAGE_COUNT).rev().collect();
            let (start, mut found) = (Instant::now(), met());
            while newest(&found) != expected {
                assert!(start.elapsed() < Duration::from_secs(30), "{name}: {:?}", newest(&found));
                std::thread::sleep(Duration::from_millis(5));
                found = met();
            }
            assert!(found[0].0 >= FIRST_GOOD, "{name}: {}", found[0].0);
            if name != "order" {
                assert!(found.iter().all(|(_, count)| *count == 1), "{name}: {found:?}");
            }
        }
        let PartitionOffsets { start, end } = pages.offsets(0).unwrap();
        assert!(start.0 > FIRST_GOOD as u64 && end.0 == PAGE_COUNT as u64 + 1, "{start} {end}");
        cluster.close().unwrap();
    }
}

struct KeepsNothing;

impl Module for KeepsNothing {
    fn define(setup: &mut Setup, _topologies: &mut Topologies) {
        let options = DepotOptions { max_entries: Some(0), ..DepotOptions::default() };
        setup.declare_depot_with::<i64>("*numbers", random(), options);
    }
}

#[test]
fn a_depot_that_is_to_keep_no_records_is_refused_with_its_line() {
    let text = define::<KeepsNothing>().unwrap_err().to_string();
    assert!(text.contains("max_entries") && text.contains("depot.rs:"), "{text}");
}

/// What may happen to a note.
#[derive(Record, Clone, PartialEq, Debug)]
enum Change {
    Written(String),
    Extended { by: String },
    Torn,
}

/// Notes by their names, all changes of which are in one depot.
struct Notes;

impl Module for Notes {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let changes =
            setup.declare_depot::<(String, Change)>("*changes", hash_by(|(name, _): &(String, _)| name.clone()));
        let mut s = topologies.stream("notes");
        let notes = s.pstate::<Map<String, String>>("$$notes");
        s.source(&changes, |b, record| {
            let name = b.view(record, |(name, _)| name.as_str());
            let change = b.view(record, |(_, change)| change);
            b.match_enum(change)
                .part(
                    |change| match change {
                        Change::Written(text) => Some(text.as_str()),
                        _ => None,
                    },
                    |b, text| b.local_transform(notes, path().key(name).term_val(text)),
                )
                .part(
                    |change| match change {
                        Change::Extended { by } => Some(by.as_str()),
                        _ => None,
                    },
                    |b, by| {
                        let text = b.local_select(notes, path().key(name).null_to_val(String::new()));
                        let text = b.each((text, by), |(text, by)| format!("{text}{by}"));
                        b.local_transform(notes, path().key(name).term_val(text));
                    },
                )
                .otherwise(|b| b.local_transform(notes, path().key(name).term_void()));
        });
    }
}

#[test]
fn records_of_several_types_in_one_depot_keep_their_order_in_a_partition() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = launch::<Notes>(dir.path(), 4);
    let changes = cluster.depot::<(String, Change)>("Notes", "*changes").unwrap();
    let mut expected = std::collections::BTreeMap::<String, String>::new();
    let mut pending = Vec::new();
    for n in 0..2_000u64 {
        let name = format!("note {}", n % 17);
        let change = match n * 2_654_435_761 % 11 {
            0 => Change::Torn,
            1..4 => Change::Written(format!("{n}")),
            _ => Change::Extended { by: format!(" {n}") },
        };
        match &change {
            Change::Torn => _ = expected.remove(&name),
            Change::Written(text) => _ = expected.insert(name.clone(), text.clone()),
            Change::Extended { by } => expected.entry(name.clone()).or_default().push_str(by),
        }
        pending.push(changes.append_async(&(name, change), AckLevel::Ack).unwrap());
    }
    pending.into_iter().for_each(|append| _ = append.wait().unwrap());
    let notes = cluster.pstate::<Map<String, String>>("Notes", "$$notes").unwrap();
    for name in (0..17).map(|n| format!("note {n}")) {
        assert_eq!(notes.select_one(path().key(name.as_str())).unwrap(), expected.get(&name).cloned(), "{name}");
    }
    cluster.close().unwrap();
}

/// Words that are counted.
struct Words;

impl Module for Words {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let words = setup.declare_depot::<String>("*words", random());
        setup.declare_depot::<Value>("*anything", random());
        let mut s = topologies.stream("counter");
        let counts = s.pstate::<Map<String, i64>>("$$counts");
        s.source(&words, |b, word| {
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
        });
    }
}

mod elsewhere {
    /// A type of the same name as that of another module.
    #[derive(tantu::Record, Clone, PartialEq, Debug)]
    pub(crate) enum Change {
        #[variant(9)]
        Other,
    }
}

#[test]
fn a_record_of_another_type_is_refused_before_it_is_in_the_depot() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Words>(LaunchConfig::new(2, 1)).unwrap();
    let refused = |error: ClusterError| error.to_string();
    let other = refused(cluster.depot::<i64>("Words", "*words").map(drop).unwrap_err());
    assert!(other.contains("refused, nothing was done: `*words` holds records of String, not i64"), "{other}");
    let pair = refused(cluster.depot::<(String, Change)>("Words", "*words").map(drop).unwrap_err());
    assert!(pair.ends_with("holds records of String, not (String, Change)"), "{pair}");

    // What the type does not tell, each record does.
    let untyped = cluster.depot::<Value>("Words", "*words").unwrap();
    let error = untyped.append(&Value::I64(1)).unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused(text) if text.contains("`*words` holds records of String")),
        "{error}"
    );
    let producer = untyped.producer_named("loader").unwrap();
    assert!(producer.number(&Value::Null).is_err() && producer.append(&Value::List(vec![])).is_err());
    untyped.append(&Value::Str("a".to_string())).unwrap();
    producer.append(&Value::Str("a".to_string())).unwrap();
    cluster.depot::<&str>("Words", "*words").unwrap().append(&"a").unwrap();
    let words = cluster.depot::<String>("Words", "*words").unwrap();
    words.append(&"a".to_string()).unwrap();
    let counts = cluster.pstate::<Map<String, i64>>("Words", "$$counts").unwrap();
    assert_eq!(counts.select_one(path().key("a")).unwrap(), Some(4));
    let ends = (0..2).map(|partition| words.offsets(partition).unwrap().end.0);
    assert_eq!(ends.sum::<u64>(), 4, "and nothing else is there");
    cluster.depot::<i64>("Words", "*anything").unwrap().append(&7).unwrap();

    cluster.launch::<Notes>(LaunchConfig::new(2, 1)).unwrap();
    let elsewhere = cluster.depot::<(String, elsewhere::Change)>("Notes", "*changes").unwrap();
    let error = elsewhere.append(&("note".to_string(), elsewhere::Change::Other)).unwrap_err();
    assert!(error.to_string().contains("holds records of (String, Change)"), "{error}");
    cluster.close().unwrap();
}
