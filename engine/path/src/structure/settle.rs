//! What must be written so that a partition holds what an image became.

use super::erase::Writes;
use super::image::{Image, Structure, positions};
use super::{Kind, Place, Shape, Size, key_form, position_key};
use crate::error::EvalError;
use crate::row::Of;
use std::collections::BTreeMap;
use tantu_base::value::Value;

/// The writes of one evaluation so far.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) of: Of,
    pub(crate) writes: Writes,
}

impl Settle {
    pub(crate) fn new(of: Of) -> Settle {
        Settle { of, writes: Writes::default() }
    }

    /// Writes the elements of what a place became, and gives back what is stored at the place itself.
    pub(crate) fn settle(
        &mut self,
        place: &Place<'_>,
        before: &Image,
        after: Option<Value>,
    ) -> Result<Option<Value>, EvalError> {
        match (place.kind(), after) {
            (_, after @ (None | Some(Value::Null))) => {
                self.writes.erase_image(place, before);
                Ok(after)
            }
            (Kind::Plain, after) => Ok(after),
            (Kind::Inline, Some(Value::Map(entries))) => {
                Ok(Some(Value::Map(self.settle_inline(place, before, entries)?)))
            }
            (Kind::Inline, Some(Value::Record(fields))) => {
                let entries = fields.into_iter().map(|(id, value)| (Value::U64(u64::from(id)), value)).collect();
                let entries = self.settle_inline(place, before, entries)?;
                let field = |(key, value): (Value, Value)| {
                    let id = key.as_u64().and_then(|id| u32::try_from(id).ok());
                    (id.expect("invariant: it was a field id"), value)
                };
                Ok(Some(Value::Record(entries.into_iter().map(field).collect())))
            }
            (Kind::Structure(shape), Some(after)) => {
                let none = Structure::none(place);
                let before = if let Image::Structure(before) = before { before } else { &none };
                let size = match (shape, after) {
                    (Shape::Map(..), Value::Map(entries)) => self.settle_map(place, before, entries)?,
                    (Shape::Set, Value::Set(elements)) => self.settle_set(place, before, elements)?,
                    (Shape::List, Value::List(elements)) => self.settle_list(place, before, elements)?,
                    _ => return Err(self.of.handle()),
                };
                Ok(Some(size.to_value()))
            }
            (Kind::Inline, Some(_)) => Err(self.of.handle()),
        }
    }

    fn settle_inline(
        &mut self,
        place: &Place<'_>,
        before: &Image,
        entries: Vec<(Value, Value)>,
    ) -> Result<Vec<(Value, Value)>, EvalError> {
        let none = BTreeMap::new();
        let before = if let Image::Inline { parts, .. } = before { parts } else { &none };
        let mut left = before.clone();
        let mut stored = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let form = key_form(&key);
            let inner = place.inner(&key, &form).ok_or_else(|| self.of.handle())?;
            left.remove(&form);
            let value = self.settle(&inner, before.get(&form).unwrap_or(&Image::Void), Some(value))?;
            stored.extend(value.map(|value| (key, value)));
        }
        for (form, part) in &left {
            let key = self.of.decode_key(form)?;
            let inner = place.inner(&key, form).ok_or_else(|| self.of.handle())?;
            self.writes.erase_image(&inner, part);
        }
        Ok(stored)
    }

    /// An element that is, or stays, there.
    pub(crate) fn settle_element(
        &mut self,
        place: &Place<'_>,
        key: &[u8],
        before: &Image,
        after: Value,
    ) -> Result<(), EvalError> {
        let inner = place.element(key);
        let stored = self.settle(&inner, before, Some(after))?;
        if stored != before.stored(self.of, &inner)? {
            let mut bytes = Vec::new();
            stored.unwrap_or_default().encode(&mut bytes);
            self.writes.put(self.of, [&place.prefix(), key].concat(), bytes)?;
        }
        Ok(())
    }

    fn remove_element(&mut self, place: &Place<'_>, key: &[u8], before: &Image) {
        self.writes.delete([&place.prefix(), key].concat());
        self.writes.erase_image(&place.element(key), before);
    }

    fn settle_map(
        &mut self,
        place: &Place<'_>,
        before: &Structure,
        entries: Vec<(Value, Value)>,
    ) -> Result<Size, EvalError> {
        let mut left: BTreeMap<&Vec<u8>, &Image> = before.present().collect();
        let by = entries.len() as i64 - left.len() as i64;
        for (key, value) in entries {
            let form = key_form(&key);
            let part = left.remove(&form).unwrap_or(&Image::Void);
            self.settle_element(place, &form, part, value)?;
        }
        for (form, part) in left {
            self.remove_element(place, form, part);
        }
        Ok(before.size.changed(by))
    }

    fn settle_set(&mut self, place: &Place<'_>, before: &Structure, elements: Vec<Value>) -> Result<Size, EvalError> {
        let mut left: BTreeMap<&Vec<u8>, &Image> = before.present().collect();
        let by = elements.len() as i64 - left.len() as i64;
        for element in elements {
            let form = key_form(&element);
            if left.remove(&form).is_none() {
                self.settle_element(place, &form, &Image::Void, Value::Null)?;
            }
        }
        for (form, part) in left {
            self.remove_element(place, form, part);
        }
        Ok(before.size.changed(by))
    }

    /// Elements at both ends that stayed are not written; of what is between them, and the shorter end if it moves, all.
    fn settle_list(&mut self, place: &Place<'_>, before: &Structure, after: Vec<Value>) -> Result<Size, EvalError> {
        let Size::List { first, .. } = before.size else { return Err(self.of.handle()) };
        if !before.whole {
            // Nothing on the path looks into it.
            return Ok(before.size);
        }
        let parts: Vec<&Image> = before.present().map(|(_, part)| part).collect();
        let mut old = Vec::with_capacity(parts.len());
        for (key, part) in positions(first, parts.len() as u64).zip(&parts) {
            old.push(part.to_value(self.of, &place.element(&key))?.unwrap_or_default());
        }
        let head = old.iter().zip(&after).take_while(|(a, b)| a == b).count();
        let room = old.len().min(after.len()) - head;
        let tail = old.iter().rev().zip(after.iter().rev()).take(room).take_while(|(a, b)| a == b).count();
        let (old_count, count) = (parts.len() as u64, after.len() as u64);
        // Either the front stays and the tail moves, or the other way round.
        let first_after = if head < tail && !place.nests() {
            (first + old_count).checked_sub(count).ok_or_else(|| self.of.handle())?
        } else {
            first
        };
        first_after.checked_add(count).ok_or_else(|| self.of.handle())?;
        let unmoved = |index: usize| {
            if first_after == first && (index < head || old_count == count && index >= after.len() - tail) {
                return true;
            }
            first_after + count == first + old_count && index >= after.len() - tail
        };
        let unmoved: Vec<bool> = (0..after.len()).map(unmoved).collect();
        for (index, (key, value)) in positions(first_after, count).zip(after).enumerate() {
            if unmoved[index] {
                continue;
            }
            let at = (first_after + index as u64).checked_sub(first).filter(|at| *at < old_count);
            let part = at.map_or(&Image::Void, |at| parts[at as usize]);
            self.settle_element(place, &key, part, value)?;
        }
        for (index, part) in parts.iter().enumerate() {
            let position = first + index as u64;
            if position < first_after || position >= first_after + count {
                self.remove_element(place, &position_key(position), part);
            }
        }
        Ok(Size::List { first: first_after, count })
    }
}
