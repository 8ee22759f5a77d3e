//! Rust types: the bytes of the value they stand for, there and back.

use super::draw;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use tantu_base::value::{
    Decode, DecodeError, Encode, KeyReader, Reader, RecordWriter, Uuid, Value, decoded, decoded_key, encoded,
    encoded_key, put_i64, put_map_header, put_str,
};

/// Data stands for this value: same bytes in both forms, and it reads itself back from both.
#[track_caller]
fn stands_for<T: Encode + Decode + PartialEq + Debug>(data: T, value: Value) {
    assert_eq!(encoded(&data), encoded(&value), "{value}");
    assert_eq!(encoded_key(&data), encoded_key(&value), "{value}");
    assert_eq!(decoded::<T>(&encoded(&value)).as_ref(), Ok(&data));
    assert_eq!(decoded_key::<T>(&encoded_key(&value)).as_ref(), Ok(&data));
    let key = encoded_key(&(1i64, &data));
    assert_eq!(KeyReader::new(&key[1..]).i64(), Ok(1));
}

#[test]
fn every_type_has_the_bytes_of_its_value() {
    stands_for((), Value::Null);
    stands_for(true, Value::Bool(true));
    stands_for(-7i64, Value::I64(-7));
    stands_for(i32::MIN, Value::I64(i64::from(i32::MIN)));
    stands_for(7u64, Value::U64(7));
    stands_for(u32::MAX, Value::U64(u64::from(u32::MAX)));
    stands_for(1.25f64, Value::F64(1.25));
    stands_for("a\0b".to_string(), Value::from("a\0b"));
    stands_for(b"a\0b".to_vec(), Value::from(&b"a\0b"[..]));
    stands_for(*b"a\0b", Value::from(&b"a\0b"[..]));
    stands_for(Uuid([7; 16]), Value::Uuid([7; 16]));
    stands_for(vec!["a".to_string()], Value::List(vec![Value::from("a")]));
    stands_for(vec![b"a".to_vec()], Value::List(vec![Value::from(&b"a"[..])]));
    stands_for(None::<i64>, Value::Null);
    stands_for(Some(3i64), Value::I64(3));
    stands_for(Box::new(3i64), Value::I64(3));
    stands_for(Value::U64(1), Value::U64(1));
    stands_for((1i64,), Value::List(vec![Value::I64(1)]));
    stands_for((1i64, "a".to_string()), Value::List(vec![Value::I64(1), Value::from("a")]));
    stands_for((1i64, 2u64, 3i32, 4u32, true, ()), {
        let numbers = [Value::I64(1), Value::U64(2), Value::I64(3), Value::U64(4)];
        Value::List(numbers.into_iter().chain([Value::Bool(true), Value::Null]).collect())
    });
    stands_for(BTreeSet::from([3i64, -1]), Value::set([Value::I64(3), Value::I64(-1)]));
    stands_for(
        BTreeMap::from([("b".to_string(), Some(1i64)), ("aa".to_string(), None)]),
        Value::map([(Value::from("b"), Value::I64(1)), (Value::from("aa"), Value::Null)]),
    );
    assert_eq!(encoded("text"), encoded(&"text".to_string()));
    assert_eq!(encoded(&b"bytes"[..]), encoded(&b"bytes".to_vec()));
    assert_eq!(encoded(&[1i64, 2][..]), encoded(&vec![1i64, 2]));
    assert_eq!(encoded_key(&&&1i64), encoded_key(&1i64));
}

#[test]
fn a_value_of_another_type_is_refused_by_name() {
    let wrong = |error: DecodeError| error.to_string();
    assert_eq!(decoded::<i64>(&encoded(&5u64)).map_err(wrong), Err("byte 0: expected i64, found u64".into()));
    assert_eq!(decoded::<()>(&encoded(&5u64)).map_err(wrong), Err("byte 0: expected null, found u64".into()));
    assert_eq!(
        decoded::<String>(&encoded(&None::<i64>)).map_err(wrong),
        Err("byte 0: expected string, found null".into())
    );
    assert_eq!(
        decoded::<Vec<u8>>(&encoded(&vec![1i64])).map_err(wrong),
        Err("byte 0: expected bytes, found list".into())
    );
    assert_eq!(decoded::<Option<i64>>(&encoded("x")).map_err(wrong), Err("byte 0: expected i64, found string".into()));
    let too_large = encoded(&vec![1i64, 1 << 31]);
    assert_eq!(decoded::<Vec<i32>>(&too_large), Err(DecodeError::OutOfRange { offset: 4, expected: "i32" }));
    assert_eq!(decoded::<u32>(&encoded(&(1u64 << 32))), Err(DecodeError::OutOfRange { offset: 0, expected: "u32" }));
    let three = encoded(&(1i64, 2i64, 3i64));
    assert_eq!(decoded::<(i64, i64)>(&three), Err(DecodeError::WrongCount { offset: 0, expected: 2, found: 3 }));
    assert_eq!(decoded::<i64>(b"\x19\x01\x01"), Err(DecodeError::TrailingBytes { offset: 2 }));
}

