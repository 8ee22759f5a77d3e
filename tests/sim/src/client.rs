//! The client of a story: appends lines with a window of appends in flight, reads counts in between, and believes
//! nothing it was not told.

use crate::customer::{Entries, each_letter};
use crate::module::{COUNT, COUNTS};
use crate::pauser::Pauser;
use crate::swarm::Swarm;
use crate::user;
use std::collections::{BTreeMap, VecDeque};
use tantu_base::door::{Clock, LetterBatch, Nanos, Peer, Wire};
use tantu_base::id::{Category, Offset, TaskId};
use tantu_base::value::{Encode, Reader, partition_of};
use tantu_model::depot::{AppendId, History};
use tantu_model::stream::{LineId, Lines};
use tantu_model::word::{WordCounts, words};
use tantu_net::letter::{AckLevel, Letter, ReadRange, Refusal};
use tantu_path::{Map, Navigate, PathTo, path};
use tantu_weather::{SimClock, SimEntropy, SimWire};

/// Milliseconds after the return of space from which on no append may be refused for want of it.
const RESUME_MS_MAX: u64 = 10_000;
/// Letters of one batch, at most.
const BATCH_COUNT_MAX: u64 = 8;
/// Reads under way, at most.
const READ_COUNT_MAX: usize = 4;
/// Ranges read in one life, at most: they take places of the window that the lines need in the end.
const RANGE_COUNT_MAX: u32 = 200;

/// A request without an answer.
#[derive(Clone, Debug)]
enum Waiting {
    Append {
        append: AppendId,
        task: TaskId,
        ack: AckLevel,
        sent_ms: u64,
    },
    /// A read of one word; the answer may not be below the floor.
    Count {
        word: String,
        floor: u64,
    },
    /// A read of a partition's every word.
    All,
    /// A read of a range of the depot, or a question for its ends; what was known of them then.
    Range {
        task: TaskId,
        range: Option<ReadRange>,
        known: (u64, u64),
    },
    /// Something about the microbatch topology.
    Pauser,
}

/// What is left to do of one line.
#[derive(Clone, Debug)]
struct Sent {
    /// The life of each time it was sent.
    lives: Vec<u32>,
    settled: bool,
}

/// Everything the client knows, across all lives of the cluster.
#[derive(Debug)]
pub struct Client {
    chance: SimEntropy,
    clock: SimClock,
    /// What it appended, for the judge of depots. The index of an append is that of its line.
    pub history: History,
    /// What it appended, for the judge of counts.
    pub lines: Lines,
    texts: Vec<String>,
    sent: Vec<Sent>,
    again: VecDeque<AppendId>,
    /// Refused by a full disk: sent again when appends must be taken.
    later: Vec<AppendId>,
    /// From when on no append may be refused for want of space.
    space_at: Option<Nanos>,
    now: Nanos,
    /// What a full disk refused was sent again.
    resumed: bool,
    /// The highest count seen per word, and what acknowledged lines demand.
    seen: WordCounts,
    demanded: WordCounts,
    waiting: BTreeMap<u64, Waiting>,
    outbox: BTreeMap<u32, VecDeque<LetterBatch>>,
    next_request: u64,
    life: u32,
    ranges_left: u32,
    failing: bool,
    stalling: bool,
    /// Lines that may have been sent by the end of this life.
    quota: usize,
    /// Counts gathered by [`Client::ask_for_all`].
    all: Entries,
    pauser: Pauser,
    /// What was found wrong.
    pub findings: Vec<String>,
    /// Answers to appends, and reads answered.
    pub answered_count: u64,
    /// Requests refused.
    pub refused_count: u64,
    /// Pages of records read.
    pub range_count: u64,
    /// Reads of ranges that are not there.
    pub out_of_range_count: u64,
}

impl Client {
    /// A client with its lines.
    pub fn new(swarm: &Swarm, clock: SimClock, mut chance: SimEntropy) -> Self {
        let chance_of_pauser = chance.fork(60);
        let texts = (0..swarm.line_count).map(|index| line(index, swarm, &mut chance)).collect();
        let mut history = History::default();
        history.keeps(swarm.trim.map(|(max_entries, _)| max_entries + max_entries / 2));
        Self {
            chance,
            clock,
            history,
            lines: Lines::default(),
            texts,
            sent: Vec::new(),
            again: VecDeque::new(),
            later: Vec::new(),
            space_at: None,
            now: Nanos(0),
            resumed: false,
            seen: WordCounts::new(),
            demanded: WordCounts::new(),
            waiting: BTreeMap::new(),
            outbox: BTreeMap::new(),
            next_request: 1,
            life: 0,
            ranges_left: 0,
            failing: false,
            stalling: false,
            quota: 0,
            all: Entries::new(),
            pauser: Pauser::new(chance_of_pauser),
            findings: Vec::new(),
            answered_count: 0,
            refused_count: 0,
            range_count: 0,
            out_of_range_count: 0,
        }
    }

