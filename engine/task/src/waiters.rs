//! Appends at ack level ACK that wait for the topologies of the module.

use crate::source::Source;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use tantu_base::door::Peer;
use tantu_base::fixed::put_sized;
use tantu_base::id::Offset;
use tantu_flow::StreamDef;
use tantu_path::AggError;

/// Who waits for a record.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) peer: Peer,
    pub(crate) request: u64,
    /// Sources that have not processed the record.
    pub(crate) left: u16,
    /// What those that have returned: the name of each topology and a value, each with its length before it.
    pub(crate) returns: Vec<u8>,
    /// What sources returned that is aggregated with what others of the topology return: by their places.
    pub(crate) kept: BTreeMap<usize, Vec<u8>>,
}

/// The waiters of one depot partition, found by offset.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    first: u64,
    slots: VecDeque<Option<Waiter>>,
    count: usize,
}

impl Waiter {
    /// A topology returned a value.
    fn add(&mut self, topology: &str, value: &[u8]) {
        put_sized(&mut self.returns, topology.as_bytes());
        put_sized(&mut self.returns, value);
    }

    /// What several sources of one topology returned becomes one value.
    pub(crate) fn aggregate(&mut self, sources: &[Source], streams: &[StreamDef]) -> Result<(), AggError> {
        while let Some((first, values)) = self.kept.pop_first() {
            let Source { setup, .. } = &sources[first];
            let others = self.kept.extract_if(.., |other, _| sources[*other].setup.stream == setup.stream);
            let all: Vec<Vec<u8>> = std::iter::once(values).chain(others.map(|(_, values)| values)).collect();
            if let Some(value) = setup.ack_return.of_all(all.iter().map(Vec::as_slice))? {
                self.add(&streams[usize::from(setup.stream)].name, &value);
            }
        }
        Ok(())
    }
}

impl Waiters {
    /// Adds a waiter; offsets come in order.
    pub(crate) fn add(&mut self, offset: Offset, waiter: Waiter) {
        if self.slots.is_empty() {
            self.first = offset.0;
        }
        let at = (offset.0 - self.first) as usize;
        debug_assert!(at >= self.slots.len(), "offsets come in order");
        self.slots.resize_with(at, || None);
        self.slots.push_back(Some(waiter));
        self.count += 1;
    }

    /// The part of a range of offsets for which somebody may wait.
    pub(crate) fn known(&self, offsets: Range<u64>) -> Range<u64> {
        offsets.start.max(self.first)..offsets.end.min(self.first + self.slots.len() as u64)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether somebody waits for a record.
    pub(crate) fn is_awaited(&mut self, offset: Offset) -> bool {
        self.slot(offset).is_some_and(|slot| slot.is_some())
    }

    /// A topology returned a value for a record.
    pub(crate) fn returned(&mut self, offset: Offset, topology: &str, value: &[u8]) {
        if let Some(Some(waiter)) = self.slot(offset) {
            waiter.add(topology, value);
        }
    }

    /// A source returned values for a record that are aggregated with those of others.
    pub(crate) fn keep(&mut self, offset: Offset, source: usize, values: Vec<u8>) {
        if let Some(Some(waiter)) = self.slot(offset) {
            waiter.kept.insert(source, values);
        }
    }

    /// One more source has processed a record; the waiter, if that was the last.
    pub(crate) fn processed(&mut self, offset: Offset) -> Option<Waiter> {
        let slot = self.slot(offset)?;
        let waiter = slot.as_mut()?;
        waiter.left -= 1;
        if waiter.left > 0 {
            return None;
        }
        self.failed(offset)
    }

    /// A source failed on a record: the waiter is not to wait any longer.
    pub(crate) fn failed(&mut self, offset: Offset) -> Option<Waiter> {
        let waiter = self.slot(offset)?.take();
        self.count -= usize::from(waiter.is_some());
        self.trim();
        waiter
    }

    /// A client wants no answers to these requests.
    pub(crate) fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool) {
        for slot in &mut self.slots {
            let gone = slot.take_if(|waiter| is_cancelled(waiter.peer, waiter.request));
            self.count -= usize::from(gone.is_some());
        }
        self.trim();
    }

    fn slot(&mut self, offset: Offset) -> Option<&mut Option<Waiter>> {
        self.slots.get_mut(usize::try_from(offset.0.checked_sub(self.first)?).ok()?)
    }

    fn trim(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(request: u64, left: u16) -> Waiter {
        Waiter { peer: Peer(9), request, left, returns: Vec::new(), kept: BTreeMap::new() }
    }

    #[test]
    fn a_waiter_is_answered_when_the_last_source_has_processed_its_record() {
        let mut waiters = Waiters::default();
        waiters.add(Offset(5), waiter(1, 2));
        waiters.add(Offset(8), waiter(2, 1));
        assert_eq!((waiters.count(), waiters.is_awaited(Offset(8)), waiters.is_awaited(Offset(7))), (2, true, false));
        waiters.returned(Offset(7), "nobody", b"nothing");
        waiters.returned(Offset(8), "t", b"value");
        assert!(waiters.processed(Offset(4)).is_none(), "nobody waits for it");
        assert!(waiters.processed(Offset(6)).is_none(), "nobody waits for it");
        assert!(waiters.processed(Offset(5)).is_none(), "one more to go");
        let second = waiters.processed(Offset(8)).map(|w| (w.request, w.returns));
        assert_eq!(second, Some((2, b"\x01\0\0\0t\x05\0\0\0value".to_vec())));
        assert_eq!(waiters.processed(Offset(5)).map(|w| w.request), Some(1));
        assert!(waiters.slots.is_empty() && waiters.count() == 0);
        waiters.add(Offset(20), waiter(3, 1));
        assert_eq!((waiters.known(3..1_000), waiters.known(0..9).is_empty()), (20..21, true));
        assert_eq!(waiters.failed(Offset(20)).map(|w| w.request), Some(3));
        assert!(waiters.processed(Offset(20)).is_none(), "answered once");
    }

    #[test]
    fn who_is_gone_waits_no_more_and_the_others_do() {
        let mut waiters = Waiters::default();
        (5..9).for_each(|offset| waiters.add(Offset(offset), waiter(offset, 1)));
        waiters.cancel(|_, request| request != 7);
        assert_eq!((waiters.count(), waiters.slots.len()), (1, 2), "memory before the first that waits is given back");
        assert!(waiters.processed(Offset(5)).is_none());
        assert_eq!(waiters.processed(Offset(7)).map(|w| w.request), Some(7));
    }
}
