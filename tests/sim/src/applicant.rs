//! The customer of a registry: producers that number their claims of names, send them again when they do not know what became of them,
//! and remember what they were told.

use crate::audit::read_depot;
use crate::customer::{Customer, Entries, Last, each_letter};
use crate::post::Post;
use crate::registry::{BAD, CLAIMS, CLERK, DEAD, FILED, OWNERS, STRIKES, TRIES, WORSE, claim_of};
use crate::swarm::Swarm;
use std::collections::{BTreeMap, BTreeSet};
use tantu_base::door::Nanos;
use tantu_base::fixed::FixedReader;
use tantu_base::id::{ProducerId, TaskId};
use tantu_base::value::{Encode, Reader, decoded};
use tantu_flow::DeadLetter;
use tantu_model::claim::Claims;
use tantu_model::depot::{AppendId, History, Look};
use tantu_model::letters::{self, Dead, Place, Processed};
use tantu_model::tick;
use tantu_net::letter::{AckLevel, ClientLetter, Letter, NumberFault, Refusal, StreamLetter};
use tantu_path::{Map, Navigate, path};
use tantu_weather::{SimClock, SimEntropy, SimWire};

/// A record became a dead letter.
pub const DEAD_LETTER: &str = "dead letter";
/// A numbered append was sent again.
pub const NUMBERED_AGAIN: &str = "numbered append sent again";
/// An append was answered with what its processing returned.
pub const RETURNED: &str = "returned value";
/// A clock struck.
pub const STRUCK: &str = "tick";
/// A producer began a new life.
pub const NEW_LIFE: &str = "new life of a producer";
/// Milliseconds after the return of space from which on no append may be refused for want of it.
const RESUME_MS_MAX: u64 = 10_000;
/// Periods of the clock that the last life is given, and strikes it has to show for them.
const LAST_PERIODS: u64 = 6;
const LAST_STRIKES: usize = 3;

/// The numbered claims of a producer for one partition.
#[derive(Debug, Default)]
struct Line {
    /// In the order of their numbers, those of earlier lives left out.
    claims: Vec<AppendId>,
    /// The next number to send. It goes back when one was not taken.
    next: usize,
    /// The first number whose outcome is not known.
    settled: usize,
    answered: BTreeSet<usize>,
    /// A full disk refused one: no more are sent until there is space.
    is_full: bool,
}

/// Somebody who numbers claims.
#[derive(Debug)]
struct Producer {
    id: ProducerId,
    epoch: u32,
    lines: BTreeMap<u32, Line>,
}

/// A request without an answer.
#[derive(Clone, Debug)]
enum Waiting {
    Append { producer: usize, partition: u32, sequence: usize, append: AppendId, ack: AckLevel },
    All,
}

/// See the module.
#[derive(Debug)]
pub struct Applicant {
    chance: SimEntropy,
    clock: SimClock,
    texts: Vec<String>,
    quota: usize,
    history: History,
    claims: Claims,
    /// How often each claim was sent.
    sent: Vec<u32>,
    /// Claims that are in the depot, wherever: their processing failed.
    appended: BTreeSet<AppendId>,
    /// Where a claim is, as the first answer said.
    places: BTreeMap<AppendId, (u32, u64)>,
    producers: Vec<Producer>,
    posts: Vec<Post>,
    waiting: BTreeMap<u64, Waiting>,
    next_request: u64,
    births: Vec<u64>,
    /// The last life goes on until then.
    stays_until: Nanos,
    failing: bool,
    now: Nanos,
    space_at: Option<Nanos>,
    resumed: bool,
    again_count: u64,
    new_life_count: u64,
    all: Entries,
    findings: Vec<String>,
}

