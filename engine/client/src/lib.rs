//! The foreign client: append and select.
