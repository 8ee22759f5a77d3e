//! The suites: each a family of workloads.

pub(crate) mod flow;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod topo;
pub(crate) mod wordcount;
