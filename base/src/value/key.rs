//! Reading keys, and carrying values from one form to the other without building a [`Value`].
//!
//! The forms share their scalars, so only text, bytes and containers are rewritten.

use super::Value;
use super::error::DecodeError;
use super::read::Reader;
use super::record::finish_record;
use super::tag::{self, Kind};
use super::write::*;
use crate::limit::VALUE_DEPTH_MAX;
use std::borrow::Cow;

/// A cursor over key-form bytes: one key, or keys one after the other. After an error its position is unspecified.
#[derive(Clone, Debug)]
pub struct KeyReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> KeyReader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// If it was not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes { offset: self.at }) }
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// At the end, and if no value starts so.
    pub fn peek_kind(&self) -> Result<Kind, DecodeError> {
        let tag = *self.bytes.get(self.at).ok_or(DecodeError::Truncated { offset: self.at })?;
        Kind::of_tag(tag).ok_or(DecodeError::UnknownTag { offset: self.at, tag })
    }

    /// Reads any value.
    ///
    /// # Errors
    /// If the next bytes are not the canonical key form of one.
    pub fn value(&mut self) -> Result<Value, DecodeError> {
        self.value_at(0)
    }

    /// Reads text, borrowed if it has no zero byte.
    ///
    /// # Errors
    /// If there is none.
    pub fn str(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let offset = self.at;
        self.expect(Kind::Str)?;
        let not_utf8 = DecodeError::NotUtf8 { offset: offset + 1 };
        Ok(match self.unescaped()? {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| not_utf8)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| not_utf8)?),
        })
    }

    /// Reads bytes, borrowed if none of them is zero.
    ///
    /// # Errors
    /// If there are none.
    pub fn bytes(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.expect(Kind::Bytes)?;
        self.unescaped()
    }

    /// Reads a signed integer.
    ///
    /// # Errors
    /// If there is none.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed(Reader::i64)
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// If there is none.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.fixed(Reader::u64)
    }

    /// Skips one value, looking only at its structure, and gives back its bytes. This splits keys that were put
    /// one after the other.
    ///
    /// # Errors
    /// If the bytes end first, a tag is unknown or the nesting is too deep.
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let mut depth = 0;
        loop {
            if depth > 0 && self.bytes.get(self.at) == Some(&tag::END) {
                self.at += 1;
                depth -= 1;
            } else {
                match self.peek_kind()? {
                    Kind::Str | Kind::Bytes => {
                        self.at += 1;
                        self.escaped_end()?;
                    }
                    Kind::List | Kind::Set | Kind::Map | Kind::Record if depth == VALUE_DEPTH_MAX => {
                        return Err(DecodeError::TooDeep { offset: self.at });
                    }
                    Kind::List | Kind::Set | Kind::Map | Kind::Record => {
                        self.at += 1;
                        depth += 1;
                    }
                    _ => {
                        self.fixed(|reader| reader.skip())?;
                    }
                }
            }
            if depth == 0 {
                return Ok(&self.bytes[start..self.at]);
            }
        }
    }

    /// Reads one value and appends its value form.
    ///
    /// # Errors
    /// If the next bytes are not the canonical key form of a value.
    pub fn to_value_form(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.append_value_form(out, 0)
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, DecodeError> {
        Ok(match self.peek_kind()? {
            Kind::Str => Value::Str(self.str()?.into_owned()),
            Kind::Bytes => Value::Bytes(self.bytes()?.into_owned()),
            Kind::List => Value::List(self.elements(Kind::List, depth)?),
            Kind::Set => Value::Set(self.elements(Kind::Set, depth)?),
            Kind::Map => {
                let mut entries = Vec::new();
                let mut order = Ascending::default();
                self.each(depth, |key, below| {
                    let from = key.at;
                    let k = key.value_at(below)?;
                    order.next(key.bytes, from, key.at)?;
                    entries.push((k, key.value_at(below)?));
                    Ok(())
                })?;
                Value::Map(entries)
            }
            Kind::Record => {
                let mut fields = Vec::new();
                let mut order = Ascending::default();
                self.each(depth, |key, below| {
                    let from = key.at;
                    let id = key.field_id()?;
                    order.next(key.bytes, from, key.at)?;
                    fields.push((id, key.value_at(below)?));
                    Ok(())
                })?;
                Value::Record(fields)
            }
            _ => self.fixed(Reader::value)?,
        })
    }

    fn elements(&mut self, kind: Kind, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let mut values = Vec::new();
        let mut order = Ascending::default();
        self.each(depth, |key, below| {
            let from = key.at;
            values.push(key.value_at(below)?);
            if kind == Kind::Set {
                order.next(key.bytes, from, key.at)?;
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Reads a container, calling `part` at the start of each element, entry or field.
    fn each(
        &mut self,
        depth: usize,
        mut part: impl FnMut(&mut Self, usize) -> Result<(), DecodeError>,
    ) -> Result<usize, DecodeError> {
        if depth == VALUE_DEPTH_MAX {
            return Err(DecodeError::TooDeep { offset: self.at });
        }
        self.at += 1;
        let mut count = 0;
        while self.bytes.get(self.at) != Some(&tag::END) {
            part(self, depth + 1)?;
            count += 1;
        }
        self.at += 1;
        Ok(count)
    }

    fn append_value_form(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), DecodeError> {
        let kind = self.peek_kind()?;
        match kind {
            Kind::Str => put_str(out, &self.str()?),
            Kind::Bytes => put_bytes(out, &self.bytes()?),
            Kind::Record => {
                let start = out.len();
                let mut order = Ascending::default();
                let mut places = Vec::new();
                self.each(depth, |key, below| {
                    let from = key.at;
                    places.push((key.field_id()?, out.len()));
                    order.next(key.bytes, from, key.at)?;
                    key.append_value_form(out, below)
                })?;
                finish_record(out, start, &places);
            }
            Kind::List | Kind::Set | Kind::Map => {
                let start = out.len();
                let mut order = Ascending::default();
                let count = self.each(depth, |key, below| {
                    let from = key.at;
                    key.append_value_form(out, below)?;
                    if kind != Kind::List {
                        order.next(key.bytes, from, key.at)?;
                    }
                    if kind == Kind::Map {
                        key.append_value_form(out, below)?;
                    }
                    Ok(())
                })?;
                // The count is known only now: put the header behind the elements and turn it to the front.
                let body_len = out.len() - start;
                match kind {
                    Kind::List => put_list_header(out, count),
                    Kind::Set => put_set_header(out, count),
                    _ => put_map_header(out, count),
                }
                out[start..].rotate_left(body_len);
            }
            _ => {
                let start = self.at;
                self.fixed(Reader::check_scalar)?;
                out.extend_from_slice(&self.bytes[start..self.at]);
            }
        }
        Ok(())
    }

    fn field_id(&mut self) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.u64()?).map_err(|_| DecodeError::OutOfRange { offset, expected: "a field id" })
    }

    fn expect(&mut self, kind: Kind) -> Result<(), DecodeError> {
        let found = self.peek_kind()?;
        if found != kind {
            return Err(DecodeError::WrongKind { offset: self.at, expected: kind.name(), found });
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a scalar that is the same in both forms.
    #[inline]
    fn fixed<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let mut reader = Reader::starting_at(self.bytes, self.at);
        let value = read(&mut reader)?;
        self.at = reader.position();
        Ok(value)
    }

    /// Finds the end of escaped bytes and goes behind it; the number of escaped zero bytes.
    #[inline]
    fn escaped_end(&mut self) -> Result<usize, DecodeError> {
        let mut zero_count = 0;
        loop {
            let truncated = DecodeError::Truncated { offset: self.bytes.len() };
            self.at += self.rest().iter().position(|b| *b == 0).ok_or(truncated)?;
            let found = *self.bytes.get(self.at + 1).ok_or(truncated)?;
            match found {
                tag::STRING_END => {
                    self.at += 2;
                    return Ok(zero_count);
                }
                tag::ESCAPED_ZERO => {
                    self.at += 2;
                    zero_count += 1;
                }
                _ => {
                    return Err(DecodeError::BadEscape { offset: self.at, found });
                }
            }
        }
    }

    fn unescaped(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        let start = self.at;
        let zero_count = self.escaped_end()?;
        let escaped = &self.bytes[start..self.at - 2];
        if zero_count == 0 {
            return Ok(Cow::Borrowed(escaped));
        }
        let mut bytes = Vec::with_capacity(escaped.len() - zero_count);
        let mut rest = escaped;
        while let Some(zero) = rest.iter().position(|b| *b == 0) {
            bytes.extend_from_slice(&rest[..=zero]);
            rest = &rest[zero + 2..];
        }
        bytes.extend_from_slice(rest);
        Ok(Cow::Owned(bytes))
    }
}

/// Checks that parts of a key strictly ascend, byte by byte.
#[derive(Default)]
pub(super) struct Ascending {
    last: Option<(usize, usize)>,
}

impl Ascending {
    /// Whether the next part, `bytes[from..to]`, is above the last one.
    pub(super) fn admits(&mut self, bytes: &[u8], from: usize, to: usize) -> bool {
        let is_above = self.last.is_none_or(|(last_from, last_to)| bytes[last_from..last_to] < bytes[from..to]);
        self.last = Some((from, to));
        is_above
    }

    fn next(&mut self, bytes: &[u8], from: usize, to: usize) -> Result<(), DecodeError> {
        if self.admits(bytes, from, to) { Ok(()) } else { Err(DecodeError::NotAscending { offset: from }) }
    }
}

/// Appends the value form of a whole slice in key form.
///
/// # Errors
/// If it is not the canonical key form of exactly one value; `out` may have grown.
pub fn key_to_value(key: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = KeyReader::new(key);
    reader.to_value_form(out)?;
    reader.finish()
}

/// Appends the key form of a whole slice in value form.
///
/// # Errors
/// If it is not the canonical value form of exactly one value; `out` may have grown.
pub fn value_to_key(value: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(value);
    reader.to_key_form(out)?;
    reader.finish()
}

impl Reader<'_> {
    /// Reads one value and appends its key form.
    ///
    /// # Errors
    /// If the next bytes are not the canonical value form of a value.
    pub fn to_key_form(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let kind = self.peek_kind()?;
        match kind {
            Kind::Str => put_key_str(out, self.str()?),
            Kind::Bytes => put_key_bytes(out, self.bytes()?),
            Kind::Record => {
                put_key_record_start(out);
                let mut fields = self.fields()?;
                while let Some(id) = fields.next(self)? {
                    put_key_field_id(out, id);
                    self.to_key_form(out)?;
                }
                put_key_end(out);
            }
            Kind::List | Kind::Set | Kind::Map => {
                self.enter()?;
                let count = self.container_header(out, kind)?;
                let mut order = Ascending::default();
                for _ in 0..count {
                    let offset = self.position();
                    let from = out.len();
                    self.to_key_form(out)?;
                    if kind != Kind::List && !order.admits(out, from, out.len()) {
                        return Err(DecodeError::NotAscending { offset });
                    }
                    if kind == Kind::Map {
                        self.to_key_form(out)?;
                    }
                }
                put_key_end(out);
                self.leave();
            }
            _ => {
                let start = self.position();
                self.check_scalar()?;
                out.extend_from_slice(self.since(start));
            }
        }
        Ok(())
    }

    fn container_header(&mut self, out: &mut Vec<u8>, kind: Kind) -> Result<usize, DecodeError> {
        match kind {
            Kind::List => {
                put_key_list_start(out);
                self.list()
            }
            Kind::Set => {
                put_key_set_start(out);
                self.set()
            }
            _ => {
                put_key_map_start(out);
                self.map()
            }
        }
    }
}
