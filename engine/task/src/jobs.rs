//! Events that wait for a job: what starts elsewhere, and what goes on when it is done.
//!
//! A job starts when what came before it in its batch is durable, as a hop would leave. Its answer is an event of the task it
//! came from, behind those that wait there. Nothing of this is durable: after a crash the record is processed again.

use crate::limit::EVENT_JOB_COUNT_MAX;
use crate::micro::run::JobEvent;
use crate::thread::TaskThread;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use tantu_base::door::{Doors, Job, JobDone, Token};
use tantu_base::id::TaskId;
use tantu_flow::Position;
use tantu_net::letter::{Letter, Root};

/// Owner of the tokens of events' jobs.
const JOB_OWNER: u32 = 0;

/// A job and what goes on when it is done.
pub(crate) struct Starting {
    pub(crate) task: TaskId,
    pub(crate) stream: u16,
    pub(crate) at: Position,
    pub(crate) root: Root,
    /// The random number of the event that goes on.
    pub(crate) event: u64,
    pub(crate) live: Vec<u8>,
    pub(crate) job: Job,
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Starting({}, {:?})", self.task, self.root)
    }
}

/// An event without its answer.
#[derive(Debug)]
struct Waiting {
    task: TaskId,
    stream: u16,
    at: Position,
    root: Root,
    event: u64,
    live: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct EventJobs {
    running: BTreeMap<u32, Waiting>,
    /// The door had no room for them.
    queued: VecDeque<Starting>,
    /// How many of both are of events of stream records.
    of_records: usize,
    next: u32,
    size: usize,
    done: Vec<JobDone>,
}

impl EventJobs {
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.queued.is_empty()
    }

    /// No records are started that might want more. What calls of queries wait for, clients' above all, keeps no record back.
    pub(crate) fn is_full(&self) -> bool {
        self.of_records >= EVENT_JOB_COUNT_MAX
    }

    /// Bytes of variables that wait.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Starts jobs of events of stream records.
    pub(crate) fn start_of_records(&mut self, jobs: impl ExactSizeIterator<Item = Starting>, doors: &mut Doors<'_>) {
        self.of_records += jobs.len();
        self.start(jobs, doors);
    }

    pub(crate) fn start(&mut self, jobs: impl IntoIterator<Item = Starting>, doors: &mut Doors<'_>) {
        for job in jobs {
            self.size += job.live.len();
            self.queued.push_back(job);
        }
        self.start_queued(doors);
    }

    fn start_queued(&mut self, doors: &mut Doors<'_>) {
        while let Some(Starting { task, stream, at, root, event, live, job }) = self.queued.pop_front() {
            let tag = self.next;
            match doors.jobs.start(Token { owner: JOB_OWNER, tag }, job) {
                Ok(()) => {
                    self.next = self.next.wrapping_add(1);
                    self.running.insert(tag, Waiting { task, stream, at, root, event, live });
                }
                Err(job) => {
                    self.queued.push_front(Starting { task, stream, at, root, event, live, job });
                    break;
                }
            }
        }
    }
}

impl TaskThread {
    /// Goes on with the events whose jobs are done; true if there were some.
    pub(crate) fn finish_jobs(&mut self, doors: &mut Doors<'_>) -> bool {
        let mut done = std::mem::take(&mut self.jobs.done);
        doors.jobs.reap(&mut done);
        let worked = !done.is_empty();
        for JobDone { token, result } in done.drain(..) {
            let Some(Waiting { task, stream, at: position, root, event, mut live }) =
                self.jobs.running.remove(&token.tag)
            else {
                continue;
            };
            self.jobs.size -= live.len();
            let slot = self.slot_of(task).expect("invariant: it came from a task of this thread");
            if let Some(at) = self.microbatch_of(&root) {
                let result = result.map(|answer| live.extend_from_slice(&answer));
                let goes_on = JobEvent { topology: stream, position, id: event, live: &live };
                let failure = result.as_ref().err().map(|text| format!("a future failed: {text}"));
                self.go_on_microbatch(slot, at, &root, failure.as_deref().map_or(Ok(goes_on), Err));
                continue;
            }
            let call = self.is_call(&root);
            self.jobs.of_records -= usize::from(!call);
            match result {
                Ok(answer) => {
                    live.extend_from_slice(&answer);
                    let slot = &mut self.slots[slot];
                    let events = if call { slot.calls.beside_mut(&root) } else { &mut slot.events };
                    events.push(stream, position, root, event, &live);
                }
                Err(text) => {
                    let mut report = Vec::new();
                    Letter::Failed { root, text: &format!("a future failed: {text}") }.encode(&mut report);
                    self.release(&report, doors.clock.now());
                }
            }
        }
        self.jobs.done = done;
        if worked {
            self.jobs.start_queued(doors);
        }
        worked
    }
}
