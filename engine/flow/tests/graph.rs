//! A plan as a graph: what people see of it.

use tantu_flow::{Access, Graph, GraphVar, Module, NodeKind, Setup, Topologies, Var, define, hash_by, random};
use tantu_path::{Map, Navigate, agg, path};

struct Chain;

impl Module for Chain {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<(String, i64)>("*depot", hash_by(|record: &(String, i64)| record.0.clone()));
        let other = setup.declare_depot::<i64>("*other", random());
        let mut s = topologies.stream("s");
        let next = s.pstate::<Map<String, String>>("$$next");
        let seen = s.pstate::<Map<String, i64>>("$$seen");
        s.source(&depot, |b, record| {
            let (name, count) = b.expand(record, |(name, count)| (name.clone(), *count));
            b.name(name, "name");
            b.filter(count, |count| count > 0);
            b.repeat((name, count), |b, rounds, (at, left)| {
                b.name(at, "at");
                let more = b.each(left, |left| left > 0);
                b.if_true(more, |b| {
                    b.hash_partition(at);
                    b.compound_agg(seen, agg::key(at, agg::sum(left)));
                    let then = b.local_select(next, path().must(at));
                    b.continue_loop(rounds, (then, left));
                });
            });
        });
        s.source(&other, |_, _| {});
        topologies.query("total", |q, (least,): (Var<i64>,)| {
            q.all_partition();
            let count = q.local_select(seen, path().map_vals());
            q.origin_partition();
            let sum = q.agg::<i64>(agg::sum(count));
            q.each((sum, least), |(sum, least)| sum.max(least))
        });
    }
}

fn var(name: &str, type_name: &str) -> GraphVar {
    GraphVar { name: name.to_string(), type_name: type_name.to_string() }
}

fn stream() -> Graph {
    let module = define::<Chain>().expect("the module can be defined");
    let starts: Vec<_> = module.streams[0].sources.iter().map(|source| source.at).collect();
    module.streams[0].plan.graph(&starts)
}

fn query() -> Graph {
    let module = define::<Chain>().expect("the module can be defined");
    module.queries[0].plan.graph(&[module.queries[0].at])
}

/// The labels, in the order of the code.
fn labels(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.label.as_str()).collect()
}

#[test]
fn nodes_say_what_happens_in_the_authors_names() {
    let graph = stream();
    assert_eq!(
        labels(&graph),
        [
            "expand(v1)",
            "filter(v2)",
            "at = name, v3 = v2",
            "loop(at)",
            "each(v3)",
            "if(v4)",
            "hash_partition(at)",
            "compound_agg key(at, sum(v3))",
            "local_select must(at)",
            "at = v5",
        ],
        "a filter and its condition are one, and what the loop does not change is not its var"
    );
    assert!(graph.nodes.iter().all(|node| node.file.ends_with("graph.rs") && node.line > 0));
    assert_eq!(graph.nodes[0].binds, [var("name", "str"), var("v2", "i64")]);
}

#[test]
fn what_travels_is_what_is_still_needed() {
    let graph = stream();
    let carries: Vec<_> = graph.nodes.iter().filter_map(|node| node.carries.clone()).collect();
    assert_eq!(carries, [vec![var("at", "str"), var("v3", "i64")]]);
    let graph = query();
    let carries: Vec<_> = graph.nodes.iter().filter_map(|node| node.carries.clone()).collect();
    assert_eq!(carries, [vec![], vec![var("v2", "i64")]], "to the tasks nothing, home only what is summed up");
}

#[test]
fn pstates_are_read_and_written() {
    let touched = |graph: &Graph| graph.nodes.iter().filter_map(|node| node.pstate).collect::<Vec<_>>();
    assert_eq!(touched(&stream()), [(1, Access::Write), (0, Access::Read)]);
    assert_eq!(touched(&query()), [(1, Access::Read)]);
}

#[test]
fn edges_follow_the_code_and_one_leads_back_to_the_loop() {
    let graph = stream();
    let edges: Vec<_> = graph.edges.iter().map(|edge| (edge.from, edge.to, edge.label.as_str())).collect();
    let expected = [
        (0, 1, ""),
        (1, 2, ""),
        (2, 3, ""),
        (3, 4, ""),
        (4, 5, ""),
        (5, 6, "true"),
        (6, 7, ""),
        (7, 8, ""),
        (8, 9, ""),
        (9, 3, "again"),
    ];
    assert_eq!(edges, expected);
    assert!(graph.edges.iter().all(|edge| edge.is_back == (edge.to <= edge.from)));
}

#[test]
fn a_source_that_does_nothing_starts_nowhere() {
    let starts = stream().starts;
    assert_eq!(starts[0].node, Some(0));
    assert_eq!(starts[0].vars, [var("v1", "(String, i64)")]);
    assert_eq!(starts[1].node, None);
}

#[test]
fn aggregators_come_behind_the_way_to_them_and_the_query_ends_with_its_result() {
    let graph = query();
    let kinds: Vec<NodeKind> = graph.nodes.iter().map(|node| node.kind).collect();
    let expected = [
        NodeKind::Partitioner,
        NodeKind::Access,
        NodeKind::Partitioner,
        NodeKind::Aggregate,
        NodeKind::Operation,
        NodeKind::Result,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(labels(&graph)[2..4], ["origin_partition()", "agg sum(v2)"]);
    assert_eq!(graph.nodes[5].label, "result v4: i64");
}
