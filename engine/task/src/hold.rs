//! Reads of all partitions at one microbatch: every task keeps the version that has what a topology published up to one
//! microbatch, and nothing of it that was published later (design D4, D15).
//!
//! Who wants it asks the thread of task 0, whose coordinator knows which microbatch is finished: that one is visible on every task.
//! The thread tells every other to keep it, in the same order of letters in which it tells them that later ones are finished;
//! so what is asked for is always there, but for the first time: until somebody asks, no thread keeps what was before a
//! publish, which would cost every module something. Then it is asked again a little later.
//!
//! What is kept goes when its call or its client says so, and otherwise after its lease.

use crate::limit::{HOLD_COUNT_MAX, HOLD_LEASE_MS_MAX, HOLD_RETRY_MS};
use crate::thread::TaskThread;
use std::collections::BTreeMap;
use tantu_base::door::{Nanos, Peer};
use tantu_base::id::{Category, Offset, TaskId, Version};
use tantu_base::planted::{self, Bug};
use tantu_net::letter::{ClientLetter, HoldSays, Letter, Refusal, Root, SnapshotSays};

/// What the roots of clients' snapshots have instead of a source.
const OF_CLIENT: u16 = u16::MAX;

/// A root without its attempt.
pub(crate) type Key = (TaskId, u16, Offset);

pub(crate) fn key(root: &Root) -> Key {
    (root.task, root.source, root.offset)
}

/// A version of every task of the thread.
#[derive(Debug)]
struct Held {
    /// By slot.
    versions: Vec<Version>,
    until: Nanos,
    /// Of a client's snapshot.
    peer: Option<Peer>,
}

/// Something that this thread asked for, and that is not kept everywhere yet.
#[derive(Debug)]
struct Asking {
    root: Root,
    topology: u16,
    lease_ms: u64,
    /// Threads that have not answered.
    missing: u32,
    /// Whether one could not.
    is_gone: bool,
    id: u64,
    /// When it is asked again.
    retry_at: Option<Nanos>,
    until: Nanos,
    /// Of a client's snapshot; otherwise it is a call's.
    client: Option<(Peer, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: BTreeMap<Key, Held>,
    asking: BTreeMap<Key, Asking>,
    /// The number of the next snapshot. The first of each life is drawn: a client's connection goes on over a restart, and its
    /// snapshots of the life before are no other's.
    next: u64,
}

impl Holds {
    /// None yet; snapshots are numbered from here on.
    pub(crate) fn from_number(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.held.len() + self.asking.len()
    }

    /// The version of a slot that is kept for a call.
    pub(crate) fn of_call(&self, root: &Root, slot: usize) -> Option<Version> {
        self.held.get(&key(root)).map(|held| held.versions[slot])
    }

    /// The version of a slot that is kept for a client's snapshot.
    pub(crate) fn of_client(&self, peer: Peer, number: u64, slot: usize) -> Option<Version> {
        let held = self.held.get(&(TaskId(0), OF_CLIENT, Offset(number)))?;
        (held.peer == Some(peer)).then(|| held.versions[slot])
    }

    /// When something is to be done.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        let retries = self.asking.values().map(|asking| asking.retry_at.unwrap_or(asking.until));
        self.held.values().map(|held| held.until).chain(retries).min()
    }
}

impl TaskThread {
    /// A call is to see one microbatch of a topology: it starts when that is kept everywhere.
    pub(crate) fn hold_for_call(&mut self, root: Root, topology: u16, lease_ms: u64, now: Nanos) {
        self.ask_hold(root, topology, lease_ms, None, now);
    }

    fn ask_hold(&mut self, root: Root, topology: u16, lease_ms: u64, client: Option<(Peer, u64)>, now: Nanos) {
        let (missing, until) = (self.config.module.thread_count, now.plus_ms(lease_ms));
        let asking = Asking { root, topology, lease_ms, missing, is_gone: false, id: 0, retry_at: None, until, client };
        self.holds.asking.insert(key(&root), asking);
        self.say_hold(TaskId(0), root, topology, HoldSays::Ask, (0, lease_ms), now);
    }

