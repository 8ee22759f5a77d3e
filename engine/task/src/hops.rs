//! Continuations of a task's events on their way to other tasks, in the order they were sent.
//!
//! What stays on the thread goes from here straight into the queue of its task; what leaves it is packed by the outbox.
//!
//! Every event has a random number, which its root's ack value takes in when it is sent and again when it is done. An
//! event that sent one other and nothing else may *hand on* its own number instead of drawing one: the two entries would be
//! for nothing, and there is nothing to report. It does so wherever that is cheaper than a report.

use crate::host::EventRandom;
use tantu_base::id::TaskId;
use tantu_base::planted::{self, Bug};
use tantu_flow::Position;
use tantu_net::event::{Event, next_place, number_at, place_of};
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
    /// Its number if it stays on the thread; otherwise where that stands in the sequence of the thread it goes to.
    mark: u64,
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
        // Each has bytes of its own, even then: those of a run lie one after the other.
        match self.list.last().filter(|last| planted::has(Bug::LostLiveVar) && last.at == hop.at) {
            Some(last) => self.bytes.extend_from_within(last.start as usize..(last.start + last.len) as usize),
            None => self.bytes.extend_from_slice(live),
        }
        let end = u32::try_from(self.bytes.len()).expect("invariant: admission closes far below 4 GiB");
        self.list.push(Hop { start: start as u32, len: end - start as u32, ..hop });
    }

    /// One that stays on the thread: its live variables, so many bytes, are appended to what this answers. None where
    /// something is to be done with them.
    #[inline]
    pub(crate) fn push_near(&mut self, hop: Hop, live_size: usize) -> Option<&mut Vec<u8>> {
        if planted::has(Bug::LostLiveVar) {
            return None;
        }
        let start = self.bytes.len();
        u32::try_from(start + live_size).expect("invariant: admission closes far below 4 GiB");
        self.list.push(Hop { start: start as u32, len: live_size as u32, ..hop });
        Some(&mut self.bytes)
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

    /// Takes out those from `first` on.
    pub(crate) fn split_off(&mut self, first: usize) -> Hops {
        let Some(start) = self.list.get(first).map(|hop| hop.start) else { return Hops::default() };
        let bytes = self.bytes.split_off(start as usize);
        let mut list = self.list.split_off(first);
        list.iter_mut().for_each(|hop| hop.start -= start);
        Hops { list, bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Numbers what an event sent, which is all from `first` on, and returns what the event did to its root's ack value:
    /// 0 if there is nothing to report. `bits` is what it did besides, its own number `event` included. A report that something
    /// else must not be overtaken by is not left out.
    #[inline]
    pub(crate) fn number(
        &mut self,
        first: usize,
        event: (u64, Root),
        (bits, may_hand_on): (u64, bool),
        numbers: &mut HopNumbers,
    ) -> u64 {
        let (id, root) = event;
        let own = numbers.thread;
        let ends = self.list[first..].last().map(|last| (last.start + last.len) as usize);
        debug_assert!(ends.is_none_or(|end| end == self.bytes.len()), "each has all of its variables");
        if let [hop] = &mut self.list[first..]
            && bits == id
            && may_hand_on
        {
            if hop.thread == own {
                hop.mark = id;
                return 0;
            }
            // A report costs a letter, and a number that is not in sequence a few bytes.
            if numbers.thread_of(root.task) != own {
                hop.mark = place_of(id);
                return 0;
            }
        }
        self.list[first..].iter_mut().fold(bits, |bits, hop| bits ^ numbers.draw(hop))
    }

    /// Bytes of live variables of those from `first` on.
    #[inline]
    pub(crate) fn size_from(&self, first: usize) -> usize {
        self.list.get(first).map_or(0, |hop| self.bytes.len() - hop.start as usize)
    }

    /// The roots of all.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Root> {
        self.list.iter().map(|hop| hop.root)
    }

    /// Those that follow each other to one task of this thread, from `first` on: how many, and their live variables, which
    /// lie one after the other.
    #[inline]
    fn run_from(&self, first: usize) -> (&[Hop], &[u8]) {
        let to = self.list[first].to;
        let len = self.list[first..].iter().take_while(|hop| hop.to == to).count();
        let run = &self.list[first..first + len];
        let (start, last) = (run[0].start, run[len - 1]);
        (run, &self.bytes[start as usize..(last.start + last.len) as usize])
    }

    /// All of them, as runs to one task.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&[Hop], &[u8])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let run = (at < self.list.len()).then(|| self.run_from(at))?;
            at += run.0.len();
            Some(run)
        })
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        // A rare large batch leaves nothing behind.
        self.list.shrink_to(KEPT_COUNT_MAX);
        self.bytes.shrink_to(KEPT_SIZE_MAX);
    }
}

