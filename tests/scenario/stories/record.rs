//! Records of the author's own types: how they are stored, how they change over the years, and paths into them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::{Bound, ControlFlow};
use tantu::base::id::ObjectId;
use tantu::base::value::{
    Decode, DecodeError, Encode, Reader, decoded, decoded_key, encoded, encoded_key, partition_of,
};
use tantu::path::{
    NoArgs, PStateSchema, Path, PathTo, Schema, Scratch, Stop, Store, TransformTo, VisitEntry, select, select_store,
    transform, transform_store,
};
use tantu::prelude::*;

#[derive(Record, Clone, PartialEq, Debug)]
struct Visit {
    user: String,
    page: String,
    at_ms: i64,
    referrer: Option<String>,
}

fn visit() -> Visit {
    Visit { user: "ann".into(), page: "/home".into(), at_ms: 1_700_000_000_000, referrer: None }
}

#[derive(Record, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    #[variant(1)]
    LoggedOut,
    #[variant(7)]
    Renamed(String),
    #[variant(3)]
    Moved { x: i64, y: Option<i64> },
}

/// Every kind of field at once.
#[derive(Record, Clone, PartialEq, Debug)]
struct Everything {
    #[field(12)]
    nested: Box<Visit>,
    #[field(1)]
    small: i32,
    #[field(2)]
    large: u64,
    #[field(3)]
    real: f64,
    #[field(4)]
    flag: bool,
    #[field(5)]
    id: Uuid,
    #[field(6)]
    digest: [u8; 4],
    #[field(7)]
    bytes: Vec<u8>,
    #[field(8)]
    list: Vec<Option<i64>>,
    #[field(9)]
    map: BTreeMap<String, BTreeSet<u32>>,
    #[field(10)]
    pair: (String, i64),
    #[field(11)]
    event: Event,
    #[field(13)]
    any: Value,
    #[field(14)]
    visits: Vec<Visit>,
    #[field(15)]
    r#type: Option<Event>,
    #[field(16, default)]
    later: String,
}

fn everything() -> Everything {
    Everything {
        nested: Box::new(visit()),
        small: -1,
        large: u64::MAX,
        real: 0.5,
        flag: true,
        id: Uuid([9; 16]),
        digest: *b"\0\x01\x02\x03",
        bytes: b"bytes".to_vec(),
        list: vec![Some(1), None],
        map: BTreeMap::from([("a".into(), BTreeSet::from([3, 2]))]),
        pair: ("p".into(), 2),
        event: Event::Moved { x: 1, y: None },
        any: Value::List(vec![Value::Bool(false)]),
        visits: vec![visit()],
        r#type: None,
        later: "later".into(),
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn visit_value() -> Value {
    Value::record([(1, text("ann")), (2, text("/home")), (3, Value::I64(1_700_000_000_000))])
}

/// Data stands for this value: same bytes in both forms, it reads itself back from both, and its schema takes it.
#[track_caller]
fn stands_for<T: PStateSchema<Value = T> + Encode + Decode + PartialEq + Debug>(data: &T, value: Value) {
    assert_eq!(Value::decode(&encoded(data)).as_ref(), Ok(&value));
    assert_eq!(encoded(data), encoded(&value));
    assert_eq!(encoded_key(data), encoded_key(&value));
    assert_eq!(decoded::<T>(&encoded(&value)).as_ref(), Ok(data));
    assert_eq!(decoded_key::<T>(&encoded_key(&value)).as_ref(), Ok(data));
    assert_eq!(T::schema().check(&value), Ok(()));
}

#[test]
fn a_struct_is_stored_as_its_fields_by_id() {
    stands_for(&visit(), visit_value());
    let event = |value| Value::record([(3, Value::record([(1, Value::I64(value))]))]);
    stands_for(
        &everything(),
        Value::record([
            (1, Value::I64(-1)),
            (2, Value::U64(u64::MAX)),
            (3, Value::F64(0.5)),
            (4, Value::Bool(true)),
            (5, Value::Uuid([9; 16])),
            (6, Value::Bytes(b"\0\x01\x02\x03".to_vec())),
            (7, Value::Bytes(b"bytes".to_vec())),
            (8, Value::List(vec![Value::I64(1), Value::Null])),
            (9, Value::map([(text("a"), Value::set([Value::U64(2), Value::U64(3)]))])),
            (10, Value::List(vec![text("p"), Value::I64(2)])),
            (11, event(1)),
            (12, visit_value()),
            (13, Value::List(vec![Value::Bool(false)])),
            (14, Value::List(vec![visit_value()])),
            (16, text("later")),
        ]),
    );
}

#[test]
fn an_enum_is_stored_as_its_variant_by_id() {
    stands_for(&Event::LoggedOut, Value::record([(1, Value::record([]))]));
    stands_for(&Event::Renamed("b".into()), Value::record([(7, text("b"))]));
    let moved = Value::record([(1, Value::I64(4)), (2, Value::I64(5))]);
    stands_for(&Event::Moved { x: 4, y: Some(5) }, Value::record([(3, moved)]));
}

/// These bytes are part of the disk format, and these tasks too: what is stored under a record stays reachable.
#[test]
fn a_record_has_the_bytes_and_the_task_it_always_had() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&encoded(&visit())), "5303014003616e6e0240052f686f6d65031e018bcfe56800");
    assert_eq!(hex(&encoded_key(&visit())), "53290140616e6e00012902402f686f6d65000129031e018bcfe5680000");
    assert_eq!(hex(&encoded_key(&Event::LoggedOut)), "532901530000");
    let tasks = [partition_of(&visit(), 1024), partition_of(&Event::LoggedOut, 1024)];
    assert_eq!(
        tasks,
        [
            partition_of(&visit_value(), 1024),
            partition_of(&decoded_key::<Value>(b"\x53\x29\x01\x53\0\0").unwrap(), 1024)
        ]
    );
    assert_eq!(tasks, TASKS);
}

