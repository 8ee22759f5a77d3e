//! placeholder replaced by the archive wrapper.
