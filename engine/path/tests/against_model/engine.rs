//! The model's values and paths as the engine has them, and a partition in a map.

use crate::tape::Shape;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;
use tantu_base::value::{DecodeError, Value};
use tantu_model::path::{Compare, Data, Function, Range, Step};
use tantu_path::{Arg, Func, Path, Schema, Stop, Store, VisitEntry};

pub const OBJECT: ObjectId = ObjectId(3);

pub fn value(data: &Data) -> Value {
    match data {
        Data::Null => Value::Null,
        Data::Bool(v) => Value::Bool(*v),
        Data::Int(v) => Value::I64(*v),
        Data::Nat(v) => Value::U64(*v),
        Data::Text(v) => Value::Str(v.clone()),
        Data::List(of) => Value::List(of.iter().map(value).collect()),
        Data::Set(of) => Value::set(of.iter().map(value)),
        Data::Map(of) => Value::map(of.iter().map(|(k, v)| (value(k), value(v)))),
    }
}

pub fn data(value: &Value) -> Data {
    match value {
        Value::Null => Data::Null,
        Value::Bool(v) => Data::Bool(*v),
        Value::I64(v) => Data::Int(*v),
        Value::U64(v) => Data::Nat(*v),
        Value::Str(v) => Data::Text(v.clone()),
        Value::List(of) => Data::List(of.iter().map(data).collect()),
        Value::Set(of) => Data::set(of.iter().map(data)),
        Value::Map(of) => Data::map(of.iter().map(|(k, v)| (data(k), data(v)))),
        other => panic!("no case has a {:?}", other.kind()),
    }
}

pub fn schema(shape: &Shape) -> Schema {
    match shape {
        Shape::Any => Schema::Any,
        Shape::Int => Schema::I64,
        Shape::Nat => Schema::U64,
        Shape::Text => Schema::Str,
        Shape::List(of) => Schema::list(schema(of)),
        Shape::Set(of) => Schema::set(schema(of)),
        Shape::Map(key, value) => Schema::map(schema(key), schema(value)),
        Shape::Pair(first, second) => Schema::Tuple(vec![schema(first), schema(second)]),
    }
}

fn func(function: Function) -> Func {
    Func::new(function.name, move |first, others, out| {
        let forms = [first].into_iter().chain(others.iter().map(Vec::as_slice));
        let given: Vec<Data> = forms.map(|form| Ok(data(&Value::decode(form)?))).collect::<Result<_, DecodeError>>()?;
        if let Some(answer) = (function.call)(&given) {
            value(&answer).encode(out);
        }
        Ok(())
    })
}

fn list(of: &[Data]) -> Value {
    Value::List(of.iter().map(value).collect())
}

pub fn path(steps: &[Step]) -> Path {
    steps.iter().fold(Path::new(), step)
}

fn step(p: Path, step: &Step) -> Path {
    match step {
        Step::Key(key) => p.key(value(key)),
        Step::Must(key) => p.must(value(key)),
        Step::Nth(index) => p.nth(Value::I64(*index)),
        Step::First => p.first(),
        Step::Last => p.last(),
        Step::All => p.all(),
        Step::MapVals => p.map_vals(),
        Step::MapKeys => p.map_keys(),
        Step::MapKey(key) => p.map_key(value(key)),
        Step::SetElem(element) => p.set_elem(value(element)),
        Step::VoidSetElem => p.void_set_elem(),
        Step::AfterElem => p.after_elem(),
        Step::BeforeElem => p.before_elem(),
        Step::BeforeIndex(index) => p.before_index(Value::I64(*index)),
        Step::Beginning => p.beginning(),
        Step::End => p.end(),
        Step::Sublist(from, to) => p.sublist(Value::I64(*from), Value::I64(*to)),
        Step::SublistBy(bounds) => p.sublist_between(func(*bounds)),
        Step::Submap(keys) => p.submap(list(keys)),
        Step::Subset(elements) => p.subset(list(elements)),
        Step::MapRange(range) => map_range(p, range),
        Step::SetRange(range) => set_range(p, range),
        Step::Pred(test) => p.filter_pred(func(*test)),
        Step::Filter(compare, other) => filter(p, *compare, value(other)),
        Step::View(function, extra) => p.view(func(*function), args(extra)),
        Step::NullTo(default) => p.null_to_val(value(default)),
        Step::VoidTo(default) => p.void_to_val(value(default)),
        Step::Stay => p.stay(),
        Step::Stop => p.stop(),
        Step::IndexNav(index) => p.index_nav(Value::I64(*index)),
        Step::IndexedVals => p.indexed_vals(),
        Step::PutCollected(put) => p.put_collected(value(put)),
        Step::Val => p.val(),
        Step::Collected => p.collected(),
        Step::DispenseCollected => p.dispense_collected(),
        Step::IsCollected(test) => p.is_collected(func(*test)),
        Step::TermVal(new) => p.term_val(value(new)),
        Step::Term(function, extra) => p.term(func(*function), args(extra)),
        Step::TermVoid => p.term_void(),
        _ => step_with_path(p, step),
    }
}

