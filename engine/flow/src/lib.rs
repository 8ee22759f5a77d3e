//! The dataflow language: declare, check, lower, run.
//!
//! A [`Module`]'s `define` records what the author says with typed handles ([`Var`], [`DepotRef`], [`PState`]) into
//! steps; [`define`] checks them and lowers each topology to a [`Plan`]. A [`Run`] executes an event of a plan on
//! a [`Host`], explicitly: where it stands is data, so it can park on a missing block and go on later without
//! running any user closure twice. No I/O happens here.

mod arena;
mod block;
mod data;
mod define;
mod depot;
mod emit;
mod fold;
mod module;
mod plan;
mod query;
mod run;
mod runtime;
mod slot;
mod step;
mod var;

pub use block::Block;
pub use data::{Data, Owned, Record, RefOf, Returned};
pub use define::{DefineError, DefineErrors, define};
pub use depot::{DepotPartitioner, Routed, custom, disallow, hash_by, random};
pub use emit::Emit;
pub use fold::FoldDef;
pub use module::{
    DepotDef, DepotOptions, DepotRef, Module, ModuleDef, PState, PStateDef, PStateOptions, RetryMode, Setup, SourceDef,
    SourceOptions, StartFrom, StreamDef, StreamTopology, Topologies,
};
pub use plan::{HopInfo, Plan, PlanInfo, Position, StepInfo};
pub use query::{ArgumentValues, Arguments, QueryBlock, QueryDef, var_type};
pub use run::{Host, Outcome, Run, RunError};
pub use runtime::ModuleRuntime;
pub use var::{AnyVar, Var, Vars};
