//! Continuations of a task's events on their way to other tasks, in the order they were sent.
//!
//! What stays on the thread goes from here straight into the queue of its task; what leaves it is packed by the outbox.

use crate::host::EventRandom;
use tantu_base::id::TaskId;
use tantu_base::planted::{self, Bug};
use tantu_flow::Position;
use tantu_net::event::{Event, next_place, number_at};
use tantu_net::letter::Root;

/// Hops, and bytes of live variables, whose memory is kept to be used again.
const KEPT_COUNT_MAX: usize = 16_384;
const KEPT_SIZE_MAX: usize = 1 << 20;

/// A continuation; its live variables are in [`Hops`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) to: TaskId,
    /// The thread of that task.
    pub(crate) thread: u32,
    pub(crate) at: Position,
    pub(crate) stream: u16,
    pub(crate) fingerprint: u32,
    pub(crate) root: Root,
    /// Where its number stands in the sequence of its thread.
    pub(crate) place: u64,
    start: u32,
    len: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    list: Vec<Hop>,
    bytes: Vec<u8>,
}

impl Hops {
    #[inline]
    pub(crate) fn push(&mut self, hop: Hop, live: &[u8]) {
        let start = self.bytes.len();
        if planted::has(Bug::LostLiveVar)
            && let Some(last) = self.list.last().filter(|last| last.at == hop.at).copied()
        {
            return self.list.push(Hop { start: last.start, len: last.len, ..hop });
        }
        self.bytes.extend_from_slice(live);
        let end = u32::try_from(self.bytes.len()).expect("invariant: admission closes far below 4 GiB");
        self.list.push(Hop { start: start as u32, len: end - start as u32, ..hop });
    }

    /// Takes in those that were sent later.
    pub(crate) fn append(&mut self, later: &mut Hops) {
        if self.is_empty() {
            return std::mem::swap(self, later);
        }
        let behind = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&later.bytes);
        u32::try_from(self.bytes.len()).expect("invariant: admission closes far below 4 GiB");
        self.list.extend(later.list.drain(..).map(|hop| Hop { start: hop.start + behind, ..hop }));
        later.bytes.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        // A rare large batch leaves nothing behind.
        self.list.shrink_to(KEPT_COUNT_MAX);
        self.bytes.shrink_to(KEPT_SIZE_MAX);
    }

    /// Each with its live variables.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Hop, &[u8])> {
        self.list.iter().map(|hop| (hop, &self.bytes[hop.start as usize..][..hop.len as usize]))
    }
}

impl Hop {
    /// Without live variables yet.
    #[inline]
    pub(crate) fn new(to: TaskId, at: Position, (stream, fingerprint): (u16, u32), root: Root) -> Hop {
        Hop { to, thread: 0, at, stream, fingerprint, root, place: 0, start: 0, len: 0 }
    }

    pub(crate) fn event<'l>(&self, live: &'l [u8]) -> Event<'l> {
        let Hop { to: task, stream, fingerprint, at: Position(position), root, place, .. } = *self;
        Event { task, stream, fingerprint, position, root, place, live }
    }
}

/// The numbers of the events that go to each thread: to each of them a sequence of its own, so that one place tells those
/// of all events that travel together.
#[derive(Debug, Default)]
pub(crate) struct HopNumbers {
    /// By thread: the place of the last.
    places: Vec<u64>,
}

impl HopNumbers {
    pub(crate) fn new(threads: u32, random: &mut EventRandom) -> Self {
        Self { places: (0..threads).map(|_| random.next()).collect() }
    }

    /// Gives the hop its thread and its place, and returns its number.
    #[inline]
    pub(crate) fn number(&mut self, hop: &mut Hop) -> u64 {
        let threads = self.places.len() as u32;
        hop.thread = if threads == 1 { 0 } else { hop.to.0 % threads };
        let place = &mut self.places[hop.thread as usize];
        *place = next_place(*place);
        hop.place = *place;
        number_at(*place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::id::Offset;

    #[test]
    fn hops_keep_their_order_and_their_variables_when_they_are_gathered() {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 };
        let hop = |to: u32| Hop::new(TaskId(to), Position(3), (1, 2), root);
        let (mut all, mut some) = (Hops::default(), Hops::default());
        let mut sent = 0;
        for count in [2, 0, 3, 1] {
            for _ in 0..count {
                some.push(hop(sent), &vec![sent as u8; sent as usize]);
                sent += 1;
            }
            all.append(&mut some);
            assert!(some.is_empty());
        }
        let seen: Vec<(u32, Vec<u8>)> = all.iter().map(|(hop, live)| (hop.to.0, live.to_vec())).collect();
        let expected: Vec<(u32, Vec<u8>)> = (0..6).map(|n| (n, vec![n as u8; n as usize])).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn each_thread_has_a_sequence_of_its_own() {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 };
        let mut numbers = HopNumbers::new(2, &mut EventRandom(7));
        let mut last = [None; 2];
        for to in [0, 1, 3, 2, 0, 0, 1] {
            let mut hop = Hop::new(TaskId(to), Position(0), (0, 0), root);
            assert_eq!(numbers.number(&mut hop), number_at(hop.place));
            assert_eq!(hop.thread, to % 2);
            let before = last[hop.thread as usize].replace(hop.place);
            assert!(before.is_none_or(|before| next_place(before) == hop.place));
        }
        assert_ne!(last[0], last[1]);
    }
}
