//! What the integration tests of paths share: a store in a map that can miss at any read, and the
//! generators of small values that often collide.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its part")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use tantu_base::id::ObjectId;
use tantu_base::value::Value;
use tantu_path::{Stop, Store, VisitEntry};

/// The object every test uses.
pub const OBJECT: ObjectId = ObjectId(7);

/// A partition in a map. The reads named by `misses` (counted from 0 over the store's life) answer Need, a
/// scan after it has shown `shown_before_miss` entries; every other read works.
#[derive(Clone, Default, Debug)]
pub struct MapStore {
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    pub misses: Vec<usize>,
    pub shown_before_miss: usize,
    pub reads: usize,
    /// Entries scans have shown.
    pub steps: usize,
    pub writes: usize,
}

impl MapStore {
    /// A partition with the entries of a map.
    pub fn of_map(map: &Value) -> MapStore {
        let mut store = MapStore::default();
        for (key, value) in map.entries().expect("a map") {
            let (mut k, mut v) = (Vec::new(), Vec::new());
            key.encode_key(&mut k);
            value.encode(&mut v);
            store.entries.insert(k, v);
        }
        store
    }

    /// A partition of one value.
    pub fn of_value(value: &Value) -> MapStore {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        MapStore { entries: BTreeMap::from([(vec![], bytes)]), ..MapStore::default() }
    }

    /// The partition as a map.
    pub fn to_map(&self) -> Value {
        Value::Map(
            self.entries
                .iter()
                .map(|(k, v)| (Value::decode_key(k).expect("a key"), Value::decode(v).expect("a value")))
                .collect(),
        )
    }

    /// The partition as one value.
    pub fn to_value(&self) -> Value {
        self.entries.get(&[][..]).map_or(Value::Null, |bytes| Value::decode(bytes).expect("a value"))
    }

    fn misses_now(&mut self) -> bool {
        let read = self.reads;
        self.reads += 1;
        self.misses.contains(&read)
    }
}

impl Store for MapStore {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        assert_eq!(object, OBJECT);
        if self.misses_now() {
            return Err(Stop::Need);
        }
        out.clear();
        if let Some(value) = self.entries.get(key) {
            out.extend_from_slice(value);
            return Ok(true);
        }
        Ok(false)
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        assert_eq!(object, OBJECT);
        self.writes += 1;
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        assert_eq!(object, OBJECT);
        self.writes += 1;
        self.entries.remove(key);
        Ok(())
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        assert_eq!(object, OBJECT);
        self.writes += 1;
        self.entries.retain(|key, _| key[..] < *from || key[..] >= *to);
        Ok(())
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        assert_eq!(object, OBJECT);
        let shown_max = if self.misses_now() { self.shown_before_miss } else { usize::MAX };
        for (shown, (key, value)) in self.entries.range::<[u8], _>((from, to)).rev().enumerate() {
            if shown == shown_max {
                return Err(Stop::Need);
            }
            self.steps += 1;
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
        if shown_max == usize::MAX { Ok(()) } else { Err(Stop::Need) }
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        assert_eq!(object, OBJECT);
        let shown_max = if self.misses_now() { self.shown_before_miss } else { usize::MAX };
        for (shown, (key, value)) in self.entries.range::<[u8], _>((from, to)).enumerate() {
            if shown == shown_max {
                return Err(Stop::Need);
            }
            self.steps += 1;
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
        if shown_max == usize::MAX { Ok(()) } else { Err(Stop::Need) }
    }
}

/// A few scalars, few enough to collide often.
pub fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0..6i64).prop_map(Value::I64),
        2 => (0..3u64).prop_map(Value::U64),
        2 => prop_oneof!["a", "b"].prop_map(Value::Str),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::F64(0.5)),
        1 => Just(Value::Bytes(vec![0, 255])),
    ]
}

