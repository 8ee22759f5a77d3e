//! The simulator: the engine under simulated doors, with oracles.
//!
//! One seed is one story: a cluster of task threads on one OS thread, a client that appends lines and reads counts,
//! and weather that cuts the power at some request of the disk (also while the cluster recovers), kills the process,
//! fails requests, delays letters and stalls threads. After the last crash the weather calms, everything must come to
//! rest, and the oracles of `tantu-model` judge every acknowledgement and every read. The engine code is the one
//! that runs in production; only its doors differ. The same seed gives the same story, to the last bit of its
//! trace hash. That the judges can say no is shown by *lies*: doors that break a promise on purpose.
//!
//! [`run`] tells one story; [`swarm`] says what a seed draws; [`cluster`] is the seam that lets other clusters in.
#![allow(clippy::print_stderr, reason = "the simulator prints its seeds and what it found")]

pub mod applicant;
pub mod audit;
pub mod bank;
pub mod blow;
pub mod client;
pub mod cluster;
pub mod customer;
pub mod engine;
pub mod errand;
pub mod flood;
pub mod module;
pub mod pauser;
pub mod post;
pub mod registry;
pub mod sender;
pub(crate) mod sheet;
pub mod sight;
pub mod story;
pub mod swarm;
pub mod teller;
pub mod user;
pub mod words;

pub use blow::Blow;
pub use engine::EngineCluster;
pub use story::{Failure, Report, run, run_swarm};
pub use swarm::{Kind, Lie, Swarm};
