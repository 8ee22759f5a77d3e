//! A microbatch that is prepared when its process dies, and not decided: what becomes of it where nobody tries it again. The test
//! plays the second thread, which is primed and never prepared.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId, ThreadId};
use tantu_base::value::encoded;
use tantu_flow::{Module, ModuleDef, ModuleRuntime, PStateOptions, Setup, Topologies, custom, define};
use tantu_net::letter::{AckLevel, Letter, MicrobatchAsk, MicrobatchSays};
use tantu_path::{Map, agg};
use tantu_sim::module::{dir, prepare};
use tantu_task::{TaskThread, ThreadConfig};
use tantu_weather::{DiskWeather, Image, SimDisk, SimDoors, SimEntropy, SimMesh, SimWire, Weather, WireWeather};

/// Counts its microbatches.
struct Counter<const HAS_TOPOLOGY: bool>;

impl<const HAS_TOPOLOGY: bool> Module for Counter<HAS_TOPOLOGY> {
    fn name() -> String {
        "Counter".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", custom(|_: &i64, _| 0));
        if HAS_TOPOLOGY {
            let mut counter = topologies.microbatch("counter");
            let runs = counter.pstate_with::<Map<i64, i64>>("$$runs", PStateOptions::global());
            // Where it begins: on task 0.
            counter.source(&numbers, move |m, _| {
                let key = m.each((), |()| 0i64);
                m.compound_agg(runs, agg::key(key, agg::count()));
            });
        }
    }
}

/// A life of the process.
struct Life {
    world: Weather,
    disk: SimDisk,
    doors: SimDoors,
    thread: TaskThread,
    client: SimWire,
    peer: SimWire,
    /// Whether the other thread says that it is prepared.
    prepares: bool,
}

impl Life {
    fn begin(def: ModuleDef, image: Image, seed: u64) -> Life {
        let world = Weather::new(seed);
        let disk = SimDisk::new(&world, DiskWeather::default(), image);
        let mesh = SimMesh::new(&world, WireWeather { delay_ns: 0..1, ..WireWeather::default() }, 2);
        let (client, peer) = (mesh.client(), mesh.thread(1));
        let module: Arc<ModuleRuntime> = prepare(&mut disk.another(), def, 2, 2).unwrap();
        let mut doors = SimDoors::new(&world, disk.another(), mesh.thread(0), 1);
        let config = ThreadConfig::new(ThreadId(0), dir(), module);
        let thread = TaskThread::open(config, &mut doors.open()).unwrap();
        Life { world, disk, doors, thread, client, peer, prepares: false }
    }

    fn send(&mut self, category: Category, letter: &Letter<'_>) {
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        letter.encode(&mut batch.bytes);
        self.client.send(Peer(0), category, batch).unwrap();
    }

    /// Steps the thread until something holds, as the other thread that it primes.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&Life) -> bool) {
        for _ in 0..100_000 {
            self.world.clock.advance(10_000);
            self.thread.step(&mut self.doors.open()).unwrap();
            while let Some((_, batch)) = self.peer.receive(Category::FlexLatency) {
                let mut reader = FixedReader::new(&batch.bytes);
                while let Some(letter) = Letter::decode_next(&mut reader) {
                    self.answer(&letter.unwrap());
                }
            }
            if holds(self) {
                return;
            }
        }
        panic!("{what}");
    }

    fn answer(&mut self, letter: &Letter<'_>) {
        let Letter::Microbatch { run, says, .. } = letter else { return };
        let says = match says {
            MicrobatchSays::Prime => MicrobatchSays::Primed,
            MicrobatchSays::Prepare if self.prepares => MicrobatchSays::Prepared,
            _ => return,
        };
        let (task, from, body) = (TaskId(0), TaskId(1), 7u64.to_le_bytes());
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        Letter::Microbatch { task, from, run: *run, epoch: run.attempt.epoch, says, body: &body }
            .encode(&mut batch.bytes);
        self.peer.send(Peer(0), Category::FlexLatency, batch).unwrap();
    }

    /// The process dies; what is on the disk.
    fn end(self, seed: u64) -> Image {
        let Life { disk, doors, thread, .. } = self;
        drop((doors, thread));
        disk.crash(&mut SimEntropy::new(seed))
    }
}

fn with_topology() -> ModuleDef {
    define::<Counter<true>>().unwrap()
}

/// A disk with an attempt that is prepared on task 0; paused or not.
fn prepared(is_paused: bool) -> Image {
    let mut life = Life::begin(with_topology(), Image::default(), 1);
    let record = &encoded(&1i64);
    life.send(Category::Client, &Letter::Append { task: TaskId(0), request: 1, depot: 0, ack: AckLevel::None, record });
    life.until("it is prepared", |life| life.thread.prepared_count() == 1);
    if is_paused {
        let ask = MicrobatchAsk::Pause;
        life.send(Category::FlexLatency, &Letter::AskMicrobatch { task: TaskId(0), request: 2, topology: 0, ask });
        let mut steps = 0;
        life.until("the pause is durable", |_| {
            steps += 1;
            steps == 1_000
        });
    }
    life.end(1)
}

#[test]
fn what_was_prepared_and_not_decided_goes_where_its_topology_is_paused_or_gone_and_stays_gone() {
    for (is_paused, def) in [(true, with_topology()), (false, define::<Counter<false>>().unwrap())] {
        let mut life = Life::begin(def, prepared(is_paused), 2);
        assert_eq!(life.thread.prepared_count(), usize::from(is_paused), "gone at once, or when it is told so");
        let mut steps = 0;
        life.until("it goes", |life| {
            steps += usize::from(life.thread.prepared_count() == 0);
            steps == 1_000
        });
        let left = life.end(2);
        // The log says so: it is not found again by the topology that comes back.
        let life = Life::begin(with_topology(), left, 3);
        assert_eq!(life.thread.prepared_count(), 0, "paused: {is_paused}");
    }
}

#[test]
fn what_was_prepared_and_not_decided_is_tried_again_where_its_topology_runs() {
    let mut life = Life::begin(with_topology(), prepared(false), 2);
    assert_eq!(life.thread.prepared_count(), 1, "it survived");
    life.until("another attempt begins", |life| life.thread.prepared_count() == 0);
    life.until("it is prepared", |life| life.thread.prepared_count() == 1);
}

#[test]
fn a_decided_microbatch_of_a_topology_that_is_gone_is_kept_until_the_topology_is_back() {
    let mut life = Life::begin(with_topology(), Image::default(), 1);
    life.prepares = true;
    let record = &encoded(&1i64);
    life.send(Category::Client, &Letter::Append { task: TaskId(0), request: 1, depot: 0, ack: AckLevel::None, record });
    life.until("it is prepared", |life| life.thread.prepared_count() == 1);
    // It is published here, and never on the other thread.
    life.until("it is published", |life| life.thread.prepared_count() == 0);
    let life = Life::begin(define::<Counter<false>>().unwrap(), life.end(1), 2);
    assert!(life.thread.owes_removed());
    let mut life = Life::begin(with_topology(), life.end(2), 3);
    assert!(!life.thread.owes_removed() && life.thread.hold_microbatches(), "it is carried out");
}
