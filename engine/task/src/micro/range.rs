//! Which records of a partition the next microbatch has: at most so many for a source, and the same for sources of one depot as soon as
//! they stand at the same.

use crate::micro::record::Range;
use std::time::Duration;
use tantu_base::id::Offset;

/// By source: the others that read the same depot. Ticks are no records that others have too.
pub(crate) fn kin(depots: &[usize], ticks: &[Option<Duration>]) -> Vec<Vec<usize>> {
    let are = |one: usize, other: usize| one != other && depots[one] == depots[other] && ticks[one].is_none();
    (0..depots.len()).map(|one| (0..depots.len()).filter(|other| are(one, *other)).collect()).collect()
}

/// The records of a source that the next microbatch has of a partition, of which it has processed those below `from` and `end` are
/// committed, while the others on the depot have processed those below `kin`. One that reaches another with this microbatch stops
/// there, and that one waits for it.
pub(crate) fn next_range((from, end): Range, kin: impl Iterator<Item = Offset>, most: u64) -> Range {
    let mut to = end.0.min(from.0.saturating_add(most));
    for other in kin {
        if other > from && other.0 - from.0 <= most {
            to = to.min(other.0);
        } else if from > other && from.0 - other.0 <= most {
            to = from.0;
        }
    }
    // Of a partition that has told nothing yet, it may be known how far it was processed and not where it ends.
    (from, Offset(to.max(from.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: &mut [u64], end: u64, most: u64) -> Vec<(u64, u64)> {
        let range = |at: usize| {
            let others = (0..from.len()).filter(|other| *other != at).map(|other| Offset(from[other]));
            next_range((Offset(from[at]), Offset(end)), others, most)
        };
        let ranges: Vec<_> = (0..from.len()).map(range).map(|(from, to)| (from.0, to.0)).collect();
        from.iter_mut().zip(&ranges).for_each(|(from, (_, to))| *from = *to);
        ranges
    }

    #[test]
    fn a_source_alone_has_at_most_so_many_records_and_none_while_the_end_is_not_known() {
        assert_eq!(step(&mut [5], 8, 10), [(5, 8)]);
        assert_eq!(step(&mut [5], 80, 10), [(5, 15)]);
        assert_eq!(step(&mut [5], 0, 10), [(5, 5)]);
        assert_eq!(step(&mut [u64::MAX - 3], u64::MAX, 10), [(u64::MAX - 3, u64::MAX)]);
    }

    #[test]
    fn sources_that_come_near_meet_and_then_have_the_same_records() {
        let mut from = [0, 25];
        assert_eq!(step(&mut from, 100, 10), [(0, 10), (25, 35)], "they are far apart");
        assert_eq!(step(&mut from, 35, 10), [(10, 20), (35, 35)]);
        assert_eq!(step(&mut from, 35, 10), [(20, 30), (35, 35)]);
        assert_eq!(step(&mut from, 60, 10), [(30, 35), (35, 35)], "one waits for the other");
        assert_eq!(step(&mut from, 60, 10), [(35, 45), (35, 45)]);
        assert_eq!(step(&mut from, 60, 10), [(45, 55), (45, 55)]);
        assert_eq!(step(&mut from, 60, 10), [(55, 60), (55, 60)]);
    }

    #[test]
    fn three_sources_meet_wherever_they_begin() {
        for begin in [[0, 4, 9], [9, 0, 4], [3, 50, 51], [7, 7, 30], [0, 10, 20]] {
            let (mut from, mut count) = (begin, 0);
            while from != [60; 3] {
                let before = from;
                let ranges = step(&mut from, 60, 10);
                assert_ne!(before, from, "{begin:?}: nobody waits for ever");
                let is_alike =
                    |(one, other): (usize, usize)| before[one] != before[other] || ranges[one] == ranges[other];
                assert!([(0, 1), (0, 2), (1, 2)].into_iter().all(is_alike), "{begin:?}: {ranges:?}");
                count += 1;
            }
            assert!(count <= 20, "{begin:?}: {count}");
        }
    }

    #[test]
    fn sources_of_one_depot_know_of_each_other_but_those_of_ticks_do_not() {
        let tick = Some(Duration::from_millis(1));
        let expected: Vec<Vec<usize>> = vec![vec![2], vec![], vec![0], vec![]];
        assert_eq!(kin(&[3, 4, 3, 4], &[None, tick, None, tick]), expected);
    }
}
