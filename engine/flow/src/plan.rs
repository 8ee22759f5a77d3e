//! A topology, lowered: steps in order, and at every point where an event may start, which vars are alive.
//!
//! Exactly the vars that some later step of the event or of its continuations reads travel across a partitioner.

use crate::alignment::{Alignment, Guard, Mistake};
use crate::data::Register;
use crate::entry::Entry;
use crate::invoke::{FIRST_TEMPORARY, Temporary};
use crate::live::{Liveness, prune_forks};
use crate::micro::{MicrobatchOptions, PAGE_COUNT_MAX};
use crate::module::PStateDef;
use crate::scope::Recorded;
use crate::squeeze::squeeze;
use crate::stage::{BlockDef, Stage};
use crate::step::{Step, StepRecord, Target};
use crate::table::{JoinDef, RowsOf, TableDef};
use std::fmt;
use tantu_base::id::ObjectId;
use tantu_base::value::partition_hash;
use tantu_path::Schema;

/// Where in a plan an event starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u32);

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
    /// Those of temporary state.
    temporaries: Vec<Schema>,
    pub(crate) batches: Batches,
    pub(crate) frame_size: usize,
    /// Most records that an explode of a microbatch reads at once.
    pub(crate) fetch_max: usize,
    fingerprint: u64,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({}, {} steps)", self.name, self.steps.len())
    }
}

/// The batch blocks of a plan.
#[derive(Default)]
pub(crate) struct Batches {
    tables: Vec<TableDef>,
    joins: Vec<JoinDef>,
    stages: Vec<Stage>,
    blocks: Vec<BlockDef>,
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

    /// The topology's name.
    pub fn topology(&self) -> &str {
        &self.name
    }

    /// The name of a PState by its place in the module; none if it is temporary state.
    pub fn pstate_name(&self, object: ObjectId) -> Option<&str> {
        self.schemas.get(object.index()).map(|(name, _)| &**name)
    }

