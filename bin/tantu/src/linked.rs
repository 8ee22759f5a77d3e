//! Lists of entities per key that stay in the order in which they were added, and forget the oldest: followers of a user, the
//! last pages a visitor saw.
//!
//! All of these keep what they keep on the task that the event is on, which is the task of the key if a partitioner by the key
//! comes before.
//!
//! ```
//! use tantu::linked::KeyToLinkedEntitySet;
//! use tantu::prelude::*;
//!
//! struct Social;
//!
//! impl Module for Social {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let follows = setup.declare_depot::<(String, String)>("*follows", hash_by(|(of, _): &(String, String)| of.clone()));
//!         let mut social = topologies.stream("social");
//!         // Newest first.
//!         let followers = KeyToLinkedEntitySet::<String, String>::declare_descending(&mut social, "$$followers");
//!         social.source(&follows, |b, follow| {
//!             let (of, by) = b.expand(follow, |(of, by)| (of.clone(), by.clone()));
//!             b.hash_partition(of);
//!             followers.add(b, of, by);
//!         });
//!     }
//! }
//! # define::<Social>().unwrap();
//! ```

use crate::uid::TaskUniqueId;
use tantu_flow::{Block, Owned, PState, Returned, StreamTopology, Var};
use tantu_path::{Map, Navigate, PStateSchema, Sub, path};

/// What can be a key or an entity here.
pub trait Entity: PStateSchema<Value = Self, Plain = Self> + Owned + Ord + Clone {}
impl<T: PStateSchema<Value = T, Plain = T> + Owned + Ord + Clone> Entity for T {}

/// A var of a `T`.
type VarOf<T> = Var<<T as Returned>::Data>;
/// By key, entities by the id they were given when they were added.
type ById<K, E> = Map<K, Sub<Map<i64, E>>>;
/// By key, the ids of entities.
type Ids<K, E> = Map<K, Sub<Map<E, i64>>>;

/// No id: counters give none below 0.
const NO_ID: i64 = -1;

/// How many are kept for a key.
#[derive(Clone, Copy)]
struct Kept {
    most: i64,
    /// So many more gather before as many of the oldest go at once.
    clear_count: u64,
}

impl Kept {
    fn at_most(most: u32, clear_count: u32) -> Kept {
        Kept { most: i64::from(most.max(1)), clear_count: u64::from(clear_count.max(1)) }
    }

    /// Forgets the oldest of a key, whose ids are the lowest, if there are too many. What follows does not wait for it.
    #[track_caller]
    fn forget_oldest<K: Entity, E: Entity>(
        self,
        b: &mut Block,
        entities: PState<ById<K, E>>,
        key: VarOf<K>,
        forget: impl FnOnce(&mut Block, Var<i64>),
    ) {
        let here = b.anchor(());
        b.branch(&here, |b, ()| {
            let count = b.local_select(entities, path().key(key).size());
            b.filter(count, move |count| count as i64 >= self.most.saturating_add(self.clear_count as i64));
            let oldest = path().key(key).sorted_map_range_from_start(self.clear_count).map_keys();
            let id = b.local_select(entities, oldest);
            forget(b, id);
        });
    }
}

/// What was added to a key, each once, in the order in which it was added last (UID-07): a PState from keys to entities by
/// id, and one from keys to ids by entity. What is added again becomes the newest.
pub struct KeyToLinkedEntitySet<K, E> {
    entities: PState<ById<K, E>>,
    ids: PState<Ids<K, E>>,
    next: TaskUniqueId,
    kept: Option<Kept>,
}

