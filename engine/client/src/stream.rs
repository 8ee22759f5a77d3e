//! A client's handle of a stream topology: how many records it has processed, which it fails on.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::requests::Want;
use std::time::Duration;
use tantu_base::id::TaskId;
use tantu_base::value::{Decode, Reader};
use tantu_flow::TroubledRecord;
use tantu_net::letter::{Letter, StreamLetter};

/// Longest that a task is asked to wait for more records: the others may have got them meanwhile.
const WAIT_MS: u64 = 5;

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

    /// How many records it has processed since it was first launched: those that are done, dropped or given up, for each of its sources.
    /// Ticks are not counted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn processed(&self) -> Result<u64, ClientError> {
        let known = vec![0; self.connection.module().task_count as usize];
        Ok(self.ask_processed(&known, 0)?.0.iter().sum())
    }

    /// Waits until it has processed so many records since it was first launched, and what they did is visible. After a crash some
    /// are processed again, and not counted again.
    ///
    /// # Errors
    /// [`ClientError::NotProcessed`] if it has not in this time.
    pub fn wait_for_processed(&self, count: u64, timeout: Duration) -> Result<u64, ClientError> {
        let mut left_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut known = vec![0; self.connection.module().task_count as usize];
        let mut wait_ms = 0;
        loop {
            let waited_ms;
            (known, waited_ms) = self.ask_processed(&known, wait_ms)?;
            let processed = known.iter().sum();
            if processed >= count {
                return Ok(processed);
            }
            left_ms = left_ms.saturating_sub(waited_ms);
            if left_ms == 0 {
                let topology = self.name().to_string();
                return Err(ClientError::NotProcessed { topology, count, processed, timeout, why: None });
            }
            wait_ms = left_ms.min(WAIT_MS);
        }
    }

    /// How many records the partitions of each task have processed, as soon as they are more than known, or after some time; and
    /// how long that was.
    fn ask_processed(&self, known: &[u64], timeout_ms: u64) -> Result<(Vec<u64>, u64), ClientError> {
        let topology = self.index;
        let wait = Duration::from_millis(timeout_ms).saturating_add(self.connection.options().control_timeout);
        let ask = |(task, known): (u32, &u64)| {
            let (task, more_than) = (TaskId(task), *known);
            let ask = |request| StreamLetter::AskProcessed { task, request, topology, more_than, timeout_ms };
            self.connection.order(task, Want::Within(wait), |request| Letter::Stream(ask(request)))
        };
        let requests: Vec<u64> = (0..).zip(known).map(ask).collect();
        let (mut counts, mut waited_ms) = (Vec::new(), 0);
        for request in requests {
            let answer = self.connection.wait(request)?.into_more();
            let (numbers, _) = answer.rows.as_chunks::<8>();
            let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
            counts.push(numbers.next().unwrap_or(0));
            waited_ms = numbers.next().unwrap_or(0).max(waited_ms);
        }
        Ok((counts, waited_ms))
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
