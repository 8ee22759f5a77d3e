//! The coordinator alone: what it wants done, told what happened. No disk, no rings, no clock.

use super::coordinator::{Act, Coordinator, Known, Setting};
use super::record::{Fixed, Record, decode_decided, decode_finished, encode_decided, encode_finished};
use std::sync::Arc;
use std::time::Duration;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Attempt, Epoch, ObjectId, Offset, RunId, TaskId};
use tantu_flow::{MicrobatchOptions, Module, Plan, Setup, Topologies, define, random};
use tantu_net::letter::{MicrobatchAsk, MicrobatchSays};

const TOPOLOGY: ObjectId = ObjectId(7);
const SOURCE: ObjectId = ObjectId(8);
const TASKS: [TaskId; 2] = [TaskId(0), TaskId(1)];
/// The epochs of the two threads.
const EPOCHS: [Epoch; 2] = [Epoch(5), Epoch(9)];

struct Nothing;

impl Module for Nothing {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*depot", random());
        topologies.microbatch("nothing").source(&depot, |_, _| {});
    }
}

fn plan() -> Arc<Plan> {
    Arc::clone(&define::<Nothing>().expect("it is right").microbatches[0].plan)
}

fn at_ms(ms: u64) -> Nanos {
    Nanos(0).plus_ms(ms)
}

fn started(known: Known) -> Coordinator {
    started_with(known, None)
}

/// The source is a tick depot if it has a period.
fn started_with(known: Known, period: Option<Duration>) -> Coordinator {
    let options = MicrobatchOptions {
        max_records: 10,
        phase_timeout: Duration::from_millis(1_000),
        ..MicrobatchOptions::default()
    };
    let setting = Setting {
        name: "counter".to_string(),
        options,
        topology: TOPOLOGY,
        sources: vec![SOURCE],
        depots: vec![0],
        ticks: vec![period],
        epoch: EPOCHS[0],
        task_count: 2,
        thread_count: 2,
    };
    Coordinator::new(setting, known, at_ms(0))
}

/// What is said to which tasks, and what is written.
fn said(acts: &[Act]) -> (Vec<(MicrobatchSays, TaskId)>, Vec<Record>) {
    let letters =
        acts.iter().filter_map(|act| if let Act::Tell { says, to, .. } = act { Some((*says, *to)) } else { None });
    let written = acts.iter().filter_map(|act| if let Act::Write { record, .. } = act { Some(*record) } else { None });
    (letters.collect(), written.collect())
}

fn to_both(says: MicrobatchSays) -> Vec<(MicrobatchSays, TaskId)> {
    TASKS.map(|task| (says, task)).into()
}

fn run(id: u64, counter: u32) -> RunId {
    RunId { topology: TOPOLOGY, id, attempt: Attempt { epoch: EPOCHS[0], counter } }
}

/// Both tasks tell of 12 and 3 records.
fn with_records(coordinator: &mut Coordinator, now: Nanos) -> Vec<Act> {
    coordinator.ends(TASKS[0], &[(Offset(0), Offset(12))], false, now);
    let first = coordinator.take_acts();
    coordinator.ends(TASKS[1], &[(Offset(0), Offset(3))], false, now);
    [first, coordinator.take_acts()].concat()
}

fn prime_both(coordinator: &mut Coordinator, run: RunId, now: Nanos) {
    TASKS.iter().zip(EPOCHS).for_each(|(task, epoch)| coordinator.primed(*task, run, epoch, now));
}

/// Leads an attempt that was primed to the end of its processing.
fn process(coordinator: &mut Coordinator, run: RunId, now: Nanos) {
    coordinator.sent(run, 3);
    coordinator.done(run, 3 ^ 4);
    assert!(coordinator.take_acts().iter().all(|act| !matches!(act, Act::GoOn { .. })), "an event is out");
    coordinator.done(run, 4);
    assert!(matches!(coordinator.take_acts()[..], [Act::GoOn { .. }]));
    assert!(coordinator.next_stage(run, &plan(), now).is_none(), "there are no batch blocks");
}

fn prepare_both(coordinator: &mut Coordinator, run: RunId, now: Nanos) {
    TASKS.iter().zip(EPOCHS).for_each(|(task, epoch)| coordinator.prepared(*task, run, epoch, now));
}

