//! Requests that are out, and what their answers brought.

use crate::error::{Asked, ClientError};
use crate::microbatch::{FailingMicrobatch, MicrobatchStatus};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;
use tantu_base::door::Nanos;
use tantu_base::id::{Offset, ProducerId};
use tantu_net::letter::{ClientLetter, Letter, NumberFault, Refusal, SnapshotSays, StreamLetter};

/// The number that letters carry when nobody waits for an answer.
pub(crate) const UNANSWERED: u64 = u64::MAX;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// No answer.
    Nothing,
    /// That a record is appended.
    Append,
    /// Something else of a depot.
    Depot,
    /// Something of a PState.
    Read,
    /// How far something is, that something be done, or troubles.
    Control,
    /// Something that may take so long.
    Within(Duration),
    /// The result of a query, which may take so long.
    Call(Duration),
}

impl Want {
    /// What is told of a request that got no answer.
    fn asked(self) -> Asked {
        match self {
            Want::Append | Want::Nothing => Asked::Append,
            Want::Depot | Want::Read | Want::Call(_) => Asked::Read,
            Want::Control | Want::Within(_) => Asked::Topology,
        }
    }
}

/// What an answered request brought. Appends are many and bring an offset only, so that the rest is elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) offset: Offset,
    more: Option<Box<More>>,
}

/// What the answers to reads bring.
#[derive(Debug, Default)]
pub(crate) struct More {
    /// Which offsets a depot partition has, if that is the answer.
    pub(crate) offsets: Option<(Offset, Offset)>,
    /// How far a microbatch topology is, if that is the answer.
    pub(crate) microbatch: Option<MicrobatchStatus>,
    /// A producer and its epoch, if that is the answer.
    pub(crate) producer: Option<(ProducerId, u32)>,
    /// The number of a snapshot, and of its microbatch, if that is the answer.
    pub(crate) snapshot: Option<(u64, u64)>,
    pub(crate) count: usize,
    pub(crate) rows: Vec<u8>,
}

impl Answer {
    /// What it brought besides an offset.
    pub(crate) fn into_more(self) -> More {
        self.more.map(|more| *more).unwrap_or_default()
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

#[derive(Debug)]
struct Request {
    thread: u32,
    want: Want,
    /// When it takes too long.
    deadline: Option<Nanos>,
    waker: Option<Waker>,
    answer: Answer,
    result: Option<Result<(), Box<ClientError>>>,
}

/// A place in the table; its number changes with every request that has it.
#[derive(Debug, Default)]
struct Place {
    generation: u32,
    request: Option<Request>,
}

/// The table. A request's number is its place and the place's generation, so that a late answer meets nobody else.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    places: Vec<Place>,
    free: Vec<u32>,
    unanswered: usize,
    awaited: usize,
    /// By thread: calls of queries without an answer.
    calls: BTreeMap<u32, usize>,
    /// Who is to be told that an answer is there, once nobody holds the table: what they do then may ask it.
    woken: Vec<Waker>,
}

impl Requests {
    /// How many have no answer yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// How many have no answer yet and a waker.
    pub(crate) fn awaited(&self) -> usize {
        self.awaited
    }

    /// How many calls of queries to a thread have no answer yet.
    pub(crate) fn calls(&self, thread: u32) -> usize {
        self.calls.get(&thread).copied().unwrap_or(0)
    }

    /// A request has its answer, or nobody wants it.
    fn settled(&mut self, thread: u32, want: Want) {
        self.unanswered -= 1;
        if matches!(want, Want::Call(_)) {
            *self.calls.entry(thread).or_default() -= 1;
        }
    }

    /// A request to a thread that had ended before.
    pub(crate) fn add_failed(&mut self, thread: u32, text: String) -> u64 {
        let id = self.add(thread, Want::Control, None);
        self.finish(id, Err(Box::new(ClientError::NotRunning(text))));
        id
    }

    /// A new request to a thread.
    pub(crate) fn add(&mut self, thread: u32, want: Want, deadline: Option<Nanos>) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[at as usize];
        place.request = Some(Request { thread, want, deadline, waker: None, answer: Answer::default(), result: None });
        self.unanswered += 1;
        if matches!(want, Want::Call(_)) {
            *self.calls.entry(thread).or_default() += 1;
        }
        u64::from(place.generation) << 32 | u64::from(at)
    }