impl Hop {
    /// Without live variables and a number yet.
    #[inline]
    pub(crate) fn new(to: TaskId, thread: u32, at: Position, (stream, fingerprint): (u16, u32), root: Root) -> Hop {
        Hop { to, thread, at, stream, fingerprint, root, mark: 0, start: 0, len: 0 }
    }

    /// Its number, of one that stays on its thread.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.mark
    }

    /// Where its live variables are among those of a run that begins at `start`.
    #[inline]
    pub(crate) fn within(&self, run: &[Hop]) -> (u32, u32) {
        (self.start - run[0].start, self.len)
    }

    /// One that leaves its thread, with its live variables.
    pub(crate) fn event<'l>(&self, live: &'l [u8]) -> Event<'l> {
        let Hop { to: task, stream, fingerprint, at: Position(position), root, mark: place, .. } = *self;
        Event { task, stream, fingerprint, position, root, place, live }
    }
}

/// The numbers of the events that go to each thread: to each of them a sequence of its own, so that one place tells those
/// of all events that travel together.
#[derive(Debug)]
pub(crate) struct HopNumbers {
    thread: u32,
    /// By thread: the place of the last.
    places: Vec<u64>,
}

impl HopNumbers {
    /// Those of events that `thread` sends.
    pub(crate) fn new(thread: u32, threads: u32, random: &mut EventRandom) -> Self {
        Self { thread, places: (0..threads).map(|_| random.next()).collect() }
    }

    #[inline]
    pub(crate) fn thread_of(&self, task: TaskId) -> u32 {
        let threads = self.places.len() as u32;
        // A division takes longer than the rest of a hop's numbering.
        if threads.is_power_of_two() { task.0 & (threads - 1) } else { task.0 % threads }
    }

    /// Whether it is the thread that sends.
    #[inline]
    pub(crate) fn is_own(&self, thread: u32) -> bool {
        thread == self.thread
    }

