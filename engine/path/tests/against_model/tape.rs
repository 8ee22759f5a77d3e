//! Random shapes, values and paths from a tape of bytes: a shorter tape, or smaller bytes, make a simpler case, and
//! so a failing case shrinks by itself. Most steps fit the value they are for; some do not.

use tantu_model::path::{Compare, Data, Function, Path, Place, Range, Step};

/// What a value looks like.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    Any,
    Int,
    Nat,
    Text,
    List(Box<Shape>),
    Set(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    Pair(Box<Shape>, Box<Shape>),
}

impl Shape {
    /// Whether a value may stand where this shape is wanted. Null may, except as a key or an element of a set.
    pub fn fits(&self, data: &Data) -> bool {
        *data == Data::Null || self.fits_present(data)
    }

    fn fits_present(&self, data: &Data) -> bool {
        match (self, data) {
            (Shape::Any, _)
            | (Shape::Int, Data::Int(_))
            | (Shape::Nat, Data::Nat(_))
            | (Shape::Text, Data::Text(_)) => true,
            (Shape::List(of), Data::List(elements)) => elements.iter().all(|element| of.fits(element)),
            (Shape::Set(of), Data::Set(elements)) => elements.iter().all(|element| of.fits_present(element)),
            (Shape::Map(key, value), Data::Map(entries)) => {
                entries.iter().all(|(k, v)| key.fits_present(k) && value.fits(v))
            }
            (Shape::Pair(first, second), Data::List(parts)) => {
                parts.len() == 2 && first.fits(&parts[0]) && second.fits(&parts[1])
            }
            _ => false,
        }
    }
}

fn ints(given: &[Data]) -> impl Iterator<Item = i64> {
    given.iter().filter_map(|value| if let Data::Int(n) = value { Some(*n) } else { None })
}

fn call_sum(given: &[Data]) -> Place {
    match given {
        [.., Data::Null] => Some(Data::Int(100)),
        [.., Data::Int(_)] => Some(Data::Int(1 + ints(given).sum::<i64>())),
        [.., last] => Some(last.clone()),
        [] => None,
    }
}

fn call_first(given: &[Data]) -> Place {
    given.first().cloned()
}

fn call_drop_odd(given: &[Data]) -> Place {
    given.last().filter(|last| !matches!(last, Data::Int(n) if n % 2 == 1)).cloned()
}

fn call_is_even(given: &[Data]) -> Place {
    match given.first() {
        Some(Data::Int(n)) => Some(Data::Bool(n % 2 == 0)),
        other => other.cloned(),
    }
}

fn call_count(given: &[Data]) -> Place {
    match given.first()? {
        Data::List(of) => Some(Data::Int(of.len() as i64)),
        Data::Set(of) => Some(Data::Int(of.len() as i64)),
        Data::Map(of) => Some(Data::Int(of.len() as i64)),
        Data::Null => None,
        other => Some(other.clone()),
    }
}

fn call_middle(given: &[Data]) -> Place {
    let Some(Data::List(of)) = given.first() else { return None };
    let count = of.len() as i64;
    Some(Data::pair(Data::Int(count / 3), Data::Int(count - count / 3)))
}

fn call_several(given: &[Data]) -> Place {
    Some(Data::Bool(matches!(given, [Data::List(of)] if of.len() > 1)))
}

const SUM: Function = Function { name: "sum", call: call_sum };
const FIRST: Function = Function { name: "first", call: call_first };
const DROP_ODD: Function = Function { name: "drop_odd", call: call_drop_odd };
const IS_EVEN: Function = Function { name: "is_even", call: call_is_even };
const COUNT: Function = Function { name: "count", call: call_count };
const MIDDLE: Function = Function { name: "middle", call: call_middle };
const SEVERAL: Function = Function { name: "several", call: call_several };

