//! Coverage marks: a counter per fault class, so that a test can prove that the weather it asked for came.
//!
//! A simulator that quietly stopped injecting a fault looks exactly like an engine without bugs. Hence a run ends
//! with [`Marks::assert_all_hit`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A power cut lost an unflushed sector.
pub const LOST_SECTOR: &str = "lost sector";
/// A power cut left an unflushed sector on the medium.
pub const KEPT_SECTOR: &str = "kept sector";
/// A power cut left the head of a sector new and its tail old.
pub const TORN_SECTOR: &str = "torn sector";
/// A power cut left an older unflushed version of a sector than the last one written.
pub const STALE_SECTOR: &str = "stale sector";
/// A power cut lost a file length that was not flushed.
pub const LOST_LENGTH: &str = "lost length";
/// A power cut undid a creation, rename or removal whose directory was not flushed.
pub const LOST_NAME: &str = "lost name";
/// A power cut left a later change of names and lost an earlier one.
pub const REORDERED_NAME: &str = "reordered name";
/// A power cut or kill met a request in flight that then never happened.
pub const LOST_REQUEST: &str = "lost request";
/// A power cut or kill met a request in flight that happened, in part or whole, and was never answered.
pub const UNANSWERED_REQUEST: &str = "unanswered request";
/// The power was cut.
pub const POWER_CUT: &str = "power cut";
/// The process was killed.
pub const KILL: &str = "kill";
/// The power was cut while the engine was still opening after a crash.
pub const CRASH_IN_RECOVERY: &str = "crash in recovery";
/// A read failed.
pub const EIO_READ: &str = "EIO read";
/// A write failed.
pub const EIO_WRITE: &str = "EIO write";
/// A flush of a file or directory failed.
pub const EIO_FLUSH: &str = "EIO flush";
/// Any other request failed.
pub const EIO_OTHER: &str = "EIO other";
/// There was no space left.
pub const ENOSPC: &str = "ENOSPC";
/// A read gave fewer bytes than there were.
pub const SHORT_READ: &str = "short read";
/// A request took very long.
pub const SLOW_REQUEST: &str = "slow request";
/// Requests finished in another order than they were started.
pub const REORDERED_REQUEST: &str = "reordered request";
/// A bit was flipped on the medium.
pub const BIT_FLIP: &str = "bit flip";
/// A ring was full and gave a batch back.
pub const FULL_RING: &str = "full ring";
/// A batch was given back though there was room, as if the ring had been full.
pub const REFUSED_BATCH: &str = "refused batch";
/// A batch was under way for long.
pub const DELAYED_BATCH: &str = "delayed batch";
/// A batch was for a peer that is gone.
pub const LOST_BATCH: &str = "lost batch";
/// Too many jobs were outstanding.
pub const REFUSED_JOB: &str = "refused job";
/// A job panicked.
pub const PANICKED_JOB: &str = "panicked job";

/// The counters. Cloning shares them. Other names than the ones above are fine.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    hits: Rc<RefCell<BTreeMap<&'static str, u64>>>,
}

impl Marks {
    /// Counts one hit.
    pub fn hit(&self, mark: &'static str) {
        self.hit_many(mark, 1);
    }

    /// Counts several hits; none makes the mark known and leaves it at zero.
    pub fn hit_many(&self, mark: &'static str, count: u64) {
        *self.hits.borrow_mut().entry(mark).or_default() += count;
    }

    /// How often a mark was hit.
    pub fn count(&self, mark: &str) -> u64 {
        self.hits.borrow().get(mark).copied().unwrap_or_default()
    }

    /// Adds the counts of another world: a campaign sums its seeds.
    pub fn add(&self, other: &Marks) {
        assert!(!Rc::ptr_eq(&self.hits, &other.hits), "marks added to themselves");
        for (mark, count) in other.hits.borrow().iter() {
            self.hit_many(mark, *count);
        }
    }

    /// Everything that was hit, by name.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        self.hits.borrow().iter().map(|(mark, count)| (*mark, *count)).collect()
    }

    /// Those of `marks` that were never hit.
    pub fn missing<'m>(&self, marks: &[&'m str]) -> Vec<&'m str> {
        marks.iter().copied().filter(|mark| self.count(mark) == 0).collect()
    }

    /// Fails if the weather never did one of these.
    ///
    /// # Panics
    /// Naming the marks with zero hits.
    pub fn assert_all_hit(&self, marks: &[&str]) {
        let missing = self.missing(marks);
        assert!(
            missing.is_empty(),
            "these never happened, so the run proves nothing about them: {missing:?}; hits: {:?}",
            self.all()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_stayed_at_zero_fails_by_name() {
        let marks = Marks::default();
        marks.clone().hit(LOST_SECTOR);
        marks.assert_all_hit(&[LOST_SECTOR]);
        let sum = Marks::default();
        sum.hit(LOST_SECTOR);
        sum.add(&marks);
        assert_eq!(sum.count(LOST_SECTOR), 2);
        assert_eq!(sum.missing(&[ENOSPC, LOST_SECTOR]), [ENOSPC]);
        let failure = std::panic::catch_unwind(|| {
            let marks = Marks::default();
            marks.assert_all_hit(&[ENOSPC]);
        });
        let text = *failure.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("ENOSPC"), "{text}");
    }
}
