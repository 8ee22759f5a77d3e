//! Combiners and accumulators that are Rust closures.

use crate::interpose::Before;
use std::fmt;
use std::sync::Arc;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, decoded, encoded};

type Step = dyn Fn(&[u8], &[u8], &mut Vec<u8>) -> Result<(), DecodeError> + Send + Sync;

/// A user's aggregator: what it starts from, and a closure on value forms.
#[derive(Clone)]
pub struct Custom {
    name: &'static str,
    init: Arc<[u8]>,
    step: Arc<Step>,
    pub(super) arg_count: usize,
    pub(super) is_combiner: bool,
    pub(super) is_flush_required: bool,
}

impl Custom {
    /// A combiner: `combine` is associative and `zero` its identity. Each argument is a state itself.
    pub fn combiner<T, F>(zero: &T, combine: F) -> Custom
    where
        T: Encode + Decode,
        F: Fn(T, T) -> T + Send + Sync + 'static,
    {
        let step = move |state: &[u8], arg: &[u8], out: &mut Vec<u8>| {
            combine(decoded::<T>(state)?, decoded::<T>(arg)?).encode(out);
            Ok(())
        };
        Custom {
            name: std::any::type_name::<F>(),
            init: encoded(zero).into(),
            step: Arc::new(step),
            arg_count: 1,
            is_combiner: true,
            is_flush_required: false,
        }
    }

    /// An accumulator: a state and a closure that takes it one row further.
    pub fn accumulator<T, A, F>(init: &T, step: F) -> Custom
    where
        T: Encode + Decode,
        A: Arguments,
        F: Fn(T, A) -> T + Send + Sync + 'static,
    {
        let step = move |state: &[u8], args: &[u8], out: &mut Vec<u8>| {
            step(decoded::<T>(state)?, A::read_all(args)?).encode(out);
            Ok(())
        };
        Custom {
            name: std::any::type_name::<F>(),
            init: encoded(init).into(),
            step: Arc::new(step),
            arg_count: A::COUNT,
            is_combiner: false,
            is_flush_required: false,
        }
    }

    /// Says that states grow with what they take in, so that partial results are sent on before the end.
    pub fn flush_required(mut self) -> Custom {
        self.is_flush_required = true;
        self
    }

    /// Has `before` called ahead of its closure.
    pub(super) fn interpose(&mut self, before: &Before) {
        let (step, before) = (Arc::clone(&self.step), Arc::clone(before));
        self.step = Arc::new(move |state, args, out| {
            before();
            step(state, args, out)
        });
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The state it starts from, in value form.
    pub(super) fn init(&self) -> &[u8] {
        &self.init
    }

    /// Appends the state after one more row. `args` are value forms, one after the other.
    pub(super) fn step(&self, state: Option<&[u8]>, args: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        (self.step)(state.unwrap_or(&self.init), args, out)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custom({})", self.name)
    }
}

/// Two are equal when they are the same closure.
impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        Arc::ptr_eq(&self.step, &other.step)
    }
}

/// The arguments of an accumulator's closure: a tuple of up to seven.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of an accumulator",
    note = "the closure takes the state and a tuple: `|state, (a, b): (i64, String)| …`, `()` or up to seven"
)]
pub trait Arguments: Sized {
    /// How many.
    const COUNT: usize;

    #[doc(hidden)]
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    #[doc(hidden)]
    fn read_all(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let args = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(args)
    }
}

impl Arguments for () {
    const COUNT: usize = 0;

    fn read(_: &mut Reader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }
}

macro_rules! arguments {
    ($count:literal: $($part:ident)+) => {
        impl<$($part: Decode),+> Arguments for ($($part,)+) {
            const COUNT: usize = $count;

            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(($($part::decode(reader)?,)+))
            }
        }
    };
}

arguments!(1: A);
arguments!(2: A B);
arguments!(3: A B C);
arguments!(4: A B C D);
arguments!(5: A B C D E);
arguments!(6: A B C D E F);
arguments!(7: A B C D E F G);
