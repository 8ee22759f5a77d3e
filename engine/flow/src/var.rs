//! Vars: typed, copied handles of values that exist only while the topology runs.
//!
//! A var belongs to the source block that made it and is visible in the code attached below the place that bound it; both are
//! checked when it is used, not by the compiler.
#![allow(unsafe_code, reason = "typed reads of the frame; see `data`")]

use crate::data::{Data, Owned, Register, Returned};
use crate::slot::Frame;
use std::marker::PhantomData;
use tantu_path::agg::{AnyArg, NumberArg};
use tantu_path::{Arg, PathArg};

/// A value of the running topology, seen from the code that declares it.
pub struct Var<T: ?Sized> {
    pub(crate) source: u32,
    pub(crate) id: u32,
    of: PhantomData<fn() -> *const T>,
}

impl<T: ?Sized> Var<T> {
    pub(crate) fn new(source: u32, id: u32) -> Var<T> {
        Var { source, id, of: PhantomData }
    }
}

impl<T: ?Sized> Copy for Var<T> {}

impl<T: ?Sized> Clone for Var<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> std::fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Var<{}>({}.{})", std::any::type_name::<T>(), self.source, self.id)
    }
}

impl<T: Owned> PathArg<T> for Var<<T as Returned>::Data> {
    fn into_arg(self) -> Arg {
        Arg::Slot(self.id)
    }
}

impl<T: Data + ?Sized> AnyArg for Var<T> {
    fn into_any_arg(self) -> Arg {
        Arg::Slot(self.id)
    }
}

macro_rules! number_vars {
    ($($type:ty),*) => {$(
        impl NumberArg for Var<$type> {}
        impl NumberArg for Var<Option<$type>> {}
    )*};
}

number_vars!(i64, u64, i32, u32, f64);

/// A var without its type in the compiler's eyes: what the graph records.
#[derive(Clone, Copy)]
pub struct AnyVar {
    pub(crate) source: u32,
    pub(crate) register: Register,
}

impl<T: Data + ?Sized> From<Var<T>> for AnyVar {
    fn from(var: Var<T>) -> AnyVar {
        AnyVar { source: var.source, register: Register::new::<T>(var.id) }
    }
}

/// One var, a tuple of vars (nested if you like), or `()`: the inputs of an operation.
///
/// # Safety
/// `read` must read exactly the vars that `list` names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a var or a tuple of vars",
    note = "make a var of a constant with `b.constant(…)`, or let the closure capture it"
)]
pub unsafe trait Vars: Copy + Send + Sync + 'static {
    /// What the closure receives: a tuple of the same shape.
    type Refs<'x>: Copy;
    #[doc(hidden)]
    fn list(self, visit: &mut dyn FnMut(AnyVar));
    /// # Safety
    /// The frame belongs to the source of the vars, they were written, and what they point to stays as it is during `'x`.
    #[doc(hidden)]
    unsafe fn read<'x>(self, frame: &Frame) -> Self::Refs<'x>;
    /// New vars of the same types, each made by `bind`.
    #[doc(hidden)]
    fn fresh(bind: &mut dyn FnMut(MakeRegister) -> (u32, u32)) -> Self;
}

/// Gives a var's number its type.
pub(crate) type MakeRegister = fn(u32) -> Register;

// SAFETY: lists and reads the one var.
unsafe impl<T: Data + ?Sized> Vars for Var<T> {
    type Refs<'x> = T::Ref<'x>;
    fn list(self, visit: &mut dyn FnMut(AnyVar)) {
        visit(self.into());
    }
    #[inline]
    unsafe fn read<'x>(self, frame: &Frame) -> T::Ref<'x> {
        // SAFETY: the caller's promise; the builder wrote a `T` slot there.
        unsafe { T::read(frame.get(self.id)) }
    }
    fn fresh(bind: &mut dyn FnMut(MakeRegister) -> (u32, u32)) -> Self {
        let (source, id) = bind(Register::new::<T>);
        Var::new(source, id)
    }
}

// SAFETY: nothing to read.
unsafe impl Vars for () {
    type Refs<'x> = ();
    fn list(self, _: &mut dyn FnMut(AnyVar)) {}
    unsafe fn read<'x>(self, _: &Frame) -> Self::Refs<'x> {}
    fn fresh(_: &mut dyn FnMut(MakeRegister) -> (u32, u32)) -> Self {}
}

macro_rules! tuple {
    ($($name:ident)+) => {
        // SAFETY: each part lists and reads its own.
        unsafe impl<$($name: Vars),+> Vars for ($($name,)+) {
            type Refs<'x> = ($($name::Refs<'x>,)+);
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn list(self, visit: &mut dyn FnMut(AnyVar)) {
                let ($($name,)+) = self;
                $($name.list(visit);)+
            }
            #[inline]
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            unsafe fn read<'x>(self, frame: &Frame) -> Self::Refs<'x> {
                let ($($name,)+) = self;
                // SAFETY: the caller's promise holds for each part.
                unsafe { ($($name.read(frame),)+) }
            }
            fn fresh(bind: &mut dyn FnMut(MakeRegister) -> (u32, u32)) -> Self {
                ($($name::fresh(bind),)+)
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
