//! Compound aggregation: a tree that says where in a PState to go and what to fold in there.
//!
//! The common case, one aggregator under one top-level key, is a get, an addition on bytes and a put, with no
//! value tree and no allocation once the buffers have grown. Deeper shapes decode the entry, update it and
//! write it back. All reads come before all writes; nothing is written if anything fails.

mod leaf;
mod typed;

pub use leaf::Leaf;
pub use typed::{AggOn, Counted, Summed, count, key, sum};

use crate::arg::{Arg, Args};
use crate::error::{AggError, EvalError};
use crate::partition::check_new_key;
use crate::path::{Nav, Path};
use crate::row::Of;
use crate::schema::Schema;
use crate::scratch::Scratch;
use crate::show::type_name;
use crate::store::Store;
use crate::structure::change;
use crate::walk::{check_depth, put_key_form, put_value_form};
use std::collections::BTreeMap;
use tantu_base::id::ObjectId;
use tantu_base::value::{Value, key_to_value};

/// Where to go and what to do there.
#[derive(Clone, PartialEq, Debug)]
pub enum AggShape {
    /// In a map, under each key its own shape; a missing key is created.
    Map(Vec<(Arg, AggShape)>),
    /// In a list of exactly as many elements, at each its own shape; a missing list is created.
    List(Vec<AggShape>),
    /// Fold in one argument.
    Leaf(Leaf),
}

impl AggShape {
    /// Under one key of a map.
    pub fn key(key: impl Into<Arg>, shape: AggShape) -> AggShape {
        AggShape::Map(vec![(key.into(), shape)])
    }

    /// How many times this was aggregated.
    pub fn count() -> AggShape {
        AggShape::Leaf(Leaf::Count)
    }

    /// The sum of the arguments.
    pub fn sum(argument: impl Into<Arg>) -> AggShape {
        AggShape::Leaf(Leaf::Sum(argument.into()))
    }

    /// The top-level key of a shape with one, for routing.
    pub fn leading_key(&self) -> Option<&Arg> {
        match self {
            AggShape::Map(arms) if arms.len() == 1 => Some(&arms[0].0),
            _ => None,
        }
    }

    /// Calls `visit` with every slot the shape reads.
    pub fn each_slot(&self, visit: &mut dyn FnMut(u32)) {
        let mut see = |arg: &Arg| {
            if let Arg::Slot(slot) = arg {
                visit(*slot);
            }
        };
        match self {
            AggShape::Map(arms) => arms.iter().for_each(|(key, shape)| {
                if let Arg::Slot(slot) = key {
                    visit(*slot);
                }
                shape.each_slot(visit);
            }),
            AggShape::List(parts) => parts.iter().for_each(|shape| shape.each_slot(visit)),
            AggShape::Leaf(leaf) => leaf.argument().into_iter().for_each(&mut see),
        }
    }

    /// The same shape with its slots renumbered.
    pub fn map_slots(&self, rename: &mut dyn FnMut(u32) -> u32) -> AggShape {
        match self {
            AggShape::Map(arms) => {
                AggShape::Map(arms.iter().map(|(key, shape)| (renamed(key, rename), shape.map_slots(rename))).collect())
            }
            AggShape::List(parts) => AggShape::List(parts.iter().map(|shape| shape.map_slots(rename)).collect()),
            AggShape::Leaf(leaf) => AggShape::Leaf(leaf.map_argument(&mut |arg| renamed(arg, rename))),
        }
    }
}

