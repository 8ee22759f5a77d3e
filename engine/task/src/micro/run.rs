//! Running the events of microbatches: of one task and topology one at a time, in the order in which they came.

use crate::limit::{MICROBATCH_EVENT_COUNT_PER_LOOK, TURN_NS_TARGET};
use crate::micro::host::MicroHost;
use crate::micro::part::{Try, TryPhase};
use crate::micro::record::Range;
use crate::overrun::{Watched, guarded};
use crate::slot::{Hold, TaskSlot};
use crate::tables::Sender;
use crate::thread::{StopReason, TaskThread};
use std::sync::Arc;
use tantu_base::door::{Doors, Nanos};
use tantu_flow::{Outcome, Position};
use tantu_net::letter::Root;
use tantu_state::side::view::RunView;

/// How a turn of an attempt on a task ended.
enum Turn {
    /// It goes on later, or when more arrives.
    Rests,
    /// An event failed, and with it the attempt.
    Failed(String),
}

/// An event that goes on with the answer of a job, or of a query.
pub(crate) struct JobEvent<'a> {
    pub(crate) topology: u16,
    pub(crate) position: Position,
    pub(crate) id: u64,
    pub(crate) live: &'a [u8],
}

impl TaskThread {
    /// Runs events of the next task and topology that have some; false if there are none.
    pub(crate) fn run_microbatches(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let topologies = self.config.module.def.microbatches.len();
        let count = self.slots.len() * topologies;
        let runnable = |index: &usize| {
            let TaskSlot { state, parts, .. } = &self.slots[index / topologies];
            let attempt = parts[index % topologies].attempt.as_ref();
            // What it wrote goes to the disk first, if that is too much.
            attempt.is_some_and(|attempt| attempt.is_runnable() && !state.is_run_full(attempt.run))
        };
        let next = self.micro.next_part;
        let Some(index) = (0..count).map(|i| (next + i) % count).find(runnable) else { return Ok(false) };
        self.micro.next_part = (index + 1) % count;
        let (slot, at) = (index / topologies, index % topologies);
        let mut attempt = self.slots[slot].parts[at].attempt.take().expect("invariant: just seen");
        attempt.hold = Hold::Free;
        let turn = match self.run_attempt(slot, at, &mut attempt, doors) {
            Turn::Rests => self.send_rows(at, &mut attempt),
            failed @ Turn::Failed(_) => failed,
        };
        match turn {
            Turn::Rests => self.send_attempt(slot, at, &mut attempt, doors),
            Turn::Failed(text) => {
                attempt.end();
                self.fail_attempt(slot, attempt.run, &text);
            }
        }
        attempt.events.reclaim();
        self.slots[slot].parts[at].attempt = Some(attempt);
        Ok(true)
    }

    /// Rows that events gathered for tables leave when no event waits: until then more rows of the same groups may come, and
    /// are combined with them here. The events that made them are not reported before.
    fn send_rows(&mut self, at: usize, attempt: &mut Try) -> Turn {
        if !attempt.rows_are_due() {
            return Turn::Rests;
        }
        let module = Arc::clone(&self.config.module);
        let (def, topology, source) = module.microbatch(at).expect("invariant: it is of the module");
        let (plan, root) = (&*def.plan, attempt.root(source));
        let Try { rows, bits, letters, .. } = attempt;
        let mut sender = Sender { plan, topology, root, random: &mut self.random, bits, letters };
        match guarded(|| rows.send_all(&mut sender)) {
            Ok(Ok(())) => Turn::Rests,
            Ok(Err(error)) => Turn::Failed(error.to_string()),
            Err(panic) => Turn::Failed(panic),
        }
    }

    /// What events sent leaves, with a report of those that ended.
    fn send_attempt(&mut self, slot: usize, at: usize, attempt: &mut Try, doors: &mut Doors<'_>) {
        let (task, run) = (self.slots[slot].task, attempt.run);
        let letters = std::mem::take(&mut attempt.letters);
        self.send_events(task, run, &attempt.epochs, &letters);
        attempt.letters = letters;
        attempt.letters.clear();
        // Task 0 and the coordinator are on one thread: a block is known before the event that entered it is reported.
        for (block, live) in attempt.entered.drain(..) {
            self.micro.coordinators[at].entered(run, block, live);
        }
        // Rows that are still here belong to events that ended.
        if attempt.rows.is_empty() {
            match std::mem::take(&mut attempt.bits) {
                0 => {}
                bits => self.report_bits(task, run, bits),
            }
        }
        self.jobs.start(attempt.jobs.drain(..), doors);
    }

