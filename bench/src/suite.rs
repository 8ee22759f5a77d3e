//! The suites: each a family of workloads.

pub(crate) mod append;
pub(crate) mod kv;
pub(crate) mod wordcount;
