//! A part of a partition in memory: stored values with what was read of the structures within them.

use super::{Kind, Place, Shape, Size, key_form, position_key};
use crate::error::EvalError;
use crate::row::Of;
use std::collections::BTreeMap;
use tantu_base::value::Value;

/// What stands at a location, as far as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Image {
    /// Nothing.
    Void,
    /// A value without structures; null also where a structure could be.
    Plain(Value),
    /// A stored map or record with structures within, by key form of the key or field id.
    Inline { record: bool, parts: BTreeMap<Vec<u8>, Image> },
    /// A structure, or the top-level map.
    Structure(Structure),
}

/// A structure as far as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub(crate) size: Size,
    /// Whether every element was read.
    pub(crate) whole: bool,
    /// Elements by key form; `Void` for one that was looked for and is not there.
    pub(crate) parts: BTreeMap<Vec<u8>, Image>,
}

impl Structure {
    /// One that is not there yet.
    pub(crate) fn none(place: &Place<'_>) -> Structure {
        Structure { size: place.empty(), whole: true, parts: BTreeMap::new() }
    }

    /// The elements that are there.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&Vec<u8>, &Image)> {
        self.parts.iter().filter(|(_, part)| !matches!(part, Image::Void))
    }
}

impl Image {
    /// A stored value, with nothing read of the structures within.
    pub(crate) fn of(of: Of, place: &Place<'_>, stored: Option<Value>) -> Result<Image, EvalError> {
        let Some(stored) = stored else {
            return match place.size_of(of, None)? {
                Some(size) => Ok(Image::Structure(Structure { size, whole: false, parts: BTreeMap::new() })),
                None => Ok(Image::Void),
            };
        };
        match (place.kind(), stored) {
            (_, Value::Null) => Ok(Image::Plain(Value::Null)),
            (Kind::Plain, stored) => Ok(Image::Plain(stored)),
            (Kind::Structure(_), stored) => {
                let size = place.size_of(of, Some(&stored))?.ok_or_else(|| of.handle())?;
                Ok(Image::Structure(Structure { size, whole: false, parts: BTreeMap::new() }))
            }
            (Kind::Inline, Value::Map(entries)) => {
                Ok(Image::Inline { record: false, parts: inline_parts(of, place, entries)? })
            }
            (Kind::Inline, Value::Record(fields)) => {
                let entries = fields.into_iter().map(|(id, value)| (Value::U64(u64::from(id)), value));
                Ok(Image::Inline { record: true, parts: inline_parts(of, place, entries)? })
            }
            (Kind::Inline, _) => Err(of.handle()),
        }
    }

    /// As a plain value, structures as the collections they are. Byte order of keys is order of values.
    pub(crate) fn to_value(&self, of: Of, place: &Place<'_>) -> Result<Option<Value>, EvalError> {
        Ok(Some(match self {
            Image::Void => return Ok(None),
            Image::Plain(value) => value.clone(),
            Image::Inline { record, parts } => {
                inline_value(of, place, *record, parts, &mut |place, part| part.to_value(of, place))?
            }
            Image::Structure(structure) => {
                let Kind::Structure(shape) = place.kind() else { return Err(of.handle()) };
                match shape {
                    Shape::Map(..) => {
                        let mut entries = Vec::with_capacity(structure.parts.len());
                        for (key, part) in structure.present() {
                            let value = part.to_value(of, &place.element(key))?;
                            entries.extend(value.map(|value| of.decode_key(key).map(|key| (key, value))).transpose()?);
                        }
                        Value::Map(entries)
                    }
                    Shape::Set => {
                        let elements = structure.present().map(|(key, _)| of.decode_key(key));
                        Value::Set(elements.collect::<Result<_, _>>()?)
                    }
                    Shape::List => {
                        let mut elements = Vec::with_capacity(structure.parts.len());
                        for (key, part) in structure.present() {
                            elements.extend(part.to_value(of, &place.element(key))?);
                        }
                        Value::List(elements)
                    }
                }
            }
        }))
    }

    /// As it is stored, with handles.
    pub(crate) fn stored(&self, of: Of, place: &Place<'_>) -> Result<Option<Value>, EvalError> {
        Ok(Some(match self {
            Image::Void => return Ok(None),
            Image::Plain(value) => value.clone(),
            Image::Structure(structure) => structure.size.to_value(),
            Image::Inline { record, parts } => {
                inline_value(of, place, *record, parts, &mut |place, part| part.stored(of, place))?
            }
        }))
    }

    /// Whether a structure stands here or within.
    pub(crate) fn holds_structure(&self) -> bool {
        match self {
            Image::Structure(_) => true,
            Image::Inline { parts, .. } => parts.values().any(Image::holds_structure),
            Image::Void | Image::Plain(_) => false,
        }
    }
}

impl Of {
    /// A place of the schema that holds something else than what is stored there.
    pub(crate) fn handle(self) -> EvalError {
        EvalError::Store(format!("{}: what is stored does not have the shape of the schema", self.0))
    }
}

fn inline_parts(
    of: Of,
    place: &Place<'_>,
    entries: impl IntoIterator<Item = (Value, Value)>,
) -> Result<BTreeMap<Vec<u8>, Image>, EvalError> {
    let mut parts = BTreeMap::new();
    for (key, value) in entries {
        let form = key_form(&key);
        let inner = place.inner(&key, &form).ok_or_else(|| of.handle())?;
        parts.insert(form, Image::of(of, &inner, Some(value))?);
    }
    Ok(parts)
}

/// What a part of an inline map or record is there as.
type PartValue<'f> = &'f mut dyn FnMut(&Place<'_>, &Image) -> Result<Option<Value>, EvalError>;

/// What an inline map or record is put together to from its parts.
fn inline_value(
    of: Of,
    place: &Place<'_>,
    record: bool,
    parts: &BTreeMap<Vec<u8>, Image>,
    value_of: PartValue<'_>,
) -> Result<Value, EvalError> {
    let mut entries = Vec::with_capacity(parts.len());
    for (form, part) in parts {
        let key = of.decode_key(form)?;
        let inner = place.inner(&key, form).ok_or_else(|| of.handle())?;
        entries.extend(value_of(&inner, part)?.map(|value| (key, value)));
    }
    if !record {
        return Ok(Value::Map(entries));
    }
    let field = |(key, value): (Value, Value)| {
        let id = key.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| of.handle())?;
        Ok((id, value))
    };
    Ok(Value::Record(entries.into_iter().map(field).collect::<Result<_, EvalError>>()?))
}

/// The keys of a list's elements, in order.
pub(super) fn positions(first: u64, count: u64) -> impl Iterator<Item = Vec<u8>> {
    (first..first + count).map(position_key)
}