    fn run_attempt(&mut self, slot: usize, at: usize, attempt: &mut Try, doors: &mut Doors<'_>) -> Turn {
        let module = Arc::clone(&self.config.module);
        let (def, topology, _) = module.microbatch(at).expect("invariant: it is of the module");
        let start = doors.clock.now();
        let ranges = attempt.ranges.0.clone();
        let mut count = 0;
        loop {
            if attempt.current.is_none() {
                count += 1;
                if count % MICROBATCH_EVENT_COUNT_PER_LOOK == 0 && doors.clock.now().since(start) > TURN_NS_TARGET {
                    attempt.hold = Hold::Yielded;
                    return Turn::Rests;
                }
                let Some(event) = attempt.events.pop(topology) else { return Turn::Rests };
                attempt.current_bits = event.id;
                attempt.current = Some(event);
                // Variables of the author's types are read by the author's code.
                match guarded(|| attempt.registers.begin(&def.plan, event.at, attempt.events.live(&event))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Turn::Failed(error.to_string()),
                    Err(panic) => return Turn::Failed(panic),
                }
            }
            if let Some(turn) = self.resume_event(slot, at, attempt, (&ranges, start), doors) {
                return turn;
            }
        }
    }

    /// Goes on with the current event; answers how the turn ended, if it did.
    fn resume_event(
        &mut self,
        slot: usize,
        at: usize,
        attempt: &mut Try,
        (ranges, start): (&[Range], Nanos),
        doors: &mut Doors<'_>,
    ) -> Option<Turn> {
        let module = Arc::clone(&self.config.module);
        let (def, topology, source) = module.microbatch(at).expect("invariant: it is of the module");
        let plan = &*def.plan;
        let until = self.tables_until(at, start);
        let (run, root, overtime_at) = (attempt.run, attempt.root(source), start.plus_ms(self.config.event_ms_max));
        let (pulse, overruns) = (&*self.config.pulse, &self.overruns);
        let watched = Watched { topology, plan, clock: doors.clock, pulse, overruns, start };
        let TaskSlot { task, state, shuffle, loading, .. } = &mut self.slots[slot];
        let mut need = None;
        let mut host = MicroHost {
            view: RunView { state, cache: &mut self.cache, need: &mut need, objects: &module.pstates, run },
            random: &mut self.random,
            shuffle,
            clock: doors.clock,
            overtime_at,
            task: *task,
            plan,
            module: &module,
            tables: &mut self.tables,
            until,
            rows: &mut attempt.rows,
            read: &mut attempt.read,
            entered: &mut attempt.entered,
            topology,
            root,
            bits: &mut attempt.current_bits,
            letters: &mut attempt.letters,
            calls: &mut attempt.calls,
            events: &mut attempt.events,
            jobs: &mut attempt.jobs,
            ranges,
            loading,
        };
        match watched.resume(&mut attempt.registers, &mut host) {
            Ok(Outcome::Done) => {
                self.tables.forget(plan, *task, &root, &attempt.read);
                attempt.end_event();
                None
            }
            Ok(Outcome::Need) => {
                // Without blocks it waits for records, which are asked for, or until what it wrote is on the disk.
                let is_full = need.is_none() && state.is_run_full(run);
                let reading = !is_full && need.is_none_or(|need| state.fetch(&need, doors.disk));
                attempt.hold = if reading { Hold::Blocks } else { Hold::Yielded };
                Some(Turn::Rests)
            }
            Ok(Outcome::Yield) => {
                let is_over = doors.clock.now() > overtime_at;
                is_over.then(|| attempt.hold = Hold::Yielded).map(|()| Turn::Rests)
            }
            Ok(Outcome::Failed(error)) => Some(Turn::Failed(error.to_string())),
            Err(panic) => Some(Turn::Failed(panic)),
        }
    }

    /// Something of a task's state arrived: parked events ask again.
    pub(crate) fn wake_attempts(&mut self, slot: usize) {
        for part in &mut self.slots[slot].parts {
            if let Some(attempt) = part.attempt.as_mut().filter(|attempt| attempt.hold == Hold::Blocks) {
                attempt.hold = Hold::Yielded;
            }
        }
    }

    /// Which microbatch topology a root is of.
    pub(crate) fn microbatch_of(&self, root: &Root) -> Option<usize> {
        let module = &self.config.module;
        usize::from(root.source).checked_sub(module.sources.len() + module.def.queries.len())
    }

    /// The job of an event of a microbatch is done, or the query it called: the event goes on with the answer, or the attempt
    /// fails.
    pub(crate) fn go_on_microbatch(&mut self, slot: usize, at: usize, root: &Root, event: Result<JobEvent<'_>, &str>) {
        let run_is = |attempt: &&mut Try| {
            attempt.run.id == root.offset.0
                && attempt.run.attempt.counter == root.attempt
                && attempt.phase == TryPhase::Running
        };
        let Some(attempt) = self.slots[slot].parts[at].attempt.as_mut().filter(run_is) else { return };
        match event {
            Ok(JobEvent { topology, position, id, live }) => attempt.events.push(topology, position, *root, id, live),
            Err(text) => {
                attempt.end();
                let run = attempt.run;
                self.fail_attempt(slot, run, text);
            }
        }
    }
}
