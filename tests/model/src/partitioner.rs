//! What the three partitioner programs of the manual end with: which record was seen on which task, how often.

use std::collections::BTreeMap;

/// Per record, per task: how often the record was there.
pub type Sightings = BTreeMap<String, BTreeMap<u32, u64>>;

/// The hash partitioner: every record ends once per append, equal records all on one task. Which one is not promised
/// here.
///
/// # Errors
/// What is wrong, in words.
pub fn check_hash(task_count: u32, appended: &[&str], ends: &Sightings) -> Result<(), String> {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for record in appended {
        *expected.entry(record).or_default() += 1;
    }
    if let Some(unknown) = ends.keys().find(|record| !expected.contains_key(record.as_str())) {
        return Err(format!("{unknown:?} was never appended"));
    }
    for (record, count) in expected {
        let tasks: Vec<(u32, u64)> =
            ends.get(record).into_iter().flatten().map(|(task, count)| (*task, *count)).collect();
        match tasks[..] {
            [(task, found)] if task < task_count && found == count => {}
            _ => return Err(format!("{record:?} was appended {count} times and ended on (task, times) {tasks:?}")),
        }
    }
    Ok(())
}

/// The all partitioner: each record ends once per append on each task.
pub fn all(task_count: u32, appended: &[&str]) -> Sightings {
    let mut ends = Sightings::new();
    for record in appended {
        let tasks = ends.entry(record.to_string()).or_default();
        (0..task_count).for_each(|task| *tasks.entry(task).or_default() += 1);
    }
    ends
}

/// The custom partitioners: first always task 1, then task 0 if the second number is the larger one, else the last.
///
/// # Errors
/// The task that does not exist, on a module with one task.
pub fn custom(task_count: u32, (n1, n2): (i64, i64)) -> Result<(u32, u32), u32> {
    if task_count <= 1 {
        return Err(1);
    }
    Ok((1, if n2 > n1 { 0 } else { task_count - 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sightings(seen: &[(&str, u32, u64)]) -> Sightings {
        let mut sightings = Sightings::new();
        for (record, task, count) in seen {
            sightings.entry(record.to_string()).or_default().insert(*task, *count);
        }
        sightings
    }

    #[test]
    fn equal_records_end_on_one_task_and_every_other_end_is_refused() {
        let appended = ["cagney", "cagney", "lemmon"];
        let check = |seen: &[(&str, u32, u64)]| check_hash(8, &appended, &sightings(seen));
        assert_eq!(check(&[("cagney", 4, 2), ("lemmon", 4, 1)]), Ok(()));
        for lie in [
            &[("cagney", 4, 1), ("cagney", 5, 1), ("lemmon", 1, 1)][..],
            &[("cagney", 4, 2)],
            &[("cagney", 4, 3), ("lemmon", 1, 1)],
            &[("cagney", 8, 2), ("lemmon", 1, 1)],
            &[("cagney", 4, 2), ("lemmon", 1, 1), ("bergman", 0, 1)],
        ] {
            assert!(check(lie).is_err(), "{lie:?}");
        }
    }

    #[test]
    fn the_all_partitioner_reaches_every_task_once_per_append() {
        let ends = all(4, &["groucho", "harpo", "groucho"]);
        assert_eq!(
            ends,
            sightings(&[
                ("groucho", 0, 2),
                ("groucho", 1, 2),
                ("groucho", 2, 2),
                ("groucho", 3, 2),
                ("harpo", 0, 1),
                ("harpo", 1, 1),
                ("harpo", 2, 1),
                ("harpo", 3, 1),
            ])
        );
    }

    #[test]
    fn the_custom_partitioners_choose_as_the_manual_says() {
        assert_eq!(custom(4, (0, 1)), Ok((1, 0)));
        assert_eq!(custom(4, (5, 2)), Ok((1, 3)));
        assert_eq!(custom(4, (2, 2)), Ok((1, 3)));
        assert_eq!(custom(1, (0, 1)), Err(1));
    }
}