impl Applicant {
    /// The producers, with all they will claim.
    pub fn new(swarm: &Swarm, clock: SimClock, mut chance: SimEntropy) -> Self {
        let names = swarm.word_count.max(2);
        let claim = |index: usize| {
            let end = *chance.pick(&["fine", "fine", "fine", "fine", "fine", "fine", "fine", "fine", BAD, WORSE]);
            format!("line-{index} n{} {end}", chance.below(names))
        };
        let texts: Vec<String> = (0..swarm.line_count / 2).map(claim).collect();
        let producer = |index| {
            let id = ProducerId::named(&format!("producer {index}"));
            Producer { id, epoch: 1, lines: BTreeMap::new() }
        };
        Self {
            chance,
            clock,
            texts,
            quota: 0,
            history: History::default(),
            claims: Claims::default(),
            sent: Vec::new(),
            appended: BTreeSet::new(),
            places: BTreeMap::new(),
            producers: (0..swarm.client_count).map(producer).collect(),
            posts: (0..swarm.client_count).map(|_| Post::default()).collect(),
            waiting: BTreeMap::new(),
            next_request: 0,
            births: Vec::new(),
            stays_until: Nanos(0),
            failing: false,
            now: Nanos(0),
            space_at: None,
            resumed: false,
            again_count: 0,
            new_life_count: 0,
            all: Entries::new(),
            findings: Vec::new(),
        }
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn takes_again(&self) -> bool {
        self.space_at.is_some_and(|at| at <= self.now)
    }

    fn receive(&mut self, client: usize, wire: &mut SimWire) -> bool {
        each_letter(wire, |letter| match letter {
            Ok(letter) => self.take(client, &letter),
            Err(why) => self.findings.push(why),
        })
    }

    fn take(&mut self, client: usize, letter: &Letter<'_>) {
        match *letter {
            Letter::Appended { request, offset } => self.take_answer(request, offset.0, None),
            Letter::Stream(StreamLetter::Appended { request, offset, returns }) => {
                self.take_answer(request, offset.0, Some(returns));
            }
            Letter::Client(ClientLetter::Misnumbered { request, fault, number }) => {
                self.take_fault(request, fault, number);
            }
            Letter::Rows { request, more, count, rows } => {
                if !more {
                    self.waiting.remove(&request);
                }
                let mut reader = Reader::new(rows);
                for _ in 0..count {
                    match path::<Map<String, i64>>().all().read_next(&mut reader) {
                        Ok((name, found)) if self.all.insert(name.clone(), found).is_some() => {
                            self.findings.push(format!("{name:?} is on two partitions, or twice on one"));
                        }
                        Ok(_) => {}
                        Err(error) => self.findings.push(format!("a row is unreadable: {error}")),
                    }
                }
            }
            Letter::Refused { request, refusal, text } => self.take_refusal(request, refusal, text),
            ref other => self.findings.push(format!("client {client} got {other:?}")),
        }
    }

    /// A claim is in the depot, and as safe as its producer wants.
    fn take_answer(&mut self, request: u64, offset: u64, returns: Option<&[u8]>) {
        let Some(Waiting::Append { producer, partition, sequence, append, ack }) = self.waiting.remove(&request) else {
            return self.findings.push(format!("an append's answer came for request {request}"));
        };
        let place = (partition, offset);
        if *self.places.entry(append).or_insert(place) != place {
            let before = self.places[&append];
            self.findings.push(format!("number {sequence} was appended at {before:?} and at {place:?}"));
        }
        self.history.acked(append, partition, offset);
        self.settle(producer, partition, sequence, append);
        match returns.map(answer_of) {
            Some(Some(is_own)) => self.claims.told(append.0 as i64, is_own),
            Some(None) => self.findings.push(format!("the answer to claim {} cannot be read", append.0)),
            // What is sent again is answered without what the first try returned.
            None if ack == AckLevel::Ack && self.sent[append.0] == 1 => {
                self.findings.push(format!("claim {} was processed and returned nothing", append.0));
            }
            None => {}
        }
    }

    fn settle(&mut self, producer: usize, partition: u32, sequence: usize, append: AppendId) {
        let Some(line) = self.producers[producer].lines.get_mut(&partition) else { return };
        // An answer to an earlier life of the producer is not about this line's numbers.
        if line.claims.get(sequence) != Some(&append) {
            return;
        }
        line.answered.insert(sequence);
        while line.answered.remove(&line.settled) {
            line.settled += 1;
        }
        line.next = line.next.max(line.settled);
    }

    /// A number was not taken: what is to be sent next is it, or the one before it that is missing.
    fn go_back(&mut self, producer: usize, partition: u32, sequence: usize, append: AppendId) {
        let Some(line) = self.producers[producer].lines.get_mut(&partition) else { return };
        if line.claims.get(sequence) == Some(&append) {
            line.next = line.next.min(sequence).max(line.settled);
        }
    }

    fn take_fault(&mut self, request: u64, fault: NumberFault, number: u64) {
        let Some(Waiting::Append { producer, partition, sequence, append, .. }) = self.waiting.remove(&request) else {
            return self.findings.push(format!("a fault of numbers came for request {request}"));
        };
        match fault {
            NumberFault::OutOfSequence if number < sequence as u64 => {
                self.go_back(producer, partition, sequence, append);
            }
            // It is there, and its offset is forgotten since.
            NumberFault::TooOld if self.sent[append.0] > 1 => {
                self.appended.insert(append);
                self.settle(producer, partition, sequence, append);
            }
            _ => self.findings.push(format!("claim {} with number {sequence}: {fault:?} {number}", append.0)),
        }
    }

    fn take_refusal(&mut self, request: u64, refusal: Refusal, text: &str) {
        match self.waiting.remove(&request) {
            Some(Waiting::Append { producer, partition, sequence, append, .. }) => match refusal {
                Refusal::StorageFull => {
                    if self.takes_again() {
                        self.findings.push(format!("there was space for {RESUME_MS_MAX} ms, and yet: {text}"));
                    }
                    self.go_back(producer, partition, sequence, append);
                    if let Some(line) = self.producers[producer].lines.get_mut(&partition) {
                        line.is_full = true;
                    }
                }
                Refusal::ProcessingFailed => {
                    self.appended.insert(append);
                    self.settle(producer, partition, sequence, append);
                }
                // Its outcome is unknown: it is sent again.
                _ => self.go_back(producer, partition, sequence, append),
            },
            Some(Waiting::All) if self.failing => {}
            Some(Waiting::All) => self.findings.push(format!("a read was refused: {text}")),
            None => self.findings.push(format!("request {request} was refused after its answer")),
        }
    }

    /// A producer numbers its next claim; false if there is none left.
    fn claim(&mut self, producer: usize, swarm: &Swarm) -> bool {
        let index = self.sent.len();
        if index >= self.quota {
            return false;
        }
        let mut record = Vec::new();
        self.texts[index].encode(&mut record);
        let append = self.history.sent(&record);
        let (number, name, _) = claim_of(&self.texts[index]);
        self.claims.claim(number, &name);
        self.sent.push(0);
        let partition = self.chance.below(u64::from(swarm.tasks)) as u32;
        self.producers[producer].lines.entry(partition).or_default().claims.push(append);
        true
    }

    /// A producer sends the next of a line whose turn it is; false if none has one.
    fn send(&mut self, client: usize, swarm: &Swarm) -> bool {
        let Producer { id, epoch, lines } = &mut self.producers[client];
        let (producer, epoch) = (*id, *epoch);
        let ready: Vec<u32> = lines
            .iter()
            .filter(|(_, line)| !line.is_full && line.next < line.claims.len())
            .map(|(partition, _)| *partition)
            .collect();
        if ready.is_empty() {
            return false;
        }
        let partition = *self.chance.pick(&ready);
        let Some(line) = lines.get_mut(&partition) else { return false };
        let (sequence, append) = (line.next, line.claims[line.next]);
        line.next += 1;
        // Sent again under its number it is not appended again: the history knows of one try.
        self.again_count += u64::from(self.sent[append.0] > 0);
        self.sent[append.0] += 1;
        let ack = if self.chance.percent(swarm.ack_percent) { AckLevel::Ack } else { AckLevel::AppendAck };
        let request = self.request();
        let (task, mut record) = (TaskId(partition), Vec::new());
        self.texts[append.0].encode(&mut record);
        let letter = ClientLetter::AppendNumbered {
            task,
            request,
            depot: CLAIMS,
            ack,
            producer,
            epoch,
            sequence: sequence as u64,
            record: &record,
        };
        self.posts[client].push(task, &Letter::Client(letter), swarm);
        self.waiting.insert(request, Waiting::Append { producer: client, partition, sequence, append, ack });
        true
    }

    /// Whether somebody only waits for chance to send something.
    fn could_send(&self) -> bool {
        let of_line = |line: &Line| !line.is_full && line.next < line.claims.len();
        let has_some = |producer: &Producer| self.sent.len() < self.quota || producer.lines.values().any(of_line);
        self.producers.iter().zip(&self.posts).any(|(producer, post)| post.is_empty() && has_some(producer))
    }

    fn is_settled(&self) -> bool {
        let of_line = |line: &Line| line.settled == line.claims.len();
        self.sent.len() >= self.quota && self.producers.iter().all(|producer| producer.lines.values().all(of_line))
    }

    fn look(depot: usize, last: &mut Last<'_>) -> Result<Look, String> {
        read_depot(last.disk, last.swarm, depot, &[], last.chance)
            .map(|(look, _)| look)
            .map_err(|why| format!("depot {depot} cannot be read: {why}"))
    }

    /// What became of each claim that is there.
    fn judge_letters(&self, claims: &Look, filed: &Entries, last: &mut Last<'_>) -> Result<(), String> {
        let places =
            || claims.iter().flat_map(|(task, seen)| seen.records.iter().map(move |it| ((*task, it.0), &it.1)));
        let records: BTreeMap<Place, &Vec<u8>> = places().collect();
        let mut processed = BTreeMap::new();
        for (place, record) in &records {
            let text: String = decoded(record).map_err(|error| format!("a claim cannot be read: {error}"))?;
            let is_poison = text.ends_with(BAD) || text.ends_with(WORSE);
            processed.insert(*place, Processed { is_poison, has_effect: filed.contains_key(&text) });
        }
        let mut dead = Vec::new();
        for (task, seen) in &Self::look(DEAD, last)? {
            for (_, record) in &seen.records {
                let letter: DeadLetter = decoded(record).map_err(|error| format!("a dead letter: {error}"))?;
                let place = (letter.partition, letter.offset);
                let is_same = records.get(&place).is_some_and(|record| **record == letter.bytes)
                    && (letter.depot.as_str(), letter.topology.as_str()) == ("*claims", CLERK);
                dead.push(Dead { place, found_in: *task, tries: u64::from(letter.tries), is_same });
            }
        }
        last.world.marks.hit_many(DEAD_LETTER, dead.len() as u64);
        match letters::judge(&processed, &dead, u64::from(TRIES), last.thrown_count).first() {
            Some(lie) => Err(format!("the dead letters lie: {lie}")),
            None => Ok(()),
        }
    }

    fn judge_strikes(&self, last: &mut Last<'_>) -> Result<(), String> {
        let strikes = Self::look(STRIKES, last)?;
        if strikes.iter().any(|(task, seen)| *task != 0 && !seen.records.is_empty()) {
            return Err("a clock struck on another task than 0".to_string());
        }
        let records = strikes.values().flat_map(|seen| &seen.records);
        let times: Vec<u64> = records.filter_map(|(_, at)| decoded::<i64>(at).ok()).map(i64::unsigned_abs).collect();
        last.world.marks.hit_many(STRUCK, times.len() as u64);
        match tick::judge(&times, &self.births, last.swarm.period_ns, LAST_STRIKES).first() {
            Some(lie) => Err(format!("the clock lies: {lie}")),
            None => Ok(()),
        }
    }
}

/// What the clerk returned: whether the name is the claimant's.
fn answer_of(returns: &[u8]) -> Option<bool> {
    let mut reader = FixedReader::new(returns);
    let (topology, value) = (reader.sized().ok()?, reader.sized().ok()?);
    if topology != CLERK.as_bytes() || !reader.is_empty() {
        return None;
    }
    decoded(value).ok()
}

impl Customer for Applicant {
    fn client_count(&self) -> usize {
        self.posts.len()
    }

