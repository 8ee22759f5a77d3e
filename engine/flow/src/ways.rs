//! Ways that part and meet again: the lowering that `if_else`, `cond`, `match_enum` and `unify` share.
//!
//! Each way ends with a copy of its values into the vars that go on. Vars bound by name on every way go on under their
//! name, copied too where the ways bound different ones.

use crate::block::Block;
use crate::data::Register;
use crate::define::here;
use crate::scope::{Scope, WayEnd};
use crate::step::{Move, Step};
use crate::var::{AnyVar, Vars};
use std::collections::BTreeMap;
use tantu_base::value::Value;

pub(crate) fn ids_of<V: Vars>(vars: V) -> Vec<u32> {
    let mut ids = Vec::new();
    vars.list(&mut |var: AnyVar| ids.push(var.register.var));
    ids
}

/// Several ways whose ends meet, in the making.
#[derive(Debug)]
pub(crate) struct Ways {
    into: Vec<u32>,
    before: Scope,
    ends: Vec<WayEnd>,
    jumps: Vec<usize>,
}

impl Ways {
    /// Ways that part here and hand on values in `into`.
    pub(crate) fn part<T: Vars>(block: &Block, into: T) -> Ways {
        Ways { into: ids_of(into), before: block.scope.clone(), ends: Vec::new(), jumps: Vec::new() }
    }

    /// The block is at the end of a way.
    #[track_caller]
    pub(crate) fn end<T: Vars>(&mut self, block: &mut Block, values: T) {
        if !block.scope.unreachable {
            let from = block.uses(values);
            let moves = from.iter().copied().zip(self.into.iter().copied()).collect();
            let copy = block.copy(moves);
            self.jumps.push(block.add(Step::Jump(0), "jump", vec![], vec![]));
            self.ends.push(WayEnd { scope: block.scope.clone(), copy });
        }
        block.scope = self.before.clone();
    }

    /// All ways have ended; what follows runs after each.
    #[track_caller]
    pub(crate) fn meet(&mut self, block: &mut Block) {
        for jump in self.jumps.drain(..) {
            block.land(jump);
        }
        let ends = std::mem::take(&mut self.ends);
        let Some(first) = ends.first() else {
            block.scope = Scope { unreachable: true, ..self.before.clone() };
            block.scope.visible.extend(&self.into);
            return;
        };
        let mut names = BTreeMap::new();
        for (name, var) in &first.scope.names {
            let vars: Option<Vec<u32>> = ends.iter().map(|end| end.scope.names.get(name).copied()).collect();
            let Some(vars) = vars else { continue };
            let same = vars.iter().all(|other| other == var);
            names.insert(name.clone(), if same { *var } else { block.merge_named(name, &ends, &vars) });
        }
        let met = ends.iter().skip(1).fold(first.scope.clone(), |met, end| met.meet(&end.scope));
        let named = names.values().copied().filter(|var| !met.visible.contains(var)).collect::<Vec<_>>();
        block.scope = Scope { names, ..met };
        block.scope.visible.extend(&self.into);
        block.scope.visible.extend(named);
    }
}

impl Block {
    /// Copies slots as if all at once.
    #[track_caller]
    pub(crate) fn copy(&mut self, mut moves: Vec<Move>) -> usize {
        let mut first = Vec::new();
        for at in 0..moves.len() {
            let from = moves[at].0;
            if moves[..at].iter().any(|(_, to)| *to == from) {
                let spare = self.code.registers.len() as u32;
                let register = self.code.registers[from as usize].renumbered(spare);
                let binding = self.code.bindings[from as usize].clone();
                self.code.registers.push(register);
                self.code.bindings.push(binding);
                first.push((from, spare));
                moves[at].0 = spare;
            }
        }
        first.append(&mut moves);
        let fresh = |at: usize, from: u32| first[..at].iter().all(|(_, to)| *to != from);
        let uses = first.iter().enumerate().filter_map(|(at, (from, _))| fresh(at, *from).then_some(*from)).collect();
        let defs = first.iter().map(|(_, to)| *to).collect();
        self.add(Step::Copy(first), "copy", uses, defs)
    }

    /// The step jumps to here.
    pub(crate) fn land(&mut self, step: usize) {
        let to = self.at();
        self.code.steps[step].step.each_target(&mut |target| *target = to);
    }

    /// A var for a name that the ways bound to different vars.
    #[track_caller]
    fn merge_named(&mut self, name: &str, ends: &[WayEnd], vars: &[u32]) -> u32 {
        let (_, id) = self.bind_register(Register::new::<Value>, name, here());
        self.code.bindings[id as usize].name = Some(name.to_string());
        for (end, var) in ends.iter().zip(vars) {
            let record = &mut self.code.steps[end.copy];
            let Step::Copy(moves) = &mut record.step else { unreachable!("a way ends with a copy") };
            moves.push((*var, id));
            record.uses.push(*var);
            record.defs.push(id);
        }
        id
    }
}
