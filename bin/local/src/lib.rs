//! A whole cluster in one process: modules on task threads, in a data directory or a temporary one.
//!
//! ```no_run
//! use tantu_local::{InProcessCluster, LaunchConfig};
//! # use tantu_flow::{Module, Setup, Topologies};
//! # struct WordCount;
//! # impl Module for WordCount { fn define(_: &mut Setup, _: &mut Topologies) {} }
//! let cluster = InProcessCluster::create()?;
//! cluster.launch::<WordCount>(LaunchConfig { tasks: 8, threads: 2, ..LaunchConfig::default() })?;
//! let lines = cluster.depot::<String>("WordCount", "*lines")?;
//! lines.append(&"to be or not to be".to_string())?;
//! cluster.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the cluster owns threads and the data directory"
)]

mod body;
mod cluster;
mod error;
mod instance;
mod launch;
pub mod sim;
mod watch;

pub use cluster::InProcessCluster;
pub use error::ClusterError;
pub use launch::LaunchConfig;
pub use tantu_doors::Pin;
pub use tantu_task::{CategoryShares, ClientWork};
pub use watch::ThreadLoad;
