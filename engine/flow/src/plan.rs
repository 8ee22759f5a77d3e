//! A topology, lowered: steps in order, and at every point where an event may start, which vars are alive.
//!
//! Exactly the vars that some later step of the event or of its continuations reads travel across a partitioner.

use crate::alignment::{Alignment, Guard, Mistake};
use crate::data::Register;
use crate::fold::FoldDef;
use crate::live::{Liveness, prune_forks};
use crate::module::PStateDef;
use crate::scope::Recorded;
use crate::squeeze::squeeze;
use crate::step::{Step, StepRecord, Target};
use std::fmt;
use tantu_base::value::partition_hash;
use tantu_path::Schema;

/// Where in a plan an event starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u32);

pub(crate) struct Entry {
    pub(crate) step: usize,
    pub(crate) live: Vec<Register>,
    /// The registers of the source the step belongs to.
    pub(crate) source: usize,
}

/// What the events of a topology do.
pub struct Plan {
    pub(crate) name: String,
    /// The module's name.
    pub(crate) module: String,
    pub(crate) steps: Vec<StepRecord>,
    /// By step: the vars whose slots its cursor saves.
    pub(crate) saved: Vec<Box<[u32]>>,
    /// By step: what it checks of where it is.
    pub(crate) guards: Vec<Guard>,
    pub(crate) entries: Vec<Entry>,
    /// By source, by var.
    pub(crate) registers: Vec<Vec<Register>>,
    /// By source, by var, what its author calls it; for people.
    pub(crate) names: Vec<Vec<Option<String>>>,
    pub(crate) schemas: Vec<(String, Schema)>,
    /// The aggregations of a batch block, in the order of its phases.
    pub(crate) folds: Vec<FoldDef>,
    pub(crate) frame_size: usize,
    fingerprint: u64,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({}, {} steps)", self.name, self.steps.len())
    }
}

/// A plan in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanInfo {
    /// The topology.
    pub name: String,
    /// Its fingerprint: equal for equal declarations.
    pub fingerprint: u64,
    /// Its steps, in order.
    pub steps: Vec<StepInfo>,
    /// Its partitioners, in order.
    pub hops: Vec<HopInfo>,
}

/// A step in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepInfo {
    /// What it does.
    pub label: String,
    /// The author's file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// What travels across a partitioner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HopInfo {
    /// Which partitioner.
    pub label: String,
    /// The vars that are alive after it, with their types.
    pub live: Vec<(u32, &'static str)>,
}

impl Plan {
    /// Equal for equal declarations, in any process; different declarations never run each other's events.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The aggregations of a batch block, in the order of its phases.
    pub fn folds(&self) -> &[FoldDef] {
        &self.folds
    }

    /// The plan in words.
    pub fn describe(&self) -> PlanInfo {
        let step = |record: &StepRecord| StepInfo {
            label: record.label.clone(),
            file: record.place.file(),
            line: record.place.line(),
        };
        let hop = |record: &StepRecord| match record.step {
            Step::Hop { position, .. } | Step::Overtime { position } | Step::Await { position, .. } => {
                let live = &self.entries[position as usize].live;
                let live = live.iter().map(|register| (register.var, register.type_name())).collect();
                Some(HopInfo { label: record.label.clone(), live })
            }
            _ => None,
        };
        PlanInfo {
            name: self.name.clone(),
            fingerprint: self.fingerprint,
            steps: self.steps.iter().map(step).collect(),
            hops: self.steps.iter().filter_map(hop).collect(),
        }
    }
}

pub(crate) struct PlanBuilder {
    name: String,
    steps: Vec<StepRecord>,
    saved: Vec<Box<[u32]>>,
    guards: Vec<Guard>,
    entries: Vec<Entry>,
    registers: Vec<Vec<Register>>,
    names: Vec<Vec<Option<String>>>,
    folds: Vec<FoldDef>,
}

/// What the check of local accesses needs to know of the module.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) pstates: &'a [PStateDef],
    /// The source's depot has one partition.
    pub(crate) starts_on_zero: bool,
    /// Accesses are not checked.
    pub(crate) unchecked: bool,
}

