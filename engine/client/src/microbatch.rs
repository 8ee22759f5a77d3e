//! A client's handle of a microbatch topology: how far it is, waiting for it, holding it.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::requests::{UNANSWERED, Want};
use std::time::Duration;
use tantu_base::id::{Offset, TaskId};
use tantu_net::letter::{ClientLetter, Letter, MicrobatchAsk, SnapshotSays};

/// How long a snapshot is kept at most unless it says otherwise.
const LEASE: Duration = Duration::from_secs(60);

/// How far a microbatch topology is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MicrobatchStatus {
    /// The last microbatch that is visible on every task; they are counted from 1.
    pub finished: u64,
    /// The records in all of them, since the topology was first launched.
    pub processed: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// The microbatch under way, if attempts at it failed since the module was launched.
    pub failing: Option<FailingMicrobatch>,
}

/// A microbatch of which attempts failed. Its records are tried again until an attempt succeeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailingMicrobatch {
    /// Which microbatch.
    pub id: u64,
    /// How many attempts failed since the module was launched.
    pub attempts: u32,
    /// What the last one failed with, at most 1 KiB of it.
    pub error: String,
}

impl std::fmt::Display for FailingMicrobatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, attempts, error } = self;
        let times = if *attempts == 1 { "once".to_string() } else { format!("{attempts} times") };
        write!(f, "microbatch {id} failed {times}, last with: {error}")
    }
}

/// A microbatch topology.
#[derive(Clone)]
pub struct Microbatch {
    connection: Connection,
    index: u16,
}

impl std::fmt::Debug for Microbatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Microbatch({})", self.name())
    }
}

