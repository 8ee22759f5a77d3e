//! A path as a list of steps, one kind of step for each row of the table of navigators.

use super::data::{Data, Place};

/// A path.
pub type Path = Vec<Step>;

/// A part of a sorted collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// Where it starts, and whether that is part of it.
    pub from: Option<(Data, bool)>,
    /// Where it ends, and whether that is part of it.
    pub to: Option<(Data, bool)>,
    /// Only so many of the first.
    pub first: Option<u64>,
    /// Only so many of the last.
    pub last: Option<u64>,
}

/// How a value is compared with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a user may pass: a function of some values that may answer void.
#[derive(Clone, Copy)]
pub struct Function {
    /// What a failure calls it.
    pub name: &'static str,
    /// What it does.
    pub call: fn(&[Data]) -> Place,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One navigator. The numbers are the rows of the table.
#[derive(Clone, Debug)]
pub enum Step {
    /// 01: the value under a key, null if there is none.
    Key(Data),
    /// 02: the value under a key, or nowhere.
    Must(Data),
    /// 03: an element; outside is a fault.
    Nth(i64),
    /// 04: the first element, or nowhere.
    First,
    /// 04: the last element, or nowhere.
    Last,
    /// 05: every element, or every pair.
    All,
    /// 06: every value.
    MapVals,
    /// 06: every key.
    MapKeys,
    /// 07: the key itself.
    MapKey(Data),
    /// 08: an element of a set.
    SetElem(Data),
    /// 09: the place of a new element of a set.
    VoidSetElem,
    /// 10: the place after the last element.
    AfterElem,
    /// 10: the place before the first element.
    BeforeElem,
    /// 11: the place before an index.
    BeforeIndex(i64),
    /// 12: the empty part at the start.
    Beginning,
    /// 12: the empty part at the end.
    End,
    /// 13: the part of a list between two indexes.
    Sublist(i64, i64),
    /// 13: the part of a list between two indexes that a function makes of it.
    SublistBy(Function),
    /// 14: the elements from which a path leads somewhere.
    FilteredList(Path),
    /// 15: the part of a map under some keys.
    Submap(Vec<Data>),
    /// 15: the part of a set among some elements.
    Subset(Vec<Data>),
    /// 16 to 19: a range of a map.
    MapRange(Range),
    /// 20: a range of a set.
    SetRange(Range),
    /// 21: goes on if the function says so.
    Pred(Function),
    /// 22: goes on if the comparison holds.
    Filter(Compare, Data),
    /// 23: goes on if the path leads somewhere.
    Selected(Path),
    /// 23: goes on if the path leads nowhere.
    NotSelected(Path),
    /// 24: the function's answer.
    View(Function, Vec<Data>),
    /// 24: how many elements there are.
    Size,
    /// 25: what a transform path makes of the value.
    Transformed(Path),
    /// 26: a default for null.
    NullTo(Data),
    /// 27: a default for void.
    VoidTo(Data),
    /// 28: where it is.
    Stay,
    /// 28: nowhere.
    Stop,
    /// 29: one way if a condition leads somewhere, else another.
    If(Path, Path, Option<Path>),
    /// 30: the way of the first condition that leads somewhere.
    Cond(Vec<(Path, Path)>),
    /// 31: every way in turn.
    Multi(Vec<Path>),
    /// 32: the list of everything a path selects.
    Subselect(Path),
    /// 34: the index itself.
    IndexNav(i64),
    /// 34: every index with its element.
    IndexedVals,
    /// 34: every run of neighbours from which a path leads somewhere.
    ContinuousSubseqs(Path),
    /// 35: sets the one value of a path aside.
    CollectOne(Path),
    /// 35: sets the list of all values of a path aside.
    Collect(Path),
    /// 35: sets a value aside.
    PutCollected(Data),
    /// 35: sets the value itself aside.
    Val,
    /// 35: what a result would be, to go on with.
    Collected,
    /// 36: forgets what was set aside.
    DispenseCollected,
    /// 36: goes on if the function says so of what was set aside.
    IsCollected(Function),
    /// 36: along a path with nothing set aside.
    WithFreshCollected(Path),
    /// 37: along a path.
    WithPageSize(u64, Path),
    /// 38: replaces.
    TermVal(Data),
    /// 39: replaces by the function's answer.
    Term(Function, Vec<Data>),
    /// 40: removes.
    TermVoid,
}