const TASKS: [u32; 2] = [175, 248];

#[test]
fn records_sort_as_keys_by_their_fields_in_the_order_of_ids() {
    let at = |user: &str, at_ms| Visit { user: user.into(), at_ms, ..visit() };
    let ascending = [at("a", 5), at("b", -1), at("b", 0), at("b", 300)];
    assert!(ascending.iter().map(encoded_key).collect::<Vec<_>>().is_sorted());
    let events = [Event::LoggedOut, Event::Moved { x: 1, y: Some(1) }, Event::Renamed("a".into())];
    assert!(events.iter().map(encoded_key).collect::<Vec<_>>().is_sorted());
    let set = BTreeSet::from(events.clone());
    assert_eq!(decoded::<BTreeSet<Event>>(&encoded(&set)).unwrap(), set, "the order of the type is another one");
}

/// `Visit` some releases later.
#[derive(Record, Clone, PartialEq, Debug)]
struct VisitLater {
    #[field(1)]
    user: String,
    #[field(3, default)]
    at_ms: i64,
    #[field(5)]
    country: Option<String>,
    #[field(6, default)]
    tags: Vec<String>,
}

#[test]
fn fields_come_and_go_over_the_years() {
    let later: VisitLater = decoded(&encoded(&visit())).unwrap();
    let expected = VisitLater { user: "ann".into(), at_ms: 1_700_000_000_000, country: None, tags: vec![] };
    assert_eq!(later, expected, "page is passed over, country and tags read as nothing");
    let sparse = Value::record([(1, text("ann")), (3, Value::Null)]);
    assert_eq!(decoded::<VisitLater>(&encoded(&sparse)).unwrap(), VisitLater { at_ms: 0, ..expected });
}

#[test]
fn an_option_that_is_added_changes_no_bytes_of_what_does_not_use_it() {
    #[derive(Record)]
    struct Before {
        user: String,
    }
    #[derive(Record)]
    struct After {
        user: String,
        team: Option<u32>,
    }
    let (before, after) = (Before { user: "ann".into() }, After { user: "ann".into(), team: None });
    assert_eq!((encoded(&before), encoded_key(&before)), (encoded(&after), encoded_key(&after)));
}

