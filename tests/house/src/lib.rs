//! The house test: what the project promises about its own shape, read from the workspace itself.
//!
//! Every rule is a pure function from text to a list of violations, so that each has tests with
//! planted violations beside it; `tests/house.rs` turns the rules on the real workspace. A rule that
//! nobody enforces is a wish, so a rule is here or it is not written down.

pub mod features;
pub mod floors;
pub mod formats;
pub mod manifests;
pub mod pages;
pub mod ratchet;
pub mod reach;
pub mod signs;
pub mod source;
pub mod tree;
