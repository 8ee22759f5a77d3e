//! Batch blocks on tasks in memory.

#![allow(clippy::unwrap_used, reason = "a test")]

mod against_loops;
mod blocks;
mod combined;
mod limits;
mod named;
mod world;
