//! Everything a module and its tests usually name: `use tantu::prelude::*`.

pub use tantu_base::id::Offset;
pub use tantu_base::value::{Decode, Encode, Value};
pub use tantu_client::{
    AckLevel, ClientError, Depot, PState, PageMax, PartitionOffsets, PendingAppend, Query, RecordPage,
};
pub use tantu_flow::{
    Anchor, Block, DefineErrors, DepotOptions, DepotRef, Emit, Loop, Module, ModuleInfo, Named, OutStream,
    PStateOptions, QueryBlock, Record, RetryMode, Setup, SourceOptions, StartFrom, StreamEmit, StreamTopology,
    TestBlock, Topologies, Var, Vars, custom, define, disallow, hash_by, random,
};
pub use tantu_local::{ClusterError, InProcessCluster, LaunchConfig};
pub use tantu_path::{List, Map, Navigate, Set, Sub, Untracked, agg, path};
