//! A client's handle of a depot.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::pending::Pending;
use crate::requests::{Answer, Want};
use std::cell::Cell;
use std::marker::PhantomData;
use tantu_base::id::{Offset, TaskId};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::value::{Decode, Encode, Reader};
use tantu_flow::{Accepts, Fit, Routed, short_type};
use tantu_net::letter::{AckLevel, Letter, ReadRange};

/// Longest scratch buffer a thread keeps, in bytes.
const SCRATCH_SIZE_MAX: usize = 64 << 10;

thread_local! {
    /// Where a record is encoded before it is known which task it goes to.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Which offsets a partition has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOffsets {
    /// The first one; those below were trimmed.
    pub start: Offset,
    /// The one that the next record gets.
    pub end: Offset,
}

/// How long a page may get. The engine has limits of its own, so pages may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageMax {
    /// Most records.
    pub count: u32,
    /// Most bytes, unless the first record alone is longer.
    pub size: u32,
}

impl Default for PageMax {
    fn default() -> Self {
        Self { count: u32::MAX, size: u32::MAX }
    }
}

/// Consecutive records of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPage<T> {
    /// In the order of their offsets.
    pub records: Vec<T>,
    /// Where the next page starts.
    pub next: Offset,
}

/// A depot of records `T`. Appends of one handle to one partition are stored in the order they were made.
pub struct Depot<T> {
    pub(crate) connection: Connection,
    index: usize,
    /// What looks at each record, if the handle's type does not say that it is one of the depot's.
    accepts: Option<Accepts>,
    of: PhantomData<fn(&T)>,
}

impl<T> Clone for Depot<T> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), index: self.index, accepts: self.accepts, of: PhantomData }
    }
}

impl<T> std::fmt::Debug for Depot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Depot({})", self.connection.module().def.depots[self.index].name)
    }
}

impl<T: Encode> Depot<T> {
    /// The handle of a depot by its name. Its type is that of the depot's records, or [`Value`](tantu_base::value::Value): what is
    /// appended is one of the depot's records in any case.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], or [`ClientError::Refused`] if the depot holds records of another type.
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
        let depot = &def.depots[index];
        let accepts = match depot.fit::<T>() {
            Fit::Same => None,
            Fit::Perhaps => Some(depot.accepts),
            Fit::Other => {
                let (held, given) = (depot.record_name(), short_type(std::any::type_name::<T>()));
                return Err(ClientError::Refused(format!("`{name}` holds records of {held}, not {given}")));
            }
        };
        Ok(Self { connection: connection.clone(), index, accepts, of: PhantomData })
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.connection.module().def.depots[self.index].name
    }

    /// The name of its module.
    pub fn module_name(&self) -> &str {
        &self.connection.module().def.name
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        let module = self.connection.module();
        if module.def.depots[self.index].global { 1 } else { module.task_count }
    }

    fn task_of(&self, partition: u32) -> Result<TaskId, ClientError> {
        let count = self.partition_count();
        if partition < count {
            Ok(TaskId(partition))
        } else {
            Err(ClientError::NoPartition { index: partition, count })
        }
    }

    /// Which offsets a partition has.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn offsets(&self, partition: u32) -> Result<PartitionOffsets, ClientError> {
        self.offsets_async(partition)?.wait()
    }

    /// Starts to ask which offsets a partition has.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn offsets_async(&self, partition: u32) -> Result<Pending<PartitionOffsets>, ClientError> {
        let (task, depot) = (self.task_of(partition)?, self.index as u16);
        let request = self.connection.send(task, Want::Depot, |request| Letter::AskOffsets { task, request, depot });
        Ok(Pending::new(self.connection.clone(), request, |answer| {
            let (start, end) = answer.into_more().offsets.unwrap_or_default();
            Ok(PartitionOffsets { start, end })
        }))
    }

    /// Sends what was gathered, without waiting.
    pub fn flush(&self) {
        self.connection.flush();
    }

    pub(crate) fn send(&self, record: &T, ack: AckLevel) -> Result<u64, ClientError> {
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
        let task = self.route(record)?;
        let depot = self.index as u16;
        let want = if ack == AckLevel::None { Want::Nothing } else { Want::Append };
        Ok(self.connection.send(task, want, |request| Letter::Append { task, request, depot, ack, record }))
    }

    /// Sends another request about appends; the answer comes later.
    pub(crate) fn pending<'l, R>(
        &self,
        task: TaskId,
        letter: impl FnOnce(u64) -> Letter<'l>,
        read: fn(Answer) -> Result<R, ClientError>,
    ) -> Result<Pending<R>, ClientError> {
        let request = self.connection.send(task, Want::Append, letter);
        Ok(Pending::new(self.connection.clone(), request, read))
    }

    /// Its place in the module.
    pub(crate) fn index(&self) -> u16 {
        self.index as u16
    }

    /// Where a record goes.
    pub(crate) fn route(&self, record: &[u8]) -> Result<TaskId, ClientError> {
        if record.len() > RECORD_SIZE_MAX {
            return Err(ClientError::Refused(format!(
                "the record has {} bytes, the most is {RECORD_SIZE_MAX}",
                record.len()
            )));
        }
        let module = self.connection.module();
        let def = &module.def.depots[self.index];
        if let Some(Err(error)) = self.accepts.map(|accepts| accepts(record)) {
            let (name, held) = (&def.name, def.record_name());
            return Err(ClientError::Refused(format!("`{name}` holds records of {held}, which this is not: {error}")));
        }
        let count = if def.global { 1 } else { module.task_count };
        let task = match def.partitioner.route(record, count).map_err(ClientError::Refused)? {
            Routed::To(index) => TaskId(index),
            Routed::Anywhere if def.global => TaskId(0),
            Routed::Anywhere => self.connection.any_task(),
            Routed::Nowhere => return Err(ClientError::Refused(format!("clients may not append to {}", def.name))),
        };
        Ok(task)
    }
}

