//! The task thread: category queues, turns, stream runners and the commit pipeline of one task group.
//!
//! A [`TaskThread`] is plain synchronous code. Whoever owns it calls [`TaskThread::step`] with the five doors and
//! owns time: a pinned core in production, a seeded loop in the simulator. Within a step one event runs
//! to its end, calls only downward and returns its effects as values; effects leave when the entry that
//! holds the event's writes is durable.

mod acks;
mod append;
mod batch;
mod client_work;
mod depot_reads;
mod event;
mod failure;
mod hold;
mod hops;
mod host;
mod jobs;
pub mod limit;
mod memory;
mod micro;
mod numbered;
pub mod observe;
mod offset_set;
mod open;
mod outbox;
mod overrun;
mod paging;
mod pipeline;
mod points;
mod processed;
mod progress;
pub mod pulse;
mod query;
mod queue;
mod slot;
mod source;
mod space;
mod stream;
mod stream_limits;
mod tables;
mod temporary;
mod thread;
mod tick;
mod together;
mod trimming;
mod trouble;
mod turn;
mod waiters;

pub use client_work::ClientWork;
pub use memory::MemoryBudget;
pub use progress::ProgressSeen;
pub use queue::{CategoryShares, LiveShares};
pub use thread::{Progress, StopReason, TaskThread, ThreadConfig};
