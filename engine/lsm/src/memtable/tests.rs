//! The memtable against a map of every version, and how much memory it takes.

use super::*;
use crate::table::Filter;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn sought(key: &[u8]) -> Sought<'_> {
    Sought::new(key, Filter::hash(key))
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, Vec<u8>),
    Delete(u8),
    /// Ends the version, and moves the floor up to so many versions behind it.
    Commit(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0u8..40, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(key, value)| Op::Put(key, value)),
        1 => (0u8..40).prop_map(Op::Delete),
        3 => (0u64..5).prop_map(Op::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_version_above_the_floor_reads_as_it_was_written(ops in prop::collection::vec(op(), 0..300), is_forgetful: bool) {
        // Half of the keys are forgotten, or all are known.
        let hints = if is_forgetful { Hints::of_at_most(2) } else { Hints::default() };
        let mut memtable = Memtable { hints, ..Memtable::default() };
        let (mut version, mut floor) = (1u64, 0u64);
        let mut now: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut states: Vec<BTreeMap<u8, Vec<u8>>> = vec![now.clone()];
        for op in &ops {
            match op {
                Op::Put(key, value) => {
                    memtable.set(sought(&[*key]), Version(version), Some(value), Version(floor));
                    now.insert(*key, value.clone());
                }
                Op::Delete(key) => {
                    memtable.set(sought(&[*key]), Version(version), None, Version(floor));
                    now.remove(key);
                }
                Op::Commit(behind) => {
                    states.push(now.clone());
                    floor = floor.max(version.saturating_sub(*behind));
                    version += 1;
                }
            }
        }
        states.push(now);
        for (at, state) in states.iter().enumerate().skip(floor as usize) {
            let at = Version(at as u64);
            for key in 0..42u8 {
                let found = memtable.get(&[key], Filter::hash(&[key]), at).and_then(|revision| revision.value);
                prop_assert_eq!(found, state.get(&key).map(|value| &value[..]), "key {} at {:?}", key, at);
            }
            let mut walk = Walk::default();
            walk.seek(&memtable, &[3]);
            let mut seen: Vec<(u8, &[u8])> = Vec::new();
            while let Some(key) = walk.key(&memtable) {
                seen.extend(walk.revision(&memtable, at).and_then(|revision| Some((key[0], revision.value?))));
                walk.next(&memtable);
            }
            let expected: Vec<(u8, &[u8])> = state.range(3..).map(|(key, value)| (*key, &value[..])).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn keys_that_are_sought_together_are_written_as_if_each_were_alone(
        windows in prop::collection::vec(prop::collection::vec(0u16..300, 1..SIDE_BY_SIDE), 1..60),
        is_forgetful: bool,
    ) {
        let hints = if is_forgetful { Hints::of_at_most(4) } else { Hints::default() };
        let mut memtable = Memtable { hints, ..Memtable::default() };
        let mut model = BTreeMap::new();
        for (version, window) in (1..).zip(&windows) {
            let keys: Vec<[u8; 2]> = window.iter().map(|key| key.to_be_bytes()).collect();
            let mut places: Vec<Sought<'_>> = keys.iter().map(|key| sought(key)).collect();
            memtable.seek(&mut places);
            for (place, key) in places.into_iter().zip(&keys) {
                memtable.set(place, Version(version), Some(&version.to_le_bytes()), Version(version));
                model.insert(*key, version.to_le_bytes());
            }
        }
        for key in (0..310u16).map(u16::to_be_bytes) {
            let found = memtable.get(&key, Filter::hash(&key), Version(100)).and_then(|revision| revision.value);
            prop_assert_eq!(found, model.get(&key).map(|value| &value[..]));
        }
        prop_assert_eq!(memtable.entries.count() as usize, model.len());
    }
}

#[test]
fn a_hint_that_names_another_key_is_not_believed() {
    let mut memtable = Memtable::default();
    for key in 0..40u8 {
        memtable.set(sought(&[key]), Version(1), Some(&[key]), Version(0));
    }
    let (hash, count) = (Filter::hash(&[7]), memtable.entries.count());
    memtable.hints.put(hash, 30, count);
    assert_eq!(memtable.get(&[7], hash, Version(1)).and_then(|revision| revision.value), Some(&[7][..]));
    memtable.set(sought(&[7]), Version(2), Some(b"new"), Version(1));
    assert_eq!(memtable.hints.find(hash), Some(7), "it is put right");
    let missing = Filter::hash(b"missing");
    memtable.hints.put(missing, 30, count);
    assert_eq!(memtable.get(b"missing", missing, Version(2)), None);
    assert_eq!(
        memtable.get(&[30], Filter::hash(&[30]), Version(2)).and_then(|revision| revision.value),
        Some(&[30][..])
    );
}

#[test]
fn a_hot_counter_does_not_grow_the_memtable() {
    let mut memtable = Memtable::default();
    for n in 0..1000u32 {
        memtable.set(sought(&n.to_be_bytes()), Version(1), Some(b"0"), Version(0));
    }
    let before = memtable.size();
    for version in 2..200_000u64 {
        let key = (version % 1000) as u32;
        memtable.set(sought(&key.to_be_bytes()), Version(version), Some(&version.to_le_bytes()), Version(version - 1));
    }
    assert!(memtable.size() < before + 150_000, "{} from {before}", memtable.size());
    let key = 999u32.to_be_bytes();
    let value = |at| memtable.get(&key, Filter::hash(&key), Version(at)).and_then(|revision| revision.value);
    assert_eq!(value(199_999), Some(&199_999u64.to_le_bytes()[..]));
    assert_eq!(value(199_998), Some(&198_999u64.to_le_bytes()[..]), "the floor stays readable");
}

#[test]
fn a_value_as_short_as_an_address_takes_no_place_of_its_own_and_may_become_a_long_one_and_short_again() {
    let mut memtable = Memtable::default();
    let value = |memtable: &Memtable, at: u64| {
        memtable.get(b"k", Filter::hash(b"k"), Version(at)).and_then(|revision| revision.value).map(<[u8]>::to_vec)
    };
    memtable.set(sought(b"k"), Version(1), Some(&[1; 8]), Version(0));
    let before = memtable.arena.memory_size();
    // In its place, and as one more that somebody may read.
    for (version, floor, len) in
        [(2, 2, 0), (3, 3, 8), (4, 3, 9), (5, 5, 300), (6, 6, 8), (7, 6, 1), (8, 8, 9), (9, 9, 3)]
    {
        memtable.set(sought(b"k"), Version(version), Some(&vec![version as u8; len]), Version(floor));
        assert_eq!(value(&memtable, version), Some(vec![version as u8; len]));
        if version == 4 {
            assert_eq!(value(&memtable, 3), Some(vec![3; 8]), "the older one is read still");
        }
    }
    memtable.set(sought(b"k"), Version(10), None, Version(10));
    assert_eq!(value(&memtable, 10), None);
    for version in 11..1_000 {
        memtable.set(sought(b"k"), Version(version), Some(&version.to_le_bytes()), Version(version - 1));
    }
    assert!(memtable.arena.memory_size() <= before + 2_048, "{}", memtable.arena.memory_size());
    assert_eq!(value(&memtable, 998), Some(998u64.to_le_bytes().to_vec()));
}

#[test]
fn a_floor_that_stood_still_is_caught_up_with_by_the_next_write() {
    let mut memtable = Memtable::default();
    for version in 1..1000u64 {
        memtable.set(sought(b"k"), Version(version), Some(b"some value"), Version(0));
    }
    let grown = memtable.size();
    memtable.set(sought(b"k"), Version(1000), Some(b"v"), Version(999));
    for version in 1001..2000u64 {
        memtable.set(sought(b"k"), Version(version), Some(b"some value"), Version(999));
    }
    let lists = 1024 * 8 + 1024;
    assert!(memtable.size() <= grown + lists, "the places of the first thousand serve the second");
}

#[test]
fn memory_is_counted_within_a_fifth_of_what_the_shape_needs() {
    let mut memtable = Memtable::default();
    let count = 100_000u64;
    for n in 0..count {
        let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let key = [&key[..], b"twelve bytes"].concat();
        memtable.set(sought(&key), Version(n + 1), Some(&n.to_le_bytes()), Version(n));
    }
    let per_key = memtable.size() as f64 / count as f64;
    assert!((70.0..160.0).contains(&per_key), "{per_key} bytes per key of 20 and value of 8");
}