impl<T: Encode + Decode> Depot<T> {
    /// The records of a partition from `from` up to `to`, which is not among them, read page by page.
    ///
    /// # Errors
    /// [`ClientError::OutOfRange`] if the partition has not all of them, and the others.
    pub fn read(&self, partition: u32, from: Offset, to: Offset) -> Result<Vec<T>, ClientError> {
        let mut page = self.read_page(partition, from, to, PageMax::default())?;
        let mut records = std::mem::take(&mut page.records);
        while page.next < to {
            page = self.read_page(partition, page.next, to, PageMax::default())?;
            records.append(&mut page.records);
        }
        Ok(records)
    }

    /// The first records of a range. The page may hold fewer than there are and than it might: go on at its `next`.
    ///
    /// # Errors
    /// [`ClientError::OutOfRange`] if the partition has not all of the range, and the others.
    pub fn read_page(
        &self,
        partition: u32,
        from: Offset,
        to: Offset,
        max: PageMax,
    ) -> Result<RecordPage<T>, ClientError> {
        self.read_page_async(partition, from, to, max)?.wait()
    }

    /// Starts to read the first records of a range.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn read_page_async(
        &self,
        partition: u32,
        from: Offset,
        to: Offset,
        max: PageMax,
    ) -> Result<Pending<RecordPage<T>>, ClientError> {
        let (task, depot) = (self.task_of(partition)?, self.index as u16);
        let range = ReadRange { from, to, count_max: max.count, size_max: max.size };
        let request =
            self.connection.send(task, Want::Depot, |request| Letter::ReadDepot { task, request, depot, range });
        Ok(Pending::new(self.connection.clone(), request, |answer| {
            let next = answer.offset;
            let answer = answer.into_more();
            if let Some((start, end)) = answer.offsets {
                return Err(ClientError::OutOfRange { start, end });
            }
            let mut reader = Reader::new(&answer.rows);
            let records = (0..answer.count).map(|_| T::decode(&mut reader)).collect::<Result<_, _>>()?;
            Ok(RecordPage { records, next })
        }))
    }
}
