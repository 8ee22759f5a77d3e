//! Charts for a terminal: one line for each thing that happens, in the order it was written.

use super::chart::{Chart, Edge, Node, Shape};
use std::fmt::Write;
use tantu_flow::{Access, NodeKind};

/// Where the author's lines stand.
const PLACE_COLUMN: usize = 92;

pub(super) fn write(charts: &[Chart]) -> String {
    charts.iter().map(chart).collect::<Vec<_>>().join("\n")
}

fn chart(chart: &Chart) -> String {
    let mut text = format!("{}: {} {}\n\n", chart.module, chart.kind, chart.name);
    let width = chart.stores.iter().map(|store| store.name.chars().count()).max().unwrap_or(0);
    for store in &chart.stores {
        text.push_str(&format!("  {:width$}  {}, {}\n", store.name, store.schema, store.use_of()));
    }
    if !chart.stores.is_empty() {
        text.push('\n');
    }
    for (at, node) in chart.nodes.iter().enumerate() {
        let is_boundary = node.shape == Shape::Node(NodeKind::Partitioner);
        if is_boundary {
            rule(&mut text);
        }
        row(&mut text, chart, at, node);
        if is_boundary {
            rule(&mut text);
        }
    }
    text
}

fn rule(text: &mut String) {
    text.push_str(&format!("      {}\n", "═".repeat(PLACE_COLUMN - 6)));
}

fn row(text: &mut String, chart: &Chart, at: usize, node: &Node) {
    let mut line = format!("{:4}  {}", at + 1, node.label);
    if let Some((store, access)) = &node.store {
        line.push_str(match access {
            Access::Read => "  reads ",
            Access::Write => "  writes ",
        });
        line.push_str(store);
    }
    node.notes.iter().for_each(|note| line.push_str(&format!("  {note}")));
    if let Some(ways) = ways(chart, at) {
        line.push_str(&format!("  [{ways}]"));
    }
    let place = node.place.map(|(file, line)| format!("{}:{line}", file.rsplit('/').next().unwrap_or(file)));
    if let Some(place) = place {
        let padding = PLACE_COLUMN.saturating_sub(line.chars().count()).max(2);
        line.push_str(&format!("{:padding$}{place}", ""));
    }
    let _ = writeln!(text, "{line}");
}

/// Where it goes on, unless that is the next line and nothing else.
fn ways(chart: &Chart, at: usize) -> Option<String> {
    let edges: Vec<&Edge> = chart.leaving(at).collect();
    let is_last = at + 1 == chart.nodes.len();
    match edges.as_slice() {
        [] if is_last => None,
        [] => Some("ends".to_string()),
        [edge] if edge.to == at + 1 && edge.label.is_empty() => None,
        edges => {
            let way = |edge: &&Edge| match edge.label.as_str() {
                "" => format!("to {}", edge.to + 1),
                label => format!("{label}: to {}", edge.to + 1),
            };
            Some(edges.iter().map(way).collect::<Vec<_>>().join(", "))
        }
    }
}
