//! Writing values piece by piece, without building a [`super::Value`].
//!
//! A list, a set or a map is a header with its count (value form) or a start and an end (key form) around its elements; a record in
//! value form is written through [`super::RecordWriter`].
//! Whoever writes a set, a map or a record this way owes ascending order; a decoder refuses what is not.

use super::tag;

/// How many bytes a number needs, without leading zero bytes: none for 0.
#[inline]
pub(super) fn bytes_needed(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// Appends a tag and the low `len` bytes of a number, highest first.
#[inline]
fn put_tagged(out: &mut Vec<u8>, tag: u8, bits: u64, len: usize) {
    let mut field = [0u8; 9];
    field[0] = tag;
    // `len` is 0 to 8; shifting twice keeps a shift by 64 away.
    let shifted = bits << (8 * (8 - len) / 2) << (8 * (8 - len) / 2);
    field[1..].copy_from_slice(&shifted.to_be_bytes());
    // A copy of fixed length and a cut are faster than a copy of variable length.
    out.extend_from_slice(&field);
    out.truncate(out.len() - (8 - len));
}

/// Appends a length or a count: 7 bits per byte, lowest first, the top bit says that more follow.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends nothing, as a value. The same in both forms.
#[inline]
pub fn put_null(out: &mut Vec<u8>) {
    out.push(tag::NULL);
}

/// Appends a bool. The same in both forms.
#[inline]
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { tag::TRUE } else { tag::FALSE });
}

/// Appends a signed integer. The same in both forms.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    if value >= 0 {
        let len = bytes_needed(value as u64);
        put_tagged(out, tag::I64_POSITIVE + len as u8, value as u64, len);
    } else {
        let len = bytes_needed(!value as u64);
        put_tagged(out, tag::I64_NEGATIVE - len as u8, value as u64, len);
    }
}

/// Appends an unsigned integer. The same in both forms.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    let len = bytes_needed(value);
    put_tagged(out, tag::U64 + len as u8, value, len);
}

/// Appends a float; -0.0 becomes 0.0 and every NaN the one NaN. The same in both forms.
#[inline]
pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    put_tagged(out, tag::F64, tag::f64_to_ordered(value), 8);
}

/// Appends a unique id. The same in both forms.
#[inline]
pub fn put_uuid(out: &mut Vec<u8>, value: &[u8; 16]) {
    out.push(tag::UUID);
    out.extend_from_slice(value);
}

/// Appends text in value form.
#[inline]
pub fn put_str(out: &mut Vec<u8>, value: &str) {
    put_sized(out, tag::STR, value.as_bytes());
}

/// Appends bytes in value form.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_sized(out, tag::BYTES, value);
}

#[inline]
fn put_sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.reserve(bytes.len() + 3);
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Starts a list of `count` values, in value form.
#[inline]
pub fn put_list_header(out: &mut Vec<u8>, count: usize) {
    out.push(tag::LIST);
    put_varint(out, count as u64);
}

/// Starts a set of `count` ascending values, in value form.
#[inline]
pub fn put_set_header(out: &mut Vec<u8>, count: usize) {
    out.push(tag::SET);
    put_varint(out, count as u64);
}

/// Starts a map of `count` entries, key then value, ascending by key, in value form.
#[inline]
pub fn put_map_header(out: &mut Vec<u8>, count: usize) {
    out.push(tag::MAP);
    put_varint(out, count as u64);
}

/// Appends the id of a record's next field, in value form.
#[inline]
pub(super) fn put_field_id(out: &mut Vec<u8>, id: u32) {
    put_varint(out, u64::from(id));
}

/// Appends text in key form.
#[inline]
pub fn put_key_str(out: &mut Vec<u8>, value: &str) {
    put_escaped(out, tag::STR, value.as_bytes());
}

/// Appends bytes in key form.
#[inline]
pub fn put_key_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_escaped(out, tag::BYTES, value);
}

#[inline]
fn put_escaped(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.reserve(bytes.len() + 3);
    out.push(tag);
    if bytes.contains(&0) {
        for piece in bytes.split_inclusive(|b| *b == 0) {
            out.extend_from_slice(piece);
            if piece.last() == Some(&0) {
                out.push(tag::ESCAPED_ZERO);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&[0, tag::STRING_END]);
}

/// Starts a list in key form; its values follow, then [`put_key_end`].
#[inline]
pub fn put_key_list_start(out: &mut Vec<u8>) {
    out.push(tag::LIST);
}

/// Starts a set in key form; its ascending values follow, then [`put_key_end`].
#[inline]
pub fn put_key_set_start(out: &mut Vec<u8>) {
    out.push(tag::SET);
}

/// Starts a map in key form; its entries follow, ascending by key, then [`put_key_end`].
#[inline]
pub fn put_key_map_start(out: &mut Vec<u8>) {
    out.push(tag::MAP);
}

/// Starts a record in key form; its fields follow, ascending by id, then [`put_key_end`].
#[inline]
pub fn put_key_record_start(out: &mut Vec<u8>) {
    out.push(tag::RECORD);
}

/// Appends the id of a record's next field, in key form.
#[inline]
pub fn put_key_field_id(out: &mut Vec<u8>, id: u32) {
    put_u64(out, u64::from(id));
}

/// Ends a container in key form.
#[inline]
pub fn put_key_end(out: &mut Vec<u8>) {
    out.push(tag::END);
}
