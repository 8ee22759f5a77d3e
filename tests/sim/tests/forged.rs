//! A client that sends what only task threads send each other: nobody believes it, and nothing ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Attempt, Category, Epoch, ObjectId, Offset, RunId, TaskId};
use tantu_base::value::Encode;
use tantu_net::letter::{AckLevel, ClientLetter, HoldSays, Letter, MicrobatchSays, Root, StreamLetter};
use tantu_sim::EngineCluster;
use tantu_sim::cluster::{Cluster, Machine, settle};
use tantu_sim::swarm::{Kind, Swarm};
use tantu_weather::{Image, SimDisk, SimEntropy, SimMesh, SimWire, Weather};

/// What a client has no say in, of the last source, query and topology there are and of ones that there are not.
fn forged() -> Vec<Letter<'static>> {
    let (task, topology, fingerprint) = (TaskId(0), 99, 7);
    let mut all = Vec::new();
    for source in 0..6u16 {
        let root = Root { task, source, offset: Offset(0), attempt: 0 };
        all.extend([
            Letter::Done { root, bits: 5 },
            Letter::Failed { root, text: "not so" },
            Letter::End { task, root },
            Letter::Stream(StreamLetter::Returned { root, value: b"?" }),
            Letter::Stream(StreamLetter::Spoiled { root, text: "not so" }),
        ]);
        for query in [0, 99] {
            let (event, arguments, live) = (1, &b"?"[..], &b"?"[..]);
            let position = 0;
            all.push(Letter::Call { task, query, topology, fingerprint, position, root, event, arguments, live });
            let (stream, position) = (query, 99);
            all.push(Letter::Continue { task, stream, fingerprint, position, root, event, live });
        }
        for says in [HoldSays::Ask, HoldSays::Keep, HoldSays::Kept, HoldSays::Gone, HoldSays::Over] {
            all.push(Letter::Client(ClientLetter::Hold { task, root, topology: 0, says, id: 0, lease_ms: 1 }));
        }
        let (table, event, is_partial, rows) = (99, 1, false, &b"?"[..]);
        all.push(Letter::Fold { task, topology: source, fingerprint, table, root, event, is_partial, rows });
    }
    for id in [0, 1] {
        for topology in (0..12).map(ObjectId) {
            let run = RunId { topology, id, attempt: Attempt { epoch: Epoch(1), counter: 0 } };
            use MicrobatchSays::{Abandon, Begin, Ends, Events, Failed, Finished, Prepare, Prepared, Prime, Primed};
            for says in [Abandon, Begin, Ends, Events, Failed, Finished, Prepare, Prepared, Prime, Primed] {
                all.push(Letter::Microbatch { task, from: task, run, epoch: Epoch(1), says, body: b"?" });
            }
        }
    }
    all.push(Letter::Events { rows: b"?" });
    all
}

fn send(wire: &mut SimWire, letter: &Letter<'_>) {
    let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
    letter.encode(&mut batch.bytes);
    wire.send(Peer(0), Category::Client, batch).unwrap();
    wire.ring_bells();
}

#[test]
fn what_only_task_threads_send_is_dropped_when_a_client_sends_it() {
    let mut swarm = Swarm::draw(&mut SimEntropy::new(1), None).calm();
    (swarm.kind, swarm.tasks, swarm.threads, swarm.exact, swarm.trim) = (Kind::Words, 1, 1, true, None);
    let world = Weather::new(1);
    let disk = SimDisk::new(&world, swarm.disk.clone(), Image::default());
    let mesh = SimMesh::new(&world, swarm.wire.clone(), swarm.threads);
    let mut wire = mesh.client();
    let mut cluster = EngineCluster::open(&Machine { world: &world, disk: &disk, mesh: &mesh, swarm: &swarm }).unwrap();
    let letters = forged();
    for (number, letter) in letters.iter().enumerate() {
        send(&mut wire, letter);
        settle(&mut cluster, &world);
        assert!(wire.receive(Category::Client).is_none(), "an answer to {letter:?}");
        if number % 50 == 0 {
            let mut record = Vec::new();
            format!("line {number}").encode(&mut record);
            let (task, request, ack) = (TaskId(0), number as u64, AckLevel::Ack);
            send(&mut wire, &Letter::Append { task, request, depot: 0, ack, record: &record });
            settle(&mut cluster, &world);
            let (_, batch) = wire.receive(Category::Client).unwrap();
            let answer = Letter::decode_next(&mut FixedReader::new(&batch.bytes)).unwrap().unwrap();
            assert!(matches!(answer, Letter::Appended { request: of, .. } if of == request), "{answer:?}");
        }
    }
    assert!(letters.iter().all(|letter| !letter.is_request()));
    cluster.close().unwrap();
}
