//! What a schema accepts, and how it says what it does not.

mod support;

use proptest::prelude::*;
use support::*;
use tantu_base::value::Value;
use tantu_path::{FieldSchema, List, Map, PStateSchema, Schema, Set};

fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

#[test]
fn every_leaf_accepts_its_own_kind_and_null_only() {
    let samples = [
        (Schema::Bool, Value::Bool(true)),
        (Schema::I64, Value::I64(i64::MIN)),
        (Schema::U64, Value::U64(u64::MAX)),
        (Schema::F64, Value::F64(0.5)),
        (Schema::Str, text("x")),
        (Schema::Bytes, Value::Bytes(vec![1])),
        (Schema::Uuid, Value::Uuid([1; 16])),
        (Schema::list(Schema::Any), Value::List(vec![])),
        (Schema::set(Schema::Any), Value::Set(vec![])),
        (Schema::map(Schema::Any, Schema::Any), Value::Map(vec![])),
        (Schema::Record(vec![]), Value::Record(vec![])),
    ];
    for (schema, _) in &samples {
        for (other, value) in &samples {
            assert_eq!(schema.check(value).is_ok(), schema == other, "{schema} {value:?}");
            Schema::Any.check(value).unwrap();
        }
        schema.check(&Value::Null).unwrap();
        assert!(schema.check_key(&Value::Null).is_err());
    }
    Schema::Any.check_key(&Value::Null).unwrap();
}

#[test]
fn the_32_bit_leaves_accept_only_what_fits() {
    for (n, fits) in
        [(i64::from(i32::MAX), true), (i64::from(i32::MIN), true), (1 << 31, false), (-(1 << 31) - 1, false)]
    {
        assert_eq!(Schema::I32.check(&Value::I64(n)).is_ok(), fits, "{n}");
    }
    assert!(Schema::U32.check(&Value::U64(u64::from(u32::MAX))).is_ok());
    assert!(Schema::U32.check(&Value::U64(1 << 32)).is_err());
    assert!(Schema::U32.check(&Value::I64(1)).is_err());
}

