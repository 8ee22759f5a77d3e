//! One port into a module's task threads, and the requests that are out on it.

use crate::error::ClientError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tantu_base::door::{LetterBatch, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, Offset, TaskId};
use tantu_flow::ModuleRuntime;
use tantu_net::letter::{Letter, Refusal};
use tantu_net::{ClientPort, ClientReceiver, ClientSender};

/// Requests that may be out; one more waits until another is answered.
const REQUEST_COUNT_MAX: usize = 16_384;
/// Requests out from which on letters are gathered before they are sent.
const GATHER_FROM_COUNT: usize = 32;
/// Letters gathered into one batch.
const GATHER_COUNT_MAX: u32 = 32;
/// Bytes of letters gathered into one batch.
const GATHER_SIZE_MAX: usize = 32 << 10;
/// How long one wait lasts before it looks whether the module still lives.
const WAIT: Duration = Duration::from_millis(50);

/// Why a module stopped, once it has.
pub type StopText = Arc<Mutex<Option<String>>>;

/// What an answered request brought.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) offset: Offset,
    pub(crate) count: usize,
    pub(crate) rows: Vec<u8>,
}

#[derive(Debug)]
struct Request {
    thread: u32,
    waker: Option<Waker>,
    answer: Answer,
    result: Option<Result<(), ClientError>>,
}

#[derive(Debug)]
struct Out {
    sender: ClientSender,
    open: Vec<LetterBatch>,
    requests: BTreeMap<u64, Request>,
    unanswered: usize,
    next: u64,
}

#[derive(Debug)]
struct Inner {
    module: Arc<ModuleRuntime>,
    out: Mutex<Out>,
    receiver: Mutex<ClientReceiver>,
    arrived: Condvar,
    stopped: StopText,
    turn: AtomicU32,
}

/// See the crate. Clones share the port.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

/// A panic elsewhere while a lock was held leaves plain data: it stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// A connection over a port of the module's mesh.
    pub fn new(module: Arc<ModuleRuntime>, port: ClientPort, stopped: StopText) -> Self {
        let (sender, receiver) = port.split();
        let open = vec![LetterBatch::default(); module.thread_count as usize];
        let out = Out { sender, open, requests: BTreeMap::new(), unanswered: 0, next: 0 };
        let inner = Inner {
            module,
            out: Mutex::new(out),
            receiver: Mutex::new(receiver),
            arrived: Condvar::new(),
            stopped,
            turn: AtomicU32::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The module.
    pub fn module(&self) -> &ModuleRuntime {
        &self.inner.module
    }

    /// A task, each in turn.
    pub(crate) fn any_task(&self) -> TaskId {
        TaskId(self.inner.turn.fetch_add(1, Ordering::Relaxed) % self.inner.module.task_count)
    }

    /// Sends a letter; `answered` says whether a request is kept for its answer.
    pub(crate) fn send(&self, task: TaskId, answered: bool, letter: impl FnOnce(u64) -> LetterOf) -> u64 {
        let thread = self.inner.module.thread_of(task).0;
        let mut out = lock(&self.inner.out);
        while out.unanswered >= REQUEST_COUNT_MAX {
            out.flush();
            drop(out);
            self.drive();
            out = lock(&self.inner.out);
        }
        let request = out.next;
        out.next += 1;
        if answered {
            let answer = Answer::default();
            out.requests.insert(request, Request { thread, waker: None, answer, result: None });
            out.unanswered += 1;
        }
        let batch = &mut out.open[thread as usize];
        letter(request).encode(&mut batch.bytes);
        batch.count += 1;
        let gathers = batch.count < GATHER_COUNT_MAX && batch.bytes.len() < GATHER_SIZE_MAX;
        if !(gathers && answered && out.unanswered >= GATHER_FROM_COUNT) {
            out.flush();
            // A full ring is the engine's way to say "slower".
            while out.open[thread as usize].bytes.len() >= GATHER_SIZE_MAX && !out.sender.is_thread_gone(Peer(thread)) {
                drop(out);
                self.drive();
                out = lock(&self.inner.out);
                out.flush();
            }
        }
        request
    }

    /// Waits for a request's answer.
    pub(crate) fn wait(&self, request: u64) -> Result<Answer, ClientError> {
        loop {
            {
                let mut out = lock(&self.inner.out);
                out.flush();
                if let Some(result) = out.take(request) {
                    return result;
                }
            }
            self.drive();
        }
    }

    /// A request's answer if it is there; otherwise the waker is told when it is.
    pub(crate) fn poll(&self, request: u64, waker: &Waker) -> Option<Result<Answer, ClientError>> {
        if let Ok(mut receiver) = self.inner.receiver.try_lock() {
            self.take_in(&mut receiver);
        }
        let mut out = lock(&self.inner.out);
        out.flush();
        if let Some(result) = out.take(request) {
            return Some(result);
        }
        if let Some(request) = out.requests.get_mut(&request) {
            request.waker = Some(waker.clone());
        }
        None
    }

    /// Sends what was gathered.
    pub(crate) fn flush(&self) {
        lock(&self.inner.out).flush();
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn forget(&self, request: u64) {
        let mut out = lock(&self.inner.out);
        out.flush();
        if let Some(request) = out.requests.remove(&request)
            && request.result.is_none()
        {
            out.unanswered -= 1;
        }
    }

    /// Blocks a while for arrivals: as the one that takes them in, or until the one that does has some.
    pub fn drive(&self) {
        match self.inner.receiver.try_lock() {
            Ok(mut receiver) => {
                if !self.take_in(&mut receiver) {
                    receiver.wait(WAIT);
                    if !self.take_in(&mut receiver) {
                        self.fail_gone(&receiver);
                    }
                }
                drop(receiver);
                self.inner.arrived.notify_all();
            }
            Err(_) => {
                let out = lock(&self.inner.out);
                drop(self.inner.arrived.wait_timeout(out, WAIT));
            }
        }
    }

    fn take_in(&self, receiver: &mut ClientReceiver) -> bool {
        let mut any = false;
        while let Some((_, _, batch)) = receiver.receive_any() {
            any = true;
            let mut out = lock(&self.inner.out);
            let mut reader = FixedReader::new(&batch.bytes);
            while let Some(Ok(letter)) = Letter::decode_next(&mut reader) {
                out.answered(letter);
            }
        }
        any
    }

    /// Requests on threads that ended will not be answered.
    fn fail_gone(&self, receiver: &ClientReceiver) {
        let gone = |thread: u32| receiver.is_thread_gone(Peer(thread));
        let mut out = lock(&self.inner.out);
        let lost: Vec<u64> =
            out.requests.iter().filter(|(_, r)| r.result.is_none() && gone(r.thread)).map(|(id, _)| *id).collect();
        if lost.is_empty() {
            return;
        }
        let text = lock(&self.inner.stopped).clone().unwrap_or_else(|| "its threads ended".to_string());
        for id in lost {
            out.finish(id, Err(ClientError::Stopped(text.clone())));
        }
    }
}

/// A letter to a task thread, owned until it is encoded.
pub(crate) enum LetterOf {
    Append { task: TaskId, request: u64, depot: u16, ack: tantu_net::letter::AckLevel, record: Vec<u8> },
    Select { task: TaskId, request: u64, pstate: u16, path: Vec<u8> },
}

impl LetterOf {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            LetterOf::Append { task, request, depot, ack, record } => {
                Letter::Append { task: *task, request: *request, depot: *depot, ack: *ack, record }.encode(out);
            }
            LetterOf::Select { task, request, pstate, path } => {
                Letter::Select { task: *task, request: *request, pstate: *pstate, path }.encode(out);
            }
        }
    }
}

