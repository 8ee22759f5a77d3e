//! Committed writes that are not in a table yet: every key with its versions, newest first, and the range deletions.
//!
//! One writer, versions ascend. Keys are ordered by a radix tree over leaves in an arena, so that a point operation touches
//! a node per few bytes and one key, and a flush can start at once and go in slices. Beside it a hash table of bounded size
//! says where the leaves of keys probably are, so that most point operations do without the descent. When a key is written again, what no
//! reader at or above the floor can see is taken back at once: a key that is overwritten all the time has two places, the
//! newest value and the one a reader at the floor still sees.

mod arena;
mod art;
mod hints;
mod pool;
mod reverse;
#[cfg(test)]
mod tests;

use arena::{Address, Arena};
pub(crate) use art::SIDE_BY_SIDE;
use art::{Art, Keys, LEAF_COUNT_MAX, Position};
use hints::Hints;
use pool::Pool;
pub(crate) use reverse::BackWalk;
use tantu_base::id::Version;
use tantu_base::prefetch::prefetch_lines;

/// Stands for the length of the value of a deleted key.
const DELETED: u32 = u32::MAX;
/// Stands for no older version.
const NONE: u32 = u32::MAX;

/// A deletion of every key in `[from, to)`, before a version: what the same version puts there stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeDelete {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) version: Version,
}

impl RangeDelete {
    #[inline]
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.from[..] <= *key && *key < self.to[..]
    }
}

/// The newest version at which a range deletion that a reader at `at` sees hides `key`.
#[inline]
pub(crate) fn hidden_at(ranges: &[RangeDelete], key: &[u8], at: Version) -> Option<Version> {
    let hides = |range: &&RangeDelete| range.version <= at && range.covers(key);
    ranges.iter().filter(hides).map(|range| range.version).max()
}

/// A value of a key at a version; `None` is a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revision<'a> {
    pub(crate) version: Version,
    pub(crate) value: Option<&'a [u8]>,
}

/// A revision as it is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    version: Version,
    place: Place,
    /// Length of the value, or [`DELETED`].
    len: u32,
    /// The next older one.
    older: u32,
}

/// A value that is as short as an address, or where it lies in the arena. A short one costs no look elsewhere and no place there.
#[derive(Clone, Copy, Debug)]
struct Place([u8; PLACE_SIZE]);

/// Bytes of a value that lies where else its address would.
const PLACE_SIZE: usize = 8;

impl Place {
    fn here(value: &[u8]) -> Self {
        let mut place = [0; PLACE_SIZE];
        place[..value.len()].copy_from_slice(value);
        Self(place)
    }

    fn at(address: Address) -> Self {
        Self(address.to_bytes())
    }

    fn address(self) -> Address {
        Address::of_bytes(self.0)
    }
}

impl Kept {
    #[inline]
    fn value_len(&self) -> usize {
        if self.len == DELETED { 0 } else { self.len as usize }
    }

    /// The bytes of the value.
    #[inline]
    fn value<'a>(&'a self, arena: &'a Arena) -> &'a [u8] {
        match self.value_len() {
            len @ ..=PLACE_SIZE => &self.place.0[..len],
            len => arena.bytes(self.place.address(), len),
        }
    }
}

/// A key and its newest revision.
#[derive(Debug)]
struct Entry {
    key_at: Address,
    key_len: u32,
    newest: Kept,
}

/// The keys of the entries, as the tree over them sees them.
struct EntryKeys<'a> {
    entries: &'a Pool<Entry>,
    arena: &'a Arena,
}

impl Keys for EntryKeys<'_> {
    #[inline]
    fn key(&self, leaf: u32) -> &[u8] {
        let entry = self.entries.at(leaf);
        self.arena.bytes(entry.key_at, entry.key_len as usize)
    }
}

/// A key with its [hash](crate::table::Filter::hash), and the leaf where it may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sought<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) hash: u64,
    leaf: Option<u32>,
    /// There is no hint of it.
    is_forgotten: bool,
}

