//! The rings and the mesh under real threads.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::needless_range_loop,
    reason = "tests run on real threads, and an unwrap is an assertion here"
)]

mod mesh;
mod ring;
