//! A client's handle of a depot.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::pending::Pending;
use std::cell::Cell;
use std::marker::PhantomData;
use tantu_base::id::{Offset, TaskId};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::value::Encode;
use tantu_flow::Routed;
use tantu_net::letter::{AckLevel, Letter};

/// Longest scratch buffer a thread keeps, in bytes.
const SCRATCH_SIZE_MAX: usize = 64 << 10;

thread_local! {
    /// Where a record is encoded before it is known which task it goes to.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A depot of records `T`. Appends of one handle to one partition are stored in the order they were made.
pub struct Depot<T> {
    connection: Connection,
    index: usize,
    of: PhantomData<fn(&T)>,
}

impl<T> Clone for Depot<T> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), index: self.index, of: PhantomData }
    }
}

impl<T> std::fmt::Debug for Depot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Depot({})", self.connection.module().def.depots[self.index].name)
    }
}

impl<T: Encode> Depot<T> {
    /// The handle of a depot by its name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub fn new(connection: &Connection, name: &str) -> Result<Self, ClientError> {
        let def = &connection.module().def;
        let Some(index) = def.depots.iter().position(|depot| depot.name == name) else {
            let known = def.depots.iter().map(|depot| depot.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ClientError::Unknown {
                module: def.name.clone(),
                kind: "depot",
                name: name.to_string(),
                known,
            });
        };
        Ok(Self { connection: connection.clone(), index, of: PhantomData })
    }

    /// Appends a record and waits until every stream topology of the module has processed it.
    ///
    /// # Errors
    /// [`ClientError`]; only some variants mean that nothing was appended.
    pub fn append(&self, record: &T) -> Result<Offset, ClientError> {
        self.append_with(record, AckLevel::Ack)
    }

    /// Appends a record and waits as long as the level says. The answer of level NONE is offset 0.
    ///
    /// # Errors
    /// [`ClientError`]; only some variants mean that nothing was appended.
    pub fn append_with(&self, record: &T, ack: AckLevel) -> Result<Offset, ClientError> {
        match ack {
            AckLevel::None => self.send(record, ack).map(|_| Offset(0)),
            AckLevel::AppendAck | AckLevel::Ack => self.append_async(record, ack)?.wait(),
        }
    }

    /// Starts to append a record. Level NONE is raised to APPEND_ACK, since a result was asked for.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn append_async(&self, record: &T, ack: AckLevel) -> Result<Pending<Offset>, ClientError> {
        let request = self.send(record, ack.max(AckLevel::AppendAck))?;
        Ok(Pending::new(self.connection.clone(), request, |answer| Ok(answer.offset)))
    }

    /// Sends what was gathered, without waiting.
    pub fn flush(&self) {
        self.connection.flush();
    }

    fn send(&self, record: &T, ack: AckLevel) -> Result<u64, ClientError> {
        let mut bytes = SCRATCH.take();
        bytes.clear();
        record.encode(&mut bytes);
        let sent = self.send_encoded(&bytes, ack);
        if bytes.capacity() <= SCRATCH_SIZE_MAX {
            SCRATCH.set(bytes);
        }
        sent
    }

    fn send_encoded(&self, record: &[u8], ack: AckLevel) -> Result<u64, ClientError> {
        if record.len() > RECORD_SIZE_MAX {
            return Err(ClientError::Refused(format!(
                "the record has {} bytes, the most is {RECORD_SIZE_MAX}",
                record.len()
            )));
        }
        let module = self.connection.module();
        let def = &module.def.depots[self.index];
        let count = if def.global { 1 } else { module.task_count };
        let task = match def.partitioner.route(record, count).map_err(ClientError::Refused)? {
            Routed::To(index) => TaskId(index),
            Routed::Anywhere if def.global => TaskId(0),
            Routed::Anywhere => self.connection.any_task(),
            Routed::Nowhere => return Err(ClientError::Refused(format!("clients may not append to {}", def.name))),
        };
        let depot = self.index as u16;
        let answered = ack != AckLevel::None;
        Ok(self.connection.send(task, answered, |request| Letter::Append { task, request, depot, ack, record }))
    }
}
