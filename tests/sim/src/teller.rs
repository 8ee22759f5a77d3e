//! The customer of a bank: several clients that append transfers and writes to registers and read registers, all at once. What
//! each was told, and when, is judged in the end.

use crate::audit::read_depot;
use crate::bank::{FUNDS, REGISTER, REGISTERS, TOTAL, TRANSFERS, WRITES, transfer_of, write_of};
use crate::customer::{Customer, Entries, Last, each_letter};
use crate::post::Post;
use crate::sheet::Sheet;
use crate::sight::{SNAPSHOT_READ, Sights};
use crate::swarm::Swarm;
use crate::user::{self, UserOp};
use std::collections::BTreeMap;
use tantu_base::door::Nanos;
use tantu_base::id::TaskId;
use tantu_base::value::{Decode, Encode, Reader, decoded, partition_of};
use tantu_model::bank;
use tantu_model::depot::{AppendId, Look};
use tantu_model::register::{Act, Operation, judge_largest};
use tantu_net::letter::{AckLevel, ClientLetter, Letter, Refusal, SnapshotSays};
use tantu_path::{Map, Navigate, path};
use tantu_weather::{SimEntropy, SimWire};

/// A transfer was judged.
pub const TRANSFERRED: &str = "transfer";
/// A read of a register was judged.
pub const REGISTER_READ: &str = "read of a register";
/// A query told what all accounts have together.
pub const TOTALLED: &str = "total of a bank";
/// Milliseconds after the return of space from which on no append may be refused for want of it.
const RESUME_MS_MAX: u64 = 10_000;
/// Reads of registers in one life, at most, and under way.
const READ_COUNT_MAX: u32 = 150;
const READS_AT_A_TIME_MAX: usize = 6;
/// Of a hundred reads, those of all accounts at one microbatch.
const WHOLE_PERCENT: u32 = 15;

