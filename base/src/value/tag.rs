//! The first byte of a value says its kind, and for integers also how many bytes follow.
//!
//! Tags ascend in the order of [`super::Value`], so that comparing tags compares kinds, and for integers
//! also signs and magnitudes. 0x00 is no tag: it ends a container in key form and so sorts before any element.
//! No tag reaches 0xFF, so that a prefix followed by 0xFF is above every key with that prefix.

/// Ends a container in key form.
pub(super) const END: u8 = 0x00;
pub(super) const NULL: u8 = 0x01;
pub(super) const FALSE: u8 = 0x02;
pub(super) const TRUE: u8 = 0x03;
/// A negative integer with `n` bytes is `I64_NEGATIVE - n`.
pub(super) const I64_NEGATIVE: u8 = 0x17;
/// A non-negative signed integer with `n` bytes is `I64_POSITIVE + n`.
pub(super) const I64_POSITIVE: u8 = 0x18;
pub(super) const I64_MIN: u8 = I64_NEGATIVE - 8;
pub(super) const I64_MAX: u8 = I64_POSITIVE + 8;
/// An unsigned integer with `n` bytes is `U64 + n`.
pub(super) const U64: u8 = 0x28;
pub(super) const U64_MAX: u8 = U64 + 8;
pub(super) const F64: u8 = 0x38;
pub(super) const STR: u8 = 0x40;
pub(super) const BYTES: u8 = 0x41;
pub(super) const UUID: u8 = 0x42;
pub(super) const LIST: u8 = 0x50;
pub(super) const SET: u8 = 0x51;
pub(super) const MAP: u8 = 0x52;
pub(super) const RECORD: u8 = 0x53;

/// In key form a zero byte of text or bytes is followed by this one.
pub(super) const ESCAPED_ZERO: u8 = 0xFF;
/// In key form a zero byte followed by this one ends text or bytes.
pub(super) const STRING_END: u8 = 0x01;

/// The kind of a value, in the order in which kinds sort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Nothing.
    Null,
    /// True or false.
    Bool,
    /// A signed integer.
    I64,
    /// An unsigned integer.
    U64,
    /// A floating-point number.
    F64,
    /// Text.
    Str,
    /// Bytes.
    Bytes,
    /// A 128-bit unique id.
    Uuid,
    /// Values in a given order.
    List,
    /// Different values, sorted.
    Set,
    /// Values by key, sorted by key.
    Map,
    /// Values by field id, sorted by id.
    Record,
}

impl Kind {
    /// The kind a tag byte stands for.
    pub const fn of_tag(tag: u8) -> Option<Kind> {
        Some(match tag {
            NULL => Kind::Null,
            FALSE | TRUE => Kind::Bool,
            I64_MIN..=I64_MAX => Kind::I64,
            U64..=U64_MAX => Kind::U64,
            F64 => Kind::F64,
            STR => Kind::Str,
            BYTES => Kind::Bytes,
            UUID => Kind::Uuid,
            LIST => Kind::List,
            SET => Kind::Set,
            MAP => Kind::Map,
            RECORD => Kind::Record,
            _ => return None,
        })
    }

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::I64 => "i64",
            Kind::U64 => "u64",
            Kind::F64 => "f64",
            Kind::Str => "string",
            Kind::Bytes => "bytes",
            Kind::Uuid => "uuid",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Map => "map",
            Kind::Record => "record",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The bits of a float as they are stored: one NaN, one zero, and ascending like the numbers
/// (-inf … -1 … 0 … 1 … +inf, NaN).
pub(super) fn f64_to_ordered(value: f64) -> u64 {
    let value = if value.is_nan() {
        f64::from_bits(NAN_BITS)
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The float stored as `ordered`, or `None` if no float is stored so.
pub(super) fn f64_from_ordered(ordered: u64) -> Option<f64> {
    let bits = if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered };
    let value = f64::from_bits(bits);
    (f64_to_ordered(value) == ordered).then_some(value)
}

/// The one NaN: quiet, positive, no payload.
const NAN_BITS: u64 = 0x7FF8_0000_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_sort_like_their_tags() {
        let kinds: Vec<Kind> = (0..=255).filter_map(Kind::of_tag).collect();
        assert!(kinds.is_sorted());
        assert_eq!(Kind::of_tag(END), None);
        assert_eq!(Kind::of_tag(0xFF), None);
    }

    #[test]
    fn floats_are_stored_in_their_order_with_one_zero_and_one_nan() {
        let ascending =
            [f64::NEG_INFINITY, -2.0, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, 2.0, f64::INFINITY, f64::NAN];
        let stored: Vec<u64> = ascending.iter().map(|v| f64_to_ordered(*v)).collect();
        assert!(stored.is_sorted_by(|a, b| a < b));
        assert_eq!(f64_to_ordered(-0.0), f64_to_ordered(0.0));
        assert_eq!(f64_to_ordered(-f64::NAN), f64_to_ordered(f64::NAN));
        assert_eq!(f64_from_ordered(!(-0.0f64).to_bits()), None);
        assert_eq!(f64_from_ordered((NAN_BITS | 1) | 1 << 63), None);
    }
}
