//! The N-th request of a kind fails, for N = 0, 1, 2 … until a run has no N-th one any more.
//!
//! Each fault comes once, and then again from the N-th request on for ever. The disk door answers with the errors
//! swept here: it repeats interrupted requests (`EINTR`, `EAGAIN`) and goes on with short ones by itself, so a short
//! read is one at the end of a file that is shorter than it should be.

use crate::form::Form;
use std::collections::BTreeSet;
use std::fmt;
use tantu_weather::{Fault, OpKind, SimDisk};

/// The kinds of requests that everything makes; a log alone gives space ahead and renames.
pub fn common_kinds() -> Vec<OpKind> {
    OpKind::ALL.into_iter().filter(|kind| !matches!(kind, OpKind::Allocate | OpKind::Rename)).collect()
}

/// `ECANCELED`: a request before it in a chain failed.
pub const CANCELED: i32 = 125;

/// A fault to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planned {
    /// The seed of the workload. Even ones begin with an empty disk, odd ones with what an earlier life left.
    pub seed: u64,
    /// Which requests.
    pub kind: OpKind,
    /// Which of them, counted from when it is armed.
    pub index: u64,
    /// What happens to it.
    pub fault: Fault,
    /// Whether it happens to all later ones too.
    pub sticky: bool,
}

impl Planned {
    /// Lets it come.
    pub fn arm(&self, disk: &SimDisk) {
        if self.sticky {
            disk.fail_from(self.kind, self.index, self.fault);
        } else {
            disk.fail_nth(self.kind, self.index, self.fault);
        }
    }

    /// Whether the fault comes in a second life, which begins with a recovery.
    pub fn in_second_life(&self) -> bool {
        !self.seed.is_multiple_of(2)
    }

    /// Ends it: the disk is healthy again.
    pub fn disarm(&self, disk: &SimDisk) {
        disk.fail_all(self.kind, None);
    }

    fn state(&self) -> [u64; 5] {
        let place = |found: Option<usize>| found.expect("invariant: only listed faults are planned") as u64;
        [
            self.seed,
            place(OpKind::ALL.iter().position(|kind| *kind == self.kind)),
            place(FAULTS.iter().position(|fault| *fault == self.fault)),
            u64::from(self.sticky),
            self.index,
        ]
    }

    fn from_state(state: &[u64]) -> Option<Self> {
        let &[seed, kind, fault, sticky, index] = state else { return None };
        let (kind, fault) = (*OpKind::ALL.get(kind as usize)?, *FAULTS.get(fault as usize)?);
        Some(Self { seed, kind, index, fault, sticky: sticky == 1 })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state().map(|part| part.to_string()).join("."))
    }
}

/// Every fault of a sweep.
pub const FAULTS: [Fault; 4] = [Fault::Eio, Fault::Full, Fault::Os(CANCELED), Fault::Short];

/// Whether a kind of request can end so.
fn fits(kind: OpKind, fault: Fault) -> bool {
    let makes_longer = matches!(
        kind,
        OpKind::Open | OpKind::Write | OpKind::Sync | OpKind::Allocate | OpKind::Rename | OpKind::MakeDir
    );
    match fault {
        Fault::Full => makes_longer,
        Fault::Short => kind == OpKind::Read,
        Fault::Eio | Fault::Os(_) | Fault::Slow => true,
    }
}

/// What a workload is swept with.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// Seeds of the short form.
    pub short_seeds: u64,
    /// How many requests the short form tries one by one.
    pub dense: u64,
    /// How far it goes on from request to request after those.
    pub step: u64,
    /// The kinds of requests it makes.
    pub kinds: &'a [OpKind],
    /// What happens to them.
    pub faults: &'a [Fault],
}

/// Runs a workload with every planned fault. `run` says whether the fault came: when it did not, the sweep of its kind is
/// done.
///
/// # Panics
/// If `run` does, after the fault was named.
pub fn sweep(form: &Form, workload: &Workload<'_>, mut run: impl FnMut(&Planned) -> bool) {
    let Workload { short_seeds, dense, step, kinds, faults } = *workload;
    let (mut runs, mut seeds, mut hit) = (0, 0, BTreeSet::new());
    if let Some(planned) = form.state().and_then(Planned::from_state) {
        let _place = form.at(planned);
        assert!(run(&planned), "the fault never came");
        return;
    }
    for seed in form.seeds(short_seeds) {
        seeds += 1;
        for (kind, fault) in kinds.iter().flat_map(|kind| faults.iter().map(|fault| (*kind, *fault))) {
            for sticky in [false, true].into_iter().filter(|_| fits(kind, fault)) {
                let mut index = 0;
                while !form.is_over() {
                    let planned = Planned { seed, kind, index, fault, sticky };
                    let _place = form.at(planned);
                    runs += 1;
                    if !run(&planned) {
                        break;
                    }
                    hit.insert(kind);
                    index += if form.is_long() || index < dense { 1 } else { step };
                }
            }
        }
    }
    assert!(form.is_over() || hit.len() == kinds.len(), "only these were hit: {hit:?}");
    form.report(&[("seeds", seeds), ("kinds of requests", hit.len() as u64), ("runs", runs)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_again_from_what_a_finding_says() {
        for (kind, fault) in OpKind::ALL.into_iter().flat_map(|kind| FAULTS.map(|fault| (kind, fault))) {
            let planned = Planned { seed: 9, kind, index: 4, fault, sticky: fault == Fault::Full };
            assert_eq!(Planned::from_state(&planned.state()), Some(planned), "{planned}");
        }
        assert_eq!(Planned::from_state(&[1, 2, 3]), None);
        assert_eq!(Planned::from_state(&[0, 99, 0, 0, 0]), None);
    }
}