/// Choices, one byte each; zeros after the end.
#[derive(Debug)]
pub struct Tape<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Tape<'b> {
    pub fn new(bytes: &'b [u8]) -> Tape<'b> {
        Tape { bytes: bytes.iter() }
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }

    fn int(&mut self) -> i64 {
        self.pick(5) as i64
    }

    /// A shape of a whole partition: mostly a map.
    pub fn top(&mut self) -> Shape {
        if self.one_in(6) { self.shape(2) } else { self.map_shape(2) }
    }

    fn map_shape(&mut self, depth: usize) -> Shape {
        Shape::Map(Box::new(self.scalar_shape()), Box::new(self.shape(depth - 1)))
    }

    fn scalar_shape(&mut self) -> Shape {
        if self.one_in(4) { Shape::Text } else { Shape::Int }
    }

    fn shape(&mut self, depth: usize) -> Shape {
        match self.pick(if depth == 0 { 2 } else { 8 }) {
            0 => Shape::Int,
            1 => self.scalar_shape(),
            2 | 3 => Shape::List(Box::new(self.shape(depth - 1))),
            4 => Shape::Set(Box::new(self.scalar_shape())),
            5 | 6 => self.map_shape(depth),
            _ => Shape::Pair(Box::new(self.scalar_shape()), Box::new(self.shape(depth - 1))),
        }
    }

    /// A value of a shape.
    pub fn present(&mut self, shape: &Shape) -> Data {
        let count = self.pick(4);
        match shape {
            Shape::Int | Shape::Any => Data::Int(self.int()),
            Shape::Nat => Data::Nat(self.int().unsigned_abs()),
            Shape::Text => Data::Text(["a", "b", "c"][self.pick(3)].to_owned()),
            Shape::List(of) => Data::List((0..count).map(|_| self.value(of)).collect()),
            Shape::Set(of) => Data::set((0..count).map(|_| self.present(of)).collect::<Vec<_>>()),
            Shape::Map(key, value) => {
                Data::map((0..count + 1).map(|_| (self.present(key), self.value(value))).collect::<Vec<_>>())
            }
            Shape::Pair(first, second) => Data::pair(self.value(first), self.value(second)),
        }
    }

    /// A value that may be null.
    fn value(&mut self, shape: &Shape) -> Data {
        if self.one_in(9) { Data::Null } else { self.present(shape) }
    }

    /// A value that mostly is of a shape.
    fn argument(&mut self, shape: &Shape) -> Data {
        if self.one_in(12) {
            let other = self.shape(1);
            return self.value(&other);
        }
        self.present(shape)
    }

    fn range(&mut self, shape: &Shape) -> Range {
        let (mut range, form) = (Range { from: None, to: None, first: None, last: None }, self.pick(5));
        if form == 0 || form == 1 {
            range.from = Some((self.argument(shape), self.pick(2) == 0));
        }
        if form == 0 || form == 2 {
            range.to = Some((self.argument(shape), self.pick(2) == 0));
        }
        let count = self.pick(4) as u64;
        match form {
            1 if count > 0 => range.first = Some(count),
            2 if count > 0 => range.last = Some(count),
            3 => range.first = Some(count),
            4 => range.last = Some(count),
            _ => {}
        }
        range
    }

    /// A select path from a shape, and the shape it leads to.
    pub fn path(&mut self, from: &Shape, depth: usize) -> (Path, Shape) {
        let (mut path, mut at) = (vec![], from.clone());
        for _ in 0..=self.pick(if depth == 0 { 2 } else { 4 }) {
            let (step, to) = self.step(&at, depth);
            path.push(step);
            at = to;
        }
        (path, at)
    }

    /// A transform path from a shape.
    pub fn change(&mut self, from: &Shape, depth: usize) -> Path {
        if depth > 0 && self.one_in(7) {
            let (one, other) = (self.change(from, depth - 1), self.change(from, depth - 1));
            return vec![match self.pick(3) {
                0 => Step::Multi(vec![one, other]),
                1 => Step::If(self.path(from, 0).0, one, Some(other)),
                _ => Step::Cond(vec![(self.path(from, 0).0, one), (self.path(from, 0).0, other)]),
            }];
        }
        let (mut path, at) = self.path(from, depth);
        path.push(match self.pick(6) {
            0 | 1 => Step::TermVal(self.argument(&at)),
            2 => Step::TermVoid,
            3 => Step::Term(SUM, vec![]),
            4 => Step::Term(DROP_ODD, vec![]),
            _ => Step::Term([SUM, FIRST][self.pick(2)], vec![Data::Int(self.int())]),
        });
        path
    }

    fn step(&mut self, at: &Shape, depth: usize) -> (Step, Shape) {
        // A step for another shape, now and then.
        let other = if self.one_in(25) { self.shape(1) } else { at.clone() };
        match self.pick(8) {
            0 if depth > 0 => self.step_with_path(&other, depth - 1),
            0 | 1 => self.step_that_stays(&other),
            _ => match &other {
                Shape::Map(key, value) => self.step_into_map(key, value),
                Shape::List(of) => self.step_into_list(of, depth),
                Shape::Set(of) => self.step_into_set(of),
                Shape::Pair(first, second) => match self.pick(2) {
                    0 => (Step::First, (**first).clone()),
                    _ => (Step::Last, (**second).clone()),
                },
                _ => self.step_that_stays(&other),
            },
        }
    }

    fn step_into_map(&mut self, key: &Shape, value: &Shape) -> (Step, Shape) {
        let whole = || Shape::Map(Box::new(key.clone()), Box::new(value.clone()));
        match self.pick(10) {
            0 | 1 => (Step::Key(self.argument(key)), value.clone()),
            2 => (Step::Must(self.argument(key)), value.clone()),
            3 | 4 => (Step::MapVals, value.clone()),
            5 => (Step::MapKeys, key.clone()),
            6 => (Step::MapKey(self.argument(key)), key.clone()),
            7 => (Step::All, Shape::Pair(Box::new(key.clone()), Box::new(value.clone()))),
            8 => (Step::Submap((0..self.pick(4)).map(|_| self.argument(key)).collect()), whole()),
            _ => (Step::MapRange(self.range(key)), whole()),
        }
    }

    fn step_into_list(&mut self, of: &Shape, depth: usize) -> (Step, Shape) {
        let whole = Shape::List(Box::new(of.clone()));
        match self.pick(16) {
            0 | 1 => (Step::All, of.clone()),
            2 => (Step::First, of.clone()),
            3 => (Step::Last, of.clone()),
            4 => (Step::AfterElem, of.clone()),
            5 => (Step::BeforeElem, of.clone()),
            6 => (Step::BeforeIndex(self.pick(3) as i64), of.clone()),
            7 => (Step::Nth(self.pick(3) as i64), of.clone()),
            8 => (Step::Beginning, whole),
            9 => (Step::End, whole),
            10 => (Step::Sublist(self.pick(2) as i64, self.pick(4) as i64), whole),
            11 => (Step::SublistBy(MIDDLE), whole),
            12 => (Step::FilteredList(self.path(of, depth.saturating_sub(1)).0), whole),
            13 => (Step::IndexNav(self.int() - 1), Shape::Nat),
            14 => (Step::IndexedVals, Shape::Pair(Box::new(Shape::Nat), Box::new(of.clone()))),
            _ => (Step::ContinuousSubseqs(self.path(of, depth.saturating_sub(1)).0), whole),
        }
    }

    fn step_into_set(&mut self, of: &Shape) -> (Step, Shape) {
        let whole = Shape::Set(Box::new(of.clone()));
        match self.pick(6) {
            0 | 1 => (Step::All, of.clone()),
            2 => (Step::SetElem(self.argument(of)), of.clone()),
            3 => (Step::VoidSetElem, of.clone()),
            4 => (Step::Subset((0..self.pick(4)).map(|_| self.argument(of)).collect()), whole),
            _ => (Step::SetRange(self.range(of)), whole),
        }
    }

    fn step_that_stays(&mut self, at: &Shape) -> (Step, Shape) {
        const COMPARE: [Compare; 6] = [
            Compare::Equal,
            Compare::NotEqual,
            Compare::Less,
            Compare::LessOrEqual,
            Compare::Greater,
            Compare::GreaterOrEqual,
        ];
        let step = match self.pick(15) {
            0 | 1 => Step::Filter(COMPARE[self.pick(6)], self.argument(at)),
            2 => Step::Pred(IS_EVEN),
            3 => Step::NullTo(self.argument(at)),
            4 => Step::VoidTo(self.argument(at)),
            5 => Step::Stay,
            6 => Step::View(SUM, vec![]),
            7 => Step::View(SUM, vec![Data::Int(self.int())]),
            8 => return (Step::View(COUNT, vec![]), Shape::Int),
            9 => Step::PutCollected(Data::Int(self.int())),
            10 => Step::Val,
            11 => Step::DispenseCollected,
            12 => Step::IsCollected(SEVERAL),
            13 => return (Step::Size, Shape::Nat),
            _ => return ([Step::Collected, Step::Stop][self.pick(2)].clone(), at.clone()),
        };
        (step, at.clone())
    }

    fn step_with_path(&mut self, at: &Shape, depth: usize) -> (Step, Shape) {
        let (path, to) = self.path(at, depth);
        match self.pick(13) {
            0 => (Step::Selected(path), at.clone()),
            1 => (Step::NotSelected(path), at.clone()),
            2 | 3 => (Step::Subselect(path), Shape::List(Box::new(to))),
            4 => (Step::Multi(vec![path, self.path(at, depth).0]), to),
            5 => (Step::If(path, self.path(at, depth).0, None), Shape::Any),
            6 => (Step::If(self.path(at, depth).0, path, Some(self.path(at, depth).0)), to),
            7 => (Step::Cond(vec![(self.path(at, depth).0, path), (vec![], vec![])]), to),
            8 => (Step::Collect(path), at.clone()),
            9 => (Step::CollectOne(path), at.clone()),
            10 => (Step::WithFreshCollected(path), to),
            11 => (Step::WithPageSize(2, path), to),
            _ => (Step::Transformed(self.change(at, depth)), at.clone()),
        }
    }
}
