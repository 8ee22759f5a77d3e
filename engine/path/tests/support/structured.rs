//! Schemas with subindexed structures at any place, values and paths that fit them, and a reader of the layout that is
//! independent of the engine's: what the tests of subindexing share, here and over a task's state.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its part")]

use std::collections::BTreeMap;
use tantu_base::value::Value;
use tantu_path::{FieldSchema, Func, Path, Schema, Tracking};

/// A generator of choices: splitmix64.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A schema that may be declared, with structures at random places.
pub fn schema(chance: &mut Chance) -> Schema {
    if chance.is(80) {
        return Schema::map(Schema::I64, inner(chance, 3));
    }
    record(chance, 3)
}

fn record(chance: &mut Chance, depth: u64) -> Schema {
    let count = 1 + chance.below(3) as u32;
    let field = |id| FieldSchema { id, name: format!("f{id}"), schema: inner(chance, depth - 1) };
    Schema::Record((0..count).map(field).collect())
}

fn inner(chance: &mut Chance, depth: u64) -> Schema {
    if depth == 0 {
        return Schema::I64;
    }
    match chance.below(10) {
        0 | 1 => Schema::I64,
        2 => Schema::map(Schema::I64, inner(chance, depth - 1)),
        3 => record(chance, depth),
        4 => Schema::list(Schema::I64),
        5 | 6 => sub(chance, Schema::map(Schema::I64, Schema::I64)),
        7 => {
            let of = inner(chance, depth - 1);
            sub(chance, Schema::map(Schema::I64, of))
        }
        8 => sub(chance, Schema::set(Schema::I64)),
        _ if chance.is(70) => sub(chance, Schema::list(Schema::I64)),
        _ => {
            let of = inner(chance, depth - 1);
            sub(chance, Schema::list(of))
        }
    }
}

fn sub(chance: &mut Chance, of: Schema) -> Schema {
    if chance.is(65) { Schema::sub(of) } else { Schema::untracked(of) }
}

