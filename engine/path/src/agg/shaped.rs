//! Aggregators and compound shapes over rows that come as bytes, as a batch block's rows do (AGG-08).

use super::aggregator::Aggregator;
use super::compound::{Part, empty, part_list, place, place_name, result_at};
use super::fold::{Room, TakePartials};
use super::leaf::Leaf;
use super::shape::AggShape;
use crate::arg::Arg;
use crate::error::AggError;
use crate::schema::Schema;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, Value, encoded};

/// Several results over the same rows, each an aggregator or a compound shape, for all rows together or by group.
///
/// Every aggregator of every shape is a [`Fold`](super::Fold) of its own, by the keys of the group and those on the way to it. So a row
/// comes in parts, one for each aggregator ([`ShapedFold::parts`]), and what it holds can be drained and combined part
/// by part, as that of a fold.
#[derive(Debug)]
pub struct ShapedFold {
    /// By result: its shape and what it is to be.
    outs: Vec<(AggShape, Schema)>,
    /// Each with the result it is of.
    parts: Vec<(usize, Part)>,
    group_key_count: usize,
    is_grouped: bool,
    size_max: usize,
    /// By group, when it is sealed: its keys and its results, in value form.
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One aggregator of several shapes: the keys on the way to it, and its arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct RowPart {
    /// Inside its shape.
    pub keys: Vec<Arg>,
    /// Which aggregator, of which arguments.
    pub leaf: Leaf,
}

impl ShapedFold {
    /// Over groups of so many keys, or over all rows together.
    pub fn new(outs: Vec<(AggShape, Schema)>, group_key_count: Option<usize>) -> ShapedFold {
        let of = |(at, (shape, schema)): (usize, &(AggShape, Schema))| {
            part_list(shape, schema).into_iter().map(move |part| (at, part))
        };
        let parts = outs.iter().enumerate().flat_map(of).collect();
        let (is_grouped, group_key_count) = (group_key_count.is_some(), group_key_count.unwrap_or_default());
        ShapedFold { outs, parts, group_key_count, is_grouped, size_max: usize::MAX, rows: Vec::new() }
    }

    /// Sets how many bytes it may hold.
    pub fn limit(mut self, size_max: usize) -> ShapedFold {
        self.size_max = size_max;
        for (_, part) in &mut self.parts {
            part.fold.set_limit(size_max);
        }
        self
    }

    /// The parts of a row, in the order in which their numbers count.
    pub fn parts(outs: &[(AggShape, Schema)]) -> Vec<RowPart> {
        let of = |(shape, schema): &(AggShape, Schema)| part_list(shape, schema);
        outs.iter().flat_map(of).map(|part| RowPart { keys: part.keys, leaf: part.leaf }).collect()
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        let sealed: usize = self.rows.iter().map(|(keys, results)| keys.len() + results.len()).sum();
        self.parts.iter().map(|(_, part)| part.fold.size()).sum::<usize>() + sealed
    }

    /// Takes in one part of a row. The key is the keys of the group, the number of the part and the keys on the way, the
    /// arguments are those of the part, all in value form.
    pub fn step_encoded(&mut self, key: &[u8], args: &[u8]) -> Result<Room, AggError> {
        let (at, key) = self.split(key)?;
        let room = self.parts[at].1.fold.step_encoded(&key, args)?;
        self.room(room)
    }

    /// Takes in the partial state of a part, as [`ShapedFold::drain`] gives it.
    pub fn combine(&mut self, key: &[u8], partial: &[u8]) -> Result<Room, AggError> {
        let (at, key) = self.split(key)?;
        let room = self.parts[at].1.fold.combine(&key, partial)?;
        self.room(room)
    }

    fn room(&self, of_part: Room) -> Result<Room, AggError> {
        if of_part == Room::Full || self.size() <= self.size_max {
            return Ok(of_part);
        }
        match self.parts.iter().all(|(_, part)| part.leaf.aggregator().is_combiner()) {
            true => Ok(Room::Full),
            false => Err(AggError::Memory { limit: self.size_max }),
        }
    }

