//! What becomes of the records of a source, told by its reports.

use super::*;
use crate::limit::GIVEN_UP_RUN_COUNT_MAX;

fn source(retry: RetryMode) -> Source {
    source_at(retry, Offset(10), false)
}

pub(crate) fn source_at(retry: RetryMode, offset: Offset, has_kin: bool) -> Source {
    let setup = SourceSetup {
        stream: 0,
        depot: 0,
        at: Position(0),
        progress: ObjectId(1),
        retry,
        ack_return: AckReturn::default(),
        dead_letter_after: None,
        timeout_ms: 60_000,
        executing_max: 8,
        waits_beyond: false,
        live_from: Offset(10),
        has_kin,
    };
    Source::new(setup, SavedProgress::at(offset))
}

fn fail(source: &mut Source, root: &Root) -> Report {
    source.failed(root, "no", true, Nanos(0))
}

/// The report of a failure of a record's own, after which it is tried again.
fn failed(tries: u32) -> Report {
    Report::Failed { tries, is_retried: true }
}

fn saved(source: &mut Source) -> Option<Offset> {
    source.take_progress(source.base()).map(|bytes| SavedProgress::decode(&bytes).expect("it is progress").base())
}

/// Starts the next record of the source in this place.
pub(crate) fn start(source: &mut Source, place: u16, id: u64) -> Root {
    source.start(TaskId(0), place, id, Nanos(0))
}

#[test]
fn progress_is_the_first_record_that_is_not_done() {
    let mut s = source(RetryMode::Individual);
    let (a, b) = (start(&mut s, 0, 5), start(&mut s, 0, 6));
    assert_eq!(s.done(&b, 6), Report::Done);
    assert_eq!(saved(&mut s), None, "a is still out");
    assert_eq!(s.done(&a, 5 ^ 7 ^ 8), Report::Nothing, "two children are out");
    assert_eq!(s.done(&a, 8), Report::Nothing);
    assert_eq!(s.done(&a, 7), Report::Done);
    assert_eq!(saved(&mut s), Some(Offset(12)));
    assert_eq!(saved(&mut s), None, "saved");
    assert_eq!(s.done(&a, 7), Report::Nothing, "a late report changes nothing");
}

#[test]
fn a_failed_record_is_tried_again_and_reports_of_the_old_try_are_ignored() {
    let mut s = source(RetryMode::Individual);
    let root = start(&mut s, 0, 5);
    assert_eq!(fail(&mut s, &root), failed(1));
    assert_eq!(fail(&mut s, &root), Report::Nothing, "it failed once");
    assert!(s.due(Nanos(0)).is_none(), "it waits a little");
    assert_eq!(s.due(Nanos(0).plus_ms(RETRY_DELAY_MS)), Some(Offset(10)));
    let again = s.restart(TaskId(0), 0, Offset(10), 9, Nanos(0));
    assert_eq!((again.offset, again.attempt), (Offset(10), 1));
    assert_eq!(s.done(&root, 5), Report::Nothing, "the first try is over");
    assert_eq!(s.done(&again, 9), Report::Done);
    assert!(!s.is_busy());
}

#[test]
fn retry_mode_none_drops_a_failed_record() {
    let mut s = source(RetryMode::None);
    let root = start(&mut s, 0, 5);
    assert_eq!(fail(&mut s, &root), Report::Failed { tries: 1, is_retried: false });
    assert_eq!(saved(&mut s), Some(Offset(11)));
}

#[test]
fn without_retries_a_record_whose_batch_another_failed_is_tried_unless_something_was_done_for_it_before() {
    for dead_letter_after in [None, Some(1)] {
        let mut s = source(RetryMode::None);
        s.setup.dead_letter_after = dead_letter_after;
        let [bad, innocent, begun] = [1, 2, 3].map(|id| start(&mut s, 0, id));
        [bad, innocent].iter().for_each(|root| s.note_undone(root.offset));
        assert_eq!(fail(&mut s, &bad), Report::Failed { tries: 1, is_retried: false });
        assert_eq!(s.failed(&innocent, "another's", false, Nanos(0)), failed(0));
        let over = s.failed(&begun, "another's", false, Nanos(0));
        assert_eq!(over, Report::Failed { tries: 0, is_retried: false }, "it would be done twice");
        s.forget_undone();
        assert_eq!(s.is_leaving(Offset(10)), dead_letter_after.is_some());
        while let Some(offset) = s.due(Nanos(0)) {
            s.give_up(offset);
        }
        assert_eq!(s.due(Nanos(0).plus_ms(RETRY_DELAY_MS)), Some(Offset(11)));
        let again = s.restart(TaskId(0), 0, Offset(11), 9, Nanos(0));
        assert_eq!(s.done(&again, 9), Report::Done);
        assert_eq!(
            (s.is_busy(), s.outcome(Offset(11)), s.outcome(Offset(12))),
            (false, Outcome::Done, Outcome::Dropped)
        );
    }
}

