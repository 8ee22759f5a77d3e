//! A module as its task threads know it: the definition and the durable ids of its objects.

use crate::micro::MicrobatchDef;
use crate::module::ModuleDef;
use crate::plan::Plan;
use crate::query::QueryDef;
use tantu_base::id::{ObjectId, TaskId, ThreadId};

/// Shared, read only, by every task thread and client of a module instance.
#[derive(Debug)]
pub struct ModuleRuntime {
    /// What the author declared.
    pub def: ModuleDef,
    /// How many tasks: a power of two.
    pub task_count: u32,
    /// How many task threads.
    pub thread_count: u32,
    /// Durable ids of the depots, by their place in the definition.
    pub depots: Vec<ObjectId>,
    /// Durable ids of the PStates, by their place in the definition.
    pub pstates: Vec<ObjectId>,
    /// Durable ids of the progress of every source: streams in order, their sources in order.
    pub sources: Vec<ObjectId>,
    /// Durable ids of the microbatch topologies, by their place in the definition.
    pub microbatches: Vec<MicrobatchObjects>,
    /// Durable ids of microbatch topologies that the module had once and has no more.
    pub removed_microbatches: Vec<ObjectId>,
}

/// Durable ids of a microbatch topology.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MicrobatchObjects {
    /// Of what it keeps about itself.
    pub topology: ObjectId,
    /// Of the progress of its sources, in order.
    pub sources: Vec<ObjectId>,
}

/// The thread of a task: they are dealt out in turn.
pub(crate) fn thread_of(task: u32, thread_count: u32) -> u32 {
    task % thread_count
}

/// The tasks of a thread, in order.
pub(crate) fn tasks_of(thread: u32, thread_count: u32, task_count: u32) -> impl Iterator<Item = u32> + use<> {
    let from = if thread < thread_count { thread } else { task_count };
    (from..task_count).step_by(thread_count as usize)
}

impl ModuleRuntime {
    /// Which thread runs a task.
    pub fn thread_of(&self, task: TaskId) -> ThreadId {
        ThreadId(thread_of(task.0, self.thread_count))
    }

    /// The tasks of a thread, in order.
    pub fn tasks_of(&self, thread: ThreadId) -> impl Iterator<Item = TaskId> + use<> {
        tasks_of(thread.0, self.thread_count, self.task_count).map(TaskId)
    }

    /// The plan of a topology. Streams come first, then queries, then microbatch topologies.
    pub fn plan(&self, topology: u16) -> Option<&Plan> {
        let ModuleDef { streams, queries, microbatches, .. } = &self.def;
        let at = usize::from(topology);
        if let Some(stream) = streams.get(at) {
            return Some(&stream.plan);
        }
        let rest =
            queries.iter().map(|query| &query.plan).chain(microbatches.iter().map(|microbatch| &microbatch.plan));
        rest.map(|plan| &**plan).nth(at - streams.len())
    }

    /// The microbatch topology at this place, the number of its topology, and that of its roots among those of sources.
    pub fn microbatch(&self, at: usize) -> Option<(&MicrobatchDef, u16, u16)> {
        let def = self.def.microbatches.get(at)?;
        let ModuleDef { streams, queries, .. } = &self.def;
        let topology = streams.len() + queries.len() + at;
        Some((def, topology as u16, (self.sources.len() + queries.len() + at) as u16))
    }

    /// The query that is this topology, and the number of the roots of its calls among those of sources.
    pub fn query(&self, at: usize) -> Option<(&QueryDef, u16, u16)> {
        let query = self.def.queries.get(at)?;
        Some((query, (self.def.streams.len() + at) as u16, (self.sources.len() + at) as u16))
    }

    /// Every source of the module: the stream it belongs to and its place there.
    pub fn all_sources(&self) -> impl Iterator<Item = (usize, usize)> {
        self.def
            .streams
            .iter()
            .enumerate()
            .flat_map(|(stream, def)| (0..def.sources.len()).map(move |source| (stream, source)))
    }

    /// How many sources of the module read a depot.
    pub fn source_count(&self, depot: usize) -> u16 {
        self.def.streams.iter().flat_map(|stream| &stream.sources).filter(|source| source.depot == depot).count() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_of_one_thread_and_no_thread_has_two_more_than_another() {
        for task_count in [1, 2, 4, 64, 1_024] {
            for thread_count in (1..=task_count.min(70)).chain([task_count]) {
                let of = |thread| tasks_of(thread, thread_count, task_count).collect::<Vec<u32>>();
                let all: Vec<Vec<u32>> = (0..thread_count).map(of).collect();
                let counts = || all.iter().map(Vec::len);
                assert!(counts().max() <= counts().min().map(|least| least + 1), "{task_count} on {thread_count}");
                let mut tasks: Vec<u32> = all.iter().flatten().copied().collect();
                tasks.sort_unstable();
                assert!(tasks.into_iter().eq(0..task_count));
                for (thread, tasks) in (0..).zip(&all) {
                    assert!(tasks.iter().all(|task| thread_of(*task, thread_count) == thread));
                }
                assert!(of(thread_count).is_empty(), "there is no such thread");
            }
        }
    }
}