    pub(crate) fn say_hold(
        &mut self,
        task: TaskId,
        root: Root,
        topology: u16,
        says: HoldSays,
        (id, lease_ms): (u64, u64),
        now: Nanos,
    ) {
        let thread = self.config.module.thread_of(task);
        if thread == self.config.thread {
            return self.take_hold(root, topology, says, (id, lease_ms), now);
        }
        let letter = Letter::Client(ClientLetter::Hold { task, root, topology, says, id, lease_ms });
        // As the letters about microbatches travel: none overtakes those.
        self.outbox.push(Peer(thread.0), Category::FlexLatency, &letter);
    }

    /// Something is said about what is kept.
    pub(crate) fn take_hold(
        &mut self,
        root: Root,
        topology: u16,
        says: HoldSays,
        (id, lease_ms): (u64, u64),
        now: Nanos,
    ) {
        match says {
            HoldSays::Ask => {
                let Some(coordinator) = self.micro.coordinators.get(usize::from(topology)) else { return };
                let finished = coordinator.status().0;
                for thread in 0..self.config.module.thread_count {
                    // The first task of a thread has its number.
                    self.say_hold(TaskId(thread), root, topology, HoldSays::Keep, (finished, lease_ms), now);
                }
            }
            HoldSays::Keep => {
                let is_kept = self.keep(root, topology, id, now.plus_ms(lease_ms));
                let says = if is_kept { HoldSays::Kept } else { HoldSays::Gone };
                self.say_hold(root.task, root, topology, says, (id, lease_ms), now);
            }
            HoldSays::Over => self.take_over(&root, now),
            HoldSays::Kept | HoldSays::Gone => self.hear_hold(&root, says == HoldSays::Kept, id, now),
        }
    }

    /// Keeps what was published up to a microbatch, and nothing later, on all tasks here; false if it is not there.
    fn keep(&mut self, root: Root, topology: u16, id: u64, until: Nanos) -> bool {
        let Some(ids) = self.config.module.microbatches.get(usize::from(topology)) else { return false };
        let topology = ids.topology;
        let find = |slot: &mut crate::slot::TaskSlot| {
            slot.state.keep_before_publishes();
            if planted::has(Bug::SnapshotOfNow) {
                return Some(slot.state.visible());
            }
            slot.state.version_up_to(topology, id)
        };
        let versions: Vec<Option<Version>> = self.slots.iter_mut().map(find).collect();
        let Some(versions) = versions.into_iter().collect::<Option<Vec<_>>>() else { return false };
        for (slot, version) in self.slots.iter_mut().zip(&versions) {
            slot.state.pin(*version);
        }
        let peer = (root.source == OF_CLIENT).then_some(Peer(root.attempt));
        self.release_hold(&key(&root));
        self.holds.held.insert(key(&root), Held { versions, until, peer });
        true
    }

    /// Gives free what is kept here.
    pub(crate) fn release_hold(&mut self, key: &Key) {
        if let Some(held) = self.holds.held.remove(key) {
            for (slot, version) in self.slots.iter_mut().zip(held.versions) {
                slot.state.unpin(version);
            }
        }
    }

    /// A thread says whether it keeps what was asked for here.
    fn hear_hold(&mut self, root: &Root, is_kept: bool, id: u64, now: Nanos) {
        let Some(asking) = self.holds.asking.get_mut(&key(root)) else {
            // Nobody wants it any more; the letter that said so may have been faster.
            return self.tell_end(*root);
        };
        asking.missing = asking.missing.saturating_sub(1);
        asking.is_gone |= !is_kept;
        asking.id = id;
        if asking.missing > 0 {
            return;
        }
        if asking.is_gone {
            asking.retry_at = Some(now.plus_ms(HOLD_RETRY_MS));
            return;
        }
        let Some(Asking { client, root, topology, .. }) = self.holds.asking.remove(&key(root)) else { return };
        match client {
            None => self.start_held_call(root, now),
            Some((peer, request)) => {
                let (task, says, number) = (TaskId(0), SnapshotSays::Taken, root.offset.0);
                let letter = Letter::Client(ClientLetter::Snapshot { task, request, topology, says, number, id });
                self.outbox.push(peer, Category::Client, &letter);
            }
        }
    }