    fn get(&mut self, id: u64) -> Option<&mut Request> {
        let place = self.places.get_mut((id & u64::from(u32::MAX)) as usize)?;
        if u64::from(place.generation) == id >> 32 { place.request.as_mut() } else { None }
    }

    fn remove(&mut self, id: u64) -> Option<Request> {
        self.get(id)?;
        let place = &mut self.places[(id & u64::from(u32::MAX)) as usize];
        // The highest generation is never reached: UNANSWERED names nobody.
        place.generation = (place.generation + 1) % u32::MAX;
        self.free.push(id as u32);
        place.request.take()
    }

    /// The result of a request, once: if it is there.
    pub(crate) fn take(&mut self, id: u64) -> Option<Result<Answer, ClientError>> {
        self.get(id)?.result.as_ref()?;
        let request = self.remove(id)?;
        request.result.map(|result| result.map(|()| request.answer).map_err(|error| *error))
    }

    /// Nobody wants the answer any more. If there is none yet: to which thread it went, and what was wanted.
    pub(crate) fn forget(&mut self, id: u64) -> Option<(u32, Want)> {
        let request = self.remove(id).filter(|request| request.result.is_none())?;
        self.settled(request.thread, request.want);
        self.awaited -= usize::from(request.waker.is_some());
        Some((request.thread, request.want))
    }

    /// Fails those that take too long, with the time-out of what they want; which they are, and their threads.
    pub(crate) fn expire(&mut self, now: Nanos, timeout: impl Fn(Want) -> Duration) -> Vec<(u64, u32)> {
        let mut late = Vec::new();
        for (at, place) in self.places.iter().enumerate() {
            let Some(request) = place.request.as_ref().filter(|request| request.result.is_none()) else { continue };
            if request.deadline.is_some_and(|deadline| deadline <= now) {
                late.push((u64::from(place.generation) << 32 | at as u64, request.thread, request.want));
            }
        }
        for (id, _, want) in &late {
            self.finish(*id, Err(Box::new(ClientError::TimedOut { asked: want.asked(), timeout: timeout(*want) })));
        }
        late.into_iter().map(|(id, thread, _)| (id, thread)).collect()
    }

    /// Tells the waker when the answer is there.
    pub(crate) fn wake(&mut self, id: u64, waker: &Waker) {
        let Some(request) = self.get(id).filter(|request| request.result.is_none()) else { return };
        let first = request.waker.replace(waker.clone()).is_none();
        self.awaited += usize::from(first);
    }

    /// Those that are to be woken.
    pub(crate) fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Those without an answer on threads that will not give one fail.
    pub(crate) fn fail_gone(&mut self, gone: impl Fn(u32) -> bool, text: impl Fn() -> String) {
        for at in 0..self.places.len() {
            let place = &self.places[at];
            let id = u64::from(place.generation) << 32 | at as u64;
            let lost = place.request.as_ref().filter(|request| request.result.is_none() && gone(request.thread));
            if let Some(asked) = lost.map(|request| request.want.asked()) {
                self.finish(id, Err(Box::new(ClientError::Stopped { asked, why: text() })));
            }
        }
    }

    fn finish(&mut self, id: u64, result: Result<(), Box<ClientError>>) {
        let Some(request) = self.get(id).filter(|request| request.result.is_none()) else { return };
        request.result = Some(result);
        let (waker, thread, want) = (request.waker.take(), request.thread, request.want);
        self.settled(thread, want);
        if let Some(waker) = waker {
            self.awaited -= 1;
            self.woken.push(waker);
        }
    }

