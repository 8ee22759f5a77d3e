//! What the fuzz targets check, as plain functions.
//!
//! Each takes any bytes and panics if they break a law. libFuzzer feeds them through `fuzz_targets/`; the
//! tests of this crate feed them the corpus, so that whatever was once found stays found on every machine,
//! without libFuzzer. Run one, from the root:
//!
//! ```text
//! cargo +stable fuzz run -s none value_decode -- -dict=fuzz/dicts/value_decode.dict
//! cargo test --manifest-path fuzz/Cargo.toml
//! ```

use tantu_base::value::{
    KeyReader, Reader, Value, compare_encoded, encoded, encoded_key, key_to_value, validate, value_to_key,
};

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also the name of its binary, its corpus and its dictionary.
pub const TARGETS: [(&str, Property); 2] = [("value_decode", value_decode), ("value_key_decode", value_key_decode)];

/// Bytes are refused, or they are the one value form of a value.
pub fn value_decode(bytes: &[u8]) {
    let mut key = Vec::new();
    let carried = value_to_key(bytes, &mut key);
    match Value::decode(bytes) {
        Ok(value) => {
            assert_eq!(encoded(&value), bytes, "{value} was encoded in another way");
            assert_eq!(validate(bytes), Ok(()));
            assert_eq!(Reader::new(bytes).skip(), Ok(bytes));
            assert_eq!(carried, Ok(()));
            assert_eq!(key, encoded_key(&value), "{value} carried over differs");
            assert_eq!(Value::decode_key(&key).as_ref(), Ok(&value));
        }
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "{error}");
            assert!(validate(bytes).is_err(), "only decoding says: {error}");
            assert!(carried.is_err(), "only decoding says: {error}");
        }
    }
    check_neighbours(bytes);
}

/// Two values in a row sort in every way alike.
fn check_neighbours(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(a) = reader.value() else { return };
    let between = reader.position();
    assert_eq!(Reader::new(bytes).skip(), Ok(&bytes[..between]));
    let Ok(b) = reader.value() else { return };
    let order = a.cmp(&b);
    assert_eq!(compare_encoded(&bytes[..between], reader.since(between)), Ok(order), "{a} and {b}");
    let (a_key, b_key) = (encoded_key(&a), encoded_key(&b));
    assert_eq!(a_key.cmp(&b_key), order, "{a} and {b}");
    assert!(order.is_eq() || !(a_key.starts_with(&b_key) || b_key.starts_with(&a_key)), "{a} and {b}");
}

/// Bytes are refused, or they are the one key form of a value.
pub fn value_key_decode(bytes: &[u8]) {
    let mut carried_value = Vec::new();
    let carried = key_to_value(bytes, &mut carried_value);
    match Value::decode_key(bytes) {
        Ok(value) => {
            assert_eq!(encoded_key(&value), bytes, "{value} was encoded in another way");
            assert_eq!(KeyReader::new(bytes).skip(), Ok(bytes));
            assert_eq!(carried, Ok(()));
            assert_eq!(carried_value, encoded(&value), "{value} carried over differs");
        }
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "{error}");
            assert_eq!(carried, Err(error), "the two ways to read a key differ");
        }
    }
    check_row(bytes);
}

/// Keys in a row split the same way by skipping and by reading.
fn check_row(bytes: &[u8]) {
    let (mut reading, mut skipping) = (KeyReader::new(bytes), KeyReader::new(bytes));
    while !reading.is_empty() {
        let start = reading.position();
        let Ok(value) = reading.value() else { return };
        assert_eq!(skipping.skip(), Ok(&bytes[start..reading.position()]), "{value}");
    }
}