#[test]
fn a_microbatch_goes_through_its_phases_and_nothing_is_published_before_the_decision_is_durable() {
    let mut c = started(Known::default());
    let now = at_ms(1);
    // Task 0 alone has records at first; those of task 1 come too late for the first microbatch.
    let (letters, written) = said(&with_records(&mut c, now));
    assert_eq!((letters, written), (to_both(MicrobatchSays::Prime), vec![Record::Fixed]));
    let first = run(1, 0);
    prime_both(&mut c, first, now);
    assert!(c.take_acts().is_empty(), "its records are not durable yet");
    c.written(Record::Fixed, now);
    let acts = c.take_acts();
    assert_eq!(said(&acts).0, to_both(MicrobatchSays::Begin));
    assert!(matches!(acts.last(), Some(Act::Start { epochs, .. }) if epochs[..] == EPOCHS));
    process(&mut c, first, now);
    assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Prepare));
    c.prepared(TASKS[0], first, EPOCHS[0], now);
    assert!(c.take_acts().is_empty(), "one is missing");
    c.prepared(TASKS[1], first, EPOCHS[1], now);
    assert_eq!(said(&c.take_acts()), (vec![], vec![Record::Decided]), "nothing is told before it is durable");
    c.written(Record::Decided, now);
    assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Publish));
    c.published(TASKS[1], first, now);
    c.published(TASKS[1], first, now);
    assert!(c.take_acts().is_empty() && c.status() == (0, 0, false));
    c.published(TASKS[0], first, now);
    assert_eq!(said(&c.take_acts()), (vec![], vec![Record::Finished]));
    assert_eq!(c.status(), (0, 0, false), "it is not durable yet");
    c.written(Record::Finished, now);
    assert_eq!(c.status(), (1, 10, false), "at most ten of a partition");
    let (letters, written) = said(&c.take_acts());
    let expected = [to_both(MicrobatchSays::Finished), to_both(MicrobatchSays::Prime)].concat();
    assert_eq!((letters, written), (expected, vec![Record::Fixed]), "the rest is next");
}

#[test]
fn letters_of_other_attempts_and_other_epochs_change_nothing() {
    let mut c = started(Known::default());
    let now = at_ms(1);
    with_records(&mut c, now);
    c.written(Record::Fixed, now);
    let (mine, other) = (run(1, 0), run(1, 1));
    prime_both(&mut c, other, now);
    prime_both(&mut c, run(2, 0), now);
    c.published(TASKS[0], mine, now);
    prepare_both(&mut c, mine, now);
    assert!(c.take_acts().is_empty(), "nobody was primed");
    prime_both(&mut c, mine, now);
    c.take_acts();
    c.done(other, 5);
    c.failed(other, "late", now);
    process(&mut c, mine, now);
    c.take_acts();
    c.prepared(TASKS[0], mine, EPOCHS[0], now);
    c.prepared(TASKS[1], mine, Epoch(EPOCHS[1].0 + 1), now);
    c.prepared(TASKS[1], other, EPOCHS[1], now);
    assert!(c.take_acts().is_empty(), "task 1 lost its writes: its epoch is another");
}

#[test]
fn a_failed_attempt_is_followed_by_another_with_the_same_records() {
    let mut c = started(Known::default());
    let acts = with_records(&mut c, at_ms(1));
    let fixed =
        acts.iter().find_map(|act| if let Act::Write { value, .. } = act { Fixed::decode(value).ok() } else { None });
    let expected = vec![(SOURCE, vec![(Offset(0), Offset(10)), (Offset(0), Offset(0))])];
    assert_eq!(fixed, Some(Fixed { id: 1, ranges: expected }));
    c.written(Record::Fixed, at_ms(1));
    let mut delays = Vec::new();
    for counter in 0..12u32 {
        prime_both(&mut c, run(1, counter), at_ms(2));
        let begin = c.take_acts();
        assert!(matches!(begin.last(), Some(Act::Start { .. })), "attempt {counter}: {begin:?}");
        let Some(Act::Tell { body, .. }) = begin.first() else { panic!("it tells task 0 to begin") };
        let to = u64::from_le_bytes(body[body.len() - 8..].try_into().expect("eight bytes"));
        assert_eq!(to, 10, "the same records, though there are more by now");
        c.ends(TASKS[0], &[(Offset(0), Offset(100 + u64::from(counter)))], false, at_ms(2));
        c.failed(run(1, counter), "it broke", at_ms(2));
        c.failed(run(1, counter), "it broke twice", at_ms(2));
        assert_eq!(c.failing(), Some((1, counter + 1, "it broke")));
        assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Abandon));
        let wake = c.wake_at().expect("it waits");
        delays.push(wake.since(at_ms(2)) / 1_000_000);
        c.tick(wake);
        assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Prime), "attempt {counter}");
    }
    assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_000, 5_000, 5_000, 5_000]);
}

