//! The world of one seed: a process that lives, ends badly and is started again, and the clients that outlive it.
//!
//! Nothing happens by itself. Whoever waits lets the process go on, one step of one task thread at a time, in an order
//! that the seed draws; when no thread has anything to do, time moves to the next thing that happens.

use crate::sim::faults::{Drawn, End, Faults};
use crate::sim::process::{Ground, Process};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tantu_base::door::{LetterBatch, Nanos, Peer, Wire};
use tantu_base::id::Category;
use tantu_client::Connection;
use tantu_flow::{DefineErrors, ModuleDef, ModuleRuntime};
use tantu_weather::{DiskWeather, Image, SimDisk, SimEntropy, SimWire, Weather, WireWeather, mark};

/// Virtual time of a step.
const STEP_NS: u64 = 500;
/// Steps of one story; a story that takes more goes in circles.
const STEP_COUNT_MAX: u64 = 5_000_000;
/// Virtual time that a client waits for anything, and the cluster may take to come to rest.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Processes that may stop by themselves in one story; from then on no request fails.
const STOP_COUNT_MAX: u32 = 8;
/// What is kept of what happened.
const HAPPENED_COUNT_MAX: usize = 40;

/// See the module.
pub(crate) struct World {
    weather: Weather,
    chance: SimEntropy,
    define: fn() -> Result<ModuleDef, DefineErrors>,
    tasks: u32,
    threads: u32,
    drawn: Drawn,
    stop_count: u32,
    disk: SimDisk,
    process: Option<Process>,
    /// The module as the last process knew it.
    runtime: Option<Arc<ModuleRuntime>>,
    end: Option<End>,
    /// Steps of this life, and of the story.
    life_steps: u64,
    steps: u64,
    /// When a full disk has room again.
    room_at: Option<Nanos>,
    is_calm: bool,
    /// Since when clients have waited without an arrival.
    waits_since: Option<Nanos>,
    /// Whether requests of the disk may fail in this life.
    life_may_fail: bool,
    /// Lives that ended.
    ended: u32,
    /// By number: the client's door in this life.
    wires: Vec<Option<SimWire>>,
    connections: Vec<Connection>,
    happened: VecDeque<String>,
}

/// The parameters of a seed that its world does not draw.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) define: fn() -> Result<ModuleDef, DefineErrors>,
    pub(crate) tasks: Option<u32>,
    pub(crate) threads: Option<u32>,
    pub(crate) faults: Faults,
}

/// What a client's door brings.
pub(crate) type Arrival = (Peer, Category, LetterBatch);

