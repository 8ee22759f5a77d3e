//! A cursor over value-form bytes: typed reading without building a [`Value`].
//!
//! Every read checks that what it reads is canonical, except that the order within a set, a map or a record
//! is checked by whoever reads the elements ([`Reader::value`], the typed [`super::Decode`], [`super::validate`]):
//! the cursor itself hands out counts and forgets.

use super::Value;
use super::error::DecodeError;
use super::record::record_value;
use super::tag::{self, Kind};
use super::write::bytes_needed;
use crate::limit::VALUE_DEPTH_MAX;

/// A cursor over value-form bytes. After an error its position is unspecified.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Bytes that the containers being read by [`Reader::value`] still need for their elements, one each.
    promised: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::starting_at(bytes, 0)
    }

    /// Reads from a place within `bytes`, so that offsets in errors count from their start.
    pub(super) fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, depth: 0, promised: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes left to read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything was read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The bytes read since an earlier [`Reader::position`].
    #[inline]
    pub fn since(&self, position: usize) -> &'a [u8] {
        &self.bytes[position..self.at]
    }

    /// The tag of the next value; `None` at the end.
    #[inline]
    pub fn peek_tag(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// At the end, and if no value starts so.
    #[inline]
    pub fn peek_kind(&self) -> Result<Kind, DecodeError> {
        let tag = self.peek_tag().ok_or(DecodeError::Truncated { offset: self.at })?;
        Kind::of_tag(tag).ok_or(DecodeError::UnknownTag { offset: self.at, tag })
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// If it was not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes { offset: self.at }) }
    }

    /// Takes a null if the next value is one.
    #[inline]
    pub fn null(&mut self) -> bool {
        let is_null = self.peek_tag() == Some(tag::NULL);
        self.at += usize::from(is_null);
        is_null
    }

    /// Reads a bool.
    ///
    /// # Errors
    /// If there is none.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.peek_tag() {
            Some(tag @ (tag::FALSE | tag::TRUE)) => {
                self.at += 1;
                Ok(tag == tag::TRUE)
            }
            _ => Err(self.unexpected("bool")),
        }
    }

    /// Reads a signed integer.
    ///
    /// # Errors
    /// If there is none.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let offset = self.at;
        match self.peek_tag() {
            Some(tag @ tag::I64_POSITIVE..=tag::I64_MAX) => {
                let value = self.shortest(offset, usize::from(tag - tag::I64_POSITIVE))?;
                i64::try_from(value).map_err(|_| DecodeError::NotShortest { offset })
            }
            Some(tag @ tag::I64_MIN..=tag::I64_NEGATIVE) => {
                let len = usize::from(tag::I64_NEGATIVE - tag);
                let low = self.big_endian(len)?;
                let value = if len == 8 { low } else { low | u64::MAX << (8 * len) };
                if value >> 63 == 1 && bytes_needed(!value) == len {
                    Ok(value as i64)
                } else {
                    Err(DecodeError::NotShortest { offset })
                }
            }
            _ => Err(self.unexpected("i64")),
        }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// If there is none.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        match self.peek_tag() {
            Some(tag @ tag::U64..=tag::U64_MAX) => self.shortest(self.at, usize::from(tag - tag::U64)),
            _ => Err(self.unexpected("u64")),
        }
    }

    /// Reads a float.
    ///
    /// # Errors
    /// If there is none.
    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        let offset = self.at;
        self.expect(tag::F64, "f64")?;
        let ordered = u64::from_be_bytes(*self.array()?);
        tag::f64_from_ordered(ordered).ok_or(DecodeError::NotCanonicalFloat { offset })
    }

    /// Reads text.
    ///
    /// # Errors
    /// If there is none.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        self.expect(tag::STR, "string")?;
        let bytes = self.sized()?;
        let start = self.at - bytes.len();
        std::str::from_utf8(bytes).map_err(|e| DecodeError::NotUtf8 { offset: start + e.valid_up_to() })
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// If there are none.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        self.expect(tag::BYTES, "bytes")?;
        self.sized()
    }

    /// Reads a unique id.
    ///
    /// # Errors
    /// If there is none.
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.expect(tag::UUID, "uuid")?;
        self.array().copied()
    }

    /// Reads the start of a list; so many values follow.
    ///
    /// # Errors
    /// If there is no list.
    #[inline]
    pub fn list(&mut self) -> Result<usize, DecodeError> {
        self.expect(tag::LIST, "list")?;
        self.count(1)
    }

    /// Reads the start of a set; so many ascending values follow.
    ///
    /// # Errors
    /// If there is no set.
    #[inline]
    pub fn set(&mut self) -> Result<usize, DecodeError> {
        self.expect(tag::SET, "set")?;
        self.count(1)
    }

    /// Reads the start of a map; so many entries follow, key then value, ascending by key.
    ///
    /// # Errors
    /// If there is no map.
    #[inline]
    pub fn map(&mut self) -> Result<usize, DecodeError> {
        self.expect(tag::MAP, "map")?;
        self.count(2)
    }

    /// Reads the id of a record's next field.
    ///
    /// # Errors
    /// If it is too large or not in its shortest form.
    #[inline]
    pub(super) fn field_id(&mut self) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange { offset, expected: "a field id" })
    }

    /// Goes one level deeper. Whoever decodes a type that can contain itself calls it before the elements, and
    /// [`Reader::leave`] after them; the containers of [`super::Decode`] do.
    ///
    /// # Errors
    /// Below [`VALUE_DEPTH_MAX`] levels.
    #[inline]
    pub fn enter(&mut self) -> Result<(), DecodeError> {
        if self.depth == VALUE_DEPTH_MAX {
            return Err(DecodeError::TooDeep { offset: self.at });
        }
        self.depth += 1;
        Ok(())
    }

    /// Comes back up from [`Reader::enter`].
    #[inline]
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Skips one value, looking only at its structure, and gives back its bytes.
    ///
    /// # Errors
    /// If the bytes end first, a tag is unknown or the nesting is too deep.
    #[inline]
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        if let Some(parts) = self.skip_head()? {
            self.skip_parts(start, parts)?;
        }
        Ok(self.since(start))
    }

    /// Skips the values in a container that starts at `start`.
    fn skip_parts(&mut self, start: usize, parts: usize) -> Result<(), DecodeError> {
        self.enter().map_err(|_| DecodeError::TooDeep { offset: start })?;
        for _ in 0..parts {
            let start = self.at;
            if let Some(inner) = self.skip_head()? {
                self.skip_parts(start, inner)?;
            }
        }
        self.leave();
        Ok(())
    }

    /// Skips a scalar or a record whole, or only the header of another container, giving how many values are in it.
    #[inline]
    fn skip_head(&mut self) -> Result<Option<usize>, DecodeError> {
        let offset = self.at;
        let kind = self.peek_kind()?;
        let tag = self.bytes[offset];
        self.at += 1;
        let len = match kind {
            Kind::Null | Kind::Bool => 0,
            Kind::I64 if tag >= tag::I64_POSITIVE => usize::from(tag - tag::I64_POSITIVE),
            Kind::I64 => usize::from(tag::I64_NEGATIVE - tag),
            Kind::U64 => usize::from(tag - tag::U64),
            Kind::F64 => 8,
            Kind::Uuid => 16,
            Kind::Str | Kind::Bytes => {
                self.sized()?;
                return Ok(None);
            }
            Kind::List | Kind::Set => return Ok(Some(self.count(1)?)),
            Kind::Map => return Ok(Some(self.count(2)? * 2)),
            Kind::Record => {
                self.at = offset;
                self.fields()?.skip_rest(self)?;
                return Ok(None);
            }
        };
        self.take(len)?;
        Ok(None)
    }

    /// Reads any value.
    ///
    /// # Errors
    /// If the next bytes are not the canonical form of one.
    pub fn value(&mut self) -> Result<Value, DecodeError> {
        Ok(match self.peek_kind()? {
            Kind::Null => {
                self.at += 1;
                Value::Null
            }
            Kind::Bool => Value::Bool(self.bool()?),
            Kind::I64 => Value::I64(self.i64()?),
            Kind::U64 => Value::U64(self.u64()?),
            Kind::F64 => Value::F64(self.f64()?),
            Kind::Str => Value::Str(self.str()?.to_owned()),
            Kind::Bytes => Value::Bytes(self.bytes()?.to_owned()),
            Kind::Uuid => Value::Uuid(self.uuid()?),
            Kind::Record => record_value(self)?,
            container => {
                self.enter()?;
                let value = self.container(container)?;
                self.leave();
                value
            }
        })
    }

    /// Reads a container other than a record. Its count is checked against what the containers around it leave of the bytes, so
    /// that the memory reserved for all of them together stays within a multiple of the bytes.
    fn container(&mut self, kind: Kind) -> Result<Value, DecodeError> {
        Ok(match kind {
            Kind::List => {
                let count = self.list()?;
                self.promised += count;
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    values.push(self.promised_value()?);
                }
                Value::List(values)
            }
            Kind::Set => {
                let count = self.set()?;
                self.promised += count;
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    let offset = self.at;
                    let value = self.promised_value()?;
                    check_ascending(values.last(), &value, offset)?;
                    values.push(value);
                }
                Value::Set(values)
            }
            _ => {
                let count = self.map()?;
                self.promised += 2 * count;
                let mut entries: Vec<(Value, Value)> = Vec::with_capacity(count);
                for _ in 0..count {
                    let offset = self.at;
                    let key = self.promised_value()?;
                    check_ascending(entries.last().map(|(k, _)| k), &key, offset)?;
                    entries.push((key, self.promised_value()?));
                }
                Value::Map(entries)
            }
        })
    }

    /// Notes that what is being read needs at least so many bytes more.
    pub(super) fn promise(&mut self, size_min: usize) {
        self.promised += size_min;
    }

    /// Takes back a part of a [`Reader::promise`].
    pub(super) fn fulfil(&mut self, size: usize) {
        self.promised -= size;
    }

    /// Bytes left that are not promised to anything.
    pub(super) fn available(&self) -> usize {
        self.remaining().saturating_sub(self.promised)
    }

    /// Goes on at a place not before this one, counted from `start`, that a table of the bytes themselves names.
    pub(super) fn go_to(&mut self, start: usize, place: u64) -> Result<(), DecodeError> {
        let target = usize::try_from(place).ok().and_then(|place| start.checked_add(place));
        match target {
            Some(target) if (self.at..=self.bytes.len()).contains(&target) => {
                self.at = target;
                Ok(())
            }
            _ => Err(DecodeError::BadTable { offset: self.at }),
        }
    }

    /// Reads the tag of a container and its count, of things of at least `size_min` bytes.
    #[inline]
    pub(super) fn container_count(&mut self, size_min: usize) -> Result<usize, DecodeError> {
        self.at += 1;
        self.count(size_min)
    }

    #[inline]
    fn promised_value(&mut self) -> Result<Value, DecodeError> {
        self.promised -= 1;
        self.value()
    }

    /// Reads a scalar and checks that it is canonical.
    ///
    /// # Errors
    /// If it is not, and for a container.
    pub(super) fn check_scalar(&mut self) -> Result<(), DecodeError> {
        match self.peek_kind()? {
            Kind::Null => self.at += 1,
            Kind::Bool => self.bool().map(drop)?,
            Kind::I64 => self.i64().map(drop)?,
            Kind::U64 => self.u64().map(drop)?,
            Kind::F64 => self.f64().map(drop)?,
            Kind::Str => self.str().map(drop)?,
            Kind::Bytes => self.bytes().map(drop)?,
            Kind::Uuid => self.uuid().map(drop)?,
            Kind::List | Kind::Set | Kind::Map | Kind::Record => {
                return Err(self.unexpected("a scalar"));
            }
        }
        Ok(())
    }

    /// An error for a value that is not of the kind asked for.
    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str) -> DecodeError {
        match self.peek_kind() {
            Ok(found) => DecodeError::WrongKind { offset: self.at, expected, found },
            Err(error) => error,
        }
    }

    #[inline]
    fn expect(&mut self, tag: u8, name: &'static str) -> Result<(), DecodeError> {
        if self.peek_tag() == Some(tag) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(name))
        }
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..len).ok_or(DecodeError::Truncated { offset: self.bytes.len() })?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let taken = self.rest().first_chunk().ok_or(DecodeError::Truncated { offset: self.bytes.len() })?;
        self.at += N;
        Ok(taken)
    }

    /// Reads a tag and `len` bytes, highest first.
    #[inline]
    fn big_endian(&mut self, len: usize) -> Result<u64, DecodeError> {
        let body = &self.bytes[self.at + 1..];
        let value = if let Some(eight) = body.first_chunk::<8>() {
            // One load for every length; shifting twice keeps a shift by 64 away.
            u64::from_be_bytes(*eight) >> (8 * (8 - len) / 2) >> (8 * (8 - len) / 2)
        } else {
            let bytes = body.get(..len).ok_or(DecodeError::Truncated { offset: self.bytes.len() })?;
            bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        self.at += 1 + len;
        Ok(value)
    }

    /// Reads a tag and `len` bytes that must all be needed.
    #[inline]
    fn shortest(&mut self, offset: usize, len: usize) -> Result<u64, DecodeError> {
        let value = self.big_endian(len)?;
        if bytes_needed(value) == len { Ok(value) } else { Err(DecodeError::NotShortest { offset }) }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let offset = self.at;
        let first = self.peek_tag().ok_or(DecodeError::Truncated { offset })?;
        if first < 0x80 {
            self.at += 1;
            return Ok(u64::from(first));
        }
        self.long_varint(offset)
    }

    fn long_varint(&mut self, offset: usize) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.peek_tag().ok_or(DecodeError::Truncated { offset: self.at })?;
            self.at += 1;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                // A last byte of zero adds nothing: the number has a shorter form.
                return if byte == 0 { Err(DecodeError::NotShortest { offset }) } else { Ok(value) };
            }
        }
        Err(DecodeError::NotShortest { offset })
    }

    /// Reads a length and the bytes it announces.
    #[inline]
    fn sized(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// Reads a count of things that take at least `size_min` bytes each; what is left of the bytes bounds it.
    #[inline]
    fn count(&mut self, size_min: usize) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.available() / size_min => Ok(count),
            _ => Err(DecodeError::CountTooLarge { offset, count }),
        }
    }
}

/// How much to reserve for `count` elements that were only announced: nested announcements must not add up.
pub(super) fn first_capacity<T>(count: usize) -> usize {
    const SIZE_MAX: usize = 4096;
    count.min(SIZE_MAX / size_of::<T>().max(1))
}

#[inline]
fn check_ascending<T: Ord>(last: Option<&T>, next: &T, offset: usize) -> Result<(), DecodeError> {
    match last {
        Some(last) if last >= next => Err(DecodeError::NotAscending { offset }),
        _ => Ok(()),
    }
}