impl PlanBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            steps: Vec::new(),
            saved: Vec::new(),
            guards: Vec::new(),
            entries: Vec::new(),
            registers: Vec::new(),
            names: Vec::new(),
            folds: Vec::new(),
        }
    }

    /// Appends the code of a source; returns where its records start, and what is wrong with it.
    pub(crate) fn add_source(&mut self, recorded: Recorded, around: Surroundings<'_>) -> (Position, Vec<Mistake>) {
        let live = vec![recorded.registers[recorded.record as usize]];
        self.add(recorded, live, around)
    }

    /// Appends code that starts with these vars; returns where it starts, and what is wrong with it.
    pub(crate) fn add(
        &mut self,
        recorded: Recorded,
        begin: Vec<Register>,
        around: Surroundings<'_>,
    ) -> (Position, Vec<Mistake>) {
        let Recorded { mut steps, registers, bindings, mut folds, .. } = recorded;
        prune_forks(&mut steps);
        squeeze(&mut steps);
        let liveness = Liveness::of(&mut steps);
        let Surroundings { pstates, starts_on_zero, unchecked } = around;
        let alignment = Alignment { registers: &registers, bindings: &bindings, pstates, starts_on_zero, unchecked };
        let (mut guards, mistakes) = alignment.guards(&mut steps);
        self.guards.append(&mut guards);
        self.saved.extend(steps.iter().enumerate().map(|(at, step)| liveness.saved(at, step)));
        let base = self.steps.len();
        let source = self.registers.len();
        let start = self.entries.len() as u32;
        let first_fold = self.folds.len();
        self.entries.push(Entry { step: base, live: begin.clone(), source });
        for (at, record) in steps.iter_mut().enumerate() {
            if let Some(position) = record.step.position_mut() {
                *position = self.entries.len() as u32;
                let mut live = liveness.alive[at + 1].clone();
                // What a job answers comes last.
                record.defs.iter().for_each(|out| {
                    live.remove(out);
                });
                let live = live.iter().chain(&record.defs).map(|var| registers[*var as usize]).collect();
                self.entries.push(Entry { step: base + at + 1, live, source });
            }
            if let Step::Again { head, live } = &mut record.step {
                *live = liveness.alive[*head].iter().map(|var| registers[*var as usize]).collect();
            }
            match &mut record.step {
                Step::Fold { fold, .. } => *fold += first_fold,
                Step::Drain { fold } => {
                    folds[*fold].at = Position(self.entries.len() as u32);
                    *fold += first_fold;
                    self.entries.push(Entry { step: base + at, live: begin.clone(), source });
                }
                step => step.each_target(&mut |to| *to += base),
            }
        }
        self.steps.append(&mut steps);
        self.folds.append(&mut folds);
        self.registers.push(registers);
        self.names.push(bindings.into_iter().map(|binding| binding.name).collect());
        (Position(start), mistakes)
    }

    pub(crate) fn build(self, module: &str, schemas: Vec<(String, Schema)>) -> Plan {
        let Self { name, steps, saved, guards, entries, registers, names, folds } = self;
        let frame_size = registers.iter().map(Vec::len).max().unwrap_or(0);
        let module = module.to_string();
        let mut plan = Plan {
            name,
            module,
            steps,
            saved,
            guards,
            entries,
            registers,
            names,
            schemas,
            folds,
            frame_size,
            fingerprint: 0,
        };
        plan.fingerprint = fingerprint(&plan);
        plan
    }
}

fn fingerprint(plan: &Plan) -> u64 {
    let mut text = plan.name.clone();
    for record in &plan.steps {
        text.push_str(&format!("\n{} {:?} {:?}", record.label, record.uses, record.defs));
        if let Step::Hop { target: Target::Hash(register), .. } = &record.step {
            text.push_str(register.type_name());
        }
    }
    for entry in &plan.entries {
        text.push_str(&format!("\n@{}", entry.step));
        entry.live.iter().for_each(|register| text.push_str(&format!(" {}:{}", register.var, register.type_name())));
    }
    for (name, schema) in &plan.schemas {
        text.push_str(&format!("\n{name} {schema}"));
    }
    partition_hash(text.as_bytes())
}
