//! The customer of errands: several clients that send parcels and notes, some of which take no answers for a while and then leave.

use crate::audit::read_depot;
use crate::customer::{Customer, Entries, Last, each_letter};
use crate::errand::{DONE, EXACT, NOTES, PARCELS, choice};
use crate::post::Post;
use crate::sheet::Sheet;
use crate::swarm::Swarm;
use crate::user;
use std::collections::BTreeMap;
use tantu_base::door::Nanos;
use tantu_base::id::TaskId;
use tantu_base::value::{Encode, Reader, decoded};
use tantu_model::delivery::{Line, Promise};
use tantu_model::depot::{AppendId, Look};
use tantu_net::letter::{AckLevel, Letter, Refusal};
use tantu_path::{Map, Navigate, path};
use tantu_weather::{Marks, SimEntropy, SimWire};

/// A client left, and came anew.
pub const LEFT: &str = "client that left";
/// A client left to whom a ring was full.
pub const LEFT_FULL: &str = "client that left a full ring";
/// A parcel was done everywhere.
pub const DELIVERED: &str = "parcel everywhere";
/// A parcel was processed by a second source of a topology.
pub const FURTHER: &str = "parcel of a second source";
/// A note was dropped.
pub const DROPPED: &str = "dropped note";
/// An append was told that its note failed.
pub const FAILED: &str = "failed note";
/// Milliseconds after the return of space from which on no append may be refused for want of it.
const RESUME_MS_MAX: u64 = 10_000;
/// Virtual time a record may take before it is tried again.
const RECORD_TIMEOUT: Nanos = Nanos(60_000_000_000);
/// Parcels, and notes: each of them goes to many tasks.
const LINE_COUNT_MAX: usize = 40;
/// Clients that leave in one life, at most, and how long they take no answers before they do.
const LEAVE_COUNT_MAX: u32 = 4;
const LAZY_NS_MAX: u64 = 50_000_000;

/// A request without an answer.
#[derive(Clone, Debug)]
enum Waiting {
    Append {
        client: usize,
        depot: u16,
        append: AppendId,
        task: TaskId,
        ack: AckLevel,
    },
    /// Every entry of a partition.
    All,
}

/// See the module.
#[derive(Debug)]
pub struct Sender {
    chance: SimEntropy,
    /// Parcels and notes.
    sheets: [Sheet; 2],
    /// The lives in which each parcel was sent.
    lives: Vec<Vec<u32>>,
    /// How many copies of each note are done for certain.
    told: Vec<u64>,
    life: u32,
    is_last: bool,
    posts: Vec<Post>,
    /// Until when a client takes no answers; it leaves then.
    lazy_until: Vec<Option<Nanos>>,
    leaves_left: u32,
    waiting: BTreeMap<u64, Waiting>,
    next_request: u64,
    failing: bool,
    now: Nanos,
    space_at: Option<Nanos>,
    resumed: bool,
    left: [u64; 2],
    failed_count: u64,
    all: Entries,
    findings: Vec<String>,
}

