//! Clients that read depot partitions: which offsets there are, and the records of a range, a page at a time.
//!
//! A read that meets a record on the disk waits for its chunk and then looks again. A page ends where the next record
//! would have to be waited for, so a read holds nothing while it waits.

use crate::limit::{DEPOT_READ_COUNT_MAX, ROWS_SIZE};
use crate::thread::TaskThread;
use std::collections::VecDeque;
use tantu_base::door::Peer;
use tantu_base::id::{Category, Offset, TaskId};
use tantu_net::letter::{Letter, ReadRange, Refusal};
use tantu_state::depot::Lookup;

#[derive(Clone, Copy, Debug)]
struct Read {
    peer: Peer,
    request: u64,
    slot: usize,
    depot: usize,
    range: ReadRange,
}

/// Reads that run now, and those that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DepotReads {
    ready: VecDeque<Read>,
    parked: Vec<Read>,
    page: Vec<u8>,
}

impl DepotReads {
    /// Something arrived from the disk: whoever waits looks again.
    pub(crate) fn wake(&mut self) {
        self.ready.extend(self.parked.drain(..));
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.ready.len() + self.parked.len()
    }

    /// A client wants no answers to these requests.
    pub(crate) fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool) {
        self.ready.retain(|read| !is_cancelled(read.peer, read.request));
        self.parked.retain(|read| !is_cancelled(read.peer, read.request));
    }

    /// Whether no more requests can be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.count() >= DEPOT_READ_COUNT_MAX
    }
}

/// How a look at a range ended.
enum Look {
    /// With a page of so many records.
    Page(u32),
    /// The first record is on the disk.
    Wait,
    /// The range is not one the partition has.
    OutOfRange,
}

impl TaskThread {
    /// The slot of a partition, or why there is none.
    fn partition_slot(&self, task: TaskId, depot: u16) -> Result<usize, String> {
        let module = &self.config.module;
        let slot = self.slot_of(task).ok_or_else(|| format!("{task} is not on {}", self.config.thread))?;
        match module.def.depots.get(usize::from(depot)) {
            None => Err(format!("the module has no depot {depot}")),
            Some(def) if def.global && task != TaskId(0) => {
                Err(format!("the depot {} is global: its one partition is on task 0", def.name))
            }
            Some(_) => Ok(slot),
        }
    }

    pub(crate) fn take_ask_offsets(&mut self, peer: Peer, task: TaskId, request: u64, depot: u16) {
        match self.partition_slot(task, depot) {
            Err(text) => self.refuse(peer, request, Refusal::Invalid, &text),
            Ok(slot) => self.send_offsets(peer, request, slot, usize::from(depot)),
        }
    }

    fn send_offsets(&mut self, peer: Peer, request: u64, slot: usize, depot: usize) {
        let partition = &self.slots[slot].state.depots()[depot];
        let letter = Letter::Offsets { request, start: partition.start(), end: partition.committed_end() };
        self.outbox.push(peer, Category::Client, &letter);
    }

    pub(crate) fn take_read_depot(&mut self, peer: Peer, task: TaskId, request: u64, depot: u16, range: ReadRange) {
        match self.partition_slot(task, depot) {
            Err(text) => self.refuse(peer, request, Refusal::Invalid, &text),
            Ok(_) if range.count_max == 0 || range.from > range.to => self.refuse(
                peer,
                request,
                Refusal::Invalid,
                "a page of no records, or a range that ends before it starts",
            ),
            Ok(slot) => {
                let depot = usize::from(depot);
                self.depot_reads.ready.push_back(Read { peer, request, slot, depot, range });
            }
        }
    }

    /// Answers one read, or parks it; false if none is ready.
    pub(crate) fn run_depot_reads(&mut self) -> bool {
        let Some(read) = self.depot_reads.ready.pop_front() else { return false };
        let Read { peer, request, slot, depot, range } = read;
        let mut page = std::mem::take(&mut self.depot_reads.page);
        page.clear();
        match self.look(&read, &mut page) {
            Look::Page(count) => {
                let next = Offset(range.from.0 + u64::from(count));
                self.outbox.push(peer, Category::Client, &Letter::Records { request, next, count, records: &page });
            }
            Look::OutOfRange => self.send_offsets(peer, request, slot, depot),
            Look::Wait => {
                let slot = &mut self.slots[slot];
                slot.state.want(depot, range.from, range.to);
                slot.loading = true;
                self.depot_reads.parked.push(read);
            }
        }
        self.depot_reads.page = page;
        true
    }

    /// Gathers the records of a range from its start on, as long as they are in memory and fit.
    fn look(&self, read: &Read, page: &mut Vec<u8>) -> Look {
        let Read { slot, depot, range, .. } = *read;
        let partition = &self.slots[slot].state.depots()[depot];
        if range.from < partition.start() || range.to > partition.committed_end() {
            return Look::OutOfRange;
        }
        let size_max = ROWS_SIZE.min(range.size_max as usize);
        let mut count = 0;
        while count < range.count_max && range.from.0 + u64::from(count) < range.to.0 {
            match partition.lookup(Offset(range.from.0 + u64::from(count))) {
                Lookup::Record(record) if count == 0 || page.len() + record.len() <= size_max => {
                    page.extend_from_slice(record);
                }
                Lookup::OnDisk if count == 0 => return Look::Wait,
                Lookup::Record(_) | Lookup::OnDisk => break,
                Lookup::Trimmed | Lookup::NotYet => unreachable!("the range was checked"),
            }
            count += 1;
        }
        Look::Page(count)
    }
}
