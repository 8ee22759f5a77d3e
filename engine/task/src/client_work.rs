//! What clients ask of a task: appends and selects.
//!
//! A select runs at the version that was visible when it arrived, which stays pinned until it ends. It is pure, so one
//! that stops for a block simply runs again; a large one is answered in pages, other work in between.

use crate::limit::{ROWS_SIZE, SELECT_COUNT_PER_LOOK, SELECT_COUNT_PER_TURN, SELECT_COUNT_TOGETHER, TURN_NS_TARGET};
use crate::overrun::guarded;
use crate::slot::{AppendWait, TaskSlot};
use crate::thread::TaskThread;
use crate::waiters::Waiters;
use std::collections::VecDeque;
use tantu_base::door::{Doors, Nanos, Peer};
use tantu_base::id::{Category, ObjectId, TaskId, Version};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::planted::{self, Bug};
use tantu_base::value::{Reader, Value};
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{AckLevel, ClientLetter, Letter, Refusal};
use tantu_path::{Arg, EvalError, NoArgs, PageLimit, Path, Scratch, select_page};
use tantu_state::layout::object_key;
use tantu_state::view::PinnedView;

#[derive(Debug)]
struct Select {
    peer: Peer,
    request: u64,
    slot: usize,
    pstate: usize,
    path: Path,
    at: Version,
    after: Option<Vec<u8>>,
}

/// Selects that run now, and those that wait for blocks.
#[derive(Debug, Default)]
pub(crate) struct Selects {
    ready: VecDeque<Select>,
    /// Each with the blocks it waits for.
    parked: Vec<(Select, Need)>,
    scratch: Scratch,
    expected: Expected,
}

/// Keys in the trees of tasks that are read soon.
#[derive(Debug, Default)]
struct Expected {
    bytes: Vec<u8>,
    /// Slot, start, end.
    keys: Vec<(usize, usize, usize)>,
    key: Vec<u8>,
    tree_key: Vec<u8>,
}

impl Expected {
    fn clear(&mut self) {
        self.bytes.clear();
        self.keys.clear();
    }

    fn push(&mut self, slot: usize, object: ObjectId, key: &Value) {
        self.key.clear();
        key.encode_key(&mut self.key);
        object_key(object, &self.key, &mut self.tree_key);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&self.tree_key);
        self.keys.push((slot, start, self.bytes.len()));
    }
}

impl Selects {
    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.ready.len() + self.parked.len()
    }

    /// A client wants no answers to these requests: their versions are given free.
    fn cancel(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool, slots: &mut [TaskSlot]) {
        let cancelled = |select: &Select| is_cancelled(select.peer, select.request);
        let mut gone: VecDeque<Select> =
            self.parked.extract_if(.., |(select, _)| cancelled(select)).map(|(select, _)| select).collect();
        let (ready, kept) = std::mem::take(&mut self.ready).into_iter().partition(cancelled);
        self.ready = kept;
        gone.extend::<VecDeque<Select>>(ready);
        gone.into_iter().for_each(|select| slots[select.slot].state.unpin(select.at));
    }

    /// Blocks of a slot's tree arrived: whoever waits for one of them looks again.
    pub(crate) fn wake(&mut self, slot: usize, arrived: &Neighbours) {
        let waits = |(select, need): &mut (Select, Need)| {
            select.slot == slot && need.blocks().iter().any(|id| arrived.hold(id))
        };
        self.ready.extend(self.parked.extract_if(.., waits).map(|(select, _)| select));
    }
}

impl TaskThread {
    pub(crate) fn take_append(
        &mut self,
        peer: Peer,
        task: TaskId,
        request: u64,
        depot: u16,
        ack: AckLevel,
        record: &[u8],
    ) {
        let slot = match self.check_append(task, depot, record) {
            Ok(slot) => slot,
            Err((refusal, text)) => {
                // Who asked for no answer gets none.
                if ack != AckLevel::None {
                    self.refuse(peer, request, refusal, &text);
                }
                return;
            }
        };
        let slot = &mut self.slots[slot];
        let depot = usize::from(depot);
        let offset = slot.state.depot_mut(depot).stage(record);
        if ack == AckLevel::AppendAck && planted::has(Bug::AckBeforeDurable) {
            self.outbox.push(peer, Category::Client, &Letter::Appended { request, offset });
        } else if ack != AckLevel::None {
            slot.gathering.appends.push(AppendWait { depot, offset, ack, peer, request });
        }
    }

    /// Where a client's record goes, or why it is not taken.
    pub(crate) fn check_append(&self, task: TaskId, depot: u16, record: &[u8]) -> Result<usize, (Refusal, String)> {
        if self.closing {
            return Err((Refusal::Closing, "the module is closing".to_string()));
        }
        let slot = self.check_partition(task, depot).map_err(|text| (Refusal::Invalid, text))?;
        let def = &self.config.module.def.depots[usize::from(depot)];
        if def.tick.is_some() {
            return Err((Refusal::Invalid, format!("{} is a tick depot: nothing is appended to it", def.name)));
        }
        if self.space.is_full() {
            return Err((Refusal::StorageFull, self.space.describe()));
        }
        if record.len() > RECORD_SIZE_MAX {
            let text = format!("the record has {} bytes, the most is {RECORD_SIZE_MAX}", record.len());
            return Err((Refusal::Invalid, text));
        }
        check_record(record).map_err(|text| (Refusal::Invalid, text))?;
        Ok(slot)
    }

