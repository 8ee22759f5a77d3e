//! A task as its thread holds it: durable state, waiting events, sources, the streaming batch in progress.

use crate::batch::Batch;
use crate::event::EventQueue;
use crate::hops::Hops;
use crate::jobs::Starting;
use crate::micro::part::Part;
use crate::paging::Paging;
use crate::query::calls::CallEvents;
use crate::source::Source;
use crate::together::{progress_of, restart_of};
use crate::waiters::Waiters;
use tantu_base::door::Peer;
use tantu_base::id::{Offset, TaskId};
use tantu_base::planted::{self, Bug};
use tantu_flow::{Run, Shuffle};
use tantu_net::letter::{AckLevel, Root};
use tantu_state::TaskState;
use tantu_state::layout::object_key;

/// An append that waits for its entry to be durable: a client's, or one of an event of this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendWait {
    pub(crate) depot: usize,
    pub(crate) offset: Offset,
    pub(crate) ack: AckLevel,
    pub(crate) peer: Peer,
    pub(crate) request: u64,
}

/// What leaves when an entry is durable.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Continuations.
    pub(crate) hops: Hops,
    /// Roots of which events are done, and what those did to their ack values.
    pub(crate) reports: Vec<(Root, u64)>,
    pub(crate) appends: Vec<AppendWait>,
    /// Calls of queries that events wait for, and values they return to appends, encoded.
    pub(crate) calls: Vec<u8>,
    /// Jobs that events wait for.
    pub(crate) jobs: Vec<Starting>,
    /// Yielding selects that go on.
    pub(crate) pagings: Vec<Paging>,
}

impl Effects {
    pub(crate) fn is_empty(&self) -> bool {
        let is_quiet = self.reports.is_empty() && self.appends.is_empty() && self.jobs.is_empty();
        is_quiet && self.pagings.is_empty() && self.hops.is_empty() && self.calls.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.hops.clear();
        self.reports.clear();
        self.appends.clear();
        self.calls.clear();
        self.jobs.clear();
        debug_assert!(self.pagings.is_empty(), "their versions would stay pinned");
    }
}

/// What keeps a task's streaming batch from going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// Nothing.
    Free,
    /// Its run is parked on blocks that are being read.
    Blocks,
    /// Its run used up its turn and goes on in the next.
    Yielded,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TaskSlot {
    pub(crate) task: TaskId,
    pub(crate) state: TaskState,
    pub(crate) events: EventQueue,
    /// Events of queries.
    pub(crate) calls: CallEvents,
    pub(crate) sources: Vec<Source>,
    /// What it has of the microbatch topologies, by their places.
    pub(crate) parts: Vec<Part>,
    pub(crate) waiters: Vec<Waiters>,
    pub(crate) run: Run,
    pub(crate) shuffle: Shuffle,
    pub(crate) batch: Option<Batch>,
    pub(crate) hold: Hold,
    /// Effects of finished batches that are not sealed yet.
    pub(crate) gathering: Effects,
    /// Emptied ones, to be used again.
    pub(crate) spare_effects: Vec<Effects>,
    /// Hops of this task that are in sealed entries not yet durable.
    pub(crate) hops_pending: usize,
    /// Some record is on disk and has been asked for.
    pub(crate) loading: bool,
}

impl TaskSlot {
    /// Whether its staged writes may be sealed: not in the middle of a batch, and not without records that belong to them.
    pub(crate) fn can_seal(&self) -> bool {
        self.batch.is_none() && !self.state.waits_for_segment()
    }

    /// Keeps back the answers to appends that no section has yet: large runs go to a segment first.
    pub(crate) fn keep_unsealed(&mut self, gathered: &mut Effects) {
        let depots = self.state.depots();
        let unsealed = |append: &AppendWait| append.offset >= depots[append.depot].sealed_end();
        if gathered.appends.iter().any(unsealed) {
            self.gathering.appends.extend(gathered.appends.extract_if(.., |append| unsealed(append)));
        }
    }

    /// Tells the depots from which record on its sources still have to start.
    pub(crate) fn want_records(&mut self) {
        for depot in 0..self.state.depots().len() {
            let from = self.sources_on(depot).map(|at| progress_of(&self.sources, at));
            let from = from.chain(self.published(depot)).min();
            let end = self.state.depots()[depot].committed_end();
            self.state.depot_mut(depot).want_from(from.unwrap_or(end));
        }
    }

    /// The places of the sources that read a depot.
    pub(crate) fn sources_on(&self, depot: usize) -> impl Iterator<Item = usize> {
        (0..self.sources.len()).filter(move |at| self.sources[*at].setup.depot == depot)
    }

    /// Stages how far its sources are, as far as no entry has it.
    pub(crate) fn stage_progress(&mut self) {
        (0..self.sources.len()).for_each(|at| self.stage_progress_of(at));
    }

    fn stage_progress_of(&mut self, at: usize) {
        let base = restart_of(&self.sources, at);
        let source = &mut self.sources[at];
        if let Some(progress) = source.take_progress(base) {
            let mut key = Vec::new();
            object_key(source.setup.progress, &[], &mut key);
            self.state.put_system(key, progress);
        }
    }

    /// Records that are not retried have begun in a batch that ended well. Progress passes them, and nothing that the batch did leaves
    /// before that is durable: they do not begin again after a crash.
    pub(crate) fn pass_begun(&mut self, batch: &mut Batch) {
        if planted::has(Bug::BegunTwice) {
            return;
        }
        for (_, root) in &batch.of_one_try {
            self.sources[usize::from(root.source)].note_begun(Offset(root.offset.0 + 1));
        }
        for at in 0..self.sources.len() {
            if self.sources[at].has_one_try() {
                self.stage_progress_of(at);
            }
        }
        if self.state.is_dirty() || self.state.has_pending() {
            (batch.touched, batch.free_hops) = (true, 0);
        }
    }

    /// How far the microbatch topologies that read a depot are.
    pub(crate) fn published(&self, depot: usize) -> impl Iterator<Item = Offset> {
        let sources = self.parts.iter().flat_map(|part| &part.sources);
        sources.filter(move |source| source.is_here && source.depot == depot).map(|source| source.progress)
    }

    /// Whether nothing of it is under way; at rest, records that nobody takes are not.
    pub(crate) fn is_quiet(&self, at_rest: bool) -> bool {
        let drained = |source: &Source| source.is_drained(self.state.depots()[source.setup.depot].committed_end());
        self.batch.is_none()
            && self.events.is_empty()
            && self.calls.is_empty()
            && self.gathering.is_empty()
            && !self.state.has_unsealed()
            && !self.state.has_pending()
            && !self.state.is_owing()
            && (at_rest || self.sources.iter().all(drained))
            && (at_rest || self.parts.iter().all(|part| part.is_quiet(|at| self.state.depots()[at].committed_end())))
    }
}
