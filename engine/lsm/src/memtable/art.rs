//! An adaptive radix tree over keys that live elsewhere: it maps keys to leaf numbers, in key order.
//!
//! Inner nodes branch at one byte and have room for 4, 16, 48 or 256 children. A node stores the depth at
//! which it branches and one leaf below it, not the bytes it skips: a descent skips them unread and compares
//! the whole key once, at the leaf. Keys are only ever added. A key may be a prefix of another: it is then
//! the node's own leaf, before all children.
//!
//! Why this shape: a point operation touches one node per few bytes and one key; iteration needs no sort, so
//! a flush can start at once and go in slices.

mod reverse;

use super::pool::Pool;
use crate::block::shared_len;
use tantu_base::prefetch::prefetch;

/// A leaf number, an inner node, or nothing, in 32 bits: the top three say which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link(u32);

const KIND_SHIFT: u32 = 29;
const INDEX_MASK: u32 = (1 << KIND_SHIFT) - 1;
const LEAF: u32 = 0;
const FOUR: u32 = 1;
const SIXTEEN: u32 = 2;
const FORTY_EIGHT: u32 = 3;
const FULL: u32 = 4;

/// Keys that descend side by side: more do not fit the processor's queue of misses.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// Most leaves of one tree.
pub(crate) const LEAF_COUNT_MAX: u32 = INDEX_MASK;

impl Link {
    const NONE: Link = Link(u32::MAX);

    const fn new(kind: u32, index: u32) -> Self {
        Link(kind << KIND_SHIFT | index)
    }

    const fn leaf(index: u32) -> Self {
        Self::new(LEAF, index)
    }

    const fn kind(self) -> u32 {
        self.0 >> KIND_SHIFT
    }

    const fn index(self) -> u32 {
        self.0 & INDEX_MASK
    }
}

/// What every inner node knows.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// All keys below share their first `depth` bytes and differ in the next one.
    depth: u32,
    /// Any leaf below.
    sample: u32,
    /// The leaf whose key ends here.
    own: Link,
    count: u16,
}

impl Head {
    /// What is below its node on the way to a key, of which `child` says what is below it by a byte.
    #[inline]
    fn below(&self, key: &[u8], child: impl FnOnce(u8) -> Link) -> (&Head, Link) {
        let next = match key.get(self.depth as usize) {
            Some(byte) => child(*byte),
            None if key.len() == self.depth as usize => self.own,
            None => Link::NONE,
        };
        (self, next)
    }
}

#[derive(Debug)]
struct Sorted<const N: usize> {
    head: Head,
    bytes: [u8; N],
    children: [Link; N],
}

#[derive(Debug)]
struct Indexed {
    head: Head,
    /// Place of each byte's child plus one; 0 for none.
    places: [u8; 256],
    children: [Link; 48],
}

impl Indexed {
    #[inline]
    fn child(&self, byte: u8) -> Link {
        match self.places[usize::from(byte)] {
            0 => Link::NONE,
            place => self.children[usize::from(place) - 1],
        }
    }
}

#[derive(Debug)]
struct Full {
    head: Head,
    children: [Link; 256],
}

impl<const N: usize> Sorted<N> {
    fn new(head: Head) -> Self {
        Self { head, bytes: [0; N], children: [Link::NONE; N] }
    }

    #[inline]
    fn child(&self, byte: u8) -> Link {
        match first_place(&self.bytes, byte) {
            // Bytes behind the last child are no bytes of children.
            place if place < usize::from(self.head.count) => self.children[place],
            _ => Link::NONE,
        }
    }

    fn add(&mut self, byte: u8, child: Link) {
        let count = usize::from(self.head.count);
        let place = self.bytes[..count].partition_point(|b| *b < byte);
        self.bytes.copy_within(place..count, place + 1);
        self.children.copy_within(place..count, place + 1);
        self.bytes[place] = byte;
        self.children[place] = child;
        self.head.count += 1;
    }

    fn first_from(&self, from: u8) -> Option<(u8, Link)> {
        let count = usize::from(self.head.count);
        let place = self.bytes[..count].partition_point(|b| *b < from);
        (place < count).then(|| (self.bytes[place], self.children[place]))
    }
}

/// The first place of a byte among some, four of which are compared at a time; their count, or more, if it is not there.
#[inline]
fn first_place<const N: usize>(bytes: &[u8; N], byte: u8) -> usize {
    const ONES: u32 = 0x0101_0101;
    let wanted = u32::from(byte) * ONES;
    for (at, four) in bytes.as_chunks::<4>().0.iter().enumerate() {
        let apart = u32::from_le_bytes(*four) ^ wanted;
        // A byte that is zero borrows from its highest bit; what it lends to those above it changes no first place.
        let hits = apart.wrapping_sub(ONES) & !apart & (ONES << 7);
        if hits != 0 {
            return 4 * at + (hits.trailing_zeros() / 8) as usize;
        }
    }
    N
}

