//! The aggregators: what each starts from, how it takes in one more row, and how two of its states become one.
//!
//! A *combiner* has an associative combine whose identity is what it starts from, so rows can be aggregated where they
//! are and only partial states travel. An *accumulator* needs every row in one place. States and arguments are value
//! forms; several arguments lie one after the other.

use super::custom::Custom;
use super::live::{Form, Live};
use super::number::{Mean, Number};
use super::top::{Limit, TopMonotonic};
use crate::error::AggError;
use crate::row::NULL_FORM;
use crate::schema::Schema;
use std::cmp::Ordering;
use tantu_base::value::{Kind, Reader, compare_encoded, put_bool, put_null};

/// What to do with rows. The argument counts are in [`Aggregator::arg_count`].
#[derive(Clone, PartialEq, Debug)]
pub enum Aggregator {
    /// Adds 1 per row.
    Count,
    /// Adds the argument, an integer or a float of the state's own type.
    Sum,
    /// The greatest argument; null is below all.
    Max,
    /// The least argument that is not null.
    Min,
    /// Starts true: the first falsy argument, or the last if all are truthy. Null and false are falsy.
    And,
    /// Starts false: the first truthy argument, or the last if all are falsy.
    Or,
    /// The first argument that is not null.
    First,
    /// The last argument that is not null.
    Last,
    /// The set of the arguments.
    Set,
    /// Removes the argument from a set.
    SetRemove,
    /// A map from each argument to how often it came.
    MultiSet,
    /// A map of the first argument to the last second one.
    Map,
    /// The arguments as they came.
    List,
    /// The entries of all the maps; the last one wins.
    Merge,
    /// The average of the arguments as a float; only as an output of a batch.
    Average,
    /// The best value of each of the best ids.
    TopMonotonic(TopMonotonic),
    /// Some of the rows; only as an output of a batch.
    Limit(Limit),
    /// Removes what is there; only in a compound shape.
    Void,
    /// Rust closures.
    Custom(Custom),
}

