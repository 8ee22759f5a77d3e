//! One port into a module's task threads, and the requests that are out on it.
//!
//! Any number of threads share a connection. Of those that wait one *drives*: it blocks on the port and takes in what
//! arrives for everybody; the others sleep until it has. When nobody waits but somebody awaits, a thread of the
//! connection's own drives.

use crate::error::ClientError;
use crate::options::ClientOptions;
use crate::port::{ReceiveHalf, Receiver, SendHalf, Sender};
use crate::requests::{Answer, Requests, UNANSWERED, Want};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;
use tantu_base::door::{Clock, LetterBatch, Nanos, Peer};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, TaskId};
use tantu_flow::ModuleRuntime;
use tantu_net::ClientPort;
use tantu_net::letter::{ClientLetter, Letter};

/// Requests that may be out; one more waits until another is answered.
const REQUEST_COUNT_MAX: usize = 16_384;
/// Calls of queries that may be out to one thread; one more waits until another is answered. One connection alone is not refused
/// for too many.
const CALL_COUNT_MAX: usize = 2_048;
/// Milliseconds after which what a full ring did not take is offered to it again, though nobody waits for an answer.
const RETRY_MS: u64 = 1;
/// Requests out from which on letters are gathered before they are sent.
const GATHER_FROM_COUNT: usize = 8;
/// Letters gathered into one batch.
const GATHER_COUNT_MAX: u32 = 32;
/// Bytes of letters gathered into one batch.
const GATHER_SIZE_MAX: usize = 32 << 10;
/// Appends gathered into one batch while they wait for others.
const DELAYED_COUNT_MAX: u32 = 1_024;
/// Bytes of the names of appends nobody waits for before task threads are told.
const CANCEL_SIZE: usize = 64 * 8;
/// Milliseconds between two looks for requests that take too long.
const EXPIRY_LOOK_MS: u64 = 10;
/// The category of letters that are not to wait until a thread admits more: those of [`Category::Client`] do.
const ORDERS: Category = Category::FlexLatency;
/// How long one wait lasts before it looks whether the module still lives.
const WAIT: Duration = Duration::from_millis(50);

/// Why a module stopped, once it has.
pub type StopText = Arc<Mutex<Option<String>>>;

#[derive(Debug)]
struct Out {
    sender: Sender,
    /// By thread: letters that wait for others.
    open: Vec<LetterBatch>,
    /// By thread: letters that the thread takes whatever else it holds.
    orders: Vec<LetterBatch>,
    /// By thread: requests nobody waits for any more.
    cancelled: Vec<Vec<u8>>,
    /// When appends that wait for others leave.
    flush_at: Option<Nanos>,
    /// A ring was full when letters were to leave.
    is_stuffed: bool,
    /// When requests that take too long are looked for.
    expiry_at: Nanos,
    requests: Requests,
    /// Whether a thread blocks on the port.
    driven: bool,
    /// Threads that sleep until the driving one has taken something in.
    waiting: usize,
    /// Whether there is a thread that drives for those that await.
    has_driver: bool,
    /// How many instances of the module it was on before this one.
    lives: u64,
    /// Whether there will be a next one soon.
    is_restarting: bool,
}

struct Inner {
    module: Arc<ModuleRuntime>,
    out: Mutex<Out>,
    receiver: Mutex<Receiver>,
    arrived: Condvar,
    stopped: StopText,
    turn: AtomicU32,
    options: ClientOptions,
    /// Without one nothing takes too long, and nothing waits.
    clock: Option<Arc<dyn Clock + Send + Sync>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:?}", self.module.def.name, self.options)
    }
}

/// See the crate. Clones share the port.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

/// A connection that does not keep it open.
#[derive(Clone, Debug)]
pub struct WeakConnection {
    inner: Weak<Inner>,
}

impl WeakConnection {
    /// The connection, if somebody still has it.
    pub fn upgrade(&self) -> Option<Connection> {
        self.inner.upgrade().map(|inner| Connection { inner })
    }
}

