//! Appends that are made once, however often they are sent.
//!
//! A producer numbers its records, partition by partition. What becomes of a number is remembered in the partition, in the very
//! entry of the log that has the record; so a record that is sent again under its number, because nobody knows what became of
//! the first try, is appended once, and the answer is the offset it got. That holds across restarts of the engine.
//!
//! Numbers have no gaps: if an append fails, those behind it in the same partition fail too ([`ClientError::OutOfSequence`]), and
//! nothing overtakes it. The next record that is numbered takes the place of the first that failed.

use crate::depot::Depot;
use crate::error::{ClientError, Outcome};
use crate::pending::Pending;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tantu_base::id::{Offset, ProducerId, TaskId};
use tantu_base::value::{Encode, encoded};
use tantu_net::letter::{AckLevel, ClientLetter, Letter};

/// How often [`Producer::append`] sends a record whose answer does not come in time.
const TRY_COUNT_MAX: usize = 3;
/// Failures of a partition that are kept apart.
const RESET_COUNT_MAX: usize = 64;

/// A record with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberedRecord {
    /// Where it goes.
    pub partition: u32,
    /// Its number there.
    pub sequence: u64,
    /// How many failures of the partition there were before it was numbered.
    generation: u64,
    record: Vec<u8>,
}

/// What a producer has numbered: with it a program goes on after a restart, as the same life of the producer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerState {
    /// Which producer.
    pub id: ProducerId,
    /// Which life of it.
    pub epoch: u32,
    /// The next number, by partition; 0 for those that are not there.
    pub next: BTreeMap<u32, u64>,
}

/// The numbers of a partition.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    generation: u64,
    /// For some generations: numbers from there on that were given before were given back. Both ascend.
    resets: Vec<(u64, u64)>,
    /// Numbers of records that may have been appended, or not.
    doubtful: BTreeSet<u64>,
}

impl Line {
    /// The numbers from this one on are given once more.
    fn give_back(&mut self, generation: u64, from: u64) {
        if generation != self.generation {
            return;
        }
        self.generation += 1;
        self.next = from;
        self.doubtful.retain(|number| *number < from);
        self.resets.retain(|(_, other)| *other < from);
        self.resets.push((self.generation, from));
        if self.resets.len() > RESET_COUNT_MAX {
            let (_, lowest) = self.resets.remove(0);
            self.resets[0].1 = lowest;
        }
    }

    /// One try of a number failed.
    fn failed(&mut self, (sequence, generation): (u64, u64), error: &ClientError) {
        match error {
            // The partition itself says what it has.
            ClientError::OutOfSequence { expected } => self.give_back(generation, *expected),
            // There is no number that would help.
            ClientError::Fenced { .. } | ClientError::Forgotten => {}
            _ => match error.outcome() {
                // Nothing was appended by this try; by one before it perhaps.
                Outcome::NotAppended if self.doubtful.contains(&sequence) => {}
                Outcome::NotAppended => self.give_back(generation, sequence),
                Outcome::Unknown => _ = self.doubtful.insert(sequence),
                Outcome::Appended => _ = self.doubtful.remove(&sequence),
            },
        }
    }

    /// Whether the record's number is still its own.
    fn has(&self, numbered: &NumberedRecord) -> bool {
        let given_back =
            |(generation, from): &(u64, u64)| *generation > numbered.generation && *from <= numbered.sequence;
        !self.resets.iter().any(given_back)
    }
}

/// The epoch that a partition is asked for.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// The one after the highest that it knows, or this one if that is higher.
    AtLeast(u32),
    /// This one.
    Exactly(u32),
}

/// See the module. Clones number together.
///
/// ```
/// # fn example(depot: &tantu_client::Depot<String>) -> Result<(), tantu_client::ClientError> {
/// use tantu_client::{AckLevel, Outcome};
///
/// let producer = depot.producer_named("loader")?;
/// let numbered = producer.number(&"record".to_string())?;
/// let offset = loop {
///     match producer.send(&numbered, AckLevel::Ack) {
///         // It may have been appended: sent again, it is not appended twice.
///         Err(error) if error.outcome() == Outcome::Unknown => continue,
///         done => break done?,
///     }
/// };
/// # let _ = offset; Ok(())
/// # }
/// ```
pub struct Producer<T> {
    depot: Depot<T>,
    id: ProducerId,
    epoch: u32,
    lines: Arc<Mutex<BTreeMap<u32, Line>>>,
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        let Self { depot, id, epoch, lines } = self;
        Self { depot: depot.clone(), id: *id, epoch: *epoch, lines: Arc::clone(lines) }
    }
}

impl<T> std::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({:?}, {}, epoch {})", self.depot, self.id, self.epoch)
    }
}

