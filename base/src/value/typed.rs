//! Rust types as values: the same bytes as the [`Value`] they stand for, without building it.
//!
//! | Rust | value |
//! |---|---|
//! | `()` and `None` | null |
//! | `bool` | bool |
//! | `i32`, `i64` | i64 |
//! | `u32`, `u64` | u64 |
//! | `f64` | f64 |
//! | `str`, `String` | string |
//! | `[u8]`, `Vec<u8>`, `[u8; N]` | bytes |
//! | [`Uuid`] | uuid |
//! | `[T]`, `Vec<T>`, tuples | list |
//! | `BTreeSet<T>` | set |
//! | `BTreeMap<K, V>` | map |
//! | `Some(x)`, `&x`, `Box<x>` | as `x` |
//! | a type with `#[derive(Record)]` | record |

use super::Value;
use super::error::DecodeError;
use super::key::{KeyReader, key_to_value, value_to_key};
use super::read::{Reader, first_capacity};
use super::write::*;

/// A type whose data can be stored.
pub trait Encode {
    /// Whether some data of the type is stored as null. An `Option` of such a type would read `Some` back as
    /// `None`, so it does not compile. ([`Value`] says no: an `Option<Value>` reads a stored null as `None`.)
    const MAY_BE_NULL: bool = false;

    /// Whether it is stored as null. A record of a Rust type leaves such a field out; a type that does not say so is
    /// stored with its nulls.
    #[inline]
    fn is_null(&self) -> bool {
        false
    }

    /// Appends the value form.
    fn encode(&self, out: &mut Vec<u8>);

    /// Appends the key form. Must agree with [`Encode::encode`]; what is given carries the value form over.
    ///
    /// # Panics
    /// What is given, if [`Encode::encode`] wrote something that is not canonical.
    fn encode_key(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        self.encode(&mut value);
        if let Err(error) = value_to_key(&value, out) {
            panic!("{} does not encode itself as a canonical value: {error}", std::any::type_name::<Self>());
        }
    }
}

/// A type whose data can be read back.
pub trait Decode: Sized {
    /// Reads the next value.
    ///
    /// # Errors
    /// If it is not one of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// The value form of data.
pub fn encoded<T: Encode + ?Sized>(data: &T) -> Vec<u8> {
    let mut out = Vec::new();
    data.encode(&mut out);
    out
}

/// The key form of data.
pub fn encoded_key<T: Encode + ?Sized>(data: &T) -> Vec<u8> {
    let mut out = Vec::new();
    data.encode_key(&mut out);
    out
}

/// The data of a whole slice in value form.
///
/// # Errors
/// If it is not exactly one value of this type.
pub fn decoded<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let data = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(data)
}

/// The data of a whole slice in key form.
///
/// # Errors
/// If it is not exactly one value of this type. Where the key is sound but not of this type, the offset counts
/// in the value form.
pub fn decoded_key<T: Decode>(key: &[u8]) -> Result<T, DecodeError> {
    let mut value = Vec::with_capacity(key.len());
    key_to_value(key, &mut value)?;
    decoded(&value)
}

impl KeyReader<'_> {
    /// Reads the next value of a key as data of a type.
    ///
    /// # Errors
    /// As [`decoded_key`].
    pub fn typed<T: Decode>(&mut self) -> Result<T, DecodeError> {
        let mut value = Vec::new();
        self.to_value_form(&mut value)?;
        decoded(&value)
    }
}

/// A 128-bit unique id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Uuid(pub [u8; 16]);

/// Types whose forms are the same, or written by a function for each form.
macro_rules! scalar {
    ($($type:ty, $out:ident, $self:ident => $value:expr, $key:expr, $reader:ident => $read:expr;)*) => {$(
        impl Encode for $type {
            #[inline]
            fn encode(&$self, $out: &mut Vec<u8>) {
                $value
            }
            #[inline]
            fn encode_key(&$self, $out: &mut Vec<u8>) {
                $key
            }
        }
        impl Decode for $type {
            #[inline]
            fn decode($reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                $read
            }
        }
    )*};
}

