//! A PState is a fold of the records its topology has seen.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// A map-shaped PState, over all partitions at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PState<K, V> {
    entries: BTreeMap<K, V>,
}

impl<K, V> Default for PState<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<K: Ord + Clone + Debug, V: Clone + PartialEq + Debug> PState<K, V> {
    /// The fold of the records.
    pub fn fold<R>(records: impl IntoIterator<Item = R>, mut step: impl FnMut(&mut BTreeMap<K, V>, R)) -> Self {
        let mut entries = BTreeMap::new();
        records.into_iter().for_each(|record| step(&mut entries, record));
        Self { entries }
    }

    /// What it holds.
    pub fn entries(&self) -> &BTreeMap<K, V> {
        &self.entries
    }

    /// How another state differs: nothing, if it does not.
    ///
    /// # Errors
    /// The first keys that are missing, too many, or have another value.
    pub fn same_as(&self, found: &BTreeMap<K, V>) -> Result<(), String> {
        const SHOWN_MAX: usize = 5;
        let missing = self.entries.iter().filter(|(key, _)| !found.contains_key(key));
        let missing = missing.map(|(key, value)| format!("{key:?} is missing (should be {value:?})"));
        let wrong = found.iter().filter_map(|(key, value)| match self.entries.get(key) {
            None => Some(format!("{key:?} = {value:?} should not be there")),
            Some(expected) if expected != value => Some(format!("{key:?} = {value:?} should be {expected:?}")),
            Some(_) => None,
        });
        let differences: Vec<String> = missing.chain(wrong).take(SHOWN_MAX).collect();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }
}

/// Exactly once: for which numbers of records, from the first, the fold of just those records is the state. None if
/// the state is no fold of a prefix; several if some records change nothing.
pub fn prefixes_that_give<K: Ord, V: PartialEq, R>(
    records: impl IntoIterator<Item = R>,
    mut step: impl FnMut(&mut BTreeMap<K, V>, R),
    found: &BTreeMap<K, V>,
) -> Vec<usize> {
    let mut entries = BTreeMap::new();
    let mut counts: Vec<usize> = Vec::new();
    if entries == *found {
        counts.push(0);
    }
    for (index, record) in records.into_iter().enumerate() {
        step(&mut entries, record);
        if entries == *found {
            counts.push(index + 1);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(entries: &mut BTreeMap<&'static str, i64>, (key, amount): (&'static str, i64)) {
        *entries.entry(key).or_default() += amount;
    }

    const RECORDS: [(&str, i64); 4] = [("a", 1), ("b", 2), ("a", 5), ("c", 0)];

    #[test]
    fn the_state_is_the_fold_and_every_difference_is_named() {
        let model = PState::fold(RECORDS, add);
        assert_eq!(model.entries(), &BTreeMap::from([("a", 6), ("b", 2), ("c", 0)]));
        assert_eq!(model.same_as(&BTreeMap::from([("a", 6), ("b", 2), ("c", 0)])), Ok(()));
        let text = model.same_as(&BTreeMap::from([("a", 7), ("c", 0), ("d", 1)])).unwrap_err();
        for part in ["\"b\" is missing", "\"a\" = 7 should be 6", "\"d\" = 1 should not"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(PState::<u8, u8>::default().same_as(&BTreeMap::new()), Ok(()));
    }

    #[test]
    fn exactly_once_means_the_fold_of_one_prefix() {
        let of = |found: &[(&'static str, i64)]| prefixes_that_give(RECORDS, add, &found.iter().copied().collect());
        assert_eq!(of(&[]), [0]);
        assert_eq!(of(&[("a", 6), ("b", 2)]), [3]);
        assert_eq!(of(&[("a", 1), ("b", 4)]), [0usize; 0], "a record applied twice is no prefix");
        assert_eq!(of(&[("a", 6)]), [0usize; 0], "a record left out is no prefix");
    }
}
