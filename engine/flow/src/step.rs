//! The steps a topology is lowered to.

use crate::arena::Arena;
use crate::data::Register;
use crate::define::Place;
use crate::depot::Accepts;
use crate::key_partitioner::KeyPartitioner;
use crate::slot::{Frame, Slot};
use crate::stage::Where;
use crate::table::RowsOf;
use std::ptr::NonNull;
use tantu_base::door::Job;
use tantu_base::id::AckLevel;
use tantu_path::{AggShape, Arg, Path};

/// Computes and writes its outputs' slots.
pub(crate) type Call = Box<dyn Fn(&mut Frame, &mut Arena) + Send + Sync>;
/// Writes its output's slot and says whether the case holds.
pub(crate) type Test = Box<dyn Fn(&mut Frame, &mut Arena) -> bool + Send + Sync>;
/// Collects emits.
pub(crate) type Emits = Box<dyn Fn(&Frame, &mut Arena, &mut Vec<Slot>) + Send + Sync>;
/// Chooses a partition of `count`.
pub(crate) type Choose = Box<dyn Fn(&Frame, u32) -> i64 + Send + Sync>;
/// Says why the event fails; none if it does not.
pub(crate) type Complain = Box<dyn Fn(&Frame) -> Option<String> + Send + Sync>;
/// Makes the job of an asynchronous call.
pub(crate) type MakeJob = Box<dyn Fn(&Frame) -> Job + Send + Sync>;

/// Puts a lazy iterator's state into the arena.
pub(crate) type Begin = Box<dyn Fn(&mut Arena) -> NonNull<u8> + Send + Sync>;
/// Writes a lazy iterator's next value into the output's slot; false at the end.
pub(crate) type Advance = Box<dyn Fn(&mut Frame, NonNull<u8>) -> bool + Send + Sync>;

/// A lazy iterator: where its state is, and how to get its next value.
pub(crate) struct Unfold {
    pub(crate) begin: Begin,
    pub(crate) next: Advance,
}

/// Where a partitioner sends the rest of the work.
pub(crate) enum Target {
    Hash(Register),
    All,
    /// Task 0.
    Global,
    Shuffle,
    /// Where the call started.
    Origin,
    /// The task the event is on.
    Here,
    /// Where the hash of all of these says.
    Keys(Vec<Register>),
    /// The task of this id.
    Direct(u32),
    Chosen(Choose),
    /// Where the key of a PState lives, by the PState's own partitioner or the hash.
    Key {
        key: Arg,
        by: KeyPartitioner,
        pstate: usize,
    },
}

/// A slot that is copied to another.
pub(crate) type Move = (u32, u32);

/// One step. The tag stands by itself: a run tells the steps apart by one load and one jump.
#[repr(u8)]
pub(crate) enum Step {
    Call(Call),
    /// Goes on only if the var is true.
    Filter(u32),
    /// Jumps if the var is false.
    If {
        condition: u32,
        otherwise: usize,
    },
    /// Jumps if the case does not hold.
    Case {
        test: Test,
        otherwise: usize,
    },
    Jump(usize),
    /// The next round of a loop.
    Again {
        head: usize,
        /// What the loop's head needs, filled in when the topology is lowered.
        live: Vec<Register>,
    },
    /// One after the other; no source is an earlier target.
    Copy(Vec<Move>),
    /// Goes on with the next step, and then from each branch.
    Fork {
        branches: Vec<usize>,
    },
    Emits {
        collect: Emits,
        out: u32,
    },
    /// Each emit is two slots: which output (its place among the targets), and the value.
    Streams {
        collect: Emits,
        /// The var of each output stream, and where its code starts.
        targets: Vec<(u32, usize)>,
    },
    Unfold(Unfold),
    TaskId(u32),
    ModuleInfo(u32),
    Uuid(u32),
    Random(u32),
    NowMs(u32),
    Select {
        pstate: usize,
        path: Path,
        out: Register,
    },
    /// A select that may run over several events. The rows of its first page, or of the whole answer, go into `rows`; each
    /// further page is an event that begins with the next step, with its rows there.
    Pages {
        pstate: usize,
        path: Path,
        rows: u32,
        position: u32,
    },
    /// Emits each of the rows of a page.
    Rows {
        rows: u32,
        out: Register,
    },
    Transform {
        pstate: usize,
        path: Path,
    },
    Clear {
        pstate: usize,
    },
    Aggregate {
        pstate: usize,
        shape: AggShape,
    },
    Hop {
        target: Target,
        /// Among the partitions of a global object there is one.
        one_partition: bool,
        position: u32,
    },
    /// Goes on as a new event of this task if the event has taken too long.
    Overtime {
        position: u32,
    },
    /// Goes on as a new event of this task when the job is done.
    Await {
        job: MakeJob,
        position: u32,
    },
    /// Goes on as a new event of this task when the query has its result.
    Invoke {
        query: String,
        arguments: Vec<Register>,
        position: u32,
    },
    /// Appends a record to this task's partition; above the level `None`, goes on as a new event of this task when that is
    /// acknowledged.
    Append {
        depot: usize,
        /// It has one partition, on task 0.
        is_global: bool,
        record: Register,
        /// Whether a record of a var of another type is one of the depot's.
        check: Option<Accepts>,
        level: AckLevel,
        position: u32,
    },
    /// Fails the event if there is a complaint.
    Check(Complain),
    /// The row ends at the aggregators of a table, perhaps on another task.
    Fold {
        target: Target,
        table: usize,
    },
    /// The same where the aggregators are into PStates: what they make of many rows goes on with the next step, on the task
    /// that the rows went to.
    Combine {
        target: Target,
        table: usize,
        position: u32,
    },
    /// Puts a row into a table, perhaps on another task.
    Row {
        target: Target,
        table: usize,
        keys: Vec<Register>,
        rest: Vec<Register>,
    },
    /// Emits the rows of tables: where a batch block goes on behind a barrier.
    Gathered {
        of: RowsOf,
        outs: Vec<Register>,
    },
    /// The event ends; the batch block is run, and then the code behind it.
    Enter {
        /// Its place in the plan.
        block: usize,
        /// Where its stages start.
        stages: Vec<(usize, Where)>,
        /// Where the code behind it starts.
        after: usize,
        /// The vars it is entered with.
        position: u32,
    },
    /// The number of the microbatch.
    MicrobatchId(u32),
    /// Emits the records that the microbatch has on this task but so many, a page at a time.
    Records {
        depot: usize,
        /// Place among the sources of the topology.
        source: usize,
        skip: u32,
        out: Register,
    },
    /// The query's result.
    Result(Register),
    /// A value for the client that appended the record.
    AckReturn(Register),
    End,
}

