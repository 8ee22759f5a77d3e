//! Paths and schemas as bytes: what is written is read back, nothing else is, and nothing panics.

mod support;

use proptest::prelude::*;
use support::*;
use tantu_base::value::Value;
use tantu_path::{Arg, Func, Functions, PATH_DEPTH_MAX, PATH_NAV_COUNT_MAX, Path, PathDecodeError, PathEncodeError};
use tantu_path::{FieldSchema, NoArgs, Schema, select};

fn encoded(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    path.encode(&mut bytes).expect("encodes");
    bytes
}

fn any_schema() -> impl Strategy<Value = Schema> {
    let leaf = prop::sample::select(vec![
        Schema::Any,
        Schema::Bool,
        Schema::I64,
        Schema::U64,
        Schema::I32,
        Schema::U32,
        Schema::F64,
        Schema::Str,
        Schema::Bytes,
        Schema::Uuid,
    ]);
    leaf.prop_recursive(4, 20, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Schema::list),
            inner.clone().prop_map(Schema::set),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| Schema::map(key, value)),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Schema::Tuple),
            prop::collection::btree_map(0..9u32, ("[a-z]{1,3}", inner), 0..3).prop_map(|fields| {
                let field = |(id, (name, schema))| FieldSchema { id, name, schema };
                Schema::Record(fields.into_iter().map(field).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_path_is_read_back_as_it_was_written(parts in select_parts(false)) {
        let path = path_of(&parts, &Calls::default());
        let bytes = encoded(&path);
        let back = Path::decode(&bytes).expect("decodes");
        prop_assert_eq!(&back, &path);
        prop_assert_eq!(encoded(&back), bytes);
    }

    #[test]
    fn a_schema_is_read_back_as_it_was_written(schema in any_schema()) {
        let mut bytes = Vec::new();
        schema.encode(&mut bytes);
        prop_assert_eq!(Schema::decode(&bytes).expect("decodes"), schema);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Path::decode(&bytes);
        let _ = Schema::decode(&bytes);
    }

    #[test]
    fn values_that_look_like_paths_never_panic_and_what_is_read_is_canonical(value in value()) {
        for value in [value.clone(), Value::List(vec![Value::U64(1), value])] {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            if let Ok(path) = Path::decode(&bytes) {
                prop_assert_eq!(encoded(&path), bytes.clone());
            }
            if let Ok(schema) = Schema::decode(&bytes) {
                let mut again = Vec::new();
                schema.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn a_flipped_byte_is_refused_or_read_as_another_path_that_can_be_followed(
        parts in select_parts(false), at in any::<prop::sample::Index>(), bit in 0..8u8, map in map_value(),
    ) {
        let path = path_of(&parts, &Calls::default());
        let mut bytes = encoded(&path);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Path::decode(&bytes) {
            prop_assert_ne!(&other, &path);
            prop_assert_eq!(encoded(&other), bytes);
            let _ = select(&other, &map, &NoArgs);
        }
    }
}

#[test]
fn every_code_with_any_number_of_arguments_and_paths_decodes_or_is_refused_and_can_be_followed() {
    let map = Value::map([(Value::I64(1), Value::List(vec![Value::I64(2)]))]);
    let mut decoded = 0;
    for code in 0..200 {
        for (args, paths) in (0..5).flat_map(|args| (0..4).map(move |paths| (args, paths))) {
            for arg in [Value::I64(1), Value::Null, Value::Bool(true), Value::List(vec![Value::I64(1)])] {
                let nav = Value::List(vec![
                    Value::U64(code),
                    Value::List(vec![arg; args]),
                    Value::List(vec![Value::List(vec![]); paths]),
                ]);
                let mut bytes = Vec::new();
                Value::List(vec![Value::U64(1), Value::List(vec![nav])]).encode(&mut bytes);
                if let Ok(path) = Path::decode(&bytes) {
                    decoded += 1;
                    for value in [&map, &Value::Null, &Value::I64(3)] {
                        let _ = select(&path, value, &NoArgs);
                        let _ = tantu_path::transform(&path, value.clone(), &NoArgs);
                        let _ = tantu_path::transform(&path.clone().term_void(), value.clone(), &NoArgs);
                    }
                }
            }
        }
    }
    assert!(decoded > 100, "{decoded}");
}

#[test]
fn closures_and_slots_cannot_be_sent() {
    let mut bytes = vec![7];
    let closure = Path::new().multi_path([Path::new().filter_pred(Func::unary(|_: Value| true))]);
    assert!(closure.has_closure());
    assert!(matches!(closure.encode(&mut bytes), Err(PathEncodeError::Closure { navigator: "filter_pred", .. })));
    let slot = Path::new().key(Arg::Slot(3));
    assert_eq!(slot.encode(&mut bytes), Err(PathEncodeError::Slot { navigator: "key", slot: 3 }));
    assert_eq!(bytes, [7]);
}

#[test]
fn paths_that_are_too_large_are_refused_both_ways() {
    let long = (0..=PATH_NAV_COUNT_MAX).fold(Path::new(), |path, _| path.all());
    assert_eq!(long.encode(&mut Vec::new()), Err(PathEncodeError::TooLarge));
    let deep = |levels: usize| (0..levels).fold(Path::new(), |path, _| Path::new().subselect(path));
    assert_eq!(Path::decode(&encoded(&deep(PATH_DEPTH_MAX))), Ok(deep(PATH_DEPTH_MAX)));
    assert_eq!(deep(PATH_DEPTH_MAX + 1).encode(&mut Vec::new()), Err(PathEncodeError::TooLarge));
    let nested = |levels: usize| (0..levels).fold(Value::I64(1), |value, _| Value::List(vec![value]));
    let deep_argument = |levels| Path::new().subselect(Path::new().key(nested(levels)));
    assert_eq!(Path::decode(&encoded(&deep_argument(36))), Ok(deep_argument(36)));
    assert_eq!(deep_argument(37).encode(&mut Vec::new()), Err(PathEncodeError::TooDeep { navigator: "key" }));
    let big = Path::new().key(Value::Bytes(vec![0; 1 << 20]));
    assert!(matches!(big.encode(&mut Vec::new()), Err(PathEncodeError::TooLong { .. })));
    assert!(matches!(Path::decode(&vec![0; 2 << 20]), Err(PathDecodeError::TooLong { .. })));

    let mut bytes = Vec::new();
    let stay = || Value::List(vec![Value::U64(110), Value::List(vec![]), Value::List(vec![])]);
    let navs = (0..=PATH_NAV_COUNT_MAX).map(|_| stay()).collect();
    Value::List(vec![Value::U64(1), Value::List(navs)]).encode(&mut bytes);
    assert_eq!(Path::decode(&bytes), Err(PathDecodeError::TooLarge));
}

#[test]
fn versions_and_navigators_of_the_future_are_named() {
    let encode = |value: Value| {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    };
    let future = encode(Value::List(vec![Value::U64(2), Value::List(vec![])]));
    assert_eq!(Path::decode(&future), Err(PathDecodeError::Version(2)));
    assert_eq!(Schema::decode(&future).unwrap_err().to_string(), "schema format version 2 is unknown");
    let nav = Value::List(vec![Value::U64(9999), Value::List(vec![]), Value::List(vec![])]);
    let unknown = encode(Value::List(vec![Value::U64(1), Value::List(vec![nav])]));
    assert_eq!(Path::decode(&unknown), Err(PathDecodeError::Navigator(9999)));
}

#[test]
fn a_function_with_a_name_is_sent_as_its_name_and_found_among_those_declared() {
    let double = || Func::named("double", Func::unary(|n: i64| n * 2));
    let seven = || Func::named("seven", Func::unary(|n: i64| n == 14));
    let path = Path::new().all().view(double(), vec![]).filter_pred(seven());
    let bytes = encoded(&path);
    assert_eq!(Path::decode(&bytes), Err(PathDecodeError::Function { navigator: "view", name: "double".to_owned() }));
    let mut functions = Functions::default();
    assert!(functions.declare(double()) && !functions.declare(double()));
    let unknown = PathDecodeError::Function { navigator: "filter_pred", name: "seven".to_owned() };
    assert_eq!(Path::decode_with(&bytes, &functions), Err(unknown));
    assert!(functions.declare(seven()));
    let back = Path::decode_with(&bytes, &functions).unwrap();
    assert_eq!(encoded(&back), bytes);
    let list = Value::List(vec![Value::I64(1), Value::I64(7)]);
    assert_eq!(select(&back, &list, &NoArgs), Ok(vec![Value::I64(14)]));
    let nav = |code: u64, name: Value| {
        let nav = [Value::U64(code), Value::List(vec![]), Value::List(vec![]), name];
        let mut bytes = Vec::new();
        Value::List(vec![Value::U64(1), Value::List(vec![Value::List(nav.to_vec())])]).encode(&mut bytes);
        Path::decode_with(&bytes, &functions)
    };
    let double = || Value::Str("double".to_owned());
    assert!(nav(90, double()).is_ok());
    for (code, name) in [(10, double()), (160, double()), (90, Value::I64(1))] {
        assert!(matches!(nav(code, name), Err(PathDecodeError::Shape(_))), "{code}");
    }
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_version_1_have_not_changed() {
    let text = |s: &str| Value::Str(s.to_owned());
    let path = Path::new()
        .key(text("ann"))
        .sorted_map_range_with(Value::I64(5), true, Value::I64(9), false)
        .map_vals()
        .if_path(Path::new().filter_greater_than(Value::U64(3)), Path::new(), None);
    assert_eq!(hex(&encoded(&path)), include_str!("golden/path_v1.hex").trim());
    let collecting = Path::new()
        .with_page_size(7, Path::new().key(text("ann")).collect_one(Path::new().must(Value::I64(1))))
        .collect(Path::new().map_keys())
        .put_collected(Value::U64(9))
        .val()
        .with_fresh_collected(Path::new().index_nav(Value::U64(0)))
        .collected()
        .indexed_vals()
        .continuous_subseqs(Path::new())
        .dispense_collected();
    assert_eq!(hex(&encoded(&collecting)), include_str!("golden/path_v1_collect.hex").trim());
    let fields = vec![FieldSchema { id: 2, name: "age".to_owned(), schema: Schema::I32 }];
    let schema = Schema::map(Schema::Str, Schema::Tuple(vec![Schema::list(Schema::Any), Schema::Record(fields)]));
    let mut bytes = Vec::new();
    schema.encode(&mut bytes);
    assert_eq!(hex(&bytes), include_str!("golden/schema_v1.hex").trim());
}
