//! One turn of a streaming batch: its events on their task, one after the other.

use crate::batch::Batch;
use crate::event::{Event, EventQueue};
use crate::host::RunHost;
use crate::limit::{BATCH_FAR_COUNT_MAX, FUEL_PER_CHECK, SEAL_SIZE, TURN_NS_TARGET};
use crate::overrun::Watched;
use crate::slot::{Hold, TaskSlot};
use crate::thread::TaskThread;
use tantu_base::door::Doors;
use tantu_base::limit::FRAME_SIZE_MAX;
use tantu_flow::{Outcome, Run};
use tantu_state::view::OwnView;

/// A batch that staged more than this fails: its section would not fit an entry.
const BATCH_STAGED_SIZE_MAX: usize = FRAME_SIZE_MAX - SEAL_SIZE;

/// How a turn of a batch ended.
pub(crate) enum Turn {
    /// The batch goes on later.
    Held,
    /// Every event ran to its end.
    Succeeded,
    /// An event failed, and with it the batch.
    Failed(String),
}

/// Where the events of a turn stopped.
enum Stopped {
    /// There are no more, or the batch has enough.
    Ended,
    /// At blocks that are not in memory.
    Need,
    /// In the middle of one that takes long.
    Late,
    Failed(String),
}

impl TaskThread {
    /// Runs events of a batch until the turn ends.
    pub(crate) fn run_events(&mut self, at: usize, batch: &mut Batch, doors: &mut Doors<'_>) -> Turn {
        let module = &*self.config.module;
        let plan = &*module.def.streams[usize::from(batch.stream)].plan;
        let start = doors.clock.now();
        let most = Most {
            events: self.streams[usize::from(batch.stream)].batch_event_max,
            letters: self.config.memory.event_letters(),
        };
        let overtime_at = start.plus_ms(self.config.event_ms_max);
        let (pulse, overruns) = (&*self.config.pulse, &self.overruns);
        let watched = Watched { topology: batch.stream, plan, clock: doors.clock, pulse, overruns, start };
        let TaskSlot { task, state, run, events, shuffle, hold, .. } = &mut self.slots[at];
        let mut need = None;
        let view = OwnView { state: &mut *state, cache: &mut self.cache, need: &mut need, objects: &module.pstates };
        let mut host = RunHost {
            view,
            batch,
            random: &mut self.random,
            numbers: &mut self.numbers,
            shuffle,
            clock: doors.clock,
            overtime_at,
            task: *task,
            module,
            fingerprint: plan.fingerprint() as u32,
        };
        // Caught once for all events: the first that panics fails the batch.
        let stopped = watched.guard(|| each_event(run, events, (&watched, most), &mut host));
        let failed = match stopped {
            Ok(Stopped::Ended) => return Turn::Succeeded,
            Ok(Stopped::Late) => {
                *hold = Hold::Yielded;
                return Turn::Held;
            }
            Ok(Stopped::Need) => {
                let need = need.expect("invariant: a view that stops for blocks names them");
                *hold = if state.fetch(&need, doors.disk) { Hold::Blocks } else { Hold::Yielded };
                return Turn::Held;
            }
            Ok(Stopped::Failed(text)) => text,
            Err(panic) => panic,
        };
        run.reset();
        Turn::Failed(failed)
    }
}

/// What a batch may have.
#[derive(Clone, Copy)]
struct Most {
    events: usize,
    /// Bytes of letters of one event.
    letters: usize,
}

/// Goes on with the current event, if there is one, and then with those that wait.
fn each_event(
    run: &mut Run,
    events: &mut EventQueue,
    (watched, most): (&Watched<'_>, Most),
    host: &mut RunHost<'_>,
) -> Stopped {
    let mut staged = staged_size(host);
    let is_unseen = watched.is_unseen();
    loop {
        if host.batch.current.is_none() {
            let has_sent = host.batch.far_count >= BATCH_FAR_COUNT_MAX && !host.batch.touched;
            let enough = host.batch.count >= most.events || staged > SEAL_SIZE || has_sent;
            if let Some(stopped) = begin_event(run, events, watched, (host, enough)) {
                return stopped;
            }
        }
        let outcome = match is_unseen {
            true => run.resume(watched.plan, host, &mut { FUEL_PER_CHECK }),
            false => watched.go_on(run, host),
        };
        let sent = host.batch.hops.size_from(host.batch.first_hop);
        match outcome {
            Outcome::Done | Outcome::Yield if sent > most.letters => {
                return Stopped::Failed(sends_too_much(most.letters));
            }
            Outcome::Done => {
                staged = staged_size(host);
                if staged > BATCH_STAGED_SIZE_MAX {
                    return Stopped::Failed(format!("the event writes more than {BATCH_STAGED_SIZE_MAX} bytes"));
                }
                host.batch.end_event(host.numbers);
            }
            Outcome::Need => return Stopped::Need,
            Outcome::Yield if host.clock.now() > host.overtime_at => return Stopped::Late,
            Outcome::Yield => {}
            Outcome::Failed(error) => return Stopped::Failed(error.to_string()),
        }
    }
}

/// The error of an event that sends more letters than the memory of a core has room for.
pub(crate) fn sends_too_much(most: usize) -> String {
    format!("the event sends more than {most} bytes to other tasks, which must fit the memory of a core at once")
}

/// What a batch that writes has staged, with all that is sealed with it.
#[inline]
fn staged_size(host: &RunHost<'_>) -> usize {
    if host.batch.touched { host.view.state.staged_size() + host.batch.appends.size() } else { 0 }
}

/// Begins the next event of a batch; answers where the turn stopped if there is none for it.
#[inline]
fn begin_event(
    run: &mut Run,
    events: &mut EventQueue,
    watched: &Watched<'_>,
    (host, enough): (&mut RunHost<'_>, bool),
) -> Option<Stopped> {
    let batch = &mut *host.batch;
    // What failed before runs alone, so that no other record fails with it again.
    let is_alone = |event: &Event| event.root.attempt > 0;
    let parts = batch.count > 0 && (batch.is_alone || events.peek().is_some_and(is_alone));
    let is_late = || host.clock.now().since(watched.start) > TURN_NS_TARGET;
    // The clock costs more than a small event: look at it now and then.
    let ends = !batch.is_tied && (enough || parts || (batch.count % 32 == 31 && is_late()));
    let mut event = if ends { None } else { events.pop(batch.stream) };
    batch.is_tied = event.is_some_and(|event| event.is_tied);
    let mut queue = events;
    batch.event_touched = false;
    if event.is_none() && !batch.later.is_empty() {
        if is_late() {
            return Some(Stopped::Late);
        }
        queue = &mut batch.later;
        event = queue.pop(batch.stream);
        // What it did before it gave way is what it rests on.
        batch.event_touched = batch.touched;
    }
    let Some(event) = event else { return Some(Stopped::Ended) };
    batch.is_alone = is_alone(&event);
    batch.current = Some(event);
    batch.bits = event.id;
    batch.first_hop = batch.hops.count();
    batch.returned = false;
    batch.count += 1;
    if batch.has_one_try && event.root.task == host.task {
        batch.of_one_try.push((event.at, event.root));
    }
    let begun = run.begin(watched.plan, event.at, queue.live(&event));
    batch.later.reclaim();
    begun.err().map(|error| Stopped::Failed(error.to_string()))
}
