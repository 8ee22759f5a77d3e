//! The floors: which folder may depend on which.
//!
//! A dependency goes to a lower floor, or to a room of the same district that the district's own
//! order allows. Tests may reach anywhere: dev-dependencies are not edges of what is built, except
//! that the oracles in `tests/model` know nothing of the engine in any way, or they would repeat its
//! mistakes.

use crate::manifests::{EdgeKind, Package};

/// A district of the house, lowest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Floor {
    /// `base`, and `base/derive` beside it: need nobody.
    Ground,
    /// `net` and `replog`, which never meet.
    First,
    /// `engine/lsm` and `engine/path`.
    EngineLow,
    /// `engine/flow` and `engine/state`.
    EngineMiddle,
    /// `engine/task`, and `engine/client` beside it.
    EngineHigh,
    /// `bin/doors`, `bin/weather` beside it, and `bin/metastore`: what a process stands on.
    BinLow,
    /// `bin/worker`, `bin/local` and the daemons.
    BinMiddle,
    /// `bin/tantu`: the facade and the command line.
    BinHigh,
    /// `bench`, `examples`, `tests`, `fuzz`.
    Yard,
}

/// The floor of a folder; `None` if the house has no such room.
pub fn floor_of(folder: &str) -> Option<Floor> {
    Some(match folder {
        "base" | "base/derive" => Floor::Ground,
        "net" | "replog" => Floor::First,
        "engine/lsm" | "engine/path" => Floor::EngineLow,
        "engine/flow" | "engine/state" => Floor::EngineMiddle,
        "engine/task" | "engine/client" => Floor::EngineHigh,
        "bin/doors" | "bin/weather" | "bin/metastore" => Floor::BinLow,
        "bin/local" | "bin/worker" | "bin/supervisor" | "bin/conductor" | "bin/ui" => Floor::BinMiddle,
        "bin/tantu" => Floor::BinHigh,
        "bench" | "examples" | "fuzz" => Floor::Yard,
        _ if folder.starts_with("tests/") => Floor::Yard,
        _ => return None,
    })
}

/// Every edge that climbs, crosses or leads nowhere, as sentences.
pub fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Some(from) = floor_of(&package.folder) else {
            found.push(format!("{} is in {}, a room the house does not have", package.name, package.folder));
            continue;
        };
        for edge in &package.edges {
            let Some(folder) = &edge.folder else { continue };
            let Some(to) = floor_of(folder) else {
                found.push(format!("{} depends on {folder}, a room the house does not have", package.name));
                continue;
            };
            let is_oracle = package.folder == "tests/model";
            if is_oracle {
                found.push(format!("the oracles of tests/model depend on {}", edge.name));
            } else if edge.kind != EdgeKind::Dev && !may_depend(from, to) {
                found.push(format!("{} ({from:?}) depends on {} ({to:?})", package.name, edge.name));
            }
        }
    }
    found
}

/// Whether what is built on one floor may use another: lower, or both in the yard.
fn may_depend(from: Floor, to: Floor) -> bool {
    to < from || (from == Floor::Yard && to == Floor::Yard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::Edge;

    fn package(folder: &str, to: &str, kind: EdgeKind) -> Package {
        let edge = Edge { name: to.to_string(), folder: Some(to.to_string()), kind };
        Package { name: folder.to_string(), folder: folder.to_string(), edges: vec![edge], roots: Vec::new() }
    }

    fn violation(folder: &str, to: &str, kind: EdgeKind) -> Vec<String> {
        violations(&[package(folder, to, kind)])
    }

    #[test]
    fn an_edge_that_climbs_is_named() {
        for (from, to) in [
            ("base", "net"),
            ("base", "base/derive"),
            ("base/derive", "base"),
            ("net", "replog"),
            ("replog", "net"),
            ("engine/lsm", "engine/path"),
            ("engine/lsm", "engine/state"),
            ("engine/flow", "engine/state"),
            ("engine/client", "engine/task"),
            ("engine/task", "bin/doors"),
            ("bin/doors", "bin/weather"),
            ("bin/weather", "bin/local"),
            ("bin/local", "bin/tantu"),
            ("bin/tantu", "tests/model"),
            ("bin/tantu", "bench"),
        ] {
            for kind in [EdgeKind::Normal, EdgeKind::Build] {
                let found = violation(from, to, kind);
                assert_eq!(found.len(), 1, "{from} -> {to}");
                assert!(found[0].contains(from) && found[0].contains(to), "{found:?}");
            }
        }
    }

    #[test]
    fn an_edge_that_goes_down_is_allowed() {
        for (from, to) in [
            ("net", "base"),
            ("engine/lsm", "base"),
            ("engine/state", "engine/lsm"),
            ("engine/state", "replog"),
            ("engine/task", "engine/flow"),
            ("bin/local", "bin/doors"),
            ("bin/local", "bin/weather"),
            ("bin/tantu", "bin/local"),
            ("bin/tantu", "base/derive"),
            ("examples", "bin/tantu"),
            ("tests/sim", "bin/weather"),
        ] {
            assert_eq!(violation(from, to, EdgeKind::Normal), Vec::<String>::new(), "{from} -> {to}");
        }
    }

    #[test]
    fn tests_may_reach_into_the_yard() {
        assert_eq!(violation("engine/lsm", "tests/proof", EdgeKind::Dev), Vec::<String>::new());
    }

    #[test]
    fn the_oracles_may_not_know_the_engine_even_in_their_tests() {
        assert_eq!(violation("tests/model", "base", EdgeKind::Dev).len(), 1);
        assert_eq!(violation("tests/model", "tests/sim", EdgeKind::Normal).len(), 1);
    }

    #[test]
    fn a_room_the_house_does_not_have_is_named() {
        assert_eq!(violation("engine/helpers", "base", EdgeKind::Normal).len(), 1);
        assert_eq!(violation("base", "elsewhere", EdgeKind::Dev).len(), 1);
    }
}
