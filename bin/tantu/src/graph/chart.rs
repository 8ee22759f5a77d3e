//! What is drawn, before anything is known of where: the same for every format.

use tantu_flow::{
    Access, Graph, GraphNode, GraphVar, MicrobatchDef, ModuleDef, NodeKind, Plan, Position, QueryDef, StreamDef,
    short_type,
};

/// A topology to be drawn.
pub(super) struct Chart {
    pub(super) module: String,
    pub(super) name: String,
    /// `stream topology`.
    pub(super) kind: &'static str,
    /// The PStates it touches, and the depots it appends to.
    pub(super) stores: Vec<Store>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

/// A PState that a topology touches, or a depot that it appends to.
pub(super) struct Store {
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) is_read: bool,
    pub(super) is_written: bool,
}

impl Store {
    /// `read and written`.
    pub(super) fn use_of(&self) -> &'static str {
        match (self.is_read, self.is_written) {
            (true, true) => "read and written",
            (true, false) => "read",
            _ => "written",
        }
    }
}

/// What stands for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Depot,
    Call,
    Node(NodeKind),
}

/// A box.
pub(super) struct Node {
    pub(super) shape: Shape,
    /// What it does.
    pub(super) label: String,
    /// What it binds or carries.
    pub(super) notes: Vec<String>,
    /// The PState or the depot beside it.
    pub(super) store: Option<(String, Access)>,
    /// The author's file and line.
    pub(super) place: Option<(&'static str, u32)>,
}

/// A line from one box to another.
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) label: String,
    pub(super) is_back: bool,
}

impl Chart {
    /// `Module/topology`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.module, self.name)
    }

    /// The lines that leave a node.
    pub(super) fn leaving(&self, node: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == node)
    }
}

/// The charts of all topologies of a module.
pub(super) fn charts(module: &ModuleDef) -> Vec<Chart> {
    let streams = module.streams.iter().map(|stream| stream_chart(module, stream));
    let microbatches = module.microbatches.iter().map(|microbatch| microbatch_chart(module, microbatch));
    streams.chain(microbatches).chain(module.queries.iter().map(|query| query_chart(module, query))).collect()
}

fn stream_chart(module: &ModuleDef, stream: &StreamDef) -> Chart {
    let starts = stream.sources.iter().map(|source| (depot_start(module, source.depot), source.at)).collect();
    chart(module, "stream topology", &stream.name, &stream.plan, starts)
}

fn microbatch_chart(module: &ModuleDef, microbatch: &MicrobatchDef) -> Chart {
    let starts = microbatch.sources.iter().map(|source| (depot_start(module, source.depot), source.at)).collect();
    chart(module, "microbatch topology", &microbatch.name, &microbatch.plan, starts)
}

fn depot_start(module: &ModuleDef, depot: usize) -> Start {
    let depot = &module.depots[depot];
    let whole = if depot.global { "global depot" } else { "depot" };
    let facts = match depot.tick {
        Some(period) => format!("tick depot, every {period:?}"),
        None => format!("{whole} of {}, {}", short_type(depot.record_type), depot.partitioner.name()),
    };
    Start { shape: Shape::Depot, label: depot.name.clone(), facts: Some(facts) }
}

fn query_chart(module: &ModuleDef, query: &QueryDef) -> Chart {
    let start = Start { shape: Shape::Call, label: format!("call of {}", query.name), facts: None };
    chart(module, "query topology", &query.name, &query.plan, vec![(start, query.at)])
}

/// Where work comes in.
struct Start {
    shape: Shape,
    label: String,
    facts: Option<String>,
}

fn chart(module: &ModuleDef, kind: &'static str, name: &str, plan: &Plan, starts: Vec<(Start, Position)>) -> Chart {
    let positions: Vec<Position> = starts.iter().map(|(_, at)| *at).collect();
    let Graph { nodes, edges, starts: begins } = plan.graph(&positions);
    // The boxes of the starts come first.
    let first = starts.len();
    let mut chart = Chart {
        module: module.name.clone(),
        name: name.to_string(),
        kind,
        stores: stores(module, &nodes),
        nodes: Vec::new(),
        edges: Vec::new(),
    };
    for (at, ((start, _), begin)) in starts.into_iter().zip(begins).enumerate() {
        let vars = (!begin.vars.is_empty()).then(|| format!("→ {}", listed(&begin.vars)));
        let notes = start.facts.into_iter().chain(vars).collect();
        chart.nodes.push(Node { shape: start.shape, label: start.label, notes, store: None, place: None });
        if let Some(node) = begin.node {
            chart.edges.push(Edge { from: at, to: first + node, label: String::new(), is_back: false });
        }
    }
    chart.nodes.extend(nodes.into_iter().map(|node| boxed(module, node)));
    chart.edges.extend(edges.into_iter().map(|edge| Edge {
        from: first + edge.from,
        to: first + edge.to,
        label: edge.label,
        is_back: edge.is_back,
    }));
    chart
}

fn boxed(module: &ModuleDef, node: GraphNode) -> Node {
    let mut notes = Vec::new();
    if let Some(carried) = &node.carries {
        notes.push(if carried.is_empty() {
            "carries nothing".to_string()
        } else {
            format!("carries {}", listed(carried))
        });
    }
    if !node.binds.is_empty() {
        notes.push(format!("→ {}", listed(&node.binds)));
    }
    let pstate = node.pstate.map(|(index, access)| (module.pstates[index].name.clone(), access));
    let store = pstate.or_else(|| node.depot.map(|index| (module.depots[index].name.clone(), Access::Write)));
    let place = Some((node.file, node.line));
    Node { shape: Shape::Node(node.kind), label: node.label, notes, store, place }
}

fn stores(module: &ModuleDef, nodes: &[GraphNode]) -> Vec<Store> {
    let touches = |index: usize, access: Access| nodes.iter().any(|node| node.pstate == Some((index, access)));
    let stores = module.pstates.iter().enumerate().map(|(index, def)| Store {
        name: def.name.clone(),
        schema: def.schema.to_string(),
        is_read: touches(index, Access::Read),
        is_written: touches(index, Access::Write),
    });
    let appended = |index: usize| nodes.iter().any(|node| node.depot == Some(index));
    let depots = module.depots.iter().enumerate().filter(|(index, _)| appended(*index)).map(|(_, def)| Store {
        name: def.name.clone(),
        schema: format!("depot of {}", short_type(def.record_type)),
        is_read: false,
        is_written: true,
    });
    stores.filter(|store| store.is_read || store.is_written).chain(depots).collect()
}

fn listed(vars: &[GraphVar]) -> String {
    vars.iter().map(GraphVar::to_string).collect::<Vec<_>>().join(", ")
}

/// A text broken where words end, into lines of so many characters; what goes on is indented.
pub(super) fn wrapped(text: &str, length_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive([' ', '.']) {
        let length = word.trim_end().chars().count();
        if used > 0 && used + length > length_max {
            lines.push("  ".to_string());
            used = 2;
        }
        used += word.chars().count();
        lines.last_mut().expect("invariant: there is a first line").push_str(word);
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_broken_between_words_and_lose_nothing() {
        let text =
            "local_select key(user).field(2).all.must(name, other).filter_pred(closure) and then some more words";
        let lines = wrapped(text, 46);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= 46), "{lines:?}");
        let joined: String = lines.concat();
        assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
        assert_eq!(wrapped("short", 46), ["short"]);
    }
}
