//! Bytes that are refused, each for its own reason and at its own place.

use tantu_base::value::{DecodeError, KeyReader, Kind, Reader, Value, decoded, encoded, validate};

use DecodeError as E;

#[track_caller]
fn refused(bytes: &[u8], error: E) {
    assert_eq!(Value::decode(bytes), Err(error));
    assert_eq!(validate(bytes), Err(error));
}

#[track_caller]
fn refused_key(bytes: &[u8], error: E) {
    assert_eq!(Value::decode_key(bytes), Err(error));
}

#[test]
fn bytes_that_end_early_are_refused() {
    refused(b"", E::Truncated { offset: 0 });
    refused(b"\x19", E::Truncated { offset: 1 });
    refused(b"\x38\x80\0\0\0\0\0\0", E::Truncated { offset: 8 });
    refused(b"\x42\0", E::Truncated { offset: 2 });
    refused(b"\x40", E::Truncated { offset: 1 });
    refused(b"\x40\x80", E::Truncated { offset: 2 });
    refused_key(b"\x40a", E::Truncated { offset: 2 });
    refused_key(b"\x40a\0", E::Truncated { offset: 3 });
    refused_key(b"\x50\x01", E::Truncated { offset: 2 });
}

#[test]
fn a_tag_that_means_nothing_is_refused() {
    for tag in (0..=255).filter(|tag| Kind::of_tag(*tag).is_none()) {
        refused(&[0x50, 1, tag], E::UnknownTag { offset: 2, tag });
        if tag != 0 {
            refused_key(&[0x50, tag, 0], E::UnknownTag { offset: 1, tag });
        }
    }
    refused_key(b"\0", E::UnknownTag { offset: 0, tag: 0 });
}

#[test]
fn a_number_with_bytes_it_does_not_need_is_refused() {
    let longer: [&[u8]; 9] = [
        b"\x19\0",
        b"\x1a\0\xff",
        b"\x16\xff",
        b"\x15\xff\0",
        b"\x29\0",
        b"\x2a\0\x01",
        // Larger than an i64, and a negative one whose sign bit says positive.
        b"\x20\x80\0\0\0\0\0\0\0",
        b"\x0f\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x0f\xff\0\0\0\0\0\0\0",
    ];
    for bytes in longer {
        refused(bytes, E::NotShortest { offset: 0 });
        refused_key(bytes, E::NotShortest { offset: 0 });
        // Far from the end of the bytes numbers are read another way.
        let mut in_list = b"\x50\x02".to_vec();
        in_list.extend_from_slice(bytes);
        in_list.extend_from_slice(b"\x40\x0812345678");
        refused(&in_list, E::NotShortest { offset: 2 });
    }
    refused(b"\x40\x81\0a", E::NotShortest { offset: 1 });
    refused(b"\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", E::NotShortest { offset: 1 });
    refused(b"\x40\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", E::NotShortest { offset: 1 });
}

#[test]
fn a_second_zero_and_a_second_nan_are_refused() {
    refused(b"\x38\x7f\xff\xff\xff\xff\xff\xff\xff", E::NotCanonicalFloat { offset: 0 });
    refused(b"\x38\xff\xf8\0\0\0\0\0\x01", E::NotCanonicalFloat { offset: 0 });
    refused_key(b"\x38\0\x07\xff\xff\xff\xff\xff\xff", E::NotCanonicalFloat { offset: 0 });
}

#[test]
fn disorder_and_duplicates_are_refused() {
    refused(b"\x51\x02\x19\x02\x19\x01", E::NotAscending { offset: 4 });
    refused(b"\x51\x02\x19\x01\x19\x01", E::NotAscending { offset: 4 });
    refused(b"\x52\x02\x40\x01b\x01\x40\x01a\x01", E::NotAscending { offset: 6 });
    refused(b"\x53\x02\x05\x01\x05\x01", E::NotAscending { offset: 4 });
    refused_key(b"\x51\x19\x02\x19\x01\0", E::NotAscending { offset: 3 });
    refused_key(b"\x52\x01\x01\x01\x01\0", E::NotAscending { offset: 3 });
    refused_key(b"\x53\x28\x01\x28\x01\0", E::NotAscending { offset: 3 });
    // "a" sorts below "a\0" although a shorter length does not make "b" sort below "aa".
    assert!(Value::decode(b"\x51\x02\x40\x01a\x40\x02a\0").is_ok());
    refused(b"\x51\x02\x40\x01b\x40\x02aa", E::NotAscending { offset: 5 });
}

#[test]
fn text_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
    refused(b"\x40\x03ab\xff", E::NotUtf8 { offset: 4 });
    refused_key(b"\x40ab\xff\0\x01", E::NotUtf8 { offset: 1 });
    assert!(Value::decode(b"\x41\x03ab\xff").is_ok(), "bytes are no text");
}

