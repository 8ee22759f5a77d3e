//! Where a step with several continuations goes on: one cursor each, on a stack, since emits run depth first.
//!
//! A continuation may come back to the same code, round a loop, and write the same registers again. Which of the
//! registers that a cursor still needs may be written before it goes on is known when the topology is lowered; their slots are
//! saved with the cursor and put back each time it goes on. Outside loops there are none.

use crate::arena::{Arena, Mark};
use crate::plan::Plan;
use crate::slot::{Frame, Slot};
use crate::step::Step;
use std::ptr::NonNull;

enum Walk {
    /// Values are computed one by one.
    Unfold { state: NonNull<u8> },
    /// Values were collected: `column[next..]` up to the next cursor's.
    Column { out: u32, start: usize, next: usize, end: usize },
    /// The same, two slots each: which output stream, and the value.
    Streams { start: usize, next: usize, end: usize },
    /// Rows of several values were collected: `column[next..]` up to the next cursor's.
    Rows { start: usize, next: usize, end: usize },
    /// The step has more rows behind those collected: they are asked for when those are through.
    Page { next: u64 },
    /// Branches of a fork.
    Fork { next: usize },
}

struct Cursor {
    step: usize,
    mark: Mark,
    /// Where its saved slots start.
    saves: usize,
    walk: Walk,
}

/// The cursors of a run and what they hold.
pub(crate) struct Cursors {
    stack: Vec<Cursor>,
    /// Collected emits.
    pub(crate) column: Vec<Slot>,
    saves: Vec<Slot>,
    /// Which rows of tables the step asks for.
    pub(crate) page: u64,
}

impl Cursors {
    pub(crate) fn new() -> Cursors {
        Cursors { stack: Vec::new(), column: Vec::new(), saves: Vec::new(), page: 0 }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.stack.clear();
        self.column.clear();
        self.saves.clear();
        self.page = 0;
    }

    pub(crate) fn count(&self) -> usize {
        self.stack.len()
    }