/// The keys of the leaves.
pub(crate) trait Keys {
    fn key(&self, leaf: u32) -> &[u8];
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Art {
    root: Link,
    fours: Pool<Sorted<4>>,
    sixteens: Pool<Sorted<16>>,
    forty_eights: Pool<Indexed>,
    fulls: Pool<Full>,
    /// Outgrown nodes, to be used again.
    spare_fours: Vec<u32>,
    spare_sixteens: Vec<u32>,
    spare_forty_eights: Vec<u32>,
}

/// A place in the order of keys. It stays valid while no key is added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    /// Inner nodes above, each with what comes next in it: 0 its own leaf, `n` the children from byte `n - 1`.
    stack: Vec<(u32, u16)>,
    leaf: Option<u32>,
}

impl Position {
    /// The leaf here; none at the end.
    pub(crate) fn leaf(&self) -> Option<u32> {
        self.leaf
    }
}

impl Art {
    pub(crate) const fn new() -> Self {
        Self {
            root: Link::NONE,
            fours: Pool::new(),
            sixteens: Pool::new(),
            forty_eights: Pool::new(),
            fulls: Pool::new(),
            spare_fours: Vec::new(),
            spare_sixteens: Vec::new(),
            spare_forty_eights: Vec::new(),
        }
    }

    /// Gives back the memory of one chunk of nodes; false if there is none. Nothing may be read any more.
    pub(crate) fn shed(&mut self) -> bool {
        self.fours.shed() || self.sixteens.shed() || self.forty_eights.shed() || self.fulls.shed()
    }

    /// Bytes it holds.
    pub(crate) fn memory_size(&self) -> usize {
        let spare = self.spare_fours.capacity() + self.spare_sixteens.capacity() + self.spare_forty_eights.capacity();
        self.fours.memory_size()
            + self.sixteens.memory_size()
            + self.forty_eights.memory_size()
            + self.fulls.memory_size()
            + spare * 4
    }

    #[inline]
    fn head(&self, node: Link) -> &Head {
        match node.kind() {
            FOUR => &self.fours.at(node.index()).head,
            SIXTEEN => &self.sixteens.at(node.index()).head,
            FORTY_EIGHT => &self.forty_eights.at(node.index()).head,
            _ => &self.fulls.at(node.index()).head,
        }
    }

    fn head_mut(&mut self, node: Link) -> &mut Head {
        match node.kind() {
            FOUR => &mut self.fours.at_mut(node.index()).head,
            SIXTEEN => &mut self.sixteens.at_mut(node.index()).head,
            FORTY_EIGHT => &mut self.forty_eights.at_mut(node.index()).head,
            _ => &mut self.fulls.at_mut(node.index()).head,
        }
    }

    #[inline]
    fn child(&self, node: Link, byte: u8) -> Link {
        match node.kind() {
            FOUR => self.fours.at(node.index()).child(byte),
            SIXTEEN => self.sixteens.at(node.index()).child(byte),
            FORTY_EIGHT => self.forty_eights.at(node.index()).child(byte),
            _ => self.fulls.at(node.index()).children[usize::from(byte)],
        }
    }

    /// The child of the smallest byte not below `from`.
    fn first_from(&self, node: Link, from: u8) -> Option<(u8, Link)> {
        match node.kind() {
            FOUR => self.fours.at(node.index()).first_from(from),
            SIXTEEN => self.sixteens.at(node.index()).first_from(from),
            FORTY_EIGHT => {
                let node = self.forty_eights.at(node.index());
                let rest = &node.places[usize::from(from)..];
                let skipped = rest.iter().position(|place| *place != 0)?;
                Some((from + skipped as u8, node.children[usize::from(rest[skipped]) - 1]))
            }
            _ => {
                let node = self.fulls.at(node.index());
                let rest = &node.children[usize::from(from)..];
                let skipped = rest.iter().position(|child| *child != Link::NONE)?;
                Some((from + skipped as u8, rest[skipped]))
            }
        }
    }

    /// The leaf whose key is `key` if there is one, else one that shares as much of it as any. None if empty.
    #[inline]
    fn candidate(&self, key: &[u8]) -> Option<u32> {
        if self.root == Link::NONE {
            return None;
        }
        let mut node = self.root;
        loop {
            if node.kind() == LEAF {
                return Some(node.index());
            }
            let (head, next) = self.below(node, key);
            if next == Link::NONE {
                return Some(head.sample);
            }
            node = next;
        }
    }

