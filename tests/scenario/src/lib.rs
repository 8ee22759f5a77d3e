//! Named stories on real processes: the stage on which `stories/*.rs` are played.
//!
//! A story starts the built `tantu` binary as a user would and judges only what a user can see: what
//! it prints, how it ends, what it leaves on the disk. The stories are tests of the package that
//! builds the binary, so cargo always builds it first; what they share stands here and knows nothing
//! of the engine.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "stories run on the real machine")]

pub mod demo;
pub mod disk;
pub mod text;
