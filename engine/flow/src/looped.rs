//! Loops with vars: each round starts with [`Block::continue_loop`], results leave with [`Block::emit_loop`].
//!
//! Rounds without a partitioner between them are one event. The body may hop: the rest of it, and the rounds after, go
//! on where it went.
//!
//! ```
//! use tantu_flow::{TestBlock, Var};
//!
//! let countdown = TestBlock::new(|b, from: Var<i64>| {
//!     b.looped(from, |b, rounds, n| {
//!         let more = b.each(n, |n| n > 0);
//!         b.if_true(more, |b| {
//!             b.emit_loop(rounds, n);
//!             let less = b.each(n, |n| n - 1);
//!             b.continue_loop(rounds, less);
//!         });
//!     })
//! });
//! let mut seen = Vec::new();
//! countdown.run(&3i64, |n| seen.push(n)).unwrap();
//! assert_eq!(seen, [3, 2, 1]);
//! ```

use crate::block::Block;
use crate::scope::{LoopRecord, Scope};
use crate::step::Step;
use crate::var::Vars;
use crate::ways::ids_of;

/// A loop, seen from its body.
#[derive(Clone, Copy, Debug)]
pub struct Loop<V, O> {
    id: u32,
    source: u32,
    vars: V,
    outs: O,
}

impl Block {
    /// Runs the body with the loop's vars. A round that does not continue the loop is the last; each emit runs the code
    /// after the loop, before the body goes on.
    #[track_caller]
    pub fn looped<V: Vars, O: Vars>(&mut self, init: V, body: impl FnOnce(&mut Block, Loop<V, O>, V)) -> O {
        let from = self.uses(init);
        let (vars, outs) = (self.bind_all::<V>("loop var"), self.bind_all::<O>("looped"));
        let moves = from.into_iter().zip(ids_of(vars)).collect();
        self.reached("looped");
        self.copy(moves);
        let head = self.at();
        let id = head as u32;
        let before = self.scope.clone();
        self.loops.insert(id, LoopRecord { head, exits: Vec::new(), after: None });
        self.scope.loops.insert(id);
        body(self, Loop { id, source: self.source, vars, outs }, vars);
        self.add(Step::End, "end", Vec::new(), Vec::new());
        let LoopRecord { exits, after, .. } = self.loops.remove(&id).expect("invariant: added above");
        for exit in exits {
            self.land(exit);
        }
        self.scope = match after {
            Some(after) => {
                let mut after = before.meet(&after);
                after.visible.extend(ids_of(outs));
                after
            }
            None => Scope { unreachable: true, ..before },
        };
        outs
    }

    /// [`Block::looped`] for loops that hand out no values.
    #[track_caller]
    pub fn repeat<V: Vars>(&mut self, init: V, body: impl FnOnce(&mut Block, Loop<V, ()>, V)) {
        self.looped(init, body);
    }

    #[track_caller]
    fn in_loop<V, O>(&self, of: &Loop<V, O>) -> bool {
        let inside = of.source == self.source && self.scope.loops.contains(&of.id) && self.loops.contains_key(&of.id);
        if !inside {
            self.mistake("the loop is continued or left outside its body".to_string());
        }
        inside
    }

    /// The next round, with these values. No code follows on this way.
    #[track_caller]
    pub fn continue_loop<V: Vars, O: Vars>(&mut self, of: Loop<V, O>, next: V) {
        let from = self.uses(next);
        if !self.in_loop(&of) {
            return;
        }
        let head = self.loops[&of.id].head;
        let moves: Vec<_> = from.into_iter().zip(ids_of(of.vars)).filter(|(from, to)| from != to).collect();
        if !moves.is_empty() {
            self.copy(moves);
        }
        self.push(Step::Again { head, live: Vec::new() }, "continue_loop", Vec::new(), Vec::new());
        self.scope.unreachable = true;
    }

    /// Runs the code after the loop with these values; then the body goes on.
    #[track_caller]
    pub fn emit_loop<V: Vars, O: Vars>(&mut self, of: Loop<V, O>, values: O) {
        let from = self.uses(values);
        if !self.in_loop(&of) {
            return;
        }
        let fork = self.push(Step::Fork { branches: vec![0] }, "emit_loop", Vec::new(), Vec::new());
        let moves: Vec<_> = from.into_iter().zip(ids_of(of.outs)).collect();
        let inside = self.scope.clone();
        if !moves.is_empty() {
            self.copy(moves);
        }
        let exit = self.add(Step::Jump(0), "leave", Vec::new(), Vec::new());
        if let Some(record) = self.loops.get_mut(&of.id) {
            record.exits.push(exit);
            record.after = Some(match record.after.take() {
                Some(after) => after.meet(&inside),
                None => inside,
            });
        }
        self.land(fork);
    }
}