impl Step {
    /// Every step it names besides the next one.
    pub(crate) fn each_target(&mut self, visit: &mut dyn FnMut(&mut usize)) {
        match self {
            Step::If { otherwise, .. } | Step::Case { otherwise, .. } => visit(otherwise),
            Step::Jump(to) | Step::Again { head: to, .. } => visit(to),
            Step::Fork { branches } => branches.iter_mut().for_each(visit),
            Step::Streams { targets, .. } => targets.iter_mut().for_each(|(_, to)| visit(to)),
            Step::Enter { stages, after, .. } => {
                stages.iter_mut().for_each(|(to, _)| visit(to));
                visit(after);
            }
            _ => {}
        }
    }

    /// Whether the next step may be run after it, in the same event or as a new one.
    pub(crate) fn falls_through(&self) -> bool {
        !matches!(
            self,
            Step::Jump(_)
                | Step::Again { .. }
                | Step::Streams { .. }
                | Step::Fold { .. }
                | Step::Enter { .. }
                | Step::End
        )
    }

    /// Whether what comes after it always is a new event.
    pub(crate) fn ends_event(&self) -> bool {
        let is_new = matches!(self, Step::Hop { .. } | Step::Await { .. } | Step::Invoke { .. } | Step::Enter { .. });
        is_new
            || matches!(self, Step::Combine { .. })
            || matches!(self, Step::Append { level, .. } if *level != AckLevel::None)
    }

    /// Where the events that it starts begin.
    pub(crate) fn position(&self) -> Option<u32> {
        match self {
            Step::Hop { position, .. }
            | Step::Combine { position, .. }
            | Step::Overtime { position }
            | Step::Await { position, .. }
            | Step::Pages { position, .. }
            | Step::Invoke { position, .. } => Some(*position),
            Step::Append { level, position, .. } if *level != AckLevel::None => Some(*position),
            _ => None,
        }
    }

    /// [`Step::position`], to be set.
    pub(crate) fn position_mut(&mut self) -> Option<&mut u32> {
        match self {
            Step::Hop { position, .. }
            | Step::Combine { position, .. }
            | Step::Overtime { position }
            | Step::Await { position, .. }
            | Step::Pages { position, .. }
            | Step::Invoke { position, .. } => Some(position),
            Step::Append { level, position, .. } if *level != AckLevel::None => Some(position),
            _ => None,
        }
    }
}

/// A step, its vars and where the author wrote it.
pub(crate) struct StepRecord {
    pub(crate) step: Step,
    pub(crate) label: String,
    pub(crate) uses: Vec<u32>,
    pub(crate) defs: Vec<u32>,
    pub(crate) place: Place,
}
