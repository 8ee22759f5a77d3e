//! Numbers with their type, as counts, sums and averages add them. Integers never wrap.

use crate::error::AggError;
use crate::schema::Schema;
use tantu_base::value::{Kind, Reader, put_f64, put_i64, put_u64};

/// A number with its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    I64(i64),
    U64(u64),
    F64(f64),
}

impl Number {
    /// Reads a number, or says what stands there instead. `state` is what it is to be added to.
    #[inline]
    pub(super) fn read(aggregator: &'static str, bytes: &[u8], state: Option<Number>) -> Result<Number, AggError> {
        let mut reader = Reader::new(bytes);
        let wanted = || state.map_or("number", Number::name);
        let number = match reader.peek_kind() {
            Ok(Kind::I64) => reader.i64().map(Number::I64),
            Ok(Kind::U64) => reader.u64().map(Number::U64),
            Ok(Kind::F64) => reader.f64().map(Number::F64),
            Ok(kind) => return Err(mismatch(aggregator, wanted(), kind.name())),
            Err(error) => Err(error),
        };
        number.map_err(|_| mismatch(aggregator, wanted(), "malformed value"))
    }

    /// As two words: which type, never 0, and the bits.
    #[inline]
    pub(super) fn packed(self) -> (u32, u64) {
        match self {
            Number::I64(n) => (1, n as u64),
            Number::U64(n) => (2, n),
            Number::F64(n) => (3, n.to_bits()),
        }
    }

    /// The other way round than [`Number::packed`]; 0 is no number.
    #[inline]
    pub(super) fn unpacked((of, bits): (u32, u64)) -> Option<Number> {
        match of {
            0 => None,
            1 => Some(Number::I64(bits as i64)),
            2 => Some(Number::U64(bits)),
            _ => Some(Number::F64(f64::from_bits(bits))),
        }
    }

    /// The 1 that a location of this schema counts by.
    pub(super) fn one(schema: &Schema) -> Number {
        match schema {
            Schema::U64 | Schema::U32 => Number::U64(1),
            _ => Number::I64(1),
        }
    }

    /// The 0 of a location of this schema.
    pub(super) fn zero_of(schema: &Schema) -> Number {
        match schema {
            Schema::F64 => Number::F64(0.0),
            _ => Number::one(schema).zero(),
        }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Number::I64(n) => put_i64(out, n),
            Number::U64(n) => put_u64(out, n),
            Number::F64(n) => put_f64(out, n),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Number::I64(_) => Kind::I64.name(),
            Number::U64(_) => Kind::U64.name(),
            Number::F64(_) => Kind::F64.name(),
        }
    }

    /// The 0 of the same type.
    pub(super) fn zero(self) -> Number {
        match self {
            Number::I64(_) => Number::I64(0),
            Number::U64(_) => Number::U64(0),
            Number::F64(_) => Number::F64(0.0),
        }
    }

    /// The sum, if it is of one type and fits it and the schema.
    #[inline]
    pub(super) fn add(self, addend: Number, aggregator: &'static str, schema: &Schema) -> Result<Number, AggError> {
        match (self, addend) {
            (Number::I64(a), Number::I64(b)) => {
                let sum = a.checked_add(b).filter(|sum| !matches!(schema, Schema::I32) || i32::try_from(*sum).is_ok());
                sum.map(Number::I64).ok_or_else(|| overflow(aggregator, schema, "i64", &a, &b))
            }
            (Number::U64(a), Number::U64(b)) => {
                let sum = a.checked_add(b).filter(|sum| !matches!(schema, Schema::U32) || u32::try_from(*sum).is_ok());
                sum.map(Number::U64).ok_or_else(|| overflow(aggregator, schema, "u64", &a, &b))
            }
            (Number::F64(a), Number::F64(b)) => Ok(Number::F64(a + b)),
            (a, b) => Err(mismatch(aggregator, a.name(), b.name())),
        }
    }
}

fn overflow(
    aggregator: &'static str,
    schema: &Schema,
    wide: &'static str,
    a: &dyn ToString,
    b: &dyn ToString,
) -> AggError {
    let type_name = match schema {
        Schema::I32 => "i32",
        Schema::U32 => "u32",
        _ => wide,
    };
    AggError::Overflow { aggregator, type_name, current: a.to_string(), argument: b.to_string() }
}

pub(super) fn mismatch(aggregator: &'static str, current: &str, argument: &str) -> AggError {
    AggError::Type { aggregator, current: current.to_owned(), argument: argument.to_owned() }
}

/// What an average keeps: an exact sum of integers or a sum of floats, and how many there were.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mean {
    Whole { sum: i128, count: u64 },
    Float { sum: f64, count: u64 },
}

impl Mean {
    /// Bytes of its state. It never leaves the fold it is in, so it has no value form.
    const SIZE: usize = 25;

    fn read(state: &[u8]) -> Mean {
        assert_eq!(state.len(), Mean::SIZE, "an average reads the state that an average wrote");
        let mut sum = [0; 16];
        let mut count = [0; 8];
        sum.copy_from_slice(&state[1..17]);
        count.copy_from_slice(&state[17..]);
        let count = u64::from_le_bytes(count);
        match state[0] {
            0 => Mean::Whole { sum: i128::from_le_bytes(sum), count },
            _ => Mean::Float { sum: f64::from_bits(u128::from_le_bytes(sum) as u64), count },
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        let (tag, sum, count) = match self {
            Mean::Whole { sum, count } => (0, sum.to_le_bytes(), count),
            Mean::Float { sum, count } => (1, u128::from(sum.to_bits()).to_le_bytes(), count),
        };
        out.push(tag);
        out.extend_from_slice(&sum);
        out.extend_from_slice(&count.to_le_bytes());
    }

    /// Writes the state after one more number.
    pub(super) fn step(state: Option<&[u8]>, arg: &[u8], out: &mut Vec<u8>) -> Result<(), AggError> {
        const NAME: &str = "average";
        let whole = |n: i128| match state.map(Mean::read) {
            None => Ok(Mean::Whole { sum: n, count: 1 }),
            // 2^64 integers of 64 bits fit 128 bits, and nobody counts further.
            Some(Mean::Whole { sum, count }) => Ok(Mean::Whole { sum: sum + n, count: count + 1 }),
            Some(Mean::Float { .. }) => Err(mismatch(NAME, "f64", "integer")),
        };
        let next = match Number::read(NAME, arg, None)? {
            Number::I64(n) => whole(i128::from(n))?,
            Number::U64(n) => whole(i128::from(n))?,
            Number::F64(n) => match state.map(Mean::read) {
                None => Mean::Float { sum: n, count: 1 },
                Some(Mean::Float { sum, count }) => Mean::Float { sum: sum + n, count: count + 1 },
                Some(Mean::Whole { .. }) => return Err(mismatch(NAME, "integer", "f64")),
            },
        };
        next.put(out);
        Ok(())
    }

    /// Writes the average.
    pub(super) fn finish(state: &[u8], out: &mut Vec<u8>) {
        let mean = match Mean::read(state) {
            Mean::Whole { sum, count } => sum as f64 / count as f64,
            Mean::Float { sum, count } => sum / count as f64,
        };
        put_f64(out, mean);
    }
}
