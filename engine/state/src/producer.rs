//! Which appends of which producers a task's depot partitions have, so that an append that is sent again is not made again.
//!
//! A producer numbers its appends to a partition from 0 on, without gaps. A number that is next is appended; one that was
//! appended is answered with the offset it got; a later one is refused, so that nothing overtakes what failed. A producer
//! that starts anew takes a higher *epoch*: its numbers begin again at 0, and lower epochs are fenced.
//!
//! What is learnt is in the log in the very section that has the records ([`Op::Produced`](crate::section::Op::Produced)):
//! neither is ever there without the other. The log alone would have to be kept for ever; so before its oldest part goes,
//! what changed since is *saved*: put into the tree, one entry for a producer and a partition. A replay takes over what the log
//! says, which may be in the tree already.

use crate::layout::{producer_key, read_producer_key};
use crate::section::{EntryWriter, Op};
use crate::side::Origin;
use crate::task::{StateError, TaskState, fetch_now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, ProducerId, Version};
use tantu_base::planted::{self, Bug};
use tantu_lsm::{BlockCache, Stop};
use tantu_replog::Lsn;

/// Runs of consecutive appends whose offsets a partition remembers of a producer.
pub const SPAN_COUNT_MAX: usize = 64;
/// Producers a partition remembers; of more, those go that were silent longest.
pub const PRODUCER_COUNT_MAX: usize = 4_096;
/// Milliseconds after its last append that a producer is remembered.
pub const PRODUCER_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;
/// Producers saved with one section.
const SAVE_COUNT_MAX: usize = 256;
/// Bytes of a span in an entry.
const SPAN_SIZE: usize = 20;
/// Bytes in an entry of what belongs to a producer, besides its spans.
const HEAD_SIZE: usize = 64;

const _: () = assert!(SAVE_COUNT_MAX * (HEAD_SIZE + SPAN_COUNT_MAX * SPAN_SIZE) <= 1 << 20);

/// The name of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    /// Whose.
    pub producer: ProducerId,
    /// Which life of the producer.
    pub epoch: u32,
    /// Which of its appends to the partition in this life, from 0.
    pub sequence: u64,
}

/// What became of a numbered append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbered {
    /// It is staged and will have this offset.
    Appended(Offset),
    /// It was appended before and has this offset; it may not be durable yet.
    Repeated(Offset),
}

/// The epoch with which a producer starts anew on a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The one after the highest that the partition knows, or this one if that is higher.
    AtLeast(u32),
    /// This one, which another partition gave out. Asked for again it is the same, until there are appends of it.
    Exactly(u32),
}

/// Why a numbered append was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misnumbered {
    /// The producer has started anew since.
    #[error("a later life of the producer, its epoch {epoch}, has taken over")]
    Fenced {
        /// The epoch it has now.
        epoch: u32,
    },
    /// Another number is next.
    #[error("the append with the number {expected} is next")]
    OutOfSequence {
        /// Which.
        expected: u64,
    },
    /// It is not the first, and the partition knows of none before it.
    #[error("the partition does not know the producer, or does not know it any more")]
    Forgotten,
    /// It was appended, longer ago than offsets are remembered.
    #[error("it was appended, so long ago that its offset is not known any more")]
    TooOld,
}

/// Consecutive appends that got consecutive offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The number of the first.
    pub sequence: u64,
    /// Its offset.
    pub offset: Offset,
    /// How many.
    pub count: u32,
}

impl Span {
    fn next(&self) -> (u64, Offset) {
        let count = u64::from(self.count);
        (self.sequence.saturating_add(count), Offset(self.offset.0.saturating_add(count)))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.offset.0.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
    }

    fn decode(reader: &mut FixedReader<'_>) -> Result<Self, Truncated> {
        Ok(Self { sequence: reader.u64()?, offset: Offset(reader.u64()?), count: reader.u32()? })
    }
}

/// Writes spans behind their number.
pub(crate) fn put_spans<'s>(out: &mut Vec<u8>, spans: impl ExactSizeIterator<Item = &'s Span>) {
    out.extend_from_slice(&(spans.len() as u32).to_le_bytes());
    spans.for_each(|span| span.encode(out));
}

/// The spans that follow their number.
pub(crate) fn take_spans<'a>(reader: &mut FixedReader<'a>) -> Result<&'a [u8], Truncated> {
    let count = reader.u32()? as usize;
    reader.take(count.checked_mul(SPAN_SIZE).ok_or(Truncated)?)
}

