//! One loop per core: step while there is work, then sleep in the disk ring, which also hears the core's bell.
//!
//! glommio starts the loop on its core. Its own ring is not slept in: that costs some twenty system calls a sleep, where
//! the disk ring submits what waits and sleeps in one.

use crate::calls;
use crate::clock::{KernelClock, KernelEntropy};
use crate::disk::KernelDisk;
use crate::jobs::ThreadJobs;
use crate::preflight::{StartError, preflight, ring_error};
use crate::slice;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::event::EventfdFlags;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tantu_base::caught::{caught, panic_text};
use tantu_base::door::{Clock, Disk, Doors, Nanos};
use tantu_base::id::ThreadId;
use tantu_net::{Bell, ThreadPort};

/// Buffers that the executor registers for its own files, in bytes: it has none, and touching and pinning its usual
/// 10 MiB takes longer than everything else a small cluster does to start.
const EXECUTOR_IO_SIZE: usize = 512 << 10;

/// What a step leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Step again at once.
    Busy,
    /// Sleep until something arrives, or until this time.
    Idle {
        /// When to step again even if nothing arrives.
        wake_at: Option<Nanos>,
    },
    /// The loop ends.
    Stop,
}

/// What a core runs.
pub trait CoreLoop {
    /// Does what there is to do, for about one turn. A panic ends the core and tells nobody: who has others that rely on this
    /// one catches it.
    fn step(&mut self, doors: &mut Doors<'_>) -> Step;
}

/// Whether task threads have a core of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pin {
    /// If there are at least as many cores as threads.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// How cores are started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoresConfig {
    /// See [`Pin`].
    pub pin: Pin,
    /// How long a core that has nothing to do looks whether something arrives before it sleeps: each sleep costs so much of
    /// its processor at most, and what arrives meanwhile does not wait for it to wake up. Others that want the processor get
    /// it.
    pub spin: Duration,
}

/// A core's eventfd: its bell.
struct EventBell(OwnedFd);

impl Bell for EventBell {
    fn ring(&self) {
        calls::count_one();
        // It fails only when 2^64 - 2 rings were not read: then it is ringing anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// Running cores.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
    bells: Vec<Arc<EventBell>>,
}

impl std::fmt::Debug for EventBell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventBell")
    }
}

impl Cores {
    /// One more core, with a bell of its own for its port.
    fn spawn(
        &mut self,
        name: &str,
        port: ThreadPort,
        run: impl FnOnce(ThreadPort, &Arc<EventBell>) + Send + 'static,
    ) -> Result<(), StartError> {
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC);
        let bell = Arc::new(EventBell(eventfd.map_err(|errno| StartError::Ring(errno.into()))?));
        port.set_bell(Arc::clone(&bell) as Arc<dyn Bell>);
        let own = Arc::clone(&bell);
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(port, &own));
        let at = self.threads.len();
        self.threads.push(spawned.map_err(|error| StartError::Core { core: at, error: error.to_string() })?);
        self.bells.push(bell);
        Ok(())
    }

    /// Wakes every core, so that it looks at whatever flags its loop has.
    pub fn wake_all(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// Waits until every loop has ended.
    pub fn join(self) {
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                tracing::error!(text = panic_text(&*panic), "a core ended with a panic");
            }
        }
    }
}

/// What a core answers when it has started, or could not: the machine's reason, or the caller's.
type Outcome<E> = Result<(), Result<StartError, E>>;

