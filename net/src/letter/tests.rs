//! Letters come back as they were sent.

use super::*;
use tantu_base::id::{Attempt, ObjectId};

/// What task threads send each other.
fn events() -> Vec<Letter<'static>> {
    let root = Root { task: TaskId(3), source: 1, offset: Offset(99), attempt: 2 };
    vec![
        Letter::Fold {
            task: TaskId(4),
            topology: 1,
            fingerprint: 0x1234_5678,
            table: 2,
            root,
            event: 99,
            is_partial: true,
            rows: b"rows",
        },
        Letter::Continue { task: TaskId(5), stream: 1, fingerprint: 77, position: 4, root, event: u64::MAX, live: b"" },
        Letter::Call {
            task: TaskId(4),
            query: 3,
            topology: 1,
            fingerprint: 0x1234_5678,
            position: 9,
            root,
            event: 100,
            arguments: b"arguments",
            live: b"live",
        },
        Letter::Microbatch {
            task: TaskId(1),
            from: TaskId(2),
            run: RunId { topology: ObjectId(3), id: 1 << 40, attempt: Attempt { epoch: Epoch(1 << 41), counter: 4 } },
            epoch: Epoch(1 << 42),
            says: MicrobatchSays::Prepared,
            body: b"body",
        },
        Letter::End { task: TaskId(6), root },
        Letter::Stream(StreamLetter::Returned { root, value: b"value" }),
        Letter::Stream(StreamLetter::Spoiled { root, text: "another broke" }),
        Letter::Events { rows: b"packed" },
        Letter::Done { root, bits: 5 },
        Letter::Failed { root, text: "it broke" },
    ]
}

/// What clients ask and are told.
fn requests_and_answers() -> Vec<Letter<'static>> {
    let range = ReadRange { from: Offset(3), to: Offset(9), count_max: 5, size_max: 1 << 20 };
    vec![
        Letter::ReadDepot { task: TaskId(1), request: 5, depot: 2, range },
        Letter::Invoke { task: TaskId(7), request: 5, query: 2, arguments: b"arguments" },
        Letter::AskOffsets { task: TaskId(1), request: 6, depot: 2 },
        Letter::Records { request: 5, next: Offset(4), count: 1, records: b"record" },
        Letter::Offsets { request: 6, start: Offset(1), end: Offset(1 << 50) },
        Letter::Append { task: TaskId(1), request: 7, depot: 2, ack: AckLevel::Ack, record: b"rec" },
        Letter::Select { task: TaskId(1), request: 8, pstate: 0, path: b"path" },
        Letter::AskMicrobatch { task: TaskId(0), request: 6, topology: 2, ask: MicrobatchAsk::Pause },
        Letter::AskMicrobatch {
            task: TaskId(0),
            request: 7,
            topology: 2,
            ask: MicrobatchAsk::Await { count: 1 << 40, timeout_ms: 9 },
        },
        Letter::MicrobatchStatus { request: 8, finished: 1, processed: 1 << 40, paused: true, failing: None },
        Letter::MicrobatchStatus {
            request: 8,
            finished: 1,
            processed: 2,
            paused: false,
            failing: Some((1 << 41, 7, "why")),
        },
        Letter::Appended { request: 7, offset: Offset(1 << 40) },
        Letter::Stream(StreamLetter::Appended { request: 7, offset: Offset(1 << 40), returns: b"returns" }),
        Letter::Stream(StreamLetter::AskTroubles { task: TaskId(2), request: 6, topology: 1 }),
        Letter::Stream(StreamLetter::AskProcessed {
            task: TaskId(2),
            request: 6,
            topology: 1,
            more_than: 1 << 40,
            timeout_ms: 9,
        }),
        Letter::Rows { request: 8, more: true, count: 2, rows: b"rows" },
        Letter::Refused { request: 9, refusal: Refusal::Closing, text: "closing" },
    ]
}

#[test]
fn letters_come_back_as_they_were_sent_and_cut_ones_are_refused() {
    let letters = [events(), requests_and_answers()].concat();
    let mut batch = Vec::new();
    letters.iter().for_each(|l| l.encode(&mut batch));
    let mut reader = FixedReader::new(&batch);
    let back: Result<Vec<_>, _> = std::iter::from_fn(|| Letter::decode_next(&mut reader)).collect();
    assert_eq!(back.expect("whole"), letters);
    for letter in letters {
        let mut frame = Vec::new();
        letter.encode(&mut frame);
        let min = frame.len().min(12);
        for len in 1..min {
            let mut cut = FixedReader::new(&frame[..len]);
            assert!(Letter::decode_next(&mut cut).expect("not empty").is_err());
        }
    }
}

#[test]
fn clients_send_requests_and_nothing_that_task_threads_tell_each_other() {
    assert!(events().iter().all(|letter| !letter.is_request()));
    let root = Root { task: TaskId(3), source: 1, offset: Offset(99), attempt: 2 };
    let (task, topology, says) = (TaskId(0), 0, HoldSays::Keep);
    assert!(!Letter::Client(ClientLetter::Hold { task, root, topology, says, id: 1, lease_ms: 1 }).is_request());
    for letter in requests_and_answers() {
        let is_answer = matches!(
            letter,
            Letter::Appended { .. }
                | Letter::Rows { .. }
                | Letter::Records { .. }
                | Letter::Offsets { .. }
                | Letter::MicrobatchStatus { .. }
                | Letter::Refused { .. }
                | Letter::Stream(StreamLetter::Appended { .. })
        );
        assert_eq!(letter.is_request(), !is_answer, "{letter:?}");
    }
}
