//! Batch blocks as stages: what runs when, with a barrier after each.
//!
//! A batch block is entered with the vars it needs, in value form. Its stages run one after the other: each starts an event
//! on one task or on every task, with those vars, and is over when all events that descend from them are done. Rows that
//! cross a barrier lie in tables ([`crate::Tables`]). When the last stage is over, the code behind the block goes on once.
//!
//! Nothing is counted but numbers: an event is entered into `bits` by XOR when it is sent and when it is done, so that
//! whatever order the reports come in, `bits` is zero when nothing is out.

use crate::plan::{Plan, Position};
use std::collections::VecDeque;
use std::ops::Range;

/// Where a stage starts its events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Where {
    /// On the task of the root: where a call started, or task 0 for a microbatch.
    Origin,
    /// On task 0.
    Zero,
    /// On each task of the module.
    Everywhere,
}

/// A part of a batch block between two barriers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Where in the plan its events start. What is alive there are the vars the block was entered with.
    pub at: Position,
    /// On which tasks.
    pub on: Where,
}

/// A batch block of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockDef {
    /// Its stages, in order: places in [`Plan::stages`].
    pub stages: Range<usize>,
    /// Where the code behind it goes on, on the root's task; none if there is no such code.
    pub after: Option<Position>,
}

/// A block that was entered.
#[derive(Debug)]
struct Entered {
    block: usize,
    live: Vec<u8>,
    /// How many of its stages have been started.
    started: usize,
}

/// What a root has out, and how far its batch blocks are.
#[derive(Debug, Default)]
pub struct Stages {
    bits: u64,
    /// The first is being run.
    entered: VecDeque<Entered>,
}

impl Stages {
    /// An event was sent, with this number.
    pub fn sent(&mut self, event: u64) {
        self.bits ^= event;
    }

    /// Events are done: the XOR of their numbers and those of the events they sent. Answers whether nothing is out.
    pub fn done(&mut self, bits: u64) -> bool {
        self.bits ^= bits;
        self.bits == 0
    }

    /// A block was entered with these vars. It is run when those entered before it are through.
    pub fn enter(&mut self, block: usize, live: Vec<u8>) {
        self.entered.push_back(Entered { block, live, started: 0 });
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.entered.iter().map(|entered| entered.live.len()).sum()
    }

    /// What is to be started now that nothing is out, and with which vars; none if the root is done.
    pub fn next(&mut self, plan: &Plan) -> Option<(Stage, Vec<u8>)> {
        debug_assert_eq!(self.bits, 0, "a stage starts when the one before it is over");
        while let Some(first) = self.entered.front_mut() {
            let BlockDef { stages, after } = &plan.blocks()[first.block];
            let stage = plan.stages()[stages.clone()].get(first.started).copied();
            first.started += 1;
            if let Some(stage) = stage {
                let last = after.is_none() && first.started == stages.len();
                return Some((stage, if last { std::mem::take(&mut first.live) } else { first.live.clone() }));
            }
            let live = self.entered.pop_front().map(|entered| entered.live).unwrap_or_default();
            if let Some(at) = *after {
                return Some((Stage { at, on: Where::Origin }, live));
            }
        }
        None
    }
}
