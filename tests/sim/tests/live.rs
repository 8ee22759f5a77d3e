//! What a live topology costs the disk, counted on the simulated one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::{Category, TaskId};
use tantu_base::value::Encode;
use tantu_lsm::TreeOptions;
use tantu_net::letter::{AckLevel, Letter};
use tantu_sim::EngineCluster;
use tantu_sim::cluster::{Cluster, Machine, settle};
use tantu_sim::swarm::{Kind, Swarm};
use tantu_state::segment::SegmentOptions;
use tantu_weather::{Image, OpKind, SimDisk, SimEntropy, SimMesh, Weather};

#[test]
fn a_topology_that_keeps_up_reads_nothing_from_the_disk_while_its_depot_is_copied_to_segments() {
    let mut swarm = Swarm::draw(&mut SimEntropy::new(1), None).calm();
    (swarm.kind, swarm.tasks, swarm.threads, swarm.noting, swarm.trim) = (Kind::Words, 1, 1, false, None);
    (swarm.exact, swarm.tree) = (false, TreeOptions::default());
    swarm.chunks = SegmentOptions { segment_size_max: 32 << 10, chunk_size_max: 2 << 10, ..SegmentOptions::default() };
    let world = Weather::new(1);
    let disk = SimDisk::new(&world, swarm.disk.clone(), Image::default());
    let mesh = SimMesh::new(&world, swarm.wire.clone(), swarm.threads);
    let mut wire = mesh.client();
    let mut cluster = EngineCluster::open(&Machine { world: &world, disk: &disk, mesh: &mesh, swarm: &swarm }).unwrap();
    let reads = disk.count(OpKind::Read);
    for round in 0..100u64 {
        let mut batch = LetterBatch::default();
        for line in 0..20 {
            let mut record = Vec::new();
            format!("line {round} {line}").encode(&mut record);
            let (request, ack) = (round * 20 + line, AckLevel::Ack);
            Letter::Append { task: TaskId(0), request, depot: 0, ack, record: &record }.encode(&mut batch.bytes);
            batch.count += 1;
        }
        wire.send(Peer(0), Category::Client, batch).unwrap();
        wire.ring_bells();
        settle(&mut cluster, &world);
        while wire.receive(Category::Client).is_some() {}
    }
    let written = disk.image().files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg")).count();
    assert!(written >= 2, "{written} segments");
    assert_eq!(disk.count(OpKind::Read), reads, "every record was in memory when its turn came");
    cluster.close().unwrap();
}
