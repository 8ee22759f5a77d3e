//! State in memory that lives as long as a call of a query: a partition of it on each task.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use tantu_base::id::ObjectId;
use tantu_path::{Stop, Store};

/// See the module.
#[derive(Debug)]
pub(crate) struct TemporaryState {
    entries: BTreeMap<(ObjectId, Vec<u8>), Vec<u8>>,
    size: usize,
    size_max: usize,
}

/// Bytes an entry takes besides its key and value.
const ENTRY_SIZE: usize = 64;

type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

impl TemporaryState {
    /// Empty; it holds at most so many bytes.
    pub(crate) fn new(size_max: usize) -> TemporaryState {
        TemporaryState { entries: BTreeMap::new(), size: 0, size_max }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes it holds.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn range(
        &self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let from = match from {
            Bound::Included(key) => Bound::Included((object, key.to_vec())),
            Bound::Excluded(key) => Bound::Excluded((object, key.to_vec())),
            Bound::Unbounded => Bound::Included((object, Vec::new())),
        };
        let to = match to {
            Bound::Included(key) => Bound::Included((object, key.to_vec())),
            Bound::Excluded(key) => Bound::Excluded((object, key.to_vec())),
            Bound::Unbounded => Bound::Excluded((ObjectId(object.0 + 1), Vec::new())),
        };
        // A range that ends before it begins is empty, which a map refuses.
        let begin = |bound: &Bound<(ObjectId, Vec<u8>)>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        let is_empty = begin(&from) > begin(&to)
            || (begin(&from) == begin(&to) && !matches!((&from, &to), (Bound::Included(_), Bound::Included(_))));
        let range = (!is_empty).then(|| self.entries.range((from, to)));
        range.into_iter().flatten().map(|((_, key), value)| (&key[..], &value[..]))
    }
}

impl Store for TemporaryState {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.entries.get(&(object, key.to_vec()));
        found.into_iter().for_each(|value| out.extend_from_slice(value));
        Ok(found.is_some())
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.delete(object, key)?;
        self.size += key.len() + value.len() + ENTRY_SIZE;
        if self.size > self.size_max {
            return Err(Stop::Failed(format!("temporary state takes more than {} bytes on a task", self.size_max)));
        }
        self.entries.insert((object, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        if let Some(value) = self.entries.remove(&(object, key.to_vec())) {
            self.size -= key.len() + value.len() + ENTRY_SIZE;
        }
        Ok(())
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let range = self.range(object, Bound::Included(from), Bound::Excluded(to));
        let keys: Vec<Vec<u8>> = range.map(|(key, _)| key.to_vec()).collect();
        keys.iter().try_for_each(|key| self.delete(object, key))
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), Stop> {
        let _ = self.range(object, from, to).rev().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn scan(&mut self, object: ObjectId, from: Bound<&[u8]>, to: Bound<&[u8]>, visit: Visit<'_>) -> Result<(), Stop> {
        let _ = self.range(object, from, to).try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(state: &mut TemporaryState, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Vec<u8> {
        let mut keys = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            keys.push(key[0]);
            ControlFlow::Continue(())
        };
        state.scan(ObjectId(1), from, to, &mut visit).expect("it is in memory");
        let mut back = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            back.push(key[0]);
            ControlFlow::Continue(())
        };
        state.scan_back(ObjectId(1), from, to, &mut visit).expect("it is in memory");
        back.reverse();
        assert_eq!(keys, back, "both ways see the same");
        keys
    }

    #[test]
    fn ranges_of_one_object_are_seen_and_deleted_and_others_are_not() {
        let mut state = TemporaryState::new(1 << 20);
        for object in 0..3 {
            for key in 0..9u8 {
                state.put(ObjectId(object), &[key], b"value").expect("there is room");
            }
        }
        assert_eq!(keys(&mut state, Bound::Unbounded, Bound::Unbounded), (0..9).collect::<Vec<u8>>());
        assert_eq!(keys(&mut state, Bound::Excluded(&[2]), Bound::Included(&[5])), [3, 4, 5]);
        assert!(keys(&mut state, Bound::Included(&[5]), Bound::Excluded(&[5])).is_empty());
        assert!(keys(&mut state, Bound::Included(&[6]), Bound::Excluded(&[5])).is_empty());
        state.delete_range(ObjectId(1), &[1], &[8]).expect("it is in memory");
        assert_eq!(keys(&mut state, Bound::Unbounded, Bound::Unbounded), [0, 8]);
        assert_eq!(state.size(), 20 * (1 + 5 + ENTRY_SIZE));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut state = TemporaryState::new(100);
        state.put(ObjectId(0), b"a", b"value").expect("there is room");
        state.put(ObjectId(0), b"a", b"other").expect("it takes the place of the first");
        assert!(matches!(state.put(ObjectId(0), b"b", b"value"), Err(Stop::Failed(_))));
    }
}
