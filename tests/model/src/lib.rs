//! Oracles: what the engine should answer, computed by plain collections that know nothing of the engine.
//!
//! Written from what users are promised, not from the code that keeps the promise, and without any other crate of the
//! workspace: an oracle that shared code with the engine would repeat its mistakes. Every oracle explains what it
//! found, and every oracle has tests in which a planted lie is caught.

pub mod bank;
pub mod claim;
pub mod dataflow;
pub mod delivery;
pub mod depot;
pub mod letters;
pub mod partitioner;
pub mod path;
pub mod pstate;
pub mod register;
pub mod stream;
pub mod tick;
pub mod word;