    /// What is behind this mark belongs to no cursor.
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        self.stack.last().map_or(Mark::START, |cursor| cursor.mark)
    }

    fn push(&mut self, plan: &Plan, step: usize, walk: Walk, frame: &Frame, arena: &Arena) {
        let saves = self.saves.len();
        self.saves.extend(plan.saved[step].iter().map(|var| frame.get(*var)));
        self.stack.push(Cursor { step, mark: arena.mark(), saves, walk });
    }

    /// Emits of the step `at`, collected from `start` on.
    pub(crate) fn push_column(&mut self, plan: &Plan, at: usize, out: u32, start: usize, frame: &Frame, arena: &Arena) {
        let end = self.column.len();
        self.push(plan, at, Walk::Column { out, start, next: start, end }, frame, arena);
    }

    /// The same on several streams.
    pub(crate) fn push_streams(&mut self, plan: &Plan, at: usize, start: usize, frame: &Frame, arena: &Arena) {
        let end = self.column.len();
        self.push(plan, at, Walk::Streams { start, next: start, end }, frame, arena);
    }

    /// The rows that follow those of the step `at` that are collected next.
    pub(crate) fn push_page(&mut self, plan: &Plan, at: usize, frame: &Frame, arena: &Arena) {
        self.push(plan, at, Walk::Page { next: 0 }, frame, arena);
    }

    /// Where the page starts that was just announced; without one, there is none.
    pub(crate) fn set_page(&mut self, start: Option<u64>) {
        match (self.stack.last_mut(), start) {
            (Some(Cursor { walk: Walk::Page { next }, .. }), Some(start)) => *next = start,
            (Some(Cursor { saves, walk: Walk::Page { .. }, .. }), None) => {
                let saves = *saves;
                self.saves.truncate(saves);
                self.stack.pop();
            }
            _ => unreachable!("a page was announced"),
        }
    }

    /// Rows of the tables that the step `at` reads, collected from `start` on.
    pub(crate) fn push_rows(&mut self, plan: &Plan, at: usize, start: usize, frame: &Frame, arena: &Arena) {
        let end = self.column.len();
        self.push(plan, at, Walk::Rows { start, next: start, end }, frame, arena);
    }

    /// A lazy iterator of the step `at`.
    pub(crate) fn push_unfold(&mut self, plan: &Plan, at: usize, state: NonNull<u8>, frame: &Frame, arena: &Arena) {
        self.push(plan, at, Walk::Unfold { state }, frame, arena);
    }

    /// The branches of the fork at `at`, of which there are some.
    pub(crate) fn push_fork(&mut self, plan: &Plan, at: usize, frame: &Frame, arena: &Arena) {
        self.push(plan, at, Walk::Fork { next: 0 }, frame, arena);
    }

    /// The next continuation of the innermost cursor that has one: where it goes on, with the frame set.
    #[inline]
    pub(crate) fn back(&mut self, plan: &Plan, frame: &mut Frame, arena: &mut Arena) -> Option<usize> {
        if self.stack.is_empty() { None } else { self.go_back(plan, frame, arena) }
    }

    #[inline(never)]
    fn go_back(&mut self, plan: &Plan, frame: &mut Frame, arena: &mut Arena) -> Option<usize> {
        while let Some(cursor) = self.stack.last_mut() {
            arena.reset(cursor.mark);
            let at = cursor.step;
            for (var, slot) in plan.saved[at].iter().zip(&self.saves[cursor.saves..]) {
                frame.set(*var, *slot);
            }
            // A cursor at its last continuation is gone before that runs: a loop round it needs no more memory.
            let (to, last) = match &mut cursor.walk {
                Walk::Column { out, start, next, end } => {
                    next_collected(&mut self.column, (*start, next, *end), 1, |value| {
                        frame.set(*out, value[0]);
                        at + 1
                    })
                }
                Walk::Streams { start, next, end } => {
                    let Step::Streams { targets, .. } = &plan.steps[at].step else {
                        unreachable!("the cursor names its step")
                    };
                    next_collected(&mut self.column, (*start, next, *end), 2, |pair| {
                        let (out, to) = targets[pair[0].bits() as usize];
                        frame.set(out, pair[1]);
                        to
                    })
                }
                Walk::Rows { start, next, end } => {
                    let Step::Gathered { outs, .. } = &plan.steps[at].step else {
                        unreachable!("the cursor names its step")
                    };
                    // A row of no values takes a slot too.
                    next_collected(&mut self.column, (*start, next, *end), outs.len().max(1), |row| {
                        outs.iter().zip(row).for_each(|(out, slot)| frame.set(out.var, *slot));
                        at + 1
                    })
                }
                Walk::Unfold { state } => {
                    let Step::Unfold(unfold) = &plan.steps[at].step else { unreachable!("the cursor names its step") };
                    let more = (unfold.next)(frame, *state);
                    (more.then_some(at + 1), !more)
                }
                Walk::Page { next } => {
                    self.page = *next;
                    (Some(at), true)
                }
                Walk::Fork { next } => {
                    let Step::Fork { branches } = &plan.steps[at].step else {
                        unreachable!("the cursor names its step")
                    };
                    let to = branches.get(*next).copied();
                    *next += 1;
                    (to, *next >= branches.len())
                }
            };
            if last {
                self.saves.truncate(cursor.saves);
                self.stack.pop();
            }
            if to.is_some() {
                return to;
            }
        }
        None
    }
}

/// The next slots of what was collected from `start` up to `end` go to `set`, which says where the run goes on; and
/// whether they were the last.
#[inline]
fn next_collected(
    column: &mut Vec<Slot>,
    (start, next, end): (usize, &mut usize, usize),
    width: usize,
    set: impl FnOnce(&[Slot]) -> usize,
) -> (Option<usize>, bool) {
    column.truncate(end);
    let to = column.get(*next..*next + width).map(set);
    *next += width;
    let last = *next >= end;
    if last {
        column.truncate(start);
    }
    (to, last)
}
