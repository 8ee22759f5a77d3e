//! The facade: the one crate a module author depends on. It holds no logic of the engine; it names, in one place,
//! what of the engine a module and its clients use. Start with [`prelude`].
//!
#![doc = include_str!("../../../README.md")]

pub mod artifact;
pub mod demo;
mod diagnostics;
pub mod graph;
#[cfg(doctest)]
mod guide;
pub mod linked;
pub mod prelude;
pub mod schedule;
pub mod testing;
pub mod uid;

pub use diagnostics::{LOG_VARIABLE, start_diagnostics};
pub use tantu_base as base;
pub use tantu_client as client;
pub use tantu_derive::Record;
pub use tantu_flow as flow;
pub use tantu_local as local;
pub use tantu_local::sim;
pub use tantu_path as path;
