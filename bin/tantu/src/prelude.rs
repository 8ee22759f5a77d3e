//! Everything a module and its tests usually name: `use tantu::prelude::*`.

pub use tantu_base::id::{Category, Offset, ProducerId};
pub use tantu_base::value::{Decode, Encode, Uuid, Value};
pub use tantu_client::{
    AckLevel, AckReturns, Acked, Asked, ClientError, ClientOptions, Connection, DeadLetter, Depot, FailingMicrobatch,
    Microbatch, MicrobatchSnapshot, MicrobatchStatus, NumberedRecord, Outcome, PState, PageMax, PartitionOffsets,
    Pending, PendingAppend, PendingNumbered, Producer, ProducerState, Query, RecordPage, Stream, TroubledRecord,
};
// The derive macro; the trait of the same name comes with the language below.
pub use tantu_derive::Record;
pub use tantu_flow::{
    Anchor, Batch, BatchBlock, Block, DefineErrors, DepotOptions, DepotRef, Emit, Loop, Materialized, MicrobatchBlock,
    MicrobatchOptions, MicrobatchTopology, Module, ModuleInfo, Named, NamedBatch, OutStream, PStateOptions, QueryBlock,
    QueryOptions, Record, RetryMode, Setup, SourceOptions, StartFrom, StreamEmit, StreamOptions, StreamTopology,
    TestBlock, TestPState, Tick, Topologies, TopologyKind, Var, Vars, custom, define, disallow, hash_by, random,
};
pub use tantu_local::{CategoryShares, ClientWork, ClusterError, InProcessCluster, LaunchConfig, ThreadLoad};
pub use tantu_path::{
    Custom, CustomNav, List, Map, NamedFn, Navigate, PathTo, Set, Sub, TransformTo, Untracked, agg, path, select_value,
    transform_value,
};
