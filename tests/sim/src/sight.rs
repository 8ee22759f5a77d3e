//! Snapshots of a bank: a client keeps one microbatch in sight and reads all of it, while the bank goes on.

use crate::customer::Entries;
use std::collections::BTreeMap;
use tantu_base::id::TaskId;
use tantu_model::bank::BankLie;
use tantu_net::letter::{ClientLetter, Letter, SnapshotSays};

/// A snapshot was read whole.
pub const SNAPSHOT_READ: &str = "snapshot read";
/// For how long a snapshot is kept, in milliseconds.
const LEASE_MS: u64 = 60_000;

/// A snapshot of which some partitions are not read yet.
#[derive(Clone, Debug)]
struct Sight {
    number: u64,
    id: u64,
    missing: u32,
    funds: Entries,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sights {
    open: BTreeMap<usize, Sight>,
    /// What each microbatch left, as it was seen first.
    seen: BTreeMap<u64, Entries>,
    /// The latest microbatch that was known to be finished.
    latest: u64,
    /// Snapshots that were read whole.
    pub read_count: u64,
}

impl Sights {
    /// The cluster lives again: nothing is kept.
    pub fn begin_life(&mut self) {
        self.open.clear();
    }

    /// Whether a client has one in sight.
    pub fn has(&self, client: usize) -> bool {
        self.open.contains_key(&client)
    }

    /// The latest microbatch a snapshot was of.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// The letter that asks for one.
    pub fn take(request: u64) -> Letter<'static> {
        let (task, says, number, id) = (TaskId(0), SnapshotSays::Take, LEASE_MS, 0);
        Letter::Client(ClientLetter::Snapshot { task, request, topology: 0, says, number, id })
    }

    /// The letter that gives a client's free.
    pub fn release(&mut self, client: usize, request: u64) -> Option<Letter<'static>> {
        let Sight { number, id, .. } = self.open.remove(&client)?;
        let (task, says) = (TaskId(0), SnapshotSays::Release);
        Some(Letter::Client(ClientLetter::Snapshot { task, request, topology: 0, says, number, id }))
    }

    /// A client has one of so many tasks; what is wrong with it if it is older than what was known when it was asked for.
    pub fn taken(&mut self, client: usize, (number, id): (u64, u64), known: u64, tasks: u32) -> Option<String> {
        self.latest = self.latest.max(id);
        self.open.insert(client, Sight { number, id, missing: tasks, funds: Entries::new() });
        (id < known)
            .then(|| format!("a snapshot is of microbatch {id}, and {known} was finished before it was asked for"))
    }

    /// The number of a client's.
    pub fn number(&self, client: usize) -> Option<u64> {
        self.open.get(&client).map(|sight| sight.number)
    }

    /// An account is in sight.
    pub fn account(&mut self, client: usize, name: String, funds: i64) {
        if let Some(sight) = self.open.get_mut(&client) {
            sight.funds.insert(name, funds);
        }
    }

    /// A partition could not be read any more: the rest is worth nothing.
    pub fn spoil(&mut self, client: usize) {
        if let Some(sight) = self.open.get_mut(&client) {
            sight.missing = u32::MAX;
        }
    }

    /// A task was read; what is wrong with the whole, if it was the last.
    pub fn task_read(&mut self, client: usize) -> Option<String> {
        let sight = self.open.get_mut(&client)?;
        sight.missing -= 1;
        if sight.missing > 0 {
            return None;
        }
        self.read_count += 1;
        let sum: i64 = sight.funds.values().sum();
        if sum != 0 {
            return Some(format!("in the snapshot of microbatch {}: {}", sight.id, BankLie::Sum(sum)));
        }
        let before = self.seen.entry(sight.id).or_insert_with(|| sight.funds.clone());
        (*before != sight.funds).then(|| format!("microbatch {} left {before:?}, and now {:?}", sight.id, sight.funds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_which_a_part_is_of_another_microbatch_is_caught() {
        let mut sights = Sights::default();
        let mut see = |id: u64, known: u64, funds: [i64; 2]| {
            let old = sights.taken(0, (1, id), known, 2);
            let lies = ["a", "b"].into_iter().zip(funds).filter_map(|(name, funds)| {
                sights.account(0, name.to_string(), funds);
                sights.task_read(0)
            });
            old.into_iter().chain(lies).collect::<Vec<_>>()
        };
        assert!(see(3, 0, [5, -5]).is_empty());
        assert_eq!(see(3, 0, [5, -4]).len(), 1, "money was made");
        assert_eq!(see(3, 3, [6, -6]).len(), 1, "the same microbatch had other funds");
        assert_eq!(see(2, 3, [1, -1]).len(), 1, "an older one than was asked for");
        assert!(see(4, 3, [6, -6]).is_empty());
        assert_eq!(sights.read_count, 5);
    }
}
