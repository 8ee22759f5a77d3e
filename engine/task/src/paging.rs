//! Yielding selects after their first page: the rest is read a page a turn, from a snapshot of the partition, and each page is
//! an event of the task the select began on, behind those that wait there.
//!
//! A select goes on when what its event wrote is durable, as a hop would leave. Nothing of this is durable: after a crash
//! the record is processed again.

use crate::limit::{EVENT_QUEUE_SIZE_MAX, PAGED_SELECT_COUNT_MAX, PAGED_SELECT_SIZE_MAX, ROWS_SIZE};
use crate::overrun::guarded;
use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use std::collections::VecDeque;
use std::sync::Arc;
use tantu_base::door::Doors;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::encoded;
use tantu_flow::{PagedSelect, Position};
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{Letter, Root};
use tantu_path::{EvalError, NoArgs, Page, PageLimit, Scratch, select_page};
use tantu_state::snapshot::{Snapshot, SnapshotView};

/// How much a page holds.
pub(crate) fn page_limit() -> PageLimit {
    PageLimit { size: ROWS_SIZE, ..PageLimit::default() }
}

/// A select that is not at its end.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) task: TaskId,
    pub(crate) stream: u16,
    /// Where an event of a page begins.
    pub(crate) at: Position,
    pub(crate) root: Root,
    /// The random number of the select itself: it is out until the last page is.
    pub(crate) event: u64,
    pub(crate) live: Vec<u8>,
    pub(crate) select: PagedSelect,
    pub(crate) snapshot: Snapshot,
}

impl Paging {
    fn size(&self) -> usize {
        self.live.len() + self.snapshot.size()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pagings {
    ready: VecDeque<Paging>,
    /// Each with the blocks it waits for.
    parked: Vec<(Paging, Need)>,
    size: usize,
    scratch: Scratch,
}

impl Pagings {
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.parked.is_empty()
    }

    /// No records are started that might want more.
    pub(crate) fn is_full(&self) -> bool {
        self.ready.len() + self.parked.len() >= PAGED_SELECT_COUNT_MAX || self.size > PAGED_SELECT_SIZE_MAX
    }

    /// Bytes of variables and of copied writes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn start(&mut self, selects: impl IntoIterator<Item = Paging>) {
        for paging in selects {
            self.size += paging.size();
            self.ready.push_back(paging);
        }
    }

    /// Drops the selects of roots that are over.
    pub(crate) fn drop_of(&mut self, is_over: impl Fn(&Root) -> bool, slots: &mut [TaskSlot]) {
        let parked = self.parked.extract_if(.., |(paging, _)| is_over(&paging.root)).map(|(paging, _)| paging);
        let mut gone: Vec<Paging> = parked.collect();
        let (of, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.ready).into_iter().partition(|paging| is_over(&paging.root));
        self.ready = others;
        gone.extend(of);
        for paging in gone {
            self.size -= paging.size();
            let slot = slots.iter_mut().find(|slot| slot.task == paging.task);
            paging.snapshot.release(&mut slot.expect("invariant: it began on a task of this thread").state);
        }
    }

    /// Blocks of a task's tree arrived: whoever waits for one of them looks again.
    pub(crate) fn wake(&mut self, task: TaskId, arrived: &Neighbours) {
        let waits = |(paging, need): &mut (Paging, Need)| {
            paging.task == task && need.blocks().iter().any(|id| arrived.hold(id))
        };
        self.ready.extend(self.parked.extract_if(.., waits).map(|(paging, _)| paging));
    }
}

impl TaskThread {
    /// Reads the next page of a select of a call, or of a stream; false if there is none that has room for its rows.
    pub(crate) fn run_pages(&mut self, of_calls: bool, doors: &mut Doors<'_>) -> bool {
        let runs = |paging: &Paging| {
            let slot = &self.slots[self.slot_of(paging.task).expect("invariant: it began on a task of this thread")];
            let call = self.is_call(&paging.root);
            let events = if call { slot.calls.beside(&paging.root) } else { &slot.events };
            call == of_calls && events.size() < EVENT_QUEUE_SIZE_MAX
        };
        let next = self.pagings.ready.iter().position(runs);
        let Some(mut paging) = next.and_then(|at| self.pagings.ready.remove(at)) else { return false };
        let at = self.slot_of(paging.task).expect("invariant: just looked up");
        let mut need = None;
        let page = match self.next_page(&paging, at, &mut need) {
            Ok(Ok(page)) => page,
            Ok(Err(EvalError::Need)) => {
                let need = need.expect("invariant: a view that stops for blocks names them");
                if self.slots[at].state.fetch(&need, doors.disk) {
                    self.pagings.parked.push((paging, need));
                } else {
                    self.pagings.ready.push_back(paging);
                }
                return true;
            }
            Ok(Err(error)) => {
                self.end_paging(paging, at, Err(error.to_string()), doors);
                return true;
            }
            Err(text) => {
                self.end_paging(paging, at, Err(text), doors);
                return true;
            }
        };
        let mut bits = 0;
        if page.row_count > 0 {
            bits = self.random.next();
            let slot = &mut self.slots[at];
            let events = if of_calls { slot.calls.beside_mut(&paging.root) } else { &mut slot.events };
            let live = [&paging.live[..], &encoded(&page.rows)].concat();
            events.push(paging.stream, paging.at, paging.root, bits, &live);
        }
        match page.next {
            None => self.end_paging(paging, at, Ok(bits), doors),
            Some(after) => {
                let root = paging.root;
                paging.select.after = after;
                self.pagings.ready.push_back(paging);
                if bits != 0 {
                    self.report_pages(&Letter::Done { root, bits }, doors);
                }
            }
        }
        true
    }

    /// What the select's closures panic with is the error.
    fn next_page(
        &mut self,
        paging: &Paging,
        at: usize,
        need: &mut Option<Need>,
    ) -> Result<Result<Page, EvalError>, String> {
        let module = Arc::clone(&self.config.module);
        let PagedSelect { pstate, path, after } = &paging.select;
        let (schema, object) = (&module.def.pstates[*pstate].schema, ObjectId(*pstate as u32));
        let mut view = SnapshotView {
            state: &self.slots[at].state,
            cache: &mut self.cache,
            need,
            objects: &module.pstates,
            snapshot: &paging.snapshot,
        };
        let scratch = &mut self.pagings.scratch;
        guarded(|| select_page(schema, object, path, &mut view, &NoArgs, scratch, Some(after), page_limit()))
    }

    fn end_paging(&mut self, paging: Paging, at: usize, ended: Result<u64, String>, doors: &mut Doors<'_>) {
        self.pagings.size -= paging.size();
        let Paging { root, event, snapshot, .. } = paging;
        snapshot.release(&mut self.slots[at].state);
        match ended {
            Ok(bits) => self.report_pages(&Letter::Done { root, bits: bits ^ event }, doors),
            Err(text) => self.report_pages(&Letter::Failed { root, text: &text }, doors),
        }
    }

    fn report_pages(&mut self, report: &Letter<'_>, doors: &mut Doors<'_>) {
        let mut letter = Vec::new();
        report.encode(&mut letter);
        self.release(&letter, doors.clock.now());
    }
}
