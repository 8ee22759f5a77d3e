//! Appends at level ACK that bring what the topologies returned.

use crate::depot::Depot;
use crate::error::ClientError;
use crate::pending::Pending;
use crate::requests::Answer;
use std::collections::BTreeMap;
use tantu_base::fixed::FixedReader;
use tantu_base::id::Offset;
use tantu_base::value::{Decode, DecodeError, Encode, Value, decoded};
use tantu_net::letter::AckLevel;

/// What the stream topologies of the module returned for a record, by their names. Those that returned nothing, or null, are not
/// in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AckReturns {
    values: BTreeMap<String, Vec<u8>>,
}

/// A record that was appended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acked {
    /// Where in its partition.
    pub offset: Offset,
    /// What was returned for it: nothing below level ACK.
    pub returns: AckReturns,
}

impl AckReturns {
    /// What a topology returned.
    ///
    /// # Errors
    /// [`ClientError::Type`] if it is of another type.
    pub fn get<T: Decode>(&self, topology: &str) -> Result<Option<T>, ClientError> {
        let value = self.values.get(topology);
        Ok(value.map(|value| decoded(value)).transpose()?)
    }

    /// The topologies that returned something.
    pub fn topologies(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether none did.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All values, without their types.
    ///
    /// # Errors
    /// [`ClientError::Type`] if one is no value.
    pub fn into_values(self) -> Result<BTreeMap<String, Value>, ClientError> {
        let values = self.values.into_iter().map(|(name, value)| Ok((name, Value::decode(&value)?)));
        Ok(values.collect::<Result<_, DecodeError>>()?)
    }
}

fn read_acked(answer: Answer) -> Result<Acked, ClientError> {
    let offset = answer.offset;
    let bytes = answer.into_more().rows;
    let (mut reader, mut values) = (FixedReader::new(&bytes), BTreeMap::new());
    while let (Ok(name), Ok(value)) = (reader.sized(), reader.sized()) {
        values.insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
    }
    Ok(Acked { offset, returns: AckReturns { values } })
}

impl<T: Encode> Depot<T> {
    /// Appends a record, waits until every stream topology of the module has processed it, and brings what they returned.
    ///
    /// # Errors
    /// [`ClientError`]; only some variants mean that nothing was appended.
    pub fn append_ack(&self, record: &T) -> Result<Acked, ClientError> {
        self.append_ack_async(record)?.wait()
    }

    /// Starts to append a record as [`Depot::append_ack`] does.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn append_ack_async(&self, record: &T) -> Result<Pending<Acked>, ClientError> {
        self.append_acked_async(record, AckLevel::Ack)
    }

    /// Starts to append a record at a level; below ACK nothing is returned for it. Level NONE is raised to APPEND_ACK.
    ///
    /// # Errors
    /// [`ClientError`] if it is refused before it is sent.
    pub fn append_acked_async(&self, record: &T, ack: AckLevel) -> Result<Pending<Acked>, ClientError> {
        let request = self.send(record, ack.max(AckLevel::AppendAck))?;
        Ok(Pending::new(self.connection.clone(), request, read_acked))
    }
}
