//! Letters of a client on their way to task threads: in order, and those that a ring gives back wait.

use crate::swarm::Swarm;
use std::collections::{BTreeMap, VecDeque};
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::{Category, TaskId};
use tantu_net::letter::Letter;
use tantu_weather::SimWire;

/// See the module.
#[derive(Debug, Default)]
pub struct Post {
    /// By thread.
    lanes: BTreeMap<u32, VecDeque<LetterBatch>>,
}

impl Post {
    /// A letter for the thread of a task.
    pub fn push(&mut self, task: TaskId, letter: &Letter<'_>, swarm: &Swarm) {
        let mut batch = LetterBatch { bytes: Vec::new(), count: 1 };
        letter.encode(&mut batch.bytes);
        self.lanes.entry(task.0 % swarm.threads).or_default().push_back(batch);
    }

    /// Whether a ring gave something back.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Forgets what has not left.
    pub fn clear(&mut self) {
        self.lanes.clear();
    }

    /// Hands letters to the rings. Whether one left.
    pub fn flush(&mut self, wire: &mut SimWire) -> bool {
        let mut sent = false;
        for (thread, batches) in &mut self.lanes {
            while let Some(batch) = batches.pop_front() {
                if let Err(batch) = wire.send(Peer(*thread), Category::Client, batch) {
                    batches.push_front(batch);
                    break;
                }
                sent = true;
            }
        }
        self.lanes.retain(|_, batches| !batches.is_empty());
        if sent {
            wire.ring_bells();
        }
        sent
    }
}