/// Reads whole spans.
pub fn spans(bytes: &[u8]) -> impl Iterator<Item = Span> {
    let mut reader = FixedReader::new(bytes);
    std::iter::from_fn(move || Span::decode(&mut reader).ok())
}

/// What a partition knows of a producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its life.
    pub epoch: u32,
    /// The number that is next.
    pub next: u64,
    /// When it last appended, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// The newest of its appends, in order.
    pub spans: VecDeque<Span>,
}

impl Line {
    fn new(epoch: u32) -> Self {
        Self { epoch, next: 0, last_ms: 0, spans: VecDeque::new() }
    }

    /// The offset of an append that was made.
    fn offset(&self, sequence: u64) -> Option<Offset> {
        let at = self.spans.partition_point(|span| span.next().0 <= sequence);
        let span = self.spans.get(at).filter(|span| span.sequence <= sequence)?;
        Some(Offset(span.offset.0 + (sequence - span.sequence)))
    }

    fn push(&mut self, span: Span) {
        self.next = span.next().0;
        push_span(&mut self.spans, span);
        if self.spans.len() > SPAN_COUNT_MAX {
            self.spans.pop_front();
        }
    }

    /// Its bytes, as the tree holds them, without the newest appends from an offset on.
    fn encode(&self, end: Offset) -> Vec<u8> {
        let mut kept = self.clone();
        while let Some(last) = kept.spans.back_mut().filter(|last| last.next().1 > end) {
            match end.0.checked_sub(last.offset.0).filter(|count| *count > 0) {
                // Fewer than it had: they fit.
                Some(count) => last.count = count as u32,
                None => {
                    kept.next = last.sequence;
                    kept.spans.pop_back();
                }
            }
        }
        let next = kept.spans.back().map_or(kept.next, |last| last.next().0);
        let mut out = Vec::with_capacity(HEAD_SIZE + kept.spans.len() * SPAN_SIZE);
        out.extend_from_slice(&kept.epoch.to_le_bytes());
        out.extend_from_slice(&next.to_le_bytes());
        out.extend_from_slice(&kept.last_ms.to_le_bytes());
        put_spans(&mut out, kept.spans.iter());
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Truncated`] if they are of another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let (epoch, next, last_ms) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let spans = spans(take_spans(&mut reader)?).collect();
        if reader.is_empty() { Ok(Self { epoch, next, last_ms, spans }) } else { Err(Truncated) }
    }
}

fn push_span(spans: &mut VecDeque<Span>, span: Span) {
    match spans.back_mut() {
        Some(last) if last.next() == (span.sequence, span.offset) && last.count < u32::MAX - span.count => {
            last.count += span.count;
        }
        _ => spans.push_back(span),
    }
}

/// A place of a depot in the task, and a producer.
type Key = (usize, ProducerId);

/// What is staged of a producer.
#[derive(Debug, Default)]
struct Touched {
    spans: VecDeque<Span>,
    /// Whether it has a new epoch that no section says.
    is_new: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    lines: BTreeMap<Key, Line>,
    /// By partition.
    counts: BTreeMap<usize, usize>,
    /// What the next section says.
    touched: BTreeMap<Key, Touched>,
    /// Lines that changed since they were saved.
    unsaved: BTreeSet<Key>,
    /// Lines that are still to be saved, and the version up to which the save has all changes; without any, a save is to begin.
    saving: Option<(Version, Vec<Key>)>,
    /// Of saves that ended: everything up to the first version is in the tree once it has flushed the second.
    saves: VecDeque<(Version, Version)>,
    /// Committed sections that say something of producers.
    sections: VecDeque<(Version, Lsn)>,
    /// Lines that are to be forgotten with the next section.
    forgotten: Vec<Key>,
}

impl Producers {
    /// Bytes that the next section gets.
    pub(crate) fn staged_size(&self) -> usize {
        self.touched.len() * HEAD_SIZE
    }

    /// Whether the next section says something that comes with no record.
    pub(crate) fn is_dirty(&self) -> bool {
        self.saving.is_some() || !self.forgotten.is_empty() || self.touched.values().any(|touched| touched.is_new)
    }

    /// Whether the tree will know all of it once it is flushed.
    pub(crate) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && self.touched.is_empty()
    }

    /// The offset of an append that was made before, none if it is the next, or why it is neither.
    fn look(&self, depot: usize, number: &Number) -> Result<Option<Offset>, Misnumbered> {
        let Number { producer, epoch, sequence } = *number;
        let Some(line) = self.lines.get(&(depot, producer)) else {
            return if sequence == 0 { Ok(None) } else { Err(Misnumbered::Forgotten) };
        };
        match line.epoch.cmp(&epoch) {
            std::cmp::Ordering::Greater => Err(Misnumbered::Fenced { epoch: line.epoch }),
            std::cmp::Ordering::Less if sequence == 0 => Ok(None),
            std::cmp::Ordering::Less => Err(Misnumbered::OutOfSequence { expected: 0 }),
            std::cmp::Ordering::Equal if sequence == line.next => Ok(None),
            std::cmp::Ordering::Equal if sequence > line.next => {
                Err(Misnumbered::OutOfSequence { expected: line.next })
            }
            std::cmp::Ordering::Equal => line.offset(sequence).map(Some).ok_or(Misnumbered::TooOld),
        }
    }

    /// The line of a producer in an epoch; what there is of lower epochs goes.
    fn line(&mut self, key: Key, epoch: u32) -> &mut Line {
        let counts = &mut self.counts;
        let line = self.lines.entry(key).or_insert_with(|| {
            *counts.entry(key.0).or_default() += 1;
            Line::new(epoch)
        });
        if line.epoch < epoch {
            *line = Line { last_ms: line.last_ms, ..Line::new(epoch) };
        }
        line
    }

    /// An append is staged.
    fn stage(&mut self, depot: usize, number: &Number, offset: Offset) {
        let Number { producer, epoch, sequence } = *number;
        let key = (depot, producer);
        let is_new = self.lines.get(&key).is_none_or(|line| line.epoch < epoch);
        let span = Span { sequence, offset, count: 1 };
        self.line(key, epoch).push(span);
        let touched = self.touched.entry(key).or_default();
        if is_new {
            // What a lower epoch has staged is fenced: nobody asks for it.
            touched.spans.clear();
        }
        push_span(&mut touched.spans, span);
    }

    /// A producer starts anew; its epoch.
    fn start(&mut self, depot: usize, producer: ProducerId, start: Start) -> Result<u32, Misnumbered> {
        let key = (depot, producer);
        let line = self.lines.get(&key);
        let known = line.map_or(0, |line| line.epoch);
        let (epoch, is_taken) = match start {
            Start::AtLeast(least) => (known.saturating_add(1).max(least), known == u32::MAX),
            // The numbers of an epoch begin at 0 once: appends that there are of it are those of another life.
            Start::Exactly(epoch) => (epoch, epoch < known || line.is_some_and(|line| epoch == known && line.next > 0)),
        };
        if is_taken {
            return Err(Misnumbered::Fenced { epoch: known });
        }
        if epoch > known || line.is_none() {
            self.line(key, epoch);
            self.touched.insert(key, Touched { spans: VecDeque::new(), is_new: true });
        }
        Ok(epoch)
    }

    /// Writes what is staged of records before these ends, and what is to be saved.
    pub(crate) fn seal(
        &mut self,
        (version, wall_ms): (Version, u64),
        depots: &[(ObjectId, Offset)],
        entry: &mut EntryWriter,
    ) {
        // Before what the same section says of those that came back: a replay takes it in this order.
        for (depot, producer) in self.forgotten.drain(..) {
            entry.delete(&producer_key(depots[depot].0, producer));
        }
        for ((depot, producer), touched) in std::mem::take(&mut self.touched) {
            let (object, end) = depots[depot];
            let (sealed, left) = split(touched.spans, end);
            if touched.is_new || !sealed.is_empty() {
                let line = self.lines.get_mut(&(depot, producer)).expect("invariant: what is staged has a line");
                line.last_ms = line.last_ms.max(wall_ms);
                entry.produced(object, producer, line.epoch, line.last_ms, &sealed);
                self.unsaved.insert((depot, producer));
            }
            if !left.is_empty() {
                self.touched.insert((depot, producer), Touched { spans: left, is_new: false });
            }
        }
        self.seal_saves(version, depots, entry);
    }

    fn seal_saves(&mut self, version: Version, depots: &[(ObjectId, Offset)], entry: &mut EntryWriter) {
        let Some((from, keys)) = self.saving.take() else { return };
        let (mut from, mut keys) = (from, keys);
        if keys.is_empty() {
            // Everything up to this very section.
            (from, keys) = (version, self.unsaved.iter().copied().collect());
        }
        for (depot, producer) in keys.drain(keys.len().saturating_sub(SAVE_COUNT_MAX)..) {
            let Some(line) = self.lines.get(&(depot, producer)) else { continue };
            let (object, end) = depots[depot];
            entry.put(&producer_key(object, producer), &line.encode(end));
            if !self.touched.contains_key(&(depot, producer)) {
                self.unsaved.remove(&(depot, producer));
            }
        }
        match keys.is_empty() {
            true => self.saves.push_back((from, version)),
            false => self.saving = Some((from, keys)),
        }
    }

    /// A section that says something of producers is committed.
    pub(crate) fn note_section(&mut self, version: Version, lsn: Lsn) {
        if self.sections.back().is_none_or(|(last, _)| *last < version) {
            self.sections.push_back((version, lsn));
        }
    }

    /// Takes over what the log says.
    pub(crate) fn replay(&mut self, depot: usize, producer: ProducerId, epoch: u32, time_ms: u64, spans_of: &[u8]) {
        let key = (depot, producer);
        if self.lines.get(&key).is_some_and(|line| line.epoch > epoch) {
            return;
        }
        let line = self.line(key, epoch);
        line.last_ms = line.last_ms.max(time_ms);
        for span in spans(spans_of) {
            if span.sequence >= line.next {
                line.push(span);
            }
        }
        self.unsaved.insert(key);
    }

    pub(crate) fn forget(&mut self, key: Key) {
        if self.lines.remove(&key).is_some() {
            *self.counts.entry(key.0).or_default() -= 1;
        }
        self.unsaved.remove(&key);
    }

    /// The oldest place of the log that is needed when the tree has flushed everything up to a version.
    pub(crate) fn low_water(&mut self, flushed: Version) -> Option<Lsn> {
        while let Some((upto, _)) = self.saves.front().copied().filter(|(_, end)| *end <= flushed) {
            self.saves.pop_front();
            while self.sections.front().is_some_and(|(version, _)| *version <= upto) {
                self.sections.pop_front();
            }
        }
        self.sections.front().map(|(_, lsn)| *lsn)
    }

    /// Begins to save what changed.
    fn save(&mut self) {
        if self.saving.is_none() && !self.unsaved.is_empty() {
            self.saving = Some((Version::default(), Vec::new()));
        }
    }

    /// Forgets who was silent for long, and of too many those that were silent longest.
    fn expire(&mut self, wall_ms: u64) {
        let due = |line: &Line| line.last_ms.saturating_add(PRODUCER_KEPT_MS) <= wall_ms;
        let touched = &self.touched;
        let idle = |key: &Key| !touched.contains_key(key);
        let mut old: Vec<Key> =
            self.lines.iter().filter(|(key, line)| idle(key) && due(line)).map(|(key, _)| *key).collect();
        for (depot, count) in &self.counts {
            if *count <= PRODUCER_COUNT_MAX {
                continue;
            }
            let of_depot = (*depot, ProducerId::default())..=(*depot, ProducerId(u128::MAX));
            let mut by_time: Vec<(u64, Key)> = self
                .lines
                .range(of_depot)
                .filter(|(key, _)| idle(key))
                .map(|(key, line)| (line.last_ms, *key))
                .collect();
            by_time.sort_unstable();
            let most = PRODUCER_COUNT_MAX - PRODUCER_COUNT_MAX / 8;
            old.extend(by_time.into_iter().take(count.saturating_sub(most)).map(|(_, key)| key));
        }
        old.sort_unstable();
        old.dedup();
        for key in old {
            self.forget(key);
            self.forgotten.push(key);
        }
    }
}

/// The spans of records before an offset, and those from there on.
fn split(mut spans: VecDeque<Span>, end: Offset) -> (VecDeque<Span>, VecDeque<Span>) {
    let at = spans.partition_point(|span| span.next().1 <= end);
    let mut left = spans.split_off(at);
    if let Some(first) = left.front_mut().filter(|first| first.offset < end) {
        let count = (end.0 - first.offset.0) as u32;
        spans.push_back(Span { count, ..*first });
        *first = Span { sequence: first.sequence + u64::from(count), offset: end, count: first.count - count };
    }
    (spans, left)
}

impl TaskState {
    /// Stages a numbered record, unless it was appended before.
    ///
    /// # Errors
    /// [`Misnumbered`]: nothing was staged.
    pub fn stage_numbered(&mut self, depot: usize, number: &Number, record: &[u8]) -> Result<Numbered, Misnumbered> {
        if let Some(offset) = self.producers.look(depot, number)? {
            if planted::has(Bug::NumberForgotten) {
                return Ok(Numbered::Appended(self.depots[depot].stage(record)));
            }
            return Ok(Numbered::Repeated(offset));
        }
        let offset = self.depots[depot].stage(record);
        self.producers.stage(depot, number, offset);
        Ok(Numbered::Appended(offset))
    }

    /// A producer starts anew on a partition; lower epochs than the one it gets are fenced from here on. It is so when the
    /// version that the next section gets is visible, which is returned with it.
    ///
    /// # Errors
    /// [`Misnumbered::Fenced`] by a higher epoch, or by another life with the same.
    pub fn start_producer(
        &mut self,
        depot: usize,
        producer: ProducerId,
        start: Start,
    ) -> Result<(u32, Version), Misnumbered> {
        let epoch = self.producers.start(depot, producer, start)?;
        Ok((epoch, Version(self.sealed_version().0 + 1)))
    }

    /// Takes over what an op says of a producer.
    pub(crate) fn take_produced(&mut self, op: &Op<'_>, (version, lsn): (Version, Lsn), origin: Origin) {
        let Op::Produced { depot, producer, epoch, time_ms, spans } = *op else { return };
        self.producers.note_section(version, lsn);
        // A process knows its own since they were staged.
        if origin != Origin::Own
            && let Some(index) = self.depots.iter().position(|known| known.object == depot)
        {
            self.producers.replay(index, producer, epoch, time_ms, spans);
        }
    }

    /// The log says that a key is gone: it may be that of a producer.
    pub(crate) fn forget_producer(&mut self, key: &[u8]) {
        let found = read_producer_key(key);
        let place = |depot| self.depots.iter().position(|known| known.object == depot);
        if let Some((depot, producer)) = found
            && let Some(index) = place(depot)
        {
            self.producers.forget((index, producer));
        }
    }

    /// What a partition knows of a producer.
    pub fn producer(&self, depot: usize, producer: ProducerId) -> Option<&Line> {
        self.producers.lines.get(&(depot, producer))
    }

    /// Puts what is known of producers into the next sections if the log has some of it before a place that is to go.
    pub fn save_producers(&mut self, old: Lsn) {
        let flushed = self.tree.flushed();
        // What was saved helps once it is flushed: until then more of it would not.
        let helps = self.producers.low_water(flushed).is_some_and(|low| low < old) && self.producers.saves.is_empty();
        if helps || old == Lsn(u64::MAX) {
            self.producers.save();
        }
    }

    /// Forgets producers that appended nothing for long.
    pub fn expire_producers(&mut self, wall_ms: u64) {
        self.producers.expire(wall_ms);
    }

    /// Learns what the tree says of producers. Blocking; before the replay.
    ///
    /// # Errors
    /// [`StateError`] of the tree.
    pub(crate) fn know_producers(&mut self, disk: &mut dyn Disk, cache: &mut BlockCache) -> Result<(), StateError> {
        for index in 0..self.depots.len() {
            let depot = self.depots[index].object;
            let (from, mut to) = (producer_key(depot, ProducerId(0)), producer_key(depot, ProducerId(u128::MAX)));
            to.push(0);
            let mut found = Vec::new();
            loop {
                found.clear();
                let scanned = self.tree.scan(cache, &from, &to, self.visible, &mut |key, value| {
                    found.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                });
                match scanned {
                    Ok(()) => break,
                    Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
                    Err(Stop::Need(need)) => fetch_now(&mut self.tree, &need, cache, disk)?,
                }
            }
            for (key, value) in found {
                let unreadable = StateError::Unreadable { task: self.task, object: depot, what: "producer" };
                let found = read_producer_key(&key).zip(Line::decode(&value).ok());
                let ((_, producer), line) = found.ok_or(unreadable)?;
                let epoch = line.epoch;
                *self.producers.line((index, producer), epoch) = line;
            }
        }
        Ok(())
    }
}
