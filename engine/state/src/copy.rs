//! Records that are nowhere but in the log are copied to segments, a chunk at a time.

use crate::task::TaskState;
use tantu_base::door::{Disk, Entropy};
use tantu_replog::Lsn;

impl TaskState {
    /// Starts to copy records to a segment: of the partition with the most, if they fill a chunk, or of one with some
    /// that are in the log before `old`; whether it did.
    pub fn copy_records(&mut self, old: Lsn, entropy: &mut dyn Entropy, disk: &mut dyn Disk) -> bool {
        if self.segments.is_copying() {
            return false;
        }
        let most = self.depots.iter().enumerate().max_by_key(|(_, depot)| depot.uncopied_size());
        let full = most.filter(|(_, depot)| depot.uncopied_size() >= self.chunk_size_max).map(|(index, _)| index);
        let Some(index) = full.or_else(|| self.depot_in_log_before(old)) else { return false };
        let depot = &mut self.depots[index];
        let written = self.segments.copy(depot.object, depot.uncopied(), entropy.next_u64(), disk);
        depot.set_written(written);
        true
    }

    /// A partition with records that are nowhere but in the log, some of them before `old`.
    fn depot_in_log_before(&self, old: Lsn) -> Option<usize> {
        if old == Lsn(0) {
            return None;
        }
        (0..self.depots.len()).find(|index| {
            let written = self.depots[*index].written_end();
            let queue = &self.uncopied[*index];
            // What a run appended may still have to come from the disk.
            let is_here = self.depots[*index].uncopied().next().is_some();
            is_here && queue.get(queue.partition_point(|(end, _)| *end <= written)).is_some_and(|(_, lsn)| *lsn < old)
        })
    }

    /// Whether every committed record is in a chunk that readers know of.
    pub fn is_copied(&self) -> bool {
        !self.segments.is_copying() && self.depots.iter().all(|depot| depot.copied_end == depot.durable_end())
    }
}