/// What keys are.
pub fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0..6i64).prop_map(Value::I64),
        1 => prop_oneof!["a", "b"].prop_map(Value::Str),
        1 => (0..2i64).prop_map(|n| Value::List(vec![Value::I64(n), Value::Null])),
    ]
}

/// Any value, three levels deep.
pub fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            proptest::collection::vec(scalar(), 0..5).prop_map(Value::set),
            proptest::collection::vec((key(), inner.clone()), 0..5).prop_map(Value::map),
            proptest::collection::vec((0..3u32, inner), 0..3).prop_map(Value::record),
        ]
    })
}

/// A map, for a partition. Much of it has a shape that generated paths can go into.
pub fn map_value() -> impl Strategy<Value = Value> {
    let int = || (0..6i64).prop_map(Value::I64);
    let inside = prop_oneof![
        3 => int(),
        3 => prop::collection::vec((int(), int()), 0..4).prop_map(Value::map),
        2 => prop::collection::vec(int(), 0..4).prop_map(Value::List),
        1 => prop::collection::vec(int(), 0..4).prop_map(Value::set),
        1 => value(),
    ];
    prop::collection::vec((key(), inside), 0..8).prop_map(Value::map)
}

/// How often the closures of a generated path were called.
pub type Calls = std::sync::Arc<std::sync::atomic::AtomicUsize>;

