//! User closures inside paths.
//!
//! A closure is kept as a function on value forms: the typed wrappers decode its arguments and encode its
//! answer. A stored value can so go to the closure and back without a value tree between.

use crate::interpose::Before;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use tantu_base::value::{Decode, DecodeError, Encode, Value, decoded, put_list_header};

type Call = dyn Fn(&[u8], &[Vec<u8>], &mut Vec<u8>) -> Result<(), DecodeError> + Send + Sync;

/// A closure as a navigator calls it: the navigated value, the extra arguments, and where the answer goes.
/// An answer of no bytes is void.
#[derive(Clone)]
pub struct Func {
    name: &'static str,
    /// Whether a module may know it by its name.
    named: bool,
    call: Arc<Call>,
    may_void: bool,
}

impl Func {
    /// A function on value forms. `name` appears in messages and descriptions.
    pub fn new<F>(name: &'static str, call: F) -> Func
    where
        F: Fn(&[u8], &[Vec<u8>], &mut Vec<u8>) -> Result<(), DecodeError> + Send + Sync + 'static,
    {
        Func { name, named: false, call: Arc::new(call), may_void: true }
    }

    /// The same function under a name of its own, by which a path that is sent can name it: whoever reads the path
    /// must know a function of that name ([`Functions`]).
    pub fn named(name: &'static str, func: Func) -> Func {
        Func { name, named: true, ..func }
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

    /// The answers of two functions as a list of two; the second function gets the first answer as an argument.
    pub(crate) fn both(first: Func, second: Func) -> Func {
        Func::new(first.name, move |at, _, out| {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            first.call(at, &[], &mut one)?;
            let extra = [one];
            second.call(at, &extra, &mut other)?;
            put_list_header(out, 2);
            for answer in [&extra[0], &other] {
                // A function that answers void made no bound; null is none either.
                if answer.is_empty() { Value::Null.encode(out) } else { out.extend_from_slice(answer) }
            }
            Ok(())
        })
    }

    /// A function of the navigated value and of the extra arguments, which come as a tuple.
    pub fn extra<A, X, R, F>(f: F) -> Func
    where
        A: Decode,
        X: ReadExtra,
        R: Encode,
        F: Fn(A, X) -> R + Send + Sync + 'static,
    {
        Func::new(std::any::type_name::<F>(), move |at, extra, out| {
            f(decoded::<A>(at)?, X::read_extra(extra)?).encode(out);
            Ok(())
        })
    }

    /// A function of what was collected, which comes as a tuple, and of the navigated value: for the end of a path
    /// that collects.
    pub fn collected<C, A, R, F>(f: F) -> Func
    where
        C: ReadExtra,
        A: Decode,
        R: Encode,
        F: Fn(C, A) -> R + Send + Sync + 'static,
    {
        Func::new(std::any::type_name::<F>(), move |first, others, out| {
            let forms: Vec<&[u8]> = [first].into_iter().chain(others.iter().map(Vec::as_slice)).collect();
            let (last, collected) = forms.split_last().expect("invariant: there is the first");
            let collected: Vec<Vec<u8>> = collected.iter().map(|form| form.to_vec()).collect();
            f(C::read_extra(&collected)?, decoded::<A>(last)?).encode(out);
            Ok(())
        })
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    /// Whether it may answer void.
    pub(crate) fn may_void(&self) -> bool {
        self.may_void
    }

    /// Has `before` called ahead of it.
    pub(crate) fn interpose(&mut self, before: &Before) {
        let (call, before) = (Arc::clone(&self.call), Arc::clone(before));
        self.call = Arc::new(move |at, extra, out| {
            before();
            call(at, extra, out)
        });
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

/// A function with a name, and with types: what a client's path may call, if the module declares it.
///
/// ```
/// use std::collections::BTreeMap;
/// use tantu_path::{Functions, Map, NamedFn, Navigate, Path, path};
///
/// let is_even = NamedFn::new("is_even", |n: i64| n % 2 == 0);
/// let evens = path::<Map<String, i64>>().map_vals().filter_named(&is_even);
///
/// let mut bytes = Vec::new();
/// evens.path().encode(&mut bytes)?;
/// let mut known = Functions::default();
/// assert!(Path::decode_with(&bytes, &known).is_err());
/// assert!(known.declare(is_even.func().clone()));
/// assert_eq!(&Path::decode_with(&bytes, &known)?, evens.path());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NamedFn<A, R> {
    func: Func,
    types: PhantomData<fn(A) -> R>,
}

impl<A: Decode, R: Encode> NamedFn<A, R> {
    /// A function of the navigated value.
    pub fn new(name: &'static str, f: impl Fn(A) -> R + Send + Sync + 'static) -> NamedFn<A, R> {
        NamedFn { func: Func::named(name, Func::unary(f)), types: PhantomData }
    }
}

impl<A, R> NamedFn<A, R> {
    /// The untyped function.
    pub fn func(&self) -> &Func {
        &self.func
    }
}

impl<A, R> Clone for NamedFn<A, R> {
    fn clone(&self) -> Self {
        NamedFn { func: self.func.clone(), types: PhantomData }
    }
}

impl<A, R> fmt::Debug for NamedFn<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedFn({})", self.func.name)
    }
}

/// The functions that paths which come from outside may name.
#[derive(Clone, Default, Debug)]
pub struct Functions {
    by_name: BTreeMap<&'static str, Func>,
}

impl Functions {
    /// Adds a function under its name; `false` if there is one of that name already.
    pub fn declare(&mut self, func: Func) -> bool {
        match self.by_name.entry(func.name) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Func { named: true, ..func });
                true
            }
        }
    }

    pub(crate) fn each_mut(&mut self) -> impl Iterator<Item = &mut Func> {
        self.by_name.values_mut()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Func> {
        self.by_name.get(name)
    }
}

/// The extra arguments of a closure as a tuple of up to seven.
pub trait ReadExtra: Sized {
    /// Reads them. One that is missing does not decode.
    fn read_extra(extra: &[Vec<u8>]) -> Result<Self, DecodeError>;
}

macro_rules! read_extra {
    ($($part:ident $index:literal),+) => {
        impl<$($part: Decode),+> ReadExtra for ($($part,)+) {
            fn read_extra(extra: &[Vec<u8>]) -> Result<Self, DecodeError> {
                let form = |index: usize| extra.get(index).map_or(&[] as &[u8], Vec::as_slice);
                Ok(($(decoded::<$part>(form($index))?,)+))
            }
        }
    };
}

read_extra!(A 0);
read_extra!(A 0, B 1);
read_extra!(A 0, B 1, C 2);
read_extra!(A 0, B 1, C 2, D 3);
read_extra!(A 0, B 1, C 2, D 3, E 4);
read_extra!(A 0, B 1, C 2, D 3, E 4, G 5);
read_extra!(A 0, B 1, C 2, D 3, E 4, G 5, H 6);
