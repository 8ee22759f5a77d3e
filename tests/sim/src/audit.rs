//! The last look: what the files of a closed cluster hold, record by record.

use crate::module::{definition, dir, prepare};
use crate::swarm::Swarm;
use tantu_base::door::Disk;
use tantu_base::id::{Offset, TaskId};
use tantu_lsm::BlockCache;
use tantu_model::depot::{Look, Seen};
use tantu_state::depot::Lookup;
use tantu_state::load::READ_AHEAD_SIZE_MAX;
use tantu_state::task::Owners;
use tantu_state::{TaskState, TaskStateOptions};
use tantu_weather::{SimDisk, SimEntropy};

/// A search for the first record since a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Search {
    /// Where.
    pub partition: u32,
    /// The first offset of the partition.
    pub start: u64,
    /// Since when.
    pub time_ms: u64,
    /// What was found.
    pub found: u64,
}

/// Reads every record of every partition of a depot of the module, and searches each for some times. The cluster must have
/// been closed in order, so that its logs hold nothing.
///
/// # Errors
/// What cannot be read.
pub fn read_depot(
    disk: &SimDisk,
    swarm: &Swarm,
    depot: usize,
    times: &[u64],
    entropy: &mut SimEntropy,
) -> Result<(Look, Vec<Search>), String> {
    let mut disk = disk.another();
    let module =
        prepare(&mut disk, definition(swarm)?, swarm.tasks, swarm.threads).map_err(|error| error.to_string())?;
    let (mut look, mut searches) = (Look::new(), Vec::new());
    for task in (0..swarm.tasks).map(TaskId) {
        // A cache tells trees apart by their owners, and here all have the same.
        let mut cache = BlockCache::new(1 << 20);
        let dir = dir().join("tasks").join(task.0.to_string());
        let owners = Owners { tree: 1, segments: 2 };
        let options = TaskStateOptions::default();
        let opened = TaskState::open(&mut disk, entropy, &mut cache, &dir, owners, task, &module.depots, &options);
        let mut state = opened.map_err(|error| error.to_string())?;
        for time_ms in times.iter().copied() {
            let found =
                state.first_since_now(&mut disk, &mut cache, depot, time_ms).map_err(|error| error.to_string())?;
            let start = state.depots()[depot].start().0;
            searches.push(Search { partition: task.0, start, time_ms, found: found.0 });
        }
        look.insert(task.0, read_partition(&mut state, depot, &mut cache, &mut disk)?);
        state.close(&mut cache, &mut disk).map_err(|error| error.to_string())?;
    }
    Ok((look, searches))
}

/// A microbatch topology appends every line on its task, in order, and each once; what was trimmed of the lines as well.
///
/// # Errors
/// What it appended instead.
pub fn judge_echo(lines: &Look, echoes: &Look) -> Result<(), String> {
    for (task, lines) in lines {
        let echo = echoes.get(task).ok_or_else(|| format!("task {task} has no echo"))?;
        let end = lines.start + lines.records.len() as u64;
        if echo.start != 0 || echo.records.len() as u64 != end {
            return Err(format!("task {task}: a microbatch topology appended {} records of {end}", echo.records.len()));
        }
        let mut both = lines.records.iter().zip(&echo.records[lines.start as usize..]);
        if let Some(((offset, _), _)) = both.find(|(line, echo)| line != echo) {
            return Err(format!("task {task}: a microbatch topology appended another record than {offset}"));
        }
    }
    Ok(())
}

fn read_partition(
    state: &mut TaskState,
    depot: usize,
    cache: &mut BlockCache,
    disk: &mut SimDisk,
) -> Result<Seen, String> {
    let (start, end) = (state.depots()[depot].start().0, state.depots()[depot].committed_end().0);
    let mut records = Vec::new();
    let mut done = Vec::new();
    while start + (records.len() as u64) < end {
        let offset = start + records.len() as u64;
        match state.depots()[depot].lookup(Offset(offset)) {
            Lookup::Record(record) => records.push((offset, record.to_vec())),
            Lookup::NotYet => return Err(format!("{}: offset {offset} of {end} is not there", state.task)),
            Lookup::Trimmed => return Err(format!("{}: offset {offset} was trimmed", state.task)),
            Lookup::OnDisk => {
                state.want(depot, Offset(offset), Offset(end));
                state.load_records(READ_AHEAD_SIZE_MAX, cache, disk).map_err(|error| error.to_string())?;
                if state.is_busy() {
                    disk.wait();
                }
                disk.reap(&mut done);
                for done in done.drain(..) {
                    state.complete(done, cache, disk).map_err(|error| error.to_string())?;
                }
            }
        }
    }
    Ok(Seen { start, records })
}
