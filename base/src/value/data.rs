//! [`Value`]: any data Tantu can store, with a total order that is the order of its key form.

use super::error::DecodeError;
use super::key::KeyReader;
use super::read::Reader;
use super::record::RecordWriter;
use super::tag::{self, Kind};
use super::write::*;
use crate::limit::VALUE_DEPTH_MAX;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Any data Tantu can store.
///
/// Numbers are strict: `I64(5)` and `U64(5)` are different values. Floats have a total order in which NaN is
/// the largest and equals itself, and -0.0 equals 0.0.
///
/// A `Set`, a `Map` and a `Record` are sorted and have no duplicates; [`Value::set`], [`Value::map`] and
/// [`Value::record`] make them so. One built by hand in another order is still encoded rightly, but
/// compares and looks up as if it were sorted.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A 128-bit unique id.
    Uuid([u8; 16]),
    /// Values in a given order.
    List(Vec<Value>),
    /// Different values, sorted.
    Set(Vec<Value>),
    /// Values by key, sorted by key.
    Map(Vec<(Value, Value)>),
    /// Values by field id, sorted by id.
    Record(Vec<(u32, Value)>),
}

impl Value {
    /// A set of values in any order; duplicates are dropped.
    pub fn set(values: impl IntoIterator<Item = Value>) -> Value {
        Value::Set(sort_last_wins(values.into_iter().collect(), Value::cmp))
    }

    /// A map of entries in any order; of entries with one key the last stays.
    pub fn map(entries: impl IntoIterator<Item = (Value, Value)>) -> Value {
        Value::Map(sort_last_wins(entries.into_iter().collect(), by_first))
    }

