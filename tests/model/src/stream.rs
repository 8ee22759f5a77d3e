//! At least once: which word counts a stream topology may end with, given what a client sent and was told.
//!
//! A stream event counts its line's words on many tasks, each on its own. A failed attempt may have counted some of the
//! words and the next attempt counts all of them again. So the bounds hold word by word, and nothing stronger does:
//! every line that must have been processed counts once at least, every line that may have been counts at most as
//! often as it was attempted, and a word that is in no line counts never.

use crate::word::{WordCounts, count, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names one submitted line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LineId(pub usize);

#[derive(Clone, Debug)]
struct Line {
    text: String,
    /// Whether its words must be counted: it was acknowledged, or it is in the depot and everything has come to rest.
    owed: bool,
    /// How often its words can have been counted, if that is known.
    attempts_max: Option<u64>,
}

/// What a final count says that cannot be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StreamLie {
    /// A word is counted less often than the lines that must be counted hold it.
    Lost {
        /// The word.
        word: String,
        /// Its count.
        found: u64,
        /// How often those lines hold it.
        least: u64,
        /// The first of those lines.
        line: LineId,
    },
    /// A word is counted more often than all attempts at all lines together explain.
    Overcounted {
        /// The word.
        word: String,
        /// Its count.
        found: u64,
        /// What is explained.
        most: u64,
    },
    /// A word that is in no submitted line.
    Invented {
        /// The word.
        word: String,
        /// Its count.
        found: u64,
    },
}

impl fmt::Display for StreamLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamLie::Lost { word, found, least, line } => {
                write!(
                    f,
                    "{word:?} is counted {found} times, but must be at least {least} times, first because of line {}",
                    line.0
                )
            }
            StreamLie::Overcounted { word, found, most } => {
                write!(f, "{word:?} is counted {found} times, but all attempts explain only {most}")
            }
            StreamLie::Invented { word, found } => write!(f, "{word:?} is counted {found} times and was never sent"),
        }
    }
}

/// The lines a client submitted, and what it knows of each.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: Vec<Line>,
}

impl Lines {
    /// Notes a line about to be sent. Nothing is known yet: it may be counted any number of times, or never.
    pub fn submit(&mut self, text: &str) -> LineId {
        self.lines.push(Line { text: text.to_string(), owed: false, attempts_max: None });
        LineId(self.lines.len() - 1)
    }

    /// Notes that the line was acknowledged as processed.
    pub fn ack(&mut self, line: LineId) {
        self.lines[line.0].owed = true;
    }

    /// Notes that the line's words can have been counted so often at most: number of appends times attempts of each.
    pub fn limit_attempts(&mut self, line: LineId, count: u64) {
        self.lines[line.0].attempts_max = Some(count);
    }

    /// Says that the line must be counted, since the depot holds it and the topology has come to rest.
    pub fn owe(&mut self, line: LineId) {
        self.lines[line.0].owed = true;
    }

    /// How many lines must be counted.
    pub fn owed_count(&self) -> usize {
        self.lines.iter().filter(|line| line.owed).count()
    }

    /// The text of a line.
    pub fn text(&self, line: LineId) -> &str {
        &self.lines[line.0].text
    }

    /// Everything that cannot be about these counts; nothing if they can be believed.
    pub fn judge(&self, found: &WordCounts) -> Vec<StreamLie> {
        let mut least: BTreeMap<&str, (u64, LineId)> = BTreeMap::new();
        let mut most: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for (index, line) in self.lines.iter().enumerate() {
            for word in words(&line.text) {
                if line.owed {
                    least.entry(word).or_insert((0, LineId(index))).0 += 1;
                }
                let most = most.entry(word).or_insert(Some(0));
                *most = most.zip(line.attempts_max).map(|(most, attempts)| most.saturating_add(attempts));
            }
        }
        let mut lies: BTreeSet<StreamLie> = BTreeSet::new();
        for (word, (least, line)) in least {
            let found = found.get(word).copied().unwrap_or_default();
            if found < least {
                lies.insert(StreamLie::Lost { word: word.to_string(), found, least, line });
            }
        }
        for (word, found) in found.iter().filter(|(_, found)| **found > 0) {
            let (word, found) = (word.clone(), *found);
            match most.get(word.as_str()) {
                None => lies.insert(StreamLie::Invented { word, found }),
                Some(Some(most)) if found > *most => lies.insert(StreamLie::Overcounted { word, found, most: *most }),
                Some(_) => false,
            };
        }
        lies.into_iter().collect()
    }