/// A panic elsewhere while a lock was held leaves plain data: it stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// A connection over a port of the module's mesh.
    pub fn new(module: Arc<ModuleRuntime>, port: ClientPort, stopped: StopText) -> Self {
        Self::build(module, port, stopped, None, ClientOptions::default())
    }

    /// The same with options, and a clock that tells when requests take too long.
    pub fn with_options(
        module: Arc<ModuleRuntime>,
        port: ClientPort,
        stopped: StopText,
        clock: Arc<dyn Clock + Send + Sync>,
        options: ClientOptions,
    ) -> Self {
        Self::build(module, port, stopped, Some(clock), options)
    }

    fn build(
        module: Arc<ModuleRuntime>,
        port: ClientPort,
        stopped: StopText,
        clock: Option<Arc<dyn Clock + Send + Sync>>,
        options: ClientOptions,
    ) -> Self {
        let (sender, receiver) = port.split();
        Self::over(module, (Sender::Ring(sender), Receiver::Ring(receiver)), stopped, clock, options)
    }

    /// A connection over something that is no ring. Waiting on it is what makes the other side go on, so nothing else
    /// does: futures take part as their callers poll them.
    pub fn stepped(module: Arc<ModuleRuntime>, sender: Box<dyn SendHalf>, receiver: Box<dyn ReceiveHalf>) -> Self {
        let port = (Sender::Stepped(sender), Receiver::Stepped(receiver));
        Self::over(module, port, StopText::default(), None, ClientOptions::default())
    }

    fn over(
        module: Arc<ModuleRuntime>,
        (sender, receiver): (Sender, Receiver),
        stopped: StopText,
        clock: Option<Arc<dyn Clock + Send + Sync>>,
        options: ClientOptions,
    ) -> Self {
        let out = Out {
            sender,
            open: vec![LetterBatch::default(); module.thread_count as usize],
            orders: vec![LetterBatch::default(); module.thread_count as usize],
            cancelled: vec![Vec::new(); module.thread_count as usize],
            flush_at: None,
            is_stuffed: false,
            expiry_at: Nanos(0),
            requests: Requests::default(),
            driven: false,
            waiting: 0,
            has_driver: false,
            lives: 0,
            is_restarting: false,
        };
        let inner = Inner {
            module,
            out: Mutex::new(out),
            receiver: Mutex::new(receiver),
            arrived: Condvar::new(),
            stopped,
            turn: AtomicU32::new(0),
            options,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The module.
    pub fn module(&self) -> &ModuleRuntime {
        &self.inner.module
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// A task, each in turn.
    pub(crate) fn any_task(&self) -> TaskId {
        TaskId(self.inner.turn.fetch_add(1, Ordering::Relaxed) % self.inner.module.task_count)
    }

    /// Sends a letter; `want` says which answer a request is kept for. Waits while too many are out.
    pub(crate) fn send<'l>(&self, task: TaskId, want: Want, letter: impl FnOnce(u64) -> Letter<'l>) -> u64 {
        let thread = self.inner.module.thread_of(task).0;
        let mut out = lock(&self.inner.out);
        let answered = want != Want::Nothing;
        if out.sender.is_thread_gone(Peer(thread)) {
            return if answered { out.requests.add_failed(thread, self.inner.stop_text()) } else { UNANSWERED };
        }
        let is_call = matches!(want, Want::Call(_));
        while out.requests.unanswered() >= REQUEST_COUNT_MAX
            || (is_call && out.requests.calls(thread) >= CALL_COUNT_MAX)
        {
            out.flush();
            out = self.inner.drive(out);
        }
        let now = self.inner.now();
        let deadline = now.and_then(|now| self.inner.deadline(want, now));
        let request = if answered { out.requests.add(thread, want, deadline) } else { UNANSWERED };
        let batch = &mut out.open[thread as usize];
        letter(request).encode(&mut batch.bytes);
        batch.count += 1;
        let is_small = batch.bytes.len() < GATHER_SIZE_MAX;
        if let Some(now) = now.filter(|_| want == Want::Append && !self.inner.options.flush_delay.is_zero())
            && batch.count < DELAYED_COUNT_MAX
            && is_small
        {
            out.flush_at.get_or_insert(plus(now, self.inner.options.flush_delay));
            self.inner.wake_driver(&mut out);
            return request;
        }
        let gathers = batch.count < GATHER_COUNT_MAX && is_small;
        if !(gathers && answered && out.requests.unanswered() >= GATHER_FROM_COUNT) {
            out.flush_letters();
            // A full ring is the engine's way to say "slower".
            while out.open[thread as usize].bytes.len() >= GATHER_SIZE_MAX && !out.sender.is_thread_gone(Peer(thread)) {
                out = self.inner.drive(out);
                out.flush();
            }
        }
        request
    }

    /// Sends a letter that the task thread takes whatever else it holds: what gives something free is not kept out by what is
    /// held. It may overtake letters of the other kind.
    pub(crate) fn order<'l>(&self, task: TaskId, want: Want, letter: impl FnOnce(u64) -> Letter<'l>) -> u64 {
        let thread = self.inner.module.thread_of(task).0;
        let mut out = lock(&self.inner.out);
        let answered = want != Want::Nothing;
        if out.sender.is_thread_gone(Peer(thread)) {
            return if answered { out.requests.add_failed(thread, self.inner.stop_text()) } else { UNANSWERED };
        }
        let deadline = self.inner.now().and_then(|now| self.inner.deadline(want, now));
        let request = if answered { out.requests.add(thread, want, deadline) } else { UNANSWERED };
        let orders = &mut out.orders[thread as usize];
        letter(request).encode(&mut orders.bytes);
        orders.count += 1;
        out.flush_letters();
        self.inner.flush_later(&mut out);
        request
    }

    /// Waits for a request's answer.
    pub(crate) fn wait(&self, request: u64) -> Result<Answer, ClientError> {
        let mut out = lock(&self.inner.out);
        loop {
            if let Some(result) = out.requests.take(request) {
                return result;
            }
            out.flush_if_due(self.inner.now());
            out = self.inner.drive(out);
        }
    }

    /// Waits for a request's answer, not longer than for a time; without a clock, until something has come once.
    pub(crate) fn wait_for(&self, request: u64, timeout: Duration) -> Option<Result<Answer, ClientError>> {
        let mut out = lock(&self.inner.out);
        let until = self.inner.now().map(|now| plus(now, timeout));
        loop {
            if let Some(result) = out.requests.take(request) {
                return Some(result);
            }
            let now = self.inner.now();
            out.flush_if_due(now);
            if now.zip(until).is_some_and(|(now, until)| now >= until) {
                return None;
            }
            out = self.inner.drive_until(out, until);
            if until.is_none() {
                return out.requests.take(request);
            }
        }
    }

    /// A request's answer if it is there; otherwise the waker is told when it is.
    pub(crate) fn poll(&self, request: u64, waker: &Waker) -> Option<Result<Answer, ClientError>> {
        let mut out = lock(&self.inner.out);
        out.flush_if_due(self.inner.now());
        if let Some(result) = out.requests.take(request) {
            return Some(result);
        }
        if out.sender.is_stepped() {
            let mut out = self.inner.drive(out);
            let result = out.requests.take(request);
            drop(out);
            if result.is_none() {
                waker.wake_by_ref();
            }
            return result;
        }
        out.requests.wake(request, waker);
        self.inner.wake_driver(&mut out);
        None
    }

    /// Sends what was gathered.
    pub(crate) fn flush(&self) {
        lock(&self.inner.out).flush();
    }

    /// The module's process ended, with everything that is out: who waits is told so, and what was not sent yet is not
    /// sent to the next process. Only who steps a process needs to say this.
    pub fn lose(&self, text: &str) {
        let mut out = lock(&self.inner.out);
        out.open.fill(LetterBatch::default());
        out.orders.fill(LetterBatch::default());
        out.cancelled.iter_mut().for_each(Vec::clear);
        out.requests.fail_gone(|_| true, || text.to_string());
        drop(self.inner.wake(out));
    }

    /// Says that the module is about to be launched again, and [`Connection::retarget`] will be called; or that it will not.
    pub fn expect_restart(&self, is_restarting: bool) {
        lock(&self.inner.out).is_restarting = is_restarting;
        self.inner.arrived.notify_all();
    }

    /// How many instances of the module it was on before this one.
    pub(crate) fn lives(&self) -> u64 {
        lock(&self.inner.out).lives
    }

    /// When what is asked of a depot now takes too long; never without a clock.
    pub(crate) fn depot_deadline(&self) -> Option<Nanos> {
        self.inner.now().and_then(|now| self.inner.deadline(Want::Depot, now))
    }

    /// Waits for another instance of the module than that after so many, as long as one is expected and not longer than until a
    /// moment; whether there is one.
    pub(crate) fn await_restart(&self, lives: u64, until: Option<Nanos>) -> bool {
        let mut out = lock(&self.inner.out);
        loop {
            let is_late = self.inner.now().zip(until).is_none_or(|(now, until)| now >= until);
            if out.lives != lives || !out.is_restarting || is_late {
                return out.lives != lives && !is_late;
            }
            out = self.inner.sleep(out, until);
        }
    }

    /// Goes on over another port, to the module's next instance; what is out on this one is lost.
    pub fn retarget(&self, port: ClientPort) {
        self.lose("the module was launched again");
        let (sender, receiver) = port.split();
        let mut old = lock(&self.inner.receiver);
        let mut out = lock(&self.inner.out);
        out.sender = Sender::Ring(sender);
        *old = Receiver::Ring(receiver);
        out.lives += 1;
        out.is_restarting = false;
        self.inner.arrived.notify_all();
    }

    /// The same connection, as long as somebody else has it.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { inner: Arc::downgrade(&self.inner) }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn forget(&self, request: u64) {
        let mut out = lock(&self.inner.out);
        let Some((thread, want)) = out.requests.forget(request) else { return };
        out.cancel(thread, request);
        // Appends that nobody waits for may be many: the engine is told of several at once.
        if want != Want::Append || out.cancelled[thread as usize].len() >= CANCEL_SIZE {
            out.flush();
        } else if out.flush_at.is_none() {
            out.flush_letters();
        }
        self.inner.flush_later(&mut out);
    }
}