/// The same shape with no structure subindexed.
pub fn plain(schema: &Schema) -> Schema {
    match schema {
        Schema::Sub(of, _) => plain(of),
        Schema::Map(key, of) => Schema::map(plain(key), plain(of)),
        Schema::List(of) => Schema::list(plain(of)),
        Schema::Set(of) => Schema::set(plain(of)),
        Schema::Record(fields) => {
            let field = |field: &FieldSchema| FieldSchema { schema: plain(&field.schema), ..field.clone() };
            Schema::Record(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn number(chance: &mut Chance) -> Value {
    Value::I64(chance.below(6) as i64)
}

/// A value of the shape.
pub fn value(chance: &mut Chance, schema: &Schema) -> Value {
    if chance.is(4) {
        return Value::Null;
    }
    let count = chance.below(5);
    match schema {
        Schema::Sub(of, _) => value(chance, of),
        Schema::Map(_, of) => Value::map((0..count).map(|_| (number(chance), value(chance, of))).collect::<Vec<_>>()),
        Schema::List(of) => Value::List((0..count).map(|_| value(chance, of)).collect()),
        Schema::Set(_) => Value::set((0..count).map(|_| number(chance)).collect::<Vec<_>>()),
        Schema::Record(fields) => {
            let kept: Vec<_> = fields.iter().filter(|_| chance.is(70)).collect();
            Value::record(kept.into_iter().map(|field| (field.id, value(chance, &field.schema))).collect::<Vec<_>>())
        }
        _ => number(chance),
    }
}

/// A select path that mostly fits the shape.
pub fn select_path(chance: &mut Chance, schema: &Schema) -> Path {
    let (path, _) = way(chance, Path::new(), schema, 0);
    path
}

/// A transform path that mostly fits the shape.
pub fn transform_path(chance: &mut Chance, schema: &Schema) -> Path {
    if chance.is(10) {
        let paths: Vec<_> = (0..2).map(|_| transform_path(chance, schema)).collect();
        return Path::new().multi_path(paths);
    }
    let (path, at) = way(chance, Path::new(), schema, 0);
    end(chance, path, &at)
}

fn end(chance: &mut Chance, path: Path, at: &Schema) -> Path {
    match chance.below(8) {
        0..=2 => path.term_val(value(chance, at)),
        3 | 4 => path.term_void(),
        5 => path.term(change(false), vec![]),
        6 => path.term(change(true), vec![]),
        _ => path.null_to_val(value(chance, at)).term(change(true), vec![]),
    }
}

/// A change that keeps the shape.
fn change(or_void: bool) -> Func {
    Func::untyped(move |at, _| match at {
        Value::I64(n) if or_void && n % 2 == 1 => None,
        Value::I64(n) => Some(Value::I64(n + 1)),
        Value::List(mut of) if !or_void => {
            of.reverse();
            Some(Value::List(of))
        }
        Value::Map(mut of) if of.len() > 1 => {
            of.remove(0);
            Some(Value::Map(of))
        }
        other => Some(other),
    })
}

fn way(chance: &mut Chance, path: Path, schema: &Schema, depth: u64) -> (Path, Schema) {
    let path = match chance.below(30) {
        0 => path.stay(),
        1 => path.filter_not_equal(Value::Null),
        2 => path.filter_pred(Func::untyped(|at, _| Some(Value::Bool(!at.is_null())))),
        3 => path.null_to_val(value(chance, schema)),
        4 => {
            let (inner, _) = way(chance, Path::new(), schema, depth + 1);
            path.filter_selected(inner)
        }
        5 => {
            let (cond, _) = way(chance, Path::new(), schema, depth + 2);
            path.if_path(cond, Path::new(), None)
        }
        _ => path,
    };
    if chance.is(12 + 8 * depth) {
        return (path, schema.clone());
    }
    match schema {
        Schema::Sub(of, _) => {
            // The shape that a part of it has is the one without the marker.
            let (path, at) = collection(chance, path, of, depth);
            (path, at)
        }
        Schema::Map(..) | Schema::List(_) | Schema::Set(_) => collection(chance, path, schema, depth),
        Schema::Record(fields) => {
            let field = &fields[chance.below(fields.len() as u64) as usize];
            let key = Value::U64(u64::from(field.id));
            let path = if chance.is(70) { path.key(key) } else { path.must(key) };
            way(chance, path, &field.schema, depth + 1)
        }
        other => (path, other.clone()),
    }
}

fn collection(chance: &mut Chance, path: Path, of: &Schema, depth: u64) -> (Path, Schema) {
    let count = Value::U64(chance.below(4));
    let (a, b) = (number(chance), number(chance));
    let index = Value::U64(chance.below(4));
    match of {
        Schema::Map(key, of_value) => match chance.below(14) {
            0..=4 => way(chance, path.key(a), of_value, depth + 1),
            5 | 6 => way(chance, path.must(a), of_value, depth + 1),
            7 => way(chance, path.map_vals(), of_value, depth + 1),
            8 => (path.map_key(a), (**key).clone()),
            9 => (path.map_keys(), (**key).clone()),
            10 => way(chance, path.sorted_map_range(a, b), of, depth + 1),
            11 => way(chance, path.sorted_map_range_to_end(count), of, depth + 1),
            12 => way(chance, path.submap(Value::List(vec![a, b])), of, depth + 1),
            _ => way(chance, path.all().last(), of_value, depth + 1),
        },
        Schema::Set(element) => match chance.below(6) {
            0 | 1 => (path.set_elem(a), (**element).clone()),
            2 => (path.void_set_elem(), (**element).clone()),
            3 => (path.all(), (**element).clone()),
            4 => way(chance, path.sorted_set_range(a, b), of, depth + 1),
            _ => way(chance, path.subset(Value::List(vec![a, b])), of, depth + 1),
        },
        Schema::List(element) => match chance.below(12) {
            0 | 1 => way(chance, path.nth(index), element, depth + 1),
            2 => way(chance, path.first(), element, depth + 1),
            3 => way(chance, path.last(), element, depth + 1),
            4 => (path.before_elem(), (**element).clone()),
            5 | 6 => (path.after_elem(), (**element).clone()),
            7 => (path.before_index(index), (**element).clone()),
            8 => (path.end(), of.clone()),
            9 => way(chance, path.sublist(Value::U64(chance.clone().below(2)), index), of, depth + 1),
            10 => way(chance, path.all(), element, depth + 1),
            _ => (path.beginning(), of.clone()),
        },
        _ => (path, of.clone()),
    }
}

/// Reads a partition by the documented layout, and insists that nothing else is in it.
pub struct Layout<'a> {
    entries: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    seen: usize,
}

impl<'a> Layout<'a> {
    /// The partition as a plain value.
    pub fn read(schema: &Schema, entries: &'a BTreeMap<Vec<u8>, Vec<u8>>) -> Value {
        let mut layout = Layout { entries, seen: 0 };
        let value = match schema {
            Schema::Map(_, of) => Value::Map(layout.elements(of, &[], 0, &[])),
            _ => match entries.get(&[][..]) {
                Some(bytes) => {
                    layout.seen += 1;
                    let stored = Value::decode(bytes).expect("a value");
                    layout.resolve(schema, stored, 0, &[])
                }
                None => Value::Null,
            },
        };
        assert_eq!(layout.seen, entries.len(), "entries that nothing leads to");
        value
    }

    fn elements(&mut self, of: &Schema, prefix: &[u8], number: u16, way: &[u8]) -> Vec<(Value, Value)> {
        let mut found = Vec::new();
        let entries = self.entries;
        for (key, bytes) in entries.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) || (prefix.is_empty() && key[0] == 0xF0) {
                break;
            }
            self.seen += 1;
            let own = &key[prefix.len()..];
            let stored = Value::decode(bytes).expect("a value");
            let value = self.resolve(of, stored, number, &[way, own].concat());
            found.push((Value::decode_key(own).expect("a key"), value));
        }
        found
    }

    fn resolve(&mut self, schema: &Schema, stored: Value, number: u16, way: &[u8]) -> Value {
        match (schema, stored) {
            (_, Value::Null) => Value::Null,
            (Schema::Sub(of, tracking), handle) => {
                let prefix = [&[0xF0], &number.to_be_bytes()[..], way].concat();
                let element = match &**of {
                    Schema::Map(_, of) | Schema::List(of) | Schema::Set(of) => of,
                    other => panic!("{other} is no collection"),
                };
                let found = self.elements(element, &prefix, number + 1, way);
                let count = found.len() as u64;
                match (&**of, tracking) {
                    (Schema::List(_), _) => {
                        let first = found
                            .first()
                            .map_or_else(|| handle.elements().expect("a pair")[0].clone(), |f| f.0.clone());
                        assert_eq!(handle, Value::List(vec![first, Value::U64(count)]));
                        let positions: Vec<u64> =
                            found.iter().map(|(at, _)| at.as_u64().expect("a position")).collect();
                        assert!(positions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{positions:?}");
                    }
                    (_, Tracking::Size) => assert_eq!(handle, Value::U64(count)),
                    (_, Tracking::Nothing) => assert_eq!(handle, Value::Bool(true)),
                }
                match &**of {
                    Schema::Map(..) => Value::Map(found),
                    Schema::Set(_) => Value::Set(found.into_iter().map(|(element, _)| element).collect()),
                    _ => Value::List(found.into_iter().map(|(_, element)| element).collect()),
                }
            }
            (Schema::Map(_, of), Value::Map(entries)) => {
                let inner = entries.into_iter().map(|(key, value)| {
                    let mut way = way.to_vec();
                    key.encode_key(&mut way);
                    let value = self.resolve(of, value, number, &way);
                    (key, value)
                });
                Value::Map(inner.collect())
            }
            (Schema::Record(fields), Value::Record(parts)) => {
                let inner = parts.into_iter().map(|(id, value)| {
                    let at = fields.iter().position(|field| field.id == id).expect("a known field");
                    let before: u16 = fields[..at].iter().map(|field| count(&field.schema)).sum();
                    let value = self.resolve(&fields[at].schema, value, number + before, way);
                    (id, value)
                });
                Value::Record(inner.collect())
            }
            (_, stored) => stored,
        }
    }
}

/// How many structures a schema names.
fn count(schema: &Schema) -> u16 {
    match schema {
        Schema::Sub(of, _) => 1 + count(of),
        Schema::Map(key, of) => count(key) + count(of),
        Schema::List(of) | Schema::Set(of) => count(of),
        Schema::Record(fields) => fields.iter().map(|field| count(&field.schema)).sum(),
        _ => 0,
    }
}