fn renamed(arg: &Arg, rename: &mut dyn FnMut(u32) -> u32) -> Arg {
    match arg {
        Arg::Slot(slot) => Arg::Slot(rename(*slot)),
        Arg::Const(value) => Arg::Const(value.clone()),
    }
}

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
    let of = Of(object);
    if schema.has_sub() {
        let args = ByRef(args);
        let plain = schema.unwrapped();
        return change::update(of, schema, &touched(shape), store, &args, &mut |at| {
            let at = at.unwrap_or_default();
            Fold { args: &args, scratch }.update(shape, at, &plain).map(Some).map_err(|source| of.agg(source))
        });
    }
    match (schema, shape) {
        (Schema::Map(key_schema, value_schema), AggShape::Map(arms)) => match &arms[..] {
            [(key, AggShape::Leaf(leaf))] => {
                aggregate_entry(of, (key_schema, value_schema), key, leaf, store, args, scratch)
            }
            _ => aggregate_entries(of, (key_schema, value_schema), arms, store, args, scratch),
        },
        (Schema::Map(..), _) => Err(of.agg(AggError::Shape { wanted: shape.wants(), found: "map".to_owned() })),
        _ => {
            let at = if store.get(object, &[], &mut scratch.value)? { of.decode(&scratch.value)? } else { Value::Null };
            let value = Fold { args, scratch }.update(shape, at, schema).map_err(|source| of.agg(source))?;
            write(of, schema, &[], &value, store, scratch)
        }
    }
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

/// One leaf under one top-level key, on bytes.
fn aggregate_entry<S: Store + ?Sized, A: Args + ?Sized>(
    of: Of,
    (key_schema, value_schema): (&Schema, &Schema),
    key: &Arg,
    leaf: &Leaf,
    store: &mut S,
    args: &A,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    let Scratch { key: key_form, value, out, arg, .. } = scratch;
    key_form.clear();
    put_key_form(key, args, key_form);
    of.check_key_size(key_form)?;
    let found = store.get(of.0, key_form, value)?;
    if !found {
        arg.clear();
        key_to_value(key_form, arg).map_err(|source| of.stored(source))?;
        check_new_key(of, key_schema, arg)?;
    }
    leaf.step(value_schema, found.then_some(&value[..]), args, arg, out).map_err(|source| of.agg(source))?;
    of.check_value(value_schema, &|| of.decode_key(key_form).map(Some), out)?;
    Ok(store.put(of.0, key_form, out)?)
}

/// Any shape under top-level keys.
fn aggregate_entries<S: Store + ?Sized, A: Args + ?Sized>(
    of: Of,
    (key_schema, value_schema): (&Schema, &Schema),
    arms: &[(Arg, AggShape)],
    store: &mut S,
    args: &A,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    let mut entries: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    let mut keys = Vec::with_capacity(arms.len());
    for (key, _) in arms {
        let mut key_form = Vec::new();
        put_key_form(key, args, &mut key_form);
        of.check_key_size(&key_form)?;
        if !entries.contains_key(&key_form) {
            let found = store.get(of.0, &key_form, &mut scratch.value)?;
            if !found {
                of.check_key(key_schema, &of.decode_key(&key_form)?)?;
            }
            let value = if found { of.decode(&scratch.value)? } else { Value::Null };
            entries.insert(key_form.clone(), value);
        }
        keys.push(key_form);
    }
    for ((_, shape), key) in arms.iter().zip(&keys) {
        let at = entries.get_mut(key).expect("invariant: every arm's key was gathered");
        let value = std::mem::take(at);
        *at = Fold { args, scratch }.update(shape, value, value_schema).map_err(|source| of.agg(source))?;
    }
    let mut encoded = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let mut bytes = Vec::new();
        check_depth(&value).map_err(|source| of.path(source))?;
        value_schema.check(&value).map_err(|misfit| {
            let key = Value::decode_key(&key).ok();
            of.schema(key.as_ref(), misfit)
        })?;
        value.encode(&mut bytes);
        of.check_value_size(&bytes)?;
        encoded.push((key, bytes));
    }
    for (key, bytes) in encoded {
        store.put(of.0, &key, &bytes)?;
    }
    Ok(())
}

