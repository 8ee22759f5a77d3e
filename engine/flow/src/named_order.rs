//! In which order sources of named vars are joined, if they can be.
//!
//! Two sources can be joined if they have a name in common. The search tries few sources before many: the fewest that know all
//! names that are needed and hold together. Optional sources come behind those that are not, each on all names it must
//! be joined on.

use std::collections::BTreeSet;

/// What a source brings to a join.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Names on which it may be joined.
    pub(crate) ground: BTreeSet<String>,
    /// Names that are null where it has no row.
    pub(crate) missable: BTreeSet<String>,
    pub(crate) is_optional: bool,
}

impl Side {
    fn has(&self, name: &str) -> bool {
        self.ground.contains(name) || self.missable.contains(name)
    }
}

/// The places of the sources to join, in order; none if no order gives rows that know all of these names.
pub(crate) fn join_order(sides: &[Side], needed: &[&str]) -> Option<Vec<usize>> {
    let mut choices: Vec<u32> = (1..1u32 << sides.len()).collect();
    choices.sort_by_key(|choice| choice.count_ones());
    choices.into_iter().find_map(|choice| {
        let chosen: Vec<usize> = (0..sides.len()).filter(|at| choice >> at & 1 == 1).collect();
        let knows = |name: &&str| chosen.iter().any(|at| sides[*at].has(name));
        if needed.iter().all(knows) { order_of(sides, chosen) } else { None }
    })
}

/// An order in which all of these can be joined.
fn order_of(sides: &[Side], chosen: Vec<usize>) -> Option<Vec<usize>> {
    let (optional, ground): (Vec<usize>, Vec<usize>) = chosen.into_iter().partition(|at| sides[*at].is_optional);
    let is_full = ground.is_empty();
    // What is optional and alone would be gone on with as if it were not.
    if is_full && optional.len() == 1 {
        return None;
    }
    let mut left = if is_full { optional.clone() } else { ground };
    let mut order = vec![left.remove(0)];
    let mut known = Side { is_optional: false, ..sides[order[0]].clone() };
    while !left.is_empty() {
        let next = left.iter().position(|at| fits(&known, &sides[*at], is_full))?;
        take(&mut known, &mut order, sides, left.remove(next));
    }
    if !is_full {
        for at in optional {
            if !fits(&known, &sides[at], false) {
                return None;
            }
            take(&mut known, &mut order, sides, at);
        }
    }
    Some(order)
}

fn take(known: &mut Side, order: &mut Vec<usize>, sides: &[Side], at: usize) {
    order.push(at);
    known.ground.extend(sides[at].ground.iter().cloned());
    known.missable.extend(sides[at].missable.iter().cloned());
}

/// Whether what is known can be joined with another source.
fn fits(known: &Side, next: &Side, is_full: bool) -> bool {
    // A name that may be null is no key, and is bound by one of them.
    let clash = next.missable.iter().any(|name| known.has(name)) || known.missable.iter().any(|name| next.has(name));
    let common = known.ground.intersection(&next.ground).count();
    let all_of_next = !next.is_optional || common == next.ground.len();
    let all_of_known = !is_full || common == known.ground.len();
    common > 0 && !clash && all_of_next && all_of_known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(names: &str) -> Side {
        let is_optional = names.contains("**");
        let missable = |name: &String| name.starts_with("**") || is_optional && name.starts_with("*___");
        let (missable, ground) = names.split(' ').map(String::from).partition(missable);
        Side { ground, missable, is_optional }
    }

    #[test]
    fn the_fewest_sources_that_hold_together_are_joined_in_an_order_that_can_be() {
        for (sides, needed, expected) in [
            (&["*a *b", "*b *c"][..], "*a *c", Some(vec![0, 1])),
            (&["*a *b", "*b *c", "*a *c"], "*a *c", Some(vec![2])),
            // Nothing is needed of the second, but it leads from the first to the third.
            (&["*a *x", "*x *y", "*y *b"], "*a *b", Some(vec![0, 1, 2])),
            (&["*a *x", "*b *y", "*x *y"], "*a *b", Some(vec![0, 2, 1])),
            (&["*a", "*b"], "*a *b", None),
            (&["*a", "*b"], "*b", Some(vec![1])),
            // Optional ones come last, and on all names they are to be joined on.
            (&["*k **v", "*k *a"], "**v *a", Some(vec![1, 0])),
            (&["*k *x **v", "*k *a", "*x *k"], "**v *a", Some(vec![1, 2, 0])),
            (&["*k *x **v", "*k *a"], "**v *a", None),
            (&["*k *___x **v", "*k *a"], "**v *a", Some(vec![1, 0])),
            (&["*k **v", "*k **w"], "**v **w", Some(vec![0, 1])),
            (&["*k **v", "*k *x **w"], "**v **w", None),
            (&["*k **v", "*k **v *x"], "**v *x", None),
            // It is no source of rows by itself.
            (&["*k **v"], "**v", None),
        ] {
            let sides: Vec<Side> = sides.iter().map(|names| side(names)).collect();
            let needed: Vec<&str> = needed.split(' ').collect();
            assert_eq!(join_order(&sides, &needed), expected, "{sides:?} for {needed:?}");
        }
    }
}
