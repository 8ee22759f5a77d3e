//! What is left of a call that ended before its last stage did: it failed, took too long, or nobody wants its result any more.
//!
//! Its events are dropped on every thread, those that run, those that wait and those that come later, and the calls that they wait
//! for end with it. So a call that would never have ended by itself holds nothing once it is over. Of a try of a stream's record that
//! failed, the calls and the selects that it waits for end; its events run on, and nobody hears of them.

use super::calls::class_of;
use super::{Asker, Call, Running};
use crate::hold::{Key, key};
use crate::limit::OVER_COUNT_MAX;
use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, Offset, TaskId, ThreadId};
use tantu_net::letter::{HoldSays, Letter, Root};

/// Calls whose events are dropped when they come; the newest so many.
#[derive(Debug, Default)]
pub(crate) struct Over {
    known: BTreeSet<Key>,
    order: VecDeque<Key>,
    /// Tries of stream records that are over, the newest so many: by record, the last of them.
    tries: BTreeMap<Key, u32>,
    try_order: VecDeque<Key>,
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

    fn add_try(&mut self, root: &Root) {
        let key = key(root);
        match self.tries.entry(key) {
            Entry::Occupied(mut last) => *last.get_mut() = root.attempt.max(*last.get()),
            Entry::Vacant(none) => {
                none.insert(root.attempt);
                self.try_order.push_back(key);
            }
        }
        if self.try_order.len() > OVER_COUNT_MAX
            && let Some(oldest) = self.try_order.pop_front()
        {
            self.tries.remove(&oldest);
        }
    }

    /// Whether a try of a stream's record is over: its events start nothing any more.
    pub(crate) fn has_try(&self, root: &Root) -> bool {
        self.tries.get(&key(root)).is_some_and(|last| root.attempt <= *last)
    }

    /// Whether events of this root are dropped.
    pub(crate) fn has(&self, root: &Root) -> bool {
        !self.known.is_empty() && self.known.contains(&key(root))
    }
}

/// Whether a root is this one, or an earlier try of it.
fn is_of_try(of: &Root, root: &Root) -> bool {
    key(of) == key(root) && of.attempt <= root.attempt
}

impl super::Queries {
    /// How many events have begun and not ended.
    pub(crate) fn event_count(&self) -> usize {
        self.begun.iter().sum()
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
        let ready = &mut self.ready[class_of(root)];
        let (of, others) = std::mem::take(ready).into_iter().partition(of_root);
        *ready = others;
        gone.extend::<VecDeque<Running>>(of);
        self.begun[class_of(root)] -= gone.len();
        for Running { slot, at, mut run, mut letters, .. } in gone {
            slots[slot].state.unpin(at);
            run.reset();
            letters.clear();
            self.spare.push((run, letters));
        }
    }

    /// The calls that events of a root wait for, and those of earlier tries: they end with it.
    fn take_calls_of(&mut self, root: &Root) -> Vec<((TaskId, Offset), Call)> {
        self.calls.extract(|call| match &call.asker {
            Asker::Client { .. } => false,
            Asker::Event { root: of, .. } => is_of_try(of, root),
        })
    }
}

impl TaskThread {
    /// A client wants no results of these calls.
    pub(crate) fn cancel_calls(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool, now: Nanos) {
        let cancelled = |call: &Call| match call.asker {
            Asker::Client { peer, request } => is_cancelled(peer, request),
            Asker::Event { .. } => false,
        };
        for ((task, offset), call) in self.queries.calls.extract(cancelled) {
            let root = self.root_of_call(task, offset, &call);
            self.tell_over(root, now);
        }
    }

    /// The root of a call of this thread.
    pub(super) fn root_of_call(&self, task: TaskId, offset: Offset, call: &Call) -> Root {
        let source = self.config.module.sources.len() as u16 + call.query;
        Root { task, source, offset, attempt: call.depth }
    }

    /// A call ended before its last stage did, or a try of a record is over: every thread drops what it has of it.
    pub(crate) fn tell_over(&mut self, root: Root, now: Nanos) {
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
        if !self.is_call(root) {
            self.queries.over.add_try(root);
            self.pagings.drop_of(|of| is_of_try(of, root), &mut self.slots);
            return self.end_calls_of(root, now);
        }
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
