//! The order of the shuffle partitioner: all tasks in a random order, one per call, then all of them in another.

use tantu_base::id::TaskId;

/// See the module. One for each task that shuffles.
#[derive(Clone, Debug, Default)]
pub struct Shuffle {
    order: Vec<u32>,
    used: usize,
}

impl Shuffle {
    /// The next task of `count`; `random` gives 64 random bits.
    pub fn next(&mut self, count: u32, mut random: impl FnMut() -> u64) -> TaskId {
        if self.order.len() != count as usize {
            self.order = (0..count).collect();
            self.used = self.order.len();
        }
        if self.used == self.order.len() {
            for at in (1..self.order.len()).rev() {
                self.order.swap(at, (random() % (at as u64 + 1)) as usize);
            }
            self.used = 0;
        }
        self.used += 1;
        TaskId(self.order[self.used - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_visits_every_task_once_and_rounds_differ() {
        let (mut shuffle, mut state) = (Shuffle::default(), 7u64);
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        let mut rounds = Vec::new();
        for _ in 0..20 {
            let round: Vec<u32> = (0..8).map(|_| shuffle.next(8, &mut random).0).collect();
            let mut sorted = round.clone();
            sorted.sort();
            assert_eq!(sorted, (0..8).collect::<Vec<_>>());
            rounds.push(round);
        }
        rounds.sort();
        rounds.dedup();
        assert!(rounds.len() > 10, "{} different rounds of 20", rounds.len());
    }
}
