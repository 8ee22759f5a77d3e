//! Named stories on real processes.
