//! Entries read from a store and kept until all of them are there.
//!
//! Reading first and navigating afterwards is what makes an evaluation repeatable: when a read answers that
//! a block is missing, no closure has run and no visitor has seen a row.

use crate::error::EvalError;
use crate::limit::{GATHER_SIZE_MAX, RETAINED_SIZE_MAX};
use crate::store::Store;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;

/// Entries in one buffer: key form, then value form, one after the other.
#[derive(Default, Debug)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    /// Where each entry's key starts, its value starts, and its value ends.
    places: Vec<(usize, usize, usize)>,
}

/// Where and how much to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch<'a> {
    pub(crate) from: Bound<&'a [u8]>,
    pub(crate) to: Bound<&'a [u8]>,
    pub(crate) count_max: usize,
    /// Stop after the entry that reaches this many bytes.
    pub(crate) size_enough: usize,
    /// Fail at more bytes than this, with what is held already.
    pub(crate) size_max: usize,
    /// Bytes of every key that are left out.
    pub(crate) skip: usize,
}

/// How a read of a stretch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// At the end of the stretch.
    Whole,
    /// At one of its limits; there may be more.
    Limited,
    /// At a missing block, after whole entries.
    Need,
}

impl<'a> Stretch<'a> {
    pub(crate) fn all(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Stretch<'a> {
        Stretch { from, to, count_max: usize::MAX, size_enough: usize::MAX, size_max: GATHER_SIZE_MAX, skip: 0 }
    }

    /// Bounds that cross hold nothing, and a store need not know what to do with them.
    fn is_empty(&self) -> bool {
        let (Bound::Included(from) | Bound::Excluded(from)) = self.from else { return false };
        match self.to {
            Bound::Unbounded => false,
            Bound::Excluded(to) => from >= to,
            Bound::Included(to) => from > to || (from == to && matches!(self.from, Bound::Excluded(_))),
        }
    }
}

impl Rows {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Forgets everything and keeps no more memory than a scratch may.
    pub(crate) fn release(&mut self) {
        self.clear();
        self.bytes.shrink_to(RETAINED_SIZE_MAX);
        self.places.shrink_to(RETAINED_SIZE_MAX / size_of::<(usize, usize, usize)>());
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Bytes held.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Entries in the order read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|&(key, value, end)| (&self.bytes[key..value], &self.bytes[value..end]))
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.places.push((start, middle, self.bytes.len()));
    }

    /// Adds the entries of a stretch, up to the first missing block.
    pub(crate) fn read<S: Store + ?Sized>(
        &mut self,
        store: &mut S,
        object: ObjectId,
        stretch: Stretch<'_>,
    ) -> Result<Read, EvalError> {
        if stretch.is_empty() || stretch.count_max == 0 {
            return Ok(Read::Whole);
        }
        let (count, size) = (self.count(), self.size());
        let (mut limited, mut too_much) = (false, false);
        let scanned = store.scan(object, stretch.from, stretch.to, &mut |key, value| {
            if self.size() + key.len() + value.len() > stretch.size_max {
                too_much = true;
                return ControlFlow::Break(());
            }
            self.push(&key[stretch.skip..], value);
            limited = self.count() - count >= stretch.count_max || self.size() - size >= stretch.size_enough;
            if limited { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match (scanned.map_err(EvalError::from), too_much, limited) {
            (_, true, _) => Err(EvalError::TooMuch { object }),
            (Err(EvalError::Need), ..) => Ok(Read::Need),
            (Err(error), ..) => Err(error),
            (Ok(()), _, true) => Ok(Read::Limited),
            (Ok(()), _, false) => Ok(Read::Whole),
        }
    }

    /// [`Rows::read`] of a stretch that must be read to its end or limit.
    pub(crate) fn read_fully<S: Store + ?Sized>(
        &mut self,
        store: &mut S,
        object: ObjectId,
        stretch: Stretch<'_>,
    ) -> Result<Read, EvalError> {
        match self.read(store, object, stretch)? {
            Read::Need => Err(EvalError::Need),
            read => Ok(read),
        }
    }

    /// Adds the last `count` entries of a stretch, ascending.
    pub(crate) fn read_last<S: Store + ?Sized>(
        &mut self,
        store: &mut S,
        object: ObjectId,
        stretch: Stretch<'_>,
        count: usize,
    ) -> Result<(), EvalError> {
        if stretch.is_empty() || count == 0 {
            return Ok(());
        }
        let (before, size) = (self.count(), self.size());
        let mut too_much = false;
        let scanned = store.scan_back(object, stretch.from, stretch.to, &mut |key, value| {
            too_much = self.size() + key.len() + value.len() > stretch.size_max;
            if too_much {
                return ControlFlow::Break(());
            }
            self.push(&key[stretch.skip..], value);
            if self.count() - before == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Err(stop) = scanned {
            self.places.truncate(before);
            self.bytes.truncate(size);
            return Err(stop.into());
        }
        if too_much {
            return Err(EvalError::TooMuch { object });
        }
        self.places[before..].reverse();
        Ok(())
    }
}
