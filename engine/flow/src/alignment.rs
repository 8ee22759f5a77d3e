//! Is a local access on the task where its key lives? Answered before the topology runs where it can be.
//!
//! Which keys are known to live on the task an event stands on follows from its partitioners and from accesses that were
//! checked before. An access under such a key is right. One under a key that cannot have the hash the event went by is
//! refused. Any other is checked when it runs ([`Guard`]): a wrong one fails the event.

use crate::data::Register;
use crate::define::Place;
use crate::key_partitioner::KeyPartitioner;
use crate::module::PStateDef;
use crate::scope::Binding;
use crate::step::{Step, StepRecord, Target};
use crate::table::{RowsOf, TableDef};
use std::collections::BTreeSet;
use tantu_path::{AggShape, Arg};

/// What an access must check when it runs.
pub(crate) enum Guard {
    None,
    /// That it is on task 0.
    Global,
    /// That these keys live here.
    Keys(Vec<Arg>, KeyPartitioner),
}

/// What is known where an event stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    /// It is task 0.
    Zero,
    /// The var's value hashes to this task.
    Hashed(u32),
    /// The same, because it is the key of a group: what another key may be is not said by that.
    Grouped(u32),
    /// The var's value, as a key of this PState, lives on this task.
    Lives(usize, u32),
}

type Facts = BTreeSet<Fact>;

/// A key that cannot be right: where, and what is wrong.
pub(crate) type Mistake = (Place, String);

pub(crate) struct Alignment<'a> {
    pub(crate) registers: &'a [Register],
    pub(crate) bindings: &'a [Binding],
    pub(crate) tables: &'a [TableDef],
    pub(crate) pstates: &'a [PStateDef],
    /// The source's depot has one partition.
    pub(crate) starts_on_zero: bool,
    /// Nothing is checked.
    pub(crate) unchecked: bool,
}