#[test]
fn what_cannot_be_read_is_named_as_its_author_wrote_it() {
    let error = |value: Value| decoded::<Visit>(&encoded(&value)).unwrap_err().to_string();
    assert_eq!(
        error(Value::record([(1, text("ann")), (3, Value::I64(5))])),
        "byte 0: Visit::page (field 2, String) is missing, and has neither a default nor an `Option` to read as"
    );
    assert_eq!(
        error(Value::record([(1, Value::I64(5))])),
        "byte 3: Visit::user (field 1, String) cannot be read from an i64"
    );
    assert_eq!(error(text("ann")), "byte 0: expected record, found string");
    let error = |value: Value| decoded::<Event>(&encoded(&value)).unwrap_err().to_string();
    assert_eq!(error(Value::record([(2, Value::Null)])), "byte 0: Event has no variant 2");
    assert_eq!(error(Value::record([])), "byte 0: Event has no variant 0");
    let moved = Value::record([(3, Value::record([(2, Value::I64(1))]))]);
    assert!(error(moved).starts_with("byte 3: Event::Moved::x (field 1, i64) is missing"));
    let both = Value::record([(1, Value::record([])), (7, text("b"))]);
    assert_eq!(error(both), "byte 0: more than one variant of an enum");
    let raw = Value::record([(15, Value::I64(1))]);
    let error = decoded::<Everything>(&encoded(&raw)).unwrap_err().to_string();
    assert!(error.contains("Everything::type (field 15, Option<Event>)"), "{error}");
}

/// A type that contains itself.
#[derive(Record, Clone, PartialEq, Debug)]
struct Tree {
    name: String,
    branches: Vec<Tree>,
}

#[test]
fn a_record_may_contain_itself_down_to_the_deepest_value() {
    let leaf = Tree { name: "leaf".into(), branches: vec![] };
    let tree = Tree { name: "top".into(), branches: vec![leaf.clone(), leaf] };
    assert_eq!(decoded::<Tree>(&encoded(&tree)).unwrap(), tree);
    assert_eq!(Tree::schema().to_string(), "{name: String, branches: List<any>}");
    let name = path::<Tree>().field(Tree::BRANCHES).nth(1).field(Tree::NAME);
    assert_eq!(select(name.path(), &as_value(&tree), &NoArgs).unwrap(), [text("leaf")]);
    let mut bytes = vec![];
    for _ in 0..70 {
        bytes.extend(b"\x53\x02\x01\x40\x00\x02\x50\x01");
    }
    assert!(decoded::<Tree>(&bytes).unwrap_err().to_string().ends_with("nested too deep"));
}

fn as_value<T: Encode>(data: &T) -> Value {
    Value::decode(&encoded(data)).expect("it was just written")
}

#[test]
fn the_schema_names_the_fields() {
    assert_eq!(Visit::schema().to_string(), "{user: String, page: String, at_ms: i64, referrer: String}");
    assert_eq!(Event::schema().to_string(), "{LoggedOut: {}, Moved: {x: i64, y: i64}, Renamed: String}");
    let misfit = Visit::schema().check(&Value::record([(3, text("late"))])).unwrap_err();
    assert_eq!(misfit.to_string(), "at .at_ms: expected i64, found string \"late\"");
}

/// A partition in memory, that remembers what was written.
#[derive(Default)]
struct Partition {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    writes: usize,
}

