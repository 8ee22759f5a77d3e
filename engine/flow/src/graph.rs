//! A plan as a graph for people: what it does, in the order it was written, and what follows what.
//!
//! Jumps are edges here, and copies that only hand values on are assignments. Vars go by the names their author gave
//! them; the others are v1, v2 … in the order in which they are met.

use crate::data::Register;
use crate::fold::FoldDef;
use crate::plan::{Plan, Position};
use crate::step::{Step, StepRecord, Target};
use crate::table::{JoinDef, RowsOf, TableDef};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A plan as nodes and edges. Edges lead to later nodes, but for those that go back to a loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graph {
    /// In the order of the code.
    pub nodes: Vec<GraphNode>,
    /// In the order of the nodes they leave.
    pub edges: Vec<GraphEdge>,
    /// For each position asked for: where it starts, and with which vars.
    pub starts: Vec<GraphStart>,
}

/// Where events come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphStart {
    /// Place of the first node; none if nothing happens.
    pub node: Option<usize>,
    /// What they come with.
    pub vars: Vec<GraphVar>,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphNode {
    /// What kind of thing.
    pub kind: NodeKind,
    /// What it does, with what.
    pub label: String,
    /// The vars it binds.
    pub binds: Vec<GraphVar>,
    /// The vars that travel, where the work goes on elsewhere or later.
    pub carries: Option<Vec<GraphVar>>,
    /// The PState it touches, by its place in the module.
    pub pstate: Option<(usize, Access)>,
    /// The depot it appends to, by its place in the module.
    pub depot: Option<usize>,
    /// The author's file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// Kinds of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Computes.
    Operation,
    /// Ends the way of what does not pass.
    Filter,
    /// One of two ways.
    Choice,
    /// Hands values on under other names.
    Assign,
    /// The start of each round of a loop.
    Loop,
    /// One event, several ways.
    Fork,
    /// Goes on any number of times.
    Emit,
    /// Reads or writes a PState.
    Access,
    /// Takes rows in.
    Aggregate,
    /// Goes on on another task.
    Partitioner,
    /// Goes on on the same task, later.
    Later,
    /// May fail the event.
    Check,
    /// The answer of a query.
    Result,
}

/// What is done to a PState.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
}

/// What follows what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphEdge {
    /// Place of the node it leaves.
    pub from: usize,
    /// Place of the node it leads to.
    pub to: usize,
    /// When this way is taken; empty if always.
    pub label: String,
    /// It leads back to a loop.
    pub is_back: bool,
}

/// A var as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphVar {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
}

impl std::fmt::Display for GraphVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.type_name)
    }
}

impl Plan {
    /// The plan as a graph, with what each of these positions starts.
    pub fn graph(&self, starts: &[Position]) -> Graph {
        let mut drawing = Drawing::of(self);
        let starts: Vec<_> = starts
            .iter()
            .map(|position| {
                let entry = &self.entries[position.0 as usize];
                let vars = entry.live.iter().map(|register| drawing.var(entry.source, register.var)).collect();
                (entry.step, vars)
            })
            .collect();
        drawing.place();
        drawing.connect();
        let starts =
            starts.into_iter().map(|(step, vars)| GraphStart { node: drawing.resolve(drawing.entered_by(step)), vars });
        Graph { starts: starts.collect(), nodes: drawing.nodes, edges: drawing.edges }
    }
}

/// A path of modules before a name is left out, also inside `Vec<…>`; a closure is called so.
pub fn short_type(text: &str) -> String {
    let mut short = String::new();
    let (mut word, mut quoted) = (String::new(), false);
    for letter in text.chars().chain(['\n']) {
        let is_part = letter.is_alphanumeric() || matches!(letter, '_' | ':' | '{' | '}');
        if is_part && !quoted {
            word.push(letter);
            continue;
        }
        quoted ^= letter == '"';
        if word.starts_with("::") && short.ends_with('>') {
            drop_qualified(&mut short);
        }
        let last = word.rsplit("::").next().unwrap_or_default();
        short.push_str(if last == "{{closure}}" { "closure" } else { last });
        word.clear();
        short.push(letter);
    }
    short.pop();
    short
}

