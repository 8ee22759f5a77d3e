//! Small integers with names: who is who in a module instance.
//!
//! `index` counts from 0; a version, an epoch and a log position rise and never fall.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain number.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

id!(
    /// One of the module's tasks, `0..task_count`. Which thread runs it may change; the id never does.
    TaskId(u32), "task "
);
id!(
    /// A task thread, and with it its task group, `0..thread_count`.
    ThreadId(u32), "thread "
);
id!(
    /// A durable object of a module (a depot, a PState, a topology's progress). Given once to a name
    /// and never reused; every key of the object starts with it.
    ObjectId(u32), "object "
);
id!(
    /// Place of a record in a depot partition: dense, from 0, never reused.
    Offset(u64), "offset "
);
id!(
    /// A task's own commit number (design D4). It is carried in the task's section of a replog entry
    /// and does not depend on which log holds it.
    Version(u64), "version "
);
id!(
    /// One incarnation of a leader. A restarted leader takes a new one before it writes.
    Epoch(u64), "epoch "
);

/// One try at a microbatch: the incarnation of the coordinator, and its count. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Attempt {
    /// Epoch of task 0.
    pub epoch: Epoch,
    /// From 0 in each epoch.
    pub counter: u32,
}

/// What one attempt of one microbatch writes on one task (design D15). Of one topology, later microbatches are greater,
/// and of one microbatch later attempts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RunId {
    /// The durable id of the topology.
    pub topology: ObjectId,
    /// The microbatch: dense, from 1.
    pub id: u64,
    /// Which try at it.
    pub attempt: Attempt,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunId { topology, id, attempt: Attempt { epoch, counter } } = self;
        write!(f, "microbatch {id} of {topology}, attempt {}.{counter}", epoch.0)
    }
}

/// Who numbers appends, so that one that is sent again is not made again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProducerId(pub u128);

impl ProducerId {
    /// The producer of this name: the same for every program that uses the name.
    pub fn named(name: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "producer {:032x}", self.0)
    }
}

/// The five FIFOs of a category queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Category {
    /// Leader and follower traffic inside the ISR.
    IsrReplication = 0,
    /// Depot appends, client reads, query topologies.
    Client = 1,
    /// Stream topologies.
    LowLatency = 2,
    /// Microbatch topologies.
    FlexLatency = 3,
    /// Work from other modules.
    MirrorClient = 4,
}

impl Category {
    /// Every category, in queue order.
    pub const ALL: [Category; 5] = [
        Category::IsrReplication,
        Category::Client,
        Category::LowLatency,
        Category::FlexLatency,
        Category::MirrorClient,
    ];

    /// Its place in [`Category::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name users know it by, as in `worker.event.category.proportions`.
    pub const fn name(self) -> &'static str {
        match self {
            Category::IsrReplication => "isr.replication",
            Category::Client => "client",
            Category::LowLatency => "low.latency",
            Category::FlexLatency => "flex.latency",
            Category::MirrorClient => "mirror.client",
        }
    }
}

/// When an append is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum AckLevel {
    /// At once, with no guarantee.
    None = 0,
    /// When the record is durable on the leader and every ISR member.
    AppendAck = 1,
    /// When besides every stream topology of the module that reads the depot has processed it.
    #[default]
    Ack = 2,
}
