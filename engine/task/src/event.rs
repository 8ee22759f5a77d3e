//! Events of one task that wait for their turn, in order.

use crate::hops::Hop;
use tantu_flow::Position;
use tantu_net::letter::Root;

/// An event: where in which plan, for which root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) stream: u16,
    pub(crate) at: Position,
    pub(crate) root: Root,
    /// Its random number in the root's ack value.
    pub(crate) id: u64,
    start: u32,
    len: u32,
    /// The next event is one of the same record, and runs in the same batch.
    pub(crate) is_tied: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    bytes: Vec<u8>,
    /// Those that are taken, and then those that wait.
    events: Vec<Event>,
    /// How many are taken.
    next: usize,
    /// Where the live variables of the next event start, if it is not at 0.
    dead: usize,
}

impl EventQueue {
    #[inline]
    pub(crate) fn push(&mut self, stream: u16, at: Position, root: Root, id: u64, live: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(live);
        let end = u32::try_from(self.bytes.len()).expect("invariant: admission closes far below 4 GiB");
        let (start, len) = (start as u32, end - start as u32);
        self.events.push(Event { stream, at, root, id, start, len, is_tied: false });
    }

    /// The event that comes next is pushed with the last one: they run in one batch.
    pub(crate) fn tie(&mut self) {
        self.events.last_mut().expect("invariant: one was pushed").is_tied = true;
    }

    /// Drops the next event, and those tied to it.
    pub(crate) fn drop_tied(&mut self) {
        while let Some(event) = self.peek().copied() {
            self.pop(event.stream);
            if !event.is_tied {
                break;
            }
        }
    }

    /// Hops to its task that follow each other, with all their live variables.
    #[inline]
    pub(crate) fn push_run(&mut self, run: &[Hop], live: &[u8]) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(live);
        u32::try_from(self.bytes.len()).expect("invariant: admission closes far below 4 GiB");
        self.events.extend(run.iter().map(|hop| {
            let (start, len) = hop.within(run);
            let (start, id) = (base as u32 + start, hop.id());
            Event { stream: hop.stream, at: hop.at, root: hop.root, id, start, len, is_tied: false }
        }));
    }

    /// The stream of the next event.
    pub(crate) fn next_stream(&self) -> Option<u16> {
        self.peek().map(|event| event.stream)
    }

    /// The next event.
    #[inline]
    pub(crate) fn peek(&self) -> Option<&Event> {
        self.events.get(self.next)
    }

    /// Takes the next event if it is of this stream.
    #[inline]
    pub(crate) fn pop(&mut self, stream: u16) -> Option<Event> {
        let event = *self.peek().filter(|event| event.stream == stream)?;
        self.next += 1;
        self.dead = (event.start + event.len) as usize;
        Some(event)
    }

    /// The live variables of an event taken with [`EventQueue::pop`], until [`EventQueue::reclaim`].
    #[inline]
    pub(crate) fn live(&self, event: &Event) -> &[u8] {
        &self.bytes[event.start as usize..][..event.len as usize]
    }

    /// Forgets all taken events with their live variables.
    #[inline]
    pub(crate) fn reclaim(&mut self) {
        if self.is_empty() {
            self.events.clear();
            self.bytes.clear();
            (self.next, self.dead) = (0, 0);
        } else {
            self.reclaim_some();
        }
    }

    /// Moves what waits only where it is less than what is forgotten.
    fn reclaim_some(&mut self) {
        if self.next > self.events.len() / 2 {
            self.events.drain(..self.next);
            self.next = 0;
        }
        if self.dead > self.bytes.len() / 2 {
            self.bytes.drain(..self.dead);
            let dead = self.dead as u32;
            self.events[self.next..].iter_mut().for_each(|event| event.start -= dead);
            self.dead = 0;
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.events.len() - self.next
    }

    /// Drops the events of a root, with their live variables as soon as those are half of what is held.
    pub(crate) fn drop_of(&mut self, is_over: impl Fn(&Root) -> bool) {
        self.events.drain(..std::mem::take(&mut self.next));
        self.events.retain(|event| !is_over(&event.root));
        let left = self.events.iter().map(|event| event.len as usize).sum::<usize>();
        if left > self.bytes.len() / 2 {
            return;
        }
        let mut bytes = Vec::with_capacity(left);
        for event in &mut self.events {
            let live = event.start as usize..(event.start + event.len) as usize;
            event.start = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[live]);
        }
        (self.bytes, self.dead) = (bytes, 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.events.len()
    }

    /// Bytes of live variables and events it holds.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.count() * size_of::<Event>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::id::{Offset, TaskId};

    #[test]
    fn events_of_a_record_that_are_tied_are_dropped_together() {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 };
        let mut queue = EventQueue::default();
        for id in 0..6 {
            queue.push(0, Position(1), root, id, &[7]);
            if id < 2 || id == 4 {
                queue.tie();
            }
        }
        assert!(queue.pop(0).is_some_and(|event| event.id == 0 && event.is_tied));
        queue.drop_tied();
        assert!(queue.pop(0).is_some_and(|event| event.id == 3 && !event.is_tied));
        queue.drop_tied();
        assert!(queue.is_empty(), "the last two");
        queue.drop_tied();
    }

    #[test]
    fn events_of_a_call_that_is_over_leave_no_bytes_behind_and_others_keep_theirs() {
        let root = |offset| Root { task: TaskId(0), source: 0, offset: Offset(offset), attempt: 0 };
        let mut queue = EventQueue::default();
        for id in 0..10u64 {
            queue.push(0, Position(1), root(id % 2), id, &vec![id as u8; 1_000]);
        }
        assert!(queue.pop(0).is_some());
        queue.drop_of(|of| of.offset == Offset(0));
        assert_eq!(queue.count(), 5);
        queue.push(0, Position(1), root(1), 11, &[11; 1_000]);
        for id in [1, 3, 5, 7, 9, 11] {
            let event = queue.pop(0).expect("it is not over");
            assert_eq!((event.id, queue.live(&event)), (id, &vec![id as u8; 1_000][..]));
        }
        queue.push(0, Position(1), root(1), 12, &[12; 1_000]);
        queue.drop_of(|_| true);
        assert_eq!(queue.size(), 0);
    }

    #[test]
    fn events_keep_their_live_variables_while_memory_is_reclaimed() {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 };
        let mut queue = EventQueue::default();
        let (mut pushed, mut popped) = (0u64, 0u64);
        for round in 0..200u64 {
            for _ in 0..round % 7 {
                queue.push(0, Position(1), root, pushed, &pushed.to_le_bytes());
                pushed += 1;
            }
            for _ in 0..round % 5 {
                let Some(event) = queue.pop(0) else { break };
                assert_eq!(queue.live(&event), popped.to_le_bytes());
                assert_eq!(event.id, popped);
                popped += 1;
            }
            queue.reclaim();
            assert!(queue.size() <= (pushed - popped) as usize * 100 + 8 * 10);
        }
        assert!(popped > 100);
        assert!(queue.pop(1).is_none(), "another stream's batch");
    }
}
