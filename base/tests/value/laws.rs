//! What holds for every value and every run of bytes.

use super::draw;
use proptest::prelude::*;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use tantu_base::value::{
    KeyReader, Reader, Value, compare_encoded, decoded, encoded, encoded_key, key_to_value, validate, value_to_key,
};

fn hash(value: &Value) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

/// What must hold for any bytes, read as value form.
fn check_as_value(bytes: &[u8]) -> Result<(), TestCaseError> {
    let result = Value::decode(bytes);
    prop_assert_eq!(validate(bytes).is_ok(), result.is_ok());
    let mut key = Vec::new();
    prop_assert_eq!(value_to_key(bytes, &mut key).is_ok(), result.is_ok());
    match result {
        Ok(value) => {
            prop_assert_eq!(&encoded(&value)[..], bytes);
            prop_assert_eq!(encoded_key(&value), key);
            prop_assert_eq!(Reader::new(bytes).skip(), Ok(bytes));
        }
        Err(error) => prop_assert!(error.offset() <= bytes.len()),
    }
    Ok(())
}

/// What must hold for any bytes, read as key form.
fn check_as_key(bytes: &[u8]) -> Result<(), TestCaseError> {
    let result = Value::decode_key(bytes);
    let mut carried = Vec::new();
    prop_assert_eq!(key_to_value(bytes, &mut carried), result.clone().map(drop));
    match result {
        Ok(value) => {
            prop_assert_eq!(&encoded_key(&value)[..], bytes);
            prop_assert_eq!(encoded(&value), carried);
            prop_assert_eq!(KeyReader::new(bytes).skip(), Ok(bytes));
        }
        Err(error) => prop_assert!(error.offset() <= bytes.len()),
    }
    Ok(())
}

/// Bytes that are nearly right: an encoding with a few of its bytes changed, cut out or put in.
fn damaged(bytes: Vec<u8>, damage: &[(usize, u8, u8)]) -> Vec<u8> {
    damage.iter().fold(bytes, |mut bytes, (at, kind, byte)| {
        let at = at % (bytes.len() + 1);
        match kind % 4 {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, *byte),
        }
        bytes
    })
}

fn damage() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    let byte = prop_oneof![0..4u8, 0x0F..0x31u8, 0x38..0x43u8, 0x50..0x54u8, any::<u8>()];
    proptest::collection::vec((any::<usize>(), any::<u8>(), byte), 1..4)
}

proptest! {
    #![proptest_config(draw::config(4))]

    #[test]
    fn a_value_comes_back_from_both_forms(value in draw::value()) {
        let (bytes, key) = (encoded(&value), encoded_key(&value));
        prop_assert_eq!(Value::decode(&bytes).unwrap(), value.clone());
        prop_assert_eq!(Value::decode_key(&key).unwrap(), value.clone());
        check_as_value(&bytes)?;
        check_as_key(&key)?;
    }

    #[test]
    fn values_their_keys_and_their_encodings_sort_alike((a, b) in draw::neighbours()) {
        let order = a.cmp(&b);
        prop_assert_eq!(order, encoded_key(&a).cmp(&encoded_key(&b)), "{} {}", a, b);
        prop_assert_eq!(Ok(order), compare_encoded(&encoded(&a), &encoded(&b)), "{} {}", a, b);
        prop_assert_eq!(order.is_eq(), a == b);
        prop_assert_eq!(order.is_eq(), encoded(&a) == encoded(&b));
        prop_assert!(order.is_ne() || hash(&a) == hash(&b));
    }

    #[test]
    fn no_key_starts_with_another((a, b) in draw::neighbours()) {
        let (a_key, b_key) = (encoded_key(&a), encoded_key(&b));
        prop_assert!(a == b || !b_key.starts_with(&a_key), "{} {}", a, b);
        prop_assert!(a == b || !a_key.starts_with(&b_key), "{} {}", a, b);
        prop_assert!(a_key[0] < 0xFF);
    }

    #[test]
    fn keys_in_a_row_split_again_and_sort_element_by_element(
        a in proptest::collection::vec(draw::value(), 0..4),
        b in proptest::collection::vec(draw::value(), 0..4),
    ) {
        let row = |values: &[Value]| values.iter().flat_map(encoded_key).collect::<Vec<u8>>();
        prop_assert_eq!(a.cmp(&b), row(&a).cmp(&row(&b)));
        let bytes = row(&a);
        let (mut skipping, mut reading) = (KeyReader::new(&bytes), KeyReader::new(&bytes));
        for value in &a {
            prop_assert_eq!(skipping.skip().unwrap(), &encoded_key(value)[..]);
            prop_assert_eq!(&reading.value().unwrap(), value);
            prop_assert_eq!(skipping.position(), reading.position());
        }
        skipping.finish().unwrap();
        reading.finish().unwrap();
    }

    #[test]
    fn values_in_a_row_split_again(values in proptest::collection::vec(draw::value(), 0..4)) {
        let bytes: Vec<u8> = values.iter().flat_map(encoded).collect();
        let (mut skipping, mut reading) = (Reader::new(&bytes), Reader::new(&bytes));
        for value in &values {
            prop_assert_eq!(skipping.skip().unwrap(), &encoded(value)[..]);
            prop_assert_eq!(&reading.value().unwrap(), value);
        }
        skipping.finish().unwrap();
        reading.finish().unwrap();
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        check_as_value(&bytes)?;
        check_as_key(&bytes)?;
    }

    #[test]
    fn damaged_encodings_are_refused_or_are_the_one_encoding(value in draw::value(), damage in damage()) {
        check_as_value(&damaged(encoded(&value), &damage))?;
        check_as_key(&damaged(encoded_key(&value), &damage))?;
    }

    #[test]
    fn a_container_built_by_hand_is_encoded_in_order(
        entries in proptest::collection::vec((draw::value(), draw::value()), 0..5),
        ids in proptest::collection::vec(0..4u32, 0..5),
    ) {
        let elements: Vec<Value> = entries.iter().map(|(key, _)| key.clone()).collect();
        let fields: Vec<(u32, Value)> = ids.into_iter().zip(elements.clone()).collect();
        let pairs = [
            (Value::Map(entries.clone()), Value::map(entries)),
            (Value::Set(elements.clone()), Value::set(elements)),
            (Value::Record(fields.clone()), Value::record(fields)),
        ];
        for (by_hand, sorted) in pairs {
            prop_assert_eq!(encoded(&by_hand), encoded(&sorted));
            prop_assert_eq!(encoded_key(&by_hand), encoded_key(&sorted));
            prop_assert_eq!(decoded::<Value>(&encoded(&by_hand)).unwrap(), sorted);
        }
    }

    #[test]
    fn a_map_finds_what_it_has(entries in proptest::collection::vec((draw::value(), draw::value()), 0..6)) {
        let map = Value::map(entries.clone());
        for (key, _) in &entries {
            let (_, last) = entries.iter().rfind(|(k, _)| k == key).unwrap();
            prop_assert_eq!(map.get(key), Some(last));
            prop_assert!(map.contains(key));
        }
        prop_assert_eq!(map.get(&Value::from("not drawn, being long")), None);
    }
}
