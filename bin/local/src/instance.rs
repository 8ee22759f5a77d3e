//! A running module instance.

use crate::body::{Body, Phase, Shared};
use crate::error::ClusterError;
use crate::launch::{LaunchConfig, Prepared, prepare};
use crate::watch::{ThreadLoad, Watch};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tantu_base::door::Doors;
use tantu_base::id::ThreadId;
use tantu_client::{ClientOptions, Connection, StopText, WeakConnection};
use tantu_doors::{
    Cores, CoresConfig, KernelClock, KernelDisk, KernelEntropy, StartError, ThreadJobs, make_dirs, spawn_cores,
};
use tantu_flow::{ModuleDef, ModuleRuntime};
use tantu_net::{Bell, Mesh};
use tantu_state::meta::write_module;
use tantu_task::observe::Observe;
use tantu_task::pulse::Pulse;
use tantu_task::{CategoryShares, ClientWork, LiveShares, MemoryBudget, StopReason, TaskThread, ThreadConfig};

/// How long closing waits for records that are being processed.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often it looks.
const DRAIN_LOOK: Duration = Duration::from_micros(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) runtime: Arc<ModuleRuntime>,
    mesh: Mesh,
    shared: Arc<Shared>,
    cores: Cores,
    pub(crate) connection: Connection,
    /// Those that have one of their own.
    others: Mutex<Vec<WeakConnection>>,
    launch: Launch,
    pulses: Vec<Arc<Pulse>>,
    shares: Arc<LiveShares>,
    started: Instant,
    _watch: Watch,
}

/// How an instance was launched.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) config: LaunchConfig,
    pub(crate) observer: Option<Arc<dyn Observe>>,
    /// Bytes of a segment of the log, if not the usual.
    pub(crate) log_segment_size: Option<u64>,
    /// What its connections are told if it has to stop.
    pub(crate) stopped: StopText,
}

struct NoBell;
impl Bell for NoBell {
    fn ring(&self) {}
}

