//! What one task holds: its depot partitions and PState partitions, over one LSM tree and the replog.
//!
//! Writes are *staged* while events run, *sealed* into the task's section of a replog entry, and
//! *committed* (applied to the tree) when the entry is durable on every ISR member. Until then sealed
//! writes are *pending*: the owning topologies read them through an overlay, everybody else does not.
//! No user code runs here and nothing here waits.

mod chunk_index;
mod copy;
pub mod depot;
pub mod detach;
#[cfg(test)]
mod golden;
pub mod inspect;
pub mod layout;
pub mod load;
pub mod meta;
pub mod producer;
pub mod section;
pub mod segment;
pub mod side;
pub mod snapshot;
pub mod staged;
pub mod task;
mod tree_key;
pub mod trim;
pub mod view;

pub use task::{TaskState, TaskStateOptions};