impl<'k> Sought<'k> {
    #[inline]
    pub(crate) fn new(key: &'k [u8], hash: u64) -> Self {
        Self { key, hash, leaf: None, is_forgotten: false }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Memtable {
    art: Art,
    hints: Hints,
    entries: Pool<Entry>,
    revisions: Pool<Kept>,
    spare_revision: u32,
    arena: Arena,
    pub(crate) ranges: Vec<RangeDelete>,
    ranges_size: usize,
    /// The newest version applied.
    pub(crate) version: Version,
}

impl Default for Memtable {
    fn default() -> Self {
        Self {
            art: Art::new(),
            hints: Hints::default(),
            entries: Pool::new(),
            revisions: Pool::new(),
            spare_revision: NONE,
            arena: Arena::default(),
            ranges: Vec::new(),
            ranges_size: 0,
            version: Version(0),
        }
    }
}

impl Memtable {
    /// Bytes of memory it holds, used or not.
    pub(crate) fn size(&self) -> usize {
        self.art.memory_size()
            + self.hints.memory_size()
            + self.entries.memory_size()
            + self.revisions.memory_size()
            + self.arena.memory_size()
            + self.ranges_size
    }

    /// Gives back the memory of so many chunks; false if there is none left. Nothing may be read any more: to free a large
    /// memtable at once would take longer than a slice may.
    pub(crate) fn shed(&mut self, chunk_count: usize) -> bool {
        (0..chunk_count).all(|_| {
            self.hints.shed() || self.arena.shed() || self.entries.shed() || self.revisions.shed() || self.art.shed()
        })
    }

    fn keys(&self) -> EntryKeys<'_> {
        EntryKeys { entries: &self.entries, arena: &self.arena }
    }

    /// Looks where some keys may be, at most [`SIDE_BY_SIDE`], and has fetched what [`Memtable::set`] and [`Memtable::get`]
    /// look at for them: the steps of one key do not wait for those of another.
    pub(crate) fn seek(&self, sought: &mut [Sought<'_>]) {
        debug_assert!(sought.len() <= SIDE_BY_SIDE);
        sought.iter().for_each(|sought| self.hints.prefetch(sought.hash));
        let mut has_forgotten = false;
        for sought in &mut *sought {
            sought.leaf = self.hints.find(sought.hash);
            sought.is_forgotten = sought.leaf.is_none();
            has_forgotten |= sought.is_forgotten;
        }
        if has_forgotten {
            self.descend(sought);
        }
        let leaves = || sought.iter().filter_map(|sought| sought.leaf);
        leaves().for_each(|leaf| self.entries.prefetch(leaf));
        leaves().for_each(|leaf| {
            let Entry { key_at, key_len, newest } = self.entries.at(leaf);
            prefetch_lines(self.arena.bytes(*key_at, *key_len as usize), 1);
            prefetch_lines(newest.value(&self.arena), 1);
        });
    }

    /// Descends to the keys for which there was no hint.
    fn descend(&self, sought: &mut [Sought<'_>]) {
        let (mut keys, mut count) = ([&[][..]; SIDE_BY_SIDE], 0);
        for (place, sought) in keys.iter_mut().zip(sought.iter().filter(|sought| sought.is_forgotten)) {
            *place = sought.key;
            count += 1;
        }
        let mut leaves = [None; SIDE_BY_SIDE];
        self.art.candidates(&keys[..count], &mut leaves);
        let missing = sought.iter_mut().filter(|sought| sought.is_forgotten);
        missing.zip(leaves).for_each(|(sought, leaf)| sought.leaf = leaf);
    }

    /// Has fetched where it would look first for a key of this hash.
    #[inline]
    pub(crate) fn expect(&self, hash: u64) {
        self.hints.prefetch(hash);
    }

    /// Has fetched what it would look at next for a key of this hash.
    #[inline]
    pub(crate) fn expect_more(&self, hash: u64) {
        self.hints.find(hash).into_iter().for_each(|leaf| self.entries.prefetch(leaf));
    }

    /// Writes a value, or with none a deletion. `floor`: the oldest version anybody may still read.
    pub(crate) fn set(&mut self, sought: Sought<'_>, version: Version, value: Option<&[u8]>, floor: Version) {
        let Sought { key, hash, leaf, is_forgotten } = sought;
        let keys = EntryKeys { entries: &self.entries, arena: &self.arena };
        if let Some(entry) = leaf.or_else(|| self.hints.find(hash))
            && keys.key(entry) == key
        {
            if is_forgotten {
                self.hints.put(hash, entry, self.entries.count());
            }
            return self.overwrite(entry, value, version, floor);
        }
        let next = self.entries.count();
        assert!(next < LEAF_COUNT_MAX, "a memtable is flushed long before it has this many keys");
        match self.art.find_or_add(key, next, &keys) {
            Some(entry) => {
                self.hints.put(hash, entry, next);
                self.overwrite(entry, value, version, floor);
            }
            None => {
                let key_at = self.arena.store(key);
                let newest = self.keep(value, version, NONE);
                self.entries.push(Entry { key_at, key_len: key.len() as u32, newest });
                self.hints.put(hash, next, next);
            }
        }
    }

    fn keep(&mut self, value: Option<&[u8]>, version: Version, older: u32) -> Kept {
        let bytes = value.unwrap_or_default();
        let place = match bytes.len() <= PLACE_SIZE {
            true => Place::here(bytes),
            false => Place::at(self.arena.store_value(bytes)),
        };
        Kept { version, place, len: value.map_or(DELETED, |value| value.len() as u32), older }
    }

    /// What was kept for a value becomes another's.
    fn keep_over(&mut self, old: Kept, value: Option<&[u8]>, version: Version) -> Kept {
        let bytes = value.unwrap_or_default();
        if old.value_len() <= PLACE_SIZE || bytes.len() <= PLACE_SIZE {
            self.release(&old);
            return self.keep(value, version, old.older);
        }
        let place = Place::at(self.arena.replace_value(old.place.address(), old.value_len(), bytes));
        Kept { version, place, len: value.map_or(DELETED, |value| value.len() as u32), older: old.older }
    }

    /// Nobody reads a revision any more: its place in the arena is another's.
    fn release(&mut self, kept: &Kept) {
        if kept.value_len() > PLACE_SIZE {
            self.arena.release(kept.place.address(), kept.value_len());
        }
    }

    fn overwrite(&mut self, entry: u32, value: Option<&[u8]>, version: Version, floor: Version) {
        let mut old = self.entries.at(entry).newest;
        if old.version <= floor {
            self.release_chain(old.older);
            old.older = NONE;
        }
        if old.version == version || version <= floor {
            self.entries.at_mut(entry).newest = self.keep_over(old, value, version);
            return;
        }
        let older = self.keep_revision(old);
        self.entries.at_mut(entry).newest = self.keep(value, version, older);
    }

    fn keep_revision(&mut self, revision: Kept) -> u32 {
        if self.spare_revision == NONE {
            return self.revisions.push(revision);
        }
        let index = self.spare_revision;
        let place = self.revisions.at_mut(index);
        self.spare_revision = place.older;
        *place = revision;
        index
    }

    fn release_chain(&mut self, mut index: u32) {
        while index != NONE {
            let revision = *self.revisions.at(index);
            self.release(&revision);
            self.revisions.at_mut(index).older = self.spare_revision;
            self.spare_revision = index;
            index = revision.older;
        }
    }

    pub(crate) fn delete_range(&mut self, range: RangeDelete) {
        self.ranges_size += range.from.len() + range.to.len() + size_of::<RangeDelete>();
        self.ranges.push(range);
    }

    /// The newest revision of a key of this hash a reader at `at` sees, range deletions aside.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], hash: u64, at: Version) -> Option<Revision<'_>> {
        let keys = self.keys();
        let hinted = self.hints.find(hash).filter(|entry| keys.key(*entry) == key);
        let entry = hinted.or_else(|| self.art.find(key, &keys))?;
        self.kept_at(entry, at).map(|kept| self.revision(kept))
    }

    #[inline]
    fn kept_at(&self, entry: u32, at: Version) -> Option<&Kept> {
        let mut kept = &self.entries.at(entry).newest;
        while kept.version > at {
            if kept.older == NONE {
                return None;
            }
            kept = self.revisions.at(kept.older);
        }
        Some(kept)
    }

    #[inline]
    fn revision<'a>(&'a self, kept: &'a Kept) -> Revision<'a> {
        let value = (kept.len != DELETED).then(|| kept.value(&self.arena));
        Revision { version: kept.version, value }
    }
}

/// Keys that a walk has passed on its way before it stands at one: those in front of it are being fetched.
const AHEAD_COUNT: usize = 4;
/// Lines of a key, and of a value, that are fetched ahead: what is longer comes in order, which the processor sees.
const AHEAD_LINE_COUNT: usize = 2;

/// A walk over a memtable in key order. It borrows nothing, so that a job can keep it between slices; the memtable must not
/// be written meanwhile.
///
/// Its keys are all over memory. So it is some keys ahead of where it stands: the entry of the last of them is being fetched,
/// and by the entry of the one in the middle, which is there, its key and its value.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The leaf it stands at, and those that come next.
    leaves: [Option<u32>; AHEAD_COUNT],
    ahead: Position,
}

impl Walk {
    /// Stands at the first key not below `from`.
    pub(crate) fn seek(&mut self, memtable: &Memtable, from: &[u8]) {
        memtable.art.seek(from, &memtable.keys(), &mut self.ahead);
        self.begin(memtable, Art::next);
    }