    /// The cluster lives again: whatever was under way has an unknown outcome, and some of it is sent again.
    pub fn begin_life(&mut self, life: u32, swarm: &Swarm) {
        self.life = life;
        self.ranges_left = RANGE_COUNT_MAX;
        (self.failing, self.stalling) = (swarm.may_fail(), swarm.stall_ppm > 0);
        // Each life has its share of the work, so that none crashes with nothing to lose.
        self.quota = self.texts.len() * (life as usize + 1) / (swarm.crash_count as usize + 1);
        self.outbox.clear();
        self.again.extend(self.later.drain(..));
        self.resumed = false;
        self.pauser.begin_life();
        self.space_at = if swarm.room.is_none() && swarm.blows.is_empty() { Some(Nanos(0)) } else { None };
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if let Waiting::Append { append, .. } = waiting
                && self.chance.percent(swarm.resend_percent)
            {
                self.again.push_back(append);
            }
        }
    }

    /// Whether every line was sent and every request answered.
    pub fn is_done(&self) -> bool {
        self.sent.len() >= self.quota
            && self.again.is_empty()
            && self.later.is_empty()
            && self.waiting.is_empty()
            && self.outbox.is_empty()
            && self.pauser.is_done()
    }

    /// Takes answers and sends more. Whether anything happened.
    pub fn step(&mut self, wire: &mut SimWire, swarm: &Swarm, now: Nanos) -> bool {
        self.now = now;
        if self.takes_again() && !self.later.is_empty() {
            self.resumed = true;
            self.again.extend(self.later.drain(..));
        }
        let mut worked = self.receive(wire);
        while self.waiting.len() < swarm.window && self.outbox.is_empty() && self.send_some(swarm) {
            worked = true;
        }
        if self.chance.percent(5)
            && self.waiting.len() < swarm.window + READ_COUNT_MAX
            && !self.sent.is_empty()
            && !self.is_done()
        {
            self.read_a_word(swarm);
        }
        if self.ranges_left > 0
            && self.chance.percent(swarm.range_percent)
            && self.waiting.len() < swarm.window + READ_COUNT_MAX
            && !self.is_done()
        {
            self.read_a_range(swarm);
        }
        worked |= swarm.exact && self.hold_the_brake(swarm);
        self.flush(wire) || worked
    }

    /// Pauses the microbatch topology now and then.
    fn hold_the_brake(&mut self, swarm: &Swarm) -> bool {
        let may_pause = !self.is_done() && !self.sent.is_empty();
        let (ask, is_busy) = self.pauser.step(may_pause);
        if let Some(ask) = ask {
            let (task, request, mut batch) = (TaskId(0), self.request(), LetterBatch { bytes: Vec::new(), count: 1 });
            Letter::AskMicrobatch { task, request, topology: 0, ask }.encode(&mut batch.bytes);
            self.outbox.entry(task.0 % swarm.threads).or_default().push_back(batch);
            self.waiting.insert(request, Waiting::Pauser);
        }
        is_busy
    }

    /// How often the topology was seen to stand still, and how often in a later life than the one it was paused in.
    pub fn held(&self) -> [u64; 2] {
        self.pauser.held
    }

    /// There is space again: appends must be taken before long.
    pub fn space_returned(&mut self, now: Nanos) {
        self.space_at = Some(now.plus_ms(RESUME_MS_MAX));
    }

    /// When appends must be taken again that a full disk refused.
    pub fn retry_at(&self) -> Option<Nanos> {
        self.space_at.filter(|_| !self.later.is_empty())
    }

    /// Whether appends that a full disk refused were sent again and taken, since the last call.
    pub fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    fn takes_again(&self) -> bool {
        self.space_at.is_some_and(|at| at <= self.now)
    }

    /// Takes answers only.
    pub fn receive(&mut self, wire: &mut SimWire) -> bool {
        each_letter(wire, |letter| match letter {
            Ok(letter) => self.take(&letter),
            Err(why) => self.findings.push(why),
        })
    }

    fn take(&mut self, letter: &Letter<'_>) {
        match *letter {
            Letter::Appended { request, offset } => match self.waiting.remove(&request) {
                Some(Waiting::Append { append, task, ack, sent_ms }) => {
                    self.history.timed(task.0, offset.0, sent_ms, self.clock.wall_ms());
                    self.appended(append, task, ack, offset.0);
                }
                Some(other) => self.findings.push(format!("an append's answer came for {other:?}")),
                None => self.findings.push(format!("request {request} was answered twice, or never made")),
            },
            Letter::Rows { request, more, count, rows } => match self.waiting.get(&request).cloned() {
                Some(Waiting::Append { .. } | Waiting::Range { .. } | Waiting::Pauser) | None => {
                    self.findings.push(format!("rows came for request {request}"));
                }
                Some(waiting) => {
                    if !more {
                        self.waiting.remove(&request);
                        self.answered_count += 1;
                    }
                    self.take_rows(&waiting, count, rows);
                }
            },
            Letter::Records { request, next, count, records } => match self.waiting.remove(&request) {
                Some(Waiting::Range { task, range: Some(range), .. }) => {
                    self.take_page(task, range, next.0, count, records);
                }
                other => self.findings.push(format!("a page came for {other:?}")),
            },
            Letter::Offsets { request, start, end } => match self.waiting.remove(&request) {
                Some(Waiting::Range { task, range, known }) => {
                    self.take_ends(task, range, known, (start.0, end.0));
                }
                other => self.findings.push(format!("offsets came for {other:?}")),
            },
            Letter::MicrobatchStatus { request, finished, paused, .. } => match self.waiting.remove(&request) {
                Some(Waiting::Pauser) => self.findings.extend(self.pauser.answered(finished, paused)),
                other => self.findings.push(format!("the state of a topology came for {other:?}")),
            },
            Letter::Refused { request, refusal, text } => {
                self.refused_count += 1;
                if matches!(self.waiting.get(&request), Some(Waiting::Pauser)) {
                    self.pauser.refused();
                }
                match self.waiting.remove(&request) {
                    Some(Waiting::Append { .. }) if refusal == Refusal::StorageFull && self.takes_again() => {
                        self.findings.push(format!("there was space for {RESUME_MS_MAX} ms, and yet: {text}"));
                    }
                    Some(Waiting::Append { append, .. }) if refusal == Refusal::StorageFull => self.later.push(append),
                    // Its outcome is unknown: it may be in the depot.
                    Some(Waiting::Append { append, .. }) => self.again.push_back(append),
                    // A read of a failing disk may say so, and a query whose code throws.
                    Some(_) if self.failing || text.contains(user::THROWN) => {}
                    // Threads that stall may keep a query from ending in time.
                    Some(_) if self.stalling && text.contains("took longer than") => {}
                    Some(read) => self.findings.push(format!("{read:?} was refused: {text}")),
                    None => self.findings.push(format!("request {request} was refused after its answer")),
                }
            }
            ref other => self.findings.push(format!("a client got {other:?}")),
        }
    }

    fn appended(&mut self, append: AppendId, task: TaskId, ack: AckLevel, offset: u64) {
        self.answered_count += 1;
        self.history.acked(append, task.0, offset);
        self.sent[append.0].settled = true;
        if ack == AckLevel::Ack {
            self.lines.ack(LineId(append.0));
            for word in words(&self.texts[append.0]) {
                *self.demanded.entry(word.to_string()).or_default() += 1;
            }
        }
    }

    fn take_page(&mut self, task: TaskId, range: ReadRange, next: u64, count: u32, records: &[u8]) {
        self.range_count += 1;
        let ReadRange { from, to, count_max, .. } = range;
        if next != from.0 + u64::from(count) || next > to.0 || count > count_max || (count == 0 && from < to) {
            self.findings.push(format!("a page of {count} records up to {next} came for {range:?}"));
            return;
        }
        let mut reader = Reader::new(records);
        for offset in from.0..next {
            let record = match reader.skip() {
                Ok(record) => record,
                Err(error) => {
                    self.findings.push(format!("{task} offset {offset} is no record: {error}"));
                    return;
                }
            };
            let lie = self.history.read(task.0, offset, record);
            self.findings.extend(lie.map(|lie| format!("a read lies: {lie}")));
        }
    }

    fn take_ends(&mut self, task: TaskId, range: Option<ReadRange>, known: (u64, u64), said: (u64, u64)) {
        let lie = self.history.said(task.0, said, known);
        self.findings.extend(lie.map(|lie| format!("a partition lies: {lie}")));
        if let Some(range) = range {
            self.out_of_range_count += 1;
            if said.0 <= range.from.0 && range.to.0 <= said.1 {
                self.findings.push(format!("{task} has {said:?}, and yet {range:?} was not read"));
            }
        }
    }

    /// Reads some records of a partition, near its ends as it knows them; or asks for its ends.
    fn read_a_range(&mut self, swarm: &Swarm) {
        self.ranges_left -= 1;
        let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
        let known = self.history.ends(task.0);
        let request = self.request();
        let range = self.chance.percent(80).then(|| {
            let from = self.chance.below(known.1 + 2);
            let most = *self.chance.pick(&[2, 8, 64]);
            let to = from + self.chance.below(most);
            let to = if self.chance.percent(80) { to.min(known.1.max(from)) } else { to };
            let (count_max, size_max) = (*self.chance.pick(&[1, 5, u32::MAX]), *self.chance.pick(&[1, 300, u32::MAX]));
            ReadRange { from: Offset(from), to: Offset(to), count_max, size_max }
        });
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        match range {
            Some(range) => Letter::ReadDepot { task, request, depot: 0, range }.encode(&mut batch.bytes),
            None => Letter::AskOffsets { task, request, depot: 0 }.encode(&mut batch.bytes),
        }
        self.outbox.entry(task.0 % swarm.threads).or_default().push_back(batch);
        self.waiting.insert(request, Waiting::Range { task, range, known });
    }

    fn take_rows(&mut self, waiting: &Waiting, count: u32, rows: &[u8]) {
        let mut reader = Reader::new(rows);
        for _ in 0..count {
            let read = match waiting {
                Waiting::Count { .. } => {
                    count_of().read_next(&mut reader).map(|found| found.unwrap_or_default()).map(|found| (None, found))
                }
                _ => path::<Map<String, i64>>().all().read_next(&mut reader).map(|(word, found)| (Some(word), found)),
            };
            match (read, waiting) {
                (Err(error), _) => self.findings.push(format!("a row is unreadable: {error}")),
                (Ok((Some(word), found)), _) => {
                    if self.all.insert(word.clone(), found).is_some() {
                        self.findings.push(format!("{word:?} is on two partitions, or twice on one"));
                    }
                }
                (Ok((None, found)), Waiting::Count { word, floor }) => {
                    self.counted(word, *floor, u64::try_from(found).unwrap_or_default())
                }
                (Ok(_), other) => self.findings.push(format!("a count came for {other:?}")),
            }
        }
    }

    fn counted(&mut self, word: &str, floor: u64, found: u64) {
        if found < floor {
            self.findings.push(format!("{word:?} was read as {found}; before the read began it was {floor} already"));
        }
        let seen = self.seen.entry(word.to_string()).or_default();
        *seen = (*seen).max(found);
    }

    /// Sends the next lines, or some again, in one batch to one thread. Whether there was anything to send.
    fn send_some(&mut self, swarm: &Swarm) -> bool {
        let mut batches: BTreeMap<u32, LetterBatch> = BTreeMap::new();
        let mut left = self.chance.within(1..BATCH_COUNT_MAX + 1);
        while left > 0 && self.waiting.len() < swarm.window {
            left -= 1;
            let Some(append) = self.next_append() else { break };
            let ack = if self.chance.percent(swarm.ack_percent) {
                AckLevel::Ack
            } else {
                *self.chance.pick(&[AckLevel::AppendAck, AckLevel::None])
            };
            let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
            let mut record = Vec::new();
            self.texts[append.0].encode(&mut record);
            let request = self.request();
            let batch = batches.entry(task.0 % swarm.threads).or_default();
            Letter::Append { task, request, depot: 0, ack, record: &record }.encode(&mut batch.bytes);
            batch.count += 1;
            self.sent[append.0].lives.push(self.life);
            if ack != AckLevel::None {
                self.waiting.insert(request, Waiting::Append { append, task, ack, sent_ms: self.clock.wall_ms() });
            }
        }
        let any = !batches.is_empty();
        for (thread, batch) in batches {
            self.outbox.entry(thread).or_default().push_back(batch);
        }
        any
    }

    fn next_append(&mut self) -> Option<AppendId> {
        if let Some(append) = self.again.pop_front() {
            self.history.sent_again(append);
            return Some(append);
        }
        let text = self.texts[..self.quota].get(self.sent.len())?;
        let mut record = Vec::new();
        text.encode(&mut record);
        self.lines.submit(text);
        self.sent.push(Sent { lives: Vec::new(), settled: false });
        Some(self.history.sent(&record))
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn read_a_word(&mut self, swarm: &Swarm) {
        let line = self.chance.below(self.sent.len() as u64) as usize;
        let of_line: Vec<&str> = words(&self.texts[line]).collect();
        let word = self.chance.pick(&of_line).to_string();
        let floor = self
            .seen
            .get(&word)
            .copied()
            .unwrap_or_default()
            .max(self.demanded.get(&word).copied().unwrap_or_default());
        let request = self.request();
        if self.chance.percent(50) {
            let task = TaskId(partition_of(&word, swarm.tasks));
            self.select(request, (task, COUNTS), path::<Map<String, i64>>().key(word.as_str()), swarm);
        } else {
            self.invoke(request, &word, swarm);
        }
        self.waiting.insert(request, Waiting::Count { word, floor });
    }

    /// Asks for a count by a query, which starts anywhere.
    fn invoke(&mut self, request: u64, word: &str, swarm: &Swarm) {
        let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
        let (mut arguments, mut batch) = (Vec::new(), LetterBatch { bytes: Vec::new(), count: 1 });
        word.encode(&mut arguments);
        Letter::Invoke { task, request, query: COUNT, arguments: &arguments }.encode(&mut batch.bytes);
        self.outbox.entry(task.0 % swarm.threads).or_default().push_back(batch);
    }

    /// Asks for every count of every partition; the answer is in [`Client::all`] when the client is done.
    pub fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm) {
        self.all.clear();
        for task in (0..swarm.tasks).map(TaskId) {
            let request = self.request();
            self.select(request, (task, pstate), path::<Map<String, i64>>().all(), swarm);
            self.waiting.insert(request, Waiting::All);
        }
    }

    /// Every count that was asked for.
    pub fn all(&self) -> &Entries {
        &self.all
    }

    fn select<T>(
        &mut self,
        request: u64,
        (task, pstate): (TaskId, u16),
        path: PathTo<Map<String, i64>, T>,
        swarm: &Swarm,
    ) {
        let mut bytes = Vec::new();
        if let Err(error) = path.path().encode(&mut bytes) {
            self.findings.push(format!("a path cannot be encoded: {error}"));
        }
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        Letter::Select { task, request, pstate, path: &bytes }.encode(&mut batch.bytes);
        self.outbox.entry(task.0 % swarm.threads).or_default().push_back(batch);
    }

    /// Hands batches to the rings, in order; those given back wait. Whether one left.
    fn flush(&mut self, wire: &mut SimWire) -> bool {
        let mut sent = false;
        for (thread, batches) in &mut self.outbox {
            while let Some(batch) = batches.pop_front() {
                if let Err(batch) = wire.send(Peer(*thread), Category::Client, batch) {
                    batches.push_front(batch);
                    break;
                }
                sent = true;
            }
        }
        self.outbox.retain(|_, batches| !batches.is_empty());
        if sent {
            wire.ring_bells();
        }
        sent
    }

    /// Whether it has batches that a ring gave back.
    pub fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// How many requests wait for an answer, and some of them.
    pub fn unanswered(&self) -> String {
        let some: Vec<&Waiting> = self.waiting.values().take(3).collect();
        format!("{} requests, as {some:?}", self.waiting.len())
    }

    /// Says how often each line can have been counted: each copy once in every life since it was sent, and once more for each
    /// failure, if no life was so long that a record timed out.
    pub fn limit_attempts(&mut self, life_ns_max: u64, timeout: Nanos, failure_count: u64) {
        if life_ns_max >= timeout.0 {
            return;
        }
        for (index, sent) in self.sent.iter().enumerate() {
            let attempts: u64 = sent.lives.iter().map(|life| u64::from(self.life - life) + 1 + failure_count).sum();
            self.lines.limit_attempts(LineId(index), attempts);
        }
    }

    /// Appends without a settled outcome.
    pub fn unsettled_count(&self) -> usize {
        self.sent.iter().filter(|sent| !sent.settled).count()
    }
}

fn count_of() -> PathTo<Map<String, i64>, Option<i64>> {
    path::<Map<String, i64>>().key("")
}

/// A line with a word of its own, so that its loss cannot hide behind another line.
fn line(index: usize, swarm: &Swarm, chance: &mut SimEntropy) -> String {
    let mut text = format!("line-{index}");
    for _ in 0..chance.below(8) {
        let space = *chance.pick(&[" ", "\t", "  ", "\x0b"]);
        text.push_str(space);
        text.push_str(&format!("w{}", chance.below(swarm.word_count)));
    }
    text
}
