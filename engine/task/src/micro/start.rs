//! Where microbatch topologies go on when a thread opens.

use crate::micro::Micro;
use crate::micro::coordinator::{Coordinator, Known, Setting};
use crate::micro::part::{Part, PartSource};
use crate::micro::record::{Fixed, Record, decode_decided, decode_finished};
use crate::open::first_offset;
use crate::thread::{StopReason, ThreadConfig};
use tantu_base::door::Doors;
use tantu_base::id::{Epoch, ObjectId, TaskId};
use tantu_lsm::BlockCache;
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
            let max_entries = module.def.depots[source.depot].options.max_entries;
            let start = (source.depot, source.start, max_entries);
            let progress =
                if is_here { first_offset(state, *object, start, cache, doors)? } else { Default::default() };
            sources.push(PartSource { depot: source.depot, object: *object, is_here, progress });
        }
        parts.push(Part { topology: ids.topology, sources, told: Vec::new(), paused: false, attempt: None });
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
