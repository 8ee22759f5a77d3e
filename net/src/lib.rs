//! Rings between cores.