    /// A record of fields in any order; of fields with one id the last stays.
    pub fn record(fields: impl IntoIterator<Item = (u32, Value)>) -> Value {
        Value::Record(sort_last_wins(fields.into_iter().collect(), by_first))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::I64(_) => Kind::I64,
            Value::U64(_) => Kind::U64,
            Value::F64(_) => Kind::F64,
            Value::Str(_) => Kind::Str,
            Value::Bytes(_) => Kind::Bytes,
            Value::Uuid(_) => Kind::Uuid,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::Map(_) => Kind::Map,
            Value::Record(_) => Kind::Record,
        }
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        let Value::Map(entries) = self else {
            return None;
        };
        let index = entries.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        Some(&entries[index].1)
    }

    /// The value of a record's field.
    pub fn field(&self, id: u32) -> Option<&Value> {
        let Value::Record(fields) = self else {
            return None;
        };
        let index = fields.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&fields[index].1)
    }

    /// Whether a set has this element, a map this key, or a list this value anywhere.
    pub fn contains(&self, value: &Value) -> bool {
        match self {
            Value::List(values) => values.contains(value),
            Value::Set(values) => values.binary_search(value).is_ok(),
            Value::Map(_) => self.get(value).is_some(),
            _ => false,
        }
    }

    /// Elements, entries or fields of a container; `None` for anything else.
    pub fn count(&self) -> Option<usize> {
        match self {
            Value::List(values) | Value::Set(values) => Some(values.len()),
            Value::Map(entries) => Some(entries.len()),
            Value::Record(fields) => Some(fields.len()),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The bool, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    /// The signed integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Value::I64(value) = self { Some(*value) } else { None }
    }

    /// The unsigned integer, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        if let Value::U64(value) = self { Some(*value) } else { None }
    }

    /// The float, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        if let Value::F64(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(value) = self { Some(value) } else { None }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(value) = self { Some(value) } else { None }
    }

    /// The elements of a list or a set.
    pub fn elements(&self) -> Option<&[Value]> {
        if let Value::List(values) | Value::Set(values) = self { Some(values) } else { None }
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(Value, Value)]> {
        if let Value::Map(entries) = self { Some(entries) } else { None }
    }

    /// Appends the value form.
    ///
    /// # Panics
    /// If it nests deeper than [`VALUE_DEPTH_MAX`]; no decoded value does.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_at(out, 0);
    }

    /// Appends the key form.
    ///
    /// # Panics
    /// If it nests deeper than [`VALUE_DEPTH_MAX`]; no decoded value does.
    pub fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode_key_at(out, 0);
    }

    /// The value of a whole slice in value form.
    ///
    /// # Errors
    /// If it is not the canonical form of exactly one value.
    pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }

    /// The value of a whole slice in key form.
    ///
    /// # Errors
    /// If it is not the canonical form of exactly one value.
    pub fn decode_key(bytes: &[u8]) -> Result<Value, DecodeError> {
        let mut reader = KeyReader::new(bytes);
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }

    /// The level of the elements of a container at `depth`.
    fn below(depth: usize) -> usize {
        assert!(depth < VALUE_DEPTH_MAX, "a value nested deeper than {VALUE_DEPTH_MAX} levels cannot be stored");
        depth + 1
    }

    fn encode_at(&self, out: &mut Vec<u8>, depth: usize) {
        match self {
            Value::Str(value) => put_str(out, value),
            Value::Bytes(value) => put_bytes(out, value),
            Value::List(values) => {
                let below = Self::below(depth);
                put_list_header(out, values.len());
                values.iter().for_each(|v| v.encode_at(out, below));
            }
            Value::Set(values) => {
                let below = Self::below(depth);
                let values = ascending(values, Value::cmp);
                put_set_header(out, values.len());
                values.iter().for_each(|v| v.encode_at(out, below));
            }
            Value::Map(entries) => {
                let below = Self::below(depth);
                let entries = ascending(entries, by_first);
                put_map_header(out, entries.len());
                for (key, value) in entries.iter() {
                    key.encode_at(out, below);
                    value.encode_at(out, below);
                }
            }
            Value::Record(fields) => {
                let below = Self::below(depth);
                let fields = ascending(fields, by_first);
                let mut record = RecordWriter::start(out, fields.len());
                for (id, value) in fields.iter() {
                    record.id(out, *id);
                    value.encode_at(out, below);
                }
                record.finish(out);
            }
            _ => self.encode_fixed(out),
        }
    }

    fn encode_key_at(&self, out: &mut Vec<u8>, depth: usize) {
        match self {
            Value::Str(value) => put_key_str(out, value),
            Value::Bytes(value) => put_key_bytes(out, value),
            Value::List(values) => {
                let below = Self::below(depth);
                put_key_list_start(out);
                values.iter().for_each(|v| v.encode_key_at(out, below));
                put_key_end(out);
            }
            Value::Set(values) => {
                let below = Self::below(depth);
                put_key_set_start(out);
                ascending(values, Value::cmp).iter().for_each(|v| v.encode_key_at(out, below));
                put_key_end(out);
            }
            Value::Map(entries) => {
                let below = Self::below(depth);
                put_key_map_start(out);
                for (key, value) in ascending(entries, by_first).iter() {
                    key.encode_key_at(out, below);
                    value.encode_key_at(out, below);
                }
                put_key_end(out);
            }
            Value::Record(fields) => {
                let below = Self::below(depth);
                put_key_record_start(out);
                for (id, value) in ascending(fields, by_first).iter() {
                    put_key_field_id(out, *id);
                    value.encode_key_at(out, below);
                }
                put_key_end(out);
            }
            _ => self.encode_fixed(out),
        }
    }

    /// Appends a scalar that is the same in both forms.
    fn encode_fixed(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => put_null(out),
            Value::Bool(value) => put_bool(out, *value),
            Value::I64(value) => put_i64(out, *value),
            Value::U64(value) => put_u64(out, *value),
            Value::F64(value) => put_f64(out, *value),
            Value::Uuid(value) => put_uuid(out, value),
            _ => unreachable!("{} differs between the forms", self.kind()),
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::I64(a), Value::I64(b)) => a.cmp(b),
            (Value::U64(a), Value::U64(b)) => a.cmp(b),
            (Value::F64(a), Value::F64(b)) => tag::f64_to_ordered(*a).cmp(&tag::f64_to_ordered(*b)),
            (Value::Str(a), Value::Str(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Value::List(a), Value::List(b)) => a.cmp(b),
            (Value::Set(a), Value::Set(b)) => a.cmp(b),
            (Value::Map(a), Value::Map(b)) => a.cmp(b),
            (Value::Record(a), Value::Record(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        match self {
            Value::Null => {}
            Value::Bool(value) => value.hash(state),
            Value::I64(value) => value.hash(state),
            Value::U64(value) => value.hash(state),
            Value::F64(value) => tag::f64_to_ordered(*value).hash(state),
            Value::Str(value) => value.hash(state),
            Value::Bytes(value) => value.hash(state),
            Value::Uuid(value) => value.hash(state),
            Value::List(values) | Value::Set(values) => values.hash(state),
            Value::Map(entries) => entries.hash(state),
            Value::Record(fields) => fields.hash(state),
        }
    }
}

macro_rules! from {
    ($($kind:ident($from:ty)),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$kind(value.into())
            }
        }
    )*};
}
from!(Bool(bool), I64(i32), I64(i64), U64(u32), U64(u64), F64(f64), Str(String), Str(&str), Bytes(Vec<u8>));
from!(Bytes(&[u8]), List(Vec<Value>));

fn by_first<K: Ord, V>(a: &(K, V), b: &(K, V)) -> Ordering {
    a.0.cmp(&b.0)
}

/// The items in strictly ascending order, of equal ones the last; as they are when they are so already.
fn ascending<T: Clone>(items: &[T], order: fn(&T, &T) -> Ordering) -> Cow<'_, [T]> {
    if items.is_sorted_by(|a, b| order(a, b) == Ordering::Less) {
        Cow::Borrowed(items)
    } else {
        Cow::Owned(sort_last_wins(items.to_vec(), order))
    }
}

fn sort_last_wins<T>(mut items: Vec<T>, order: fn(&T, &T) -> Ordering) -> Vec<T> {
    items.sort_by(order);
    // `dedup_by` sees each item after its predecessor that stays; swapping lets the later one stay.
    items.dedup_by(|later, earlier| {
        let is_same = order(earlier, later) == Ordering::Equal;
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
    items
}