#[test]
fn sets_and_maps_out_of_order_are_refused_by_their_types_too() {
    let mut map = Vec::new();
    put_map_header(&mut map, 2);
    for key in ["b", "a"] {
        put_str(&mut map, key);
        put_i64(&mut map, 1);
    }
    assert_eq!(decoded::<BTreeMap<String, i64>>(&map), Err(DecodeError::NotAscending { offset: 7 }));
    assert_eq!(decoded::<BTreeSet<i64>>(b"\x51\x02\x19\x01\x19\x01"), Err(DecodeError::NotAscending { offset: 4 }));
}

/// A key whose own order is not the order of its encoding, and of which two may have one encoding.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Backwards(i64);

impl Ord for Backwards {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Backwards {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Encode for Backwards {
    fn encode(&self, out: &mut Vec<u8>) {
        put_i64(out, self.0 / 2);
    }
}

#[test]
fn a_collection_whose_type_has_another_order_is_encoded_in_key_order() {
    let set = BTreeSet::from([1, 2, 3, 4, 6].map(Backwards));
    let halves = Value::set([0, 1, 2, 3].map(Value::I64));
    assert_eq!(encoded(&set), encoded(&halves));
    assert_eq!(encoded_key(&set), encoded_key(&halves));
    let map: BTreeMap<Backwards, i64> = [1, 2, 3, 4].map(|n| (Backwards(n), n)).into_iter().collect();
    // Of 3 and 2, which have one encoding, 2 comes later in the type's own order.
    let expected = Value::map([(0, 1), (1, 2), (2, 4)].map(|(half, n)| (Value::I64(half), Value::I64(n))));
    assert_eq!(encoded(&map), encoded(&expected));
    assert_eq!(encoded_key(&map), encoded_key(&expected));
}

#[test]
fn a_cursor_reads_a_record_field_by_field_and_skips_the_rest() {
    let record = Value::record([
        (1, Value::from("name")),
        (2, Value::List(vec![Value::map([(Value::Null, Value::set([]))]), Value::F64(0.5)])),
        (3, Value::U64(9)),
    ]);
    let bytes = encoded(&record);
    let mut reader = Reader::new(&bytes);
    let mut fields = reader.fields().unwrap();
    assert_eq!(fields.count(), 3);
    assert_eq!((fields.next(&mut reader), reader.str()), (Ok(Some(1)), Ok("name")));
    assert_eq!(fields.next(&mut reader), Ok(Some(2)));
    assert_eq!(reader.skip(), Ok(&encoded(record.field(2).unwrap())[..]));
    assert_eq!((fields.next(&mut reader), reader.u64()), (Ok(Some(3)), Ok(9)));
    assert_eq!(fields.next(&mut reader), Ok(None));
    reader.finish().unwrap();
    let mut empty = Vec::new();
    RecordWriter::start(&mut empty, 0).finish(&mut empty);
    assert_eq!(Value::decode(&empty), Ok(Value::record([])));
}

proptest! {
    #![proptest_config(draw::config(2))]

    #[test]
    fn typed_keys_sort_like_their_types(
        a in (draw::signed(), draw::text(), draw::bytes(), proptest::option::of(draw::unsigned())),
        b in (draw::signed(), draw::text(), draw::bytes(), proptest::option::of(draw::unsigned())),
    ) {
        prop_assert_eq!(a.cmp(&b), encoded_key(&a).cmp(&encoded_key(&b)));
        prop_assert_eq!(a.1.cmp(&b.1), encoded_key(&a.1).cmp(&encoded_key(&b.1)));
        prop_assert_eq!(decoded_key::<(i64, String, Vec<u8>, Option<u64>)>(&encoded_key(&a)).unwrap(), a);
    }

    #[test]
    fn typed_maps_come_back(
        map in proptest::collection::btree_map(draw::text(), proptest::collection::vec(draw::signed(), 0..3), 0..6),
    ) {
        let bytes = encoded(&map);
        prop_assert_eq!(encoded(&Value::decode(&bytes).unwrap()), &bytes[..]);
        prop_assert_eq!(encoded_key(&Value::decode(&bytes).unwrap()), encoded_key(&map));
        prop_assert_eq!(decoded::<BTreeMap<String, Vec<i64>>>(&bytes).unwrap(), map);
    }
}
