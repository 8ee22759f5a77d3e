//! Records that always fail: each becomes one dead letter, and those that do not fail become none.
//!
//! A topology gives a record up after so many failed tries of its own. A record whose code never fails may still have been thrown
//! at by whoever tests; so many throws as there were excuse so many tries of such records, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a record is: its partition and its offset there.
pub type Place = (u32, u64);

/// A record of the depot that is processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Processed {
    /// Whether its code fails each time.
    pub is_poison: bool,
    /// Whether something of what its code writes is there.
    pub has_effect: bool,
}

/// A record among the dead letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dead {
    /// Where it says it was.
    pub place: Place,
    /// In which partition of the dead letters it is.
    pub found_in: u32,
    /// How often it says it was tried.
    pub tries: u64,
    /// Whether its bytes are those of the record at its place.
    pub is_same: bool,
}

/// What cannot be about dead letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LetterLie {
    /// A record is there more than once.
    Twice(Place),
    /// A record that always fails is neither done nor there.
    Missing(Place),
    /// What a failing record wrote is there.
    Effect(Place),
    /// A record that does not fail is neither done nor there.
    Lost(Place),
    /// No such record is there, or it holds something else, or it is on another task.
    Invented(Place),
    /// It was given up too soon.
    Hasty(Place),
    /// More records without fault were given up than throws excuse.
    Innocent(usize),
}

impl fmt::Display for LetterLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, what) = match self {
            LetterLie::Innocent(count) => return write!(f, "{count} records without fault were given up"),
            LetterLie::Twice(place) => (place, "is among the dead letters twice"),
            LetterLie::Missing(place) => (place, "always fails and is not among the dead letters"),
            LetterLie::Effect(place) => (place, "always fails, and what it wrote is there"),
            LetterLie::Lost(place) => (place, "was not processed and is not among the dead letters"),
            LetterLie::Invented(place) => (place, "is a dead letter of something else than its depot has there"),
            LetterLie::Hasty(place) => (place, "was given up too soon"),
        };
        write!(f, "the record {}/{} {what}", place.0, place.1)
    }
}

/// Everything that is wrong about the dead letters of a depot all of whose records were processed, where a record leaves after so
/// many tries, and code that does not fail of itself was thrown at so often.
pub fn judge(records: &BTreeMap<Place, Processed>, dead: &[Dead], tries: u64, throws: u64) -> Vec<LetterLie> {
    let (mut lies, mut gone) = (Vec::new(), BTreeSet::new());
    let mut innocent = 0;
    for letter in dead {
        let place = letter.place;
        if !gone.insert(place) {
            lies.push(LetterLie::Twice(place));
        }
        if letter.tries < tries {
            lies.push(LetterLie::Hasty(place));
        }
        match records.get(&place) {
            Some(record) if letter.is_same && letter.found_in == place.0 => innocent += usize::from(!record.is_poison),
            _ => lies.push(LetterLie::Invented(place)),
        }
    }
    if innocent as u64 * tries > throws {
        lies.push(LetterLie::Innocent(innocent));
    }
    for (place, record) in records {
        let is_gone = gone.contains(place);
        match (record.is_poison, record.has_effect) {
            (true, true) => lies.push(LetterLie::Effect(*place)),
            (true, false) if !is_gone => lies.push(LetterLie::Missing(*place)),
            (false, false) if !is_gone => lies.push(LetterLie::Lost(*place)),
            _ => {}
        }
    }
    lies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> BTreeMap<Place, Processed> {
        let poison = Processed { is_poison: true, has_effect: false };
        let fine = Processed { is_poison: false, has_effect: true };
        BTreeMap::from([((0, 0), fine), ((0, 1), poison), ((1, 0), poison)])
    }

    fn letter(partition: u32, offset: u64) -> Dead {
        Dead { place: (partition, offset), found_in: partition, tries: 3, is_same: true }
    }

    #[test]
    fn each_poisoned_record_is_there_once_and_no_other_is() {
        assert_eq!(judge(&records(), &[letter(1, 0), letter(0, 1)], 3, 0), []);
        assert_eq!(judge(&records(), &[letter(1, 0)], 3, 0), [LetterLie::Missing((0, 1))]);
        let twice = judge(&records(), &[letter(1, 0), letter(0, 1), letter(1, 0)], 3, 0);
        assert_eq!(twice, [LetterLie::Twice((1, 0))]);
        assert!(twice[0].to_string().contains("1/0 is among the dead letters twice"), "{}", twice[0]);
    }

    #[test]
    fn a_record_without_fault_is_given_up_only_if_it_was_thrown_at_often_enough() {
        let dead = [letter(1, 0), letter(0, 1), letter(0, 0)];
        assert_eq!(judge(&records(), &dead, 3, 3), []);
        assert_eq!(judge(&records(), &dead, 3, 2), [LetterLie::Innocent(1)]);
    }

    #[test]
    fn what_is_neither_done_nor_given_up_is_lost_and_what_failed_leaves_nothing() {
        let mut records = records();
        records.insert((0, 0), Processed { is_poison: false, has_effect: false });
        records.insert((0, 1), Processed { is_poison: true, has_effect: true });
        let lies = judge(&records, &[letter(1, 0), letter(0, 1)], 3, 0);
        assert_eq!(lies, [LetterLie::Lost((0, 0)), LetterLie::Effect((0, 1))]);
    }

    #[test]
    fn a_letter_of_another_record_from_another_task_or_too_soon_is_caught() {
        for wrong in [Dead { is_same: false, ..letter(0, 1) }, Dead { found_in: 1, ..letter(0, 1) }] {
            assert_eq!(judge(&records(), &[letter(1, 0), wrong], 3, 0), [LetterLie::Invented((0, 1))]);
        }
        let unknown = [letter(1, 0), letter(0, 1), letter(2, 9)];
        assert_eq!(judge(&records(), &unknown, 3, 0), [LetterLie::Invented((2, 9))]);
        let hasty = [letter(1, 0), Dead { tries: 2, ..letter(0, 1) }];
        assert_eq!(judge(&records(), &hasty, 3, 0), [LetterLie::Hasty((0, 1))]);
    }
}
