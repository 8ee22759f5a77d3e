//! What clients ask of a task: appends and selects.
//!
//! A select runs at the version that was visible when it arrived, which stays pinned until it ends. It is pure, so one
//! that stops for a block simply runs again; a large one is answered in pages, other work in between.

use crate::limit::ROWS_SIZE;
use crate::slot::AppendWait;
use crate::thread::{StopReason, TaskThread};
use std::collections::VecDeque;
use tantu_base::door::{Doors, Peer};
use tantu_base::id::{Category, ObjectId, TaskId, Version};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::value::Reader;
use tantu_lsm::{Need, Neighbours};
use tantu_net::letter::{AckLevel, Letter, Refusal};
use tantu_path::{EvalError, NoArgs, PageLimit, Path, Scratch, select_page};
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
}

impl Selects {
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
        let module = &self.config.module;
        let slot = self.slot_of(task);
        let refusal = match (slot, module.def.depots.get(usize::from(depot))) {
            _ if self.closing => Some((Refusal::Closing, "the module is closing".to_string())),
            (None, _) => Some((Refusal::Invalid, format!("{task} is not on {}", self.config.thread))),
            (_, None) => Some((Refusal::Invalid, format!("the module has no depot {depot}"))),
            (_, Some(def)) if def.global && task != TaskId(0) => {
                Some((Refusal::Invalid, format!("the depot {} is global: its one partition is on task 0", def.name)))
            }
            (_, Some(def)) if def.tick.is_some() => {
                Some((Refusal::Invalid, format!("{} is a tick depot: nothing is appended to it", def.name)))
            }
            _ if self.space.is_full() => Some((Refusal::StorageFull, self.space.describe())),
            _ if record.len() > RECORD_SIZE_MAX => Some((
                Refusal::Invalid,
                format!("the record has {} bytes, the most is {RECORD_SIZE_MAX}", record.len()),
            )),
            _ => check_record(record).err().map(|text| (Refusal::Invalid, text)),
        };
        if let Some((refusal, text)) = refusal {
            // Who asked for no answer gets none.
            if ack != AckLevel::None {
                self.refuse(peer, request, refusal, &text);
            }
            return;
        }
        let slot = &mut self.slots[slot.expect("invariant: checked above")];
        let depot = usize::from(depot);
        let offset = slot.state.depot_mut(depot).stage(record);
        if ack != AckLevel::None {
            slot.gathering.appends.push(AppendWait { depot, offset, ack, peer, request });
        }
    }

    pub(crate) fn take_select(&mut self, peer: Peer, task: TaskId, request: u64, pstate: u16, path: &[u8]) {
        let module = &self.config.module;
        let def = module.def.pstates.get(usize::from(pstate));
        let refusal = match (self.slot_of(task), def) {
            (None, _) => Some(format!("{task} is not on {}", self.config.thread)),
            (_, None) => Some(format!("the module has no PState {pstate}")),
            (_, Some(def)) if def.private => Some(format!("the PState {} is private to its module", def.name)),
            (_, Some(def)) if def.global && task != TaskId(0) => {
                Some(format!("the PState {} is global: its one partition is on task 0", def.name))
            }
            _ => None,
        };
        if let Some(text) = refusal {
            self.refuse(peer, request, Refusal::Invalid, &text);
            return;
        }
        match Path::decode_with(path, &module.def.functions) {
            Err(error) => self.refuse(peer, request, Refusal::Invalid, &error.to_string()),
            Ok(path) => {
                let slot = self.slot_of(task).expect("invariant: checked above");
                let state = &mut self.slots[slot].state;
                let at = state.visible();
                state.pin(at);
                self.selects.ready.push_back(Select {
                    peer,
                    request,
                    slot,
                    pstate: usize::from(pstate),
                    path,
                    at,
                    after: None,
                });
            }
        }
    }

    /// Runs one page of one select; false if none is ready.
    pub(crate) fn run_selects(&mut self, doors: &mut Doors<'_>) -> Result<bool, StopReason> {
        let Some(mut select) = self.selects.ready.pop_front() else { return Ok(false) };
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
        let page = select_page(
            &def.schema,
            object,
            &select.path,
            &mut view,
            &NoArgs,
            &mut self.selects.scratch,
            select.after.as_deref(),
            limit,
        );
        match page {
            Ok(page) => {
                let more = page.next.is_some();
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
        Ok(true)
    }
}

/// A record must be one whole value: whoever reads it later relies on that.
fn check_record(record: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(record);
    reader.skip().map_err(|error| format!("the record is not a value: {error}"))?;
    if reader.is_empty() { Ok(()) } else { Err("the record goes on after its value".to_string()) }
}
