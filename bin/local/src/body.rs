//! A task thread as its core runs it, and the phases a module goes through when it ends.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use tantu_base::caught::caught;
use tantu_base::door::Doors;
use tantu_client::StopText;
use tantu_doors::{CoreLoop, Step};
use tantu_task::{ClientWork, Progress, StopReason, TaskThread};

/// Steps of a busy thread between two looks at what clients' requests hold.
const STEPS_PER_PUBLISH: u32 = 256;

/// What a module's threads are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Run.
    Running = 0,
    /// Take no more requests; finish what is under way.
    Draining = 1,
    /// Close in order.
    Closing = 2,
    /// Another thread had to stop: end at once.
    Aborting = 3,
}

/// What a module's threads and its owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    phase: AtomicU8,
    /// By thread: nothing is under way, seen since draining began.
    quiet: Vec<AtomicBool>,
    /// Why the module stopped, if it had to.
    pub(crate) stopped: StopText,
    close_errors: Mutex<Vec<String>>,
    /// By thread.
    client_work: Mutex<Vec<ClientWork>>,
}

impl Shared {
    pub(crate) fn new(thread_count: u32, stopped: StopText) -> Self {
        let quiet = (0..thread_count).map(|_| AtomicBool::new(false)).collect();
        Self {
            phase: AtomicU8::new(0),
            quiet,
            stopped,
            close_errors: Mutex::default(),
            client_work: Mutex::new(vec![ClientWork::default(); thread_count as usize]),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            2 => Phase::Closing,
            _ => Phase::Aborting,
        }
    }

    /// Phases only go forward.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub(crate) fn all_quiet(&self) -> bool {
        self.quiet.iter().all(|quiet| quiet.load(Ordering::Acquire))
    }

    /// Notes why a thread had to stop: the first reason counts.
    pub(crate) fn stop(&self, reason: &StopReason) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.get_or_insert_with(|| reason.to_string());
        drop(stopped);
        self.advance(Phase::Aborting);
    }

    pub(crate) fn stop_text(&self) -> Option<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What clients' requests hold on all threads.
    pub(crate) fn client_work(&self) -> ClientWork {
        self.client_work.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().sum()
    }

    fn publish(&self, thread: &TaskThread) {
        let work = thread.client_work();
        self.client_work.lock().unwrap_or_else(PoisonError::into_inner)[thread.thread().index()] = work;
    }

    pub(crate) fn close_error(&self) -> Option<String> {
        self.close_errors.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }
}

/// See the module.
pub(crate) struct Body {
    pub(crate) thread: Option<TaskThread>,
    pub(crate) shared: std::sync::Arc<Shared>,
    /// Steps since it was told what clients' requests hold.
    pub(crate) untold: u32,
}

impl CoreLoop for Body {
    fn step(&mut self, doors: &mut Doors<'_>) -> Step {
        let Some(thread) = &mut self.thread else { return Step::Stop };
        match self.shared.phase() {
            Phase::Running => {}
            Phase::Draining => thread.stop_admission(),
            Phase::Closing => {
                let thread = self.thread.take().expect("invariant: just seen");
                let id = thread.thread();
                let closed = caught(|| thread.close(doors));
                if let Err(reason) = closed.unwrap_or_else(|text| Err(StopReason::Panicked { thread: id, text })) {
                    let mut errors = self.shared.close_errors.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push(reason.to_string());
                }
                return Step::Stop;
            }
            Phase::Aborting => return Step::Stop,
        }
        let stepped = caught(|| thread.step(doors));
        let thread_id = thread.thread();
        // What it left half done is in memory only, and never looked at again: its log has what counts.
        match stepped.unwrap_or_else(|text| Err(StopReason::Panicked { thread: thread_id, text })) {
            Err(reason) => {
                tracing::error!(thread = thread.thread().0, %reason, "a task thread had to stop");
                self.shared.stop(&reason);
                Step::Stop
            }
            Ok(progress) => {
                if self.shared.phase() == Phase::Draining {
                    let at = thread.thread().index();
                    self.shared.quiet[at].store(thread.is_quiet(), Ordering::Release);
                }
                let progress = if progress != Progress::Busy && thread.lingers() { Progress::Busy } else { progress };
                self.untold += 1;
                if progress != Progress::Busy || self.untold > STEPS_PER_PUBLISH {
                    self.untold = 0;
                    self.shared.publish(thread);
                }
                match progress {
                    Progress::Busy => Step::Busy,
                    Progress::Idle { wake_at } => Step::Idle { wake_at },
                }
            }
        }
    }
}
