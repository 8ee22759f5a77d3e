//! User closures inside paths.
//!
//! A closure is kept as a function on value forms: the typed wrappers decode its arguments and encode its
//! answer. A stored value can so go to the closure and back without a value tree between.

use std::fmt;
use std::sync::Arc;
use tantu_base::value::{Decode, DecodeError, Encode, Value, decoded};

type Call = dyn Fn(&[u8], &[Vec<u8>], &mut Vec<u8>) -> Result<(), DecodeError> + Send + Sync;

/// A closure as a navigator calls it: the navigated value, the extra arguments, and where the answer goes.
/// An answer of no bytes is void.
#[derive(Clone)]
pub struct Func {
    name: &'static str,
    call: Arc<Call>,
    may_void: bool,
}

impl Func {
    /// A function on value forms. `name` appears in messages and descriptions.
    pub fn new<F>(name: &'static str, call: F) -> Func
    where
        F: Fn(&[u8], &[Vec<u8>], &mut Vec<u8>) -> Result<(), DecodeError> + Send + Sync + 'static,
    {
        Func { name, call: Arc::new(call), may_void: true }
    }

    /// A function of the navigated value alone.
    pub fn unary<A, R, F>(f: F) -> Func
    where
        A: Decode,
        R: Encode,
        F: Fn(A) -> R + Send + Sync + 'static,
    {
        let func = Func::new(std::any::type_name::<F>(), move |at, _, out| {
            f(decoded::<A>(at)?).encode(out);
            Ok(())
        });
        Func { may_void: false, ..func }
    }

    /// A function of the navigated value alone that may answer void.
    pub fn unary_or_void<A, R, F>(f: F) -> Func
    where
        A: Decode,
        R: Encode,
        F: Fn(A) -> Option<R> + Send + Sync + 'static,
    {
        Func::new(std::any::type_name::<F>(), move |at, _, out| {
            if let Some(answer) = f(decoded::<A>(at)?) {
                answer.encode(out);
            }
            Ok(())
        })
    }

    /// A function of the navigated value and one extra argument.
    pub fn binary<A, B, R, F>(f: F) -> Func
    where
        A: Decode,
        B: Decode,
        R: Encode,
        F: Fn(A, B) -> R + Send + Sync + 'static,
    {
        let func = Func::new(std::any::type_name::<F>(), move |at, extra, out| {
            let argument = extra.first().map_or(&[] as &[u8], Vec::as_slice);
            f(decoded::<A>(at)?, decoded::<B>(argument)?).encode(out);
            Ok(())
        });
        Func { may_void: false, ..func }
    }

    /// A function on untyped values; the slice holds the extra arguments, `None` is void.
    pub fn untyped<F>(f: F) -> Func
    where
        F: Fn(Value, &[Value]) -> Option<Value> + Send + Sync + 'static,
    {
        Func::new(std::any::type_name::<F>(), move |at, extra, out| {
            let extra = extra.iter().map(|bytes| Value::decode(bytes)).collect::<Result<Vec<_>, _>>()?;
            if let Some(answer) = f(Value::decode(at)?, &extra) {
                answer.encode(out);
            }
            Ok(())
        })
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it may answer void.
    pub(crate) fn may_void(&self) -> bool {
        self.may_void
    }

    /// Calls it.
    pub(crate) fn call(&self, at: &[u8], extra: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        (self.call)(at, extra, out)
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Func({})", self.name)
    }
}

/// Two functions are equal when they are the same closure.
impl PartialEq for Func {
    fn eq(&self, other: &Func) -> bool {
        Arc::ptr_eq(&self.call, &other.call)
    }
}
