//! A running hash of what happened, in order: two runs of one seed must end with the same number.

use std::cell::Cell;
use std::rc::Rc;

/// The hash, and how many things it covers. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Rc<Cell<u64>>,
    count: Rc<Cell<u64>>,
}

/// Odd, with bits all over (the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Trace {
    /// Notes a number.
    pub fn note(&self, word: u64) {
        self.hash.set((self.hash.get().rotate_left(5) ^ word).wrapping_mul(MULTIPLIER));
        self.count.set(self.count.get() + 1);
    }

    /// Notes bytes and their length.
    pub fn note_bytes(&self, bytes: &[u8]) {
        self.note(digest(bytes));
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// How many things were noted.
    pub fn count(&self) -> u64 {
        self.count.get()
    }
}

/// A hash of bytes for traces; never stored.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("invariant: chunks of eight"));
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
    words.remainder().iter().fold(hash, |hash, byte| (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(MULTIPLIER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_change_the_hash() {
        let run = |words: &[&[u8]]| {
            let trace = Trace::default();
            words.iter().for_each(|bytes| trace.note_bytes(bytes));
            (trace.hash(), trace.count())
        };
        assert_eq!(run(&[b"a", b"b"]), run(&[b"a", b"b"]));
        assert_ne!(run(&[b"a", b"b"]), run(&[b"b", b"a"]));
        assert_ne!(run(&[b"ab"]), run(&[b"a", b"b"]));
        assert_ne!(run(&[&[0; 16]]), run(&[&[0; 8]]));
    }
}