    fn begin_life(&mut self, life: u32, swarm: &Swarm) {
        self.failing = swarm.may_fail();
        self.resumed = false;
        self.space_at = if swarm.room.is_none() && swarm.blows.is_empty() { Some(Nanos(0)) } else { None };
        self.posts.iter_mut().for_each(Post::clear);
        self.waiting.clear();
        self.quota = self.texts.len() * (life as usize + 1) / (swarm.crash_count as usize + 1);
        self.births.push(self.clock.time().0);
        if life == swarm.crash_count {
            self.stays_until = Nanos(self.clock.time().0 + LAST_PERIODS * swarm.period_ns);
        }
        for producer in &mut self.producers {
            if self.chance.percent(20) {
                // What has no answer by now may be there, or not, and is never sent again.
                self.new_life_count += 1;
                producer.epoch += 1;
                producer.lines.clear();
            }
            for line in producer.lines.values_mut() {
                (line.next, line.is_full) = (line.settled, false);
                line.answered.clear();
            }
        }
    }

    fn step(&mut self, wires: &mut [SimWire], swarm: &Swarm, now: Nanos) -> bool {
        self.now = now;
        if self.takes_again() {
            for line in self.producers.iter_mut().flat_map(|producer| producer.lines.values_mut()) {
                self.resumed |= std::mem::take(&mut line.is_full);
            }
        }
        let mut worked = false;
        for (client, wire) in wires.iter_mut().enumerate() {
            worked |= self.receive(client, wire);
            if !self.posts[client].is_empty() {
                continue;
            }
            while self.waiting.len() < swarm.window && self.chance.percent(60) {
                if self.chance.percent(50) {
                    self.claim(client, swarm);
                }
                if !self.send(client, swarm) {
                    break;
                }
                worked = true;
            }
        }
        for (post, wire) in self.posts.iter_mut().zip(wires) {
            worked |= post.flush(wire);
        }
        worked || (self.waiting.len() < swarm.window && self.could_send())
    }

