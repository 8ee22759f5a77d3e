//! A client's handle of a microbatch topology: how far it is, waiting for it, holding it.

use crate::connection::Connection;
use crate::error::ClientError;
use std::time::Duration;
use tantu_base::id::TaskId;
use tantu_net::letter::{Letter, MicrobatchAsk};

/// How far a microbatch topology is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MicrobatchStatus {
    /// The last microbatch that is visible on every task; they are counted from 1.
    pub finished: u64,
    /// The records in all of them, since the topology was first launched.
    pub processed: u64,
    /// Whether it is paused.
    pub paused: bool,
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
        let letter = |request| Letter::AskMicrobatch { task, request, topology, ask };
        let request = self.connection.send(task, true, letter);
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
        Err(ClientError::NotProcessed {
            topology: self.name().to_string(),
            count,
            processed: status.processed,
            timeout,
        })
    }

    /// Begins no more microbatches, also after a restart; returns when the one under way has ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn pause(&self) -> Result<(), ClientError> {
        self.ask(MicrobatchAsk::Pause).map(|_| ())
    }

    /// Goes on with microbatches.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn resume(&self) -> Result<(), ClientError> {
        self.ask(MicrobatchAsk::Resume).map(|_| ())
    }
}
