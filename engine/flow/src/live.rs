//! What is known of every step before a topology runs: which vars are alive there, and which slots a cursor must save.
//!
//! Both are fixpoints over the jumps, since loops jump back.

use crate::step::{Step, StepRecord};
use std::collections::BTreeSet;

pub(crate) type VarSet = BTreeSet<u32>;

/// By step.
pub(crate) struct Liveness {
    /// Vars that the step or one after it reads.
    pub(crate) alive: Vec<VarSet>,
    /// Vars that the step or one after it may write in the same event.
    written: Vec<VarSet>,
    successors: Vec<Vec<usize>>,
}

/// A fork into code that does nothing is none.
pub(crate) fn prune_forks(steps: &mut [StepRecord]) {
    let ends: Vec<bool> = (0..steps.len()).map(|at| leads_to_end(steps, at)).collect();
    for record in steps {
        if let Step::Fork { branches } = &mut record.step {
            branches.retain(|to| !ends[*to]);
        }
    }
}

fn leads_to_end(steps: &[StepRecord], mut at: usize) -> bool {
    for _ in 0..steps.len() {
        match steps[at].step {
            Step::End => return true,
            Step::Jump(to) => at = to,
            _ => return false,
        }
    }
    false
}

impl Liveness {
    pub(crate) fn of(steps: &mut [StepRecord]) -> Liveness {
        let successors: Vec<Vec<usize>> = steps
            .iter_mut()
            .enumerate()
            .map(|(at, record)| {
                let mut to: Vec<usize> = record.step.falls_through().then_some(at + 1).into_iter().collect();
                record.step.each_target(&mut |target| to.push(*target));
                to
            })
            .collect();
        let alive = fixpoint(&successors, |at, mut after| {
            steps[at].defs.iter().for_each(|def| {
                after.remove(def);
            });
            after.extend(&steps[at].uses);
            after
        });
        let written = fixpoint(&successors, |at, after| {
            let mut written = if steps[at].step.ends_event() { VarSet::new() } else { after };
            written.extend(&steps[at].defs);
            if let Step::Again { head, .. } = steps[at].step {
                // What a long loop still needs may be moved together.
                written.extend(&alive[head]);
            }
            written
        });
        Liveness { alive, written, successors }
    }

    /// Vars that a cursor of the step needs when it goes on, and that may have been written since.
    pub(crate) fn saved(&self, at: usize, record: &StepRecord) -> Box<[u32]> {
        let mut needed = VarSet::new();
        match &record.step {
            Step::Emits { .. }
            | Step::Select { .. }
            | Step::Rows { .. }
            | Step::Streams { .. }
            | Step::Unfold(_)
            | Step::Gathered { .. }
            | Step::Records { .. } => {
                self.successors[at].iter().for_each(|to| needed.extend(&self.alive[*to]));
                record.defs.iter().for_each(|def| {
                    needed.remove(def);
                });
                if matches!(record.step, Step::Unfold(_)) {
                    needed.extend(&record.uses);
                }
            }
            Step::Fork { branches } => branches.iter().for_each(|to| needed.extend(&self.alive[*to])),
            _ => return Box::default(),
        }
        let written = self.successors[at].iter().fold(VarSet::new(), |all, to| &all | &self.written[*to]);
        (&needed & &written).into_iter().collect()
    }
}

/// The smallest sets such that each step's is `transfer` of the union of its successors'.
fn fixpoint(successors: &[Vec<usize>], transfer: impl Fn(usize, VarSet) -> VarSet) -> Vec<VarSet> {
    let mut sets = vec![VarSet::new(); successors.len()];
    loop {
        let mut changed = false;
        for at in (0..successors.len()).rev() {
            let after = successors[at].iter().fold(VarSet::new(), |all, to| &all | &sets[*to]);
            let set = transfer(at, after);
            if set != sets[at] {
                sets[at] = set;
                changed = true;
            }
        }
        if !changed {
            return sets;
        }
    }
}