fn step_with_path(p: Path, step: &Step) -> Path {
    match step {
        Step::FilteredList(inner) => p.filtered_list(path(inner)),
        Step::Selected(inner) => p.filter_selected(path(inner)),
        Step::NotSelected(inner) => p.filter_not_selected(path(inner)),
        Step::Transformed(inner) => p.transformed(path(inner)),
        Step::If(cond, then, otherwise) => p.if_path(path(cond), path(then), otherwise.as_deref().map(path)),
        Step::Cond(arms) => p.cond_path(arms.iter().map(|(cond, then)| (path(cond), path(then)))),
        Step::Multi(paths) => p.multi_path(paths.iter().map(|inner| path(inner))),
        Step::Size => p.size(),
        Step::Subselect(inner) => p.subselect(path(inner)),
        Step::ContinuousSubseqs(inner) => p.continuous_subseqs(path(inner)),
        Step::CollectOne(inner) => p.collect_one(path(inner)),
        Step::Collect(inner) => p.collect(path(inner)),
        Step::WithFreshCollected(inner) => p.with_fresh_collected(path(inner)),
        Step::WithPageSize(count, inner) => p.with_page_size(*count, path(inner)),
        other => unreachable!("{other:?} has no path in it"),
    }
}

fn args(extra: &[Data]) -> Vec<Arg> {
    extra.iter().map(|extra| Arg::Const(value(extra))).collect()
}

fn filter(p: Path, compare: Compare, other: Value) -> Path {
    match compare {
        Compare::Equal => p.filter_equal(other),
        Compare::NotEqual => p.filter_not_equal(other),
        Compare::Less => p.filter_less_than(other),
        Compare::LessOrEqual => p.filter_less_than_or_equal(other),
        Compare::Greater => p.filter_greater_than(other),
        Compare::GreaterOrEqual => p.filter_greater_than_or_equal(other),
    }
}

fn map_range(p: Path, range: &Range) -> Path {
    match (&range.from, &range.to) {
        (Some((from, a)), Some((to, b))) => p.sorted_map_range_with(value(from), *a, value(to), *b),
        (Some((from, included)), None) => p.sorted_map_range_from(value(from), *included, range.first),
        (None, Some((to, included))) => p.sorted_map_range_to(value(to), *included, range.last),
        (None, None) => match range.first {
            Some(count) => p.sorted_map_range_from_start(Value::U64(count)),
            None => p.sorted_map_range_to_end(Value::U64(range.last.unwrap_or(0))),
        },
    }
}

fn set_range(p: Path, range: &Range) -> Path {
    match (&range.from, &range.to) {
        (Some((from, a)), Some((to, b))) => p.sorted_set_range_with(value(from), *a, value(to), *b),
        (Some((from, included)), None) => p.sorted_set_range_from(value(from), *included, range.first),
        (None, Some((to, included))) => p.sorted_set_range_to(value(to), *included, range.last),
        (None, None) => match range.first {
            Some(count) => p.sorted_set_range_from_start(Value::U64(count)),
            None => p.sorted_set_range_to_end(Value::U64(range.last.unwrap_or(0))),
        },
    }
}

/// A partition in a map, which has every block in memory.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Partition {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    in_one: bool,
}

impl Partition {
    /// A partition that holds a value: entry by entry if its shape is a map.
    pub fn new(shape: &Shape, data: &Data) -> Partition {
        let mut partition = Partition { in_one: !matches!(shape, Shape::Map(..)), ..Partition::default() };
        let (mut key_form, mut value_form) = (Vec::new(), Vec::new());
        if partition.in_one {
            value(data).encode(&mut value_form);
            partition.entries.insert(key_form, value_form);
            return partition;
        }
        let Data::Map(entries) = data else { panic!("{data:?} does not fit a map") };
        for (key, held) in entries {
            key_form.clear();
            value_form.clear();
            value(key).encode_key(&mut key_form);
            value(held).encode(&mut value_form);
            partition.entries.insert(key_form.clone(), value_form.clone());
        }
        partition
    }

    /// What it holds.
    pub fn data(&self) -> Data {
        let held = |bytes: &[u8]| data(&Value::decode(bytes).expect("a value"));
        if self.in_one {
            return self.entries.get(&[][..]).map_or(Data::Null, |bytes| held(bytes));
        }
        Data::map(self.entries.iter().map(|(k, v)| (data(&Value::decode_key(k).expect("a key")), held(v))))
    }
}

impl Store for Partition {
    fn get(&mut self, _: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.entries.get(key);
        out.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn put(&mut self, _: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, _: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.entries.remove(key);
        Ok(())
    }

    fn delete_range(&mut self, _: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.entries.retain(|key, _| &key[..] < from || &key[..] >= to);
        Ok(())
    }

    fn scan_back(
        &mut self,
        _: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        for (key, value) in self.entries.range::<[u8], _>((from, to)).rev() {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn scan(&mut self, _: ObjectId, from: Bound<&[u8]>, to: Bound<&[u8]>, visit: VisitEntry<'_>) -> Result<(), Stop> {
        for (key, value) in self.entries.range::<[u8], _>((from, to)) {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}