    /// A client wants a microbatch to be kept, or not any more.
    pub(crate) fn take_snapshot(
        &mut self,
        peer: Peer,
        request: u64,
        topology: u16,
        says: SnapshotSays,
        number: u64,
        now: Nanos,
    ) {
        let of_number = |number| Root { task: TaskId(0), source: OF_CLIENT, offset: Offset(number), attempt: peer.0 };
        match says {
            _ if self.config.thread != self.config.module.thread_of(TaskId(0)) => {
                self.refuse(peer, request, Refusal::Invalid, "snapshots are taken where task 0 is");
            }
            SnapshotSays::Take if self.closing => {
                self.refuse(peer, request, Refusal::Closing, "the module is closing");
            }
            SnapshotSays::Take if usize::from(topology) >= self.micro.coordinators.len() => {
                self.refuse(peer, request, Refusal::Invalid, "there is no such microbatch topology");
            }
            SnapshotSays::Take if self.holds.count() >= HOLD_COUNT_MAX => {
                self.refuse(peer, request, Refusal::NotKept, "too many snapshots are kept");
            }
            SnapshotSays::Take => {
                let root = of_number(self.holds.next);
                self.holds.next = self.holds.next.wrapping_add(1);
                self.ask_hold(root, topology, number.min(HOLD_LEASE_MS_MAX), Some((peer, request)), now);
            }
            SnapshotSays::Release => {
                let root = of_number(number);
                if self.holds.held.get(&key(&root)).is_some_and(|held| held.peer == Some(peer)) {
                    self.tell_end(root);
                }
            }
            SnapshotSays::Taken => {}
        }
    }

    /// A client wants no answers to these requests, or is gone altogether.
    pub(crate) fn cancel_holds(&mut self, is_cancelled: impl Fn(Peer, u64) -> bool, gone: Option<Peer>) {
        let cancelled = |asking: &Asking| asking.client.is_some_and(|(peer, request)| is_cancelled(peer, request));
        let roots: Vec<Root> =
            self.holds.asking.extract_if(.., |_, asking| cancelled(asking)).map(|(_, asking)| asking.root).collect();
        roots.into_iter().for_each(|root| self.tell_end(root));
        if let Some(gone) = gone {
            let of_peer = self.holds.held.iter().filter(|(_, held)| held.peer == Some(gone));
            let keys: Vec<Key> = of_peer.map(|(key, _)| *key).collect();
            keys.iter().for_each(|key| self.release_hold(key));
        }
    }

    /// A call that waits for what it asked to be kept is over.
    pub(crate) fn forget_asking(&mut self, key: &Key) {
        self.holds.asking.remove(key);
    }

    /// Asks again for what was not there, and gives free what was kept for too long.
    pub(crate) fn look_after_holds(&mut self, now: Nanos) -> bool {
        if self.holds.wake_at().is_none_or(|at| at > now) {
            return false;
        }
        let late: Vec<Key> =
            self.holds.held.iter().filter(|(_, held)| held.until <= now).map(|(key, _)| *key).collect();
        late.iter().for_each(|key| self.release_hold(key));
        let late: Vec<Asking> =
            self.holds.asking.extract_if(.., |_, asking| asking.until <= now).map(|(_, asking)| asking).collect();
        for Asking { root, client, .. } in late {
            self.tell_end(root);
            // A call has a time-out of its own.
            if let Some((peer, request)) = client {
                self.refuse(peer, request, Refusal::NotKept, "the last finished microbatch could not be kept in time");
            }
        }
        let due = |asking: &&mut Asking| asking.retry_at.is_some_and(|at| at <= now);
        let mut again = Vec::new();
        for asking in self.holds.asking.values_mut().filter(due) {
            (asking.retry_at, asking.is_gone, asking.missing) = (None, false, self.config.module.thread_count);
            again.push((asking.root, asking.topology, asking.lease_ms));
        }
        for (root, topology, lease_ms) in again {
            self.say_hold(TaskId(0), root, topology, HoldSays::Ask, (0, lease_ms), now);
        }
        true
    }
}