impl<T: Encode> Depot<T> {
    /// A producer that nobody else is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn producer(&self) -> Result<Producer<T>, ClientError> {
        let (id, epoch) = self.start_producer(0, ProducerId::default(), Start::AtLeast(0))?.wait()?;
        Ok(Producer::new(self, ProducerState { id, epoch, next: BTreeMap::new() }))
    }

    /// The producer of this name, in a new life: appends of earlier lives fail with [`ClientError::Fenced`] from here on, on
    /// every partition.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Fenced`] if another life began at the same time.
    pub fn producer_named(&self, name: &str) -> Result<Producer<T>, ClientError> {
        let (id, count) = (ProducerId::named(name), self.partition_count());
        // One partition gives out the epochs, so that no two lives have the same. It may have forgotten the producer while another
        // has not: so it learns first what the others know, and all of them are told before a record is sent.
        let first = (id.0 % u128::from(count)) as u32;
        let ask_others = |start: Start| {
            let others = (0..count).filter(|partition| *partition != first);
            let asked = others.map(|partition| self.start_producer(partition, id, start));
            let asked = asked.collect::<Result<Vec<_>, _>>()?;
            asked.into_iter().try_fold(0, |most, pending| Ok::<u32, ClientError>(pending.wait()?.1.max(most)))
        };
        let least = ask_others(Start::AtLeast(0))?;
        let (_, epoch) = self.start_producer(first, id, Start::AtLeast(least))?.wait()?;
        ask_others(Start::Exactly(epoch))?;
        Ok(Producer::new(self, ProducerState { id, epoch, next: BTreeMap::new() }))
    }

    /// A producer that goes on where it was, in the same life: see [`Producer::state`].
    pub fn producer_resumed(&self, state: ProducerState) -> Producer<T> {
        Producer::new(self, state)
    }

    fn start_producer(
        &self,
        partition: u32,
        producer: ProducerId,
        start: Start,
    ) -> Result<Pending<(ProducerId, u32)>, ClientError> {
        let (task, depot) = (TaskId(partition), self.index());
        let (epoch, exact) = match start {
            Start::AtLeast(epoch) => (epoch, false),
            Start::Exactly(epoch) => (epoch, true),
        };
        self.pending(
            task,
            |request| Letter::Client(ClientLetter::StartProducer { task, request, depot, producer, epoch, exact }),
            |answer| Ok(answer.into_more().producer.unwrap_or_default()),
        )
    }
}

impl<T: Encode> Producer<T> {
    fn new(depot: &Depot<T>, state: ProducerState) -> Self {
        let line = |(partition, next)| (partition, Line { next, ..Line::default() });
        let lines = state.next.into_iter().map(line).collect();
        Self { depot: depot.clone(), id: state.id, epoch: state.epoch, lines: Arc::new(Mutex::new(lines)) }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u32, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which producer, which life, and what it has numbered.
    pub fn state(&self) -> ProducerState {
        let next = self.lines().iter().map(|(partition, line)| (*partition, line.next)).collect();
        ProducerState { id: self.id, epoch: self.epoch, next }
    }

    /// Gives a record its partition and the next number there. Records of a partition have to be sent in the order of their
    /// numbers.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn number(&self, record: &T) -> Result<NumberedRecord, ClientError> {
        let record = encoded(record);
        let partition = self.depot.route(&record)?.0;
        let mut lines = self.lines();
        let line = lines.entry(partition).or_default();
        let sequence = line.next;
        line.next += 1;
        Ok(NumberedRecord { partition, sequence, generation: line.generation, record })
    }

    /// A record that was numbered before, by an earlier run of the program, as the same life of the producer.
    ///
    /// # Errors
    /// [`ClientError::NoPartition`].
    pub fn numbered(&self, partition: u32, sequence: u64, record: &T) -> Result<NumberedRecord, ClientError> {
        let count = self.depot.partition_count();
        if partition >= count {
            return Err(ClientError::NoPartition { index: partition, count });
        }
        let mut lines = self.lines();
        let line = lines.entry(partition).or_default();
        line.next = line.next.max(sequence + 1);
        Ok(NumberedRecord { partition, sequence, generation: line.generation, record: encoded(record) })
    }

    /// Appends a numbered record, unless it was appended before; the answer is its offset in any case. Level NONE is raised to
    /// APPEND_ACK.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::outcome`] says whether to send it again.
    pub fn send(&self, numbered: &NumberedRecord, ack: AckLevel) -> Result<Offset, ClientError> {
        self.send_async(numbered, ack)?.wait()
    }