impl Alignment<'_> {
    /// A guard for each step.
    pub(crate) fn guards(&self, steps: &mut [StepRecord]) -> (Vec<Guard>, Vec<Mistake>) {
        let mut before: Vec<Option<Facts>> = vec![None; steps.len() + 1];
        before[0] = Some(if self.starts_on_zero { Facts::from([Fact::Zero]) } else { Facts::new() });
        let mut changed = true;
        while changed {
            changed = false;
            for at in 0..steps.len() {
                let Some(facts) = before[at].clone() else { continue };
                let after = self.after(&steps[at], facts);
                let mut reach = |to: usize| {
                    let met = before[to].as_ref().map_or_else(|| after.clone(), |known| known & &after);
                    if before[to].as_ref() != Some(&met) {
                        before[to] = Some(met);
                        changed = true;
                    }
                };
                if steps[at].step.falls_through() {
                    reach(at + 1);
                }
                steps[at].step.each_target(&mut |to| reach(*to));
            }
        }
        let mut mistakes = Vec::new();
        let guards = steps.iter().zip(&before).map(|(record, facts)| {
            let facts = facts.as_ref()?;
            self.mistake(record, facts).into_iter().for_each(|what| mistakes.push((record.place, what)));
            Some(self.guard(record, facts))
        });
        let guards = guards.map(|guard| guard.unwrap_or(Guard::None)).collect();
        (guards, mistakes)
    }

    fn after(&self, record: &StepRecord, mut facts: Facts) -> Facts {
        if let Step::Copy(moves) = &record.step {
            for (from, to) in moves {
                forget(&mut facts, *to);
                let copied = facts.iter().filter_map(|fact| match fact {
                    Fact::Hashed(var) if var == from => Some(Fact::Hashed(*to)),
                    Fact::Grouped(var) if var == from => Some(Fact::Grouped(*to)),
                    Fact::Lives(pstate, var) if var == from => Some(Fact::Lives(*pstate, *to)),
                    _ => None,
                });
                let copied: Vec<_> = copied.collect();
                facts.extend(copied);
            }
            return facts;
        }
        if let Some((pstate, keys)) = access(&record.step)
            && let Some(def) = self.checked(pstate)
        {
            facts.extend(keys.iter().filter_map(|key| self.fact(pstate, def, key)));
            if def.global {
                facts.insert(Fact::Zero);
            }
        }
        if let Step::Hop { target, one_partition, .. } = &record.step {
            return hopped(target, *one_partition);
        }
        // Its keys are the rows'.
        if let Step::Combine { target, .. } = &record.step {
            return hopped(target, false);
        }
        // The stages of a batch block begin on other tasks.
        if let Step::Enter { .. } = &record.step {
            return Facts::new();
        }
        record.defs.iter().for_each(|var| forget(&mut facts, *var));
        if let Step::Gathered { of: RowsOf::Fold(table), outs } = &record.step {
            facts.extend(self.grouped(*table, outs));
        }
        facts
    }

    /// What the groups of a table are on the task of: a group of one key is where the key's hash leads, as events are that go by it.
    fn grouped(&self, table: usize, outs: &[Register]) -> Option<Fact> {
        let TableDef::Fold(def) = self.tables.get(table)? else { return None };
        let is_by_one = def.is_grouped && def.keys.len() == 1;
        outs.first().filter(|_| is_by_one).map(|key| Fact::Grouped(key.var))
    }

    /// The PState, if accesses to it are checked.
    fn checked(&self, pstate: usize) -> Option<&PStateDef> {
        self.pstates.get(pstate).filter(|def| !self.unchecked && !def.unchecked)
    }

    fn fact(&self, pstate: usize, def: &PStateDef, key: &Arg) -> Option<Fact> {
        let Arg::Slot(var) = key else { return None };
        Some(if def.key_partitioner.route.is_some() { Fact::Lives(pstate, *var) } else { Fact::Hashed(*var) })
    }

    fn guard(&self, record: &StepRecord, facts: &Facts) -> Guard {
        let Some((pstate, keys)) = access(&record.step) else { return Guard::None };
        let Some(def) = self.checked(pstate) else { return Guard::None };
        if def.global {
            return if facts.contains(&Fact::Zero) { Guard::None } else { Guard::Global };
        }
        let unknown = |key: &&Arg| match self.fact(pstate, def, key) {
            Some(Fact::Hashed(var)) => !facts.contains(&Fact::Hashed(var)) && !facts.contains(&Fact::Grouped(var)),
            fact => fact.is_none_or(|fact| !facts.contains(&fact)),
        };
        let keys: Vec<Arg> = keys.into_iter().filter(unknown).cloned().collect();
        if keys.is_empty() { Guard::None } else { Guard::Keys(keys, def.key_partitioner.clone()) }
    }

    /// A key of a type that has no hash in common with what the event went by.
    fn mistake(&self, record: &StepRecord, facts: &Facts) -> Option<String> {
        let (pstate, keys) = access(&record.step)?;
        self.checked(pstate).filter(|def| !def.global && def.key_partitioner.route.is_none())?;
        keys.iter().find_map(|key| {
            let Arg::Slot(key) = key else { return None };
            if facts.contains(&Fact::Hashed(*key)) {
                return None;
            }
            let kind = kind(self.registers[*key as usize].type_name())?;
            let went_by = facts.iter().find_map(|fact| match fact {
                Fact::Hashed(var) if self.kind_of(*var).is_some_and(|other| other != kind) => Some(*var),
                _ => None,
            })?;
            Some(format!(
                "`{}`: the key {} cannot live on this task, where the event went by the hash of {}; \
                 put `hash_partition` by the key before it",
                record.label,
                self.show(*key),
                self.show(went_by),
            ))
        })
    }

    fn kind_of(&self, var: u32) -> Option<&'static str> {
        kind(self.registers[var as usize].type_name())
    }

    fn show(&self, var: u32) -> String {
        let Binding { place, label, name } = &self.bindings[var as usize];
        let what = name.as_ref().map_or_else(|| format!("from `{label}`"), |name| format!("`{name}`"));
        format!("{what} (line {}, {})", place.line(), self.registers[var as usize].type_name())
    }
}