impl Out {
    fn flush(&mut self) {
        let mut sent = false;
        for (thread, open) in self.open.iter_mut().enumerate() {
            if open.count == 0 {
                continue;
            }
            match self.sender.send(Peer(thread as u32), Category::Client, std::mem::take(open)) {
                Ok(()) => sent = true,
                Err(batch) => *open = batch,
            }
        }
        if sent {
            self.sender.ring_bells();
        }
    }

    fn take(&mut self, request: u64) -> Option<Result<Answer, ClientError>> {
        self.requests.get(&request)?.result.as_ref()?;
        let request = self.requests.remove(&request)?;
        request.result.map(|result| result.map(|()| request.answer))
    }

    fn finish(&mut self, id: u64, result: Result<(), ClientError>) {
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.result.is_none()) else { return };
        request.result = Some(result);
        self.unanswered -= 1;
        if let Some(waker) = request.waker.take() {
            waker.wake();
        }
    }

    fn answered(&mut self, letter: Letter<'_>) {
        match letter {
            Letter::Appended { request, offset } => {
                if let Some(request) = self.requests.get_mut(&request) {
                    request.answer.offset = offset;
                }
                self.finish(request, Ok(()));
            }
            Letter::Rows { request, more, count, rows } => {
                if let Some(request) = self.requests.get_mut(&request) {
                    request.answer.count += count as usize;
                    request.answer.rows.extend_from_slice(rows);
                }
                if !more {
                    self.finish(request, Ok(()));
                }
            }
            Letter::Refused { request, refusal, text } => {
                let text = text.to_string();
                let error = match refusal {
                    Refusal::Invalid => ClientError::Refused(text),
                    Refusal::ProcessingFailed => ClientError::ProcessingFailed(text),
                    Refusal::Closing => ClientError::Closing,
                    Refusal::ReadFailed => ClientError::ReadFailed(text),
                };
                self.finish(request, Err(error));
            }
            // Letters between task threads are never sent to clients.
            Letter::Append { .. }
            | Letter::Select { .. }
            | Letter::Continue { .. }
            | Letter::Done { .. }
            | Letter::Failed { .. } => {}
        }
    }
}
