//! Numbered appends of producers: each is made once, however often it is sent.
//!
//! One that was made before is answered when the first one would be: when its record is durable, or besides processed. The
//! first one's answer may have been on its way to a client that is gone. A record that a topology dropped is told of as the first
//! time, as long as the process lives and the source remembers it.

use crate::slot::{AppendWait, TaskSlot};
use crate::source::Outcome;
use crate::thread::TaskThread;
use crate::together::lead_of;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, ProducerId, TaskId, Version};
use tantu_net::letter::{AckLevel, ClientLetter, Letter, NumberFault, Refusal};
use tantu_state::producer::{Misnumbered, Number, Numbered, Start};

/// An append that was made before.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    slot: usize,
    append: AppendWait,
}

/// A producer that starts anew when a version is visible.
#[derive(Clone, Copy, Debug)]
struct Started {
    slot: usize,
    version: Version,
    peer: Peer,
    request: u64,
    producer: ProducerId,
    epoch: u32,
}

/// The time by which producers are silent for long: that of the wall when a thread began, and never more later than the time that
/// has passed since. A wall clock that is set ahead by a day makes nobody silent for a day.
#[derive(Debug, Default)]
pub(crate) struct SilenceClock {
    begun: Option<(Nanos, u64)>,
}

impl SilenceClock {
    pub(crate) fn now_ms(&mut self, now: Nanos, wall_ms: u64) -> u64 {
        let (begun, begun_ms) = *self.begun.get_or_insert((now, wall_ms));
        wall_ms.min(begun_ms.saturating_add(now.since(begun) / 1_000_000))
    }
}

/// Who waits for something about numbers.
#[derive(Debug, Default)]
pub(crate) struct NumberWaits {
    repeats: Vec<Repeat>,
    started: Vec<Started>,
}

impl NumberWaits {
    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.repeats.len() + self.started.len()
    }

    /// A client wants no answers to these requests.
    pub(crate) fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool) {
        self.repeats.retain(|repeat| !is_cancelled(repeat.append.peer, repeat.append.request));
        self.started.retain(|started| !is_cancelled(started.peer, started.request));
    }
}

impl Repeat {
    /// Whether the record is as safe as its client wants, or will never be.
    fn outcome(&self, slots: &[TaskSlot]) -> Outcome {
        let (slot, AppendWait { depot, offset, ack, .. }) = (&slots[self.slot], self.append);
        if slot.state.depots()[depot].durable_end() <= offset {
            return Outcome::Pending;
        }
        let mut all = Outcome::Done;
        for at in slot.sources_on(depot).filter(|_| ack == AckLevel::Ack) {
            match slot.sources[lead_of(&slot.sources, at, offset)].outcome(offset) {
                Outcome::Dropped => return Outcome::Dropped,
                Outcome::Pending => all = Outcome::Pending,
                Outcome::Done => {}
            }
        }
        all
    }
}

impl TaskThread {
    /// A letter of a client, or about one.
    pub(crate) fn take_client(&mut self, peer: Peer, letter: ClientLetter<'_>, now: Nanos) {
        match letter {
            ClientLetter::AppendNumbered { task, request, depot, ack, producer, epoch, sequence, record } => {
                let number = Number { producer, epoch, sequence };
                self.take_numbered(peer, task, request, (depot, ack), &number, record);
            }
            ClientLetter::StartProducer { task, request, depot, producer, epoch, exact } => {
                // Where every partition has forgotten a producer, an earlier life of it that comes back is fenced all the same:
                // a later one has a higher epoch as long as the wall clock goes on.
                let wall_s = u32::try_from(self.wall_ms / 1_000).unwrap_or(0);
                let start = if exact { Start::Exactly(epoch) } else { Start::AtLeast(epoch.max(wall_s)) };
                self.start_producer(peer, task, request, depot, (producer, start));
            }
            ClientLetter::Cancel { requests } => self.take_cancel(peer, requests, now),
            ClientLetter::Hold { root, topology, says, id, lease_ms, .. } => {
                self.take_hold(root, topology, says, (id, lease_ms), now);
            }
            ClientLetter::SelectAt { task, request, pstate, snapshot, path } => {
                self.take_select_at(peer, task, request, pstate, snapshot, path);
            }
            ClientLetter::Snapshot { request, topology, says, number, .. } => {
                self.take_snapshot(peer, request, topology, says, number, now);
            }
            ClientLetter::Producer { .. } | ClientLetter::Misnumbered { .. } => {
                tracing::warn!(peer = peer.0, "dropped a letter meant for a client");
            }
        }
    }