scalar! {
    bool, out, self => put_bool(out, *self), put_bool(out, *self), reader => reader.bool();
    i64, out, self => put_i64(out, *self), put_i64(out, *self), reader => reader.i64();
    u64, out, self => put_u64(out, *self), put_u64(out, *self), reader => reader.u64();
    f64, out, self => put_f64(out, *self), put_f64(out, *self), reader => reader.f64();
    Uuid, out, self => put_uuid(out, &self.0), put_uuid(out, &self.0), reader => reader.uuid().map(Uuid);
    String, out, self => put_str(out, self), put_key_str(out, self), reader => reader.str().map(str::to_owned);
    Vec<u8>, out, self => put_bytes(out, self), put_key_bytes(out, self), reader => reader.bytes().map(<[u8]>::to_vec);
    i32, out, self => put_i64(out, i64::from(*self)), put_i64(out, i64::from(*self)), reader => {
        let offset = reader.position();
        i32::try_from(reader.i64()?).map_err(|_| DecodeError::OutOfRange { offset, expected: "i32" })
    };
    u32, out, self => put_u64(out, u64::from(*self)), put_u64(out, u64::from(*self)), reader => {
        let offset = reader.position();
        u32::try_from(reader.u64()?).map_err(|_| DecodeError::OutOfRange { offset, expected: "u32" })
    };
}

impl Encode for Value {
    fn is_null(&self) -> bool {
        Value::is_null(self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        Value::encode(self, out);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        Value::encode_key(self, out);
    }
}

impl Decode for Value {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.value()
    }
}

/// A byte array is bytes of its length.
impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_bytes(out, self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.position();
        let found = reader.bytes()?;
        found.try_into().map_err(|_| DecodeError::WrongLength { offset, expected: N, found: found.len() })
    }
}

impl Encode for () {
    const MAY_BE_NULL: bool = true;

    fn is_null(&self) -> bool {
        true
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_null(out);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        put_null(out);
    }
}

impl Decode for () {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.null() { Ok(()) } else { Err(reader.unexpected("null")) }
    }
}

impl Encode for str {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        put_str(out, self);
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_str(out, self);
    }
}

impl Encode for [u8] {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_bytes(out, self);
    }
}

impl<T: Encode> Encode for Option<T> {
    const MAY_BE_NULL: bool = true;

    #[inline]
    fn is_null(&self) -> bool {
        self.as_ref().is_none_or(T::is_null)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        const { assert!(!T::MAY_BE_NULL, "an Option of a type that may itself be null would lose data") };
        match self {
            Some(data) => data.encode(out),
            None => put_null(out),
        }
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        const { assert!(!T::MAY_BE_NULL, "an Option of a type that may itself be null would lose data") };
        match self {
            Some(data) => data.encode_key(out),
            None => put_null(out),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.null() { Ok(None) } else { T::decode(reader).map(Some) }
    }
}

/// Pointers encode as what they point to.
macro_rules! pointer {
    ($($type:ty),*) => {$(
        impl<T: Encode + ?Sized> Encode for $type {
            const MAY_BE_NULL: bool = T::MAY_BE_NULL;

            #[inline]
            fn is_null(&self) -> bool {
                (**self).is_null()
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                (**self).encode(out);
            }

            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                (**self).encode_key(out);
            }
        }
    )*};
}
pointer!(&T, Box<T>);

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Box::new)
    }
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Vec<u8>) {
        put_list_header(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_list_start(out);
        self.iter().for_each(|element| element.encode_key(out));
        put_key_end(out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        self.as_slice().encode_key(out);
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.enter()?;
        let count = reader.list()?;
        let mut elements = Vec::with_capacity(first_capacity::<T>(count));
        for _ in 0..count {
            elements.push(T::decode(reader)?);
        }
        reader.leave();
        Ok(elements)
    }
}

macro_rules! tuple {
    ($count:literal: $($type:ident $index:tt),*) => {
        impl<$($type: Encode),*> Encode for ($($type,)*) {
            fn encode(&self, out: &mut Vec<u8>) {
                put_list_header(out, $count);
                $(self.$index.encode(out);)*
            }

            fn encode_key(&self, out: &mut Vec<u8>) {
                put_key_list_start(out);
                $(self.$index.encode_key(out);)*
                put_key_end(out);
            }
        }

        impl<$($type: Decode),*> Decode for ($($type,)*) {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let offset = reader.position();
                reader.enter()?;
                let found = reader.list()?;
                if found != $count {
                    return Err(DecodeError::WrongCount { offset, expected: $count, found });
                }
                let tuple = ($($type::decode(reader)?,)*);
                reader.leave();
                Ok(tuple)
            }
        }
    };
}
tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
tuple!(5: A 0, B 1, C 2, D 3, E 4);
tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