impl<K, E> Copy for KeyToLinkedEntitySet<K, E> {}
impl<K, E> Clone for KeyToLinkedEntitySet<K, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Entity, E: Entity> KeyToLinkedEntitySet<K, E> {
    /// Declares the PState of this name, from keys to entities by id, and two more whose names begin with it: the ids by
    /// entity in `…Ids`, a private counter in `…Next`. Ids ascend: the oldest comes first.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str) -> Self {
        let next = TaskUniqueId::declare(topology, &format!("{name}Next"));
        Self::declare_as(topology, name, next, None)
    }

    /// The same with ids that descend: the newest comes first.
    #[track_caller]
    pub fn declare_descending(topology: &mut StreamTopology, name: &str) -> Self {
        let next = TaskUniqueId::declare_descending(topology, &format!("{name}Next"));
        Self::declare_as(topology, name, next, None)
    }

    #[track_caller]
    fn declare_as(topology: &mut StreamTopology, name: &str, next: TaskUniqueId, kept: Option<Kept>) -> Self {
        let (entities, ids) = (topology.pstate(name), topology.pstate(&format!("{name}Ids")));
        KeyToLinkedEntitySet { entities, ids, next, kept }
    }

    /// The PState from keys to entities by id, to be read in order.
    pub fn entities(&self) -> PState<Map<K, Sub<Map<i64, E>>>> {
        self.entities
    }

    /// Makes an entity the newest of a key.
    #[track_caller]
    pub fn add(&self, b: &mut Block, key: VarOf<K>, entity: VarOf<E>) {
        self.remove(b, key, entity);
        let id = self.next.next(b);
        b.local_transform(self.ids, path().key(key).key(entity).term_val(id));
        b.local_transform(self.entities, path().key(key).key(id).term_val(entity));
        let Some(kept) = self.kept else { return };
        kept.forget_oldest(b, self.entities, key, |b, id| {
            let entity = b.local_select(self.entities, path().key(key).must(id));
            b.local_transform(self.ids, path().key(key).key(entity).term_void());
            b.local_transform(self.entities, path().key(key).key(id).term_void());
        });
    }

    /// Takes an entity from a key, if it is there.
    #[track_caller]
    pub fn remove(&self, b: &mut Block, key: VarOf<K>, entity: VarOf<E>) {
        let id = self.id(b, key, entity);
        let is_there = b.each(id, |id| id != NO_ID);
        b.if_true(is_there, |b| {
            b.local_transform(self.ids, path().key(key).key(entity).term_void());
            b.local_transform(self.entities, path().key(key).key(id).term_void());
        });
    }

    /// Whether an entity is among those of a key.
    #[track_caller]
    pub fn contains(&self, b: &mut Block, key: VarOf<K>, entity: VarOf<E>) -> Var<bool> {
        let id = self.id(b, key, entity);
        b.each(id, |id| id != NO_ID)
    }

    #[track_caller]
    fn id(&self, b: &mut Block, key: VarOf<K>, entity: VarOf<E>) -> Var<i64> {
        b.local_select(self.ids, path().key(key).key(entity).null_to_val(NO_ID))
    }
}

/// The last that were added to a key (UID-08): when there are more than `most`, the oldest go.
pub struct KeyToFixedItems<K, T> {
    items: PState<ById<K, T>>,
    next: TaskUniqueId,
    kept: Kept,
}

impl<K, T> Copy for KeyToFixedItems<K, T> {}
impl<K, T> Clone for KeyToFixedItems<K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Entity, T: Entity> KeyToFixedItems<K, T> {
    /// Declares the PState of this name, from keys to at most so many items by ascending id, and a private counter in
    /// `…Next`.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str, most: u32) -> Self {
        Self::declare_clearing(topology, name, most, 1)
    }

    /// The same; the oldest go `clear_count` at once, which costs less each: up to `most + clear_count - 1` are there.
    #[track_caller]
    pub fn declare_clearing(topology: &mut StreamTopology, name: &str, most: u32, clear_count: u32) -> Self {
        let next = TaskUniqueId::declare(topology, &format!("{name}Next"));
        KeyToFixedItems { items: topology.pstate(name), next, kept: Kept::at_most(most, clear_count) }
    }

    /// The PState from keys to items by id, to be read in order.
    pub fn items(&self) -> PState<Map<K, Sub<Map<i64, T>>>> {
        self.items
    }

    /// Adds an item to those of a key.
    #[track_caller]
    pub fn add(&self, b: &mut Block, key: VarOf<K>, item: VarOf<T>) {
        let id = self.next.next(b);
        b.local_transform(self.items, path().key(key).key(id).term_val(item));
        self.kept.forget_oldest(b, self.items, key, |b, id| {
            b.local_transform(self.items, path().key(key).key(id).term_void());
        });
    }
}

/// The last that were added to a key, each once (UID-08): what is added again becomes the newest.
pub struct KeyToUniqueFixedItems<K, E>(KeyToLinkedEntitySet<K, E>);

impl<K, E> Copy for KeyToUniqueFixedItems<K, E> {}
impl<K, E> Clone for KeyToUniqueFixedItems<K, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Entity, E: Entity> KeyToUniqueFixedItems<K, E> {
    /// Declares PStates as [`KeyToLinkedEntitySet::declare`] does, for at most so many of each key.
    #[track_caller]
    pub fn declare(topology: &mut StreamTopology, name: &str, most: u32) -> Self {
        Self::declare_clearing(topology, name, most, 1)
    }

