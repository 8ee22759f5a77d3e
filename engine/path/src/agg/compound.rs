//! Aggregating rows into a compound shape without a PState: a map or list value comes out (AGG-08).

use super::fold::{Fold, Room};
use super::leaf::Leaf;
use super::shape::AggShape;
use crate::arg::{Arg, Args};
use crate::error::AggError;
use crate::schema::Schema;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tantu_base::value::{KeyReader, Value, encoded};

/// A shape over rows. Each aggregator of it is a [`Fold`] by the keys that lead to it, so what holds of folds holds here:
/// memory is counted, partial states can travel, and the outcome does not depend on the order of rows where the
/// aggregators do not.
///
/// ```
/// use tantu_base::value::Value;
/// use tantu_path::agg::{self, AggOn, CompoundFold};
/// use tantu_path::{Map, NoArgs, PStateSchema};
///
/// // A row's keys and arguments are usually vars of a dataflow; here they are constants.
/// let visits: AggOn<Map<String, (i64, i64)>> = agg::key("ann", agg::tuple((agg::count(), agg::sum(5))));
/// let mut fold = CompoundFold::new(visits.shape(), &<Map<String, (i64, i64)>>::schema());
/// fold.step(&NoArgs)?;
/// fold.step(&NoArgs)?;
/// let ann = Value::List(vec![Value::I64(2), Value::I64(10)]);
/// assert_eq!(fold.finish()?, Value::map([(Value::from("ann"), ann)]));
/// # Ok::<(), tantu_path::AggError>(())
/// ```
#[derive(Debug)]
pub struct CompoundFold {
    shape: AggShape,
    schema: Schema,
    parts: Vec<Part>,
}

/// Where a partial state goes: of which aggregator, the keys on the way to it, the state.
pub type TakePartialsAt<'v> = &'v mut dyn FnMut(usize, &[u8], &[u8]) -> Result<(), AggError>;

/// A visitor of aggregators: the schema of its place, the keys on the way there, and which way it is.
type VisitLeaf<'v> = &'v mut dyn FnMut(&Leaf, &Schema, &[Arg], &[usize]);

/// One aggregator, the keys on the way to it, and at each branch of the shape which way.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) leaf: Leaf,
    pub(super) schema: Schema,
    pub(super) keys: Vec<Arg>,
    pub(super) way: Vec<usize>,
    pub(super) fold: Fold,
}

/// The aggregators of a shape, in its order.
pub(super) fn part_list(shape: &AggShape, schema: &Schema) -> Vec<Part> {
    let mut parts = Vec::new();
    visit_leaves(shape, schema, &mut Vec::new(), &mut Vec::new(), &mut |leaf, schema, keys, way| {
        let fold = Fold::by_group(vec![(leaf.clone(), schema.clone())]);
        let (leaf, schema) = (leaf.clone(), schema.clone());
        parts.push(Part { leaf, schema, keys: keys.to_vec(), way: way.to_vec(), fold });
    });
    parts
}

impl CompoundFold {
    /// A shape for a value of this schema.
    pub fn new(shape: &AggShape, schema: &Schema) -> CompoundFold {
        CompoundFold { shape: shape.clone(), schema: schema.clone(), parts: part_list(shape, schema) }
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.fold.size()).sum()
    }

    /// Takes in one row. Full as soon as one of its aggregators is.
    pub fn step<A: Args + ?Sized>(&mut self, args: &A) -> Result<Room, AggError> {
        let mut room = Room::Left;
        for part in &mut self.parts {
            if part.fold.step(&part.keys, args)? == Room::Full {
                room = Room::Full;
            }
        }
        Ok(room)
    }

    /// Gives out partial states and forgets them: of which aggregator of the shape, the keys on the way to it, the state.
    pub fn drain(&mut self, visit: TakePartialsAt<'_>) -> Result<(), AggError> {
        for (at, part) in self.parts.iter_mut().enumerate() {
            part.fold.drain(&mut |key, partial| visit(at, key, partial))?;
        }
        Ok(())
    }

    /// Takes in a partial state that another fold of the same shape gave out.
    ///
    /// # Panics
    /// If the shape has no such aggregator.
    pub fn combine(&mut self, at: usize, key: &[u8], partial: &[u8]) -> Result<Room, AggError> {
        self.parts[at].fold.combine(key, partial)
    }

    /// The value.
    ///
    /// # Errors
    /// If a result does not fit, or if two keys of one map are equal and their aggregators cannot be combined.
    pub fn finish(&mut self) -> Result<Value, AggError> {
        let mut value = empty(&self.shape, &self.schema);
        let mut places = BTreeSet::new();
        for Part { leaf, schema, fold, way, .. } in &mut self.parts {
            let mut failed = None;
            fold.finish(&mut |key, result| {
                let is_new = places.insert(place_name(&self.shape, way, key));
                let mut keys = KeyReader::new(key);
                let mut next = || keys.value().expect("invariant: a group's key has every key of its way");
                let at = place(&mut value, &self.shape, &self.schema, way, &mut next);
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
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(value)
    }
}

/// A result, combined with what another aggregator left at the same place.
pub(super) fn result_at(leaf: &Leaf, schema: &Schema, other: Option<&Value>, result: &[u8]) -> Result<Value, AggError> {
    let read = |bytes: &[u8]| Value::decode(bytes).map_err(|source| leaf.aggregator().broken(source));
    let Some(other) = other else { return read(result) };
    let mut both = Vec::new();
    leaf.aggregator().combine(schema, Some(&encoded(other)), result, &mut both)?;
    read(&both)
}

/// What tells places apart: the keys on the way there, and in which element of each list.
pub(super) fn place_name(mut shape: &AggShape, way: &[usize], key: &[u8]) -> (Vec<u8>, Vec<usize>) {
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
pub(super) fn empty(shape: &AggShape, schema: &Schema) -> Value {
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
pub(super) fn place<'v>(
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
