//! The states that grow: lists, sets and maps, kept open so that one more element costs no copy of the rest.

use super::Aggregator;
use super::number::{Number, mismatch};
use crate::error::AggError;
use crate::schema::Schema;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use tantu_base::value::{
    DecodeError, Kind, Reader, key_to_value, put_list_header, put_map_header, put_set_header, value_to_key,
};

/// What a tree takes for an element besides its bytes, roughly.
const ELEMENT_SIZE: usize = 64;

/// An open collection. Keys and set elements are key forms, so that they sort as they will be written.
#[derive(Clone, Debug)]
pub(super) enum Live {
    List { count: usize, bytes: Vec<u8> },
    Set { elements: BTreeSet<Vec<u8>>, size: usize },
    Map { entries: BTreeMap<Vec<u8>, Vec<u8>>, size: usize },
}

/// Which collection an aggregator keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// None: a state is bytes that each step replaces.
    Plain,
    /// None: a state is a number that each step adds to. Only a fold keeps it so.
    Number,
    List,
    Set,
    Map,
}

impl Live {
    pub(super) fn new(form: Form) -> Live {
        match form {
            Form::Plain | Form::Number => unreachable!("a plain state is no collection"),
            Form::List => Live::List { count: 0, bytes: Vec::new() },
            Form::Set => Live::Set { elements: BTreeSet::new(), size: 0 },
            Form::Map => Live::Map { entries: BTreeMap::new(), size: 0 },
        }
    }

    /// Opens a collection in value form; null is an empty one.
    pub(super) fn open(form: Form, name: &'static str, bytes: &[u8]) -> Result<Live, AggError> {
        let mut live = Live::new(form);
        live.extend(name, bytes)?;
        Ok(live)
    }

    /// Adds all of a collection in value form; null is an empty one. What is under an equal key is replaced.
    fn extend(&mut self, name: &'static str, from: &[u8]) -> Result<(), AggError> {
        let mut reader = Reader::new(from);
        if reader.null() {
            return Ok(());
        }
        let wrong = |kind: Kind, wanted: Kind| mismatch(name, wanted.name(), kind.name());
        let kind = reader.peek_kind().map_err(|source| AggError::Bytes { aggregator: name, source })?;
        let wanted = match self {
            Live::List { .. } => Kind::List,
            Live::Set { .. } => Kind::Set,
            Live::Map { .. } => Kind::Map,
        };
        if kind != wanted {
            return Err(wrong(kind, wanted));
        }
        self.extend_with(&mut reader).map_err(|source| AggError::Bytes { aggregator: name, source })
    }

    fn extend_with(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self {
            Live::List { count, bytes } => {
                *count += reader.list()?;
                bytes.extend_from_slice(reader.rest());
            }
            Live::Set { .. } => {
                for _ in 0..reader.set()? {
                    let element = reader.skip()?;
                    self.insert(element, &mut Vec::new())?;
                }
            }
            Live::Map { .. } => {
                for _ in 0..reader.map()? {
                    let key = reader.skip()?;
                    let value = reader.skip()?;
                    self.put(key, value, &mut Vec::new())?;
                }
            }
        }
        Ok(())
    }

    /// Adds an element to a set. `key` is a buffer.
    fn insert(&mut self, element: &[u8], key: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Live::Set { elements, size } = self else { unreachable!("only sets take elements") };
        key.clear();
        value_to_key(element, key)?;
        if !elements.contains(key) {
            *size += key.len() + ELEMENT_SIZE;
            elements.insert(key.clone());
        }
        Ok(())
    }

    fn remove(&mut self, element: &[u8], key: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Live::Set { elements, size } = self else { unreachable!("only sets lose elements") };
        key.clear();
        value_to_key(element, key)?;
        if elements.remove(key) {
            *size -= key.len() + ELEMENT_SIZE;
        }
        Ok(())
    }

    /// Puts a value under a key of a map. `form` is a buffer.
    fn put(&mut self, key: &[u8], value: &[u8], form: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Live::Map { entries, size } = self else { unreachable!("only maps take entries") };
        form.clear();
        value_to_key(key, form)?;
        match entries.get_mut(form) {
            Some(at) => {
                *size = *size - at.len() + value.len();
                at.clear();
                at.extend_from_slice(value);
            }
            None => {
                *size += form.len() + value.len() + 2 * ELEMENT_SIZE;
                entries.insert(form.clone(), value.to_vec());
            }
        }
        Ok(())
    }

    /// Adds a number to what is under a key of a map.
    fn add(&mut self, key: &[u8], addend: Number, schema: &Schema, form: &mut Vec<u8>) -> Result<(), AggError> {
        const NAME: &str = "multi_set";
        let Live::Map { entries, .. } = self else { unreachable!("only maps count") };
        let below = if let Schema::Map(_, value) = schema { value } else { &Schema::Any };
        let broken = |source| AggError::Bytes { aggregator: NAME, source };
        form.clear();
        value_to_key(key, form).map_err(broken)?;
        let state = match entries.get(form) {
            Some(bytes) => Number::read(NAME, bytes, Some(addend))?,
            None => addend.zero(),
        };
        let mut sum = Vec::with_capacity(9);
        state.add(addend, NAME, below)?.put(&mut sum);
        self.put(key, &sum, form).map_err(broken)
    }