#[test]
fn a_phase_that_takes_too_long_is_given_up_before_the_decision_and_never_after() {
    let mut c = started(Known::default());
    with_records(&mut c, at_ms(0));
    c.written(Record::Fixed, at_ms(0));
    c.tick(at_ms(999));
    assert!(c.take_acts().is_empty());
    c.tick(at_ms(1_000));
    assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Abandon));
    c.tick(at_ms(1_020));
    c.take_acts();
    let second = run(1, 1);
    prime_both(&mut c, second, at_ms(1_020));
    process(&mut c, second, at_ms(1_020));
    prepare_both(&mut c, second, at_ms(1_500));
    c.take_acts();
    c.failed(second, "too late", at_ms(1_500));
    c.tick(at_ms(1_000_000));
    assert!(c.take_acts().is_empty() && c.wake_at().is_none(), "the decision is on its way");
    c.written(Record::Decided, at_ms(1_000_000));
    c.published(TASKS[0], second, at_ms(1_000_000));
    c.take_acts();
    c.tick(c.wake_at().expect("it asks again"));
    assert_eq!(said(&c.take_acts()).0, vec![(MicrobatchSays::Publish, TASKS[1])], "only who has not answered");
}

fn fixed() -> Fixed {
    Fixed { id: 4, ranges: vec![(SOURCE, vec![(Offset(30), Offset(35)), (Offset(1), Offset(2))])] }
}

