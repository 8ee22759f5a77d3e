//! Records field by field: found, replaced, and how little of the bytes that takes.

use super::draw;
use proptest::prelude::*;
use std::ops::Range;
use tantu_base::value::{DecodeError as E, Value, WIDE_COUNT_MIN, decoded, encoded, find_field, put_record_with};

fn record(count: u32) -> Value {
    Value::record((1..=count).map(|id| (id * 3, Value::from(format!("the field with the id {id:03}")))))
}

fn found(bytes: &[u8], id: u32) -> Option<Value> {
    let place = find_field(bytes, id).expect("a sound record")?;
    Some(decoded(&bytes[place]).expect("a whole value"))
}

/// The bytes of which at least one bit has a say in what a field is found to be.
fn deciding(bytes: &[u8], id: u32) -> Vec<usize> {
    let look = |bytes: &[u8]| find_field(bytes, id).map(|place| place.map(|at: Range<usize>| bytes[at].to_vec()));
    let sound = look(bytes);
    let decides = |at: &usize| {
        (0..8).any(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[*at] ^= 1 << bit;
            look(&flipped) != sound
        })
    };
    (0..bytes.len()).filter(decides).collect()
}

#[test]
fn a_field_of_a_record_of_100_is_found_in_less_than_three_fields_worth_of_bytes() {
    let bytes = encoded(&record(100));
    let field_size = bytes.len() / 100;
    let most = (1..=100).map(|id| deciding(&bytes, id * 3).len()).max().unwrap();
    assert!(most <= 3 * field_size, "{most} bytes of {} decide, a field takes {field_size}", bytes.len());
    assert!(deciding(&bytes, 299).len() <= 3 * field_size, "also for a field that is not there");
}

#[test]
fn the_first_field_of_a_narrow_record_is_found_without_the_others() {
    let bytes = encoded(&record(WIDE_COUNT_MIN as u32 - 1));
    let deciding = deciding(&bytes, 3);
    assert!(deciding.iter().all(|at| *at < 40), "{deciding:?}");
}

#[test]
fn fields_are_found_replaced_added_and_removed_in_records_of_every_width() {
    for count in [0, 1, 2, 14, 15, 16, 17, 100, 300] {
        let value = record(count);
        let bytes = encoded(&value);
        for id in [0, 1, 2, 3, 45, 46, 48, 300, 900, u32::MAX] {
            assert_eq!(found(&bytes, id).as_ref(), value.field(id), "{id} of {count}");
            for new in [None, Some(Value::Null), Some(Value::from("x".repeat(70_000)))] {
                let Value::Record(mut fields) = value.clone() else { unreachable!() };
                fields.retain(|(other, _)| *other != id);
                fields.extend(new.clone().map(|new| (id, new)));
                let mut out = b"before".to_vec();
                put_record_with(&bytes, id, new.as_ref().map(encoded).as_deref(), &mut out).unwrap();
                assert_eq!(out[6..], encoded(&Value::record(fields)), "{id} of {count}");
            }
        }
    }
}

#[test]
fn replacing_a_field_of_a_wide_record_does_not_look_at_the_others() {
    let mut bytes = encoded(&record(20));
    let place = find_field(&bytes, 30).unwrap().unwrap();
    bytes[place].fill(0xEE);
    let mut out = Vec::new();
    put_record_with(&bytes, 3, Some(b"\x01"), &mut out).unwrap();
    assert!(out.ends_with(&bytes[bytes.len() - 100..]), "the rest came along as it was");
    put_record_with(&bytes, 30, Some(b"\x01"), &mut Vec::new()).unwrap();
}

#[test]
fn a_table_that_lies_is_refused() {
    let sound = encoded(&record(16));
    assert_eq!(sound[..3], [0x53, 16, 0x12], "ids of one byte, ends of two");
    let lying = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        Value::decode(&bytes).unwrap_err()
    };
    assert_eq!(lying(2, 0x32), E::BadTable { offset: 2 });
    assert_eq!(lying(2, 0x13), E::BadTable { offset: 2 });
    let values_at = 3 + 16 + 32;
    assert_eq!(lying(4, 2), E::NotAscending { offset: values_at + 27 });
    assert_eq!(lying(20, 1), E::BadTable { offset: values_at + 27 });
    assert_eq!(lying(3 + 16 + 31, 255), E::CountTooLarge { offset: 2, count: 511 });
    let mut narrow = vec![0x53, 16];
    (1..=16u8).for_each(|id| narrow.extend([id, 0x01]));
    assert!(Value::decode(&narrow).is_err(), "a record of 16 without a table");
    assert_eq!(find_field(b"\x52\x00", 1).map_err(|e| e.to_string()), Err("byte 0: expected record, found map".into()));
}

proptest! {
    #![proptest_config(draw::config(1))]

    #[test]
    fn any_change_of_a_field_is_that_of_the_value(
        fields in proptest::collection::vec((0..40u32, draw::value()), 0..30),
        id in 0..40u32,
        new in proptest::option::of(draw::value()),
    ) {
        let value = Value::record(fields);
        let bytes = encoded(&value);
        prop_assert_eq!(found(&bytes, id), value.field(id).cloned());
        let Value::Record(mut fields) = value else { unreachable!() };
        fields.retain(|(other, _)| *other != id);
        fields.extend(new.clone().map(|new| (id, new)));
        let mut out = Vec::new();
        put_record_with(&bytes, id, new.as_ref().map(encoded).as_deref(), &mut out).unwrap();
        prop_assert_eq!(out, encoded(&Value::record(fields)));
    }

    #[test]
    fn damaged_records_are_refused_without_a_panic(
        fields in proptest::collection::vec((0..40u32, draw::value()), 10..30),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        id in 0..40u32,
    ) {
        let mut bytes = encoded(&Value::record(fields));
        let len = bytes.len().min(90);
        damage.iter().for_each(|(at, byte)| bytes[at % len] = *byte);
        let _ = find_field(&bytes, id).map(|place| place.map(|place| bytes[place].len()));
        let _ = put_record_with(&bytes, id, None, &mut Vec::new());
        prop_assert_eq!(tantu_base::value::validate(&bytes).is_ok(), Value::decode(&bytes).is_ok());
    }
}