impl Instance {
    pub(crate) fn start(dir: &Path, def: ModuleDef, launch: Launch) -> Result<Instance, ClusterError> {
        let Launch { config, log_segment_size, .. } = launch;
        tantu_doors::preflight(config.threads as usize)?;
        let mut disk = KernelDisk::new(None).map_err(StartError::Ring)?;
        let Prepared { runtime, mut meta, other_threads } = prepare(&mut disk, dir, def, config)?;
        if let Some(threads) = other_threads {
            checkpoint_all(dir, &runtime, threads)?;
            meta.thread_count = runtime.thread_count;
            write_module(&mut disk, &dir.join("module.meta"), &meta)?;
        }
        make_dirs(&mut disk, &directories(dir, &runtime)).map_err(ClusterError::Directories)?;
        drop(disk);
        let (mesh, ports) = Mesh::new(runtime.thread_count);
        let shared = Arc::new(Shared::new(runtime.thread_count, Arc::clone(&launch.stopped)));
        let shares = Arc::new(LiveShares::new(config.proportions));
        let memory = MemoryBudget::new(config.memory).expect("invariant: the launch was checked");
        let pulses: Vec<Arc<Pulse>> = (0..runtime.thread_count).map(|_| Arc::default()).collect();
        if let Some(observer) = &launch.observer {
            pulses.iter().for_each(|pulse| pulse.observe(Arc::clone(observer)));
        }
        let make = {
            let (shared, runtime, dir) = (Arc::clone(&shared), Arc::clone(&runtime), dir.to_path_buf());
            let (pulses, shares) = (pulses.clone(), Arc::clone(&shares));
            move |thread: ThreadId, doors: &mut Doors<'_>| {
                let usual = ThreadConfig::new(thread, dir.clone(), Arc::clone(&runtime));
                let LaunchConfig { slow_write_ms, slow_op_ms, event_ms_max, query_timeout_ms, stream, at_rest, .. } =
                    config;
                let (shares, pulse) = (Arc::clone(&shares), Arc::clone(&pulses[thread.index()]));
                let config = ThreadConfig { memory, shares, slow_write_ms, slow_op_ms, ..usual };
                let mut config = ThreadConfig { event_ms_max, query_timeout_ms, stream, pulse, at_rest, ..config };
                if let Some(size) = log_segment_size {
                    config.log.segment_size = size;
                }
                let opened = TaskThread::open(config, doors);
                if let Err(reason) = &opened {
                    shared.stop(reason);
                }
                Ok(Body { thread: Some(opened?), shared: Arc::clone(&shared), untold: 0 })
            }
        };
        let cores =
            spawn_cores(CoresConfig { pin: config.pin, spin: config.spin }, ports, make).map_err(
                |error| match error {
                    Ok(start) => ClusterError::Start(start),
                    Err(reason) => stopped(&runtime, &reason),
                },
            )?;
        let clock = Arc::new(KernelClock::default());
        let stopped = Arc::clone(&shared.stopped);
        let options = ClientOptions::default();
        let connection = Connection::with_options(Arc::clone(&runtime), mesh.attach(), stopped, clock, options);
        let watch = Watch::start(Arc::clone(&runtime), pulses.clone(), Duration::from_millis(config.stall_ms));
        let (others, started) = (Mutex::default(), Instant::now());
        Ok(Instance {
            runtime,
            mesh,
            shared,
            cores,
            connection,
            others,
            launch,
            pulses,
            shares,
            started,
            _watch: watch,
        })
    }

    /// Takes over the connections of an instance that ended: their handles go on here.
    pub(crate) fn adopt(&mut self, connection: Connection, others: Vec<WeakConnection>) {
        connection.retarget(self.mesh.attach());
        self.connection = connection;
        for other in others.iter().filter_map(WeakConnection::upgrade) {
            other.retarget(self.mesh.attach());
        }
        *self.others.get_mut().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// Its connections, for who adopts them.
    pub(crate) fn connections(&self) -> (Connection, Vec<WeakConnection>) {
        let others = std::mem::take(&mut *self.others.lock().unwrap_or_else(PoisonError::into_inner));
        (self.connection.clone(), others)
    }

    /// How it was launched.
    pub(crate) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Other proportions of the threads' time, from now on.
    pub(crate) fn set_proportions(&self, proportions: CategoryShares) {
        self.shares.set(proportions);
    }

    /// How busy each thread was so far.
    pub(crate) fn loads(&self) -> Vec<ThreadLoad> {
        let up = self.started.elapsed();
        let load = |pulse: &Arc<Pulse>| {
            let written = pulse.written();
            ThreadLoad { up, by_category: pulse.spent(), log_groups: written.groups, log_size: written.size }
        };
        self.pulses.iter().map(load).collect()
    }

    /// A connection of its own.
    pub(crate) fn connect(&self, options: ClientOptions) -> Connection {
        let (module, stopped) = (Arc::clone(&self.runtime), Arc::clone(&self.shared.stopped));
        let clock = Arc::new(KernelClock::default());
        let connection = Connection::with_options(module, self.mesh.attach(), stopped, clock, options);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|other| other.upgrade().is_some());
        others.push(connection.downgrade());
        connection
    }

    /// What clients' requests hold on its task threads.
    pub(crate) fn client_work(&self) -> ClientWork {
        self.shared.client_work()
    }

    /// Finishes what is under way, brings everything into tables and segments, ends the threads.
    pub(crate) fn close(self) -> Result<(), ClusterError> {
        let module = self.runtime.def.name.clone();
        self.shared.advance(Phase::Draining);
        let start = Instant::now();
        // What is tried again and again may be under way the next moment: that it was quiet once is enough.
        let mut drained = self.shared.all_quiet();
        while !drained && self.shared.stop_text().is_none() && start.elapsed() < DRAIN_MAX {
            self.cores.wake_all();
            std::thread::sleep(DRAIN_LOOK);
            drained = self.shared.all_quiet();
        }
        self.shared.advance(Phase::Closing);
        self.cores.wake_all();
        self.cores.join();
        match (self.shared.stop_text(), self.shared.close_error()) {
            (Some(what), _) | (None, Some(what)) => Err(ClusterError::Stopped { module, what }),
            (None, None) if !drained => Err(ClusterError::NotDrained { module }),
            (None, None) => Ok(()),
        }
    }
}