impl Store for Partition {
    fn get(&mut self, _: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.rows.get(key);
        out.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn put(&mut self, _: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.writes += 1;
        self.rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, _: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.writes += 1;
        self.rows.remove(key);
        Ok(())
    }

    fn delete_range(&mut self, _: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.writes += 1;
        self.rows.retain(|key, _| &key[..] < from || &key[..] >= to);
        Ok(())
    }

    fn scan_back(
        &mut self,
        _: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        for (key, value) in self.rows.range::<[u8], _>((from, to)).rev() {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan(&mut self, _: ObjectId, from: Bound<&[u8]>, to: Bound<&[u8]>, visit: VisitEntry<'_>) -> Result<(), Stop> {
        for (key, value) in self.rows.range::<[u8], _>((from, to)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

type Visits = Map<String, Visit>;

impl Partition {
    fn holding(key: &str, value: &[u8]) -> Partition {
        Partition { rows: BTreeMap::from([(encoded_key(key), value.to_vec())]), writes: 0 }
    }

    fn select<S: PStateSchema, T: PStateSchema>(&mut self, path: &PathTo<S, T>) -> Result<Vec<T::Value>, String> {
        let mut found = Vec::new();
        let mut visit = |bytes: &[u8]| {
            found.push(decoded::<T::Value>(bytes).map_err(|error| error.to_string()));
            ControlFlow::Continue(())
        };
        select_store(&S::schema(), ObjectId(1), path.path(), self, &NoArgs, &mut Scratch::default(), &mut visit)
            .map_err(|error| error.to_string())?;
        found.into_iter().collect()
    }

    fn transform<S: PStateSchema>(&mut self, path: &TransformTo<S>) -> Result<(), String> {
        transform_store(&S::schema(), ObjectId(1), path.path(), self, &NoArgs, &mut Scratch::default())
            .map_err(|error| error.to_string())
    }

    fn value(&self, key: &str) -> Option<Value> {
        self.rows.get(&encoded_key(key)).map(|bytes| Value::decode(bytes).expect("rows are values"))
    }
}

#[test]
fn a_path_into_a_record_is_typed_and_reads_null_where_nothing_is() {
    let mut partition = Partition::holding("k", &encoded(&visit()));
    let page: PathTo<Visits, Option<String>> = path::<Visits>().key("k").field(Visit::PAGE);
    assert_eq!(partition.select(&page), Ok(vec![Some("/home".to_string())]));
    let page: PathTo<Visits, String> = path::<Visits>().must("k").field(Visit::PAGE);
    assert_eq!(partition.select(&page), Ok(vec!["/home".to_string()]));
    let nobody = path::<Visits>().key("nobody").field(Visit::PAGE);
    assert_eq!(partition.select(&nobody), Ok(vec![None]));
    let nobody = path::<Visits>().key("nobody").must_field(Visit::PAGE);
    assert_eq!(partition.select(&nobody), Ok(vec![]));
    let referrer = path::<Visits>().must("k").field(Visit::REFERRER);
    assert_eq!(partition.select(&referrer), Ok(vec![None]));
    assert_eq!(partition.select(&path::<Visits>().must("k").must_field(Visit::REFERRER)), Ok(vec![]));
    let missing = path::<Visits>().map_vals().field(Visit::AT_MS).filter_greater_than(5);
    assert_eq!(partition.select(&missing), Ok(vec![1_700_000_000_000]));
}

#[test]
fn paths_go_through_records_in_records_and_through_variants() {
    type Things = Map<String, Everything>;
    let mut partition = Partition::holding("k", &encoded(&everything()));
    let user = path::<Things>().must("k").field(Everything::NESTED).field(Visit::USER);
    assert_eq!(partition.select(&user), Ok(vec!["ann".to_string()]));
    let users = path::<Things>().must("k").field(Everything::VISITS).all().field(Visit::USER);
    assert_eq!(partition.select(&users), Ok(vec!["ann".to_string()]));
    let numbers = path::<Things>().must("k").field(Everything::MAP).must("a").all();
    assert_eq!(partition.select(&numbers), Ok(vec![2, 3]));
    let later: PathTo<Things, Option<String>> = path::<Things>().must("k").field(Everything::LATER);
    assert_eq!(partition.select(&later), Ok(vec![Some("later".to_string())]));
    let renamed: PathTo<Things, Option<String>> =
        path::<Things>().must("k").field(Everything::EVENT).field(Event::RENAMED);
    assert_eq!(partition.select(&renamed), Ok(vec![None]), "it was moved");
    let kind = path::<Things>().must("k").field(Everything::TYPE);
    partition.transform(&path::<Things>().must("k").field(Everything::TYPE).term_val(Event::LoggedOut)).unwrap();
    assert_eq!(partition.select(&kind), Ok(vec![Some(Event::LoggedOut)]));
}

#[test]
fn a_field_is_changed_made_and_removed_and_the_others_stay() {
    let mut partition = Partition::holding("k", &encoded(&visit()));
    partition.transform(&path::<Visits>().must("k").field(Visit::AT_MS).term(|at| at + 1)).unwrap();
    assert_eq!(partition.value("k").unwrap(), as_value(&Visit { at_ms: 1_700_000_000_001, ..visit() }));
    partition.transform(&path::<Visits>().key("k").field(Visit::REFERRER).term_val("/".to_string())).unwrap();
    let Some(Value::Record(fields)) = partition.value("k") else { unreachable!() };
    assert_eq!(fields[3], (4, text("/")));
    partition.transform(&path::<Visits>().key("k").field(Visit::REFERRER).term_void()).unwrap();
    assert_eq!(partition.value("k").unwrap(), as_value(&Visit { at_ms: 1_700_000_000_001, ..visit() }));
    partition.transform(&path::<Visits>().key("new").field(Visit::AT_MS).null_to_val(0).term(|at| at + 7)).unwrap();
    assert_eq!(partition.value("new").unwrap(), Value::record([(3, Value::I64(7))]), "the others are still missing");
    let whole = path::<Visits>().must("new");
    assert!(partition.select(&whole).unwrap_err().contains("Visit::user (field 1, String) is missing"));
    let writes = partition.writes;
    partition.transform(&path::<Visits>().key("eve").field(Visit::AT_MS).term_void()).unwrap();
    partition.transform(&path::<Visits>().key("eve").must_field(Visit::AT_MS).term_val(1)).unwrap();
    partition.transform(&path::<Visits>().key("k").field(Visit::AT_MS).term(|at| at.unwrap_or(0))).unwrap();
    assert_eq!((partition.writes, partition.value("eve")), (writes, None), "nothing changed and nothing came to be");
}

#[test]
fn a_field_this_program_does_not_know_is_kept_when_a_path_changes_another() {
    let mut newer = visit_value();
    let Value::Record(fields) = &mut newer else { unreachable!() };
    fields.push((99, text("from the future")));
    let mut partition = Partition::holding("k", &encoded(&newer));
    partition.transform(&path::<Visits>().key("k").field(Visit::PAGE).term_val("/help".to_string())).unwrap();
    assert_eq!(partition.value("k").unwrap().field(99), Some(&text("from the future")));
    assert_eq!(partition.select(&path::<Visits>().must("k")).unwrap()[0].page, "/help");
    partition.transform(&path::<Visits>().must("k").term(|visit| visit)).unwrap();
    assert_eq!(partition.value("k").unwrap().field(99), None, "dropped when the whole record is written");
}

#[test]
fn a_field_takes_only_what_its_schema_says() {
    let mut partition = Partition::holding("k", &encoded(&visit()));
    let wrong = TransformTo::<Visits>::from_untyped(Path::new().key(text("k")).field(3).term_val(text("late")));
    let error = partition.transform(&wrong).unwrap_err();
    assert!(error.ends_with("at [\"k\"].at_ms: expected i64, found string \"late\""), "{error}");
    let unknown = TransformTo::<Visits>::from_untyped(Path::new().key(text("k")).field(9).term_val(text("x")));
    assert!(partition.transform(&unknown).unwrap_err().contains("unknown field 9"));
    let list = PathTo::<Visits, Value>::from_untyped(Path::new().key(text("k")).field(1).field(1));
    assert!(partition.select(&list).unwrap_err().contains("field needs a record but stands on a string"));
    assert_eq!(partition.writes, 0);
}

#[test]
fn a_field_of_a_record_is_changed_alike_in_a_store_and_on_a_plain_value() {
    let changes: Vec<Path> = vec![
        Path::new().field(1).term_val(text("eve")),
        Path::new().field(4).term_void(),
        Path::new().field(4).term_val(text("/")),
        Path::new().must_field(4).term_val(text("/")),
        Path::new().field(2).term_void(),
        Path::new().multi_path([Path::new().field(1).term_void(), Path::new().field(3).term_val(Value::I64(1))]),
    ];
    for stored in [Value::Null, Value::record([]), visit_value()] {
        for change in &changes {
            let mut partition = Partition::default();
            partition.rows.insert(vec![], encoded(&stored));
            let typed = TransformTo::<Visit>::from_untyped(change.clone());
            let outcome = partition.transform(&typed);
            let plain = transform(change, stored.clone(), &NoArgs).map_err(|error| error.to_string());
            assert_eq!(outcome.is_ok(), plain.is_ok(), "{change} on {stored}");
            if let Ok(plain) = plain {
                assert_eq!(partition.rows[&vec![]], encoded(&plain), "{change} on {stored}");
            }
        }
    }
    assert!(matches!(Visit::schema(), Schema::Record(_)));
}

/// A module in which records are appended, passed on, indexed and read by clients.
struct LastVisits;

impl Module for LastVisits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<Visit>("*visits", random());
        let mut topology = topologies.stream("last");
        let last = topology.pstate::<Visits>("$$last");
        topology.source(&visits, |b, visit| {
            let user = b.view(visit, |visit| visit.user.as_str());
            b.hash_partition(user);
            b.local_transform(last, path().key(user).term_val(visit));
            let page = b.local_select(last, path().must(user).field(Visit::PAGE));
            let loud = b.each(page, |page| page.to_uppercase());
            b.local_transform(last, path().must(user).field(Visit::REFERRER).term_val(loud));
        });
    }
}

#[test]
fn records_travel_through_depots_topologies_pstates_and_clients() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<LastVisits>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() }).unwrap();
    let visits = cluster.depot::<Visit>("LastVisits", "*visits").unwrap();
    for user in ["ann", "bob", "eve"] {
        visits.append(&Visit { user: user.into(), ..visit() }).unwrap();
    }
    let last = cluster.pstate::<Visits>("LastVisits", "$$last").unwrap();
    let expected = Visit { user: "bob".into(), referrer: Some("/HOME".into()), ..visit() };
    assert_eq!(last.select_one(path().key("bob")).unwrap(), Some(expected));
    assert_eq!(last.select_one(path().must("eve").field(Visit::USER)).unwrap(), "eve");
    cluster.close().unwrap();
}

/// A temperature whose form is its author's own: tenths of a degree.
#[derive(Clone, PartialEq, Debug)]
struct Degrees(f64);

impl Encode for Degrees {
    fn encode(&self, out: &mut Vec<u8>) {
        ((self.0 * 10.0).round() as i64).encode(out);
    }
}

impl Decode for Degrees {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Degrees(i64::decode(reader)? as f64 / 10.0))
    }
}