    /// The same; the oldest go `clear_count` at once, which costs less each: up to `most + clear_count - 1` are there.
    #[track_caller]
    pub fn declare_clearing(topology: &mut StreamTopology, name: &str, most: u32, clear_count: u32) -> Self {
        let next = TaskUniqueId::declare(topology, &format!("{name}Next"));
        let kept = Some(Kept::at_most(most, clear_count));
        KeyToUniqueFixedItems(KeyToLinkedEntitySet::declare_as(topology, name, next, kept))
    }

    /// What is kept, as a set.
    pub fn set(&self) -> KeyToLinkedEntitySet<K, E> {
        self.0
    }

    /// Makes an item the newest of a key.
    #[track_caller]
    pub fn add(&self, b: &mut Block, key: VarOf<K>, item: VarOf<E>) {
        self.0.add(b, key, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use std::collections::BTreeMap;

    /// A key, an item, and whether it is taken away.
    type Change = (String, i64, bool);
    type Stored = Map<String, Sub<Map<i64, i64>>>;

    #[derive(Clone, Copy)]
    struct All {
        up: KeyToLinkedEntitySet<String, i64>,
        down: KeyToLinkedEntitySet<String, i64>,
        last: KeyToFixedItems<String, i64>,
        seldom: KeyToFixedItems<String, i64>,
        unique: KeyToUniqueFixedItems<String, i64>,
    }

    fn all(topology: &mut StreamTopology) -> All {
        All {
            up: KeyToLinkedEntitySet::declare(topology, "$$up"),
            down: KeyToLinkedEntitySet::declare_descending(topology, "$$down"),
            last: KeyToFixedItems::declare(topology, "$$last", 3),
            seldom: KeyToFixedItems::declare_clearing(topology, "$$seldom", 3, 4),
            unique: KeyToUniqueFixedItems::declare(topology, "$$unique", 3),
        }
    }

    /// By key, items in the order of their ids.
    fn stored(block: &TestBlock<Change, Var<bool>>, name: &str, key: &str) -> Vec<i64> {
        block.select(name, path::<Stored>().key(key.to_string()).map_vals()).unwrap()
    }

    #[test]
    fn what_is_kept_for_a_key_is_what_lists_in_memory_keep() {
        let block = TestBlock::define(all, |b, all, change: Var<Change>| {
            let (key, item, goes) = b.expand(change, |(key, item, goes)| (key.clone(), *item, *goes));
            let was = all.up.contains(b, key, item);
            b.if_else(
                goes,
                |b| {
                    all.up.remove(b, key, item);
                    all.down.remove(b, key, item);
                },
                |b| {
                    all.up.add(b, key, item);
                    all.down.add(b, key, item);
                    all.last.add(b, key, item);
                    all.seldom.add(b, key, item);
                    all.unique.add(b, key, item);
                },
            );
            was
        });
        let block = block.unwrap();
        let (mut linked, mut last, mut seldom, mut unique) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut state = 7u64;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        };
        for _ in 0..300 {
            let (key, item, goes) = (["a", "b"][below(2) as usize], below(7) as i64, below(4) == 0);
            let of = |all: &mut BTreeMap<&str, Vec<i64>>| all.entry(key).or_default().clone();
            let mut list = of(&mut linked);
            let mut seen = Vec::new();
            block.run(&(key.to_string(), item, goes), |was| seen.push(was)).unwrap();
            assert_eq!(seen, [list.contains(&item)]);
            list.retain(|other| *other != item);
            if !goes {
                list.push(item);
                let [mut all_last, mut all_seldom, mut all_unique] = [&mut last, &mut seldom, &mut unique].map(of);
                all_last.push(item);
                all_last.drain(..all_last.len().saturating_sub(3));
                all_seldom.push(item);
                if all_seldom.len() == 7 {
                    all_seldom.drain(..4);
                }
                all_unique.retain(|other| *other != item);
                all_unique.push(item);
                all_unique.drain(..all_unique.len().saturating_sub(3));
                last.insert(key, all_last);
                seldom.insert(key, all_seldom);
                unique.insert(key, all_unique);
            }
            linked.insert(key, list);
            for (name, expected) in [("$$up", &linked), ("$$last", &last), ("$$seldom", &seldom), ("$$unique", &unique)]
            {
                assert_eq!(stored(&block, name, key), expected.get(key).cloned().unwrap_or_default(), "{name}");
            }
            let mut newest_first = linked[key].clone();
            newest_first.reverse();
            assert_eq!(stored(&block, "$$down", key), newest_first);
        }
        let ids = block.select("$$uniqueIds", path::<Stored>().key("a".to_string()).map_keys()).unwrap();
        let mut kept = unique["a"].clone();
        kept.sort_unstable();
        assert_eq!(ids, kept, "what is forgotten is forgotten by both");
    }
}
