//! The calls that started on a thread and have no answer yet, and how many there may be.
//!
//! Clients' calls, those within them, and those of topologies with those within them have a limit each, and the events of topologies'
//! calls have turns of their own beside those of clients': a flood of one kind leaves the others their room and their time.

use super::{Asker, Call};
use crate::event::EventQueue;
use crate::limit::{QUERY_CALL_COUNT_MAX, QUERY_NESTED_COUNT_MAX, TOPOLOGY_CALL_COUNT_MAX};
use std::collections::BTreeMap;
use tantu_base::id::{Offset, TaskId};
use tantu_net::letter::Root;

/// In the depth of a call, and so in the attempt of its root: an event of a topology called it, or the call around it, and so on.
pub(super) const OF_TOPOLOGY: u32 = 1 << 31;

/// Whose calls there are how many of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    OfClient,
    WithinClients,
    OfTopology,
}

/// By class: 0 of clients' calls, 1 of topologies'.
pub(super) type ByClass<T> = [T; 2];

/// Which of the two a call's root is of.
pub(super) fn class_of(root: &Root) -> usize {
    usize::from(root.attempt & OF_TOPOLOGY != 0)
}

/// Events of calls that wait on a task.
#[derive(Debug, Default)]
pub(crate) struct CallEvents(pub(super) ByClass<EventQueue>);

impl CallEvents {
    /// Those that wait with the events of a root.
    pub(crate) fn beside(&self, root: &Root) -> &EventQueue {
        &self.0[class_of(root)]
    }

    /// The same, for one more.
    pub(crate) fn beside_mut(&mut self, root: &Root) -> &mut EventQueue {
        &mut self.0[class_of(root)]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(EventQueue::is_empty)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(EventQueue::count).sum()
    }

    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(EventQueue::size).sum()
    }

    pub(super) fn drop_of(&mut self, is_over: impl Fn(&Root) -> bool) {
        self.0.iter_mut().for_each(|events| events.drop_of(&is_over));
    }
}

impl Call {
    fn kind(&self) -> Kind {
        match self.asker {
            Asker::Client { .. } => Kind::OfClient,
            Asker::Event { .. } => kind_of_nested(self.depth),
        }
    }
}

fn kind_of_nested(depth: u32) -> Kind {
    if depth & OF_TOPOLOGY == 0 { Kind::WithinClients } else { Kind::OfTopology }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Calls {
    all: BTreeMap<(TaskId, Offset), Call>,
    /// By [`Kind`].
    counts: [usize; 3],
}

impl Calls {
    pub(super) fn insert(&mut self, key: (TaskId, Offset), call: Call) {
        self.counts[call.kind() as usize] += 1;
        let before = self.all.insert(key, call);
        assert!(before.is_none(), "calls are numbered");
    }

    pub(super) fn get_mut(&mut self, root: &Root) -> Option<&mut Call> {
        self.all.get_mut(&(root.task, root.offset))
    }

    pub(super) fn remove(&mut self, root: &Root) -> Option<Call> {
        let call = self.all.remove(&(root.task, root.offset))?;
        self.counts[call.kind() as usize] -= 1;
        Some(call)
    }

    /// Takes those of which something holds.
    pub(super) fn extract(&mut self, holds: impl Fn(&Call) -> bool) -> Vec<((TaskId, Offset), Call)> {
        let gone: Vec<_> = self.all.extract_if(.., |_, call| holds(call)).collect();
        gone.iter().for_each(|(_, call)| self.counts[call.kind() as usize] -= 1);
        gone
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.all.values()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn has_room(&self, kind: Kind) -> bool {
        self.counts[kind as usize] < most_of(kind)
    }

    pub(super) fn has_room_for_client(&self) -> bool {
        self.has_room(Kind::OfClient)
    }

    /// Whether an event may call one more at this depth, or why not.
    pub(super) fn check_room(&self, depth: u32) -> Result<(), String> {
        let kind = kind_of_nested(depth);
        if self.has_room(kind) {
            return Ok(());
        }
        let whose = if kind == Kind::OfTopology { "of topologies" } else { "within those of clients" };
        Err(format!("{} calls of queries {whose} are under way", most_of(kind)))
    }
}

fn most_of(kind: Kind) -> usize {
    match kind {
        Kind::OfClient => QUERY_CALL_COUNT_MAX,
        Kind::WithinClients => QUERY_NESTED_COUNT_MAX,
        Kind::OfTopology => TOPOLOGY_CALL_COUNT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::door::{Nanos, Peer};
    use tantu_flow::{Position, Stages};

    fn call(asker: Asker, depth: u32) -> Call {
        Call { asker, depth, query: 0, stages: Stages::default(), deadline: Nanos(depth.into()), result: None }
    }

    fn of_client() -> Call {
        call(Asker::Client { peer: Peer(9), request: 1 }, 0)
    }

    fn of_event(depth: u32) -> Call {
        let root = Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 };
        call(Asker::Event { topology: 0, fingerprint: 0, at: Position(0), root, event: 1, live: Vec::new() }, depth)
    }

    #[test]
    fn a_client_that_floods_with_calls_and_calls_within_them_leaves_topologies_room_for_theirs() {
        let mut calls = Calls::default();
        let add = |calls: &mut Calls, call: Call| calls.insert((TaskId(0), Offset(calls.len() as u64)), call);
        while calls.has_room_for_client() {
            add(&mut calls, of_client());
        }
        assert_eq!(calls.len(), QUERY_CALL_COUNT_MAX);
        while calls.check_room(1).is_ok() {
            add(&mut calls, of_event(1));
        }
        assert_eq!(calls.len(), QUERY_CALL_COUNT_MAX + QUERY_NESTED_COUNT_MAX);
        assert!(calls.check_room(1).is_err_and(|text| text.contains("within those of clients")));
        for depth in 0..QUERY_CALL_COUNT_MAX as u32 {
            assert_eq!(calls.check_room(OF_TOPOLOGY | depth), Ok(()), "{depth}");
            add(&mut calls, of_event(OF_TOPOLOGY | depth));
        }
        // The room of those that end is given back, to their own kind.
        calls.extract(|call| call.depth == 0);
        assert!(calls.has_room_for_client() && calls.check_room(1).is_err());
        calls.extract(|call| call.depth == 1);
        assert_eq!((calls.check_room(1), calls.len()), (Ok(()), QUERY_CALL_COUNT_MAX));
    }
}