impl Sender {
    /// The clients, with all they will send.
    pub fn new(swarm: &Swarm, chance: SimEntropy) -> Self {
        let count = (swarm.line_count / 4).min(LINE_COUNT_MAX);
        let texts = |what: &str| Sheet::new((0..count).map(|index| format!("{what}-{index}")).collect());
        Self {
            chance,
            sheets: [texts("parcel"), texts("note")],
            lives: vec![Vec::new(); count],
            told: vec![0; count],
            life: 0,
            is_last: false,
            posts: (0..swarm.client_count).map(|_| Post::default()).collect(),
            lazy_until: vec![None; swarm.client_count],
            leaves_left: 0,
            waiting: BTreeMap::new(),
            next_request: 0,
            failing: false,
            now: Nanos(0),
            space_at: None,
            resumed: false,
            left: [0; 2],
            failed_count: 0,
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

    fn receive(&mut self, wire: &mut SimWire) -> bool {
        each_letter(wire, |letter| match letter {
            Ok(letter) => self.take(&letter),
            Err(why) => self.findings.push(why),
        })
    }

    fn take(&mut self, letter: &Letter<'_>) {
        match *letter {
            Letter::Appended { request, offset } => match self.waiting.remove(&request) {
                Some(Waiting::Append { depot, append, task, ack, .. }) => {
                    self.sheets[usize::from(depot)].history.acked(append, task.0, offset.0);
                    // In the last life nothing keeps a note that is there from being done.
                    if depot == NOTES && (ack == AckLevel::Ack || self.is_last) {
                        self.told[append.0] += 1;
                    }
                }
                other => self.findings.push(format!("an append's answer came for {other:?}")),
            },
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
            ref other => self.findings.push(format!("a client got {other:?}")),
        }
    }

    fn take_refusal(&mut self, request: u64, refusal: Refusal, text: &str) {
        match self.waiting.remove(&request) {
            Some(Waiting::Append { depot, append, .. }) => match refusal {
                Refusal::StorageFull => {
                    if self.takes_again() {
                        self.findings.push(format!("there was space for {RESUME_MS_MAX} ms, and yet: {text}"));
                    }
                    self.sheets[usize::from(depot)].later.push(append);
                }
                Refusal::ProcessingFailed if depot == PARCELS => {
                    self.findings.push(format!("parcel {} was given up: {text}", append.0));
                }
                // It is there, and dropped.
                Refusal::ProcessingFailed => self.failed_count += 1,
                // Any other outcome is unknown: it may be in the depot.
                _ => self.sheets[usize::from(depot)].again.push_back(append),
            },
            Some(Waiting::All) if self.failing => {}
            Some(Waiting::All) => self.findings.push(format!("a read was refused: {text}")),
            None => self.findings.push(format!("request {request} was refused after its answer")),
        }
    }

    /// One client sends a line; false if there is none to send.
    fn append(&mut self, client: usize, swarm: &Swarm) -> bool {
        let first = self.chance.below(2) as u16;
        let next = |depot: u16| self.sheets[usize::from(depot)].next().map(|append| (depot, append));
        let Some((depot, append)) = [first, 1 - first].into_iter().find_map(next) else { return false };
        let ack = if self.chance.percent(swarm.ack_percent) {
            AckLevel::Ack
        } else {
            *self.chance.pick(&[AckLevel::AppendAck, AckLevel::None])
        };
        let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
        let (request, mut record) = (self.request(), Vec::new());
        self.sheets[usize::from(depot)].texts[append.0].encode(&mut record);
        if depot == PARCELS {
            self.lives[append.0].push(self.life);
        }
        self.posts[client].push(task, &Letter::Append { task, request, depot, ack, record: &record }, swarm);
        if ack != AckLevel::None {
            self.waiting.insert(request, Waiting::Append { client, depot, append, task, ack });
        }
        true
    }

    /// What a client asked for has no answer any more.
    fn forget(&mut self, client: Option<usize>, swarm: &Swarm) {
        let is_lost = |waiting: &Waiting| match waiting {
            Waiting::Append { client: own, .. } => client.is_none_or(|client| client == *own),
            Waiting::All => client.is_none(),
        };
        for (_, waiting) in self.waiting.extract_if(.., |_, waiting| is_lost(waiting)) {
            if let Waiting::Append { depot, append, .. } = waiting
                && self.chance.percent(swarm.resend_percent)
            {
                self.sheets[usize::from(depot)].again.push_back(append);
            }
        }
    }

    /// A client that takes no answers leaves when its time has come; one that does stops now and then. Whether it takes some now.
    fn takes_answers(&mut self, client: usize, wire: &mut SimWire, swarm: &Swarm) -> bool {
        match self.lazy_until[client] {
            Some(until) if until > self.now => false,
            Some(_) => {
                self.left[0] += 1;
                self.left[1] += u64::from(wire.is_full());
                self.lazy_until[client] = None;
                wire.come_anew();
                self.posts[client].clear();
                self.forget(Some(client), swarm);
                true
            }
            None if self.leaves_left > 0 && !self.is_done() && self.chance.chance_ppm(swarm.leave_ppm) => {
                self.leaves_left -= 1;
                self.lazy_until[client] = Some(Nanos(self.now.0 + self.chance.below(LAZY_NS_MAX)));
                false
            }
            None => true,
        }
    }

    fn judge_depot(&self, depot: u16, last: &mut Last<'_>) -> Result<Look, String> {
        let (look, _) = read_depot(last.disk, last.swarm, usize::from(depot), &[], last.chance)
            .map_err(|why| format!("depot {depot} cannot be read: {why}"))?;
        match self.sheets[usize::from(depot)].history.judge(&look).first() {
            Some(lie) => Err(format!("depot {depot} lies: {lie}")),
            None => Ok(look),
        }
    }

    /// What is known of each line of a depot, wherever it is; or of those of one partition only.
    fn lines(&self, depot: u16, look: &Look, partition: Option<u32>, last: &Last<'_>) -> BTreeMap<String, Line> {
        let of_line = |(index, text): (usize, &String)| {
            let mut line = Line::default();
            match depot {
                NOTES => line.told = self.told[index],
                _ if last.life_ns_max >= RECORD_TIMEOUT.0 => {}
                // Each copy once in every life since it was sent, and once more for each failure.
                _ => {
                    let lives = self.lives[index].iter();
                    line.tries = Some(lives.map(|life| u64::from(self.life - life) + 1 + last.thrown_count).sum());
                }
            }
            (text.clone(), line)
        };
        let mut lines: BTreeMap<String, Line> =
            self.sheets[usize::from(depot)].texts.iter().enumerate().map(of_line).collect();
        let here = look.iter().filter(|(task, _)| partition.is_none_or(|partition| partition == **task));
        for (_, record) in here.flat_map(|(_, seen)| &seen.records) {
            let text = decoded::<String>(record).unwrap_or_default();
            lines.entry(text).or_default().copies += 1;
        }
        lines
    }

    fn judge_parcels(&self, look: &Look, found: [&Found; 2], last: &Last<'_>) -> Result<(), String> {
        let lines = self.lines(PARCELS, look, None, last);
        let nothing = BTreeMap::new();
        for (promise, found) in [Promise::AtLeastOnce, Promise::Once].into_iter().zip(found) {
            let of = |what: &str, task: u32| found.get(&(what.to_string(), task)).unwrap_or(&nothing);
            for task in 0..last.swarm.tasks {
                if let Some(lie) = promise.judge(&lines, of("all", task)).first() {
                    return Err(format!("task {task} of all: {lie} ({promise:?})"));
                }
                let is_chosen = |text: &String| choice(text, last.swarm.tasks) == i64::from(task);
                let chosen = lines.iter().filter(|(text, _)| last.swarm.further.1 && is_chosen(text));
                let chosen = chosen.map(|(text, line)| (text.clone(), *line)).collect();
                if let Some(lie) = promise.judge(&chosen, of("further", task)).first() {
                    return Err(format!("task {task}, which was chosen: {lie} ({promise:?})"));
                }
                last.world.marks.hit_many(FURTHER, of("further", task).len() as u64);
                last.world.marks.hit_many(DELIVERED, of("all", task).len() as u64);
            }
        }
        Ok(())
    }

    fn judge_notes(&self, look: &Look, found: [&Found; 2], last: &Last<'_>) -> Result<(), String> {
        let lines = self.lines(NOTES, look, None, last);
        for (promise, found) in [Promise::AtMostOnce, Promise::Once].into_iter().zip(found) {
            let (any, back) = (everywhere(found, "any"), everywhere(found, "back"));
            for found in [&any, &back] {
                if let Some(lie) = promise.judge(&lines, found).first() {
                    return Err(format!("a note: {lie} ({promise:?})"));
                }
            }
            if let Some((text, _)) = back.iter().find(|(text, back)| any.get(*text).is_none_or(|any| any < *back)) {
                return Err(format!("{text:?} came back from where it never was"));
            }
            for task in 0..last.swarm.tasks {
                let lines = self.lines(NOTES, look, Some(task), last);
                let lines = lines.into_iter().map(|(text, line)| (text, Line { told: 0, ..line })).collect();
                let found = found.get(&("back".to_string(), task)).cloned().unwrap_or_default();
                if let Some(lie) = promise.judge(&lines, &found).first() {
                    return Err(format!("a note that came back to {task}: {lie} ({promise:?})"));
                }
            }
            let copies: u64 = lines.values().map(|line| line.copies).sum();
            last.world.marks.hit_many(DROPPED, copies - any.values().sum::<u64>());
        }
        Ok(())
    }

    fn tell(&self, marks: &Marks) {
        let [left, full] = self.left;
        for (mark, count) in [(LEFT, left), (LEFT_FULL, full), (FAILED, self.failed_count)] {
            marks.hit_many(mark, count);
        }
    }
}

/// How often something was done for each line, by what it was and where.
type Found = BTreeMap<(String, u32), BTreeMap<String, u64>>;

/// Reads entries as `all parcel-7 3`: what was done for a line, and on which task.
fn found_in(entries: &Entries) -> Result<Found, String> {
    let mut found = Found::new();
    for (entry, count) in entries {
        let mut words = entry.split(' ');
        let (what, line) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let task = words.next().and_then(|task| task.parse().ok());
        let (Some(task), Ok(count)) = (task, u64::try_from(*count)) else {
            return Err(format!("the entry {entry:?} of {count} says nothing"));
        };
        found.entry((what.to_string(), task)).or_default().insert(line.to_string(), count);
    }
    Ok(found)
}

/// The same on all tasks together.
fn everywhere(found: &Found, what: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (line, count) in found.iter().filter(|((other, _), _)| other == what).flat_map(|(_, lines)| lines) {
        *all.entry(line.clone()).or_default() += count;
    }
    all
}

impl Customer for Sender {
    fn client_count(&self) -> usize {
        self.posts.len()
    }

    fn begin_life(&mut self, life: u32, swarm: &Swarm) {
        (self.life, self.is_last) = (life, life == swarm.crash_count);
        self.failing = swarm.may_fail();
        self.resumed = false;
        self.leaves_left = LEAVE_COUNT_MAX;
        self.space_at = if swarm.room.is_none() && swarm.blows.is_empty() { Some(Nanos(0)) } else { None };
        self.posts.iter_mut().for_each(Post::clear);
        self.lazy_until.fill(None);
        self.sheets.iter_mut().for_each(|sheet| sheet.begin_life(life, swarm.crash_count));
        self.forget(None, swarm);
        self.waiting.clear();
    }

    fn step(&mut self, wires: &mut [SimWire], swarm: &Swarm, now: Nanos) -> bool {
        self.now = now;
        if self.takes_again() && self.sheets.iter().any(|sheet| !sheet.later.is_empty()) {
            self.resumed = true;
            self.sheets.iter_mut().for_each(|sheet| sheet.again.extend(sheet.later.drain(..)));
        }
        let mut worked = false;
        for (client, wire) in wires.iter_mut().enumerate() {
            if self.takes_answers(client, wire, swarm) {
                worked |= self.receive(wire);
            }
            if !self.posts[client].is_empty() {
                continue;
            }
            while self.waiting.len() < swarm.window && self.chance.percent(60) && self.append(client, swarm) {
                worked = true;
            }
        }
        for (post, wire) in self.posts.iter_mut().zip(wires) {
            worked |= post.flush(wire);
        }
        let is_free = self.waiting.len() < swarm.window && self.posts.iter().any(Post::is_empty);
        worked || (is_free && self.sheets.iter().any(Sheet::could_send))
    }

    fn finding(&self) -> Option<&String> {
        self.findings.first()
    }

    fn is_done(&self) -> bool {
        let is_here = self.lazy_until.iter().all(Option::is_none);
        is_here && self.sheets.iter().all(Sheet::is_done) && self.waiting.is_empty() && !self.has_unsent()
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
        let space_at = self.space_at.filter(|_| self.sheets.iter().any(|sheet| !sheet.later.is_empty()));
        let times = self.lazy_until.iter().flatten().copied().chain(space_at);
        times.filter(|at| *at > self.now).min()
    }

    fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    fn acked_count(&self) -> usize {
        self.sheets.iter().map(|sheet| sheet.history.acked_count()).sum()
    }

    fn pstates(&self, _: &Swarm) -> Vec<u16> {
        vec![DONE, EXACT]
    }

    fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm) {
        self.all.clear();
        // Who asks for everything stays for the answers.
        self.leaves_left = 0;
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
        let [done, exact] = last.entries else { return Err("two PStates were to be read".to_string()) };
        let (parcels, notes) = (self.judge_depot(PARCELS, last)?, self.judge_depot(NOTES, last)?);
        let found = [found_in(done)?, found_in(exact)?];
        let found = [&found[0], &found[1]];
        self.judge_parcels(&parcels, found, last)?;
        self.judge_notes(&notes, found, last)?;
        self.tell(&last.world.marks);
        // In the last life nothing fails: what asked for a future had it once.
        let asked = [user::UserOp::Ask, user::UserOp::AskExact].map(user::runs);
        let promised = [user::UserOp::Promise, user::UserOp::PromiseExact].map(user::runs);
        if asked != promised {
            return Err(format!("futures were made {asked:?} times and ran {promised:?} times"));
        }
        Ok(())
    }
}
