//! What an operation that emits any number of values writes to.

use crate::arena::Arena;
use crate::data::{Data, RefOf, Returned};
use crate::slot::Slot;
use std::marker::PhantomData;

/// Collects the emits of one call. They stay in order; the code below runs once for each.
pub struct Emit<'x, O: ?Sized> {
    pub(crate) arena: &'x mut Arena,
    pub(crate) column: &'x mut Vec<Slot>,
    pub(crate) of: PhantomData<fn(&'x O)>,
}

impl<'x, O: Data + ?Sized> Emit<'x, O> {
    /// Emits a value of its own.
    pub fn owned<R: Returned<Data = O>>(&mut self, value: R) {
        let slot = value.into_slot(self.arena);
        self.column.push(slot);
    }

    /// Emits a part of the operation's input, without copying it.
    pub fn emit<R: RefOf<'x, Data = O>>(&mut self, value: R)
    where
        O: Data<Ref<'x> = R>,
    {
        self.column.push(O::slot(value));
    }
}