#[test]
fn a_source_that_stops_behind_a_record_that_fails_says_so_once() {
    let mut s = source(RetryMode::Individual);
    let bad = start(&mut s, 0, 1);
    fail(&mut s, &bad);
    let end = Offset(u64::MAX);
    while s.has_room() {
        assert!(!s.has_stopped(end));
        let root = start(&mut s, 0, 2);
        s.done(&root, 2);
    }
    assert_eq!(s.window.len(), WINDOW_COUNT_MAX);
    assert!(!s.has_stopped(s.next()), "there is nothing to start");
    assert!(s.has_stopped(end) && !s.has_stopped(end));
    let again = s.restart(TaskId(0), 0, Offset(10), 3, Nanos(0));
    assert!(!s.has_stopped(end), "while it is tried");
    s.done(&again, 3);
    assert!(!s.has_stopped(end) && s.has_room());
}

#[test]
fn retry_mode_all_after_starts_every_later_record_again_in_order() {
    let mut s = source(RetryMode::AllAfter);
    let roots: Vec<Root> = (1..=3).map(|id| start(&mut s, 0, id)).collect();
    assert_eq!(s.done(&roots[2], 3), Report::Done);
    assert_eq!(fail(&mut s, &roots[1]), failed(1));
    assert_eq!(s.done(&roots[0], 1), Report::Done);
    let later = Nanos(0).plus_ms(RETRY_DELAY_MS);
    let again: Vec<Offset> =
        std::iter::from_fn(|| s.due(later).map(|o| s.restart(TaskId(0), 0, o, 1, later).offset)).collect();
    assert_eq!(again, [Offset(11), Offset(12)]);
}

#[test]
fn a_record_that_takes_too_long_is_overdue() {
    let mut s = source(RetryMode::Individual);
    let root = start(&mut s, 0, 5);
    assert!(s.overdue(TaskId(0), 0, Nanos(0)).is_empty());
    assert_eq!(s.overdue(TaskId(0), 0, Nanos(0).plus_ms(60_000)), [root]);
}

#[test]
fn a_record_that_keeps_failing_leaves_after_so_many_tries_of_its_own_and_is_never_started_again() {
    let mut s = source(RetryMode::Individual);
    s.setup.dead_letter_after = Some(2);
    let (before, bad) = (start(&mut s, 0, 4), start(&mut s, 0, 5));
    assert_eq!(s.failed(&bad, "another's", false, Nanos(0)), failed(0), "the batch failed for another record");
    let later = Nanos(0).plus_ms(60_000);
    let again = |s: &mut Source| s.restart(TaskId(0), 0, Offset(11), 9, later);
    let root = again(&mut s);
    assert_eq!(fail(&mut s, &root), failed(1));
    let root = again(&mut s);
    assert_eq!(fail(&mut s, &root), Report::Failed { tries: 2, is_retried: false });
    assert_eq!((s.due(Nanos(0)), s.is_leaving(Offset(11))), (Some(Offset(11)), true));
    s.give_up(Offset(11));
    assert_eq!((s.due(later), s.troubles.tries(Offset(11))), (None, 0));
    let bytes = s.take_progress(s.base()).expect("what was given up is saved before what comes before it is done");
    assert_eq!(bytes, [10u64, 11, 10 | 1 << 62].map(u64::to_le_bytes).concat(), "and from where on it counts");
    assert_eq!(s.done(&before, 4), Report::Done);
    assert_eq!(saved(&mut s), Some(Offset(12)));

    let mut s = Source::new(s.setup, SavedProgress::decode(&bytes).expect("it is progress"));
    assert_eq!(s.next(), Offset(10));
    start(&mut s, 0, 1);
    assert_eq!(s.next(), Offset(12), "what was given up before the restart is passed by");
    assert_eq!(s.pass_by(Offset(20)), 12..12);
}

