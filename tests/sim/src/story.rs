//! One story from its seed to its verdict.

use crate::audit::{Search, read_depot};
use crate::blow::{self, Blow};
use crate::client::Client;
use crate::cluster::{Cluster, Machine, Rest};
use crate::module::{COUNTS, exact_pstate};
use crate::swarm::{Lie, Swarm};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tantu_base::door::Nanos;
use tantu_model::depot::Look;
use tantu_model::stream::LineId;
use tantu_model::word::{WordCounts, count};
use tantu_weather::{DiskWeather, Image, Marks, SimDisk, SimEntropy, SimMesh, SimWire, Weather, mark};

/// Steps of one life; a life that takes more goes in circles.
const STEP_COUNT_MAX: u64 = 400_000;
/// Steps of a life with a planned blow.
const BLOW_STEP_COUNT_MAX: u64 = 20_000;
/// Virtual time of a step.
const STEP_NS: u64 = 500;
/// Virtual time a record may take before it is tried again.
const RECORD_TIMEOUT: Nanos = Nanos(60_000_000_000);
/// Times that are searched for in each partition at the end.
const SEARCH_COUNT: usize = 20;
/// A partition was searched by time.
pub const SEARCHED: &str = "search by time";
/// A life was ended in order, by a close.
pub const CLOSED: &str = "closed in order";
/// The process stopped by itself since a request failed.
pub const STOPPED: &str = "stopped by a failed request";
/// Appends that a full disk refused were taken after space returned.
pub const RESUMED: &str = "resumed after a full disk";
/// A record was trimmed.
pub const TRIMMED: &str = "trimmed record";
/// A page of records was read.
pub const RANGE_READ: &str = "range read";
/// A read asked for records that are not there.
pub const OUT_OF_RANGE: &str = "read out of range";
/// A record was in a microbatch.
pub const EXACT: &str = "record in a microbatch";
/// The power was cut while the cluster closed.
pub const CRASH_IN_CLOSE: &str = "crash in close";

/// A finding, with what it takes to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// The story.
    pub swarm: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {}\n  replay: TANTU_SIM_SEED={} cargo test -p tantu-sim --test seeds one\n  {}",
            self.seed, self.what, self.seed, self.swarm
        )
    }
}

/// How a story went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Hash of everything that happened.
    pub trace_hash: u64,
    /// Lives of the cluster.
    pub life_count: u32,
    /// Appends acknowledged.
    pub acked_count: usize,
    /// Steps of task threads.
    pub step_count: u64,
    /// Virtual time, in nanoseconds.
    pub virtual_ns: u64,
    /// What the weather did.
    pub marks: Marks,
    /// Whether each planned blow came.
    pub landed: Vec<bool>,
}

/// How a life ended.
enum End {
    /// The power was cut, or is to be cut now.
    Cut,
    /// The process is to be killed now.
    Kill,
    /// The process stopped by itself; its files are as a kill leaves them.
    Stopped(String),
    /// It was closed in order.
    Closed,
    /// Everything came to rest: the end of the last life, still open.
    AtRest,
}

struct Story {
    seed: u64,
    world: Weather,
    chance: SimEntropy,
    client: Client,
    steps: u64,
    life_ns_max: u64,
    /// The step at which the power goes.
    cut_at_step: u64,
    landed: Vec<bool>,
}

/// Tells the story of a seed on a cluster.
///
/// # Errors
/// The first thing that is wrong, a panic included.
pub fn run<C: Cluster>(seed: u64, lie: Option<Lie>) -> Result<Report, Failure> {
    let mut chance = SimEntropy::new(seed);
    let swarm = Swarm::draw(&mut chance, lie);
    tell_safely::<C>(seed, &swarm, chance)
}

/// Tells a story that was not drawn.
///
/// # Errors
/// The first thing that is wrong, a panic included.
pub fn run_swarm<C: Cluster>(seed: u64, swarm: &Swarm) -> Result<Report, Failure> {
    tell_safely::<C>(seed, swarm, SimEntropy::new(seed))
}

fn tell_safely<C: Cluster>(seed: u64, swarm: &Swarm, chance: SimEntropy) -> Result<Report, Failure> {
    let fail = |what: String| Failure { seed, what, swarm: format!("{swarm:?}") };
    let told = catch_unwind(AssertUnwindSafe(|| tell::<C>(seed, swarm, chance)));
    match told {
        Ok(told) => told.map_err(fail),
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(fail(format!("panic: {}", text.unwrap_or("(no text)"))))
        }
    }
}

