//! One life of the simulated process: its task threads, each behind its own simulated doors.

use crate::launch::{LaunchConfig, prepare};
use crate::sim::faults::Drawn;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::id::ThreadId;
use tantu_flow::{ModuleDef, ModuleRuntime, OpAt, OpKind};
use tantu_task::{Progress, TaskThread, ThreadConfig};
use tantu_weather::{SimDisk, SimDoors, SimMesh, Weather};

/// Jobs of a thread at a time.
const JOB_COUNT_MAX: usize = 64;
/// A closure of the author was made to panic: a name among the marks of the weather.
pub(crate) const PANICKED: &str = "panicked closure";
/// Where the module lives on the simulated disk.
const MODULE_DIR: &str = "data/modules/simulated";

thread_local! {
    /// Closures until one panics; 0 if none is to.
    static FUSE: Cell<u64> = const { Cell::new(0) };
    /// What the one was for that did.
    static KIND: Cell<Option<OpKind>> = const { Cell::new(None) };
}

/// The mark of a closure of a kind that was made to panic.
fn mark_of(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Function => "panicked function",
        OpKind::Case => "panicked case",
        OpKind::Emit => "panicked emit",
        OpKind::Iterator => "panicked iterator",
        OpKind::Check => "panicked check",
        OpKind::Partitioner => "panicked partitioner",
        OpKind::KeyPartitioner => "panicked key partitioner",
        OpKind::Async => "panicked async",
        OpKind::Future => "panicked future",
        OpKind::Path => "panicked path function",
        OpKind::Aggregator => "panicked aggregator",
        OpKind::Declared => "panicked declared function",
    }
}

/// Before each closure of the author: one of them panics where the weather says so.
pub(crate) fn before_op(op: OpAt<'_>) {
    let left = FUSE.get();
    if left == 0 {
        return;
    }
    FUSE.set(left - 1);
    if left == 1 {
        KIND.set(Some(op.kind));
        // No message is printed: the panic is part of the story.
        let text = format!("made to panic by the simulation at `{}`, {}:{}", op.label, op.file, op.line);
        std::panic::resume_unwind(Box::new(text));
    }
}

/// What its process stands on.
pub(crate) struct Ground<'a> {
    pub(crate) weather: &'a Weather,
    pub(crate) disk: &'a SimDisk,
    pub(crate) drawn: &'a Drawn,
    pub(crate) tasks: u32,
    pub(crate) threads: u32,
}

/// One task thread and its doors.
struct Core {
    thread: Option<TaskThread>,
    doors: SimDoors,
    /// When it wants to be stepped although nothing has arrived; at once, if it is busy.
    wake_at: Option<Nanos>,
    stalled_until: Nanos,
}

impl Core {
    fn with<T>(&mut self, act: impl FnOnce(&mut Option<TaskThread>, &mut Doors<'_>) -> T) -> T {
        act(&mut self.thread, &mut self.doors.open())
    }

    /// When there is something to do for it.
    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        let arrived = self.doors.has_arrivals().then_some(now);
        [self.wake_at, self.doors.next_arrival(), arrived].into_iter().flatten().min()
    }
}

/// See the module.
pub(crate) struct Process {
    cores: Vec<Core>,
    pub(crate) mesh: SimMesh,
    pub(crate) runtime: Arc<ModuleRuntime>,
}

impl Process {
    /// Opens what is on the disk.
    pub(crate) fn open(ground: &Ground<'_>, mut def: ModuleDef) -> Result<Process, String> {
        let Ground { weather, disk, drawn, tasks, threads } = *ground;
        def.interpose(before_op);
        let config = LaunchConfig::new(tasks, threads);
        let mut own = disk.another();
        let prepared = prepare(&mut own, Path::new(MODULE_DIR), def, config).map_err(|error| error.to_string())?;
        let runtime = prepared.runtime;
        let mesh = SimMesh::new(weather, drawn.wire.clone(), threads);
        let mut cores = Vec::new();
        for index in 0..threads {
            let mut core = Core {
                thread: None,
                doors: SimDoors::new(weather, disk.another(), mesh.thread(index), JOB_COUNT_MAX),
                wake_at: Some(Nanos(0)),
                stalled_until: Nanos(0),
            };
            let usual = ThreadConfig::new(ThreadId(index), MODULE_DIR.into(), Arc::clone(&runtime));
            let config = ThreadConfig { log: drawn.log, state: drawn.state.clone(), ..usual };
            let opened = core.with(|_, doors| TaskThread::open(config, doors)).map_err(|reason| reason.to_string())?;
            core.thread = Some(opened);
            cores.push(core);
        }
        Ok(Process { cores, mesh, runtime })
    }

    /// The threads that have something to do.
    pub(crate) fn runnable(&self, now: Nanos) -> Vec<usize> {
        let awake = |core: &Core| core.stalled_until <= now && core.next_due(now).is_some_and(|at| at <= now);
        (0..self.cores.len()).filter(|at| awake(&self.cores[*at])).collect()
    }

    /// When the next thing happens to it.
    pub(crate) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        let each = self.cores.iter().filter_map(|core| core.next_due(now).map(|at| at.max(core.stalled_until)));
        each.filter(|at| *at > now).min()
    }

    /// One step of a thread, in which the closure of this number panics, if it is not 0.
    ///
    /// # Errors
    /// Why the process has to stop.
    pub(crate) fn step(&mut self, at: usize, fuse: u64) -> Result<(), String> {
        let core = &mut self.cores[at];
        FUSE.set(fuse);
        let stepped = core.with(|thread, doors| {
            let thread = thread.as_mut().expect("invariant: open until it closes");
            thread.step(doors).map_err(|reason| reason.to_string())
        });
        if fuse > 0 && FUSE.take() == 0 {
            self.mesh.marks().hit(PANICKED);
            KIND.take().into_iter().for_each(|kind| self.mesh.marks().hit(mark_of(kind)));
        }
        core.wake_at = match stepped? {
            Progress::Busy => Some(Nanos(0)),
            Progress::Idle { wake_at } => wake_at,
        };
        Ok(())
    }

    /// Lets a thread do nothing for a while.
    pub(crate) fn stall(&mut self, at: usize, until: Nanos) {
        self.cores[at].stalled_until = until;
    }

    /// Nobody stalls any more.
    pub(crate) fn unstall(&mut self) {
        self.cores.iter_mut().for_each(|core| core.stalled_until = Nanos(0));
    }

    /// Whether everything acknowledged was processed and everything is durable.
    pub(crate) fn is_quiet(&self) -> bool {
        let under_way = (0..self.cores.len() as u32).any(|at| self.mesh.next_due(Peer(at)).is_some());
        !under_way && self.cores.iter().filter_map(|core| core.thread.as_ref()).all(TaskThread::is_quiet)
    }

    /// Ends in order.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) fn close(mut self) -> Result<(), String> {
        for core in &mut self.cores {
            core.with(|thread, doors| {
                let thread = thread.take().expect("invariant: closed once");
                thread.close(doors).map_err(|reason| reason.to_string())
            })?;
        }
        Ok(())
    }
}
