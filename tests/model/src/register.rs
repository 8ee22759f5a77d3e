//! Reads after acknowledged writes: histories of a register, and whether one order of its operations explains them.
//!
//! A history is *linearizable* if every operation can be given one moment between its begin and its end such that the register,
//! taken through the operations in the order of their moments, answers what was answered. An operation without an end may
//! have happened at any time since it began, or never.
//!
//! [`explains`] searches for such an order, for any register, and is for small histories. A register that keeps the largest
//! value ever written needs no search: [`judge_largest`] says what is wrong by an argument about order, and random small
//! histories show that both say the same.

use std::collections::BTreeSet;
use std::fmt;

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Act {
    /// Writes a value.
    Write(i64),
    /// Reads this value.
    Read(i64),
}

/// One operation of a client. Moments are numbers of one clock that never stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What it does.
    pub act: Act,
    /// When it was asked for.
    pub begin: u64,
    /// When its answer came; `None` if none did, or one that does not say that it happened.
    pub end: Option<u64>,
}

/// What a read answers that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterLie {
    /// A value that nobody had begun to write when the read ended.
    Invented {
        /// The read.
        read: Operation,
    },
    /// Less than what was certain before the read began.
    Stale {
        /// The read.
        read: Operation,
        /// What made more certain.
        after: Operation,
    },
}

impl fmt::Display for RegisterLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterLie::Invented { read } => write!(f, "{read:?} has a value that nobody had written"),
            RegisterLie::Stale { read, after } => write!(f, "{read:?} came after {after:?}"),
        }
    }
}

/// What a register becomes by a write.
pub type Rule = fn(before: i64, written: i64) -> i64;

/// It has what was written last.
pub fn last(_: i64, written: i64) -> i64 {
    written
}

/// It has the largest value ever written.
pub fn largest(before: i64, written: i64) -> i64 {
    before.max(written)
}

/// Whether an order of the operations explains them, of a register that starts with 0.
///
/// # Panics
/// If there are more than 64 operations.
pub fn explains(rule: Rule, operations: &[Operation]) -> bool {
    assert!(operations.len() <= 64, "{} operations are too many to search", operations.len());
    search(rule, operations, (0, 0), &mut BTreeSet::new())
}

/// Goes on after the operations whose bits are set, which left this value. What was seen before leads nowhere.
fn search(rule: Rule, all: &[Operation], (done, value): (u64, i64), seen: &mut BTreeSet<(u64, i64)>) -> bool {
    let left = || all.iter().enumerate().filter(|(at, _)| done & 1 << at == 0);
    if left().all(|(_, operation)| operation.end.is_none()) {
        return true;
    }
    if !seen.insert((done, value)) {
        return false;
    }
    // Nothing comes before an operation that ended before it began.
    let first_end = left().filter_map(|(_, operation)| operation.end).min().unwrap_or(u64::MAX);
    left().filter(|(_, operation)| operation.begin <= first_end).any(|(at, operation)| {
        let after = match operation.act {
            Act::Write(written) => Some(rule(value, written)),
            Act::Read(found) => (found == value).then_some(value),
        };
        after.is_some_and(|after| search(rule, all, (done | 1 << at, after), seen))
    })
}

/// Everything that is wrong about a register that keeps the largest value, and starts with 0. A read may not have less than a
/// write or another read that ended before it began, or before its value began to be written, nor a value that nobody had begun
/// to write when it ended.
pub fn judge_largest(operations: &[Operation]) -> Vec<RegisterLie> {
    let mut begun: Vec<(u64, i64)> = Vec::new();
    let mut ended: Vec<(u64, Operation)> = Vec::new();
    for operation in operations {
        if let Act::Write(value) = operation.act {
            begun.push((operation.begin, value));
        }
        ended.extend(operation.end.map(|end| (end, *operation)));
    }
    ended.sort_by_key(|(end, _)| *end);
    // After each end: what made the largest value certain.
    let mut certain: Vec<(u64, Operation)> = Vec::new();
    for (end, operation) in &ended {
        if certain.last().is_none_or(|(_, most)| value_of(most) < value_of(operation)) {
            certain.push((*end, *operation));
        }
    }
    let mut lies = Vec::new();
    for (end, read) in &ended {
        let Act::Read(value) = read.act else { continue };
        // Its moment is not before its value began to be written.
        let written = begun.iter().filter(|(_, written)| *written == value).map(|(begin, _)| *begin).min();
        let since = if value == 0 { Some(0) } else { written.filter(|begin| begin < end) };
        let Some(since) = since else {
            lies.push(RegisterLie::Invented { read: *read });
            continue;
        };
        let before = certain.partition_point(|(certain, _)| *certain < read.begin.max(since));
        let after = before.checked_sub(1).map(|at| certain[at].1).filter(|most| value_of(most) > value);
        lies.extend(after.map(|after| RegisterLie::Stale { read: *read, after }));
    }
    lies
}