#[test]
fn a_restart_after_the_decision_publishes_and_one_after_the_end_goes_on() {
    let decided = RunId { topology: TOPOLOGY, id: 4, attempt: Attempt { epoch: Epoch(2), counter: 6 } };
    let mut c = started(Known { fixed: Some(fixed()), decided: Some(decided), finished: (3, 90), paused: false });
    assert_eq!(said(&c.take_acts()), (to_both(MicrobatchSays::Publish), vec![]));
    TASKS.iter().for_each(|task| c.published(*task, decided, at_ms(1)));
    let acts = c.take_acts();
    let [Act::Write { record: Record::Finished, value }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(decode_finished(value), Ok((4, 96)));
    c.written(Record::Finished, at_ms(1));
    c.take_acts();
    assert!(c.is_quiet());
    // A partition tells what it had before the publish: those records are not taken again.
    c.ends(TASKS[0], &[(Offset(30), Offset(35))], false, at_ms(2));
    assert!(c.take_acts().is_empty() && c.is_quiet());
    let finished = Known { fixed: Some(fixed()), decided: Some(decided), finished: (4, 96), paused: false };
    let mut again = started(finished);
    again.ends(TASKS[0], &[(Offset(30), Offset(35))], false, at_ms(2));
    assert!(again.take_acts().is_empty() && again.status() == (4, 96, false));
}

#[test]
fn a_partition_that_has_told_nothing_since_a_restart_has_no_records_in_the_next_microbatch() {
    let mut c = started(Known { fixed: Some(fixed()), decided: None, finished: (4, 96), paused: false });
    c.ends(TASKS[0], &[(Offset(35), Offset(37))], false, at_ms(1));
    let acts = c.take_acts();
    let value = acts.iter().find_map(|act| if let Act::Write { value, .. } = act { Some(value) } else { None });
    let found = Fixed::decode(value.expect("there are records")).expect("it can be read");
    assert_eq!(found.ranges, [(SOURCE, vec![(Offset(35), Offset(37)), (Offset(2), Offset(2))])]);
}

#[test]
fn a_restart_before_the_decision_tries_the_same_records_again() {
    let old = RunId { topology: TOPOLOGY, id: 3, attempt: Attempt { epoch: Epoch(4), counter: 1 } };
    let mut c = started(Known { fixed: Some(fixed()), decided: Some(old), finished: (3, 90), paused: false });
    c.tick(at_ms(1));
    c.ends(TASKS[0], &[(Offset(30), Offset(36))], false, at_ms(1));
    let acts = said(&c.take_acts());
    assert_eq!(acts, (vec![], vec![Record::Fixed]), "its records are written once more, in the new epoch");
    c.ends(TASKS[1], &[(Offset(1), Offset(2))], false, at_ms(1));
    assert_eq!(said(&c.take_acts()), (to_both(MicrobatchSays::Prime), vec![]));
    prime_both(&mut c, run(4, 0), at_ms(1));
    assert!(c.take_acts().is_empty(), "the epoch is not durable yet");
    c.written(Record::Fixed, at_ms(1));
    let acts = c.take_acts();
    let Some(Act::Tell { body, to, .. }) = acts.get(1) else { panic!("{acts:?}") };
    assert_eq!((*to, &body[16..]), (TASKS[1], &[1u64.to_le_bytes(), 2u64.to_le_bytes()].concat()[..]));
}

#[test]
fn records_that_an_earlier_life_fixed_are_begun_with_when_every_partition_has_told_that_it_has_them() {
    for is_told in [true, false] {
        let mut c = started(Known { fixed: Some(fixed()), decided: None, finished: (3, 90), paused: false });
        c.ends(TASKS[1], &[(Offset(1), Offset(2))], false, at_ms(1));
        c.ends(TASKS[0], &[(Offset(30), Offset(34))], false, at_ms(1));
        c.tick(at_ms(999));
        assert_eq!(said(&c.take_acts()).0, vec![], "one of them has still to come from the disk");
        assert_eq!((c.wake_at(), c.is_quiet()), (Some(at_ms(1_000)), false));
        match is_told {
            true => c.ends(TASKS[0], &[(Offset(30), Offset(35))], false, at_ms(999)),
            // An attempt says what is missing.
            false => c.tick(at_ms(1_000)),
        }
        assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Prime), "told: {is_told}");
    }
    // Nobody tells of ticks, nor has a partition of which it has no records to tell anything.
    let ticks = Fixed { id: 4, ranges: vec![(SOURCE, vec![(Offset(3), Offset(4)), (Offset(0), Offset(0))])] };
    let known = Known { fixed: Some(ticks.clone()), decided: None, finished: (3, 0), paused: false };
    let mut c = started_with(known.clone(), Some(Duration::from_millis(100)));
    c.tick(at_ms(1));
    assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Prime));
    let mut c = started(known);
    c.ends(TASKS[0], &[(Offset(3), Offset(4))], false, at_ms(1));
    assert_eq!(said(&c.take_acts()).0, to_both(MicrobatchSays::Prime));
}

#[test]
fn a_pause_is_answered_between_attempts_and_clients_wait_for_records_or_their_time() {
    let mut c = started(Known::default());
    with_records(&mut c, at_ms(0));
    c.ask(Peer(5), 1, MicrobatchAsk::Pause, at_ms(0));
    c.ask(Peer(5), 2, MicrobatchAsk::Await { count: 1, timeout_ms: 50 }, at_ms(0));
    let (letters, written) = said(&c.take_acts());
    assert_eq!((letters, written), (to_both(MicrobatchSays::Paused), vec![Record::Paused]));
    c.tick(at_ms(50));
    assert_eq!(c.take_acts(), [Act::Answer { peer: Peer(5), request: 2 }], "its time is over");
    c.failed(run(1, 0), "it broke", at_ms(60));
    let answer = Act::Answer { peer: Peer(5), request: 1 };
    assert!(!c.take_acts().contains(&answer), "a restart would not know of it");
    c.written(Record::Paused, at_ms(61));
    assert_eq!(c.take_acts(), [answer], "no attempt is under way, and it is durable");
    c.tick(at_ms(10_000));
    assert!(c.take_acts().is_empty() && c.is_quiet() && c.wake_at().is_none());
    c.ask(Peer(5), 3, MicrobatchAsk::Resume, at_ms(10_000));
    let acts = c.take_acts();
    let answer = Act::Answer { peer: Peer(5), request: 3 };
    assert!(!acts.contains(&answer), "a restart would find it paused");
    assert!(said(&acts).0.ends_with(&to_both(MicrobatchSays::Prime)), "its records were fixed before: {acts:?}");
    c.written(Record::Paused, at_ms(10_001));
    assert_eq!(c.take_acts(), [answer]);
}