/// Starts a core for every port. `make` runs on the core, before its loop, and may block; the call returns when all have.
///
/// # Errors
/// [`StartError`], or the first error of `make`.
pub fn spawn_cores<L, E, F>(
    config: CoresConfig,
    ports: Vec<ThreadPort>,
    make: F,
) -> Result<Cores, Result<StartError, E>>
where
    L: CoreLoop + 'static,
    E: Send + 'static,
    F: Fn(ThreadId, &mut Doors<'_>) -> Result<L, E> + Send + Sync + Clone + 'static,
{
    let thread_count = ports.len();
    preflight(thread_count).map_err(Ok)?;
    let cpus = allowed_cpus();
    let pinned = config.pin == Pin::Auto && thread_count <= cpus.len();
    let clock = KernelClock::default();
    let mut cores = Cores { threads: Vec::new(), bells: Vec::new() };
    let abandoned = Arc::new(AtomicBool::new(false));
    let (started, outcomes): (Sender<Outcome<E>>, Receiver<_>) = channel();
    let mut first = None;
    for (at, port) in ports.into_iter().enumerate() {
        let placement = if pinned { Placement::Fixed(cpus[at]) } else { Placement::Unbound };
        let start = Start { at, thread_count, placement, spin: config.spin, abandoned: Arc::clone(&abandoned) };
        let (make, started) = (make.clone(), started.clone());
        let spawned =
            cores.spawn(&start.name(), port, move |port, bell| run_core(start, port, bell, clock, make, &started));
        if let Err(error) = spawned {
            first = Some(Ok(error));
            break;
        }
    }
    drop(started);
    let mut answer_count = 0;
    for outcome in outcomes.iter().take(cores.threads.len()) {
        answer_count += 1;
        if let Err(error) = outcome {
            first.get_or_insert(error);
        }
    }
    if answer_count < cores.threads.len() {
        // Only a panic before it could say anything leaves no answer.
        let error = "a core ended before it had started".to_string();
        first.get_or_insert(Ok(StartError::Core { core: answer_count, error }));
    }
    match first {
        None => Ok(cores),
        Some(error) => {
            // Those that have started must not run on: nobody would know of them, and they hold their files.
            abandoned.store(true, Ordering::Release);
            cores.wake_all();
            cores.join();
            Err(error)
        }
    }
}

/// What a core is told.
struct Start {
    at: usize,
    thread_count: usize,
    placement: Placement,
    spin: Duration,
    /// The others did not start: the loop ends.
    abandoned: Arc<AtomicBool>,
}

impl Start {
    fn name(&self) -> String {
        format!("tantu-core-{}", self.at)
    }
}

fn run_core<L, E, F>(
    Start { at, thread_count, placement, spin, abandoned }: Start,
    port: ThreadPort,
    bell: &Arc<EventBell>,
    clock: KernelClock,
    make: F,
    started: &Sender<Outcome<E>>,
) where
    L: CoreLoop + 'static,
    E: Send + 'static,
    F: Fn(ThreadId, &mut Doors<'_>) -> Result<L, E>,
{
    slice::shorten();
    let executor = match LocalExecutorBuilder::new(placement).io_memory(EXECUTOR_IO_SIZE).make() {
        Ok(executor) => executor,
        Err(error) => {
            let _ = started.send(Err(Ok(StartError::Core { core: at, error: error.to_string() })));
            return;
        }
    };
    executor.run(async {
        let disk = match KernelDisk::new(Some(bell.0.as_raw_fd())) {
            Ok(disk) => disk,
            Err(error) => {
                let _ = started.send(Err(Ok(ring_error(error, thread_count))));
                return;
            }
        };
        let jobs = ThreadJobs::new(Arc::clone(bell) as Arc<dyn Bell>);
        let mut core = Core { disk, port, clock, entropy: KernelEntropy::default(), jobs, spin, abandoned };
        let made = caught(|| make(ThreadId(at as u32), &mut core.doors()));
        let mut body = match made {
            Ok(Ok(body)) => body,
            Err(text) => {
                let error = format!("it panicked: {text}");
                let _ = started.send(Err(Ok(StartError::Core { core: at, error })));
                return;
            }
            Ok(Err(error)) => {
                let _ = started.send(Err(Err(error)));
                return;
            }
        };
        let _ = started.send(Ok(()));
        core.run(&mut body);
    });
}

struct Core {
    disk: KernelDisk,
    port: ThreadPort,
    clock: KernelClock,
    entropy: KernelEntropy,
    jobs: ThreadJobs,
    spin: Duration,
    abandoned: Arc<AtomicBool>,
}

impl Core {
    fn doors(&mut self) -> Doors<'_> {
        Doors {
            disk: &mut self.disk,
            wire: &mut self.port,
            clock: &self.clock,
            entropy: &mut self.entropy,
            jobs: &mut self.jobs,
        }
    }

    fn run(&mut self, body: &mut dyn CoreLoop) {
        while !self.abandoned.load(Ordering::Acquire) {
            match body.step(&mut self.doors()) {
                Step::Busy => {
                    self.disk.start();
                    self.disk.give_way();
                }
                Step::Stop => return self.disk.start(),
                Step::Idle { wake_at } => {
                    if !self.lingers(wake_at) && self.port.lie_down() {
                        self.disk.sleep(self.clock.now(), wake_at);
                        self.port.get_up();
                    } else {
                        self.disk.start();
                    }
                }
            }
        }
    }

    /// Looks for a while whether something arrives; whether it did, or it is `wake_at`.
    fn lingers(&mut self, wake_at: Option<Nanos>) -> bool {
        if self.spin.is_zero() {
            return false;
        }
        self.disk.start();
        let until = Nanos(self.clock.now().0.saturating_add(self.spin.as_nanos() as u64));
        loop {
            if self.port.has_letters() || self.disk.has_done() {
                return true;
            }
            let now = self.clock.now();
            if now >= until || wake_at.is_some_and(|at| now >= at) {
                return now < until;
            }
            // Whoever else wants the processor gets it: the kernel's own threads make our writes durable.
            std::thread::yield_now();
        }
    }
}

fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_net::Mesh;

    /// Does nothing, for ever.
    struct Endless {
        _ended: Sender<()>,
    }

    impl CoreLoop for Endless {
        fn step(&mut self, _: &mut Doors<'_>) -> Step {
            Step::Idle { wake_at: None }
        }
    }

    #[test]
    fn if_one_core_cannot_start_the_others_end_whatever_their_loops_think() {
        for panics in [false, true] {
            let (ended, all_ended) = channel();
            let make = move |thread: ThreadId, _: &mut Doors<'_>| match thread.0 {
                1 if panics => panic!("planned"),
                1 => Err("it cannot"),
                _ => Ok(Endless { _ended: ended.clone() }),
            };
            let (told, tells) = channel();
            let ports = Mesh::new(3).1;
            std::thread::spawn(move || told.send(spawn_cores(CoresConfig::default(), ports, make).map(drop)));
            let result = tells.recv_timeout(Duration::from_secs(20)).expect("it comes back");
            match result {
                Err(Err(reason)) => assert_eq!((panics, reason), (false, "it cannot")),
                Err(Ok(StartError::Core { core: 1, error })) => assert!(panics && error.contains("planned"), "{error}"),
                other => panic!("{other:?}"),
            }
            // The loops are gone, and what they held with them.
            assert_eq!(all_ended.recv(), Err(std::sync::mpsc::RecvError));
        }
    }
}