    /// Whether the step before this one is a function of the user.
    pub(crate) fn calls_before(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| matches!(self.steps[before].step, Step::Call(_)))
    }

    /// Its tables, to be changed before it is used.
    pub(crate) fn tables_mut(&mut self) -> &mut [TableDef] {
        &mut self.batches.tables
    }

    /// The schema of a PState, or of temporary state.
    #[inline]
    pub(crate) fn schema(&self, pstate: usize) -> &Schema {
        match self.schemas.get(pstate) {
            Some((_, schema)) => schema,
            None => &self.temporaries[pstate - FIRST_TEMPORARY],
        }
    }

    /// Whether a PState of this number, in a [`crate::Host`]'s calls, is temporary state.
    pub fn is_temporary(object: ObjectId) -> bool {
        object.0 as usize >= FIRST_TEMPORARY
    }

    /// Whether its events start what goes on without them: calls of queries, selects that are read in pages.
    pub fn starts_others(&self) -> bool {
        self.steps.iter().any(|record| matches!(record.step, Step::Invoke { .. } | Step::Pages { .. }))
    }

    /// Whether its code uses temporary state.
    pub fn has_temporary(&self) -> bool {
        !self.temporaries.is_empty()
    }

    pub(crate) fn with_temporaries(mut self, all: &[Temporary]) -> Plan {
        let used = self.steps.iter().any(|record| match record.step {
            Step::Select { pstate, .. }
            | Step::Transform { pstate, .. }
            | Step::Clear { pstate }
            | Step::Aggregate { pstate, .. } => pstate >= FIRST_TEMPORARY,
            _ => false,
        });
        if used {
            self.temporaries = all.iter().map(|temporary| temporary.schema.clone()).collect();
        }
        self
    }

    /// Those of the options that it goes by.
    pub(crate) fn with_limits(mut self, options: &MicrobatchOptions) -> Plan {
        for table in &mut self.batches.tables {
            if let TableDef::Fold(def) = table {
                def.combiner_limit = options.combiner_limit;
            }
        }
        if let Some(fetch_max) = options.fetch_max {
            self.fetch_max = usize::try_from(fetch_max).unwrap_or(usize::MAX);
        }
        self
    }

    /// Where rows of its batch blocks wait for the next stage.
    pub fn tables(&self) -> &[TableDef] {
        &self.batches.tables
    }

    /// The joins of its batch blocks.
    pub fn joins(&self) -> &[JoinDef] {
        &self.batches.joins
    }

    /// The stages of its batch blocks.
    pub fn stages(&self) -> &[Stage] {
        &self.batches.stages
    }

    /// Its batch blocks.
    pub fn blocks(&self) -> &[BlockDef] {
        &self.batches.blocks
    }

    /// What a step does, in the author's words: the topology, the op, the file and the line.
    pub fn step_text(&self, step: usize) -> String {
        match self.steps.get(step) {
            Some(StepRecord { label, place, .. }) => {
                format!("{}: `{label}`, {}:{}", self.name, place.file(), place.line())
            }
            None => self.name.clone(),
        }
    }

    /// Whether a step writes a PState.
    pub fn writes_at(&self, step: usize) -> bool {
        let of = |record: &StepRecord| {
            matches!(record.step, Step::Transform { .. } | Step::Clear { .. } | Step::Aggregate { .. })
        };
        self.steps.get(step).is_some_and(of)
    }

    /// The plan in words.
    pub fn describe(&self) -> PlanInfo {
        let step = |record: &StepRecord| StepInfo {
            label: record.label.clone(),
            file: record.place.file(),
            line: record.place.line(),
        };
        let hop = |record: &StepRecord| {
            let live = &self.entries[record.step.position()? as usize].live;
            let live = live.iter().map(|register| (register.var, register.type_name())).collect();
            Some(HopInfo { label: record.label.clone(), live })
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
    batches: Batches,
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
            batches: Batches::default(),
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
        let Recorded { mut steps, registers, bindings, mut tables, joins, .. } = recorded;
        prune_forks(&mut steps);
        squeeze(&mut steps);
        let liveness = Liveness::of(&mut steps);
        let Surroundings { pstates, starts_on_zero, unchecked } = around;
        let (mut guards, mistakes) = {
            let (registers, bindings) = (&registers[..], &bindings[..]);
            let alignment = Alignment { registers, bindings, tables: &tables, pstates, starts_on_zero, unchecked };
            alignment.guards(&mut steps)
        };
        self.guards.append(&mut guards);
        self.saved.extend(steps.iter().enumerate().map(|(at, step)| liveness.saved(at, step)));
        let base = self.steps.len();
        let source = self.registers.len();
        let start = self.entries.len() as u32;
        let first_block = self.batches.blocks.len();
        let first = (self.batches.tables.len(), self.batches.joins.len());
        self.entries.push(Entry::new(base, begin, source));
        for (at, record) in steps.iter_mut().enumerate() {
            if let Some(position) = record.step.position_mut() {
                *position = self.entries.len() as u32;
                let mut live = liveness.alive[at + 1].clone();
                // What a job answers comes last.
                record.defs.iter().for_each(|out| {
                    live.remove(out);
                });
                let live = live.iter().chain(&record.defs).map(|var| registers[*var as usize]).collect();
                self.entries.push(Entry::new(base + at + 1, live, source));
            }
            if let Step::Again { head, live } = &mut record.step {
                *live = liveness.alive[*head].iter().map(|var| registers[*var as usize]).collect();
            }
            if let Step::Combine { table, position, .. } = &record.step
                && let TableDef::Fold(def) = &mut tables[*table]
            {
                def.goes_on = Some(Position(*position));
            }
            put_behind(&mut record.step, base, first);
            if let Step::Enter { .. } = &record.step {
                let live = liveness.alive[at].iter().map(|var| registers[*var as usize]).collect();
                self.add_block(&mut record.step, live, source);
            }
        }
        // Nothing goes on behind a block at whose end the code ends.
        for block in &mut self.batches.blocks[first_block..] {
            let ends = |at: &Position| matches!(steps[self.entries[at.0 as usize].step - base].step, Step::End);
            block.after = block.after.filter(|at| !ends(at));
        }
        for entry in &mut self.entries[start as usize..] {
            entry.shorten(&steps, base, &liveness.alive);
        }
        self.steps.append(&mut steps);
        self.batches.tables.extend(tables);
        self.batches.joins.extend(joins.into_iter().map(|join| JoinDef {
            left: join.left + first.0,
            right: join.right + first.0,
            ..join
        }));
        self.registers.push(registers);
        self.names.push(bindings.into_iter().map(|binding| binding.name).collect());
        (Position(start), mistakes)
    }

    /// The stages of a block that is entered with these vars, and where the code behind it starts.
    fn add_block(&mut self, enter: &mut Step, live: Vec<Register>, source: usize) {
        let Step::Enter { block, stages, after, position } = enter else { unreachable!("the step enters a block") };
        let mut place = |step: usize| {
            self.entries.push(Entry::new(step, live.clone(), source));
            Position(self.entries.len() as u32 - 1)
        };
        let from = self.batches.stages.len();
        self.batches.stages.extend(stages.iter().map(|(to, on)| Stage { at: place(*to), on: *on }));
        let after = place(*after);
        *position = after.0;
        *block = self.batches.blocks.len();
        self.batches.blocks.push(BlockDef { stages: from..self.batches.stages.len(), after: Some(after) });
    }

    /// The first stage of its only block.
    pub(crate) fn first_stage(&self) -> Option<Position> {
        self.batches.stages.first().map(|stage| stage.at)
    }

    pub(crate) fn build(self, module: &str, schemas: Vec<(String, Schema)>) -> Plan {
        let Self { name, steps, saved, guards, entries, registers, names, batches } = self;
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
            temporaries: Vec::new(),
            batches,
            frame_size,
            fetch_max: PAGE_COUNT_MAX,
            fingerprint: 0,
        };
        plan.fingerprint = fingerprint(&plan);
        plan
    }
}

/// Makes a step that names others of its source by their places, or tables and joins, name them behind what the plan has already.
fn put_behind(step: &mut Step, base: usize, (tables, joins): (usize, usize)) {
    match step {
        Step::Fold { table, .. }
        | Step::Combine { table, .. }
        | Step::Row { table, .. }
        | Step::Gathered { of: RowsOf::Fold(table) | RowsOf::Table(table), .. } => *table += tables,
        Step::Gathered { of: RowsOf::Join(join), .. } => *join += joins,
        step => step.each_target(&mut |to| *to += base),
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
    for stage in plan.stages() {
        text.push_str(&format!("\n{stage:?}"));
    }
    for (name, schema) in &plan.schemas {
        text.push_str(&format!("\n{name} {schema}"));
    }
    partition_hash(text.as_bytes())
}
