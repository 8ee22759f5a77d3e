//! The order of values, read from their value form; and checking bytes without keeping anything.

use super::error::DecodeError;
use super::read::Reader;
use super::tag::Kind;
use std::cmp::Ordering;

/// Compares two values given in value form: the order of their keys, without writing them.
///
/// # Errors
/// If what had to be read of them is not canonical. Offsets count from the start of the one that is not.
pub fn compare_encoded(a: &[u8], b: &[u8]) -> Result<Ordering, DecodeError> {
    compare(&mut Reader::new(a), &mut Reader::new(b))
}

fn compare(a: &mut Reader<'_>, b: &mut Reader<'_>) -> Result<Ordering, DecodeError> {
    let (kind, other) = (a.peek_kind()?, b.peek_kind()?);
    if kind != other {
        return Ok(kind.cmp(&other));
    }
    match kind {
        Kind::Str => Ok(a.str()?.cmp(b.str()?)),
        Kind::Bytes => Ok(a.bytes()?.cmp(b.bytes()?)),
        Kind::Record => compare_records(a, b),
        Kind::List | Kind::Set | Kind::Map => {
            a.enter()?;
            b.enter()?;
            let order = compare_parts(kind, a, b)?;
            a.leave();
            b.leave();
            Ok(order)
        }
        _ => {
            let (a_start, b_start) = (a.position(), b.position());
            a.check_scalar()?;
            b.check_scalar()?;
            Ok(a.since(a_start).cmp(b.since(b_start)))
        }
    }
}

fn compare_parts(kind: Kind, a: &mut Reader<'_>, b: &mut Reader<'_>) -> Result<Ordering, DecodeError> {
    let (a_count, b_count) = (count(kind, a)?, count(kind, b)?);
    for _ in 0..a_count.min(b_count) {
        let mut order = compare(a, b)?;
        if order.is_eq() && kind == Kind::Map {
            order = compare(a, b)?;
        }
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(a_count.cmp(&b_count))
}

fn compare_records(a: &mut Reader<'_>, b: &mut Reader<'_>) -> Result<Ordering, DecodeError> {
    let (mut a_fields, mut b_fields) = (a.fields()?, b.fields()?);
    let count_order = a_fields.count().cmp(&b_fields.count());
    loop {
        let order = match (a_fields.next(a)?, b_fields.next(b)?) {
            (Some(a_id), Some(b_id)) if a_id == b_id => compare(a, b)?,
            (Some(a_id), Some(b_id)) => a_id.cmp(&b_id),
            _ => return Ok(count_order),
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
}

fn count(kind: Kind, reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    match kind {
        Kind::List => reader.list(),
        Kind::Set => reader.set(),
        _ => reader.map(),
    }
}

/// Checks that a whole slice is the canonical value form of exactly one value, and keeps nothing.
///
/// # Errors
/// If it is not.
pub fn validate(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    check(&mut reader)?;
    reader.finish()
}

/// As [`validate`], of a value that is to stand in so many containers.
///
/// # Errors
/// If it is not canonical, or nests too deep there.
pub fn validate_below(bytes: &[u8], levels: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    (0..levels).try_for_each(|_| reader.enter())?;
    check(&mut reader)?;
    reader.finish()
}

fn check(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let kind = reader.peek_kind()?;
    if kind < Kind::List {
        return reader.check_scalar();
    }
    if kind == Kind::Record {
        let mut fields = reader.fields()?;
        while fields.next(reader)?.is_some() {
            check(reader)?;
        }
        return Ok(());
    }
    reader.enter()?;
    let count = count(kind, reader)?;
    let mut last_key: Option<&[u8]> = None;
    for _ in 0..count {
        let offset = reader.position();
        check(reader)?;
        let key = reader.since(offset);
        let is_above = match last_key.replace(key) {
            Some(last) if kind != Kind::List => compare_encoded(last, key)?.is_lt(),
            _ => true,
        };
        if !is_above {
            return Err(DecodeError::NotAscending { offset });
        }
        if kind == Kind::Map {
            check(reader)?;
        }
    }
    reader.leave();
    Ok(())
}
