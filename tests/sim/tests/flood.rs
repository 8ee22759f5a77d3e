//! Two tasks that flood each other: no deadlock, every event once, and memory that does not grow with the flood.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::print_stdout, reason = "the most memory in use is told to whoever looks")]

use std::collections::VecDeque;
use tantu_base::door::{LetterBatch, Nanos, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId};
use tantu_base::value::{Encode, Reader};
use tantu_net::letter::{AckLevel, Letter};
use tantu_path::{Map, Navigate, path};
use tantu_sim::EngineCluster;
use tantu_sim::cluster::{Cluster, Machine, Rest};
use tantu_sim::flood::FAN;
use tantu_sim::swarm::{Kind, Swarm};
use tantu_weather::{Image, SimDisk, SimEntropy, SimMesh, SimWire, Weather};

/// Records, half of them on each task.
const RECORD_COUNT: u64 = 120;
/// What a thread may hold while the flood is many times as large.
const MEMORY_MAX: usize = 40 << 20;

/// Steps both threads in turns until all is at rest; the most that one of them ever held.
fn settle(
    cluster: &mut EngineCluster,
    world: &Weather,
    wire: &mut SimWire,
    mut unsent: VecDeque<(u32, LetterBatch)>,
) -> usize {
    let mut most = 0;
    for _ in 0..20_000_000 {
        world.clock.advance(500);
        if let Some((thread, batch)) = unsent.pop_front() {
            match wire.send(Peer(thread), Category::Client, batch) {
                Ok(()) => wire.ring_bells(),
                Err(batch) => unsent.push_back((thread, batch)),
            }
        }
        let mut busy = !unsent.is_empty();
        for thread in 0..2 {
            busy |= cluster.step(thread).unwrap() == Rest::Busy || cluster.has_arrivals(thread);
            most = most.max(cluster.memory_in_use(thread));
        }
        if busy {
            continue;
        }
        match cluster.next_arrival() {
            Some(at) => world.clock.advance_to(at),
            None if cluster.is_quiet() => return most,
            None => world.clock.advance_to(Nanos(world.clock.time().0 + 1_000_000)),
        }
    }
    panic!("it never came to rest");
}

#[test]
fn two_tasks_that_flood_each_other_hold_bounded_memory_and_come_to_rest() {
    let mut swarm = Swarm::draw(&mut SimEntropy::new(1), None).calm();
    (swarm.kind, swarm.tasks, swarm.threads, swarm.trim) = (Kind::Flood, 2, 2, None);
    swarm.wire.lane_capacity = 1;
    let world = Weather::new(1);
    // The engine yields by the clock.
    world.clock.set_tick_ns(300);
    let disk = SimDisk::new(&world, swarm.disk.clone(), Image::default());
    let mesh = SimMesh::new(&world, swarm.wire.clone(), swarm.threads);
    let mut wire = mesh.client();
    let mut cluster = EngineCluster::open(&Machine { world: &world, disk: &disk, mesh: &mesh, swarm: &swarm }).unwrap();
    let append = |request: u64| {
        let mut record = Vec::new();
        format!("record {request}").encode(&mut record);
        let task = TaskId((request % 2) as u32);
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        Letter::Append { task, request, depot: 0, ack: AckLevel::None, record: &record }.encode(&mut batch.bytes);
        (task.0, batch)
    };
    let most = settle(&mut cluster, &world, &mut wire, (0..RECORD_COUNT).map(append).collect());
    let hits = read_hits(&mut cluster, &world, &mut wire);
    assert_eq!(hits, RECORD_COUNT as i64 * (FAN * FAN) as i64);
    let flood = RECORD_COUNT as usize * FAN * FAN * 140;
    println!("a thread held {} KiB at most, of a flood of {} KiB", most >> 10, flood >> 10);
    assert!(most < MEMORY_MAX && flood > MEMORY_MAX, "{most} bytes, of a flood of {flood}");
    cluster.close().unwrap();
}

/// What reached both tasks.
fn read_hits(cluster: &mut EngineCluster, world: &Weather, wire: &mut SimWire) -> i64 {
    let all = path::<Map<String, i64>>().all();
    let mut bytes = Vec::new();
    all.path().encode(&mut bytes).unwrap();
    let select = |task: u32| {
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        let (task, request) = (TaskId(task), u64::from(task));
        Letter::Select { task, request, pstate: 0, path: &bytes }.encode(&mut batch.bytes);
        (task.0, batch)
    };
    settle(cluster, world, wire, (0..2).map(select).collect());
    world.clock.advance(1_000_000_000);
    let mut sum = 0;
    while let Some((_, batch)) = wire.receive(Category::Client) {
        let mut reader = FixedReader::new(&batch.bytes);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let Letter::Rows { count, rows, .. } = letter.unwrap() else { panic!("only rows were asked for") };
            let mut reader = Reader::new(rows);
            sum += (0..count).map(|_| path::<Map<String, i64>>().all().read_next(&mut reader).unwrap().1).sum::<i64>();
        }
    }
    sum
}
