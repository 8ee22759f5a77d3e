//! Aggregators and compound shapes over rows that come as bytes, as a batch block's rows do (AGG-08).

use super::aggregator::Aggregator;
use super::fold::{Fold, Room, TakePartials};
use super::leaf::Leaf;
use super::shape::AggShape;
use crate::arg::Arg;
use crate::error::AggError;
use crate::schema::Schema;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, Value, encoded};

/// A visitor of aggregators: the schema of its place, the keys on the way there, and which way it is.
type VisitLeaf<'v> = &'v mut dyn FnMut(&Leaf, &Schema, &[Arg], &[usize]);

/// Several results over the same rows, each an aggregator or a compound shape, for all rows together or by group.
///
/// Every aggregator of every shape is a [`Fold`] of its own, by the keys of the group and those on the way to it. So a row
/// comes in parts, one for each aggregator ([`ShapedFold::parts`]), and what it holds can be drained and combined part
/// by part, as that of a fold.
///
/// ```
/// use tantu_base::value::{Value, encoded};
/// use tantu_path::agg::{self, AggOn, ShapedFold};
/// use tantu_path::{Map, PStateSchema};
///
/// // A row's keys and arguments are usually vars of a dataflow; here they are constants.
/// let visits: AggOn<Map<String, i64>> = agg::key("ann", agg::sum(5));
/// let mut fold = ShapedFold::new(vec![(visits.shape().clone(), <Map<String, i64>>::schema())], None);
/// let mut key = Vec::new();
/// ShapedFold::put_part(0, &mut key);
/// key.extend(encoded("ann"));
/// for n in [5i64, 6] {
///     fold.step_encoded(&key, &encoded(&n))?;
/// }
/// assert_eq!(fold.seal()?, 1);
/// assert_eq!(Value::decode(fold.results(0)).unwrap(), Value::map([(Value::from("ann"), Value::I64(11))]));
/// # Ok::<(), tantu_path::AggError>(())
/// ```
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
    /// The key of a part without its number.
    key: Vec<u8>,
}

/// One aggregator of several shapes: the keys on the way to it, and its arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct RowPart {
    /// Inside its shape.
    pub keys: Vec<Arg>,
    /// Which aggregator, of which arguments.
    pub leaf: Leaf,
    /// What its place may hold.
    pub schema: Schema,
}

impl ShapedFold {
    /// Over groups of so many keys, or over all rows together.
    pub fn new(outs: Vec<(AggShape, Schema)>, group_key_count: Option<usize>) -> ShapedFold {
        let of = |(at, (shape, schema)): (usize, &(AggShape, Schema))| {
            part_list(shape, schema).into_iter().map(move |part| (at, part))
        };
        let parts = outs.iter().enumerate().flat_map(of).collect();
        let (is_grouped, group_key_count) = (group_key_count.is_some(), group_key_count.unwrap_or_default());
        ShapedFold { outs, parts, group_key_count, is_grouped, size_max: usize::MAX, rows: Vec::new(), key: Vec::new() }
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
        outs.iter().flat_map(of).map(|part| RowPart { keys: part.keys, leaf: part.leaf, schema: part.schema }).collect()
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        let sealed: usize = self.rows.iter().map(|(keys, results)| keys.len() + results.len()).sum();
        self.parts.iter().map(|(_, part)| part.fold.size()).sum::<usize>() + sealed
    }

    /// Parts of rows and partial states taken in since it was made or drained.
    pub fn steps(&self) -> u64 {
        self.parts.iter().map(|(_, part)| part.fold.steps()).sum()
    }

    /// Takes in one part of a row. The key is the keys of the group, the number of the part and the keys on the way, the
    /// arguments are those of the part, all in value form.
    pub fn step_encoded(&mut self, key: &[u8], args: &[u8]) -> Result<Room, AggError> {
        let at = self.split(key)?;
        let room = self.parts[at].1.fold.step_encoded(&self.key, args)?;
        self.room(room)
    }

