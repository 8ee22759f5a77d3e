//! What several examples need: a way to see where the code of a topology ran.
//!
//! Nothing of it is special: it is a PState like any other, written by the topology and read by a client.

use std::collections::BTreeMap;
use std::error::Error;
use tantu::graph::{Format, draw};
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
) -> Result<BTreeMap<String, BTreeMap<i64, i64>>> {
    let seen = cluster.pstate::<Sightings>(module, pstate)?;
    let mut all: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for (record, by_task) in seen.select_all(path().all())? {
        all.entry(record).or_default().extend(by_task);
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

/// Asserts that the drawings of a module are those in `golden/`.
///
/// # Panics
/// If they are not, or cannot be made.
#[allow(clippy::disallowed_methods, reason = "a test reads its golden files; TANTU_BLESS=1 writes them anew")]
pub fn assert_drawn<M: Module>(example: &str) {
    let module = define::<M>().expect("the module can be defined");
    for (format, ending) in [(Format::Text, "txt"), (Format::Dot, "dot")] {
        let drawn = draw(std::slice::from_ref(&module), None, format).expect("everything can be drawn");
        let path = format!("{}/golden/{example}.{ending}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("TANTU_BLESS").is_some() {
            std::fs::write(&path, &drawn).expect("the golden folder can be written");
        }
        let golden = std::fs::read_to_string(&path).expect("the golden file is there");
        assert!(golden == drawn, "{path} has another drawing; TANTU_BLESS=1 writes it anew:\n{drawn}");
    }
}
