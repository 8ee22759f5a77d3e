//! How a client's appends are spread over the partitions of a depot.

use crate::data::Owned;
use crate::graph::short_type;
use crate::module::DepotDef;
use std::sync::Arc;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, partition_of};

type Route = Arc<dyn Fn(&[u8], u32) -> Result<i64, String> + Send + Sync>;

/// Whether bytes are one record of a depot.
pub type Accepts = fn(&[u8]) -> Result<(), DecodeError>;

pub(crate) fn accepts<T: Decode>(record: &[u8]) -> Result<(), DecodeError> {
    T::decode(&mut Reader::new(record)).map(drop)
}

/// A depot's partitioner, evaluated by the client on the encoded record.
#[derive(Clone)]
pub enum DepotPartitioner {
    /// Evenly, with no relation between records.
    Random,
    /// Clients may not append; topologies of the module may.
    Disallow,
    /// By a hash of a part of the record: the same hash as the hash partitioner's.
    HashBy(Route),
    /// By a function of the record and the number of partitions.
    Custom(Route),
}

/// Where a record goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routed {
    /// To any partition.
    Anywhere,
    /// To this one.
    To(u32),
    /// Nowhere: clients may not append.
    Nowhere,
}

impl DepotPartitioner {
    /// Its name in descriptions.
    pub fn name(&self) -> &'static str {
        match self {
            DepotPartitioner::Random => "random",
            DepotPartitioner::Disallow => "disallow",
            DepotPartitioner::HashBy(_) => "hash_by",
            DepotPartitioner::Custom(_) => "custom",
        }
    }

    /// Where an encoded record goes, of `count` partitions.
    ///
    /// # Errors
    /// A sentence: the record is not of the depot's type, or the function names a partition that does not exist.
    pub fn route(&self, record: &[u8], count: u32) -> Result<Routed, String> {
        match self {
            DepotPartitioner::Random => Ok(Routed::Anywhere),
            DepotPartitioner::Disallow => Ok(Routed::Nowhere),
            DepotPartitioner::HashBy(route) | DepotPartitioner::Custom(route) => {
                let index = route(record, count)?;
                let found = u32::try_from(index).ok().filter(|index| *index < count);
                found.map(Routed::To).ok_or_else(|| format!("the depot partitioner chose partition {index} of {count}"))
            }
        }
    }
}

impl std::fmt::Debug for DepotPartitioner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How the records of a client's handle are those of a depot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// They are of its type.
    Same,
    /// That cannot be told from the types: each record is to be looked at.
    Perhaps,
    /// They are of another type.
    Other,
}

impl DepotDef {
    /// How records of type `T` are those of the depot. A type is known by its name without its path: a client may have a declaration
    /// of its own. Values and whatever is behind a pointer may be anything.
    pub fn fit<T>(&self) -> Fit {
        let given = std::any::type_name::<T>();
        if given == self.record_type {
            return Fit::Same;
        }
        let (given, declared) = (short_type(given), short_type(self.record_type));
        let is_open = |text: &str| {
            let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            text.contains(['&', '[']) || words.any(|word| matches!(word, "Value" | "Box"))
        };
        if given == declared || is_open(&given) || is_open(&declared) { Fit::Perhaps } else { Fit::Other }
    }

    /// The type of its records, without its path.
    pub fn record_name(&self) -> String {
        short_type(self.record_type)
    }
}

/// A partitioner for records of type `T`.
pub struct PartitionerOf<T> {
    pub(crate) partitioner: DepotPartitioner,
    of: std::marker::PhantomData<fn(&T)>,
}

fn of<T>(partitioner: DepotPartitioner) -> PartitionerOf<T> {
    PartitionerOf { partitioner, of: std::marker::PhantomData }
}

/// Spreads appends evenly.
pub fn random<T>() -> PartitionerOf<T> {
    of(DepotPartitioner::Random)
}

/// Refuses appends of clients.
pub fn disallow<T>() -> PartitionerOf<T> {
    of(DepotPartitioner::Disallow)
}

/// Puts records with equal keys into one partition.
pub fn hash_by<T: Owned, K: Encode>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> PartitionerOf<T> {
    of(DepotPartitioner::HashBy(Arc::new(move |record, count| {
        Ok(i64::from(partition_of(&key(&read::<T>(record)?), count)))
    })))
}

/// Lets a function of the record and the number of partitions choose.
pub fn custom<T: Owned>(choose: impl Fn(&T, u32) -> i64 + Send + Sync + 'static) -> PartitionerOf<T> {
    of(DepotPartitioner::Custom(Arc::new(move |record, count| Ok(choose(&read::<T>(record)?, count)))))
}

fn read<T: Decode>(record: &[u8]) -> Result<T, String> {
    T::decode(&mut Reader::new(record)).map_err(|error| format!("the record is not one of the depot's type: {error}"))
}
