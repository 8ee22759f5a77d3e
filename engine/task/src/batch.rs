//! A streaming batch: events of one topology on one task that run together and fail together.

use crate::append::Appends;
use crate::event::{Event, EventQueue};
use crate::hops::{HopNumbers, Hops};
use crate::jobs::Starting;
use crate::paging::Paging;
use tantu_flow::Position;
use tantu_net::letter::{Letter, Root, StreamLetter};
use tantu_state::TaskState;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) stream: u16,
    /// Events run so far, the current one included.
    pub(crate) count: usize,
    /// The event whose run is under way.
    pub(crate) current: Option<Event>,
    /// Numbers of the current event and of what it sent, hops left out.
    pub(crate) bits: u64,
    /// The first hop of the current event.
    pub(crate) first_hop: usize,
    /// The current event returned a value to an append: its report follows that.
    pub(crate) returned: bool,
    /// Continuations.
    pub(crate) hops: Hops,
    /// How many of them leave the thread.
    pub(crate) far_count: usize,
    /// Events that gave way: they go on within the batch, when others of it have run.
    pub(crate) later: EventQueue,
    /// Its event runs alone.
    pub(crate) is_alone: bool,
    /// The next event belongs to it.
    pub(crate) is_tied: bool,
    /// Calls of queries its events wait for, and values they return to appends, encoded.
    pub(crate) calls: Vec<u8>,
    /// Records its events append.
    pub(crate) appends: Appends,
    /// Jobs its events wait for.
    pub(crate) jobs: Vec<Starting>,
    /// Yielding selects after their first page.
    pub(crate) pagings: Vec<Paging>,
    /// Every root with an event in the batch, and what its events did to its ack value; but those of which no event did
    /// anything: they have hops.
    pub(crate) roots: Vec<(Root, u64)>,
    /// Whether an event looked at or changed a PState.
    pub(crate) touched: bool,
    /// Whether the current event did.
    pub(crate) event_touched: bool,
    /// Whether its topology has records that are not retried,
    pub(crate) has_one_try: bool,
    /// and events of those of this task, with where in the plan they stand.
    pub(crate) of_one_try: Vec<(Position, Root)>,
    /// The first hops, which rest on nothing that is not durable: no event that made one of them, or one before it, looked at
    /// or changed a PState.
    pub(crate) free_hops: usize,
}

impl Batch {
    /// A batch in the memory of one that has ended.
    pub(crate) fn begin(stream: u16, ended: Batch) -> Self {
        let Self { mut hops, mut calls, appends, mut jobs, mut roots, .. } = ended;
        hops.clear();
        calls.clear();
        jobs.clear();
        roots.clear();
        debug_assert!(appends.is_empty(), "a batch that ended well has staged its records");
        Self { stream, hops, calls, appends, jobs, roots, ..Self::default() }
    }

    /// The current event has run to its end.
    #[inline]
    pub(crate) fn end_event(&mut self, numbers: &mut HopNumbers) {
        let event = self.current.take().expect("invariant: an event was running");
        let may_hand_on = !self.returned;
        if !self.event_touched && self.free_hops == self.first_hop {
            self.free_hops = self.hops.count();
        }
        let did = self.hops.number(self.first_hop, (event.id, event.root), (self.bits, may_hand_on), numbers);
        match self.roots.last_mut() {
            // Its hop goes on in its place, and tells of its root if the batch fails.
            _ if did == 0 => {}
            // Events of one root come together more often than not: one report for all.
            Some((root, bits)) if *root == event.root => *bits ^= did,
            _ => self.roots.push((event.root, did)),
        }
    }

    /// The batch failed: its selects do not go on.
    pub(crate) fn drop_pagings(&mut self, state: &mut TaskState) {
        self.pagings.drain(..).for_each(|paging| paging.snapshot.release(state));
    }

    /// Reports of a batch that failed: that of the event that did, and of every other root with an event in it.
    pub(crate) fn report_failed(&mut self, text: &str, out: &mut Vec<u8>) {
        let own = self.current.take().map(|event| event.root);
        if let Some(root) = own {
            Letter::Failed { root, text }.encode(out);
        }
        let others = self.roots.iter().map(|(root, _)| *root).chain(self.hops.roots());
        let mut last = own;
        for root in others.filter(|root| Some(*root) != own && last.replace(*root) != Some(*root)) {
            Letter::Stream(StreamLetter::Spoiled { root, text }).encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hops::Hop;
    use crate::host::EventRandom;
    use tantu_base::fixed::FixedReader;
    use tantu_base::id::{Offset, TaskId};

    fn root(record: u64) -> Root {
        Root { task: TaskId(0), source: 0, offset: Offset(record), attempt: 0 }
    }

    #[test]
    fn hops_of_events_that_touch_nothing_rest_on_nothing_unless_they_follow_one_that_does() {
        // Whether each event touches a PState, how many hops it makes, and how many hops of all are free then.
        let stories: [(&[(bool, usize)], usize); 5] = [
            (&[(false, 1), (false, 2)], 3),
            (&[(true, 0), (false, 2), (true, 0), (false, 1)], 3),
            (&[(false, 1), (true, 1), (false, 1)], 1),
            (&[(true, 1), (false, 1)], 0),
            (&[(true, 0)], 0),
        ];
        for (events, free) in stories {
            let mut numbers = HopNumbers::new(0, 1, &mut EventRandom(1));
            let (mut batch, mut queue) = (Batch::begin(0, Batch::default()), EventQueue::default());
            for (n, (touches, hops)) in events.iter().enumerate() {
                queue.push(0, Position(0), root(n as u64), 1 + n as u64, &[]);
                batch.current = queue.pop(0);
                (batch.bits, batch.first_hop) = (1 + n as u64, batch.hops.count());
                batch.event_touched = *touches;
                for _ in 0..*hops {
                    batch.hops.push(Hop::new(TaskId(0), 0, Position(0), (0, 0), root(n as u64)), &[]);
                }
                batch.end_event(&mut numbers);
            }
            assert_eq!(batch.free_hops, free, "{events:?}");
        }
    }

    #[test]
    fn a_failed_batch_tells_every_root_those_too_of_which_there_is_nothing_to_report() {
        let mut numbers = HopNumbers::new(0, 1, &mut EventRandom(1));
        let mut batch = Batch::begin(0, Batch::default());
        let mut events = EventQueue::default();
        (1..=4).for_each(|record| events.push(0, Position(0), root(record), record * 1_000, &[]));
        // The second hands on its number, the others end here; the last is running.
        for record in 1..=3 {
            let event = events.pop(0).expect("pushed above");
            (batch.current, batch.bits, batch.first_hop) = (Some(event), event.id, batch.hops.count());
            if record == 2 {
                batch.hops.push(Hop::new(TaskId(0), 0, Position(0), (0, 0), event.root), &[]);
            }
            batch.end_event(&mut numbers);
        }
        assert_eq!(batch.roots, [(root(1), 1_000), (root(3), 3_000)]);
        batch.current = events.pop(0);
        let mut letters = Vec::new();
        batch.report_failed("why", &mut letters);
        let mut reader = FixedReader::new(&letters);
        let mut told: Vec<u64> = std::iter::from_fn(|| Letter::decode_next(&mut reader))
            .map(|letter| match letter {
                Ok(Letter::Failed { root, text: "why" }) if root.offset.0 == 4 => 4,
                Ok(Letter::Stream(StreamLetter::Spoiled { root, text: "why" })) => root.offset.0,
                other => panic!("{other:?}"),
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, [1, 2, 3, 4]);
    }
}
