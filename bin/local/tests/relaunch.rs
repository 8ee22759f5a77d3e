//! What a module may not change when it is launched again: what its data would be lost with.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use tantu_flow::{Module, Setup, Topologies, hash_by};
use tantu_local::{InProcessCluster, LaunchConfig};
use tantu_path::{Map, agg};

/// Visits by user, and by who knows what later on.
struct Visits;

impl Module for Visits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<String>("*visits", hash_by(|user: &String| user.clone()));
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        counter.source(&visits, |b, user| {
            b.compound_agg(counts, agg::key(user, agg::count()));
        });
    }
}

/// The same with other keys.
struct ByNumber;

impl Module for ByNumber {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        setup.declare_depot::<String>("*visits", hash_by(|user: &String| user.clone()));
        topologies.stream("counter").pstate::<Map<i64, i64>>("$$counts");
    }

    fn name() -> String {
        "Visits".to_string()
    }
}

/// Launches a module where visits were counted; what is said.
fn relaunched<M: Module>(dir: &Path, tasks: u32) -> String {
    let cluster = InProcessCluster::open(dir).unwrap();
    let said =
        cluster.launch::<M>(LaunchConfig::new(tasks, 1)).map_or_else(|error| error.to_string(), |()| String::new());
    cluster.close().unwrap();
    said
}

#[test]
fn what_a_relaunch_may_not_change_is_refused_with_what_is_stored_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(relaunched::<Visits>(dir.path(), 2), "");
    let tasks = relaunched::<Visits>(dir.path(), 4);
    assert!(
        tasks.ends_with("it has 2 tasks for ever, and 4 were asked for: launch it with 2, or use another directory"),
        "{tasks}"
    );
    let keys = relaunched::<ByNumber>(dir.path(), 2);
    assert!(
        keys.contains("`$$counts` is stored as Map<String, i64> and declared as Map<i64, i64>; give the new one"),
        "{keys}"
    );
    assert!(keys.ends_with("another name and read the depot from `StartFrom::Beginning`"), "{keys}");
    let cluster = InProcessCluster::open(dir.path()).unwrap();
    cluster.launch::<Visits>(LaunchConfig::new(2, 1)).unwrap();
    let twice = cluster.launch::<Visits>(LaunchConfig::new(2, 1)).unwrap_err().to_string();
    assert!(twice.ends_with("it runs already: `restart` launches it again"), "{twice}");
    assert_eq!(cluster.stored_task_count("Visits").unwrap(), Some(2));
    assert_eq!(cluster.stored_task_count("Nobody").unwrap(), None);
    cluster.close().unwrap();
}
