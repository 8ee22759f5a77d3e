//! Running an event: where it stands is data.
//!
//! A step that needs a block leaves everything as it was before it and answers [`Outcome::Need`]; resuming repeats
//! only its reads. User closures of a step run at most once per event and emit, whatever parks or yields.
#![allow(
    unsafe_code,
    reason = "the state of a lazy iterator lies untyped in the arena; each read says why the type is right"
)]

use crate::arena::{Arena, Mark};
use crate::data::{Data, Register};
use crate::plan::{Plan, Position};
use crate::slot::{Frame, Slot};
use crate::step::{Advance, Cursor, Step, Target};
use crate::var::{Var, Vars};
use std::ops::ControlFlow;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::{DecodeError, partition_of_key};
use tantu_path::{Args, EvalError, Scratch, Store, aggregate, clear_store, select_store, transform_store};

/// What a run needs of the task it stands on. A PState is named by its place in the module.
pub trait Host: Store {
    /// The task.
    fn task(&self) -> TaskId;
    /// How many tasks the module has.
    fn task_count(&self) -> u32;
    /// 64 random bits.
    fn random(&mut self) -> u64;
    /// Sends the rest of the work to a task, perhaps this one: always a new event.
    fn hop(&mut self, to: TaskId, at: Position, live: &[u8]);
}

/// Why an event failed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RunError {
    /// A letter or record is not what the plan expects here.
    #[error("topology {topology}: the live variables cannot be read: {source}")]
    Live {
        /// Which topology.
        topology: String,
        /// What does not decode.
        source: DecodeError,
    },
    /// A position the plan does not have.
    #[error("topology {topology} has no position {position}")]
    Position {
        /// Which topology.
        topology: String,
        /// The position asked for.
        position: u32,
    },
    /// A partitioner chose a task that does not exist.
    #[error(
        "{file}:{line}: topology {topology}: {partitioner} chose task {index}, but the module has the tasks 0 to {last}"
    )]
    OutOfRange {
        /// Which topology.
        topology: String,
        /// Which partitioner.
        partitioner: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// What it chose.
        index: i64,
        /// The last task.
        last: u32,
    },
    /// A path or an aggregation failed.
    #[error("{file}:{line}: topology {topology}: {what}: {error}")]
    Eval {
        /// Which topology.
        topology: String,
        /// Which step.
        what: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// Why.
        error: Box<EvalError>,
    },
}

/// How far a run came.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// To its end.
    Done,
    /// To a read whose blocks are not in memory.
    Need,
    /// To the end of its fuel.
    Yield,
    /// No further: the event failed.
    Failed(RunError),
}

/// The registers and iterators of one event; used again for the next.
pub struct Run {
    frame: Frame,
    arena: Arena,
    column: Vec<Slot>,
    cursors: Vec<Cursor>,
    scratch: Scratch,
    live: Vec<u8>,
    step: usize,
    source: usize,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run(at step {}, {} iterators)", self.step, self.cursors.len())
    }
}

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

struct FrameArgs<'a> {
    frame: &'a Frame,
    registers: &'a [Register],
}

impl Args for FrameArgs<'_> {
    fn value(&self, slot: u32, out: &mut Vec<u8>) {
        self.registers[slot as usize].encode(self.frame, out);
    }

    fn key(&self, slot: u32, out: &mut Vec<u8>) {
        self.registers[slot as usize].encode_key(self.frame, out);
    }
}

/// What one step asks of the loop.
enum Then {
    Next,
    /// This way ends: the innermost iterator goes on.
    Back,
    Goto(usize),
    Need,
}

impl Run {
    /// A run at rest.
    pub fn new() -> Run {
        Run {
            frame: Frame::new(),
            arena: Arena::new(),
            column: Vec::new(),
            cursors: Vec::new(),
            scratch: Scratch::new(),
            live: Vec::new(),
            step: 0,
            source: 0,
        }
    }

    /// Forgets the event.
    pub fn reset(&mut self) {
        self.cursors.clear();
        self.column.clear();
        self.arena.clear();
    }

