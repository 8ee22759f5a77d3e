//! Requests that are out, and what their answers brought.

use crate::error::ClientError;
use crate::microbatch::MicrobatchStatus;
use std::task::Waker;
use tantu_base::id::Offset;
use tantu_net::letter::{Letter, Refusal, StreamLetter};

/// The number that letters carry when nobody waits for an answer.
pub(crate) const UNANSWERED: u64 = u64::MAX;

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

    /// A new request to a thread.
    pub(crate) fn add(&mut self, thread: u32) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[at as usize];
        place.request = Some(Request { thread, waker: None, answer: Answer::default(), result: None });
        self.unanswered += 1;
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

    /// Nobody wants the answer any more.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(request) = self.remove(id)
            && request.result.is_none()
        {
            self.unanswered -= 1;
            self.awaited -= usize::from(request.waker.is_some());
        }
    }

    /// Tells the waker when the answer is there.
    pub(crate) fn wake(&mut self, id: u64, waker: &Waker) {
        let Some(request) = self.get(id).filter(|request| request.result.is_none()) else { return };
        let first = request.waker.replace(waker.clone()).is_none();
        self.awaited += usize::from(first);
    }

    /// Those without an answer on threads that will not give one fail.
    pub(crate) fn fail_gone(&mut self, gone: impl Fn(u32) -> bool, text: impl Fn() -> String) {
        for at in 0..self.places.len() {
            let place = &self.places[at];
            let id = u64::from(place.generation) << 32 | at as u64;
            if place.request.as_ref().is_some_and(|request| request.result.is_none() && gone(request.thread)) {
                self.finish(id, Err(Box::new(ClientError::Stopped(text()))));
            }
        }
    }

    fn finish(&mut self, id: u64, result: Result<(), Box<ClientError>>) {
        let Some(request) = self.get(id).filter(|request| request.result.is_none()) else { return };
        request.result = Some(result);
        let waker = request.waker.take();
        self.unanswered -= 1;
        if let Some(waker) = waker {
            self.awaited -= 1;
            waker.wake();
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
            Letter::MicrobatchStatus { request: id, finished, processed, paused } => {
                if let Some(request) = self.get(id).filter(|request| request.result.is_none()) {
                    request.answer.more().microbatch = Some(MicrobatchStatus { finished, processed, paused });
                    self.finish(id, Ok(()));
                }
            }
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
        let (a, b) = (requests.add(0), requests.add(1));
        assert!(requests.take(a).is_none());
        requests.answered(appended(a, 5));
        requests.answered(appended(a, 6));
        assert_eq!(requests.unanswered(), 1);
        assert_eq!(requests.take(a).expect("it is there").expect("it is good").offset, Offset(5));
        let c = requests.add(0);
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
        let (a, b) = (requests.add(0), requests.add(0));
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
        let ids = [requests.add(0), requests.add(1), requests.add(1)];
        requests.answered(appended(ids[1], 1));
        requests.wake(ids[2], Waker::noop());
        assert_eq!(requests.awaited(), 1);
        requests.fail_gone(|thread| thread == 1, || "gone".to_string());
        assert!(requests.take(ids[0]).is_none());
        assert!(requests.take(ids[1]).expect("answered before").is_ok());
        assert!(matches!(requests.take(ids[2]), Some(Err(ClientError::Stopped(text))) if text == "gone"));
        assert_eq!((requests.unanswered(), requests.awaited()), (1, 0));
    }
}