/// A request without an answer.
#[derive(Clone, Debug)]
enum Waiting {
    Append {
        depot: u16,
        append: AppendId,
        task: TaskId,
        ack: AckLevel,
        /// Of a write: where it is in the history of its register.
        operation: Option<(String, usize)>,
    },
    Read {
        register: String,
        begin: u64,
    },
    /// Every entry of a partition.
    All,
    /// What all accounts have together.
    Total,
    /// A snapshot; microbatches up to this one were finished when it was asked for.
    Snapshot {
        client: usize,
        known: u64,
    },
    /// A partition in a snapshot.
    Sight {
        client: usize,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Teller {
    chance: SimEntropy,
    /// Transfers and writes.
    sheets: [Sheet; 2],
    registers: BTreeMap<String, Vec<Operation>>,
    /// Counts what clients do: no two things happen at the same moment.
    moment: u64,
    task_count: u32,
    posts: Vec<Post>,
    waiting: BTreeMap<u64, Waiting>,
    next_request: u64,
    reads_left: u32,
    failing: bool,
    stalling: bool,
    now: Nanos,
    space_at: Option<Nanos>,
    resumed: bool,
    all: Entries,
    sights: Sights,
    /// What is to be asked of a snapshot that was taken: whose it is.
    to_read: Vec<usize>,
    total_count: u64,
    findings: Vec<String>,
}

impl Teller {
    /// The clients, with all they will send.
    pub fn new(swarm: &Swarm, mut chance: SimEntropy) -> Self {
        let mut name = |kind: char, below: u64| format!("{kind}{}", chance.below(below));
        let accounts = swarm.word_count.max(2);
        let transfers = (0..swarm.line_count / 2).map(|index| {
            let (from, to, amount) = (name('a', accounts), name('a', accounts), name(' ', 100));
            format!("line-{index} {from} {to}{amount}")
        });
        let transfers = transfers.collect();
        let writes = (0..swarm.line_count / 2).map(|index| format!("line-{index} {} {}", name('r', 3), index + 1));
        let writes = writes.collect();
        Self {
            chance,
            sheets: [Sheet::new(transfers), Sheet::new(writes)],
            registers: BTreeMap::new(),
            moment: 0,
            task_count: swarm.tasks,
            posts: (0..swarm.client_count).map(|_| Post::default()).collect(),
            waiting: BTreeMap::new(),
            next_request: 0,
            reads_left: 0,
            failing: false,
            stalling: false,
            now: Nanos(0),
            space_at: None,
            resumed: false,
            all: Entries::new(),
            sights: Sights::default(),
            to_read: Vec::new(),
            total_count: 0,
            findings: Vec::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
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
        let moment = self.tick();
        match *letter {
            Letter::Appended { request, offset } => match self.waiting.remove(&request) {
                Some(Waiting::Append { depot, append, task, ack, operation }) => {
                    self.sheets[usize::from(depot)].history.acked(append, task.0, offset.0);
                    if let Some((register, at)) = operation.filter(|_| ack == AckLevel::Ack)
                        && let Some(operations) = self.registers.get_mut(&register)
                    {
                        operations[at].end = Some(moment);
                    }
                }
                other => self.findings.push(format!("an append's answer came for {other:?}")),
            },
            Letter::Client(ClientLetter::Snapshot { request, says: SnapshotSays::Taken, number, id, .. }) => {
                match self.waiting.remove(&request) {
                    Some(Waiting::Snapshot { client, known }) => {
                        self.findings.extend(self.sights.taken(client, (number, id), known, self.task_count));
                        self.to_read.push(client);
                    }
                    other => self.findings.push(format!("a snapshot came for {other:?}")),
                }
            }
            Letter::Rows { request, more, count, rows } => match self.waiting.get(&request).cloned() {
                Some(Waiting::Append { .. } | Waiting::Snapshot { .. }) | None => {
                    self.findings.push(format!("rows came for request {request}"))
                }
                Some(waiting) => {
                    if !more {
                        self.waiting.remove(&request);
                    }
                    self.take_rows(&waiting, count, rows, moment);
                    if let (Waiting::Sight { client }, false) = (&waiting, more) {
                        self.findings.extend(self.sights.task_read(*client));
                    }
                }
            },
            Letter::Refused { request, refusal, text } => self.take_refusal(request, refusal, text),
            ref other => self.findings.push(format!("a client got {other:?}")),
        }
    }

    fn take_refusal(&mut self, request: u64, refusal: Refusal, text: &str) {
        match self.waiting.remove(&request) {
            Some(Waiting::Append { depot, append, .. }) => {
                let is_full = refusal == Refusal::StorageFull;
                if is_full && self.takes_again() {
                    self.findings.push(format!("there was space for {RESUME_MS_MAX} ms, and yet: {text}"));
                }
                let sheet = &mut self.sheets[usize::from(depot)];
                // Any other outcome is unknown: it may be in the depot.
                if is_full { sheet.later.push(append) } else { sheet.again.push_back(append) }
            }
            // A read of a failing disk may say so, and a query whose code throws.
            Some(_) if self.failing || text.contains(user::THROWN) => {}
            // A lease may end, and what a stalled thread has to keep may not be there in time.
            Some(Waiting::Snapshot { client, .. } | Waiting::Sight { client }) if refusal == Refusal::NotKept => {
                self.sights.spoil(client);
            }
            // Threads that stall may keep a query from ending in time.
            Some(_) if self.stalling && text.contains("took longer than") => {}
            Some(read) => self.findings.push(format!("{read:?} was refused: {text}")),
            None => self.findings.push(format!("request {request} was refused after its answer")),
        }
    }

    fn take_rows(&mut self, waiting: &Waiting, count: u32, rows: &[u8], moment: u64) {
        let mut reader = Reader::new(rows);
        for _ in 0..count {
            let found = match waiting {
                Waiting::Read { register, begin } => {
                    let path = path::<Map<String, i64>>().key("");
                    path.read_next(&mut reader).map(|found: Option<i64>| {
                        let act = Act::Read(found.unwrap_or_default());
                        let read = Operation { act, begin: *begin, end: Some(moment) };
                        self.registers.entry(register.clone()).or_default().push(read);
                    })
                }
                Waiting::Total => i64::decode(&mut reader).map(|total| {
                    self.total_count += 1;
                    if total != 0 {
                        self.findings.push(format!("a query at one microbatch: {}", bank::BankLie::Sum(total)));
                    }
                }),
                Waiting::Sight { client } => path::<Map<String, i64>>()
                    .all()
                    .read_next(&mut reader)
                    .map(|(name, found)| self.sights.account(*client, name, found)),
                _ => path::<Map<String, i64>>().all().read_next(&mut reader).map(|(name, found)| {
                    if self.all.insert(name.clone(), found).is_some() {
                        self.findings.push(format!("{name:?} is on two partitions, or twice on one"));
                    }
                }),
            };
            if let Err(error) = found {
                self.findings.push(format!("a row is unreadable: {error}"));
            }
        }
    }

    /// One client sends a line; false if there is none to send.
    fn append(&mut self, client: usize, swarm: &Swarm) -> bool {
        let first = self.chance.below(2) as u16;
        let Some((depot, append)) = [first, 1 - first]
            .into_iter()
            .find_map(|depot| self.sheets[usize::from(depot)].next().map(|append| (depot, append)))
        else {
            return false;
        };
        let ack = if self.chance.percent(swarm.ack_percent) {
            AckLevel::Ack
        } else {
            *self.chance.pick(&[AckLevel::AppendAck, AckLevel::None])
        };
        let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
        let (begin, request) = (self.tick(), self.request());
        let text = &self.sheets[usize::from(depot)].texts[append.0];
        let mut record = Vec::new();
        text.encode(&mut record);
        let mut operation = None;
        if depot == WRITES {
            let (register, value) = write_of(text);
            let operations = self.registers.entry(register.clone()).or_default();
            operation = Some((register, operations.len()));
            operations.push(Operation { act: Act::Write(value), begin, end: None });
        }
        self.posts[client].push(task, &Letter::Append { task, request, depot, ack, record: &record }, swarm);
        if ack != AckLevel::None {
            self.waiting.insert(request, Waiting::Append { depot, append, task, ack, operation });
        }
        true
    }

    /// One client reads a register, by a select or by a query.
    fn read(&mut self, client: usize, swarm: &Swarm) {
        self.reads_left -= 1;
        if self.chance.percent(WHOLE_PERCENT) {
            return self.read_whole(client, swarm);
        }
        let register = format!("r{}", self.chance.below(3));
        let (begin, request) = (self.tick(), self.request());
        if self.chance.percent(50) {
            let task = TaskId(partition_of(&register, swarm.tasks));
            self.select(client, request, (task, REGISTERS), path::<Map<String, i64>>().key(register.as_str()), swarm);
        } else {
            let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
            let mut arguments = Vec::new();
            register.encode(&mut arguments);
            self.posts[client].push(
                task,
                &Letter::Invoke { task, request, query: REGISTER, arguments: &arguments },
                swarm,
            );
        }
        self.waiting.insert(request, Waiting::Read { register, begin });
    }

    /// One client asks for a snapshot, or for what all accounts have together.
    fn read_whole(&mut self, client: usize, swarm: &Swarm) {
        let request = self.request();
        if self.chance.percent(50) || self.sights.has(client) || self.waits_for_snapshot(client) {
            let task = TaskId(self.chance.below(u64::from(swarm.tasks)) as u32);
            self.posts[client].push(task, &Letter::Invoke { task, request, query: TOTAL, arguments: &[] }, swarm);
            self.waiting.insert(request, Waiting::Total);
            return;
        }
        self.posts[client].push(TaskId(0), &Sights::take(request), swarm);
        self.waiting.insert(request, Waiting::Snapshot { client, known: self.sights.latest() });
    }

    fn waits_for_snapshot(&self, client: usize) -> bool {
        let is_own = |waiting: &Waiting| matches!(waiting, Waiting::Snapshot { client: own, .. } if *own == client);
        self.waiting.values().any(is_own)
    }

    /// Clients read the snapshots they were given, partition by partition, and give back those that were read.
    fn look_at_sights(&mut self, swarm: &Swarm) -> bool {
        let mut worked = false;
        for client in std::mem::take(&mut self.to_read) {
            let Some(snapshot) = self.sights.number(client) else { continue };
            let mut bytes = Vec::new();
            if let Err(error) = path::<Map<String, i64>>().all().path().encode(&mut bytes) {
                self.findings.push(format!("a path cannot be encoded: {error}"));
            }
            for task in (0..swarm.tasks).map(TaskId) {
                let request = self.request();
                let letter = ClientLetter::SelectAt { task, request, pstate: FUNDS, snapshot, path: &bytes };
                self.posts[client].push(task, &Letter::Client(letter), swarm);
                self.waiting.insert(request, Waiting::Sight { client });
            }
            worked = true;
        }
        for client in 0..self.posts.len() {
            let is_read = |waiting: &Waiting| !matches!(waiting, Waiting::Sight { client: own } if *own == client);
            if self.sights.has(client) && self.waiting.values().all(is_read) {
                let request = self.request();
                if let Some(letter) = self.sights.release(client, request) {
                    self.posts[client].push(TaskId(0), &letter, swarm);
                    worked = true;
                }
            }
        }
        worked
    }

    fn select<T>(
        &mut self,
        client: usize,
        request: u64,
        (task, pstate): (TaskId, u16),
        path: tantu_path::PathTo<Map<String, i64>, T>,
        swarm: &Swarm,
    ) {
        let mut bytes = Vec::new();
        if let Err(error) = path.path().encode(&mut bytes) {
            self.findings.push(format!("a path cannot be encoded: {error}"));
        }
        self.posts[client].push(task, &Letter::Select { task, request, pstate, path: &bytes }, swarm);
    }

    fn judge_depot(&self, depot: u16, last: &mut Last<'_>) -> Result<Vec<String>, String> {
        let (look, _) = read_depot(last.disk, last.swarm, usize::from(depot), &[], last.chance)
            .map_err(|why| format!("depot {depot} cannot be read: {why}"))?;
        match self.sheets[usize::from(depot)].history.judge(&look).first() {
            Some(lie) => Err(format!("depot {depot} lies: {lie}")),
            None => Ok(lines_of(&look)),
        }
    }
}

/// The lines of a depot.
fn lines_of(look: &Look) -> Vec<String> {
    let records = look.values().flat_map(|seen| &seen.records);
    records.filter_map(|(_, record)| decoded::<String>(record).ok()).collect()
}

impl Customer for Teller {
    fn client_count(&self) -> usize {
        self.posts.len()
    }

    fn begin_life(&mut self, life: u32, swarm: &Swarm) {
        (self.failing, self.stalling) = (swarm.may_fail(), swarm.stall_ppm > 0);
        self.reads_left = READ_COUNT_MAX;
        self.resumed = false;
        self.space_at = if swarm.room.is_none() && swarm.blows.is_empty() { Some(Nanos(0)) } else { None };
        self.posts.iter_mut().for_each(Post::clear);
        self.sights.begin_life();
        self.to_read.clear();
        self.sheets.iter_mut().for_each(|sheet| sheet.begin_life(life, swarm.crash_count));
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if let Waiting::Append { depot, append, .. } = waiting
                && self.chance.percent(swarm.resend_percent)
            {
                self.sheets[usize::from(depot)].again.push_back(append);
            }
        }
    }

    fn step(&mut self, wires: &mut [SimWire], swarm: &Swarm, now: Nanos) -> bool {
        self.now = now;
        if self.takes_again() && self.sheets.iter().any(|sheet| !sheet.later.is_empty()) {
            self.resumed = true;
            self.sheets.iter_mut().for_each(|sheet| sheet.again.extend(sheet.later.drain(..)));
        }
        let mut worked = false;
        for (client, wire) in wires.iter_mut().enumerate() {
            worked |= self.receive(wire);
            if !self.posts[client].is_empty() {
                continue;
            }
            while self.waiting.len() < swarm.window && self.chance.percent(60) && self.append(client, swarm) {
                worked = true;
            }
            let is_read = |waiting: &&Waiting| !matches!(waiting, Waiting::Append { .. });
            let reads = self.waiting.values().filter(is_read).count();
            if self.reads_left > 0 && reads < READS_AT_A_TIME_MAX && !self.is_done() && self.chance.percent(15) {
                self.read(client, swarm);
                worked = true;
            }
        }
        worked |= self.look_at_sights(swarm);
        for (post, wire) in self.posts.iter_mut().zip(wires) {
            worked |= post.flush(wire);
        }
        // Chance keeps back what could be sent: it has not stopped.
        let is_free = self.waiting.len() < swarm.window && self.posts.iter().any(Post::is_empty);
        worked || (is_free && self.sheets.iter().any(Sheet::could_send))
    }

    fn finding(&self) -> Option<&String> {
        self.findings.first()
    }

    fn is_done(&self) -> bool {
        self.sheets.iter().all(Sheet::is_done) && self.waiting.is_empty() && !self.has_unsent()
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
        self.space_at.filter(|_| self.sheets.iter().any(|sheet| !sheet.later.is_empty()))
    }

    fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    fn acked_count(&self) -> usize {
        self.sheets.iter().map(|sheet| sheet.history.acked_count()).sum()
    }

    fn pstates(&self, _: &Swarm) -> Vec<u16> {
        vec![REGISTERS, FUNDS]
    }

    fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm) {
        self.all.clear();
        for task in (0..swarm.tasks).map(TaskId) {
            let request = self.request();
            self.select(0, request, (task, pstate), path::<Map<String, i64>>().all(), swarm);
            self.waiting.insert(request, Waiting::All);
        }
    }

    fn all(&self) -> &Entries {
        &self.all
    }

    fn judge(&mut self, last: &mut Last<'_>) -> Result<(), String> {
        let [registers, funds] = last.entries else { return Err("two PStates were to be read".to_string()) };
        let transfers = self.judge_depot(TRANSFERS, last)?;
        last.world.marks.hit_many(TRANSFERRED, transfers.len() as u64);
        let transfers = transfers.iter().map(|line| transfer_of(line));
        if let Some(lie) = bank::judge(transfers, funds).first() {
            return Err(format!("the bank lies: {lie}"));
        }
        let mut largest = Entries::new();
        for (register, value) in self.judge_depot(WRITES, last)?.iter().map(|line| write_of(line)) {
            let most = largest.entry(register).or_default();
            *most = value.max(*most);
        }
        if *registers != largest {
            return Err(format!("the registers have {registers:?}, and {largest:?} was written"));
        }
        for (register, operations) in &self.registers {
            if let Some(lie) = judge_largest(operations).first() {
                return Err(format!("the register {register:?} lies: {lie}"));
            }
            let reads = operations.iter().filter(|operation| matches!(operation.act, Act::Read(_))).count();
            last.world.marks.hit_many(REGISTER_READ, reads as u64);
        }
        last.world.marks.hit_many(SNAPSHOT_READ, self.sights.read_count);
        last.world.marks.hit_many(TOTALLED, self.total_count);
        // In the last life nothing fails: an event that waits goes on where it was.
        let (before, after) = (user::runs(UserOp::Debit), user::runs(UserOp::Had));
        if before != after {
            return Err(format!("the code before a read ran {before} times, and the code behind it {after} times"));
        }
        Ok(())
    }
}