fn plus(now: Nanos, delay: Duration) -> Nanos {
    Nanos(now.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
}

/// Drives a connection for those that await on it, as long as it lives.
fn drive_awaited(connection: &Weak<Inner>) {
    while let Some(inner) = connection.upgrade() {
        let mut out = lock(&inner.out);
        if out.requests.awaited() == 0 && out.flush_at.is_none() {
            out = inner.sleep(out, None);
        } else {
            out.flush_if_due(inner.now());
            inner.flush_later(&mut out);
            out = inner.drive(out);
        }
        drop(out);
    }
}

impl Inner {
    fn now(&self) -> Option<Nanos> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    fn stop_text(&self) -> String {
        lock(&self.stopped).clone().unwrap_or_else(|| "its threads ended".to_string())
    }

    /// When a request takes too long.
    fn deadline(&self, want: Want, now: Nanos) -> Option<Nanos> {
        self.timeout(want).map(|timeout| plus(now, timeout))
    }

    fn timeout(&self, want: Want) -> Option<Duration> {
        match want {
            Want::Append | Want::Depot => Some(self.options.depot_timeout),
            Want::Read => Some(self.options.pstate_timeout),
            Want::Control => Some(self.options.control_timeout),
            Want::Within(timeout) | Want::Call(timeout) => Some(timeout),
            Want::Nothing => None,
        }
    }

    /// Wakes those whose answers are there, while nobody holds the lock: an executor may poll them then and there.
    fn wake<'i>(&'i self, mut out: MutexGuard<'i, Out>) -> MutexGuard<'i, Out> {
        let woken = out.requests.take_woken();
        if woken.is_empty() {
            return out;
        }
        drop(out);
        woken.into_iter().for_each(Waker::wake);
        lock(&self.out)
    }

    /// Fails requests that take too long, now and then.
    fn expire(&self, out: &mut Out) {
        let Some(now) = self.now().filter(|now| *now >= out.expiry_at) else { return };
        out.expiry_at = now.plus_ms(EXPIRY_LOOK_MS);
        for (request, thread) in out.requests.expire(now, |want| self.timeout(want).unwrap_or_default()) {
            out.cancel(thread, request);
            out.flush();
        }
    }

    /// How long a wait may last: not past the time when something leaves, or the caller wants to go on.
    fn wait_time(&self, out: &Out, until: Option<Nanos>) -> Duration {
        let delay = self.options.flush_delay;
        let most = if delay.is_zero() { WAIT } else { WAIT.min(delay.max(Duration::from_millis(1))) };
        let at = out.flush_at.into_iter().chain(until).min();
        match (self.now(), at) {
            (Some(now), Some(at)) => most.min(Duration::from_nanos(at.since(now).max(1))),
            _ => most,
        }
    }

    /// Sees to it that what a full ring did not take leaves before long, though nobody waits for anything.
    fn flush_later(self: &Arc<Self>, out: &mut Out) {
        if let Some(now) = self.now().filter(|_| out.is_stuffed) {
            out.flush_at.get_or_insert(now.plus_ms(RETRY_MS));
            self.wake_driver(out);
        }
    }

    /// Sees to it that a thread drives for those that await.
    fn wake_driver(self: &Arc<Self>, out: &mut Out) {
        if !std::mem::replace(&mut out.has_driver, true) {
            let inner = Arc::downgrade(self);
            std::thread::Builder::new()
                .name("tantu-client".to_string())
                .spawn(move || drive_awaited(&inner))
                .expect("a thread can be started");
        }
        // The driver sleeps while nobody awaits.
        if out.waiting > 0 {
            self.arrived.notify_all();
        }
    }

    /// Blocks a while for arrivals: as the one that takes them in, or until the one that does has some. Whatever the caller
    /// looked for under the lock it finds not to be there yet, so it cannot miss it.
    fn drive<'i>(&'i self, out: MutexGuard<'i, Out>) -> MutexGuard<'i, Out> {
        self.drive_until(out, None)
    }

    /// The same, not longer than until a moment.
    fn drive_until<'i>(&'i self, mut out: MutexGuard<'i, Out>, until: Option<Nanos>) -> MutexGuard<'i, Out> {
        if out.driven {
            return self.sleep(out, until);
        }
        out.driven = true;
        let wait = self.wait_time(&out, until);
        drop(out);
        let driving = Driving(self);
        let mut receiver = lock(&self.receiver);
        if !self.take_in(&mut receiver) {
            if !self.lingers(&receiver, wait) {
                receiver.wait(wait);
            }
            if !self.take_in(&mut receiver) {
                self.fail_gone(&receiver);
            }
        }
        drop(receiver);
        drop(driving);
        let mut out = lock(&self.out);
        self.expire(&mut out);
        self.wake(out)
    }

    /// Looks for arrivals before it sleeps; whether that is all it has time for, or something came.
    fn lingers(&self, receiver: &Receiver, wait: Duration) -> bool {
        let spin = self.options.spin;
        let Some(began) = self.now().filter(|_| !spin.is_zero()) else { return false };
        let until = plus(began, spin.min(wait));
        loop {
            if receiver.has_letters() {
                return true;
            }
            if self.now().is_none_or(|now| now >= until) {
                return wait <= spin;
            }
            // Whoever else wants the processor gets it: a task thread, or what makes its writes durable.
            std::thread::yield_now();
        }
    }

    fn sleep<'i>(&'i self, mut out: MutexGuard<'i, Out>, until: Option<Nanos>) -> MutexGuard<'i, Out> {
        out.waiting += 1;
        let wait = self.wait_time(&out, until);
        let (mut out, _) = self.arrived.wait_timeout(out, wait).unwrap_or_else(PoisonError::into_inner);
        out.waiting -= 1;
        self.expire(&mut out);
        self.wake(out)
    }

    fn take_in(&self, receiver: &mut Receiver) -> bool {
        let mut any = false;
        while let Some((from, category, batch)) = receiver.receive_any() {
            any = true;
            let mut out = lock(&self.out);
            let mut reader = FixedReader::new(&batch.bytes);
            while let Some(Ok(letter)) = Letter::decode_next(&mut reader) {
                out.requests.answered(letter);
            }
            drop(out);
            receiver.give_back(from, category, batch.bytes);
        }
        any
    }

    /// Requests on threads that ended will not be answered.
    fn fail_gone(&self, receiver: &Receiver) {
        let gone = |thread: u32| receiver.is_thread_gone(Peer(thread));
        if (0..self.module.thread_count).any(gone) {
            lock(&self.out).requests.fail_gone(gone, || self.stop_text());
        }
    }
}

/// While it lives its thread drives; another can when it is dropped, even by a panic of a waker.
struct Driving<'i>(&'i Inner);

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut out = lock(&self.0.out);
        out.driven = false;
        // Waking nobody costs a system call all the same.
        if out.waiting > 0 {
            self.0.arrived.notify_all();
        }
    }
}