    /// Starts an event. `live` holds the encoded live variables of the position; for a source, the record.
    ///
    /// # Errors
    /// [`RunError`] if the bytes are not what the plan expects.
    pub fn begin(&mut self, plan: &Plan, at: Position, live: &[u8]) -> Result<(), RunError> {
        self.reset();
        let topology = || plan.name.clone();
        let entry = plan
            .entries
            .get(at.0 as usize)
            .ok_or_else(|| RunError::Position { topology: topology(), position: at.0 })?;
        self.frame.grow_to(plan.frame_size);
        Register::decode_all(&entry.live, live, &mut self.frame, &mut self.arena)
            .map_err(|source| RunError::Live { topology: topology(), source })?;
        self.step = entry.step;
        self.source = entry.source;
        Ok(())
    }

    /// Goes on until the event is done, needs something, or `fuel` steps are used up.
    pub fn resume(&mut self, plan: &Plan, host: &mut dyn Host, fuel: &mut u32) -> Outcome {
        loop {
            if *fuel == 0 {
                return Outcome::Yield;
            }
            *fuel -= 1;
            match self.one(plan, host) {
                Ok(Then::Next) => self.step += 1,
                Ok(Then::Goto(step)) => self.step = step,
                Ok(Then::Need) => return Outcome::Need,
                Ok(Then::Back) => {
                    if !self.back(plan) {
                        self.reset();
                        return Outcome::Done;
                    }
                }
                Err(error) => return Outcome::Failed(error),
            }
        }
    }

    fn one(&mut self, plan: &Plan, host: &mut dyn Host) -> Result<Then, RunError> {
        let at = self.step;
        match &plan.steps[at].step {
            Step::Call(call) => call(&mut self.frame, &mut self.arena),
            Step::Filter(keep) => {
                if self.frame.get(*keep).bits() == 0 {
                    return Ok(Then::Back);
                }
            }
            Step::If { condition, otherwise } => {
                if self.frame.get(*condition).bits() == 0 {
                    return Ok(Then::Goto(*otherwise));
                }
            }
            Step::Emits { collect, out } => {
                let start = self.column.len();
                collect(&self.frame, &mut self.arena, &mut self.column);
                self.push_column(at, *out, start);
                return Ok(Then::Back);
            }
            Step::Unfold(unfold) => {
                let state = (unfold.begin)(&mut self.arena);
                let mark = self.arena.mark();
                self.cursors.push(Cursor::Unfold { step: at, state, mark });
                return Ok(Then::Back);
            }
            Step::TaskId(out) => self.frame.set(*out, <i64 as Data>::slot(i64::from(host.task().0))),
            Step::Select { .. } => return self.select(plan, at, host),
            Step::Transform { .. } | Step::Clear { .. } | Step::Aggregate { .. } => return self.write(plan, at, host),
            Step::Hop { target, position } => {
                self.hop(plan, at, target, *position, host)?;
                return Ok(Then::Back);
            }
            Step::End => return Ok(Then::Back),
        }
        Ok(Then::Next)
    }

    fn push_column(&mut self, step: usize, out: u32, start: usize) {
        let (end, mark) = (self.column.len(), self.arena.mark());
        self.cursors.push(Cursor::Column { step, out, start, next: start, end, mark });
    }

    /// The next value of the innermost iterator that has one; false if none has.
    fn back(&mut self, plan: &Plan) -> bool {
        while let Some(cursor) = self.cursors.last_mut() {
            match cursor {
                Cursor::Unfold { step, state, mark } => {
                    self.arena.reset(*mark);
                    let Step::Unfold(unfold) = &plan.steps[*step].step else {
                        unreachable!("the cursor names its step")
                    };
                    if (unfold.next)(&mut self.frame, *state) {
                        self.step = *step + 1;
                        return true;
                    }
                }
                Cursor::Column { step, out, start, next, end, mark } => {
                    self.arena.reset(*mark);
                    self.column.truncate(*end);
                    if *next < *end {
                        self.frame.set(*out, self.column[*next]);
                        *next += 1;
                        self.step = *step + 1;
                        return true;
                    }
                    let start = *start;
                    self.column.truncate(start);
                }
            }
            self.cursors.pop();
        }
        false
    }

