//! A streaming batch: events of one topology on one task that run together and fail together.

use crate::append::Appends;
use crate::event::{Event, EventQueue};
use crate::hops::Hops;
use crate::jobs::Starting;
use crate::paging::Paging;
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
    /// Numbers of the current event and of those it sent.
    pub(crate) bits: u64,
    /// Continuations.
    pub(crate) hops: Hops,
    /// Events that gave way: they go on within the batch, when others of it have run.
    pub(crate) later: EventQueue,
    /// Its event runs alone.
    pub(crate) is_alone: bool,
    /// Calls of queries its events wait for, and values they return to appends, encoded.
    pub(crate) calls: Vec<u8>,
    /// Records its events append.
    pub(crate) appends: Appends,
    /// Jobs its events wait for.
    pub(crate) jobs: Vec<Starting>,
    /// Yielding selects after their first page.
    pub(crate) pagings: Vec<Paging>,
    /// Every root with an event in the batch, and what its events did to its ack value.
    pub(crate) roots: Vec<(Root, u64)>,
    /// Whether an event looked at or changed a PState.
    pub(crate) touched: bool,
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
    pub(crate) fn end_event(&mut self) {
        let event = self.current.take().expect("invariant: an event was running");
        match self.roots.last_mut() {
            // Events of one root come together more often than not: one report for all.
            Some((root, bits)) if *root == event.root => *bits ^= self.bits,
            _ => self.roots.push((event.root, self.bits)),
        }
        self.bits = 0;
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
        for (root, _) in self.roots.iter().filter(|(root, _)| Some(*root) != own) {
            Letter::Stream(StreamLetter::Spoiled { root: *root, text }).encode(out);
        }
    }
}