impl Drop for Inner {
    /// Nobody waits for anything any more: the task threads give free what they hold for this connection.
    fn drop(&mut self) {
        let out = self.out.get_mut().unwrap_or_else(PoisonError::into_inner);
        out.cancelled.iter_mut().for_each(Vec::clear);
        // Behind its requests too, which may still be in a ring.
        for batch in out.orders.iter_mut().chain(&mut out.open) {
            Letter::Client(ClientLetter::Cancel { requests: &[] }).encode(&mut batch.bytes);
            batch.count += 1;
        }
        out.flush();
    }
}

impl Out {
    /// A task thread is to be told that nobody waits for a request.
    fn cancel(&mut self, thread: u32, request: u64) {
        self.cancelled[thread as usize].extend_from_slice(&request.to_le_bytes());
    }

    /// Sends what was gathered unless it waits for more.
    fn flush_if_due(&mut self, now: Option<Nanos>) {
        if self.flush_at.is_none_or(|at| now.is_none_or(|now| at <= now)) {
            self.flush();
        }
    }

    /// Sends what was gathered, and which requests nobody waits for.
    fn flush(&mut self) {
        for ((open, orders), cancelled) in self.open.iter_mut().zip(&mut self.orders).zip(&mut self.cancelled) {
            if !cancelled.is_empty() {
                // A request that was taken in is ended although no more are taken in; one that waits in a ring, when it is.
                for batch in [orders, open] {
                    Letter::Client(ClientLetter::Cancel { requests: cancelled }).encode(&mut batch.bytes);
                    batch.count += 1;
                }
                cancelled.clear();
            }
        }
        self.flush_letters();
    }

    /// Sends what was gathered.
    fn flush_letters(&mut self) {
        (self.flush_at, self.is_stuffed) = (None, false);
        let mut sent = false;
        for (category, batches) in [(ORDERS, &mut self.orders), (Category::Client, &mut self.open)] {
            for (thread, batch) in batches.iter_mut().enumerate().filter(|(_, batch)| batch.count > 0) {
                let to = Peer(thread as u32);
                match self.sender.send(to, category, std::mem::take(batch)) {
                    Ok(()) => {
                        batch.bytes = self.sender.buffer(to, category);
                        sent = true;
                    }
                    Err(back) => {
                        *batch = back;
                        self.is_stuffed = true;
                    }
                }
            }
        }
        if sent {
            self.sender.ring_bells();
        }
    }
}
