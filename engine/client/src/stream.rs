//! A client's handle of a stream topology: which records it fails on.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::requests::Want;
use tantu_base::id::TaskId;
use tantu_base::value::{Decode, Reader};
use tantu_flow::TroubledRecord;
use tantu_net::letter::{Letter, StreamLetter};

/// A stream topology.
#[derive(Clone)]
pub struct Stream {
    connection: Connection,
    index: u16,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.name())
    }
}

impl Stream {
    /// The handle of a stream topology by its name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub fn new(connection: &Connection, name: &str) -> Result<Self, ClientError> {
        let def = &connection.module().def;
        let Some(index) = def.streams.iter().position(|topology| topology.name == name) else {
            let known = def.streams.iter().map(|topology| topology.name.as_str()).collect::<Vec<_>>().join(", ");
            let (module, kind, name) = (def.name.clone(), "stream topology", name.to_string());
            return Err(ClientError::Unknown { module, kind, name, known });
        };
        Ok(Self { connection: connection.clone(), index: index as u16 })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.connection.module().def.streams[usize::from(self.index)].name
    }

    /// The records that it failed on and tries again, of all partitions, at most 1,024 of each. The first of a partition
    /// that [`TroubledRecord::is_first`] is where its progress stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn troubles(&self) -> Result<Vec<TroubledRecord>, ClientError> {
        let topology = self.index;
        let ask = |task| {
            let letter = |request| Letter::Stream(StreamLetter::AskTroubles { task, request, topology });
            self.connection.order(task, Want::Control, letter)
        };
        let requests: Vec<u64> = (0..self.connection.module().task_count).map(|task| ask(TaskId(task))).collect();
        let mut all = Vec::new();
        for request in requests {
            let answer = self.connection.wait(request)?.into_more();
            let mut reader = Reader::new(&answer.rows);
            for _ in 0..answer.count {
                all.push(TroubledRecord::decode(&mut reader)?);
            }
        }
        Ok(all)
    }
}
