//! From a module's definition to its runtime: checks, durable ids, the data directory's own record.

use crate::error::ClusterError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tantu_base::door::Disk;
use tantu_base::id::ObjectId;
use tantu_base::limit::TASK_COUNT_MAX;
use tantu_doors::Pin;
use tantu_flow::{MicrobatchObjects, ModuleDef, ModuleRuntime, PStateDef, StreamOptions};
use tantu_path::Schema;
use tantu_state::meta::{ModuleMeta, ObjectKind, read_module, write_module};
use tantu_task::limit::{EVENT_MS_MAX, QUERY_TIMEOUT_MS, SLOW_OP_MS, SLOW_WRITE_MS, STALL_MS};
use tantu_task::{CategoryShares, MemoryBudget};

/// Longest a task thread may look for work before it sleeps.
const SPIN_MAX: Duration = Duration::from_millis(100);

/// How a module is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaunchConfig {
    /// Partitions: a power of two, fixed for the life of the module.
    pub tasks: u32,
    /// Task threads, at most one per task. May differ from the last time.
    pub threads: u32,
    /// Worker processes it would have in a cluster of machines; at most one per thread.
    pub workers: u32,
    /// Whether threads get cores of their own.
    pub pin: Pin,
    /// How long a task thread that has nothing to do looks for work before it sleeps. What arrives within that time does not
    /// wait for the thread to wake up, and each of its sleeps costs the processor so much more at most: an idle module sleeps,
    /// one with a steady load takes up to the whole processor. None by default; meant for threads that have processors of their own.
    pub spin: Duration,
    /// Bytes of memory of each task thread, at least 256 MiB: blocks, memtables, records and what is under way. Clients are
    /// let in only while there is room.
    pub memory: usize,
    /// How long a write of a PState may take before it is logged as slow, in milliseconds
    /// (`pstate.excessive.write.time.warning.millis`).
    pub slow_write_ms: u64,
    /// What stream topologies leave open.
    pub stream: StreamOptions,
    /// Milliseconds after which a call of a query that has no result fails, unless the query says itself
    /// (`topology.query.timeout.millis`).
    pub query_timeout_ms: u64,
    /// How long an op may take before it is logged as slow, in milliseconds.
    pub slow_op_ms: u64,
    /// How long a turn may take before it is logged what it stands in while it still runs, in milliseconds: user code that
    /// hangs is named by its line.
    pub stall_ms: u64,
    /// Longest an event may run before it yields, in milliseconds (`worker.event.target.max.millis`).
    pub event_ms_max: u64,
    /// The desired proportions of a busy thread's time by category of work (`worker.event.category.proportions`).
    pub proportions: CategoryShares,
    /// Launches it for who looks at what it holds: no topology takes a record, no tick fires. Reads, queries and appends are
    /// answered, but for appends that wait until they are processed; and a microbatch topology can be paused, or told to go on at the
    /// next launch.
    pub at_rest: bool,
}

impl Default for LaunchConfig {
    fn default() -> Self {
        Self {
            tasks: 8,
            threads: 2,
            workers: 1,
            pin: Pin::Auto,
            spin: Duration::ZERO,
            memory: MemoryBudget::SIZE_DEFAULT,
            slow_write_ms: SLOW_WRITE_MS,
            stream: StreamOptions::default(),
            query_timeout_ms: QUERY_TIMEOUT_MS,
            slow_op_ms: SLOW_OP_MS,
            stall_ms: STALL_MS,
            event_ms_max: EVENT_MS_MAX,
            proportions: CategoryShares::default(),
            at_rest: false,
        }
    }
}

impl LaunchConfig {
    /// So many tasks on so many threads.
    pub fn new(tasks: u32, threads: u32) -> Self {
        Self { tasks, threads, ..Self::default() }
    }

    pub(crate) fn check(&self, module: &str) -> Result<(), ClusterError> {
        let Self { tasks, threads, workers, .. } = *self;
        let what = if !tasks.is_power_of_two() || tasks > TASK_COUNT_MAX {
            format!("tasks must be a power of two up to {TASK_COUNT_MAX}, not {tasks}")
        } else if threads == 0 || threads > tasks {
            format!("threads must be between 1 and the number of tasks ({tasks}), not {threads}")
        } else if workers == 0 || workers > threads {
            format!("workers must be between 1 and the number of threads ({threads}), not {workers}")
        } else if MemoryBudget::new(self.memory).is_none() {
            let least = MemoryBudget::SIZE_MIN;
            format!("memory must be at least {least} bytes for each thread, not {}", self.memory)
        } else if self.spin > SPIN_MAX {
            format!("spin must be at most {} ms", SPIN_MAX.as_millis())
        } else if let Some(what) = self.stream.mistake() {
            format!("stream topologies: {what}")
        } else {
            return Ok(());
        };
        Err(ClusterError::Launch { module: module.to_string(), what })
    }
}

/// Where a module lives in a data directory.
pub(crate) fn module_dir(dir: &Path, module: &str) -> PathBuf {
    let safe = |letter: char| if letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.') { letter } else { '_' };
    dir.join("modules").join(module.chars().map(safe).collect::<String>())
}

