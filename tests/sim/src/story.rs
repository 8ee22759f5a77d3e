//! One story from its seed to its verdict.

use crate::applicant::Applicant;
use crate::blow::{self, Blow};
use crate::client::Client;
use crate::cluster::{Cluster, Machine, Rest};
use crate::customer::{Customer, Entries, Last};
use crate::sender::Sender;
use crate::swarm::{Kind, Lie, Swarm};
use crate::teller::Teller;
use crate::user::{self, Moods, UserOp};
use crate::{bank, errand, module, registry};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tantu_base::door::Nanos;
use tantu_weather::{DiskWeather, Image, Marks, SimDisk, SimEntropy, SimMesh, SimWire, Weather, mark};

/// Turns of one life, of cores that step, stall or sleep; a life that takes more goes in circles. With the smallest rings and many stalls
/// one took more than a million (seed 20613), most of them to find a ring full.
const STEP_COUNT_MAX: u64 = 3_000_000;
/// Steps of a life with a planned blow.
const BLOW_STEP_COUNT_MAX: u64 = 20_000;
/// Virtual time of a step.
const STEP_NS: u64 = 500;
/// A life was ended in order, by a close.
pub const CLOSED: &str = "closed in order";
/// The process stopped by itself since a request failed.
pub const STOPPED: &str = "stopped by a failed request";
/// Appends that a full disk refused were taken after space returned.
pub const RESUMED: &str = "resumed after a full disk";
/// User code threw.
pub const THROWN: &str = "user code threw";
/// User code of a microbatch went on with what a query that it called answered.
pub const CALLED: &str = "call of a query from a microbatch";
/// User code took a while.
pub const SLOWED: &str = "slow user code";
/// The power was cut at a letter.
pub const CUT_AT_LETTER: &str = "power cut at a letter";
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
    customer: Box<dyn Customer>,
    steps: u64,
    life_ns_max: u64,
    thrown_count: u64,
    /// The step at which the power goes.
    cut_at_step: u64,
    /// The letter at which the power goes, and which is lost with all that follow.
    cut_at_letter: Option<u64>,
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
    let customer: Box<dyn Customer> = match swarm.kind {
        Kind::Words | Kind::Flood => Box::new(Client::new(swarm, world.clock.clone(), chance.fork(1))),
        Kind::Bank => Box::new(Teller::new(swarm, chance.fork(1))),
        Kind::Registry => Box::new(Applicant::new(swarm, world.clock.clone(), chance.fork(1))),
        Kind::Errands => Box::new(Sender::new(swarm, chance.fork(1))),
    };
    let mut story = Story {
        seed,
        world,
        customer,
        steps: 0,
        life_ns_max: 0,
        thrown_count: 0,
        cut_at_step: u64::MAX,
        cut_at_letter: None,
        landed: Vec::new(),
        chance: chance.fork(2),
    };
    let mut image = Image::default();
    for life in 0..swarm.crash_count {
        image =
            story.live_badly::<C>(life, &swarm.of_life(life), image).map_err(|what| format!("life {life}: {what}"))?;
    }
    let calm = swarm.calm().of_life(swarm.crash_count);
    story.live_well::<C>(swarm.crash_count, &calm, image).map_err(|what| format!("last life: {what}"))?;
    Ok(Report {
        trace_hash: story.world.trace.hash(),
        life_count: swarm.crash_count + 1,
        acked_count: story.customer.acked_count(),
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
        self.cut_at_letter = if let Blow::Letter { letter, .. } = blow { Some(letter) } else { None };
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
        match self.chance.below(4) {
            0 => disk.stop_at(self.chance.below(opening)),
            1 => self.cut_at_letter = Some(1 << self.chance.within(1..11) | self.chance.below(16)),
            2 => disk.stop_at(1 << self.chance.within(4..12) | self.chance.below(16)),
            _ => self.cut_at_step = self.steps + (1 << self.chance.within(1..11) | self.chance.below(16)),
        }
    }

    /// The last life: everything must come to rest, and is judged; then again from the files alone.
    fn live_well<C: Cluster>(&mut self, life: u32, swarm: &Swarm, image: Image) -> Result<(), String> {
        let disk = SimDisk::new(&self.world, swarm.disk.clone(), image);
        (self.cut_at_step, self.cut_at_letter) = (u64::MAX, None);
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
        self.customer.begin_life(life, swarm);
        let mesh = SimMesh::new(&self.world, swarm.wire.clone(), swarm.threads);
        let mut wires: Vec<SimWire> = (0..self.customer.client_count()).map(|_| mesh.client()).collect();
        self.begin_moods(swarm);
        if let Some(letter) = self.cut_at_letter.take() {
            mesh.stop_at(letter);
        }
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
        let end = self.spend(&mut cluster, &machine, &mut wires)?;
        if mesh.has_stopped() {
            self.world.marks.hit(CUT_AT_LETTER);
        }
        self.life_ns_max = self.life_ns_max.max(self.world.clock.time().since(born));
        if last && matches!(end, End::AtRest) {
            self.judge(cluster, &machine, &mut wires)?;
            return Ok(End::AtRest);
        }
        self.end_moods();
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

    /// Draws what user code does in a life.
    fn begin_moods(&mut self, swarm: &Swarm) {
        let ops: &[_] = match swarm.kind {
            Kind::Bank => &bank::OPS,
            Kind::Registry => &registry::OPS,
            Kind::Errands => &errand::OPS,
            Kind::Words | Kind::Flood => &module::OPS,
        };
        let moods = if swarm.moody { Moods::draw(&mut self.chance, ops) } else { Moods::default() };
        user::begin_life(moods, &self.world.clock, self.chance.fork(4));
    }

    /// Steps threads and client in seeded order until the power is cut, the process stops or everything is at rest.
    fn spend<C: Cluster>(
        &mut self,
        cluster: &mut C,
        machine: &Machine<'_>,
        wires: &mut [SimWire],
    ) -> Result<End, String> {
        let Machine { disk, mesh, swarm, .. } = *machine;
        let threads = swarm.threads as usize;
        let mut rests = vec![Rest::Busy; threads];
        let mut stalled = vec![Nanos(0); threads];
        let after_ms = self.chance.within(100..30_000);
        let mut space_at = swarm.gets_space_back().then(|| self.world.clock.time().plus_ms(after_ms));
        for _ in 0..STEP_COUNT_MAX {
            if mesh.has_stopped() {
                disk.stop();
            }
            if disk.crashed() {
                return Ok(End::Cut);
            }
            let now = self.world.clock.time();
            if space_at.is_some_and(|at| at <= now) {
                space_at = None;
                disk.set_weather(swarm.disk.clone());
                self.customer.space_returned(now);
            }
            let awake = |at: usize| match rests[at] {
                Rest::Busy => true,
                Rest::Idle(wake_at) => wake_at.is_some_and(|wake_at| wake_at <= now) || cluster.has_arrivals(at),
            };
            let runnable: Vec<usize> = (0..threads).filter(|at| stalled[*at] <= now && awake(*at)).collect();
            if self.chance.percent(30) || runnable.is_empty() {
                let worked = self.customer.step(wires, swarm, now);
                if let Some(finding) = self.customer.finding() {
                    return Err(finding.clone());
                }
                if worked {
                    continue;
                }
            }
            if runnable.is_empty() {
                if self.customer.is_done() && cluster.is_quiet() && mesh.in_flight_count() == 0 {
                    self.world.marks.hit_many(RESUMED, u64::from(self.customer.take_resumed()));
                    return Ok(End::AtRest);
                }
                let others = stalled.iter().copied().chain(space_at).chain(self.customer.retry_at());
                self.sleep(cluster, &rests, others, wires)?;
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
            "after {STEP_COUNT_MAX} steps the cluster is still busy ({rests:?} at {:?}); the client waits for {}",
            self.world.clock.time(),
            self.customer.unanswered()
        ))
    }

    /// Moves time to the next thing that happens.
    fn sleep<C: Cluster>(
        &self,
        cluster: &C,
        rests: &[Rest],
        others: impl Iterator<Item = Nanos>,
        wires: &[SimWire],
    ) -> Result<(), String> {
        let now = self.world.clock.time();
        let wakes = rests.iter().filter_map(|rest| if let Rest::Idle(wake_at) = rest { *wake_at } else { None });
        let arrivals = wires.iter().map(SimWire::next_due).chain([cluster.next_arrival()]).flatten();
        // A ring that gave a batch back for no reason is tried again when nothing else happens.
        let retry = self.customer.has_unsent().then(|| Nanos(now.0 + 1_000));
        let next = wakes.chain(others).chain(arrivals).filter(|at| *at > now).min().or(retry);
        // Nobody wakes a process from outside: what is not due will never happen.
        let Some(next) = next else {
            let waits = self.customer.unanswered();
            return Err(format!("nothing will ever happen again, and the client waits for {waits}"));
        };
        self.world.clock.advance_to(next);
        Ok(())
    }

    /// Everything is at rest: reads all entries, closes, and lets the oracles speak.
    fn judge<C: Cluster>(
        &mut self,
        mut cluster: C,
        machine: &Machine<'_>,
        wires: &mut [SimWire],
    ) -> Result<(), String> {
        let Machine { disk, swarm, .. } = *machine;
        let entries = self.read_all(&mut cluster, machine, wires)?;
        cluster.close().map_err(|why| format!("it cannot close: {why}"))?;
        let Self { world, chance, life_ns_max, thrown_count, .. } = self;
        let (life_ns_max, thrown_count) = (*life_ns_max, *thrown_count);
        let mut last = Last { disk, swarm, world, chance, entries: &entries, life_ns_max, thrown_count };
        self.customer.judge(&mut last)?;
        self.end_moods();
        for (name, value) in entries.iter().flatten() {
            self.world.trace.note_bytes(name.as_bytes());
            self.world.trace.note(*value as u64);
        }
        self.reopen::<C>(swarm, disk, &entries)
    }

    /// Every entry of every PState that is judged.
    fn read_all<C: Cluster>(
        &mut self,
        cluster: &mut C,
        machine: &Machine<'_>,
        wires: &mut [SimWire],
    ) -> Result<Vec<Entries>, String> {
        let mut all = Vec::new();
        for pstate in self.customer.pstates(machine.swarm) {
            self.customer.ask_for_all(pstate, machine.swarm);
            match self.spend(cluster, machine, wires)? {
                End::AtRest => all.push(self.customer.all().clone()),
                End::Stopped(why) => return Err(format!("it stopped while it was read: {why}")),
                End::Cut | End::Kill | End::Closed => return Err("it ended while it was read".to_string()),
            }
        }
        Ok(all)
    }

    /// The same entries must come from the files alone.
    fn reopen<C: Cluster>(&mut self, swarm: &Swarm, disk: &SimDisk, entries: &[Entries]) -> Result<(), String> {
        let mesh = SimMesh::new(&self.world, swarm.wire.clone(), swarm.threads);
        let mut wires: Vec<SimWire> = (0..self.customer.client_count()).map(|_| mesh.client()).collect();
        let world = self.world.clone();
        let machine = Machine { world: &world, disk, mesh: &mesh, swarm };
        let mut cluster = C::open(&machine).map_err(|why| format!("it cannot start after a close: {why}"))?;
        if self.read_all(&mut cluster, &machine, &mut wires)? != entries {
            return Err("what was read changed over a close".to_string());
        }
        cluster.close().map_err(|why| format!("it cannot close again: {why}"))
    }

    /// Notes what user code did in the life that ends.
    fn end_moods(&mut self) {
        let (thrown, slowed) = user::moods_shown();
        self.thrown_count += thrown;
        self.world.marks.hit_many(THROWN, thrown);
        for op in UserOp::ALL {
            self.world.marks.hit_many(user::thrown_mark(op), user::thrown(op));
        }
        self.world.marks.hit_many(CALLED, user::runs(UserOp::Called));
        self.world.marks.hit_many(SLOWED, slowed);
        user::begin_life(Moods::default(), &self.world.clock, self.chance.fork(3));
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Story({})", self.seed)
    }
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