impl Microbatch {
    /// The handle of a microbatch topology by its name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub fn new(connection: &Connection, name: &str) -> Result<Self, ClientError> {
        let def = &connection.module().def;
        let Some(index) = def.microbatches.iter().position(|topology| topology.name == name) else {
            let known = def.microbatches.iter().map(|topology| topology.name.as_str()).collect::<Vec<_>>().join(", ");
            let (module, kind, name) = (def.name.clone(), "microbatch topology", name.to_string());
            return Err(ClientError::Unknown { module, kind, name, known });
        };
        Ok(Self { connection: connection.clone(), index: index as u16 })
    }

    fn name(&self) -> &str {
        &self.connection.module().def.microbatches[usize::from(self.index)].name
    }

    fn ask(&self, ask: MicrobatchAsk) -> Result<MicrobatchStatus, ClientError> {
        let (task, topology) = (TaskId(0), self.index);
        let want = match ask {
            MicrobatchAsk::Await { timeout_ms, .. } => {
                let control = self.connection.options().control_timeout;
                Want::Within(Duration::from_millis(timeout_ms).saturating_add(control))
            }
            _ => Want::Control,
        };
        let letter = |request| Letter::AskMicrobatch { task, request, topology, ask };
        let request = self.connection.order(task, want, letter);
        Ok(self.connection.wait(request)?.into_more().microbatch.unwrap_or_default())
    }

    /// How far it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<MicrobatchStatus, ClientError> {
        self.ask(MicrobatchAsk::Status)
    }

    /// Waits until it has processed so many records since it was first launched, and they are visible.
    ///
    /// # Errors
    /// [`ClientError::NotProcessed`] if it has not in this time.
    pub fn wait_for_processed(&self, count: u64, timeout: Duration) -> Result<MicrobatchStatus, ClientError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let status = self.ask(MicrobatchAsk::Await { count, timeout_ms })?;
        if status.processed >= count {
            return Ok(status);
        }
        let (topology, processed) = (self.name().to_string(), status.processed);
        let why = match status.failing {
            Some(failing) => Some(failing.to_string()),
            None => status.paused.then(|| "it is paused".to_string()),
        };
        Err(ClientError::NotProcessed { topology, count, processed, timeout, why })
    }

    /// Up to which offset each partition of a depot is in finished microbatches: the offset after the last record (MB-20). Of several
    /// sources on the depot the one that is behind counts.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the topology has no source on the depot.
    pub fn processed_offsets(&self, depot: &str) -> Result<Vec<Offset>, ClientError> {
        let module = self.connection.module();
        let sources = &module.def.microbatches[usize::from(self.index)].sources;
        let name = |at: usize| module.def.depots[at].name.as_str();
        let on_depot: Vec<usize> = (0..sources.len()).filter(|at| name(sources[*at].depot) == depot).collect();
        let Some(first) = on_depot.first() else {
            let known = sources.iter().map(|source| name(source.depot)).collect::<Vec<_>>().join(", ");
            let (module, kind, name) = (module.def.name.clone(), "depot read by the topology", depot.to_string());
            return Err(ClientError::Unknown { module, kind, name, known });
        };
        let count = if module.def.depots[sources[*first].depot].global { 1 } else { module.task_count };
        let mut all = vec![Offset(u64::MAX); count as usize];
        for source in on_depot {
            let (task, topology, ask) = (TaskId(0), self.index, MicrobatchAsk::Offsets { source: source as u64 });
            let letter = |request| Letter::AskMicrobatch { task, request, topology, ask };
            let request = self.connection.order(task, Want::Control, letter);
            let answer = self.connection.wait(request)?.into_more();
            let offsets = answer.rows.as_chunks::<8>().0.iter().map(|bytes| Offset(u64::from_le_bytes(*bytes)));
            all.iter_mut().zip(offsets).for_each(|(known, offset)| *known = offset.min(*known));
        }
        Ok(all)
    }

    /// Keeps what the topology and its earlier microbatches have written, as of the last finished one, readable on every task, for
    /// a minute at most: see [`MicrobatchSnapshot`].
    ///
    /// # Errors
    /// [`ClientError::NotKept`] if too many are kept.
    pub fn snapshot(&self) -> Result<MicrobatchSnapshot, ClientError> {
        self.snapshot_for(LEASE)
    }

    /// The same for this time at most, ten minutes if that is less.
    ///
    /// # Errors
    /// [`ClientError::NotKept`] if too many are kept.
    pub fn snapshot_for(&self, lease: Duration) -> Result<MicrobatchSnapshot, ClientError> {
        let (task, topology, says) = (TaskId(0), self.index, SnapshotSays::Take);
        let number = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let letter = |request| Letter::Client(ClientLetter::Snapshot { task, request, topology, says, number, id: 0 });
        let request = self.connection.order(task, Want::Control, letter);
        let (number, id) = self.connection.wait(request)?.into_more().snapshot.unwrap_or_default();
        Ok(MicrobatchSnapshot { connection: self.connection.clone(), topology, number, id })
    }

    /// Begins no more microbatches, also after a restart; returns when that is durable and the one under way has ended, or when
    /// somebody has it go on meanwhile.
    ///
    /// # Errors
    /// [`ClientError`]. If it is [`ClientError::TimedOut`] the one under way goes on, and it is paused behind it all the same.
    pub fn pause(&self) -> Result<(), ClientError> {
        self.ask(MicrobatchAsk::Pause).map(|_| ())
    }

    /// Goes on with microbatches, also after a restart; returns when that is durable.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn resume(&self) -> Result<(), ClientError> {
        self.ask(MicrobatchAsk::Resume).map(|_| ())
    }
}

/// What a microbatch topology had written when one microbatch was finished, on every task: nothing of later ones, and of no
/// microbatch a part. [`PState::select_at`](crate::PState::select_at) and its like read it. Of other topologies it has, on each
/// task, one committed instant. It is given free when it is dropped, or when it has been kept long enough.
#[derive(Debug)]
pub struct MicrobatchSnapshot {
    connection: Connection,
    topology: u16,
    number: u64,
    id: u64,
}

impl MicrobatchSnapshot {
    /// Which microbatch.
    pub fn microbatch(&self) -> u64 {
        self.id
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for MicrobatchSnapshot {
    fn drop(&mut self) {
        let (task, request, topology, says) = (TaskId(0), UNANSWERED, self.topology, SnapshotSays::Release);
        let number = self.number;
        // Not before reads of it that were asked for and are still to be taken in.
        self.connection.send(task, Want::Nothing, |_| {
            Letter::Client(ClientLetter::Snapshot { task, request, topology, says, number, id: 0 })
        });
    }
}
