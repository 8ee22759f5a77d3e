//! The types a var may have, and how their values go into slots, letters and keys.
//!
//! A `Var<T>` reads as `T::Ref<'x>`: scalars by value, `str` and `[u8]` as slices, any other record as `&'x T`. An owned value that
//! a closure returns maps to a var type by [`Owned::Data`]: a `String` becomes a `Var<str>`, an `i64` a `Var<i64>`, a record `T` a `Var<T>`.
//! Text and bytes that arrive in a letter are read where they lie; records are decoded once into the arena.
#![allow(unsafe_code, reason = "typed views of untyped slots; the plan keeps slot and type together")]

use crate::arena::Arena;
use crate::slot::{Frame, Slot};
use std::collections::{BTreeMap, BTreeSet};
use tantu_base::value::{Decode, DecodeError, Encode, Reader, Uuid, Value};

/// A type that a var may have. Derive [`Record`] to add one of yours.
///
/// # Safety
/// `slot` and `read` must agree, and `CODEC` must be that of the type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a var",
    note = "write `#[derive(Record)]` on it, or implement `Encode`, `Decode` and `Record`"
)]
pub unsafe trait Data: 'static {
    /// What a closure receives.
    type Ref<'x>: Copy;
    /// How values of the type are written and read.
    #[doc(hidden)]
    const CODEC: Codec;
    /// The slot of a value that stays where it is.
    #[doc(hidden)]
    fn slot(value: Self::Ref<'_>) -> Slot;
    /// The value of a slot.
    ///
    /// # Safety
    /// The slot is one of this type, and what it points to stays as it is during `'x`.
    #[doc(hidden)]
    unsafe fn read<'x>(slot: Slot) -> Self::Ref<'x>;
}

/// Your own record types: `#[derive(Record)]`, or `impl Record for Visit {}` beside an [`Encode`] and a [`Decode`] of your own.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a record type", note = "write `#[derive(Record)]` on it")]
pub trait Record: Encode + Decode + Send + 'static {}

/// A value that a closure may return: it can be put into a slot.
#[diagnostic::on_unimplemented(
    message = "a closure of a topology cannot return `{Self}`",
    note = "return a number, `bool`, `String`, a tuple or `Vec` of such, or a type with `#[derive(Record)]`; to return a borrow use `view`"
)]
pub trait Returned: 'static {
    /// The type of the var that holds it.
    type Data: Data + ?Sized;
    #[doc(hidden)]
    fn into_slot(self, arena: &mut Arena) -> Slot;
}

/// A value that can live by itself: in a depot, at a leaf of a PState, inside a record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a record of a depot, or a part of one",
    note = "write `#[derive(Record)]` on it"
)]
pub trait Owned: Returned + Encode + Decode + Send {
    /// The slot of a value that stays where it is.
    #[doc(hidden)]
    fn lend(&self) -> Slot;
}

/// A value that a closure emits by reference; `Data` is the type of the var.
pub trait RefOf<'x>: Copy {
    /// The type of the var.
    type Data: Data<Ref<'x> = Self> + ?Sized;
}

/// How values of one type are written and read. Plain function pointers: one indirect call per live var.
#[derive(Clone, Copy)]
pub struct Codec {
    encode: unsafe fn(Slot, &mut Vec<u8>),
    encode_key: unsafe fn(Slot, &mut Vec<u8>),
    decode: unsafe fn(&mut Reader<'_>, &mut Arena) -> Result<Slot, DecodeError>,
    type_name: fn() -> &'static str,
    /// Whether what a slot holds may lie in the bytes it was read from.
    borrows: bool,
    /// Whether a slot points to nothing.
    is_scalar: bool,
}

/// A var as the plan sees it: its slot and its type.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Register {
    pub(crate) var: u32,
    codec: Codec,
}

impl Register {
    pub(crate) fn new<T: Data + ?Sized>(var: u32) -> Register {
        Register { var, codec: T::CODEC }
    }

    /// The same type for another var.
    pub(crate) fn renumbered(self, var: u32) -> Register {
        Register { var, ..self }
    }

    /// Whether all of its value is in the slot's 64 bits, whatever they are.
    #[inline]
    pub(crate) fn is_scalar(&self) -> bool {
        self.codec.is_scalar
    }

