//! Arguments of navigators and aggregators: known when the path is built, or read from the running
//! dataflow when the path is evaluated.

use tantu_base::value::{Encode, Value};

/// One argument.
#[derive(Clone, PartialEq, Debug)]
pub enum Arg {
    /// A value known when the path was built.
    Const(Value),
    /// A variable of the dataflow, by its slot.
    Slot(u32),
}

impl Arg {
    /// A constant from any encodable Rust value.
    pub fn constant<T: Encode + ?Sized>(value: &T) -> Arg {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        Arg::Const(Value::decode(&bytes).expect("invariant: what Encode writes, decode reads"))
    }
}

impl From<Value> for Arg {
    fn from(value: Value) -> Arg {
        Arg::Const(value)
    }
}

/// Where slots are read. Both forms are asked of the owner because a typed variable writes either directly,
/// without a [`Value`] in between.
pub trait Args {
    /// Appends the value form of the slot's value.
    fn value(&self, slot: u32, out: &mut Vec<u8>);
    /// Appends the key form of the slot's value.
    fn key(&self, slot: u32, out: &mut Vec<u8>);
}

/// For paths without slots, such as those a client sends (decoding a path refuses slots).
#[derive(Clone, Copy, Debug)]
pub struct NoArgs;

impl Args for NoArgs {
    fn value(&self, slot: u32, _out: &mut Vec<u8>) {
        panic!("slot {slot} in a path that is evaluated outside a dataflow");
    }

    fn key(&self, slot: u32, _out: &mut Vec<u8>) {
        panic!("slot {slot} in a path that is evaluated outside a dataflow");
    }
}
