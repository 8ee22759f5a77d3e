//! The dataflow language: declare, check, lower, run.
//!
//! A [`Module`]'s `define` records what the author says with typed handles ([`Var`], [`DepotRef`], [`PState`]) into
//! steps; [`define`] checks them and lowers each topology to a [`Plan`]. A [`Run`] executes an event of a plan on
//! a [`Host`], explicitly: where it stands is data, so it can park on a missing block and go on later without
//! running any user closure twice. No I/O happens here.

mod ack_return;
mod alignment;
mod append;
mod arena;
mod asynchronous;
mod batch;
mod batch_run;
mod block;
mod control;
mod cursor;
mod data;
mod dead_letter;
mod define;
mod depot;
mod emit;
mod entry;
mod fault;
mod fold;
mod graph;
mod interpose;
mod invoke;
mod join;
mod key_partitioner;
mod live;
mod looped;
mod materialize;
mod micro;
mod module;
mod named;
mod named_batch;
mod named_order;
mod ops;
mod partition;
mod plan;
mod query;
mod row_table;
mod run;
mod runtime;
mod scope;
mod send;
mod shuffle;
mod slot;
mod squeeze;
mod stage;
mod step;
mod stream_options;
mod table;
mod test_block;
mod test_pstate;
mod tick;
mod two_phase;
mod var;
mod ways;
mod wiring;
mod yielding;

pub use ack_return::{ACK_RETURN_SIZE_MAX, AckReturn, Returns};
pub use append::AppendWait;
pub use batch::{BatchBlock, Group, QueryBlock, Source};
pub use block::Block;
pub use control::{Cond, Match, Switch};
pub use data::{Data, Owned, Record, RefOf, Returned};
pub use dead_letter::{DEAD_LETTERS, DeadLetter, TroubledRecord};
pub use define::{DefineError, DefineErrors, define};
pub use depot::{Accepts, DepotPartitioner, Fit, Routed, custom, disallow, hash_by, random};
pub use emit::{Emit, StreamEmit};
pub use fault::RunError;
pub use fold::{FoldDef, RowFold};
pub use graph::{Access, Graph, GraphEdge, GraphNode, GraphStart, GraphVar, NodeKind, short_type};
pub use interpose::{BeforeOp, OpAt, OpKind};
pub use join::{Missable, OptVars};
pub use key_partitioner::KeyPartitioner;
pub use looped::Loop;
pub use materialize::Materialized;
pub use micro::{Batch, MicrobatchBlock, MicrobatchDef, MicrobatchOptions, MicrobatchSource, MicrobatchTopology};
pub use module::{
    DepotDef, DepotOptions, DepotRef, Module, ModuleDef, PENDING_ACK_MAX, PState, PStateDef, PStateOptions, RetryMode,
    Setup, SourceDef, SourceOptions, StartFrom, StreamDef, StreamTopology, Topologies,
};
pub use named::{Named, NamedLoop};
pub use named_batch::NamedBatch;
pub use ops::{Expanded, ModuleInfo, TopologyKind};
pub use partition::Partitioned;
pub use plan::{HopInfo, Plan, PlanInfo, Position, StepInfo};
pub use query::{ArgumentValues, Arguments, QueryDef, QueryOptions, var_type};
pub use run::{Host, Outcome, PagedSelect, Run, VisitRecord};
pub use runtime::{MicrobatchObjects, ModuleRuntime};
pub use shuffle::Shuffle;
pub use stage::{BlockDef, Stage, Stages, Where};
pub use stream_options::StreamOptions;
pub use table::{BatchError, JoinDef, JoinKind, RowsOf, TableDef, Tables, VisitRow, put_row, task_of_keys};
pub use test_block::{TestBlock, TestError};
pub use test_pstate::TestPState;
pub use tick::Tick;
pub use var::{AnyVar, Var, Vars};
pub use wiring::{Anchor, OutStream, OutStreams};