/// Takes a `<Type as Trait>` off the end.
fn drop_qualified(text: &mut String) {
    let mut depth = 0;
    for (at, letter) in text.char_indices().rev() {
        match letter {
            '>' => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            text.truncate(at);
            return;
        }
    }
}

/// A graph in the making.
struct Drawing<'p> {
    plan: &'p Plan,
    /// The first step of each source.
    firsts: Vec<usize>,
    heads: BTreeSet<usize>,
    /// The names of vars without one, by source and var.
    numbers: RefCell<BTreeMap<(usize, u32), u32>>,
    /// The node of a step: where it is entered, and what it is left by.
    of_step: BTreeMap<usize, Placed>,
    nodes: Vec<GraphNode>,
    edges: Vec<GraphEdge>,
}

#[derive(Clone, Copy)]
struct Placed {
    enter: usize,
    leave: usize,
}

impl<'p> Drawing<'p> {
    fn of(plan: &'p Plan) -> Drawing<'p> {
        let mut firsts = vec![usize::MAX; plan.registers.len()];
        for entry in &plan.entries {
            firsts[entry.source] = firsts[entry.source].min(entry.step);
        }
        let head = |record: &StepRecord| match &record.step {
            Step::Again { head, .. } => Some(*head),
            _ => None,
        };
        let heads = plan.steps.iter().filter_map(head).collect();
        let numbers = RefCell::default();
        Drawing { plan, firsts, heads, numbers, of_step: BTreeMap::new(), nodes: Vec::new(), edges: Vec::new() }
    }

    fn source_of(&self, step: usize) -> usize {
        let starts = self.firsts.iter().enumerate().filter(|(_, first)| **first <= step);
        starts.max_by_key(|(_, first)| **first).map_or(0, |(source, _)| source)
    }

    fn name(&self, source: usize, var: u32) -> String {
        if let Some(name) = self.plan.names.get(source).and_then(|names| names.get(var as usize)?.as_deref()) {
            return name.to_string();
        }
        let mut numbers = self.numbers.borrow_mut();
        let next = numbers.keys().filter(|(of, _)| *of == source).count() as u32 + 1;
        format!("v{}", numbers.entry((source, var)).or_insert(next))
    }

    fn var(&self, source: usize, var: u32) -> GraphVar {
        let type_name = short_type(self.plan.registers[source][var as usize].type_name());
        GraphVar { name: self.name(source, var), type_name }
    }

    fn vars(&self, source: usize, vars: &[u32]) -> Vec<GraphVar> {
        vars.iter().map(|var| self.var(source, *var)).collect()
    }

    fn typed(&self, source: usize, registers: &[Register]) -> Vec<GraphVar> {
        registers.iter().map(|register| self.var(source, register.var)).collect()
    }

    /// `word(a, b)`.
    fn call(&self, source: usize, word: &str, uses: &[u32]) -> String {
        let uses: Vec<String> = uses.iter().map(|var| self.name(source, *var)).collect();
        format!("{word}({})", uses.join(", "))
    }

    /// Makes the nodes.
    fn place(&mut self) {
        for at in 0..self.plan.steps.len() {
            if self.heads.contains(&at) {
                self.place_head(at);
            }
            if self.skips_to(at).is_some() || self.joins_filter(at) {
                continue;
            }
            let record = &self.plan.steps[at];
            match &record.step {
                Step::End | Step::Again { .. } => {}
                Step::Fold { target, .. } | Step::Row { target, .. } => self.place_way(at, target),
                _ => self.place_step(at),
            }
        }
    }

    fn push(&mut self, node: GraphNode) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn place_head(&mut self, at: usize) {
        let source = self.source_of(at);
        let mut rounds = self.plan.steps.iter().filter_map(|record| match &record.step {
            Step::Again { head, live } if *head == at => Some((live, record.place)),
            _ => None,
        });
        let Some((live, place)) = rounds.next() else { return };
        let place =
            self.plan.steps.get(at.wrapping_sub(1)).filter(|_| at > self.firsts[source]).map_or(place, |s| s.place);
        // What the body gives new values is a var of the loop; the rest is only read in it.
        let body = &self.plan.steps[at..];
        let is_given = |var: &u32| body.iter().any(|record| record.defs.contains(var));
        let vars: Vec<u32> = live.iter().map(|register| register.var).filter(is_given).collect();
        let label = self.call(source, "loop", &vars);
        let node = self.push(node(NodeKind::Loop, label, place));
        self.of_step.insert(self.head_key(at), Placed { enter: node, leave: node });
    }

    /// Heads of loops have keys of their own beside the steps they stand before.
    fn head_key(&self, at: usize) -> usize {
        self.plan.steps.len() + at
    }

    /// A row's way to a table, across a partitioner as a rule.
    fn place_way(&mut self, at: usize, target: &Target) {
        let source = self.source_of(at);
        let record = &self.plan.steps[at];
        let (kind, label) = match target {
            Target::Here => (NodeKind::Aggregate, self.call(source, &record.label, &record.uses)),
            _ => (NodeKind::Partitioner, self.call(source, target_name(target), &key_of(target))),
        };
        let sent: BTreeSet<u32> = match &record.step {
            Step::Fold { table, .. } => match &self.plan.tables()[*table] {
                TableDef::Fold(fold) => sent(fold),
                TableDef::Rows { .. } => BTreeSet::new(),
            },
            Step::Row { keys, rest, .. } => keys.iter().chain(rest).map(|register| register.var).collect(),
            _ => BTreeSet::new(),
        };
        let mut node = node(kind, label, record.place);
        if kind == NodeKind::Partitioner {
            node.carries = Some(sent.iter().map(|var| self.var(source, *var)).collect());
        }
        let node = self.push(node);
        self.of_step.insert(at, Placed { enter: node, leave: node });
    }

    fn place_step(&mut self, at: usize) {
        let source = self.source_of(at);
        let record = &self.plan.steps[at];
        let place = record.place;
        let (kind, label) = self.describe(at, source, record);
        let mut made = node(kind, label, place);
        made.binds = match record.step {
            // What rows were combined to is what crosses.
            Step::Copy(_) | Step::Combine { .. } => Vec::new(),
            _ => self.vars(source, &record.defs),
        };
        let position = record.step.position().filter(|_| !matches!(record.step, Step::Pages { .. }));
        made.carries = position.map(|position| {
            let live = &self.plan.entries[position as usize].live;
            let is_answer = |var: u32| !matches!(record.step, Step::Combine { .. }) && record.defs.contains(&var);
            let shown = |var: &Register| !is_answer(var.var) && self.skipped(at + 1) != Some(var.var);
            let live: Vec<_> = live.iter().copied().filter(shown).collect();
            self.typed(source, &live)
        });
        if let Step::Append { depot, .. } = &record.step {
            made.depot = Some(*depot);
        }
        made.pstate = match &record.step {
            Step::Select { pstate, .. } | Step::Pages { pstate, .. } => Some((*pstate, Access::Read)),
            Step::Transform { pstate, .. } | Step::Clear { pstate } | Step::Aggregate { pstate, .. } => {
                Some((*pstate, Access::Write))
            }
            _ => None,
        };
        let node = self.push(made);
        self.of_step.insert(at, Placed { enter: node, leave: node });
    }

    /// What a step is and does.
    fn describe(&self, at: usize, source: usize, record: &StepRecord) -> (NodeKind, String) {
        let name = |var: u32| self.name(source, var);
        let plain = || self.call(source, &record.label, &record.uses);
        match &record.step {
            // A filter and the call that computes its condition are one thing to the author.
            Step::Filter(_) if at > 0 && self.joins_filter(at - 1) => {
                (NodeKind::Filter, self.call(source, "filter", &self.plan.steps[at - 1].uses))
            }
            Step::Filter(_) => (NodeKind::Filter, plain()),
            Step::Hop { .. } if self.skipped(at + 1).is_some() => {
                (NodeKind::Partitioner, format!("all_partition {}", record.label))
            }
            Step::Records { .. } => (NodeKind::Emit, record.label.clone()),
            Step::If { .. } | Step::Case { .. } => (NodeKind::Choice, plain()),
            Step::Copy(moves) => {
                let moves: Vec<String> =
                    moves.iter().map(|(from, to)| format!("{} = {}", name(*to), name(*from))).collect();
                (NodeKind::Assign, moves.join(", "))
            }
            Step::Fork { .. } => (NodeKind::Fork, record.label.clone()),
            Step::Emits { .. } | Step::Streams { .. } | Step::Unfold(_) => (NodeKind::Emit, plain()),
            Step::Pages { path, .. } => {
                (NodeKind::Access, short_type(&format!("local_select_yielding {}", path.show(&name))))
            }
            Step::Rows { .. } => (NodeKind::Emit, plain()),
            Step::Select { path, .. } => (NodeKind::Access, short_type(&format!("local_select {}", path.show(&name)))),
            Step::Transform { path, .. } => {
                (NodeKind::Access, short_type(&format!("local_transform {}", path.show(&name))))
            }
            Step::Clear { .. } => (NodeKind::Access, "local_clear".to_string()),
            Step::Aggregate { shape, .. } => {
                let word = record.label.split(' ').next().unwrap_or_default();
                (NodeKind::Aggregate, short_type(&format!("{word} {}", shape.show(&name))))
            }
            Step::Hop { .. } | Step::Combine { .. } => (NodeKind::Partitioner, plain()),
            Step::Overtime { .. } => (NodeKind::Later, record.label.clone()),
            Step::Await { .. } => (NodeKind::Later, plain()),
            Step::Check(_) => (NodeKind::Check, plain()),
            Step::Invoke { .. } => (NodeKind::Later, plain()),
            Step::Append { .. } if record.step.ends_event() => (NodeKind::Later, plain()),
            Step::Enter { .. } => (NodeKind::Later, record.label.clone()),
            Step::Gathered { of: RowsOf::Fold(table), .. } => match &self.plan.tables()[*table] {
                TableDef::Fold(fold) => (NodeKind::Aggregate, self.describe_fold(source, fold)),
                TableDef::Rows { .. } => (NodeKind::Aggregate, plain()),
            },
            Step::Gathered { .. } => (NodeKind::Emit, record.label.clone()),
            Step::Result(register) => (NodeKind::Result, format!("result {}", self.var(source, register.var))),
            _ => (NodeKind::Operation, plain()),
        }
    }

    fn describe_fold(&self, source: usize, fold: &FoldDef) -> String {
        let name = |var: u32| self.name(source, var);
        let outs: Vec<String> = fold.shapes().map(|shape| shape.show(&name)).collect();
        let outs = short_type(&outs.join(", "));
        if !fold.is_grouped {
            return format!("agg {outs}");
        }
        let keys: Vec<u32> = fold.keys.iter().map(|register| register.var).collect();
        format!("{} {outs}", self.call(source, "group_by", &keys))
    }

    /// Whether the step is the call of a filter, recorded in one call of the author's.
    fn joins_filter(&self, at: usize) -> bool {
        let (Some(call), Some(filter)) = (self.plan.steps.get(at), self.plan.steps.get(at + 1)) else { return false };
        let Step::Filter(condition) = filter.step else { return false };
        matches!(call.step, Step::Call(_)) && call.defs == [condition] && call.place == filter.place
    }

    /// Where a step that is no node of its own goes on.
    fn skips_to(&self, at: usize) -> Option<usize> {
        match &self.plan.steps[at].step {
            Step::Jump(to) => Some(*to),
            // How many records were passed over goes without saying.
            Step::Call(_) if self.skipped(at + 2).is_some_and(|skip| self.plan.steps[at].defs == [skip]) => {
                Some(at + 1)
            }
            // An output stream with one branch and nothing else.
            Step::Fork { branches } if branches.len() == 1 && self.ends(at + 1) => Some(branches[0]),
            Step::Fork { branches } if branches.is_empty() => Some(at + 1),
            // A block that is all there is, as in a query, goes without saying.
            Step::Enter { after, .. } if self.ends(*after) => match self.begins(at).as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            _ => None,
        }
    }

    /// The var that counts the records that an explode of a microbatch has passed over, if this step is one.
    fn skipped(&self, at: usize) -> Option<u32> {
        match self.plan.steps.get(at)?.step {
            Step::Records { skip, .. } => Some(skip),
            _ => None,
        }
    }

    fn ends(&self, at: usize) -> bool {
        matches!(self.plan.steps.get(at).map(|record| &record.step), Some(Step::End) | None)
    }

    /// The node that is met first from a step on.
    fn resolve(&self, mut at: usize) -> Option<usize> {
        for _ in 0..=self.plan.steps.len() {
            if let Some(head) = self.of_step.get(&self.head_key(at)) {
                return Some(head.enter);
            }
            if let Some(placed) = self.of_step.get(&at) {
                return Some(placed.enter);
            }
            match self.skips_to(at) {
                Some(to) => at = to,
                None if self.joins_filter(at) => at += 1,
                None => return self.again(at),
            }
        }
        None
    }

    /// The loop that a round goes back to.
    fn again(&self, at: usize) -> Option<usize> {
        match &self.plan.steps[at].step {
            Step::Again { head, .. } => self.of_step.get(&self.head_key(*head)).map(|placed| placed.enter),
            _ => None,
        }
    }

    /// Makes the edges.
    fn connect(&mut self) {
        for at in self.heads.clone() {
            let Some(head) = self.of_step.remove(&self.head_key(at)) else { continue };
            // Without the head in the way, what stands there is found.
            let to = self.resolve(at);
            self.of_step.insert(self.head_key(at), head);
            self.edge(head.leave, to, "");
        }
        let placed: Vec<(usize, Placed)> =
            self.of_step.range(..self.plan.steps.len()).map(|(at, placed)| (*at, *placed)).collect();
        for (at, placed) in placed {
            for (to, label) in self.ways(at) {
                let to = self.resolve(to);
                self.edge(placed.leave, to, &label);
            }
        }
        self.edges.sort_by_key(|edge| edge.from);
    }

    fn edge(&mut self, from: usize, to: Option<usize>, label: &str) {
        let Some(to) = to else { return };
        let is_back = to <= from;
        let label = if is_back && label.is_empty() { "again" } else { label };
        self.edges.push(GraphEdge { from, to, label: label.to_string(), is_back });
    }

    /// Where a step leads, and when.
    fn ways(&self, at: usize) -> Vec<(usize, String)> {
        let record = &self.plan.steps[at];
        let word = |to: usize, word: &str| (to, word.to_string());
        match &record.step {
            Step::If { otherwise, .. } => vec![word(at + 1, "true"), word(*otherwise, "false")],
            Step::Case { otherwise, .. } => vec![word(at + 1, "yes"), word(*otherwise, "no")],
            Step::Fork { branches } => {
                let (inside, after) = match record.label.as_str() {
                    "atomic_block" => ("inside", "then"),
                    "emit_loop" => ("out", "go on"),
                    _ => ("", ""),
                };
                let branches = branches.iter().map(|to| word(*to, after));
                std::iter::once(word(at + 1, inside)).chain(branches).collect()
            }
            Step::Streams { targets, .. } => {
                let source = self.source_of(at);
                targets.iter().map(|(var, to)| (*to, self.name(source, *var))).collect()
            }
            Step::Fold { table, .. } => self.gathered_from(*table).into_iter().map(|to| word(to, "")).collect(),
            Step::Row { table, .. } => {
                let on = (!self.ends(at + 1)).then_some(at + 1);
                self.gathered_from(*table).into_iter().chain(on).map(|to| word(to, "")).collect()
            }
            Step::Enter { after, .. } => {
                let after = (!self.ends(*after)).then(|| word(*after, "then"));
                self.begins(at).into_iter().map(|to| word(to, "batch")).chain(after).collect()
            }
            Step::End | Step::Again { .. } => Vec::new(),
            _ => vec![word(at + 1, "")],
        }
    }

    /// Where the rows of a table are read.
    fn gathered_from(&self, table: usize) -> Vec<usize> {
        let reads = |record: &StepRecord| match record.step {
            Step::Gathered { of: RowsOf::Fold(of) | RowsOf::Table(of), .. } => of == table,
            Step::Gathered { of: RowsOf::Join(join), .. } => {
                let JoinDef { left, right, .. } = self.plan.joins()[join];
                left == table || right == table
            }
            _ => false,
        };
        (0..self.plan.steps.len()).filter(|at| reads(&self.plan.steps[*at])).collect()
    }

    /// A query starts with the first stage of its block; people see the block first.
    fn entered_by(&self, step: usize) -> usize {
        let enters = |record: &StepRecord| match &record.step {
            Step::Enter { stages, .. } => stages.first().is_some_and(|(first, _)| *first == step),
            _ => false,
        };
        self.plan.steps.iter().position(enters).unwrap_or(step)
    }

    /// Where a batch block begins: its stages but for those that read what earlier ones left.
    fn begins(&self, at: usize) -> Vec<usize> {
        let Step::Enter { stages, .. } = &self.plan.steps[at].step else { return Vec::new() };
        let reads = |at: &usize| matches!(self.plan.steps[*at].step, Step::Gathered { .. });
        stages.iter().map(|(to, _)| *to).filter(|to| !reads(to)).collect()
    }
}

/// The vars by which a partitioner chooses.
fn key_of(target: &Target) -> Vec<u32> {
    match target {
        Target::Hash(register) => vec![register.var],
        Target::Direct(var) => vec![*var],
        Target::Keys(keys) => keys.iter().map(|register| register.var).collect(),
        _ => Vec::new(),
    }
}

fn node(kind: NodeKind, label: String, place: crate::define::Place) -> GraphNode {
    let (file, line) = (place.file(), place.line());
    GraphNode { kind, label, binds: Vec::new(), carries: None, pstate: None, depot: None, file, line }
}

/// What a row gives its aggregators: keys and arguments.
fn sent(fold: &FoldDef) -> BTreeSet<u32> {
    let mut sent: BTreeSet<u32> = fold.keys.iter().map(|register| register.var).collect();
    fold.each_slot(&mut |var| {
        sent.insert(var);
    });
    sent
}

fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Hash(_) | Target::Keys(_) => "hash_partition",
        Target::All => "all_partition",
        Target::Global => "global_partition",
        Target::Shuffle => "shuffle_partition",
        Target::Origin => "origin_partition",
        Target::Here => "",
        Target::Direct(_) => "direct_partition",
        Target::Chosen(_) => "custom_partition",
        Target::Key { .. } => "path_partition",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_the_modules_they_come_from_and_text_in_quotes_stays() {
        for (long, short) in [
            ("alloc::string::String", "String"),
            ("alloc::collections::btree::map::BTreeMap<alloc::string::String, i64>", "BTreeMap<String, i64>"),
            ("(a::B, [u8], str)", "(B, [u8], str)"),
            ("filter(word_count::define::{{closure}}::{{closure}}, key(\"a::b\"))", "filter(closure, key(\"a::b\"))"),
            ("term(<a::B<c::D> as e::Module>::define::{{closure}}::{{closure}})", "term(closure)"),
            ("core::option::Option<core::option::Option<x::Y>>", "Option<Option<Y>>"),
        ] {
            assert_eq!(short_type(long), short);
        }
    }
}