fn value_of(operation: &Operation) -> i64 {
    let (Act::Write(value) | Act::Read(value)) = operation.act;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: i64, begin: u64, end: impl Into<Option<u64>>) -> Operation {
        Operation { act: Act::Write(value), begin, end: end.into() }
    }

    fn read(value: i64, begin: u64, end: u64) -> Operation {
        Operation { act: Act::Read(value), begin, end: Some(end) }
    }

    #[test]
    fn reads_beside_a_write_may_see_it_or_not_but_not_again_what_was_before() {
        let beside = [write(1, 0, 1), write(2, 2, 9), read(1, 3, 4), read(2, 5, 6)];
        assert!(explains(last, &beside) && explains(largest, &beside));
        let back = [write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)];
        assert!(!explains(last, &back) && !explains(largest, &back));
        assert_eq!(judge_largest(&back), [RegisterLie::Stale { read: back[3], after: back[2] }]);
    }

    #[test]
    fn a_write_that_was_never_answered_may_have_happened_or_not_and_a_lost_one_is_caught() {
        for found in [0, 1] {
            assert!(explains(last, &[write(1, 0, None), read(found, 5, 6)]));
        }
        let lost = [write(1, 0, 1), read(0, 5, 6)];
        assert!(!explains(last, &lost));
        assert!(judge_largest(&lost)[0].to_string().contains("came after"));
        let invented = [write(1, 0, 1), read(3, 5, 6), write(3, 7, 8)];
        assert!(!explains(largest, &invented));
        assert!(judge_largest(&invented)[0].to_string().contains("nobody had written"));
    }

    #[test]
    fn the_last_write_wins_in_one_register_and_the_largest_in_the_other() {
        let smaller = [write(5, 0, 1), write(3, 2, 3), read(3, 4, 5)];
        assert!(explains(last, &smaller) && !explains(largest, &smaller));
        let larger = [write(5, 0, 1), write(3, 2, 3), read(5, 4, 5)];
        assert!(!explains(last, &larger) && explains(largest, &larger));
    }

    /// A small random history of writes of different values, and reads of anything.
    fn random_history(mut seed: u64) -> Vec<Operation> {
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let count = 3 + draw(6);
        let times = 4 * count;
        let mut all = Vec::new();
        for at in 0..count {
            let begin = times * draw(8) / 8 * 10 + at;
            let end = begin + 1 + 10 * draw(times / 2);
            let is_write = draw(2) == 0;
            let act = if is_write { Act::Write(1 + at as i64) } else { Act::Read(draw(count + 1) as i64) };
            // Ends differ from begins and from each other in their last digits.
            let end = Some(end / 10 * 10 + 20 + at).filter(|_| !is_write || draw(4) > 0);
            all.push(Operation { act, begin, end });
        }
        all
    }

    #[test]
    fn the_argument_about_order_says_what_a_search_of_all_orders_says() {
        let (mut good, mut bad) = (0, 0);
        for seed in 0..40_000 {
            let history = random_history(seed);
            let explained = explains(largest, &history);
            assert_eq!(judge_largest(&history).is_empty(), explained, "{history:?}");
            *(if explained { &mut good } else { &mut bad }) += 1;
        }
        assert!(good > 2_000 && bad > 2_000, "{good} can be explained, {bad} cannot");
    }
}