/// Types with the same kind may have equal keys.
fn kind(type_name: &str) -> Option<&'static str> {
    match type_name {
        "i64" | "u64" | "i32" | "u32" => Some("integer"),
        "str" => Some("text"),
        "[u8]" => Some("bytes"),
        "f64" => Some("float"),
        "bool" => Some("bool"),
        _ => None,
    }
}

fn forget(facts: &mut Facts, var: u32) {
    facts.retain(|fact| !matches!(fact, Fact::Hashed(of) | Fact::Grouped(of) | Fact::Lives(_, of) if *of == var));
}

fn hopped(target: &Target, one_partition: bool) -> Facts {
    let mut facts = Facts::new();
    match target {
        Target::Hash(register) if !one_partition => {
            facts.insert(Fact::Hashed(register.var));
        }
        Target::Key { key: Arg::Slot(var), by, pstate } => {
            facts.insert(if by.route.is_some() { Fact::Lives(*pstate, *var) } else { Fact::Hashed(*var) });
        }
        Target::Global => {
            facts.insert(Fact::Zero);
        }
        _ => {}
    }
    if one_partition {
        facts.insert(Fact::Zero);
    }
    facts
}

/// The PState that a step accesses and the top-level keys it goes to.
fn access(step: &Step) -> Option<(usize, Vec<&Arg>)> {
    match step {
        Step::Select { pstate, path, .. } | Step::Pages { pstate, path, .. } | Step::Transform { pstate, path } => {
            Some((*pstate, path.leading_key().into_iter().collect()))
        }
        Step::Aggregate { pstate, shape: AggShape::Map(arms) } => {
            Some((*pstate, arms.iter().map(|(key, _)| key).collect()))
        }
        Step::Aggregate { pstate, .. } | Step::Clear { pstate } => Some((*pstate, Vec::new())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::define;
    use crate::depot::random;
    use crate::module::{Module, Setup, Topologies};
    use tantu_path::{Map, agg};

    struct Grouped;

    impl Module for Grouped {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let words = setup.declare_depot::<String>("*words", random());
            let mut topology = topologies.microbatch("by_word");
            let held = topology.pstate::<Map<String, i64>>("$$by_word");
            topology.source(&words, |m, batch| {
                m.batch_block(|b| {
                    let word = b.explode_microbatch(batch);
                    let (word, count) = b.group_by(word, |g| g.agg::<i64>(agg::count()));
                    b.compound_agg(held, agg::key(word, agg::sum(count)));
                });
            });
            let mut topology = topologies.microbatch("by_count");
            let held = topology.pstate::<Map<i64, i64>>("$$by_count");
            topology.source(&words, |m, batch| {
                m.batch_block(|b| {
                    let word = b.explode_microbatch(batch);
                    let (_, count) = b.group_by(word, |g| g.agg::<i64>(agg::count()));
                    b.compound_agg(held, agg::key(count, agg::count()));
                });
            });
            let mut topology = topologies.microbatch("by_two");
            let held = topology.pstate::<Map<String, i64>>("$$by_two");
            topology.source(&words, |m, batch| {
                m.batch_block(|b| {
                    let word = b.explode_microbatch(batch);
                    let size = b.each(word, |word| word.len() as i64);
                    let ((word, _), count) = b.group_by((word, size), |g| g.agg::<i64>(agg::count()));
                    b.compound_agg(held, agg::key(word, agg::sum(count)));
                });
            });
        }
    }

    #[test]
    fn the_one_key_of_a_group_lives_where_the_group_is_and_nothing_else_of_it_is_believed() {
        let module = define::<Grouped>().expect("it is right");
        let is_checked = module.microbatches.iter().map(|topology| {
            let steps = topology.plan.steps.iter().zip(&topology.plan.guards);
            let mut writes = steps.filter(|(record, _)| matches!(record.step, Step::Aggregate { .. }));
            writes.next().map(|(_, guard)| !matches!(guard, Guard::None))
        });
        assert_eq!(is_checked.collect::<Vec<_>>(), [Some(false), Some(true), Some(true)]);
    }
}
