//! Records of a source that fail of themselves: how often they were tried, what with, and when they are tried next.
//!
//! Each failure doubles the wait before the next try, up to a limit, so that a record that can never succeed costs little, and
//! is told of ever more seldom: at its first failure, its second, fourth, eighth and so on.

use crate::limit::{RETRY_DELAY_MS, RETRY_DELAY_MS_MAX, TROUBLE_TEXT_SIZE_MAX, TROUBLE_WARN_MS};
use std::collections::BTreeMap;
use tantu_base::door::Nanos;
use tantu_base::id::Offset;

/// A record that failed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) tries: u32,
    /// What the last try failed with.
    pub(crate) text: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    records: BTreeMap<Offset, Trouble>,
    /// When the log was told of one last, and of how many it was not told since.
    warned_at: Option<Nanos>,
    untold: u64,
}

/// The start of a text, at most so many bytes of it.
pub(crate) fn cut(text: &str, size_max: usize) -> &str {
    let mut end = text.len().min(size_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Troubles {
    /// A record failed; answers how often it did by now.
    pub(crate) fn note(&mut self, offset: Offset, text: &str) -> u32 {
        let trouble = self.records.entry(offset).or_default();
        trouble.tries = trouble.tries.saturating_add(1);
        trouble.text.clear();
        trouble.text.push_str(cut(text, TROUBLE_TEXT_SIZE_MAX));
        trouble.tries
    }

    /// How often a record failed of itself.
    pub(crate) fn tries(&self, offset: Offset) -> u32 {
        self.records.get(&offset).map_or(0, |trouble| trouble.tries)
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<&Trouble> {
        self.records.get(&offset)
    }

    pub(crate) fn forget(&mut self, offset: Offset) {
        if !self.records.is_empty() {
            self.records.remove(&offset);
        }
    }

    /// Every record in trouble, by offset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Offset, &Trouble)> {
        self.records.iter().map(|(offset, trouble)| (*offset, trouble))
    }

    /// Milliseconds before the next try of a record that failed so often.
    pub(crate) fn delay_ms(tries: u32) -> u64 {
        let doublings = tries.saturating_sub(1).min(16);
        (RETRY_DELAY_MS << doublings).min(RETRY_DELAY_MS_MAX)
    }

    /// Whether the log is to be told of a failure, and of how many it was not told before.
    pub(crate) fn warn(&mut self, tries: u32, now: Nanos) -> Option<u64> {
        let is_recent = self.warned_at.is_some_and(|at| now < at.plus_ms(TROUBLE_WARN_MS));
        if !tries.is_power_of_two() || is_recent {
            self.untold += 1;
            return None;
        }
        self.warned_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_keeps_failing_waits_longer_each_time_up_to_a_limit() {
        let delays: Vec<u64> = (1..=5).map(Troubles::delay_ms).collect();
        let first = RETRY_DELAY_MS;
        assert_eq!(delays, [first, 2 * first, 4 * first, 8 * first, 16 * first]);
        assert_eq!(Troubles::delay_ms(u32::MAX), RETRY_DELAY_MS_MAX);
    }

    #[test]
    fn the_log_is_told_of_the_first_failure_and_then_ever_more_seldom() {
        let mut troubles = Troubles::default();
        let second = |n: u32| Nanos(0).plus_ms(u64::from(n) * TROUBLE_WARN_MS);
        let told: Vec<u32> = (1..=20).filter(|tries| troubles.warn(*tries, second(*tries)).is_some()).collect();
        assert_eq!(told, [1, 2, 4, 8, 16]);
        assert_eq!(troubles.warn(32, second(40)), Some(4), "17 to 20");
        assert_eq!(troubles.warn(1, second(40)), None, "another record, too soon");
    }

    #[test]
    fn a_failure_is_known_until_the_record_is_done() {
        let mut troubles = Troubles::default();
        assert_eq!((troubles.note(Offset(3), "no"), troubles.note(Offset(3), &"é".repeat(9_000))), (1, 2));
        let trouble = troubles.get(Offset(3)).expect("it failed");
        assert!(trouble.text.len() <= TROUBLE_TEXT_SIZE_MAX && trouble.text.starts_with("éé"));
        assert_eq!(troubles.iter().map(|(offset, trouble)| (offset.0, trouble.tries)).collect::<Vec<_>>(), [(3, 2)]);
        troubles.forget(Offset(3));
        assert_eq!((troubles.tries(Offset(3)), troubles.get(Offset(3))), (0, None));
    }
}
