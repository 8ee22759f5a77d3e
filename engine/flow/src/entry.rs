//! Where an event may start: which vars come with it, and where the first step is that does something.
//!
//! What follows a partitioner in a loop are often copies into the loop's vars and a jump back to its head. An event that
//! starts there reads its vars straight into those of the loop and starts at the head.

use crate::data::Register;
use crate::live::VarSet;
use crate::step::{Step, StepRecord};

pub(crate) struct Entry {
    pub(crate) step: usize,
    pub(crate) live: Vec<Register>,
    /// The registers of the source the step belongs to.
    pub(crate) source: usize,
    /// Whether all live vars are scalars.
    pub(crate) is_scalar: bool,
    /// Where a run starts: at the step, or behind copies and jumps that it starts with.
    pub(crate) first: usize,
    /// Where the values of the live vars go, in their order: the copies that are passed over are made in these.
    pub(crate) into: Vec<Register>,
}

impl Entry {
    pub(crate) fn new(step: usize, live: Vec<Register>, source: usize) -> Entry {
        let is_scalar = live.iter().all(Register::is_scalar);
        Entry { step, source, is_scalar, first: step, into: live.clone(), live }
    }

    /// Passes over copies and jumps at its beginning. `steps` start at `base`, and `alive` says for each of them what it or one after it
    /// reads.
    pub(crate) fn shorten(&mut self, steps: &[StepRecord], base: usize, alive: &[VarSet]) {
        // A loop of nothing but jumps is left after as many rounds as there are steps.
        for _ in 0..steps.len() {
            let at = self.first - base;
            match &steps[at].step {
                Step::Jump(to) | Step::Again { head: to, .. } => self.first = *to,
                Step::Copy(moves) => {
                    let Some(into) = copied(&self.into, moves, &alive[at + 1]) else { return };
                    self.into = into;
                    self.first += 1;
                }
                _ => return,
            }
        }
    }
}

/// Where values go that would be copied from where they went before; none if a value is needed in two places, or in one that
/// another one takes.
fn copied(before: &[Register], moves: &[(u32, u32)], alive: &VarSet) -> Option<Vec<Register>> {
    let mut into = Vec::new();
    for register in before {
        let mut to = moves.iter().filter(|(from, _)| *from == register.var).map(|(_, to)| *to);
        match (to.next(), to.next()) {
            (None, _) => into.push(*register),
            (Some(to), None) if !alive.contains(&register.var) => into.push(register.renumbered(to)),
            _ => return None,
        }
    }
    let is_here = |var: u32| before.iter().any(|register| register.var == var);
    let taken = |at: usize| into[..at].iter().any(|register| register.var == into[at].var);
    let fits = moves.iter().all(|(from, _)| is_here(*from)) && !(0..into.len()).any(taken);
    fits.then_some(into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::here;

    fn vars(into: &[Register]) -> Vec<u32> {
        into.iter().map(|register| register.var).collect()
    }

    fn record(step: Step) -> StepRecord {
        StepRecord { step, label: String::new(), uses: vec![], defs: vec![], place: here() }
    }

    #[test]
    fn an_entry_before_copies_and_a_jump_back_starts_where_they_lead_with_its_values_there() {
        let again = Step::Again { head: 11, live: vec![] };
        let copy = |moves: &[(u32, u32)]| Step::Copy(moves.to_vec());
        let steps = [Step::End, Step::TaskId(9), copy(&[(1, 5)]), copy(&[(5, 6), (2, 1)]), again, Step::Jump(15)];
        let steps = steps.map(record);
        let alive = [[].into(), [1, 6].into(), [1, 2].into(), [2, 5].into(), [1, 6].into(), [].into()];
        let mut entry = Entry::new(12, [1, 2].map(Register::new::<i64>).to_vec(), 0);
        entry.shorten(&steps, 10, &alive);
        assert_eq!((entry.step, entry.first), (12, 11));
        assert_eq!((vars(&entry.live), vars(&entry.into)), (vec![1, 2], vec![6, 1]));
        let mut entry = Entry::new(15, vec![], 0);
        entry.shorten(&steps, 10, &alive);
        assert_eq!(entry.first, 15, "a jump to itself leads nowhere else");
    }

    #[test]
    fn values_that_are_needed_twice_or_where_another_one_is_stay_until_they_are_copied() {
        let before = [1, 2].map(Register::new::<i64>);
        let into = |moves: &[(u32, u32)], alive: &[u32]| {
            copied(&before, moves, &alive.iter().copied().collect()).map(|into| vars(&into))
        };
        assert_eq!(into(&[(1, 7), (2, 8)], &[7, 8]), Some(vec![7, 8]));
        assert_eq!(into(&[(1, 7)], &[2, 7]), Some(vec![7, 2]));
        assert_eq!(into(&[(1, 7)], &[1, 2, 7]), None, "the one that is copied is read later too");
        assert_eq!(into(&[(1, 7), (1, 8)], &[7, 8]), None);
        assert_eq!(into(&[(1, 2)], &[2]), None, "the second one would be written after the first");
        assert_eq!(into(&[(3, 7)], &[7]), None, "what it is copied from does not come with the event");
    }
}