#[test]
fn a_misfit_deep_inside_is_located() {
    let fields = vec![
        FieldSchema { id: 1, name: "name".to_owned(), schema: Schema::Str },
        FieldSchema {
            id: 4,
            name: "days".to_owned(),
            schema: Schema::map(Schema::I64, Schema::list(Schema::set(Schema::I64))),
        },
    ];
    let schema = Schema::map(Schema::Str, Schema::Record(fields));
    let at = |days: Value| Value::map([(text("ann"), Value::record([(1, text("Ann")), (4, days)]))]);
    let cases = [
        (at(Value::I64(3)), r#"at ["ann"].days: expected Map<i64, List<Set<i64>>>, found i64 3"#),
        (at(Value::map([(text("x"), Value::Null)])), r#"at ["ann"].days[key "x"]: expected i64, found string "x""#),
        (
            at(Value::map([(Value::I64(3), Value::List(vec![Value::Null, Value::set([Value::U64(1)])]))])),
            r#"at ["ann"].days[3][1][element 1]: expected i64, found u64 1"#,
        ),
        (
            Value::map([(text("bob"), Value::record([(9, Value::Null)]))]),
            r#"at ["bob"]: expected {name: String, days: Map<i64, List<Set<i64>>>}, found unknown field 9"#,
        ),
        (
            Value::List(vec![]),
            "at the top: expected Map<String, {name: String, days: Map<i64, List<Set<i64>>>}>, found list of 0",
        ),
    ];
    for (value, message) in cases {
        assert_eq!(schema.check(&value).unwrap_err().to_string(), message);
    }
    schema.check(&at(Value::map([(Value::I64(3), Value::Null)]))).unwrap();
}

#[test]
fn tuples_have_exactly_their_parts() {
    let pair = <(i64, String)>::schema();
    assert_eq!(pair.to_string(), "(i64, String)");
    pair.check(&Value::List(vec![Value::I64(1), text("x")])).unwrap();
    pair.check(&Value::List(vec![Value::Null, Value::Null])).unwrap();
    assert!(pair.check(&Value::List(vec![Value::I64(1)])).is_err());
    assert!(pair.check(&Value::List(vec![Value::I64(1), Value::I64(1)])).is_err());
}

#[test]
fn marker_types_are_their_schemas() {
    type Shape = Map<String, Map<u32, List<Set<(i32, Option<bool>)>>>>;
    assert_eq!(Shape::schema().to_string(), "Map<String, Map<u32, List<Set<(i32, bool)>>>>");
    assert_eq!(<Map<Vec<u8>, Value>>::schema(), Schema::map(Schema::Bytes, Schema::Any));
    assert_eq!(<Option<List<bool>>>::schema(), <List<bool>>::schema());
}

/// A schema that a value fits: its own shape, made loose at random places.
/// PST-05.
#[test]
fn an_element_of_a_list_is_a_class_or_a_schema_and_one_of_a_set_is_no_structure() {
    assert_eq!(List::<String>::schema(), Schema::list(Schema::Str));
    let nested = List::<Map<String, Set<i64>>>::schema();
    assert_eq!(nested, Schema::list(Schema::map(Schema::Str, Schema::set(Schema::I64))));
    nested.check(&Value::List(vec![Value::map([(text("a"), Value::set([Value::I64(1)]))]), Value::Null])).unwrap();
    let misfit = nested.check(&Value::List(vec![Value::Null, Value::map([(text("a"), Value::I64(1))])])).unwrap_err();
    assert_eq!(misfit.location(), "[1][\"a\"]");
    let declared = |of: Schema| Schema::map(Schema::Str, of).check_declared();
    let sub_list = || Schema::sub(Schema::list(Schema::I64));
    assert!(declared(Schema::sub(Schema::list(sub_list()))).is_ok(), "a structure of structures");
    assert!(declared(Schema::sub(Schema::set(sub_list()))).is_err(), "an element of a set is a value");
    assert!(declared(Schema::set(sub_list())).is_err());
}

fn schema_of(value: &Value) -> Schema {
    match value {
        Value::Null => Schema::I64,
        Value::Bool(_) => Schema::Bool,
        Value::I64(_) => Schema::I32,
        Value::U64(_) => Schema::U32,
        Value::F64(_) => Schema::F64,
        Value::Str(_) => Schema::Str,
        Value::Bytes(_) => Schema::Bytes,
        Value::Uuid(_) => Schema::Uuid,
        Value::List(of) => Schema::Tuple(of.iter().map(schema_of).collect()),
        Value::Set(_) => Schema::set(Schema::Any),
        Value::Map(_) => Schema::map(Schema::Any, Schema::Any),
        Value::Record(of) => {
            let field =
                |(id, value): &(u32, Value)| FieldSchema { id: *id, name: format!("f{id}"), schema: schema_of(value) };
            Schema::Record(of.iter().map(field).collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn checking_bytes_is_checking_the_value(one in value(), other in value()) {
        let schema = schema_of(&one);
        prop_assert!(schema.check(&one).is_ok());
        for value in [&one, &other] {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            prop_assert_eq!(schema.check_encoded(&bytes).expect("a value"), schema.check(value));
            prop_assert_eq!(schema.check_key_encoded(&bytes).expect("a value"), schema.check_key(value));
        }
    }

    #[test]
    fn checking_random_bytes_never_panics(schema in value().prop_map(|v| schema_of(&v)), bytes in prop::collection::vec(any::<u8>(), 0..32)) {
        if let Ok(Ok(())) = schema.check_encoded(&bytes) {
            prop_assert!(schema.check(&Value::decode(&bytes).expect("what fits is a value")).is_ok());
        }
    }
}
