//! Why bytes are no value: each reason with the offset of the byte where it shows.

use super::record::FieldName;
use super::tag::Kind;

/// Why bytes are not the encoding of a value, or not of the type asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("byte {offset}: the bytes end inside a value")]
    Truncated {
        /// Where more was needed.
        offset: usize,
    },
    /// No value starts with this byte.
    #[error("byte {offset}: {tag:#04x} starts no value")]
    UnknownTag {
        /// Where the tag is.
        offset: usize,
        /// The tag.
        tag: u8,
    },
    /// Another kind of value was asked for.
    #[error("byte {offset}: expected {expected}, found {found}")]
    WrongKind {
        /// Where the value starts.
        offset: usize,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: Kind,
    },
    /// The number does not fit the type asked for.
    #[error("byte {offset}: the number does not fit {expected}")]
    OutOfRange {
        /// Where the value starts.
        offset: usize,
        /// The type asked for.
        expected: &'static str,
    },
    /// A collection of another length was asked for.
    #[error("byte {offset}: expected {expected} elements, found {found}")]
    WrongCount {
        /// Where the value starts.
        offset: usize,
        /// Elements asked for.
        expected: usize,
        /// Elements there.
        found: usize,
    },
    /// Bytes of another length were asked for.
    #[error("byte {offset}: expected {expected} bytes, found {found}")]
    WrongLength {
        /// Where the value starts.
        offset: usize,
        /// Bytes asked for.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// An integer, a length or a count is written in more bytes than it needs, or in too many.
    #[error("byte {offset}: the number is not in its shortest form")]
    NotShortest {
        /// Where the number starts.
        offset: usize,
    },
    /// A zero or NaN is not in its one form.
    #[error("byte {offset}: the float is a negative zero or an unusual NaN")]
    NotCanonicalFloat {
        /// Where the value starts.
        offset: usize,
    },
    /// The elements of a set, the keys of a map or the fields of a record do not strictly ascend.
    #[error("byte {offset}: out of order, or there twice")]
    NotAscending {
        /// Where the offending element, key or field id starts.
        offset: usize,
    },
    /// Text is not UTF-8.
    #[error("byte {offset}: the text is not UTF-8")]
    NotUtf8 {
        /// The first bad byte; in key form, the start of the text.
        offset: usize,
    },
    /// A zero byte in key-form text or bytes is followed by something that means nothing.
    #[error("byte {offset}: a zero byte followed by {found:#04x} in a key")]
    BadEscape {
        /// Where the zero byte is.
        offset: usize,
        /// What follows it.
        found: u8,
    },
    /// There is a length or a count that the remaining bytes cannot hold.
    #[error("byte {offset}: {count} announced, more than the bytes can hold")]
    CountTooLarge {
        /// Where the number starts.
        offset: usize,
        /// The number.
        count: u64,
    },
    /// Nested deeper than [`crate::limit::VALUE_DEPTH_MAX`].
    #[error("byte {offset}: nested too deep")]
    TooDeep {
        /// Where the container that is too deep starts.
        offset: usize,
    },
    /// Bytes follow the value.
    #[error("byte {offset}: bytes follow the value")]
    TrailingBytes {
        /// Where the value ended.
        offset: usize,
    },
    /// The table in front of a wide record does not say where its fields are, or not in its shortest form.
    #[error("byte {offset}: the table of a record does not fit the record")]
    BadTable {
        /// Where that shows.
        offset: usize,
    },
    /// A record lacks a field that its type needs.
    #[error("byte {offset}: {field} is missing, and has neither a default nor an `Option` to read as")]
    MissingField {
        /// Where the record starts.
        offset: usize,
        /// The field.
        field: &'static FieldName,
    },
    /// A field of a record is of another kind than its type says.
    #[error("byte {offset}: {field} cannot be read from {}", article(*.found))]
    WrongField {
        /// Where the field's value starts.
        offset: usize,
        /// The field.
        field: &'static FieldName,
        /// What is there.
        found: Kind,
    },
    /// A record stands for no variant of an enum.
    #[error("byte {offset}: {of} has no variant {id}")]
    UnknownVariant {
        /// Where the record starts.
        offset: usize,
        /// The enum's name.
        of: &'static str,
        /// The id that is there.
        id: u32,
    },
    /// The value is well formed but means nothing to the type asked for.
    #[error("byte {offset}: {what}")]
    Unfit {
        /// Where the value starts.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl DecodeError {
    /// The byte where the problem shows, from the start of what was decoded.
    pub fn offset(&self) -> usize {
        match *self {
            DecodeError::Truncated { offset }
            | DecodeError::UnknownTag { offset, .. }
            | DecodeError::WrongKind { offset, .. }
            | DecodeError::OutOfRange { offset, .. }
            | DecodeError::WrongCount { offset, .. }
            | DecodeError::WrongLength { offset, .. }
            | DecodeError::NotShortest { offset }
            | DecodeError::NotCanonicalFloat { offset }
            | DecodeError::NotAscending { offset }
            | DecodeError::NotUtf8 { offset }
            | DecodeError::BadEscape { offset, .. }
            | DecodeError::CountTooLarge { offset, .. }
            | DecodeError::TooDeep { offset }
            | DecodeError::TrailingBytes { offset }
            | DecodeError::BadTable { offset }
            | DecodeError::MissingField { offset, .. }
            | DecodeError::WrongField { offset, .. }
            | DecodeError::UnknownVariant { offset, .. }
            | DecodeError::Unfit { offset, .. } => offset,
        }
    }
}

fn article(found: Kind) -> String {
    match found {
        Kind::Null => found.to_string(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::I64 => "an i64".to_owned(),
        _ => format!("a {found}"),
    }
}