    /// What is below an inner node on the way to a key.
    #[inline]
    fn below(&self, node: Link, key: &[u8]) -> (&Head, Link) {
        match node.kind() {
            FOUR => {
                let node = self.fours.at(node.index());
                node.head.below(key, |byte| node.child(byte))
            }
            SIXTEEN => {
                let node = self.sixteens.at(node.index());
                node.head.below(key, |byte| node.child(byte))
            }
            FORTY_EIGHT => {
                let node = self.forty_eights.at(node.index());
                node.head.below(key, |byte| node.child(byte))
            }
            _ => {
                let node = self.fulls.at(node.index());
                node.head.below(key, |byte| node.children[usize::from(byte)])
            }
        }
    }

    /// The leaf of a key.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], keys: &impl Keys) -> Option<u32> {
        self.candidate(key).filter(|leaf| keys.key(*leaf) == key)
    }

    /// For each of some keys the leaf that a descent to it compares it with. They descend side by side, so that what they
    /// touch is fetched at the same time and is there when each of them is looked for.
    pub(crate) fn candidates(&self, keys: &[&[u8]], leaves: &mut [Option<u32>]) {
        let mut nodes = [(self.root, 0); SIDE_BY_SIDE];
        let nodes = &mut nodes[..keys.len().min(SIDE_BY_SIDE)];
        let mut goes_on = self.root != Link::NONE;
        while goes_on {
            for ((node, depth), key) in nodes.iter().zip(keys) {
                self.prefetch(*node, key.get(*depth).copied());
            }
            goes_on = false;
            for ((node, depth), key) in nodes.iter_mut().zip(keys).filter(|((node, _), _)| node.kind() != LEAF) {
                let (head, next) = self.below(*node, key);
                *node = if next == Link::NONE { Link::leaf(head.sample) } else { next };
                *depth = head.depth as usize + 1;
                goes_on |= node.kind() != LEAF;
            }
        }
        for (leaf, (node, _)) in leaves.iter_mut().zip(nodes) {
            *leaf = (*node != Link::NONE).then_some(node.index());
        }
    }

    /// Has fetched what a descent looks at in a node, if it branches at a byte where a key has this one.
    #[inline]
    fn prefetch(&self, node: Link, byte: Option<u8>) {
        match node.kind() {
            LEAF => {}
            FOUR => self.fours.prefetch(node.index()),
            SIXTEEN => {
                let node = self.sixteens.at(node.index());
                prefetch(node);
                prefetch(&node.children[node.children.len() - 1]);
            }
            FORTY_EIGHT => {
                let node = self.forty_eights.at(node.index());
                prefetch(&node.head);
                prefetch(&node.places[usize::from(byte.unwrap_or_default())]);
            }
            _ => {
                let node = self.fulls.at(node.index());
                prefetch(&node.head);
                prefetch(&node.children[usize::from(byte.unwrap_or_default())]);
            }
        }
    }

    /// Adds `key` as leaf number `leaf`, unless it has one already, which is returned.
    pub(crate) fn find_or_add(&mut self, key: &[u8], leaf: u32, keys: &impl Keys) -> Option<u32> {
        let Some(candidate) = self.candidate(key) else {
            self.root = Link::leaf(leaf);
            return None;
        };
        let near = keys.key(candidate);
        let shared = shared_len(near, key);
        if shared == near.len() && shared == key.len() {
            return Some(candidate);
        }
        let mut parent: Option<(Link, u8)> = None;
        let mut node = self.root;
        while node.kind() != LEAF {
            let depth = self.head(node).depth as usize;
            if depth > shared {
                break;
            }
            if depth == shared {
                self.add_child(parent, node, key.get(depth).copied(), Link::leaf(leaf));
                return None;
            }
            parent = Some((node, key[depth]));
            node = self.child(node, key[depth]);
        }
        let old_byte = near.get(shared).copied();
        let head = Head { depth: shared as u32, sample: leaf, own: Link::NONE, count: 0 };
        let fork = Link::new(FOUR, Self::take(&mut self.fours, &mut self.spare_fours, Sorted::new(head)));
        self.add_child(None, fork, old_byte, node);
        self.add_child(None, fork, key.get(shared).copied(), Link::leaf(leaf));
        self.relink(parent, fork);
        None
    }

    fn take<T>(pool: &mut Pool<T>, spare: &mut Vec<u32>, node: T) -> u32 {
        match spare.pop() {
            Some(index) => {
                *pool.at_mut(index) = node;
                index
            }
            None => pool.push(node),
        }
    }

    fn relink(&mut self, parent: Option<(Link, u8)>, child: Link) {
        let Some((parent, byte)) = parent else {
            self.root = child;
            return;
        };
        match parent.kind() {
            FOUR => relink_sorted(self.fours.at_mut(parent.index()), byte, child),
            SIXTEEN => relink_sorted(self.sixteens.at_mut(parent.index()), byte, child),
            FORTY_EIGHT => {
                let node = self.forty_eights.at_mut(parent.index());
                node.children[usize::from(node.places[usize::from(byte)]) - 1] = child;
            }
            _ => self.fulls.at_mut(parent.index()).children[usize::from(byte)] = child,
        }
    }

    /// Adds a child under a byte, or the node's own leaf; a full node is replaced by a larger one.
    fn add_child(&mut self, parent: Option<(Link, u8)>, node: Link, byte: Option<u8>, child: Link) {
        let Some(byte) = byte else {
            self.head_mut(node).own = child;
            return;
        };
        let node = self.with_room(parent, node);
        match node.kind() {
            FOUR => self.fours.at_mut(node.index()).add(byte, child),
            SIXTEEN => self.sixteens.at_mut(node.index()).add(byte, child),
            FORTY_EIGHT => {
                let node = self.forty_eights.at_mut(node.index());
                node.children[usize::from(node.head.count)] = child;
                node.head.count += 1;
                node.places[usize::from(byte)] = node.head.count as u8;
            }
            _ => {
                let node = self.fulls.at_mut(node.index());
                node.children[usize::from(byte)] = child;
                node.head.count += 1;
            }
        }
    }

    /// The node, or its larger replacement if it has no room for one child more.
    fn with_room(&mut self, parent: Option<(Link, u8)>, node: Link) -> Link {
        let head = *self.head(node);
        let larger = match (node.kind(), head.count) {
            (FOUR, 4) => {
                let old = self.fours.at(node.index());
                let mut new = Sorted::<16>::new(head);
                new.bytes[..4].copy_from_slice(&old.bytes);
                new.children[..4].copy_from_slice(&old.children);
                self.spare_fours.push(node.index());
                Link::new(SIXTEEN, Self::take(&mut self.sixteens, &mut self.spare_sixteens, new))
            }
            (SIXTEEN, 16) => {
                let old = self.sixteens.at(node.index());
                let mut new = Indexed { head, places: [0; 256], children: [Link::NONE; 48] };
                new.children[..16].copy_from_slice(&old.children);
                for (place, byte) in (1..).zip(old.bytes) {
                    new.places[usize::from(byte)] = place;
                }
                self.spare_sixteens.push(node.index());
                Link::new(FORTY_EIGHT, Self::take(&mut self.forty_eights, &mut self.spare_forty_eights, new))
            }
            (FORTY_EIGHT, 48) => {
                let old = self.forty_eights.at(node.index());
                let mut new = Full { head, children: [Link::NONE; 256] };
                for (child, place) in new.children.iter_mut().zip(old.places) {
                    if place != 0 {
                        *child = old.children[usize::from(place) - 1];
                    }
                }
                self.spare_forty_eights.push(node.index());
                Link::new(FULL, self.fulls.push(new))
            }
            _ => return node,
        };
        self.relink(parent, larger);
        larger
    }

    /// Moves to the first key not below `from`.
    pub(crate) fn seek(&self, from: &[u8], keys: &impl Keys, position: &mut Position) {
        position.stack.clear();
        position.leaf = None;
        let Some(candidate) = self.candidate(from) else { return };
        let near = keys.key(candidate);
        let shared = shared_len(near, from);
        let mut node = self.root;
        loop {
            if node.kind() == LEAF {
                if keys.key(node.index()) >= from {
                    position.leaf = Some(node.index());
                } else {
                    self.next(position);
                }
                return;
            }
            let depth = self.head(node).depth as usize;
            if depth > shared {
                // Everything below differs from `from` at the same byte, so it is all above or all below.
                if near > from {
                    self.leftmost(node, position)
                } else {
                    self.next(position)
                }
                return;
            }
            let Some(byte) = from.get(depth) else {
                self.leftmost(node, position);
                return;
            };
            position.stack.push((node.0, u16::from(*byte) + 2));
            node = self.child(node, *byte);
            if node == Link::NONE {
                self.next(position);
                return;
            }
        }
    }

    fn leftmost(&self, node: Link, position: &mut Position) {
        if node.kind() == LEAF {
            position.leaf = Some(node.index());
            return;
        }
        position.stack.push((node.0, 0));
        self.next(position);
    }

    /// Moves to the next key.
    pub(crate) fn next(&self, position: &mut Position) {
        position.leaf = None;
        while let Some((node, next)) = position.stack.last_mut() {
            let node = Link(*node);
            let child = match *next {
                0 => {
                    *next = 1;
                    match self.head(node).own {
                        Link::NONE => continue,
                        own => own,
                    }
                }
                257.. => {
                    position.stack.pop();
                    continue;
                }
                from => match self.first_from(node, (from - 1) as u8) {
                    Some((byte, child)) => {
                        *next = u16::from(byte) + 2;
                        child
                    }
                    None => {
                        position.stack.pop();
                        continue;
                    }
                },
            };
            if child.kind() == LEAF {
                position.leaf = Some(child.index());
                return;
            }
            position.stack.push((child.0, 0));
        }
    }
}

