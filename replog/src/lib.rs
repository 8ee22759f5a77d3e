//! The replication log: a pure referee and a segmented log.
