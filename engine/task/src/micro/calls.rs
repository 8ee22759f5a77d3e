//! Calls of queries by events of microbatches: a few run at a time, the others wait here.
//!
//! One event may call a query for each of thousands of records. A call starts on the task of its event, and its answer goes
//! straight back to the attempt; a call that fails fails the attempt. When the attempt is over its calls end with it.

use crate::limit::MICROBATCH_CALL_COUNT_MAX;
use crate::micro::part::{Try, TryPhase};
use crate::micro::run::JobEvent;
use crate::thread::TaskThread;
use tantu_base::door::Nanos;
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Offset, TaskId};
use tantu_net::letter::{Letter, Root};

/// Calls of an attempt on a task that have not started, in order.
#[derive(Debug, Default)]
pub(crate) struct CallQueue {
    /// Encoded.
    bytes: Vec<u8>,
    /// Where the next one starts.
    next: usize,
    /// How many have started and are not answered.
    out: usize,
}

impl CallQueue {
    pub(crate) fn push(&mut self, call: &Letter<'_>) {
        call.encode(&mut self.bytes);
    }

    /// Bytes that wait.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() - self.next
    }

    /// Takes so many that wait, encoded.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let waiting = &self.bytes[self.next..];
        let mut reader = FixedReader::new(waiting);
        let taken = (0..count).take_while(|_| Letter::decode_next(&mut reader).is_some()).count();
        let taken_bytes = waiting[..waiting.len() - reader.rest().len()].to_vec();
        self.next += taken_bytes.len();
        self.out += taken;
        if self.next == self.bytes.len() {
            (self.bytes, self.next) = (Vec::new(), 0);
        }
        taken_bytes
    }
}

impl TaskThread {
    /// Starts calls that wait while not too many of them are out; false if none was started.
    pub(crate) fn start_micro_calls(&mut self, now: Nanos) -> bool {
        let parts = self.slots.iter_mut().flat_map(|slot| &mut slot.parts);
        let mut queues: Vec<&mut CallQueue> = parts
            .filter_map(|part| part.attempt.as_mut())
            .map(|attempt| &mut attempt.calls)
            .filter(|calls| calls.out > 0 || calls.size() > 0)
            .collect();
        if queues.iter().all(|calls| calls.size() == 0) {
            return false;
        }
        // Each has its share: calls that take long keep no other topology from its own.
        let share = (MICROBATCH_CALL_COUNT_MAX / queues.len()).max(1);
        let calls: Vec<Vec<u8>> = queues.iter_mut().map(|calls| calls.take(share.saturating_sub(calls.out))).collect();
        let mut started = false;
        for calls in calls {
            let mut reader = FixedReader::new(&calls);
            while let Some(call) = Letter::decode_next(&mut reader) {
                self.take_call(call.expect("invariant: the thread encoded it itself"), now);
                started = true;
            }
        }
        started
    }

    /// A query that an event of a microbatch called has its result, or failed.
    pub(crate) fn answer_micro_call(
        &mut self,
        task: TaskId,
        at: usize,
        root: &Root,
        answer: Result<JobEvent<'_>, &str>,
    ) {
        let slot = self.slot_of(task).expect("invariant: the call started on a task of this thread");
        let is_current = |attempt: &&mut Try| {
            let run = &attempt.run;
            (run.id, run.attempt.counter, attempt.phase) == (root.offset.0, root.attempt, TryPhase::Running)
        };
        if let Some(attempt) = self.slots[slot].parts[at].attempt.as_mut().filter(is_current) {
            attempt.calls.out = attempt.calls.out.saturating_sub(1);
        }
        self.go_on_microbatch(slot, at, root, answer);
    }

    /// An attempt is over: nobody wants the results of the calls that it and those before it made.
    pub(crate) fn end_micro_calls(&mut self, at: usize, id: u64, now: Nanos) {
        let (_, _, source) = self.config.module.microbatch(at).expect("invariant: it is of the module");
        let root = Root { task: TaskId(0), source, offset: Offset(id), attempt: u32::MAX };
        self.end_calls_of(&root, now);
    }
}