    fn finding(&self) -> Option<&String> {
        self.findings.first()
    }

    fn is_done(&self) -> bool {
        self.is_settled() && self.waiting.is_empty() && !self.has_unsent() && self.stays_until <= self.clock.time()
    }

    fn has_unsent(&self) -> bool {
        self.posts.iter().any(|post| !post.is_empty())
    }

    fn unanswered(&self) -> String {
        let some: Vec<&Waiting> = self.waiting.values().take(3).collect();
        format!("{} requests, as {some:?}", self.waiting.len())
    }

    fn space_returned(&mut self, now: Nanos) {
        self.space_at = Some(now.plus_ms(RESUME_MS_MAX));
    }

    fn retry_at(&self) -> Option<Nanos> {
        let mut lines = self.producers.iter().flat_map(|producer| producer.lines.values());
        let space_at = self.space_at.filter(|_| lines.any(|line| line.is_full));
        space_at.into_iter().chain([self.stays_until]).filter(|at| *at > self.now).min()
    }

    fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    fn acked_count(&self) -> usize {
        self.history.acked_count()
    }

    fn pstates(&self, _: &Swarm) -> Vec<u16> {
        vec![OWNERS, FILED]
    }

    fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm) {
        self.all.clear();
        let mut bytes = Vec::new();
        if let Err(error) = path::<Map<String, i64>>().all().path().encode(&mut bytes) {
            self.findings.push(format!("a path cannot be encoded: {error}"));
        }
        for task in (0..swarm.tasks).map(TaskId) {
            let request = self.request();
            self.posts[0].push(task, &Letter::Select { task, request, pstate, path: &bytes }, swarm);
            self.waiting.insert(request, Waiting::All);
        }
    }