#[test]
fn a_zero_byte_in_a_key_must_be_an_escape_or_an_end() {
    refused_key(b"\x40a\0\x02", E::BadEscape { offset: 2, found: 2 });
    refused_key(b"\x41\0\0", E::BadEscape { offset: 1, found: 0 });
    assert_eq!(KeyReader::new(b"\x41\0\x7f").skip(), Err(E::BadEscape { offset: 1, found: 0x7f }));
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused() {
    refused(b"\x40\x05abc", E::CountTooLarge { offset: 1, count: 5 });
    refused(b"\x50\x03\x01\x01", E::CountTooLarge { offset: 1, count: 3 });
    refused(b"\x52\x02\x01\x01\x02", E::CountTooLarge { offset: 1, count: 2 });
    refused(b"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", E::CountTooLarge { offset: 1, count: u64::MAX });
    // The inner list may only count on what the outer one does not need.
    assert_eq!(Value::decode(b"\x50\x03\x50\x03\x01\x01\x01"), Err(E::CountTooLarge { offset: 3, count: 3 }));
}

#[test]
fn more_than_64_levels_are_refused_by_every_way_in() {
    let lists = |depth: usize| [b"\x50\x01".repeat(depth), vec![0x01]].concat();
    assert!(Value::decode(&lists(64)).is_ok());
    refused(&lists(65), E::TooDeep { offset: 128 });
    refused(&lists(1_000_000), E::TooDeep { offset: 128 });
    assert_eq!(Reader::new(&lists(64)).skip().map(<[u8]>::len), Ok(129));
    assert_eq!(Reader::new(&lists(1_000_000)).skip(), Err(E::TooDeep { offset: 128 }));

    let keys = |depth: usize| [vec![0x50; depth], vec![0x01], vec![0; depth]].concat();
    assert!(Value::decode_key(&keys(64)).is_ok());
    refused_key(&keys(1_000_000), E::TooDeep { offset: 64 });
    assert_eq!(KeyReader::new(&keys(64)).skip().map(<[u8]>::len), Ok(129));
    assert_eq!(KeyReader::new(&keys(1_000_000)).skip(), Err(E::TooDeep { offset: 64 }));
    let mut out = Vec::new();
    assert_eq!(tantu_base::value::key_to_value(&keys(65), &mut out), Err(E::TooDeep { offset: 64 }));
    assert_eq!(tantu_base::value::value_to_key(&lists(65), &mut out), Err(E::TooDeep { offset: 128 }));
    let deep = lists(65);
    assert_eq!(tantu_base::value::compare_encoded(&deep, &deep), Err(E::TooDeep { offset: 128 }));
}

/// A type that can contain itself.
#[derive(Debug)]
struct Tree {
    branches: Vec<Tree>,
}

impl tantu_base::value::Decode for Tree {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, E> {
        Ok(Tree { branches: Vec::decode(reader)? })
    }
}

#[test]
fn a_type_that_contains_itself_is_read_no_deeper_than_64_levels() {
    let tree = |depth: usize| [b"\x50\x01".repeat(depth - 1), b"\x50\0".to_vec()].concat();
    let mut at = &decoded::<Tree>(&tree(64)).unwrap();
    let mut levels = 1;
    while let Some(branch) = at.branches.first() {
        at = branch;
        levels += 1;
    }
    assert_eq!(levels, 64);
    assert_eq!(decoded::<Tree>(&tree(1_000_000)).map(drop), Err(E::TooDeep { offset: 128 }));
}

#[test]
#[should_panic(expected = "nested deeper than 64 levels")]
fn a_value_built_too_deep_cannot_be_encoded() {
    encoded(&(0..65).fold(Value::Null, |inner, _| Value::List(vec![inner])));
}

#[test]
fn bytes_behind_the_value_are_refused() {
    refused(b"\x01\x01", E::TrailingBytes { offset: 1 });
    refused_key(b"\x40\0\x01\0", E::TrailingBytes { offset: 3 });
}

#[test]
fn an_error_names_the_byte_and_the_reason() {
    let shown = [
        (Value::decode(b"\x50\x01\xee"), "byte 2: 0xee starts no value"),
        (Value::decode(b"\x40\x05abc"), "byte 1: 5 announced, more than the bytes can hold"),
    ];
    for (result, text) in shown {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
    let error = Reader::new(b"\x28").i64().unwrap_err();
    assert_eq!(error, E::WrongKind { offset: 0, expected: "i64", found: Kind::U64 });
    assert_eq!(error.to_string(), "byte 0: expected i64, found u64");
}