fn relink_sorted<const N: usize>(node: &mut Sorted<N>, byte: u8, child: Link) {
    let count = usize::from(node.head.count);
    let place = node.bytes[..count].iter().position(|b| *b == byte).expect("invariant: the parent has this child");
    node.children[place] = child;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Keys for Vec<Vec<u8>> {
        fn key(&self, leaf: u32) -> &[u8] {
            &self[leaf as usize]
        }
    }

    fn check(keys: &[Vec<u8>], probes: &[Vec<u8>]) {
        let mut art = Art::new();
        let mut stored: Vec<Vec<u8>> = Vec::new();
        let mut model: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for key in keys {
            let leaf = stored.len() as u32;
            let had = art.find_or_add(key, leaf, &stored);
            assert_eq!(had, model.get(key).copied(), "{key:?}");
            if had.is_none() {
                stored.push(key.clone());
                model.insert(key.clone(), leaf);
            }
        }
        let asked: Vec<&[u8]> = keys.iter().chain(probes).map(|key| &key[..]).collect();
        for asked in asked.chunks(SIDE_BY_SIDE) {
            let mut leaves = [None; SIDE_BY_SIDE];
            art.candidates(asked, &mut leaves);
            let alone: Vec<Option<u32>> = asked.iter().map(|key| art.candidate(key)).collect();
            assert_eq!(leaves[..asked.len()], alone, "{asked:?}");
        }
        for probe in keys.iter().chain(probes) {
            assert_eq!(art.find(probe, &stored), model.get(probe).copied(), "{probe:?}");
            let mut position = Position::default();
            art.seek(probe, &stored, &mut position);
            for (key, leaf) in model.range(probe.clone()..).take(40) {
                assert_eq!(position.leaf(), Some(*leaf), "{key:?} from {probe:?}");
                art.next(&mut position);
            }
            art.seek_before(probe, &stored, &mut position);
            for (key, leaf) in model.range(..probe.clone()).rev().take(40) {
                assert_eq!(position.leaf(), Some(*leaf), "{key:?} before {probe:?}");
                art.prev(&mut position);
            }
        }
        let mut position = Position::default();
        art.seek_before(&[255; 300], &stored, &mut position);
        for leaf in model.values().rev() {
            assert_eq!(position.leaf(), Some(*leaf));
            art.prev(&mut position);
        }
        assert_eq!(position.leaf(), None);
        art.seek(&[], &stored, &mut position);
        for leaf in model.values() {
            assert_eq!(position.leaf(), Some(*leaf));
            art.next(&mut position);
        }
        assert_eq!(position.leaf(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_tree_finds_and_orders_what_an_ordered_map_does(
            keys in prop::collection::vec(prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..6), 0..200),
            probes in prop::collection::vec(prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..6), 0..30),
        ) {
            check(&keys, &probes);
        }
    }

    #[test]
    fn nodes_of_every_size_keep_their_order() {
        let mut keys = Vec::new();
        for a in (0..=255u8).rev() {
            keys.push(vec![9, a]);
            keys.push(vec![9, a, 0]);
            for b in 0..a / 4 {
                keys.push(vec![9, a, b * 3, 7]);
            }
        }
        keys.push(vec![9]);
        keys.push(vec![]);
        check(&keys, &[vec![8], vec![10], vec![9, 3, 4], vec![9, 255, 255]]);
    }

    #[test]
    fn long_shared_beginnings_need_no_deep_recursion() {
        let keys: Vec<Vec<u8>> = (0..300).map(|n| vec![1u8; n * 200]).collect();
        check(&keys, &[vec![1; 77], vec![1; 60_000], vec![0], vec![2]]);
    }
}