#[test]
fn a_pause_that_waits_is_answered_when_somebody_has_the_topology_go_on() {
    let mut c = started(Known::default());
    with_records(&mut c, at_ms(0));
    c.ask(Peer(5), 1, MicrobatchAsk::Pause, at_ms(0));
    c.written(Record::Paused, at_ms(1));
    c.take_acts();
    c.ask(Peer(6), 2, MicrobatchAsk::Resume, at_ms(2));
    c.take_acts();
    c.ask(Peer(7), 3, MicrobatchAsk::Pause, at_ms(3));
    c.take_acts();
    c.written(Record::Paused, at_ms(4));
    assert!(c.take_acts().is_empty(), "one record is on its way still");
    c.written(Record::Paused, at_ms(5));
    let answer = |peer, request| Act::Answer { peer: Peer(peer), request };
    assert_eq!(
        c.take_acts(),
        [answer(5, 1), answer(6, 2)],
        "microbatches may follow each other without a pause between"
    );
    c.failed(run(1, 0), "it broke", at_ms(6));
    assert!(c.take_acts().contains(&answer(7, 3)));
}

#[test]
fn what_an_earlier_life_prepared_and_nobody_decided_is_given_up_when_a_paused_topology_starts() {
    let mut c = started(Known { paused: true, fixed: Some(fixed()), finished: (4, 90), ..Known::default() });
    let abandoned = |acts: &[Act]| {
        let of = |act: &Act| match act {
            Act::Tell { says: MicrobatchSays::Abandon, to, run, .. } => Some((*to, *run)),
            _ => None,
        };
        acts.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(abandoned(&c.take_acts()), TASKS.map(|task| (task, run(5, 0))), "with every earlier attempt");
    with_records(&mut c, at_ms(1));
    c.ask(Peer(5), 1, MicrobatchAsk::Resume, at_ms(1));
    TASKS.iter().for_each(|task| c.ends(*task, &[(Offset(0), Offset(0))], true, at_ms(1)));
    let acts = c.take_acts();
    let primed = acts.iter().find_map(|act| match act {
        Act::Tell { says: MicrobatchSays::Prime, run, .. } => Some(*run),
        _ => None,
    });
    assert_eq!(primed, Some(run(5, 1)), "no two attempts are named alike");
    // A decided one is carried out, paused or not.
    let decided = RunId { attempt: Attempt { epoch: Epoch(2), counter: 3 }, ..run(4, 0) };
    let known = Known { fixed: Some(fixed()), decided: Some(decided), finished: (3, 90), paused: true };
    assert_eq!(abandoned(&started(known).take_acts()), []);
}

#[test]
fn what_is_there_when_a_topology_goes_on_is_asked_for_before_records_are_fixed() {
    let mut c = started(Known { paused: true, ..Known::default() });
    c.ends(TASKS[0], &[(Offset(0), Offset(1))], false, at_ms(1));
    c.ask(Peer(5), 1, MicrobatchAsk::Resume, at_ms(1));
    assert_eq!(said(&c.take_acts()).1, [Record::Paused], "nothing is fixed yet");
    c.ends(TASKS[0], &[(Offset(0), Offset(2))], true, at_ms(1));
    c.ends(TASKS[1], &[(Offset(0), Offset(1))], false, at_ms(1));
    assert!(c.take_acts().is_empty(), "task 1 said that before it was asked");
    c.ends(TASKS[1], &[(Offset(0), Offset(3))], true, at_ms(1));
    let acts = c.take_acts();
    let ranges =
        acts.iter().find_map(|act| if let Act::Write { value, .. } = act { Fixed::decode(value).ok() } else { None });
    assert_eq!(ranges.expect("they are fixed").record_count(), 5);
    // One that does not answer keeps it for a while only.
    let mut c = started(Known { paused: true, ..Known::default() });
    c.ask(Peer(5), 1, MicrobatchAsk::Resume, at_ms(1));
    c.ends(TASKS[0], &[(Offset(0), Offset(2))], true, at_ms(1));
    let wake = c.wake_at().expect("it waits");
    c.take_acts();
    c.tick(wake);
    assert_eq!(said(&c.take_acts()), (to_both(MicrobatchSays::Prime), vec![Record::Fixed]));
}

/// The records that were fixed, if some were.
fn fixed_in(acts: &[Act]) -> Option<Fixed> {
    acts.iter().find_map(|act| if let Act::Write { value, .. } = act { Fixed::decode(value).ok() } else { None })
}

#[test]
fn a_microbatch_without_records_has_one_tick_when_a_period_has_passed_and_every_attempt_has_it() {
    let tick = |n: u64| [(SOURCE, vec![(Offset(n), Offset(n + 1)), (Offset(0), Offset(0))])];
    let mut c = started_with(Known::default(), Some(Duration::from_millis(100)));
    c.tick(at_ms(99));
    assert!(c.take_acts().is_empty() && c.is_quiet());
    assert_eq!(c.wake_at(), Some(at_ms(100)), "it wakes for it");
    c.tick(at_ms(570));
    assert_eq!(fixed_in(&c.take_acts()).expect("a period has passed").ranges, tick(0), "though five have");
    c.written(Record::Fixed, at_ms(570));
    prime_both(&mut c, run(1, 0), at_ms(570));
    c.failed(run(1, 0), "it broke", at_ms(580));
    c.tick(c.wake_at().expect("it is tried again"));
    c.take_acts();
    prime_both(&mut c, run(1, 1), at_ms(700));
    let acts = c.take_acts();
    let body = acts.iter().find_map(|act| match act {
        Act::Tell { says: MicrobatchSays::Begin, to, body, .. } if *to == TASKS[0] => Some(&body[16..]),
        _ => None,
    });
    assert_eq!(body, Some(&[0u64.to_le_bytes(), 1u64.to_le_bytes()].concat()[..]), "the same tick again");
    process(&mut c, run(1, 1), at_ms(700));
    prepare_both(&mut c, run(1, 1), at_ms(700));
    c.written(Record::Decided, at_ms(700));
    TASKS.iter().for_each(|task| c.published(*task, run(1, 1), at_ms(700)));
    c.take_acts();
    c.written(Record::Finished, at_ms(700));
    assert_eq!(fixed_in(&c.take_acts()).expect("the period since the tick has passed").ranges, tick(1));
    assert_eq!(c.status(), (1, 0, false), "a tick is no record");
}

#[test]
fn the_records_on_task_0_have_these_bytes_and_cut_ones_are_refused() {
    let golden = [
        &4u64.to_le_bytes()[..],
        &1u32.to_le_bytes(),
        &8u32.to_le_bytes(),
        &2u32.to_le_bytes(),
        &30u64.to_le_bytes(),
        &35u64.to_le_bytes(),
        &1u64.to_le_bytes(),
        &2u64.to_le_bytes(),
    ];
    let bytes = fixed().encode();
    assert_eq!(bytes, golden.concat());
    assert_eq!(Fixed::decode(&bytes), Ok(fixed()));
    assert!((0..bytes.len()).all(|len| Fixed::decode(&bytes[..len]).is_err()));
    let run = run(1 << 40, 3);
    let bytes = encode_decided(&run);
    assert_eq!(bytes, [&(1u64 << 40).to_le_bytes()[..], &5u64.to_le_bytes(), &3u32.to_le_bytes()].concat());
    assert_eq!(decode_decided(TOPOLOGY, &bytes), Ok(run));
    assert!(decode_decided(TOPOLOGY, &bytes[1..]).is_err());
    assert_eq!(encode_finished(2, 3), [2u64.to_le_bytes(), 3u64.to_le_bytes()].concat());
    assert!(decode_finished(&[0; 15]).is_err());
    let keys =
        [Record::Fixed, Record::Decided, Record::Finished, Record::Paused].map(|record| record.key(ObjectId(258)));
    assert_eq!(keys, [1, 2, 3, 4].map(|kind| vec![0, 0, 1, 2, kind]));
}