/// A module and what its directory says of it.
pub(crate) struct Prepared {
    pub(crate) runtime: Arc<ModuleRuntime>,
    pub(crate) meta: ModuleMeta,
    /// The thread count its logs are laid out for, if that is another one.
    pub(crate) other_threads: Option<u32>,
}

/// Matches a definition with its directory and gives ids to what is new. Blocking.
pub(crate) fn prepare(
    disk: &mut dyn Disk,
    dir: &Path,
    def: ModuleDef,
    config: LaunchConfig,
) -> Result<Prepared, ClusterError> {
    config.check(&def.name)?;
    def.check_task_count(config.tasks)?;
    let path = dir.join("module.meta");
    let found = read_module(disk, &path)?;
    let mismatch = |what: String| ClusterError::Mismatch { dir: dir.to_path_buf(), module: def.name.clone(), what };
    if let Some(meta) = &found {
        if meta.module != def.name {
            return Err(mismatch(format!("it belongs to the module {}", meta.module)));
        }
        if meta.task_count != config.tasks {
            let (has, asked) = (meta.task_count, config.tasks);
            return Err(mismatch(format!(
                "it has {has} tasks for ever, and {asked} were asked for: launch it with {has}, or use another directory"
            )));
        }
    }
    let other_threads = found.as_ref().map(|meta| meta.thread_count).filter(|count| *count != config.threads);
    let before = found.clone();
    let mut meta = found.unwrap_or_default();
    meta.module.clone_from(&def.name);
    meta.task_count = config.tasks;
    if other_threads.is_none() {
        meta.thread_count = config.threads;
    }
    for pstate in &def.pstates {
        let known = meta.objects.iter().find(|object| object.kind == ObjectKind::PState && object.name == pstate.name);
        let mut schema = Vec::new();
        pstate.schema.encode(&mut schema);
        if let Some(known) = known.filter(|known| known.schema != schema) {
            return Err(mismatch(other_schema(pstate, &known.schema)));
        }
    }
    let depots = def.depots.iter().map(|depot| meta.object(ObjectKind::Depot, &depot.name, &[])).collect();
    let pstates = def.pstates.iter().map(|pstate| {
        let mut schema = Vec::new();
        pstate.schema.encode(&mut schema);
        meta.object(ObjectKind::PState, &pstate.name, &schema)
    });
    let pstates = pstates.collect();
    let mut sources = Vec::new();
    for stream in &def.streams {
        for source in &stream.sources {
            let name = source_name(&stream.name, &def.depots[source.depot].name, source.id.as_deref());
            sources.push(meta.object(ObjectKind::Source, &name, &[]));
        }
    }
    let microbatches = microbatch_objects(&mut meta, &def);
    let is_removed = |id: &ObjectId| microbatches.iter().all(|objects| objects.topology != *id);
    let ids = meta.objects.iter().filter(|object| object.kind == ObjectKind::Microbatch).map(|object| object.id);
    let removed_microbatches = ids.filter(is_removed).collect();
    if before.as_ref() != Some(&meta) {
        write_module(disk, &path, &meta)?;
    }
    let (task_count, thread_count) = (config.tasks, config.threads);
    let runtime =
        ModuleRuntime { def, task_count, thread_count, depots, pstates, sources, microbatches, removed_microbatches };
    Ok(Prepared { runtime: Arc::new(runtime), meta, other_threads })
}

/// A PState is not what it was, and what to do.
fn other_schema(pstate: &PStateDef, stored: &[u8]) -> String {
    let (name, declared) = (&pstate.name, &pstate.schema);
    let stored = Schema::decode(stored).map_or("something else".to_string(), |stored| stored.to_string());
    format!(
        "`{name}` is stored as {stored} and declared as {declared}; give the new one another name and read the depot from \
         `StartFrom::Beginning`"
    )
}

/// What the progress of a source is named.
fn source_name(topology: &str, depot: &str, id: Option<&str>) -> String {
    id.map_or_else(|| format!("{topology}/{depot}"), |id| format!("{topology}/{depot}/{id}"))
}

/// The durable ids of the microbatch topologies and of their sources.
fn microbatch_objects(meta: &mut ModuleMeta, def: &ModuleDef) -> Vec<MicrobatchObjects> {
    let mut all = Vec::new();
    for microbatch in &def.microbatches {
        let topology = meta.object(ObjectKind::Microbatch, &microbatch.name, &[]);
        let depot = |at: usize| &def.depots[at].name;
        let names = microbatch.sources.iter().map(|source| (depot(source.depot), source.id.as_deref()));
        let names = names.map(|(depot, id)| source_name(&microbatch.name, depot, id));
        let sources = names.map(|name| meta.object(ObjectKind::Source, &name, &[])).collect();
        all.push(MicrobatchObjects { topology, sources });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_with_too_little_memory_is_refused_with_what_it_needs() {
        let with = |memory| LaunchConfig { memory, ..LaunchConfig::default() }.check("M");
        assert!(with(256 << 20).is_ok());
        let refusal = with((256 << 20) - 1).expect_err("it is too little").to_string();
        assert!(refusal.contains("at least 268435456 bytes") && refusal.contains("268435455"), "{refusal}");
    }
}