    fn all(&self) -> &Entries {
        &self.all
    }

    fn judge(&mut self, last: &mut Last<'_>) -> Result<(), String> {
        let [owners, filed] = last.entries else { return Err("two PStates were to be read".to_string()) };
        let claims = Self::look(usize::from(CLAIMS), last)?;
        if let Some(lie) = self.history.judge(&claims).first() {
            return Err(format!("the depot lies: {lie}"));
        }
        let there: BTreeSet<&[u8]> =
            claims.values().flat_map(|seen| &seen.records).map(|(_, record)| record.as_slice()).collect();
        for append in &self.appended {
            let mut record = Vec::new();
            self.texts[append.0].encode(&mut record);
            if !there.contains(record.as_slice()) {
                return Err(format!("claim {} failed, and is not in the depot", append.0));
            }
        }
        self.judge_letters(&claims, filed, last)?;
        if let Some(lie) = self.claims.judge(owners).first() {
            return Err(format!("the registry lies: {lie}"));
        }
        self.judge_strikes(last)?;
        let counts = [(NUMBERED_AGAIN, self.again_count), (NEW_LIFE, self.new_life_count)];
        counts.iter().for_each(|(mark, count)| last.world.marks.hit_many(mark, *count));
        last.world.marks.hit_many(RETURNED, self.claims.told_count() as u64);
        Ok(())
    }
}