    /// Takes in the partial state of a part, as [`ShapedFold::drain`] gives it.
    pub fn combine(&mut self, key: &[u8], partial: &[u8]) -> Result<Room, AggError> {
        let at = self.split(key)?;
        let room = self.parts[at].1.fold.combine(&self.key, partial)?;
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

    /// The number of the part; the key without it is noted.
    fn split(&mut self, key: &[u8]) -> Result<usize, AggError> {
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
        self.key.clear();
        self.key.extend_from_slice(&key[..group]);
        self.key.extend_from_slice(&key[reader.position()..]);
        Ok(at)
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

/// One aggregator, the keys on the way to it, and at each branch of the shape which way.
#[derive(Debug)]
struct Part {
    leaf: Leaf,
    schema: Schema,
    keys: Vec<Arg>,
    way: Vec<usize>,
    fold: Fold,
}

/// The aggregators of a shape, in its order.
fn part_list(shape: &AggShape, schema: &Schema) -> Vec<Part> {
    let mut parts = Vec::new();
    visit_leaves(shape, schema, &mut Vec::new(), &mut Vec::new(), &mut |leaf, schema, keys, way| {
        let fold = Fold::by_group(vec![(leaf.clone(), schema.clone())]);
        let (leaf, schema) = (leaf.clone(), schema.clone());
        parts.push(Part { leaf, schema, keys: keys.to_vec(), way: way.to_vec(), fold });
    });
    parts
}

/// A result, combined with what another aggregator left at the same place.
fn result_at(leaf: &Leaf, schema: &Schema, other: Option<&Value>, result: &[u8]) -> Result<Value, AggError> {
    let read = |bytes: &[u8]| Value::decode(bytes).map_err(|source| leaf.aggregator().broken(source));
    let Some(other) = other else { return read(result) };
    let mut both = Vec::new();
    leaf.aggregator().combine(schema, Some(&encoded(other)), result, &mut both)?;
    read(&both)
}

/// What tells places apart: the keys on the way there, and in which element of each list.
fn place_name(mut shape: &AggShape, way: &[usize], key: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut elements = Vec::new();
    for at in way {
        shape = match shape {
            AggShape::Map(arms) => &arms[*at].1,
            AggShape::List(parts) => {
                elements.push(*at);
                &parts[*at]
            }
            AggShape::Leaf(_) => unreachable!("a way ends at its aggregator"),
        };
    }
    (key.to_vec(), elements)
}

/// Visits the aggregators with the schemas of their places.
fn visit_leaves(shape: &AggShape, schema: &Schema, keys: &mut Vec<Arg>, way: &mut Vec<usize>, visit: VisitLeaf<'_>) {
    match shape {
        AggShape::Leaf(leaf) => visit(leaf, schema, keys, way),
        AggShape::Map(arms) => {
            for (at, (key, shape)) in arms.iter().enumerate() {
                keys.push(key.clone());
                way.push(at);
                visit_leaves(shape, below(schema, at), keys, way, visit);
                keys.pop();
                way.pop();
            }
        }
        AggShape::List(parts) => {
            for (at, shape) in parts.iter().enumerate() {
                way.push(at);
                visit_leaves(shape, below(schema, at), keys, way, visit);
                way.pop();
            }
        }
    }
}

/// The schema of a value of a map, or of an element of a list.
fn below(schema: &Schema, at: usize) -> &Schema {
    match schema {
        Schema::Map(_, value) => value,
        Schema::List(of) => of,
        Schema::Tuple(of) => of.get(at).unwrap_or(&Schema::Any),
        _ => &Schema::Any,
    }
}

/// What a shape gives without rows.
fn empty(shape: &AggShape, schema: &Schema) -> Value {
    match shape {
        AggShape::Map(_) => Value::Map(vec![]),
        AggShape::List(parts) => {
            Value::List(parts.iter().enumerate().map(|(at, part)| empty(part, below(schema, at))).collect())
        }
        AggShape::Leaf(leaf) => {
            let mut init = Vec::new();
            leaf.aggregator().init(schema, &mut init);
            Value::decode(&init).expect("invariant: an aggregator starts from a value form")
        }
    }
}

/// The place of an aggregator in a value, made if it is missing; `next` gives the keys on the way.
fn place<'v>(
    value: &'v mut Value,
    shape: &AggShape,
    schema: &Schema,
    way: &[usize],
    next: &mut dyn FnMut() -> Value,
) -> &'v mut Value {
    let Some((at, way)) = way.split_first() else { return value };
    let schema = below(schema, *at);
    match (shape, value) {
        (AggShape::Map(arms), Value::Map(entries)) => {
            let shape = &arms[*at].1;
            let key = next();
            let index = entries.binary_search_by(|(k, _)| k.cmp(&key)).unwrap_or_else(|index| {
                entries.insert(index, (key, empty(shape, schema)));
                index
            });
            place(&mut entries[index].1, shape, schema, way, next)
        }
        (AggShape::List(parts), Value::List(elements)) => place(&mut elements[*at], &parts[*at], schema, way, next),
        _ => unreachable!("the value was made from the shape"),
    }
}
