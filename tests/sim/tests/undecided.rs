//! A microbatch between two threads of which the test plays the second, which may be primed and never prepared: what becomes of what is
//! prepared and not decided when the process dies, in memory or on the disk; and of what is published.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use tantu_base::door::{LetterBatch, Nanos, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId, ThreadId};
use tantu_base::value::encoded;
use tantu_flow::{Module, ModuleDef, ModuleRuntime, PStateOptions, Setup, Topologies, custom, define, disallow};
use tantu_net::letter::{AckLevel, Letter, MicrobatchAsk, MicrobatchSays};
use tantu_path::{Map, agg};
use tantu_sim::module::{dir, prepare};
use tantu_task::{TaskThread, ThreadConfig};
use tantu_weather::{DiskWeather, Image, SimDisk, SimDoors, SimEntropy, SimMesh, SimWire, Weather, WireWeather};

/// What a microbatch appends on task 0: many slices of it, together less than a chunk of a segment.
const NOTE_COUNT: u64 = 15;
const NOTE_SIZE: usize = 60 << 10;

/// Counts its microbatches, and has notes of each.
struct Counter<const HAS_TOPOLOGY: bool>;

impl<const HAS_TOPOLOGY: bool> Module for Counter<HAS_TOPOLOGY> {
    fn name() -> String {
        "Counter".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", custom(|_: &i64, _| 0));
        let notes = setup.declare_depot::<String>("*notes", disallow());
        if HAS_TOPOLOGY {
            let mut counter = topologies.microbatch("counter");
            let runs = counter.pstate_with::<Map<i64, i64>>("$$runs", PStateOptions::global());
            // Where it begins: on task 0.
            counter.source(&numbers, move |m, _| {
                let key = m.each((), |()| 0i64);
                m.compound_agg(runs, agg::key(key, agg::count()));
                let note = m.explode(key, |_| (0..NOTE_COUNT).map(|_| "n".repeat(NOTE_SIZE)).collect::<Vec<_>>());
                m.depot_partition_append(notes, note, AckLevel::None);
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
    /// Whether it says that it has published.
    publishes: bool,
    /// When it was told last to publish, and that all is finished.
    told: [Option<Nanos>; 2],
}

/// Where a microbatch has what it writes and appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Memory,
    Disk,
}

impl Life {
    fn begin(def: ModuleDef, image: Image, seed: u64) -> Life {
        Life::begin_in(Place::Memory, def, image, seed)
    }

    fn begin_in(place: Place, def: ModuleDef, image: Image, seed: u64) -> Life {
        let world = Weather::new(seed);
        let disk = SimDisk::new(&world, DiskWeather::default(), image);
        let mesh = SimMesh::new(&world, WireWeather { delay_ns: 0..1, ..WireWeather::default() }, 2);
        let (client, peer) = (mesh.client(), mesh.thread(1));
        let module: Arc<ModuleRuntime> = prepare(&mut disk.another(), def, 2, 2).unwrap();
        let mut doors = SimDoors::new(&world, disk.another(), mesh.thread(0), 1);
        let mut config = ThreadConfig::new(ThreadId(0), dir(), module);
        if place == Place::Disk {
            config.state.side_memory_size_max = 0;
        }
        let thread = TaskThread::open(config, &mut doors.open()).unwrap();
        Life { world, disk, doors, thread, client, peer, prepares: false, publishes: false, told: [None; 2] }
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
        let now = Some(self.world.clock.time());
        let says = match says {
            MicrobatchSays::Prime => MicrobatchSays::Primed,
            MicrobatchSays::Prepare if self.prepares => MicrobatchSays::Prepared,
            MicrobatchSays::Publish if self.publishes => {
                self.told[0] = now;
                MicrobatchSays::Published
            }
            MicrobatchSays::Finished => {
                self.told[1] = now;
                return;
            }
            _ => return,
        };
        let (task, from, body) = (TaskId(0), TaskId(1), 7u64.to_le_bytes());
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        Letter::Microbatch { task, from, run: *run, epoch: run.attempt.epoch, says, body: &body }
            .encode(&mut batch.bytes);
        self.peer.send(Peer(0), Category::FlexLatency, batch).unwrap();
    }

    /// A client appends a number.
    fn append(&mut self) {
        let record = &encoded(&1i64);
        let letter = Letter::Append { task: TaskId(0), request: 1, depot: 0, ack: AckLevel::None, record };
        self.send(Category::Client, &letter);
    }

    /// Notes that can be read.
    fn noted(&self) -> u64 {
        self.thread.depot_ends().iter().filter(|(_, depot, _)| *depot == 1).map(|(.., end)| end).sum()
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

fn without_topology() -> ModuleDef {
    define::<Counter<false>>().unwrap()
}

/// A disk with an attempt that is prepared on task 0; paused or not.
fn prepared(is_paused: bool, place: Place) -> Image {
    let mut life = Life::begin_in(place, with_topology(), Image::default(), 1);
    life.append();
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
    let cases = [Place::Memory, Place::Disk].map(|place| [true, false].map(|is_paused| (place, is_paused)));
    for (place, is_paused) in cases.into_iter().flatten() {
        let def = if is_paused { with_topology() } else { without_topology() };
        let mut life = Life::begin(def, prepared(is_paused, place), 2);
        assert_eq!(life.thread.prepared_count(), usize::from(is_paused), "gone at once, or when it is told so");
        let mut steps = 0;
        life.until("it goes", |life| {
            steps += usize::from(life.thread.prepared_count() == 0);
            steps == 1_000
        });
        let left = life.end(2);
        // The log says so: it is not found again by the topology that comes back.
        let life = Life::begin(with_topology(), left, 3);
        assert_eq!(life.thread.prepared_count(), 0, "paused: {is_paused}, in {place:?}");
    }
}

#[test]
fn what_was_prepared_and_not_decided_is_tried_again_where_its_topology_runs() {
    let mut life = Life::begin(with_topology(), prepared(false, Place::Memory), 2);
    assert_eq!(life.thread.prepared_count(), 1, "it survived");
    life.until("another attempt begins", |life| life.thread.prepared_count() == 0);
    life.until("it is prepared", |life| life.thread.prepared_count() == 1);
}

#[test]
fn a_decided_microbatch_of_a_topology_that_is_gone_is_kept_until_the_topology_is_back() {
    let mut life = Life::begin(with_topology(), Image::default(), 1);
    life.prepares = true;
    life.append();
    life.until("it is prepared", |life| life.thread.prepared_count() == 1);
    // It is published here, and never on the other thread.
    life.until("it is published", |life| life.thread.prepared_count() == 0);
    let life = Life::begin(without_topology(), life.end(1), 2);
    assert!(life.thread.owes_removed());
    let mut life = Life::begin(with_topology(), life.end(2), 3);
    assert!(!life.thread.owes_removed() && life.thread.hold_microbatches(), "it is carried out");
}

#[test]
fn what_a_microbatch_appended_by_way_of_the_disk_can_be_read_when_its_topology_is_gone() {
    let mut life = Life::begin_in(Place::Disk, with_topology(), Image::default(), 1);
    life.prepares = true;
    life.append();
    life.until("it is published here", |life| life.noted() == NOTE_COUNT);
    // The notes are in the log and in the files of runs only: they come from there once more.
    let mut life = Life::begin(without_topology(), life.end(1), 2);
    assert_eq!(life.noted(), 0);
    life.until("they can be read", |life| life.noted() == NOTE_COUNT);
    life.until("nothing is left to do", |life| life.thread.is_quiet());
    let Life { disk, mut doors, thread, .. } = life;
    thread.close(&mut doors.open()).unwrap();
    drop(doors);
    let life = Life::begin(with_topology(), disk.crash(&mut SimEntropy::new(2)), 3);
    assert_eq!(life.noted(), NOTE_COUNT);
}

#[test]
fn a_microbatch_that_appends_by_way_of_the_disk_is_finished_as_soon_as_the_last_record_can_be_read() {
    let mut life = Life::begin_in(Place::Disk, with_topology(), Image::default(), 1);
    (life.prepares, life.publishes) = (true, true);
    life.append();
    // Nothing else happens on the thread, and what is appended is too little to be copied to a segment.
    life.until("it is finished", |life| life.told[1].is_some());
    let [Some(publish), Some(finished)] = life.told else { panic!("both were told: {:?}", life.told) };
    let took_ms = finished.since(publish) / 1_000_000;
    assert!(life.noted() == NOTE_COUNT && took_ms < 100, "{took_ms} ms");
}