    pub(crate) fn take_select(&mut self, peer: Peer, task: TaskId, request: u64, pstate: u16, path: &[u8]) {
        let slot = match self.check_reader(task, pstate) {
            Ok(slot) if self.take_point((peer, request), slot, pstate, path) => return,
            slot => slot,
        };
        match slot.and_then(|slot| Ok((slot, self.read_path(path)?))) {
            Ok((slot, path)) => {
                let at = self.slots[slot].state.visible();
                self.start_select(peer, request, slot, pstate, (path, at));
            }
            Err(text) => self.refuse(peer, request, Refusal::Invalid, &text),
        }
    }

    /// A client reads at the version that is kept for its snapshot.
    pub(crate) fn take_select_at(
        &mut self,
        peer: Peer,
        task: TaskId,
        request: u64,
        pstate: u16,
        snapshot: u64,
        path: &[u8],
    ) {
        match self.check_reader(task, pstate).and_then(|slot| Ok((slot, self.read_path(path)?))) {
            Ok((slot, path)) => match self.holds.of_client(peer, snapshot, slot) {
                Some(at) => self.start_select(peer, request, slot, pstate, (path, at)),
                None => {
                    let text = "the snapshot was released, or kept too long, or is another client's";
                    self.refuse(peer, request, Refusal::NotKept, text);
                }
            },
            Err(text) => self.refuse(peer, request, Refusal::Invalid, &text),
        }
    }

    /// Where a client reads, or why it may not.
    fn check_reader(&self, task: TaskId, pstate: u16) -> Result<usize, String> {
        let module = &self.config.module;
        match (self.slot_of(task), module.def.pstates.get(usize::from(pstate))) {
            (None, _) => Err(format!("{task} is not on {}", self.config.thread)),
            (_, None) => Err(format!("the module has no PState {pstate}")),
            (_, Some(def)) if def.private => Err(format!("the PState {} is private to its module", def.name)),
            (_, Some(def)) if def.global && task != TaskId(0) => {
                Err(format!("the PState {} is global: its one partition is on task 0", def.name))
            }
            (Some(slot), Some(_)) => Ok(slot),
        }
    }

    fn read_path(&self, path: &[u8]) -> Result<Path, String> {
        Path::decode_with(path, &self.config.module.def.functions).map_err(|error| error.to_string())
    }

    pub(crate) fn start_select(
        &mut self,
        peer: Peer,
        request: u64,
        slot: usize,
        pstate: u16,
        (path, at): (Path, Version),
    ) {
        self.slots[slot].state.pin(at);
        let pstate = usize::from(pstate);
        self.selects.ready.push_back(Select { peer, request, slot, pstate, path, at, after: None });
    }

    /// Runs a page each of some selects that are ready, few if they have much to read; false if none is.
    pub(crate) fn run_selects(&mut self, doors: &mut Doors<'_>) -> bool {
        let (began, mut ran) = (doors.clock.now(), 0);
        while ran < SELECT_COUNT_PER_TURN && !self.selects.ready.is_empty() {
            if ran % SELECT_COUNT_TOGETHER == 0 {
                self.expect_selects();
            }
            let is_large = self.run_select(doors);
            ran += 1;
            let looks = is_large || ran % SELECT_COUNT_PER_LOOK == 0;
            if looks && doors.clock.now().since(began) > TURN_NS_TARGET {
                break;
            }
        }
        ran > 0
    }

    /// Has fetched what the next selects look at, where that is known before they run: side by side their reads wait once
    /// for memory, one after the other each of them does.
    fn expect_selects(&mut self) {
        let Selects { ready, expected, .. } = &mut self.selects;
        expected.clear();
        for select in ready.iter().take(SELECT_COUNT_TOGETHER).filter(|select| select.after.is_none()) {
            if let Some(Arg::Const(key)) = select.path.leading_key() {
                expected.push(select.slot, self.config.module.pstates[select.pstate], key);
            }
        }
        expected.keys.sort_unstable();
        for keys in expected.keys.chunk_by(|one, other| one.0 == other.0).filter(|keys| keys.len() > 1) {
            let keys_of = keys.iter().map(|(_, start, end)| &expected.bytes[*start..*end]);
            self.slots[keys[0].0].state.expect_reads(keys_of);
        }
    }