impl Record for Degrees {}

impl PStateSchema for Degrees {
    type Value = Degrees;
    type Plain = Degrees;
    type Nullable = Option<Degrees>;

    fn schema() -> Schema {
        Schema::I64
    }
}

/// Temperatures by place: in a depot, in vars on their way, at leaves, in what queries take and give.
struct Weather;

impl Module for Weather {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let measured = setup.declare_depot::<(String, Degrees)>("*measured", random());
        let mut topology = topologies.stream("last");
        let last = topology.pstate::<Map<String, Degrees>>("$$last");
        topology.source(&measured, |b, measured| {
            let (place, degrees) = b.expand(measured, |(place, degrees)| (place.clone(), degrees.clone()));
            b.hash_partition(place);
            b.local_transform(last, path().key(place).term_val(degrees));
        });
        topologies.query("warmer", |q, (place, by): (Var<str>, Var<Degrees>)| {
            q.hash_partition(place);
            let degrees = q.local_select(last, path().must(place));
            q.origin_partition();
            q.each((degrees, by), |(degrees, by)| Degrees(degrees.0 + by.0))
        });
    }
}

#[test]
fn a_type_with_a_form_of_its_authors_own_goes_everywhere_without_being_registered() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Weather>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() }).unwrap();
    let measured = cluster.depot::<(String, Degrees)>("Weather", "*measured").unwrap();
    for (place, tenths) in [("Ulm", 215), ("Bonn", -7)] {
        measured.append(&(place.to_string(), Degrees(f64::from(tenths) / 10.0))).unwrap();
    }
    let last = cluster.pstate::<Map<String, Degrees>>("Weather", "$$last").unwrap();
    assert_eq!(last.select_one(path().key("Bonn")).unwrap(), Some(Degrees(-0.7)));
    let warmer = cluster.query::<(String, Degrees), Degrees>("Weather", "warmer").unwrap();
    assert_eq!(warmer.invoke(&("Ulm".to_string(), Degrees(1.5))).unwrap(), Degrees(23.0));
    cluster.close().unwrap();
}