    pub(crate) fn type_name(&self) -> &'static str {
        (self.codec.type_name)()
    }

    /// Appends the value form.
    pub(crate) fn encode(&self, frame: &Frame, out: &mut Vec<u8>) {
        // SAFETY: a plan's registers pair each var with the type it was declared with, and a run only holds the frame of its plan.
        unsafe { (self.codec.encode)(frame.get(self.var), out) }
    }

    /// Appends the key form.
    pub(crate) fn encode_key(&self, frame: &Frame, out: &mut Vec<u8>) {
        // SAFETY: as in `encode`.
        unsafe { (self.codec.encode_key)(frame.get(self.var), out) }
    }

    /// Appends a value that this register decoded a moment ago.
    ///
    /// # Safety
    /// As for [`Register::encode_key_of`].
    pub(crate) unsafe fn encode_of(&self, slot: Slot, out: &mut Vec<u8>) {
        // SAFETY: as the caller says.
        unsafe { (self.codec.encode)(slot, out) }
    }

    /// Appends the key form of a value that this register decoded a moment ago.
    ///
    /// # Safety
    /// The slot is one that this register's decoding gave, and the arena is as it was then.
    pub(crate) unsafe fn encode_key_of(&self, slot: Slot, out: &mut Vec<u8>) {
        // SAFETY: as the caller says.
        unsafe { (self.codec.encode_key)(slot, out) }
    }

    /// Reads one value, as the slot of a var of this type. What it points to is in the arena.
    pub(crate) fn decode_one(&self, bytes: &[u8], arena: &mut Arena) -> Result<Slot, DecodeError> {
        // SAFETY: just made from bytes; the caller keeps the arena as it is while the slot is in use.
        let pinned = unsafe { arena.copy(bytes).as_bytes() };
        let mut reader = Reader::new(pinned);
        // SAFETY: the reader stands on pinned memory.
        let slot = unsafe { (self.codec.decode)(&mut reader, arena)? };
        reader.finish()?;
        Ok(slot)
    }

    /// Reads the values that lie one after the other in a var of bytes, as slots of vars of this type.
    pub(crate) fn decode_each(
        &self,
        rows: u32,
        frame: &Frame,
        column: &mut Vec<Slot>,
        arena: &mut Arena,
    ) -> Result<(), DecodeError> {
        // SAFETY: the plan pairs this var with bytes, which are pinned while the var is live.
        let pinned = unsafe { <[u8] as Data>::read(frame.get(rows)) };
        let mut reader = Reader::new(pinned);
        while !reader.is_empty() {
            // SAFETY: the reader stands on pinned memory.
            column.push(unsafe { (self.codec.decode)(&mut reader, arena)? });
        }
        Ok(())
    }

    /// Reads a row of values, as slots of vars of these types. What they point to is in the arena.
    pub(crate) fn decode_row(
        registers: &[Register],
        bytes: &[u8],
        column: &mut Vec<Slot>,
        arena: &mut Arena,
    ) -> Result<(), DecodeError> {
        // SAFETY: just made from bytes; the caller keeps the arena as it is while the slots are in use.
        let pinned = unsafe { arena.copy(bytes).as_bytes() };
        let mut reader = Reader::new(pinned);
        for register in registers {
            // SAFETY: the reader stands on pinned memory.
            column.push(unsafe { (register.codec.decode)(&mut reader, arena)? });
        }
        reader.finish()
    }

    /// Reads the registers one after the other from bytes. If text or byte strings are among them, the bytes are copied into
    /// the arena first, so that those are read where they lie there.
    #[inline]
    pub(crate) fn decode_all(
        registers: &[Register],
        bytes: &[u8],
        frame: &mut Frame,
        arena: &mut Arena,
    ) -> Result<(), DecodeError> {
        let pinned = match registers.iter().any(|register| register.codec.borrows) {
            // SAFETY: just made from bytes, and the arena gives the memory back only after the last use of these registers.
            true => unsafe { arena.copy(bytes).as_bytes() },
            false => bytes,
        };
        let mut reader = Reader::new(pinned);
        for register in registers {
            // SAFETY: the reader stands on pinned memory, or none of the types keeps a pointer to what it reads.
            let slot = unsafe { (register.codec.decode)(&mut reader, arena)? };
            frame.set(register.var, slot);
        }
        reader.finish()
    }
}

macro_rules! scalar {
    ($($type:ty: $to:expr, $from:expr;)*) => {$(
        // SAFETY: all 64 bits travel in the slot; nothing is pointed to.
        unsafe impl Data for $type {
            type Ref<'x> = $type;
            const CODEC: Codec = Codec {
                // SAFETY: scalars are read from any slot.
                encode: |slot, out| unsafe { Self::read(slot) }.encode(out),
                // SAFETY: the same.
                encode_key: |slot, out| unsafe { Self::read(slot) }.encode_key(out),
                decode: |reader, _| Ok(Self::slot(<$type>::decode(reader)?)),
                type_name: std::any::type_name::<$type>,
                borrows: false,
                is_scalar: true,
            };
            #[inline]
            fn slot(value: $type) -> Slot {
                Slot::scalar(($to)(value))
            }
            #[inline]
            unsafe fn read<'x>(slot: Slot) -> Self::Ref<'x> {
                ($from)(slot.bits())
            }
        }
        impl Returned for $type {
            type Data = $type;
            #[inline]
            fn into_slot(self, _: &mut Arena) -> Slot {
                Self::slot(self)
            }
        }
        impl Owned for $type {
            #[inline]
            fn lend(&self) -> Slot {
                Self::slot(*self)
            }
        }
        impl RefOf<'_> for $type {
            type Data = $type;
        }
    )*};
}

