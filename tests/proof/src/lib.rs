//! What the proofs of the storage share: how a workload is cut at every request, how every request is made to fail,
//! how every bit is flipped, and how much of that runs.
//!
//! A proof is a test of the crate whose files it is about; it hands its workload to [`cuts`], [`sweep`] or [`flips`].
//! As it stands a proof runs its short form, in seconds. `TANTU_PROOF_SECONDS` asks for the long form, which goes on
//! for that long; `TANTU_PROOF_STATE` for one certain state, as a finding names it. Each proof prints one line that
//! begins with `proof:` and says how much it did.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "counts and findings are told to whoever looks")]

pub mod cuts;
pub mod flips;
pub mod form;
pub mod sweep;

pub use form::Form;