    /// Takes in an answer.
    pub(crate) fn answered(&mut self, letter: Letter<'_>) {
        match letter {
            Letter::Appended { request: id, offset } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.offset = offset;
                    self.finish(id, Ok(()));
                }
            }
            Letter::Stream(StreamLetter::Appended { request: id, offset, returns }) => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.offset = offset;
                    request.answer.more().rows.extend_from_slice(returns);
                    self.finish(id, Ok(()));
                }
            }
            Letter::Rows { request: id, more, count, rows } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    let answer = request.answer.more();
                    answer.count += count as usize;
                    answer.rows.extend_from_slice(rows);
                }
                if !more {
                    self.finish(id, Ok(()));
                }
            }
            Letter::Records { request: id, next, count, records } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.offset = next;
                    let answer = request.answer.more();
                    answer.count = count as usize;
                    answer.rows.extend_from_slice(records);
                    self.finish(id, Ok(()));
                }
            }
            Letter::Offsets { request: id, start, end } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.more().offsets = Some((start, end));
                    self.finish(id, Ok(()));
                }
            }
            Letter::Refused { request, refusal, text } => {
                self.finish(request, Err(Box::new(refused(refusal, text.to_string()))));
            }
            Letter::MicrobatchStatus { request, finished, processed, paused, failing } => {
                let failing =
                    failing.map(|(id, attempts, text)| FailingMicrobatch { id, attempts, error: text.into() });
                self.told_status(request, MicrobatchStatus { finished, processed, paused, failing });
            }
            Letter::Client(letter) => self.told(&letter),
            // Letters between task threads are never sent to clients.
            Letter::Append { .. }
            | Letter::Select { .. }
            | Letter::ReadDepot { .. }
            | Letter::AskOffsets { .. }
            | Letter::Invoke { .. }
            | Letter::AskMicrobatch { .. }
            | Letter::Microbatch { .. }
            | Letter::Stream(_)
            | Letter::Continue { .. }
            | Letter::Events { .. }
            | Letter::Fold { .. }
            | Letter::Call { .. }
            | Letter::End { .. }
            | Letter::Done { .. }
            | Letter::Failed { .. } => {}
        }
    }

    fn told_status(&mut self, id: u64, status: MicrobatchStatus) {
        if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
            request.answer.more().microbatch = Some(status);
            self.finish(id, Ok(()));
        }
    }

    /// Takes in an answer about numbers or snapshots.
    fn told(&mut self, letter: &ClientLetter<'_>) {
        match *letter {
            ClientLetter::Producer { request: id, producer, epoch } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.more().producer = Some((producer, epoch));
                    self.finish(id, Ok(()));
                }
            }
            ClientLetter::Snapshot { request: id, says: SnapshotSays::Taken, number, id: microbatch, .. } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.more().snapshot = Some((number, microbatch));
                    self.finish(id, Ok(()));
                }
            }
            ClientLetter::Misnumbered { request, fault, number } => {
                let error = match fault {
                    NumberFault::Fenced => ClientError::Fenced { epoch: u32::try_from(number).unwrap_or(u32::MAX) },
                    NumberFault::OutOfSequence => ClientError::OutOfSequence { expected: number },
                    NumberFault::Forgotten => ClientError::Forgotten,
                    NumberFault::TooOld => ClientError::AppendedBefore,
                };
                self.finish(request, Err(Box::new(error)));
            }
            // What clients send, and what task threads send each other.
            _ => {}
        }
    }
}