    /// Stands where the position is.
    fn begin(&mut self, memtable: &Memtable, next: fn(&Art, &mut Position)) {
        self.leaves = [None; AHEAD_COUNT];
        (0..AHEAD_COUNT).for_each(|_| self.step(memtable, next));
    }

    #[inline]
    fn step(&mut self, memtable: &Memtable, next: fn(&Art, &mut Position)) {
        self.leaves.rotate_left(1);
        let last = self.ahead.leaf();
        self.leaves[AHEAD_COUNT - 1] = last;
        if let Some(leaf) = last {
            memtable.entries.prefetch(leaf);
            next(&memtable.art, &mut self.ahead);
        }
        if let Some(leaf) = self.leaves[AHEAD_COUNT / 2] {
            let Entry { key_at, key_len, newest } = memtable.entries.at(leaf);
            prefetch_lines(memtable.arena.bytes(*key_at, *key_len as usize), AHEAD_LINE_COUNT);
            prefetch_lines(newest.value(&memtable.arena), AHEAD_LINE_COUNT);
        }
    }

    /// The key it stands at; none behind the last.
    #[inline]
    pub(crate) fn key<'a>(&self, memtable: &'a Memtable) -> Option<&'a [u8]> {
        let entry = memtable.entries.at(self.leaves[0]?);
        Some(memtable.arena.bytes(entry.key_at, entry.key_len as usize))
    }

    /// The newest revision of its key a reader at `at` sees.
    #[inline]
    pub(crate) fn revision<'a>(&self, memtable: &'a Memtable, at: Version) -> Option<Revision<'a>> {
        memtable.kept_at(self.leaves[0]?, at).map(|kept| memtable.revision(kept))
    }

    /// All revisions of its key, newest first.
    pub(crate) fn revisions<'a>(&self, memtable: &'a Memtable) -> impl Iterator<Item = Revision<'a>> {
        let mut next = self.leaves[0].map(|leaf| &memtable.entries.at(leaf).newest);
        std::iter::from_fn(move || {
            let kept = next?;
            next = (kept.older != NONE).then(|| memtable.revisions.at(kept.older));
            Some(memtable.revision(kept))
        })
    }

    /// Moves to the next key.
    #[inline]
    pub(crate) fn next(&mut self, memtable: &Memtable) {
        self.step(memtable, Art::next);
    }
}