    /// Gives a hop the next number of its thread, and returns it.
    #[inline]
    fn draw(&mut self, hop: &mut Hop) -> u64 {
        let place = &mut self.places[hop.thread as usize];
        *place = next_place(*place);
        let id = number_at(*place);
        hop.mark = if hop.thread == self.thread { id } else { *place };
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::id::Offset;

    fn root(task: u32) -> Root {
        Root { task: TaskId(task), source: 0, offset: Offset(0), attempt: 0 }
    }

    fn hop(numbers: &HopNumbers, to: u32) -> Hop {
        Hop::new(TaskId(to), numbers.thread_of(TaskId(to)), Position(3), (1, 2), root(0))
    }

    #[test]
    fn hops_keep_their_order_and_their_variables_when_they_are_gathered() {
        let numbers = HopNumbers::new(0, 1, &mut EventRandom(7));
        let (mut all, mut some) = (Hops::default(), Hops::default());
        let mut sent = 0u32;
        for count in [2, 0, 3, 1, 4] {
            for _ in 0..count {
                // Some follow each other to one task.
                some.push(hop(&numbers, sent / 2), &vec![sent as u8; sent as usize]);
                sent += 1;
            }
            all.append(&mut some);
            assert!(some.is_empty());
        }
        let mut seen = Vec::new();
        for (run, live) in all.runs() {
            assert!(run.iter().all(|hop| hop.to == run[0].to));
            seen.extend(run.iter().map(|hop| {
                let (start, len) = hop.within(run);
                (hop.to.0, live[start as usize..][..len as usize].to_vec())
            }));
        }
        let expected: Vec<(u32, Vec<u8>)> = (0..10).map(|n| (n / 2, vec![n as u8; n as usize])).collect();
        assert_eq!(seen, expected);
        assert_eq!(all.runs().count(), 5);
    }

    #[test]
    fn hops_that_are_parted_keep_their_order_and_their_variables() {
        let numbers = HopNumbers::new(0, 1, &mut EventRandom(7));
        for first in 0..=4 {
            let mut hops = Hops::default();
            (0..4u32).for_each(|n| hops.push(hop(&numbers, n / 2), &vec![n as u8; n as usize]));
            let later = hops.split_off(first);
            assert_eq!((hops.count(), later.count()), (first, 4 - first));
            let mut seen = Vec::new();
            for (run, live) in hops.runs().chain(later.runs()) {
                seen.extend(run.iter().map(|hop| {
                    let (start, len) = hop.within(run);
                    live[start as usize..][..len as usize].to_vec()
                }));
            }
            assert_eq!(seen, (0..4).map(|n| vec![n as u8; n]).collect::<Vec<_>>());
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn where_a_variable_is_lost_on_purpose_the_queue_still_holds_each_event_apart() {
        let numbers = HopNumbers::new(0, 1, &mut EventRandom(7));
        let planted = planted::plant(Bug::LostLiveVar);
        let (mut hops, mut queue) = (Hops::default(), crate::event::EventQueue::default());
        (1..=3u64).for_each(|n| hops.push(hop(&numbers, 0), &n.to_le_bytes()));
        hops.runs().for_each(|(run, live)| queue.push_run(run, live));
        for _ in 0..3 {
            let event = queue.pop(1).expect("three were sent");
            assert_eq!(queue.live(&event), 1u64.to_le_bytes(), "those of the first");
            queue.reclaim();
        }
        assert!(queue.is_empty());
        drop(planted);
    }

    #[test]
    fn each_thread_has_a_sequence_of_its_own() {
        let mut numbers = HopNumbers::new(0, 2, &mut EventRandom(7));
        let mut last = [None; 2];
        for to in [0, 1, 3, 2, 0, 0, 1] {
            let mut hop = hop(&numbers, to);
            let id = numbers.draw(&mut hop);
            let place = if to % 2 == 0 { place_of(hop.id()) } else { hop.event(&[]).place };
            assert_eq!(id, number_at(place));
            let before: Option<u64> = last[(to % 2) as usize].replace(place);
            assert!(before.is_none_or(|before| next_place(before) == place));
        }
        assert_ne!(last[0], last[1]);
    }

    /// What a root's ack value is after a tree of events, however their numbers are drawn or handed on.
    #[test]
    fn an_event_hands_on_its_number_where_that_saves_a_report_and_every_root_comes_out_even() {
        let mut numbers = HopNumbers::new(0, 2, &mut EventRandom(7));
        // The task of the root, those the event sends to, and whether it reports.
        let cases: [(u32, &[u32], bool); 8] = [
            (0, &[], true),
            (0, &[2], false),
            (1, &[2], false),
            // To another thread, far from its root: bytes of a letter instead of a letter.
            (1, &[1], false),
            // To another thread, with its root at hand.
            (0, &[1], true),
            (0, &[0, 0], true),
            (1, &[0, 1], true),
            (1, &[1, 1, 1], true),
        ];
        for (home, sends, reports) in cases {
            let mut hops = Hops::default();
            hops.push(hop(&numbers, 1), b"of an event before it");
            let id = number_at(99);
            sends.iter().for_each(|to| hops.push(hop(&numbers, *to), b""));
            let bits = hops.number(1, (id, root(home)), (id, true), &mut numbers);
            assert_eq!(bits != 0, reports, "{home} {sends:?}");
            let of_hop = |hop: &Hop| if hop.thread == 0 { hop.id() } else { number_at(hop.event(&[]).place) };
            let sent = hops.list[1..].iter().fold(0, |all, hop| all ^ of_hop(hop));
            assert_eq!(id ^ bits ^ sent, 0, "{home} {sends:?}: what is out is what the root still waits for");
        }
        // A job that the event waits for is out besides.
        let (mut hops, id, job) = (Hops::default(), number_at(5), number_at(77));
        hops.push(hop(&numbers, 0), b"");
        let bits = hops.number(0, (id, root(0)), (id ^ job, true), &mut numbers);
        assert_eq!(bits ^ id ^ job, hops.list[0].id());
        // What an event returns to an append must be there before its root is done, and a report on the same way tells of both.
        let bits = hops.number(0, (id, root(0)), (id, false), &mut numbers);
        assert_eq!(bits ^ id, hops.list[0].id());
    }
}