    fn take_numbered(
        &mut self,
        peer: Peer,
        task: TaskId,
        request: u64,
        (depot, ack): (u16, AckLevel),
        number: &Number,
        record: &[u8],
    ) {
        let slot = match self.check_append(task, depot, record) {
            Ok(slot) => slot,
            Err((refusal, text)) => {
                if ack != AckLevel::None {
                    self.refuse(peer, request, refusal, &text);
                }
                return;
            }
        };
        let depot = usize::from(depot);
        let staged = self.slots[slot].state.stage_numbered(depot, number, record);
        if ack == AckLevel::None {
            return;
        }
        match staged {
            Ok(Numbered::Appended(offset)) => {
                self.slots[slot].gathering.appends.push(AppendWait { depot, offset, ack, peer, request });
            }
            Ok(Numbered::Repeated(offset)) => {
                let append = AppendWait { depot, offset, ack, peer, request };
                self.number_waits.repeats.push(Repeat { slot, append });
            }
            Err(fault) => self.misnumbered(peer, request, fault),
        }
    }

    fn misnumbered(&mut self, peer: Peer, request: u64, fault: Misnumbered) {
        let (fault, number) = match fault {
            Misnumbered::Fenced { epoch } => (NumberFault::Fenced, u64::from(epoch)),
            Misnumbered::OutOfSequence { expected } => (NumberFault::OutOfSequence, expected),
            Misnumbered::Forgotten => (NumberFault::Forgotten, 0),
            Misnumbered::TooOld => (NumberFault::TooOld, 0),
        };
        let letter = Letter::Client(ClientLetter::Misnumbered { request, fault, number });
        self.outbox.push(peer, Category::Client, &letter);
    }

    fn start_producer(
        &mut self,
        peer: Peer,
        task: TaskId,
        request: u64,
        depot: u16,
        (producer, start): (ProducerId, Start),
    ) {
        let slot = match self.check_partition(task, depot) {
            _ if self.closing => return self.refuse(peer, request, Refusal::Closing, "the module is closing"),
            Ok(slot) => slot,
            Err(text) => return self.refuse(peer, request, Refusal::Invalid, &text),
        };
        if producer == ProducerId::default() {
            let producer = ProducerId(u128::from(self.random.next()) << 64 | u128::from(self.random.next()));
            let letter = Letter::Client(ClientLetter::Producer { request, producer, epoch: 1 });
            return self.outbox.push(peer, Category::Client, &letter);
        }
        match self.slots[slot].state.start_producer(usize::from(depot), producer, start) {
            Ok((epoch, version)) => {
                self.number_waits.started.push(Started { slot, version, peer, request, producer, epoch });
            }
            Err(fault) => self.misnumbered(peer, request, fault),
        }
    }

    /// Answers those that wait for something about numbers; true if there were some.
    pub(crate) fn answer_number_waits(&mut self) -> bool {
        if self.number_waits.count() == 0 {
            return false;
        }
        let before = self.number_waits.count();
        let Self { number_waits: NumberWaits { repeats, started }, slots, outbox, .. } = self;
        repeats.retain(|repeat| {
            let AppendWait { peer, request, offset, .. } = repeat.append;
            match repeat.outcome(slots) {
                Outcome::Pending => return true,
                Outcome::Done => outbox.push(peer, Category::Client, &Letter::Appended { request, offset }),
                Outcome::Dropped => {
                    let (refusal, text) = (Refusal::ProcessingFailed, "a topology has given the record up");
                    outbox.push(peer, Category::Client, &Letter::Refused { request, refusal, text });
                }
            }
            false
        });
        // What is asked for again may be so already: then no section comes.
        let is_visible = |started: &mut Started| {
            let state = &slots[started.slot].state;
            state.visible() >= started.version || !(state.is_dirty() || state.has_pending())
        };
        for Started { peer, request, producer, epoch, .. } in started.extract_if(.., is_visible) {
            outbox.push(peer, Category::Client, &Letter::Client(ClientLetter::Producer { request, producer, epoch }));
        }
        self.number_waits.count() < before
    }

    /// The slot of a depot's partition, or why there is none.
    pub(crate) fn check_partition(&self, task: TaskId, depot: u16) -> Result<usize, String> {
        match (self.slot_of(task), self.config.module.def.depots.get(usize::from(depot))) {
            (None, _) => Err(format!("{task} is not on {}", self.config.thread)),
            (_, None) => Err(format!("the module has no depot {depot}")),
            (_, Some(def)) if def.global && task != TaskId(0) => {
                Err(format!("the depot {} is global: its one partition is on task 0", def.name))
            }
            (Some(slot), Some(_)) => Ok(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_makes_no_producer_silent() {
        let day = 86_400_000;
        let mut silence = SilenceClock::default();
        assert_eq!(silence.now_ms(Nanos(0), 10 * day), 10 * day);
        assert_eq!(silence.now_ms(Nanos(0).plus_ms(5), 12 * day), 10 * day + 5, "set ahead by two days");
        assert_eq!(silence.now_ms(Nanos(0).plus_ms(day), 12 * day + day), 11 * day);
        assert_eq!(silence.now_ms(Nanos(0).plus_ms(day), 3 * day), 3 * day, "set back: nobody is older than that says");
    }
}
