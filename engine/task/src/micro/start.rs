//! Where microbatch topologies go on when a thread opens.

use crate::micro::Micro;
use crate::micro::coordinator::{Coordinator, Known, Setting};
use crate::micro::part::{Part, PartSource};
use crate::micro::record::{Fixed, Record, decode_decided, decode_finished};
use crate::open::{Meeting, first_offset};
use crate::thread::{StopReason, TaskThread, ThreadConfig};
use std::sync::Arc;
use tantu_base::door::{Doors, Peer};
use tantu_base::id::{Attempt, Category, Epoch, ObjectId, RunId, TaskId};
use tantu_lsm::BlockCache;
use tantu_net::letter::{Letter, MicrobatchSays};
use tantu_state::TaskState;
use tantu_state::task::StateError;

/// The participants of a task.
pub(crate) fn open_parts(
    config: &ThreadConfig,
    state: &mut TaskState,
    cache: &mut BlockCache,
    doors: &mut Doors<'_>,
) -> Result<Vec<Part>, StopReason> {
    let module = &*config.module;
    let mut parts = Vec::new();
    for (def, ids) in module.def.microbatches.iter().zip(&module.microbatches) {
        let mut sources = Vec::new();
        for (source, object) in def.sources.iter().zip(&ids.sources) {
            let is_here = !module.def.depots[source.depot].global || state.task == TaskId(0);
            let depot = (source.depot, &module.def.depots[source.depot]);
            let meeting = Meeting { topology: &def.name, depot, start: source.start };
            let progress =
                if is_here { first_offset(state, *object, &meeting, cache, doors)? } else { Default::default() };
            sources.push(PartSource { depot: source.depot, object: *object, is_here, progress });
        }
        parts.push(Part::new(ids.topology, sources));
    }
    Ok(parts)
}

impl Micro {
    /// The coordinators, if task 0 is here.
    pub(crate) fn open(
        config: &ThreadConfig,
        zero: Option<&mut TaskState>,
        epoch: Epoch,
        cache: &mut BlockCache,
        doors: &mut Doors<'_>,
    ) -> Result<Micro, StopReason> {
        let mut micro = Micro::default();
        let Some(zero) = zero.filter(|state| state.task == TaskId(0)) else { return Ok(micro) };
        let module = &*config.module;
        for (def, ids) in module.def.microbatches.iter().zip(&module.microbatches) {
            let known = read_known(zero, ids.topology, cache, doors)?;
            let setting = Setting {
                name: def.name.clone(),
                options: def.options,
                topology: ids.topology,
                sources: ids.sources.clone(),
                depots: def.sources.iter().map(|source| source.depot).collect(),
                ticks: def.sources.iter().map(|source| module.def.depots[source.depot].tick).collect(),
                epoch,
                task_count: module.task_count,
                thread_count: module.thread_count,
            };
            micro.coordinators.push(Coordinator::new(setting, known, doors.clock.now()));
        }
        Ok(micro)
    }
}

impl TaskThread {
    /// What undecided microbatches of topologies that the module had once have prepared goes, or the log would be kept for it for
    /// ever: nobody tries them again. A decided one waits for its topology.
    pub(crate) fn abandon_removed(&mut self, doors: &mut Doors<'_>) -> Result<(), StopReason> {
        let module = Arc::clone(&self.config.module);
        let Some(zero) = self.slot_of(TaskId(0)) else { return Ok(()) };
        for topology in module.removed_microbatches.iter().copied() {
            let known = read_known(&mut self.slots[zero].state, topology, &mut self.cache, doors)?;
            let id = known.finished.0 + 1;
            if known.fixed.is_none_or(|fixed| fixed.id < id) {
                continue;
            }
            if known.decided.is_some_and(|run| run.id == id) {
                self.micro.owes_removed = true;
                tracing::warn!(
                    topology = topology.0,
                    microbatch = id,
                    "a microbatch is decided and not finished, and its topology is not in the module any more: the log is kept for it"
                );
                continue;
            }
            let epoch = self.pipeline.epoch();
            let run = RunId { topology, id, attempt: Attempt { epoch, counter: 0 } };
            for task in (0..module.task_count).map(TaskId) {
                match self.slot_of(task) {
                    Some(slot) => self.slots[slot].state.abandon_runs(run),
                    None => {
                        let (from, says) = (TaskId(0), MicrobatchSays::Abandon);
                        let letter = Letter::Microbatch { task, from, run, epoch, says, body: &[] };
                        self.outbox.push(Peer(module.thread_of(task).0), Category::FlexLatency, &letter);
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_known(
    state: &mut TaskState,
    topology: ObjectId,
    cache: &mut BlockCache,
    doors: &mut Doors<'_>,
) -> Result<Known, StopReason> {
    let task = state.task;
    let mut read = |record: Record| state.system_now(doors.disk, cache, &record.key(topology));
    let unreadable = |what| StateError::Unreadable { task, object: topology, what };
    let fixed = read(Record::Fixed)?.map(|bytes| Fixed::decode(&bytes).map_err(|_| unreadable("fixed records")));
    let decided = read(Record::Decided)?;
    let decided = decided.map(|bytes| decode_decided(topology, &bytes).map_err(|_| unreadable("decision")));
    let finished = read(Record::Finished)?;
    let finished = finished.map(|bytes| decode_finished(&bytes).map_err(|_| unreadable("finished microbatch")));
    let paused = read(Record::Paused)?.is_some_and(|bytes| bytes == [1]);
    Ok(Known {
        fixed: fixed.transpose()?,
        decided: decided.transpose()?,
        finished: finished.transpose()?.unwrap_or_default(),
        paused,
    })
}