fn tell<C: Cluster>(seed: u64, swarm: &Swarm, chance: SimEntropy) -> Result<Report, String> {
    let world = Weather::new(seed);
    world.clock.set_tick_ns(swarm.tick_ns);
    let client = Client::new(swarm, world.clock.clone(), chance.fork(1));
    let mut story = Story {
        seed,
        world,
        client,
        steps: 0,
        life_ns_max: 0,
        cut_at_step: u64::MAX,
        landed: Vec::new(),
        chance: chance.fork(2),
    };
    let mut image = Image::default();
    for life in 0..swarm.crash_count {
        image = story.live_badly::<C>(life, swarm, image).map_err(|what| format!("life {life}: {what}"))?;
    }
    let calm = swarm.calm();
    story.live_well::<C>(swarm.crash_count, &calm, image).map_err(|what| format!("last life: {what}"))?;
    Ok(Report {
        trace_hash: story.world.trace.hash(),
        life_count: swarm.crash_count + 1,
        acked_count: story.client.history.acked_count(),
        step_count: story.steps,
        virtual_ns: story.world.clock.time().0,
        marks: story.world.marks.clone(),
        landed: story.landed,
    })
}

impl Story {
    /// A life that ends in a crash, a stop or, now and then, a close. What it leaves on the disk.
    fn live_badly<C: Cluster>(&mut self, life: u32, swarm: &Swarm, image: Image) -> Result<Image, String> {
        let capacity = swarm.room.map(|room| image.size() + room);
        let disk = SimDisk::new(&self.world, DiskWeather { capacity, ..swarm.disk.clone() }, image);
        if let Some(blow) = swarm.blow(life) {
            return self.live_with_blow::<C>(life, swarm, &disk, blow);
        }
        self.draw_cut(swarm, &disk);
        let end = self.live::<C>(life, swarm, &disk, false)?;
        self.world.trace.note(0xdead ^ u64::from(life));
        let image = match end {
            _ if disk.crashed() => disk.crash(&mut self.chance),
            End::Cut => disk.crash(&mut self.chance),
            End::Kill | End::AtRest => disk.kill(&mut self.chance),
            End::Closed => {
                self.world.marks.hit(CLOSED);
                disk.kill(&mut self.chance)
            }
            End::Stopped(why) => {
                if !swarm.may_fail() {
                    return Err(format!("the process stopped without a failed request: {why}"));
                }
                self.world.marks.hit(STOPPED);
                disk.kill(&mut self.chance)
            }
        };
        self.world.trace.note(image.digest());
        Ok(if swarm.lie == Some(Lie::Tail) { without_tail(image) } else { image })
    }

    /// A life in which one planned thing happens to the disk.
    fn live_with_blow<C: Cluster>(
        &mut self,
        life: u32,
        swarm: &Swarm,
        disk: &SimDisk,
        blow: Blow,
    ) -> Result<Image, String> {
        blow.arm(disk);
        // A fault that stays may keep a process waiting for ever.
        self.cut_at_step = self.steps + BLOW_STEP_COUNT_MAX;
        let end = self.live::<C>(life, swarm, disk, false)?;
        let landed = blow.has_landed(disk);
        self.landed.push(landed);
        match end {
            End::Stopped(why) if !landed => Err(format!("the process stopped without a failed request: {why}")),
            _ => Ok(blow::left(blow, disk, &mut self.chance)),
        }
    }

    /// Draws when the power goes: at a request of the opening, at any request, or in the middle of the work.
    fn draw_cut(&mut self, swarm: &Swarm, disk: &SimDisk) {
        let opening = 30 + 25 * u64::from(swarm.tasks);
        self.cut_at_step = u64::MAX;
        match self.chance.below(3) {
            0 => disk.stop_at(self.chance.below(opening)),
            1 => disk.stop_at(1 << self.chance.within(4..12) | self.chance.below(16)),
            _ => self.cut_at_step = self.steps + (1 << self.chance.within(1..11) | self.chance.below(16)),
        }
    }

