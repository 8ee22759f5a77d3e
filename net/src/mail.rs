//! Which of a receiver's rings may hold something: one bit per source, so that a look at many empty rings is one load.
//!
//! A sender pushes, fences, and sets its bit if it is not set. The receiver takes all bits, fences, and then looks into
//! the rings they name. Of the two fences one comes first: either the receiver sees what was pushed, or the sender sees
//! that the bits were taken and sets its own again. Sources share a bit when there are more of them than bits.

use crate::sync::{AtomicUsize, Ordering, fence};
use tantu_base::door::Peer;
use tantu_base::id::Category;

/// See the module.
#[derive(Debug)]
pub struct Mail([AtomicUsize; Category::ALL.len()]);

impl Default for Mail {
    fn default() -> Self {
        Self(Category::ALL.map(|_| AtomicUsize::new(0)))
    }
}

impl Mail {
    /// A source's bit.
    #[inline]
    pub fn bit(source: Peer) -> usize {
        1 << (source.0 % usize::BITS)
    }

    /// The sender's half, after it pushed.
    #[inline]
    pub fn post(&self, category: Category, bit: usize) {
        fence(Ordering::SeqCst);
        let word = &self.0[category.index()];
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// The receiver's half: the sources it has to look at now.
    #[inline]
    pub fn collect(&self, category: Category) -> usize {
        let word = &self.0[category.index()];
        if word.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let bits = word.swap(0, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        bits
    }

    /// Whether some bit is set.
    #[inline]
    pub fn has_any(&self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }
}