fn write<S: Store + ?Sized>(
    of: Of,
    schema: &Schema,
    key: &[u8],
    value: &Value,
    store: &mut S,
    scratch: &mut Scratch,
) -> Result<(), EvalError> {
    check_depth(value).map_err(|source| of.path(source))?;
    schema.check(value).map_err(|misfit| of.schema(None, misfit))?;
    scratch.out.clear();
    value.encode(&mut scratch.out);
    of.check_value_size(&scratch.out)?;
    Ok(store.put(of.0, key, &scratch.out)?)
}

impl AggShape {
    fn wants(&self) -> &'static str {
        match self {
            AggShape::Map(_) => "map",
            AggShape::List(_) => "list",
            AggShape::Leaf(leaf) => leaf.name(),
        }
    }
}

/// One aggregation inside a decoded value.
struct Fold<'a, A: ?Sized> {
    args: &'a A,
    scratch: &'a mut Scratch,
}

impl<A: Args + ?Sized> Fold<'_, A> {
    fn update(&mut self, shape: &AggShape, at: Value, schema: &Schema) -> Result<Value, AggError> {
        let misfit = |found: &Value| AggError::Shape { wanted: shape.wants(), found: type_name(found).to_owned() };
        match (shape, at) {
            (AggShape::Leaf(leaf), at) => self.step(leaf, at, schema),
            (AggShape::Map(arms), Value::Null) => self.update_map(arms, vec![], schema),
            (AggShape::Map(arms), Value::Map(entries)) => self.update_map(arms, entries, schema),
            (AggShape::List(parts), Value::Null) => {
                self.update_list(parts, parts.iter().map(|_| Value::Null).collect(), schema)
            }
            (AggShape::List(parts), Value::List(elements)) if elements.len() == parts.len() => {
                self.update_list(parts, elements, schema)
            }
            (_, at) => Err(misfit(&at)),
        }
    }

    fn update_map(
        &mut self,
        arms: &[(Arg, AggShape)],
        mut entries: Vec<(Value, Value)>,
        schema: &Schema,
    ) -> Result<Value, AggError> {
        let below = if let Schema::Map(_, value) = schema { value } else { &Schema::Any };
        for (key, shape) in arms {
            let key = self.argument(key)?;
            match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
                Ok(index) => {
                    let at = std::mem::take(&mut entries[index].1);
                    entries[index].1 = self.update(shape, at, below)?;
                }
                Err(index) => {
                    let value = self.update(shape, Value::Null, below)?;
                    entries.insert(index, (key, value));
                }
            }
        }
        Ok(Value::Map(entries))
    }

    fn update_list(
        &mut self,
        parts: &[AggShape],
        mut elements: Vec<Value>,
        schema: &Schema,
    ) -> Result<Value, AggError> {
        for (index, (part, element)) in parts.iter().zip(&mut elements).enumerate() {
            let below = match schema {
                Schema::List(of) => of,
                Schema::Tuple(of) => of.get(index).unwrap_or(&Schema::Any),
                _ => &Schema::Any,
            };
            *element = self.update(part, std::mem::take(element), below)?;
        }
        Ok(Value::List(elements))
    }

    fn step(&mut self, leaf: &Leaf, at: Value, schema: &Schema) -> Result<Value, AggError> {
        let Scratch { value, out, arg, .. } = &mut *self.scratch;
        value.clear();
        at.encode(value);
        let current = (!at.is_null()).then_some(&value[..]);
        leaf.step(schema, current, self.args, arg, out)?;
        Ok(Value::decode(out).expect("invariant: a leaf writes one value form"))
    }

    fn argument(&mut self, arg: &Arg) -> Result<Value, AggError> {
        if let Arg::Const(value) = arg {
            return Ok(value.clone());
        }
        let bytes = &mut self.scratch.arg;
        bytes.clear();
        put_value_form(arg, self.args, bytes);
        Ok(Value::decode(bytes).expect("invariant: a slot writes one value form"))
    }
}

impl Of {
    fn agg(self, source: AggError) -> EvalError {
        EvalError::Agg { object: self.0, source }
    }
}
