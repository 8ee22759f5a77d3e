//! The referee of a replicated log.
