//! The module of the flood: each record becomes very many events that cross from each task to the other and back.

use tantu_flow::{Module, PStateOptions, Setup, SourceOptions, StartFrom, Topologies, random};
use tantu_path::{Map, agg};

/// Events that each record, and each of its events, becomes.
pub const FAN: usize = 64;
/// The key under which each task counts what reached it.
pub const HITS: &str = "hits";

/// See the module.
#[derive(Debug)]
pub struct Flood;

fn fan(text: &str) -> Vec<String> {
    (0..FAN).map(|n| format!("{text} {n:060}")).collect()
}

impl Module for Flood {
    fn name() -> String {
        "Flood".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut flood = topologies.stream("flood");
        // Each task counts what reached it, wherever the key would live.
        let here = PStateOptions { unchecked: true, ..PStateOptions::default() };
        let hits = flood.pstate_with::<Map<String, i64>>("$$hits", here);
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        flood.source_with(&lines, all, |b, line| {
            let there = b.explode(line, fan);
            b.hash_partition(there);
            let back = b.explode(there, fan);
            b.hash_partition(back);
            let hit = b.each(back, |_| HITS.to_string());
            b.compound_agg(hits, agg::key(hit, agg::count()));
        });
    }
}
