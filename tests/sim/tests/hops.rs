//! A task thread beside one that the test plays: when its events leave it, and when it sleeps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use tantu_base::door::{Doors, LetterBatch, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId, ThreadId};
use tantu_base::value::encoded;
use tantu_flow::{Module, Setup, Topologies, custom, define};
use tantu_net::event::{Event, EventWriter, Events};
use tantu_net::letter::{AckLevel, Letter};
use tantu_sim::module::{dir, prepare};
use tantu_task::limit::{BATCH_FAR_COUNT_MAX, LINGER_STEP_COUNT};
use tantu_task::{Progress, TaskThread, ThreadConfig};
use tantu_weather::{DiskWeather, Image, SimDisk, SimDoors, SimMesh, SimWire, Weather, WireWeather};

/// Records, all of them on task 0: more than leave at a time.
const RECORD_COUNT: usize = 5 * BATCH_FAR_COUNT_MAX;

/// Where numbers end: far from 0, so that what travels is worth a letter of its own.
const GROUND: i64 = 1 << 56;

/// A number lives on the task of its parity, and is counted down one at a time.
struct Countdown;

impl Module for Countdown {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let starts = setup.declare_depot::<i64>("*starts", custom(|n: &i64, _| n % 2));
        topologies.stream("countdown").source(&starts, |b, n| {
            b.repeat(n, |b, rounds, n| {
                b.filter(n, |n| n > GROUND + 1);
                let less = b.each(n, |n| n - 1);
                let to = b.each(less, |less| less % 2);
                b.direct_partition(to);
                b.continue_loop(rounds, less);
            });
        });
    }
}

/// Letters of events that have come from thread 0: of how many each is, and all events.
fn events<'b>(batches: &'b [LetterBatch]) -> (Vec<usize>, Vec<Event<'b>>) {
    let mut reader;
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    for batch in batches {
        reader = FixedReader::new(&batch.bytes);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            if let Letter::Events { rows } = letter.unwrap() {
                let before = all.len();
                all.extend(Events::new(rows).map(Result::unwrap));
                sizes.push(all.len() - before);
            }
        }
    }
    (sizes, all)
}

fn appends(wire: &mut SimWire) {
    let mut batch = LetterBatch { bytes: Vec::new(), count: RECORD_COUNT as u32 };
    for request in 0..RECORD_COUNT as u64 {
        let record = &encoded(&(GROUND + 2));
        Letter::Append { task: TaskId(0), request, depot: 0, ack: AckLevel::None, record }.encode(&mut batch.bytes);
    }
    wire.send(Peer(0), Category::Client, batch).unwrap();
}

#[test]
fn events_leave_while_others_of_their_task_wait_and_their_thread_looks_for_answers_before_it_sleeps() {
    let world = Weather::new(5);
    let disk = SimDisk::new(&world, DiskWeather::default(), Image::default());
    let mesh = SimMesh::new(&world, WireWeather { delay_ns: 0..1, ..WireWeather::default() }, 2);
    let (mut client, mut peer) = (mesh.client(), mesh.thread(1));
    let module = prepare(&mut disk.another(), define::<Countdown>().unwrap(), 2, 2).unwrap();
    let mut doors = SimDoors::new(&world, disk.another(), mesh.thread(0), 1);
    let config = ThreadConfig::new(ThreadId(0), dir(), module.clone());
    let mut thread = TaskThread::open(config, &mut doors.open()).unwrap();
    let mut step = |doors: &mut Doors<'_>| {
        world.clock.advance(1_000);
        thread.step(doors).unwrap()
    };
    appends(&mut client);
    let mut batches = Vec::new();
    for _ in 0..10_000 {
        step(&mut doors.open());
        batches.extend(std::iter::from_fn(|| peer.receive(Category::LowLatency)).map(|(_, batch)| batch));
    }
    let (sizes, sent) = events(&batches);
    assert_eq!(sent.len(), RECORD_COUNT);
    assert!(sizes.iter().all(|size| *size <= BATCH_FAR_COUNT_MAX), "each letter left by itself: {sizes:?}");
    assert!(sent.iter().all(|event| event.task == TaskId(1) && event.live == encoded(&(GROUND + 1))));
    assert!(matches!(step(&mut doors.open()), Progress::Idle { .. }), "it waits for the other thread");

    // All of them come back as they were: each number is where it ends.
    let mut answer = LetterBatch { bytes: Vec::new(), count: 1 };
    Letter::Events { rows: &[] }.encode(&mut answer.bytes);
    let mut writer = EventWriter::default();
    sent.iter().for_each(|event| writer.push(&Event { task: TaskId(0), ..*event }, &mut answer.bytes));
    Letter::set_size(&mut answer.bytes, 0);
    peer.send(Peer(0), Category::LowLatency, answer).unwrap();
    world.clock.advance(1_000);
    assert!(!thread.lingers(), "nobody sent it events so far");
    thread.step(&mut doors.open()).unwrap();
    let lingers = (0..10 * LINGER_STEP_COUNT).take_while(|_| thread.lingers()).count();
    assert_eq!(lingers, LINGER_STEP_COUNT as usize);
    for _ in 0..100_000 {
        if thread.is_quiet() {
            return;
        }
        world.clock.advance(1_000_000);
        thread.step(&mut doors.open()).unwrap();
    }
    panic!("every number came to its end, and its record is not done");
}
