//! Slots and the frame: the registers of a run.
//!
//! A slot is 16 bytes that are copied freely: a scalar, or a pointer (and length) into memory that stays where it is until
//! the run is done with it (the arena). It does not know its type; the plan does. Nothing in a slot is ever dropped, so
//! going back to an earlier point of the program costs nothing here.
//!
//! Each var of a source has a slot of its own, written before it is read on every way through the program: the builder
//! refuses a var outside its scope.
#![allow(unsafe_code, reason = "slots are untyped; each read states why the type and the memory are right")]

/// One untyped register.
#[derive(Clone, Copy)]
pub struct Slot {
    ptr: *const u8,
    bits: u64,
}

impl Slot {
    /// What a slot holds before it is written.
    pub(crate) const EMPTY: Slot = Slot { ptr: std::ptr::null(), bits: 0 };

    #[inline]
    pub(crate) fn scalar(bits: u64) -> Slot {
        Slot { ptr: std::ptr::null(), bits }
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.bits
    }

    #[inline]
    pub(crate) fn bytes(bytes: &[u8]) -> Slot {
        Slot { ptr: bytes.as_ptr(), bits: bytes.len() as u64 }
    }

    #[inline]
    pub(crate) fn pointer<T>(value: &T) -> Slot {
        Slot { ptr: std::ptr::from_ref(value).cast(), bits: 0 }
    }

    /// The bytes the slot points to.
    ///
    /// # Safety
    /// The slot was made by [`Slot::bytes`] and that memory is neither freed nor written during `'x`.
    #[inline]
    pub(crate) unsafe fn as_bytes<'x>(self) -> &'x [u8] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.ptr, self.bits as usize) }
    }

    /// The value the slot points to.
    ///
    /// # Safety
    /// The slot was made by [`Slot::pointer`] of a `T`, which is neither freed nor changed during `'x`.
    #[inline]
    pub(crate) unsafe fn as_value<'x, T>(self) -> &'x T {
        // SAFETY: the caller's promise.
        unsafe { &*self.ptr.cast::<T>() }
    }
}

/// The registers of a run, one per var.
pub struct Frame {
    slots: Vec<Slot>,
}

impl Frame {
    pub(crate) fn new() -> Frame {
        Frame { slots: Vec::new() }
    }

    /// Makes room for the vars of a plan. What was there is meaningless from now on.
    #[inline]
    pub(crate) fn grow_to(&mut self, count: usize) {
        if self.slots.len() < count {
            self.slots.resize(count, Slot::EMPTY);
        }
    }

    #[inline]
    pub(crate) fn get(&self, var: u32) -> Slot {
        self.slots[var as usize]
    }

    #[inline]
    pub(crate) fn set(&mut self, var: u32, slot: Slot) {
        self.slots[var as usize] = slot;
    }
}
