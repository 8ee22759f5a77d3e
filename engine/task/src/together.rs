//! Several sources of one topology on one depot: when they stand at the same record they are joined, and process every record from
//! there on together.
//!
//! Of joined sources the first that was declared *leads*: it starts the records and keeps what becomes of them. A record starts with an
//! event for each of them, in one streaming batch; it is done when the events of all are, fails in all when it fails in one, and is
//! tried again or given up in all. Progress passes it in all of them with one entry. What a source had under way before it was
//! joined stays its own. A source waits for one that is a little behind it. None of this is saved: after a restart each stands where
//! its progress does, and those that are apart meet again.

use crate::limit::SOURCES_CLOSE_COUNT;
use crate::source::Source;
use tantu_base::id::Offset;
use tantu_flow::Returns;
use tantu_net::letter::Root;

/// The source that keeps a record of this one.
#[inline]
pub(crate) fn lead_of(sources: &[Source], mut at: usize, offset: Offset) -> usize {
    while let Some((lead, from)) = sources[at].lead
        && offset >= from
    {
        at = lead;
    }
    at
}

fn are_kin(one: &Source, other: &Source) -> bool {
    (one.setup.stream, one.setup.depot) == (other.setup.stream, other.setup.depot)
}

/// The sources of the same topology and depot that no other leads, but this one.
fn free_kin(sources: &[Source], at: usize) -> impl Iterator<Item = usize> {
    let own = &sources[at];
    let count = if own.setup.has_kin && own.lead.is_none() { sources.len() } else { 0 };
    (0..count).filter(move |other| *other != at && are_kin(own, &sources[*other]) && sources[*other].lead.is_none())
}

/// The other sources that process a record together with the one that keeps it.
pub(crate) fn followers(sources: &[Source], lead: usize, offset: Offset) -> impl Iterator<Item = usize> {
    let count = if sources[lead].setup.has_kin { sources.len() } else { 0 };
    (0..count).filter(move |at| *at != lead && lead_of(sources, *at, offset) == lead)
}

/// Joins a source with those that stand at the same record.
pub(crate) fn meet(sources: &mut [Source], at: usize) {
    let found = |sources: &[Source]| free_kin(sources, at).find(|other| sources[at].may_join(&sources[*other]));
    while let Some(other) = found(sources) {
        let (lead, follower) = (at.min(other), at.max(other));
        sources[follower].lead = Some((lead, sources[lead].next()));
    }
}

/// Whether a source waits before it starts further records: one that will soon stand where it does comes after it.
pub(crate) fn waits(sources: &[Source], at: usize) -> bool {
    let own = &sources[at];
    free_kin(sources, at).any(|other| {
        let other = &sources[other];
        let behind = own.next().0.checked_sub(other.next().0);
        let is_near = behind.is_some_and(|behind| (1..=SOURCES_CLOSE_COUNT).contains(&behind));
        (is_near && other.goes_on()) || own.joins_when_done(other)
    })
}

/// Everything below is done for a source.
pub(crate) fn progress_of(sources: &[Source], at: usize) -> Offset {
    let base = sources[at].base();
    match sources[at].lead {
        Some((lead, from)) if base >= from => from.max(progress_of(sources, lead)),
        _ => base,
    }
}

/// Where a restart goes on: what is not retried is not begun again either.
pub(crate) fn restart_of(sources: &[Source], at: usize) -> Offset {
    progress_of(sources, at).max(sources[at].begun_end())
}

/// How many records a source has processed, ever since the topology met the partition: what is done behind one that is not counts, as long
/// as the process lives.
pub(crate) fn processed_count(sources: &[Source], at: usize) -> u64 {
    let base = progress_of(sources, at);
    let (mut keeper, mut from, mut behind) = (at, base, sources[at].done_from(base));
    while let Some((lead, joined_at)) = sources[keeper].lead {
        (keeper, from) = (lead, from.max(joined_at));
        behind += sources[lead].done_from(from);
    }
    sources[at].count_below(base) + behind
}