impl World {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        let weather = Weather::new(seed);
        let mut chance = SimEntropy::new(seed).fork(1);
        let tasks = 1 << chance.below(4);
        let tasks = plan.tasks.unwrap_or(tasks);
        let threads = 1 + chance.below(u64::from(tasks.min(3))) as u32;
        let threads = plan.threads.unwrap_or(threads).min(tasks);
        let drawn = Drawn::new(&plan.faults, &mut chance);
        weather.clock.set_tick_ns(drawn.tick_ns);
        let disk = SimDisk::new(&weather, drawn.disk.clone(), Image::default());
        Self {
            weather,
            chance,
            define: plan.define,
            tasks,
            threads,
            drawn,
            stop_count: 0,
            disk,
            process: None,
            runtime: None,
            end: None,
            life_steps: 0,
            steps: 0,
            room_at: None,
            is_calm: false,
            waits_since: None,
            life_may_fail: false,
            ended: 0,
            wires: Vec::new(),
            connections: Vec::new(),
            happened: VecDeque::new(),
        }
    }

    pub(crate) fn weather(&self) -> &Weather {
        &self.weather
    }

    pub(crate) fn now(&self) -> Nanos {
        self.weather.clock.time()
    }

    pub(crate) fn task_count(&self) -> u32 {
        self.tasks
    }

    pub(crate) fn ended_count(&self) -> u32 {
        self.ended
    }

    pub(crate) fn step_count(&self) -> u64 {
        self.steps
    }

    /// What happened last, oldest first.
    pub(crate) fn happened(&self) -> Vec<String> {
        self.happened.iter().cloned().collect()
    }

    /// What each seed draws for the story itself.
    pub(crate) fn story_chance(seed: u64) -> SimEntropy {
        SimEntropy::new(seed).fork(2)
    }

    pub(crate) fn note(&mut self, what: &str) {
        if self.happened.len() == HAPPENED_COUNT_MAX {
            self.happened.pop_front();
        }
        let now_us = self.now().0 / 1_000;
        let (seconds, us) = (now_us / 1_000_000, now_us % 1_000_000);
        self.happened.push_back(format!("{seconds:>4}.{us:06} s  {what}"));
        self.weather.trace.note_bytes(what.as_bytes());
    }

    /// The module as its process knows it.
    pub(crate) fn runtime(&mut self) -> Arc<ModuleRuntime> {
        self.be_alive();
        Arc::clone(self.runtime.as_ref().expect("invariant: a process knows its module"))
    }

    /// A new client's number.
    pub(crate) fn attach(&mut self) -> usize {
        self.be_alive();
        let process = self.process.as_ref().expect("invariant: just seen to it");
        self.wires.push(Some(process.mesh.client()));
        self.wires.len() - 1
    }

    /// A connection that is told when its process ends.
    pub(crate) fn tell(&mut self, connection: Connection) {
        self.connections.push(connection);
    }

    pub(crate) fn send(&mut self, client: usize, to: Peer, batch: LetterBatch) -> Result<(), LetterBatch> {
        self.be_alive();
        self.wire(client).send(to, Category::Client, batch)
    }

    pub(crate) fn receive(&mut self, client: usize) -> Option<Arrival> {
        let wire = self.wires[client].as_mut()?;
        Category::ALL
            .into_iter()
            .find_map(|category| wire.receive(category).map(|(from, batch)| (from, category, batch)))
    }

    fn wire(&mut self, client: usize) -> &mut SimWire {
        let process = self.process.as_ref().expect("invariant: alive");
        self.wires[client].get_or_insert_with(|| process.mesh.client())
    }

    /// Lets the process go on until something arrives for the client, the process ends, or the time is over: what a full
    /// ring gave back is then sent again.
    pub(crate) fn wait(&mut self, client: usize, timeout: Duration) {
        let until = self.in_time(timeout);
        let ended = self.ended;
        self.be_alive();
        let since = *self.waits_since.get_or_insert(self.weather.clock.time());
        while self.ended == ended && !self.has_arrived(client) && self.now() < until {
            self.turn(until);
        }
        if self.ended > ended || self.has_arrived(client) {
            self.waits_since = None;
        }
        let waited = Duration::from_nanos(self.now().since(since));
        assert!(waited < WAIT_MAX, "a client has waited for an hour, and no answer has come");
    }

    fn in_time(&self, time: Duration) -> Nanos {
        Nanos(self.now().0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn has_arrived(&self, client: usize) -> bool {
        let due = self.wires[client].as_ref().and_then(SimWire::next_due);
        due.is_some_and(|due| due <= self.now())
    }

    /// Lets time pass; processes that end meanwhile are started again.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.in_time(time);
        while self.now() < until {
            self.be_alive();
            self.turn(until);
        }
    }

    /// No more faults; returns when everything has come to rest.
    pub(crate) fn settle(&mut self) {
        self.calm();
        let until = self.in_time(WAIT_MAX);
        loop {
            // A request that failed before the weather calmed may still end it.
            self.be_alive();
            let now = self.now();
            let process = self.process.as_ref().expect("invariant: just seen to it");
            if process.runnable(now).is_empty() && process.is_quiet() {
                return;
            }
            assert!(now < until, "the cluster has not come to rest within an hour of calm weather");
            self.turn(until);
        }
    }

    /// The story is told: everything must come to rest, end in order, and start again from its files.
    pub(crate) fn end(&mut self) {
        self.settle();
        // What failed before the weather calmed may still keep one process from closing in order, but not the next.
        if !self.close() {
            self.settle();
            assert!(self.close(), "the process cannot close in calm weather");
        }
        self.settle();
    }

    /// No more faults from here on.
    fn calm(&mut self) {
        self.drawn.calm();
        (self.end, self.room_at) = (None, None);
        self.disk.set_weather(self.drawn.disk.clone());
        self.disk.stop_at(u64::MAX);
        if let Some(process) = &mut self.process {
            process.mesh.set_weather(WireWeather::default());
            process.unstall();
        }
        if self.disk.crashed() && self.process.is_some() {
            self.die_by_cut();
        }
        if !std::mem::replace(&mut self.is_calm, true) {
            self.note("the weather calms");
        }
    }

    /// Cuts the power now.
    pub(crate) fn cut_power(&mut self) {
        self.be_alive();
        self.die_by_cut();
    }

    /// Kills the process now.
    pub(crate) fn kill(&mut self) {
        self.be_alive();
        self.die_by_kill();
    }

    /// Ends the process in order, so that the next one starts from its files; says whether that went well.
    pub(crate) fn close(&mut self) -> bool {
        self.be_alive();
        let process = self.process.take().expect("invariant: just seen to it");
        let closed = process.close();
        let is_cut = self.disk.crashed();
        match &closed {
            _ if is_cut => self.end_life("the power is cut while it closes"),
            Ok(()) => self.end_life("the process is closed in order"),
            Err(why) => self.stopped(why),
        }
        self.tell_all("the process ended");
        self.recover(is_cut);
        closed.is_ok() && !is_cut
    }

    /// Tells all clients that nothing they wait for will come.
    fn tell_all(&self, what: &str) {
        self.connections.iter().for_each(|connection| connection.lose(what));
    }

    /// One step of a thread, or a sleep.
    fn turn(&mut self, until: Nanos) {
        if self.disk.crashed() {
            return self.die_by_cut();
        }
        let now = self.now();
        if self.room_at.is_some_and(|at| at <= now) {
            self.room_at = None;
            self.disk.set_weather(self.drawn.disk.clone());
            self.note("the disk has room again");
        }
        let process = self.process.as_mut().expect("invariant: alive");
        let runnable = process.runnable(now);
        if runnable.is_empty() {
            let arrivals = self.wires.iter().flatten().filter_map(SimWire::next_due);
            let next = process.next_due(now).into_iter().chain(arrivals).chain(self.room_at);
            let next = next.filter(|at| *at > now).min().unwrap_or(until);
            return self.weather.clock.advance_to(next.min(until));
        }
        let at = *self.chance.pick(&runnable);
        if self.chance.chance_ppm(self.drawn.stall_ppm) {
            process.stall(at, Nanos(now.0 + self.chance.within(1_000_000..3_000_000_000)));
            return;
        }
        let panics = self.chance.chance_ppm(self.drawn.panic_ppm);
        // Some steps run many closures, most of them few.
        let most = if panics { *self.chance.pick(&[5, 40]) } else { 0 };
        let fuse = if panics { 1 + self.chance.below(most) } else { 0 };
        self.steps += 1;
        self.life_steps += 1;
        assert!(self.steps < STEP_COUNT_MAX, "after {STEP_COUNT_MAX} steps the cluster is still busy");
        match self.end {
            Some(End::CutAtStep(step)) if step <= self.life_steps => self.disk.stop(),
            Some(End::KillAtStep(step)) if step <= self.life_steps => return self.die_by_kill(),
            _ => {}
        }
        self.weather.trace.note(at as u64);
        self.weather.clock.advance(STEP_NS);
        if let Err(why) = process.step(at, fuse) {
            if self.disk.crashed() {
                return self.die_by_cut();
            }
            self.stopped(&why);
            self.recover(false);
        }
    }

    /// The process stopped by itself: nothing but the disk may be the reason.
    fn stopped(&mut self, why: &str) {
        assert!(self.life_may_fail, "the process stopped without a failed request: {why}");
        self.end_life(&format!("the process stops: {why}"));
        self.stop_count += 1;
    }

    fn die_by_cut(&mut self) {
        let requests = self.disk.submitted();
        self.disk.stop();
        self.end_life(&format!("the power is cut after {requests} requests of the disk"));
        self.recover(true);
    }

    fn die_by_kill(&mut self) {
        self.end_life("the process is killed");
        self.recover(false);
    }

    /// A life is over: whoever waits is told. A process that has not come up yet owes nobody anything, and may be
    /// starting since a client sends.
    fn end_life(&mut self, what: &str) {
        self.note(what);
        let lived = self.process.take().is_some();
        self.ended += 1;
        self.wires.iter_mut().for_each(|wire| *wire = None);
        if lived {
            self.tell_all(what);
        }
    }

    /// The disk that the next life finds.
    fn recover(&mut self, is_cut: bool) {
        let image = if is_cut { self.disk.crash(&mut self.chance) } else { self.disk.kill(&mut self.chance) };
        self.weather.trace.note(image.digest());
        if self.end.take().is_some() {
            self.drawn.crash_count = self.drawn.crash_count.saturating_sub(1);
        }
        let down_ns = self.chance.within(1_000_000..500_000_000);
        self.weather.clock.advance(down_ns);
        self.new_disk(image);
    }

    fn new_disk(&mut self, image: Image) {
        if self.stop_count >= STOP_COUNT_MAX {
            self.drawn.disk = DiskWeather { latency_ns: self.drawn.disk.latency_ns.clone(), ..DiskWeather::default() };
            self.drawn.room = None;
        }
        let capacity = self.drawn.room.map(|room| image.size() + room);
        self.disk = SimDisk::new(&self.weather, DiskWeather { capacity, ..self.drawn.disk.clone() }, image);
        self.room_at = None;
        if capacity.is_some() {
            let after_ms = self.chance.within(100..30_000);
            self.room_at = Some(self.now().plus_ms(after_ms));
        }
    }

    /// Starts the process if there is none, as often as it takes.
    fn be_alive(&mut self) {
        while self.process.is_none() {
            self.life_steps = 0;
            self.life_may_fail = self.drawn.may_fail();
            if self.drawn.crash_count > 0 {
                let end = self.drawn.draw_end(self.tasks, &mut self.chance);
                self.end = Some(end);
                if let End::CutAtRequest(request) = end {
                    self.disk.stop_at(request);
                }
            }
            let def = (self.define)().unwrap_or_else(|errors| panic!("{errors}"));
            let ground = Ground {
                weather: &self.weather,
                disk: &self.disk,
                drawn: &self.drawn,
                tasks: self.tasks,
                threads: self.threads,
            };
            match Process::open(&ground, def) {
                Ok(process) => {
                    self.runtime = Some(Arc::clone(&process.runtime));
                    self.process = Some(process);
                    let text = format!("life {} begins: {} tasks on {} threads", self.ended, self.tasks, self.threads);
                    self.note(&text);
                }
                Err(_) if self.disk.crashed() => {
                    self.weather.marks.hit(mark::CRASH_IN_RECOVERY);
                    self.die_by_cut();
                }
                Err(why) => {
                    self.stopped(&format!("it cannot start: {why}"));
                    self.recover(false);
                }
            }
        }
    }
}
