//! How often what is to be done for a line was done, and how often that may be.

use std::collections::BTreeMap;
use std::fmt;

/// What is promised of each copy of a line in its depot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// It is done, and once more for each try that was in vain.
    AtLeastOnce,
    /// It is done, or not; it is if its sender was told so.
    AtMostOnce,
    /// It is done once.
    Once,
}

/// What is known of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// How often its depot has it.
    pub copies: u64,
    /// Copies of which the sender was told that they are done, or which nothing kept from being done.
    pub told: u64,
    /// How often it can have been tried, if that is known.
    pub tries: Option<u64>,
}

/// A number that cannot be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DeliveryLie {
    /// It was done too seldom.
    Lost {
        /// The line.
        line: String,
        /// How often it was done.
        found: u64,
        /// How often it must have been.
        least: u64,
    },
    /// It was done too often.
    Again {
        /// The line.
        line: String,
        /// How often it was done.
        found: u64,
        /// How often it may have been.
        most: u64,
    },
    /// It was done, and nobody has it.
    Invented {
        /// The line.
        line: String,
    },
}

impl fmt::Display for DeliveryLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeliveryLie::Lost { line, found, least } => {
                write!(f, "{line:?} was done {found} times, and {least} times is the least")
            }
            DeliveryLie::Again { line, found, most } => {
                write!(f, "{line:?} was done {found} times, and {most} times is the most")
            }
            DeliveryLie::Invented { line } => write!(f, "{line:?} was done, and no depot has it"),
        }
    }
}

impl Promise {
    /// How often, at least and at most.
    fn bounds(self, line: &Line) -> (u64, Option<u64>) {
        match self {
            Promise::AtLeastOnce => (line.copies, line.tries),
            Promise::AtMostOnce => (line.told, Some(line.copies)),
            Promise::Once => (line.copies, Some(line.copies)),
        }
    }

    /// Everything that is wrong with how often it was done for each line.
    pub fn judge(self, lines: &BTreeMap<String, Line>, found: &BTreeMap<String, u64>) -> Vec<DeliveryLie> {
        let mut lies = Vec::new();
        for (name, line) in lines {
            let found = found.get(name).copied().unwrap_or_default();
            let (least, most) = self.bounds(line);
            let line = || name.clone();
            if found < least {
                lies.push(DeliveryLie::Lost { line: line(), found, least });
            }
            match most.filter(|most| found > *most) {
                Some(0) => lies.push(DeliveryLie::Invented { line: line() }),
                Some(most) => lies.push(DeliveryLie::Again { line: line(), found, most }),
                None => {}
            }
        }
        let unknown = found.iter().filter(|(name, found)| **found > 0 && !lines.contains_key(*name));
        lies.extend(unknown.map(|(name, _)| DeliveryLie::Invented { line: name.clone() }));
        lies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> BTreeMap<String, Line> {
        let a = Line { copies: 2, told: 1, tries: Some(5) };
        let b = Line { copies: 1, told: 0, tries: None };
        BTreeMap::from([("a".to_string(), a), ("b".to_string(), b), ("c".to_string(), Line::default())])
    }

    fn judge(promise: Promise, found: &[(&str, u64)]) -> Vec<DeliveryLie> {
        promise.judge(&lines(), &found.iter().map(|(line, found)| (line.to_string(), *found)).collect())
    }

    fn lost(line: &str, found: u64, least: u64) -> DeliveryLie {
        DeliveryLie::Lost { line: line.to_string(), found, least }
    }

    fn again(line: &str, found: u64, most: u64) -> DeliveryLie {
        DeliveryLie::Again { line: line.to_string(), found, most }
    }

    #[test]
    fn at_least_once_is_every_copy_and_no_more_than_it_was_tried() {
        for fine in [[("a", 2), ("b", 1)], [("a", 5), ("b", 900)]] {
            assert_eq!(judge(Promise::AtLeastOnce, &fine), []);
        }
        assert_eq!(judge(Promise::AtLeastOnce, &[("a", 1)]), [lost("a", 1, 2), lost("b", 0, 1)]);
        assert_eq!(judge(Promise::AtLeastOnce, &[("a", 6), ("b", 1)]), [again("a", 6, 5)]);
    }

    #[test]
    fn at_most_once_is_no_copy_twice_and_each_that_was_told() {
        for fine in [[("a", 1), ("b", 0)], [("a", 2), ("b", 1)]] {
            assert_eq!(judge(Promise::AtMostOnce, &fine), []);
        }
        assert_eq!(judge(Promise::AtMostOnce, &[("b", 2)]), [lost("a", 0, 1), again("b", 2, 1)]);
    }

    #[test]
    fn once_is_every_copy_and_what_nobody_has_is_never_done() {
        assert_eq!(judge(Promise::Once, &[("a", 2), ("b", 1)]), []);
        assert_eq!(judge(Promise::Once, &[("a", 1), ("b", 2)]), [lost("a", 1, 2), again("b", 2, 1)]);
        let invented = |line: &str| DeliveryLie::Invented { line: line.to_string() };
        let lies = judge(Promise::Once, &[("a", 2), ("b", 1), ("c", 1), ("x", 1), ("y", 0)]);
        assert_eq!(lies, [invented("c"), invented("x")]);
        assert_eq!(judge(Promise::AtMostOnce, &[("a", 1), ("c", 1)]), [invented("c")]);
        assert_eq!(lies[1].to_string(), "\"x\" was done, and no depot has it");
        assert_eq!(lost("a", 1, 2).to_string(), "\"a\" was done 1 times, and 2 times is the least");
        assert_eq!(again("a", 3, 2).to_string(), "\"a\" was done 3 times, and 2 times is the most");
    }
}
