//! One aggregator in its place: with the arguments it takes there.

use super::Aggregator;
use crate::arg::{Arg, Args};
use crate::error::AggError;
use crate::interpose::Before;
use crate::row::NULL_FORM;
use crate::schema::Schema;
use crate::walk::put_value_form;

/// An aggregator with its arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct Leaf {
    aggregator: Aggregator,
    args: Vec<Arg>,
    takes: Takes,
}

/// What a leaf takes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    /// A row's arguments.
    Row,
    /// A row's arguments, into a value that must be there if it is a number (AGG-05).
    RowIntoValue,
    /// The partial state of another place.
    Partial,
    /// The same, into a value that must be there if it is a number.
    PartialIntoValue,
}

impl Takes {
    fn is_partial(self) -> bool {
        matches!(self, Takes::Partial | Takes::PartialIntoValue)
    }

    fn is_into_value(self) -> bool {
        matches!(self, Takes::RowIntoValue | Takes::PartialIntoValue)
    }
}

impl Leaf {
    /// An aggregator of these arguments.
    ///
    /// # Panics
    /// If they are not as many as it takes.
    #[track_caller]
    pub fn new(aggregator: Aggregator, args: Vec<Arg>) -> Leaf {
        let (wanted, found) = (aggregator.arg_count(), args.len());
        assert!(wanted == found, "{} takes {wanted} arguments, not {found}", aggregator.name());
        Leaf { aggregator, args, takes: Takes::Row }
    }

    /// The same aggregator, taking in at each step a partial state, such as [`Fold`](crate::Fold) gives out, instead of
    /// a row.
    pub fn of_partial(&self, partial: Arg) -> Leaf {
        let takes = if self.takes.is_into_value() { Takes::PartialIntoValue } else { Takes::Partial };
        Leaf { aggregator: self.aggregator.clone(), args: vec![partial], takes }
    }

    /// The same, where a number that is not there is an error instead of 0.
    pub fn into_value(mut self) -> Leaf {
        self.takes = if self.takes.is_partial() { Takes::PartialIntoValue } else { Takes::RowIntoValue };
        self
    }

    /// Has `before` called ahead of its closures, if it has some.
    pub fn interpose(&mut self, before: &Before) {
        match &mut self.aggregator {
            Aggregator::Custom(custom) => custom.interpose(before),
            Aggregator::TopMonotonic(top) => top.interpose(before),
            _ => {}
        }
    }

    /// What it does.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// What it takes in.
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    /// The builder's word for it.
    pub fn name(&self) -> &'static str {
        self.aggregator.name()
    }

    /// Written as it is built, its slots under the names that `name` gives them: `sum(price)`.
    pub fn show(&self, name: &dyn Fn(u32) -> String) -> String {
        let args: Vec<String> = self.args.iter().map(|arg| arg.show(name)).collect();
        format!("{}({})", self.name(), args.join(", "))
    }

    pub(super) fn takes_partial(&self) -> bool {
        self.takes.is_partial()
    }

    pub(super) fn map_args(&self, change: &mut dyn FnMut(&Arg) -> Arg) -> Leaf {
        Leaf { aggregator: self.aggregator.clone(), args: self.args.iter().map(change).collect(), takes: self.takes }
    }

    /// Writes the arguments, one after the other.
    #[inline]
    pub(super) fn read_args<A: Args + ?Sized>(&self, args: &A, out: &mut Vec<u8>) {
        out.clear();
        for arg in &self.args {
            put_value_form(arg, args, out);
        }
    }

    /// Writes to `out` the state after one more step; nothing if the place is to be removed. `arg` is a buffer.
    pub(super) fn step<A: Args + ?Sized>(
        &self,
        schema: &Schema,
        current: Option<&[u8]>,
        args: &A,
        arg: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        let is_there = current.is_some_and(|bytes| bytes != NULL_FORM);
        if self.takes.is_into_value() && self.aggregator.is_numeric() && !is_there {
            return Err(AggError::Absent { aggregator: self.name() });
        }
        self.read_args(args, arg);
        match self.takes {
            Takes::Partial | Takes::PartialIntoValue => self.aggregator.combine(schema, current, arg, out),
            Takes::Row | Takes::RowIntoValue => self.aggregator.step_read(schema, current, arg, out),
        }
    }
}
