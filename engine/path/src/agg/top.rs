//! The two aggregators that keep the best: `top_monotonic` of values with ids, `limit` of rows.
//!
//! Both append until they hold twice what they keep, and only then sort and cut: a step costs a copy, and a sort
//! of 2n is paid once in n steps. Ties are decided by the bytes of what is kept, so the outcome does not depend on
//! the order of arrival.

use crate::func::Func;
use crate::interpose::Before;
use std::collections::BTreeSet;
use tantu_base::value::{DecodeError, Reader, put_bytes, put_i64, put_list_header, value_to_key};

/// Keeps the values with the best sort values, one per id (AGG-13). Right as long as the sort value of each id only
/// ever gets better.
#[derive(Clone, PartialEq, Debug)]
pub struct TopMonotonic {
    count: usize,
    id: Option<Func>,
    sort_val: Option<Func>,
    ascending: bool,
}

impl TopMonotonic {
    /// The `count` greatest values; each is its own id.
    ///
    /// # Panics
    /// If `count` is 0.
    #[track_caller]
    pub fn new(count: usize) -> TopMonotonic {
        assert!(count > 0, "a top of nothing");
        TopMonotonic { count, id: None, sort_val: None, ascending: false }
    }

    /// What of a value says whose it is.
    pub fn id(mut self, id: Func) -> TopMonotonic {
        self.id = Some(id);
        self
    }

    /// What of a value it is sorted by.
    pub fn sort_val(mut self, sort_val: Func) -> TopMonotonic {
        self.sort_val = Some(sort_val);
        self
    }

    /// The least are the best.
    pub fn ascending(mut self) -> TopMonotonic {
        self.ascending = true;
        self
    }

    /// Has `before` called ahead of its closures.
    pub(super) fn interpose(&mut self, before: &Before) {
        self.id.iter_mut().chain(&mut self.sort_val).for_each(|func| func.interpose(before));
    }

    /// From how many elements on a list is cut.
    pub(super) fn cut_count(&self) -> usize {
        self.count.saturating_mul(2)
    }

    /// Sorts elements that lie one after the other, leaves one per id, the best first, and cuts. Answers how many
    /// are left.
    pub(super) fn cut(&self, elements: &mut Vec<u8>, count: usize) -> Result<usize, DecodeError> {
        let mut sorted = Vec::with_capacity(count);
        let mut reader = Reader::new(elements);
        for _ in 0..count {
            let element = reader.skip()?;
            sorted.push((key_of(self.sort_val.as_ref(), element)?, element));
        }
        sorted.sort_unstable_by(|a, b| {
            let by_sort_val = if self.ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) };
            by_sort_val.then_with(|| a.1.cmp(b.1))
        });
        let mut ids = BTreeSet::new();
        let mut kept = Vec::new();
        for (_, element) in sorted {
            if ids.len() < self.count && ids.insert(key_of(self.id.as_ref(), element)?) {
                kept.extend_from_slice(element);
            }
        }
        *elements = kept;
        Ok(ids.len())
    }
}

/// The key form of what a closure answers for an element, or of the element.
fn key_of(func: Option<&Func>, element: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut key = Vec::new();
    match func {
        None => value_to_key(element, &mut key)?,
        Some(func) => {
            let mut answer = Vec::new();
            func.call(element, &[], &mut answer)?;
            value_to_key(&answer, &mut key)?;
        }
    }
    Ok(key)
}

/// Keeps some of the rows (AGG-14): the first seen, or the first in the order of some values.
#[derive(Clone, PartialEq, Debug)]
pub struct Limit {
    count: usize,
    sort_count: usize,
    kept_count: usize,
    reverse: bool,
    index: bool,
}

impl Limit {
    /// Keeps `count` rows of `kept_count` values. The arguments of a step are first the values to sort by, then those
    /// that are kept.
    pub fn new(count: usize, kept_count: usize) -> Limit {
        Limit { count, sort_count: 0, kept_count, reverse: false, index: false }
    }

    /// Sorts by so many values, ascending; what is sorted by need not be kept.
    pub fn sort(mut self, sort_count: usize) -> Limit {
        self.sort_count = sort_count;
        self
    }

    /// Sorts descending.
    pub fn reverse(mut self) -> Limit {
        self.reverse = true;
        self
    }

    /// Adds to each row that comes out its number, from 0.
    pub fn index(mut self) -> Limit {
        self.index = true;
        self
    }

    /// How many values one step takes.
    pub(super) fn arg_count(&self) -> usize {
        self.sort_count + self.kept_count
    }

    /// Whether a fold that holds `count` rows needs another.
    pub(super) fn wants(&self, count: usize) -> bool {
        self.sort_count > 0 || count < self.count
    }

    /// Whether a fold that holds `count` rows must be cut now.
    pub(super) fn is_over(&self, count: usize) -> bool {
        self.sort_count > 0 && count > self.count.saturating_mul(2).max(16)
    }

    /// Appends a row as a fold keeps it: `[sort key, [kept values]]`.
    pub(super) fn put_row(&self, args: &[u8], key: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(args);
        key.clear();
        for _ in 0..self.sort_count {
            value_to_key(reader.skip()?, key)?;
        }
        put_list_header(out, 2);
        put_bytes(out, key);
        put_list_header(out, self.kept_count);
        out.extend_from_slice(reader.rest());
        Ok(())
    }

    /// Sorts and cuts rows that lie one after the other. Answers how many are left.
    pub(super) fn cut(&self, rows: &mut Vec<u8>, count: usize) -> Result<usize, DecodeError> {
        let mut sorted = Vec::with_capacity(count);
        let mut reader = Reader::new(rows);
        for _ in 0..count {
            let start = reader.position();
            let (key, kept) = read_row(&mut reader)?;
            sorted.push((key, kept, reader.since(start)));
        }
        if self.sort_count > 0 {
            sorted.sort_unstable_by(|a, b| {
                if self.reverse { (b.0, b.1).cmp(&(a.0, a.1)) } else { (a.0, a.1).cmp(&(b.0, b.1)) }
            });
        }
        sorted.truncate(self.count);
        let left = sorted.len();
        *rows = sorted.iter().flat_map(|(_, _, row)| row.iter().copied()).collect();
        Ok(left)
    }

    /// Writes cut rows as a list of rows: the kept values, and the row's number if that is wanted.
    pub(super) fn finish(&self, rows: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        put_list_header(out, count);
        let mut reader = Reader::new(rows);
        for number in 0..count {
            let (_, kept) = read_row(&mut reader)?;
            if !self.index {
                out.extend_from_slice(kept);
                continue;
            }
            let mut row = Reader::new(kept);
            row.list()?;
            put_list_header(out, self.kept_count + 1);
            out.extend_from_slice(row.rest());
            put_i64(out, number as i64);
        }
        Ok(())
    }
}

/// The sort key and the list of kept values.
fn read_row<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    reader.list()?;
    let key = reader.bytes()?;
    Ok((key, reader.skip()?))
}
