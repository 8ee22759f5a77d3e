//! Aggregation: what to fold in, and where in a PState.
//!
//! An [`Aggregator`] says how rows become one value, a [`Leaf`] gives it arguments, an [`AggShape`] says where in a PState
//! its states are; a [`Fold`] aggregates without a PState. The typed builders are the functions of this module.
//!
//! The common case, one aggregator under one top-level key, is a get, a step on bytes and a put, with no value tree and
//! no allocation once the buffers have grown. Deeper shapes decode the entry, update it and write it back. All reads come
//! before all writes; nothing is written if anything fails.

mod aggregator;
mod capture;
mod custom;
mod fold;
mod group;
mod leaf;
mod live;
mod number;
mod shape;
mod shaped;
mod slots;
mod top;
mod typed;
mod typed_leaf;

pub use aggregator::Aggregator;
pub use capture::Captured;
pub use custom::{Arguments, Custom};
pub use fold::{Fold, Room, TakePartials};
pub use leaf::Leaf;
pub use shape::AggShape;
pub use shaped::{RowPart, ShapedFold};
pub use top::{Limit, TopMonotonic};
pub use typed::{AggOn, AggOut, AggShapes, elements, key, sub, tuple, untracked};
pub use typed_leaf::{
    Accumulator, AnyArg, AnyArgs, Combiner, Counted, Indexed, LeafArgs, Limited, NumberArg, Summed, Top, Truthy,
    accumulator, and, average, combiner, count, first, last, limit, list, map, max, merge, min, multi_set, or, set,
    set_remove, sum, top_monotonic, void,
};

use crate::arg::{Arg, Args};
use crate::error::{AggError, EvalError};
use crate::partition::check_new_key;
use crate::path::{Nav, Path};
use crate::row::{NULL_FORM, Of};
use crate::schema::Schema;
use crate::scratch::Scratch;
use crate::show::type_name;
use crate::store::Store;
use crate::structure::change;
use crate::walk::{check_depth, put_key_form, put_value_form};
use live::{Form, Live};
use std::collections::BTreeMap;
use tantu_base::id::ObjectId;
use tantu_base::value::{Value, key_to_value};

/// Folds the shape's arguments into a partition.
///
/// When this answers [`EvalError::Need`], or fails, nothing was written. An integer that would overflow its
/// type is an error, never a wrap.
pub fn aggregate<S: Store + ?Sized, A: Args + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    shape: &AggShape,
    store: &mut S,
    args: &A,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    Evaluation { of: Of(object), args, scratch, captured: None }.run(schema, shape, store)
}

/// [`aggregate`], and says what it changed. For shapes that pass [`AggShape::check_capture`].
pub fn aggregate_capturing<S: Store + ?Sized, A: Args + ?Sized>(
    schema: &Schema,
    object: ObjectId,
    shape: &AggShape,
    store: &mut S,
    args: &A,
    scratch: &mut Scratch,
    captured: &mut Captured,
) -> Result<(), EvalError> {
    captured.clear();
    Evaluation { of: Of(object), args, scratch, captured: Some(captured) }.run(schema, shape, store)
}

/// The places a shape folds into, as a path to them.
fn touched(shape: &AggShape) -> Vec<Nav> {
    let AggShape::Map(arms) = shape else { return vec![] };
    let under = |(key, shape): &(Arg, AggShape)| {
        let mut path = Path::new().key(key.clone());
        path.navs.extend(touched(shape));
        path
    };
    Path::new().multi_path(arms.iter().map(under)).navs
}

/// Arguments of any kind as those of a known size.
struct ByRef<'a, A: ?Sized>(&'a A);

impl<A: Args + ?Sized> Args for ByRef<'_, A> {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        self.0.value(slot, out);
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        self.0.key(slot, out);
    }
}

/// One aggregation into a partition.
struct Evaluation<'a, A: ?Sized> {
    of: Of,
    args: &'a A,
    scratch: &'a mut Scratch,
    captured: Option<&'a mut Captured>,
}