    fn select(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        let Step::Select { pstate, path, out } = &plan.steps[at].step else { unreachable!("the step is a select") };
        let args = FrameArgs { frame: &self.frame, registers: &plan.registers[self.source] };
        let (start, mark) = (self.column.len(), self.arena.mark());
        let (arena, column) = (&mut self.arena, &mut self.column);
        let mut misfit: Option<DecodeError> = None;
        let mut visit = |value: &[u8]| match out.decode_one(value, arena) {
            Ok(slot) => {
                column.push(slot);
                ControlFlow::Continue(())
            }
            Err(error) => {
                misfit = Some(error);
                ControlFlow::Break(())
            }
        };
        let object = ObjectId(*pstate as u32);
        let result = select_store(&plan.schemas[*pstate].1, object, path, host, &args, &mut self.scratch, &mut visit);
        if let Some(source) = misfit {
            return Err(RunError::Live { topology: plan.name.clone(), source });
        }
        match result {
            Ok(()) => {
                let out = out.var;
                self.push_column(at, out, start);
                Ok(Then::Back)
            }
            Err(EvalError::Need) => {
                self.forget(start, mark);
                Ok(Then::Need)
            }
            Err(error) => Err(eval_error(plan, at, error)),
        }
    }

    fn forget(&mut self, start: usize, mark: Mark) {
        self.column.truncate(start);
        self.arena.reset(mark);
    }

    fn write(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        let args = FrameArgs { frame: &self.frame, registers: &plan.registers[self.source] };
        let result = match &plan.steps[at].step {
            Step::Transform { pstate, path } => transform_store(
                &plan.schemas[*pstate].1,
                ObjectId(*pstate as u32),
                path,
                host,
                &args,
                &mut self.scratch,
            ),
            Step::Clear { pstate } => clear_store(ObjectId(*pstate as u32), host),
            Step::Aggregate { pstate, shape } => {
                aggregate(&plan.schemas[*pstate].1, ObjectId(*pstate as u32), shape, host, &args, &mut self.scratch)
            }
            _ => unreachable!("the step writes"),
        };
        match result {
            Ok(()) => Ok(Then::Next),
            Err(EvalError::Need) => Ok(Then::Need),
            Err(error) => Err(eval_error(plan, at, error)),
        }
    }

    fn hop(
        &mut self,
        plan: &Plan,
        at: usize,
        target: &Target,
        position: u32,
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let count = host.task_count();
        self.live.clear();
        let index = match target {
            Target::All => None,
            Target::Global => Some(0),
            Target::Shuffle => Some((host.random() % u64::from(count)) as i64),
            Target::Hash(register) => {
                register.encode_key(&self.frame, &mut self.live);
                let index = partition_of_key(&self.live, count);
                self.live.clear();
                Some(i64::from(index))
            }
            Target::Chosen(choose) => Some(choose(&self.frame, count)),
        };
        for register in &plan.entries[position as usize].live {
            register.encode(&self.frame, &mut self.live);
        }
        match index {
            None => (0..count).for_each(|task| host.hop(TaskId(task), Position(position), &self.live)),
            Some(index) => match u32::try_from(index).ok().filter(|index| *index < count) {
                Some(task) => host.hop(TaskId(task), Position(position), &self.live),
                None => {
                    let record = &plan.steps[at];
                    return Err(RunError::OutOfRange {
                        topology: plan.name.clone(),
                        partitioner: record.label.clone(),
                        file: record.place.file(),
                        line: record.place.line(),
                        index,
                        last: count - 1,
                    });
                }
            },
        }
        Ok(())
    }
}

fn eval_error(plan: &Plan, at: usize, error: EvalError) -> RunError {
    let record = &plan.steps[at];
    RunError::Eval {
        topology: plan.name.clone(),
        what: record.label.clone(),
        file: record.place.file(),
        line: record.place.line(),
        error: Box::new(error),
    }
}

/// The typed inside of a lazy iterator.
pub(crate) fn unfold_next<A, S, O>(
    of: Var<A>,
    out: Var<O>,
    function: impl for<'x> Fn(&'x A, &mut S) -> Option<&'x O> + Send + Sync + 'static,
) -> Advance
where
    A: ?Sized + for<'y> Data<Ref<'y> = &'y A>,
    O: ?Sized + for<'y> Data<Ref<'y> = &'y O>,
    S: Send + 'static,
{
    Box::new(move |frame, state| {
        // SAFETY: `begin` of the same step put an `S` there; the cursor that holds the pointer is the only one that uses
        // it, and the arena keeps it until the cursor is gone.
        let state = unsafe { state.cast::<S>().as_mut() };
        // SAFETY: as for every step's inputs: bound before, pinned in the arena before the iterator's mark.
        let input = unsafe { of.read(frame) };
        match function(input, state).map(O::slot) {
            Some(slot) => {
                frame.set(out.id, slot);
                true
            }
            None => false,
        }
    })
}
