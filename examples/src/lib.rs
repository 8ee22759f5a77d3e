//! What several examples need: a way to see where the code of a topology ran.
//!
//! Nothing of it is special: it is a PState like any other, written by the topology and read by a client.

use std::collections::BTreeMap;
use std::error::Error;
use tantu::prelude::*;

/// What an example's `main` returns.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// By record, on which task it was seen how often.
pub type Sightings = Map<String, Map<i64, i64>>;

/// Every sighting, from all partitions together.
///
/// # Errors
/// What the cluster or the client says.
pub fn sightings(
    cluster: &InProcessCluster,
    module: &str,
    pstate: &str,
    task_count: u32,
) -> Result<BTreeMap<String, BTreeMap<i64, i64>>> {
    let seen = cluster.pstate::<Sightings>(module, pstate)?;
    let mut all: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for task in 0..task_count {
        for (record, by_task) in seen.select_on(task, path().all())? {
            all.entry(record).or_default().extend(by_task);
        }
    }
    Ok(all)
}

/// `word: task 3 twice, task 5 once`, a line for each record.
pub fn told(sightings: &BTreeMap<String, BTreeMap<i64, i64>>) -> String {
    let times = |count: &i64| match count {
        1 => "once".to_string(),
        2 => "twice".to_string(),
        n => format!("{n} times"),
    };
    let mut text = String::new();
    for (record, by_task) in sightings {
        let places: Vec<String> = by_task.iter().map(|(task, count)| format!("task {task} {}", times(count))).collect();
        text.push_str(&format!("  {record}: {}\n", places.join(", ")));
    }
    text
}