#[test]
fn a_source_is_not_at_rest_while_a_record_is_on_its_way_to_the_dead_letters() {
    let mut s = source(RetryMode::Individual);
    s.setup.dead_letter_after = Some(4);
    let mut root = start(&mut s, 0, 5);
    for tries in 1..4 {
        assert_eq!(fail(&mut s, &root), failed(tries));
        assert!(!s.is_drained(s.next()), "after {tries} tries it has to be tried again");
        root = s.restart(TaskId(0), 0, Offset(10), 9, Nanos(0).plus_ms(60_000));
    }
    assert_eq!(fail(&mut s, &root), Report::Failed { tries: 4, is_retried: false });
    assert!(!s.is_drained(s.next()), "it has to leave");
    s.give_up(Offset(10));
    assert!(s.is_drained(s.next()));
    s.setup.dead_letter_after = Some(1_000);
    let root = start(&mut s, 0, 5);
    fail(&mut s, &root);
    let root = s.restart(TaskId(0), 0, Offset(11), 9, Nanos(0).plus_ms(60_000));
    fail(&mut s, &root);
    assert!(s.is_drained(s.next()), "that takes too long to wait for");
}

#[test]
fn a_failure_of_another_record_in_the_batch_does_not_count_as_a_try() {
    let mut s = source(RetryMode::Individual);
    s.setup.dead_letter_after = Some(1);
    let root = start(&mut s, 0, 5);
    assert_eq!(s.failed(&root, "another's", false, Nanos(0)), failed(0));
    assert!(!s.is_leaving(Offset(10)));
    assert_eq!(s.due(Nanos(0).plus_ms(RETRY_DELAY_MS)), Some(Offset(10)));
}

#[test]
fn retry_mode_all_after_starts_nothing_behind_a_record_that_waits() {
    let mut s = source(RetryMode::AllAfter);
    let roots: Vec<Root> = (1..=2).map(|id| start(&mut s, 0, id)).collect();
    assert_eq!(fail(&mut s, &roots[1]), failed(1));
    assert!(!s.has_room(), "record 12 would overtake 11");
    assert_eq!(s.failed(&roots[0], "another's", false, Nanos(5)), failed(0));
    let first = Nanos(0).plus_ms(RETRY_DELAY_MS);
    assert_eq!(s.due(first), None, "11 is due, but not before 10");
    assert_eq!(s.next_retry(), Some(Nanos(5).plus_ms(RETRY_DELAY_MS)), "nobody wakes for 11 before that");
    assert_eq!(s.due(Nanos(5).plus_ms(RETRY_DELAY_MS)), Some(Offset(10)));
}

#[test]
fn without_retries_records_are_passed_by_while_too_many_are_under_way() {
    let mut s = source(RetryMode::None);
    s.setup.executing_max = 2;
    s.setup.live_from = Offset(11);
    let first = start(&mut s, 0, 1);
    assert_eq!(s.pass_by(Offset(15)), 11..11, "there is room");
    start(&mut s, 0, 2);
    assert!(!s.has_room() && s.is_throttled(Offset(12)));
    assert_eq!(s.pass_by(Offset(14)), 12..14);
    assert_eq!(s.done(&first, 1), Report::Done);
    assert!(s.has_room() && s.next() == Offset(14));
    s.setup.live_from = Offset(99);
    start(&mut s, 0, 3);
    assert_eq!(s.pass_by(Offset(20)), 15..15, "what was there before the topology waits");
}

#[test]
fn a_record_that_is_processed_again_for_another_one_is_told_of_once() {
    let mut s = source(RetryMode::AllAfter);
    let roots: Vec<Root> = (1..=2).map(|id| start(&mut s, 0, id)).collect();
    assert_eq!(s.done(&roots[1], 2), Report::Done);
    assert_eq!(fail(&mut s, &roots[0]), failed(1));
    let later = Nanos(0).plus_ms(60_000);
    let again: Vec<Root> =
        [10, 11].map(|offset| s.restart(TaskId(0), 0, Offset(offset), 7, later)).into_iter().collect();
    assert_eq!(s.done(&again[1], 7), Report::Again);
    assert_eq!(s.done(&again[0], 7), Report::Done);
}

