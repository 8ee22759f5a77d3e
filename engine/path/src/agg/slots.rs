//! Where the groups of a fold are: a hash table of their numbers.
//!
//! Its places are known by a hash alone, so that whoever has several keys to look up has them all fetched before the first
//! is looked at: a table of many groups is nowhere near the processor, and one key after the other waits for it each time.

use tantu_base::prefetch::prefetch;

/// No group.
const EMPTY: u32 = u32::MAX;
/// Places of the smallest table.
const COUNT_MIN: usize = 16;

/// A group, and bits of its hash that say nothing about the place.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    group: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// None, or a power of two of them, a quarter of which at least is empty.
    slots: Vec<Slot>,
    count: usize,
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Slots {
    /// Has the first place of a hash fetched.
    #[inline]
    pub(super) fn expect(&self, hash: u64) {
        self.slots.get(self.place(hash)).into_iter().for_each(prefetch);
    }

    /// The first place of a hash.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    /// The group of this hash that is the one, of those that may be.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.place(hash);
        loop {
            let slot = self.slots.get(at)?;
            if slot.group == EMPTY {
                return None;
            }
            if slot.tag == tag(hash) && is_it(slot.group) {
                return Some(slot.group);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds a group that is not there. `hash_of`: the hashes of those that are.
    pub(super) fn insert(&mut self, hash: u64, group: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.count + 1) * 4 > self.slots.len() * 3 {
            let count = (self.slots.len() * 2).max(COUNT_MIN);
            let old = std::mem::replace(&mut self.slots, vec![Slot { tag: 0, group: EMPTY }; count]);
            old.iter().filter(|slot| slot.group != EMPTY).for_each(|slot| self.put(hash_of(slot.group), slot.group));
        }
        self.put(hash, group);
        self.count += 1;
    }

    fn put(&mut self, hash: u64, group: u32) {
        let mut at = self.place(hash);
        while self.slots[at].group != EMPTY {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Slot { tag: tag(hash), group };
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        if self.count > 0 {
            self.slots.fill(Slot { tag: 0, group: EMPTY });
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_hashes_however_alike_those_are() {
        // All in one place; all with one tag; spread.
        for hash_of in
            [|n: u32| u64::from(n) << 32, u64::from, |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)]
        {
            let mut slots = Slots::default();
            for round in 0..2 {
                for group in 0..300 {
                    assert_eq!(slots.find(hash_of(group), |found| found == group), None, "round {round}");
                    slots.expect(hash_of(group));
                    slots.insert(hash_of(group), group, hash_of);
                }
                for group in 0..300 {
                    assert_eq!(slots.find(hash_of(group), |found| found == group), Some(group));
                }
                assert_eq!(slots.find(hash_of(300), |found| found == 300), None);
                slots.clear();
            }
        }
    }
}
