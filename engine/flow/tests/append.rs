//! What is wrong with an append or a tick depot is said when the module is defined, and what an append asks of its host.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;
use tantu_base::id::AckLevel;
use tantu_base::value::Value;
use tantu_flow::{DepotRef, Module, Setup, Tick, Topologies, Var, define, disallow, random};

/// Everything wrong with a module.
fn mistakes<M: Module>() -> String {
    define::<M>().expect_err("it has mistakes").to_string()
}

struct WaitsForItself;

impl Module for WaitsForItself {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let (a, b) = (setup.declare_depot::<i64>("*a", random()), setup.declare_depot::<i64>("*b", random()));
        let mut s = topologies.stream("s");
        // The source that makes it a mistake comes later.
        s.source(&a, |block, n| block.depot_partition_append(b, n, AckLevel::Ack));
        s.source(&b, |block, n| block.depot_partition_append(b, n, AckLevel::AppendAck));
    }
}

#[test]
fn a_topology_that_would_wait_for_itself_is_refused_with_the_line_of_the_append() {
    let text = mistakes::<WaitsForItself>();
    let line = line!() - 8;
    assert!(text.contains(&format!("append.rs:{line}: the topology `s` reads `*b` itself")), "{text}");
    assert_eq!(text.matches("append.rs:").count(), 1, "the durable one is right: {text}");
}

struct OfAnother;

impl Module for OfAnother {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*a", random());
        let pstate_like: DepotRef<i64> = {
            let mut last = depot;
            (0..3).for_each(|n| last = setup.declare_depot(&format!("*{n}"), random()));
            last
        };
        STOLEN.with(|stolen| stolen.set(Some(pstate_like)));
        topologies.stream("s").source(&depot, |_, _| {});
    }
}

thread_local! {
    static STOLEN: std::cell::Cell<Option<DepotRef<i64>>> = const { std::cell::Cell::new(None) };
}

struct Refused;

impl Module for Refused {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*a", random());
        let ticks = setup.declare_tick_depot("*ticks", Duration::from_micros(10));
        let stolen = STOLEN.with(std::cell::Cell::get).unwrap();
        topologies.stream("s").source(&depot, |b, n| {
            b.depot_partition_append(stolen, n, AckLevel::None);
            let tick = b.constant(Tick);
            b.depot_partition_append(ticks, tick, AckLevel::None);
            b.named(|n| n.depot_partition_append("*none", "*no var", AckLevel::None));
        });
        topologies.microbatch("m").source(&depot, |m, batch| {
            let n = m.explode_microbatch(batch);
            m.depot_partition_append(depot, n, AckLevel::AppendAck);
        });
        topologies.query("q", |q, (n,): (Var<i64>,)| {
            q.depot_partition_append(depot, n, AckLevel::None);
            q.origin_partition();
            n
        });
    }
}

#[test]
fn appends_that_cannot_be_made_are_refused() {
    define::<OfAnother>().unwrap();
    let text = mistakes::<Refused>();
    for what in [
        "the tick depot `*ticks` has a period of 10µs",
        "the depot belongs to another module",
        "`*ticks` is a tick depot: nothing is appended to it",
        "the module has no depot `*none`",
        "missing needed var `*no var`",
        "a microbatch appends to `*a` when it is published",
        "a query only reads: it appends nothing to `*a`",
    ] {
        assert!(text.contains(what), "{what}: {text}");
    }
    assert_eq!(text.matches("append.rs:").count(), 7, "{text}");
}

struct Ticking;

impl Module for Ticking {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let ticks = setup.declare_tick_depot("*ticks", Duration::from_secs(2));
        let out = setup.declare_depot::<i64>("*out", disallow());
        topologies.stream("s").source(&ticks, |b, _| {
            let n = b.constant(1i64);
            b.name(n, "*n");
            b.named(|named| {
                named.import("*n", n);
                named.each("*text", &["*n"], |_| Value::from("one"));
                named.depot_partition_append("*out", "*n", AckLevel::AppendAck);
            });
            b.depot_partition_append(out, n, AckLevel::None);
        });
    }
}

#[test]
fn a_tick_depot_is_global_and_an_append_that_waits_carries_what_the_code_behind_it_needs() {
    let module = define::<Ticking>().unwrap();
    let def = &module.depots[0];
    assert_eq!((def.global, def.tick, def.partitioner.name()), (true, Some(Duration::from_secs(2)), "disallow"));
    assert_eq!(module.depots[1].tick, None);
    let plan = module.streams[0].plan.describe();
    assert_eq!(plan.hops.len(), 1, "only the one that waits is a new event: {plan:?}");
    assert_eq!(plan.hops[0].label, "depot_partition_append *out append_ack");
    assert_eq!(plan.hops[0].live.iter().map(|(_, of)| *of).collect::<Vec<_>>(), ["i64"]);
}
