//! Where the leaf of a key probably is: a hash table beside the radix tree, of bounded size, that may forget.
//!
//! A hint saves the descent through the tree: a node per few bytes of a key, all over memory. Whoever takes a hint compares
//! the whole key at the leaf, and a leaf keeps its key as long as the memtable, so a hint is never out of date and nothing has
//! to take it back: not a deletion, not a new value, not a version. What is forgotten costs a descent.

use tantu_base::prefetch::prefetch;

/// Hints of a bucket, which is one line of memory.
const BUCKET_HINT_COUNT: usize = 8;
/// Buckets at first; they double when there are half as many keys as hints,
const BUCKET_COUNT_FIRST: usize = 4;
/// but there are no more than these: 4 MiB.
const BUCKET_COUNT_MAX: usize = 1 << 16;
/// With fewer keys there are no hints: a descent is short, and an idle tree stays small.
const KEY_COUNT_MIN: u32 = 16;
/// Stands for no leaf.
const NONE: u32 = u32::MAX;

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is a line of memory");
const _: () = assert!(BUCKET_COUNT_FIRST.is_power_of_two() && BUCKET_COUNT_MAX.is_power_of_two());
const _: () =
    assert!(BUCKET_COUNT_MAX.ilog2() + BUCKET_HINT_COUNT.ilog2() <= u32::BITS, "a tag says the bucket and the victim");

/// Of each key's hash it has the upper half: the last bits of that number the bucket, the first are compared.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    firsts: Lanes,
    lasts: [u16; BUCKET_HINT_COUNT],
    leaves: [u32; BUCKET_HINT_COUNT],
}

impl Bucket {
    const EMPTY: Bucket =
        Bucket { firsts: Lanes([0; 2]), lasts: [0; BUCKET_HINT_COUNT], leaves: [NONE; BUCKET_HINT_COUNT] };

    fn put(&mut self, tag: u32, leaf: u32) {
        let free = || self.leaves.iter().position(|leaf| *leaf == NONE);
        let place = self.firsts.place(first(tag)).or_else(free);
        let place = place.unwrap_or((tag >> (u32::BITS - BUCKET_HINT_COUNT.ilog2())) as usize);
        self.firsts.set(place, first(tag));
        (self.lasts[place], self.leaves[place]) = (tag as u16, leaf);
    }

    /// What it has hints of.
    fn tags(&self) -> impl Iterator<Item = (u32, u32)> {
        let all = (0..BUCKET_HINT_COUNT).filter(|place| self.leaves[*place] != NONE);
        let tag = |place| u32::from(self.firsts.at(place)) << u16::BITS | u32::from(self.lasts[place]);
        all.map(move |place| (tag(place), self.leaves[place]))
    }
}

const fn first(tag: u32) -> u16 {
    (tag >> u16::BITS) as u16
}

/// Eight numbers that are compared four at a time.
#[derive(Clone, Copy, Debug)]
struct Lanes([u64; 2]);

impl Lanes {
    const ONES: u64 = 0x0001_0001_0001_0001;

    /// The first place of a number.
    #[inline]
    fn place(self, number: u16) -> Option<usize> {
        let wanted = u64::from(number) * Self::ONES;
        // A lane that is zero borrows from its highest bit; what it lends to lanes above it changes no first place.
        let hits = |lanes: u64| {
            let apart = lanes ^ wanted;
            apart.wrapping_sub(Self::ONES) & !apart & (Self::ONES << (u16::BITS - 1))
        };
        match (hits(self.0[0]), hits(self.0[1])) {
            (0, 0) => None,
            (0, high) => Some(4 + (high.trailing_zeros() / u16::BITS) as usize),
            (low, _) => Some((low.trailing_zeros() / u16::BITS) as usize),
        }
    }

    fn at(self, place: usize) -> u16 {
        (self.0[place / 4] >> (place as u32 % 4 * u16::BITS)) as u16
    }