/// One generated navigator: how to add it to a path.
#[derive(Clone, Debug)]
pub enum Part {
    Plain(&'static str),
    WithArg(&'static str, Value),
    Range(&'static str, Value, Value, bool, bool, Option<u64>),
    Paths(&'static str, Vec<Vec<Part>>),
    Closure(&'static str),
}

/// Navigators that lead on, those most at home on maps most often. `closures` allows closures.
pub fn part(closures: bool) -> BoxedStrategy<Part> {
    let plain = prop::sample::select(vec![
        "all",
        "all",
        "map_vals",
        "map_vals",
        "map_vals",
        "map_keys",
        "first",
        "last",
        "before_elem",
        "after_elem",
        "beginning",
        "end",
        "void_set_elem",
        "stay",
        "null_to_list",
        "null_to_set",
        "null_to_map",
        "size",
    ]);
    let with_key = prop::sample::select(vec!["key", "key", "key", "must", "must", "map_key", "nth", "set_elem"]);
    let with_keys = prop::sample::select(vec!["submap", "subset"]);
    let with_scalar = prop::sample::select(vec![
        "filter_equal",
        "filter_not_equal",
        "filter_less_than",
        "filter_less_than_or_equal",
        "filter_greater_than",
        "filter_greater_than_or_equal",
        "null_to_val",
        "void_to_val",
        "before_index",
    ]);
    let range =
        prop::sample::select(vec!["map_range", "map_from", "map_to", "map_first", "map_last", "set_range", "set_to"]);
    let leaf = prop_oneof![
        5 => plain.prop_map(Part::Plain),
        5 => (with_key, key()).prop_map(|(name, key)| Part::WithArg(name, key)),
        1 => (with_keys, prop::collection::vec(key(), 0..3)).prop_map(|(name, keys)| Part::WithArg(name, Value::List(keys))),
        1 => (with_scalar, scalar()).prop_map(|(name, value)| Part::WithArg(name, value)),
        2 => (range, key(), key(), any::<(bool, bool)>(), prop::option::of(0..4u64))
            .prop_map(|(name, from, to, (a, b), count)| Part::Range(name, from, to, a, b, count)),
        u32::from(closures) => prop::sample::select(vec!["pred", "view"]).prop_map(Part::Closure),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        let path = prop::collection::vec(inner, 0..3);
        let names = vec![
            "multi_path",
            "multi_path",
            "if_path",
            "cond_path",
            "filter_selected",
            "filter_not_selected",
            "subselect",
        ];
        (prop::sample::select(names), prop::collection::vec(path, 1..4))
            .prop_map(|(name, paths)| Part::Paths(name, paths))
    })
    .boxed()
}

/// Navigators that a map always lets through.
fn map_part() -> impl Strategy<Value = Vec<Part>> {
    let range = prop::sample::select(vec!["map_range", "map_from", "map_to", "map_first", "map_last"]);
    let range = (range, key(), key(), any::<(bool, bool)>(), prop::option::of(0..4u64))
        .prop_map(|(name, from, to, (a, b), count)| Part::Range(name, from, to, a, b, count))
        .boxed();
    let each = || prop::sample::select(vec!["all", "map_vals", "map_vals", "map_keys"]).prop_map(Part::Plain);
    let at_key = || (prop::sample::select(vec!["key", "must"]), key()).prop_map(|(name, key)| Part::WithArg(name, key));
    let one = prop_oneof![
        3 => at_key(),
        1 => key().prop_map(|key| Part::WithArg("map_key", key)),
        2 => each(),
        2 => range.clone(),
        1 => prop::collection::vec(key(), 0..3).prop_map(|keys| Part::WithArg("submap", Value::List(keys))),
        1 => prop::collection::vec(at_key().prop_map(|part| vec![part]), 1..3)
            .prop_map(|paths| Part::Paths("multi_path", paths)),
        1 => (at_key(), at_key(), each())
            .prop_map(|(a, b, c)| Part::Paths("if_path", vec![vec![a], vec![b], vec![c]])),
    ];
    prop_oneof![
        4 => one.prop_map(|part| vec![part]),
        2 => (range, each()).prop_map(|(range, each)| vec![range, each]),
        1 => Just(vec![]),
    ]
}

/// A way into a map, and on.
fn way(
    on: impl Strategy<Value = Vec<Part>>,
    end: impl Strategy<Value = Vec<Part>>,
) -> impl Strategy<Value = Vec<Part>> {
    (map_part(), on, end).prop_map(|(mut parts, on, end)| {
        parts.extend(on);
        parts.extend(end);
        parts
    })
}

/// Parts of a select path.
pub fn select_parts(closures: bool) -> impl Strategy<Value = Vec<Part>> {
    way(prop::collection::vec(part(closures), 0..3), Just(vec![]))
}

/// Parts of a transform path.
pub fn transform_parts() -> impl Strategy<Value = Vec<Part>> {
    let ends = prop_oneof![
        2 => scalar().prop_map(|value| vec![Part::WithArg("term_val", value)]),
        1 => value().prop_map(|value| vec![Part::WithArg("term_val", value)]),
        2 => Just(vec![Part::Plain("term_void")]),
        3 => Just(vec![Part::Closure("term")]),
        2 => Just(vec![Part::Closure("term_or_void")]),
    ];
    let ends = ends.boxed();
    let on = || prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(part(true), 0..3)];
    prop_oneof![
        4 => way(on(), ends.clone()),
        1 => (way(on(), ends.clone()), way(on(), ends)).prop_map(|(a, b)| vec![Part::Paths("multi_path", vec![a, b])]),
    ]
}

/// The path of parts. Its closures count their calls and answer something for every value.
pub fn path_of(parts: &[Part], calls: &Calls) -> tantu_path::Path {
    parts.iter().fold(tantu_path::Path::new(), |path, part| add(path, part, calls))
}

fn add(p: tantu_path::Path, part: &Part, calls: &Calls) -> tantu_path::Path {
    match part {
        Part::Plain(name) => add_plain(p, name),
        Part::WithArg(name, value) => add_with_arg(p, name, value.clone()),
        Part::Range(name, from, to, a, b, count) => {
            let (from, to) = (from.clone(), to.clone());
            match *name {
                "map_range" => p.sorted_map_range_with(from, *a, to, *b),
                "map_from" => p.sorted_map_range_from(from, *a, *count),
                "map_to" => p.sorted_map_range_to(to, *b, *count),
                "map_first" => p.sorted_map_range_from_start(Value::U64(count.unwrap_or(2))),
                "map_last" => p.sorted_map_range_to_end(Value::U64(count.unwrap_or(2))),
                "set_range" => p.sorted_set_range_with(from, *a, to, *b),
                "set_to" => p.sorted_set_range_to(to, *b, *count),
                _ => unreachable!("{name}"),
            }
        }
        Part::Paths(name, paths) => {
            let mut paths: Vec<_> = paths.iter().map(|parts| path_of(parts, calls)).collect();
            match *name {
                "multi_path" => p.multi_path(paths),
                "if_path" if paths.len() < 2 => p.filter_selected(paths.remove(0)),
                "if_path" => {
                    let (cond, then) = (paths.remove(0), paths.remove(0));
                    p.if_path(cond, then, paths.pop())
                }
                "cond_path" => {
                    let arms = paths.chunks_exact(2).map(|arm| (arm[0].clone(), arm[1].clone()));
                    p.cond_path(arms.collect::<Vec<_>>())
                }
                "filter_selected" => p.filter_selected(paths.remove(0)),
                "filter_not_selected" => p.filter_not_selected(paths.remove(0)),
                "subselect" => p.subselect(paths.remove(0)),
                _ => unreachable!("{name}"),
            }
        }
        Part::Closure(name) => {
            let calls = calls.clone();
            let func = tantu_path::Func::untyped({
                let or_void = *name == "term_or_void";
                let pred = *name == "pred";
                move |at, _| {
                    calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let odd = matches!(at, Value::I64(n) if n % 2 == 1);
                    if pred {
                        return Some(Value::Bool(!odd));
                    }
                    match at {
                        Value::I64(_) if odd && or_void => None,
                        Value::I64(n) => Some(Value::I64(n + 1)),
                        Value::Null => Some(Value::I64(100)),
                        other => Some(other),
                    }
                }
            });
            match *name {
                "pred" => p.filter_pred(func),
                "view" => p.view(func, vec![]),
                _ => p.term(func, vec![]),
            }
        }
    }
}

fn add_with_arg(p: tantu_path::Path, name: &str, value: Value) -> tantu_path::Path {
    match name {
        "key" => p.key(value),
        "must" => p.must(value),
        "map_key" => p.map_key(value),
        "nth" => p.nth(value),
        "set_elem" => p.set_elem(value),
        "submap" => p.submap(value),
        "subset" => p.subset(value),
        "filter_equal" => p.filter_equal(value),
        "filter_not_equal" => p.filter_not_equal(value),
        "filter_less_than" => p.filter_less_than(value),
        "filter_less_than_or_equal" => p.filter_less_than_or_equal(value),
        "filter_greater_than" => p.filter_greater_than(value),
        "filter_greater_than_or_equal" => p.filter_greater_than_or_equal(value),
        "null_to_val" => p.null_to_val(value),
        "void_to_val" => p.void_to_val(value),
        "before_index" => p.before_index(value),
        "term_val" => p.term_val(value),
        _ => unreachable!("{name}"),
    }
}

fn add_plain(p: tantu_path::Path, name: &str) -> tantu_path::Path {
    match name {
        "all" => p.all(),
        "map_vals" => p.map_vals(),
        "map_keys" => p.map_keys(),
        "first" => p.first(),
        "last" => p.last(),
        "before_elem" => p.before_elem(),
        "after_elem" => p.after_elem(),
        "beginning" => p.beginning(),
        "end" => p.end(),
        "void_set_elem" => p.void_set_elem(),
        "stay" => p.stay(),
        "size" => p.size(),
        "null_to_list" => p.null_to_list(),
        "null_to_set" => p.null_to_set(),
        "null_to_map" => p.null_to_map(),
        "term_void" => p.term_void(),
        _ => unreachable!("{name}"),
    }
}
