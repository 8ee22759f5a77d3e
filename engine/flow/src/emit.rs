//! What an operation that emits any number of values writes to.

use crate::arena::Arena;
use crate::data::{Data, RefOf, Returned};
use crate::slot::Slot;
use crate::wiring::OutStream;
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

/// [`Emit`] for an operation with several output streams.
pub struct StreamEmit<'x, O: ?Sized> {
    pub(crate) arena: &'x mut Arena,
    pub(crate) column: &'x mut Vec<Slot>,
    /// The vars of the streams besides the default one.
    pub(crate) streams: &'x [u32],
    pub(crate) of: PhantomData<fn(&'x O)>,
}

impl<'x, O: Data + ?Sized> StreamEmit<'x, O> {
    fn put(&mut self, stream: usize, value: Slot) {
        self.column.push(Slot::scalar(stream as u64));
        self.column.push(value);
    }

    /// The place of a stream.
    ///
    /// # Panics
    /// If it is not one of this operation's.
    fn place<T: ?Sized>(&self, stream: OutStream<T>) -> usize {
        let place = self.streams.iter().position(|var| *var == stream.var.id);
        1 + place.expect("a value is emitted on a stream that is not one of this operation's")
    }

    /// Emits a value of its own on the default stream.
    pub fn owned<R: Returned<Data = O>>(&mut self, value: R) {
        let slot = value.into_slot(self.arena);
        self.put(0, slot);
    }

    /// Emits a part of the operation's input on the default stream, without copying it.
    pub fn emit<R: RefOf<'x, Data = O>>(&mut self, value: R)
    where
        O: Data<Ref<'x> = R>,
    {
        self.put(0, O::slot(value));
    }

    /// Emits a value of its own on another stream.
    ///
    /// # Panics
    /// If the stream is not one of this operation's.
    pub fn owned_on<R: Returned>(&mut self, stream: OutStream<R::Data>, value: R) {
        let place = self.place(stream);
        let slot = value.into_slot(self.arena);
        self.put(place, slot);
    }

    /// Emits a part of the operation's input on another stream, without copying it.
    ///
    /// # Panics
    /// If the stream is not one of this operation's.
    pub fn emit_on<R: RefOf<'x>>(&mut self, stream: OutStream<R::Data>, value: R) {
        let place = self.place(stream);
        self.put(place, R::Data::slot(value));
    }
}