    /// The last life: everything must come to rest, and is judged; then again from the files alone.
    fn live_well<C: Cluster>(&mut self, life: u32, swarm: &Swarm, image: Image) -> Result<(), String> {
        let disk = SimDisk::new(&self.world, swarm.disk.clone(), image);
        self.cut_at_step = u64::MAX;
        match self.live::<C>(life, swarm, &disk, true)? {
            End::AtRest => {}
            End::Stopped(why) => return Err(format!("the process stopped in calm weather: {why}")),
            End::Cut | End::Kill | End::Closed => return Err("the last life ended early".to_string()),
        }
        Ok(())
    }

    /// One life of the cluster's process.
    fn live<C: Cluster>(&mut self, life: u32, swarm: &Swarm, disk: &SimDisk, last: bool) -> Result<End, String> {
        let born = self.world.clock.time();
        self.client.begin_life(life, swarm);
        let mesh = SimMesh::new(&self.world, swarm.wire.clone(), swarm.threads);
        let mut wire = mesh.client();
        let world = self.world.clone();
        let machine = Machine { world: &world, disk, mesh: &mesh, swarm };
        let mut cluster = match C::open(&machine) {
            Ok(cluster) => cluster,
            Err(_) if disk.crashed() => {
                self.world.marks.hit(mark::CRASH_IN_RECOVERY);
                return Ok(End::Cut);
            }
            Err(why) => return Ok(End::Stopped(format!("it cannot start: {why}"))),
        };
        let end = self.spend(&mut cluster, &machine, &mut wire)?;
        self.life_ns_max = self.life_ns_max.max(self.world.clock.time().since(born));
        if last && matches!(end, End::AtRest) {
            self.judge(cluster, &machine, &mut wire)?;
            return Ok(End::AtRest);
        }
        if !matches!(end, End::AtRest) || disk.crashed() {
            return Ok(end);
        }
        // The work was done before the cut came: end in some other way.
        let way = if swarm.blows.is_empty() { self.chance.below(3) } else { 2 };
        match way {
            0 => Ok(End::Cut),
            1 => Ok(End::Kill),
            _ => match cluster.close() {
                Ok(()) => Ok(End::Closed),
                Err(_) if disk.crashed() => {
                    self.world.marks.hit(CRASH_IN_CLOSE);
                    Ok(End::Cut)
                }
                Err(why) => Ok(End::Stopped(format!("it cannot close: {why}"))),
            },
        }
    }

    /// Steps threads and client in seeded order until the power is cut, the process stops or everything is at rest.
    fn spend<C: Cluster>(&mut self, cluster: &mut C, machine: &Machine<'_>, wire: &mut SimWire) -> Result<End, String> {
        let Machine { disk, mesh, swarm, .. } = *machine;
        let threads = swarm.threads as usize;
        let mut rests = vec![Rest::Busy; threads];
        let mut stalled = vec![Nanos(0); threads];
        let after_ms = self.chance.within(100..30_000);
        let mut space_at = swarm.gets_space_back().then(|| self.world.clock.time().plus_ms(after_ms));
        for _ in 0..STEP_COUNT_MAX {
            if disk.crashed() {
                return Ok(End::Cut);
            }
            let now = self.world.clock.time();
            if space_at.is_some_and(|at| at <= now) {
                space_at = None;
                disk.set_weather(swarm.disk.clone());
                self.client.space_returned(now);
            }
            let awake = |at: usize| match rests[at] {
                Rest::Busy => true,
                Rest::Idle(wake_at) => wake_at.is_some_and(|wake_at| wake_at <= now) || cluster.has_arrivals(at),
            };
            let runnable: Vec<usize> = (0..threads).filter(|at| stalled[*at] <= now && awake(*at)).collect();
            if self.chance.percent(30) || runnable.is_empty() {
                let worked = self.client.step(wire, swarm, now);
                if let Some(finding) = self.client.findings.first() {
                    return Err(finding.clone());
                }
                if worked {
                    continue;
                }
            }
            if runnable.is_empty() {
                if self.client.is_done() && cluster.is_quiet() && mesh.in_flight_count() == 0 {
                    if self.client.take_resumed() {
                        self.world.marks.hit(RESUMED);
                    }
                    return Ok(End::AtRest);
                }
                // Nobody wakes a process from outside: what is not due will never happen.
                let others = stalled.iter().copied().chain(space_at).chain(self.client.retry_at());
                if !self.sleep(cluster, &rests, others, wire) {
                    let waits = self.client.unanswered();
                    return Err(format!("nothing will ever happen again, and the client waits for {waits}"));
                }
                continue;
            }
            let at = *self.chance.pick(&runnable);
            if self.chance.chance_ppm(swarm.stall_ppm) {
                stalled[at] = Nanos(now.0 + self.chance.within(1_000_000..3_000_000_000));
                continue;
            }
            self.steps += 1;
            if self.steps >= self.cut_at_step {
                disk.stop();
            }
            self.world.trace.note(at as u64);
            self.world.clock.advance(STEP_NS);
            match cluster.step(at) {
                Ok(rest) => rests[at] = rest,
                Err(why) => return Ok(if disk.crashed() { End::Cut } else { End::Stopped(why) }),
            }
        }
        Err(format!(
            "after {STEP_COUNT_MAX} steps the cluster is still busy; the client waits for {}",
            self.client.unanswered()
        ))
    }

