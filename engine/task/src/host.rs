//! What a run sees of the task it stands on.

use crate::append::Parked;
use crate::batch::Batch;
use crate::hops::{Hop, HopNumbers};
use crate::jobs::Starting;
use crate::paging::{Paging, page_limit};
use tantu_base::door::{Clock, Job, Nanos};
use tantu_base::id::{AckLevel, ObjectId, TaskId};
use tantu_flow::{AppendWait, Host, ModuleRuntime, PagedSelect, Position, Shuffle};
use tantu_net::event::{next_place, number_at};
use tantu_net::letter::{Letter, StreamLetter};
use tantu_path::{PageLimit, Stop, Store};
use tantu_state::view::OwnView;

/// Random numbers of events and of the `random` partitioners: splitmix64 from a seed the Entropy door gave.
#[derive(Debug)]
pub(crate) struct EventRandom(pub(crate) u64);

impl EventRandom {
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = next_place(self.0);
        number_at(self.0)
    }
}

/// See the module.
pub(crate) struct RunHost<'a> {
    pub(crate) view: OwnView<'a>,
    pub(crate) batch: &'a mut Batch,
    pub(crate) random: &'a mut EventRandom,
    pub(crate) numbers: &'a mut HopNumbers,
    pub(crate) shuffle: &'a mut Shuffle,
    pub(crate) clock: &'a dyn Clock,
    /// When the event should yield.
    pub(crate) overtime_at: Nanos,
    pub(crate) task: TaskId,
    pub(crate) module: &'a ModuleRuntime,
    pub(crate) fingerprint: u32,
}

impl Host for RunHost<'_> {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        self.batch.touched = true;
        self.batch.event_touched = true;
        Ok(&mut self.view)
    }

    fn task(&self) -> TaskId {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.module.task_count
    }

    fn thread_count(&self) -> u32 {
        self.module.thread_count
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn shuffle(&mut self) -> TaskId {
        let random = &mut *self.random;
        self.shuffle.next(self.module.task_count, || random.next())
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn is_overtime(&self) -> bool {
        self.clock.now() > self.overtime_at
    }

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        let event = self.random.next();
        let root = self.batch.current.expect("invariant: an event is running").root;
        self.batch.bits ^= event;
        let stream = self.batch.stream;
        self.batch.jobs.push(Starting { task: self.task, stream, at, root, event, live: live.to_vec(), job });
    }

    fn append(&mut self, depot: usize, record: &[u8], wait: Option<AppendWait<'_>>) -> Result<(), String> {
        // What follows leaves when the batch's entry is durable.
        self.batch.touched = true;
        self.batch.event_touched = true;
        let Some(AppendWait { level, at, live }) = wait else {
            self.batch.appends.push(depot, record, None);
            return Ok(());
        };
        if level == AckLevel::AppendAck {
            self.batch.appends.push(depot, record, None);
            self.hop(self.task, at, live);
            return Ok(());
        }
        let event = self.random.next();
        let root = self.batch.current.expect("invariant: an event is running").root;
        self.batch.bits ^= event;
        let (task, stream, live) = (self.task, self.batch.stream, live.to_vec());
        self.batch.appends.push(depot, record, Some(Parked { task, stream, at, root, event, live }));
        Ok(())
    }

    fn page_limit(&self) -> Option<PageLimit> {
        Some(page_limit())
    }

    fn select_on(&mut self, at: Position, live: &[u8], select: PagedSelect) {
        let event = self.random.next();
        let root = self.batch.current.expect("invariant: an event is running").root;
        self.batch.bits ^= event;
        let snapshot = self.view.snapshot(ObjectId(select.pstate as u32));
        let (task, stream, live) = (self.task, self.batch.stream, live.to_vec());
        self.batch.pagings.push(Paging { task, stream, at, root, event, live, select, snapshot });
    }

    fn invoke(&mut self, at: Position, live: &[u8], query: &str, arguments: &[u8]) -> Result<(), String> {
        let event = self.random.next();
        let root = self.batch.current.expect("invariant: an event is running").root;
        self.batch.bits ^= event;
        Letter::Call {
            task: self.task,
            query: self.module.def.query_index(query).expect("invariant: checked when the module was defined"),
            topology: self.batch.stream,
            fingerprint: self.fingerprint,
            position: at.0,
            root,
            event,
            arguments,
            live,
        }
        .encode(&mut self.batch.calls);
        Ok(())
    }

    fn ack_return(&mut self, value: &[u8]) {
        let root = self.batch.current.expect("invariant: an event is running").root;
        Letter::Stream(StreamLetter::Returned { root, value }).encode(&mut self.batch.calls);
        self.batch.returned = true;
    }

    fn give_way(&mut self, at: Position, live: &[u8]) {
        let root = self.batch.current.expect("invariant: an event is running").root;
        let event = self.random.next();
        self.batch.bits ^= event;
        self.batch.later.push(self.batch.stream, at, root, event, live);
    }

    #[inline]
    fn hop_near(&mut self, to: TaskId, at: Position, live_size: usize) -> Option<&mut Vec<u8>> {
        let thread = self.numbers.thread_of(to);
        if !self.numbers.is_own(thread) {
            return None;
        }
        let root = self.batch.current.as_ref().expect("invariant: an event is running").root;
        let hop = Hop::new(to, thread, at, (self.batch.stream, self.fingerprint), root);
        self.batch.hops.push_near(hop, live_size)
    }

    #[inline]
    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]) {
        let root = self.batch.current.as_ref().expect("invariant: an event is running").root;
        let thread = self.numbers.thread_of(to);
        self.batch.far_count += usize::from(!self.numbers.is_own(thread));
        let hop = Hop::new(to, thread, at, (self.batch.stream, self.fingerprint), root);
        self.batch.hops.push(hop, live);
    }
}
