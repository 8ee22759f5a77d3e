//! The memory of one task thread, and how it is shared out.

use crate::limit::EVENT_HOP_SIZE_MAX;

/// Bytes a task thread may hold: a third for blocks of tables, a third at most for memtables, the rest for records, staged
/// writes, events and letters. Clients are let in only while there is room; what is in already always goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryBudget {
    size: usize,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { size: Self::SIZE_DEFAULT }
    }
}

impl MemoryBudget {
    /// The least there may be, in bytes: rings, buffers of requests and what the allocator keeps have room beside it.
    pub const SIZE_MIN: usize = 256 << 20;
    /// What is taken if nothing is said, in bytes.
    pub const SIZE_DEFAULT: usize = 768 << 20;

    /// So many bytes; none if that is less than [`MemoryBudget::SIZE_MIN`].
    pub fn new(size: usize) -> Option<Self> {
        (size >= Self::SIZE_MIN).then_some(Self { size })
    }

    /// All of it.
    pub fn size(self) -> usize {
        self.size
    }

    /// For blocks of tables.
    pub(crate) fn cache(self) -> usize {
        self.size / 3
    }

    /// Memtables that take writes hold this much together before the largest is flushed.
    pub(crate) fn open_memtables(self) -> usize {
        self.size / 6
    }

    /// Admission closes while all memtables hold this much: their flushes have to catch up first.
    pub(crate) fn memtables(self) -> usize {
        self.size / 3
    }

    /// What microbatches write on the tasks holds this much together before the largest goes to the disk.
    pub(crate) fn side_runs(self) -> usize {
        self.size / 12
    }

    /// Admission closes while everything but the cache holds this much. A sixth is left for what is under way.
    pub(crate) fn admission(self) -> usize {
        self.size / 2
    }

    /// Letters that one event may send: what sends more fails.
    pub(crate) fn event_letters(self) -> usize {
        EVENT_HOP_SIZE_MAX.min(self.size / 4)
    }

    /// From here on memory is given back early: records are copied and memtables flushed that could wait.
    pub(crate) fn pressure(self) -> usize {
        self.size / 8 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fit_the_whole() {
        for size in [MemoryBudget::SIZE_MIN, MemoryBudget::SIZE_DEFAULT, 10 << 30] {
            let budget = MemoryBudget::new(size).expect("it is enough");
            assert!(budget.cache() + budget.admission() + size / 6 <= size);
            assert!(budget.open_memtables() * 2 <= budget.memtables() && budget.memtables() <= budget.admission());
            assert!(budget.pressure() < budget.admission());
            assert!(budget.memtables() + budget.side_runs() <= budget.admission());
        }
        assert_eq!(MemoryBudget::new(MemoryBudget::SIZE_MIN - 1), None);
    }
}
