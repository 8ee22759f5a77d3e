//! Random values that like to collide: few letters, numbers around the places where their length changes.

use proptest::collection::vec;
use proptest::prelude::*;
use tantu_base::value::Value;

/// Any value, nested a few levels.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 40, 4, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        let fields = vec((field_id(), inner.clone()), 0..4);
        let many = vec((0..40u32, scalar()), 20..40);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec(inner, 0..4).prop_map(Value::set),
            pairs.prop_map(Value::map),
            fields.prop_map(Value::record),
            many.prop_map(Value::record),
        ]
    })
}

/// A value and another that is likely close to it.
pub(crate) fn neighbours() -> impl Strategy<Value = (Value, Value)> {
    prop_oneof![
        (value(), value()),
        (signed(), signed()).prop_map(|(a, b)| (Value::I64(a), Value::I64(b))),
        (text(), text()).prop_map(|(a, b)| (Value::Str(a), Value::Str(b))),
        (bytes(), bytes()).prop_map(|(a, b)| (Value::Bytes(a), Value::Bytes(b))),
        (vec(scalar(), 0..4), vec(scalar(), 0..4)).prop_map(|(head, tail)| {
            let longer = head.iter().chain(&tail).cloned().collect();
            (Value::List(head), Value::List(longer))
        }),
        (vec((value(), value()), 0..4), value(), value()).prop_map(|(mut entries, key, other)| {
            let map = Value::map(entries.clone());
            entries.push((key, other));
            (map, Value::map(entries))
        }),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        signed().prop_map(Value::I64),
        unsigned().prop_map(Value::U64),
        float().prop_map(Value::F64),
        text().prop_map(Value::Str),
        bytes().prop_map(Value::Bytes),
        (any::<u8>(), 0..3u8).prop_map(|(first, last)| {
            let mut id = [0; 16];
            (id[0], id[15]) = (first, last);
            Value::Uuid(id)
        }),
    ]
}

/// Around every power of 256, and anywhere.
pub(crate) fn unsigned() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..8u32, -2..3i64).prop_map(|(power, near)| (1u64 << (8 * power)).wrapping_add_signed(near)),
        0..5u64,
        any::<u64>(),
    ]
}

pub(crate) fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![unsigned().prop_map(|bits| bits as i64), unsigned().prop_map(|bits| (bits as i64).wrapping_neg())]
}

fn float() -> impl Strategy<Value = f64> {
    let corners = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, f64::MIN_POSITIVE];
    prop_oneof![proptest::sample::select(corners.to_vec()), any::<u64>().prop_map(f64::from_bits)]
}

pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()];
    prop_oneof![vec(byte.clone(), 0..6), vec(byte, 120..140)]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('b'), Just('é'), any::<char>()];
    vec(letter, 0..5).prop_map(String::from_iter)
}

fn field_id() -> impl Strategy<Value = u32> {
    prop_oneof![0..4u32, Just(127), Just(128), Just(u32::MAX), any::<u32>()]
}

/// So many times the default number of cases. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` steer a longer or a
/// repeated run.
pub(crate) fn config(times: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases * times, failure_persistence: None, ..config }
}
