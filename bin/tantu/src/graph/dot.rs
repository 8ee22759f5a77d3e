//! Charts for graphviz, which lays them out itself: a cluster for each topology, PStates as cylinders.

use super::chart::{Chart, Node, Shape};
use std::fmt::Write;
use tantu_flow::{Access, NodeKind};

pub(super) fn write(charts: &[Chart]) -> String {
    let mut text = String::from("digraph tantu {\n");
    text.push_str("  node [shape=box, style=rounded, fontname=monospace, fontsize=10];\n");
    text.push_str("  edge [fontname=monospace, fontsize=9];\n");
    for (at, chart) in charts.iter().enumerate() {
        cluster(&mut text, at, chart);
    }
    text.push_str("}\n");
    text
}

fn cluster(text: &mut String, of: usize, chart: &Chart) {
    let title = quoted(&format!("{}: {} {}", chart.module, chart.kind, chart.name));
    let _ = writeln!(text, "  subgraph cluster_{of} {{\n    label={title};");
    for (at, node) in chart.nodes.iter().enumerate() {
        let lines: Vec<&str> =
            std::iter::once(node.label.as_str()).chain(node.notes.iter().map(String::as_str)).collect();
        let _ = write!(text, "    t{of}n{at} [label={}{}", quoted(&lines.join("\n")), attributes(node));
        if let Some((file, line)) = node.place {
            let _ = write!(text, ", tooltip={}", quoted(&format!("{file}:{line}")));
        }
        text.push_str("];\n");
    }
    for (at, store) in chart.stores.iter().enumerate() {
        let label = quoted(&format!("{}\n{}", store.name, store.schema));
        let _ = writeln!(text, "    t{of}s{at} [label={label}, shape=cylinder, style=solid];");
    }
    for edge in &chart.edges {
        let _ = write!(text, "    t{of}n{} -> t{of}n{}", edge.from, edge.to);
        if !edge.label.is_empty() {
            let _ = write!(text, " [label={}]", quoted(&edge.label));
        }
        text.push_str(";\n");
    }
    for (at, node) in chart.nodes.iter().enumerate() {
        let Some((name, access)) = &node.store else { continue };
        let store =
            chart.stores.iter().position(|store| store.name == *name).expect("invariant: what nodes touch is listed");
        let _ = match access {
            Access::Read => writeln!(text, "    t{of}s{store} -> t{of}n{at} [style=dotted, constraint=false];"),
            Access::Write => writeln!(text, "    t{of}n{at} -> t{of}s{store} [style=dotted];"),
        };
    }
    text.push_str("  }\n");
}

fn attributes(node: &Node) -> &'static str {
    match node.shape {
        Shape::Depot => ", shape=cds, style=bold",
        Shape::Call => ", shape=oval, style=bold",
        Shape::Node(kind) => match kind {
            NodeKind::Partitioner => ", style=dashed, peripheries=2",
            NodeKind::Later => ", style=dashed",
            NodeKind::Filter => ", shape=invtrapezium, style=solid",
            NodeKind::Choice => ", shape=hexagon, style=solid",
            NodeKind::Assign | NodeKind::Fork => ", shape=plain",
            NodeKind::Loop => ", shape=oval",
            NodeKind::Emit => ", shape=box3d, style=solid",
            NodeKind::Aggregate => ", shape=folder, style=solid",
            NodeKind::Check => ", shape=octagon, style=solid",
            NodeKind::Result => ", shape=oval, style=bold",
            NodeKind::Operation | NodeKind::Access => "",
        },
    }
}

/// Lines are left-aligned: `\l` ends each.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    match escaped.contains('\n') {
        true => format!("\"{}\\l\"", escaped.replace('\n', "\\l")),
        false => format!("\"{escaped}\""),
    }
}