    /// Moves time to the next thing that happens; false if nothing will.
    fn sleep<C: Cluster>(
        &self,
        cluster: &C,
        rests: &[Rest],
        others: impl Iterator<Item = Nanos>,
        wire: &SimWire,
    ) -> bool {
        let now = self.world.clock.time();
        let wakes = rests.iter().filter_map(|rest| if let Rest::Idle(wake_at) = rest { *wake_at } else { None });
        let arrivals = [cluster.next_arrival(), wire.next_due()].into_iter().flatten();
        // A ring that gave a batch back for no reason is tried again when nothing else happens.
        let retry = self.client.has_unsent().then(|| Nanos(now.0 + 1_000));
        let next = wakes.chain(others).chain(arrivals).filter(|at| *at > now).min().or(retry);
        next.into_iter().for_each(|next| self.world.clock.advance_to(next));
        next.is_some()
    }

    /// Everything is at rest: asks for all counts, closes, reads the files, and lets the oracles speak.
    fn judge<C: Cluster>(&mut self, mut cluster: C, machine: &Machine<'_>, wire: &mut SimWire) -> Result<(), String> {
        let Machine { disk, swarm, .. } = *machine;
        let counts = self.read_all(&mut cluster, machine, wire, COUNTS)?;
        let exact = if swarm.exact {
            self.read_all(&mut cluster, machine, wire, exact_pstate(swarm))?
        } else {
            WordCounts::new()
        };
        cluster.close().map_err(|why| format!("it cannot close: {why}"))?;
        let times: Vec<u64> = self.client.history.times().collect();
        let times: Vec<u64> =
            (0..SEARCH_COUNT.min(times.len())).map(|_| *self.chance.pick(&times)).chain([0, u64::MAX]).collect();
        let (look, searches) = read_depot(disk, swarm, &times, &mut self.chance)
            .map_err(|why| format!("its depot cannot be read: {why}"))?;
        for Search { partition, start, time_ms, found } in searches {
            if let Some(lie) = self.client.history.judge_since(partition, start, time_ms, found) {
                return Err(format!("a search by time lies: {lie}"));
            }
            self.world.marks.hit(SEARCHED);
        }
        if let Some(lie) = self.client.history.judge(&look).first() {
            return Err(format!("the depot lies: {lie}"));
        }
        self.owe_what_is_there(&look);
        if swarm.exact {
            self.judge_exact(swarm, &look, &exact)?;
        }
        self.client.limit_attempts(self.life_ns_max, RECORD_TIMEOUT);
        if let Some(lie) = self.client.lines.judge(&counts).first() {
            return Err(format!("the counts lie: {lie}"));
        }
        self.world.trace.note(look.values().map(|seen| seen.records.len() as u64).sum());
        counts.iter().for_each(|(word, count)| {
            self.world.trace.note_bytes(word.as_bytes());
            self.world.trace.note(*count);
        });
        self.reopen::<C>(swarm, disk, (&counts, &exact))
    }

    /// Every count of a PState.
    fn read_all<C: Cluster>(
        &mut self,
        cluster: &mut C,
        machine: &Machine<'_>,
        wire: &mut SimWire,
        pstate: u16,
    ) -> Result<WordCounts, String> {
        self.client.ask_for_all(pstate, machine.swarm);
        match self.spend(cluster, machine, wire)? {
            End::AtRest => Ok(self.client.all().clone()),
            End::Stopped(why) => Err(format!("it stopped while it was read: {why}")),
            End::Cut | End::Kill | End::Closed => Err("it ended while it was read".to_string()),
        }
    }

