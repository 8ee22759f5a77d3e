//! The steps a topology is lowered to.

use crate::arena::{Arena, Mark};
use crate::data::Register;
use crate::define::Place;
use crate::slot::{Frame, Slot};
use std::ptr::NonNull;
use tantu_path::{AggShape, Path};

/// Computes and writes its outputs' slots.
pub(crate) type Call = Box<dyn Fn(&mut Frame, &mut Arena) + Send + Sync>;
/// Collects emits.
pub(crate) type Emits = Box<dyn Fn(&Frame, &mut Arena, &mut Vec<Slot>) + Send + Sync>;
/// Chooses a partition of `count`.
pub(crate) type Choose = Box<dyn Fn(&Frame, u32) -> i64 + Send + Sync>;

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
    Global,
    Shuffle,
    Chosen(Choose),
}

/// One step.
pub(crate) enum Step {
    Call(Call),
    /// Goes on only if the var is true.
    Filter(u32),
    /// Jumps if the var is false.
    If {
        condition: u32,
        otherwise: usize,
    },
    Emits {
        collect: Emits,
        out: u32,
    },
    Unfold(Unfold),
    TaskId(u32),
    Select {
        pstate: usize,
        path: Path,
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
        position: u32,
    },
    End,
}

/// A step, its vars and where the author wrote it.
pub(crate) struct StepRecord {
    pub(crate) step: Step,
    pub(crate) label: String,
    pub(crate) uses: Vec<u32>,
    pub(crate) defs: Vec<u32>,
    pub(crate) place: Place,
}

/// Where a step with several emits goes on.
pub(crate) enum Cursor {
    /// Values are computed one by one.
    Unfold { step: usize, state: NonNull<u8>, mark: Mark },
    /// Values were collected: `column[next..end]`.
    Column { step: usize, out: u32, start: usize, next: usize, end: usize, mark: Mark },
}
