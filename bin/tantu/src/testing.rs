//! What tests of modules need besides a cluster in the process.

use tantu_base::value::{encoded_key, partition_of_key};

/// A text for each of so many tasks that lives there: the first lives on task 0, the next on task 1 (TST-08). The same
/// arguments give the same texts, each of which begins with `prefix`.
///
/// ```
/// use tantu::testing::hashing_index_keys;
///
/// let users = hashing_index_keys("user", 8);
/// assert_eq!(users.len(), 8);
/// assert!(users.iter().all(|user| user.starts_with("user")));
/// assert_eq!(users, hashing_index_keys("user", 8));
/// ```
///
/// # Panics
/// If the number of tasks is not a power of two.
pub fn hashing_index_keys(prefix: &str, tasks: u32) -> Vec<String> {
    assert!(tasks.is_power_of_two(), "a module has a power of two of tasks, not {tasks}");
    let of_task = |task: u32| {
        let keys = (0u64..).map(|number| format!("{prefix}{number}"));
        let mut here = keys.filter(|key| partition_of_key(&encoded_key(&key.as_str()), tasks) == task);
        here.next().expect("invariant: every partition has keys")
    };
    (0..tasks).map(of_task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    struct Homes;

    impl Module for Homes {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let names = setup.declare_depot::<String>("*names", hash_by(|name: &String| name.clone()));
            let mut s = topologies.stream("s");
            let homes = s.pstate::<Map<String, i64>>("$$homes");
            s.source(&names, |b, name| {
                let task = b.current_task_id();
                b.local_transform(homes, path().key(name).term_val(task));
            });
        }
    }

    #[test]
    fn each_key_is_where_its_index_says() {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Homes>(LaunchConfig { tasks: 8, threads: 2, ..LaunchConfig::default() }).unwrap();
        let names = cluster.depot::<String>("Homes", "*names").unwrap();
        let homes = cluster.pstate::<Map<String, i64>>("Homes", "$$homes").unwrap();
        for (task, name) in (0i64..).zip(hashing_index_keys("", 8)) {
            names.append(&name).unwrap();
            assert_eq!(homes.select_one(path().key(&*name)).unwrap(), Some(task), "{name}");
        }
        cluster.close().unwrap();
    }
}
