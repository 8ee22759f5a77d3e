//! The bytes of version 2, as files. They never change: a difference is a new format version.

use super::named;
use tantu_base::value::{
    FORMAT_VERSION, Value, key_to_value, partition_hash, partition_of, partition_of_key, validate,
};

const VALUE_FORM: &str = include_str!("../golden/value_form.hex");
const KEY_FORM: &str = include_str!("../golden/key_form.hex");
const PARTITION_HASH: &str = include_str!("../golden/partition_hash.txt");

/// The lines of a golden file, without its heading, in words.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn check(
    text: &str,
    encode: fn(&Value, &mut Vec<u8>),
    decode: fn(&[u8]) -> Result<Value, tantu_base::value::DecodeError>,
) {
    assert_eq!(FORMAT_VERSION, 2);
    let named = named::values();
    assert_eq!(lines(text).count(), named.len());
    for (line, (name, value)) in lines(text).zip(named) {
        assert_eq!(line[0], name);
        let golden = from_hex(line[1]);
        let mut encoded = Vec::new();
        encode(&value, &mut encoded);
        assert_eq!(encoded, golden, "{name}");
        assert_eq!(decode(&golden), Ok(value), "{name}");
    }
}

#[test]
fn the_value_form_is_what_it_always_was() {
    check(VALUE_FORM, Value::encode, Value::decode);
    lines(VALUE_FORM).for_each(|line| validate(&from_hex(line[1])).unwrap());
}

#[test]
fn the_key_form_is_what_it_always_was() {
    check(KEY_FORM, Value::encode_key, Value::decode_key);
}

#[test]
fn the_two_golden_files_carry_over_into_each_other() {
    for (key, value) in lines(KEY_FORM).zip(lines(VALUE_FORM)) {
        let mut carried = Vec::new();
        key_to_value(&from_hex(key[1]), &mut carried).unwrap();
        assert_eq!(carried, from_hex(value[1]), "{}", key[0]);
    }
}

#[test]
fn a_key_goes_to_the_partition_it_always_went_to() {
    let mut seen = 0;
    for line in lines(PARTITION_HASH) {
        let key = from_hex(line[1]);
        assert_eq!(format!("{:016x}", partition_hash(&key)), line[2], "{}", line[0]);
        let value = Value::decode_key(&key).unwrap();
        for (count, partition) in [1, 4, 8, 1000].into_iter().zip(&line[3..]) {
            assert_eq!(partition_of_key(&key, count).to_string(), *partition, "{} of {count}", line[0]);
            assert_eq!(partition_of(&value, count).to_string(), *partition, "{} of {count}", line[0]);
        }
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn three_known_names_keep_their_places_among_eight_tasks() {
    assert_eq!(["cagney", "lemmon", "bergman"].map(|name| partition_of(name, 8)), [6, 5, 3]);
    assert_eq!(partition_of(&"cagney".to_string(), 8), 6, "owned text goes where borrowed text goes");
    assert_eq!(partition_of(&42i32, 8), partition_of(&42i64, 8), "both are stored as i64");
    assert_ne!(partition_hash(b"\x19\x2a"), partition_hash(b"\x29\x2a"), "signed 42 is not unsigned 42");
}