/// What an event of a record returned goes to the aggregator of its own source.
pub(crate) fn returns<'a>(sources: &'a mut [Source], root: &Root) -> Option<&'a mut Returns> {
    let at = usize::from(root.source);
    let lead = lead_of(sources, at, root.offset);
    sources[lead].record(root)?;
    Some(sources[at].returns(root.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::SavedProgress;
    use crate::source::Report;
    use crate::source::tests::{source_at, start};
    use tantu_base::door::Nanos;
    use tantu_base::id::TaskId;
    use tantu_flow::RetryMode;

    fn two(retry: RetryMode, offsets: [u64; 2]) -> Vec<Source> {
        offsets.map(|offset| source_at(retry, Offset(offset), true)).into()
    }

    fn both(sources: &mut [Source]) -> [Option<(usize, Offset)>; 2] {
        (0..sources.len()).for_each(|at| meet(sources, at));
        [sources[0].lead, sources[1].lead]
    }

    #[test]
    fn a_source_waits_for_one_that_is_near_and_they_go_on_together() {
        let mut s = two(RetryMode::Individual, [12, 10]);
        assert_eq!(both(&mut s), [None, None]);
        assert!(waits(&s, 0) && !waits(&s, 1));
        let old: Vec<Root> = (1..=2).map(|id| start(&mut s[1], 1, id)).collect();
        assert!(!waits(&s, 0), "they stand at the same record");
        assert_eq!(both(&mut s), [None, Some((0, Offset(12)))]);
        assert_eq!(followers(&s, 0, Offset(12)).collect::<Vec<_>>(), [1]);
        assert_eq!(followers(&s, 0, Offset(11)).count(), 0, "it was there alone");
        // A record with an event for each of them.
        let root = start(&mut s[0], 0, 5 ^ 6);
        assert_eq!(lead_of(&s, 1, root.offset), 0);
        assert_eq!((s[0].done(&root, 5), s[0].done(&Root { source: 1, ..root }, 6)), (Report::Nothing, Report::Done));
        assert_eq!((progress_of(&s, 0), progress_of(&s, 1)), (Offset(13), Offset(10)), "its own are under way");
        for (root, id) in old.iter().zip(1..) {
            assert_eq!(lead_of(&s, 1, root.offset), 1);
            assert_eq!(s[1].done(root, id), Report::Done);
        }
        assert_eq!((progress_of(&s, 0), progress_of(&s, 1)), (Offset(13), Offset(13)));
    }

    #[test]
    fn progress_of_a_joined_source_stays_behind_no_record_of_its_own_and_is_never_ahead_of_what_is_done() {
        let mut s = two(RetryMode::Individual, [10, 12]);
        let late: Vec<Root> = (1..=2).map(|id| start(&mut s[0], 0, id)).collect();
        both(&mut s);
        let joined = start(&mut s[0], 0, 3);
        assert_eq!(s[0].done(&joined, 3), Report::Done);
        assert_eq!(
            (progress_of(&s, 0), progress_of(&s, 1)),
            (Offset(10), Offset(12)),
            "the first does records of its own"
        );
        late.iter().zip(1..).for_each(|(root, id)| assert_eq!(s[0].done(root, id), Report::Done));
        assert_eq!((progress_of(&s, 0), progress_of(&s, 1)), (Offset(13), Offset(13)));
    }

    #[test]
    fn where_order_is_kept_sources_join_when_nothing_is_under_way_and_nobody_waits_for_one_that_fails() {
        let mut s = two(RetryMode::AllAfter, [11, 10]);
        let old = start(&mut s[1], 1, 1);
        assert_eq!(both(&mut s), [None, None], "its record would be behind those they have together");
        assert!(waits(&s, 0) && waits(&s, 1));
        s[1].failed(&old, "no", true, Nanos(0));
        assert!(!waits(&s, 0), "who knows how long");
        let again = s[1].restart(TaskId(0), 1, Offset(10), 2, Nanos(u64::MAX / 2));
        assert!(waits(&s, 0) && waits(&s, 1));
        assert_eq!(s[1].done(&again, 2), Report::Done);
        assert_eq!(both(&mut s), [None, Some((0, Offset(11)))]);
        assert!(!waits(&s, 0));
    }

    #[test]
    fn sources_of_which_one_gave_up_a_record_that_is_still_before_the_other_stay_apart_until_both_are_past_it() {
        let mut s = two(RetryMode::Individual, [10, 10]);
        s[0].note_given_up(Offset(11));
        assert_eq!(both(&mut s), [None, None], "the second has 11 to do");
        assert!(!waits(&s, 0) && !waits(&s, 1));
        // The first passes by what it gave up.
        start(&mut s[0], 0, 1);
        assert_eq!(s[0].next(), Offset(12));
        assert!(waits(&s, 0));
        (1..=2).for_each(|id| _ = start(&mut s[1], 1, id));
        assert_eq!(both(&mut s), [None, Some((0, Offset(12)))]);
    }

    #[test]
    fn what_is_done_counts_once_for_each_source_also_behind_what_is_not() {
        let mut s = two(RetryMode::Individual, [10, 12]);
        let late: Vec<Root> = (1..=2).map(|id| start(&mut s[0], 0, id)).collect();
        both(&mut s);
        let joined: Vec<Root> = (3..=5).map(|id| start(&mut s[0], 0, id)).collect();
        let counts = |s: &[Source]| [0, 1].map(|at| processed_count(s, at));
        assert_eq!(counts(&s), [0, 0]);
        s[0].done(&joined[1], 4);
        assert_eq!(counts(&s), [1, 1]);
        s[0].done(&late[1], 2);
        assert_eq!(counts(&s), [2, 1]);
        s[0].done(&joined[0], 3);
        assert_eq!(counts(&s), [3, 2]);
        s[0].done(&late[0], 1);
        assert_eq!(counts(&s), [4, 2]);
        s[0].done(&joined[2], 5);
        assert_eq!(counts(&s), [5, 3]);
    }

    #[test]
    fn a_record_that_is_not_retried_is_not_begun_again_after_a_restart_and_is_kept_until_it_is_done() {
        let saved = |s: &mut [Source]| {
            let base = restart_of(s, 0);
            s[0].take_progress(base).and_then(|bytes| SavedProgress::decode(&bytes))
        };
        let mut s = vec![source_at(RetryMode::None, Offset(10), false)];
        s[0].setup.dead_letter_after = Some(1);
        let roots: Vec<Root> = (1..=3).map(|id| start(&mut s[0], 0, id)).collect();
        s[0].note_begun(Offset(12));
        assert_eq!(saved(&mut s).map(|saved| saved.base()), Some(Offset(12)), "the third waits for its turn");
        assert_eq!((s[0].base(), s[0].saved()), (Offset(10), Offset(10)), "they are under way");
        assert_eq!(processed_count(&s, 0), 0);
        // The second becomes a dead letter, of which progress has nothing to say: it is past it.
        assert_eq!(s[0].failed(&roots[1], "no", true, Nanos(0)), Report::Failed { tries: 1, is_retried: false });
        assert_eq!(s[0].due(Nanos(0)), Some(Offset(11)));
        s[0].give_up(Offset(11));
        assert_eq!(saved(&mut s), None);
        assert_eq!(s[0].done(&roots[0], 1), Report::Done);
        assert_eq!(s[0].saved(), Offset(12));
        assert_eq!(s[0].done(&roots[2], 3), Report::Done);
        let last = saved(&mut s).expect("it moved");
        assert_eq!((last.base(), last.is_given_up(Offset(11))), (Offset(13), false));
        // Others go back to what is not done.
        let mut s = vec![source_at(RetryMode::Individual, Offset(10), false)];
        start(&mut s[0], 0, 1);
        s[0].note_begun(Offset(11));
        assert_eq!(restart_of(&s, 0), Offset(10));
    }

    #[test]
    fn two_that_were_joined_are_joined_with_a_third() {
        let mut s: Vec<Source> = [10, 12, 12].map(|at| source_at(RetryMode::Individual, Offset(at), true)).into();
        (0..3).for_each(|at| meet(&mut s, at));
        assert_eq!((s[1].lead, s[2].lead), (None, Some((1, Offset(12)))));
        let roots: Vec<Root> = (1..=2).map(|id| start(&mut s[0], 0, id)).collect();
        (0..3).for_each(|at| meet(&mut s, at));
        assert_eq!((s[1].lead, s[2].lead), (Some((0, Offset(12))), Some((1, Offset(12)))));
        assert_eq!(followers(&s, 0, Offset(12)).collect::<Vec<_>>(), [1, 2]);
        let root = start(&mut s[0], 0, 3);
        roots.iter().chain([&root]).zip(1..).for_each(|(root, id)| _ = s[0].done(root, id));
        assert_eq!([0, 1, 2].map(|at| progress_of(&s, at)), [Offset(13); 3]);
    }

    #[test]
    fn sources_of_other_topologies_and_of_one_depot_each_stay_apart() {
        let mut s = two(RetryMode::Individual, [10, 10]);
        s[1].setup.stream = 1;
        assert_eq!(both(&mut s), [None, None]);
        let mut s = two(RetryMode::Individual, [10, 10]);
        s[1].setup.depot = 1;
        assert_eq!(both(&mut s), [None, None]);
        assert!(!waits(&s, 0));
    }
}
