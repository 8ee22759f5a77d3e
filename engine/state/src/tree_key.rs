//! The tree key that a view reads or writes now, and its hash, which every layer below is asked by.
//!
//! Who changes a value reads it first: the same key again costs a comparison.

use crate::layout::object_key;
use tantu_base::id::ObjectId;
use tantu_lsm::Tree;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TreeKey {
    bytes: Vec<u8>,
    hash: u64,
}

impl TreeKey {
    /// Makes it the key of an object's entry.
    #[inline]
    pub(crate) fn set(&mut self, object: ObjectId, key: &[u8]) {
        if self.bytes.split_first_chunk().is_some_and(|(is, rest)| *is == object.0.to_be_bytes() && rest == key) {
            return;
        }
        object_key(object, key, &mut self.bytes);
        self.hash = Tree::hash(&self.bytes);
    }

    /// The key.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key with its hash.
    #[inline]
    pub(crate) fn hashed(&self) -> (&[u8], u64) {
        (&self.bytes, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_hash_of_its_own_object_and_bytes() {
        let mut key = TreeKey::default();
        let mut seen = Vec::new();
        for (object, rest) in
            [(1, &b""[..]), (1, b""), (2, b""), (2, b"ab"), (3, b"ab"), (3, b"ac"), (3, b"a"), (3, b"a")]
        {
            key.set(ObjectId(object), rest);
            let mut expected = Vec::new();
            object_key(ObjectId(object), rest, &mut expected);
            assert_eq!(key.hashed(), (&expected[..], Tree::hash(&expected)));
            seen.push(expected);
        }
        assert_eq!(key.bytes(), seen.last().expect("there are some"));
    }
}