    /// What a microbatch topology counted is what the depot holds, exactly; records that were trimmed count too, of which the
    /// client does not know all.
    fn judge_exact(&self, swarm: &Swarm, look: &Look, exact: &WordCounts) -> Result<(), String> {
        let there = look.values().flat_map(|seen| &seen.records).map(|(_, record)| record.as_slice());
        let texts: Vec<&str> = there.filter_map(index_of).map(|index| self.client.lines.text(LineId(index))).collect();
        let expected = count(texts.iter().copied());
        self.world.marks.hit_many(EXACT, texts.len() as u64);
        if swarm.trim.is_none() && *exact != expected {
            let differs = |(word, count): &(&String, &u64)| exact.get(*word) != Some(*count);
            let first = expected.iter().find(differs);
            return Err(format!("a microbatch topology lies: {first:?} in the depot, of {} words", expected.len()));
        }
        let missing = expected.iter().find(|(word, least)| exact.get(*word).is_none_or(|found| found < *least));
        match missing {
            Some((word, least)) => Err(format!("a microbatch topology counts {word:?} less often than {least} times")),
            None => Ok(()),
        }
    }

    /// A record in the depot must have been counted, whether or not its append was answered; and one that was trimmed
    /// too.
    fn owe_what_is_there(&mut self, look: &tantu_model::depot::Look) {
        let there = look.values().flat_map(|seen| &seen.records).map(|(_, record)| record.as_slice());
        let all = there.chain(self.client.history.trimmed(look));
        let there: Vec<usize> = all.filter_map(index_of).collect();
        self.world.marks.hit_many(TRIMMED, look.values().map(|seen| seen.start).sum());
        self.world.marks.hit_many(RANGE_READ, self.client.range_count);
        self.world.marks.hit_many(OUT_OF_RANGE, self.client.out_of_range_count);
        there.into_iter().for_each(|index| self.client.lines.owe(LineId(index)));
    }

    /// The same counts must come from the files alone.
    fn reopen<C: Cluster>(
        &mut self,
        swarm: &Swarm,
        disk: &SimDisk,
        (counts, exact): (&WordCounts, &WordCounts),
    ) -> Result<(), String> {
        let mesh = SimMesh::new(&self.world, swarm.wire.clone(), swarm.threads);
        let mut wire = mesh.client();
        let world = self.world.clone();
        let machine = Machine { world: &world, disk, mesh: &mesh, swarm };
        let mut cluster = C::open(&machine).map_err(|why| format!("it cannot start after a close: {why}"))?;
        if self.read_all(&mut cluster, &machine, &mut wire, COUNTS)? != *counts {
            return Err("the counts changed over a close".to_string());
        }
        if swarm.exact && self.read_all(&mut cluster, &machine, &mut wire, exact_pstate(swarm))? != *exact {
            return Err("the counts of a microbatch topology changed over a close".to_string());
        }
        cluster.close().map_err(|why| format!("it cannot close again: {why}"))
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Story({})", self.seed)
    }
}

/// The number of the line a record holds.
fn index_of(record: &[u8]) -> Option<usize> {
    let start = record.windows(5).position(|bytes| bytes == b"line-")? + 5;
    let digits: String =
        record[start..].iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The files without the last written block of each thread's newest log segment.
fn without_tail(mut image: Image) -> Image {
    const BLOCK: usize = 4096;
    let logs: Vec<_> = image
        .files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_string_lossy().contains("/log/"))
        .collect();
    let mut newest = std::collections::BTreeMap::new();
    for path in logs {
        newest.insert(path.parent().map(std::path::Path::to_path_buf), path);
    }
    for path in newest.into_values() {
        let bytes = image.read(&path).unwrap_or_default();
        let last = bytes.chunks(BLOCK).rposition(|block| block.iter().any(|byte| *byte != 0));
        if let Some(last) = last.filter(|last| *last > 1) {
            image.overwrite(&path, (last * BLOCK) as u64, &vec![0; BLOCK.min(bytes.len() - last * BLOCK)]);
        }
    }
    image
}