impl<A: Args + ?Sized> Evaluation<'_, A> {
    fn run<S: Store + ?Sized>(&mut self, schema: &Schema, shape: &AggShape, store: &mut S) -> Result<(), EvalError> {
        let of = self.of;
        if schema.has_sub() {
            let (args, plain) = (ByRef(self.args), schema.unwrapped());
            return change::update(of, schema, &touched(shape), store, &args, &mut |at| {
                self.update(shape, at, &plain).map_err(|source| of.agg(source))
            });
        }
        match (schema, shape) {
            (Schema::Map(key_schema, value_schema), AggShape::Map(arms)) => match &arms[..] {
                [(key, AggShape::Leaf(leaf))] => self.entry((key_schema, value_schema), key, leaf, store),
                _ => self.entries((key_schema, value_schema), arms, store),
            },
            (Schema::Map(key_schema, value_schema), AggShape::Leaf(leaf)) => {
                self.whole_map(schema, (key_schema, value_schema), leaf, store)
            }
            (Schema::Map(..), AggShape::List(_)) => {
                Err(of.agg(AggError::Shape { wanted: shape.wants(), found: "map".to_owned() }))
            }
            _ => {
                let found = store.get(of.0, &[], &mut self.scratch.value)?;
                let at = if found { Some(of.decode(&self.scratch.value)?) } else { None };
                let value = self.update(shape, at, schema).map_err(|source| of.agg(source))?;
                let value = value.ok_or(of.agg(AggError::VoidAtTop))?;
                check_depth(&value).map_err(|source| of.path(source))?;
                schema.check(&value).map_err(|misfit| of.schema(None, misfit))?;
                let out = &mut self.scratch.out;
                out.clear();
                value.encode(out);
                of.check_value_size(out)?;
                Ok(store.put(of.0, &[], out)?)
            }
        }
    }

    /// One leaf under one top-level key, on bytes.
    fn entry<S: Store + ?Sized>(
        &mut self,
        (key_schema, value_schema): (&Schema, &Schema),
        key: &Arg,
        leaf: &Leaf,
        store: &mut S,
    ) -> Result<(), EvalError> {
        let of = self.of;
        let Scratch { key: key_form, value, out, arg, .. } = &mut *self.scratch;
        key_form.clear();
        put_key_form(key, self.args, key_form);
        of.check_key_size(key_form)?;
        let found = store.get(of.0, key_form, value)?;
        if !found {
            arg.clear();
            key_to_value(key_form, arg).map_err(|source| of.stored(source))?;
            check_new_key(of, key_schema, arg)?;
        }
        leaf.step(value_schema, found.then_some(&value[..]), self.args, arg, out).map_err(|source| of.agg(source))?;
        if let Some(captured) = &mut self.captured {
            captured.key.extend_from_slice(key_form);
            captured.values.extend_from_slice(if out.is_empty() { NULL_FORM } else { out });
        }
        if out.is_empty() {
            return if found { Ok(store.delete(of.0, key_form)?) } else { Ok(()) };
        }
        of.check_value(value_schema, &|| of.decode_key(key_form).map(Some), out)?;
        Ok(store.put(of.0, key_form, out)?)
    }

    /// Any shape under top-level keys.
    fn entries<S: Store + ?Sized>(
        &mut self,
        (key_schema, value_schema): (&Schema, &Schema),
        arms: &[(Arg, AggShape)],
        store: &mut S,
    ) -> Result<(), EvalError> {
        let of = self.of;
        let mut entries: BTreeMap<Vec<u8>, (bool, Option<Value>)> = BTreeMap::new();
        let mut keys = Vec::with_capacity(arms.len());
        for (key, _) in arms {
            let mut key_form = Vec::new();
            put_key_form(key, self.args, &mut key_form);
            of.check_key_size(&key_form)?;
            if !entries.contains_key(&key_form) {
                let found = store.get(of.0, &key_form, &mut self.scratch.value)?;
                if !found {
                    of.check_key(key_schema, &of.decode_key(&key_form)?)?;
                }
                let value = if found { Some(of.decode(&self.scratch.value)?) } else { None };
                entries.insert(key_form.clone(), (found, value));
            }
            keys.push(key_form);
        }
        for ((_, shape), key) in arms.iter().zip(&keys) {
            let (_, at) = entries.get_mut(key).expect("invariant: every arm's key was gathered");
            if let Some(captured) = &mut self.captured {
                captured.key.extend_from_slice(key);
            }
            let value = at.take();
            *at = self.update(shape, value, value_schema).map_err(|source| of.agg(source))?;
        }
        let mut changes = Vec::with_capacity(entries.len());
        for (key, (found, value)) in entries {
            match value {
                Some(value) => changes.push((encoded_entry(of, value_schema, &key, &value)?, key)),
                None if found => changes.push((Vec::new(), key)),
                None => {}
            }
        }
        for (value, key) in changes {
            if value.is_empty() { store.delete(of.0, &key)? } else { store.put(of.0, &key, &value)? }
        }
        Ok(())
    }

    /// An aggregator whose state is a map, into a partition that is one: the entries it touches, and no others.
    fn whole_map<S: Store + ?Sized>(
        &mut self,
        schema: &Schema,
        (key_schema, value_schema): (&Schema, &Schema),
        leaf: &Leaf,
        store: &mut S,
    ) -> Result<(), EvalError> {
        let of = self.of;
        let aggregator = leaf.aggregator();
        if aggregator.form() != Form::Map {
            return Err(of.agg(AggError::Shape { wanted: leaf.name(), found: "map".to_owned() }));
        }
        let Scratch { value, out, arg, .. } = &mut *self.scratch;
        leaf.read_args(self.args, arg);
        let mut live = Live::new(Form::Map);
        live.absorb(aggregator, schema, arg, leaf.takes_partial(), out).map_err(|source| of.agg(source))?;
        let Live::Map { entries, .. } = live else { unreachable!("made as a map") };
        let mut changes = Vec::with_capacity(entries.len());
        for (key, mut new) in entries {
            of.check_key_size(&key)?;
            of.check_key(key_schema, &of.decode_key(&key)?)?;
            if *aggregator == Aggregator::MultiSet && store.get(of.0, &key, value)? {
                Aggregator::Sum.step(value_schema, Some(value), &new, out).map_err(|source| of.agg(source))?;
                new.clone_from(out);
            }
            of.check_value(value_schema, &|| of.decode_key(&key).map(Some), &new)?;
            changes.push((key, new));
        }
        for (key, value) in changes {
            store.put(of.0, &key, &value)?;
        }
        Ok(())
    }

    /// What a decoded place becomes; void is `None`.
    fn update(&mut self, shape: &AggShape, at: Option<Value>, schema: &Schema) -> Result<Option<Value>, AggError> {
        let misfit = |found: &Value| AggError::Shape { wanted: shape.wants(), found: type_name(found).to_owned() };
        match (shape, at) {
            (AggShape::Leaf(leaf), at) => self.step(leaf, at, schema),
            (AggShape::Map(arms), at @ (None | Some(Value::Null))) => {
                let entries = self.update_map(arms, vec![], schema)?;
                Ok(if entries.is_empty() { at } else { Some(Value::Map(entries)) })
            }
            (AggShape::Map(arms), Some(Value::Map(entries))) => {
                Ok(Some(Value::Map(self.update_map(arms, entries, schema)?)))
            }
            (AggShape::List(parts), at @ (None | Some(Value::Null))) => {
                let elements = self.update_list(parts, parts.iter().map(|_| None).collect(), schema)?;
                Ok(if elements.is_empty() { at } else { Some(Value::List(elements)) })
            }
            (AggShape::List(parts), Some(Value::List(elements))) if elements.len() == parts.len() => {
                let elements = elements.into_iter().map(Some).collect();
                Ok(Some(Value::List(self.update_list(parts, elements, schema)?)))
            }
            (_, at) => Err(misfit(&at.unwrap_or(Value::Null))),
        }
    }

    fn update_map(
        &mut self,
        arms: &[(Arg, AggShape)],
        mut entries: Vec<(Value, Value)>,
        schema: &Schema,
    ) -> Result<Vec<(Value, Value)>, AggError> {
        let below = if let Schema::Map(_, value) = schema { value } else { &Schema::Any };
        for (key, shape) in arms {
            let key = self.argument(key)?;
            match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
                Ok(index) => {
                    let at = std::mem::take(&mut entries[index].1);
                    match self.update(shape, Some(at), below)? {
                        Some(value) => entries[index].1 = value,
                        None => drop(entries.remove(index)),
                    }
                }
                Err(index) => {
                    if let Some(value) = self.update(shape, None, below)? {
                        entries.insert(index, (key, value));
                    }
                }
            }
        }
        Ok(entries)
    }

    fn update_list(
        &mut self,
        parts: &[AggShape],
        elements: Vec<Option<Value>>,
        schema: &Schema,
    ) -> Result<Vec<Value>, AggError> {
        let mut became = Vec::with_capacity(parts.len());
        for (index, (part, element)) in parts.iter().zip(elements).enumerate() {
            let below = match schema {
                Schema::List(of) => of,
                Schema::Tuple(of) => of.get(index).unwrap_or(&Schema::Any),
                _ => &Schema::Any,
            };
            became.extend(self.update(part, element, below)?);
        }
        Ok(became)
    }

    fn step(&mut self, leaf: &Leaf, at: Option<Value>, schema: &Schema) -> Result<Option<Value>, AggError> {
        let Scratch { value, out, arg, .. } = &mut *self.scratch;
        value.clear();
        if let Some(at) = &at {
            at.encode(value);
        }
        leaf.step(schema, at.is_some().then_some(&value[..]), self.args, arg, out)?;
        if let Some(captured) = &mut self.captured {
            captured.values.extend_from_slice(if out.is_empty() { NULL_FORM } else { out });
        }
        if out.is_empty() {
            return Ok(None);
        }
        Value::decode(out).map(Some).map_err(|source| leaf.aggregator().broken(source))
    }

    /// A key on the way inwards.
    fn argument(&mut self, arg: &Arg) -> Result<Value, AggError> {
        let bytes = &mut self.scratch.arg;
        bytes.clear();
        put_value_form(arg, self.args, bytes);
        let value = Value::decode(bytes).expect("invariant: an argument writes one value form");
        if let Some(captured) = &mut self.captured {
            value.encode_key(&mut captured.key);
        }
        Ok(value)
    }
}

/// The bytes of an entry that fits.
fn encoded_entry(of: Of, schema: &Schema, key: &[u8], value: &Value) -> Result<Vec<u8>, EvalError> {
    let mut bytes = Vec::new();
    check_depth(value).map_err(|source| of.path(source))?;
    schema.check(value).map_err(|misfit| {
        let key = Value::decode_key(key).ok();
        of.schema(key.as_ref(), misfit)
    })?;
    value.encode(&mut bytes);
    of.check_value_size(&bytes)?;
    Ok(bytes)
}

impl Of {
    fn agg(self, source: AggError) -> EvalError {
        EvalError::Agg { object: self.0, source }
    }
}
