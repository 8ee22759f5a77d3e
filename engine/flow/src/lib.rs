//! The dataflow language: declare, check, lower, run.