scalar! {
    i64: |v: i64| v as u64, |bits: u64| bits as i64;
    u64: |v: u64| v, |bits: u64| bits;
    i32: |v: i32| v as u32 as u64, |bits: u64| bits as u32 as i32;
    u32: |v: u32| v as u64, |bits: u64| bits as u32;
    f64: |v: f64| v.to_bits(), f64::from_bits;
    bool: |v: bool| v as u64, |bits: u64| bits != 0;
    (): |()| 0, |_: u64| ();
}

// SAFETY: a pointer and a length of text that is pinned.
unsafe impl Data for str {
    type Ref<'x> = &'x str;
    const CODEC: Codec = Codec {
        // SAFETY: the slot is one of `str`, pinned while its var is live.
        encode: |slot, out| unsafe { Self::read(slot) }.encode(out),
        // SAFETY: the same.
        encode_key: |slot, out| unsafe { Self::read(slot) }.encode_key(out),
        decode: |reader, _| Ok(Slot::bytes(reader.str()?.as_bytes())),
        type_name: || "str",
        borrows: true,
        is_scalar: false,
    };
    #[inline]
    fn slot(value: &str) -> Slot {
        Slot::bytes(value.as_bytes())
    }
    #[inline]
    unsafe fn read<'x>(slot: Slot) -> &'x str {
        // SAFETY: the caller's promise, and slots of this type are made from `str` only.
        unsafe { std::str::from_utf8_unchecked(slot.as_bytes()) }
    }
}

// SAFETY: a pointer and a length of bytes that are pinned.
unsafe impl Data for [u8] {
    type Ref<'x> = &'x [u8];
    const CODEC: Codec = Codec {
        // SAFETY: the slot is one of `[u8]`, pinned while its var is live.
        encode: |slot, out| unsafe { Self::read(slot) }.encode(out),
        // SAFETY: the same.
        encode_key: |slot, out| unsafe { Self::read(slot) }.encode_key(out),
        decode: |reader, _| Ok(Slot::bytes(reader.bytes()?)),
        type_name: || "[u8]",
        borrows: true,
        is_scalar: false,
    };
    #[inline]
    fn slot(value: &[u8]) -> Slot {
        Slot::bytes(value)
    }
    #[inline]
    unsafe fn read<'x>(slot: Slot) -> &'x [u8] {
        // SAFETY: the caller's promise.
        unsafe { slot.as_bytes() }
    }
}

// SAFETY: a pointer to a `T` that is pinned.
unsafe impl<T: Record> Data for T {
    type Ref<'x> = &'x T;
    const CODEC: Codec = Codec {
        // SAFETY: the slot is one of `T`, pinned while its var is live.
        encode: |slot, out| unsafe { Self::read(slot) }.encode(out),
        // SAFETY: the same.
        encode_key: |slot, out| unsafe { Self::read(slot) }.encode_key(out),
        decode: |reader, arena| Ok(T::decode(reader)?.into_slot(arena)),
        type_name: std::any::type_name::<T>,
        borrows: false,
        is_scalar: false,
    };
    #[inline]
    fn slot(value: &T) -> Slot {
        Slot::pointer(value)
    }
    #[inline]
    unsafe fn read<'x>(slot: Slot) -> &'x T {
        // SAFETY: the caller's promise.
        unsafe { slot.as_value() }
    }
}

impl<T: Record> Returned for T {
    type Data = T;
    fn into_slot(self, arena: &mut Arena) -> Slot {
        arena.keep(self)
    }
}

impl<T: Record> Owned for T {
    fn lend(&self) -> Slot {
        Slot::pointer(self)
    }
}

impl<'x, T: Record> RefOf<'x> for &'x T {
    type Data = T;
}

impl<'x> RefOf<'x> for &'x str {
    type Data = str;
}

impl<'x> RefOf<'x> for &'x [u8] {
    type Data = [u8];
}

impl Returned for String {
    type Data = str;
    fn into_slot(self, arena: &mut Arena) -> Slot {
        arena.copy(self.as_bytes())
    }
}

impl Owned for String {
    fn lend(&self) -> Slot {
        Slot::bytes(self.as_bytes())
    }
}

impl Returned for Vec<u8> {
    type Data = [u8];
    fn into_slot(self, arena: &mut Arena) -> Slot {
        arena.copy(&self)
    }
}

impl Owned for Vec<u8> {
    fn lend(&self) -> Slot {
        Slot::bytes(self)
    }
}

impl Returned for &'static str {
    type Data = str;
    fn into_slot(self, _: &mut Arena) -> Slot {
        Slot::bytes(self.as_bytes())
    }
}

impl Record for Value {}
impl Record for Uuid {}
impl<const N: usize> Record for [u8; N] {}
impl<T: Owned> Record for Vec<T> {}
impl<T: Owned> Record for Option<T> {}
impl<T: Owned> Record for Box<T> {}
impl<K: Owned + Ord, V: Owned> Record for BTreeMap<K, V> {}
impl<T: Owned + Ord> Record for BTreeSet<T> {}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Owned),+> Record for ($($name,)+) {}
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
