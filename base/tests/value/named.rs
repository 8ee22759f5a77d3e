//! The values of the golden files, by name.

use tantu_base::value::Value;

/// Every named value.
pub(crate) fn values() -> Vec<(&'static str, Value)> {
    let mut named = scalars();
    named.extend(strings());
    named.extend(containers());
    named
}

fn scalars() -> Vec<(&'static str, Value)> {
    vec![
        ("null", Value::Null),
        ("false", Value::Bool(false)),
        ("true", Value::Bool(true)),
        ("i64_zero", Value::I64(0)),
        ("i64_one", Value::I64(1)),
        ("i64_minus_one", Value::I64(-1)),
        ("i64_minus_two", Value::I64(-2)),
        ("i64_127", Value::I64(127)),
        ("i64_255", Value::I64(255)),
        ("i64_256", Value::I64(256)),
        ("i64_minus_256", Value::I64(-256)),
        ("i64_minus_257", Value::I64(-257)),
        ("i64_65535", Value::I64(65_535)),
        ("i64_65536", Value::I64(65_536)),
        ("i64_2_pow_32", Value::I64(1 << 32)),
        ("i64_minus_2_pow_32", Value::I64(-(1 << 32))),
        ("i64_max", Value::I64(i64::MAX)),
        ("i64_min", Value::I64(i64::MIN)),
        ("u64_zero", Value::U64(0)),
        ("u64_one", Value::U64(1)),
        ("u64_255", Value::U64(255)),
        ("u64_256", Value::U64(256)),
        ("u64_max", Value::U64(u64::MAX)),
        ("f64_zero", Value::F64(0.0)),
        ("f64_minus_zero", Value::F64(-0.0)),
        ("f64_one_and_a_half", Value::F64(1.5)),
        ("f64_minus_one", Value::F64(-1.0)),
        ("f64_smallest", Value::F64(5e-324)),
        ("f64_minus_smallest", Value::F64(-5e-324)),
        ("f64_infinity", Value::F64(f64::INFINITY)),
        ("f64_minus_infinity", Value::F64(f64::NEG_INFINITY)),
        ("f64_nan", Value::F64(-f64::NAN)),
    ]
}

fn strings() -> Vec<(&'static str, Value)> {
    vec![
        ("str_empty", Value::from("")),
        ("str_word", Value::from("word")),
        ("str_zero", Value::from("\0")),
        ("str_zeros_within", Value::from("a\0\0b")),
        ("str_accents", Value::from("été")),
        ("str_130", Value::from("x".repeat(130))),
        ("bytes_empty", Value::from(&b""[..])),
        ("bytes_zero", Value::from(&b"\0"[..])),
        ("bytes_zero_one", Value::from(&b"\0\x01"[..])),
        ("bytes_zero_ff", Value::from(&b"\0\xff"[..])),
        ("bytes_ff", Value::from(&b"\xff"[..])),
        ("uuid", Value::Uuid(std::array::from_fn(|index| index as u8))),
    ]
}

/// Ids of two bytes, ends of two bytes: the value under 1000 takes 300 bytes.
fn wide_in_wide() -> Value {
    let inner = Value::record((0..16).map(|id| (id, Value::Null)));
    let mut fields: Vec<(u32, Value)> = (1..=14).map(|id| (id, Value::Bool(true))).collect();
    fields.extend([(999, inner), (1000, Value::from("x".repeat(297)))]);
    Value::record(fields)
}

fn containers() -> Vec<(&'static str, Value)> {
    let list = Value::List;
    let empty = || Value::List(Vec::new());
    let counts = [("aa", 3), ("a", 1), ("a\0", 2), ("", 0)];
    vec![
        ("list_empty", empty()),
        ("list_nulls", list(vec![Value::Null, Value::Null])),
        ("list_mixed", list(vec![Value::I64(1), Value::U64(1), Value::from("a"), empty()])),
        ("list_64_deep", (0..64).fold(Value::Null, |inner, _| list(vec![inner]))),
        ("set_empty", Value::set([])),
        ("set_numbers", Value::set([300i64, 0, -1].map(Value::from))),
        (
            "set_kinds",
            Value::set([
                list(vec![Value::I64(7)]),
                Value::from("7"),
                Value::I64(7),
                Value::Bool(false),
                Value::Null,
                Value::I64(7),
            ]),
        ),
        ("map_empty", Value::map([])),
        ("map_counts", Value::map(counts.map(|(word, count)| (Value::from(word), Value::I64(count))))),
        (
            "map_nested",
            Value::map([
                (Value::set([]), Value::Null),
                (list(vec![Value::I64(1), Value::from("x")]), Value::map([(Value::from("k"), Value::Bool(true))])),
            ]),
        ),
        ("record_empty", Value::record([])),
        ("record_of_15", Value::record((1..=15).map(|id| (id, Value::from(i64::from(id)))))),
        ("record_of_16", Value::record((1..=16).map(|id| (id, Value::from(i64::from(id)))))),
        ("record_wide_in_wide", wide_in_wide()),
        (
            "record_fields",
            Value::record([(u32::MAX, Value::Null), (300, empty()), (1, Value::I64(5)), (0, Value::from("name"))]),
        ),
        (
            "page_visit",
            Value::record([
                (1, Value::from("user-17")),
                (2, Value::from("/a/b?c=d")),
                (3, Value::I64(1_715_000_000_123)),
                (4, Value::map([(Value::from("ms"), Value::I64(240)), (Value::from("ok"), Value::Bool(true))])),
            ]),
        ),
    ]
}