#[test]
fn what_became_of_a_record_is_known_behind_one_that_is_still_to_be_done_and_after_it() {
    let mut s = source(RetryMode::None);
    let (slow, good, bad) = (start(&mut s, 0, 1), start(&mut s, 0, 2), start(&mut s, 0, 3));
    assert_eq!(s.done(&good, 2), Report::Done);
    fail(&mut s, &bad);
    let outcomes = |s: &Source| [10, 11, 12, 13].map(|offset| s.outcome(Offset(offset)));
    assert_eq!(outcomes(&s), [Outcome::Pending, Outcome::Done, Outcome::Dropped, Outcome::Pending]);
    assert_eq!(s.done(&slow, 1), Report::Done);
    assert_eq!(outcomes(&s), [Outcome::Done, Outcome::Done, Outcome::Dropped, Outcome::Pending]);
    s.setup.executing_max = 1;
    start(&mut s, 0, 4);
    assert_eq!((s.pass_by(Offset(16)), s.outcome(Offset(15))), (14..16, Outcome::Dropped));
    // They are forgotten at last, so that they take no more than so much room.
    for id in 0..4 * DROPPED_RUN_COUNT_MAX as u64 {
        s.setup.executing_max = 8;
        let root = start(&mut s, 0, id + 5);
        if id % 2 == 0 {
            fail(&mut s, &root)
        } else {
            s.done(&root, id + 5)
        };
    }
    assert!(s.dropped.range_count() <= DROPPED_RUN_COUNT_MAX);
    assert_eq!(s.outcome(Offset(12)), Outcome::Done);
}

#[test]
fn records_that_are_given_up_here_and_there_behind_a_slow_one_do_not_fill_every_entry() {
    let mut s = source(RetryMode::Individual);
    (s.setup.dead_letter_after, s.setup.executing_max) = (Some(1), 8_192);
    let slow = start(&mut s, 0, 1);
    let give_up_due = |s: &mut Source| {
        while let Some(offset) = s.due(Nanos(0)) {
            s.give_up(offset);
        }
    };
    for id in 2..2 + 4 * GIVEN_UP_RUN_COUNT_MAX as u64 {
        let root = start(&mut s, 0, id);
        if id % 2 == 0 {
            fail(&mut s, &root)
        } else {
            s.done(&root, id)
        };
        give_up_due(&mut s);
    }
    let size = s.take_progress(s.base()).map_or(0, |bytes| bytes.len());
    assert!(size <= 16 + 16 * GIVEN_UP_RUN_COUNT_MAX, "{size} bytes");
    assert_eq!(s.next_retry(), None, "nobody wakes for those that cannot leave yet");
    // The rest leaves when the slow one is done.
    assert_eq!(s.done(&slow, 1), Report::Done);
    while s.is_busy() {
        give_up_due(&mut s);
        s.take_progress(s.base());
    }
    assert_eq!(s.base(), s.next());
}

#[test]
fn what_a_source_without_progress_gives_up_is_noted_nowhere_for_ever() {
    let mut s = source(RetryMode::Individual);
    (s.setup.dead_letter_after, s.is_durable) = (Some(1), false);
    for id in 0..100_000 {
        let root = start(&mut s, 0, id);
        if id % 2 == 0 {
            fail(&mut s, &root)
        } else {
            s.done(&root, id)
        };
        s.due(Nanos(0)).into_iter().for_each(|offset| s.give_up(offset));
    }
    assert_eq!((s.kept.encode().len(), s.dropped.range_count()), (16, DROPPED_RUN_COUNT_MAX));
}

#[test]
fn a_record_that_fails_for_ever_does_not_stop_those_behind_it() {
    let mut s = source(RetryMode::Individual);
    s.setup.executing_max = 1;
    let bad = start(&mut s, 0, 1);
    assert_eq!(fail(&mut s, &bad), failed(1));
    for id in 2..10_000 {
        assert!(s.has_room(), "{id}");
        let root = start(&mut s, 0, id);
        assert_eq!(s.done(&root, id), Report::Done);
    }
    let later = Nanos(0).plus_ms(60_000);
    assert_eq!((s.base(), s.due(later)), (Offset(10), Some(Offset(10))));
    assert!(!s.is_drained(s.next()), "it failed once only");
    let root = s.restart(TaskId(0), 0, Offset(10), 1, later);
    assert_eq!(fail(&mut s, &root), failed(2));
    assert!(s.is_drained(s.next()) && !s.is_drained(Offset(u64::MAX)));
}