/// What a refusal is to the client.
fn refused(refusal: Refusal, text: String) -> ClientError {
    match refusal {
        Refusal::Invalid => ClientError::Refused(text),
        Refusal::ProcessingFailed => ClientError::ProcessingFailed(text),
        Refusal::Throttled => ClientError::Throttled(text),
        Refusal::Closing => ClientError::Closing,
        Refusal::ReadFailed => ClientError::ReadFailed(text),
        Refusal::StorageFull => ClientError::StorageFull(text),
        Refusal::QueryFailed => ClientError::QueryFailed(text),
        Refusal::QueryTimedOut => ClientError::QueryTimedOut(text),
        Refusal::NotKept => ClientError::NotKept(text),
        Refusal::Busy => ClientError::Busy(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(request: u64, offset: u64) -> Letter<'static> {
        Letter::Appended { request, offset: Offset(offset) }
    }

    #[test]
    fn an_answer_reaches_its_request_once_and_nobody_else() {
        let mut requests = Requests::default();
        let (a, b) = (requests.add(0, Want::Control, None), requests.add(1, Want::Control, None));
        assert!(requests.take(a).is_none());
        requests.answered(appended(a, 5));
        requests.answered(appended(a, 6));
        assert_eq!(requests.unanswered(), 1);
        assert_eq!(requests.take(a).expect("it is there").expect("it is good").offset, Offset(5));
        let c = requests.add(0, Want::Control, None);
        assert_ne!(a, c, "the place is used again under another number");
        requests.answered(appended(a, 7));
        assert!(requests.take(c).is_none() && requests.take(a).is_none());
        requests.forget(b);
        assert_eq!(requests.unanswered(), 1);
        requests.answered(appended(b, 8));
        requests.answered(appended(UNANSWERED, 9));
        assert_eq!(requests.unanswered(), 1);
    }

    #[test]
    fn rows_gather_until_the_last_part_and_refusals_say_why() {
        let mut requests = Requests::default();
        let (a, b) = (requests.add(0, Want::Control, None), requests.add(0, Want::Control, None));
        requests.answered(Letter::Rows { request: a, more: true, count: 1, rows: b"x" });
        assert!(requests.take(a).is_none());
        requests.answered(Letter::Rows { request: a, more: false, count: 2, rows: b"yz" });
        let answer = requests.take(a).expect("whole").expect("good").into_more();
        assert_eq!((answer.count, &answer.rows[..]), (3, &b"xyz"[..]));
        requests.answered(Letter::Refused { request: b, refusal: Refusal::Invalid, text: "why" });
        assert!(matches!(requests.take(b), Some(Err(ClientError::Refused(text))) if text == "why"));
    }

    #[test]
    fn only_unanswered_requests_of_a_thread_that_is_gone_fail() {
        let mut requests = Requests::default();
        let ids = [
            requests.add(0, Want::Control, None),
            requests.add(1, Want::Control, None),
            requests.add(1, Want::Control, None),
        ];
        requests.answered(appended(ids[1], 1));
        requests.wake(ids[2], Waker::noop());
        assert_eq!(requests.awaited(), 1);
        requests.fail_gone(|thread| thread == 1, || "gone".to_string());
        assert!(requests.take(ids[0]).is_none());
        assert!(requests.take(ids[1]).expect("answered before").is_ok());
        assert!(matches!(requests.take(ids[2]), Some(Err(ClientError::Stopped { why, .. })) if why == "gone"));
        assert_eq!((requests.unanswered(), requests.awaited()), (1, 0));
    }

    #[test]
    fn requests_that_take_too_long_fail_and_late_answers_meet_nobody() {
        let mut requests = Requests::default();
        let at = |ms| Some(Nanos(0).plus_ms(ms));
        let [a, b, c] = [at(10), at(20), None].map(|deadline| requests.add(3, Want::Append, deadline));
        let timeout = Duration::from_millis(10);
        assert_eq!(requests.expire(Nanos(0).plus_ms(10), |_| timeout), [(a, 3)]);
        assert!(
            matches!(requests.take(a), Some(Err(ClientError::TimedOut { asked: Asked::Append, timeout: of })) if of == timeout)
        );
        requests.answered(appended(a, 5));
        assert_eq!(requests.expire(Nanos(0).plus_ms(1_000), |_| timeout), [(b, 3)]);
        assert_eq!((requests.forget(b), requests.forget(c)), (None, Some((3, Want::Append))));
        assert_eq!(requests.unanswered(), 0);
    }

    #[test]
    fn faults_of_numbers_and_a_thread_that_is_gone_before_are_told_apart() {
        let mut requests = Requests::default();
        let faults = [
            (NumberFault::Fenced, ClientError::Fenced { epoch: 7 }),
            (NumberFault::OutOfSequence, ClientError::OutOfSequence { expected: 7 }),
            (NumberFault::Forgotten, ClientError::Forgotten),
            (NumberFault::TooOld, ClientError::AppendedBefore),
        ];
        for (fault, expected) in faults {
            let request = requests.add(0, Want::Append, None);
            requests.answered(Letter::Client(ClientLetter::Misnumbered { request, fault, number: 7 }));
            assert_eq!(requests.take(request).map(|result| result.err()), Some(Some(expected)));
        }
        let gone = requests.add_failed(0, "why".to_string());
        assert!(matches!(requests.take(gone), Some(Err(ClientError::NotRunning(text))) if text == "why"));
        assert_eq!(requests.unanswered(), 0);
    }
}
