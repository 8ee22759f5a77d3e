//! Writes of an evaluation, gathered until nothing can fail any more; and how structures are removed.

use super::image::{Image, Structure};
use super::{BEHIND, Kind, Place, Shape, Size, prefix_of};
use crate::error::EvalError;
use crate::limit::ERASE_SINGLY_COUNT_MAX;
use crate::row::Of;
use crate::store::Store;
use tantu_base::value::Value;

/// What is to be written, in order.
#[derive(Default, Debug)]
pub(crate) struct Writes {
    list: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Range(Vec<u8>, Vec<u8>),
}

impl Writes {
    pub(crate) fn put(&mut self, of: Of, key: Vec<u8>, value: Vec<u8>) -> Result<(), EvalError> {
        of.check_key_size(&key)?;
        of.check_value_size(&value)?;
        self.list.push(Write::Put(key, value));
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.list.push(Write::Delete(key));
    }

    pub(crate) fn range(&mut self, from: Vec<u8>, to: Vec<u8>) {
        self.list.push(Write::Range(from, to));
    }

    /// Writes all of it.
    pub(crate) fn perform<S: Store + ?Sized>(&self, of: Of, store: &mut S) -> Result<(), EvalError> {
        for write in &self.list {
            match write {
                Write::Put(key, value) => store.put(of.0, key, value)?,
                Write::Delete(key) => store.delete(of.0, key)?,
                Write::Range(from, to) => store.delete_range(of.0, from, to)?,
            }
        }
        Ok(())
    }

    /// Removes every element of the structure at a location, and what is within them.
    pub(crate) fn erase(&mut self, place: &Place<'_>, size: Size) {
        let empty = matches!(size, Size::Tracked(0) | Size::List { count: 0, .. });
        match place.kind() {
            Kind::Structure(_) if empty => {}
            Kind::Structure(_) if place.top => {
                self.range(Vec::new(), vec![BEHIND]);
            }
            _ => self.erase_numbers(place),
        }
    }

    /// The ranges of every structure at or below a location.
    fn erase_numbers(&mut self, place: &Place<'_>) {
        for number in place.number..place.number + place.schema.sub_count() as u16 {
            let from = prefix_of(number, &place.way);
            let mut to = from.clone();
            to.push(BEHIND);
            self.range(from, to);
        }
    }

    /// Removes the structures of a stored value that is removed or replaced, without having read it.
    pub(crate) fn erase_unread(&mut self, place: &Place<'_>) {
        self.erase_numbers(place);
    }

    /// Removes the structures of an image that is removed or replaced.
    pub(crate) fn erase_image(&mut self, place: &Place<'_>, image: &Image) {
        match image {
            Image::Void | Image::Plain(_) => {}
            Image::Structure(structure) => self.erase_structure(place, structure),
            Image::Inline { .. } if image.holds_structure() => self.erase_numbers(place),
            Image::Inline { .. } => {}
        }
    }

    fn erase_structure(&mut self, place: &Place<'_>, structure: &Structure) {
        let few = structure.whole && structure.parts.len() <= ERASE_SINGLY_COUNT_MAX;
        if few && !place.nests() && !place.top {
            let prefix = place.prefix();
            for (key, _) in structure.present() {
                self.delete([&prefix, &key[..]].concat());
            }
        } else {
            self.erase(place, structure.size);
        }
    }

    /// Removes what a stored value that was read but not followed holds.
    pub(crate) fn erase_stored(&mut self, of: Of, place: &Place<'_>, stored: Option<&Value>) -> Result<(), EvalError> {
        match place.kind() {
            Kind::Plain => {}
            Kind::Inline => {
                if stored.is_some_and(|stored| !stored.is_null()) {
                    self.erase_numbers(place);
                }
            }
            Kind::Structure(Shape::Map(..) | Shape::Set | Shape::List) => {
                if let Some(size) = place.size_of(of, stored)? {
                    self.erase(place, size);
                }
            }
        }
        Ok(())
    }
}
