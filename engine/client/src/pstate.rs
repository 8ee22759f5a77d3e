//! A client's handle of a PState.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::microbatch::MicrobatchSnapshot;
use crate::pending::Pending;
use crate::requests::{Answer, Want};
use std::marker::PhantomData;
use tantu_base::id::TaskId;
use tantu_base::value::{Decode, Reader};
use tantu_net::letter::{ClientLetter, Letter};
use tantu_path::{Arg, PStateSchema, PathTo};

/// A PState of schema `S`. Reads see what is committed on the partition when they arrive there.
pub struct PState<S> {
    connection: Connection,
    index: usize,
    of: PhantomData<fn() -> S>,
}

impl<S> Clone for PState<S> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), index: self.index, of: PhantomData }
    }
}

impl<S> std::fmt::Debug for PState<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PState({})", self.connection.module().def.pstates[self.index].name)
    }
}

impl<S: PStateSchema> PState<S> {
    /// The handle of a PState by its name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], or [`ClientError::Refused`] if its schema is another one.
    pub fn new(connection: &Connection, name: &str) -> Result<Self, ClientError> {
        let def = &connection.module().def;
        let Some(index) = def.pstates.iter().position(|pstate| pstate.name == name) else {
            let known = def.pstates.iter().map(|pstate| pstate.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ClientError::Unknown {
                module: def.name.clone(),
                kind: "PState",
                name: name.to_string(),
                known,
            });
        };
        let declared = &def.pstates[index].schema;
        if *declared != S::schema() {
            return Err(ClientError::Refused(format!("{name} has the schema {declared}, not {}", S::schema())));
        }
        Ok(Self { connection: connection.clone(), index, of: PhantomData })
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        let module = self.connection.module();
        if module.def.pstates[self.index].global { 1 } else { module.task_count }
    }

    /// Every value the path leads to. With several partitions the path must start with `key`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn select<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<Vec<T::Value>, ClientError> {
        self.select_async(path)?.wait()
    }

    /// As [`PState::select`], later.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn select_async<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<Pending<Vec<T::Value>>, ClientError> {
        let task = self.route(&path)?;
        self.send(task, &path)
    }

    /// Where the leading key of a path lives.
    fn route<T: PStateSchema>(&self, path: &PathTo<S, T>) -> Result<TaskId, ClientError> {
        let count = self.partition_count();
        Ok(match path.path().leading_key() {
            _ if count == 1 => TaskId(0),
            Some(Arg::Const(key)) => {
                let mut key_form = Vec::new();
                key.encode_key(&mut key_form);
                let by = &self.connection.module().def.pstates[self.index].key_partitioner;
                TaskId(by.partition(&key_form, count).map_err(ClientError::Refused)?)
            }
            Some(Arg::Slot(_)) | None => return Err(ClientError::NoKey),
        })
    }

    /// Every value the path leads to, as of the microbatch of a snapshot. With several partitions the path must start with
    /// `key`.
    ///
    /// # Errors
    /// [`ClientError::NotKept`] when the snapshot has been kept long enough, and the others.
    pub fn select_at<T: PStateSchema>(
        &self,
        snapshot: &MicrobatchSnapshot,
        path: PathTo<S, T>,
    ) -> Result<Vec<T::Value>, ClientError> {
        self.send_at(snapshot, self.route(&path)?, &path)?.wait()
    }

    /// Every value the path leads to on any partition, in the order of the partitions, all as of one microbatch: that of the
    /// snapshot.
    ///
    /// # Errors
    /// [`ClientError::NotKept`] when the snapshot has been kept long enough, and the others.
    pub fn select_all_at<T: PStateSchema>(
        &self,
        snapshot: &MicrobatchSnapshot,
        path: PathTo<S, T>,
    ) -> Result<Vec<T::Value>, ClientError> {
        let asked = (0..self.partition_count()).map(|partition| self.send_at(snapshot, TaskId(partition), &path));
        gather(asked.collect::<Result<_, _>>()?)
    }

    /// Every value the path leads to on any partition, in the order of the partitions, each at an instant of its own: for all as of
    /// one, see [`PState::select_all_at`]. All partitions are asked at once.
    ///
    /// ```
    /// # use tantu_client::{ClientError, PState};
    /// # use tantu_path::{Map, Navigate, path};
    /// # fn example(counts: &PState<Map<String, i64>>) -> Result<(), ClientError> {
    /// let all: Vec<(String, i64)> = counts.select_all(path().all())?;
    /// # let _ = all; Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn select_all<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<Vec<T::Value>, ClientError> {
        let asked = (0..self.partition_count()).map(|partition| self.send(TaskId(partition), &path));
        gather(asked.collect::<Result<_, _>>()?)
    }

    /// The one value the path leads to.
    ///
    /// # Errors
    /// [`ClientError::NotOne`] if it leads to none or several.
    pub fn select_one<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<T::Value, ClientError> {
        let mut found = self.select(path)?;
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(ClientError::NotOne { count: 0 }),
            (Some(_), more) => Err(ClientError::NotOne { count: more + 1 }),
        }
    }

    /// Every value the path leads to on one partition, whatever it starts with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn select_on<T: PStateSchema>(&self, partition: u32, path: PathTo<S, T>) -> Result<Vec<T::Value>, ClientError> {
        let count = self.partition_count();
        if partition >= count {
            return Err(ClientError::NoPartition { index: partition, count });
        }
        self.send(TaskId(partition), &path)?.wait()
    }

    fn send<T: PStateSchema>(&self, task: TaskId, path: &PathTo<S, T>) -> Result<Pending<Vec<T::Value>>, ClientError> {
        let mut bytes = Vec::new();
        path.path().encode(&mut bytes).map_err(|error| ClientError::Refused(error.to_string()))?;
        let pstate = self.index as u16;
        let request =
            self.connection.send(task, Want::Read, |request| Letter::Select { task, request, pstate, path: &bytes });
        Ok(Pending::new(self.connection.clone(), request, read_rows::<T>))
    }

    fn send_at<T: PStateSchema>(
        &self,
        snapshot: &MicrobatchSnapshot,
        task: TaskId,
        path: &PathTo<S, T>,
    ) -> Result<Pending<Vec<T::Value>>, ClientError> {
        let mut bytes = Vec::new();
        path.path().encode(&mut bytes).map_err(|error| ClientError::Refused(error.to_string()))?;
        let (pstate, number, path) = (self.index as u16, snapshot.number(), &bytes[..]);
        // The snapshot is its client's: it is read by the connection that took it.
        let connection = snapshot.connection();
        let request = connection.send(task, Want::Read, |request| {
            Letter::Client(ClientLetter::SelectAt { task, request, pstate, snapshot: number, path })
        });
        Ok(Pending::new(connection.clone(), request, read_rows::<T>))
    }
}

/// What all of them bring, in their order.
fn gather<R>(asked: Vec<Pending<Vec<R>>>) -> Result<Vec<R>, ClientError> {
    let mut all = Vec::new();
    for pending in asked {
        all.append(&mut pending.wait()?);
    }
    Ok(all)
}

fn read_rows<T: PStateSchema>(answer: Answer) -> Result<Vec<T::Value>, ClientError> {
    let answer = answer.into_more();
    let mut reader = Reader::new(&answer.rows);
    (0..answer.count).map(|_| Ok(T::Value::decode(&mut reader)?)).collect()
}
