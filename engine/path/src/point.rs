//! Selects of the value under one key of a top-level map: nearly all that clients send. Such a path is only its key, so that
//! no path has to be made of the bytes, and its answer is what is stored there.

use crate::nav::map;
use crate::path::Path;
use crate::row::NULL_FORM;
use crate::schema::Schema;
use tantu_base::value::{DecodeError, Kind, Reader, Value};

/// A path of one navigator, `key` or `must`, whose key is known beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PointSelect {
    /// Null where there is no entry.
    Key,
    /// Nowhere if there is no entry.
    Must,
}

impl PointSelect {
    /// Reads a path as [`Path::encode`] writes it, and appends the key form of its key to `key`. None, with `key` as it was, if
    /// it is any other path or none, or its key is no scalar: [`Path::decode_with`] knows more.
    pub fn read(path: &[u8], key: &mut Vec<u8>) -> Option<PointSelect> {
        let before = key.len();
        let read = read_point(path, key);
        if read.is_none() {
            key.truncate(before);
        }
        read
    }

    /// Whether a partition of this schema has an entry of its own for each key that leads to one value.
    #[inline]
    pub fn suits(schema: &Schema) -> bool {
        match schema {
            Schema::Map(key, value) => !key.has_sub() && !value.has_sub(),
            _ => false,
        }
    }

    /// How many values it selects where an entry has this one, and their value forms.
    #[inline]
    pub fn rows(self, value: Option<&[u8]>) -> (usize, &[u8]) {
        match (value, self) {
            (Some(value), _) => (1, value),
            (None, PointSelect::Key) => (1, NULL_FORM),
            (None, PointSelect::Must) => (0, &[]),
        }
    }

    /// The path, of a key in key form.
    ///
    /// # Errors
    /// If that is no key.
    pub fn path(self, key: &[u8]) -> Result<Path, DecodeError> {
        let key = Value::decode_key(key)?;
        Ok(match self {
            PointSelect::Key => Path::new().key(key),
            PointSelect::Must => Path::new().must(key),
        })
    }
}

fn read_point(path: &[u8], key: &mut Vec<u8>) -> Option<PointSelect> {
    let mut reader = Reader::new(path);
    let is_list = |reader: &mut Reader<'_>, count| reader.list().ok().filter(|found| *found == count).is_some();
    if !is_list(&mut reader, 2) || reader.u64().ok()? != crate::codec::VERSION {
        return None;
    }
    if !is_list(&mut reader, 1) || !is_list(&mut reader, 3) {
        return None;
    }
    let select = match reader.u64().ok()? {
        code if code == map::KEY.code => PointSelect::Key,
        code if code == map::MUST.code => PointSelect::Must,
        _ => return None,
    };
    if !is_list(&mut reader, 1) {
        return None;
    }
    // Anything else may be nested deeper than a path's argument may be.
    if matches!(reader.peek_kind().ok()?, Kind::List | Kind::Set | Kind::Map | Kind::Record) {
        return None;
    }
    reader.to_key_form(key).ok()?;
    let is_whole = is_list(&mut reader, 0) && reader.finish().is_ok();
    is_whole.then_some(select)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        path.encode(&mut bytes).expect("it can be sent");
        bytes
    }

    fn read(bytes: &[u8]) -> Option<(PointSelect, Vec<u8>)> {
        let mut key = b"before".to_vec();
        let read = PointSelect::read(bytes, &mut key);
        assert_eq!(&key[..6], b"before");
        assert!(read.is_some() || key.len() == 6, "what was read of another path stays: {key:?}");
        read.map(|select| (select, key[6..].to_vec()))
    }

    #[test]
    fn a_path_of_one_scalar_key_is_read_as_that_key_and_is_the_same_path_again() {
        let keys = [Value::Null, Value::Bool(true), Value::I64(-5), Value::U64(u64::MAX), Value::F64(0.5)];
        let texts = ["", "ann", "a\0b"].map(Value::from);
        for key in keys.into_iter().chain(texts).chain([Value::Bytes(vec![0, 1, 0])]) {
            let mut form = Vec::new();
            key.encode_key(&mut form);
            let paths = [Path::new().key(key.clone()), Path::new().must(key)];
            for (path, select) in paths.into_iter().zip([PointSelect::Key, PointSelect::Must]) {
                assert_eq!(read(&encoded(&path)), Some((select, form.clone())), "{path}");
                assert_eq!(select.path(&form), Ok(path));
            }
        }
    }

    #[test]
    fn other_paths_and_bytes_that_are_no_path_are_left_to_who_knows_them() {
        let other = [
            Path::new(),
            Path::new().all(),
            Path::new().map_key(Value::I64(1)),
            Path::new().key(Value::I64(1)).key(Value::I64(2)),
            Path::new().key(Value::List(vec![Value::Null])),
            Path::new().must(Value::Record(vec![])),
            Path::new().submap(Value::List(vec![])),
            Path::new().with_page_size(3, Path::new().key(Value::I64(1))),
        ];
        for path in other {
            assert_eq!(read(&encoded(&path)), None, "{path}");
        }
        let bytes = encoded(&Path::new().key(Value::from("ann")));
        (0..bytes.len()).for_each(|len| assert_eq!(read(&bytes[..len]), None, "{len}"));
        assert_eq!(read(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn an_entry_that_is_missing_is_null_or_nowhere() {
        assert_eq!((PointSelect::Key.rows(None), PointSelect::Must.rows(None)), ((1, NULL_FORM), (0, &[][..])));
        let value = [7, 8];
        assert_eq!(PointSelect::Key.rows(Some(&value)), (1, &value[..]));
        assert_eq!(PointSelect::Must.rows(Some(&value)), (1, &value[..]));
    }

    #[test]
    fn only_top_level_maps_without_structures_of_their_own_have_such_entries() {
        let list = || Schema::list(Schema::I64);
        assert!(PointSelect::suits(&Schema::map(Schema::I64, list())));
        assert!(!PointSelect::suits(&Schema::I64) && !PointSelect::suits(&list()));
        assert!(!PointSelect::suits(&Schema::map(Schema::I64, Schema::sub(list()))));
    }
}