impl Aggregator {
    /// The builder's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Aggregator::Count => "count",
            Aggregator::Sum => "sum",
            Aggregator::Max => "max",
            Aggregator::Min => "min",
            Aggregator::And => "and",
            Aggregator::Or => "or",
            Aggregator::First => "first",
            Aggregator::Last => "last",
            Aggregator::Set => "set",
            Aggregator::SetRemove => "set_remove",
            Aggregator::MultiSet => "multi_set",
            Aggregator::Map => "map",
            Aggregator::List => "list",
            Aggregator::Merge => "merge",
            Aggregator::Average => "average",
            Aggregator::TopMonotonic(_) => "top_monotonic",
            Aggregator::Limit(_) => "limit",
            Aggregator::Void => "void",
            Aggregator::Custom(custom) => custom.name(),
        }
    }

    /// How many arguments a step takes.
    pub fn arg_count(&self) -> usize {
        match self {
            Aggregator::Count | Aggregator::Void => 0,
            Aggregator::Map => 2,
            Aggregator::Limit(limit) => limit.arg_count(),
            Aggregator::Custom(custom) => custom.arg_count,
            _ => 1,
        }
    }

    /// Whether states can be combined, so that aggregation may happen in two phases (AGG-02, AGG-09).
    pub fn is_combiner(&self) -> bool {
        match self {
            Aggregator::Average | Aggregator::TopMonotonic(_) | Aggregator::Void => false,
            Aggregator::Custom(custom) => custom.is_combiner,
            _ => true,
        }
    }

    /// Whether its states grow with what they take in, so that partial states should be sent on before the end (AGG-10).
    pub fn is_flush_required(&self) -> bool {
        match self {
            Aggregator::Custom(custom) => custom.is_flush_required,
            _ => self.form() != Form::Plain && !matches!(self, Aggregator::TopMonotonic(_) | Aggregator::Limit(_)),
        }
    }

    pub(super) fn form(&self) -> Form {
        match self {
            Aggregator::Set | Aggregator::SetRemove => Form::Set,
            Aggregator::MultiSet | Aggregator::Map | Aggregator::Merge => Form::Map,
            Aggregator::List | Aggregator::TopMonotonic(_) | Aggregator::Limit(_) => Form::List,
            _ => Form::Plain,
        }
    }

    /// How a fold keeps its states.
    pub(super) fn form_in_fold(&self) -> Form {
        if self.is_numeric() { Form::Number } else { self.form() }
    }

    /// Whether it adds to a number that must be there where a value is updated as a whole (AGG-05).
    pub(super) fn is_numeric(&self) -> bool {
        matches!(self, Aggregator::Count | Aggregator::Sum)
    }

    /// Appends what it starts from, which is also its result if there are no rows, for a location of this schema.
    ///
    /// ```
    /// use tantu_base::value::{Value, encoded};
    /// use tantu_path::{Aggregator, Schema};
    ///
    /// let mut state = Vec::new();
    /// Aggregator::Sum.init(&Schema::U64, &mut state);
    /// let mut next = Vec::new();
    /// Aggregator::Sum.step(&Schema::U64, Some(&state), &encoded(&5u64), &mut next)?;
    /// assert_eq!(Value::decode(&next)?, Value::U64(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn init(&self, schema: &Schema, out: &mut Vec<u8>) {
        match self {
            Aggregator::Count | Aggregator::Sum => Number::zero_of(schema).put(out),
            Aggregator::And => put_bool(out, true),
            Aggregator::Or => put_bool(out, false),
            Aggregator::Custom(custom) => out.extend_from_slice(custom.init()),
            _ if self.form() == Form::Plain => put_null(out),
            _ => Live::new(self.form()).put_value(out),
        }
    }

    /// Writes to `out` the state of a location after one more row. No state is the one it starts from, and so is null,
    /// except where null is a state of its own. Nothing in `out` means that the location is to be removed.
    pub fn step(&self, schema: &Schema, state: Option<&[u8]>, args: &[u8], out: &mut Vec<u8>) -> Result<(), AggError> {
        self.check_args(args)?;
        self.step_read(schema, state, args, out)
    }

    /// [`Aggregator::step`] with arguments that are known to be as many as it takes.
    pub(super) fn step_read(
        &self,
        schema: &Schema,
        state: Option<&[u8]>,
        args: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        out.clear();
        self.take(schema, state, args, false, out)
    }

    /// Writes to `out` the state of a location after it took in the partial state of another.
    pub fn combine(
        &self,
        schema: &Schema,
        state: Option<&[u8]>,
        partial: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        out.clear();
        self.check_combines()?;
        self.take(schema, state, partial, true, out)
    }

    pub(super) fn check_combines(&self) -> Result<(), AggError> {
        if self.is_combiner() { Ok(()) } else { Err(self.misplaced("is no combiner: it needs every row in one place")) }
    }

    fn take(
        &self,
        schema: &Schema,
        state: Option<&[u8]>,
        args: &[u8],
        is_partial: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        match self {
            Aggregator::Void => return Ok(()),
            Aggregator::Average | Aggregator::Limit(_) => {
                return Err(self.misplaced("can only be the output of a batch"));
            }
            _ => {}
        }
        if self.form() == Form::Plain {
            return self.plain_step(schema, state, args, is_partial, out);
        }
        let mut live = match state {
            Some(state) => Live::open(self.form(), self.name(), state)?,
            None => Live::new(self.form()),
        };
        live.absorb(self, schema, args, is_partial, &mut Vec::new())?;
        live.put_value(out);
        Ok(())
    }

    /// [`Aggregator::step`] or [`Aggregator::combine`] of those that keep no collection; appends to `out`.
    #[inline]
    pub(super) fn plain_step(
        &self,
        schema: &Schema,
        state: Option<&[u8]>,
        args: &[u8],
        is_partial: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        match self {
            Aggregator::Count | Aggregator::Sum => {
                let state = match state {
                    Some(bytes) if bytes != NULL_FORM => Some(Number::read(self.name(), bytes, None)?),
                    _ => None,
                };
                self.add(schema, state, args, is_partial)?.put(out);
            }
            Aggregator::Average => Mean::step(state, args, out)?,
            Aggregator::Custom(custom) => {
                let state = state.filter(|state| *state != NULL_FORM);
                custom.step(state, args, out).map_err(|source| self.broken(source))?;
            }
            _ => {
                let keeps = match state {
                    Some(state) => self.keeps(state, args)?,
                    None => false,
                };
                out.extend_from_slice(state.filter(|_| keeps).unwrap_or(args));
            }
        }
        Ok(())
    }

    /// A step or a combine of a number.
    #[inline]
    pub(super) fn add(
        &self,
        schema: &Schema,
        state: Option<Number>,
        args: &[u8],
        is_partial: bool,
    ) -> Result<Number, AggError> {
        let name = self.name();
        let addend = match (self, state) {
            (Aggregator::Count, Some(Number::U64(_))) if !is_partial => Number::U64(1),
            (Aggregator::Count, Some(_)) if !is_partial => Number::I64(1),
            (Aggregator::Count, None) if !is_partial => Number::one(schema),
            _ => Number::read(name, args, state)?,
        };
        state.unwrap_or(addend.zero()).add(addend, name, schema)
    }

    /// Whether the state stays rather than becomes the argument.
    fn keeps(&self, state: &[u8], arg: &[u8]) -> Result<bool, AggError> {
        let is_null = |bytes: &[u8]| bytes == NULL_FORM;
        let order = || compare_encoded(state, arg).map_err(|source| self.broken(source));
        Ok(match self {
            Aggregator::And => !is_truthy(state),
            Aggregator::Or => is_truthy(state),
            Aggregator::First => !is_null(state),
            Aggregator::Last => is_null(arg),
            Aggregator::Max => is_null(arg) || (!is_null(state) && order()? != Ordering::Less),
            Aggregator::Min => is_null(arg) || (!is_null(state) && order()? != Ordering::Greater),
            _ => unreachable!("{} computes its states", self.name()),
        })
    }

    /// Whether there are as many arguments as a step takes.
    pub(super) fn check_args(&self, args: &[u8]) -> Result<(), AggError> {
        let wanted = self.arg_count();
        let mut found = 0;
        let mut reader = Reader::new(args);
        while !reader.is_empty() {
            reader.skip().map_err(|source| self.broken(source))?;
            found += 1;
        }
        if found == wanted { Ok(()) } else { Err(AggError::Arguments { aggregator: self.name(), wanted, found }) }
    }

    pub(super) fn broken(&self, source: tantu_base::value::DecodeError) -> AggError {
        AggError::Bytes { aggregator: self.name(), source }
    }

    pub(super) fn misplaced(&self, what: &'static str) -> AggError {
        AggError::Misplaced { aggregator: self.name(), what }
    }
}

/// All but null and false.
fn is_truthy(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    match reader.peek_kind() {
        Ok(Kind::Null) => false,
        Ok(Kind::Bool) => reader.bool().is_ok_and(|value| value),
        _ => true,
    }
}
