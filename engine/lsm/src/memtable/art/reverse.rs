//! The order of keys backwards.
//!
//! A [`Position`] that was sought here says of each node above what is still to come below it: 0 nothing, 1 its own leaf,
//! `n` the children up to byte `n - 2` and then its own leaf. So it may not be moved by [`Art::next`].

use super::{Art, FORTY_EIGHT, FOUR, Keys, LEAF, Link, Position, SIXTEEN, Sorted};

/// All children are still to come.
const ALL: u16 = 257;

impl<const N: usize> Sorted<N> {
    fn last_up_to(&self, to: u8) -> Option<(u8, Link)> {
        let count = usize::from(self.head.count);
        let place = self.bytes[..count].partition_point(|b| *b <= to).checked_sub(1)?;
        Some((self.bytes[place], self.children[place]))
    }
}

impl Art {
    /// The child of the largest byte not above `to`.
    fn last_up_to(&self, node: Link, to: u8) -> Option<(u8, Link)> {
        match node.kind() {
            FOUR => self.fours.at(node.index()).last_up_to(to),
            SIXTEEN => self.sixteens.at(node.index()).last_up_to(to),
            FORTY_EIGHT => {
                let node = self.forty_eights.at(node.index());
                let byte = node.places[..=usize::from(to)].iter().rposition(|place| *place != 0)?;
                Some((byte as u8, node.children[usize::from(node.places[byte]) - 1]))
            }
            _ => {
                let node = self.fulls.at(node.index());
                let byte = node.children[..=usize::from(to)].iter().rposition(|child| *child != Link::NONE)?;
                Some((byte as u8, node.children[byte]))
            }
        }
    }

    /// Moves to the last key below `to`.
    pub(crate) fn seek_before(&self, to: &[u8], keys: &impl Keys, position: &mut Position) {
        position.stack.clear();
        position.leaf = None;
        let Some(candidate) = self.candidate(to) else { return };
        let near = keys.key(candidate);
        let shared = super::shared_len(near, to);
        let mut node = self.root;
        loop {
            if node.kind() == LEAF {
                if keys.key(node.index()) < to {
                    position.leaf = Some(node.index());
                } else {
                    self.prev(position);
                }
                return;
            }
            let depth = self.head(node).depth as usize;
            if depth > shared {
                // Everything below differs from `to` at the same byte, so it is all above or all below.
                if near < to {
                    self.rightmost(node, position)
                } else {
                    self.prev(position)
                }
                return;
            }
            let Some(byte) = to.get(depth) else {
                // Everything below begins with `to`.
                self.prev(position);
                return;
            };
            position.stack.push((node.0, u16::from(*byte) + 1));
            node = self.child(node, *byte);
            if node == Link::NONE {
                self.prev(position);
                return;
            }
        }
    }

    fn rightmost(&self, node: Link, position: &mut Position) {
        if node.kind() == LEAF {
            position.leaf = Some(node.index());
            return;
        }
        position.stack.push((node.0, ALL));
        self.prev(position);
    }

    /// Moves to the key before.
    pub(crate) fn prev(&self, position: &mut Position) {
        position.leaf = None;
        while let Some((node, left)) = position.stack.last_mut() {
            let node = Link(*node);
            let child = match *left {
                0 => {
                    position.stack.pop();
                    continue;
                }
                1 => {
                    *left = 0;
                    match self.head(node).own {
                        Link::NONE => continue,
                        own => own,
                    }
                }
                upper => match self.last_up_to(node, (upper - 2) as u8) {
                    Some((byte, child)) => {
                        *left = u16::from(byte) + 1;
                        child
                    }
                    None => {
                        *left = 1;
                        continue;
                    }
                },
            };
            if child.kind() == LEAF {
                position.leaf = Some(child.index());
                return;
            }
            position.stack.push((child.0, ALL));
        }
    }
}