    /// The number of the part, and the key without it.
    fn split(&self, key: &[u8]) -> Result<(usize, Vec<u8>), AggError> {
        let broken = |source: DecodeError| Aggregator::Count.broken(source);
        let mut reader = Reader::new(key);
        for _ in 0..self.group_key_count {
            reader.skip().map_err(broken)?;
        }
        let group = reader.position();
        let at = u64::decode(&mut reader).map_err(broken)?;
        let at = usize::try_from(at).ok().filter(|at| *at < self.parts.len());
        let at =
            at.ok_or_else(|| broken(DecodeError::OutOfRange { offset: group, expected: "the number of a part" }))?;
        let mut rest = key[..group].to_vec();
        rest.extend_from_slice(&key[reader.position()..]);
        Ok((at, rest))
    }

    /// Appends the number of a part to a key whose group is there already; the keys on the way follow it.
    pub fn put_part(at: usize, key: &mut Vec<u8>) {
        (at as u64).encode(key);
    }

    /// Gives out partial states and forgets them.
    ///
    /// # Errors
    /// What `visit` answers, and if an aggregator is no combiner.
    pub fn drain(&mut self, visit: TakePartials<'_>) -> Result<(), AggError> {
        let group_key_count = self.group_key_count;
        for (at, (_, part)) in self.parts.iter_mut().enumerate() {
            part.fold.drain(&mut |key, partial| {
                let group = skip_values(key, group_key_count);
                let mut whole = key[..group].to_vec();
                ShapedFold::put_part(at, &mut whole);
                whole.extend_from_slice(&key[group..]);
                visit(&whole, partial)
            })?;
        }
        Ok(())
    }

    /// Ends the steps: answers how many groups there are; without groups there is one, also without a row.
    ///
    /// # Errors
    /// If a result does not fit, or if two keys of one map are equal and their aggregators cannot be combined.
    pub fn seal(&mut self) -> Result<usize, AggError> {
        let fresh = || self.outs.iter().map(|(shape, schema)| empty(shape, schema)).collect::<Vec<Value>>();
        let mut groups: BTreeMap<Vec<u8>, (Vec<Value>, BTreeSet<_>)> = BTreeMap::new();
        if !self.is_grouped {
            groups.insert(Vec::new(), (fresh(), BTreeSet::new()));
        }
        for (out, Part { leaf, schema, fold, way, .. }) in &mut self.parts {
            let (shape, of_shape) = &self.outs[*out];
            let mut failed = None;
            fold.finish(&mut |key, result| {
                let group = skip_values(key, self.group_key_count);
                let (results, places) =
                    groups.entry(key[..group].to_vec()).or_insert_with(|| (fresh(), BTreeSet::new()));
                let mut keys = Reader::new(&key[group..]);
                let mut next = || keys.skip().and_then(Value::decode).expect("invariant: a group has every key");
                let is_new = places.insert((*out, place_name(shape, way, &key[group..])));
                let at = place(&mut results[*out], shape, of_shape, way, &mut next);
                match result_at(leaf, schema, if is_new { None } else { Some(&*at) }, result) {
                    Ok(result) => {
                        *at = result;
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            fold.clear();
            if let Some(error) = failed {
                return Err(error);
            }
        }
        let row = |(key, (results, _)): (Vec<u8>, (Vec<Value>, _))| (key, results.iter().flat_map(encoded).collect());
        self.rows = groups.into_iter().map(row).collect();
        Ok(self.rows.len())
    }

    /// The keys of a group of a sealed fold, in value form.
    pub fn key(&self, index: usize) -> &[u8] {
        &self.rows[index].0
    }

    /// The results of a group of a sealed fold, in value form.
    pub fn results(&self, index: usize) -> &[u8] {
        &self.rows[index].1
    }
}

/// Where so many values end.
fn skip_values(bytes: &[u8], count: usize) -> usize {
    let mut reader = Reader::new(bytes);
    for _ in 0..count {
        reader.skip().expect("invariant: a group has every key");
    }
    reader.position()
}
