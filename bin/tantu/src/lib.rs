//! A thread-per-core backend engine: the facade crate and the command line.