    /// As [`Producer::send`], later.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn send_async(&self, numbered: &NumberedRecord, ack: AckLevel) -> Result<PendingNumbered<T>, ClientError> {
        let NumberedRecord { partition, sequence, generation, record } = numbered;
        if !self.has(numbered) {
            let text = "an append before it failed, and its number was given to another record since";
            return Err(ClientError::Refused(text.to_string()));
        }
        let (task, depot, ack) = (TaskId(*partition), self.depot.index(), ack.max(AckLevel::AppendAck));
        let (producer, epoch, sequence) = (self.id, self.epoch, *sequence);
        let letter = |request| {
            Letter::Client(ClientLetter::AppendNumbered {
                task,
                request,
                depot,
                ack,
                producer,
                epoch,
                sequence,
                record,
            })
        };
        let pending = self.depot.pending(task, letter, |answer| Ok(answer.offset))?;
        Ok(PendingNumbered { pending, producer: self.clone(), place: (*partition, sequence, *generation) })
    }

    /// Appends a record and waits until every stream topology of the module has processed it. If the answer does not come in
    /// time, it is sent again, three times in all; and so it is to the next instance of a module that is launched again
    /// meanwhile, if that comes within the time-out of an append.
    ///
    /// # Errors
    /// [`ClientError`]. Where the outcome is unknown nothing else gets into the partition before it is known: number the
    /// record with [`Producer::number`] to be able to send it again later.
    pub fn append(&self, record: &T) -> Result<Offset, ClientError> {
        let connection = &self.depot.connection;
        let (until, mut lives) = (connection.depot_deadline(), connection.lives());
        let mut numbered = self.number(record)?;
        let mut tries = 1;
        loop {
            match self.send(&numbered, AckLevel::Ack) {
                Err(ClientError::TimedOut { .. }) if tries < TRY_COUNT_MAX => tries += 1,
                // The instance goes, or is gone; numbers outlive it.
                Err(ClientError::Stopped { .. } | ClientError::NotRunning(_) | ClientError::Closing)
                    if connection.await_restart(lives, until) =>
                {
                    lives = connection.lives();
                    if !self.has(&numbered) {
                        numbered = self.number(record)?;
                    }
                }
                done => return done,
            }
        }
    }

    fn has(&self, numbered: &NumberedRecord) -> bool {
        self.lines().get(&numbered.partition).is_some_and(|line| line.has(numbered))
    }

    /// Numbers a record and starts to append it.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn append_async(&self, record: &T, ack: AckLevel) -> Result<PendingNumbered<T>, ClientError> {
        self.send_async(&self.number(record)?, ack)
    }

    /// The depot.
    pub fn depot(&self) -> &Depot<T> {
        &self.depot
    }
}

impl<T> Producer<T> {
    /// A try is over. If it is certain that nothing was appended, by no try, the number is the next again.
    fn settle(&self, (partition, sequence, generation): (u32, u64, u64), result: &Result<Offset, ClientError>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(&partition) else { return };
        match result {
            Ok(_) => _ = line.doubtful.remove(&sequence),
            Err(error) => line.failed((sequence, generation), error),
        }
    }
}

/// A numbered append that is out: wait for it, or await it. Dropping it does not undo it.
#[derive(Debug)]
#[must_use = "a number whose failure nobody notes blocks its partition"]
pub struct PendingNumbered<T> {
    pending: Pending<Offset>,
    producer: Producer<T>,
    place: (u32, u64, u64),
}

impl<T> PendingNumbered<T> {
    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn wait(self) -> Result<Offset, ClientError> {
        let Self { pending, producer, place } = self;
        let result = pending.wait();
        producer.settle(place, &result);
        result
    }
}

impl<T> Future for PendingNumbered<T> {
    type Output = Result<Offset, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = ready!(Pin::new(&mut self.pending).poll(context));
        self.producer.settle(self.place, &done);
        Poll::Ready(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Asked;

    fn numbered(line: &mut Line) -> NumberedRecord {
        line.next += 1;
        NumberedRecord { partition: 0, sequence: line.next - 1, generation: line.generation, record: Vec::new() }
    }

    #[test]
    fn a_number_that_was_given_back_is_not_that_of_the_record_that_had_it_before() {
        let mut line = Line::default();
        let [a, b, c] = [(); 3].map(|()| numbered(&mut line));
        line.give_back(b.generation, b.sequence);
        // The answer to the one behind it comes later and changes nothing.
        line.give_back(c.generation, b.sequence);
        let again = numbered(&mut line);
        assert_eq!((again.sequence, line.next), (1, 2));
        assert!(line.has(&a) && line.has(&again) && !line.has(&b) && !line.has(&c));
        line.give_back(again.generation, again.sequence);
        assert!(line.has(&a) && !line.has(&again) && line.resets.len() == 1);
        for _ in 0..1_000 {
            let (kept, failed) = (numbered(&mut line), numbered(&mut line));
            line.give_back(failed.generation, failed.sequence);
            assert!(line.has(&kept) && !line.has(&failed));
        }
        assert!(line.resets.len() <= RESET_COUNT_MAX && !line.has(&b));
    }

    #[test]
    fn the_number_of_a_record_that_an_earlier_try_may_have_appended_is_given_to_no_other() {
        let mut line = Line::default();
        let [a, b] = [(); 2].map(|()| numbered(&mut line));
        let place = |record: &NumberedRecord| (record.sequence, record.generation);
        line.failed(place(&a), &ClientError::Stopped { asked: Asked::Append, why: "why".to_string() });
        line.failed(place(&a), &ClientError::NotRunning("why".to_string()));
        assert!(line.has(&a) && line.next == 2, "the first try may have appended it");
        line.failed(place(&b), &ClientError::Closing);
        assert!(line.has(&a) && !line.has(&b) && line.next == 1);
        let c = numbered(&mut line);
        line.failed(place(&c), &ClientError::OutOfSequence { expected: 0 });
        assert!(line.next == 0 && line.doubtful.is_empty(), "the partition knows that it was not");
    }
}