    /// What exactly-once counting of all lines that must be counted gives. The right answer of a run without faults.
    pub fn exact(&self) -> WordCounts {
        count(self.lines.iter().filter(|line| line.owed).map(|line| line.text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> WordCounts {
        pairs.iter().map(|(word, count)| (word.to_string(), *count)).collect()
    }

    /// Two acknowledged lines, one attempt each at most twice; one line without an answer.
    fn lines() -> Lines {
        let mut lines = Lines::default();
        for text in ["a b a", "b c"] {
            let line = lines.submit(text);
            lines.ack(line);
            lines.limit_attempts(line, 2);
        }
        let unknown = lines.submit("d");
        lines.limit_attempts(unknown, 1);
        lines
    }

    #[test]
    fn counts_between_once_and_as_often_as_attempted_can_be_believed() {
        let lines = lines();
        assert_eq!(lines.exact(), counts(&[("a", 2), ("b", 2), ("c", 1)]));
        assert_eq!(lines.owed_count(), 2);
        assert_eq!(lines.text(LineId(2)), "d");
        for honest in [
            counts(&[("a", 2), ("b", 2), ("c", 1)]),
            counts(&[("a", 4), ("b", 2), ("c", 1), ("d", 1)]),
            counts(&[("a", 3), ("b", 4), ("c", 2), ("d", 0)]),
        ] {
            assert_eq!(lines.judge(&honest), []);
        }
    }

    #[test]
    fn a_planted_lost_line_is_caught() {
        let mut lines = lines();
        let lost = lines.submit("c e");
        lines.ack(lost);
        let lies = lines.judge(&counts(&[("a", 2), ("b", 2), ("c", 1)]));
        assert_eq!(lies.len(), 2);
        assert_eq!(lies[1], StreamLie::Lost { word: "e".into(), found: 0, least: 1, line: lost });
        assert!(lies[0].to_string().contains("\"c\" is counted 1 times, but must be at least 2"), "{}", lies[0]);
    }

    #[test]
    fn a_line_without_an_answer_is_owed_once_it_is_known_to_be_in_the_depot() {
        let mut lines = lines();
        let found = counts(&[("a", 2), ("b", 2), ("c", 1)]);
        assert_eq!(lines.judge(&found), []);
        lines.owe(LineId(2));
        assert_eq!(lines.judge(&found), [StreamLie::Lost { word: "d".into(), found: 0, least: 1, line: LineId(2) }]);
    }

    #[test]
    fn an_invented_word_and_one_counted_too_often_are_caught() {
        let lies = lines().judge(&counts(&[("a", 5), ("b", 2), ("c", 1), ("d", 2), ("x", 1), ("y", 0)]));
        assert_eq!(
            lies,
            [
                StreamLie::Overcounted { word: "a".into(), found: 5, most: 4 },
                StreamLie::Overcounted { word: "d".into(), found: 2, most: 1 },
                StreamLie::Invented { word: "x".into(), found: 1 },
            ]
        );
        assert!(lies[2].to_string().contains("never sent"));
    }

    #[test]
    fn without_a_limit_of_attempts_a_word_may_be_counted_any_number_of_times() {
        let mut lines = Lines::default();
        let line = lines.submit("a");
        lines.ack(line);
        assert_eq!(lines.judge(&counts(&[("a", 1_000_000)])), []);
        let limited = lines.submit("a");
        lines.limit_attempts(limited, 1);
        assert_eq!(lines.judge(&counts(&[("a", 1_000_000)])), [], "one line without a limit explains any count");
    }
}
