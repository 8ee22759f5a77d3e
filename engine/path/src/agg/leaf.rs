//! The aggregators at the leaves of a shape, as a step from value form to value form.
//!
//! An absent or null state is the aggregator's own start. The schema of the location decides the integer type
//! of a count, and narrows what a 32-bit location may reach.

use crate::arg::{Arg, Args};
use crate::error::AggError;
use crate::schema::Schema;
use crate::walk::put_value_form;
use tantu_base::value::{Kind, Reader, put_f64, put_i64, put_u64};

/// One aggregator with its arguments.
#[derive(Clone, PartialEq, Debug)]
pub enum Leaf {
    /// Adds 1.
    Count,
    /// Adds the argument, an integer or a float of the state's own type.
    Sum(Arg),
}

/// A number with its type.
#[derive(Clone, Copy)]
enum Number {
    I64(i64),
    U64(u64),
    F64(f64),
}

impl Leaf {
    /// The builder's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Leaf::Count => "count",
            Leaf::Sum(_) => "sum",
        }
    }

    /// What it folds in.
    pub fn argument(&self) -> Option<&Arg> {
        match self {
            Leaf::Count => None,
            Leaf::Sum(argument) => Some(argument),
        }
    }

    pub(super) fn map_argument(&self, change: &mut dyn FnMut(&Arg) -> Arg) -> Leaf {
        match self {
            Leaf::Count => Leaf::Count,
            Leaf::Sum(argument) => Leaf::Sum(change(argument)),
        }
    }

    /// Writes to `out` the state after one more step. `arg` is a buffer.
    pub(crate) fn step<A: Args + ?Sized>(
        &self,
        schema: &Schema,
        current: Option<&[u8]>,
        args: &A,
        arg: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), AggError> {
        out.clear();
        let state = match current {
            Some(bytes) if !Reader::new(bytes).null() => Some(self.number(bytes, None)?),
            _ => None,
        };
        let addend = match self {
            Leaf::Count => match (state, schema) {
                (Some(Number::U64(_)), _) | (None, Schema::U64 | Schema::U32) => Number::U64(1),
                _ => Number::I64(1),
            },
            Leaf::Sum(argument) => {
                arg.clear();
                put_value_form(argument, args, arg);
                self.number(arg, state)?
            }
        };
        self.add(state, addend, schema, out)
    }

    fn add(&self, state: Option<Number>, addend: Number, schema: &Schema, out: &mut Vec<u8>) -> Result<(), AggError> {
        match (state.unwrap_or(addend.zero()), addend) {
            (Number::I64(a), Number::I64(b)) => {
                let sum = a.checked_add(b).filter(|sum| *schema != Schema::I32 || i32::try_from(*sum).is_ok());
                put_i64(out, sum.ok_or_else(|| self.overflow(schema, "i64", &a, &b))?);
            }
            (Number::U64(a), Number::U64(b)) => {
                let sum = a.checked_add(b).filter(|sum| *schema != Schema::U32 || u32::try_from(*sum).is_ok());
                put_u64(out, sum.ok_or_else(|| self.overflow(schema, "u64", &a, &b))?);
            }
            (Number::F64(a), Number::F64(b)) => put_f64(out, a + b),
            (a, b) => return Err(self.mismatch(a.name(), b.name())),
        }
        Ok(())
    }

    /// Reads a number, or says what stands there instead.
    fn number(&self, bytes: &[u8], state: Option<Number>) -> Result<Number, AggError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.peek_kind();
        let number = match kind {
            Ok(Kind::I64) => reader.i64().map(Number::I64),
            Ok(Kind::U64) => reader.u64().map(Number::U64),
            Ok(Kind::F64) => reader.f64().map(Number::F64),
            Ok(kind) => return Err(self.mismatch(state.map_or("number", Number::name), kind.name())),
            Err(error) => Err(error),
        };
        number.map_err(|_| self.mismatch(state.map_or("number", Number::name), "malformed value"))
    }

    fn mismatch(&self, current: &str, argument: &str) -> AggError {
        AggError::Type { aggregator: self.name(), current: current.to_owned(), argument: argument.to_owned() }
    }

    fn overflow(&self, schema: &Schema, wide: &'static str, a: &dyn ToString, b: &dyn ToString) -> AggError {
        let type_name = match schema {
            Schema::I32 => "i32",
            Schema::U32 => "u32",
            _ => wide,
        };
        AggError::Overflow { aggregator: self.name(), type_name, current: a.to_string(), argument: b.to_string() }
    }
}

impl Number {
    fn name(self) -> &'static str {
        match self {
            Number::I64(_) => Kind::I64.name(),
            Number::U64(_) => Kind::U64.name(),
            Number::F64(_) => Kind::F64.name(),
        }
    }

    fn zero(self) -> Number {
        match self {
            Number::I64(_) => Number::I64(0),
            Number::U64(_) => Number::U64(0),
            Number::F64(_) => Number::F64(0.0),
        }
    }
}