    /// Runs a page of the next select; says whether it was one of several.
    fn run_select(&mut self, doors: &mut Doors<'_>) -> bool {
        let mut select = self.selects.ready.pop_front().expect("invariant: one is ready");
        let module = &self.config.module;
        let def = &module.def.pstates[select.pstate];
        let mut need = None;
        let slot = &mut self.slots[select.slot];
        let mut view = PinnedView {
            state: &slot.state,
            cache: &mut self.cache,
            need: &mut need,
            objects: &module.pstates,
            at: select.at,
        };
        let object = ObjectId(select.pstate as u32);
        let limit = PageLimit { size: ROWS_SIZE, ..PageLimit::default() };
        let mut is_large = false;
        let (scratch, after) = (&mut self.selects.scratch, select.after.as_deref());
        // Functions that the module declares for its clients are the author's.
        let page =
            guarded(|| select_page(&def.schema, object, &select.path, &mut view, &NoArgs, scratch, after, limit));
        match page.unwrap_or_else(|panic| Err(EvalError::Store(panic))) {
            Ok(page) => {
                let more = page.next.is_some();
                is_large = more;
                let letter =
                    Letter::Rows { request: select.request, more, count: page.row_count as u32, rows: &page.rows };
                self.outbox.push(select.peer, Category::Client, &letter);
                if more {
                    select.after = page.next;
                    self.selects.ready.push_back(select);
                } else {
                    slot.state.unpin(select.at);
                }
            }
            Err(EvalError::Need) => {
                let need = need.expect("invariant: a view that stops for blocks names them");
                if slot.state.fetch(&need, doors.disk) {
                    self.selects.parked.push((select, need));
                } else {
                    self.selects.ready.push_back(select);
                }
            }
            Err(error) => {
                slot.state.unpin(select.at);
                self.refuse(select.peer, select.request, Refusal::ReadFailed, &error.to_string());
            }
        }
        is_large
    }
}

impl TaskThread {
    /// A client wants no answers to these requests, or to none at all: what they hold goes. What was staged stays.
    pub(crate) fn take_cancel(&mut self, peer: Peer, requests: &[u8], now: Nanos) {
        let mut named: Vec<u64> = ClientLetter::cancelled(requests).collect();
        named.sort_unstable();
        let all = named.is_empty();
        let is_cancelled = |of: Peer, request: u64| of == peer && (all || named.binary_search(&request).is_ok());
        self.selects.cancel(is_cancelled, &mut self.slots);
        self.depot_reads.cancel(is_cancelled);
        self.number_waits.cancel(is_cancelled);
        self.processed_waits.cancel(is_cancelled);
        self.cancel_calls(is_cancelled, now);
        self.cancel_holds(is_cancelled, all.then_some(peer));
        self.micro.coordinators.iter_mut().for_each(|coordinator| coordinator.cancel(is_cancelled));
        for slot in &mut self.slots {
            slot.waiters.iter_mut().for_each(|waiters| waiters.cancel(is_cancelled));
            cancel_appends(&mut slot.gathering.appends, is_cancelled);
        }
        self.pipeline.each_appends(|appends| cancel_appends(appends, is_cancelled));
    }

    /// What clients' requests hold here: selects, reads of depots, calls of queries, appends that wait, snapshots.
    pub fn client_work(&self) -> ClientWork {
        let waiters =
            |slot: &TaskSlot| slot.gathering.appends.len() + slot.waiters.iter().map(Waiters::count).sum::<usize>();
        ClientWork {
            selects: self.selects.count(),
            depot_reads: self.depot_reads.count(),
            calls: self.queries.call_count(),
            events: self.queries.event_count() + self.slots.iter().map(|slot| slot.calls.count()).sum::<usize>(),
            appends: self.slots.iter().map(waiters).sum::<usize>() + self.number_waits.count(),
            holds: self.holds.count(),
        }
    }
}

/// Nobody is told of these appends any more.
fn cancel_appends(appends: &mut Vec<AppendWait>, is_cancelled: impl Fn(Peer, u64) -> bool) {
    appends.retain(|append| !is_cancelled(append.peer, append.request));
}

/// How much of clients is under way on a task thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientWork {
    /// Selects, each with a pinned version.
    pub selects: usize,
    /// Reads of depot partitions.
    pub depot_reads: usize,
    /// Calls of queries that started here, those that events wait for included.
    pub calls: usize,
    /// Events of calls.
    pub events: usize,
    /// Appends that wait to be sealed or to be processed, or that were repeated.
    pub appends: usize,
    /// Microbatches that are kept readable, for calls and for clients.
    pub holds: usize,
}

impl std::iter::Sum for ClientWork {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            selects: a.selects + b.selects,
            depot_reads: a.depot_reads + b.depot_reads,
            calls: a.calls + b.calls,
            events: a.events + b.events,
            appends: a.appends + b.appends,
            holds: a.holds + b.holds,
        })
    }
}

/// A record must be one whole value: whoever reads it later relies on that.
fn check_record(record: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(record);
    reader.skip().map_err(|error| format!("the record is not a value: {error}"))?;
    if reader.is_empty() { Ok(()) } else { Err("the record goes on after its value".to_string()) }
}
