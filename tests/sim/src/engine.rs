//! The real engine as a cluster: task threads behind simulated doors.

use crate::cluster::{Cluster, Machine, Rest};
use crate::module::{definition, dir, prepare};
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos};
use tantu_base::id::ThreadId;
use tantu_flow::ModuleRuntime;
use tantu_replog::seglog::SegLogOptions;
use tantu_state::TaskStateOptions;
use tantu_task::{Progress, TaskThread, ThreadConfig};
use tantu_weather::SimDoors;

/// Jobs of a thread at a time.
const JOB_COUNT_MAX: usize = 64;

/// One task thread and its own doors.
#[derive(Debug)]
struct Core {
    thread: Option<TaskThread>,
    doors: SimDoors,
}

impl Core {
    /// Runs something that needs the doors and the thread.
    fn with<T>(&mut self, act: impl FnOnce(&mut Option<TaskThread>, &mut Doors<'_>) -> T) -> T {
        act(&mut self.thread, &mut self.doors.open())
    }
}

/// See the module.
#[derive(Debug)]
pub struct EngineCluster {
    cores: Vec<Core>,
}

fn config(machine: &Machine<'_>, module: &Arc<ModuleRuntime>, thread: u32) -> ThreadConfig {
    let swarm = machine.swarm;
    let log = SegLogOptions {
        segment_size: swarm.segment_size,
        group_size_max: swarm.group_size_max,
        // Where groups are small some are written side by side.
        beside_size_min: swarm.group_size_max / 2,
        ..SegLogOptions::default()
    };
    let (side_memory_size_max, side_slice_count) = swarm.side;
    let (segments, tree) = (swarm.chunks, swarm.tree.clone());
    let usual = TaskStateOptions::default();
    let state = TaskStateOptions { segments, tree, side_memory_size_max, side_slice_count, ..usual };
    ThreadConfig { log, state, ..ThreadConfig::new(ThreadId(thread), dir(), Arc::clone(module)) }
}

impl EngineCluster {
    /// Bytes a thread holds besides its cache.
    pub fn memory_in_use(&self, thread: usize) -> usize {
        self.cores[thread].thread.as_ref().map_or(0, TaskThread::memory_in_use)
    }
}

impl Cluster for EngineCluster {
    fn open(machine: &Machine<'_>) -> Result<Self, String> {
        let (swarm, world) = (machine.swarm, machine.world);
        let def = definition(swarm)?;
        let mut disk = machine.disk.another();
        let module = prepare(&mut disk, def, swarm.tasks, swarm.threads).map_err(|error| error.to_string())?;
        let mut cores = Vec::new();
        for index in 0..swarm.threads {
            let mut core = Core {
                thread: None,
                doors: SimDoors::new(world, machine.disk.another(), machine.mesh.thread(index), JOB_COUNT_MAX),
            };
            let config = config(machine, &module, index);
            let opened = core.with(|_, doors| TaskThread::open(config, doors)).map_err(|reason| reason.to_string())?;
            core.thread = Some(opened);
            cores.push(core);
        }
        Ok(Self { cores })
    }

    fn step(&mut self, thread: usize) -> Result<Rest, String> {
        self.cores[thread].with(|thread, doors| {
            let thread = thread.as_mut().expect("invariant: open until it closes");
            match thread.step(doors).map_err(|reason| reason.to_string())? {
                Progress::Busy => Ok(Rest::Busy),
                Progress::Idle { wake_at } => Ok(Rest::Idle(wake_at)),
            }
        })
    }

    fn has_arrivals(&self, thread: usize) -> bool {
        self.cores[thread].doors.has_arrivals()
    }

    fn next_arrival(&self) -> Option<Nanos> {
        self.cores.iter().filter_map(|core| core.doors.next_arrival()).min()
    }

    fn is_quiet(&self) -> bool {
        self.cores.iter().filter_map(|core| core.thread.as_ref()).all(TaskThread::is_quiet)
    }

    fn close(mut self) -> Result<(), String> {
        for core in &mut self.cores {
            core.with(|thread, doors| {
                let thread = thread.take().expect("invariant: closed once");
                thread.close(doors).map_err(|reason| reason.to_string())
            })?;
        }
        Ok(())
    }
}