    /// Takes in one row of arguments.
    pub(super) fn step(
        &mut self,
        aggregator: &Aggregator,
        schema: &Schema,
        args: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        let name = aggregator.name();
        let broken = |source| AggError::Bytes { aggregator: name, source };
        match aggregator {
            Aggregator::Set | Aggregator::SetRemove => self.insert(args, buffer).map_err(broken),
            Aggregator::MultiSet => self.add(args, count_of(schema), schema, buffer),
            Aggregator::Map => {
                let mut reader = Reader::new(args);
                let key = reader.skip().map_err(broken)?;
                self.put(key, reader.rest(), buffer).map_err(broken)
            }
            Aggregator::Merge => self.extend(name, args),
            Aggregator::List => {
                self.push(|bytes| bytes.extend_from_slice(args));
                Ok(())
            }
            Aggregator::TopMonotonic(top) => {
                let count = self.push(|bytes| bytes.extend_from_slice(args));
                if count >= top.cut_count() { self.cut(aggregator) } else { Ok(()) }
            }
            Aggregator::Limit(limit) => {
                let Live::List { count, bytes } = self else { unreachable!("a limit keeps a list") };
                if limit.wants(*count) {
                    limit.put_row(args, buffer, bytes).map_err(broken)?;
                    *count += 1;
                }
                if limit.is_over(*count) { self.cut(aggregator) } else { Ok(()) }
            }
            _ => unreachable!("{name} keeps no collection"),
        }
    }

    fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> usize {
        let Live::List { count, bytes } = self else { unreachable!("only lists take elements at their end") };
        put(bytes);
        *count += 1;
        *count
    }

    /// Takes in what another fold of the same combiner had.
    pub(super) fn combine(&mut self, aggregator: &Aggregator, schema: &Schema, partial: &[u8]) -> Result<(), AggError> {
        let name = aggregator.name();
        match aggregator {
            Aggregator::MultiSet => self.add_all(schema, partial),
            Aggregator::Limit(limit) => {
                self.extend(name, partial)?;
                let Live::List { count, .. } = self else { unreachable!("a limit keeps a list") };
                if limit.is_over(*count) || !limit.wants(*count) { self.cut(aggregator) } else { Ok(()) }
            }
            _ => self.extend(name, partial),
        }
    }

    fn add_all(&mut self, schema: &Schema, partial: &[u8]) -> Result<(), AggError> {
        let Live::Map { entries, .. } = Live::open(Form::Map, "multi_set", partial)? else {
            unreachable!("opened as a map")
        };
        let (mut key, mut buffer) = (Vec::new(), Vec::new());
        for (key_form, count) in entries {
            key.clear();
            key_to_value(&key_form, &mut key).expect("invariant: keys of an open map are key forms");
            let count = Number::read("multi_set", &count, None)?;
            self.add(&key, count, schema, &mut buffer)?;
        }
        Ok(())
    }

    /// Takes one row, or what another fold had, into a stored collection. Differs from the others in that the
    /// elements of `set_remove` leave.
    pub(super) fn absorb(
        &mut self,
        aggregator: &Aggregator,
        schema: &Schema,
        args: &[u8],
        is_partial: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        if !matches!(aggregator, Aggregator::SetRemove) {
            return if is_partial {
                self.combine(aggregator, schema, args)
            } else {
                self.step(aggregator, schema, args, buffer)
            };
        }
        let name = aggregator.name();
        let broken = |source| AggError::Bytes { aggregator: name, source };
        if !is_partial {
            return self.remove(args, buffer).map_err(broken);
        }
        let mut reader = Reader::new(args);
        for _ in 0..reader.set().map_err(broken)? {
            self.remove(reader.skip().map_err(broken)?, buffer).map_err(broken)?;
        }
        Ok(())
    }

    /// Sorts and cuts what keeps the best.
    pub(super) fn cut(&mut self, aggregator: &Aggregator) -> Result<(), AggError> {
        if let Live::List { count, bytes } = self {
            let left = match aggregator {
                Aggregator::TopMonotonic(top) => top.cut(bytes, *count),
                Aggregator::Limit(limit) => limit.cut(bytes, *count),
                _ => Ok(*count),
            };
            *count = left.map_err(|source| AggError::Bytes { aggregator: aggregator.name(), source })?;
        }
        Ok(())
    }

    /// Appends its value form.
    pub(super) fn put_value(&self, out: &mut Vec<u8>) {
        const KEYS: &str = "invariant: what an open collection holds are key forms";
        match self {
            Live::List { count, bytes } => {
                put_list_header(out, *count);
                out.extend_from_slice(bytes);
            }
            Live::Set { elements, .. } => {
                put_set_header(out, elements.len());
                elements.iter().for_each(|element| key_to_value(element, out).expect(KEYS));
            }
            Live::Map { entries, .. } => {
                put_map_header(out, entries.len());
                for (key, value) in entries {
                    key_to_value(key, out).expect(KEYS);
                    out.extend_from_slice(value);
                }
            }
        }
    }

    /// Bytes it takes, roughly, without what it keeps in reserve.
    pub(super) fn size(&self) -> usize {
        match self {
            Live::List { bytes, .. } => bytes.len(),
            Live::Set { size, .. } | Live::Map { size, .. } => *size,
        }
    }
}

/// The 1 of a map of counts.
fn count_of(schema: &Schema) -> Number {
    match schema {
        Schema::Map(_, value) => Number::one(value),
        _ => Number::one(&Schema::Any),
    }
}