    fn set(&mut self, place: usize, number: u16) {
        let shift = place as u32 % 4 * u16::BITS;
        let lanes = &mut self.0[place / 4];
        *lanes = *lanes & !(u64::from(u16::MAX) << shift) | u64::from(number) << shift;
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hints {
    buckets: Vec<Bucket>,
    bucket_count_max: usize,
}

impl Default for Hints {
    fn default() -> Self {
        Self::of_at_most(BUCKET_COUNT_MAX)
    }
}

const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Hints {
    /// Hints in at most so many buckets, a power of two.
    pub(super) const fn of_at_most(bucket_count_max: usize) -> Self {
        Self { buckets: Vec::new(), bucket_count_max }
    }

    #[inline]
    fn bucket(&self, tag: u32) -> Option<&Bucket> {
        self.buckets.get(tag as usize & self.buckets.len().wrapping_sub(1))
    }

    /// Has fetched what [`Hints::find`] looks at.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.bucket(tag(hash)).into_iter().for_each(prefetch);
    }

    /// A leaf whose key may have this hash.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        let tag = tag(hash);
        let bucket = self.bucket(tag)?;
        let leaf = bucket.leaves[bucket.firsts.place(first(tag))? % BUCKET_HINT_COUNT];
        (leaf != NONE).then_some(leaf)
    }

    /// Notes the leaf of a key of this hash; the memtable has so many keys.
    pub(super) fn put(&mut self, hash: u64, leaf: u32, key_count: u32) {
        let room = self.buckets.len() * BUCKET_HINT_COUNT / 2;
        if key_count as usize >= room && key_count >= KEY_COUNT_MIN && self.buckets.len() < self.bucket_count_max {
            self.grow();
        }
        let tag = tag(hash);
        let at = tag as usize & self.buckets.len().wrapping_sub(1);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.put(tag, leaf);
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.buckets);
        self.buckets = vec![Bucket::EMPTY; (old.len() * 2).max(BUCKET_COUNT_FIRST).min(self.bucket_count_max)];
        let mask = self.buckets.len() - 1;
        for bucket in &old {
            bucket.tags().for_each(|(tag, leaf)| self.buckets[tag as usize & mask].put(tag, leaf));
        }
    }

    /// Gives back the memory; false if there is none.
    pub(super) fn shed(&mut self) -> bool {
        let had = !self.buckets.is_empty();
        self.buckets = Vec::new();
        had
    }

    /// Bytes it holds.
    pub(super) fn memory_size(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())
    }

    #[test]
    fn lanes_find_the_first_place_of_each_number() {
        let numbers = [0, 1, 0xffff, 0x8000, 0x7fff, 1, 0, 0x8001];
        let mut lanes = Lanes([u64::MAX; 2]);
        numbers.iter().enumerate().for_each(|(place, number)| lanes.set(place, *number));
        assert!(numbers.iter().enumerate().all(|(place, number)| lanes.at(place) == *number));
        for number in 0..=u16::MAX {
            assert_eq!(lanes.place(number), numbers.iter().position(|found| *found == number), "{number}");
        }
    }

    #[test]
    fn nearly_every_leaf_is_found_while_there_is_room() {
        let mut hints = Hints::default();
        for n in 0..100_000 {
            hints.put(hash(n), n as u32, n as u32);
        }
        let found = (0..100_000).filter(|n| hints.find(hash(*n)) == Some(*n as u32)).count();
        assert!(found > 98_000, "{found}");
        assert!((100_000..200_000).filter(|n| hints.find(hash(*n)).is_some()).count() < 10);
    }

    #[test]
    fn the_hints_are_bounded_and_the_latest_are_known() {
        let mut hints = Hints::default();
        let count = 4 * (BUCKET_COUNT_MAX * BUCKET_HINT_COUNT) as u64;
        for n in 0..count {
            hints.put(hash(n), n as u32, n as u32);
            assert_eq!(hints.find(hash(n)), (n >= u64::from(KEY_COUNT_MIN)).then_some(n as u32));
        }
        assert_eq!(hints.memory_size(), 4 << 20);
        assert!(hints.shed() && !hints.shed());
        assert_eq!((hints.memory_size(), hints.find(hash(count - 1))), (0, None));
    }

    #[test]
    fn few_keys_need_no_hints() {
        let mut hints = Hints::default();
        for n in 0..u64::from(KEY_COUNT_MIN) {
            hints.put(hash(n), n as u32, n as u32);
        }
        assert_eq!(hints.memory_size(), 0);
    }
}
