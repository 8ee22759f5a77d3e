//! What is left of a call that ended before its last stage did: it failed, took too long, or nobody wants its result any more.
//!
//! Its events are dropped on every thread, those that run, those that wait and those that come later, and the calls that they wait
//! for end with it. So a call that would never have ended by itself holds nothing once it is over.

use super::{Asker, Call, Running};
use crate::hold::{Key, key};
use crate::limit::OVER_COUNT_MAX;
use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use std::collections::{BTreeSet, VecDeque};
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, Offset, TaskId, ThreadId};
use tantu_net::letter::{HoldSays, Letter, Root};

/// Calls whose events are dropped when they come; the newest so many.
#[derive(Debug, Default)]
pub(crate) struct Over {
    known: BTreeSet<Key>,
    order: VecDeque<Key>,
    /// Calls that are being ended here: the first of them ends those that it waits for, and so on.
    ending: VecDeque<Root>,
}

impl Over {
    fn add(&mut self, key: Key) {
        if self.known.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > OVER_COUNT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether events of this root are dropped.
    pub(crate) fn has(&self, root: &Root) -> bool {
        !self.known.is_empty() && self.known.contains(&key(root))
    }
}

impl super::Queries {
    /// How many events have begun and not ended.
    pub(crate) fn event_count(&self) -> usize {
        self.ready.len() + self.parked.len()
    }

    /// How many calls started here and have no answer.
    pub(crate) fn call_count(&self) -> usize {
        self.calls.len()
    }

    /// When the next call has taken too long; that of one that ended meanwhile counts too.
    pub(crate) fn due_at(&self) -> Option<Nanos> {
        self.due_at
    }

    /// Drops the events of a root.
    fn drop_events(&mut self, root: &Root, slots: &mut [TaskSlot]) {
        let of_root = |running: &Running| key(&running.root) == key(root);
        let parked = self.parked.extract_if(.., |(running, _)| of_root(running)).map(|(running, _)| running);
        let mut gone: Vec<Running> = parked.collect();
        let (of, others) = std::mem::take(&mut self.ready).into_iter().partition(of_root);
        self.ready = others;
        gone.extend::<VecDeque<Running>>(of);
        for Running { slot, at, mut run, mut letters, .. } in gone {
            slots[slot].state.unpin(at);
            run.reset();
            letters.clear();
            self.spare.push((run, letters));
        }
    }

    /// The calls that events of a root wait for: they end with it.
    fn take_calls_of(&mut self, root: &Root) -> Vec<((TaskId, Offset), Call)> {
        let waits = |call: &mut Call| match &call.asker {
            Asker::Client { .. } => false,
            Asker::Event { root: of, .. } => key(of) == key(root),
        };
        self.calls.extract_if(.., |_, call| waits(call)).collect()
    }
}

impl TaskThread {
    /// A client wants no results of these calls.
    pub(crate) fn cancel_calls(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool, now: Nanos) {
        let cancelled = |call: &mut Call| match call.asker {
            Asker::Client { peer, request } => is_cancelled(peer, request),
            Asker::Event { .. } => false,
        };
        let gone: Vec<_> = self.queries.calls.extract_if(.., |_, call| cancelled(call)).collect();
        for ((task, offset), call) in gone {
            let root = self.root_of_call(task, offset, &call);
            self.tell_over(root, now);
        }
    }

    /// The root of a call of this thread.
    pub(super) fn root_of_call(&self, task: TaskId, offset: Offset, call: &Call) -> Root {
        let source = self.config.module.sources.len() as u16 + call.query;
        Root { task, source, offset, attempt: call.depth }
    }

    /// A call ended before its last stage did: every thread drops what it has of it.
    pub(super) fn tell_over(&mut self, root: Root, now: Nanos) {
        self.forget_asking(&key(&root));
        for thread in 0..self.config.module.thread_count {
            // The first task of a thread has its number.
            self.say_hold(TaskId(thread), root, 0, HoldSays::Over, (0, 0), now);
        }
    }

    /// Every thread is told that a root ended.
    pub(crate) fn tell_end(&mut self, root: Root) {
        for thread in (0..self.config.module.thread_count).map(ThreadId) {
            if thread == self.config.thread {
                self.take_end(&root);
            } else {
                let task = TaskId(thread.0);
                self.outbox.push(Peer(thread.0), Category::LowLatency, &Letter::End { task, root });
            }
        }
    }

    /// A root ended somewhere: its tables go, and what was kept for it.
    pub(crate) fn take_end(&mut self, root: &Root) {
        self.tables.end(self.slots.iter().map(|slot| slot.task), root);
        self.release_hold(&key(root));
    }

    /// A call is over although its events are not. One that waits for another, and so on to the deepest, are ended one after the
    /// other: each within the one before would take stack for every call.
    pub(crate) fn take_over(&mut self, root: &Root, now: Nanos) {
        self.queries.over.ending.push_back(*root);
        if self.queries.over.ending.len() > 1 {
            return;
        }
        while let Some(root) = self.queries.over.ending.front().copied() {
            self.end_here(&root, now);
            self.queries.over.ending.pop_front();
        }
    }

    fn end_here(&mut self, root: &Root, now: Nanos) {
        self.take_end(root);
        self.queries.over.add(key(root));
        self.queries.drop_events(root, &mut self.slots);
        for slot in &mut self.slots {
            slot.calls.drop_of(|of| key(of) == key(root));
        }
        self.pagings.drop_of(|of| key(of) == key(root), &mut self.slots);
        self.end_calls_of(root, now);
    }

    /// Ends the calls that events of a root wait for.
    pub(crate) fn end_calls_of(&mut self, root: &Root, now: Nanos) {
        for ((task, offset), call) in self.queries.take_calls_of(root) {
            let nested = self.root_of_call(task, offset, &call);
            self.tell_over(nested, now);
        }
    }
}