/// Where the threads and tasks of an instance keep their files. They would make what is missing, each flushing it by itself.
fn directories(dir: &Path, runtime: &ModuleRuntime) -> Vec<PathBuf> {
    let of_task = |task: u32| ["tree", "depot"].map(|part| dir.join("tasks").join(task.to_string()).join(part));
    let logs = (0..runtime.thread_count).map(|thread| dir.join("threads").join(thread.to_string()).join("log"));
    (0..runtime.task_count).flat_map(of_task).chain(logs).collect()
}

fn stopped(runtime: &ModuleRuntime, reason: &StopReason) -> ClusterError {
    ClusterError::Stopped { module: runtime.def.name.clone(), what: reason.to_string() }
}

/// Empties the logs of another number of threads, so that tasks can be laid out anew. A crash in between leaves some
/// logs empty and some not, which the next attempt takes up.
fn checkpoint_all(dir: &Path, runtime: &ModuleRuntime, threads: u32) -> Result<(), ClusterError> {
    let old = Arc::new(ModuleRuntime {
        def: runtime.def.clone(),
        task_count: runtime.task_count,
        thread_count: threads,
        depots: runtime.depots.clone(),
        pstates: runtime.pstates.clone(),
        sources: runtime.sources.clone(),
        microbatches: runtime.microbatches.clone(),
        removed_microbatches: runtime.removed_microbatches.clone(),
    });
    let (_mesh, ports) = Mesh::new(threads);
    let (clock, mut entropy) = (KernelClock::default(), KernelEntropy::default());
    let mut jobs = ThreadJobs::new(Arc::new(NoBell));
    let mut ports = ports;
    // Threads that are open together share no disk: what one asks for must not be answered to another.
    let mut disks = Vec::new();
    for _ in &ports {
        disks.push(KernelDisk::new(None).map_err(StartError::Ring)?);
    }
    let mut all = Vec::new();
    for (port, disk) in ports.iter_mut().zip(&mut disks) {
        let config = ThreadConfig::new(port.thread(), dir.to_path_buf(), Arc::clone(&old));
        let mut doors = Doors { disk, wire: port, clock: &clock, entropy: &mut entropy, jobs: &mut jobs };
        all.push(TaskThread::open(config, &mut doors).map_err(|reason| stopped(runtime, &reason))?);
    }
    if all.iter().any(TaskThread::owes_removed) {
        let what = "a microbatch of a topology that it does not have any more is decided and not finished: launch it once more with \
                    the topology, before its number of threads changes";
        return Err(ClusterError::Launch { module: runtime.def.name.clone(), what: what.to_string() });
    }
    // A decided microbatch is in these logs only: it is made visible first.
    loop {
        // Every thread is told to begin nothing new, whatever the others owe.
        let owing = all.iter_mut().map(TaskThread::hold_microbatches).filter(|owes| *owes).count();
        if owing == 0 {
            break;
        }
        for ((thread, port), disk) in all.iter_mut().zip(&mut ports).zip(&mut disks) {
            let mut doors = Doors { disk, wire: port, clock: &clock, entropy: &mut entropy, jobs: &mut jobs };
            thread.step(&mut doors).map_err(|reason| stopped(runtime, &reason))?;
        }
    }
    for ((mut thread, port), disk) in all.into_iter().zip(&mut ports).zip(&mut disks) {
        let mut doors = Doors { disk, wire: port, clock: &clock, entropy: &mut entropy, jobs: &mut jobs };
        thread.drop_undecided();
        thread.close(&mut doors).map_err(|reason| stopped(runtime, &reason))?;
    }
    Ok(())
}
