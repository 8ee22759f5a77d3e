//! Which beginnings of keys a table's filter also holds, so that a scan within one structure skips tables without it.

use crate::table::Filter;
use tantu_base::value::KeyReader;

/// Where the prefix of a key ends: behind so many bytes, and then so many values in key form. A key that is too short, or is
/// not made like this, has no prefix.
///
/// No key form begins with another, so all keys that begin with a prefix have it as theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixRule {
    /// Bytes of any kind.
    pub byte_count: u16,
    /// Values behind them.
    pub value_count: u8,
}

impl PrefixRule {
    /// The prefix of a key.
    pub(crate) fn prefix<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let byte_count = usize::from(self.byte_count);
        let mut values = KeyReader::new(key.get(byte_count..)?);
        for _ in 0..self.value_count {
            values.skip().ok()?;
        }
        key.get(..byte_count + values.position())
    }

    /// The hash of the prefix that all keys in `[from, to)` have, if they have one in common.
    pub(crate) fn hash_of_range(&self, from: &[u8], to: &[u8]) -> Option<u64> {
        let prefix = self.prefix(from)?;
        (to.starts_with(prefix) || is_successor(prefix, to)).then(|| Filter::hash(prefix))
    }
}

/// Whether `to` is the first key behind all that begin with `prefix`.
fn is_successor(prefix: &[u8], to: &[u8]) -> bool {
    let Some(at) = prefix.iter().rposition(|byte| *byte != u8::MAX) else { return false };
    to.len() == at + 1 && to[..at] == prefix[..at] && to[at] == prefix[at] + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::value::{Value, encoded_key};

    #[test]
    fn a_prefix_ends_behind_its_bytes_and_values() {
        let rule = PrefixRule { byte_count: 4, value_count: 1 };
        let (outer, inner) = (encoded_key(&Value::from("outer")), encoded_key(&Value::from(7)));
        let structure = [&[0, 0, 0, 9][..], &outer].concat();
        let element = [&structure[..], &inner].concat();
        assert_eq!(rule.prefix(&element), Some(&structure[..]));
        assert_eq!(rule.prefix(&structure), Some(&structure[..]));
        assert_eq!(rule.prefix(&structure[..structure.len() - 1]), None, "the value is cut short");
        assert_eq!(rule.prefix(&[0, 0, 0]), None);
        let bytes = PrefixRule { byte_count: 4, value_count: 0 };
        assert_eq!(bytes.prefix(&element), Some(&element[..4]));
    }

    #[test]
    fn a_range_has_a_prefix_if_all_keys_in_it_do() {
        let rule = PrefixRule { byte_count: 2, value_count: 0 };
        let hash = Some(Filter::hash(b"ab"));
        for (from, to, expected) in [
            (&b"ab"[..], &b"ac"[..], hash),
            (b"ab3", b"ab9", hash),
            (b"ab3", b"ac", hash),
            (b"ab3", b"ac0", None),
            (b"ab", b"b", None),
            (b"a", b"ab", None),
            (b"b\xff", b"c", Some(Filter::hash(b"b\xff"))),
            (b"b\xff", b"b\xffz", Some(Filter::hash(b"b\xff"))),
            (b"\xff\xff", b"\xff\xff\xff", Some(Filter::hash(b"\xff\xff"))),
        ] {
            assert_eq!(rule.hash_of_range(from, to), expected, "{from:?} to {to:?}");
        }
    }
}
